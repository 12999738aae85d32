//! The input of a hook for a push: the lines on standard input of `pre-receive` and
//! `pre-push`, the arguments of `update`, and the ref names in them.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::collections::HashSet;

use gix::bstr::{BStr, BString, ByteSlice as _};

use gitseal_evidence::object::HashKind;

/// The most references that one push may change, unless a setting says
/// otherwise.
pub const MAX_UPDATES: usize = 100_000;
/// The longest name of a reference, in bytes. File systems allow less.
pub const MAX_REF_NAME: usize = 1024;
/// The longest line: four parts, of which one may be an expression that somebody
/// typed.
pub const MAX_LINE: usize = 8192;

/// Errors in the input of a hook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookInputError {
    #[error("the input is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("the push changes more than {max} refs")]
    TooMany { max: usize },
    #[error("line {line} is {bytes} bytes; the limit is {MAX_LINE}")]
    LineLength { line: usize, bytes: usize },
    #[error("line {line} does not end with a line feed")]
    Unterminated { line: usize },
    #[error("line {line} contains a NUL")]
    Nul { line: usize },
    #[error("line {line} does not have the {parts} fields that Git writes")]
    Parts { line: usize, parts: usize },
    #[error("line {line}: {found:?} is not an object ID of {digits} lower-case hex digits")]
    Id {
        line: usize,
        found: String,
        digits: usize,
    },
    #[error("line {line}: {found:?} is not a ref name: {reason}")]
    Name {
        line: usize,
        found: String,
        reason: &'static str,
    },
    #[error("line {line}: duplicate ref {found:?}")]
    Twice { line: usize, found: String },
}

/// One ref update of a push. Without old and new value, Git was asked to delete a
/// ref that does not exist, and passes that on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefCommand {
    /// `None`: the ref does not exist.
    pub old: Option<gix::ObjectId>,
    /// `None`: the ref is deleted.
    pub new: Option<gix::ObjectId>,
    pub name: BString,
}

/// The namespace of a ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefNamespace {
    Branch,
    Tag,
    /// `refs/replace/`: replacement refs, which change what Git displays.
    Replace,
    /// `refs/notes/`: notes, which no branch contains.
    Notes,
    /// `refs/for/`, `refs/drafts/`, `refs/publish/`: a review server rewrites pushes to
    /// them.
    Review,
    /// `refs/pull/`, `refs/merge-requests/`, `refs/changes/`, `refs/keep-around/`,
    /// `refs/environments/`, `refs/pipelines/`: only servers write them.
    Server,
    /// Anything else under `refs/`.
    Other,
}

impl RefNamespace {
    /// Returns the namespace of a ref name.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        const SPACES: [(&[u8], RefNamespace); 13] = [
            (b"refs/heads/", RefNamespace::Branch),
            (b"refs/tags/", RefNamespace::Tag),
            (b"refs/replace/", RefNamespace::Replace),
            (b"refs/notes/", RefNamespace::Notes),
            (b"refs/for/", RefNamespace::Review),
            (b"refs/drafts/", RefNamespace::Review),
            (b"refs/publish/", RefNamespace::Review),
            (b"refs/pull/", RefNamespace::Server),
            (b"refs/merge-requests/", RefNamespace::Server),
            (b"refs/changes/", RefNamespace::Server),
            (b"refs/keep-around/", RefNamespace::Server),
            (b"refs/environments/", RefNamespace::Server),
            (b"refs/pipelines/", RefNamespace::Server),
        ];
        SPACES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(Self::Other, |(_, space)| *space)
    }
}

/// Parses the input of `pre-receive`.
///
/// # Errors
/// The first thing that git would not write, or a limit.
pub fn parse_pre_receive(
    input: &[u8],
    hash: HashKind,
    most: usize,
) -> Result<Vec<RefCommand>, HookInputError> {
    read(input, most, |line, number| {
        let mut parts = line.splitn(3, |&byte| byte == b' ');
        let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HookInputError::Parts {
                line: number,
                parts: 3,
            });
        };
        ref_command(old, new, name, hash, number)
    })
}

/// Parses the input of `pre-push`: the changes as the remote sees them.
///
/// # Errors
/// The first thing that git would not write, or a limit.
pub fn parse_pre_push(
    input: &[u8],
    hash: HashKind,
    most: usize,
) -> Result<Vec<RefCommand>, HookInputError> {
    read(input, most, |line, number| {
        // The first part is what somebody typed, and may hold spaces.
        let mut parts = line.rsplitn(4, |&byte| byte == b' ');
        let (Some(old), Some(name), Some(new), Some(_)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HookInputError::Parts {
                line: number,
                parts: 4,
            });
        };
        ref_command(old, new, name, hash, number)
    })
}

/// Parses the arguments of `update`.
///
/// # Errors
/// As [`parse_pre_receive`].
pub fn parse_update_args(
    name: &[u8],
    old: &[u8],
    new: &[u8],
    hash: HashKind,
) -> Result<RefCommand, HookInputError> {
    ref_command(old, new, name, hash, 1)
}

