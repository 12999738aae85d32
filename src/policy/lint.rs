//! What a policy says that is allowed but looks like a mistake or a trick: what
//! `gitseal policy check` shows beside errors.
//!
//! Comparison stays byte-exact everywhere; what only looks the same is shown with
//! its code points.
//!
//! *Not checked here:* what cannot be read at all (`parse.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::Action,
    model::{Condition, Policy, SignerSet},
};

/// Something to look at twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// A stable, kebab-case name.
    pub code: &'static str,
    /// Which part of the policy: `signer alice`, `rule main`.
    pub place: String,
    /// What it is.
    pub message: String,
}

/// Every lint of a policy.
#[must_use]
pub fn lint(policy: &Policy) -> Vec<Lint> {
    let mut found = Vec::new();
    signers(policy, &mut found);
    unused(policy, &mut found);
    rules(policy, &mut found);
    found
}

fn say(found: &mut Vec<Lint>, code: &'static str, place: &str, message: String) {
    found.push(Lint {
        code,
        place: place.to_owned(),
        message,
    });
}

fn signers(policy: &Policy, found: &mut Vec<Lint>) {
    let mut same: BTreeMap<(String, String, String), &str> = BTreeMap::new();
    let mut alike: BTreeMap<(String, String), (&str, &str)> = BTreeMap::new();
    for signer in &policy.signers {
        let place = format!("signer {}", signer.name);
        for (what, condition) in [("identity", &signer.identity), ("issuer", &signer.issuer)] {
            if let Some(message) = odd(condition.as_str()) {
                say(
                    found,
                    "odd-characters",
                    &place,
                    format!("the {what} {:?} {message}", condition.as_str()),
                );
            }
            text(what, condition, &place, found);
        }
        let claims = format!("{:?}", signer.claims);
        let key = (
            signer.issuer.as_str().to_owned(),
            signer.identity.as_str().to_owned(),
            claims,
        );
        if let Some(other) = same.insert(key, &signer.name) {
            say(
                found,
                "same-signer",
                &place,
                format!(
                    "the same as signer {other}: a threshold counts them once, as the first of them"
                ),
            );
        }
        let looks = (
            skeleton(signer.issuer.as_str()),
            skeleton(signer.identity.as_str()),
        );
        let written = signer.identity.as_str();
        if let Some((other, theirs)) = alike.insert(looks, (&signer.name, written))
            && theirs != written
        {
            say(
                found,
                "look-alike",
                &place,
                format!("looks like signer {other} but is not: {written:?} and {theirs:?}"),
            );
        }
    }
}

fn text(what: &str, condition: &Condition, place: &str, found: &mut Vec<Lint>) {
    let written = condition.as_str();
    let Some(exact) = condition.exact() else {
        if condition.matches("x") || condition.matches("nobody@nowhere.invalid") {
            say(
                found,
                "matches-anybody",
                place,
                format!("the {what} pattern {written:?} matches anybody"),
            );
        }
        if let Some(at) = bare_dot(written) {
            say(
                found,
                "bare-dot",
                place,
                format!(
                    "the {what} pattern {written:?} has a dot at {at} that matches any character: write \\."
                ),
            );
        }
        return;
    };
    let host = match exact.split_once("://") {
        Some((_, rest)) => rest.split('/').next(),
        None => exact.rsplit_once('@').map(|(_, host)| host),
    };
    if let Some(host) = host {
        if host.chars().any(char::is_uppercase) {
            say(
                found,
                "uppercase-host",
                place,
                format!(
                    "the host in the {what} {exact:?} has capitals, and certificates are compared byte by byte"
                ),
            );
        }
        if host.ends_with('.') {
            say(
                found,
                "trailing-dot",
                place,
                format!("the host in the {what} {exact:?} ends with a dot"),
            );
        }
    }
    if what == "issuer" {
        if !exact.starts_with("https://") {
            say(
                found,
                "issuer-not-https",
                place,
                format!("the issuer {exact:?} is no https address"),
            );
        }
        if exact.ends_with('/') {
            say(
                found,
                "trailing-slash",
                place,
                format!("the issuer {exact:?} ends with a slash; most do not"),
            );
        }
        if exact.contains('%') {
            say(
                found,
                "percent",
                place,
                format!("the issuer {exact:?} has percent signs, which are not decoded"),
            );
        }
    }
}

fn unused(policy: &Policy, found: &mut Vec<Lint>) {
    let mut used = SignerSet::default();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for rule in &policy.rules {
        let threshold = rule.threshold.as_ref().map(|threshold| &threshold.of);
        for who in rule.may.values().chain(&rule.direct).chain(threshold) {
            used.extend(&who.signers);
            named.extend(who.names.iter().map(String::as_str));
        }
    }
    for group in policy.groups.values() {
        named.extend(group.names.iter().map(String::as_str));
    }
    for (number, signer) in policy.signers.iter().enumerate() {
        if !used.contains(number) {
            say(
                found,
                "unused",
                &format!("signer {}", signer.name),
                "no rule names this signer".to_owned(),
            );
        }
    }
    for name in policy.groups.keys() {
        if !named.contains(name.as_str()) {
            say(
                found,
                "unused",
                &format!("group {name}"),
                "nothing names this group".to_owned(),
            );
        }
    }
    for (number, bot) in policy.bots.iter().enumerate() {
        let place = format!("bot {}", bot.name);
        if policy
            .rules
            .iter()
            .any(|rule| rule.unsigned.contains(&number))
        {
            say(
                found,
                "forgeable",
                &place,
                "anybody who can push can write this author and committer".to_owned(),
            );
        } else {
            say(found, "unused", &place, "no rule names this bot".to_owned());
        }
    }
}

