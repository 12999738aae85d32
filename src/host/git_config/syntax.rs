//! The syntax of one configuration file, as Git's own parser reads it
//! (`git_parse_source` in its `config.c`).
//!
//! *Not decided here:* what a key means, and which files are read
//! (`in_process.rs`).

use super::ReadError;

/// The longest file that is read, in bytes. Git reads a longer one.
pub const MAX_FILE: usize = 4 << 20;

/// One key of a file, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `section.name` or `section.subsection.name`; the subsection verbatim, the
    /// rest in lower case.
    pub key: Vec<u8>,
    /// The value; `None` for a key without `=`.
    pub value: Option<Vec<u8>>,
    /// Whether versions of Git read the value differently: whitespace that is not
    /// a space becomes one before Git 2.45, and is kept since.
    pub is_ambiguous: bool,
}

/// Parses a file.
///
/// # Errors
/// Returns [`ReadError::Malformed`] with the line if Git fails on the file, and
/// [`ReadError::NeedsGit`] if it may read something else out of it.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, ReadError> {
    if bytes.len() > MAX_FILE {
        return Err(ReadError::needs_git("a file larger than 4 MiB"));
    }
    if bytes.contains(&0) {
        return Err(ReadError::needs_git("a NUL byte"));
    }
    // A byte order mark counts only where it is complete.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut parser = Parser {
        bytes,
        at: 0,
        line: 1,
        is_end: false,
    };
    parser.entries().map_err(|error| match error {
        Failure::BadLine => ReadError::Malformed {
            file: None,
            reason: format!("bad line {}", parser.line),
        },
        Failure::NeedsGit(construct) => ReadError::needs_git(construct),
    })
}

enum Failure {
    /// Git stops here.
    BadLine,
    NeedsGit(&'static str),
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    is_end: bool,
}

impl Parser<'_> {
    /// Returns the next character. A line ends with LF or CRLF, and the file with
    /// a line end if it has none.
    fn next(&mut self) -> u8 {
        let Some(&byte) = self.bytes.get(self.at) else {
            self.is_end = true;
            return b'\n';
        };
        self.at = self.at.saturating_add(1);
        if byte == b'\r' && self.bytes.get(self.at) == Some(&b'\n') {
            self.at = self.at.saturating_add(1);
            self.line = self.line.saturating_add(1);
            return b'\n';
        }
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
        }
        byte
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        let mut section: Option<Vec<u8>> = None;
        loop {
            match self.next() {
                b'\n' if self.is_end => return Ok(entries),
                b'#' | b';' => while self.next() != b'\n' {},
                b'[' => section = Some(self.section()?),
                byte if is_space(byte) => {}
                byte if byte.is_ascii_alphabetic() => {
                    let Some(section) = &section else {
                        return Err(Failure::NeedsGit("a key outside a section"));
                    };
                    let mut key = section.clone();
                    key.push(b'.');
                    key.push(byte.to_ascii_lowercase());
                    entries.push(self.entry(key)?);
                }
                _ => return Err(Failure::BadLine),
            }
            // A comment may end the file.
            if self.is_end {
                return Ok(entries);
            }
        }
    }

    /// Reads a header after `[`: `section]`, `section "subsection"]`, or the old
    /// form `section.subsection]`.
    fn section(&mut self) -> Result<Vec<u8>, Failure> {
        let mut name = Vec::new();
        loop {
            let byte = self.next();
            if self.is_end {
                return Err(Failure::BadLine);
            }
            match byte {
                b']' if name.is_empty() => return Err(Failure::NeedsGit("a section without name")),
                b']' => return Ok(name),
                _ if is_space(byte) => {
                    self.subsection(byte, &mut name)?;
                    return Ok(name);
                }
                b'.' => name.push(byte),
                _ if is_key(byte) => name.push(byte.to_ascii_lowercase()),
                _ => return Err(Failure::BadLine),
            }
        }
    }

    fn subsection(&mut self, space: u8, name: &mut Vec<u8>) -> Result<(), Failure> {
        if name.is_empty() {
            return Err(Failure::NeedsGit("a section without name"));
        }
        let mut byte = space;
        while is_space(byte) {
            if byte == b'\n' {
                return Err(Failure::BadLine);
            }
            byte = self.next();
        }
        if byte != b'"' {
            return Err(Failure::BadLine);
        }
        name.push(b'.');
        loop {
            let mut byte = self.next();
            if byte == b'"' {
                break;
            }
            if byte == b'\\' {
                byte = self.next();
            }
            if byte == b'\n' {
                return Err(Failure::BadLine);
            }
            name.push(byte);
        }
        match self.next() {
            b']' => Ok(()),
            _ => Err(Failure::BadLine),
        }
    }

    /// Reads the rest of a line that starts with a key.
    fn entry(&mut self, mut key: Vec<u8>) -> Result<Entry, Failure> {
        let mut byte = self.next();
        while !self.is_end && is_key(byte) {
            key.push(byte.to_ascii_lowercase());
            byte = self.next();
        }
        while matches!(byte, b' ' | b'\t') {
            byte = self.next();
        }
        let (value, is_ambiguous) = match byte {
            b'\n' => (None, false),
            b'=' => {
                let (value, is_ambiguous) = self.value()?;
                (Some(value), is_ambiguous)
            }
            _ => return Err(Failure::BadLine),
        };
        Ok(Entry {
            key,
            value,
            is_ambiguous,
        })
    }

    /// Reads a value: quotes may start and end anywhere, whitespace at both ends
    /// does not count, and a backslash continues it on the next line.
    fn value(&mut self) -> Result<(Vec<u8>, bool), Failure> {
        let mut value = Vec::new();
        let (mut is_quoted, mut is_ambiguous) = (false, false);
        // Whitespace that counts if more follows.
        let mut spaces: Vec<u8> = Vec::new();
        loop {
            let mut byte = self.next();
            if byte == b'\n' {
                if is_quoted {
                    return Err(Failure::BadLine);
                }
                return Ok((value, is_ambiguous));
            }
            if !is_quoted {
                if is_space(byte) {
                    if !value.is_empty() {
                        spaces.push(byte);
                    }
                    continue;
                }
                if matches!(byte, b'#' | b';') {
                    while self.next() != b'\n' {}
                    return Ok((value, is_ambiguous));
                }
            }
            for space in spaces.drain(..) {
                is_ambiguous |= space != b' ';
                value.push(b' ');
            }
            match byte {
                b'\\' => {
                    byte = match self.next() {
                        b'\n' => continue,
                        b't' => b'\t',
                        b'b' => 8,
                        b'n' => b'\n',
                        escaped @ (b'\\' | b'"') => escaped,
                        _ => return Err(Failure::BadLine),
                    };
                    value.push(byte);
                }
                b'"' => is_quoted = !is_quoted,
                _ => value.push(byte),
            }
        }
    }
}

