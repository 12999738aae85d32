//! One client's connection, as the daemon's loop sees it: it turns bytes into
//! frames and descriptors, and responses into bytes, within time limits. Nothing
//! here ever blocks.
//!
//! *Not checked here:* the process that connected (`peer.rs`), the rights of a
//! request (`store.rs`, `server.rs`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{AddressFamily, getsockname, send};
use zeroize::Zeroizing;

use crate::clock::Now;
use crate::peer::Peer;
use crate::protocol::{CacheResponse, ProtocolError, check_frame_length, frame};
use crate::store::{ConnectionId, Requester};
use crate::stream::{SENDING, receive};

/// The time that a connection may be silent between requests.
pub const IDLE: Duration = Duration::from_secs(30);

/// The time for one frame, in either direction, and until the first one arrives.
pub const FRAME: Duration = Duration::from_secs(5);

/// The bytes of a frame's length.
const PREFIX: usize = 4;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No request has arrived yet.
    New,
    /// It is between requests, or within one.
    Open,
    /// It waits for another client's login.
    Waiting,
    /// It waits for the user to confirm its request.
    Confirming,
    /// It ends when its response has been sent.
    Closing,
}

/// The outcome of reading from a connection.
pub enum ReadOutcome {
    /// No whole frame has arrived yet.
    Nothing,
    /// One frame's payload has arrived.
    Frame(Zeroizing<Vec<u8>>),
    /// The connection has ended, or broke the framing.
    Over,
}

/// A client's connection to the daemon.
pub struct ServerConnection {
    /// The name of this connection.
    pub id: ConnectionId,
    /// The socket, which does not block.
    pub socket: UnixStream,
    /// The process at the other end.
    pub peer: Peer,
    /// The current state of the connection.
    pub phase: Phase,
    /// Whether a descriptor has come over it: then the client is on this machine.
    pub local: bool,
    /// The moment when it was last active.
    pub active: Now,
    descriptor: Option<OwnedFd>,
    /// The unfinished frame, with its length.
    input: Zeroizing<Vec<u8>>,
    output: Zeroizing<Vec<u8>>,
    sent: usize,
    busy_since: Option<Now>,
}

impl ServerConnection {
    /// Wraps a connection that was just accepted.
    pub fn new(id: ConnectionId, socket: UnixStream, peer: Peer, now: Now) -> Self {
        Self {
            id,
            socket,
            peer,
            phase: Phase::New,
            local: false,
            active: now,
            descriptor: None,
            input: Zeroizing::new(Vec::new()),
            output: Zeroizing::new(Vec::new()),
            sent: 0,
            busy_since: None,
        }
    }

    /// Returns the requester, for the store.
    pub fn requester(&self) -> Requester {
        Requester {
            id: self.id,
            local: self.local,
        }
    }

    /// Returns whether requests are read now: one at a time, and only after the
    /// previous response has been sent.
    pub fn reads(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Open) && !self.writes()
    }

    /// Returns whether a response is still to be sent.
    pub fn writes(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Returns whether it has no pending request and can be dropped to make room.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Open | Phase::Closing)
    }

    /// Returns the number of bytes that are held for it.
    pub fn held(&self) -> usize {
        self.input.capacity().saturating_add(self.output.len())
    }

    /// Returns the time until it is dropped. None means no limit: its request is
    /// pending, or it `logs_in`.
    pub fn remaining(&self, now: Now, logs_in: bool) -> Option<Duration> {
        let (since, limit) = match (self.busy_since, self.phase) {
            (Some(since), _) => (since, FRAME),
            (None, Phase::New | Phase::Closing) => (self.active, FRAME),
            (None, Phase::Open) if !logs_in => (self.active, IDLE),
            (None, Phase::Open | Phase::Waiting | Phase::Confirming) => return None,
        };
        Some(limit.saturating_sub(now.since(since)))
    }

    /// Reads the bytes that have arrived, up to one whole frame.
    pub fn read(&mut self, now: Now) -> ReadOutcome {
        while let Ok(length) = self.input_length() {
            let mut chunk = Zeroizing::new([0u8; 2048]);
            let missing = length.saturating_sub(self.input.len()).min(chunk.len());
            let (room, _) = chunk.split_at_mut(missing);
            match receive(&self.socket, room) {
                Ok((0, _)) => return ReadOutcome::Over,
                Ok((count, descriptor)) => {
                    if descriptor.is_some() {
                        self.local = true;
                        self.descriptor = descriptor;
                    }
                    self.busy_since.get_or_insert(now);
                    self.append(room.get(..count).unwrap_or_default(), length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return ReadOutcome::Nothing;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return ReadOutcome::Over,
            }
            if self.input_length().ok() == Some(self.input.len()) {
                self.busy_since = None;
                self.active = now;
                let mut payload = std::mem::take(&mut self.input);
                payload.drain(..PREFIX);
                return ReadOutcome::Frame(payload);
            }
        }
        ReadOutcome::Over
    }

    /// Returns the length of the frame with its prefix, or of the prefix alone
    /// before that has arrived.
    fn input_length(&self) -> Result<usize, ProtocolError> {
        let Some(prefix) = self.input.first_chunk::<PREFIX>() else {
            return Ok(PREFIX);
        };
        let length = check_frame_length(u32::from_be_bytes(*prefix) as usize)?;
        Ok(length.saturating_add(PREFIX))
    }

    /// Grows with the bytes that arrive, not with the claimed length. An outgrown
    /// buffer is zeroized, because it may contain a token.
    fn append(&mut self, arrived: &[u8], claimed: usize) {
        let length = self.input.len().saturating_add(arrived.len());
        if length > self.input.capacity() {
            let room = length.saturating_mul(4).min(claimed).max(length);
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.input);
            self.input = larger;
        }
        self.input.extend_from_slice(arrived);
    }

    /// Takes the descriptor that came with the last request.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// Queues a response and writes as much as the socket accepts. Returns false
    /// if the connection is unusable.
    pub fn send_response(&mut self, response: &CacheResponse, now: Now) -> bool {
        let Ok(frame) = response.print().and_then(|payload| frame(&payload)) else {
            return false;
        };
        self.output.drain(..self.sent);
        self.sent = 0;
        self.output.extend_from_slice(&frame);
        self.busy_since = Some(now);
        self.write(now)
    }

    /// Continues to send a response. Returns false if the connection is unusable.
    pub fn write(&mut self, now: Now) -> bool {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match send(&self.socket, rest, SENDING) {
                Ok(count) => self.sent = self.sent.saturating_add(count),
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        self.output = Zeroizing::new(Vec::new());
        self.sent = 0;
        self.busy_since = None;
        self.active = now;
        true
    }
}

/// Writes a token into the socket that a client passed, completely or not at
/// all: only into a local socket, and never waiting for room.
///
/// # Errors
/// Returns `InvalidInput` if it is not a local socket, or the error of the
/// system.
pub fn send_token(token: &str, into: &OwnedFd) -> io::Result<()> {
    if getsockname(into)?.address_family() != AddressFamily::UNIX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = send(into, token.as_bytes(), SENDING)?;
    if sent == token.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}
