//! The one verification, in nine numbered steps. Each step hands on a value
//! that the next one needs, so none can be left out:
//!
//! ```text
//! 1 read → Read → 2 content → Bound → 3 signature → Signed → 4 entry → Described
//!   → 5 inclusion → Logged → 6 time → Timed → 7 chain → Chained → 8 SCT → Attested
//!   → 9 identity → Verified
//! ```
//!
//! What is compared in each step, and what a good verdict does not prove, is in
//! `docs/verification.md` under the same numbers.
//!
//! *Not checked here:* whether the object is the one that a name means
//! (`host/git.rs` resolves it once), what a branch or a path allows (`policy/`),
//! and whether the log shows everybody the same tree.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::{
    UnixTime, armor,
    certificate::{Certificate, CertificateRefusal, Identity},
    chain::{self, ChainRefusal},
    checkpoint::{self, Checkpoint, CheckpointRefusal, LogVerifier, RekorVersion},
    entry::{self, EntryRefusal, LogEntry},
    identity::{self, ExpectedIdentity, IdentityRefusal},
    keys::KeyRefusal,
    memo::Memo,
    merkle::{self, MerkleRefusal},
    object::{self, HashKind, ObjectKind, ObjectRefusal},
    refusal::{Step, hex, reasons, unhex},
    sct::{self, SctRefusal},
    signed_data::{self, CmsRefusal, Digest, SignedMessage},
    timestamp::{self, TimestampRefusal},
    trusted_root::{TransparencyLog, TrustedRoot},
};

/// How far the signing time that the signer wrote may lie outside the
/// certificate's validity, in seconds. The signer's clock is not trusted, but
/// one that is this far off is a sign of trouble.
pub const SIGNING_TIME_TOLERANCE: i64 = 300;
/// The most timestamps of one signature.
pub const MAX_TIMESTAMPS: usize = 8;
/// The most candidates among entries that were looked up in a log.
pub const MAX_FOUND_ENTRIES: usize = 64;

/// What is to be verified: bytes only.
#[derive(Debug, Clone, Copy)]
pub struct SignatureInput<'a> {
    /// What git signed: the object without its signature. `None` for a CMS that
    /// carries its own content.
    pub payload: Option<&'a [u8]>,
    /// The signature: one armoured block, or DER.
    pub signature: &'a [u8],
    /// The hash of the repository, which object ids in online entries need.
    pub hash: HashKind,
}

/// What the subject is held against.
#[derive(Debug, Clone, Copy)]
pub struct VerifyInputs<'a> {
    /// Who is believed.
    pub trust: &'a TrustedRoot,
    /// Who is asked for.
    pub wanted: &'a ExpectedIdentity,
    /// Entries that a log's search answered for this certificate; believed no
    /// more than an embedded one.
    pub found: &'a [LogEntry],
}

