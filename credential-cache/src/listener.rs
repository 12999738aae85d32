//! The socket: bound without a race, one daemon at a time, nothing followed and
//! nobody else's file touched.
//!
//! A lock file beside the socket (`NAME.lock`, held with flock for as long as
//! the process lives) says whether a daemon is alive: whoever has the lock may
//! replace a socket that nobody listens on. The socket is bound under a private
//! name in the 0700 directory, with a umask that makes it 0600 from the first
//! moment, and then renamed.
//!
//! A crash leaves the socket file and the lock file; the lock is free, the next
//! daemon replaces the socket. The lock file is never removed: removing it would
//! let two daemons lock two files of one name.
//!
//! What the lock file holds is a mark: a daemon that asks a person before each
//! signature (`--confirm`) leaves it there, and one that nobody started by hand
//! does not serve that place any more. Whoever reaches the socket from afar
//! would otherwise meet, after a crash, a daemon that asks nobody.
//!
//! *Not checked here:* who connects (`peer.rs`).

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, statat, unlinkat,
};
use thiserror::Error;

use crate::place::{self, PlaceError};

/// Why there is no socket to listen on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The place is not safe.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A daemon already serves this socket.
    #[error("a credential cache already serves {0}")]
    Taken(PathBuf),
    /// The daemon that served it before asks before each signature.
    #[error(
        "a credential cache that asks before each signature (--confirm) served {0} before, and one that does not ask is not started in its place"
    )]
    Asked(PathBuf),
    /// Something that holds no lock of ours listens there.
    #[error("something else listens on {0} (a gitsign daemon?)")]
    Stranger(PathBuf),
    /// No socket was passed by the service manager.
    #[error("no socket was passed: {0}")]
    NotPassed(&'static str),
    /// The system says no.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
}

/// Whether a daemon asks a person before it signs, and who started it: what it
/// may make of the place it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// It asks: the place is marked.
    Each,
    /// It does not, and a person started it: the mark is taken away.
    NotByHand,
    /// It does not, and gitseal started it: a place with a mark is refused.
    NotByItself,
}

/// Whether a daemon that asked before each signature served this socket last.
pub fn asked(socket: &Path) -> bool {
    // What cannot be looked at, the daemon that would be started cannot lock.
    place::split(socket).is_ok_and(|(directory, name)| {
        fs::symlink_metadata(directory.join(lock_name(name))).is_ok_and(|facts| facts.len() > 0)
    })
}

/// A listening socket and what is needed to leave the place tidy.
pub struct Listener {
    /// The socket, not blocking.
    pub socket: UnixListener,
    /// Where it is.
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
    /// [`ListenError`].
    pub fn bind(path: &Path, asking: Asking) -> Result<Self, ListenError> {
        let (parent, name) = place::split(path)?;
        make_directory(parent)?;
        let directory = open_directory(parent)?;
        let lock = take_lock(&directory, path, name, asking)?;
        clear_stale(&directory, path, name)?;
        let private = private_name(parent)?;
        let socket = bind_private(&private)?;
        let from = Path::new(private.file_name().unwrap_or_default());
        let moved = move_into_place(&directory, from, name);
        if let Err(error) = moved {
            let _ = unlinkat(&directory, from, AtFlags::empty());
            return Err(PlaceError::io(path, error).into());
        }
        socket
            .set_nonblocking(true)
            .map_err(|error| ListenError::Io("the socket", error))?;
        let mut listener = Self {
            socket,
            path: path.to_owned(),
            directory,
            identity: None,
            ours: true,
            _lock: lock,
        };
        listener.identity = listener.seen();
        Ok(listener)
    }

    /// The listening socket that a service manager passes as descriptor 3
    /// (sd_listen_fds(3), launchd has no such thing). Its place is judged like
    /// any other, and the lock is taken beside it.
    ///
    /// # Errors
    /// [`ListenError::NotPassed`] if LISTEN_PID is not this process, LISTEN_FDS
    /// is not 1, or descriptor 3 is no listening local stream socket with a path.
    pub fn passed(asking: Asking) -> Result<Self, ListenError> {
        let socket = passed_socket()?;
        let address = socket
            .local_addr()
            .map_err(|error| ListenError::Io("the socket that was passed", error))?;
        let path = address
            .as_pathname()
            .ok_or(ListenError::NotPassed("its socket has no path"))?
            .to_owned();
        let (parent, name) = place::split(&path)?;
        let directory = open_directory(parent)?;
        let facts = fs::symlink_metadata(&path).map_err(|error| PlaceError::io(&path, error))?;
        if facts.mode() & 0o077 != 0 {
            return Err(PlaceError::Open {
                mode: facts.mode() & 0o7777,
                path,
            }
            .into());
        }
        let lock = take_lock(&directory, &path, name, asking)?;
        socket
            .set_nonblocking(true)
            .map_err(|error| ListenError::Io("the socket", error))?;
        let mut listener = Self {
            socket,
            path,
            directory,
            identity: None,
            ours: false,
            _lock: lock,
        };
        listener.identity = listener.seen();
        Ok(listener)
    }

