//! Text for people: the only place that writes to standard output and standard
//! error in the commands for people, and the escaping that every foreign text
//! goes through, here and on the status lines.
//!
//! Colour appears only on a terminal, and not with `NO_COLOR` set.

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

pub mod tty;

use anstyle::{AnsiColor, Style};

use tty::Tty;

/// The longest foreign text that is shown, in characters; the rest is counted.
pub const MAX_SHOWN: usize = 512;

/// How a text from outside is made harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// For status lines, as GnuPG does it: every byte outside printable ASCII,
    /// and `%` itself, becomes `%XX`.
    Percent,
    /// For people, and for what names somebody: every character outside
    /// printable ASCII becomes `\u{…}`, so that a look-alike letter, a character
    /// without width or a change of direction is seen.
    Ascii,
    /// For people, and for prose (paths, messages): letters of every script
    /// stay; what moves the cursor, hides or reorders text becomes `\u{…}`.
    Prose,
}

/// Makes `text` harmless, and no longer than [`MAX_SHOWN`].
#[must_use]
pub fn escape(text: &str, how: Escape) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_SHOWN));
    let mut bytes = 0_usize;
    for (count, character) in text.chars().enumerate() {
        if count >= MAX_SHOWN {
            let left = text.len().saturating_sub(bytes);
            let _ = write!(out, "...[{left} more bytes]");
            break;
        }
        bytes = bytes.saturating_add(character.len_utf8());
        let plain = match how {
            Escape::Percent => is_plain_ascii(character) && character != '%',
            Escape::Ascii => is_plain_ascii(character) && character != '\\',
            Escape::Prose => is_plain_ascii(character) || is_visible(character),
        };
        if plain {
            out.push(character);
        } else if how == Escape::Percent {
            let mut buffer = [0_u8; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        }
    }
    out
}

/// As [`escape`] in prose, line by line: line breaks stay, everything else that
/// could move the cursor does not. Without a limit.
#[must_use]
pub fn escape_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n'
            || character == '\t'
            || is_plain_ascii(character)
            || is_visible(character)
        {
            out.push(character);
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        }
    }
    out
}

fn is_plain_ascii(character: char) -> bool {
    matches!(character, ' '..='~')
}

/// Whether a character outside ASCII shows as itself, in its place. Left out are
/// controls, what has no width, what changes direction, other format characters,
/// separators of lines, variation selectors, tags, private use and what is not
/// assigned to anything (UAX #9, UTR #36).
fn is_visible(character: char) -> bool {
    let code = u32::from(character);
    !(character.is_control()
        || matches!(code,
            0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164
            | 0xD800..=0xF8FF | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0xFFFE..=0xFFFF | 0x1D173..=0x1D17A | 0xE0000..=0x10FFFF)
        || (0x00..0x20).contains(&code)
        || code == 0x7F)
}

/// What a piece of text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Something holds.
    Good,
    /// Something is refused.
    Bad,
    /// Something to know.
    Warning,
    /// Less important.
    Quiet,
    /// A heading.
    Strong,
}

/// `text` in its colour; the colours are taken out again on the way to anything
/// that is not a terminal.
#[must_use]
pub fn paint(tone: Tone, text: &str) -> String {
    let style = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
        Tone::Warning => AnsiColor::Yellow.on_default(),
        Tone::Quiet => Style::new().dimmed(),
        Tone::Strong => Style::new().bold(),
    };
    format!("{style}{text}{style:#}")
}

/// Writes to standard output, all of it or an error.
///
/// # Errors
/// Standard output is closed, full or gone: the command has failed then.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes JSON to standard output. Outside ASCII it holds nothing but what shows
/// as itself: the rest (C1 controls, changes of direction, what has no width)
/// becomes `\\uXXXX`, which reads as the same text.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print(&json(value))
}

fn json(value: &serde_json::Value) -> String {
    harmless(&format!("{value:#}\n"))
}

