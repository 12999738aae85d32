//! A file in git's configuration format, changed in place and changed back.
//!
//! Nothing is printed anew: a change replaces the bytes of one value, or adds
//! a block at the end, and all other bytes stay. What was there is written
//! down ([`Record`]), so that [`undo()`] gives the file back byte by byte, or,
//! where somebody edited other lines since, takes back only what was put in.
//!
//! The grammar is the one that git reads (`config.c`): sections may come
//! several times, a line may hold a section and an entry, lines end in LF or
//! CRLF, a value may go on after a backslash.
//!
//! [`place`] reads and writes the file: git's own lock (`NAME.lock`) is taken,
//! the file is replaced as a whole, and its mode and owner are kept.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

pub mod place;
#[cfg(test)]
mod tests;
mod undo;

pub use undo::{Edit, How, Left, Record, Undone, undo};

/// The largest configuration file that is read, in bytes.
pub const MAX_FILE: usize = 4 << 20;

/// Why a file is not read as git's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: &'static str,
}

/// The name of an entry: `section.name` or `section.subsection.name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigKey {
    section: String,
    subsection: Option<String>,
    name: String,
}

impl ConfigKey {
    /// Reads `section.name` or `section.subsection.name`; section and name in
    /// any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (section, rest) = text.split_once('.')?;
        let (subsection, name) = match rest.rsplit_once('.') {
            Some((subsection, name)) => (Some(subsection), name),
            None => (None, rest),
        };
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let usable = word(section)
            && word(name)
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && subsection.is_none_or(|text| !text.contains(['\n', '\0']));
        usable.then(|| Self {
            section: section.to_owned(),
            subsection: subsection.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// As git compares it: section and name without regard to case.
    fn same(&self, other: &Self) -> bool {
        self.section.eq_ignore_ascii_case(&other.section)
            && self.subsection == other.subsection
            && self.name.eq_ignore_ascii_case(&other.name)
    }

    /// The line that begins its section.
    fn header(&self) -> String {
        match &self.subsection {
            None => format!("[{}]", self.section),
            Some(subsection) => format!(
                "[{} \"{}\"]",
                self.section,
                subsection.replace('\\', "\\\\").replace('"', "\\\"")
            ),
        }
    }

    fn same_section(&self, other: &Self) -> bool {
        self.section.eq_ignore_ascii_case(&other.section) && self.subsection == other.subsection
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subsection {
            None => write!(f, "{}.{}", self.section, self.name),
            Some(subsection) => write!(f, "{}.{subsection}.{}", self.section, self.name),
        }
    }
}

impl From<ConfigKey> for String {
    fn from(key: ConfigKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for ConfigKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no name of a setting"))
    }
}

/// One entry of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: ConfigKey,
    /// Its value; `None` for one without `=`, which git reads as true.
    pub value: Option<Vec<u8>>,
    /// The bytes after its name up to the end of its value.
    raw: Range<usize>,
    /// The lines that it takes, with their end.
    lines: Range<usize>,
    /// Whether it begins its line.
    own_line: bool,
}

/// A line `[section]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    section: String,
    subsection: Option<String>,
    /// The line, with its end.
    line: Range<usize>,
    /// Whether nothing but the header is on it.
    alone: bool,
}

/// What a file holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Header(Header),
    Entry(Entry),
    /// A comment: where it begins.
    Comment(usize),
}

/// A file, read.
#[derive(Debug, Clone)]
pub struct ConfigText<'a> {
    bytes: &'a [u8],
    items: Vec<Item>,
}

