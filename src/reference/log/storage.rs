//! The storage of a log's files. A directory now; the trait is small enough for
//! an object store.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// An error of the storage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing} {path}: {why}")]
pub struct StorageError {
    /// `write`, `flush`, `read` …
    pub doing: &'static str,
    pub path: String,
    pub why: String,
}

impl StorageError {
    fn new(doing: &'static str, path: &Path, why: &io::Error) -> Self {
        Self {
            doing,
            path: path.display().to_string(),
            why: why.to_string(),
        }
    }

    /// Returns whether the failure came before a flush. The old content is unchanged
    /// then, and the new content can be truncated.
    #[must_use]
    pub fn is_before_flush(&self) -> bool {
        self.doing != "flush"
    }
}

/// Named files with atomic replacement. Names are relative, with `/`.
pub trait Storage: Send + Sync {
    /// Reads a whole small file. Returns `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the file cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Replaces a file atomically and durably: it survives a power failure.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the file cannot be written; the old file remains.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Removes a file if it exists.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the file cannot be removed.
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Returns the length of a journal in bytes; 0 if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the file system fails.
    fn journal_length(&self, name: &str) -> Result<u64, StorageError>;

    /// Reads up to `count` bytes at an offset of a journal.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the journal cannot be read.
    fn journal_read(&self, name: &str, at: u64, count: u64) -> Result<Vec<u8>, StorageError>;

    /// Writes at the end of a journal, which must be `at`, and flushes.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`]; [`StorageError::is_before_flush`] returns whether the
    /// flush was reached.
    fn journal_append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Truncates a journal and flushes.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the journal cannot be truncated or flushed.
    fn journal_truncate(&self, name: &str, length: u64) -> Result<(), StorageError>;
}

/// A directory of a file system, used by one process at a time.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    journal: Mutex<Option<Arc<File>>>,
    /// The lock file, locked while this value exists.
    _lock: File,
}

impl Directory {
    /// Opens or creates a directory (0700 on Unix) and locks it.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the directory cannot be created, or another process
    /// uses it.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let state = root.join(".state");
        private_directory(&state)?;
        let path = state.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|why| StorageError::new("open", &path, &why))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError {
                    doing: "lock",
                    path: root.display().to_string(),
                    why: "another process uses this directory; stop it first".to_owned(),
                });
            }
            Err(TryLockError::Error(why)) => {
                return Err(StorageError::new("lock", &path, &why));
            }
        }
        Ok(Self {
            root: root.to_owned(),
            journal: Mutex::new(None),
            _lock: lock,
        })
    }

    fn with_journal<T>(
        &self,
        name: &str,
        doing: &'static str,
        work: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, StorageError> {
        let path = self.root.join(name);
        let file = self.open_journal(&path)?;
        work(&file).map_err(|why| StorageError::new(doing, &path, &why))
    }

    fn open_journal(&self, path: &Path) -> Result<Arc<File>, StorageError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*journal {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|why| StorageError::new("open", path, &why))?;
        flush_parent(path)?;
        Ok(Arc::clone(journal.insert(Arc::new(file))))
    }
}

#[cfg(unix)]
use std::os::unix::fs::FileExt;

/// Reads bytes of a file at an offset. The end of the file is not an error.
fn read_at(file: &File, mut at: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read: usize = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        #[cfg(unix)]
        let step = file.read_at(rest, at);
        #[cfg(windows)]
        let step = std::os::windows::fs::FileExt::seek_read(file, rest, at);
        match step {
            Ok(0) => break,
            Ok(count) => {
                read = read.saturating_add(count);
                at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(read)
}

#[cfg(unix)]
fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, at)
}

#[cfg(windows)]
fn write_at(mut file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

impl Storage for Directory {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.root.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(StorageError::new("read", &path, &why)),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.root.join(name);
        let parent = path.parent().unwrap_or(&self.root);
        private_directory(parent)?;
        let fail = |why: io::Error| StorageError::new("write", &path, &why);
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(fail)?;
        file.write_all(bytes).map_err(fail)?;
        file.as_file().sync_all().map_err(fail)?;
        file.persist(&path).map_err(|error| fail(error.error))?;
        flush_parent(&path)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(why) => Err(StorageError::new("remove", &path, &why)),
        }
    }

    fn journal_length(&self, name: &str) -> Result<u64, StorageError> {
        self.with_journal(name, "read", |file| file.metadata().map(|data| data.len()))
    }

    fn journal_read(&self, name: &str, at: u64, count: u64) -> Result<Vec<u8>, StorageError> {
        self.with_journal(name, "read", |file| {
            let there = file.metadata()?.len().saturating_sub(at).min(count);
            let mut bytes = vec![0; usize::try_from(there).unwrap_or(0)];
            let read = read_at(file, at, &mut bytes)?;
            bytes.truncate(read);
            Ok(bytes)
        })
    }

    fn journal_append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.with_journal(name, "write", |file| write_at(file, at, bytes))?;
        self.with_journal(name, "flush", File::sync_data)
    }

    fn journal_truncate(&self, name: &str, length: u64) -> Result<(), StorageError> {
        self.with_journal(name, "truncate", |file| {
            file.set_len(length)?;
            file.sync_all()
        })
    }
}

/// Creates a directory and its parents, accessible by the owner only.
fn private_directory(path: &Path) -> Result<(), StorageError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|why| StorageError::new("create", path, &why))
}

/// Flushes the parent directory, which makes a new name durable.
fn flush_parent(path: &Path) -> Result<(), StorageError> {
    #[cfg(unix)]
    if let Some(parent) = path.parent() {
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(|why| StorageError::new("flush", parent, &why))?;
    }
    let _ = path;
    Ok(())
}
