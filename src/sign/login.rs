//! Obtains an identity token: chooses its source, logs in if that source is the
//! user, and confirms that a new identity may be published.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use zeroize::Zeroizing;

use super::{error::SignError, prompt::TerminalPrompt};
use crate::{
    context::system_time,
    host::{
        connection_owner,
        known_identities::{self, KnownIdentity},
        opener::{self, Opener},
        settings::{ConfirmIdentity, ServiceUrl, Settings, process_environment},
    },
};
use gitseal_evidence::UnixTime;
use gitseal_services::{
    http::client::{Client, protects_secrets, redact_url},
    oidc::{
        ambient::{self, AmbientContext, TokenProvider},
        browser, device, headless,
        login::{LoginConfig, LoginError, LoginPrompt as _, LoginTokens},
        out_of_band, refresh,
        token::{IdentityClaims, IdentityToken, is_same_address},
    },
};
use gitseal_terminal::{self as terminal, Escape, escape, styled};

/// The timeout of a login in the browser, as in gitsign.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);

/// Everything needed to obtain an identity token.
pub struct LoginOptions<'a> {
    /// The settings in effect.
    pub settings: &'a Settings,
    /// Access to the process environment, the network and the time.
    pub environment: AmbientContext<'a>,
    /// The source of the token.
    pub source: TokenSource,
    /// The name and email address of the committer or tagger.
    pub committer: Option<(String, String)>,
    client_secret: Option<Zeroizing<String>>,
    pub(super) opener: Opener,
}

/// A source of identity tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// A variable, a file, a CI system or a cloud.
    Ambient(&'static TokenProvider),
    /// A login at an issuer that does not prompt the user.
    Headless,
    /// A login by the user.
    User(LoginMethod),
}

/// A way for the user to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMethod {
    /// In the browser; if that is unavailable, on another device.
    Browser,
    /// On another device; if that is unavailable, with a pasted code.
    Device,
    /// With a code that the user pastes.
    OutOfBand,
}

impl TokenSource {
    /// Chooses the source that `tokenProvider` names, or the first available one.
    /// Sends no request.
    fn choose(
        settings: &Settings,
        environment: &AmbientContext<'_>,
        opener: &Opener,
    ) -> Result<Self, SignError> {
        Ok(match settings.token_provider.value.as_deref() {
            None | Some("") => match ambient::detect(environment) {
                Some(provider) => Self::Ambient(provider),
                None if opener::can_open(environment.variable, opener) => {
                    Self::User(LoginMethod::Browser)
                }
                None => Self::User(LoginMethod::Device),
            },
            Some("interactive") => Self::User(LoginMethod::Browser),
            Some("device") => Self::User(LoginMethod::Device),
            Some("oob") => Self::User(LoginMethod::OutOfBand),
            Some("headless") => Self::Headless,
            Some(name) => ambient::named(name).map(Self::Ambient).ok_or_else(|| {
                SignError::NoSuchProvider {
                    name: name.to_owned(),
                }
            })?,
        })
    }

    /// Returns whether it is a login, whose token may be cached. A token of the
    /// environment is read again each time, because it may have changed.
    pub(super) fn is_login(self) -> bool {
        !matches!(self, Self::Ambient(_))
    }

    /// Returns the provider's name if it does not prompt the user.
    fn noninteractive_provider(self) -> Option<&'static str> {
        match self {
            Self::Ambient(provider) => Some(provider.name),
            Self::Headless => Some("headless"),
            Self::User(_) => None,
        }
    }
}

/// Returns the process's own environment.
pub(super) fn system_context<'a>(settings: &'a Settings, http: &'a Client) -> AmbientContext<'a> {
    AmbientContext {
        variable: &process_environment,
        file: &read_token,
        now: &system_time,
        http,
        token_file: settings.token_file.value.as_deref(),
    }
}

