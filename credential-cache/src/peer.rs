//! The process at the other end of a socket. Its number alone does not identify it,
//! because the system uses numbers again: the start time goes with it.
//!
//! Linux reports the process and the user that connected (SO_PEERCRED). Other
//! systems have no such call that can be made without unsafe code: there the
//! 0700 directory and the 0600 socket alone keep other users out.
//!
//! *Not checked here:* the directory and the socket file (`socket_path.rs`).

use std::io;
use std::os::fd::AsFd;

/// The process at the other end, at the time when it connected (or listened).
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The process ID; 0 if the system does not report it.
    pub pid: u32,
    /// The start time of the process in clock ticks since boot, if it is known.
    pub(crate) start: Option<u64>,
}

impl Peer {
    /// Returns whether it is known which process this is.
    pub fn is_known(self) -> bool {
        self.pid != 0 && self.start.is_some()
    }

    /// Returns whether both are one process. An unknown process is no other one.
    pub fn is_same_process(self, other: Self) -> bool {
        self.is_known() && self.pid == other.pid && self.start == other.start
    }

    /// Returns whether the number still means this process.
    pub fn is_current(self) -> bool {
        self.is_known() && start_time(self.pid) == self.start
    }
}

/// Returns the start time of a process: field 22 of `/proc/PID/stat` (proc(5)). The
/// name before it can contain blanks and parentheses.
fn start_time(pid: u32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_start_time(&String::from_utf8_lossy(&text))
}

fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
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
    let pid = u32::try_from(credentials.pid.as_raw_nonzero().get()).unwrap_or(0);
    let start = start_time(pid);
    Ok(Peer { pid, start })
}

/// Returns the peer; this system does not report its user.
///
/// # Errors
/// Never fails on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn of_this_user(_socket: impl AsFd) -> io::Result<Peer> {
    let start = None;
    Ok(Peer { pid: 0, start })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let peer = |pid, start| Peer { pid, start };
        assert!(peer(7, Some(1)).is_same_process(peer(7, Some(1))));
        for other in [peer(7, Some(2)), peer(8, Some(1)), peer(7, None)] {
            assert!(!peer(7, Some(1)).is_same_process(other), "{other:?}");
        }
        assert!(!peer(7, None).is_same_process(peer(7, None)));
        assert!(!peer(0, Some(1)).is_same_process(peer(0, Some(1))));
    }

    #[test]
    fn the_start_time_is_behind_any_name() {
        let stat =
            "42 (a) R 1 (b) S 1 42 42 0 -1 4194304 97 0 0 0 0 0 0 0 20 0 1 0 123456 2699264 242";
        assert_eq!(parse_start_time(stat), Some(123_456));
        for stat in [
            "",
            "42 (a",
            "42 (a) S 1",
            "42 (a) S 1 42 42 0 -1 4194304 97 0 0 0 0 0 0 0 20 0 1 0 x",
        ] {
            assert_eq!(parse_start_time(stat), None, "{stat}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_known_and_another_one_is_not_it() {
        let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = of_this_user(&here).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(peer.is_known() && peer.is_current());
        let earlier = Peer {
            start: peer.start.map(|start| start - 1),
            ..peer
        };
        assert!(!earlier.is_current());
    }
}
