//! An identity token: what it says, and whether Fulcio can be expected to take
//! it.
//!
//! Sources: RFC 7519 (JWT), OpenID Connect Core 1.0 §2.
//!
//! *Not checked here:* the token's signature. Of a token that was issued to a
//! login of ours, `login.rs` checks it; of any other, Fulcio does, and the
//! certificate it gives is compared with the claims (`sign/credential.rs`).

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    http::client::excerpt,
    oidc::jws::{self, JwsError},
};
use gitseal_evidence::UnixTime;

/// The longest token that is taken, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;
/// How long a token must still be good for, in seconds: what lies between the
/// check here and the authority's own.
pub const MIN_LEFT: i64 = 2;
/// How far clocks may differ, in seconds, for the times a token begins at.
pub const SKEW: i64 = 60;
/// Where a mounted token is looked for.
pub const TOKEN_FILE: &str = "/var/run/sigstore/cosign/oidc-token";

/// Why a token is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityTokenError {
    /// Nothing there.
    #[error("the identity token is empty")]
    Empty,
    /// Longer than any real one.
    #[error("the identity token has {length} bytes, more than {MAX_TOKEN}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Not three parts of base64url.
    #[error("the identity token is not a JWT: {reason}")]
    NotJwt {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The claims are not the JSON they should be.
    #[error("the identity token's claims are unreadable: {reason}")]
    Claims {
        /// What the JSON parser says.
        reason: String,
    },
    /// Not signed.
    #[error("the identity token is not signed (alg {algorithm:?})")]
    Unsigned {
        /// The header's value.
        algorithm: String,
    },
    /// Signed in a way that no identity provider's keys are for.
    #[error("the identity token's algorithm {algorithm:?} is no public-key signature known here")]
    Algorithm {
        /// The header's value.
        algorithm: String,
    },
    /// Its time is over.
    #[error("the identity token expired at {expires} (unix time; now {now})")]
    Expired {
        /// Its end.
        expires: UnixTime,
        /// Now.
        now: UnixTime,
    },
    /// Its time has not come.
    #[error("the identity token is good from {from} on (unix time; now {now})")]
    NotYet {
        /// Its begin.
        from: UnixTime,
        /// Now.
        now: UnixTime,
    },
    /// For someone else.
    #[error("the identity token is for {found}, not for {expected:?}")]
    Audience {
        /// Its audiences.
        found: String,
        /// The client's name.
        expected: String,
    },
    /// The provider has not checked the address.
    #[error("the identity provider {issuer} has not verified the address {email}")]
    Unverified {
        /// The provider.
        issuer: String,
        /// The address.
        email: String,
    },
    /// Says nothing about who it is.
    #[error("the identity token names no subject")]
    Nobody,
}

/// What a token says. The certificate is held against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityClaims {
    /// `iss`: the identity provider.
    pub issuer: String,
    /// `aud`.
    pub audience: Vec<String>,
    /// `sub`.
    pub subject: String,
    /// `email`.
    pub email: Option<String>,
    /// `email_verified`; a string "true" counts, as in Fulcio.
    pub email_verified: bool,
    /// `exp`.
    pub expires: UnixTime,
    /// `nbf`.
    pub not_before: Option<UnixTime>,
    /// `federated_claims.connector_id`: who stands behind a broker such as Dex.
    pub connector: Option<String>,
}

/// An identity token. Wiped from memory when dropped; has no `Debug`.
pub struct IdentityToken {
    raw: Zeroizing<String>,
    claims: IdentityClaims,
    issued: Option<UnixTime>,
}

#[derive(Deserialize)]
struct RawClaims {
    iss: String,
    #[serde(default)]
    sub: String,
    aud: OneOrMany,
    exp: serde_json::Number,
    #[serde(default)]
    nbf: Option<serde_json::Number>,
    #[serde(default)]
    iat: Option<serde_json::Number>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<serde_json::Value>,
    #[serde(default)]
    federated_claims: Option<Federated>,
}

