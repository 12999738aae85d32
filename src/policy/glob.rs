//! Patterns over ref names and paths, on bytes.
//!
//! `*` and `?` match within one path component, `**` crosses `/`, `[a-z]` and
//! `{a,b}` are as in shells, `\` escapes; a leading `!` excludes. A list matches a
//! string if one of its patterns does and none of its exclusions. Case is
//! significant. `**` is a whole component.
//!
//! *Not checked here:* whether a pattern is useful (`lint.rs`).

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// The maximum length of a pattern, in bytes.
pub const MAX_GLOB: usize = 1024;

/// A compiled list of patterns. Lists are equal if they are written the same.
#[derive(Debug, Clone)]
pub struct Globs {
    written: Vec<String>,
    included: GlobSet,
    excluded: GlobSet,
    /// Of paths only.
    folded: Option<Folded>,
}

/// Patterns over paths whose case is folded.
#[derive(Debug, Clone)]
struct Folded {
    included: GlobSet,
    excluded: GlobSet,
    /// The directories above the literal parts of the included patterns.
    above: GlobSet,
    /// The directories above the literal parts of the excluded patterns.
    above_excluded: GlobSet,
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

    fn new(patterns: &[String], are_paths: bool) -> Result<Self, GlobError> {
        let mut sets = [const { Vec::new() }; 2];
        for (index, pattern) in patterns.iter().enumerate() {
            let (at, text) = match pattern.strip_prefix('!') {
                Some(rest) => (1, rest),
                None => (0, pattern.as_str()),
            };
            check(text, are_paths).map_err(|reason| GlobError { index, reason })?;
            let itself = ["/**/**", "/**/*", "/**"]
                .iter()
                .find_map(|all| text.strip_suffix(all))
                .filter(|_| are_paths);
            for text in std::iter::once(text).chain(itself) {
                glob(text, false).map_err(|reason| GlobError { index, reason })?;
                sets.get_mut(at).into_iter().for_each(|set| set.push(text));
            }
        }
        let [included, excluded] = sets;
        let whole = |reason: String| GlobError {
            index: patterns.len(),
            reason,
        };
        if included.is_empty() {
            return Err(whole(
                "nothing is included, so nothing can be excluded".to_owned(),
            ));
        }
        let folded = if are_paths {
            let fold = |texts: &[&str]| -> Vec<String> {
                texts.iter().map(|text| folded_pattern(text)).collect()
            };
            let above = |texts: &[&str]| -> Vec<String> {
                let directories = texts.iter().flat_map(|text| directories_above(text));
                directories.map(folded_pattern).collect()
            };
            Some(Folded {
                included: build(&fold(&included), true).map_err(whole)?,
                excluded: build(&fold(&excluded), true).map_err(whole)?,
                above: build(&above(&included), true).map_err(whole)?,
                above_excluded: build(&above(&excluded), true).map_err(whole)?,
            })
        } else {
            None
        };
        Ok(Self {
            written: patterns.to_vec(),
            included: build(&included, false).map_err(whole)?,
            excluded: build(&excluded, false).map_err(whole)?,
            folded,
        })
    }

