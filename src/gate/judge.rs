//! Judges a push: each ref by the policy in force before it, in one run.
//!
//! ```text
//! updates ── target ── sources ── policy/steps ── report
//!                         history ─────┘
//! ```
//!
//! "Before the push" is the state of the refs when the hook starts, together with the
//! old values that Git passes: several refs of one push are judged as if each were
//! pushed alone. A tag may be made of what a branch of the same push brings, where
//! the push is taken as a whole.
//!
//! *Not decided here:* whether a signature verifies (`batch.rs`) and what is allowed
//! (`policy/`).

use std::{env, rc::Rc};

use gix::{ObjectId, bstr::BString};

use super::{
    certificate::{self, CheckedCertificate, PushCertificateEnv},
    overrule::{Gained, OverrideRequest, Overruled, PolicyTrees, beyond_override, changes_policy},
    policy_source::{self, PolicyLoadError, PolicySource},
    report::{ItemSubject, PushReport, RefResult, ReportItem},
    sources::{RefSnapshot, SourceError},
    tags::{TagChecks, VerifiedTags},
    target::{RefChange, TargetError},
    verdict_log::{PolicyId, RunRecord},
};
use crate::{
    batch::BatchVerifier,
    cli::GateArgs,
    context::system_time,
    exit::{EXIT_UNDECIDED, EXIT_USAGE},
    history::{HistoryError, RepositoryHistory},
    host::{
        git::{GitError, Repository, graph::GraphError, push::RefCommand},
        settings::Settings,
        trusted_root_files::TrustedRootLoadError,
    },
    verdict::VerifyRequest,
};
use gitseal_evidence::object::ObjectKind;
use gitseal_policy::{
    Finding, Policy, Pusher, RefUpdate, SignatureResult,
    steps::{Branch, History as _, Judged, Look, StepJudge, StepsError, Subject, Update},
};

/// Variables in which servers name the pusher, the most reliable first: Gitea and
/// Forgejo, GitLab, and HTTP authentication.
const PUSHERS: [&str; 4] = [
    "GITEA_PUSHER_NAME",
    "FORGEJO_PUSHER_NAME",
    "GL_USERNAME",
    "REMOTE_USER",
];

/// Errors that leave a push without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    #[error(transparent)]
    Policy(#[from] PolicyLoadError),
    #[error(transparent)]
    Trust(#[from] TrustedRootLoadError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("{reference}: {error}")]
    Steps {
        reference: String,
        error: Box<StepsError<HistoryError>>,
    },
    /// The trees that an override must not change.
    #[error("cannot read .gitseal: {0}")]
    Override(Box<StepsError<HistoryError>>),
    #[error("cannot check tag {id}: {error}")]
    Tag { id: ObjectId, error: GitError },
}

impl JudgeError {
    pub(super) fn exit(&self) -> u8 {
        match self {
            Self::Policy(_) | Self::Trust(_) | Self::Source(SourceError::PolicyRef { .. }) => {
                EXIT_USAGE
            }
            _ => EXIT_UNDECIDED,
        }
    }

    /// Returns the parent that a shallow history lacks, if that is the error.
    pub(super) fn missing_parent(&self) -> Option<&str> {
        match self.graph() {
            Some(GraphError::MissingParent { parent, .. }) => Some(parent),
            _ => None,
        }
    }

    fn steps(&self) -> Option<&StepsError<HistoryError>> {
        match self {
            Self::Steps { error, .. } | Self::Override(error) => Some(error),
            _ => None,
        }
    }

    fn graph(&self) -> Option<&GraphError> {
        match self.steps() {
            Some(StepsError::History(HistoryError::Graph(error))) => Some(error),
            _ => None,
        }
    }

    fn is_timeout(&self) -> bool {
        let git = match self {
            Self::Git(error)
            | Self::Tag { error, .. }
            | Self::Target(TargetError::Git(error) | TargetError::Value { error, .. })
            | Self::Source(SourceError::Git(error)) => Some(error),
            _ => match self.steps() {
                Some(StepsError::History(
                    HistoryError::Git(error) | HistoryError::Graph(GraphError::Git(error)),
                )) => Some(error),
                Some(StepsError::History(HistoryError::Changes { error, .. })) => error.git(),
                _ => None,
            },
        };
        matches!(git, Some(GitError::Timeout { .. }))
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Policy(error) => error.hint(),
            Self::Source(SourceError::PolicyRef { .. }) => {
                Some("set it to a full name, such as refs/heads/main")
            }
            _ if self.missing_parent().is_some() => {
                Some("the pushed history is shallow; run 'git fetch --unshallow', then push again")
            }
            _ if self.is_timeout() => {
                Some("push fewer commits at a time, or ask the administrators to raise --timeout")
            }
            _ if matches!(self.steps(), Some(StepsError::TooMuch { .. }))
                || matches!(self.graph(), Some(GraphError::TooMuch { .. })) =>
            {
                Some("push fewer commits at a time, the oldest first")
            }
            _ => None,
        }
    }
}

