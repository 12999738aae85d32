//! Reads a policy file (TOML, version 1): every mistake at once, each with line
//! and column. A file with a mistake is no policy at all: nothing is skipped,
//! nothing is defaulted to "anybody".
//!
//! *Not checked here:* what is allowed but unwise (`lint.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    facts::{Action, EnforcementMode, OtherKind},
    glob::Globs,
    model::{Bot, Condition, Policy, Principals, Rule, Signer, SignerIndex, SignerSet, Threshold},
};
use gitseal_evidence::{UnixTime, certificate::CLAIM_OIDS, identity::Pattern};

/// The longest policy file, in bytes.
pub const MAX_POLICY: usize = 1024 * 1024;
/// The most signers.
pub const MAX_SIGNERS: usize = 10_000;
/// The most groups.
pub const MAX_GROUPS: usize = 1_000;
/// The most bots.
pub const MAX_BOTS: usize = 1_000;
/// The most rules.
pub const MAX_RULES: usize = 1_000;
/// The most entries of a list of refs, paths, addresses or accounts.
pub const MAX_LIST: usize = 1_000;
/// The most patterns over refs and paths in the whole file.
pub const MAX_GLOBS: usize = 5_000;
/// The most regular expressions in the whole file.
pub const MAX_PATTERNS: usize = 256;
/// What one regular expression may take when compiled, in bytes.
pub const MAX_PATTERN_SIZE: usize = 256 * 1024;
/// The longest name of a signer, group, bot or rule.
pub const MAX_NAME: usize = 100;
/// The longest other text, in bytes.
pub const MAX_TEXT: usize = 4096;
/// The largest threshold.
pub const MAX_THRESHOLD: usize = 64;
/// The most mistakes that are told.
pub const MAX_ERRORS: usize = 100;

/// Keys of the whole file.
pub const KEYS: [&str; 7] = [
    "version", "mode", "cut-off", "signers", "groups", "bots", "rules",
];
/// Keys of a signer.
pub const SIGNER_KEYS: [&str; 7] = [
    "issuer",
    "identity",
    "claims",
    "valid-from",
    "valid-until",
    "emails",
    "accounts",
];
/// Keys of a bot.
pub const BOT_KEYS: [&str; 2] = ["author", "committer"];
/// Keys of a rule.
pub const RULE_KEYS: [&str; 20] = [
    "name",
    "mode",
    "refs",
    "paths",
    "commit",
    "merge",
    "adopt",
    "policy",
    "tag",
    "create",
    "update",
    "rewrite",
    "delete",
    "direct",
    "unsigned",
    "unverified",
    "match-committer",
    "match-author",
    "claims",
    "threshold",
];
/// Keys of a threshold.
pub const THRESHOLD_KEYS: [&str; 3] = ["count", "of", "approvals"];
/// Keys of a condition that is not exact.
pub const CONDITION_KEYS: [&str; 1] = ["pattern"];

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// A stable, kebab-case name.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// All mistakes of a file, in its order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors {
    /// The file, as the caller named it.
    pub name: String,
    /// The mistakes, at most [`MAX_ERRORS`].
    pub errors: Vec<PolicyError>,
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(
                f,
                "{}:{}:{}: {} [{}]",
                self.name, error.line, error.column, error.what, error.code
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

impl Policy {
    /// Reads a policy. `name` is what errors call the file.
    ///
    /// # Errors
    /// Every mistake in it, up to [`MAX_ERRORS`].
    pub fn parse(text: &str, name: &str) -> Result<Self, PolicyErrors> {
        let mut reader = Reader {
            lines: line_starts(text),
            text,
            errors: Vec::new(),
            names: BTreeMap::new(),
            bots: BTreeMap::new(),
            signer_count: 0,
            globs: 0,
            patterns: 0,
        };
        let policy = reader.policy();
        let mut errors = reader.errors;
        match policy {
            Some(policy) if errors.is_empty() => Ok(policy),
            _ => {
                errors.sort_by_key(|error| (error.line, error.column));
                errors.truncate(MAX_ERRORS);
                Err(PolicyErrors {
                    name: name.to_owned(),
                    errors,
                })
            }
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at.saturating_add(1)),
        )
        .collect()
}

type Value<'i> = Spanned<DeValue<'i>>;
type Span = Range<usize>;

/// What a name stands for.
#[derive(Clone)]
enum Named {
    Signer(usize),
    Group(Principals),
}

struct Reader<'i> {
    text: &'i str,
    lines: Vec<usize>,
    errors: Vec<PolicyError>,
    names: BTreeMap<String, Named>,
    bots: BTreeMap<String, usize>,
    signer_count: usize,
    globs: usize,
    patterns: usize,
}

