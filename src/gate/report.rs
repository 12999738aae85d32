//! Reports of a push check: for the pusher (Git puts `remote: ` in front of each
//! line), for a CI service, and for programs.
//!
//! Ref names, commit subjects and identities come from other people. Each form
//! escapes them as its reader needs.

use std::{collections::BTreeSet, fmt::Write as _, io, path::Path};

use serde_json::{Value, json};

use super::overrule::Overruled;
use crate::{
    host::git::{ObjectId, objects::ReadCounts},
    report::junit::{CaseResult, JUnit},
};
use gitseal_evidence::object::ObjectKind;
use gitseal_policy::{EnforcementMode, Finding, codes};
use gitseal_terminal::{Escape, escape};

/// Maximum number of findings that the pusher sees; the rest is counted.
pub const MAX_SHOWN: usize = 20;
/// Maximum number of findings in any report. GitHub shows ten annotations of a
/// step, and a JSON report of a million findings helps no one.
pub const MAX_KEPT: usize = 10_000;

/// The subject of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemSubject {
    /// The change of the ref itself.
    Reference,
    /// A commit that the ref gains, or a tag object.
    Object {
        /// Commit or tag.
        kind: ObjectKind,
        id: ObjectId,
        /// A commit's subject or the name in a tag, unescaped.
        title: String,
    },
}

/// One finding of a push check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportItem {
    /// The ref to change, unescaped.
    pub reference: String,
    /// The object or ref that the finding is about.
    pub about: ItemSubject,
    /// The identity of the signer if the signature verifies, unescaped.
    pub signer: Option<String>,
    /// The step of the ref that brings the commit, if that is another one.
    pub step: Option<ObjectId>,
    /// The signers and groups whose merge would let the commit in.
    pub may_merge: Vec<String>,
    /// The policy's finding. Its hint is ready to be pasted: it contains only our
    /// own text and IDs.
    pub finding: Finding,
}

impl ReportItem {
    pub(super) fn level(&self) -> &'static str {
        if self.finding.refuses() {
            "error"
        } else {
            "warning"
        }
    }

    /// The finding on one line, escaped: rule, message and code.
    fn line(&self) -> String {
        let finding = &self.finding;
        let rule = match finding.rule.as_str() {
            "" => String::new(),
            rule => format!("rule {}: ", escape(rule, Escape::Prose)),
        };
        let message = escape(&finding.message, Escape::Prose);
        format!("{rule}{message} [{}]", finding.code)
    }

    /// Who else could bring the commit in, on one line, escaped.
    fn or(&self) -> Option<String> {
        let names = escape(&self.may_merge.join(", "), Escape::Ascii);
        match self.finding.code {
            _ if self.may_merge.is_empty() => None,
            codes::THRESHOLD => Some(format!("another of {names} merges this branch")),
            _ => Some(format!("{names} may merge this branch (adopt)")),
        }
    }

    /// The ref and object on one line, escaped.
    fn heading(&self) -> String {
        let mut heading = escape(&self.reference, Escape::Ascii);
        if let ItemSubject::Object { kind, id, title } = &self.about {
            let title = escape(&shorten(title), Escape::Prose);
            let _ = write!(
                heading,
                ": {} {} \"{title}\"",
                kind.name(),
                id.to_hex_with_len(12)
            );
            if let Some(signer) = &self.signer {
                let _ = write!(heading, " signed by {}", escape(signer, Escape::Ascii));
            }
            if let Some(step) = &self.step {
                let _ = write!(heading, ", in the merge {}", step.to_hex_with_len(12));
            }
        }
        heading
    }
}

/// The result for one ref. Its findings are those of the report with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefResult {
    /// The full name, unescaped.
    pub name: String,
    pub old: Option<ObjectId>,
    pub new: Option<ObjectId>,
    /// The commit from which on its first-parent history was judged.
    pub base: Option<ObjectId>,
    pub is_refused: bool,
    /// Number of commits that it gains.
    pub gained: usize,
    /// Commits that stand because a merge adopted them, and that merge.
    pub adopted: Vec<(ObjectId, ObjectId)>,
}