reasons! {
    /// Reasons that no single part of the evidence can give.
    pub enum CrossCheckRefusal {
        /// Neither a payload nor content inside the CMS.
        #[code = "no-content"]
        #[error("nothing was signed: no payload was given and the CMS carries no content")]
        NoContent,
        /// A detached signature that carries content nevertheless.
        #[code = "content-in-detached"]
        #[error("the CMS carries {bytes} bytes of content beside the payload that it is to sign")]
        ContentInDetached {
            /// Bytes of eContent.
            bytes: usize,
        },
        /// A NUL ends what git shows, but not what was signed.
        #[code = "payload-nul"]
        #[error("the signed message holds a NUL at byte {at}: git shows only what stands before it")]
        Nul {
            /// Offset in the payload.
            at: usize,
        },
        /// The content was changed after it was signed.
        #[code = "digest-mismatch"]
        #[error("the content's digest is {content}, the signature is over {signed}")]
        Digest {
            /// Hex.
            content: String,
            /// Hex.
            signed: String,
        },
        /// Nothing to show that a log has recorded the signature.
        #[code = "no-log-entry"]
        #[error("no embedded log entry")]
        NoEntry,
        /// The search answered, but with nothing that belongs to this object.
        #[code = "log-entry-not-found"]
        #[error("none of the {candidates} entries that the log has for this certificate is for this object")]
        NotFound {
            /// Entries looked at.
            candidates: usize,
        },
        /// Another kind of entry.
        #[code = "entry-kind"]
        #[error("the log entry is of kind {found:?}, not hashedrekord")]
        EntryKind {
            /// The kind found.
            found: String,
        },
        /// The entry came with a body, which says something else.
        #[code = "entry-body-mismatch"]
        #[error("the log entry is about another digest, signature or certificate")]
        EntryBody,
        /// A log that nobody here believes.
        #[code = "log-unknown"]
        #[error("the entry is from log {log_id}, which the trusted root does not name")]
        UnknownLog {
            /// Hex.
            log_id: String,
        },
        /// A promise alone is none.
        #[code = "no-inclusion-proof"]
        #[error("the log entry has no inclusion proof")]
        NoProof,
        /// The proof says one size, the log signed another.
        #[code = "checkpoint-size-mismatch"]
        #[error("the inclusion proof is for {proof} entries, the checkpoint for {checkpoint}")]
        CheckpointSize {
            /// Size in the proof.
            proof: u64,
            /// Size that the log signed.
            checkpoint: u64,
        },
        /// A proof hash that is no SHA-256.
        #[code = "proof-hash-length"]
        #[error("the inclusion proof holds a hash that is not 32 bytes long")]
        HashLength,
        /// The proof says one root, the log signed another.
        #[code = "checkpoint-root-mismatch"]
        #[error("the inclusion proof leads to root {proof}, the checkpoint has {checkpoint}")]
        CheckpointRoot {
            /// Hex.
            proof: String,
            /// Hex.
            checkpoint: String,
        },
        /// An index no tree can have.
        #[code = "log-index"]
        #[error("the log index {index} is not one of a tree of {size}")]
        Index {
            /// As found.
            index: i64,
            /// As found.
            size: i64,
        },
        /// Rekor v2 has one index; two differ.
        #[code = "log-index-mismatch"]
        #[error("the entry says index {entry}, its proof {proof}")]
        IndexMismatch {
            /// In the entry.
            entry: i64,
            /// In the proof.
            proof: i64,
        },
        /// Signed entry timestamps are Rekor v1's.
        #[code = "set-in-v2"]
        #[error("a Rekor v2 entry carries a signed entry timestamp")]
        SetInV2,
        /// Something is dated and nothing vouches for the date.
        #[code = "no-trusted-time"]
        #[error("no trusted time: the log did not sign one and there is no timestamp")]
        NoTime,
        /// More timestamps than are read.
        #[code = "too-many-timestamps"]
        #[error("{found} timestamps, more than {MAX_TIMESTAMPS}")]
        TooManyTimestamps {
            /// As found.
            found: usize,
        },
        /// The log's key was not in use then.
        #[code = "log-key-window"]
        #[error("the entry is of {at}, outside the time in which the log's key is trusted")]
        LogWindow {
            /// Unix seconds.
            at: UnixTime,
        },
        /// Signed outside the certificate's minutes.
        #[code = "time-outside-certificate"]
        #[error("signed at {at}, the certificate is valid from {not_before} to {not_after}")]
        TimeOutsideCertificate {
            /// Unix seconds, from the log or the timestamp.
            at: UnixTime,
            /// Unix seconds.
            not_before: UnixTime,
            /// Unix seconds.
            not_after: UnixTime,
        },
        /// The signer's own clock disagrees by more than [`SIGNING_TIME_TOLERANCE`].
        #[code = "signing-time"]
        #[error("the signer's clock said {signing_time}, the certificate is valid from {not_before} to {not_after}")]
        SigningTime {
            /// Unix seconds, from the signed attributes.
            signing_time: UnixTime,
            /// Unix seconds.
            not_before: UnixTime,
            /// Unix seconds.
            not_after: UnixTime,
        },
    }
}

