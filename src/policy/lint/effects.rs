//! Finds rules whose effect is probably not the intended one: sources, thresholds,
//! tags and the default branch. Refs are not known here: each pattern stands for one
//! name that it matches.

use std::collections::BTreeSet;

use super::Lints;
use crate::{
    facts::Action,
    model::{Policy, Principals, Rule, Signer, SignerSet},
};

/// Names that most default branches have.
const DEFAULT_BRANCHES: [&[u8]; 2] = [b"refs/heads/main", b"refs/heads/master"];
/// A branch that rules match only if they are about every branch.
const A_DRAFT: &[u8] = b"refs/heads/gitseal-check/any-draft";
/// The maximum number of pairs of refs that are compared.
const MAX_PAIRS: usize = 10_000;

impl Lints {
    /// Adds the warnings about effects.
    pub(super) fn effects(&mut self, policy: &Policy) {
        for rule in policy.rules.iter().filter(|rule| !rule.trial) {
            self.rewrite(policy, rule);
            self.threshold_on_drafts(policy, rule);
            self.one_person_twice(policy, rule);
            self.tags(policy, rule);
        }
        self.sources(policy);
    }

    /// The default branch decides the policy, so it should not move back.
    fn rewrite(&mut self, policy: &Policy, rule: &Rule) {
        let allows = |who: &Principals| who.anyone || !who.signers.is_empty();
        if rule.may.get(&Action::Rewrite).is_some_and(allows)
            && DEFAULT_BRANCHES
                .iter()
                .any(|name| rule.matches_ref(name) && !policy.is_open(name))
        {
            let message = "the default branch may be rewritten; exclude it, or write rewrite = [\"nobody\"] for it";
            self.add("rewrite-default", &place(rule), message);
        }
    }

    /// A commit on a draft has one signer: only merges add others.
    fn threshold_on_drafts(&mut self, policy: &Policy, rule: &Rule) {
        let adds = rule.may.contains_key(&Action::Commit) || rule.may.contains_key(&Action::Merge);
        let count = rule
            .threshold
            .as_ref()
            .map_or(0, |threshold| threshold.count);
        if adds && count > 1 && rule.matches_ref(A_DRAFT) && !policy.is_open(A_DRAFT) {
            let message = format!(
                "no branch can be pushed before {count} signers signed it: name the protected branches in refs"
            );
            self.add("threshold-on-drafts", &place(rule), message);
        }
    }

    /// Two signers of a threshold that are probably one person.
    fn one_person_twice(&mut self, policy: &Policy, rule: &Rule) {
        let Some(threshold) = rule.threshold.as_ref().filter(|one| one.count > 1) else {
            return;
        };
        let counted: Vec<&Signer> = threshold
            .of
            .signers
            .iter()
            .filter_map(|one| policy.signers.get(one))
            .collect();
        let mut people: BTreeSet<(String, &str)> = BTreeSet::new();
        for signer in counted {
            let Some(person) = signer.identity.exact().map(person) else {
                continue;
            };
            let earlier = people.range((person.clone(), "")..).next();
            if let Some((_, other)) = earlier.filter(|(known, _)| *known == person) {
                let message = format!(
                    "signers {other} and {} are probably one person, and count as two",
                    signer.name
                );
                self.add("one-person-twice", &place(rule), message);
            }
            people.insert((person, &signer.name));
        }
    }

    /// Tags that no one can push, and thresholds without a place for approvals.
    fn tags(&mut self, policy: &Policy, rule: &Rule) {
        let Some(who) = rule.may.get(&Action::Tag) else {
            return;
        };
        if !who.anyone && who.signers.is_empty() {
            return;
        }
        let allows = |action, name: &[u8]| {
            let mut speaking = speaking(policy, action, name).peekable();
            speaking.peek().is_some()
                && speaking.all(|(_, who)| who.anyone || !who.signers.is_empty())
        };
        for name in names(rule).iter().filter(|name| name.starts_with("refs/")) {
            if !allows(Action::Create, name.as_bytes()) {
                let message = format!("no rule lets {name} in: no one may create it");
                self.add("tags-not-let-in", &place(rule), message);
            }
            let count = rule
                .threshold
                .as_ref()
                .map_or(0, |threshold| threshold.count);
            if let Some(tag) = name.strip_prefix("refs/tags/").filter(|_| count > 1) {
                let approval = format!("refs/approvals/{tag}/x");
                let lets = |action| allows(action, approval.as_bytes());
                if !lets(Action::Tag) || !lets(Action::Create) {
                    let message = format!(
                        "{count} signers are needed, but no rule lets approvals in, such as {approval}"
                    );
                    self.add("tags-not-let-in", &place(rule), message);
                }
            }
        }
    }

