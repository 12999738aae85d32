//! `gitseal setup`: configures Git to use gitseal, and reverts that with
//! `--undo`. Each change is printed before anything is written.
//!
//! ```text
//! earlier settings ─┐
//! profile ──────────┼─ entries ─ plan ─ printed, confirmed ─ settings file ─ include.path
//! flags ────────────┘
//! ```
//!
//! All settings are in one file of gitseal's own, and one `include.path` in
//! Git's configuration makes them count (`target`). Nothing else is changed, so
//! `--undo` has nothing to restore. After a crash between the two writes the
//! settings file is there and not included; the next run finishes either way.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::host::{
    git::GitError,
    git_config::{ConfigScope, ConfigValue},
    git_program::{self, ConfigListing, GitProgramError},
    profile::{Profile, ProfileError},
    settings::{self, SettingError, Settings, TABLE, ValueKind, nearest, process_environment},
};
use crate::{
    cli::{ProfileArgs, SetupArgs},
    context::ContextError,
    exit::{EXIT_OK, EXIT_UNDECIDED, EXIT_USAGE},
};
use gitseal_evidence::identity::PatternError;
use gitseal_services::http::client::HttpError;
use gitseal_terminal::{self as terminal, Escape, Style, escape, style, styled, tty::Tty};

mod source;
mod target;

use source::VerifiedProfile;
use target::Target;

/// Reasons why setup changed nothing, or did not finish.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum SetupError {
    /// A file cannot be read or written.
    #[error("cannot write {}: {reason}", .path.display())]
    Write { path: PathBuf, reason: String },
    /// A file system operation failed.
    #[error("cannot {action} {}: {error}", .path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        error: std::io::Error,
    },
    /// Another program holds Git's lock.
    #[error("{} is locked ({} exists)", .path.display(), .lock.display())]
    Locked { path: PathBuf, lock: PathBuf },
    /// The mode of Git's file forbids writing.
    #[error("{} is read-only", .path.display())]
    ReadOnly { path: PathBuf },
    /// The environment names no home directory.
    #[error("HOME is not set, so the user configuration cannot be found")]
    NoHome,
    /// Git failed or is missing.
    #[error(transparent)]
    GitProgram(#[from] GitProgramError),
    /// The repository cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The repository belongs to another user.
    #[error("this repository is owned by another user")]
    NotOwn,
    /// The value of `--set` is not usable.
    #[error("invalid --set {given:?}: {reason}")]
    Set { given: String, reason: String },
    /// Git could not run the program of `--program`.
    #[error("invalid --program {given:?}: {reason}")]
    Program { given: String, reason: &'static str },
    /// The path of this executable is unknown.
    #[error("cannot find the path of this program: {0}")]
    OwnPath(std::io::Error),
    /// The profile is malformed.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A part of the profile cannot be read.
    #[error("cannot read {part} {location}: {reason}")]
    Fetch {
        part: &'static str,
        location: String,
        reason: String,
    },
    /// A part of the profile cannot be downloaded.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The SHA-256 differs from the expected one.
    #[error("the SHA-256 of {location} is {found}; expected {expected}")]
    Hash {
        location: String,
        found: String,
        expected: String,
    },
    /// The profile's signature does not verify.
    #[error("the signature of {location} does not verify: {reason}")]
    Signature { location: String, reason: String },
    /// No flag states how to verify the profile.
    #[error("no expected signer for profile {location}")]
    NoSigner { location: String },
    /// A URL was given with `--unsigned`.
    #[error("--unsigned is only for local files")]
    UnsignedUrl,
    /// The settings together are not usable.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The settings or the trusted root for verifying the profile are not usable.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The expected signer is malformed.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// No terminal is available for the prompt.
    #[error("no terminal to confirm on")]
    NoTerminal,
    /// The user declined.
    #[error("nothing was written")]
    Declined,
}

impl SetupError {
    fn io(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            error: error.kind().into(),
        }
    }

    fn hint(&self, arguments: &SetupArgs) -> Option<String> {
        Some(match self {
            Self::NoTerminal => "pass --yes, or --dry-run to preview".to_owned(),
            Self::ReadOnly { .. } => "if another tool manages the file (home-manager, chezmoi), add the settings of 'gitseal setup --dry-run' there; else run 'chmod u+w'".to_owned(),
            Self::Locked { lock, .. } => format!(
                "wait for the other program; if it no longer runs, remove {}",
                lock.display()
            ),
            Self::Io { path, .. } | Self::Write { path, .. } if self.is_denied() => {
                if arguments.system {
                    "run 'sudo gitseal setup --system'".to_owned()
                } else {
                    format!("check the permissions of {} and its directory", path.display())
                }
            }
            Self::NoSigner { .. } | Self::UnsignedUrl => {
                "pass --certificate-identity and --certificate-oidc-issuer, or --sha256; --unsigned accepts a local file unverified".to_owned()
            }
            Self::NotOwn => "if you trust it, run 'git config --global --add safe.directory PATH'".to_owned(),
            Self::Git(GitError::NoRepository { .. }) => "--local configures the current repository; without it, setup changes your user configuration".to_owned(),
            Self::GitProgram(GitProgramError::Absent) => "install Git 2.34 or newer".to_owned(),
            Self::GitProgram(GitProgramError::Failed { .. }) => "Git cannot read this file either: fix the line first".to_owned(),
            Self::Set { .. } => "docs/settings.md lists all settings".to_owned(),
            Self::Signature { .. } => "do not use this profile; contact its publisher. If it was signed with another Sigstore instance, pass its --trusted-root FILE or pin the profile with --sha256".to_owned(),
            Self::Context(error) => return error.hint().map(str::to_owned),
            _ => return None,
        })
    }

    fn is_denied(&self) -> bool {
        match self {
            Self::Io { error, .. } => error.kind() == std::io::ErrorKind::PermissionDenied,
            Self::Write { reason, .. } => reason.contains("Permission denied"),
            _ => false,
        }
    }

    fn exit(&self) -> u8 {
        match self {
            Self::Signature { .. } | Self::Hash { .. } | Self::Declined => {
                crate::exit::EXIT_REFUSED
            }
            Self::Http(_) | Self::Fetch { .. } => EXIT_UNDECIDED,
            _ => EXIT_USAGE,
        }
    }
}

