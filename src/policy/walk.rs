//! Evaluates a history by its own policies: each commit by the policy in the tree of
//! its first parent, from a commit that the user trusts.
//!
//! A commit is **authenticated** if it is the policy root, or if
//!
//! 1. its first parent is authenticated,
//! 2. the policy in its first parent's tree allows it, thresholds included,
//! 3. each of its other parents is authenticated too, or that policy lets the signer
//!    of the merge `adopt` unauthenticated history, and
//! 4. its own policy has no errors.
//!
//! The policy of a commit never applies to that commit itself. `docs/policy.md`
//! describes the consequences.
//!
//! *Not checked here:* which policy root is the right one (the user sets it), and
//! ref updates (`evaluate.rs`).

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
    rc::Rc,
};

use super::{
    evaluate::is_policy,
    facts::{ChangedPath, CommitFacts, EnforcementMode, Finding, POLICY_PATH, codes},
    model::Policy,
};

/// The maximum number of commits that are visited.
pub const MAX_COMMITS: usize = 1_000_000;
/// The maximum number of commits of one merge, where a threshold counts them.
pub const MAX_BROUGHT: usize = 10_000;
/// The maximum size of policy text that is cached in parsed form, in bytes.
pub const MAX_POLICIES: usize = 16 * 1024 * 1024;
/// The maximum number of warnings that are stored.
pub const MAX_WARNINGS: usize = 1_000;

/// Access to the commits of a repository.
pub trait CommitSource {
    /// An object id.
    type Id: Clone + Eq + Hash + Display;
    /// The error if an object cannot be read.
    type Error;

    /// Returns the parents of a commit, the first one first.
    ///
    /// # Errors
    /// Returns an error if the commit cannot be read.
    fn parents(&mut self, commit: &Self::Id) -> Result<Vec<Self::Id>, Self::Error>;

    /// Returns the id of the blob at `.gitseal/policy.toml` in a commit's tree.
    ///
    /// # Errors
    /// Returns an error if the commit or its tree cannot be read, or if the path is
    /// not an ordinary file (but a link, a directory or a submodule).
    fn policy_id(&mut self, commit: &Self::Id) -> Result<Option<Self::Id>, Self::Error>;

    /// Returns the bytes of such a blob.
    ///
    /// # Errors
    /// Returns an error if the blob cannot be read.
    fn policy_text(&mut self, blob: &Self::Id) -> Result<Vec<u8>, Self::Error>;

    /// Returns a commit, its verified signature and its changes.
    ///
    /// # Errors
    /// Returns an error if the commit or a tree cannot be read.
    fn commit(&mut self, commit: &Self::Id) -> Result<CommitFacts<Self::Id>, Self::Error>;

    /// Returns whether a commit was authenticated before, so that it need not be
    /// evaluated again. All of its first-parent history down to the root was, too.
    fn is_accepted(&mut self, commit: &Self::Id) -> bool {
        let _ = commit;
        false
    }

    /// Returns the commits that are reachable from a commit and not from its first
    /// parent, the commit itself included, in any order; at most about `most`.
    ///
    /// # Errors
    /// Returns an error if a commit cannot be read.
    fn merged_commits(
        &mut self,
        commit: &Self::Id,
        most: usize,
    ) -> Result<Vec<Self::Id>, Self::Error>;
}

/// Errors that stop the walk before it has a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError<E> {
    /// An object cannot be read.
    #[error(transparent)]
    Source(#[from] E),
    /// The history is longer than [`MAX_COMMITS`].
    #[error("more than {MAX_COMMITS} commits lie between the policy root and the tip")]
    TooLong,
}

/// The input of a walk.
#[derive(Debug, Clone, Copy)]
pub struct AuthenticationRequest<'a, I> {
    /// The policy root.
    pub root: &'a I,
    /// The commit to authenticate.
    pub tip: &'a I,
    /// A commit that must be in the first-parent history between them: in a push,
    /// the ref's old value.
    pub through: Option<&'a I>,
    /// The ref that rules must match.
    pub ref_name: &'a [u8],
}

/// The result of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationResult<I> {
    /// The first commit after the policy root that is not authenticated, and why;
    /// `None`: the tip is authenticated.
    pub refused: Option<(I, Vec<Finding>)>,
    /// Findings that do not refuse, by commit; at most [`MAX_WARNINGS`].
    pub warnings: Vec<(I, Finding)>,
    /// The number of commits that were evaluated.
    pub judged: usize,
    /// The number of policies that were parsed.
    pub policies: usize,
    /// Merges whose signer adopted unauthenticated history.
    pub adopted: Vec<I>,
}

