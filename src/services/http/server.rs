//! The one HTTP/1.1 server under every reference service, and under the login's
//! answer on loopback: blocking, a thread a connection, everything bounded
//! (RFC 9112).
//!
//! What a hostile peer can do is limited by construction: a head has
//! [`Limits::max_head`] bytes and [`Limits::head_deadline`] in *total* (a byte a
//! second does not extend it), a body likewise, all bodies together stay below
//! [`Limits::max_bodies`], and when all connections are taken the one that has
//! been silent longest makes room for a new one.
//!
//! Why not a library: `docs/decisions/0002-http-server.md`.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::message::{
    Framing, Head, HttpParseError, Method, ServerRequest, ServerResponse, head_end,
    is_own_authority, parse_head,
};

/// The limits for one peer and for all peers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request head.
    pub max_head: usize,
    /// Bytes of a request body, de-chunked.
    pub max_body: usize,
    /// Bytes of all request bodies in memory at one time.
    pub max_bodies: usize,
    /// Time for a whole head, from its first byte.
    pub head_deadline: Duration,
    /// Time for a whole body.
    pub body_deadline: Duration,
    /// Time for the peer to take a whole answer.
    pub write_deadline: Duration,
    /// The time that a connection may wait for its next request.
    pub idle: Duration,
    /// Connections at one time.
    pub connections: usize,
    /// Whether a connection ends with its first answer.
    pub one_request: bool,
    /// Host names this server answers to, besides its own address and (on the
    /// loopback interface) `localhost`. A request for another name is refused
    /// with 421.
    pub hosts: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head: 16 * 1024,
            max_body: 1024 * 1024,
            max_bodies: 64 * 1024 * 1024,
            head_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            write_deadline: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            connections: 512,
            one_request: false,
            hosts: Vec::new(),
        }
    }
}

/// The handler of a server's requests. Called from many threads at once.
///
/// A `POST`, `PUT`, `PATCH` or `DELETE` that carries an `Origin` other than the
/// address it was sent to never arrives here (a page of another site sent it).
/// A browser sends `Origin: null` from a page served with
/// `Referrer-Policy: no-referrer`, so serve forms with `same-origin`.
pub trait Handler: Send + Sync + 'static {
    /// The answer to one request.
    fn handle(&self, request: &ServerRequest) -> ServerResponse;
}

impl<F: Fn(&ServerRequest) -> ServerResponse + Send + Sync + 'static> Handler for F {
    fn handle(&self, request: &ServerRequest) -> ServerResponse {
        self(request)
    }
}

/// The number of bytes of an unread request that are discarded before the
/// connection is closed, so that the peer sees the refusal and not a reset.
const MAX_LINGER: usize = 256 * 1024;
const LINGER: Duration = Duration::from_millis(500);
/// The longest chunk-size line or trailer line, in bytes.
const MAX_CHUNK_LINE: usize = 256;
const MAX_TRAILERS: usize = 32;
const READ_SIZE: usize = 16 * 1024;
/// Stack of a connection's thread; pages are only taken when used.
const STACK: usize = 1024 * 1024;

/// Starts serving on `listener`.
///
/// # Errors
/// When the listener has no address or no thread can be started.
pub fn serve(
    listener: TcpListener,
    limits: Limits,
    handler: Arc<dyn Handler>,
) -> io::Result<ServerHandle> {
    // Head and body go out in one write, but a client that sees them in two
    // segments would wait 40 ms for its own delayed ACK without this.
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    let addr = listener.local_addr()?;
    let shared = Arc::new(Shared {
        limits,
        handler,
        started: Instant::now(),
        stopping: AtomicBool::new(false),
        body_bytes: AtomicUsize::new(0),
        next: AtomicU64::new(0),
        open: Mutex::new(HashMap::new()),
        closed: Condvar::new(),
    });
    let acceptor = {
        let shared = Arc::clone(&shared);
        thread::Builder::new()
            .name(format!("http {addr}"))
            .spawn(move || accept(&listener, &shared))?
    };
    Ok(ServerHandle {
        addr,
        shared,
        acceptor: Some(acceptor),
    })
}

