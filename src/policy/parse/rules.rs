//! Parses the rules of a policy, and refuses those that could have no effect or that
//! no one could satisfy.

use std::collections::{BTreeMap, BTreeSet};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    MAX_HELP, MAX_NAME, MAX_RULES, MAX_SIGNERS, MAX_THRESHOLD, Named, Parser, RULE_KEYS, Span,
    THRESHOLD_KEYS, Text, did_you_mean, removed,
};
use crate::{
    facts::Action,
    model::{Principals, Rule, SignerSet, Threshold},
};

impl<'i> Parser<'i> {
    pub(super) fn rules(&mut self, table: &mut DeTable<'i>) -> Vec<Rule> {
        let at = table.get("rules").map_or(0..0, Spanned::span);
        let entries = match table.remove("rules").map(Spanned::into_inner) {
            Some(DeValue::Array(entries)) => entries.into_iter().collect(),
            Some(_) => {
                self.error(&at, "kind", "rules: expected tables: [[rules]]", "");
                return Vec::new();
            }
            None => Vec::new(),
        };
        if entries.is_empty() {
            let hint = "add one: [[rules]] with a name, refs = [\"refs/heads/**\"] and commit = [\"alice\"]";
            self.error(&at, "policy-empty", "no rules defined", hint);
        }
        if self.is_too_many(&at, "rules", entries.len(), MAX_RULES) {
            return Vec::new();
        }
        let mut rules = Vec::new();
        let mut names = BTreeSet::new();
        for entry in entries {
            let span = entry.span();
            let Some(table) = self.table(entry, "rules", usize::MAX) else {
                continue;
            };
            let at = table.get("name").map_or(span.clone(), Spanned::span);
            let Some(rule) = self.rule(table, &span) else {
                continue;
            };
            if !names.insert(rule.name.clone()) {
                let message = format!("duplicate rule {:?}", rule.name);
                self.error(&at, "name-twice", message, "");
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, mut table: DeTable<'i>, span: &Span) -> Option<Rule> {
        self.check_keys(&table, &RULE_KEYS, removed::OF_RULE, "a rule");
        let spans: BTreeMap<String, Span> = table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), value.span()))
            .collect();
        if !table.contains_key("name") {
            let hint = "reports call rules by their names";
            self.error(span, "rule-without-name", "the rule has no name", hint);
        }
        let name = self.text(&mut table, "name")?;
        if name.get_ref().chars().count() > MAX_NAME || name.get_ref().chars().any(char::is_control)
        {
            let message = format!("a rule's name is one line of at most {MAX_NAME} characters");
            self.error(&name.span(), "name", message, "");
        }
        let rule = Rule {
            name: name.into_inner(),
            trial: self.flag(&mut table, "trial"),
            refs: self.globs(&mut table, "refs"),
            paths: self.globs(&mut table, "paths"),
            from: self.globs(&mut table, "from"),
            help: self.short(&mut table, "help", MAX_HELP),
            may: self.may(&mut table),
            direct: self.principals(&mut table, "direct", false),
            match_committer: self.flag(&mut table, "match-committer"),
            merge_by_account: self.flag(&mut table, "merge-by-account"),
            threshold: self.threshold(&mut table),
        };
        self.check_paths(&spans);
        self.check_effect(&spans, span, &rule);
        Some(rule)
    }

    fn may(&mut self, table: &mut DeTable<'i>) -> BTreeMap<Action, Principals> {
        let mut may = BTreeMap::new();
        for action in Action::ALL {
            let may_be_anyone = !matches!(action, Action::Adopt | Action::Policy);
            if let Some(who) = self.principals(table, action.key(), may_be_anyone) {
                may.insert(action, who);
            }
        }
        may
    }

    /// Checks that a rule about paths is about commits.
    fn check_paths(&mut self, spans: &BTreeMap<String, Span>) {
        if !spans.contains_key("paths") {
            return;
        }
        let of_refs = ["tag", "create", "update", "rewrite", "delete", "from"];
        let misplaced = of_refs
            .iter()
            .map(|key| (*key, "refs, which have no paths"));
        let policy = ("policy", "the directory .gitseal, whatever paths is");
        for (key, about) in misplaced.chain([policy]) {
            if let Some(at) = spans.get(key) {
                let message = format!("{key} is about {about}");
                let hint = "put it into a rule without paths";
                self.error(at, "paths-misplaced", message, hint);
            }
        }
    }

    /// Checks that everything in a rule can have an effect and can be met.
    fn check_effect(&mut self, spans: &BTreeMap<String, Span>, span: &Span, rule: &Rule) {
        let has = |action: Action| spans.contains_key(action.key());
        let adds = has(Action::Commit) || has(Action::Merge);
        if !Action::ALL.into_iter().any(has) {
            let message = format!("rule {:?} allows nothing", rule.name);
            let hint = "set one of commit, merge, adopt, policy, tag, create, update, rewrite, delete; [\"nobody\"] forbids";
            self.error(span, "rule-empty", message, hint);
            return;
        }
        let tags = adds || has(Action::Tag);
        let is_open = |action: Action| rule.may.get(&action).is_none_or(|who| who.anyone);
        let is_signed = !is_open(Action::Commit) || !is_open(Action::Merge);
        for (key, has_effect, needed) in [
            ("direct", adds, "without commit or merge"),
            ("match-committer", adds, "without commit or merge"),
            (
                "match-committer",
                is_signed || !adds,
                "where anyone may commit",
            ),
            ("merge-by-account", has(Action::Merge), "without merge"),
            ("merge-by-account", rule.paths.is_none(), "with paths"),
            ("from", tags, "without commit, merge or tag"),
            ("from", !rule.trial, "on trial"),
            ("threshold", tags, "without commit, merge or tag"),
        ] {
            if let (Some(at), false) = (spans.get(key), has_effect) {
                let message = format!("{key} has no effect in a rule {needed}");
                self.error(at, "no-effect", message, "");
            }
        }
        if let (Some(threshold), Some(at)) = (&rule.threshold, spans.get("threshold")) {
            self.check_threshold(rule, threshold, at);
        }
    }

    /// Checks that enough of the signers of a threshold may sign.
    fn check_threshold(&mut self, rule: &Rule, threshold: &Threshold, at: &Span) {
        let of = &threshold.of.signers;
        let adders: Vec<&Principals> = [Action::Commit, Action::Merge]
            .iter()
            .filter_map(|action| rule.may.get(action))
            .collect();
        if adders.is_empty() || adders.iter().any(|who| who.anyone) {
            return;
        }
        let mut able = SignerSet::default();
        for who in adders {
            able.extend(&who.signers);
        }
        let able = able.and(of).len();
        if able < threshold.count && !of.is_empty() && of.len() >= threshold.count {
            let message = format!(
                "{} distinct signers are required, and only {able} of [{}] may sign here",
                threshold.count,
                threshold.of.names.join(", ")
            );
            self.error(at, "nobody-can", message, "");
        }
    }

    fn threshold(&mut self, table: &mut DeTable<'i>) -> Option<Threshold> {
        let value = table.remove("threshold")?;
        let span = value.span();
        let mut table = self.table(value, "threshold", usize::MAX)?;
        self.check_keys(
            &table,
            &THRESHOLD_KEYS,
            removed::OF_THRESHOLD,
            "a threshold",
        );
        for key in THRESHOLD_KEYS {
            if !table.contains_key(key) {
                let hint = "threshold = { count = 2, of = [\"maintainers\"] }";
                let message = format!("the threshold has no {key}");
                self.error(&span, "threshold", message, hint);
                return None;
            }
        }
        let count = self.take::<i64>(&mut table, "count").and_then(|value| {
            let count = usize::try_from(*value.get_ref()).ok();
            let count = count.filter(|count| (1..=MAX_THRESHOLD).contains(count));
            if count.is_none() {
                let message = format!("count must be from 1 to {MAX_THRESHOLD}");
                self.error(&value.span(), "threshold", message, "");
            }
            count
        });
        let of = self.principals(&mut table, "of", false);
        let (count, of) = (count?, of?);
        if of.signers.len() < count {
            let message = format!(
                "{count} distinct signers are required of {}",
                of.signers.len()
            );
            self.error(&span, "nobody-can", message, "");
        }
        Some(Threshold { count, of })
    }

    /// Parses a list of signers and groups, `["anyone"]` or `["nobody"]`.
    pub(super) fn principals(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
        may_be_anyone: bool,
    ) -> Option<Principals> {
        let members = self.list(table, key, MAX_SIGNERS)?;
        (!members.is_empty()).then(|| self.resolve(members, may_be_anyone, key))
    }

    pub(super) fn resolve(
        &mut self,
        members: Vec<Text>,
        may_be_anyone: bool,
        key: &str,
    ) -> Principals {
        let mut found = Principals::default();
        let is_alone = members.len() == 1;
        for member in members {
            let (span, name) = (member.span(), member.into_inner());
            match name.as_str() {
                "anyone" | "nobody" if !is_alone => {
                    let message = format!("{name:?} cannot be combined with other names");
                    self.error(&span, "word-alone", message, "");
                }
                "anyone" if !may_be_anyone => {
                    let message = format!(
                        "\"anyone\" is not allowed for {key}: any Sigstore user would qualify"
                    );
                    let hint = "name signers or groups; \"anyone\" is for create, update, rewrite and delete (any pusher), for tag (no signature is needed), and for commit and merge on refs that are not protected";
                    self.error(&span, "anyone", message, hint);
                }
                "anyone" => found.anyone = true,
                "nobody" if matches!(key, "a group" | "of" | "by") => {
                    let message = format!("\"nobody\" is not allowed for {key}");
                    self.error(&span, "nobody-can", message, "");
                }
                "nobody" => {}
                _ => match self.names.get(&name) {
                    Some(Named::Signer(number)) => found.signers.insert(*number),
                    Some(Named::Group(group)) => found.signers.extend(&group.signers),
                    None if self.is_full() => {}
                    None => {
                        let hint = did_you_mean(&name, self.names.keys()).unwrap_or_default();
                        let message = format!("signer or group {name:?} not found");
                        self.error(&span, "name-unknown", message, &hint);
                    }
                },
            }
            found.names.push(name);
        }
        found
    }
}
