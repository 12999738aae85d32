//! gitsign's daemon at the path is recognized, by the name of the socket and by
//! what it does with our greeting.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitseal_credential_cache::client::{ClientError, ClientTimeouts, Connection};

use crate::daemon::*;

const QUICK: ClientTimeouts = ClientTimeouts {
    connect: Duration::from_millis(300),
    answer: Duration::from_millis(300),
};

type Behavior = fn(UnixStream);

/// Reads our greeting and hangs up. This is what Go's `net/rpc` does, which
/// gitsign's daemon is made of: to `encoding/gob`, a frame of our protocol is a
/// message of length 0, and an error.
fn as_gitsign(mut stream: UnixStream) {
    let mut greeting = [0; 6];
    let whole = stream.read_exact(&mut greeting).is_ok();
    if whole && greeting != [0, 0, 0, 2, 1, 8] {
        silently(stream); // another message would not be recognized
    }
}

fn silently(mut stream: UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn nonsensically(mut stream: UnixStream) {
    let _ = stream.write_all(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7]);
    silently(stream);
}

fn echoing(mut stream: UnixStream) {
    let mut copy = stream.try_clone().unwrap();
    let _ = std::io::copy(&mut stream, &mut copy);
}

/// Listens at a path below a private directory.
fn serve(path: &str, behavior: Behavior) -> (tempfile::TempDir, PathBuf) {
    let directory = private_directory();
    let socket = directory.path().join(path);
    let parent = socket.parent().unwrap();
    std::fs::create_dir_all(parent).unwrap();
    set_mode(parent, 0o700);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || behavior(stream));
        }
    });
    (directory, socket)
}

fn open(socket: &Path) -> Result<(), ClientError> {
    timed(Duration::from_secs(3), || {
        Connection::open(socket, QUICK).map(drop)
    })
}

#[test]
fn a_gitsign_daemon_is_recognized_and_not_replaced() {
    for behavior in [as_gitsign as Behavior, nonsensically, echoing] {
        let (_directory, socket) = serve("sigstore/gitsign/cache.sock", behavior);
        let found = open(&socket);
        assert_fails!(found, ClientError::Gitsign(_));
        assert!(found.unwrap_err().to_string().contains("gitsign"));
        // No daemon of ours takes its place.
        let started = start(&socket);
        assert_fails!(started, ClientError::Gitsign(_));
        let said = refused(&socket, "another program listens");
        assert!(said.contains("gitsign"), "{said}");
    }
}

/// The variable of gitsign names its socket, wherever that is.
#[test]
fn a_gitsign_daemon_is_recognized_by_its_variable() {
    let (_directory, socket) = serve("s", as_gitsign);
    let output = helper("gitsign::client_with_the_variable")
        .env("GITSIGN_CREDENTIAL_CACHE", &socket)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The process of the test above, which has the variable.
#[test]
#[ignore = "started by other tests"]
fn client_with_the_variable() {
    let socket = std::env::var_os("GITSIGN_CREDENTIAL_CACHE").unwrap();
    let found = open(Path::new(&socket));
    assert_fails!(found, ClientError::Gitsign(_));
}

/// A daemon of ours at gitsign's path is used as any other.
#[test]
fn the_name_alone_is_not_enough() {
    let directory = private_directory();
    let socket = directory.path().join("gitsign/cache.sock");
    start(&socket).unwrap();
    Connection::open(&socket, TIMEOUTS).unwrap().stop().unwrap();
    let (_directory, socket) = serve("gitsign/cache.sock", silently);
    let found = open(&socket);
    assert_fails!(found, ClientError::Timeout);
}

#[test]
fn other_programs_are_not_taken_for_gitsign() {
    for behavior in [drop as Behavior, silently, nonsensically, echoing] {
        let (_directory, socket) = serve("s", behavior);
        let result = open(&socket);
        assert_fails!(
            result,
            ClientError::Io(_) | ClientError::Timeout | ClientError::Protocol(_)
        );
    }
}
