//! Errors while reading a repository.

use std::path::PathBuf;

use crate::host::git_config::ConfigError;

/// Errors while reading a repository, a name or an object.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("no Git repository in {} or above it", .directory.display())]
    NoRepository { directory: PathBuf },
    #[error("cannot open the Git repository: {why}")]
    Open { why: String },
    #[error("cannot use the bare repository {}: safe.bareRepository is \"explicit\"", .path.display())]
    BareRepository { path: PathBuf },
    #[error(transparent)]
    Config(Box<ConfigError>),
    #[error("cannot use the object directories of the environment: {why}")]
    ObjectDirectories { why: String },
    #[error("cannot list the refs: {why}")]
    References { why: String },
    #[error("unknown revision {revision:?}")]
    UnknownRevision { revision: String },
    #[error("cannot use the revision {revision:?}: {why}")]
    Revision { revision: String, why: String },
    #[error("revision {name:?} is ambiguous: {}", .meanings.join(", "))]
    Ambiguous {
        name: String,
        /// Every ref and object that it can mean.
        meanings: Vec<String>,
    },
    #[error("object {id} is not in this repository")]
    Missing { id: String },
    #[error("cannot read object {id}: {why}")]
    Unreadable { id: String, why: String },
    #[error("object {id} is {bytes} bytes; the limit is {most}")]
    TooLarge { id: String, bytes: u64, most: u64 },
    #[error("object {id} is stored as a chain of {deltas} deltas; the limit is {most}")]
    DeltaChain { id: String, deltas: u32, most: u32 },
    #[error("unpacking object {id} needs more than {most} bytes of memory")]
    Unpacking { id: String, most: usize },
    #[error("timed out after {seconds} s")]
    Timeout { seconds: u64 },
    #[error("object {id} is damaged: its bytes hash to {found}")]
    Damaged { id: String, found: String },
    #[error("{name} is a {found}, not a {wanted}")]
    Kind {
        name: String,
        found: String,
        wanted: &'static str,
    },
    #[error("{name} is a lightweight tag and cannot be signed")]
    LightweightTag { name: String },
    #[error("{name} is a chain of more than {most} tags")]
    TagDepth { name: String, most: usize },
}

impl From<ConfigError> for GitError {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

/// The library's error as one line: what failed, and why.
pub(super) fn words(error: &gix::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in error.iter_errors() {
        let text = part.to_string();
        if !text.is_empty() && !parts.iter().any(|known| known.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ").replace(['\n', '\r'], " ")
}
