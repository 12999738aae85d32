//! What a holder of keys owes, attack by attack; D8 (time and memory) is in
//! `memory.rs`, and the rest of D7 in `crowd.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemon;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon::*;
use gitseal_credential_cache::client::{self, ClientError, Connection, Limits, Refusal, TokenKind};
use gitseal_credential_cache::place::{MAX_PATH, PlaceError};
use gitseal_credential_cache::protocol::{Request, Response};
use rustix::fs::FlockOperation;

const NOBODY: u32 = 65534;

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn d1_an_open_or_foreign_directory_is_refused() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    let options = ["--socket", socket.to_str().unwrap()];
    for mode in [0o777, 0o750, 0o701, 0o1777] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        let (status, said) = run(&options);
        assert_eq!(status.code(), Some(1));
        assert!(said.contains(&format!("has mode {mode:04o}")), "{said}");
        assert!(said.contains("hint: "), "{said}");
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let foreign = if root() {
        std::os::unix::fs::chown(directory.path(), Some(NOBODY), None).unwrap();
        socket.clone()
    } else {
        "/gitseal-test-socket".into()
    };
    let (status, said) = run(&["--socket", foreign.to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("belongs to user"), "{said}");
    assert!(!socket.exists());
}

#[test]
fn d1_a_client_does_not_speak_in_an_open_directory() {
    let daemon = Daemon::start(&[]);
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(daemon.directory.path(), open).unwrap();
    assert!(matches!(
        Connection::open(&daemon.socket, LIMITS),
        Err(ClientError::Unsafe(PlaceError::Open { mode: 0o777, .. }))
    ));
}

#[test]
fn d2_the_socket_is_never_open_to_others() {
    // Whatever the umask: looked at as soon as it can be seen, under any name.
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
        assert!(begun.elapsed() < Duration::from_secs(10));
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
    assert_eq!(status.code(), Some(client::ALREADY_SERVED));
    assert!(said.contains("a credential cache already serves"), "{said}");
    // The first one still has its socket.
    first.status().unwrap();
    assert_eq!(daemon.connect().daemon().pid, daemon.pid());
}

