//! From the settings to an identity token: which source it comes from, and, if
//! it comes from a person, the question whether the name may be published.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{SignError, credential::CredentialRequest, prompt::TerminalPrompt};
use crate::host::{
    known_identities::{self, KnownIdentity},
    opener::{self, Opener},
    settings::{ConfirmIdentity, ServiceUrl, Settings},
};
use gitseal_services::{
    http::client::Client,
    oidc::{
        ambient::{self, AmbientContext, TokenProvider},
        browser, device, headless,
        login::{LoginConfig, LoginError, LoginPrompt as _, LoginTokens},
        out_of_band, refresh,
        token::IdentityToken,
    },
};
use gitseal_terminal::{Escape, escape};

/// How long a person has for a login in the browser. gitsign has the same.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);

/// The values of the setting `tokenProvider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// Whatever is at hand, then a person.
    Automatic,
    /// A variable, a file, a CI system or a cloud.
    Ambient(&'static TokenProvider),
    /// The browser.
    Interactive,
    /// A code typed on another device.
    Device,
    /// A code pasted here.
    OutOfBand,
    /// An issuer that asks nobody.
    Headless,
}

/// The names that the setting takes, in the order of the documentation.
const PERSONAL: [(&str, Provider); 5] = [
    ("", Provider::Automatic),
    ("interactive", Provider::Interactive),
    ("device", Provider::Device),
    ("oob", Provider::OutOfBand),
    ("headless", Provider::Headless),
];

impl Provider {
    /// Reads the setting's value; empty is [`Provider::Automatic`].
    ///
    /// # Errors
    /// There is no provider of that name.
    pub fn named(name: &str) -> Result<Self, SignError> {
        if let Some((_, provider)) = PERSONAL.iter().find(|(known, _)| *known == name) {
            return Ok(provider.clone());
        }
        TokenProvider::named(name)
            .map(Self::Ambient)
            .ok_or_else(|| SignError::NoSuchProvider {
                name: escape(name, Escape::Prose),
            })
    }
}

/// How to get an identity token.
pub struct LoginOptions<'a> {
    /// Where from.
    pub provider: Provider,
    /// What a token that nobody is asked for is found in.
    pub surroundings: AmbientContext<'a>,
    /// The settings of the login: the issuer, the client at it, and the user.
    pub settings: &'a Settings,
    /// The content of `clientSecretFile`.
    pub client_secret: Option<Zeroizing<String>>,
    /// The name and email address of the committer or tagger.
    pub committer: Option<(String, String)>,
    /// The program that opens addresses.
    pub opener: Opener,
}

/// Where the token will come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// Nobody is asked.
    Ambient(&'static TokenProvider),
    /// Nobody is asked, by a login all the same.
    Headless,
    /// Somebody is asked.
    Person(LoginMethod),
}

/// How a person logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMethod {
    /// In the browser, and if that cannot be, by device, then by pasted code.
    Browser,
    /// As the first, without trying a browser.
    Device,
    /// By pasted code.
    OutOfBand,
}

impl TokenSource {
    /// Whether it is a login whose token may be kept for the next certificate.
    /// What the surroundings give is asked for anew: it may have changed.
    pub(super) fn is_login(&self) -> bool {
        !matches!(self, Self::Ambient(_))
    }

    /// The provider's name, where a token comes without asking anybody.
    pub(super) fn noninteractive_provider(&self) -> Option<&'static str> {
        match self {
            Self::Ambient(ambient) => Some(ambient.name),
            Self::Headless => Some("headless"),
            Self::Person(_) => None,
        }
    }

    /// What of the login decides whose credential it is.
    pub(super) fn binding(&self, login: &LoginOptions<'_>) -> String {
        match self {
            Self::Ambient(ambient) => ambient::job_fingerprint(ambient, &login.surroundings),
            Self::Headless => login.headless_user().to_owned(),
            Self::Person(_) => match (&login.settings.login_hint.value, &login.committer) {
                (Some(user), _) => user.clone(),
                (None, Some((name, email))) if login.settings.match_committer.value => {
                    format!("committer {name} <{email}>")
                }
                _ => String::new(),
            },
        }
    }
}

