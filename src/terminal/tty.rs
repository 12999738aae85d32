//! The terminal itself, whatever standard input and output are: git gives the
//! helper a pipe for both, and what is written there becomes the signature.
//!
//! The terminal's modes are never changed, so that there is nothing to put back
//! when somebody presses Ctrl-C.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::escape_lines;

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 8 << 10;
/// How long an answer is waited for. A code to paste takes a login elsewhere.
pub const ANSWER_TIME: Duration = Duration::from_secs(5 * 60);

#[cfg(unix)]
const READ: &str = "/dev/tty";
#[cfg(unix)]
const WRITE: &str = "/dev/tty";
#[cfg(windows)]
const READ: &str = "CONIN$";
#[cfg(windows)]
const WRITE: &str = "CONOUT$";

/// The terminal of this process, if there is one.
#[derive(Debug)]
pub struct Tty {
    ends: Option<(File, File)>,
}

impl Tty {
    /// Opens it. Without one, telling goes to standard error and asking fails.
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

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.ends.is_some()
    }

    /// Shows a line; what could move the cursor is escaped. What cannot be shown
    /// is lost: nobody is there to see it.
    pub fn tell(&mut self, line: &str) {
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

    /// Whether somebody can be asked: there is a terminal, this process is in the
    /// foreground of it (another that reads is stopped by the system), and it
    /// gives lines. A program with a screen of its own that runs git leaves it in
    /// a mode where Enter ends no line and Ctrl-C is a byte.
    #[must_use]
    pub fn can_be_asked(&self) -> bool {
        self.ends
            .as_ref()
            .is_some_and(|(from, _)| in_foreground(from) && gives_lines(from))
    }

    /// Asks for a line. What is typed is seen; what was typed before the question
    /// is no answer to it.
    ///
    /// # Errors
    ///
    /// When nobody can be asked, nobody answers within [`ANSWER_TIME`], the
    /// terminal ends, or the line is too long.
    pub fn ask(&mut self, prompt: &str) -> io::Result<String> {
        if !self.can_be_asked() {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "there is no terminal that gives lines, or this runs in its background",
            ));
        }
        let Some((from, to)) = &mut self.ends else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        drop_input(from);
        to.write_all(escape_lines(prompt).as_bytes())?;
        to.flush()?;
        read_line_within(from, ANSWER_TIME)
    }
}

/// The same in a thread of its own, which is left behind when the time is over:
/// not every system can wait for a terminal and a clock at once.
fn read_line_within(from: &File, time: Duration) -> io::Result<String> {
    let mut from = from.try_clone()?;
    let (send, line) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || drop(send.send(read_line(&mut from))))?;
    line.recv_timeout(time).unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nobody answered within {} s", time.as_secs()),
        ))
    })
}

/// One byte at a time: what follows the line belongs to whoever reads next.
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
fn gives_lines(terminal: &File) -> bool {
    use rustix::termios::{LocalModes, tcgetattr};
    tcgetattr(terminal).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ICANON))
}

#[cfg(not(unix))]
fn gives_lines(_: &File) -> bool {
    true
}

/// Forgets what was typed and not yet read. If that fails, it is read.
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
    fn an_answer_is_not_waited_for_without_end() {
        let (from, _to) = io::pipe().unwrap();
        let from = File::from(std::os::fd::OwnedFd::from(from));
        let error = read_line_within(&from, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "nobody answered within 0 s");
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        let mut tty = Tty { ends: None };
        assert!(!tty.can_be_asked());
        assert!(tty.ask("? ").is_err());
    }
}
