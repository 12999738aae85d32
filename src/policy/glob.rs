//! Patterns over ref names and paths, on bytes.
//!
//! `*` and `?` match within one path component, `**` crosses `/`, `[a-z]` and
//! `{a,b}` are as in shells, `\` escapes; a leading `!` excludes. A list matches a
//! string if one of its patterns does and none of its exclusions. Case is
//! significant.
//!
//! *Not checked here:* whether a pattern is useful (`lint.rs`).

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// The maximum length of a pattern, in bytes.
pub const MAX_GLOB: usize = 1024;

/// A compiled list of patterns. Lists are equal if they are written the same.
#[derive(Debug, Clone)]
pub struct Globs {
    written: Vec<String>,
    included: GlobSet,
    excluded: GlobSet,
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Globs {}

/// An error in a list of patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobError {
    /// The index of the pattern, from 0; the length of the list if it is the list.
    pub index: usize,
    /// The reason.
    pub reason: String,
}

impl Globs {
    /// Compiles a list of ref patterns.
    ///
    /// # Errors
    /// Returns [`GlobError`] for the first invalid pattern, or if the list only
    /// excludes.
    pub fn refs(patterns: &[String]) -> Result<Self, GlobError> {
        Self::new(patterns, false)
    }

    /// Compiles a list of path patterns: `docs/**` also matches `docs`, which can be a
    /// link or a submodule in place of the directory.
    ///
    /// # Errors
    /// Returns the same errors as [`refs`](Self::refs).
    pub fn paths(patterns: &[String]) -> Result<Self, GlobError> {
        Self::new(patterns, true)
    }

    fn new(patterns: &[String], and_itself: bool) -> Result<Self, GlobError> {
        let mut included = GlobSetBuilder::new();
        let mut excluded = GlobSetBuilder::new();
        let mut any = false;
        for (index, pattern) in patterns.iter().enumerate() {
            let bad = |reason: String| GlobError { index, reason };
            let (set, text) = match pattern.strip_prefix('!') {
                Some(rest) => (&mut excluded, rest),
                None => {
                    any = true;
                    (&mut included, pattern.as_str())
                }
            };
            if text.is_empty() {
                return Err(bad("an empty pattern matches nothing".to_owned()));
            }
            if text.len() > MAX_GLOB {
                return Err(bad(format!(
                    "the pattern is {} bytes; the limit is {MAX_GLOB}",
                    text.len()
                )));
            }
            if let Some(class) = class_over_slash(text) {
                return Err(bad(format!(
                    "[{class}] would match / as well: leave it out of the range, or add it to what is excluded, [!…/]"
                )));
            }
            if and_itself && (text.contains("/**,") || text.contains("/**}")) {
                return Err(bad(
                    "/** in braces: write a pattern for each of the directories".to_owned(),
                ));
            }
            let itself = ["/**/**", "/**/*", "/**"]
                .iter()
                .find_map(|all| text.strip_suffix(all))
                .filter(|_| and_itself);
            for text in std::iter::once(text).chain(itself) {
                let glob = GlobBuilder::new(text)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .case_insensitive(false)
                    .build()
                    .map_err(|error| bad(format!("invalid pattern: {}", error.kind())))?;
                set.add(glob);
            }
        }
        let whole = |reason: String| GlobError {
            index: patterns.len(),
            reason,
        };
        if !any {
            return Err(whole(
                "nothing is included, so nothing can be excluded".to_owned(),
            ));
        }
        let build = |set: GlobSetBuilder| {
            set.build()
                .map_err(|error| whole(format!("the patterns are too large: {}", error.kind())))
        };
        Ok(Self {
            written: patterns.to_vec(),
            included: build(included)?,
            excluded: build(excluded)?,
        })
    }

    /// Returns whether the list matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let candidate = Candidate::from_bytes(text);
        self.included.is_match_candidate(&candidate)
            && !self.excluded.is_match_candidate(&candidate)
    }

    /// Returns the patterns as written.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.written
    }
}

/// Returns a character class that matches `/`, which only `**` may cross.
fn class_over_slash(pattern: &str) -> Option<&str> {
    let mut rest = pattern;
    while let Some(at) = rest.find(['\\', '[']) {
        let (_, found) = rest.split_at_checked(at)?;
        let Some(class) = found.strip_prefix('[') else {
            // A backslash and the character that it escapes.
            let mut characters = found.chars();
            characters.nth(1);
            rest = characters.as_str();
            continue;
        };
        let body = class.strip_prefix(['!', '^']).unwrap_or(class);
        // The first character is literal, even `]`.
        let first = body.chars().next()?.len_utf8();
        let end = body.get(first..)?.find(']')?.checked_add(first)?;
        let ranges = body.get(..end)?;
        let is_negated = body.len() < class.len();
        if has_slash(ranges) != is_negated {
            let length = class.len().checked_sub(body.len())?.checked_add(end)?;
            return class.get(..length);
        }
        rest = body.get(end..)?.strip_prefix(']')?;
    }
    None
}

