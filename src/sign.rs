//! `git commit -S`, `git tag -s`: from what git pipes to the signature that it
//! reads back.
//!
//! ```text
//! payload → token → key → certificate (checked before anything is signed)
//!   → Signed → [timestamp] → Stamped → the log → Logged → our own verifier → CompletedSignature
//! ```
//!
//! Each arrow is a type whose maker is private to this file, and only
//! [`CompletedSignature`] can be shown: a signature that no log recorded, or that our own
//! verifier would refuse, cannot reach git by accident.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use crate::host::{
    git_program,
    gnupg::{self, Status},
    opener::Opener,
    settings::{
        CacheMode, RekorMode, RekorVersion, ServiceUrl, Setting, Settings, process_environment,
    },
    trusted_root_files,
};
use crate::{
    context::{http_client_within, open_context},
    exit::EXIT_OK,
};
use gitseal_evidence::{
    UnixTime, armor,
    certificate::Identity,
    entry::LogEntry,
    identity::{self, ExpectedIdentity, IdentityMatcher},
    keys::SignatureAlgorithm,
    object::{self, HashKind, Ident, ObjectKind},
    trusted_root::TrustedRoot,
    verify::{self, SignatureInput, Verified, VerifyInputs},
};
use gitseal_services::{
    http::client::{Client, Timeouts},
    oidc::ambient::AmbientContext,
    rekor::client::RekorClient,
    signed_data,
    tsa::client::TsaClient,
};
use gitseal_terminal::{self as terminal, Escape, escape};

mod cache;
mod certificate;
mod credential;
mod error;
mod login;
mod prompt;
mod session;
mod signer;

pub use cache::{
    CacheUnavailableError, gitsign_socket_variable as cache_is_gitsigns, program as cache_program,
    socket as cache_socket,
};
use credential::{CredentialRequest, SigningCredential};
pub use error::SignError;
pub use login::{LoginOptions, Provider, TokenSource};
pub use session::{LoginStatus, Session};

/// The largest payload that is signed, in bytes.
pub const MAX_PAYLOAD: usize = object::MAX_OBJECT;
/// How far this machine's clock may be from the certificate authority's, in
/// seconds, before signing is refused.
pub const CLOCK_TOLERANCE: i64 = 60;

/// The machines that take part.
#[derive(Debug, Clone)]
pub struct Services {
    /// The certificate authority.
    pub fulcio: Url,
    /// The log.
    pub rekor: Url,
    /// Its API.
    pub rekor_version: RekorVersion,
    /// Where its proof goes.
    pub rekor_mode: RekorMode,
    /// A timestamp authority.
    pub timestamp: Option<Url>,
}

/// What tells the time, in Unix seconds.
pub type Clock = fn() -> UnixTime;

/// What is to be signed, and how.
#[derive(Debug, Clone, Copy)]
pub struct SignRequest<'a> {
    /// What git pipes.
    pub payload: &'a [u8],
    /// Whether the content stays outside the signature, as git wants it.
    pub detached: bool,
    /// The time, asked for anew where it counts: a login can take minutes.
    pub clock: Clock,
}

/// Signs as git asks for it and gives the exit code. On any failure nothing is
/// on standard output, and standard error says what to do next.
#[must_use]
pub fn run(request: &gnupg::SignOptions) -> u8 {
    terminal::mirror_errors_to_tty();
    match answer(request) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            if git_program::version().is_ok_and(|(version, _)| version >= (2, 40)) {
                terminal::disable_tty_mirror();
            }
            terminal::error(&error.to_string(), error.hint().as_deref());
            error.exit_code()
        }
    }
}