/// A value in the settings file, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: String,
    value: String,
    source: &'static str,
}

impl Entry {
    fn new(key: impl Into<String>, value: impl Into<String>, source: &'static str) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            source,
        }
    }
}

/// A trusted root file that goes with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Installed {
    path: PathBuf,
    content: Vec<u8>,
    sha256: String,
}

/// All changes of one run.
struct Plan {
    target: Target,
    /// What Git's file sets now.
    listed: Vec<ConfigListing>,
    /// The settings file as it will be; without entries it is removed.
    entries: Vec<Entry>,
    /// Whether the include is missing, or a value after it wins.
    needs_include: bool,
    /// Whether nothing is left to write.
    is_complete: bool,
    is_new_file: bool,
    rows: Vec<Row>,
    not_reverted: Vec<(String, String)>,
    installed: Vec<Installed>,
    removed: Vec<PathBuf>,
    profile: Option<String>,
}

/// One change as it is printed.
struct Row {
    key: String,
    old: Option<String>,
    new: Option<String>,
    source: &'static str,
}

/// Runs `gitseal setup`.
pub fn run(arguments: &SetupArgs) -> u8 {
    match set_up(arguments) {
        Ok(code) => code,
        Err(error) => {
            let hint = error.hint(arguments);
            terminal::error(&error.to_string(), hint.as_deref());
            error.exit()
        }
    }
}

/// Makes Git use this program, and changes nothing else, for `doctor --fix`.
///
/// # Errors
/// See [`SetupError`].
pub fn apply_verify_only() -> Result<(), SetupError> {
    let arguments = SetupArgs {
        local: false,
        global: true,
        system: false,
        dry_run: false,
        undo: false,
        yes: true,
        json: false,
        set: Vec::new(),
        program: None,
        verify_only: true,
        profile: ProfileArgs::default(),
    };
    plan(&arguments)?.carry_out()
}

