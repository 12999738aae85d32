//! Whether a repository's own configuration counts: it belongs to the user, or
//! `safe.directory` names it.
//!
//! Git checks this for a repository that it finds, and lists nothing of another
//! user's. It does not check one that `GIT_DIR` names, which is what a hook gets.

use std::path::{Path, PathBuf};

use super::{
    super::git_config::{ConfigValue, RepositoryFiles},
    variable,
};

/// Returns whether the repository's own configuration counts, and removes it from
/// the list if it does not.
pub(super) fn check(files: &RepositoryFiles, config: &mut Vec<ConfigValue>) -> bool {
    let is_trusted = files.is_owned
        || if variable("GIT_DIR").is_some() {
            is_safe(
                files,
                config,
                variable("HOME").map(PathBuf::from).as_deref(),
            )
        } else {
            config.iter().any(|value| value.scope.is_repository())
        };
    if !is_trusted {
        config.retain(|value| !value.scope.is_repository());
    }
    is_trusted
}

/// Returns whether `safe.directory` outside repository configuration names the
/// repository: by a path, a path and `/*` for all below it, or `*`. An empty value
/// clears those before it (`safe_directory_cb` in Git's `setup.c`).
fn is_safe(files: &RepositoryFiles, config: &[ConfigValue], home: Option<&Path>) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let paths: Vec<PathBuf> = [Some(&files.git_dir), files.work_tree.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| real(path))
        .collect();
    let mut is_safe = false;
    for value in config {
        if value.key != "safe.directory" || value.scope.is_repository() {
            continue;
        }
        let text = String::from_utf8_lossy(value.value.as_deref().unwrap_or_default());
        is_safe = match text.as_ref() {
            "" => false,
            "*" => true,
            text => {
                let (directory, is_parent) = match text.strip_suffix("/*") {
                    Some(parent) => (parent, true),
                    None => (text, false),
                };
                let directory = match (directory.strip_prefix("~/"), home) {
                    (Some(rest), Some(home)) => home.join(rest),
                    _ => PathBuf::from(directory),
                };
                let named = real(&directory);
                let names = |path: &PathBuf| match is_parent {
                    true => path.starts_with(&named) && *path != named,
                    false => *path == named,
                };
                is_safe || (directory.is_absolute() && paths.iter().any(names))
            }
        };
    }
    is_safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::git_config::ConfigScope;

    #[test]
    fn safe_directories_as_git_reads_them() {
        let files = RepositoryFiles {
            git_dir: PathBuf::from("/srv/r/.git"),
            common_dir: PathBuf::from("/srv/r/.git"),
            work_tree: Some(PathBuf::from("/srv/r")),
            is_owned: false,
        };
        let value = |text: &str, scope| ConfigValue {
            key: "safe.directory".to_owned(),
            value: Some(text.as_bytes().to_vec()),
            scope,
            file: None,
        };
        let is_safe = |texts: &[&str]| {
            let config: Vec<ConfigValue> = texts
                .iter()
                .map(|text| value(text, ConfigScope::Global))
                .collect();
            is_safe(&files, &config, Some(Path::new("/srv")))
        };
        for yes in [
            &["/srv/r"][..],
            &["/srv/r/.git"],
            &["*"],
            &["/srv/*"],
            &["~/r"],
            &["/srv/r", "/other"],
            &["", "/srv/r"],
        ] {
            assert!(is_safe(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &["/srv"],
            &["/srv/r2", "/srv/r/.git/*"],
            &["/srv/r", ""],
            &["r"],
            &["."],
        ] {
            assert!(!is_safe(no), "{no:?}");
        }
        let own = [value("*", ConfigScope::Local)];
        assert!(!super::is_safe(&files, &own, None));
    }
}