impl RefResult {
    /// Formats it as JSON. `overruled`: whether refusals do not count.
    pub(super) fn json(&self, overruled: bool) -> Value {
        let id = |id: &Option<ObjectId>| id.map(|id| id.to_string());
        let adopted = self.adopted.iter().map(
            |(commit, merge)| json!({ "commit": commit.to_string(), "by": merge.to_string() }),
        );
        json!({
            "name": self.name,
            "old": id(&self.old),
            "new": id(&self.new),
            "base": id(&self.base),
            "gained": self.gained,
            "verdict": match (self.is_refused, overruled) {
                (false, _) => "allowed",
                (true, false) => "refused",
                (true, true) => "overridden",
            },
            "adopted": adopted.collect::<Vec<_>>(),
        })
    }
}

/// The findings of a push check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushReport {
    /// The command: `pre-receive`, `update`, `pre-push` or `ci`.
    pub command: &'static str,
    /// The source of the policy.
    pub policy: String,
    /// The policy's contact for pushers.
    pub contact: Option<String>,
    /// Number of refs to change.
    pub references: usize,
    /// Number of commits and tags that were checked.
    pub checked: usize,
    /// What was read.
    pub read: ReadCounts,
    /// What became of a request to override the errors.
    pub overruled: Option<Overruled>,
    /// The results, ref by ref.
    pub results: Vec<RefResult>,
    /// The findings, at most [`MAX_KEPT`].
    pub items: Vec<ReportItem>,
    /// Number of findings that reject the push.
    pub refusals: usize,
    /// Number of findings that are warnings.
    pub warnings: usize,
    /// Number of the kept findings that are warnings.
    pub(super) kept_warnings: usize,
}

impl PushReport {
    /// Adds a finding. Warnings give way to errors if there are too many.
    pub fn add(&mut self, item: ReportItem) {
        let refuses = item.finding.refuses();
        let count = if refuses {
            &mut self.refusals
        } else {
            &mut self.warnings
        };
        *count = count.saturating_add(1);
        if self.items.len() < MAX_KEPT {
            self.kept_warnings = self.kept_warnings.saturating_add(usize::from(!refuses));
            self.items.push(item);
        } else if refuses
            && self.kept_warnings > 0
            && let Some(place) = self
                .items
                .iter_mut()
                .rev()
                .find(|kept| !kept.finding.refuses())
        {
            *place = item;
            self.kept_warnings = self.kept_warnings.saturating_sub(1);
        }
    }

    /// Counts findings that were not kept.
    pub fn count_more(&mut self, more: usize, is_refused: bool) {
        let count = if is_refused {
            &mut self.refusals
        } else {
            &mut self.warnings
        };
        *count = count.saturating_add(more);
    }

