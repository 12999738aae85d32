//! What many verdicts come to: counts by signer and by reason, lines as they
//! come, a table at the end, and the files that CI reads.

use std::{collections::BTreeMap, io};

use serde_json::{Map, Value, json};

use super::{UNWRITTEN, exit_of, junit::JUnit, online, sarif::Sarif};
use crate::{
    batch::{Judged, Opinion, OtherKind},
    cli::ReportArgs,
    context::ContextError,
    host::git::GitError,
};
use gitseal_evidence::{
    memo,
    object::ObjectKind,
    refusal::Step,
    verify::{self, Refusal, Verified},
};
use gitseal_terminal::{self as terminal, Escape, Lines, Progress, Tone, escape, paint};

/// The most failures that are told one by one to people; JSON and files have all.
pub const MAX_TOLD: u64 = 100;
/// The most signers that are counted one by one.
pub const MAX_SIGNERS: usize = 4096;
/// The most signers in the table for people.
const MAX_ROWS: usize = 50;

/// What is counted but fails nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Objects without a signature.
    pub unsigned: bool,
    /// Signatures of other kinds.
    pub other_kinds: bool,
    /// Where a shallow clone ends.
    pub shallow: bool,
}

/// One verdict, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// In one word.
    pub verdict: &'static str,
    /// Whether it fails the range, and how.
    pub weight: Weight,
    /// The stable name of the reason, unless it is good.
    pub code: &'static str,
    /// The reason.
    pub words: String,
    /// The step that said no, if a step did.
    pub step: Option<Step>,
}

/// What a verdict does to the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nothing.
    Passes,
    /// It is refused.
    Refuses,
    /// It leaves it undecided.
    Doubts,
}

impl Line {
    fn of(opinion: &Opinion, allowed: Allowed) -> Self {
        let refused = |verdict, weight, refusal: &Refusal| Self {
            verdict,
            weight,
            code: refusal.code(),
            words: refusal.reason.to_string(),
            step: Some(refusal.step),
        };
        let plain = |verdict, weight, code, words: String| Self {
            verdict,
            weight,
            code,
            words,
            step: None,
        };
        let unless = |is_allowed: bool, weight| {
            if is_allowed { Weight::Passes } else { weight }
        };
        match opinion {
            Opinion::Good(_) => plain("good", Weight::Passes, "", String::new()),
            Opinion::NotWanted { refusal, .. } | Opinion::Refused(refusal) => {
                refused("refused", Weight::Refuses, refusal)
            }
            Opinion::Undecided {
                lookup: Some(error),
                ..
            } => Self {
                step: Some(Step::Entry),
                ..plain(
                    "undecided",
                    Weight::Doubts,
                    "lookup-failed",
                    error.to_string(),
                )
            },
            Opinion::Undecided {
                refusal,
                lookup: None,
            } => refused("undecided", Weight::Doubts, refusal),
            Opinion::Unsigned => plain(
                "unsigned",
                unless(allowed.unsigned, Weight::Refuses),
                "object-unsigned",
                "not signed".to_owned(),
            ),
            Opinion::Other(kind) => plain(
                "other",
                unless(allowed.other_kinds, Weight::Refuses),
                "other-kind",
                format!("{} signature, which is not verified here", kind.name()),
            ),
            Opinion::Unreadable {
                boundary: Some(child),
                ..
            } => plain(
                "undecided",
                unless(allowed.shallow, Weight::Doubts),
                "shallow-boundary",
                format!("history is cut off here: {child} is the boundary of a shallow clone"),
            ),
            Opinion::Unreadable {
                error,
                boundary: None,
            } => match error {
                GitError::Damaged { .. } => plain(
                    "refused",
                    Weight::Refuses,
                    "object-damaged",
                    error.to_string(),
                ),
                GitError::TooLarge { .. } => plain(
                    "refused",
                    Weight::Refuses,
                    "object-too-large",
                    error.to_string(),
                ),
                GitError::Missing { .. } => plain(
                    "undecided",
                    Weight::Doubts,
                    "object-missing",
                    error.to_string(),
                ),
                _ => plain(
                    "undecided",
                    Weight::Doubts,
                    "object-unreadable",
                    error.to_string(),
                ),
            },
        }
    }