impl<'a> LoginOptions<'a> {
    /// Reads what the settings name, and chooses the source of the token.
    ///
    /// # Errors
    /// Returns [`SignError`] if a value is not usable, or if the client secret cannot
    /// be read or would be sent to an issuer that the user did not choose.
    pub fn new(settings: &'a Settings, environment: AmbientContext<'a>) -> Result<Self, SignError> {
        let client_secret = match &settings.client_secret_file.value {
            None => None,
            Some(_) if settings.is_untrusted(&settings.issuer.origin) => {
                return Err(SignError::Settings {
                    message: "refusing to send clientSecretFile to an issuer set by this repository",
                    hint: Some("set gitseal.issuer with 'git config --global'"),
                });
            }
            Some(path) => {
                let text = read_secret(path).map_err(|reason| SignError::Stream {
                    what: format!("cannot read clientSecretFile {}", path.display()),
                    reason,
                })?;
                Some(Zeroizing::new(text.trim().to_owned()))
            }
        };
        let opener =
            Opener::new(settings.url_opener.value.as_deref()).map_err(SignError::Opener)?;
        Ok(Self {
            source: TokenSource::choose(settings, &environment, &opener)?,
            settings,
            environment,
            committer: None,
            client_secret,
            opener,
        })
    }

    /// Checks the services that receive a token, before the user logs in, and warns
    /// of those that may not be the user's choice. The HTTP client refuses a URL
    /// without TLS again, where the token is attached.
    ///
    /// # Errors
    /// Returns [`SignError::Plaintext`] if a token would leave this machine without
    /// TLS, and [`SignError::NotForARepository`] if the token comes without the user,
    /// and the repository's configuration sets a service or audience for it.
    pub fn check_services(&self) -> Result<(), SignError> {
        let settings = self.settings;
        if let Some(provider) = self.source.noninteractive_provider() {
            // A token of the job, or of the machine, may allow more than signing.
            for origin in [
                &settings.fulcio.origin,
                &settings.issuer.origin,
                &settings.client_id.origin,
            ] {
                if settings.is_untrusted(origin) {
                    return Err(SignError::NotForARepository {
                        provider,
                        origin: origin.to_string(),
                    });
                }
            }
        }
        let authority = ("certificate authority", "gitseal.fulcio", &settings.fulcio);
        let issuer = ("issuer", "gitseal.issuer", &settings.issuer);
        for (role, name, setting) in
            std::iter::once(authority).chain(self.source.is_login().then_some(issuer))
        {
            let url = setting.value.url();
            if !protects_secrets(url) {
                return Err(SignError::Plaintext {
                    name,
                    url: redact_url(url),
                    origin: setting.origin.to_string(),
                });
            }
            if settings.is_untrusted(&setting.origin) {
                terminal::warn(&styled!(
                    "this repository's configuration selects the {} {} ({}); its operator can impersonate you with your identity token. If you trust it, set it with 'git config --global'",
                    role,
                    url.as_str(),
                    setting.origin.to_string()
                ));
            }
        }
        Ok(())
    }

    /// Returns the current time.
    pub(super) fn now(&self) -> UnixTime {
        (self.environment.now)()
    }

    /// Returns the part of the login that decides which identity it is for.
    pub(super) fn subject(&self) -> String {
        match self.source {
            TokenSource::Ambient(provider) => ambient::job_fingerprint(provider, &self.environment),
            TokenSource::Headless => self.headless_user().to_owned(),
            TokenSource::User(_) => match (&self.settings.login_hint.value, &self.committer) {
                (Some(user), _) => user.clone(),
                (None, Some((name, email))) if self.settings.match_committer.value => {
                    format!("committer {name} <{email}>")
                }
                _ => String::new(),
            },
        }
    }

    /// Returns the description of the source, for messages.
    #[must_use]
    pub fn source_description(&self) -> String {
        let issuer = self.settings.issuer.value.as_str();
        match self.source {
            TokenSource::Ambient(provider) => provider.to_string(),
            TokenSource::Headless => format!("{issuer} (a login without a prompt)"),
            TokenSource::User(LoginMethod::Browser) => {
                format!("a login in the browser at {issuer}")
            }
            TokenSource::User(LoginMethod::Device) => {
                format!("a login at {issuer} on another device")
            }
            TokenSource::User(LoginMethod::OutOfBand) => {
                format!("a login at {issuer} with a pasted code")
            }
        }
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

    fn config(&self, offline_access: bool) -> LoginConfig<'_> {
        LoginConfig {
            http: self.environment.http,
            issuer: self.settings.issuer.value.as_str(),
            client_id: &self.settings.client_id.value,
            client_secret: self.client_secret.as_deref().map(String::as_str),
            connector_id: self.settings.connector_id.value.as_deref(),
            login_hint: self.requested_user().map(|(user, _)| user),
            offline_access,
        }
    }