impl<I> AuthenticationResult<I> {
    /// Returns whether the tip is authenticated.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.refused.is_none()
    }
}

/// Evaluates whether the tip is authenticated from the policy root.
///
/// # Errors
/// Returns [`WalkError`] if an object cannot be read or the history is too long.
/// The tip is not authenticated then.
pub fn authenticate<S: CommitSource>(
    request: &AuthenticationRequest<'_, S::Id>,
    source: &mut S,
) -> Result<AuthenticationResult<S::Id>, WalkError<S::Error>> {
    let mut walk = Walk {
        source,
        ref_name: request.ref_name,
        states: HashMap::new(),
        line: HashSet::new(),
        looked_at: 0,
        policies: HashMap::new(),
        cached: 0,
        result: AuthenticationResult {
            refused: None,
            warnings: Vec::new(),
            judged: 0,
            policies: 0,
            adopted: Vec::new(),
        },
    };
    let refused = walk.run(request)?;
    let mut result = walk.result;
    result.refused = refused;
    Ok(result)
}

#[derive(Debug, Clone)]
enum State {
    /// Not decided yet.
    Open,
    Authenticated,
    /// Refused, with the reason for commits built on it.
    Refused(Rc<str>),
}

enum Step<I> {
    /// Decides a commit.
    Visit(I),
    /// Evaluates a commit whose first parent is decided.
    Evaluate { commit: I, first: I },
    /// Decides a merge whose parents are decided.
    Join {
        commit: I,
        others: Vec<I>,
        adoption: Vec<Finding>,
    },
}

/// The findings of a commit, and for a merge that may not adopt: its other parents,
/// and what refuses the adoption.
type Evaluation<I> = (Vec<Finding>, Option<(Vec<I>, Vec<Finding>)>);
type Refused<I> = Option<(I, Vec<Finding>)>;
type Parsed = Result<Rc<Policy>, Finding>;

struct Walk<'a, S: CommitSource> {
    source: &'a mut S,
    ref_name: &'a [u8],
    states: HashMap<S::Id, State>,
    /// The first-parent history from the tip to the policy root.
    line: HashSet<S::Id>,
    looked_at: usize,
    policies: HashMap<S::Id, Parsed>,
    cached: usize,
    result: AuthenticationResult<S::Id>,
}

