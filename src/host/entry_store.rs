//! Log entries that were verified once, kept in the user's cache directory so
//! that the log need not be asked again for signatures that do not carry theirs.
//!
//! It is no trust anchor: an entry that comes from here goes through the nine
//! steps like any other. Whoever can write here can make a verification slower,
//! and nothing else.
//!
//! One file for each object, named by the SHA-256 of the object's bytes, written
//! beside its place and moved there, so that processes may share the directory.
//! There are [`SHELVES`] directories with at most [`MAX_ON_SHELF`] files each; the
//! oldest give way.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use gitseal_evidence::{entry::LogEntry, refusal::hex};

/// How many directories there are.
pub const SHELVES: usize = 256;
/// The most entries of one directory. All together take some 100 MB.
pub const MAX_ON_SHELF: usize = 64;
/// The longest file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// The store.
#[derive(Debug)]
pub struct EntryStore {
    directory: PathBuf,
}

impl EntryStore {
    /// The user's own, if this system has a place for it.
    #[must_use]
    pub fn open() -> Option<Self> {
        let directories = directories::ProjectDirs::from("", "", "gitseal")?;
        Some(Self::at(&directories.cache_dir().join("entries")))
    }

    /// One in this directory, which is made when something is kept.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// The entry that was kept for these bytes, if one is there and readable.
    #[must_use]
    pub fn entry(&self, object: &[u8]) -> Option<LogEntry> {
        let mut bytes = Vec::new();
        File::open(self.path(object))
            .ok()?
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .ok()?;
        LogEntry::from_protobuf(&bytes).ok()
    }

    /// Keeps an entry. A store that cannot be written is as good as an empty one.
    pub fn keep(&self, object: &[u8], entry: &LogEntry) {
        let _ = self.try_keep(object, entry);
    }

    fn try_keep(&self, object: &[u8], entry: &LogEntry) -> io::Result<()> {
        let path = self.path(object);
        let shelf = path.parent().unwrap_or(&self.directory);
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        // Which repositories somebody verifies is nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(shelf)?;
        make_room(shelf)?;
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(shelf)?;
        file.write_all(&entry.to_protobuf(true))?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, object: &[u8]) -> PathBuf {
        let name = hex(&Sha256::digest(object));
        let (shelf, rest) = name.split_at_checked(2).unwrap_or(("00", &name));
        self.directory.join(shelf).join(rest)
    }
}

/// Removes the oldest files until one more has its place. What another process
/// removed meanwhile is gone, which is as well.
fn make_room(shelf: &Path) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(shelf)?
        .filter_map(|file| {
            let file = file.ok()?;
            let changed = file.metadata().ok()?.modified().ok()?;
            Some((changed, file.path()))
        })
        .collect();
    if files.len() < MAX_ON_SHELF {
        return Ok(());
    }
    files.sort();
    let too_many = files.len().saturating_sub(MAX_ON_SHELF).saturating_add(1);
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
    fn what_is_kept_is_found_by_its_object_alone() {
        let home = tempfile::tempdir().unwrap();
        let store = EntryStore::at(&home.path().join("entries"));
        assert!(store.entry(b"commit").is_none());
        store.keep(b"commit", &entry(5));
        let found = EntryStore::at(&home.path().join("entries"))
            .entry(b"commit")
            .unwrap();
        assert_eq!(found.log_index, 5);
        assert_eq!(found.body.as_deref(), Some(b"{}".as_slice()));
        assert!(store.entry(b"commit ").is_none());
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let home = tempfile::tempdir().unwrap();
        let store = EntryStore::at(home.path());
        store.keep(b"commit", &entry(5));
        let path = store.path(b"commit");
        fs::write(&path, b"\xff\xff\xff").unwrap();
        assert!(store.entry(b"commit").is_none());
        store.keep(b"commit", &entry(6));
        assert_eq!(store.entry(b"commit").unwrap().log_index, 6);
    }

    #[test]
    fn a_shelf_holds_no_more_than_its_share() {
        let home = tempfile::tempdir().unwrap();
        let shelf = home.path();
        for number in 0..MAX_ON_SHELF + 20 {
            make_room(shelf).unwrap();
            fs::write(shelf.join(number.to_string()), b"x").unwrap();
        }
        assert_eq!(fs::read_dir(shelf).unwrap().count(), MAX_ON_SHELF);
    }

    #[test]
    fn processes_that_write_at_once_leave_whole_files() {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let store = EntryStore::at(home.path());
                scope.spawn(move || {
                    for index in 0..50 {
                        store.keep(b"commit", &entry(writer * 100 + index));
                        let found = store.entry(b"commit").unwrap();
                        assert_eq!(found.log_id, vec![7; 32]);
                    }
                });
            }
        });
    }
}
