//! Which identity tokens an authority believes: JWS by a key that the issuer
//! publishes, for this audience, at this time.
//!
//! The signature and the registered claims are checked by `openidconnect`; here
//! are the framing, the order of things, the issuer's keys and how often they
//! are asked for. A forged token costs the issuer at most one request in
//! [`MIN_REFETCH`] seconds.
//!
//! Sources: RFC 7515, RFC 7519 §4.1 and §7.2, OpenID Connect Discovery 1.0 §4,
//! RFC 8725 (best practices for JWT).
//!
//! *Not checked here:* what the claims say about a person (`principal.rs`), and
//! who holds the key (`server.rs`).

use std::{
    collections::HashMap,
    fmt,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKeySet, Nonce, SignatureVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, MapAccess, Visitor},
};
use serde_json::Value;
use url::Url;

use super::principal::{ClaimMap, Issuer, Issuers};
use gitseal_evidence::UnixTime;
use gitseal_services::fulcio::wire::MAX_TOKEN;

/// The largest discovery document or key set that is read, in bytes.
pub const MAX_DOCUMENT: usize = 256 << 10;
/// Seconds between two requests for an issuer's keys, whatever tokens come.
pub const MIN_REFETCH: i64 = 10;
/// Seconds after which an issuer's keys are asked for again, so that a key it
/// withdrew is forgotten.
pub const MAX_AGE: i64 = 3600;
/// Seconds that an issuer's clock may be ahead (`nbf`).
pub const SKEW: i64 = 60;

/// Gets a document: address in, at most [`MAX_DOCUMENT`] bytes out. It must not
/// follow a redirect to another host, and must give up in bounded time.
pub type Fetch = Box<dyn Fn(&Url) -> Result<Vec<u8>, String> + Send + Sync>;

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenVerifyError {
    /// There is none.
    #[error("no token was sent")]
    Missing,
    /// Not three parts of base64url, or JSON that can be read in two ways.
    #[error("the token is not a JWT: {0}")]
    Framing(String),
    /// A header that names its own key, or asks for extensions.
    #[error("the token's header holds {0:?}, which is not accepted")]
    Header(String),
    /// No such issuer is configured.
    #[error("the token's issuer {0:?} is not configured")]
    Issuer(String),
    /// The issuer's keys are not to be had.
    #[error("the keys of {issuer} cannot be had: {reason}")]
    Keys {
        /// The issuer.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// Signature, audience or expiry.
    #[error("the token of {issuer} does not hold: {reason}")]
    Invalid {
        /// The issuer.
        issuer: String,
        /// What does not hold.
        reason: String,
    },
    /// Not yet good.
    #[error("the token is good from {from} on, and it is {now}")]
    NotYet {
        /// Its `nbf`.
        from: UnixTime,
        /// The time.
        now: UnixTime,
    },
}

/// Verifies tokens of the configured issuers.
pub struct TokenVerifier {
    issuers: Issuers,
    fetch: Fetch,
    /// One lock for each issuer, so that a slow one delays only its own users.
    keys: HashMap<String, Arc<Mutex<Cached>>>,
}

#[derive(Default)]
struct Cached {
    keys: Option<(Arc<Published>, UnixTime)>,
    asked: Option<UnixTime>,
    failure: String,
}

struct Published {
    set: JsonWebKeySet<CoreJsonWebKey>,
    algorithms: Vec<CoreJwsSigningAlgorithm>,
}

/// The members of a discovery document that matter here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
}

impl TokenVerifier {
    /// A verifier that knows no keys yet.
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

