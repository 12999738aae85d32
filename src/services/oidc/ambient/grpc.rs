//! One unary gRPC call over HTTP/2 without TLS, on a socket of this machine: a
//! connection, one stream, one message each way. Blocking, with a deadline and a
//! limit on everything that is read.
//!
//! Sources: RFC 9113 (frames), RFC 7541 (headers: `hpack.rs`), gRPC over HTTP2.
//!
//! *Not checked here:* who listens (`spiffe.rs`), and what the message says.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::hpack;
use crate::http::client::excerpt;

/// The longest message that is read: it fits the window that the peer has from
/// the start (RFC 9113 §6.9.2), so that none needs to be given.
pub const MAX_MESSAGE: usize = 60 << 10;
/// The longest message that is sent: one frame.
pub const MAX_REQUEST: usize = 8 << 10;
/// The longest frame that is read (RFC 9113 §4.2, the size before any setting).
pub const MAX_FRAME: usize = 16 << 10;
/// The most frames that are read.
pub const MAX_FRAMES: usize = 256;

/// The HTTP/2 preface of a client (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and flags (RFC 9113 §6): those that mean something here.
mod frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;

    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const WITH_PRIORITY: u8 = 0x20;
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrpcError {
    /// Nobody listens there.
    #[error("no connection: {reason}")]
    Connection {
        /// What the operating system says.
        reason: String,
    },
    /// Time ran out.
    #[error("no answer within {} s", .after.as_secs_f32())]
    Timeout {
        /// The time that was given.
        after: Duration,
    },
    /// Somebody else listens there.
    #[error("whoever listens there is neither this user nor root")]
    Stranger,
    /// The peer hung up.
    #[error("the connection ended before the answer did")]
    Closed,
    /// What came is not gRPC.
    #[error("the answer is not gRPC: {reason}")]
    Protocol {
        /// What does not fit.
        reason: &'static str,
    },
    /// Something is longer than any real one.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The peer ended the stream or the connection.
    #[error("the call was ended (HTTP/2 error {code})")]
    Ended {
        /// The code of RFC 9113 §7.
        code: u32,
    },
    /// The peer said no.
    #[error("gRPC status {code}{}{message}", if .message.is_empty() { "" } else { ": " })]
    Status {
        /// The gRPC status: 7 is "permission denied".
        code: u32,
        /// Its words, escaped.
        message: String,
    },
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `/Service/Method`.
    pub path: &'a str,
    /// Further headers, with lower-case names.
    pub headers: &'a [(&'a str, &'a str)],
    /// The request, in protobuf.
    pub message: &'a [u8],
    /// Whether the other end must belong to this user or to root: for a socket
    /// in a directory where anybody can make one.
    pub own: bool,
    /// For everything.
    pub time: Duration,
}

/// Calls, and returns the one message of the answer.
///
/// # Errors
///
/// When there is no connection, no answer in time, no single message within
/// the limits, or a status other than 0.
pub fn call(address: &SockAddr, call: &Call<'_>) -> Result<Vec<u8>, GrpcError> {
    let connection = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            GrpcError::Timeout { after: call.time }
        }
        _ => GrpcError::Connection {
            reason: error.to_string(),
        },
    };
    let until = Instant::now()
        .checked_add(call.time)
        .ok_or(GrpcError::Timeout { after: call.time })?;
    let protocol = (!address.is_unix()).then_some(Protocol::TCP);
    let domain = if address.is_unix() {
        Domain::UNIX
    } else {
        address.domain()
    };
    let socket = Socket::new(domain, Type::STREAM, protocol).map_err(connection)?;
    socket
        .connect_timeout(address, call.time)
        .map_err(connection)?;
    if call.own && !is_own(&socket) {
        return Err(GrpcError::Stranger);
    }
    converse(
        &mut Timed {
            socket,
            until,
            given: call.time,
        },
        call,
    )
}

/// Whether the process that listens belongs to this user or to root. Asked of
/// the connection, since what a path leads to can change in between.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_own(socket: &Socket) -> bool {
    rustix::net::sockopt::socket_peercred(socket)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// The path was looked at; this system does not tell more.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_own(_: &Socket) -> bool {
    true
}