impl<'i> Reader<'i> {
    fn wrong(&mut self, span: &Span, code: &'static str, what: String, hint: Option<&str>) {
        // Enough to show; the rest is counted no further.
        if self.errors.len() >= MAX_ERRORS.saturating_mul(2) {
            return;
        }
        let start = span.start.min(self.text.len());
        let line = self.lines.partition_point(|at| *at <= start).max(1);
        let from = self
            .lines
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let column = self
            .text
            .get(from..start)
            .map_or(0, |before| before.chars().count())
            .saturating_add(1);
        self.errors.push(PolicyError {
            line,
            column,
            code,
            what,
            hint: hint.map(str::to_owned),
        });
    }

    fn policy(&mut self) -> Option<Policy> {
        if self.text.len() > MAX_POLICY {
            self.wrong(
                &(0..0),
                "policy-too-long",
                format!(
                    "the policy has {} bytes, more than {MAX_POLICY}",
                    self.text.len()
                ),
                None,
            );
            return None;
        }
        let (root, errors) = DeTable::parse_recoverable(self.text);
        if !errors.is_empty() {
            for error in errors {
                let span = error.span().unwrap_or(0..0);
                let what = error.message().replace('\n', ", ");
                self.wrong(&span, "toml", what, None);
            }
            return None;
        }
        let table = root.get_ref();
        self.keys(table, &KEYS, "a policy");
        match get(table, "version") {
            None => {
                self.wrong(
                    &(0..0),
                    "version-missing",
                    "there is no version".to_owned(),
                    Some("begin the file with version = 1"),
                );
                return None;
            }
            Some(value) => {
                if self.integer(value, "version") != Some(1) {
                    let written = self.written(value);
                    self.wrong(
                        &value.span(),
                        "version-unknown",
                        format!("version {written} is not known here"),
                        Some("version = 1 is the one that there is"),
                    );
                    return None;
                }
            }
        }
        let mode = self.mode(table).unwrap_or_default();
        let cut_off = self.cut_off(table);
        let signers = self.signers(table);
        let groups = self.groups(table);
        let bots = self.read_bots(table);
        let rules = self.rules(table, mode);
        Some(Policy {
            mode,
            index: SignerIndex::new(&signers),
            signers,
            groups,
            bots,
            rules,
            cut_off,
        })
    }

    // ------------------------------------------------------------ the parts

    fn cut_off(&mut self, table: &DeTable<'i>) -> Vec<String> {
        let Some(value) = get(table, "cut-off") else {
            return Vec::new();
        };
        let mut ids = Vec::new();
        for (id, span) in self.texts(value, "cut-off") {
            let is_id = matches!(id.len(), 40 | 64)
                && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if is_id {
                ids.push(id);
            } else {
                self.wrong(
                    &span,
                    "cut-off",
                    format!("{id:?} is not the whole id of a commit"),
                    Some("write what git rev-parse prints: 40 or 64 lowercase hexadecimal digits; a date would be the committer's own word"),
                );
            }
        }
        ids
    }

    fn signers(&mut self, table: &DeTable<'i>) -> Vec<Signer> {
        let entries = self.named_tables(table, "signers", MAX_SIGNERS);
        if get(table, "signers").is_none() || (entries.is_empty() && self.errors.is_empty()) {
            self.wrong(
                &(0..0),
                "policy-empty",
                "there are no signers, so nobody may sign".to_owned(),
                Some("add one: signers.alice = { issuer = \"https://accounts.google.com\", identity = \"alice@example.com\" }"),
            );
        }
        let mut signers = Vec::new();
        let mut accounts: BTreeMap<String, String> = BTreeMap::new();
        for (name, span, table) in entries {
            let number = signers.len();
            self.name(&name, &span, Named::Signer(number));
            let what = format!("signer {name}");
            self.keys(table, &SIGNER_KEYS, &what);
            let issuer = self.required(table, "issuer", &what, &span, "identity-without-issuer");
            let identity =
                self.required(table, "identity", &what, &span, "issuer-without-identity");
            let claims = self.claims(table);
            let valid_from = self.time(table, "valid-from");
            let valid_until = self.time(table, "valid-until");
            if let (Some(from), Some(until)) = (valid_from, valid_until)
                && until <= from
            {
                self.wrong(
                    &span,
                    "nobody-can",
                    format!("{what} is valid at no time: valid-until is not after valid-from"),
                    None,
                );
            }
            let emails = self.optional_texts(table, "emails");
            let own: Vec<(String, Span)> = get(table, "accounts")
                .map(|value| self.texts(value, "accounts"))
                .unwrap_or_default();
            for (account, span) in &own {
                if let Some(other) = accounts.insert(account.clone(), name.clone()) {
                    self.wrong(
                        span,
                        "account-twice",
                        format!("the account {account:?} is that of {other} already"),
                        None,
                    );
                }
            }
            // What is wrong keeps its place, so that the indexes stay right.
            let never = || Condition(Pattern::Exact(String::new()));
            signers.push(Signer {
                name,
                issuer: issuer.unwrap_or_else(never),
                identity: identity.unwrap_or_else(never),
                claims,
                valid_from,
                valid_until,
                emails,
                accounts: own.into_iter().map(|(text, _)| text).collect(),
            });
        }
        self.signer_count = signers.len();
        signers
    }

