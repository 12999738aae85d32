//! Which repository a directory belongs to. The library finds it, and Git is asked
//! whether it is the one that Git uses: where a directory of the work tree looks
//! like a repository to Git only, each would read another one.
//!
//! Git is not asked where it starts gitseal for each commit that it shows, as long
//! as [`is_certain`] says that both find the same.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{
    super::{
        git_config::RepositoryFiles,
        git_program::{GitProgramError, RepositoryDirectories},
    },
    error::{GitError, words},
};

/// Variables by which Git finds a repository in ways that are its own.
const DECIDING: [&str; 4] = [
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_OBJECT_DIRECTORY",
];

/// Finds the repository. Of the configuration the library reads the repository's
/// own file only, for its format.
///
/// # Errors
/// Returns [`GitError::NoRepository`] if there is none, and [`GitError::Open`] if it is
/// not readable.
pub(super) fn discover(directory: &Path) -> Result<gix::Repository, GitError> {
    for name in ["GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"] {
        if env::var_os(name).is_some_and(|value| value.is_empty()) {
            let why = format!("{name} is empty");
            return Err(GitError::Open { why });
        }
    }
    let only_repository = |options: gix::open::Options| {
        options.permissions(gix::open::Permissions {
            config: gix::open::permissions::Config {
                env: true,
                ..gix::open::permissions::Config::isolated()
            },
            ..gix::open::Permissions::all()
        })
    };
    let options = gix::sec::trust::Mapping {
        full: only_repository(gix::sec::trust::DefaultForLevel::default_for_level(
            gix::sec::Trust::Full,
        )),
        reduced: only_repository(gix::sec::trust::DefaultForLevel::default_for_level(
            gix::sec::Trust::Reduced,
        )),
    };
    if let Some(git_dir) = relative_git_dir() {
        // The library takes `.` for a work tree.
        let failed = |why: String| GitError::Open { why };
        let path = fs::canonicalize(directory.join(&git_dir));
        let path = path.map_err(|error| failed(format!("{}: {error}", git_dir.display())))?;
        let trust = gix::sec::Trust::from_path_ownership(&path);
        let trust = trust.map_err(|error| failed(error.to_string()))?;
        let options = options.into_value_by_level(trust).open_path_as_is(true);
        return gix::ThreadSafeRepository::open_opts(path, options)
            .map(|repository| repository.to_thread_local())
            .map_err(|error| failed(words(&error)));
    }
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

/// Returns `GIT_DIR` if it is a relative path, as Git sets it for hooks, and nothing
/// else places the work tree.
fn relative_git_dir() -> Option<PathBuf> {
    let git_dir = PathBuf::from(env::var_os("GIT_DIR")?);
    let is_alone = env::var_os("GIT_WORK_TREE").is_none();
    (is_alone && git_dir.is_relative() && !git_dir.as_os_str().is_empty()).then_some(git_dir)
}

/// Compares the repository that was found with Git's. Returns Git's reason where it
/// uses none here.
///
/// # Errors
/// Returns [`GitError::Open`] if Git uses another repository, or gives no answer. That
/// it does not run is no error.
pub(super) fn compare(
    found: Option<&RepositoryFiles>,
    answer: Result<Result<RepositoryDirectories, String>, GitProgramError>,
) -> Result<Option<String>, GitError> {
    let refuse = |why: String| Err(GitError::Open { why });
    let git = match answer {
        Ok(git) => git,
        Err(GitProgramError::Absent | GitProgramError::Start(_)) => return Ok(None),
        Err(error) => return refuse(error.to_string()),
    };
    match (found, git) {
        (None, Err(_)) => Ok(None),
        (Some(found), Err(why)) => Ok(Some(format!(
            "Git does not use {} here: {why}",
            found.git_dir.display()
        ))),
        (None, Ok(git)) => refuse(format!(
            "Git uses {}, which is not found here",
            git.git_dir.display()
        )),
        (Some(found), Ok(git)) => {
            for (found, git) in [
                (&found.git_dir, &git.git_dir),
                (&found.common_dir, &git.common_dir),
            ] {
                if real(found) != real(git) {
                    return refuse(format!(
                        "Git uses {}, but {} is found here",
                        git.display(),
                        found.display()
                    ));
                }
            }
            Ok(None)
        }
    }
}

/// Returns whether Git certainly uses the repository that was found, or none if none
/// was: on the way up to it, nothing else can be a repository to Git
/// (`setup_git_directory_gently_1` and `is_git_directory` in its `setup.c`).
pub(super) fn is_certain(directory: &Path, found: Option<&Path>) -> bool {
    if DECIDING.iter().any(|name| env::var_os(name).is_some()) {
        return false;
    }
    if let Some(git_dir) = env::var_os("GIT_DIR") {
        return Path::new(&git_dir).is_absolute();
    }
    let Ok(start) = std::path::absolute(directory) else {
        return false;
    };
    for directory in start.ancestors() {
        let link = directory.join(".git");
        if exists(&link) {
            return found.is_some_and(|found| is_repository(&link, found));
        }
        if !exists(&directory.join("HEAD")) {
            continue;
        }
        if exists(&directory.join("commondir")) {
            return false;
        }
        if exists(&directory.join("objects")) {
            return found.is_some_and(|found| is_repository(directory, found));
        }
    }
    found.is_none()
}

/// Returns whether this is the repository that was found, and one for every Git.
fn is_repository(path: &Path, found: &Path) -> bool {
    if path.is_file() {
        // Git stops if it leads nowhere.
        return gix::discover::path::from_gitdir_file(path)
            .is_ok_and(|target| real(&target) == real(found));
    }
    let is_head = |text: &[u8]| {
        text.starts_with(b"ref: refs/")
            || text
                .get(..40)
                .is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
    };
    real(path) == real(found)
        && !exists(&path.join("commondir"))
        && path.join("objects").is_dir()
        && path.join("refs").is_dir()
        && fs::read(path.join("HEAD")).is_ok_and(|text| is_head(&text))
}

fn exists(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
