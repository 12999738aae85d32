//! However many clients need a credential at once, one logs in and the others
//! wait, whether that login succeeds, fails, is abandoned or takes too long.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::*;
use gitseal_credential_cache::client::{
    self, AcquireOutcome, ClientError, Connection, RequestError,
};
use gitseal_credential_cache::protocol::CacheResponse;

const WAIT: Duration = Duration::from_secs(30);

#[test]
fn f13_a_hundred_cold_clients_make_one_login() {
    let daemon = Daemon::start(&[]);
    let alice = scope("alice@example.test");
    let (logins, barrier) = (AtomicUsize::new(0), Barrier::new(100));
    thread::scope(|threads| {
        for number in 0..100u8 {
            let (daemon, alice, logins, barrier) = (&daemon, &alice, &logins, &barrier);
            threads.spawn(move || {
                barrier.wait();
                let mut connection = daemon.connect();
                let key = match connection.acquire(alice, 20, WAIT).unwrap() {
                    AcquireOutcome::MustLogIn { key, public } => {
                        logins.fetch_add(1, Ordering::SeqCst);
                        // The login takes a while.
                        thread::sleep(Duration::from_millis(300));
                        certify(&mut connection, key, &public, 600).unwrap();
                        key
                    }
                    AcquireOutcome::Found { key, .. } => key,
                    AcquireOutcome::Failed { reason } => panic!("{reason}"),
                };
                connection.sign(key, [number; 32]).unwrap();
            });
        }
    });
    assert_eq!(logins.load(Ordering::SeqCst), 1);
    assert_eq!(daemon.connect().status().unwrap()[0].signatures, 100);
}

/// Starts clients that wait behind a leader.
fn waiting<T: Send + 'static>(
    daemon: &Daemon,
    count: u32,
    then: fn(Connection, Result<AcquireOutcome, ClientError>) -> T,
) -> Vec<thread::JoinHandle<T>> {
    let handles = (0..count)
        .map(|_| {
            let mut connection = daemon.connect();
            thread::spawn(move || {
                let acquired = connection.acquire(&scope("a"), 20, WAIT);
                then(connection, acquired)
            })
        })
        .collect();
    let mut watcher = daemon.connect();
    within(PATIENCE, || {
        watcher
            .status()
            .unwrap()
            .first()
            .is_some_and(|e| e.waiting == count)
    });
    handles
}

#[test]
fn f13_a_leader_that_fails_reports_to_all() {
    let daemon = Daemon::start(&[]);
    let mut leader = daemon.connect();
    let (key, _) = start_login(&mut leader, &scope("a"));
    let handles = waiting(&daemon, 20, |_, acquired| acquired.unwrap());
    leader
        .fail(key, "the browser\nwas \u{1b}[31mclosed")
        .unwrap();
    for handle in handles {
        let AcquireOutcome::Failed { reason } = handle.join().unwrap() else {
            panic!("not reported");
        };
        assert_eq!(reason, "the browser was [31mclosed");
    }
    // A client may try again.
    start_login(&mut leader, &scope("a"));
}

#[test]
fn f13_a_leader_that_dies_is_followed_by_the_next() {
    let daemon = Daemon::start(&[]);
    let mut leader = daemon.connect();
    let (first, _) = start_login(&mut leader, &scope("a"));
    // Each of them leads in turn and dies; a later one logs in.
    let handles = waiting(&daemon, 5, |connection, acquired| match acquired.unwrap() {
        AcquireOutcome::MustLogIn { key, .. } => {
            drop(connection);
            key
        }
        other => panic!("{other:?}"),
    });
    drop(leader);
    let mut keys: Vec<_> = handles.into_iter().map(|h| h.join().unwrap()).collect();
    keys.push(first);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6, "each leads with a key of its own");
    let mut next = daemon.connect();
    within(PATIENCE, || next.status().unwrap().is_empty());
    credential(&mut next, &scope("a"), 600);
}

#[test]
fn a_wait_has_an_end() {
    let daemon = Daemon::start(&[]);
    let mut leader = daemon.connect();
    let (key, public) = start_login(&mut leader, &scope("a"));
    let mut other = daemon.connect();
    let begun = Instant::now();
    let over = other.acquire(&scope("a"), 20, Duration::from_millis(200));
    assert_fails!(over, ClientError::Refused(RequestError::Waited));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    // Its connection works as before, and the leader still leads.
    assert_eq!(other.status().unwrap()[0].waiting, 0);
    certify(&mut leader, key, &public, 600).unwrap();
    assert!(other.find(&scope("a"), 20).unwrap().is_some());
}

#[test]
fn a_leader_that_repeats_its_request_still_leads() {
    let daemon = Daemon::start(&[]);
    let mut leader = daemon.connect();
    let led = start_login(&mut leader, &scope("a"));
    assert_eq!(start_login(&mut leader, &scope("a")), led);
}

#[test]
fn clear_and_forget_end_a_login_for_all() {
    let daemon = Daemon::start(&[]);
    let mut leader = daemon.connect();
    for clear in [true, false] {
        let (key, public) = start_login(&mut leader, &scope("a"));
        let handles = waiting(&daemon, 3, |_, acquired| acquired.unwrap());
        let mut other = daemon.connect();
        if clear {
            assert_eq!(other.clear().unwrap(), 1);
        } else {
            assert!(other.forget(&scope("a")).unwrap());
        }
        for handle in handles {
            assert!(matches!(
                handle.join().unwrap(),
                AcquireOutcome::Failed { .. }
            ));
        }
        assert_fails!(
            certify(&mut leader, key, &public, 600),
            ClientError::Refused(RequestError::UnknownKey)
        );
    }
}

#[test]
fn one_far_away_waits_but_never_leads() {
    let daemon = Daemon::start(&[]);
    let mut leader = daemon.connect();
    start_login(&mut leader, &scope("a"));
    let mut far = Far::open(&daemon.socket);
    far.send(&acquire_request(&scope("a"), 20_000));
    let mut watcher = daemon.connect();
    within(PATIENCE, || watcher.status().unwrap()[0].waiting == 1);
    drop(leader);
    assert_eq!(far.receive(), CacheResponse::Refused(RequestError::FarAway));
}

#[test]
fn a_hundred_starters_end_with_one_daemon() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    let barrier = Barrier::new(100);
    let pids: Vec<u32> = thread::scope(|threads| {
        let starters: Vec<_> = (0..100)
            .map(|_| {
                threads.spawn(|| {
                    barrier.wait();
                    let wait = Duration::from_secs(60);
                    client::start(PROGRAM.as_ref(), &socket, wait).unwrap();
                    Connection::open(&socket, TIMEOUTS).unwrap().daemon().pid
                })
            })
            .collect();
        starters
            .into_iter()
            .map(|starter| starter.join().unwrap())
            .collect()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    Connection::open(&socket, TIMEOUTS).unwrap().stop().unwrap();
    within(PATIENCE, || !socket.exists());
}

#[test]
fn a_program_that_is_not_a_daemon_is_an_error_immediately() {
    let directory = private_directory();
    let socket = directory.path().join("s");
    let start = |program: &str, wait| client::start(program.as_ref(), &socket, wait);
    let wait = Duration::from_secs(20);
    let failed = timed(PATIENCE, || start("/bin/false", wait));
    assert_fails!(failed, ClientError::Ended { .. });
    let missing = timed(PATIENCE, || start("/nowhere/x", wait));
    assert_fails!(missing, ClientError::Io(_));
    assert!(start("/bin/cat", Duration::from_millis(200)).is_err());
}
