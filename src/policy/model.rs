//! A policy, read: signers, groups, bots and rules, with every name resolved.
//!
//! *Not checked here:* the file (`parse.rs`); what it says about a commit
//! (`evaluate.rs`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    facts::{Action, EnforcementMode, OtherKind},
    glob::Globs,
};
use gitseal_evidence::{UnixTime, identity::Pattern};

/// A condition on a text, equal if it was written the same.
#[derive(Debug, Clone)]
pub struct Condition(pub(super) Pattern);

impl Condition {
    /// Whether the whole text satisfies it.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The text, if only this one satisfies it.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match &self.0 {
            Pattern::Exact(text) => Some(text),
            Pattern::Matching { .. } => None,
        }
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.exact() == other.exact() && self.as_str() == other.as_str()
    }
}

impl Eq for Condition {}

/// Somebody, or some machine, who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The name in the policy.
    pub name: String,
    /// Who vouches.
    pub issuer: Condition,
    /// The SAN of the certificate.
    pub identity: Condition,
    /// Claims that every certificate of this signer carries, by Fulcio's name.
    pub claims: Vec<(String, Condition)>,
    /// The first second at which a signature counts.
    pub valid_from: Option<UnixTime>,
    /// The first second at which none counts any more.
    pub valid_until: Option<UnixTime>,
    /// Addresses of this signer as author and committer; without any, the
    /// identity in the certificate.
    pub emails: Vec<String>,
    /// Accounts at the server.
    pub accounts: Vec<String>,
}

/// Who writes unsigned commits, by their own words: forgeable by anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bot {
    /// The name in the policy.
    pub name: String,
    /// `Name <email>` of the author.
    pub author: Option<String>,
    /// `Name <email>` of the committer.
    pub committer: Option<String>,
}

/// Signers by their index, a bit each: a policy has up to 10,000 signers and
/// thousands of lists of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignerSet {
    words: Vec<u64>,
}

impl SignerSet {
    const BITS: usize = 64;

    /// Adds one.
    pub fn insert(&mut self, signer: usize) {
        let at = signer / Self::BITS;
        if self.words.len() <= at {
            self.words.resize(at.saturating_add(1), 0);
        }
        if let Some(word) = self.words.get_mut(at) {
            *word |= 1 << (signer % Self::BITS);
        }
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Whether it is in.
    #[must_use]
    pub fn contains(&self, signer: usize) -> bool {
        self.words
            .get(signer / Self::BITS)
            .is_some_and(|word| word >> (signer % Self::BITS) & 1 == 1)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// All, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            (0..Self::BITS)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at.saturating_mul(Self::BITS).saturating_add(bit))
        })
    }

    /// Those in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            words: self
                .words
                .iter()
                .zip(&other.words)
                .map(|(a, b)| a & b)
                .collect(),
        }
    }
}

/// Who may do something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principals {
    /// As written: names of signers and groups, `anyone` or `nobody`.
    pub names: Vec<String>,
    /// Everybody whom the server lets push.
    pub anyone: bool,
    /// The signers.
    pub signers: SignerSet,
}

/// How many distinct signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// How many.
    pub count: usize,
    /// Of whom.
    pub of: Principals,
    /// The refs whose tags count, for tags.
    pub approvals: Option<Globs>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Its own mode, or that of the whole.
    pub mode: EnforcementMode,
    /// The refs that it is about; without any: all.
    pub refs: Option<Globs>,
    /// The paths that it is about; without any: whole commits.
    pub paths: Option<Globs>,
    /// Who may do what.
    pub may: BTreeMap<Action, Principals>,
    /// Who may put commits on the branch other than through a merge.
    pub direct: Option<Principals>,
    /// Bots whose unsigned commits are accepted, by their index.
    pub unsigned: BTreeSet<usize>,
    /// Signatures that are accepted without being verified.
    pub unverified: BTreeSet<OtherKind>,
    /// Whether the committer must be the signer.
    pub match_committer: bool,
    /// Whether the author must be the signer.
    pub match_author: bool,
    /// Claims that the certificate must carry, by Fulcio's name.
    pub claims: Vec<(String, Condition)>,
    /// How many distinct signers.
    pub threshold: Option<Threshold>,
}

impl Rule {
    /// Whether it is about this ref.
    #[must_use]
    pub fn matches_ref(&self, name: &[u8]) -> bool {
        self.refs.as_ref().is_none_or(|refs| refs.matches(name))
    }
}

/// A policy, version 1. Equal if it says the same in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The mode where no rule has its own.
    pub mode: EnforcementMode,
    /// In the order of their names.
    pub signers: Vec<Signer>,
    /// Members by name, as written and resolved.
    pub groups: BTreeMap<String, Principals>,
    /// In the order of their names.
    pub bots: Vec<Bot>,
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// Ids of commits; what is reachable from them (they included) is not judged.
    pub cut_off: Vec<String>,
    pub(super) index: SignerIndex,
}

/// Finds signers by what a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SignerIndex {
    exact: HashMap<String, Vec<usize>>,
    patterns: Vec<usize>,
}

impl SignerIndex {
    pub(super) fn new(signers: &[Signer]) -> Self {
        let mut index = Self::default();
        for (number, signer) in signers.iter().enumerate() {
            match signer.identity.exact() {
                Some(text) => index.exact.entry(text.to_owned()).or_default().push(number),
                None => index.patterns.push(number),
            }
        }
        index
    }

    /// The signers whose identity may be this one: only they need to be looked at.
    pub(super) fn candidates<'a>(&'a self, identity: &str) -> impl Iterator<Item = usize> + 'a {
        self.exact
            .get(identity)
            .into_iter()
            .flatten()
            .chain(&self.patterns)
            .copied()
    }
}

impl Policy {
    /// A signer by name.
    #[must_use]
    pub fn signer(&self, name: &str) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.name == name)
    }

    /// The commits whose history is not judged: callers leave out what is
    /// reachable from them before they ask.
    #[must_use]
    pub fn cut_off(&self) -> &[String] {
        &self.cut_off
    }
}