/// Whitespace as Git's `isspace` knows it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// A character of a section or a key (`iskeychar`).
fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Each entry as `key=value`, or `key` without a value.
    fn entries(text: &str) -> Vec<String> {
        let show = |entry: Entry| {
            let key = String::from_utf8(entry.key).unwrap();
            match entry.value {
                Some(value) => format!("{key}={}", String::from_utf8(value).unwrap()),
                None => key,
            }
        };
        parse(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(show)
            .collect()
    }

    #[test]
    fn sections_subsections_and_keys() {
        assert_eq!(
            entries(
                "[A]X=1\n[a \"S\\\"\\\\\\s.]\"]\n\tx-1 = 2\n[a.Sub]k\n[a]b = 1 ; x\n[c] d=2 # [e]\n"
            ),
            ["a.x=1", "a.S\"\\s.].x-1=2", "a.sub.k", "a.b=1", "c.d=2"]
        );
        assert_eq!(entries("\u{feff}[a]\r\n\tb = c\r\n\td"), ["a.b=c", "a.d"]);
        assert_eq!(entries(""), Vec::<String>::new());
        assert_eq!(entries("# only\n; comments"), Vec::<String>::new());
    }

    #[test]
    fn values() {
        for (text, value) in [
            ("  x  ", "x"),
            ("x  y", "x  y"),
            ("\" x \" ", " x "),
            ("a\" b\"c", "a bc"),
            ("a;b", "a"),
            ("\"a;b#\"", "a;b#"),
            ("\\t\\n\\b\\\\\\\"", "\t\n\u{8}\\\""),
            ("a\\\n  b", "a  b"),
            ("a \\\n", "a "),
            ("\"a\\\nb\"", "ab"),
            ("a = b", "a = b"),
            ("", ""),
            ("\"\"  x", "x"),
        ] {
            assert_eq!(entries(&format!("[s]k={text}")), [format!("s.k={value}")]);
        }
        assert!(parse(b"[s]k=a\tb").unwrap().iter().all(|e| e.is_ambiguous));
        assert!(
            !parse(b"[s]k=\ta b\t")
                .unwrap()
                .iter()
                .any(|e| e.is_ambiguous)
        );
    }

    #[test]
    fn lines_that_git_refuses() {
        for text in [
            "[a]\nb = \"x\n",
            "[a]\nb = \\x\n",
            "[a]\nb ; comment\n",
            "[a]\n1b = c\n",
            "[a]\nb_c = d\n",
            "[a\nb = c",
            "[a \"b]\n",
            "[a \"b\" ]\n",
            "[a b]\n",
            "[a_b]\n",
            "\u{feff}\u{feff}[a]\n",
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, ReadError::Malformed { .. }), "{text:?}");
        }
        for text in ["b = c\n", "[]\nb = c\n", "[a]\nb = \0\n"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, ReadError::NeedsGit { .. }), "{text:?}");
        }
    }
}
