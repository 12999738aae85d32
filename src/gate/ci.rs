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
    sync::Arc,
};

use gix::{ObjectId, bstr::BString};

use super::{
    GateError, exit_of,
    job::{self, CiJob, MAX_EVENT, Platform},
    judge::{JudgeError, PushJudge, Scope},
    policy_source::{PolicyLoadError, PolicySource},
    report::PushReport,
    sources::RefSnapshot,
    target::{PushSide, read_changes},
    verdict_log::RunRecord,
    watched,
};
use crate::host::{
    git::{
        GitError, Repository,
        objects::Target,
        push::{RefCommand, check_name},
        resolve::ResolvedName,
        walk::split_range,
    },
    settings::Settings,
};
use crate::{
    cli::{CiArgs, GateArgs},
    context::{ContextError, open_context},
    names,
};
use gitseal_terminal::{self as terminal, Styled, styled};

/// The message for a file that the author of a request controls.
const INSIDE: &str = "this file is part of the change being checked, so its author controls it; omit the option to use the default branch's .gitseal/policy.toml, or name a file outside the repository";

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
    let record = Arc::new(RunRecord::begin("ci"));
    watched(&record, options.timeout, PushSide::Service, |deadline| {
        let (workspace, settings) = open_context()?;
        let repository = workspace.repository().map_err(ContextError::from)?;
        record.open(&settings, repository);
        repository.objects().set_deadline(deadline);
        let by_hand = match (&arguments.range, &arguments.reference) {
            (Some(range), Some(reference)) => {
                Some(by_hand(range, reference, platform, repository)?)
            }
            _ => None,
        };
        let is_by_hand = by_hand.is_some();
        let (job, resolved) = match by_hand {
            Some(by_hand) => by_hand,
            // A service names full IDs.
            None => (job::detect(&variable, &event)?, Vec::new()),
        };
        names::print(&resolved);
        all_outside(options, &settings, repository)?;
        // A service's default branch has a policy without being told so.
        let source = match PolicySource::find(&settings, options, repository) {
            Err(PolicyLoadError::None) => PolicySource::Repository { root: None },
            found => found.map_err(JudgeError::from)?,
        };
        let mut fetched =
            RefSnapshot::of_remote(repository, &settings, b"origin").map_err(JudgeError::from)?;
        let update = RefCommand {
            old: base(&job, &mut fetched, repository)?,
            new: commit(Some(job.head), "the head", &job, repository)?,
            name: job.reference.as_str().into(),
        };
        record.requested(std::slice::from_ref(&update));
        let mut before = before(&job, is_by_hand, &update, &mut fetched, &source, repository)?;
        let judge = PushJudge::open(repository, &settings, options, source)?;
        let changes = read_changes(vec![update], repository, &before);
        let changes = changes.map_err(JudgeError::from)?;
        let scope = if job.is_request {
            Scope::Request
        } else {
            Scope::OneRef
        };
        let report = judge
            .judge("ci", &changes, &mut before, scope, &record)
            .map_err(|error| cut_off(error, platform))?;
        record.judged(&report);
        write_reports(&report, &job, &resolved, arguments)
    })
}

/// Returns the refs before the job: of those that were fetched only the default
/// branch counts, since anyone who may push can put the same commits on two others.
///
/// Where neither the service nor a setting names the default branch, a range by hand
/// names the policy itself: it is that of the commit where the range starts.
fn before(
    job: &CiJob,
    is_by_hand: bool,
    update: &RefCommand,
    fetched: &mut RefSnapshot,
    source: &PolicySource,
    repository: &Repository,
) -> Result<RefSnapshot, GateError> {
    let named = job.default_branch.as_ref();
    let named = named.map(|branch| BString::from(format!("refs/heads/{branch}")));
    let default = named
        .or_else(|| fetched.default_branch().map(BString::from))
        .or_else(|| is_by_hand.then(|| update.name.clone()));
    let tip = match &default {
        Some(name) if *name == update.name => update.old,
        Some(name) => fetched.commit_of(name, repository.objects()),
        None => None,
    };
    let is_needed = matches!(source, PolicySource::Repository { .. });
    match (&default, tip) {
        (Some(name), None) if is_needed && *name != update.name => Err(GateError::Shallow {
            what: "the default branch",
            id: name.to_string().replacen("refs/heads/", "origin/", 1),
            hint: "fetch it: git fetch origin \"+refs/heads/*:refs/remotes/origin/*\"",
        }),
        _ => {
            let tip = default.clone().zip(tip);
            Ok(RefSnapshot::new(tip, default))
        }
    }
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
    fetched: &mut RefSnapshot,
    repository: &Repository,
) -> Result<Option<ObjectId>, GateError> {
    let named = commit(job.base, "the base", job, repository)?;
    let Some(target) = &job.target else {
        return Ok(named);
    };
    let target_name = format!("refs/heads/{target}");
    let tip = fetched.commit_of(target_name.as_bytes(), repository.objects());
    // The fetched tip first: what the service says may be from when the request was
    // made, and have been taken off the branch since.
    tip.or(named).map(Some).ok_or_else(|| GateError::Shallow {
        what: "the target branch",
        id: format!("origin/{target}"),
        hint: "git fetch origin \"+refs/heads/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME:refs/remotes/origin/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME\" (see docs/ci/gitlab.yml)",
    })
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
fn cut_off(error: JudgeError, platform: Platform) -> GateError {
    match error.missing_parent() {
        Some(parent) => GateError::Shallow {
            what: "the parent",
            id: parent.to_owned(),
            hint: deeper(platform),
        },
        None => error.into(),
    }
}

/// Rejects every file that decides and is in the repository: the author of what is
/// checked controls it.
fn all_outside(
    options: &GateArgs,
    settings: &Settings,
    repository: &Repository,
) -> Result<(), GateError> {
    let policy = match (&options.policy, &options.policy_root) {
        (Some(policy), _) => Some(("--policy", policy)),
        (None, Some(_)) => None,
        (None, None) => settings
            .policy
            .value
            .as_ref()
            .map(|policy| ("gitseal.policy", policy)),
    };
    let trust = match (&options.trusted_root, &settings.trusted_root.value) {
        (Some(root), _) => vec![("--trusted-root", root)],
        (None, Some(root)) => vec![("gitseal.trustedRoot", root)],
        (None, None) => [
            ("gitseal.fulcioRoot", &settings.fulcio_root.value),
            ("gitseal.rekorPublicKey", &settings.rekor_public_key.value),
            ("gitseal.ctLogPublicKey", &settings.ct_log_public_key.value),
            (
                "gitseal.timestampCertChain",
                &settings.timestamp_cert_chain.value,
            ),
        ]
        .into_iter()
        .filter_map(|(name, path)| Some((name, path.as_ref()?)))
        .collect(),
    };
    for (flag, path) in policy.into_iter().chain(trust) {
        if is_inside(path, repository) {
            return Err(GateError::Flag {
                flag,
                reason: INSIDE.to_owned(),
            });
        }
    }
    Ok(())
}

/// Returns whether a file, or a link to it, is in the repository.
fn is_inside(path: &Path, repository: &Repository) -> bool {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let link = fs::canonicalize(folder).ok();
    let file = fs::canonicalize(path).ok();
    let inside = repository.paths();
    // What does not exist is reported when it is loaded.
    [link, file]
        .into_iter()
        .flatten()
        .any(|path| inside.iter().any(|inside| path.starts_with(inside)))
}
