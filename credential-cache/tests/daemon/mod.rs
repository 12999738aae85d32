//! A daemon of a test's own, in a directory of its own, and what a client needs
//! to speak to it: scopes, certificates made by hand, raw sockets.

// Each test file uses a part of it.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use gitseal_credential_cache::client::{Acquired, Connection, KeyId, Limits};
use gitseal_credential_cache::protocol::{Request, Response, Scope, read_frame, write_frame};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_gitseal-credential-cache");

/// Patient: the machine may be busy.
pub const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(10),
};

/// A daemon process that is killed when dropped.
pub struct Daemon {
    pub child: Child,
    pub socket: PathBuf,
    pub directory: tempfile::TempDir,
}

impl Daemon {
    pub fn start(options: &[&str]) -> Self {
        Self::start_with(options, |_| {})
    }

    pub fn start_with(options: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let directory = private_directory();
        let socket = directory.path().join("s");
        let mut command = Command::new(PROGRAM);
        command
            .arg("--socket")
            .arg(&socket)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(
                fs::File::create(directory.path().join("stderr")).unwrap(),
            ));
        change(&mut command);
        let child = command.spawn().unwrap();
        let daemon = Self {
            child,
            socket,
            directory,
        };
        within(Duration::from_secs(10), || {
            UnixStream::connect(&daemon.socket).is_ok()
        });
        daemon
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.socket, LIMITS).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    /// How many descriptors it holds; only root can count those of a process
    /// that is not dumpable.
    pub fn descriptors(&self) -> Option<usize> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid())).ok()?;
        Some(entries.count())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    pub fn ended(&mut self, patience: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < patience, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn private_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("gs").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// Runs the program and returns how it ended and what it said.
pub fn run(options: &[&str]) -> (ExitStatus, String) {
    let output = Command::new(PROGRAM)
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut said = String::from_utf8(output.stdout).unwrap();
    said.push_str(&String::from_utf8(output.stderr).unwrap());
    (output.status, said)
}

pub fn within(patience: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < patience, "waited {patience:?} in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn wall() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub fn scope(subject: &str) -> Scope {
    Scope {
        issuer: "https://issuer.example".into(),
        client_id: "sigstore".into(),
        connector: String::new(),
        authority: "https://fulcio.example".into(),
        trust_root: "ab".repeat(32),
        subject: subject.into(),
    }
}

pub fn lead(connection: &mut Connection, scope: &Scope) -> (KeyId, Vec<u8>) {
    match connection.acquire(scope, 20, Duration::ZERO).unwrap() {
        Acquired::Lead { key, public } => (key, public),
        other => panic!("{other:?}"),
    }
}

/// Logs in: the scope has a credential for so many seconds.
pub fn credential(connection: &mut Connection, scope: &Scope, seconds: u64) -> (KeyId, Vec<u8>) {
    let (key, public) = lead(connection, scope);
    let now = wall();
    let chain = [leaf(&public, now, now + seconds)];
    connection.store(key, &chain).unwrap();
    (key, public)
}

pub fn verifies(public: &[u8], digest: &[u8; 32], signature: &[u8]) -> bool {
    let key = VerifyingKey::from_public_key_der(public).unwrap();
    let signature = DerSignature::from_bytes(signature).unwrap();
    key.verify_prehash(digest, &signature).is_ok()
}

/// A certificate (RFC 5280 §4.1) for this SubjectPublicKeyInfo, with empty names
/// and a signature of zeros.
pub fn leaf(public: &[u8], not_before: u64, not_after: u64) -> Vec<u8> {
    const ECDSA_WITH_SHA256: [u8; 12] = [
        0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
    ];
    let version = der(0xa0, &der(0x02, &[2]));
    let validity = der(0x30, &[time(not_before), time(not_after)].concat());
    let empty = der(0x30, &[]);
    let content = [
        version,
        der(0x02, &[1]),
        ECDSA_WITH_SHA256.to_vec(),
        empty.clone(),
        validity,
        empty,
        public.to_vec(),
    ]
    .concat();
    let signature = der(0x03, &[0u8; 9]);
    der(
        0x30,
        &[der(0x30, &content), ECDSA_WITH_SHA256.to_vec(), signature].concat(),
    )
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        length if length < 128 => bytes.push(length as u8),
        length if length < 256 => bytes.extend([0x81, length as u8]),
        length => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    bytes.extend_from_slice(content);
    bytes
}

/// UTCTime (RFC 5280 §4.1.2.5.1).
fn time(unix: u64) -> Vec<u8> {
    let time = x509_cert::der::DateTime::from_unix_duration(Duration::from_secs(unix)).unwrap();
    let text = format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        time.year() % 100,
        time.month(),
        time.day(),
        time.hour(),
        time.minutes(),
        time.seconds()
    );
    der(0x17, text.as_bytes())
}

/// A client without the client library: it passes no descriptor, as if at the
/// far end of a forwarded socket.
pub struct Far(pub UnixStream);

impl Far {
    pub fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut far = Self(stream);
        assert!(matches!(far.ask(&Request::Hello), Response::Welcome(_)));
        far
    }

    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(request);
        self.hear()
    }

    pub fn send(&mut self, request: &Request) {
        write_frame(&mut self.0, &request.print().unwrap()).unwrap();
    }

    pub fn hear(&mut self) -> Response {
        Response::parse(&read_frame(&mut self.0).unwrap()).unwrap()
    }
}
