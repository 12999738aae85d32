//! The verdict log: one line of JSON for each run, appended with one write before
//! the exit status. A run that cannot be recorded rejects the push.
//!
//! A line contains names, IDs, identities and codes, and the reason of an override.
//! It contains no commit message and no token.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::Instant,
};

use serde_json::{Value, json};

use super::report::{ItemSubject, PushReport, ReportItem};
use crate::{
    context::system_time,
    host::{
        git::{ObjectId, Repository, objects::ReadCounts, push::RefCommand},
        settings::Settings,
    },
};
use gitseal_evidence::{UnixTime, object::ObjectKind, rfc3339};
use gitseal_policy::SignatureResult;

/// Maximum number of findings in a line; the rest is counted.
const MAX_FINDINGS: usize = 1_000;

/// Errors while writing the verdict log.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the verdict log {}: {error}", .path.display())]
pub struct VerdictLogError {
    path: PathBuf,
    error: io::Error,
}

/// The policy in force, as the verdict log names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyId {
    /// `sha256:` and the digest of a policy file and the files that it includes, or
    /// `tree:` and the ID of the directory `.gitseal`.
    pub id: String,
    /// The file, or the ID of the commit.
    pub from: String,
}

/// What is known of a run. The watchdog reads it from its own thread.
pub struct RunRecord {
    command: &'static str,
    time: UnixTime,
    started: Instant,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    log: Option<PathBuf>,
    /// Whether the line was written, or its writing failed.
    is_done: bool,
    repository: String,
    policy: Option<PolicyId>,
    pusher: Option<String>,
    certificate: Option<Value>,
    overruled: Option<Value>,
    refs: Vec<Value>,
    findings_omitted: usize,
    read: ReadCounts,
    checked: usize,
}

impl RunRecord {
    /// Begins the record of a run.
    #[must_use]
    pub fn begin(command: &'static str) -> Self {
        Self {
            command,
            time: system_time(),
            started: Instant::now(),
            facts: Mutex::default(),
        }
    }

    /// Sets the log that the settings name, and the repository.
    pub fn open(&self, settings: &Settings, repository: &Repository) {
        let mut facts = self.facts();
        facts.log = settings.verdict_log.value.clone().map(|log| log.0);
        let path = repository.paths().into_iter().next().unwrap_or_default();
        facts.repository = path.to_string_lossy().into_owned();
    }

    /// Returns whether a log is set.
    #[must_use]
    pub fn has_log(&self) -> bool {
        self.facts().log.is_some()
    }

    /// Records the requested changes, which have no verdict yet.
    pub fn requested(&self, updates: &[RefCommand]) {
        self.facts().refs = updates
            .iter()
            .map(|update| {
                json!({
                    "name": update.name.to_string(), "old": hex(update.old.as_ref()),
                    "new": hex(update.new.as_ref()), "base": null, "verdict": null,
                    "adopted": [], "findings": [],
                })
            })
            .collect();
    }

    /// Records the policy in force.
    pub fn judged_by(&self, policy: PolicyId) {
        self.facts().policy = Some(policy);
    }

    /// Records the account of the pusher, and the push certificate: the ID of its
    /// blob, and its signature.
    pub fn pushed_by(&self, account: Option<&str>, certificate: Option<(&str, &SignatureResult)>) {
        let mut facts = self.facts();
        facts.pusher = account.map(str::to_owned);
        facts.certificate = certificate.map(|(blob, signature)| match signature {
            SignatureResult::Good { identity, .. } => json!({
                "blob": blob, "identity": identity.san.value(), "issuer": identity.issuer,
            }),
            SignatureResult::Unsigned => json!({ "blob": blob, "code": "unsigned" }),
            SignatureResult::Other(kind) => json!({ "blob": blob, "code": kind.as_str() }),
            SignatureResult::Bad { code, message } => {
                json!({ "blob": blob, "code": code, "message": message })
            }
        });
    }

    /// Records the results and findings.
    pub fn judged(&self, report: &PushReport) {
        let mut findings: HashMap<&str, Vec<Value>> = HashMap::new();
        let shown = report.ordered().take(MAX_FINDINGS);
        let shown = shown
            .map(|item| {
                let of_ref = findings.entry(&item.reference).or_default();
                of_ref.push(finding(item));
            })
            .count();
        let mut facts = self.facts();
        facts.refs = report
            .results
            .iter()
            .map(|result| {
                let mut value = result.json(report.is_overruled());
                let of_ref = findings.remove(result.name.as_str()).unwrap_or_default();
                if let Some(value) = value.as_object_mut() {
                    value.remove("gained");
                    value.insert("findings".to_owned(), Value::Array(of_ref));
                }
                value
            })
            .collect();
        facts.findings_omitted = report.total().saturating_sub(shown);
        facts.read = report.read;
        facts.checked = report.checked;
        facts.overruled = report.overruled.as_ref().map(|overruled| overruled.json());
    }

    /// Writes the line, unless it was written or no log is set.
    ///
    /// # Errors
    /// Returns [`VerdictLogError`] if it cannot be written, once.
    pub fn finish(&self, exit: u8, error: Option<&str>) -> Result<(), VerdictLogError> {
        self.write(self.facts(), exit, error)
    }