/// JSON in which nothing moves the cursor.
fn harmless(written: &str) -> String {
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

/// JSON on standard output, one value on a line, for results that come one by one.
pub struct Lines(io::BufWriter<io::Stdout>);

impl Lines {
    /// Begins.
    #[must_use]
    pub fn start() -> Self {
        Self(io::BufWriter::with_capacity(64 * 1024, io::stdout()))
    }

    /// Writes a value in one line. Outside ASCII it holds what [`print_json`] lets
    /// through.
    ///
    /// # Errors
    /// As [`print()`].
    pub fn json(&mut self, value: &serde_json::Value) -> io::Result<()> {
        self.0.write_all(harmless(&format!("{value}\n")).as_bytes())
    }

    /// Ends: everything is written.
    ///
    /// # Errors
    /// As [`print()`].
    pub fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A count that goes up while something long happens, on standard error, if that
/// is a terminal.
pub struct Progress(Option<indicatif::ProgressBar>);

impl Progress {
    /// Begins. `what` is in the present: "verifying".
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

    /// One more.
    pub fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Does something that writes to the terminal, out of the way of the count.
    pub fn aside<T>(&self, what: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(what),
            None => what(),
        }
    }

    /// Ends, and leaves nothing behind.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Writes bytes as they are to standard output, all of them or an error.
///
/// # Errors
/// As [`print()`].
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Tells the person something, on standard error, and the log file if there is
/// one. If nobody listens there, that is no reason to fail.
pub fn tell(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = err.write_all(text.as_bytes());
    let _ = err.write_all(b"\n");
    let _ = err.flush();
    if let Some(mut log) = LOG.get() {
        let plain = anstream::adapter::strip_str(text).to_string();
        let _ = log.write_all(format!("{plain}\n").as_bytes());
    }
}

/// The person's terminal, for warnings and errors that git would keep to itself.
static PERSON: OnceLock<Mutex<Tty>> = OnceLock::new();
/// Whether git shows them by itself.
static GIT_SHOWS_ERRORS: AtomicBool = AtomicBool::new(false);

/// From now on warnings and errors reach the person at the terminal too. git
/// reads a signing helper's standard error itself: it drops what is written
/// there when all went well, and before version 2.40 also when it did not.
pub fn reach_the_person() {
    if io::stderr().is_terminal() {
        return;
    }
    let terminal = Tty::open();
    if terminal.is_there() {
        let _ = PERSON.set(Mutex::new(terminal));
    }
}

/// From now on errors need not be taken to the person: git shows them.
pub fn git_shows_errors() {
    GIT_SHOWS_ERRORS.store(true, Ordering::Relaxed);
}

fn tell_person(text: &str) {
    if let Some(person) = PERSON.get()
        && let Ok(mut person) = person.lock()
    {
        person.tell(&anstream::adapter::strip_str(text).to_string());
    }
}

/// The file that messages are appended to as well (`logPath`).
static LOG: OnceLock<File> = OnceLock::new();

/// From now on messages go to this file as well. What stands in it stays; a new
/// file is for the user only.
///
/// # Errors
/// It cannot be opened for appending.
pub fn log_to(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let _ = LOG.set(file);
    Ok(())
}

/// A warning, on standard error.
pub fn warn(text: &str) {
    let line = format!("{} {text}", paint(Tone::Warning, "warning:"));
    tell_person(&line);
    tell(&line);
}

/// An error and, on a line of its own, what to do next.
pub fn error(text: &str, hint: Option<&str>) {
    let mut lines = vec![format!("{} {text}", paint(Tone::Bad, "error:"))];
    lines.extend(hint.map(|hint| format!("{} {hint}", paint(Tone::Strong, "hint:"))));
    for line in &lines {
        if !GIT_SHOWS_ERRORS.load(Ordering::Relaxed) {
            tell_person(line);
        }
        tell(line);
    }
}

/// Rows as columns, separated by two spaces; the last one is as long as it is.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_hold_one_line_of_ascii() {
        assert_eq!(
            escape("a\n[GNUPG:] TRUST_ULTIMATE", Escape::Percent),
            "a%0A[GNUPG:] TRUST_ULTIMATE"
        );
        assert_eq!(escape("100%", Escape::Percent), "100%25");
        assert_eq!(escape("\u{430}lice", Escape::Percent), "%D0%B0lice");
        assert_eq!(escape("\u{1b}[2K\u{7f}", Escape::Percent), "%1B[2K%7F");
    }

    #[test]
    fn names_show_what_is_in_them() {
        assert_eq!(escape("\u{430}lice", Escape::Ascii), "\\u{430}lice");
        assert_eq!(escape("a\\b", Escape::Ascii), "a\\u{5c}b");
        assert_eq!(
            escape("a\u{202e}b\u{200b}", Escape::Ascii),
            "a\\u{202e}b\\u{200b}"
        );
        assert_eq!(
            escape("alice@lab.example", Escape::Ascii),
            "alice@lab.example"
        );
    }

    #[test]
    fn prose_keeps_scripts_and_drops_tricks() {
        assert_eq!(
            escape("Grüße, Ильич, 日本", Escape::Prose),
            "Grüße, Ильич, 日本"
        );
        assert_eq!(
            escape(
                "x\u{202e}y\u{2066}z\u{9b}1m\u{e0041}\u{feff}\u{2028}",
                Escape::Prose
            ),
            "x\\u{202e}y\\u{2066}z\\u{9b}1m\\u{e0041}\\u{feff}\\u{2028}"
        );
        assert_eq!(escape_lines("a\n\tb\r\u{1b}c"), "a\n\tb\\u{d}\\u{1b}c");
    }

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

    #[test]
    fn a_megabyte_is_cut() {
        let shown = escape(&"a".repeat(1 << 20), Escape::Ascii);
        assert!(shown.len() < 600, "{}", shown.len());
        assert!(shown.ends_with("...[1048064 more bytes]"), "{shown}");
        let cut = escape(&"\n".repeat(1000), Escape::Percent);
        assert!(cut.ends_with("...[488 more bytes]"), "{cut}");
    }

    #[test]
    fn tables_line_up() {
        let rows = vec![
            vec!["a".to_owned(), "b".to_owned()],
            vec!["long".to_owned(), "c".to_owned()],
        ];
        assert_eq!(table(&rows), "a     b\nlong  c\n");
    }
}
