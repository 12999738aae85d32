//! A credential is a key and a certificate for it. It comes from the credential
//! cache, or is made: a key, a token (`login.rs`), and a certificate that is
//! checked before anything is signed with the key.
//!
//! ```text
//! cache: found ─────────────────────────────────────────► checked ─► SigningCredential
//!        must log in ─► cached token ─► certificate ──────┬─► stored ─► SigningCredential
//!                       missing, rejected ─► refresh token | login ─┘
//!        unavailable ─► login ─► certificate for a key of this process ─► SigningCredential
//! ```
//!
//! The cache never keeps a signature from being made: one that is missing, slow
//! or unsafe is reported and not used.

use std::{cell::RefCell, env, path::PathBuf, time::Duration};

use gitseal_credential_cache::{
    client::{self, AcquireOutcome, ClientError, ClientTimeouts, Connection, RequestError},
    protocol::{KeyId, Scope, TokenKind},
    socket_path,
};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    elliptic_curve::Generate as _,
};
use sha2::{Digest as _, Sha256};
use spki::EncodePublicKey as _;
use url::Url;
use zeroize::Zeroizing;

use super::{
    error::{CACHE_PROGRAM, CacheUnavailableError, IssuedCertificateError, SignError},
    login::{LoginOptions, system_context},
    prompt::TerminalPrompt,
};
use crate::host::settings::{CacheMode, Origin, Setting, Settings};
use gitseal_evidence::{
    UnixTime,
    certificate::{Certificate, Identity, San},
    chain, hex,
    memo::Memo,
    sct,
    trusted_root::TrustedRoot,
};
use gitseal_services::{
    fulcio::{
        client::FulcioClient,
        wire::{Authority as _, CsrError, IssueRequest, encode_csr},
    },
    http::client::Client,
    oidc::{
        login::{LoginError, LoginPrompt as _},
        token::{IdentityClaims, IdentityToken, is_same_address},
    },
};
use gitseal_terminal::{self as terminal, Escape, escape};

/// The tolerated difference between the system clock and the certificate
/// authority's, in seconds.
pub const CLOCK_TOLERANCE: i64 = 60;
/// The remaining validity of a cached certificate that is used, in seconds: the
/// time of the log and of a timestamp authority, and a difference of clocks.
const MIN_LEFT: u64 = 20;
/// The timeout for a login in another process. One in the browser takes two
/// minutes at most.
const LOGIN_WAIT: Duration = Duration::from_secs(150);
/// The part of that time after which the user is notified.
const SILENT_WAIT: Duration = Duration::from_secs(1);
/// The timeout for the start of the daemon. It needs two milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(2);

/// A key that may sign, with its certificate.
pub(super) struct SigningCredential {
    pub(super) key: KeyHandle,
    pub(super) leaf: Certificate,
    /// The identity in the certificate.
    pub(super) identity: Identity,
    /// Whether the certificate was in the cache already.
    pub(super) was_cached: bool,
}

/// A login that is in the credential cache.
pub struct LoginStatus {
    /// The identity in the certificate.
    pub identity: Identity,
    /// The end of the certificate's validity.
    pub not_after: UnixTime,
}

/// Everything needed to obtain a signing credential.
pub struct CredentialRequest<'a> {
    /// The way to obtain an identity token.
    pub login: LoginOptions<'a>,
    /// The trusted root that the certificate must chain to.
    pub trust: &'a TrustedRoot,
}

impl<'a> CredentialRequest<'a> {
    /// Creates the request that the settings describe.
    ///
    /// # Errors
    /// Returns [`SignError`] as [`LoginOptions::new`] does.
    pub fn new(
        settings: &'a Settings,
        trust: &'a TrustedRoot,
        http: &'a Client,
    ) -> Result<Self, SignError> {
        let login = LoginOptions::new(settings, system_context(settings, http))?;
        Ok(Self { login, trust })
    }

