//! A login without a signature: made ahead, looked at, taken back.

use gitseal_credential_cache::{client::Connection, protocol::Scope};
use url::Url;

use super::{
    SignError, cache,
    credential::CredentialRequest,
    login::{LoginMethod, LoginOptions, TokenSource},
    system_time,
};
use crate::host::settings::{CacheMode, Setting, Settings};
use gitseal_evidence::{UnixTime, certificate::Identity, trusted_root::TrustedRoot};
use gitseal_services::http::client::Client;

/// Who signs, until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginStatus {
    /// As the certificate names them.
    pub identity: Identity,
    /// The certificate's end.
    pub not_after: UnixTime,
    /// Seconds until then.
    pub seconds_left: u64,
}

/// The login that the settings in effect would use.
pub struct Session<'a> {
    authority: Url,
    cache: Setting<CacheMode>,
    login: LoginOptions<'a>,
    source: TokenSource,
    trust: &'a TrustedRoot,
    http: &'a Client,
}

impl<'a> Session<'a> {
    /// Of these settings.
    #[must_use]
    pub fn new(
        settings: &Settings,
        login: LoginOptions<'a>,
        trust: &'a TrustedRoot,
        http: &'a Client,
    ) -> Self {
        Self {
            authority: settings.fulcio.value.url().clone(),
            cache: settings.credential_cache.clone(),
            source: login.source(),
            login,
            trust,
            http,
        }
    }

    fn wish(&self) -> CredentialRequest<'_> {
        CredentialRequest {
            authority: &self.authority,
            login: &self.login,
            source: &self.source,
            trust: self.trust,
            http: self.http,
            clock: system_time,
        }
    }

    /// Whose credential it is, for the cache.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.wish().scope()
    }

    /// Logs in, unless that was done and still holds; `again`: in any case.
    ///
    /// # Errors
    /// No login, no certificate, or no cache to keep it.
    pub fn log_in(&self, again: bool) -> Result<LoginStatus, SignError> {
        let wish = self.wish();
        let mut cache = cache::connect(&self.cache).map_err(SignError::CacheUnavailable)?;
        if again {
            cache.forget(&wish.scope()).map_err(SignError::Cache)?;
        }
        let credential = wish.obtain_from(cache)?;
        let kept = credential.signer.is_cached();
        let standing = standing(credential.identity, credential.leaf.not_after());
        if kept {
            Ok(standing)
        } else {
            Err(SignError::NotKept)
        }
    }

    /// Who is logged in, if anybody is.
    ///
    /// # Errors
    /// The cache does not answer, or with a certificate that is not to be used.
    pub fn status(&self, cache: &mut Connection) -> Result<Option<LoginStatus>, SignError> {
        let wish = self.wish();
        let found = cache.find(&wish.scope(), 0).map_err(SignError::Cache)?;
        let Some((_, chain)) = found else {
            return Ok(None);
        };
        let (leaf, identity) = wish.leaf(&chain)?;
        Ok(Some(standing(identity, leaf.not_after())))
    }

    /// Where the next token comes from, in words.
    #[must_use]
    pub fn source_words(&self) -> String {
        let issuer = self.login.settings.issuer.value.as_str();
        match &self.source {
            TokenSource::Ambient(ambient) => ambient.to_string(),
            TokenSource::Headless => format!("{issuer} (a login without a person)"),
            TokenSource::Person(LoginMethod::Browser) => {
                format!("a login in the browser at {issuer}")
            }
            TokenSource::Person(LoginMethod::Device) => {
                format!("a login at {issuer} on another device")
            }
            TokenSource::Person(LoginMethod::OutOfBand) => {
                format!("a login at {issuer}, with a code to paste")
            }
        }
    }
}

fn standing(identity: Identity, not_after: UnixTime) -> LoginStatus {
    let left = not_after.saturating_sub(system_time());
    LoginStatus {
        identity,
        not_after,
        seconds_left: u64::try_from(left).unwrap_or(0),
    }
}
