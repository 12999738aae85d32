//! The engine.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::{
    Branch, History, Judged, Look, StepsError, Subject, Update,
    findings::{enforced, not_a_state, not_descended},
    versions::{Version, Versions},
};
use crate::{
    facts::{Finding, Pusher, RefUpdate, UpdateKind, codes},
    model::Policy,
};

/// Judges the updates of one push (or one request, or one clone): all by one policy,
/// the one in force before the push.
pub struct StepJudge<'h, H: History> {
    pub(super) history: &'h mut H,
    pub(super) versions: Versions<H::Id>,
    pub(super) in_force: Version,
    /// Commits that a version of the policy allows on references about which the same
    /// rules speak, as a step itself or not. A memo: it lends nothing.
    pub(super) allowed: HashSet<(H::Id, usize, bool)>,
    pub(super) scopes: HashMap<(usize, Vec<usize>), usize>,
    pub(super) tells_all: bool,
}

/// What stays the same while one update is judged.
#[derive(Clone, Copy)]
pub(super) struct Run<'a, I> {
    pub update: &'a Update<'a, I>,
    pub look: Look,
    /// Lines behind whose commits nothing is judged.
    pub lent: &'a [I],
    /// Whether the time of a step is that of its signature: a clone has no other.
    pub is_clone: bool,
}

/// The steps of an update, and what judges them.
pub(super) struct Plan<I> {
    pub base: Option<I>,
    /// The line above the base, oldest first.
    pub line: Vec<I>,
    /// The policy before the first step.
    pub version: Version,
    /// Another policy that judges each step as well.
    pub also: Option<Version>,
}

pub(super) type Outcome<T, H> = Result<T, StepsError<<H as History>::Error>>;

impl<'h, H: History> StepJudge<'h, H> {
    /// Begins a run whose policy in force is given: that of a file, which judges all.
    pub fn new(history: &'h mut H, policy: Rc<Policy>) -> Self {
        let mut versions = Versions::new();
        let in_force = versions.add(policy);
        Self::with(history, versions, in_force)
    }

    fn with(history: &'h mut H, versions: Versions<H::Id>, in_force: Version) -> Self {
        Self {
            history,
            versions,
            in_force,
            allowed: HashSet::new(),
            scopes: HashMap::new(),
            tells_all: false,
        }
    }

    /// Begins a run whose policy in force is the one in the tree of a commit: the tip
    /// of the default branch before the push, or the policy root while there is no
    /// such branch. Returns the finding if there is none that can be used.
    ///
    /// # Errors
    /// Returns [`StepsError`] if an object cannot be read.
    pub fn at(history: &'h mut H, commit: H::Id) -> Outcome<Result<Self, Finding>, H> {
        let mut versions = Versions::new();
        let in_force = versions.at(commit, history)?;
        Ok(in_force.map(|in_force| Self::with(history, versions, in_force)))
    }

    /// As [`at`](Self::at), with versions that were read before.
    #[cfg(test)]
    pub(crate) fn resume(
        history: &'h mut H,
        mut versions: Versions<H::Id>,
        commit: H::Id,
    ) -> Outcome<Result<Self, Versions<H::Id>>, H> {
        Ok(match versions.at(commit, history)? {
            Err(_) => Err(versions),
            Ok(in_force) => Ok(Self::with(history, versions, in_force)),
        })
    }

    /// Returns the versions that were read.
    #[cfg(test)]
    pub(crate) fn into_versions(self) -> Versions<H::Id> {
        self.versions
    }

    /// Judges everything, even if the first step is refused: an override tells all that
    /// it lets in.
    pub fn tell_all(&mut self) {
        self.tells_all = true;
    }

    /// Returns the policy in force.
    #[must_use]
    pub fn policy(&self) -> Rc<Policy> {
        Rc::clone(&self.in_force.policy)
    }

    /// Returns the history.
    pub fn history(&mut self) -> &mut H {
        self.history
    }

    /// Judges the update of a branch, or of any other reference to commits but tags:
    /// the action on the reference, and all that it gains.
    ///
    /// # Errors
    /// Returns [`StepsError`] if something cannot be read or a limit is reached. The
    /// update is not judged then.
    pub fn judge(&mut self, update: &Update<'_, H::Id>) -> Outcome<Judged<H::Id>, H> {
        self.look_twice(|judge, look| match update.new {
            Some(new) => judge.moved(update, new, look),
            None => Ok(judge.deleted(update)),
        })
    }