    /// Returns the scope of the credential in the cache. A credential is shared
    /// only by requests that are equal in every member.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let settings = self.login.settings;
        Scope {
            issuer: settings.issuer.value.as_str().to_owned(),
            client_id: settings.client_id.value.clone(),
            connector: settings.connector_id.value.clone().unwrap_or_default(),
            authority: self.authority().as_str().to_owned(),
            trusted_root: hex(&Sha256::digest(
                gitseal_services::trusted_root::to_json(self.trust).as_bytes(),
            )),
            subject: self.login.subject(),
        }
    }

    /// Logs in and caches the login, unless a valid one is cached already. With
    /// `again`, that one is deleted first.
    ///
    /// # Errors
    /// Returns [`SignError`] if the login fails or cannot be cached.
    pub fn log_in(&self, again: bool) -> Result<LoginStatus, SignError> {
        let mut cache =
            connect(&self.login.settings.credential_cache).map_err(SignError::CacheUnavailable)?;
        if again {
            cache.forget(&self.scope()).map_err(SignError::Cache)?;
        }
        let credential = self.obtain_from(cache)?;
        match credential.key {
            KeyHandle::Own(_) => Err(SignError::NotCached),
            KeyHandle::Cached { .. } => Ok(LoginStatus {
                identity: credential.identity,
                not_after: credential.leaf.not_after(),
            }),
        }
    }

    /// Returns the cached login, if there is one.
    ///
    /// # Errors
    /// Returns [`SignError`] if the cache fails, or its certificate does not pass
    /// the checks.
    pub fn status(&self, cache: &mut Connection) -> Result<Option<LoginStatus>, SignError> {
        let found = cache.find(&self.scope(), 0).map_err(SignError::Cache)?;
        let Some((_, chain)) = found else {
            return Ok(None);
        };
        let (leaf, identity) = self.check_cached(&chain)?;
        Ok(Some(LoginStatus {
            identity,
            not_after: leaf.not_after(),
        }))
    }

    /// Obtains a credential from the cache, or creates one if there is no cache.
    ///
    /// # Errors
    /// Returns [`SignError`] if there is no token or no certificate that passes the
    /// checks, or if the shared login in another process failed.
    pub(super) fn obtain(&self) -> Result<SigningCredential, SignError> {
        match connect(&self.login.settings.credential_cache) {
            Ok(cache) => self.obtain_from(cache),
            Err(error) => {
                warn_without_cache(&error);
                self.create_uncached()
            }
        }
    }

    fn obtain_from(&self, mut cache: Connection) -> Result<SigningCredential, SignError> {
        let scope = self.scope();
        let outcome = match cache.acquire(&scope, MIN_LEFT, SILENT_WAIT) {
            Err(ClientError::Refused(RequestError::Waited)) => {
                TerminalPrompt::new(&self.login.opener).tell(&format!(
                    "gitseal: waiting up to {} s for the login already in progress {}",
                    LOGIN_WAIT.as_secs(),
                    self.login_description()
                ));
                cache.acquire(&scope, MIN_LEFT, LOGIN_WAIT.saturating_sub(SILENT_WAIT))
            }
            outcome => outcome,
        };
        match outcome {
            Ok(AcquireOutcome::Found { key, chain }) => match self.check_cached(&chain) {
                Ok((leaf, identity)) => Ok(SigningCredential {
                    key: KeyHandle::cached(cache, key, Vec::new()),
                    leaf,
                    identity,
                    was_cached: true,
                }),
                Err(error) => {
                    terminal::warn(&format!("not using the cached login: {error}"));
                    self.create_uncached()
                }
            },
            Ok(AcquireOutcome::MustLogIn { key, public }) => {
                self.create_cached(cache, &scope, key, public)
            }
            Ok(AcquireOutcome::Failed { reason }) => Err(SignError::OtherLogin { reason }),
            Err(ClientError::Refused(RequestError::Waited)) => {
                terminal::warn(&format!(
                    "the login in progress {} did not finish within {} s; starting another",
                    self.login_description(),
                    LOGIN_WAIT.as_secs()
                ));
                self.create_uncached()
            }
            Err(error) => {
                warn_without_cache(&error.into());
                self.create_uncached()
            }
        }
    }

    /// Returns the issuer and, if it is set, the user, for messages.
    fn login_description(&self) -> String {
        let issuer = self.login.settings.issuer.value.as_str();
        let mut text = format!("at {}", escape(issuer, Escape::Prose));
        let subject = self.login.subject();
        if self.login.source.is_login() && !subject.is_empty() {
            text.push_str(&format!(" for {}", escape(&subject, Escape::Prose)));
        }
        text
    }

    /// Creates a credential with a key of this process, for one signature.
    pub(super) fn create_uncached(&self) -> Result<SigningCredential, SignError> {
        let tokens = self.login.log_in(false)?;
        self.create_with_token(&tokens.token)
    }

    fn create_with_token(&self, token: &IdentityToken) -> Result<SigningCredential, SignError> {
        let key = KeyHandle::Own(SigningKey::generate());
        let issued = self.request_certificate(&key, token)?;
        Ok(issued.with_key(key))
    }

    /// Creates a credential with a key of the cache, and stores its certificate for
    /// all processes that wait for this scope.
    fn create_cached(
        &self,
        cache: Connection,
        scope: &Scope,
        id: KeyId,
        public: Vec<u8>,
    ) -> Result<SigningCredential, SignError> {
        let key = KeyHandle::cached(cache, id, public);
        // Without this report the waiting processes notice that the connection ends.
        let fail = |error: &SignError| {
            let _ = key.with_cache(|cache| cache.fail(id, &short_message(error)));
        };
        let (token, issued) = match self.issue_with_cached_token(&key, scope) {
            Some(both) => both,
            None => {
                let token = self.renew_or_log_in(&key, scope).inspect_err(fail)?;
                let issued = self.request_certificate(&key, &token);
                (token, issued)
            }
        };
        let issued = match issued {
            Ok(issued) => issued,
            // The cache failed in the meantime: the token is still valid.
            Err(SignError::Cache(error)) => {
                warn_without_cache(&error.into());
                return self.create_with_token(&token);
            }
            Err(error) => {
                fail(&error);
                return Err(error);
            }
        };
        let stored = key.with_cache(|cache| {
            cache.store(id, &issued.chain)?;
            if !self.login.source.is_login() {
                return Ok(());
            }
            let expires = u64::try_from(token.claims().expires).unwrap_or(0);
            cache.keep_token(scope, TokenKind::Identity, token.secret(), expires)
        });
        if let Err(error) = stored {
            // The cache signs with a key only if it has the certificate.
            terminal::warn(&format!(
                "the credential cache did not store the login: {error}"
            ));
            return self.create_with_token(&token);
        }
        Ok(issued.with_key(key))
    }

    /// Requests a certificate with the cached token, if there is one. A token that
    /// the authority rejects (the issuer may have new keys) is deleted, so that it
    /// is not sent with each signature until it expires.
    fn issue_with_cached_token(
        &self,
        key: &KeyHandle,
        scope: &Scope,
    ) -> Option<(IdentityToken, Result<IssuedCertificate, SignError>)> {
        let cached = self.cached_token(key, scope, TokenKind::Identity)?;
        let token = IdentityToken::parse(cached).ok()?;
        token.check(self.login.now(), None).ok()?;
        self.login.check_user(&token).ok()?;
        match self.request_certificate(key, &token) {
            Err(error) if error.is_token_rejected() => {
                terminal::info(&format!(
                    "the cached identity token was rejected; requesting a new one: {error}"
                ));
                delete_token(key, scope, TokenKind::Identity);
                None
            }
            result => Some((token, result)),
        }
    }

    /// Obtains a token with the cached refresh token, without prompting the user,
    /// or by a login.
    fn renew_or_log_in(&self, key: &KeyHandle, scope: &Scope) -> Result<IdentityToken, SignError> {
        let refresh = self.cached_token(key, scope, TokenKind::Refresh);
        let renewed = refresh.and_then(|refresh| {
            let error = match self.login.renew(&refresh) {
                Ok(tokens) => return Some(tokens),
                Err(error) => error,
            };
            terminal::info(&format!(
                "cannot renew the login; logging in again: {error}"
            ));
            if matches!(error, SignError::Login(LoginError::Refused { .. })) {
                delete_token(key, scope, TokenKind::Refresh);
            }
            None
        });
        let tokens = match renewed {
            Some(tokens) => tokens,
            None => self.login.log_in(true)?,
        };
        // Stored before the certificate request, which may fail: the issuer may
        // have revoked the previous one.
        if let Some(refresh) = tokens.refresh
            && self.login.source.is_login()
        {
            let _ =
                key.with_cache(|cache| cache.keep_token(scope, TokenKind::Refresh, &refresh, 0));
        }
        Ok(tokens.token)
    }

    fn cached_token(
        &self,
        key: &KeyHandle,
        scope: &Scope,
        kind: TokenKind,
    ) -> Option<Zeroizing<String>> {
        let mut token = None;
        if self.login.source.is_login() {
            let _ = key.with_cache(|cache| {
                token = cache.token(scope, kind)?;
                Ok(())
            });
        }
        token
    }

    fn authority(&self) -> &'a Url {
        self.login.settings.fulcio.value.url()
    }

    /// Has the authority certify a key. Until the certificate passes the checks,
    /// the key signs nothing but the proof of its possession.
    fn request_certificate(
        &self,
        key: &KeyHandle,
        token: &IdentityToken,
    ) -> Result<IssuedCertificate, SignError> {
        let spki = key.public()?;
        let request_pem = encode_csr(&spki, |bytes| key.prove_possession(bytes))?;
        let chain = FulcioClient::new(self.login.environment.http, self.authority()).certify(
            &IssueRequest {
                token: token.secret(),
                spki: &spki,
                request_pem: &request_pem,
                proof: &key.prove_possession(token.challenge().as_bytes())?,
            },
        )?;
        // The certificates after the leaf are not used: the chain is that of the
        // trusted root.
        let check = || {
            let leaf = chain.first().ok_or(IssuedCertificateError::OtherKey)?;
            let key = leaf.public_key().map_err(IssuedCertificateError::Key)?;
            if key.spki() != spki {
                return Err(IssuedCertificateError::OtherKey);
            }
            let identity = self.check(leaf)?;
            check_claims(&identity, leaf, token.claims())?;
            Ok((leaf.clone(), identity))
        };
        let (leaf, identity) = check().map_err(|error| self.certificate_error(error))?;
        Ok(IssuedCertificate {
            leaf,
            identity,
            chain: chain.iter().map(|one| one.der().to_vec()).collect(),
        })
    }

    /// Checks a chain from the cache in the same way, without a token.
    pub(super) fn check_cached(
        &self,
        chain: &[Vec<u8>],
    ) -> Result<(Certificate, Identity), SignError> {
        let leaf = chain.first().ok_or(SignError::CachedCertificate)?;
        let leaf = Certificate::from_der(leaf).map_err(|_| SignError::CachedCertificate)?;
        let identity = self
            .check(&leaf)
            .map_err(|error| self.certificate_error(error))?;
        self.check_cached_user(&leaf, &identity)?;
        Ok((leaf, identity))
    }

    /// Compares the certificate with the requested user, as a token would be.
    fn check_cached_user(&self, leaf: &Certificate, identity: &Identity) -> Result<(), SignError> {
        let Some((user, requested_by)) = self.login.requested_user() else {
            return Ok(());
        };
        let found = identity.san.value();
        let is_user = is_same_address(found, user)
            || leaf.fulcio().by_name("subject") == Some(user)
            || !matches!(identity.san, San::Email(_));
        if is_user {
            return Ok(());
        }
        Err(SignError::OtherAccount {
            found: escape(found, Escape::Ascii),
            requested: escape(user, Escape::Ascii),
            requested_by,
        })
    }

    /// Checks that a verifier will accept the certificate now: it chains to a
    /// trusted authority, is in a trusted CT log and names one identity. The log or
    /// a timestamp dates the signature, so the system clock may be
    /// [`CLOCK_TOLERANCE`] off.
    fn check(&self, leaf: &Certificate) -> Result<Identity, IssuedCertificateError> {
        let now = self.login.now();
        let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
        let at = now.max(not_before).min(not_after);
        if at.abs_diff(now) > CLOCK_TOLERANCE.unsigned_abs() {
            return Err(IssuedCertificateError::Clock {
                not_before,
                not_after,
                now,
            });
        }
        let chained = chain::verify(leaf, at, &self.trust.authorities, Memo::disabled())
            .map_err(IssuedCertificateError::Chain)?;
        let logs = &self.trust.ct_logs;
        sct::verify(leaf, chained.issuer, &[at], logs, Memo::disabled())
            .map_err(IssuedCertificateError::Sct)?;
        leaf.identity().map_err(IssuedCertificateError::NoIdentity)
    }

    pub(super) fn certificate_error(&self, error: IssuedCertificateError) -> SignError {
        SignError::Certificate {
            authority: self.authority().as_str().trim_end_matches('/').to_owned(),
            error,
        }
    }
}

