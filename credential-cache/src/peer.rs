//! Who is at the other end of a socket.
//!
//! Linux tells the process and the user that connected (SO_PEERCRED). Other
//! systems have no such call that can be made without unsafe code: there the
//! 0700 directory and the 0600 socket alone keep other users out.
//!
//! *Not checked here:* the directory and the socket file (`place.rs`).

use std::io;
use std::os::fd::AsFd;

/// The process at the other end, as it was when it connected (or listened).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id; 0 where the system does not tell.
    pub pid: u32,
}

/// The peer, if it is of this user.
///
/// # Errors
/// `PermissionDenied` if it is of another user (root included: root has no need
/// of a socket), or what the system says.
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

/// The peer; its user is not known here.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn of_this_user(_socket: impl AsFd) -> io::Result<Peer> {
    Ok(Peer { pid: 0 })
}