    /// Returns whether the push is rejected.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.refusals > 0 && !self.is_overruled()
    }

    /// Returns whether a signer overrides the errors.
    #[must_use]
    pub fn is_overruled(&self) -> bool {
        let overruled = self.overruled.as_ref();
        overruled.is_some_and(|overruled| overruled.by.is_ok())
    }

    /// Sets what became of a request to override the errors, which is a warning about
    /// the first ref that is refused.
    pub fn overrule(&mut self, overruled: Overruled) {
        let refused = self.results.iter().find(|result| result.is_refused);
        let finding = Finding::new(EnforcementMode::Warn, codes::OVERRIDE, overruled.message());
        let item = ReportItem {
            reference: refused.map_or_else(String::new, |result| result.name.clone()),
            about: ItemSubject::Reference,
            signer: None,
            step: None,
            may_merge: Vec::new(),
            finding,
        };
        self.items.insert(0, item);
        self.warnings = self.warnings.saturating_add(1);
        self.kept_warnings = self.kept_warnings.saturating_add(1);
        self.overruled = Some(overruled);
    }

    /// Returns the number of findings, kept or not.
    pub(super) fn total(&self) -> usize {
        self.refusals.saturating_add(self.warnings)
    }

    /// The override, then errors, each in the order in which it was found.
    pub(super) fn ordered(&self) -> impl Iterator<Item = &ReportItem> {
        let is_override = |item: &&ReportItem| item.finding.code == codes::OVERRIDE;
        let of = move |refuses: bool| {
            self.items
                .iter()
                .filter(move |item| !is_override(item) && item.finding.refuses() == refuses)
        };
        let first = self.items.iter().filter(is_override);
        first.chain(of(true)).chain(of(false))
    }

    /// Formats the report for the pusher, without colors. Empty if nothing was found.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        if self.total() == 0 {
            return out;
        }
        let mut refusals = self.ordered().filter(|item| item.finding.refuses());
        let (accepted, rejected) = match self.command {
            "ci" => ("check passed", "check failed"),
            _ => ("push accepted", "push rejected"),
        };
        let _ = if self.is_overruled() {
            writeln!(out, "gitseal: {accepted} by override")
        } else if !self.refuses() {
            writeln!(out, "gitseal: {accepted} with warnings")
        } else if refusals.all(|item| item.finding.code == codes::UNSIGNED) {
            writeln!(
                out,
                "gitseal: {rejected}: this repository requires signed commits"
            )
        } else {
            // Where a file is on the server is nothing to the pusher.
            let path = self.policy.as_str();
            let name = path
                .strip_prefix('/')
                .and_then(|rest| rest.rsplit('/').next());
            let policy = escape(name.unwrap_or(path), Escape::Prose);
            writeln!(out, "gitseal: {rejected} by the policy {policy}")
        };
        let mut last = None;
        let mut hints: Vec<(&str, Option<&str>)> = Vec::new();
        let mut more: BTreeSet<(&str, String)> = BTreeSet::new();
        for item in self.ordered().take(MAX_SHOWN) {
            let subject = (&item.reference, &item.about);
            if last.replace(subject) != Some(subject) {
                let _ = writeln!(out, "  {}", item.heading());
            }
            let _ = writeln!(out, "    {}: {}", item.level(), item.line());
            for (key, line) in [("help", item.finding.help.clone()), ("or", item.or())] {
                if let Some(line) = line.filter(|line| more.insert((key, line.clone()))) {
                    let _ = writeln!(out, "    {key}: {}", escape(&line, Escape::Prose));
                }
            }
            if let Some(hint) = item.finding.hint.as_deref() {
                let hint = (hint, item.finding.command.as_deref());
                if !hints.contains(&hint) {
                    hints.push(hint);
                }
            }
        }
        let left = self.total().saturating_sub(self.items.len().min(MAX_SHOWN));
        if left > 0 {
            let _ = writeln!(out, "  ... and {left} more findings");
        }
        if let Some(contact) = self.contact.as_deref().filter(|_| self.refuses()) {
            let _ = writeln!(out, "  contact: {}", escape(contact, Escape::Prose));
        }
        for (hint, command) in hints {
            let hint = escape(hint, Escape::Prose);
            // A command is on its own line, to be copied.
            let _ = match command {
                Some(command) => {
                    let command = escape(command, Escape::Prose);
                    writeln!(out, "hint: {hint}:\nhint:   {command}")
                }
                None => writeln!(out, "hint: {hint}"),
            };
        }
        let mut found = self.items.iter().map(|item| item.finding.code);
        if found.any(|code| code == codes::UNSIGNED) {
            out.push_str("hint: not set up yet? install gitseal, then run 'gitseal setup'\n");
        }
        if self.refuses() {
            let end = match (self.command, self.items.first()) {
                ("update", Some(item)) => {
                    format!("{} was not updated", escape(&item.reference, Escape::Ascii))
                }
                ("pre-push", _) => "nothing was pushed".to_owned(),
                ("ci", _) => "do not merge".to_owned(),
                _ => "no refs were updated".to_owned(),
            };
            let _ = writeln!(out, "gitseal: {end}");
        }
        out
    }

    /// Formats the report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .ordered()
            .map(|item| {
                let (kind, id, text) = match &item.about {
                    ItemSubject::Reference => ("reference", None, None),
                    ItemSubject::Object { kind, id, title } => {
                        (kind.name(), Some(id.to_string()), Some(title))
                    }
                };
                let finding = &item.finding;
                json!({
                    "reference": item.reference,
                    "about": kind,
                    "id": id,
                    "text": text,
                    "signer": item.signer,
                    "step": item.step.map(|step| step.to_string()),
                    "may_merge": item.may_merge,
                    "rule": finding.rule,
                    "mode": finding.mode.as_str(),
                    "code": finding.code,
                    "message": finding.message,
                    "hint": finding.hint,
                    "command": finding.command,
                    "help": finding.help,
                    "policy_hint": finding.policy_hint,
                })
            })
            .collect();
        json!({
            "command": self.command,
            "verdict": match (self.refuses(), self.is_overruled()) {
                (true, _) => "refused",
                (false, true) => "overridden",
                (false, false) => "allowed",
            },
            "override": self.overruled.as_ref().map(Overruled::json),
            "policy": self.policy,
            "contact": self.contact,
            "references": self.references,
            "checked": self.checked,
            "commits_read": self.read.commits_and_tags,
            "trees_read": self.read.trees,
            "refusals": self.refusals,
            "warnings": self.warnings,
            "results": self.results.iter().map(|result| result.json(self.is_overruled())).collect::<Vec<_>>(),
            "findings": findings,
        })
    }

    /// Formats workflow commands of GitHub Actions, one on each line.
    #[must_use]
    pub fn annotations(&self) -> String {
        let mut out = String::new();
        for item in self.ordered().take(MAX_SHOWN) {
            let title = match &item.about {
                ItemSubject::Reference => "gitseal".to_owned(),
                ItemSubject::Object { kind, id, .. } => {
                    format!("gitseal: {} {}", kind.name(), id.to_hex_with_len(12))
                }
            };
            let mut text = format!("{}: {}", item.heading(), item.line());
            if let Some(hint) = item.finding.hint_line() {
                let _ = write!(text, "; {}", escape(&hint, Escape::Prose));
            }
            let (title, text) = (property(&title), message(&text));
            let _ = writeln!(out, "::{} title={title}::{text}", item.level());
        }
        out
    }

    /// Formats GitHub-flavored Markdown for the job's summary.
    #[must_use]
    pub fn markdown(&self, what: &str) -> String {
        let mut out = String::new();
        let result = if self.refuses() {
            "rejected"
        } else {
            "accepted"
        };
        let _ = writeln!(out, "### gitseal: {} {result}\n", markdown(what));
        let _ = writeln!(
            out,
            "{} commits and tags checked against the policy {}: {} errors, {} warnings.\n",
            self.checked,
            markdown(&self.policy),
            self.refusals,
            self.warnings
        );
        if self.items.is_empty() {
            return out;
        }
        out.push_str("| | Object | Signer | Rule | Problem | Fix |\n|---|---|---|---|---|---|\n");
        let most = MAX_SHOWN.saturating_mul(5);
        for item in self.ordered().take(most) {
            let object = match &item.about {
                ItemSubject::Reference => item.reference.clone(),
                ItemSubject::Object { kind, id, title } => {
                    format!("{} {} {title}", kind.name(), id.to_hex_with_len(12))
                }
            };
            let finding = &item.finding;
            let fix = finding.hint_line().as_deref().map(markdown);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} ({}) | {} |",
                item.level(),
                markdown(&object),
                markdown(item.signer.as_deref().unwrap_or("none")),
                markdown(&finding.rule),
                markdown(&finding.message),
                markdown(finding.code),
                fix.map(|fix| format!("<code>{fix}</code>"))
                    .unwrap_or_default(),
            );
        }
        let left = self.total().saturating_sub(self.items.len().min(most));
        if left > 0 {
            let _ = writeln!(out, "\nand {left} more findings");
        }
        out
    }

    /// Returns GitLab's Code Quality report.
    #[must_use]
    pub fn code_quality(&self) -> Value {
        use sha2::{Digest as _, Sha256};
        Value::Array(
            self.ordered()
                .map(|item| {
                    let finding = &item.finding;
                    let key = format!(
                        "{}\0{:?}\0{}\0{}",
                        item.reference, item.about, finding.rule, finding.code
                    );
                    let digest = Sha256::digest(key.as_bytes());
                    json!({
                        "type": "issue",
                        "check_name": format!("gitseal/{}", finding.code),
                        "description": format!("{}: {}", item.heading(), item.line()),
                        "categories": ["Security"],
                        "severity": if finding.refuses() { "blocker" } else { "minor" },
                        "fingerprint": gitseal_evidence::hex(&digest),
                        // The report must name a file; a commit is none.
                        "location": { "path": ".gitseal/policy.toml", "lines": { "begin": 1 } },
                    })
                })
                .collect(),
        )
    }

    /// Writes a JUnit report: one test case for each finding, and one for all that
    /// passed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn junit(&self, path: &Path, what: &str) -> io::Result<()> {
        let mut junit = JUnit::create(path, "ci")?;
        let all = format!("{what}: {} commits and tags checked", self.checked);
        junit.add("push", &all, CaseResult::Passed)?;
        for item in self.ordered() {
            let (code, message) = (item.finding.code, item.line());
            let result = if item.finding.refuses() {
                CaseResult::Failed { code, message }
            } else {
                CaseResult::Skipped(message)
            };
            junit.add(code, &item.heading(), result)?;
        }
        junit.finish()
    }
}

