//! A log that is killed, again and again, while eight writers append to it.
//!
//! Each round starts a server process on the same directory, lets the writers
//! work, and kills it (SIGKILL) at a moment that nothing is prepared for. Every
//! fifth round half a record is left at the end of the journal besides, as a
//! loss of power would leave it. Then, over all rounds:
//!
//! - what was answered is there, with the same index and time;
//! - what was not answered is there once or not at all, and asking again settles it;
//! - every tree that was ever shown is a beginning of every later one.
//!
//! Not shown here: that a flush reaches the disk (a kill leaves the system's
//! cache alone). `src/services/log/tests.rs` fails every operation of a storage
//! in turn for that.
//!
//! The server process is this test binary again, with one ignored test, which
//! publishes all the time; and, for fewer rounds, `gitseal-reference serve`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use gitseal_evidence::{
    armor,
    checkpoint::{self, Checkpoint, LogVerifier, RekorVersion},
    entry::{self, LogEntry},
    keys::PublicKey,
    memo::Memo,
    merkle,
};
use gitseal_reference::{
    log::{Directory, Log},
    rekor::{RekorServer, checkpoint_signer, identity},
};
use gitseal_services::http::server::{Limits, serve};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    pkcs8::EncodePublicKey as _,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Kills of the test's own server; `GITSEAL_CRASH_ROUNDS` sets another number.
const ROUNDS: u64 = 52;
const REFERENCE_ROUNDS: u64 = 8;
const WRITERS: usize = 8;
const NAME: &str = "log.test";
/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

// ---- the server process

/// Serves the log in `GITSEAL_CRASH_DIR` until it is killed, or until whoever
/// started it is gone.
#[test]
#[ignore = "the server process of the other test, which starts it"]
fn server_process() {
    let Some(dir) = std::env::var_os("GITSEAL_CRASH_DIR").map(PathBuf::from) else {
        return;
    };
    let key = log_key();
    let spki = spki(&key);
    let log = Arc::new(
        Log::open(
            identity(NAME, &spki),
            Arc::new(Directory::open(&dir.join("log")).unwrap()),
            checkpoint_signer(NAME, key.clone(), &spki),
            Box::new(now),
        )
        .unwrap(),
    );
    let rekor = RekorServer::new(Arc::clone(&log), NAME, key, &spki).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = serve(listener, Limits::default(), Arc::new(rekor)).unwrap();
    // All the time: a kill is to meet a publication as well as an append.
    thread::spawn(move || {
        loop {
            log.publish().unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    });
    let address = dir.join("address.new");
    fs::write(&address, running.addr().to_string()).unwrap();
    fs::rename(address, dir.join("address")).unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn log_key() -> SigningKey {
    SigningKey::from_slice(&[0x11; 32]).unwrap()
}

fn spki(key: &SigningKey) -> Vec<u8> {
    let der = key.verifying_key().to_public_key_der().unwrap();
    der.as_bytes().to_vec()
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// [`server_process`].
    Own,
    /// `gitseal-reference serve`, where Rekor is one of five services.
    Reference,
}

impl Kind {
    /// The name in the origin of its log.
    fn name(self) -> &'static str {
        match self {
            Self::Own => NAME,
            Self::Reference => "127.0.0.1",
        }
    }

    /// Where its log is.
    fn log(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Own => "log",
            Self::Reference => "rekor",
        })
    }

    fn command(self, dir: &Path) -> Command {
        match self {
            Self::Own => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command
                    .args(["--exact", "server_process", "--ignored", "--nocapture"])
                    .env("GITSEAL_CRASH_DIR", dir)
                    .stdin(Stdio::piped());
                command
            }
            Self::Reference => {
                // It keeps its five ports over all rounds: below those that the
                // system gives to others meanwhile.
                let port = 20_000 + std::process::id() % 1_000 * 8;
                let mut command = Command::new(env!("CARGO_BIN_EXE_gitseal-reference"));
                command
                    .args(["serve", "--json", "--listen"])
                    .arg(format!("127.0.0.1:{port}"))
                    .arg("--dir")
                    .arg(dir)
                    .stdin(Stdio::null());
                command
            }
        }
    }

    /// Where it listens, once it does.
    fn address(self, dir: &Path, printed: &Path) -> Option<SocketAddr> {
        match self {
            Self::Own => fs::read_to_string(dir.join("address")).ok()?.parse().ok(),
            Self::Reference => {
                let line = fs::read_to_string(printed).ok()?;
                let urls: Value = serde_json::from_str(line.lines().next()?).ok()?;
                urls["rekor"]
                    .as_str()?
                    .strip_prefix("http://")?
                    .parse()
                    .ok()
            }
        }
    }
}