    /// The verdict as a JSON object.
    fn json(&self, judged: &Judged) -> Value {
        let verified = verified_of(&judged.opinion);
        let refusal = match self.code {
            "" => Value::Null,
            code => json!({
                "step": self.step.map(Step::number),
                "code": code,
                "message": self.words,
            }),
        };
        json!({
            "object": judged.id,
            "type": judged.kind.name(),
            "verdict": self.verdict,
            "fails": self.weight != Weight::Passes,
            "refusal": refusal,
            "named": verified.is_some_and(|verified| verified.named),
            "identity": verified.map(|verified| verified.identity.san.value()),
            "issuer": verified.map(|verified| &verified.identity.issuer),
            "time": verified.map(|verified| verify::rfc3339(verified.time)),
            "time_source": verified.map(|verified| verified.time_source.words()),
            "log_index": verified.and_then(|verified| verified.log_index),
            "certificate_sha1": verified.map(|verified| verified.certificate.sha1_hex()),
        })
    }
}

pub(super) fn verified_of(opinion: &Opinion) -> Option<&Verified> {
    match opinion {
        Opinion::Good(verified) | Opinion::NotWanted { verified, .. } => Some(verified),
        _ => None,
    }
}

/// What one signer signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signed {
    objects: u64,
    refused: u64,
    first: i64,
    last: i64,
}

/// A reason, how often, and where first.
#[derive(Debug, Clone)]
struct Reasons {
    objects: u64,
    example: String,
}

/// All verdicts, counted.
#[derive(Debug)]
pub struct Summary {
    allowed: Allowed,
    commits: u64,
    tags: u64,
    good: u64,
    refused: u64,
    undecided: u64,
    unsigned: u64,
    named: bool,
    other: BTreeMap<OtherKind, u64>,
    signers: BTreeMap<(String, String), Signed>,
    more_signers: u64,
    reasons: BTreeMap<&'static str, Reasons>,
    boundaries: u64,
    broken: u64,
    stopped: bool,
    signatures: Option<(memo::MemoStats, online::Counts)>,
}

