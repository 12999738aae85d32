//! `gitseal policy`: checks, describes, compares, tests and creates policies.
//!
//! *Not decided here:* what a policy means (`policy/`).

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use gix::ObjectId;
use serde_json::{Value, json};

use super::{
    policy_refs,
    policy_source::{text_at, text_of},
};
use crate::host::{
    git::{
        GitError, Repository,
        graph::GraphError,
        resolve::ResolvedName,
        walk::{RangeSpec, RefScope},
    },
    settings::Settings,
};
use crate::{
    batch::BatchVerifier,
    cli::{
        PolicyArgs, PolicyCheckArgs, PolicyCommand, PolicyDescribeArgs, PolicyDiffArgs,
        PolicyInitArgs, PolicyTestArgs,
    },
    context::{ContextError, open_context},
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE},
    history::{HistoryError, RepositoryHistory},
    names,
    verdict::VerifyRequest,
};
use gitseal_policy::{
    Finding, POLICY_PATH, Policy, PolicyErrors, Pusher, SignatureResult,
    diff::diff,
    lint::lint,
    starter::Starter,
    steps::{Branch, Judged, StepJudge, StepsError, Subject, Update},
};
use gitseal_terminal::{self as terminal, Style, Styled, style, styled};

/// Errors of the policy commands.
#[derive(Debug, thiserror::Error)]
enum PolicyCommandError {
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("cannot read the policy {name}: {why}")]
    Unreadable { name: String, why: String },
    #[error("{0}")]
    Policy(#[from] PolicyErrors),
    #[error("no policy is set")]
    NoPolicy,
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Steps(#[from] StepsError<HistoryError>),
    #[error("HEAD does not name a signer: {why}")]
    NoSigner { why: String },
    #[error("cannot convert {}: {why}", .path.display())]
    Codeowners { path: PathBuf, why: String },
    #[error("cannot write {path:?}: {error}")]
    Write { path: PathBuf, error: io::Error },
}

impl PolicyCommandError {
    fn exit(&self) -> u8 {
        match self {
            Self::Graph(_) | Self::Steps(_) => EXIT_UNDECIDED,
            _ => EXIT_USAGE,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Context(obstacle) => obstacle.hint(),
            Self::Unreadable { .. } => Some(
                "name a file, or REV: for the policy in a commit; 'gitseal policy init' creates one",
            ),
            Self::Policy(_) => Some("run 'gitseal policy check'"),
            Self::NoPolicy => Some(
                "pass --policy FILE or --policy-root REV, or set gitseal.policy or gitseal.policyRoot in user or system configuration",
            ),
            Self::NoSigner { .. } => Some("name the first signer with --identity and --issuer"),
            Self::Graph(_) | Self::Steps(_) | Self::Codeowners { .. } | Self::Write { .. } => None,
        }
    }
}

impl From<GitError> for PolicyCommandError {
    fn from(error: GitError) -> Self {
        Self::Context(error.into())
    }
}

/// Runs `gitseal policy`.
#[must_use]
pub fn run(arguments: &PolicyArgs) -> u8 {
    let result = match &arguments.command {
        PolicyCommand::Check(arguments) => check(arguments),
        PolicyCommand::Describe(arguments) => describe(arguments),
        PolicyCommand::Diff(arguments) => compare(arguments),
        PolicyCommand::Test(arguments) => test(arguments),
        PolicyCommand::Init(arguments) => init(arguments),
        PolicyCommand::Refs(arguments) => return policy_refs::run(arguments),
    };
    result.unwrap_or_else(|stop| {
        terminal::error(&Styled::lines(&stop.to_string()), stop.hint());
        stop.exit()
    })
}

// ------------------------------------------------------------ reading policies

/// Splits `REV:` and `REV:PATH`, the names of policies in a commit.
fn in_commit(name: &str) -> Option<(&str, &str)> {
    let (revision, inside) = name.split_once(':')?;
    let is_file = revision.is_empty() || Path::new(name).exists();
    let inside = if inside.is_empty() {
        POLICY_PATH
    } else {
        inside
    };
    (!is_file).then_some((revision, inside))
}

/// Returns the text of a policy: a file, or `REV:` for one in a commit, and what the
/// revision resolved to.
fn load(name: &str) -> Result<(String, Option<ResolvedName>), PolicyCommandError> {
    let unreadable = |why: String| PolicyCommandError::Unreadable {
        name: name.to_owned(),
        why,
    };
    let Some((revision, inside)) = in_commit(name) else {
        let text = text_of(Path::new(name)).map_err(|error| unreadable(error.to_string()))?;
        return Ok((text, None));
    };
    let (workspace, _) = open_context()?;
    let repository = workspace.repository()?;
    let (commit, resolved) = repository.resolve_commit(revision)?;
    let text = text_at(repository, commit, inside).map_err(unreadable)?;
    Ok((text, Some(resolved)))
}

fn text(name: &str, resolved: &mut Vec<ResolvedName>) -> Result<String, PolicyCommandError> {
    let (text, name) = load(name)?;
    resolved.extend(name);
    Ok(text)
}

/// Parses a policy, with the files beside it that it includes.
fn parse(text: &str, name: &str) -> Result<Policy, PolicyErrors> {
    Policy::parse_with(text, name, &|included| {
        let beside = match in_commit(name) {
            Some((revision, inside)) => {
                let path = Path::new(inside).with_file_name(included);
                format!("{revision}:{}", path.display())
            }
            None => Path::new(name)
                .with_file_name(included)
                .display()
                .to_string(),
        };
        let loaded = load(&beside).map_err(|error| error.to_string())?;
        Ok(loaded.0)
    })
}

fn read(name: &str, resolved: &mut Vec<ResolvedName>) -> Result<Policy, PolicyCommandError> {
    Ok(parse(&text(name, resolved)?, name)?)
}

// -------------------------------------------------------------------- commands

fn check(arguments: &PolicyCheckArgs) -> Result<u8, PolicyCommandError> {
    let mut resolved = Vec::new();
    let text = text(&arguments.policy, &mut resolved)?;
    let (errors, lints) = match parse(&text, &arguments.policy) {
        Ok(policy) => (Vec::new(), lint(&policy)),
        Err(errors) => (errors.errors, Vec::new()),
    };
    let exit = if !errors.is_empty() || arguments.strict && !lints.is_empty() {
        EXIT_REFUSED
    } else {
        EXIT_OK
    };
    if arguments.json {
        let errors: Vec<Value> = errors
            .iter()
            .map(|error| {
                json!({
                    "file": error.file, "line": error.line, "column": error.column,
                    "code": error.code, "message": error.message, "hint": error.hint,
                })
            })
            .collect();
        let lints: Vec<Value> = lints
            .iter()
            .map(|lint| json!({ "code": lint.code, "place": lint.place, "message": lint.message }))
            .collect();
        let report = json!({
            "policy": arguments.policy, "good": errors.is_empty(),
            "errors": errors, "suspicious": lints,
            "resolved": names::json(&resolved),
        });
        return Ok(exit.max(crate::exit::written(terminal::print_json(&report))));
    }
    names::print(&resolved);
    let name = &arguments.policy;
    let mut out = Styled::default();
    for error in &errors {
        out.push(&styled!(
            "{}:{}:{}: {} [{}]\n",
            Styled::name(error.file.as_ref().unwrap_or(name)),
            error.line,
            error.column,
            Styled::name(&error.message),
            error.code
        ));
        if let Some(hint) = &error.hint {
            out.push(&styled!("  hint: {}\n", hint));
        }
    }
    for lint in &lints {
        out.push(&styled!(
            "{}: {}: {} [{}]\n",
            name,
            Styled::name(&lint.place),
            Styled::name(&lint.message),
            lint.code
        ));
    }
    out.push(&match (errors.len(), lints.len()) {
        (0, 0) => styled!("{}: {}\n", name, style(Style::Good, "valid")),
        (0, lints) => styled!("{}: valid, {} warnings\n", name, lints),
        (errors, _) => {
            let word = style(Style::Bad, "invalid");
            styled!("{}: {}: {} errors\n", name, word, errors)
        }
    });
    Ok(exit.max(crate::exit::written(terminal::print(&out))))
}

fn describe(arguments: &PolicyDescribeArgs) -> Result<u8, PolicyCommandError> {
    let mut resolved = Vec::new();
    let words = read(&arguments.policy, &mut resolved)?.describe();
    let written = if arguments.json {
        let lines: Vec<&str> = words.lines().collect();
        terminal::print_json(&json!({
            "policy": arguments.policy, "resolved": names::json(&resolved), "lines": lines,
        }))
    } else {
        names::print(&resolved);
        terminal::print(&styled!("{}\n", Styled::lines(words.trim_end())))
    };
    Ok(crate::exit::written(written))
}

fn compare(arguments: &PolicyDiffArgs) -> Result<u8, PolicyCommandError> {
    let mut resolved = Vec::new();
    let old = read(&arguments.old, &mut resolved)?;
    let new = read(&arguments.new, &mut resolved)?;
    let changes = diff(&old, &new);
    if !arguments.json {
        names::print(&resolved);
    }
    let written = if arguments.json {
        let changes: Vec<Value> = changes
            .iter()
            .map(|change| {
                json!({ "kind": change.kind.as_str(), "subject": change.subject, "message": change.message })
            })
            .collect();
        terminal::print_json(&json!({
            "old": arguments.old, "new": arguments.new, "resolved": names::json(&resolved),
            "changes": changes,
        }))
    } else if changes.is_empty() {
        terminal::print(&styled!("no permission changes\n"))
    } else {
        let mut lines = Styled::default();
        for change in &changes {
            lines.push(&styled!(
                "{:7} {}: {}\n",
                change.kind.as_str(),
                Styled::name(&change.subject),
                Styled::name(&change.message)
            ));
        }
        terminal::print(&lines)
    };
    Ok(crate::exit::written(written))
}

/// The source of the policy: flags win over settings, a file over the repository.
/// Repository configuration cannot set it (`settings` ensures that).
enum Source {
    File(String),
    PolicyRoot(String),
}

fn source(arguments: &PolicyTestArgs, settings: &Settings) -> Result<Source, PolicyCommandError> {
    if let Some(file) = &arguments.policy {
        return Ok(Source::File(file.clone()));
    }
    if let Some(root) = &arguments.policy_root {
        return Ok(Source::PolicyRoot(root.clone()));
    }
    if let Some(file) = &settings.policy.value {
        return Ok(Source::File(file.to_string_lossy().into_owned()));
    }
    match &settings.policy_root.value {
        Some(root) => Ok(Source::PolicyRoot(root.clone())),
        None => Err(PolicyCommandError::NoPolicy),
    }
}

fn test(arguments: &PolicyTestArgs) -> Result<u8, PolicyCommandError> {
    let (workspace, settings) = open_context()?;
    let repository = workspace.repository()?;
    let source = source(arguments, &settings)?;
    let request = VerifyRequest::for_policy(arguments.trusted_root.as_deref(), &settings)
        .map_err(ContextError::from)?;
    let engine = BatchVerifier::new(&request).with_headers();
    let mut history = RepositoryHistory::new(repository, &engine);
    let mut report = TestReport::default();
    let by = match source {
        Source::File(name) => {
            let policy = Rc::new(read(&name, &mut report.resolved)?);
            let mut steps = StepJudge::new(&mut history, policy);
            by_file(&mut steps, arguments, repository, &mut report)?;
            name
        }
        Source::PolicyRoot(root) => {
            let (root, name) = repository.resolve_commit(&root)?;
            report.resolved.push(name);
            let steps = StepJudge::at(&mut history, root)?;
            let mut steps = steps.map_err(|finding| PolicyCommandError::Unreadable {
                name: format!("{POLICY_PATH} of {root}"),
                why: finding.message,
            })?;
            for revision in &arguments.revisions {
                let (tip, name) = repository.resolve_commit(revision)?;
                report.resolved.push(name);
                let judged = steps.judge_clone(root, tip, arguments.reference.as_bytes())?;
                report.add_judged(tip, judged);
            }
            format!("{POLICY_PATH} from {root}")
        }
    };
    let exit = if report.refusals > 0 {
        EXIT_REFUSED
    } else {
        EXIT_OK
    };
    let written = if arguments.json {
        terminal::print_json(&json!({
            "policy": by, "ref": arguments.reference, "checked": report.checked,
            "refusals": report.refusals, "warnings": report.warnings, "findings": report.json,
            "resolved": names::json(&report.resolved),
        }))
    } else {
        names::print(&report.resolved);
        terminal::print(&styled!(
            "{}gitseal: policy {}: {} commits checked: {} errors, {} warnings\n",
            report.text,
            by,
            report.checked,
            report.refusals,
            report.warnings
        ))
    };
    Ok(exit.max(crate::exit::written(written)))
}

/// Judges the commits of each revision by one policy, as a new ref that may be made
/// from what the range excludes. A single commit is judged on its first parent.
fn by_file(
    steps: &mut StepJudge<'_, RepositoryHistory<'_>>,
    arguments: &PolicyTestArgs,
    repository: &Repository,
    report: &mut TestReport,
) -> Result<(), PolicyCommandError> {
    let specs = arguments.revisions.iter().cloned().map(RangeSpec::Revision);
    let specs: Vec<RangeSpec> = specs.collect();
    let mut selection = repository.select(&specs)?;
    report.resolved.append(&mut selection.resolved);
    if selection.is_empty() {
        return Err(PolicyCommandError::Context(ContextError::NothingToVerify {
            reason: "no commit to start from is named, only exclusions",
        }));
    }
    for tip in selection.from {
        let excluded = if selection.is_range {
            selection.not.clone()
        } else {
            let parents = steps.history().graph().parents(tip)?;
            parents.into_iter().take(1).collect()
        };
        let update = Update {
            name: arguments.reference.as_bytes(),
            branch: Branch::Other,
            old: None,
            new: Some(tip),
            lent: &excluded,
            pusher: Pusher::default(),
        };
        let mut judged = steps.judge(&update)?;
        // The commits are tested, not who may push them.
        judged
            .findings
            .retain(|found| found.about != Subject::Reference);
        report.add_judged(tip, judged);
    }
    Ok(())
}

/// The findings of `policy test`.
#[derive(Default)]
struct TestReport {
    checked: usize,
    refusals: usize,
    warnings: usize,
    text: Styled,
    json: Vec<Value>,
    resolved: Vec<ResolvedName>,
}

impl TestReport {
    fn add_judged(&mut self, tip: ObjectId, judged: Judged<ObjectId>) {
        self.checked = self.checked.saturating_add(judged.gained);
        for found in judged.findings {
            let commit = match found.about {
                Subject::Commit { commit, .. } => commit,
                Subject::Reference => tip,
            };
            self.add(&commit, vec![found.finding]);
        }
    }

    fn add(&mut self, commit: &ObjectId, findings: Vec<Finding>) {
        for finding in findings {
            let word = if finding.refuses() {
                self.refusals = self.refusals.saturating_add(1);
                style(Style::Bad, "error")
            } else {
                self.warnings = self.warnings.saturating_add(1);
                style(Style::Strong, "warning")
            };
            let rule = match finding.rule.as_str() {
                "" => String::new(),
                rule => format!(" by rule {rule}"),
            };
            self.text.push(&styled!(
                "{} {}{}: {} [{}]\n",
                commit.to_string(),
                word,
                rule,
                Styled::name(&finding.message),
                finding.code
            ));
            let hint = finding.policy_hint.clone().or(finding.hint_line());
            if let Some(hint) = &hint {
                self.text.push(&styled!("  hint: {}\n", hint));
            }
            self.json.push(json!({
                "commit": commit.to_string(), "rule": finding.rule, "mode": finding.mode.as_str(),
                "code": finding.code, "message": finding.message, "hint": hint,
            }));
        }
    }
}

fn init(arguments: &PolicyInitArgs) -> Result<u8, PolicyCommandError> {
    let (identity, issuer) = match (&arguments.identity, &arguments.issuer) {
        (Some(identity), Some(issuer)) => (identity.clone(), issuer.clone()),
        _ => signer_of_head()?,
    };
    let text = first_policy(&identity, &issuer, arguments.codeowners.as_deref())?;
    // An odd identity is reported here, not when the policy is used.
    Policy::parse(&text, "the new policy")?;
    match &arguments.output {
        None => Ok(crate::exit::written(terminal::print(&Styled::lines(&text)))),
        Some(path) => {
            let failed = |error| PolicyCommandError::Write {
                path: path.clone(),
                error,
            };
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(failed)?;
            }
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(failed)?;
            terminal::info(&format!("gitseal: wrote {}", path.display()));
            terminal::hint(
                "commit it with 'git commit -S' and push it to the branch; then run 'git config --global gitseal.policyRoot COMMIT' on the server",
            );
            Ok(EXIT_OK)
        }
    }
}

