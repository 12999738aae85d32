//! The plan of a push: for each ref its target before and after, whether it moves
//! forward, and which commits it gains.
//!
//! **Which commits a ref gains**, and so have to be checked:
//!
//! - *An existing ref*: all that the new value reaches and the old one does not. Not
//!   only objects that are new to the repository: a commit on some other ref was
//!   checked against that ref's rules, or against none.
//! - *A new ref*: all that the new value reaches, except what a branch or tag under
//!   the same rules reached before the push. What the same rules accepted once adds
//!   nothing; everything else has to pass them, to the root of history or to the
//!   policy's cut-off. A branch under more rules counts as well, if these would not
//!   have been silent without those.
//!
//! "Before the push" is the state of the refs when the hook starts, together with
//! the old values that Git passes. A ref that is written in the meantime, by another
//! push or by an earlier part of this one, hides nothing: for an existing ref only
//! its own old value counts.
//!
//! Servers write refs too (`refs/pull/`, …), past the hook: those hide nothing. A
//! symbolic ref is the one that it points to.
//!
//! Refs under the same rules are a group; within one, a commit is checked once,
//! however many refs gain it.
//!
//! *Not decided here:* what is allowed (`policy/`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use gix::{ObjectId, bstr::ByteSlice as _};

use crate::host::git::{
    GitError, Repository,
    graph::{Graph, GraphError, Traversal},
    objects::{Objects, Peeled, Target},
    push::{RefCommand, RefNamespace},
    walk::RefScope,
};
use gitseal_evidence::object;

/// Maximum number of commits that all refs of a push gain, counted for each ref.
const MAX_GAINS: usize = 8_000_000;

/// The rules that apply to a ref, by number: refs with the same rules are a group.
pub type Group = Vec<usize>;

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
    pub id: Option<ObjectId>,
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
    pub group: Group,
    pub old: Arc<RefTarget>,
    pub new: Arc<RefTarget>,
    /// Whether the new value reaches the old one; false for a created or deleted ref.
    pub forward: bool,
}

/// A commit to check, and the change that adds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCommit {
    pub commit: ObjectId,
    /// Index of the change.
    pub change: usize,
    /// Whether it is in the first-parent history of the new value; otherwise a merge
    /// brings it in.
    pub direct: bool,
}

#[derive(Debug, Default)]
pub struct Plan {
    /// In Git's order.
    pub changes: Vec<RefChange>,
    /// Each commit after its parents, within a change.
    pub gains: Vec<NewCommit>,
}

/// Errors while planning the check of a push.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("{reference}: {error}")]
    Reference {
        reference: String,
        error: GraphError,
    },
    #[error("cannot read the new value of {reference}: {error}")]
    Value { reference: String, error: GitError },
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

/// A snapshot of the refs before the push.
pub struct RefSnapshot {
    /// Name and peeled commit.
    pub commits: Vec<(Vec<u8>, ObjectId)>,
    /// Annotated tags: name, tag object, and peeled commit.
    pub tags: Vec<(Vec<u8>, ObjectId, ObjectId)>,
    /// The protected branch, which HEAD names, and its commit.
    pub protected: Option<(Vec<u8>, ObjectId)>,
}

impl RefSnapshot {
    /// Reads the refs of the repository. A broken ref is left out: it hides nothing.
    ///
    /// # Errors
    /// They cannot be listed. One that leads nowhere is left out: it hides
    /// nothing.
    pub fn read(repository: &Repository, scope: RefScope) -> Result<Self, GitError> {
        let mut before = Self {
            commits: Vec::new(),
            tags: Vec::new(),
            protected: repository.head_branch(scope)?,
        };
        // A symbolic reference is the one that it stands for, which is there too.
        let tips = repository.reference_tips(scope)?.into_iter();
        for tip in tips.filter(|tip| !tip.is_symbolic) {
            let Ok(Peeled {
                tags,
                target: Target::Commit(commit),
            }) = tip.peeled
            else {
                continue;
            };
            if let Some(tag) = tags.first() {
                before.tags.push((tip.name.clone(), *tag, commit));
            }
            before.commits.push((tip.name, commit));
        }
        Ok(before)
    }
}

