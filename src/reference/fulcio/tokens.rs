//! Verification of identity tokens: a JWS by a published key of the issuer, for
//! this audience, at this time.
//!
//! `openidconnect` checks the signature and the registered claims. This module
//! fetches the issuer's keys; `oidc/jws.rs` checks the framing. A forged token costs the
//! issuer at most one request in [`MIN_REFETCH`] seconds.
//!
//! Sources: RFC 7515, RFC 7519 §4.1 and §7.2, OpenID Connect Discovery 1.0 §4,
//! RFC 8725 (best practices for JWT).
//!
//! *Not checked here:* the identity in the claims (`principal.rs`), and the proof
//! that the client holds the key (`server.rs`).

use std::{
    collections::HashMap,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKeySet, Nonce, SignatureVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::principal::{ClaimMap, Issuer, Issuers};
use gitseal_evidence::{UnixTime, rfc3339};
use gitseal_services::{
    fulcio::wire::MAX_TOKEN,
    oidc::jws::{self, JwsError},
};

/// The maximum length of a discovery document or key set, in bytes.
pub const MAX_DOCUMENT: usize = 256 << 10;
/// The minimum time between two requests for an issuer's keys, in seconds.
pub const MIN_REFETCH: i64 = 10;
/// The time after which an issuer's keys are fetched again, in seconds, so that
/// withdrawn keys expire.
pub const MAX_AGE: i64 = 3600;
/// The tolerance for an issuer's clock that is ahead (`nbf`), in seconds.
pub const SKEW: i64 = 60;

/// Fetches at most [`MAX_DOCUMENT`] bytes from a URL. It must not follow a redirect
/// to another host, and must return in bounded time.
pub type Fetch = Box<dyn Fn(&Url) -> Result<Vec<u8>, String> + Send + Sync>;

/// Reasons to reject an identity token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenVerifyError {
    /// The request contains no token.
    #[error("no token was sent")]
    Missing,
    /// The token is not a signed JWT that has only one reading.
    #[error("the token is not a JWT: {0}")]
    Framing(String),
    /// The issuer of the token is not configured.
    #[error("the token's issuer {0:?} is not configured")]
    Issuer(String),
    /// The issuer's keys are unavailable.
    #[error("the keys of {issuer} are unavailable: {reason}")]
    Keys { issuer: String, reason: String },
    /// The signature, the audience or the expiry is invalid.
    #[error("the token of {issuer} does not verify: {reason}")]
    Invalid { issuer: String, reason: String },
    /// The token is not valid yet (`nbf`).
    #[error("the token is valid from {} on; the time is {}", rfc3339(*from), rfc3339(*now))]
    NotYet { from: UnixTime, now: UnixTime },
}

/// Verifies tokens of the configured issuers.
pub struct TokenVerifier {
    issuers: Issuers,
    fetch: Fetch,
    /// One lock per issuer, so that a slow issuer delays only its own users.
    keys: HashMap<String, Arc<Mutex<Cached>>>,
}

#[derive(Default)]
struct Cached {
    keys: Option<(Arc<Published>, UnixTime)>,
    queried: Option<UnixTime>,
    failure: String,
}

struct Published {
    set: JsonWebKeySet<CoreJsonWebKey>,
    algorithms: Vec<CoreJwsSigningAlgorithm>,
}

/// The members of a discovery document that the verifier uses.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
}

impl TokenVerifier {
    /// Returns a verifier that has not fetched any keys yet.
    #[must_use]
    pub fn new(issuers: Issuers, fetch: Fetch) -> Self {
        let keys = issuers
            .all()
            .iter()
            .map(|issuer| (issuer.url.clone(), Arc::default()))
            .collect();
        Self {
            issuers,
            fetch,
            keys,
        }
    }

