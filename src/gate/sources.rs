//! The refs before a push: which is the default branch, and which lend their states
//! to another (`from` in rules).
//!
//! All refs are listed; only those that a rule names as sources are followed to
//! their commits. A broken one lends nothing, and neither do refs that servers write
//! past the hook, nor one to which the rules let anyone add commits.
//!
//! *Not decided here:* what lending means (`policy/steps`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice as _},
};

use crate::host::{
    git::{
        GitError, Repository,
        objects::{Objects, Peeled, Target},
        push::{RefNamespace, check_name},
        walk::RefScope,
    },
    settings::Settings,
};
use gitseal_policy::{Policy, steps::MAX_SOURCES};

/// Errors while finding out which refs there are.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("gitseal.policyRef is {found:?}, which is not the name of a branch")]
    PolicyRef { found: String },
    #[error("more than {most} refs lend to {reference}")]
    TooMany { reference: String, most: usize },
}

/// The refs before a push.
pub struct RefSnapshot {
    /// By name, symbolic ones left out.
    values: BTreeMap<BString, ObjectId>,
    symbolic: HashSet<BString>,
    /// The full name of the default branch, which need not exist.
    default: Option<BString>,
    commits: HashMap<ObjectId, Option<ObjectId>>,
    /// By the rules that name them: the sources and their commits.
    sources: HashMap<Vec<usize>, Rc<Vec<(BString, ObjectId)>>>,
}

impl RefSnapshot {
    /// Reads the refs of the repository, as a server has them.
    ///
    /// # Errors
    /// Returns [`SourceError`] if they cannot be listed.
    pub fn read(repository: &Repository, settings: &Settings) -> Result<Self, SourceError> {
        let default = match policy_ref(settings)? {
            Some(name) => Some(name),
            None => repository.head_name(RefScope::Received)?,
        };
        let default = match default {
            // A branch can be symbolic, too.
            Some(name) => Some(
                repository
                    .symbolic_target(name.as_bstr(), RefScope::Received)?
                    .unwrap_or(name),
            ),
            None => None,
        };
        let mut snapshot = Self::new([], default);
        for (name, value) in repository.ref_values(RefScope::Received)? {
            match value {
                Some(id) => drop(snapshot.values.insert(name, id)),
                None => drop(snapshot.symbolic.insert(name)),
            }
        }
        Ok(snapshot)
    }

