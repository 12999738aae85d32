//! What a policy says of one commit (item 5), reading its trees only where they
//! matter: signature and signer first, then the paths, then the merge bases.

use std::rc::Rc;

use super::{History, mutant::clause};
use crate::{
    evaluate::ObjectContext,
    facts::{Action, ChangedPath, CommitFacts, Finding, Pusher, SignatureResult},
    model::{Policy, Principals, Rule},
};
use gitseal_evidence::UnixTime;

/// A commit and its paths, which are read when they are first needed.
pub(super) struct Commit<'h, H: History> {
    history: &'h mut H,
    facts: Rc<CommitFacts<H::Id>>,
    paths: Option<Rc<Vec<ChangedPath>>>,
    own: Option<Rc<Vec<ChangedPath>>>,
}

impl<'h, H: History> Commit<'h, H> {
    /// `facts`: with the parents that count.
    pub(super) fn new(history: &'h mut H, facts: Rc<CommitFacts<H::Id>>) -> Self {
        Self {
            history,
            facts,
            paths: None,
            own: None,
        }
    }

    /// Returns all paths that the commit changes.
    fn paths(&mut self) -> Result<Rc<Vec<ChangedPath>>, H::Error> {
        if let Some(paths) = &self.paths {
            return Ok(Rc::clone(paths));
        }
        let paths = Rc::new(self.history.paths(self.facts.id, false)?);
        self.paths = Some(Rc::clone(&paths));
        Ok(paths)
    }

    /// Returns the paths that the commit itself changes.
    pub(super) fn own_paths(&mut self) -> Result<Vec<ChangedPath>, H::Error> {
        if !self.facts.is_merge() {
            return Ok(self.paths()?.to_vec());
        }
        let own = match &self.own {
            Some(own) => Rc::clone(own),
            None => Rc::new(self.history.paths(self.facts.id, true)?),
        };
        self.own = Some(Rc::clone(&own));
        Ok(own.iter().filter(|path| path.changed).cloned().collect())
    }
}

/// The circumstances in which a commit is judged.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The reference that gains it.
    pub name: &'a [u8],
    /// Whether it is the step itself.
    pub direct: bool,
    /// The time at which the age of its signature counts.
    pub at: Option<UnixTime>,
    /// The account for which an unsigned merge may count.
    pub account: Option<&'a Pusher<'a>>,
}

impl Policy {
    /// Returns why this policy refuses a commit; empty: it allows it.
    pub(super) fn refuses<H: History>(
        &self,
        commit: &mut Commit<'_, H>,
        place: Place<'_>,
    ) -> Result<Vec<Finding>, H::Error> {
        let facts = Rc::clone(&commit.facts);
        let context = self.commit_context(&facts, place.direct, place.at);
        if !facts.is_merge() {
            return self.refuses_action(Action::Commit, commit, &context, place);
        }
        let findings = self.refuses_action(Action::Merge, commit, &context, place)?;
        if !findings.is_empty() {
            return Ok(findings);
        }
        // What a merge changes itself can be a path that is left as its first parent has
        // it, against another one: no list but that of the merge bases has all of them.
        // It is not needed for a signer who may commit everywhere.
        if self.may_everywhere(Action::Commit, &context, place) {
            return Ok(findings);
        }
        let own = commit.own_paths()?;
        let own: Vec<&ChangedPath> = own.iter().collect();
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let mut findings = Vec::new();
        self.evaluate(Action::Commit, &own, place.name, &context, &mut findings);
        Ok(clause!(MergeChangesFreely: Vec::new(), findings))
    }

    /// Returns why the signer of a merge may not adopt what it brings in (item 6):
    /// `None` without `adopt`; empty if they may.
    pub(super) fn refuses_adoption<H: History>(
        &self,
        commit: &mut Commit<'_, H>,
        place: Place<'_>,
    ) -> Result<Option<Vec<Finding>>, H::Error> {
        let facts = Rc::clone(&commit.facts);
        let context = self.commit_context(&facts, false, place.at);
        let findings = self.refuses_action(Action::Adopt, commit, &context, place)?;
        if !findings.is_empty() {
            return Ok(None);
        }
        let findings = self.refuses_action(Action::Commit, commit, &context, place)?;
        let findings = clause!(AdoptWithoutCommit: Vec::new(), findings).into_iter();
        Ok(Some(findings.map(Finding::of_adoption).collect()))
    }

    /// Returns why the signer of a step may not change the policy (item 7). Mode
    /// `warn` does not reach it.
    pub(super) fn refuses_policy_change<I: std::fmt::Display>(
        &self,
        facts: &CommitFacts<I>,
        place: Place<'_>,
    ) -> Vec<Finding> {
        let context = self.commit_context(facts, false, place.at);
        let mut findings = Vec::new();
        self.evaluate(Action::Policy, &[], place.name, &context, &mut findings);
        if clause!(WarnReachesPolicy: false, true) {
            findings = findings.into_iter().map(Finding::enforced).collect();
        }
        findings
    }

