//! Inputs of a policy evaluation (commits, tags, ref updates, pushers) and its
//! output: findings. The caller has verified the signatures.
//!
//! *Not checked here:* the signatures (`evidence/verify.rs`), the objects'
//! framing (`evidence/object.rs`), and what changed between two trees (the
//! caller compares them).

use std::fmt::{self, Display};

use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity},
};

/// The path of the policy file in a repository's tree.
pub const POLICY_PATH: &str = ".gitseal/policy.toml";
/// The directory whose every change is a change of the policy.
pub const POLICY_FOLDER: &str = ".gitseal";

/// Returns whether a path belongs to the policy.
#[must_use]
pub fn is_policy(path: &[u8]) -> bool {
    path.strip_prefix(POLICY_FOLDER.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Returns whether a file system may take a name for [`POLICY_FOLDER`], though it is
/// another: one that ignores case, HFS+ (which skips invisible characters), or NTFS
/// (which drops dots and spaces at the end, and has short names and streams).
#[must_use]
pub fn is_policy_namesake(name: &[u8]) -> bool {
    if name == POLICY_FOLDER.as_bytes() {
        return false;
    }
    let text = String::from_utf8_lossy(name);
    let is_ignored = |one: &char| matches!(one, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let visible: String = text.chars().filter(|one| !is_ignored(one)).collect();
    let folded = crate::glob::folded(&visible);
    let name = folded.split(':').next().unwrap_or_default();
    let name = name.trim_end_matches(['.', ' ']);
    let is_short = name.strip_prefix("gitsea~").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    name == POLICY_FOLDER || is_short
}

/// The result of verifying one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureResult {
    /// Verified by all nine steps, without an expected identity in the ninth.
    Good {
        /// The identity in the certificate, and its issuer.
        identity: Identity,
        /// The other claims of the certificate.
        claims: FulcioExtensions,
        /// The time from the log or a timestamp authority.
        signed_at: UnixTime,
    },
    /// The object has no signature.
    Unsigned,
    /// A signature of a kind that gitseal does not verify.
    Other(OtherKind),
    /// The signature is refused, or could not be decided.
    Bad {
        /// The refusal's code.
        code: String,
        /// The refusal as text.
        message: String,
    },
}

/// Signatures that gitseal reports but does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OtherKind {
    /// `-----BEGIN PGP SIGNATURE-----`.
    OpenPgp,
    /// `-----BEGIN SSH SIGNATURE-----`.
    Ssh,
}

impl OtherKind {
    /// Returns the word that policies use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenPgp => "openpgp",
            Self::Ssh => "ssh",
        }
    }
}

impl Display for OtherKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenPgp => "OpenPGP",
            Self::Ssh => "SSH",
        })
    }
}

/// The name and email address of an author or committer, as raw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameEmail<'a> {
    /// The bytes before ` <`.
    pub name: &'a [u8],
    /// The bytes between `<` and `>`.
    pub email: &'a [u8],
}

impl<'a> NameEmail<'a> {
    /// Parses `Name <email>` or `Name <email> time zone`, without decoding or trimming.
    #[must_use]
    pub fn from_header(raw: &'a [u8]) -> Self {
        let open = raw.iter().position(|byte| *byte == b'<');
        let close = raw.iter().rposition(|byte| *byte == b'>');
        match (open, close) {
            (Some(open), Some(close)) if open < close => {
                let name = raw.get(..open).unwrap_or_default();
                Self {
                    name: name.strip_suffix(b" ").unwrap_or(name),
                    email: raw.get(open.saturating_add(1)..close).unwrap_or_default(),
                }
            }
            _ => Self {
                name: raw,
                email: b"",
            },
        }
    }
}

impl Display for NameEmail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, email) = (self.name, self.email);
        let text = String::from_utf8_lossy;
        write!(f, "{} <{}>", text(name), text(email))
    }
}

/// A path that a commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// The path from the root of the tree, without a leading `/`.
    pub path: Vec<u8>,
    /// Whether the commit itself changes it: always, but for a merge only if the
    /// path differs from *every* parent and not from the first one only.
    pub changed: bool,
    /// Whether it is a symbolic link or a submodule, in one of the trees.
    pub link: bool,
}

impl ChangedPath {
    /// Returns a path that an ordinary commit changes.
    #[must_use]
    pub fn changed(path: &[u8]) -> Self {
        Self {
            path: path.to_vec(),
            changed: true,
            link: false,
        }
    }
}

