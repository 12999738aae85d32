//! A history judged by its own policies: each commit by the policy in the tree of
//! its first parent, from a commit that the user trusts.
//!
//! A commit is **authenticated** if it is the policy root, or if
//!
//! 1. its first parent is authenticated,
//! 2. the policy in its first parent's tree allows it, thresholds included,
//! 3. each of its other parents is authenticated too, or that policy lets whoever
//!    signed the merge `adopt` what nobody authenticated, and
//! 4. it leaves a policy that can be read.
//!
//! The policy of a commit never judges that commit itself. `docs/policy.md` says
//! what follows from that.
//!
//! *Not checked here:* which policy root is the right one (the user says that),
//! and what the ref may do (`evaluate.rs`).

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::{
    evaluate::is_policy,
    facts::{ChangedPath, CommitFacts, EnforcementMode, Finding, POLICY_PATH, codes},
    model::Policy,
};

/// The most commits that are looked at.
pub const MAX_COMMITS: usize = 1_000_000;
/// The most commits that one merge may bring, where a threshold counts them.
pub const MAX_BROUGHT: usize = 10_000;
/// The most policy text that is kept parsed, in bytes.
pub const MAX_POLICIES: usize = 16 * 1024 * 1024;
/// The most warnings that are kept.
pub const MAX_WARNINGS: usize = 1_000;

/// Where a walk gets its facts. Ids are hex.
pub trait CommitSource {
    /// The parents of a commit, the first one first.
    ///
    /// # Errors
    /// The commit cannot be read.
    fn parents(&mut self, commit: &str) -> Result<Vec<String>, CommitSourceError>;

    /// The id of the blob at `.gitseal/policy.toml` in a commit's tree. What is
    /// there but is no ordinary file (a link, a folder, a submodule) is an error.
    ///
    /// # Errors
    /// The commit or its tree cannot be read.
    fn policy_id(&mut self, commit: &str) -> Result<Option<String>, CommitSourceError>;

    /// The bytes of such a blob.
    ///
    /// # Errors
    /// It cannot be read.
    fn policy_text(&mut self, blob: &str) -> Result<Vec<u8>, CommitSourceError>;

    /// A commit, its verified signature and what it changes.
    ///
    /// # Errors
    /// The commit or a tree cannot be read.
    fn commit(&mut self, commit: &str) -> Result<CommitFacts, CommitSourceError>;

    /// Whether a commit was authenticated before, so that it need not be judged
    /// again. With one, all of its line of first parents is, down to the root.
    fn is_accepted(&mut self, commit: &str) -> bool {
        let _ = commit;
        false
    }

    /// What is reachable from a commit and not from its first parent, the commit
    /// itself included, in any order; more than `most` may be cut off.
    ///
    /// # Errors
    /// A commit cannot be read.
    fn merged_commits(
        &mut self,
        commit: &str,
        most: usize,
    ) -> Result<Vec<String>, CommitSourceError>;
}

/// A fact cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct CommitSourceError {
    /// What, and why.
    pub what: String,
}

/// What ends a walk without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A fact is missing.
    #[error(transparent)]
    CommitSource(#[from] CommitSourceError),
    /// The history is longer than [`MAX_COMMITS`].
    #[error("more than {MAX_COMMITS} commits lie between the policy root and the tip")]
    TooLong,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct AuthenticationRequest<'a> {
    /// The policy root, hex.
    pub root: &'a str,
    /// The commit in question, hex.
    pub tip: &'a str,
    /// A commit that must lie on the line of first parents between them: in a
    /// push, the ref's old value.
    pub through: Option<&'a str>,
    /// The ref that the rules are asked about.
    pub ref_name: &'a [u8],
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthenticationResult {
    /// The first commit after the policy root that is not authenticated, and why;
    /// `None`: the tip is authenticated.
    pub refused: Option<(String, Vec<Finding>)>,
    /// What does not refuse, by commit; at most [`MAX_WARNINGS`].
    pub warnings: Vec<(String, Finding)>,
    /// How many commits were judged.
    pub judged: usize,
    /// How many policies were read.
    pub policies: usize,
    /// Merges whose signer took in what was not authenticated.
    pub adopted: Vec<String>,
}

impl AuthenticationResult {
    /// Whether the tip is authenticated.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.refused.is_none()
    }
}

