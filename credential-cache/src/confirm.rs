//! The user's confirmation of each signature (`--confirm`): one prompt at a time,
//! on the terminal that the daemon was started from (while it is in the
//! foreground there) or through an askpass program. The loop goes on in the
//! meantime.
//!
//! A yes is for one signature; with a number of seconds it is remembered that
//! long for the same process at the other end of the socket, which for a
//! forwarded socket is the ssh process.
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

/// The queue of requests, of which the first is being prompted for.
pub struct Confirm {
    method: PromptMethod,
    hold: Duration,
    granted: Vec<(u32, Now)>,
    current: Option<Prompt>,
    queue: VecDeque<ConfirmRequest>,
}

struct Prompt {
    request: ConfirmRequest,
    since: Now,
    program: Option<Program>,
    answer: Vec<u8>,
    at_end: bool,
    /// A decision that needs no answer any more.
    decision: Option<ConfirmDecision>,
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

impl Confirm {
    /// Prompts by this method, and remembers a yes for this long.
    pub fn new(method: PromptMethod, hold: Duration) -> Self {
        Self {
            method,
            hold,
            granted: Vec::new(),
            current: None,
            queue: VecDeque::new(),
        }
    }

    /// Returns whether a yes for this process is still remembered.
    pub fn is_remembered(&mut self, peer: Peer, now: Now) -> bool {
        let hold = self.hold;
        self.granted.retain(|(_, since)| now.since(*since) < hold);
        peer.pid != 0 && self.granted.iter().any(|(pid, _)| *pid == peer.pid)
    }

    /// Queues a request; the decision comes from [`Confirm::poll`].
    pub fn submit(&mut self, request: ConfirmRequest, now: Now) {
        self.queue.push_back(request);
        self.next(now);
    }

    /// Removes the requests of a connection that has ended.
    pub fn forget(&mut self, connection: ConnectionId) {
        self.queue
            .retain(|request| request.connection != connection);
        let prompt = self.current.as_ref();
        if prompt.is_some_and(|prompt| prompt.request.connection == connection) {
            self.current = None;
            if let PromptMethod::Terminal { terminal, .. } = &mut self.method
                && in_foreground(terminal)
            {
                let _ = terminal.write_all(b"\n(the request was withdrawn)\n");
            }
        }
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
            None if self.queue.is_empty() => None,
            None => Some(Duration::ZERO),
            Some(prompt) if prompt.decision.is_some() => Some(Duration::ZERO),
            Some(prompt) if prompt.at_end => Some(EXIT_INTERVAL),
            Some(prompt) => Some(CONFIRM_TIMEOUT.saturating_sub(now.since(prompt.since))),
        }
    }

    /// Returns a request that has been decided.
    pub fn poll(&mut self, now: Now) -> Option<(ConfirmRequest, ConfirmDecision)> {
        self.next(now);
        let prompt = self.current.as_mut()?;
        let decision = match prompt.decision {
            Some(decision) => decision,
            None => prompt.read_answer(&mut self.method, now)?,
        };
        let request = self.current.take()?.request;
        if decision == ConfirmDecision::Granted && !self.hold.is_zero() {
            self.granted.push((request.peer.pid, now));
        }
        self.next(now);
        Some((request, decision))
    }

    fn next(&mut self, now: Now) {
        if self.current.is_some() {
            return;
        }
        let Some(request) = self.queue.pop_front() else {
            return;
        };
        let remembered = self.is_remembered(request.peer, now);
        let mut prompt = Prompt {
            since: now,
            program: None,
            answer: Vec::new(),
            at_end: false,
            decision: None,
            request,
        };
        if remembered {
            prompt.decision = Some(ConfirmDecision::Granted);
        } else if self.queue.len() > MAX_REQUESTS || prompt.show(&mut self.method).is_err() {
            prompt.decision = Some(ConfirmDecision::Denied);
        }
        self.current = Some(prompt);
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

    fn read_answer(&mut self, method: &mut PromptMethod, now: Now) -> Option<ConfirmDecision> {
        if now.since(self.since) >= CONFIRM_TIMEOUT {
            return Some(ConfirmDecision::Denied);
        }
        if !self.at_end {
            let mut chunk = [0u8; 64];
            let read = match (&mut self.program, method) {
                (Some(program), _) => program.output.read(&mut chunk),
                (None, PromptMethod::Terminal { terminal, .. }) if in_foreground(terminal) => {
                    terminal.read(&mut chunk)
                }
                (None, _) => return Some(ConfirmDecision::Denied),
            };
            match read {
                Ok(0) => self.at_end = true,
                Ok(count) => self
                    .answer
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
                Err(_) => return Some(ConfirmDecision::Denied),
            }
            if self.answer.len() > MAX_ANSWER {
                return Some(ConfirmDecision::Denied);
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
                Err(_) => Some(ConfirmDecision::Denied),
            },
            None if self.at_end => Some(ConfirmDecision::Denied),
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
        process_name(pid),
        request.identity,
    )
}

/// Returns the name of a process, if the system reports it.
fn process_name(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let mut plain: String = name.chars().filter(char::is_ascii_graphic).collect();
    if !plain.is_empty() {
        plain.push_str(", ");
    }
    plain
}