    /// Sources whose signers may not commit where their commits go.
    fn sources(&mut self, policy: &Policy) {
        let all: BTreeSet<String> = policy
            .rules
            .iter()
            .filter(|rule| !rule.trial)
            .flat_map(names)
            .collect();
        let mut pairs = 0_usize;
        for rule in policy.rules.iter().filter(|rule| !rule.trial) {
            let Some(from) = &rule.from else { continue };
            let mut open = BTreeSet::new();
            let mut weaker = BTreeSet::new();
            for source in all.iter().filter(|name| from.matches(name.as_bytes())) {
                if policy.is_open(source.as_bytes()) {
                    open.insert(source);
                    continue;
                }
                for to in names(rule) {
                    pairs = pairs.saturating_add(1);
                    if pairs > MAX_PAIRS {
                        return;
                    }
                    if policy.lends(source.as_bytes(), to.as_bytes(), None) {
                        weaker.extend(outsiders(policy, source, &to).map(|who| (source, who)));
                    }
                }
            }
            for source in open {
                let message = format!("{source} is never a source: anyone may commit there");
                self.add("open-source", &place(rule), message);
            }
            if let Some((source, who)) = weaker.first() {
                let more = match weaker.len() {
                    1 => String::new(),
                    count => format!(" (and {} more)", count.saturating_sub(1)),
                };
                let message = format!(
                    "it takes commits from {source}, where {who}{more} may commit, but not here"
                );
                self.add("weaker-source", &place(rule), message);
            }
        }
    }
}

/// Returns the signers who may commit to a source, but not to the ref that it lends to.
fn outsiders<'p>(
    policy: &'p Policy,
    source: &str,
    to: &str,
) -> impl Iterator<Item = &'p str> + use<'p> {
    let there = committers(policy, source.as_bytes());
    // A ref about whose commits no rule speaks, such as a tag, is not stricter.
    let here = committers(policy, to.as_bytes()).or_else(|| there.clone());
    let here = here.unwrap_or_default();
    let outside: Vec<usize> = there
        .unwrap_or_default()
        .iter()
        .filter(|one| !here.contains(*one))
        .collect();
    outside
        .into_iter()
        .filter_map(|one| policy.signers.get(one))
        .map(|signer| signer.name.as_str())
}

/// Returns the signers who may commit something to a ref; `None`: no rule speaks of it.
fn committers(policy: &Policy, name: &[u8]) -> Option<SignerSet> {
    let mut some = SignerSet::default();
    let mut all: Option<SignerSet> = None;
    let mut is_spoken_of = false;
    for (rule, who) in speaking(policy, Action::Commit, name) {
        is_spoken_of = true;
        if rule.paths.is_some() {
            some.extend(&who.signers);
        } else if !who.anyone {
            all = Some(all.map_or_else(|| who.signers.clone(), |all| all.and(&who.signers)));
        }
    }
    is_spoken_of.then(|| all.unwrap_or(some))
}

fn speaking<'p>(
    policy: &'p Policy,
    action: Action,
    name: &'p [u8],
) -> impl Iterator<Item = (&'p Rule, &'p Principals)> {
    policy
        .rules
        .iter()
        .filter(move |rule| !rule.trial && rule.matches_ref(name))
        .filter_map(move |rule| Some((rule, rule.may.get(&action)?)))
}

fn place(rule: &Rule) -> String {
    format!("rule {}", rule.name)
}

/// Returns a name for each pattern of a rule's refs that the rule is about.
fn names(rule: &Rule) -> Vec<String> {
    let patterns = rule.refs.as_ref().map_or(&[][..], |refs| refs.patterns());
    patterns
        .iter()
        .map(|pattern| example(pattern))
        .filter(|name| rule.matches_ref(name.as_bytes()))
        .collect()
}

/// Returns a name that a pattern without classes matches.
fn example(pattern: &str) -> String {
    let mut name = String::new();
    let mut braces = 0_usize;
    let mut is_alternative = false;
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '{' => {
                braces = braces.saturating_add(1);
            }
            '}' => {
                braces = braces.saturating_sub(1);
                is_alternative = false;
            }
            ',' if braces > 0 => is_alternative = true,
            _ if is_alternative => {}
            '\\' => name.extend(characters.next()),
            '*' => {
                while characters.next_if_eq(&'*').is_some() {}
                name.push('x');
            }
            '?' => name.push('x'),
            other => name.push(other),
        }
    }
    name
}

