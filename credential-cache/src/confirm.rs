//! Asking a person before a signature is made (`--confirm`): one question at a
//! time, on the terminal that the daemon was started from (while it is in the
//! foreground there) or through an askpass program that whoever started it chose. The loop goes on meanwhile.
//!
//! A yes is for one signature; with a number of seconds it holds that long for
//! the same process at the other end of the socket, which for a forwarded socket
//! is the ssh process.
//!
//! *Not checked here:* whether the key may sign at all (`store.rs`, before the
//! question and again after it).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::clock::Now;
use crate::peer::Peer;
use crate::protocol::KeyId;
use crate::store::ConnectionId;

/// How long a person has to answer.
pub const ANSWER: Duration = Duration::from_secs(60);

/// The most questions that wait; one more is denied.
const MAX_QUESTIONS: usize = 64;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256;

/// How often a program that has said its answer is looked at until it ends.
const TICK: Duration = Duration::from_millis(20);

/// How a person is asked.
pub enum Way {
    /// A program that shows its argument and says yes with exit status 0, as
    /// ssh-askpass does with SSH_ASKPASS_PROMPT=confirm.
    Program(PathBuf),
    /// The terminal, while this process is in its foreground.
    Terminal {
        /// Opened for reading and writing without blocking.
        terminal: File,
        /// The program for when it is not.
        otherwise: Option<PathBuf>,
    },
}

/// Whether this process may read from its terminal: in the background, reading
/// would stop it.
pub fn in_foreground(terminal: &File) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// A signature that somebody wants.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who asks.
    pub connection: ConnectionId,
    /// The process that asks.
    pub peer: Peer,
    /// With which key.
    pub key: KeyId,
    /// Of what.
    pub digest: [u8; 32],
    /// Whether it is on this machine.
    pub local: bool,
    /// In whose name.
    pub who: String,
}

/// What the person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Granted,
    /// No, nothing, or nobody could be asked.
    Denied,
}

/// The questions and the person.
pub struct Confirm {
    way: Way,
    hold: Duration,
    granted: Vec<(u32, Now)>,
    current: Option<Asked>,
    queue: VecDeque<Question>,
}

struct Asked {
    question: Question,
    since: Now,
    program: Option<Program>,
    said: Vec<u8>,
    over: bool,
    /// A verdict that needs no person any more.
    verdict: Option<Verdict>,
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
    /// Asks in this way; a yes holds this long.
    pub fn new(way: Way, hold: Duration) -> Self {
        Self {
            way,
            hold,
            granted: Vec::new(),
            current: None,
            queue: VecDeque::new(),
        }
    }

    /// Whether this process has a yes that still holds.
    pub fn holds(&mut self, peer: Peer, now: Now) -> bool {
        let hold = self.hold;
        self.granted
            .retain(|(_, since)| now.since_boot.saturating_sub(since.since_boot) < hold);
        peer.pid != 0 && self.granted.iter().any(|(pid, _)| *pid == peer.pid)
    }

    /// Puts a question; the verdict comes from [`Confirm::hear`].
    pub fn ask(&mut self, question: Question, now: Now) {
        self.queue.push_back(question);
        self.next(now);
    }

    /// The connection has ended: nobody need be asked for it.
    pub fn forget(&mut self, connection: ConnectionId) {
        self.queue
            .retain(|question| question.connection != connection);
        let asked = self.current.as_ref();
        if asked.is_some_and(|asked| asked.question.connection == connection) {
            self.current = None;
            self.note("no longer asked for");
        }
    }

