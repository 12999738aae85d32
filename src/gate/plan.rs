//! What a push would change: for each reference what it points at before and
//! after, whether it moves forward, and which commits it gains.
//!
//! **Which commits a reference gains**, and so has to have judged:
//!
//! - *One that is there already*: all that the new value reaches and the old one
//!   does not. Not only objects that are new to the repository: a commit that
//!   lies on some other reference was judged by that reference's rules, or by
//!   none.
//! - *A new one*: all that the new value reaches, except what a branch or tag that
//!   the same rules bind reached before the push. What the same rules have let in
//!   once adds nothing; everything else has to pass them, to the root of history
//!   or to the missing_parent-off that the policy sets. A branch that more rules bind does as
//!   well, if these would not have been silent without those.
//!
//! "RefSnapshot the push" is what the references say when the hook starts, together
//! with the old values that git names. A reference that is written meanwhile, by
//! another push or by an earlier part of this one, hides nothing: for a reference
//! that is there already only its own old value counts.
//!
//! Servers write references too (`refs/pull/`, …), past the hook: those hide
//! nothing. A symbolic reference is the one that it stands for.
//!
//! References bound by the same rules are a group; within one, a commit is judged
//! once, however many references gain it.
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
};
use gitseal_evidence::object;

/// The most commits that all references of a push gain together, each counted for
/// each reference.
const MAX_GAINS: usize = 8_000_000;

/// The rules that bind a reference, as numbers: what makes a group.
pub type Group = Vec<usize>;

/// A tag object that a reference leads to.
#[derive(Debug, Clone)]
pub struct TagObject {
    /// Its id.
    pub id: ObjectId,
    /// The name inside, if it can be read.
    pub name: Option<String>,
}

/// What a reference points at.
#[derive(Debug, Clone, Default)]
pub struct RefTarget {
    /// What it names itself.
    pub id: Option<ObjectId>,
    /// The tag objects on the way, the outer first.
    pub tags: Vec<TagObject>,
    /// The commit that is reached, if one is.
    pub commit: Option<ObjectId>,
    /// `tree` or `blob`, if that is what is reached.
    pub other: Option<String>,
}

/// One reference that is to be changed.
#[derive(Debug, Clone)]
pub struct RefChange {
    /// What git says.
    pub update: RefCommand,
    /// Where it is.
    pub space: RefNamespace,
    /// The rules that bind it.
    pub group: Group,
    /// What it points at before.
    pub old: Arc<RefTarget>,
    /// What it is to point at.
    pub new: Arc<RefTarget>,
    /// Whether all that the old value reached stays reached; only where there are
    /// an old and a new one.
    pub forward: bool,
}

/// A commit that has to be judged, and the change on whose account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCommit {
    /// The commit.
    pub commit: ObjectId,
    /// Which change, counted from 0.
    pub change: usize,
    /// Whether it lies on the line of first parents that ends with the new value;
    /// otherwise a merge brings it in.
    pub direct: bool,
}

/// The whole push.
#[derive(Debug, Default)]
pub struct Plan {
    /// The changes, in git's order.
    pub changes: Vec<RefChange>,
    /// What has to be judged: each commit after its parents, within a change.
    pub gains: Vec<NewCommit>,
}

/// Why it cannot be said what a push would change.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "fields appear in the message")]
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

/// Where a push is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushSide {
    /// Where it arrives: references are those of the server, and what git names
    /// as old is there.
    Server,
    /// Where it comes from: of the other side only the references that were
    /// fetched are known, under this prefix.
    Client,
    /// Where a service has taken it already: the values are those that it names.
    Service,
}

/// References as they are before the push.
pub struct RefSnapshot {
    /// Name and the commit that it leads to.
    pub commits: Vec<(Vec<u8>, ObjectId)>,
    /// Of those that are tag objects: name, tag object, and the commit.
    pub tags: Vec<(Vec<u8>, ObjectId, ObjectId)>,
    /// The protected branch and its commit: the one that HEAD names.
    pub protected: Option<(Vec<u8>, ObjectId)>,
}

impl RefSnapshot {
    /// Reads them.
    ///
    /// # Errors
    /// They cannot be listed. One that leads nowhere is left out: it hides
    /// nothing.
    pub fn read(repository: &Repository) -> Result<Self, GitError> {
        let mut before = Self {
            commits: Vec::new(),
            tags: Vec::new(),
            protected: repository.head_branch(),
        };
        // A symbolic reference is the one that it stands for, which is there too.
        let tips = repository.reference_tips()?.into_iter();
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
    /// What a remote's references were when they were fetched, under the names
    /// that they have there; local ones hide nothing.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of_remote(repository: &Repository, remote: &[u8]) -> Result<Self, GitError> {
        let prefix = [b"refs/remotes/", remote, b"/"].concat();
        let mut before = Self::read(repository)?;
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
            .symbolic_target(head.as_bstr())?
            .and_then(|name| {
                let branch = name.strip_prefix(prefix.as_slice())?;
                let name = [b"refs/heads/", branch].concat();
                let commit = before.tip_of(&name)?;
                Some((name, commit))
            });
        Ok(before)
    }

