//! The merge bases of two commits: what both reach, and no other merge base
//! reaches. Exact whatever the commit times are.
//!
//! Both histories are painted, the youngest commit first, until only what lies
//! behind a common commit is left. With true times the rest is the result; with
//! false ones it can contain a commit behind another, so that several results are
//! compared pair by pair (Git's `commit-reach.c`).

use std::{cmp::Reverse, collections::BinaryHeap};

use gix::ObjectId;

use super::{Graph, GraphError};

/// The one commit reaches it.
const ONE: u8 = 1;
/// The other commit reaches it.
const OTHER: u8 = 1 << 1;
/// It lies behind a common commit.
const STALE: u8 = 1 << 2;
/// It was found to be common.
const FOUND: u8 = 1 << 3;

impl Graph {
    /// Returns the merge bases of two commits; none where the histories have nothing
    /// in common.
    ///
    /// # Errors
    /// A commit on the way cannot be read, or a limit is reached.
    pub fn merge_bases(
        &mut self,
        one: ObjectId,
        other: ObjectId,
    ) -> Result<Vec<ObjectId>, GraphError> {
        let (one, other) = (self.place(one)?, self.place(other)?);
        if one == other {
            return Ok(self.id_of(one).into_iter().collect());
        }
        let mut bases = self.paint(one, &[other])?;
        bases.retain(|at| self.bits(*at) & STALE == 0);
        if bases.len() > 1 {
            let mut exact = Vec::with_capacity(bases.len());
            for base in &bases {
                let others: Vec<u32> = bases.iter().copied().filter(|at| at != base).collect();
                self.paint(*base, &others)?;
                if self.bits(*base) & OTHER == 0 {
                    exact.push(*base);
                }
            }
            bases = exact;
        }
        Ok(bases.into_iter().filter_map(|at| self.id_of(at)).collect())
    }

    /// Paints what `one` and what `others` reach, and returns the common commits
    /// from which the paint did not come down from another.
    fn paint(&mut self, one: u32, others: &[u32]) -> Result<Vec<u32>, GraphError> {
        self.begin();
        let mut heap = BinaryHeap::new();
        let mut met = 0_u32;
        // Number of entries that were not stale when they were queued.
        let mut open = 0_usize;
        let mut found = Vec::new();
        let tips = std::iter::once((one, ONE)).chain(others.iter().map(|at| (*at, OTHER)));
        for (at, bits) in tips {
            let time = self.read(at)?;
            self.set_bits(at, self.bits(at) | bits);
            heap.push((time, Reverse(met), at, false));
            met = met.saturating_add(1);
            open = open.saturating_add(1);
        }
        while let Some((_, _, at, was_stale)) = heap.pop() {
            if open == 0 {
                break;
            }
            self.step()?;
            if !was_stale {
                open = open.saturating_sub(1);
            }
            let bits = self.bits(at);
            let mut down = bits & (ONE | OTHER | STALE);
            if down == ONE | OTHER {
                if bits & FOUND == 0 {
                    self.set_bits(at, bits | FOUND);
                    found.push(at);
                }
                down |= STALE;
            }
            for parent in self.parents_of(at) {
                let before = self.bits(parent);
                if before & down == down {
                    continue;
                }
                let time = self.read_parent(parent, Some(at))?;
                let now = before | down;
                self.set_bits(parent, now);
                let is_stale = now & STALE != 0;
                heap.push((time, Reverse(met), parent, is_stale));
                met = met.saturating_add(1);
                if !is_stale {
                    open = open.saturating_add(1);
                }
            }
        }
        Ok(found)
    }
}
