//! `--confirm`: a person is asked before each signature, through a program or on
//! a terminal, and meanwhile everybody else is served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemon;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use daemon::*;
use gitseal_credential_cache::client::{self, ClientError, Connection, Refusal};
use gitseal_credential_cache::protocol::{Request, Response};

/// An askpass program that writes down what it was asked, then does as told.
fn program(directory: &tempfile::TempDir, then: &str) -> PathBuf {
    let path = directory.path().join("askpass");
    let log = directory.path().join("asked");
    let script = format!(
        "#!/bin/sh\nprintf '%s|%s\\n' \"$SSH_ASKPASS_PROMPT\" \"$1\" >>{}\n{then}\n",
        log.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn asked(directory: &tempfile::TempDir) -> Vec<String> {
    fs::read_to_string(directory.path().join("asked"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn daemon_with(directory: &tempfile::TempDir, confirm: &str, then: &str) -> Daemon {
    let askpass = program(directory, then);
    Daemon::start(&[confirm, "--askpass", askpass.to_str().unwrap()])
}

#[test]
fn each_signature_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm", "exit 0");
    let mut connection = daemon.connect();
    assert!(connection.daemon().confirms);
    let (key, public) = credential(&mut connection, &scope("alice@example.test"), 600);
    for number in 1..=2 {
        let signature = connection.sign(key, [number; 32]).unwrap();
        assert!(verifies(&public, &[number; 32], &signature));
    }
    let asked = asked(&directory);
    assert_eq!(asked.len(), 2, "{asked:?}");
    for part in [
        "confirm|",
        "alice@example.test",
        "0101010101010101",
        "on this machine",
    ] {
        assert!(asked[0].contains(part), "{part}: {asked:?}");
    }
    assert!(asked[0].contains(&std::process::id().to_string()));
}

#[test]
fn a_yes_may_hold_for_the_same_process() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm=60", "echo yes");
    let mut connection = daemon.connect();
    let (key, _) = credential(&mut connection, &scope("a"), 600);
    for _ in 0..20 {
        daemon.connect().sign(key, [1; 32]).unwrap();
    }
    assert_eq!(asked(&directory).len(), 1);
}

#[test]
fn a_no_is_a_refusal() {
    for then in [
        "exit 1",
        "echo no; exit 0",
        "kill -9 $$",
        "head -c 100000 /dev/zero",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let daemon = daemon_with(&directory, "--confirm=60", then);
        let mut connection = daemon.connect();
        let (key, _) = credential(&mut connection, &scope("a"), 600);
        for _ in 0..2 {
            let refused = connection.sign(key, [1; 32]);
            assert!(
                matches!(refused, Err(ClientError::Refused(Refusal::Denied))),
                "{then}: {refused:?}"
            );
        }
        assert_eq!(asked(&directory).len(), 2, "a no holds for nothing");
    }
    // A program that is not there says no as well.
    let daemon = Daemon::start(&["--confirm", "--askpass", "/nowhere/askpass"]);
    let mut connection = daemon.connect();
    let (key, _) = credential(&mut connection, &scope("a"), 600);
    let refused = connection.sign(key, [1; 32]);
    assert!(matches!(
        refused,
        Err(ClientError::Refused(Refusal::Denied))
    ));
}

#[test]
fn the_others_are_served_while_a_person_thinks() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm", "sleep 2");
    let mut connection = daemon.connect();
    let (key, _) = credential(&mut connection, &scope("a"), 600);
    let signer = thread::spawn(move || {
        let begun = Instant::now();
        connection.sign(key, [1; 32]).unwrap();
        begun.elapsed()
    });
    within(Duration::from_secs(5), || !asked(&directory).is_empty());
    let begun = Instant::now();
    let mut other = daemon.connect();
    for _ in 0..20 {
        other.status().unwrap();
    }
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    assert!(signer.join().unwrap() >= Duration::from_secs(2));
}

#[test]
fn the_question_ends_with_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm", "exec sleep 30");
    let mut connection = daemon.connect();
    let (key, _) = credential(&mut connection, &scope("a"), 600);
    let children = || {
        let output = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &daemon.pid().to_string()])
            .output()
            .unwrap();
        output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|l| !l.is_empty())
            .count()
    };
    let mut far = Far::open(&daemon.socket);
    far.send(&Request::Sign {
        key,
        digest: [1; 32],
    });
    within(Duration::from_secs(5), || asked(&directory).len() == 1);
    // It is told that this may come from elsewhere.
    assert!(asked(&directory)[0].contains("a forwarded socket?"));
    assert_eq!(children(), 1);
    drop(far);
    within(Duration::from_secs(5), || children() == 0);
}

#[test]
fn expired_while_the_person_thought() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm", "sleep 3");
    let mut connection = daemon.connect();
    let (key, _) = credential(&mut connection, &scope("a"), 2);
    let mut far = Far::open(&daemon.socket);
    let answer = far.ask(&Request::Sign {
        key,
        digest: [1; 32],
    });
    assert_eq!(answer, Response::Refused(Refusal::Expired));
}

