//! What a token provider is, and what it uses: the process environment, files,
//! and HTTP requests that carry a credential.
//!
//! *Not checked here:* the token (`mod.rs`).

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::{
    http::client::{Client, HttpError, HttpReason, HttpRequest, HttpResponse, protects_secrets},
    oidc::token::{IdentityTokenError, MAX_TOKEN},
};
use gitseal_evidence::UnixTime;

/// The variable that contains a token.
pub const TOKEN_VARIABLE: &str = "SIGSTORE_ID_TOKEN";
/// The setting that names a file with a token.
pub(super) const TOKEN_FILE_SETTING: &str = "gitseal.tokenFile";
/// The longest response with a token in it, in bytes: the token, its JSON, and
/// other members.
pub const MAX_ANSWER: usize = MAX_TOKEN + (16 << 10);
/// The longest value of a variable that is read as a URL or a name, in bytes.
pub const MAX_NAME: usize = 4 << 10;
/// The timeout of one try of a request that stays on the machine or its host.
pub const LOCAL_TRY: Duration = Duration::from_secs(5);

/// A source of identity tokens that needs no user.
pub struct TokenProvider {
    /// The value of the setting `tokenProvider`.
    pub name: &'static str,
    /// The source of the token, for the documentation.
    pub source: &'static str,
    /// Returns whether the environment is that of this provider.
    pub(super) detect: fn(&AmbientContext<'_>) -> bool,
    pub(super) fetch: Fetch,
    /// The variables that differ between two jobs on one machine.
    pub(super) variables: &'static [&'static str],
    /// Returns the file that differs between two jobs on one machine.
    pub(super) file: fn(&AmbientContext<'_>) -> Option<PathBuf>,
    /// Returns what to do about a problem, given the expected audience, if this
    /// provider knows more than [`AmbientError::hint`].
    pub(super) hint: fn(Problem, &str) -> Option<String>,
}

/// Fetches a token for an audience.
type Fetch = fn(
    &'static TokenProvider,
    &str,
    &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError>;

/// The problems that a provider can have a hint for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// A variable or file is missing.
    Missing,
    /// The service denied the request.
    Denied,
    /// The service did not respond.
    Unreachable,
    /// The token is for another audience.
    Audience,
}

impl PartialEq for TokenProvider {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TokenProvider {}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenProvider").field(&self.name).finish()
    }
}

impl fmt::Display for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Access to the process environment, injected so that tests can replace it.
pub struct AmbientContext<'a> {
    /// Returns a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Reads a small text file, at most some 64 KiB; `None` if it is missing.
    pub file: &'a dyn Fn(&Path) -> io::Result<Option<Zeroizing<String>>>,
    /// Returns the current time.
    pub now: &'a dyn Fn() -> UnixTime,
    /// The HTTP client.
    pub http: &'a Client,
    /// The setting `gitseal.tokenFile`.
    pub token_file: Option<&'a Path>,
}

impl fmt::Debug for AmbientContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmbientContext")
            .field("token_file", &self.token_file)
            .finish_non_exhaustive()
    }
}