    /// Judges the commit of a tag (item 9). The tag object and the action on the
    /// reference are evaluated with [`Policy::evaluate_update`]. `update.lent` may
    /// contain the new commits of sources that the same push moves, if it is taken as
    /// a whole and they are not refused.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    pub fn judge_tag(&mut self, update: &Update<'_, H::Id>) -> Outcome<Judged<H::Id>, H> {
        let kind = kind_of_tag(update);
        let policy = self.policy();
        let Some(new) = update.new.filter(|_| !policy.is_free_tag(update.name)) else {
            return Ok(Judged::new(kind));
        };
        self.look_twice(|judge, look| {
            let mut judged = Judged::new(kind);
            let lent = judge.sources(update)?;
            let behind = judge.cut_off(&judge.in_force.clone())?;
            judged.base = judge.history.line_base(new, lent, &behind, look)?;
            if judged.base != Some(new) {
                judged.add(
                    Subject::Reference,
                    not_a_state(&policy, update.name, &new),
                    &[],
                );
            }
            Ok(judged)
        })
    }

    /// Judges a request to merge `update.new` into `update.old`, as if somebody merged
    /// it: nobody's merge is presumed to adopt or to approve. Each finding lists who
    /// may merge so that the commit stands.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    pub fn judge_request(&mut self, update: &Update<'_, H::Id>) -> Outcome<Judged<H::Id>, H> {
        let kind = UpdateKind::Update { fast_forward: true };
        let Some(head) = update.new else {
            return Ok(Judged::new(kind));
        };
        self.look_twice(|judge, look| {
            let mut judged = Judged::new(kind);
            judged.base = update.old;
            let lent = judge.sources(update)?;
            let run = Run {
                update,
                look,
                lent,
                is_clone: false,
            };
            let version = judge.in_force.clone();
            let target: Vec<H::Id> = update.old.into_iter().collect();
            let mut gains = judge.gains(run, &target, head, &version, None, &HashSet::new())?;
            let step = gains.step(None, &[head], judge.history)?;
            judge.verify(run, std::slice::from_ref(&step), &version)?;
            judge.step(run, &step, &version, &mut judged)?;
            judge.request_of_policy(run, head, &step, &version, &mut judged)?;
            Ok(judged)
        })
    }

    /// Judges the steps from the policy root, whose policy is in force, to `tip`, as a
    /// clone does that knows nothing but the history. `name`: the default branch.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    pub fn judge_clone(
        &mut self,
        root: H::Id,
        tip: H::Id,
        name: &[u8],
    ) -> Outcome<Judged<H::Id>, H> {
        let update = Update {
            name,
            branch: Branch::WithPolicy { root },
            old: Some(root),
            new: Some(tip),
            lent: &[],
            pusher: Pusher::default(),
        };
        self.look_twice(|judge, look| {
            let mut judged = Judged::new(UpdateKind::Update { fast_forward: true });
            judged.base = judge.history.line_base(tip, &[root], &[], look)?;
            if judged.base != Some(root) {
                judged.add(Subject::Reference, not_descended(&root), &[]);
                return Ok(judged);
            }
            let run = Run {
                update: &update,
                look,
                lent: &[],
                is_clone: true,
            };
            let plan = Plan {
                base: Some(root),
                line: judge.line(tip, Some(root))?,
                version: judge.in_force.clone(),
                also: None,
            };
            judge.steps(run, plan, tip, &mut judged)?;
            Ok(judged)
        })
    }

    /// Judges, and before it refuses, looks to the end of history: unless it refuses a
    /// commit that no ref reached before, which no longer walk can take back.
    fn look_twice(
        &mut self,
        mut judge: impl FnMut(&mut Self, Look) -> Outcome<Judged<H::Id>, H>,
    ) -> Outcome<Judged<H::Id>, H> {
        let judged = judge(self, Look::ByTime)?;
        let mut findings = judged.findings.iter();
        let is_certain = findings.any(|found| {
            let mut is_new = |commit| self.history.is_new(commit);
            found.finding.refuses()
                && matches!(found.about, Subject::Commit { commit, .. } if is_new(commit))
        });
        if !judged.is_refused || is_certain {
            return Ok(judged);
        }
        // If that is too much to read, the refusal stands.
        Ok(judge(self, Look::Full).unwrap_or(judged))
    }

    fn deleted(&self, update: &Update<'_, H::Id>) -> Judged<H::Id> {
        let mut judged = Judged::new(UpdateKind::Delete);
        if update.branch != Branch::Other {
            let name = String::from_utf8_lossy(update.name);
            let message = format!("{name} is the default branch, which cannot be deleted");
            judged.add(Subject::Reference, enforced(codes::NO_RULE, message), &[]);
        }
        self.act(update, &mut judged);
        judged
    }

    /// Adds what the rules say of the action on the reference.
    pub(super) fn act(&self, update: &Update<'_, H::Id>, judged: &mut Judged<H::Id>) {
        let new = update.new.map_or_else(String::new, |new| new.to_string());
        let action = RefUpdate {
            name: update.name,
            kind: judged.kind,
            new: &new,
            tag: None,
        };
        for finding in self.policy().evaluate_update(&action, &update.pusher) {
            judged.add(Subject::Reference, finding, &[]);
        }
    }
}

fn kind_of_tag<I>(update: &Update<'_, I>) -> UpdateKind {
    match (&update.old, &update.new) {
        (_, None) => UpdateKind::Delete,
        (None, Some(_)) => UpdateKind::Create,
        (Some(_), Some(_)) => UpdateKind::Update {
            fast_forward: false,
        },
    }
}
