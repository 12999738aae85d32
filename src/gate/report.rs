//! What the gate found, for whoever reads it: the pusher (git puts `remote: ` in
//! front of each line), a CI service, a program. All of it is put together here as
//! text; nothing is printed or written.
//!
//! Names of references, subjects of commits and identities are other people's
//! text. Each form escapes them in the way that its reader needs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use gitseal_terminal::{Escape, escape};

/// The most findings that a pusher is shown; the rest is counted.
pub const MAX_SHOWN: usize = 20;
/// The most findings that any report holds. GitHub shows ten annotations of a
/// step; a JSON report of a million findings helps nobody.
pub const MAX_KEPT: usize = 10_000;

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemSubject {
    /// The change of the reference itself.
    Reference,
    /// A commit that the reference gains.
    Commit {
        /// Hex.
        id: String,
        /// First line of its message, as it is.
        subject: String,
    },
    /// A tag object.
    Tag {
        /// Hex.
        id: String,
        /// The name inside, as it is.
        name: String,
    },
}

/// One thing that is not as the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportItem {
    /// The reference that is to be changed, as it is.
    pub reference: String,
    /// What it is about.
    pub about: ItemSubject,
    /// Who signed, if somebody did: unescaped.
    pub signer: Option<String>,
    /// The rule's name.
    pub rule: String,
    /// Whether the push is refused for it; otherwise it is a warning.
    pub enforced: bool,
    /// Stable.
    pub code: String,
    /// In words: unescaped.
    pub words: String,
    /// A command that would mend it: ready to be pasted, so it holds nothing that
    /// is not our own text or an id.
    pub mend: Option<String>,
}

impl ReportItem {
    /// The rule that says it; nothing where it is that no rule does.
    fn by_rule(&self) -> String {
        match self.rule.as_str() {
            "" => String::new(),
            rule => format!("rule {rule}: "),
        }
    }
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushReport {
    /// The command: `pre-receive`, `update`, …
    pub command: &'static str,
    /// Where the policy is from.
    pub policy: String,
    /// How many references were to be changed.
    pub references: usize,
    /// How many commits and tags were judged.
    pub judged: usize,
    /// What was found, up to [`MAX_KEPT`].
    pub notes: Vec<ReportItem>,
    /// How many findings refuse the push, all of them.
    pub refusals: usize,
    /// How many findings are warnings, all of them.
    pub warnings: usize,
}

impl PushReport {
    /// Takes a finding in.
    pub fn add(&mut self, note: ReportItem) {
        if note.enforced {
            self.refusals = self.refusals.saturating_add(1);
        } else {
            self.warnings = self.warnings.saturating_add(1);
        }
        // A refusal is never crowded out by warnings.
        if self.notes.len() < MAX_KEPT {
            self.notes.push(note);
        } else if note.enforced
            && let Some(place) = self.notes.iter_mut().rev().find(|kept| !kept.enforced)
        {
            *place = note;
        }
    }

    /// Whether the push is refused.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.refusals > 0
    }

    /// Refusals first, each in the order in which it was found.
    fn ordered(&self) -> impl Iterator<Item = &ReportItem> {
        let of = |enforced: bool| {
            self.notes
                .iter()
                .filter(move |note| note.enforced == enforced)
        };
        of(true).chain(of(false))
    }