impl RefSnapshot {
    /// Reads the refs of a remote as they were fetched, under the names that they have
    /// there; local refs hide nothing.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of_remote(repository: &Repository, remote: &[u8]) -> Result<Self, GitError> {
        let prefix = [b"refs/remotes/", remote, b"/"].concat();
        let mut before = Self::read(repository, RefScope::Repository)?;
        before.commits = before
            .commits
            .into_iter()
            .filter_map(|(name, commit)| {
                let branch = name.strip_prefix(prefix.as_slice())?;
                (branch != b"HEAD").then(|| ([b"refs/heads/", branch].concat(), commit))
            })
            .collect();
        // What is checked out here protects nothing there.
        let head = [prefix.as_slice(), b"HEAD"].concat();
        before.protected = repository
            .symbolic_target(head.as_bstr(), RefScope::Repository)?
            .and_then(|name| {
                let branch = name.strip_prefix(prefix.as_slice())?;
                let name = [b"refs/heads/", branch].concat();
                let commit = before.tip_of(&name)?;
                Some((name, commit))
            });
        Ok(before)
    }

    /// Restricts the snapshot for a CI job about `reference` that starts at `base`: of
    /// the fetched refs only the default branch hides commits, since anyone who may push
    /// can put the same commits on two others.
    pub fn restrict_to(&mut self, default: Option<&str>, reference: &[u8], base: Option<ObjectId>) {
        let default = default.map(|branch| format!("refs/heads/{branch}").into_bytes());
        self.commits
            .retain(|(name, _)| default.as_ref() == Some(name) && name != reference);
        self.protected = match base {
            Some(base) => Some((reference.to_vec(), base)),
            None => self.commits.first().cloned(),
        };
    }

    /// Returns the commit that a ref leads to.
    #[must_use]
    pub fn tip_of(&self, name: &[u8]) -> Option<ObjectId> {
        let mut all = self.commits.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, commit)| *commit)
    }

    /// Branches and tags: pushes made them, so they were checked.
    fn pushed(&self) -> impl Iterator<Item = (&[u8], ObjectId)> {
        self.commits.iter().filter_map(|(name, commit)| {
            let is_one = name.starts_with(b"refs/")
                && matches!(
                    RefNamespace::of(name),
                    RefNamespace::Branch | RefNamespace::Tag
                );
            is_one.then_some((name.as_slice(), *commit))
        })
    }
}

/// The rules as far as they decide what has to be checked.
pub trait RuleScope {
    /// Returns the rules that apply to commits on a ref.
    fn binds(&self, reference: &[u8]) -> Group;
    /// Returns whether one of these rules applies to every commit and merge, whatever it
    /// changes: then further rules can only add requirements.
    fn speak_always(&self, group: &Group) -> bool;
    /// Returns whether one of these rules has a threshold.
    fn counts(&self, group: &Group) -> bool;
    /// Returns the commits whose history is not checked.
    fn cut_off(&self) -> Vec<ObjectId>;
}

impl PlanError {
    /// Returns the missing parent, if that is the error.
    #[must_use]
    pub fn missing_parent(&self) -> Option<String> {
        match self {
            Self::Graph(GraphError::MissingParent { parent, .. })
            | Self::Reference {
                error: GraphError::MissingParent { parent, .. },
                ..
            } => Some(parent.clone()),
            _ => None,
        }
    }

    /// Returns the next step for the pusher.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        if self.missing_parent().is_some() {
            return Some(
                "the pushed history is shallow; run 'git fetch --unshallow', then push again",
            );
        }
        match self {
            Self::Graph(GraphError::TooMuch { .. })
            | Self::Reference {
                error: GraphError::TooMuch { .. },
                ..
            } => Some("push fewer commits at a time, the oldest first"),
            _ => None,
        }
    }
}

/// Plans the check of a push.
///
/// # Errors
/// Something that has to be looked at cannot be read, or a limit is reached.
pub fn plan(
    updates: Vec<RefCommand>,
    repository: &Repository,
    graph: &mut Graph,
    before: &RefSnapshot,
    side: PushSide,
    binding: &dyn RuleScope,
) -> Result<Plan, PlanError> {
    let objects = repository.objects();
    let mut values: HashMap<ObjectId, Arc<RefTarget>> = HashMap::new();
    let mut plan = Plan::default();
    for mut update in updates {
        if side == PushSide::Server
            && let Some(target) =
                repository.symbolic_target(update.name.as_bstr(), RefScope::Received)?
        {
            update.name = target;
        }
        let reference = update.name.to_string();
        let new = match update.new {
            None => Arc::default(),
            Some(id) => value(objects, id, &mut values)
                .map_err(|error| PlanError::Value { reference, error })?,
        };
        // An old value that cannot be read is no reason to keep it.
        let old = update
            .old
            .map(|id| {
                value(objects, id, &mut values).unwrap_or_else(|_| {
                    Arc::new(RefTarget {
                        id: Some(id),
                        ..RefTarget::default()
                    })
                })
            })
            .unwrap_or_default();
        plan.changes.push(RefChange {
            space: RefNamespace::of(&update.name),
            group: binding.binds(&update.name),
            update,
            old,
            new,
            forward: false,
        });
    }
    moved(&mut plan, graph, before, side, binding)?;
    created(&mut plan, graph, before, binding)?;
    Ok(plan)
}

