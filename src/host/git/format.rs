//! Whether Git would open a repository: its format version, its extensions, and
//! `safe.bareRepository`. Git's rules, since a repository that Git refuses to read
//! can mean anything.
//!
//! *Not checked here:* the owner of the repository (`Repository::is_owned_by_user`).

use std::path::Path;

use gix::{bstr::ByteSlice as _, config::Source};

use super::{
    super::git_config::ConfigValue,
    error::{GitError, words},
    refs::RefStorage,
    variable,
};

/// Extensions that every format version has (`handle_extension_v0` of Git's `setup.c`).
const EXTENSIONS: [&str; 4] = ["noop", "partialclone", "preciousobjects", "worktreeconfig"];
/// Extensions that need format version 1 (`handle_extension`).
const EXTENSIONS_V1: [&str; 6] = [
    "noop-v1",
    "objectformat",
    "compatobjectformat",
    "refstorage",
    "relativeworktrees",
    "submodulepathconfig",
];

/// Checks the format of a repository, and returns how its refs are stored.
///
/// # Errors
/// Returns [`GitError::Open`] where Git refuses the repository.
pub(super) fn check(
    inner: &gix::Repository,
    directory: &Path,
    config: &[ConfigValue],
) -> Result<RefStorage, GitError> {
    let refuse = |why: String| GitError::Open { why };
    check_bare(inner, directory, config)?;
    let common = variable("GIT_COMMON_DIR").map(std::path::PathBuf::from);
    let path = common
        .unwrap_or_else(|| inner.common_dir().to_owned())
        .join("config");
    if !path.exists() {
        return Ok(RefStorage::Files);
    }
    // Git reads this file alone: neither includes nor other scopes count.
    let file = gix::config::File::from_path_no_includes(path, Source::Local)
        .map_err(|error| refuse(words(&error)))?;
    let version = file
        .integer("core.repositoryFormatVersion")
        .map_err(|error| refuse(words(&error)))?
        .unwrap_or(0);
    if !(0..=1).contains(&version) {
        return Err(refuse(format!("its format version {version} is unknown")));
    }
    let mut storage = RefStorage::Files;
    for section in file.sections_by_name("extensions").into_iter().flatten() {
        let subsection = section.header().subsection_name();
        let subsection = subsection.map(|name| format!("{}.", name.to_str_lossy()));
        for key in section.value_names() {
            let name = format!(
                "{}{}",
                subsection.as_deref().unwrap_or_default(),
                key.to_ascii_lowercase()
            );
            let is_v1 = EXTENSIONS_V1.contains(&name.as_str());
            if version == 0 && is_v1 {
                return Err(refuse(format!(
                    "its format version is 0, but the extension {name} needs version 1"
                )));
            }
            if version > 0 && !is_v1 && !EXTENSIONS.contains(&name.as_str()) {
                return Err(refuse(format!("its extension {name} is unknown")));
            }
            if name == "refstorage" {
                let value = section.value(&key).unwrap_or_default();
                storage = match value.to_str_lossy().as_ref() {
                    "files" => RefStorage::Files,
                    other => RefStorage::Git(other.to_owned()),
                };
            }
        }
    }
    Ok(match variable("GIT_REFERENCE_BACKEND") {
        Some(backend) => RefStorage::Git(backend.to_string_lossy().into_owned()),
        None => storage,
    })
}

/// Refuses a bare repository that was only found, if `safe.bareRepository` is
/// `explicit`. The repository's own configuration cannot set that.
fn check_bare(
    inner: &gix::Repository,
    directory: &Path,
    config: &[ConfigValue],
) -> Result<(), GitError> {
    let last = config
        .iter()
        .rev()
        .find(|value| value.key == "safe.barerepository" && !value.scope.is_repository());
    let is_explicit = match last.map(|last| last.value.as_deref().unwrap_or_default()) {
        None | Some(b"all") => false,
        Some(b"explicit") => true,
        Some(other) => {
            return Err(GitError::Open {
                why: format!(
                    "safe.bareRepository is {:?}, neither \"all\" nor \"explicit\"",
                    other.to_str_lossy()
                ),
            });
        }
    };
    if !is_explicit || variable("GIT_DIR").is_some() {
        return Ok(());
    }
    let canonical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let git_dir = canonical(inner.git_dir());
    // Found as a directory above, not through a `.git` in one.
    let is_found_as_bare = canonical(directory).starts_with(&git_dir);
    let text = git_dir.to_string_lossy();
    let is_of_work_tree = git_dir.ends_with(".git")
        || text.contains("/.git/worktrees/")
        || text.contains("/.git/modules/");
    if is_found_as_bare && !is_of_work_tree {
        return Err(GitError::BareRepository { path: git_dir });
    }
    Ok(())
}