fn shorten(text: &str) -> String {
    const MOST: usize = 72;
    let mut characters = text.chars();
    let mut cut: String = characters.by_ref().take(MOST).collect();
    if characters.next().is_some() {
        cut.push_str("...");
    }
    cut
}

/// Escapes the data of a workflow command, and the older form of commands (`##[`),
/// which the runner finds in the middle of a line.
fn message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
        .replace("##[", "#\\u{23}[")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// Escapes text for Markdown: each character that is not a letter, a digit or a
/// space becomes a character reference, which is never structure (CommonMark §2.5).
fn markdown(text: &str) -> String {
    let mut out = String::new();
    for character in escape(text, Escape::Prose).chars() {
        if character.is_alphanumeric() || character == ' ' {
            out.push(character);
        } else {
            let _ = write!(out, "&#{};", u32::from(character));
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "x\n::error::y\r##[add-mask]z \u{1b}[2K | [a](javascript:b) <img> @all `c` \u{202e}%";

    fn item(refuses: bool) -> ReportItem {
        ReportItem {
            reference: "refs/heads/main".to_owned(),
            about: ItemSubject::Object {
                kind: ObjectKind::Commit,
                id: ObjectId::from_hex(&[b'a'; 40]).unwrap(),
                title: HOSTILE.to_owned(),
            },
            signer: Some(HOSTILE.to_owned()),
            step: None,
            may_merge: Vec::new(),
            finding: Finding {
                rule: "main".to_owned(),
                mode: if refuses {
                    EnforcementMode::Enforce
                } else {
                    EnforcementMode::Warn
                },
                code: codes::SIGNER_UNKNOWN,
                message: HOSTILE.to_owned(),
                hint: Some("git commit --amend".to_owned()),
                command: None,
                help: None,
                policy_hint: None,
            },
        }
    }

    fn report(items: Vec<ReportItem>) -> PushReport {
        let mut report = PushReport {
            command: "pre-receive",
            policy: "policy.toml".to_owned(),
            contact: Some("https://wiki.example/\u{1b}signing".to_owned()),
            references: 1,
            checked: 3,
            ..PushReport::default()
        };
        for item in items {
            report.add(item);
        }
        report
    }

    #[test]
    fn the_pusher_sees_findings_and_hints() {
        let text = report(vec![item(true), item(false)]).text();
        assert!(
            text.starts_with("gitseal: push rejected by the policy policy.toml\n"),
            "{text}"
        );
        assert!(
            text.contains("refs/heads/main: commit aaaaaaaaaaaa"),
            "{text}"
        );
        assert!(text.contains("    error: rule main: "), "{text}");
        assert!(text.contains("    warning: "), "{text}");
        assert!(text.contains("hint: git commit --amend\n"), "{text}");
        assert!(
            text.contains("\n  contact: https://wiki.example/"),
            "{text}"
        );
        assert!(text.ends_with("no refs were updated\n"), "{text}");
        for bad in ['\u{1b}', '\r', '\u{202e}'] {
            assert!(!text.contains(bad), "{text}");
        }
        assert!(text.lines().all(|line| !line.starts_with("::")), "{text}");
        assert_eq!(report(vec![]).text(), "");
        let mut unsigned = item(true);
        unsigned.finding.code = codes::UNSIGNED;
        let text = report(vec![unsigned]).text();
        assert!(
            text.contains(": this repository requires signed commits\n"),
            "{text}"
        );
        assert!(text.contains("\nhint: not set up yet?"), "{text}");
        let mut command = item(true);
        command.finding.hint = Some("sign it".to_owned());
        command.finding.command = Some("git commit --amend".to_owned());
        let text = report(vec![command]).text();
        assert!(
            text.contains("\nhint: sign it:\nhint:   git commit --amend\n"),
            "{text}"
        );
        let warned = report(vec![item(false)]);
        assert!(!warned.refuses());
        assert!(!warned.text().contains("contact"), "only where it helps");
        assert!(
            warned
                .text()
                .starts_with("gitseal: push accepted with warnings")
        );
    }

    /// Whom to ask, and who else could bring it in.
    #[test]
    fn a_refusal_says_what_the_pusher_can_do() {
        let mut one = item(true);
        one.finding.help = Some("ask in #web\u{1b}[1m".to_owned());
        one.may_merge = vec!["alice".to_owned(), "carol".to_owned()];
        one.step = Some(ObjectId::null(gix::hash::Kind::Sha1));
        let mut report = report(vec![one.clone(), one.clone()]);
        report.policy = ".gitseal/policy.toml of main at 3b18e512dba7".to_owned();
        let text = report.text();
        for line in [
            "gitseal: push rejected by the policy .gitseal/policy.toml of main at 3b18e512dba7\n",
            ", in the merge 000000000000\n",
            "    or: alice, carol may merge this branch (adopt)\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        // Once, however many findings it is about.
        assert_eq!(text.matches("    help: ask in #web").count(), 1, "{text}");
        assert_eq!(text.matches("    or: ").count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        // The path of a file on the server stays there.
        report.policy = "/etc/gitseal/policy.toml".to_owned();
        assert!(report.text().contains("by the policy policy.toml\n"));
        one.finding.code = codes::THRESHOLD;
        assert_eq!(
            one.or().as_deref(),
            Some("another of alice, carol merges this branch")
        );
        one.may_merge.clear();
        assert_eq!(one.or(), None);
    }

    #[test]
    fn findings_are_counted_when_they_are_many() {
        let mut report = report(vec![item(false); MAX_KEPT + 7]);
        assert_eq!(
            (report.items.len(), report.warnings),
            (MAX_KEPT, MAX_KEPT + 7)
        );
        report.add(item(true));
        assert!(report.refuses());
        let text = report.text();
        assert!(
            text.contains("error: "),
            "a refusal is not crowded out: {text}"
        );
        assert!(text.contains("... and 9988 more findings"), "{text}");
    }

    #[test]
    fn annotations_hold_one_command_a_line() {
        let text = report(vec![item(true), item(false)]).annotations();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("::error title=gitseal%3A commit aaaaaaaaaaaa::"),
            "{text}"
        );
        assert!(lines[1].starts_with("::warning "), "{text}");
        for line in lines {
            assert!(!line.contains("##["), "{line}");
            assert!(!line.contains('\r') && !line.contains('\u{1b}'), "{line}");
            assert!(line.ends_with("git commit --amend"), "{line}");
            assert!(line.contains("%25"), "{line}");
        }
    }

    #[test]
    fn markdown_stays_text() {
        let text = report(vec![item(true)]).markdown("pull request 7");
        let row = text
            .lines()
            .find(|line| line.starts_with("| error"))
            .unwrap();
        assert_eq!(row.matches('|').count(), 7, "{row}");
        for bad in ["<img", "](", "@all", "`", "::error"] {
            assert!(!row.contains(bad), "{bad}: {row}");
        }
    }

    #[test]
    fn reports_for_gitlab() {
        let both = report(vec![item(true), item(false)]);
        let quality = both.code_quality();
        assert_eq!(quality[0]["severity"], "blocker");
        assert_ne!(quality[0]["fingerprint"], "");
        let file = tempfile::tempdir().unwrap().path().with_extension("xml");
        both.junit(&file, "merge request 12").unwrap();
        let xml = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(xml.contains("tests=\"3\" failures=\"1\""), "{xml}");
        assert!(!xml.contains("<img>") && !xml.contains('\u{1b}'), "{xml}");
        assert_eq!(xml.matches("<failure ").count(), 1);
    }

    #[test]
    fn programs_read_it_whole() {
        let value = report(vec![item(true)]).json();
        assert_eq!(value["verdict"], "refused");
        assert_eq!(value["findings"][0]["code"], "signer-unknown");
        assert_eq!(value["findings"][0]["message"], HOSTILE);
    }
}
