//! What a policy is asked about: a commit, an update of a ref, who pushes it;
//! and what it answers. Whoever asks has verified the signatures already.
//!
//! *Not checked here:* the signatures (`evidence/verify.rs`), the objects'
//! framing (`evidence/object.rs`), and what changed between two trees (the
//! caller compares them).

use std::fmt;

use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity},
    object,
};

/// The name of the policy file in a repository's tree.
pub const POLICY_PATH: &str = ".gitseal/policy.toml";
/// The folder whose every change is a change of the policy.
pub const POLICY_FOLDER: &str = ".gitseal";

/// A signature, as verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureResult<'a> {
    /// All nine steps passed (the ninth without a wanted identity).
    Good {
        /// Who signed, and who vouches for that.
        identity: &'a Identity,
        /// What else the certificate says.
        claims: &'a FulcioExtensions,
        /// When, from the log or a timestamp authority.
        signed_at: UnixTime,
    },
    /// There is none.
    Unsigned,
    /// There is one of a kind that is not verified here.
    Other(OtherKind),
    /// It is refused, or could not be decided.
    Bad {
        /// The refusal's code.
        code: &'a str,
        /// The refusal in words.
        message: &'a str,
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
    /// The word in policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenPgp => "openpgp",
            Self::Ssh => "ssh",
        }
    }
}

impl fmt::Display for OtherKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenPgp => "OpenPGP",
            Self::Ssh => "SSH",
        })
    }
}

/// An author, committer or tagger: the bytes of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameEmail<'a> {
    /// What stands before ` <`.
    pub name: &'a [u8],
    /// What stands between `<` and `>`.
    pub email: &'a [u8],
}

impl<'a> NameEmail<'a> {
    /// Out of a person that was read from an object: its raw bytes, so that
    /// nothing was decoded or trimmed.
    #[must_use]
    pub fn of(person: &'a object::Ident) -> Self {
        Self::from_header(&person.raw)
    }

    /// Out of `Name <email>` or `Name <email> time zone`.
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

/// A path that a commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// From the root of the tree, `/` between names, no leading `/`.
    pub path: Vec<u8>,
    /// Whether the commit itself changes it: always, but for a merge only if
    /// the path differs from *every* parent.
    pub changed: bool,
}

impl ChangedPath {
    /// A path that an ordinary commit changes.
    #[must_use]
    pub fn changed(path: &[u8]) -> Self {
        Self {
            path: path.to_vec(),
            changed: true,
        }
    }

    /// A path in which a merge differs from its first parent, as one of its
    /// other parents has it.
    #[must_use]
    pub fn inherited(path: &[u8]) -> Self {
        Self {
            path: path.to_vec(),
            changed: false,
        }
    }
}

/// A commit.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Its id, hex.
    pub id: &'a str,
    /// Its parents' ids, hex.
    pub parents: &'a [String],
    /// Its signature.
    pub signature: SignatureResult<'a>,
    /// Who wrote it, by its own words.
    pub author: NameEmail<'a>,
    /// Who committed it, by its own words.
    pub committer: NameEmail<'a>,
    /// The paths in which its tree differs from its first parent's (or, without
    /// a parent, from nothing). A renamed file is two paths, a deleted one is one.
    pub paths: &'a [ChangedPath],
    /// Whether it lies on the line of first parents from the ref's new value to
    /// its old one; `false` for what a merge brings in.
    pub direct: bool,
}

impl Commit<'_> {
    /// Whether it joins histories.
    #[must_use]
    pub fn is_merge(&self) -> bool {
        self.parents.len() > 1
    }
}

/// An annotated tag.
#[derive(Debug, Clone, Copy)]
pub struct Tag<'a> {
    /// The object's id, hex.
    pub id: &'a str,
    /// The name that is written in it, without `refs/tags/`.
    pub name: &'a [u8],
    /// Its signature.
    pub signature: SignatureResult<'a>,
    /// The type of what it names: `commit`, `tag`, `tree`, `blob`.
    pub target_type: &'a str,
    /// Who tagged, by its own words.
    pub tagger: Option<NameEmail<'a>>,
    /// The other tags, there before or in the same push, that name the same
    /// object: approvals, where a rule asks for several.
    pub others: &'a [ApprovalTag<'a>],
}

/// A tag beside the one that is judged.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalTag<'a> {
    /// Its full ref name.
    pub ref_name: &'a [u8],
    /// Its signature.
    pub signature: SignatureResult<'a>,
}

/// What happens to a ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateKind {
    /// It was not there.
    Create,
    /// It moves.
    Update {
        /// The old value is an ancestor of the new one. A tag never moves
        /// forward: whatever its old value was, moving it rewrites it.
        fast_forward: bool,
    },
    /// It goes.
    Delete,
}

