//! The journal: one record after the other, each with its length and a
//! checksum, so that the end of the last good one is always known.
//!
//! ```text
//! u32be length of the body | first 8 bytes of SHA-256(body) | body
//! body: key[32] | i64be time | u64be where its batch begins | u32be length of
//! the leaf | leaf | extra
//! ```
//!
//! A loss of power can leave any part of the batch that was being written, and
//! only of that one: every batch before it was flushed. So each record says
//! where its batch begins, and a bad record with a later batch behind it is
//! damage, not a torn end.

use sha2::{Digest as _, Sha256};

use super::{
    error::LogError,
    storage::{Storage, StorageError},
};
use gitseal_evidence::{UnixTime, merkle::Hash};

/// The longest entry, in bytes: entry bundles give lengths in 16 bits.
pub const MAX_ENTRY: usize = 65_535;
/// The longest data that a log keeps beside an entry without hashing it (the
/// chain of a certificate), in bytes.
pub const MAX_EXTRA: usize = 256 * 1024;

const HEAD: usize = 12;
const FIXED: usize = 32 + 8 + 8 + 4;
/// The position of the batch in a record.
const BATCH: usize = HEAD + 32 + 8;
/// The longest body of a record.
const MAX_BODY: usize = FIXED + MAX_ENTRY + MAX_EXTRA;
/// The number of bytes of the journal to read at a time.
const CHUNK: u64 = 1 << 20;

/// A log entry as the journal contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JournalRecord {
    /// Identifies the entry, so that a duplicate is recognized.
    pub key: Hash,
    /// The time at which the log appended the entry.
    pub time: UnixTime,
    pub batch: u64,
    pub leaf: Vec<u8>,
    pub extra: Vec<u8>,
}

impl JournalRecord {
    /// Appends the record's bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(FIXED + self.leaf.len() + self.extra.len());
        body.extend(self.key);
        body.extend(self.time.to_be_bytes());
        body.extend(self.batch.to_be_bytes());
        body.extend(
            u32::try_from(self.leaf.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        body.extend(&self.leaf);
        body.extend(&self.extra);
        out.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(checksum(&body));
        out.extend(body);
    }

    /// Decodes bytes that are exactly one record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (record, rest) = Self::split(bytes)?;
        rest.is_empty().then_some(record)
    }

    /// Splits off the record at the start of some bytes. Returns `None` if it is cut
    /// off or does not match its checksum.
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let length = length(bytes)?;
        let sum = bytes.get(4..HEAD)?;
        let end = HEAD.checked_add(length)?;
        let body = bytes.get(HEAD..end)?;
        if checksum(body) != sum {
            return None;
        }
        let key = body.get(..32)?.try_into().ok()?;
        let time = i64::from_be_bytes(body.get(32..40)?.try_into().ok()?);
        let batch = u64::from_be_bytes(body.get(40..48)?.try_into().ok()?);
        let leaf_length = u32::from_be_bytes(body.get(48..FIXED)?.try_into().ok()?);
        let (leaf, extra) = body
            .get(FIXED..)?
            .split_at_checked(usize::try_from(leaf_length).ok()?)?;
        let record = Self {
            key,
            time,
            batch,
            leaf: leaf.to_vec(),
            extra: extra.to_vec(),
        };
        Some((record, bytes.get(end..)?))
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    usize::try_from(length)
        .ok()
        .filter(|length| (FIXED..=MAX_BODY).contains(length))
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(body).into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// Reads a journal from its start up to the first record that is not whole.
pub(super) struct JournalReader<'a> {
    storage: &'a dyn Storage,
    name: &'a str,
    length: u64,
    buffer: Vec<u8>,
    used: usize,
    position: u64,
    batch: Option<u64>,
}

impl<'a> JournalReader<'a> {
    pub(super) fn new(storage: &'a dyn Storage, name: &'a str, length: u64) -> Self {
        Self {
            storage,
            name,
            length,
            buffer: Vec::new(),
            used: 0,
            position: 0,
            batch: None,
        }
    }

    /// Returns the start of the next record: after the last good one.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next record and its offset, or `None` after the last whole record.
    pub(super) fn next(&mut self) -> Result<Option<(u64, JournalRecord)>, LogError> {
        self.fill(HEAD)?;
        let Some(length) = length(self.ahead()) else {
            return Ok(None);
        };
        self.fill(HEAD.saturating_add(length))?;
        let Some((record, rest)) = JournalRecord::split(self.ahead()) else {
            return Ok(None);
        };
        let at = self.position;
        // A record starts a new batch or belongs to the last one.
        if record.batch != at && Some(record.batch) != self.batch {
            return Ok(None);
        }
        let taken = self.ahead().len().saturating_sub(rest.len());
        self.skip(taken);
        self.batch = Some(record.batch);
        Ok(Some((at, record)))
    }

    /// Returns the offset of a whole record of a later batch after the last whole
    /// record, if there is one. The bytes in between were flushed and are damaged.
    pub(super) fn later_batch(&mut self) -> Result<Option<u64>, LogError> {
        let bad = self.position;
        loop {
            self.skip(1);
            self.fill(BATCH.saturating_add(8))?;
            let Some(batch) = self
                .ahead()
                .get(BATCH..)
                .and_then(<[u8]>::first_chunk)
                .map(|bytes| u64::from_be_bytes(*bytes))
            else {
                return Ok(None);
            };
            if batch <= bad || batch > self.position {
                continue;
            }
            let Some(length) = length(self.ahead()) else {
                continue;
            };
            self.fill(HEAD.saturating_add(length))?;
            if JournalRecord::split(self.ahead()).is_some() {
                return Ok(Some(self.position));
            }
        }
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    fn skip(&mut self, count: usize) {
        let count = count.min(self.ahead().len());
        self.used = self.used.saturating_add(count);
        self.position = self
            .position
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Reads ahead until `wanted` bytes are available, or the journal ends.
    fn fill(&mut self, wanted: usize) -> Result<(), StorageError> {
        while self.ahead().len() < wanted {
            self.buffer.drain(..self.used);
            self.used = 0;
            let have = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
            let from = self.position.saturating_add(have);
            let more = self.length.saturating_sub(from).min(CHUNK);
            if more == 0 {
                break;
            }
            let bytes = self.storage.journal_read(self.name, from, more)?;
            if bytes.is_empty() {
                break;
            }
            self.buffer.extend(bytes);
        }
        Ok(())
    }
}
