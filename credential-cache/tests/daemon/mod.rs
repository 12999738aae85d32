//! A daemon of a test's own, in a directory of its own, and the means to speak to
//! it: scopes, certificates made by hand, raw sockets.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use gitseal_credential_cache::client::{
    self, AcquireOutcome, ClientError, ClientTimeouts, Connection, KeyId,
};
use gitseal_credential_cache::confirm::{Confirm, PromptMethod};
use gitseal_credential_cache::listener::{ConfirmMode, Listener};
use gitseal_credential_cache::protocol::{
    CacheRequest, CacheResponse, Scope, read_frame, write_frame,
};
use gitseal_credential_cache::server::{DaemonOptions, IDLE_TIMEOUT, Server};
use gitseal_credential_cache::{clock, harden, secret};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;

mod certificate;
pub use certificate::leaf;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_gitseal-credential-cache");

/// Long, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub const TIMEOUTS: ClientTimeouts = ClientTimeouts {
    connect: PATIENCE,
    answer: PATIENCE,
};

/// The user `nobody`.
pub const NOBODY: u32 = 65534;

/// The entropy of a controlled daemon: its private key.
pub const KNOWN: [u8; 32] = *b"\x13known entropy of a test, only..";

pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Ends a test that cannot run here; a failure where GITSEAL_REQUIRE_PEERS is set.
macro_rules! skip {
    ($reason:literal) => {{
        assert!(std::env::var_os("GITSEAL_REQUIRE_PEERS").is_none(), $reason);
        println!("skipped: {}", $reason);
        return;
    }};
}
pub(crate) use skip;

/// Ends a test that is about another user or system than this one.
macro_rules! not_applicable {
    ($reason:literal) => {{
        println!("not applicable: {}", $reason);
        return;
    }};
}
pub(crate) use not_applicable;

/// Asserts that a client got this error.
macro_rules! assert_fails {
    ($result:expr, $error:pat) => {
        match &$result {
            Err($error) => {}
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("it succeeds"),
        }
    };
}
pub(crate) use assert_fails;

/// A daemon process that is killed when dropped.
pub struct Daemon {
    pub child: Child,
    pub socket: PathBuf,
    pub directory: tempfile::TempDir,
}