    fn required(
        &mut self,
        table: &DeTable<'i>,
        key: &'static str,
        what: &str,
        span: &Span,
        code: &'static str,
    ) -> Option<Condition> {
        match get(table, key) {
            Some(value) => self.condition(value, key),
            None => {
                self.wrong(
                    span,
                    code,
                    format!("{what} has no {key}"),
                    Some("a signer is an identity together with the issuer that vouches for it: gitseal explain shows both of a signature"),
                );
                None
            }
        }
    }

    fn groups(&mut self, table: &DeTable<'i>) -> BTreeMap<String, Principals> {
        struct Open {
            name: String,
            span: Span,
            members: Vec<(String, Span)>,
        }
        let mut groups = BTreeMap::new();
        let Some(value) = get(table, "groups") else {
            return groups;
        };
        let DeValue::Table(entries) = value.get_ref() else {
            self.kind(value, "groups", "a table");
            return groups;
        };
        if entries.len() > MAX_GROUPS {
            self.too_many(&value.span(), "groups", entries.len(), MAX_GROUPS);
            return groups;
        }
        let mut open: Vec<Open> = Vec::new();
        for (key, value) in entries {
            let name = key.get_ref().to_string();
            let members = self.members(value, &name);
            if members.is_empty() {
                self.wrong(
                    &value.span(),
                    "empty-list",
                    format!("the group {name} has no members"),
                    None,
                );
            }
            // Known as a name first, so that the order in the file is free.
            self.name(&name, &key.span(), Named::Group(Principals::default()));
            open.push(Open {
                name,
                span: key.span(),
                members,
            });
        }
        let all: BTreeSet<String> = open.iter().map(|group| group.name.clone()).collect();
        // Resolve those whose members are resolved, until nothing moves.
        loop {
            let before = open.len();
            let mut waiting = Vec::new();
            for group in open {
                let is_ready = group
                    .members
                    .iter()
                    .all(|(member, _)| !all.contains(member) || groups.contains_key(member));
                if !is_ready {
                    waiting.push(group);
                    continue;
                }
                let who = self.resolve(&group.members, false, "a group");
                self.names
                    .insert(group.name.clone(), Named::Group(who.clone()));
                groups.insert(group.name, who);
            }
            open = waiting;
            if open.is_empty() || open.len() == before {
                break;
            }
        }
        for group in open {
            self.wrong(
                &group.span,
                "group-cycle",
                format!("the group {} is a member of itself", group.name),
                None,
            );
        }
        groups
    }

    fn read_bots(&mut self, table: &DeTable<'i>) -> Vec<Bot> {
        let mut bots = Vec::new();
        for (name, span, table) in self.named_tables(table, "bots", MAX_BOTS) {
            self.check_name(&name, &span);
            if self.names.contains_key(&name) {
                self.wrong(
                    &span,
                    "name-twice",
                    format!("{name} is a signer or a group already"),
                    None,
                );
            }
            let what = format!("bot {name}");
            self.keys(table, &BOT_KEYS, &what);
            let mut person = |key| {
                let value = get(table, key)?;
                let text = self.text(value, key)?;
                let is_person = text
                    .strip_suffix('>')
                    .and_then(|text| text.split_once(" <"))
                    .is_some_and(|(name, email)| !name.is_empty() && !email.is_empty());
                if !is_person {
                    self.wrong(
                        &value.span(),
                        "bot-person",
                        format!("{text:?} is not NAME <EMAIL>"),
                        Some("git log --format='%an <%ae>' shows it"),
                    );
                }
                Some(text)
            };
            let author = person("author");
            let committer = person("committer");
            if get(table, "author").is_none() && get(table, "committer").is_none() {
                self.wrong(
                    &span,
                    "bot-anybody",
                    format!("{what} has neither author nor committer, so it would be anybody"),
                    None,
                );
            }
            self.bots.insert(name.clone(), bots.len());
            bots.push(Bot {
                name,
                author,
                committer,
            });
        }
        bots
    }
}

