//! The guarantees of a holder of keys, attack by attack; D8 (time and memory) is
//! in `memory.rs`, and the rest of D7 in `overload.rs`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::*;
use gitseal_credential_cache::client::{
    self, ClientError, ClientTimeouts, Connection, RequestError, TokenKind,
};
use gitseal_credential_cache::protocol::{CacheRequest, CacheResponse, Secret};
use gitseal_credential_cache::socket_path::{MAX_PATH, SocketPathError};
use rustix::fs::FlockOperation;

#[test]
fn d1_an_open_or_foreign_directory_is_refused() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    for mode in [0o777, 0o750, 0o701, 0o1777] {
        set_mode(directory.path(), mode);
        let said = refused(&socket, &format!("(mode {mode:04o})"));
        assert!(said.contains("hint: chmod 700"), "{said}");
    }
    set_mode(directory.path(), 0o700);
    let foreign = if root() {
        chown(directory.path(), Some(NOBODY), None).unwrap();
        socket.clone()
    } else {
        "/gitseal-test-socket".into()
    };
    refused(&foreign, "belongs to user");
    assert!(!socket.exists());
}

#[test]
fn d1_a_client_does_not_speak_in_an_open_directory() {
    let daemon = Daemon::start(&[]);
    set_mode(daemon.directory.path(), 0o777);
    assert_fails!(
        Connection::open(&daemon.socket, TIMEOUTS),
        ClientError::Unsafe(SocketPathError::Open { mode: 0o777, .. })
    );
}

