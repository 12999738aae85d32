//! The one verification, in nine numbered steps. Each step returns a value that
//! the next one needs, so none can be skipped:
//!
//! ```text
//! 1 read → Parsed → 2 content → DigestMatched → 3 signature → SignatureVerified
//!   → 4 entry → EntryMatched → 5 inclusion → InclusionVerified → 6 time → TimeVerified
//!   → 7 chain → ChainVerified → 8 SCT → SctVerified → 9 identity → Verified
//! ```
//!
//! What is compared in each step, and what a verified signature does not prove,
//! is in `docs/verification.md` under the same numbers.
//!
//! *Not checked here:* whether the object is the one that a name means, what a
//! branch or a path allows, and whether the log shows everyone the same tree.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use crate::{
    UnixTime, armor,
    certificate::{Certificate, Identity},
    chain,
    checkpoint::{self, Checkpoint, LogVerifier, RekorVersion},
    entry::{self, LogEntry},
    hex,
    identity::{self, ExpectedIdentity},
    keys::SignatureAlgorithm,
    memo::Memo,
    merkle,
    object::{self, HashKind, ObjectKind},
    refusal::{At, Reason, Refusal, Step, codes, entry_not_found, reason},
    sct,
    signed_data::{self, Digest, SignedMessage},
    time::rfc3339,
    timestamp,
    trusted_root::{TransparencyLog, TrustedRoot, host_of},
    unhex,
};

/// The tolerance of the signing time that the signer wrote, outside the
/// certificate's validity, in seconds. The signer's clock is not trusted, but
/// one that is this far off is a sign of trouble.
pub(crate) const SIGNING_TIME_TOLERANCE: i64 = 300;
/// The most timestamps of one signature.
pub(crate) const MAX_TIMESTAMPS: usize = 8;
/// The most entries of a search that are candidates for one signature. Anyone can
/// log further entries about a signature that is public, so it leaves room for them;
/// with more than that, a signature that none of these verifies is undecided.
pub const MAX_FOUND_ENTRIES: usize = 1024;

/// The signature to verify: bytes only.
#[derive(Debug, Clone, Copy)]
pub struct SignatureInput<'a> {
    /// The object without its signature, which is what Git signed; `None` for a
    /// CMS that carries its own content.
    pub payload: Option<&'a [u8]>,
    /// The signature: one armored block, or DER.
    pub signature: &'a [u8],
    /// The hash of the repository, which object IDs in online entries need.
    pub hash: HashKind,
}

/// Inputs to verification: trusted root, expected identity, and log entries
/// found online.
#[derive(Debug, Clone, Copy)]
pub struct VerifyInputs<'a> {
    /// The keys and certificates of a Sigstore instance.
    pub trust: &'a TrustedRoot,
    /// The signers that are accepted.
    pub expected: &'a ExpectedIdentity,
    /// Whether the committer (tagger) that the object names must be the signer.
    pub match_committer: bool,
    /// Entries that a log returned for this certificate. They are trusted no more
    /// than an embedded one.
    pub found: &'a [LogEntry],
    /// Signatures that verified before: many objects share certificates, SCTs and
    /// checkpoints. The result does not depend on it.
    pub memo: &'a Memo,
}

impl<'a> VerifyInputs<'a> {
    /// Inputs with this trusted root: any signer, no entries found online, no memo.
    #[must_use]
    pub fn new(trust: &'a TrustedRoot) -> Self {
        Self {
            trust,
            expected: &ExpectedIdentity::Any,
            match_committer: false,
            found: &[],
            memo: Memo::disabled(),
        }
    }
}

/// The source of a signature's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The integrated time of Rekor v1, signed by the log (SET).
    IntegratedTime,
    /// An RFC 3161 timestamp.
    Timestamp,
}

impl TimeSource {
    /// Describes the source as text.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::IntegratedTime => "integrated time signed by the log",
            Self::Timestamp => "RFC 3161 timestamp",
        }
    }
}

/// A verified signature, and what is known of it.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The identity of the signer and its issuer.
    pub identity: Identity,
    /// Whether it is an expected identity; `false` if none was expected.
    pub identity_matched: bool,
    /// When it was signed, from the log or a timestamp authority.
    pub time: UnixTime,
    /// The source of this time.
    pub time_source: TimeSource,
    /// The log's global index, where the log's signature covers it.
    pub log_index: Option<u64>,
    /// The log entry with which it verified.
    pub entry: LogEntry,
    /// The ID of the key of the log that signed the checkpoint.
    pub log_id: Vec<u8>,
    /// The checkpoint that the log signed.
    pub checkpoint: Checkpoint,
    /// The leaf certificate of the signer.
    pub certificate: Certificate,
    /// The algorithm of the signature by the leaf's key.
    pub signature_algorithm: SignatureAlgorithm,
    /// The kind of object, where the payload is one.
    pub kind: Option<ObjectKind>,
}

