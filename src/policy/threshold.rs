//! Thresholds: n distinct signers over the commits of one push or merge.
//!
//! A commit that changes a path of the rule must be signed for by n distinct
//! members: whoever signed it, and whoever signed a later commit of the same set
//! that changes a path of the rule too. A merge changes what differs from its
//! first parent: so the author of a branch and whoever merges it are two. What
//! somebody signed *before* a commit says nothing about it, with one exception:
//! a merge that only takes its content from what it merges has nothing of its own
//! to be signed for, so those who signed for that content on the other parents'
//! side count for the merge. One that changes a path of the rule itself (a
//! conflict that was resolved, a change that was taken back) is like any commit.
//!
//! *Not checked here:* whether each signer may do what they do (`evaluate.rs`), and
//! thresholds over tags (there too: each tag comes alone).

use std::collections::{BTreeSet, HashMap};

use super::{
    facts::{Action, Commit, CommitFacts, Finding},
    model::{Policy, Rule, SignerSet, Threshold},
};

/// A few signers; never more than the threshold asks for, since beyond that it
/// does not matter who else there is.
#[derive(Debug, Clone, Default)]
struct CappedSignerSet(BTreeSet<usize>);

impl CappedSignerSet {
    fn add(&mut self, signer: usize, most: usize) {
        if self.0.len() < most {
            self.0.insert(signer);
        }
    }

    fn extend(&mut self, other: &Self, most: usize) {
        for signer in &other.0 {
            self.add(*signer, most);
        }
    }
}

impl Policy {
    /// Whether [`evaluate_thresholds`](Self::evaluate_thresholds) has anything to say on this ref.
    #[must_use]
    pub fn has_thresholds(&self, ref_name: &[u8]) -> bool {
        self.thresholds(ref_name).next().is_some()
    }

