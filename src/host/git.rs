//! Repositories of this machine: objects as raw bytes, names resolved once,
//! and the configuration as a list of values with their scope and origin. All
//! of it in-process; no `git` is spawned.
//!
//! What this adds to the library underneath, because git does it: `git -c`
//! (`GIT_CONFIG_PARAMETERS`), `GIT_COMMON_DIR`, `GIT_OBJECT_DIRECTORY`,
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
};

use gix::bstr::{BString, ByteSlice as _};

use error::words;
use gitseal_evidence::object::HashKind;
use objects::Objects;
use refs::{RefListing, RefStorage};

pub mod changes;
mod deadline;
mod delta_bases;
mod delta_chains;
mod error;
mod format;
pub mod graph;
pub mod objects;
pub mod push;
pub mod push_certificate;
mod refs;
pub mod resolve;
pub mod walk;
pub use deadline::Deadline;
pub use error::GitError;
pub use gix::ObjectId;
pub use objects::Object;

/// The most object directories that the environment may name.
pub const MAX_OBJECT_DIRECTORIES: usize = 64;

/// The scope of a value of Git's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigScope {
    System,
    Global,
    /// The repository, and files it includes.
    Local,
    Worktree,
    /// `git -c` and `GIT_CONFIG_COUNT`.
    Command,
}

impl ConfigScope {
    /// The name that `git config --show-scope` has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Global => "global",
            Self::Local => "local",
            Self::Worktree => "worktree",
            Self::Command => "command",
        }
    }

    /// Whether the value belongs to the repository: whoever can write there is
    /// not the person whose machine this is.
    #[must_use]
    pub fn is_repository(self) -> bool {
        matches!(self, Self::Local | Self::Worktree)
    }
}

/// One value of git's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    /// `section.name` in lower case. (No setting of gitseal has a subsection.)
    pub key: String,
    /// `None` for a key without `=`, which Git reads as true.
    pub value: Option<Vec<u8>>,
    pub scope: ConfigScope,
    pub file: Option<PathBuf>,
}

/// This directory: its repository, if there is one, and git's configuration.
pub struct Workspace {
    repository: Option<Repository>,
    config: Vec<ConfigValue>,
    directory: PathBuf,
}

/// An open repository.
pub struct Repository {
    inner: gix::Repository,
    objects: Objects,
    ref_storage: RefStorage,
    ref_listing: OnceCell<RefListing>,
}

/// The sections of git's configuration that are of any interest here.
const SECTIONS: [&str; 4] = ["gitsign", "gitseal", "user", "gpg"];