/// Receives a callback for each step that passes. The detail is formatted only if
/// used.
pub trait StepObserver {
    /// The step passed; `detail` formats what was compared.
    fn passed(&mut self, step: Step, detail: &dyn Fn() -> String);
}

/// An observer that ignores every step.
pub struct NoopObserver;

impl StepObserver for NoopObserver {
    fn passed(&mut self, _: Step, _: &dyn Fn() -> String) {}
}

/// Verifies a signature: all nine steps, in order.
///
/// Entries that a search found each go through steps 4 to 9 until one passes them:
/// anyone can log a second entry about a signature, so one that fails says nothing
/// about the others.
///
/// # Errors
/// Returns the refusal of the first step that fails; of several entries, that of
/// the entry that got furthest.
pub fn verify(
    input: &SignatureInput<'_>,
    inputs: &VerifyInputs<'_>,
    observer: &mut dyn StepObserver,
) -> Result<Verified, Refusal> {
    let signed = read(input, observer)?
        .match_digest(observer)?
        .verify_signature(observer)?;
    let candidates = signed.candidates(inputs)?;
    let result = match candidates.as_slice() {
        [only] => signed.verify_entry(only, inputs, observer),
        several => match signed.most_telling(several, inputs) {
            Some(chosen) => signed.verify_entry(chosen, inputs, observer),
            None => Err(entry_not_found(inputs.found.len()).at(Step::Entry)),
        },
    };
    // Entries that were not tried could verify; the certificate is the same with each of
    // them, so step 9 is final.
    let not_all_tried =
        signed.parsed.message.log_entry.is_none() && inputs.found.len() > MAX_FOUND_ENTRIES;
    match result {
        Err(refusal) if not_all_tried && refusal.step() < Step::Identity => {
            Err(too_many_entries().at(Step::Entry))
        }
        result => result,
    }
}

fn too_many_entries() -> Reason {
    reason!(
        codes::LOG_ENTRIES_TOO_MANY,
        "none of the first {MAX_FOUND_ENTRIES} log entries for this certificate verifies \
         this object, and there are more"
    )
}

/// State after step 1: everything is parsed, nothing is trusted.
pub struct Parsed<'a> {
    message: SignedMessage,
    input: SignatureInput<'a>,
    kind: Option<ObjectKind>,
}

/// Step 1: the armor is one strict block, the CMS is DER with one signer and
/// within limits, and the payload is a well-formed commit or tag, or not a Git
/// object at all.
///
/// # Errors
/// A part is malformed or ambiguous.
pub fn read<'a>(
    input: &SignatureInput<'a>,
    observer: &mut dyn StepObserver,
) -> Result<Parsed<'a>, Refusal> {
    const STEP: Step = Step::Read;
    let decoded;
    let der = if input.signature.first() == Some(&0x30) {
        input.signature
    } else {
        let is_commit = input
            .payload
            .is_some_and(|payload| payload.starts_with(b"tree "));
        let text = if is_commit {
            armor::without_folded_newline(input.signature)
        } else {
            input.signature
        };
        decoded = armor::decode(text).at(STEP)?;
        decoded.as_slice()
    };
    let message = signed_data::read(der).at(STEP)?;
    let kind = match (input.payload, &message.content) {
        (None, None) => {
            return Err(reason!(
                "no-content",
                "nothing was signed: no payload was given and the CMS contains no content"
            )
            .at(STEP));
        }
        (Some(_), Some(content)) => {
            return Err(reason!(
                "content-in-detached",
                "the CMS contains {} bytes of content beside the payload",
                content.len()
            )
            .at(STEP));
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
    Ok(Parsed {
        message,
        input: *input,
        kind,
    })
}

/// A payload that starts like a commit or a tag must be one in full; anything
/// else (a push certificate, a file) is data.
fn payload_kind(payload: &[u8]) -> Result<Option<ObjectKind>, Reason> {
    if payload.starts_with(b"tree ") || payload.starts_with(b"object ") {
        object::check_payload(payload).map(Some)
    } else {
        Ok(None)
    }
}

/// State after step 2: the signed attributes contain the digest of this content.
pub(crate) struct DigestMatched<'a> {
    parsed: Parsed<'a>,
}

