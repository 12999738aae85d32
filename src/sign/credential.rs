//! A key that may sign for somebody: out of the credential cache, or made,
//! logged in for and certified.
//!
//! ```text
//! cache: found ──────────────────────────────► certificate checked ─► SigningCredential
//!        lead  ─► kept token ─► certified ──────────────┬─► stored ─► SigningCredential
//!               none, or not taken ─► refresh | login ─► certified ─┘
//!        none, slow, broken ─► login ─► certified with a key of this process ─► SigningCredential
//! ```

use gitseal_credential_cache::{
    client::{AcquireOutcome, ClientError, Connection, RequestError},
    protocol::{KeyId, Scope, TokenKind},
};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Clock, SignError, cache,
    certificate::{IssuedCertificate, check, request_certificate},
    login::{LoginOptions, TokenSource},
    prompt::TerminalPrompt,
    signer::KeyHandle,
};
use crate::host::settings::{CacheMode, Setting};
use gitseal_evidence::{
    certificate::{Certificate, Identity},
    trusted_root::TrustedRoot,
};
use gitseal_services::{
    fulcio::client::FulcioClient,
    http::client::Client,
    oidc::{
        login::{LoginError, LoginPrompt as _},
        token::IdentityToken,
    },
};
use gitseal_terminal::{self as terminal, Escape, escape};

/// A key that may sign, and as whom.
pub(super) struct SigningCredential {
    pub(super) signer: KeyHandle,
    pub(super) leaf: Certificate,
    pub(super) identity: Identity,
    /// Whether the cache had it, certificate and all.
    pub(super) found: bool,
}

/// Whose certificate, of whom, and the means to get it.
pub(super) struct CredentialRequest<'a> {
    /// The certificate authority.
    pub(super) authority: &'a Url,
    /// How to get a token.
    pub(super) login: &'a LoginOptions<'a>,
    /// Where from, as that was decided.
    pub(super) source: &'a TokenSource,
    /// Who is believed.
    pub(super) trust: &'a TrustedRoot,
    /// The HTTP client.
    pub(super) http: &'a Client,
    /// The time.
    pub(super) clock: Clock,
}

