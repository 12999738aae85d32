//! An append-only log, used by the CT log and Rekor: a Merkle tree (RFC 9162 §2.1)
//! over log entries, on disk in the C2SP tlog-tiles layout.
//!
//! Many threads append concurrently. The first of them writes the entries of all
//! waiting threads (group commit): one append to the journal, one flush, then
//! every waiting thread returns. An append returns only after its entry is on the
//! disk, and a tree contains no entry that is not.
//!
//! State after a crash, line by line:
//!
//! | crash | left | at the next start |
//! |---|---|---|
//! | while a batch is written | a torn end of the journal | moved to `.state/torn`; no client received a response |
//! | after the flush, before the responses | the batch, without responses | its entries exist; a client that submits again is notified |
//! | while tiles are published | some new tiles, and the old checkpoint | tiles are written again from the journal |
//! | before the new checkpoint replaces the old | the old checkpoint | it covers a prefix of the journal |
//!
//! If the journal has fewer entries than the last published checkpoint, or another
//! tree, the log does not start.
//!
//! *Not checked here:* the meaning of entries (`rekor.rs`, `ct.rs`).

mod error;
mod journal;
mod storage;
#[cfg(test)]
mod tests;
mod tiles;

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use gitseal_evidence::{
    UnixTime,
    checkpoint::{Checkpoint, SignedNote},
    hex,
    merkle::{self, Hash},
};
use gitseal_services::{
    Clock,
    merkle_tree::{self, MemoryTree, NodeSource as _},
};

pub use error::LogError;
use journal::JournalRecord;
pub use journal::{MAX_ENTRY, MAX_EXTRA};
pub use storage::{Directory, Storage, StorageError};

/// The maximum number of entries that wait for one flush.
const MAX_PENDING: usize = 8_192;
/// The file that contains the origin and the key ID of the log.
const IDENTITY: &str = ".state/identity";
const JOURNAL: &str = ".state/journal";
const CHECKPOINT: &str = "checkpoint";

/// The position of an appended entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedEntry {
    pub index: u64,
    /// The time of the append, never earlier than that of the entry before.
    pub time: UnixTime,
    /// Whether the log contained the entry before.
    pub duplicate: bool,
}

/// A log entry, read from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    pub index: u64,
    /// The time at which the log appended the entry.
    pub time: UnixTime,
    /// The bytes that the tree hashes.
    pub leaf: Vec<u8>,
    pub extra: Vec<u8>,
}

/// The identity of a log, compared at every start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogIdentity {
    /// The origin line of the checkpoints.
    pub origin: String,
    /// The ID of the signing key.
    pub key_id: [u8; 32],
}

/// Signs a checkpoint and returns the whole note.
pub type SignCheckpoint = Box<dyn Fn(&Checkpoint) -> String + Send + Sync>;

/// An append-only log in a directory.
pub struct Log {
    identity: LogIdentity,
    storage: Arc<dyn Storage>,
    sign: SignCheckpoint,
    clock: Clock,
    state: Mutex<State>,
    committed: Condvar,
    /// The published size; locked while tiles are written, so that two publications
    /// never overlap.
    publishing: Mutex<u64>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    nodes: MemoryTree,
    /// The journal offset and the time of each entry.
    records: Vec<(u64, UnixTime)>,
    by_key: HashMap<Hash, u64>,
    by_leaf: HashMap<Hash, u64>,
    journal_length: u64,
    pending: Vec<Pending>,
    batch: u64,
    committed_batches: u64,
    results: HashMap<u64, Batch>,
    committing: bool,
    stopped: Option<StorageError>,
}

/// The result for the waiters of one batch.
struct Batch {
    waiters: u64,
    first: u64,
    outcome: Result<(), LogError>,
}

struct Pending {
    key: Hash,
    leaf: Vec<u8>,
    extra: Vec<u8>,
}