/// Adds the commits that existing refs gain.
fn moved(
    plan: &mut Plan,
    graph: &mut Graph,
    before: &RefSnapshot,
    side: PushSide,
    binding: &dyn RuleScope,
) -> Result<(), PlanError> {
    let cut_off = binding.cut_off();
    // A reference about whose commits no rule speaks (a tag, as a rule) adds none:
    // what it reaches has to lie on one about which a rule does.
    let is_any_unbound = plan
        .changes
        .iter()
        .any(|change| change.group.is_empty() && change.update.old.is_some());
    let elsewhere: Vec<ObjectId> = if is_any_unbound {
        let there = before
            .pushed()
            .filter(|(name, _)| !binding.binds(name).is_empty())
            .map(|(_, commit)| commit);
        there.chain(arriving(&plan.changes)).collect()
    } else {
        Vec::new()
    };
    for (at, change) in plan.changes.iter_mut().enumerate() {
        let (Some(_), Some(new)) = (change.update.old, change.new.commit) else {
            continue;
        };
        let mut hidden: Vec<ObjectId> = change.old.commit.into_iter().collect();
        let is_unbound = change.group.is_empty();
        if hidden.is_empty() && side == PushSide::Client {
            // The old value was never fetched; what was fetched stands in for it.
            hidden.extend(before.commits.iter().map(|(_, commit)| *commit));
        }
        let failed = |error| PlanError::Reference {
            reference: change.update.name.to_string(),
            error,
        };
        let gained = graph
            .new_commits(&[new], &hidden, Traversal::DateLimited)
            .map_err(failed)?;
        change.forward =
            change.old.commit == Some(new) || (change.old.commit.is_some() && gained.continues);
        let gained = if cut_off.is_empty() && !is_unbound {
            gained
        } else {
            hidden.extend_from_slice(&cut_off);
            if is_unbound {
                hidden.extend_from_slice(&elsewhere);
            }
            graph
                .new_commits(&[new], &hidden, Traversal::DateLimited)
                .map_err(failed)?
        };
        // For each ref that gains it, since a walk to the end of history confirms
        // which one does.
        gain_all(&mut plan.gains, at, new, gained.commits, graph).map_err(failed)?;
    }
    Ok(())
}

/// Adds the commits that the change of one ref to `tip` gains.
fn gain_all(
    gains: &mut Vec<NewCommit>,
    change: usize,
    tip: ObjectId,
    commits: Vec<ObjectId>,
    graph: &mut Graph,
) -> Result<(), GraphError> {
    let among: HashSet<ObjectId> = commits.iter().copied().collect();
    let mut line = HashSet::new();
    graph.follow_first_parents(tip, |commit| among.contains(&commit) && line.insert(commit))?;
    for commit in commits {
        gain(gains, commit, change, line.contains(&commit))?;
    }
    Ok(())
}

/// Adds a commit, up to the limit.
fn gain(
    gains: &mut Vec<NewCommit>,
    commit: ObjectId,
    change: usize,
    direct: bool,
) -> Result<(), GraphError> {
    if gains.len() >= MAX_GAINS {
        return Err(GraphError::TooMuch {
            most: u64::try_from(MAX_GAINS).unwrap_or(u64::MAX),
            what: "commits on all refs together",
        });
    }
    gains.push(NewCommit {
        commit,
        change,
        direct,
    });
    Ok(())
}

/// The new tips of refs whose commits the rules apply to: those are checked there.
fn arriving(changes: &[RefChange]) -> impl Iterator<Item = ObjectId> {
    changes
        .iter()
        .filter(|change| !change.group.is_empty())
        .filter_map(|change| change.new.commit)
}

