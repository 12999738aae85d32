//! What both kinds of client say, the one that connects and the one of a system
//! without a daemon: limits, errors and answers.
//!
//! *Not checked here:* anything; `client.rs` does.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::place::PlaceError;
use crate::protocol::{KeyId, ProtocolError, Refusal};

/// How long the steps of a conversation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until the daemon has accepted and greeted.
    pub connect: Duration,
    /// Until it has answered a request (waiting for a login or a person's
    /// confirmation comes on top).
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(500),
            answer: Duration::from_secs(2),
        }
    }
}

/// Why the daemon is of no help.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No socket, or nobody listens on it.
    #[error("no credential cache runs at {0}")]
    Absent(PathBuf),
    /// Nobody listens where one listened that asks before each signature: one
    /// that does not ask is not started there.
    #[error(
        "the credential cache at {0}, which asks before each signature (--confirm), does not run, and one that does not ask is not started in its place"
    )]
    Asks(PathBuf),
    /// The place, or who listens there, is not safe to speak to.
    #[error("the credential cache is not safe to use: {0}")]
    Unsafe(PlaceError),
    /// The process that listens belongs to another user.
    #[error("the credential cache is not safe to use: {0} listens")]
    Stranger(String),
    /// The program that was started to be one has ended.
    #[error("the credential cache does not start: {program}: {said}")]
    Ended {
        /// The program.
        program: PathBuf,
        /// What it said, or how it ended.
        said: String,
    },
    /// It took too long.
    #[error("the credential cache did not answer in time")]
    Timeout,
    /// A gitsign daemon listens: it speaks another protocol, and hands out keys.
    #[error("a gitsign credential cache listens at {0}; gitseal does not use it")]
    Gitsign(PathBuf),
    /// It speaks another version.
    #[error("the credential cache speaks another protocol version")]
    Version,
    /// It said no.
    #[error("{0}")]
    Refused(Refusal),
    /// What it said is not in the protocol.
    #[error("the credential cache's answer makes no sense: {0}")]
    Protocol(ProtocolError),
    /// The connection failed.
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
pub type Credential = (KeyId, Vec<Vec<u8>>);

/// What became of [`crate::client::Connection::acquire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// There is a credential.
    Found {
        /// The key that signs.
        key: KeyId,
        /// Its certificates in DER, leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// This connection logs in for all who ask meanwhile: it must
    /// [`crate::client::Connection::store`] or [`crate::client::Connection::fail`]; if it ends first, the next
    /// one leads.
    Lead {
        /// The new key; until it is stored it signs for this connection alone.
        key: KeyId,
        /// Its SubjectPublicKeyInfo in DER.
        public: Vec<u8>,
    },
    /// The one who logged in says that it failed.
    Failed {
        /// Why, in words.
        reason: String,
    },
}