/// A server that is running. Dropping it stops it without waiting.
pub struct ServerHandle {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl ServerHandle {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDRESS` without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open().len()
    }

    /// Stops accepting new connections. What a request that has begun is
    /// answered with ends its connection; one whose head has not come is
    /// closed.
    pub fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // A connection of our own wakes the thread out of `accept`.
        let mut wake = self.addr;
        if wake.ip().is_unspecified() {
            wake.set_ip(match wake.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        if TcpStream::connect_timeout(&wake, Duration::from_secs(1)).is_ok() {
            let _ = acceptor.join();
        }
        // Connections that wait for a request see the end of the stream; one
        // whose head is already here is still answered.
        for slot in self.shared.open().values() {
            if slot.is_waiting() {
                let _ = slot.stream.shutdown(Shutdown::Read);
            }
        }
    }

    /// Stops accepting, lets requests that have begun finish for at most
    /// `drain`, then closes what is left. Returns whether all finished.
    pub fn shutdown(mut self, drain: Duration) -> bool {
        self.stop();
        let deadline = Instant::now() + drain;
        let finished = self.shared.wait_until_closed(deadline);
        if !finished {
            for slot in self.shared.open().values() {
                let _ = slot.stream.shutdown(Shutdown::Both);
            }
            self.shared
                .wait_until_closed(Instant::now() + Duration::from_secs(1));
        }
        finished
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shared {
    limits: Limits,
    handler: Arc<dyn Handler>,
    started: Instant,
    stopping: AtomicBool,
    body_bytes: AtomicUsize,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Slot>>>,
    closed: Condvar,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Slot>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn wait_until_closed(&self, deadline: Instant) -> bool {
        let mut open = self.open();
        while !open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            open = self
                .closed
                .wait_timeout(open, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends the connection that has been waiting longest for its peer.
    fn evict(&self) -> bool {
        let open = self.open();
        let silent = open
            .iter()
            .filter(|(_, slot)| slot.is_waiting())
            .min_by_key(|(_, slot)| slot.since.load(Ordering::Relaxed));
        let Some((&id, slot)) = silent else {
            return false;
        };
        let _ = slot.stream.shutdown(Shutdown::Both);
        drop(open);
        // It leaves the table now, not when its thread has noticed, so that a
        // burst of new connections evicts as many old ones.
        self.forget(id);
        true
    }

    fn forget(&self, id: u64) {
        let mut open = self.open();
        open.remove(&id);
        if open.is_empty() {
            self.closed.notify_all();
        }
    }
}

/// One connection, as the others see it.
struct Slot {
    stream: TcpStream,
    /// Milliseconds since the server's start when it began to wait for a head;
    /// [`BUSY`] while a request is worked on.
    since: AtomicU64,
}

const BUSY: u64 = u64::MAX;

impl Slot {
    fn is_waiting(&self) -> bool {
        self.since.load(Ordering::Relaxed) != BUSY
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.is_stopping() {
            return;
        }
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: make room. Anything else (a peer that
                // reset before it was accepted) passes by itself.
                if !matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                ) {
                    shared.evict();
                    thread::sleep(Duration::from_millis(10));
                }
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        if shared.open().len() >= shared.limits.connections && !shared.evict() {
            turn_away(&stream);
            continue;
        }
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot {
            stream,
            since: AtomicU64::new(shared.millis()),
        });
        shared.open().insert(id, Arc::clone(&slot));
        let worker = {
            let shared = Arc::clone(shared);
            let slot = Arc::clone(&slot);
            thread::Builder::new().stack_size(STACK).spawn(move || {
                let _leave = Leave {
                    shared: &shared,
                    id,
                };
                Connection::new(&shared, &slot, peer).run();
            })
        };
        if worker.is_err() {
            shared.forget(id);
            turn_away(&slot.stream);
        }
    }
}

/// Takes the connection out of the table, also when its thread panics.
struct Leave<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}

/// Says 503 without reading: every connection is busy with a request.
fn turn_away(mut stream: &TcpStream) {
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let answer = ServerResponse::text(503, "too many connections\n").with("Retry-After", "1");
    let _ = stream.write_all(&answer.to_bytes(&date(), true, false));
    let _ = stream.shutdown(Shutdown::Write);
}

/// Reasons to stop reading a request.
enum Broken {
    /// The peer closed, reset or stayed silent: nothing to answer.
    Gone,
    /// Answer, then close.
    HttpParseError(HttpParseError),
}

impl From<HttpParseError> for Broken {
    fn from(fault: HttpParseError) -> Self {
        Self::HttpParseError(fault)
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    slot: &'a Slot,
    peer: SocketAddr,
    local: SocketAddr,
    /// Bytes read and not yet used.
    buffer: Vec<u8>,
    date: (u64, String),
}

impl<'a> Connection<'a> {
    fn new(shared: &'a Shared, slot: &'a Slot, peer: SocketAddr) -> Self {
        Self {
            shared,
            slot,
            peer,
            local: slot.stream.local_addr().unwrap_or(peer),
            buffer: Vec::new(),
            date: (BUSY, String::new()),
        }
    }

    fn run(&mut self) {
        loop {
            self.slot
                .since
                .store(self.shared.millis(), Ordering::Relaxed);
            match self.request() {
                Ok(true) => {}
                Ok(false) => {
                    let _ = self.slot.stream.shutdown(Shutdown::Write);
                    return;
                }
                Err(Broken::Gone) => return,
                Err(Broken::HttpParseError(fault)) => {
                    let mut answer =
                        ServerResponse::text(fault.status, format!("{}\n", fault.message));
                    if fault.status == 503 {
                        answer = answer.with("Retry-After", "1");
                    }
                    if self.write(&answer, true, false).is_ok() {
                        self.linger();
                    }
                    return;
                }
            }
        }
    }

    /// One request and its answer; whether another may follow.
    fn request(&mut self) -> Result<bool, Broken> {
        let head = self.head()?;
        self.slot.since.store(BUSY, Ordering::Relaxed);
        if let Some(authority) = &head.authority
            && !is_own_authority(authority, self.local, &self.shared.limits.hosts)
        {
            return Err(
                HttpParseError::new(421, "the Host header does not name this server").into(),
            );
        }
        if head.method != Method::Get
            && let Some(origin) = head.headers.first("origin")
            && !is_same_origin(origin, head.authority.as_deref())
        {
            return Err(
                HttpParseError::new(403, "the request was sent by a page of another site").into(),
            );
        }
        let mut budget = Budget {
            shared: self.shared,
            taken: 0,
        };
        let body = self.body(&head, &mut budget)?;
        let request = ServerRequest {
            method: head.method,
            head_only: head.head_only,
            path: head.path,
            query: head.query,
            headers: head.headers,
            body,
            peer: self.peer,
        };
        let response = self.shared.handler.handle(&request);
        drop(request);
        drop(budget);
        let close = head.close || self.shared.limits.one_request || self.shared.is_stopping();
        self.write(&response, close, head.head_only)?;
        Ok(!close)
    }

    /// Reads one head: the first byte may take `idle`, all of it
    /// `head_deadline`.
    fn head(&mut self) -> Result<Head, Broken> {
        let max = self.shared.limits.max_head;
        if self.buffer.is_empty() {
            if self.shared.is_stopping() {
                return Err(Broken::Gone);
            }
            let idle = Instant::now() + self.shared.limits.idle;
            match self.fill(idle) {
                Err(Broken::HttpParseError(_)) => return Err(Broken::Gone), // silence, not slowness
                other => other?,
            }
        }
        let deadline = Instant::now() + self.shared.limits.head_deadline;
        let mut scanned = 0;
        loop {
            // RFC 9112 §2.2: one empty line before the request line is passed over.
            if scanned == 0 && self.buffer.starts_with(b"\r\n") {
                self.buffer.drain(..2);
            }
            if let Some(end) = head_end(&self.buffer, scanned)? {
                if end > max {
                    return Err(HttpParseError::new(431, "the request head is too large").into());
                }
                let rest = self.buffer.split_off(end);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Ok(parse_head(&head)?);
            }
            scanned = self.buffer.len();
            if scanned > max {
                return Err(HttpParseError::new(431, "the request head is too large").into());
            }
            self.fill(deadline)?;
        }
    }

    fn body(&mut self, head: &Head, budget: &mut Budget<'_>) -> Result<Vec<u8>, Broken> {
        let max = self.shared.limits.max_body;
        let length = match head.framing {
            Framing::Empty => return Ok(Vec::new()),
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= max => Some(length),
                _ => return Err(HttpParseError::new(413, "the request body is too large").into()),
            },
            Framing::Chunked => None,
        };
        if head.expects_continue && self.buffer.is_empty() {
            self.write_bytes(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let deadline = Instant::now() + self.shared.limits.body_deadline;
        match length {
            Some(length) => {
                let mut body = Vec::new();
                self.take(length, &mut body, deadline, budget)?;
                Ok(body)
            }
            None => self.chunks(max, deadline, budget),
        }
    }

    /// RFC 9112 §7.1. Chunk extensions and trailers are bounded and dropped.
    fn chunks(
        &mut self,
        max: usize,
        deadline: Instant,
        budget: &mut Budget<'_>,
    ) -> Result<Vec<u8>, Broken> {
        let mut body = Vec::new();
        loop {
            let line = self.line(deadline)?;
            let digits = line.split(';').next().unwrap_or_default().trim_end();
            if digits.is_empty()
                || digits.len() > 8
                || !digits.bytes().all(|b| b.is_ascii_hexdigit())
            {
                return Err(HttpParseError::new(400, "a chunk size is malformed").into());
            }
            let size = usize::from_str_radix(digits, 16)
                .map_err(|_| HttpParseError::new(400, "a chunk size is malformed"))?;
            if size == 0 {
                break;
            }
            if size > max.saturating_sub(body.len()) {
                return Err(HttpParseError::new(413, "the request body is too large").into());
            }
            self.take(size, &mut body, deadline, budget)?;
            if !self.line(deadline)?.is_empty() {
                return Err(HttpParseError::new(400, "a chunk is longer than its size").into());
            }
        }
        for _ in 0..MAX_TRAILERS {
            if self.line(deadline)?.is_empty() {
                return Ok(body);
            }
        }
        Err(HttpParseError::new(431, "too many trailer lines").into())
    }

    /// One CRLF-terminated line of the chunked coding.
    fn line(&mut self, deadline: Instant) -> Result<String, Broken> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&b| b == b'\n') {
                let rest = self.buffer.split_off(end.saturating_add(1));
                let line = std::mem::replace(&mut self.buffer, rest);
                return line
                    .strip_suffix(b"\r\n")
                    .filter(|line| line.len() <= MAX_CHUNK_LINE && !line.contains(&b'\r'))
                    .and_then(|line| String::from_utf8(line.to_vec()).ok())
                    .ok_or_else(|| HttpParseError::new(400, "a chunk line is malformed").into());
            }
            if self.buffer.len() > MAX_CHUNK_LINE {
                return Err(HttpParseError::new(400, "a chunk line is malformed").into());
            }
            self.fill(deadline)?;
        }
    }

    /// Moves exactly `count` body bytes to `body`. Memory grows with what has
    /// arrived, not with what was announced.
    fn take(
        &mut self,
        count: usize,
        body: &mut Vec<u8>,
        deadline: Instant,
        budget: &mut Budget<'_>,
    ) -> Result<(), Broken> {
        let mut left = count;
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill(deadline)?;
            }
            let now = left.min(self.buffer.len());
            budget.take(now)?;
            body.extend(self.buffer.drain(..now));
            left = left.saturating_sub(now);
        }
        Ok(())
    }

    /// Reads some bytes into the buffer, until `deadline` at most.
    fn fill(&mut self, deadline: Instant) -> Result<(), Broken> {
        let old = self.buffer.len();
        self.buffer.resize(old.saturating_add(READ_SIZE), 0);
        let outcome = self.read_at(old, deadline);
        let read = *outcome.as_ref().unwrap_or(&0);
        self.buffer.truncate(old.saturating_add(read));
        outcome.map(|_| ())
    }

    fn read_at(&mut self, at: usize, deadline: Instant) -> Result<usize, Broken> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HttpParseError::new(408, "the request took too long").into());
            }
            self.slot
                .stream
                .set_read_timeout(Some(left))
                .map_err(|_| Broken::Gone)?;
            let Some(space) = self.buffer.get_mut(at..) else {
                return Err(Broken::Gone);
            };
            match (&self.slot.stream).read(space) {
                Ok(0) => return Err(Broken::Gone),
                Ok(read) => return Ok(read),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => return Err(Broken::Gone),
            }
        }
    }

    fn write(
        &mut self,
        response: &ServerResponse,
        close: bool,
        head_only: bool,
    ) -> Result<(), Broken> {
        let second = self.shared.millis() / 1000;
        if self.date.0 != second {
            self.date = (second, date());
        }
        let bytes = response.to_bytes(&self.date.1, close, head_only);
        self.write_bytes(&bytes)
    }

    fn write_bytes(&self, mut bytes: &[u8]) -> Result<(), Broken> {
        let deadline = Instant::now() + self.shared.limits.write_deadline;
        while !bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Broken::Gone);
            }
            self.slot
                .stream
                .set_write_timeout(Some(left))
                .map_err(|_| Broken::Gone)?;
            match (&self.slot.stream).write(bytes) {
                Ok(written) if written > 0 => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(Broken::Gone),
            }
        }
        Ok(())
    }

    /// RFC 9112 §9.6: after a refusal the rest of the request is read and
    /// thrown away for a moment; closing at once would reset the connection
    /// and take the answer with it.
    fn linger(&mut self) {
        let _ = self.slot.stream.shutdown(Shutdown::Write);
        let deadline = Instant::now() + LINGER;
        let mut total: usize = 0;
        while total < MAX_LINGER {
            self.buffer.clear();
            if self.fill(deadline).is_err() {
                return;
            }
            total = total.saturating_add(self.buffer.len());
        }
    }
}

/// The bytes of one body, counted against what all bodies together may take.
struct Budget<'a> {
    shared: &'a Shared,
    taken: usize,
}

impl Budget<'_> {
    fn take(&mut self, count: usize) -> Result<(), HttpParseError> {
        let before = self.shared.body_bytes.fetch_add(count, Ordering::Relaxed);
        self.taken = self.taken.saturating_add(count);
        if before.saturating_add(count) > self.shared.limits.max_bodies {
            return Err(HttpParseError::new(503, "too many large requests at once"));
        }
        Ok(())
    }
}

impl Drop for Budget<'_> {
    fn drop(&mut self) {
        self.shared
            .body_bytes
            .fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// RFC 6454 §6.2: `Origin` is a scheme and an authority.
fn is_same_origin(origin: &str, authority: Option<&str>) -> bool {
    let origin = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    match (origin, authority) {
        (Some(origin), Some(authority)) => origin.eq_ignore_ascii_case(authority),
        _ => false,
    }
}

/// RFC 9110 §5.6.7, now.
fn date() -> String {
    jiff::Timestamp::now()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

#[cfg(test)]
mod tests;
