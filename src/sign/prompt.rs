//! The person at the terminal, as the login flows see them.

use std::{
    io::{self, IsTerminal as _},
    thread,
    time::{Duration, Instant},
};

use url::Url;

use crate::host::opener::Opener;
use gitseal_services::oidc::login;
use gitseal_terminal::tty::Tty;

/// How often a long pause looks whether anybody still waits.
const LOOK: Duration = Duration::from_secs(1);

/// Who is told and asked. Standard output is git's, and standard input the
/// payload: neither is ever used here.
pub(super) struct TerminalPrompt<'a> {
    opener: &'a Opener,
    terminal: Tty,
    parent: Parent,
}

impl<'a> TerminalPrompt<'a> {
    /// The person at this process's terminal, if there is one.
    pub(super) fn new(opener: &'a Opener) -> Self {
        Self {
            opener,
            terminal: Tty::open(),
            parent: Parent::now(),
        }
    }
}

impl login::LoginPrompt for TerminalPrompt<'_> {
    fn tell(&mut self, line: &str) {
        self.terminal.print_line(line);
    }

    fn open(&mut self, url: &Url) -> Result<(), String> {
        self.opener.open(url)
    }

    fn ask(&mut self, prompt: &str) -> Result<String, String> {
        self.terminal
            .prompt_line(prompt)
            .map_err(|error| error.to_string())
    }

    fn can_be_asked(&self) -> bool {
        self.terminal.can_prompt()
    }

    fn can_be_told(&self) -> bool {
        self.terminal.is_open() || io::stderr().is_terminal()
    }

    fn pause(&mut self, how_long: Duration) -> bool {
        let until = Instant::now() + how_long;
        loop {
            if self.parent.is_gone() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(LOOK));
        }
    }
}

/// The program that started this one, which reads its standard error.
#[cfg(unix)]
struct Parent(Option<rustix::process::Pid>);

#[cfg(unix)]
impl Parent {
    fn now() -> Self {
        Self(rustix::process::getppid())
    }

    /// Whether nobody waits for this process any more. One whose words go to a
    /// terminal is waited for by whoever sits there.
    fn is_gone(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stderr = io::stderr();
        let mut ends = [PollFd::new(&stderr, PollFlags::empty())];
        let closed = poll(&mut ends, Some(&Timespec::default())).is_ok()
            && ends
                .iter()
                .any(|end| end.revents().intersects(PollFlags::ERR | PollFlags::HUP));
        closed || (!stderr.is_terminal() && rustix::process::getppid() != self.0)
    }
}

/// Windows keeps no parents: a login ends with its time.
#[cfg(not(unix))]
struct Parent;

#[cfg(not(unix))]
impl Parent {
    fn now() -> Self {
        Self
    }

    fn is_gone(&self) -> bool {
        false
    }
}
