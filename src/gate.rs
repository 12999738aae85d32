//! Push checks: what a push would change is verified and checked against the
//! policy before it happens, in a server's `pre-receive` or `update` hook, before
//! it leaves (`pre-push`), and once more in CI.
//!
//! ```text
//! git's lines ── host/git/push ── target ── judge ── policy/steps ── report
//! CI's variables ── job ────────────┘      sources       history
//! ```
//!
//! It fails closed: what cannot be read, does not end in time or exceeds the limits
//! is rejected, and the message names the reason. No server is queried, and of the
//! repository only objects that hash to their IDs are trusted.
//!
//! *Not decided here:* whether a signature verifies (`evidence/verify.rs`) and what
//! is allowed (`policy/`).

use std::{
    env,
    io::{self, Read as _},
    panic,
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use crate::{
    cli::{GateArgs, PrePushArgs, PreReceiveArgs, UpdateArgs},
    context::{ContextError, open_context, open_server_context},
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE},
    host::{
        git::{
            Deadline, GitError, Repository,
            push::{self, HookInputError, MAX_LINE, RefCommand},
        },
        settings::Settings,
    },
};
use gitseal_terminal::{self as terminal, Styled};

mod certificate;
mod ci;
pub mod job;
mod judge;
mod overrule;
pub mod policy;
mod policy_refs;
mod policy_source;
pub mod report;
mod sources;
mod tags;
mod target;
mod verdict_log;

pub use ci::run as ci;
use judge::{JudgeError, PushJudge, Scope};
use overrule::OverrideRequest;
use policy_source::PolicySource;
use report::PushReport;
use sources::RefSnapshot;
use target::{PushSide, read_changes};
use verdict_log::{RunRecord, VerdictLogError};

/// Seconds between the timeout and the end of the process, whatever it is doing.
const GRACE: u64 = 1;
/// The exit code of a process that panics.
const EXIT_PANIC: u8 = 101;

