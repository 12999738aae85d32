//! Text that is safe to print: its values are escaped, its styles are ours.

use std::{borrow::Cow, fmt};

use anstyle::{AnsiColor, Style as AnsiStyle};

use crate::escape::{Escape, escape, escape_lines};

/// The style of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text without any style.
    Plain,
    /// Something is verified or done.
    Good,
    /// Something failed or is refused.
    Bad,
    /// Undecided, or to be noticed.
    Warning,
    /// Text that is less important.
    Quiet,
    /// A heading or a label.
    Strong,
}

/// Text in which everything from outside is escaped. It may contain line breaks and
/// styles; these are removed on the way to anything that is not a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Styled(String);

impl Styled {
    /// Marks text as safe: the caller has escaped every value in it.
    #[must_use]
    pub fn trusted(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Escapes text of several lines. Line breaks stay.
    #[must_use]
    pub fn lines(text: &str) -> Self {
        Self(escape_lines(text))
    }

    /// Escapes a name, so that look-alike characters are visible.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self(escape(name, Escape::Ascii))
    }

    /// Appends text, escaped as it is printed.
    pub fn push(&mut self, text: &(impl Printable + ?Sized)) {
        self.0.push_str(&text.printable());
    }

    /// Returns the text without trailing whitespace.
    #[must_use]
    pub fn trim_end(&self) -> Self {
        Self(self.0.trim_end().to_owned())
    }

    /// Returns whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Styled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A value that can be printed: strings are escaped as one line of prose, [`Styled`] is
/// printed as it is.
pub trait Printable {
    /// Returns the escaped text.
    fn printable(&self) -> Cow<'_, str>;
}

impl Printable for Styled {
    fn printable(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }
}

impl Printable for str {
    fn printable(&self) -> Cow<'_, str> {
        Cow::Owned(escape(self, Escape::Prose))
    }
}

impl Printable for String {
    fn printable(&self) -> Cow<'_, str> {
        self.as_str().printable()
    }
}

impl<T: Printable + ?Sized> Printable for &T {
    fn printable(&self) -> Cow<'_, str> {
        (**self).printable()
    }
}

impl<T: Printable> Printable for Option<T> {
    fn printable(&self) -> Cow<'_, str> {
        self.as_ref().map_or(Cow::Borrowed(""), T::printable)
    }
}

macro_rules! printable_numbers {
    ($($number:ty)*) => {
        $(impl Printable for $number {
            fn printable(&self) -> Cow<'_, str> {
                Cow::Owned(self.to_string())
            }
        })*
    };
}

printable_numbers!(bool u8 u16 u32 u64 usize i64);

/// Formats [`Styled`] text: the format string is trusted, each argument is escaped.
/// Arguments cannot be captured in the format string.
#[macro_export]
macro_rules! styled {
    ($format:literal $(, $argument:expr)* $(,)?) => {
        $crate::Styled::trusted(::std::format!(
            ::std::concat!($format)
            $(, $crate::Printable::printable(&$argument))*
        ))
    };
}

/// Escapes `text` and styles it.
#[must_use]
pub fn style(style: Style, text: &(impl Printable + ?Sized)) -> Styled {
    let text = text.printable();
    let style = match style {
        Style::Plain => return Styled(text.into_owned()),
        Style::Good => AnsiColor::Green.on_default(),
        Style::Bad => AnsiColor::Red.on_default().bold(),
        Style::Warning => AnsiColor::Yellow.on_default(),
        Style::Quiet => AnsiStyle::new().dimmed(),
        Style::Strong => AnsiStyle::new().bold(),
    };
    Styled(format!("{style}{text}{style:#}"))
}

/// Formats rows as columns, separated by two spaces. Each cell is escaped.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> Styled {
    let rows: Vec<Vec<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.iter().map(Printable::printable).collect())
        .collect();
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
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    Styled(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_once_and_styles_stay() {
        let bad = "a\nerror: \u{1b}[2K";
        let text = styled!("{} says {}\n", style(Style::Bad, bad), bad);
        assert_eq!(
            text.to_string(),
            "\u{1b}[1m\u{1b}[31ma\\u{a}error: \\u{1b}[2K\u{1b}[0m says a\\u{a}error: \\u{1b}[2K\n"
        );
        assert_eq!(styled!("{}", text), text);
        assert_eq!(Styled::lines("a\n\u{1b}b").to_string(), "a\n\\u{1b}b");
        assert_eq!(Styled::name("\u{430}").to_string(), "\\u{430}");
    }

    #[test]
    fn tables_line_up() {
        let rows = vec![
            vec!["a".to_owned(), "b\n".to_owned()],
            vec!["long".to_owned(), "c".to_owned()],
        ];
        assert_eq!(table(&rows).to_string(), "a     b\\u{a}\nlong  c\n");
    }
}