    /// Returns whether the list matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let candidate = Candidate::from_bytes(text);
        self.included.is_match_candidate(&candidate)
            && !self.excluded.is_match_candidate(&candidate)
    }

    /// Returns whether the list of paths matches, and excludes neither another spelling
    /// of the path nor, if it is a link or a submodule, what would be below it.
    #[must_use]
    pub fn covers(&self, path: &[u8], is_link: bool) -> bool {
        if !self.matches(path) {
            return false;
        }
        self.folded.as_ref().is_none_or(|folded| {
            let path = folded_path(path);
            let candidate = Candidate::from_bytes(&path);
            !(folded.excluded.is_match_candidate(&candidate)
                || is_link && folded.above_excluded.is_match_candidate(&candidate))
        })
    }

    /// Returns whether the list of paths matches if case is ignored.
    #[must_use]
    pub fn matches_folded(&self, path: &[u8]) -> bool {
        self.folded.as_ref().is_some_and(|folded| {
            let path = folded_path(path);
            let candidate = Candidate::from_bytes(&path);
            folded.included.is_match_candidate(&candidate)
                && !folded.excluded.is_match_candidate(&candidate)
        })
    }

    /// Returns whether the literal part of a pattern over paths is below this directory,
    /// if case is ignored.
    #[must_use]
    pub fn is_below(&self, directory: &[u8]) -> bool {
        let directory = folded_path(directory);
        self.folded.as_ref().is_some_and(|folded| {
            folded
                .above
                .is_match_candidate(&Candidate::from_bytes(&directory))
        })
    }

    /// Returns the patterns as written.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.written
    }
}

fn check(text: &str, are_paths: bool) -> Result<(), String> {
    if text.is_empty() {
        return Err("an empty pattern matches nothing".to_owned());
    }
    if text.len() > MAX_GLOB {
        let size = text.len();
        return Err(format!(
            "the pattern is {size} bytes; the limit is {MAX_GLOB}"
        ));
    }
    if let Some(class) = class_over_slash(text) {
        return Err(format!(
            "[{class}] would match / as well: leave it out of the range, or add it to what is excluded, [!…/]"
        ));
    }
    if are_paths && (text.contains("/**,") || text.contains("/**}")) {
        return Err("/** in braces: write a pattern for each of the directories".to_owned());
    }
    if let Some(reason) = stars_within(text) {
        return Err(reason);
    }
    Ok(())
}

fn glob(text: &str, ignores_case: bool) -> Result<Glob, String> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .case_insensitive(ignores_case)
        .build()
        .map_err(|error| format!("invalid pattern: {}", error.kind()))
}

fn build(texts: &[impl AsRef<str>], ignores_case: bool) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for text in texts {
        set.add(glob(text.as_ref(), ignores_case)?);
    }
    set.build()
        .map_err(|error| format!("the patterns are too large: {}", error.kind()))
}

/// Folds the case of a path: of its characters if it is UTF-8, otherwise of ASCII.
fn folded_path(path: &[u8]) -> Vec<u8> {
    std::str::from_utf8(path).map_or_else(
        |_| path.to_ascii_lowercase(),
        |text| folded(text).into_bytes(),
    )
}

pub(crate) fn folded(text: &str) -> String {
    // Both ways: some letters differ only in one of them.
    text.to_uppercase().to_lowercase()
}

/// Folds the case of a pattern. One that is none then (a range like `[Z-a]`) is left
/// as it is: its ASCII letters are compared without case.
fn folded_pattern(text: &str) -> String {
    let all = folded(text);
    if glob(&all, true).is_ok() {
        all
    } else {
        text.to_owned()
    }
}

/// Returns the directories above the literal part of a pattern over paths: the first
/// components without wildcards, each with those before it, but not the whole.
fn directories_above(text: &str) -> Vec<&str> {
    let is_open = |component: &str| {
        component.contains(['*', '?', '['])
            || component.matches('{').count() != component.matches('}').count()
    };
    let mut above = Vec::new();
    let mut from = 0_usize;
    while let Some((component, _)) = text.get(from..).and_then(|rest| rest.split_once('/')) {
        if is_open(component) {
            break;
        }
        let end = from.saturating_add(component.len());
        above.extend(text.get(..end));
        from = end.saturating_add(1);
    }
    above
}