#[derive(Deserialize)]
struct Federated {
    #[serde(default)]
    connector_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl IdentityToken {
    /// Reads a token; white space around it is dropped, as files end in a
    /// newline. The signature is not checked.
    ///
    /// # Errors
    ///
    /// When it is not a signed JWT with the claims that every identity token has.
    pub fn parse(text: Zeroizing<String>) -> Result<Self, IdentityTokenError> {
        let raw = Zeroizing::new(text.trim().to_owned());
        if raw.is_empty() {
            return Err(IdentityTokenError::Empty);
        }
        if raw.len() > MAX_TOKEN {
            return Err(IdentityTokenError::TooLong { length: raw.len() });
        }
        let payload = jws::claims(&raw)?;
        let unreadable = |reason: String| IdentityTokenError::Claims {
            reason: excerpt(reason.as_bytes()),
        };
        let raw_claims: RawClaims =
            serde_json::from_slice(&payload).map_err(|error| unreadable(error.to_string()))?;
        let seconds = |number| jws::seconds(number).map_err(unreadable);
        let claims = IdentityClaims {
            issuer: raw_claims.iss,
            audience: match raw_claims.aud {
                OneOrMany::One(one) => vec![one],
                OneOrMany::Many(many) => many,
            },
            subject: raw_claims.sub,
            email: raw_claims.email.filter(|email| !email.is_empty()),
            email_verified: match raw_claims.email_verified {
                Some(serde_json::Value::Bool(yes)) => yes,
                Some(serde_json::Value::String(text)) => text == "true",
                _ => false,
            },
            expires: seconds(&raw_claims.exp)?,
            not_before: raw_claims.nbf.as_ref().map(seconds).transpose()?,
            connector: raw_claims
                .federated_claims
                .and_then(|federated| federated.connector_id),
        };
        let texts = [&claims.issuer, &claims.subject];
        let more = claims.email.iter().chain(&claims.connector);
        if texts
            .into_iter()
            .chain(more)
            .chain(&claims.audience)
            .any(|text| jws::hides(text))
        {
            return Err(unreadable("a text in them has control characters".into()));
        }
        if claims.issuer.is_empty() || claims.audience.is_empty() {
            return Err(unreadable("iss or aud is empty".into()));
        }
        let issued = raw_claims.iat.as_ref().map(seconds).transpose()?;
        Ok(Self {
            raw,
            claims,
            issued,
        })
    }

    /// What it says.
    #[must_use]
    pub fn claims(&self) -> &IdentityClaims {
        &self.claims
    }

    /// The token itself. Secret: for the `Authorization` header only.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.raw
    }

    /// What a proof of possession signs (API v1 of Fulcio): the address if
    /// there is one, else the subject.
    #[must_use]
    pub fn challenge(&self) -> &str {
        self.claims.email.as_deref().unwrap_or(&self.claims.subject)
    }

    /// Whether Fulcio can be expected to take it: in its time, for this client
    /// where the client's name is known, a verified address or a subject.
    ///
    /// # Errors
    ///
    /// The first of these that does not hold.
    pub fn check(&self, now: UnixTime, client_id: Option<&str>) -> Result<(), IdentityTokenError> {
        let claims = &self.claims;
        if claims.expires < now.saturating_add(MIN_LEFT) {
            return Err(IdentityTokenError::Expired {
                expires: claims.expires,
                now,
            });
        }
        // `iat` too: a token from tomorrow is from a clock that is wrong.
        if let Some(from) = claims.not_before.max(self.issued)
            && from > now.saturating_add(SKEW)
        {
            return Err(IdentityTokenError::NotYet { from, now });
        }
        if let Some(expected) = client_id
            && !claims.audience.iter().any(|name| name == expected)
        {
            return Err(IdentityTokenError::Audience {
                found: excerpt(format!("{:?}", claims.audience).as_bytes()),
                expected: expected.to_owned(),
            });
        }
        match &claims.email {
            // Fulcio has issuers whose addresses it takes unverified, but says so
            // in its configuration only; a claim that says "false" is a no.
            Some(email) if !claims.email_verified => Err(IdentityTokenError::Unverified {
                issuer: excerpt(claims.issuer.as_bytes()),
                email: excerpt(email.as_bytes()),
            }),
            None if claims.subject.is_empty() => Err(IdentityTokenError::Nobody),
            _ => Ok(()),
        }
    }
}

impl From<JwsError> for IdentityTokenError {
    fn from(refusal: JwsError) -> Self {
        let shown = |text: String| excerpt(text.as_bytes());
        match refusal {
            JwsError::Form(reason) => Self::NotJwt { reason },
            JwsError::Unsigned(algorithm) => Self::Unsigned {
                algorithm: shown(algorithm),
            },
            JwsError::Algorithm(algorithm) => Self::Algorithm {
                algorithm: shown(algorithm),
            },
            JwsError::Claims(reason) => Self::Claims {
                reason: shown(reason),
            },
        }
    }
}

#[cfg(test)]
mod tests;
