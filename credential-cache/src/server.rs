//! The daemon's one thread and its one loop: it waits for the first of all events
//! (a connection, bytes, a signal, the expiry of a key or token) and never blocks
//! elsewhere.
//!
//! *Not checked here:* the rights to a key (`store.rs`), the process that
//! connected (`peer.rs`), the path of the socket (`listener.rs`).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zeroize::Zeroizing;

use crate::clock::{Clock, Now};
use crate::confirm::{Confirm, ConfirmDecision, ConfirmRequest};
use crate::connection::{Phase, ReadOutcome, ServerConnection, send_token};
use crate::listener::Listener;
use crate::peer;
use crate::protocol::{
    CacheRequest, CacheResponse, DaemonInfo, KeyId, ProtocolError, RequestError,
};
use crate::secret::{Entropy, scrub_stack};
use crate::store::{ConnectionId, Store};

/// The most connections at a time; beyond it, the one that was silent longest is
/// dropped.
pub const MAX_CONNECTIONS: usize = 512;

/// The most bytes of unfinished frames and unsent responses of all connections.
pub const MAX_HELD: usize = 1024 * 1024;

/// The default time after which a daemon without keys and tokens ends.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The interval of checks whether the socket is still in place.
const SOCKET_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// The most connections that are accepted before those that wait are served.
const ACCEPTS: usize = 64;

/// The time without accepting after the system had no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The settings and system services of a daemon.
pub struct DaemonOptions {
    /// The time after which it ends without keys and tokens; None: never.
    pub idle_timeout: Option<Duration>,
    /// The prompt before each signature, if any.
    pub confirm: Option<Confirm>,
    /// Whether the memory of the process is locked, for the status.
    pub locked: bool,
    /// The source of the current time.
    pub clock: Clock,
    /// The source of entropy.
    pub entropy: Entropy,
    /// The log of events. No line contains a secret.
    pub log: Box<dyn FnMut(&str)>,
    /// Becomes readable when a signal ends the process.
    pub signals: UnixStream,
}

/// A daemon that serves one socket.
pub struct Server {
    listener: Listener,
    options: DaemonOptions,
    store: Store,
    connections: BTreeMap<ConnectionId, ServerConnection>,
    next: ConnectionId,
    empty_since: Option<Now>,
    checked: Now,
    paused: Option<Now>,
    ends: bool,
}

impl Server {
    /// Creates a daemon on this socket.
    pub fn new(listener: Listener, mut options: DaemonOptions) -> Self {
        let now = (options.clock)();
        let entropy = std::mem::replace(&mut options.entropy, Box::new(|_| false));
        Self {
            listener,
            store: Store::new(entropy),
            options,
            connections: BTreeMap::new(),
            next: 1,
            empty_since: None,
            checked: now,
            paused: None,
            ends: false,
        }
    }

