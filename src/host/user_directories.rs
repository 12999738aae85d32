//! The user's directories for gitseal's files: state, configuration and cache.
//!
//! They follow the XDG Base Directory Specification, and the system's own
//! conventions on macOS and Windows. None of them exists until it is needed.

use std::{env, path::PathBuf};

use directories::ProjectDirs;

/// Returns the directory for files that last between runs.
#[must_use]
pub fn state() -> Option<PathBuf> {
    let directories = project()?;
    let directory = directories
        .state_dir()
        .unwrap_or_else(|| directories.data_local_dir());
    Some(directory.to_owned())
}

/// Returns the directory for configuration files.
#[must_use]
pub fn config() -> Option<PathBuf> {
    Some(project()?.config_dir().to_owned())
}

/// Returns the directory for files that can be fetched again.
#[must_use]
pub fn cache() -> Option<PathBuf> {
    Some(project()?.cache_dir().to_owned())
}

/// Without HOME `directories` looks up the user database, whose home directory
/// may be another one than the caller removed from the environment.
fn project() -> Option<ProjectDirs> {
    if cfg!(unix) {
        env::var_os("HOME").filter(|home| !home.is_empty())?;
    }
    ProjectDirs::from("", "", "gitseal")
}
