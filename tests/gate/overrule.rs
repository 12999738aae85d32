//! The override: who gets a refused push in with a signed push and a reason, and what
//! no one gets in.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{ALICE, GITSEAL, process::Ended, servers::Lab};

const REASON: &str = "INC-4711: login is down";

/// A server where Alice, who signs, may commit nothing, but override.
struct Yard {
    lab: Lab,
    server: PathBuf,
    clone: PathBuf,
}

impl Yard {
    fn new() -> Self {
        let lab = Lab::start();
        let clone = lab.repository("clone", &[]);
        let server = lab.repository("server.git", &["--bare"]);
        lab.git(&clone, &["remote", "add", "origin", "../server.git"]);
        let yard = Self { lab, server, clone };
        yard.on_server("receive.certNonceSeed", "of the tests");
        yard.on_server("receive.advertisePushOptions", "true");
        yard.on_server("gitseal.verdictLog", yard.log().to_str().unwrap());
        yard.policy("alice");
        for name in ["main", "other"] {
            yard.commit("first");
            let spec = format!("HEAD:refs/heads/{name}");
            yard.lab.git(&yard.clone, &["push", "-q", "origin", &spec]);
        }
        yard.hook("");
        yard.commit("hotfix");
        yard
    }

    fn log(&self) -> PathBuf {
        self.lab.path("verdicts.jsonl")
    }

    fn on_server(&self, key: &str, value: &str) {
        self.lab.git(&self.server, &["config", key, value]);
    }

    /// The policy; `by`: who may override.
    fn policy(&self, by: &str) {
        let text = format!(
            "version = 2\n[override]\nby = [\"{by}\"]\n\
             [signers.alice]\nissuer = \"{issuer}\"\nidentity = \"{ALICE}\"\naccounts = [\"al\"]\n\
             [signers.bob]\nissuer = \"{issuer}\"\nidentity = \"bob@example.test\"\n\
             [[rules]]\nname = \"branches\"\nrefs = [\"refs/heads/**\"]\n\
             commit = [\"bob\"]\npolicy = [\"bob\"]\ncreate = [\"anyone\"]\n\
             update = [\"anyone\"]\nrewrite = [\"nobody\"]\ndelete = [\"bob\"]\n",
            issuer = self.lab.issuer()
        );
        fs::write(self.lab.path("policy.toml"), text).unwrap();
    }

    fn hook(&self, before: &str) {
        let policy = self.lab.path("policy.toml");
        let policy = format!("--policy {}", policy.display());
        self.script(&format!("{before}\nexec {GITSEAL} pre-receive {policy}"));
    }