impl<'a> ConfigText<'a> {
    /// Reads a file as git does.
    ///
    /// # Errors
    /// Where git would stop with "bad config line".
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader {
            bytes,
            at: if bytes.starts_with(b"\xef\xbb\xbf") {
                3
            } else {
                0
            },
        };
        let mut items = Vec::new();
        let mut section: Option<(String, Option<String>)> = None;
        let mut line_has_content = false;
        while let Some((at, character)) = reader.next() {
            match character {
                b'\n' => line_has_content = false,
                b'#' | b';' => {
                    items.push(Item::Comment(at));
                    reader.skip_line();
                    line_has_content = false;
                }
                _ if is_space(character) => {}
                b'[' => {
                    let (name, subsection) = reader.header()?;
                    let line = reader.line_around(at);
                    let alone = bytes
                        .get(line.start..at)
                        .is_some_and(|before| before.iter().all(|byte| is_space(*byte)))
                        && bytes
                            .get(reader.at..line.end)
                            .is_some_and(|after| after.iter().all(|byte| is_space(*byte)));
                    items.push(Item::Header(Header {
                        section: name.clone(),
                        subsection: subsection.clone(),
                        line,
                        alone,
                    }));
                    section = Some((name, subsection));
                    line_has_content = true;
                }
                _ if character.is_ascii_alphabetic() => {
                    let Some((section, subsection)) = &section else {
                        return Err(reader.malformed(at, "an entry before the first section"));
                    };
                    let (name, value, raw) = reader.entry(at)?;
                    let lines = reader.line_around(at).start..reader.at;
                    items.push(Item::Entry(Entry {
                        key: ConfigKey {
                            section: section.clone(),
                            subsection: subsection.clone(),
                            name,
                        },
                        value,
                        raw,
                        lines,
                        own_line: !line_has_content,
                    }));
                    line_has_content = false;
                }
                _ => return Err(reader.malformed(at, "a line that is no entry")),
            }
        }
        Ok(Self { bytes, items })
    }

    /// All entries, in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.items.iter().filter_map(|item| match item {
            Item::Entry(entry) => Some(entry),
            Item::Header(_) | Item::Comment(_) => None,
        })
    }

    /// The value that counts within this file: the last one. The outer `None`:
    /// there is none.
    #[must_use]
    pub fn last(&self, key: &ConfigKey) -> Option<Option<&[u8]>> {
        self.entries()
            .rev()
            .find(|entry| entry.key.same(key))
            .map(|entry| entry.value.as_deref())
    }

    fn headers_of(&self, key: &ConfigKey) -> usize {
        self.items
            .iter()
            .filter(|item| match item {
                Item::Header(header) => header.is_of(key),
                Item::Entry(_) | Item::Comment(_) => false,
            })
            .count()
    }

    /// Whether another file is read after this entry, whose values would win.
    fn includes_after(&self, entry: &Entry) -> bool {
        self.entries().any(|other| {
            other.raw.start > entry.raw.start
                && other.key.name.eq_ignore_ascii_case("path")
                && (other.key.section.eq_ignore_ascii_case("include")
                    || other.key.section.eq_ignore_ascii_case("includeif"))
        })
    }

    fn line_end(&self) -> &'static str {
        match self.bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) if at > 0 && self.bytes.get(at.saturating_sub(1)) == Some(&b'\r') => "\r\n",
            _ => "\n",
        }
    }
}

impl Header {
    fn is_of(&self, key: &ConfigKey) -> bool {
        self.section.eq_ignore_ascii_case(&key.section) && self.subsection == key.subsection
    }
}

/// A value to be set, and who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The entry.
    pub key: ConfigKey,
    /// Its value.
    pub value: String,
    /// Who wants it, in one word; kept in the record.
    pub source: String,
}

/// A value that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The file is not git's configuration.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A value with a line break, a NUL or another control character.
    #[error("the value of {key} holds a control character")]
    Value {
        /// Of which entry.
        key: String,
    },
    /// What would be written does not read as what was meant.
    #[error("the change of {key} would not read back: the file ends in the middle of something")]
    ReadBack {
        /// Of which entry.
        key: String,
    },
}

/// The text with the wishes in it, and how to get back.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The new content.
    pub bytes: Vec<u8>,
    /// What was done.
    pub edits: Vec<Edit>,
    /// What was put before the block, where the file did not end in a line end.
    pub joint: Vec<u8>,
    /// The block at the end.
    pub block: Vec<u8>,
}