fn get<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t Value<'i>> {
    table
        .iter()
        .find(|(name, _)| name.get_ref() == key)
        .map(|(_, value)| value)
}

// ------------------------------------------------------------------- rules

impl<'i> Reader<'i> {
    fn rules(&mut self, table: &DeTable<'i>, whole: EnforcementMode) -> Vec<Rule> {
        let Some(value) = get(table, "rules") else {
            self.wrong(
                &(0..0),
                "policy-empty",
                "there are no rules, so nothing is allowed".to_owned(),
                Some("add one: [[rules]] with a name, refs = [\"refs/heads/**\"] and commit = [\"alice\"]"),
            );
            return Vec::new();
        };
        let DeValue::Array(entries) = value.get_ref() else {
            self.kind(value, "rules", "a list of tables: [[rules]]");
            return Vec::new();
        };
        if entries.is_empty() {
            self.wrong(
                &value.span(),
                "policy-empty",
                "there are no rules, so nothing is allowed".to_owned(),
                None,
            );
        }
        if entries.len() > MAX_RULES {
            self.too_many(&value.span(), "rules", entries.len(), MAX_RULES);
            return Vec::new();
        }
        let mut rules = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in entries.iter() {
            let DeValue::Table(table) = entry.get_ref() else {
                self.kind(entry, "a rule", "a table: [[rules]]");
                continue;
            };
            let Some(rule) = self.rule(table, &entry.span(), whole) else {
                continue;
            };
            if !seen.insert(rule.name.clone()) {
                let span = get(table, "name").map_or(entry.span(), Spanned::span);
                self.wrong(
                    &span,
                    "name-twice",
                    format!("there are two rules {:?}", rule.name),
                    None,
                );
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, table: &DeTable<'i>, span: &Span, whole: EnforcementMode) -> Option<Rule> {
        self.keys(table, &RULE_KEYS, "a rule");
        let name = match get(table, "name") {
            Some(value) => self.text(value, "name")?,
            None => {
                self.wrong(
                    span,
                    "rule-without-name",
                    "the rule has no name".to_owned(),
                    Some("reports call rules by their names"),
                );
                return None;
            }
        };
        if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            let span = get(table, "name").map_or(span.clone(), Spanned::span);
            self.wrong(
                &span,
                "name",
                format!("the name of a rule is one line of at most {MAX_NAME} characters"),
                None,
            );
        }
        let mode = self.mode(table).unwrap_or(whole);
        let refs = self.globs(table, "refs");
        let paths = self.globs(table, "paths");
        let mut may = BTreeMap::new();
        for action in Action::ALL {
            let Some(value) = get(table, action.key()) else {
                continue;
            };
            if let Some(who) = self.who(
                value,
                action.key(),
                action.is_by_pusher() || action == Action::Tag,
            ) {
                may.insert(action, who);
            }
            if paths.is_some() && (action.is_by_pusher() || action == Action::Tag) {
                self.wrong(
                    &value.span(),
                    "paths-misplaced",
                    format!("{} is about refs, which have no paths", action.key()),
                    Some("put it into a rule without paths"),
                );
            }
            if paths.is_some() && action == Action::Policy {
                self.wrong(
                    &value.span(),
                    "paths-misplaced",
                    "policy is about the folder .gitseal, whatever paths says".to_owned(),
                    Some("put it into a rule without paths"),
                );
            }
        }
        let direct = get(table, "direct").and_then(|value| self.who(value, "direct", false));
        let unsigned = self.named_bots(table);
        let unverified = self.unverified(table);
        let match_committer = self.boolean(table, "match-committer");
        let match_author = self.boolean(table, "match-author");
        let claims = self.claims(table);
        let threshold = get(table, "threshold").and_then(|value| self.threshold(value));
        let rule = Rule {
            name,
            mode,
            refs,
            paths,
            may,
            direct,
            unsigned,
            unverified,
            match_committer,
            match_author,
            claims,
            threshold,
        };
        self.makes_sense(table, span, &rule);
        Some(rule)
    }

    /// What a rule says must be able to matter, and to be met.
    fn makes_sense(&mut self, table: &DeTable<'i>, span: &Span, rule: &Rule) {
        let has = |action: Action| get(table, action.key()).is_some();
        let adds = has(Action::Commit) || has(Action::Merge);
        let signs = adds || has(Action::Adopt) || has(Action::Policy) || has(Action::Tag);
        let at = |key: &str| get(table, key).map(Spanned::span);
        if !Action::ALL.into_iter().any(has) {
            self.wrong(
                span,
                "rule-empty",
                format!("the rule {:?} allows nothing", rule.name),
                Some("say who may: commit, merge, adopt, policy, tag, create, update, rewrite, delete; [\"nobody\"] forbids"),
            );
            return;
        }
        let needs = [
            ("direct", adds, "commit or merge"),
            ("unsigned", adds, "commit or merge"),
            (
                "unverified",
                adds || has(Action::Tag),
                "commit, merge or tag",
            ),
            ("match-committer", adds, "commit or merge"),
            ("match-author", adds, "commit or merge"),
            ("claims", signs, "commit, merge, adopt, policy or tag"),
            (
                "threshold",
                adds || has(Action::Tag),
                "commit, merge or tag",
            ),
        ];
        for (key, met, wants) in needs {
            if let (Some(span), false) = (at(key), met) {
                self.wrong(
                    &span,
                    "no-effect",
                    format!("{key} does nothing in a rule without {wants}"),
                    None,
                );
            }
        }
        let Some(threshold) = &rule.threshold else {
            return;
        };
        let span = at("threshold").unwrap_or_else(|| span.clone());
        if threshold.approvals.is_some() && !has(Action::Tag) {
            self.wrong(
                &span,
                "no-effect",
                "approvals are tags, and the rule says nothing of tag".to_owned(),
                None,
            );
        }
        let able = if adds {
            let mut able = SignerSet::default();
            for action in [Action::Commit, Action::Merge] {
                if let Some(who) = rule.may.get(&action) {
                    able.extend(&who.signers);
                }
            }
            able.and(&threshold.of.signers).len()
        } else {
            threshold.of.signers.len()
        };
        if able < threshold.count && !threshold.of.signers.is_empty() {
            self.wrong(
                &span,
                "nobody-can",
                format!(
                    "{} distinct signers are asked for, and only {able} of [{}] may sign here",
                    threshold.count,
                    threshold.of.names.join(", ")
                ),
                None,
            );
        }
    }

    fn named_bots(&mut self, table: &DeTable<'i>) -> BTreeSet<usize> {
        let Some(value) = get(table, "unsigned") else {
            return BTreeSet::new();
        };
        let mut found = BTreeSet::new();
        for (name, span) in self.texts(value, "unsigned") {
            match self.bots.get(&name) {
                Some(bot) => {
                    found.insert(*bot);
                }
                None => {
                    let near = nearest(&name, self.bots.keys().map(String::as_str));
                    self.wrong(
                        &span,
                        "bot-unknown",
                        format!("there is no bot {name:?}"),
                        Some(&near.map_or_else(
                            || "unsigned names bots: [bots.NAME] says what they write as author and committer".to_owned(),
                            |near| format!("did you mean {near}?"),
                        )),
                    );
                }
            }
        }
        found
    }

    fn unverified(&mut self, table: &DeTable<'i>) -> BTreeSet<OtherKind> {
        let Some(value) = get(table, "unverified") else {
            return BTreeSet::new();
        };
        let mut found = BTreeSet::new();
        for (word, span) in self.texts(value, "unverified") {
            match word.as_str() {
                "openpgp" => found.insert(OtherKind::OpenPgp),
                "ssh" => found.insert(OtherKind::Ssh),
                _ => {
                    self.wrong(
                        &span,
                        "kind-unknown",
                        format!("{word:?} is no kind of signature"),
                        Some("openpgp or ssh"),
                    );
                    false
                }
            };
        }
        found
    }

    fn threshold(&mut self, value: &Value<'i>) -> Option<Threshold> {
        let DeValue::Table(table) = value.get_ref() else {
            self.kind(
                value,
                "threshold",
                "a table: { count = 2, of = [\"maintainers\"] }",
            );
            return None;
        };
        self.keys(table, &THRESHOLD_KEYS, "a threshold");
        let span = value.span();
        let mut missing = |key: &str| {
            self.wrong(
                &span,
                "threshold",
                format!("the threshold has no {key}"),
                Some("threshold = { count = 2, of = [\"maintainers\"] }"),
            );
        };
        let Some(count_value) = get(table, "count") else {
            missing("count");
            return None;
        };
        let Some(of_value) = get(table, "of") else {
            missing("of");
            return None;
        };
        let count = self
            .integer(count_value, "count")
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| (1..=MAX_THRESHOLD).contains(count));
        if count.is_none() {
            self.wrong(
                &count_value.span(),
                "threshold",
                format!("count is a number from 1 to {MAX_THRESHOLD}"),
                None,
            );
        }
        let of = self.who(of_value, "of", false);
        let approvals = self.globs(table, "approvals");
        let (count, of) = (count?, of?);
        if of.signers.len() < count {
            self.wrong(
                &span,
                "nobody-can",
                format!(
                    "{count} distinct signers of {} cannot be had",
                    of.signers.len()
                ),
                None,
            );
        }
        Some(Threshold {
            count,
            of,
            approvals,
        })
    }