fn rules(policy: &Policy, found: &mut Vec<Lint>) {
    for (number, rule) in policy.rules.iter().enumerate() {
        let place = format!("rule {}", rule.name);
        for kind in &rule.unverified {
            say(
                found,
                "unverified",
                &place,
                format!("anybody can make an {kind} signature: it is accepted unverified"),
            );
        }
        for action in [Action::Rewrite, Action::Delete] {
            if rule.may.get(&action).is_some_and(|who| who.anyone) {
                say(
                    found,
                    "anyone",
                    &place,
                    format!("whoever can push may {}", action.phrase()),
                );
            }
        }
        for other in policy.rules.iter().skip(number.saturating_add(1)) {
            if other.refs != rule.refs || other.paths != rule.paths {
                continue;
            }
            for (action, who) in &rule.may {
                let Some(theirs) = other.may.get(action) else {
                    continue;
                };
                let both = who.signers.and(&theirs.signers);
                let some = !who.signers.is_empty() && !theirs.signers.is_empty();
                if some && both.is_empty() {
                    say(
                        found,
                        "nobody-left",
                        &place,
                        format!(
                            "nobody may {}: rule {} is about the same and names others",
                            action.phrase(),
                            other.name
                        ),
                    );
                }
            }
        }
    }
}

/// What is odd about a text, if anything is.
fn odd(text: &str) -> Option<String> {
    let strange: BTreeSet<char> = text
        .chars()
        .filter(|c| !c.is_ascii() || c.is_ascii_control())
        .collect();
    if text.trim() != text {
        return Some("begins or ends with a space".to_owned());
    }
    if strange.is_empty() {
        return None;
    }
    let points: Vec<String> = strange
        .iter()
        .take(8)
        .map(|c| format!("U+{:04X}", u32::from(*c)))
        .collect();
    let scripts: BTreeSet<&str> = text.chars().filter_map(script).collect();
    let mixed = if scripts.len() > 1 {
        format!(
            ", and mixes {}",
            scripts.into_iter().collect::<Vec<_>>().join(" and ")
        )
    } else {
        String::new()
    };
    Some(format!("holds {}{mixed}", points.join(", ")))
}

fn script(c: char) -> Option<&'static str> {
    match u32::from(c) {
        0x41..=0x5a | 0x61..=0x7a | 0xc0..=0x24f => Some("Latin"),
        0x370..=0x3ff | 0x1f00..=0x1fff => Some("Greek"),
        0x400..=0x52f => Some("Cyrillic"),
        0x530..=0x58f => Some("Armenian"),
        0x590..=0x5ff => Some("Hebrew"),
        0x600..=0x6ff => Some("Arabic"),
        0x13a0..=0x13ff => Some("Cherokee"),
        0x3040..=0x30ff => Some("Kana"),
        0x4e00..=0x9fff => Some("Han"),
        0xff00..=0xffef => Some("full-width"),
        0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x2069 | 0xfeff => Some("invisible"),
        _ => None,
    }
}

/// The same for texts that look the same: small letters, and the commonest
/// look-alikes as the Latin letter.
fn skeleton(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .filter(|c| script(*c) != Some("invisible"))
        .map(|c| match c {
            'а' | 'α' => 'a',
            'е' | 'ε' => 'e',
            'о' | 'ο' | '0' => 'o',
            'р' | 'ρ' => 'p',
            'с' => 'c',
            'у' | 'γ' => 'y',
            'х' | 'χ' => 'x',
            'і' | 'ι' | '1' | 'l' | '|' => 'i',
            'ј' => 'j',
            'ѕ' => 's',
            'һ' => 'h',
            'ԁ' => 'd',
            'ԛ' => 'q',
            'ԝ' => 'w',
            'ν' => 'v',
            'к' | 'κ' => 'k',
            'м' => 'm',
            'т' | 'τ' => 't',
            'в' | 'β' => 'b',
            'н' => 'n',
            other => other,
        })
        .collect()
}

/// Where a pattern has a dot between letters that is neither escaped nor
/// repeated: most often one that was meant as a dot.
fn bare_dot(pattern: &str) -> Option<usize> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut class = false;
    let mut escaped = false;
    for (at, c) in chars.iter().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '.' if !class => {
                let next = chars.get(at.saturating_add(1));
                let before = at.checked_sub(1).and_then(|at| chars.get(at));
                let is_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
                if is_word(before) && is_word(next) {
                    return Some(at.saturating_add(1));
                }
            }
            _ => {}
        }
    }
    None
}
