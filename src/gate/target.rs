//! What the refs of a push lead to, before and after.
//!
//! *Not decided here:* what is allowed (`policy/`).

use std::{collections::HashMap, sync::Arc};

use gix::{ObjectId, bstr::ByteSlice as _};

use super::sources::RefSnapshot;
use crate::host::git::{
    GitError, Repository,
    objects::{Objects, Peeled, Target},
    push::{RefCommand, RefNamespace},
    walk::RefScope,
};
use gitseal_evidence::object;
use gitseal_policy::{Finding, Policy, UpdateKind};

/// A tag object that a ref leads to.
#[derive(Debug, Clone)]
pub struct TagObject {
    pub id: ObjectId,
    /// The name in the tag, if it is readable.
    pub name: Option<String>,
}

/// The target of a ref.
#[derive(Debug, Clone, Default)]
pub struct RefTarget {
    /// The tag objects on the way, the outermost first.
    pub tags: Vec<TagObject>,
    pub commit: Option<ObjectId>,
    /// `tree` or `blob`, if the target is not a commit.
    pub other: Option<String>,
}

/// The change of one ref.
#[derive(Debug, Clone)]
pub struct RefChange {
    pub update: RefCommand,
    pub space: RefNamespace,
    pub old: Arc<RefTarget>,
    pub new: Arc<RefTarget>,
}

/// The side on which a push is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushSide {
    /// The receiving server: its refs are at hand, and the old values exist.
    Server,
    /// The sending client: of the server only the fetched refs are known.
    Client,
    /// A service that has accepted the push already: it names the values.
    Service,
}

/// Errors while reading what a push changes.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("cannot read the new value of {reference}: {error}")]
    Value { reference: String, error: GitError },
}

/// Reads what the refs of a push lead to.
///
/// # Errors
/// Returns [`TargetError`] if a new value cannot be read.
pub fn read_changes(
    updates: Vec<RefCommand>,
    repository: &Repository,
    before: &RefSnapshot,
) -> Result<Vec<RefChange>, TargetError> {
    let objects = repository.objects();
    let mut known: HashMap<ObjectId, Arc<RefTarget>> = HashMap::new();
    let mut changes = Vec::with_capacity(updates.len());
    for mut update in updates {
        // A symbolic ref is the one that it points to.
        if before.is_symbolic(&update.name)
            && let Some(target) =
                repository.symbolic_target(update.name.as_bstr(), RefScope::Received)?
        {
            update.name = target;
        }
        let new = match update.new {
            None => Arc::default(),
            Some(id) => target(objects, id, &mut known).map_err(|error| TargetError::Value {
                reference: update.name.to_string(),
                error,
            })?,
        };
        // An old value that cannot be read is no reason to keep it.
        let old = update.old;
        let old = old.and_then(|id| target(objects, id, &mut known).ok());
        changes.push(RefChange {
            space: RefNamespace::of(&update.name),
            update,
            old: old.unwrap_or_default(),
            new,
        });
    }
    Ok(changes)
}

fn target(
    objects: &Objects,
    id: ObjectId,
    known: &mut HashMap<ObjectId, Arc<RefTarget>>,
) -> Result<Arc<RefTarget>, GitError> {
    if let Some(target) = known.get(&id) {
        return Ok(Arc::clone(target));
    }
    let Peeled { tags, target } = objects.peel(id)?;
    let mut read = Vec::with_capacity(tags.len());
    for id in tags {
        let raw = objects.read(id)?.raw;
        let name = object::tag_view(&raw).ok().map(|view| view.tag);
        read.push(TagObject { id, name });
    }
    let (commit, other) = match target {
        Target::Commit(id) => (Some(id), None),
        Target::Other(kind) => (None, Some(kind)),
    };
    let target = Arc::new(RefTarget {
        tags: read,
        commit,
        other,
    });
    known.insert(id, Arc::clone(&target));
    Ok(target)
}

impl RefChange {
    /// Returns whether the ref is judged as a tag: it is one, or leads to a tag object
    /// and is not a branch.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        match self.space {
            RefNamespace::Tag => true,
            RefNamespace::Branch => false,
            _ => !self.new.tags.is_empty(),
        }
    }

    /// Returns the kind of a change that no history decides.
    #[must_use]
    pub fn kind(&self) -> UpdateKind {
        match (&self.update.old, &self.update.new) {
            (None, Some(_)) => UpdateKind::Create,
            (_, None) => UpdateKind::Delete,
            (Some(_), Some(_)) => UpdateKind::Update {
                fast_forward: false,
            },
        }
    }

    /// Returns the findings that no rule has to state: special refs that no rule names,
    /// and branches or lightweight tags of objects that are not commits.
    #[must_use]
    pub fn unusual(&self, policy: &Policy) -> Vec<Finding> {
        let name: &[u8] = &self.update.name;
        let mut findings = Vec::new();
        if self.update.new.is_none() {
            return findings;
        }
        let mut say = |code, message: String| {
            findings.push(Finding::new(policy.mode, code, message));
        };
        let (prefix, reason) = match self.space {
            RefNamespace::Branch | RefNamespace::Tag | RefNamespace::Other => ("", ""),
            RefNamespace::Replace => ("refs/replace/", "replacement refs change what Git displays"),
            RefNamespace::Notes => ("refs/notes/", "notes are not covered by commit signatures"),
            RefNamespace::Review => ("refs/", "a review server rewrites pushes to this ref"),
            RefNamespace::Server => ("refs/", "only the server writes this ref"),
        };
        if !prefix.is_empty() && !is_named(policy, name, prefix) {
            let name = String::from_utf8_lossy(name);
            say(
                "reference-special",
                format!("{reason}; no rule allows {name}"),
            );
        }
        let is_branch = self.space == RefNamespace::Branch;
        if is_branch && !self.new.tags.is_empty() {
            let message = "a branch must point to a commit, not to a tag".to_owned();
            say("branch-of-tag", message);
        }
        if let Some(other) = &self.new.other
            && (is_branch || self.new.tags.is_empty())
        {
            let name = String::from_utf8_lossy(name);
            say(
                "reference-of-other",
                format!("{name} would point to a {other}, which cannot be signed"),
            );
        }
        findings
    }
}

/// Returns whether a rule names this ref explicitly: a pattern that starts with the
/// namespace, without a wildcard before it.
fn is_named(policy: &Policy, name: &[u8], prefix: &str) -> bool {
    let is_explicit = |pattern: &str| {
        let is_wild = |character| matches!(character, '*' | '?' | '[' | '{' | '\\');
        let literal = pattern.split(is_wild).next().unwrap_or_default().as_bytes();
        literal.len() > prefix.len()
            && literal.starts_with(prefix.as_bytes())
            && name.starts_with(literal)
    };
    let mut rules = policy.rules.iter();
    rules.any(|rule| {
        !rule.trial
            && rule.matches_ref(name)
            && rule.refs.as_ref().is_some_and(|globs| {
                let mut patterns = globs.patterns().iter();
                patterns.any(|pattern| {
                    is_explicit(pattern) || prefix != "refs/" && pattern.starts_with(prefix)
                })
            })
    })
}