    /// A list of signers and groups, `["anyone"]` or `["nobody"]`.
    fn who(&mut self, value: &Value<'i>, key: &str, is_by_pusher: bool) -> Option<Principals> {
        let members = self.members(value, key);
        if members.is_empty() {
            self.wrong(
                &value.span(),
                "empty-list",
                format!("{key} names nobody"),
                Some("leave it out, or write [\"nobody\"]"),
            );
            return None;
        }
        Some(self.resolve(&members, is_by_pusher, key))
    }

    /// A list of texts, as signers and groups are named by.
    fn members(&mut self, value: &Value<'i>, key: &str) -> Vec<(String, Span)> {
        let DeValue::Array(entries) = value.get_ref() else {
            self.kind(value, key, "a list of names: [\"alice\", \"maintainers\"]");
            return Vec::new();
        };
        if entries.len() > MAX_SIGNERS {
            self.too_many(&value.span(), key, entries.len(), MAX_SIGNERS);
            return Vec::new();
        }
        entries
            .iter()
            .filter_map(|entry| Some((self.text(entry, key)?, entry.span())))
            .collect()
    }

    fn resolve(&mut self, members: &[(String, Span)], is_by_pusher: bool, key: &str) -> Principals {
        let mut who = Principals::default();
        for (name, span) in members {
            match name.as_str() {
                "anyone" | "nobody" if members.len() > 1 => {
                    self.wrong(
                        span,
                        "word-alone",
                        format!("{name} stands alone or not at all"),
                        None,
                    );
                }
                "anyone" if !is_by_pusher => {
                    self.wrong(
                        span,
                        "anyone",
                        format!("anyone is not taken for {key}: anybody can have a certificate"),
                        Some("name signers or groups; anyone is for create, update, rewrite and delete (whom the server lets push) and for tag (no signature is asked for)"),
                    );
                }
                "anyone" => who.anyone = true,
                "nobody" => {
                    if key == "a group" || key == "of" {
                        self.wrong(
                            span,
                            "nobody-can",
                            format!("nobody cannot be in {key}"),
                            None,
                        );
                    }
                }
                _ => match self.names.get(name.as_str()) {
                    Some(Named::Signer(number)) => who.signers.insert(*number),
                    Some(Named::Group(group)) => who.signers.extend(&group.signers),
                    None => {
                        let near = nearest(name, self.names.keys().map(String::as_str));
                        self.wrong(
                            span,
                            "name-unknown",
                            format!("there is no signer or group {name:?}"),
                            near.map(|near| format!("did you mean {near}?")).as_deref(),
                        );
                    }
                },
            }
            who.names.push(name.clone());
        }
        who
    }
}

