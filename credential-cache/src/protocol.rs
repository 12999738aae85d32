//! The messages between a signing program and the credential cache, and their
//! framing.
//!
//! ```text
//! frame    = length payload          length: u32, big-endian, of payload; 2 ..= MAX_FRAME
//! payload  = version kind fields     version: u8 = VERSION; kind: u8
//! bytes    = u32 length, then that many bytes
//! text     = bytes that are UTF-8 without control characters
//! list<T>  = u32 count, then count times T
//! flag     = u8, 0 or 1
//! scope    = issuer client_id connector authority trusted_root subject, each a
//!            text; together at most MAX_SCOPE bytes
//! ```
//!
//! One request is answered by one response, in order; a connection starts with
//! [`CacheRequest::Hello`]. Parsing is strict: an unknown version or kind, a
//! length that points past the end, bytes after the last field and an over-long
//! field each have an error of their own, so that a payload that is accepted
//! prints back to the same bytes.
//!
//! **No message holds a private key.** A token travels to the daemon in a frame
//! ([`CacheRequest::KeepToken`]); no response can carry one back. It leaves the
//! daemon only through a descriptor that the client passes along with
//! [`CacheRequest::Token`] (SCM_RIGHTS), which a socket forwarded to another
//! machine cannot do.
//!
//! *Not checked here:* the process at the other end of the socket (`peer.rs`),
//! whether a key exists and until when it is valid (`store.rs`), descriptors
//! (`connection.rs`).

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

mod fields;
mod wire;

/// The version of this protocol. A daemon answers any other one with
/// [`RequestError::Version`].
pub const VERSION: u8 = 1;

/// The largest payload, in bytes. A certificate chain of four is about 4 KiB;
/// a status of [`MAX_ENTRIES`] is the largest honest message.
pub const MAX_FRAME: usize = 64 * 1024;

/// The longest text (a URL, an email address, a reason), in bytes.
pub const MAX_TEXT: usize = 1600;

/// The most bytes of all texts of one scope. [`MAX_ENTRIES`] scopes fit a frame.
pub const MAX_SCOPE: usize = 1800;

/// The most certificates in a chain: leaf, two intermediates, root, and room.
pub const MAX_CHAIN: usize = 8;

/// The largest certificate, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 16 * 1024;

/// The most entries in a status, and the most scopes that a daemon keeps.
pub const MAX_ENTRIES: usize = 32;

/// The largest public key (SubjectPublicKeyInfo) or signature, in bytes.
pub const MAX_KEY: usize = 1024;

/// The largest token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The time that a user has to confirm a signature (`--confirm`).
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

/// The name of a key inside the daemon: random, and meaningless outside it.
pub type KeyId = [u8; 16];

/// The login settings that a credential belongs to. Two requests get the same
/// key only if every member is equal, so a changed setting never reuses another
/// identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The URL of the OIDC issuer.
    pub issuer: String,
    /// The OIDC client ID, which is the audience of the token.
    pub client_id: String,
    /// The requested identity provider behind the issuer, or empty.
    pub connector: String,
    /// The base URL of the certificate authority.
    pub authority: String,
    /// SHA-256 of the trusted root in use, in hex.
    pub trusted_root: String,
    /// The requested subject (an email address), or empty for any.
    pub subject: String,
}

/// The kinds of token that are kept for a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The identity token of a login, until it expires.
    Identity,
    /// The refresh token, if the issuer grants one.
    Refresh,
}

/// A token on its way to the daemon. It is zeroized when dropped, and its
/// `Debug` output does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Zeroizing<String>);

