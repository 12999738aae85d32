//! The messages between a signing program and the credential cache, and how
//! they are framed.
//!
//! ```text
//! frame    = length payload          length: u32, big-endian, of payload; 2 ..= MAX_FRAME
//! payload  = version kind fields     version: u8 = VERSION; kind: u8
//! bytes    = u32 length, then that many bytes
//! text     = bytes that are UTF-8 without control characters
//! list<T>  = u32 count, then count times T
//! ```
//!
//! One request is answered by one response, in order. Everything is strict: an
//! unknown version or kind, a length that points past the end, bytes after the
//! last field, an over-long field are each refused by name, so that a payload
//! that is accepted prints back to the same bytes.
//!
//! A message never holds a private key, an identity token or a passphrase.
//!
//! *Not checked here:* who is at the other end of the socket, how long a
//! certificate lives, whether a key exists. The daemon's store and its peer
//! check do that; neither is built yet.

use std::io::{self, Read, Write};

use thiserror::Error;

/// The version of this protocol. A daemon answers another one with
/// [`Refusal::Version`], and does not guess.
pub const VERSION: u8 = 1;

/// The largest payload, in bytes. A certificate chain of four is about 4 KiB;
/// a status of [`MAX_ENTRIES`] is the largest honest message.
pub const MAX_FRAME: usize = 64 * 1024;

/// The longest text (an URL, an e-mail address), in bytes.
pub const MAX_TEXT: usize = 2048;

/// The most certificates in a chain: leaf, two intermediates, root, and room.
pub const MAX_CHAIN: usize = 8;

/// The largest certificate, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 16 * 1024;

/// The most entries that a status lists.
pub const MAX_ENTRIES: usize = 32;

/// The largest public key (SubjectPublicKeyInfo) or signature, in bytes.
pub const MAX_KEY: usize = 1024;

/// Names a key inside the daemon: random, of no meaning outside it.
pub type KeyId = [u8; 16];

/// Whose credential a key is for. Two requests get the same key only if every
/// member is equal, so a changed setting never reuses another identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The OIDC issuer's URL.
    pub issuer: String,
    /// The OIDC client id, which is the token's audience.
    pub client_id: String,
    /// The certificate authority's base URL.
    pub authority: String,
    /// The subject that was asked for (an e-mail address), or empty for
    /// "whoever logs in".
    pub subject: String,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is there a key with a certificate that still lives for this scope?
    Find(Scope),
    /// Make a P-256 key for this scope; answered by [`Response::Key`].
    MakeKey(Scope),
    /// Keep this chain (DER, leaf first) with the key. The daemon checks that
    /// the leaf holds that key.
    StoreCertificate {
        /// The key that the leaf certifies.
        key: KeyId,
        /// Certificates in DER, leaf first.
        chain: Vec<Vec<u8>>,
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
    /// Forget and zeroize every key.
    Clear,
    /// Forget every key, and end.
    Stop,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The answer to [`Request::Find`] when there is none.
    Absent,
    /// The answer to [`Request::Find`] when there is one.
    Found {
        /// The key.
        key: KeyId,
        /// Its certificates in DER, leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// The answer to [`Request::MakeKey`].
    Key {
        /// The new key's name.
        key: KeyId,
        /// Its SubjectPublicKeyInfo in DER.
        public: Vec<u8>,
    },
    /// The answer to [`Request::StoreCertificate`].
    Stored,
    /// The answer to [`Request::Sign`]: an ECDSA signature in DER.
    Signature(Vec<u8>),
    /// The answer to [`Request::Status`].
    Status(Vec<Entry>),
    /// The answer to [`Request::Clear`]: how many keys were forgotten.
    Cleared(u32),
    /// The answer to [`Request::Stop`], the last of its process.
    Stopping,
    /// The request was read and is not granted.
    Refused(Refusal),
}

/// One credential in a status: what, until when, how often used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub scope: Scope,
    /// The end of the certificate's validity, unix seconds; 0 while the key has
    /// no certificate yet.
    pub not_after: u64,
    /// How many signatures the key has made.
    pub signatures: u32,
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
}

impl Refusal {
    const ALL: [(u8, Self); 6] = [
        (1, Self::Version),
        (2, Self::UnknownKey),
        (3, Self::Expired),
        (4, Self::NotForThisKey),
        (5, Self::Full),
        (6, Self::Unreadable),
    ];

    fn code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::UnknownKey => 2,
            Self::Expired => 3,
            Self::NotForThisKey => 4,
            Self::Full => 5,
            Self::Unreadable => 6,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == code)
            .map(|(_, refusal)| *refusal)
    }
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
    /// A refusal code that this version does not know.
    #[error("unknown refusal code {0}")]
    RefusalCode(u8),
}