/// `sudo -E`: the home is somebody else's, who could not use what root made.
#[test]
fn d1_nothing_is_made_in_another_users_home() {
    if !root() {
        println!("skipped: only root can make a home for somebody else");
        return;
    }
    let home = private_directory();
    std::os::unix::fs::chown(home.path(), Some(NOBODY), None).unwrap();
    let socket = home.path().join(".cache/gitseal/cache.sock");
    let (status, said) = run(&["--socket", socket.to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("belongs to user"), "{said}");
    let started = client::start(PROGRAM.as_ref(), &socket, Duration::from_secs(10));
    assert!(
        matches!(
            started,
            Err(ClientError::Unsafe(PlaceError::Foreign { .. }))
        ),
        "{started:?}"
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn d3_a_foreign_listener_is_not_replaced() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    let _listener = UnixListener::bind(&socket).unwrap();
    let before = fs::symlink_metadata(&socket).unwrap().ino();
    let (status, said) = run(&["--socket", socket.to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("something else listens"), "{said}");
    assert_eq!(fs::symlink_metadata(&socket).unwrap().ino(), before);
}

#[test]
fn d3_a_stale_socket_is_replaced() {
    let mut daemon = Daemon::start(&[]);
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(daemon.socket.exists(), "kill -9 leaves it behind");
    assert!(matches!(
        Connection::open(&daemon.socket, LIMITS),
        Err(ClientError::Absent(_))
    ));
    client::start(PROGRAM.as_ref(), &daemon.socket, Duration::from_secs(10)).unwrap();
    daemon.connect().stop().unwrap();
}

#[test]
fn d3_a_daemon_whose_socket_is_taken_away_ends() {
    // Its keys would be out of reach of `clear`.
    let clock = std::rc::Rc::new(std::cell::Cell::new(0u64));
    let directory = private_directory();
    let socket = directory.path().join("s");
    let listener = gitseal_credential_cache::listener::Listener::bind(
        &socket,
        gitseal_credential_cache::listener::Asking::NotByHand,
    )
    .unwrap();
    assert!(listener.in_place());
    fs::remove_file(&socket).unwrap();
    let (signals, _raised) = UnixStream::pair().unwrap();
    let ticks = clock.clone();
    let options = gitseal_credential_cache::server::Options {
        idle_end: None,
        confirm: None,
        locked: false,
        // Ten minutes at each look.
        clock: Box::new(move || {
            ticks.set(ticks.get() + 600);
            gitseal_credential_cache::clock::Now {
                since_boot: Duration::from_secs(ticks.get()),
                wall: ticks.get(),
            }
        }),
        entropy: Box::new(|_| true),
        log: Box::new(|_| {}),
        signals,
    };
    gitseal_credential_cache::server::Server::new(listener, options)
        .run()
        .unwrap();
}

#[test]
fn d4_a_process_of_another_user_is_hung_up_on() {
    if !root() {
        println!("skipped: only root can be somebody else");
        return;
    }
    let daemon = Daemon::start(&[]);
    // As if the directory were no protection at all.
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(daemon.directory.path(), open.clone()).unwrap();
    fs::set_permissions(&daemon.socket, open).unwrap();
    let public = tempfile::tempdir().unwrap();
    fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = public.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(&program)
        .args(["--exact", "d4_helper", "--nocapture"])
        .env("GITSEAL_TEST_SOCKET", &daemon.socket)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("heard 0 bytes"), "{said}");
    within(Duration::from_secs(5), || {
        daemon
            .stderr()
            .contains("connection refused: a process of user 65534")
    });
    // And the other way round: a client does not speak to somebody else's daemon.
    std::os::unix::fs::chown(&daemon.socket, Some(NOBODY), None).unwrap();
    assert!(matches!(
        Connection::open(&daemon.socket, LIMITS),
        Err(ClientError::Unsafe(PlaceError::Foreign {
            owner: NOBODY,
            ..
        }))
    ));
}

/// Not a test of its own: the process of another user in the one above.
#[test]
fn d4_helper() {
    let Some(socket) = std::env::var_os("GITSEAL_TEST_SOCKET") else {
        return;
    };
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
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
        let (status, said) = run(&["--socket", at(name).to_str().unwrap()]);
        assert_eq!(status.code(), Some(1), "{name}");
        assert!(said.contains("is not a socket"), "{name}: {said}");
        assert!(matches!(
            Connection::open(&at(name), LIMITS),
            Err(ClientError::Unsafe(PlaceError::NotASocket(_)))
        ));
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
    assert!(!at("elsewhere").exists());

    // A link in place of the directory, for both.
    symlink(real.directory.path(), at("dir")).unwrap();
    let (status, said) = run(&["--socket", at("dir/new").to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("is not a directory"), "{said}");
    assert!(matches!(
        Connection::open(&at("dir/s"), LIMITS),
        Err(ClientError::Unsafe(PlaceError::NotADirectory(_)))
    ));

    // A link in place of the lock file.
    symlink(at("file"), at("t.lock")).unwrap();
    let (status, _) = run(&["--socket", at("t").to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
}

#[test]
fn d5_a_long_path_is_named() {
    let directory = private_directory();
    let used = directory.path().as_os_str().len() + 1;
    let longest = directory.path().join("s".repeat(MAX_PATH - used));
    client::start(PROGRAM.as_ref(), &longest, Duration::from_secs(10)).unwrap();
    Connection::open(&longest, LIMITS).unwrap().stop().unwrap();

    let longer = directory.path().join("s".repeat(MAX_PATH - used + 1));
    let (status, said) = run(&["--socket", longer.to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&format!("at most {MAX_PATH}")), "{said}");
    assert!(matches!(
        client::start(PROGRAM.as_ref(), &longer, Duration::from_secs(1)),
        Err(ClientError::Unsafe(PlaceError::TooLong { .. }))
    ));
}

#[test]
fn d6_no_answer_holds_the_key() {
    // Every request there is, and the whole of what comes back: neither a PKCS#8
    // or SEC 1 header, nor anything of 32 bytes whose public key is this key's.
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let alice = scope("alice@example.test");
    let (key, public) = credential(&mut connection, &alice, 600);
    let mut far = Far::open(&daemon.socket);
    let mut heard = Vec::new();
    for request in [
        Request::Find {
            scope: alice.clone(),
            min_left: 0,
        },
        Request::Acquire {
            scope: alice.clone(),
            min_left: 0,
            wait: 0,
        },
        Request::Sign {
            key,
            digest: [3; 32],
        },
        Request::Status,
        Request::Token {
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
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let _ = stream.write_all(&payload);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        if !heard.is_empty() {
            let answer = Response::parse(heard.get(4..).unwrap()).unwrap();
            let Response::Refused(refusal) = answer else {
                panic!("{answer:?}");
            };
            let other_version = payload.get(4) == Some(&9);
            assert_eq!(refusal == Refusal::Version, other_version);
        }
        honest.status().unwrap();
    }
}

#[test]
fn d7_half_a_frame_has_five_seconds() {
    let daemon = Daemon::start(&[]);
    let begun = Instant::now();
    let mut half = Far::open(&daemon.socket).0;
    half.write_all(&[0, 0, 0, 40, 1]).unwrap();
    let mut silent = UnixStream::connect(&daemon.socket).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    for stream in [&mut half, &mut silent] {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        let took = begun.elapsed();
        assert!(
            took > Duration::from_secs(4) && took < Duration::from_secs(9),
            "{took:?}"
        );
    }
}

#[test]
fn d9_the_far_end_of_a_forwarded_socket_may_ask_and_sign_only() {
    let daemon = Daemon::start(&[]);
    let mut near = daemon.connect();
    let alice = scope("alice@example.test");
    let mut far = Far::open(&daemon.socket);
    let acquire = Request::Acquire {
        scope: alice.clone(),
        min_left: 20,
        wait: 0,
    };
    let far_away = Response::Refused(Refusal::FarAway);
    // No login there.
    assert_eq!(far.ask(&acquire), far_away);
    near.keep_token(&alice, TokenKind::Identity, "e30.e30.e30", wall() + 600)
        .unwrap();
    let (key, public) = credential(&mut near, &alice, 600);

    assert!(matches!(far.ask(&acquire), Response::Found { .. }));
    let Response::Signature(signature) = far.ask(&Request::Sign {
        key,
        digest: [9; 32],
    }) else {
        panic!("no signature");
    };
    assert!(verifies(&public, &[9; 32], &signature));

    for request in [
        Request::Token {
            scope: alice.clone(),
            kind: TokenKind::Identity,
        },
        Request::KeepToken {
            scope: alice.clone(),
            kind: TokenKind::Identity,
            token: gitseal_credential_cache::protocol::Secret::new("planted"),
            expires: wall() + 600,
        },
        Request::Store {
            key,
            chain: vec![leaf(&public, wall(), wall() + 60)],
        },
        Request::Fail {
            key,
            reason: "no".into(),
        },
        Request::Forget(alice.clone()),
        Request::Clear,
        Request::Stop,
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
    let mut far = Connection::open(&path, LIMITS).unwrap();
    far.sign(key, [1; 32]).unwrap();
    assert!(matches!(
        far.token(&alice, TokenKind::Refresh),
        Err(ClientError::Refused(Refusal::FarAway))
    ));
    assert!(matches!(
        far.clear(),
        Err(ClientError::Refused(Refusal::FarAway))
    ));
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
    assert!(!seen.is_empty(), "the log is not empty");
    for file in ["cmdline", "environ"] {
        seen.extend(fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap_or_default());
    }
    let request = Request::KeepToken {
        scope: alice,
        kind: TokenKind::Refresh,
        token: gitseal_credential_cache::protocol::Secret::new(token),
        expires: 0,
    };
    seen.extend(format!("{request:?} {request:#?}").into_bytes());
    assert!(!String::from_utf8_lossy(&seen).contains("secret-token"));
}

#[test]
fn d10_a_daemon_that_is_started_inherits_nothing() {
    // Not the token in the environment, and not the pipe that somebody waits on.
    // The starter is this program again, so that it has both.
    let directory = private_directory();
    let socket = directory.path().join("s");
    let line = "exec 3>&1; exec \"$0\" --exact d10_helper --nocapture";
    let begun = Instant::now();
    let output = Command::new("sh")
        .args(["-c", line])
        .arg(std::env::current_exe().unwrap())
        .env("GITSEAL_TEST_START", &socket)
        .env("SIGSTORE_ID_TOKEN", "secret-token-of-alice")
        .output()
        .unwrap();
    assert!(output.status.success());
    // The pipe has ended though the daemon lives.
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let mut connection = Connection::open(&socket, LIMITS).unwrap();
    let pid = connection.daemon().pid;
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    assert!(environment.is_empty(), "{environment:?}");
    // The lock is free though its holder never gave it back.
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

/// Not a test of its own: the starter in the one above.
#[test]
fn d10_helper() {
    if let Some(socket) = std::env::var_os("GITSEAL_TEST_START") {
        // `( flock 200; … ) 200>held`: a descriptor that no plain shell can close.
        let held = fs::File::create(Path::new(&socket).with_extension("held")).unwrap();
        let held = rustix::io::fcntl_dupfd_cloexec(&held, 200).unwrap();
        rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty()).unwrap();
        rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        client::start(PROGRAM.as_ref(), socket.as_ref(), Duration::from_secs(15)).unwrap();
    }
}

/// A daemon that ends holds its lock to the last: whoever is started in that
/// moment finds the place taken, and then nobody is there.
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
    client::start(PROGRAM.as_ref(), &socket, Duration::from_secs(15)).unwrap();
    ended.join().unwrap();
    Connection::open(&socket, LIMITS).unwrap().stop().unwrap();
}

#[test]
fn a_daemon_that_does_not_start_says_why() {
    let started = client::start(
        PROGRAM.as_ref(),
        "/proc/gitseal/s".as_ref(),
        Duration::from_secs(15),
    );
    let said = match started {
        Err(ClientError::Ended { said, .. }) => said,
        other => panic!("{other:?}"),
    };
    assert!(said.starts_with("/proc/gitseal: "), "{said}");
}

#[test]
fn a_stopped_daemon_costs_its_time_limit() {
    // SIGSTOP: it accepts (the system does), and says nothing.
    let daemon = Daemon::start(&[]);
    let mut before = daemon.connect();
    daemon.signal("STOP");
    let limits = Limits {
        connect: Duration::from_millis(300),
        answer: Duration::from_millis(300),
    };
    let begun = Instant::now();
    assert!(matches!(
        Connection::open(&daemon.socket, limits),
        Err(ClientError::Timeout)
    ));
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    daemon.signal("CONT");
    before.status().unwrap();
}
