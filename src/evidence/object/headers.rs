//! The headers of a commit or tag, one by one, and which of them are signatures.
//!
//! Lines are split as Git splits them: a header, and continuation lines that start with
//! one space.
//!
//! *Not checked here:* which headers an object has, and what they contain (`object.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use super::HashKind;
use crate::refusal::{Reason, reason};

pub(super) const GPGSIG: &str = "gpgsig";
pub(super) const GPGSIG_SHA256: &str = "gpgsig-sha256";

/// One header with its continuation lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    /// The number of the line, counted from 1.
    pub(super) line: usize,
    pub(super) name: &'a [u8],
    /// The value in the first line, without LF.
    pub(super) text: &'a [u8],
    /// Offset of the header.
    pub(super) start: usize,
    /// Offset of the value.
    pub(super) value: usize,
    /// Behind its last LF.
    pub(super) end: usize,
    /// The first continuation line, counted from 1; 0 if there is none.
    pub(super) continued: usize,
}

impl Header<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name.as_bytes()
    }

    /// The name, if it is one of the two signature headers.
    pub(super) fn signature(&self) -> Option<&'static str> {
        [GPGSIG, GPGSIG_SHA256]
            .into_iter()
            .find(|name| self.is(name))
    }

    /// The value without the one space that starts each continuation line, and with
    /// a final LF.
    pub(super) fn unfolded(&self, raw: &[u8]) -> Vec<u8> {
        let lines = raw
            .get(self.value..self.end)
            .and_then(|lines| lines.strip_suffix(b"\n"))
            .unwrap_or_default();
        let mut text = Vec::with_capacity(lines.len().saturating_add(1));
        for (index, line) in lines.split(|&byte| byte == b'\n').enumerate() {
            let line = match line {
                [_, rest @ ..] if index > 0 => rest,
                line => line,
            };
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text
    }

    /// Refuses continuation lines: Git reads these headers as one line.
    pub(super) fn one_line(&self) -> Result<(), Reason> {
        if self.continued > 0 {
            return Err(reason!(
                "object-continuation",
                "header line {line} continues {header}, which has one line",
                line = self.continued,
                header = excerpt(self.name)
            ));
        }
        Ok(())
    }
}

/// Reads headers one by one, up to the blank line.
pub(super) struct Headers<'a> {
    raw: &'a [u8],
    pub(super) at: usize,
    pub(super) line: usize,
}

impl<'a> Headers<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Self {
        Self {
            raw,
            at: 0,
            line: 1,
        }
    }

    /// The line that begins at `at`, without its LF.
    fn peek(&self) -> Result<&'a [u8], Reason> {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or_else(no_blank_line)?;
        rest.get(..end).ok_or_else(no_blank_line)
    }

    fn advance(&mut self, line: &[u8]) {
        self.at = self.at.saturating_add(line.len()).saturating_add(1);
        self.line = self.line.saturating_add(1);
    }

    /// The next header; `None` at the blank line, and then `at` is where the
    /// body begins.
    pub(super) fn next(&mut self) -> Result<Option<Header<'a>>, Reason> {
        let first = self.peek()?;
        let (line, start) = (self.line, self.at);
        self.advance(first);
        if first.is_empty() {
            return Ok(None);
        }
        let name = first
            .split(|&byte| byte == b' ')
            .next()
            .filter(|name| is_header_name(name))
            .ok_or_else(|| malformed(line, first))?;
        // Git knows a signature by the name and a space; without the space it
        // would be another spelling of an empty first line.
        let signature = [GPGSIG, GPGSIG_SHA256].map(str::as_bytes).contains(&name);
        if signature && name.len() == first.len() {
            return Err(malformed(line, first));
        }
        let text = first
            .get(name.len().saturating_add(1)..)
            .unwrap_or_default();
        let mut continued = 0;
        loop {
            let next = self.peek()?;
            if next.first() != Some(&b' ') {
                break;
            }
            if continued == 0 {
                continued = self.line;
            }
            self.advance(next);
        }
        Ok(Some(Header {
            line,
            name,
            text,
            start,
            value: start.saturating_add(name.len()).saturating_add(1),
            end: self.at,
            continued,
        }))
    }
}

