//! The commits of a repository as far as a push needs them: which of them a
//! reference gains when it moves, and whether it only moves forward.
//!
//! Each commit is read once, from its real object: neither replacements nor
//! grafts nor a shallow file stand in for its parents. Where a parent that is
//! looked for is not there, that is an error and not the end of history.
//!
//! The walk goes by commit time, which the committer chose. A false time costs
//! work, and can make the answer of [`Traversal::DateLimited`] too large, never too small:
//! a commit leaves the answer only when a true line of parents leads to it from
//! what is hidden.
//!
//! *Not checked here:* what the commits are (`commands/gate`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
};

use gix::ObjectId;

use super::{
    Repository,
    error::GitError,
    objects::{Objects, UncheckedObject},
};
use gitseal_evidence::object::ObjectKind;

/// Maximum number of commits that are read for one push.
pub const MAX_COMMITS: usize = 1_000_000;
/// Maximum number of steps of all walks of one push.
pub const MAX_STEPS: u64 = 100_000_000;
/// Maximum number of parents of one commit that are followed.
pub const MAX_WALKED_PARENTS: usize = 100_000;

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

/// The commits that a ref gains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewCommits {
    /// The commits, each after its parents.
    pub commits: Vec<ObjectId>,
    /// Whether one of them has a hidden tip as its parent. With the old value as
    /// the only hidden tip: whether the reference moves forward.
    pub continues: bool,
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

/// When a walk ends of which only hidden commits are left.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// After this many of them.
    After(usize),
    /// After this many that are older than all that was found, by more than a day.
    Older(usize),
    Never,
}

impl Stop {
    /// Seconds that clocks may differ.
    const DAY: i64 = 86_400;

    fn is_due(&mut self, time: i64, oldest: i64) -> bool {
        match self {
            Self::Older(_) if time >= oldest.saturating_sub(Self::DAY) => false,
            Self::After(left) | Self::Older(left) => {
                let is_due = *left == 0;
                *left = left.saturating_sub(1);
                is_due
            }
            Self::Never => false,
        }
    }
}

/// A commit, and the place of its headers.
#[derive(Debug, Clone, Copy)]
struct Node {
    id: ObjectId,
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

/// The state of a commit in a walk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    /// The walk that this is about.
    walk: u32,
    seen: bool,
    hidden: bool,
    /// Whether it is in the queue.
    waits: bool,
}

