//! The report of many results: lines as they come, counts by signer and by reason at
//! the end, and the files that CI systems read.

use std::{collections::BTreeMap, io, path::Path};

use serde_json::{Value, json};

use crate::{
    batch::ObjectResult,
    cli::ReportArgs,
    context::ContextError,
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED},
    host::git::resolve::MisnamedTag,
    verdict::{Failure, MISNAMED_TAG, Verdict, exit_name},
};
use gitseal_evidence::{armor::SignatureFormat, object::ObjectKind, rfc3339, verify::Verified};
use gitseal_terminal::{
    self as terminal, Escape, Lines, Progress, Style, Styled, escape, style, styled,
};

pub mod junit;
mod line;
mod sarif;

use junit::{CaseResult, JUnit};
pub use line::Impact;
use line::{ResultLine, Tolerances};
use sarif::Sarif;

/// The maximum number of failures that the text report prints; JSON and files have all.
pub const MAX_TOLD: u64 = 100;
/// The maximum number of signers that are counted one by one.
pub const MAX_SIGNERS: usize = 4096;
/// The maximum number of signers in the table of the text report.
const MAX_ROWS: usize = 50;

/// Counts of one signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SignerCounts {
    objects: u64,
    refused: u64,
    first: i64,
    last: i64,
}

/// Counts of one reason.
#[derive(Debug, Clone)]
struct ReasonCounts {
    objects: u64,
    /// The ID of the first object.
    example: String,
}

/// The counts of all results.
#[derive(Debug, Default)]
pub struct Summary {
    tolerances: Tolerances,
    commits: u64,
    tags: u64,
    good: u64,
    refused: u64,
    undecided: u64,
    unsigned: u64,
    /// Verified without an expected identity.
    unmatched: u64,
    /// With a signature over their other form, which is not verified.
    with_unverified_header: u64,
    other: BTreeMap<SignatureFormat, u64>,
    signers: BTreeMap<(String, String), SignerCounts>,
    by_unlisted_signers: u64,
    reasons: BTreeMap<&'static str, ReasonCounts>,
    boundaries: u64,
    broken_refs: u64,
    is_stopped: bool,
}

fn count(number: &mut u64) {
    *number = number.saturating_add(1);
}

impl Summary {
    /// Creates counts of no results.
    #[must_use]
    pub fn new(tolerances: Tolerances) -> Self {
        Self {
            tolerances,
            ..Self::default()
        }
    }

    /// Counts a result and returns its impact.
    fn add(&mut self, result: &ObjectResult) -> Impact {
        let impact = Impact::of(&result.verdict, self.tolerances);
        match (&result.verdict, result.kind) {
            (
                Verdict::Unreadable {
                    boundary: Some(_), ..
                },
                _,
            ) => count(&mut self.boundaries),
            (_, ObjectKind::Commit) => count(&mut self.commits),
            (_, ObjectKind::Tag) => count(&mut self.tags),
        }
        match &result.verdict {
            Verdict::Verified(verified) => {
                count(&mut self.good);
                if !verified.identity_matched {
                    count(&mut self.unmatched);
                }
                if result.unverified_header.is_some() {
                    count(&mut self.with_unverified_header);
                }
                self.add_signer(verified, false);
            }
            Verdict::UnexpectedIdentity { verified, .. } => self.add_signer(verified, true),
            Verdict::Unsigned(_) => count(&mut self.unsigned),
            Verdict::OtherFormat { format, .. } => count(self.other.entry(*format).or_default()),
            Verdict::Refused(_) | Verdict::Undecided { .. } | Verdict::Unreadable { .. } => {}
        }
        if let Some(failure) = result.verdict.failure() {
            self.add_failure(impact, failure.code, &result.id.to_string());
        }
        impact
    }

    fn add_failure(&mut self, impact: Impact, code: &'static str, example: &str) {
        match impact {
            Impact::None => return,
            Impact::Refused => count(&mut self.refused),
            Impact::Undecided => count(&mut self.undecided),
        }
        let reason = self.reasons.entry(code).or_insert_with(|| ReasonCounts {
            objects: 0,
            example: example.to_owned(),
        });
        count(&mut reason.objects);
    }

