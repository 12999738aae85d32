//! What every login has in common: the issuer's description of itself, the
//! authorization request, the exchange of a code, and the check of the token.
//!
//! A flow (`browser.rs`, `device.rs`, `out_of_band.rs`, `headless.rs`) adds how
//! the person is reached; `refresh.rs` does without one.
//!
//! Sources: OpenID Connect Core 1.0 §3.1, Discovery 1.0 §4, RFC 7636 (PKCE),
//! RFC 9207 (`iss` in the answer).
//!
//! *Not checked here:* whether Fulcio takes the token (`token.rs`).

use std::{fmt, time::Duration};

use openidconnect::{
    AccessTokenHash, AdditionalProviderMetadata, AuthorizationCode, ClientId, ClientSecret,
    CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl,
    Nonce, NonceVerifier, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, Scope, TokenResponse as _,
    core::{
        CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient,
        CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType, CoreTokenResponse,
    },
};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::token::IdentityToken;
use crate::http::client::{Client, HttpError, excerpt, protects_secrets};

/// The longest answer of an issuer that is read, in bytes.
pub const MAX_ANSWER: usize = 256 << 10;

/// The user interface that a login flow needs.
pub trait LoginPrompt {
    /// Tells something, on the terminal; never on standard output.
    fn tell(&mut self, line: &str);
    /// Opens an address in the browser.
    ///
    /// # Errors
    /// There is none, or it did not start; in words.
    fn open(&mut self, url: &Url) -> Result<(), String>;
    /// Asks for a line.
    ///
    /// # Errors
    /// There is no terminal, or nobody at it; in words.
    fn ask(&mut self, prompt: &str) -> Result<String, String>;
    /// Whether [`ask`](Self::ask) can work.
    fn can_be_asked(&self) -> bool;
    /// Whether what is [told](Self::tell) is seen while the login goes on.
    fn can_be_told(&self) -> bool;
    /// Waits, between two looks. `false`: whoever wanted the login is gone.
    fn pause(&mut self, how_long: Duration) -> bool;
}

/// The OIDC provider and client settings for a login.
#[derive(Clone, Copy)]
pub struct LoginConfig<'a> {
    /// The HTTP client.
    pub http: &'a Client,
    /// The issuer, exactly as its tokens name it.
    pub issuer: &'a str,
    /// The client's name.
    pub client_id: &'a str,
    /// The client's secret, for issuers that want one.
    pub client_secret: Option<&'a str>,
    /// The identity provider behind a broker.
    pub connector_id: Option<&'a str>,
    /// The user to log in as, if the issuer accepts a hint.
    pub login_hint: Option<&'a str>,
    /// Whether to ask for a refresh token.
    pub offline_access: bool,
}

impl fmt::Debug for LoginConfig<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The tokens that a login returns.
pub struct LoginTokens {
    /// The identity token.
    pub token: IdentityToken,
    /// The refresh token, if one was requested and returned.
    pub refresh: Option<Zeroizing<String>>,
}

/// Members of the discovery document that the library does not know.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct ExtraMetadata {
    /// RFC 8628 §4.
    #[serde(default)]
    pub device_authorization_endpoint: Option<String>,
    /// RFC 8414 §2: without S256 in it, the issuer checks no verifier of ours.
    #[serde(default)]
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// RFC 9207 §3.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for ExtraMetadata {}

type Metadata = ProviderMetadata<
    ExtraMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// A client that can ask for authorization and exchange what it gets.
pub(super) type Ready = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointMaybeSet,
>;

/// An issuer that has described itself.
pub(super) struct DiscoveredProvider<'a> {
    pub(super) issuer: LoginConfig<'a>,
    pub(super) client: Ready,
    pub(super) further: ExtraMetadata,
}

/// An authorization request that was made, and what its answer is held against.
pub(super) struct AuthorizationRequest {
    /// The URL that the browser opens.
    pub(super) url: Url,
    /// The state that the response must repeat.
    pub(super) state: CsrfToken,
    /// The nonce that the token must repeat.
    pub(super) nonce: Nonce,
    /// The PKCE verifier of the code.
    pub(super) verifier: PkceCodeVerifier,
}