    /// Returns the configured issuers.
    #[must_use]
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Verifies a token at the time `now` and returns its issuer and claims.
    ///
    /// # Errors
    ///
    /// Returns [`TokenVerifyError`] for the first check that fails.
    pub fn verify(
        &self,
        token: &str,
        now: UnixTime,
    ) -> Result<(&Issuer, ClaimMap), TokenVerifyError> {
        if token.is_empty() {
            return Err(TokenVerifyError::Missing);
        }
        let claims = open(token)?;
        let url = match claims.get("iss") {
            Some(Value::String(url)) => url.as_str(),
            _ => return Err(TokenVerifyError::Framing("the claim iss is missing".into())),
        };
        let issuer = self
            .issuers
            .find(url)
            .ok_or_else(|| TokenVerifyError::Issuer(url.chars().take(256).collect()))?;
        let parsed = CoreIdToken::from_str(token)
            .map_err(|error| TokenVerifyError::Framing(error.to_string()))?;
        let mut published = self.published(issuer, now, false)?;
        let mut outcome = check(&parsed, issuer, &published, now);
        let unknown_key = matches!(
            outcome,
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey
                    | SignatureVerificationError::CryptoError(_)
            ))
        );
        if unknown_key {
            // The issuer may have new keys.
            let fresh = self.published(issuer, now, true)?;
            if !Arc::ptr_eq(&fresh, &published) {
                published = fresh;
                outcome = check(&parsed, issuer, &published, now);
            }
        }
        outcome.map_err(|error| TokenVerifyError::Invalid {
            issuer: issuer.url.clone(),
            reason: with_causes(&error),
        })?;
        if let Some(from) = claims.get("nbf") {
            let from = from
                .as_f64()
                .filter(|from| from.abs() < 1e15)
                .ok_or_else(|| TokenVerifyError::Framing("nbf is not a time".into()))?;
            #[allow(clippy::cast_possible_truncation)] // Bounded above.
            let from = from.ceil() as UnixTime;
            if from > now.saturating_add(SKEW) {
                return Err(TokenVerifyError::NotYet { from, now });
            }
        }
        Ok((issuer, claims))
    }

    /// Returns the issuer's keys: cached ones if they are not too old and `again` is
    /// not set, or if the issuer was queried within [`MIN_REFETCH`] seconds.
    fn published(
        &self,
        issuer: &Issuer,
        now: UnixTime,
        again: bool,
    ) -> Result<Arc<Published>, TokenVerifyError> {
        let refuse = |reason: &str| TokenVerifyError::Keys {
            issuer: issuer.url.clone(),
            reason: reason.to_owned(),
        };
        let cached = self
            .keys
            .get(&issuer.url)
            .ok_or_else(|| refuse("the issuer is not configured"))?;
        let mut cached = cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((keys, since)) = &cached.keys
            && !again
            && now.saturating_sub(*since) < MAX_AGE
        {
            return Ok(Arc::clone(keys));
        }
        let lately = cached
            .queried
            .is_some_and(|queried| (0..MIN_REFETCH).contains(&now.saturating_sub(queried)));
        if !lately {
            cached.queried = Some(now);
            match self.fetch_keys(issuer) {
                Ok(published) => {
                    cached.keys = Some((Arc::new(published), now));
                    cached.failure.clear();
                }
                Err(reason) => cached.failure = reason,
            }
        }
        match &cached.keys {
            // While the issuer is unavailable, older keys are used for another hour.
            Some((keys, since)) if now.saturating_sub(*since) < MAX_AGE.saturating_mul(2) => {
                Ok(Arc::clone(keys))
            }
            _ => Err(refuse(&cached.failure)),
        }
    }

    fn fetch_keys(&self, issuer: &Issuer) -> Result<Published, String> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.url.trim_end_matches('/')
        );
        let url = Url::parse(&url).map_err(|error| error.to_string())?;
        let document = (self.fetch)(&url)?;
        let discovery: Discovery = serde_json::from_slice(&document)
            .map_err(|error| format!("{url} is not a discovery document: {error}"))?;
        if discovery.issuer != issuer.url {
            return Err(format!("{url} names the issuer {:?}", discovery.issuer));
        }
        if url.scheme() == "https" && discovery.jwks_uri.scheme() != "https" {
            return Err(format!("jwks_uri {} does not use TLS", discovery.jwks_uri));
        }
        if !matches!(discovery.jwks_uri.scheme(), "http" | "https") {
            return Err(format!(
                "jwks_uri {} is not an HTTP URL",
                discovery.jwks_uri
            ));
        }
        let document = (self.fetch)(&discovery.jwks_uri)?;
        let set = serde_json::from_slice(&document)
            .map_err(|error| format!("{} is not a key set: {error}", discovery.jwks_uri))?;
        let mut names = discovery.id_token_signing_alg_values_supported;
        if names.is_empty() {
            names.push("RS256".into());
        }
        Ok(Published {
            set,
            algorithms: names.iter().filter_map(|name| algorithm(name)).collect(),
        })
    }
}

/// Returns an asymmetric algorithm by its name; other algorithms are ignored.
fn algorithm(name: &str) -> Option<CoreJwsSigningAlgorithm> {
    Some(match name {
        "RS256" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        "RS384" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
        "RS512" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
        "PS256" => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
        "PS384" => CoreJwsSigningAlgorithm::RsaSsaPssSha384,
        "PS512" => CoreJwsSigningAlgorithm::RsaSsaPssSha512,
        "ES256" => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        "ES384" => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        "EdDSA" => CoreJwsSigningAlgorithm::EdDsa,
        _ => return None,
    })
}

fn check(
    token: &CoreIdToken,
    issuer: &Issuer,
    published: &Published,
    now: UnixTime,
) -> Result<(), ClaimsVerificationError> {
    let url = IssuerUrl::new(issuer.url.clone())
        .map_err(|error| ClaimsVerificationError::InvalidIssuer(error.to_string()))?;
    let since_epoch = Duration::from_secs(u64::try_from(now).unwrap_or(0));
    let time = UNIX_EPOCH
        .checked_add(since_epoch)
        .ok_or_else(|| ClaimsVerificationError::Expired("the clock is wrong".into()))?;
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(issuer.audience.clone()),
        url,
        published.set.clone(),
    )
    .set_allowed_algs(published.algorithms.iter().cloned())
    // A token may have other audiences too; Fulcio requires only its own.
    .set_other_audience_verifier_fn(|_| true)
    .set_time_fn(move || time.into());
    token
        .claims(&verifier, |_: Option<&Nonce>| Ok(()))
        .map(|_| ())
}

/// Returns an error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Parses the claims of a token without verifying it, as strictly as a client does.
fn open(token: &str) -> Result<ClaimMap, TokenVerifyError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenVerifyError::Framing(format!(
            "{} bytes exceed the maximum of {MAX_TOKEN}",
            token.len()
        )));
    }
    let payload = jws::claims(token)?;
    serde_json::from_slice(&payload).map_err(|error| TokenVerifyError::Framing(error.to_string()))
}

impl From<JwsError> for TokenVerifyError {
    fn from(error: JwsError) -> Self {
        Self::Framing(match error {
            JwsError::Form(reason) => reason.to_owned(),
            JwsError::Unsigned(algorithm) => format!("it is not signed (alg {algorithm:?})"),
            JwsError::Algorithm(algorithm) => {
                format!("unsupported signature algorithm {algorithm:?}")
            }
            JwsError::Claims(reason) => format!("the claims are malformed: {reason}"),
        })
    }
}