/// How much of the run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A push that is taken or refused as a whole.
    Push,
    /// One ref of a push whose others are judged by other processes.
    OneRef,
    /// A request that may be merged later: its commits, but no change of a ref.
    Request,
}

/// Trusted root and policy, loaded once per push.
pub struct PushJudge<'r> {
    repository: &'r Repository,
    request: VerifyRequest,
    source: PolicySource,
    /// The account of the pusher at the server.
    account: Option<String>,
    /// The verified push certificate, if the push is signed.
    certificate: Option<CheckedCertificate>,
    /// The request to override refusals.
    overrule: Option<OverrideRequest>,
}

type Steps<'h, 'r> = StepJudge<'h, RepositoryHistory<'r>>;

impl<'r> PushJudge<'r> {
    /// Loads the trusted root; the policy is that of `source`.
    ///
    /// # Errors
    /// Returns [`JudgeError`] if the trusted root is missing or malformed.
    pub fn open(
        repository: &'r Repository,
        settings: &Settings,
        options: &GateArgs,
        source: PolicySource,
    ) -> Result<Self, JudgeError> {
        let mut accounts = PUSHERS.iter().filter_map(|name| env::var(name).ok());
        Ok(Self {
            repository,
            request: VerifyRequest::for_policy(options.trusted_root.as_deref(), settings)?,
            source,
            account: accounts.find(|account| !account.is_empty()),
            certificate: None,
            overrule: None,
        })
    }

    /// Lets a signer override refusals, if the policy allows it.
    pub fn set_override(&mut self, request: OverrideRequest) {
        self.overrule = Some(request);
    }

    /// Returns the account of the pusher at the server.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns the push certificate, if the push is signed.
    #[must_use]
    pub fn certificate(&self) -> Option<&CheckedCertificate> {
        self.certificate.as_ref()
    }

    /// Identifies the pusher by the push certificate instead of the account.
    pub fn set_push_certificate(
        &mut self,
        told: &PushCertificateEnv,
        updates: &[RefCommand],
        most: usize,
    ) {
        let engine = BatchVerifier::new(&self.request);
        let checked = certificate::check(told, updates, most, self.repository, &engine);
        self.certificate = Some(checked);
    }

    /// Judges the changes of a push.
    ///
    /// # Errors
    /// Returns [`JudgeError`] if something cannot be judged, or not in time.
    pub fn judge(
        &self,
        command: &'static str,
        changes: &[RefChange],
        before: &mut RefSnapshot,
        scope: Scope,
        record: &RunRecord,
    ) -> Result<PushReport, JudgeError> {
        let engine = BatchVerifier::new(&self.request).with_headers();
        let mut history = RepositoryHistory::new(self.repository, &engine);
        let (mut steps, source, in_force) = self.begin(&mut history, changes, before)?;
        let policy = steps.policy();
        if self.overrule.is_some() {
            steps.tell_all();
        }
        record.judged_by(self.policy_id(in_force, steps.history())?);
        let mut run = Run {
            judge: self,
            before,
            scope,
            policy: &policy,
            report: PushReport {
                command,
                policy: source,
                contact: policy.contact.clone(),
                references: changes.len(),
                ..PushReport::default()
            },
            arrived: Vec::new(),
        };
        for change in changes.iter().filter(|change| !change.is_tag()) {
            run.other(change, &mut steps)?;
        }
        if changes.iter().any(RefChange::is_tag) {
            let checks = TagChecks::of(changes, run.before, &policy, self.repository.objects());
            let tags = checks.verify(self.repository, &engine)?;
            run.report.checked = run.report.checked.saturating_add(tags.len());
            for change in changes.iter().filter(|change| change.is_tag()) {
                run.tag(change, &checks, &tags, &mut steps)?;
            }
        }
        if let Some(request) = &self.overrule
            && run.report.refuses()
        {
            let overruled = run.overruled(request, changes, in_force, record, &mut steps)?;
            run.report.overrule(overruled);
        }
        let mut report = run.report;
        report.checked = report.checked.saturating_add(steps.history().verified());
        report.read = self.repository.objects().counts();
        // Not one second more, also if all has been judged.
        self.repository.objects().check_time()?;
        Ok(report)
    }