impl<'a> Parsed<'a> {
    /// Step 2: the digest of the content is the one in the signed attributes
    /// (RFC 5652 §5.4, §11.2; the content type was compared in step 1).
    ///
    /// # Errors
    /// The digests differ: the content was changed.
    pub(crate) fn match_digest(
        self,
        observer: &mut dyn StepObserver,
    ) -> Result<DigestMatched<'a>, Refusal> {
        let content = self
            .input
            .payload
            .or(self.message.content.as_deref())
            .unwrap_or_default();
        let digest = self.message.digest.of(content);
        if digest != self.message.message_digest {
            return Err(reason!(
                "digest-mismatch",
                "the content's digest is {}, the signature is over {}",
                hex(&digest),
                hex(&self.message.message_digest)
            )
            .at(Step::Content));
        }
        observer.passed(Step::Content, &|| {
            format!(
                "{} of {} bytes is {}",
                self.message.digest.name(),
                content.len(),
                hex(&digest)
            )
        });
        Ok(DigestMatched { parsed: self })
    }

    /// The content of the CMS. None of it is verified yet.
    #[must_use]
    pub fn message(&self) -> &SignedMessage {
        &self.message
    }

    /// Compares the certificate's identity with the expected one and, if requested,
    /// with the committer (tagger), as step 9 does. `Ok(false)`: none is expected.
    ///
    /// # Errors
    /// The identity or the committer is another than expected.
    pub fn check_identity(
        &self,
        identity: &Identity,
        inputs: &VerifyInputs<'_>,
    ) -> Result<bool, Reason> {
        let is_matched = identity::check(&self.message.leaf, identity, inputs.expected)?;
        if inputs.match_committer {
            // Content that is no commit or tag names no committer, which is refused.
            let committer = self
                .kind
                .zip(self.input.payload)
                .and_then(|(kind, payload)| object::committer(kind, payload));
            let kind = self.kind.unwrap_or(ObjectKind::Commit);
            identity::check_committer(identity, kind, committer.as_ref())?;
        }
        Ok(is_matched)
    }

    /// The digests that a log entry of this signature can contain, most likely
    /// first: of the signed attributes, and of the object's IDs as text.
    #[must_use]
    pub fn loggable_digests(&self) -> Vec<Vec<u8>> {
        let mut digests = vec![self.recorded_attributes().digest];
        digests.extend(self.object_ids().into_iter().map(|(_, digest)| digest));
        digests
    }

    /// The record in the log if the proof is embedded: the digest of the signed
    /// attributes, and the CMS signature itself.
    fn recorded_attributes(&self) -> Recorded {
        Recorded {
            algorithm: self.message.digest,
            digest: self.message.digest.of(&self.message.attributes),
            signature: self.message.signature.clone(),
            what: "the signed attributes",
        }
    }

    /// The object's IDs, which gitsign's online form logs, and their digests.
    fn object_ids(&self) -> Vec<(String, Vec<u8>)> {
        let (Some(kind), Some(payload)) = (self.kind, self.input.payload) else {
            return Vec::new();
        };
        object::gitsign_online_ids(kind, self.input.hash, payload, self.input.signature)
            .into_iter()
            .map(|id| {
                let digest = Sha256::digest(id.as_bytes()).to_vec();
                (id, digest)
            })
            .collect()
    }

    /// The entries about this object among those that a search returned: over the
    /// signed attributes under the CMS signature, or over an object ID under a
    /// second signature by the same key (gitsign's online form).
    fn about_this_object(&self, found: &[LogEntry]) -> Result<Vec<Candidate>, Reason> {
        let attributes = self.recorded_attributes();
        let ids = self.object_ids();
        let key = self.message.leaf.public_key()?;
        let recorded = |entry: &LogEntry| {
            let body = HashedRekord::parse(entry.body.as_deref()?)?;
            if body.digest == attributes.digest && body.signature == attributes.signature {
                return Some(attributes.clone());
            }
            let (id, _) = ids.iter().find(|(_, digest)| *digest == body.digest)?;
            key.verify(key.default_algorithm(), id.as_bytes(), &body.signature)
                .ok()?;
            Some(Recorded {
                algorithm: Digest::Sha256,
                digest: body.digest,
                signature: body.signature,
                what: "the object ID",
            })
        };
        Ok(found
            .iter()
            .take(MAX_FOUND_ENTRIES)
            .filter_map(|entry| {
                Some(Candidate {
                    recorded: recorded(entry)?,
                    entry: entry.clone(),
                })
            })
            .collect())
    }
}

/// An entry that can be about this signature, and what it would have recorded.
pub(crate) struct Candidate {
    entry: LogEntry,
    recorded: Recorded,
}

/// Digest and signature of a logged hashedrekord 0.0.1, to find out whether it may
/// be about an object. The body is then rebuilt, never trusted.
struct HashedRekord {
    digest: Vec<u8>,
    signature: Vec<u8>,
}

