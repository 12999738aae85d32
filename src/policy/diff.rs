//! What changes between two policies: who gains and who loses which right.
//!
//! Rights are compared rule by rule, a rule being what it is about (its refs and
//! paths), whatever its name. Groups are resolved first, so moving somebody
//! between groups shows as what it means.
//!
//! *Not checked here:* whether all rules together still leave the right
//! (`evaluate.rs` does that for a commit).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    describe::{describe_signer, scope},
    facts::Action,
    model::{Policy, Principals, Rule},
};

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// Somebody may do more.
    Gains,
    /// Somebody may do less.
    Loses,
    /// A signer, or what a rule asks for, is another.
    Changes,
}

impl ChangeKind {
    /// The word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gains => "gains",
            Self::Loses => "loses",
            Self::Changes => "changes",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyChange {
    /// Which kind.
    pub kind: ChangeKind,
    /// Who or what: a signer, a rule's scope, the policy.
    pub subject: String,
    /// In words.
    pub message: String,
}

/// Everything that differs, ordered by kind and subject.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Vec<PolicyChange> {
    let mut changes = Vec::new();
    let mut say = |kind, subject: &str, message: String| {
        changes.push(PolicyChange {
            kind,
            subject: subject.to_owned(),
            message,
        });
    };
    if old.mode != new.mode {
        say(
            ChangeKind::Changes,
            "the policy",
            format!("mode {} becomes {}", old.mode.as_str(), new.mode.as_str()),
        );
    }
    if old.cut_off != new.cut_off {
        let ids = |ids: &[String]| match ids {
            [] => "none".to_owned(),
            ids => ids.join(", "),
        };
        say(
            ChangeKind::Changes,
            "the policy",
            format!(
                "cut-off {} becomes {}",
                ids(&old.cut_off),
                ids(&new.cut_off)
            ),
        );
    }
    let names: BTreeSet<&str> = [old, new]
        .iter()
        .flat_map(|policy| &policy.signers)
        .map(|signer| signer.name.as_str())
        .collect();
    for name in names {
        match (old.signer(name), new.signer(name)) {
            (None, Some(signer)) => say(
                ChangeKind::Changes,
                name,
                format!("new signer {}", describe_signer(signer)),
            ),
            (Some(signer), None) => say(
                ChangeKind::Changes,
                name,
                format!("no signer any more (was {})", describe_signer(signer)),
            ),
            (Some(was), Some(is)) if was != is => say(
                ChangeKind::Changes,
                name,
                format!("was {}; is {}", describe_signer(was), describe_signer(is)),
            ),
            _ => {}
        }
    }
    for bot in &new.bots {
        if !old.bots.contains(bot) {
            say(
                ChangeKind::Changes,
                &bot.name,
                "new or other bot, known by its own word".to_owned(),
            );
        }
    }
    let (before, after) = (scopes(old), scopes(new));
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for about in all {
        let none = Vec::new();
        let was = before.get(about).unwrap_or(&none);
        let is = after.get(about).unwrap_or(&none);
        for action in Action::ALL {
            let (had, has) = (holders(old, was, action), holders(new, is, action));
            for who in has.difference(&had) {
                say(
                    ChangeKind::Gains,
                    who,
                    format!("may {} on {about}", action.phrase()),
                );
            }
            for who in had.difference(&has) {
                say(
                    ChangeKind::Loses,
                    who,
                    format!("may no longer {} on {about}", action.phrase()),
                );
            }
        }
        let (asked, asks) = (further(old, was), further(new, is));
        for line in asks.difference(&asked) {
            say(ChangeKind::Changes, about, format!("from now on: {line}"));
        }
        for line in asked.difference(&asks) {
            say(ChangeKind::Changes, about, format!("no longer: {line}"));
        }
    }
    changes.sort();
    changes
}

fn scopes(policy: &Policy) -> BTreeMap<String, Vec<&Rule>> {
    let mut found: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
    for rule in &policy.rules {
        found.entry(scope(rule)).or_default().push(rule);
    }
    found
}

/// Who may, by all rules about the same: every one of them must allow it.
fn holders(policy: &Policy, rules: &[&Rule], action: Action) -> BTreeSet<String> {
    let mut lists = rules.iter().filter_map(|rule| rule.may.get(&action));
    let Some(first) = lists.next() else {
        return BTreeSet::new();
    };
    let mut held: Option<Principals> = None;
    for who in std::iter::once(first).chain(lists) {
        held = Some(match held {
            None => who.clone(),
            Some(held) if held.anyone => who.clone(),
            Some(held) if who.anyone => held,
            Some(held) => Principals {
                signers: held.signers.and(&who.signers),
                ..held
            },
        });
    }
    let Some(who) = held else {
        return BTreeSet::new();
    };
    if who.anyone {
        return BTreeSet::from(["anyone".to_owned()]);
    }
    who.signers
        .iter()
        .filter_map(|one| policy.signers.get(one))
        .map(|signer| signer.name.clone())
        .collect()
}

fn further(policy: &Policy, rules: &[&Rule]) -> BTreeSet<String> {
    rules
        .iter()
        .flat_map(|rule| {
            let mut lines = policy.describe_requirements(rule);
            lines.push(format!("mode {}", rule.mode.as_str()));
            lines
        })
        .collect()
}