impl Daemon {
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(private_directory(), options)
    }

    /// Starts another one on the socket of this one, which has ended.
    pub fn again(mut self, options: &[&str]) -> Self {
        let directory = std::mem::replace(&mut self.directory, private_directory());
        Self::start_in(directory, options)
    }

    fn start_in(directory: tempfile::TempDir, options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(options).arg("--socket");
        Self::start_with(directory, command, |command, socket| {
            command.arg(socket).stdin(Stdio::null());
        })
    }

    /// Starts a daemon whose clock [`Daemon::advance`] moves and whose key is
    /// known: this test program itself. The product has no such entry point.
    /// After it has served, the process stays until its standard input ends.
    pub fn controlled(askpass: Option<&Path>) -> Self {
        let mut command = helper("daemon::controlled_daemon");
        command.env("GITSEAL_TEST_ASKPASS", askpass.unwrap_or(Path::new("")));
        Self::start_with(private_directory(), command, |command, socket| {
            command
                .env("GITSEAL_TEST_SOCKET", socket)
                .stdin(Stdio::piped());
        })
    }

    fn start_with(
        directory: tempfile::TempDir,
        mut command: Command,
        finish: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let socket = directory.path().join("s");
        let errors = fs::File::create(directory.path().join("stderr")).unwrap();
        command.stdout(Stdio::null()).stderr(Stdio::from(errors));
        finish(&mut command, &socket);
        let child = command.spawn().unwrap();
        within(PATIENCE, || UnixStream::connect(&socket).is_ok());
        Self {
            child,
            socket,
            directory,
        }
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.socket, TIMEOUTS).unwrap()
    }

    /// Connects and logs in for ten minutes.
    pub fn credential(&self) -> (Connection, KeyId) {
        let mut connection = self.connect();
        let (key, _) = credential(&mut connection, &scope("a"), 600);
        (connection, key)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    /// Moves the clock of a controlled daemon forward, and has it look at it.
    pub fn advance(&self, seconds: u64) {
        let file = self.socket.with_extension("clock");
        let before = offset(&file);
        let new = file.with_extension("new");
        fs::write(&new, (before + seconds).to_string()).unwrap();
        fs::rename(&new, &file).unwrap();
        let _ = UnixStream::connect(&self.socket);
    }

    /// Returns how many descriptors it holds; only root can count those of a
    /// process that is not dumpable.
    pub fn descriptors(&self) -> Option<usize> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid())).ok()?;
        Some(entries.count())
    }

    pub fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the daemon.
    pub fn ended(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        end_of(&mut self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process.
pub fn end_of(child: &mut Child) -> ExitStatus {
    let mut status = None;
    within(PATIENCE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

pub fn send_signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn offset(file: &Path) -> u64 {
    fs::read_to_string(file).map_or(0, |seconds| seconds.parse().unwrap())
}

/// The process of [`Daemon::controlled`].
#[test]
#[ignore = "started by other tests"]
fn controlled_daemon() {
    let socket = PathBuf::from(std::env::var_os("GITSEAL_TEST_SOCKET").unwrap());
    let askpass = PathBuf::from(std::env::var_os("GITSEAL_TEST_ASKPASS").unwrap());
    let (signals, raised) = UnixStream::pair().unwrap();
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, raised).unwrap();
    let file = socket.with_extension("clock");
    let options = DaemonOptions {
        idle_timeout: Some(IDLE_TIMEOUT),
        confirm: (askpass != Path::new(""))
            .then(|| Confirm::new(PromptMethod::Program(askpass), Duration::ZERO)),
        // Only root may look into a hardened process.
        locked: root() && harden::harden().locked,
        clock: Box::new(move || {
            let (offset, now) = (offset(&file), clock::system());
            clock::Now {
                since_boot: now.since_boot + Duration::from_secs(offset),
                wall: now.wall + offset,
            }
        }),
        entropy: Box::new(|bytes| {
            if bytes.len() == KNOWN.len() {
                // Computed each time: the constant itself is not in the heap.
                bytes.copy_from_slice(&KNOWN.map(|byte| std::hint::black_box(byte) ^ 0x20));
                true
            } else {
                secret::system_entropy(bytes)
            }
        }),
        log: Box::new(|_| {}),
        signals,
    };
    let listener = Listener::bind(&socket, ConfirmMode::OffManual).unwrap();
    Server::new(listener, options).run().unwrap();
    // Everything is dropped, and the memory can be searched.
    let _ = std::io::stdin().read(&mut [0]);
}

/// Returns a command that runs one ignored test of this program as a process of
/// its own.
pub fn helper(test: &str) -> Command {
    helper_at(&std::env::current_exe().unwrap(), test)
}

pub fn helper_at(program: &Path, test: &str) -> Command {
    let mut command = Command::new(program);
    command.args([
        "--exact",
        test,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
}

pub fn private_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("gs").tempdir().unwrap();
    set_mode(directory.path(), 0o700);
    directory
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Copies a program by another process: while this one has it open for writing, a child
/// that another test forks keeps it open, and it cannot be started.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Runs the program and returns its exit status and output.
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

/// Runs the program on this socket, where it must fail.
pub fn refused(socket: &Path, reason: &str) -> String {
    let (status, said) = run(&["--socket", socket.to_str().unwrap()]);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(reason), "{said}");
    said
}

/// Starts a daemon as gitseal does.
pub fn start(socket: &Path) -> Result<(), ClientError> {
    client::start(PROGRAM.as_ref(), socket, Duration::from_secs(15))
}

pub fn within(patience: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < patience, "not within {patience:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs something that must not take long.
pub fn timed<T>(limit: Duration, action: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = action();
    assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
    result
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
        trusted_root: "ab".repeat(32),
        subject: subject.into(),
    }
}

pub fn start_login(connection: &mut Connection, scope: &Scope) -> (KeyId, Vec<u8>) {
    match connection.acquire(scope, 20, Duration::ZERO).unwrap() {
        AcquireOutcome::MustLogIn { key, public } => (key, public),
        other => panic!("{other:?}"),
    }
}

/// Stores a certificate for so many seconds.
pub fn certify(
    connection: &mut Connection,
    key: KeyId,
    public: &[u8],
    seconds: u64,
) -> Result<(), ClientError> {
    let now = wall();
    connection.store(key, &[leaf(public, now, now + seconds)])
}

/// Logs in: the scope has a credential for so many seconds.
pub fn credential(connection: &mut Connection, scope: &Scope, seconds: u64) -> (KeyId, Vec<u8>) {
    let (key, public) = start_login(connection, scope);
    certify(connection, key, &public, seconds).unwrap();
    (key, public)
}

pub fn verifies(public: &[u8], digest: &[u8; 32], signature: &[u8]) -> bool {
    let key = VerifyingKey::from_public_key_der(public).unwrap();
    let signature = DerSignature::from_bytes(signature).unwrap();
    key.verify_prehash(digest, &signature).is_ok()
}

/// Connects without a word.
pub fn dial(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn sign_request(key: KeyId, byte: u8) -> CacheRequest {
    let digest = [byte; 32];
    CacheRequest::Sign { key, digest }
}

pub fn acquire_request(scope: &Scope, wait: u32) -> CacheRequest {
    CacheRequest::Acquire {
        scope: scope.clone(),
        min_left: 20,
        wait,
    }
}

/// A client without the client library: it passes no descriptor, as if at the
/// far end of a forwarded socket.
pub struct Far(pub UnixStream);

impl Far {
    pub fn open(socket: &Path) -> Self {
        let mut far = Self(dial(socket));
        let welcome = far.ask(&CacheRequest::Hello);
        assert!(matches!(welcome, CacheResponse::Welcome(_)));
        far
    }

    pub fn ask(&mut self, request: &CacheRequest) -> CacheResponse {
        self.send(request);
        self.receive()
    }

    pub fn send(&mut self, request: &CacheRequest) {
        write_frame(&mut self.0, &request.print().unwrap()).unwrap();
    }

    pub fn receive(&mut self) -> CacheResponse {
        CacheResponse::parse(&read_frame(&mut self.0).unwrap()).unwrap()
    }
}
