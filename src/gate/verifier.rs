//! The verifier: every commit and tag of a plan is verified, on all cores, and held
//! against the rules; so is the change of each reference itself.
//!
//! *Not decided here:* whether a signature is good (`commands/batch.rs` asks the
//! verifier) and what is allowed (`rules.rs` asks the policy).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
    rc::Rc,
};

use gix::{ObjectId, bstr::BString};

use super::{
    Deadline,
    certificate::{self, PushCertificateEnv},
    plan::{self, NewCommit, Plan, RefChange, RefSnapshot, RuleScope},
    report::{ItemSubject, MAX_KEPT, PushReport, ReportItem},
    rules::{self, ApprovalTagFacts, Finding, LoadedPolicy, PolicyLoadError, TagFacts},
};
use crate::host::{
    git::{
        GitError, Repository,
        graph::{Graph, GraphError},
        push::RefCommand,
    },
    settings::Settings,
    trust_files::{self, Trust},
};
use crate::{
    batch::{self, Engine, Facts, Judged},
    cli::GateArgs,
    context::ContextError,
    exit::{EXIT_UNDECIDED, EXIT_USAGE},
    history::{CommitReadError, GitHistory, commit_facts},
};
use gitseal_evidence::identity::ExpectedIdentity;
use gitseal_policy::{CommitFacts, walk};

/// Why a policy in the tree of a request is refused.
pub const INSIDE: &str = "the file lies in the tree of what is to be judged, so that whoever made the request made the policy too; leave it out to read .gitseal/policy.toml of the base, or name a file outside";
/// What to do when the time is over.
pub const TIMEOUT_HINT: &str = "push in parts, or have the administrator raise --timeout";

/// What is said when the time is over.
#[must_use]
pub fn timeout_message(seconds: u64) -> String {
    format!("not everything was judged within {seconds} seconds")
}

/// Why there is no judgement.
#[derive(Debug, thiserror::Error)]
pub enum PushVerifyError {
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyLoadError),
    /// A commit or tag of the push cannot be read.
    #[error("{id} cannot be judged: {error}")]
    Object {
        /// Hex.
        id: String,
        /// Why.
        error: GitError,
    },
    /// It cannot be said what a commit is or changes.
    #[error("what commit {id} changes cannot be said: {error}")]
    Facts {
        /// Hex.
        id: String,
        /// Why.
        error: CommitReadError,
    },
    /// The history cannot be walked.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The walk by the repository's own policies has no answer.
    #[error("{reference}: {error}")]
    Walk {
        /// The reference.
        reference: String,
        /// Why.
        error: walk::WalkError,
    },
    /// More commits that a threshold counts than are held in memory.
    #[error("the push brings more commits than can be counted against a threshold")]
    TooLarge,
    /// More refusals than a report holds.
    #[error("more than {MAX_KEPT} findings refuse this")]
    TooMany,
    /// The time is over.
    #[error("{}", timeout_message(*.seconds))]
    Time {
        /// How long it was.
        seconds: u64,
    },
}

impl PushVerifyError {
    pub(super) fn exit(&self) -> u8 {
        match self {
            Self::Policy(_) => EXIT_USAGE,
            _ => EXIT_UNDECIDED,
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Policy(error) => error.hint(),
            Self::Time { .. } => Some(TIMEOUT_HINT),
            Self::TooMany | Self::TooLarge => Some("push in parts, the oldest commits first"),
            _ => None,
        }
    }
}

/// Tags beside the one that is judged, by its reference: name and tag object.
type Others = HashMap<BString, Vec<(Vec<u8>, ObjectId)>>;

/// The most bytes of commits that thresholds count.
const MAX_SETS: usize = 512 * 1024 * 1024;
/// The most lines of first parents that are kept.
const MAX_LINES: usize = 16;
/// The most other tags that count for one.
const MAX_OTHERS: usize = 256;

