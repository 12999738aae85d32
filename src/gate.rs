//! The gate: what a push would change is verified and judged before it happens,
//! in a server's `pre-receive` or `update` hook, before it leaves (`pre-push`), and
//! once more in CI.
//!
//! ```text
//! git's lines ── host/git/push ── plan ── batch (nine steps) ── judge ── report
//! CI's variables ── job ──────────┘           policy ────────────┘
//! ```
//!
//! It fails closed: whatever cannot be read, does not end in time or is larger
//! than the limits is refused, and the message says which it was. No server is
//! asked, and of the repository nothing is believed but objects that hash to their
//! names.
//!
//! *Not decided here:* whether a signature is good (`evidence/verify.rs`) and what
//! is allowed (`policy/`).

use std::{
    io::{self, Read as _},
    panic,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::host::{
    git::{
        graph::Graph,
        push::{self, HookInputError, MAX_LINE, RefCommand},
    },
    settings::Settings,
};
use crate::{
    cli::{GateArgs, PrePushArgs, PreReceiveArgs, UpdateArgs},
    context::{ContextError, open_context, open_server_context},
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE},
};
use gitseal_terminal::{self as terminal, Escape, escape, escape_lines};

mod certificate;
mod ci;
pub mod job;
pub mod plan;
pub mod policy;
pub mod report;
mod rules;
mod verifier;

pub use ci::run as ci;
use plan::{PlanError, PushSide, RefSnapshot};
use report::PushReport;
use verifier::PushVerifyError;

/// What may be left to do when the time is over: seconds until the process ends,
/// whatever it is doing.
const GRACE: u64 = 5;

