//! The steps of an update, each by the policy before it (items 3, 4 and 7).

use std::collections::HashSet;

use super::{
    Branch, History, Judged, Subject,
    commit::{Commit, Place},
    findings::{about, may, policy_namesake},
    gains::{Gains, Step},
    judge::{Outcome, Plan, Run, StepJudge},
    mutant::clause,
    versions::Version,
};
use crate::facts::{Action, CommitFacts, SignatureResult, is_policy};

impl<H: History> StepJudge<'_, H> {
    /// Judges steps, each by the policy before it.
    pub(super) fn steps(
        &mut self,
        run: Run<'_, H::Id>,
        mut plan: Plan<H::Id>,
        new: H::Id,
        judged: &mut Judged<H::Id>,
    ) -> Outcome<(), H> {
        if plan.line.is_empty() {
            return Ok(());
        }
        let line: HashSet<H::Id> = plan.line.iter().copied().collect();
        let mut is_stepwise = matches!(run.update.branch, Branch::WithPolicy { .. });
        is_stepwise &= clause!(PolicyAtBeginning: false, true);
        if clause!(RewriteSkipsOwnSteps: plan.also.is_some(), false) {
            plan.version = self.in_force.clone();
            is_stepwise = false;
        }
        if clause!(PolicyAtEnd: is_stepwise, false) {
            plan.version = self
                .versions
                .at(new, self.history)?
                .unwrap_or(plan.version.clone());
            is_stepwise = false;
        }
        let mut base = plan.base;
        let mut rest = plan.line.as_slice();
        if let Some(first) = rest.first()
            && self.refuses_at_sight(run, *first, &plan.version, judged)?
        {
            return Ok(());
        }
        while !rest.is_empty() {
            let from: Vec<H::Id> = base.into_iter().collect();
            let mut gains =
                self.gains(run, &from, new, &plan.version, plan.also.as_ref(), &line)?;
            let mut steps = Vec::with_capacity(rest.len());
            for tip in rest {
                steps.push(gains.step(Some(*tip), &[*tip], self.history)?);
            }
            self.verify(run, &steps, &plan.version)?;
            let mut left: &[H::Id] = &[];
            for (step, after) in steps.iter().zip(1..) {
                self.step(run, step, &plan.version, judged)?;
                if let Some(also) = plan.also.as_ref().filter(|also| **also != plan.version) {
                    self.step(run, step, also, judged)?;
                }
                let next = self.next_policy(run, &plan, base, step, judged)?;
                base = step.tip;
                let Some(next) = next else {
                    return Ok(());
                };
                if !is_stepwise || next == plan.version {
                    continue;
                }
                let is_same = next.policy.cut_off == plan.version.policy.cut_off;
                plan.version = next;
                if !is_same {
                    // What the next steps gain is another question now.
                    left = rest.get(after..).unwrap_or_default();
                    break;
                }
            }
            rest = left;
        }
        Ok(())
    }

    /// Returns whether the first step is a merge that is refused for its signature alone,
    /// whatever it gains: a step is never adopted. Merges by someone without any right
    /// cost no walk through what they bring.
    fn refuses_at_sight(
        &mut self,
        run: Run<'_, H::Id>,
        first: H::Id,
        version: &Version,
        judged: &mut Judged<H::Id>,
    ) -> Outcome<bool, H> {
        // A step behind the cut-off is not judged at all.
        let is_exempt = self.tells_all || run.is_clone || !version.policy.cut_off.is_empty();
        if is_exempt || self.history.parents(first)?.len() < 2 {
            return Ok(false);
        }
        self.history.verify(&[first])?;
        let facts = self.history.facts(first)?;
        if matches!(facts.signature, SignatureResult::Good { .. }) {
            return Ok(false);
        }
        let place = Place {
            name: run.update.name,
            direct: true,
            at: run.update.pusher.now,
            account: Some(&run.update.pusher),
        };
        // As a merge, and as what it is if its further parents bring nothing.
        let mut alone = CommitFacts::clone(&facts);
        alone.parents.truncate(1);
        let policy = std::rc::Rc::clone(&version.policy);
        let mut findings = Vec::new();
        for facts in [std::rc::Rc::new(alone), facts] {
            findings = policy.refuses(&mut Commit::new(self.history, facts), place)?;
            if !findings.iter().any(|finding| finding.refuses()) {
                return Ok(false);
            }
        }
        judged.gained = judged.gained.saturating_add(1);
        judged.judged = judged.judged.saturating_add(1);
        for finding in findings {
            let about = Subject::Commit {
                commit: first,
                step: Some(first),
            };
            judged.add(about, finding, &[]);
        }
        Ok(true)
    }

    /// Returns the policy that a step leaves (item 7); `None` if that is none that may
    /// judge the next step.
    pub(super) fn next_policy(
        &mut self,
        run: Run<'_, H::Id>,
        plan: &Plan<H::Id>,
        before: Option<H::Id>,
        step: &Step<H::Id>,
        judged: &mut Judged<H::Id>,
    ) -> Outcome<Option<Version>, H> {
        let (Branch::WithPolicy { .. }, Some(tip), Some(before)) =
            (run.update.branch, step.tip, before)
        else {
            return Ok(Some(plan.version.clone()));
        };
        let about = about(tip, step);
        if let Some(name) = self.history.policy_namesake(tip)? {
            judged.add(about, policy_namesake(&tip, &name), &[]);
            return Ok(None);
        }
        if self.history.policy_tree(before)? == self.history.policy_tree(tip)? {
            return Ok(Some(plan.version.clone()));
        }
        let facts = self.facts(tip, step)?;
        let at = self.time(run, step)?;
        let place = Place {
            name: run.update.name,
            direct: true,
            at,
            account: None,
        };
        let mut is_allowed = true;
        for version in [Some(&plan.version), plan.also.as_ref()]
            .into_iter()
            .flatten()
        {
            for finding in version.policy.refuses_policy_change(&facts, place) {
                is_allowed &= !finding.refuses();
                judged.add(about, finding, &[]);
            }
        }
        Ok(match self.versions.at(tip, self.history)? {
            Ok(next) => is_allowed.then_some(next),
            Err(finding) => {
                judged.add(about, finding, &[]);
                None
            }
        })
    }

    /// Judges what a request to the default branch changes in `.gitseal` (item 7): the
    /// signers of these commits need `policy`, as whoever merges it will, and the policy
    /// that it leaves must be readable.
    pub(super) fn request_of_policy(
        &mut self,
        run: Run<'_, H::Id>,
        head: H::Id,
        step: &Step<H::Id>,
        version: &Version,
        judged: &mut Judged<H::Id>,
    ) -> Outcome<(), H> {
        let (Branch::WithPolicy { .. }, Some(target)) = (run.update.branch, run.update.old) else {
            return Ok(());
        };
        if let Some(name) = self.history.policy_namesake(head)? {
            judged.add(about(head, step), policy_namesake(&head, &name), &[]);
        }
        if self.history.policy_tree(target)? == self.history.policy_tree(head)? {
            return Ok(());
        }
        if let Err(finding) = self.versions.at(head, self.history)? {
            judged.add(about(head, step), finding, &[]);
        }
        let may_merge = may(&version.policy, Action::Policy, run.update.name);
        for commit in step.commits.iter().copied() {
            if !self.changes_policy(commit)? {
                continue;
            }
            let place = Place {
                name: run.update.name,
                direct: false,
                at: self.time(run, step)?,
                account: None,
            };
            let facts = self.facts(commit, step)?;
            for finding in version.policy.refuses_policy_change(&facts, place) {
                judged.add(about(commit, step), finding, &may_merge);
            }
        }
        Ok(())
    }

    /// Returns whether a commit itself changes `.gitseal`.
    fn changes_policy(&mut self, commit: H::Id) -> Outcome<bool, H> {
        let facts = self.history.facts(commit)?;
        let tree = self.history.policy_tree(commit)?;
        let mut is_same = true;
        for parent in &facts.parents {
            is_same &= self.history.policy_tree(*parent)? == tree;
        }
        if is_same && !facts.parents.is_empty() {
            return Ok(false);
        }
        if !facts.is_merge() {
            return Ok(true);
        }
        let own = Commit::new(self.history, facts).own_paths()?;
        Ok(own.iter().any(|path| is_policy(&path.path)))
    }

    /// Returns what the reference gains above `base`.
    pub(super) fn gains(
        &mut self,
        run: Run<'_, H::Id>,
        base: &[H::Id],
        new: H::Id,
        version: &Version,
        also: Option<&Version>,
        line: &HashSet<H::Id>,
    ) -> Outcome<Gains<H::Id>, H> {
        let mut behind = self.cut_off(version)?;
        if let Some(also) = also {
            let too = self.cut_off(also)?;
            behind.retain(|commit| too.contains(commit));
        }
        let hidden = clause!(
            SourcesHideAll: [base, &behind, run.lent].concat(),
            [base, &behind].concat()
        );
        let order = self.history.gains(&[new], &hidden, run.look)?;
        let mut lent = Vec::new();
        if !run.lent.is_empty() {
            let beside = order.iter().copied().filter(|one| !line.contains(one));
            let beside: Vec<H::Id> = beside.collect();
            if !beside.is_empty() {
                lent = self.history.on_lines(&beside, run.lent, run.look)?;
            }
        }
        Gains::new(order, lent, !behind.is_empty())
    }

    /// Verifies what steps gain, on all cores, but for what is known to be allowed.
    pub(super) fn verify(
        &mut self,
        run: Run<'_, H::Id>,
        steps: &[Step<H::Id>],
        version: &Version,
    ) -> Outcome<(), H> {
        let scope = self.scope(version, run.update.name);
        let mut open = Vec::new();
        for step in steps {
            let commits = step.commits.iter().copied();
            open.extend(commits.filter(|commit| {
                let direct = Some(*commit) == step.tip;
                !self.allowed.contains(&(*commit, scope, direct))
            }));
        }
        if !open.is_empty() {
            self.history.verify(&open)?;
        }
        Ok(())
    }

    /// Returns the number of the set of rules that speak of a reference.
    pub(super) fn scope(&mut self, version: &Version, name: &[u8]) -> usize {
        let rules = version.policy.rules.iter().enumerate();
        let speaking = rules
            .filter(|(_, rule)| rule.matches_ref(name))
            .map(|(number, _)| number)
            .collect();
        let next = self.scopes.len();
        *self
            .scopes
            .entry((version.number, speaking))
            .or_insert(next)
    }

    /// The policy of a commit's first parent.
    #[cfg(test)]
    pub(super) fn of_parent(&mut self, commit: H::Id) -> Outcome<Version, H> {
        let Some(first) = self.history.parents(commit)?.first().copied() else {
            return Ok(self.in_force.clone());
        };
        Ok(self
            .versions
            .at(first, self.history)?
            .unwrap_or_else(|_| self.in_force.clone()))
    }
}
