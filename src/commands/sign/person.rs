//! The person at the terminal, as the login flows see them.

use std::{thread, time::Duration};

use url::Url;

use crate::{
    host::{opener::Opener, tty::Tty},
    services::oidc::login,
};

/// Who is told and asked. Standard output is git's, and standard input the
/// payload: neither is ever used here.
pub(super) struct Person<'a> {
    opener: &'a Opener,
    terminal: Tty,
}

impl<'a> Person<'a> {
    /// The person at this process's terminal, if there is one.
    pub(super) fn new(opener: &'a Opener) -> Self {
        Self {
            opener,
            terminal: Tty::open(),
        }
    }
}

impl login::Person for Person<'_> {
    fn tell(&mut self, line: &str) {
        self.terminal.tell(line);
    }

    fn open(&mut self, url: &Url) -> Result<(), String> {
        self.opener.open(url)
    }

    fn ask(&mut self, prompt: &str) -> Result<String, String> {
        self.terminal.ask(prompt).map_err(|error| error.to_string())
    }

    fn can_be_asked(&self) -> bool {
        self.terminal.can_be_asked()
    }

    fn pause(&mut self, how_long: Duration) {
        thread::sleep(how_long);
    }
}