    /// For the pusher: lines without colour. Empty if there is nothing to say.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let all = self.refusals.saturating_add(self.warnings);
        if all == 0 {
            return out;
        }
        let _ = writeln!(
            out,
            "gitseal: {} by the policy {}",
            if self.refuses() {
                "refused"
            } else {
                "let through with warnings"
            },
            escape(&self.policy, Escape::Prose)
        );
        let mut shown = 0_usize;
        let mut last: Option<(&str, &ItemSubject)> = None;
        let mut mends: Vec<&str> = Vec::new();
        for note in self.ordered().take(MAX_SHOWN) {
            shown = shown.saturating_add(1);
            let head = (note.reference.as_str(), &note.about);
            if last != Some(head) {
                let _ = writeln!(out, "  {}", heading(note));
                last = Some(head);
            }
            let _ = writeln!(
                out,
                "    {}: {}{} [{}]",
                if note.enforced { "error" } else { "warning" },
                escape(&note.by_rule(), Escape::Ascii),
                escape(&note.words, Escape::Prose),
                note.code
            );
            if let Some(mend) = note.mend.as_deref()
                && !mends.contains(&mend)
            {
                mends.push(mend);
            }
        }
        let left = all.saturating_sub(shown);
        if left > 0 {
            let _ = writeln!(out, "  and {left} more");
        }
        for mend in mends {
            let _ = writeln!(out, "hint: {}", escape(mend, Escape::Prose));
        }
        if self.refuses() {
            let end = match self.command {
                "update" => "this reference stays as it is",
                "pre-push" => "nothing was sent",
                "ci" => "this is not to be merged",
                _ => "nothing of this push was taken",
            };
            let _ = writeln!(out, "gitseal: {end}");
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .ordered()
            .map(|note| {
                let (kind, id, text) = match &note.about {
                    ItemSubject::Reference => ("reference", None, None),
                    ItemSubject::Commit { id, subject } => ("commit", Some(id), Some(subject)),
                    ItemSubject::Tag { id, name } => ("tag", Some(id), Some(name)),
                };
                json!({
                    "reference": note.reference,
                    "about": kind,
                    "id": id,
                    "text": text,
                    "signer": note.signer,
                    "rule": note.rule,
                    "mode": if note.enforced { "enforce" } else { "warn" },
                    "code": note.code,
                    "words": note.words,
                    "mend": note.mend,
                })
            })
            .collect();
        json!({
            "command": self.command,
            "verdict": if self.refuses() { "refused" } else { "allowed" },
            "policy": self.policy,
            "references": self.references,
            "judged": self.judged,
            "refusals": self.refusals,
            "warnings": self.warnings,
            "findings": findings,
        })
    }

    /// Workflow commands of GitHub Actions, one line each.
    #[must_use]
    pub fn annotations(&self) -> String {
        let mut out = String::new();
        for note in self.ordered().take(MAX_SHOWN) {
            let level = if note.enforced { "error" } else { "warning" };
            let title = match &note.about {
                ItemSubject::Reference => "gitseal".to_owned(),
                ItemSubject::Commit { id, .. } => format!("gitseal: commit {}", short(id)),
                ItemSubject::Tag { id, .. } => format!("gitseal: tag {}", short(id)),
            };
            let _ = writeln!(
                out,
                "::{level} title={}::{}",
                property(&title),
                message(&format!(
                    "{}: {}{} [{}]{}",
                    heading(note),
                    escape(&note.by_rule(), Escape::Ascii),
                    escape(&note.words, Escape::Prose),
                    note.code,
                    note.mend
                        .as_deref()
                        .map(|mend| format!("; {}", escape(mend, Escape::Prose)))
                        .unwrap_or_default()
                ))
            );
        }
        out
    }

