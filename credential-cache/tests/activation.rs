//! `--systemd-socket-activation`: the socket comes as descriptor 3, and anything
//! but a listening local stream socket is refused. The unit files are what systemd
//! reads.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::daemon::*;
use gitseal_credential_cache::client::Connection;

/// Starts it as a service manager does: the shell moves what it has as standard
/// input to descriptor 3, and becomes the daemon.
fn passed(socket: impl Into<OwnedFd>, environment: &str, errors: &Path) -> Child {
    let line = format!(
        "exec 3<&0 0</dev/null; {environment} exec \"$0\" --systemd-socket-activation --idle-timeout 1"
    );
    Command::new("sh")
        .args(["-c", &line, PROGRAM])
        .stdin(Stdio::from(socket.into()))
        .stderr(fs::File::create(errors).unwrap())
        .spawn()
        .unwrap()
}

const RIGHT: &str = "LISTEN_PID=$$ LISTEN_FDS=1";

fn listener(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    set_mode(path, 0o600);
    listener
}

#[test]
fn the_passed_socket_is_served_and_left_in_place() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    let held = listener(&socket);
    let errors = directory.path().join("stderr");
    for idle in [false, true] {
        let mut child = passed(held.try_clone().unwrap(), RIGHT, &errors);
        let mut connection = Connection::open(&socket, TIMEOUTS).unwrap();
        assert_eq!(connection.daemon().pid, child.id());
        credential(&mut connection, &scope("a"), 600);
        // Never a second daemon on one socket, activated or not.
        let (status, _) = run(&["--socket", socket.to_str().unwrap()]);
        assert_eq!(status.code(), Some(3));
        if idle {
            connection.clear().unwrap();
        } else {
            connection.stop().unwrap();
        }
        drop(connection);
        // It ends; the socket stays with the manager, which starts the next one.
        assert!(end_of(&mut child).success());
        assert!(socket.exists());
    }
}

#[test]
fn other_descriptors_are_refused() {
    let directory = private_directory();
    let errors = directory.path().join("stderr");
    let refused = |socket: OwnedFd, environment: &str, reason: &str| {
        let status = passed(socket, environment, &errors).wait().unwrap();
        let said = fs::read_to_string(&errors).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
    };
    let path = directory.path().join("s");
    let good = listener(&path);
    let copy = || OwnedFd::from(good.try_clone().unwrap());
    refused(copy(), "LISTEN_FDS=1", "LISTEN_PID");
    refused(copy(), "LISTEN_PID=1 LISTEN_FDS=1", "LISTEN_PID");
    refused(copy(), "LISTEN_PID=$$", "LISTEN_FDS");
    refused(copy(), "LISTEN_PID=$$ LISTEN_FDS=2", "LISTEN_FDS");
    let not = "not a listening local stream socket";
    let datagram = UnixDatagram::bind(directory.path().join("d")).unwrap();
    refused(datagram.into(), RIGHT, not);
    let (stream, _other) = UnixStream::pair().unwrap();
    refused(stream.into(), RIGHT, not);
    refused(TcpListener::bind("127.0.0.1:0").unwrap().into(), RIGHT, not);
    refused(fs::File::open("/dev/null").unwrap().into(), RIGHT, not);
    // One that others can connect to.
    set_mode(&path, 0o666);
    refused(copy(), RIGHT, "(mode 0666)");
}

#[test]
fn the_units_are_restricted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let socket = read("systemd/gitseal-credential-cache.socket");
    for line in [
        "ListenStream=%t/gitseal/cache.sock",
        "SocketMode=0600",
        "DirectoryMode=0700",
    ] {
        assert!(socket.lines().any(|l| l == line), "{line}");
    }
    let service = read("systemd/gitseal-credential-cache.service");
    for line in [
        "ExecStart=%h/.local/bin/gitseal-credential-cache --systemd-socket-activation",
        "NoNewPrivileges=yes",
        "RestrictAddressFamilies=AF_UNIX",
        "PrivateNetwork=yes",
        "MemoryDenyWriteExecute=yes",
        "LimitCORE=0",
        "ProtectSystem=strict",
    ] {
        assert!(service.lines().any(|l| l == line), "{line}");
    }
    let plist = read("launchd/org.gitseal.credential-cache.plist");
    assert!(plist.contains("<string>--foreground</string>"));
    // By systemd itself, if it is installed.
    let runtime = private_directory();
    let output = Command::new("systemd-analyze")
        .args(["--user", "verify"])
        .arg(directory.join("systemd/gitseal-credential-cache.socket"))
        .env("XDG_RUNTIME_DIR", runtime.path())
        .output();
    match output {
        Err(_) => skip!("systemd-analyze is not installed"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // The program need not be installed here.
            let wrong = said
                .lines()
                .filter(|l| l.contains("gitseal") && !l.contains("is not executable"))
                .filter(|l| !l.contains("No such file"))
                .collect::<Vec<_>>();
            assert!(wrong.is_empty(), "{said}");
        }
    }
}