/// One reason, out of the part of the evidence that gave it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub enum Reason {
    /// The Git object's framing.
    Object(#[from] ObjectRefusal),
    /// The armour.
    Armor(#[from] armor::ArmorRefusal),
    /// The CMS.
    Cms(#[from] CmsRefusal),
    /// A certificate.
    Certificate(#[from] CertificateRefusal),
    /// A key or a signature made with it.
    Key(#[from] KeyRefusal),
    /// The log entry.
    Entry(#[from] EntryRefusal),
    /// The Merkle proof.
    Merkle(#[from] MerkleRefusal),
    /// The checkpoint.
    Note(#[from] CheckpointRefusal),
    /// The timestamp.
    Timestamp(#[from] TimestampRefusal),
    /// The chain.
    Chain(#[from] ChainRefusal),
    /// The SCT.
    Sct(#[from] SctRefusal),
    /// The identity.
    Identity(#[from] IdentityRefusal),
    /// Two parts that do not fit together.
    CrossCheck(#[from] CrossCheckRefusal),
}

/// Why a signature is not good: the step and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct Refusal {
    /// The step that said no.
    pub step: Step,
    /// Why.
    pub reason: Reason,
}

impl Refusal {
    /// The stable name of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &self.reason {
            Reason::Object(reason) => reason.code(),
            Reason::Armor(reason) => reason.code(),
            Reason::Cms(CmsRefusal::Certificate { why })
            | Reason::Chain(ChainRefusal::LeafIdentity { why }) => why.code(),
            Reason::Cms(reason) => reason.code(),
            Reason::Certificate(reason) => reason.code(),
            Reason::Key(reason) => reason.code(),
            Reason::Entry(reason) => reason.code(),
            Reason::Merkle(reason) => reason.code(),
            Reason::Note(reason) => reason.code(),
            Reason::Timestamp(reason) => reason.code(),
            Reason::Chain(reason) => reason.code(),
            Reason::Sct(reason) => reason.code(),
            Reason::Identity(reason) => reason.code(),
            Reason::CrossCheck(reason) => reason.code(),
        }
    }

    /// Whether more evidence could still make the signature good: there was no
    /// log entry to judge. Everything else is a refusal.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(
            self.reason,
            Reason::CrossCheck(CrossCheckRefusal::NoEntry | CrossCheckRefusal::NotFound { .. })
        )
    }
}

/// Attaches the step to a reason.
trait At<T> {
    fn at(self, step: Step) -> Result<T, Refusal>;
}

impl<T, R: Into<Reason>> At<T> for Result<T, R> {
    fn at(self, step: Step) -> Result<T, Refusal> {
        self.map_err(|reason| Refusal {
            step,
            reason: reason.into(),
        })
    }
}

fn refuse<T>(step: Step, reason: impl Into<Reason>) -> Result<T, Refusal> {
    Err(Refusal {
        step,
        reason: reason.into(),
    })
}

/// Where the time of a signature comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// Rekor v1's integrated time, signed by the log (SET).
    IntegratedTime,
    /// An RFC 3161 timestamp.
    Timestamp,
}

impl TimeSource {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::IntegratedTime => "integrated time signed by the log",
            Self::Timestamp => "RFC 3161 timestamp",
        }
    }
}

/// A good signature, and what is known of it.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Who signed, and who vouches for that.
    pub identity: Identity,
    /// Whether the caller had asked for this identity; `false`: nobody asked.
    pub named: bool,
    /// When, from the log or a timestamp authority.
    pub time: UnixTime,
    /// Who says so.
    pub time_source: TimeSource,
    /// The log's global index, where the log's signature covers it.
    pub log_index: Option<u64>,
    /// The origin line of the checkpoint.
    pub log_origin: String,
    /// The id of the key of the log that signed the checkpoint.
    pub log_id: Vec<u8>,
    /// What the log said its tree was.
    pub checkpoint: Checkpoint,
    /// The leaf certificate.
    pub certificate: Certificate,
    /// The kind of object, where the payload is one.
    pub kind: Option<ObjectKind>,
}

/// Hears of each step as it passes. Details are only put together for one that
/// listens.
pub trait StepObserver {
    /// The step passed; `detail` says what was compared.
    fn passed(&mut self, step: Step, detail: &dyn Fn() -> String);
}

/// Listens to nothing.
pub struct NoopObserver;

impl StepObserver for NoopObserver {
    fn passed(&mut self, _: Step, _: &dyn Fn() -> String) {}
}

/// Verifies: all nine steps, in order.
///
/// # Errors
/// The first step that does not hold, with its reason.
pub fn verify(
    subject: &SignatureInput<'_>,
    against: &VerifyInputs<'_>,
    observer: &mut dyn StepObserver,
) -> Result<Verified, Refusal> {
    verify_memoized(subject, against, Memo::disabled(), observer)
}

/// As [`verify`], for one of many signatures: signatures over certificates, SCTs
/// and checkpoints, which many commits share, are computed once (`memo.rs` says
/// what exactly is remembered). The verdict is the same.
///
/// # Errors
/// As [`verify`].
pub fn verify_memoized(
    subject: &SignatureInput<'_>,
    against: &VerifyInputs<'_>,
    memo: &Memo,
    observer: &mut dyn StepObserver,
) -> Result<Verified, Refusal> {
    let signed = read(subject, observer)?
        .with_memo(memo)
        .match_digest(observer)?
        .verify_signature(observer)?;
    let attested = signed
        .match_entry(against.trust, against.found, observer)?
        .verify_inclusion(observer)?
        .verify_time(against.trust, observer)?
        .verify_chain(against.trust, observer)?
        .verify_sct(against.trust, observer)?;
    attested.match_identity(against.wanted, observer)
}

/// After step 1: read, nothing believed.
pub struct Read<'a> {
    message: SignedMessage,
    payload: Option<&'a [u8]>,
    kind: Option<ObjectKind>,
    hash: HashKind,
    armoured: &'a [u8],
    memo: &'a Memo,
}

/// Step 1: the armour is one strict block, the CMS is DER with one signer and
/// within limits, and the payload is a well-formed commit or tag, or not a Git
/// object at all.
///
/// # Errors
/// Anything that cannot be read, or could be read in two ways.
pub fn read<'a>(
    subject: &SignatureInput<'a>,
    observer: &mut dyn StepObserver,
) -> Result<Read<'a>, Refusal> {
    const STEP: Step = Step::Read;
    let der = if subject.signature.first() == Some(&0x30) {
        subject.signature.to_vec()
    } else {
        armor::decode(subject.signature).at(STEP)?
    };
    let message = signed_data::read(&der).at(STEP)?;
    let kind = match (subject.payload, &message.content) {
        (None, None) => return refuse(STEP, CrossCheckRefusal::NoContent),
        (Some(_), Some(content)) => {
            return refuse(
                STEP,
                CrossCheckRefusal::ContentInDetached {
                    bytes: content.len(),
                },
            );
        }
        (None, Some(_)) => None,
        (Some(payload), None) => payload_kind(payload).at(STEP)?,
    };
    observer.passed(STEP, &|| {
        let what = kind.map_or("data".to_owned(), |kind| kind.to_string());
        format!(
            "a signed {what}; CMS of {} bytes, one signer, {}",
            der.len(),
            message.digest.name()
        )
    });
    Ok(Read {
        message,
        payload: subject.payload,
        kind,
        hash: subject.hash,
        armoured: subject.signature,
        memo: Memo::disabled(),
    })
}