    /// Reads the refs of a remote as they were fetched, under the names that they have
    /// there.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of_remote(
        repository: &Repository,
        settings: &Settings,
        remote: &[u8],
    ) -> Result<Self, SourceError> {
        let prefix = [b"refs/remotes/", remote, b"/"].concat();
        let there = |name: &BStr| {
            let branch = name.strip_prefix(prefix.as_slice())?;
            (branch != b"HEAD").then(|| BString::from([b"refs/heads/", branch].concat()))
        };
        let default = match policy_ref(settings)? {
            Some(name) => Some(name),
            None => {
                let head = BString::from([prefix.as_slice(), b"HEAD"].concat());
                let target = repository.symbolic_target(head.as_bstr(), RefScope::Repository)?;
                target.and_then(|name| there(name.as_bstr()))
            }
        };
        let refs = repository.ref_values(RefScope::Repository)?.into_iter();
        let refs = refs.filter_map(|(name, id)| Some((there(name.as_bstr())?, id?)));
        Ok(Self::new(refs, default))
    }

    /// Returns a snapshot of these refs.
    pub fn new(
        refs: impl IntoIterator<Item = (BString, ObjectId)>,
        default: Option<BString>,
    ) -> Self {
        Self {
            values: refs.into_iter().collect(),
            symbolic: HashSet::new(),
            default,
            commits: HashMap::new(),
            sources: HashMap::new(),
        }
    }

    /// Returns the full name of the default branch: `gitseal.policyRef`, else the
    /// branch that HEAD names.
    #[must_use]
    pub fn default_branch(&self) -> Option<&BStr> {
        self.default.as_ref().map(|name| name.as_bstr())
    }

    /// Returns whether a branch exists.
    #[must_use]
    pub fn has_branches(&self) -> bool {
        let mut from = self.values.range(BString::from("refs/heads/")..);
        from.next()
            .is_some_and(|(name, _)| name.starts_with(b"refs/heads/"))
    }

    /// Returns whether a ref is symbolic.
    #[must_use]
    pub fn is_symbolic(&self, name: &BString) -> bool {
        self.symbolic.contains(name)
    }

    /// Returns the value of a ref.
    #[must_use]
    pub fn value(&self, name: &[u8]) -> Option<ObjectId> {
        self.values.get(name.as_bstr()).copied()
    }

    /// Returns the refs whose names start with `prefix`, and their values.
    pub fn below<'s>(&'s self, prefix: &'s [u8]) -> impl Iterator<Item = (&'s BStr, ObjectId)> {
        self.values
            .range(BString::from(prefix)..)
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, id)| (name.as_bstr(), *id))
    }

    /// Returns the commit of a ref; `None` if there is none.
    pub fn commit_of(&mut self, name: &[u8], objects: &Objects) -> Option<ObjectId> {
        let value = self.value(name)?;
        self.peel(value, objects)
    }

    fn peel(&mut self, id: ObjectId, objects: &Objects) -> Option<ObjectId> {
        *self
            .commits
            .entry(id)
            .or_insert_with(|| match objects.peel(id) {
                Ok(Peeled {
                    target: Target::Commit(commit),
                    ..
                }) => Some(commit),
                _ => None,
            })
    }

    /// Returns the commits of the sources of a ref.
    ///
    /// # Errors
    /// Returns [`SourceError`] if there are too many.
    pub fn lent_to(
        &mut self,
        name: &[u8],
        policy: &Policy,
        objects: &Objects,
    ) -> Result<Vec<ObjectId>, SourceError> {
        let numbers: Vec<usize> = naming(policy, name).map(|(number, _)| number).collect();
        let sources = match self.sources.get(&numbers) {
            Some(sources) => Rc::clone(sources),
            None => {
                let sources = Rc::new(self.find_sources(&numbers, policy, objects));
                self.sources.insert(numbers, Rc::clone(&sources));
                sources
            }
        };
        if sources.len() > MAX_SOURCES {
            return Err(SourceError::TooMany {
                reference: name.as_bstr().to_string(),
                most: MAX_SOURCES,
            });
        }
        let sources = sources.iter();
        let mut commits: Vec<ObjectId> = sources
            .filter(|(source, _)| source != name)
            .map(|(_, commit)| *commit)
            .collect();
        commits.sort_unstable();
        commits.dedup();
        Ok(commits)
    }

    /// The refs that all of these rules name, or the default branch without a rule.
    fn find_sources(
        &mut self,
        numbers: &[usize],
        policy: &Policy,
        objects: &Objects,
    ) -> Vec<(BString, ObjectId)> {
        let named = |name: &[u8]| match numbers {
            [] => self.default.as_ref().is_some_and(|default| default == name),
            numbers => {
                let mut rules = numbers.iter().filter_map(|at| policy.rules.get(*at));
                rules.all(|rule| rule.from.as_ref().is_some_and(|from| from.matches(name)))
            }
        };
        let found: Vec<(BString, ObjectId)> = self
            .values
            .iter()
            .filter(|(name, _)| named(name) && may_lend(policy, name))
            .map(|(name, id)| (name.clone(), *id))
            // One more, so that it is noticed.
            .take(MAX_SOURCES.saturating_add(2))
            .collect();
        found
            .into_iter()
            .filter_map(|(name, id)| Some((name, self.peel(id, objects)?)))
            .collect()
    }

    /// Returns whether `source` lends to `name`, whether it exists or not.
    #[must_use]
    pub fn is_source(&self, source: &[u8], name: &[u8], policy: &Policy) -> bool {
        let default = self.default.as_ref().map(|name| name.as_slice());
        may_lend(policy, source) && policy.lends(source, name, default)
    }
}

/// Returns the name that `gitseal.policyRef` sets.
fn policy_ref(settings: &Settings) -> Result<Option<BString>, SourceError> {
    let Some(found) = settings.policy_ref.value.as_ref() else {
        return Ok(None);
    };
    let is_branch = found.starts_with("refs/heads/") && check_name(found.as_bytes()).is_ok();
    if !is_branch {
        return Err(SourceError::PolicyRef {
            found: found.clone(),
        });
    }
    Ok(Some(found.as_str().into()))
}

