//! Compares two policies: who gains and who loses which permission.
//!
//! Permissions are compared by the refs and paths of rules, whatever the rules'
//! names. Groups are resolved first, so moving a signer between groups shows as its
//! effect.
//!
//! *Not checked here:* whether all rules together still allow an action
//! (`evaluate.rs` evaluates that for a commit).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    describe::{describe_requirements, describe_signer, scope},
    evaluate::age_text,
    facts::Action,
    model::{Policy, Principals, Rule},
};

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The subject gains a permission.
    Gains,
    /// The subject loses a permission.
    Loses,
    /// A signer, or a requirement of a rule, differs.
    Changes,
}

impl ChangeKind {
    /// Returns the word that reports use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gains => "gains",
            Self::Loses => "loses",
            Self::Changes => "changes",
        }
    }
}

/// One difference between two policies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyChange {
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The subject: a signer, a rule's scope, or the policy.
    pub subject: String,
    /// The change as text.
    pub message: String,
}

/// Compares two policies. The changes are ordered by kind and subject.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Vec<PolicyChange> {
    let mut changes = Vec::new();
    let mut add = |kind, subject: &str, message: String| {
        let subject = subject.to_owned();
        changes.push(PolicyChange {
            kind,
            subject,
            message,
        });
    };
    let ids = |ids: &[String]| match ids {
        [] => "none".to_owned(),
        ids => ids.join(", "),
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let contact = |policy: &Policy| or_none(policy.contact.clone());
    let age = |policy: &Policy| or_none(policy.max_age.map(age_text));
    let by = |policy: &Policy| or_none(policy.override_by.as_ref().map(|by| by.names.join(", ")));
    for (key, was, is) in [
        (
            "mode",
            old.mode.as_str().to_owned(),
            new.mode.as_str().to_owned(),
        ),
        ("contact", contact(old), contact(new)),
        ("max-age", age(old), age(new)),
        ("override", by(old), by(new)),
        ("include", ids(&old.include), ids(&new.include)),
        ("cut-off", ids(&old.cut_off), ids(&new.cut_off)),
    ] {
        if was != is {
            let message = format!("{key} {was} becomes {is}");
            add(ChangeKind::Changes, "the policy", message);
        }
    }
    let signers = old.signers.iter().chain(&new.signers);
    let names: BTreeSet<&str> = signers.map(|signer| signer.name.as_str()).collect();
    for name in names {
        let (was, is) = (old.signer(name), new.signer(name));
        let message = match (was.map(describe_signer), is.map(describe_signer)) {
            (None, Some(is)) => format!("new signer {is}"),
            (Some(was), None) => format!("no longer a signer (was {was})"),
            (Some(was), Some(is)) => format!("was {was}; is {is}"),
            (None, None) => continue,
        };
        if was != is {
            add(ChangeKind::Changes, name, message);
        }
    }
    let (were, are) = (trials(old), trials(new));
    for name in are.difference(&were) {
        add(ChangeKind::Changes, name, "on trial from now on".to_owned());
    }
    for name in were.difference(&are) {
        add(ChangeKind::Changes, name, "no longer on trial".to_owned());
    }
    let (before, after) = (scopes(old), scopes(new));
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for about in all {
        let was = before.get(about).cloned().unwrap_or_default();
        let is = after.get(about).cloned().unwrap_or_default();
        for action in Action::ALL {
            let phrase = action.phrase();
            let (had, has) = (holders(old, &was, action), holders(new, &is, action));
            for who in has.difference(&had) {
                add(ChangeKind::Gains, who, format!("may {phrase} on {about}"));
            }
            for who in had.difference(&has) {
                let message = format!("may no longer {phrase} on {about}");
                add(ChangeKind::Loses, who, message);
            }
        }
        let (was, is) = (requirements(&was), requirements(&is));
        for line in is.difference(&was) {
            add(ChangeKind::Changes, about, format!("from now on: {line}"));
        }
        for line in was.difference(&is) {
            add(ChangeKind::Changes, about, format!("no longer: {line}"));
        }
    }
    changes.sort();
    changes
}

/// Returns the rules on trial, which allow and refuse nothing.
fn trials(policy: &Policy) -> BTreeSet<String> {
    let trials = policy.rules.iter().filter(|rule| rule.trial);
    trials.map(|rule| format!("rule {}", rule.name)).collect()
}

fn scopes(policy: &Policy) -> BTreeMap<String, Vec<&Rule>> {
    let mut found: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
    for rule in policy.rules.iter().filter(|rule| !rule.trial) {
        found.entry(scope(rule)).or_default().push(rule);
    }
    found
}

/// Returns who may perform an action by all rules with the same scope: every one of
/// them must allow it.
fn holders(policy: &Policy, rules: &[&Rule], action: Action) -> BTreeSet<String> {
    let lists = rules.iter().filter_map(|rule| rule.may.get(&action));
    let held = lists
        .cloned()
        .reduce(|held, who| match (held.anyone, who.anyone) {
            (true, _) => who,
            (_, true) => held,
            _ => Principals {
                signers: held.signers.and(&who.signers),
                ..held
            },
        });
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

fn requirements(rules: &[&Rule]) -> BTreeSet<String> {
    rules
        .iter()
        .flat_map(|rule| describe_requirements(rule))
        .collect()
}