/// A payload that begins like a commit or a tag must be one in full; anything
/// else (a push certificate, a file) is data.
fn payload_kind(payload: &[u8]) -> Result<Option<ObjectKind>, Reason> {
    if payload.starts_with(b"tree ") || payload.starts_with(b"object ") {
        Ok(Some(object::check_payload(payload)?))
    } else {
        Ok(None)
    }
}

/// After step 2: the signed attributes are about this content.
pub struct DigestMatched<'a> {
    read: Read<'a>,
}

impl<'a> Read<'a> {
    /// Step 2: the digest of the content is the one in the signed attributes
    /// (RFC 5652 §5.4, §11.2; the content type was compared when it was read).
    ///
    /// # Errors
    /// The digests differ: the content was changed.
    pub fn match_digest(
        self,
        observer: &mut dyn StepObserver,
    ) -> Result<DigestMatched<'a>, Refusal> {
        let content = self
            .payload
            .or(self.message.content.as_deref())
            .unwrap_or_default();
        let digest = self.message.digest.of(content);
        if digest != self.message.message_digest {
            return refuse(
                Step::Content,
                CrossCheckRefusal::Digest {
                    content: hex(&digest),
                    signed: hex(&self.message.message_digest),
                },
            );
        }
        observer.passed(Step::Content, &|| {
            format!(
                "{} of {} bytes is {}",
                self.message.digest.name(),
                content.len(),
                hex(&digest)
            )
        });
        Ok(DigestMatched { read: self })
    }

    /// The steps to come remember in `memo` which signatures verified.
    #[must_use]
    pub fn with_memo(self, memo: &'a Memo) -> Self {
        Self { memo, ..self }
    }

    /// What the CMS holds. Nothing of it is believed yet.
    #[must_use]
    pub fn message(&self) -> &SignedMessage {
        &self.message
    }
}

/// After step 3: whoever holds the leaf's key signed this content.
pub struct SignatureVerified<'a> {
    read: Read<'a>,
}

impl<'a> DigestMatched<'a> {
    /// Step 3: the leaf's key made the signature over the DER of the signed
    /// attributes (RFC 5652 §5.4).
    ///
    /// # Errors
    /// The key is unusable or the signature is not its.
    pub fn verify_signature(
        self,
        observer: &mut dyn StepObserver,
    ) -> Result<SignatureVerified<'a>, Refusal> {
        let message = &self.read.message;
        message
            .leaf
            .public_key()
            .at(Step::Signature)?
            .verify(
                message.signature_algorithm,
                &message.attributes,
                &message.signature,
            )
            .at(Step::Signature)?;
        observer.passed(Step::Signature, &|| {
            format!(
                "{} by the key of certificate {}",
                message.signature_algorithm,
                message.leaf.sha1_hex()
            )
        });
        Ok(SignatureVerified { read: self.read })
    }
}

/// What the log was given: the digest and the signature over it.
struct Recorded {
    algorithm: Digest,
    digest: Vec<u8>,
    signature: Vec<u8>,
    what: &'static str,
}

/// After step 4: an entry that would be about this signature, if a log holds it.
pub struct EntryMatched<'a, 't> {
    read: Read<'a>,
    entry: LogEntry,
    log: &'t TransparencyLog,
    version: RekorVersion,
    body: Vec<u8>,
}