/// Returns why `**` is misplaced, with the pattern to write: it crosses `/` only as a
/// whole component.
fn stars_within(pattern: &str) -> Option<String> {
    // Escaped characters and classes hold no wildcards.
    let mut plain = String::with_capacity(pattern.len());
    let (mut is_escaped, mut is_class) = (false, false);
    for c in pattern.chars() {
        let hides = is_escaped || is_class;
        plain.push(if hides && c != '/' { 'x' } else { c });
        is_escaped = c == '\\' && !is_escaped;
        is_class = c == '[' && !hides || is_class && c != ']';
    }
    let is_misplaced = |component: &&str| component.contains("**") && *component != "**";
    let component = plain.split('/').find(is_misplaced)?;
    let instead = match component.split_once("**") {
        Some((before, "")) if !before.contains('*') => {
            format!("write {before}* for names that start so, or {before}/** for a directory")
        }
        Some(("", after)) if !after.contains('*') => {
            format!("write **/*{after} for names that end so")
        }
        _ => "write * for a part of a name, or **/ for any directories".to_owned(),
    };
    Some(format!(
        "** is a part of the component {component:?}, where it does not cross /: {instead}"
    ))
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
    fn two_stars_are_a_whole_component() {
        for (bad, instead) in [
            (
                "crypto**",
                "write crypto* for names that start so, or crypto/** for a directory",
            ),
            ("src/crypto**", "crypto/**"),
            ("**.lock", "write **/*.lock for names"),
            ("a/**b", "write **/*b"),
            ("a**b/c", "write * for a part"),
            ("***", "write * for a part"),
            ("{**,a}/x", "write * for a part"),
        ] {
            let reason = Globs::paths(&[bad.to_owned()]).unwrap_err().reason;
            assert!(reason.contains(instead), "{bad}: {reason}");
        }
        for good in ["**", "a/**", "**/a", "a/**/b", r"a\*\*", "[*][*]", "a*/*b"] {
            assert!(globs(&[good]).is_ok(), "{good}");
        }
    }

    #[test]
    fn case_is_folded_for_paths_only() {
        let list = ["Crypto/**".to_owned(), "!Crypto/docs/**".to_owned()];
        let paths = Globs::paths(&list).unwrap();
        for same in ["crypto/key", "CRYPTO/Key", "cryptO"] {
            assert!(paths.matches_folded(same.as_bytes()), "{same}");
            assert!(!paths.matches(same.as_bytes()), "{same}");
        }
        assert!(!paths.matches_folded(b"crypto/Docs/a"));
        assert!(!paths.matches_folded(b"cryptography"));
        assert!(!Globs::refs(&list).unwrap().matches_folded(b"crypto/key"));
        let fold = |pattern: &str| Globs::paths(&[pattern.to_owned()]).unwrap();
        assert!(fold("stra\u{df}e/**").matches_folded("STRASSE/x".as_bytes()));
        // The Kelvin sign, the long s, and bytes that are no characters.
        assert!(fold("keys/**").matches_folded("\u{212a}ey\u{17f}/x".as_bytes()));
        assert!(fold("keys/**").matches_folded(b"KEYS/\xff"));
        assert!(fold("a[Z-a]b/*").matches_folded(b"AZB/x"));
    }

    #[test]
    fn directories_are_above_the_literal_part() {
        let above = |pattern: &str, directory: &str| {
            Globs::paths(&[pattern.to_owned()])
                .unwrap()
                .is_below(directory.as_bytes())
        };
        for (pattern, directory) in [
            ("deploy/prod/**", "deploy"),
            ("deploy/prod/**", "Deploy"),
            ("deploy/prod/**", "deploy/prod"),
            ("deploy/prod/*.yml", "deploy/prod"),
            ("a/b/c", "a/b"),
            ("{a,b}/c/**", "b"),
        ] {
            assert!(above(pattern, directory), "{pattern} {directory}");
        }
        for (pattern, directory) in [
            ("**/x", "a"),
            ("*/x", "a"),
            ("Makefile", "Makefile"),
            ("a/b/c", "a/b/c"),
            ("a/b/c", "b"),
            ("deploy/prod/**", "deploy/prod/x"),
            ("{a/b,c}/d", "c"),
        ] {
            assert!(!above(pattern, directory), "{pattern} {directory}");
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