/// A certificate that passed the checks, with the rest of its chain.
struct IssuedCertificate {
    leaf: Certificate,
    identity: Identity,
    /// The certificates in DER, leaf first.
    chain: Vec<Vec<u8>>,
}

impl IssuedCertificate {
    fn with_key(self, key: KeyHandle) -> SigningCredential {
        SigningCredential {
            key,
            leaf: self.leaf,
            identity: self.identity,
            was_cached: false,
        }
    }
}

/// Checks that the certificate and the token name the same identity. What an
/// authority makes of a token depends on the kind of its issuer: an email address
/// or subject unchanged, a subject with a domain, or, for CI systems, a URI made
/// of many claims. Of a URI only the copied claims are compared.
fn check_claims(
    identity: &Identity,
    leaf: &Certificate,
    claims: &IdentityClaims,
) -> Result<(), IssuedCertificateError> {
    let other = |what, found: &str, expected: &str| {
        Err(IssuedCertificateError::OtherIdentity {
            what,
            found: found.to_owned(),
            expected: expected.to_owned(),
        })
    };
    let issuer = identity.issuer.as_str();
    if issuer != claims.issuer && claims.connector.as_deref() != Some(issuer) {
        return other("issuer", issuer, &claims.issuer);
    }
    let subject = leaf.fulcio().by_name("subject");
    if let Some(subject) = subject
        && subject != claims.subject
    {
        return other("subject", subject, &claims.subject);
    }
    let is_same = match &identity.san {
        San::Email(email) => claims.email.as_ref() == Some(email),
        San::Uri(uri) => {
            *uri == claims.subject
                || uri.strip_prefix(&format!("{}/", claims.issuer)) == Some(&claims.subject)
                || subject.is_some()
                || claims.email.is_none()
        }
        San::OtherName(name) => name
            .strip_prefix(&claims.subject)
            .is_some_and(|domain| domain.starts_with('!')),
    };
    if is_same {
        return Ok(());
    }
    let expected = claims.email.as_ref().unwrap_or(&claims.subject);
    other("identity", identity.san.value(), expected)
}