/// Errors that prevent a push from being checked. Every one of them rejects the push.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum GateError {
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("malformed hook input: {0}")]
    Line(#[from] HookInputError),
    #[error(transparent)]
    Judge(#[from] JudgeError),
    #[error(transparent)]
    Job(#[from] job::CiJobError),
    /// The clone of a CI job lacks an object.
    #[error("{what} {id} is not in this clone")]
    Shallow {
        what: &'static str,
        id: String,
        hint: &'static str,
    },
    #[error("cannot write the report {path:?}: {error}")]
    Write { path: PathBuf, error: io::Error },
    #[error(transparent)]
    VerdictLog(#[from] VerdictLogError),
    #[error("cannot use {flag}: {reason}")]
    Flag { flag: &'static str, reason: String },
}

impl GateError {
    fn exit(&self) -> u8 {
        match self {
            Self::Context(ContextError::Git(_)) | Self::Shallow { .. } | Self::Write { .. } => {
                EXIT_UNDECIDED
            }
            Self::Judge(error) => error.exit(),
            Self::Context(_)
            | Self::Line(_)
            | Self::Job(_)
            | Self::VerdictLog(_)
            | Self::Flag { .. } => EXIT_USAGE,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Context(error) => error.hint(),
            Self::Line(HookInputError::TooMany { .. }) => {
                Some("push fewer refs at a time, or ask the administrators to raise --max-updates")
            }
            Self::Line(_) => {
                Some("Git runs this command as a hook; see 'gitseal pre-receive --help'")
            }
            Self::Judge(error) => error.hint(),
            Self::Job(_) => {
                Some("name the commits: 'gitseal ci --range A..B --ref refs/heads/main'")
            }
            Self::Shallow { hint, .. } => Some(hint),
            Self::Write { .. } | Self::VerdictLog(_) | Self::Flag { .. } => None,
        }
    }

    fn show(&self) {
        let message = self.to_string();
        match self {
            // One line for each mistake.
            Self::Judge(JudgeError::Policy(_)) => {
                terminal::error(&Styled::lines(&message), self.hint());
            }
            _ => terminal::error(&message, self.hint()),
        }
    }
}

/// Runs the `pre-receive` hook: checks all ref updates of a push.
#[must_use]
pub fn pre_receive(arguments: &PreReceiveArgs) -> u8 {
    let options = &arguments.options;
    check(options, "pre-receive", None, |repository| {
        let input = standard_input(options.max_updates)?;
        let most = options.max_updates;
        Ok(push::parse_pre_receive(&input, repository.hash(), most)?)
    })
}

/// Runs the `update` hook: checks one ref update.
#[must_use]
pub fn update(arguments: &UpdateArgs) -> u8 {
    check(&arguments.options, "update", None, |repository| {
        Ok(vec![push::parse_update_args(
            arguments.reference.as_encoded_bytes(),
            arguments.old.as_encoded_bytes(),
            arguments.new.as_encoded_bytes(),
            repository.hash(),
        )?])
    })
}

/// Runs the `pre-push` hook: checks a push before it is sent.
#[must_use]
pub fn pre_push(arguments: &PrePushArgs) -> u8 {
    let options = &arguments.options;
    let remote = arguments.remote.as_encoded_bytes();
    check(options, "pre-push", Some(remote), |repository| {
        let input = standard_input(options.max_updates)?;
        let most = options.max_updates;
        Ok(push::parse_pre_push(&input, repository.hash(), most)?)
    })
}

/// Runs a hook; `remote` is set where the push starts.
fn check(
    options: &GateArgs,
    command: &'static str,
    remote: Option<&[u8]>,
    updates: impl FnOnce(&Repository) -> Result<Vec<RefCommand>, GateError>,
) -> u8 {
    let side = match remote {
        None => PushSide::Server,
        Some(_) => PushSide::Client,
    };
    let record = Arc::new(RunRecord::begin(command));
    watched(&record, options.timeout, side, |deadline| {
        let (workspace, settings) = match side {
            PushSide::Server => open_server_context()?,
            PushSide::Client | PushSide::Service => open_context()?,
        };
        let repository = workspace.repository().map_err(ContextError::from)?;
        record.open(&settings, repository);
        repository.objects().set_deadline(deadline);
        let updates = updates(repository)?;
        record.requested(&updates);
        let report = verify(
            command, updates, repository, &settings, options, remote, &record,
        )?;
        record.judged(&report);
        let written = if options.json {
            terminal::print_json(&report.json())
        } else {
            Ok(())
        };
        let exit = exit_of(&report).max(crate::exit::written(written));
        // What is not recorded is not reported as accepted either.
        record.finish(exit, None)?;
        let text = report.text();
        if !text.is_empty() {
            terminal::info(&Styled::trusted(text.trim_end()));
        }
        Ok(exit)
    })
}

fn exit_of(report: &PushReport) -> u8 {
    if report.refuses() {
        EXIT_REFUSED
    } else {
        EXIT_OK
    }
}

fn verify(
    command: &'static str,
    updates: Vec<RefCommand>,
    repository: &Repository,
    settings: &Settings,
    options: &GateArgs,
    remote: Option<&[u8]>,
    record: &RunRecord,
) -> Result<PushReport, GateError> {
    // The refs first: what is written from here on lends nothing.
    let (before, side) = match remote {
        None => (RefSnapshot::read(repository, settings), PushSide::Server),
        Some(remote) => (
            RefSnapshot::of_remote(repository, settings, remote),
            PushSide::Client,
        ),
    };
    let mut before = before.map_err(JudgeError::from)?;
    let source = PolicySource::find(settings, options, repository).map_err(JudgeError::from)?;
    let mut judge = PushJudge::open(repository, settings, options, source)?;
    if side == PushSide::Server
        && let Some(signed) = certificate::PushCertificateEnv::read()
    {
        judge.set_push_certificate(&signed, &updates, options.max_updates);
    }
    let certificate = judge.certificate();
    let certificate = certificate.map(|one| (one.blob.as_str(), &one.signature));
    record.pushed_by(judge.account(), certificate);
    // Git passes certificates and push options to this hook alone.
    if command == "pre-receive"
        && let Some(request) = OverrideRequest::read(&|name| env::var_os(name))
    {
        judge.set_override(request);
    }
    let scope = match command {
        "update" => Scope::OneRef,
        _ => Scope::Push,
    };
    let changes = read_changes(updates, repository, &before).map_err(JudgeError::from)?;
    Ok(judge.judge(command, &changes, &mut before, scope, record)?)
}

/// Runs a check under a timeout. A panic and the timeout end the process with a
/// code that is not 0. However it ends, the verdict log gets its line.
fn watched(
    record: &Arc<RunRecord>,
    seconds: u64,
    side: PushSide,
    check: impl FnOnce(Deadline) -> Result<u8, GateError>,
) -> u8 {
    let usual = panic::take_hook();
    let recorded = Arc::clone(record);
    panic::set_hook(Box::new(move |what| {
        usual(what);
        record_end(recorded.finish_now(EXIT_PANIC, "internal error"));
        terminal::error("gitseal: internal error; push rejected", None);
    }));
    let deadline = Deadline::within(seconds);
    let last = Duration::from_secs(seconds.saturating_add(GRACE));
    let recorded = Arc::clone(record);
    thread::spawn(move || {
        thread::sleep(last);
        let error = GateError::from(JudgeError::from(GitError::Timeout { seconds }));
        record_end(recorded.finish_now(EXIT_UNDECIDED, &error.to_string()));
        error.show();
        std::process::exit(EXIT_UNDECIDED.into());
    });
    let checked = check(deadline).and_then(|exit| {
        record.finish(exit, None)?;
        Ok(exit)
    });
    checked.unwrap_or_else(|error| {
        let exit = error.exit();
        let recorded = record.finish(exit, Some(&error.to_string()));
        error.show();
        let exit = match recorded {
            Ok(()) => exit,
            Err(error) => {
                record_end(Err(error));
                EXIT_USAGE
            }
        };
        let rejected = match side {
            PushSide::Server | PushSide::Client => "push rejected",
            PushSide::Service => "check failed",
        };
        terminal::info(&format!(
            "gitseal: {rejected}: verification did not complete"
        ));
        if side == PushSide::Server && error.hint().is_none() {
            terminal::hint("this is a server problem; contact the repository's administrators");
        }
        exit
    })
}

/// Prints why the line of a run that ends with an error is missing.
fn record_end(written: Result<(), VerdictLogError>) {
    if let Err(error) = written {
        terminal::error(&error.to_string(), None);
    }
}

/// Returns all of standard input, up to the size of the lines of a push.
fn standard_input(most: usize) -> Result<Vec<u8>, GateError> {
    let max = most
        .saturating_add(1)
        .saturating_mul(MAX_LINE)
        .min(256 * 1024 * 1024);
    let mut input = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    io::stdin()
        .lock()
        .take(limit)
        .read_to_end(&mut input)
        .map_err(|error| ContextError::Input {
            what: "standard input",
            error,
        })?;
    if input.len() > max {
        return Err(HookInputError::TooLong { max }.into());
    }
    Ok(input)
}
