//! The terminal itself, regardless of standard input and output: Git connects the
//! helper to pipes, and its output becomes the signature.
//!
//! The terminal's modes are never changed, so nothing has to be restored after Ctrl-C.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::escape::escape_lines;

/// The maximum length of a line that is read, in bytes.
pub const MAX_LINE: usize = 8 << 10;
/// The time limit of a prompt. A code to paste needs a login on another device.
pub const PROMPT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

#[cfg(unix)]
const READ: &str = "/dev/tty";
#[cfg(unix)]
const WRITE: &str = "/dev/tty";
#[cfg(windows)]
const READ: &str = "CONIN$";
#[cfg(windows)]
const WRITE: &str = "CONOUT$";

/// The terminal of this process, if it has one.
#[derive(Debug)]
pub struct Tty {
    ends: Option<(File, File)>,
}

impl Tty {
    /// Opens the terminal of the process. Without one, lines go to standard error and prompts fail.
    #[must_use]
    pub fn open() -> Self {
        let ends = OpenOptions::new()
            .read(true)
            // Windows wants both rights on either end.
            .write(cfg!(windows))
            .open(READ)
            .and_then(|from| {
                Ok((
                    from,
                    OpenOptions::new()
                        .write(true)
                        .read(cfg!(windows))
                        .open(WRITE)?,
                ))
            })
            .ok();
        Self { ends }
    }

    /// Returns whether the process has a terminal.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ends.is_some()
    }

    /// Prints a line, escaped. Write errors are ignored.
    pub fn print_line(&mut self, line: &str) {
        let mut text = escape_lines(line);
        text.push('\n');
        let shown = match &mut self.ends {
            Some((_, to)) => to.write_all(text.as_bytes()).is_ok(),
            None => false,
        };
        if !shown {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// Returns whether the user can be prompted: there is a terminal, this process is in
    /// its foreground (the system stops any other that reads), and it is in line mode. A
    /// full-screen program that runs Git leaves it in a mode where Enter does not end a
    /// line and Ctrl-C is a byte.
    #[must_use]
    pub fn can_prompt(&self) -> bool {
        self.ends
            .as_ref()
            .is_some_and(|(from, _)| in_foreground(from) && is_in_line_mode(from))
    }

    /// Prompts for a line. Input is echoed; input from before the prompt is discarded.
    ///
    /// # Errors
    /// Returns an error if the user cannot be prompted, the time is over, the terminal
    /// is closed, or the line is too long.
    pub fn prompt_line(&mut self, prompt: &str) -> io::Result<String> {
        if !self.can_prompt() {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "no terminal in line mode, or the process is in the background",
            ));
        }
        let Some((from, to)) = &mut self.ends else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        drop_input(from);
        to.write_all(escape_lines(prompt).as_bytes())?;
        to.flush()?;
        read_line_within(from, PROMPT_TIMEOUT)
    }
}

/// Reads a line in a thread of its own, which is abandoned when the time is over: not
/// every system can wait for a terminal and a clock at once.
fn read_line_within(from: &File, time: Duration) -> io::Result<String> {
    let mut from = from.try_clone()?;
    let (send, line) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || drop(send.send(read_line(&mut from))))?;
    line.recv_timeout(time).unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no input within {} s", time.as_secs()),
        ))
    })
}

/// Reads one byte at a time: the bytes after the line are for the next reader.
fn read_line(from: &mut impl io::Read) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0_u8];
        match from.read(&mut byte) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "nothing was typed",
                ));
            }
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if line.len() > MAX_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the line is too long",
            ));
        }
    }
    String::from_utf8(line)
        .map(|line| line.trim().to_owned())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the line is not UTF-8"))
}

#[cfg(unix)]
fn in_foreground(terminal: &File) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn in_foreground(_: &File) -> bool {
    true
}

#[cfg(unix)]
fn is_in_line_mode(terminal: &File) -> bool {
    use rustix::termios::{LocalModes, tcgetattr};
    tcgetattr(terminal).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ICANON))
}

#[cfg(not(unix))]
fn is_in_line_mode(_: &File) -> bool {
    true
}

/// Discards input that was not read. If that fails, it is read.
#[cfg(unix)]
fn drop_input(terminal: &File) {
    use rustix::termios::{QueueSelector, tcflush};
    let _ = tcflush(terminal, QueueSelector::IFlush);
}

#[cfg(not(unix))]
fn drop_input(_: &File) {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_limit_and_an_end() {
        let mut input: &[u8] = b" code \r\nnext\n";
        assert_eq!(read_line(&mut input).unwrap(), "code");
        assert_eq!(input, b"next\n");
        assert!(read_line(&mut &b""[..]).is_err());
        assert_eq!(read_line(&mut &b"\n"[..]).unwrap(), "");
        assert!(read_line(&mut &b"\xff\n"[..]).is_err());
        assert!(read_line(&mut vec![b'a'; MAX_LINE + 1].as_slice()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_prompt_has_a_time_limit() {
        let (from, _to) = io::pipe().unwrap();
        let from = File::from(std::os::fd::OwnedFd::from(from));
        let error = read_line_within(&from, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "no input within 0 s");
    }

    #[test]
    fn without_a_terminal_there_is_no_prompt() {
        let mut tty = Tty { ends: None };
        assert!(!tty.can_prompt());
        assert!(tty.prompt_line("? ").is_err());
    }
}
