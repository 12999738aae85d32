//! An identity token, and whose it is.
//!
//! Built so far: a token that the environment or a file holds (the caller reads
//! them), and the login without a browser against an issuer that answers
//! `prompt=none` for a named user at once, as the reference issuer does. The
//! other ways to log in have names in [`Provider`] and are refused by name.
//!
//! Sources: OpenID Connect Core 1.0 §3.1, RFC 7636 (PKCE), RFC 9207 (`iss` in
//! the answer), RFC 7519 (JWT).
//!
//! *Not checked here:* the signature of a token that was not issued to this
//! very login: Fulcio checks it, and the certificate it gives is compared with
//! the claims (`commands/sign.rs`).

use std::fmt;

use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest,
    HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, RedirectUrl,
    Scope, TokenResponse as _,
    core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata},
};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    evidence::UnixTime,
    services::{
        http::client::{Client, HttpError, excerpt},
        oidc::compact::{self, CompactRefusal},
    },
};

/// The longest token that is taken, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;
/// The longest answer of an issuer that is read, in bytes.
pub const MAX_ANSWER: usize = 256 << 10;
/// How long a token must still be good for, in seconds: what lies between the
/// check here and the authority's own.
pub const MIN_LEFT: i64 = 2;
/// How far clocks may differ, in seconds, for the times a token begins at.
pub const SKEW: i64 = 60;
/// Where a mounted token is looked for.
pub const TOKEN_FILE: &str = "/var/run/sigstore/cosign/oidc-token";
/// What the issuer is told to send the answer to, when nothing else is set. No
/// one listens there: the answer is read off the redirect.
pub const HEADLESS_REDIRECT: &str = "http://127.0.0.1/auth/callback";

/// Where a token comes from: the values of the setting `tokenProvider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// Whatever is at hand: the environment, then the file.
    Automatic,
    /// `SIGSTORE_ID_TOKEN`.
    Environment,
    /// [`TOKEN_FILE`].
    File,
    /// A login without a browser.
    Headless,
    /// One that exists, but not in this version.
    NotBuilt(String),
}

impl Provider {
    /// Reads the setting's value; empty is [`Provider::Automatic`].
    ///
    /// # Errors
    ///
    /// When there is no provider of that name.
    pub fn named(name: &str) -> Result<Self, TokenError> {
        Ok(match name {
            "" => Self::Automatic,
            "envvar" => Self::Environment,
            "filesystem" => Self::File,
            "headless" => Self::Headless,
            "interactive"
            | "device"
            | "github-actions"
            | "buildkite-agent"
            | "google-workload-identity"
            | "google-impersonate"
            | "google-impersonation"
            | "spiffe" => Self::NotBuilt(name.to_owned()),
            _ => {
                return Err(TokenError::NoSuchProvider {
                    name: excerpt(name.as_bytes()),
                });
            }
        })
    }
}