    /// Serves until it is stopped, or until no keys and tokens are left. Keys and
    /// tokens are zeroized at the end in any case.
    ///
    /// # Errors
    /// Returns the error of the system if it cannot wait.
    pub fn run(mut self) -> io::Result<()> {
        let result = loop {
            let now = self.now();
            self.store.expire(now);
            self.answer_waiting(now);
            self.drop_overdue(now);
            if let Some(reason) = self.end_reason(now) {
                (self.options.log)(reason);
                break Ok(());
            }
            if let Err(error) = self.wait_and_serve(now) {
                break Err(error);
            }
        };
        self.store.clear();
        for (id, answer) in self.store.take_answers() {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.send_response(&answer, (self.options.clock)());
            }
        }
        result
    }

    fn now(&self) -> Now {
        (self.options.clock)()
    }

    /// Returns the reason to end now, if there is one.
    fn end_reason(&mut self, now: Now) -> Option<&'static str> {
        if self.ends && !self.connections.values().any(ServerConnection::writes) {
            return Some("stopped");
        }
        if now.since(self.checked) >= SOCKET_CHECK_INTERVAL {
            self.checked = now;
            if !self.listener.is_reachable() {
                return Some("socket removed");
            }
        }
        if !self.store.is_empty() || self.connections.values().any(|c| c.phase != Phase::New) {
            self.empty_since = None;
            return None;
        }
        let since = *self.empty_since.get_or_insert(now);
        let limit = self.options.idle_timeout?;
        (now.since(since) >= limit).then_some("no credentials left")
    }

    /// Returns how long the loop may wait for the next event.
    fn patience(&self, now: Now) -> Duration {
        let connections = self
            .connections
            .values()
            .filter_map(|c| c.remaining(now, self.store.is_logging_in(c.id)));
        let idle = self
            .options
            .idle_timeout
            .zip(self.empty_since)
            .map(|(limit, since)| limit.saturating_sub(now.since(since)));
        let confirm = self
            .options
            .confirm
            .as_ref()
            .and_then(|c| c.poll_interval(now));
        connections
            .chain(self.store.next_end(now))
            .chain(idle)
            .chain(confirm)
            .chain(self.paused.map(|_| PAUSE))
            .min()
            .unwrap_or(SOCKET_CHECK_INTERVAL)
            .min(SOCKET_CHECK_INTERVAL)
    }

    fn wait_and_serve(&mut self, now: Now) -> io::Result<()> {
        let patience = self.patience(now);
        let ready = self.wait(patience)?;
        let now = self.now();
        if ready.signal {
            self.ends = true;
            (self.options.log)("terminated by signal");
            return Ok(());
        }
        for id in ready.connections {
            self.serve(id, now);
        }
        self.apply_decisions(now);
        if ready.listener {
            self.accept(now);
        }
        Ok(())
    }

    fn wait(&mut self, patience: Duration) -> io::Result<ReadySockets> {
        // A millisecond more, so that the event has happened.
        let timeout = Timespec::try_from(patience.saturating_add(Duration::from_millis(1)))
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let listen = if self.paused.is_none() {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut names = Vec::with_capacity(self.connections.len());
        let mut watched = Vec::with_capacity(self.connections.len().saturating_add(3));
        watched.push(PollFd::new(&self.options.signals, PollFlags::IN));
        watched.push(PollFd::new(&self.listener.socket, listen));
        for (id, connection) in &self.connections {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, connection.reads());
            flags.set(PollFlags::OUT, connection.writes());
            names.push(*id);
            watched.push(PollFd::new(&connection.socket, flags));
        }
        if let Some(answer) = self.options.confirm.as_ref().and_then(Confirm::watched) {
            watched.push(PollFd::from_borrowed_fd(answer, PollFlags::IN));
        }
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut events = watched.iter().map(|fd| !fd.revents().is_empty());
        let signal = events.next().unwrap_or(false);
        let listener = events.next().unwrap_or(false);
        let connections = names
            .into_iter()
            .zip(events)
            .filter_map(|(id, ready)| ready.then_some(id))
            .collect();
        self.paused = None;
        Ok(ReadySockets {
            signal,
            listener,
            connections,
        })
    }

    fn accept(&mut self, now: Now) {
        for _ in 0..ACCEPTS {
            let socket = match self.listener.socket.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    // Out of descriptors or memory: an idle connection makes room.
                    if !self.make_room(now) {
                        self.paused = Some(now);
                    }
                    return;
                }
            };
            let peer = match peer::of_this_user(&socket) {
                Ok(peer) => peer,
                Err(error) => {
                    (self.options.log)(&format!("connection refused: {error}"));
                    continue;
                }
            };
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            let mut connection = ServerConnection::new(self.next, socket, peer, now);
            self.next = self.next.saturating_add(1);
            if self.connections.len() >= MAX_CONNECTIONS && !self.make_room(now) {
                connection.send_response(&CacheResponse::Refused(RequestError::Full), now);
                continue;
            }
            self.connections.insert(connection.id, connection);
        }
    }

    /// Drops the connection without a pending request that was silent longest.
    fn make_room(&mut self, now: Now) -> bool {
        let oldest = self
            .connections
            .values()
            .filter(|c| c.is_idle() && !self.store.is_logging_in(c.id))
            .min_by_key(|c| (c.active.since_boot, c.id))
            .map(|c| c.id);
        if let Some(id) = oldest {
            self.hang_up(id, now);
        }
        oldest.is_some()
    }

    fn drop_overdue(&mut self, now: Now) {
        let overdue: Vec<ConnectionId> = self
            .connections
            .values()
            .filter(|c| {
                c.remaining(now, self.store.is_logging_in(c.id))
                    .is_some_and(|left| left.is_zero())
            })
            .map(|c| c.id)
            .collect();
        for id in overdue {
            self.hang_up(id, now);
        }
        let mut held: usize = self.connections.values().map(ServerConnection::held).sum();
        while held > MAX_HELD {
            let largest = self.connections.values().max_by_key(|c| c.held());
            let Some((id, size)) = largest.map(|c| (c.id, c.held())) else {
                return;
            };
            held = held.saturating_sub(size);
            self.hang_up(id, now);
        }
    }

    fn hang_up(&mut self, id: ConnectionId, now: Now) {
        self.remove(id, now);
        self.answer_waiting(now);
    }

    fn remove(&mut self, id: ConnectionId, now: Now) {
        self.connections.remove(&id);
        if let Some(confirm) = &mut self.options.confirm {
            confirm.forget(id, now);
        }
        self.store.disconnect(id, now);
    }

    /// Sends the answers of the store to clients that waited.
    fn answer_waiting(&mut self, now: Now) {
        loop {
            let answers = self.store.take_answers();
            if answers.is_empty() {
                return;
            }
            for (id, answer) in answers {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.phase = Phase::Open;
                }
                self.send_response(id, &answer, now);
            }
        }
    }

    fn send_response(&mut self, id: ConnectionId, response: &CacheResponse, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !connection.send_response(response, now) {
            self.remove(id, now);
        } else if connection.phase == Phase::Closing && !connection.writes() {
            self.hang_up(id, now);
        }
    }

    fn serve(&mut self, id: ConnectionId, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.writes() {
            let alive = connection.write(now);
            if !alive || (connection.phase == Phase::Closing && !connection.writes()) {
                self.hang_up(id, now);
            }
            return;
        }
        if !connection.reads() {
            // No bytes are expected of it, so this is its end.
            self.hang_up(id, now);
            return;
        }
        match connection.read(now) {
            ReadOutcome::Nothing => {}
            ReadOutcome::Over => self.hang_up(id, now),
            ReadOutcome::Frame(payload) => {
                self.handle_request(id, &payload, now);
                self.answer_waiting(now);
            }
        }
    }

    fn handle_request(&mut self, id: ConnectionId, payload: &Zeroizing<Vec<u8>>, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let request = match CacheRequest::parse(payload) {
            Ok(CacheRequest::Hello) if connection.phase == Phase::New => CacheRequest::Hello,
            Ok(request) if connection.phase == Phase::Open => request,
            other => {
                let error = match other {
                    Err(ProtocolError::Version(_)) => RequestError::Version,
                    _ => RequestError::Unreadable,
                };
                connection.phase = Phase::Closing;
                return self.send_response(id, &CacheResponse::Refused(error), now);
            }
        };
        connection.phase = Phase::Open;
        let secret = matches!(request, CacheRequest::KeepToken { .. });
        let answer = self.answer(id, request, now);
        if secret {
            scrub_stack();
        }
        if let Some(answer) = answer.unwrap_or_else(|error| Some(CacheResponse::Refused(error))) {
            self.send_response(id, &answer, now);
        }
    }

    /// Returns the response to a request; None if it will come later.
    fn answer(
        &mut self,
        id: ConnectionId,
        request: CacheRequest,
        now: Now,
    ) -> Result<Option<CacheResponse>, RequestError> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(None);
        };
        let requester = connection.requester();
        let descriptor = connection.take_descriptor();
        if is_local_only(&request) && !requester.local {
            return Err(RequestError::FarAway);
        }
        let response = match request {
            CacheRequest::Hello => CacheResponse::Welcome(DaemonInfo {
                pid: std::process::id(),
                locked: self.options.locked,
                confirms: self.options.confirm.is_some(),
            }),
            CacheRequest::Find { scope, min_left } => self
                .store
                .find(&scope, min_left, now)
                .unwrap_or(CacheResponse::Absent),
            CacheRequest::Acquire {
                scope,
                min_left,
                wait,
            } => {
                let wait = Duration::from_millis(u64::from(wait));
                let answer = self.store.acquire(requester, &scope, min_left, wait, now)?;
                if answer.is_none() {
                    connection.phase = Phase::Waiting;
                }
                return Ok(answer);
            }
            CacheRequest::Store { key, chain } => self.store.store(id, key, chain, now)?,
            CacheRequest::Fail { key, reason } => self.store.fail(id, key, &reason)?,
            CacheRequest::Sign { key, digest } => return self.sign(id, key, digest, now),
            CacheRequest::Status => CacheResponse::Status(self.store.status(now)),
            CacheRequest::Clear => CacheResponse::Cleared(self.store.clear()),
            CacheRequest::Stop => {
                self.ends = true;
                self.store.clear();
                connection.phase = Phase::Closing;
                CacheResponse::Stopping
            }
            CacheRequest::KeepToken {
                scope,
                kind,
                token,
                expires,
            } => self.store.keep_token(&scope, kind, token, expires, now)?,
            CacheRequest::Token { scope, kind } => {
                let into = descriptor.ok_or(RequestError::FarAway)?;
                let token = self.store.token(&scope, kind, now).unwrap_or_default();
                if !token.is_empty() {
                    send_token(token, &into).map_err(|_| RequestError::Internal)?;
                }
                CacheResponse::Token(u32::try_from(token.len()).unwrap_or(0))
            }
            CacheRequest::Forget(scope) => CacheResponse::Cleared(self.store.forget(&scope)),
        };
        Ok(Some(response))
    }

    fn sign(
        &mut self,
        id: ConnectionId,
        key: KeyId,
        digest: [u8; 32],
        now: Now,
    ) -> Result<Option<CacheResponse>, RequestError> {
        // The proof of possession for a pending key needs no confirmation.
        let pending = self.store.is_pending(&key);
        let scope = self.store.may_sign(id, &key, now)?;
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(None);
        };
        if let Some(confirm) = &mut self.options.confirm
            && !pending
            && !confirm.is_remembered(connection.peer, now)
        {
            let subject = match scope.subject.as_str() {
                "" => "the logged-in identity",
                subject => subject,
            };
            let request = ConfirmRequest {
                connection: id,
                peer: connection.peer,
                key,
                digest,
                local: connection.local,
                identity: format!("{subject} ({})", scope.issuer),
            };
            connection.phase = Phase::Confirming;
            confirm.submit(request, now);
            return Ok(None);
        }
        self.signature(id, &key, &digest, now).map(Some)
    }

    fn signature(
        &mut self,
        id: ConnectionId,
        key: &KeyId,
        digest: &[u8; 32],
        now: Now,
    ) -> Result<CacheResponse, RequestError> {
        let signature = self.store.sign(id, key, digest, now)?;
        let pid = self.connections.get(&id).map_or(0, |c| c.peer.pid);
        (self.options.log)(&format!("signed for process {pid}"));
        Ok(CacheResponse::Signature(signature))
    }

    /// Answers the requests that the user has decided.
    fn apply_decisions(&mut self, now: Now) {
        while let Some((request, decision)) =
            self.options.confirm.as_mut().and_then(|c| c.poll(now))
        {
            let id = request.connection;
            let answer = match decision {
                // Much time may have passed: the store checks the expiry again.
                ConfirmDecision::Granted => self.signature(id, &request.key, &request.digest, now),
                ConfirmDecision::Denied => Err(RequestError::Denied),
            };
            let outcome = match decision {
                ConfirmDecision::Granted => "confirmed",
                ConfirmDecision::Denied => "not confirmed",
            };
            (self.options.log)(&format!("process {}: {outcome}", request.peer.pid));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.phase = Phase::Open;
                let answer = answer.unwrap_or_else(CacheResponse::Refused);
                self.send_response(id, &answer, now);
            }
        }
    }
}

struct ReadySockets {
    signal: bool,
    listener: bool,
    connections: Vec<ConnectionId>,
}

/// Returns whether a request changes the store or returns a token: those are for
/// this machine alone. A forwarded socket may only find keys and sign.
fn is_local_only(request: &CacheRequest) -> bool {
    match request {
        CacheRequest::Store { .. }
        | CacheRequest::Fail { .. }
        | CacheRequest::Clear
        | CacheRequest::Stop
        | CacheRequest::KeepToken { .. }
        | CacheRequest::Token { .. }
        | CacheRequest::Forget(_) => true,
        // `Acquire` may find or wait from afar; the store lets only local clients
        // log in.
        CacheRequest::Hello
        | CacheRequest::Find { .. }
        | CacheRequest::Acquire { .. }
        | CacheRequest::Sign { .. }
        | CacheRequest::Status => false,
    }
}
