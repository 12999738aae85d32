//! A home of its own, and commands that see nothing else of the caller's
//! environment.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    GITSEAL,
    process::{Ended, run},
};

/// A folder with a `home` in it.
pub struct Home {
    root: tempfile::TempDir,
    /// Variables for every process, over those that all have.
    pub environment: Vec<(String, String)>,
    removed: Vec<String>,
    /// Whether commits are made at the time of the forge's signatures.
    pub fixed_dates: bool,
}

impl Home {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("home")).unwrap();
        Self {
            root,
            environment: Vec::new(),
            removed: Vec::new(),
            fixed_dates: false,
        }
    }

    /// The folder around the home, in which a test may write.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.path("home").join(name)
    }

    /// Writes a file beside the home.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.removed.retain(|removed| removed != name);
        self.environment.push((name.to_owned(), value.into()));
    }

    pub fn unset(&mut self, name: &str) {
        self.removed.push(name.to_owned());
    }

    pub fn command(&self, program: impl AsRef<OsStr>, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_EDITOR", "true")
            .env("GIT_CEILING_DIRECTORIES", self.root())
            .env("GITSEAL_CREDENTIAL_CACHE", "off")
            .env("GITSEAL_CONFIRM_IDENTITY", "false");
        if self.fixed_dates {
            command
                .env("GIT_AUTHOR_DATE", "1795176000 +0000")
                .env("GIT_COMMITTER_DATE", "1795176000 +0000");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in &self.removed {
            command.env_remove(name);
        }
        command
    }

    pub fn git_at<S: AsRef<OsStr>>(
        &self,
        directory: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Ended {
        run(self.command("git", directory).args(arguments), b"")
    }

    pub fn gitseal_at<S: AsRef<OsStr>>(
        &self,
        directory: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Ended {
        run(self.command(GITSEAL, directory).args(arguments), b"")
    }

    /// Has gitseal sign as Git does. (Git 2.39 discards the messages of a helper
    /// that fails.)
    pub fn sign_at(&self, directory: &Path, payload: &[u8]) -> Ended {
        let mut helper = self.command(GITSEAL, directory);
        run(helper.args(["--status-fd=2", "-bsau", "x"]), payload)
    }

    /// Sets a value of the user's configuration.
    pub fn config(&self, key: &str, value: &str) {
        self.git_at(self.root(), ["config", "--global", key, value])
            .ok();
    }
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