fn answer(request: &gnupg::SignOptions) -> Result<(), SignError> {
    let stream = |what: &str| {
        let what = what.to_owned();
        move |reason| SignError::Stream { what, reason }
    };
    // A descriptor that is not there is found out before anybody logs in.
    let mut status = Status::open(request.status).map_err(stream("the status descriptor"))?;
    let source = match &request.file {
        None => gnupg::InputSource::Standard,
        Some(path) => gnupg::InputSource::File(path.clone()),
    };
    let payload = gnupg::read_payload(&source).map_err(stream("what is to be signed"))?;
    let (_, settings) = open_context()?;
    let trust = trusted_root_files::load(None, &settings)?;
    let services = services(&settings);
    let http = http_client_within(timeouts(services.rekor_version));
    let login = login(&settings, &http)?;
    check_services(&settings, &login)?;
    let finished = sign(
        &SignRequest {
            payload: &payload,
            detached: request.detached,
            clock: system_time,
        },
        &services,
        login,
        &settings.credential_cache,
        &trust.root,
        &http,
    )?;
    if let Some(index) = finished.log_index() {
        terminal::info(&format!("tlog entry created with index: {index}"));
    }
    // git takes a signature only behind a status line that it could read, so the
    // status goes first: if it cannot be written, there is no signature.
    let bytes = if request.armor {
        finished.armoured().into_bytes()
    } else {
        finished.der().to_vec()
    };
    status
        .begin_signing()
        .and_then(|()| {
            status.sig_created(
                request.detached,
                SignatureAlgorithm::EcdsaSha256,
                finished.signed_at(),
                &finished.verified().certificate.sha1_hex(),
            )
        })
        .map_err(stream("the status descriptor"))?;
    gnupg::write_signature(&bytes, request.output.as_deref()).map_err(stream("the signature"))
}

fn services(settings: &Settings) -> Services {
    let url = |address: &ServiceUrl| address.url().clone();
    Services {
        fulcio: url(&settings.fulcio.value),
        rekor: url(&settings.rekor.value),
        rekor_version: settings.rekor_version.value,
        rekor_mode: settings.rekor_mode.value,
        timestamp: settings.timestamp_server.value.as_ref().map(url),
    }
}

/// Warns of services that get a token and may not be whom the user means.
///
/// # Errors
/// The token is one that nobody is asked for, and the repository says who gets
/// it, or for whom it is.
pub fn check_services(settings: &Settings, login: &LoginOptions<'_>) -> Result<(), SignError> {
    let source = login.source();
    if let Some(provider) = source.noninteractive_provider() {
        // A token of the job, or of the machine, may open more than signing.
        for origin in [
            &settings.fulcio.origin,
            &settings.issuer.origin,
            &settings.client_id.origin,
        ] {
            if settings.is_untrusted(origin) {
                return Err(SignError::NotForARepository {
                    provider,
                    origin: escape(&origin.to_string(), Escape::Prose),
                });
            }
        }
    }
    let mut told = vec![("certificate authority", &settings.fulcio)];
    if !matches!(source, TokenSource::Ambient(_)) {
        told.push(("issuer", &settings.issuer));
    }
    for (who, setting) in told {
        let url = setting.value.url();
        if settings.is_untrusted(&setting.origin) {
            terminal::warn(&format!(
                "the {who} {} is this repository's choice, not yours ({}): whoever runs it can be you wherever the identity token is good. If you know it, set it with git config --global, or name the repository in gitseal.trustedRepository",
                url, setting.origin
            ));
        }
        if !is_private(url) {
            terminal::warn(&format!(
                "the {who} has an address without TLS ({}): whoever can read the network can use the identity token",
                url
            ));
        }
    }
    Ok(())
}

