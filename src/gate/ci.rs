//! `gitseal ci`: checks the commits of a pull or merge request, or of a push, in a
//! CI job.
//!
//! Work tree, branches and tags of the clone can come from the request's author.
//! Trusted are the IDs that the service names, the objects that hash to them, and
//! the settings of user and system.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use gix::ObjectId;

use super::{
    GateError, exit_of,
    job::{self, CiJob, MAX_EVENT, Platform},
    plan::{self, PushSide, RefSnapshot},
    report::PushReport,
    verifier::{self, PushVerifier},
    watched,
};
use crate::host::git::{
    GitError, Repository,
    graph::{Graph, Traversal},
    objects::Target,
    push::{RefCommand, check_name},
    resolve::ResolvedName,
    walk::split_range,
};
use crate::{
    cli::CiArgs,
    context::{ContextError, open_context},
    names,
};
use gitseal_terminal::{self as terminal, Styled, styled};

/// Returns an environment variable; one that is not UTF-8 counts as unset.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn event(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(MAX_EVENT.saturating_add(1))
                .read_to_end(&mut bytes)
        })
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_EVENT {
        return Err(format!("more than {MAX_EVENT} bytes"));
    }
    Ok(bytes)
}

/// Runs `gitseal ci`.
#[must_use]
pub fn run(arguments: &CiArgs) -> u8 {
    let options = &arguments.options;
    let platform = job::platform(&variable);
    watched(options.timeout, PushSide::Service, |deadline| {
        let (workspace, settings) = open_context()?;
        let repository = workspace.repository().map_err(ContextError::from)?;
        repository.objects().set_deadline(deadline);
        let (job, resolved) = match (&arguments.range, &arguments.reference) {
            (Some(range), Some(reference)) => by_hand(range, reference, platform, repository)?,
            // A service names full IDs.
            _ => (job::detect(&variable, &event)?, Vec::new()),
        };
        names::print(&resolved);
        if job.is_request {
            let by_setting = settings
                .policy
                .value
                .as_deref()
                .filter(|_| options.policy_root.is_none());
            match (options.policy.as_deref(), by_setting) {
                (Some(policy), _) => outside("--policy", policy, repository)?,
                (None, Some(policy)) => outside("gitseal.policy", policy, repository)?,
                (None, None) => {}
            }
        }
        let mut before =
            RefSnapshot::of_remote(repository, b"origin").map_err(ContextError::from)?;
        let mut graph = Graph::new(repository);
        let update = RefCommand {
            old: base(&job, &before, repository, &mut graph)?,
            new: commit(Some(job.head), "the head", &job, repository)?,
            name: job.reference.as_str().into(),
        };
        before.restrict_to(
            job.default_branch.as_deref(),
            job.reference.as_bytes(),
            update.old,
        );
        let verifier = PushVerifier::open(repository, &settings, options, update.old, update.old)?;
        let plan = plan::plan(
            vec![update],
            repository,
            &mut graph,
            &before,
            // References of the clone are not those of the service.
            PushSide::Service,
            verifier.binding(),
        )
        .map_err(|error| cut_off(error, platform))?;
        let report = verifier.judge("ci", &plan, &before, &mut graph, deadline, job.is_request)?;
        write_reports(&report, &job, &resolved, arguments)
    })
}

/// Prints and writes the reports that the arguments and the platform request.
fn write_reports(
    report: &PushReport,
    job: &CiJob,
    resolved: &[ResolvedName],
    arguments: &CiArgs,
) -> Result<u8, GateError> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| GateError::Write {
            path: path.to_owned(),
            error,
        })
    };
    if let Some(path) = &arguments.junit {
        report
            .junit(path, &job.what)
            .map_err(|error| GateError::Write {
                path: path.clone(),
                error,
            })?;
    }
    if let Some(path) = &arguments.code_quality {
        write(path, &format!("{:#}\n", report.code_quality()))?;
    }
    if job.platform == Platform::GitHub
        && let Some(path) = variable("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())
    {
        let path = PathBuf::from(path);
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|mut file| file.write_all(report.markdown(&job.what).as_bytes()))
            .map_err(|error| GateError::Write { path, error })?;
    }
    let text = report.text();
    if !text.is_empty() {
        // A runner reads commands out of this as well.
        let text = text.trim_end().replace("##[", "#\\u{23}[");
        terminal::info(&Styled::trusted(text));
    }
    let line = styled!(
        "gitseal: {}: {} commits and tags checked: {} errors, {} warnings",
        Styled::name(&job.what),
        report.checked,
        report.refusals,
        report.warnings
    );
    let written = if arguments.options.json {
        terminal::info(&line);
        let mut json = report.json();
        if let Some(json) = json.as_object_mut() {
            json.insert("resolved".to_owned(), names::json(resolved));
        }
        terminal::print_json(&json)
    } else {
        let annotations = match job.platform {
            Platform::GitHub => report.annotations(),
            Platform::GitLab | Platform::Plain => String::new(),
        };
        terminal::print(&styled!("{}{}\n", Styled::trusted(annotations), line))
    };
    Ok(exit_of(report).max(crate::exit::written(written)))
}

