//! The versions of the policy that one run reads, each parsed once.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::{History, MAX_POLICIES, MAX_POLICY_BYTES, StepsError};
use crate::{
    facts::{EnforcementMode, Finding, POLICY_PATH, codes},
    model::Policy,
};

/// The name of the policy in its directory.
const FILE: &str = "policy.toml";

/// A version of the policy, equal to another if it is the same directory.
#[derive(Debug, Clone)]
pub(super) struct Version {
    /// Its place among those that were read.
    pub number: usize,
    pub policy: Rc<Policy>,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// What is known of the policies of a history.
pub(crate) struct Versions<I> {
    read: usize,
    /// By the id of the directory: the version, or why there is none.
    by_tree: HashMap<I, Result<Version, Finding>>,
    bytes: usize,
}

impl<I: Copy + Eq + std::hash::Hash + std::fmt::Display> Versions<I> {
    pub(crate) fn new() -> Self {
        Self {
            read: 0,
            by_tree: HashMap::new(),
            bytes: 0,
        }
    }

    /// Adds a policy that is not read from a commit.
    pub(super) fn add(&mut self, policy: Rc<Policy>) -> Version {
        let number = self.read;
        self.read = number.saturating_add(1);
        Version { number, policy }
    }

    /// Returns the version in a commit's tree, or the finding if it has none that can
    /// be used.
    pub(super) fn at<H: History<Id = I>>(
        &mut self,
        commit: I,
        history: &mut H,
    ) -> Result<Result<Version, Finding>, StepsError<H::Error>> {
        let Some(tree) = history.policy_tree(commit)? else {
            return Ok(Err(missing(&commit)));
        };
        if let Some(known) = self.by_tree.get(&tree) {
            return Ok(known.clone());
        }
        if self.by_tree.len() >= MAX_POLICIES {
            return Err(StepsError::TooMuch {
                most: MAX_POLICIES,
                what: "versions of the policy",
            });
        }
        let version = match self.parse(tree, commit, history)? {
            Ok(policy) => Ok(self.add(Rc::new(policy))),
            Err(finding) => Err(finding),
        };
        self.by_tree.insert(tree, version.clone());
        Ok(version)
    }

    fn parse<H: History<Id = I>>(
        &mut self,
        tree: I,
        commit: I,
        history: &mut H,
    ) -> Result<Result<Policy, Finding>, StepsError<H::Error>> {
        let Some(text) = self.text(tree, FILE, history)? else {
            return Ok(Err(missing(&commit)));
        };
        let parsed = match text {
            Err(reason) => Err(reason),
            Ok(text) => {
                // The parser asks for the files that the policy includes.
                let state = RefCell::new((&mut *self, history, None));
                let parsed = Policy::parse_with(&text, POLICY_PATH, &|name| {
                    let (versions, history, failed) = &mut *state.borrow_mut();
                    match versions.text(tree, name, *history) {
                        Ok(Some(text)) => text,
                        Ok(None) => Err("no such file in .gitseal".to_owned()),
                        Err(error) => {
                            *failed = Some(error);
                            Err("it cannot be read".to_owned())
                        }
                    }
                });
                if let (.., Some(error)) = state.into_inner() {
                    return Err(error);
                }
                let parsed = parsed.map_err(|errors| {
                    let first = errors.errors.first();
                    first.map_or_else(String::new, |error| {
                        let file = error.file.as_deref().unwrap_or(FILE);
                        format!("{file}, line {}: {}", error.line, error.message)
                    })
                });
                parsed.and_then(without_accounts)
            }
        };
        Ok(parsed.map_err(|reason| {
            let message = format!("cannot read the policy in commit {commit}: {reason}");
            let hint = "'gitseal policy check' shows every error in it";
            Finding::new(EnforcementMode::Enforce, codes::POLICY_UNREADABLE, message)
                .with_hint(hint)
        }))
    }

    /// Returns the text of a file of the policy, or why it is not text.
    #[allow(clippy::type_complexity)]
    fn text<H: History<Id = I>>(
        &mut self,
        tree: I,
        name: &str,
        history: &mut H,
    ) -> Result<Option<Result<String, String>>, StepsError<H::Error>> {
        let Some(bytes) = history.policy_file(tree, name)? else {
            return Ok(None);
        };
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > MAX_POLICY_BYTES {
            return Err(StepsError::TooMuch {
                most: MAX_POLICY_BYTES,
                what: "bytes of versions of the policy",
            });
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"));
        Ok(Some(text))
    }
}

/// A clone knows no accounts, so that a key about them would change what it verifies.
fn without_accounts(policy: Policy) -> Result<Policy, String> {
    match policy.rules.iter().find(|rule| rule.merge_by_account) {
        None => Ok(policy),
        Some(rule) => Err(format!(
            "rule {:?} has merge-by-account, which only a policy file on the server can have",
            rule.name
        )),
    }
}

fn missing(commit: &impl std::fmt::Display) -> Finding {
    let message = format!("commit {commit} has no {POLICY_PATH}");
    let hint = "'gitseal policy init' creates one; a policy root is a commit that contains it";
    Finding::new(EnforcementMode::Enforce, codes::POLICY_MISSING, message).with_hint(hint)
}