impl Log {
    /// Opens the log in `storage`, or creates it there.
    ///
    /// The whole journal is read, hashed, and compared with the published checkpoint
    /// and tiles.
    ///
    /// # Errors
    ///
    /// Returns [`LogError`] if the storage fails, contains another log, or does not
    /// contain all that was published.
    pub fn open(
        identity: LogIdentity,
        storage: Arc<dyn Storage>,
        sign: SignCheckpoint,
        clock: Clock,
    ) -> Result<Self, LogError> {
        let wanted = format!("{}\n{}\n", identity.origin, hex(&identity.key_id));
        match storage.read(IDENTITY)? {
            Some(found) if found == wanted.as_bytes() => {}
            Some(found) => {
                return Err(LogError::OtherLog {
                    found: String::from_utf8_lossy(&found).trim_end().to_owned(),
                    wanted: wanted.trim_end().to_owned(),
                });
            }
            None => storage.replace(IDENTITY, wanted.as_bytes())?,
        }
        let mut state = State::default();
        let length = storage.journal_length(JOURNAL)?;
        let mut reader = journal::JournalReader::new(storage.as_ref(), JOURNAL, length);
        while let Some((at, record)) = reader.next()? {
            state.add(at, &record);
        }
        let good = reader.position();
        if good < length
            && let Some(later) = reader.later_batch()?
        {
            return Err(LogError::Damaged {
                path: JOURNAL.to_owned(),
                why: format!(
                    "no record at byte {good}, but a later batch at byte {later}; restore the file from a backup before restarting"
                ),
            });
        }
        let published = published(storage.as_ref())?;
        state.check_published(published.as_ref())?;
        tiles::check(storage.as_ref(), &state.nodes)?;
        if good < length {
            // No client received a response for the torn batch. It is stored for
            // inspection.
            let torn = storage.journal_read(JOURNAL, good, length.saturating_sub(good))?;
            storage.replace(".state/torn", &torn)?;
            storage.journal_truncate(JOURNAL, good)?;
        }
        state.journal_length = good;
        let size = published.map_or(0, |checkpoint| checkpoint.size);
        Ok(Self {
            identity,
            storage,
            sign,
            clock,
            state: Mutex::new(state),
            committed: Condvar::new(),
            publishing: Mutex::new(size),
        })
    }

    /// Returns the identity of the log.
    #[must_use]
    pub fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry and waits until it is on the disk. An entry whose `key`
    /// was appended before is not appended again.
    ///
    /// # Errors
    ///
    /// Returns [`LogError`] if the entry is too long, too many entries wait, or the
    /// storage failed. The entry is not in the log then, unless a flush failed: every
    /// later append returns [`LogError::Stopped`].
    pub fn append(&self, key: Hash, leaf: &[u8], extra: &[u8]) -> Result<AppendedEntry, LogError> {
        if leaf.len() > MAX_ENTRY || extra.len() > MAX_EXTRA {
            return Err(LogError::TooLong {
                bytes: leaf.len().max(extra.len()),
            });
        }
        let mut state = self.state();
        if let Some(why) = &state.stopped {
            return Err(LogError::Stopped { why: why.clone() });
        }
        if let Some(there) = state.find(&key) {
            return Ok(there);
        }
        let is_pending = state.pending.iter().any(|one| one.key == key);
        if !is_pending {
            if state.pending.len() >= MAX_PENDING {
                return Err(LogError::Busy);
            }
            state.pending.push(Pending {
                key,
                leaf: leaf.to_vec(),
                extra: extra.to_vec(),
            });
        }
        let ticket = state.batch;
        let batch = state.results.entry(ticket).or_insert(Batch {
            waiters: 0,
            first: 0,
            outcome: Ok(()),
        });
        batch.waiters = batch.waiters.saturating_add(1);
        // The first thread without a writer writes for all; the others wait.
        while state.committed_batches <= ticket {
            if state.committing {
                state = self
                    .committed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            } else {
                state = self.commit(state);
            }
        }
        let first = state.outcome(ticket)?;
        let there = state
            .find(&key)
            .ok_or(LogError::NoEntry { index: u64::MAX })?;
        Ok(AppendedEntry {
            duplicate: is_pending || there.index < first,
            ..there
        })
    }

    /// Writes all pending entries with one flush.
    fn commit<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.committing = true;
        let mut batch = mem::take(&mut state.pending);
        // The batch before this one may have contained the same entry.
        batch.retain(|one| !state.by_key.contains_key(&one.key));
        let first = state.nodes.size();
        let ticket = state.batch;
        state.batch = ticket.saturating_add(1);
        let last = state.records.last().map_or(UnixTime::MIN, |last| last.1);
        let at = state.journal_length;
        drop(state);

        // The clock may go back; the log's time does not.
        let time = (self.clock)().max(last);
        let records: Vec<JournalRecord> = batch
            .into_iter()
            .map(|one| JournalRecord {
                key: one.key,
                time,
                batch: at,
                leaf: one.leaf,
                extra: one.extra,
            })
            .collect();
        let mut bytes = Vec::new();
        let offsets: Vec<u64> = records
            .iter()
            .map(|record| {
                let offset = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                record.encode(&mut bytes);
                offset
            })
            .collect();
        let written = if bytes.is_empty() {
            Ok(())
        } else {
            self.storage.journal_append(JOURNAL, at, &bytes)
        };

