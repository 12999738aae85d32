//! The policy, as the gate asks it: what was found in a push, put into the
//! policy's words, and its answers back.
//!
//! Where it is read from, once for each push, the first that there is:
//!
//! 1. `--policy FILE`;
//! 2. `--policy-root REV`: the repository's own, each commit by that of its parent;
//! 3. `gitseal.policy`;
//! 4. `gitseal.policyRoot`.
//!
//! With the repository's own policy, what happens to references is judged by that
//! of the branch that HEAD names, as it was before the push (of the policy root,
//! while there is no such branch). Never by what is pushed.
//!
//! *Not decided here:* what is allowed (`policy/`).

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use gix::ObjectId;

use super::plan::{Group, RefChange, RuleScope};
use crate::cli::GateArgs;
use crate::context::system_time;
use crate::host::{
    git::{GitError, Repository, push::RefNamespace},
    settings::Settings,
};
use crate::{
    batch::{self, ObjectResult},
    history,
};
use gitseal_evidence::object::ParsedTag;
use gitseal_policy::{
    Action, ApprovalTag, Finding, POLICY_PATH, Policy, PolicyErrors, Pusher, RefUpdate,
    SignatureResult, Tag, UpdateKind, codes, parse::MAX_POLICY,
};

/// Variables in which servers name the pusher, the most reliable first: Gitea and
/// Forgejo, GitLab, and HTTP authentication.
const PUSHERS: [&str; 4] = [
    "GITEA_PUSHER_NAME",
    "FORGEJO_PUSHER_NAME",
    "GL_USERNAME",
    "REMOTE_USER",
];

/// Errors while loading the policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyLoadError {
    #[error("no policy is set")]
    None,
    #[error("cannot read the policy {}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Policy(#[from] PolicyErrors),
    #[error("policy root: {0}")]
    Root(GitError),
    #[error("cannot read the policy in commit {commit}: {why}")]
    InTree { commit: String, why: String },
}

impl PolicyLoadError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::None => Some(
                "set --policy FILE, gitseal.policy or gitseal.policyRoot; docs/policy.md is the reference",
            ),
            Self::Policy(_) => Some("run 'gitseal policy check FILE'"),
            Self::InTree { .. } => Some(
                "commit .gitseal/policy.toml to the branch first, or pass --policy FILE from outside the repository",
            ),
            Self::Root(_) => Some("name it by its full ID; it must be in this repository"),
            Self::Unreadable { .. } => None,
        }
    }
}

/// The policy in force, and what identifies the pusher.
pub struct LoadedPolicy {
    pub policy: Policy,
    source: String,
    pusher: Option<String>,
    /// The verified push certificate, if the push is signed.
    pub certificate: Option<SignatureResult>,
    /// The policy root, if the policy of its parent applies to each commit.
    root: Option<ObjectId>,
}

impl LoadedPolicy {
    /// Loads the policy; `tip` is the commit of the protected branch before the push.
    ///
    /// # Errors
    /// Nobody named one, or it cannot be read or used.
    pub fn read(
        settings: &Settings,
        options: &GateArgs,
        repository: &Repository,
        tip: Option<ObjectId>,
    ) -> Result<Self, PolicyLoadError> {
        let file = |path: &PathBuf| -> Result<Self, PolicyLoadError> {
            let name = path.display().to_string();
            let text = text_of(path).map_err(|error| PolicyLoadError::Unreadable {
                path: path.clone(),
                error,
            })?;
            Ok(Self::of(Policy::parse(&text, &name)?, name, None))
        };
        let own = |root: &String| Self::in_tree(root, repository, tip);
        match (
            &options.policy,
            &options.policy_root,
            &settings.policy.value,
            &settings.policy_root.value,
        ) {
            (Some(path), ..) => file(path),
            (None, Some(root), ..) => own(root),
            (None, None, Some(path), _) => file(path),
            (None, None, None, Some(root)) => own(root),
            (None, None, None, None) => Err(PolicyLoadError::None),
        }
    }

    /// Loads the in-repository policy of `base`: what a CI job uses if none is set.
    ///
    /// # Errors
    /// The base has no policy that can be used.
    pub fn of_base(repository: &Repository, base: ObjectId) -> Result<Self, PolicyLoadError> {
        Self::in_tree(&base.to_string(), repository, None).map(|rules| Self {
            root: None,
            ..rules
        })
    }

