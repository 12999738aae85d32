//! Parses a policy file (TOML, version 1) and reports every error in it, each with
//! its line and column. A file with an error yields no policy: nothing is skipped,
//! and no default allows anything.
//!
//! *Not checked here:* what is allowed but unwise (`lint.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
    value::Datetime,
};

use super::{
    facts::{Action, EnforcementMode, OtherKind},
    glob::Globs,
    model::{Bot, Condition, Policy, Principals, Rule, Signer, SignerIndex, SignerSet, Threshold},
    toml_position::{nearest, position},
};
use gitseal_evidence::{UnixTime, certificate::CLAIM_OIDS, identity::Pattern};

/// The maximum size of a policy file, in bytes.
pub const MAX_POLICY: usize = 1024 * 1024;
/// The maximum number of signers.
pub const MAX_SIGNERS: usize = 10_000;
/// The maximum number of groups.
pub const MAX_GROUPS: usize = 1_000;
/// The maximum number of bots.
pub const MAX_BOTS: usize = 1_000;
/// The maximum number of rules.
pub const MAX_RULES: usize = 1_000;
/// The maximum length of a list of refs, paths, emails or accounts.
pub const MAX_LIST: usize = 1_000;
/// The maximum number of ref and path patterns in the file.
pub const MAX_GLOBS: usize = 5_000;
/// The maximum number of regular expressions in the file.
pub const MAX_PATTERNS: usize = 256;
/// The maximum size of a compiled regular expression, in bytes.
pub const MAX_PATTERN_SIZE: usize = 256 * 1024;
/// The maximum length of the name of a signer, group, bot or rule.
pub const MAX_NAME: usize = 100;
/// The maximum length of the line of help, in characters.
pub const MAX_HELP: usize = 200;
/// The maximum length of any other string, in bytes.
pub const MAX_TEXT: usize = 4096;
/// The maximum number of signers of a threshold.
pub const MAX_THRESHOLD: usize = 64;
/// The maximum number of errors that are reported.
pub const MAX_ERRORS: usize = 100;

/// The top-level keys of a policy file.
pub const KEYS: [&str; 8] = [
    "version", "mode", "help", "cut-off", "signers", "groups", "bots", "rules",
];
/// The keys of a signer's table.
pub const SIGNER_KEYS: [&str; 7] = [
    "issuer",
    "identity",
    "claims",
    "valid-from",
    "valid-until",
    "emails",
    "accounts",
];
/// The keys of a bot's table.
pub const BOT_KEYS: [&str; 2] = ["author", "committer"];
/// The keys of a rule's table.
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
/// The keys of a threshold's table.
pub const THRESHOLD_KEYS: [&str; 3] = ["count", "of", "approvals"];
/// The keys of a condition that is a pattern.
pub const CONDITION_KEYS: [&str; 1] = ["pattern"];

/// An error in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The error's stable, kebab-case name.
    pub code: &'static str,
    /// The error as text, without a position.
    pub message: String,
    /// A suggestion for the correct form.
    pub hint: Option<String>,
}

/// The errors of a policy file in file order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors {
    /// The file's name, set by the caller.
    pub name: String,
    /// The errors, at most [`MAX_ERRORS`].
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
                self.name, error.line, error.column, error.message, error.code
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

impl Policy {
    /// Parses a policy. Errors call the file `name`.
    ///
    /// # Errors
    /// Returns [`PolicyErrors`] with every error in it, up to [`MAX_ERRORS`].
    pub fn parse(text: &str, name: &str) -> Result<Self, PolicyErrors> {
        let mut parser = Parser {
            text,
            errors: Vec::new(),
            names: BTreeMap::new(),
            bots: BTreeMap::new(),
            globs: 0,
            patterns: 0,
        };
        let policy = parser.policy();
        let mut errors = parser.errors;
        match policy {
            Some(policy) if errors.is_empty() => Ok(policy),
            _ => {
                errors.sort_by_key(|error| (error.line, error.column));
                errors.truncate(MAX_ERRORS);
                let name = name.to_owned();
                Err(PolicyErrors { name, errors })
            }
        }
    }
}

type Span = Range<usize>;
type Value<'i> = Spanned<DeValue<'i>>;
type Text = Spanned<String>;

/// The meaning of a name in a list.
#[derive(Clone)]
enum Named {
    Signer(usize),
    Group(Principals),
}

