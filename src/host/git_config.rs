//! Git's configuration: each value with its scope and file, in the order of
//! `git config --list --show-scope --show-origin`.
//!
//! ```text
//! listing.rs     what Git lists: a process
//! in_process.rs  the same without Git, as far as it is certain to be the same
//! syntax.rs      one file
//! command.rs     GIT_CONFIG_COUNT, GIT_CONFIG_PARAMETERS
//! ```
//!
//! Git's listing decides. It is read in-process only where Git starts gitseal
//! once for each commit that it shows, or if there is no Git to ask. See
//! `docs/decisions/0009-reading-configuration.md`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::git_program::{self, GitProgramError};

#[cfg(unix)]
mod command;
#[cfg(unix)]
mod in_process;
mod listing;
#[cfg(unix)]
mod syntax;

pub use listing::list;

/// The scope of a value of Git's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigScope {
    System,
    Global,
    /// The repository, and files that it includes.
    Local,
    Worktree,
    /// `git -c` and `GIT_CONFIG_COUNT`.
    Command,
}

impl ConfigScope {
    /// Returns the name in `git config --show-scope`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Global => "global",
            Self::Local => "local",
            Self::Worktree => "worktree",
            Self::Command => "command",
        }
    }

    /// Returns whether the value belongs to the repository: who can write there
    /// need not be the user.
    #[must_use]
    pub fn is_repository(self) -> bool {
        matches!(self, Self::Local | Self::Worktree)
    }
}

/// One value of Git's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    /// The section and the name in lower case, the subsection verbatim.
    pub key: String,
    /// `None` for a key without `=`, which Git reads as true.
    pub value: Option<Vec<u8>>,
    pub scope: ConfigScope,
    /// The file that contains it: absolute, unless Git names it relative to a
    /// directory that is not certain. `None` on the command line.
    pub file: Option<PathBuf>,
}

/// The value of a key that counts: the last one.
#[must_use]
pub fn last<'a>(values: &'a [ConfigValue], key: &str) -> Option<&'a ConfigValue> {
    values.iter().rev().find(|value| value.key == key)
}

/// Access to environment variables, which tests replace.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The system's configuration file, unless the environment names another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemFile {
    At(PathBuf),
    /// It depends on how Git was built.
    Unknown {
        reason: String,
    },
}

impl SystemFile {
    /// Returns the file that the Git on the PATH reads. Git is not started: it is
    /// `/etc/gitconfig` for a Git with the prefix `/usr`, and where there is none.
    #[must_use]
    pub fn of_git_on_path() -> Self {
        const DIRECTORIES: [&str; 4] = [
            "/usr/bin",
            "/bin",
            "/usr/lib/git-core",
            "/usr/libexec/git-core",
        ];
        let default = Self::At(PathBuf::from("/etc/gitconfig"));
        let Some(git) = git_program::program() else {
            return default;
        };
        let real = std::fs::canonicalize(&git).unwrap_or_else(|_| git.clone());
        let is_known = cfg!(target_os = "linux")
            && real
                .parent()
                .is_some_and(|parent| DIRECTORIES.iter().any(|one| parent == Path::new(one)));
        if is_known {
            return default;
        }
        Self::Unknown {
            reason: format!("the system configuration of {}", git.display()),
        }
    }
}

/// The directories of a repository that contain its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFiles {
    pub git_dir: PathBuf,
    pub common_dir: PathBuf,
    /// The top of the work tree.
    pub work_tree: Option<PathBuf>,
    /// Whether its files belong to the user. Of another user's repository Git
    /// reads the configuration only if `safe.directory` allows it.
    pub is_owned: bool,
}

/// Where configuration is read from.
pub struct ConfigSources<'a> {
    /// The directory where Git is started.
    pub directory: &'a Path,
    pub environment: Variables<'a>,
    pub repository: Option<RepositoryFiles>,
    pub system: SystemFile,
}

/// How configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigReading {
    /// Git lists it.
    Listing,
    /// In-process; Git lists what only Git can read.
    InProcess,
}

/// Reasons why configuration is not read in-process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Git stops at it as well.
    #[error("{}{reason}", place(.file.as_deref()))]
    Malformed {
        file: Option<PathBuf>,
        reason: String,
    },
    /// Versions of Git differ, or only Git knows.
    #[error("{}{construct}", place(.file.as_deref()))]
    NeedsGit {
        file: Option<PathBuf>,
        construct: String,
    },
}

fn place(file: Option<&Path>) -> String {
    file.map(|file| format!("{}: ", file.display()))
        .unwrap_or_default()
}

#[cfg(unix)]
impl ReadError {
    fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed {
            file: None,
            reason: reason.into(),
        }
    }

    fn needs_git(construct: impl Into<String>) -> Self {
        Self::NeedsGit {
            file: None,
            construct: construct.into(),
        }
    }

    /// Adds the file, unless the error names one.
    fn within(mut self, path: &Path) -> Self {
        let (Self::Malformed { file, .. } | Self::NeedsGit { file, .. }) = &mut self;
        file.get_or_insert_with(|| path.to_owned());
        self
    }
}

/// Errors while reading Git's configuration. Without it nothing is decided: a rule
/// that is not read must not count as absent.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Git cannot read its configuration.
    #[error("cannot read Git's configuration: {0}")]
    Git(GitProgramError),
    /// Git does not run, and what it would read is not certain.
    #[error(
        "cannot read Git's configuration: {git}, and it contains what only Git can read ({construct})"
    )]
    NeedsGit {
        git: GitProgramError,
        construct: ReadError,
    },
}

/// Reads all values in the order of ascending precedence.
///
/// # Errors
/// Returns [`ConfigError`] if Git cannot read its configuration, or does not run
/// and the configuration contains something that only Git can read.
pub fn read(
    sources: &ConfigSources<'_>,
    reading: ConfigReading,
) -> Result<Vec<ConfigValue>, ConfigError> {
    if reading == ConfigReading::InProcess
        && let Ok(values) = read_in_process(sources)
    {
        return Ok(values);
    }
    let git = match list(sources.directory, sources.repository.as_ref()) {
        Ok(values) => return Ok(values),
        Err(error @ GitProgramError::Failed { .. }) => return Err(ConfigError::Git(error)),
        Err(error) => error,
    };
    read_in_process(sources).map_err(|construct| ConfigError::NeedsGit { git, construct })
}

/// Reads all values without Git.
///
/// # Errors
/// Returns [`ReadError`] if Git fails on the configuration, or may read it
/// differently.
pub fn read_in_process(sources: &ConfigSources<'_>) -> Result<Vec<ConfigValue>, ReadError> {
    #[cfg(unix)]
    return in_process::read(sources);
    #[cfg(not(unix))]
    return Err(ReadError::NeedsGit {
        file: None,
        construct: format!("the configuration of {}", sources.directory.display()),
    });
}