/// The commits that wait to be visited.
#[derive(Default)]
struct Queue {
    /// Time, and among equals the first that was met.
    heap: BinaryHeap<(i64, Reverse<u32>, u32)>,
    met: u32,
    /// Number of those that are not hidden.
    open: usize,
    failures: Vec<Failure>,
    /// The positions in `failures`, by commit.
    failed: HashMap<u32, usize>,
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
            is_strict: false,
        }
    }

    /// The parents of a commit.
    ///
    /// # Errors
    /// It cannot be read, or a limit is reached.
    pub fn parents(&mut self, id: ObjectId) -> Result<Vec<ObjectId>, GraphError> {
        let at = self.place(id)?;
        self.read(at)?;
        Ok(self
            .parents_of(at)
            .into_iter()
            .filter_map(|at| self.node(at).map(|node| node.id))
            .collect())
    }

    /// Follows first parents from `tip` on, as long as `follow` returns true for a
    /// commit. Returns the commit at which it ended, `None` after a root commit.
    ///
    /// # Errors
    /// As [`parents`](Self::parents).
    pub fn follow_first_parents(
        &mut self,
        tip: ObjectId,
        mut follow: impl FnMut(ObjectId) -> bool,
    ) -> Result<Option<ObjectId>, GraphError> {
        let mut next = Some(tip);
        while let Some(commit) = next {
            if !follow(commit) {
                return Ok(Some(commit));
            }
            next = self.parents(commit)?.first().copied();
        }
        Ok(None)
    }

    /// The commits that `tips` reach and `hidden` do not.
    ///
    /// # Errors
    /// A commit that is asked for cannot be read, or a limit is reached. What is
    /// missing behind `hidden` is no error: nothing there is in the answer.
    pub fn new_commits(
        &mut self,
        tips: &[ObjectId],
        hidden: &[ObjectId],
        care: Traversal,
    ) -> Result<NewCommits, GraphError> {
        let stop = match care {
            // As many clocks may be wrong by a little.
            Traversal::DateLimited => Stop::After(32),
            Traversal::Full => Stop::Never,
        };
        let (mut found, failures) = self.visit(tips, hidden, stop)?;
        for failure in failures {
            match failure.error {
                GitError::Missing { id: parent } => {
                    if !failure.is_needed {
                        continue;
                    }
                    return Err(match failure.child {
                        Some(child) => GraphError::MissingParent {
                            child: child.to_string(),
                            parent,
                        },
                        None => GitError::Missing { id: parent }.into(),
                    });
                }
                // Behind a hidden tip that is not a commit nothing is hidden.
                GitError::Kind { .. } if !failure.is_needed && failure.child.is_none() => {}
                error => return Err(error.into()),
            }
        }
        found.retain(|at| !self.marked(*at).hidden);
        let old: HashSet<u32> = hidden
            .iter()
            .filter_map(|tip| self.index.get(tip).copied())
            .collect();
        let continues = found
            .iter()
            .any(|at| self.parents_of(*at).iter().any(|p| old.contains(p)));
        Ok(NewCommits {
            commits: self.parents_first(&found)?,
            continues,
        })
    }

    /// The commits that `from` reaches and `not` does not, in Git's default order.
    pub(super) fn listed(
        &mut self,
        from: &[ObjectId],
        not: &[ObjectId],
    ) -> Result<Listed, GitError> {
        let visited = self.visit(from, not, Stop::Older(64));
        let (found, mut failures) = visited.map_err(|error| match error {
            GraphError::Git(error) => error,
            other => GitError::Revision {
                revision: "the range".to_owned(),
                why: other.to_string(),
            },
        })?;
        failures.retain(|failure| {
            !self.marked(failure.at).hidden || matches!(failure.error, GitError::Damaged { .. })
        });
        let commits = found
            .into_iter()
            .filter(|at| !self.marked(*at).hidden)
            .filter_map(|at| Some(self.node(at)?.id))
            .collect();
        Ok(Listed { commits, failures })
    }

    /// Visits what `tips` and `hidden` reach, the youngest first, and returns what
    /// was not hidden when it was visited; a mark tells what is by now.
    fn visit(
        &mut self,
        tips: &[ObjectId],
        hidden: &[ObjectId],
        mut stop: Stop,
    ) -> Result<(Vec<u32>, Vec<Failure>), GraphError> {
        self.walk = self.walk.saturating_add(1);
        let mut queue = Queue::default();
        for (tips, is_hidden) in [(hidden, true), (tips, false)] {
            for tip in tips {
                let at = self.place(*tip)?;
                self.reach(at, None, is_hidden, &mut queue)?;
            }
        }
        let mut found: Vec<u32> = Vec::new();
        let mut oldest = i64::MAX;
        while let Some((time, _, at)) = queue.heap.pop() {
            self.step()?;
            if queue.open == 0 && (found.is_empty() || stop.is_due(time, oldest)) {
                break;
            }
            let is_hidden = self.marked(at).hidden;
            self.mark(at, is_hidden, false);
            if !is_hidden {
                queue.open = queue.open.saturating_sub(1);
                oldest = oldest.min(time);
                found.push(at);
            }
            for parent in self.parents_of(at) {
                self.reach(parent, Some(at), is_hidden, &mut queue)?;
            }
        }
        Ok((found, queue.failures))
    }

    /// Puts a commit into the queue, or hides it if it is known and now hidden.
    fn reach(
        &mut self,
        at: u32,
        child: Option<u32>,
        is_hidden: bool,
        queue: &mut Queue,
    ) -> Result<(), GraphError> {
        let mark = self.marked(at);
        if mark.seen {
            if is_hidden && !mark.hidden {
                // Some of these wait in the queue as not hidden.
                queue.open = queue.open.saturating_sub(self.hide(at)?);
            }
            let failed = queue.failed.get(&at);
            let failed = failed.and_then(|position| queue.failures.get_mut(*position));
            if let Some(failure) = failed.filter(|failure| !is_hidden && !failure.is_needed) {
                failure.is_needed = true;
                failure.child = child.and_then(|child| Some(self.node(child)?.id));
            }
            return Ok(());
        }
        match self.read(at) {
            Ok(time) => {
                self.mark(at, is_hidden, true);
                queue.heap.push((time, Reverse(queue.met), at));
                queue.met = queue.met.saturating_add(1);
                if !is_hidden {
                    queue.open = queue.open.saturating_add(1);
                }
            }
            Err(GraphError::Git(error)) => {
                self.mark(at, is_hidden, false);
                queue.failed.insert(at, queue.failures.len());
                queue.failures.extend(self.node(at).map(|node| Failure {
                    id: node.id,
                    child: child.and_then(|child| Some(self.node(child)?.id)),
                    error,
                    at,
                    is_needed: !is_hidden,
                }));
            }
            Err(limit) => return Err(limit),
        }
        Ok(())
    }

    /// Hides a commit and what is known behind it, and returns the number of those
    /// that were in the queue.
    fn hide(&mut self, at: u32) -> Result<usize, GraphError> {
        let mut stack = vec![at];
        let mut waiting = 0_usize;
        while let Some(at) = stack.pop() {
            let mark = self.marked(at);
            if !mark.seen || mark.hidden {
                continue;
            }
            self.step()?;
            self.mark(at, true, mark.waits);
            waiting = waiting.saturating_add(usize::from(mark.waits));
            stack.extend(self.parents_of(at));
        }
        Ok(waiting)
    }

    /// The same commits, each after its parents.
    fn parents_first(&mut self, found: &[u32]) -> Result<Vec<ObjectId>, GraphError> {
        // A walk of its own: `seen` is "in the set", `hidden` is "written".
        self.walk = self.walk.saturating_add(1);
        for at in found {
            self.mark(*at, false, false);
        }
        let mut order = Vec::with_capacity(found.len());
        // The walk found children before their parents, so the end is the oldest.
        for root in found.iter().rev() {
            let mut stack = vec![(*root, false)];
            while let Some((at, after)) = stack.pop() {
                let mark = self.marked(at);
                if !mark.seen || mark.hidden {
                    continue;
                }
                self.step()?;
                if after {
                    self.mark(at, true, false);
                    order.extend(self.node(at).map(|node| node.id));
                    continue;
                }
                stack.push((at, true));
                for parent in self.parents_of(at).into_iter().rev() {
                    let mark = self.marked(parent);
                    if mark.seen && !mark.hidden {
                        stack.push((parent, false));
                    }
                }
            }
        }
        Ok(order)
    }

    fn step(&mut self) -> Result<(), GraphError> {
        self.steps = self.steps.saturating_add(1);
        if self.is_strict && self.steps > MAX_STEPS {
            return Err(GraphError::TooMuch {
                most: MAX_STEPS,
                what: "steps",
            });
        }
        Ok(())
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(at).ok()?)
    }

    fn marked(&self, at: u32) -> Mark {
        usize::try_from(at)
            .ok()
            .and_then(|at| self.marks.get(at).copied())
            .filter(|mark| mark.walk == self.walk)
            .unwrap_or_default()
    }

    fn mark(&mut self, at: u32, hidden: bool, waits: bool) {
        let walk = self.walk;
        if let Some(mark) = usize::try_from(at)
            .ok()
            .and_then(|at| self.marks.get_mut(at))
        {
            *mark = Mark {
                walk,
                seen: true,
                hidden,
                waits,
            };
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
        self.nodes.push(Node { id, read: None });
        self.marks.push(Mark::default());
        self.index.insert(id, at);
        Ok(at)
    }

    /// Reads a commit, once, and gives its time.
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
            let parent = self.place(parent)?;
            self.edges.push(parent);
        }
        if let Some(node) = usize::try_from(at)
            .ok()
            .and_then(|at| self.nodes.get_mut(at))
        {
            node.read = Some(Read { time, first, count });
        }
        Ok(time)
    }
}

