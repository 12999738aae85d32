//! Where the socket is, and whether that is a safe place.
//!
//! *Not checked here:* whether anybody listens there, and who (`client.rs`,
//! `listener.rs`, `peer.rs`).

#[cfg(unix)]
use std::fs::{self, Metadata};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The longest path of a socket, in bytes: `sun_path` without its NUL
/// (unix(7); 104 bytes on the BSDs and macOS).
pub const MAX_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

/// Why a place is not safe, or is none.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// There is neither a runtime directory nor a home.
    #[error("no directory for the socket: neither XDG_RUNTIME_DIR nor a home directory is known")]
    NoHome,
    /// The path is relative or has no directory or no file name.
    #[error("{0} is not the absolute path of a socket")]
    Path(PathBuf),
    /// The path does not fit a socket address.
    #[error("{path} has {length} bytes, a socket's path at most {MAX_PATH}")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The directory is a symbolic link, or no directory.
    #[error("{0} is not a directory (a symbolic link is not followed)")]
    NotADirectory(PathBuf),
    /// Something other than a socket is at the path.
    #[error("{0} is not a socket (a symbolic link is not followed)")]
    NotASocket(PathBuf),
    /// It belongs to somebody else.
    #[error("{path} belongs to user {owner}, not to you ({user})")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Others may do there what only the owner should.
    #[error("{path} has mode {mode:04o}: others have access to it")]
    Open {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file system says no.
    #[error("{path}: {error}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

impl PlaceError {
    #[cfg(unix)]
    pub(crate) fn io(path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Io {
            path: path.to_owned(),
            error: error.into(),
        }
    }
}

/// The socket where a daemon is looked for and started by default:
/// `$XDG_RUNTIME_DIR/gitseal/cache.sock` if that directory is this user's alone,
/// else `gitseal/cache.sock` in the user's cache directory.
///
/// # Errors
/// [`PlaceError::NoHome`].
pub fn default_socket() -> Result<PathBuf, PlaceError> {
    #[cfg(unix)]
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
        && runtime.is_absolute()
        && fs::symlink_metadata(&runtime).is_ok_and(|facts| private(&runtime, &facts).is_ok())
    {
        return Ok(runtime.join("gitseal").join("cache.sock"));
    }
    let directories = directories::BaseDirs::new().ok_or(PlaceError::NoHome)?;
    Ok(directories.cache_dir().join("gitseal").join("cache.sock"))
}

/// The directory of a socket and the name in it, if the path can be a socket's.
///
/// # Errors
/// [`PlaceError::Path`], [`PlaceError::TooLong`].
pub fn split(socket: &Path) -> Result<(&Path, &Path), PlaceError> {
    let length = socket.as_os_str().len();
    if length > MAX_PATH {
        return Err(PlaceError::TooLong {
            path: socket.to_owned(),
            length,
        });
    }
    match (socket.parent(), socket.file_name()) {
        (Some(directory), Some(name)) if socket.is_absolute() => Ok((directory, Path::new(name))),
        _ => Err(PlaceError::Path(socket.to_owned())),
    }
}

/// A directory of this user's alone: no symbolic link, owned, mode 0700 or less.
///
/// # Errors
/// [`PlaceError::NotADirectory`], [`PlaceError::Foreign`], [`PlaceError::Open`].
#[cfg(unix)]
pub fn private(path: &Path, facts: &Metadata) -> Result<(), PlaceError> {
    owned_directory(path, facts, 0o077)
}

/// Whether something may be made at this path: the nearest directory above it
/// that is there is this user's or root's. With `sudo -E` the home directory is
/// somebody else's, who could not use there what root made.
///
/// # Errors
/// [`PlaceError::Foreign`].
#[cfg(unix)]
pub fn may_be_made(path: &Path) -> Result<(), PlaceError> {
    let nearest = path
        .ancestors()
        .skip(1)
        .find_map(|above| Some((above, fs::metadata(above).ok()?)));
    let Some((nearest, facts)) = nearest else {
        return Ok(());
    };
    if facts.uid() == 0 {
        return Ok(());
    }
    owned(nearest, &facts)
}

/// What a client asks of a place before it says a word there: the directory is
/// this user's and nobody else may write in it, the socket is a socket and this
/// user's.
///
/// # Errors
/// [`PlaceError`]; `Io` with `NotFound` where nothing is.
#[cfg(unix)]
pub fn check_for_client(socket: &Path) -> Result<(), PlaceError> {
    let (directory, _) = split(socket)?;
    let facts = fs::symlink_metadata(socket).map_err(|error| PlaceError::io(socket, error))?;
    if !facts.file_type().is_socket() {
        return Err(PlaceError::NotASocket(socket.to_owned()));
    }
    owned(socket, &facts)?;
    let facts =
        fs::symlink_metadata(directory).map_err(|error| PlaceError::io(directory, error))?;
    owned_directory(directory, &facts, 0o022)
}

#[cfg(unix)]
fn owned_directory(path: &Path, facts: &Metadata, forbidden: u32) -> Result<(), PlaceError> {
    if !facts.is_dir() {
        return Err(PlaceError::NotADirectory(path.to_owned()));
    }
    owned(path, facts)?;
    if facts.mode() & forbidden != 0 {
        return Err(PlaceError::Open {
            path: path.to_owned(),
            mode: facts.mode() & 0o7777,
        });
    }
    Ok(())
}

#[cfg(unix)]
fn owned(path: &Path, facts: &Metadata) -> Result<(), PlaceError> {
    let user = rustix::process::geteuid().as_raw();
    if facts.uid() != user {
        return Err(PlaceError::Foreign {
            path: path.to_owned(),
            owner: facts.uid(),
            user,
        });
    }
    Ok(())
}