/// Reasons why the environment provides no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum AmbientError {
    /// The provider needs a variable that is missing.
    #[error("{provider}: environment variable {variable} is {}", if *.empty { "empty" } else { "not set" })]
    Unset {
        provider: &'static TokenProvider,
        variable: &'static str,
        empty: bool,
        audience: String,
    },
    /// The provider needs a file that is missing.
    #[error("{provider}: {} does not exist", .path.display())]
    NoFile {
        provider: &'static TokenProvider,
        path: PathBuf,
        /// The variable or setting that names the file.
        named_by: &'static str,
    },
    /// The provider needs a file, and none is configured.
    #[error("{provider}: {TOKEN_FILE_SETTING} is not set")]
    NoFileNamed {
        provider: &'static TokenProvider,
        audience: String,
    },
    /// The bytes of a variable are not text.
    #[error("{variable} is not UTF-8 text")]
    NotText { variable: &'static str },
    /// The value of a variable is invalid.
    #[error("invalid {variable}: {reason}")]
    Value {
        variable: &'static str,
        reason: String,
    },
    /// A file cannot be read.
    #[error("{provider}: cannot read {}: {reason}", .path.display())]
    Unreadable {
        provider: &'static TokenProvider,
        path: PathBuf,
        reason: String,
    },
    /// The service did not respond, or asked to try later.
    #[error("{provider}: {error}")]
    Http {
        provider: &'static TokenProvider,
        error: HttpError,
    },
    /// The service denied the request.
    #[error("{provider}: {error}")]
    Denied {
        provider: &'static TokenProvider,
        error: HttpError,
    },
    /// The response is invalid.
    #[error("{provider}: invalid {what}: {reason}")]
    Answer {
        provider: &'static TokenProvider,
        what: &'static str,
        /// The reason. It never quotes the response, which may contain a token.
        reason: String,
    },
    /// The token is not usable.
    #[error("{provider}: {refusal}")]
    Token {
        provider: &'static TokenProvider,
        refusal: IdentityTokenError,
        audience: String,
    },
}

impl AmbientError {
    /// Returns what to do about the error: the variable, the permission or the
    /// lines of configuration that are missing.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unset {
                provider,
                audience,
                variable,
                ..
            } => Some((provider.hint)(Problem::Missing, audience).unwrap_or_else(|| {
                format!("set {variable}, or choose another provider with gitseal.tokenProvider")
            })),
            Self::NoFileNamed { provider, audience } => {
                (provider.hint)(Problem::Missing, audience)
            }
            Self::NoFile { named_by, .. } => {
                Some(format!("{named_by} must name the file that contains the token"))
            }
            Self::NotText { variable } | Self::Value { variable, .. } => Some(format!(
                "correct {variable}, or choose another provider with gitseal.tokenProvider"
            )),
            Self::Unreadable { .. } => Some("make the file readable for the signing user".into()),
            Self::Denied { provider, .. } => (provider.hint)(Problem::Denied, ""),
            Self::Http { provider, .. } => (provider.hint)(Problem::Unreachable, ""),
            Self::Token {
                provider,
                refusal: IdentityTokenError::Audience { .. },
                audience,
            } => Some((provider.hint)(Problem::Audience, audience).unwrap_or_else(|| {
                format!(
                    "request a token for the audience {audience:?}, or set gitseal.clientID to the audience that this certificate authority accepts"
                )
            })),
            Self::Token {
                refusal: IdentityTokenError::Expired { .. },
                ..
            } => Some("get a new token immediately before signing".into()),
            Self::Answer { .. } | Self::Token { .. } => None,
        }
    }
}

