//! Refs by their full names, in whatever way they are stored.
//!
//! Files are read in-process, and only under full names: the library's own rules
//! for short names are not Git's. Any other storage (reftable) is listed by
//! `git for-each-ref`, once.
//!
//! *Not checked here:* what a short name means (`resolve.rs`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice as _},
    refs::TargetRef,
};

use super::{
    Repository,
    error::{GitError, words},
};
use crate::host::git_program;

/// Maximum number of refs that are read from a symbolic ref to its object, as in
/// Git (`SYMREF_MAXDEPTH`).
const MAX_SYMBOLIC: usize = 5;

/// The value of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefValue {
    Object(ObjectId),
    Symbolic(BString),
}

/// How the refs of a repository are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefStorage {
    /// Loose files and `packed-refs`.
    Files,
    /// A storage that only Git reads, with its name.
    Git(String),
}

/// The refs as Git lists them.
pub(super) type RefListing = BTreeMap<BString, RefValue>;

/// A ref that was followed to its object.
pub(super) struct FollowedRef {
    /// The ref, and those that it leads to.
    pub names: Vec<BString>,
    /// The object; `None` if the last name does not exist.
    pub id: Option<ObjectId>,
}

impl Repository {
    /// Returns the value of the ref of exactly this name.
    pub(super) fn find_ref(&self, full: &BStr) -> Result<Option<RefValue>, GitError> {
        if let Some(listing) = self.ref_listing()? {
            return Ok(listing.get(full).cloned());
        }
        // A name that cannot be a ref is simply not one.
        let Ok(name) = gix::refs::FullName::try_from(full) else {
            return Ok(None);
        };
        let refuse = |why: String| GitError::Revision {
            revision: full.to_str_lossy().into_owned(),
            why,
        };
        let path = gix::path::from_bstr(full).map_err(|error| refuse(words(&error)))?;
        for directory in [self.inner.git_dir(), self.inner.common_dir()] {
            // Git reads the target of such a link as a ref's name, the library its content.
            if std::fs::symlink_metadata(directory.join(&path)).is_ok_and(|it| it.is_symlink()) {
                return Err(refuse(
                    "a ref that is a symbolic link is not read".to_owned(),
                ));
            }
        }
        let found = self
            .inner
            .try_find_reference(name.as_ref())
            .map_err(|error| refuse(words(&error)))?;
        // This name, whatever the library's rules for short names find.
        let found = found
            .filter(|found| found.name().as_bstr() == full)
            .map(|found| value(found.target()));
        match found {
            // Git reads these apart from refs, and does not resolve a symbolic one.
            Some(RefValue::Symbolic(_)) if full == "FETCH_HEAD" || full == "MERGE_HEAD" => Err(
                refuse("it is a symbolic ref, which it cannot be".to_owned()),
            ),
            found => Ok(found),
        }
    }

    /// Returns every ref below `refs/`, in the order of names.
    pub(super) fn all_refs(&self) -> Result<Vec<(BString, RefValue)>, GitError> {
        if let Some(listing) = self.ref_listing()? {
            let all = listing
                .iter()
                .filter(|(name, _)| name.starts_with(b"refs/"));
            return Ok(all
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect());
        }
        self.check_ref_files()?;
        let unlisted = |error: gix::Error| GitError::References { why: words(&error) };
        let platform = self.inner.references().map_err(unlisted)?;
        let mut all = Vec::new();
        for reference in platform.all().map_err(unlisted)? {
            let reference = reference.map_err(|error| GitError::References {
                why: error.to_string(),
            })?;
            all.push((
                reference.name().as_bstr().to_owned(),
                value(reference.target()),
            ));
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(all)
    }

    /// Checks that the library lists every ref that Git finds in a file: it passes over
    /// links, and over names that are not allowed.
    fn check_ref_files(&self) -> Result<(), GitError> {
        let failed = |path: &Path, why: &str| GitError::References {
            why: format!("{}: {why}", path.display()),
        };
        let mut open: Vec<PathBuf> = Vec::new();
        for directory in [self.inner.common_dir(), self.inner.git_dir()] {
            let refs = directory.join("refs");
            if !open.contains(&refs) && refs.is_dir() {
                open.push(refs);
            }
        }
        while let Some(directory) = open.pop() {
            let unreadable = |error: std::io::Error| failed(&directory, &error.to_string());
            for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let path = entry.path();
                let kind = entry.file_type().map_err(unreadable)?;
                if kind.is_dir() {
                    open.push(path);
                } else if !kind.is_file() {
                    return Err(failed(
                        &path,
                        "a ref that is a symbolic link or not a file is not read",
                    ));
                } else if !is_ref_file_name(&path) {
                    return Err(failed(&path, "a ref cannot have this name"));
                }
            }
        }
        Ok(())
    }

