//! First-parent histories: where that of a new value leaves those that were
//! accepted.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use gix::ObjectId;

use super::{Graph, GraphError, Traversal};
use crate::host::git::error::GitError;

/// The first-parent history of the new value contains it.
const NEW: u8 = 1;
/// An accepted first-parent history contains it.
const LINE: u8 = 1 << 1;
/// It is behind a commit behind which everything was accepted.
const HISTORY: u8 = 1 << 2;
const ACCEPTED: u8 = LINE | HISTORY;

/// What was accepted before a push.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accepted<'a> {
    /// Tips whose first-parent histories were accepted.
    pub lines: &'a [ObjectId],
    /// Commits behind which everything was accepted.
    pub histories: &'a [ObjectId],
}

/// Whose history a pointer walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Walker {
    New,
    /// By first parents only.
    Line,
    /// By all parents.
    History,
}

impl Walker {
    fn bit(self) -> u8 {
        match self {
            Self::New => NEW,
            Self::Line => LINE,
            Self::History => HISTORY,
        }
    }

    /// Whether a pointer that has been there has seen what this one would see.
    fn is_done(self, bits: u8) -> bool {
        match self {
            Self::New => false,
            Self::Line => bits & ACCEPTED != 0,
            Self::History => bits & HISTORY != 0,
        }
    }
}

/// The pointers of a walk, the youngest commit first.
#[derive(Default)]
struct Pointers {
    heap: BinaryHeap<(i64, Reverse<u32>, u32, Walker)>,
    met: u32,
    /// Number of pointers that walk an accepted history.
    accepted: usize,
}

