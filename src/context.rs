//! The start of every command: the repository, the settings and the HTTP client.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    exit::EXIT_USAGE,
    host::{
        git::{GitError, Workspace},
        git_config::ConfigError,
        settings::{SettingError, Settings, process_environment},
        trusted_root_files::TrustedRootLoadError,
    },
};
use gitseal_evidence::{UnixTime, identity::PatternError};
use gitseal_services::http::client::{Client, Timeouts};
use gitseal_terminal as terminal;

/// Errors that prevent a command from starting.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Trust(#[from] TrustedRootLoadError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("cannot read {what}: {error}")]
    Input {
        what: &'static str,
        error: io::Error,
    },
    #[error("cannot write {}: {error}", .path.display())]
    Output { path: PathBuf, error: io::Error },
    #[error("nothing to verify: {reason}")]
    NothingToVerify { reason: &'static str },
    #[error("no expected identity: set --certificate-identity and --certificate-oidc-issuer")]
    NoExpectedIdentity,
    #[error("{flag} is not supported: {reason}")]
    UnsupportedFlag {
        flag: &'static str,
        reason: &'static str,
    },
}

impl ContextError {
    /// The suggested next step, if there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoExpectedIdentity | Self::Pattern(PatternError::WithoutIdentity) => Some(
                "name the signer, or set gitseal.certificateIdentity and gitseal.certificateOidcIssuer; 'gitseal explain' shows who signed",
            ),
            Self::Pattern(PatternError::WithoutIssuer) => Some(
                "add --certificate-oidc-issuer; the same identity at another issuer is a different signer",
            ),
            Self::Git(GitError::Ambiguous { .. }) => Some(
                "write the full name of the ref (refs/heads/NAME, refs/tags/NAME) or the full ID",
            ),
            Self::Git(GitError::BareRepository { .. }) => {
                Some("set GIT_DIR to use it (see safe.bareRepository in git-config(1))")
            }
            Self::Git(GitError::LightweightTag { .. }) => Some(
                "'gitseal verify' checks the commit that it names; 'git tag -s' creates a signed tag",
            ),
            Self::Git(GitError::Missing { .. }) => {
                Some("fetch the object first (partial or shallow clone)")
            }
            Self::Git(GitError::Config(error)) => Some(match **error {
                ConfigError::NeedsGit { .. } => "install Git 2.34 or newer, and put it on the PATH",
                ConfigError::Git(_) => "fix it until 'git config --list' works",
            }),
            Self::Git(GitError::NoRepository { .. }) => {
                Some("run it inside a repository, or set GIT_DIR")
            }
            Self::Setting(_) => Some("'gitseal version' shows the settings in effect"),
            _ => None,
        }
    }

    /// Prints the error and its hint, and returns the exit code.
    pub fn report(&self) -> u8 {
        terminal::error(&self.to_string(), self.hint());
        EXIT_USAGE
    }
}

/// Opens the repository and resolves the settings. Prints their warnings.
///
/// # Errors
/// Returns [`ContextError`] if the repository, Git's configuration or a setting
/// is unreadable.
pub fn open_context() -> Result<(Workspace, Settings), ContextError> {
    resolve_settings(Workspace::open(Path::new("."))?)
}

/// Does the same where Git starts gitseal for each commit that it shows, and a
/// process for its configuration would cost more than the verification.
///
/// # Errors
/// Returns [`ContextError`] as [`open_context`] does.
pub fn open_context_for_git() -> Result<(Workspace, Settings), ContextError> {
    resolve_settings(Workspace::open_in_process(Path::new("."))?)
}

fn resolve_settings(workspace: Workspace) -> Result<(Workspace, Settings), ContextError> {
    let settings = Settings::resolve(
        workspace.config(),
        &process_environment,
        workspace.repository().ok(),
    )?;
    report_warnings(&workspace, &settings);
    Ok((workspace, settings))
}

/// Opens the repository and resolves the settings in a hook on a server.
///
/// # Errors
/// Returns [`ContextError`] as [`open_context`] does, or if there is no repository.
pub fn open_server_context() -> Result<(Workspace, Settings), ContextError> {
    let workspace = Workspace::open(Path::new("."))?;
    let settings = Settings::resolve_on_server(
        workspace.config(),
        &process_environment,
        workspace.repository()?,
    )?;
    report_warnings(&workspace, &settings);
    Ok((workspace, settings))
}

fn report_warnings(workspace: &Workspace, settings: &Settings) {
    if let Some(path) = &settings.log_path.value
        && let Err(error) = terminal::log_to(path)
    {
        terminal::warn(&format!(
            "cannot write log file {}: {error}",
            path.display()
        ));
    }
    for warning in settings.warnings() {
        terminal::warn(&warning);
    }
    if let Ok(repository) = workspace.repository()
        && !repository.is_owned_by_user()
    {
        terminal::warn(
            "this repository is owned by another user; ignoring its configuration (see safe.directory in git-config(1))",
        );
    }
}

/// Creates the client for requests to services.
#[must_use]
pub fn http_client() -> Client {
    http_client_within(Timeouts::default())
}

/// Creates the client for requests to services, with these timeouts. The random
/// bytes only spread retries.
#[must_use]
pub fn http_client_within(timeouts: Timeouts) -> Client {
    Client::new(timeouts, || {
        let mut byte = [0_u8; 1];
        // Without entropy the pause is the longest one.
        getrandom::fill(&mut byte).map_or(u8::MAX, |()| u8::from_be_bytes(byte))
    })
}

/// Returns the current time of the system clock.
#[must_use]
pub fn system_time() -> UnixTime {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}
