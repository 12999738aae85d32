//! `gitseal setup`: writes git's configuration, shows each change first, and
//! takes it all back with `--undo`.
//!
//! ```text
//! profile ─┐
//! flags ───┼─ wishes ─ plan ─ shown, asked ─ record ─ file (host/config_file)
//! base ────┘
//! ```
//!
//! A crash at any line leaves the file whole: as it was, or as it is meant to
//! be, with a record that takes back either.

use std::{
    env,
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::host::{
    config_file::{
        self, ChangeError, Changed, ConfigKey, ConfigText, Malformed, Record, Wish,
        place::{self, ConfigFile, Keep, PlaceError},
    },
    git::{ConfigScope, ConfigValue, GitError, Workspace},
    git_program::{self, GitProgramError},
    profile::{self, Profile, ProfileError},
    settings::{SettingError, Settings, TABLE, process_environment},
};
use crate::{
    cli::{ProfileArgs, SetupArgs},
    context::ContextError,
    exit::{EXIT_OK, EXIT_UNDECIDED, EXIT_USAGE},
};
use gitseal_evidence::identity::PatternError;
use gitseal_services::http::client::HttpError;
use gitseal_terminal::{self as terminal, Escape, Tone, escape, paint};

mod source;

/// Why setup did nothing.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file, its lock or the record.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The file is not git's configuration.
    #[error("{}: {error}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: Malformed,
    },
    /// The change cannot be made.
    #[error("{}: {error}", .path.display())]
    Change {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: ChangeError,
    },
    /// git gave no answer.
    #[error(transparent)]
    GitProgram(#[from] GitProgramError),
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A repository of somebody else.
    #[error("this repository belongs to somebody else")]
    NotOwn,
    /// `--set` that is none.
    #[error("--set {given:?}: {why}")]
    Set {
        /// As given.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// A program that git could not start.
    #[error("--program {given:?}: {why}")]
    Program {
        /// As given.
        given: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Where this program is, is not known.
    #[error("the path of this program is not known: {0}")]
    Itself(std::io::Error),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The profile cannot be had.
    #[error("{what} {place}: {why}")]
    Fetch {
        /// Which part.
        what: &'static str,
        /// From where.
        place: String,
        /// Why not.
        why: String,
    },
    /// The profile cannot be had over the network.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The profile's hash is another.
    #[error("{place} has the SHA-256 {found}, not {wanted}")]
    Hash {
        /// Which file.
        place: String,
        /// Hex.
        found: String,
        /// Hex.
        wanted: String,
    },
    /// The profile's signature is not good.
    #[error("the signature of {place} is refused: {why}")]
    Signature {
        /// Of which profile.
        place: String,
        /// Step, code and words.
        why: String,
    },
    /// Nobody said who vouches for the profile.
    #[error("nobody said who vouches for the profile {place}")]
    Unvouched {
        /// Which profile.
        place: String,
    },
    /// `--unsigned` with a URL.
    #[error("a profile from a URL is never taken unsigned")]
    UnsignedUrl,
    /// A setting of the one who runs it.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Trust, or who is wanted.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Nobody to ask.
    #[error("nobody can be asked: there is no terminal")]
    NoTerminal,
    /// The answer was no.
    #[error("nothing was written")]
    Declined,
}

impl SetupError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTerminal => "add --yes to do it without asking; --dry-run shows it".to_owned(),
            Self::Place(PlaceError::ReadOnly { .. }) => "change it where it is managed (home-manager, chezmoi, configuration management), with the lines that --dry-run shows; or make it writable with chmod u+w".to_owned(),
            Self::Place(PlaceError::Locked { lock, .. }) => format!(
                "wait for the other program; if there is none, remove {}",
                lock.display()
            ),
            Self::Place(PlaceError::Changed { .. }) => "run it again".to_owned(),
            Self::Place(PlaceError::Io { error, .. })
                if error.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                "the machine's configuration belongs to its administrator: sudo gitseal setup --system; your own is written without --system".to_owned()
            }
            Self::Place(PlaceError::Record { path, .. }) => format!(
                "without it setup does not know what was there before; move {} away to go on without undoing earlier changes",
                path.display()
            ),
            Self::Unvouched { .. } => "name its signer with --certificate-identity WHO --certificate-oidc-issuer URL, or pin its content with --sha256 HEX; --unsigned takes a local file as it is".to_owned(),
            Self::UnsignedUrl => "name its signer, or pin it with --sha256 HEX".to_owned(),
            Self::NotOwn => "git config --global --add safe.directory PATH, if you trust it".to_owned(),
            Self::Git(GitError::NoRepository { .. }) => "--local is about the repository here; without it your own configuration is written".to_owned(),
            Self::GitProgram(GitProgramError::Absent) => "install git 2.34 or newer".to_owned(),
            Self::Malformed { .. } | Self::Change { .. } => "git itself stops at such a file, or reads it differently: mend the line first".to_owned(),
            Self::Signature { .. } => "do not use this profile; ask whoever published it".to_owned(),
            Self::Context(obstacle) => return obstacle.hint().map(str::to_owned),
            _ => return None,
        })
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