impl Summary {
    pub(super) fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            commits: 0,
            tags: 0,
            good: 0,
            refused: 0,
            undecided: 0,
            unsigned: 0,
            named: true,
            other: BTreeMap::new(),
            signers: BTreeMap::new(),
            more_signers: 0,
            reasons: BTreeMap::new(),
            boundaries: 0,
            broken: 0,
            stopped: false,
            signatures: None,
        }
    }

    /// Counts a verdict and says how it is reported.
    pub(super) fn add(&mut self, judged: &Judged) -> Line {
        let line = Line::of(&judged.opinion, self.allowed);
        let count = |number: &mut u64| *number = number.saturating_add(1);
        if matches!(
            judged.opinion,
            Opinion::Unreadable {
                boundary: Some(_),
                ..
            }
        ) {
            count(&mut self.boundaries);
        } else {
            match judged.kind {
                ObjectKind::Commit => count(&mut self.commits),
                ObjectKind::Tag => count(&mut self.tags),
            }
        }
        match line.weight {
            Weight::Passes => {}
            Weight::Refuses => count(&mut self.refused),
            Weight::Doubts => count(&mut self.undecided),
        }
        match &judged.opinion {
            Opinion::Good(verified) => {
                count(&mut self.good);
                self.named &= verified.named;
                self.signed(verified, false);
            }
            Opinion::NotWanted { verified, .. } => self.signed(verified, true),
            Opinion::Unsigned => count(&mut self.unsigned),
            Opinion::Other(kind) => count(self.other.entry(*kind).or_default()),
            Opinion::Refused(_) | Opinion::Undecided { .. } | Opinion::Unreadable { .. } => {}
        }
        if line.weight != Weight::Passes {
            let reason = self.reasons.entry(line.code).or_insert_with(|| Reasons {
                objects: 0,
                example: judged.id.clone(),
            });
            count(&mut reason.objects);
        }
        line
    }

    fn signed(&mut self, verified: &Verified, refused: bool) {
        let key = (
            verified.identity.san.value().to_owned(),
            verified.identity.issuer.clone(),
        );
        if self.signers.len() >= MAX_SIGNERS && !self.signers.contains_key(&key) {
            self.more_signers = self.more_signers.saturating_add(1);
            return;
        }
        let at = verified.time;
        let signed = self.signers.entry(key).or_insert(Signed {
            objects: 0,
            refused: 0,
            first: at,
            last: at,
        });
        signed.objects = signed.objects.saturating_add(1);
        signed.refused = signed.refused.saturating_add(u64::from(refused));
        signed.first = signed.first.min(at);
        signed.last = signed.last.max(at);
    }

    pub(super) fn broken_reference(&mut self) {
        self.broken = self.broken.saturating_add(1);
    }

    /// Counts a failure that is about no single object.
    fn fail(&mut self, weight: Weight, code: &'static str, example: &str) {
        match weight {
            Weight::Passes => return,
            Weight::Refuses => self.refused = self.refused.saturating_add(1),
            Weight::Doubts => self.undecided = self.undecided.saturating_add(1),
        }
        let reason = self.reasons.entry(code).or_insert_with(|| Reasons {
            objects: 0,
            example: example.to_owned(),
        });
        reason.objects = reason.objects.saturating_add(1);
    }

    pub(super) fn stopped(&mut self) {
        self.stopped = true;
    }

    pub(super) fn signatures(&mut self, computed: memo::MemoStats, online: online::Counts) {
        self.signatures = Some((computed, online));
    }

    /// Objects that fail the range.
    pub(super) fn failures(&self) -> u64 {
        self.refused.saturating_add(self.undecided)
    }

    /// 0, 1 or 3.
    #[must_use]
    pub fn exit(&self) -> u8 {
        exit_of(self.refused, self.undecided)
    }

    pub(crate) fn json(&self, more: Option<Value>) -> Value {
        let signers: Vec<Value> = self
            .signers
            .iter()
            .map(|((identity, issuer), signed)| {
                json!({
                    "identity": identity,
                    "issuer": issuer,
                    "objects": signed.objects,
                    "refused": signed.refused,
                    "first": verify::rfc3339(signed.first),
                    "last": verify::rfc3339(signed.last),
                })
            })
            .collect();
        let reasons: Vec<Value> = self
            .reasons
            .iter()
            .map(|(code, reason)| {
                json!({"code": code, "objects": reason.objects, "example": reason.example})
            })
            .collect();
        let other: Map<String, Value> = self
            .other
            .iter()
            .map(|(kind, objects)| (kind.name().to_owned(), json!(objects)))
            .collect();
        let mut summary = json!({
            "commits": self.commits,
            "tags": self.tags,
            "good": self.good,
            "refused": self.refused,
            "undecided": self.undecided,
            "unsigned": self.unsigned,
            "other": other,
            "named": self.good > 0 && self.named,
            "signers": signers,
            "objects_of_more_signers": self.more_signers,
            "reasons": reasons,
            "shallow_boundaries": self.boundaries,
            "broken_references": self.broken,
            "stopped_early": self.stopped,
            "verdict": match self.exit() {
                0 => "good",
                1 => "refused",
                _ => "undecided",
            },
        });
        if let (Some(Value::Object(more)), Some(summary)) = (more, summary.as_object_mut()) {
            summary.extend(more);
        }
        json!({ "summary": summary })
    }

    /// The table for people.
    fn table(&self) -> String {
        let mut out = String::new();
        let mut rows = vec![
            ["signer", "identity provider", "signed", "first", "last"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let mut by_number: Vec<_> = self.signers.iter().collect();
        by_number.sort_by_key(|(_, signed)| std::cmp::Reverse(signed.objects));
        let day = |at: i64| {
            let text = verify::rfc3339(at);
            text.split_once('T')
                .map_or(text.clone(), |(day, _)| day.to_owned())
        };
        for ((identity, issuer), signed) in by_number.iter().take(MAX_ROWS) {
            let objects = match signed.refused {
                0 => signed.objects.to_string(),
                refused => format!("{} ({refused} refused)", signed.objects),
            };
            rows.push(vec![
                escape(identity, Escape::Ascii),
                escape(issuer, Escape::Ascii),
                objects,
                day(signed.first),
                day(signed.last),
            ]);
        }
        if rows.len() > 1 {
            out.push_str(&terminal::table(&rows));
        }
        let unlisted = by_number.iter().skip(MAX_ROWS).map(|(_, one)| one.objects);
        let unlisted = unlisted.fold(self.more_signers, u64::saturating_add);
        if unlisted > 0 {
            out.push_str(&format!("and {unlisted} by others\n"));
        }
        let mut rows = Vec::new();
        for (code, reason) in &self.reasons {
            rows.push(vec![
                format!("[{code}]"),
                reason.objects.to_string(),
                format!("first {}", escape(&reason.example, Escape::Ascii)),
            ]);
        }
        if !rows.is_empty() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&terminal::table(&rows));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&self.last_line());
        out
    }

    /// The counts in one line.
    fn last_line(&self) -> String {
        let plural = |count: u64, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {one}s"),
        };
        let mut parts = vec![format!("{} verified", self.good)];
        let mut part = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        part(self.unsigned, "unsigned");
        for (kind, count) in &self.other {
            part(*count, &format!("with an {} signature", kind.name()));
        }
        part(self.refused, "refused");
        part(self.undecided, "undecided");
        part(self.boundaries, "cut off by a shallow clone");
        let mut what = vec![plural(self.commits, "commit")];
        if self.tags > 0 {
            what.push(plural(self.tags, "tag"));
        }
        let tone = match self.exit() {
            0 => (Tone::Good, "verified"),
            1 => (Tone::Bad, "refused"),
            _ => (Tone::Warning, "undecided"),
        };
        let mut line = format!(
            "gitseal: {}: {}: {}\n",
            paint(tone.0, tone.1),
            what.join(", "),
            parts.join(", ")
        );
        if self.stopped {
            line.push_str(
                "gitseal: stopped at the failures that were allowed; the rest was not looked at\n",
            );
        }
        if self.good > 0 && !self.named {
            line.push_str("gitseal: nobody said who may sign, so anybody could have\n");
        }
        line
    }
}