/// How to get a token, as the settings say.
///
/// # Errors
/// A provider that does not exist, or a client secret that cannot be read or
/// would go to somebody the user did not choose.
pub fn login<'a>(settings: &'a Settings, http: &'a Client) -> Result<LoginOptions<'a>, SignError> {
    let client_secret = match &settings.client_secret_file.value {
        None => None,
        // The secret is the user's, and goes to whom the user chose.
        Some(_) if settings.is_untrusted(&settings.issuer.origin) => {
            return Err(SignError::Settings(
                "clientSecretFile is set, and this repository's own configuration names the issuer that would get the secret: set gitseal.issuer with git config --global, or name the repository in gitseal.trustedRepository",
            ));
        }
        Some(path) => {
            let text = read_secret(path).map_err(|reason| SignError::Stream {
                what: format!("clientSecretFile {}", path.display()),
                reason,
            })?;
            Some(Zeroizing::new(text.trim().to_owned()))
        }
    };
    Ok(LoginOptions {
        provider: Provider::named(settings.token_provider.value.as_deref().unwrap_or_default())?,
        surroundings: AmbientContext {
            variable: &process_environment,
            file: &read_token,
            now: &system_time,
            http,
            token_file: settings.token_file.value.as_deref(),
        },
        settings,
        client_secret,
        committer: None,
        opener: Opener::new(settings.url_opener.value.as_deref()).map_err(SignError::Opener)?,
    })
}

