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
use gitseal_evidence::{UnixTime, rfc3339};

/// The longest token that is taken, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;
/// The remaining validity that a token must have, in seconds: what lies between
/// the check here and the authority's own.
pub const MIN_LEFT: i64 = 2;
/// The tolerated difference of clocks, in seconds, for the times a token begins
/// at.
pub const SKEW: i64 = 60;
/// The default path of a mounted token.
pub const TOKEN_FILE: &str = "/var/run/sigstore/cosign/oidc-token";

/// Reasons to reject an identity token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum IdentityTokenError {
    /// The token is empty.
    #[error("the identity token is empty")]
    Empty,
    /// Longer than any real one.
    #[error("the identity token is {length} bytes; the limit is {MAX_TOKEN}")]
    TooLong { length: usize },
    /// Not three parts of base64url.
    #[error("the identity token is not a JWT: {reason}")]
    NotJwt { reason: &'static str },
    /// The claims are not the JSON they should be.
    #[error("the claims of the identity token are malformed: {reason}")]
    Claims { reason: String },
    /// The token has no signature.
    #[error("the identity token is not signed (alg {algorithm:?})")]
    Unsigned { algorithm: String },
    /// Signed in a way that no identity provider's keys are for.
    #[error("the identity token has an unsupported signature algorithm {algorithm:?}")]
    Algorithm { algorithm: String },
    /// The token has expired.
    #[error("the identity token expired at {}", rfc3339(*.expires))]
    Expired { expires: UnixTime, now: UnixTime },
    /// The token is not valid yet.
    #[error("the identity token is not valid before {}", rfc3339(*.from))]
    NotYet { from: UnixTime, now: UnixTime },
    /// The token is for another audience.
    #[error("the identity token has audience {found}, expected {expected:?}")]
    Audience { found: String, expected: String },
    /// The provider has not checked the address.
    #[error("the identity provider {issuer} has not verified the email address {email}")]
    Unverified { issuer: String, email: String },
    /// Says nothing about who it is.
    #[error("the identity token has no subject")]
    Nobody,
}

/// The claims of an identity token. The certificate is held against it.
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

impl IdentityClaims {
    /// Returns whether the token is for this user: its email address, or its subject.
    /// In an email address the case of the domain does not count.
    #[must_use]
    pub fn is_user(&self, user: &str) -> bool {
        self.subject == user
            || self
                .email
                .as_deref()
                .is_some_and(|email| is_same_address(email, user))
    }
}

/// Compares two email addresses: exactly, but for the case of the domain.
#[must_use]
pub fn is_same_address(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, domain)), Some((other_local, other_domain))) => {
            local == other_local && domain.eq_ignore_ascii_case(other_domain)
        }
        _ => one == other,
    }
}

/// A parsed identity token. Wiped from memory when dropped; has no `Debug`.
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
    /// When it is not a signed JWT with the claims that every identity token
    /// has.
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
            return Err(unreadable("a value contains control characters".into()));
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

    /// Returns the claims of the token.
    #[must_use]
    pub fn claims(&self) -> &IdentityClaims {
        &self.claims
    }

    /// Returns the token as text. Secret: for the `Authorization` header only.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.raw
    }

    /// Returns the message that a proof of possession signs (API v1 of Fulcio):
    /// the address if there is one, else the subject.
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