/// Returns the job that `--range` and `--ref` describe, and what the names in the range
/// resolved to.
fn by_hand(
    range: &str,
    reference: &str,
    platform: Platform,
    repository: &Repository,
) -> Result<(CiJob, Vec<ResolvedName>), GateError> {
    check_name(reference.as_bytes()).map_err(|why| GateError::Flag {
        flag: "--ref",
        reason: why.to_owned(),
    })?;
    let refuse = |error: GitError| match error {
        GitError::UnknownRevision { .. }
        | GitError::Revision { .. }
        | GitError::Ambiguous { .. }
        | GitError::Kind { .. } => GateError::Flag {
            flag: "--range",
            reason: error.to_string(),
        },
        other => ContextError::from(other).into(),
    };
    let (base, head) = match split_range(range).map_err(refuse)? {
        Some((base, head)) => (Some(base), head),
        None => (None, range),
    };
    let mut resolved = Vec::new();
    let mut resolve = |revision: &str| -> Result<ObjectId, GateError> {
        let (id, name) = repository.resolve_commit(revision).map_err(refuse)?;
        resolved.push(name);
        Ok(id)
    };
    let base = base.map(&mut resolve).transpose()?;
    let head = resolve(head)?;
    let job = CiJob {
        platform,
        what: format!("commits for {reference}"),
        reference: reference.to_owned(),
        base,
        target: None,
        head,
        default_branch: None,
        is_request: true,
    };
    Ok((job, resolved))
}

/// Returns where the commits of the job start: for a request, the tip of its target
/// branch.
fn base(
    job: &CiJob,
    before: &RefSnapshot,
    repository: &Repository,
    graph: &mut Graph,
) -> Result<Option<ObjectId>, GateError> {
    let named = commit(job.base, "the base", job, repository)?;
    let Some(target) = &job.target else {
        return Ok(named);
    };
    let tip = before.tip_of(format!("refs/heads/{target}").as_bytes());
    match (named, tip) {
        (None, None) => Err(GateError::Shallow {
            what: "the target branch",
            id: format!("origin/{target}"),
            hint: "git fetch origin \"+refs/heads/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME:refs/remotes/origin/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME\" (see docs/ci/gitlab.yml)",
        }),
        (None, tip) => Ok(tip),
        (Some(named), None) => Ok(Some(named)),
        // What the service says may be from when the request was made.
        (Some(named), Some(tip)) => {
            let gained = graph
                .new_commits(&[named], &[tip], Traversal::Full)
                .map_err(plan::PlanError::from)
                .map_err(|error| cut_off(error, job.platform))?;
            Ok(Some(if gained.commits.is_empty() {
                tip
            } else {
                named
            }))
        }
    }
}

/// Returns the commit that the service names, which a shallow clone may lack.
fn commit(
    id: Option<ObjectId>,
    what: &'static str,
    job: &CiJob,
    repository: &Repository,
) -> Result<Option<ObjectId>, GateError> {
    let Some(id) = id else { return Ok(None) };
    let missing = || GateError::Shallow {
        what,
        id: id.to_string(),
        hint: deeper(job.platform),
    };
    match repository.objects().peel(id) {
        Ok(peeled) if matches!(peeled.target, Target::Commit(_)) => Ok(Some(id)),
        Ok(_) | Err(GitError::Missing { .. }) => Err(missing()),
        Err(error) => Err(ContextError::from(error).into()),
    }
}

fn deeper(platform: Platform) -> &'static str {
    match platform {
        Platform::GitHub => {
            "check out with 'fetch-depth: 0', and fetch refs/pull/NUMBER/head (see docs/ci/github.yml)"
        }
        Platform::GitLab => {
            "set the variable GIT_DEPTH to \"0\" for this job (see docs/ci/gitlab.yml)"
        }
        Platform::Plain => "run 'git fetch --unshallow', and fetch the commits to check",
    }
}

/// Turns a missing parent into the hint for a shallow clone.
fn cut_off(error: plan::PlanError, platform: Platform) -> GateError {
    match error.missing_parent() {
        Some(parent) => GateError::Shallow {
            what: "the parent",
            id: parent,
            hint: deeper(platform),
        },
        None => error.into(),
    }
}

/// Rejects a policy file in the repository: the request's author controls it.
fn outside(flag: &'static str, policy: &Path, repository: &Repository) -> Result<(), GateError> {
    let Ok(policy) = fs::canonicalize(policy) else {
        // Loading it reports the error.
        return Ok(());
    };
    let inside = repository
        .paths()
        .iter()
        .any(|path| policy.starts_with(path));
    if inside {
        return Err(GateError::Flag {
            flag,
            reason: verifier::INSIDE.to_owned(),
        });
    }
    Ok(())
}