/// Errors of a login at an OIDC provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum LoginError {
    /// An exchange with the issuer failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An address is none, or leaves TLS.
    #[error("the {what} {address:?} cannot be used to log in: {reason}")]
    Address {
        what: &'static str,
        address: String,
        reason: &'static str,
    },
    /// Discovery gave no usable description.
    #[error("{issuer} has no valid OpenID Connect discovery document: {reason}")]
    Discovery { issuer: String, reason: String },
    /// The issuer did not send the user back at once.
    #[error("{issuer} does not support logging in {user} without a browser (HTTP {status})")]
    NotHeadless {
        issuer: String,
        user: String,
        status: u16,
    },
    /// The issuer said no.
    #[error("the issuer denied the login: {error}{}{description}", if .description.is_empty() { "" } else { ": " })]
    Refused { error: String, description: String },
    /// The answer belongs to another login.
    #[error("the response of the issuer is not for this login: {reason}")]
    Answer { reason: &'static str },
    /// The code was not exchanged for a token.
    #[error("the issuer returned no identity token: {reason}")]
    Exchange { reason: String },
    /// The token does not hold.
    #[error("invalid identity token from the issuer: {reason}")]
    Token { reason: String },
    /// Nobody came back from the browser.
    #[error("the login was not completed within {seconds} s")]
    NobodyCame { seconds: u64 },
    /// The address for the browser was used twice, by unknown programs.
    #[error(
        "the login page was requested twice; another user of this machine may have read its address"
    )]
    OpenedTwice,
    /// No browser could be opened.
    #[error("cannot open a browser: {reason}")]
    NoBrowser { reason: String },
    /// The answer cannot be received on this machine.
    #[error("cannot listen for the browser at {address}: {reason}")]
    NoListener { address: String, reason: String },
    /// The issuer has no login on another device.
    #[error("the issuer {issuer} has no login on another device (RFC 8628)")]
    NoDeviceLogin { issuer: String },
    /// There is a code to type on another device, and nobody who would see it.
    #[error("cannot log in: no terminal to display the login code")]
    Unseen,
    /// Whoever wanted the login ended before it did.
    #[error("the calling program exited")]
    Abandoned,
    /// The code for the other device ran out.
    #[error("the login was not completed within {seconds} s")]
    CodeExpired { seconds: u64 },
    /// A code should be pasted, and there is no terminal.
    #[error("cannot prompt for the login code: {reason}")]
    NoTerminal { reason: String },
}

impl LoginError {
    /// Whether this way of logging in cannot be gone here and now, so that
    /// another may be tried. A refusal, or a failure of the issuer, is an
    /// answer.
    #[must_use]
    pub fn is_method_unavailable(&self) -> bool {
        matches!(
            self,
            Self::NobodyCame { .. }
                | Self::NoBrowser { .. }
                | Self::NoListener { .. }
                | Self::NoDeviceLogin { .. }
        )
    }
}

