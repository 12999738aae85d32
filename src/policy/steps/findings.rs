//! Findings, and where they are kept.

use super::{Found, Judged, MAX_ADOPTED, MAX_FINDINGS, Subject, gains::Step};
use crate::{
    facts::{Action, EnforcementMode, Finding, POLICY_FOLDER, UpdateKind, codes},
    model::Policy,
};

pub(super) fn about<I: Copy>(commit: I, step: &Step<I>) -> Subject<I> {
    Subject::Commit {
        commit,
        step: step.tip,
    }
}

/// Returns the names of those who may adopt what a reference gains.
pub(super) fn may_adopt(policy: &Policy, name: &[u8]) -> Vec<String> {
    may(policy, Action::Adopt, name)
}

/// Returns the signers whom every rule that speaks of an action allows it.
pub(super) fn may(policy: &Policy, action: Action, name: &[u8]) -> Vec<String> {
    let rules: Vec<_> = policy.speaking(action, name).collect();
    match rules.as_slice() {
        [] => Vec::new(),
        [(_, who)] if !who.signers.is_empty() => who.names.clone(),
        [(_, first), others @ ..] => {
            let all = others
                .iter()
                .fold(first.signers.clone(), |all, (_, who)| all.and(&who.signers));
            let signers = all.iter().filter_map(|one| policy.signers.get(one));
            signers.map(|signer| signer.name.clone()).collect()
        }
    }
}

pub(super) fn enforced(code: &'static str, message: impl Into<String>) -> Finding {
    Finding::new(EnforcementMode::Enforce, code, message)
}

pub(super) fn policy_namesake(commit: &impl std::fmt::Display, name: &str) -> Finding {
    let message = format!(
        "the tree of commit {commit} contains {name:?}, which some file systems read as {POLICY_FOLDER}"
    );
    let hint = "remove it from the tree, and sign the commit again";
    enforced(codes::POLICY_UNREADABLE, message).with_hint(hint)
}

pub(super) fn not_descended(root: &impl std::fmt::Display) -> Finding {
    let message = format!("the policy root {root} is not in the first-parent history");
    let hint = "merge into the branch with 'git merge --no-ff', not the branch into yours; or set a policy root in this history";
    enforced(codes::NOT_DESCENDED, message).with_hint(hint)
}

pub(super) fn not_a_state(
    policy: &Policy,
    name: &[u8],
    commit: &impl std::fmt::Display,
) -> Finding {
    let name = String::from_utf8_lossy(name);
    let message = format!(
        "commit {commit} is not on the first-parent history of a branch that {name} may be made from"
    );
    Finding {
        policy_hint: Some(format!(
            "name the branch in the rule about {name}: from = [\"refs/heads/…\"]"
        )),
        ..Finding::new(policy.mode, codes::NOT_A_STATE, message)
    }
    .with_hint("push the commit to that branch first, then the tag")
}

impl<I: Copy + Eq> Judged<I> {
    /// Returns the result of a change of which nothing is judged yet.
    #[must_use]
    pub fn new(kind: UpdateKind) -> Self {
        Self {
            kind,
            base: None,
            gained: 0,
            judged: 0,
            adopted: Vec::new(),
            findings: Vec::new(),
            more: 0,
            is_refused: false,
        }
    }

    /// Adds a finding, unless it is there (a rewrite is judged by two policies).
    pub(super) fn add(&mut self, about: Subject<I>, finding: Finding, may_merge: &[String]) {
        self.is_refused |= finding.refuses();
        if self.findings.len() >= MAX_FINDINGS {
            self.more = self.more.saturating_add(1);
            return;
        }
        let found = Found {
            about,
            finding,
            may_merge: may_merge.to_vec(),
        };
        if !self.findings.contains(&found) {
            self.findings.push(found);
        }
    }

    pub(super) fn adopt(&mut self, commit: I, by: I) {
        if self.adopted.len() < MAX_ADOPTED && !self.adopted.contains(&(commit, by)) {
            self.adopted.push((commit, by));
        }
    }
}