fn set_up(arguments: &SetupArgs) -> Result<u8, SetupError> {
    let plan = plan(arguments)?;
    if arguments.json {
        let written = !plan.is_complete && !arguments.dry_run && arguments.yes;
        if written {
            plan.carry_out()?;
        }
        return Ok(crate::exit::written(terminal::print_json(
            &plan.json(written),
        )));
    }
    plan.show();
    if plan.is_complete {
        return Ok(EXIT_OK);
    }
    if arguments.dry_run {
        terminal::info("nothing was written (--dry-run)");
        return Ok(EXIT_OK);
    }
    plan.target.check_writable()?;
    let file = plan.target.config.to_string_lossy();
    if !arguments.yes {
        let answer = Tty::open()
            .prompt_line(&format!(
                "Write these settings to {}? [y/N] ",
                escape(&file, Escape::Prose)
            ))
            .map_err(|_| SetupError::NoTerminal)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(SetupError::Declined);
        }
    }
    plan.carry_out()?;
    if arguments.undo {
        terminal::info(&format!("restored {file}"));
    } else {
        plan.conclude(&file);
    }
    Ok(EXIT_OK)
}

fn plan(arguments: &SetupArgs) -> Result<Plan, SetupError> {
    let profile = match &arguments.profile.from {
        None => None,
        Some(from) => Some(source::fetch(from, &arguments.profile)?),
    };
    let target = Target::find(match (arguments.local, arguments.system) {
        (true, _) => ConfigScope::Local,
        (_, true) => ConfigScope::System,
        _ => ConfigScope::Global,
    })?;
    let listed = target.listed()?;
    let earlier: Vec<Entry> = target
        .stored()?
        .into_iter()
        .map(|listed| {
            let value = listed.value.unwrap_or_else(|| "true".to_owned());
            Entry::new(canonical(listed.key), value, "earlier")
        })
        .collect();
    let (entries, installed) = if arguments.undo {
        (Vec::new(), Vec::new())
    } else {
        entries_of(arguments, profile.as_ref(), &earlier, &target)?
    };
    let included = listed.iter().position(|value| target.is_include(value));
    let after = listed.get(included.unwrap_or(0)..).unwrap_or_default();
    let is_overridden = after.iter().any(|value| {
        !target.is_ours(value) && entries.iter().any(|entry| is_key(value, &entry.key))
    });
    let needs_include = !entries.is_empty() && (included.is_none() || is_overridden);
    let rows = rows(&target, &listed, &earlier, &entries, included.is_some());
    let same = |a: &Entry, b: &Entry| a.key == b.key && a.value == b.value;
    let is_complete = rows.is_empty()
        && !needs_include
        && entries.is_empty() == included.is_none()
        && !listed.iter().any(Target::is_unfinished)
        && entries.len() == earlier.len()
        && entries.iter().zip(&earlier).all(|(a, b)| same(a, b))
        && installed
            .iter()
            .all(|file| source::has_hash(&file.path, &file.sha256));
    let not_reverted = earlier
        .iter()
        .filter(|_| arguments.undo)
        .filter_map(|entry| {
            let last = git_program::effective(&listed, &entry.key)?;
            (included.is_some() && !target.is_ours(last))
                .then(|| (entry.key.clone(), text(last).to_owned()))
        })
        .collect();
    Ok(Plan {
        removed: outdated_root(&target, &earlier, &entries)
            .into_iter()
            .collect(),
        is_new_file: !target.config.exists(),
        target,
        listed,
        entries,
        needs_include,
        is_complete,
        rows,
        not_reverted,
        installed,
        profile: profile.map(|profile| profile.name),
    })
}

fn text(listed: &ConfigListing) -> &str {
    listed.value.as_deref().unwrap_or("true")
}

fn is_key(listed: &ConfigListing, key: &str) -> bool {
    listed.key.eq_ignore_ascii_case(key)
}

/// The keys that setup writes, as they are spelled: Git's own first.
fn known_keys() -> impl Iterator<Item = String> {
    const GIT: [&str; 4] = [
        "gpg.format",
        "gpg.x509.program",
        "commit.gpgsign",
        "tag.gpgsign",
    ];
    GIT.into_iter()
        .map(str::to_owned)
        .chain(TABLE.iter().map(|row| format!("gitseal.{}", row.name)))
}

