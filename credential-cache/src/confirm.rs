//! The user's confirmation of each signature (`--confirm`): one prompt at a time,
//! on the terminal that the daemon was started from (while it is in the
//! foreground there) or through an askpass program. The loop goes on in the
//! meantime.
//!
//! A yes is for one signature; with a number of seconds it is remembered that
//! long for the same process at the other end of the socket, which for a
//! forwarded socket is the ssh process. A no is remembered for [`NO_HOLD`] in the
//! same way. Requests of this machine come first, and no process has more than
//! `MAX_PER_PROCESS` waiting. A prompt that is on the screen is never replaced:
//! an answer could reach another request than the user has read.
//!
//! *Not checked here:* whether the key may sign at all (`store.rs`, before the
//! prompt and again after it).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::clock::Now;
use crate::peer::Peer;
use crate::protocol::{CONFIRM_TIMEOUT, KeyId};
use crate::store::ConnectionId;

/// The most requests that wait; one more is denied.
const MAX_REQUESTS: usize = 64;

/// The most requests of one process that wait, the one on the screen included.
const MAX_PER_PROCESS: usize = 4;

/// The time for which a no is remembered: further requests of that process are
/// denied without a prompt.
pub const NO_HOLD: Duration = Duration::from_secs(60);

/// The prompts that one process may withdraw within [`NO_HOLD`].
const MAX_WITHDRAWN: usize = 3;

/// The most rejections that are remembered.
const MAX_REJECTIONS: usize = 256;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256;

/// The interval of checks whether a program that has answered has exited.
const EXIT_INTERVAL: Duration = Duration::from_millis(20);

/// The means to prompt the user for confirmation.
pub enum PromptMethod {
    /// A program that shows its argument and confirms with exit status 0, as
    /// ssh-askpass does with SSH_ASKPASS_PROMPT=confirm.
    Program(PathBuf),
    /// The terminal, while this process is in its foreground.
    Terminal {
        /// The terminal, opened for reading and writing without blocking.
        terminal: File,
        /// The program to use in the background.
        otherwise: Option<PathBuf>,
    },
}

/// Returns whether this process may read from its terminal: in the background,
/// reading would stop it.
pub fn in_foreground(terminal: &File) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// A requested signature that needs a confirmation.
#[derive(Clone, Debug)]
pub struct ConfirmRequest {
    /// The connection that requests it.
    pub connection: ConnectionId,
    /// The process that requests it.
    pub peer: Peer,
    /// The key to sign with.
    pub key: KeyId,
    /// The digest to sign.
    pub digest: [u8; 32],
    /// Whether the process is on this machine.
    pub local: bool,
    /// The identity of the key, as text.
    pub identity: String,
}

/// The decision about a requested signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmDecision {
    /// The user confirmed the signature.
    Granted,
    /// The user declined or did not answer, or there was no way to prompt.
    Denied,
}

impl From<bool> for ConfirmDecision {
    fn from(granted: bool) -> Self {
        if granted { Self::Granted } else { Self::Denied }
    }
}

/// The requests that wait for the user, one of which is being prompted for.
pub struct Confirm {
    method: PromptMethod,
    hold: Duration,
    granted: Vec<(Peer, Now)>,
    rejections: VecDeque<Rejection>,
    current: Option<Prompt>,
    queue: VecDeque<ConfirmRequest>,
    /// Decisions that needed no prompt.
    decided: VecDeque<(ConfirmRequest, ConfirmDecision)>,
}

struct Prompt {
    request: ConfirmRequest,
    since: Now,
    program: Option<Program>,
    answer: Vec<u8>,
    at_end: bool,
}

/// A prompt that ended without a yes.
struct Rejection {
    requester: ConfirmRequest,
    since: Now,
    /// Whether the client withdrew the request before the user answered.
    withdrawn: bool,
}

/// The outcome of a prompt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    /// The user declined, or did not answer in time.
    No,
    /// The prompt cannot be answered.
    Impossible,
}

impl From<bool> for Answer {
    fn from(confirmed: bool) -> Self {
        if confirmed { Self::Yes } else { Self::No }
    }
}

struct Program {
    child: Child,
    output: ChildStdout,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ConfirmRequest {
    /// Returns whether both are requests of one process. Where the system does not
    /// identify processes, all of a forwarded socket count as one.
    fn has_requester_of(&self, other: &Self) -> bool {
        let is_far = |request: &Self| !request.local && !request.peer.is_known();
        self.connection == other.connection
            || self.peer.is_same_process(other.peer)
            || is_far(self) && is_far(other)
    }
}

impl Confirm {
    /// Prompts by this method, and remembers a yes for this long.
    pub fn new(method: PromptMethod, hold: Duration) -> Self {
        Self {
            method,
            hold,
            granted: Vec::new(),
            rejections: VecDeque::new(),
            current: None,
            queue: VecDeque::new(),
            decided: VecDeque::new(),
        }
    }