impl<'a> SignatureVerified<'a> {
    /// The leaf certificate, whose key made the signature. Its chain is not
    /// checked yet.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.read.message.leaf
    }

    /// Whether the signature carries its log entry.
    #[must_use]
    pub fn has_entry(&self) -> bool {
        self.read.message.log_entry.is_some()
    }

    /// Step 4: the log entry is a hashedrekord of *this* digest, signature and
    /// certificate. The body is built anew from them; what the entry brought
    /// along may only be equal to it.
    ///
    /// # Errors
    /// No entry, another kind, a body about something else, an unknown log.
    pub fn match_entry<'t>(
        self,
        trust: &'t TrustedRoot,
        found: &[LogEntry],
        observer: &mut dyn StepObserver,
    ) -> Result<EntryMatched<'a, 't>, Refusal> {
        const STEP: Step = Step::Entry;
        let message = &self.read.message;
        let (entry, recorded) = match &message.log_entry {
            Some(bytes) => (
                LogEntry::from_protobuf(bytes).at(STEP)?,
                self.read.attributes_recorded(),
            ),
            None if found.is_empty() => {
                // No entry of any log could help a certificate that is not one
                // of Sigstore's: that is a refusal, not a lack of evidence.
                chain::check_sigstore_leaf(&message.leaf).at(Step::Chain)?;
                return refuse(STEP, CrossCheckRefusal::NoEntry);
            }
            None => self.read.choose(found).at(STEP)?,
        };
        if entry.kind != "hashedrekord" {
            return refuse(STEP, CrossCheckRefusal::EntryKind { found: entry.kind });
        }
        let Some(log) = trust.log(&entry.log_id, entry.integrated_time) else {
            return refuse(
                STEP,
                CrossCheckRefusal::UnknownLog {
                    log_id: hex(&entry.log_id),
                },
            );
        };
        let version = log_kind(&entry);
        let body = match version {
            RekorVersion::V1 => entry::hashedrekord_v1_body(
                recorded.algorithm.name(),
                &recorded.digest,
                &recorded.signature,
                &message.leaf.to_pem(),
            ),
            RekorVersion::V2 => entry::hashedrekord_v2(
                &recorded.digest,
                &recorded.signature,
                message.leaf.der(),
                message.leaf.public_key().at(STEP)?,
            )
            .at(STEP)?,
        };
        if entry.body.as_ref().is_some_and(|brought| *brought != body) {
            return refuse(STEP, CrossCheckRefusal::EntryBody);
        }
        observer.passed(STEP, &|| {
            format!(
                "hashedrekord {} rebuilt from {} ({} {}), the signature and the certificate",
                match version {
                    RekorVersion::V1 => "0.0.1",
                    RekorVersion::V2 => "0.0.2",
                },
                recorded.what,
                recorded.algorithm.name(),
                hex(&recorded.digest)
            )
        });
        Ok(EntryMatched {
            read: self.read,
            entry,
            log,
            version,
            body,
        })
    }
}

/// Which generation of Rekor an entry is from: its checkpoint's origin tells.
/// Without a checkpoint it does not matter, there is no proof.
fn log_kind(entry: &LogEntry) -> RekorVersion {
    let origin = entry
        .proof
        .as_ref()
        .and_then(|proof| proof.checkpoint.lines().next())
        .unwrap_or_default();
    RekorVersion::of_origin(origin)
}

/// By what the checkpoints of a trusted log are known.
#[must_use]
pub fn log_verifier(log: &TransparencyLog, kind: RekorVersion) -> LogVerifier<'_> {
    LogVerifier {
        key: &log.key,
        key_hint: log.log_id.first_chunk().copied().unwrap_or_default(),
        kind,
        origin: match kind {
            RekorVersion::V1 => None,
            // A trusted log without an address has no origin that could be its own.
            RekorVersion::V2 => {
                Some(super::trusted_root::host_of(&log.base_url).unwrap_or_default())
            }
        },
    }
}

/// The checkpoint that a signature carries, if a trusted log signed it, and that
/// log's id. Whether the signature itself is good does not matter: what a log
/// signed stays said.
#[must_use]
pub fn embedded_checkpoint(
    subject: &SignatureInput<'_>,
    trust: &TrustedRoot,
    memo: &Memo,
) -> Option<(Vec<u8>, Checkpoint)> {
    let read = read(subject, &mut NoopObserver).ok()?;
    let entry = LogEntry::from_protobuf(read.message.log_entry.as_ref()?).ok()?;
    let log = trust.log(&entry.log_id, entry.integrated_time)?;
    let verifier = log_verifier(log, log_kind(&entry));
    let proof = entry.proof.as_ref()?;
    let checkpoint = checkpoint::open_memoized(&proof.checkpoint, &verifier, memo).ok()?;
    Some((entry.log_id, checkpoint))
}

/// Digest and signature of a logged hashedrekord 0.0.1, to find out whether it
/// may be about this object. What is found is then rebuilt, not believed.
struct HashedRekord {
    digest: Vec<u8>,
    signature: Vec<u8>,
}

impl HashedRekord {
    fn read(body: &[u8]) -> Option<Self> {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let digest = body.pointer("/spec/data/hash/value")?.as_str()?;
        let signature = body.pointer("/spec/signature/content")?.as_str()?;
        Some(Self {
            digest: unhex(digest)?,
            signature: BASE64_STANDARD.decode(signature).ok()?,
        })
    }
}