    /// GitHub-flavoured Markdown for the job's summary.
    #[must_use]
    pub fn markdown(&self, what: &str) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "### gitseal: {} {}\n",
            markdown(what),
            if self.refuses() {
                "refused"
            } else {
                "accepted"
            }
        );
        let _ = writeln!(
            out,
            "{} commits and tags judged by the policy {}: {} refusals, {} warnings.\n",
            self.judged,
            markdown(&self.policy),
            self.refusals,
            self.warnings
        );
        if self.notes.is_empty() {
            return out;
        }
        out.push_str(
            "| | what | signer | rule | why | how to mend it |\n|---|---|---|---|---|---|\n",
        );
        let most = MAX_SHOWN.saturating_mul(5);
        for note in self.ordered().take(most) {
            let what = match &note.about {
                ItemSubject::Reference => note.reference.clone(),
                ItemSubject::Commit { id, subject } => format!("{} {subject}", short(id)),
                ItemSubject::Tag { id, name } => format!("tag {name} {}", short(id)),
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} ({}) | {} |",
                if note.enforced { "error" } else { "warning" },
                markdown(&what),
                markdown(note.signer.as_deref().unwrap_or("nobody")),
                markdown(&note.rule),
                markdown(&note.words),
                markdown(&note.code),
                note.mend
                    .as_deref()
                    .map(|mend| format!("<code>{}</code>", markdown(mend)))
                    .unwrap_or_default(),
            );
        }
        let left = self
            .refusals
            .saturating_add(self.warnings)
            .saturating_sub(self.notes.len().min(most));
        if left > 0 {
            let _ = writeln!(out, "\nand {left} more");
        }
        out
    }

    /// GitLab's Code Quality report.
    #[must_use]
    pub fn code_quality(&self) -> Value {
        use sha2::{Digest as _, Sha256};
        Value::Array(
            self.ordered()
                .map(|note| {
                    let key = format!(
                        "{}\0{:?}\0{}\0{}",
                        note.reference, note.about, note.rule, note.code
                    );
                    let digest = Sha256::digest(key.as_bytes());
                    json!({
                        "type": "issue",
                        "check_name": format!("gitseal/{}", note.code),
                        "description": format!(
                            "{}: {}{}",
                            heading(note),
                            escape(&note.by_rule(), Escape::Ascii),
                            escape(&note.words, Escape::Prose)
                        ),
                        "categories": ["Security"],
                        "severity": if note.enforced { "blocker" } else { "minor" },
                        "fingerprint": gitseal_evidence::refusal::hex(&digest),
                        // The report must name a file; a commit is none.
                        "location": { "path": ".gitseal/policy.toml", "lines": { "begin": 1 } },
                    })
                })
                .collect(),
        )
    }

    /// JUnit's XML, as far as GitLab and others read it: one test case a finding,
    /// and one for all that held.
    #[must_use]
    pub fn junit(&self, what: &str) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let failures = self.ordered().filter(|note| note.enforced).count();
        let _ = writeln!(
            out,
            "<testsuites><testsuite name=\"gitseal\" tests=\"{}\" failures=\"{failures}\">",
            self.notes.len().saturating_add(1)
        );
        let _ = writeln!(
            out,
            "<testcase classname=\"gitseal\" name=\"{}\"/>",
            xml(&format!("{what}: {} commits and tags judged", self.judged))
        );
        for note in self.ordered() {
            let _ = write!(
                out,
                "<testcase classname=\"gitseal.{}\" name=\"{}\">",
                xml(&note.code),
                xml(&heading(note))
            );
            let words = format!("{}{}", note.by_rule(), note.words);
            if note.enforced {
                let _ = write!(
                    out,
                    "<failure type=\"{}\" message=\"{}\">{}</failure>",
                    xml(&note.code),
                    xml(&words),
                    xml(note.mend.as_deref().unwrap_or_default())
                );
            } else {
                let _ = write!(out, "<system-out>{}</system-out>", xml(&words));
            }
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite></testsuites>\n");
        out
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// What a finding is about, on one line, escaped.
fn heading(note: &ReportItem) -> String {
    let reference = escape(&note.reference, Escape::Ascii);
    let signer = |verb: &str| {
        note.signer
            .as_deref()
            .map(|signer| format!(" {verb} by {}", escape(signer, Escape::Ascii)))
            .unwrap_or_default()
    };
    match &note.about {
        ItemSubject::Reference => reference,
        ItemSubject::Commit { id, subject } => format!(
            "{reference}: commit {} \"{}\"{}",
            short(id),
            escape(&cut(subject), Escape::Prose),
            signer("signed")
        ),
        ItemSubject::Tag { id, name } => format!(
            "{reference}: tag {} \"{}\"{}",
            short(id),
            escape(&cut(name), Escape::Prose),
            signer("signed")
        ),
    }
}

fn cut(text: &str) -> String {
    const MOST: usize = 72;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(MOST).collect();
    cut.push_str("...");
    cut
}

/// The data of a workflow command: what the runner takes out again, and the older
/// form of commands (`##[`), which it finds in the middle of a line.
fn message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
        .replace("##[", "#\\u{23}[")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text that Markdown takes for nothing but text: whatever is neither a letter nor
/// a digit nor a blank becomes a character reference, which is never structure
/// (CommonMark §2.5).
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

/// Text in XML: what XML cannot hold is escaped before (XML 1.0 §2.2, §2.4).
fn xml(text: &str) -> String {
    escape(text, Escape::Prose)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "x\n::error::y\r##[add-mask]z \u{1b}[2K | [a](javascript:b) <img> @all `c` \u{202e}%";

    fn note(enforced: bool) -> ReportItem {
        ReportItem {
            reference: "refs/heads/main".to_owned(),
            about: ItemSubject::Commit {
                id: "a".repeat(40),
                subject: HOSTILE.to_owned(),
            },
            signer: Some(HOSTILE.to_owned()),
            rule: "main".to_owned(),
            enforced,
            code: "object-unsigned".to_owned(),
            words: HOSTILE.to_owned(),
            mend: Some("git commit --amend".to_owned()),
        }
    }

    fn report(notes: Vec<ReportItem>) -> PushReport {
        let mut report = PushReport {
            command: "pre-receive",
            policy: "policy.toml".to_owned(),
            references: 1,
            judged: 3,
            ..PushReport::default()
        };
        for note in notes {
            report.add(note);
        }
        report
    }

    #[test]
    fn the_pusher_is_told_what_and_how_to_mend_it() {
        let text = report(vec![note(true), note(false)]).text();
        assert!(
            text.starts_with("gitseal: refused by the policy policy.toml\n"),
            "{text}"
        );
        assert!(
            text.contains("refs/heads/main: commit aaaaaaaaaaaa"),
            "{text}"
        );
        assert!(text.contains("error: rule main: "), "{text}");
        assert!(text.contains("warning: rule main: "), "{text}");
        assert!(text.contains("hint: git commit --amend\n"), "{text}");
        assert!(text.ends_with("nothing of this push was taken\n"), "{text}");
        for bad in ['\u{1b}', '\r', '\u{202e}'] {
            assert!(!text.contains(bad), "{text}");
        }
        assert!(text.lines().all(|line| !line.starts_with("::")), "{text}");
        assert_eq!(report(vec![]).text(), "");
        let warned = report(vec![note(false)]);
        assert!(!warned.refuses());
        assert!(
            warned
                .text()
                .starts_with("gitseal: let through with warnings")
        );
    }

    #[test]
    fn findings_are_counted_when_they_are_many() {
        let mut report = report(vec![note(false); MAX_KEPT + 7]);
        assert_eq!(
            (report.notes.len(), report.warnings),
            (MAX_KEPT, MAX_KEPT + 7)
        );
        report.add(note(true));
        assert!(report.refuses());
        let text = report.text();
        assert!(
            text.contains("error: "),
            "a refusal is not crowded out: {text}"
        );
        assert!(text.contains("and 9988 more"), "{text}");
    }

    #[test]
    fn annotations_hold_one_command_a_line() {
        let text = report(vec![note(true), note(false)]).annotations();
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
        let text = report(vec![note(true)]).markdown("pull request 7");
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
        let both = report(vec![note(true), note(false)]);
        let quality = both.code_quality();
        assert_eq!(quality[0]["severity"], "blocker");
        assert_ne!(quality[0]["fingerprint"], "");
        let xml = both.junit("merge request 12");
        assert!(xml.contains("tests=\"3\" failures=\"1\""), "{xml}");
        assert!(!xml.contains("<img>") && !xml.contains('\u{1b}'), "{xml}");
        assert_eq!(xml.matches("<failure ").count(), 1);
    }

    #[test]
    fn programs_read_it_whole() {
        let value = report(vec![note(true)]).json();
        assert_eq!(value["verdict"], "refused");
        assert_eq!(value["findings"][0]["code"], "object-unsigned");
        assert_eq!(value["findings"][0]["words"], HOSTILE);
    }
}