/// An update of a ref.
#[derive(Debug, Clone, Copy)]
pub struct RefUpdate<'a> {
    /// The full name, `refs/…`.
    pub name: &'a [u8],
    /// What happens.
    pub kind: UpdateKind,
    /// The id before, hex; empty if there was none.
    pub old: &'a str,
    /// The id after, hex; empty if there is none.
    pub new: &'a str,
    /// The tag object that the new value is, if it is one.
    pub tag: Option<Tag<'a>>,
}

/// Who pushes, as far as the server knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pusher<'a> {
    /// The account at the server (`accounts` of signers).
    pub account: Option<&'a str>,
    /// The signature of a push certificate (`git push --signed`). One that is
    /// there goes before the account.
    pub certificate: Option<SignatureResult<'a>>,
    /// The time by the server's clock: an account is that of a signer only while
    /// the signer is valid. Without a time, always.
    pub now: Option<UnixTime>,
}

/// What somebody does. The words are the keys of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Adds a commit.
    Commit,
    /// Joins histories.
    Merge,
    /// Takes in history that is not authenticated.
    Adopt,
    /// Changes the policy.
    Policy,
    /// Signs an annotated tag.
    Tag,
    /// Makes a ref.
    Create,
    /// Moves a ref forward.
    Update,
    /// Moves a ref elsewhere.
    Rewrite,
    /// Deletes a ref.
    Delete,
}

impl Action {
    /// All, in the order of the documentation.
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

    /// The key of rules that speaks of it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Merge => "merge",
            Self::Adopt => "adopt",
            Self::Policy => "policy",
            Self::Tag => "tag",
            Self::Create => "create",
            Self::Update => "update",
            Self::Rewrite => "rewrite",
            Self::Delete => "delete",
        }
    }

    /// In words that continue "may".
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Commit => "add commits",
            Self::Merge => "merge",
            Self::Adopt => "take in history that is not authenticated",
            Self::Policy => "change the policy",
            Self::Tag => "sign tags",
            Self::Create => "create refs",
            Self::Update => "move refs forward",
            Self::Rewrite => "rewrite refs",
            Self::Delete => "delete refs",
        }
    }

    /// Whether it is the pusher who does it; otherwise it is whoever signed.
    #[must_use]
    pub fn is_by_pusher(self) -> bool {
        match self {
            Self::Create | Self::Update | Self::Rewrite | Self::Delete => true,
            Self::Commit | Self::Merge | Self::Adopt | Self::Policy | Self::Tag => false,
        }
    }
}

/// How a violation is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum EnforcementMode {
    /// It is reported.
    Warn,
    /// It is refused.
    #[default]
    Enforce,
}

impl EnforcementMode {
    /// The word in policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
        }
    }
}

/// One thing that a policy has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name; empty where no rule speaks, or it is about the whole.
    pub rule: String,
    /// Whether it refuses.
    pub mode: EnforcementMode,
    /// A stable, kebab-case name (`codes` has all).
    pub code: &'static str,
    /// What is, in words. What comes from commits is in it as it was: escape it
    /// before it is shown.
    pub message: String,
    /// What would mend it: a command, or a line of the policy.
    pub hint: Option<String>,
}

impl Finding {
    /// Whether it refuses.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.mode == EnforcementMode::Enforce
    }
}

