//! Finds content of a policy that is allowed but looks like a mistake or a trick,
//! for `gitseal policy check`.
//!
//! Comparison stays byte-exact everywhere; values that only look equal are reported
//! with their code points.
//!
//! *Not checked here:* errors (`parse.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::Action,
    model::{Condition, Policy, SignerSet},
};

mod effects;

/// A warning about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// A stable, kebab-case name.
    pub code: &'static str,
    /// The part of the policy: `signer alice`, `rule main`.
    pub place: String,
    /// The warning as text.
    pub message: String,
}

/// Returns every warning about a policy.
#[must_use]
pub fn lint(policy: &Policy) -> Vec<Lint> {
    let mut lints = Lints(Vec::new());
    lints.signers(policy);
    lints.unused(policy);
    lints.rules(policy);
    lints.effects(policy);
    lints.0
}

struct Lints(Vec<Lint>);

impl Lints {
    fn add(&mut self, code: &'static str, place: &str, message: impl Into<String>) {
        self.0.push(Lint {
            code,
            place: place.to_owned(),
            message: message.into(),
        });
    }

    fn signers(&mut self, policy: &Policy) {
        let mut same: BTreeMap<(&str, &str, String), &str> = BTreeMap::new();
        let mut alike: BTreeMap<(String, String), (&str, &str)> = BTreeMap::new();
        for signer in &policy.signers {
            let place = format!("signer {}", signer.name);
            let (issuer, identity) = (signer.issuer.as_str(), signer.identity.as_str());
            for (what, condition) in [("identity", &signer.identity), ("issuer", &signer.issuer)] {
                if let Some(odd) = odd(condition.as_str()) {
                    let message = format!("the {what} {:?} {odd}", condition.as_str());
                    self.add("odd-characters", &place, message);
                }
                self.condition(what, condition, &place);
            }
            let key = (issuer, identity, format!("{:?}", signer.claims));
            if let Some(other) = same.insert(key, &signer.name) {
                let message = format!(
                    "the same as signer {other}: a threshold counts them once, as the first of them"
                );
                self.add("same-signer", &place, message);
            }
            let looks = (skeleton(issuer), skeleton(identity));
            if let Some((other, theirs)) = alike.insert(looks, (&signer.name, identity))
                && theirs != identity
            {
                let message =
                    format!("looks like signer {other} but is not: {identity:?} and {theirs:?}");
                self.add("look-alike", &place, message);
            }
        }
    }

    fn condition(&mut self, what: &str, condition: &Condition, place: &str) {
        let text = condition.as_str();
        let Some(exact) = condition.exact() else {
            if condition.matches("x") || condition.matches("nobody@nowhere.invalid") {
                let message = format!("the {what} pattern {text:?} matches any identity");
                self.add("matches-anybody", place, message);
            } else if what == "issuer" && matches_any_host(condition) {
                let message = format!("the {what} pattern {text:?} matches URLs of any host");
                self.add("any-host", place, message);
            }
            if let Some(at) = bare_dot(text) {
                let message = format!(
                    "the {what} pattern {text:?} has a dot at {at} that matches any character: write \\."
                );
                self.add("bare-dot", place, message);
            }
            return;
        };
        let host = match exact.split_once("://") {
            Some((_, rest)) => rest.split('/').next(),
            None => exact.rsplit_once('@').map(|(_, host)| host),
        };
        let host = host.unwrap_or_default();
        let is_issuer = what == "issuer";
        for (is_odd, code, problem) in [
            (
                host.chars().any(char::is_uppercase),
                "uppercase-host",
                "has capitals in its host, and certificates are compared byte by byte",
            ),
            (
                host.ends_with('.'),
                "trailing-dot",
                "has a host that ends with a dot",
            ),
            (
                is_issuer && !exact.starts_with("https://"),
                "issuer-not-https",
                "is not an https URL",
            ),
            (
                is_issuer && exact.ends_with('/'),
                "trailing-slash",
                "ends with a slash; most do not",
            ),
            (
                is_issuer && exact.contains('%'),
                "percent",
                "contains percent signs, which are not decoded",
            ),
        ] {
            if is_odd {
                self.add(code, place, format!("the {what} {exact:?} {problem}"));
            }
        }
    }

