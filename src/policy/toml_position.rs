//! Errors in TOML files: their position, and the word that was probably meant.

/// Returns the line and column of a byte offset, both from 1. Columns count characters.
#[must_use]
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count();
    let last = before.rsplit('\n').next().unwrap_or_default();
    (
        line.saturating_add(1),
        last.chars().count().saturating_add(1),
    )
}

/// Returns the known word closest to this one, if they differ in at most a third of
/// the longer one, or in one character. Case is ignored, and so is the difference
/// between `_` and `-`.
#[must_use]
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST: usize = 64;
    let fold = |word: &str| word.to_ascii_lowercase().replace('_', "-");
    let (folded, length) = (fold(word), word.chars().count());
    if length > LONGEST {
        return None;
    }
    known
        .into_iter()
        .filter(|other| other.len() <= LONGEST)
        .map(|other| {
            let distance = strsim::levenshtein(&folded, &fold(other));
            (distance, other.len(), other)
        })
        .min()
        .filter(|(distance, other, _)| *distance <= (length.max(*other) / 3).max(1))
        .map(|(.., other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("a\nä b", 5), (2, 3));
        assert_eq!(position("a\n", 2), (2, 1));
        assert_eq!(position("a\n", 99), (2, 1));
    }

    #[test]
    fn only_a_similar_word_is_near() {
        let words = ["commit", "merge", "valid-from"];
        assert_eq!(nearest("commits", words), Some("commit"));
        assert_eq!(nearest("Valid_From", words), Some("valid-from"));
        assert_eq!(nearest("entirely", words), None);
    }
}
