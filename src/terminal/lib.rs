//! Output for people: the only writer of standard output and standard error in the
//! commands, the styles, and the escaping of values from outside.
//!
//! Every function escapes by itself: strings become one line of prose. [`Styled`] text
//! is the marked exception: its values are escaped already.
//!
//! Color appears only on a terminal, and not with `NO_COLOR` set.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

pub mod escape;
pub mod styled;
pub mod tty;

pub use escape::{Escape, MAX_SHOWN, escape, escape_lines};
pub use styled::{Printable, Style, Styled, style, table};

use escape::{is_plain_ascii, is_visible};
use tty::Tty;

/// Writes text to standard output, all of it or an error.
///
/// # Errors
/// Returns the error if standard output is closed or full: the command has failed then.
pub fn print(text: &Styled) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.printable().as_bytes())?;
    out.flush()
}

/// Writes JSON to standard output. Outside ASCII it contains only characters that are
/// displayed as themselves: the rest (C1 controls, changes of direction, characters
/// without width) becomes `\\uXXXX`, which parses as the same text.
///
/// # Errors
/// Returns the error as [`print()`] does.
pub fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print(&Styled::trusted(json(value)))
}

fn json(value: &serde_json::Value) -> String {
    escape_json(&format!("{value:#}\n"))
}

/// Escapes characters in JSON that move the cursor.
fn escape_json(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    for character in written.chars() {
        // What is not ASCII, and DEL, can only be inside a string here.
        if character == '\n' || is_plain_ascii(character) || is_visible(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Writes JSON to standard output, one value per line.
pub struct Lines(io::BufWriter<io::Stdout>);

impl Lines {
    /// Starts the output of JSON lines.
    #[must_use]
    pub fn start() -> Self {
        Self(io::BufWriter::with_capacity(64 * 1024, io::stdout()))
    }

    /// Writes a value in one line, escaped as by [`print_json`].
    ///
    /// # Errors
    /// Returns the error as [`print()`] does.
    pub fn json(&mut self, value: &serde_json::Value) -> io::Result<()> {
        self.0
            .write_all(escape_json(&format!("{value}\n")).as_bytes())
    }

    /// Writes everything that is buffered.
    ///
    /// # Errors
    /// Returns the error as [`print()`] does.
    pub fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A progress display on standard error, if that is a terminal.
pub struct Progress(Option<indicatif::ProgressBar>);

impl Progress {
    /// Starts the progress display. `what` is a participle: "verifying".
    #[must_use]
    pub fn start(what: &'static str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = indicatif::ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = indicatif::ProgressStyle::with_template(
            "{spinner} {msg} {human_pos} ({per_sec}, {elapsed})",
        ) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Counts one more step.
    pub fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Hides the display while `what` writes to the terminal.
    pub fn suspend<T>(&self, what: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(what),
            None => what(),
        }
    }

    /// Removes the display from the terminal.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Writes bytes to standard output unchanged, all of them or an error.
///
/// # Errors
/// Returns the error as [`print()`] does.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a message to standard error and to the log file. Write errors are ignored.
pub fn info(text: &(impl Printable + ?Sized)) {
    let text = text.printable();
    let mut err = anstream::stderr().lock();
    let _ = err.write_all(text.as_bytes());
    let _ = err.write_all(b"\n");
    let _ = err.flush();
    if let Some(mut log) = LOG.get() {
        let plain = anstream::adapter::strip_str(&text).to_string();
        let _ = log.write_all(format!("{plain}\n").as_bytes());
    }
}

/// The user's terminal, for warnings and errors that Git does not display.
static MIRROR: OnceLock<Mutex<Tty>> = OnceLock::new();
/// Whether Git displays errors by itself.
static GIT_SHOWS_ERRORS: AtomicBool = AtomicBool::new(false);

/// Prints warnings and errors to the terminal as well, from now on. Git reads a signing
/// helper's standard error itself: it drops the output if signing succeeded, and before
/// version 2.40 also if it failed.
pub fn mirror_errors_to_tty() {
    if io::stderr().is_terminal() {
        return;
    }
    let terminal = Tty::open();
    if terminal.is_open() {
        let _ = MIRROR.set(Mutex::new(terminal));
    }
}

/// Stops printing errors to the terminal: Git displays them.
pub fn disable_tty_mirror() {
    GIT_SHOWS_ERRORS.store(true, Ordering::Relaxed);
}

fn mirror(text: &Styled) {
    if let Some(terminal) = MIRROR.get()
        && let Ok(mut terminal) = terminal.lock()
    {
        terminal.print_line(&anstream::adapter::strip_str(&text.printable()).to_string());
    }
}

/// The file that messages are appended to as well (`logPath`).
static LOG: OnceLock<File> = OnceLock::new();

/// Appends messages to this file as well, from now on. A new file is for the user only.
///
/// # Errors
/// Returns the error if the file cannot be opened for appending.
pub fn log_to(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let _ = LOG.set(file);
    Ok(())
}

/// Prints a warning to standard error.
pub fn warn(text: &(impl Printable + ?Sized)) {
    let line = styled!("{} {}", style(Style::Warning, "warning:"), text);
    mirror(&line);
    info(&line);
}

/// Prints the suggested next step to standard error.
pub fn hint(text: &(impl Printable + ?Sized)) {
    info(&hint_line(text));
}

fn hint_line(text: &(impl Printable + ?Sized)) -> Styled {
    styled!("{} {}", style(Style::Strong, "hint:"), text)
}

/// Prints an error and the suggested next step to standard error.
pub fn error(text: &(impl Printable + ?Sized), hint: Option<&str>) {
    let error = styled!("{} {}", style(Style::Bad, "error:"), text);
    for line in std::iter::once(error).chain(hint.map(hint_line)) {
        if !GIT_SHOWS_ERRORS.load(Ordering::Relaxed) {
            mirror(&line);
        }
        info(&line);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn json_moves_no_cursor_and_reads_the_same() {
        let text = "Grüße\n\u{1b}[2K\u{9b}2K\u{7f}\u{202e}x\u{e0041}\"日本";
        let value = serde_json::json!({ "a": [text] });
        let written = json(&value);
        assert_eq!(
            written,
            "{\n  \"a\": [\n    \"Grüße\\n\\u001b[2K\\u009b2K\\u007f\\u202ex\\udb40\\udc41\\\"日本\"\n  ]\n}\n"
        );
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read, value);
    }
}
