//! The headers of a commit that decide where a walk goes.

use gix::ObjectId;

use super::MAX_WALKED_PARENTS;
use crate::host::git::{
    error::GitError,
    objects::{Objects, UncheckedObject},
};
use gitseal_evidence::object::ObjectKind;

/// The headers of a commit that decide where a walk goes.
pub(in crate::host::git) struct CommitHeaders {
    /// The lines `parent ID` that follow the line `tree ID` at once, as Git reads
    /// them.
    pub parents: Vec<ObjectId>,
    /// The committer's date in Unix seconds, 0 if it cannot be read. It decides the
    /// order of a walk, and nothing else.
    pub time: i64,
    /// Whether the lines `tree` and `parent` hold IDs.
    pub is_well_formed: bool,
}

impl CommitHeaders {
    /// Parses the headers of an object.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is not a commit or has more than
    /// [`MAX_WALKED_PARENTS`] parents.
    pub fn read(object: &UncheckedObject, objects: &Objects) -> Result<Self, GitError> {
        let id = || object.id.to_string();
        if object.kind != ObjectKind::Commit {
            return Err(GitError::Kind {
                name: id(),
                found: object.kind.name().to_owned(),
                wanted: "commit",
            });
        }
        let headers = Self::parse(&object.raw, objects.format);
        if headers.parents.len() > MAX_WALKED_PARENTS {
            return Err(GitError::Unreadable {
                id: id(),
                why: format!("it has more than {MAX_WALKED_PARENTS} parents"),
            });
        }
        Ok(headers)
    }

    /// Parses the headers in the bytes of a commit.
    pub fn parse(raw: &[u8], format: gix::hash::Kind) -> Self {
        let id = |hex: &[u8]| {
            let id = ObjectId::from_hex(hex).ok()?;
            (id.kind() == format).then_some(id)
        };
        let mut lines = raw.split(|&byte| byte == b'\n').peekable();
        let tree = lines.next().and_then(|line| line.strip_prefix(b"tree "));
        let mut is_well_formed = tree.and_then(id).is_some();
        let mut parents = Vec::new();
        while tree.is_some()
            && let Some(hex) = lines.peek().and_then(|line| line.strip_prefix(b"parent "))
        {
            let Some(parent) = id(hex) else {
                is_well_formed = false;
                break;
            };
            parents.push(parent);
            lines.next();
        }
        let time = lines
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(b"committer "))
            .and_then(|line| line.rsplit(|&byte| byte == b'>').next())
            .and_then(|rest| std::str::from_utf8(rest).ok())
            .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        Self {
            parents,
            time,
            is_well_formed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_git_does() {
        let id = "a".repeat(40);
        let read = |text: String| CommitHeaders::parse(text.as_bytes(), gix::hash::Kind::Sha1);
        let headers = read(format!(
            "tree {id}\nparent {id}\nauthor A <a> 1 +0000\nparent {id}\ncommitter B <b> 42 +0100\n\nparent {id}\n"
        ));
        assert!(headers.is_well_formed);
        assert_eq!(
            (headers.parents.len(), headers.time),
            (1, 42),
            "parents come first or not at all"
        );
        assert_eq!(read(format!("tree {id}\n\n")).time, 0);
        for malformed in ["tag x\n".to_owned(), format!("tree {id}\nparent abc\n")] {
            assert!(!read(malformed).is_well_formed);
        }
    }
}