// ------------------------------------------------------------------ values

impl<'i> Reader<'i> {
    fn keys(&mut self, table: &DeTable<'i>, known: &[&str], what: &str) {
        for (key, _) in table {
            if known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let near = nearest(key.get_ref(), known.iter().copied());
            self.wrong(
                &key.span(),
                "key-unknown",
                format!("{what} has no key {:?}", key.get_ref()),
                Some(&near.map_or_else(
                    || format!("its keys are {}", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                )),
            );
        }
    }

    fn named_tables<'t>(
        &mut self,
        table: &'t DeTable<'i>,
        key: &str,
        most: usize,
    ) -> Vec<(String, Span, &'t DeTable<'i>)> {
        let Some(value) = get(table, key) else {
            return Vec::new();
        };
        let DeValue::Table(entries) = value.get_ref() else {
            self.kind(value, key, "a table");
            return Vec::new();
        };
        if entries.len() > most {
            self.too_many(&value.span(), key, entries.len(), most);
            return Vec::new();
        }
        let mut found = Vec::new();
        for (name, value) in entries {
            match value.get_ref() {
                DeValue::Table(table) => {
                    found.push((name.get_ref().to_string(), name.span(), table));
                }
                _ => self.kind(value, &format!("{key}.{}", name.get_ref()), "a table"),
            }
        }
        found
    }

    /// A name that lists may use.
    fn name(&mut self, name: &str, span: &Span, named: Named) {
        self.check_name(name, span);
        if self.names.insert(name.to_owned(), named).is_some() {
            self.wrong(
                span,
                "name-twice",
                format!("{name} is a signer and a group"),
                None,
            );
        }
    }

