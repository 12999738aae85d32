//! The messages between a signing program and the credential cache, and how
//! they are framed.
//!
//! ```text
//! frame    = length payload          length: u32, big-endian, of payload; 2 ..= MAX_FRAME
//! payload  = version kind fields     version: u8 = VERSION; kind: u8
//! bytes    = u32 length, then that many bytes
//! text     = bytes that are UTF-8 without control characters
//! list<T>  = u32 count, then count times T
//! flag     = u8, 0 or 1
//! scope    = issuer client_id connector authority trust_root subject, each a text;
//!            together at most MAX_SCOPE bytes
//! ```
//!
//! One request is answered by one response, in order; a connection begins with
//! [`Request::Hello`]. Everything is strict: an unknown version or kind, a
//! length that points past the end, bytes after the last field, an over-long
//! field are each refused by name, so that a payload that is accepted prints
//! back to the same bytes.
//!
//! **No message holds a private key.** A token travels to the daemon in a frame
//! ([`Request::KeepToken`]); no response can carry one back: it leaves the daemon
//! only through a descriptor that the client passes along with
//! [`Request::Token`] (SCM_RIGHTS), which a socket forwarded to another machine
//! cannot do.
//!
//! *Not checked here:* who is at the other end of the socket (`peer.rs`), how
//! long a certificate lives and whether a key exists (`store.rs`), descriptors
//! (`connection.rs`).

use std::fmt;
use std::io::{self, Read, Write};

use thiserror::Error;
use zeroize::Zeroizing;

mod fields;
mod wire;

/// The version of this protocol. A daemon answers another one with
/// [`Refusal::Version`], and does not guess.
pub const VERSION: u8 = 1;

/// The largest payload, in bytes. A certificate chain of four is about 4 KiB;
/// a status of [`MAX_ENTRIES`] is the largest honest message.
pub const MAX_FRAME: usize = 64 * 1024;

/// The longest text (an URL, an e-mail address, a reason), in bytes.
pub const MAX_TEXT: usize = 1600;

/// The most bytes of the texts of one scope together. [`MAX_ENTRIES`] of them
/// fit a frame.
pub const MAX_SCOPE: usize = 1800;

/// The most certificates in a chain: leaf, two intermediates, root, and room.
pub const MAX_CHAIN: usize = 8;

/// The largest certificate, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 16 * 1024;

/// The most entries that a status lists, and the most scopes that a daemon
/// keeps.
pub const MAX_ENTRIES: usize = 32;

/// The largest public key (SubjectPublicKeyInfo) or signature, in bytes.
pub const MAX_KEY: usize = 1024;

/// The largest token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// Names a key inside the daemon: random, of no meaning outside it.
pub type KeyId = [u8; 16];

/// Whose credential a key is for. Two requests get the same key only if every
/// member is equal, so a changed setting never reuses another identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The OIDC issuer's URL.
    pub issuer: String,
    /// The OIDC client id, which is the token's audience.
    pub client_id: String,
    /// The identity provider behind the issuer that was asked for, or empty.
    pub connector: String,
    /// The certificate authority's base URL.
    pub authority: String,
    /// SHA-256 of the trust root in use, in hex.
    pub trust_root: String,
    /// The subject that was asked for (an e-mail address), or empty for
    /// "whoever logs in".
    pub subject: String,
}

/// Which of a scope's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The identity token of a login, while it lives.
    Identity,
    /// The refresh token, where the issuer grants one.
    Refresh,
}

/// A token on its way to the daemon. It is zeroized when dropped, and its
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Zeroizing<String>);

