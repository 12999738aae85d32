//! Local stream sockets that never block: made, read and written with a
//! deadline, and with a descriptor beside the bytes.
//!
//! *Not checked here:* the process at the other end (`peer.rs`).

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socket, socketpair,
};

/// Never waits, and raises no SIGPIPE (which a Rust program ignores anyway).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const SENDING: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const SENDING: SendFlags = SendFlags::DONTWAIT;

/// Never waits, and no program that is started inherits a received descriptor.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RECEIVING: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RECEIVING: RecvFlags = RecvFlags::DONTWAIT;

/// Returns a new local stream socket that does not block.
pub(crate) fn unix_stream() -> io::Result<UnixStream> {
    let made = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    make_private(&made)?;
    Ok(UnixStream::from(made))
}

/// Returns two connected sockets that do not block.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::empty();
    let (theirs, ours) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    make_private(&theirs)?;
    make_private(&ours)?;
    Ok((theirs, ours))
}

fn make_private(socket: &OwnedFd) -> io::Result<()> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(rustix::io::ioctl_fionbio(socket, true)?)
}

/// Sends bytes with a descriptor beside them, and returns how many were sent.
pub(crate) fn send_with(
    socket: &UnixStream,
    bytes: &[u8],
    descriptor: &OwnedFd,
) -> io::Result<usize> {
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let parts = [IoSlice::new(bytes)];
    Ok(sendmsg(socket, &parts, &mut control, SENDING)?)
}

/// Receives bytes, and the descriptor that came with them. There is room for
/// one; the system closes the rest.
pub(crate) fn receive(
    socket: &UnixStream,
    into: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
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

/// A moment after which nothing is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoDeadline(Option<Instant>);

impl IoDeadline {
    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now().checked_add(patience))
    }

    pub(crate) fn remaining(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }
}

/// A stream whose reads and writes together end at a deadline.
pub(crate) struct DeadlineStream {
    pub(crate) stream: UnixStream,
    pub(crate) deadline: IoDeadline,
}

impl DeadlineStream {
    /// Repeats an operation whenever the socket is ready, until it would not
    /// block.
    fn when_ready<T>(
        &self,
        ready: PollFlags,
        mut operation: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match operation(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for(ready)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn wait_for(&self, ready: PollFlags) -> io::Result<()> {
        let remaining = self.deadline.remaining();
        if remaining.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Timespec::try_from(remaining.min(Duration::from_secs(3600)))
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&self.stream, ready)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all of a frame, with a descriptor beside its first bytes.
    pub(crate) fn write_with(&mut self, frame: &[u8], descriptor: &OwnedFd) -> io::Result<()> {
        let sent = self.when_ready(PollFlags::OUT, |stream| {
            send_with(stream, frame, descriptor)
        })?;
        self.write_all(frame.get(sent..).unwrap_or(&[]))
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::IN, |mut stream| stream.read(into))
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::OUT, |mut stream| stream.write(from))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
