//! Where the policy of a push is read from, the first that there is:
//!
//! 1. `--policy FILE`;
//! 2. `--policy-root REV`: the repository's own;
//! 3. `gitseal.policy`;
//! 4. `gitseal.policyRoot`.
//!
//! The repository's own is that of the default branch, as it was before the push (of
//! the policy root, while there is no such branch). Never that of what is pushed.
//!
//! *Not decided here:* what is allowed (`policy/`).

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use gix::ObjectId;
use sha2::{Digest as _, Sha256};

use crate::cli::GateArgs;
use crate::host::{
    git::{GitError, Repository},
    settings::Settings,
};
use gitseal_policy::{Finding, POLICY_PATH, Policy, PolicyErrors, codes, parse::MAX_POLICY};

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
    #[error("{}", .0.message)]
    InTree(Box<Finding>),
    /// The default branch is unknown, or does not exist.
    #[error("{message} [{}]", codes::NO_POLICY_REF)]
    NoPolicyRef { message: String },
}

impl PolicyLoadError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::None => Some(
                "set --policy FILE, gitseal.policy or gitseal.policyRoot; docs/policy.md is the reference",
            ),
            Self::Policy(_) => Some("run 'gitseal policy check FILE'"),
            Self::InTree(_) => Some(
                "commit .gitseal/policy.toml to the branch first, or pass --policy FILE from outside the repository",
            ),
            Self::Root(_) => Some("name it by its full ID; it must be in this repository"),
            Self::NoPolicyRef { .. } => Some(
                "name the default branch: 'git symbolic-ref HEAD refs/heads/main' on a server, 'git remote set-head origin --auto' before a push, or gitseal.policyRef",
            ),
            Self::Unreadable { .. } => None,
        }
    }
}

/// Where the policy is.
pub enum PolicySource {
    /// A file, which is the policy for everything.
    File {
        policy: Rc<Policy>,
        name: String,
        /// The SHA-256 digest of its text and that of the files that it includes.
        digest: String,
    },
    /// The repository.
    Repository {
        /// The policy root; `None` in a CI job, which trusts what its service names.
        root: Option<ObjectId>,
    },
}

impl PolicySource {
    /// Finds the policy that the flags and settings name.
    ///
    /// # Errors
    /// Returns [`PolicyLoadError`] if none is named, or it cannot be read or used.
    pub fn find(
        settings: &Settings,
        options: &GateArgs,
        repository: &Repository,
    ) -> Result<Self, PolicyLoadError> {
        let root = |root: &String| {
            let resolved = repository.resolve_commit(root);
            let (root, _) = resolved.map_err(PolicyLoadError::Root)?;
            Ok(Self::Repository { root: Some(root) })
        };
        match (
            &options.policy,
            &options.policy_root,
            &settings.policy.value,
            &settings.policy_root.value,
        ) {
            (Some(path), ..) | (None, None, Some(path), _) => Self::of_file(path),
            (None, Some(name), ..) | (None, None, None, Some(name)) => root(name),
            (None, None, None, None) => Err(PolicyLoadError::None),
        }
    }

    fn of_file(path: &Path) -> Result<Self, PolicyLoadError> {
        let name = path.display().to_string();
        let text = text_of(path).map_err(|error| PolicyLoadError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let digest = RefCell::new(Sha256::new_with_prefix(&text));
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let policy = Policy::parse_with(&text, &name, &|included| {
            let text = text_of(&folder.join(included)).map_err(|error| error.to_string())?;
            digest.borrow_mut().update(&text);
            Ok(text)
        })?;
        Ok(Self::File {
            policy: Rc::new(policy),
            name,
            digest: gitseal_evidence::hex(&digest.into_inner().finalize()),
        })
    }
}

/// Returns the text of a policy file; the parser rejects one that is too large.
///
/// # Errors
/// Returns the error of reading it.
pub fn text_of(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Returns the text of a policy in the tree of a commit.
///
/// # Errors
/// Returns why it cannot be read.
pub fn text_at(repository: &Repository, commit: ObjectId, path: &str) -> Result<String, String> {
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

/// Returns the display text for the policy in a commit of a branch.
pub fn in_repository(branch: Option<&[u8]>, commit: ObjectId) -> String {
    let at = commit.to_hex_with_len(12);
    match branch {
        Some(branch) => {
            let branch = branch.strip_prefix(b"refs/heads/").unwrap_or(branch);
            format!(
                "{POLICY_PATH} of {} at {at}",
                String::from_utf8_lossy(branch)
            )
        }
        None => format!("{POLICY_PATH} of {at}"),
    }
}
