//! The terminal, as the login flows see it.

use std::{
    io::{self, IsTerminal as _},
    thread,
    time::{Duration, Instant},
};

use url::Url;

use crate::host::opener::Opener;
use gitseal_services::oidc::login;
use gitseal_terminal::tty::Tty;

/// The interval at which a pause checks that the calling program still runs.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Prints messages and prompts on the terminal. Never uses standard input or
/// output, which belong to Git.
pub(super) struct TerminalPrompt<'a> {
    opener: &'a Opener,
    terminal: Tty,
    parent: Parent,
}

impl<'a> TerminalPrompt<'a> {
    /// Opens the terminal of this process, if there is one.
    pub(super) fn new(opener: &'a Opener) -> Self {
        Self {
            opener,
            terminal: Tty::open(),
            parent: Parent::current(),
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
            if self.parent.has_exited() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(POLL_INTERVAL));
        }
    }
}

/// The program that started this one and reads its standard error.
#[cfg(unix)]
struct Parent(Option<rustix::process::Pid>);

#[cfg(unix)]
impl Parent {
    fn current() -> Self {
        Self(rustix::process::getppid())
    }

    /// Returns whether no program reads the result any more. If standard error is a
    /// terminal, its user does.
    fn has_exited(&self) -> bool {
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

/// The calling program, which Windows does not name: a login ends with its
/// timeout.
#[cfg(not(unix))]
struct Parent;

#[cfg(not(unix))]
impl Parent {
    fn current() -> Self {
        Self
    }

    fn has_exited(&self) -> bool {
        false
    }
}