impl Request {
    const FIND: u8 = 0x01;
    const MAKE_KEY: u8 = 0x02;
    const STORE_CERTIFICATE: u8 = 0x03;
    const SIGN: u8 = 0x04;
    const STATUS: u8 = 0x05;
    const CLEAR: u8 = 0x06;
    const STOP: u8 = 0x07;

    /// Reads one payload (a frame without its length).
    ///
    /// # Errors
    /// Every [`ProtocolError`] but `Closed`, `Io` and `FrameLength`.
    pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (kind, mut fields) = Fields::open(payload)?;
        let request = match kind {
            Self::FIND => Self::Find(fields.scope()?),
            Self::MAKE_KEY => Self::MakeKey(fields.scope()?),
            Self::STORE_CERTIFICATE => Self::StoreCertificate {
                key: fields.array("key")?,
                chain: fields.chain()?,
            },
            Self::SIGN => Self::Sign {
                key: fields.array("key")?,
                digest: fields.array("digest")?,
            },
            Self::STATUS => Self::Status,
            Self::CLEAR => Self::Clear,
            Self::STOP => Self::Stop,
            other => return Err(ProtocolError::Kind(other)),
        };
        fields.end()?;
        Ok(request)
    }

    /// The payload that [`Request::parse`] reads.
    ///
    /// # Errors
    /// [`ProtocolError::TooLong`], [`ProtocolError::Text`] or
    /// [`ProtocolError::FrameLength`] for a value that the other end would
    /// refuse.
    pub fn print(&self) -> Result<Vec<u8>, ProtocolError> {
        match self {
            Self::Find(scope) => Printer::new(Self::FIND).scope(scope)?.done(),
            Self::MakeKey(scope) => Printer::new(Self::MAKE_KEY).scope(scope)?.done(),
            Self::StoreCertificate { key, chain } => Printer::new(Self::STORE_CERTIFICATE)
                .raw(key)
                .chain(chain)?
                .done(),
            Self::Sign { key, digest } => Printer::new(Self::SIGN).raw(key).raw(digest).done(),
            Self::Status => Printer::new(Self::STATUS).done(),
            Self::Clear => Printer::new(Self::CLEAR).done(),
            Self::Stop => Printer::new(Self::STOP).done(),
        }
    }
}

impl Response {
    const ABSENT: u8 = 0x81;
    const FOUND: u8 = 0x82;
    const KEY: u8 = 0x83;
    const STORED: u8 = 0x84;
    const SIGNATURE: u8 = 0x85;
    const STATUS: u8 = 0x86;
    const CLEARED: u8 = 0x87;
    const STOPPING: u8 = 0x88;
    const REFUSED: u8 = 0xff;

    /// Reads one payload (a frame without its length).
    ///
    /// # Errors
    /// Every [`ProtocolError`] but `Closed`, `Io` and `FrameLength`.
    pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (kind, mut fields) = Fields::open(payload)?;
        let response = match kind {
            Self::ABSENT => Self::Absent,
            Self::FOUND => Self::Found {
                key: fields.array("key")?,
                chain: fields.chain()?,
            },
            Self::KEY => Self::Key {
                key: fields.array("key")?,
                public: fields.bytes("public", MAX_KEY)?.to_vec(),
            },
            Self::STORED => Self::Stored,
            Self::SIGNATURE => Self::Signature(fields.bytes("signature", MAX_KEY)?.to_vec()),
            Self::STATUS => {
                let count = fields.count("entries", MAX_ENTRIES)?;
                let mut entries = Vec::new();
                for _ in 0..count {
                    entries.push(Entry {
                        scope: fields.scope()?,
                        not_after: u64::from_be_bytes(fields.array("not_after")?),
                        signatures: fields.u32("signatures")?,
                    });
                }
                Self::Status(entries)
            }
            Self::CLEARED => Self::Cleared(fields.u32("cleared")?),
            Self::STOPPING => Self::Stopping,
            Self::REFUSED => {
                let [code] = fields.array::<1>("refusal")?;
                Self::Refused(Refusal::from_code(code).ok_or(ProtocolError::RefusalCode(code))?)
            }
            other => return Err(ProtocolError::Kind(other)),
        };
        fields.end()?;
        Ok(response)
    }

    /// The payload that [`Response::parse`] reads.
    ///
    /// # Errors
    /// As [`Request::print`].
    pub fn print(&self) -> Result<Vec<u8>, ProtocolError> {
        match self {
            Self::Absent => Printer::new(Self::ABSENT).done(),
            Self::Found { key, chain } => Printer::new(Self::FOUND).raw(key).chain(chain)?.done(),
            Self::Key { key, public } => Printer::new(Self::KEY)
                .raw(key)
                .bytes("public", public, MAX_KEY)?
                .done(),
            Self::Stored => Printer::new(Self::STORED).done(),
            Self::Signature(signature) => Printer::new(Self::SIGNATURE)
                .bytes("signature", signature, MAX_KEY)?
                .done(),
            Self::Status(entries) => {
                let mut printer =
                    Printer::new(Self::STATUS).count("entries", entries.len(), MAX_ENTRIES)?;
                for entry in entries {
                    printer = printer
                        .scope(&entry.scope)?
                        .raw(&entry.not_after.to_be_bytes())
                        .raw(&entry.signatures.to_be_bytes());
                }
                printer.done()
            }
            Self::Cleared(count) => Printer::new(Self::CLEARED).raw(&count.to_be_bytes()).done(),
            Self::Stopping => Printer::new(Self::STOPPING).done(),
            Self::Refused(refusal) => Printer::new(Self::REFUSED).raw(&[refusal.code()]).done(),
        }
    }
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