// ---------------------------------------------------------------------- key

/// A P-256 key that signs on request. It has no `Debug`.
pub(super) enum KeyHandle {
    /// A key of this process, for one signature. It is zeroized when dropped.
    Own(SigningKey),
    /// The name of a key that never leaves the credential cache.
    Cached {
        /// The connection to the cache, which a request borrows.
        cache: RefCell<Connection>,
        key: KeyId,
        /// The SubjectPublicKeyInfo in DER, for a key without a certificate.
        public: Vec<u8>,
    },
}

impl KeyHandle {
    fn cached(cache: Connection, key: KeyId, public: Vec<u8>) -> Self {
        Self::Cached {
            cache: RefCell::new(cache),
            key,
            public,
        }
    }

    /// Makes another request to the cache that holds the key. For a key of this
    /// process there is nothing to do.
    fn with_cache(
        &self,
        request: impl FnOnce(&mut Connection) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Cached { cache, .. } => request(&mut cache.borrow_mut()),
        }
    }

    /// Returns the SubjectPublicKeyInfo in DER.
    fn public(&self) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Own(key) => {
                let document = key.verifying_key().to_public_key_der();
                let document = document.map_err(|error| CsrError::Der {
                    reason: error.to_string(),
                })?;
                Ok(document.into_vec())
            }
            Self::Cached { public, .. } => Ok(public.clone()),
        }
    }

    /// Signs a message. A daemon with `--confirm` prompts its user first, and every
    /// outcome but a yes is final: no, no answer in time, or a daemon that was
    /// stopped in the meantime.
    ///
    /// # Errors
    /// Returns [`SignError::Denied`], or as [`prove_possession`] does.
    ///
    /// [`prove_possession`]: Self::prove_possession
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let confirms = match self {
            Self::Own(_) => false,
            Self::Cached { cache, .. } => cache.borrow().daemon().confirms,
        };
        self.prove_possession(message).map_err(|error| match error {
            SignError::Cache(ClientError::Refused(RequestError::Denied)) => SignError::Denied,
            SignError::Cache(ClientError::Timeout | ClientError::Io(_)) if confirms => {
                SignError::Denied
            }
            error => error,
        })
    }

    /// Makes an ECDSA signature with SHA-256 over a message, in DER: the proof of
    /// possession, which needs no confirmation.
    ///
    /// # Errors
    /// Returns [`SignError::Cache`] if the cache fails or does not have the key (any
    /// more).
    fn prove_possession(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Own(key) => {
                let signature: DerSignature = key.sign(message);
                Ok(signature.as_bytes().to_vec())
            }
            Self::Cached { cache, key, .. } => cache
                .borrow_mut()
                .sign(*key, Sha256::digest(message).into())
                .map_err(SignError::Cache),
        }
    }
}