#[test]
fn d2_the_socket_is_never_open_to_others() {
    // With any umask, as soon as it is visible, under any name.
    let directory = private_directory();
    let socket = directory.path().join("s");
    let mut child = Command::new("sh")
        .args(["-c", "umask 000; exec \"$0\" --socket \"$1\"", PROGRAM])
        .arg(&socket)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = 0;
    let begun = Instant::now();
    while !socket.exists() || seen < 1000 {
        for entry in fs::read_dir(directory.path()).unwrap().flatten() {
            if let Ok(facts) = entry.metadata() {
                let mode = facts.mode() & 0o777;
                assert_eq!(mode & 0o077, 0, "{:?} has {mode:04o}", entry.path());
                seen += 1;
            }
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn d3_a_second_daemon_is_refused() {
    let daemon = Daemon::start(&[]);
    let mut first = daemon.connect();
    let (status, said) = run(&["--socket", daemon.socket.to_str().unwrap()]);
    assert_eq!(status.code(), Some(client::EXIT_ALREADY_RUNNING));
    assert!(said.contains("a credential cache already serves"), "{said}");
    // The first one still has its socket.
    first.status().unwrap();
    assert_eq!(daemon.connect().daemon().pid, daemon.pid());
}

/// `sudo -E`: the home is another user's, who could not use what root made.
#[test]
fn d1_nothing_is_made_in_another_users_home() {
    if !root() {
        not_applicable!("only root can make a home for another user");
    }
    let home = private_directory();
    chown(home.path(), Some(NOBODY), None).unwrap();
    let socket = home.path().join(".cache/gitseal/cache.sock");
    refused(&socket, "belongs to user");
    let started = start(&socket);
    assert_fails!(
        started,
        ClientError::Unsafe(SocketPathError::Foreign { .. })
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn d3_a_foreign_listener_is_not_replaced() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    let _listener = UnixListener::bind(&socket).unwrap();
    let before = fs::symlink_metadata(&socket).unwrap().ino();
    refused(&socket, "another program listens");
    assert_eq!(fs::symlink_metadata(&socket).unwrap().ino(), before);
}

#[test]
fn d3_a_stale_socket_is_replaced() {
    let mut daemon = Daemon::start(&[]);
    daemon.kill();
    assert!(daemon.socket.exists(), "kill -9 leaves it behind");
    assert_fails!(
        Connection::open(&daemon.socket, TIMEOUTS),
        ClientError::Absent(_)
    );
    start(&daemon.socket).unwrap();
    daemon.connect().stop().unwrap();
}

#[test]
fn d3_a_daemon_whose_socket_is_removed_ends() {
    // Its keys would be out of reach of `clear`.
    let mut daemon = Daemon::controlled(None);
    let mut connection = daemon.connect();
    credential(&mut connection, &scope("a"), 600);
    fs::remove_file(&daemon.socket).unwrap();
    daemon.advance(60);
    let _ = connection.status(); // it looks at the clock
    assert!(daemon.ended().success());
}

#[test]
fn d4_a_process_of_another_user_is_hung_up_on() {
    if !root() {
        not_applicable!("only root can be another user");
    }
    let daemon = Daemon::start(&[]);
    // As if the directory did not protect it.
    set_mode(daemon.directory.path(), 0o777);
    set_mode(&daemon.socket, 0o777);
    let public = tempfile::tempdir().unwrap();
    set_mode(public.path(), 0o755);
    let program = public.path().join("test");
    copy_program(&std::env::current_exe().unwrap(), &program);
    let output = helper_at(&program, "guarantees::d4_helper")
        .env("GITSEAL_TEST_SOCKET", &daemon.socket)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("heard 0 bytes"), "{said}");
    within(PATIENCE, || {
        daemon
            .stderr()
            .contains("connection refused: a process of user 65534")
    });
    // Conversely, a client does not speak to another user's daemon.
    chown(&daemon.socket, Some(NOBODY), None).unwrap();
    assert_fails!(
        Connection::open(&daemon.socket, TIMEOUTS),
        ClientError::Unsafe(SocketPathError::Foreign { owner: NOBODY, .. })
    );
}

/// The process of another user in the test above.
#[test]
#[ignore = "started by other tests"]
fn d4_helper() {
    let socket = std::env::var_os("GITSEAL_TEST_SOCKET").unwrap();
    let mut stream = dial(Path::new(&socket));
    let _ = stream.write_all(&[0, 0, 0, 2, 1, 8]);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    println!("heard {} bytes", heard.len());
}

#[test]
fn d5_only_a_socket_of_ours_is_at_the_path() {
    let directory = private_directory();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    symlink(at("elsewhere"), at("dangling")).unwrap();
    let real = Daemon::start(&[]);
    symlink(&real.socket, at("link")).unwrap();
    for name in ["file", "dangling", "link"] {
        refused(&at(name), "is not a socket");
        assert_fails!(
            Connection::open(&at(name), TIMEOUTS),
            ClientError::Unsafe(SocketPathError::NotASocket(_))
        );
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
    assert!(!at("elsewhere").exists());

    // A link in place of the directory, for both.
    symlink(real.directory.path(), at("dir")).unwrap();
    refused(&at("dir/new"), "is not a directory");
    assert_fails!(
        Connection::open(&at("dir/s"), TIMEOUTS),
        ClientError::Unsafe(SocketPathError::NotADirectory(_))
    );

    // A link in place of the lock file.
    symlink(at("file"), at("t.lock")).unwrap();
    refused(&at("t"), "t.lock: ");
}

#[test]
fn d5_a_long_path_is_named() {
    let directory = private_directory();
    let used = directory.path().as_os_str().len() + 1;
    let longest = directory.path().join("s".repeat(MAX_PATH - used));
    start(&longest).unwrap();
    Connection::open(&longest, TIMEOUTS)
        .unwrap()
        .stop()
        .unwrap();

    let longer = directory.path().join("s".repeat(MAX_PATH - used + 1));
    refused(&longer, &format!("the limit for a socket is {MAX_PATH}"));
    assert_fails!(
        start(&longer),
        ClientError::Unsafe(SocketPathError::TooLong { .. })
    );
}

#[test]
fn d6_no_answer_holds_the_key() {
    // Every request that returns data, and all bytes that come back: no 32 of
    // them are a private key whose public key is this one.
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let alice = scope("alice@example.test");
    let (key, public) = credential(&mut connection, &alice, 600);
    let mut far = Far::open(&daemon.socket);
    let mut heard = Vec::new();
    for request in [
        CacheRequest::Find {
            scope: alice.clone(),
            min_left: 0,
        },
        acquire_request(&alice, 0),
        sign_request(key, 3),
        CacheRequest::Status,
        CacheRequest::Token {
            scope: alice.clone(),
            kind: TokenKind::Refresh,
        },
    ] {
        heard.extend_from_slice(&far.ask(&request).print().unwrap());
    }
    assert!(heard.len() > 400);
    for window in heard.windows(32) {
        if let Ok(secret) = p256::SecretKey::from_slice(window) {
            use p256::pkcs8::EncodePublicKey;
            let its = secret.public_key().to_public_key_der().unwrap();
            assert_ne!(its.as_bytes(), public);
        }
    }
}

#[test]
fn d7_garbage_and_giant_claims_end_their_connection_alone() {
    let daemon = Daemon::start(&[]);
    let mut honest = daemon.connect();
    let mut payloads: Vec<Vec<u8>> = vec![
        vec![0x40, 0, 0, 0], // a gigabyte
        vec![0xff; 64],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 1, 1],
        vec![0, 0, 0, 2, 9, 8],    // another version
        vec![0, 0, 0, 2, 1, 0x77], // no such kind
        vec![0, 0, 0, 2, 1, 5],    // a status before the greeting
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    payloads.push([&[0, 0, 0xff, 0xff, 1, 8][..], &[0; 0xfffd]].concat());
    for payload in payloads {
        let mut stream = dial(&daemon.socket);
        let _ = stream.write_all(&payload);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        if !heard.is_empty() {
            let answer = CacheResponse::parse(heard.get(4..).unwrap()).unwrap();
            let CacheResponse::Refused(refusal) = answer else {
                panic!("{answer:?}");
            };
            let other_version = payload.get(4) == Some(&9);
            assert_eq!(refusal == RequestError::Version, other_version);
        }
        honest.status().unwrap();
    }
}

#[test]
fn d7_half_a_frame_has_five_seconds() {
    let daemon = Daemon::controlled(None);
    let mut half = Far::open(&daemon.socket).0;
    half.write_all(&[0, 0, 0, 40, 1]).unwrap();
    let mut silent = dial(&daemon.socket);
    daemon.connect().status().unwrap();
    daemon.advance(3);
    daemon.connect().status().unwrap();
    for stream in [&mut half, &mut silent] {
        stream.set_nonblocking(true).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
    }
    daemon.advance(3);
    for stream in [&mut half, &mut silent] {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn d9_the_far_end_of_a_forwarded_socket_may_only_find_and_sign() {
    let daemon = Daemon::start(&[]);
    let mut near = daemon.connect();
    let alice = scope("alice@example.test");
    let mut far = Far::open(&daemon.socket);
    let acquire = acquire_request(&alice, 0);
    let far_away = CacheResponse::Refused(RequestError::FarAway);
    // No login there.
    assert_eq!(far.ask(&acquire), far_away);
    near.keep_token(&alice, TokenKind::Identity, "e30.e30.e30", wall() + 600)
        .unwrap();
    let (key, public) = credential(&mut near, &alice, 600);

    assert!(matches!(far.ask(&acquire), CacheResponse::Found { .. }));
    let CacheResponse::Signature(signature) = far.ask(&sign_request(key, 9)) else {
        panic!("expected a signature");
    };
    assert!(verifies(&public, &[9; 32], &signature));

    for request in [
        CacheRequest::Token {
            scope: alice.clone(),
            kind: TokenKind::Identity,
        },
        CacheRequest::KeepToken {
            scope: alice.clone(),
            kind: TokenKind::Identity,
            token: Secret::new("planted"),
            expires: wall() + 600,
        },
        CacheRequest::Store {
            key,
            chain: vec![leaf(&public, wall(), wall() + 60)],
        },
        CacheRequest::Fail {
            key,
            reason: "no".into(),
        },
        CacheRequest::Forget(alice.clone()),
        CacheRequest::Clear,
        CacheRequest::Stop,
    ] {
        assert_eq!(far.ask(&request), far_away, "{request:?}");
    }
    let token = near.token(&alice, TokenKind::Identity).unwrap().unwrap();
    assert_eq!(*token, "e30.e30.e30");
}

#[test]
fn d9_through_a_real_forwarder_a_client_is_far_away() {
    // Bytes are copied, as ssh does; descriptors stay behind.
    let daemon = Daemon::start(&[]);
    let alice = scope("alice@example.test");
    let (key, _) = credential(&mut daemon.connect(), &alice, 600);
    let directory = private_directory();
    let path = directory.path().join("f");
    let listener = UnixListener::bind(&path).unwrap();
    let target = daemon.socket.clone();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let daemon = UnixStream::connect(target).unwrap();
        let (mut a, mut b) = (client.try_clone().unwrap(), daemon.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut a, &mut b));
        let (mut a, mut b) = (client, daemon);
        let _ = std::io::copy(&mut b, &mut a);
    });
    let mut far = Connection::open(&path, TIMEOUTS).unwrap();
    far.sign(key, [1; 32]).unwrap();
    assert_fails!(
        far.token(&alice, TokenKind::Refresh),
        ClientError::Refused(RequestError::FarAway)
    );
    assert_fails!(far.clear(), ClientError::Refused(RequestError::FarAway));
}

#[test]
fn d10_no_secret_in_arguments_environment_log_or_debug() {
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let alice = scope("alice@example.test");
    let token = "secret-token-of-alice";
    connection
        .keep_token(&alice, TokenKind::Refresh, token, 0)
        .unwrap();
    let (key, _) = credential(&mut connection, &alice, 600);
    connection.sign(key, [1; 32]).unwrap();
    connection
        .token(&alice, TokenKind::Refresh)
        .unwrap()
        .unwrap();
    let mut seen = daemon.stderr().into_bytes();
    assert!(!seen.is_empty(), "the log is empty");
    for file in ["cmdline", "environ"] {
        seen.extend(fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap_or_default());
    }
    let request = CacheRequest::KeepToken {
        scope: alice,
        kind: TokenKind::Refresh,
        token: Secret::new(token),
        expires: 0,
    };
    seen.extend(format!("{request:?} {request:#?}").into_bytes());
    assert!(!String::from_utf8_lossy(&seen).contains("secret-token"));
}

#[test]
fn d10_a_daemon_that_is_started_inherits_nothing() {
    // Neither the token in the environment nor the pipe that a caller waits on.
    // The starter is this program again, so that it has both.
    let directory = private_directory();
    let socket = directory.path().join("s");
    let line = "exec 3>&1; exec \"$0\" --exact guarantees::d10_helper --ignored --nocapture";
    let output = Command::new("sh")
        .args(["-c", line])
        .arg(std::env::current_exe().unwrap())
        .env("GITSEAL_TEST_START", &socket)
        .env("SIGSTORE_ID_TOKEN", "secret-token-of-alice")
        .output()
        .unwrap();
    assert!(output.status.success());
    // The pipe has ended though the daemon lives (or `output` would still wait).
    let mut connection = Connection::open(&socket, TIMEOUTS).unwrap();
    let pid = connection.daemon().pid;
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    assert!(environment.is_empty(), "{environment:?}");
    // The lock is free though its holder never released it.
    let lock = fs::File::open(socket.with_extension("held")).unwrap();
    let taken = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
    assert!(taken.is_ok(), "{taken:?}");
    if let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) {
        for entry in entries.flatten() {
            let name = entry.file_name().into_string().unwrap();
            let target = fs::read_link(entry.path()).unwrap_or_default();
            assert!(
                !target.to_string_lossy().starts_with("pipe:"),
                "{name} {target:?}"
            );
        }
    }
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_else(|_| "/".into()),
        Path::new("/")
    );
    connection.stop().unwrap();
}

/// The starter in the test above.
#[test]
#[ignore = "started by other tests"]
fn d10_helper() {
    let socket = std::env::var_os("GITSEAL_TEST_START").unwrap();
    // `( flock 200; … ) 200>held`: a descriptor that no plain shell can close.
    let held = fs::File::create(Path::new(&socket).with_extension("held")).unwrap();
    let held = rustix::io::fcntl_dupfd_cloexec(&held, 200).unwrap();
    rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty()).unwrap();
    rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    start(socket.as_ref()).unwrap();
}

