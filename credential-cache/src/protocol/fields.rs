//! The fields of a payload. Reading and writing have the same limits.
//!
//! *Not checked here:* the fields of each message (`wire.rs`).

use zeroize::Zeroizing;

use super::{
    MAX_CERTIFICATE, MAX_CHAIN, MAX_KEY, MAX_TEXT, MAX_TOKEN, ProtocolError, Secret, TokenKind,
    VERSION, check_frame_length,
};

/// A value that is part of a message.
pub(super) trait Field: Sized {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError>;
    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError>;
}

/// A payload that is being read, front to back.
pub(super) struct FieldReader<'a> {
    rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    pub(super) fn open(payload: &'a [u8]) -> Result<(u8, Self), ProtocolError> {
        check_frame_length(payload.len())?;
        let mut fields = Self { rest: payload };
        let [version, kind] = Field::read(&mut fields, "head")?;
        if version != VERSION {
            return Err(ProtocolError::Version(version));
        }
        Ok((kind, fields))
    }

    fn take(&mut self, name: &'static str, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(ProtocolError::Truncated(name))?;
        self.rest = rest;
        Ok(taken)
    }

    fn count(&mut self, name: &'static str, limit: usize) -> Result<usize, ProtocolError> {
        let length = u32::read(self, name)? as usize;
        check_limit(name, length, limit)?;
        Ok(length)
    }

    fn bytes(&mut self, name: &'static str, limit: usize) -> Result<&'a [u8], ProtocolError> {
        let length = self.count(name, limit)?;
        self.take(name, length)
    }

    fn text(
        &mut self,
        name: &'static str,
        limit: usize,
        allowed: fn(&str) -> bool,
    ) -> Result<&'a str, ProtocolError> {
        match std::str::from_utf8(self.bytes(name, limit)?) {
            Ok(text) if allowed(text) => Ok(text),
            _ => Err(ProtocolError::Text(name)),
        }
    }

    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        limit: usize,
        read: impl Fn(&mut Self) -> Result<T, ProtocolError>,
    ) -> Result<Vec<T>, ProtocolError> {
        let count = self.count(name, limit)?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn end(self) -> Result<(), ProtocolError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(ProtocolError::Trailing(left)),
        }
    }
}

/// A payload that is being written. It is zeroized if it is dropped unfinished,
/// because it may contain a token.
pub(super) struct FieldWriter {
    payload: Zeroizing<Vec<u8>>,
}

impl FieldWriter {
    pub(super) fn new(kind: u8) -> Self {
        let mut payload = Zeroizing::new(Vec::with_capacity(128));
        payload.extend_from_slice(&[VERSION, kind]);
        Self { payload }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.payload.extend_from_slice(bytes);
    }

    pub(super) fn count(
        &mut self,
        name: &'static str,
        length: usize,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        check_limit(name, length, limit)?;
        // Every limit is below 2^32.
        u32::try_from(length).unwrap_or(u32::MAX).write(self, name)
    }

    fn bytes(
        &mut self,
        name: &'static str,
        bytes: &[u8],
        limit: usize,
    ) -> Result<(), ProtocolError> {
        self.count(name, bytes.len(), limit)?;
        self.raw(bytes);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
        check_frame_length(self.payload.len())?;
        Ok(self.payload)
    }
}

fn check_limit(field: &'static str, length: usize, limit: usize) -> Result<(), ProtocolError> {
    if length > limit {
        return Err(ProtocolError::TooLong {
            field,
            length,
            limit,
        });
    }
    Ok(())
}

fn is_plain_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A token is visible ASCII (RFC 6749 §A.12, RFC 7515 §3.1), and not empty.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

impl<const N: usize> Field for [u8; N] {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        let bytes = fields.take(name, N)?;
        bytes.try_into().map_err(|_| ProtocolError::Truncated(name))
    }

    fn write(&self, payload: &mut FieldWriter, _: &'static str) -> Result<(), ProtocolError> {
        payload.raw(self);
        Ok(())
    }
}

impl Field for u32 {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        Field::read(fields, name).map(Self::from_be_bytes)
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        self.to_be_bytes().write(payload, name)
    }
}

impl Field for u64 {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        Field::read(fields, name).map(Self::from_be_bytes)
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        self.to_be_bytes().write(payload, name)
    }
}

impl Field for bool {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        match <[u8; 1]>::read(fields, name)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(ProtocolError::Value(name)),
        }
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        [u8::from(*self)].write(payload, name)
    }
}

impl Field for TokenKind {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        Ok(match bool::read(fields, name)? {
            false => Self::Identity,
            true => Self::Refresh,
        })
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        (*self == Self::Refresh).write(payload, name)
    }
}

impl Field for String {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        Ok(fields.text(name, MAX_TEXT, is_plain_text)?.to_owned())
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        if !is_plain_text(self) {
            return Err(ProtocolError::Text(name));
        }
        payload.bytes(name, self.as_bytes(), MAX_TEXT)
    }
}

impl Field for Secret {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        Ok(Self::new(fields.text(name, MAX_TOKEN, is_token)?))
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        // Room for the rest of the message too, so that no growth leaves a copy
        // of the token behind.
        payload.payload.reserve(self.0.len().saturating_add(64));
        if !is_token(&self.0) {
            return Err(ProtocolError::Text(name));
        }
        payload.bytes(name, self.0.as_bytes(), MAX_TOKEN)
    }
}

/// A public key or a signature.
impl Field for Vec<u8> {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        Ok(fields.bytes(name, MAX_KEY)?.to_vec())
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        payload.bytes(name, self, MAX_KEY)
    }
}

/// A certificate chain in DER.
impl Field for Vec<Vec<u8>> {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        fields.list(name, MAX_CHAIN, |fields| {
            Ok(fields.bytes("certificate", MAX_CERTIFICATE)?.to_vec())
        })
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        payload.count(name, self.len(), MAX_CHAIN)?;
        self.iter()
            .try_for_each(|der| payload.bytes("certificate", der, MAX_CERTIFICATE))
    }
}