    fn check_name(&mut self, name: &str, span: &Span) {
        let is_plain = !name.is_empty()
            && name.len() <= MAX_NAME
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !is_plain {
            self.wrong(
                span,
                "name",
                format!("{name:?} is no name"),
                Some("letters, digits, - _ and . of ASCII, at most 100"),
            );
        } else if matches!(name, "anyone" | "nobody") {
            self.wrong(
                span,
                "name",
                format!("{name} has a meaning of its own"),
                None,
            );
        }
    }

    fn mode(&mut self, table: &DeTable<'i>) -> Option<EnforcementMode> {
        let value = get(table, "mode")?;
        match self.text(value, "mode")?.as_str() {
            "enforce" => Some(EnforcementMode::Enforce),
            "warn" => Some(EnforcementMode::Warn),
            other => {
                let what = format!("{other:?} is no mode");
                self.wrong(&value.span(), "mode", what, Some("enforce or warn"));
                None
            }
        }
    }

    fn condition(&mut self, value: &Value<'i>, key: &'static str) -> Option<Condition> {
        let compiled = match value.get_ref() {
            DeValue::String(_) => {
                let text = self.text(value, key)?;
                Pattern::exact("text", &text)
            }
            DeValue::Table(table) => {
                self.keys(table, &CONDITION_KEYS, key);
                let Some(inner) = get(table, "pattern") else {
                    self.kind(value, key, "a text, or { pattern = '…' }");
                    return None;
                };
                let text = self.text(inner, "pattern")?;
                self.patterns = self.patterns.saturating_add(1);
                if self.patterns > MAX_PATTERNS {
                    let (span, count) = (inner.span(), self.patterns);
                    self.too_many(&span, "patterns", count, MAX_PATTERNS);
                    return None;
                }
                Pattern::matching_within(key, &text, MAX_PATTERN_SIZE)
            }
            _ => {
                self.kind(value, key, "a text, or { pattern = '…' }");
                return None;
            }
        };
        match compiled {
            Ok(pattern) => Some(Condition(pattern)),
            Err(refusal) => {
                self.wrong(&value.span(), refusal.code(), refusal.to_string(), None);
                None
            }
        }
    }