/// A server process; killed when it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Our own process ends when this does.
    _stdin: Option<ChildStdin>,
}

impl Server {
    fn start(kind: Kind, dir: &Path, beside: &Path) -> Self {
        let _ = fs::remove_file(dir.join("address"));
        let (printed, said) = (beside.join("stdout"), beside.join("stderr"));
        let mut child = kind
            .command(dir)
            .stdout(fs::File::create(&printed).unwrap())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let began = Instant::now();
        loop {
            if let Some(address) = kind.address(dir, &printed) {
                return Self {
                    address,
                    _stdin: child.stdin.take(),
                    child,
                };
            }
            if child.try_wait().unwrap().is_some() || began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                let text = |path| fs::read_to_string(path).unwrap();
                panic!(
                    "{kind:?} does not start:\n{}{}",
                    text(&printed),
                    text(&said)
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- a client

/// One connection that asks and reads.
struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

impl Connection {
    fn new(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            address,
        })
    }

    /// An error means that there was no whole answer.
    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (mut status, mut length, mut location) = (None, 0, None);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.strip_suffix("\r\n").ok_or_else(cut)?;
            if line.is_empty() {
                break;
            }
            match line.split_once(": ") {
                None => status = line.split(' ').nth(1).and_then(|code| code.parse().ok()),
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                Some(("Location", value)) => location = Some(value.to_owned()),
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer {
            status: status.ok_or_else(cut)?,
            location,
            body,
        })
    }

    fn get(&mut self, path: &str) -> Value {
        let answer = self.ask("GET", path, b"").unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{path}: {text}");
        serde_json::from_slice(&answer.body).unwrap()
    }
}

// ---- what the writers know

/// An entry that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    index: i64,
    time: i64,
}

#[derive(Default)]
struct Known {
    /// By the proposed body, which is the canonical one.
    answered: HashMap<Vec<u8>, Place>,
    unanswered: Vec<Vec<u8>>,
    /// Every tree that was shown, by size.
    trees: BTreeMap<u64, merkle::Hash>,
    /// Entries that were there though nobody had an answer.
    found_again: usize,
}

impl Known {
    fn tree(&mut self, tree: &Checkpoint) {
        let root = *self.trees.entry(tree.size).or_insert(tree.root);
        assert_eq!(root, tree.root, "two trees of size {}", tree.size);
    }

    fn place(&mut self, body: &[u8], place: Place) {
        let before = self.answered.insert(body.to_vec(), place);
        if let Some(before) = before {
            assert_eq!(before, place, "an entry moved");
        }
    }
}

struct Checker {
    key: PublicKey,
    name: &'static str,
}

impl Checker {
    fn checkpoint(&self, note: &str) -> Checkpoint {
        let verifier = LogVerifier {
            key: &self.key,
            key_hint: checkpoint::key_hint(&checkpoint::ecdsa_key_id(self.key.spki())),
            kind: RekorVersion::V1,
            origin: Some(self.name),
        };
        checkpoint::open(note, &verifier, Memo::disabled()).unwrap()
    }

    /// An entry's answer, with everything that proves it.
    fn entry(&self, json: &[u8], body: &[u8]) -> (Place, Checkpoint) {
        let (_, entry): (String, LogEntry) =
            gitseal_services::rekor::rest::from_rekor_v1_json(json).unwrap();
        assert_eq!(entry.body.as_deref(), Some(body));
        let proof = entry.proof.unwrap();
        let tree = self.checkpoint(&proof.checkpoint);
        let hashes: Vec<merkle::Hash> = proof
            .hashes
            .iter()
            .map(|hash| hash.as_slice().try_into().unwrap())
            .collect();
        let index = u64::try_from(entry.log_index).unwrap();
        let leaf = merkle::leaf_hash(body);
        merkle::verify_inclusion(index, tree.size, &leaf, &hashes, &tree.root).unwrap();
        let place = Place {
            index: entry.log_index,
            time: entry.integrated_time,
        };
        (place, tree)
    }

