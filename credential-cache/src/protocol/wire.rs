//! Each message as bytes: one kind byte, then its fields in the order listed
//! here. The kinds of requests are below 0x80, those of responses above.
//!
//! *Not checked here:* the effect of a message (`store.rs`, `server.rs`).

use zeroize::Zeroizing;

use super::fields::{Field, FieldReader, FieldWriter};
use super::{
    CacheRequest, CacheResponse, DaemonInfo, MAX_ENTRIES, MAX_SCOPE, ProtocolError, RequestError,
    Scope, StatusEntry,
};

/// Implements reading and writing of messages from one table.
macro_rules! messages {
    ($message:ident: $(
        $kind:literal $variant:ident $({ $($field:ident),* })? $(($only:ident))?,
    )*) => {
        impl $message {
            /// Parses one payload (a frame without its length).
            ///
            /// # Errors
            /// Returns any [`ProtocolError`] but `Closed`, `Io` and `FrameLength`.
            pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
                let (kind, mut fields) = FieldReader::open(payload)?;
                let message = match kind {
                    $($kind => Self::$variant
                        $({ $($field: Field::read(&mut fields, stringify!($field))?),* })?
                        $((Field::read(&mut fields, stringify!($only))?))?,)*
                    other => return Err(ProtocolError::Kind(other)),
                };
                fields.end()?;
                Ok(message)
            }

            /// Prints the payload that [`Self::parse`] reads.
            ///
            /// # Errors
            /// Returns [`ProtocolError::TooLong`], [`ProtocolError::Text`] or
            /// [`ProtocolError::FrameLength`] for a value that the other end
            /// would reject.
            pub fn print(&self) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
                match self {
                    $(Self::$variant $({ $($field),* })? $(($only))? => {
                        #[allow(unused_mut)] // a message without fields
                        let mut payload = FieldWriter::new($kind);
                        $($($field.write(&mut payload, stringify!($field))?;)*)?
                        $($only.write(&mut payload, stringify!($only))?;)?
                        payload.finish()
                    })*
                }
            }
        }
    };
}

/// Implements reading and writing of a group of fields.
macro_rules! group {
    ($group:ident { $($field:ident),* } $(checked by $check:ident)?) => {
        impl Field for $group {
            fn read(
                fields: &mut FieldReader<'_>,
                _: &'static str,
            ) -> Result<Self, ProtocolError> {
                let group = Self { $($field: Field::read(fields, stringify!($field))?),* };
                $($check(&group)?;)?
                Ok(group)
            }

            fn write(
                &self,
                payload: &mut FieldWriter,
                _: &'static str,
            ) -> Result<(), ProtocolError> {
                $($check(self)?;)?
                $(self.$field.write(payload, stringify!($field))?;)*
                Ok(())
            }
        }
    };
}

messages! { CacheRequest:
    0x01 Find { scope, min_left },
    0x02 Acquire { scope, min_left, wait },
    0x03 Store { key, chain },
    0x04 Sign { key, digest },
    0x05 Status,
    0x06 Clear,
    0x07 Stop,
    0x08 Hello,
    0x09 Fail { key, reason },
    0x0a KeepToken { scope, kind, token, expires },
    0x0b Token { scope, kind },
    0x0c Forget(scope),
}

messages! { CacheResponse:
    0x81 Absent,
    0x82 Found { key, chain },
    0x83 MustLogIn { key, public },
    0x84 Done,
    0x85 Signature(signature),
    0x86 Status(entries),
    0x87 Cleared(count),
    0x88 Stopping,
    0x89 Failed(reason),
    0x8a Welcome(daemon),
    0x8b Token(length),
    0xff Refused(error),
}

group! { DaemonInfo { pid, locked, confirms } }
group! { StatusEntry {
    scope, not_after, signatures, identity_token, refresh_token, waiting
} }
group! { Scope {
    issuer, client_id, connector, authority, trusted_root, subject
} checked by check_scope_length }

fn check_scope_length(scope: &Scope) -> Result<(), ProtocolError> {
    let length = [
        &scope.issuer,
        &scope.client_id,
        &scope.connector,
        &scope.authority,
        &scope.trusted_root,
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

impl Field for Vec<StatusEntry> {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        fields.list(name, MAX_ENTRIES, |fields| Field::read(fields, name))
    }

    fn write(&self, payload: &mut FieldWriter, name: &'static str) -> Result<(), ProtocolError> {
        payload.count(name, self.len(), MAX_ENTRIES)?;
        self.iter().try_for_each(|entry| entry.write(payload, name))
    }
}

impl Field for RequestError {
    fn read(fields: &mut FieldReader<'_>, name: &'static str) -> Result<Self, ProtocolError> {
        let [code] = Field::read(fields, name)?;
        let error = Self::ALL.into_iter().find(|error| *error as u8 == code);
        error.ok_or(ProtocolError::ErrorCode(code))
    }

    fn write(&self, payload: &mut FieldWriter, _: &'static str) -> Result<(), ProtocolError> {
        payload.raw(&[*self as u8]);
        Ok(())
    }
}
