//! The listening socket: bound without a race, one daemon at a time, no link
//! followed and no other file touched.
//!
//! A lock file beside the socket (`NAME.lock`, held with flock while the process
//! lives) shows whether a daemon is running: the holder of the lock may replace a
//! socket without a listener. The socket is bound under a private name in the
//! 0700 directory, with a umask that makes it 0600 from the first moment, and
//! then renamed.
//!
//! A crash leaves the socket file and the lock file; the lock is free, the next
//! daemon replaces the socket. The lock file is never removed: removing it would
//! let two daemons lock two files of one name.
//!
//! The content of the lock file is a mark: a daemon with `--confirm` leaves it
//! there, and one without it does not serve that path any more unless the user
//! started it by hand. A client at the far end of a forwarded socket would
//! otherwise meet, after a crash, a daemon that signs without confirmation.
//!
//! *Not checked here:* the process that connects (`peer.rs`).

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

use crate::socket_path::{self, SocketPathError};
use crate::stream::unix_stream;

/// Errors that leave the daemon without a socket to listen on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The path is not safe.
    #[error(transparent)]
    Path(#[from] SocketPathError),
    /// Another daemon serves this socket.
    #[error("a credential cache already serves {0}")]
    AlreadyRunning(PathBuf),
    /// The last daemon at this path had `--confirm`.
    #[error(
        "the last credential cache at {0} had --confirm; refusing to start one without --confirm"
    )]
    ConfirmRequired(PathBuf),
    /// Another program, without our lock, listens there.
    #[error("another program listens on {0} (gitsign's daemon?)")]
    Stranger(PathBuf),
    /// The service manager passed no suitable socket.
    #[error("no socket was passed: {0}")]
    NotPassed(&'static str),
    /// The system reported an error.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
}

/// The effect of a daemon's `--confirm` option and of its starter on the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmMode {
    /// With `--confirm`: leaves the mark.
    On,
    /// Without it, started by the user: removes the mark.
    OffManual,
    /// Without it, started by gitseal: refuses a path with a mark.
    OffAutomatic,
}

/// Returns whether the last daemon on this socket had `--confirm`.
pub fn last_daemon_confirmed(socket: &Path) -> bool {
    // If the file is not accessible here, the daemon cannot lock it either.
    socket_path::split(socket).is_ok_and(|(directory, name)| {
        fs::symlink_metadata(directory.join(lock_name(name))).is_ok_and(|facts| facts.len() > 0)
    })
}

/// A listening socket, which is removed when dropped.
pub struct Listener {
    /// The socket, which does not block.
    pub socket: UnixListener,
    /// The path of the socket.
    pub path: PathBuf,
    directory: File,
    identity: Option<(u64, u64)>,
    ours: bool,
    /// Held until the end: closing it frees the lock.
    _lock: File,
}

impl Listener {
    /// Binds a socket at this path.
    ///
    /// # Errors
    /// Returns [`ListenError`].
    pub fn bind(path: &Path, mode: ConfirmMode) -> Result<Self, ListenError> {
        let (parent, name) = socket_path::split(path)?;
        make_directory(parent)?;
        let directory = open_directory(parent)?;
        let lock = take_lock(&directory, path, name, mode)?;
        clear_stale(&directory, path, name)?;
        let private = private_name(parent)?;
        let socket = bind_private(&private)?;
        let from = Path::new(private.file_name().unwrap_or_default());
        let moved = move_into_place(&directory, from, name);
        if let Err(error) = moved {
            let _ = unlinkat(&directory, from, AtFlags::empty());
            return Err(SocketPathError::io(path, error).into());
        }
        Self::new(socket, path, directory, true, lock)
    }