/// Git lists keys in lower case.
fn canonical(key: String) -> String {
    known_keys()
        .find(|known| known.eq_ignore_ascii_case(&key))
        .unwrap_or(key)
}

/// Returns the entries that the settings file will have, in the order of the
/// documentation, and the trusted root that goes with them. A profile replaces
/// all earlier entries; without one they stay.
fn entries_of(
    arguments: &SetupArgs,
    profile: Option<&VerifiedProfile>,
    earlier: &[Entry],
    target: &Target,
) -> Result<(Vec<Entry>, Vec<Installed>), SetupError> {
    let own = profile.map(|verified| &verified.profile);
    let source = if own.is_some() { "profile" } else { "setup" };
    let mut entries = vec![Entry::new("gpg.format", "x509", "setup")];
    let program = match (&arguments.program, own.and_then(|own| own.program.clone())) {
        (Some(given), _) => Entry::new("gpg.x509.program", named_program(given)?, "flag"),
        (None, Some(program)) => Entry::new("gpg.x509.program", program, "profile"),
        (None, None) => Entry::new("gpg.x509.program", this_program()?, "setup"),
    };
    entries.push(program);
    let signs =
        |of_profile: fn(&Profile) -> bool| !arguments.verify_only && own.is_none_or(of_profile);
    if signs(|own| own.sign_commits) {
        entries.push(Entry::new("commit.gpgsign", "true", source));
    }
    if signs(|own| own.sign_tags) {
        entries.push(Entry::new("tag.gpgsign", "true", source));
    }
    let mut installed = Vec::new();
    if let Some(verified) = profile {
        for (name, value) in &verified.profile.settings {
            entries.push(Entry::new(format!("gitseal.{name}"), value, "profile"));
        }
        if let Some(root) = &verified.trusted_root {
            let sha256 = source::sha256(root);
            let path = target.directory().join(root_name(&sha256));
            entries.push(Entry::new(
                "gitseal.trustedRoot",
                path.display().to_string(),
                "profile",
            ));
            installed.push(Installed {
                path,
                content: root.clone(),
                sha256,
            });
        }
    }
    for given in &arguments.set {
        let entry = set_entry(given)?;
        entries.retain(|other| other.key != entry.key);
        entries.push(entry);
    }
    if profile.is_none() {
        for entry in earlier {
            if !entries.iter().any(|new| new.key == entry.key) {
                entries.push(entry.clone());
            }
        }
    }
    entries.sort_by_key(|entry| {
        known_keys()
            .position(|key| key == entry.key)
            .unwrap_or(usize::MAX)
    });
    check(&entries)?;
    Ok((entries, installed))
}

/// Parses `--set NAME=VALUE`.
fn set_entry(given: &str) -> Result<Entry, SetupError> {
    let invalid = |reason: String| SetupError::Set {
        given: given.to_owned(),
        reason,
    };
    let (name, value) = given
        .split_once('=')
        .ok_or_else(|| invalid("expected NAME=VALUE".to_owned()))?;
    let name = name.strip_prefix("gitseal.").unwrap_or(name);
    let row = TABLE
        .iter()
        .find(|row| row.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let near = nearest(name)
                .map(|near| format!("; did you mean \"{near}\"?"))
                .unwrap_or_default();
            invalid(format!("unknown setting \"{name}\"{near}"))
        })?;
    if value.chars().any(char::is_control) {
        return Err(invalid("the value has a control character".to_owned()));
    }
    let value = absolute_path(row, value)
        .map_err(|error| invalid(format!("cannot make the path absolute: {error}")))?;
    Ok(Entry::new(format!("gitseal.{}", row.name), value, "flag"))
}

/// Returns a value of a flag as it is stored: a path that is relative to the current
/// directory would be relative to the settings file there.
fn absolute_path(row: &settings::Row, value: &str) -> std::io::Result<String> {
    let is_path = match row.kind {
        ValueKind::Path => value != "*",
        ValueKind::ChoiceOrPath(choices) => !choices.contains(&value),
        _ => false,
    };
    let is_plain =
        !value.is_empty() && !["~", "%(", ":("].iter().any(|form| value.starts_with(form));
    if !is_path || !is_plain {
        return Ok(value.to_owned());
    }
    Ok(std::path::absolute(value)?.to_string_lossy().into_owned())
}

