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
use crate::host::{
    git::{GitError, Repository, push::RefNamespace},
    settings::Settings,
};
use crate::sign::system_time;
use crate::{
    batch::{self, Judged},
    history,
};
use gitseal_evidence::object::ParsedTag;
use gitseal_policy::{
    Action, ApprovalTag, Commit, CommitFacts, EnforcementMode, NameEmail, POLICY_PATH, Policy,
    PolicyErrors, Pusher, RefUpdate, SignatureFacts, Tag, UpdateKind, parse::MAX_POLICY,
};

/// Variables in which servers say who pushes, the surest first: Gitea and
/// Forgejo, GitLab, and whatever authenticated an HTTP request.
const PUSHERS: [&str; 4] = [
    "GITEA_PUSHER_NAME",
    "FORGEJO_PUSHER_NAME",
    "GL_USERNAME",
    "REMOTE_USER",
];

/// Why the policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyLoadError {
    /// Nobody named one.
    #[error("no policy is named")]
    None,
    /// Not readable.
    #[error("the policy {} cannot be read: {error}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Readable, and no policy.
    #[error("{0}")]
    Policy(#[from] PolicyErrors),
    /// The policy root names no commit.
    #[error("the policy root: {0}")]
    Root(GitError),
    /// The repository's own policy cannot be read.
    #[error("the policy of {commit}: {why}")]
    InTree {
        /// Hex.
        commit: String,
        /// Why.
        why: String,
    },
}

impl PolicyLoadError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::None => Some(
                "name one with --policy FILE or gitseal.policy; docs/policy.md says what it can hold",
            ),
            Self::Policy(_) => Some("gitseal policy check FILE says more"),
            Self::InTree { .. } => {
                Some("a policy root is a commit that has .gitseal/policy.toml in its tree")
            }
            Self::Root(_) => Some("name it by its full id; it must be in this repository"),
            Self::Unreadable { .. } => None,
        }
    }
}

/// A tag object.
pub struct TagFacts<'a> {
    /// Its id.
    pub id: ObjectId,
    /// What is thought of it.
    pub judged: &'a Judged,
}

/// Another tag of the same object, and what is thought of it.
pub struct ApprovalTagFacts<'a> {
    /// Its full name.
    pub name: &'a [u8],
    /// What is thought of it.
    pub judged: &'a Judged,
}

/// What is not as the policy says.
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// Whether it refuses.
    pub enforced: bool,
    /// Stable.
    pub code: String,
    /// In words.
    pub words: String,
    /// A command, or a line of the policy.
    pub mend: Option<String>,
    /// ItemSubject the tag object, and not the reference.
    pub of_tag: bool,
}

impl Finding {
    /// Out of the policy's own.
    pub fn of(finding: gitseal_policy::Finding, of_tag: bool) -> Self {
        Self {
            enforced: finding.refuses(),
            rule: finding.rule,
            code: finding.code.to_owned(),
            words: finding.message,
            mend: finding.hint,
            of_tag,
        }
    }
}

/// The policy.
pub struct LoadedPolicy {
    policy: Policy,
    source: String,
    pusher: Option<String>,
    /// Who signed the push, if somebody did.
    pub certificate: Option<SignatureFacts>,
    /// The policy root, where each commit is judged by the policy of its parent.
    root: Option<ObjectId>,
}

impl LoadedPolicy {
    /// Reads it. `tip`: the commit of the protected branch before the push.
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
            Ok(Self::of(Policy::parse(&text(path)?, &name)?, name, None))
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

