//! `gitseal verify` on more than one commit: ranges, lists, everything.
//!
//! ```text
//! names ─ host/git/walk ─ batch (all cores) ─ look-ups (in tens) ─ tally ─┬ table or JSON lines
//!                                                                        ├ JUnit
//!                                                                        └ SARIF
//! ```
//!
//! A list of names means those commits, as with `git show`; a range or an
//! exclusion among them means ancestors too. Whatever is not verified is a
//! failure, unless a flag says that it may be so.

use std::{
    io::{BufRead as _, Read as _},
    ops::ControlFlow,
    path::PathBuf,
};

use clap::Args;

use crate::host::git::{
    Repository,
    walk::{RangeSpec, Selection},
};
use crate::{
    batch::{self, Engine, Item, Judged},
    cli::{Evidence, VerifyCommit, Who},
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED},
    verify::{Obstacle, Question, question, stopped},
};
use gitseal_evidence::identity::Wanted;
use gitseal_terminal::{self as terminal, Escape, Progress, escape};

pub mod junit;
pub mod online;
pub mod report;
pub mod sarif;

use online::Online;
use report::{About, Allowed, Report, Summary, Weight};

/// The most lines that `--stdin` reads.
pub const MAX_NAMES: usize = 1_000_000;
/// The longest line that `--stdin` reads, in bytes.
pub const MAX_NAME: usize = 4096;

/// What turns one commit into many.
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = "Ranges")]
pub struct RangeFlags {
    /// Every commit that a reference or HEAD reaches
    #[arg(long)]
    pub all: bool,
    /// Read more revisions from standard input, one on a line
    #[arg(long)]
    pub stdin: bool,
    /// How the result is told.
    #[command(flatten)]
    pub report: ReportFlags,
}

/// How the result of many verdicts is told, and what may pass.
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = "Reports")]
pub struct ReportFlags {
    /// Unsigned commits and tags are counted, but are no failures
    #[arg(long)]
    pub allow_unsigned: bool,
    /// OpenPGP and SSH signatures are counted, but are no failures: nobody verifies them
    #[arg(long)]
    pub allow_other_kinds: bool,
    /// The boundary of a shallow clone ends the range
    #[arg(long)]
    pub allow_shallow: bool,
    /// Stop after this many failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_failures: Option<u64>,
    /// Verify with this many threads (default: one for each core)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a SARIF 2.1.0 report
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
}

impl ReportFlags {
    fn are_given(&self) -> bool {
        self.allow_unsigned
            || self.allow_other_kinds
            || self.allow_shallow
            || self.max_failures.is_some()
            || self.jobs.is_some()
            || self.junit.is_some()
            || self.sarif.is_some()
    }

    pub(super) fn allowed(&self) -> Allowed {
        Allowed {
            unsigned: self.allow_unsigned,
            other_kinds: self.allow_other_kinds,
            shallow: self.allow_shallow,
        }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs
            .map_or_else(batch::default_jobs, usize::from)
            .max(1)
    }
}

/// Whether these arguments are about one commit, as `gitseal verify` always was.
#[must_use]
pub fn is_single(arguments: &VerifyCommit) -> bool {
    let range = &arguments.range;
    if range.all || range.stdin || range.report.are_given() {
        return false;
    }
    match arguments.revisions.as_slice() {
        [] => true,
        [one] => !is_range(one),
        _ => false,
    }
}

fn is_range(text: &str) -> bool {
    text.starts_with('^')
        || text.contains("..")
        || text.ends_with("^!")
        || text.ends_with("^@")
        || text.ends_with("^-")
}

/// `gitseal verify` on a range.
pub fn run(arguments: &VerifyCommit) -> u8 {
    verify(arguments).unwrap_or_else(|obstacle| stopped(&obstacle))
}

fn verify(arguments: &VerifyCommit) -> Result<u8, Obstacle> {
    let question = named_question(&arguments.who, &arguments.evidence)?;
    let repository = question.workspace.repository()?;
    let mut specs: Vec<RangeSpec> = Vec::new();
    if arguments.range.all {
        specs.push(RangeSpec::All);
    }
    let mut names = arguments.revisions.clone();
    if arguments.range.stdin {
        names.extend(names_from_stdin()?);
    }
    if names.is_empty() && !arguments.range.all && !arguments.range.stdin {
        names.push("HEAD".to_owned());
    }
    specs.extend(names.into_iter().map(RangeSpec::Revision));
    let selection = repository.select(&specs)?;
    let work = Work {
        question: &question,
        repository,
        flags: &arguments.range.report,
        json: arguments.json,
        offline: arguments.evidence.offline,
        what: "verify",
    };
    work.tell_pretences()?;
    let items = items(repository, &selection)?;
    let outcome = work.run(items, &selection.broken)?;
    Ok(outcome.exit)
}

/// Who must have signed has to be said: a range that anybody may have signed
/// proves nothing.
fn named_question(who: &Who, evidence: &Evidence) -> Result<Question, Obstacle> {
    let question = question(who, evidence)?;
    if matches!(question.wanted, Wanted::Unsaid) {
        return Err(Obstacle::NobodyNamed);
    }
    Ok(question)
}