    /// Returns the policy in force before a push of these changes.
    ///
    /// # Errors
    /// Returns [`JudgeError`] if there is none that can be used.
    pub fn policy(
        &self,
        changes: &[RefChange],
        before: &mut RefSnapshot,
    ) -> Result<Rc<Policy>, JudgeError> {
        let engine = BatchVerifier::new(&self.request).with_headers();
        let mut history = RepositoryHistory::new(self.repository, &engine);
        let (steps, ..) = self.begin(&mut history, changes, before)?;
        Ok(steps.policy())
    }

    /// Returns the commits of a signer, by name or identity, that `tip` reaches and `base`
    /// does not, with their subjects.
    ///
    /// # Errors
    /// Returns [`JudgeError`] if a commit cannot be read, or not in time.
    pub fn signed_by(
        &self,
        signer: &str,
        policy: &Policy,
        tip: ObjectId,
        base: Option<ObjectId>,
    ) -> Result<Vec<(ObjectId, String)>, JudgeError> {
        let engine = BatchVerifier::new(&self.request).with_headers();
        let mut history = RepositoryHistory::new(self.repository, &engine);
        let failed = |error: HistoryError| JudgeError::Steps {
            reference: tip.to_string(),
            error: Box::new(error.into()),
        };
        let hidden: Vec<ObjectId> = base.into_iter().collect();
        let open = history.gains(&[tip], &hidden, Look::Full).map_err(failed)?;
        history.verify(&open).map_err(failed)?;
        let mut found = Vec::new();
        for commit in open {
            let facts = history.facts(commit).map_err(failed)?;
            let SignatureResult::Good { identity, .. } = &facts.signature else {
                continue;
            };
            let san = identity.san.value();
            let is_theirs = match policy.signer(signer) {
                Some(known) => {
                    known.identity.matches(san) && known.issuer.matches(&identity.issuer)
                }
                None => san == signer,
            };
            if is_theirs {
                found.push((commit, history.title(commit).subject));
            }
        }
        Ok(found)
    }

    /// Returns the name of the policy in force for the verdict log. `in_force`: the
    /// commit that contains it, if it is in the repository.
    fn policy_id(
        &self,
        in_force: Option<ObjectId>,
        history: &mut RepositoryHistory<'_>,
    ) -> Result<PolicyId, JudgeError> {
        match (&self.source, in_force) {
            (PolicySource::File { name, digest, .. }, _) => Ok(PolicyId {
                id: format!("sha256:{digest}"),
                from: name.clone(),
            }),
            (PolicySource::Repository { .. }, commit) => {
                let tree = match commit {
                    Some(commit) => history.policy(commit)?,
                    None => None,
                };
                Ok(PolicyId {
                    id: tree.map_or_else(String::new, |tree| format!("tree:{tree}")),
                    from: commit.map_or_else(String::new, |commit| commit.to_string()),
                })
            }
        }
    }