impl Workspace {
    /// Looks at `directory` the way git would when it is started there.
    ///
    /// # Errors
    /// A repository or a configuration file is there but cannot be read, or the
    /// environment names one that is not. That there is no repository is no
    /// error here; see [`repository`](Self::repository).
    pub fn open(directory: &Path) -> Result<Self, GitError> {
        let parameters = command_parameters()?;
        let inner = match discover(directory, &parameters) {
            Ok(inner) => Some(inner),
            Err(GitError::NoRepository { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut config = Vec::new();
        match &inner {
            Some(inner) => collect(inner.config_snapshot().plumbing(), &mut config),
            None => {
                let unreadable = |error: gix::Error| GitError::Config { why: words(&error) };
                collect(
                    &gix::config::File::from_globals().map_err(unreadable)?,
                    &mut config,
                );
                collect(
                    &gix::config::File::from_environment_overrides().map_err(unreadable)?,
                    &mut config,
                );
            }
        }
        // What `git -c` says comes last and so wins.
        config.extend(parameters.into_iter().filter_map(Parameter::into_value));
        let repository = inner
            .map(|inner| Repository::with_environment(inner, directory))
            .transpose()?;
        Ok(Self {
            repository,
            config,
            directory: directory.to_owned(),
        })
    }

    /// git's configuration in the order of ascending precedence, the sections
    /// `gitsign`, `gitseal`, `user` and `gpg` only.
    #[must_use]
    pub fn config(&self) -> &[ConfigValue] {
        &self.config
    }

    /// Returns the repository.
    ///
    /// # Errors
    /// There is none.
    pub fn repository(&self) -> Result<&Repository, GitError> {
        self.repository
            .as_ref()
            .ok_or_else(|| GitError::NoRepository {
                directory: self.directory.clone(),
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

    /// Whether the repository belongs to the user who runs this, or is named by
    /// `safe.directory`. The configuration of any other is left aside.
    #[must_use]
    pub fn is_owned_by_user(&self) -> bool {
        self.inner.git_dir_trust() == gix::sec::Trust::Full
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
        self.inner.common_dir().join("config")
    }

    /// The first URL of a remote, as configured.
    #[must_use]
    pub fn remote_url(&self, remote: &str) -> Option<String> {
        let config = self.inner.config_snapshot();
        let section = config.plumbing().section("remote", remote).ok()?;
        let url = section.values("url").into_iter().next()?;
        Some(url.to_str_lossy().into_owned())
    }

    /// Applies what the environment says about objects and refs, and disables
    /// replacements.
    ///
    /// `GIT_NAMESPACE` concerns what is received and sent, so the library's view of
    /// one namespace is disabled: see [`namespace`](Self::namespace).
    fn with_environment(mut inner: gix::Repository, directory: &Path) -> Result<Self, GitError> {
        let ref_storage = format::check(&inner, directory)?;
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

fn discover(directory: &Path, parameters: &[Parameter]) -> Result<gix::Repository, GitError> {
    let overrides: Vec<BString> = parameters.iter().filter_map(Parameter::joined).collect();
    let with = |options: gix::open::Options| options.cli_overrides(overrides.iter().cloned());
    let options = gix::sec::trust::Mapping {
        full: with(gix::sec::trust::DefaultForLevel::default_for_level(
            gix::sec::Trust::Full,
        )),
        reduced: with(gix::sec::trust::DefaultForLevel::default_for_level(
            gix::sec::Trust::Reduced,
        )),
    };
    let upwards = gix::discover::upwards::Options {
        match_ceiling_dir_or_error: false,
        ..Default::default()
    };
    // From below a bare repository, the library shortens a relative path to that of
    // another one: `../../.git`.
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    gix::ThreadSafeRepository::discover_with_environment_overrides_opts(&absolute, upwards, options)
        .map(|repository| repository.to_thread_local())
        .map_err(|error| {
            use gix::discover::upwards::Error;
            let nothing_here = env::var_os("GIT_DIR").is_none()
                && matches!(
                    error.downcast_any_ref::<Error>(),
                    Some(
                        Error::NoGitRepository { .. }
                            | Error::NoGitRepositoryWithinCeiling { .. }
                            | Error::NoGitRepositoryWithinFs { .. }
                    )
                );
            if nothing_here {
                GitError::NoRepository {
                    directory: directory.to_owned(),
                }
            } else {
                GitError::Open { why: words(&error) }
            }
        })
}

/// The values of the interesting sections, in order.
fn collect(file: &gix::config::File, into: &mut Vec<ConfigValue>) {
    use gix::config::Source;
    for section in file.sections() {
        let header = section.header();
        let name = header.name().to_string().to_ascii_lowercase();
        if header.subsection_name().is_some() || !SECTIONS.contains(&name.as_str()) {
            continue;
        }
        let meta = section.meta();
        let scope = match meta.source {
            Source::GitInstallation | Source::System => ConfigScope::System,
            Source::Git | Source::User => ConfigScope::Global,
            Source::Local => ConfigScope::Local,
            Source::Worktree => ConfigScope::Worktree,
            // Read on our own: the library trims values, git does not.
            Source::Cli => continue,
            Source::Env | Source::Api | Source::EnvOverride => ConfigScope::Command,
        };
        // Of a repository that belongs to somebody else nothing counts.
        if scope.is_repository() && meta.trust != gix::sec::Trust::Full {
            continue;
        }
        let mut seen: Vec<String> = Vec::new();
        for value_name in section.value_names() {
            let lower = value_name.to_ascii_lowercase();
            if seen.contains(&lower) {
                continue;
            }
            let valued = section.values(&value_name);
            let last = section.value_implicit(&value_name);
            let mut add = |value: Option<Vec<u8>>| {
                into.push(ConfigValue {
                    key: format!("{name}.{lower}"),
                    value,
                    scope,
                    file: meta.path.clone(),
                });
            };
            for value in valued {
                add(Some(value.into()));
            }
            if matches!(last, Some(None)) {
                add(None);
            }
            seen.push(lower);
        }
    }
}

/// One `git -c key=value`.
struct Parameter {
    key: String,
    value: Option<String>,
}

impl Parameter {
    /// Returns the form that the library expects. A key that contains `=` (only a
    /// subsection can) cannot be passed this way; no setting of gitseal has one.
    fn joined(&self) -> Option<BString> {
        if self.key.contains('=') {
            return None;
        }
        Some(match &self.value {
            Some(value) => format!("{}={value}", self.key).into(),
            None => self.key.clone().into(),
        })
    }

    fn into_value(self) -> Option<ConfigValue> {
        let key = self.key.to_ascii_lowercase();
        let section = key.split_once('.')?.0;
        SECTIONS.contains(&section).then(|| ConfigValue {
            value: self.value.map(String::into_bytes),
            scope: ConfigScope::Command,
            file: None,
            key,
        })
    }
}

/// Reads `GIT_CONFIG_PARAMETERS`: `'key'='value'`, `'key'=`, and the form of
/// older versions `'key=value'`, separated by spaces.
fn command_parameters() -> Result<Vec<Parameter>, GitError> {
    let Some(text) = variable("GIT_CONFIG_PARAMETERS") else {
        return Ok(Vec::new());
    };
    let text = text
        .into_string()
        .map_err(|_| GitError::Parameters { at: 0 })?;
    parse_parameters(&text)
}

fn parse_parameters(text: &str) -> Result<Vec<Parameter>, GitError> {
    let mut rest = text;
    let mut parameters = Vec::new();
    let at = |rest: &str| GitError::Parameters {
        at: text.len().saturating_sub(rest.len()),
    };
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return Ok(parameters);
        }
        let before = rest;
        let quoted = git_config_env::quote::sq_dequote(&mut rest).map_err(|_| at(before))?;
        let parameter = if let Some(after) = rest.strip_prefix('=') {
            rest = after;
            let value = if rest.is_empty() || rest.starts_with(' ') {
                None
            } else {
                Some(
                    git_config_env::quote::sq_dequote(&mut rest)
                        .map_err(|_| at(after))?
                        .into_owned(),
                )
            };
            Parameter {
                key: quoted.into_owned(),
                value,
            }
        } else {
            match quoted.split_once('=') {
                Some((key, value)) => Parameter {
                    key: key.to_owned(),
                    value: Some(value.to_owned()),
                },
                None => Parameter {
                    key: quoted.into_owned(),
                    value: None,
                },
            }
        };
        if !rest.is_empty() && !rest.starts_with(' ') {
            return Err(at(rest));
        }
        parameters.push(parameter);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Vec<(String, Option<String>)> {
        parse_parameters(text)
            .unwrap()
            .into_iter()
            .map(|parameter| (parameter.key, parameter.value))
            .collect()
    }

    #[test]
    fn command_parameters_of_every_git() {
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            parameters("'gitsign.fulcio'='https://a b'"),
            [pair("gitsign.fulcio", Some("https://a b"))]
        );
        assert_eq!(
            parameters("'gitsign.autoclose'= 'a.b'='it'\\''s' 'c.d=e'  'f.g'"),
            [
                pair("gitsign.autoclose", None),
                pair("a.b", Some("it's")),
                pair("c.d", Some("e")),
                pair("f.g", None),
            ]
        );
        assert_eq!(parameters(""), []);
        assert_eq!(
            parameters("'a.b'='x\ny'"),
            [pair("a.b", Some("x\ny"))],
            "a line break is part of the value"
        );
    }

    #[test]
    fn malformed_command_parameters_are_an_error() {
        for text in [
            "gitsign.fulcio=x",
            "'a.b'x",
            "'a.b'='c'x",
            "'a.b",
            "'a.b'='c",
        ] {
            assert!(parse_parameters(text).is_err(), "{text}");
        }
    }

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
