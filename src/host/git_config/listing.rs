//! The configuration as Git lists it.

use std::path::{Path, PathBuf};

use super::{ConfigScope, ConfigValue, RepositoryFiles};
use crate::host::git_program::{self, GitProgramError};

/// Lists all values in the order of ascending precedence, as Git reads them in a
/// directory.
///
/// # Errors
/// Returns [`GitProgramError`] if Git does not run, fails on its configuration, or
/// lists it in another form.
pub fn list(
    directory: &Path,
    repository: Option<&RepositoryFiles>,
) -> Result<Vec<ConfigValue>, GitProgramError> {
    let listed = git_program::list_configuration(directory, &[])?;
    let mut values = listed
        .into_iter()
        .map(|listed| {
            Ok(ConfigValue {
                scope: scope(&listed.scope)?,
                file: file(&listed.origin),
                key: listed.key,
                value: listed.value,
            })
        })
        .collect::<Result<Vec<_>, GitProgramError>>()?;
    make_absolute(&mut values, directory, repository)?;
    Ok(values)
}

fn scope(name: &str) -> Result<ConfigScope, GitProgramError> {
    [
        ConfigScope::System,
        ConfigScope::Global,
        ConfigScope::Local,
        ConfigScope::Worktree,
        ConfigScope::Command,
    ]
    .into_iter()
    .find(|scope| scope.name() == name)
    .ok_or_else(|| failed(format!("unknown scope {name:?}")))
}

fn failed(why: String) -> GitProgramError {
    GitProgramError::Failed {
        what: "config --list".to_owned(),
        why,
    }
}

fn file(origin: &[u8]) -> Option<PathBuf> {
    origin.strip_prefix(b"file:").map(git_program::path)
}

/// Completes relative files. Git names the repository's file relative to the
/// directory that it changed to: the top of the work tree, the Git directory, or
/// none; that the file is the repository's shows which.
fn make_absolute(
    values: &mut [ConfigValue],
    directory: &Path,
    repository: Option<&RepositoryFiles>,
) -> Result<(), GitProgramError> {
    let local = values
        .iter()
        .find(|value| value.scope == ConfigScope::Local)
        .and_then(|value| value.file.clone());
    let Some(local) = local else { return Ok(()) };
    let Some(repository) = repository else {
        return Err(failed(format!(
            "it reads the repository of {}, which is not found here",
            local.display()
        )));
    };
    let current = std::path::absolute(directory).unwrap_or_default();
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let expected = real(&repository.common_dir.join("config"));
    let base = [
        repository.work_tree.as_deref(),
        Some(repository.git_dir.as_path()),
        Some(current.as_path()),
    ]
    .into_iter()
    .flatten()
    .find(|base| expected.is_some() && real(&base.join(&local)) == expected);
    let Some(base) = base else {
        return Err(failed(format!(
            "it reads {}, which is not the configuration of {}",
            local.display(),
            repository.common_dir.display()
        )));
    };
    for value in values {
        if let Some(file) = value.file.as_mut().filter(|file| file.is_relative()) {
            *file = base.join(&*file);
        }
    }
    Ok(())
}
