//! What the engine reads and returns: a history of commits, the update of a
//! reference, and the findings about it.

use std::{
    fmt::{self, Display},
    hash::Hash,
    rc::Rc,
};

use crate::facts::{ChangedPath, CommitFacts, Finding, Pusher, UpdateKind};

/// How far to look for commits that are excluded.
///
/// Walks go by commit time, which whoever commits chooses. With false times
/// [`Look::ByTime`] may find too much to judge, never too little: a commit leaves the
/// answer only if parents lead to it from what excludes it. The engine looks to the
/// end of history before it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Look {
    /// As far as commit times say.
    ByTime,
    /// To the end of history.
    Full,
}

/// The commits of a repository. Its methods look at the deadline of the run and
/// return an error when it is over, or when a limit on what is read is reached.
pub trait History {
    /// An object id.
    type Id: Copy + Eq + Hash + Ord + Display;
    /// The error if an object cannot be read.
    type Error;

    /// Returns the commit with this id, as a policy's `cut-off` writes it; `None` if
    /// it is not an id, or not that of a commit in the repository.
    ///
    /// # Errors
    /// Returns an error if the object cannot be read.
    fn commit(&mut self, hex: &str) -> Result<Option<Self::Id>, Self::Error>;

    /// Returns the parents of a commit as its header lists them.
    ///
    /// # Errors
    /// Returns an error if the commit cannot be read.
    fn parents(&mut self, commit: Self::Id) -> Result<Vec<Self::Id>, Self::Error>;

    /// Returns the nearest commit on the line of `new` that is on the line of one of
    /// `lines`, or that one of `behind` reaches (the cut-off). `new` itself counts.
    ///
    /// # Errors
    /// Returns an error if a commit that is needed cannot be read.
    fn line_base(
        &mut self,
        new: Self::Id,
        lines: &[Self::Id],
        behind: &[Self::Id],
        look: Look,
    ) -> Result<Option<Self::Id>, Self::Error>;

    /// Returns the commits that one of `tips` reaches and none of `hidden`, each
    /// after its parents.
    ///
    /// # Errors
    /// Returns an error if a commit that is needed cannot be read.
    fn gains(
        &mut self,
        tips: &[Self::Id],
        hidden: &[Self::Id],
        look: Look,
    ) -> Result<Vec<Self::Id>, Self::Error>;

    /// Returns those of `commits` that are on the line of one of `lines`.
    ///
    /// # Errors
    /// Returns an error if a commit that is needed cannot be read.
    fn on_lines(
        &mut self,
        commits: &[Self::Id],
        lines: &[Self::Id],
        look: Look,
    ) -> Result<Vec<Self::Id>, Self::Error>;

    /// Returns whether a commit came with the push itself, so that no ref reached it
    /// before, as far as that is known without a walk.
    fn is_new(&mut self, _commit: Self::Id) -> bool {
        false
    }

    /// Returns whether `descendant` reaches `ancestor`.
    ///
    /// # Errors
    /// Returns an error if a commit that is needed cannot be read.
    fn reaches(
        &mut self,
        descendant: Self::Id,
        ancestor: Self::Id,
        look: Look,
    ) -> Result<bool, Self::Error> {
        Ok(self.gains(&[ancestor], &[descendant], look)?.is_empty())
    }

    /// Verifies these signatures, on all cores, before [`facts`](Self::facts) is
    /// called for each of them. Reads no tree.
    ///
    /// # Errors
    /// Returns an error if a commit cannot be read.
    fn verify(&mut self, commits: &[Self::Id]) -> Result<(), Self::Error>;

    /// Returns a commit and its verified signature. `parents` are those of the header;
    /// `paths` is empty.
    ///
    /// # Errors
    /// Returns an error if the commit cannot be read.
    fn facts(&mut self, commit: Self::Id) -> Result<Rc<CommitFacts<Self::Id>>, Self::Error>;

