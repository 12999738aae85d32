//! Describes a policy as text, for `gitseal policy describe`.
//!
//! *Not checked here:* whether the policy is wise (`lint.rs`).

use std::fmt::Write as _;

use super::{
    evaluate::{age_text, time},
    facts::Action,
    model::{Condition, Policy, Principals, Rule, Signer},
};

impl Policy {
    /// Describes the whole policy. Values from the file are in it verbatim: escape it
    /// before it is printed.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut out = format!(
            "Anything not allowed by a rule is rejected. Mode: {}.\n",
            self.mode.as_str()
        );
        if let Some(contact) = &self.contact {
            let _ = writeln!(out, "Contact: {contact}");
        }
        if let Some(age) = self.max_age {
            let _ = writeln!(out, "A signature counts for {}.", age_text(age));
        }
        if !self.include.is_empty() {
            let _ = writeln!(
                out,
                "Signers and groups are also in {}.",
                self.include.join(", ")
            );
        }
        if let Some(by) = &self.override_by {
            let names = by.names.join(", ");
            let _ = writeln!(out, "May override refusals with a signed push: {names}.");
        }
        if !self.cut_off.is_empty() {
            let ids = self.cut_off.join(", ");
            let _ = writeln!(out, "Not evaluated: commits reachable from {ids}.");
        }
        let signers = self.signers.iter().map(describe_signer).collect();
        section(&mut out, "Signers", signers);
        let describe_group =
            |(name, group): (&String, &Principals)| format!("{name}: {}", group.names.join(", "));
        let groups = self.groups.iter().map(describe_group).collect();
        section(&mut out, "Groups", groups);
        for rule in &self.rules {
            let trial = if rule.trial {
                " (on trial: only reported)"
            } else {
                ""
            };
            let title = format!("Rule {}{trial}", rule.name);
            let mut lines = vec![format!("about {}", scope(rule))];
            lines.extend(rule.may.iter().map(|(action, who)| may(*action, who)));
            lines.extend(describe_requirements(rule));
            section(&mut out, &title, lines);
        }
        out
    }
}

/// Describes the requirements of a rule, except who may do what.
pub(super) fn describe_requirements(rule: &Rule) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(from) = &rule.from {
        let sources = from.patterns().join(", ");
        lines.push(format!("takes commits without evaluation from {sources}"));
    }
    if let Some(who) = &rule.direct {
        lines.push(format!("direct commits: {}", who.names.join(", ")));
    }
    if rule.match_committer {
        lines.push("the committer must be the signer".to_owned());
    }
    if rule.merge_by_account {
        lines.push("unsigned merges count as signed by the pusher's account".to_owned());
    }
    if let Some(threshold) = &rule.threshold {
        lines.push(format!(
            "{} distinct signers from {} are required",
            threshold.count,
            threshold.of.names.join(", ")
        ));
    }
    if let Some(help) = &rule.help {
        lines.push(format!("help: {help}"));
    }
    lines
}

/// Adds a titled list, unless it is empty.
fn section(out: &mut String, title: &str, lines: Vec<String>) {
    if !lines.is_empty() {
        let _ = writeln!(out, "\n{title}:\n  {}", lines.join("\n  "));
    }
}

pub(super) fn describe_signer(signer: &Signer) -> String {
    let mut text = format!(
        "{}: identity {}, issuer {}",
        signer.name,
        is(&signer.identity),
        is(&signer.issuer)
    );
    for (name, condition) in &signer.claims {
        let _ = write!(text, ", {name} {}", is(condition));
    }
    if let Some(from) = signer.valid_from {
        let _ = write!(text, ", from {}", time(from));
    }
    if let Some(until) = signer.valid_until {
        let _ = write!(text, ", until {}", time(until));
    }
    if let Some(age) = signer.max_age {
        let _ = write!(text, ", signatures count for {}", age_text(age));
    }
    if !signer.emails.is_empty() {
        let _ = write!(text, ", writes as {}", signer.emails.join(", "));
    }
    if !signer.accounts.is_empty() {
        let _ = write!(text, ", pushes as {}", signer.accounts.join(", "));
    }
    text
}

pub(super) fn scope(rule: &Rule) -> String {
    let refs = rule
        .refs
        .as_ref()
        .map_or_else(|| "every ref".to_owned(), |refs| refs.patterns().join(", "));
    match &rule.paths {
        None => refs,
        Some(paths) => format!("{refs}, in {}", paths.patterns().join(", ")),
    }
}

fn may(action: Action, who: &Principals) -> String {
    let phrase = action.phrase();
    match who.names.as_slice() {
        [only] if only == "nobody" => format!("no one may {phrase}"),
        _ if who.anyone && action == Action::Tag => "tags need no signature".to_owned(),
        _ if who.anyone && matches!(action, Action::Commit | Action::Merge) => {
            format!("anyone may {phrase}, signed or not: the ref is not protected")
        }
        _ if who.anyone => format!("any pusher may {phrase}"),
        names => format!("may {phrase}: {}", names.join(", ")),
    }
}

fn is(condition: &Condition) -> String {
    match condition.exact() {
        Some(text) => format!("= {text}"),
        None => format!("matches {}", condition.as_str()),
    }
}