    /// Obtains a token, and confirms its identity if that is new. A refresh token is
    /// requested only if `cached`: it can be stored.
    ///
    /// # Errors
    /// Returns [`SignError`] if there is no token, or the identity is not confirmed.
    pub(super) fn log_in(&self, cached: bool) -> Result<LoginTokens, SignError> {
        let mut prompt = TerminalPrompt::new(&self.opener);
        let config = self.config(self.settings.refresh.value && cached);
        let tokens = match self.source {
            TokenSource::Ambient(provider) => LoginTokens {
                token: ambient::obtain(provider, config.client_id, &self.environment)?,
                refresh: None,
            },
            TokenSource::Headless => {
                headless::log_in(&config, self.headless_user(), self.redirect_url())?
            }
            TokenSource::User(method) => self.log_in_by(method, &config, &mut prompt)?,
        };
        // The audience of a token from the environment is checked by the authority,
        // which may accept several.
        let audience = self.source.is_login().then_some(config.client_id);
        tokens.token.check(self.now(), audience)?;
        self.check_user(&tokens.token)?;
        self.confirm(&tokens.token, &mut prompt)?;
        Ok(tokens)
    }

    /// Renews an earlier login without prompting the user.
    ///
    /// # Errors
    /// Returns [`SignError`] if the issuer does not renew it.
    pub(super) fn renew(&self, refresh_token: &str) -> Result<LoginTokens, SignError> {
        let config = self.config(true);
        let tokens = refresh::renew(&config, refresh_token)?;
        tokens.token.check(self.now(), Some(config.client_id))?;
        self.check_user(&tokens.token)?;
        Ok(tokens)
    }

    /// Returns the user that the login is requested for, and what names it. A token
    /// that comes without a login is for the account of the environment.
    pub(super) fn requested_user(&self) -> Option<(&str, &'static str)> {
        let hint = self.settings.login_hint.value.as_deref();
        let by_hint = hint.map(|hint| (hint, "gitseal.loginHint"));
        let committer = self.committer.as_ref();
        let committer = committer.map(|(_, email)| (email.as_str(), "the committer"));
        match self.source {
            TokenSource::Ambient(_) => None,
            TokenSource::Headless => by_hint.or(committer),
            TokenSource::User(_) if self.settings.match_committer.value => by_hint.or(committer),
            TokenSource::User(_) => by_hint,
        }
    }

    /// Compares the token with the requested user, before a certificate makes its
    /// identity public.
    ///
    /// # Errors
    /// Returns [`SignError::OtherAccount`] if the login is of another user.
    pub(super) fn check_user(&self, token: &IdentityToken) -> Result<(), SignError> {
        let claims = token.claims();
        match self.requested_user() {
            Some((user, requested_by)) if !claims.is_user(user) => {
                let found = claims.email.as_deref().unwrap_or(&claims.subject);
                Err(SignError::OtherAccount {
                    found: escape(found, Escape::Ascii),
                    requested: escape(user, Escape::Ascii),
                    requested_by,
                })
            }
            _ => Ok(()),
        }
    }

    /// Logs in by this method, or by the next one if it is unavailable. An error
    /// from the issuer is final.
    fn log_in_by(
        &self,
        mut method: LoginMethod,
        config: &LoginConfig<'_>,
        prompt: &mut TerminalPrompt<'_>,
    ) -> Result<LoginTokens, SignError> {
        let device_only = self.settings.token_provider.value.as_deref() == Some("device");
        // A code that is not displayed would be awaited without result. A user who
        // sets this method has another way to see it.
        let is_displayed = device_only || prompt.can_be_told();
        if method == LoginMethod::Device && !is_displayed {
            return Err(LoginError::Unseen.into());
        }
        loop {
            let result = match method {
                LoginMethod::Browser => browser::log_in(
                    config,
                    &browser::BrowserLoginOptions {
                        redirect_url: self.redirect_url(),
                        autoclose: self.autoclose(),
                        timeout: LOGIN_TIMEOUT,
                        is_own: connection_owner::is_own,
                    },
                    prompt,
                ),
                LoginMethod::Device => device::log_in(config, prompt),
                LoginMethod::OutOfBand => out_of_band::log_in(config, prompt),
            };
            let error = match result {
                Err(error) if error.is_method_unavailable() => error,
                result => return Ok(result?),
            };
            let (next, description) = match method {
                LoginMethod::Browser if is_displayed => (LoginMethod::Device, "another device"),
                LoginMethod::Device if !device_only => (LoginMethod::OutOfBand, "a pasted code"),
                _ => return Err(error.into()),
            };
            prompt.tell(&format!(
                "gitseal: {}; trying {description} instead",
                escape(&error.to_string(), Escape::Prose),
            ));
            method = next;
        }
    }

