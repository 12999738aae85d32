//! `git push --signed`: git's own certificate, signed by gitseal, and what the
//! gate makes of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::support::{ALICE, GITSEAL, servers::Lab};

/// A server that asks for certificates, and whose policy lets one person delete.
struct Yard {
    lab: Lab,
    server: PathBuf,
    clone: PathBuf,
}

impl Yard {
    fn new(who_deletes: &str) -> Self {
        let lab = Lab::start();
        let clone = lab.repository("clone", &[]);
        let server = lab.repository("server.git", &["--bare"]);
        lab.git(
            &server,
            &["config", "receive.certNonceSeed", "of the tests"],
        );
        lab.git(&clone, &["remote", "add", "origin", "../server.git"]);
        let policy = format!(
            "version = 2\n[signers.alice]\nissuer = \"{issuer}\"\nidentity = \"{ALICE}\"\n\
             [signers.bob]\nissuer = \"{issuer}\"\nidentity = \"bob@example.test\"\n\
             accounts = [\"bob\"]\n\
             [[rules]]\nname = \"branches\"\nrefs = [\"refs/heads/**\"]\n\
             commit = [\"alice\"]\ncreate = [\"anyone\"]\ndelete = [\"{who_deletes}\"]\n",
            issuer = lab.issuer()
        );
        fs::write(lab.path("policy.toml"), policy).unwrap();
        let yard = Self { lab, server, clone };
        yard.hook("");
        yard.lab.git(
            &yard.clone,
            &["commit", "-q", "-S", "--allow-empty", "-m", "first"],
        );
        for branch in ["main", "one", "two", "three"] {
            let spec = format!("HEAD:refs/heads/{branch}");
            yard.lab.git(&yard.clone, &["push", "-q", "origin", &spec]);
        }
        yard
    }

    /// Installs the hook; `before`: what its script does first.
    fn hook(&self, before: &str) {
        let path = self.server.join("hooks/pre-receive");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let script = format!(
            "#!/bin/sh\n{before}\nexec {GITSEAL} pre-receive --policy {}\n",
            self.lab.path("policy.toml").display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[track_caller]
    fn deletes(&self, signed: &str, branch: &str) {
        let spec = format!(":refs/heads/{branch}");
        self.lab
            .git(&self.clone, &["push", "-q", signed, "origin", &spec]);
        assert!(!self.has(branch));
    }

    #[track_caller]
    fn refused(&self, signed: &str, branch: &str, words: &[&str]) {
        let spec = format!(":refs/heads/{branch}");
        let said = self
            .lab
            .git_at(&self.clone, ["push", "-q", signed, "origin", &spec]);
        let err = said.err;
        assert_ne!(said.code, 0, "{err}");
        for words in words {
            assert!(err.contains(words), "{words:?} is not in:\n{err}");
        }
        assert!(self.has(branch));
    }

    fn has(&self, branch: &str) -> bool {
        let name = format!("refs/heads/{branch}");
        let arguments: &[&str] = &["show-ref", "--verify", "-q", &name];
        self.lab.git_at(&self.server, arguments).code == 0
    }

    /// The blobs of the server that are certificates.
    fn certificates(&self) -> Vec<String> {
        let all = self.lab.git(
            &self.server,
            &["cat-file", "--batch-all-objects", "--batch-check"],
        );
        all.lines()
            .filter(|line| line.contains(" blob "))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .filter(|id| {
                self.lab
                    .git(&self.server, &["cat-file", "blob", id])
                    .starts_with("certificate version")
            })
            .collect()
    }

    fn write(&self, content: &str) -> String {
        let file = self.lab.path("blob");
        fs::write(&file, content).unwrap();
        let path: &Path = &file;
        self.lab
            .git(
                &self.server,
                &["hash-object", "-w", "-t", "blob", path.to_str().unwrap()],
            )
            .trim()
            .to_owned()
    }
}

#[test]
fn a_signed_push_says_who_pushes() {
    let yard = Yard::new("alice");
    yard.refused("--no-signed", "one", &["[pusher-unknown]"]);
    yard.deletes("--signed", "one");
    // The certificate goes before whatever account is named.
    yard.hook("export GL_USERNAME=bob");
    yard.deletes("--signed", "two");
    yard.refused(
        "--no-signed",
        "three",
        &["bob may not", "[pusher-not-allowed]"],
    );
}

#[test]
fn a_signed_push_of_somebody_else() {
    let yard = Yard::new("bob");
    yard.refused(
        "--signed",
        "one",
        &["the push's signer may not delete", "[pusher-not-allowed]"],
    );
    // An account does not help somebody who says that they are another.
    yard.hook("export GL_USERNAME=bob");
    yard.refused("--signed", "one", &["[pusher-not-allowed]"]);
    yard.deletes("--no-signed", "one");
}

#[test]
fn a_certificate_that_is_not_of_this_push() {
    let yard = Yard::new("alice");
    yard.deletes("--signed", "one");
    let before = yard.certificates();
    let [earlier] = before.as_slice() else {
        panic!("one certificate: {before:?}");
    };
    let is_not_good = |hook: &str, words: &str| {
        yard.hook(hook);
        yard.refused(
            "--signed",
            "two",
            &[
                "[pusher-unknown]",
                "the push certificate does not verify",
                words,
            ],
        );
    };
    is_not_good(
        "export GIT_PUSH_CERT_NONCE_STATUS=BAD",
        "the status of its nonce as BAD",
    );
    is_not_good(
        "unset GIT_PUSH_CERT_NONCE_STATUS",
        "the status of its nonce as missing",
    );
    is_not_good(
        "export GIT_PUSH_CERT_NONCE=another",
        "its nonce is not the one that the server issued",
    );
    is_not_good(
        &format!("export GIT_PUSH_CERT={}", "0".repeat(40)),
        "0000000000",
    );
    // The certificate of an earlier push, with its nonce.
    let text = yard.lab.git(&yard.server, &["cat-file", "blob", earlier]);
    let nonce = text
        .lines()
        .find_map(|line| line.strip_prefix("nonce "))
        .unwrap()
        .to_owned();
    is_not_good(
        &format!("export GIT_PUSH_CERT={earlier} GIT_PUSH_CERT_NONCE={nonce}"),
        "it does not contain this update of refs/heads/two",
    );
    // The same, made to fit: then it is not what was signed.
    let tampered = yard.write(&text.replace("refs/heads/one", "refs/heads/two"));
    is_not_good(
        &format!("export GIT_PUSH_CERT={tampered} GIT_PUSH_CERT_NONCE={nonce}"),
        "digest",
    );
    let unsigned = yard.write(text.split("-----BEGIN").next().unwrap());
    is_not_good(
        &format!("export GIT_PUSH_CERT={unsigned} GIT_PUSH_CERT_NONCE={nonce}"),
        "it is not signed",
    );
    yard.hook("");
    yard.deletes("--signed", "two");
}