impl CredentialRequest<'_> {
    /// Whose credential this is, for the cache.
    pub(super) fn scope(&self) -> Scope {
        cache::scope(self.authority.as_str(), self.login, self.source, self.trust)
    }

    /// Gets the credential.
    ///
    /// # Errors
    /// No token, no certificate, or not the right one; or the login that another
    /// process made for this one as well failed.
    pub(super) fn obtain(
        &self,
        setting: &Setting<CacheMode>,
    ) -> Result<SigningCredential, SignError> {
        match cache::connect(setting) {
            Ok(connection) => self.obtain_from(connection),
            Err(why) => {
                cache::warn_without_cache(&why);
                self.create_uncached()
            }
        }
    }

    /// The same, from a cache that is there.
    pub(super) fn obtain_from(
        &self,
        mut connection: Connection,
    ) -> Result<SigningCredential, SignError> {
        let scope = self.scope();
        let tell = || {
            TerminalPrompt::new(&self.login.opener).tell(&format!(
                "gitseal: another gitseal is logging in {}, in the browser or terminal that it was started with: this one waits for it, at most {} s",
                self.whose(),
                cache::WAIT_FOR_LOGIN.as_secs()
            ));
        };
        match cache::acquire(&mut connection, &scope, tell) {
            Ok(AcquireOutcome::Found { key, chain }) => match self.leaf(&chain) {
                Ok((leaf, identity)) => Ok(SigningCredential {
                    signer: KeyHandle::cached(connection, key, Vec::new()),
                    leaf,
                    identity,
                    found: true,
                }),
                Err(error) => {
                    terminal::warn(&format!(
                        "signing without the credential cache: the certificate it keeps is not to be used: {}",
                        error
                    ));
                    self.create_uncached()
                }
            },
            Ok(AcquireOutcome::MustLogIn { key, public }) => {
                self.lead(connection, &scope, key, public)
            }
            Ok(AcquireOutcome::Failed { reason }) => Err(SignError::OtherLogin { reason }),
            Err(ClientError::Refused(RequestError::Waited)) => {
                terminal::warn(&format!(
                    "signing without the credential cache: another gitseal's login {} was not done within {} s",
                    self.whose(),
                    cache::WAIT_FOR_LOGIN.as_secs()
                ));
                self.create_uncached()
            }
            Err(error) => {
                cache::warn_without_cache(&error.into());
                self.create_uncached()
            }
        }
    }

    /// Which login this is, in words.
    fn whose(&self) -> String {
        let mut words = format!(
            "at {}",
            escape(self.login.settings.issuer.value.as_str(), Escape::Prose)
        );
        let whom = self.source.binding(self.login);
        if self.source.is_login() && !whom.is_empty() {
            words.push_str(&format!(" for {}", escape(&whom, Escape::Prose)));
        }
        words
    }

    /// A key of this process, for one signature.
    pub(super) fn create_uncached(&self) -> Result<SigningCredential, SignError> {
        let granted = self.login.log_in(self, false)?;
        self.own(&granted.token)
    }

    /// The same, with a token that is there.
    fn own(&self, token: &IdentityToken) -> Result<SigningCredential, SignError> {
        let signer = KeyHandle::generate();
        let IssuedCertificate { leaf, identity, .. } = self.certified(&signer, token)?;
        Ok(SigningCredential {
            signer,
            leaf,
            identity,
            found: false,
        })
    }

    /// Gets a certificate for everybody who waits for this scope, with a token
    /// that is kept, or one of a renewed login, or of a new one.
    fn lead(
        &self,
        connection: Connection,
        scope: &Scope,
        key: KeyId,
        public: Vec<u8>,
    ) -> Result<SigningCredential, SignError> {
        let signer = KeyHandle::cached(connection, key, public);
        // Who waits is told; if that fails, they find out by our leaving.
        let fail = |error: &SignError| {
            let _ = signer.with_cache(|cache| cache.fail(key, &failure(error)));
        };
        let (token, certified) = match self.by_kept_token(&signer, scope) {
            Some(both) => both,
            None => {
                let token = self.renewed_or_new(&signer, scope).inspect_err(fail)?;
                let certified = self.certified(&signer, &token);
                (token, certified)
            }
        };
        let IssuedCertificate {
            leaf,
            identity,
            chain,
        } = match certified {
            Ok(certified) => certified,
            // The cache went away in the middle: the token is still good.
            Err(SignError::Cache(error)) => {
                cache::warn_without_cache(&error.into());
                return self.own(&token);
            }
            Err(error) => {
                fail(&error);
                return Err(error);
            }
        };
        let kept = signer.with_cache(|cache| {
            cache.store(key, &chain)?;
            if !self.source.is_login() {
                return Ok(());
            }
            let expires = u64::try_from(token.claims().expires).unwrap_or(0);
            cache.keep_token(scope, TokenKind::Identity, token.secret(), expires)
        });
        if let Err(error) = kept {
            // A key without its certificate is good for nothing but this process.
            terminal::warn(&format!(
                "the credential cache did not keep the login: {}",
                error
            ));
            return self.own(&token);
        }
        Ok(SigningCredential {
            signer,
            leaf,
            identity,
            found: false,
        })
    }

    /// The token that the cache keeps, and what the authority made of it. One
    /// that it does not take (the issuer may have new keys) is forgotten, so
    /// that it is not presented with each signature until it expires.
    fn by_kept_token(
        &self,
        signer: &KeyHandle,
        scope: &Scope,
    ) -> Option<(IdentityToken, Result<IssuedCertificate, SignError>)> {
        let kept = self.kept(signer, scope, TokenKind::Identity)?;
        let token = IdentityToken::parse(kept).ok()?;
        token.check((self.clock)(), None).ok()?;
        match self.certified(signer, &token) {
            Err(error) if error.is_token_rejected() => {
                terminal::info(&format!(
                    "the identity token that was kept is not taken, so another is got: {}",
                    error
                ));
                self.forget(signer, scope, TokenKind::Identity);
                None
            }
            result => Some((token, result)),
        }
    }

    /// A token by the refresh token, without asking anybody, if the cache has
    /// one that the issuer takes; or by a login.
    fn renewed_or_new(
        &self,
        signer: &KeyHandle,
        scope: &Scope,
    ) -> Result<IdentityToken, SignError> {
        let renewed = match self.kept(signer, scope, TokenKind::Refresh) {
            None => None,
            Some(refresh) => match self.login.renew(self, &refresh) {
                Ok(granted) => Some(granted),
                Err(error) => {
                    terminal::info(&format!(
                        "the login could not be renewed, so it is made anew: {}",
                        error
                    ));
                    if matches!(error, SignError::Login(LoginError::Refused { .. })) {
                        self.forget(signer, scope, TokenKind::Refresh);
                    }
                    None
                }
            },
        };
        let granted = match renewed {
            Some(granted) => granted,
            None => self.login.log_in(self, true)?,
        };
        // The issuer may have ended the one before: if this is lost when the
        // authority fails, so is the login.
        if let Some(refresh) = granted.refresh
            && self.source.is_login()
        {
            let _ =
                signer.with_cache(|cache| cache.keep_token(scope, TokenKind::Refresh, &refresh, 0));
        }
        Ok(granted.token)
    }

    /// A token that the cache keeps for logins of this kind.
    fn kept(
        &self,
        signer: &KeyHandle,
        scope: &Scope,
        kind: TokenKind,
    ) -> Option<Zeroizing<String>> {
        let mut kept = None;
        if self.source.is_login() {
            let _ = signer.with_cache(|cache| {
                kept = cache.token(scope, kind)?;
                Ok(())
            });
        }
        kept
    }

    fn forget(&self, signer: &KeyHandle, scope: &Scope, kind: TokenKind) {
        // If it stays, it is tried in vain once more.
        let _ = signer.with_cache(|cache| cache.forget_token(scope, kind));
    }

    fn certified(
        &self,
        signer: &KeyHandle,
        token: &IdentityToken,
    ) -> Result<IssuedCertificate, SignError> {
        request_certificate(
            &FulcioClient::new(self.http, self.authority),
            self.authority.as_str(),
            signer,
            token,
            self.trust,
            self.clock,
        )
    }

    /// The leaf of a chain that the cache gave, if a verifier would take it now.
    pub(super) fn leaf(&self, chain: &[Vec<u8>]) -> Result<(Certificate, Identity), SignError> {
        let leaf = chain
            .first()
            .ok_or(SignError::Cached("it has no certificate"))?;
        let leaf = Certificate::from_der(leaf)
            .map_err(|_| SignError::Cached("its certificate cannot be read"))?;
        let identity = check(&leaf, (self.clock)(), self.authority.as_str(), self.trust)?;
        Ok((leaf, identity))
    }
}

/// What the others are told who wait for this login.
fn failure(error: &SignError) -> String {
    const MOST: usize = 300;
    escape(&error.to_string(), Escape::Prose)
        .chars()
        .take(MOST)
        .collect()
}
