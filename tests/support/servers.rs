//! The reference servers in a process of their own, and a home that points at
//! them.

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    ALICE, GITSEAL, REFERENCE,
    home::Home,
    process::{Ended, Server, run},
};

/// The reference servers in a folder of their own.
pub struct Servers {
    directory: tempfile::TempDir,
    process: Option<Server>,
}

impl Servers {
    /// Starts them and waits until all of them listen.
    pub fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let log = directory.path().join("log");
        let mut command = Command::new(REFERENCE);
        command
            .args(["serve", "--json", "--user", ALICE, "--dir"])
            .arg(&state)
            .args(options);
        let mut process = Server::start(&mut command, log.clone());
        process.wait(|| {
            let said = fs::read_to_string(&log).ok()?;
            let listens = |line: &str| line.starts_with('{') && line.ends_with('}');
            (said.lines().any(listens) && state.join("gitconfig").exists()).then_some(())
        });
        Self {
            directory,
            process: Some(process),
        }
    }

    pub fn stop(&mut self) {
        self.process = None;
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// How many tokens the issuer has issued.
    pub fn logins(&self) -> usize {
        self.log().matches("oidc: token issued user=").count()
    }

    /// How many certificates the authority has issued.
    pub fn certificates(&self) -> usize {
        self.log().matches("fulcio: certificate issued").count()
    }

    /// A file of the servers' `--dir`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("state").join(name)
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(name)).unwrap()).unwrap()
    }

    fn url(&self, kind: &str) -> String {
        let config = self.json("signing_config.json");
        config[kind][0]["url"].as_str().unwrap().to_owned()
    }

    pub fn fulcio(&self) -> String {
        self.url("caUrls")
    }

    pub fn rekor(&self) -> String {
        self.url("rekorTlogUrls")
    }

    pub fn issuer(&self) -> String {
        self.url("oidcUrls")
    }

    /// The full URL of the timestamp endpoint.
    pub fn tsa(&self) -> String {
        self.url("tsaUrls")
    }

    pub fn trusted_root(&self) -> Value {
        self.json("trusted_root.json")
    }

    /// An identity token of the issuer for Alice.
    pub fn token(&self, more: &[&str]) -> String {
        let mut command = Command::new(REFERENCE);
        command
            .args(["token", "--user", ALICE, "--dir"])
            .arg(self.file(""))
            .args(more);
        run(&mut command, b"").ok().line().to_owned()
    }
}

/// The reference servers, and the home of a user who signs with them.
pub struct Lab {
    home: Home,
    pub servers: Servers,
}

impl Deref for Lab {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Home {
        &mut self.home
    }
}

impl Lab {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts the servers with further options; who may sign is set.
    pub fn start_with(options: &[&str]) -> Self {
        let lab = Self::new(options);
        lab.config("gitseal.tokenProvider", "headless");
        lab.config("gitseal.certificateIdentity", ALICE);
        lab.config("gitseal.certificateOidcIssuer", &lab.servers.issuer());
        lab
    }

    /// A user whose tokens come from elsewhere.
    pub fn without_login() -> Self {
        let lab = Self::new(&[]);
        for key in ["gitseal.tokenProvider", "gitseal.loginHint"] {
            lab.git(lab.root(), &["config", "--global", "--unset", key]);
        }
        lab
    }

    fn new(options: &[&str]) -> Self {
        let servers = Servers::start(options);
        let mut home = Home::new();
        let global = home.home(".gitconfig");
        fs::copy(servers.file("gitconfig"), &global).unwrap();
        home.set("GIT_CONFIG_GLOBAL", global.to_str().unwrap());
        for (key, value) in [
            ("user.name", "Alice"),
            ("user.email", ALICE),
            ("gpg.format", "x509"),
            ("gpg.x509.program", GITSEAL),
            ("init.defaultBranch", "main"),
            ("advice.detachedHead", "false"),
        ] {
            home.config(key, value);
        }
        Self { home, servers }
    }

    pub fn stop(&mut self) {
        self.servers.stop();
    }

    pub fn issuer(&self) -> String {
        self.servers.issuer()
    }

    /// Runs Git, which must succeed, and returns its output.
    #[track_caller]
    pub fn git(&self, directory: &Path, arguments: &[&str]) -> String {
        let ended = self.git_at(directory, arguments);
        assert_eq!(ended.code, 0, "git {arguments:?}: {ended:?}");
        ended.out
    }

    /// Makes a repository in a folder of this name.
    pub fn repository(&self, name: &str, more: &[&str]) -> PathBuf {
        self.git(self.root(), &[&["init", "-q", name], more].concat());
        self.path(name)
    }

    /// Makes a signed commit without changes.
    pub fn commit(&self, directory: &Path, message: &str) -> Ended {
        let arguments = ["commit", "-q", "--allow-empty", "-S", "-m", message];
        self.git_at(directory, arguments)
    }

    #[track_caller]
    pub fn good(&self, directory: &Path, revision: &str) {
        let said = self.git_at(directory, ["verify-commit", "--raw", revision]);
        for part in ["GOODSIG ", "TRUST_FULLY", ALICE] {
            assert!(
                said.code == 0 && said.err.contains(part),
                "{revision}: {said:?}"
            );
        }
    }
}