fn read(
    input: &[u8],
    most: usize,
    mut one: impl FnMut(&[u8], usize) -> Result<RefCommand, HookInputError>,
) -> Result<Vec<RefCommand>, HookInputError> {
    let mut updates: Vec<RefCommand> = Vec::new();
    let mut seen: HashSet<BString> = HashSet::new();
    for (index, whole) in input.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let number = index.saturating_add(1);
        if updates.len() >= most {
            return Err(HookInputError::TooMany { max: most });
        }
        if whole.len() > MAX_LINE {
            return Err(HookInputError::LineLength {
                line: number,
                bytes: whole.len(),
            });
        }
        let Some(line) = whole.strip_suffix(b"\n") else {
            return Err(HookInputError::Unterminated { line: number });
        };
        if line.contains(&0) {
            return Err(HookInputError::Nul { line: number });
        }
        let update = one(line, number)?;
        if !seen.insert(update.name.clone()) {
            return Err(HookInputError::Twice {
                line: number,
                found: shown(&update.name),
            });
        }
        updates.push(update);
    }
    Ok(updates)
}

fn ref_command(
    old: &[u8],
    new: &[u8],
    name: &[u8],
    hash: HashKind,
    line: usize,
) -> Result<RefCommand, HookInputError> {
    let old = id(old, hash, line)?;
    let new = id(new, hash, line)?;
    if let Err(reason) = check_name(name) {
        return Err(HookInputError::Name {
            line,
            found: shown(name),
            reason,
        });
    }
    Ok(RefCommand {
        old,
        new,
        name: BString::from(name),
    })
}

/// Parses an object ID; `None` for all zeros.
fn id(text: &[u8], hash: HashKind, line: usize) -> Result<Option<gix::ObjectId>, HookInputError> {
    let digits = hash.hex_length();
    let is_id = text.len() == digits
        && text
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match gix::ObjectId::from_hex(text) {
        Ok(id) if is_id => Ok((!id.is_null()).then_some(id)),
        _ => Err(HookInputError::Id {
            line,
            found: shown(text),
            digits,
        }),
    }
}

fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    let cut = bytes.get(..MOST).unwrap_or(bytes);
    BStr::new(cut).to_str_lossy().into_owned()
}

