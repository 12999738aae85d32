//! Evaluates one commit, one tag or one ref update against a policy.
//!
//! An action is allowed if at least one rule matches it and every rule that matches
//! it allows it. A rule matches an action if it has the action's key, its `refs`
//! match the ref, it is not on trial, and it has no `paths` or speaks of a path that
//! is changed. Each changed path must be matched as it is spelled. So the order of
//! rules has no meaning, and adding a rule never removes a requirement of another
//! one.
//!
//! *Not checked here:* which policy applies and what a ref gains (`steps.rs`).

use super::{
    facts::{Action, ChangedPath, EnforcementMode, Finding, codes},
    model::{Policy, Principals, Rule},
};
use gitseal_evidence::UnixTime;

mod refs;
mod signature;

pub(crate) use signature::ObjectContext;

impl Policy {
    // ---------------------------------------------------------- matching rules

    /// Returns the rules that speak of an action, those on trial or the others.
    fn matching_rules<'p>(
        &'p self,
        action: Action,
        paths: &[&ChangedPath],
        ref_name: &[u8],
        trial: bool,
    ) -> Vec<(&'p Rule, &'p Principals)> {
        self.rules
            .iter()
            .filter(|rule| rule.trial == trial && rule.matches_ref(ref_name))
            .filter(|rule| rule.paths.is_none() || paths.iter().any(|path| rule.speaks_of(path)))
            .filter_map(|rule| Some((rule, rule.may.get(&action)?)))
            .collect()
    }

    /// Evaluates one action on some paths by every rule that matches.
    pub(crate) fn evaluate(
        &self,
        action: Action,
        paths: &[&ChangedPath],
        ref_name: &[u8],
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let matching = self.matching_rules(action, paths, ref_name, false);
        if matching.is_empty() {
            add(findings, self.no_rule(action, ref_name));
            return;
        }
        // Where a rule excludes another spelling, or what is below a link, it needs one
        // that speaks of that.
        let is_unmatched = |path: &&&ChangedPath| {
            let any = |holds: &dyn Fn(&Rule) -> bool| matching.iter().any(|(rule, _)| holds(rule));
            let is_named = || any(&|rule| rule.matches_path(&path.path));
            let is_another = || any(&|rule| rule.speaks_of(path) && !rule.matches_path(&path.path));
            !(any(&|rule| rule.covers(path)) || is_named() && is_another())
        };
        let mut unmatched = paths.iter().filter(is_unmatched);
        if let Some(first) = unmatched.next() {
            add(
                findings,
                self.no_rule_for_path(action, first, unmatched.count()),
            );
        }
        for (rule, who) in matching {
            let path = spoken_path(rule, paths);
            self.evaluate_signature(rule, who, action, path, context, findings);
        }
    }

    /// Adds what rules on trial would refuse, as warnings.
    pub(crate) fn evaluate_trials(
        &self,
        action: Action,
        paths: &[&ChangedPath],
        ref_name: &[u8],
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let mut trials = Vec::new();
        for (rule, who) in self.matching_rules(action, paths, ref_name, true) {
            let path = spoken_path(rule, paths);
            self.evaluate_signature(rule, who, action, path, context, &mut trials);
        }
        findings.extend(trials.into_iter().map(Finding::on_trial));
    }

    fn no_rule_for_path(&self, action: Action, path: &ChangedPath, more: usize) -> Finding {
        let more = match more {
            0 => String::new(),
            1 => " (and 1 more path)".to_owned(),
            others => format!(" (and {others} more paths)"),
        };
        let (phrase, path) = (action.phrase(), String::from_utf8_lossy(&path.path));
        let message = format!("no rule allows anyone to {phrase} in {path}{more}");
        let key = action.key();
        let policy_hint = format!("add a rule whose paths match, with {key} = [\"…\"]");
        Finding {
            policy_hint: Some(policy_hint),
            ..Finding::new(self.mode, codes::PATH_NO_RULE, message)
        }
    }

    fn no_rule(&self, action: Action, ref_name: &[u8]) -> Finding {
        let name = String::from_utf8_lossy(ref_name);
        let (message, hint) = match action {
            Action::Rewrite if ref_name.starts_with(b"refs/heads/") => (
                format!("{name} may not be force-pushed"),
                Some("run 'git pull --rebase', then push without --force"),
            ),
            Action::Rewrite => (format!("{name} may not be force-pushed"), None),
            Action::Delete => (format!("{name} may not be deleted"), None),
            Action::Create => (
                format!("creating {name} is not allowed"),
                Some("push to another name, or ask the repository's administrators"),
            ),
            _ => {
                let phrase = action.phrase();
                (format!("no rule allows anyone to {phrase} on {name}"), None)
            }
        };
        let key = action.key();
        Finding {
            hint: hint.map(str::to_owned),
            policy_hint: Some(format!("add a rule about {name} with {key} = [\"…\"]")),
            ..Finding::new(self.mode, codes::NO_RULE, message)
        }
    }

    /// Returns a finding of a rule, with the rule's help.
    fn finding(&self, rule: &Rule, code: &'static str, message: String) -> Finding {
        Finding {
            rule: rule.name.clone(),
            help: rule.help.clone(),
            ..Finding::new(self.mode, code, message)
        }
    }
}

/// Returns the first path that a rule with `paths` speaks of.
fn spoken_path<'p>(rule: &Rule, paths: &[&'p ChangedPath]) -> Option<&'p ChangedPath> {
    let mut spoken = paths.iter().filter(|path| rule.speaks_of(path));
    spoken.next().copied().filter(|_| rule.paths.is_some())
}

/// Adds a finding unless an equal one exists. An error replaces a warning.
fn add(findings: &mut Vec<Finding>, finding: Finding) {
    let same = findings
        .iter_mut()
        .find(|other| other.code == finding.code && other.message == finding.message);
    match same {
        Some(other) if other.mode < finding.mode => *other = finding,
        Some(_) => {}
        None => findings.push(finding),
    }
}

impl Finding {
    /// Makes the finding refuse, whatever the mode of the policy is.
    pub(crate) fn enforced(mut self) -> Self {
        self.mode = EnforcementMode::Enforce;
        self
    }

    /// Makes the finding one of a rule on trial.
    pub(crate) fn on_trial(mut self) -> Self {
        self.mode = EnforcementMode::Warn;
        self.message.insert_str(0, "on trial: ");
        self
    }

    /// Makes a finding about the commits of a merge one about adopting them.
    pub(crate) fn of_adoption(mut self) -> Self {
        self.code = codes::ADOPT_NEEDS_COMMIT;
        self.message
            .insert_str(0, "adopting takes the right to commit: ");
        self
    }
}

/// Formats an age in the largest unit that divides it.
pub(super) fn age_text(seconds: i64) -> String {
    let (unit, name) = [(604_800, "week"), (86_400, "day"), (3_600, "hour")]
        .into_iter()
        .find(|(unit, _)| seconds.checked_rem(*unit) == Some(0))
        .unwrap_or((1, "second"));
    match seconds.checked_div(unit).unwrap_or(seconds) {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

/// Formats a time as RFC 3339.
pub(super) fn time(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}

#[cfg(test)]
#[path = "evaluate/tests.rs"]
pub(crate) mod tests;
