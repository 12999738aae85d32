//! Describes a policy as text, for `gitseal policy describe`.
//!
//! *Not checked here:* whether the policy is wise (`lint.rs`).

use std::fmt::Write as _;

use super::{
    evaluate::time,
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
        if let Some(help) = &self.help {
            let _ = writeln!(out, "Help for pushers: {help}");
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
        let bots = self.bots.iter().map(|bot| {
            let author = bot.author.iter().map(|text| format!("author {text}"));
            let committer = bot.committer.iter().map(|text| format!("committer {text}"));
            let people: Vec<String> = author.chain(committer).collect();
            format!("{}: {}", bot.name, people.join(", "))
        });
        section(&mut out, "Bots (unverified)", bots.collect());
        for rule in &self.rules {
            let title = format!("Rule {} ({})", rule.name, rule.mode.as_str());
            let mut lines = vec![format!("about {}", scope(rule))];
            lines.extend(rule.may.iter().map(|(action, who)| may(*action, who)));
            lines.extend(self.describe_requirements(rule));
            section(&mut out, &title, lines);
        }
        out
    }

    /// Describes the requirements of a rule, except who may do what.
    pub(super) fn describe_requirements(&self, rule: &Rule) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(who) = &rule.direct {
            lines.push(format!("direct commits: {}", who.names.join(", ")));
        }
        let bots: Vec<&str> = rule
            .unsigned
            .iter()
            .filter_map(|bot| self.bots.get(*bot))
            .map(|bot| bot.name.as_str())
            .collect();
        if !bots.is_empty() {
            lines.push(format!(
                "unsigned commits are accepted from {} (unverified)",
                bots.join(", ")
            ));
        }
        for kind in &rule.unverified {
            lines.push(format!("{kind} signatures are accepted unverified"));
        }
        if rule.match_committer {
            lines.push("the committer must be the signer".to_owned());
        }
        if rule.match_author {
            lines.push("the author must be the signer".to_owned());
        }
        for (name, condition) in &rule.claims {
            lines.push(format!(
                "the certificate must contain {name} {}",
                is(condition)
            ));
        }
        if let Some(threshold) = &rule.threshold {
            let mut line = format!(
                "{} distinct signers from {} are required",
                threshold.count,
                threshold.of.names.join(", ")
            );
            if let Some(refs) = &threshold.approvals {
                let _ = write!(line, ", by tags under {}", refs.patterns().join(", "));
            }
            lines.push(line);
        }
        lines
    }
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
