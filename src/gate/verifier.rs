//! Verifies every commit and tag of a plan, on all cores, and checks it against the
//! rules; so is the change of each ref itself.
//!
//! *Not decided here:* whether a signature verifies (`batch.rs`) and what is
//! allowed (`rules.rs` and the policy).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
    rc::Rc,
};

use gix::{ObjectId, bstr::BString};

use super::{
    certificate::{self, PushCertificateEnv},
    plan::{self, Plan, RefChange, RefSnapshot, RuleScope},
    report::{ItemSubject, MAX_KEPT, PushReport, ReportItem},
    rules::{LoadedPolicy, PolicyLoadError},
};
use crate::host::{
    git::{
        Deadline, GitError, Repository,
        graph::{Graph, GraphError},
        push::RefCommand,
    },
    settings::Settings,
    trusted_root_files::TrustedRootLoadError,
};
use crate::{
    batch::{self, BatchVerifier, ObjectHeaders, ObjectResult},
    cli::GateArgs,
    exit::{EXIT_UNDECIDED, EXIT_USAGE},
    history::{CommitReadError, GitHistory, HistoryError, commit_facts},
    verdict::{Verdict, VerifyRequest},
};
use gitseal_evidence::object::ObjectKind;
use gitseal_policy::{CommitFacts, Finding, walk};

/// The message for a policy file that the author of a request controls.
pub const INSIDE: &str = "this file is part of the change being checked, so its author controls it; omit the option to use the base branch's .gitseal/policy.toml, or name a file outside the repository";

/// Errors that prevent the commits of a push from being checked.
#[derive(Debug, thiserror::Error)]
pub enum PushVerifyError {
    #[error(transparent)]
    Policy(#[from] PolicyLoadError),
    #[error(transparent)]
    Trust(#[from] TrustedRootLoadError),
    #[error("cannot check {id}: {error}")]
    Object { id: ObjectId, error: GitError },
    #[error("cannot compute the changes of commit {id}: {error}")]
    Facts {
        id: ObjectId,
        error: CommitReadError,
    },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("{reference}: {error}")]
    Walk {
        reference: String,
        error: walk::WalkError<HistoryError>,
    },
    #[error("the push adds more commits than a threshold can count")]
    TooLarge,
    #[error("more than {MAX_KEPT} findings reject the push")]
    TooMany,
    #[error(transparent)]
    Git(#[from] GitError),
}

impl PushVerifyError {
    pub(super) fn exit(&self) -> u8 {
        match self {
            Self::Policy(_) | Self::Trust(_) => EXIT_USAGE,
            _ => EXIT_UNDECIDED,
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Policy(error) => error.hint(),
            Self::Git(GitError::Timeout { .. })
            | Self::Graph(GraphError::Git(GitError::Timeout { .. })) => {
                Some("push fewer commits at a time, or ask the administrators to raise --timeout")
            }
            Self::TooMany | Self::TooLarge => {
                Some("push fewer commits at a time, the oldest first")
            }
            _ => None,
        }
    }
}

/// Other tags of the same object, by the ref of the tag that is checked: name and
/// tag object.
type Others = HashMap<BString, Vec<(Vec<u8>, ObjectId)>>;

/// Maximum size of the commits that thresholds count, in bytes.
const MAX_SETS: usize = 512 * 1024 * 1024;
/// Maximum number of first-parent histories that are cached.
const MAX_LINES: usize = 16;
/// Maximum number of other tags that count for one.
const MAX_OTHERS: usize = 256;

/// Trusted root and policy, loaded once per push.
pub struct PushVerifier<'r> {
    repository: &'r Repository,
    request: VerifyRequest,
    rules: LoadedPolicy,
}

impl<'r> PushVerifier<'r> {
    /// Loads trusted root and policy; `tip` is the commit of the protected branch
    /// before the push. If no policy is set, that in the tree of `base` is used.
    ///
    /// # Errors
    /// Returns [`PushVerifyError`] if one of them is missing or malformed.
    pub fn open(
        repository: &'r Repository,
        settings: &Settings,
        options: &GateArgs,
        tip: Option<ObjectId>,
        base: Option<ObjectId>,
    ) -> Result<Self, PushVerifyError> {
        let rules = match (LoadedPolicy::read(settings, options, repository, tip), base) {
            (Err(PolicyLoadError::None), Some(base)) => LoadedPolicy::of_base(repository, base),
            (rules, _) => rules,
        }?;
        Ok(Self {
            repository,
            request: VerifyRequest::for_policy(options.trusted_root.as_deref(), settings)?,
            rules,
        })
    }

