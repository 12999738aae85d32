//! The client's side: a connection to a daemon, each step of it limited in time.
//! A daemon that is dead, hostile, stopped or flooded costs a signing program its
//! [`ClientTimeouts`] and an error, never more.
//!
//! *Not checked here:* whether the returned chain is trusted, belongs to the
//! expected identity and is valid for long enough: the caller verifies it like
//! any other.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::net::SocketAddrUnix;
use zeroize::Zeroizing;

use crate::listener;
pub use crate::outcome::{AcquireOutcome, CachedCredential, ClientError, ClientTimeouts};
use crate::peer;
use crate::protocol::{
    CONFIRM_TIMEOUT, CacheRequest, CacheResponse, MAX_TEXT, MAX_TOKEN, ProtocolError, Secret,
    frame, read_frame, write_frame,
};
pub use crate::protocol::{DaemonInfo, KeyId, RequestError, Scope, StatusEntry, TokenKind};
use crate::socket_path::{self, SocketPathError};
use crate::stream::{DeadlineStream, IoDeadline, pair, unix_stream};

/// The exit status of a daemon that finds another one running.
pub const EXIT_ALREADY_RUNNING: i32 = 3;
/// The exit status of a daemon without `--confirm` if the last one had it.
pub const EXIT_CONFIRM_REQUIRED: i32 = 4;

/// A connection to a daemon.
pub struct Connection {
    stream: DeadlineStream,
    timeouts: ClientTimeouts,
    daemon: DaemonInfo,
    /// Set once a response did not come: a later one could be taken for another's.
    broken: bool,
}

impl Connection {
    /// Connects, after checking that the path is safe, and greets.
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn open(socket: &Path, timeouts: ClientTimeouts) -> Result<Self, ClientError> {
        let deadline = IoDeadline::after(timeouts.connect);
        let stream = connect(socket, deadline)?;
        let mut connection = Self {
            stream: DeadlineStream { stream, deadline },
            timeouts,
            daemon: DaemonInfo {
                pid: 0,
                locked: false,
                confirms: false,
            },
            broken: false,
        };
        connection.daemon = connection.greet().map_err(|error| match error {
            // gitsign's daemon hangs up on our greeting.
            ClientError::Io(_) | ClientError::Protocol(_)
                if socket_path::is_named_for_gitsign(socket) =>
            {
                ClientError::Gitsign(socket.to_owned())
            }
            error => error,
        })?;
        Ok(connection)
    }

    /// Returns the facts that the daemon reported when it greeted.
    pub fn daemon(&self) -> DaemonInfo {
        self.daemon
    }

    /// Returns the credential of a scope whose certificate is valid for at least
    /// this many seconds. Never waits for a login.
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn find(
        &mut self,
        scope: &Scope,
        min_left: u64,
    ) -> Result<Option<CachedCredential>, ClientError> {
        let request = CacheRequest::Find {
            scope: scope.clone(),
            min_left: clamp(min_left),
        };
        match self.ask(&request)? {
            CacheResponse::Found { key, chain } => Ok(Some((key, chain))),
            CacheResponse::Absent => Ok(None),
            _ => Err(unexpected()),
        }
    }