    /// What to watch for the answer.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        let asked = self.current.as_ref().filter(|asked| !asked.over)?;
        Some(match (&asked.program, &self.way) {
            (Some(program), _) => program.output.as_fd(),
            (None, Way::Terminal { terminal, .. }) => terminal.as_fd(),
            (None, Way::Program(_)) => return None,
        })
    }

    /// How long the loop may wait before it asks again what was said.
    pub fn patience(&self, now: Now) -> Option<Duration> {
        match &self.current {
            None if self.queue.is_empty() => None,
            None => Some(Duration::ZERO),
            Some(asked) if asked.verdict.is_some() => Some(Duration::ZERO),
            Some(asked) if asked.over => Some(TICK),
            Some(asked) => Some(ANSWER.saturating_sub(asked.waited(now))),
        }
    }

    /// A question that has its verdict.
    pub fn hear(&mut self, now: Now) -> Option<(Question, Verdict)> {
        self.next(now);
        let asked = self.current.as_mut()?;
        let verdict = match asked.verdict {
            Some(verdict) => Some(verdict),
            None => asked.listen(&mut self.way, now),
        }?;
        let question = self.current.take()?.question;
        if verdict == Verdict::Granted && !self.hold.is_zero() {
            self.granted.push((question.peer.pid, now));
        }
        self.next(now);
        Some((question, verdict))
    }

    fn next(&mut self, now: Now) {
        if self.current.is_some() {
            return;
        }
        let Some(question) = self.queue.pop_front() else {
            return;
        };
        let mut asked = Asked {
            since: now,
            program: None,
            said: Vec::new(),
            over: false,
            verdict: None,
            question,
        };
        let granted = self.holds(asked.question.peer, now);
        if granted {
            asked.verdict = Some(Verdict::Granted);
        } else if self.queue.len() > MAX_QUESTIONS || asked.put(&mut self.way).is_err() {
            asked.verdict = Some(Verdict::Denied);
        }
        self.current = Some(asked);
    }

    fn note(&mut self, text: &str) {
        if let Way::Terminal { terminal, .. } = &mut self.way
            && in_foreground(terminal)
        {
            let _ = terminal.write_all(format!("\n({text})\n").as_bytes());
        }
    }
}

impl Asked {
    fn waited(&self, now: Now) -> Duration {
        now.since_boot.saturating_sub(self.since.since_boot)
    }

    fn put(&mut self, way: &mut Way) -> io::Result<()> {
        let text = prompt(&self.question);
        match way {
            Way::Program(program) => self.put_through(program, &text),
            Way::Terminal { terminal, .. } if in_foreground(terminal) => {
                // An answer typed before the question is none.
                let queue = rustix::termios::QueueSelector::IFlush;
                rustix::termios::tcflush(&*terminal, queue)?;
                terminal.write_all(format!("{text} [yes/no] ").as_bytes())
            }
            Way::Terminal {
                otherwise: Some(program),
                ..
            } => self.put_through(program, &text),
            Way::Terminal { .. } => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn put_through(&mut self, program: &Path, text: &str) -> io::Result<()> {
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

    fn listen(&mut self, way: &mut Way, now: Now) -> Option<Verdict> {
        if self.waited(now) >= ANSWER {
            return Some(Verdict::Denied);
        }
        if !self.over {
            let mut chunk = [0u8; 64];
            let read = match (&mut self.program, way) {
                (Some(program), _) => program.output.read(&mut chunk),
                (None, Way::Terminal { terminal, .. }) if in_foreground(terminal) => {
                    terminal.read(&mut chunk)
                }
                (None, _) => return Some(Verdict::Denied),
            };
            match read {
                Ok(0) => self.over = true,
                Ok(count) => self
                    .said
                    .extend_from_slice(chunk.get(..count).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
                Err(_) => return Some(Verdict::Denied),
            }
            if self.said.len() > MAX_ANSWER {
                return Some(Verdict::Denied);
            }
        }
        match &mut self.program {
            Some(program) => match program.child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) if status.success() && affirms(&self.said, true) => {
                    Some(Verdict::Granted)
                }
                Ok(Some(_)) | Err(_) => Some(Verdict::Denied),
            },
            None if self.over => Some(Verdict::Denied),
            None if self.said.contains(&b'\n') => Some(if affirms(&self.said, false) {
                Verdict::Granted
            } else {
                Verdict::Denied
            }),
            None => None,
        }
    }
}

/// A program may say yes with its exit status alone.
fn affirms(said: &[u8], silence: bool) -> bool {
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    (silence && said.is_empty()) || said.eq_ignore_ascii_case("yes")
}

fn prompt(question: &Question) -> String {
    let place = if question.local {
        "on this machine"
    } else {
        "not known to be on this machine (a forwarded socket?)"
    };
    let digest: String = question
        .digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "gitseal: sign as {}? Asked by process {}{}, {place}; SHA-256 of what is signed: {digest}…",
        question.who,
        question.peer.pid,
        name_of(question.peer.pid),
    )
}

/// The name of a process, where the system tells.
fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let plain: String = name
        .trim()
        .chars()
        .filter(|c| c.is_ascii_graphic())
        .collect();
    if plain.is_empty() {
        String::new()
    } else {
        format!(" ({plain})")
    }
}
