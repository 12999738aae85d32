//! The fields of a payload, read and written: both hold to the same limits.
//!
//! *Not checked here:* which fields a message has (`wire.rs`).

use zeroize::Zeroizing;

use super::{
    MAX_CERTIFICATE, MAX_CHAIN, MAX_SCOPE, MAX_TEXT, MAX_TOKEN, ProtocolError, Scope, Secret,
    TokenKind, VERSION, frame_length,
};

fn plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A token is visible ASCII (RFC 6749 §A.12, RFC 7515 §3.1), and there is one.
fn token_text(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn scope_length(scope: &Scope) -> Result<(), ProtocolError> {
    let length = [
        &scope.issuer,
        &scope.client_id,
        &scope.connector,
        &scope.authority,
        &scope.trust_root,
        &scope.subject,
    ]
    .iter()
    .map(|text| text.len())
    .fold(0usize, usize::saturating_add);
    if length > MAX_SCOPE {
        return Err(ProtocolError::TooLong {
            field: "scope",
            length,
            limit: MAX_SCOPE,
        });
    }
    Ok(())
}

/// A payload that is being read, front to back.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn open(payload: &'a [u8]) -> Result<(u8, Self), ProtocolError> {
        frame_length(payload.len())?;
        let mut fields = Self { rest: payload };
        let [version, kind] = fields.array("head")?;
        if version != VERSION {
            return Err(ProtocolError::Version(version));
        }
        Ok((kind, fields))
    }

    pub(super) fn take(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(ProtocolError::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], ProtocolError> {
        self.take(field, N)?
            .try_into()
            .map_err(|_| ProtocolError::Truncated(field))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, ProtocolError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    pub(super) fn count(
        &mut self,
        field: &'static str,
        limit: usize,
    ) -> Result<usize, ProtocolError> {
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

    pub(super) fn bytes(
        &mut self,
        field: &'static str,
        limit: usize,
    ) -> Result<&'a [u8], ProtocolError> {
        let length = self.count(field, limit)?;
        self.take(field, length)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, ProtocolError> {
        let bytes = self.bytes(field, MAX_TEXT)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if plain(text) => Ok(text.to_owned()),
            _ => Err(ProtocolError::Text(field)),
        }
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, ProtocolError> {
        match self.array(field)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(ProtocolError::Value(field)),
        }
    }

    pub(super) fn token_kind(&mut self) -> Result<TokenKind, ProtocolError> {
        Ok(match self.flag("token kind")? {
            false => TokenKind::Identity,
            true => TokenKind::Refresh,
        })
    }

    pub(super) fn token(&mut self) -> Result<Secret, ProtocolError> {
        let bytes = self.bytes("token", MAX_TOKEN)?;
        match std::str::from_utf8(bytes) {
            Ok(token) if token_text(token) => Ok(Secret::new(token)),
            _ => Err(ProtocolError::Text("token")),
        }
    }

    pub(super) fn scope(&mut self) -> Result<Scope, ProtocolError> {
        let scope = Scope {
            issuer: self.text("issuer")?,
            client_id: self.text("client_id")?,
            connector: self.text("connector")?,
            authority: self.text("authority")?,
            trust_root: self.text("trust_root")?,
            subject: self.text("subject")?,
        };
        scope_length(&scope)?;
        Ok(scope)
    }

    pub(super) fn chain(&mut self) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let count = self.count("chain", MAX_CHAIN)?;
        (0..count)
            .map(|_| Ok(self.bytes("certificate", MAX_CERTIFICATE)?.to_vec()))
            .collect()
    }

    pub(super) fn end(self) -> Result<(), ProtocolError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(ProtocolError::Trailing(left)),
        }
    }
}

/// A payload that is being written. Holds to the limits of [`Fields`].
/// What was written is zeroized when it is dropped unfinished: it may hold a token.
pub(super) struct Printer {
    payload: Zeroizing<Vec<u8>>,
}

impl Printer {
    pub(super) fn new(kind: u8) -> Self {
        Self::with_room(kind, 128)
    }

    /// With room for all of it, so that no growth leaves a copy behind.
    pub(super) fn with_room(kind: u8, room: usize) -> Self {
        let mut payload = Zeroizing::new(Vec::with_capacity(room));
        payload.extend_from_slice(&[VERSION, kind]);
        Self { payload }
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.payload.extend_from_slice(bytes);
        self
    }

    pub(super) fn count(
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

    pub(super) fn bytes(
        self,
        field: &'static str,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Self, ProtocolError> {
        Ok(self.count(field, bytes.len(), limit)?.raw(bytes))
    }

    pub(super) fn text(self, field: &'static str, text: &str) -> Result<Self, ProtocolError> {
        if !plain(text) {
            return Err(ProtocolError::Text(field));
        }
        self.bytes(field, text.as_bytes(), MAX_TEXT)
    }

    pub(super) fn u32(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn u64(self, number: u64) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn flag(self, flag: bool) -> Self {
        self.raw(&[u8::from(flag)])
    }

    pub(super) fn token_kind(self, kind: TokenKind) -> Self {
        self.flag(kind == TokenKind::Refresh)
    }

    pub(super) fn token(self, token: &Secret) -> Result<Self, ProtocolError> {
        if !token_text(&token.0) {
            return Err(ProtocolError::Text("token"));
        }
        self.bytes("token", token.0.as_bytes(), MAX_TOKEN)
    }

    pub(super) fn scope(self, scope: &Scope) -> Result<Self, ProtocolError> {
        scope_length(scope)?;
        self.text("issuer", &scope.issuer)?
            .text("client_id", &scope.client_id)?
            .text("connector", &scope.connector)?
            .text("authority", &scope.authority)?
            .text("trust_root", &scope.trust_root)?
            .text("subject", &scope.subject)
    }

    pub(super) fn chain(self, chain: &[Vec<u8>]) -> Result<Self, ProtocolError> {
        chain.iter().try_fold(
            self.count("chain", chain.len(), MAX_CHAIN)?,
            |printer, certificate| printer.bytes("certificate", certificate, MAX_CERTIFICATE),
        )
    }

    pub(super) fn done(self) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
        frame_length(self.payload.len())?;
        Ok(self.payload)
    }
}