    /// The issuers.
    #[must_use]
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// The issuer and the claims of a token, once it is known to be good at
    /// `now`.
    ///
    /// # Errors
    ///
    /// The first thing that does not hold.
    pub fn verify(
        &self,
        token: &str,
        now: UnixTime,
    ) -> Result<(&Issuer, ClaimMap), TokenVerifyError> {
        if token.is_empty() {
            return Err(TokenVerifyError::Missing);
        }
        let (header, claims) = open(token)?;
        for name in ["crit", "b64", "jwk", "jku", "x5u", "x5c"] {
            if header.contains_key(name) {
                return Err(TokenVerifyError::Header(name.to_owned()));
            }
        }
        let url = match claims.get("iss") {
            Some(Value::String(url)) => url.as_str(),
            _ => return Err(TokenVerifyError::Framing("it has no iss".into())),
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
            reason: words(&error),
        })?;
        if let Some(from) = claims.get("nbf") {
            let from = from
                .as_f64()
                .filter(|from| from.abs() < 1e15)
                .ok_or_else(|| TokenVerifyError::Framing("nbf is no time".into()))?;
            #[allow(clippy::cast_possible_truncation)] // Bounded above.
            let from = from.ceil() as UnixTime;
            if from > now.saturating_add(SKEW) {
                return Err(TokenVerifyError::NotYet { from, now });
            }
        }
        Ok((issuer, claims))
    }

    /// What the issuer publishes: from memory if it is not too old and `again`
    /// is not set, and in any case if it was asked a moment ago.
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
            .asked
            .is_some_and(|asked| (0..MIN_REFETCH).contains(&now.saturating_sub(asked)));
        if !lately {
            cached.asked = Some(now);
            match self.ask(issuer) {
                Ok(published) => {
                    cached.keys = Some((Arc::new(published), now));
                    cached.failure.clear();
                }
                Err(reason) => cached.failure = reason,
            }
        }
        match &cached.keys {
            // Keys that were good an hour ago are better than none while the
            // issuer is away, but only for a while.
            Some((keys, since)) if now.saturating_sub(*since) < MAX_AGE.saturating_mul(2) => {
                Ok(Arc::clone(keys))
            }
            _ => Err(refuse(&cached.failure)),
        }
    }

    fn ask(&self, issuer: &Issuer) -> Result<Published, String> {
        let address = format!(
            "{}/.well-known/openid-configuration",
            issuer.url.trim_end_matches('/')
        );
        let address = Url::parse(&address).map_err(|error| error.to_string())?;
        let document = (self.fetch)(&address)?;
        let discovery: Discovery = serde_json::from_slice(&document)
            .map_err(|error| format!("{address} is no discovery document: {error}"))?;
        if discovery.issuer != issuer.url {
            return Err(format!(
                "{address} describes the issuer {:?}",
                discovery.issuer
            ));
        }
        if address.scheme() == "https" && discovery.jwks_uri.scheme() != "https" {
            return Err(format!("jwks_uri {} leaves TLS", discovery.jwks_uri));
        }
        if !matches!(discovery.jwks_uri.scheme(), "http" | "https") {
            return Err(format!("jwks_uri {} is not fetched", discovery.jwks_uri));
        }
        let document = (self.fetch)(&discovery.jwks_uri)?;
        let set = serde_json::from_slice(&document)
            .map_err(|error| format!("{} is no key set: {error}", discovery.jwks_uri))?;
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

/// The asymmetric algorithms; whatever else an issuer lists is not used.
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
    // A token may be meant for others too; Fulcio asks only that it is meant
    // for Fulcio.
    .set_other_audience_verifier_fn(|_| true)
    .set_time_fn(move || time.into());
    token
        .claims(&verifier, |_: Option<&Nonce>| Ok(()))
        .map(|_| ())
}

/// The library's words and their causes in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Header and claims of a compact JWS (RFC 7515 §3.1), the signature unchecked.
fn open(token: &str) -> Result<(ClaimMap, ClaimMap), TokenVerifyError> {
    let refuse = |reason: &str| TokenVerifyError::Framing(reason.to_owned());
    if token.len() > MAX_TOKEN {
        return Err(TokenVerifyError::Framing(format!(
            "it has {} bytes, at most {MAX_TOKEN} are read",
            token.len()
        )));
    }
    // At most four pieces are looked at, however many dots there are.
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let &[header, payload, _] = parts.as_slice() else {
        return Err(refuse("it has not three parts"));
    };
    let read = |part: &str, what: &str| -> Result<ClaimMap, TokenVerifyError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| TokenVerifyError::Framing(format!("the {what} is not base64url")))?;
        let Unambiguous(map) = serde_json::from_slice(&bytes).map_err(|error| {
            TokenVerifyError::Framing(format!("the {what} is not read: {error}"))
        })?;
        Ok(map)
    };
    Ok((read(header, "header")?, read(payload, "payload")?))
}

/// A JSON object without a name that comes twice (RFC 7519 §4).
struct Unambiguous(ClaimMap);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = ClaimMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<ClaimMap, A::Error> {
                let mut claims = ClaimMap::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if claims.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("{name:?} comes twice")));
                    }
                    claims.insert(name, value);
                }
                Ok(claims)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}
