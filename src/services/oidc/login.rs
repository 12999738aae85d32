//! What every login has in common: the issuer's description of itself, the
//! code flow's secrets, the token endpoint, and the checks that a token passes
//! before anyone uses it.
//!
//! Sources: OpenID Connect Discovery 1.0 §4, OpenID Connect Core 1.0 §3.1.3.7
//! (validation), RFC 6749 (OAuth), RFC 7636 (PKCE, S256 alone), RFC 9207 (`iss`
//! in the answer), RFC 9700.
//!
//! *Not checked here:* who may sign (`policy/`), and whether the token is for
//! this person: the story shows the identity before it is used.

use std::{fmt, time::Duration};

use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, CsrfToken, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, SignatureVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;
use zeroize::Zeroizing;

use super::{
    token::{Claims, SKEW, Token},
    wire::OauthError,
};
use crate::{
    evidence::UnixTime,
    services::http::client::{Client, HttpError, Request, Retry, excerpt},
};

/// The longest answer of an issuer that is read, in bytes.
pub const MAX_ANSWER: usize = 256 << 10;
/// The longest code, state or error text that is read from a redirect or a
/// terminal, in bytes.
pub const MAX_CODE: usize = 4096;
/// The longest refresh token, in bytes.
pub const MAX_REFRESH: usize = 16 << 10;

/// The signatures that are taken: public-key ones, all that the library checks.
/// A shared key (HS256) would let whoever can check a token make one.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What a flow needs of the machine it runs on. The story implements it.
pub trait Person {
    /// Shows a line. Never on standard output, which git may be reading.
    fn tell(&mut self, line: &str);
    /// Opens an address in a browser; comes back at once, or nearly.
    ///
    /// # Errors
    ///
    /// Why no browser was opened.
    fn open(&mut self, url: &Url) -> Result<(), String>;
    /// Asks for a line. Never on standard input, which holds what git signs.
    ///
    /// # Errors
    ///
    /// Why nobody answered.
    fn ask(&mut self, prompt: &str) -> Result<String, String>;
    /// Whether there is anyone to ask.
    fn can_be_asked(&self) -> bool;
    /// Waits.
    fn pause(&mut self, time: Duration);
}

/// Where one logs in, and as what.
#[derive(Clone)]
pub struct Issuer<'a> {
    /// The HTTP client.
    pub http: &'a Client,
    /// The issuer, exactly as its tokens name it.
    pub issuer: &'a str,
    /// The client's name.
    pub client_id: &'a str,
    /// The client's secret, for issuers that want one.
    pub client_secret: Option<&'a str>,
    /// The identity provider behind a broker such as Dex.
    pub connector_id: Option<&'a str>,
    /// Who is going to log in, where that is known.
    pub login_hint: Option<&'a str>,
    /// Scopes beyond `openid email`; `offline_access` asks for a refresh token.
    pub scopes: &'a [&'a str],
}

impl fmt::Debug for Issuer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// What a login gave. No `Debug`: both are secret.
pub struct Granted {
    /// The identity token, checked.
    pub token: Token,
    /// A token to renew it with, if the issuer gave one.
    pub refresh: Option<Zeroizing<String>>,
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
    /// The issuer cannot do what this flow needs.
    #[error("the issuer {issuer} does not offer {what}")]
    NotOffered {
        /// The issuer.
        issuer: String,
        /// What is missing.
        what: &'static str,
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
    /// A renewed token names somebody else than the one before.
    #[error("the renewed token is for {found}, the one before was for {expected}")]
    OtherPerson {
        /// Whom the new one names.
        found: String,
        /// Whom the one before named.
        expected: String,
    },
    /// Nothing can listen where the browser is to come back to.
    #[error("cannot listen on {address} for the browser's answer: {reason}")]
    Listen {
        /// Where.
        address: String,
        /// What the operating system says.
        reason: String,
    },
    /// No browser was opened.
    #[error("no browser was opened: {reason}")]
    NoBrowser {
        /// Why.
        reason: String,
    },
    /// Nobody is there to type something in.
    #[error("nobody can be asked for the code: {reason}")]
    Nobody {
        /// Why.
        reason: String,
    },
    /// Nobody logged in.
    #[error("nobody logged in within {} s", .after.as_secs())]
    TimedOut {
        /// The time that was given.
        after: Duration,
    },
}

impl<'a> Issuer<'a> {
    /// A public client of an issuer, without any wish.
    #[must_use]
    pub fn new(http: &'a Client, issuer: &'a str, client_id: &'a str) -> Self {
        Self {
            http,
            issuer,
            client_id,
            client_secret: None,
            connector_id: None,
            login_hint: None,
            scopes: &[],
        }
    }