    fn add_signer(&mut self, verified: &Verified, refused: bool) {
        let key = (
            verified.identity.san.value().to_owned(),
            verified.identity.issuer.clone(),
        );
        if self.signers.len() >= MAX_SIGNERS && !self.signers.contains_key(&key) {
            count(&mut self.by_unlisted_signers);
            return;
        }
        let at = verified.time;
        let signer = self.signers.entry(key).or_insert(SignerCounts {
            objects: 0,
            refused: 0,
            first: at,
            last: at,
        });
        count(&mut signer.objects);
        signer.refused = signer.refused.saturating_add(u64::from(refused));
        signer.first = signer.first.min(at);
        signer.last = signer.last.max(at);
    }

    /// Records that the run stopped at the maximum number of failures.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Returns the number of results that fail.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.refused.saturating_add(self.undecided)
    }

    /// Returns the exit code: a refused object outweighs an undecided one.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match (self.refused, self.undecided) {
            (0, 0) => EXIT_OK,
            (0, _) => EXIT_UNDECIDED,
            _ => EXIT_REFUSED,
        }
    }

    fn json(&self, more: Value) -> Value {
        let signers = self.signers.iter().map(|((identity, issuer), signer)| {
            json!({
                "identity": identity,
                "issuer": issuer,
                "objects": signer.objects,
                "refused": signer.refused,
                "first": rfc3339(signer.first),
                "last": rfc3339(signer.last),
            })
        });
        let reasons = self.reasons.iter().map(|(code, reason)| {
            json!({"code": code, "objects": reason.objects, "example": reason.example})
        });
        let other = self
            .other
            .iter()
            .map(|(format, objects)| (format.name().to_owned(), json!(objects)));
        let mut summary = json!({
            "commits": self.commits,
            "tags": self.tags,
            "good": self.good,
            "refused": self.refused,
            "undecided": self.undecided,
            "unsigned": self.unsigned,
            "other": Value::Object(other.collect()),
            "identity_matched": self.good > 0 && self.unmatched == 0,
            "with_unverified_header": self.with_unverified_header,
            "signers": signers.collect::<Vec<_>>(),
            "objects_by_unlisted_signers": self.by_unlisted_signers,
            "reasons": reasons.collect::<Vec<_>>(),
            "shallow_boundaries": self.boundaries,
            "broken_references": self.broken_refs,
            "stopped_early": self.is_stopped,
            "verdict": exit_name(self.exit()),
        });
        if let (Value::Object(more), Some(summary)) = (more, summary.as_object_mut()) {
            summary.extend(more);
        }
        json!({ "summary": summary })
    }

    fn text(&self) -> Styled {
        let mut out = Styled::default();
        let mut rows = vec![
            ["signer", "identity provider", "signed", "first", "last"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let mut signers: Vec<_> = self.signers.iter().collect();
        signers.sort_by_key(|(_, signer)| std::cmp::Reverse(signer.objects));
        let day = |at: i64| rfc3339(at).chars().take_while(|c| *c != 'T').collect();
        for ((identity, issuer), signer) in signers.iter().take(MAX_ROWS) {
            let objects = match signer.refused {
                0 => signer.objects.to_string(),
                refused => format!("{} ({refused} refused)", signer.objects),
            };
            rows.push(vec![
                escape(identity, Escape::Ascii),
                escape(issuer, Escape::Ascii),
                objects,
                day(signer.first),
                day(signer.last),
            ]);
        }
        if rows.len() > 1 {
            out.push(&terminal::table(&rows));
        }
        let unlisted = signers.iter().skip(MAX_ROWS).map(|(_, one)| one.objects);
        let unlisted = unlisted.fold(self.by_unlisted_signers, u64::saturating_add);
        if unlisted > 0 {
            out.push(&styled!("and {} by others\n", unlisted));
        }
        if !out.is_empty() {
            out.push(&styled!("\n"));
        }
        let reasons: Vec<Vec<String>> = self
            .reasons
            .iter()
            .map(|(code, reason)| {
                vec![
                    format!("[{code}]"),
                    reason.objects.to_string(),
                    format!("first {}", escape(&reason.example, Escape::Ascii)),
                ]
            })
            .collect();
        if !reasons.is_empty() {
            out.push(&styled!("{}\n", terminal::table(&reasons)));
        }
        out.push(&self.last_line());
        out
    }

    /// Returns the counts in one line.
    fn last_line(&self) -> Styled {
        let plural = |count: u64, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {one}s"),
        };
        let mut what = vec![plural(self.commits, "commit")];
        if self.tags > 0 {
            what.push(plural(self.tags, "tag"));
        }
        // Unsigned objects and the like are failures or not, as the flags say.
        let mut kinds = Vec::new();
        if self.unsigned > 0 {
            kinds.push(format!("{} unsigned", self.unsigned));
        }
        for (format, count) in &self.other {
            kinds.push(format!("{count} with an {} signature", format.name()));
        }
        if self.boundaries > 0 {
            kinds.push(format!("{} beyond a shallow boundary", self.boundaries));
        }
        let kinds = match kinds.is_empty() {
            true => String::new(),
            false => format!(" ({})", kinds.join(", ")),
        };
        let mut results = vec![format!("{} verified", self.good)];
        for (count, word) in [(self.refused, "refused"), (self.undecided, "undecided")] {
            if count > 0 {
                results.push(format!("{count} {word}"));
            }
        }
        let (tone, word) = match self.exit() {
            EXIT_OK if self.commits == 0 && self.tags == 0 => (Style::Warning, "empty range"),
            EXIT_OK => (Style::Good, "verified"),
            EXIT_REFUSED => (Style::Bad, "refused"),
            _ => (Style::Warning, "undecided"),
        };
        let mut line = styled!(
            "gitseal: {}: {}: {}{}\n",
            style(tone, word),
            what.join(", "),
            results.join(", "),
            kinds
        );
        if self.is_stopped {
            line.push(&styled!(
                "gitseal: stopped after {} (--max-failures); remaining objects not checked\n",
                plural(self.failures(), "failure")
            ));
        }
        if self.unmatched > 0 {
            line.push(&styled!(
                "gitseal: no expected identity set: signatures by anyone are counted as verified\n"
            ));
        }
        if self.with_unverified_header > 0 {
            line.push(&styled!(
                "gitseal: {} with a second signature over the other object format, which is not verified\n",
                plural(self.with_unverified_header, "commit")
            ));
        }
        line
    }
}

