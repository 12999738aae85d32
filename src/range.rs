//! `gitseal verify` on more than one commit: ranges, lists, everything.
//!
//! ```text
//! names ─ host/git/walk ─ batch (all cores) ─ lookups (in tens) ─ report
//! ```
//!
//! A list of names means those commits, as with `git show`; a range or an exclusion
//! among them includes ancestors. An object that is not verified is a failure, unless
//! a flag allows it.

use std::{
    collections::HashSet,
    io::{self, BufRead as _, Read as _},
    ops::ControlFlow,
};

use serde_json::json;

use crate::{
    batch::{self, BatchVerifier, Item, ObjectResult},
    cli::{ReportArgs, VerifyArgs},
    context::{ContextError, open_context},
    host::git::{
        Repository,
        walk::{RangeSpec, Selection},
    },
    names,
    report::RangeReport,
    verdict::VerifyRequest,
};
use gitseal_terminal::{self as terminal, Progress};

mod online;

use online::DeferredLookups;

/// The maximum number of lines that `--stdin` reads.
pub const MAX_NAMES: usize = 1_000_000;
/// The maximum length of a line that `--stdin` reads, in bytes.
pub const MAX_NAME: usize = 4096;

/// Returns the revision of a command line that is about one commit.
#[must_use]
pub fn single_revision(arguments: &VerifyArgs) -> Option<&str> {
    let range = &arguments.range;
    if range.all || range.stdin || range.report != ReportArgs::default() {
        return None;
    }
    match arguments.revisions.as_slice() {
        [] => Some("HEAD"),
        [one] if !is_range(one) => Some(one),
        _ => None,
    }
}

fn is_range(text: &str) -> bool {
    text.starts_with('^')
        || text.contains("..")
        || text.ends_with("^!")
        || text.ends_with("^@")
        || text.ends_with("^-")
}

/// Runs `gitseal verify` on a range.
pub fn run(arguments: &VerifyArgs) -> u8 {
    verify(arguments).unwrap_or_else(|error| error.report())
}

fn verify(arguments: &VerifyArgs) -> Result<u8, ContextError> {
    let (workspace, settings) = open_context()?;
    let request =
        VerifyRequest::from_flags(&arguments.request, &settings)?.with_expected_identity()?;
    let repository = workspace.repository()?;
    let mut specs: Vec<RangeSpec> = Vec::new();
    if arguments.range.all {
        specs.push(RangeSpec::All);
    }
    let mut revisions = arguments.revisions.clone();
    if arguments.range.stdin {
        let more = names_from_stdin()?;
        if more.is_empty() {
            return Err(ContextError::NothingToVerify {
                reason: "standard input names no revision",
            });
        }
        revisions.extend(more);
    }
    if revisions.is_empty() && !arguments.range.all {
        revisions.push("HEAD".to_owned());
    }
    specs.extend(revisions.into_iter().map(RangeSpec::Revision));
    let selection = repository.select(&specs)?;
    if selection.is_empty() {
        return Err(ContextError::NothingToVerify {
            reason: match arguments.range.all {
                true => "the repository has no refs",
                false => "no commit to start from is named, only exclusions",
            },
        });
    }
    if !arguments.json {
        names::print(&selection.resolved);
    }
    let run = RangeRun {
        request: &request,
        repository,
        arguments: &arguments.range.report,
        json: arguments.json,
        command: "verify",
    };
    run.warn_about_history_overrides()?;
    let items = items(repository, &selection)?;
    let mut report = run.verify(&run.verifier(), items, &selection.broken, &mut |_| {})?;
    for misnamed in &selection.misnamed {
        report.add_misnamed_tag(misnamed);
    }
    let resolved = names::json(&selection.resolved);
    Ok(report.finish(json!({ "resolved": resolved })))
}

/// Returns the tags that were named, then the commits.
fn items(
    repository: &Repository,
    selection: &Selection,
) -> Result<Box<dyn Iterator<Item = Item> + Send>, ContextError> {
    let mut tags = selection.tags.clone();
    tags.dedup();
    let tags = tags.into_iter().map(Item::Id);
    if selection.is_range {
        let walk = repository.walk(selection)?;
        return Ok(Box::new(tags.chain(walk.map(Item::from))));
    }
    let mut seen = HashSet::new();
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
    let mut input = io::stdin().lock();
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
        let other = |text: String| unreadable(io::Error::other(text));
        if line.len() > MAX_NAME {
            return Err(other(format!("line longer than {MAX_NAME} bytes")));
        }
        if names.len() >= MAX_NAMES {
            return Err(other(format!("more than {MAX_NAMES} lines")));
        }
        let line = String::from_utf8(line).map_err(|_| other("not valid UTF-8".to_owned()))?;
        let line = line.trim_end_matches(['\n', '\r']);
        if !line.is_empty() {
            names.push(line.to_owned());
        }
    }
}

/// One run over many objects.
pub(super) struct RangeRun<'a> {
    pub request: &'a VerifyRequest,
    pub repository: &'a Repository,
    pub arguments: &'a ReportArgs,
    pub json: bool,
    /// The command, for reports.
    pub command: &'static str,
}

impl RangeRun<'_> {
    /// Warns about replacement refs and grafts.
    pub(super) fn warn_about_history_overrides(&self) -> Result<(), ContextError> {
        let overrides = self.repository.history_overrides()?;
        if overrides.replacements > 0 {
            terminal::warn(&format!(
                "ignoring {} replacement refs: verifying the original objects",
                overrides.replacements
            ));
        }
        if overrides.grafts {
            terminal::warn("ignoring grafts");
        }
        Ok(())
    }

    /// Returns the verifier of all objects.
    pub(super) fn verifier(&self) -> BatchVerifier<'_> {
        BatchVerifier::new(self.request)
    }

    /// Verifies all objects and reports each. The report is still open.
    pub(super) fn verify(
        &self,
        verifier: &BatchVerifier<'_>,
        items: impl Iterator<Item = Item> + Send,
        broken: &[(String, String)],
        each: &mut dyn FnMut(&ObjectResult),
    ) -> Result<RangeReport, ContextError> {
        let mut report = RangeReport::open(self.command, self.json, self.arguments)?;
        for (name, reason) in broken {
            report.add_broken_ref(name, reason);
        }
        let progress = Progress::start("verifying");
        let most = self.arguments.max_failures.unwrap_or(u64::MAX);
        let mut emit = |result: ObjectResult| -> ControlFlow<()> {
            each(&result);
            progress.step();
            if !report.add(&result, &progress) {
                return ControlFlow::Break(());
            }
            if report.summary.failures() >= most {
                report.summary.stop();
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let mut lookups = DeferredLookups::new(self.request, verifier, self.repository.hash());
        let jobs = self
            .arguments
            .jobs
            .map_or_else(batch::default_jobs, usize::from);
        let mut flow = ControlFlow::Continue(());
        batch::verify_all(items, self.repository, verifier, jobs, &mut |result| {
            flow = lookups.push(result, &mut emit);
            flow
        });
        if flow.is_continue() {
            let _ = lookups.finish(&mut emit);
        }
        progress.finish();
        Ok(report)
    }
}