    /// Takes the listening socket that a service manager passes as descriptor 3
    /// (sd_listen_fds(3); launchd has no such thing). Its path is checked like
    /// any other, and the lock is taken beside it.
    ///
    /// # Errors
    /// Returns [`ListenError::NotPassed`] if LISTEN_PID is not this process,
    /// LISTEN_FDS is not 1, or descriptor 3 is not a listening local stream socket
    /// with a path.
    pub fn from_service_manager(mode: ConfirmMode) -> Result<Self, ListenError> {
        let socket = passed_socket()?;
        let address = socket
            .local_addr()
            .map_err(|error| ListenError::Io("the socket that was passed", error))?;
        let path = address
            .as_pathname()
            .ok_or(ListenError::NotPassed("its socket has no path"))?
            .to_owned();
        let (parent, name) = socket_path::split(&path)?;
        let directory = open_directory(parent)?;
        let facts =
            fs::symlink_metadata(&path).map_err(|error| SocketPathError::io(&path, error))?;
        socket_path::check_mode(&path, &facts, 0o077)?;
        let lock = take_lock(&directory, &path, name, mode)?;
        Self::new(socket, &path, directory, false, lock)
    }

    fn new(
        socket: UnixListener,
        path: &Path,
        directory: File,
        ours: bool,
        lock: File,
    ) -> Result<Self, ListenError> {
        socket
            .set_nonblocking(true)
            .map_err(|error| ListenError::Io("the socket", error))?;
        let mut listener = Self {
            socket,
            path: path.to_owned(),
            directory,
            identity: None,
            ours,
            _lock: lock,
        };
        listener.identity = listener.current_identity();
        Ok(listener)
    }

    /// Returns whether the socket is still where clients look for it.
    pub fn is_reachable(&self) -> bool {
        self.identity.is_some() && self.current_identity() == self.identity
    }

    /// Returns the device and inode number of the file at the path.
    fn current_identity(&self) -> Option<(u64, u64)> {
        let name = self.path.file_name()?;
        let facts = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        #[allow(clippy::unnecessary_cast)] // their width differs between systems
        Some((facts.st_dev as u64, facts.st_ino as u64))
    }
}

impl Drop for Listener {
    /// Removes the socket while the lock is still held.
    fn drop(&mut self) {
        if self.ours
            && self.is_reachable()
            && let Some(name) = self.path.file_name()
        {
            let _ = unlinkat(&self.directory, name, AtFlags::empty());
        }
    }
}

fn passed_socket() -> Result<UnixListener, ListenError> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value: String| value.parse::<u32>().ok())
    };
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Err(ListenError::NotPassed("LISTEN_PID is not this process"));
    }
    if number("LISTEN_FDS") != Some(1) {
        return Err(ListenError::NotPassed("LISTEN_FDS is not 1"));
    }
    descriptor_three().map(UnixListener::from)
}

/// Returns a copy of descriptor 3, requested from the system for this very process
/// (pidfd_getfd(2), Linux 5.6): taking it by its number alone is not safe code.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn descriptor_three() -> Result<OwnedFd, ListenError> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let failed = |error: Errno| ListenError::Io("descriptor 3", error.into());
    let this = pidfd_open(getpid(), PidfdFlags::empty()).map_err(failed)?;
    let given = pidfd_getfd(this, 3, PidfdGetfdFlags::empty()).map_err(failed)?;
    let right = sockopt::socket_domain(&given).ok() == Some(AddressFamily::UNIX)
        && sockopt::socket_type(&given).ok() == Some(SocketType::STREAM)
        && sockopt::socket_acceptconn(&given).unwrap_or(false);
    right.then_some(given).ok_or(ListenError::NotPassed(
        "descriptor 3 is not a listening local stream socket",
    ))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn descriptor_three() -> Result<OwnedFd, ListenError> {
    Err(ListenError::NotPassed(
        "this system has no socket activation",
    ))
}

/// Creates the directory and those above it with mode 0700.
fn make_directory(path: &Path) -> Result<(), ListenError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    socket_path::can_create(path)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| SocketPathError::io(path, error).into())
}

