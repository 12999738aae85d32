//! The parsed policy: signers, groups and rules, with every name resolved.
//!
//! *Not checked here:* the file (`parse.rs`), and commits (`evaluate.rs`).

use std::collections::{BTreeMap, HashMap};

use super::{
    facts::{Action, ChangedPath, EnforcementMode},
    glob::Globs,
};
use gitseal_evidence::{UnixTime, identity::Pattern};

/// Refs under which no tag is judged.
const BRANCHES: &[u8] = b"refs/heads/";

/// A condition on a string. Conditions are equal if they are written the same.
#[derive(Debug, Clone)]
pub struct Condition(pub(super) Pattern);

impl Condition {
    /// Returns whether the whole string satisfies the condition.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// Returns the condition as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the string, if only this one satisfies the condition.
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

/// A person or machine that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The name that rules use.
    pub name: String,
    /// The issuer of the identity.
    pub issuer: Condition,
    /// The identity: the SAN of the certificate.
    pub identity: Condition,
    /// Claims that every certificate of this signer must contain, by Fulcio's name.
    pub claims: Vec<(String, Condition)>,
    /// The first second at which a signature counts.
    pub valid_from: Option<UnixTime>,
    /// The first second at which no signature counts any more.
    pub valid_until: Option<UnixTime>,
    /// The age in seconds up to which a signature counts, instead of the policy's.
    pub max_age: Option<i64>,
    /// Email addresses of this signer as committer. If empty: the identity in the
    /// certificate.
    pub emails: Vec<String>,
    /// Accounts of this signer at the Git server.
    pub accounts: Vec<String>,
}

/// A set of signers by their index, one bit each: a policy has up to 10,000 signers
/// and thousands of lists of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignerSet {
    words: Vec<u64>,
}

impl SignerSet {
    const BITS: usize = 64;

    /// Adds one signer.
    pub fn insert(&mut self, signer: usize) {
        let at = signer / Self::BITS;
        if self.words.len() <= at {
            self.words.resize(at.saturating_add(1), 0);
        }
        if let Some(word) = self.words.get_mut(at) {
            *word |= 1 << (signer % Self::BITS);
        }
    }

    /// Adds every signer of another set.
    pub fn extend(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Returns whether the set contains a signer.
    #[must_use]
    pub fn contains(&self, signer: usize) -> bool {
        self.words
            .get(signer / Self::BITS)
            .is_some_and(|word| word >> (signer % Self::BITS) & 1 == 1)
    }

    /// Returns the number of signers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Iterates over the signers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            (0..Self::BITS)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at.saturating_mul(Self::BITS).saturating_add(bit))
        })
    }

    /// Returns the intersection of two sets.
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

/// Those who may perform an action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principals {
    /// Names of signers and groups as written, `anyone` or `nobody`.
    pub names: Vec<String>,
    /// Whether every pusher may.
    pub anyone: bool,
    /// The signers, groups resolved.
    pub signers: SignerSet,
}

/// A required number of distinct signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// The number of distinct signers.
    pub count: usize,
    /// The signers that count.
    pub of: Principals,
}

/// A rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name, used in reports.
    pub name: String,
    /// Whether the rule is only tried: it is evaluated after the verdict and
    /// reported, but it allows nothing, refuses nothing and counts for nothing.
    pub trial: bool,
    /// The refs that the rule is about; `None`: all.
    pub refs: Option<Globs>,
    /// The paths that the rule is about; `None`: whole commits.
    pub paths: Option<Globs>,
    /// The refs whose commits the rule's refs may take without evaluation; `None`:
    /// the default branch, and for the default branch itself none.
    pub from: Option<Globs>,
    /// The help that is shown where this rule refuses.
    pub help: Option<String>,
    /// The actions that the rule is about, and who may perform them.
    pub may: BTreeMap<Action, Principals>,
    /// The signers of commits that need no merge, if the rule requires merges.
    pub direct: Option<Principals>,
    /// Whether the committer must be the signer.
    pub match_committer: bool,
    /// Whether an unsigned merge that changes nothing itself counts as one by the
    /// signer whose account the server names, for `merge` alone.
    pub merge_by_account: bool,
    /// The required number of distinct signers.
    pub threshold: Option<Threshold>,
}

impl Rule {
    /// Returns whether the rule is about this ref.
    #[must_use]
    pub fn matches_ref(&self, name: &[u8]) -> bool {
        self.refs.as_ref().is_none_or(|refs| refs.matches(name))
    }