    fn of(policy: Policy, source: String, root: Option<ObjectId>) -> Self {
        Self {
            policy,
            source,
            root,
            certificate: None,
            pusher: PUSHERS
                .iter()
                .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty())),
        }
    }

    fn in_tree(
        root: &str,
        repository: &Repository,
        tip: Option<ObjectId>,
    ) -> Result<Self, PolicyLoadError> {
        let (root, _) = repository
            .resolve_commit(root)
            .map_err(PolicyLoadError::Root)?;
        let commit = tip.unwrap_or(root);
        let failed = |why: String| PolicyLoadError::InTree {
            commit: commit.to_string(),
            why,
        };
        let text = text_at(repository, commit, POLICY_PATH).map_err(failed)?;
        let id = commit.to_string();
        let name = format!("{POLICY_PATH} of {}", id.get(..12).unwrap_or(&id));
        Ok(Self::of(Policy::parse(&text, &name)?, name, Some(root)))
    }

    /// The policy root, if the policy of its parent applies to each commit.
    pub fn root(&self) -> Option<ObjectId> {
        self.root
    }

    /// Returns the source of the policy.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns whether a rule counts other tags of the same object.
    pub fn counts_tags(&self, reference: &[u8]) -> bool {
        self.policy.rules.iter().any(|rule| {
            rule.threshold.is_some()
                && rule.may.contains_key(&Action::Tag)
                && rule.matches_ref(reference)
        })
    }

    /// Evaluates the change of a ref and the tag objects it leads to. Each finding
    /// comes with whether it is about the outermost tag rather than the ref.
    pub fn evaluate_change(
        &self,
        change: &RefChange,
        tags: &[&ObjectResult],
        others: &[(&[u8], &ObjectResult)],
    ) -> Vec<(bool, Finding)> {
        let mut findings = Vec::new();
        let name: &[u8] = &change.update.name;
        self.unusual(change, &mut findings);
        let signature_of = |tag: &ObjectResult| history::signature(&tag.verdict);
        let signatures: Vec<_> = tags.iter().map(|tag| signature_of(tag)).collect();
        let by_others: Vec<_> = others.iter().map(|(_, tag)| signature_of(tag)).collect();
        let others: Vec<ApprovalTag<'_>> = others
            .iter()
            .zip(&by_others)
            .map(|((ref_name, tag), signature)| ApprovalTag {
                ref_name,
                name: view_of(tag).map_or(&b""[..], |view| view.tag.as_bytes()),
                signature,
            })
            .collect();
        let ids: Vec<String> = tags.iter().map(|tag| tag.id.to_string()).collect();
        let mut read: Vec<Tag<'_>> = Vec::new();
        for ((tag, signature), id) in tags.iter().zip(&signatures).zip(&ids) {
            let view = view_of(tag);
            read.push(Tag {
                id,
                name: view.map_or(&b""[..], |view| view.tag.as_bytes()),
                signature,
                target_type: view.map_or("", |view| view.object_type.as_str()),
                others: &others,
            });
        }
        let new = change.update.new.map(|id| id.to_string());
        let update = RefUpdate {
            name,
            kind: match (&change.update.old, &change.update.new) {
                (None, Some(_)) => UpdateKind::Create,
                (_, None) => UpdateKind::Delete,
                (Some(_), Some(_)) => UpdateKind::Update {
                    fast_forward: change.forward,
                },
            },
            new: new.as_deref().unwrap_or_default(),
            tag: read.first().copied(),
        };
        let pusher = Pusher {
            account: self.pusher.as_deref(),
            certificate: self.certificate.as_ref(),
            now: Some(system_time()),
        };
        let of_tag = |code: &str| {
            update.tag.is_some() && !code.starts_with("pusher-") && !code.starts_with("no-rule")
        };
        let of_update = self.policy.evaluate_update(&update, &pusher).into_iter();
        findings.extend(of_update.map(|finding| (of_tag(finding.code), finding)));
        // The tags that the outer one leads to are signed as well; their names are
        // not the ref's.
        for tag in read.iter().skip(1) {
            let of_inner = self.policy.evaluate_tag(tag, name, pusher.now).into_iter();
            findings.extend(
                of_inner
                    .filter(|finding| finding.code != codes::TAG_NAME)
                    .map(|finding| (true, finding)),
            );
        }
        findings
    }

    /// Adds the findings that no rule has to state: special refs that no rule names, and
    /// branches or lightweight tags of objects that are not commits.
    fn unusual(&self, change: &RefChange, findings: &mut Vec<(bool, Finding)>) {
        let name: &[u8] = &change.update.name;
        let mut say = |code, message: String| {
            findings.push((false, Finding::new(self.policy.mode, code, message)));
        };
        if change.update.new.is_none() {
            return;
        }
        let (prefix, reason) = match change.space {
            RefNamespace::Branch | RefNamespace::Tag | RefNamespace::Other => ("", ""),
            RefNamespace::Replace => ("refs/replace/", "replacement refs change what Git displays"),
            RefNamespace::Notes => ("refs/notes/", "notes are not covered by commit signatures"),
            RefNamespace::Review => ("refs/", "a review server rewrites pushes to this ref"),
            RefNamespace::Server => ("refs/", "only the server writes this ref"),
        };
        if !prefix.is_empty() && !self.names(name, prefix) {
            let name = String::from_utf8_lossy(name);
            say(
                "reference-special",
                format!("{reason}; no rule allows {name}"),
            );
        }
        let is_branch = change.space == RefNamespace::Branch;
        if is_branch && !change.new.tags.is_empty() {
            let message = "a branch must point to a commit, not to a tag".to_owned();
            say("branch-of-tag", message);
        }
        if let Some(other) = &change.new.other
            && (is_branch || change.new.tags.is_empty())
        {
            let name = String::from_utf8_lossy(name);
            say(
                "reference-of-other",
                format!("{name} would point to a {other}, which cannot be signed"),
            );
        }
    }

    /// Returns whether a rule names this ref explicitly: a pattern that starts with the
    /// namespace, without a wildcard before it.
    fn names(&self, name: &[u8], prefix: &str) -> bool {
        self.policy.rules.iter().any(|rule| {
            rule.matches_ref(name)
                && rule.refs.as_ref().is_some_and(|globs| {
                    globs.patterns().iter().any(|pattern| {
                        let literal: String = pattern
                            .chars()
                            .take_while(|character| {
                                !matches!(character, '*' | '?' | '[' | '{' | '\\')
                            })
                            .collect();
                        let literal = literal.as_bytes();
                        literal.len() > prefix.len()
                            && literal.starts_with(prefix.as_bytes())
                            && name.starts_with(literal)
                    }) || globs
                        .patterns()
                        .iter()
                        .any(|pattern| prefix != "refs/" && pattern.starts_with(prefix))
                })
        })
    }
}

