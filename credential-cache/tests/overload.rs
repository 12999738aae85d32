//! D7 and F13: many connections, and processes that die. An honest client is
//! served all the while, or gets an error in time.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::*;
use gitseal_credential_cache::client::{ClientError, ClientTimeouts, Connection, RequestError};
use gitseal_credential_cache::server::{IDLE_TIMEOUT, MAX_CONNECTIONS};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn d7_ten_thousand_idle_connections_do_no_harm() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
    let most = getrlimit(Resource::Nofile).current.unwrap_or(20_000);
    let wanted = usize::try_from(most)
        .unwrap()
        .saturating_sub(1000)
        .min(10_000);
    let daemon = Daemon::start(&[]);
    let (key, _) = credential(&mut daemon.connect(), &scope("a"), 600);

    let mut idle = Vec::new();
    for number in 0..wanted {
        // A full queue makes the connecting process wait its turn.
        idle.push(UnixStream::connect(&daemon.socket).unwrap());
        if number % 2_500 == 0 {
            daemon.connect().sign(key, [1; 32]).unwrap();
        }
    }
    println!("{wanted} connections");
    let begun = Instant::now();
    daemon.connect().sign(key, [2; 32]).unwrap();
    println!("signed in {:?} among them", begun.elapsed());
    if let Some(held) = daemon.descriptors() {
        assert!(held <= MAX_CONNECTIONS + 20, "{held} descriptors");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let resident = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    println!("{resident}");
}

#[test]
fn d7_slow_readers_and_writers_are_dropped_not_waited_for() {
    let daemon = Daemon::start(&[]);
    let (mut honest, key) = daemon.credential();
    // They write halves of frames that they never complete: more than the daemon
    // holds for all together.
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut far = Far::open(&daemon.socket);
        use std::io::Write;
        let claim = 60_000u32.to_be_bytes();
        far.0
            .write_all(&[&claim[..], &[1; 50_000]].concat())
            .unwrap();
        slow.push(far);
    }
    for _ in 0..50 {
        honest.sign(key, [1; 32]).unwrap();
    }
    for far in &slow {
        far.0.set_nonblocking(true).unwrap();
    }
    let gone = slow
        .iter()
        .filter(|far| {
            use std::io::Read;
            let read = (&far.0).read(&mut [0]);
            // Still open would be "nothing yet".
            !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        })
        .count();
    assert!(gone > 0);
    honest.sign(key, [2; 32]).unwrap();
}

#[test]
fn d7_a_full_queue_recovers() {
    let daemon = Daemon::start(&[]);
    let (key, _) = credential(&mut daemon.connect(), &scope("a"), 600);
    daemon.signal("STOP");
    // Fill the queue without waiting in it.
    let address = rustix::net::SocketAddrUnix::new(&daemon.socket).unwrap();
    let mut queued = Vec::new();
    for _ in 0..15_000 {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
        let flags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
        let Ok(socket) = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None) else {
            break;
        };
        if connect(&socket, &address).is_err() {
            break;
        }
        queued.push(socket);
    }
    println!("the queue takes {}", queued.len());
    let limits = ClientTimeouts {
        connect: Duration::from_millis(200),
        ..TIMEOUTS
    };
    timed(Duration::from_secs(3), || {
        assert_fails!(
            Connection::open(&daemon.socket, limits),
            ClientError::Timeout
        );
    });
    daemon.signal("CONT");
    daemon.connect().sign(key, [1; 32]).unwrap();
}