fn frame_length(length: usize) -> Result<usize, ProtocolError> {
    if (2..=MAX_FRAME).contains(&length) {
        Ok(length)
    } else {
        Err(ProtocolError::FrameLength(length as u64))
    }
}

fn plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A payload that is being read, front to back.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn open(payload: &'a [u8]) -> Result<(u8, Self), ProtocolError> {
        frame_length(payload.len())?;
        let mut fields = Self { rest: payload };
        let [version, kind] = fields.array("head")?;
        if version != VERSION {
            return Err(ProtocolError::Version(version));
        }
        Ok((kind, fields))
    }

    fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(ProtocolError::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ProtocolError> {
        self.take(field, N)?
            .try_into()
            .map_err(|_| ProtocolError::Truncated(field))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    fn count(&mut self, field: &'static str, limit: usize) -> Result<usize, ProtocolError> {
        let length = self.u32(field)? as usize;
        if length > limit {
            return Err(ProtocolError::TooLong {
                field,
                length,
                limit,
            });
        }
        Ok(length)
    }

    fn bytes(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], ProtocolError> {
        let length = self.count(field, limit)?;
        self.take(field, length)
    }

    fn text(&mut self, field: &'static str) -> Result<String, ProtocolError> {
        let bytes = self.bytes(field, MAX_TEXT)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if plain(text) => Ok(text.to_owned()),
            _ => Err(ProtocolError::Text(field)),
        }
    }

    fn scope(&mut self) -> Result<Scope, ProtocolError> {
        Ok(Scope {
            issuer: self.text("issuer")?,
            client_id: self.text("client_id")?,
            authority: self.text("authority")?,
            subject: self.text("subject")?,
        })
    }

    fn chain(&mut self) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let count = self.count("chain", MAX_CHAIN)?;
        (0..count)
            .map(|_| Ok(self.bytes("certificate", MAX_CERTIFICATE)?.to_vec()))
            .collect()
    }

    fn end(self) -> Result<(), ProtocolError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(ProtocolError::Trailing(left)),
        }
    }
}

/// A payload that is being written. Holds to the limits of [`Fields`].
struct Printer {
    payload: Vec<u8>,
}

impl Printer {
    fn new(kind: u8) -> Self {
        Self {
            payload: vec![VERSION, kind],
        }
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.payload.extend_from_slice(bytes);
        self
    }

    fn count(
        self,
        field: &'static str,
        length: usize,
        limit: usize,
    ) -> Result<Self, ProtocolError> {
        let too_long = ProtocolError::TooLong {
            field,
            length,
            limit,
        };
        match u32::try_from(length) {
            Ok(count) if length <= limit => Ok(self.raw(&count.to_be_bytes())),
            _ => Err(too_long),
        }
    }

    fn bytes(self, field: &'static str, bytes: &[u8], limit: usize) -> Result<Self, ProtocolError> {
        Ok(self.count(field, bytes.len(), limit)?.raw(bytes))
    }

    fn text(self, field: &'static str, text: &str) -> Result<Self, ProtocolError> {
        if !plain(text) {
            return Err(ProtocolError::Text(field));
        }
        self.bytes(field, text.as_bytes(), MAX_TEXT)
    }

    fn scope(self, scope: &Scope) -> Result<Self, ProtocolError> {
        self.text("issuer", &scope.issuer)?
            .text("client_id", &scope.client_id)?
            .text("authority", &scope.authority)?
            .text("subject", &scope.subject)
    }

    fn chain(self, chain: &[Vec<u8>]) -> Result<Self, ProtocolError> {
        chain.iter().try_fold(
            self.count("chain", chain.len(), MAX_CHAIN)?,
            |printer, certificate| printer.bytes("certificate", certificate, MAX_CERTIFICATE),
        )
    }

    fn done(self) -> Result<Vec<u8>, ProtocolError> {
        frame_length(self.payload.len())?;
        Ok(self.payload)
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