/// Adds the commits that new refs gain.
fn created(
    plan: &mut Plan,
    graph: &mut Graph,
    before: &RefSnapshot,
    binding: &dyn RuleScope,
) -> Result<(), PlanError> {
    let mut groups: BTreeMap<Group, Vec<usize>> = BTreeMap::new();
    for (at, change) in plan.changes.iter().enumerate() {
        if change.update.old.is_none() && change.new.commit.is_some() {
            groups.entry(change.group.clone()).or_default().push(at);
        }
    }
    if groups.is_empty() {
        return Ok(());
    }
    // Which rules bind what is there.
    let mut bound: HashMap<Group, Vec<ObjectId>> = HashMap::new();
    for (name, commit) in before.pushed() {
        bound.entry(binding.binds(name)).or_default().push(commit);
    }
    for (group, members) in groups {
        let with_more = group.is_empty() || binding.speak_always(&group);
        let let_in = |other: &Group| {
            !other.is_empty()
                && (*other == group || with_more && group.iter().all(|rule| other.contains(rule)))
        };
        let mut hidden: Vec<ObjectId> = bound
            .iter()
            .filter(|(other, _)| let_in(other))
            .flat_map(|(_, commits)| commits.iter().copied())
            .collect();
        hidden.extend_from_slice(&binding.cut_off());
        if group.is_empty() {
            hidden.extend(arriving(&plan.changes));
        }
        hidden.sort_unstable();
        hidden.dedup();
        let tips: Vec<(usize, ObjectId)> = members
            .into_iter()
            .filter_map(|at| Some((at, plan.changes.get(at)?.new.commit?)))
            .collect();
        // Who signed for a commit is counted among all that one reference gains.
        if binding.counts(&group) {
            for (change, tip) in tips {
                let gained = graph.new_commits(&[tip], &hidden, Traversal::DateLimited)?;
                gain_all(&mut plan.gains, change, tip, gained.commits, graph)?;
            }
            continue;
        }
        let all: Vec<ObjectId> = tips.iter().map(|(_, tip)| *tip).collect();
        let gained = graph.new_commits(&all, &hidden, Traversal::DateLimited)?;
        let with = attributed(&tips, &gained.commits, graph)?;
        // A commit that one ref gains through a merge can be in the first-parent
        // history of another: then it is checked as both.
        let among: HashSet<ObjectId> = gained.commits.iter().copied().collect();
        let mut direct_with: HashMap<ObjectId, usize> = HashMap::new();
        for (at, tip) in &tips {
            graph.follow_first_parents(*tip, |commit| {
                let is_new = among.contains(&commit) && !direct_with.contains_key(&commit);
                if is_new {
                    direct_with.insert(commit, *at);
                }
                is_new
            })?;
        }
        for commit in gained.commits {
            let through = with.get(&commit).copied();
            let line = direct_with.get(&commit).copied();
            if let Some(change) = line {
                gain(&mut plan.gains, commit, change, true)?;
            }
            if let Some(change) = through
                && through != line
            {
                gain(&mut plan.gains, commit, change, false)?;
            }
        }
    }
    Ok(())
}

/// Attributes each commit to the first of several tips that reaches it.
fn attributed(
    tips: &[(usize, ObjectId)],
    commits: &[ObjectId],
    graph: &mut Graph,
) -> Result<HashMap<ObjectId, usize>, GraphError> {
    let mut left: HashSet<ObjectId> = commits.iter().copied().collect();
    let mut with = HashMap::with_capacity(commits.len());
    for (change, tip) in tips {
        let mut stack = vec![*tip];
        while let Some(commit) = stack.pop() {
            if left.remove(&commit) {
                with.insert(commit, *change);
                stack.extend(graph.parents(commit)?);
            }
        }
    }
    Ok(with)
}

/// Returns the commits that a change gains by a walk to the end of history: wrong
/// commit times can make the date-limited result too large.
///
/// # Errors
/// As [`plan`].
pub fn new_by_full_walk(
    change: &RefChange,
    cut_off: &[ObjectId],
    graph: &mut Graph,
) -> Result<Option<HashSet<ObjectId>>, GraphError> {
    let (Some(old), Some(new)) = (change.old.commit, change.new.commit) else {
        return Ok(None);
    };
    let hidden = [&[old], cut_off].concat();
    let gained = graph.new_commits(&[new], &hidden, Traversal::Full)?;
    Ok(Some(gained.commits.into_iter().collect()))
}

fn value(
    objects: &Objects,
    id: ObjectId,
    known: &mut HashMap<ObjectId, Arc<RefTarget>>,
) -> Result<Arc<RefTarget>, GitError> {
    if let Some(value) = known.get(&id) {
        return Ok(Arc::clone(value));
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
    let value = Arc::new(RefTarget {
        id: Some(id),
        tags: read,
        commit,
        other,
    });
    known.insert(id, Arc::clone(&value));
    Ok(value)
}