    fn claims(&mut self, table: &DeTable<'i>) -> Vec<(String, Condition)> {
        let Some(value) = get(table, "claims") else {
            return Vec::new();
        };
        let DeValue::Table(entries) = value.get_ref() else {
            self.kind(
                value,
                "claims",
                "a table: { runnerEnvironment = \"github-hosted\" }",
            );
            return Vec::new();
        };
        if entries.is_empty() {
            self.wrong(
                &value.span(),
                "empty-list",
                "claims names none".to_owned(),
                None,
            );
        }
        let mut found = Vec::new();
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            if !CLAIM_OIDS.iter().any(|claim| claim.name == name) {
                let near = nearest(name, CLAIM_OIDS.iter().map(|claim| claim.name));
                self.wrong(
                    &key.span(),
                    "claim-unknown",
                    format!("Fulcio certifies no claim {name:?}"),
                    near.map(|near| format!("did you mean {near}?")).as_deref(),
                );
                continue;
            }
            if let Some(condition) = self.condition(value, "claim") {
                found.push((name.to_owned(), condition));
            }
        }
        found
    }

    fn globs(&mut self, table: &DeTable<'i>, key: &'static str) -> Option<Globs> {
        let value = get(table, key)?;
        let texts = self.texts(value, key);
        if texts.is_empty() {
            return None;
        }
        self.globs = self.globs.saturating_add(texts.len());
        if self.globs > MAX_GLOBS {
            let count = self.globs;
            self.too_many(
                &value.span(),
                "patterns of refs and paths",
                count,
                MAX_GLOBS,
            );
            return None;
        }
        for (text, span) in &texts {
            let bare = text.strip_prefix('!').unwrap_or(text);
            let (bad, hint) = if key == "paths" {
                (
                    bare.starts_with('/') || bare.starts_with("./") || bare.ends_with('/'),
                    "paths begin at the root of the tree, without a slash: docs/** is what is in docs",
                )
            } else {
                (
                    !bare.starts_with("refs/") && bare != "**" || bare.ends_with('/'),
                    "refs are written in full: refs/heads/main, refs/heads/**, refs/tags/v*",
                )
            };
            if bad {
                self.wrong(
                    span,
                    "nobody-can",
                    format!("{text:?} never matches"),
                    Some(hint),
                );
            }
        }
        let patterns: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
        let compiled = if key == "paths" {
            Globs::paths(&patterns)
        } else {
            Globs::refs(&patterns)
        };
        match compiled {
            Ok(globs) => Some(globs),
            Err(bad) => {
                let span = texts
                    .get(bad.index)
                    .map_or(value.span(), |(_, span)| span.clone());
                let hint = (bad.index >= texts.len()).then_some("begin the list with \"**\"");
                self.wrong(&span, "glob", bad.why, hint);
                None
            }
        }
    }

    /// A list of texts that is not empty.
    fn texts(&mut self, value: &Value<'i>, key: &str) -> Vec<(String, Span)> {
        let DeValue::Array(entries) = value.get_ref() else {
            self.kind(value, key, "a list of texts");
            return Vec::new();
        };
        if entries.is_empty() {
            self.wrong(
                &value.span(),
                "empty-list",
                format!("{key} is empty"),
                Some("leave it out"),
            );
        }
        if entries.len() > MAX_LIST {
            self.too_many(&value.span(), key, entries.len(), MAX_LIST);
            return Vec::new();
        }
        entries
            .iter()
            .filter_map(|entry| Some((self.text(entry, key)?, entry.span())))
            .collect()
    }

    fn optional_texts(&mut self, table: &DeTable<'i>, key: &str) -> Vec<String> {
        get(table, key)
            .map(|value| self.texts(value, key))
            .unwrap_or_default()
            .into_iter()
            .map(|(text, _)| text)
            .collect()
    }

    fn text(&mut self, value: &Value<'i>, key: &str) -> Option<String> {
        let DeValue::String(text) = value.get_ref() else {
            self.kind(value, key, "a text");
            return None;
        };
        if text.is_empty() {
            self.wrong(
                &value.span(),
                "empty-text",
                format!("an empty text in {key} names nobody"),
                None,
            );
            return None;
        }
        if text.len() > MAX_TEXT {
            self.wrong(
                &value.span(),
                "text-too-long",
                format!("a text of {} bytes, more than {MAX_TEXT}", text.len()),
                None,
            );
            return None;
        }
        Some(text.to_string())
    }

    fn integer(&mut self, value: &Value<'i>, key: &str) -> Option<i64> {
        match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => {
                self.kind(value, key, "a number");
                None
            }
        }
    }

    fn boolean(&mut self, table: &DeTable<'i>, key: &str) -> bool {
        let Some(value) = get(table, key) else {
            return false;
        };
        match value.get_ref() {
            DeValue::Boolean(is) => *is,
            _ => {
                self.kind(value, key, "true or false");
                false
            }
        }
    }

    fn time(&mut self, table: &DeTable<'i>, key: &str) -> Option<UnixTime> {
        let value = get(table, key)?;
        let time = match value.get_ref() {
            DeValue::Datetime(time) if time.date.is_some() && time.offset.is_some() => {
                time.to_string().parse::<jiff::Timestamp>().ok()
            }
            _ => None,
        };
        if time.is_none() {
            self.kind(
                value,
                key,
                "a time with its zone, not a text: 2026-01-31T00:00:00Z",
            );
        }
        time.map(jiff::Timestamp::as_second)
    }

    fn kind(&mut self, value: &Value<'i>, key: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        self.wrong(
            &value.span(),
            "kind",
            format!("{key} is a {found} here"),
            Some(&format!("it is {wanted}")),
        );
    }

    fn too_many(&mut self, span: &Span, what: &str, count: usize, most: usize) {
        self.wrong(
            span,
            "too-many",
            format!("{what}: {count}, more than {most}"),
            None,
        );
    }

    fn written(&self, value: &Value<'i>) -> String {
        let text = self.text.get(value.span()).unwrap_or_default();
        text.chars().take(40).collect()
    }
}

/// The known word that differs least, if it is near at all.
fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST: usize = 64;
    if word.chars().count() > LONGEST {
        return None;
    }
    let near = |other: &&str| (distance(word, other), other.len());
    let best = known
        .filter(|other| other.len() <= LONGEST)
        .take(MAX_SIGNERS)
        .min_by_key(near)?;
    let allowed = (word.chars().count() / 3).max(1);
    (distance(word, best) <= allowed).then_some(best)
}

/// Insertions, deletions and replacements between two words, ignoring case and
/// taking `_` for `-`.
fn distance(one: &str, other: &str) -> usize {
    let fold = |c: char| {
        if c == '_' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    };
    let other: Vec<char> = other.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().map(fold).enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (b, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            let replaced = diagonal.saturating_add(usize::from(a != *b));
            left = replaced
                .min(above.saturating_add(1))
                .min(left.saturating_add(1));
            *cell = left;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