/// Why there is no token to sign with.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The setting names nothing that exists.
    #[error("there is no token provider {name:?}")]
    NoSuchProvider {
        /// The setting's value.
        name: String,
    },
    /// The setting names something that exists elsewhere.
    #[error("token provider {name:?} is not built in this version")]
    NotBuilt {
        /// The setting's value.
        name: String,
    },
    /// Nothing is at hand.
    #[error("no identity token: SIGSTORE_ID_TOKEN is not set, and {TOKEN_FILE} does not exist")]
    Absent,
    /// The one provider that was asked for has none.
    #[error("no identity token: {place} is not there")]
    AbsentAt {
        /// A variable or a file.
        place: &'static str,
    },
    /// The file cannot be read.
    #[error("no identity token: {place}: {reason}")]
    Unreadable {
        /// The file.
        place: String,
        /// What the operating system says.
        reason: String,
    },
    /// The token is none, or not for this use.
    #[error(transparent)]
    Refused(#[from] TokenRefusal),
    /// A login that did not work.
    #[error(transparent)]
    Login(#[from] LoginError),
}

/// Why a token is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
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
pub struct Claims {
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
pub struct Token {
    raw: Zeroizing<String>,
    claims: Claims,
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

impl Token {
    /// Reads a token; white space around it is dropped, as files end in a
    /// newline. The signature is not checked.
    ///
    /// # Errors
    ///
    /// When it is not a signed JWT with the claims that every identity token has.
    pub fn parse(text: Zeroizing<String>) -> Result<Self, TokenRefusal> {
        let raw = Zeroizing::new(text.trim().to_owned());
        if raw.is_empty() {
            return Err(TokenRefusal::Empty);
        }
        if raw.len() > MAX_TOKEN {
            return Err(TokenRefusal::TooLong { length: raw.len() });
        }
        let payload = compact::claims(&raw)?;
        let unreadable = |reason: String| TokenRefusal::Claims {
            reason: excerpt(reason.as_bytes()),
        };
        let raw_claims: RawClaims =
            serde_json::from_slice(&payload).map_err(|error| unreadable(error.to_string()))?;
        let seconds = |number| compact::seconds(number).map_err(unreadable);
        let claims = Claims {
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
            .any(|text| compact::hides(text))
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
    pub fn claims(&self) -> &Claims {
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
    pub fn check(&self, now: UnixTime, client_id: Option<&str>) -> Result<(), TokenRefusal> {
        let claims = &self.claims;
        if claims.expires < now.saturating_add(MIN_LEFT) {
            return Err(TokenRefusal::Expired {
                expires: claims.expires,
                now,
            });
        }
        // `iat` too: a token from tomorrow is from a clock that is wrong.
        if let Some(from) = claims.not_before.max(self.issued)
            && from > now.saturating_add(SKEW)
        {
            return Err(TokenRefusal::NotYet { from, now });
        }
        if let Some(expected) = client_id
            && !claims.audience.iter().any(|name| name == expected)
        {
            return Err(TokenRefusal::Audience {
                found: excerpt(format!("{:?}", claims.audience).as_bytes()),
                expected: expected.to_owned(),
            });
        }
        match &claims.email {
            // Fulcio has issuers whose addresses it takes unverified, but says so
            // in its configuration only; a claim that says "false" is a no.
            Some(email) if !claims.email_verified => Err(TokenRefusal::Unverified {
                issuer: excerpt(claims.issuer.as_bytes()),
                email: excerpt(email.as_bytes()),
            }),
            None if claims.subject.is_empty() => Err(TokenRefusal::Nobody),
            _ => Ok(()),
        }
    }
}

impl From<CompactRefusal> for TokenRefusal {
    fn from(refusal: CompactRefusal) -> Self {
        let shown = |text: String| excerpt(text.as_bytes());
        match refusal {
            CompactRefusal::Form(reason) => Self::NotJwt { reason },
            CompactRefusal::Unsigned(algorithm) => Self::Unsigned {
                algorithm: shown(algorithm),
            },
            CompactRefusal::Algorithm(algorithm) => Self::Algorithm {
                algorithm: shown(algorithm),
            },
            CompactRefusal::Claims(reason) => Self::Claims {
                reason: shown(reason),
            },
        }
    }
}

/// Why a login did not give a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// An exchange with the issuer failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An address is none, or leaves TLS.
    #[error("the {what} {address:?} is not fit for a login: {reason}")]
    Address {
        /// Whose address.
        what: &'static str,
        /// The address.
        address: String,
        /// Why.
        reason: &'static str,
    },
    /// Discovery gave no usable description.
    #[error("the issuer {issuer} does not describe itself as OpenID Connect says: {reason}")]
    Discovery {
        /// The issuer.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// The issuer did not send the user back at once.
    #[error("the issuer does not log {user} in without a person: HTTP {status} {excerpt}")]
    NotHeadless {
        /// The user.
        user: String,
        /// The status of its answer.
        status: u16,
        /// How it begins.
        excerpt: String,
    },
    /// The issuer said no.
    #[error("the issuer refused the login: {error}{}{description}", if .description.is_empty() { "" } else { ": " })]
    Refused {
        /// OAuth's error code.
        error: String,
        /// Its explanation.
        description: String,
    },
    /// The answer belongs to another login.
    #[error("the issuer's answer is not for this login: {reason}")]
    Answer {
        /// What does not fit.
        reason: &'static str,
    },
    /// The code was not exchanged for a token.
    #[error("the issuer gave no token for its code: {reason}")]
    Exchange {
        /// Why.
        reason: String,
    },
    /// The token does not hold.
    #[error("the issuer's token does not hold: {reason}")]
    Token {
        /// Why.
        reason: String,
    },
}

/// A login without a browser.
pub struct Headless<'a> {
    /// The HTTP client.
    pub http: &'a Client,
    /// The issuer, exactly as its tokens name it.
    pub issuer: &'a str,
    /// The client's name.
    pub client_id: &'a str,
    /// The client's secret, for issuers that want one.
    pub client_secret: Option<&'a str>,
    /// Where the answer goes, as registered; [`HEADLESS_REDIRECT`] when not set.
    pub redirect_url: Option<&'a str>,
    /// The identity provider behind a broker.
    pub connector_id: Option<&'a str>,
    /// Who logs in.
    pub user: &'a str,
}

impl fmt::Debug for Headless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headless")
            .field("issuer", &self.issuer)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Headless<'_> {
    /// Logs in: code flow with PKCE S256, state and nonce, `prompt=none` and the
    /// user as `login_hint`. The token's signature, issuer, audience, times,
    /// nonce and access token hash are checked.
    ///
    /// # Errors
    ///
    /// When any of that fails; the issuer's own words are passed on, escaped.
    pub fn log_in(&self) -> Result<Token, LoginError> {
        let issuer_address = web_address("issuer", self.issuer)?;
        let issuer = IssuerUrl::new(self.issuer.to_owned()).map_err(|_| LoginError::Address {
            what: "issuer",
            address: self.issuer.to_owned(),
            reason: "not an address",
        })?;
        let exchange = |request: HttpRequest| -> Result<HttpResponse, HttpError> {
            self.http.exchange("login", request, MAX_ANSWER)
        };
        let metadata =
            CoreProviderMetadata::discover(&issuer, &exchange).map_err(|error| match error {
                openidconnect::DiscoveryError::Request(error) => LoginError::Http(error),
                other => LoginError::Discovery {
                    issuer: self.issuer.to_owned(),
                    reason: excerpt(other.to_string().as_bytes()),
                },
            })?;
        let Some(token_endpoint) = metadata.token_endpoint().cloned() else {
            return Err(LoginError::Discovery {
                issuer: self.issuer.to_owned(),
                reason: "no token_endpoint".into(),
            });
        };
        for (what, endpoint) in [
            (
                "authorization endpoint",
                metadata.authorization_endpoint().url(),
            ),
            ("token endpoint", token_endpoint.url()),
            ("key address", metadata.jwks_uri().url()),
        ] {
            let endpoint = web_address(what, endpoint.as_str())?;
            if issuer_address.scheme() == "https" && endpoint.scheme() != "https" {
                return Err(LoginError::Address {
                    what,
                    address: endpoint.into(),
                    reason: "the issuer has TLS and this has not",
                });
            }
        }
        let redirect = self.redirect_url.unwrap_or(HEADLESS_REDIRECT);
        let redirect_address = web_address("redirect address", redirect)?;
        let redirect_url =
            RedirectUrl::new(redirect.to_owned()).map_err(|_| LoginError::Address {
                what: "redirect address",
                address: redirect.to_owned(),
                reason: "not an address",
            })?;
        let client = CoreClient::from_provider_metadata(
            metadata,
            ClientId::new(self.client_id.to_owned()),
            self.client_secret
                .map(|secret| ClientSecret::new(secret.to_owned())),
        )
        .set_token_uri(token_endpoint)
        .set_redirect_uri(redirect_url);

        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut authorization = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .add_scope(Scope::new("email".to_owned()))
            .set_pkce_challenge(challenge)
            .add_extra_param("prompt", "none")
            .add_extra_param("login_hint", self.user)
            .add_extra_param("access_type", "online");
        if let Some(connector) = self.connector_id {
            authorization = authorization.add_extra_param("connector_id", connector);
        }
        let (address, state, nonce) = authorization.url();
        let code = self.authorize(&address, &redirect_address, &state)?;

        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(verifier)
            .request(&exchange)
            .map_err(|error| match error {
                openidconnect::RequestTokenError::Request(error) => LoginError::Http(error),
                other => LoginError::Exchange {
                    reason: excerpt(other.to_string().as_bytes()),
                },
            })?;
        let bad = |reason: String| LoginError::Token {
            reason: excerpt(reason.as_bytes()),
        };
        let id_token = answer
            .id_token()
            .ok_or_else(|| bad("there is no id_token".into()))?;
        let verifier = client.id_token_verifier();
        let claims = id_token
            .claims(&verifier, &nonce)
            .map_err(|error| bad(error.to_string()))?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = id_token
                .signing_alg()
                .map_err(|error| bad(error.to_string()))?;
            let key = id_token
                .signing_key(&verifier)
                .map_err(|error| bad(error.to_string()))?;
            let found = AccessTokenHash::from_token(answer.access_token(), algorithm, key)
                .map_err(|error| bad(error.to_string()))?;
            if found != *expected {
                return Err(bad("at_hash belongs to another access token".into()));
            }
        }
        Token::parse(Zeroizing::new(id_token.to_string())).map_err(|error| bad(error.to_string()))
    }

    /// Asks for a code and reads it off the redirect, which is not followed.
    fn authorize(
        &self,
        address: &Url,
        redirect: &Url,
        state: &CsrfToken,
    ) -> Result<String, LoginError> {
        let request = openidconnect::http::Request::builder()
            .uri(address.as_str())
            .header("accept", "text/html, application/json")
            .body(Vec::new())
            .map_err(|_| LoginError::Address {
                what: "authorization endpoint",
                address: address.to_string(),
                reason: "not an address",
            })?;
        let answer = self.http.exchange("login", request, MAX_ANSWER)?;
        let location = answer
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| address.join(value).ok());
        let Some(location) = location.filter(|_| answer.status().is_redirection()) else {
            return Err(LoginError::NotHeadless {
                user: excerpt(self.user.as_bytes()),
                status: answer.status().as_u16(),
                excerpt: excerpt(answer.body()),
            });
        };
        if location.origin() != redirect.origin() || location.path() != redirect.path() {
            return Err(LoginError::Answer {
                reason: "it goes to another address than the one that was asked for",
            });
        }
        let value = |name: &str| {
            let mut values = location.query_pairs().filter(|(key, _)| key == name);
            match (values.next(), values.next()) {
                (value, None) => Ok(value.map(|(_, value)| value.into_owned())),
                (_, Some(_)) => Err(LoginError::Answer {
                    reason: "a parameter is there twice",
                }),
            }
        };
        if value("state")?.as_deref() != Some(state.secret()) {
            return Err(LoginError::Answer {
                reason: "the state differs",
            });
        }
        if value("iss")?.is_some_and(|issuer| issuer != self.issuer) {
            return Err(LoginError::Answer {
                reason: "it names another issuer (RFC 9207)",
            });
        }
        if let Some(error) = value("error")? {
            return Err(LoginError::Refused {
                error: excerpt(error.as_bytes()),
                description: excerpt(value("error_description")?.unwrap_or_default().as_bytes()),
            });
        }
        value("code")?.ok_or(LoginError::Answer {
            reason: "there is no code in it",
        })
    }
}

fn web_address(what: &'static str, text: &str) -> Result<Url, LoginError> {
    let fail = |reason| LoginError::Address {
        what,
        address: excerpt(text.as_bytes()),
        reason,
    };
    let url = Url::parse(text).map_err(|_| fail("not an address"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(fail("neither http nor https"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