/// Which configuration, as words and as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Local,
    Global,
    System,
}

impl Place {
    fn of(arguments: &SetupArgs) -> Self {
        if arguments.local {
            Self::Local
        } else if arguments.system {
            Self::System
        } else {
            Self::Global
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
            Self::System => "system",
        }
    }

    fn keep(self) -> Keep {
        match self {
            Self::Local | Self::Global => Keep::WithTheUser,
            Self::System => Keep::BesideTheFile,
        }
    }

    /// The file, as git would choose it.
    fn file(self) -> Result<PathBuf, SetupError> {
        let here = Path::new(".");
        match self {
            Self::Local => {
                let workspace = Workspace::open(here)?;
                let repository = workspace.repository()?;
                if !repository.is_owned_by_user() {
                    return Err(SetupError::NotOwn);
                }
                let file = repository.config_file();
                Ok(file.canonicalize().unwrap_or(file))
            }
            Self::Global => global_file(),
            Self::System => Ok(git_program::system_file(here)?),
        }
    }
}

/// Asks on the terminal, whatever standard input is.
fn ask(question: &str) -> std::io::Result<String> {
    let (input, output) = if cfg!(windows) {
        ("CONIN$", "CONOUT$")
    } else {
        ("/dev/tty", "/dev/tty")
    };
    let mut output = OpenOptions::new().write(true).open(output)?;
    let input = OpenOptions::new().read(true).open(input)?;
    output.write_all(question.as_bytes())?;
    output.flush()?;
    let mut line = String::new();
    BufReader::new(input.take(1024)).read_line(&mut line)?;
    Ok(line)
}

/// `GIT_CONFIG_GLOBAL`, else `~/.gitconfig`, unless only the one in
/// `$XDG_CONFIG_HOME/git` is there (`git-config(1)`).
fn global_file() -> Result<PathBuf, SetupError> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(file) = variable("GIT_CONFIG_GLOBAL") {
        return Ok(PathBuf::from(file));
    }
    let home = variable("HOME")
        .or_else(|| variable("USERPROFILE").filter(|_| cfg!(windows)))
        .map(PathBuf::from)
        .ok_or(PlaceError::NoHome)?;
    let usual = home.join(".gitconfig");
    let other = variable("XDG_CONFIG_HOME")
        .map_or_else(|| home.join(".config"), PathBuf::from)
        .join("git")
        .join("config");
    Ok(if !usual.exists() && other.exists() {
        other
    } else {
        usual
    })
}

/// A file of ours that goes with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    path: PathBuf,
    content: Vec<u8>,
    sha256: String,
}

/// What is to be done.
struct Plan {
    place: Place,
    file: ConfigFile,
    record_path: PathBuf,
    earlier: Option<Record>,
    content: Option<Vec<u8>>,
    record: Option<Record>,
    rows: Vec<Row>,
    left: Vec<config_file::Left>,
    installed: Vec<Installed>,
    removed: Vec<PathBuf>,
    profile: Option<String>,
}

/// One change, for people.
struct Row {
    key: ConfigKey,
    old: Option<String>,
    new: Option<String>,
    source: String,
}