/// Resolves all entries together, so that nothing is written that makes the
/// next commit fail.
fn check(entries: &[Entry]) -> Result<(), SetupError> {
    let values: Vec<ConfigValue> = entries
        .iter()
        .map(|entry| ConfigValue {
            key: entry.key.to_ascii_lowercase(),
            value: Some(entry.value.clone().into_bytes()),
            scope: ConfigScope::Global,
            file: None,
        })
        .collect();
    let home = |name: &str| {
        (name == "HOME")
            .then(|| process_environment(name))
            .flatten()
    };
    Settings::resolve(&values, &home, None)?;
    Ok(())
}

/// Returns the name of a trusted root file, from its hash.
fn root_name(sha256: &str) -> String {
    format!("trusted_root-{}.json", sha256.get(..16).unwrap_or(sha256))
}

/// Returns the trusted root that an earlier run wrote, if it is unchanged and
/// the new entries do not name it.
fn outdated_root(target: &Target, earlier: &[Entry], entries: &[Entry]) -> Option<PathBuf> {
    let root = |entries: &[Entry]| {
        let entry = entries
            .iter()
            .find(|entry| entry.key == "gitseal.trustedRoot")?;
        Some(PathBuf::from(&entry.value))
    };
    let path = root(earlier).filter(|path| root(entries).as_ref() != Some(path))?;
    let content = source::read_root(&path)?;
    (path
        == target
            .directory()
            .join(root_name(&source::sha256(&content))))
    .then_some(path)
}

/// Returns the absolute path of this program: Git started from a desktop has
/// another PATH than a shell. A name on the PATH is preferred to the file that
/// it links to, which an upgrade would move.
fn this_program() -> Result<String, SetupError> {
    let itself = env::current_exe().map_err(SetupError::OwnPath)?;
    let real = itself.canonicalize().unwrap_or_else(|_| itself.clone());
    let on_path = env::var_os("PATH")
        .and_then(|path| git_program::find_on(&path, "gitseal"))
        .filter(|found| found.canonicalize().is_ok_and(|found| found == real));
    let path = on_path.unwrap_or(itself);
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| SetupError::Program {
            given: path.display().to_string(),
            reason: "the path is not UTF-8",
        })
}

fn named_program(given: &str) -> Result<String, SetupError> {
    let path = Path::new(given);
    let invalid = |reason| SetupError::Program {
        given: given.to_owned(),
        reason,
    };
    if path.is_absolute() {
        if git_program::is_program(path) {
            return Ok(given.to_owned());
        }
        return Err(invalid("not an executable file"));
    }
    if given.contains(['/', '\\']) || given.is_empty() {
        return Err(invalid("must be a name on PATH or an absolute path"));
    }
    env::var_os("PATH")
        .and_then(|path| git_program::find_on(&path, given))
        .map(|_| given.to_owned())
        .ok_or_else(|| invalid("not found on PATH"))
}

/// Returns what changes in the values that Git's file sets.
fn rows(
    target: &Target,
    listed: &[ConfigListing],
    earlier: &[Entry],
    entries: &[Entry],
    included: bool,
) -> Vec<Row> {
    let gone = earlier
        .iter()
        .filter(|entry| !entries.iter().any(|new| new.key == entry.key));
    let mut rows: Vec<Row> = entries
        .iter()
        .map(|entry| (entry, Some(entry.value.clone())))
        .chain(gone.map(|entry| {
            let others = listed.iter().rev().filter(|value| !target.is_ours(value));
            let new = others.into_iter().find(|value| is_key(value, &entry.key));
            (entry, new.map(|value| text(value).to_owned()))
        }))
        .filter_map(|(entry, new)| {
            let old =
                git_program::effective(listed, &entry.key).map(|value| text(value).to_owned());
            (old != new).then(|| Row {
                key: entry.key.clone(),
                old,
                new,
                source: entry.source,
            })
        })
        .collect();
    let include = |is: bool| is.then(|| target.include.clone());
    if included == entries.is_empty() {
        rows.push(Row {
            key: "include.path".to_owned(),
            old: include(included),
            new: include(!included),
            source: "setup",
        });
    }
    rows
}

