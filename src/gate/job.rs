//! The CI job, from its environment: which commits to check, for which branch, and
//! where to read the policy.
//!
//! The commits of a pull or merge request are those that its head reaches and the
//! tip of its target branch does not. The policy is that of this tip: the request
//! cannot bring its own, and the commit where it forked was its author's choice.
//!
//! Sources: GitHub's "Variables" and "Webhook events and payloads", GitLab's
//! "Predefined CI/CD variables". Gitea and Forgejo Actions use GitHub's names.

use serde_json::Value;

use crate::host::git::{ObjectId, push::check_name};

/// Maximum size of an event file, in bytes. GitHub's limit for a payload is 25 MB.
pub const MAX_EVENT: u64 = 32 * 1024 * 1024;

/// The CI platform, which decides the form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// GitHub Actions, and Gitea and Forgejo Actions.
    GitHub,
    GitLab,
    /// A terminal, or another service.
    Plain,
}

/// The commits that a CI job checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiJob {
    pub platform: Platform,
    /// Description for the report.
    pub what: String,
    /// The branch or tag that the commits are meant for, in full.
    pub reference: String,
    /// ID of the commit before the first; `None` for a new branch, and where the
    /// service does not name it.
    pub base: Option<ObjectId>,
    /// The target branch of a request; its tip as fetched replaces an older `base`.
    pub target: Option<String>,
    /// ID of the last commit.
    pub head: ObjectId,
    /// The default branch, whose history a new branch does not repeat.
    pub default_branch: Option<String>,
    /// Whether users without write access can have made the commits.
    pub is_request: bool,
}

