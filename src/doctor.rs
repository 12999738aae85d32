//! `gitseal doctor`: everything that makes signing or verifying fail, found
//! before it does. Each finding has a name, a level, words, and a command that
//! mends it; `--fix` runs those that cannot do harm.
//!
//! ```text
//! configuration.rs  git, its configuration, the program, settings of both names
//! machine.rs        home, directories, terminal, browser, cache, environment
//! trust.rs          the trust root, and whether the services are in it
//! network.rs        each service, asked at once; the clock by what they say
//! ```
//!
//! Nothing is signed and nobody is logged in: no token is used.

use std::{
    env,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::host::{
    git::Workspace,
    git_program::{self, ConfigListing},
    settings::{SettingError, Settings, process_environment},
};
use crate::{
    cli::DoctorArgs,
    context::ContextError,
    exit::{EXIT_OK, EXIT_REFUSED},
    setup,
};
use gitseal_evidence::UnixTime;
use gitseal_terminal::{self as terminal, Escape, Tone, escape, paint};

mod configuration;
mod machine;
mod network;
mod trust;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// To know.
    Note,
    /// It may go wrong, or not as meant.
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

    fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Note => Tone::Quiet,
            Self::Warning => Tone::Warning,
            Self::Problem => Tone::Bad,
        }
    }
}

/// What `--fix` does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Repair {
    /// Let git use this program, as `gitseal setup --verify-only` does.
    Setup,
    /// Take the rights of others away from a directory of ours.
    #[cfg(unix)]
    Close(PathBuf),
}

/// One finding.
#[derive(Debug, Clone)]
struct Finding {
    /// Its name, for scripts; the documentation lists them.
    id: &'static str,
    level: Level,
    words: String,
    /// A command, or what to do.
    fix: Option<String>,
    repair: Option<Repair>,
}

/// All findings of one examination.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, id: &'static str, level: Level, words: impl Into<String>) -> &mut Finding {
        self.0.push(Finding {
            id,
            level,
            words: words.into(),
            fix: None,
            repair: None,
        });
        let last = self.0.len().saturating_sub(1);
        // It was pushed just now.
        &mut self.0[last]
    }

    fn ok(&mut self, id: &'static str, words: impl Into<String>) {
        self.add(id, Level::Ok, words);
    }

    fn note(&mut self, id: &'static str, words: impl Into<String>) -> &mut Finding {
        self.add(id, Level::Note, words)
    }

    fn warning(&mut self, id: &'static str, words: impl Into<String>) -> &mut Finding {
        self.add(id, Level::Warning, words)
    }

    fn problem(&mut self, id: &'static str, words: impl Into<String>) -> &mut Finding {
        self.add(id, Level::Problem, words)
    }

    fn problems(&self) -> usize {
        self.count(Level::Problem)
    }

    fn count(&self, level: Level) -> usize {
        self.0
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    }
}

impl Finding {
    fn fix(&mut self, command: impl Into<String>) -> &mut Self {
        self.fix = Some(command.into());
        self
    }

    fn repair(&mut self, repair: Repair) {
        self.repair = Some(repair);
    }
}

/// What the checks look at.
struct Patient {
    directory: PathBuf,
    /// git's version.
    git: Option<(u32, u32)>,
    /// git's configuration, if git can read it.
    listed: Option<Vec<ConfigListing>>,
    workspace: Option<Workspace>,
    settings: Option<Settings>,
    /// Why there are no settings.
    setting_error: Option<SettingError>,
    now: UnixTime,
}

impl Patient {
    /// The value of a key that counts for git, and where it is from.
    fn git_value(&self, key: &str) -> Option<&ConfigListing> {
        git_program::effective(self.listed.as_deref()?, key)
    }
}

/// `gitseal doctor`.
pub fn run(arguments: &DoctorArgs) -> u8 {
    let mut findings = examine(arguments.offline);
    let mut fixed = Vec::new();
    if arguments.fix {
        fixed = mend(&findings);
        if !fixed.is_empty() {
            findings = examine(arguments.offline);
        }
    }
    let shown = if arguments.json {
        terminal::print_json(&as_json(&findings, &fixed))
    } else {
        terminal::print(&as_text(&findings, &fixed))
    };
    match crate::exit::written(shown) {
        EXIT_OK if findings.problems() > 0 => EXIT_REFUSED,
        code => code,
    }
}