    /// Begins a run with the policy in force, its name, and the commit that contains
    /// it, if it is in the repository.
    fn begin<'h>(
        &self,
        history: &'h mut RepositoryHistory<'r>,
        changes: &[RefChange],
        before: &mut RefSnapshot,
    ) -> Result<(Steps<'h, 'r>, String, Option<ObjectId>), JudgeError> {
        let root = match &self.source {
            PolicySource::File { policy, name, .. } => {
                let steps = StepJudge::new(history, policy.clone());
                return Ok((steps, name.clone(), None));
            }
            PolicySource::Repository { root } => *root,
        };
        let default = before.default_branch().map(BString::from);
        let tip = default
            .as_ref()
            .and_then(|name| before.commit_of(name, self.repository.objects()));
        let commit = match tip {
            Some(tip) => tip,
            None => first_of_default(default.as_ref(), root, changes, before)?,
        };
        let begun = StepJudge::at(history, commit).map_err(|error| JudgeError::Steps {
            reference: default
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            error: Box::new(error),
        })?;
        let steps = begun.map_err(|finding| PolicyLoadError::InTree(Box::new(finding)))?;
        let branch = default.as_ref().filter(|_| tip.is_some());
        let branch = branch.map(|name| name.as_slice());
        let name = policy_source::in_repository(branch, commit);
        Ok((steps, name, Some(commit)))
    }

    /// Returns which branch a change is about.
    fn branch(&self, change: &RefChange, before: &RefSnapshot) -> Branch<ObjectId> {
        let name: &[u8] = &change.update.name;
        if before
            .default_branch()
            .is_none_or(|default| default != name)
        {
            return Branch::Other;
        }
        match &self.source {
            PolicySource::File { .. } => Branch::Default,
            PolicySource::Repository { root } => match root.or(change.old.commit) {
                Some(root) => Branch::WithPolicy { root },
                None => Branch::Default,
            },
        }
    }
}

/// Returns the policy root, if a push makes the default branch and nothing else.
fn first_of_default(
    default: Option<&BString>,
    root: Option<ObjectId>,
    changes: &[RefChange],
    before: &RefSnapshot,
) -> Result<ObjectId, PolicyLoadError> {
    let refuse = |message: String| PolicyLoadError::NoPolicyRef { message };
    let Some(default) = default else {
        return Err(refuse(
            "HEAD names no branch, so that no policy is in force".to_owned(),
        ));
    };
    if before.has_branches() {
        return Err(refuse(format!(
            "HEAD names {default}, which does not exist, and there are other branches"
        )));
    }
    let is_made =
        |change: &RefChange| change.update.name == *default && change.new.commit.is_some();
    if !changes.iter().all(is_made) || changes.is_empty() {
        return Err(refuse(format!(
            "the default branch {default} does not exist; push it first, and alone"
        )));
    }
    root.ok_or_else(|| {
        refuse(format!(
            "no policy root is set for the new branch {default}"
        ))
    })
}

/// A push while it is judged.
struct Run<'a, 'r> {
    judge: &'a PushJudge<'r>,
    before: &'a mut RefSnapshot,
    scope: Scope,
    policy: &'a Policy,
    report: PushReport,
    /// Refs other than tags that were not refused, and their new commits.
    arrived: Vec<(BString, ObjectId)>,
}

impl Run<'_, '_> {
    /// Judges a ref that is not a tag.
    fn other(&mut self, change: &RefChange, steps: &mut Steps<'_, '_>) -> Result<(), JudgeError> {
        let mut findings = change.unusual(self.policy);
        let (old, new) = (change.old.commit, change.new.commit);
        let is_judged = new.is_some() || change.update.new.is_none();
        let is_broken = change.update.old.is_some() && old.is_none();
        if self.scope != Scope::Request && (!is_judged || is_broken) {
            // To something that is not a commit, or from something unreadable.
            findings.extend(self.evaluate_update(change));
        }
        if !is_judged {
            let is_refused = findings.iter().any(Finding::refuses);
            self.add_all(change, findings);
            self.add(change, Judged::new(change.kind()), is_refused, steps);
            return Ok(());
        }
        let branch = self.judge.branch(change, self.before);
        let lent = self.lent(change)?;
        let update = Update {
            name: &change.update.name,
            branch,
            old,
            new,
            lent: &lent,
            pusher: self.pusher(),
        };
        let judged = match self.scope {
            Scope::Request => steps.judge_request(&update),
            Scope::Push | Scope::OneRef => steps.judge(&update),
        };
        let judged = judged.map_err(|error| failed(change, error))?;
        let is_refused = judged.is_refused || findings.iter().any(Finding::refuses);
        if let Some(new) = new.filter(|_| !is_refused) {
            self.arrived.push((change.update.name.clone(), new));
        }
        self.add_all(change, findings);
        self.add(change, judged, is_refused, steps);
        Ok(())
    }