impl HashedRekord {
    fn parse(body: &[u8]) -> Option<Self> {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let digest = body.pointer("/spec/data/hash/value")?.as_str()?;
        let signature = body.pointer("/spec/signature/content")?.as_str()?;
        Some(Self {
            digest: unhex(digest)?,
            signature: BASE64_STANDARD.decode(signature).ok()?,
        })
    }
}

/// The digest that an entry's body contains, to compare with
/// [`Parsed::loggable_digests`]. It is not verified.
#[must_use]
pub fn logged_digest(entry: &LogEntry) -> Option<Vec<u8>> {
    Some(HashedRekord::parse(entry.body.as_deref()?)?.digest)
}

/// State after step 3: the holder of the leaf's key signed this content.
pub(crate) struct SignatureVerified<'a> {
    parsed: Parsed<'a>,
}

impl<'a> DigestMatched<'a> {
    /// Step 3: the leaf's key made the signature over the DER of the signed
    /// attributes (RFC 5652 §5.4).
    ///
    /// # Errors
    /// The key is unusable, or the signature does not verify with it.
    pub(crate) fn verify_signature(
        self,
        observer: &mut dyn StepObserver,
    ) -> Result<SignatureVerified<'a>, Refusal> {
        const STEP: Step = Step::Signature;
        let message = &self.parsed.message;
        let key = message.leaf.public_key().at(STEP)?;
        key.verify(
            message.signature_algorithm,
            &message.attributes,
            &message.signature,
        )
        .at(STEP)?;
        observer.passed(STEP, &|| {
            format!(
                "{} by the key of certificate {}",
                message.signature_algorithm,
                message.leaf.sha1_hex()
            )
        });
        Ok(SignatureVerified {
            parsed: self.parsed,
        })
    }
}

/// The record in a log: a digest and the signature over it.
#[derive(Clone)]
struct Recorded {
    algorithm: Digest,
    digest: Vec<u8>,
    signature: Vec<u8>,
    what: &'static str,
}

/// State after step 4: an entry that is about this signature, if a log has it.
pub(crate) struct EntryMatched<'a> {
    parsed: &'a Parsed<'a>,
    matched: MatchedEntry<'a>,
}

/// The entry, the log that it names, and the body that this log must have.
struct MatchedEntry<'a> {
    entry: LogEntry,
    log: &'a TransparencyLog,
    version: RekorVersion,
    body: Vec<u8>,
}

