//! The result of verifying a signature: the evidence verifier together with the
//! online search for log entries. Every command, Git's entry point included,
//! gets its verdicts here.
//!
//! *Not checked here:* the nine steps (`evidence/verify.rs`), and whether a policy
//! allows what was signed (`policy/`).

use serde_json::{Value, json};
use url::Url;

use crate::{
    context::{VerifyRequest, http_client},
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED},
    host::git::{GitError, Object},
    lookup::{EntrySearcher, LookupError},
    recorder::StepRecorder,
};
use gitseal_evidence::{
    armor::ArmorRefusal,
    entry::LogEntry,
    identity::{self, ExpectedIdentity},
    memo::Memo,
    object::{self, HashKind, ObjectKind, ObjectRefusal, SignedObject},
    refusal::Step,
    trusted_root::TrustedRoot,
    verify::{
        self, CrossCheckRefusal, NoopObserver, Reason, Refusal, SignatureInput, StepObserver,
        Verified, VerifyInputs,
    },
};

/// The result of verifying one signature.
#[derive(Debug)]
pub enum Verdict {
    /// Verified; `named` is false if no expected identity was given.
    Verified(Box<Verified>),
    /// Verified, but the signer is not the expected identity.
    UnexpectedIdentity {
        verified: Box<Verified>,
        refusal: Refusal,
    },
    /// The signature does not verify.
    Refused(Refusal),
    /// Evidence is missing.
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

/// Signature formats that are recognized but not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureFormat {
    /// `gpg.format openpgp`.
    OpenPgp,
    /// `gpg.format ssh`.
    Ssh,
}

impl SignatureFormat {
    /// Returns the display name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenPgp => "OpenPGP",
            Self::Ssh => "SSH",
        }
    }

    fn of_label(label: &str) -> Option<Self> {
        match label {
            "PGP SIGNATURE" | "PGP MESSAGE" => Some(Self::OpenPgp),
            "SSH SIGNATURE" => Some(Self::Ssh),
            _ => None,
        }
    }
}

