//! The quarantine of a push: Git keeps its objects apart until the hook has accepted
//! them. No ref of the repository reaches a commit that is only there.
//!
//! *Not checked here:* what the objects are (`objects.rs`).

use std::{
    cell::OnceCell,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use gix::ObjectId;

use super::{Repository, odb, view_of};

/// The object directories without the quarantine, opened when they are needed.
pub(super) struct Accepted {
    directories: Vec<PathBuf>,
    store: OnceCell<Option<(gix::OdbHandle, tempfile::TempDir)>>,
}

impl Accepted {
    /// `quarantine`: the directory that Git names, if there is one.
    pub(super) fn new(directories: &[PathBuf], quarantine: Option<OsString>) -> Self {
        let real = |path: &Path| fs::canonicalize(path).ok();
        let quarantine = quarantine.and_then(|path| real(Path::new(&path)));
        let directories = match quarantine {
            Some(quarantine) => directories
                .iter()
                .filter(|path| real(path).is_some_and(|path| path != quarantine))
                .cloned()
                .collect(),
            None => Vec::new(),
        };
        Self {
            directories,
            store: OnceCell::new(),
        }
    }
}

impl Repository {
    /// Returns whether an object came with the push that is checked and was not in the
    /// repository before, as far as the environment tells.
    #[must_use]
    pub fn is_only_in_quarantine(&self, id: ObjectId) -> bool {
        let accepted = &self.accepted;
        if accepted.directories.is_empty() {
            return false;
        }
        let store = accepted.store.get_or_init(|| {
            let view = view_of(&accepted.directories).ok()?;
            let store = odb(view.path(), id.kind()).ok()?;
            Some((store, view))
        });
        store
            .as_ref()
            .is_some_and(|(store, _)| !gix::objs::Exists::exists(store, &id))
    }
}
