//! Each message as bytes: one kind byte, then its fields in order. The kinds of
//! requests are below 0x80, those of responses above.
//!
//! *Not checked here:* what a message means (`store.rs`, `server.rs`).

use zeroize::Zeroizing;

use super::fields::{Fields, Printer};
use super::{
    Daemon, Entry, MAX_ENTRIES, MAX_KEY, MAX_SCOPE, MAX_TOKEN, ProtocolError, Refusal, Request,
    Response,
};

impl Refusal {
    fn code(self) -> u8 {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == self)
            .map_or(0, |(code, _)| *code)
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == code)
            .map(|(_, refusal)| *refusal)
    }
}

impl Request {
    const FIND: u8 = 0x01;
    const ACQUIRE: u8 = 0x02;
    const STORE: u8 = 0x03;
    const SIGN: u8 = 0x04;
    const STATUS: u8 = 0x05;
    const CLEAR: u8 = 0x06;
    const STOP: u8 = 0x07;
    const HELLO: u8 = 0x08;
    const FAIL: u8 = 0x09;
    const KEEP_TOKEN: u8 = 0x0a;
    const TOKEN: u8 = 0x0b;
    const FORGET: u8 = 0x0c;

    /// Reads one payload (a frame without its length).
    ///
    /// # Errors
    /// Every [`ProtocolError`] but `Closed`, `Io` and `FrameLength`.
    pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (kind, mut fields) = Fields::open(payload)?;
        let request = match kind {
            Self::FIND => Self::Find {
                scope: fields.scope()?,
                min_left: fields.u32("min_left")?,
            },
            Self::ACQUIRE => Self::Acquire {
                scope: fields.scope()?,
                min_left: fields.u32("min_left")?,
                wait: fields.u32("wait")?,
            },
            Self::STORE => Self::Store {
                key: fields.array("key")?,
                chain: fields.chain()?,
            },
            Self::FAIL => Self::Fail {
                key: fields.array("key")?,
                reason: fields.text("reason")?,
            },
            Self::SIGN => Self::Sign {
                key: fields.array("key")?,
                digest: fields.array("digest")?,
            },
            Self::STATUS => Self::Status,
            Self::CLEAR => Self::Clear,
            Self::STOP => Self::Stop,
            Self::HELLO => Self::Hello,
            Self::KEEP_TOKEN => Self::KeepToken {
                scope: fields.scope()?,
                kind: fields.token_kind()?,
                token: fields.token()?,
                expires: fields.u64("expires")?,
            },
            Self::TOKEN => Self::Token {
                scope: fields.scope()?,
                kind: fields.token_kind()?,
            },
            Self::FORGET => Self::Forget(fields.scope()?),
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
    pub fn print(&self) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
        match self {
            Self::Find { scope, min_left } => {
                Printer::new(Self::FIND).scope(scope)?.u32(*min_left).done()
            }
            Self::Acquire {
                scope,
                min_left,
                wait,
            } => Printer::new(Self::ACQUIRE)
                .scope(scope)?
                .u32(*min_left)
                .u32(*wait)
                .done(),
            Self::Store { key, chain } => Printer::new(Self::STORE).raw(key).chain(chain)?.done(),
            Self::Fail { key, reason } => Printer::new(Self::FAIL)
                .raw(key)
                .text("reason", reason)?
                .done(),
            Self::Sign { key, digest } => Printer::new(Self::SIGN).raw(key).raw(digest).done(),
            Self::Status => Printer::new(Self::STATUS).done(),
            Self::Clear => Printer::new(Self::CLEAR).done(),
            Self::Stop => Printer::new(Self::STOP).done(),
            Self::Hello => Printer::new(Self::HELLO).done(),
            Self::KeepToken {
                scope,
                kind,
                token,
                expires,
            } => Printer::with_room(Self::KEEP_TOKEN, MAX_SCOPE + MAX_TOKEN + 64)
                .scope(scope)?
                .token_kind(*kind)
                .token(token)?
                .u64(*expires)
                .done(),
            Self::Token { scope, kind } => Printer::new(Self::TOKEN)
                .scope(scope)?
                .token_kind(*kind)
                .done(),
            Self::Forget(scope) => Printer::new(Self::FORGET).scope(scope)?.done(),
        }
    }
}

