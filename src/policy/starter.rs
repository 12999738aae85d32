//! Writes a first policy: for one signer, or with the owners of a CODEOWNERS file.
//!
//! In CODEOWNERS the last pattern that matches a path wins. A rule here speaks of the
//! paths of one line, without those of the lines after it.
//!
//! *Not checked here:* that the policy can be parsed; the caller parses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a first policy is about.
#[derive(Debug, Clone, Copy)]
pub struct Starter<'a> {
    /// The identity of the first signer.
    pub identity: &'a str,
    /// The issuer of that identity.
    pub issuer: &'a str,
    /// The protected branch, as a full ref name.
    pub branch: &'a str,
}

/// A line of a CODEOWNERS file that cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CodeownersError {
    /// The line, from 1.
    pub line: usize,
    /// The reason.
    pub message: String,
}

/// The maximum number of lines with owners.
pub const MAX_LINES: usize = 900;

impl Starter<'_> {
    /// Returns a policy for one signer, to be extended.
    #[must_use]
    pub fn policy(&self) -> String {
        format!(
            "{}\n[groups]\nteam = [\"first\"]\nowners = [\"first\"]\n
[[rules]]
name = \"branches\"
refs = [\"refs/heads/**\"]
commit = [\"team\"]
merge = [\"team\"]
adopt = [\"owners\"]
policy = [\"owners\"]
create = [\"anyone\"]
update = [\"anyone\"]
{}",
            self.head(),
            tags("team")
        )
    }

    /// Returns a policy whose rules have the owners of a CODEOWNERS file. Email
    /// addresses become signers; users and teams become groups, to be filled.
    ///
    /// # Errors
    /// Returns [`CodeownersError`] for the first line that cannot be converted.
    pub fn with_owners(&self, codeowners: &str) -> Result<String, CodeownersError> {
        let lines = lines(codeowners)?;
        let names = Names::new(&lines);
        let mut out = self.head();
        for (owner, name) in names.of.iter().filter(|(owner, _)| !owner.starts_with('@')) {
            let (issuer, identity) = (quoted(self.issuer), quoted(owner));
            let _ = writeln!(
                out,
                "{name} = {{ issuer = {issuer}, identity = {identity} }}"
            );
        }
        out.push_str(
            "\n[groups]\n# Users and teams of CODEOWNERS: replace \"first\" with their signers.\n",
        );
        for (owner, name) in names.of.iter().filter(|(owner, _)| owner.starts_with('@')) {
            let _ = writeln!(out, "{name} = [\"first\"] # {owner}");
        }
        let everyone: Vec<String> = names.of.values().map(|name| quoted(name)).collect();
        let everyone = [&["\"first\"".to_owned()][..], &everyone].concat();
        let _ = writeln!(out, "owners = [\"first\"]\nall = [{}]", everyone.join(", "));
        for (at, line) in lines.iter().enumerate() {
            let later = lines.get(at.saturating_add(1)..).unwrap_or_default();
            if let Some(rule) = self.owners_rule(line, later, &names) {
                out.push_str(&rule);
            }
        }
        let branch = quoted(self.branch);
        let others = quoted(&format!("!{}", self.branch));
        let short = self.branch.strip_prefix("refs/heads/");
        let title = quoted(&format!("merging {}", short.unwrap_or(self.branch)));
        let _ = write!(
            out,
            "
[[rules]]
name = {title}
refs = [{branch}]
merge = [\"all\"]
create = [\"anyone\"]
update = [\"anyone\"]
policy = [\"owners\"]

[[rules]]
name = \"drafts\"
refs = [\"refs/heads/**\", {others}]
commit = [\"anyone\"]
merge = [\"anyone\"]
create = [\"anyone\"]
update = [\"anyone\"]
rewrite = [\"anyone\"]
delete = [\"anyone\"]
{}",
            tags("owners")
        );
        Ok(out)
    }

    fn head(&self) -> String {
        format!(
            "\
# Signing policy for this repository. Reference: docs/policy.md.
# Anything no rule allows is rejected.
version = 2

[signers]
first = {{ issuer = {}, identity = {} }}
",
            quoted(self.issuer),
            quoted(self.identity)
        )
    }

    /// Returns the rule of one line; `None`: later lines own all that it matches.
    fn owners_rule(&self, line: &Line, later: &[Line], names: &Names) -> Option<String> {
        if later
            .iter()
            .any(|other| other.glob == line.glob || other.glob == "**")
        {
            return None;
        }
        let excluded: BTreeSet<&str> = later
            .iter()
            .filter(|other| may_overlap(&line.glob, &other.glob))
            .map(|other| other.glob.as_str())
            .collect();
        let excluded = excluded.into_iter().map(|glob| quoted(&format!("!{glob}")));
        let paths: Vec<String> = std::iter::once(quoted(&line.glob))
            .chain(excluded)
            .collect();
        let owners = names.list(&line.owners);
        Some(format!(
            "\n[[rules]]\nname = {}\nrefs = [{}]\npaths = [{}]\ncommit = [{owners}]\n",
            quoted(&line.title()),
            quoted(self.branch),
            paths.join(", "),
        ))
    }
}

fn tags(group: &str) -> String {
    format!(
        "
[[rules]]
name = \"tags\"
refs = [\"refs/tags/**\"]
tag = [\"{group}\"]
create = [\"anyone\"]
"
    )
}

/// A line of a CODEOWNERS file.
struct Line {
    /// The number, from 1; 0: all that no line matches.
    number: usize,
    glob: String,
    owners: Vec<String>,
}

impl Line {
    fn title(&self) -> String {
        if self.number == 0 {
            return "everything else".to_owned();
        }
        let shown = |c: char| if c.is_control() { '?' } else { c };
        let glob: String = self.glob.chars().take(70).map(shown).collect();
        format!("line {}: {glob}", self.number)
    }
}

/// Parses the lines with patterns, after one for all that no pattern matches.
fn lines(text: &str) -> Result<Vec<Line>, CodeownersError> {
    let mut lines = vec![Line {
        number: 0,
        glob: "**".to_owned(),
        owners: Vec::new(),
    }];
    for (line, number) in text.lines().zip(1..) {
        let fail = |message: &str| CodeownersError {
            line: number,
            message: message.to_owned(),
        };
        let words = words(line);
        let Some((pattern, owners)) = words.split_first() else {
            continue;
        };
        if pattern.starts_with('[') || pattern.starts_with("^[") {
            return Err(fail(
                "sections are not supported; write their owners behind each pattern",
            ));
        }
        let glob = glob(pattern).map_err(|message| fail(&message))?;
        if let Some(odd) = owners.iter().find(|owner| !is_owner(owner)) {
            return Err(fail(&format!(
                "{odd:?} is not an owner: expected @USER, @ORGANIZATION/TEAM or an email address"
            )));
        }
        if lines.len() > MAX_LINES {
            return Err(fail(&format!("more than {MAX_LINES} lines with patterns")));
        }
        lines.push(Line {
            number,
            glob,
            owners: owners.to_vec(),
        });
    }
    Ok(lines)
}

fn is_owner(owner: &str) -> bool {
    let rest = owner.strip_prefix('@').unwrap_or(owner);
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@' | '+');
    rest.chars().all(is_plain) && !rest.is_empty() && (owner.starts_with('@') || rest.contains('@'))
}

/// Splits a line at whitespace that is not escaped, up to a comment.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '#' if word.is_empty() => break,
            '\\' => match characters.next() {
                Some(next @ (' ' | '#')) => word.push(next),
                other => {
                    word.push('\\');
                    word.extend(other);
                }
            },
            c if c.is_whitespace() => words.extend(Some(std::mem::take(&mut word))),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Converts a pattern of CODEOWNERS, which is one of .gitignore.
fn glob(pattern: &str) -> Result<String, String> {
    if pattern.starts_with('!') || pattern.contains(['[', ']']) {
        return Err(format!(
            "{pattern:?}: CODEOWNERS has no exclusions and no character classes"
        ));
    }
    let bare = pattern.strip_suffix('/').unwrap_or(pattern);
    let is_anchored = bare.contains('/');
    let bare = bare.strip_prefix('/').unwrap_or(bare);
    if bare.is_empty() {
        return Ok("**".to_owned());
    }
    let components: Vec<String> = bare.split('/').map(component).collect();
    let last = components.last().map(String::as_str).unwrap_or_default();
    let joined = components.join("/");
    Ok(match last {
        // Anything; anything below; any file directly in a directory.
        "*" if !is_anchored => "**".to_owned(),
        "**" => joined,
        "*" => joined,
        // A file, or all that is in a directory.
        _ if is_anchored => format!("{joined}/**"),
        _ => format!("**/{joined}/**"),
    })
}

/// Converts a component: `**` within one is `*`, and braces are only characters.
fn component(text: &str) -> String {
    if text == "**" {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '*' if out.ends_with('*') => {}
            '{' | '}' => out.extend(['\\', c]),
            other => out.push(other),
        }
    }
    out
}

/// Returns whether two patterns may match the same path, by the components that both
/// spell out.
fn may_overlap(one: &str, other: &str) -> bool {
    let is_literal = |component: &str| !component.contains(['*', '?', '\\']);
    one.split('/')
        .zip(other.split('/'))
        .take_while(|(a, b)| *a != "**" && *b != "**")
        .all(|(a, b)| a == b || !is_literal(a) || !is_literal(b))
}

/// Names of signers and groups, by their owner in CODEOWNERS.
struct Names {
    of: BTreeMap<String, String>,
}

impl Names {
    fn new(lines: &[Line]) -> Self {
        let mut taken: BTreeSet<String> = ["anyone", "nobody", "first", "owners", "all"]
            .map(str::to_owned)
            .into();
        let mut of = BTreeMap::new();
        for owner in lines.iter().flat_map(|line| &line.owners) {
            if of.contains_key(owner) {
                continue;
            }
            let bare = owner.strip_prefix('@').unwrap_or(owner);
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let plain: String = bare
                .chars()
                .take(80)
                .map(|c| if is_name(c) { c } else { '-' })
                .collect();
            let mut name = plain.clone();
            let mut number = 2_usize;
            while !taken.insert(name.clone()) {
                name = format!("{plain}-{number}");
                number = number.saturating_add(1);
            }
            of.insert(owner.clone(), name);
        }
        Self { of }
    }

    /// Returns the names of owners as a list in TOML. A path without owners is
    /// everyone's.
    fn list(&self, owners: &[String]) -> String {
        if owners.is_empty() {
            return "\"all\"".to_owned();
        }
        let names: BTreeSet<&String> = owners.iter().filter_map(|one| self.of.get(one)).collect();
        let names: Vec<String> = names.into_iter().map(|name| quoted(name)).collect();
        names.join(", ")
    }
}

/// Returns a string in TOML, on one line.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::{Action, Policy, lint::lint};

    const STARTER: Starter<'_> = Starter {
        identity: "alice@example.com",
        issuer: "https://accounts.google.com",
        branch: "refs/heads/main",
    };

    fn parsed(text: &str) -> Policy {
        Policy::parse(text, "starter").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn lints(policy: &Policy) -> Vec<&'static str> {
        lint(policy).into_iter().map(|lint| lint.code).collect()
    }

    #[test]
    fn the_starter_is_a_policy_without_warnings() {
        assert_eq!(lints(&parsed(&STARTER.policy())), [] as [&str; 0]);
        let odd = Starter {
            identity: "a\"\\\u{e9}\u{1}",
            ..STARTER
        };
        let policy = parsed(&odd.policy());
        assert_eq!(policy.signers[0].identity.as_str(), odd.identity);
    }

    /// Who owns a path is what CODEOWNERS says: the last line that matches.
    #[test]
    fn the_last_line_that_matches_owns_a_path() {
        let text = "\
# a comment
*                 @org/all   # everything
*.js              @js-owner web@example.com
/build/logs/      @doctor
docs/*            docs@example.com
apps/             @octocat
/apps/github
/scripts/         @doctor @octocat
**/logs           @logger
/a\\ b/            @doctor
";
        let policy = parsed(&STARTER.with_owners(text).unwrap());
        let owners = |path: &str| -> Vec<String> {
            let rules = policy.rules.iter().filter(|rule| {
                rule.matches_ref(b"refs/heads/main")
                    && rule.paths.is_some()
                    && rule.matches_path(path.as_bytes())
            });
            let rules: Vec<_> = rules.collect();
            assert_eq!(rules.len(), 1, "{path}: {rules:?}");
            rules[0].may[&Action::Commit].names.clone()
        };
        for (path, expected) in [
            ("README", &["org-all"][..]),
            ("src/x.js", &["js-owner", "web-example-com"]),
            ("x.js/y", &["js-owner", "web-example-com"]),
            ("build/logs/a", &["logger"]),
            ("docs/a", &["docs-example-com"]),
            ("docs/a/b", &["org-all"]),
            ("src/apps/a", &["octocat"]),
            ("apps/github/a.js", &["all"]),
            ("scripts/logs", &["logger"]),
            ("scripts/x", &["doctor", "octocat"]),
            ("a b/c", &["doctor"]),
        ] {
            assert_eq!(owners(path), expected, "{path}");
        }
        // Teams are filled by hand; until then the first signer stands for them.
        assert!(lints(&policy).is_empty(), "{:?}", lint(&policy));
        assert!(policy.signer("web-example-com").is_some());
        assert!(policy.groups.contains_key("org-all"));
    }

    #[test]
    fn a_file_of_no_lines_leaves_one_rule() {
        let policy = parsed(&STARTER.with_owners("\n# nothing\n").unwrap());
        let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["everything else", "merging main", "drafts", "tags"]);
    }

    #[test]
    fn lines_that_cannot_be_converted_are_named() {
        for (text, line, word) in [
            ("a @x\n[Section]\nb @y\n", 2, "sections"),
            ("!a @x\n", 1, "exclusions"),
            ("a[bc] @x\n", 1, "classes"),
            ("a owner\n", 1, "\"owner\" is not an owner"),
            ("a @x\"\n", 1, "is not an owner"),
        ] {
            let error = STARTER.with_owners(text).unwrap_err();
            assert_eq!(error.line, line);
            assert!(error.message.contains(word), "{error}");
        }
        let many = "a @x\n".repeat(MAX_LINES + 1);
        assert!(STARTER.with_owners(&many).is_err());
    }
}