/// Visible ASCII that begins with a letter or digit.
pub(super) fn is_header_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphanumeric) && name.iter().all(u8::is_ascii_graphic)
}

/// The signature headers of a commit.
#[derive(Clone, Copy)]
pub(super) enum Signatures<'a> {
    None,
    /// The one of the repository's hash.
    One(Header<'a>),
    /// Those of a repository of two object formats.
    Both {
        sha1: Header<'a>,
        sha256: Header<'a>,
    },
}

/// The signature headers of a commit, while its headers are read.
#[derive(Default)]
pub(super) struct FoundSignatures<'a> {
    sha1: Option<Header<'a>>,
    sha256: Option<Header<'a>>,
    /// Whether `encoding` follows a signature.
    followed: bool,
}

impl<'a> FoundSignatures<'a> {
    pub(super) fn add(&mut self, header: Header<'a>, name: &'static str) -> Result<(), Reason> {
        if header.value >= header.end {
            // A name without a space is a header too, but no signature.
            return Err(malformed(header.line, header.name));
        }
        let (own, is_late) = match name {
            GPGSIG => (&mut self.sha1, self.sha256.is_some()),
            _ => (&mut self.sha256, false),
        };
        if own.is_some() {
            return Err(duplicate(header.line, name));
        }
        // Git writes gpgsig, then gpgsig-sha256, and nothing between them.
        if is_late || self.followed {
            return Err(not_last(&header));
        }
        *own = Some(header);
        Ok(())
    }

    /// Another header: only `encoding` may follow a signature, and only one.
    pub(super) fn follow(&mut self, header: &Header<'_>, is_encoding: bool) -> Result<(), Reason> {
        match (&self.sha1, &self.sha256) {
            (None, None) => Ok(()),
            (Some(_), Some(_)) => Err(not_last(header)),
            _ if is_encoding => {
                self.followed = true;
                Ok(())
            }
            _ => Err(not_last(header)),
        }
    }

    /// The signatures, of which one must be of this hash.
    pub(super) fn finish(self, hash: HashKind) -> Result<Signatures<'a>, Reason> {
        match (hash, self.sha1, self.sha256) {
            (_, None, None) => Ok(Signatures::None),
            (_, Some(sha1), Some(sha256)) => Ok(Signatures::Both { sha1, sha256 }),
            (HashKind::Sha1, Some(own), None) | (HashKind::Sha256, None, Some(own)) => {
                Ok(Signatures::One(own))
            }
            (HashKind::Sha1, None, Some(_)) => Err(other_hash(GPGSIG_SHA256, hash)),
            (HashKind::Sha256, Some(_), None) => Err(other_hash(GPGSIG, hash)),
        }
    }
}

pub(super) fn not_last(header: &Header<'_>) -> Reason {
    reason!(
        "signature-not-last",
        "the header {header:?} (line {line}) follows the signature",
        line = header.line,
        header = excerpt(header.name)
    )
}

pub(super) fn other_hash(header: &str, hash: HashKind) -> Reason {
    reason!(
        "signature-header-hash",
        "the header {header} is the only signature, in a {hash} repository"
    )
}

pub(super) fn no_blank_line() -> Reason {
    reason!("object-no-blank-line", "no blank line ends the headers")
}

pub(super) fn malformed(line: usize, found: &[u8]) -> Reason {
    reason!(
        "object-header-malformed",
        "header line {line} is neither a header nor a continuation: {:?}",
        excerpt(found)
    )
}

pub(super) fn duplicate(line: usize, header: &str) -> Reason {
    reason!(
        "object-header-duplicate",
        "duplicate header {header} (line {line})"
    )
}

/// Enough of a line to recognise it by.
pub(super) fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(line.get(..60).unwrap_or(line)).into_owned()
}
