//! D8: the key leaves the process's memory when it is cleared, forgotten, has
//! expired or the process ends, and no core image is made of it.
//!
//! The daemon searched here is this test program itself, started again with
//! entropy that the test knows: the product has no such door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemon;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daemon::*;
use gitseal_credential_cache::client::{Connection, TokenKind};
use gitseal_credential_cache::listener::{Asking, Listener};
use gitseal_credential_cache::server::{Options, Server};
use gitseal_credential_cache::{clock, harden, secret};
use p256::Scalar;
use p256::elliptic_curve::PrimeField;

/// What the known entropy gives: the private key.
const KNOWN: [u8; 32] = *b"\x13known entropy of a test, only..";
const TOKEN: &str = "a-token-that-is-searched-for-in-memory";

/// Not a test of its own: the daemon of the tests below.
#[test]
fn a_daemon_with_known_entropy() {
    let Some(socket) = std::env::var_os("GITSEAL_TEST_SERVE") else {
        return;
    };
    let (signals, raised) = UnixStream::pair().unwrap();
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, raised).unwrap();
    let options = Options {
        idle_end: None,
        confirm: None,
        // Only root may look into a hardened process.
        locked: rustix::process::geteuid().is_root() && harden::harden().locked,
        clock: Box::new(clock::system),
        entropy: Box::new(|bytes| {
            if bytes.len() == KNOWN.len() {
                // Made afresh each time: the constant itself is not in the heap.
                bytes.copy_from_slice(&KNOWN.map(|byte| std::hint::black_box(byte) ^ 0x20));
                true
            } else {
                secret::system_entropy(bytes)
            }
        }),
        log: Box::new(|_| {}),
        signals,
    };
    let listener = Listener::bind(Path::new(&socket), Asking::NotByHand).unwrap();
    Server::new(listener, options).run().unwrap();
    if std::env::var_os("GITSEAL_TEST_LINGER").is_some() {
        // Looked at after everything was dropped.
        println!("served");
        std::thread::sleep(Duration::from_secs(20));
    }
}

