//! The user whose program made a connection to this machine's loopback. Linux lists
//! the owner of each socket; other systems do not report it here.

use std::net::SocketAddr;

/// Returns whether a connection from `peer` to `port` of loopback is one of the
/// user's own, or root's: a port forwarder of WSL or of a container runs as root,
/// and root needs no connection to act as the user. `None`: the system does not
/// report it.
#[must_use]
pub fn is_own(peer: SocketAddr, port: u16) -> Option<bool> {
    let owner = owner(peer, port)?;
    Some(owner.is_some_and(|owner| own_users().contains(&owner)))
}

/// Returns the users that count as this one. Under sudo the browser may be that of
/// the user who called it.
#[cfg(target_os = "linux")]
fn own_users() -> Vec<u32> {
    let own = rustix::process::geteuid();
    let mut users = vec![own.as_raw(), 0];
    if own.is_root() {
        let sudo = std::env::var("SUDO_UID").ok();
        users.extend(sudo.and_then(|user| user.parse::<u32>().ok()));
    }
    users
}

#[cfg(not(target_os = "linux"))]
fn own_users() -> Vec<u32> {
    Vec::new()
}

/// Returns the owner of the socket at the other end of a connection. `Some(None)`: it
/// is closed, and nobody owns it any more.
#[cfg(target_os = "linux")]
fn owner(peer: SocketAddr, port: u16) -> Option<Option<u32>> {
    use std::{
        fs::File,
        io::{BufRead as _, BufReader, Read as _},
    };

    /// The largest part of the list that is read: some 100,000 sockets.
    const MAX: u64 = 16 << 20;
    let list = match peer {
        SocketAddr::V4(_) => "/proc/net/tcp",
        SocketAddr::V6(_) => "/proc/net/tcp6",
    };
    let lines = BufReader::new(File::open(list).ok()?.take(MAX)).lines();
    lines
        .map_while(Result::ok)
        .find_map(|line| owner_in(&line, peer, port))
}

#[cfg(not(target_os = "linux"))]
fn owner(_: SocketAddr, _: u16) -> Option<Option<u32>> {
    None
}

/// Returns the owner in a line of the list (proc_net_tcp(5)) if the line is about
/// the socket of `peer` that is connected to `port`.
#[cfg(target_os = "linux")]
fn owner_in(line: &str, peer: SocketAddr, port: u16) -> Option<Option<u32>> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (fields.next()?, fields.next()?);
    let (_, remote_port) = remote.rsplit_once(':')?;
    if local != encoded(peer) || u16::from_str_radix(remote_port, 16).ok()? != port {
        return None;
    }
    let owner = fields.nth(4)?.parse().ok()?;
    let inode = fields.nth(1)?;
    // The kernel lists a socket that its program has closed as one of root.
    Some((inode != "0").then_some(owner))
}

/// Returns an address as the list contains it: words of four bytes in the order of
/// this machine, and the port.
#[cfg(target_os = "linux")]
fn encoded(address: SocketAddr) -> String {
    let octets = match address {
        SocketAddr::V4(address) => address.ip().octets().to_vec(),
        SocketAddr::V6(address) => address.ip().octets().to_vec(),
    };
    let (words, _) = octets.as_chunks::<4>();
    let words: String = words
        .iter()
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
        .collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::process::CommandExt as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_its_users() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue; // No IPv6 here.
            };
            let port = listener.local_addr().unwrap().port();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_accepted, peer) = listener.accept().unwrap();
            assert_eq!(
                owner(peer, port),
                Some(Some(rustix::process::geteuid().as_raw()))
            );
            assert_eq!(is_own(peer, port), Some(true));
            // It is about that connection alone.
            assert_eq!(owner(peer, port.wrapping_add(1)), None);
            drop(stream);
            assert_ne!(is_own(peer, port), Some(true), "closed");
        }
    }

    #[test]
    fn a_connection_of_another_user_is_not_ours() {
        if !rustix::process::geteuid().is_root() {
            return; // Only root can connect as another user.
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut child = Command::new("bash")
            .args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read")])
            .uid(65_534)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(owner(peer, port), Some(Some(65_534)));
        assert_eq!(is_own(peer, port), Some(false));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let peer = "127.0.0.1:40000".parse().unwrap();
        let local = encoded(peer);
        let line = |uid: &str, inode: &str| {
            format!(
                "   7: {local} 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1 0000000000000000 20 4 30 10 -1"
            )
        };
        assert_eq!(owner_in(&line("1000", "99"), peer, 8080), Some(Some(1000)));
        assert_eq!(owner_in(&line("0", "0"), peer, 8080), Some(None));
        assert_eq!(owner_in(&line("1000", "99"), peer, 8081), None);
        let other = "127.0.0.1:40001".parse().unwrap();
        assert_eq!(owner_in(&line("1000", "99"), other, 8080), None);
        for line in ["", "sl local_address", "1: x y", &local] {
            assert_eq!(owner_in(line, peer, 8080), None, "{line}");
        }
    }
}