/// Checks the full name of a reference: `git-check-ref-format(1)`, the numbered
/// rules, and that it is under `refs/`.
///
/// # Errors
/// The rule that it breaks.
pub fn check_name(name: &[u8]) -> Result<(), &'static str> {
    if name.len() > MAX_REF_NAME {
        return Err("it is too long");
    }
    let Some(rest) = name.strip_prefix(b"refs/") else {
        return Err("it is not under refs/");
    };
    for component in rest.split(|&byte| byte == b'/') {
        if component.is_empty() {
            return Err("a part of it is empty");
        }
        if component.starts_with(b".") {
            return Err("a part of it begins with a dot");
        }
        if component.ends_with(b".lock") {
            return Err("a part of it ends with .lock");
        }
    }
    if name.find(b"..").is_some() {
        return Err("it holds two dots in a row");
    }
    if name.find(b"@{").is_some() {
        return Err("it holds @{");
    }
    if name.ends_with(b".") {
        return Err("it ends with a dot");
    }
    if name.iter().any(|&byte| byte < 0x20 || byte == 0x7f) {
        return Err("it holds a control character");
    }
    if name
        .iter()
        .any(|byte| matches!(byte, b' ' | b'~' | b'^' | b':' | b'?' | b'*' | b'[' | b'\\'))
    {
        return Err("it holds one of space ~ ^ : ? * [ and backslash");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    fn lines(text: &str) -> Result<Vec<RefCommand>, HookInputError> {
        parse_pre_receive(text.as_bytes(), HashKind::Sha1, 3)
    }

    #[test]
    fn what_git_writes_is_read() {
        let read = lines(&format!(
            "{ZERO} {A} refs/heads/neu\n{A} {ZERO} refs/heads/alt\n{A} {B} refs/tags/v1\n"
        ))
        .unwrap();
        assert_eq!(read.len(), 3);
        assert_eq!(
            (read[0].old, read[0].new.map(|id| id.to_string())),
            (None, Some(A.to_owned()))
        );
        assert_eq!(
            (read[1].new, RefNamespace::of(&read[1].name)),
            (None, RefNamespace::Branch)
        );
        assert_eq!(read[2].name, "refs/tags/v1");
        assert_eq!(lines("").unwrap(), []);
        let nothing = lines(&format!("{ZERO} {ZERO} refs/heads/x\n")).unwrap();
        assert_eq!((nothing[0].old, nothing[0].new), (None, None));
        let long = "c".repeat(64);
        let read = parse_pre_receive(
            format!("{long} {} refs/heads/x\n", "d".repeat(64)).as_bytes(),
            HashKind::Sha256,
            1,
        );
        assert_eq!(read.unwrap()[0].old.unwrap().to_string(), long);
    }

    #[test]
    fn what_git_would_not_write_is_refused() {
        let refused = |text: String| lines(&text).unwrap_err();
        assert!(matches!(
            refused(format!("{A} {B} refs/heads/x")),
            HookInputError::Unterminated { line: 1 }
        ));
        assert!(matches!(
            refused(format!("{A} {B}\n")),
            HookInputError::Parts { line: 1, parts: 3 }
        ));
        for id in [
            "",
            "abc",
            &A.to_uppercase(),
            &"a".repeat(64),
            &format!("+{}", &A[1..]),
        ] {
            assert!(
                matches!(
                    refused(format!("{id} {B} refs/heads/x\n")),
                    HookInputError::Id { digits: 40, .. }
                ),
                "{id}"
            );
        }
        for name in [
            "HEAD",
            "main",
            "refs/",
            "refs//x",
            "refs/heads/",
            "refs/heads/.x",
            "refs/heads/x.lock",
            "refs/heads/x.lock/y",
            "refs/heads/a..b",
            "refs/heads/x.",
            "refs/heads/a b",
            "refs/heads/a\tb",
            "refs/heads/\u{7f}",
            "refs/heads/a~1",
            "refs/heads/^x",
            "refs/heads/a:b",
            "refs/heads/*",
            "refs/heads/a?",
            "refs/heads/[x]",
            "refs/heads/a\\b",
            "refs/heads/@{x",
            " refs/heads/x",
            "refs/heads/x\r",
            "../refs/heads/x",
        ] {
            assert!(
                matches!(
                    refused(format!("{A} {B} {name}\n")),
                    HookInputError::Name { .. }
                ),
                "{name:?}"
            );
        }
        assert!(matches!(
            refused(format!("{A} {B} refs/heads/x\0y\n")),
            HookInputError::Nul { line: 1 }
        ));
        assert!(matches!(
            refused(format!("{A} {B} refs/heads/x\n{B} {A} refs/heads/x\n")),
            HookInputError::Twice { line: 2, .. }
        ));
        assert!(matches!(
            refused(format!("{A} {B} refs/heads/{}\n", "x".repeat(MAX_LINE))),
            HookInputError::LineLength { line: 1, .. }
        ));
        assert!(matches!(
            refused(format!("{A} {B} refs/heads/{}\n", "x".repeat(MAX_REF_NAME))),
            HookInputError::Name { .. }
        ));
        let four: String = (0..4)
            .map(|n| format!("{A} {B} refs/heads/{n}\n"))
            .collect();
        assert_eq!(refused(four), HookInputError::TooMany { max: 3 });
        assert!(matches!(
            refused("\n".to_owned()),
            HookInputError::Parts { .. }
        ));
    }

    #[test]
    fn names_that_git_takes_are_taken() {
        for name in [
            "refs/heads/main",
            "refs/stash",
            "refs/heads/a@b",
            "refs/heads/@",
            "refs/heads/a.b",
            "refs/heads/a{b}",
            "refs/heads/-x",
            "refs/heads/\u{fc}",
            "refs/heads/x.lockx",
        ] {
            assert_eq!(check_name(name.as_bytes()), Ok(()), "{name}");
        }
        assert_eq!(check_name(b"refs/heads/\xff"), Ok(()));
    }

    #[test]
    fn a_local_expression_may_hold_spaces() {
        let read = parse_pre_push(
            format!(
                "HEAD@{{1 day ago}} {A} refs/heads/x {B}\n(delete) {ZERO} refs/heads/y {A}\nrefs/heads/z {A} refs/heads/z {ZERO}\n"
            )
            .as_bytes(),
            HashKind::Sha1,
            9,
        )
        .unwrap();
        assert_eq!(read[0].new.unwrap().to_string(), A);
        assert_eq!(read[0].old.unwrap().to_string(), B);
        assert_eq!((read[1].new, read[2].old), (None, None));
        assert!(
            parse_pre_push(
                format!("{A} refs/heads/x {B}\n").as_bytes(),
                HashKind::Sha1,
                9
            )
            .is_err()
        );
    }

    #[test]
    fn spaces_of_names() {
        for (name, space) in [
            ("refs/heads/a", RefNamespace::Branch),
            ("refs/tags/a", RefNamespace::Tag),
            ("refs/replace/a", RefNamespace::Replace),
            ("refs/notes/a", RefNamespace::Notes),
            ("refs/for/main", RefNamespace::Review),
            ("refs/pull/1/head", RefNamespace::Server),
            ("refs/headsx/a", RefNamespace::Other),
            ("refs/stash", RefNamespace::Other),
        ] {
            assert_eq!(RefNamespace::of(name.as_bytes()), space, "{name}");
        }
    }
}
