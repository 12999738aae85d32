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
};

use crate::host::git::{
    Repository,
    walk::{RangeSpec, Selection},
};
use crate::{
    batch::{self, Engine, Item, Judged},
    cli::{ReportArgs, VerifyArgs},
    context::{ContextError, VerifyRequest},
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED},
};
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

impl ReportArgs {
    fn are_given(&self) -> bool {
        *self != Self::default()
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
pub fn is_single(arguments: &VerifyArgs) -> bool {
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
pub fn run(arguments: &VerifyArgs) -> u8 {
    verify(arguments).unwrap_or_else(|error| error.report())
}

fn verify(arguments: &VerifyArgs) -> Result<u8, ContextError> {
    let request =
        VerifyRequest::resolve(&arguments.identity, &arguments.trust)?.with_expected_identity()?;
    let repository = request.workspace.repository()?;
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
        request: &request,
        repository,
        flags: &arguments.range.report,
        json: arguments.json,
        offline: arguments.trust.offline,
        what: "verify",
    };
    work.tell_pretences()?;
    let items = items(repository, &selection)?;
    let outcome = work.run(items, &selection.broken)?;
    Ok(outcome.exit)
}

/// Tags that were named, then the commits.
fn items(
    repository: &Repository,
    selection: &Selection,
) -> Result<Box<dyn Iterator<Item = Item> + Send>, ContextError> {
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

fn names_from_stdin() -> Result<Vec<String>, ContextError> {
    let unreadable = |error| ContextError::Input {
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
    pub request: &'a VerifyRequest,
    pub repository: &'a Repository,
    pub flags: &'a ReportArgs,
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
    pub(super) fn tell_pretences(&self) -> Result<(), ContextError> {
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
    ) -> Result<Outcome, ContextError> {
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
    ) -> Result<(Outcome, Report), ContextError> {
        let mut engine = Engine::new(&self.request.trust.root, &self.request.expected);
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
        let mut online = Online::new(self.request, &engine, self.offline, self.repository.hash());
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
