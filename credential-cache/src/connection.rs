//! One client's connection, as the daemon's loop sees it: bytes in, whole frames
//! and descriptors out, answers back, and until when it may take its time.
//! Nothing here ever blocks.
//!
//! *Not checked here:* who connected (`peer.rs`), what a request may do
//! (`store.rs`, `server.rs`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendFlags, getsockname, recvmsg, send, sendmsg,
};
use zeroize::{Zeroize, Zeroizing};

use crate::clock::Now;
use crate::peer::Peer;
use crate::protocol::{Response, frame_length};
use crate::store::{Asker, ConnectionId};

/// How long a connection may say nothing between requests.
pub const IDLE: Duration = Duration::from_secs(30);

/// How long a frame may take, in either direction, and the first one to come.
pub const FRAME: Duration = Duration::from_secs(5);

/// Without waiting, and without SIGPIPE (which a Rust program ignores anyway).
#[cfg(any(target_os = "linux", target_os = "android"))]
const SENDING: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SENDING: SendFlags = SendFlags::DONTWAIT;

/// Without waiting; no program that is started inherits what comes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RECEIVING: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RECEIVING: RecvFlags = RecvFlags::DONTWAIT;

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been said yet.
    New,
    /// Between requests, or within one.
    Open,
    /// It waits for another's login.
    Waiting,
    /// A person is being asked whether its request is granted.
    Asking,
    /// It ends when what is to be said has been said.
    Closing,
}

/// What reading brought.
pub enum Read {
    /// Nothing whole yet.
    Nothing,
    /// A frame's payload.
    Frame(Zeroizing<Vec<u8>>),
    /// The connection has ended, or broke the framing.
    Over,
}

/// A client's connection.
pub struct Connection {
    /// Its name.
    pub id: ConnectionId,
    /// The socket, not blocking.
    pub socket: UnixStream,
    /// The process at the other end.
    pub peer: Peer,
    /// What it is about.
    pub phase: Phase,
    /// Whether a descriptor has come over it: then it is on this machine.
    pub local: bool,
    /// When it last did something.
    pub active: Now,
    descriptor: Option<OwnedFd>,
    input: Input,
    output: Zeroizing<Vec<u8>>,
    sent: usize,
    busy_since: Option<Now>,
}

#[derive(Default)]
struct Input {
    prefix: [u8; 4],
    have: usize,
    length: Option<usize>,
    payload: Zeroizing<Vec<u8>>,
}

impl Connection {
    /// A connection just accepted.
    pub fn new(id: ConnectionId, socket: UnixStream, peer: Peer, now: Now) -> Self {
        Self {
            id,
            socket,
            peer,
            phase: Phase::New,
            local: false,
            active: now,
            descriptor: None,
            input: Input::default(),
            output: Zeroizing::new(Vec::new()),
            sent: 0,
            busy_since: None,
        }
    }

    /// Who asks, for the store.
    pub fn asker(&self) -> Asker {
        Asker {
            id: self.id,
            local: self.local,
        }
    }