/// A failure that is not about a single object.
#[derive(Debug, Clone, Copy)]
pub struct FailureSource<'a> {
    /// `reference`, `tag name` or `log`.
    pub kind: &'a str,
    pub name: &'a str,
    /// An object that it concerns.
    pub example: &'a str,
}

/// Writes results as they come, and counts them.
pub struct RangeReport {
    pub summary: Summary,
    lines: Option<Lines>,
    printed: u64,
    junit: Option<JUnit>,
    sarif: Option<Sarif>,
    error: Option<io::Error>,
}

impl RangeReport {
    /// Opens the report of a command and its files.
    ///
    /// # Errors
    /// Returns [`ContextError::Output`] if a file is not writable.
    pub fn open(
        command: &'static str,
        json: bool,
        arguments: &ReportArgs,
    ) -> Result<Self, ContextError> {
        fn create<T>(
            path: Option<&Path>,
            create: impl FnOnce(&Path) -> io::Result<T>,
        ) -> Result<Option<T>, ContextError> {
            let Some(path) = path else { return Ok(None) };
            create(path)
                .map(Some)
                .map_err(|error| ContextError::Output {
                    path: path.to_owned(),
                    error,
                })
        }
        Ok(Self {
            summary: Summary::new(arguments.into()),
            junit: create(arguments.junit.as_deref(), |path| {
                JUnit::create(path, command)
            })?,
            sarif: create(arguments.sarif.as_deref(), Sarif::create)?,
            lines: json.then(Lines::start),
            printed: 0,
            error: None,
        })
    }

