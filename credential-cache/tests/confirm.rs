//! `--confirm`: the user confirms each signature, through a program or on a
//! terminal, and in the meantime all other clients are served.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use crate::daemon::*;
use gitseal_credential_cache::client::{self, ClientError, Connection, RequestError};
use gitseal_credential_cache::protocol::CacheResponse;

/// Makes an askpass program that records its prompt and then runs a command.
fn program(directory: &tempfile::TempDir, then: &str) -> PathBuf {
    let path = directory.path().join("askpass");
    let log = directory.path().join("prompts");
    let script = format!(
        "#!/bin/sh\nprintf '%s|%s\\n' \"$SSH_ASKPASS_PROMPT\" \"$1\" >>{}\n{then}\n",
        log.display()
    );
    fs::write(&path, script).unwrap();
    set_mode(&path, 0o700);
    path
}

fn prompts(directory: &tempfile::TempDir) -> Vec<String> {
    fs::read_to_string(directory.path().join("prompts"))
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
fn each_signature_is_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm", "exit 0");
    let mut connection = daemon.connect();
    assert!(connection.daemon().confirms);
    let (key, public) = credential(&mut connection, &scope("alice@example.test"), 600);
    for number in 1..=2 {
        let signature = connection.sign(key, [number; 32]).unwrap();
        assert!(verifies(&public, &[number; 32], &signature));
    }
    let asked = prompts(&directory);
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
fn a_yes_may_be_remembered_for_the_same_process() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm=60", "echo yes");
    let (_connection, key) = daemon.credential();
    for _ in 0..20 {
        daemon.connect().sign(key, [1; 32]).unwrap();
    }
    assert_eq!(prompts(&directory).len(), 1);
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
        let (mut connection, key) = daemon.credential();
        for _ in 0..2 {
            let refused = connection.sign(key, [1; 32]);
            assert_fails!(refused, ClientError::Refused(RequestError::Denied));
        }
        // A no is remembered for the same process.
        let refused = daemon.connect().sign(key, [1; 32]);
        assert_fails!(refused, ClientError::Refused(RequestError::Denied));
        assert_eq!(prompts(&directory).len(), 1);
    }
    // A missing program is a no as well.
    let daemon = Daemon::start(&["--confirm", "--askpass", "/nowhere/askpass"]);
    let (mut connection, key) = daemon.credential();
    let refused = connection.sign(key, [1; 32]);
    assert_fails!(refused, ClientError::Refused(RequestError::Denied));
}

/// A request over a forwarded socket is on the screen and others wait: one of this
/// machine is next, and a no refuses all that the far side has asked.
#[test]
fn this_machine_does_not_wait_behind_a_forwarded_socket() {
    let directory = tempfile::tempdir().unwrap();
    let far_end = directory.path().join("far");
    // The first prompt is declined once all requests are there.
    let then = format!(
        "case \"$1\" in *forwarded*) until test -e {}; do sleep 0.01; done; exit 1;; esac",
        far_end.display()
    );
    let daemon = daemon_with(&directory, "--confirm", &then);
    let (_connection, key) = daemon.credential();
    let socket = daemon.socket.clone();
    let mut ssh = far_process(&socket, key, 3);
    within(PATIENCE, || prompts(&directory).len() == 1);
    let mut local = daemon.connect();
    let signer = thread::spawn(move || local.sign(key, [9; 32]));
    let waits = || daemon.connect().status().is_ok();
    within(PATIENCE, waits);
    assert!(!signer.is_finished());
    fs::write(&far_end, "").unwrap();
    signer.join().unwrap().unwrap();
    assert!(end_of(&mut ssh).success());
    let asked = prompts(&directory);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].contains("forwarded socket"), "{asked:?}");
    assert!(asked[1].contains("on this machine"), "{asked:?}");
}

/// Another process that asks for signatures without passing a descriptor.
fn far_process(socket: &std::path::Path, key: [u8; 16], requests: usize) -> std::process::Child {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    helper("confirm::far_side")
        .env("GITSEAL_TEST_SOCKET", socket)
        .env("GITSEAL_TEST_KEY", key)
        .env("GITSEAL_TEST_REQUESTS", requests.to_string())
        .spawn()
        .unwrap()
}

/// The process of [`far_process`]: succeeds if all its requests are denied.
#[test]
#[ignore = "started by other tests"]
fn far_side() {
    let value = |name| std::env::var(name).unwrap();
    let socket = PathBuf::from(value("GITSEAL_TEST_SOCKET"));
    let key = value("GITSEAL_TEST_KEY");
    let key: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let mut requests: Vec<Far> = (0..value("GITSEAL_TEST_REQUESTS").parse().unwrap())
        .map(|_| {
            let mut far = Far::open(&socket);
            far.send(&sign_request(key.clone().try_into().unwrap(), 1));
            far
        })
        .collect();
    for far in &mut requests {
        let denied = CacheResponse::Refused(RequestError::Denied);
        assert_eq!(far.receive(), denied);
    }
}

/// Waits until the user has answered: until this file exists.
fn slowly(directory: &tempfile::TempDir) -> (PathBuf, String) {
    let answered = directory.path().join("answered");
    let wait = format!("until test -e {}; do sleep 0.01; done", answered.display());
    (answered, wait)
}

#[test]
fn other_clients_are_served_during_a_prompt() {
    let directory = tempfile::tempdir().unwrap();
    let (answered, wait) = slowly(&directory);
    let daemon = daemon_with(&directory, "--confirm", &wait);
    let (mut connection, key) = daemon.credential();
    let signer = thread::spawn(move || connection.sign(key, [1; 32]));
    within(PATIENCE, || !prompts(&directory).is_empty());
    let mut other = daemon.connect();
    for _ in 0..20 {
        other.status().unwrap();
    }
    assert!(!signer.is_finished());
    fs::write(answered, "").unwrap();
    signer.join().unwrap().unwrap();
}