    /// Follows a ref to its object.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is unreadable or a chain of too many symbolic refs.
    pub(super) fn follow_ref(
        &self,
        full: &BStr,
        mut value: RefValue,
    ) -> Result<FollowedRef, GitError> {
        let mut names = vec![full.to_owned()];
        loop {
            let next = match value {
                RefValue::Object(id) => {
                    return Ok(FollowedRef {
                        names,
                        id: Some(id),
                    });
                }
                RefValue::Symbolic(next) => next,
            };
            if names.len() >= MAX_SYMBOLIC {
                return Err(GitError::References {
                    why: format!("{full} leads to more than {MAX_SYMBOLIC} other names"),
                });
            }
            let found = self.find_ref(next.as_bstr())?;
            names.push(next);
            value = match found {
                Some(value) => value,
                None => return Ok(FollowedRef { names, id: None }),
            };
        }
    }

    /// Returns Git's listing of the refs, unless they are files.
    fn ref_listing(&self) -> Result<Option<&RefListing>, GitError> {
        let RefStorage::Git(storage) = &self.ref_storage else {
            return Ok(None);
        };
        if let Some(listing) = self.ref_listing.get() {
            return Ok(Some(listing));
        }
        let listing = self.list_with_git(storage)?;
        Ok(Some(self.ref_listing.get_or_init(|| listing)))
    }

    fn list_with_git(&self, storage: &str) -> Result<RefListing, GitError> {
        let failed = |why: String| GitError::References {
            why: format!("they are stored as {storage:?}, and {why}"),
        };
        // Git reads the configuration of the directory that is named.
        if !self.is_owned_by_user() {
            return Err(failed(
                "the repository is owned by another user (see safe.directory in git-config(1))"
                    .to_owned(),
            ));
        }
        let arguments = [
            "for-each-ref",
            "--include-root-refs",
            "--format=%(refname)%00%(objectname)%00%(symref)",
        ];
        let git_dir = self.inner.git_dir();
        let git_dir = std::fs::canonicalize(git_dir).unwrap_or_else(|_| git_dir.to_owned());
        let mut all = vec!["--git-dir".as_ref(), git_dir.as_os_str()];
        all.extend(arguments.iter().map(std::ffi::OsStr::new));
        let answer =
            git_program::run(&git_dir, &all, &[]).map_err(|error| failed(error.to_string()))?;
        if answer.code != Some(0) {
            let line = answer.err.lines().next().unwrap_or("it reports no reason");
            return Err(failed(format!("git for-each-ref fails: {line}")));
        }
        let malformed = || failed("the output of git for-each-ref is malformed".to_owned());
        let mut listing = RefListing::new();
        for line in answer.out.lines() {
            let parts: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let [name, id, symbolic] = parts.as_slice() else {
                return Err(malformed());
            };
            let value = match symbolic {
                [] => {
                    let id = ObjectId::from_hex(id).map_err(|_| malformed())?;
                    if id.kind() != self.inner.object_hash() {
                        return Err(malformed());
                    }
                    RefValue::Object(id)
                }
                target => RefValue::Symbolic(BString::from(*target)),
            };
            listing.insert(BString::from(*name), value);
        }
        Ok(listing)
    }
}

/// Returns whether a file below `refs` can be a ref, or is one that Git passes over: a
/// lock, or a hidden file.
fn is_ref_file_name(path: &Path) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    let name = name.as_encoded_bytes();
    name.starts_with(b".")
        || name.ends_with(b".lock")
        || gix::validate::reference::name_partial(name.as_bstr()).is_ok()
}

fn value(target: TargetRef<'_>) -> RefValue {
    match target {
        TargetRef::Object(id) => RefValue::Object(id.to_owned()),
        TargetRef::Symbolic(name) => RefValue::Symbolic(name.as_bstr().to_owned()),
    }
}
