//! Verified log entries in the user's cache directory, so that the log is not
//! queried again for signatures that have no embedded entry.
//!
//! The cache is not trusted: an entry from here goes through the nine steps like any
//! other. Anyone who can write here can slow a verification down, and nothing else.
//!
//! One file per signature, named by the SHA-256 of its text, written to a
//! temporary file and renamed, so that processes can share the directory. There are
//! [`SHARDS`] directories with at most [`MAX_PER_SHARD`] files each; the oldest are
//! removed.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use gitseal_evidence::{entry::LogEntry, hex};

/// The number of directories.
pub const SHARDS: usize = 256;
/// The maximum number of entries in one directory. All together take some 100 MB.
pub const MAX_PER_SHARD: usize = 64;
/// The maximum size of a file.
const MAX_FILE: u64 = 64 * 1024;

/// A cache of log entries, by the signature that they are about.
#[derive(Debug)]
pub struct EntryCache {
    directory: PathBuf,
}

impl EntryCache {
    /// Opens the user's cache, if the system defines a directory for it.
    #[must_use]
    pub fn open() -> Option<Self> {
        let directories = directories::ProjectDirs::from("", "", "gitseal")?;
        Some(Self::at(&directories.cache_dir().join("entries")))
    }

    /// Opens the cache in this directory, which [`insert`](Self::insert) creates.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Returns the entry for this signature, if one is cached and readable.
    #[must_use]
    pub fn entry(&self, signature: &[u8]) -> Option<LogEntry> {
        let mut bytes = Vec::new();
        File::open(self.path(signature))
            .ok()?
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .ok()?;
        LogEntry::from_protobuf(&bytes).ok()
    }

    /// Caches the entry of a signature. Write errors are ignored.
    pub fn insert(&self, signature: &[u8], entry: &LogEntry) {
        let _ = self.try_insert(signature, entry);
    }

    fn try_insert(&self, signature: &[u8], entry: &LogEntry) -> io::Result<()> {
        let path = self.path(signature);
        let shard = path.parent().unwrap_or(&self.directory);
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        // The names reveal which repositories the user verifies.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(shard)?;
        make_room(shard)?;
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(shard)?;
        file.write_all(&entry.to_protobuf(true))?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, signature: &[u8]) -> PathBuf {
        let name = hex(&Sha256::digest(signature));
        let (shard, rest) = name.split_at_checked(2).unwrap_or(("00", &name));
        self.directory.join(shard).join(rest)
    }
}

/// Removes the oldest files until there is room for one more. Other processes may
/// remove files at the same time.
fn make_room(shard: &Path) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(shard)?
        .filter_map(|file| {
            let file = file.ok()?;
            let changed = file.metadata().ok()?.modified().ok()?;
            Some((changed, file.path()))
        })
        .collect();
    if files.len() < MAX_PER_SHARD {
        return Ok(());
    }
    files.sort();
    let too_many = files.len().saturating_sub(MAX_PER_SHARD).saturating_add(1);
    for (_, path) in files.into_iter().take(too_many) {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn entry(index: i64) -> LogEntry {
        LogEntry {
            log_index: index,
            log_id: vec![7; 32],
            kind: "hashedrekord".to_owned(),
            version: "0.0.1".to_owned(),
            integrated_time: 1_795_176_000,
            set: Some(vec![1, 2, 3]),
            proof: None,
            body: Some(b"{}".to_vec()),
        }
    }

    #[test]
    fn entries_are_found_by_their_signature_alone() {
        let home = tempfile::tempdir().unwrap();
        let cache = EntryCache::at(&home.path().join("entries"));
        assert!(cache.entry(b"commit").is_none());
        cache.insert(b"commit", &entry(5));
        let found = EntryCache::at(&home.path().join("entries"))
            .entry(b"commit")
            .unwrap();
        assert_eq!(found.log_index, 5);
        assert_eq!(found.body.as_deref(), Some(b"{}".as_slice()));
        assert!(cache.entry(b"commit ").is_none());
    }

    #[test]
    fn a_damaged_file_is_ignored() {
        let home = tempfile::tempdir().unwrap();
        let cache = EntryCache::at(home.path());
        cache.insert(b"commit", &entry(5));
        let path = cache.path(b"commit");
        fs::write(&path, b"\xff\xff\xff").unwrap();
        assert!(cache.entry(b"commit").is_none());
        cache.insert(b"commit", &entry(6));
        assert_eq!(cache.entry(b"commit").unwrap().log_index, 6);
    }

    #[test]
    fn a_shard_has_a_limit() {
        let home = tempfile::tempdir().unwrap();
        let shard = home.path();
        for number in 0..MAX_PER_SHARD + 20 {
            make_room(shard).unwrap();
            fs::write(shard.join(number.to_string()), b"x").unwrap();
        }
        assert_eq!(fs::read_dir(shard).unwrap().count(), MAX_PER_SHARD);
    }

    #[test]
    fn processes_that_write_at_once_leave_whole_files() {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let cache = EntryCache::at(home.path());
                scope.spawn(move || {
                    for index in 0..50 {
                        cache.insert(b"commit", &entry(writer * 100 + index));
                        let found = cache.entry(b"commit").unwrap();
                        assert_eq!(found.log_id, vec![7; 32]);
                    }
                });
            }
        });
    }
}