/// A commit and its verified signature. `I` is the caller's type of object ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts<I> {
    /// The commit's id.
    pub id: I,
    /// The ids of its parents, the first one first.
    pub parents: Vec<I>,
    /// The result of verifying its signature.
    pub signature: SignatureResult,
    /// The value of the author header, unverified.
    pub author: Vec<u8>,
    /// The value of the committer header, unverified.
    pub committer: Vec<u8>,
    /// The paths in which its tree differs from its first parent's (or, without
    /// a parent, from nothing). A renamed file is two paths, a deleted one is one.
    pub paths: Vec<ChangedPath>,
}

impl<I> CommitFacts<I> {
    /// Returns whether the commit has more than one parent.
    #[must_use]
    pub fn is_merge(&self) -> bool {
        self.parents.len() > 1
    }

    /// Returns the approximate size in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        const EACH: usize = 1024;
        self.paths.iter().fold(EACH, |sum, path| {
            sum.saturating_add(path.path.len()).saturating_add(64)
        })
    }
}

/// An annotated tag.
#[derive(Debug, Clone, Copy)]
pub struct Tag<'a> {
    /// The object's id, hex.
    pub id: &'a str,
    /// The name in the tag object, without `refs/tags/`.
    pub name: &'a [u8],
    /// The result of verifying its signature.
    pub signature: &'a SignatureResult,
    /// The type of the target: `commit`, `tag`, `tree` or `blob`.
    pub target_type: &'a str,
    /// Other tags of the same object, existing or in the same push: approvals,
    /// where a rule requires several.
    pub others: &'a [ApprovalTag<'a>],
}

/// Another tag of the same object.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalTag<'a> {
    /// The full ref name.
    pub ref_name: &'a [u8],
    /// The name in the tag object.
    pub name: &'a [u8],
    /// The result of verifying its signature.
    pub signature: &'a SignatureResult,
}

/// The kind of a ref update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateKind {
    /// The ref did not exist.
    Create,
    /// The ref moves.
    Update {
        /// Whether the old value is an ancestor of the new one. A tag never moves
        /// forward: moving it rewrites it, whatever its old value was.
        fast_forward: bool,
    },
    /// The ref is deleted.
    Delete,
}

/// An update of a ref.
#[derive(Debug, Clone, Copy)]
pub struct RefUpdate<'a> {
    /// The full name, `refs/…`.
    pub name: &'a [u8],
    /// The kind of update.
    pub kind: UpdateKind,
    /// The new id, hex; empty if the ref is deleted.
    pub new: &'a str,
    /// The tag object that the new value is, if it is one.
    pub tag: Option<Tag<'a>>,
}

/// The pusher, as far as the server identified one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pusher<'a> {
    /// The account at the server (`accounts` of signers).
    pub account: Option<&'a str>,
    /// The signature of a push certificate (`git push --signed`). It takes
    /// precedence over the account.
    pub certificate: Option<&'a SignatureResult>,
    /// The time of the server's clock: an account counts only while its signer is
    /// valid. Without a time, it always counts.
    pub now: Option<UnixTime>,
}

/// An action that rules allow. Its names are keys of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Adds a commit.
    Commit,
    /// Joins histories.
    Merge,
    /// Merges history that is not authenticated.
    Adopt,
    /// Changes the policy.
    Policy,
    /// Signs an annotated tag.
    Tag,
    /// Creates a ref.
    Create,
    /// Moves a ref forward.
    Update,
    /// Moves a ref to a commit that does not descend from the old one.
    Rewrite,
    /// Deletes a ref.
    Delete,
}

impl Action {
    /// Every action, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Commit,
        Self::Merge,
        Self::Adopt,
        Self::Policy,
        Self::Tag,
        Self::Create,
        Self::Update,
        Self::Rewrite,
        Self::Delete,
    ];

    /// Returns the key in rules.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.row().0
    }

    /// Returns a verb phrase that continues "may".
    #[must_use]
    pub fn phrase(self) -> &'static str {
        self.row().1
    }

    /// Returns whether the pusher performs it; otherwise the signer does.
    #[must_use]
    pub fn is_by_pusher(self) -> bool {
        self.row().2
    }

    fn row(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Commit => ("commit", "add commits", false),
            Self::Merge => ("merge", "merge", false),
            Self::Adopt => ("adopt", "merge unauthenticated history", false),
            Self::Policy => ("policy", "change the policy", false),
            Self::Tag => ("tag", "sign tags", false),
            Self::Create => ("create", "create refs", true),
            Self::Update => ("update", "move refs forward", true),
            Self::Rewrite => ("rewrite", "rewrite refs", true),
            Self::Delete => ("delete", "delete refs", true),
        }
    }
}

/// The effect of a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum EnforcementMode {
    /// The violation is reported.
    Warn,
    /// The violation is an error.
    #[default]
    Enforce,
}

impl EnforcementMode {
    /// Returns the word that policies use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
        }
    }
}

