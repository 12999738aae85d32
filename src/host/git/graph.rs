//! The commits of a repository as far as a push needs them: which of them a
//! reference gains when it moves, where its first-parent history leaves that of
//! others, and the merge bases of two commits.
//!
//! Each commit is read once, from its real object: neither replacements nor
//! grafts nor a shallow file stand in for its parents. Where a parent that is
//! looked for is not there, that is an error and not the end of history.
//!
//! The walks go by commit time, which the committer chose. A false time costs
//! work, and can make the answer of [`Traversal::DateLimited`] too large, never
//! too small. Merge bases are exact whatever the times are.
//!
//! *Not checked here:* what the commits are (`gate/`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::collections::HashMap;

use gix::ObjectId;

use super::{Repository, error::GitError, objects::Objects};

mod headers;
mod lines;
mod merge_bases;
mod reach;
#[cfg(test)]
mod tests;

pub(super) use headers::CommitHeaders;
pub use lines::Accepted;

/// Maximum number of commits that are read for one push.
pub const MAX_COMMITS: usize = 1_000_000;
/// Maximum number of steps of all walks of one push.
pub const MAX_STEPS: u64 = 20_000_000;
/// Maximum number of parents of one commit that are followed. What a push adds is
/// held to fewer (`changes::MAX_PARENTS`); an old history may contain more.
pub const MAX_WALKED_PARENTS: usize = 100_000;
/// Number of steps after which a walk looks at the deadline.
const STEPS_PER_CHECK: u64 = 1_024;

/// Errors while enumerating the commits of a push.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("parent {parent} of commit {child} is missing")]
    MissingParent { child: String, parent: String },
    #[error("push too large: more than {most} {what}")]
    TooMuch { most: u64, what: &'static str },
}

/// How far to walk the excluded history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traversal {
    /// As far as Git does: where commit times go backwards, the result may contain
    /// commits that are hidden.
    DateLimited,
    /// To the end of history.
    Full,
}

/// The commits of a range, and those that could not be read.
pub(super) struct Listed {
    /// In Git's default order: the youngest first.
    pub commits: Vec<ObjectId>,
    /// Without those that only excluded commits reach, unless they are damaged.
    pub failures: Vec<Failure>,
}

/// A commit that a walk could not read.
pub(super) struct Failure {
    pub id: ObjectId,
    /// The commit whose parent it is.
    pub child: Option<ObjectId>,
    pub error: GitError,
    at: u32,
    /// Whether a tip or a commit reached it that was not hidden then.
    is_needed: bool,
}

/// A commit, and the place of its headers.
#[derive(Debug, Clone, Copy)]
struct Node {
    id: ObjectId,
    /// The commit through which it became known.
    child: Option<u32>,
    /// `None`: not read yet.
    read: Option<Read>,
}

/// The commit's time, and which of the edges are its parents.
#[derive(Debug, Clone, Copy)]
struct Read {
    time: i64,
    first: u32,
    count: u32,
}

/// What a walk noted about a commit, as bits that each kind of walk defines.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// The walk that this is about; the bits of another one are void.
    walk: u32,
    bits: u8,
}

/// The commits that were read so far.
pub struct Graph {
    objects: Objects,
    index: HashMap<ObjectId, u32>,
    nodes: Vec<Node>,
    edges: Vec<u32>,
    marks: Vec<Mark>,
    walk: u32,
    steps: u64,
    reads: usize,
    /// Whether this is about a push: malformed headers and a history that exceeds
    /// the limits are errors.
    is_strict: bool,
}

impl Graph {
    /// Creates an empty graph for the commits of a push.
    #[must_use]
    pub fn new(repository: &Repository) -> Self {
        Self {
            is_strict: true,
            ..Self::of_range(repository.objects())
        }
    }

    /// Creates an empty graph for the commits of a range, whose headers are checked
    /// when the commits are verified.
    pub(super) fn of_range(objects: &Objects) -> Self {
        Self {
            objects: objects.clone(),
            index: HashMap::new(),
            nodes: Vec::new(),
            edges: Vec::new(),
            marks: Vec::new(),
            walk: 0,
            steps: 0,
            reads: 0,
            is_strict: false,
        }
    }

    /// Returns the number of commits that were read.
    #[must_use]
    pub fn commits_read(&self) -> usize {
        self.reads
    }

    /// Returns the number of steps of all walks.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The parents of a commit.
    ///
    /// # Errors
    /// It cannot be read, or a limit is reached.
    pub fn parents(&mut self, id: ObjectId) -> Result<Vec<ObjectId>, GraphError> {
        let at = self.place(id)?;
        let child = self.node(at).and_then(|node| node.child);
        self.read_parent(at, child)?;
        self.step()?;
        Ok(self
            .parents_of(at)
            .into_iter()
            .filter_map(|at| self.id_of(at))
            .collect())
    }