    /// Counts and reports one result. Returns false if the report is not writable.
    pub fn add(&mut self, result: &ObjectResult, progress: &Progress) -> bool {
        let impact = self.summary.add(result);
        let failure = result.verdict.failure();
        let id = result.id.to_string();
        let line = ResultLine {
            kind: result.kind.name(),
            name: &id,
            verdict: result.verdict.name(),
            impact,
            failure: failure.as_ref(),
        };
        let mut written = Ok(());
        if let Some(lines) = &mut self.lines {
            written = lines.json(&result.verdict.json(json!({
                "object": id,
                "type": result.kind.name(),
                "verdict": line.verdict,
                "failure": impact != Impact::None,
                "unverified_header": result.unverified_header,
                "refusal": failure.as_ref().map(Failure::json),
            })));
        } else if impact != Impact::None {
            count(&mut self.printed);
            if self.printed <= MAX_TOLD {
                written = progress.suspend(|| terminal::print(&line.text()));
            }
        }
        self.write_files(&line, written);
        self.error.is_none()
    }

    /// Counts and reports a failure that is not about a single object. The caller
    /// prints it.
    pub fn add_failure(&mut self, source: FailureSource<'_>, impact: Impact, failure: &Failure) {
        self.summary
            .add_failure(impact, failure.code, source.example);
        let line = ResultLine {
            kind: source.kind,
            name: source.name,
            verdict: impact.name(),
            impact,
            failure: Some(failure),
        };
        self.write_files(&line, Ok(()));
    }

    /// Reports a ref that leads to no object.
    pub fn add_broken_ref(&mut self, name: &str, reason: &str) {
        let message = format!("cannot resolve ref {name}: {reason}");
        terminal::warn(&styled!("cannot resolve ref {}: {}", name, reason));
        count(&mut self.summary.broken_refs);
        let source = FailureSource {
            kind: "reference",
            name,
            example: name,
        };
        let failure = Failure::new("reference-broken", message);
        self.add_failure(source, Impact::Undecided, &failure);
    }

    /// Reports a tag object that was named by a ref of another name.
    pub fn add_misnamed_tag(&mut self, tag: &MisnamedTag) {
        let failure = Failure::new(MISNAMED_TAG, tag);
        terminal::warn(&styled!(
            "{} [{}]",
            Styled::name(&failure.message),
            MISNAMED_TAG
        ));
        let source = FailureSource {
            kind: "tag name",
            name: &tag.reference,
            example: &tag.id.to_string(),
        };
        self.add_failure(source, Impact::Refused, &failure);
    }

    fn write_files(&mut self, line: &ResultLine<'_>, mut written: io::Result<()>) {
        if let Some(junit) = &mut self.junit {
            written = written.and_then(|()| {
                let result = match (line.failure, line.impact) {
                    (None, _) => CaseResult::Passed,
                    (Some(failure), Impact::None) => {
                        CaseResult::Skipped(format!("[{}] {}", failure.code, failure.message))
                    }
                    (Some(failure), _) => CaseResult::Failed {
                        code: failure.code,
                        message: format!("{}: {}", line.verdict, failure.message),
                    },
                };
                junit.add(line.kind, line.name, result)
            });
        }
        if let Some(sarif) = &mut self.sarif {
            written = written.and_then(|()| sarif.add(line));
        }
        if let Err(error) = written {
            self.error = Some(error);
        }
    }

    /// Prints the table or the last JSON line, completes the files, and returns the
    /// exit code.
    #[must_use]
    pub fn finish(mut self, more: Value) -> u8 {
        let exit = self.summary.exit();
        match self.close(more) {
            Ok(()) => exit,
            Err(error) => {
                terminal::error(&format!("cannot write the report: {error}"), None);
                exit.max(EXIT_UNDECIDED)
            }
        }
    }

    fn close(&mut self, more: Value) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match &mut self.lines {
            Some(lines) => {
                lines.json(&self.summary.json(more))?;
                lines.finish()?;
            }
            None => {
                let mut text = Styled::default();
                if self.printed > MAX_TOLD {
                    let left = self.printed.saturating_sub(MAX_TOLD);
                    text.push(&styled!("and {} more failures; --json lists all\n", left));
                }
                if self.printed > 0 {
                    text.push(&styled!("\n"));
                }
                text.push(&self.summary.text());
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
    }
}