    /// Judges a tag: its objects, its commit, and the action on the ref.
    fn tag(
        &mut self,
        change: &RefChange,
        checks: &TagChecks,
        tags: &VerifiedTags,
        steps: &mut Steps<'_, '_>,
    ) -> Result<(), JudgeError> {
        let unusual = change.unusual(self.policy);
        let mut is_refused = unusual.iter().any(Finding::refuses);
        self.add_all(change, unusual);
        if self.scope != Scope::Request {
            for found in checks.evaluate(change, tags, self.policy, &self.pusher()) {
                is_refused |= found.finding.refuses();
                self.report.add(ReportItem {
                    signer: found.signer,
                    ..item(change, found.about, found.finding)
                });
            }
        }
        let mut lent = self.lent(change)?;
        if self.scope == Scope::Push {
            let arrived = self.arrived.iter();
            lent.extend(
                arrived
                    .filter(|(name, _)| {
                        self.before
                            .is_source(name, &change.update.name, self.policy)
                    })
                    .map(|(_, commit)| *commit),
            );
        }
        let update = Update {
            name: &change.update.name,
            branch: Branch::Other,
            old: change.old.commit,
            new: change.new.commit,
            lent: &lent,
            pusher: self.pusher(),
        };
        let judged = steps.judge_tag(&update);
        let judged = judged.map_err(|error| failed(change, error))?;
        is_refused |= judged.is_refused;
        self.add(change, judged, is_refused, steps);
        Ok(())
    }

    fn lent(&mut self, change: &RefChange) -> Result<Vec<ObjectId>, JudgeError> {
        let objects = self.judge.repository.objects();
        Ok(self
            .before
            .lent_to(&change.update.name, self.policy, objects)?)
    }

    fn pusher(&self) -> Pusher<'_> {
        Pusher {
            account: self.judge.account.as_deref(),
            certificate: self.judge.certificate.as_ref().map(|one| &one.signature),
            now: Some(system_time()),
        }
    }

    fn evaluate_update(&self, change: &RefChange) -> Vec<Finding> {
        let new = change.update.new.map(|id| id.to_string());
        let update = RefUpdate {
            name: &change.update.name,
            kind: change.kind(),
            new: new.as_deref().unwrap_or_default(),
            tag: None,
        };
        self.policy.evaluate_update(&update, &self.pusher())
    }

    /// Decides whether the refusals are overridden.
    fn overruled(
        &self,
        request: &OverrideRequest,
        changes: &[RefChange],
        in_force: Option<ObjectId>,
        record: &RunRecord,
        steps: &mut Steps<'_, '_>,
    ) -> Result<Overruled, JudgeError> {
        let certified = self.judge.certificate.as_ref();
        let options = certified.map_or(&[][..], |one| &one.options);
        let by = match self.policy.may_override(&self.pusher()) {
            _ if !record.has_log() => Err("gitseal.verdictLog is not set".to_owned()),
            Ok(by) => match request.reason(options) {
                Ok(_) => match self.beyond_override(changes, in_force, steps)? {
                    Some(problem) => Err(problem),
                    None => Ok(by),
                },
                Err(problem) => Err(problem),
            },
            Err(problem) => Err(problem),
        };
        let reason = match request {
            OverrideRequest::Reason(reason) => Some(reason.clone()),
            OverrideRequest::Malformed(_) => None,
        };
        Ok(Overruled { reason, by })
    }

    /// Returns why no one may override the refusals of these changes: they make or
    /// delete the default branch, or change `.gitseal`, or not all of them are known.
    fn beyond_override(
        &self,
        changes: &[RefChange],
        in_force: Option<ObjectId>,
        steps: &mut Steps<'_, '_>,
    ) -> Result<Option<String>, JudgeError> {
        for change in changes.iter().filter(|change| !change.is_tag()) {
            let name = &change.update.name;
            let is_default = self
                .before
                .default_branch()
                .is_some_and(|default| default == name.as_slice());
            if is_default && (change.old.commit.is_none() || change.new.commit.is_none()) {
                let message = format!("{name} is the default branch, which keeps a commit");
                return Ok(Some(message));
            }
            let Some(new) = change.new.commit else {
                continue;
            };
            let mut results = self.report.results.iter();
            let result = results.find(|result| name == result.name.as_str());
            let gained = Gained {
                new,
                // The default branch replaces the policy in force.
                old: in_force.filter(|_| is_default).or(change.old.commit),
                base: result.and_then(|result| result.base),
            };
            if changes_policy(gained, steps.history())? {
                let message = format!("{name} would change .gitseal, which no override reaches");
                return Ok(Some(message));
            }
        }
        Ok(beyond_override(&self.report))
    }

    /// Adds findings about the ref itself.
    fn add_all(&mut self, change: &RefChange, findings: Vec<Finding>) {
        for finding in findings {
            self.report
                .add(item(change, ItemSubject::Reference, finding));
        }
    }

    /// Adds the result for one ref.
    fn add(
        &mut self,
        change: &RefChange,
        judged: Judged<ObjectId>,
        is_refused: bool,
        steps: &mut Steps<'_, '_>,
    ) {
        let mut again = SignAgain::default();
        for mut found in judged.findings {
            let about = match found.about {
                Subject::Reference => {
                    self.report
                        .add(item(change, ItemSubject::Reference, found.finding));
                    continue;
                }
                Subject::Commit { commit, step } => (commit, step),
            };
            let (commit, step) = about;
            let title = steps.history().title(commit);
            again.replace(&mut found.finding, commit, change, steps.history());
            self.report.add(ReportItem {
                reference: change.update.name.to_string(),
                about: ItemSubject::Object {
                    kind: ObjectKind::Commit,
                    id: commit,
                    title: title.subject,
                },
                signer: title.signer,
                step: step.filter(|step| *step != commit),
                may_merge: found.may_merge,
                finding: found.finding,
            });
        }
        self.report.count_more(judged.more, judged.is_refused);
        self.report.results.push(RefResult {
            name: change.update.name.to_string(),
            old: change.update.old,
            new: change.update.new,
            base: judged.base,
            is_refused,
            gained: judged.gained,
            adopted: judged.adopted,
        });
    }
}