impl SignatureVerified<'_> {
    /// The entries for step 4: the embedded one, which nothing replaces, or those of a
    /// search that are about this object.
    ///
    /// # Errors
    /// No entry, or a certificate for which no log could have one.
    fn candidates(&self, inputs: &VerifyInputs<'_>) -> Result<Vec<Candidate>, Refusal> {
        const STEP: Step = Step::Entry;
        let message = &self.parsed.message;
        if let Some(bytes) = &message.log_entry {
            return Ok(vec![Candidate {
                entry: LogEntry::from_protobuf(bytes).at(STEP)?,
                recorded: self.parsed.recorded_attributes(),
            }]);
        }
        if inputs.found.is_empty() {
            // No entry of any log could help a certificate that is not one
            // of Sigstore's: that is a refusal, not a lack of evidence.
            chain::check_sigstore_leaf(&message.leaf).at(Step::Chain)?;
            return Err(reason!(
                codes::NO_LOG_ENTRY,
                "the signature has no embedded log entry"
            )
            .at(STEP));
        }
        self.parsed.about_this_object(inputs.found).at(STEP)
    }

    /// The first candidate that passes steps 4 to 8, otherwise the first of those that
    /// get furthest. Step 9 is about the certificate, which all have in common.
    fn most_telling<'c>(
        &self,
        candidates: &'c [Candidate],
        inputs: &VerifyInputs<'_>,
    ) -> Option<&'c Candidate> {
        let mut furthest: Option<(Step, &Candidate)> = None;
        for candidate in candidates {
            match self.verify_entry(candidate, inputs, &mut NoopObserver) {
                Ok(_) => return Some(candidate),
                Err(refusal) if refusal.step() == Step::Identity => return Some(candidate),
                Err(refusal) if furthest.is_none_or(|(step, _)| refusal.step() > step) => {
                    furthest = Some((refusal.step(), candidate));
                }
                Err(_) => {}
            }
        }
        furthest.map(|(_, candidate)| candidate)
    }

    /// Steps 4 to 9 with one entry.
    fn verify_entry(
        &self,
        candidate: &Candidate,
        inputs: &VerifyInputs<'_>,
        observer: &mut dyn StepObserver,
    ) -> Result<Verified, Refusal> {
        self.match_entry(candidate, inputs, observer)?
            .verify_inclusion(inputs, observer)?
            .verify_time(inputs, observer)?
            .verify_chain(inputs, observer)?
            .verify_sct(inputs, observer)?
            .match_identity(inputs, observer)
    }

    /// Step 4: the log entry is a hashedrekord of *this* digest, signature and
    /// certificate. The body is rebuilt from them; one that the entry carries may
    /// only be equal to it.
    ///
    /// # Errors
    /// No entry, another kind, a body about something else, or an unknown log.
    pub(crate) fn match_entry<'a>(
        &'a self,
        candidate: &Candidate,
        inputs: &VerifyInputs<'a>,
        observer: &mut dyn StepObserver,
    ) -> Result<EntryMatched<'a>, Refusal> {
        const STEP: Step = Step::Entry;
        let message = &self.parsed.message;
        let Candidate { entry, recorded } = candidate;
        // An entry that a search found was not necessarily parsed.
        entry.check().at(STEP)?;
        if entry.kind != "hashedrekord" {
            return Err(reason!(
                "entry-kind",
                "the log entry is of kind {:?}, not hashedrekord",
                entry.kind
            )
            .at(STEP));
        }
        let version = rekor_version(entry);
        let known = match version {
            RekorVersion::V1 => entry.version == "0.0.1",
            // gitsign stores 0.0.1 for Rekor v2, too.
            RekorVersion::V2 => matches!(entry.version.as_str(), "0.0.1" | "0.0.2"),
        };
        if !known {
            return Err(reason!(
                "entry-version",
                "the log entry is of version {:?}, which its log does not write",
                entry.version
            )
            .at(STEP));
        }
        let Some(log) = inputs.trust.log(&entry.log_id, origin(entry)) else {
            return Err(reason!(
                codes::LOG_UNKNOWN,
                "the entry is from log {}, which is not in the trusted root",
                hex(&entry.log_id)
            )
            .at(STEP));
        };
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
        if entry.body.as_ref().is_some_and(|carried| *carried != body) {
            return Err(reason!(
                "entry-body-mismatch",
                "the log entry is about another digest, signature or certificate"
            )
            .at(STEP));
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
            parsed: &self.parsed,
            matched: MatchedEntry {
                entry: entry.clone(),
                log,
                version,
                body,
            },
        })
    }
}

/// The version of Rekor that an entry is from, by its checkpoint's origin. Without
/// a checkpoint it does not matter, because the entry has no proof.
fn rekor_version(entry: &LogEntry) -> RekorVersion {
    RekorVersion::of_origin(origin(entry))
}

/// The first line of an entry's checkpoint, unverified.
fn origin(entry: &LogEntry) -> &str {
    entry
        .proof
        .as_ref()
        .and_then(|proof| proof.checkpoint.lines().next())
        .unwrap_or_default()
}

/// Returns the verifier of a trusted log's checkpoints.
#[must_use]
pub fn log_verifier(log: &TransparencyLog, kind: RekorVersion) -> LogVerifier<'_> {
    LogVerifier {
        key: &log.key,
        key_hint: log.log_id.first_chunk().copied().unwrap_or_default(),
        kind,
        origin: match kind {
            RekorVersion::V1 => None,
            // A trusted log without a URL has no origin that could be its own.
            RekorVersion::V2 => Some(host_of(&log.base_url).unwrap_or_default()),
        },
    }
}

/// Returns the checkpoint that a signature carries and the ID of its log, if a
/// trusted log signed it. The signature itself need not verify: what a log signed
/// is evidence in any case.
#[must_use]
pub fn embedded_checkpoint(
    input: &SignatureInput<'_>,
    trust: &TrustedRoot,
    memo: &Memo,
) -> Option<(Vec<u8>, Checkpoint)> {
    let parsed = read(input, &mut NoopObserver).ok()?;
    let entry = LogEntry::from_protobuf(parsed.message.log_entry.as_ref()?).ok()?;
    let log = trust.log(&entry.log_id, origin(&entry))?;
    let verifier = log_verifier(log, rekor_version(&entry));
    let proof = entry.proof.as_ref()?;
    let checkpoint = checkpoint::open(&proof.checkpoint, &verifier, memo).ok()?;
    Some((entry.log_id, checkpoint))
}

/// State after step 5: a trusted log has the entry.
pub(crate) struct InclusionVerified<'a> {
    parsed: &'a Parsed<'a>,
    matched: MatchedEntry<'a>,
    inclusion: Inclusion,
}

struct Inclusion {
    checkpoint: Checkpoint,
    /// The integrated time and global index, where the log signed them (SET).
    promised: Option<(UnixTime, u64)>,
}