/// What a failure is about that is about no single object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// `reference`, `tag name`, `log`.
    pub kind: &'a str,
    /// Which.
    pub name: &'a str,
    /// The stable name of the reason.
    pub code: &'static str,
    /// An object that it concerns, or what else it is found by.
    pub example: &'a str,
}

/// Where verdicts go as they come.
pub struct Report {
    lines: Option<Lines>,
    told: u64,
    junit: Option<JUnit>,
    sarif: Option<Sarif>,
    unwritten: Option<io::Error>,
}

impl Report {
    pub(super) fn open(
        what: &'static str,
        json: bool,
        flags: &ReportArgs,
    ) -> Result<Self, ContextError> {
        let cannot = |path: &std::path::Path| {
            let path = path.to_owned();
            move |error| ContextError::Output { path, error }
        };
        let junit = match &flags.junit {
            Some(path) => Some(JUnit::create(path, what).map_err(cannot(path))?),
            None => None,
        };
        let sarif = match &flags.sarif {
            Some(path) => Some(Sarif::create(path).map_err(cannot(path))?),
            None => None,
        };
        Ok(Self {
            lines: json.then(Lines::start),
            told: 0,
            junit,
            sarif,
            unwritten: None,
        })
    }

    /// Reports one verdict. Whether there is any use in going on.
    pub(super) fn add(&mut self, judged: &Judged, line: &Line, progress: &Progress) -> bool {
        let mut wrote = Ok(());
        if let Some(lines) = &mut self.lines {
            wrote = lines.json(&line.json(judged));
        } else if line.weight != Weight::Passes {
            self.told = self.told.saturating_add(1);
            if self.told <= MAX_TOLD {
                wrote = progress.aside(|| terminal::print(&for_people(judged, line)));
            }
        }
        if let Some(junit) = &mut self.junit {
            wrote = wrote.and_then(|()| junit.add(judged.kind.name(), &judged.id, line));
        }
        if let Some(sarif) = &mut self.sarif {
            wrote = wrote.and_then(|()| sarif.add(judged.kind.name(), &judged.id, line));
        }
        match wrote {
            Ok(()) => true,
            Err(error) => {
                self.unwritten = Some(error);
                false
            }
        }
    }