// -------------------------------------------------------------------- cache

/// Returns the socket of the credential cache, unless the cache is off.
///
/// # Errors
/// Returns [`ClientError`] if there is no home directory or the path is too long.
pub fn cache_socket(mode: &CacheMode) -> Result<Option<PathBuf>, ClientError> {
    match mode {
        CacheMode::Off => Ok(None),
        CacheMode::At(path) => Ok(Some(path.clone())),
        CacheMode::Auto => socket_path::default_socket()
            .map(Some)
            .map_err(ClientError::Unsafe),
    }
}

/// Returns gitsign's variable that names the socket, if no name of gitseal's does.
#[must_use]
pub fn gitsign_socket_variable(setting: &Setting<CacheMode>) -> Option<&str> {
    match (&setting.value, &setting.origin) {
        (CacheMode::At(_), Origin::Environment { name }) if name.starts_with("GITSIGN_") => {
            Some(name)
        }
        _ => None,
    }
}

/// Connects to the daemon, and starts it if none runs.
fn connect(setting: &Setting<CacheMode>) -> Result<Connection, CacheUnavailableError> {
    let socket = cache_socket(&setting.value)?.ok_or(CacheUnavailableError::Off)?;
    match Connection::open(&socket, ClientTimeouts::default()) {
        Err(ClientError::Absent(_)) => {}
        other => return Ok(other?),
    }
    if let Some(variable) = gitsign_socket_variable(setting) {
        return Err(CacheUnavailableError::Gitsigns {
            socket,
            variable: variable.to_owned(),
        });
    }
    let program = env::current_exe()
        .ok()
        .map(|own| own.with_file_name(format!("{CACHE_PROGRAM}{}", env::consts::EXE_SUFFIX)))
        .filter(|program| program.is_file());
    let Some(program) = program else {
        return Err(CacheUnavailableError::NotInstalled {
            socket,
            is_configured: setting.value != CacheMode::Auto,
        });
    };
    client::start(&program, &socket, START_TIMEOUT)?;
    Ok(Connection::open(&socket, ClientTimeouts::default())?)
}

fn delete_token(key: &KeyHandle, scope: &Scope, kind: TokenKind) {
    // If it stays, it is tried once more.
    let _ = key.with_cache(|cache| cache.forget_token(scope, kind));
}

/// Reports that the cache is not used, and why.
fn warn_without_cache(error: &CacheUnavailableError) {
    if error.is_expected() {
        return;
    }
    let hint = error.hint().map(|hint| format!("; {hint}"));
    terminal::warn(&format!(
        "not using the credential cache: {error}{}",
        hint.unwrap_or_default()
    ));
}

/// Returns the message that the waiting processes receive.
fn short_message(error: &SignError) -> String {
    const MAX: usize = 300;
    escape(&error.to_string(), Escape::Prose)
        .chars()
        .take(MAX)
        .collect()
}