/// One result of an evaluation: a violation, or something accepted unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name; empty if no single rule is the reason.
    pub rule: String,
    /// Whether the finding refuses.
    pub mode: EnforcementMode,
    /// A stable, kebab-case name, one of [`codes`].
    pub code: &'static str,
    /// The finding as text. Values from commits are in it verbatim: escape it
    /// before it is printed.
    pub message: String,
    /// A suggested fix for the pusher.
    pub hint: Option<String>,
    /// The command of that fix, to be pasted into a shell.
    pub command: Option<String>,
    /// The help of the rule.
    pub help: Option<String>,
    /// A suggested change of the policy.
    pub policy_hint: Option<String>,
}

impl Finding {
    /// Returns a finding of no particular rule, without hints.
    #[must_use]
    pub fn new(mode: EnforcementMode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            rule: String::new(),
            mode,
            code,
            message: message.into(),
            hint: None,
            command: None,
            help: None,
            policy_hint: None,
        }
    }

    /// Adds a hint for the pusher.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint for the pusher that ends with a command. An empty command is none.
    #[must_use]
    pub fn with_command(mut self, hint: impl Into<String>, command: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self.command = Some(command.into()).filter(|command| !command.is_empty());
        self
    }

    /// Returns the hint and its command as one line.
    #[must_use]
    pub fn hint_line(&self) -> Option<String> {
        let hint = self.hint.as_ref()?;
        Some(match &self.command {
            Some(command) => format!("{hint}: {command}"),
            None => hint.clone(),
        })
    }

    /// Returns whether the finding refuses.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.mode == EnforcementMode::Enforce
    }
}

/// The codes of findings.
pub mod codes {
    macro_rules! codes {
        ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
            $($(#[$doc])* pub const $name: &str = $code;)*

            /// Every code.
            pub const ALL: &[&str] = &[$($name),*];
        };
    }

    codes! {
        /// The commit or tag is not signed.
        UNSIGNED = "unsigned";
        /// The signature does not verify.
        SIGNATURE_BAD = "signature-bad";
        /// An OpenPGP or SSH signature.
        SIGNATURE_OTHER = "signature-other";
        /// The identity is not a signer of the policy.
        SIGNER_UNKNOWN = "signer-unknown";
        /// The rule does not list the signer.
        SIGNER_NOT_ALLOWED = "signer-not-allowed";
        /// Signed before the signer's `valid-from`.
        SIGNER_TOO_EARLY = "signer-too-early";
        /// Signed at or after the signer's `valid-until`.
        SIGNER_EXPIRED = "signer-expired";
        /// The signature is older than `max-age`.
        SIGNATURE_TOO_OLD = "signature-too-old";
        /// The certificate lacks a required claim.
        CLAIM_ABSENT = "claim-absent";
        /// A claim of the certificate has another value.
        CLAIM_MISMATCH = "claim-mismatch";
        /// The committer is not the signer.
        COMMITTER_MISMATCH = "committer-mismatch";
        /// No rule matches the action on this ref.
        NO_RULE = "no-rule";
        /// No rule matches a path that is changed.
        PATH_NO_RULE = "path-no-rule";
        /// A commit outside a merge, where the rule requires one.
        NOT_DIRECT = "direct-not-allowed";
        /// The merger may not commit what the adopted history changes.
        ADOPT_NEEDS_COMMIT = "adopt-needs-commit";
        /// Too few distinct signers.
        THRESHOLD = "threshold-not-met";
        /// The server did not identify the pusher.
        PUSHER_UNKNOWN = "pusher-unknown";
        /// The rule does not list the pusher.
        PUSHER_NOT_ALLOWED = "pusher-not-allowed";
        /// A lightweight tag where a signed one is required.
        TAG_LIGHTWEIGHT = "tag-lightweight";
        /// The name in the tag object differs from that of the ref.
        TAG_NAME = "tag-name-mismatch";
        /// The tag points to something other than a commit.
        TAG_TARGET = "tag-target";
        /// The policy root, or a commit after it, has no policy.
        POLICY_MISSING = "policy-missing";
        /// A policy in the history has errors.
        POLICY_UNREADABLE = "policy-unreadable";
        /// The policy root is not in the first-parent history.
        NOT_DESCENDED = "not-descended";
        /// A rewrite of the default branch would change the policy.
        POLICY_REWOUND = "policy-rewound";
        /// No branch is the one whose policy applies.
        NO_POLICY_REF = "no-policy-ref";
        /// The commit is not on the first-parent history of a source.
        NOT_A_STATE = "not-a-state";
        /// A refusal that the pusher overrode (a warning).
        OVERRIDE = "override";
    }
}