/// Opens the directory without following a link, and checks the opened one.
fn open_directory(path: &Path) -> Result<File, ListenError> {
    let flags = OFlags::RDONLY
        .union(OFlags::DIRECTORY)
        .union(OFlags::NOFOLLOW)
        .union(OFlags::CLOEXEC);
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => SocketPathError::NotADirectory(path.to_owned()),
        error => SocketPathError::io(path, error),
    })?;
    let directory = File::from(opened);
    let facts = directory
        .metadata()
        .map_err(|error| SocketPathError::io(path, error))?;
    socket_path::private(path, &facts)?;
    Ok(directory)
}

fn lock_name(name: &Path) -> PathBuf {
    let mut lock_name = name.as_os_str().to_owned();
    lock_name.push(".lock");
    lock_name.into()
}

fn take_lock(
    directory: &File,
    path: &Path,
    name: &Path,
    mode: ConfirmMode,
) -> Result<File, ListenError> {
    let lock_name = lock_name(name);
    let failed = |error: io::Error| {
        ListenError::from(SocketPathError::io(&path.with_file_name(&lock_name), error))
    };
    let flags = OFlags::RDWR
        .union(OFlags::CREATE)
        .union(OFlags::NOFOLLOW)
        .union(OFlags::NONBLOCK)
        .union(OFlags::CLOEXEC);
    let permissions = Mode::RUSR.union(Mode::WUSR);
    let opened =
        openat(directory, &lock_name, flags, permissions).map_err(|error| failed(error.into()))?;
    match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Err(ListenError::AlreadyRunning(path.to_owned())),
        Err(error) => return Err(failed(error.into())),
    }
    let mut lock = File::from(opened);
    let marked = lock.metadata().map_err(failed)?.len() > 0;
    match mode {
        ConfirmMode::OffAutomatic if marked => {
            return Err(ListenError::ConfirmRequired(path.to_owned()));
        }
        ConfirmMode::OffManual if marked => lock.set_len(0).map_err(failed)?,
        ConfirmMode::On if !marked => lock.write_all(MARK).map_err(failed)?,
        ConfirmMode::On | ConfirmMode::OffManual | ConfirmMode::OffAutomatic => {}
    }
    Ok(lock)
}

/// The content of the lock file of a daemon with `--confirm`. Any content is a
/// mark.
const MARK: &[u8] = b"confirm\n";

/// Removes a socket of this user that has no listener; refuses anything else.
fn clear_stale(directory: &File, path: &Path, name: &Path) -> Result<(), ListenError> {
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketPathError::io(path, error).into()),
    };
    socket_path::check_socket(path, &facts)?;
    // Without blocking: a full queue (EAGAIN) shows a live listener as well.
    let address =
        rustix::net::SocketAddrUnix::new(path).map_err(|error| SocketPathError::io(path, error))?;
    let probe = unix_stream().map_err(|error| ListenError::Io("a socket", error))?;
    match rustix::net::connect(&probe, &address) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => {}
        Ok(()) | Err(_) => return Err(ListenError::Stranger(path.to_owned())),
    }
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(SocketPathError::io(path, error).into()),
    }
}

/// Returns an unpredictable name of nine bytes.
fn private_name(parent: &Path) -> Result<PathBuf, ListenError> {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes)
        .map_err(|error| ListenError::Io("entropy", io::Error::other(error)))?;
    let path = parent.join(format!(".{:08x}", u32::from_be_bytes(bytes)));
    let length = path.as_os_str().as_bytes().len();
    if length > socket_path::MAX_PATH {
        return Err(SocketPathError::TooLong { path, length }.into());
    }
    Ok(path)
}

/// Binds a socket that has mode 0600 from its first moment on.
fn bind_private(path: &Path) -> Result<UnixListener, ListenError> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound.map_err(|error| SocketPathError::io(path, error).into())
}

/// Renames; if the file system can promise it, never over a file that appeared in
/// the meantime.
fn move_into_place(directory: &File, from: &Path, to: &Path) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {}
            other => return other,
        }
    }
    renameat(directory, from, directory, to)
}