    /// Returns whether a yes for this process is still remembered.
    pub fn is_remembered(&mut self, peer: Peer, now: Now) -> bool {
        let hold = self.hold;
        self.granted.retain(|(_, since)| now.since(*since) < hold);
        self.granted.iter().any(|(of, _)| of.is_same_process(peer))
    }

    /// Returns whether the process of a request gets no prompt now.
    fn is_rejected(&mut self, request: &ConfirmRequest, now: Now) -> bool {
        self.rejections
            .retain(|rejection| now.since(rejection.since) < NO_HOLD);
        let mut withdrawn = 0_usize;
        for rejection in &self.rejections {
            if rejection.requester.has_requester_of(request) {
                if !rejection.withdrawn {
                    return true;
                }
                withdrawn = withdrawn.saturating_add(1);
            }
        }
        withdrawn >= MAX_WITHDRAWN
    }

    fn reject(&mut self, requester: ConfirmRequest, now: Now, withdrawn: bool) {
        if self.rejections.len() >= MAX_REJECTIONS {
            self.rejections.pop_front();
        }
        self.rejections.push_back(Rejection {
            requester,
            since: now,
            withdrawn,
        });
    }

    /// Queues a request; the decision comes from [`Confirm::poll`]. Requests of this
    /// machine precede those of forwarded sockets.
    pub fn submit(&mut self, request: ConfirmRequest, now: Now) {
        let current = self.current.as_ref().map(|prompt| &prompt.request);
        let of_requester = self
            .queue
            .iter()
            .chain(current)
            .filter(|other| other.has_requester_of(&request))
            .count();
        if of_requester >= MAX_PER_PROCESS || !self.make_room(&request) {
            self.decided.push_back((request, ConfirmDecision::Denied));
            return;
        }
        let locals = self.queue.iter().filter(|other| other.local).count();
        let place = if request.local {
            locals
        } else {
            self.queue.len()
        };
        self.queue.insert(place, request);
        self.next(now);
    }

    /// Returns whether there is room for a request. One of this machine takes the
    /// place of the last one of a forwarded socket.
    fn make_room(&mut self, request: &ConfirmRequest) -> bool {
        if self.queue.len() < MAX_REQUESTS {
            return true;
        }
        let takes_place = request.local && self.queue.back().is_some_and(|last| !last.local);
        if takes_place && let Some(last) = self.queue.pop_back() {
            self.decided.push_back((last, ConfirmDecision::Denied));
        }
        takes_place
    }

    /// Removes the requests of a connection that has ended.
    pub fn forget(&mut self, connection: ConnectionId, now: Now) {
        let ended = |request: &ConfirmRequest| request.connection == connection;
        self.queue.retain(|request| !ended(request));
        self.decided.retain(|(request, _)| !ended(request));
        let Some(prompt) = self.current.take_if(|prompt| ended(&prompt.request)) else {
            return;
        };
        if let PromptMethod::Terminal { terminal, .. } = &mut self.method
            && in_foreground(terminal)
        {
            let _ = terminal.write_all(b"\n(the request was withdrawn)\n");
        }
        self.reject(prompt.request, now, true);
    }

    /// Returns the descriptor where the answer arrives.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        let prompt = self.current.as_ref().filter(|prompt| !prompt.at_end)?;
        Some(match (&prompt.program, &self.method) {
            (Some(program), _) => program.output.as_fd(),
            (None, PromptMethod::Terminal { terminal, .. }) => terminal.as_fd(),
            (None, PromptMethod::Program(_)) => return None,
        })
    }

    /// Returns the time until [`Confirm::poll`] must be called again.
    pub fn poll_interval(&self, now: Now) -> Option<Duration> {
        match &self.current {
            _ if !self.decided.is_empty() => Some(Duration::ZERO),
            None if self.queue.is_empty() => None,
            None => Some(Duration::ZERO),
            Some(prompt) if prompt.at_end => Some(EXIT_INTERVAL),
            Some(prompt) => Some(CONFIRM_TIMEOUT.saturating_sub(now.since(prompt.since))),
        }
    }