/// Sets all wishes. What already has its value stays as it is.
///
/// # Errors
/// See [`ChangeError`]; what comes back has been read again and compared.
pub fn change(bytes: &[u8], wishes: &[Wish]) -> Result<Changed, ChangeError> {
    let text = ConfigText::parse(bytes)?;
    let end = text.line_end();
    let mut edits = Vec::new();
    let mut replaced: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    let mut block = String::new();
    let mut section: Option<&ConfigKey> = None;
    for wish in wishes {
        let written = written(&wish.value).ok_or_else(|| ChangeError::Value {
            key: wish.key.to_string(),
        })?;
        let last = text.entries().rev().find(|entry| entry.key.same(&wish.key));
        match last {
            Some(entry) if !text.includes_after(entry) => {
                if is_equal(entry.value.as_deref(), &wish.value) {
                    continue;
                }
                let old = bytes.get(entry.raw.clone()).unwrap_or_default().to_vec();
                let new = format!(" = {written}").into_bytes();
                replaced.push((entry.raw.clone(), new.clone()));
                edits.push(Edit {
                    key: wish.key.clone(),
                    value: wish.value.clone(),
                    source: wish.source.clone(),
                    how: How::Replaced { old, new },
                });
            }
            _ => {
                if section.is_none_or(|section| !section.same_section(&wish.key)) {
                    block.push_str(&wish.key.header());
                    block.push_str(end);
                }
                section = Some(&wish.key);
                block.push_str(&format!("\t{} = {written}{end}", wish.key.name));
                edits.push(Edit {
                    key: wish.key.clone(),
                    value: wish.value.clone(),
                    source: wish.source.clone(),
                    how: How::Added {
                        headers_before: text.headers_of(&wish.key),
                    },
                });
            }
        }
    }
    // From the end, so that the places before stay what they are.
    replaced.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut out = bytes.to_vec();
    for (range, new) in replaced {
        out.splice(range, new);
    }
    let joint = if block.is_empty() || out.is_empty() || out.ends_with(b"\n") {
        Vec::new()
    } else {
        end.as_bytes().to_vec()
    };
    out.extend_from_slice(&joint);
    out.extend_from_slice(block.as_bytes());
    read_back(&text, &out, wishes)?;
    Ok(Changed {
        bytes: out,
        edits,
        joint,
        block: block.into_bytes(),
    })
}

/// Holds that the new text has every wish, and every other entry as it was.
fn read_back(before: &ConfigText<'_>, after: &[u8], wishes: &[Wish]) -> Result<(), ChangeError> {
    let first = || {
        wishes
            .first()
            .map(|wish| wish.key.to_string())
            .unwrap_or_default()
    };
    let unread = |_| ChangeError::ReadBack { key: first() };
    let after = ConfigText::parse(after).map_err(unread)?;
    for wish in wishes {
        let found = after.last(&wish.key);
        if !found.is_some_and(|value| is_equal(value, &wish.value)) {
            return Err(ChangeError::ReadBack {
                key: wish.key.to_string(),
            });
        }
    }
    let others = |text: &ConfigText<'_>| {
        text.entries()
            .filter(|entry| !wishes.iter().any(|wish| wish.key.same(&entry.key)))
            .map(|entry| (entry.key.clone(), entry.value.clone()))
            .collect::<Vec<_>>()
    };
    if others(before) == others(&after) {
        Ok(())
    } else {
        Err(ChangeError::ReadBack { key: first() })
    }
}

/// Whether a value is the one that is wanted; true and false in all their
/// spellings are the same.
fn is_equal(found: Option<&[u8]>, wanted: &str) -> bool {
    let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    };
    match found.map(std::str::from_utf8) {
        None => truth(wanted) == Some(true),
        Some(Ok(found)) => {
            found == wanted || (matches!(wanted, "true" | "false") && truth(found) == truth(wanted))
        }
        Some(Err(_)) => false,
    }
}

/// The value as git writes it: quoted where it begins or ends in a blank or
/// holds what begins a comment. `None`: it cannot be written.
fn written(value: &str) -> Option<String> {
    if value.chars().any(char::is_control) {
        return None;
    }
    let quote = value.is_empty()
        || value.starts_with(' ')
        || value.ends_with(' ')
        || value.contains("  ")
        || value.contains([';', '#']);
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    Some(if quote {
        format!("\"{escaped}\"")
    } else {
        escaped
    })
}