        let mut state = self.state();
        let outcome = match written {
            Ok(()) => {
                for (offset, record) in offsets.into_iter().zip(&records) {
                    state.add(offset, record);
                }
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                state.journal_length = at.saturating_add(length);
                Ok(())
            }
            // Not written: truncate the journal, and go on. If that or a flush
            // fails, the content of the disk is unknown.
            Err(why) if why.is_before_flush() => match self.storage.journal_truncate(JOURNAL, at) {
                Ok(()) => Err(LogError::Storage { why }),
                Err(_) => {
                    state.stopped = Some(why.clone());
                    Err(LogError::Stopped { why })
                }
            },
            Err(why) => {
                state.stopped = Some(why.clone());
                Err(LogError::Stopped { why })
            }
        };
        if let Some(slot) = state.results.get_mut(&ticket) {
            slot.first = first;
            slot.outcome = outcome;
        }
        state.committed_batches = ticket.saturating_add(1);
        state.committing = false;
        self.committed.notify_all();
        state
    }

    /// Returns the number of entries, all of them on the disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.state().nodes.size()
    }

    /// Returns the checkpoint of the first `size` entries, or of all.
    ///
    /// # Errors
    ///
    /// Returns [`LogError::NoTree`] if the log has fewer entries.
    pub fn checkpoint(&self, size: Option<u64>) -> Result<Checkpoint, LogError> {
        let state = self.state();
        let size = state.within(size.unwrap_or_else(|| state.nodes.size()))?;
        Ok(Checkpoint {
            origin: self.identity.origin.clone(),
            size,
            root: state.root(size),
            extensions: Vec::new(),
        })
    }

    /// Returns the inclusion proof of an entry in the tree of the first `size` entries,
    /// with that tree's checkpoint.
    ///
    /// # Errors
    ///
    /// Returns [`LogError`] if the log has fewer entries.
    pub fn inclusion(
        &self,
        index: u64,
        size: Option<u64>,
    ) -> Result<(Checkpoint, Vec<Hash>), LogError> {
        let state = self.state();
        let size = state.within(size.unwrap_or_else(|| state.nodes.size()))?;
        if index >= size {
            return Err(LogError::NoEntry { index });
        }
        let proof = merkle_tree::inclusion_proof(&state.nodes, index, size)
            .map_err(|_| LogError::NoEntry { index })?;
        let checkpoint = Checkpoint {
            origin: self.identity.origin.clone(),
            size,
            root: state.root(size),
            extensions: Vec::new(),
        };
        Ok((checkpoint, proof))
    }

    /// Returns the consistency proof between the trees of the first `old` and the
    /// first `new` entries.
    ///
    /// # Errors
    ///
    /// Returns [`LogError::NoTree`] if the log has fewer entries, or `old` is larger
    /// than `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        let state = self.state();
        let new = state.within(new)?;
        if old > new {
            return Err(LogError::NoTree {
                size: new,
                wanted: old,
            });
        }
        merkle_tree::consistency_proof(&state.nodes, old, new).map_err(|_| LogError::NoTree {
            size: state.nodes.size(),
            wanted: new,
        })
    }

    /// Returns the index of the entry with this leaf hash.
    #[must_use]
    pub fn index_of_leaf(&self, leaf: &Hash) -> Option<u64> {
        self.state().by_leaf.get(leaf).copied()
    }

    /// Returns the leaf hash of one entry.
    ///
    /// # Errors
    ///
    /// Returns [`LogError::NoEntry`] if the log has no such entry.
    pub fn leaf_hash(&self, index: u64) -> Result<Hash, LogError> {
        self.state()
            .nodes
            .node(0, index)
            .map_err(|_| LogError::NoEntry { index })
    }

    /// Returns the position of the entry with this key.
    #[must_use]
    pub fn find(&self, key: &Hash) -> Option<AppendedEntry> {
        self.state().find(key)
    }

    /// Reads one entry from the journal.
    ///
    /// # Errors
    /// There is none, or the storage failed.
    pub fn entry(&self, index: u64) -> Result<StoredEntry, LogError> {
        let none = LogError::NoEntry { index };
        let (start, end) = {
            let state = self.state();
            let nth = usize::try_from(index).map_err(|_| none.clone())?;
            let start = state.records.get(nth).ok_or(none.clone())?.0;
            let end = state
                .records
                .get(nth.saturating_add(1))
                .map_or(state.journal_length, |next| next.0);
            (start, end)
        };
        let bytes = self
            .storage
            .journal_read(JOURNAL, start, end.saturating_sub(start))?;
        let record = JournalRecord::decode(&bytes).ok_or_else(|| LogError::Damaged {
            path: JOURNAL.to_owned(),
            why: format!("log entry {index} cannot be read back"),
        })?;
        Ok(StoredEntry {
            index,
            time: record.time,
            leaf: record.leaf,
            extra: record.extra,
        })
    }

    /// Writes tiles, entry bundles and then the checkpoint of all committed entries
    /// (C2SP tlog-tiles). Does nothing if they are already published.
    ///
    /// # Errors
    ///
    /// Returns [`LogError`] if the storage failed; the old checkpoint remains.
    pub fn publish(&self) -> Result<Checkpoint, LogError> {
        let mut published = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let checkpoint = self.checkpoint(None)?;
        let is_new = checkpoint.size > *published || self.storage.read(CHECKPOINT)?.is_none();
        if is_new {
            tiles::write(
                self.storage.as_ref(),
                &|tile| tiles::bytes(&self.state().nodes, tile),
                *published,
                checkpoint.size,
                &|index| self.entry(index).map(|entry| entry.leaf),
            )?;
            // Last: all tiles of a published checkpoint exist.
            let note = (self.sign)(&checkpoint);
            self.storage.replace(CHECKPOINT, note.as_bytes())?;
            *published = checkpoint.size;
        }
        Ok(checkpoint)
    }
}