impl LoginOptions<'_> {
    /// Decides where the token comes from. Asks nobody and no server.
    #[must_use]
    pub fn source(&self) -> TokenSource {
        match &self.provider {
            Provider::Ambient(ambient) => TokenSource::Ambient(*ambient),
            Provider::Headless => TokenSource::Headless,
            Provider::Interactive => TokenSource::Person(LoginMethod::Browser),
            Provider::Device => TokenSource::Person(LoginMethod::Device),
            Provider::OutOfBand => TokenSource::Person(LoginMethod::OutOfBand),
            Provider::Automatic => match ambient::detect(&self.surroundings) {
                Some(ambient) => TokenSource::Ambient(ambient),
                None if self.can_open() => TokenSource::Person(LoginMethod::Browser),
                None => TokenSource::Person(LoginMethod::Device),
            },
        }
    }

    fn can_open(&self) -> bool {
        opener::can_open(self.surroundings.variable, &self.opener)
    }

    fn headless_user(&self) -> &str {
        let hint = &self.settings.login_hint.value;
        hint.as_deref()
            .or(self.committer.as_ref().map(|(_, email)| email.as_str()))
            .unwrap_or_default()
    }

    fn redirect_url(&self) -> Option<&str> {
        let url = self.settings.redirect_url.value.as_ref();
        url.map(ServiceUrl::as_str)
    }

    /// Returns the time after which the final page closes itself, if it does. As
    /// in gitsign, it stays open unless the upstream provider is set.
    fn autoclose(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.settings.autoclose_timeout.value).unwrap_or_default();
        let closes = self.settings.autoclose.value && self.settings.connector_id.value.is_some();
        closes.then(|| Duration::from_secs(seconds))
    }

    fn issuer<'a>(&'a self, http: &'a Client, offline_access: bool) -> LoginConfig<'a> {
        LoginConfig {
            http,
            issuer: self.settings.issuer.value.as_str(),
            client_id: &self.settings.client_id.value,
            client_secret: self.client_secret.as_deref().map(String::as_str),
            connector_id: self.settings.connector_id.value.as_deref(),
            login_hint: self.settings.login_hint.value.as_deref(),
            offline_access,
        }
    }
}

