//! `gitseal doctor`: finds what makes signing or verifying fail. Each finding has
//! an id, a level, a message and a fix; `--fix` applies the safe fixes.
//!
//! ```text
//! configuration.rs  Git, its configuration, the program, settings of both names
//! reading.rs        the configuration that Git lists, and what gitseal reads
//! machine.rs        home, directories, terminal, browser, cache, environment
//! trust.rs          the trusted root, and whether it contains the services
//! network.rs        each service, all in parallel; the clock, compared with theirs
//! ```
//!
//! Nothing is signed, no login starts, and no token is used.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::host::{
    git::{GitError, Workspace},
    git_program::{self, ConfigListing, GitProgramError},
    settings::{SettingError, Settings, process_environment},
};
use crate::{
    cli::DoctorArgs,
    context::system_time,
    exit::{EXIT_OK, EXIT_REFUSED},
    setup,
};
use gitseal_evidence::UnixTime;
use gitseal_terminal::{self as terminal, Style, Styled, style, styled};

mod configuration;
mod machine;
mod network;
mod reading;
mod trust;

/// All checks, in the order of their findings.
const CHECKS: &[fn(&DoctorContext) -> Vec<Finding>] = &[
    machine::home,
    configuration::git,
    configuration::readable,
    reading::readings,
    configuration::format,
    configuration::program,
    configuration::signs_by_default,
    configuration::invalid_setting,
    configuration::unknown_settings,
    configuration::settings,
    configuration::committer,
    configuration::repository,
    machine::directories,
    machine::terminal,
    machine::browser,
    machine::environment,
    machine::cache,
    trust::root,
    network::services,
];

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Nothing is wrong.
    Ok,
    /// Information without a consequence.
    Note,
    /// Something may fail, or work differently than expected.
    Warning,
    /// Signing or verifying fails.
    Problem,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::Good,
            Self::Note => Style::Quiet,
            Self::Warning => Style::Warning,
            Self::Problem => Style::Bad,
        }
    }
}

/// A fix that `--fix` applies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Repair {
    /// Makes Git use this program, as `gitseal setup --verify-only` does.
    Setup,
    /// Removes the permissions of other users from one of gitseal's directories.
    #[cfg(unix)]
    RestrictPermissions(PathBuf),
}

/// The result of a check.
#[derive(Debug, Clone)]
struct Finding {
    /// The name for scripts; `docs/operations.md` lists them.
    id: &'static str,
    level: Level,
    message: String,
    /// A command, or an instruction.
    fix: Option<String>,
    repair: Option<Repair>,
}

impl Finding {
    fn new(level: Level, id: &'static str, message: impl Into<String>) -> Self {
        Self {
            id,
            level,
            message: message.into(),
            fix: None,
            repair: None,
        }
    }

    fn ok(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, id, message)
    }

    fn note(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Note, id, message)
    }

    fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, id, message)
    }

    fn problem(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Problem, id, message)
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    fn repair(mut self, repair: impl Into<Option<Repair>>) -> Self {
        self.repair = repair.into();
        self
    }
}

/// Inputs of the checks: Git's configuration, settings and the current time.
struct DoctorContext {
    directory: PathBuf,
    /// Git's version as numbers and as text.
    git: Result<((u32, u32), String), GitProgramError>,
    /// Git's configuration as Git lists it.
    listed: Result<Vec<ConfigListing>, GitProgramError>,
    workspace: Result<Workspace, GitError>,
    /// The settings, if the configuration is readable.
    settings: Option<Result<Settings, SettingError>>,
    offline: bool,
    now: UnixTime,
}

impl DoctorContext {
    fn load(offline: bool) -> Self {
        let directory = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let workspace = Workspace::open(Path::new("."));
        let settings = workspace.as_ref().ok().map(|workspace| {
            Settings::resolve(
                workspace.config(),
                &process_environment,
                workspace.repository().ok(),
            )
        });
        Self {
            git: git_program::version(),
            listed: git_program::configuration(&directory),
            directory,
            workspace,
            settings,
            offline,
            now: system_time(),
        }
    }

    fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()?.as_ref().ok()
    }

    /// Returns the effective value of a key in Git's configuration.
    fn git_value(&self, key: &str) -> Option<&ConfigListing> {
        git_program::effective(self.listed.as_deref().ok()?, key)
    }
}

/// Runs `gitseal doctor`.
pub fn run(arguments: &DoctorArgs) -> u8 {
    let mut findings = examine(arguments.offline);
    let mut fixed = Vec::new();
    if arguments.fix {
        fixed = apply_fixes(&findings);
        if !fixed.is_empty() {
            findings = examine(arguments.offline);
        }
    }
    let printed = if arguments.json {
        terminal::print_json(&as_json(&findings, &fixed))
    } else {
        terminal::print(&as_text(&findings, &fixed))
    };
    match crate::exit::written(printed) {
        EXIT_OK if count(&findings, Level::Problem) > 0 => EXIT_REFUSED,
        code => code,
    }
}

fn examine(offline: bool) -> Vec<Finding> {
    let context = DoctorContext::load(offline);
    CHECKS.iter().flat_map(|check| check(&context)).collect()
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
}

/// Applies the safe fixes; returns a description of each.
fn apply_fixes(findings: &[Finding]) -> Vec<String> {
    let mut repairs: Vec<&Repair> = Vec::new();
    for repair in findings
        .iter()
        .filter_map(|finding| finding.repair.as_ref())
    {
        if !repairs.contains(&repair) {
            repairs.push(repair);
        }
    }
    let apply = |repair: &Repair| match repair {
        Repair::Setup => setup::apply_verify_only()
            .map(|()| "gitseal setup --verify-only".to_owned())
            .map_err(|error| error.to_string()),
        #[cfg(unix)]
        Repair::RestrictPermissions(directory) => machine::restrict_permissions(directory)
            .map(|()| format!("chmod 700 {}", directory.display()))
            .map_err(|error| format!("{}: {error}", directory.display())),
    };
    let mut done = Vec::new();
    for repair in repairs {
        match apply(repair) {
            Ok(description) => done.push(description),
            Err(error) => terminal::warn(&error),
        }
    }
    done
}

fn as_text(findings: &[Finding], fixed: &[String]) -> Styled {
    let mut out = Styled::default();
    for done in fixed {
        out.push(&styled!("{}    {}\n", style(Style::Good, "fixed"), done));
    }
    for finding in findings {
        let level = format!("{:<8}", finding.level.name());
        out.push(&styled!(
            "{} {}\n",
            style(finding.level.style(), &level),
            finding.message
        ));
        if let Some(fix) = &finding.fix {
            out.push(&styled!(
                "         {} {}{}\n",
                style(Style::Strong, "fix:"),
                fix,
                if finding.repair.is_some() {
                    "  (--fix does it)"
                } else {
                    ""
                }
            ));
        }
    }
    out.push(&styled!(
        "\n{}, {}\n",
        counted(count(findings, Level::Problem), "problem"),
        counted(count(findings, Level::Warning), "warning")
    ));
    out
}

fn counted(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    }
}

fn as_json(findings: &[Finding], fixed: &[String]) -> Value {
    let list: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "id": finding.id,
                "level": finding.level.name(),
                "message": finding.message,
                "fix": finding.fix,
                "fixable": finding.repair.is_some(),
            })
        })
        .collect();
    json!({
        "findings": list,
        "problems": count(findings, Level::Problem),
        "warnings": count(findings, Level::Warning),
        "fixed": fixed,
    })
}