/// Returns the rules about a ref that name sources, and the names.
fn naming<'p>(
    policy: &'p Policy,
    name: &'p [u8],
) -> impl Iterator<Item = (usize, &'p gitseal_policy::glob::Globs)> {
    policy
        .rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| !rule.trial && rule.matches_ref(name))
        .filter_map(|(number, rule)| Some((number, rule.from.as_ref()?)))
}

/// Returns whether what a ref holds was evaluated: pushes write it, and the rules do
/// not let anyone add commits to it.
fn may_lend(policy: &Policy, name: &[u8]) -> bool {
    let is_pushed = !matches!(
        RefNamespace::of(name),
        RefNamespace::Replace | RefNamespace::Notes | RefNamespace::Review | RefNamespace::Server
    );
    is_pushed && !policy.is_open(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        let text = format!(
            "version = 2\n[signers]\na = {{ issuer = \"https://i.example\", identity = \"a@example.com\" }}\n{rules}"
        );
        Policy::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn snapshot() -> RefSnapshot {
        RefSnapshot::new([], Some("refs/heads/main".into()))
    }

    fn lends(source: &str, name: &str, rules: &str) -> bool {
        snapshot().is_source(source.as_bytes(), name.as_bytes(), &policy(rules))
    }

    const SIGNED: &str = "[[rules]]\nname = \"all\"\ncommit = [\"a\"]\nmerge = [\"a\"]\n";

    #[test]
    fn the_default_branch_lends_unless_a_rule_names_sources() {
        let (main, topic) = ("refs/heads/main", "refs/heads/topic");
        assert!(lends(main, topic, SIGNED));
        assert!(lends(main, "refs/tags/v1", SIGNED));
        assert!(!lends(topic, main, SIGNED));
        assert!(!lends(main, main, SIGNED), "a ref lends nothing to itself");
        let named = format!(
            "{SIGNED}[[rules]]\nname = \"r\"\nrefs = [\"refs/heads/release/*\"]\nfrom = [\"refs/heads/next\"]\ncommit = [\"a\"]\n"
        );
        let release = "refs/heads/release/1";
        assert!(!lends(main, release, &named));
        assert!(lends("refs/heads/next", release, &named));
        assert!(lends(main, topic, &named));
        // Every rule that names sources has to name this one.
        let both = format!(
            "{named}[[rules]]\nname = \"s\"\nfrom = [\"refs/heads/main\"]\nrefs = [\"refs/heads/**\"]\ncommit = [\"a\"]\n"
        );
        assert!(!lends("refs/heads/next", release, &both));
        assert!(!lends(main, release, &both));
    }

    #[test]
    fn what_anyone_may_change_lends_nothing() {
        let open = |more: &str, path: &str| {
            format!("[[rules]]\nname = \"o\"\n{path}commit = [\"anyone\"]\nmerge = [\"a\"]\n{more}")
        };
        let (main, topic) = ("refs/heads/main", "refs/heads/topic");
        assert!(!lends(main, topic, &open("", "")));
        assert!(!lends(main, topic, &open("", "paths = [\"docs/**\"]\n")));
        // Another rule about whole commits holds it.
        assert!(lends(main, topic, &open(SIGNED, "")));
        let owner = "[[rules]]\nname = \"p\"\npaths = [\"src/**\"]\ncommit = [\"a\"]\n";
        assert!(!lends(main, topic, &open(owner, "")));
        // A tag that needs no signature is made of any commit.
        let from = format!("{SIGNED}from = [\"refs/tags/*\"]\n");
        let free = "[[rules]]\nname = \"t\"\nrefs = [\"refs/tags/*\"]\ntag = [\"anyone\"]\n";
        let signed = free.replace("anyone", "a");
        assert!(lends("refs/tags/v1", topic, &format!("{from}{signed}")));
        assert!(!lends("refs/tags/v1", topic, &format!("{from}{free}")));
        // Servers write these past the hook.
        let from = format!("{SIGNED}from = [\"refs/**\"]\n");
        assert!(lends("refs/heads/next", topic, &from));
        for kept in ["refs/pull/1/head", "refs/notes/x", "refs/replace/x"] {
            assert!(!lends(kept, topic, &from), "{kept}");
        }
    }
}
