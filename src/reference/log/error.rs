//! The errors of the log.

use super::storage::StorageError;

/// Reasons why the log cannot append or return an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("log storage failed: {why}")]
    Storage { why: StorageError },
    /// An earlier flush failed, so that the content of the disk is unknown.
    #[error("log stopped: flush failed: {why}; restart the server to recover")]
    Stopped { why: StorageError },
    /// The entry exceeds `MAX_ENTRY` or `MAX_EXTRA`.
    #[error("the log entry has {bytes} bytes, which is over the limit")]
    TooLong { bytes: usize },
    /// More appenders wait than one flush takes.
    #[error("too many log entries are waiting; try again")]
    Busy,
    /// The files belong to another log.
    #[error("the directory contains the log {found:?}, expected {wanted:?}")]
    OtherLog { found: String, wanted: String },
    /// The journal has fewer entries than the published checkpoint.
    #[error(
        "journal has {journal} entries but the published checkpoint has {checkpoint}: entries are missing; restore them from a backup before restarting"
    )]
    RolledBack { journal: u64, checkpoint: u64 },
    /// The journal has another tree than the published checkpoint.
    #[error(
        "the tree of the first {size} entries has root {journal}, but the published checkpoint has {checkpoint}"
    )]
    Forked {
        size: u64,
        journal: String,
        checkpoint: String,
    },
    /// A published tile differs from the journal.
    #[error("{path} does not match the journal")]
    TileDiffers { path: String },
    /// A file cannot be parsed.
    #[error("{path} is damaged: {why}")]
    Damaged { path: String, why: String },
    #[error("the log has no entry {index}")]
    NoEntry { index: u64 },
    /// The requested tree is larger than the log.
    #[error("the log has {size} entries, fewer than the requested {wanted}")]
    NoTree { size: u64, wanted: u64 },
}

impl From<StorageError> for LogError {
    fn from(why: StorageError) -> Self {
        Self::Storage { why }
    }
}