/// A socket whose every read and write ends at one time.
struct Timed {
    socket: Socket,
    until: Instant,
    given: Duration,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Peer for Timed {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        self.socket.set_read_timeout(Some(left))?;
        self.socket.read(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.left()?;
        self.socket.set_write_timeout(Some(left))?;
        self.socket.write_all(bytes)
    }

    fn given(&self) -> Duration {
        self.given
    }
}

/// The other end.
trait Peer {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// All the time there was, for errors.
    fn given(&self) -> Duration;
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// What has come on the stream.
#[derive(Default)]
struct Answer {
    data: Vec<u8>,
    /// `:status` was seen: the next headers are trailers.
    begun: bool,
    status: Option<u32>,
    words: String,
    ended: bool,
}

fn converse(peer: &mut dyn Peer, call: &Call<'_>) -> Result<Vec<u8>, GrpcError> {
    say(peer, &opening(call)?)?;
    let mut answer = Answer::default();
    for _ in 0..MAX_FRAMES {
        if answer.ended {
            return finish(answer);
        }
        let frame = next(peer)?;
        handle(peer, frame, &mut answer)?;
    }
    Err(bad("it has too many frames"))
}

/// Preface, settings, headers and message in one write.
fn opening(call: &Call<'_>) -> Result<Vec<u8>, GrpcError> {
    if call.message.len() > MAX_REQUEST {
        return Err(GrpcError::TooLarge {
            what: "the request",
            limit: MAX_REQUEST,
        });
    }
    let mut out = PREFACE.to_vec();
    let mut settings = Vec::new();
    // HEADER_TABLE_SIZE 0, ENABLE_PUSH 0, MAX_HEADER_LIST_SIZE (RFC 9113 §6.5.2).
    let most = u32::try_from(hpack::MAX_HEADERS).unwrap_or(u32::MAX);
    for (name, value) in [(1u16, 0u32), (2, 0), (6, most)] {
        settings.extend_from_slice(&name.to_be_bytes());
        settings.extend_from_slice(&value.to_be_bytes());
    }
    put(&mut out, frame::SETTINGS, 0, 0, &settings);

    let mut headers = Vec::new();
    let timeout = format!("{}m", call.time.as_millis().clamp(1, 99_999_999));
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", call.path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", &timeout),
        ("user-agent", concat!("gitseal/", env!("CARGO_PKG_VERSION"))),
    ]
    .into_iter()
    .chain(call.headers.iter().copied())
    {
        hpack::write(&mut headers, name, value);
    }
    if headers.len() > MAX_FRAME {
        return Err(GrpcError::TooLarge {
            what: "the request's head",
            limit: MAX_FRAME,
        });
    }
    put(&mut out, frame::HEADERS, frame::END_HEADERS, 1, &headers);

    // Not compressed, its length, the message.
    let mut data = vec![0];
    let length = u32::try_from(call.message.len()).unwrap_or(u32::MAX);
    data.extend_from_slice(&length.to_be_bytes());
    data.extend_from_slice(call.message);
    put(&mut out, frame::DATA, frame::END_STREAM, 1, &data);
    Ok(out)
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // Never longer than MAX_FRAME: the callers see to it.
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn handle(peer: &mut dyn Peer, frame: Frame, answer: &mut Answer) -> Result<(), GrpcError> {
    let on_a_stream = matches!(
        frame.kind,
        frame::DATA
            | frame::HEADERS
            | frame::RST_STREAM
            | frame::CONTINUATION
            | frame::PUSH_PROMISE
    );
    if on_a_stream && frame.stream != 1 {
        return Err(bad("a frame is on a stream that nobody opened"));
    }
    match frame.kind {
        frame::SETTINGS | frame::PING | frame::GOAWAY if frame.stream != 0 => {
            Err(bad("a frame for the connection is on a stream"))
        }
        frame::SETTINGS if frame.flags & frame::ACK != 0 => Ok(()),
        frame::SETTINGS if frame.payload.len().checked_rem(6) != Some(0) => {
            Err(bad("its settings have a wrong length"))
        }
        frame::SETTINGS => reply(peer, frame::SETTINGS, &[]),
        frame::PING if frame.payload.len() != 8 => Err(bad("a ping has a wrong length")),
        frame::PING if frame.flags & frame::ACK != 0 => Ok(()),
        frame::PING => reply(peer, frame::PING, &frame.payload),
        frame::GOAWAY => {
            // A last stream of ours or later: it means the next ones, not us.
            if number(&frame.payload, 0).ok_or(bad("a farewell is too short"))? & 0x7fff_ffff >= 1 {
                return Ok(());
            }
            let code = number(&frame.payload, 4).unwrap_or_default();
            Err(GrpcError::Ended { code })
        }
        frame::RST_STREAM => {
            let code = number(&frame.payload, 0).ok_or(bad("a reset is too short"))?;
            Err(GrpcError::Ended { code })
        }
        frame::PUSH_PROMISE => Err(bad("it pushes what was refused")),
        frame::CONTINUATION => Err(bad("headers go on that did not begin")),
        frame::HEADERS => {
            let ends = frame.flags & frame::END_STREAM != 0;
            let block = header_block(peer, frame)?;
            take_headers(&block, ends, answer)
        }
        frame::DATA => {
            if !answer.begun {
                return Err(bad("a message comes before the headers"));
            }
            let ends = frame.flags & frame::END_STREAM != 0;
            let data = without_padding(frame.flags, &frame.payload)?;
            // The prefix of five bytes, and the message.
            if answer.data.len().saturating_add(data.len()) > MAX_MESSAGE.saturating_add(5) {
                return Err(GrpcError::TooLarge {
                    what: "the answer",
                    limit: MAX_MESSAGE,
                });
            }
            answer.data.extend_from_slice(data);
            answer.ended = ends;
            Ok(())
        }
        // PRIORITY and WINDOW_UPDATE say nothing to one who has sent all; other
        // types must be ignored (RFC 9113 §4.1).
        _ => Ok(()),
    }
}

fn take_headers(block: &[u8], ends: bool, answer: &mut Answer) -> Result<(), GrpcError> {
    let headers = hpack::read(block).map_err(|reason| GrpcError::Protocol { reason })?;
    if answer.begun && !ends {
        return Err(bad("headers come in its middle"));
    }
    for header in &headers {
        let text = || String::from_utf8_lossy(&header.value);
        match header.name.as_slice() {
            b":status" if answer.begun => return Err(bad("it has two HTTP states")),
            b":status" => {
                answer.begun = true;
                if header.value != b"200" {
                    return Err(bad("its HTTP state is not 200"));
                }
            }
            b"grpc-status" => {
                let code = text().parse().map_err(|_| bad("its status is no number"))?;
                if answer.status.replace(code).is_some() {
                    return Err(bad("it has two states"));
                }
            }
            b"grpc-message" => answer.words = words(&header.value),
            _ => {}
        }
    }
    if !answer.begun {
        return Err(bad("it has no HTTP state"));
    }
    answer.ended = ends;
    Ok(())
}

/// The message of a status, percent-encoded as gRPC has it, fit for a terminal.
fn words(value: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let hex = after
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(decoded) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            None => bytes.push(byte),
        }
    }
    excerpt(&bytes)
}