struct Parser<'i> {
    text: &'i str,
    errors: Vec<PolicyError>,
    names: BTreeMap<String, Named>,
    bots: BTreeMap<String, usize>,
    globs: usize,
    patterns: usize,
}

impl<'i> Parser<'i> {
    /// Records an error. An empty hint is none.
    fn error(&mut self, at: &Span, code: &'static str, message: impl Into<String>, hint: &str) {
        if self.is_full() {
            return;
        }
        let (line, column) = position(self.text, at.start);
        self.errors.push(PolicyError {
            line,
            column,
            code,
            message: message.into(),
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        });
    }

    /// Returns whether further errors would not be shown.
    fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS.saturating_mul(2)
    }

    fn policy(&mut self) -> Option<Policy> {
        let start = 0..0;
        let size = self.text.len();
        if size > MAX_POLICY {
            let message = format!("the policy is {size} bytes; the limit is {MAX_POLICY}");
            self.error(&start, "policy-too-long", message, "");
            return None;
        }
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let message = error.message().replace('\n', ", ");
            self.error(&error.span().unwrap_or(start.clone()), "toml", message, "");
        }
        if !errors.is_empty() {
            return None;
        }
        let mut table = root.into_inner();
        self.check_keys(&table, &KEYS, "a policy");
        let Some(at) = table.get("version").map(Spanned::span) else {
            let hint = "begin the file with version = 1";
            self.error(&start, "version-missing", "the policy has no version", hint);
            return None;
        };
        if self
            .take::<i64>(&mut table, "version")
            .map(Spanned::into_inner)
            != Some(1)
        {
            let value: String = self
                .text
                .get(at.clone())
                .unwrap_or_default()
                .chars()
                .take(40)
                .collect();
            let message = format!("version {value} is not supported");
            self.error(&at, "version-unknown", message, "the only version is 1");
            return None;
        }
        let mode = self.mode(&mut table).unwrap_or_default();
        let help = self.help(&mut table);
        let cut_off = self.cut_off(&mut table);
        let signers = self.signers(&mut table);
        let groups = self.groups(&mut table);
        let bots = self.bots(&mut table);
        let rules = self.rules(&mut table, mode);
        Some(Policy {
            mode,
            help,
            index: SignerIndex::new(&signers),
            signers,
            groups,
            bots,
            rules,
            cut_off,
        })
    }

    fn help(&mut self, table: &mut DeTable<'i>) -> Option<String> {
        let help = self.text(table, "help")?;
        if help.get_ref().chars().count() > MAX_HELP || help.get_ref().chars().any(char::is_control)
        {
            let message = format!("help is one line of at most {MAX_HELP} characters");
            self.error(&help.span(), "help", message, "");
        }
        Some(help.into_inner())
    }

    fn cut_off(&mut self, table: &mut DeTable<'i>) -> Vec<String> {
        let mut ids = Vec::new();
        for id in self.list(table, "cut-off", MAX_LIST).unwrap_or_default() {
            let is_id = matches!(id.get_ref().len(), 40 | 64)
                && id
                    .get_ref()
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !is_id {
                let message = format!("{:?} is not a full commit id", id.get_ref());
                let hint = "write the id that git rev-parse prints: 40 or 64 lowercase hexadecimal digits; dates of commits are unverified";
                self.error(&id.span(), "cut-off", message, hint);
            }
            ids.push(id.into_inner());
        }
        ids
    }

    fn signers(&mut self, root: &mut DeTable<'i>) -> Vec<Signer> {
        let is_present = root.contains_key("signers");
        let entries = self.named_tables(root, "signers", MAX_SIGNERS);
        if !is_present || (entries.is_empty() && self.errors.is_empty()) {
            let hint = "add one: signers.alice = { issuer = \"https://accounts.google.com\", identity = \"alice@example.com\" }";
            self.error(&(0..0), "policy-empty", "no signers defined", hint);
        }
        let mut accounts: BTreeMap<String, String> = BTreeMap::new();
        let mut signers = Vec::new();
        for (name, mut table) in entries {
            let (span, name) = (name.span(), name.into_inner());
            self.define(&name, &span, Named::Signer(signers.len()));
            let what = format!("signer {name}");
            self.check_keys(&table, &SIGNER_KEYS, &what);
            let mut required = |key, code| match table.remove(key) {
                Some(value) => self.condition(value, key),
                None => {
                    let hint = "a signer is an identity and its issuer: gitseal explain shows both of a signature";
                    self.error(&span, code, format!("{what} has no {key}"), hint);
                    None
                }
            };
            let issuer = required("issuer", "identity-without-issuer");
            let identity = required("identity", "issuer-without-identity");
            let valid_from = self.time(&mut table, "valid-from");
            let valid_until = self.time(&mut table, "valid-until");
            if let (Some(from), Some(until)) = (valid_from, valid_until)
                && until <= from
            {
                let message = format!("{what} is never valid: valid-until is not after valid-from");
                self.error(&span, "nobody-can", message, "");
            }
            let own = self
                .list(&mut table, "accounts", MAX_LIST)
                .unwrap_or_default();
            for account in &own {
                if let Some(other) = accounts.insert(account.get_ref().clone(), name.clone()) {
                    let message = format!(
                        "account {:?} already belongs to signer {other}",
                        account.get_ref()
                    );
                    self.error(&account.span(), "account-twice", message, "");
                }
            }
            // A signer with errors keeps its place, so that indexes stay right.
            let none = || Condition(Pattern::Exact(String::new()));
            signers.push(Signer {
                name,
                issuer: issuer.unwrap_or_else(none),
                identity: identity.unwrap_or_else(none),
                claims: self.claims(&mut table),
                valid_from,
                valid_until,
                emails: strings(self.list(&mut table, "emails", MAX_LIST)),
                accounts: strings(Some(own)),
            });
        }
        signers
    }

    fn groups(&mut self, root: &mut DeTable<'i>) -> BTreeMap<String, Principals> {
        let mut groups = BTreeMap::new();
        let Some(value) = root.remove("groups") else {
            return groups;
        };
        let Some(mut entries) = self.table(value, "groups", MAX_GROUPS) else {
            return groups;
        };
        let names: Vec<Text> = keys(&entries);
        let mut open = Vec::new();
        for name in names {
            let members = self
                .list(&mut entries, name.get_ref(), MAX_SIGNERS)
                .unwrap_or_default();
            // Defined before it is resolved, so that the order in the file is free.
            self.define(
                name.get_ref(),
                &name.span(),
                Named::Group(Principals::default()),
            );
            open.push((name, members));
        }
        let all: BTreeSet<String> = open
            .iter()
            .map(|(name, _)| name.get_ref().clone())
            .collect();
        // Resolves the groups whose members are resolved, until no more are.
        loop {
            let before = open.len();
            let (ready, waiting): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, members)| {
                let mut members = members.iter().map(Spanned::get_ref);
                members.all(|member| !all.contains(member) || groups.contains_key(member))
            });
            for (name, members) in ready {
                let group = self.resolve(members, false, "a group");
                self.names
                    .insert(name.get_ref().clone(), Named::Group(group.clone()));
                groups.insert(name.into_inner(), group);
            }
            open = waiting;
            if open.is_empty() || open.len() == before {
                break;
            }
        }
        for (name, _) in open {
            let message = format!("group {} contains itself", name.get_ref());
            self.error(&name.span(), "group-cycle", message, "");
        }
        groups
    }

    fn bots(&mut self, root: &mut DeTable<'i>) -> Vec<Bot> {
        let mut bots = Vec::new();
        for (name, mut table) in self.named_tables(root, "bots", MAX_BOTS) {
            let (span, name) = (name.span(), name.into_inner());
            self.check_name(&name, &span);
            if self.names.contains_key(&name) {
                let message = format!("{name} is already a signer or a group");
                self.error(&span, "name-twice", message, "");
            }
            let what = format!("bot {name}");
            self.check_keys(&table, &BOT_KEYS, &what);
            if BOT_KEYS.iter().all(|key| !table.contains_key(*key)) {
                let message = format!("{what} needs an author or a committer");
                self.error(&span, "bot-anybody", message, "");
            }
            let mut person = |key| {
                let text = self.text(&mut table, key)?;
                let is_person = text
                    .get_ref()
                    .strip_suffix('>')
                    .and_then(|text| text.split_once(" <"))
                    .is_some_and(|(name, email)| !name.is_empty() && !email.is_empty());
                if !is_person {
                    let message = format!("{:?} is not NAME <EMAIL>", text.get_ref());
                    let hint = "git log --format='%an <%ae>' prints it";
                    self.error(&text.span(), "bot-person", message, hint);
                }
                Some(text.into_inner())
            };
            let (author, committer) = (person("author"), person("committer"));
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

// ------------------------------------------------------------------- rules

impl<'i> Parser<'i> {
    fn rules(&mut self, table: &mut DeTable<'i>, mode: EnforcementMode) -> Vec<Rule> {
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
            let Some(rule) = self.rule(table, &span, mode) else {
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

    fn rule(&mut self, mut table: DeTable<'i>, span: &Span, mode: EnforcementMode) -> Option<Rule> {
        self.check_keys(&table, &RULE_KEYS, "a rule");
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
        let mode = self.mode(&mut table).unwrap_or(mode);
        let refs = self.globs(&mut table, "refs");
        let paths = self.globs(&mut table, "paths");
        let mut may = BTreeMap::new();
        for (action, at) in Action::ALL
            .into_iter()
            .filter_map(|action| Some((action, spans.get(action.key())?)))
        {
            let is_about_refs = action.is_by_pusher() || action == Action::Tag;
            if let Some(who) = self.principals(&mut table, action.key(), is_about_refs) {
                may.insert(action, who);
            }
            if paths.is_some() && (is_about_refs || action == Action::Policy) {
                let about = if is_about_refs {
                    "refs, which have no paths"
                } else {
                    "the directory .gitseal, whatever paths is"
                };
                let message = format!("{} is about {about}", action.key());
                let hint = "put it into a rule without paths";
                self.error(at, "paths-misplaced", message, hint);
            }
        }
        let rule = Rule {
            name: name.into_inner(),
            mode,
            refs,
            paths,
            may,
            direct: self.principals(&mut table, "direct", false),
            unsigned: self.unsigned(&mut table),
            unverified: self.unverified(&mut table),
            match_committer: self.flag(&mut table, "match-committer"),
            match_author: self.flag(&mut table, "match-author"),
            claims: self.claims(&mut table),
            threshold: self.threshold(&mut table),
        };
        self.check_effect(&spans, span, &rule);
        Some(rule)
    }

    /// Checks that everything in a rule can have an effect and can be met.
    fn check_effect(&mut self, spans: &BTreeMap<String, Span>, span: &Span, rule: &Rule) {
        let has = |action: Action| spans.contains_key(action.key());
        let adds = has(Action::Commit) || has(Action::Merge);
        let signs = adds || has(Action::Adopt) || has(Action::Policy) || has(Action::Tag);
        if !Action::ALL.into_iter().any(has) {
            let message = format!("rule {:?} allows nothing", rule.name);
            let hint = "set one of commit, merge, adopt, policy, tag, create, update, rewrite, delete; [\"nobody\"] forbids";
            self.error(span, "rule-empty", message, hint);
            return;
        }
        let tags = adds || has(Action::Tag);
        for (key, is_met, needed) in [
            ("direct", adds, "commit or merge"),
            ("unsigned", adds, "commit or merge"),
            ("unverified", tags, "commit, merge or tag"),
            ("match-committer", adds, "commit or merge"),
            ("match-author", adds, "commit or merge"),
            ("claims", signs, "commit, merge, adopt, policy or tag"),
            ("threshold", tags, "commit, merge or tag"),
        ] {
            if let (Some(at), false) = (spans.get(key), is_met) {
                let message = format!("{key} has no effect in a rule without {needed}");
                self.error(at, "no-effect", message, "");
            }
        }
        let (Some(threshold), Some(at)) = (&rule.threshold, spans.get("threshold")) else {
            return;
        };
        if threshold.approvals.is_some() && !has(Action::Tag) {
            let message = "approvals are tags, and the rule does not set tag";
            self.error(at, "no-effect", message, "");
        }
        let of = &threshold.of.signers;
        let mut able = of.clone();
        if adds {
            able = SignerSet::default();
            for action in [Action::Commit, Action::Merge] {
                if let Some(who) = rule.may.get(&action) {
                    able.extend(&who.signers);
                }
            }
            able = able.and(of);
        }
        if able.len() < threshold.count && !of.is_empty() {
            let message = format!(
                "{} distinct signers are required, and only {} of [{}] may sign here",
                threshold.count,
                able.len(),
                threshold.of.names.join(", ")
            );
            self.error(at, "nobody-can", message, "");
        }
    }

    fn unsigned(&mut self, table: &mut DeTable<'i>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for name in self.list(table, "unsigned", MAX_LIST).unwrap_or_default() {
            if let Some(bot) = self.bots.get(name.get_ref()) {
                found.insert(*bot);
                continue;
            }
            if self.is_full() {
                break;
            }
            let hint = did_you_mean(name.get_ref(), self.bots.keys()).unwrap_or_else(|| {
                "unsigned names bots: [bots.NAME] sets their author and committer".to_owned()
            });
            let message = format!("bot {:?} not found", name.get_ref());
            self.error(&name.span(), "bot-unknown", message, &hint);
        }
        found
    }

    fn unverified(&mut self, table: &mut DeTable<'i>) -> BTreeSet<OtherKind> {
        let mut found = BTreeSet::new();
        for kind in self.list(table, "unverified", MAX_LIST).unwrap_or_default() {
            match kind.get_ref().as_str() {
                "openpgp" => drop(found.insert(OtherKind::OpenPgp)),
                "ssh" => drop(found.insert(OtherKind::Ssh)),
                other => {
                    let message = format!("{other:?} is not a kind of signature");
                    self.error(&kind.span(), "kind-unknown", message, "openpgp or ssh");
                }
            }
        }
        found
    }

    fn threshold(&mut self, table: &mut DeTable<'i>) -> Option<Threshold> {
        let value = table.remove("threshold")?;
        let span = value.span();
        let mut table = self.table(value, "threshold", usize::MAX)?;
        self.check_keys(&table, &THRESHOLD_KEYS, "a threshold");
        for key in ["count", "of"] {
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
        let approvals = self.globs(&mut table, "approvals");
        let (count, of) = (count?, of?);
        if of.signers.len() < count {
            let message = format!(
                "{count} distinct signers are required of {}",
                of.signers.len()
            );
            self.error(&span, "nobody-can", message, "");
        }
        Some(Threshold {
            count,
            of,
            approvals,
        })
    }

    /// Parses a list of signers and groups, `["anyone"]` or `["nobody"]`.
    fn principals(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
        may_be_anyone: bool,
    ) -> Option<Principals> {
        let members = self.list(table, key, MAX_SIGNERS)?;
        (!members.is_empty()).then(|| self.resolve(members, may_be_anyone, key))
    }

    fn resolve(&mut self, members: Vec<Text>, may_be_anyone: bool, key: &str) -> Principals {
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
                    let hint = "name signers or groups; \"anyone\" is for create, update, rewrite and delete (any pusher) and for tag (no signature is needed)";
                    self.error(&span, "anyone", message, hint);
                }
                "anyone" => found.anyone = true,
                "nobody" if matches!(key, "a group" | "of") => {
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

// ------------------------------------------------------------------ values

impl<'i> Parser<'i> {
    fn check_keys(&mut self, table: &DeTable<'i>, known: &[&str], what: &str) {
        for key in table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
        {
            let hint = did_you_mean(key.get_ref(), known)
                .unwrap_or_else(|| format!("its keys are {}", known.join(", ")));
            let message = format!("{what} has no key {:?}", key.get_ref());
            self.error(&key.span(), "key-unknown", message, &hint);
        }
    }

    /// Removes a key and deserializes its value.
    fn take<T: Deserialize<'i>>(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
    ) -> Option<Spanned<T>> {
        let value = table.remove(key)?;
        let span = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(Spanned::new(span, value)),
            Err(error) => {
                let message = format!("{key}: {}", error.message());
                self.error(&error.span().unwrap_or(span), "kind", message, "");
                None
            }
        }
    }

    fn table(&mut self, value: Value<'i>, key: &str, most: usize) -> Option<DeTable<'i>> {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            self.error(&span, "kind", format!("{key}: expected a table"), "");
            return None;
        };
        (!self.is_too_many(&span, key, table.len(), most)).then_some(table)
    }

    /// Removes a key whose value is a table of tables.
    fn named_tables(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
        most: usize,
    ) -> Vec<(Text, DeTable<'i>)> {
        let entries = table
            .remove(key)
            .and_then(|value| self.table(value, key, most));
        let entries = entries.unwrap_or_default().into_iter();
        entries
            .filter_map(|(name, value)| {
                let table = self.table(value, &format!("{key}.{}", name.get_ref()), usize::MAX)?;
                Some((
                    Spanned::new(name.span(), name.into_inner().into_owned()),
                    table,
                ))
            })
            .collect()
    }

    /// Defines a name that lists may contain.
    fn define(&mut self, name: &str, span: &Span, named: Named) {
        self.check_name(name, span);
        if self.names.insert(name.to_owned(), named).is_some() {
            let message = format!("{name} is a signer and a group");
            self.error(span, "name-twice", message, "");
        }
    }

    fn check_name(&mut self, name: &str, span: &Span) {
        let is_plain = (1..=MAX_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !is_plain {
            let hint = "use ASCII letters, digits, - _ and ., at most 100";
            self.error(span, "name", format!("{name:?} is not a name"), hint);
        } else if matches!(name, "anyone" | "nobody") {
            self.error(span, "name", format!("{name} is a reserved name"), "");
        }
    }

    fn mode(&mut self, table: &mut DeTable<'i>) -> Option<EnforcementMode> {
        let mode = self.text(table, "mode")?;
        match mode.get_ref().as_str() {
            "enforce" => Some(EnforcementMode::Enforce),
            "warn" => Some(EnforcementMode::Warn),
            other => {
                let message = format!("{other:?} is not a mode");
                self.error(&mode.span(), "mode", message, "enforce or warn");
                None
            }
        }
    }

    fn condition(&mut self, value: Value<'i>, key: &'static str) -> Option<Condition> {
        let span = value.span();
        let compiled = match value.into_inner() {
            DeValue::String(text) => {
                let text = self.check_text(Spanned::new(span.clone(), text.into_owned()), key)?;
                Pattern::exact("text", text.get_ref())
            }
            DeValue::Table(mut table) if table.contains_key("pattern") => {
                self.check_keys(&table, &CONDITION_KEYS, key);
                let text = self.text(&mut table, "pattern")?;
                self.patterns = self.patterns.saturating_add(1);
                if self.is_too_many(&text.span(), "patterns", self.patterns, MAX_PATTERNS) {
                    return None;
                }
                Pattern::matching_within(key, text.get_ref(), MAX_PATTERN_SIZE)
            }
            other => {
                if let DeValue::Table(table) = &other {
                    self.check_keys(table, &CONDITION_KEYS, key);
                }
                let message = format!("{key}: expected a string, or {{ pattern = '…' }}");
                self.error(&span, "kind", message, "");
                return None;
            }
        };
        match compiled {
            Ok(pattern) => Some(Condition(pattern)),
            Err(error) => {
                self.error(&span, error.code(), error.to_string(), "");
                None
            }
        }
    }

    fn claims(&mut self, table: &mut DeTable<'i>) -> Vec<(String, Condition)> {
        let mut found = Vec::new();
        let Some(value) = table.remove("claims") else {
            return found;
        };
        let span = value.span();
        let Some(entries) = self.table(value, "claims", usize::MAX) else {
            return found;
        };
        if entries.is_empty() {
            self.error(&span, "empty-list", "claims is empty", "");
        }
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            if CLAIM_OIDS.iter().any(|claim| claim.name == name) {
                let condition = self.condition(value, "claim");
                found.extend(condition.map(|condition| (name.to_owned(), condition)));
            } else {
                let hint = did_you_mean(name, CLAIM_OIDS.iter().map(|claim| claim.name));
                let message = format!("Fulcio certifies no claim {name:?}");
                self.error(
                    &key.span(),
                    "claim-unknown",
                    message,
                    &hint.unwrap_or_default(),
                );
            }
        }
        found
    }

    fn globs(&mut self, table: &mut DeTable<'i>, key: &'static str) -> Option<Globs> {
        let span = table.get(key)?.span();
        let texts = self
            .list(table, key, MAX_LIST)
            .filter(|texts| !texts.is_empty())?;
        self.globs = self.globs.saturating_add(texts.len());
        if self.is_too_many(&span, "patterns of refs and paths", self.globs, MAX_GLOBS) {
            return None;
        }
        let is_paths = key == "paths";
        for text in &texts {
            let bare = text.get_ref();
            let bare = bare.strip_prefix('!').unwrap_or(bare);
            let (is_wrong, hint) = if is_paths {
                (
                    bare.starts_with('/') || bare.starts_with("./") || bare.ends_with('/'),
                    "paths begin at the root of the tree, without a slash: docs/** matches all of docs",
                )
            } else {
                (
                    !bare.starts_with("refs/") && bare != "**" || bare.ends_with('/'),
                    "write refs in full: refs/heads/main, refs/heads/**, refs/tags/v*",
                )
            };
            if is_wrong {
                let message = format!("{:?} never matches", text.get_ref());
                self.error(&text.span(), "nobody-can", message, hint);
            }
        }
        let spans: Vec<Span> = texts.iter().map(Spanned::span).collect();
        let patterns = strings(Some(texts));
        let compiled = if is_paths {
            Globs::paths(&patterns)
        } else {
            Globs::refs(&patterns)
        };
        match compiled {
            Ok(globs) => Some(globs),
            Err(error) => {
                let at = spans.get(error.index);
                let hint = at.map_or("begin the list with \"**\"", |_| "");
                self.error(at.unwrap_or(&span), "glob", error.reason, hint);
                None
            }
        }
    }

    /// Removes a key whose value is a list of strings. An empty list is an error.
    fn list(&mut self, table: &mut DeTable<'i>, key: &str, most: usize) -> Option<Vec<Text>> {
        let list = self.take::<Vec<Text>>(table, key)?;
        let span = list.span();
        let list = list.into_inner();
        if list.is_empty() {
            let hint = "leave it out, or write [\"nobody\"] where a rule lists who may";
            self.error(&span, "empty-list", format!("{key} is empty"), hint);
        }
        if self.is_too_many(&span, key, list.len(), most) {
            return None;
        }
        Some(
            list.into_iter()
                .filter_map(|text| self.check_text(text, key))
                .collect(),
        )
    }

    fn text(&mut self, table: &mut DeTable<'i>, key: &str) -> Option<Text> {
        let text = self.take(table, key)?;
        self.check_text(text, key)
    }

    fn check_text(&mut self, text: Text, key: &str) -> Option<Text> {
        let length = text.get_ref().len();
        if length == 0 {
            self.error(
                &text.span(),
                "empty-text",
                format!("{key}: empty string"),
                "",
            );
        } else if length > MAX_TEXT {
            let message = format!("{key}: the string is {length} bytes; the limit is {MAX_TEXT}");
            self.error(&text.span(), "text-too-long", message, "");
        } else {
            return Some(text);
        }
        None
    }

    fn flag(&mut self, table: &mut DeTable<'i>, key: &str) -> bool {
        self.take(table, key).is_some_and(Spanned::into_inner)
    }

    fn time(&mut self, table: &mut DeTable<'i>, key: &str) -> Option<UnixTime> {
        let value = self.take::<Datetime>(table, key)?;
        let time = value.get_ref();
        let is_whole = time.date.is_some() && time.offset.is_some();
        let parsed = time.to_string().parse::<jiff::Timestamp>().ok();
        let parsed = parsed.filter(|_| is_whole);
        if parsed.is_none() {
            let message = format!("{key}: expected a time with its zone: 2026-01-31T00:00:00Z");
            self.error(&value.span(), "kind", message, "");
        }
        parsed.map(jiff::Timestamp::as_second)
    }

    fn is_too_many(&mut self, at: &Span, what: &str, count: usize, most: usize) -> bool {
        let is = count > most;
        if is {
            let message = format!("{count} {what}; the limit is {most}");
            self.error(at, "too-many", message, "");
        }
        is
    }
}

fn keys(table: &DeTable<'_>) -> Vec<Text> {
    table
        .keys()
        .map(|key| Spanned::new(key.span(), key.get_ref().to_string()))
        .collect()
}

fn strings(list: Option<Vec<Text>>) -> Vec<String> {
    let list = list.unwrap_or_default();
    list.into_iter().map(Spanned::into_inner).collect()
}

fn did_you_mean<'w>(
    word: &str,
    known: impl IntoIterator<Item = &'w (impl AsRef<str> + ?Sized + 'w)>,
) -> Option<String> {
    let near = nearest(word, known.into_iter().map(AsRef::as_ref))?;
    Some(format!("did you mean {near}?"))
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