/// Errors while reading the job's environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CiJobError {
    #[error("not running in GitHub, GitLab, Gitea or Forgejo CI, and --range is not given")]
    Unknown,
    #[error("variable {name} is not set")]
    Variable { name: &'static str },
    #[error("event {event:?} has no range of commits")]
    Event { event: String },
    #[error("the event file has no valid {field}")]
    Field { field: &'static str },
    #[error("cannot read the event file {path:?}: {why}")]
    File { path: String, why: String },
    #[error("{what} is {found:?}, which is not an object ID")]
    Id { what: &'static str, found: String },
    #[error("{what} is {found:?}, which is not the name of a branch or tag")]
    Name { what: &'static str, found: String },
    #[error("the event deletes {reference}: nothing to check")]
    Deleted { reference: String },
}

/// The variables of the job.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Reads the event file.
pub type ReadEvent<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Detects the CI platform and the commit range to check from the job's environment.
///
/// # Errors
/// Returns [`CiJobError`] if a variable or the event is missing or malformed.
pub fn detect(variable: Variables<'_>, event: ReadEvent<'_>) -> Result<CiJob, CiJobError> {
    let is = |name: &str| variable(name).is_some_and(|value| value == "true");
    if is("GITLAB_CI") {
        return gitlab(variable);
    }
    if is("GITHUB_ACTIONS") || is("GITEA_ACTIONS") || is("FORGEJO_ACTIONS") {
        return github(variable, event);
    }
    Err(CiJobError::Unknown)
}

/// Returns the CI platform that runs the job.
#[must_use]
pub fn platform(variable: Variables<'_>) -> Platform {
    let is = |name: &str| variable(name).is_some_and(|value| value == "true");
    if is("GITLAB_CI") {
        Platform::GitLab
    } else if is("GITHUB_ACTIONS") || is("GITEA_ACTIONS") || is("FORGEJO_ACTIONS") {
        Platform::GitHub
    } else {
        Platform::Plain
    }
}

fn required(variable: Variables<'_>, name: &'static str) -> Result<String, CiJobError> {
    variable(name)
        .filter(|value| !value.is_empty())
        .ok_or(CiJobError::Variable { name })
}

/// Parses an object ID; `None` for all zeros.
fn id(what: &'static str, text: &str) -> Result<Option<ObjectId>, CiJobError> {
    match ObjectId::from_hex(text.as_bytes()) {
        Ok(id) if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Ok((!id.is_null()).then_some(id))
        }
        _ => Err(CiJobError::Id {
            what,
            found: text.chars().take(80).collect(),
        }),
    }
}

fn some_id(what: &'static str, text: &str) -> Result<ObjectId, CiJobError> {
    id(what, text)?.ok_or_else(|| CiJobError::Id {
        what,
        found: text.to_owned(),
    })
}

fn name(what: &'static str, full: String) -> Result<String, CiJobError> {
    match check_name(full.as_bytes()) {
        Ok(()) => Ok(full),
        Err(_) => Err(CiJobError::Name {
            what,
            found: full.chars().take(80).collect(),
        }),
    }
}

fn github(variable: Variables<'_>, event: ReadEvent<'_>) -> Result<CiJob, CiJobError> {
    let kind = required(variable, "GITHUB_EVENT_NAME")?;
    let path = required(variable, "GITHUB_EVENT_PATH")?;
    let unreadable = |why: String| CiJobError::File {
        path: path.clone(),
        why,
    };
    let bytes = event(&path).map_err(unreadable)?;
    let event: Value =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let text = |field: &'static str| -> Result<&str, CiJobError> {
        event
            .pointer(field)
            .and_then(Value::as_str)
            .ok_or(CiJobError::Field { field })
    };
    let default_branch = text("/repository/default_branch").ok().map(str::to_owned);
    match kind.as_str() {
        "pull_request" | "pull_request_target" | "pull_request_review" => {
            let number = event.pointer("/pull_request/number");
            let number = number.and_then(Value::as_u64);
            Ok(CiJob {
                platform: Platform::GitHub,
                what: number.map_or("pull request".to_owned(), |number| {
                    format!("pull request {number}")
                }),
                reference: name(
                    "the pull request's base",
                    format!("refs/heads/{}", text("/pull_request/base/ref")?),
                )?,
                base: Some(some_id(
                    "the pull request's base",
                    text("/pull_request/base/sha")?,
                )?),
                target: Some(text("/pull_request/base/ref")?.to_owned()),
                head: some_id("the pull request's head", text("/pull_request/head/sha")?)?,
                default_branch,
                is_request: true,
            })
        }
        "merge_group" => Ok(CiJob {
            platform: Platform::GitHub,
            what: "merge group".to_owned(),
            reference: name(
                "the group's base",
                text("/merge_group/base_ref")?.to_owned(),
            )?,
            base: Some(some_id("the group's base", text("/merge_group/base_sha")?)?),
            target: None,
            head: some_id("the group's head", text("/merge_group/head_sha")?)?,
            default_branch,
            is_request: true,
        }),
        "push" => {
            let reference = name("the pushed reference", text("/ref")?.to_owned())?;
            let Some(head) = id("what was pushed", text("/after")?)? else {
                return Err(CiJobError::Deleted { reference });
            };
            Ok(CiJob {
                platform: Platform::GitHub,
                what: format!("push to {reference}"),
                base: id("what was there before", text("/before")?)?,
                target: None,
                head,
                reference,
                default_branch,
                is_request: false,
            })
        }
        _ => Err(CiJobError::Event { event: kind }),
    }
}

fn gitlab(variable: Variables<'_>) -> Result<CiJob, CiJobError> {
    let some = |name: &str| variable(name).filter(|value| !value.is_empty());
    let commit = some_id("CI_COMMIT_SHA", &required(variable, "CI_COMMIT_SHA")?)?;
    let default_branch = some("CI_DEFAULT_BRANCH");
    if some("CI_MERGE_REQUEST_DIFF_BASE_SHA").is_some() {
        // That variable is the merge base: whoever made the request chose it, and
        // with it a policy that may be long gone.
        let base = some("CI_MERGE_REQUEST_TARGET_BRANCH_SHA");
        let target = required(variable, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")?;
        // A pipeline for merged results runs on a merge that GitLab made and that
        // nobody signed; the request's own head is what counts.
        let head = match some("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") {
            Some(head) => some_id("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", &head)?,
            None => commit,
        };
        return Ok(CiJob {
            platform: Platform::GitLab,
            what: match some("CI_MERGE_REQUEST_IID") {
                Some(number) => format!("merge request {number}"),
                None => "merge request".to_owned(),
            },
            reference: name(
                "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
                format!("refs/heads/{target}"),
            )?,
            base: base
                .map(|base| some_id("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", &base))
                .transpose()?,
            target: Some(target),
            head,
            default_branch,
            is_request: true,
        });
    }
    let reference = match (some("CI_COMMIT_TAG"), some("CI_COMMIT_BRANCH")) {
        (Some(tag), _) => name("CI_COMMIT_TAG", format!("refs/tags/{tag}"))?,
        (None, Some(branch)) => name("CI_COMMIT_BRANCH", format!("refs/heads/{branch}"))?,
        (None, None) => {
            return Err(CiJobError::Variable {
                name: "CI_COMMIT_BRANCH",
            });
        }
    };
    let base = match some("CI_COMMIT_BEFORE_SHA") {
        Some(before) => id("CI_COMMIT_BEFORE_SHA", &before)?,
        None => None,
    };
    Ok(CiJob {
        platform: Platform::GitLab,
        what: format!("pipeline of {reference}"),
        reference,
        base,
        target: None,
        head: commit,
        default_branch,
        is_request: false,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    fn hex(id: &str) -> ObjectId {
        ObjectId::from_hex(id.as_bytes()).unwrap()
    }

    fn job(variables: &[(&str, &str)], event: &str) -> Result<CiJob, CiJobError> {
        detect(
            &|name| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            },
            &|path| match path {
                "/event" => Ok(event.as_bytes().to_vec()),
                _ => Err("not there".to_owned()),
            },
        )
    }

    fn on_github(kind: &str, event: &str) -> Result<CiJob, CiJobError> {
        job(
            &[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", kind),
                ("GITHUB_EVENT_PATH", "/event"),
            ],
            event,
        )
    }

    #[test]
    fn pull_requests_of_github() {
        let event = format!(
            r#"{{"pull_request":{{"number":7,"base":{{"sha":"{A}","ref":"main"}},"head":{{"sha":"{B}","ref":"x"}}}}}}"#
        );
        let found = on_github("pull_request", &event).unwrap();
        assert_eq!(found.reference, "refs/heads/main");
        assert_eq!((found.base, found.head), (Some(hex(A)), hex(B)));
        assert!(found.is_request);
        assert_eq!(found.what, "pull request 7");
        let group = format!(
            r#"{{"merge_group":{{"base_sha":"{A}","base_ref":"refs/heads/main","head_sha":"{B}"}}}}"#
        );
        assert_eq!(on_github("merge_group", &group).unwrap().head, hex(B));
    }

    #[test]
    fn pushes_of_github() {
        let event = |before: &str, after: &str| {
            format!(
                r#"{{"ref":"refs/heads/x","before":"{before}","after":"{after}","repository":{{"default_branch":"main"}}}}"#
            )
        };
        let found = on_github("push", &event(A, B)).unwrap();
        assert_eq!((found.base, found.is_request), (Some(hex(A)), false));
        let new = on_github("push", &event(ZERO, B)).unwrap();
        assert_eq!(
            (new.base, new.default_branch.as_deref()),
            (None, Some("main"))
        );
        assert!(matches!(
            on_github("push", &event(A, ZERO)),
            Err(CiJobError::Deleted { .. })
        ));
        assert!(matches!(
            on_github("schedule", "{}"),
            Err(CiJobError::Event { .. })
        ));
    }

    #[test]
    fn what_an_event_cannot_say() {
        for event in [
            "{}",
            "[]",
            "nonsense",
            r#"{"pull_request":{"base":{"sha":7,"ref":"main"},"head":{"sha":"x"}}}"#,
            r#"{"pull_request":{"base":{"sha":"--upload-pack=x","ref":"main"},"head":{"sha":"x"}}}"#,
        ] {
            assert!(on_github("pull_request", event).is_err(), "{event}");
        }
        let hostile = format!(
            r#"{{"pull_request":{{"base":{{"sha":"{A}","ref":"main\n::error::x"}},"head":{{"sha":"{B}"}}}}}}"#
        );
        assert!(matches!(
            on_github("pull_request", &hostile),
            Err(CiJobError::Name { .. })
        ));
        assert!(matches!(
            job(
                &[
                    ("GITHUB_ACTIONS", "true"),
                    ("GITHUB_EVENT_NAME", "push"),
                    ("GITHUB_EVENT_PATH", "/gone"),
                ],
                ""
            ),
            Err(CiJobError::File { .. })
        ));
        assert_eq!(job(&[], ""), Err(CiJobError::Unknown));
    }

    #[test]
    fn merge_requests_of_gitlab() {
        let base = [
            ("GITLAB_CI", "true"),
            ("CI_COMMIT_SHA", B),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", A),
            ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
            ("CI_MERGE_REQUEST_IID", "12"),
        ];
        // The merge base is its author's choice: the target branch says where to
        // begin, by the service's word or as it was fetched.
        let found = job(&base, "").unwrap();
        assert_eq!((found.base, found.head), (None, hex(B)));
        assert_eq!(found.target.as_deref(), Some("main"));
        assert_eq!(found.what, "merge request 12");
        let tip = "d".repeat(40);
        let mut named = base.to_vec();
        named.push(("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", &tip));
        assert_eq!(job(&named, "").unwrap().base, Some(hex(&tip)));
        // Merged results: the merge itself is GitLab's.
        let source = "c".repeat(40);
        let mut merged = base.to_vec();
        merged.push(("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", &source));
        assert_eq!(job(&merged, "").unwrap().head, hex(&source));
    }

    #[test]
    fn pipelines_of_gitlab() {
        let found = job(
            &[
                ("GITLAB_CI", "true"),
                ("CI_COMMIT_SHA", B),
                ("CI_COMMIT_BEFORE_SHA", ZERO),
                ("CI_COMMIT_BRANCH", "x"),
                ("CI_DEFAULT_BRANCH", "main"),
            ],
            "",
        )
        .unwrap();
        assert_eq!(
            (found.base, found.reference.as_str()),
            (None, "refs/heads/x")
        );
        let tag = job(
            &[
                ("GITLAB_CI", "true"),
                ("CI_COMMIT_SHA", B),
                ("CI_COMMIT_TAG", "v1"),
            ],
            "",
        )
        .unwrap();
        assert_eq!(tag.reference, "refs/tags/v1");
        assert_eq!(
            job(&[("GITLAB_CI", "true")], ""),
            Err(CiJobError::Variable {
                name: "CI_COMMIT_SHA"
            })
        );
    }
}