    /// Whether the socket is still where clients look for it.
    pub fn in_place(&self) -> bool {
        self.identity.is_some() && self.seen() == self.identity
    }

    fn seen(&self) -> Option<(u64, u64)> {
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
            && self.in_place()
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
    let given = descriptor_three()?;
    Ok(UnixListener::from(given))
}

/// A copy of descriptor 3, asked of the system for this very process
/// (pidfd_getfd(2), Linux 5.6): taking it by its number alone is not safe code.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn descriptor_three() -> Result<OwnedFd, ListenError> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let failed = |error: rustix::io::Errno| ListenError::Io("descriptor 3", error.into());
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
    Err(ListenError::NotPassed("this system has no such activation"))
}

/// The last directory is made 0700; those above it as the umask says, but for
/// this user alone.
fn make_directory(path: &Path) -> Result<(), ListenError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    place::may_be_made(path)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| PlaceError::io(path, error).into())
}

/// Opens the directory without following a link, and judges what was opened.
fn open_directory(path: &Path) -> Result<File, ListenError> {
    let flags = OFlags::RDONLY
        .union(OFlags::DIRECTORY)
        .union(OFlags::NOFOLLOW)
        .union(OFlags::CLOEXEC);
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
            PlaceError::NotADirectory(path.to_owned())
        }
        error => PlaceError::io(path, error),
    })?;
    let directory = File::from(opened);
    let facts = directory
        .metadata()
        .map_err(|error| PlaceError::io(path, error))?;
    place::private(path, &facts)?;
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
    asking: Asking,
) -> Result<File, ListenError> {
    let lock_name = lock_name(name);
    let failed = |error: io::Error| {
        ListenError::from(PlaceError::io(&path.with_file_name(&lock_name), error))
    };
    let flags = OFlags::RDWR
        .union(OFlags::CREATE)
        .union(OFlags::NOFOLLOW)
        .union(OFlags::NONBLOCK)
        .union(OFlags::CLOEXEC);
    let mode = Mode::RUSR.union(Mode::WUSR);
    let opened =
        openat(directory, &lock_name, flags, mode).map_err(|error| failed(error.into()))?;
    match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN) => return Err(ListenError::Taken(path.to_owned())),
        Err(error) => return Err(failed(error.into())),
    }
    let mut lock = File::from(opened);
    let marked = lock.metadata().map_err(failed)?.len() > 0;
    match asking {
        Asking::NotByItself if marked => return Err(ListenError::Asked(path.to_owned())),
        Asking::NotByHand if marked => lock.set_len(0).map_err(failed)?,
        Asking::Each if !marked => lock.write_all(MARK).map_err(failed)?,
        Asking::Each | Asking::NotByHand | Asking::NotByItself => {}
    }
    Ok(lock)
}

/// What the lock file holds where a daemon asks. Any content is a mark.
const MARK: &[u8] = b"confirm\n";

/// Removes a socket of ours that nobody listens on; refuses anything else.
fn clear_stale(directory: &File, path: &Path, name: &Path) -> Result<(), ListenError> {
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PlaceError::io(path, error).into()),
    };
    if !facts.file_type().is_socket() {
        return Err(PlaceError::NotASocket(path.to_owned()).into());
    }
    let user = rustix::process::geteuid().as_raw();
    if facts.uid() != user {
        return Err(PlaceError::Foreign {
            path: path.to_owned(),
            owner: facts.uid(),
            user,
        }
        .into());
    }
    // Without blocking: a full queue (EAGAIN) is somebody alive as well.
    let address =
        rustix::net::SocketAddrUnix::new(path).map_err(|error| PlaceError::io(path, error))?;
    let probe = unix_stream().map_err(|error| ListenError::Io("a socket", error))?;
    match rustix::net::connect(&probe, &address) {
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => {}
        Ok(()) | Err(_) => return Err(ListenError::Stranger(path.to_owned())),
    }
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(PlaceError::io(path, error).into()),
    }
}

/// A new local stream socket that does not block.
pub(crate) fn unix_stream() -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketType, socket};
    let made = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&made, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&made, true)?;
    Ok(UnixStream::from(made))
}

/// Nine bytes that nobody can have prepared.
fn private_name(parent: &Path) -> Result<PathBuf, ListenError> {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes)
        .map_err(|error| ListenError::Io("entropy", io::Error::other(error)))?;
    let path = parent.join(format!(".{:08x}", u32::from_be_bytes(bytes)));
    let length = path.as_os_str().as_bytes().len();
    if length > place::MAX_PATH {
        return Err(PlaceError::TooLong { path, length }.into());
    }
    Ok(path)
}

/// The socket is 0600 from its first moment on.
fn bind_private(path: &Path) -> Result<UnixListener, ListenError> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound.map_err(|error| PlaceError::io(path, error).into())
}

/// Renames, and never over something that came meanwhile, where the file system
/// can promise that.
fn move_into_place(directory: &File, from: &Path, to: &Path) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
            other => return other,
        }
    }
    renameat(directory, from, directory, to)
}
