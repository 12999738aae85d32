//! The result of verifying a signature: the evidence verifier together with the
//! online search for log entries. Every command, Git's entry point included,
//! gets its verdicts here.
//!
//! *Not checked here:* the nine steps (`evidence/verify.rs`), and whether a policy
//! allows what was signed (`policy/`).

use serde_json::{Value, json};

use crate::{
    context::http_client,
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED},
    host::{
        entry_cache::EntryCache,
        git::{GitError, Object},
    },
    lookup::{EntrySearcher, LookupError},
    recorder::StepRecorder,
};

mod request;

pub use request::{RequestArgs, VerifyRequest};

use gitseal_evidence::{
    armor::SignatureFormat,
    entry::LogEntry,
    identity::ExpectedIdentity,
    memo::Memo,
    object::{self, HashKind, SignedObject},
    refusal::{Refusal, Step, codes},
    rfc3339,
    verify::{self, NoopObserver, SignatureInput, StepObserver, Verified, VerifyInputs},
};

/// The result of verifying one signature.
#[derive(Debug)]
pub enum Verdict {
    /// Verified; `identity_matched` is false if no expected identity was given.
    Verified(Box<Verified>),
    /// Verified, but the signer is not the expected identity.
    UnexpectedIdentity {
        verified: Box<Verified>,
        refusal: Refusal,
    },
    /// The signature does not verify.
    Refused(Refusal),
    /// Evidence is missing, such as the log entry.
    Undecided {
        refusal: Refusal,
        /// The failed search for the missing log entry.
        lookup: Option<LookupError>,
    },
    /// The object is not signed.
    Unsigned(Refusal),
    /// The signature has a format that is not verified here.
    OtherFormat {
        format: SignatureFormat,
        refusal: Refusal,
    },
    /// The object cannot be read.
    Unreadable {
        error: GitError,
        /// The commit at a shallow boundary whose parent it is.
        boundary: Option<String>,
    },
}

/// Returns the word for an exit code in reports.
#[must_use]
pub fn exit_name(exit: u8) -> &'static str {
    match exit {
        EXIT_OK => "good",
        EXIT_REFUSED => "refused",
        _ => "undecided",
    }
}

/// The source of a log entry that is not embedded in the signature.
#[derive(Debug, Clone, Copy)]
pub enum EntryLookup<'a> {
    /// No lookup: the signature is undecided without its entry.
    Disabled,
    /// Entries that were found already. They are trusted no more than embedded ones.
    Provided(&'a [LogEntry]),
}

/// Verifies one signature of any content, with the log entries of `lookup`.
pub fn verify_signature(
    input: &SignatureInput<'_>,
    request: &VerifyRequest,
    memo: &Memo,
    lookup: EntryLookup<'_>,
    recorder: &mut StepRecorder,
) -> Verdict {
    let verify = |found: &[LogEntry], observer: &mut dyn StepObserver| {
        verify::verify(input, &request.inputs(found, memo), observer)
    };
    let found = match lookup {
        EntryLookup::Provided(entries) => entries,
        EntryLookup::Disabled => &[],
    };
    match verify(found, recorder) {
        Ok(verified) => Verdict::Verified(Box::new(verified)),
        Err(refusal) if refusal.step() == Step::Identity => {
            // The signature is valid if it is without what was expected of its signer.
            let inputs = request.inputs(found, memo);
            let without_committer = VerifyInputs {
                match_committer: false,
                ..inputs
            };
            let any_signer = VerifyInputs {
                expected: &ExpectedIdentity::Any,
                ..without_committer
            };
            let without_committer = inputs.match_committer.then_some(without_committer);
            let valid = without_committer
                .iter()
                .chain([&any_signer])
                .find_map(|inputs| verify::verify(input, inputs, &mut NoopObserver).ok());
            match valid {
                Some(verified) => Verdict::UnexpectedIdentity {
                    verified: Box::new(verified),
                    refusal,
                },
                None => Verdict::Refused(refusal),
            }
        }
        Err(refusal)
            if refusal.code() == codes::NO_LOG_ENTRY
                && matches!(lookup, EntryLookup::Provided(_)) =>
        {
            Verdict::of(Refusal::entry_not_found(0), input.signature)
        }
        Err(refusal) => Verdict::of(refusal, input.signature),
    }
}

