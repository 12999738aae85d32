//! Thresholds: n distinct signers over the commits of one push or merge.
//!
//! A commit that changes a path of the rule must be signed for by n distinct
//! members: its own signer, and the signers of later commits of the same set that
//! change a path of the rule too. A merge changes what differs from its first
//! parent: so the author of a branch and the signer of its merge are two. A signature
//! made *before* a commit does not count for it, with one exception: a merge that
//! only takes content from its other parents changes nothing itself, so the signers
//! of that content count for the merge. A merge that changes a path of the rule (a
//! resolved conflict, a reverted change) is like any commit.
//!
//! *Not checked here:* whether each signer is allowed to sign (`evaluate.rs`), and
//! thresholds over tags (there too: each tag is evaluated alone).

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use super::{
    facts::{Action, ChangedPath, CommitFacts, Finding},
    model::{Policy, Rule, SignerSet, Threshold},
};

/// A set of at most as many signers as the threshold requires: further ones do not
/// matter.
#[derive(Debug, Clone, Default)]
struct CappedSignerSet(BTreeSet<usize>);

impl CappedSignerSet {
    fn extend(&mut self, others: impl IntoIterator<Item = usize>, most: usize) {
        for signer in others {
            if self.0.len() < most {
                self.0.insert(signer);
            }
        }
    }
}

impl Policy {
    /// Returns whether [`evaluate_thresholds`](Self::evaluate_thresholds) can have
    /// findings on this ref.
    #[must_use]
    pub fn has_thresholds(&self, ref_name: &[u8]) -> bool {
        self.thresholds(ref_name).next().is_some()
    }

    fn thresholds<'p>(
        &'p self,
        ref_name: &'p [u8],
    ) -> impl Iterator<Item = (&'p Rule, &'p Threshold)> {
        let adds = |rule: &Rule| {
            rule.may.contains_key(&Action::Commit) || rule.may.contains_key(&Action::Merge)
        };
        self.rules
            .iter()
            .filter(move |rule| !rule.trial && rule.matches_ref(ref_name) && adds(rule))
            .filter_map(|rule| Some((rule, rule.threshold.as_ref()?)))
    }

    /// Removes the paths of a commit that
    /// [`evaluate_thresholds`](Self::evaluate_thresholds) does not need, keeping at
    /// most two for each rule: a set is as large as a push.
    pub fn retain_threshold_paths<I>(&self, facts: &mut CommitFacts<I>, ref_name: &[u8]) {
        let mut missing: Vec<(&Rule, bool)> = self
            .thresholds(ref_name)
            .flat_map(|(rule, _)| [(rule, true), (rule, false)])
            .collect();
        facts.paths.retain(|path| {
            let before = missing.len();
            missing.retain(|(rule, changed)| {
                *changed != path.changed || !rule.matches_path(&path.path)
            });
            missing.len() < before
        });
        facts.paths.shrink_to_fit();
    }

    /// Evaluates a set of commits (a push, or a merge and the commits that it
    /// merges) against the thresholds of the rules about a ref. Each finding comes
    /// with the commit's id. The order of the set has no meaning; a parent outside
    /// the set existed before.
    #[must_use]
    pub fn evaluate_thresholds<I: Clone + Eq + Hash>(
        &self,
        commits: &[CommitFacts<I>],
        ref_name: &[u8],
    ) -> Vec<(I, Finding)> {
        let mut found = Vec::new();
        let mut graph: Option<CommitGraph> = None;
        for (rule, threshold) in self.thresholds(ref_name) {
            let graph = graph.get_or_insert_with(|| CommitGraph::of(commits));
            self.evaluate_threshold(rule, threshold, commits, graph, &mut found);
        }
        found
    }

    fn evaluate_threshold<I: Clone>(
        &self,
        rule: &Rule,
        threshold: &Threshold,
        commits: &[CommitFacts<I>],
        graph: &CommitGraph,
        found: &mut Vec<(I, Finding)>,
    ) {
        let most = threshold.count;
        let matches = |path: &ChangedPath| rule.matches_path(&path.path);
        let touches: Vec<bool> = commits
            .iter()
            .map(|commit| rule.paths.is_none() || commit.paths.iter().any(matches))
            .collect();
        if !touches.contains(&true) {
            return;
        }
        let mut own = vec![CappedSignerSet::default(); commits.len()];
        for &at in &graph.parents_first {
            if let (Some(set), Some(true), Some(commit)) =
                (own.get_mut(at), touches.get(at), commits.get(at))
            {
                let signer = self.threshold_signer(&commit.signature, &threshold.of, None);
                set.extend(signer, most);
            }
        }
        let union = |sets: &mut [CappedSignerSet], into: usize, from: usize| {
            let from = sets.get(from).cloned().unwrap_or_default();
            if let Some(into) = sets.get_mut(into) {
                into.extend(from.0, most);
            }
        };
        // The signers of a path of the rule in a commit or before it, and after it.
        let mut before = own.clone();
        let mut after = own;
        for &at in &graph.parents_first {
            for parent in graph.parents(at).iter().flatten() {
                union(&mut before, at, *parent);
            }
        }
        for &at in graph.parents_first.iter().rev() {
            for parent in graph.parents(at).iter().flatten() {
                union(&mut after, *parent, at);
            }
        }
        for ((at, commit), touches) in commits.iter().enumerate().zip(touches) {
            let mut signers = after.get(at).cloned().unwrap_or_default();
            let changes = |path: &ChangedPath| path.changed && matches(path);
            if commit.is_merge() && !commit.paths.iter().any(changes) {
                for parent in graph.parents(at).iter().skip(1).flatten() {
                    let merged = before.get(*parent).cloned().unwrap_or_default();
                    signers.extend(merged.0, most);
                }
            }
            if touches && signers.0.len() < most {
                let mut set = SignerSet::default();
                for signer in signers.0 {
                    set.insert(signer);
                }
                let hint = "have another of them merge it, or sign a commit on top that touches the same paths";
                let finding = self.threshold_finding(rule, &set, hint);
                found.push((commit.id.clone(), finding));
            }
        }
    }
}

/// The parents within a set of commits, by index.
struct CommitGraph {
    parents: Vec<Vec<Option<usize>>>,
    /// Commits whose parents come before them. A commit on a cycle, which hashes rule
    /// out, is not in it.
    parents_first: Vec<usize>,
}

impl CommitGraph {
    fn of<I: Eq + Hash>(commits: &[CommitFacts<I>]) -> Self {
        let index: HashMap<&I, usize> = commits
            .iter()
            .enumerate()
            .map(|(at, commit)| (&commit.id, at))
            .collect();
        let parents: Vec<Vec<Option<usize>>> = commits
            .iter()
            .map(|commit| {
                let parents = commit.parents.iter();
                parents.map(|parent| index.get(parent).copied()).collect()
            })
            .collect();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); commits.len()];
        for (at, parents) in parents.iter().enumerate() {
            for parent in parents.iter().flatten() {
                children
                    .get_mut(*parent)
                    .into_iter()
                    .for_each(|slot| slot.push(at));
            }
        }
        let mut waiting: Vec<usize> = parents
            .iter()
            .map(|parents| parents.iter().flatten().count())
            .collect();
        let mut ready: Vec<usize> = (0..commits.len())
            .filter(|at| waiting.get(*at) == Some(&0))
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
        Self {
            parents,
            parents_first,
        }
    }

    fn parents(&self, at: usize) -> &[Option<usize>] {
        self.parents.get(at).map_or(&[], Vec::as_slice)
    }
}