#[test]
fn f13_kill_9_of_the_daemon_at_each_step_ends_in_time() {
    // The step at which it dies: before the greeting, leading, waiting, storing,
    // signing, at a random moment of many signatures.
    for step in 0..6 {
        let mut daemon = Daemon::start(&[]);
        let mut connection = daemon.connect();
        let mut other = daemon.connect();
        let begun = Instant::now();
        let result: Result<(), ClientError> = match step {
            0 => {
                daemon.kill();
                Connection::open(&daemon.socket, TIMEOUTS).map(drop)
            }
            1 => {
                let (key, _) = start_login(&mut connection, &scope("a"));
                daemon.child.kill().unwrap();
                connection.sign(key, [1; 32]).map(drop)
            }
            2 => {
                start_login(&mut connection, &scope("a"));
                let waiter =
                    thread::spawn(move || other.acquire(&scope("a"), 20, Duration::from_secs(60)));
                within(PATIENCE, || {
                    daemon.connect().status().unwrap()[0].waiting == 1
                });
                daemon.child.kill().unwrap();
                waiter.join().unwrap().map(drop)
            }
            3 => {
                let (key, public) = start_login(&mut connection, &scope("a"));
                daemon.child.kill().unwrap();
                certify(&mut connection, key, &public, 60)
            }
            4 => {
                let (key, _) = credential(&mut connection, &scope("a"), 600);
                daemon.child.kill().unwrap();
                connection.sign(key, [1; 32]).map(drop)
            }
            _ => {
                let (key, _) = credential(&mut connection, &scope("a"), 600);
                let pid = daemon.pid();
                let killer = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(30));
                    send_signal(pid, "KILL");
                });
                let end = loop {
                    if let Err(error) = connection.sign(key, [1; 32]) {
                        break Err(error);
                    }
                };
                killer.join().unwrap();
                end
            }
        };
        assert!(
            matches!(result, Err(ClientError::Io(_) | ClientError::Absent(_))),
            "step {step}: {result:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(8), "step {step}");
        // And the next one serves the same path.
        daemon.child.wait().unwrap();
        start(&daemon.socket).unwrap();
        let mut next = daemon.connect();
        assert!(next.status().unwrap().is_empty(), "keys do not outlive it");
        next.stop().unwrap();
    }
}

#[test]
fn f13_clients_that_die_at_each_step_leave_nothing() {
    let daemon = Daemon::start(&[]);
    let mut honest = daemon.connect();
    let (key, _) = credential(&mut honest, &scope("honest"), 600);
    let whole = sign_request(key, 1).print().unwrap();
    let frame = [&(whole.len() as u32).to_be_bytes()[..], &whole].concat();
    for cut in 0..=frame.len() {
        use std::io::Write;
        let mut far = Far::open(&daemon.socket);
        far.0.write_all(&frame[..cut]).unwrap();
        drop(far);
    }
    for _ in 0..20 {
        start_login(&mut daemon.connect(), &scope("dying"));
        let mut far = Far::open(&daemon.socket);
        far.send(&acquire_request(&scope("dying"), 60_000));
    }
    within(PATIENCE, || honest.status().unwrap().len() == 1);
    honest.sign(key, [2; 32]).unwrap();
    within(PATIENCE, || {
        daemon.descriptors().is_none_or(|held| held < 20)
    });
}

#[test]
fn f13_expiry_between_signatures_is_named() {
    let daemon = Daemon::controlled(None);
    let mut connection = daemon.connect();
    let (key, public) = credential(&mut connection, &scope("a"), 600);
    let signature = connection.sign(key, [1; 32]).unwrap();
    assert!(verifies(&public, &[1; 32], &signature));
    daemon.advance(600);
    let mut connection = daemon.connect(); // the other was idle for too long
    let end = connection.sign(key, [1; 32]);
    assert_fails!(end, ClientError::Refused(RequestError::Expired));
    assert!(connection.find(&scope("a"), 0).unwrap().is_none());
    credential(&mut connection, &scope("a"), 1200);
}

#[test]
fn a_store_that_is_full_says_so_and_recovers() {
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let mut full = None;
    for number in 0..200 {
        let scope = scope(&format!("{number}"));
        match connection.acquire(&scope, 0, Duration::ZERO) {
            Ok(_) => {}
            Err(error) => {
                full = Some(error);
                break;
            }
        }
    }
    assert!(matches!(
        full,
        Some(ClientError::Refused(RequestError::Full))
    ));
    assert_eq!(connection.status().unwrap().len(), 32);
    connection.clear().unwrap();
    credential(&mut connection, &scope("a"), 60);
}

#[test]
fn it_ends_by_itself_without_credentials() {
    let mut daemon = Daemon::controlled(None);
    credential(&mut daemon.connect(), &scope("a"), 600);
    // Longer than the idle timeout, but it has a credential.
    daemon.advance(400);
    assert_eq!(daemon.connect().status().unwrap().len(), 1);
    daemon.advance(300);
    assert!(daemon.connect().status().unwrap().is_empty());
    // Greeted connections count as use; the silent one of `advance` does not.
    within(PATIENCE, || {
        daemon.advance(IDLE_TIMEOUT.as_secs());
        !daemon.socket.exists()
    });
    assert!(daemon.ended().success());
}