impl Plan {
    fn show(&self) {
        let file = self.target.config.to_string_lossy();
        if let Some(profile) = &self.profile {
            terminal::info(&format!("profile: {profile}"));
        }
        if self.rows.is_empty() && self.is_complete {
            terminal::info(&format!("{file}: nothing to change"));
        } else if !self.rows.is_empty() {
            terminal::info(&styled!(
                "{} ({}){}",
                style(Style::Strong, &*file),
                self.target.scope.name(),
                if self.is_new_file { ", a new file" } else { "" }
            ));
            let value = |value: &Option<String>| value.clone().unwrap_or("(not set)".to_owned());
            let rows: Vec<Vec<String>> = self
                .rows
                .iter()
                .map(|row| {
                    vec![
                        format!("  {}", row.key),
                        value(&row.old),
                        format!("-> {}", value(&row.new)),
                    ]
                })
                .collect();
            terminal::info(&terminal::table(&rows).trim_end());
        }
        for installed in &self.installed {
            terminal::info(&format!(
                "  {}  trusted root, {} bytes, SHA-256 {}",
                installed.path.display(),
                installed.content.len(),
                installed.sha256
            ));
        }
        let settings = Some(&self.target.settings);
        let settings = settings.filter(|path| self.entries.is_empty() && path.exists());
        for path in self.removed.iter().chain(settings) {
            terminal::info(&format!("  removes {}", path.display()));
        }
        for (key, value) in &self.not_reverted {
            terminal::info(&format!(
                "  {key} not restored: changed since setup (now \"{value}\")"
            ));
        }
    }

    /// Writes the trusted root, the settings file and the include, in this
    /// order; removes them in the reverse order.
    fn carry_out(&self) -> Result<(), SetupError> {
        let target = &self.target;
        target.check_writable()?;
        let is_undo = self.entries.is_empty();
        if !is_undo {
            for installed in &self.installed {
                target::replace(&installed.path, |new| {
                    std::fs::write(new, &installed.content)
                        .map_err(|error| SetupError::io("write", new, &error))
                })?;
            }
            let entries = self.entries.iter();
            target.store(entries.map(|entry| (entry.key.as_str(), entry.value.as_str())))?;
        }
        if is_undo || self.needs_include {
            target.remove_include(&self.listed)?;
        }
        if self.needs_include {
            target.add_include()?;
        }
        for path in &self.removed {
            target::remove(path)?;
        }
        if is_undo {
            target.clean_up()?;
        }
        Ok(())
    }

    /// Reports the result, and values that win over those of setup.
    fn conclude(&self, file: &str) {
        terminal::info(&format!("updated {file}"));
        terminal::hint(&format!(
            "'gitseal setup --undo{}' reverts it; run 'gitseal doctor' to check",
            match self.target.scope {
                ConfigScope::Local => " --local",
                ConfigScope::System => " --system",
                _ => "",
            }
        ));
        let Ok(listed) = git_program::configuration(Path::new(".")) else {
            return;
        };
        for entry in &self.entries {
            let Some(found) = git_program::effective(&listed, &entry.key) else {
                continue;
            };
            if text(found) != entry.value {
                terminal::warn(&format!(
                    "{} is still \"{}\": overridden in {} ({})",
                    entry.key,
                    text(found),
                    found.origin,
                    found.scope
                ));
            }
        }
    }

    fn json(&self, written: bool) -> serde_json::Value {
        let changes: Vec<serde_json::Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "key": row.key,
                    "old": row.old,
                    "new": row.new,
                    "source": row.source,
                })
            })
            .collect();
        json!({
            "file": self.target.config.display().to_string(),
            "settings_file": self.target.settings.display().to_string(),
            "scope": self.target.scope.name(),
            "new_file": self.is_new_file,
            "profile": self.profile,
            "changes": changes,
            "not_reverted": self.not_reverted.iter().map(|(key, value)| json!({
                "key": key, "value": value,
            })).collect::<Vec<_>>(),
            "installs": self.installed.iter().map(|file| json!({
                "path": file.path.display().to_string(), "sha256": file.sha256,
            })).collect::<Vec<_>>(),
            "written": written,
        })
    }
}
