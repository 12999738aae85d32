//! Errors in TOML files: their position, and the word that was probably meant.

/// Returns the line and column of a byte offset, both from 1. Columns count characters.
#[must_use]
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text
        .get(..offset.min(text.len()))
        .unwrap_or(text)
        .split('\n');
    let line = before.clone().count();
    let column = before.last().map_or(0, |last| last.chars().count());
    (line, column.saturating_add(1))
}

/// Returns the known word closest to this one, if they differ in at most a third of
/// its characters, or in one.
#[must_use]
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST: usize = 64;
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    known
        .into_iter()
        .filter(|other| other.len() <= LONGEST)
        .map(|other| (distance(word, other), other.len(), other))
        .min()
        .filter(|(distance, ..)| *distance <= (length / 3).max(1))
        .map(|(.., other)| other)
}

/// Returns the number of insertions, deletions and replacements between two words,
/// ignoring case and the difference between `_` and `-`.
fn distance(one: &str, other: &str) -> usize {
    let fold = |c: char| match c {
        '_' => '-',
        c => c.to_ascii_lowercase(),
    };
    let other: Vec<char> = other.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().map(fold).enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (b, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            let replaced = diagonal.saturating_add(usize::from(a != *b));
            left = replaced
                .min(above.saturating_add(1))
                .min(left.saturating_add(1));
            *cell = left;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
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
