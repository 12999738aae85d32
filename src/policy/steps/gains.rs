//! Which commits each step gains (items 3 and 4).

use std::collections::{HashMap, HashSet};

use super::{History, Look, MAX_COMMITS, MAX_PARENTS, StepsError};

/// All that a reference gains, distributed over its steps: each commit belongs to one.
pub(super) struct Gains<I> {
    /// The place of each commit, after its parents.
    place: HashMap<I, usize>,
    /// What an earlier step reaches.
    taken: Vec<bool>,
    /// Lent states.
    lent: HashSet<I>,
    /// Whether more is hidden than what the base reaches.
    is_cut_off: bool,
}

/// What one step gains.
#[derive(Debug)]
pub(super) struct Step<I> {
    /// The commit on the line; `None`: a merge that is not made yet, of a request.
    pub tip: Option<I>,
    /// The commits that it gains, itself included, each before its parents. Without
    /// the tip, if that lies behind the cut-off.
    pub commits: Vec<I>,
    /// The parents of the tip, without those that its first one reaches.
    pub parents: Vec<I>,
}

impl<I: Copy + Eq + std::hash::Hash> Gains<I> {
    /// `order`: all that the reference gains, each commit after its parents.
    pub(super) fn new<E>(
        order: Vec<I>,
        lent: Vec<I>,
        is_cut_off: bool,
    ) -> Result<Self, StepsError<E>> {
        if order.len() > MAX_COMMITS {
            return Err(StepsError::TooMuch {
                most: MAX_COMMITS,
                what: "commits",
            });
        }
        let places = order.iter().enumerate();
        Ok(Self {
            place: places.map(|(place, commit)| (*commit, place)).collect(),
            taken: vec![false; order.len()],
            lent: lent.into_iter().collect(),
            is_cut_off,
        })
    }

    /// Returns what a step gains that is not gained by an earlier one. `tip`: the
    /// step; `heads`: from where it reaches commits.
    pub(super) fn step<H: History<Id = I>>(
        &mut self,
        tip: Option<I>,
        heads: &[I],
        history: &mut H,
    ) -> Result<Step<I>, StepsError<H::Error>> {
        let parents = match tip {
            Some(tip) => self.brought(tip, history)?,
            None => Vec::new(),
        };
        let reached = self.reach(heads, history)?;
        // 4: what lies behind a lent state that the step brings in. The step itself
        // is judged, lent or not: whoever moves a reference along a source takes the
        // source's steps for its own.
        let mut hidden = HashSet::new();
        let states = reached.iter().copied();
        let mut open: Vec<I> = states
            .filter(|commit| Some(*commit) != tip && self.lent.contains(commit))
            .collect();
        if !open.is_empty() {
            let among: HashSet<I> = reached.iter().copied().collect();
            while let Some(commit) = open.pop() {
                if among.contains(&commit) && hidden.insert(commit) {
                    open.extend(history.parents(commit)?);
                }
            }
        }
        let mut commits = reached;
        commits.retain(|commit| !hidden.contains(commit));
        commits.sort_unstable_by_key(|commit| std::cmp::Reverse(self.place.get(commit)));
        Ok(Step {
            tip,
            commits,
            parents,
        })
    }

    /// Takes all that `heads` reach and no earlier step did.
    fn reach<H: History<Id = I>>(
        &mut self,
        heads: &[I],
        history: &mut H,
    ) -> Result<Vec<I>, StepsError<H::Error>> {
        let mut reached = Vec::new();
        let mut open = heads.to_vec();
        while let Some(commit) = open.pop() {
            let place = self.place.get(&commit).copied();
            let Some(taken) = place.and_then(|place| self.taken.get_mut(place)) else {
                continue;
            };
            if std::mem::replace(taken, true) {
                continue;
            }
            reached.push(commit);
            let parents = history.parents(commit)?;
            if parents.len() > MAX_PARENTS {
                return Err(StepsError::TooMuch {
                    most: MAX_PARENTS,
                    what: "parents of one commit",
                });
            }
            open.extend(parents);
        }
        Ok(reached)
    }

    /// Returns the parents of a step without those that its first one reaches: a merge
    /// that has only such others is an ordinary commit, whatever its header says.
    fn brought<H: History<Id = I>>(
        &self,
        tip: I,
        history: &mut H,
    ) -> Result<Vec<I>, StepsError<H::Error>> {
        let parents = history.parents(tip)?;
        let Some((first, others)) = parents.split_first() else {
            return Ok(parents);
        };
        let mut brought = vec![*first];
        for other in others {
            let is_new = match self.place.get(other).and_then(|at| self.taken.get(*at)) {
                // What an earlier step took, the first parent reaches.
                Some(is_taken) => !is_taken,
                // It is behind the base, or behind the cut-off.
                None => self.is_cut_off && !history.reaches(*first, *other, Look::Full)?,
            };
            if is_new {
                brought.push(*other);
            }
        }
        Ok(brought)
    }
}
