//! `git commit -S`, `git tag -s`: from the payload that Git pipes to the signature
//! that it reads back.
//!
//! ```text
//! payload → settings (context.rs) → key and certificate (sign/credential.rs)
//!   → Signed [with a timestamp] → Logged → verified → CompletedSignature
//! ```
//!
//! Each step returns a type that only this file can create, and only a
//! [`CompletedSignature`] is printed: a signature that no log recorded, or that
//! the verifier rejects, cannot reach Git by accident.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::host::{
    git_program,
    gnupg::{self, Status},
    settings::{RekorMode, RekorVersion, Settings},
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
    http::client::Timeouts, rekor::client::RekorClient, signed_data, tsa::client::TsaClient,
};
use gitseal_terminal as terminal;

mod credential;
mod error;
mod login;
mod prompt;

use credential::SigningCredential;
pub use credential::{CredentialRequest, LoginStatus, cache_socket, gitsign_socket_variable};
use error::IssuedCertificateError;
pub use error::SignError;

/// The payload to sign, and its form.
#[derive(Debug, Clone, Copy)]
pub struct SignRequest<'a> {
    /// The bytes that Git pipes.
    pub payload: &'a [u8],
    /// Whether the content stays outside the signature, as Git requests it.
    pub detached: bool,
}

/// Signs for Git, and returns the exit code. On failure nothing is written to
/// standard output.
#[must_use]
pub fn run(request: &gnupg::SignOptions) -> u8 {
    terminal::mirror_errors_to_tty();
    match sign_for_git(request) {
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

fn sign_for_git(request: &gnupg::SignOptions) -> Result<(), SignError> {
    let stream = |what: &str| {
        let what = what.to_owned();
        move |reason| SignError::Stream { what, reason }
    };
    // A missing descriptor is reported before the user logs in.
    let mut status =
        Status::open(request.status).map_err(stream("cannot write the status lines"))?;
    let source = match &request.file {
        None => gnupg::InputSource::Standard,
        Some(path) => gnupg::InputSource::File(path.clone()),
    };
    let payload = gnupg::read_payload(&source).map_err(stream("cannot read the payload"))?;
    let (_, settings) = open_context()?;
    let trust = trusted_root_files::load(None, &settings)?;
    let http = http_client_within(timeouts(settings.rekor_version.value));
    let mut credentials = CredentialRequest::new(&settings, &trust.root, &http)?;
    credentials.login.check_services()?;
    let completed = sign(
        &SignRequest {
            payload: &payload,
            detached: request.detached,
        },
        &mut credentials,
    )?;
    if let Some(index) = completed.log_index {
        terminal::info(&format!("tlog entry created with index: {index}"));
    }
    // Git accepts a signature only after a status line that it could read, so the
    // status goes first: if it cannot be written, there is no signature.
    let bytes = if request.armor {
        completed.armored().into_bytes()
    } else {
        completed.der
    };
    status
        .begin_signing()
        .and_then(|()| {
            status.sig_created(
                request.detached,
                SignatureAlgorithm::EcdsaSha256,
                completed.signed_at,
                &completed.verified.certificate.sha1_hex(),
            )
        })
        .map_err(stream("cannot write the status lines"))?;
    gnupg::write_signature(&bytes, request.output.as_deref())
        .map_err(stream("cannot write the signature"))
}

/// Returns the timeouts for requests. A Rekor v2 log responds when its next
/// checkpoint is published.
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

/// A signature that a log recorded and that the verifier accepts.
#[derive(Debug, Clone)]
pub struct CompletedSignature {
    /// The signature in DER.
    der: Vec<u8>,
    verified: Verified,
    /// The time of signing by the system clock.
    signed_at: UnixTime,
    log_index: Option<u64>,
}

impl CompletedSignature {
    /// Returns the signature as one PEM block `SIGNED MESSAGE`, with its final
    /// newline.
    fn armored(&self) -> String {
        armor::encode(&self.der)
    }
}

/// Signs a payload: key and certificate, signature, timestamp, log entry, and the
/// verification of the result.
///
/// # Errors
///
/// Returns [`SignError`] for the first step that fails; there is no signature then.
pub fn sign(
    request: &SignRequest<'_>,
    credentials: &mut CredentialRequest<'_>,
) -> Result<CompletedSignature, SignError> {
    let settings = credentials.login.settings;
    let payload = read_payload(request.payload)?;
    check_log_settings(settings, request, &payload)?;
    credentials.login.committer = payload
        .committer
        .as_ref()
        .map(|committer| (committer.name.clone(), committer.email.clone()));
    let credentials = &*credentials;
    let credential = credentials.obtain()?;
    let was_cached = credential.was_cached;
    match sign_with(credential, request, &payload, credentials) {
        // The daemon stopped, or the cached certificate expired in the meantime.
        Err(error) if error.is_cache_failure(was_cached) => {
            terminal::warn(&format!(
                "signing again without the credential cache: {error}"
            ));
            sign_with(
                credentials.create_uncached()?,
                request,
                &payload,
                credentials,
            )
        }
        result => result,
    }
}

/// Checks that the log settings match each other and the payload.
fn check_log_settings(
    settings: &Settings,
    request: &SignRequest<'_>,
    payload: &Payload,
) -> Result<(), SignError> {
    let is_online = settings.rekor_mode.value == RekorMode::Online;
    let is_v2 = settings.rekor_version.value == RekorVersion::V2;
    let message = if is_v2 && is_online {
        "rekorVersion 2 has no search: it needs rekorMode offline"
    } else if is_v2 && settings.timestamp_server.value.is_none() {
        "rekorVersion 2 does not date entries: it needs timestampServerURL"
    } else if is_online && (payload.kind.is_none() || !request.detached) {
        "rekorMode online supports only detached signatures of commits and tags"
    } else {
        return Ok(());
    };
    let hint = None;
    Err(SignError::Settings { message, hint })
}

/// Signs with this credential.
fn sign_with(
    credential: SigningCredential,
    request: &SignRequest<'_>,
    payload: &Payload,
    credentials: &CredentialRequest<'_>,
) -> Result<CompletedSignature, SignError> {
    let settings = credentials.login.settings;
    if settings.match_committer.value {
        let kind = payload
            .kind
            .ok_or_else(|| SignError::Committer(identity::no_committer()))?;
        identity::check_committer(&credential.identity, kind, payload.committer.as_ref())
            .map_err(SignError::Committer)?;
    }
    let signed = Signed::new(credential, request.payload, credentials)?;
    let logged = match (settings.rekor_mode.value, payload.kind) {
        (RekorMode::Online, Some(kind)) => signed.log_object(request.payload, kind, credentials)?,
        _ => signed.log(credentials)?,
    };
    logged.verify(request, credentials.trust)
}

// ------------------------------------------------------------------ payload

/// The kind of the object to sign, and the person that it names.
struct Payload {
    /// The kind of Git object; none for other data.
    kind: Option<ObjectKind>,
    /// The committer or tagger.
    committer: Option<Ident>,
}

/// Parses a commit or tag, so that a malformed one is rejected before the user
/// logs in. Anything else is data.
fn read_payload(payload: &[u8]) -> Result<Payload, SignError> {
    if payload.is_empty() {
        return Err(SignError::EmptyPayload);
    }
    if payload.len() > object::MAX_OBJECT {
        return Err(SignError::TooLarge);
    }
    let (what, kind) = match payload {
        [b't', b'r', b'e', b'e', b' ', ..] => ("commit", ObjectKind::Commit),
        [b'o', b'b', b'j', b'e', b'c', b't', b' ', ..] => ("tag", ObjectKind::Tag),
        _ => {
            return Ok(Payload {
                kind: None,
                committer: None,
            });
        }
    };
    let malformed = |reason| SignError::Payload { what, reason };
    object::check_payload(payload).map_err(malformed)?;
    let committer = match kind {
        ObjectKind::Commit => Some(object::commit_view(payload).map_err(malformed)?.committer),
        ObjectKind::Tag => object::tag_view(payload).map_err(malformed)?.tagger,
    };
    Ok(Payload {
        kind: Some(kind),
        committer,
    })
}

// ---------------------------------------------------------------- signature

/// A signature that is in no log yet.
struct Signed {
    credential: SigningCredential,
    attributes: Vec<u8>,
    signature: Vec<u8>,
    timestamp: Option<Vec<u8>>,
    signed_at: UnixTime,
}

impl Signed {
    /// Signs the payload (RFC 5652 §5.4: its digest, through the attributes), and
    /// requests a timestamp if a server is set.
    fn new(
        credential: SigningCredential,
        payload: &[u8],
        credentials: &CredentialRequest<'_>,
    ) -> Result<Self, SignError> {
        let login = &credentials.login;
        let signed_at = login.now();
        let digest: [u8; 32] = Sha256::digest(payload).into();
        let attributes = signed_data::attributes(&digest, signed_at)?;
        let signature = credential.key.sign(&attributes)?;
        let server = login.settings.timestamp_server.value.as_ref();
        let timestamp = server
            .map(|server| {
                TsaClient::new(login.environment.http, server.url()).timestamp(&signature)
            })
            .transpose()?;
        Ok(Self {
            credential,
            attributes,
            signature,
            timestamp,
            signed_at,
        })
    }

    fn encode(&self, entry: Option<&LogEntry>) -> Result<Vec<u8>, SignError> {
        let entry = entry.map(|entry| entry.to_protobuf(false));
        Ok(signed_data::encode_signed_data(
            &self.attributes,
            &self.signature,
            &self.credential.leaf,
            entry.as_deref(),
            self.timestamp.as_deref(),
        )?)
    }

    /// Has the log record the signature, and embeds the log entry.
    fn log(self, credentials: &CredentialRequest<'_>) -> Result<Logged, SignError> {
        let log = rekor(credentials);
        let leaf = &self.credential.leaf;
        let digest: [u8; 32] = Sha256::digest(&self.attributes).into();
        let entry = match credentials.login.settings.rekor_version.value {
            RekorVersion::V1 => log.upload_v1(&digest, &self.signature, leaf.der())?,
            RekorVersion::V2 => {
                let key = leaf.public_key().map_err(|reason| {
                    credentials.certificate_error(IssuedCertificateError::Key(reason))
                })?;
                log.upload_v2(&digest, &self.signature, leaf.der(), key)?
            }
        };
        Ok(Logged {
            der: self.encode(Some(&entry))?,
            identity: self.credential.identity,
            entry,
            is_embedded: true,
            signed_at: self.signed_at,
        })
    }

    /// Has the log record the object's ID under a second signature, as gitsign's
    /// online mode does. The log entry is not embedded; verifiers search for it.
    fn log_object(
        self,
        payload: &[u8],
        kind: ObjectKind,
        credentials: &CredentialRequest<'_>,
    ) -> Result<Logged, SignError> {
        let der = self.encode(None)?;
        // SHA-1 in SHA-256 repositories too: verifiers look there first.
        let armored = armor::encode(&der);
        let object = object::attach_signature(kind, HashKind::Sha1, payload, armored.as_bytes());
        let id = object::id_hex(kind, HashKind::Sha1, &object);
        let entry = rekor(credentials).upload_v1(
            &Sha256::digest(id.as_bytes()).into(),
            &self.credential.key.sign(id.as_bytes())?,
            self.credential.leaf.der(),
        )?;
        Ok(Logged {
            der,
            identity: self.credential.identity,
            entry,
            is_embedded: false,
            signed_at: self.signed_at,
        })
    }
}

fn rekor<'a>(credentials: &CredentialRequest<'a>) -> RekorClient<'a> {
    let login = &credentials.login;
    RekorClient::new(login.environment.http, login.settings.rekor.value.url())
}

/// A signature that has a log entry.
struct Logged {
    der: Vec<u8>,
    identity: Identity,
    entry: LogEntry,
    is_embedded: bool,
    signed_at: UnixTime,
}

impl Logged {
    /// Verifies the signature in the form in which Git will pass it back.
    fn verify(
        self,
        request: &SignRequest<'_>,
        trust: &TrustedRoot,
    ) -> Result<CompletedSignature, SignError> {
        let der = if request.detached {
            self.der
        } else {
            signed_data::embed_content(&self.der, request.payload)?
        };
        let found = if self.is_embedded {
            &[][..]
        } else {
            std::slice::from_ref(&self.entry)
        };
        let verified = verify::verify(
            &SignatureInput {
                payload: request.detached.then_some(request.payload),
                signature: armor::encode(&der).as_bytes(),
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