    /// Returns whether the rule is about this path, as it is spelled: then it can allow
    /// its change.
    #[must_use]
    pub fn matches_path(&self, path: &[u8]) -> bool {
        self.paths.as_ref().is_none_or(|paths| paths.matches(path))
    }

    /// Returns whether the rule is about this path and excludes neither another spelling
    /// of it nor, for a link, anything below.
    #[must_use]
    pub fn covers(&self, changed: &ChangedPath) -> bool {
        self.paths
            .as_ref()
            .is_none_or(|paths| paths.covers(&changed.path, changed.link))
    }

    /// Returns whether the rule speaks of a changed path: then it must allow its change.
    /// It also speaks of paths that differ in case only, and of links and submodules at
    /// a directory above its patterns' literal parts.
    #[must_use]
    pub fn speaks_of(&self, changed: &ChangedPath) -> bool {
        self.paths.as_ref().is_none_or(|paths| {
            paths.matches(&changed.path)
                || paths.matches_folded(&changed.path)
                || changed.link && paths.is_below(&changed.path)
        })
    }
}

/// A policy, version 2. Policies are equal if their content and order are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether violations refuse. Changes of the policy are enforced in either mode.
    pub mode: EnforcementMode,
    /// Where pushers get help: text or a URL, shown under every refusal.
    pub contact: Option<String>,
    /// The age in seconds up to which a signature counts.
    pub max_age: Option<i64>,
    /// The names of the files beside this one that define signers and groups.
    pub include: Vec<String>,
    /// The signers who may override refusals with a signed push.
    pub override_by: Option<Principals>,
    /// The signers, in the order of their names.
    pub signers: Vec<Signer>,
    /// The members of groups by name.
    pub groups: BTreeMap<String, Principals>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Ids of commits; these and the commits reachable from them are not evaluated.
    pub cut_off: Vec<String>,
    pub(super) index: SignerIndex,
}

/// An index of signers by identity.
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

    /// Returns the signers whose identity may match: only these need to be checked.
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
    /// Returns the signer with this name.
    #[must_use]
    pub fn signer(&self, name: &str) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.name == name)
    }

    /// Returns the rules about an action on a reference that are not on trial.
    pub(crate) fn speaking<'p>(
        &'p self,
        action: Action,
        name: &'p [u8],
    ) -> impl Iterator<Item = (&'p Rule, &'p Principals)> {
        self.rules
            .iter()
            .filter(move |rule| !rule.trial && rule.matches_ref(name))
            .filter_map(move |rule| Some((rule, rule.may.get(&action)?)))
    }

    /// Returns whether anyone may tag anything under this name: then the commit of a tag
    /// need not be a state.
    #[must_use]
    pub fn is_free_tag(&self, ref_name: &[u8]) -> bool {
        let mut rules = self.speaking(Action::Tag, ref_name).peekable();
        rules.peek().is_some() && rules.all(|(rule, who)| who.anyone && rule.threshold.is_none())
    }

    /// Returns whether anyone may add commits or merges to a ref, signed or not. Such a
    /// ref is not protected, so it is never a source of another one.
    #[must_use]
    pub fn is_open(&self, ref_name: &[u8]) -> bool {
        if !ref_name.starts_with(BRANCHES) && self.is_free_tag(ref_name) {
            return true;
        }
        [Action::Commit, Action::Merge].into_iter().any(|action| {
            let speaking = || self.speaking(action, ref_name);
            let is_closed = speaking().any(|(rule, who)| rule.paths.is_none() && !who.anyone);
            !is_closed && speaking().any(|(_, who)| who.anyone)
        })
    }

    /// Returns whether a ref lends its commits to another one: all rules about `to` that
    /// have sources name it; if none has, it is the default branch.
    #[must_use]
    pub fn lends(&self, source: &[u8], to: &[u8], default_branch: Option<&[u8]>) -> bool {
        if source == to || self.is_open(source) {
            return false;
        }
        let mut sources = self
            .rules
            .iter()
            .filter(|rule| !rule.trial && rule.matches_ref(to))
            .filter_map(|rule| rule.from.as_ref())
            .peekable();
        if sources.peek().is_none() {
            return default_branch == Some(source) && default_branch != Some(to);
        }
        sources.all(|from| from.matches(source))
    }
}