impl Pointers {
    fn push(&mut self, time: i64, at: u32, walker: Walker) {
        self.heap.push((time, Reverse(self.met), at, walker));
        self.met = self.met.saturating_add(1);
        if walker != Walker::New {
            self.accepted = self.accepted.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<(i64, u32, Walker)> {
        let (time, _, at, walker) = self.heap.pop()?;
        if walker != Walker::New {
            self.accepted = self.accepted.saturating_sub(1);
        }
        Some((time, at, walker))
    }
}

impl Graph {
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
        let mut next = Some(self.place(tip)?);
        let mut child = None;
        while let Some(at) = next {
            let Some(id) = self.id_of(at) else { break };
            if !follow(id) {
                return Ok(Some(id));
            }
            self.step()?;
            self.read_parent(at, child)?;
            child = Some(at);
            next = self.first_parent_of(at);
        }
        Ok(None)
    }

    /// Returns the first commit of the first-parent history of `tip` that was
    /// accepted; `None` if there is none.
    ///
    /// One pointer walks the history of `tip`, one each accepted history, the
    /// youngest commit first; a pointer ends where another one of an accepted
    /// history has been. With [`Traversal::DateLimited`] the first meeting decides:
    /// where commit times are false, that can be a later commit of the history, or
    /// none.
    ///
    /// # Errors
    /// A commit of the history of `tip` cannot be read, or a limit is reached. An
    /// accepted history ends where a commit of it is missing.
    pub fn line_base(
        &mut self,
        tip: ObjectId,
        accepted: Accepted<'_>,
        care: Traversal,
    ) -> Result<Option<ObjectId>, GraphError> {
        if accepted.lines.contains(&tip) || accepted.histories.contains(&tip) {
            return Ok(Some(tip));
        }
        self.begin();
        match care {
            Traversal::DateLimited => self.first_meeting(tip, accepted),
            Traversal::Full => self.first_of_all(tip, accepted),
        }
    }

    /// Returns those of `commits` that the first-parent history of one of `lines`
    /// contains.
    ///
    /// With [`Traversal::DateLimited`] a history is left where it is older than all
    /// of them: where commit times are false, one can be missed.
    ///
    /// # Errors
    /// One of `commits` cannot be read, or a limit is reached.
    pub fn on_lines(
        &mut self,
        commits: &[ObjectId],
        lines: &[ObjectId],
        care: Traversal,
    ) -> Result<Vec<ObjectId>, GraphError> {
        self.begin();
        let mut oldest = i64::MAX;
        let mut left: HashSet<u32> = HashSet::with_capacity(commits.len());
        for commit in commits {
            let at = self.place(*commit)?;
            oldest = oldest.min(self.read(at)?);
            left.insert(at);
        }
        let mut pointers = Pointers::default();
        for tip in lines {
            let at = self.place(*tip)?;
            if let Some(time) = self.read_accepted(at)? {
                pointers.push(time, at, Walker::Line);
            }
        }
        while let Some((time, at, _)) = pointers.pop() {
            self.step()?;
            if left.is_empty() || care == Traversal::DateLimited && time < oldest {
                break;
            }
            let bits = self.bits(at);
            if bits & LINE != 0 {
                continue;
            }
            self.set_bits(at, bits | LINE);
            left.remove(&at);
            if let Some(parent) = self.first_parent_of(at)
                && let Some(time) = self.read_accepted(parent)?
            {
                pointers.push(time, parent, Walker::Line);
            }
        }
        let mut found = Vec::new();
        for commit in commits {
            let at = self.place(*commit)?;
            if self.bits(at) & LINE != 0 {
                found.push(*commit);
            }
        }
        Ok(found)
    }

    fn first_meeting(
        &mut self,
        tip: ObjectId,
        accepted: Accepted<'_>,
    ) -> Result<Option<ObjectId>, GraphError> {
        let mut pointers = Pointers::default();
        let new = self.place(tip)?;
        pointers.push(self.read(new)?, new, Walker::New);
        for (tips, walker) in [
            (accepted.lines, Walker::Line),
            (accepted.histories, Walker::History),
        ] {
            let tips: HashSet<ObjectId> = tips.iter().copied().collect();
            for tip in tips {
                let at = self.place(tip)?;
                if let Some(time) = self.read_accepted(at)? {
                    pointers.push(time, at, walker);
                }
            }
        }
        let (mut new_ended, mut oldest_new, mut oldest_accepted) = (false, i64::MAX, i64::MAX);
        while let Some((time, at, walker)) = pointers.pop() {
            self.step()?;
            let bits = self.bits(at);
            if walker == Walker::New {
                if bits & ACCEPTED != 0 {
                    return Ok(self.id_of(at));
                }
                // All that an accepted history has left would have to be older.
                if pointers.accepted == 0 && time < oldest_accepted {
                    return Ok(None);
                }
                self.set_bits(at, bits | NEW);
                oldest_new = oldest_new.min(time);
                match self.first_parent_of(at) {
                    Some(parent) => {
                        let time = self.read_parent(parent, Some(at))?;
                        pointers.push(time, parent, Walker::New);
                    }
                    None => new_ended = true,
                }
                continue;
            }
            if bits & NEW != 0 {
                return Ok(self.id_of(at));
            }
            if walker.is_done(bits) || new_ended && time < oldest_new {
                continue;
            }
            self.set_bits(at, bits | walker.bit());
            oldest_accepted = oldest_accepted.min(time);
            for parent in self.accepted_parents(at, walker) {
                if let Some(time) = self.read_accepted(parent)? {
                    pointers.push(time, parent, walker);
                }
            }
        }
        Ok(None)
    }

    fn first_of_all(
        &mut self,
        tip: ObjectId,
        accepted: Accepted<'_>,
    ) -> Result<Option<ObjectId>, GraphError> {
        let mut line = Vec::new();
        self.follow_first_parents(tip, |commit| {
            line.push(commit);
            true
        })?;
        let line: Vec<u32> = line
            .into_iter()
            .map(|commit| self.place(commit))
            .collect::<Result<_, _>>()?;
        for at in &line {
            self.set_bits(*at, NEW);
        }
        let tips = accepted.lines.iter().map(|tip| (*tip, Walker::Line));
        let histories = accepted.histories.iter();
        for (tip, walker) in tips.chain(histories.map(|tip| (*tip, Walker::History))) {
            let mut waiting = vec![self.place(tip)?];
            while let Some(at) = waiting.pop() {
                self.step()?;
                let bits = self.bits(at);
                if walker.is_done(bits) {
                    continue;
                }
                self.set_bits(at, bits | walker.bit());
                // What lies behind is further down that history.
                if bits & NEW == 0 && self.read_accepted(at)?.is_some() {
                    waiting.extend(self.accepted_parents(at, walker));
                }
            }
        }
        Ok(line
            .into_iter()
            .find(|at| self.bits(*at) & ACCEPTED != 0)
            .and_then(|at| self.id_of(at)))
    }

    fn accepted_parents(&self, at: u32, walker: Walker) -> Vec<u32> {
        match walker {
            Walker::History => self.parents_of(at),
            Walker::New | Walker::Line => self.first_parent_of(at).into_iter().collect(),
        }
    }

    /// Reads a commit of an accepted history; `None` if it is missing.
    fn read_accepted(&mut self, at: u32) -> Result<Option<i64>, GraphError> {
        match self.read(at) {
            Ok(time) => Ok(Some(time)),
            Err(GraphError::Git(GitError::Missing { .. } | GitError::Kind { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