/// git's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// An entry's name, its value, and the bytes between its name and its end.
type NameAndValue = (String, Option<Vec<u8>>, Range<usize>);

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// The next character and where it began; CRLF is one LF.
    fn next(&mut self) -> Option<(usize, u8)> {
        let at = self.at;
        let byte = *self.bytes.get(at)?;
        if byte == b'\r' && self.bytes.get(at.saturating_add(1)) == Some(&b'\n') {
            self.at = at.saturating_add(2);
            return Some((at, b'\n'));
        }
        self.at = at.saturating_add(1);
        Some((at, byte))
    }

    fn malformed(&self, at: usize, why: &'static str) -> Malformed {
        let before = self.bytes.get(..at).unwrap_or_default();
        Malformed {
            line: before
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                .saturating_add(1),
            why,
        }
    }

    fn skip_line(&mut self) {
        while let Some((_, character)) = self.next() {
            if character == b'\n' {
                return;
            }
        }
    }

    /// The physical line that holds `at`, with its end.
    fn line_around(&self, at: usize) -> Range<usize> {
        let is_end = |byte: &u8| *byte == b'\n';
        let start = self
            .bytes
            .get(..at)
            .and_then(|before| before.iter().rposition(is_end))
            .map_or(0, |end| end.saturating_add(1));
        let end = self
            .bytes
            .get(at..)
            .and_then(|after| after.iter().position(is_end))
            .map_or(self.bytes.len(), |end| {
                at.saturating_add(end).saturating_add(1)
            });
        start..end
    }

    /// What follows `[`.
    fn header(&mut self) -> Result<(String, Option<String>), Malformed> {
        let begun = self.at;
        let bad = |reader: &Self| reader.malformed(begun, "a section that does not end in ]");
        let mut name = String::new();
        loop {
            match self.next() {
                Some((_, b']')) => {
                    // `[section.subsection]`, the old form: in lower case.
                    return Ok(match name.split_once('.') {
                        Some((section, subsection)) => {
                            (section.to_owned(), Some(subsection.to_ascii_lowercase()))
                        }
                        None => (name, None),
                    });
                }
                Some((_, character))
                    if character.is_ascii_alphanumeric() || matches!(character, b'-' | b'.') =>
                {
                    name.push(char::from(character));
                }
                Some((_, b' ' | b'\t')) => break,
                _ => return Err(bad(self)),
            }
        }
        loop {
            match self.next() {
                Some((_, b' ' | b'\t')) => {}
                Some((_, b'"')) => break,
                _ => return Err(bad(self)),
            }
        }
        let mut subsection = Vec::new();
        loop {
            match self.next() {
                Some((_, b'"')) => break,
                Some((_, b'\\')) => match self.next() {
                    Some((_, character)) if character != b'\n' => subsection.push(character),
                    _ => return Err(bad(self)),
                },
                Some((_, character)) if character != b'\n' => subsection.push(character),
                _ => return Err(bad(self)),
            }
        }
        match self.next() {
            Some((_, b']')) => Ok((
                name,
                Some(String::from_utf8_lossy(&subsection).into_owned()),
            )),
            _ => Err(bad(self)),
        }
    }

    /// An entry whose name begins at `begun`; ends behind its line.
    fn entry(&mut self, begun: usize) -> Result<NameAndValue, Malformed> {
        let mut name_end = self.at;
        while self
            .bytes
            .get(name_end)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        {
            name_end = name_end.saturating_add(1);
        }
        let name = self.bytes.get(begun..name_end).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        self.at = name_end;
        loop {
            match self.next() {
                None | Some((_, b'\n')) => return Ok((name, None, name_end..name_end)),
                Some((_, b' ' | b'\t')) => {}
                Some((_, b'=')) => break,
                Some((at, _)) => return Err(self.malformed(at, "an entry without =")),
            }
        }
        let (value, end) = self.value()?;
        Ok((name, Some(value), name_end..end))
    }

    /// The value, and where its last byte ends.
    fn value(&mut self) -> Result<(Vec<u8>, usize), Malformed> {
        let mut value = Vec::new();
        let mut end = self.at;
        let mut blanks: usize = 0;
        let mut quoted = false;
        let mut comment = false;
        loop {
            let Some((at, character)) = self.next() else {
                return if quoted {
                    Err(self.malformed(self.bytes.len(), "a quoted value without end"))
                } else {
                    Ok((value, end))
                };
            };
            if character == b'\n' {
                return if quoted {
                    Err(self.malformed(at, "a quoted value without end"))
                } else {
                    Ok((value, end))
                };
            }
            if comment {
                continue;
            }
            if !quoted && is_space(character) {
                if !value.is_empty() {
                    blanks = blanks.saturating_add(1);
                }
                continue;
            }
            if !quoted && matches!(character, b';' | b'#') {
                comment = true;
                continue;
            }
            value.extend(std::iter::repeat_n(b' ', blanks));
            blanks = 0;
            match character {
                b'\\' => match self.next() {
                    // At the end of the file git reads a line end here.
                    None | Some((_, b'\n')) => {}
                    Some((_, b't')) => value.push(b'\t'),
                    Some((_, b'n')) => value.push(b'\n'),
                    Some((_, b'b')) => value.push(8),
                    Some((_, other @ (b'\\' | b'"'))) => value.push(other),
                    Some((at, _)) => return Err(self.malformed(at, "an unknown escape")),
                },
                b'"' => quoted = !quoted,
                other => value.push(other),
            }
            end = self.at;
        }
    }
}