/// Whether the tip is authenticated from the policy root.
///
/// # Errors
/// A fact is missing, or the history is too long. Neither is a yes.
pub fn authenticate(
    question: &AuthenticationRequest<'_>,
    history: &mut dyn CommitSource,
) -> Result<AuthenticationResult, WalkError> {
    let mut walk = Walk {
        history,
        ref_name: question.ref_name,
        states: HashMap::new(),
        line: HashSet::new(),
        looked_at: 0,
        policies: HashMap::new(),
        kept: 0,
        answer: AuthenticationResult::default(),
    };
    let refused = walk.answer(question)?;
    let mut answer = walk.answer;
    answer.refused = refused;
    Ok(answer)
}

#[derive(Debug, Clone)]
enum State {
    /// Being decided.
    Open,
    Authenticated,
    /// With the reason in words, for who builds on it.
    Refused(Rc<str>),
}

enum Step {
    /// Find out about a commit.
    Visit(String),
    /// Its first parent is decided.
    Judge { commit: String, first: String },
    /// All its parents are decided; it is allowed if they are.
    Join {
        commit: String,
        others: Vec<String>,
        adoption: Vec<Finding>,
    },
}

type Parsed = Result<Rc<Policy>, Finding>;
type Refusal = Option<(String, Vec<Finding>)>;

struct Walk<'a> {
    history: &'a mut dyn CommitSource,
    ref_name: &'a [u8],
    states: HashMap<String, State>,
    /// The line of first parents from the tip to the policy root.
    line: HashSet<String>,
    looked_at: usize,
    policies: HashMap<String, Parsed>,
    kept: usize,
    answer: AuthenticationResult,
}