/// The codes of findings.
pub mod codes {
    /// A commit or tag without a signature.
    pub const UNSIGNED: &str = "unsigned";
    /// A signature that does not verify.
    pub const SIGNATURE_BAD: &str = "signature-bad";
    /// An OpenPGP or SSH signature, and no rule accepts that.
    pub const SIGNATURE_OTHER: &str = "signature-other";
    /// An OpenPGP or SSH signature that a rule accepts unverified.
    pub const SIGNATURE_UNVERIFIED: &str = "signature-unverified";
    /// An unsigned commit that a rule accepts because of what it says of itself.
    pub const UNSIGNED_BOT: &str = "unsigned-bot";
    /// The identity is no signer's.
    pub const SIGNER_UNKNOWN: &str = "signer-unknown";
    /// The signer is not among those that the rule names.
    pub const SIGNER_NOT_ALLOWED: &str = "signer-not-allowed";
    /// MatchedSigners before the signer's `valid-from`.
    pub const SIGNER_TOO_EARLY: &str = "signer-too-early";
    /// MatchedSigners at or after the signer's `valid-until`.
    pub const SIGNER_EXPIRED: &str = "signer-expired";
    /// A claim that is asked for is not in the certificate.
    pub const CLAIM_ABSENT: &str = "claim-absent";
    /// A claim has another value.
    pub const CLAIM_MISMATCH: &str = "claim-mismatch";
    /// The committer is not the signer.
    pub const COMMITTER_MISMATCH: &str = "committer-mismatch";
    /// The author is not the signer.
    pub const AUTHOR_MISMATCH: &str = "author-mismatch";
    /// No rule speaks of what is done here.
    pub const NO_RULE: &str = "no-rule";
    /// No rule speaks of a path that is changed.
    pub const PATH_NO_RULE: &str = "path-no-rule";
    /// Not put on the branch through a merge, where the rule asks for that.
    pub const NOT_DIRECT: &str = "direct-not-allowed";
    /// Too few distinct signers.
    pub const THRESHOLD: &str = "threshold-not-met";
    /// A rule names who may, and the server did not say who pushes.
    pub const PUSHER_UNKNOWN: &str = "pusher-unknown";
    /// Who pushes is not among those that the rule names.
    pub const PUSHER_NOT_ALLOWED: &str = "pusher-not-allowed";
    /// A lightweight tag where a signed one is asked for.
    pub const TAG_LIGHTWEIGHT: &str = "tag-lightweight";
    /// The name in the tag object is not the ref's.
    pub const TAG_NAME: &str = "tag-name-mismatch";
    /// A tag of something else than a commit.
    pub const TAG_TARGET: &str = "tag-target";
    /// The policy root, or a commit after it, has no policy.
    pub const POLICY_MISSING: &str = "policy-missing";
    /// A policy in the history cannot be read.
    pub const POLICY_UNREADABLE: &str = "policy-unreadable";
    /// The policy root is not on the line of first parents.
    pub const NOT_DESCENDED: &str = "not-descended";
    /// A parent is not authenticated.
    pub const PARENT: &str = "parent-not-authenticated";

    /// Every code, for the documentation.
    pub const ALL: [&str; 26] = [
        UNSIGNED,
        UNSIGNED_BOT,
        SIGNATURE_BAD,
        SIGNATURE_OTHER,
        SIGNATURE_UNVERIFIED,
        SIGNER_UNKNOWN,
        SIGNER_NOT_ALLOWED,
        SIGNER_TOO_EARLY,
        SIGNER_EXPIRED,
        CLAIM_ABSENT,
        CLAIM_MISMATCH,
        COMMITTER_MISMATCH,
        AUTHOR_MISMATCH,
        NO_RULE,
        PATH_NO_RULE,
        NOT_DIRECT,
        THRESHOLD,
        PUSHER_UNKNOWN,
        PUSHER_NOT_ALLOWED,
        TAG_LIGHTWEIGHT,
        TAG_NAME,
        TAG_TARGET,
        POLICY_MISSING,
        POLICY_UNREADABLE,
        NOT_DESCENDED,
        PARENT,
    ];
}

/// A signature as verified, held on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureFacts {
    /// As [`SignatureResult::Good`].
    Good {
        /// Who signed, and who vouches for that.
        identity: Identity,
        /// What else the certificate says.
        claims: FulcioExtensions,
        /// When, from the log or a timestamp authority.
        signed_at: UnixTime,
    },
    /// As [`SignatureResult::Unsigned`].
    Unsigned,
    /// As [`SignatureResult::Other`].
    Other(OtherKind),
    /// As [`SignatureResult::Bad`].
    Bad {
        /// The refusal's code.
        code: String,
        /// The refusal in words.
        message: String,
    },
}

impl SignatureFacts {
    /// As a policy is asked about it.
    #[must_use]
    pub fn view(&self) -> SignatureResult<'_> {
        match self {
            Self::Good {
                identity,
                claims,
                signed_at,
            } => SignatureResult::Good {
                identity,
                claims,
                signed_at: *signed_at,
            },
            Self::Unsigned => SignatureResult::Unsigned,
            Self::Other(kind) => SignatureResult::Other(*kind),
            Self::Bad { code, message } => SignatureResult::Bad { code, message },
        }
    }
}

/// A commit, held on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    /// Its id, hex.
    pub id: String,
    /// Its parents' ids, hex.
    pub parents: Vec<String>,
    /// Its signature.
    pub signature: SignatureFacts,
    /// The author header's value.
    pub author: Vec<u8>,
    /// The committer header's value.
    pub committer: Vec<u8>,
    /// As [`Commit::paths`].
    pub paths: Vec<ChangedPath>,
}

impl CommitFacts {
    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        const EACH: usize = 1024;
        self.paths.iter().fold(EACH, |sum, path| {
            sum.saturating_add(path.path.len()).saturating_add(64)
        })
    }

    /// As a policy is asked about it.
    #[must_use]
    pub fn view(&self, direct: bool) -> Commit<'_> {
        Commit {
            id: &self.id,
            parents: &self.parents,
            signature: self.signature.view(),
            author: NameEmail::from_header(&self.author),
            committer: NameEmail::from_header(&self.committer),
            paths: &self.paths,
            direct,
        }
    }
}
