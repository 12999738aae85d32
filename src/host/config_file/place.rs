//! A configuration file on disk, and the record of what was done to it.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::{MAX_FILE, Record};

/// The most symbolic links that are followed to the file.
pub const MAX_LINKS: usize = 5;
/// How long another program may hold git's lock.
pub const LOCK_WAIT: Duration = Duration::from_secs(1);
/// The largest record that is read, in bytes.
pub const MAX_RECORD: u64 = 1 << 20;

/// Why a file is not changed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file cannot be read or written.
    #[error("{what} {}: {error}", .path.display())]
    Io {
        /// What was being done, as a verb and a noun's beginning.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The file is too large.
    #[error("{} has more than {MAX_FILE} bytes", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// Neither a file nor absent.
    #[error("{} is no file", .path.display())]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// Links that lead nowhere.
    #[error("{} is a chain of more than {MAX_LINKS} symbolic links", .path.display())]
    Links {
        /// Where it begins.
        path: PathBuf,
    },
    /// A file that may be read only.
    #[error("{} is read-only: something else manages it", .path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
    },
    /// Another program has git's lock.
    #[error("{} is locked by another program ({} exists)", .path.display(), .lock.display())]
    Locked {
        /// Which file.
        path: PathBuf,
        /// The lock.
        lock: PathBuf,
    },
    /// Changed by another program since it was read.
    #[error("{} was changed by another program meanwhile; nothing was written", .path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The record cannot be used.
    #[error("the record of what was there, {}, cannot be used: {why}", .path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No directory for the user's state.
    #[error(
        "HOME is not set: whose configuration it is, and where to keep what was there, is not known"
    )]
    NoHome,
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PlaceError + 'a {
    move |error| PlaceError::Io {
        what,
        path: path.to_owned(),
        error,
    }
}

/// A configuration file, as it was read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// As git names it.
    pub path: PathBuf,
    /// Where symbolic links lead; what is replaced.
    target: PathBuf,
    /// Its content; `None`: there is no such file.
    pub content: Option<Vec<u8>>,
}