    /// As [`finish`](Self::finish) for a process that ends now: if the line is just
    /// being written, it does not wait for that.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_now(&self, exit: u8, error: &str) -> Result<(), VerdictLogError> {
        match self.facts.try_lock() {
            Ok(facts) => self.write(facts, exit, Some(error)),
            Err(TryLockError::Poisoned(facts)) => self.write(facts.into_inner(), exit, Some(error)),
            Err(TryLockError::WouldBlock) => Ok(()),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        mut facts: MutexGuard<'_, Facts>,
        exit: u8,
        error: Option<&str>,
    ) -> Result<(), VerdictLogError> {
        let Some(path) = facts.log.clone().filter(|_| !facts.is_done) else {
            return Ok(());
        };
        facts.is_done = true;
        let policy = facts.policy.as_ref();
        let line = json!({
            "time": rfc3339(self.time),
            "command": self.command,
            "repository": facts.repository,
            "policy": policy.map(|policy| &policy.id),
            "policy_from": policy.map(|policy| &policy.from),
            "pusher": facts.pusher,
            "certificate": facts.certificate,
            "override": facts.overruled,
            "exit": exit,
            "error": error,
            "ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "read": {
                "commits_and_tags": facts.read.commits_and_tags, "trees": facts.read.trees,
            },
            "checked": facts.checked,
            "refs": facts.refs,
            "findings_omitted": facts.findings_omitted,
        });
        append(&path, &format!("{line}\n")).map_err(|error| VerdictLogError { path, error })
    }
}

/// Returns one finding, without its message: it can contain what others wrote.
fn finding(item: &ReportItem) -> Value {
    let (commit, tag) = match &item.about {
        ItemSubject::Reference => (None, None),
        ItemSubject::Object { kind, id, .. } => match kind {
            ObjectKind::Commit => (Some(id), None),
            ObjectKind::Tag => (None, Some(id)),
        },
    };
    let mut value = json!({
        "commit": hex(commit), "signer": item.signer, "rule": item.finding.rule,
        "code": item.finding.code, "level": item.level(),
    });
    if let (Some(tag), Some(value)) = (tag, value.as_object_mut()) {
        value.insert("tag".to_owned(), json!(tag.to_string()));
    }
    value
}

fn hex(id: Option<&ObjectId>) -> Option<String> {
    id.map(ToString::to_string)
}

/// Appends a line in one write, so that lines of other runs are never inside it.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o640);
        // A pipe without a reader would wait.
        if let Ok(flags) = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()) {
            options.custom_flags(flags);
        }
    }
    let mut file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let written = file.write(line.as_bytes())?;
    if written == line.len() {
        Ok(())
    } else {
        let all = line.len();
        Err(io::Error::other(format!(
            "only {written} of {all} bytes were written"
        )))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::gate::report::RefResult;
    use gitseal_policy::{EnforcementMode, Finding, codes};

    fn item(number: usize, mode: EnforcementMode) -> ReportItem {
        ReportItem {
            reference: format!("refs/heads/{}", number % 2),
            about: ItemSubject::Object {
                kind: ObjectKind::Tag,
                id: ObjectId::null(gix::hash::Kind::Sha1),
                title: "a secret plan".to_owned(),
            },
            signer: None,
            step: None,
            may_merge: Vec::new(),
            finding: Finding::new(mode, codes::UNSIGNED, "a secret plan"),
        }
    }

    /// Errors are kept before warnings, and the line is written once.
    #[test]
    fn findings_beyond_the_limit_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut report = PushReport {
            results: (0..2)
                .map(|number| RefResult {
                    name: format!("refs/heads/{number}"),
                    old: None,
                    new: None,
                    base: None,
                    is_refused: number == 0,
                    gained: 7,
                    adopted: Vec::new(),
                })
                .collect(),
            ..PushReport::default()
        };
        for number in 0..MAX_FINDINGS + 5 {
            report.add(item(number, EnforcementMode::Warn));
        }
        report.add(item(0, EnforcementMode::Enforce));
        let record = RunRecord::begin("pre-receive");
        record.facts().log = Some(path.clone());
        record.judged(&report);
        record.finish(1, None).unwrap();
        record.finish(0, None).unwrap();
        record.finish_now(3, "late").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains("secret"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["exit"], 1);
        let of = |number: usize| line["refs"][number]["findings"].as_array().unwrap();
        assert_eq!(of(0).len() + of(1).len(), MAX_FINDINGS);
        assert_eq!(
            (&of(0)[0]["level"], &of(1)[0]["level"]),
            (&json!("error"), &json!("warning"))
        );
        assert_eq!(of(0)[0]["tag"], "0".repeat(40));
        assert_eq!(of(0)[0]["commit"], Value::Null);
        assert_eq!(line["findings_omitted"], 6);
    }

    /// Without a log nothing is written, and nothing fails.
    #[test]
    fn without_a_log() {
        let record = RunRecord::begin("update");
        assert!(!record.has_log());
        record.finish(0, None).unwrap();
    }
}