    /// For a job about `reference`, which began at `base`: of what was fetched only
    /// the default branch hides anything, since anybody who may push can put the
    /// same commits on two others; and what is checked out is what is to be judged.
    pub fn restrict_to(&mut self, default: Option<&str>, reference: &[u8], base: Option<ObjectId>) {
        let default = default.map(|branch| format!("refs/heads/{branch}").into_bytes());
        self.commits
            .retain(|(name, _)| default.as_ref() == Some(name) && name != reference);
        self.protected = match base {
            Some(base) => Some((reference.to_vec(), base)),
            None => self.commits.first().cloned(),
        };
    }

    /// What a reference leads to.
    #[must_use]
    pub fn tip_of(&self, name: &[u8]) -> Option<ObjectId> {
        let mut all = self.commits.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, commit)| *commit)
    }

    /// What a push has made, and not a server for itself: it was judged.
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

/// The rules, as far as they say what has to be judged.
pub trait RuleScope {
    /// The rules that speak of commits on a reference.
    fn binds(&self, reference: &[u8]) -> Group;
    /// Whether one of these rules speaks of every commit and of every merge,
    /// whatever it changes: then further rules can only ask for more.
    fn speak_always(&self, group: &Group) -> bool;
    /// Whether one of these rules asks for several signers.
    fn counts(&self, group: &Group) -> bool;
    /// Commits whose history is not judged.
    fn cut_off(&self) -> Vec<ObjectId>;
}

impl PlanError {
    /// The parent that is not there, if that is what is wrong.
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

    /// What to do next.
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

/// Puts the plan together.
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
            && let Some(target) = repository.symbolic_target(update.name.as_bstr())?
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

/// What references gain that are there already.
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
        let among: HashSet<ObjectId> = gained.commits.iter().copied().collect();
        let line = first_parents(new, &among, &HashSet::new(), graph).map_err(failed)?;
        for commit in gained.commits {
            // On account of each reference that gains it, since which one does in
            // truth is said by a second look.
            gain(
                &mut plan.gains,
                NewCommit {
                    commit,
                    change: at,
                    direct: line.contains(&commit),
                },
            )?;
        }
    }
    Ok(())
}

/// Notes what a reference gains.
fn gain(gains: &mut Vec<NewCommit>, gain: NewCommit) -> Result<(), GraphError> {
    if gains.len() >= MAX_GAINS {
        return Err(GraphError::TooMuch {
            most: u64::try_from(MAX_GAINS).unwrap_or(u64::MAX),
            what: "commits on all refs together",
        });
    }
    gains.push(gain);
    Ok(())
}

/// The new commits of references about whose commits rules speak: they are judged
/// there.
fn arriving(changes: &[RefChange]) -> impl Iterator<Item = ObjectId> {
    changes
        .iter()
        .filter(|change| !change.group.is_empty())
        .filter_map(|change| change.new.commit)
}

/// What new references gain.
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
                let among: HashSet<ObjectId> = gained.commits.iter().copied().collect();
                let line = first_parents(tip, &among, &HashSet::new(), graph)?;
                for commit in gained.commits {
                    let direct = line.contains(&commit);
                    gain(
                        &mut plan.gains,
                        NewCommit {
                            commit,
                            change,
                            direct,
                        },
                    )?;
                }
            }
            continue;
        }
        let all: Vec<ObjectId> = tips.iter().map(|(_, tip)| *tip).collect();
        let gained = graph.new_commits(&all, &hidden, Traversal::DateLimited)?;
        let with = attributed(&tips, &gained.commits, graph)?;
        // A commit that one reference gains through a merge can be on another's
        // line: then it is judged as both.
        let among: HashSet<ObjectId> = gained.commits.iter().copied().collect();
        let mut direct: HashSet<ObjectId> = HashSet::new();
        let mut direct_with: HashMap<ObjectId, usize> = HashMap::new();
        for (at, tip) in &tips {
            for commit in first_parents(*tip, &among, &direct, graph)? {
                direct.insert(commit);
                direct_with.insert(commit, *at);
            }
        }
        for commit in gained.commits {
            let through = with.get(&commit).copied();
            let line = direct_with.get(&commit).copied();
            if let Some(change) = line {
                let direct = true;
                gain(
                    &mut plan.gains,
                    NewCommit {
                        commit,
                        change,
                        direct,
                    },
                )?;
            }
            if let Some(change) = through
                && through != line
            {
                let direct = false;
                gain(
                    &mut plan.gains,
                    NewCommit {
                        commit,
                        change,
                        direct,
                    },
                )?;
            }
        }
    }
    Ok(())
}

/// The line of first parents from `tip` on, as long as it is `among` those gained
/// and not yet `known`.
fn first_parents(
    tip: ObjectId,
    among: &HashSet<ObjectId>,
    known: &HashSet<ObjectId>,
    graph: &mut Graph,
) -> Result<HashSet<ObjectId>, GraphError> {
    let mut line = HashSet::new();
    let mut next = Some(tip);
    while let Some(commit) = next {
        if !among.contains(&commit) || known.contains(&commit) || !line.insert(commit) {
            break;
        }
        next = graph.parents(commit)?.first().copied();
    }
    Ok(line)
}

/// Which of several tips brings each commit: the first that reaches it.
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

/// Whether a commit is among what a change gains when the walk goes to the end of
/// history: commit times may lie, and then the quick answer is too large.
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