/// Returns whether `/` is in a list of characters and ranges.
fn has_slash(ranges: &str) -> bool {
    let characters: Vec<char> = ranges.chars().collect();
    let last = characters.len().saturating_sub(1);
    characters.iter().enumerate().any(|(at, character)| {
        let beside = |at: Option<usize>| at.and_then(|at| characters.get(at));
        let is_range = *character == '-' && at > 0 && at < last;
        *character == '/'
            || is_range
                && matches!(
                    (beside(at.checked_sub(1)), beside(at.checked_add(1))),
                    (Some(from), Some(to)) if (*from..=*to).contains(&'/')
                )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Result<Globs, GlobError> {
        Globs::refs(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_star_stays_within_a_name() {
        let one = globs(&["refs/heads/*"]).unwrap();
        assert!(one.matches(b"refs/heads/main"));
        assert!(!one.matches(b"refs/heads/a/b"));
        assert!(!one.matches(b"xrefs/heads/main"));
        let all = globs(&["refs/heads/**"]).unwrap();
        assert!(all.matches(b"refs/heads/a/b") && all.matches(b"refs/heads/a"));
        assert!(!all.matches(b"refs/headsx/a"));
        assert!(!globs(&["docs/?"]).unwrap().matches(b"docs//"));
    }

    #[test]
    fn what_is_in_a_directory_may_be_the_directory() {
        let list = ["crypto/**".to_owned(), "!crypto/docs/**".to_owned()];
        let paths = Globs::paths(&list).unwrap();
        assert!(paths.matches(b"crypto/key") && paths.matches(b"crypto"));
        assert!(!paths.matches(b"crypto/docs") && !paths.matches(b"cryptography"));
        assert!(!Globs::refs(&list).unwrap().matches(b"crypto"));
        for all in ["a/**/*", "a/**/**"] {
            assert!(Globs::paths(&[all.to_owned()]).unwrap().matches(b"a"));
        }
        for hidden in ["{a/**,b}", "{b,a/**}"] {
            assert!(Globs::paths(&[hidden.to_owned()]).is_err());
        }
    }

    #[test]
    fn no_class_crosses_a_slash() {
        for bad in [
            "lib[!_]*", "lib[^_]x", "a[+-9]b", "a[/]b", "[!]]", "x[\\--0]", "\\[[!a]",
        ] {
            let reason = globs(&[bad]).unwrap_err().reason;
            assert!(reason.contains("would match /"), "{bad}: {reason}");
        }
        for (good, matched) in [
            ("lib[!_/]x", "libax"),
            ("[a-z]x", "bx"),
            ("[]]", "]"),
            ("[!]/]", "a"),
            ("\\[!a]", "[!a]"),
            ("[+-]", "-"),
        ] {
            assert!(
                globs(&[good]).unwrap().matches(matched.as_bytes()),
                "{good}"
            );
        }
        assert!(!globs(&["lib[!_/]x"]).unwrap().matches(b"lib/x"));
    }

    #[test]
    fn exclusions_go_before() {
        let code = globs(&["**", "!docs/**"]).unwrap();
        assert!(code.matches(b"src/main.rs") && code.matches(b"docs"));
        assert!(!code.matches(b"docs/policy.md"));
        assert_eq!(globs(&["!docs/**"]).unwrap_err().index, 1);
        assert_eq!(globs(&["a", "!"]).unwrap_err().index, 1);
        assert_eq!(globs(&["a", ""]).unwrap_err().index, 1);
    }

    #[test]
    fn bytes_and_case_count() {
        let all = globs(&["src/**"]).unwrap();
        assert!(all.matches(b"src/\xff\xfe.rs") && all.matches(b"src/a\nb"));
        assert!(!all.matches(b"SRC/a") && !all.matches(b"src"));
        assert!(globs(&["**"]).unwrap().matches(b"\xff\n/x"));
        assert!(globs(&[r"a\*b"]).unwrap().matches(b"a*b"));
        assert!(!globs(&[r"a\*b"]).unwrap().matches(b"axb"));
    }

    #[test]
    fn patterns_that_are_none() {
        assert!(globs(&["a[", "b"]).unwrap_err().index == 0);
        assert!(globs(&[&"a".repeat(MAX_GLOB + 1)]).is_err());
        assert!(globs(&[&"a".repeat(MAX_GLOB)]).is_ok());
    }
}
