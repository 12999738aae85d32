//! Refusals of the verifier: a reason with a stable code and a message that
//! holds the values that disagreed, and the step of the verification it
//! belongs to.
//!
//! A reason is made where the check fails, by [`reason!`]. [`codes`] names those
//! that a caller distinguishes.
//!
//! *Not here:* what to do next. Hints are the program's business.

use std::{borrow::Cow, fmt};

/// The reason for a rejection: a stable code and a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Reason {
    code: &'static str,
    message: Cow<'static, str>,
}

impl Reason {
    /// Creates a reason. It does not allocate where the message has no values.
    #[must_use]
    pub fn new(code: &'static str, message: fmt::Arguments<'_>) -> Self {
        let message = match message.as_str() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(message.to_string()),
        };
        Self { code, message }
    }

    /// The stable, kebab-case name of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The message: one line, without the code and the step.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The refusal for this reason in one step of the verification.
    #[must_use]
    pub fn at(self, step: Step) -> Refusal {
        Refusal { step, reason: self }
    }
}

/// Makes a [`Reason`]: `reason!("kebab-case-code", "message with {values}")`.
#[macro_export]
macro_rules! reason {
    ($code:expr, $($message:tt)+) => {
        $crate::refusal::Reason::new($code, format_args!($($message)+))
    };
}
pub use reason;

/// Codes of reasons that a caller distinguishes from others.
pub mod codes {
    /// The signature has another format than the one that is verified here.
    pub const ARMOR_LABEL: &str = "armor-label";
    /// The object has no signature.
    pub const OBJECT_UNSIGNED: &str = "object-unsigned";
    /// The signature has no embedded log entry.
    pub const NO_LOG_ENTRY: &str = "no-log-entry";
    /// A search for the log entry has no result for this object.
    pub(crate) const LOG_ENTRY_NOT_FOUND: &str = "log-entry-not-found";
    /// A search returns more log entries than are tried.
    pub(crate) const LOG_ENTRIES_TOO_MANY: &str = "log-entries-too-many";
    /// The entry is from a log that the trusted root does not contain.
    pub const LOG_UNKNOWN: &str = "log-unknown";
    /// Signed outside the certificate's validity.
    pub const TIME_OUTSIDE_CERTIFICATE: &str = "time-outside-certificate";
    /// A kind of key that is not supported.
    pub(crate) const KEY_ALGORITHM_UNKNOWN: &str = "key-algorithm-unknown";
    /// A curve that is not supported.
    pub(crate) const KEY_CURVE_UNKNOWN: &str = "key-curve-unknown";
    /// A kind of key that this build does not support.
    pub(crate) const KEY_NOT_IN_THIS_BUILD: &str = "key-not-in-this-build";
    /// An RSA modulus that is too short or too long.
    pub const KEY_RSA_SIZE: &str = "key-rsa-size";
    /// No trusted authority issued the certificate.
    pub(crate) const CHAIN_NO_AUTHORITY: &str = "chain-no-authority";
    /// The authority has another key than the certificate names.
    pub(crate) const CHAIN_KEY_IDS: &str = "chain-key-ids";
    /// A certificate is not signed by its issuer.
    pub(crate) const CHAIN_SIGNATURE: &str = "chain-signature";
    /// The authority was not trusted at that time.
    pub(crate) const CHAIN_AUTHORITY_WINDOW: &str = "chain-authority-window";
    /// The trusted root has no timestamp authority.
    pub(crate) const TIMESTAMP_NO_AUTHORITY: &str = "timestamp-no-authority";
    /// No trusted authority made the timestamp.
    pub(crate) const TIMESTAMP_UNTRUSTED: &str = "timestamp-untrusted";
    /// The certificate's identity is not an expected one.
    pub(crate) const IDENTITY_MISMATCH: &str = "identity-mismatch";
    /// The identity's issuer is not an expected one.
    pub(crate) const ISSUER_MISMATCH: &str = "issuer-mismatch";
    /// The list of expected identities is empty.
    pub(crate) const IDENTITY_NO_RULE: &str = "identity-no-rule";
}

/// The refusal of a signature: the step that failed and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct Refusal {
    step: Step,
    reason: Reason,
}

impl Refusal {
    /// The step that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// The reason, without the step.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The stable, kebab-case name of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.reason.code
    }

    /// The message of the reason.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.reason.message
    }

    /// Whether more evidence could still verify the signature: there was no log
    /// entry to check, or there were too many. Every other refusal is final.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(
            self.reason.code,
            codes::NO_LOG_ENTRY | codes::LOG_ENTRY_NOT_FOUND | codes::LOG_ENTRIES_TOO_MANY
        )
    }

    /// The refusal where a search for log entries had this many results, none of
    /// them for the object.
    #[must_use]
    pub fn entry_not_found(candidates: usize) -> Self {
        entry_not_found(candidates).at(Step::Entry)
    }
}

pub(crate) fn entry_not_found(candidates: usize) -> Reason {
    reason!(
        codes::LOG_ENTRY_NOT_FOUND,
        "none of the {candidates} log entries for this certificate matches this object"
    )
}

/// Attaches the step to a reason.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T, Refusal>;
}

impl<T> At<T> for Result<T, Reason> {
    fn at(self, step: Step) -> Result<T, Refusal> {
        self.map_err(|reason| reason.at(step))
    }
}

/// The nine steps of a verification. The numbers are the same in the code,
/// the documentation, the tests and what `gitseal explain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// 1: the object and the CMS are read: framing, armour, DER, one signer, limits.
    Read = 1,
    /// 2: the payload's digest and content type match the signed attributes.
    Content = 2,
    /// 3: the leaf key signed the attributes.
    Signature = 3,
    /// 4: the log entry describes this digest, signature and certificate.
    Entry = 4,
    /// 5: inclusion up to a checkpoint signed by a trusted log, and the SET.
    Inclusion = 5,
    /// 6: a trusted time.
    Time = 6,
    /// 7: the chain to a trusted authority at that time.
    Chain = 7,
    /// 8: an SCT of a trusted CT log.
    Sct = 8,
    /// 9: the identity that was asked for.
    Identity = 9,
}

impl Step {
    /// All nine, in order.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Content,
        Self::Signature,
        Self::Entry,
        Self::Inclusion,
        Self::Time,
        Self::Chain,
        Self::Sct,
        Self::Identity,
    ];

    /// The number, 1 to 9.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Content => 2,
            Self::Signature => 3,
            Self::Entry => 4,
            Self::Inclusion => 5,
            Self::Time => 6,
            Self::Chain => 7,
            Self::Sct => 8,
            Self::Identity => 9,
        }
    }

    /// A short name for tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Content => "content",
            Self::Signature => "signature",
            Self::Entry => "entry",
            Self::Inclusion => "inclusion",
            Self::Time => "time",
            Self::Chain => "chain",
            Self::Sct => "sct",
            Self::Identity => "identity",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({})", self.number(), self.name())
    }
}
