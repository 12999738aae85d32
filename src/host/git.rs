//! Repositories of this machine: objects as raw bytes, and names resolved once,
//! in-process; and the configuration (`git_config.rs`).
//!
//! What this adds to the library underneath, because git does it: `GIT_COMMON_DIR`, `GIT_OBJECT_DIRECTORY`,
//! `GIT_ALTERNATE_OBJECT_DIRECTORIES` and `GIT_QUARANTINE_PATH` (a hook sees the
//! objects of the push that is not accepted yet). What it takes away: replace
//! references and grafts never stand in for an object, and every object is
//! hashed again (with SHA-1 collision detection) before it is handed out.

use std::{
    borrow::Cow,
    cell::OnceCell,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use gix::bstr::{BString, ByteSlice as _};

use super::{
    git_config::{self, ConfigReading, ConfigSources, ConfigValue, RepositoryFiles, SystemFile},
    git_program::{self, GitProgramError},
};
use error::words;
use gitseal_evidence::object::HashKind;
use objects::Objects;
use refs::{RefListing, RefStorage};

pub mod changes;
mod deadline;
mod delta_bases;
mod delta_chains;
mod discovery;
mod error;
mod format;
pub mod graph;
pub mod objects;
mod owner;
pub mod push;
pub mod push_certificate;
mod quarantine;
mod refs;
pub mod resolve;
pub mod walk;
pub use deadline::Deadline;
pub use error::GitError;
pub use gix::ObjectId;
pub use objects::Object;

/// The most object directories that the environment may name.
pub const MAX_OBJECT_DIRECTORIES: usize = 64;

/// This directory: its repository, if there is one, and git's configuration.
pub struct Workspace {
    repository: Option<Repository>,
    /// Why Git uses none here, if there seems to be one.
    refusal: Option<String>,
    config: Vec<ConfigValue>,
    directory: PathBuf,
}

/// An open repository.
pub struct Repository {
    inner: gix::Repository,
    objects: Objects,
    ref_storage: RefStorage,
    ref_listing: OnceCell<RefListing>,
    accepted: quarantine::Accepted,
    /// Whether Git reads its configuration.
    is_trusted: bool,
}

impl Workspace {
    /// Opens the repository of `directory`, if there is one, and the configuration
    /// that Git lists there.
    ///
    /// # Errors
    /// Returns [`GitError`] if a repository or a configuration file exists but is
    /// not readable, or if the environment names one that does not exist. That there
    /// is no repository is not an error here; see [`repository`](Self::repository).
    pub fn open(directory: &Path) -> Result<Self, GitError> {
        Self::open_reading(directory, ConfigReading::Listing)
    }

    /// Does the same without starting Git, unless the configuration contains what
    /// only Git can read.
    ///
    /// # Errors
    /// Returns [`GitError`] as [`open`](Self::open) does.
    pub fn open_in_process(directory: &Path) -> Result<Self, GitError> {
        Self::open_reading(directory, ConfigReading::InProcess)
    }

    fn open_reading(directory: &Path, reading: ConfigReading) -> Result<Self, GitError> {
        let inner = match discovery::discover(directory) {
            Ok(inner) => Some(inner),
            Err(GitError::NoRepository { .. }) => None,
            Err(error) => return Err(error),
        };
        let files = inner.as_ref().map(config_files);
        let git_dir = files.as_ref().map(|files| files.git_dir.as_path());
        let reading = match reading {
            ConfigReading::InProcess if !discovery::is_certain(directory, git_dir) => {
                ConfigReading::Listing
            }
            reading => reading,
        };
        let question = (reading == ConfigReading::Listing).then(|| {
            let directory = directory.to_owned();
            thread::spawn(move || git_program::repository(&directory))
        });
        let variable = |name: &str| env::var_os(name);
        let sources = ConfigSources {
            directory,
            environment: &variable,
            repository: files,
            system: SystemFile::of_git_on_path(),
        };
        let config = git_config::read(&sources, reading);
        let refusal = match question {
            Some(question) => {
                let answer = question.join().unwrap_or(Err(GitProgramError::Killed));
                discovery::compare(sources.repository.as_ref(), answer)?
            }
            None => None,
        };
        let mut config = config?;
        let is_trusted = sources
            .repository
            .is_some_and(|files| owner::check(&files, &mut config));
        let mut repository = None;
        if let Some(inner) = inner {
            let ref_storage = format::check(&inner, directory, &config)?;
            if refusal.is_none() {
                let opened = Repository::with_environment(inner, ref_storage, is_trusted)?;
                repository = Some(opened);
            }
        }
        Ok(Self {
            repository,
            refusal,
            config,
            directory: directory.to_owned(),
        })
    }

    /// Returns Git's configuration in the order of ascending precedence.
    #[must_use]
    pub fn config(&self) -> &[ConfigValue] {
        &self.config
    }

    /// Returns the first URL of a remote, as configured.
    #[must_use]
    pub fn remote_url(&self, remote: &str) -> Option<String> {
        let key = format!("remote.{remote}.url");
        let url = self.config.iter().find(|value| value.key == key)?;
        Some(String::from_utf8_lossy(url.value.as_deref()?).into_owned())
    }

    /// Returns the repository.
    ///
    /// # Errors
    /// There is none.
    pub fn repository(&self) -> Result<&Repository, GitError> {
        self.repository.as_ref().ok_or_else(|| match &self.refusal {
            Some(why) => GitError::Open { why: why.clone() },
            None => GitError::NoRepository {
                directory: self.directory.clone(),
            },
        })
    }
}

impl Repository {
    /// The hash that names objects here.
    #[must_use]
    pub fn hash(&self) -> HashKind {
        self.objects.hash
    }

    /// Returns the reader of objects; a clone can go to another thread.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Returns whether the repository belongs to the user who runs this, or is named
    /// by `safe.directory`. The configuration of any other is ignored.
    #[must_use]
    pub fn is_owned_by_user(&self) -> bool {
        self.is_trusted
    }

    /// The paths by which a person would name this repository: where its
    /// configuration lies. That is the git directory; the work tree whose own
    /// `.git` leads there; and the common directory, if the git directory is in
    /// it. A repository can say that its work tree (`core.worktree`) or its common
    /// directory (`commondir`) is somewhere else: that is no name of its own.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let git_dir = canonical(self.inner.git_dir());
        let common = canonical(self.inner.common_dir());
        let work_tree = self.inner.workdir().map(canonical).filter(|work_tree| {
            let link = work_tree.join(".git");
            let leads_to = match gix::discover::path::from_gitdir_file(&link) {
                Ok(target) => target,
                Err(_) => link,
            };
            fs::canonicalize(leads_to).is_ok_and(|found| found == git_dir)
        });
        let common = git_dir.starts_with(&common).then_some(common);
        let mut paths: Vec<PathBuf> = Vec::new();
        for path in [work_tree, Some(git_dir), common].into_iter().flatten() {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// The file that `git config --local` writes.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        config_files(&self.inner).common_dir.join("config")
    }

    /// Returns the directories that contain the repository's configuration.
    #[must_use]
    pub fn config_files(&self) -> RepositoryFiles {
        config_files(&self.inner)
    }

    /// Applies what the environment says about objects and refs, and disables
    /// replacements.
    ///
    /// `GIT_NAMESPACE` concerns what is received and sent, so the library's view of
    /// one namespace is disabled: see [`namespace`](Self::namespace).
    fn with_environment(
        mut inner: gix::Repository,
        ref_storage: RefStorage,
        is_trusted: bool,
    ) -> Result<Self, GitError> {
        let hash = match inner.object_hash() {
            gix::hash::Kind::Sha1 => HashKind::Sha1,
            gix::hash::Kind::Sha256 => HashKind::Sha256,
            other => {
                return Err(GitError::Open {
                    why: format!("its object format {other} is unknown"),
                });
            }
        };
        let unusable = |why: String| GitError::ObjectDirectories { why };
        if let Some(common) = variable("GIT_COMMON_DIR") {
            let common = PathBuf::from(common);
            inner.refs = gix::refs::file::Store::for_linked_worktree_opts(
                inner.git_dir().to_owned(),
                common.clone(),
                inner.object_hash(),
                gix::refs::store::init::Options::default(),
            );
            inner.objects = odb(&common.join("objects"), inner.object_hash())?;
        }
        let directories = object_directories()?;
        let view = match directories.as_slice() {
            [] => {
                let own = inner.objects.store_ref().path().to_owned();
                inner.objects = odb(&own, inner.object_hash())?;
                None
            }
            [one] if variable("GIT_OBJECT_DIRECTORY").is_some() => {
                inner.objects = odb(one, inner.object_hash())?;
                None
            }
            several => {
                let mut all: Vec<PathBuf> = several.to_vec();
                if variable("GIT_OBJECT_DIRECTORY").is_none() {
                    all.push(inner.objects.store_ref().path().to_owned());
                }
                let view = view_of(&all).map_err(|error| unusable(error.to_string()))?;
                inner.objects = odb(view.path(), inner.object_hash())?;
                Some(view)
            }
        };
        inner.clear_namespace();
        // Git composes names on macOS only, whatever core.precomposeUnicode is elsewhere.
        inner.refs.precompose_unicode &= cfg!(target_os = "macos");
        inner.objects.ignore_replacements = true;
        let reading = Arc::new(objects::Reading::default());
        let counted = Arc::clone(&reading);
        inner
            .objects
            .set_pack_cache(move || Box::new(delta_bases::DeltaBases::new(Arc::clone(&counted))));
        let objects = Objects {
            chains: Arc::new(delta_chains::DeltaChains::new(Arc::clone(&reading))),
            reading,
            odb: inner.objects.clone(),
            format: inner.object_hash(),
            hash,
            _view: view.map(Arc::new),
        };
        Ok(Self {
            inner,
            objects,
            ref_storage,
            ref_listing: OnceCell::new(),
            accepted: quarantine::Accepted::new(&directories, variable("GIT_QUARANTINE_PATH")),
            is_trusted,
        })
    }
}

/// Opens a directory of objects, without replacements, so that unpacking one of them
/// stays within the limit on memory.
fn odb(directory: &Path, hash: gix::hash::Kind) -> Result<gix::OdbHandle, GitError> {
    let options = gix::odb::store::init::Options {
        alloc_limit_bytes: Some(delta_chains::MAX_MEMORY),
        ..Default::default()
    };
    gix::odb::at_opts(directory, hash, None, options)
        .map(gix::OdbHandle::from)
        .map_err(|error| GitError::ObjectDirectories {
            why: error.to_string(),
        })
}

/// A directory without objects whose alternates are `directories`, so that all
/// of them are searched: names, abbreviations, loose and packed objects.
fn view_of(directories: &[PathBuf]) -> std::io::Result<tempfile::TempDir> {
    let view = tempfile::Builder::new().prefix("gitseal-view-").tempdir()?;
    let mut alternates = Vec::new();
    for directory in directories {
        // One that is not there is skipped, as git does.
        let Ok(directory) = fs::canonicalize(directory) else {
            continue;
        };
        let bytes = gix::path::into_bstr(Cow::Borrowed(directory.as_path()))
            .map_err(|error| std::io::Error::other(words(&error)))?
            .into_owned();
        if bytes.contains(&b'\n') {
            return Err(std::io::Error::other(
                "the name of an object directory holds a line break",
            ));
        }
        alternates.extend_from_slice(&bytes);
        alternates.push(b'\n');
    }
    fs::create_dir(view.path().join("info"))?;
    fs::create_dir(view.path().join("pack"))?;
    fs::write(view.path().join("info").join("alternates"), alternates)?;
    Ok(view)
}

/// The object directories that the environment names: the quarantine of a push
/// first, then the primary one, then the alternates.
fn object_directories() -> Result<Vec<PathBuf>, GitError> {
    let mut directories = Vec::new();
    let mut add = |path: PathBuf| {
        if !directories.contains(&path) {
            directories.push(path);
        }
    };
    for name in ["GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY"] {
        if let Some(path) = variable(name) {
            add(PathBuf::from(path));
        }
    }
    if let Some(list) = variable("GIT_ALTERNATE_OBJECT_DIRECTORIES") {
        for path in split_paths(&list)? {
            add(path);
        }
    }
    if directories.len() > MAX_OBJECT_DIRECTORIES {
        return Err(GitError::ObjectDirectories {
            why: format!(
                "{} of them, more than {MAX_OBJECT_DIRECTORIES}",
                directories.len()
            ),
        });
    }
    Ok(directories)
}

/// A list of paths as git writes it: separated by `:` (`;` on Windows), a path
/// that begins with `"` is quoted in the manner of C.
fn split_paths(list: &OsStr) -> Result<Vec<PathBuf>, GitError> {
    let Some(text) = list.to_str() else {
        return Ok(env::split_paths(list).collect());
    };
    if !text.contains('"') {
        return Ok(env::split_paths(list)
            .filter(|path| !path.as_os_str().is_empty())
            .collect());
    }
    let separator = if cfg!(windows) { b';' } else { b':' };
    let mut paths = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (path, after) = if rest.first() == Some(&b'"') {
            let (unquoted, consumed) = gix::quote::ansi_c::undo(rest.as_bstr()).map_err(|_| {
                GitError::ObjectDirectories {
                    why: "a quoted path of GIT_ALTERNATE_OBJECT_DIRECTORIES has no end".to_owned(),
                }
            })?;
            (
                unquoted.into_owned(),
                rest.get(consumed..).unwrap_or_default(),
            )
        } else {
            let end = rest
                .iter()
                .position(|byte| *byte == separator)
                .unwrap_or(rest.len());
            let (path, after) = rest.split_at(end);
            (BString::from(path), after)
        };
        if !path.is_empty() {
            paths.push(
                gix::path::from_bstring(path)
                    .map_err(|error| GitError::ObjectDirectories { why: words(&error) })?,
            );
        }
        rest = after.strip_prefix(&[separator]).unwrap_or(after);
        if rest.len() == after.len() && !rest.is_empty() {
            return Err(GitError::ObjectDirectories {
                why: "text after a quoted path of GIT_ALTERNATE_OBJECT_DIRECTORIES".to_owned(),
            });
        }
    }
    Ok(paths)
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns where a repository's configuration is.
fn config_files(inner: &gix::Repository) -> RepositoryFiles {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    RepositoryFiles {
        git_dir: absolute(inner.git_dir()),
        common_dir: variable("GIT_COMMON_DIR").map_or_else(
            || absolute(inner.common_dir()),
            |common| absolute(Path::new(&common)),
        ),
        work_tree: inner.workdir().map(absolute),
        is_owned: inner.git_dir_trust() == gix::sec::Trust::Full,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_paths() {
        let split = |text: &str| split_paths(OsStr::new(text)).unwrap();
        if cfg!(unix) {
            assert_eq!(split("/a:/b"), [PathBuf::from("/a"), PathBuf::from("/b")]);
            assert_eq!(
                split("\"/with:colon\":/b"),
                [PathBuf::from("/with:colon"), PathBuf::from("/b")]
            );
            assert_eq!(split("::/b:"), [PathBuf::from("/b")]);
            assert!(split_paths(OsStr::new("\"/open")).is_err());
            assert!(split_paths(OsStr::new("\"/a\"b")).is_err());
        }
    }
}