    /// Counts and reports a failure that is about no single object: a reference, a
    /// name, a log. People are told by whoever found it.
    pub(crate) fn note(
        &mut self,
        summary: &mut Summary,
        about: About<'_>,
        weight: Weight,
        words: String,
    ) {
        summary.fail(weight, about.code, about.example);
        let line = Line {
            verdict: match weight {
                Weight::Passes => return,
                Weight::Refuses => "refused",
                Weight::Doubts => "undecided",
            },
            weight,
            code: about.code,
            words,
            step: None,
        };
        let mut wrote = Ok(());
        if let Some(junit) = &mut self.junit {
            wrote = junit.add(about.kind, about.name, &line);
        }
        if let Some(sarif) = &mut self.sarif {
            wrote = wrote.and_then(|()| sarif.add(about.kind, about.name, &line));
        }
        if let Err(error) = wrote {
            self.unwritten = Some(error);
        }
    }

    /// Closes the report: table or last JSON line, and the files.
    pub(crate) fn finish(mut self, summary: &Summary, more: Option<Value>) -> u8 {
        let close = || -> io::Result<()> {
            if let Some(error) = self.unwritten.take() {
                return Err(error);
            }
            match &mut self.lines {
                Some(lines) => {
                    lines.json(&summary.json(more))?;
                    lines.finish()?;
                }
                None => {
                    let mut text = String::new();
                    if self.told > MAX_TOLD {
                        let left = self.told.saturating_sub(MAX_TOLD);
                        text.push_str(&format!("and {left} more failures; --json lists all\n"));
                    }
                    if self.told > 0 {
                        text.push('\n');
                    }
                    text.push_str(&summary.table());
                    terminal::print(&text)?;
                }
            }
            if let Some(junit) = self.junit.take() {
                junit.finish()?;
            }
            if let Some(sarif) = self.sarif.take() {
                sarif.finish()?;
            }
            Ok(())
        };
        match close() {
            Ok(()) => 0,
            Err(error) => {
                terminal::error(&format!("the report cannot be written: {error}"), None);
                UNWRITTEN
            }
        }
    }
}

/// One failure in one line.
fn for_people(judged: &Judged, line: &Line) -> String {
    let tone = match line.weight {
        Weight::Passes => Tone::Plain,
        Weight::Refuses => Tone::Bad,
        Weight::Doubts => Tone::Warning,
    };
    let step = line
        .step
        .map(|step| format!(" at {step}"))
        .unwrap_or_default();
    format!(
        "{} {} {}{step}: {} [{}]\n",
        judged.kind.name(),
        judged.id,
        paint(tone, line.verdict),
        escape(&line.words, Escape::Prose),
        line.code
    )
}