    /// Proposes `body` and settles where it is. An error: no answer.
    fn append(
        &self,
        connection: &mut Connection,
        body: &[u8],
        known: &Mutex<Known>,
    ) -> std::io::Result<()> {
        let answer = connection.ask("POST", "/api/v1/log/entries", body)?;
        let was_there = answer.status == 409;
        let answer = match answer.location.clone().filter(|_| was_there) {
            Some(location) => connection.ask("GET", &location, b"")?,
            None => answer,
        };
        let text = String::from_utf8_lossy(&answer.body);
        let expected = if was_there { 200 } else { 201 };
        assert_eq!(answer.status, expected, "{text}");
        let (place, tree) = self.entry(&answer.body, body);
        let mut known = known.lock().unwrap();
        known.tree(&tree);
        known.place(body, place);
        known.found_again += usize::from(was_there);
        Ok(())
    }
}

/// A new entry: nobody signed this number before.
fn propose(key: &SigningKey, pem: &str, number: u64) -> Vec<u8> {
    let message = number.to_be_bytes();
    let signature: DerSignature = key.sign(&message);
    let digest = Sha256::digest(message);
    entry::hashedrekord_v1_body("sha256", &digest, signature.as_bytes(), pem)
}

/// What a loss of power leaves: a record that is not whole.
fn tear(log: &Path, round: u64) {
    let path = log.join(".state/journal");
    let journal = fs::read(&path).unwrap();
    let length = usize::try_from(20 + round * 7).unwrap().min(journal.len());
    let torn = if round.is_multiple_of(2) {
        journal[..length].to_vec()
    } else {
        vec![0; length]
    };
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&torn).unwrap();
}

// ---- the rounds

#[test]
fn nothing_answered_is_lost_when_the_log_is_killed() {
    let set = std::env::var("GITSEAL_CRASH_ROUNDS").ok();
    rounds(Kind::Own, set.map_or(ROUNDS, |n| n.parse().unwrap()));
}

#[test]
fn nothing_answered_is_lost_when_the_reference_servers_are_killed() {
    rounds(Kind::Reference, REFERENCE_ROUNDS);
}