fn examine(offline: bool) -> Findings {
    let mut findings = Findings::default();
    let directory = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let mut patient = Patient {
        directory,
        git: None,
        listed: None,
        workspace: None,
        settings: None,
        setting_error: None,
        now: now(),
    };
    machine::home(&mut findings);
    configuration::git(&mut patient, &mut findings);
    match Workspace::open(Path::new(".")) {
        Ok(workspace) => {
            match Settings::resolve(
                workspace.config(),
                &process_environment,
                workspace.repository().ok(),
            ) {
                Ok(settings) => patient.settings = Some(settings),
                Err(error) => patient.setting_error = Some(error),
            }
            patient.workspace = Some(workspace);
        }
        // Where git stops as well, that was told with git's own words.
        Err(_) if patient.git.is_some() && patient.listed.is_none() => {}
        Err(error) => {
            findings
                .problem("configuration", ContextError::from(error).to_string())
                .fix("git config --list --show-origin names the file: mend the line");
        }
    }
    configuration::signing(&patient, &mut findings);
    configuration::settings(&patient, &mut findings);
    configuration::repository(&patient, &mut findings);
    machine::directories(&mut findings);
    machine::terminal(&patient, &mut findings);
    machine::environment(&mut findings);
    if let Some(settings) = &patient.settings {
        machine::cache(settings, &mut findings);
        trust::root(settings, patient.now, &mut findings);
        if offline {
            findings.note("network", "no service was asked (--offline)");
        } else {
            network::services(settings, &mut findings);
        }
    }
    findings
}

fn now() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}

/// Does what can do no harm; says what was done.
fn mend(findings: &Findings) -> Vec<String> {
    let mut done = Vec::new();
    let mut repairs: Vec<&Repair> = Vec::new();
    for repair in findings
        .0
        .iter()
        .filter_map(|finding| finding.repair.as_ref())
    {
        if !repairs.contains(&repair) {
            repairs.push(repair);
        }
    }
    for repair in repairs {
        match repair {
            Repair::Setup => match setup::apply_verify_only() {
                Ok(()) => done.push("gitseal setup --verify-only".to_owned()),
                Err(error) => terminal::warn(&escape(&error.to_string(), Escape::Prose)),
            },
            #[cfg(unix)]
            Repair::Close(directory) => match machine::close(directory) {
                Ok(()) => done.push(format!("chmod 700 {}", directory.display())),
                Err(error) => terminal::warn(&escape(
                    &format!("{}: {error}", directory.display()),
                    Escape::Prose,
                )),
            },
        }
    }
    done
}

fn as_text(findings: &Findings, fixed: &[String]) -> String {
    let mut out = String::new();
    for done in fixed {
        out.push_str(&format!(
            "{}    {}\n",
            paint(Tone::Good, "fixed"),
            escape(done, Escape::Prose)
        ));
    }
    for finding in &findings.0 {
        let level = format!("{:<8}", finding.level.name());
        out.push_str(&format!(
            "{} {}\n",
            paint(finding.level.tone(), &level),
            escape(&finding.words, Escape::Prose)
        ));
        if let Some(fix) = &finding.fix {
            out.push_str(&format!(
                "         {} {}{}\n",
                paint(Tone::Strong, "fix:"),
                escape(fix, Escape::Prose),
                if finding.repair.is_some() {
                    "  (--fix does it)"
                } else {
                    ""
                }
            ));
        }
    }
    let problems = findings.problems();
    let warnings = findings.count(Level::Warning);
    out.push_str(&format!(
        "\n{}, {}\n",
        counted(problems, "problem"),
        counted(warnings, "warning")
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

fn as_json(findings: &Findings, fixed: &[String]) -> Value {
    let list: Vec<Value> = findings
        .0
        .iter()
        .map(|finding| {
            json!({
                "id": finding.id,
                "level": finding.level.name(),
                "words": finding.words,
                "fix": finding.fix,
                "fixable": finding.repair.is_some(),
            })
        })
        .collect();
    json!({
        "findings": list,
        "problems": findings.problems(),
        "warnings": findings.count(Level::Warning),
        "fixed": fixed,
    })
}