impl AmbientContext<'_> {
    /// Returns whether a variable is set to a value that is not empty.
    pub(super) fn has(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| !value.is_empty())
    }

    /// Returns whether a variable is true, as the CI systems write it.
    pub(super) fn says_true(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| value == "true" || value == "1")
    }

    /// Returns a variable's text. An empty variable is ignored.
    pub(super) fn text(
        &self,
        name: &'static str,
    ) -> Result<Option<Zeroizing<String>>, AmbientError> {
        match (self.variable)(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.into_string() {
                Ok(text) => Ok(Some(Zeroizing::new(text))),
                Err(_) => Err(AmbientError::NotText { variable: name }),
            },
        }
    }

    /// Returns the text of a variable that the provider needs.
    pub(super) fn required(
        &self,
        provider: &'static TokenProvider,
        variable: &'static str,
        audience: &str,
    ) -> Result<Zeroizing<String>, AmbientError> {
        self.text(variable)?.ok_or_else(|| AmbientError::Unset {
            provider,
            variable,
            empty: (self.variable)(variable).is_some(),
            audience: audience.to_owned(),
        })
    }

    /// Returns the URL in a variable: https, or http to this machine.
    pub(super) fn url(
        &self,
        provider: &'static TokenProvider,
        variable: &'static str,
        audience: &str,
    ) -> Result<Url, AmbientError> {
        let text = self.required(provider, variable, audience)?;
        service_url(variable, &text)
    }

    /// Returns the URL of `path` at the endpoint that a variable sets, or at the
    /// usual one.
    pub(super) fn endpoint(
        &self,
        variable: &'static str,
        usual: &str,
        path: &[&str],
    ) -> Result<Url, AmbientError> {
        let text = self.text(variable)?;
        let mut url = service_url(variable, text.as_ref().map_or(usual, |text| text.as_str()))?;
        url.set_query(None);
        url.path_segments_mut()
            .map_err(|()| AmbientError::Value {
                variable,
                reason: "not a URL with a path".into(),
            })?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// Reads the token in a file.
    pub(super) fn mounted(
        &self,
        provider: &'static TokenProvider,
        path: &Path,
        named_by: &'static str,
    ) -> Result<Zeroizing<String>, AmbientError> {
        match (self.file)(path) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(AmbientError::NoFile {
                provider,
                path: path.to_path_buf(),
                named_by,
            }),
            Err(error) => Err(AmbientError::Unreadable {
                provider,
                path: path.to_path_buf(),
                reason: error.to_string(),
            }),
        }
    }

    /// Sends a request that contains `secret`. A response that is not 2xx is an
    /// error, whose message never contains the secret.
    pub(super) fn send(
        &self,
        provider: &'static TokenProvider,
        secret: &str,
        request: &HttpRequest<'_>,
    ) -> Result<HttpResponse, AmbientError> {
        let answer = self
            .http
            .send(request)
            .map_err(|error| AmbientError::Http {
                provider,
                error: without(error, secret),
            })?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(AmbientError::Denied {
            provider,
            error: without(answer.unexpected(), secret),
        })
    }
}

/// Removes what a server may have repeated of our secret from an error.
fn without(mut error: HttpError, secret: &str) -> HttpError {
    /// This many characters of a secret in a row are never printed.
    const SHOWN: usize = 8;
    if let HttpReason::Status { excerpt, .. } = &mut error.reason {
        let repeats = secret.as_bytes().windows(SHOWN).any(|piece| {
            excerpt
                .as_bytes()
                .windows(SHOWN)
                .any(|other| other == piece)
        });
        if repeats {
            *excerpt = "(not printed: it repeats the request's credential)".into();
        }
    }
    error
}

/// Parses a URL that credentials may be sent to: https, or http to this machine.
fn service_url(variable: &'static str, text: &str) -> Result<Url, AmbientError> {
    let fail = |reason: &str| AmbientError::Value {
        variable,
        reason: reason.to_owned(),
    };
    if text.len() > MAX_NAME {
        return Err(fail("the URL is too long"));
    }
    let url = Url::parse(text).map_err(|_| fail("not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fail("the URL contains a user name or password"));
    }
    match url.scheme() {
        _ if url.host().is_none() => Err(fail("the URL has no host")),
        "http" | "https" if protects_secrets(&url) => Ok(url),
        "http" => Err(fail(
            "a credential is sent over plain http to this machine only",
        )),
        _ => Err(fail("neither http nor https")),
    }
}

/// A secret string in a response's JSON.
pub(super) struct Secret(pub(super) Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Returns whether a host without TLS can be on this machine's own network:
/// loopback, link-local, private, or a name without a dot.
pub(super) fn is_near(host: &Host<impl AsRef<str>>) -> bool {
    match host {
        Host::Domain(name) => !name.as_ref().contains('.'),
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_private(),
        Host::Ipv6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// Parses the JSON of a response.
pub(super) fn json<T: DeserializeOwned>(
    provider: &'static TokenProvider,
    what: &'static str,
    answer: HttpResponse,
) -> Result<T, AmbientError> {
    let body = Zeroizing::new(answer.body);
    serde_json::from_slice(&body).map_err(|error| AmbientError::Answer {
        provider,
        what,
        // The parser's message may repeat a value, so only the position is given.
        reason: format!(
            "not the documented JSON (line {}, column {})",
            error.line(),
            error.column()
        ),
    })
}
