//! Parses a policy file (TOML, version 2) and reports every error in it, each with
//! its line and column. A file with an error yields no policy: nothing is skipped,
//! and no default allows anything.
//!
//! The files that it includes are an argument: a function from their names to their
//! text.
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
    model::{Condition, Policy, Principals, Rule, Signer, SignerIndex},
    toml_position::{nearest, position},
};
use gitseal_evidence::identity::Pattern;

mod removed;
mod rules;
mod values;

/// The maximum size of a policy file, and of each included file, in bytes.
pub const MAX_POLICY: usize = 1024 * 1024;
/// The maximum number of included files.
pub const MAX_INCLUDES: usize = 16;
/// The maximum number of signers.
pub const MAX_SIGNERS: usize = 10_000;
/// The maximum number of groups.
pub const MAX_GROUPS: usize = 1_000;
/// The maximum number of rules.
pub const MAX_RULES: usize = 1_000;
/// The maximum length of a list of refs, paths, emails or accounts.
pub const MAX_LIST: usize = 1_000;
/// The maximum number of ref and path patterns in the policy.
pub const MAX_GLOBS: usize = 5_000;
/// The maximum number of regular expressions in the policy.
pub const MAX_PATTERNS: usize = 256;
/// The maximum size of a compiled regular expression, in bytes.
pub const MAX_PATTERN_SIZE: usize = 256 * 1024;
/// The maximum length of the name of a signer, group, rule or included file.
pub const MAX_NAME: usize = 100;
/// The maximum length of the contact, in characters.
pub const MAX_CONTACT: usize = 200;
/// The maximum length of a rule's help, in characters.
pub const MAX_HELP: usize = 500;
/// The maximum length of any other string, in bytes.
pub const MAX_TEXT: usize = 4096;
/// The maximum number of signers of a threshold.
pub const MAX_THRESHOLD: usize = 8;
/// The range of an age, in seconds: an hour to ten years.
pub const AGES: std::ops::RangeInclusive<i64> = 3_600..=315_360_000;
/// The maximum number of errors that are reported.
pub const MAX_ERRORS: usize = 100;

/// The top-level keys of a policy file.
pub const KEYS: [&str; 10] = [
    "version", "mode", "contact", "max-age", "include", "cut-off", "override", "signers", "groups",
    "rules",
];
/// The keys of an included file.
pub const INCLUDED_KEYS: [&str; 2] = ["signers", "groups"];
/// The keys of a signer's table.
pub const SIGNER_KEYS: [&str; 8] = [
    "issuer",
    "identity",
    "claims",
    "valid-from",
    "valid-until",
    "max-age",
    "emails",
    "accounts",
];
/// The keys of the table of the override.
pub const OVERRIDE_KEYS: [&str; 1] = ["by"];
/// The keys of a rule's table.
pub const RULE_KEYS: [&str; 19] = [
    "name",
    "trial",
    "refs",
    "paths",
    "from",
    "help",
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
    "match-committer",
    "merge-by-account",
    "threshold",
];
/// The keys of a threshold's table.
pub const THRESHOLD_KEYS: [&str; 2] = ["count", "of"];
/// The keys of a condition that is a pattern.
pub const CONDITION_KEYS: [&str; 1] = ["pattern"];

/// An error in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The name of the included file; `None`: the policy itself.
    pub file: Option<String>,
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

/// The errors of a policy in file order; never empty.
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
                error.file.as_ref().unwrap_or(&self.name),
                error.line,
                error.column,
                error.message,
                error.code
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

impl Policy {
    /// Parses a policy that includes no other file. Errors call the file `name`.
    ///
    /// # Errors
    /// Returns [`PolicyErrors`] with every error in it, up to [`MAX_ERRORS`].
    pub fn parse(text: &str, name: &str) -> Result<Self, PolicyErrors> {
        Self::parse_with(text, name, &|_| {
            Err("other files are not available here".to_owned())
        })
    }

