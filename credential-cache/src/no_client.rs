//! The client where there is no daemon to speak to: it says so at once, and
//! gitseal signs without it.
//!
//! *Not checked here:* anything; the client of other systems is `client.rs`.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

pub use crate::answer::{Acquired, ClientError, Credential, Limits};
pub use crate::protocol::{Daemon, Entry, KeyId, Refusal, Scope, TokenKind};

/// A connection that cannot be.
pub struct Connection(Infallible);

#[allow(missing_docs, clippy::missing_errors_doc)] // as in `client.rs`
impl Connection {
    pub fn open(socket: &Path, _limits: Limits) -> Result<Self, ClientError> {
        Err(ClientError::Absent(socket.to_owned()))
    }

    pub fn daemon(&self) -> Daemon {
        match self.0 {}
    }

    pub fn find(&mut self, _: &Scope, _: u64) -> Result<Option<Credential>, ClientError> {
        match self.0 {}
    }

    pub fn acquire(&mut self, _: &Scope, _: u64, _: Duration) -> Result<Acquired, ClientError> {
        match self.0 {}
    }

    pub fn store(&mut self, _: KeyId, _: &[Vec<u8>]) -> Result<(), ClientError> {
        match self.0 {}
    }

    pub fn fail(&mut self, _: KeyId, _: &str) -> Result<(), ClientError> {
        match self.0 {}
    }

    pub fn sign(&mut self, _: KeyId, _: [u8; 32]) -> Result<Vec<u8>, ClientError> {
        match self.0 {}
    }

    pub fn keep_token(
        &mut self,
        _: &Scope,
        _: TokenKind,
        _: &str,
        _: u64,
    ) -> Result<(), ClientError> {
        match self.0 {}
    }

    pub fn forget_token(&mut self, _: &Scope, _: TokenKind) -> Result<(), ClientError> {
        match self.0 {}
    }

    pub fn token(
        &mut self,
        _: &Scope,
        _: TokenKind,
    ) -> Result<Option<Zeroizing<String>>, ClientError> {
        match self.0 {}
    }

    pub fn status(&mut self) -> Result<Vec<Entry>, ClientError> {
        match self.0 {}
    }

    pub fn forget(&mut self, _: &Scope) -> Result<bool, ClientError> {
        match self.0 {}
    }

    pub fn clear(&mut self) -> Result<u32, ClientError> {
        match self.0 {}
    }

    pub fn stop(&mut self) -> Result<(), ClientError> {
        match self.0 {}
    }
}

/// Starts nothing.
///
/// # Errors
/// `Unsupported`.
pub fn start(_program: &Path, _socket: &Path, _wait: Duration) -> Result<(), ClientError> {
    Err(ClientError::Io(io::ErrorKind::Unsupported.into()))
}