impl Walk<'_> {
    fn answer(&mut self, question: &AuthenticationRequest<'_>) -> Result<Refusal, WalkError> {
        let (root, tip) = (question.root, question.tip);
        if let Err(finding) = self.policy_at(root)? {
            return Ok(Some((root.to_owned(), vec![finding])));
        }
        let Some(line) = self.first_parents(tip, root)? else {
            return Ok(Some((
                tip.to_owned(),
                vec![refusal(
                    codes::NOT_DESCENDED,
                    format!("the policy root {root} is not on its line of first parents"),
                    Some("git merge --no-ff on the branch keeps it its first parent; or name a policy root on this line".to_owned()),
                )],
            )));
        };
        if let Some(through) = question.through
            && through != root
            && !line.iter().any(|commit| commit == through)
        {
            return Ok(Some((
                tip.to_owned(),
                vec![refusal(
                    codes::NOT_DESCENDED,
                    format!("the ref's old value {through} is not on its line of first parents"),
                    Some(
                        "git pull --rebase, or merge into the branch and not the branch into yours"
                            .to_owned(),
                    ),
                )],
            )));
        }
        self.states.insert(root.to_owned(), State::Authenticated);
        self.line = line.iter().cloned().collect();
        for commit in line {
            if self.history.is_accepted(&commit) {
                self.states.insert(commit, State::Authenticated);
                continue;
            }
            if let Some(findings) = self.decide(&commit)? {
                return Ok(Some((commit, findings)));
            }
        }
        Ok(None)
    }

    /// The line of first parents from the commit after the root to the tip.
    fn first_parents(&mut self, tip: &str, root: &str) -> Result<Option<Vec<String>>, WalkError> {
        let mut line = Vec::new();
        let mut at = tip.to_owned();
        while at != root {
            self.look()?;
            let first = self.history.parents(&at)?.into_iter().next();
            line.push(at);
            match first {
                Some(first) => at = first,
                None => return Ok(None),
            }
        }
        line.reverse();
        Ok(Some(line))
    }

    fn look(&mut self) -> Result<(), WalkError> {
        self.looked_at = self.looked_at.saturating_add(1);
        if self.looked_at > MAX_COMMITS.saturating_mul(2) {
            return Err(WalkError::TooLong);
        }
        Ok(())
    }

    /// Decides a commit and all that it depends on, without recursion. The
    /// findings are those of the commit itself.
    fn decide(&mut self, commit: &str) -> Result<Option<Vec<Finding>>, WalkError> {
        let mut last = None;
        let mut steps = vec![Step::Visit(commit.to_owned())];
        while let Some(step) = steps.pop() {
            match step {
                Step::Visit(commit) => {
                    if self.states.contains_key(&commit) {
                        continue;
                    }
                    self.look()?;
                    if self.history.is_accepted(&commit) {
                        self.states.insert(commit, State::Authenticated);
                        continue;
                    }
                    match self.history.parents(&commit)?.into_iter().next() {
                        None => {
                            let why = "it does not descend from the policy root";
                            self.states.insert(commit, State::Refused(why.into()));
                        }
                        Some(first) => {
                            self.states.insert(commit.clone(), State::Open);
                            steps.push(Step::Judge {
                                commit,
                                first: first.clone(),
                            });
                            steps.push(Step::Visit(first));
                        }
                    }
                }
                Step::Judge { commit, first } => {
                    let why: Option<Rc<str>> = match self.states.get(&first) {
                        Some(State::Authenticated) => None,
                        Some(State::Refused(why)) => Some(Rc::clone(why)),
                        Some(State::Open) | None => Some("it descends from itself".into()),
                    };
                    if let Some(why) = why {
                        last = Some((commit.clone(), vec![parent(&first, &why)]));
                        self.states.insert(commit, State::Refused(why));
                        continue;
                    }
                    let (findings, join) = self.judge(&commit, &first)?;
                    if findings.iter().any(Finding::refuses) {
                        let why = told(&commit, &findings);
                        self.states.insert(commit.clone(), State::Refused(why));
                        last = Some((commit, findings));
                        continue;
                    }
                    self.warn(&commit, findings);
                    match join {
                        Some((others, adoption)) => {
                            let visits: Vec<Step> =
                                others.iter().cloned().map(Step::Visit).collect();
                            steps.push(Step::Join {
                                commit,
                                others,
                                adoption,
                            });
                            steps.extend(visits);
                        }
                        None => {
                            self.states.insert(commit, State::Authenticated);
                        }
                    }
                }
                Step::Join {
                    commit,
                    others,
                    adoption,
                } => match self.join(&others, adoption) {
                    Some(findings) => {
                        let why = told(&commit, &findings);
                        self.states.insert(commit.clone(), State::Refused(why));
                        last = Some((commit, findings));
                    }
                    None => {
                        self.states.insert(commit, State::Authenticated);
                    }
                },
            }
        }
        match self.states.get(commit) {
            Some(State::Authenticated) => Ok(None),
            _ => Ok(Some(match last {
                Some((of, findings)) if of == commit => findings,
                _ => vec![refusal(
                    codes::PARENT,
                    "its history is not authenticated".to_owned(),
                    None,
                )],
            })),
        }
    }

    /// Judges a commit by the policy of its first parent. For a merge that may
    /// not adopt: its other parents, and what refuses the adoption.
    #[allow(clippy::type_complexity)]
    fn judge(
        &mut self,
        commit: &str,
        first: &str,
    ) -> Result<(Vec<Finding>, Option<(Vec<String>, Vec<Finding>)>), WalkError> {
        let policy = match self.policy_at(first)? {
            Ok(policy) => policy,
            Err(finding) => return Ok((vec![finding], None)),
        };
        self.answer.judged = self.answer.judged.saturating_add(1);
        let direct = self.line.contains(commit);
        let mut facts = self.history.commit(commit)?;
        let changes_policy = self.history.policy_id(commit)? != self.history.policy_id(first)?;
        // What the trees say goes before a list of paths that leaves it out.
        if changes_policy && !facts.paths.iter().any(|path| is_policy(&path.path)) {
            facts
                .paths
                .push(ChangedPath::changed(POLICY_PATH.as_bytes()));
        }
        let view = facts.view(direct);
        let mut findings = policy.evaluate_commit(&view, self.ref_name);
        if changes_policy && let Err(finding) = self.policy_at(commit)? {
            findings.push(finding);
        }
        if findings.iter().any(Finding::refuses) {
            return Ok((findings, None));
        }
        if policy.has_thresholds(self.ref_name) && direct {
            findings.extend(self.thresholds(&policy, &facts)?);
        }
        let others: Vec<String> = facts.parents.get(1..).unwrap_or_default().to_vec();
        if others.is_empty() {
            return Ok((findings, None));
        }
        let adoption = policy.evaluate_adoption(&view, self.ref_name);
        if adoption.iter().any(Finding::refuses) {
            return Ok((findings, Some((others, adoption))));
        }
        let is_known =
            |other: &String| matches!(self.states.get(other), Some(State::Authenticated));
        if !others.iter().all(is_known) && self.answer.adopted.len() < MAX_WARNINGS {
            self.answer.adopted.push(commit.to_owned());
        }
        Ok((findings, None))
    }

    fn thresholds(
        &mut self,
        policy: &Policy,
        facts: &CommitFacts,
    ) -> Result<Vec<Finding>, WalkError> {
        let mut own = facts.clone();
        policy.retain_threshold_paths(&mut own, self.ref_name);
        let mut set = vec![own];
        if facts.parents.len() > 1 {
            let brought = self
                .history
                .merged_commits(&facts.id, MAX_BROUGHT.saturating_add(1))?;
            if brought.len() > MAX_BROUGHT {
                return Ok(vec![refusal(
                    codes::THRESHOLD,
                    format!(
                        "the merge brings more than {MAX_BROUGHT} commits, too many to count who signed them"
                    ),
                    None,
                )]);
            }
            for commit in brought.iter().filter(|commit| **commit != facts.id) {
                let mut one = self.history.commit(commit)?;
                policy.retain_threshold_paths(&mut one, self.ref_name);
                set.push(one);
            }
        }
        let views: Vec<_> = set.iter().map(|facts| facts.view(false)).collect();
        Ok(policy
            .evaluate_thresholds(&views, self.ref_name)
            .into_iter()
            .map(|(commit, mut finding)| {
                if commit != facts.id {
                    finding.message = format!("{commit}: {}", finding.message);
                }
                finding
            })
            .collect())
    }

    /// Why a merge that may not adopt is refused, if it is.
    fn join(&self, others: &[String], adoption: Vec<Finding>) -> Option<Vec<Finding>> {
        let unknown = others
            .iter()
            .find_map(|other| match self.states.get(other) {
                Some(State::Authenticated) => None,
                Some(State::Refused(why)) => Some(parent(other, why)),
                Some(State::Open) | None => Some(parent(other, "it descends from this commit")),
            })?;
        Some(std::iter::once(unknown).chain(adoption).collect())
    }

    fn warn(&mut self, commit: &str, findings: Vec<Finding>) {
        for finding in findings {
            if self.answer.warnings.len() < MAX_WARNINGS {
                self.answer.warnings.push((commit.to_owned(), finding));
            }
        }
    }

    /// The policy in a commit's tree, parsed once for each blob.
    fn policy_at(&mut self, commit: &str) -> Result<Parsed, WalkError> {
        let Some(blob) = self.history.policy_id(commit)? else {
            return Ok(Err(refusal(
                codes::POLICY_MISSING,
                format!("there is no {POLICY_PATH} in the tree of {commit}"),
                Some(
                    "gitseal policy init makes one; a policy root is a commit that has it"
                        .to_owned(),
                ),
            )));
        };
        if let Some(parsed) = self.policies.get(&blob) {
            return Ok(parsed.clone());
        }
        let bytes = self.history.policy_text(&blob)?;
        self.answer.policies = self.answer.policies.saturating_add(1);
        let unreadable = |why: String| {
            refusal(
                codes::POLICY_UNREADABLE,
                format!("the policy of {commit} cannot be read: {why}"),
                Some("gitseal policy check shows every mistake in it".to_owned()),
            )
        };
        let parsed = match std::str::from_utf8(&bytes) {
            Err(_) => Err(unreadable("it is not UTF-8".to_owned())),
            Ok(text) => Policy::parse(text, POLICY_PATH)
                .map(Rc::new)
                .map_err(|errors| {
                    let first = errors.errors.first();
                    unreadable(first.map_or_else(String::new, |error| {
                        format!("line {}: {}", error.line, error.message)
                    }))
                }),
        };
        if self.kept.saturating_add(bytes.len()) > MAX_POLICIES {
            self.policies.clear();
            self.kept = 0;
        }
        self.kept = self.kept.saturating_add(bytes.len());
        self.policies.insert(blob, parsed.clone());
        Ok(parsed)
    }
}

fn refusal(code: &'static str, message: String, hint: Option<String>) -> Finding {
    Finding {
        rule: String::new(),
        mode: EnforcementMode::Enforce,
        code,
        message,
        hint,
    }
}

fn parent(id: &str, why: &str) -> Finding {
    refusal(
        codes::PARENT,
        format!("its parent {id} is not authenticated: {why}"),
        None,
    )
}

fn told(commit: &str, findings: &[Finding]) -> Rc<str> {
    let first = findings.iter().find(|finding| finding.refuses());
    first
        .map_or_else(String::new, |finding| {
            format!("{commit}: {} [{}]", finding.message, finding.code)
        })
        .into()
}

#[cfg(test)]
#[path = "walk/tests.rs"]
mod tests;