struct Known {
    child: Child,
    socket: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Known {
    fn start() -> Self {
        let directory = private_directory();
        let socket = directory.path().join("s");
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_daemon_with_known_entropy",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("GITSEAL_TEST_SERVE", &socket)
            .env("GITSEAL_TEST_LINGER", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let known = Self {
            child,
            socket,
            _directory: directory,
        };
        within(Duration::from_secs(10), || {
            UnixStream::connect(&known.socket).is_ok()
        });
        known
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.socket, LIMITS).unwrap()
    }

    /// How often something of the key, and of the token, is in its memory.
    fn found(&self) -> (usize, usize) {
        let needles = forms();
        let memory = memory(self.child.id());
        let key = needles
            .iter()
            .map(|needle| count(&memory, needle))
            .sum::<usize>();
        (key, count(&memory, TOKEN.as_bytes()))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The private key as it can lie in memory: as drawn, big- and little-endian,
/// plain and in Montgomery form, and each half of these.
fn forms() -> Vec<Vec<u8>> {
    let drawn = KNOWN.map(|byte| byte ^ 0x20);
    let scalar = Option::<Scalar>::from(Scalar::from_repr(drawn.into())).unwrap();
    let mut montgomery = scalar;
    for _ in 0..256 {
        montgomery = montgomery + montgomery;
    }
    let mut all = Vec::new();
    for form in [drawn.to_vec(), montgomery.to_repr().to_vec()] {
        let reversed: Vec<u8> = form.iter().rev().copied().collect();
        for bytes in [form, reversed] {
            all.push(bytes[..16].to_vec());
            all.push(bytes[16..].to_vec());
        }
    }
    all
}

/// All that is readable and writable of a process.
fn memory(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let start = u64::from_str_radix(start, 16).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        let mut part = vec![0; (end - start) as usize];
        if file.read_exact_at(&mut part, start).is_ok() {
            all.extend_from_slice(&part);
        }
    }
    all
}

fn count(memory: &[u8], needle: &[u8]) -> usize {
    let first = needle[0];
    let mut found = 0;
    for (place, byte) in memory.iter().enumerate() {
        if *byte == first && memory[place..].starts_with(needle) {
            found += 1;
        }
    }
    found
}

/// A key that has signed, and a token that was kept and handed over.
fn used(known: &Known, seconds: u64) -> Connection {
    let mut connection = known.connect();
    let alice = scope("alice@example.test");
    let (key, _) = credential(&mut connection, &alice, seconds);
    for number in 0..5 {
        connection.sign(key, [number; 32]).unwrap();
    }
    let end = wall() + seconds;
    connection
        .keep_token(&alice, TokenKind::Identity, TOKEN, end)
        .unwrap();
    connection
        .token(&alice, TokenKind::Identity)
        .unwrap()
        .unwrap();
    connection
}

#[test]
fn d8_memory_after_clear_does_not_hold_the_key() {
    let known = Known::start();
    let mut connection = used(&known, 600);
    let (key, token) = known.found();
    // The search can find: both halves of the one copy that is needed, no more.
    assert_eq!((key, token), (2, 1), "before");
    assert_eq!(connection.clear().unwrap(), 2);
    assert_eq!(known.found(), (0, 0), "after `clear`");
}

#[test]
fn d8_memory_after_forget_does_not_hold_the_key() {
    let known = Known::start();
    let mut connection = used(&known, 600);
    assert_eq!(known.found(), (2, 1), "before");
    assert!(connection.forget(&scope("alice@example.test")).unwrap());
    assert_eq!(known.found(), (0, 0), "after `forget`");
}

#[test]
fn d8_memory_after_expiry_does_not_hold_the_key() {
    let known = Known::start();
    let _connection = used(&known, 3);
    assert_eq!(known.found(), (2, 1), "before");
    // By itself: nobody asks for anything.
    within(Duration::from_secs(10), || known.found() == (0, 0));
}

#[test]
fn d8_memory_after_sigterm_does_not_hold_the_key() {
    let known = Known::start();
    let _connection = used(&known, 600);
    assert_eq!(known.found(), (2, 1), "before");
    let pid = known.child.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    within(Duration::from_secs(10), || !known.socket.exists());
    within(Duration::from_secs(10), || known.found() == (0, 0));
}

#[test]
fn d8_a_leader_that_dies_leaves_no_key() {
    let known = Known::start();
    let mut connection = known.connect();
    lead(&mut connection, &scope("a"));
    assert_eq!(known.found().0, 2);
    drop(connection);
    within(Duration::from_secs(10), || known.found() == (0, 0));
}

#[test]
fn d8_no_core_no_dump_locked_memory() {
    // As somebody who is not root: then the files of an undumpable process in
    // /proc belong to root and not to its user.
    let root = rustix::process::geteuid().is_root();
    let public = tempfile::tempdir().unwrap();
    let program = public.path().join("daemon");
    fs::copy(PROGRAM, &program).unwrap();
    let home = private_directory();
    if root {
        std::os::unix::fs::chown(home.path(), Some(65534), Some(65534)).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let socket = home.path().join("s");
    let mut command = Command::new(&program);
    command
        .arg("--socket")
        .arg(&socket)
        .stderr(Stdio::null())
        .current_dir("/");
    if root {
        command.uid(65534).gid(65534);
    }
    let mut child = command.spawn().unwrap();
    within(Duration::from_secs(10), || socket.exists());
    let proc = format!("/proc/{}", child.id());
    assert_eq!(fs::metadata(format!("{proc}/environ")).unwrap().uid(), 0);
    let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.contains("core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let locked = status
        .lines()
        .find(|line| line.starts_with("VmLck:"))
        .unwrap();
    println!("{locked}");
    assert_ne!(locked.split_whitespace().nth(1), Some("0"), "{locked}");

    if root {
        // The same user is refused the memory.
        let output = Command::new("head")
            .args(["-c", "1", &format!("{proc}/environ")])
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        assert!(!output.status.success(), "the same user reads it");
    }
    let pid = child.id().to_string();
    Command::new("kill")
        .args(["-s", "ABRT", &pid])
        .status()
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped());
}

#[test]
fn d8_without_a_limit_to_lock_under_it_says_so_once() {
    let daemon = Daemon::start_with(&[], |_| {});
    assert_eq!(
        daemon.connect().daemon().locked,
        !daemon.stderr().contains("cannot be locked")
    );
    drop(daemon);
    if rustix::process::geteuid().is_root() {
        println!("skipped: the limit does not bind root");
        return;
    }
    let directory = private_directory();
    let socket = directory.path().join("s");
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -l 0; exec \"$0\" --socket \"$1\"", PROGRAM])
        .arg(&socket)
        .stderr(File::create(directory.path().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    within(Duration::from_secs(10), || socket.exists());
    let said = fs::read_to_string(directory.path().join("stderr")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said.matches("memory cannot be locked").count(), 1, "{said}");
}