impl<'a> LoginConfig<'a> {
    /// Has the issuer describe itself.
    ///
    /// # Errors
    /// It does not, not as OpenID Connect says, or its addresses leave TLS.
    pub(super) fn discover(&self) -> Result<DiscoveredProvider<'a>, LoginError> {
        let own_address = web_address("issuer", self.issuer)?;
        let issuer = IssuerUrl::new(self.issuer.to_owned()).map_err(|_| LoginError::Address {
            what: "issuer",
            address: self.issuer.to_owned(),
            reason: "not a URL",
        })?;
        let bad = |reason: String| LoginError::Discovery {
            issuer: self.issuer.to_owned(),
            reason,
        };
        let metadata =
            Metadata::discover(&issuer, &exchange(self.http)).map_err(|error| match error {
                openidconnect::DiscoveryError::Request(error) => LoginError::Http(error),
                other => bad(excerpt(other.to_string().as_bytes())),
            })?;
        let token_endpoint = metadata
            .token_endpoint()
            .cloned()
            .ok_or_else(|| bad("no token_endpoint".into()))?;
        let further = metadata.additional_metadata().clone();
        // RFC 9700 §2.1.1: an issuer that lists methods and not this one would
        // leave the code to whoever intercepts it.
        if let Some(methods) = &further.code_challenge_methods_supported
            && !methods.iter().any(|method| method == "S256")
        {
            return Err(bad("its code_challenge_methods_supported lack S256".into()));
        }
        let mut endpoints = vec![
            (
                "authorization endpoint",
                metadata.authorization_endpoint().as_str(),
            ),
            ("token endpoint", token_endpoint.as_str()),
            ("key address", metadata.jwks_uri().as_str()),
        ];
        if let Some(device) = &further.device_authorization_endpoint {
            endpoints.push(("device endpoint", device));
        }
        for (what, endpoint) in endpoints {
            let endpoint = web_address(what, endpoint)?;
            let reason = if own_address.scheme() == "https" && endpoint.scheme() != "https" {
                "the issuer has TLS and this has not"
            } else if !protects_secrets(&endpoint) {
                "it is on another machine and has no TLS"
            } else {
                continue;
            };
            return Err(LoginError::Address {
                what,
                address: endpoint.into(),
                reason,
            });
        }
        let client = CoreClient::from_provider_metadata(
            metadata,
            ClientId::new(self.client_id.to_owned()),
            self.client_secret
                .map(|secret| ClientSecret::new(secret.to_owned())),
        )
        .set_token_uri(token_endpoint);
        Ok(DiscoveredProvider {
            issuer: *self,
            client,
            further,
        })
    }

    /// The scopes to ask for.
    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope> {
        ["email"]
            .into_iter()
            .chain(self.offline_access.then_some("offline_access"))
            .map(|scope| Scope::new(scope.to_owned()))
    }
}

/// The library's way to our HTTP client.
pub(super) fn exchange(
    http: &Client,
) -> impl Fn(HttpRequest) -> Result<HttpResponse, HttpError> + '_ {
    |request| http.exchange("login", request, MAX_ANSWER)
}

