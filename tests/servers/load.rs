//! How many entries a second the reference log takes and shows, on this
//! machine, with everything on the disk before it is answered. Measures, and
//! fails only when something is refused:
//!
//! ```text
//! cargo test --release -p gitseal-reference --test load -- --ignored --nocapture
//! ```
//!
//! Clients and server share the processors here; the entries are signed
//! beforehand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gitseal_evidence::{armor, entry, merkle};
use gitseal_reference::{
    log::{Directory, Log},
    rekor::{RekorServer, checkpoint_signer, identity},
};
use gitseal_services::http::server::{Limits, serve};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    pkcs8::EncodePublicKey as _,
};
use sha2::{Digest as _, Sha256};

const NAME: &str = "log.test";
const ENTRIES: usize = 20_000;

fn spki(key: &SigningKey) -> Vec<u8> {
    let der = key.verifying_key().to_public_key_der().unwrap();
    der.as_bytes().to_vec()
}

fn open(folder: &Path) -> Arc<Log> {
    let key = SigningKey::from_slice(&[0x11; 32]).unwrap();
    let spki = spki(&key);
    let log = Log::open(
        identity(NAME, &spki),
        Arc::new(Directory::open(folder).unwrap()),
        checkpoint_signer(NAME, key, &spki),
        Box::new(|| 1_700_000_000),
    );
    Arc::new(log.unwrap())
}

/// Gives each number below `count` to one of many threads; how long it took,
/// and the times of single ones in order.
fn share<C: Send>(
    threads: usize,
    count: usize,
    start: impl Fn() -> C + Sync,
    work: impl Fn(&mut C, usize) + Sync,
) -> (Duration, Vec<Duration>) {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = start();
                    let mut times = Vec::new();
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= count {
                            return times;
                        }
                        let began = Instant::now();
                        work(&mut mine, nth);
                        times.push(began.elapsed());
                    }
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    let took = began.elapsed();
    times.sort_unstable();
    (took, times)
}

fn report(what: &str, count: usize, (took, times): &(Duration, Vec<Duration>)) {
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{what:<44} {:>8.0}/s   p50 {:>9.3?}   p99 {:>9.3?}",
        count as f64 / took.as_secs_f64(),
        at(50),
        at(99),
    );
}

struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Connection {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            stream: BufReader::new(stream),
            address,
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: &[u8], status: &str) {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request).unwrap();
        let (mut first, mut length) = (String::new(), 0);
        self.stream.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        self.stream.read_exact(&mut vec![0; length]).unwrap();
        assert!(first.contains(status), "{first}");
    }
}

#[test]
#[ignore = "measures; run it alone, in release mode"]
fn entries_a_second() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();

    let log = open(&folder.path().join("bare"));
    for threads in [1, 8, 64, 256] {
        let count = if threads == 1 { 2_000 } else { ENTRIES };
        let measured = share(
            threads,
            count,
            || (),
            |(), nth| {
                let mut leaf = format!("{threads} {nth} ").into_bytes();
                leaf.resize(500, b'.');
                log.append(merkle::leaf_hash(&leaf), &leaf, b"").unwrap();
            },
        );
        report(&format!("append, {threads} threads"), count, &measured);
    }
    let began = Instant::now();
    log.publish().unwrap();
    println!("publish {} entries: {:?}", log.size(), began.elapsed());
    drop(log);
    let began = Instant::now();
    let size = open(&folder.path().join("bare")).size();
    println!("open with {size} entries: {:?}", began.elapsed());

    let user = SigningKey::from_slice(&[0x22; 32]).unwrap();
    let pem = armor::encode_label("PUBLIC KEY", &spki(&user));
    let propose = |nth: usize| {
        let message = nth.to_be_bytes();
        let signature: DerSignature = user.sign(&message);
        entry::hashedrekord_v1_body(
            "sha256",
            &Sha256::digest(message),
            signature.as_bytes(),
            &pem,
        )
    };
    let bodies: Vec<Vec<u8>> = (0..ENTRIES * 3).map(propose).collect();
    let key = SigningKey::from_slice(&[0x11; 32]).unwrap();
    let log = open(&folder.path().join("rekor"));
    let rekor =
        Arc::new(RekorServer::new(Arc::clone(&log), NAME, key.clone(), &spki(&key)).unwrap());
    let running = serve(
        TcpListener::bind("127.0.0.1:0").unwrap(),
        Limits::default(),
        rekor,
    )
    .unwrap();
    let address = running.addr();
    let (publisher, ended) = (Arc::clone(&log), Arc::new(AtomicBool::new(false)));
    let ending = Arc::clone(&ended);
    let publisher = thread::spawn(move || {
        while !ending.load(Ordering::SeqCst) {
            publisher.publish().unwrap();
            thread::park_timeout(Duration::from_secs(1));
        }
    });
    let mut from = 0;
    for threads in [1, 16, 64, 256] {
        let count = if threads == 1 {
            2_000
        } else {
            ENTRIES * 9 / 10
        };
        let measured = share(
            threads,
            count,
            || Connection::new(address),
            |connection, nth| {
                let body = &bodies[from + nth];
                connection.ask("POST", "/api/v1/log/entries", body, " 201 ");
            },
        );
        from += count;
        report(
            &format!("POST entry, {threads} connections"),
            count,
            &measured,
        );
    }
    for threads in [1, 32] {
        let measured = share(
            threads,
            ENTRIES,
            || Connection::new(address),
            |connection, nth| {
                let path = format!("/api/v1/log/entries?logIndex={nth}");
                connection.ask("GET", &path, b"", " 200 ");
            },
        );
        report(
            &format!("GET entry, {threads} connections"),
            ENTRIES,
            &measured,
        );
    }
    // Nothing writes into the folder any more when it is removed.
    ended.store(true, Ordering::SeqCst);
    publisher.thread().unpark();
    publisher.join().unwrap();
}