    /// Returns the paths in which a commit's tree differs from its first parent's (or,
    /// without a parent, from nothing).
    ///
    /// `own`: whether [`ChangedPath::changed`] has to be right for a merge, which
    /// needs the merge bases. Without it, it is true for every path.
    ///
    /// # Errors
    /// Returns an error if a tree cannot be read.
    fn paths(&mut self, commit: Self::Id, own: bool) -> Result<Vec<ChangedPath>, Self::Error>;

    /// Returns the id of the directory `.gitseal` in a commit's tree; `None` if there
    /// is none, or something else of that name.
    ///
    /// # Errors
    /// Returns an error if the commit or its tree cannot be read.
    fn policy_tree(&mut self, commit: Self::Id) -> Result<Option<Self::Id>, Self::Error>;

    /// Returns an entry in the root of a commit's tree that is not `.gitseal` but that a
    /// file system may take for it ([`is_policy_namesake`](crate::facts::is_policy_namesake)).
    ///
    /// # Errors
    /// Returns an error if the commit or its tree cannot be read.
    fn policy_namesake(&mut self, commit: Self::Id) -> Result<Option<String>, Self::Error>;

    /// Returns the bytes of an ordinary file directly in such a directory; `None` if
    /// there is none of that name. A file that is larger than a policy may be is cut
    /// off one byte after that limit.
    ///
    /// # Errors
    /// Returns an error if the directory or the file cannot be read.
    fn policy_file(&mut self, tree: Self::Id, name: &str) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// The branch that an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch<I> {
    /// Any reference but the default branch.
    Other,
    /// The default branch; a policy file judges it.
    Default,
    /// The default branch, judged by the policies in its own trees.
    WithPolicy {
        /// The policy root.
        root: I,
    },
}

/// The change of one reference to commits.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a, I> {
    /// The full name.
    pub name: &'a [u8],
    /// Which branch it is.
    pub branch: Branch<I>,
    /// The commit before; `None`: the reference is new.
    pub old: Option<I>,
    /// The commit after; `None`: the reference is deleted.
    pub new: Option<I>,
    /// The commits of its sources, before the push. A default branch with its own
    /// policy has none: a clone could not know them.
    pub lent: &'a [I],
    /// The pusher, and the time of the server's clock.
    pub pusher: Pusher<'a>,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<I> {
    /// The reference itself.
    Reference,
    /// A commit that it gains.
    Commit {
        /// The commit.
        commit: I,
        /// The step that brings it, which may be the commit itself; `None`: the merge
        /// of a request, which is not made yet.
        step: Option<I>,
    },
}

/// A finding, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<I> {
    /// What the finding is about.
    pub about: Subject<I>,
    /// The finding.
    pub finding: Finding,
    /// The signers and groups whose merge of the branch lets the commit in, as the
    /// policy names them: by adopting it, or as the one signer who is missing.
    pub may_merge: Vec<String>,
}

/// The result for one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged<I> {
    /// How the reference moves.
    pub kind: UpdateKind,
    /// The state that the new value continues.
    pub base: Option<I>,
    /// The number of commits that the reference gains.
    pub gained: usize,
    /// The number of commits that were evaluated for it; fewer, if another reference
    /// of the push gains the same under the same rules.
    pub judged: usize,
    /// Commits that stand because a merge adopted them, and that merge.
    pub adopted: Vec<(I, I)>,
    /// The findings, at most [`MAX_FINDINGS`](super::MAX_FINDINGS).
    pub findings: Vec<Found<I>>,
    /// The number of findings beyond these.
    pub more: usize,
    /// Whether a finding refuses, stored or not.
    pub is_refused: bool,
}

/// Errors that leave an update without a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepsError<E> {
    /// Something cannot be read.
    History(E),
    /// A limit is reached.
    TooMuch {
        /// The limit.
        most: usize,
        /// What it counts.
        what: &'static str,
    },
}

impl<E: Display> Display for StepsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History(error) => error.fmt(f),
            Self::TooMuch { most, what } => write!(f, "push too large: more than {most} {what}"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for StepsError<E> {}

impl<E> From<E> for StepsError<E> {
    fn from(error: E) -> Self {
        Self::History(error)
    }
}
