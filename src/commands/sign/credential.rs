//! A key that may sign for somebody: out of the credential cache, or made,
//! logged in for and certified.
//!
//! ```text
//! cache: found ──────────────────────────────► certificate checked ─► Credential
//!        lead  ─► kept token | refresh | login ─► certified ─► stored ─► Credential
//!        none, slow, broken ─► login ─► certified with a key of this process ─► Credential
//! ```

use gitseal_credential_cache::{
    client::{Acquired, Connection},
    protocol::{KeyId, Scope, TokenKind},
};
use url::Url;

use super::{
    Clock, SignError, cache,
    certificate::{Certified, certify, check},
    login::{Login, Source},
    signer::Signer,
};
use crate::{
    evidence::{
        certificate::{Certificate, Identity},
        trust::TrustedRoot,
    },
    host::{
        settings::CacheMode,
        terminal::{self, Escape, escape},
    },
    services::{
        fulcio::client::FulcioClient,
        http::client::Client,
        oidc::{login::Granted, token::Token},
    },
};

/// A key that may sign, and as whom.
pub(super) struct Credential {
    pub(super) signer: Signer,
    pub(super) leaf: Certificate,
    pub(super) identity: Identity,
    /// Whether the cache had it, certificate and all.
    pub(super) found: bool,
}

/// Whose certificate, of whom, and the means to get it.
pub(super) struct Wish<'a> {
    /// The certificate authority.
    pub(super) authority: &'a Url,
    /// How to get a token.
    pub(super) login: &'a Login<'a>,
    /// Where from, as that was decided.
    pub(super) source: &'a Source,
    /// Who is believed.
    pub(super) trust: &'a TrustedRoot,
    /// The HTTP client.
    pub(super) http: &'a Client,
    /// The time.
    pub(super) clock: Clock,
}

impl Wish<'_> {
    /// Whose credential this is, for the cache.
    pub(super) fn scope(&self) -> Scope {
        cache::scope(self.authority.as_str(), self.login, self.source, self.trust)
    }

    /// Gets the credential.
    ///
    /// # Errors
    /// No token, no certificate, or not the right one; or the login that another
    /// process made for this one as well failed.
    pub(super) fn obtain(&self, mode: &CacheMode) -> Result<Credential, SignError> {
        match cache::connect(mode) {
            Some(connection) => self.obtain_from(connection),
            None => self.fresh(),
        }
    }

    /// The same, from a cache that is there.
    pub(super) fn obtain_from(&self, mut connection: Connection) -> Result<Credential, SignError> {
        let scope = self.scope();
        match connection.acquire(&scope, cache::MIN_LEFT, cache::WAIT_FOR_LOGIN) {
            Ok(Acquired::Found { key, chain }) => match self.leaf(&chain) {
                Ok((leaf, identity)) => Ok(Credential {
                    signer: Signer::cached(connection, key, Vec::new()),
                    leaf,
                    identity,
                    found: true,
                }),
                Err(error) => {
                    terminal::warn(&format!(
                        "signing without the credential cache: the certificate it keeps is not to be used: {}",
                        escape(&error.to_string(), Escape::Prose)
                    ));
                    self.fresh()
                }
            },
            Ok(Acquired::Lead { key, public }) => self.lead(connection, &scope, key, public),
            Ok(Acquired::Failed { reason }) => Err(SignError::OtherLogin { reason }),
            Err(error) => {
                cache::without(&error);
                self.fresh()
            }
        }
    }

    /// A key of this process, for one signature.
    fn fresh(&self) -> Result<Credential, SignError> {
        let granted = self.login.log_in(self, false)?;
        self.own(&granted.token)
    }

    /// The same, with a token that is there.
    fn own(&self, token: &Token) -> Result<Credential, SignError> {
        let signer = Signer::generate();
        let Certified { leaf, identity, .. } = self.certified(&signer, token)?;
        Ok(Credential {
            signer,
            leaf,
            identity,
            found: false,
        })
    }

    /// Logs in for everybody who waits for this scope, unless a token is kept.
    fn lead(
        &self,
        mut connection: Connection,
        scope: &Scope,
        key: KeyId,
        public: Vec<u8>,
    ) -> Result<Credential, SignError> {
        let granted = match self.token(&mut connection, scope) {
            Ok(granted) => granted,
            Err(error) => {
                // Who waits is told; if that fails, they find out by our leaving.
                let _ = connection.fail(key, &failure(&error));
                return Err(error);
            }
        };
        let signer = Signer::cached(connection, key, public);
        let Certified {
            leaf,
            identity,
            chain,
        } = match self.certified(&signer, &granted.token) {
            Ok(certified) => certified,
            // The cache went away in the middle: the token is still good.
            Err(SignError::Cache(error)) => {
                cache::without(&error);
                return self.own(&granted.token);
            }
            Err(error) => {
                let _ = signer.with_cache(|cache| cache.fail(key, &failure(&error)));
                return Err(error);
            }
        };
        let kept = signer.with_cache(|cache| {
            cache.store(key, &chain)?;
            if !self.source.is_personal() {
                return Ok(());
            }
            let expires = u64::try_from(granted.token.claims().expires).unwrap_or(0);
            cache.keep_token(scope, TokenKind::Identity, granted.token.secret(), expires)?;
            match &granted.refresh {
                Some(refresh) => cache.keep_token(scope, TokenKind::Refresh, refresh, 0),
                None => Ok(()),
            }
        });
        if let Err(error) = kept {
            // A key without its certificate is good for nothing but this process.
            terminal::warn(&format!(
                "the credential cache did not keep the login: {}",
                escape(&error.to_string(), Escape::Prose)
            ));
            return self.own(&granted.token);
        }
        Ok(Credential {
            signer,
            leaf,
            identity,
            found: false,
        })
    }

    /// A token without asking anybody, if the cache has one, or a login.
    fn token(&self, cache: &mut Connection, scope: &Scope) -> Result<Granted, SignError> {
        if self.source.is_personal() {
            if let Ok(Some(kept)) = cache.token(scope, TokenKind::Identity)
                && let Ok(token) = Token::parse(kept)
                && token.check((self.clock)(), None).is_ok()
            {
                return Ok(Granted {
                    token,
                    refresh: None,
                });
            }
            if let Ok(Some(refresh)) = cache.token(scope, TokenKind::Refresh) {
                match self.login.renew(self, &refresh) {
                    Ok(granted) => return Ok(granted),
                    Err(error) => terminal::tell(&format!(
                        "the login could not be renewed, so it is made anew: {}",
                        escape(&error.to_string(), Escape::Prose)
                    )),
                }
            }
        }
        self.login.log_in(self, true)
    }

    fn certified(&self, signer: &Signer, token: &Token) -> Result<Certified, SignError> {
        certify(
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
