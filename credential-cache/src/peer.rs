//! The process at the other end of a socket.
//!
//! Linux reports the process and the user that connected (SO_PEERCRED). Other
//! systems have no such call that can be made without unsafe code: there the
//! 0700 directory and the 0600 socket alone keep other users out.
//!
//! *Not checked here:* the directory and the socket file (`socket_path.rs`).

use std::io;
use std::os::fd::AsFd;

/// The process at the other end, at the time when it connected (or listened).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process ID; 0 if the system does not report it.
    pub pid: u32,
}

/// Returns the peer if it belongs to this user.
///
/// # Errors
/// Returns `PermissionDenied` if it belongs to another user (root included: root
/// has no need of a socket), or the error of the system.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn of_this_user(socket: impl AsFd) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    if credentials.uid != rustix::process::geteuid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("a process of user {}", credentials.uid.as_raw()),
        ));
    }
    Ok(Peer {
        pid: u32::try_from(credentials.pid.as_raw_nonzero().get()).unwrap_or(0),
    })
}

/// Returns the peer; this system does not report its user.
///
/// # Errors
/// Never fails on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn of_this_user(_socket: impl AsFd) -> io::Result<Peer> {
    Ok(Peer { pid: 0 })
}