    /// The repository's own, from `base` on: what a CI job uses if nothing is
    /// named.
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
        let root = repository.commit_id(root).map_err(PolicyLoadError::Root)?;
        let commit = tip.unwrap_or(root);
        let failed = |why: String| PolicyLoadError::InTree {
            commit: commit.to_string(),
            why,
        };
        let path: Vec<&[u8]> = POLICY_PATH.split('/').map(str::as_bytes).collect();
        let blob = repository
            .file_at(commit, &path)
            .map_err(|error| failed(error.to_string()))?
            .ok_or_else(|| failed(format!("there is no {POLICY_PATH} in its tree")))?;
        let bytes = repository
            .objects()
            .blob(blob, u64::try_from(MAX_POLICY).unwrap_or(u64::MAX))
            .map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("it is no UTF-8".to_owned()))?;
        let id = commit.to_string();
        let name = format!("{POLICY_PATH} of {}", id.get(..12).unwrap_or(&id));
        Ok(Self::of(Policy::parse(&text, &name)?, name, Some(root)))
    }

    /// The policy root, where each commit is judged by the policy of its parent.
    pub fn root(&self) -> Option<ObjectId> {
        self.root
    }

    /// Whether commits on this reference are counted.
    pub fn has_thresholds(&self, reference: &[u8]) -> bool {
        self.policy.has_thresholds(reference)
    }

    /// Leaves of a commit's paths those that the thresholds ask about.
    pub fn retain_threshold_paths(&self, facts: &mut CommitFacts, reference: &[u8]) {
        self.policy.retain_threshold_paths(facts, reference);
    }

    /// Holds all commits that a reference gains against the thresholds; each
    /// finding with the commit's id.
    pub fn evaluate_thresholds(
        &self,
        commits: &[FactsOf],
        reference: &[u8],
    ) -> Vec<(String, Finding)> {
        let views: Vec<Commit<'_>> = commits
            .iter()
            .map(|(facts, direct)| facts.view(*direct))
            .collect();
        self.policy
            .evaluate_thresholds(&views, reference)
            .into_iter()
            .map(|(id, finding)| (id, Finding::of(finding, false)))
            .collect()
    }

    /// Where it is from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether a rule about this reference asks for other tags of the same object.
    pub fn counts_tags(&self, reference: &[u8]) -> bool {
        self.policy.rules.iter().any(|rule| {
            rule.threshold.is_some()
                && rule.may.contains_key(&Action::Tag)
                && rule.matches_ref(reference)
        })
    }

    /// Judges what happens to a reference, and the tag objects it leads to.
    pub fn evaluate_change(
        &self,
        change: &RefChange,
        tags: &[TagFacts<'_>],
        others: &[ApprovalTagFacts<'_>],
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let name: &[u8] = &change.update.name;
        self.unusual(change, &mut findings);
        let signature_of = |judged: &Judged| history::signature(&judged.opinion);
        let signatures: Vec<_> = tags.iter().map(|tag| signature_of(tag.judged)).collect();
        let by_others: Vec<_> = others.iter().map(|tag| signature_of(tag.judged)).collect();
        let others: Vec<ApprovalTag<'_>> = others
            .iter()
            .zip(&by_others)
            .map(|(tag, signature)| ApprovalTag {
                ref_name: tag.name,
                signature: signature.view(),
            })
            .collect();
        let ids: Vec<String> = tags.iter().map(|tag| tag.id.to_string()).collect();
        let mut read: Vec<Tag<'_>> = Vec::new();
        for ((tag, signature), id) in tags.iter().zip(&signatures).zip(&ids) {
            let view = view_of(tag.judged);
            read.push(Tag {
                id,
                name: view.map_or(&b""[..], |view| view.tag.as_bytes()),
                signature: signature.view(),
                target_type: view.map_or("", |view| view.object_type.as_str()),
                tagger: view
                    .and_then(|view| view.tagger.as_ref())
                    .map(NameEmail::of),
                others: &others,
            });
        }
        let id = |id: Option<ObjectId>| id.map(|id| id.to_string()).unwrap_or_default();
        let (old, new) = (id(change.update.old), id(change.update.new));
        let update = RefUpdate {
            name,
            kind: match (&change.update.old, &change.update.new) {
                (None, Some(_)) => UpdateKind::Create,
                (_, None) => UpdateKind::Delete,
                (Some(_), Some(_)) => UpdateKind::Update {
                    fast_forward: change.forward,
                },
            },
            old: &old,
            new: &new,
            tag: read.first().copied(),
        };
        let pusher = Pusher {
            account: self.pusher.as_deref(),
            certificate: self.certificate.as_ref().map(SignatureFacts::view),
            now: Some(system_time()),
        };
        let of_tag = |code: &str| {
            update.tag.is_some() && !code.starts_with("pusher-") && !code.starts_with("no-rule")
        };
        findings.extend(
            self.policy
                .evaluate_update(&update, &pusher)
                .into_iter()
                .map(|finding| {
                    let of_tag = of_tag(finding.code);
                    Finding::of(finding, of_tag)
                }),
        );
        // Tags that the outer one leads to are signed by somebody too; their names
        // are not the reference's.
        for tag in read.iter().skip(1) {
            for finding in self.policy.evaluate_tag(tag, name) {
                if finding.code != gitseal_policy::codes::TAG_NAME {
                    findings.push(Finding::of(finding, true));
                }
            }
        }
        findings
    }

    /// What no policy means when it says nothing of it in particular: references
    /// that are no branches and no tags, and tags of what is no commit on a branch.
    fn unusual(&self, change: &RefChange, findings: &mut Vec<Finding>) {
        let name: &[u8] = &change.update.name;
        let mut say = |code: &str, words: String| {
            findings.push(Finding {
                rule: String::new(),
                enforced: self.policy.mode == EnforcementMode::Enforce,
                code: code.to_owned(),
                words,
                mend: None,
                of_tag: false,
            });
        };
        let what = match change.space {
            RefNamespace::Branch | RefNamespace::Tag | RefNamespace::Other => None,
            RefNamespace::Replace => Some((
                "refs/replace/",
                "a replacement shows plain git another object under the same name",
            )),
            RefNamespace::Notes => Some((
                "refs/notes/",
                "notes are text that no commit of a branch holds",
            )),
            RefNamespace::Review => Some((
                "refs/",
                "a review server makes something else of what is pushed there",
            )),
            RefNamespace::Server => {
                Some(("refs/", "the server itself writes there, and nobody else"))
            }
        };
        if let Some((prefix, why)) = what
            && change.update.new.is_some()
            && !self.names(name, prefix)
        {
            say("reference-special", format!("{why}, and no rule names it"));
        }
        if change.space == RefNamespace::Branch
            && change.update.new.is_some()
            && !change.new.tags.is_empty()
        {
            say(
                "branch-of-tag",
                "a branch points at a commit, and this is a tag".to_owned(),
            );
        }
        if let Some(other) = &change.new.other
            && (change.space == RefNamespace::Branch || change.new.tags.is_empty())
        {
            say(
                "reference-of-other",
                format!("it would point at a {other}, in which nothing is signed"),
            );
        }
    }

    /// Whether a rule about this reference says so in particular: a pattern that
    /// begins with the part of the name space, and not with a wildcard before it.
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

    /// Judges a commit on its way to a reference.
    pub fn evaluate_commit(&self, facts: &FactsOf, reference: &[u8]) -> Vec<Finding> {
        let (commit, direct) = facts;
        self.policy
            .evaluate_commit(&commit.view(*direct), reference)
            .into_iter()
            .map(|finding| Finding::of(finding, false))
            .collect()
    }
}

/// A commit, and whether it lies on the line of first parents.
pub type FactsOf = (CommitFacts, bool);

/// A tag, read, if it can be.
fn view_of(judged: &Judged) -> Option<&ParsedTag> {
    match &judged.facts {
        Some(batch::Facts::Tag(view)) => Some(view),
        _ => None,
    }
}

fn text(path: &Path) -> Result<String, PolicyLoadError> {
    let unreadable = |error| PolicyLoadError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
            file.take(most.saturating_add(1)).read_to_end(&mut bytes)
        })
        .map_err(unreadable)?;
    if bytes.len() > MAX_POLICY {
        return Err(unreadable(io::Error::other(format!(
            "more than {MAX_POLICY} bytes"
        ))));
    }
    String::from_utf8(bytes).map_err(|_| unreadable(io::Error::other("it is no UTF-8")))
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
            .cut_off()
            .iter()
            .filter_map(|id| ObjectId::from_hex(id.as_bytes()).ok())
            .collect()
    }
}
