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

use std::collections::{BinaryHeap, HashMap, HashSet};

use gix::ObjectId;

use super::{GitError, Repository};
use gitseal_evidence::object::ObjectKind;

/// The most commits that are read for one push.
pub const MAX_COMMITS: usize = 1_000_000;
/// The most steps of all walks of one push.
pub const MAX_STEPS: u64 = 100_000_000;
/// How many hidden commits the quick walk looks at after the last one that is
/// not hidden: as many clocks may be wrong by a little.
const SLOP: usize = 32;

/// Why the commits of a push cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A commit cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A parent is not there.
    #[error("commit {child} has the parent {parent}, which is not in this repository")]
    MissingParent {
        /// Hex.
        child: String,
        /// Hex.
        parent: String,
    },
    /// Larger than what is looked at in one go.
    #[error("the push needs more than {most} {what} looked at")]
    TooMuch {
        /// The limit.
        most: u64,
        /// Of what.
        what: &'static str,
    },
}

/// How exactly the hidden part is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traversal {
    /// As git does it: where commit times go backwards, commits may be in the
    /// answer that are hidden in truth.
    DateLimited,
    /// To the end of history.
    Full,
}

/// What a reference gains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewCommits {
    /// The commits, each after its parents.
    pub commits: Vec<ObjectId>,
    /// Whether one of them has a hidden tip as its parent. With the old value as
    /// the only hidden tip: whether the reference moves forward.
    pub continues: bool,
}

/// A commit: when it says it was made, and where its parents stand in the list.
#[derive(Debug, Clone, Copy)]
struct Node {
    id: ObjectId,
    /// Nothing: not read yet.
    read: Option<Read>,
}

#[derive(Debug, Clone, Copy)]
struct Read {
    time: i64,
    first: u32,
    count: u32,
}

/// What a walk knows of a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    /// The walk that this is about.
    walk: u32,
    seen: bool,
    hidden: bool,
}

/// The commits that were read so far.
pub struct Graph<'r> {
    repository: &'r Repository,
    index: HashMap<ObjectId, u32>,
    nodes: Vec<Node>,
    edges: Vec<u32>,
    marks: Vec<Mark>,
    walk: u32,
    steps: u64,
}

