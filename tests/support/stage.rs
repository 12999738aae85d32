//! A repository with a trusted root of its own, and commits that the forge
//! signs.

use std::{
    ffi::OsStr,
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

#[allow(unused_imports, reason = "each test program uses a part")]
pub use super::{
    GITSEAL,
    process::{Ended, run, wait},
};
use super::{
    forge::{self, IDENTITY, ISSUER, Lab, Spec},
    home::Home,
};

/// A home, and a repository `repo` beside it.
pub struct Stage {
    home: Home,
    pub lab: Lab,
}

impl Deref for Stage {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Home {
        &mut self.home
    }
}

impl Stage {
    /// A home that trusts the forge, and an empty repository.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// The same with SHA-256.
    pub fn sha256() -> Self {
        Self::with(&["--object-format=sha256"])
    }

    fn with(more: &[&str]) -> Self {
        let mut stage = Self::bare(more);
        stage.home.fixed_dates = true;
        let trusted_root = stage.home("trusted_root.json");
        fs::write(&trusted_root, stage.lab.trusted_root()).unwrap();
        for (key, value) in [
            ("gpg.x509.program", GITSEAL),
            ("gpg.format", "x509"),
            ("user.name", "Alice"),
            ("user.email", IDENTITY),
            ("gitseal.trustedRoot", trusted_root.to_str().unwrap()),
        ] {
            stage.config(key, value);
        }
        stage
    }

    /// A home without any configuration, and an empty repository.
    fn bare(more: &[&str]) -> Self {
        let stage = Self {
            home: Home::new(),
            lab: Lab::new(),
        };
        fs::create_dir(stage.repo()).unwrap();
        stage
            .git([&["init", "-q", "-b", "main", "."], more].concat())
            .ok();
        stage
    }

    /// The same with gitseal's own defaults.
    pub fn untouched() -> Self {
        let mut stage = Self::bare(&[]);
        stage.unset("GITSEAL_CREDENTIAL_CACHE");
        stage.unset("GITSEAL_CONFIRM_IDENTITY");
        stage
    }

    /// Git's value of a key.
    #[track_caller]
    pub fn value(&self, key: &str) -> String {
        let ended = self.git(["config", "--get", key]).ok();
        ended.line().trim().to_owned()
    }

    /// The value of a setting that gitseal itself reads.
    #[track_caller]
    pub fn effective(&self, name: &str) -> String {
        let version = self.gitseal(["version", "--json"]).ok().json();
        let value = version["settings"][name]["value"].as_str();
        value.unwrap_or_else(|| panic!("{version:#}")).to_owned()
    }

    /// Who may sign, as the user sets it.
    pub fn name_the_signer(&self, identity: &str) {
        self.config("gitseal.certificateIdentity", identity);
        self.config("gitseal.certificateOidcIssuer", ISSUER);
    }

    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    /// A value of the repository's configuration.
    pub fn local(&self, key: &str, value: &str) {
        self.git(["config", "--local", key, value]).ok();
    }

    pub fn git<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        self.git_at(&self.repo(), arguments)
    }

    pub fn gitseal<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        self.gitseal_at(&self.repo(), arguments)
    }

    /// `gitseal verify REV` with the signer named.
    pub fn verify_at(&self, directory: &Path, revision: &str) -> Ended {
        self.gitseal_at(
            directory,
            [
                "verify",
                revision,
                "--offline",
                "--certificate-identity",
                IDENTITY,
                "--certificate-oidc-issuer",
                ISSUER,
            ],
        )
    }

    pub fn verify(&self, revision: &str) -> Ended {
        self.verify_at(&self.repo(), revision)
    }

    /// Runs the helper as git does: the signature in a file, the payload on
    /// standard input.
    pub fn helper(&self, arguments: &[&str], signature: &str, payload: &[u8]) -> Ended {
        let file = self.home("signature");
        fs::write(&file, signature).unwrap();
        let mut command = self.command(GITSEAL, &self.repo());
        for argument in arguments {
            if *argument == "FILE" {
                command.arg(&file);
            } else {
                command.arg(argument);
            }
        }
        run(&mut command, payload)
    }

    /// Writes an object as it is.
    pub fn write(&self, kind: &str, raw: &[u8]) -> String {
        self.write_at(&self.repo(), kind, raw)
    }

    pub fn write_at(&self, directory: &Path, kind: &str, raw: &[u8]) -> String {
        let mut command = self.command("git", directory);
        command.args(["hash-object", "-w", "--literally", "--stdin", "-t", kind]);
        run(&mut command, raw).ok().line().to_owned()
    }

    /// Makes an unsigned commit with git and gives its payload.
    pub fn payload(&self, message: &str) -> Vec<u8> {
        self.git([
            "commit",
            "-q",
            "--allow-empty",
            "--no-gpg-sign",
            "-m",
            message,
        ])
        .ok();
        let id = self.git(["rev-parse", "HEAD"]).ok();
        let shown = self.git(["cat-file", "commit", id.line()]).ok();
        shown.out.into_bytes()
    }

    /// A commit on the current branch, signed by the forge, with one thing
    /// changed.
    pub fn commit_with(&self, message: &str, change: impl FnOnce(&mut Spec)) -> String {
        let payload = self.payload(message);
        let signature = self.lab.sign_with(&payload, change);
        self.place(&forge::commit_object(&payload, &signature))
    }

    /// A commit on the current branch, signed by the forge.
    pub fn commit(&self, message: &str) -> String {
        self.commit_with(message, |_| {})
    }

    /// Puts a commit object in the place of the one at HEAD.
    pub fn place(&self, raw: &[u8]) -> String {
        let id = self.write("commit", raw);
        self.git(["update-ref", "HEAD", &id]).ok();
        id
    }

    /// A tag of HEAD, signed by the forge.
    pub fn tag(&self, name: &str) -> String {
        let head = self.git(["rev-parse", "HEAD"]).ok();
        let payload = format!(
            "object {}\ntype commit\ntag {name}\ntagger Alice <{IDENTITY}> 1795176000 +0000\n\nA release\n",
            head.line()
        );
        let signature = self.lab.sign_with(payload.as_bytes(), |_| {});
        let id = self.write("tag", format!("{payload}{signature}").as_bytes());
        self.git(["update-ref", &format!("refs/tags/{name}"), &id])
            .ok();
        id
    }

    /// What git shows of a commit's signature.
    pub fn shown(&self, revision: &str) -> String {
        self.git([
            "log",
            "-1",
            "--no-walk",
            "--format=%G?|%GS|%GK|%GF|%GP|%GT",
            revision,
        ])
        .ok()
        .line()
        .to_owned()
    }
}