impl Response {
    const ABSENT: u8 = 0x81;
    const FOUND: u8 = 0x82;
    const LEAD: u8 = 0x83;
    const DONE: u8 = 0x84;
    const SIGNATURE: u8 = 0x85;
    const STATUS: u8 = 0x86;
    const CLEARED: u8 = 0x87;
    const STOPPING: u8 = 0x88;
    const FAILED: u8 = 0x89;
    const WELCOME: u8 = 0x8a;
    const TOKEN: u8 = 0x8b;
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
            Self::LEAD => Self::Lead {
                key: fields.array("key")?,
                public: fields.bytes("public", MAX_KEY)?.to_vec(),
            },
            Self::DONE => Self::Done,
            Self::SIGNATURE => Self::Signature(fields.bytes("signature", MAX_KEY)?.to_vec()),
            Self::STATUS => {
                let count = fields.count("entries", MAX_ENTRIES)?;
                let mut entries = Vec::new();
                for _ in 0..count {
                    entries.push(Entry {
                        scope: fields.scope()?,
                        not_after: fields.u64("not_after")?,
                        signatures: fields.u32("signatures")?,
                        identity_token: fields.u64("identity_token")?,
                        refresh_token: fields.flag("refresh_token")?,
                        waiting: fields.u32("waiting")?,
                    });
                }
                Self::Status(entries)
            }
            Self::CLEARED => Self::Cleared(fields.u32("cleared")?),
            Self::STOPPING => Self::Stopping,
            Self::FAILED => Self::Failed(fields.text("reason")?),
            Self::WELCOME => Self::Welcome(Daemon {
                pid: fields.u32("pid")?,
                locked: fields.flag("locked")?,
                confirms: fields.flag("confirms")?,
            }),
            Self::TOKEN => Self::Token(fields.u32("length")?),
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
    pub fn print(&self) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
        match self {
            Self::Absent => Printer::new(Self::ABSENT).done(),
            Self::Found { key, chain } => Printer::new(Self::FOUND).raw(key).chain(chain)?.done(),
            Self::Lead { key, public } => Printer::new(Self::LEAD)
                .raw(key)
                .bytes("public", public, MAX_KEY)?
                .done(),
            Self::Done => Printer::new(Self::DONE).done(),
            Self::Signature(signature) => Printer::new(Self::SIGNATURE)
                .bytes("signature", signature, MAX_KEY)?
                .done(),
            Self::Status(entries) => {
                let mut printer =
                    Printer::new(Self::STATUS).count("entries", entries.len(), MAX_ENTRIES)?;
                for entry in entries {
                    printer = printer
                        .scope(&entry.scope)?
                        .u64(entry.not_after)
                        .u32(entry.signatures)
                        .u64(entry.identity_token)
                        .flag(entry.refresh_token)
                        .u32(entry.waiting);
                }
                printer.done()
            }
            Self::Cleared(count) => Printer::new(Self::CLEARED).u32(*count).done(),
            Self::Stopping => Printer::new(Self::STOPPING).done(),
            Self::Failed(reason) => Printer::new(Self::FAILED).text("reason", reason)?.done(),
            Self::Welcome(daemon) => Printer::new(Self::WELCOME)
                .u32(daemon.pid)
                .flag(daemon.locked)
                .flag(daemon.confirms)
                .done(),
            Self::Token(length) => Printer::new(Self::TOKEN).u32(*length).done(),
            Self::Refused(refusal) => Printer::new(Self::REFUSED).raw(&[refusal.code()]).done(),
        }
    }
}