impl DiscoveredProvider<'_> {
    /// Makes the authorization request: code flow, PKCE S256, state, nonce.
    pub(super) fn authorization_request(
        &self,
        redirect: &RedirectUrl,
        more: &[(&str, &str)],
    ) -> AuthorizationRequest {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = self
            .client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .add_scopes(self.issuer.scopes())
            .set_pkce_challenge(challenge)
            .set_redirect_uri(std::borrow::Cow::Borrowed(redirect))
            .add_extra_param(
                "access_type",
                if self.issuer.offline_access {
                    "offline"
                } else {
                    "online"
                },
            );
        if let Some(connector) = self.issuer.connector_id {
            request = request.add_extra_param("connector_id", connector);
        }
        if let Some(hint) = self.issuer.login_hint {
            request = request.add_extra_param("login_hint", hint);
        }
        for (name, value) in more {
            request = request.add_extra_param(*name, *value);
        }
        let (url, state, nonce) = request.url();
        AuthorizationRequest {
            url,
            state,
            nonce,
            verifier,
        }
    }

    /// Exchanges a code for a token, and checks it.
    ///
    /// # Errors
    /// The issuer gives none, or one that does not hold.
    pub(super) fn redeem(
        &self,
        code: String,
        redirect: &RedirectUrl,
        nonce: &Nonce,
        verifier: PkceCodeVerifier,
    ) -> Result<LoginTokens, LoginError> {
        let answer = self
            .client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(verifier)
            .set_redirect_uri(std::borrow::Cow::Borrowed(redirect))
            .request(&exchange(self.issuer.http))
            .map_err(refused)?;
        self.validate_tokens(&answer, nonce)
    }

    /// Checks the token of an answer: signature, issuer, audience, times, nonce,
    /// access token hash (OIDC Core §3.1.3.7).
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub(super) fn validate_tokens(
        &self,
        answer: &CoreTokenResponse,
        nonce: impl NonceVerifier,
    ) -> Result<LoginTokens, LoginError> {
        let bad = |reason: String| LoginError::Token {
            reason: excerpt(reason.as_bytes()),
        };
        let id_token = answer
            .id_token()
            .ok_or_else(|| bad("missing id_token".into()))?;
        let verifier = self.client.id_token_verifier();
        let claims = id_token
            .claims(&verifier, nonce)
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
        let token = IdentityToken::parse(Zeroizing::new(id_token.to_string()))
            .map_err(|error| bad(error.to_string()))?;
        let refresh = self
            .issuer
            .offline_access
            .then(|| answer.refresh_token())
            .flatten()
            .map(|refresh| Zeroizing::new(refresh.secret().clone()));
        Ok(LoginTokens { token, refresh })
    }

    /// The code in an answer to the authorization request.
    ///
    /// # Errors
    /// The answer is for another login, or a refusal.
    pub(super) fn code(
        &self,
        asked: &AuthorizationRequest,
        answer: &[(String, String)],
    ) -> Result<String, LoginError> {
        let value = |name: &str| {
            let mut values = answer.iter().filter(|(key, _)| key == name);
            match (values.next(), values.next()) {
                (value, None) => Ok(value.map(|(_, value)| value.as_str())),
                (_, Some(_)) => Err(LoginError::Answer {
                    reason: "duplicate parameter",
                }),
            }
        };
        if !value("state")?.is_some_and(|state| same(state, asked.state.secret())) {
            return Err(LoginError::Answer {
                reason: "the state parameter does not match",
            });
        }
        match value("iss")? {
            Some(issuer) if issuer != self.issuer.issuer => {
                return Err(LoginError::Answer {
                    reason: "the iss parameter does not match (RFC 9207)",
                });
            }
            None if self.further.authorization_response_iss_parameter_supported => {
                return Err(LoginError::Answer {
                    reason: "the iss parameter is missing (RFC 9207)",
                });
            }
            _ => {}
        }
        if let Some(error) = value("error")? {
            return Err(LoginError::Refused {
                error: excerpt(error.as_bytes()),
                description: excerpt(value("error_description")?.unwrap_or_default().as_bytes()),
            });
        }
        value("code")?
            .filter(|code| !code.is_empty())
            .map(str::to_owned)
            .ok_or(LoginError::Answer {
                reason: "the code parameter is missing",
            })
    }
}

/// Compares two secrets in a time that does not tell where they differ.
fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |differ, (a, b)| differ | (a ^ b))
            == 0
}

/// Converts an error of the token endpoint.
pub(super) fn refused<T>(error: openidconnect::RequestTokenError<HttpError, T>) -> LoginError
where
    T: openidconnect::ErrorResponse + fmt::Display + 'static,
{
    match error {
        openidconnect::RequestTokenError::Request(error) => LoginError::Http(error),
        openidconnect::RequestTokenError::ServerResponse(answer) => LoginError::Exchange {
            reason: excerpt(answer.to_string().as_bytes()),
        },
        other => LoginError::Exchange {
            reason: excerpt(other.to_string().as_bytes()),
        },
    }
}

/// An address that may take part in a login.
///
/// # Errors
/// It is none.
pub(super) fn web_address(what: &'static str, text: &str) -> Result<Url, LoginError> {
    let fail = |reason| LoginError::Address {
        what,
        address: excerpt(text.as_bytes()),
        reason,
    };
    let url = Url::parse(text).map_err(|_| fail("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(fail("neither http nor https"));
    }
    Ok(url)
}

/// The library's form of a redirect address.
///
/// # Errors
/// It is none.
pub(super) fn redirect_url(text: &str) -> Result<RedirectUrl, LoginError> {
    RedirectUrl::new(text.to_owned()).map_err(|_| LoginError::Address {
        what: "redirect URL",
        address: excerpt(text.as_bytes()),
        reason: "not a URL",
    })
}

#[cfg(test)]
mod tests;