/// Tags that were named, then the commits.
fn items(
    repository: &Repository,
    selection: &Selection,
) -> Result<Box<dyn Iterator<Item = Item> + Send>, Obstacle> {
    let mut tags: Vec<_> = selection.tags.iter().map(|(_, id)| *id).collect();
    tags.dedup();
    let tags = tags.into_iter().map(Item::Id);
    if selection.is_range {
        let walk = repository.walk(selection)?;
        return Ok(Box::new(tags.chain(walk.map(Item::from))));
    }
    let mut seen = std::collections::HashSet::new();
    let named: Vec<_> = selection
        .from
        .iter()
        .copied()
        .filter(|id| seen.insert(*id))
        .collect();
    Ok(Box::new(tags.chain(named.into_iter().map(Item::Id))))
}

fn names_from_stdin() -> Result<Vec<String>, Obstacle> {
    let unreadable = |error| Obstacle::Input {
        what: "standard input",
        error,
    };
    let mut names = Vec::new();
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let most = u64::try_from(MAX_NAME).unwrap_or(u64::MAX);
        let read = input
            .by_ref()
            .take(most.saturating_add(1))
            .read_until(b'\n', &mut line)
            .map_err(unreadable)?;
        if read == 0 {
            return Ok(names);
        }
        let other = |text: String| unreadable(std::io::Error::other(text));
        if line.len() > MAX_NAME {
            return Err(other(format!("a line has more than {MAX_NAME} bytes")));
        }
        if names.len() >= MAX_NAMES {
            return Err(other(format!("it has more than {MAX_NAMES} lines")));
        }
        let line = String::from_utf8(line).map_err(|_| other("a line is not UTF-8".to_owned()))?;
        let line = line.trim_end_matches(['\n', '\r']);
        if !line.is_empty() {
            names.push(line.to_owned());
        }
    }
}

/// One run over many objects.
pub(super) struct Work<'a> {
    pub question: &'a Question,
    pub repository: &'a Repository,
    pub flags: &'a ReportFlags,
    pub json: bool,
    pub offline: bool,
    /// The command, for reports.
    pub what: &'static str,
}

/// What else a run is to bring.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extras {
    /// Checkpoints, and the names of tags.
    pub checkpoints: bool,
}

/// What came of it.
pub(super) struct Outcome {
    pub exit: u8,
    pub summary: Summary,
}

impl Work<'_> {
    /// Says what in this repository claims that history is another.
    pub(super) fn tell_pretences(&self) -> Result<(), Obstacle> {
        let overrides = self.repository.history_overrides()?;
        if overrides.replacements > 0 {
            terminal::warn(&format!(
                "{} replacements under refs/replace/ are left aside: the real objects are verified",
                overrides.replacements
            ));
        }
        if overrides.grafts {
            terminal::warn(
                "the grafts of this repository are left aside: parents are what the commits say",
            );
        }
        Ok(())
    }

    pub(super) fn run(
        &self,
        items: impl Iterator<Item = Item> + Send,
        broken: &[(String, String)],
    ) -> Result<Outcome, Obstacle> {
        let mut outcome = self.judge(items, broken, &mut |_| {}, Extras::default())?;
        let written = outcome.1.finish(&outcome.0.summary, None);
        outcome.0.exit = outcome.0.exit.max(written);
        Ok(outcome.0)
    }

    /// Judges all, reports each, and gives the summary; the report is still open.
    pub(super) fn judge(
        &self,
        items: impl Iterator<Item = Item> + Send,
        broken: &[(String, String)],
        each: &mut dyn FnMut(&Judged),
        extras: Extras,
    ) -> Result<(Outcome, Report), Obstacle> {
        let mut engine = Engine::new(&self.question.trust.root, &self.question.wanted);
        if extras.checkpoints {
            engine = engine.with_checkpoints().with_tag_facts();
        }
        let mut report = Report::open(self.what, self.json, self.flags)?;
        let mut summary = Summary::new(self.flags.allowed());
        for (name, why) in broken {
            let line = format!(
                "{} leads nowhere: {}",
                escape(name, Escape::Ascii),
                escape(why, Escape::Prose)
            );
            terminal::warn(&line);
            summary.broken_reference();
            let about = About {
                kind: "reference",
                name,
                code: "reference-broken",
                example: name,
            };
            report.note(&mut summary, about, Weight::Doubts, line);
        }
        let progress = Progress::start("verifying");
        let most = self.flags.max_failures.unwrap_or(u64::MAX);
        let mut tell = |judged: Judged| -> ControlFlow<()> {
            each(&judged);
            let verdict = summary.add(&judged);
            progress.step();
            if !report.add(&judged, &verdict, &progress) {
                return ControlFlow::Break(());
            }
            if summary.failures() >= most {
                summary.stopped();
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let mut online = Online::new(self.question, &engine, self.offline, self.repository.hash());
        let mut stopped = false;
        batch::verify_all(
            items,
            self.repository,
            &engine,
            self.flags.jobs(),
            &mut |judged| {
                let flow = online.pass(judged, &mut tell);
                stopped = flow.is_break();
                flow
            },
        );
        if !stopped {
            let _ = online.finish(&mut tell);
        }
        progress.finish();
        summary.signatures(engine.memo().counts(), online.counts());
        let exit = summary.exit();
        Ok((Outcome { exit, summary }, report))
    }
}

/// The exit code of counts: what is refused weighs more than what is undecided.
pub(super) fn exit_of(refused: u64, undecided: u64) -> u8 {
    match (refused, undecided) {
        (0, 0) => EXIT_OK,
        (0, _) => EXIT_UNDECIDED,
        _ => EXIT_REFUSED,
    }
}

/// The exit code if a report cannot be written: the verdict is out, but not where
/// it was to be.
pub(super) const UNWRITTEN: u8 = EXIT_UNDECIDED;
