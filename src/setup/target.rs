//! The two files that setup writes: gitseal's settings file, and Git's
//! configuration file, which gets one `include.path` for it.
//!
//! `git config` writes both, so quoting, locks and symbolic links are Git's
//! business. The settings file is replaced as a whole.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::SetupError;
use crate::host::{
    git::Workspace,
    git_config::ConfigScope,
    git_program::{self, ConfigListing},
    user_directories,
};

/// The longest time that setup waits for Git's lock on its configuration.
pub const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A section under which the include is added, before it is renamed: Git adds
/// a value to the section of that name, which may be anywhere, but a new
/// section at the end, where its values win over those before.
const NEW_SECTION: &str = "gitseal-setup";

/// A configuration file of Git, and the settings file that it includes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The scope of Git's configuration that the file is for.
    pub(super) scope: ConfigScope,
    /// Git's configuration file, absolute.
    pub(super) config: PathBuf,
    /// The file with gitseal's settings, absolute.
    pub(super) settings: PathBuf,
    /// The value of `include.path`.
    pub(super) include: String,
}

impl Target {
    /// Finds the files of a scope, where Git would look for them.
    ///
    /// # Errors
    /// Returns an error if there is no home directory, no repository, one of
    /// another user, or no answer from Git.
    pub(super) fn find(scope: ConfigScope) -> Result<Self, SetupError> {
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|error| SetupError::io("find", &path, &error))
        };
        let beside = |config: &Path| config.with_file_name("gitseal");
        let (config, directory) = match scope {
            ConfigScope::System => {
                let config = absolute(git_program::system_file(Path::new("."))?)?;
                let directory = beside(&config);
                (config, directory)
            }
            ConfigScope::Local | ConfigScope::Worktree => {
                let workspace = Workspace::open(Path::new("."))?;
                let repository = workspace.repository()?;
                if !repository.is_owned_by_user() {
                    return Err(SetupError::NotOwn);
                }
                let common = repository.config_file();
                let common = common.parent().unwrap_or(Path::new("."));
                let common = common
                    .canonicalize()
                    .map_err(|error| SetupError::io("find", common, &error))?;
                (common.join("config"), common.join("gitseal"))
            }
            ConfigScope::Global | ConfigScope::Command => match variable("GIT_CONFIG_GLOBAL") {
                Some(config) => {
                    let config = absolute(config)?;
                    let directory = beside(&config);
                    (config, directory)
                }
                None => (
                    global_file()?,
                    user_directories::config().ok_or(SetupError::NoHome)?,
                ),
            },
        };
        let settings = directory.join("gitconfig");
        // A relative path stays right when the repository is moved.
        let include = if scope == ConfigScope::Local {
            "gitseal/gitconfig".to_owned()
        } else {
            let path = settings.to_str().ok_or_else(|| SetupError::Write {
                path: settings.clone(),
                reason: "the path is not UTF-8".to_owned(),
            })?;
            path.to_owned()
        };
        Ok(Self {
            scope,
            config,
            settings,
            include,
        })
    }

    /// Returns the directory of the settings file.
    pub(super) fn directory(&self) -> &Path {
        self.settings.parent().unwrap_or(Path::new("/"))
    }

    /// Lists the values that Git's file sets, itself and by its includes.
    pub(super) fn listed(&self) -> Result<Vec<ConfigListing>, SetupError> {
        list(&self.config)
    }

    /// Lists the values in the settings file.
    pub(super) fn stored(&self) -> Result<Vec<ConfigListing>, SetupError> {
        list(&self.settings)
    }

    /// Returns whether a listed value is in the settings file.
    pub(super) fn is_ours(&self, listed: &ConfigListing) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        real(Path::new(&listed.origin)) == real(&self.settings)
    }

    /// Returns whether a listed value is the include of the settings file.
    pub(super) fn is_include(&self, listed: &ConfigListing) -> bool {
        listed.key == "include.path" && listed.value.as_ref() == Some(&self.include)
    }

    /// Returns whether a listed value was left by a run that did not finish.
    pub(super) fn is_unfinished(listed: &ConfigListing) -> bool {
        listed.key.split('.').next() == Some(NEW_SECTION)
    }

    /// Checks that Git's file may be written.
    ///
    /// # Errors
    /// Returns [`SetupError::ReadOnly`] if its mode forbids that.
    pub(super) fn check_writable(&self) -> Result<(), SetupError> {
        match fs::metadata(&self.config) {
            Ok(facts) if facts.permissions().readonly() => Err(SetupError::ReadOnly {
                path: self.config.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Replaces the settings file.
    pub(super) fn store<'a>(
        &self,
        entries: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), SetupError> {
        replace(&self.settings, |new| {
            for (key, value) in entries {
                git_config(new, &["--add", "--", key, value])?;
            }
            Ok(())
        })
    }

    /// Includes the settings file at the end of Git's file.
    pub(super) fn add_include(&self) -> Result<(), SetupError> {
        if ends_in_empty_include(&self.config) {
            return git_config(
                &self.config,
                &["--add", "--", "include.path", &self.include],
            );
        }
        let key = format!("{NEW_SECTION}.path");
        git_config(&self.config, &["--replace-all", "--", &key, &self.include])?;
        git_config(&self.config, &["--rename-section", NEW_SECTION, "include"])
    }

    /// Removes the include, and what an unfinished run left.
    pub(super) fn remove_include(&self, listed: &[ConfigListing]) -> Result<(), SetupError> {
        if listed.iter().any(Self::is_unfinished) {
            git_config(&self.config, &["--remove-section", NEW_SECTION])?;
        }
        if !listed.iter().any(|value| self.is_include(value)) {
            return Ok(());
        }
        git_config(
            &self.config,
            &[
                "--fixed-value",
                "--unset-all",
                "include.path",
                &self.include,
            ],
        )?;
        // Git leaves the section where a comment precedes it.
        let text = fs::read(&self.config)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let sections = text.windows(8).filter(|window| window == b"[include");
        if sections.count() == 1 && ends_in_empty_include(&self.config) {
            git_config(&self.config, &["--remove-section", "include"])?;
        }
        Ok(())
    }

    /// Removes the settings file, and what has become empty with it.
    pub(super) fn clean_up(&self) -> Result<(), SetupError> {
        remove(&self.settings)?;
        // Only if nothing else is in it.
        let _ = fs::remove_dir(self.directory());
        match fs::symlink_metadata(&self.config) {
            Ok(facts) if facts.is_file() && facts.len() == 0 => remove(&self.config),
            _ => Ok(()),
        }
    }
}

/// Writes a file as a whole, readable by all users; creates its directory.
/// `fill` gets the path of an empty file beside it.
pub(super) fn replace(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), SetupError>,
) -> Result<(), SetupError> {
    let failed = |error: io::Error| SetupError::io("write", path, &error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(failed)?;
    let new = tempfile::Builder::new()
        .prefix(".gitseal-")
        .tempfile_in(directory)
        .map_err(failed)?
        .into_temp_path();
    fill(&new)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).map_err(failed)?;
    }
    File::open(&new)
        .and_then(|file| file.sync_all())
        .map_err(failed)?;
    new.persist(path).map_err(|error| failed(error.error))?;
    // Not every system can sync a directory.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Removes a file; a missing one is no error.
pub(super) fn remove(path: &Path) -> Result<(), SetupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SetupError::io("remove", path, &error))
        }
        _ => Ok(()),
    }
}

