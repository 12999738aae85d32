//! The credential cache, from the signer's side: whose credential is asked for,
//! and finding or starting the daemon.
//!
//! Nothing here can keep a signature from being made: a daemon that is not
//! there, too slow, not safe or not ours is told about, and left aside.

use std::{env, path::PathBuf, time::Duration};

use gitseal_credential_cache::{
    client::{self, AcquireOutcome, ClientError, ClientTimeouts, Connection, RequestError},
    protocol::Scope,
    socket_path,
};
use sha2::{Digest as _, Sha256};

use super::{
    error::no_cache_hint,
    login::{LoginOptions, TokenSource},
};
use crate::host::settings::{CacheMode, Origin, Setting};
use gitseal_evidence::{hex, trusted_root::TrustedRoot};
use gitseal_terminal as terminal;

/// How long a certificate must still be good for, in seconds, to sign with it:
/// what the log and a timestamp authority may take, and some difference of
/// clocks.
pub const MIN_LEFT: u64 = 20;
/// How long to wait for somebody else's login before making one's own. A login
/// in the browser takes two minutes at most.
pub const WAIT_FOR_LOGIN: Duration = Duration::from_secs(150);
/// After how long the person is told that this signature waits for a login.
const QUIET: Duration = Duration::from_secs(1);
/// How long a daemon may take to start. It needs two milliseconds.
const WAIT_FOR_START: Duration = Duration::from_secs(2);
/// The daemon's file name.
const PROGRAM: &str = "gitseal-credential-cache";

/// Whose credential is wanted. What two settings have in common is no reason to
/// share one: every member must be equal.
pub(super) fn scope(
    authority: &str,
    login: &LoginOptions<'_>,
    source: &TokenSource,
    trust: &TrustedRoot,
) -> Scope {
    Scope {
        issuer: login.settings.issuer.value.as_str().to_owned(),
        client_id: login.settings.client_id.value.clone(),
        connector: login
            .settings
            .connector_id
            .value
            .clone()
            .unwrap_or_default(),
        authority: authority.to_owned(),
        trusted_root: hex(&Sha256::digest(
            gitseal_services::trusted_root::to_json(trust).as_bytes(),
        )),
        subject: source.binding(login),
    }
}

/// Where the socket is, if a cache is wanted.
///
/// # Errors
/// No place for one: there is no home directory, or its path is too long.
pub fn socket(mode: &CacheMode) -> Result<Option<PathBuf>, ClientError> {
    match mode {
        CacheMode::Off => Ok(None),
        CacheMode::At(path) => Ok(Some(path.clone())),
        CacheMode::Auto => socket_path::default_socket()
            .map(Some)
            .map_err(ClientError::Unsafe),
    }
}

/// Why there is no cache to use.
#[derive(Debug, thiserror::Error)]
pub enum CacheUnavailableError {
    /// Nobody wants one.
    #[error("gitseal.credentialCache is off")]
    Off,
    /// None runs, and the program is not there.
    #[error("no credential cache runs at {socket}, and there is no program {PROGRAM} to start")]
    NotInstalled {
        /// Where one was looked for.
        socket: PathBuf,
        /// Whether somebody asked for it.
        wanted: bool,
    },
    /// None runs, and the place is gitsign's: its programs would find a daemon
    /// there that they cannot speak to.
    #[error(
        "no credential cache runs at {socket}, and gitseal starts none where {variable} names gitsign's"
    )]
    Gitsigns {
        /// Where.
        socket: PathBuf,
        /// The variable.
        variable: String,
    },
    /// It does not answer as it should, or cannot be started.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl CacheUnavailableError {
    /// Whether the person needs to know: not if they wanted none, or never had
    /// one.
    fn is_news(&self) -> bool {
        !matches!(self, Self::Off | Self::NotInstalled { wanted: false, .. })
    }
}

/// Connects to the daemon, and starts it if there is none.
///
/// # Errors
/// [`CacheUnavailableError`].
pub(super) fn connect(setting: &Setting<CacheMode>) -> Result<Connection, CacheUnavailableError> {
    let socket = socket(&setting.value)?.ok_or(CacheUnavailableError::Off)?;
    match Connection::open(&socket, ClientTimeouts::default()) {
        Err(ClientError::Absent(_)) => {}
        other => return Ok(other?),
    }
    if let Some(variable) = gitsign_socket_variable(setting) {
        return Err(CacheUnavailableError::Gitsigns {
            socket,
            variable: variable.to_owned(),
        });
    }
    let Some(program) = program() else {
        return Err(CacheUnavailableError::NotInstalled {
            socket,
            wanted: setting.value != CacheMode::Auto,
        });
    };
    client::start(&program, &socket, WAIT_FOR_START)?;
    Ok(Connection::open(&socket, ClientTimeouts::default())?)
}

/// The variable of gitsign's that names the socket, if nothing of gitseal's
/// does.
pub fn gitsign_socket_variable(setting: &Setting<CacheMode>) -> Option<&str> {
    match (&setting.value, &setting.origin) {
        (CacheMode::At(_), Origin::Environment { name }) if name.starts_with("GITSIGN_") => {
            Some(name)
        }
        _ => None,
    }
}

/// The credential, or the lead, or what became of another process's lead, for
/// which this waits; of a longer wait the person is told.
///
/// # Errors
/// [`RequestError::Waited`] after [`WAIT_FOR_LOGIN`]; else as
/// [`Connection::acquire`].
pub(super) fn acquire(
    connection: &mut Connection,
    scope: &Scope,
    tell: impl FnOnce(),
) -> Result<AcquireOutcome, ClientError> {
    match connection.acquire(scope, MIN_LEFT, QUIET) {
        Err(ClientError::Refused(RequestError::Waited)) => {
            tell();
            connection.acquire(scope, MIN_LEFT, WAIT_FOR_LOGIN.saturating_sub(QUIET))
        }
        other => other,
    }
}

/// The daemon of this installation: beside this program.
pub fn program() -> Option<PathBuf> {
    let directory = env::current_exe().ok()?.parent()?.to_owned();
    let path = directory.join(format!("{PROGRAM}{}", env::consts::EXE_SUFFIX));
    path.is_file().then_some(path)
}

/// Tells that this signature is made without the cache, and why.
pub(super) fn warn_without_cache(why: &CacheUnavailableError) {
    if why.is_news() {
        let hint = no_cache_hint(why);
        terminal::warn(&format!(
            "signing without the credential cache: {}{}{}",
            why,
            if hint.is_some() { "; " } else { "" },
            hint.unwrap_or_default()
        ));
    }
}