impl Read<'_> {
    /// What the log was given if the proof is embedded: the digest of the
    /// signed attributes, and the CMS signature itself.
    fn attributes_recorded(&self) -> Recorded {
        Recorded {
            algorithm: self.message.digest,
            digest: self.message.digest.of(&self.message.attributes),
            signature: self.message.signature.clone(),
            what: "the signed attributes",
        }
    }

    /// Among entries that a search answered, the one about this object: either
    /// the digest of the signed attributes under the CMS signature, or an object
    /// id of this object under a second signature by the same key (gitsign's
    /// online form).
    fn choose(&self, found: &[LogEntry]) -> Result<(LogEntry, Recorded), Reason> {
        let not_found = || CrossCheckRefusal::NotFound {
            candidates: found.len(),
        };
        let message = &self.message;
        let attributes = self.attributes_recorded();
        let ids = match (self.kind, self.payload) {
            (Some(kind), Some(payload)) => {
                object::gitsign_online_ids(kind, self.hash, payload, self.armoured)
            }
            _ => Vec::new(),
        };
        let key = message.leaf.public_key()?;
        for candidate in found.iter().take(MAX_FOUND_ENTRIES) {
            let Some(body) = candidate.body.as_deref().and_then(HashedRekord::read) else {
                continue;
            };
            if body.digest == attributes.digest && body.signature == attributes.signature {
                return Ok((candidate.clone(), attributes));
            }
            let named = ids
                .iter()
                .find(|id| Sha256::digest(id.as_bytes()).as_slice() == body.digest.as_slice());
            if let Some(id) = named
                && key
                    .verify(key.default_algorithm(), id.as_bytes(), &body.signature)
                    .is_ok()
            {
                let recorded = Recorded {
                    algorithm: Digest::Sha256,
                    digest: body.digest,
                    signature: body.signature,
                    what: "the object id",
                };
                return Ok((candidate.clone(), recorded));
            }
        }
        Err(not_found().into())
    }
}

/// After step 5: a trusted log holds the entry.
pub struct InclusionVerified<'a, 't> {
    described: EntryMatched<'a, 't>,
    checkpoint: Checkpoint,
    /// The integrated time and global index, where the log signed them.
    promised: Option<(UnixTime, u64)>,
}

impl<'a, 't> EntryMatched<'a, 't> {
    /// Step 5: the rebuilt body is in the tree of a checkpoint that the log's
    /// key signed (RFC 9162 §2.1.3.2, C2SP tlog-checkpoint), and the signed
    /// entry timestamp, where there is one, is the log's (Rekor v1).
    ///
    /// # Errors
    /// No proof, a proof of something else, a checkpoint of somebody else.
    pub fn verify_inclusion(
        self,
        observer: &mut dyn StepObserver,
    ) -> Result<InclusionVerified<'a, 't>, Refusal> {
        const STEP: Step = Step::Inclusion;
        let Some(proof) = &self.entry.proof else {
            return refuse(STEP, CrossCheckRefusal::NoProof);
        };
        let bad_index = || CrossCheckRefusal::Index {
            index: proof.log_index,
            size: proof.tree_size,
        };
        let index = u64::try_from(proof.log_index)
            .map_err(|_| bad_index())
            .at(STEP)?;
        let size = u64::try_from(proof.tree_size)
            .map_err(|_| bad_index())
            .at(STEP)?;
        if index >= size {
            return refuse(STEP, bad_index());
        }
        let log = log_verifier(self.log, self.version);
        let checkpoint =
            checkpoint::open_memoized(&proof.checkpoint, &log, self.read.memo).at(STEP)?;
        if checkpoint.size != size {
            return refuse(
                STEP,
                CrossCheckRefusal::CheckpointSize {
                    proof: size,
                    checkpoint: checkpoint.size,
                },
            );
        }
        if proof.root_hash != checkpoint.root {
            return refuse(
                STEP,
                CrossCheckRefusal::CheckpointRoot {
                    proof: hex(&proof.root_hash),
                    checkpoint: hex(&checkpoint.root),
                },
            );
        }
        let leaf = merkle::leaf_hash(&self.body);
        let hashes: Vec<merkle::Hash> = proof
            .hashes
            .iter()
            .filter_map(|hash| hash.as_slice().try_into().ok())
            .collect();
        if hashes.len() != proof.hashes.len() {
            return refuse(STEP, CrossCheckRefusal::HashLength);
        }
        merkle::verify_inclusion(index, size, &leaf, &hashes, &checkpoint.root).at(STEP)?;
        let promised = self.promise()?;
        observer.passed(STEP, &|| {
            format!(
                "entry {index} of {size} under the checkpoint of {:?}{}",
                checkpoint.origin,
                match promised {
                    Some(_) => ", signed entry timestamp by the same key",
                    None => "",
                }
            )
        });
        Ok(InclusionVerified {
            checkpoint,
            described: self,
            promised,
        })
    }