/// The headers of a commit that decide where a walk goes.
pub(super) struct CommitHeaders {
    /// The lines `parent ID` that follow the line `tree ID` at once, as Git reads
    /// them.
    pub parents: Vec<ObjectId>,
    /// The committer's date in Unix seconds, 0 if it cannot be read. It decides the
    /// order of a walk, and nothing else.
    pub time: i64,
    /// Whether the lines `tree` and `parent` hold IDs.
    pub is_well_formed: bool,
}

impl CommitHeaders {
    /// Parses the headers of an object.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is not a commit or has more than
    /// [`MAX_WALKED_PARENTS`] parents.
    pub fn read(object: &UncheckedObject, objects: &Objects) -> Result<Self, GitError> {
        let id = || object.id.to_string();
        if object.kind != ObjectKind::Commit {
            return Err(GitError::Kind {
                name: id(),
                found: object.kind.name().to_owned(),
                wanted: "commit",
            });
        }
        let headers = Self::parse(&object.raw, objects.format);
        if headers.parents.len() > MAX_WALKED_PARENTS {
            return Err(GitError::Unreadable {
                id: id(),
                why: format!("it has more than {MAX_WALKED_PARENTS} parents"),
            });
        }
        Ok(headers)
    }

    /// Parses the headers in the bytes of a commit.
    pub fn parse(raw: &[u8], format: gix::hash::Kind) -> Self {
        let id = |hex: &[u8]| {
            let id = ObjectId::from_hex(hex).ok()?;
            (id.kind() == format).then_some(id)
        };
        let mut lines = raw.split(|&byte| byte == b'\n').peekable();
        let tree = lines.next().and_then(|line| line.strip_prefix(b"tree "));
        let mut is_well_formed = tree.and_then(id).is_some();
        let mut parents = Vec::new();
        while tree.is_some()
            && let Some(hex) = lines.peek().and_then(|line| line.strip_prefix(b"parent "))
        {
            let Some(parent) = id(hex) else {
                is_well_formed = false;
                break;
            };
            parents.push(parent);
            lines.next();
        }
        let time = lines
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(b"committer "))
            .and_then(|line| line.rsplit(|&byte| byte == b'>').next())
            .and_then(|rest| std::str::from_utf8(rest).ok())
            .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        Self {
            parents,
            time,
            is_well_formed,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host::git::Workspace;

    /// A repository of empty commits with the given parents and times.
    struct Lab {
        directory: tempfile::TempDir,
        commits: Vec<ObjectId>,
    }

    impl Lab {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            gix::init_bare(directory.path()).unwrap();
            Self {
                directory,
                commits: Vec::new(),
            }
        }

        fn commit(&mut self, parents: &[usize], time: i64) -> ObjectId {
            let id = write(
                self.directory.path(),
                &parents.iter().map(|p| self.commits[*p]).collect::<Vec<_>>(),
                time,
                self.commits.len(),
            );
            self.commits.push(id);
            id
        }

        fn new_commits(
            &self,
            tips: &[usize],
            hidden: &[usize],
            care: Traversal,
        ) -> (Vec<usize>, bool) {
            let workspace = Workspace::open(self.directory.path()).unwrap();
            let mut graph = Graph::new(workspace.repository().unwrap());
            let ids = |list: &[usize]| list.iter().map(|n| self.commits[*n]).collect::<Vec<_>>();
            let new_commits = graph.new_commits(&ids(tips), &ids(hidden), care).unwrap();
            let mut numbers: Vec<usize> = new_commits
                .commits
                .iter()
                .map(|id| self.commits.iter().position(|c| c == id).unwrap())
                .collect();
            for (place, id) in new_commits.commits.iter().enumerate() {
                for parent in graph.parents(*id).unwrap() {
                    let at = new_commits.commits.iter().position(|c| *c == parent);
                    assert!(at.is_none_or(|at| at < place), "a child before its parent");
                }
            }
            numbers.sort_unstable();
            (numbers, new_commits.continues)
        }
    }

