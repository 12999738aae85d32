//! Asks a timestamp authority to date a signature (RFC 3161 over HTTP, §3.4).
//!
//! *Not checked here:* the token's signature, chain and time
//! (`evidence/timestamp.rs`, when the finished signature is verified).

use sha2::{Digest as _, Sha256};
use url::Url;

use super::wire::{TsaMessageError, encode_request, parse_response};
use crate::http::client::{Client, HttpError, HttpRequest, excerpt, redact_url};

/// The media type of a request.
pub const QUERY_TYPE: &str = "application/timestamp-query";
/// The media type of an answer.
pub const REPLY_TYPE: &str = "application/timestamp-reply";
/// The longest answer that is read, in bytes; a real one has some 1.5 to 6 KiB.
pub const MAX_ANSWER: usize = 64 << 10;
/// Bytes of the nonce.
pub const NONCE: usize = 16;

/// Reasons why no timestamp is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum TsaError {
    /// No answer, or not the expected one.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Not a timestamp answer.
    #[error("{authority} returned {found:?} instead of a timestamp")]
    MediaType { authority: String, found: String },
    /// Refused, unreadable, or the answer to something else.
    #[error("{authority} returned no valid timestamp: {reason}")]
    Answer {
        authority: String,
        reason: TsaMessageError,
    },
    /// The system returned no random numbers.
    #[error("cannot read random numbers: {reason}")]
    Entropy { reason: String },
}

/// The client of one timestamp authority.
pub struct TsaClient<'a> {
    http: &'a Client,
    url: &'a Url,
}

impl<'a> TsaClient<'a> {
    /// The authority that takes requests at exactly this address.
    #[must_use]
    pub fn new(http: &'a Client, url: &'a Url) -> Self {
        Self { http, url }
    }

    /// Has `message` (a signature) dated: the token, a CMS in DER. That it is
    /// the answer to this request, by nonce and imprint, is checked.
    ///
    /// # Errors
    ///
    /// When the authority cannot be reached, refuses, or answers something else.
    pub fn timestamp(&self, message: &[u8]) -> Result<Vec<u8>, TsaError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| TsaError::Entropy {
            reason: error.to_string(),
        })?;
        let imprint: [u8; 32] = Sha256::digest(message).into();
        let request = encode_request(&imprint, Some(&nonce), true);
        let answer = self.http.send(&HttpRequest {
            accept: REPLY_TYPE,
            ..HttpRequest::post("timestamp", self.url, QUERY_TYPE, &request, MAX_ANSWER)
        })?;
        if !matches!(answer.status, 200 | 201) {
            return Err(answer.unexpected().into());
        }
        let authority = redact_url(self.url);
        let found = answer.media_type().unwrap_or_default();
        if found != REPLY_TYPE {
            return Err(TsaError::MediaType {
                authority,
                found: excerpt(found.as_bytes()),
            });
        }
        parse_response(&answer.body, &imprint, Some(&nonce))
            .map_err(|reason| TsaError::Answer { authority, reason })
    }
}

#[cfg(test)]
mod tests;