fn finish(answer: Answer) -> Result<Vec<u8>, GrpcError> {
    match answer.status {
        None => return Err(bad("it ends without a status")),
        Some(0) => {}
        Some(code) => {
            return Err(GrpcError::Status {
                code,
                message: answer.words,
            });
        }
    }
    let Some((&[packed, a, b, c, d], message)) = answer.data.split_first_chunk() else {
        return Err(bad("there is no message in it"));
    };
    if packed != 0 {
        return Err(bad("its message is compressed, which nobody asked for"));
    }
    if usize::try_from(u32::from_be_bytes([a, b, c, d])).ok() != Some(message.len()) {
        return Err(bad("it is not one whole message"));
    }
    Ok(message.to_vec())
}

/// The header block that begins with this frame.
fn header_block(peer: &mut dyn Peer, first: Frame) -> Result<Vec<u8>, GrpcError> {
    let mut payload = without_padding(first.flags, &first.payload)?;
    if first.flags & frame::WITH_PRIORITY != 0 {
        payload = payload
            .get(5..)
            .ok_or(bad("a frame is shorter than its priority"))?;
    }
    let mut block = payload.to_vec();
    let mut flags = first.flags;
    while flags & frame::END_HEADERS == 0 {
        let more = next(peer)?;
        if more.kind != frame::CONTINUATION || more.stream != 1 || more.payload.is_empty() {
            return Err(bad("its headers are interrupted"));
        }
        flags = more.flags;
        block.extend_from_slice(&more.payload);
        if block.len() > hpack::MAX_HEADERS {
            return Err(GrpcError::TooLarge {
                what: "the answer's head",
                limit: hpack::MAX_HEADERS,
            });
        }
    }
    Ok(block)
}

fn without_padding(flags: u8, payload: &[u8]) -> Result<&[u8], GrpcError> {
    if flags & frame::PADDED == 0 {
        return Ok(payload);
    }
    payload
        .split_first()
        .and_then(|(padding, rest)| rest.get(..rest.len().checked_sub(usize::from(*padding))?))
        .ok_or(bad("a frame is shorter than its padding"))
}

fn reply(peer: &mut dyn Peer, kind: u8, payload: &[u8]) -> Result<(), GrpcError> {
    let mut out = Vec::new();
    put(&mut out, kind, frame::ACK, 0, payload);
    say(peer, &out)
}

fn say(peer: &mut dyn Peer, bytes: &[u8]) -> Result<(), GrpcError> {
    peer.send(bytes).map_err(|error| fault(&*peer, &error))
}

fn next(peer: &mut dyn Peer) -> Result<Frame, GrpcError> {
    let mut head = [0; 9];
    fill(peer, &mut head)?;
    let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(GrpcError::TooLarge {
            what: "a frame of the answer",
            limit: MAX_FRAME,
        });
    }
    let mut payload = vec![0; length];
    fill(peer, &mut payload)?;
    Ok(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        payload,
    })
}

fn fill(peer: &mut dyn Peer, buffer: &mut [u8]) -> Result<(), GrpcError> {
    let mut rest = buffer;
    while !rest.is_empty() {
        match peer.receive(rest) {
            Ok(0) => return Err(GrpcError::Closed),
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(&*peer, &error)),
        }
    }
    Ok(())
}

fn fault(peer: &dyn Peer, error: &io::Error) -> GrpcError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => GrpcError::Timeout {
            after: peer.given(),
        },
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::WriteZero
        | io::ErrorKind::UnexpectedEof => GrpcError::Closed,
        _ => GrpcError::Connection {
            reason: error.to_string(),
        },
    }
}

fn bad(reason: &'static str) -> GrpcError {
    GrpcError::Protocol { reason }
}

fn number(payload: &[u8], at: usize) -> Option<u32> {
    let bytes = payload.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