/// Everything that does not change during a push: read once.
pub struct PushVerifier<'r> {
    repository: &'r Repository,
    trust: Trust,
    rules: LoadedPolicy,
}

impl<'r> PushVerifier<'r> {
    /// Reads trust and policy. `tip`: the commit of the protected branch before the
    /// push.
    ///
    /// # Errors
    /// One of them is not there or cannot be used: nothing can be judged then.
    pub fn open(
        repository: &'r Repository,
        settings: &Settings,
        options: &GateArgs,
        tip: Option<ObjectId>,
    ) -> Result<Self, super::GateError> {
        let rules = LoadedPolicy::read(settings, options, repository, tip)
            .map_err(PushVerifyError::from)?;
        Self::with(repository, settings, options, rules)
    }

    /// As [`open`](Self::open), for a CI job: what is named goes first, else the
    /// policy in the tree of the base.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for_ci(
        repository: &'r Repository,
        settings: &Settings,
        options: &GateArgs,
        base: Option<ObjectId>,
    ) -> Result<Self, super::GateError> {
        let rules = match (
            LoadedPolicy::read(settings, options, repository, base),
            base,
        ) {
            (Err(PolicyLoadError::None), Some(base)) => LoadedPolicy::of_base(repository, base),
            (rules, _) => rules,
        };
        Self::with(
            repository,
            settings,
            options,
            rules.map_err(PushVerifyError::from)?,
        )
    }

    fn with(
        repository: &'r Repository,
        settings: &Settings,
        options: &GateArgs,
        rules: LoadedPolicy,
    ) -> Result<Self, super::GateError> {
        let trust = trust_files::load(options.trusted_root.as_deref(), settings)
            .map_err(ContextError::from)?;
        Ok(Self {
            repository,
            trust,
            rules,
        })
    }

    /// The push is signed: that says who pushes, and not the account.
    pub fn set_push_certificate(
        &mut self,
        told: &PushCertificateEnv,
        updates: &[RefCommand],
        most: usize,
    ) {
        let wanted = ExpectedIdentity::Any;
        let engine = Engine::new(&self.trust.root, &wanted);
        let signature = certificate::signature(told, updates, most, self.repository, &engine);
        self.rules.certificate = Some(signature);
    }

    /// What has to be judged by the rules.
    pub fn binding(&self) -> &dyn RuleScope {
        &self.rules
    }

    /// Judges all of a plan. With `only_commits` the references are not moved by
    /// this (a request that may never be merged).
    ///
    /// # Errors
    /// Something cannot be judged, or the time is over.
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
            references: plan.changes.len(),
            ..PushReport::default()
        };
        let wanted = ExpectedIdentity::Any;
        let engine = Engine::new(&self.trust.root, &wanted).with_facts();
        let others = self.others(plan, before);
        let tags = self.tags(plan, &others, &engine, deadline)?;
        report.judged = report.judged.saturating_add(tags.len());
        if !only_commits {
            for change in &plan.changes {
                if deadline.is_over() {
                    return Err(time(deadline));
                }
                self.change(change, &tags, &others, &mut report);
            }
        }
        let notes = match self.rules.root() {
            None => self.commits(plan, &engine, deadline, &mut report)?,
            Some(root) => self.walks(plan, before, root, &engine, deadline, graph, &mut report)?,
        };
        let cut_off = self.rules.cut_off();
        for (change, notes) in notes {
            let Some(change) = plan.changes.get(change) else {
                continue;
            };
            // A walk by the repository's own policies says itself what is refused,
            // and that need not be a commit that this push brings.
            let second_look = self.rules.root().is_none();
            add(change, notes, second_look, &cut_off, graph, &mut report)?;
        }
        Ok(report)
    }

    /// For each tag whose rule asks for several signers: the other tags that name
    /// the same object, there before or in the same push.
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

    /// Verifies every tag object, once.
    fn tags(
        &self,
        plan: &Plan,
        others: &Others,
        engine: &Engine<'_>,
        deadline: Deadline,
    ) -> Result<HashMap<ObjectId, Judged>, PushVerifyError> {
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
        let mut next = ids.iter();
        self.run(ids.clone(), engine, deadline, &mut |judged| {
            if let Some(id) = next.next() {
                found.insert(*id, judged);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Runs the verifier over `ids`, until the time is over.
    fn run(
        &self,
        ids: Vec<ObjectId>,
        engine: &Engine<'_>,
        deadline: Deadline,
        each: &mut dyn FnMut(Judged) -> Result<(), PushVerifyError>,
    ) -> Result<(), PushVerifyError> {
        let jobs = if ids.len() < 8 {
            1
        } else {
            batch::default_jobs()
        };
        let mut result = Ok(());
        batch::verify_all(ids, self.repository, engine, jobs, &mut |judged| {
            result = if deadline.is_over() {
                Err(time(deadline))
            } else {
                match judged.opinion {
                    batch::Opinion::Unreadable { error, .. } => Err(PushVerifyError::Object {
                        id: judged.id,
                        error,
                    }),
                    _ => each(judged),
                }
            };
            match result {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        result
    }

    /// Judges what happens to a reference, and the tags it leads to.
    fn change(
        &self,
        change: &RefChange,
        tags: &HashMap<ObjectId, Judged>,
        others: &Others,
        report: &mut PushReport,
    ) {
        let chain: Vec<TagFacts<'_>> = change
            .new
            .tags
            .iter()
            .filter_map(|tag| {
                Some(TagFacts {
                    id: tag.id,
                    judged: tags.get(&tag.id)?,
                })
            })
            .collect();
        let others: Vec<ApprovalTagFacts<'_>> = others
            .get(&change.update.name)
            .into_iter()
            .flatten()
            .filter_map(|(name, id)| {
                Some(ApprovalTagFacts {
                    name,
                    judged: tags.get(id)?,
                })
            })
            .collect();
        for finding in self.rules.evaluate_change(change, &chain, &others) {
            let about = match (finding.of_tag, change.new.tags.first()) {
                (true, Some(tag)) => ItemSubject::Tag {
                    id: tag.id.to_string(),
                    name: tag.name.clone().unwrap_or_default(),
                },
                _ => ItemSubject::Reference,
            };
            let signer = chain.first().and_then(|tag| signer(tag.judged));
            report.add(note(change, about, signer, finding));
        }
    }

    /// Judges every commit, and gives what was found, by change.
    fn commits(
        &self,
        plan: &Plan,
        engine: &Engine<'_>,
        deadline: Deadline,
        report: &mut PushReport,
    ) -> Result<BTreeMap<usize, Vec<ReportItem>>, PushVerifyError> {
        let mut ids: Vec<ObjectId> = Vec::new();
        let mut gained: HashMap<ObjectId, Vec<(usize, bool)>> = HashMap::new();
        for NewCommit {
            commit,
            change,
            direct,
        } in &plan.gains
        {
            let changes = gained.entry(*commit).or_default();
            if changes.is_empty() {
                ids.push(*commit);
            }
            changes.push((*change, *direct));
        }
        report.judged = report.judged.saturating_add(ids.len());
        let mut notes: BTreeMap<usize, Vec<ReportItem>> = BTreeMap::new();
        let counted: Vec<bool> = plan
            .changes
            .iter()
            .map(|change| self.rules.has_thresholds(&change.update.name))
            .collect();
        let mut sets: BTreeMap<usize, Vec<rules::FactsOf>> = BTreeMap::new();
        let mut weight = 0_usize;
        let mut kept = 0_usize;
        let mut unkept = 0_usize;
        let mut next = ids.iter();
        self.run(ids.clone(), engine, deadline, &mut |judged| {
            let Some(id) = next.next() else { return Ok(()) };
            let mut facts = (self.facts(&judged)?, true);
            for (at, direct) in gained.get(id).into_iter().flatten() {
                let Some(change) = plan.changes.get(*at) else {
                    continue;
                };
                facts.1 = *direct;
                for finding in self.rules.evaluate_commit(&facts, &change.update.name) {
                    if kept >= MAX_KEPT {
                        if finding.enforced {
                            return Err(PushVerifyError::TooMany);
                        }
                        unkept = unkept.saturating_add(1);
                        continue;
                    }
                    kept = kept.saturating_add(1);
                    let about = ItemSubject::Commit {
                        id: judged.id.clone(),
                        subject: subject(&judged),
                    };
                    notes.entry(*at).or_default().push(note(
                        change,
                        about,
                        signer(&judged),
                        finding,
                    ));
                }
                if counted.get(*at) == Some(&true) {
                    let mut set = facts.clone();
                    self.rules
                        .retain_threshold_paths(&mut set.0, &change.update.name);
                    weight = weight.saturating_add(set.0.weight());
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
            for (id, finding) in self.rules.evaluate_thresholds(&set, &change.update.name) {
                let about = ItemSubject::Commit {
                    id,
                    subject: String::new(),
                };
                notes
                    .entry(at)
                    .or_default()
                    .push(note(change, about, None, finding));
            }
        }
        Ok(notes)
    }

    /// Judges what references gain by the repository's own policies: each commit by
    /// that of its parent.
    #[allow(clippy::too_many_arguments)]
    fn walks(
        &self,
        plan: &Plan,
        before: &RefSnapshot,
        root: ObjectId,
        engine: &Engine<'_>,
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
        let mut subjects: HashMap<String, (String, Option<String>)> = HashMap::new();
        let mut next = ids.iter();
        self.run(ids.clone(), engine, deadline, &mut |judged| {
            if let Some(id) = next.next() {
                history.insert_result(*id, self.facts(&judged)?);
                subjects.insert(judged.id.clone(), (subject(&judged), signer(&judged)));
            }
            Ok(())
        })?;
        let mut notes: BTreeMap<usize, Vec<ReportItem>> = BTreeMap::new();
        let mut lines = Lines::new(root);
        let gaining: HashSet<usize> = plan.gains.iter().map(|gain| gain.change).collect();
        for (at, change) in plan.changes.iter().enumerate() {
            if deadline.is_over() {
                return Err(time(deadline));
            }
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
            let (root, tip) = (root.to_string(), tip.to_string());
            let through = old.map(|old| old.to_string());
            let question = walk::AuthenticationRequest {
                root: &root,
                tip: &tip,
                through: through.as_deref(),
                ref_name: &change.update.name,
            };
            let walked = walk::authenticate(&question, &mut history).map_err(|error| {
                PushVerifyError::Walk {
                    reference: change.update.name.to_string(),
                    error,
                }
            })?;
            report.judged = report.judged.saturating_add(walked.judged);
            let refused = walked
                .refused
                .into_iter()
                .flat_map(|(id, findings)| findings.into_iter().map(move |one| (id.clone(), one)));
            for (id, finding) in refused.chain(walked.warnings) {
                let (subject, signer) = subjects.get(&id).cloned().unwrap_or_default();
                let about = ItemSubject::Commit { id, subject };
                let finding = Finding::of(finding, false);
                notes
                    .entry(at)
                    .or_default()
                    .push(note(change, about, signer, finding));
            }
        }
        Ok(notes)
    }

    fn facts(&self, judged: &Judged) -> Result<CommitFacts, PushVerifyError> {
        commit_facts(judged, self.repository).map_err(|error| PushVerifyError::Facts {
            id: judged.id.clone(),
            error,
        })
    }
}

/// Lines of first parents down to the policy root.
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

    /// The line from a commit on; none where it does not lead to the root.
    fn of(
        &mut self,
        from: ObjectId,
        graph: &mut Graph,
    ) -> Result<Option<Rc<HashSet<ObjectId>>>, GraphError> {
        if let Some(line) = self.known.get(&from) {
            return Ok(line.clone());
        }
        let mut line = HashSet::new();
        let mut at = Some(from);
        while let Some(commit) = at {
            line.insert(commit);
            if commit == self.root {
                break;
            }
            at = graph.parents(commit)?.first().copied();
        }
        let line = at.is_some().then(|| Rc::new(line));
        // One for each of 50,000 references would be as much as all of them.
        if self.known.len() < MAX_LINES {
            self.known.insert(from, line.clone());
        }
        Ok(line)
    }
}

fn time(deadline: Deadline) -> PushVerifyError {
    PushVerifyError::Time {
        seconds: deadline.seconds(),
    }
}

/// Takes the findings of one change into the report. Where a commit is refused, a
/// second look makes sure that the reference gains it in truth: the walk by commit
/// times may have said too much.
fn add(
    change: &RefChange,
    notes: Vec<ReportItem>,
    second_look: bool,
    cut_off: &[ObjectId],
    graph: &mut Graph,
    report: &mut PushReport,
) -> Result<(), PushVerifyError> {
    let is_refused = notes.iter().any(|note| note.enforced);
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
    let gained = |note: &ReportItem| match (&note.about, &exact) {
        (ItemSubject::Commit { id, .. }, Some(exact)) => {
            ObjectId::from_hex(id.as_bytes()).is_ok_and(|id| exact.contains(&id))
        }
        _ => true,
    };
    let mut mend: Option<String> = None;
    for mut note in notes.into_iter().filter(|note| gained(note)) {
        // One command signs all of them again: from the first, which is the oldest.
        if let ItemSubject::Commit { id, .. } = &note.about
            && note
                .mend
                .as_deref()
                .is_some_and(|mend| mend.starts_with("git rebase "))
        {
            let command = match mend.take() {
                Some(command) => command,
                None => sign_again(id, change, graph)?,
            };
            mend = Some(command.clone());
            note.mend = Some(command);
        }
        report.add(note);
    }
    Ok(())
}

/// The command that signs a commit and all after it again.
fn sign_again(id: &str, change: &RefChange, graph: &mut Graph) -> Result<String, GraphError> {
    const COMMAND: &str = "git rebase --rebase-merges --exec 'git commit --amend --no-edit -S'";
    let Ok(commit) = ObjectId::from_hex(id.as_bytes()) else {
        return Ok(COMMAND.to_owned());
    };
    if change.new.commit == Some(commit) {
        return Ok("git commit --amend --no-edit -S".to_owned());
    }
    Ok(match graph.parents(commit)?.first() {
        Some(parent) => {
            let parent = parent.to_string();
            format!("{COMMAND} {}", parent.get(..12).unwrap_or(&parent))
        }
        None => format!("{COMMAND} --root"),
    })
}

fn note(
    change: &RefChange,
    about: ItemSubject,
    signer: Option<String>,
    finding: Finding,
) -> ReportItem {
    ReportItem {
        reference: change.update.name.to_string(),
        about,
        signer,
        rule: finding.rule,
        enforced: finding.enforced,
        code: finding.code,
        words: finding.words,
        mend: finding.mend,
    }
}

/// Who signed, where the signature is good.
fn signer(judged: &Judged) -> Option<String> {
    match &judged.opinion {
        batch::Opinion::Good(verified) | batch::Opinion::NotWanted { verified, .. } => {
            Some(verified.identity.san.value().to_owned())
        }
        _ => None,
    }
}

/// The first line of a commit's message.
fn subject(judged: &Judged) -> String {
    let Some(Facts::Commit(view)) = &judged.facts else {
        return String::new();
    };
    let line = view
        .message
        .split(|&byte| byte == b'\n')
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    String::from_utf8_lossy(line.get(..200).unwrap_or(line)).into_owned()
}