/// Returns the parsed tag, if it is readable.
fn view_of(judged: &ObjectResult) -> Option<&ParsedTag> {
    match &judged.headers {
        Some(batch::ObjectHeaders::Tag(view)) => Some(view),
        _ => None,
    }
}

/// Returns the text of a policy file; the parser rejects one that is too large.
pub(super) fn text_of(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Returns the text of a policy in the tree of a commit.
pub(super) fn text_at(
    repository: &Repository,
    commit: ObjectId,
    path: &str,
) -> Result<String, String> {
    let names: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
    let blob = repository
        .file_at(commit, &names)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("{path} not found in its tree"))?;
    let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
    let bytes = repository.objects().blob(blob, most);
    String::from_utf8(bytes.map_err(|error| error.to_string())?)
        .map_err(|_| "it is not UTF-8".to_owned())
}

impl RuleScope for LoadedPolicy {
    fn binds(&self, reference: &[u8]) -> Group {
        const OF_COMMITS: [Action; 4] =
            [Action::Commit, Action::Merge, Action::Adopt, Action::Policy];
        self.policy
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| {
                rule.matches_ref(reference)
                    && OF_COMMITS
                        .iter()
                        .any(|action| rule.may.contains_key(action))
            })
            .map(|(number, _)| number)
            .collect()
    }

    fn speak_always(&self, group: &Group) -> bool {
        [Action::Commit, Action::Merge].iter().all(|action| {
            group
                .iter()
                .filter_map(|number| self.policy.rules.get(*number))
                .any(|rule| rule.paths.is_none() && rule.may.contains_key(action))
        })
    }

    fn counts(&self, group: &Group) -> bool {
        let mut rules = group
            .iter()
            .filter_map(|number| self.policy.rules.get(*number));
        rules.any(|rule| rule.threshold.is_some())
    }

    fn cut_off(&self) -> Vec<ObjectId> {
        self.policy
            .cut_off
            .iter()
            .filter_map(|id| ObjectId::from_hex(id.as_bytes()).ok())
            .collect()
    }
}