    /// The SET of a Rekor v1 entry: it covers the integrated time and the
    /// global index, which nothing else does. Rekor v2 has one index, which the
    /// proof covers, and no time.
    fn promise(&self) -> Result<Option<(UnixTime, u64)>, Refusal> {
        const STEP: Step = Step::Inclusion;
        let entry = &self.entry;
        match (self.version, &entry.set) {
            (RekorVersion::V2, Some(_)) => refuse(STEP, CrossCheckRefusal::SetInV2),
            (RekorVersion::V2, None) => {
                let proof = entry.proof.as_ref().map_or(-1, |proof| proof.log_index);
                if entry.log_index == proof {
                    Ok(None)
                } else {
                    refuse(
                        STEP,
                        CrossCheckRefusal::IndexMismatch {
                            entry: entry.log_index,
                            proof,
                        },
                    )
                }
            }
            (RekorVersion::V1, None) => Ok(None),
            (RekorVersion::V1, Some(set)) => {
                let signed = entry::set_payload(
                    &BASE64_STANDARD.encode(&self.body),
                    entry.integrated_time,
                    &hex(&entry.log_id),
                    entry.log_index,
                );
                let key = &self.log.key;
                key.verify(key.default_algorithm(), &signed, set).at(STEP)?;
                let index = u64::try_from(entry.log_index).map_err(|_| CrossCheckRefusal::Index {
                    index: entry.log_index,
                    size: entry.proof.as_ref().map_or(0, |proof| proof.tree_size),
                });
                Ok(Some((entry.integrated_time, index.at(STEP)?)))
            }
        }
    }
}

/// After step 6: signed at a time that somebody trusted vouches for.
pub struct TimeVerified<'a, 't> {
    logged: InclusionVerified<'a, 't>,
    time: UnixTime,
    source: TimeSource,
    /// Every time that is vouched for; the chain must hold at each.
    times: Vec<UnixTime>,
}

impl<'a, 't> InclusionVerified<'a, 't> {
    /// Step 6: the integrated time where a SET covers it, and every RFC 3161
    /// timestamp that is there (over the signature's bytes). Each must lie in
    /// the certificate's validity and in the time the log's key is trusted for.
    ///
    /// # Errors
    /// No time source, a timestamp that does not verify, a time outside.
    pub fn verify_time(
        self,
        trust: &TrustedRoot,
        observer: &mut dyn StepObserver,
    ) -> Result<TimeVerified<'a, 't>, Refusal> {
        const STEP: Step = Step::Time;
        let message = &self.described.read.message;
        let leaf = &message.leaf;
        if message.timestamps.len() > MAX_TIMESTAMPS {
            return refuse(
                STEP,
                CrossCheckRefusal::TooManyTimestamps {
                    found: message.timestamps.len(),
                },
            );
        }
        let mut times = Vec::new();
        for token in &message.timestamps {
            let verified =
                timestamp::verify(token, &message.signature, &trust.timestamp_authorities)
                    .at(STEP)?;
            times.push(verified.time);
        }
        let (time, source) = match (times.first(), self.promised) {
            (Some(time), _) => (*time, TimeSource::Timestamp),
            (None, Some((time, _))) => (time, TimeSource::IntegratedTime),
            (None, None) => return refuse(STEP, CrossCheckRefusal::NoTime),
        };
        times.extend(self.promised.map(|(time, _)| time));
        let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
        for &at in &times {
            if !self.described.log.window.contains(at) {
                return refuse(STEP, CrossCheckRefusal::LogWindow { at });
            }
            if at < not_before || at > not_after {
                return refuse(
                    STEP,
                    CrossCheckRefusal::TimeOutsideCertificate {
                        at,
                        not_before,
                        not_after,
                    },
                );
            }
        }
        let signing_time = message.signing_time;
        if signing_time < not_before.saturating_sub(SIGNING_TIME_TOLERANCE)
            || signing_time > not_after.saturating_add(SIGNING_TIME_TOLERANCE)
        {
            return refuse(
                STEP,
                CrossCheckRefusal::SigningTime {
                    signing_time,
                    not_before,
                    not_after,
                },
            );
        }
        observer.passed(STEP, &|| {
            format!(
                "{} ({}), inside the certificate's validity",
                rfc3339(time),
                source.words()
            )
        });
        Ok(TimeVerified {
            logged: self,
            time,
            source,
            times,
        })
    }
}

/// After step 7: the certificate is a trusted authority's, for code signing.
pub struct ChainVerified<'a, 't> {
    timed: TimeVerified<'a, 't>,
    issuer: &'t Certificate,
}

impl<'a, 't> TimeVerified<'a, 't> {
    /// Step 7: the leaf chains to a trusted authority, every link valid at
    /// every vouched-for time, for code signing; the CMS brings no certificate
    /// that is not of that chain.
    ///
    /// # Errors
    /// The most telling refusal of the authorities that were tried.
    pub fn verify_chain(
        self,
        trust: &'t TrustedRoot,
        observer: &mut dyn StepObserver,
    ) -> Result<ChainVerified<'a, 't>, Refusal> {
        let message = &self.logged.described.read.message;
        let memo = self.logged.described.read.memo;
        let issuer = chain_at(message, &self.times, trust, memo).at(Step::Chain)?;
        observer.passed(Step::Chain, &|| {
            format!(
                "issued by {}, valid at {}",
                issuer.subject_text(),
                rfc3339(self.time)
            )
        });
        Ok(ChainVerified {
            timed: self,
            issuer,
        })
    }
}