    /// Reads how the issuer describes itself, and its keys.
    ///
    /// # Errors
    ///
    /// When it does not answer, is another issuer than it was asked for, leaves
    /// TLS, or offers PKCE in other ways than S256 only.
    pub fn discover(&self) -> Result<Found<'_>, LoginError> {
        let own = web_address("issuer", self.issuer)?;
        let bad = |reason: String| LoginError::Discovery {
            issuer: excerpt(self.issuer.as_bytes()),
            reason: excerpt(reason.as_bytes()),
        };
        let path = self.issuer.strip_suffix('/').unwrap_or(self.issuer);
        let address = web_address("issuer", &format!("{path}{}", super::wire::DISCOVERY))?;
        let described: Described = self.fetch("discovery", &address, |reason| bad(reason))?;
        // Exact, a slash at the end included (Discovery §4.3).
        if described.issuer != self.issuer {
            return Err(bad(format!("it says that it is {:?}", described.issuer)));
        }
        if let Some(methods) = &described.code_challenge_methods_supported
            && !methods.iter().any(|method| method == "S256")
        {
            return Err(LoginError::NotOffered {
                issuer: excerpt(self.issuer.as_bytes()),
                what: "PKCE with S256",
            });
        }
        let endpoint = |what, address: &str| {
            let address = web_address(what, address)?;
            if own.scheme() == "https" && address.scheme() != "https" {
                return Err(LoginError::Address {
                    what,
                    address: excerpt(address.as_str().as_bytes()),
                    reason: "the issuer has TLS and this has not",
                });
            }
            Ok(address)
        };
        let authorization = endpoint("authorization endpoint", &described.authorization_endpoint)?;
        let token = endpoint("token endpoint", &described.token_endpoint)?;
        let jwks = endpoint("key address", &described.jwks_uri)?;
        let device = described
            .device_authorization_endpoint
            .as_deref()
            .map(|address| endpoint("device endpoint", address))
            .transpose()?;
        let keys = self.fetch("keys", &jwks, bad)?;
        Ok(Found {
            asked: self,
            authorization,
            token,
            device,
            jwks,
            keys,
            pkce_listed: described.code_challenge_methods_supported.is_some(),
            names_itself: described.authorization_response_iss_parameter_supported,
            secret_in_form: described.token_endpoint_auth_methods_supported.is_some_and(
                |methods| {
                    let has = |name| methods.iter().any(|method| method == name);
                    has("client_secret_post") && !has("client_secret_basic")
                },
            ),
        })
    }

    fn fetch<T: DeserializeOwned>(
        &self,
        what: &'static str,
        address: &Url,
        bad: impl Fn(String) -> LoginError,
    ) -> Result<T, LoginError> {
        // A redirect here could put another's keys under this issuer's name.
        let answer = self.http.send(&Request {
            redirects: false,
            ..Request::get(what, address, MAX_ANSWER)
        })?;
        if answer.status != 200 {
            return Err(LoginError::Http(answer.unexpected()));
        }
        serde_json::from_slice(&answer.body).map_err(|error| bad(format!("{what}: {error}")))
    }
}

/// The members of a description that are read.
#[derive(Deserialize)]
struct Described {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    device_authorization_endpoint: Option<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// An issuer that described itself.
pub struct Found<'a> {
    pub(super) asked: &'a Issuer<'a>,
    authorization: Url,
    token: Url,
    pub(super) device: Option<Url>,
    jwks: Url,
    keys: CoreJsonWebKeySet,
    /// Whether the issuer says that it knows PKCE.
    pub(super) pkce_listed: bool,
    names_itself: bool,
    secret_in_form: bool,
}