impl LoginOptions<'_> {
    /// Logs in, and asks whether the identity may be published if it is new.
    /// `cached`: whether there is a place for a refresh token.
    ///
    /// # Errors
    /// No token; or the person, or nobody to ask, said no.
    pub(super) fn log_in(
        &self,
        wish: &CredentialRequest<'_>,
        cached: bool,
    ) -> Result<LoginTokens, SignError> {
        let mut person = TerminalPrompt::new(&self.opener);
        let issuer = self.issuer(wish.http, self.settings.refresh.value && cached);
        let granted = match wish.source {
            TokenSource::Ambient(source) => {
                let token =
                    ambient::obtain(source, &self.settings.client_id.value, &self.surroundings)?;
                LoginTokens {
                    token,
                    refresh: None,
                }
            }
            TokenSource::Headless => {
                headless::log_in(&issuer, self.headless_user(), self.redirect_url())?
            }
            TokenSource::Person(way) => self.ask(*way, &issuer, &mut person)?,
        };
        // A token that someone else fetched may be for any client: the authority
        // knows which it takes. One that we fetched is for us.
        let client_id = match wish.source {
            TokenSource::Ambient(_) => None,
            TokenSource::Headless | TokenSource::Person(_) => {
                Some(self.settings.client_id.value.as_str())
            }
        };
        granted.token.check((wish.clock)(), client_id)?;
        self.confirm(&granted.token, wish, &mut person)?;
        Ok(granted)
    }

    /// Has an earlier login renewed, without asking anybody.
    ///
    /// # Errors
    /// The issuer does not renew it.
    pub(super) fn renew(
        &self,
        wish: &CredentialRequest<'_>,
        refresh_token: &str,
    ) -> Result<LoginTokens, SignError> {
        let granted = refresh::renew(&self.issuer(wish.http, true), refresh_token)?;
        granted
            .token
            .check((wish.clock)(), Some(self.settings.client_id.value.as_str()))?;
        Ok(granted)
    }

    /// The way that was chosen, and those that are left where it cannot be gone.
    /// A refusal is an answer, and ends it.
    fn ask(
        &self,
        way: LoginMethod,
        issuer: &LoginConfig<'_>,
        person: &mut TerminalPrompt<'_>,
    ) -> Result<LoginTokens, SignError> {
        let only = self.provider == Provider::Device;
        // A code that nobody sees would be waited for in vain. Who wants that way
        // by name has another means to see it.
        let seen = only || person.can_be_told();
        if way == LoginMethod::Device && !seen {
            return Err(LoginError::Unseen.into());
        }
        let mut way = way;
        loop {
            let result = match way {
                LoginMethod::Browser => browser::log_in(
                    issuer,
                    &browser::BrowserLoginOptions {
                        redirect_url: self.redirect_url(),
                        autoclose: self.autoclose(),
                        timeout: LOGIN_TIMEOUT,
                    },
                    person,
                ),
                LoginMethod::Device => device::log_in(issuer, person),
                LoginMethod::OutOfBand => out_of_band::log_in(issuer, person),
            };
            let next = match (&result, way) {
                (Err(error), LoginMethod::Browser) if error.is_method_unavailable() && seen => {
                    LoginMethod::Device
                }
                (Err(error), LoginMethod::Device) if error.is_method_unavailable() && !only => {
                    LoginMethod::OutOfBand
                }
                _ => return Ok(result?),
            };
            if let Err(error) = &result {
                person.tell(&format!(
                    "gitseal: {}; trying {}",
                    escape(&error.to_string(), Escape::Prose),
                    next.words()
                ));
            }
            way = next;
        }
    }

    /// A name goes into public logs for good: whoever it belongs to sees it
    /// first, once.
    fn confirm(
        &self,
        token: &IdentityToken,
        wish: &CredentialRequest<'_>,
        person: &mut TerminalPrompt<'_>,
    ) -> Result<(), SignError> {
        if self.settings.confirm_identity.value == ConfirmIdentity::Never {
            return Ok(());
        }
        let claims = token.claims();
        let identity = claims.email.as_deref().unwrap_or(&claims.subject);
        let issuer = claims.connector.as_deref().unwrap_or(&claims.issuer);
        let known = KnownIdentity {
            identity,
            issuer,
            authority: wish.authority.as_str(),
        };
        let file = known_identities::file();
        if file
            .as_deref()
            .is_some_and(|file| known.is_recorded_in(file))
        {
            return Ok(());
        }
        let shown = format!(
            "{} ({})",
            escape(identity, Escape::Ascii),
            escape(issuer, Escape::Ascii)
        );
        if !person.can_be_asked() {
            return match self.settings.confirm_identity.value {
                ConfirmIdentity::Always => Err(SignError::Unconfirmed {
                    identity: shown,
                    reason: "there is no terminal to ask on".to_owned(),
                }),
                _ => Ok(()),
            };
        }
        person.tell(&format!(
            "gitseal: you sign as {shown}.\n\
             The name goes into the certificate authority's log and the signature's, which\n\
             anybody can read and nobody can take back (authority: {}).",
            escape(wish.authority.as_str(), Escape::Prose)
        ));
        let answer = person
            .ask("Sign with this identity? [Y/n] ")
            .map_err(|reason| SignError::Unconfirmed {
                identity: shown.clone(),
                reason,
            })?;
        if !matches!(
            answer.trim().to_ascii_lowercase().as_str(),
            "" | "y" | "yes"
        ) {
            return Err(SignError::Declined { identity: shown });
        }
        if let Some(file) = file
            && let Err(error) = known.remember(&file)
        {
            person.tell(&format!(
                "gitseal: you will be asked again: {} cannot be written: {error}",
                escape(&file.display().to_string(), Escape::Prose)
            ));
        }
        Ok(())
    }
}

impl LoginMethod {
    fn words(self) -> &'static str {
        match self {
            Self::Browser => "the browser",
            Self::Device => "a login on another device",
            Self::OutOfBand => "a code to paste",
        }
    }
}