fn rounds(kind: Kind, rounds: u64) {
    let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, beside) = (folder.path(), beside.path());
    // One key for all rounds: the second server that says another is refused
    // by its own log, and by the checkpoints here.
    let key = match kind {
        Kind::Own => PublicKey::from_spki(&spki(&log_key())).unwrap(),
        Kind::Reference => {
            let server = Server::start(kind, dir, beside);
            let mut connection = Connection::new(server.address).unwrap();
            let answer = connection.ask("GET", "/api/v1/log/publicKey", b"").unwrap();
            PublicKey::from_pem(std::str::from_utf8(&answer.body).unwrap()).unwrap()
        }
    };
    let checker = Checker {
        key,
        name: kind.name(),
    };
    let key = SigningKey::from_slice(&[0x22; 32]).unwrap();
    let pem = armor::encode_label("PUBLIC KEY", &spki(&key));
    let number = AtomicU64::new(0);
    let known = Mutex::new(Known::default());
    let began = Instant::now();
    // The last tree that was shown before each kill.
    let mut last_trees = Vec::new();

    for round in 0..rounds {
        let server = Server::start(kind, dir, beside);
        let address = server.address;
        let mut connection = Connection::new(address).unwrap();
        // Where the restart left us, before anything is added.
        let info = connection.get("/api/v1/log");
        let tree = checker.checkpoint(info["signedTreeHead"].as_str().unwrap());
        let unanswered = {
            let mut known = known.lock().unwrap();
            let shown = known.trees.last_key_value().map_or(0, |(size, _)| *size);
            assert!(tree.size >= shown, "{shown} entries shown, {}", tree.size);
            known.tree(&tree);
            std::mem::take(&mut known.unanswered)
        };
        for body in &unanswered {
            checker.append(&mut connection, body, &known).unwrap();
        }

        let killed = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    let Ok(mut connection) = Connection::new(address) else {
                        assert!(killed.load(Ordering::SeqCst));
                        return;
                    };
                    loop {
                        let body = propose(&key, &pem, number.fetch_add(1, Ordering::SeqCst));
                        if let Err(error) = checker.append(&mut connection, &body, &known) {
                            assert!(killed.load(Ordering::SeqCst), "{error}");
                            known.lock().unwrap().unanswered.push(body);
                            return;
                        }
                    }
                });
            }
            // Another moment each round, spread evenly without a clock's help.
            thread::sleep(Duration::from_millis(30 + (round * 37) % 110));
            killed.store(true, Ordering::SeqCst);
            drop(server);
        });
        if round % 5 == 4 {
            tear(&kind.log(dir), round);
        }
        let known = known.lock().unwrap();
        last_trees.push(known.trees.last_key_value().map(|(a, b)| (*a, *b)).unwrap());
    }

    // The last start: all that was ever answered, and every tree ever shown.
    let server = Server::start(kind, dir, beside);
    let mut connection = Connection::new(server.address).unwrap();
    let unanswered = std::mem::take(&mut known.lock().unwrap().unanswered);
    for body in &unanswered {
        checker.append(&mut connection, body, &known).unwrap();
    }
    let known = known.into_inner().unwrap();
    let info = connection.get("/api/v1/log");
    let whole = checker.checkpoint(info["signedTreeHead"].as_str().unwrap());

    // Every entry in turn: no index twice, time never goes back, nothing that
    // nobody proposed, and all that was answered where it was.
    assert_eq!(whole.size, known.answered.len() as u64);
    let mut last = i64::MIN;
    for index in 0..whole.size {
        let path = format!("/api/v1/log/entries?logIndex={index}");
        let answer = connection.ask("GET", &path, b"").unwrap();
        assert_eq!(answer.status, 200, "entry {index} is lost");
        let (_, entry) = gitseal_services::rekor::rest::from_rekor_v1_json(&answer.body).unwrap();
        let body = entry.body.unwrap();
        let (place, _) = checker.entry(&answer.body, &body);
        assert_eq!(known.answered.get(&body), Some(&place), "entry {index}");
        assert_eq!(place.index, i64::try_from(index).unwrap());
        assert!(place.time >= last);
        last = place.time;
    }

    let mut consistent = |old: (u64, merkle::Hash), new: (u64, merkle::Hash)| {
        let path = format!("/api/v1/log/proof?firstSize={}&lastSize={}", old.0, new.0);
        let answer = connection.get(&path);
        let proof: Vec<merkle::Hash> = answer["hashes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hash| unhex(hash.as_str().unwrap()))
            .collect();
        merkle::verify_consistency(old.0, new.0, &proof, &old.1, &new.1).unwrap();
    };
    // Each tree with the next one, which ties together all of them; and every
    // pair of those that were the last before a kill.
    let trees: Vec<(u64, merkle::Hash)> = known
        .trees
        .iter()
        .filter(|(size, _)| **size > 0)
        .map(|(size, root)| (*size, *root))
        .collect();
    for pair in trees.windows(2) {
        consistent(pair[0], pair[1]);
    }
    last_trees.retain(|tree| tree.0 > 0);
    for (nth, new) in last_trees.iter().enumerate() {
        for old in &last_trees[..nth] {
            consistent(*old, *new);
        }
    }

    assert!(
        whole.size > rounds * 4,
        "too little was written: {}",
        whole.size
    );
    println!(
        "{rounds} kills, {} entries, {} trees, {} entries that nobody had an answer for, {:?}",
        whole.size,
        trees.len(),
        known.found_again,
        began.elapsed(),
    );
}

fn unhex(text: &str) -> merkle::Hash {
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

#[test]
fn a_second_process_on_the_same_log_is_refused() {
    let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(Kind::Own, folder.path(), beside.path());
    let second = Directory::open(&folder.path().join("log")).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
    drop(server);
    Directory::open(&folder.path().join("log")).unwrap();
}