/// A login in the browser that has begun. No `Debug`: it holds secrets.
pub struct Begun {
    /// Where the browser goes.
    pub url: Url,
    /// Where the answer comes back to, exactly as the issuer was told.
    redirect: String,
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

/// What a redirect back to us says.
#[derive(Debug, PartialEq, Eq)]
pub enum Return {
    /// A code for this login. Secret until it is used.
    Code(String),
    /// Not of this login: without its state. The login goes on.
    Stray(&'static str),
    /// Of this login, and its end.
    Ended(LoginError),
}

/// What the token endpoint answers.
#[derive(Deserialize)]
pub(super) struct Tokens {
    access_token: Option<String>,
    id_token: Option<String>,
    refresh_token: Option<String>,
}

impl Found<'_> {
    /// Makes the address for the browser: PKCE S256, a fresh state and nonce.
    #[must_use]
    pub fn begin(&self, redirect: &str, extra: &[(&str, &str)]) -> Begun {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (state, nonce) = (CsrfToken::new_random(), Nonce::new_random());
        let scope = self.scope();
        let mut url = self.authorization.clone();
        {
            let mut query = url.query_pairs_mut();
            for (name, value) in [
                ("response_type", "code"),
                ("client_id", self.asked.client_id),
                ("redirect_uri", redirect),
                ("scope", &scope),
                ("state", state.secret()),
                ("nonce", nonce.secret()),
                ("code_challenge", challenge.as_str()),
                ("code_challenge_method", "S256"),
                (
                    "access_type",
                    if self.asked.scopes.contains(&"offline_access") {
                        "offline"
                    } else {
                        "online"
                    },
                ),
            ] {
                query.append_pair(name, value);
            }
            if let Some(connector) = self.asked.connector_id {
                query.append_pair("connector_id", connector);
            }
            if let Some(hint) = self.asked.login_hint {
                query.append_pair("login_hint", hint);
            }
            for (name, value) in extra {
                query.append_pair(name, value);
            }
        }
        Begun {
            url,
            redirect: redirect.to_owned(),
            state,
            nonce,
            verifier,
        }
    }

    /// `openid email`, and what else was asked for.
    pub(super) fn scope(&self) -> String {
        let mut scope = "openid email".to_owned();
        for name in self.asked.scopes {
            scope.push(' ');
            scope.push_str(name);
        }
        scope
    }