    /// Starts a walk: every mark is void.
    fn begin(&mut self) {
        self.walk = self.walk.saturating_add(1);
    }

    fn step(&mut self) -> Result<(), GraphError> {
        self.steps = self.steps.saturating_add(1);
        if self.is_strict && self.steps > MAX_STEPS {
            return Err(GraphError::TooMuch {
                most: MAX_STEPS,
                what: "steps",
            });
        }
        if self.steps.is_multiple_of(STEPS_PER_CHECK) {
            self.objects.check_time()?;
        }
        Ok(())
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(at).ok()?)
    }

    fn id_of(&self, at: u32) -> Option<ObjectId> {
        self.node(at).map(|node| node.id)
    }

    /// The bits of a commit in this walk.
    fn bits(&self, at: u32) -> u8 {
        usize::try_from(at)
            .ok()
            .and_then(|at| self.marks.get(at))
            .filter(|mark| mark.walk == self.walk)
            .map_or(0, |mark| mark.bits)
    }

    fn set_bits(&mut self, at: u32, bits: u8) {
        let walk = self.walk;
        if let Some(mark) = usize::try_from(at)
            .ok()
            .and_then(|at| self.marks.get_mut(at))
        {
            *mark = Mark { walk, bits };
        }
    }

    fn parents_of(&self, at: u32) -> Vec<u32> {
        let range = || {
            let read = self.node(at)?.read?;
            let first = usize::try_from(read.first).ok()?;
            let end = first.checked_add(usize::try_from(read.count).ok()?)?;
            self.edges.get(first..end)
        };
        range().unwrap_or_default().to_vec()
    }

    fn first_parent_of(&self, at: u32) -> Option<u32> {
        let read = self.node(at)?.read.filter(|read| read.count > 0)?;
        self.edges.get(usize::try_from(read.first).ok()?).copied()
    }

    /// Returns the index of a commit, which need not have been read.
    fn place(&mut self, id: ObjectId) -> Result<u32, GraphError> {
        if let Some(at) = self.index.get(&id) {
            return Ok(*at);
        }
        let too_much = || GraphError::TooMuch {
            most: MAX_COMMITS.try_into().unwrap_or(u64::MAX),
            what: "commits",
        };
        if self.is_strict && self.nodes.len() >= MAX_COMMITS {
            return Err(too_much());
        }
        let at = u32::try_from(self.nodes.len()).map_err(|_| too_much())?;
        self.nodes.push(Node {
            id,
            child: None,
            read: None,
        });
        self.marks.push(Mark::default());
        self.index.insert(id, at);
        Ok(at)
    }

    /// Reads a commit, once, and returns its time.
    fn read(&mut self, at: u32) -> Result<i64, GraphError> {
        let Some(node) = self.node(at).copied() else {
            return Ok(i64::MIN);
        };
        if let Some(read) = node.read {
            return Ok(read.time);
        }
        let id = node.id;
        let headers = {
            let object = self.objects.unchecked(id)?;
            let headers = CommitHeaders::read(&object, &self.objects)?;
            object.verify_hash()?;
            headers
        };
        self.reads = self.reads.saturating_add(1);
        if self.is_strict && !headers.is_well_formed {
            return Err(GraphError::Git(GitError::Unreadable {
                id: id.to_string(),
                why: "its headers are not those of a commit".to_owned(),
            }));
        }
        let CommitHeaders { parents, time, .. } = headers;
        let first = u32::try_from(self.edges.len()).unwrap_or(u32::MAX);
        let count = u32::try_from(parents.len()).unwrap_or(u32::MAX);
        for parent in parents {
            // Many parents of many commits are work, too.
            self.step()?;
            let known = self.nodes.len();
            let parent = self.place(parent)?;
            self.edges.push(parent);
            if let Some(new) = self.nodes.get_mut(known) {
                new.child = Some(at);
            }
        }
        if let Some(node) = usize::try_from(at)
            .ok()
            .and_then(|at| self.nodes.get_mut(at))
        {
            node.read = Some(Read { time, first, count });
        }
        Ok(time)
    }

    /// Reads a commit and names its child if it is missing.
    fn read_parent(&mut self, at: u32, child: Option<u32>) -> Result<i64, GraphError> {
        self.read(at).map_err(|error| match (error, child) {
            (GraphError::Git(GitError::Missing { id: parent }), Some(child)) => {
                GraphError::MissingParent {
                    child: self
                        .id_of(child)
                        .map(|id| id.to_string())
                        .unwrap_or_default(),
                    parent,
                }
            }
            (error, _) => error,
        })
    }
}
