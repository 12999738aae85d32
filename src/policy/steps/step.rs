//! What one step gains, by one policy (items 5, 6 and 8).

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::{
    Branch, History, Judged, Look, StepsError,
    commit::{Commit, Place},
    findings::{about, may_adopt},
    gains::Step,
    judge::{Outcome, Run, StepJudge},
    mutant::clause,
    versions::Version,
    ways,
};
use crate::{
    facts::{Action, CommitFacts, Finding, SignatureResult},
    model::{Policy, Rule, SignerSet},
};
use gitseal_evidence::UnixTime;

impl<H: History> StepJudge<'_, H> {
    /// Judges what one step gains by one policy (items 5, 6 and 8).
    pub(super) fn step(
        &mut self,
        run: Run<'_, H::Id>,
        step: &Step<H::Id>,
        version: &Version,
        judged: &mut Judged<H::Id>,
    ) -> Outcome<(), H> {
        let name = run.update.name;
        let at = self.time(run, step)?;
        let is_file = !matches!(run.update.branch, Branch::WithPolicy { .. });
        let place = |direct| Place {
            name,
            direct,
            at,
            account: Some(&run.update.pusher).filter(|_| is_file && !run.is_clone),
        };
        let mut refused: Vec<(H::Id, Vec<Finding>)> = Vec::new();
        judged.gained = judged.gained.saturating_add(step.commits.len());
        for commit in step.commits.iter().rev().copied() {
            let direct = step.tip == Some(commit);
            let by = clause!(PolicyOfParent: &self.of_parent(commit)?, version);
            let key = (commit, self.scope(by, name), direct);
            if self.allowed.contains(&key) {
                continue;
            }
            judged.judged = judged.judged.saturating_add(1);
            let policy = Rc::clone(&by.policy);
            let facts = self.facts(commit, step)?;
            let (findings, facts) = self.refuses(run, facts, &policy, place(direct))?;
            if !findings.is_empty() {
                refused.push((commit, findings));
                continue;
            }
            // An unsigned step may be allowed for the account that pushes it.
            let is_by_account = direct && facts.signature == SignatureResult::Unsigned;
            let mut one = Commit::new(self.history, facts);
            let trials = policy.trials(&mut one, place(direct))?;
            if trials.is_empty() && !is_by_account {
                self.allowed.insert(key);
            }
            for finding in trials {
                judged.add(about(commit, step), finding, &[]);
            }
        }
        let policy = Rc::clone(&version.policy);
        let mut adopted = HashMap::new();
        // Merges whose signer may adopt, but not commit what they bring.
        let mut nearly = Vec::new();
        if refused.iter().any(|(commit, _)| step.tip != Some(*commit)) {
            adopted = ways::adopted(step, self.history, |history, merge| {
                let facts = history.facts(merge)?;
                let mut one = Commit::new(history, facts);
                let findings = policy.refuses_adoption(&mut one, place(false))?;
                let is_adopter = findings.as_ref().is_some_and(Vec::is_empty);
                let findings = findings.into_iter().flatten();
                nearly.extend(findings.map(|finding| (merge, finding)));
                Ok::<_, StepsError<H::Error>>(is_adopter)
            })?;
        }
        let mut standing = HashSet::new();
        let may_adopt = may_adopt(&policy, name);
        for (commit, findings) in refused {
            if let Some(by) = adopted.get(&commit) {
                judged.adopt(commit, *by);
                continue;
            }
            standing.insert(commit);
            for finding in findings {
                judged.add(about(commit, step), finding, &may_adopt);
            }
        }
        if !standing.is_empty() {
            for (merge, finding) in nearly {
                judged.add(about(merge, step), finding, &may_adopt);
            }
        }
        self.thresholds(run, step, &policy, &standing, judged)
    }

    /// Returns why a policy refuses a commit, and the commit with the parents by which
    /// it was judged. A step whose further parents bring nothing is an ordinary commit,
    /// to which `direct` applies; but if it changes nothing itself, it is a merge.
    #[allow(clippy::type_complexity)]
    pub(super) fn refuses(
        &mut self,
        run: Run<'_, H::Id>,
        facts: Rc<CommitFacts<H::Id>>,
        policy: &Policy,
        place: Place<'_>,
    ) -> Outcome<(Vec<Finding>, Rc<CommitFacts<H::Id>>), H> {
        let mut one = Commit::new(self.history, Rc::clone(&facts));
        let findings = policy.refuses(&mut one, place)?;
        let raw = self.history.facts(facts.id)?;
        if !place.direct || !raw.is_merge() {
            return Ok((findings, facts));
        }
        let mut rules = policy.speaking(Action::Commit, run.update.name);
        let has_direct = rules.any(|(rule, _)| rule.direct.is_some());
        let is_signed = matches!(facts.signature, SignatureResult::Good { .. });
        let is_other = match (facts.is_merge(), findings.is_empty()) {
            // With false times it may be a merge only in looks.
            (true, true) => has_direct && run.look == Look::ByTime,
            (false, false) => is_signed,
            _ => false,
        };
        if !is_other {
            return Ok((findings, facts));
        }
        let own = Commit::new(self.history, Rc::clone(&facts)).own_paths()?;
        let facts = match (facts.is_merge(), own.is_empty()) {
            (true, true) | (false, false) => return Ok((findings, facts)),
            (false, true) => raw,
            (true, false) => {
                let mut exact = CommitFacts::clone(&facts);
                exact.parents.clear();
                for parent in &facts.parents {
                    let is_new = match exact.parents.first() {
                        Some(first) => !self.history.reaches(*first, *parent, Look::Full)?,
                        None => true,
                    };
                    if is_new {
                        exact.parents.push(*parent);
                    }
                }
                Rc::new(exact)
            }
        };
        let mut one = Commit::new(self.history, Rc::clone(&facts));
        Ok((policy.refuses(&mut one, place)?, facts))
    }

    /// Adds the findings of thresholds (item 8). `refused`: what is refused already, of
    /// which no tree is read.
    pub(super) fn thresholds(
        &mut self,
        run: Run<'_, H::Id>,
        step: &Step<H::Id>,
        policy: &Policy,
        refused: &HashSet<H::Id>,
        judged: &mut Judged<H::Id>,
    ) -> Outcome<(), H> {
        let at = self.time(run, step)?;
        let rules = policy.rules.iter();
        for rule in rules.filter(|rule| rule.matches_ref(run.update.name)) {
            let adds = [Action::Commit, Action::Merge];
            let Some(threshold) = rule.threshold.as_ref() else {
                continue;
            };
            if !adds.iter().any(|action| rule.may.contains_key(action)) {
                continue;
            }
            let mut signer = HashMap::new();
            for commit in &step.commits {
                let signature = &self.history.facts(*commit)?.signature;
                let counts = policy.threshold_signer(signature, &threshold.of, at);
                signer.extend(counts.map(|signer| (*commit, signer)));
            }
            let mergers = ways::mergers(step, self.history, &signer)?;
            for commit in step.commits.iter().rev() {
                let mut signers = SignerSet::default();
                let others = mergers.get(commit).into_iter().flatten();
                for one in others.chain(signer.get(commit)) {
                    signers.insert(*one);
                }
                let found = signers.len();
                if found >= threshold.count
                    || refused.contains(commit)
                    || !self.changes(*commit, step, rule)?
                {
                    continue;
                }
                let hint = "have another of them merge the branch that contains this commit";
                let mut finding = policy.threshold_finding(rule, &signers, hint);
                if rule.trial {
                    finding = finding.on_trial();
                }
                let is_one_short = found.saturating_add(1) == threshold.count;
                let names = match is_one_short {
                    true => threshold.of.names.as_slice(),
                    false => &[],
                };
                judged.add(about(*commit, step), finding, names);
            }
        }
        Ok(())
    }

    /// Returns whether a commit itself changes a path that a rule is about.
    pub(super) fn changes(
        &mut self,
        commit: H::Id,
        step: &Step<H::Id>,
        rule: &Rule,
    ) -> Outcome<bool, H> {
        let facts = self.facts(commit, step)?;
        if clause!(ThresholdSkipsMerges: facts.is_merge(), false) {
            return Ok(false);
        }
        let own = Commit::new(self.history, facts).own_paths()?;
        Ok(own.iter().any(|path| rule.speaks_of(path)))
    }

    /// Returns a commit, with the parents that count if it is the step itself.
    pub(super) fn facts(
        &mut self,
        commit: H::Id,
        step: &Step<H::Id>,
    ) -> Outcome<Rc<CommitFacts<H::Id>>, H> {
        let facts = self.history.facts(commit)?;
        if step.tip != Some(commit) || facts.parents == step.parents {
            return Ok(facts);
        }
        let mut facts = CommitFacts::clone(&facts);
        facts.parents.clone_from(&step.parents);
        Ok(Rc::new(facts))
    }

    /// Returns the time at which the age of signatures counts.
    pub(super) fn time(
        &mut self,
        run: Run<'_, H::Id>,
        step: &Step<H::Id>,
    ) -> Outcome<Option<UnixTime>, H> {
        if !run.is_clone {
            return Ok(run.update.pusher.now);
        }
        let Some(tip) = step.tip else {
            return Ok(None);
        };
        Ok(match self.history.facts(tip)?.signature {
            SignatureResult::Good { signed_at, .. } => Some(signed_at),
            _ => None,
        })
    }
}
