//! The stage: a home, a repository, and processes that cannot hang.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::forge::{self, IDENTITY, ISSUER, Lab, Spec};

pub const GITSEAL: &str = env!("CARGO_BIN_EXE_gitseal");
const DEADLINE: Duration = Duration::from_secs(60);

/// What a process left behind.
#[derive(Debug, Clone)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub fn line(&self) -> &str {
        self.out.trim_end_matches('\n')
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn says(self, what: &str) -> Self {
        assert!(
            self.err.contains(what) || self.out.contains(what),
            "{what:?} is not in {self:?}"
        );
        self
    }
}

pub struct Stage {
    pub lab: Lab,
    root: tempfile::TempDir,
    /// Variables for every process.
    pub environment: Vec<(String, String)>,
}

impl Stage {
    /// A home with a trusted root, and an empty repository `repo` there.
    pub fn new() -> Self {
        let stage = Self::empty();
        stage.git(["init", "-q", "-b", "main", "."]).ok();
        stage
    }

    /// The same with SHA-256.
    pub fn sha256() -> Self {
        let stage = Self::empty();
        stage
            .git(["init", "-q", "-b", "main", "--object-format=sha256", "."])
            .ok();
        stage
    }

    fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("home")).unwrap();
        fs::create_dir(root.path().join("repo")).unwrap();
        let stage = Self {
            lab: Lab::new(),
            root,
            environment: Vec::new(),
        };
        fs::write(stage.home("trusted_root.json"), stage.lab.trusted_root()).unwrap();
        stage.config("gpg.x509.program", GITSEAL);
        stage.config("gpg.format", "x509");
        stage.config("user.name", "Alice");
        stage.config("user.email", IDENTITY);
        stage.config(
            "gitseal.trustedRoot",
            stage.home("trusted_root.json").to_str().unwrap(),
        );
        stage
    }

    /// Who may sign, as the user sets it.
    pub fn name_the_signer(&self, identity: &str) {
        self.config("gitseal.certificateIdentity", identity);
        self.config("gitseal.certificateOidcIssuer", ISSUER);
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.root.path().join("home").join(name)
    }

    pub fn repo(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A value of the user's configuration.
    pub fn config(&self, key: &str, value: &str) {
        self.git_at(self.root.path(), ["config", "--global", key, value])
            .ok();
    }

    /// A value of the repository's configuration.
    pub fn local(&self, key: &str, value: &str) {
        self.git(["config", "--local", key, value]).ok();
    }

    pub fn command(&self, program: &str, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.root.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GITSEAL_CREDENTIAL_CACHE", "off")
            .env("GITSEAL_CONFIRM_IDENTITY", "false")
            .env("GIT_CEILING_DIRECTORIES", self.root.path())
            .env("GIT_AUTHOR_DATE", "1795176000 +0000")
            .env("GIT_COMMITTER_DATE", "1795176000 +0000")
            .envs(self.environment.iter().cloned());
        command
    }

    pub fn git<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        self.git_at(&self.repo(), arguments)
    }

    pub fn git_at<S: AsRef<OsStr>>(
        &self,
        directory: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Ended {
        run(self.command("git", directory).args(arguments), b"")
    }

    pub fn gitseal<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        self.gitseal_at(&self.repo(), arguments)
    }

    pub fn gitseal_at<S: AsRef<OsStr>>(
        &self,
        directory: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Ended {
        run(self.command(GITSEAL, directory).args(arguments), b"")
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

/// Runs a process to its end, which comes in time.
pub fn run(command: &mut Command, input: &[u8]) -> Ended {
    let out = tempfile::NamedTempFile::new().unwrap();
    let err = tempfile::NamedTempFile::new().unwrap();
    let mut fed = tempfile::tempfile().unwrap();
    fed.write_all(input).unwrap();
    std::io::Seek::rewind(&mut fed).unwrap();
    command
        .stdin(Stdio::from(fed))
        .stdout(File::create(out.path()).unwrap())
        .stderr(File::create(err.path()).unwrap());
    let code = wait(command);
    Ended {
        code,
        out: String::from_utf8_lossy(&fs::read(out.path()).unwrap()).into_owned(),
        err: String::from_utf8_lossy(&fs::read(err.path()).unwrap()).into_owned(),
    }
}

/// Starts a process whose streams are set, and waits, no longer than the
/// deadline.
pub fn wait(command: &mut Command) -> i32 {
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if begin.elapsed() > DEADLINE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} did not end in time");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