impl<'a> EntryMatched<'a> {
    /// Step 5: the rebuilt body is in the tree of a checkpoint that the log's
    /// key signed (RFC 9162 §2.1.3.2, C2SP tlog-checkpoint), and the signed
    /// entry timestamp, where there is one, is the log's (Rekor v1).
    ///
    /// # Errors
    /// No proof, a proof of something else, or a checkpoint of another log.
    pub(crate) fn verify_inclusion(
        self,
        inputs: &VerifyInputs<'a>,
        observer: &mut dyn StepObserver,
    ) -> Result<InclusionVerified<'a>, Refusal> {
        const STEP: Step = Step::Inclusion;
        let MatchedEntry {
            entry,
            log,
            version,
            body,
        } = &self.matched;
        let Some(proof) = &entry.proof else {
            return Err(
                reason!("no-inclusion-proof", "the log entry has no inclusion proof").at(STEP),
            );
        };
        // Step 4 checked that neither is negative.
        let index = proof.log_index.unsigned_abs();
        let size = proof.tree_size.unsigned_abs();
        let verifier = log_verifier(log, *version);
        let checkpoint = checkpoint::open(&proof.checkpoint, &verifier, inputs.memo).at(STEP)?;
        if checkpoint.size != size {
            return Err(reason!(
                "checkpoint-size-mismatch",
                "the inclusion proof is for {size} entries, the checkpoint for {}",
                checkpoint.size
            )
            .at(STEP));
        }
        if proof.root_hash != checkpoint.root {
            return Err(reason!(
                "checkpoint-root-mismatch",
                "the inclusion proof is for root {}, the checkpoint has {}",
                hex(&proof.root_hash),
                hex(&checkpoint.root)
            )
            .at(STEP));
        }
        let leaf = merkle::leaf_hash(body);
        merkle::verify_inclusion(index, size, &leaf, &proof.hashes, &checkpoint.root).at(STEP)?;
        let promised = self.matched.promise().at(STEP)?;
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
            parsed: self.parsed,
            matched: self.matched,
            inclusion: Inclusion {
                checkpoint,
                promised,
            },
        })
    }
}

impl MatchedEntry<'_> {
    /// The SET of a Rekor v1 entry: it covers the integrated time and the
    /// global index, which nothing else does. Rekor v2 has one index, which the
    /// proof covers, and no time.
    fn promise(&self) -> Result<Option<(UnixTime, u64)>, Reason> {
        let entry = &self.entry;
        let proof = entry.proof.as_ref();
        match (self.version, &entry.set) {
            (RekorVersion::V2, Some(_)) => Err(reason!(
                "set-in-v2",
                "a Rekor v2 entry carries a signed entry timestamp"
            )),
            (RekorVersion::V2, None) => {
                let proof = proof.map_or(-1, |proof| proof.log_index);
                if entry.log_index == proof {
                    return Ok(None);
                }
                Err(reason!(
                    "log-index-mismatch",
                    "the entry's index is {}, its proof's {proof}",
                    entry.log_index
                ))
            }
            (RekorVersion::V1, None) => Ok(None),
            (RekorVersion::V1, Some(set)) => {
                let signed = entry::set_payload(
                    &BASE64_STANDARD.encode(&self.body),
                    entry.integrated_time,
                    &hex(&entry.log_id),
                    entry.log_index,
                );
                checkpoint::verify_by_log(
                    &self.log.key,
                    self.version,
                    &signed,
                    set,
                    Memo::disabled(),
                )?;
                Ok(Some((
                    entry.integrated_time,
                    entry.log_index.unsigned_abs(),
                )))
            }
        }
    }
}

/// State after step 6: signed at a trusted time.
pub(crate) struct TimeVerified<'a> {
    parsed: &'a Parsed<'a>,
    matched: MatchedEntry<'a>,
    inclusion: Inclusion,
    time: TrustedTime,
}

struct TrustedTime {
    time: UnixTime,
    source: TimeSource,
    /// Every trusted time; the chain must be valid at each.
    all: Vec<UnixTime>,
}

