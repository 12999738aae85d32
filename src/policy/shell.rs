//! Quotes words for a command that a user can paste into a shell.

/// Returns a word as a POSIX shell reads it back, quoted where needed. `None`: it has
/// characters that a terminal does not show as they are, or a program could take it
/// for an option.
pub(crate) fn quoted(word: &str) -> Option<String> {
    let is_shown = |c: char| c.is_ascii_graphic() || c == ' ';
    if word.is_empty() || word.starts_with('-') || !word.chars().all(is_shown) {
        return None;
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:+=,%".contains(c);
    if word.chars().all(is_plain) {
        return Some(word.to_owned());
    }
    Some(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_to_a_shell() {
        for plain in ["v1.0", "release/v1", "user.email=a@example.com"] {
            assert_eq!(quoted(plain).unwrap(), plain);
        }
        assert_eq!(quoted("a b").unwrap(), "'a b'");
        assert_eq!(quoted("v1;reboot").unwrap(), "'v1;reboot'");
        assert_eq!(quoted("a'$(x)'").unwrap(), r"'a'\''$(x)'\'''");
        assert_eq!(quoted("~root").unwrap(), "'~root'");
        for hidden in ["", "-f", "a\nb", "a\u{202e}b", "\u{e9}", "a\u{1b}[1m"] {
            assert_eq!(quoted(hidden), None, "{hidden:?}");
        }
    }
}