/// Why there is no verdict. None of these lets anything through.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Repository, settings, trust.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// git's lines.
    #[error("what git says about the push cannot be used: {0}")]
    Line(#[from] HookInputError),
    /// What the push would change.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Judging it.
    #[error(transparent)]
    Judge(#[from] PushVerifyError),
    /// The CI job.
    #[error(transparent)]
    Job(#[from] job::CiJobError),
    /// The clone of a CI job lacks something.
    #[error("{what} {id} is not in this clone")]
    Shallow {
        /// What it is.
        what: &'static str,
        /// Hex.
        id: String,
        /// What to do.
        hint: &'static str,
    },
    /// A report cannot be written.
    #[error("the report {path:?} cannot be written: {error}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A flag that cannot mean anything here.
    #[error("{flag} cannot be used: {why}")]
    Flag {
        /// Which.
        flag: &'static str,
        /// Why.
        why: String,
    },
}

impl GateError {
    fn exit(&self) -> u8 {
        match self {
            Self::Context(ContextError::Git(_)) | Self::Plan(_) | Self::Shallow { .. } => {
                EXIT_UNDECIDED
            }
            Self::Judge(error) => error.exit(),
            Self::Write { .. } => EXIT_UNDECIDED,
            Self::Context(_) | Self::Line(_) | Self::Job(_) | Self::Flag { .. } => EXIT_USAGE,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Context(obstacle) => obstacle.hint(),
            Self::Line(HookInputError::TooMany { .. }) => {
                Some("push in parts, or have the administrator raise --max-updates")
            }
            Self::Line(_) => Some(
                "git starts this as a hook and writes those lines itself: gitseal pre-receive --help",
            ),
            Self::Plan(error) => error.hint(),
            Self::Judge(error) => error.hint(),
            Self::Job(job::CiJobError::Unknown) => {
                Some("gitseal ci --range A..B --ref refs/heads/main")
            }
            Self::Job(_) => Some("name the commits with --range A..B and --ref refs/heads/main"),
            Self::Shallow { hint, .. } => Some(hint),
            Self::Write { .. } | Self::Flag { .. } => None,
        }
    }

    fn show(&self) {
        let words = match self {
            // One line for each mistake.
            Self::Judge(PushVerifyError::Policy(_)) => escape_lines(&self.to_string()),
            _ => escape(&self.to_string(), Escape::Prose),
        };
        terminal::error(&words, self.hint());
    }
}

/// When what is not judged is refused.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    seconds: u64,
}

impl Deadline {
    fn within(seconds: u64) -> Self {
        let now = Instant::now();
        Self {
            end: now.checked_add(Duration::from_secs(seconds)).unwrap_or(now),
            seconds,
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// How long it was.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.seconds
    }
}

/// git's door on a server: all references of a push at once.
#[must_use]
pub fn pre_receive(arguments: &PreReceiveArgs) -> u8 {
    let options = &arguments.options;
    guarded(options, |deadline| {
        let (workspace, settings) = open_server_context()?;
        let repository = workspace.repository().map_err(ContextError::from)?;
        let input = standard_input(options.max_updates)?;
        let updates = push::parse_pre_receive(&input, repository.hash(), options.max_updates)?;
        decide(
            "pre-receive",
            updates,
            repository,
            &settings,
            options,
            None,
            deadline,
        )
    })
}

/// git's door on a server: one reference.
#[must_use]
pub fn update(arguments: &UpdateArgs) -> u8 {
    let options = &arguments.options;
    guarded(options, |deadline| {
        let (workspace, settings) = open_server_context()?;
        let repository = workspace.repository().map_err(ContextError::from)?;
        let update = push::parse_update_args(
            arguments.reference.as_encoded_bytes(),
            arguments.old.as_encoded_bytes(),
            arguments.new.as_encoded_bytes(),
            repository.hash(),
        )?;
        decide(
            "update",
            vec![update],
            repository,
            &settings,
            options,
            None,
            deadline,
        )
    })
}

/// git's door where a push begins.
#[must_use]
pub fn pre_push(arguments: &PrePushArgs) -> u8 {
    let options = &arguments.options;
    guarded(options, |deadline| {
        let (workspace, settings) = open_context()?;
        let repository = workspace.repository().map_err(ContextError::from)?;
        let input = standard_input(options.max_updates)?;
        let updates = push::parse_pre_push(&input, repository.hash(), options.max_updates)?;
        decide(
            "pre-push",
            updates,
            repository,
            &settings,
            options,
            Some(arguments.remote.as_encoded_bytes()),
            deadline,
        )
    })
}

/// From what is to change to the report.
fn decide(
    command: &'static str,
    updates: Vec<RefCommand>,
    repository: &crate::host::git::Repository,
    settings: &Settings,
    options: &GateArgs,
    remote: Option<&[u8]>,
    deadline: Deadline,
) -> Result<PushReport, GateError> {
    // The references first: whatever is written from here on hides nothing.
    let before = match remote {
        None => RefSnapshot::read(repository),
        Some(remote) => RefSnapshot::of_remote(repository, remote),
    }
    .map_err(ContextError::from)?;
    let side = match remote {
        None => PushSide::Server,
        Some(_) => PushSide::Client,
    };
    let tip = before.protected.as_ref().map(|(_, commit)| *commit);
    let mut verifier = verifier::PushVerifier::open(repository, settings, options, tip)?;
    if side == PushSide::Server
        && let Some(told) = certificate::PushCertificateEnv::read()
    {
        verifier.set_push_certificate(&told, &updates, options.max_updates);
    }
    let mut graph = Graph::new(repository);
    let plan = plan::plan(
        updates,
        repository,
        &mut graph,
        &before,
        side,
        verifier.binding(),
    )?;
    Ok(verifier.judge(command, &plan, &before, &mut graph, deadline, false)?)
}

/// Runs a story so that no way out of it is a success by mistake.
fn guarded(
    options: &GateArgs,
    story: impl FnOnce(Deadline) -> Result<PushReport, GateError>,
) -> u8 {
    watched(options.timeout, |deadline| {
        let report = story(deadline)?;
        let text = report.text();
        if !text.is_empty() {
            terminal::tell(text.trim_end());
        }
        let written = if options.json {
            terminal::print_json(&report.json())
        } else {
            Ok(())
        };
        let verdict = if report.refuses() {
            EXIT_REFUSED
        } else {
            EXIT_OK
        };
        Ok(verdict.max(crate::exit::written(written)))
    })
}

/// Runs a story under a clock. A panic and a time that is over say so, and end
/// the process with a code that is not 0.
fn watched(seconds: u64, story: impl FnOnce(Deadline) -> Result<u8, GateError>) -> u8 {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        usual(what);
        terminal::error(
            "a defect of gitseal: there is no verdict, so nothing was taken",
            None,
        );
    }));
    let deadline = Deadline::within(seconds);
    let last = Duration::from_secs(seconds.saturating_add(GRACE));
    thread::spawn(move || {
        thread::sleep(last);
        terminal::error(
            &verifier::timeout_message(seconds),
            Some(verifier::TIMEOUT_HINT),
        );
        std::process::exit(EXIT_UNDECIDED.into());
    });
    match story(deadline) {
        Ok(code) => code,
        Err(stop) => {
            stop.show();
            terminal::tell("gitseal: there is no verdict, so nothing was taken");
            stop.exit()
        }
    }
}

/// All of standard input, no more than the lines of a push can take.
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