impl State {
    /// Adds a record that is on the disk.
    fn add(&mut self, at: u64, record: &JournalRecord) {
        let index = self.nodes.size();
        let leaf = merkle::leaf_hash(&record.leaf);
        self.nodes.push(leaf);
        self.records.push((at, record.time));
        self.by_key.entry(record.key).or_insert(index);
        self.by_leaf.entry(leaf).or_insert(index);
    }

    fn find(&self, key: &Hash) -> Option<AppendedEntry> {
        let index = *self.by_key.get(key)?;
        let time = self.records.get(usize::try_from(index).ok()?)?.1;
        Some(AppendedEntry {
            index,
            time,
            duplicate: true,
        })
    }

    /// Returns the outcome of a batch: the log's size before it. The last waiting
    /// thread removes it.
    fn outcome(&mut self, ticket: u64) -> Result<u64, LogError> {
        let Some(batch) = self.results.get_mut(&ticket) else {
            return Ok(0);
        };
        let outcome = batch.outcome.clone().map(|()| batch.first);
        batch.waiters = batch.waiters.saturating_sub(1);
        if batch.waiters == 0 {
            self.results.remove(&ticket);
        }
        outcome
    }

    fn within(&self, wanted: u64) -> Result<u64, LogError> {
        let size = self.nodes.size();
        if wanted <= size {
            Ok(wanted)
        } else {
            Err(LogError::NoTree { size, wanted })
        }
    }

    /// Returns the root of a tree that the log contains.
    fn root(&self, size: u64) -> Hash {
        merkle_tree::root(&self.nodes, size).unwrap_or(merkle::EMPTY_ROOT)
    }

    fn check_published(&self, published: Option<&Checkpoint>) -> Result<(), LogError> {
        let Some(published) = published else {
            return Ok(());
        };
        if published.size > self.nodes.size() {
            return Err(LogError::RolledBack {
                journal: self.nodes.size(),
                checkpoint: published.size,
            });
        }
        let root = self.root(published.size);
        if root != published.root {
            return Err(LogError::Forked {
                size: published.size,
                journal: hex(&root),
                checkpoint: hex(&published.root),
            });
        }
        Ok(())
    }
}

/// Reads the checkpoint that was published last.
fn published(storage: &dyn Storage) -> Result<Option<Checkpoint>, LogError> {
    let Some(note) = storage.read(CHECKPOINT)? else {
        return Ok(None);
    };
    let damaged = |why: String| LogError::Damaged {
        path: CHECKPOINT.to_owned(),
        why,
    };
    let text = String::from_utf8(note).map_err(|_| damaged("not UTF-8".to_owned()))?;
    let note = SignedNote::parse(&text).map_err(|refusal| damaged(refusal.to_string()))?;
    Checkpoint::parse(&note.text)
        .map(Some)
        .map_err(|refusal| damaged(refusal.to_string()))
}