    /// Returns the credential of a scope, or a key to log in with. If another
    /// client logs in, waits for its outcome for at most `wait`.
    ///
    /// # Errors
    /// Returns [`RequestError::Waited`] when the wait is over, and
    /// [`RequestError::FarAway`] if there is no credential and this end is not on
    /// the daemon's machine.
    pub fn acquire(
        &mut self,
        scope: &Scope,
        min_left: u64,
        wait: Duration,
    ) -> Result<AcquireOutcome, ClientError> {
        let request = CacheRequest::Acquire {
            scope: scope.clone(),
            min_left: clamp(min_left),
            wait: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        match self.ask_within(&request, self.timeouts.answer.saturating_add(wait), None)? {
            CacheResponse::Found { key, chain } => Ok(AcquireOutcome::Found { key, chain }),
            CacheResponse::MustLogIn { key, public } => {
                Ok(AcquireOutcome::MustLogIn { key, public })
            }
            CacheResponse::Failed(reason) => Ok(AcquireOutcome::Failed { reason }),
            _ => Err(unexpected()),
        }
    }

    /// Stores the certificates (DER, leaf first) of a key that this connection
    /// logged in for.
    ///
    /// # Errors
    /// Returns [`RequestError::UnknownKey`] if this connection does not log in
    /// for the key (any more), [`RequestError::NotForThisKey`] or
    /// [`RequestError::Expired`].
    pub fn store(&mut self, key: KeyId, chain: &[Vec<u8>]) -> Result<(), ClientError> {
        let chain = chain.to_vec();
        self.done(&CacheRequest::Store { key, chain })
    }

    /// Reports to all waiting clients that the login failed. The reason is
    /// shortened and made one line if it must be.
    ///
    /// # Errors
    /// Returns [`RequestError::UnknownKey`] if this connection does not log in
    /// for the key (any more).
    pub fn fail(&mut self, key: KeyId, reason: &str) -> Result<(), ClientError> {
        let reason = one_line(reason);
        self.done(&CacheRequest::Fail { key, reason })
    }

    /// Requests an ECDSA signature in DER over a SHA-256 digest.
    ///
    /// # Errors
    /// Returns [`RequestError::UnknownKey`], [`RequestError::Expired`] or
    /// [`RequestError::Denied`].
    pub fn sign(&mut self, key: KeyId, digest: [u8; 32]) -> Result<Vec<u8>, ClientError> {
        let mut patience = self.timeouts.answer;
        if self.daemon.confirms {
            // A prompt that is on the screen comes before that for this request.
            patience = patience.saturating_add(CONFIRM_TIMEOUT.saturating_mul(2));
        }
        match self.ask_within(&CacheRequest::Sign { key, digest }, patience, None)? {
            CacheResponse::Signature(signature) => Ok(signature),
            _ => Err(unexpected()),
        }
    }

    /// Stores a token with the daemon until it expires (Unix seconds; 0 for a
    /// refresh token without an expiry time).
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn keep_token(
        &mut self,
        scope: &Scope,
        kind: TokenKind,
        token: &str,
        expires_unix: u64,
    ) -> Result<(), ClientError> {
        self.done(&CacheRequest::KeepToken {
            scope: scope.clone(),
            kind,
            token: Secret::new(token),
            expires: expires_unix,
        })
    }

    /// Deletes a token from the daemon by replacing it with an expired one.
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn forget_token(&mut self, scope: &Scope, kind: TokenKind) -> Result<(), ClientError> {
        match self.keep_token(scope, kind, "-", 1) {
            Err(ClientError::Refused(RequestError::Expired)) => Ok(()),
            other => other,
        }
    }

    /// Returns a token that the daemon keeps and that has not expired. It comes
    /// through a descriptor that only a process on the same machine can pass.
    ///
    /// # Errors
    /// Returns [`RequestError::FarAway`] over a forwarded socket.
    pub fn token(
        &mut self,
        scope: &Scope,
        kind: TokenKind,
    ) -> Result<Option<Zeroizing<String>>, ClientError> {
        let (theirs, ours) = pair()?;
        let request = CacheRequest::Token {
            scope: scope.clone(),
            kind,
        };
        let response = self.ask_within(&request, self.timeouts.answer, Some(&theirs))?;
        drop(theirs);
        let length = match response {
            CacheResponse::Token(0) => return Ok(None),
            CacheResponse::Token(length) if length as usize <= MAX_TOKEN => length as usize,
            _ => return Err(unexpected()),
        };
        let mut bytes = Zeroizing::new(vec![0u8; length]);
        let mut source = DeadlineStream {
            stream: UnixStream::from(ours),
            deadline: IoDeadline::after(self.timeouts.answer),
        };
        source.read_exact(&mut bytes)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| ClientError::Protocol(ProtocolError::Text("token")))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// Lists everything that the daemon keeps.
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn status(&mut self) -> Result<Vec<StatusEntry>, ClientError> {
        match self.ask(&CacheRequest::Status)? {
            CacheResponse::Status(entries) => Ok(entries),
            _ => Err(unexpected()),
        }
    }

    /// Deletes the keys and tokens of this scope; returns whether there were any.
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn forget(&mut self, scope: &Scope) -> Result<bool, ClientError> {
        match self.ask(&CacheRequest::Forget(scope.clone()))? {
            CacheResponse::Cleared(count) => Ok(count > 0),
            _ => Err(unexpected()),
        }
    }

    /// Deletes every key and token, and returns how many there were.
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn clear(&mut self) -> Result<u32, ClientError> {
        match self.ask(&CacheRequest::Clear)? {
            CacheResponse::Cleared(count) => Ok(count),
            _ => Err(unexpected()),
        }
    }

    /// Deletes everything and ends the daemon.
    ///
    /// # Errors
    /// Returns [`ClientError`].
    pub fn stop(&mut self) -> Result<(), ClientError> {
        match self.ask(&CacheRequest::Stop)? {
            CacheResponse::Stopping => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Greets with a descriptor, which proves that this end is on the daemon's
    /// machine. A forwarder drops it.
    fn greet(&mut self) -> Result<DaemonInfo, ClientError> {
        let (theirs, _ours) = pair()?;
        match self.ask_within(&CacheRequest::Hello, self.timeouts.connect, Some(&theirs))? {
            CacheResponse::Welcome(daemon) => Ok(daemon),
            _ => Err(unexpected()),
        }
    }

    fn done(&mut self, request: &CacheRequest) -> Result<(), ClientError> {
        match self.ask(request)? {
            CacheResponse::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    fn ask(&mut self, request: &CacheRequest) -> Result<CacheResponse, ClientError> {
        self.ask_within(request, self.timeouts.answer, None)
    }

    fn ask_within(
        &mut self,
        request: &CacheRequest,
        patience: Duration,
        descriptor: Option<&OwnedFd>,
    ) -> Result<CacheResponse, ClientError> {
        let payload = request.print()?;
        if self.broken {
            return Err(ClientError::Io(io::ErrorKind::NotConnected.into()));
        }
        self.broken = true;
        self.stream.deadline = IoDeadline::after(patience);
        match descriptor {
            None => write_frame(&mut self.stream, &payload)?,
            Some(descriptor) => self.stream.write_with(&frame(&payload)?, descriptor)?,
        }
        let response = CacheResponse::parse(&read_frame(&mut self.stream)?)?;
        self.broken = false;
        match response {
            CacheResponse::Refused(RequestError::Version) => Err(ClientError::Version),
            CacheResponse::Refused(error) => Err(ClientError::Refused(error)),
            response => Ok(response),
        }
    }
}

/// Starts this program as a daemon on this socket, detached from the terminal
/// and the session, and waits until it answers. Nothing secret is passed. If
/// several clients start one at the same time, one daemon stays and serves all.
///
/// # Errors
/// Returns [`ClientError::Timeout`] if none answers in time, [`ClientError::Io`]
/// if the program cannot be run, [`ClientError::Ended`] if it exits with an
/// error, [`ClientError::ConfirmRequired`] if the last daemon there had
/// `--confirm`, or [`ClientError::Unsafe`].
pub fn start(program: &Path, socket: &Path, wait: Duration) -> Result<(), ClientError> {
    let (directory, _) = socket_path::split(socket).map_err(ClientError::Unsafe)?;
    // The daemon refuses it as well, but its message has less detail.
    match std::fs::symlink_metadata(directory) {
        Ok(facts) => socket_path::private(directory, &facts),
        Err(_) => socket_path::can_create(directory),
    }
    .map_err(ClientError::Unsafe)?;
    if listener::last_daemon_confirmed(socket) {
        return Err(ClientError::ConfirmRequired(socket.to_owned()));
    }
    let deadline = IoDeadline::after(wait);
    let mut started = DaemonProcess::spawn(program, socket)?;
    loop {
        let timeouts = ClientTimeouts::default();
        let timeouts = ClientTimeouts {
            connect: deadline.remaining().min(timeouts.connect),
            ..timeouts
        };
        let absent = match Connection::open(socket, timeouts) {
            Ok(connection) => {
                // Another one was faster. Ours has nothing to keep, and would only
                // take over, without request, if that one ended in these moments.
                if connection.daemon().pid != started.child.id() {
                    started.kill();
                }
                return Ok(());
            }
            Err(ClientError::Absent(_)) => true,
            Err(ClientError::Timeout | ClientError::Io(_)) => false,
            Err(error) => {
                started.kill();
                return Err(error);
            }
        };
        // Reaps it if it ends while this process lives.
        if let Ok(Some(status)) = started.child.try_wait() {
            match status.code() {
                Some(EXIT_CONFIRM_REQUIRED) => {
                    return Err(ClientError::ConfirmRequired(socket.to_owned()));
                }
                // The one that holds the lock is about to end, and then the
                // socket is not served.
                Some(EXIT_ALREADY_RUNNING) if absent && !deadline.remaining().is_zero() => {
                    thread::sleep(RESTART_DELAY);
                    started = DaemonProcess::spawn(program, socket)?;
                }
                Some(EXIT_ALREADY_RUNNING) => {}
                _ if absent => {
                    return Err(ClientError::Ended {
                        program: program.to_owned(),
                        reason: started.last_error().unwrap_or_else(|| status.to_string()),
                    });
                }
                _ => {}
            }
        }
        if deadline.remaining().is_zero() {
            return Err(ClientError::Timeout);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The delay before another daemon is started where the one before found the
/// socket locked by a daemon that does not listen (any more).
const RESTART_DELAY: Duration = Duration::from_millis(50);

/// A started daemon, and the end where its error messages arrive.
struct DaemonProcess {
    child: Child,
    errors: UnixStream,
}

impl DaemonProcess {
    /// Starts a daemon that gets nothing of this process: no environment (it may
    /// contain a token) and no standard stream, but a socket for error messages.
    /// Other descriptors, which a caller of this program may have a lock on or
    /// wait for, the daemon closes before anything else.
    fn spawn(program: &Path, socket: &Path) -> Result<Self, ClientError> {
        let (theirs, ours) = pair()?;
        let child = Command::new(program)
            .args(["--detach", "--socket"])
            .arg(socket)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(theirs))
            .current_dir("/")
            .spawn()?;
        Ok(Self {
            child,
            errors: UnixStream::from(ours),
        })
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Returns the last error that it wrote before it ended.
    fn last_error(&self) -> Option<String> {
        const MOST: u64 = 4096;
        let mut written = Vec::new();
        // It has ended, so reading does not wait.
        let _ = (&self.errors).take(MOST).read_to_end(&mut written);
        let written = String::from_utf8_lossy(&written);
        let error = written
            .lines()
            .filter_map(|line| line.strip_prefix("gitseal-credential-cache: "))
            .next_back()?;
        Some(one_line(error))
    }
}

/// Connects to a process of this user.
fn connect(socket: &Path, deadline: IoDeadline) -> Result<UnixStream, ClientError> {
    use rustix::io::Errno;

    let absent = || ClientError::Absent(socket.to_owned());
    socket_path::check_for_client(socket).map_err(|error| match error {
        SocketPathError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => absent(),
        error => ClientError::Unsafe(error),
    })?;
    let address = SocketAddrUnix::new(socket).map_err(io::Error::from)?;
    let stream = unix_stream()?;
    loop {
        match rustix::net::connect(&stream, &address) {
            Ok(()) => break,
            Err(Errno::CONNREFUSED | Errno::NOENT) => return Err(absent()),
            Err(Errno::INTR) => {}
            // The queue is full; there is nothing to poll for.
            Err(Errno::AGAIN) if !deadline.remaining().is_zero() => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(Errno::AGAIN) => return Err(ClientError::Timeout),
            Err(error) => return Err(ClientError::Io(error.into())),
        }
    }
    peer::of_this_user(&stream).map_err(|error| ClientError::Stranger(error.to_string()))?;
    Ok(stream)
}

fn unexpected() -> ClientError {
    ClientError::Protocol(ProtocolError::Value("response kind"))
}

fn clamp(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Makes one line of plain text that fits a field.
fn one_line(text: &str) -> String {
    let words = text
        .split(|c: char| c.is_control() || c == ' ')
        .filter(|word| !word.is_empty());
    let mut line = words.collect::<Vec<_>>().join(" ");
    let mut end = line.len().min(MAX_TEXT);
    while !line.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    line.truncate(end);
    line
}