    fn write(directory: &Path, parents: &[ObjectId], time: i64, number: usize) -> ObjectId {
        use std::fmt::Write as _;
        let repository = gix::open(directory).unwrap();
        let mut text = format!("tree {}\n", ObjectId::empty_tree(gix::hash::Kind::Sha1));
        for parent in parents {
            writeln!(text, "parent {parent}").unwrap();
        }
        write!(
            text,
            "author A <a@b> {time} +0000\ncommitter A <a@b> {time} +0000\n\n{number}\n"
        )
        .unwrap();
        repository.objects.write_buf_for_test(&text)
    }

    trait WriteForTest {
        fn write_buf_for_test(&self, text: &str) -> ObjectId;
    }

    impl<T: gix::objs::Write> WriteForTest for T {
        fn write_buf_for_test(&self, text: &str) -> ObjectId {
            self.write_buf(gix::objs::Kind::Commit, text.as_bytes())
                .unwrap()
        }
    }

    #[test]
    fn what_a_reference_gains() {
        let mut lab = Lab::new();
        lab.commit(&[], 100); // 0
        lab.commit(&[0], 110); // 1
        lab.commit(&[1], 120); // 2
        lab.commit(&[1], 121); // 3
        lab.commit(&[2, 3], 130); // 4
        for care in [Traversal::DateLimited, Traversal::Full] {
            assert_eq!(lab.new_commits(&[4], &[1], care), (vec![2, 3, 4], true));
            assert_eq!(lab.new_commits(&[4], &[2], care), (vec![3, 4], true));
            assert_eq!(
                lab.new_commits(&[4], &[], care),
                (vec![0, 1, 2, 3, 4], false)
            );
            assert_eq!(lab.new_commits(&[2], &[4], care), (vec![], false));
            assert_eq!(lab.new_commits(&[2], &[3], care), (vec![2], false));
            assert_eq!(lab.new_commits(&[2, 3], &[0], care), (vec![1, 2, 3], true));
            assert_eq!(lab.new_commits(&[4], &[4], care), (vec![], false));
        }
    }