impl<'a> InclusionVerified<'a> {
    /// Step 6: the integrated time where a SET covers it, and every RFC 3161
    /// timestamp (over the signature's bytes) of a trusted authority. Each must lie in
    /// the certificate's validity, and all in one validity of the log's key. Beside
    /// one of these times, timestamps of unknown authorities are ignored.
    ///
    /// # Errors
    /// No time source, a timestamp that does not verify, or a time outside.
    pub(crate) fn verify_time(
        self,
        inputs: &VerifyInputs<'a>,
        observer: &mut dyn StepObserver,
    ) -> Result<TimeVerified<'a>, Refusal> {
        const STEP: Step = Step::Time;
        let message = &self.parsed.message;
        let promised = self.inclusion.promised.map(|(time, _)| time);
        if message.timestamps.len() > MAX_TIMESTAMPS {
            return Err(reason!(
                "too-many-timestamps",
                "{} timestamps; the limit is {MAX_TIMESTAMPS}",
                message.timestamps.len()
            )
            .at(STEP));
        }
        let authorities = &inputs.trust.timestamp_authorities;
        let mut all = Vec::new();
        let mut unknown = Vec::new();
        for token in &message.timestamps {
            match timestamp::verify(token, &message.signature, authorities, inputs.memo) {
                Ok(verified) => all.push(verified.time),
                Err(reason) if timestamp::is_unknown_authority(&reason) => unknown.push(reason),
                Err(reason) => return Err(reason.at(STEP)),
            }
        }
        let ignored = unknown.len();
        let (time, source) = match (all.first(), promised) {
            (Some(time), _) => (*time, TimeSource::Timestamp),
            (None, Some(time)) => (time, TimeSource::IntegratedTime),
            (None, None) => {
                let reason = unknown.pop().unwrap_or_else(|| {
                    reason!(
                        "no-trusted-time",
                        "no trusted time: neither an SET nor a timestamp is present"
                    )
                });
                return Err(reason.at(STEP));
            }
        };
        all.extend(promised);
        let (not_before, not_after) = (message.leaf.not_before(), message.leaf.not_after());
        let validity = || format!("{} to {}", rfc3339(not_before), rfc3339(not_after));
        let MatchedEntry { log, version, .. } = &self.matched;
        if !inputs.trust.is_log_valid(log, *version, &all) {
            let outside = all.iter().find(|at| !log.window.contains(**at));
            return Err(reason!(
                "log-key-window",
                "the log entry's time {} is outside the validity of the log's key",
                rfc3339(outside.copied().unwrap_or(time))
            )
            .at(STEP));
        }
        for &at in &all {
            if at < not_before || at > not_after {
                return Err(reason!(
                    codes::TIME_OUTSIDE_CERTIFICATE,
                    "signed at {}, outside the certificate's validity ({})",
                    rfc3339(at),
                    validity()
                )
                .at(STEP));
            }
        }
        let signing_time = message.signing_time;
        let tolerated = |from: UnixTime, to: UnixTime| {
            to.checked_sub(from)
                .is_some_and(|difference| difference <= SIGNING_TIME_TOLERANCE)
        };
        if !tolerated(signing_time, not_before) || !tolerated(not_after, signing_time) {
            return Err(reason!(
                "signing-time",
                "the signing-time attribute {} is outside the certificate's validity ({})",
                rfc3339(signing_time),
                validity()
            )
            .at(STEP));
        }
        observer.passed(STEP, &|| {
            format!(
                "{} ({}), inside the certificate's validity{}",
                rfc3339(time),
                source.description(),
                match ignored {
                    0 => String::new(),
                    _ => format!("; {ignored} timestamps of unknown authorities ignored"),
                }
            )
        });
        Ok(TimeVerified {
            parsed: self.parsed,
            matched: self.matched,
            inclusion: self.inclusion,
            time: TrustedTime { time, source, all },
        })
    }
}

/// State after step 7: a trusted authority issued the certificate for code signing.
pub(crate) struct ChainVerified<'a> {
    parsed: &'a Parsed<'a>,
    matched: MatchedEntry<'a>,
    inclusion: Inclusion,
    time: TrustedTime,
    issuer: &'a Certificate,
}

impl<'a> TimeVerified<'a> {
    /// Step 7: the leaf chains to a trusted authority, every link valid at
    /// every trusted time, for code signing; the CMS contains no certificate
    /// that is not of that chain.
    ///
    /// # Errors
    /// The most telling refusal of the authorities that were tried.
    pub(crate) fn verify_chain(
        self,
        inputs: &VerifyInputs<'a>,
        observer: &mut dyn StepObserver,
    ) -> Result<ChainVerified<'a>, Refusal> {
        let issuer = chain_at(
            &self.parsed.message,
            &self.time.all,
            inputs.trust,
            inputs.memo,
        )
        .at(Step::Chain)?;
        observer.passed(Step::Chain, &|| {
            format!(
                "issued by {}, valid at {}",
                issuer.subject_text(),
                rfc3339(self.time.time)
            )
        });
        Ok(ChainVerified {
            parsed: self.parsed,
            matched: self.matched,
            inclusion: self.inclusion,
            time: self.time,
            issuer,
        })
    }
}

