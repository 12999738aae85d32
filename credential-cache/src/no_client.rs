//! The client on systems without a daemon: it reports that none is running, and
//! gitseal signs without it.
//!
//! *Not checked here:* anything; the client of other systems is `client.rs`.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

pub use crate::outcome::{AcquireOutcome, CachedCredential, ClientError, ClientTimeouts};
pub use crate::protocol::{DaemonInfo, KeyId, RequestError, Scope, StatusEntry, TokenKind};

/// A connection that cannot exist.
pub struct Connection(Infallible);

/// Declares the methods of `client.rs`, none of which can be called.
macro_rules! methods {
    ($($name:ident($($argument:ty),*) -> $success:ty;)*) => {
        #[allow(missing_docs, clippy::missing_errors_doc)] // as in `client.rs`
        impl Connection {
            $(pub fn $name(&mut self $(, _: $argument)*) -> Result<$success, ClientError> {
                match self.0 {}
            })*
        }
    };
}

methods! {
    find(&Scope, u64) -> Option<CachedCredential>;
    acquire(&Scope, u64, Duration) -> AcquireOutcome;
    store(KeyId, &[Vec<u8>]) -> ();
    fail(KeyId, &str) -> ();
    sign(KeyId, [u8; 32]) -> Vec<u8>;
    keep_token(&Scope, TokenKind, &str, u64) -> ();
    forget_token(&Scope, TokenKind) -> ();
    token(&Scope, TokenKind) -> Option<Zeroizing<String>>;
    status() -> Vec<StatusEntry>;
    forget(&Scope) -> bool;
    clear() -> u32;
    stop() -> ();
}

impl Connection {
    /// Fails, because there is no daemon.
    ///
    /// # Errors
    /// Returns [`ClientError::Absent`].
    pub fn open(socket: &Path, _: ClientTimeouts) -> Result<Self, ClientError> {
        Err(ClientError::Absent(socket.to_owned()))
    }

    /// Returns the facts of a daemon, which cannot exist.
    pub fn daemon(&self) -> DaemonInfo {
        match self.0 {}
    }
}

/// Fails, because there is no daemon to start.
///
/// # Errors
/// Returns `Unsupported`.
pub fn start(_: &Path, _: &Path, _: Duration) -> Result<(), ClientError> {
    Err(ClientError::Io(io::ErrorKind::Unsupported.into()))
}