/// Where to find a log entry that is not embedded in the signature.
#[derive(Debug, Clone, Copy)]
pub enum EntryLookup<'a> {
    /// No lookup: the signature is undecided without its entry.
    Disabled,
    /// Searches this log.
    Online(&'a Url),
    /// Entries that were found already. They are trusted no more than embedded ones.
    Provided(&'a [LogEntry]),
}

/// Verifies one signature. `memo` shares results between signatures.
pub fn verify_signature(
    input: &SignatureInput<'_>,
    trust: &TrustedRoot,
    expected: &ExpectedIdentity,
    lookup: EntryLookup<'_>,
    memo: &Memo,
    recorder: &mut StepRecorder,
) -> Verdict {
    let verify = |expected, found: &[LogEntry], observer: &mut dyn StepObserver| {
        let inputs = VerifyInputs {
            trust,
            wanted: expected,
            found,
        };
        verify::verify_memoized(input, &inputs, memo, observer)
    };
    let no_entry = |result: &Result<Verified, Refusal>| matches!(result, Err(refusal) if refusal.reason == CrossCheckRefusal::NoEntry.into());
    let not_found = || {
        Err(Refusal {
            step: Step::Entry,
            reason: CrossCheckRefusal::NotFound { candidates: 0 }.into(),
        })
    };
    let mut found: Vec<LogEntry> = match lookup {
        EntryLookup::Provided(entries) => entries.to_vec(),
        EntryLookup::Disabled | EntryLookup::Online(_) => Vec::new(),
    };
    let mut result = verify(expected, &found, recorder);
    let mut failed_lookup = None;
    if no_entry(&result) {
        match lookup {
            EntryLookup::Disabled => {}
            EntryLookup::Provided(_) => result = not_found(),
            EntryLookup::Online(rekor) => {
                let mut searcher = EntrySearcher::new(http_client(), rekor);
                match searcher.find_all(&[*input]).pop() {
                    Some(Ok(entries)) if !entries.is_empty() => {
                        found = entries;
                        recorder.restart();
                        result = verify(expected, &found, recorder);
                    }
                    Some(Err(error)) => failed_lookup = Some(error),
                    _ => result = not_found(),
                }
            }
        }
    }
    match result {
        Ok(verified) => Verdict::Verified(Box::new(verified)),
        Err(refusal) if refusal.step == Step::Identity => {
            // The signature is valid if it is without an expected identity.
            match verify(&ExpectedIdentity::Any, &found, &mut NoopObserver) {
                Ok(verified) => Verdict::UnexpectedIdentity {
                    verified: Box::new(verified),
                    refusal,
                },
                Err(_) => Verdict::Refused(refusal),
            }
        }
        Err(refusal) => match Verdict::from(refusal) {
            Verdict::Undecided { refusal, .. } => Verdict::Undecided {
                refusal,
                lookup: failed_lookup,
            },
            verdict => verdict,
        },
    }
}

/// Splits an object into payload and signature.
///
/// # Errors
/// Returns the verdict if the object is not signed or malformed.
pub fn split_object(object: &Object, hash: HashKind) -> Result<SignedObject, Box<Verdict>> {
    object::split_signature(object.kind, hash, &object.raw).map_err(|reason| {
        Box::new(Verdict::from(Refusal {
            step: Step::Read,
            reason: Reason::Object(reason),
        }))
    })
}

/// Verifies one object of the repository as a user requested it.
pub fn verify_object(
    request: &VerifyRequest,
    object: &Object,
    hash: HashKind,
    offline: bool,
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
    let lookup = if offline {
        EntryLookup::Disabled
    } else {
        EntryLookup::Online(request.settings.rekor_lookup.value.url())
    };
    let trust = &request.trust.root;
    recorder.record_unverified(&input, trust, &request.expected);
    let memo = Memo::disabled();
    match verify_signature(&input, trust, &request.expected, lookup, memo, recorder) {
        Verdict::Verified(verified) if request.match_committer => {
            match_committer(verified, object.kind, &signed.payload)
        }
        verdict => verdict,
    }
}

/// Step 9, where the committer or tagger must be the signer.
fn match_committer(verified: Box<Verified>, kind: ObjectKind, payload: &[u8]) -> Verdict {
    let person = match kind {
        ObjectKind::Commit => object::commit_view(payload).ok().map(|view| view.committer),
        ObjectKind::Tag => object::tag_view(payload).ok().and_then(|view| view.tagger),
    };
    match identity::check_committer(&verified.identity, kind, person.as_ref()) {
        Ok(()) => Verdict::Verified(verified),
        Err(reason) => Verdict::UnexpectedIdentity {
            verified,
            refusal: Refusal {
                step: Step::Identity,
                reason: Reason::Identity(reason),
            },
        },
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        match &refusal.reason {
            Reason::Object(ObjectRefusal::Unsigned { .. }) => Self::Unsigned(refusal),
            Reason::Armor(ArmorRefusal::Label { found }) => {
                match SignatureFormat::of_label(found) {
                    Some(format) => Self::OtherFormat { format, refusal },
                    None => Self::Refused(refusal),
                }
            }
            _ if refusal.is_undecided() => Self::Undecided {
                refusal,
                lookup: None,
            },
            _ => Self::Refused(refusal),
        }
    }
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
            message: refusal.reason.to_string(),
            step: Some(refusal.step),
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
            "identity_matched": verified.is_some_and(|verified| verified.named),
            "identity": verified.map(|verified| verified.identity.san.value()),
            "issuer": verified.map(|verified| &verified.identity.issuer),
            "time": verified.map(|verified| verify::rfc3339(verified.time)),
            "time_source": verified.map(|verified| verified.time_source.words()),
            "log_index": verified.and_then(|verified| verified.log_index),
            "certificate_sha1": verified.map(|verified| verified.certificate.sha1_hex()),
        });
        if let (Some(report), Value::Object(more)) = (report.as_object_mut(), more) {
            report.extend(more);
        }
        report
    }
}