#[test]
fn on_the_terminal_it_was_started_from() {
    // script(1) makes the terminal; the answers come through it.
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: no script(1)");
        return;
    }
    let directory = private_directory();
    let socket = directory.path().join("s");
    let line = format!("exec {PROGRAM} --confirm --socket {}", socket.display());
    let mut terminal = Command::new("script")
        .args(["-qfec", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(fs::File::create(directory.path().join("screen")).unwrap())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut keyboard = terminal.stdin.take().unwrap();
    within(Duration::from_secs(10), || socket.exists());
    let open = || Connection::open(&socket, LIMITS).unwrap();
    let screen = || fs::read_to_string(directory.path().join("screen")).unwrap();
    let (key, _) = credential(&mut open(), &scope("alice@example.test"), 600);
    for (number, (answer, granted)) in [("yes\n", true), ("no\n", false), ("\n", false)]
        .into_iter()
        .enumerate()
    {
        let mut connection = open();
        let signer = thread::spawn(move || connection.sign(key, [1; 32]));
        within(Duration::from_secs(10), || {
            screen().matches("[yes/no]").count() == number + 1
        });
        use std::io::Write;
        keyboard.write_all(answer.as_bytes()).unwrap();
        keyboard.flush().unwrap();
        match signer.join().unwrap() {
            Ok(_) => assert!(granted, "{answer:?}"),
            Err(ClientError::Refused(Refusal::Denied)) => assert!(!granted, "{answer:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(screen().contains("alice@example.test"));
    open().stop().unwrap();
    drop(keyboard);
    terminal.wait().unwrap();
}

/// A job in the background cannot read from its terminal: it asks through a
/// program, or does not start.
#[test]
fn in_the_background_of_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: no script(1)");
        return;
    }
    let directory = private_directory();
    let socket = directory.path().join("s");
    let askpass = program(&directory, "exit 0");
    let job = |askpass: &str| {
        let line = format!(
            "set -m; {askpass} {PROGRAM} --confirm --idle-timeout 20 --socket {} & wait $!; echo status $?",
            socket.display()
        );
        Command::new("script")
            .args(["-qfec", &line, "/dev/null"])
            .env_remove("SSH_ASKPASS")
            .env("SHELL", "/bin/sh")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let said = String::from_utf8(job("").wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("status 1"), "{said}");
    assert!(said.contains("a job in the background"), "{said}");
    assert!(said.contains("--askpass PROGRAM"), "{said}");
    assert!(!socket.exists());

    let terminal = job(&format!("SSH_ASKPASS={}", askpass.display()));
    within(Duration::from_secs(10), || {
        Connection::open(&socket, LIMITS).is_ok()
    });
    let mut connection = Connection::open(&socket, LIMITS).unwrap();
    let (key, public) = credential(&mut connection, &scope("a"), 600);
    let signature = connection.sign(key, [1; 32]).unwrap();
    assert!(verifies(&public, &[1; 32], &signature));
    assert_eq!(asked(&directory).len(), 1);
    connection.stop().unwrap();
    let said = String::from_utf8(terminal.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("status 0"), "{said}");
}

#[test]
fn with_nobody_to_ask_it_does_not_start() {
    let directory = private_directory();
    let output = Command::new("setsid")
        .args(["--wait", PROGRAM, "--confirm", "--socket"])
        .arg(directory.path().join("s"))
        .env_remove("SSH_ASKPASS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nobody to ask"), "{said}");
}

/// An `ssh -R` forward outlives the daemon behind it: what comes to its place
/// must not be one that asks nobody.
#[test]
fn one_that_asked_is_not_replaced_by_one_that_does_not() {
    let patience = Duration::from_secs(10);
    for end in ["KILL", "TERM"] {
        let mut daemon = Daemon::start(&["--confirm", "--askpass", "/bin/true"]);
        daemon.signal(end);
        daemon.ended(patience);
        let socket = daemon.socket.clone();
        for _ in 0..2 {
            let started = client::start(PROGRAM.as_ref(), &socket, patience);
            assert!(
                matches!(&started, Err(ClientError::Asks(at)) if *at == socket),
                "{started:?}"
            );
        }
        // Nor by the program itself, as gitseal calls it.
        let (status, said) = run(&["--detach", "--socket", socket.to_str().unwrap()]);
        assert_eq!(status.code(), Some(client::ASKED_BEFORE), "{said}");
        assert!(said.contains("asks before each signature"), "{said}");
        assert!(matches!(
            Connection::open(&socket, LIMITS),
            Err(ClientError::Absent(_))
        ));
        // It comes again by hand.
        let mut again = on(&socket, &["--confirm", "--askpass", "/bin/true"]);
        assert!(Connection::open(&socket, LIMITS).unwrap().daemon().confirms);
        again.kill().unwrap();
        again.wait().unwrap();
        assert!(client::start(PROGRAM.as_ref(), &socket, patience).is_err());
        // By hand and without --confirm, the place is as any other.
        let mut plain = on(&socket, &[]);
        plain.kill().unwrap();
        plain.wait().unwrap();
        client::start(PROGRAM.as_ref(), &socket, patience).unwrap();
        let mut connection = Connection::open(&socket, LIMITS).unwrap();
        assert!(!connection.daemon().confirms);
        connection.stop().unwrap();
    }
}

/// A daemon that serves this socket.
fn on(socket: &std::path::Path, options: &[&str]) -> std::process::Child {
    let child = Command::new(PROGRAM)
        .args(options)
        .arg("--socket")
        .arg(socket)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    within(Duration::from_secs(10), || {
        Connection::open(socket, LIMITS).is_ok_and(|open| open.daemon().pid == child.id())
    });
    child
}