/// The chain at each of some times, and the rule on the other certificates.
fn chain_at<'t>(
    message: &SignedMessage,
    times: &[UnixTime],
    trust: &'t TrustedRoot,
    memo: &Memo,
) -> Result<&'t Certificate, ChainRefusal> {
    let mut issuer = None;
    for &at in times {
        let chained = chain::verify_memoized(&message.leaf, at, &trust.authorities, memo)?;
        chain::check_extra_certificates(&message.others, chained.authority)?;
        issuer = Some(chained.issuer);
    }
    issuer.ok_or(ChainRefusal::NoAuthority)
}

/// After step 8: the certificate was shown to a CT log.
pub struct SctVerified<'a, 't> {
    chained: ChainVerified<'a, 't>,
}

impl<'a, 't> ChainVerified<'a, 't> {
    /// Step 8: an embedded SCT of a trusted CT log over the precertificate
    /// (RFC 6962 §3.2).
    ///
    /// # Errors
    /// No SCT, none of a trusted log, or one that is not over this certificate.
    pub fn verify_sct(
        self,
        trust: &TrustedRoot,
        observer: &mut dyn StepObserver,
    ) -> Result<SctVerified<'a, 't>, Refusal> {
        let read = &self.timed.logged.described.read;
        let sct = sct::verify_memoized(&read.message.leaf, self.issuer, &trust.ct_logs, read.memo)
            .at(Step::Sct)?;
        observer.passed(Step::Sct, &|| {
            format!(
                "SCT of {} by CT log {}",
                rfc3339(i64::try_from(sct.timestamp_ms / 1000).unwrap_or(0)),
                hex(&sct.log_id)
            )
        });
        Ok(SctVerified { chained: self })
    }
}

impl SctVerified<'_, '_> {
    /// Step 9: the certificate's one identity, held against what was asked for.
    ///
    /// # Errors
    /// The certificate names nobody or more than one, or another than was
    /// asked for.
    pub fn match_identity(
        self,
        wanted: &ExpectedIdentity,
        observer: &mut dyn StepObserver,
    ) -> Result<Verified, Refusal> {
        const STEP: Step = Step::Identity;
        let TimeVerified {
            logged,
            time,
            source,
            ..
        } = self.chained.timed;
        let EntryMatched {
            read,
            entry,
            version,
            ..
        } = logged.described;
        let leaf = read.message.leaf;
        let identity = leaf.identity().at(STEP)?;
        let named = identity::check(&leaf, &identity, wanted).at(STEP)?;
        observer.passed(STEP, &|| {
            let asked = if named {
                "as asked for"
            } else {
                "nobody asked who may sign"
            };
            format!(
                "{} vouched for by {}: {asked}",
                identity.san.value(),
                identity.issuer
            )
        });
        let log_index = match version {
            RekorVersion::V1 => logged.promised.map(|(_, index)| index),
            RekorVersion::V2 => u64::try_from(entry.log_index).ok(),
        };
        Ok(Verified {
            identity,
            named,
            time,
            time_source: source,
            log_index,
            log_origin: logged.checkpoint.origin.clone(),
            log_id: entry.log_id,
            checkpoint: logged.checkpoint,
            certificate: leaf,
            kind: read.kind,
        })
    }
}

/// What chain and SCT would say if the signature had been made at the start of
/// its certificate's validity: shown by `explain` where no trusted time is at
/// hand. It is no verdict.
#[derive(Debug, Clone)]
pub struct HypotheticalResult {
    /// Step 7 at `at`: the issuer's name, or the refusal.
    pub chain: Result<String, ChainRefusal>,
    /// Step 8, where step 7 named an issuer.
    pub sct: Option<Result<UnixTime, SctRefusal>>,
    /// The assumed time.
    pub at: UnixTime,
}

/// Looks at chain and SCT at an assumed time. See [`HypotheticalResult`].
#[must_use]
pub fn verify_at_assumed_time(message: &SignedMessage, trust: &TrustedRoot) -> HypotheticalResult {
    let at = message.leaf.not_before();
    match chain_at(message, &[at], trust, Memo::disabled()) {
        Err(refusal) => HypotheticalResult {
            chain: Err(refusal),
            sct: None,
            at,
        },
        Ok(issuer) => HypotheticalResult {
            chain: Ok(issuer.subject_text()),
            sct: Some(
                sct::verify(&message.leaf, issuer, &trust.ct_logs)
                    .map(|sct| i64::try_from(sct.timestamp_ms / 1000).unwrap_or(0)),
            ),
            at,
        },
    }
}

/// A time in RFC 3339, UTC.
#[must_use]
pub fn rfc3339(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}
