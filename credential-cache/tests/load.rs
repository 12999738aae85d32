//! The cost of a daemon, measured by hand:
//!
//! ```text
//! cargo test --release -p gitseal-credential-cache --test main -- load --ignored --nocapture
//! ```

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::*;

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn resident(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name| {
        status
            .lines()
            .find(|l: &&str| l.starts_with(name))
            .unwrap_or("")
            .to_owned()
    };
    format!("{} / {} / {}", of("VmRSS"), of("VmHWM"), of("VmLck"))
}

#[test]
#[ignore = "measures; run by hand with --release"]
fn the_cost_of_a_daemon() {
    // From the start of the process to the first greeting, the median of 51.
    let directory = private_directory();
    let mut processor: Vec<Duration> = Vec::new();
    let mut starts: Vec<Duration> = (0..51)
        .map(|number| {
            let socket = directory.path().join(format!("s{number}"));
            let begun = Instant::now();
            let mut child = Command::new(PROGRAM)
                .arg("--socket")
                .arg(&socket)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while UnixStream::connect(&socket).is_err() {
                std::thread::sleep(Duration::from_micros(50));
            }
            let took = begun.elapsed();
            // The processor time until then, in nanoseconds.
            let spent = fs::read_to_string(format!("/proc/{}/schedstat", child.id()));
            let spent = spent.unwrap_or_default();
            let first = spent.split_whitespace().next().and_then(|n| n.parse().ok());
            processor.push(Duration::from_nanos(first.unwrap_or(0)));
            child.kill().unwrap();
            child.wait().unwrap();
            took
        })
        .collect();
    starts.sort();
    processor.sort();
    println!("start: {:?} of a processor (median)", processor[25]);
    println!("start: median {:?}, best {:?}", starts[25], starts[0]);

    let daemon = Daemon::start(&["--detach"]);
    let (key, _) = credential(&mut daemon.connect(), &scope("a"), 3600);
    let pid = daemon.pid();
    println!("with one key: {}", resident(pid));

    let rounds = 20_000u64;
    for clients in [1, 8] {
        let (begun, before) = (Instant::now(), ticks(pid));
        std::thread::scope(|threads| {
            for _ in 0..clients {
                threads.spawn(|| {
                    let mut connection = daemon.connect();
                    for number in 0..rounds / clients {
                        let mut digest = [0; 32];
                        digest[..8].copy_from_slice(&number.to_be_bytes());
                        connection.sign(key, digest).unwrap();
                    }
                });
            }
        });
        let (took, busy) = (begun.elapsed(), ticks(pid) - before);
        println!(
            "{clients} clients: {:.0} signatures/s by the clock, {:.0} in a second of the daemon's processor time",
            rounds as f64 / took.as_secs_f64(),
            rounds as f64 / (busy as f64 / 100.0)
        );
    }

    let mut connects: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            let mut connection = daemon.connect();
            connection.find(&scope("a"), 20).unwrap().unwrap();
            connection.sign(key, [1; 32]).unwrap();
            begun.elapsed()
        })
        .collect();
    connects.sort();
    println!("connect, find, sign: median {:?}", connects[100]);
    println!("after it: {}", resident(pid));
}
