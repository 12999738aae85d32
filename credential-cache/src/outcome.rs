//! The time limits, errors and outcomes of a client, on systems with and without
//! a daemon.
//!
//! *Not checked here:* anything; `client.rs` does.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::protocol::{KeyId, ProtocolError, RequestError};
use crate::socket_path::SocketPathError;

/// Time limits of a client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// The time until the daemon has accepted and greeted.
    pub connect: Duration,
    /// The time until the daemon has answered a request. Waiting for a login or
    /// for the user's confirmation is added.
    pub answer: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(500),
            answer: Duration::from_secs(2),
        }
    }
}

/// Errors of the credential cache client.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum ClientError {
    /// There is no socket, or no process listens on it.
    #[error("the credential cache is not running ({0})")]
    Absent(PathBuf),
    /// No process listens where the last daemon had `--confirm`, and one without
    /// it is not started there.
    #[error(
        "the credential cache with --confirm ({0}) is not running; refusing to start one without --confirm"
    )]
    ConfirmRequired(PathBuf),
    /// The path of the socket is not safe.
    #[error("the credential cache is not safe to use: {0}")]
    Unsafe(SocketPathError),
    /// The process that listens belongs to another user.
    #[error("the credential cache is not safe to use: {0} listens")]
    Stranger(String),
    /// The program that was started as a daemon has exited.
    #[error("cannot start the credential cache {program}: {reason}")]
    Ended { program: PathBuf, reason: String },
    /// A time limit has passed.
    #[error("the credential cache did not answer in time")]
    Timeout,
    /// A gitsign daemon listens: it uses another protocol, and returns keys.
    #[error("a gitsign credential cache listens at {0}; gitseal does not use it")]
    Gitsign(PathBuf),
    /// The daemon uses another version of the protocol.
    #[error("incompatible credential cache (protocol version)")]
    Version,
    /// The daemon denied the request.
    #[error("{0}")]
    Refused(RequestError),
    /// The response is not part of the protocol.
    #[error("malformed response from the credential cache: {0}")]
    Protocol(ProtocolError),
    /// The connection to the daemon failed.
    #[error("the connection to the credential cache failed: {0}")]
    Io(io::Error),
}

impl From<ProtocolError> for ClientError {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Version(_) => Self::Version,
            ProtocolError::Io(error) => error.into(),
            ProtocolError::Closed => Self::Io(io::ErrorKind::ConnectionReset.into()),
            other => Self::Protocol(other),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            Self::Timeout
        } else {
            Self::Io(error)
        }
    }
}

/// A key and its certificates in DER, leaf first.
pub type CachedCredential = (KeyId, Vec<Vec<u8>>);

/// The outcome of `Connection::acquire`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants explain their fields")]
pub enum AcquireOutcome {
    /// A key and its certificates in DER, leaf first.
    Found { key: KeyId, chain: Vec<Vec<u8>> },
    /// A new key and its SubjectPublicKeyInfo in DER. This connection logs in for
    /// all clients that ask in the meantime: it must `store` or `fail`; if it
    /// ends first, the next one must log in. Until then the key signs for this
    /// connection alone.
    MustLogIn { key: KeyId, public: Vec<u8> },
    /// Another client's login failed for this reason.
    Failed { reason: String },
}