/// Verifies one signature, with a missing log entry from the cache or, if the request
/// permits it, from the log.
pub fn verify_with_lookup(
    input: &SignatureInput<'_>,
    request: &VerifyRequest,
    recorder: &mut StepRecorder,
) -> Verdict {
    let verify = |lookup: EntryLookup<'_>, recorder: &mut StepRecorder| {
        verify_signature(input, request, Memo::disabled(), lookup, recorder)
    };
    let mut verdict = verify(EntryLookup::Disabled, recorder);
    if !verdict.lacks_entry() {
        return verdict;
    }
    let cache = EntryCache::open();
    if let Some(entry) = cache
        .as_ref()
        .and_then(|cache| cache.entry(input.signature))
    {
        let lookup = EntryLookup::Provided(std::slice::from_ref(&entry));
        // A cached entry that does not verify is ignored: the log is queried.
        if verify(lookup, &mut StepRecorder::disabled())
            .verified()
            .is_some()
        {
            recorder.restart();
            return verify(lookup, recorder);
        }
    }
    let Some(rekor) = request.log() else {
        return verdict;
    };
    let mut searcher = EntrySearcher::new(http_client(), rekor);
    let root = request.trusted_root();
    match searcher.find_all(&[*input], root, Memo::disabled()).pop() {
        Some(Err(error)) => {
            if let Verdict::Undecided { lookup, .. } = &mut verdict {
                *lookup = Some(error);
            }
            verdict
        }
        found => {
            let entries = found.and_then(Result::ok).unwrap_or_default();
            recorder.restart();
            let verdict = verify(EntryLookup::Provided(&entries), recorder);
            if let (Some(cache), [entry], true) =
                (&cache, entries.as_slice(), verdict.verified().is_some())
            {
                cache.insert(input.signature, entry);
            }
            verdict
        }
    }
}

/// Splits an object into payload and signature.
///
/// # Errors
/// Returns the verdict if the object is not signed or malformed.
pub fn split_object(object: &Object, hash: HashKind) -> Result<SignedObject, Box<Verdict>> {
    object::split_signature(object.kind, hash, &object.raw)
        .map_err(|reason| Box::new(Verdict::of(reason.at(Step::Read), &[])))
}

/// Returns the header with a signature over the object's other form. That form cannot be
/// rebuilt from the object, so this signature is not verified.
#[must_use]
pub fn unverified_header(object: &Object) -> Option<&'static str> {
    let hash = match object.id.as_bytes().len() {
        20 => HashKind::Sha1,
        _ => HashKind::Sha256,
    };
    split_object(object, hash).ok()?.unverified_header
}

/// Verifies one object of the repository as a user requested it.
pub fn verify_object(
    request: &VerifyRequest,
    object: &Object,
    hash: HashKind,
    recorder: &mut StepRecorder,
) -> Verdict {
    let signed = match split_object(object, hash) {
        Ok(signed) => signed,
        Err(verdict) => return *verdict,
    };
    let input = SignatureInput {
        payload: Some(&signed.payload),
        signature: &signed.signature,
        hash,
    };
    recorder.record_unverified(&input, &request.inputs(&[], Memo::disabled()));
    verify_with_lookup(&input, request, recorder)
}

/// The reason that an object is not verified, as reports print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable name of the reason.
    pub code: &'static str,
    pub message: String,
    /// The step that failed, if a step did.
    pub step: Option<Step>,
}

/// The code of a tag object that is stored under another name than its own.
pub const MISNAMED_TAG: &str = "tag-name";

impl Failure {
    /// Creates a failure that is not of a step.
    pub fn new(code: &'static str, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
            step: None,
        }
    }

    /// Returns the failure as a JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "step": self.step.map(Step::number),
            "code": self.code,
            "message": self.message,
        })
    }
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Self {
        Self {
            code: refusal.code(),
            message: refusal.message().to_owned(),
            step: Some(refusal.step()),
        }
    }
}

impl From<&LookupError> for Failure {
    fn from(error: &LookupError) -> Self {
        Self {
            step: Some(Step::Entry),
            ..Self::new("lookup-failed", error)
        }
    }
}