    fn unused(&mut self, policy: &Policy) {
        let mut used = SignerSet::default();
        let mut named: BTreeSet<&String> = BTreeSet::new();
        for rule in &policy.rules {
            let threshold = rule.threshold.as_ref().map(|threshold| &threshold.of);
            for who in rule.may.values().chain(&rule.direct).chain(threshold) {
                used.extend(&who.signers);
                named.extend(&who.names);
            }
        }
        if let Some(who) = &policy.override_by {
            used.extend(&who.signers);
            named.extend(&who.names);
        }
        for group in policy.groups.values() {
            named.extend(&group.names);
        }
        for (number, signer) in policy.signers.iter().enumerate() {
            if !used.contains(number) {
                let place = format!("signer {}", signer.name);
                self.add("unused", &place, "no rule names this signer");
            }
        }
        for name in policy.groups.keys().filter(|name| !named.contains(name)) {
            self.add(
                "unused",
                &format!("group {name}"),
                "nothing names this group",
            );
        }
    }

    fn rules(&mut self, policy: &Policy) {
        for (number, rule) in policy.rules.iter().enumerate() {
            let place = format!("rule {}", rule.name);
            for action in [Action::Rewrite, Action::Delete] {
                let is_draft = rule.may.get(&Action::Commit).is_some_and(|who| who.anyone);
                if !is_draft && rule.may.get(&action).is_some_and(|who| who.anyone) {
                    let message = format!("any pusher may {}", action.phrase());
                    self.add("anyone", &place, message);
                }
            }
            let others = policy.rules.iter().skip(number.saturating_add(1));
            for other in others.filter(|other| other.refs == rule.refs && other.paths == rule.paths)
            {
                for (action, who) in &rule.may {
                    let theirs = other.may.get(action).map(|theirs| &theirs.signers);
                    let is_empty = theirs.is_some_and(|theirs| {
                        !who.signers.is_empty()
                            && !theirs.is_empty()
                            && who.signers.and(theirs).is_empty()
                    });
                    if is_empty {
                        let message = format!(
                            "no one may {}: rule {} has the same scope and names others",
                            action.phrase(),
                            other.name
                        );
                        self.add("nobody-left", &place, message);
                    }
                }
            }
        }
    }
}

/// Returns whether a pattern over URLs leaves the host open: whether it matches one of
/// another host if its wildcards stand for that host and a path.
fn matches_any_host(condition: &Condition) -> bool {
    const HOST: &str = "any-host.invalid";
    let mut instance = String::new();
    let mut characters = condition.as_str().chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '^' | '$' => {}
            '\\' => match characters.next() {
                Some('S' | 'w') => {
                    characters.next_if(|next| matches!(next, '*' | '+'));
                    instance.push_str(HOST);
                }
                other => instance.extend(other),
            },
            '.' | '[' => {
                if c == '[' {
                    while characters.next_if(|next| *next != ']').is_some() {}
                    characters.next();
                }
                if characters
                    .next_if(|next| matches!(next, '*' | '+'))
                    .is_some()
                {
                    characters.next_if_eq(&'?');
                    instance.push_str(HOST);
                    instance.push('/');
                } else {
                    instance.push('x');
                }
            }
            '(' | ')' | '?' => {}
            other => instance.push(other),
        }
    }
    // A class like [^/]* takes the host alone.
    let hosts = [instance.replace(&format!("{HOST}/"), HOST), instance];
    hosts.iter().any(|url| {
        let rest = url.split_once("://").map(|(_, rest)| rest);
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
        host == Some(HOST) && condition.matches(url)
    })
}

/// Describes unusual characters in a string, if it has any.
fn odd(text: &str) -> Option<String> {
    let strange: BTreeSet<char> = text
        .chars()
        .filter(|c| !c.is_ascii() || c.is_ascii_control())
        .collect();
    if text.trim() != text {
        return Some("begins or ends with whitespace".to_owned());
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
    Some(format!("contains {}{mixed}", points.join(", ")))
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

/// Returns the same value for strings that look the same: lower case, with the most
/// common look-alikes as Latin letters.
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

/// Returns the position of an unescaped, unrepeated dot between letters, which most
/// often was meant as a dot.
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
