//! D8: the key leaves the process's memory when it is cleared, forgotten, has
//! expired or the process ends, and no core image is made of it.
//!
//! The daemon searched here has entropy that the test knows.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};

use gitseal_credential_cache::client::{Connection, TokenKind};
use p256::Scalar;
use p256::elliptic_curve::PrimeField;

use crate::daemon::*;

const TOKEN: &str = "a-token-that-is-searched-for-in-memory";

/// Counts the parts of the key, and of the token, in the memory of a daemon.
fn found(daemon: &Daemon) -> (usize, usize) {
    let memory = memory(daemon.pid());
    let key = forms().iter().map(|needle| count(&memory, needle)).sum();
    (key, count(&memory, TOKEN.as_bytes()))
}

/// Returns the private key as it can appear in memory: as drawn, big- and little-endian,
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

/// Returns all readable and writable memory of a process.
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

/// Makes a key that has signed, and a token that was kept and returned.
fn used(daemon: &Daemon, seconds: u64) -> Connection {
    let mut connection = daemon.connect();
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
    // The search can find: both halves of the one copy that is needed, no more.
    assert_eq!(found(daemon), (2, 1), "before");
    connection
}

#[test]
fn d8_memory_after_clear_does_not_hold_the_key() {
    let daemon = Daemon::controlled(None);
    let mut connection = used(&daemon, 600);
    assert_eq!(connection.clear().unwrap(), 2);
    assert_eq!(found(&daemon), (0, 0), "after `clear`");
}

#[test]
fn d8_memory_after_forget_does_not_hold_the_key() {
    let daemon = Daemon::controlled(None);
    let mut connection = used(&daemon, 600);
    assert!(connection.forget(&scope("alice@example.test")).unwrap());
    assert_eq!(found(&daemon), (0, 0), "after `forget`");
}

#[test]
fn d8_memory_after_expiry_does_not_hold_the_key() {
    let daemon = Daemon::controlled(None);
    let _connection = used(&daemon, 3);
    // By itself, without a request.
    within(PATIENCE, || found(&daemon) == (0, 0));
}

#[test]
fn d8_memory_after_sigterm_does_not_hold_the_key() {
    let daemon = Daemon::controlled(None);
    let _connection = used(&daemon, 600);
    daemon.signal("TERM");
    within(PATIENCE, || !daemon.socket.exists());
    within(PATIENCE, || found(&daemon) == (0, 0));
}

#[test]
fn d8_a_client_that_dies_during_its_login_leaves_no_key() {
    let daemon = Daemon::controlled(None);
    let mut connection = daemon.connect();
    start_login(&mut connection, &scope("a"));
    assert_eq!(found(&daemon).0, 2);
    drop(connection);
    within(PATIENCE, || found(&daemon) == (0, 0));
}

/// Starts the daemon as a user that is not root, in a directory of that user.
fn unprivileged(line: &str) -> (tempfile::TempDir, Child) {
    let home = private_directory();
    let program = home.path().join("daemon");
    copy_program(PROGRAM.as_ref(), &program);
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .arg(&program)
        .arg(home.path().join("s"))
        .current_dir("/")
        .stderr(File::create(home.path().join("stderr")).unwrap());
    if root() {
        chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let child = command.spawn().unwrap();
    within(PATIENCE, || home.path().join("s").exists());
    (home, child)
}

#[test]
fn d8_no_core_no_dump_locked_memory() {
    // The files of an undumpable process in /proc belong to root and not to its
    // user.
    let (_home, mut child) = unprivileged("exec \"$0\" --socket \"$1\"");
    let proc = format!("/proc/{}", child.id());
    assert_eq!(fs::metadata(format!("{proc}/environ")).unwrap().uid(), 0);
    let value = |file: &str, name: &str, column: usize| {
        let content = fs::read_to_string(format!("{proc}/{file}")).unwrap();
        let line = content.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace().nth(column).unwrap().to_owned()
    };
    assert_eq!(value("limits", "core file size", 4), "0");
    assert_ne!(value("status", "VmLck:", 1), "0");
    if root() {
        // The same user is refused the memory.
        let output = Command::new("head")
            .args(["-c", "1", &format!("{proc}/environ")])
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        assert!(!output.status.success(), "the same user reads it");
    }
    send_signal(child.id(), "ABRT");
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped());
}

#[test]
fn d8_without_a_limit_to_lock_under_it_warns_once() {
    let daemon = Daemon::start(&[]);
    assert_eq!(
        daemon.connect().daemon().locked,
        !daemon.stderr().contains("cannot be locked")
    );
    let (home, mut child) = unprivileged("ulimit -l 0; exec \"$0\" --socket \"$1\"");
    child.kill().unwrap();
    child.wait().unwrap();
    let said = fs::read_to_string(home.path().join("stderr")).unwrap();
    assert_eq!(said.matches("memory cannot be locked").count(), 1, "{said}");
}