impl Secret {
    /// Copies the token into memory that is zeroized when dropped.
    pub fn new(token: &str) -> Self {
        Self(Zeroizing::new(token.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// A message from a client to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants explain their fields")]
pub enum CacheRequest {
    /// Looks for a key of this scope whose certificate is valid for at least
    /// `min_left` seconds. Never waits and never makes a key.
    Find { scope: Scope, min_left: u32 },
    /// Does the same as [`CacheRequest::Find`]. If there is no such key, the
    /// first client gets a new one and must log in
    /// ([`CacheResponse::MustLogIn`]); the others wait for that login, for at
    /// most `wait` milliseconds.
    Acquire {
        scope: Scope,
        min_left: u32,
        wait: u32,
    },
    /// Stores a chain (DER, leaf first) with its key. The daemon checks that
    /// the leaf contains that key.
    Store { key: KeyId, chain: Vec<Vec<u8>> },
    /// Reports that the login for this key failed, to all clients that wait.
    Fail { key: KeyId, reason: String },
    /// Requests an ECDSA signature over a SHA-256 digest.
    Sign { key: KeyId, digest: [u8; 32] },
    /// Requests a list of everything that is kept.
    Status,
    /// Deletes and zeroizes every key and token.
    Clear,
    /// Deletes everything and ends the daemon.
    Stop,
    /// Opens the conversation. A client on the same machine passes a descriptor
    /// with it.
    Hello,
    /// Keeps a token until `expires` (Unix seconds; 0 for a refresh token
    /// without an expiry time).
    KeepToken {
        scope: Scope,
        kind: TokenKind,
        token: Secret,
        expires: u64,
    },
    /// Requests that the token be written into the socket that is passed with
    /// this message.
    Token { scope: Scope, kind: TokenKind },
    /// Deletes the keys and tokens of this scope.
    Forget(Scope),
}

/// A message from the daemon to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants explain their fields")]
pub enum CacheResponse {
    /// There is no such credential.
    Absent,
    /// A key and its certificates (DER, leaf first).
    Found { key: KeyId, chain: Vec<Vec<u8>> },
    /// A new key and its SubjectPublicKeyInfo in DER: the client logs in, also
    /// for all that wait.
    MustLogIn { key: KeyId, public: Vec<u8> },
    /// Success of `Store`, `Fail` or `KeepToken`.
    Done,
    /// An ECDSA signature in DER.
    Signature(Vec<u8>),
    /// A list of everything that is kept.
    Status(Vec<StatusEntry>),
    /// The number of keys and tokens that were deleted.
    Cleared(u32),
    /// The answer to [`CacheRequest::Stop`], the last message of a daemon.
    Stopping,
    /// The reason why the login of another client failed.
    Failed(String),
    /// The answer to [`CacheRequest::Hello`].
    Welcome(DaemonInfo),
    /// The number of token bytes written into the socket that was passed; 0 if
    /// there is no such token.
    Token(u32),
    /// The request was denied.
    Refused(RequestError),
}

/// Facts about a running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaemonInfo {
    /// The process ID of the daemon.
    pub pid: u32,
    /// Whether its memory is locked, so that no key reaches a swap device.
    pub locked: bool,
    /// Whether a user confirms each signature.
    pub confirms: bool,
}

/// One scope in a status: everything that is kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEntry {
    /// The settings that the credential belongs to.
    pub scope: Scope,
    /// The end of the certificate's validity, Unix seconds; 0 without a
    /// certificate.
    pub not_after: u64,
    /// The number of signatures that were made.
    pub signatures: u32,
    /// The expiry time of the identity token, Unix seconds; 0 without one.
    pub identity_token: u64,
    /// Whether a refresh token is kept.
    pub refresh_token: bool,
    /// The number of clients that wait for a pending login.
    pub waiting: u32,
}

/// Reasons of the daemon to deny a request. The discriminant is the code in the
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The daemon uses another version of this protocol.
    #[error("incompatible credential cache (protocol version)")]
    Version = 1,
    /// The key does not exist, or was deleted.
    #[error("the credential cache has no such key")]
    UnknownKey,
    /// The certificate is no longer valid.
    #[error("the cached certificate has expired")]
    Expired,
    /// The leaf does not contain this key, or the chain is malformed.
    #[error("the certificate is not for this key")]
    NotForThisKey,
    /// There are too many keys or connections.
    #[error("the credential cache is full")]
    Full,
    /// The request is malformed.
    #[error("the credential cache could not read the request")]
    Unreadable,
    /// No client finished the login within the time that this one would wait.
    #[error("timed out waiting for another login")]
    Waited,
    /// The user declined the signature, or did not answer.
    #[error("the signature was not confirmed")]
    Denied,
    /// The client passed no descriptor: it is at the far end of a forwarded
    /// socket, which may only request signatures.
    #[error("only clients on the machine of the credential cache may do this")]
    FarAway,
    /// The daemon failed (no entropy, no memory).
    #[error("internal error of the credential cache")]
    Internal,
}

impl RequestError {
    const ALL: [Self; 10] = [
        Self::Version,
        Self::UnknownKey,
        Self::Expired,
        Self::NotForThisKey,
        Self::Full,
        Self::Unreadable,
        Self::Waited,
        Self::Denied,
        Self::FarAway,
        Self::Internal,
    ];
}

/// Errors while reading or writing a message.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum ProtocolError {
    /// The other end closed the connection between frames.
    #[error("connection closed")]
    Closed,
    /// Reading or writing failed, or the connection ended inside a frame.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The length prefix is outside 2 ..= [`MAX_FRAME`].
    #[error("frame is {0} bytes; must be 2 to {MAX_FRAME}")]
    FrameLength(u64),
    /// The payload has another protocol version.
    #[error("protocol version {0}, expected {VERSION}")]
    Version(u8),
    /// No message has this kind byte.
    #[error("unknown message kind {0:#04x}")]
    Kind(u8),
    /// A field reaches past the end of the payload.
    #[error("payload ends inside the field {0}")]
    Truncated(&'static str),
    /// Bytes follow the last field.
    #[error("{0} bytes after the last field")]
    Trailing(usize),
    /// A field has more bytes or members than its limit.
    #[error("field {field} has length {length}; the limit is {limit}")]
    TooLong {
        field: &'static str,
        length: usize,
        limit: usize,
    },
    /// A text is not UTF-8, or contains a control character.
    #[error("field {0} is not plain text")]
    Text(&'static str),
    /// A flag or a token kind has an undefined value.
    #[error("field {0} has an undefined value")]
    Value(&'static str),
    /// This version does not define the error code.
    #[error("unknown error code {0}")]
    ErrorCode(u8),
}

/// Reads one frame and returns its payload. Memory grows with the bytes that
/// arrive, not with the length that is claimed.
///
/// # Errors
/// Returns [`ProtocolError::Closed`] if the stream ends before a frame starts,
/// [`ProtocolError::Io`] if it ends inside one or on a read error (a timeout set
/// on the stream is one), and [`ProtocolError::FrameLength`].
pub fn read_frame(stream: &mut impl Read) -> Result<Vec<u8>, ProtocolError> {
    let mut prefix = [0u8; 4];
    let first = loop {
        match stream.read(&mut prefix) {
            Ok(0) => return Err(ProtocolError::Closed),
            Ok(count) => break count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    };
    stream.read_exact(prefix.get_mut(first..).unwrap_or_default())?;
    let length = check_frame_length(u32::from_be_bytes(prefix) as usize)?;
    let mut payload = Vec::new();
    stream
        .by_ref()
        .take(length as u64)
        .read_to_end(&mut payload)?;
    if payload.len() != length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(payload)
}

/// Writes one payload as a frame, in a single write.
///
/// # Errors
/// Returns [`ProtocolError::FrameLength`] or [`ProtocolError::Io`].
pub fn write_frame(stream: &mut impl Write, payload: &[u8]) -> Result<(), ProtocolError> {
    stream.write_all(&frame(payload)?)?;
    stream.flush()?;
    Ok(())
}

/// Puts the length in front of a payload. The frame may contain a token.
pub(crate) fn frame(payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
    let length = check_frame_length(payload.len())?;
    let prefix = u32::try_from(length).map_err(|_| ProtocolError::FrameLength(length as u64))?;
    let mut frame = Zeroizing::new(Vec::with_capacity(payload.len().saturating_add(4)));
    frame.extend_from_slice(&prefix.to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Returns the length if a frame may have it.
pub(crate) fn check_frame_length(length: usize) -> Result<usize, ProtocolError> {
    if (2..=MAX_FRAME).contains(&length) {
        Ok(length)
    } else {
        Err(ProtocolError::FrameLength(length as u64))
    }
}

#[cfg(test)]
mod tests;
