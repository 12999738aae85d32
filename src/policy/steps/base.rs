//! Where a new value leaves the states of its reference (items 1 and 2).

use super::{
    Branch, History, Judged, Look, MAX_COMMITS, MAX_SOURCES, StepsError, Subject, Update,
    findings::{enforced, not_descended},
    judge::{Outcome, Plan, Run, StepJudge},
    mutant::clause,
    versions::Version,
};
use crate::facts::{Action, Finding, RefUpdate, UpdateKind, codes};

impl<H: History> StepJudge<'_, H> {
    pub(super) fn moved(
        &mut self,
        update: &Update<'_, H::Id>,
        new: H::Id,
        look: Look,
    ) -> Outcome<Judged<H::Id>, H> {
        let mut lent = self.sources(update)?.to_vec();
        let (kind, base) = self.base(update, new, &mut lent, look)?;
        let mut judged = Judged::new(kind);
        judged.base = base;
        self.act(update, &mut judged);
        let run = Run {
            update,
            look,
            lent: &lent,
            is_clone: false,
        };
        let mut plan = Plan {
            base,
            line: Vec::new(),
            version: clause!(PolicyOfReference: self.of_reference(update)?, self.in_force.clone()),
            also: None,
        };
        if let Branch::WithPolicy { root } = update.branch {
            if let Err(finding) = self.follows(&judged, root, look)? {
                judged.add(Subject::Reference, finding, &[]);
                return Ok(judged);
            }
            // 7: a rewrite is judged by its own steps, and by the policy of the old tip.
            if let (
                UpdateKind::Update {
                    fast_forward: false,
                },
                Some(base),
            ) = (kind, base)
            {
                if let Err(finding) = self.keeps_policy(update, new)? {
                    judged.add(Subject::Reference, finding, &[]);
                    return Ok(judged);
                }
                match self.versions.at(base, self.history)? {
                    Ok(version) => plan.version = version,
                    Err(finding) => {
                        judged.add(Subject::Reference, finding, &[]);
                        return Ok(judged);
                    }
                }
                plan.also = Some(self.in_force.clone());
            }
        }
        plan.line = self.line(new, base)?;
        self.steps(run, plan, new, &mut judged)?;
        Ok(judged)
    }

    /// Returns how the reference moves and where its new line leaves its states (items
    /// 1 and 2), and adds what a merged old value lends.
    pub(super) fn base(
        &mut self,
        update: &Update<'_, H::Id>,
        new: H::Id,
        lent: &mut Vec<H::Id>,
        look: Look,
    ) -> Outcome<(UpdateKind, Option<H::Id>), H> {
        if let (None, Branch::WithPolicy { root }) = (update.old, update.branch) {
            let base = self.history.line_base(new, &[root], &[], look)?;
            return Ok((UpdateKind::Create, base.filter(|base| *base == root)));
        }
        let mut behind = self.cut_off(&self.in_force.clone())?;
        let is_own = matches!(update.branch, Branch::WithPolicy { .. });
        if is_own {
            // A clone judges each step of the line; the policy before it may have had
            // another cut-off.
            behind.clear();
        }
        let states: Vec<H::Id> = update.old.into_iter().collect();
        let mut may_begin_lent = true;
        let mut kind = UpdateKind::Create;
        if let Some(old) = update.old {
            let is_on_line = self.history.line_base(new, &states, &[], look)? == Some(old);
            // 2: merged in beside another line, it is lent.
            let is_merged = !is_on_line
                && update.branch == Branch::Other
                && self.history.reaches(new, old, look)?;
            kind = UpdateKind::Update {
                fast_forward: is_on_line || is_merged,
            };
            // Whoever may rewrite could as well delete it and make it again.
            may_begin_lent = match (is_on_line, is_merged) {
                (true, _) => self.is_named_updater(update),
                (false, true) => self.may_move(update, false),
                (false, false) => true,
            };
            if is_on_line && (is_own || behind.is_empty() && !may_begin_lent) {
                return Ok((kind, Some(old)));
            }
            if is_merged {
                lent.push(old);
            }
        }
        let mut lines = states;
        if may_begin_lent {
            lines.extend_from_slice(lent);
        }
        let base = clause!(
            BaseIsAnythingReached: self.history.line_base(new, &[], &[lines, behind].concat(), look)?,
            self.history.line_base(new, &lines, &behind, look)?
        );
        Ok((kind, base))
    }

    /// Returns whether the pusher may move the reference.
    pub(super) fn may_move(&self, update: &Update<'_, H::Id>, fast_forward: bool) -> bool {
        let action = RefUpdate {
            name: update.name,
            kind: UpdateKind::Update { fast_forward },
            new: "",
            tag: None,
        };
        let findings = self.policy().evaluate_update(&action, &update.pusher);
        findings.is_empty()
    }

    /// Returns whether the rules name those who may move the reference forward, and
    /// the pusher is one of them.
    pub(super) fn is_named_updater(&self, update: &Update<'_, H::Id>) -> bool {
        let policy = self.policy();
        let mut rules = policy.speaking(Action::Update, update.name);
        let is_named = rules.any(|(_, who)| !who.anyone);
        let is_one = is_named && self.may_move(update, true);
        clause!(AnyoneMovesAlongSource: true, is_one)
    }

    /// Checks that a default branch that is made or rewritten begins at the policy
    /// root or after it, where a clone can follow it.
    pub(super) fn follows(
        &mut self,
        judged: &Judged<H::Id>,
        root: H::Id,
        look: Look,
    ) -> Outcome<Result<(), Finding>, H> {
        let is_followed = match (judged.kind, judged.base) {
            (_, None) => false,
            (UpdateKind::Update { fast_forward: true }, Some(_)) => true,
            (_, Some(base)) => self.history.line_base(base, &[root], &[], look)? == Some(root),
        };
        Ok(if is_followed {
            Ok(())
        } else {
            Err(not_descended(&root))
        })
    }

    /// Checks that a rewrite of the default branch leaves the policy as it was.
    pub(super) fn keeps_policy(
        &mut self,
        update: &Update<'_, H::Id>,
        new: H::Id,
    ) -> Outcome<Result<(), Finding>, H> {
        let before = match update.old {
            Some(old) => self.history.policy_tree(old)?,
            None => None,
        };
        let is_kept = before == self.history.policy_tree(new)?;
        if clause!(RewriteChangesPolicy: true, is_kept) {
            return Ok(Ok(()));
        }
        let message = "the rewrite would bring another policy than the one in force";
        let hint = "change the policy by a commit on top of the branch";
        Ok(Err(enforced(codes::POLICY_REWOUND, message).with_hint(hint)))
    }

    /// Returns the line from the commit after `base` to `tip`.
    pub(super) fn line(&mut self, tip: H::Id, base: Option<H::Id>) -> Outcome<Vec<H::Id>, H> {
        let mut line = Vec::new();
        let mut next = Some(tip).filter(|_| base != Some(tip));
        while let Some(commit) = next {
            if line.len() >= MAX_COMMITS {
                return Err(StepsError::TooMuch {
                    most: MAX_COMMITS,
                    what: "commits",
                });
            }
            line.push(commit);
            let first = self.history.parents(commit)?.first().copied();
            next = first.filter(|first| Some(*first) != base);
        }
        line.reverse();
        Ok(line)
    }

    /// Returns the sources of a reference. A clone of a default branch with its own
    /// policy could not know any.
    pub(super) fn sources<'u>(&self, update: &Update<'u, H::Id>) -> Outcome<&'u [H::Id], H> {
        if matches!(update.branch, Branch::WithPolicy { .. }) {
            return Ok(&[]);
        }
        if update.lent.len() > MAX_SOURCES {
            return Err(StepsError::TooMuch {
                most: MAX_SOURCES,
                what: "references that lend to one",
            });
        }
        Ok(update.lent)
    }

    /// Returns the commits of the cut-off that are in the repository.
    pub(super) fn cut_off(&mut self, version: &Version) -> Outcome<Vec<H::Id>, H> {
        let mut commits = Vec::new();
        for id in &version.policy.cut_off {
            commits.extend(self.history.commit(id)?);
        }
        Ok(commits)
    }

    /// The policy at the tip of the reference itself.
    #[cfg(test)]
    pub(super) fn of_reference(&mut self, update: &Update<'_, H::Id>) -> Outcome<Version, H> {
        let Some(old) = update.old.filter(|_| update.branch == Branch::Other) else {
            return Ok(self.in_force.clone());
        };
        Ok(self
            .versions
            .at(old, self.history)?
            .unwrap_or_else(|_| self.in_force.clone()))
    }
}
