//! Where a token comes from by name: the environment, a file, or a login that
//! asks no one.

use std::fmt;

use super::{headless, login::Issuer};
pub use super::{
    headless::HEADLESS_REDIRECT,
    login::{LoginError, MAX_ANSWER},
    token::{Claims, MAX_TOKEN, MIN_LEFT, SKEW, TOKEN_FILE, Token, TokenRefusal},
};
use crate::services::http::client::{Client, excerpt};

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

/// A login without a browser, its parameters in one place.
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
    /// Logs in: see [`headless::log_in`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn log_in(&self) -> Result<Token, LoginError> {
        let issuer = Issuer {
            client_secret: self.client_secret,
            connector_id: self.connector_id,
            login_hint: Some(self.user),
            ..Issuer::new(self.http, self.issuer, self.client_id)
        };
        headless::log_in(&issuer, self.redirect_url).map(|granted| granted.token)
    }
}

#[cfg(test)]
mod tests;