    /// Whether requests are read now: one at a time, and only if the answer to
    /// the one before has been taken.
    pub fn reads(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Open) && !self.writes()
    }

    /// Whether an answer is still to be sent.
    pub fn writes(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Whether it can be dropped to make room: it has asked for nothing.
    pub fn spare(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Open | Phase::Closing)
    }

    /// Bytes that are held for it.
    pub fn held(&self) -> usize {
        self.input
            .payload
            .capacity()
            .saturating_add(self.output.len())
    }

    /// How long it may still take; None: as long as what it waits for.
    pub fn left(&self, now: Now, leads: bool) -> Option<Duration> {
        let (since, limit) = match (self.busy_since, self.phase) {
            (Some(since), _) => (since, FRAME),
            (None, Phase::New | Phase::Closing) => (self.active, FRAME),
            (None, Phase::Open) if !leads => (self.active, IDLE),
            (None, Phase::Open | Phase::Waiting | Phase::Asking) => return None,
        };
        Some(limit.saturating_sub(now.since_boot.saturating_sub(since.since_boot)))
    }

    /// Reads what has come, up to one whole frame.
    pub fn read(&mut self, now: Now) -> Read {
        loop {
            let mut chunk = Zeroizing::new([0u8; 2048]);
            let wanted = self.input.wanted().min(chunk.len());
            let (room, _) = chunk.split_at_mut(wanted);
            match receive(&self.socket, room) {
                Ok((0, _)) => return Read::Over,
                Ok((count, descriptor)) => {
                    if descriptor.is_some() {
                        self.local = true;
                        self.descriptor = descriptor;
                    }
                    if self.busy_since.is_none() {
                        self.busy_since = Some(now);
                    }
                    let Some(arrived) = room.get(..count) else {
                        return Read::Over;
                    };
                    if self.input.take(arrived).is_err() {
                        return Read::Over;
                    }
                    if let Some(payload) = self.input.whole() {
                        self.busy_since = None;
                        self.active = now;
                        return Read::Frame(payload);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Read::Over,
            }
        }
    }

    /// The descriptor that came with the last request, once.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// Says something, as much of it as the socket takes now. False: the
    /// connection is of no more use.
    pub fn say(&mut self, response: &Response, now: Now) -> bool {
        let Ok(payload) = response.print() else {
            return false;
        };
        let Ok(length) = u32::try_from(payload.len()) else {
            return false;
        };
        self.output.drain(..self.sent);
        self.sent = 0;
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(&payload);
        self.busy_since = Some(now);
        self.write(now)
    }

    /// Goes on sending. False: the connection is of no more use.
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

impl Input {
    /// How many bytes the frame still lacks, as far as is known.
    fn wanted(&self) -> usize {
        match self.length {
            None => self.prefix.len().saturating_sub(self.have),
            Some(length) => length.saturating_sub(self.payload.len()),
        }
    }

    fn take(&mut self, arrived: &[u8]) -> Result<(), ()> {
        if self.length.is_some() {
            return self.append(arrived);
        }
        let free = self.prefix.get_mut(self.have..).ok_or(())?;
        let (place, _) = free.split_at_mut_checked(arrived.len()).ok_or(())?;
        place.copy_from_slice(arrived);
        self.have = self.have.saturating_add(arrived.len());
        if self.have == self.prefix.len() {
            let length = u32::from_be_bytes(self.prefix) as usize;
            self.length = Some(frame_length(length).map_err(drop)?);
        }
        Ok(())
    }

    /// Grows with what arrives, not with what is claimed; what is outgrown is
    /// zeroized, for it may hold a token.
    fn append(&mut self, arrived: &[u8]) -> Result<(), ()> {
        let length = self.payload.len().checked_add(arrived.len()).ok_or(())?;
        if length > self.payload.capacity() {
            let claimed = self.length.unwrap_or(length);
            let room = length.saturating_mul(4).min(claimed).max(length);
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.payload);
            self.payload = larger;
        }
        self.payload.extend_from_slice(arrived);
        Ok(())
    }

    fn whole(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        if self.length? != self.payload.len() {
            return None;
        }
        self.prefix.zeroize();
        self.have = 0;
        self.length = None;
        Some(std::mem::take(&mut self.payload))
    }
}

/// Reads bytes, and the descriptor that came with them. More than one is more
/// than there is room for: the system closes the rest.
fn receive(socket: &UnixStream, into: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(into)];
    let received = recvmsg(socket, &mut parts, &mut control, RECEIVING)?;
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.last().or(descriptor);
        }
    }
    Ok((received.bytes, descriptor))
}

/// Sends all of the bytes of a frame with a descriptor beside them; how many
/// bytes went.
///
/// # Errors
/// What the system says.
pub(crate) fn send_with(
    socket: &UnixStream,
    frame: &[u8],
    descriptor: &OwnedFd,
) -> io::Result<usize> {
    use std::os::fd::AsFd;
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(rustix::net::SendAncillaryMessage::ScmRights(&descriptors));
    Ok(sendmsg(
        socket,
        &[IoSlice::new(frame)],
        &mut control,
        SENDING,
    )?)
}

/// Writes a token into the socket that a client passed, at once or not at all:
/// never into anything but a local socket, and never waiting for room.
///
/// # Errors
/// What the system says; `InvalidInput` if it is no local socket.
pub fn hand_over(token: &str, into: &OwnedFd) -> io::Result<()> {
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