/// The token in a file, if the file is there.
fn read_token(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    match read_secret(path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A small file with a secret in it.
fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    const MOST: u64 = 64 << 10;
    let mut text = Zeroizing::new(String::new());
    fs::File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Now, by this machine's clock.
#[must_use]
pub fn system_time() -> UnixTime {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}

/// A Rekor v2 answers when its next checkpoint is out.
fn timeouts(version: RekorVersion) -> Timeouts {
    match version {
        RekorVersion::V1 => Timeouts::default(),
        RekorVersion::V2 => Timeouts {
            one_try: Duration::from_secs(60),
            all_tries: Duration::from_secs(120),
            ..Timeouts::default()
        },
    }
}

/// Whether nobody on the way can read what is sent there.
fn is_private(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

/// A signature that is in the log and passes our own verifier.
#[derive(Debug, Clone)]
pub struct CompletedSignature {
    der: Vec<u8>,
    verified: Verified,
    signed_at: UnixTime,
    log_index: Option<u64>,
}

impl CompletedSignature {
    /// The signature as one PEM block `SIGNED MESSAGE`, with its final newline.
    #[must_use]
    pub fn armoured(&self) -> String {
        armor::encode(&self.der)
    }

    /// The signature as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What our verifier found.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// When it was signed, by this machine's clock.
    #[must_use]
    pub fn signed_at(&self) -> UnixTime {
        self.signed_at
    }

    /// The entry's index in the log.
    #[must_use]
    pub fn log_index(&self) -> Option<u64> {
        self.log_index
    }
}

/// Signs: token, key, certificate, signature, timestamp, log entry, and the
/// check of it all.
///
/// # Errors
///
/// At the first thing that does not hold; nothing is handed out then.
pub fn sign(
    order: &SignRequest<'_>,
    services: &Services,
    mut login: LoginOptions<'_>,
    cache: &Setting<CacheMode>,
    trust: &TrustedRoot,
    http: &Client,
) -> Result<CompletedSignature, SignError> {
    if services.rekor_version == RekorVersion::V2 {
        if services.rekor_mode == RekorMode::Online {
            return Err(SignError::Settings(
                "rekorVersion 2 has no search: it needs rekorMode offline",
            ));
        }
        if services.timestamp.is_none() {
            return Err(SignError::Settings(
                "rekorVersion 2 does not date entries: it needs timestampServerURL",
            ));
        }
    }
    let what = read_payload(order.payload)?;
    if services.rekor_mode == RekorMode::Online && (what.kind.is_none() || !order.detached) {
        return Err(SignError::Settings(
            "rekorMode online can record detached signatures of commits and tags only",
        ));
    }
    login.committer = what
        .person
        .as_ref()
        .map(|person| (person.name.clone(), person.email.clone()));
    let source = login.source();
    let wish = CredentialRequest {
        authority: &services.fulcio,
        login: &login,
        source: &source,
        trust,
        http,
        clock: order.clock,
    };
    let make = |credential| signed_by(credential, order, &what, services, &wish);
    let credential = wish.obtain(cache)?;
    let found = credential.found;
    match make(credential) {
        // The daemon went away, or what it kept ran out in these moments.
        Err(error) if error.is_cache_failure(found) => {
            terminal::warn(&format!(
                "signing again without the credential cache: {}",
                error
            ));
            make(wish.create_uncached()?)
        }
        result => result,
    }
}

/// The part that begins with a credential.
fn signed_by(
    credential: SigningCredential,
    order: &SignRequest<'_>,
    what: &What,
    services: &Services,
    wish: &CredentialRequest<'_>,
) -> Result<CompletedSignature, SignError> {
    if wish.login.settings.match_committer.value {
        let kind = what
            .kind
            .ok_or_else(|| SignError::Committer(identity::no_committer()))?;
        identity::check_committer(&credential.identity, kind, what.person.as_ref())
            .map_err(SignError::Committer)?;
    }
    let http = wish.http;
    let stamped = credential
        .sign(order.payload, (order.clock)())?
        .stamp(services.timestamp.as_ref(), http)?;
    let logged = match (services.rekor_mode, what.kind) {
        (RekorMode::Online, Some(kind)) => {
            stamped.log_object(order.payload, kind, services, http)?
        }
        _ => stamped.log(services, http)?,
    };
    logged.finish(order, wish.trust)
}

// ------------------------------------------------------------------ payload

/// What is signed, and who it says did it.
struct What {
    kind: Option<ObjectKind>,
    person: Option<Ident>,
}

/// A commit or tag is read in full, so that one no verifier would accept is
/// refused before anybody logs in; anything else is data.
fn read_payload(payload: &[u8]) -> Result<What, SignError> {
    if payload.is_empty() {
        return Err(SignError::EmptyPayload);
    }
    if payload.len() > MAX_PAYLOAD {
        return Err(SignError::TooLarge);
    }
    let (what, kind) = match payload {
        [b't', b'r', b'e', b'e', b' ', ..] => ("commit", ObjectKind::Commit),
        [b'o', b'b', b'j', b'e', b'c', b't', b' ', ..] => ("tag", ObjectKind::Tag),
        _ => {
            return Ok(What {
                kind: None,
                person: None,
            });
        }
    };
    let unsound = |reason| SignError::Payload { what, reason };
    object::check_payload(payload).map_err(unsound)?;
    let person = match kind {
        ObjectKind::Commit => Some(object::commit_view(payload).map_err(unsound)?.committer),
        ObjectKind::Tag => object::tag_view(payload).map_err(unsound)?.tagger,
    };
    Ok(What {
        kind: Some(kind),
        person,
    })
}

// ---------------------------------------------------------------- signature

/// Signed, and known to nobody yet.
struct Signed {
    credential: SigningCredential,
    attributes: Vec<u8>,
    signature: Vec<u8>,
    signed_at: UnixTime,
}

impl SigningCredential {
    /// Signs the payload (RFC 5652 §5.4: its digest, through the attributes).
    fn sign(self, payload: &[u8], now: UnixTime) -> Result<Signed, SignError> {
        let digest: [u8; 32] = Sha256::digest(payload).into();
        let attributes = signed_data::attributes(&digest, now)?;
        let signature = self.signer.sign(&attributes)?;
        Ok(Signed {
            credential: self,
            attributes,
            signature,
            signed_at: now,
        })
    }
}

/// Signed, and timestamped where that was wanted.
struct Stamped {
    signed: Signed,
    timestamp: Option<Vec<u8>>,
}

impl Signed {
    fn stamp(self, authority: Option<&Url>, http: &Client) -> Result<Stamped, SignError> {
        let timestamp = authority
            .map(|url| TsaClient::new(http, url).timestamp(&self.signature))
            .transpose()?;
        Ok(Stamped {
            signed: self,
            timestamp,
        })
    }
}

/// A signature that a log has an entry for.
struct Logged {
    der: Vec<u8>,
    identity: Identity,
    entry: LogEntry,
    embedded: bool,
    signed_at: UnixTime,
}

impl Stamped {
    /// Has the log record the signature itself, and embeds the entry.
    fn log(self, services: &Services, http: &Client) -> Result<Logged, SignError> {
        let Signed {
            credential,
            attributes,
            signature,
            signed_at,
        } = self.signed;
        let log = RekorClient::new(http, &services.rekor);
        let leaf = &credential.leaf;
        let digest: [u8; 32] = Sha256::digest(&attributes).into();
        let entry = match services.rekor_version {
            RekorVersion::V1 => log.upload_v1(&digest, &signature, leaf.der())?,
            RekorVersion::V2 => {
                let key = leaf.public_key().map_err(|reason| SignError::Key {
                    authority: services.fulcio.to_string(),
                    reason,
                })?;
                log.upload_v2(&digest, &signature, leaf.der(), key)?
            }
        };
        let der = signed_data::encode_signed_data(
            &attributes,
            &signature,
            leaf,
            Some(&entry.to_protobuf(false)),
            self.timestamp.as_deref(),
        )?;
        Ok(Logged {
            der,
            identity: credential.identity,
            entry,
            embedded: true,
            signed_at,
        })
    }

    /// Has the log record the object's id under a second signature, as gitsign's
    /// online mode does: the entry is not embedded, it is found by a search.
    fn log_object(
        self,
        payload: &[u8],
        kind: ObjectKind,
        services: &Services,
        http: &Client,
    ) -> Result<Logged, SignError> {
        let Signed {
            credential,
            attributes,
            signature: over_attributes,
            signed_at,
        } = self.signed;
        let der = signed_data::encode_signed_data(
            &attributes,
            &over_attributes,
            &credential.leaf,
            None,
            self.timestamp.as_deref(),
        )?;
        // SHA-1 in SHA-256 repositories too: that is where verifiers look first.
        let armoured = armor::encode(&der);
        let object = object::attach_signature(kind, HashKind::Sha1, payload, armoured.as_bytes());
        let id = object::id_hex(kind, HashKind::Sha1, &object);
        let entry = RekorClient::new(http, &services.rekor).upload_v1(
            &Sha256::digest(id.as_bytes()).into(),
            &credential.signer.sign(id.as_bytes())?,
            credential.leaf.der(),
        )?;
        Ok(Logged {
            der,
            identity: credential.identity,
            entry,
            embedded: false,
            signed_at,
        })
    }
}

impl Logged {
    /// Has our own verifier judge the signature, as git will hand it back.
    fn finish(
        self,
        order: &SignRequest<'_>,
        trust: &TrustedRoot,
    ) -> Result<CompletedSignature, SignError> {
        let der = if order.detached {
            self.der
        } else {
            signed_data::embed_content(&self.der, order.payload)?
        };
        let armoured = armor::encode(&der);
        let found = if self.embedded {
            &[][..]
        } else {
            std::slice::from_ref(&self.entry)
        };
        let verified = verify::verify(
            &SignatureInput {
                payload: order.detached.then_some(order.payload),
                signature: armoured.as_bytes(),
                hash: HashKind::Sha1,
            },
            &VerifyInputs {
                expected: &ExpectedIdentity::OneOf(vec![IdentityMatcher::exact(&self.identity)]),
                found,
                ..VerifyInputs::new(trust)
            },
            &mut verify::NoopObserver,
        )
        .map_err(SignError::Unverifiable)?;
        Ok(CompletedSignature {
            der,
            verified,
            signed_at: self.signed_at,
            log_index: u64::try_from(self.entry.log_index).ok(),
        })
    }
}

#[cfg(test)]
mod tests;