    #[test]
    fn false_times_never_make_the_answer_smaller() {
        // The old side has commits that claim to be old; the new ones claim to be
        // of 1970 or of the far future.
        let mut lab = Lab::new();
        lab.commit(&[], 1000); // 0
        for n in 0..100 {
            lab.commit(&[n], 10 + i64::try_from(n).unwrap()); // 1..=100: earlier than their root
        }
        lab.commit(&[50], 5); // 101
        lab.commit(&[101], 9_999_999_999); // 102
        lab.commit(&[0, 102], 0); // 103
        let (exact, continues) = lab.new_commits(&[103], &[100], Traversal::Full);
        assert_eq!((exact.as_slice(), continues), (&[101, 102, 103][..], false));
        let (quick, _) = lab.new_commits(&[103], &[100], Traversal::DateLimited);
        assert!(exact.iter().all(|n| quick.contains(n)), "{quick:?}");
    }

    #[test]
    fn history_that_is_cut_off_is_an_error() {
        let mut lab = Lab::new();
        let there = lab.commit(&[], 100);
        let absent = ObjectId::from_hex(&[b'7'; 40]).unwrap();
        lab.commits.push(absent);
        lab.commit(&[1, 0], 200); // 2
        let workspace = Workspace::open(lab.directory.path()).unwrap();
        let mut graph = Graph::new(workspace.repository().unwrap());
        let error = graph
            .new_commits(&[lab.commits[2]], &[there], Traversal::DateLimited)
            .unwrap_err();
        assert!(matches!(error, GraphError::MissingParent { .. }), "{error}");
        // Behind what is hidden it does not matter.
        lab.commit(&[2], 300); // 3
        assert_eq!(
            lab.new_commits(&[3], &[2], Traversal::Full),
            (vec![3], true)
        );
    }

    #[test]
    fn headers_are_read_as_git_does() {
        let id = "a".repeat(40);
        let read = |text: String| CommitHeaders::parse(text.as_bytes(), gix::hash::Kind::Sha1);
        let headers = read(format!(
            "tree {id}\nparent {id}\nauthor A <a> 1 +0000\nparent {id}\ncommitter B <b> 42 +0100\n\nparent {id}\n"
        ));
        assert!(headers.is_well_formed);
        assert_eq!(
            (headers.parents.len(), headers.time),
            (1, 42),
            "parents come first or not at all"
        );
        assert_eq!(read(format!("tree {id}\n\n")).time, 0);
        for malformed in ["tag x\n".to_owned(), format!("tree {id}\nparent abc\n")] {
            assert!(!read(malformed).is_well_formed);
        }
    }
}