impl Verdict {
    fn of(refusal: Refusal, signature: &[u8]) -> Self {
        match refusal.code() {
            codes::OBJECT_UNSIGNED => Self::Unsigned(refusal),
            codes::ARMOR_LABEL => match SignatureFormat::of(signature) {
                Some(format) => Self::OtherFormat { format, refusal },
                None => Self::Refused(refusal),
            },
            _ if refusal.is_undecided() => Self::Undecided {
                refusal,
                lookup: None,
            },
            _ => Self::Refused(refusal),
        }
    }

    /// Returns whether only a log entry is missing, and none was searched for.
    #[must_use]
    pub fn lacks_entry(&self) -> bool {
        matches!(
            self,
            Self::Undecided { refusal, lookup: None } if refusal.code() == codes::NO_LOG_ENTRY
        )
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Verified(_) => EXIT_OK,
            Self::UnexpectedIdentity { .. }
            | Self::Refused(_)
            | Self::Unsigned(_)
            | Self::OtherFormat { .. } => EXIT_REFUSED,
            Self::Unreadable {
                error: GitError::Damaged { .. } | GitError::TooLarge { .. },
                boundary: None,
            } => EXIT_REFUSED,
            Self::Undecided { .. } | Self::Unreadable { .. } => EXIT_UNDECIDED,
        }
    }

    /// Returns the word for it in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unsigned(_) => "unsigned",
            Self::OtherFormat { .. } => "other",
            _ => exit_name(self.exit()),
        }
    }

    /// Returns the verified signature, whoever made it.
    #[must_use]
    pub fn verified(&self) -> Option<&Verified> {
        match self {
            Self::Verified(verified) | Self::UnexpectedIdentity { verified, .. } => Some(verified),
            _ => None,
        }
    }

    /// Returns the step that failed and its reason.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Verified(_) | Self::Unreadable { .. } => None,
            Self::UnexpectedIdentity { refusal, .. }
            | Self::Refused(refusal)
            | Self::Undecided { refusal, .. }
            | Self::Unsigned(refusal)
            | Self::OtherFormat { refusal, .. } => Some(refusal),
        }
    }

    /// Returns the reason that the object is not verified.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        Some(match self {
            Self::Verified(_) => return None,
            Self::Undecided {
                lookup: Some(error),
                ..
            } => error.into(),
            Self::UnexpectedIdentity { refusal, .. }
            | Self::Refused(refusal)
            | Self::Undecided { refusal, .. } => refusal.into(),
            Self::Unsigned(_) => Failure::new("object-unsigned", "not signed"),
            Self::OtherFormat { format, .. } => Failure::new(
                "other-kind",
                format!("{} signature, not verified here", format.name()),
            ),
            Self::Unreadable {
                boundary: Some(child),
                ..
            } => Failure::new(
                "shallow-boundary",
                format!("shallow clone boundary at {child}"),
            ),
            Self::Unreadable {
                error,
                boundary: None,
            } => {
                let code = match error {
                    GitError::Damaged { .. } => "object-damaged",
                    GitError::TooLarge { .. } => "object-too-large",
                    GitError::Missing { .. } => "object-missing",
                    _ => "object-unreadable",
                };
                Failure::new(code, error)
            }
        })
    }

    /// Returns a JSON report: the members that all reports of a signature have in
    /// common, and `more`.
    #[must_use]
    pub fn json(&self, more: Value) -> Value {
        let verified = self.verified();
        let mut report = json!({
            "identity_matched": verified.is_some_and(|verified| verified.identity_matched),
            "identity": verified.map(|verified| verified.identity.san.value()),
            "issuer": verified.map(|verified| &verified.identity.issuer),
            "time": verified.map(|verified| rfc3339(verified.time)),
            "time_source": verified.map(|verified| verified.time_source.description()),
            "log_index": verified.and_then(|verified| verified.log_index),
            "certificate_sha1": verified.map(|verified| verified.certificate.sha1_hex()),
        });
        if let (Some(report), Value::Object(more)) = (report.as_object_mut(), more) {
            report.extend(more);
        }
        report
    }
}