impl PolicyTrees for RepositoryHistory<'_> {
    type Error = JudgeError;

    fn policy(&mut self, commit: ObjectId) -> Result<Option<ObjectId>, JudgeError> {
        self.policy_tree(commit).map_err(unread)
    }

    fn first_parent(&mut self, commit: ObjectId) -> Result<Option<ObjectId>, JudgeError> {
        let parents = self.graph().parents(commit);
        let parents = parents.map_err(|error| unread(error.into()))?;
        Ok(parents.first().copied())
    }
}

fn unread(error: HistoryError) -> JudgeError {
    JudgeError::Override(Box::new(error.into()))
}

fn failed(change: &RefChange, error: StepsError<HistoryError>) -> JudgeError {
    JudgeError::Steps {
        reference: change.update.name.to_string(),
        error: Box::new(error),
    }
}

pub(super) fn item(change: &RefChange, about: ItemSubject, finding: Finding) -> ReportItem {
    ReportItem {
        reference: change.update.name.to_string(),
        about,
        signer: None,
        step: None,
        may_merge: Vec::new(),
        finding,
    }
}

/// The one command that signs all commits of a ref again, from the first that is
/// refused, which is the oldest.
#[derive(Default)]
struct SignAgain(Option<String>);

impl SignAgain {
    fn replace(
        &mut self,
        finding: &mut Finding,
        commit: ObjectId,
        change: &RefChange,
        history: &mut RepositoryHistory<'_>,
    ) {
        const COMMAND: &str = "git rebase --rebase-merges --exec 'git commit --amend --no-edit -S'";
        let Some(old) = finding
            .command
            .as_mut()
            .filter(|it| it.starts_with("git rebase "))
        else {
            return;
        };
        let command = self.0.get_or_insert_with(|| {
            if change.new.commit == Some(commit) {
                return "git commit --amend --no-edit -S".to_owned();
            }
            let parents = history.graph().parents(commit).unwrap_or_default();
            match parents.first() {
                Some(parent) => format!("{COMMAND} {}", parent.to_hex_with_len(12)),
                None => format!("{COMMAND} --root"),
            }
        });
        old.clone_from(command);
    }
}
