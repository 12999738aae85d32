//! The client's side: a connection to a daemon, each step of it bounded in time.
//! A daemon that is dead, hostile, stopped or flooded costs a signing program its
//! [`Limits`] and an error, never more.
//!
//! *Not checked here:* whether the chain that comes back is trusted, belongs to
//! the wanted identity and still lives long enough: the caller verifies it as it
//! verifies any other (`evidence/chain.rs` of the root package).

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socketpair};
use zeroize::Zeroizing;

pub use crate::answer::{Acquired, ClientError, Credential, Limits};
use crate::connection::send_with;
use crate::gitsign;
use crate::listener::{self, unix_stream};
use crate::peer;
use crate::place::{self, PlaceError};
pub use crate::protocol::{Daemon, Entry, KeyId, Refusal, Scope, TokenKind};
use crate::protocol::{
    MAX_TEXT, MAX_TOKEN, ProtocolError, Request, Response, Secret, read_frame, write_frame,
};

/// A connection to a daemon.
pub struct Connection {
    stream: Bounded,
    limits: Limits,
    daemon: Daemon,
    /// Set once an answer did not come: a later one could be taken for another's.
    broken: bool,
}

impl Connection {
    /// Connects, after looking whether the place is safe, and greets.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn open(socket: &Path, limits: Limits) -> Result<Self, ClientError> {
        let deadline = Deadline::after(limits.connect);
        let stream = connect(socket, deadline)?;
        let mut connection = Self {
            stream: Bounded { stream, deadline },
            limits,
            daemon: Daemon {
                pid: 0,
                locked: false,
                confirms: false,
            },
            broken: false,
        };
        match connection.greet() {
            Ok(daemon) => {
                connection.daemon = daemon;
                Ok(connection)
            }
            // Whoever does not know our greeting may be a gitsign daemon.
            Err(
                ClientError::Io(_)
                | ClientError::Timeout
                | ClientError::Protocol(_)
                | ClientError::Version,
            ) if gitsign::answers(socket, limits.connect) => {
                Err(ClientError::Gitsign(socket.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// What the daemon says about itself.
    pub fn daemon(&self) -> Daemon {
        self.daemon
    }

    /// The credential of a scope whose certificate lives at least this many
    /// seconds. Never waits for a login and never leads one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn find(
        &mut self,
        scope: &Scope,
        min_left: u64,
    ) -> Result<Option<Credential>, ClientError> {
        let request = Request::Find {
            scope: scope.clone(),
            min_left: clamp(min_left),
        };
        match self.ask(&request)? {
            Response::Found { key, chain } => Ok(Some((key, chain))),
            Response::Absent => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    /// The credential of a scope; or the lead; or, if another leads, what becomes
    /// of that, for which this waits at most `wait`.
    ///
    /// # Errors
    /// [`Refusal::Waited`] when the wait is over; [`Refusal::FarAway`] if
    /// there is no credential and this end is not on the daemon's machine.
    pub fn acquire(
        &mut self,
        scope: &Scope,
        min_left_seconds: u64,
        wait: Duration,
    ) -> Result<Acquired, ClientError> {
        let request = Request::Acquire {
            scope: scope.clone(),
            min_left: clamp(min_left_seconds),
            wait: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        match self.ask_within(&request, self.limits.answer.saturating_add(wait), None) {
            Ok(Response::Found { key, chain }) => Ok(Acquired::Found { key, chain }),
            Ok(Response::Lead { key, public }) => Ok(Acquired::Lead { key, public }),
            Ok(Response::Failed(reason)) => Ok(Acquired::Failed { reason }),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(error),
        }
    }

    /// Gives a led key its certificates (DER, leaf first).
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`] if this connection does not lead it (any more),
    /// [`Refusal::NotForThisKey`], [`Refusal::Expired`].
    pub fn store(&mut self, key: KeyId, chain: &[Vec<u8>]) -> Result<(), ClientError> {
        let chain = chain.to_vec();
        self.done(&Request::Store { key, chain })
    }

    /// Says that the login failed, to all who wait for it. The reason is
    /// shortened and made one line if it must be.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`] if this connection does not lead it (any more).
    pub fn fail(&mut self, key: KeyId, reason: &str) -> Result<(), ClientError> {
        let reason = one_line(reason);
        self.done(&Request::Fail { key, reason })
    }

    /// An ECDSA signature in DER over a SHA-256 digest.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`], [`Refusal::Expired`], [`Refusal::Denied`].
    pub fn sign(&mut self, key: KeyId, digest: [u8; 32]) -> Result<Vec<u8>, ClientError> {
        let mut patience = self.limits.answer;
        if self.daemon.confirms {
            patience = patience.saturating_add(crate::confirm::ANSWER);
        }
        match self.ask_within(&Request::Sign { key, digest }, patience, None)? {
            Response::Signature(signature) => Ok(signature),
            other => Err(unexpected(&other)),
        }
    }

    /// Leaves a token with the daemon until it ends (unix seconds; 0 for a
    /// refresh token that does not say).
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn keep_token(
        &mut self,
        scope: &Scope,
        kind: TokenKind,
        token: &str,
        expires_unix: u64,
    ) -> Result<(), ClientError> {
        self.done(&Request::KeepToken {
            scope: scope.clone(),
            kind,
            token: Secret::new(token),
            expires: expires_unix,
        })
    }

    /// Makes the daemon forget a token: it is replaced by one that has ended.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn forget_token(&mut self, scope: &Scope, kind: TokenKind) -> Result<(), ClientError> {
        match self.keep_token(scope, kind, "-", 1) {
            Err(ClientError::Refused(Refusal::Expired)) => Ok(()),
            other => other,
        }
    }

    /// A token that the daemon keeps and that still lives. It comes through a
    /// descriptor that only a process on the same machine can pass.
    ///
    /// # Errors
    /// [`Refusal::FarAway`] over a forwarded socket.
    pub fn token(
        &mut self,
        scope: &Scope,
        kind: TokenKind,
    ) -> Result<Option<Zeroizing<String>>, ClientError> {
        let (theirs, ours) = pair()?;
        let request = Request::Token {
            scope: scope.clone(),
            kind,
        };
        let answer = self.ask_within(&request, self.limits.answer, Some(&theirs))?;
        drop(theirs);
        let length = match answer {
            Response::Token(0) => return Ok(None),
            Response::Token(length) => length as usize,
            other => return Err(unexpected(&other)),
        };
        if length > MAX_TOKEN {
            return Err(unexpected(&Response::Token(0)));
        }
        let mut bytes = Zeroizing::new(vec![0u8; length]);
        let mut source = Bounded {
            stream: UnixStream::from(ours),
            deadline: Deadline::after(self.limits.answer),
        };
        source.read_exact(&mut bytes)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| ClientError::Protocol(ProtocolError::Text("token")))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// What is kept.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&mut self) -> Result<Vec<Entry>, ClientError> {
        match self.ask(&Request::Status)? {
            Response::Status(entries) => Ok(entries),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes the daemon forget this scope's keys and tokens; whether it had any.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn forget(&mut self, scope: &Scope) -> Result<bool, ClientError> {
        match self.ask(&Request::Forget(scope.clone()))? {
            Response::Cleared(count) => Ok(count > 0),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes the daemon forget every key and token; how many those were.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn clear(&mut self) -> Result<u32, ClientError> {
        match self.ask(&Request::Clear)? {
            Response::Cleared(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes the daemon forget everything and end.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stop(&mut self) -> Result<(), ClientError> {
        match self.ask(&Request::Stop)? {
            Response::Stopping => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The greeting carries a descriptor, which says that this end is on the
    /// daemon's machine. A forwarder drops it.
    fn greet(&mut self) -> Result<Daemon, ClientError> {
        let (theirs, _ours) = pair()?;
        match self.ask_within(&Request::Hello, self.limits.connect, Some(&theirs))? {
            Response::Welcome(daemon) => Ok(daemon),
            other => Err(unexpected(&other)),
        }
    }

    fn done(&mut self, request: &Request) -> Result<(), ClientError> {
        match self.ask(request)? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.ask_within(request, self.limits.answer, None)
    }

    fn ask_within(
        &mut self,
        request: &Request,
        patience: Duration,
        descriptor: Option<&OwnedFd>,
    ) -> Result<Response, ClientError> {
        let payload = request.print()?;
        if self.broken {
            return Err(ClientError::Io(io::ErrorKind::NotConnected.into()));
        }
        self.broken = true;
        self.stream.deadline = Deadline::after(patience);
        match descriptor {
            None => write_frame(&mut self.stream, &payload)?,
            Some(descriptor) => self.stream.send_with(&payload, descriptor)?,
        }
        let answer = Response::parse(&read_frame(&mut self.stream)?)?;
        self.broken = false;
        match answer {
            Response::Refused(Refusal::Version) => Err(ClientError::Version),
            Response::Refused(refusal) => Err(ClientError::Refused(refusal)),
            answer => Ok(answer),
        }
    }
}

/// Starts this program as a daemon on this socket, detached from the terminal
/// and the session, and waits until it answers. Nothing secret is passed. When
/// several start one at the same time, one daemon stays and all are content.
///
/// # Errors
/// [`ClientError::Timeout`] if none answers in time; [`ClientError::Io`] if the
/// program cannot be run; [`ClientError::Ended`] if it complains;
/// [`ClientError::Asks`] if the last one there was
/// started to ask before each signature; [`ClientError::Unsafe`].
pub fn start(program: &Path, socket: &Path, wait: Duration) -> Result<(), ClientError> {
    let (directory, _) = place::split(socket).map_err(ClientError::Unsafe)?;
    // The daemon refuses it as well, and can say less about it.
    match std::fs::symlink_metadata(directory) {
        Ok(facts) => place::private(directory, &facts),
        Err(_) => place::may_be_made(directory),
    }
    .map_err(ClientError::Unsafe)?;
    if listener::asked(socket) {
        return Err(ClientError::Asks(socket.to_owned()));
    }
    let deadline = Deadline::after(wait);
    let mut started = spawn(program, socket)?;
    loop {
        let limits = Limits {
            connect: deadline.left().min(Limits::default().connect),
            ..Limits::default()
        };
        let absent = match Connection::open(socket, limits) {
            Ok(connection) => {
                // Another one was faster. Ours has nothing to keep, and would only
                // take over, unasked, if that one ended in these moments.
                if connection.daemon().pid != started.child.id() {
                    let _ = started.child.kill();
                    let _ = started.child.wait();
                }
                return Ok(());
            }
            Err(ClientError::Absent(_)) => true,
            Err(ClientError::Timeout | ClientError::Io(_)) => false,
            Err(error) => {
                let _ = started.child.kill();
                let _ = started.child.wait();
                return Err(error);
            }
        };
        // Reaps it if it ends while this process lives.
        if let Ok(Some(status)) = started.child.try_wait() {
            match status.code() {
                Some(ASKED_BEFORE) => return Err(ClientError::Asks(socket.to_owned())),
                // The one that holds the lock is about to end, and then nobody
                // is there.
                Some(ALREADY_SERVED) if absent && !deadline.left().is_zero() => {
                    thread::sleep(AGAIN);
                    started = spawn(program, socket)?;
                }
                Some(ALREADY_SERVED) => {}
                _ if absent => {
                    return Err(ClientError::Ended {
                        program: program.to_owned(),
                        said: started.last_words().unwrap_or_else(|| status.to_string()),
                    });
                }
                _ => {}
            }
        }
        if deadline.left().is_zero() {
            return Err(ClientError::Timeout);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// After how long another one is started where the one before found the place
/// taken by a daemon that does not listen (any more).
const AGAIN: Duration = Duration::from_millis(50);

/// A daemon that was started, and the end where its complaints come.
struct Started {
    child: Child,
    complaints: UnixStream,
}

impl Started {
    /// What it complained of before it ended.
    fn last_words(&self) -> Option<String> {
        const MOST: u64 = 4096;
        let mut said = Vec::new();
        // It has ended: there is no more to wait for, and reading does not.
        let _ = (&self.complaints).take(MOST).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        let complaint = said
            .lines()
            .filter_map(|line| line.strip_prefix("gitseal-credential-cache: "))
            .next_back()?;
        Some(one_line(complaint))
    }
}

/// Nothing of this process goes along: no environment (it may hold a token) and
/// no standard stream, but a socket for complaints that nobody else waits on.
/// Other descriptors, which a caller of this program may have a lock on or wait
/// for, the daemon closes before anything else.
fn spawn(program: &Path, socket: &Path) -> Result<Started, ClientError> {
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
    Ok(Started {
        child,
        complaints: UnixStream::from(ours),
    })
}

/// The exit status of a daemon that finds another one serving.
pub const ALREADY_SERVED: i32 = 3;
/// The exit status of a daemon that does not ask, and finds that the one before
/// it did.
pub const ASKED_BEFORE: i32 = 4;

/// A moment after which nothing is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now().checked_add(patience))
    }

    pub(crate) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }
}

/// A stream whose reads and writes together end at a deadline.
pub(crate) struct Bounded {
    pub(crate) stream: UnixStream,
    pub(crate) deadline: Deadline,
}

impl Bounded {
    fn wait_for(&self, what: PollFlags) -> io::Result<()> {
        loop {
            let left = self.deadline.left();
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec::try_from(left.min(Duration::from_secs(3600)))
                .map_err(|_| io::ErrorKind::InvalidInput)?;
            let mut watched = [PollFd::new(&self.stream, what)];
            match poll(&mut watched, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send_with(&mut self, payload: &[u8], descriptor: &OwnedFd) -> Result<(), ProtocolError> {
        let mut frame = Zeroizing::new(Vec::with_capacity(payload.len().saturating_add(4)));
        write_frame(&mut *frame, payload)?;
        let sent = loop {
            match send_with(&self.stream, &frame, descriptor) {
                Ok(sent) => break sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::OUT)?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        Ok(self.write_all(frame.get(sent..).unwrap_or(&[]))?)
    }
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.stream).read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::IN)?;
                }
                other => return other,
            }
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        loop {
            match (&self.stream).write(from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::OUT)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connected socket that does not block, to a process of this user.
pub(crate) fn connect(socket: &Path, deadline: Deadline) -> Result<UnixStream, ClientError> {
    let absent = || ClientError::Absent(socket.to_owned());
    match place::check_for_client(socket) {
        Ok(()) => {}
        Err(PlaceError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Err(absent());
        }
        Err(error) => return Err(ClientError::Unsafe(error)),
    }
    let address = SocketAddrUnix::new(socket).map_err(|error| ClientError::Io(error.into()))?;
    let stream = unix_stream()?;
    loop {
        match rustix::net::connect(&stream, &address) {
            Ok(()) => break,
            Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => return Err(absent()),
            Err(rustix::io::Errno::INTR) => {}
            // The queue is full; there is nothing to poll for.
            Err(rustix::io::Errno::AGAIN) if !deadline.left().is_zero() => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(rustix::io::Errno::AGAIN) => return Err(ClientError::Timeout),
            Err(error) => return Err(ClientError::Io(error.into())),
        }
    }
    peer::of_this_user(&stream).map_err(|error| ClientError::Stranger(error.to_string()))?;
    Ok(stream)
}

fn pair() -> Result<(OwnedFd, OwnedFd), ClientError> {
    let made = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::empty(),
        None,
    );
    let (theirs, ours) = made.map_err(|error| ClientError::Io(error.into()))?;
    for end in [&theirs, &ours] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)
            .map_err(|error| ClientError::Io(error.into()))?;
        rustix::io::ioctl_fionbio(end, true).map_err(|error| ClientError::Io(error.into()))?;
    }
    Ok((theirs, ours))
}

fn unexpected(_response: &Response) -> ClientError {
    ClientError::Protocol(ProtocolError::Value("the kind of answer"))
}

fn clamp(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// One line of plain text that fits a field.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_control() || c == ' ') {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let mut end = line.len().min(MAX_TEXT);
    while !line.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    line.truncate(end);
    line
}