    /// Identifies the pusher by the push certificate instead of the account.
    pub fn set_push_certificate(
        &mut self,
        told: &PushCertificateEnv,
        updates: &[RefCommand],
        most: usize,
    ) {
        let engine = BatchVerifier::new(&self.request);
        let signature = certificate::signature(told, updates, most, self.repository, &engine);
        self.rules.certificate = Some(signature);
    }

    /// Returns which commits the rules apply to.
    pub fn binding(&self) -> &dyn RuleScope {
        &self.rules
    }

    /// Checks all of a plan. With `only_commits` the changes of refs are not checked
    /// (a request that may never be merged).
    ///
    /// # Errors
    /// Returns [`PushVerifyError`] if an object cannot be checked or the time is over.
    pub fn judge(
        &self,
        command: &'static str,
        plan: &Plan,
        before: &RefSnapshot,
        graph: &mut Graph,
        deadline: Deadline,
        only_commits: bool,
    ) -> Result<PushReport, PushVerifyError> {
        let mut report = PushReport {
            command,
            policy: self.rules.source().to_owned(),
            contact: self.rules.policy.contact.clone(),
            references: plan.changes.len(),
            ..PushReport::default()
        };
        let engine = BatchVerifier::new(&self.request).with_headers();
        let others = self.others(plan, before);
        let tags = self.tags(plan, &others, &engine, deadline)?;
        report.checked = report.checked.saturating_add(tags.len());
        if !only_commits {
            for change in &plan.changes {
                deadline.check()?;
                self.change(change, &tags, &others, &mut report);
            }
        }
        let items = match self.rules.root() {
            None => self.commits(plan, &engine, deadline, &mut report)?,
            Some(root) => self.walks(plan, before, root, &engine, deadline, graph, &mut report)?,
        };
        let cut_off = self.rules.cut_off();
        for (change, items) in items {
            let Some(change) = plan.changes.get(change) else {
                continue;
            };
            // A walk by the repository's own policies says itself what is refused,
            // and that need not be a commit that this push brings.
            let second_look = self.rules.root().is_none();
            add(change, items, second_look, &cut_off, graph, &mut report)?;
        }
        deadline.check()?;
        Ok(report)
    }

    /// Returns, for each tag whose rule has a threshold, the other tags of the same
    /// object, existing or in the same push.
    fn others(&self, plan: &Plan, before: &RefSnapshot) -> Others {
        let mut others = Others::new();
        for change in &plan.changes {
            let (Some(tag), Some(target)) = (change.new.tags.last(), change.new.commit) else {
                continue;
            };
            if !self.rules.counts_tags(&change.update.name) {
                continue;
            }
            let beside = plan
                .changes
                .iter()
                .filter(|other| other.new.commit == Some(target))
                .filter_map(|other| Some((other.update.name.to_vec(), other.new.tags.first()?.id)));
            let there = before
                .tags
                .iter()
                .filter(|(name, _, commit)| {
                    *commit == target
                        && !plan
                            .changes
                            .iter()
                            .any(|change| *change.update.name == name.as_slice())
                })
                .map(|(name, id, _)| (name.clone(), *id));
            let found: Vec<(Vec<u8>, ObjectId)> = beside
                .chain(there)
                .filter(|(name, id)| *change.update.name != name.as_slice() && *id != tag.id)
                .take(MAX_OTHERS)
                .collect();
            others.insert(change.update.name.clone(), found);
        }
        others
    }

    /// Verifies every tag object once.
    fn tags(
        &self,
        plan: &Plan,
        others: &Others,
        engine: &BatchVerifier<'_>,
        deadline: Deadline,
    ) -> Result<HashMap<ObjectId, ObjectResult>, PushVerifyError> {
        let mut seen = HashSet::new();
        let ids: Vec<ObjectId> = plan
            .changes
            .iter()
            .filter(|change| change.update.new.is_some())
            .flat_map(|change| change.new.tags.iter().map(|tag| tag.id))
            .chain(others.values().flatten().map(|(_, id)| *id))
            .filter(|id| seen.insert(*id))
            .collect();
        let mut found = HashMap::with_capacity(ids.len());
        self.run(ids, engine, deadline, &mut |judged| {
            found.insert(judged.id, judged);
            Ok(())
        })?;
        Ok(found)
    }

