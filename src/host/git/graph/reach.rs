//! What commits reach: the commits that one set of tips reaches and another does
//! not, the youngest first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use gix::ObjectId;

use super::{Failure, Graph, GraphError, Listed, Traversal};
use crate::host::git::error::GitError;

/// The walk has met the commit.
const SEEN: u8 = 1;
/// An excluded tip reaches it.
const HIDDEN: u8 = 1 << 1;
/// It is in the queue.
const WAITS: u8 = 1 << 2;

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

impl Graph {
    /// The commits that `tips` reach and `hidden` do not, each after its parents.
    ///
    /// # Errors
    /// A commit that is asked for cannot be read, or a limit is reached. What is
    /// missing behind `hidden` is no error: nothing there is in the answer.
    pub fn new_commits(
        &mut self,
        tips: &[ObjectId],
        hidden: &[ObjectId],
        care: Traversal,
    ) -> Result<Vec<ObjectId>, GraphError> {
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
        found.retain(|at| !self.is_hidden(*at));
        self.parents_first(&found)
    }

    /// The commits that `from` reaches and `not` does not, in Git's default order.
    pub(in crate::host::git) fn listed(
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
            !self.is_hidden(failure.at) || matches!(failure.error, GitError::Damaged { .. })
        });
        let commits = found
            .into_iter()
            .filter(|at| !self.is_hidden(*at))
            .filter_map(|at| self.id_of(at))
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
        self.begin();
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
            let is_hidden = self.is_hidden(at);
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
        let bits = self.bits(at);
        if bits & SEEN != 0 {
            if is_hidden && bits & HIDDEN == 0 {
                // Some of these wait in the queue as not hidden.
                queue.open = queue.open.saturating_sub(self.hide(at)?);
            }
            let failed = queue.failed.get(&at);
            let failed = failed.and_then(|position| queue.failures.get_mut(*position));
            if let Some(failure) = failed.filter(|failure| !is_hidden && !failure.is_needed) {
                failure.is_needed = true;
                failure.child = child.and_then(|child| self.id_of(child));
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
                queue.failures.extend(self.id_of(at).map(|id| Failure {
                    id,
                    child: child.and_then(|child| self.id_of(child)),
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
            let bits = self.bits(at);
            if bits & SEEN == 0 || bits & HIDDEN != 0 {
                continue;
            }
            self.step()?;
            self.set_bits(at, bits | HIDDEN);
            waiting = waiting.saturating_add(usize::from(bits & WAITS != 0));
            stack.extend(self.parents_of(at));
        }
        Ok(waiting)
    }

    /// The same commits, each after its parents.
    fn parents_first(&mut self, found: &[u32]) -> Result<Vec<ObjectId>, GraphError> {
        // A walk of its own: SEEN is "in the set", HIDDEN is "written".
        self.begin();
        for at in found {
            self.mark(*at, false, false);
        }
        let mut order = Vec::with_capacity(found.len());
        // The walk found children before their parents, so the end is the oldest.
        for root in found.iter().rev() {
            let mut stack = vec![(*root, false)];
            while let Some((at, after)) = stack.pop() {
                if self.bits(at) & (SEEN | HIDDEN) != SEEN {
                    continue;
                }
                self.step()?;
                if after {
                    self.mark(at, true, false);
                    order.extend(self.id_of(at));
                    continue;
                }
                stack.push((at, true));
                for parent in self.parents_of(at).into_iter().rev() {
                    if self.bits(parent) & (SEEN | HIDDEN) == SEEN {
                        stack.push((parent, false));
                    }
                }
            }
        }
        Ok(order)
    }

    fn is_hidden(&self, at: u32) -> bool {
        self.bits(at) & HIDDEN != 0
    }

    fn mark(&mut self, at: u32, is_hidden: bool, waits: bool) {
        let hidden = if is_hidden { HIDDEN } else { 0 };
        let waits = if waits { WAITS } else { 0 };
        self.set_bits(at, SEEN | hidden | waits);
    }
}