    /// Returns what rules on trial would refuse, as warnings.
    pub(super) fn trials<H: History>(
        &self,
        commit: &mut Commit<'_, H>,
        place: Place<'_>,
    ) -> Result<Vec<Finding>, H::Error> {
        let mut found = Vec::new();
        let mut rules = self.rules.iter();
        if !rules.any(|rule| rule.trial && rule.matches_ref(place.name)) {
            return Ok(found);
        }
        let facts = Rc::clone(&commit.facts);
        let context = self.commit_context(&facts, place.direct, place.at);
        let mut evaluate = |action, paths: &[ChangedPath]| {
            let paths: Vec<&ChangedPath> = paths.iter().collect();
            self.evaluate_trials(action, &paths, place.name, &context, &mut found);
        };
        let own = commit.own_paths()?;
        if facts.is_merge() {
            evaluate(Action::Merge, &commit.paths()?);
        }
        if !facts.is_merge() || !own.is_empty() {
            evaluate(Action::Commit, &own);
        }
        Ok(found)
    }

    /// Returns why this policy refuses an action on all paths that a commit changes.
    fn refuses_action<H: History>(
        &self,
        action: Action,
        commit: &mut Commit<'_, H>,
        context: &ObjectContext<'_>,
        place: Place<'_>,
    ) -> Result<Vec<Finding>, H::Error> {
        let findings = self.refuses_paths(action, commit, context, place)?;
        Ok(clause!(TrialSpeaks: self.unless_trial(findings, action, place.name), findings))
    }

    /// What rules on trial let in if they spoke.
    #[cfg(test)]
    fn unless_trial(&self, findings: Vec<Finding>, action: Action, name: &[u8]) -> Vec<Finding> {
        use crate::facts::codes::{NO_RULE, PATH_NO_RULE};
        let mut rules = self.rules.iter();
        let speaks = rules
            .any(|rule| rule.trial && rule.matches_ref(name) && rule.may.contains_key(&action));
        let mut codes = findings.iter().map(|finding| finding.code);
        if speaks && codes.all(|code| code == NO_RULE || code == PATH_NO_RULE) {
            return Vec::new();
        }
        findings
    }

    fn refuses_paths<H: History>(
        &self,
        action: Action,
        commit: &mut Commit<'_, H>,
        context: &ObjectContext<'_>,
        place: Place<'_>,
    ) -> Result<Vec<Finding>, H::Error> {
        let (by_path, whole): (Vec<_>, Vec<_>) = self
            .speaking(action, place.name)
            .partition(|(rule, _)| rule.paths.is_some());
        let mut findings = Vec::new();
        if by_path.is_empty() {
            self.evaluate(action, &[], place.name, context, &mut findings);
            if action == Action::Merge && !findings.is_empty() {
                return self.unless_by_account(findings, &whole, commit, place);
            }
            return Ok(findings);
        }
        for (rule, who) in &whole {
            self.evaluate_signature(rule, who, action, None, context, &mut findings);
        }
        if !findings.is_empty() {
            return Ok(findings);
        }
        if whole.is_empty() {
            // If each of them refuses, the commit is refused whatever it changes.
            let mut first = None;
            let mut is_open = false;
            for (rule, who) in &by_path {
                let mut refused = Vec::new();
                self.evaluate_signature(rule, who, action, None, context, &mut refused);
                is_open |= refused.is_empty();
                first = first.or(Some(refused));
            }
            if !is_open {
                return Ok(first.unwrap_or_default());
            }
        }
        let paths = commit.paths()?;
        let paths: Vec<&ChangedPath> = paths.iter().collect();
        self.evaluate(action, &paths, place.name, context, &mut findings);
        Ok(findings)
    }

    /// Returns whether every rule that speaks of an action allows it, and one speaks
    /// whatever the paths are.
    fn may_everywhere(
        &self,
        action: Action,
        context: &ObjectContext<'_>,
        place: Place<'_>,
    ) -> bool {
        let mut findings = Vec::new();
        let mut is_whole = false;
        for (rule, who) in self.speaking(action, place.name) {
            is_whole |= rule.paths.is_none();
            self.evaluate_signature(rule, who, action, None, context, &mut findings);
        }
        is_whole && findings.is_empty()
    }

    /// An unsigned merge of a web interface that changes nothing itself counts as one
    /// by the signer whose account the server names, for `merge` alone.
    fn unless_by_account<H: History>(
        &self,
        findings: Vec<Finding>,
        rules: &[(&Rule, &Principals)],
        commit: &mut Commit<'_, H>,
        place: Place<'_>,
    ) -> Result<Vec<Finding>, H::Error> {
        let Some(pusher) = place.account.filter(|_| place.direct) else {
            return Ok(findings);
        };
        let may = |(rule, who): &(&Rule, &Principals)| {
            who.anyone || rule.merge_by_account && self.is_account(pusher, who)
        };
        let counts = commit.facts.signature == SignatureResult::Unsigned
            && !rules.is_empty()
            && rules.iter().all(may);
        if counts && commit.own_paths()?.is_empty() {
            return Ok(Vec::new());
        }
        Ok(findings)
    }

    fn is_account(&self, pusher: &Pusher<'_>, who: &Principals) -> bool {
        let account = Pusher {
            certificate: None,
            ..*pusher
        };
        let signers = self.pushers(&account).unwrap_or_default();
        signers.iter().any(|one| who.signers.contains(*one))
    }
}