impl<S: CommitSource> Walk<'_, S> {
    fn run(
        &mut self,
        request: &AuthenticationRequest<'_, S::Id>,
    ) -> Result<Refused<S::Id>, WalkError<S::Error>> {
        let (root, tip) = (request.root, request.tip);
        if let Err(finding) = self.policy_at(root)? {
            return Ok(Some((root.clone(), vec![finding])));
        }
        let Some(line) = self.first_parents(tip, root)? else {
            let message = format!("the policy root {root} is not in the first-parent history");
            let hint = "merge into the branch with 'git merge --no-ff', not the branch into yours; or set a policy root in this history";
            let finding = refusal(codes::NOT_DESCENDED, message).with_hint(hint);
            return Ok(Some((tip.clone(), vec![finding])));
        };
        if let Some(through) = request.through
            && through != root
            && !line.contains(through)
        {
            let message = format!(
                "the branch's current commit {through} is not in the first-parent history of this push after the policy root"
            );
            let hint = "run 'git pull --rebase', then push again; if the branch is still older than the policy root, its administrators must first bring it there";
            let finding = refusal(codes::NOT_DESCENDED, message).with_hint(hint);
            return Ok(Some((tip.clone(), vec![finding])));
        }
        self.states.insert(root.clone(), State::Authenticated);
        self.line = line.iter().cloned().collect();
        for commit in line {
            if self.source.is_accepted(&commit) {
                self.states.insert(commit, State::Authenticated);
                continue;
            }
            if let Some(findings) = self.decide(&commit)? {
                return Ok(Some((commit, findings)));
            }
        }
        Ok(None)
    }

    /// Returns the first-parent history from the commit after the root to the tip.
    fn first_parents(
        &mut self,
        tip: &S::Id,
        root: &S::Id,
    ) -> Result<Option<Vec<S::Id>>, WalkError<S::Error>> {
        let mut line = Vec::new();
        let mut at = tip.clone();
        while at != *root {
            self.look()?;
            let first = self.source.parents(&at)?.into_iter().next();
            line.push(at);
            match first {
                Some(first) => at = first,
                None => return Ok(None),
            }
        }
        line.reverse();
        Ok(Some(line))
    }

    fn look(&mut self) -> Result<(), WalkError<S::Error>> {
        self.looked_at = self.looked_at.saturating_add(1);
        if self.looked_at > MAX_COMMITS.saturating_mul(2) {
            return Err(WalkError::TooLong);
        }
        Ok(())
    }

    /// Decides a commit and everything that it depends on, without recursion. The
    /// findings are those of the commit itself.
    fn decide(&mut self, commit: &S::Id) -> Result<Option<Vec<Finding>>, WalkError<S::Error>> {
        let mut last = None;
        let mut steps = vec![Step::Visit(commit.clone())];
        while let Some(step) = steps.pop() {
            let (commit, findings) = match step {
                Step::Visit(commit) => {
                    if !self.states.contains_key(&commit) {
                        self.visit(commit, &mut steps)?;
                    }
                    continue;
                }
                Step::Evaluate { commit, first } => {
                    if let Some(reason) = self.reason(&first, "the history contains a cycle") {
                        last = Some((commit.clone(), vec![parent(&first, &reason)]));
                        self.states.insert(commit, State::Refused(reason));
                        continue;
                    }
                    let (findings, join) = self.evaluate(&commit, &first)?;
                    if findings.iter().any(Finding::refuses) {
                        (commit, findings)
                    } else {
                        self.warn(&commit, findings);
                        if let Some((others, adoption)) = join {
                            let visits: Vec<_> = others.iter().cloned().map(Step::Visit).collect();
                            steps.push(Step::Join {
                                commit,
                                others,
                                adoption,
                            });
                            steps.extend(visits);
                            continue;
                        }
                        (commit, Vec::new())
                    }
                }
                Step::Join {
                    commit,
                    others,
                    adoption,
                } => {
                    let unknown = others.iter().find_map(|other| {
                        let reason = self.reason(other, "it descends from this commit")?;
                        Some(parent(other, &reason))
                    });
                    let adoption = adoption.into_iter().filter(|_| unknown.is_some());
                    let findings = unknown.iter().cloned().chain(adoption).collect();
                    (commit, findings)
                }
            };
            let state = match findings.iter().find(|finding| finding.refuses()) {
                None => State::Authenticated,
                Some(first) => {
                    let reason = format!("{commit}: {} [{}]", first.message, first.code);
                    last = Some((commit.clone(), findings));
                    State::Refused(reason.into())
                }
            };
            self.states.insert(commit, state);
        }
        match self.states.get(commit) {
            Some(State::Authenticated) => Ok(None),
            _ => Ok(Some(match last {
                Some((of, findings)) if of == *commit => findings,
                _ => vec![refusal(codes::PARENT, "its history is not authenticated")],
            })),
        }
    }

    fn visit(
        &mut self,
        commit: S::Id,
        steps: &mut Vec<Step<S::Id>>,
    ) -> Result<(), WalkError<S::Error>> {
        self.look()?;
        if self.source.is_accepted(&commit) {
            self.states.insert(commit, State::Authenticated);
            return Ok(());
        }
        match self.source.parents(&commit)?.into_iter().next() {
            None => {
                let reason = "does not descend from the policy root";
                self.states.insert(commit, State::Refused(reason.into()));
            }
            Some(first) => {
                self.states.insert(commit.clone(), State::Open);
                let visit = Step::Visit(first.clone());
                steps.push(Step::Evaluate { commit, first });
                steps.push(visit);
            }
        }
        Ok(())
    }

    /// Returns why a commit is not authenticated. `cycle`: if it is not decided.
    fn reason(&self, commit: &S::Id, cycle: &str) -> Option<Rc<str>> {
        match self.states.get(commit) {
            Some(State::Authenticated) => None,
            Some(State::Refused(reason)) => Some(Rc::clone(reason)),
            Some(State::Open) | None => Some(cycle.into()),
        }
    }

    /// Evaluates a commit by the policy of its first parent.
    fn evaluate(
        &mut self,
        commit: &S::Id,
        first: &S::Id,
    ) -> Result<Evaluation<S::Id>, WalkError<S::Error>> {
        let policy = match self.policy_at(first)? {
            Ok(policy) => policy,
            Err(finding) => return Ok((vec![finding], None)),
        };
        self.result.judged = self.result.judged.saturating_add(1);
        let direct = self.line.contains(commit);
        let mut facts = self.source.commit(commit)?;
        let changes_policy = self.source.policy_id(commit)? != self.source.policy_id(first)?;
        // The trees take precedence over a list of paths that omits the policy.
        if changes_policy && !facts.paths.iter().any(|path| is_policy(&path.path)) {
            facts
                .paths
                .push(ChangedPath::changed(POLICY_PATH.as_bytes()));
        }
        let mut findings = policy.evaluate_commit(&facts, direct, self.ref_name);
        if changes_policy && let Err(finding) = self.policy_at(commit)? {
            findings.push(finding);
        }
        if findings.iter().any(Finding::refuses) {
            return Ok((findings, None));
        }
        if policy.has_thresholds(self.ref_name) && direct {
            findings.extend(self.thresholds(&policy, &facts)?);
        }
        let others: Vec<S::Id> = facts.parents.get(1..).unwrap_or_default().to_vec();
        if others.is_empty() {
            return Ok((findings, None));
        }
        let adoption = policy.evaluate_adoption(&facts, self.ref_name);
        if adoption.iter().any(Finding::refuses) {
            return Ok((findings, Some((others, adoption))));
        }
        let is_known = |other: &S::Id| matches!(self.states.get(other), Some(State::Authenticated));
        if !others.iter().all(is_known) && self.result.adopted.len() < MAX_WARNINGS {
            self.result.adopted.push(commit.clone());
        }
        Ok((findings, None))
    }

    fn thresholds(
        &mut self,
        policy: &Policy,
        facts: &CommitFacts<S::Id>,
    ) -> Result<Vec<Finding>, WalkError<S::Error>> {
        let mut set = vec![facts.clone()];
        if facts.is_merge() {
            let most = MAX_BROUGHT.saturating_add(1);
            let merged = self.source.merged_commits(&facts.id, most)?;
            if merged.len() > MAX_BROUGHT {
                let message = format!(
                    "the merge brings in more than {MAX_BROUGHT} commits; thresholds cannot be counted"
                );
                return Ok(vec![refusal(codes::THRESHOLD, message)]);
            }
            for commit in merged.iter().filter(|commit| **commit != facts.id) {
                let mut one = self.source.commit(commit)?;
                policy.retain_threshold_paths(&mut one, self.ref_name);
                set.push(one);
            }
        }
        let findings = policy.evaluate_thresholds(&set, self.ref_name);
        Ok(findings
            .into_iter()
            .map(|(commit, mut finding)| {
                if commit != facts.id {
                    finding.message = format!("{commit}: {}", finding.message);
                }
                finding
            })
            .collect())
    }

    fn warn(&mut self, commit: &S::Id, findings: Vec<Finding>) {
        let free = MAX_WARNINGS.saturating_sub(self.result.warnings.len());
        let warnings = findings.into_iter().take(free);
        let warnings = warnings.map(|finding| (commit.clone(), finding));
        self.result.warnings.extend(warnings);
    }

    /// Returns the policy in a commit's tree, parsed once for each blob.
    fn policy_at(&mut self, commit: &S::Id) -> Result<Parsed, WalkError<S::Error>> {
        let Some(blob) = self.source.policy_id(commit)? else {
            let message = format!("commit {commit} has no {POLICY_PATH}");
            let hint =
                "'gitseal policy init' creates one; a policy root is a commit that contains it";
            return Ok(Err(refusal(codes::POLICY_MISSING, message).with_hint(hint)));
        };
        if let Some(parsed) = self.policies.get(&blob) {
            return Ok(parsed.clone());
        }
        let bytes = self.source.policy_text(&blob)?;
        self.result.policies = self.result.policies.saturating_add(1);
        let parsed = match std::str::from_utf8(&bytes) {
            Err(_) => Err("it is not UTF-8".to_owned()),
            Ok(text) => Policy::parse(text, POLICY_PATH).map_err(|errors| {
                let first = errors.errors.first();
                first.map_or_else(String::new, |error| {
                    format!("line {}: {}", error.line, error.message)
                })
            }),
        };
        let parsed = parsed.map(Rc::new).map_err(|reason| {
            let message = format!("cannot read the policy in commit {commit}: {reason}");
            let hint = "'gitseal policy check' shows every error in it";
            refusal(codes::POLICY_UNREADABLE, message).with_hint(hint)
        });
        if self.cached.saturating_add(bytes.len()) > MAX_POLICIES {
            self.policies.clear();
            self.cached = 0;
        }
        self.cached = self.cached.saturating_add(bytes.len());
        self.policies.insert(blob, parsed.clone());
        Ok(parsed)
    }
}

fn refusal(code: &'static str, message: impl Into<String>) -> Finding {
    Finding::new(EnforcementMode::Enforce, code, message)
}

fn parent(id: &impl Display, reason: &str) -> Finding {
    let message = format!("parent {id} is not authenticated: {reason}");
    refusal(codes::PARENT, message)
}

#[cfg(test)]
#[path = "walk/tests.rs"]
mod tests;
