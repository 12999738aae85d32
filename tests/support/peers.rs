//! Other implementations: where they are, and a repository whose owner signs
//! against them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    ALICE, PAYLOAD,
    home::Home,
    process::{Ended, run},
    servers::Lab,
    skipped,
};

/// The path of a peer below the folder of `.ci/peers`.
pub fn peer(path: &str) -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = from("GITSEAL_PEERS").unwrap_or_else(|| {
        from("XDG_CACHE_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".cache")))
            .unwrap_or_default()
            .join("gitseal-peers")
    });
    let full = folder.join(path);
    if full.exists() {
        return Some(full);
    }
    skipped(&format!("no {path} (install with .ci/peers)"));
    None
}

/// A program of the system, found by its answer to a harmless argument.
pub fn program(name: &str, version: &str) -> Option<PathBuf> {
    let mut command = Command::new(name);
    command.arg(version).stdin(Stdio::null());
    if command.output().is_ok_and(|output| output.status.success()) {
        return Some(PathBuf::from(name));
    }
    skipped(&format!("no {name} on this machine"));
    None
}

pub fn openssl() -> Option<PathBuf> {
    program("openssl", "version")
}

/// A command of a peer.
pub fn command(home: &Home, program: impl AsRef<OsStr>) -> Command {
    let mut command = home.command(program, home.root());
    command.env("TMPDIR", home.root()).env("LC_ALL", "C.UTF-8");
    command
}

/// Runs, and demands success; returns standard output.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let ended = run(command, b"");
    assert_eq!(ended.code, 0, "{command:?}\n{ended:?}");
    ended.out
}

/// Runs, and demands failure; returns both outputs.
#[track_caller]
pub fn fail(command: &mut Command) -> String {
    let ended = run(command, b"");
    assert_ne!(ended.code, 0, "{command:?}\n{ended:?}");
    ended.out + &ended.err
}

/// A repository whose owner has an identity token.
pub struct Repository<'a> {
    lab: &'a Lab,
    pub path: PathBuf,
    /// The value of `SIGSTORE_ID_TOKEN`.
    pub token: String,
}

impl<'a> Repository<'a> {
    /// A repository of a user with these settings, of a lab without logins.
    pub fn new(lab: &'a Lab, settings: &[(&str, &str)]) -> Self {
        for (key, value) in settings {
            lab.config(key, value);
        }
        Self {
            lab,
            path: lab.repository("repository", &[]),
            token: lab.servers.token(&[]),
        }
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = self.lab.command(program, &self.path);
        command.env("SIGSTORE_ID_TOKEN", &self.token);
        command
    }

    pub fn git<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        run(self.command("git").args(arguments), b"")
    }

    /// A signed commit; returns its id.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        let ended = self.git(["commit", "-S", "--quiet", "--allow-empty", "-m", message]);
        if ended.code != 0 {
            // Git 2.39 discards the messages of the helper.
            let mut helper = self.command(super::GITSEAL);
            let said = run(helper.args(["--status-fd=2", "-bsau", ALICE]), PAYLOAD);
            panic!("git commit -S failed: {ended:?}\nthe helper: {said:?}");
        }
        self.git(["rev-parse", "HEAD"]).ok().line().to_owned()
    }

    /// Verifies with Git and with gitseal, for this identity and not for another.
    #[track_caller]
    pub fn verify(&self, revision: &str, identity: &str, issuer: &str) {
        self.git(["verify-commit", revision]).ok();
        let verify = |identity: &str| {
            let mut command = self.command(super::GITSEAL);
            command
                .args(["verify", revision, "--offline"])
                .args(["--certificate-identity", identity])
                .args(["--certificate-oidc-issuer", issuer]);
            command
        };
        succeed(&mut verify(identity));
        fail(&mut verify("mallory@example.test"));
    }

    /// What was signed and the signature in DER, cut out of the commit by
    /// lines, without any of gitseal's parsers.
    pub fn signed_parts(&self, revision: &str) -> (String, Vec<u8>) {
        use base64::Engine as _;
        let raw = self.git(["cat-file", "commit", revision]).ok().out;
        let (mut payload, mut base64, mut inside) = (String::new(), String::new(), false);
        let mut header = true;
        for line in raw.split_inclusive('\n') {
            if header && line.starts_with("gpgsig ") {
                inside = true;
                continue;
            }
            if inside && let Some(rest) = line.strip_prefix(' ') {
                if !rest.starts_with('-') {
                    base64.push_str(rest.trim_end());
                }
                continue;
            }
            inside = false;
            header &= line != "\n";
            payload.push_str(line);
        }
        let der = base64::engine::general_purpose::STANDARD
            .decode(base64)
            .unwrap();
        (payload, der)
    }
}

/// A script or file of `tests/peers`.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}