    /// Runs the verifier over `ids`, until the time is over.
    fn run(
        &self,
        ids: Vec<ObjectId>,
        engine: &BatchVerifier<'_>,
        deadline: Deadline,
        each: &mut dyn FnMut(ObjectResult) -> Result<(), PushVerifyError>,
    ) -> Result<(), PushVerifyError> {
        let jobs = if ids.len() < 8 {
            1
        } else {
            batch::default_jobs()
        };
        let mut result = Ok(());
        batch::verify_all(ids, self.repository, engine, jobs, &mut |judged| {
            result = deadline
                .check()
                .map_err(PushVerifyError::from)
                .and_then(|()| match judged.verdict {
                    Verdict::Unreadable { error, .. } => Err(PushVerifyError::Object {
                        id: judged.id,
                        error,
                    }),
                    _ => each(judged),
                });
            match result {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        result
    }

    /// Checks the change of a ref and the tags it leads to.
    fn change(
        &self,
        change: &RefChange,
        tags: &HashMap<ObjectId, ObjectResult>,
        others: &Others,
        report: &mut PushReport,
    ) {
        let chain: Vec<&ObjectResult> = change
            .new
            .tags
            .iter()
            .filter_map(|tag| tags.get(&tag.id))
            .collect();
        let others = others.get(&change.update.name).into_iter().flatten();
        let others: Vec<(&[u8], &ObjectResult)> = others
            .filter_map(|(name, id)| Some((name.as_slice(), tags.get(id)?)))
            .collect();
        for (is_of_tag, finding) in self.rules.evaluate_change(change, &chain, &others) {
            let about = match change.new.tags.first().filter(|_| is_of_tag) {
                Some(tag) => ItemSubject::Object {
                    kind: ObjectKind::Tag,
                    id: tag.id,
                    title: tag.name.clone().unwrap_or_default(),
                },
                None => ItemSubject::Reference,
            };
            let signer = chain.first().and_then(|tag| signer(tag));
            report.add(item(change, about, signer, finding));
        }
    }

    /// Checks every commit and returns the findings by change.
    fn commits(
        &self,
        plan: &Plan,
        engine: &BatchVerifier<'_>,
        deadline: Deadline,
        report: &mut PushReport,
    ) -> Result<BTreeMap<usize, Vec<ReportItem>>, PushVerifyError> {
        let mut ids: Vec<ObjectId> = Vec::new();
        let mut gained: HashMap<ObjectId, Vec<(usize, bool)>> = HashMap::new();
        for gain in &plan.gains {
            let changes = gained.entry(gain.commit).or_default();
            if changes.is_empty() {
                ids.push(gain.commit);
            }
            changes.push((gain.change, gain.direct));
        }
        report.checked = report.checked.saturating_add(ids.len());
        let mut items: BTreeMap<usize, Vec<ReportItem>> = BTreeMap::new();
        let counted: Vec<bool> = plan
            .changes
            .iter()
            .map(|change| self.rules.policy.has_thresholds(&change.update.name))
            .collect();
        let mut sets: BTreeMap<usize, Vec<CommitFacts<ObjectId>>> = BTreeMap::new();
        let mut weight = 0_usize;
        let mut kept = 0_usize;
        let mut unkept = 0_usize;
        self.run(ids, engine, deadline, &mut |judged| {
            let facts = self.facts(&judged)?;
            for (at, direct) in gained.get(&judged.id).into_iter().flatten() {
                let Some(change) = plan.changes.get(*at) else {
                    continue;
                };
                let name: &[u8] = &change.update.name;
                for finding in self.rules.policy.evaluate_commit(&facts, *direct, name) {
                    if kept >= MAX_KEPT {
                        if finding.refuses() {
                            return Err(PushVerifyError::TooMany);
                        }
                        unkept = unkept.saturating_add(1);
                        continue;
                    }
                    kept = kept.saturating_add(1);
                    let about = commit(judged.id, subject(&judged));
                    items.entry(*at).or_default().push(item(
                        change,
                        about,
                        signer(&judged),
                        finding,
                    ));
                }
                if counted.get(*at) == Some(&true) {
                    let mut set = facts.clone();
                    self.rules.policy.retain_threshold_paths(&mut set, name);
                    weight = weight.saturating_add(set.weight());
                    if weight > MAX_SETS {
                        return Err(PushVerifyError::TooLarge);
                    }
                    sets.entry(*at).or_default().push(set);
                }
            }
            Ok(())
        })?;
        report.warnings = report.warnings.saturating_add(unkept);
        for (at, set) in sets {
            let Some(change) = plan.changes.get(at) else {
                continue;
            };
            let name: &[u8] = &change.update.name;
            for (id, finding) in self.rules.policy.evaluate_thresholds(&set, name) {
                let about = commit(id, String::new());
                items
                    .entry(at)
                    .or_default()
                    .push(item(change, about, None, finding));
            }
        }
        Ok(items)
    }

    /// Checks the commits that refs gain by the in-repository policy: that of its parent
    /// applies to each commit.
    #[allow(clippy::too_many_arguments)]
    fn walks(
        &self,
        plan: &Plan,
        before: &RefSnapshot,
        root: ObjectId,
        engine: &BatchVerifier<'_>,
        deadline: Deadline,
        graph: &mut Graph,
        report: &mut PushReport,
    ) -> Result<BTreeMap<usize, Vec<ReportItem>>, PushVerifyError> {
        // On all cores what the push brings; the walk asks for it one by one.
        let mut seen = HashSet::new();
        let ids: Vec<ObjectId> = plan
            .gains
            .iter()
            .map(|gain| gain.commit)
            .filter(|id| seen.insert(*id))
            .collect();
        let mut history = GitHistory::new(self.repository, engine, graph);
        let mut subjects: HashMap<ObjectId, (String, Option<String>)> = HashMap::new();
        self.run(ids, engine, deadline, &mut |judged| {
            history.insert_result(judged.id, self.facts(&judged)?);
            subjects.insert(judged.id, (subject(&judged), signer(&judged)));
            Ok(())
        })?;
        let mut items: BTreeMap<usize, Vec<ReportItem>> = BTreeMap::new();
        let mut lines = Lines::new(root);
        let gaining: HashSet<usize> = plan.gains.iter().map(|gain| gain.change).collect();
        for (at, change) in plan.changes.iter().enumerate() {
            deadline.check()?;
            // That a commit is reachable from elsewhere authenticates nothing: it may
            // have been adopted. Only a reference about whose commits no rule speaks
            // has nothing to be authenticated, unless it brings some.
            let Some(tip) = change
                .new
                .commit
                .filter(|_| gaining.contains(&at) || !change.group.is_empty())
            else {
                continue;
            };
            let old = change.old.commit.filter(|_| change.forward);
            // What was accepted by these rules: the reference's own old value, and
            // the protected branch.
            let protected = before
                .protected
                .as_ref()
                .filter(|(name, _)| self.rules.binds(name) == change.group)
                .map(|(_, commit)| *commit);
            let mut accepted = Vec::new();
            for from in old.into_iter().chain(protected) {
                accepted.extend(lines.of(from, history.graph())?);
            }
            if old.is_none() && accepted.iter().any(|line| line.contains(&tip)) {
                continue;
            }
            history.mark_authenticated(accepted);
            let question = walk::AuthenticationRequest {
                root: &root,
                tip: &tip,
                through: old.as_ref(),
                ref_name: &change.update.name,
            };
            let walked = walk::authenticate(&question, &mut history).map_err(|error| {
                PushVerifyError::Walk {
                    reference: change.update.name.to_string(),
                    error,
                }
            })?;
            report.checked = report.checked.saturating_add(walked.judged);
            let refused = walked
                .refused
                .into_iter()
                .flat_map(|(id, findings)| findings.into_iter().map(move |one| (id, one)));
            for (id, finding) in refused.chain(walked.warnings) {
                let (subject, signer) = subjects.get(&id).cloned().unwrap_or_default();
                let about = commit(id, subject);
                items
                    .entry(at)
                    .or_default()
                    .push(item(change, about, signer, finding));
            }
        }
        Ok(items)
    }

    fn facts(&self, judged: &ObjectResult) -> Result<CommitFacts<ObjectId>, PushVerifyError> {
        commit_facts(judged, self.repository).map_err(|error| PushVerifyError::Facts {
            id: judged.id,
            error,
        })
    }
}

/// First-parent histories down to the policy root.
struct Lines {
    root: ObjectId,
    known: HashMap<ObjectId, Option<Rc<HashSet<ObjectId>>>>,
}

impl Lines {
    fn new(root: ObjectId) -> Self {
        Self {
            root,
            known: HashMap::new(),
        }
    }

    /// Returns the history from a commit on; `None` if it does not lead to the root.
    fn of(
        &mut self,
        from: ObjectId,
        graph: &mut Graph,
    ) -> Result<Option<Rc<HashSet<ObjectId>>>, GraphError> {
        if let Some(line) = self.known.get(&from) {
            return Ok(line.clone());
        }
        let mut line = HashSet::new();
        let end = graph.follow_first_parents(from, |commit| {
            line.insert(commit);
            commit != self.root
        })?;
        let line = end.map(|_| Rc::new(line));
        // One for each of 50,000 references would be as much as all of them.
        if self.known.len() < MAX_LINES {
            self.known.insert(from, line.clone());
        }
        Ok(line)
    }
}

/// Adds the findings of one change to the report. If a commit is rejected, a walk to
/// the end of history confirms that the ref gains it.
fn add(
    change: &RefChange,
    items: Vec<ReportItem>,
    second_look: bool,
    cut_off: &[ObjectId],
    graph: &mut Graph,
    report: &mut PushReport,
) -> Result<(), PushVerifyError> {
    let is_refused = items.iter().any(|item| item.finding.refuses());
    let exact = if is_refused && second_look {
        match plan::new_by_full_walk(change, cut_off, graph) {
            Ok(exact) => exact,
            // Too much history to be sure: what was found stands.
            Err(GraphError::TooMuch { .. } | GraphError::MissingParent { .. }) => None,
            Err(error) => return Err(error.into()),
        }
    } else {
        None
    };
    let is_new = |item: &ReportItem| match (&item.about, &exact) {
        (ItemSubject::Object { id, .. }, Some(exact)) => exact.contains(id),
        _ => true,
    };
    let mut command: Option<String> = None;
    for mut item in items.into_iter().filter(|item| is_new(item)) {
        // One command signs all of them again: from the first, which is the oldest.
        if let ItemSubject::Object { id, .. } = &item.about
            && let Some(rebase) = &mut item.finding.command
            && rebase.starts_with("git rebase ")
        {
            let again = match command.take() {
                Some(again) => again,
                None => sign_again(*id, change, graph)?,
            };
            rebase.clone_from(&again);
            command = Some(again);
        }
        report.add(item);
    }
    Ok(())
}

/// Returns the command that signs a commit and all after it again.
fn sign_again(
    commit: ObjectId,
    change: &RefChange,
    graph: &mut Graph,
) -> Result<String, GraphError> {
    const COMMAND: &str = "git rebase --rebase-merges --exec 'git commit --amend --no-edit -S'";
    if change.new.commit == Some(commit) {
        return Ok("git commit --amend --no-edit -S".to_owned());
    }
    Ok(match graph.parents(commit)?.first() {
        Some(parent) => format!("{COMMAND} {}", parent.to_hex_with_len(12)),
        None => format!("{COMMAND} --root"),
    })
}

fn item(
    change: &RefChange,
    about: ItemSubject,
    signer: Option<String>,
    finding: Finding,
) -> ReportItem {
    ReportItem {
        reference: change.update.name.to_string(),
        about,
        signer,
        finding,
    }
}

fn commit(id: ObjectId, title: String) -> ItemSubject {
    ItemSubject::Object {
        kind: ObjectKind::Commit,
        id,
        title,
    }
}

/// Returns the signer's identity if the signature verifies.
fn signer(judged: &ObjectResult) -> Option<String> {
    let verified = judged.verdict.verified()?;
    Some(verified.identity.san.value().to_owned())
}

/// Returns the first line of a commit's message.
fn subject(judged: &ObjectResult) -> String {
    let Some(ObjectHeaders::Commit(view)) = &judged.headers else {
        return String::new();
    };
    let line = view
        .message
        .split(|&byte| byte == b'\n')
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    String::from_utf8_lossy(line.get(..200).unwrap_or(line)).into_owned()
}