impl ConfigFile {
    /// Reads it. A file that is not there is one without content.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn read(path: &Path) -> Result<Self, PlaceError> {
        let target = resolve(path)?;
        let content = content_of(&target)?;
        Ok(Self {
            path: path.to_owned(),
            target,
            content,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.content.as_deref().unwrap_or_default()
    }

    /// Whether it could be written, as far as can be told without doing it.
    ///
    /// # Errors
    /// [`PlaceError::ReadOnly`].
    pub fn check_writable(&self) -> Result<(), PlaceError> {
        match fs::metadata(&self.target) {
            Ok(facts) if facts.permissions().readonly() => Err(PlaceError::ReadOnly {
                path: self.path.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Replaces the content; `None` removes the file. `between` is run when the
    /// lock is held and the new content is on disk, before it takes its place.
    ///
    /// # Errors
    /// Nothing was changed then: see [`PlaceError`], and what `between` says.
    pub fn replace(
        &self,
        content: Option<&[u8]>,
        between: impl FnOnce() -> Result<(), PlaceError>,
    ) -> Result<(), PlaceError> {
        self.check_writable()?;
        let lock = Lock::take(&self.path, &self.target)?;
        if content_of(&self.target)? != self.content {
            return Err(PlaceError::Changed {
                path: self.path.clone(),
            });
        }
        let Some(content) = content else {
            between()?;
            if self.content.is_some() {
                fs::remove_file(&self.target).map_err(io_error("removing", &self.path))?;
            }
            return Ok(());
        };
        lock.write(content, &self.target)
            .map_err(io_error("writing", &lock.path))?;
        between()?;
        lock.commit(&self.target)
            .map_err(io_error("replacing", &self.path))
    }
}

/// `NAME.lock`, which git takes as well; removed when dropped.
struct Lock {
    path: PathBuf,
    file: Option<File>,
}

impl Lock {
    fn take(named: &Path, target: &Path) -> Result<Self, PlaceError> {
        let mut name = target.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let begun = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        path,
                        file: Some(file),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if begun.elapsed() >= LOCK_WAIT {
                        return Err(PlaceError::Locked {
                            path: named.to_owned(),
                            lock: path,
                        });
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                Err(error) => {
                    return Err(PlaceError::Io {
                        what: "making the lock",
                        path,
                        error,
                    });
                }
            }
        }
    }

    /// The content, with mode and owner of the file that it will replace.
    fn write(&self, content: &[u8], target: &Path) -> io::Result<()> {
        let Some(mut file) = self.file.as_ref() else {
            return Err(io::Error::other("the lock is gone"));
        };
        // Before the content, which may be for few eyes.
        if let Ok(facts) = fs::metadata(target) {
            #[cfg(unix)]
            {
                use std::os::unix::fs::{MetadataExt as _, fchown};
                let own = file.metadata()?;
                if own.uid() != facts.uid() || own.gid() != facts.gid() {
                    fchown(file, Some(facts.uid()), Some(facts.gid()))?;
                }
            }
            file.set_permissions(facts.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()
    }

    fn commit(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.file = None;
        sync_directory(target);
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // If it stays, git says whose it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a rename last. Where directories cannot be synced, it will do without.
fn sync_directory(file: &Path) {
    if let Some(directory) = file.parent()
        && let Ok(directory) = File::open(directory)
    {
        let _ = directory.sync_all();
    }
}

/// Follows symbolic links, also to a file that is not there, as git does for
/// its lock.
fn resolve(path: &Path) -> Result<PathBuf, PlaceError> {
    let mut target = std::path::absolute(path).map_err(io_error("reading", path))?;
    for _ in 0..=MAX_LINKS {
        match fs::read_link(&target) {
            Ok(to) => {
                target = match target.parent() {
                    Some(parent) => parent.join(to),
                    None => to,
                };
            }
            Err(_) => {
                // One name for one file, whichever way it was reached.
                let directory = target
                    .parent()
                    .and_then(|parent| parent.canonicalize().ok());
                return Ok(match (directory, target.file_name()) {
                    (Some(directory), Some(name)) => directory.join(name),
                    _ => target,
                });
            }
        }
    }
    Err(PlaceError::Links {
        path: path.to_owned(),
    })
}

fn content_of(path: &Path) -> Result<Option<Vec<u8>>, PlaceError> {
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("reading", path)(error)),
    };
    if !facts.is_file() {
        return Err(PlaceError::NoFile {
            path: path.to_owned(),
        });
    }
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut content))
        .map_err(io_error("reading", path))?;
    if content.len() > MAX_FILE {
        return Err(PlaceError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(Some(content))
}

/// Where the record of a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In the user's state directory, under the hash of the file's name.
    WithTheUser,
    /// Beside the file: what the machine's administrator does is not tied to
    /// whoever's home `sudo` happened to keep.
    BesideTheFile,
}

/// The record's file.
///
/// # Errors
/// The user has no home.
pub fn record_path(config: &ConfigFile, keep: Keep) -> Result<PathBuf, PlaceError> {
    match keep {
        Keep::BesideTheFile => {
            let mut name = config.target.as_os_str().to_owned();
            name.push(".gitseal-undo");
            Ok(PathBuf::from(name))
        }
        Keep::WithTheUser => {
            let hash = Sha256::digest(config.target.as_os_str().as_encoded_bytes());
            let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(state_directory()?
                .join("setup")
                .join(format!("{name}.json")))
        }
    }
}

/// The user's directory for what is to be kept between runs.
///
/// # Errors
/// The user has no home.
pub fn state_directory() -> Result<PathBuf, PlaceError> {
    let directories =
        directories::ProjectDirs::from("", "", "gitseal").ok_or(PlaceError::NoHome)?;
    // `directories` asks the user database without HOME; whose home that is, is
    // not what somebody without HOME means.
    if cfg!(unix) && env::var_os("HOME").is_none_or(|home| home.is_empty()) {
        return Err(PlaceError::NoHome);
    }
    Ok(directories
        .state_dir()
        .unwrap_or_else(|| directories.data_local_dir())
        .to_owned())
}

/// The user's directory for configuration of ours.
///
/// # Errors
/// The user has no home.
pub fn config_directory() -> Result<PathBuf, PlaceError> {
    if cfg!(unix) && env::var_os("HOME").is_none_or(|home| home.is_empty()) {
        return Err(PlaceError::NoHome);
    }
    directories::ProjectDirs::from("", "", "gitseal")
        .map(|directories| directories.config_dir().to_owned())
        .ok_or(PlaceError::NoHome)
}

/// The user's directory for what can be had again.
///
/// # Errors
/// The user has no home.
pub fn cache_directory() -> Result<PathBuf, PlaceError> {
    if cfg!(unix) && env::var_os("HOME").is_none_or(|home| home.is_empty()) {
        return Err(PlaceError::NoHome);
    }
    directories::ProjectDirs::from("", "", "gitseal")
        .map(|directories| directories.cache_dir().to_owned())
        .ok_or(PlaceError::NoHome)
}

/// Reads the record, if there is one.
///
/// # Errors
/// It is there and cannot be used.
pub fn read_record(path: &Path) -> Result<Option<Record>, PlaceError> {
    let unusable = |why: String| PlaceError::Record {
        path: path.to_owned(),
        why,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error.to_string())),
    };
    let mut text = String::new();
    file.take(MAX_RECORD)
        .read_to_string(&mut text)
        .map_err(|error| unusable(error.to_string()))?;
    let record: Record =
        serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    if record.version == 1 {
        Ok(Some(record))
    } else {
        Err(unusable(format!("its version is {}", record.version)))
    }
}

/// Writes a file of ours as a whole, for the user alone; directories are made.
///
/// # Errors
/// It cannot be written; an older one is as it was.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), PlaceError> {
    write_whole(path, content, true)
}

/// As [`write_private`], readable by everybody.
///
/// # Errors
/// As there.
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), PlaceError> {
    write_whole(path, content, false)
}

fn write_whole(path: &Path, content: &[u8], private: bool) -> Result<(), PlaceError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_directory(directory, private).map_err(io_error("making", directory))?;
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".gitseal-")
            .tempfile_in(directory)?;
        file.write_all(content)?;
        #[cfg(unix)]
        if !private {
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_directory(path);
        Ok(())
    };
    write().map_err(io_error("writing", path))
}

/// `private`: where the system knows that, for nobody else.
#[cfg_attr(
    not(unix),
    expect(unused_variables, reason = "a home is private there")
)]
fn make_directory(directory: &Path, private: bool) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    builder.create(directory)
}

/// Writes the record.
///
/// # Errors
/// As [`write_private`].
pub fn write_record(path: &Path, record: &Record) -> Result<(), PlaceError> {
    let text = serde_json::to_vec_pretty(record).map_err(|error| PlaceError::Record {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    write_private(path, &text)
}

/// Removes the record; one that is not there is removed.
///
/// # Errors
/// It cannot be removed.
pub fn remove_record(path: &Path) -> Result<(), PlaceError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("removing", path)(error)),
    }
}
