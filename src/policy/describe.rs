//! A policy in words: what `gitseal policy describe` prints.
//!
//! *Not checked here:* whether what is said is wise (`lint.rs`).

use std::fmt::Write as _;

use super::{
    evaluate::time,
    facts::Action,
    model::{Condition, Policy, Principals, Rule, Signer},
};

impl Policy {
    /// The whole policy in words, a sentence a line. What the file says is in it
    /// as it was: escape it before it is shown.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "What no rule allows is refused. Mode: {}.",
            self.mode.as_str()
        );
        if !self.cut_off.is_empty() {
            let _ = writeln!(
                out,
                "Not judged: what is reachable from {}.",
                self.cut_off.join(", ")
            );
        }
        let _ = writeln!(out, "\nSigners:");
        for signer in &self.signers {
            let _ = writeln!(out, "  {}", describe_signer(signer));
        }
        if !self.groups.is_empty() {
            let _ = writeln!(out, "\nGroups:");
            for (name, group) in &self.groups {
                let _ = writeln!(out, "  {name}: {}", group.names.join(", "));
            }
        }
        if !self.bots.is_empty() {
            let _ = writeln!(out, "\nBots (known by their own word only):");
            for bot in &self.bots {
                let of = |what: &str, text: &Option<String>| {
                    text.as_ref().map(|text| format!("{what} {text}"))
                };
                let message: Vec<String> =
                    [of("author", &bot.author), of("committer", &bot.committer)]
                        .into_iter()
                        .flatten()
                        .collect();
                let _ = writeln!(out, "  {}: {}", bot.name, message.join(", "));
            }
        }
        for rule in &self.rules {
            let _ = writeln!(out, "\nRule {} ({}):", rule.name, rule.mode.as_str());
            let _ = writeln!(out, "  about {}", scope(rule));
            for line in self.describe_rule(rule) {
                let _ = writeln!(out, "  {line}");
            }
        }
        out
    }

    /// What a rule asks for, a line each.
    pub(super) fn describe_rule(&self, rule: &Rule) -> Vec<String> {
        let mut lines: Vec<String> = rule
            .may
            .iter()
            .map(|(action, who)| may(*action, who))
            .collect();
        lines.extend(self.describe_requirements(rule));
        lines
    }

    /// What a rule asks for beside who may.
    pub(super) fn describe_requirements(&self, rule: &Rule) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(who) = &rule.direct {
            lines.push(format!(
                "commits that come without a merge: {}",
                who.names.join(", ")
            ));
        }
        let bots: Vec<&str> = rule
            .unsigned
            .iter()
            .filter_map(|bot| self.bots.get(*bot))
            .map(|bot| bot.name.as_str())
            .collect();
        if !bots.is_empty() {
            lines.push(format!(
                "unsigned commits are accepted from {}, by their own word",
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
            lines.push(format!("the certificate must say {name} {}", is(condition)));
        }
        if let Some(threshold) = &rule.threshold {
            let mut line = format!(
                "{} distinct signers of {} are asked for",
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

pub(super) fn describe_signer(signer: &Signer) -> String {
    let mut message = format!(
        "{}: identity {}, issuer {}",
        signer.name,
        is(&signer.identity),
        is(&signer.issuer)
    );
    for (name, condition) in &signer.claims {
        let _ = write!(message, ", {name} {}", is(condition));
    }
    if let Some(from) = signer.valid_from {
        let _ = write!(message, ", from {}", time(from));
    }
    if let Some(until) = signer.valid_until {
        let _ = write!(message, ", until {}", time(until));
    }
    if !signer.emails.is_empty() {
        let _ = write!(message, ", writes as {}", signer.emails.join(", "));
    }
    if !signer.accounts.is_empty() {
        let _ = write!(message, ", pushes as {}", signer.accounts.join(", "));
    }
    message
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
        [only] if only == "nobody" => format!("nobody may {phrase}"),
        _ if who.anyone && action == Action::Tag => "tags need no signature".to_owned(),
        _ if who.anyone => format!("whoever the server lets push may {phrase}"),
        names => format!("may {phrase}: {}", names.join(", ")),
    }
}

fn is(condition: &Condition) -> String {
    match condition.exact() {
        Some(text) => format!("= {text}"),
        None => format!("matches {}", condition.as_str()),
    }
}