/// Returns the same value for identities that are probably one person's: an email
/// address in lower case, without the part after `+`.
fn person(identity: &str) -> String {
    let folded = identity.to_lowercase();
    match folded.split_once('@') {
        Some((local, host)) => {
            let local = local.split('+').next().unwrap_or_default();
            format!("{local}@{host}")
        }
        None => folded,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use crate::{Policy, lint::lint};

    const PEOPLE: &str = "version = 2\n[signers]\na = { issuer = \"https://i.example\", identity = \"a@example.com\" }\nb = { issuer = \"https://i.example\", identity = \"b@example.com\" }\n[groups]\nall = [\"a\", \"b\"]\n";
    const MAIN: &str = "[[rules]]\nname = \"main\"\nrefs = [\"refs/heads/main\"]\ncommit = [\"all\"]\nmerge = [\"all\"]\nupdate = [\"anyone\"]\n";

    fn codes(rules: &str) -> Vec<&'static str> {
        let text = format!("{PEOPLE}{MAIN}{rules}");
        let policy = Policy::parse(&text, "p").unwrap_or_else(|errors| panic!("{errors}"));
        lint(&policy).into_iter().map(|lint| lint.code).collect()
    }

    fn rule(text: &str) -> Vec<&'static str> {
        codes(&format!("[[rules]]\nname = \"r\"\n{text}\n"))
    }

    #[test]
    fn rewriting_the_default_branch() {
        assert_eq!(rule("rewrite = [\"a\"]"), ["rewrite-default"]);
        assert_eq!(
            rule("refs = [\"refs/heads/m*\"]\nrewrite = [\"a\"]"),
            ["rewrite-default"]
        );
        assert!(rule("rewrite = [\"nobody\"]").is_empty());
        assert!(rule("refs = [\"refs/heads/topic/**\"]\nrewrite = [\"a\"]").is_empty());
    }

    #[test]
    fn thresholds_where_drafts_are_pushed() {
        let two = "commit = [\"all\"]\nthreshold = { count = 2, of = [\"all\"] }";
        assert_eq!(rule(two), ["threshold-on-drafts"]);
        assert_eq!(
            rule(&format!(
                "refs = [\"refs/heads/**\"]\npaths = [\"crypto/**\"]\n{two}"
            )),
            ["threshold-on-drafts"]
        );
        assert!(rule(&format!("refs = [\"refs/heads/main\"]\n{two}")).is_empty());
        let one = two.replace('2', "1");
        assert!(rule(&one).is_empty());
    }

    #[test]
    fn one_person_as_two_signers() {
        let threshold = "refs = [\"refs/heads/main\"]\ncommit = [\"all\", \"c\"]\nthreshold = { count = 2, of = [\"all\", \"c\"] }\n";
        let with = |issuer: &str, identity: &str| {
            rule(&format!(
                "{threshold}[signers.c]\nissuer = \"https://{issuer}\"\nidentity = \"{identity}\""
            ))
        };
        assert_eq!(
            with("i.example", "a+work@example.com"),
            ["one-person-twice"]
        );
        assert_eq!(with("other.example", "a@example.com"), ["one-person-twice"]);
        assert!(with("other.example", "c@example.com").is_empty());
        // Where nothing is counted, two accounts are two ways to sign.
        let one = threshold.replace("count = 2", "count = 1");
        let text = format!(
            "{one}[signers.c]\nissuer = \"https://other.example\"\nidentity = \"a@example.com\""
        );
        assert!(rule(&text).is_empty());
    }

    #[test]
    fn tags_that_no_rule_lets_in() {
        let tags = "refs = [\"refs/tags/v*\"]\ntag = [\"all\"]\n";
        assert_eq!(rule(tags), ["tags-not-let-in"]);
        assert_eq!(
            rule(&format!("{tags}create = [\"nobody\"]")),
            ["tags-not-let-in"]
        );
        let created = format!("{tags}create = [\"anyone\"]\n");
        assert!(rule(&created).is_empty());
        let two = format!("{created}threshold = {{ count = 2, of = [\"all\"] }}\n");
        assert_eq!(rule(&two), ["tags-not-let-in"]);
        let approvals = "[[rules]]\nname = \"approvals\"\nrefs = [\"refs/approvals/**\"]\ntag = [\"all\"]\ncreate = [\"anyone\"]\n";
        assert!(rule(&format!("{two}{approvals}")).is_empty());
    }

    #[test]
    fn sources_that_are_weaker() {
        let release = |from: &str| {
            format!(
                "[[rules]]\nname = \"release\"\nrefs = [\"refs/heads/release/**\"]\nfrom = [\"{from}\"]\ncommit = [\"a\"]\n"
            )
        };
        let strict =
            "[[rules]]\nname = \"strict\"\nrefs = [\"refs/heads/strict\"]\ncommit = [\"a\"]\n";
        let drafts = "[[rules]]\nname = \"drafts\"\nrefs = [\"refs/heads/drafts/**\"]\ncommit = [\"anyone\"]\n";
        assert_eq!(codes(&release("refs/heads/main")), ["weaker-source"]);
        let same = release("refs/heads/strict") + strict;
        assert!(codes(&same).is_empty());
        let open = release("refs/heads/drafts/**") + drafts;
        assert_eq!(codes(&open), ["open-source"]);
    }
}
