//! The client of a timestamp authority (RFC 3161 over HTTP, §3.4).
//!
//! *Not checked here:* the token's signature, chain and time
//! (`evidence/timestamp.rs`, when the finished signature is verified).

use sha2::{Digest as _, Sha256};
use url::Url;

use super::wire::{TsaMessageError, encode_request, parse_response};
use crate::http::client::{Client, HttpError, HttpRequest, excerpt, redact_url};

/// The media type of a request.
pub const QUERY_TYPE: &str = "application/timestamp-query";
/// The media type of a response.
pub const REPLY_TYPE: &str = "application/timestamp-reply";
/// The maximum length of a response, in bytes; a usual one has 1.5 to 6 KiB.
pub const MAX_ANSWER: usize = 64 << 10;
/// The length of the nonce, in bytes.
pub const NONCE: usize = 16;

/// Reasons why no timestamp is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum TsaError {
    /// The authority does not respond, or not as expected.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The response is not a timestamp response.
    #[error("{authority} returned {found:?} instead of a timestamp")]
    MediaType { authority: String, found: String },
    /// The response is a rejection, malformed, or for another request.
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
    /// Returns a client of the authority with exactly this request URL.
    #[must_use]
    pub fn new(http: &'a Client, url: &'a Url) -> Self {
        Self { http, url }
    }

    /// Requests a timestamp for `message` (a signature) and returns the token, a CMS in
    /// DER. Nonce and imprint of the response must be those of the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the authority is unavailable, rejects the request, or its
    /// response is for another request.
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