impl Secret {
    /// A copy that is zeroized when dropped.
    pub fn new(token: &str) -> Self {
        Self(Zeroizing::new(token.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is there a key with a certificate that lives this long for this scope?
    /// Never waits, never makes one.
    Find {
        /// Whose.
        scope: Scope,
        /// The least seconds that the certificate must still live.
        min_left: u32,
    },
    /// As [`Request::Find`]; where there is none, the first to ask gets a new
    /// key and leads ([`Response::Lead`]), and those who ask while it logs in
    /// wait for what becomes of it.
    Acquire {
        /// Whose.
        scope: Scope,
        /// The least seconds that the certificate must still live.
        min_left: u32,
        /// How long to wait for another login, in milliseconds.
        wait: u32,
    },
    /// Keep this chain (DER, leaf first) with the key. The daemon checks that
    /// the leaf holds that key.
    Store {
        /// The key that the leaf certifies.
        key: KeyId,
        /// Certificates in DER, leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// The login for this key failed: all who wait for it are told.
    Fail {
        /// The key that gets no certificate.
        key: KeyId,
        /// Why, in words for a person.
        reason: String,
    },
    /// Sign this SHA-256 digest with ECDSA.
    Sign {
        /// The key to sign with.
        key: KeyId,
        /// SHA-256 of what is signed.
        digest: [u8; 32],
    },
    /// What is held?
    Status,
    /// Forget and zeroize every key and token.
    Clear,
    /// Forget everything, and end.
    Stop,
    /// The first message of a connection. A client on the same machine passes a
    /// descriptor with it.
    Hello,
    /// Keep a token.
    KeepToken {
        /// Whose.
        scope: Scope,
        /// Which.
        kind: TokenKind,
        /// The token.
        token: Secret,
        /// When it ends, unix seconds; 0 for a refresh token that does not say.
        expires: u64,
    },
    /// Write the token into the socket that is passed with this message.
    Token {
        /// Whose.
        scope: Scope,
        /// Which.
        kind: TokenKind,
    },
    /// Forget this scope's keys and tokens.
    Forget(Scope),
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// There is no such credential.
    Absent,
    /// There is one.
    Found {
        /// The key.
        key: KeyId,
        /// Its certificates in DER, leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// A new key for the one who asked: it logs in for all who wait.
    Lead {
        /// The new key's name.
        key: KeyId,
        /// Its SubjectPublicKeyInfo in DER.
        public: Vec<u8>,
    },
    /// It is done: the answer to `Store`, `Fail` and `KeepToken`.
    Done,
    /// The answer to [`Request::Sign`]: an ECDSA signature in DER.
    Signature(Vec<u8>),
    /// The answer to [`Request::Status`].
    Status(Vec<Entry>),
    /// How many keys and tokens were forgotten.
    Cleared(u32),
    /// The answer to [`Request::Stop`], the last of its process.
    Stopping,
    /// The login that was waited for failed, for this reason.
    Failed(String),
    /// The answer to [`Request::Hello`].
    Welcome(Daemon),
    /// So many bytes of token were written into the socket that was passed; 0:
    /// there is no such token.
    Token(u32),
    /// The request was read and is not granted.
    Refused(Refusal),
}

/// What a daemon says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its process id.
    pub pid: u32,
    /// Whether its memory is locked: no key reaches a swap device.
    pub locked: bool,
    /// Whether a person is asked before a signature is made.
    pub confirms: bool,
}

/// One scope in a status: what is held for it, until when, how often used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub scope: Scope,
    /// The end of the certificate's validity, unix seconds; 0 while there is no
    /// certificate.
    pub not_after: u64,
    /// How many signatures were made.
    pub signatures: u32,
    /// The end of the identity token that is held, unix seconds; 0: none.
    pub identity_token: u64,
    /// Whether a refresh token is held.
    pub refresh_token: bool,
    /// How many wait for a login that is under way.
    pub waiting: u32,
}

/// Why a request that could be read was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The daemon speaks another version of this protocol.
    #[error("the credential cache speaks another protocol version")]
    Version,
    /// No such key, or it has been forgotten.
    #[error("the credential cache has no such key")]
    UnknownKey,
    /// The certificate's validity is over.
    #[error("the cached certificate has expired")]
    Expired,
    /// The leaf does not hold this key, or the chain cannot be read.
    #[error("the certificate is not for this key")]
    NotForThisKey,
    /// Too many keys or connections.
    #[error("the credential cache is full")]
    Full,
    /// The request could not be read.
    #[error("the credential cache could not read the request")]
    Unreadable,
    /// Nobody finished logging in within the time that the client would wait.
    #[error("the login that was waited for took too long")]
    Waited,
    /// The person who was asked said no, or did not answer.
    #[error("the signature was not confirmed")]
    Denied,
    /// No descriptor was passed: the client is at the far end of a forwarded
    /// socket, where only signatures can be had.
    #[error("only a client on the machine of the credential cache can do that")]
    FarAway,
    /// The daemon could not do it (no entropy, no memory for more).
    #[error("the credential cache could not do it")]
    Internal,
}

impl Refusal {
    const ALL: [(u8, Self); 10] = [
        (1, Self::Version),
        (2, Self::UnknownKey),
        (3, Self::Expired),
        (4, Self::NotForThisKey),
        (5, Self::Full),
        (6, Self::Unreadable),
        (7, Self::Waited),
        (8, Self::Denied),
        (9, Self::FarAway),
        (10, Self::Internal),
    ];
}

/// Why bytes are not a message.
#[derive(Debug, Error)]
pub enum ProtocolError {
    /// The other end closed the connection between frames.
    #[error("connection closed")]
    Closed,
    /// Reading or writing failed, or the connection ended inside a frame.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// A length prefix outside 2 ..= [`MAX_FRAME`].
    #[error("frame of {0} bytes, must be 2 to {MAX_FRAME}")]
    FrameLength(u64),
    /// Another protocol version.
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
    /// A field is longer than its limit.
    #[error("field {field} has {length}, at most {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length in bytes or members.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A text is not UTF-8, or holds a control character.
    #[error("field {0} is not plain text")]
    Text(&'static str),
    /// A flag or a kind of token has a value that means nothing.
    #[error("field {0} has a value that means nothing")]
    Value(&'static str),
    /// A refusal code that this version does not know.
    #[error("unknown refusal code {0}")]
    RefusalCode(u8),
}

/// Reads one frame and returns its payload. Memory grows with the bytes that
/// arrive, not with the length that is claimed.
///
/// # Errors
/// [`ProtocolError::Closed`] if the stream ends before a frame begins;
/// [`ProtocolError::Io`] if it ends inside one, or on a read error (a timeout
/// set on the stream is one); [`ProtocolError::FrameLength`].
pub fn read_frame(stream: &mut impl Read) -> Result<Vec<u8>, ProtocolError> {
    let mut prefix = [0u8; 4];
    let mut have = 0usize;
    while have < prefix.len() {
        let rest = prefix.get_mut(have..).unwrap_or(&mut []);
        match stream.read(rest) {
            Ok(0) if have == 0 => return Err(ProtocolError::Closed),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => have = have.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let length = frame_length(u32::from_be_bytes(prefix) as usize)?;
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
/// [`ProtocolError::FrameLength`], [`ProtocolError::Io`].
pub fn write_frame(stream: &mut impl Write, payload: &[u8]) -> Result<(), ProtocolError> {
    let length = frame_length(payload.len())?;
    let prefix = u32::try_from(length).map_err(|_| ProtocolError::FrameLength(length as u64))?;
    let mut frame = Vec::with_capacity(payload.len().saturating_add(4));
    frame.extend_from_slice(&prefix.to_be_bytes());
    frame.extend_from_slice(payload);
    stream.write_all(&frame)?;
    stream.flush()?;
    Ok(())
}

/// The length, if a frame may have it.
pub(crate) fn frame_length(length: usize) -> Result<usize, ProtocolError> {
    if (2..=MAX_FRAME).contains(&length) {
        Ok(length)
    } else {
        Err(ProtocolError::FrameLength(length as u64))
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
