//! Escaping of values from outside, for people and for status lines.

use std::fmt::Write as _;

/// The maximum length of an escaped value, in characters; the rest is counted.
pub const MAX_SHOWN: usize = 512;

/// The form of an escaped value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// For status lines, as GnuPG does it: every byte outside printable ASCII,
    /// and `%` itself, becomes `%XX`.
    Percent,
    /// For identities and other names: every character outside printable ASCII becomes
    /// `\u{…}`, so that a look-alike letter, a character without width or a change of
    /// direction is visible.
    Ascii,
    /// For prose (paths, messages): letters of every script stay; characters that move
    /// the cursor, hide or reorder text become `\u{…}`.
    Prose,
}

/// Escapes `text` and shortens it to [`MAX_SHOWN`] characters.
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

/// Escapes `text` as prose, without a limit. Line breaks and tabs stay.
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

pub(crate) fn is_plain_ascii(character: char) -> bool {
    matches!(character, ' '..='~')
}

/// Returns whether a character outside ASCII is displayed as itself, in its place. Not
/// so are controls, characters without width, changes of direction, other format
/// characters, line separators, variation selectors, tags, private use and unassigned
/// code points (UAX #9, UTR #36).
pub(crate) fn is_visible(character: char) -> bool {
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
    fn a_megabyte_is_cut() {
        let shown = escape(&"a".repeat(1 << 20), Escape::Ascii);
        assert!(shown.len() < 600, "{}", shown.len());
        assert!(shown.ends_with("...[1048064 more bytes]"), "{shown}");
        let cut = escape(&"\n".repeat(1000), Escape::Percent);
        assert!(cut.ends_with("...[488 more bytes]"), "{cut}");
    }
}