    fn script(&self, script: &str) {
        let path = self.server.join("hooks/pre-receive");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn commit(&self, message: &str) {
        let arguments = ["commit", "-q", "-S", "--allow-empty", "-m", message];
        self.lab.git(&self.clone, &arguments);
    }

    fn file(&self, path: &str, text: &str) {
        let full = self.clone.join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
        self.lab.git(&self.clone, &["add", "-A"]);
        self.commit(path);
    }

    fn push(&self, signed: &str, options: &[&str], spec: &str) -> Ended {
        let mut arguments = vec!["push", signed];
        for option in options {
            arguments.extend(["-o", option]);
        }
        arguments.extend(["origin", spec]);
        self.lab.git_at(&self.clone, arguments)
    }

    /// A signed push of `spec` that asks for an override.
    fn overriding(&self, spec: &str) -> Ended {
        let option = format!("gitseal.override={REASON}");
        self.push("--signed", &["ci.skip", &option], spec)
    }

    fn refs(&self) -> String {
        self.lab.git(&self.server, &["for-each-ref"])
    }

    #[track_caller]
    fn denies(&self, push: impl FnOnce() -> Ended, words: &[&str]) -> Ended {
        let before = self.refs();
        let said = push();
        assert_ne!(said.code, 0, "{}", said.err);
        for words in words {
            assert!(
                said.err.contains(words),
                "{words:?} is not in:\n{}",
                said.err
            );
        }
        assert_eq!(self.refs(), before);
        said
    }

    #[track_caller]
    fn last_line(&self) -> Value {
        let text = fs::read_to_string(self.log()).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

#[test]
fn a_signer_whom_the_policy_names() {
    let yard = Yard::new();
    yard.denies(
        || yard.push("--signed", &[], "HEAD:refs/heads/main"),
        &["push rejected", "[signer-not-allowed]"],
    );
    assert_eq!(yard.last_line()["override"], Value::Null);
    let said = yard.overriding("HEAD:refs/heads/main");
    assert_eq!(said.code, 0, "{}", said.err);
    let told = format!("the errors are overridden by alice: {REASON} [override]");
    for words in [
        "push accepted by override",
        &told,
        "error: ",
        "[signer-not-allowed]",
    ] {
        assert!(
            said.err.contains(words),
            "{words:?} is not in:\n{}",
            said.err
        );
    }
    assert!(!said.err.contains("no refs were updated"), "{}", said.err);
    let head = yard.lab.git(&yard.clone, &["rev-parse", "HEAD"]);
    assert!(
        yard.refs()
            .contains(&format!("{} commit\trefs/heads/main", head.trim()))
    );
    let line = yard.last_line();
    assert_eq!(
        line["override"],
        json!({ "reason": REASON, "granted": true, "by": ["alice"], "problem": null })
    );
    assert_eq!((&line["exit"], &line["error"]), (&json!(0), &Value::Null));
    assert_eq!(line["certificate"]["identity"], ALICE);
    assert_eq!(line["certificate"]["issuer"], yard.lab.issuer());
    let one = &line["refs"][0];
    assert_eq!(one["verdict"], "overridden");
    let findings = one["findings"].as_array().unwrap();
    let of = |key: &str| {
        findings
            .iter()
            .map(|one| one[key].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("code"),
        ["override", "signer-not-allowed", "signer-not-allowed"]
    );
    assert_eq!(of("level"), ["warning", "error", "error"]);
    // What it let in is a state: nothing of it is checked again.
    assert_eq!(
        yard.push("--no-signed", &[], "HEAD:refs/heads/copy").code,
        0
    );
    // Where nothing is refused, there is nothing to override.
    let said = yard.overriding("HEAD:refs/heads/again");
    assert_eq!(
        (said.code, said.err.contains("overrid")),
        (0, false),
        "{}",
        said.err
    );
    // Another branch, which only Bob deletes.
    assert_eq!(yard.overriding(":refs/heads/other").code, 0);
}

#[test]
fn without_the_right_or_a_good_certificate() {
    let yard = Yard::new();
    let option = format!("gitseal.override={REASON}");
    let main = "HEAD:refs/heads/main";
    let unsigned = "the errors are not overridden: the push is not signed";
    yard.denies(
        || yard.push("--no-signed", &[&option], main),
        &[unsigned, "[override]"],
    );
    let line = yard.last_line();
    assert_eq!(line["override"]["granted"], json!(false));
    assert_eq!(
        (&line["override"]["reason"], &line["exit"]),
        (&json!(REASON), &json!(1))
    );
    // An account is not enough.
    yard.hook("export GL_USERNAME=al");
    yard.denies(|| yard.push("--no-signed", &[&option], main), &[unsigned]);
    for (before, words) in [
        (
            "export GIT_PUSH_CERT_NONCE_STATUS=BAD",
            "the status of its nonce as BAD",
        ),
        (
            "export GIT_PUSH_CERT_NONCE_STATUS=SLOP",
            "the status of its nonce as SLOP",
        ),
        (
            "unset GIT_PUSH_CERT_NONCE_STATUS",
            "the status of its nonce as missing",
        ),
        (
            "export GIT_PUSH_CERT_NONCE=another",
            "its nonce is not the one",
        ),
        (
            "export GIT_PUSH_OPTION_1='gitseal.override=another reason'",
            "the push certificate does not contain the push option",
        ),
        (
            "export GIT_PUSH_OPTION_COUNT=x",
            "GIT_PUSH_OPTION_COUNT is not a number",
        ),
        ("unset GIT_PUSH_OPTION_0", "GIT_PUSH_OPTION_0 is missing"),
    ] {
        yard.hook(before);
        yard.denies(|| yard.overriding(main), &["are not overridden", words]);
    }
    yard.hook("");
    yard.policy("bob");
    yard.denies(
        || yard.overriding(main),
        &["the push's signer may not override errors (allowed: bob)"],
    );
    let policy = yard.lab.path("policy.toml");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text.replace("[override]\nby = [\"bob\"]\n", "")).unwrap();
    yard.denies(|| yard.overriding(main), &["the policy has no [override]"]);
}

#[test]
fn options_that_are_no_reason() {
    let yard = Yard::new();
    let long = format!("gitseal.override={}", "x".repeat(501));
    for (options, words) in [
        (vec!["gitseal.override"], "the reason is missing"),
        (vec!["gitseal.override= "], "the reason is missing"),
        (vec![long.as_str()], "the reason has 501 characters"),
        (
            vec!["gitseal.override=a\u{1b}[2Kb"],
            "contains control characters",
        ),
        (
            vec!["gitseal.overide=a\u{1b}[2K"],
            "is not a push option of gitseal",
        ),
        (
            vec!["gitseal.override=a", "gitseal.override=b"],
            "more than one",
        ),
    ] {
        let said = yard.denies(
            || yard.push("--signed", &options, "HEAD:refs/heads/main"),
            &[words],
        );
        assert!(!said.err.contains("\u{1b}[2K"), "{}", said.err);
    }
    // What a reason may contain is escaped where it is shown.
    let said = yard.push(
        "--signed",
        &["gitseal.override=a\u{202e}b"],
        "HEAD:refs/heads/main",
    );
    assert_eq!(
        (said.code, said.err.contains('\u{202e}')),
        (0, false),
        "{}",
        said.err
    );
    assert_eq!(yard.last_line()["override"]["reason"], "a\u{202e}b");
}

#[test]
fn only_with_a_line_in_the_log() {
    let yard = Yard::new();
    let main = "HEAD:refs/heads/main";
    yard.lab
        .git(&yard.server, &["config", "--unset", "gitseal.verdictLog"]);
    yard.denies(|| yard.overriding(main), &["gitseal.verdictLog is not set"]);
    yard.on_server("gitseal.verdictLog", yard.server.to_str().unwrap());
    let said = yard.denies(
        || yard.overriding(main),
        &["cannot write the verdict log", "did not complete"],
    );
    assert!(!said.err.contains("accepted"), "{}", said.err);
}

#[test]
fn never_a_change_of_the_policy() {
    let yard = Yard::new();
    let refused = "would change .gitseal";
    let main = "HEAD:refs/heads/main";
    let first = yard.lab.git(&yard.clone, &["rev-parse", "HEAD"]);
    yard.file(".gitseal/policy.toml", "version = 2\n");
    yard.denies(|| yard.overriding(main), &[refused]);
    yard.denies(|| yard.overriding("HEAD:refs/heads/new"), &[refused]);
    // Changed and changed back.
    yard.lab.git(&yard.clone, &["rm", "-q", "-r", ".gitseal"]);
    yard.commit("as before");
    yard.denies(|| yard.overriding(main), &[refused]);
    yard.lab
        .git(&yard.clone, &["reset", "-q", "--hard", first.trim()]);
    assert_eq!(yard.overriding(main).code, 0);
    // Nor what deletes the branch that has it.
    yard.lab.git(
        &yard.server,
        &["config", "receive.denyDeleteCurrent", "ignore"],
    );
    yard.denies(
        || yard.overriding(":refs/heads/main"),
        &["is the default branch", "are not overridden"],
    );
}

/// The policy in the repository: neither by a commit nor by a way back.
#[test]
fn never_the_policy_in_force() {
    let yard = Yard::new();
    let main = "HEAD:refs/heads/main";
    let text = fs::read_to_string(yard.lab.path("policy.toml")).unwrap();
    fs::remove_file(yard.server.join("hooks/pre-receive")).unwrap();
    yard.file(
        ".gitseal/policy.toml",
        &text.replace("[\"alice\"]", "[\"bob\"]"),
    );
    let root = yard.lab.git(&yard.clone, &["rev-parse", "HEAD"]);
    yard.file(".gitseal/policy.toml", &text);
    yard.lab.git(&yard.clone, &["push", "-q", "origin", main]);
    yard.script(&format!("exec {GITSEAL} pre-receive --policy-root {root}"));
    yard.file("fix", "1");
    let said = yard.overriding(main);
    assert_eq!(said.code, 0, "{}", said.err);
    let changed = "would change .gitseal";
    let back = format!("+{}:refs/heads/main", root.trim());
    yard.denies(|| yard.overriding(&back), &["[policy-rewound]", changed]);
    yard.file(
        ".gitseal/policy.toml",
        &text.replace("[\"bob\"]", "[\"alice\"]"),
    );
    yard.denies(|| yard.overriding(main), &[changed]);
    // Another history, which the policy root is not in.
    yard.lab
        .git(&yard.clone, &["checkout", "-q", "--orphan", "x"]);
    yard.lab.git(&yard.clone, &["rm", "-q", "-r", "-f", "."]);
    yard.commit("orphan");
    yard.denies(|| yard.overriding("+HEAD:refs/heads/main"), &[changed]);
}

/// What cannot be read has no verdict that could be overridden.
#[test]
fn never_what_cannot_be_read() {
    let yard = Yard::new();
    let policy = yard.lab.path("policy.toml");
    let (zero, one) = ("0".repeat(40), "1".repeat(40));
    yard.script(&format!(
        "echo {zero} {one} refs/heads/x | {GITSEAL} pre-receive --policy {}; test $? = 3 && exit 1",
        policy.display()
    ));
    yard.denies(
        || yard.overriding("HEAD:refs/heads/main"),
        &["did not complete", &one],
    );
    assert_eq!(yard.last_line()["exit"], 3);
}