/// The chain at each of these times, and the rule on the other certificates.
fn chain_at<'t>(
    message: &SignedMessage,
    times: &[UnixTime],
    trust: &'t TrustedRoot,
    memo: &Memo,
) -> Result<&'t Certificate, Reason> {
    let mut issuer = None;
    for &at in times {
        let verified = chain::verify(&message.leaf, at, &trust.authorities, memo)?;
        chain::check_extra_certificates(&message.others, verified.authority)?;
        issuer = Some(verified.issuer);
    }
    issuer.ok_or_else(chain::no_authority)
}

/// State after step 8: a CT log has seen the certificate.
pub(crate) struct SctVerified<'a> {
    parsed: &'a Parsed<'a>,
    matched: MatchedEntry<'a>,
    inclusion: Inclusion,
    time: TrustedTime,
}

impl<'a> ChainVerified<'a> {
    /// Step 8: an embedded SCT of a trusted CT log over the precertificate
    /// (RFC 6962 §3.2), of a time within the certificate's validity and not after the
    /// signature.
    ///
    /// # Errors
    /// No SCT, none of a trusted log, or one of another certificate or time.
    pub(crate) fn verify_sct(
        self,
        inputs: &VerifyInputs<'a>,
        observer: &mut dyn StepObserver,
    ) -> Result<SctVerified<'a>, Refusal> {
        let leaf = &self.parsed.message.leaf;
        let (times, logs) = (&self.time.all, &inputs.trust.ct_logs);
        let sct = sct::verify(leaf, self.issuer, times, logs, inputs.memo).at(Step::Sct)?;
        observer.passed(Step::Sct, &|| {
            format!(
                "SCT of {} by CT log {}",
                rfc3339(sct.time()),
                hex(&sct.log_id)
            )
        });
        Ok(SctVerified {
            parsed: self.parsed,
            matched: self.matched,
            inclusion: self.inclusion,
            time: self.time,
        })
    }
}

impl SctVerified<'_> {
    /// Step 9: the certificate's one identity is an expected one and, if
    /// requested, the committer (tagger) of the object.
    ///
    /// # Errors
    /// The certificate has no identity or several, or another than expected.
    pub(crate) fn match_identity(
        self,
        inputs: &VerifyInputs<'_>,
        observer: &mut dyn StepObserver,
    ) -> Result<Verified, Refusal> {
        const STEP: Step = Step::Identity;
        let identity = self.parsed.message.leaf.identity().at(STEP)?;
        let identity_matched = self.parsed.check_identity(&identity, inputs).at(STEP)?;
        let Parsed { message, kind, .. } = self.parsed;
        observer.passed(STEP, &|| {
            format!(
                "{} (issuer {}): {}",
                identity.san.value(),
                identity.issuer,
                if identity_matched {
                    "matches the expected identity"
                } else {
                    "no expected identity set"
                }
            )
        });
        let MatchedEntry { entry, version, .. } = self.matched;
        let log_index = match version {
            RekorVersion::V1 => self.inclusion.promised.map(|(_, index)| index),
            RekorVersion::V2 => Some(entry.log_index.unsigned_abs()),
        };

        Ok(Verified {
            identity,
            identity_matched,
            time: self.time.time,
            time_source: self.time.source,
            log_index,
            log_id: entry.log_id.clone(),
            entry,
            checkpoint: self.inclusion.checkpoint,
            signature_algorithm: message.signature_algorithm,
            certificate: message.leaf.clone(),
            kind: *kind,
        })
    }
}

/// The results of steps 7 and 8 if the signature had been made at the start of its
/// certificate's validity: an explanation where no trusted time is known, and not
/// a verification.
#[derive(Debug, Clone)]
pub struct HypotheticalResult {
    /// Step 7 at `at`: the issuer's name, or the reason.
    pub chain: Result<String, Reason>,
    /// Step 8, where step 7 found an issuer.
    pub sct: Option<Result<UnixTime, Reason>>,
    /// The time that was assumed.
    pub at: UnixTime,
}

/// Verifies chain and SCT at an assumed time. See [`HypotheticalResult`].
#[must_use]
pub fn verify_at_assumed_time(message: &SignedMessage, trust: &TrustedRoot) -> HypotheticalResult {
    let at = message.leaf.not_before();
    let memo = Memo::disabled();
    let issuer = chain_at(message, &[at], trust, memo);
    let sct = issuer.as_ref().ok().map(|issuer| {
        sct::verify(&message.leaf, issuer, &[at], &trust.ct_logs, memo).map(|sct| sct.time())
    });
    HypotheticalResult {
        chain: issuer.map(Certificate::subject_text),
        sct,
        at,
    }
}