    /// Parses a policy. `read` returns the text of a file beside it, by its name, or
    /// why it cannot be read; it needs to read at most one byte more than
    /// [`MAX_POLICY`].
    ///
    /// # Errors
    /// Returns [`PolicyErrors`] with every error in it, up to [`MAX_ERRORS`].
    pub fn parse_with(
        text: &str,
        name: &str,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Self, PolicyErrors> {
        let included;
        let mut parser = Parser::new(text);
        let mut policy = None;
        if let Some(mut table) = parser.toml(text)
            && parser.version(&mut table)
        {
            included = parser.include(&mut table, read);
            policy = parser.policy(table, &included);
        }
        let mut errors = parser.errors;
        match policy {
            Some(policy) if errors.is_empty() => Ok(policy),
            _ => {
                errors
                    .sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
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

/// The name and text of an included file.
struct Included {
    name: String,
    text: String,
}

/// A group whose members are not resolved yet, and the file that defines it.
struct OpenGroup<'i> {
    file: File<'i>,
    name: Text,
    members: Vec<Text>,
}

/// A file of the policy.
#[derive(Clone, Copy)]
struct File<'i> {
    /// The name of an included file; `None`: the policy itself.
    name: Option<&'i str>,
    text: &'i str,
}

struct Parser<'i> {
    /// The file whose values are parsed: spans are relative to its start.
    file: File<'i>,
    errors: Vec<PolicyError>,
    names: BTreeMap<String, Named>,
    accounts: BTreeMap<String, String>,
    globs: usize,
    patterns: usize,
}

impl<'i> Parser<'i> {
    fn new(text: &'i str) -> Self {
        Self {
            file: File { name: None, text },
            errors: Vec::new(),
            names: BTreeMap::new(),
            accounts: BTreeMap::new(),
            globs: 0,
            patterns: 0,
        }
    }

    /// Records an error. An empty hint is none.
    fn error(&mut self, at: &Span, code: &'static str, message: impl Into<String>, hint: &str) {
        if self.is_full() {
            return;
        }
        let (line, column) = position(self.file.text, at.start);
        self.errors.push(PolicyError {
            file: self.file.name.map(str::to_owned),
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

    /// Parses the current file as TOML.
    fn toml(&mut self, text: &'i str) -> Option<DeTable<'i>> {
        let start = 0..0;
        let size = text.len();
        if size > MAX_POLICY {
            let message = format!("the file is {size} bytes; the limit is {MAX_POLICY}");
            self.error(&start, "policy-too-long", message, "");
            return None;
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let message = error.message().replace('\n', ", ");
            self.error(&error.span().unwrap_or(start.clone()), "toml", message, "");
        }
        errors.is_empty().then(|| root.into_inner())
    }

    /// Returns whether the rest of the file can be parsed. A file of version 1 is
    /// refused as well, but all that has to be changed in it is reported.
    fn version(&mut self, table: &mut DeTable<'i>) -> bool {
        self.check_keys(table, &KEYS, removed::OF_POLICY, "a policy");
        let Some(at) = table.get("version").map(Spanned::span) else {
            let hint = "begin the file with version = 2";
            self.error(
                &(0..0),
                "version-missing",
                "the policy has no version",
                hint,
            );
            return false;
        };
        let version = self.take::<i64>(table, "version").map(Spanned::into_inner);
        if version != Some(2) {
            let value: String = self
                .file
                .text
                .get(at.clone())
                .unwrap_or_default()
                .chars()
                .take(40)
                .collect();
            let message = format!("version {value} is not supported");
            self.error(&at, "version-unknown", message, "write version = 2");
        }
        matches!(version, Some(1 | 2))
    }

    /// Reads the included files.
    fn include(
        &mut self,
        table: &mut DeTable<'i>,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Vec<Included> {
        let mut files: Vec<Included> = Vec::new();
        for name in self
            .list(table, "include", MAX_INCLUDES)
            .unwrap_or_default()
        {
            let (span, name) = (name.span(), name.into_inner());
            let is_plain = name.len() <= MAX_NAME
                && name.ends_with(".toml")
                && !name.starts_with('.')
                && name.bytes().all(is_name_byte);
            if !is_plain {
                let message = format!("{name:?} is not the name of a file beside this one");
                let hint = "write a name like \"people.toml\": ASCII letters, digits, - _ and ., without directories";
                self.error(&span, "include", message, hint);
            } else if files.iter().any(|file| file.name == name) {
                self.error(&span, "include", format!("{name} is included twice"), "");
            } else {
                match read(&name) {
                    Ok(text) => files.push(Included { name, text }),
                    Err(reason) => {
                        let message = format!("cannot read {name}: {reason}");
                        self.error(&span, "include", message, "");
                    }
                }
            }
        }
        files
    }

    fn policy(&mut self, mut table: DeTable<'i>, included: &'i [Included]) -> Option<Policy> {
        let mode = self.mode(&mut table).unwrap_or_default();
        let contact = self.short(&mut table, "contact", MAX_CONTACT);
        let max_age = self.age(&mut table);
        let cut_off = self.cut_off(&mut table);
        let main = self.file;
        let mut signers = Vec::new();
        let mut open = self.people(&mut table, &mut signers);
        for one in included {
            self.file = File {
                name: Some(&one.name),
                text: &one.text,
            };
            if let Some(mut table) = self.toml(&one.text) {
                self.check_keys(&table, &INCLUDED_KEYS, &[], "an included file");
                open.extend(self.people(&mut table, &mut signers));
            }
        }
        self.file = main;
        if signers.is_empty() && self.errors.is_empty() {
            let hint = "add one: signers.alice = { issuer = \"https://accounts.google.com\", identity = \"alice@example.com\" }";
            self.error(&(0..0), "policy-empty", "no signers defined", hint);
        }
        self.is_too_many(&(0..0), "signers", signers.len(), MAX_SIGNERS);
        self.is_too_many(&(0..0), "groups", open.len(), MAX_GROUPS);
        let groups = self.groups(open);
        self.file = main;
        let override_by = self.override_by(&mut table);
        let rules: Vec<Rule> = self.rules(&mut table);
        Some(Policy {
            mode,
            contact,
            max_age,
            include: included.iter().map(|one| one.name.clone()).collect(),
            override_by,
            index: SignerIndex::new(&signers),
            signers,
            groups,
            rules,
            cut_off,
        })
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

    fn override_by(&mut self, table: &mut DeTable<'i>) -> Option<Principals> {
        let value = table.remove("override")?;
        let span = value.span();
        let mut table = self.table(value, "override", usize::MAX)?;
        self.check_keys(&table, &OVERRIDE_KEYS, &[], "override");
        if !table.contains_key("by") {
            let hint = "override names who may override refusals: by = [\"duty-officer\"]";
            self.error(&span, "kind", "override has no by", hint);
        }
        self.principals(&mut table, "by", false)
    }

    // -------------------------------------------------------- signers and groups

    /// Parses the signers of the current file, and its groups without their members.
    fn people(&mut self, root: &mut DeTable<'i>, signers: &mut Vec<Signer>) -> Vec<OpenGroup<'i>> {
        for (name, table) in self.named_tables(root, "signers", MAX_SIGNERS) {
            let (span, name) = (name.span(), name.into_inner());
            self.define(&name, &span, Named::Signer(signers.len()));
            let signer = self.signer(name, &span, table);
            signers.push(signer);
        }
        let Some(value) = root.remove("groups") else {
            return Vec::new();
        };
        let Some(mut entries) = self.table(value, "groups", MAX_GROUPS) else {
            return Vec::new();
        };
        let names = keys(&entries);
        let mut open = Vec::new();
        for name in names {
            let members = self.list(&mut entries, name.get_ref(), MAX_SIGNERS);
            // Defined before it is resolved, so that the order in the file is free.
            let group = Named::Group(Principals::default());
            self.define(name.get_ref(), &name.span(), group);
            open.push(OpenGroup {
                file: self.file,
                name,
                members: members.unwrap_or_default(),
            });
        }
        open
    }

    fn signer(&mut self, name: String, span: &Span, mut table: DeTable<'i>) -> Signer {
        let what = format!("signer {name}");
        self.check_keys(&table, &SIGNER_KEYS, &[], &what);
        let mut required = |key, code| match table.remove(key) {
            Some(value) => self.condition(value, key),
            None => {
                let hint = "a signer is an identity and its issuer: gitseal explain shows both of a signature";
                self.error(span, code, format!("{what} has no {key}"), hint);
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
            self.error(span, "nobody-can", message, "");
        }
        let accounts = self
            .list(&mut table, "accounts", MAX_LIST)
            .unwrap_or_default();
        for account in &accounts {
            let earlier = self
                .accounts
                .insert(account.get_ref().clone(), name.clone());
            if let Some(other) = earlier {
                let account_name = account.get_ref();
                let message = format!("account {account_name:?} already belongs to signer {other}");
                self.error(&account.span(), "account-twice", message, "");
            }
        }
        // A signer with errors keeps its place, so that indexes stay right.
        let none = || Condition(Pattern::Exact(String::new()));
        Signer {
            name,
            issuer: issuer.unwrap_or_else(none),
            identity: identity.unwrap_or_else(none),
            claims: self.claims(&mut table),
            valid_from,
            valid_until,
            max_age: self.age(&mut table),
            emails: strings(self.list(&mut table, "emails", MAX_LIST)),
            accounts: strings(Some(accounts)),
        }
    }

    /// Resolves the groups of all files.
    fn groups(&mut self, mut open: Vec<OpenGroup<'i>>) -> BTreeMap<String, Principals> {
        let mut groups = BTreeMap::new();
        let all: BTreeSet<String> = open
            .iter()
            .map(|group| group.name.get_ref().clone())
            .collect();
        // Resolves the groups whose members are resolved, until no more are.
        loop {
            let before = open.len();
            let (ready, waiting): (Vec<_>, Vec<_>) = open.into_iter().partition(|group| {
                let mut members = group.members.iter().map(Spanned::get_ref);
                members.all(|member| !all.contains(member) || groups.contains_key(member))
            });
            for OpenGroup {
                file,
                name,
                members,
            } in ready
            {
                self.file = file;
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
        for OpenGroup { file, name, .. } in open {
            self.file = file;
            let message = format!("group {} contains itself", name.get_ref());
            self.error(&name.span(), "group-cycle", message, "");
        }
        groups
    }

    /// Defines a name that lists may contain.
    fn define(&mut self, name: &str, span: &Span, named: Named) {
        let is_plain = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name_byte);
        if !is_plain {
            let hint = "use ASCII letters, digits, - _ and ., at most 100";
            self.error(span, "name", format!("{name:?} is not a name"), hint);
        } else if matches!(name, "anyone" | "nobody") {
            self.error(span, "name", format!("{name} is a reserved name"), "");
        }
        if self.names.insert(name.to_owned(), named).is_some() {
            let message = format!("{name} is already defined as a signer or group");
            self.error(span, "name-twice", message, "");
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
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