fn list(file: &Path) -> Result<Vec<ConfigListing>, SetupError> {
    if file.exists() {
        Ok(git_program::file_configuration(file)?)
    } else {
        Ok(Vec::new())
    }
}

/// Runs `git config --file FILE`; waits for a lock that another program holds.
fn git_config(file: &Path, arguments: &[&str]) -> Result<(), SetupError> {
    let mut all = vec!["config".as_ref(), "--file".as_ref(), file.as_os_str()];
    all.extend(
        arguments
            .iter()
            .map(|argument| AsRef::<std::ffi::OsStr>::as_ref(*argument)),
    );
    let begun = Instant::now();
    loop {
        let answer = git_program::run(Path::new("."), &all, &[])?;
        if answer.code == Some(0) {
            return Ok(());
        }
        let is_locked = answer.err.contains("could not lock") && answer.err.contains("File exists");
        if !is_locked {
            let line = answer.err.lines().next().unwrap_or_default();
            return Err(SetupError::Write {
                path: file.to_owned(),
                reason: line.trim_start_matches("error: ").to_owned(),
            });
        }
        if begun.elapsed() >= LOCK_WAIT {
            let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
            return Err(SetupError::Locked {
                path: file.to_owned(),
                lock: PathBuf::from(format!("{}.lock", target.display())),
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn ends_in_empty_include(file: &Path) -> bool {
    fs::read(file).is_ok_and(|text| text.trim_ascii_end().ends_with(b"\n[include]"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// `~/.gitconfig`, unless only the one in `$XDG_CONFIG_HOME/git` exists
/// (`git-config(1)`).
fn global_file() -> Result<PathBuf, SetupError> {
    let home = variable("HOME")
        .or_else(|| variable("USERPROFILE").filter(|_| cfg!(windows)))
        .ok_or(SetupError::NoHome)?;
    let usual = home.join(".gitconfig");
    let other = variable("XDG_CONFIG_HOME")
        .unwrap_or_else(|| home.join(".config"))
        .join("git")
        .join("config");
    Ok(if !usual.exists() && other.exists() {
        other
    } else {
        usual
    })
}