/// A daemon that ends holds its lock to the last: one that is started in that
/// moment finds the socket locked, and then no daemon is left.
#[test]
fn a_daemon_is_started_as_soon_as_the_last_one_has_ended() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    let ending = fs::File::create(directory.path().join("s.lock")).unwrap();
    rustix::fs::flock(&ending, FlockOperation::NonBlockingLockExclusive).unwrap();
    let ended = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        drop(ending);
    });
    start(&socket).unwrap();
    ended.join().unwrap();
    Connection::open(&socket, TIMEOUTS).unwrap().stop().unwrap();
}

#[test]
fn a_daemon_that_does_not_start_says_why() {
    let Err(ClientError::Ended { reason, .. }) = start("/proc/gitseal/s".as_ref()) else {
        panic!("it does not report its end");
    };
    assert!(reason.starts_with("/proc/gitseal: "), "{reason}");
}

#[test]
fn a_stopped_daemon_costs_its_time_limit() {
    // SIGSTOP: it accepts (the system does), and does not answer.
    let daemon = Daemon::start(&[]);
    let mut before = daemon.connect();
    daemon.signal("STOP");
    let limits = ClientTimeouts {
        connect: Duration::from_millis(300),
        answer: Duration::from_millis(300),
    };
    timed(Duration::from_secs(3), || {
        assert_fails!(
            Connection::open(&daemon.socket, limits),
            ClientError::Timeout
        );
    });
    daemon.signal("CONT");
    before.status().unwrap();
}