    /// Judges the query of a redirect (RFC 6749 §4.1.2, RFC 9207 §2.4).
    #[must_use]
    pub fn judge(&self, begun: &Begun, query: &str) -> Return {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .take(64)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let value = |name: &str| {
            let mut values = pairs.iter().filter(|(key, _)| key == name);
            match (values.next(), values.next()) {
                (value, None) => Ok(value.map(|(_, value)| value.as_str())),
                (_, Some(_)) => Err("a parameter is there twice"),
            }
        };
        match value("state") {
            Ok(Some(state)) if same(state, begun.state.secret()) => {}
            Ok(Some(_)) => return Return::Stray("the state differs"),
            Ok(None) => return Return::Stray("there is no state in it"),
            Err(reason) => return Return::Stray(reason),
        }
        let ended = |reason| Return::Ended(LoginError::Answer { reason });
        let read = (|| {
            Ok::<_, &'static str>((
                value("iss")?,
                value("error")?,
                value("error_description")?,
                value("code")?,
            ))
        })();
        let (iss, error, description, code) = match read {
            Ok(read) => read,
            Err(reason) => return ended(reason),
        };
        match iss {
            Some(iss) if iss != self.asked.issuer => {
                return ended("it names another issuer (RFC 9207)");
            }
            None if self.names_itself => {
                return ended("it does not name the issuer, which says that it does (RFC 9207)");
            }
            _ => {}
        }
        if let Some(error) = error {
            return Return::Ended(LoginError::Refused {
                error: excerpt(error.as_bytes()),
                description: excerpt(description.unwrap_or_default().as_bytes()),
            });
        }
        match code {
            Some(code) if code.len() > MAX_CODE => ended("the code is too long"),
            Some(code) if !code.is_empty() => Return::Code(code.to_owned()),
            _ => ended("there is no code in it"),
        }
    }

    /// Exchanges the code and checks the token that comes for it.
    ///
    /// # Errors
    ///
    /// When the issuer refuses, or its token does not hold.
    pub fn finish(&self, begun: Begun, code: &str) -> Result<Granted, LoginError> {
        let tokens = self
            .ask_for_tokens(
                &[
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", &begun.redirect),
                    ("code_verifier", begun.verifier.secret()),
                ],
                Retry::NEVER,
            )?
            .map_err(|refused| LoginError::Exchange {
                reason: words(&refused),
            })?;
        self.take(tokens, Some(&begun.nonce))
    }

    /// One request to the token endpoint; the inner error is the issuer's own.
    pub(super) fn ask_for_tokens(
        &self,
        form: &[(&str, &str)],
        retry: Retry,
    ) -> Result<Result<Tokens, OauthError>, LoginError> {
        self.post("token request", &self.token, form, retry)
    }

    /// One form to an endpoint of the issuer, with the client's name.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        what: &'static str,
        address: &Url,
        form: &[(&str, &str)],
        retry: Retry,
    ) -> Result<Result<T, OauthError>, LoginError> {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let mut authorization = None;
        match self.asked.client_secret {
            Some(secret) if !self.secret_in_form => {
                // RFC 6749 §2.3.1: both parts form-encoded, then Basic.
                let encode =
                    |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
                let (name, secret): (String, String) =
                    (encode(self.asked.client_id), encode(secret));
                authorization = Some(basic(&format!("{name}:{secret}")));
            }
            Some(secret) => {
                body.append_pair("client_id", self.asked.client_id);
                body.append_pair("client_secret", secret);
            }
            None => {
                body.append_pair("client_id", self.asked.client_id);
            }
        }
        let body = Zeroizing::new(body.finish());
        let headers: Vec<(&'static str, &str)> = authorization
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        let answer = self.asked.http.send(&Request {
            retry,
            headers: &headers,
            redirects: false,
            ..Request::post(
                what,
                address,
                "application/x-www-form-urlencoded",
                body.as_bytes(),
                MAX_ANSWER,
            )
        })?;
        let unreadable = |error: serde_json::Error| LoginError::Exchange {
            // Its position only: the text may hold a token.
            reason: format!(
                "{what}: its answer is not the JSON it should be (line {}, column {})",
                error.line(),
                error.column()
            ),
        };
        let answer_body = Zeroizing::new(answer.body.clone());
        if answer.status == 200 {
            return serde_json::from_slice(&answer_body)
                .map(Ok)
                .map_err(unreadable);
        }
        match serde_json::from_slice::<OauthError>(&answer_body) {
            Ok(refused) if (400..500).contains(&answer.status) => Ok(Err(refused)),
            _ => Err(LoginError::Http(answer.unexpected())),
        }
    }

    /// Checks what came (OIDC Core §3.1.3.7): signature by the issuer's keys,
    /// issuer, audience, times, nonce, access token hash, verified address.
    pub(super) fn take(
        &self,
        tokens: Tokens,
        nonce: Option<&Nonce>,
    ) -> Result<Granted, LoginError> {
        let bad = |reason: String| LoginError::Token {
            reason: excerpt(reason.as_bytes()),
        };
        let raw = tokens
            .id_token
            .map(Zeroizing::new)
            .ok_or_else(|| bad("there is no id_token".into()))?;
        // Ours first: it is the strictest reader.
        let token = Token::parse(raw.clone()).map_err(|error| bad(error.to_string()))?;
        let read: CoreIdToken = raw
            .parse()
            .map_err(|_| bad("its header or claims are not as OpenID Connect says".into()))?;
        match self.verify(&read, &self.keys, nonce, tokens.access_token.as_deref()) {
            Err(Unverified::NoKey) => {
                // The issuer may have changed its keys during the login: once.
                let keys = self.asked.fetch("keys", &self.jwks, bad)?;
                self.verify(&read, &keys, nonce, tokens.access_token.as_deref())
            }
            other => other,
        }
        .map_err(|error| match error {
            Unverified::NoKey => bad("its key is none of the issuer's".into()),
            Unverified::Because(reason) => bad(reason),
        })?;
        token
            .check(now(), Some(self.asked.client_id))
            .map_err(|error| bad(error.to_string()))?;
        let refresh = tokens
            .refresh_token
            .filter(|text| !text.is_empty() && text.len() <= MAX_REFRESH)
            .map(Zeroizing::new);
        Ok(Granted { token, refresh })
    }

    fn verify(
        &self,
        token: &CoreIdToken,
        keys: &CoreJsonWebKeySet,
        nonce: Option<&Nonce>,
        access_token: Option<&str>,
    ) -> Result<(), Unverified> {
        let because = |text: String| Unverified::Because(text);
        let issuer = IssuerUrl::new(self.asked.issuer.to_owned())
            .map_err(|error| because(error.to_string()))?;
        let verifier = CoreIdTokenVerifier::new_public_client(
            ClientId::new(self.asked.client_id.to_owned()),
            issuer,
            keys.clone(),
        )
        .set_allowed_algs(ALGORITHMS);
        let claims = token
            .claims(&verifier, |found: Option<&Nonce>| match (nonce, found) {
                (None, _) => Ok(()),
                (Some(_), None) => Err("it has no nonce".to_owned()),
                (Some(wanted), Some(found)) if same(wanted.secret(), found.secret()) => Ok(()),
                (Some(_), Some(_)) => Err("its nonce is of another login".to_owned()),
            })
            .map_err(|error| match error {
                ClaimsVerificationError::SignatureVerification(
                    SignatureVerificationError::NoMatchingKey,
                ) => Unverified::NoKey,
                other => because(other.to_string()),
            })?;
        if claims.issue_time().timestamp() > now().saturating_add(SKEW) {
            return Err(because("it was issued in the future".into()));
        }
        if let Some(expected) = claims.access_token_hash() {
            let access_token = access_token
                .ok_or_else(|| because("it has an at_hash, and there is no access token".into()))?;
            let found = token
                .signing_alg()
                .map_err(|error| error.to_string())
                .and_then(|algorithm| {
                    let key = token
                        .signing_key(&verifier)
                        .map_err(|error| error.to_string())?;
                    AccessTokenHash::from_token(
                        &AccessToken::new(access_token.to_owned()),
                        algorithm,
                        key,
                    )
                    .map_err(|error| error.to_string())
                })
                .map_err(because)?;
            if found != *expected {
                return Err(because("at_hash belongs to another access token".into()));
            }
        }
        Ok(())
    }
}

enum Unverified {
    NoKey,
    Because(String),
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .fold(0, |differs, (one, other)| differs | (one ^ other))
            == 0
}

fn basic(text: &str) -> Zeroizing<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    Zeroizing::new(format!("Basic {}", STANDARD.encode(text)))
}

/// The issuer's own words, fit for a terminal.
pub(super) fn words(refused: &OauthError) -> String {
    let mut text = refused.error.clone();
    if !refused.error_description.is_empty() {
        text.push_str(": ");
        text.push_str(&refused.error_description);
    }
    excerpt(text.as_bytes())
}

/// Who a token says somebody is: the address, or else the subject.
#[must_use]
pub fn identity(claims: &Claims) -> &str {
    claims.email.as_deref().unwrap_or(&claims.subject)
}

pub(super) fn now() -> UnixTime {
    std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .ok()
        .and_then(|time| i64::try_from(time.as_secs()).ok())
        .unwrap_or_default()
}

/// An address of the web.
pub(super) fn web_address(what: &'static str, text: &str) -> Result<Url, LoginError> {
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