    fn thresholds<'p>(
        &'p self,
        ref_name: &'p [u8],
    ) -> impl Iterator<Item = (&'p Rule, &'p Threshold)> {
        self.rules
            .iter()
            .filter(move |rule| {
                rule.matches_ref(ref_name)
                    && (rule.may.contains_key(&Action::Commit)
                        || rule.may.contains_key(&Action::Merge))
            })
            .filter_map(|rule| Some((rule, rule.threshold.as_ref()?)))
    }

    /// Leaves of a commit's paths those that [`evaluate_thresholds`](Self::evaluate_thresholds) needs,
    /// at most two for each rule: a set is as large as a push.
    pub fn retain_threshold_paths(&self, facts: &mut CommitFacts, ref_name: &[u8]) {
        let mut missing: Vec<(&Rule, bool)> = self
            .thresholds(ref_name)
            .flat_map(|(rule, _)| [(rule, true), (rule, false)])
            .collect();
        facts.paths.retain(|path| {
            let before = missing.len();
            missing.retain(|(rule, own)| {
                let matches = rule.paths.as_ref();
                *own != path.changed || !matches.is_none_or(|globs| globs.matches(&path.path))
            });
            missing.len() < before
        });
        facts.paths.shrink_to_fit();
    }

    /// Holds a set of commits (a push, or what a merge brings and the merge)
    /// against the thresholds of the rules about a ref. Each finding comes with
    /// the commit's id. The order of the set means nothing; a parent that is not
    /// in it was there before.
    #[must_use]
    pub fn evaluate_thresholds(
        &self,
        commits: &[Commit<'_>],
        ref_name: &[u8],
    ) -> Vec<(String, Finding)> {
        let mut found = Vec::new();
        let mut graph: Option<CommitGraph> = None;
        for (rule, threshold) in self.thresholds(ref_name) {
            let graph = graph.get_or_insert_with(|| CommitGraph::of(commits));
            self.one_threshold(rule, threshold, commits, graph, &mut found);
        }
        found
    }

    fn one_threshold(
        &self,
        rule: &Rule,
        threshold: &Threshold,
        commits: &[Commit<'_>],
        graph: &CommitGraph,
        found: &mut Vec<(String, Finding)>,
    ) {
        let most = threshold.count;
        let touches: Vec<bool> = commits
            .iter()
            .map(|commit| match &rule.paths {
                Some(globs) => commit.paths.iter().any(|path| globs.matches(&path.path)),
                None => true,
            })
            .collect();
        if !touches.contains(&true) {
            return;
        }
        let signers: Vec<Option<usize>> = commits
            .iter()
            .zip(&touches)
            .map(|(commit, touches)| {
                touches
                    .then(|| self.counted(commit.signature, &threshold.of, rule))
                    .flatten()
            })
            .collect();
        let is_own: Vec<bool> = commits
            .iter()
            .map(|commit| {
                commit.paths.iter().any(|path| {
                    let globs = rule.paths.as_ref();
                    path.changed && globs.is_none_or(|globs| globs.matches(&path.path))
                })
            })
            .collect();
        // Who signed for a path of the rule at a commit or before it.
        let mut before: Vec<CappedSignerSet> = vec![CappedSignerSet::default(); commits.len()];
        for &at in &graph.parents_first {
            let mut few = CappedSignerSet::default();
            for parent in graph.parents(at).iter().flatten() {
                if let Some(there) = before.get(*parent) {
                    few.extend(there, most);
                }
            }
            if let Some(signer) = signers.get(at).copied().flatten() {
                few.add(signer, most);
            }
            if let Some(slot) = before.get_mut(at) {
                *slot = few;
            }
        }
        // Who signed for one at a commit or after it.
        let mut after: Vec<CappedSignerSet> = vec![CappedSignerSet::default(); commits.len()];
        for &at in graph.parents_first.iter().rev() {
            if let (Some(signer), Some(slot)) =
                (signers.get(at).copied().flatten(), after.get_mut(at))
            {
                slot.add(signer, most);
            }
            let here = after.get(at).cloned().unwrap_or_default();
            for parent in graph.parents(at).iter().flatten() {
                if let Some(slot) = after.get_mut(*parent) {
                    slot.extend(&here, most);
                }
            }
        }
        for (at, commit) in commits.iter().enumerate() {
            if !touches.get(at).copied().unwrap_or(true) {
                continue;
            }
            let mut few = after.get(at).cloned().unwrap_or_default();
            if commit.is_merge() && is_own.get(at) == Some(&false) {
                for parent in graph.parents(at).iter().skip(1).flatten() {
                    if let Some(there) = before.get(*parent) {
                        few.extend(there, most);
                    }
                }
            }
            if few.0.len() < most {
                let mut set = SignerSet::default();
                for signer in few.0 {
                    set.insert(signer);
                }
                let finding = self.threshold_finding(
                    rule,
                    most,
                    &threshold.of,
                    &set,
                    "this commit or what was built on it",
                );
                found.push((commit.id.to_owned(), finding));
            }
        }
    }
}

/// Who is whose parent in a set.
struct CommitGraph {
    parents: Vec<Vec<Option<usize>>>,
    parents_first: Vec<usize>,
}

impl CommitGraph {
    fn of(commits: &[Commit<'_>]) -> Self {
        let index: HashMap<&str, usize> = commits
            .iter()
            .enumerate()
            .map(|(at, commit)| (commit.id, at))
            .collect();
        let parents: Vec<Vec<Option<usize>>> = commits
            .iter()
            .map(|commit| {
                commit
                    .parents
                    .iter()
                    .map(|parent| index.get(parent.as_str()).copied())
                    .collect()
            })
            .collect();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); commits.len()];
        let mut waiting: Vec<usize> = vec![0; commits.len()];
        for (at, parents) in parents.iter().enumerate() {
            for parent in parents.iter().flatten() {
                if let Some(slot) = children.get_mut(*parent) {
                    slot.push(at);
                }
                if let Some(slot) = waiting.get_mut(at) {
                    *slot = slot.saturating_add(1);
                }
            }
        }
        let mut ready: Vec<usize> = waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| **waiting == 0)
            .map(|(at, _)| at)
            .collect();
        let mut parents_first = Vec::with_capacity(commits.len());
        while let Some(at) = ready.pop() {
            parents_first.push(at);
            for child in children.get(at).into_iter().flatten() {
                if let Some(slot) = waiting.get_mut(*child) {
                    *slot = slot.saturating_sub(1);
                    if *slot == 0 {
                        ready.push(*child);
                    }
                }
            }
        }
        // Ids are hashes of their parents' ids, so nothing can wait for itself;
        // what does all the same has nobody who signed for it.
        Self {
            parents,
            parents_first,
        }
    }

    fn parents(&self, at: usize) -> &[Option<usize>] {
        self.parents.get(at).map_or(&[], Vec::as_slice)
    }
}