/// `gitseal setup`.
pub fn run(arguments: &SetupArgs) -> u8 {
    match story(arguments) {
        Ok(code) => code,
        Err(error) => {
            terminal::error(
                &escape(&error.to_string(), Escape::Prose),
                error
                    .hint()
                    .map(|hint| escape(&hint, Escape::Prose))
                    .as_deref(),
            );
            error.exit()
        }
    }
}

/// Lets git use this program, and changes nothing else: what `doctor --fix`
/// does by itself.
///
/// # Errors
/// See [`SetupError`].
pub fn mend() -> Result<(), SetupError> {
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
    let plan = plan(&arguments)?;
    plan.file.check_writable()?;
    plan.carry_out()
}

fn story(arguments: &SetupArgs) -> Result<u8, SetupError> {
    let plan = plan(arguments)?;
    let nothing = plan.rows.is_empty() && plan.content.as_deref() == plan.file.content.as_deref();
    if arguments.json {
        let written = !nothing && !arguments.dry_run && arguments.yes;
        if written {
            plan.carry_out()?;
        }
        return Ok(crate::exit::written(terminal::print_json(
            &plan.json(written),
        )));
    }
    plan.show()?;
    if nothing {
        return Ok(EXIT_OK);
    }
    if arguments.dry_run {
        terminal::tell("nothing was written (--dry-run)");
        return Ok(EXIT_OK);
    }
    plan.file.check_writable()?;
    if !arguments.yes {
        let question = format!(
            "write {}? [y/N] ",
            escape(&plan.file.path.to_string_lossy(), Escape::Prose)
        );
        let answer = ask(&question).map_err(|_| SetupError::NoTerminal)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(SetupError::Declined);
        }
    }
    plan.carry_out()?;
    plan.conclude(arguments.undo);
    Ok(EXIT_OK)
}

fn plan(arguments: &SetupArgs) -> Result<Plan, SetupError> {
    let place = Place::of(arguments);
    let profile = match &arguments.profile.from {
        None => None,
        Some(from) => Some(source::fetch(from, &arguments.profile)?),
    };
    let file = ConfigFile::read(&place.file()?)?;
    let record_path = place::record_path(&file, place.keep())?;
    let earlier = place::read_record(&record_path)?;
    let malformed = |error| SetupError::Malformed {
        path: file.path.clone(),
        error,
    };
    let base = match &earlier {
        None => config_file::Undone {
            bytes: file.bytes().to_vec(),
            left: Vec::new(),
            taken_back: Vec::new(),
        },
        Some(record) => config_file::undo(file.bytes(), record).map_err(malformed)?,
    };
    let mut installed = Vec::new();
    let (changed, name) = if arguments.undo {
        (None, None)
    } else {
        let name = profile.as_ref().map(|fetched| fetched.name.clone());
        let mut wishes = kept(earlier.as_ref(), &base, profile.is_some());
        let new = wishes_of(arguments, profile.as_ref(), &file, place, &mut installed)?;
        wishes.retain(|wish| !new.iter().any(|other| other.key == wish.key));
        wishes.extend(new);
        wishes.sort_by_key(|wish| order(&wish.key));
        check(&wishes)?;
        let changed =
            config_file::change(&base.bytes, &wishes).map_err(|error| SetupError::Change {
                path: file.path.clone(),
                error,
            })?;
        (Some(changed), name)
    };
    let created = match &earlier {
        Some(record) => record.created,
        None => file.content.is_none(),
    };
    let bytes = changed
        .as_ref()
        .map_or(&base.bytes, |changed| &changed.bytes);
    let rows = rows(&file, bytes, changed.as_ref(), earlier.as_ref()).map_err(malformed)?;
    let record = changed
        .as_ref()
        .filter(|changed| !changed.edits.is_empty())
        .map(|changed| {
            let mut record = Record::of(file.path.display().to_string(), created, changed);
            record.installed = installed
                .iter()
                .map(|file| (file.path.display().to_string(), file.sha256.clone()))
                .collect();
            if let Some(earlier) = &earlier
                && profile.is_none()
            {
                record.installed.extend(earlier.installed.clone());
            }
            record
        });
    let still: Vec<&String> = record
        .iter()
        .flat_map(|record| record.installed.iter().map(|(path, _)| path))
        .collect();
    let removed = earlier
        .iter()
        .flat_map(|record| &record.installed)
        .filter(|(path, _)| !still.contains(&path))
        .filter(|(path, sha256)| source::has_hash(Path::new(path), sha256))
        .map(|(path, _)| PathBuf::from(path))
        .collect();
    let absent = bytes.is_empty() && (created || file.content.is_none());
    let content = (!absent).then(|| bytes.clone());
    Ok(Plan {
        place,
        content,
        record_path,
        rows,
        left: if arguments.undo {
            base.left
        } else {
            Vec::new()
        },
        installed,
        removed,
        earlier,
        record,
        file,
        profile: name,
    })
}

