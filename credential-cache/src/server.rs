//! The daemon's one thread and its one loop: it waits for whatever comes first
//! (a connection, bytes, a signal, an end of something kept) and never for
//! anything else.
//!
//! *Not checked here:* what may be done with a key (`store.rs`), who connected
//! (`peer.rs`), where the socket is (`listener.rs`).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zeroize::Zeroizing;

use crate::clock::{Clock, Now};
use crate::confirm::{Confirm, Question, Verdict};
use crate::connection::{Connection, Phase, Read, hand_over};
use crate::listener::Listener;
use crate::peer;
use crate::protocol::{Daemon, KeyId, ProtocolError, Refusal, Request, Response};
use crate::secret::{Entropy, scrub_stack};
use crate::store::{ConnectionId, Store};

/// The most connections at a time; of more, the one that was silent longest is
/// dropped.
pub const MAX_CONNECTIONS: usize = 512;

/// The most bytes of unfinished frames and unsent answers of all connections.
pub const MAX_HELD: usize = 1024 * 1024;

/// How long the daemon stays with nothing to keep, by default.
pub const IDLE_END: Duration = Duration::from_secs(120);

/// How often it looks whether its socket is still in place.
const LOOK: Duration = Duration::from_secs(30);

/// How many connections are accepted before those that wait are served.
const ACCEPTS: usize = 64;

/// How long no connection is accepted when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// What a daemon is made of.
pub struct Options {
    /// How long it stays with nothing to keep; None: for ever.
    pub idle_end: Option<Duration>,
    /// Who is asked before a signature, if anybody.
    pub confirm: Option<Confirm>,
    /// Whether the process's memory is locked, for the status.
    pub locked: bool,
    /// The time.
    pub clock: Clock,
    /// Entropy.
    pub entropy: Entropy,
    /// Where a line about what was done goes. It holds no secret.
    pub log: Box<dyn FnMut(&str)>,
    /// Becomes readable when the process is asked to end.
    pub signals: UnixStream,
}

/// A daemon.
pub struct Server {
    listener: Listener,
    options: Options,
    store: Store,
    connections: BTreeMap<ConnectionId, Connection>,
    next: ConnectionId,
    empty_since: Option<Now>,
    looked: Now,
    paused: Option<Now>,
    ends: bool,
}

impl Server {
    /// A daemon on this socket.
    pub fn new(listener: Listener, mut options: Options) -> Self {
        let now = (options.clock)();
        let entropy = std::mem::replace(&mut options.entropy, Box::new(|_| false));
        Self {
            listener,
            store: Store::new(entropy),
            options,
            connections: BTreeMap::new(),
            next: 1,
            empty_since: None,
            looked: now,
            paused: None,
            ends: false,
        }
    }

    /// Serves until told to stop, or until there is nothing left to keep.
    /// Whatever happens, keys and tokens are zeroized at the end.
    ///
    /// # Errors
    /// If the system refuses to wait.
    pub fn run(mut self) -> io::Result<()> {
        let result = loop {
            let now = self.now();
            self.store.expire(now);
            self.answer_waiting(now);
            self.drop_overdue(now);
            if let Some(why) = self.finished(now) {
                (self.options.log)(why);
                break Ok(());
            }
            if let Err(error) = self.wait_and_serve(now) {
                break Err(error);
            }
        };
        self.store.clear();
        for (id, answer) in self.store.take_answers() {
            if let Some(connection) = self.connections.get_mut(&id) {
                let now = (self.options.clock)();
                connection.say(&answer, now);
            }
        }
        result
    }

    fn now(&self) -> Now {
        (self.options.clock)()
    }