    /// Prompts before an identity is published in logs for the first time.
    fn confirm(
        &self,
        token: &IdentityToken,
        prompt: &mut TerminalPrompt<'_>,
    ) -> Result<(), SignError> {
        let mode = self.settings.confirm_identity.value;
        if mode == ConfirmIdentity::Never {
            return Ok(());
        }
        let claims = token.claims();
        let authority = self.settings.fulcio.value.url().as_str();
        let known = KnownIdentity {
            identity: claims.email.as_deref().unwrap_or(&claims.subject),
            issuer: claims.connector.as_deref().unwrap_or(&claims.issuer),
            authority,
            committer: None,
        };
        let pair = KnownIdentity {
            committer: self.other_committer(claims),
            ..known
        };
        let file = known_identities::file();
        let is_new = |known: &KnownIdentity<'_>| {
            let file = file.as_deref();
            !file.is_some_and(|file| known.is_recorded_in(file))
        };
        let (is_new_identity, is_new_pair) = (is_new(&known), is_new(&pair));
        if !is_new_identity && !is_new_pair {
            return Ok(());
        }
        let identity = format!(
            "{} ({})",
            escape(known.identity, Escape::Ascii),
            escape(known.issuer, Escape::Ascii)
        );
        if !prompt.can_be_asked() {
            return match mode {
                ConfirmIdentity::Always => Err(SignError::Unconfirmed {
                    identity,
                    reason: "no interactive terminal".to_owned(),
                }),
                _ => Ok(()),
            };
        }
        if is_new_identity {
            prompt.tell(&format!(
                "gitseal: first signature as {identity}. This identity will be published\n\
                 permanently in the public transparency logs of {}.",
                escape(authority, Escape::Prose)
            ));
        }
        if let Some(committer) = pair.committer {
            prompt.tell(&format!(
                "gitseal: the login is of {identity}, and the committer is {}.",
                escape(committer, Escape::Ascii)
            ));
        }
        // Another account than the committer's may be a mistake.
        let (choices, default) = match pair.committer {
            Some(_) => ("y/N", "n"),
            None => ("Y/n", "y"),
        };
        let question = format!(
            "Sign as {}? [{choices}] ",
            escape(known.identity, Escape::Ascii)
        );
        let answer = match prompt.ask(&question) {
            Ok(answer) => answer,
            Err(reason) => return Err(SignError::Unconfirmed { identity, reason }),
        };
        let answer = match answer.trim() {
            "" => default.to_owned(),
            answer => answer.to_ascii_lowercase(),
        };
        if !matches!(answer.as_str(), "y" | "yes") {
            return Err(SignError::Declined { identity });
        }
        let chosen = [
            is_new_identity.then_some(known),
            pair.committer.is_some().then_some(pair),
        ];
        for known in chosen.into_iter().flatten() {
            if let Some(file) = &file
                && let Err(error) = known.remember(file)
            {
                prompt.tell(&format!(
                    "gitseal: cannot remember this choice: cannot write {}: {error}",
                    escape(&file.display().to_string(), Escape::Prose)
                ));
                break;
            }
        }
        Ok(())
    }

    /// Returns the committer's email address if the user logged in with another one.
    fn other_committer(&self, claims: &IdentityClaims) -> Option<&str> {
        let email = claims.email.as_deref()?;
        let (_, committer) = self.committer.as_ref()?;
        let is_other = self.source.is_login() && !is_same_address(email, committer);
        is_other.then_some(committer.as_str())
    }
}

/// Reads the token in a file, if the file exists.
fn read_token(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    match read_secret(path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a small file that contains a secret.
fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    const MAX: u64 = 64 << 10;
    let mut text = Zeroizing::new(String::new());
    fs::File::open(path)?.take(MAX).read_to_string(&mut text)?;
    Ok(text)
}