/// What an earlier run set and is still there; what came from a profile gives
/// way to a new one.
fn kept(earlier: Option<&Record>, base: &config_file::Undone, profile: bool) -> Vec<Wish> {
    earlier
        .iter()
        .flat_map(|record| record.wishes())
        .filter(|wish| base.taken_back.contains(&wish.key))
        .filter(|wish| !(profile && wish.source == "profile"))
        .collect()
}

fn wish(key: &str, value: &str, source: &str) -> Option<Wish> {
    Some(Wish {
        key: ConfigKey::parse(key)?,
        value: value.to_owned(),
        source: source.to_owned(),
    })
}

fn wishes_of(
    arguments: &SetupArgs,
    profile: Option<&source::Fetched>,
    file: &ConfigFile,
    place: Place,
    installed: &mut Vec<Installed>,
) -> Result<Vec<Wish>, SetupError> {
    let mut wishes = Vec::new();
    let own = profile.map(|fetched| &fetched.profile);
    let program = match (&arguments.program, own.and_then(|own| own.program.clone())) {
        (Some(given), _) => (named_program(given)?, "flag"),
        (None, Some(of_profile)) => (of_profile, "profile"),
        (None, None) => (this_program()?, "setup"),
    };
    let source = if own.is_some() { "profile" } else { "setup" };
    wishes.extend(wish("gpg.format", "x509", "setup"));
    wishes.extend(wish("gpg.x509.program", &program.0, program.1));
    let signs =
        |of_profile: fn(&Profile) -> bool| !arguments.verify_only && own.is_none_or(of_profile);
    if signs(|own| own.sign_commits) {
        wishes.extend(wish("commit.gpgsign", "true", source));
    }
    if signs(|own| own.sign_tags) {
        wishes.extend(wish("tag.gpgsign", "true", source));
    }
    if let Some(fetched) = profile {
        for (name, value) in &fetched.profile.settings {
            wishes.extend(wish(&format!("gitseal.{name}"), value, "profile"));
        }
        if let Some(root) = &fetched.trusted_root {
            let directory = match place {
                Place::System => file.path.parent().unwrap_or(Path::new("/")).join("gitseal"),
                Place::Local | Place::Global => place::config_directory()?,
            };
            let sha256 = source::sha256(root);
            let short = sha256.get(..16).unwrap_or(&sha256);
            let path = directory.join(format!("trusted_root-{short}.json"));
            wishes.extend(wish(
                "gitseal.trustedRoot",
                &path.display().to_string(),
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
        let refused = |why: String| SetupError::Set {
            given: given.clone(),
            why,
        };
        let (name, value) = given
            .split_once('=')
            .ok_or_else(|| refused("write NAME=VALUE".to_owned()))?;
        let name = name.strip_prefix("gitseal.").unwrap_or(name);
        let row = TABLE
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                refused(match profile::nearest(name) {
                    Some(near) => format!("unknown setting; do you mean {near}?"),
                    None => "unknown setting: docs/settings.md has them all".to_owned(),
                })
            })?;
        wishes.retain(|wish| wish.key.to_string() != format!("gitseal.{}", row.name));
        wishes.extend(wish(&format!("gitseal.{}", row.name), value, "flag"));
    }
    Ok(wishes)
}

/// All settings together are read as they will be, so that nothing is written
/// that stops the next commit.
fn check(wishes: &[Wish]) -> Result<(), SetupError> {
    let values: Vec<ConfigValue> = wishes
        .iter()
        .map(|wish| ConfigValue {
            key: wish.key.to_string().to_ascii_lowercase(),
            value: Some(wish.value.clone().into_bytes()),
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

/// git's own keys first, ours in the order of the table.
fn order(key: &ConfigKey) -> usize {
    let name = key.to_string();
    let first = [
        "gpg.format",
        "gpg.x509.program",
        "commit.gpgsign",
        "tag.gpgsign",
    ];
    if let Some(place) = first.iter().position(|first| *first == name) {
        return place;
    }
    TABLE
        .iter()
        .position(|row| format!("gitseal.{}", row.name) == name)
        .map_or(usize::MAX, |place| place.saturating_add(first.len()))
}

/// Where this program is, as an absolute path: git started from a desktop has
/// another PATH than a shell, and finds it as well; and nothing that comes
/// earlier on somebody's PATH stands in for it. The name on the PATH is taken
/// before the file behind it, which an upgrade would move.
fn this_program() -> Result<String, SetupError> {
    let itself = env::current_exe().map_err(SetupError::Itself)?;
    let real = itself.canonicalize().unwrap_or_else(|_| itself.clone());
    let on_path = env::var_os("PATH")
        .and_then(|path| git_program::find_on(&path, "gitseal"))
        .filter(|found| found.canonicalize().is_ok_and(|found| found == real));
    let path = on_path.unwrap_or(itself);
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| SetupError::Program {
            given: path.display().to_string(),
            why: "its path is not UTF-8",
        })
}

fn named_program(given: &str) -> Result<String, SetupError> {
    let path = Path::new(given);
    let refused = |why| SetupError::Program {
        given: given.to_owned(),
        why,
    };
    if path.is_absolute() {
        if git_program::is_program(path) {
            return Ok(given.to_owned());
        }
        return Err(refused("it is no program"));
    }
    if given.contains(['/', '\\']) || given.is_empty() {
        return Err(refused(
            "a path is absolute, or git looks for it below each work tree",
        ));
    }
    env::var_os("PATH")
        .and_then(|path| git_program::find_on(&path, given))
        .map(|_| given.to_owned())
        .ok_or_else(|| refused("it is not on the PATH"))
}

/// The differences between the file as it is and as it will be.
fn rows(
    file: &ConfigFile,
    after: &[u8],
    changed: Option<&Changed>,
    earlier: Option<&Record>,
) -> Result<Vec<Row>, Malformed> {
    let before = ConfigText::parse(file.bytes())?;
    let after = ConfigText::parse(after)?;
    let mut keys: Vec<(ConfigKey, String)> = Vec::new();
    let edits = changed
        .iter()
        .flat_map(|changed| &changed.edits)
        .chain(earlier.iter().flat_map(|record| &record.edits));
    for edit in edits {
        if !keys.iter().any(|(key, _)| *key == edit.key) {
            keys.push((edit.key.clone(), edit.source.clone()));
        }
    }
    let shown = |value: Option<Option<&[u8]>>| {
        value.map(|value| {
            value.map_or_else(
                || "true".to_owned(),
                |value| String::from_utf8_lossy(value).into_owned(),
            )
        })
    };
    Ok(keys
        .into_iter()
        .filter_map(|(key, source)| {
            let (old, new) = (shown(before.last(&key)), shown(after.last(&key)));
            (old != new).then_some(Row {
                key,
                old,
                new,
                source,
            })
        })
        .collect())
}

impl Plan {
    fn show(&self) -> Result<(), SetupError> {
        let file = escape(&self.file.path.to_string_lossy(), Escape::Prose);
        if let Some(profile) = &self.profile {
            terminal::tell(&format!("profile: {}", escape(profile, Escape::Prose)));
        }
        if self.rows.is_empty() {
            terminal::tell(&format!("{file}: nothing to change"));
        } else {
            terminal::tell(&format!(
                "{} ({}){}",
                paint(Tone::Strong, &file),
                self.place.name(),
                if self.file.content.is_none() {
                    ", a new file"
                } else {
                    ""
                }
            ));
            let value = |value: &Option<String>| match value {
                None => "(not set)".to_owned(),
                Some(value) => escape(value, Escape::Prose),
            };
            let rows: Vec<Vec<String>> = self
                .rows
                .iter()
                .map(|row| {
                    vec![
                        format!("  {}", escape(&row.key.to_string(), Escape::Prose)),
                        value(&row.old),
                        format!("-> {}", value(&row.new)),
                    ]
                })
                .collect();
            terminal::tell(terminal::table(&rows).trim_end());
        }
        for installed in &self.installed {
            terminal::tell(&format!(
                "  {}  the trust root, {} bytes, SHA-256 {}",
                escape(&installed.path.to_string_lossy(), Escape::Prose),
                installed.content.len(),
                installed.sha256
            ));
        }
        for left in &self.left {
            terminal::tell(&format!(
                "  {}  stays{}: it was changed since",
                escape(&left.key.to_string(), Escape::Prose),
                left.now
                    .as_ref()
                    .map(|now| format!(" {}", escape(now, Escape::Prose)))
                    .unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Does it: files of ours, the record, the configuration, in this order.
    fn carry_out(&self) -> Result<(), SetupError> {
        for installed in &self.installed {
            place::write_public(&installed.path, &installed.content)?;
        }
        let changes = self.content.as_deref() != self.file.content.as_deref();
        let intended = self.record.clone().map(|mut record| {
            record.before = self.earlier.clone().map(|mut earlier| {
                // One step back is enough: an earlier one came to its end.
                earlier.before = None;
                Box::new(earlier)
            });
            record
        });
        if changes {
            self.file
                .replace(self.content.as_deref(), || match &intended {
                    Some(record) => place::write_record(&self.record_path, record),
                    None => Ok(()),
                })?;
        }
        match &self.record {
            Some(record) => place::write_record(&self.record_path, record)?,
            None => place::remove_record(&self.record_path)?,
        }
        for path in &self.removed {
            place::remove_record(path)?;
        }
        Ok(())
    }

    /// What to know afterwards: what other files still say.
    fn conclude(&self, undo: bool) {
        let file = escape(&self.file.path.to_string_lossy(), Escape::Prose);
        if undo {
            terminal::tell(&format!("{file}: taken back"));
            return;
        }
        terminal::tell(&format!(
            "{file}: written; gitseal setup --undo{} takes it back, gitseal doctor checks the rest",
            match self.place {
                Place::Global => "",
                Place::Local => " --local",
                Place::System => " --system",
            }
        ));
        let Ok(listed) = git_program::configuration(Path::new(".")) else {
            return;
        };
        for row in &self.rows {
            let key = row.key.to_string();
            let (Some(found), Some(new)) = (git_program::effective(&listed, &key), &row.new) else {
                continue;
            };
            if found.value.as_ref() != Some(new) {
                terminal::warn(&format!(
                    "{} is still {} here: {} ({}) says so",
                    escape(&key, Escape::Prose),
                    escape(found.value.as_deref().unwrap_or("true"), Escape::Prose),
                    escape(&found.origin, Escape::Prose),
                    escape(&found.scope, Escape::Prose)
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
                    "key": row.key.to_string(),
                    "old": row.old,
                    "new": row.new,
                    "source": row.source,
                })
            })
            .collect();
        json!({
            "file": self.file.path.display().to_string(),
            "scope": self.place.name(),
            "newFile": self.file.content.is_none(),
            "profile": self.profile,
            "changes": changes,
            "left": self.left.iter().map(|left| json!({
                "key": left.key.to_string(), "value": left.now,
            })).collect::<Vec<_>>(),
            "installs": self.installed.iter().map(|file| json!({
                "path": file.path.display().to_string(), "sha256": file.sha256,
            })).collect::<Vec<_>>(),
            "record": self.record_path.display().to_string(),
            "written": written,
        })
    }
}