    /// Why it is time to end, if it is.
    fn finished(&mut self, now: Now) -> Option<&'static str> {
        if self.ends && !self.connections.values().any(Connection::writes) {
            return Some("stopped");
        }
        if elapsed(self.looked, now) >= LOOK {
            self.looked = now;
            if !self.listener.in_place() {
                return Some("the socket is gone from its place");
            }
        }
        if !self.store.is_empty() || self.connections.values().any(|c| c.phase != Phase::New) {
            self.empty_since = None;
            return None;
        }
        let since = *self.empty_since.get_or_insert(now);
        let limit = self.options.idle_end?;
        (elapsed(since, now) >= limit).then_some("nothing is left to keep")
    }

    /// How long the loop may wait for something to happen.
    fn patience(&self, now: Now) -> Duration {
        let connections = self
            .connections
            .values()
            .filter_map(|c| c.left(now, self.store.leads(c.id)));
        let idle = self
            .options
            .idle_end
            .zip(self.empty_since)
            .map(|(limit, since)| limit.saturating_sub(elapsed(since, now)));
        let confirm = self.options.confirm.as_ref().and_then(|c| c.patience(now));
        connections
            .chain(self.store.next_end(now))
            .chain(idle)
            .chain(confirm)
            .chain(self.paused.map(|_| PAUSE))
            .min()
            .unwrap_or(LOOK)
            .min(LOOK)
    }

    fn wait_and_serve(&mut self, now: Now) -> io::Result<()> {
        let patience = self.patience(now);
        let ready = self.wait(patience)?;
        let now = self.now();
        if ready.signal {
            self.ends = true;
            (self.options.log)("asked to end by a signal");
            return Ok(());
        }
        for id in ready.connections {
            self.serve(id, now);
        }
        self.hear_person(now);
        if ready.listener {
            self.accept(now);
        }
        Ok(())
    }

    fn wait(&mut self, patience: Duration) -> io::Result<Ready> {
        // A millisecond more, so that what is waited for has come.
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
        Ok(Ready {
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
                    // Out of descriptors or memory: somebody silent makes room.
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
            let mut connection = Connection::new(self.next, socket, peer, now);
            self.next = self.next.saturating_add(1);
            if self.connections.len() >= MAX_CONNECTIONS && !self.make_room(now) {
                connection.say(&Response::Refused(Refusal::Full), now);
                continue;
            }
            self.connections.insert(connection.id, connection);
        }
    }

    /// Drops the connection that has asked for nothing and was silent longest.
    fn make_room(&mut self, now: Now) -> bool {
        let oldest = self
            .connections
            .values()
            .filter(|c| c.spare() && !self.store.leads(c.id))
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
                c.left(now, self.store.leads(c.id))
                    .is_some_and(|left| left.is_zero())
            })
            .map(|c| c.id)
            .collect();
        for id in overdue {
            self.hang_up(id, now);
        }
        let mut held: usize = self.connections.values().map(Connection::held).sum();
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
        self.connections.remove(&id);
        if let Some(confirm) = &mut self.options.confirm {
            confirm.forget(id);
        }
        self.store.gone(id, now);
        self.answer_waiting(now);
    }

    /// Sends the answers that the store has for those who waited.
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
                self.say(id, &answer, now);
            }
        }
    }

    fn say(&mut self, id: ConnectionId, response: &Response, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !connection.say(response, now) {
            self.connections.remove(&id);
            if let Some(confirm) = &mut self.options.confirm {
                confirm.forget(id);
            }
            self.store.gone(id, now);
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
            // Nothing is expected of it, so this is its end.
            self.hang_up(id, now);
            return;
        }
        match connection.read(now) {
            Read::Nothing => {}
            Read::Over => self.hang_up(id, now),
            Read::Frame(payload) => {
                self.request(id, &payload, now);
                self.answer_waiting(now);
            }
        }
    }

    fn request(&mut self, id: ConnectionId, payload: &Zeroizing<Vec<u8>>, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let request = match Request::parse(payload) {
            Ok(Request::Hello) if connection.phase == Phase::New => Request::Hello,
            Ok(request) if connection.phase == Phase::Open => request,
            Ok(_) => return self.refuse_and_close(id, Refusal::Unreadable, now),
            Err(ProtocolError::Version(_)) => {
                return self.refuse_and_close(id, Refusal::Version, now);
            }
            Err(_) => return self.refuse_and_close(id, Refusal::Unreadable, now),
        };
        connection.phase = Phase::Open;
        let secret = matches!(request, Request::KeepToken { .. });
        let answer = self.answer(id, request, now);
        if secret {
            scrub_stack();
        }
        if let Some(answer) = answer {
            self.say(id, &answer, now);
        }
    }

    fn refuse_and_close(&mut self, id: ConnectionId, refusal: Refusal, now: Now) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Closing;
        }
        self.say(id, &Response::Refused(refusal), now);
    }

    /// The answer to a request; None if it will come later.
    fn answer(&mut self, id: ConnectionId, request: Request, now: Now) -> Option<Response> {
        let connection = self.connections.get_mut(&id)?;
        let asker = connection.asker();
        let descriptor = connection.take_descriptor();
        if needs_nearness(&request) && !asker.local {
            return Some(Response::Refused(Refusal::FarAway));
        }
        Some(match request {
            Request::Hello => Response::Welcome(Daemon {
                pid: std::process::id(),
                locked: self.options.locked,
                confirms: self.options.confirm.is_some(),
            }),
            Request::Find { scope, min_left } => self
                .store
                .find(&scope, min_left, now)
                .unwrap_or(Response::Absent),
            Request::Acquire {
                scope,
                min_left,
                wait,
            } => {
                let wait = Duration::from_millis(u64::from(wait));
                let answer = self.store.acquire(asker, &scope, min_left, wait, now);
                if answer.is_none() {
                    connection.phase = Phase::Waiting;
                }
                return answer;
            }
            Request::Store { key, chain } => self.store.store(id, key, chain, now),
            Request::Fail { key, reason } => self.store.fail(id, key, &reason),
            Request::Sign { key, digest } => return self.sign(id, key, digest, now),
            Request::Status => Response::Status(self.store.status(now)),
            Request::Clear => Response::Cleared(self.store.clear()),
            Request::Stop => {
                self.ends = true;
                self.store.clear();
                connection.phase = Phase::Closing;
                Response::Stopping
            }
            Request::KeepToken {
                scope,
                kind,
                token,
                expires,
            } => self.store.keep_token(&scope, kind, token, expires, now),
            Request::Token { scope, kind } => {
                let Some(into) = descriptor else {
                    return Some(Response::Refused(Refusal::FarAway));
                };
                match self.store.token(&scope, kind, now) {
                    None => Response::Token(0),
                    Some(token) => match hand_over(token, &into) {
                        Ok(()) => Response::Token(u32::try_from(token.len()).unwrap_or(0)),
                        Err(_) => Response::Refused(Refusal::Internal),
                    },
                }
            }
            Request::Forget(scope) => Response::Cleared(self.store.forget(&scope)),
        })
    }

    fn sign(
        &mut self,
        id: ConnectionId,
        key: KeyId,
        digest: [u8; 32],
        now: Now,
    ) -> Option<Response> {
        // Its own proof of possession nobody is asked about.
        let unproved = self.store.is_led(&key);
        let scope = match self.store.may_sign(id, &key, now) {
            Ok(scope) => scope,
            Err(refusal) => return Some(Response::Refused(refusal)),
        };
        let connection = self.connections.get_mut(&id)?;
        if let Some(confirm) = &mut self.options.confirm
            && !unproved
        {
            let question = Question {
                connection: id,
                peer: connection.peer,
                key,
                digest,
                local: connection.local,
                who: format!("{} ({})", scope_name(scope), scope.issuer),
            };
            if !confirm.holds(connection.peer, now) {
                connection.phase = Phase::Asking;
                confirm.ask(question, now);
                return None;
            }
        }
        Some(self.signature(id, &key, &digest, now))
    }

    fn signature(
        &mut self,
        id: ConnectionId,
        key: &KeyId,
        digest: &[u8; 32],
        now: Now,
    ) -> Response {
        match self.store.sign(id, key, digest, now) {
            Ok(signature) => {
                let pid = self.connections.get(&id).map_or(0, |c| c.peer.pid);
                (self.options.log)(&format!("signed for process {pid}"));
                Response::Signature(signature)
            }
            Err(refusal) => Response::Refused(refusal),
        }
    }

    /// What the person said, if there is a question and an answer.
    fn hear_person(&mut self, now: Now) {
        while let Some((question, verdict)) =
            self.options.confirm.as_mut().and_then(|c| c.hear(now))
        {
            let id = question.connection;
            let answer = match verdict {
                Verdict::Granted => {
                    // Long may have passed: the store looks at the time again.
                    self.signature(id, &question.key, &question.digest, now)
                }
                Verdict::Denied => Response::Refused(Refusal::Denied),
            };
            (self.options.log)(&format!("process {}: {verdict:?}", question.peer.pid));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.phase = Phase::Open;
                self.say(id, &answer, now);
            }
        }
    }
}

struct Ready {
    signal: bool,
    listener: bool,
    connections: Vec<ConnectionId>,
}

/// What changes what is kept, or gives a token away, is for this machine alone:
/// through a forwarded socket there is only asking and signing.
fn needs_nearness(request: &Request) -> bool {
    match request {
        Request::Store { .. }
        | Request::Fail { .. }
        | Request::Clear
        | Request::Stop
        | Request::KeepToken { .. }
        | Request::Token { .. }
        | Request::Forget(_) => true,
        // `Acquire` may find or wait from afar; the store lets it lead only here.
        Request::Hello
        | Request::Find { .. }
        | Request::Acquire { .. }
        | Request::Sign { .. }
        | Request::Status => false,
    }
}

fn scope_name(scope: &crate::protocol::Scope) -> &str {
    if scope.subject.is_empty() {
        "whoever logged in"
    } else {
        &scope.subject
    }
}

fn elapsed(since: Now, now: Now) -> Duration {
    now.since_boot.saturating_sub(since.since_boot)
}