#[test]
fn the_prompt_ends_with_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory, "--confirm", "exec sleep 30");
    let (_connection, key) = daemon.credential();
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
    far.send(&sign_request(key, 1));
    within(PATIENCE, || prompts(&directory).len() == 1);
    assert!(prompts(&directory)[0].contains("possibly over a forwarded socket"));
    assert_eq!(children(), 1);
    drop(far);
    within(PATIENCE, || children() == 0);
}

#[test]
fn a_certificate_may_expire_during_the_prompt() {
    let directory = tempfile::tempdir().unwrap();
    let (answered, wait) = slowly(&directory);
    let daemon = Daemon::controlled(Some(&program(&directory, &wait)));
    let (key, _) = credential(&mut daemon.connect(), &scope("a"), 30);
    let mut far = Far::open(&daemon.socket);
    far.send(&sign_request(key, 1));
    within(PATIENCE, || !prompts(&directory).is_empty());
    daemon.advance(31);
    fs::write(answered, "").unwrap();
    let expired = CacheResponse::Refused(RequestError::Expired);
    assert_eq!(far.receive(), expired);
}

#[test]
fn on_the_terminal_it_was_started_from() {
    // script(1) makes the terminal; the answers come through it.
    if Command::new("script").arg("--version").output().is_err() {
        skip!("script(1) is not installed");
    }
    on_a_terminal([("yes\n", true), ("no\n", false)]);
    on_a_terminal([("yes\n", true), ("\n", false)]);
}

fn on_a_terminal(answers: [(&str, bool); 2]) {
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
    within(PATIENCE, || socket.exists());
    let open = || Connection::open(&socket, TIMEOUTS).unwrap();
    let screen = || fs::read_to_string(directory.path().join("screen")).unwrap();
    let (key, _) = credential(&mut open(), &scope("alice@example.test"), 600);
    for (number, (answer, granted)) in answers.into_iter().enumerate() {
        let mut connection = open();
        let signer = thread::spawn(move || connection.sign(key, [1; 32]));
        within(PATIENCE, || {
            screen().matches("[yes/no]").count() == number + 1
        });
        use std::io::Write;
        keyboard.write_all(answer.as_bytes()).unwrap();
        keyboard.flush().unwrap();
        match signer.join().unwrap() {
            Ok(_) => assert!(granted, "{answer:?}"),
            Err(ClientError::Refused(RequestError::Denied)) => assert!(!granted, "{answer:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(screen().contains("alice@example.test"));
    open().stop().unwrap();
    drop(keyboard);
    terminal.wait().unwrap();
}

/// A background job cannot read from its terminal: it prompts through a program,
/// or does not start.
#[test]
fn in_the_background_of_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        skip!("script(1) is not installed");
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
    assert!(said.contains("a background job"), "{said}");
    assert!(said.contains("--askpass PROGRAM"), "{said}");
    assert!(!socket.exists());

    let terminal = job(&format!("SSH_ASKPASS={}", askpass.display()));
    within(PATIENCE, || Connection::open(&socket, TIMEOUTS).is_ok());
    let mut connection = Connection::open(&socket, TIMEOUTS).unwrap();
    let (key, public) = credential(&mut connection, &scope("a"), 600);
    let signature = connection.sign(key, [1; 32]).unwrap();
    assert!(verifies(&public, &[1; 32], &signature));
    assert_eq!(prompts(&directory).len(), 1);
    connection.stop().unwrap();
    let said = String::from_utf8(terminal.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("status 0"), "{said}");
}

#[test]
fn without_a_way_to_prompt_it_does_not_start() {
    let directory = private_directory();
    let output = Command::new("setsid")
        .args(["--wait", PROGRAM, "--confirm", "--socket"])
        .arg(directory.path().join("s"))
        .env_remove("SSH_ASKPASS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("needs a terminal or an askpass program"),
        "{said}"
    );
}

/// An `ssh -R` forward outlives the daemon behind it: the next one at its path
/// must not sign without confirmation.
#[test]
fn a_daemon_with_confirm_is_not_replaced_by_one_without() {
    for end in ["KILL", "TERM"] {
        let mut daemon = Daemon::start(&["--confirm", "--askpass", "/bin/true"]);
        daemon.signal(end);
        daemon.ended();
        let socket = daemon.socket.clone();
        for _ in 0..2 {
            let started = start(&socket);
            assert!(
                matches!(&started, Err(ClientError::ConfirmRequired(at)) if *at == socket),
                "{started:?}"
            );
        }
        // Nor by the program itself, as gitseal calls it.
        let (status, said) = run(&["--detach", "--socket", socket.to_str().unwrap()]);
        assert_eq!(status.code(), Some(client::EXIT_CONFIRM_REQUIRED), "{said}");
        assert!(said.contains("had --confirm"), "{said}");
        assert_fails!(Connection::open(&socket, TIMEOUTS), ClientError::Absent(_));
        // It can be started again by hand.
        let mut again = daemon.again(&["--confirm", "--askpass", "/bin/true"]);
        assert!(again.connect().daemon().confirms);
        again.kill();
        assert!(start(&socket).is_err());
        // By hand and without --confirm, the path is like any other.
        let mut plain = again.again(&[]);
        plain.kill();
        start(&socket).unwrap();
        let mut connection = Connection::open(&socket, TIMEOUTS).unwrap();
        assert!(!connection.daemon().confirms);
        connection.stop().unwrap();
    }
}
