//! The path of the socket, and whether it is a safe place.
//!
//! *Not checked here:* whether a process listens there, and of which user
//! (`client.rs`, `listener.rs`, `peer.rs`).

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

/// Reasons why a path is not safe for a socket, or cannot be one.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum SocketPathError {
    /// There is neither a runtime directory nor a home.
    #[error("no directory for the socket: neither XDG_RUNTIME_DIR nor a home directory is known")]
    NoHome,
    /// The path is relative or has no directory or no file name.
    #[error("{0} is not the absolute path of a socket")]
    Path(PathBuf),
    /// The path does not fit a socket address.
    #[error("{path} is {length} bytes; the limit for a socket is {MAX_PATH}")]
    TooLong { path: PathBuf, length: usize },
    /// The directory is a symbolic link, or not a directory.
    #[error("{0} is not a directory (a symbolic link is not followed)")]
    NotADirectory(PathBuf),
    /// Something other than a socket is at the path.
    #[error("{0} is not a socket (a symbolic link is not followed)")]
    NotASocket(PathBuf),
    /// The file or directory has another owner.
    #[error("{path} belongs to user {owner}, not to you ({user})")]
    Foreign {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    /// Other users have access to the file or directory.
    #[error("{path} is accessible by other users (mode {mode:04o})")]
    Open { path: PathBuf, mode: u32 },
    /// The file system reported an error.
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

impl SocketPathError {
    #[cfg(unix)]
    pub(crate) fn io(path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Io {
            path: path.to_owned(),
            error: error.into(),
        }
    }
}

/// Returns the default socket: `$XDG_RUNTIME_DIR/gitseal/cache.sock` if that
/// directory is private to this user, else `gitseal/cache.sock` in the user's
/// cache directory.
///
/// # Errors
/// Returns [`SocketPathError::NoHome`].
pub fn default_socket() -> Result<PathBuf, SocketPathError> {
    #[cfg(unix)]
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
        && runtime.is_absolute()
        && fs::symlink_metadata(&runtime).is_ok_and(|facts| private(&runtime, &facts).is_ok())
    {
        return Ok(runtime.join("gitseal").join("cache.sock"));
    }
    let directories = directories::BaseDirs::new().ok_or(SocketPathError::NoHome)?;
    Ok(directories.cache_dir().join("gitseal").join("cache.sock"))
}

/// Returns whether gitsign's daemon serves sockets of this name: the variable of
/// gitsign contains it, or it lies in gitsign's directory
/// (`sigstore/gitsign/cache.sock`).
#[cfg(unix)]
pub fn is_named_for_gitsign(socket: &Path) -> bool {
    std::env::var_os("GITSIGN_CREDENTIAL_CACHE").is_some_and(|named| Path::new(&named) == socket)
        || socket
            .parent()
            .is_some_and(|parent| parent.ends_with("gitsign"))
}

/// Splits the path of a socket into its directory and file name.
///
/// # Errors
/// Returns [`SocketPathError::Path`] or [`SocketPathError::TooLong`].
pub fn split(socket: &Path) -> Result<(&Path, &Path), SocketPathError> {
    let length = socket.as_os_str().len();
    if length > MAX_PATH {
        return Err(SocketPathError::TooLong {
            path: socket.to_owned(),
            length,
        });
    }
    match (socket.parent(), socket.file_name()) {
        (Some(directory), Some(name)) if socket.is_absolute() => Ok((directory, Path::new(name))),
        _ => Err(SocketPathError::Path(socket.to_owned())),
    }
}

/// Checks that a directory is private to this user: not a symbolic link, owned,
/// mode 0700 or less.
///
/// # Errors
/// Returns [`SocketPathError::NotADirectory`], [`SocketPathError::Foreign`] or
/// [`SocketPathError::Open`].
#[cfg(unix)]
pub fn private(path: &Path, facts: &Metadata) -> Result<(), SocketPathError> {
    check_directory(path, facts, 0o077)
}

/// Checks that this path may be created: the nearest directory above it that
/// exists belongs to this user or root. With `sudo -E` the home directory is
/// another user's, who could not use there what root made.
///
/// # Errors
/// Returns [`SocketPathError::Foreign`].
#[cfg(unix)]
pub fn can_create(path: &Path) -> Result<(), SocketPathError> {
    let nearest = path
        .ancestors()
        .skip(1)
        .find_map(|above| Some((above, fs::metadata(above).ok()?)));
    match nearest {
        Some((nearest, facts)) if facts.uid() != 0 => check_owner(nearest, &facts),
        _ => Ok(()),
    }
}

/// Checks a path before a client connects: the socket is a socket and this
/// user's, and only this user may write in its directory.
///
/// # Errors
/// Returns [`SocketPathError`]; `Io` with `NotFound` if nothing exists there.
#[cfg(unix)]
pub fn check_for_client(socket: &Path) -> Result<(), SocketPathError> {
    let (directory, _) = split(socket)?;
    check_socket(socket, &facts_of(socket)?)?;
    check_directory(directory, &facts_of(directory)?, 0o022)
}

/// Checks that this is a socket of this user.
#[cfg(unix)]
pub(crate) fn check_socket(path: &Path, facts: &Metadata) -> Result<(), SocketPathError> {
    if !facts.file_type().is_socket() {
        return Err(SocketPathError::NotASocket(path.to_owned()));
    }
    check_owner(path, facts)
}

#[cfg(unix)]
fn facts_of(path: &Path) -> Result<Metadata, SocketPathError> {
    fs::symlink_metadata(path).map_err(|error| SocketPathError::io(path, error))
}

#[cfg(unix)]
fn check_directory(path: &Path, facts: &Metadata, forbidden: u32) -> Result<(), SocketPathError> {
    if !facts.is_dir() {
        return Err(SocketPathError::NotADirectory(path.to_owned()));
    }
    check_owner(path, facts)?;
    check_mode(path, facts, forbidden)
}

/// Checks that none of these permission bits is set.
#[cfg(unix)]
pub(crate) fn check_mode(
    path: &Path,
    facts: &Metadata,
    forbidden: u32,
) -> Result<(), SocketPathError> {
    if facts.mode() & forbidden != 0 {
        return Err(SocketPathError::Open {
            path: path.to_owned(),
            mode: facts.mode() & 0o7777,
        });
    }
    Ok(())
}

#[cfg(unix)]
fn check_owner(path: &Path, facts: &Metadata) -> Result<(), SocketPathError> {
    let user = rustix::process::geteuid().as_raw();
    if facts.uid() != user {
        return Err(SocketPathError::Foreign {
            path: path.to_owned(),
            owner: facts.uid(),
            user,
        });
    }
    Ok(())
}