/// Returns the identity and issuer that signed HEAD.
fn signer_of_head() -> Result<(String, String), PolicyCommandError> {
    let (workspace, settings) = open_context()?;
    let repository = workspace.repository()?;
    let request = VerifyRequest::for_policy(None, &settings).map_err(ContextError::from)?;
    let engine = BatchVerifier::new(&request);
    let (head, _) = repository.commit("HEAD")?;
    let judged = engine.verify_object(head, repository.hash());
    match crate::history::signature(&judged.verdict) {
        SignatureResult::Good { identity, .. } => {
            Ok((identity.san.value().to_owned(), identity.issuer))
        }
        SignatureResult::Unsigned => Err(PolicyCommandError::NoSigner {
            why: "it is not signed".to_owned(),
        }),
        SignatureResult::Other(kind) => Err(PolicyCommandError::NoSigner {
            why: format!("{kind} signatures are not verified"),
        }),
        SignatureResult::Bad { message, .. } => Err(PolicyCommandError::NoSigner { why: message }),
    }
}

/// Returns a policy for one signer, or one with the owners of a CODEOWNERS file.
fn first_policy(
    identity: &str,
    issuer: &str,
    codeowners: Option<&Path>,
) -> Result<String, PolicyCommandError> {
    let mut starter = Starter {
        identity,
        issuer,
        branch: "refs/heads/main",
    };
    let Some(path) = codeowners else {
        return Ok(starter.policy());
    };
    let failed = |why: String| PolicyCommandError::Codeowners {
        path: path.to_owned(),
        why,
    };
    let text = text_of(path).map_err(|error| failed(error.to_string()))?;
    let branch = open_context().ok().and_then(|(workspace, _)| {
        let repository = workspace.repository().ok()?;
        let name = repository.head_name(RefScope::Repository).ok()??;
        String::from_utf8(name.into()).ok()
    });
    if let Some(branch) = &branch {
        starter.branch = branch;
    }
    let converted = starter.with_owners(&text);
    converted.map_err(|error| failed(error.to_string()))
}