impl<'r> Graph<'r> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(repository: &'r Repository) -> Self {
        Self {
            repository,
            index: HashMap::new(),
            nodes: Vec::new(),
            edges: Vec::new(),
            marks: Vec::new(),
            walk: 0,
            steps: 0,
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
        self.walk = self.walk.saturating_add(1);
        let mut queue: BinaryHeap<(i64, u32)> = BinaryHeap::new();
        // How many in the queue are not hidden.
        let mut open = 0_usize;
        let mut tips_at = HashSet::with_capacity(hidden.len());
        for tip in hidden {
            let at = self.place(*tip)?;
            tips_at.insert(at);
            match self.read(at) {
                Ok(time) => {
                    self.mark(at, true);
                    queue.push((time, at));
                }
                // Behind a tip that is not there is nothing to be hidden.
                Err(GraphError::Git(GitError::Missing { .. } | GitError::Kind { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        for tip in tips {
            let at = self.place(*tip)?;
            let time = self.read(at)?;
            if !self.marked(at).seen {
                self.mark(at, false);
                queue.push((time, at));
                open = open.saturating_add(1);
            }
        }
        let mut found: Vec<u32> = Vec::new();
        let mut slop = SLOP;
        while let Some((_, at)) = queue.pop() {
            self.step()?;
            let is_hidden = self.marked(at).hidden;
            if is_hidden {
                if open == 0 && care == Traversal::DateLimited {
                    if slop == 0 {
                        break;
                    }
                    slop = slop.saturating_sub(1);
                }
            } else {
                open = open.saturating_sub(1);
                slop = SLOP;
                found.push(at);
            }
            for parent in self.parents_of(at) {
                let mark = self.marked(parent);
                if mark.seen {
                    if is_hidden && !mark.hidden {
                        // Some of these wait in the queue as not hidden.
                        open = open.saturating_sub(self.hide(parent, &queue)?);
                    }
                    continue;
                }
                match self.read(parent) {
                    Ok(time) => {
                        self.mark(parent, is_hidden);
                        queue.push((time, parent));
                        if !is_hidden {
                            open = open.saturating_add(1);
                        }
                    }
                    Err(GraphError::Git(GitError::Missing { .. })) if is_hidden => {}
                    Err(GraphError::Git(GitError::Missing { id: parent })) => {
                        return Err(GraphError::MissingParent {
                            child: self.node(at).map(|n| n.id.to_string()).unwrap_or_default(),
                            parent,
                        });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        found.retain(|at| !self.marked(*at).hidden);
        let continues = found
            .iter()
            .any(|at| self.parents_of(*at).iter().any(|p| tips_at.contains(p)));
        Ok(NewCommits {
            commits: self.parents_first(&found)?,
            continues,
        })
    }

    /// Hides a commit and what is known behind it; how many of those were not
    /// walked yet, and so were open.
    fn hide(&mut self, at: u32, queue: &BinaryHeap<(i64, u32)>) -> Result<usize, GraphError> {
        let mut stack = vec![at];
        let mut hidden = HashSet::new();
        while let Some(at) = stack.pop() {
            let mark = self.marked(at);
            if !mark.seen || mark.hidden {
                continue;
            }
            self.step()?;
            self.mark(at, true);
            hidden.insert(at);
            stack.extend(self.parents_of(at));
        }
        // Rare: only where commit times go backwards.
        Ok(queue
            .iter()
            .filter(|(_, waiting)| hidden.contains(waiting))
            .count())
    }

    /// The same commits, each after its parents.
    fn parents_first(&mut self, found: &[u32]) -> Result<Vec<ObjectId>, GraphError> {
        // A walk of its own: `seen` is "in the set", `hidden` is "written".
        self.walk = self.walk.saturating_add(1);
        for at in found {
            self.mark(*at, false);
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
                    self.mark(at, true);
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
        if self.steps > MAX_STEPS {
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

    fn mark(&mut self, at: u32, hidden: bool) {
        let walk = self.walk;
        if let Some(mark) = usize::try_from(at)
            .ok()
            .and_then(|at| self.marks.get_mut(at))
        {
            *mark = Mark {
                walk,
                seen: true,
                hidden,
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

    /// Where a commit stands in the list; it need not have been read.
    fn place(&mut self, id: ObjectId) -> Result<u32, GraphError> {
        if let Some(at) = self.index.get(&id) {
            return Ok(*at);
        }
        let too_much = || GraphError::TooMuch {
            most: MAX_COMMITS.try_into().unwrap_or(u64::MAX),
            what: "commits",
        };
        if self.nodes.len() >= MAX_COMMITS {
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
        let (kind, raw) = self.repository.raw(id, &id.to_string(), "commit")?;
        let malformed = |why: &str| GitError::Unreadable {
            id: id.to_string(),
            why: why.to_owned(),
        };
        if kind != ObjectKind::Commit {
            return Err(GitError::Kind {
                name: id.to_string(),
                found: kind.to_string(),
                wanted: "commit",
            }
            .into());
        }
        let (parents, time) =
            headers(&raw).ok_or_else(|| malformed("its headers are not those of a commit"))?;
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

/// The parents of a commit as git reads them: the `parent` lines that follow
/// `tree` at once; and the time of the committer, or the oldest there is if it
/// cannot be read (history holds such commits).
fn headers(raw: &[u8]) -> Option<(Vec<ObjectId>, i64)> {
    let mut lines = raw.split(|&byte| byte == b'\n');
    let tree = lines.next()?.strip_prefix(b"tree ")?;
    let digits = tree.len();
    ObjectId::from_hex(tree).ok()?;
    let mut parents = Vec::new();
    let mut next = lines.next();
    while let Some(parent) = next.and_then(|line| line.strip_prefix(b"parent ")) {
        if parent.len() != digits {
            return None;
        }
        parents.push(ObjectId::from_hex(parent).ok()?);
        next = lines.next();
    }
    let committer = std::iter::once(next)
        .flatten()
        .chain(lines)
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(b"committer "));
    let time = committer
        .and_then(|line| line.rsplit(|&byte| byte == b'>').next())
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(i64::MIN);
    Some((parents, time))
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
        let read = |text: String| headers(text.as_bytes());
        let (parents, time) = read(format!(
            "tree {id}\nparent {id}\nauthor A <a> 1 +0000\nparent {id}\ncommitter B <b> 42 +0100\n\nparent {id}\n"
        ))
        .unwrap();
        assert_eq!(
            (parents.len(), time),
            (1, 42),
            "parents come first or not at all"
        );
        assert_eq!(read(format!("tree {id}\n\n")).unwrap().1, i64::MIN);
        assert!(read("tag x\n".to_owned()).is_none());
        assert!(read(format!("tree {id}\nparent abc\n")).is_none());
    }
}
