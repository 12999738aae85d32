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

/// Break-glass: a signer whom the policy names pushes what it refuses, and the log has
/// the reason.
#[test]
fn a_signed_push_overrides_and_is_logged() {
    let yard = Yard::new("alice");
    let log = yard.lab.path("results.jsonl");
    let file = yard.lab.path("policy.toml");
    let config = |key: &str, value: &str| {
        yard.lab.git(&yard.server, &["config", key, value]);
    };
    config("receive.advertisePushOptions", "true");
    yard.lab.git(
        &yard.clone,
        &[
            "commit",
            "-q",
            "--no-gpg-sign",
            "--allow-empty",
            "-m",
            "hotfix",
        ],
    );
    let push = |signed: &str, option: &str| {
        let option = format!("gitseal.override={option}");
        yard.lab.git_at(
            &yard.clone,
            [
                "push",
                signed,
                "-o",
                &option,
                "origin",
                "HEAD:refs/heads/hotfix",
            ],
        )
    };
    let denied = |signed: &str, option: &str, why: &str| {
        let said = push(signed, option);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(said.err.contains("[unsigned]"), "{said:?}");
        let denied = format!("the override is denied: {why}");
        assert!(
            said.err.contains(&denied),
            "{denied} is not in:\n{}",
            said.err
        );
        assert!(!yard.has("hotfix"));
    };
    denied("--signed", "INC-1: login", "gitseal.verdictLog is not set");
    config("gitseal.verdictLog", log.to_str().unwrap());
    denied("--signed", "INC-1: login", "the policy has no override");
    let policy = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{policy}[override]\nby = [\"bob\"]\n")).unwrap();
    denied("--signed", "INC-1: login", "only bob may override");
    fs::write(&file, format!("{policy}[override]\nby = [\"alice\"]\n")).unwrap();
    denied("--no-signed", "INC-1: login", "the push is not signed");
    denied("--signed", "", "it needs a reason");
    // Where it cannot be logged, nothing is let in.
    config("gitseal.verdictLog", yard.server.to_str().unwrap());
    let said = push("--signed", "INC-1: login");
    assert_ne!(said.code, 0);
    assert!(
        said.err.contains("cannot write the log of results"),
        "{said:?}"
    );
    config("gitseal.verdictLog", log.to_str().unwrap());

    let said = push("--signed", "INC-1: login");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err
            .contains("overridden by alice: INC-1: login [override]"),
        "{said:?}"
    );
    assert!(said.err.contains("warning: ") && said.err.contains("[unsigned]"));
    assert!(yard.has("hotfix"));
    let lines = fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(
        (&lines[0]["exit"], &lines[0]["override"]),
        (&1.into(), &().into())
    );
    let last = &lines[4];
    assert_eq!(last["exit"], 0);
    assert_eq!(last["command"], "pre-receive");
    assert_eq!(last["override"], "INC-1: login");
    assert_eq!(last["certificate"], ALICE);
    let reference = &last["references"][0];
    assert_eq!(reference["name"], "refs/heads/hotfix");
    assert_eq!(reference["verdict"], "allowed");
    let codes: Vec<&str> = reference["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["unsigned", "override"]);
}