    /// Returns a request that has been decided.
    pub fn poll(&mut self, now: Now) -> Option<(ConfirmRequest, ConfirmDecision)> {
        self.next(now);
        if let Some(decided) = self.decided.pop_front() {
            return Some(decided);
        }
        let answer = self.current.as_mut()?.read_answer(&mut self.method, now)?;
        let request = self.current.take()?.request;
        match answer {
            Answer::Yes if !self.hold.is_zero() => self.granted.push((request.peer, now)),
            Answer::No => self.reject(request.clone(), now, false),
            Answer::Yes | Answer::Impossible => {}
        }
        self.next(now);
        Some((request, (answer == Answer::Yes).into()))
    }

    /// Prompts for the next request that needs it, and decides those before it.
    fn next(&mut self, now: Now) {
        while self.current.is_none()
            && let Some(request) = self.queue.pop_front()
        {
            if self.is_remembered(request.peer, now) {
                self.decided.push_back((request, ConfirmDecision::Granted));
                continue;
            }
            if self.is_rejected(&request, now) {
                self.decided.push_back((request, ConfirmDecision::Denied));
                continue;
            }
            let mut prompt = Prompt {
                since: now,
                program: None,
                answer: Vec::new(),
                at_end: false,
                request,
            };
            match prompt.show(&mut self.method) {
                Ok(()) => self.current = Some(prompt),
                Err(_) => {
                    let denied = (prompt.request, ConfirmDecision::Denied);
                    self.decided.push_back(denied);
                }
            }
        }
    }
}

impl Prompt {
    fn show(&mut self, method: &mut PromptMethod) -> io::Result<()> {
        let text = prompt_text(&self.request);
        match method {
            PromptMethod::Terminal { terminal, .. } if in_foreground(terminal) => {
                // An answer typed before the prompt does not count.
                let queue = rustix::termios::QueueSelector::IFlush;
                rustix::termios::tcflush(&*terminal, queue)?;
                terminal.write_all(format!("{text} [yes/no] ").as_bytes())
            }
            PromptMethod::Program(program)
            | PromptMethod::Terminal {
                otherwise: Some(program),
                ..
            } => self.run(program, &text),
            PromptMethod::Terminal { .. } => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn run(&mut self, program: &Path, text: &str) -> io::Result<()> {
        let mut child = Command::new(program)
            .arg(text)
            .env("SSH_ASKPASS_PROMPT", "confirm")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        self.program = Some(Program { child, output });
        Ok(())
    }

    fn read_answer(&mut self, method: &mut PromptMethod, now: Now) -> Option<Answer> {
        if now.since(self.since) >= CONFIRM_TIMEOUT {
            return Some(Answer::No);
        }
        if !self.at_end {
            let mut chunk = [0u8; 64];
            let read = match (&mut self.program, method) {
                (Some(program), _) => program.output.read(&mut chunk),
                (None, PromptMethod::Terminal { terminal, .. }) if in_foreground(terminal) => {
                    terminal.read(&mut chunk)
                }
                (None, _) => return Some(Answer::Impossible),
            };
            match read {
                Ok(0) => self.at_end = true,
                Ok(count) => self
                    .answer
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
                Err(_) => return Some(Answer::Impossible),
            }
            if self.answer.len() > MAX_ANSWER {
                return Some(Answer::No);
            }
        }
        let answer = String::from_utf8_lossy(&self.answer);
        let yes = answer.trim().eq_ignore_ascii_case("yes");
        match &mut self.program {
            Some(program) => match program.child.try_wait() {
                Ok(None) => None,
                // A program may confirm with its exit status alone.
                Ok(Some(status)) => {
                    Some((status.success() && (yes || answer.trim().is_empty())).into())
                }
                Err(_) => Some(Answer::Impossible),
            },
            None if self.at_end => Some(Answer::Impossible),
            None if answer.contains('\n') => Some(yes.into()),
            None => None,
        }
    }
}

fn prompt_text(request: &ConfirmRequest) -> String {
    let place = if request.local {
        "on this machine"
    } else {
        "possibly over a forwarded socket"
    };
    let pid = request.peer.pid;
    let digest = request.digest.iter().take(8);
    let digest: String = digest.map(|byte| format!("{byte:02x}")).collect();
    format!(
        "Allow process {pid} ({}{place}) to sign as {}? Digest SHA-256 {digest}…",
        process_name(request.peer),
        request.identity,
    )
}

/// Returns the name of a process, if the system reports it and the process runs.
fn process_name(peer: Peer) -> String {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", peer.pid)).unwrap_or_default();
    if !peer.is_current() {
        return String::new();
    }
    let mut plain: String = name.chars().filter(char::is_ascii_graphic).collect();
    if !plain.is_empty() {
        plain.push_str(", ");
    }
    plain
}

#[cfg(test)]
mod tests;
