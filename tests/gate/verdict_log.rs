//! The verdict log: one line for each run, however it ends, and no push without it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    stage::GITSEAL,
    yard::{ALICE, BRANCHES, MALLORY, Yard, policy},
};

/// A server whose own configuration names the log.
fn yard(policy: &str) -> (Yard, PathBuf) {
    let yard = Yard::new(policy);
    let log = yard.stage.path("verdicts.jsonl");
    yard.on_server(["config", "gitseal.verdictLog", log.to_str().unwrap()])
        .ok();
    (yard, log)
}

#[track_caller]
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

fn sha256(bytes: &[u8]) -> String {
    gitseal_evidence::hex(&Sha256::digest(bytes))
}

#[test]
fn one_line_for_each_push() {
    let text = policy(BRANCHES);
    let (yard, log) = yard(&text);
    yard.script(
        "pre-receive",
        &format!(
            "GL_USERNAME=al exec {GITSEAL} pre-receive --policy {}",
            yard.policy_file().display()
        ),
    );
    let first = yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let second = yard.commit(MALLORY, "a secret plan");
    yard.refused(&["HEAD:refs/heads/main"], &["[signer-unknown]"]);

    let said = lines(&log);
    assert_eq!(said.len(), 2, "{said:?}");
    let line = &said[0];
    assert_eq!(line["command"], "pre-receive");
    assert_eq!(
        line["policy"],
        format!("sha256:{}", sha256(text.as_bytes()))
    );
    assert_eq!(line["policy_from"], yard.policy_file().to_str().unwrap());
    let server = fs::canonicalize(yard.server()).unwrap();
    assert_eq!(line["repository"], server.to_str().unwrap());
    assert_eq!(line["pusher"], "al");
    for key in ["certificate", "override", "error"] {
        assert_eq!(line[key], Value::Null, "{key}");
    }
    assert_eq!((&line["exit"], &line["checked"]), (&json!(0), &json!(1)));
    let time = line["time"].as_str().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert!(line["ms"].is_u64() && line["read"]["commits_and_tags"] != 0);
    assert_eq!(
        line["refs"],
        json!([{
            "name": "refs/heads/main", "old": null, "new": first, "base": null,
            "verdict": "allowed", "adopted": [], "findings": [],
        }])
    );
    let line = &said[1];
    assert_eq!(line["exit"], 1);
    assert_eq!(
        line["refs"],
        json!([{
            "name": "refs/heads/main", "old": first, "new": second, "base": first,
            "verdict": "refused", "adopted": [],
            "findings": [{
                "commit": second, "signer": MALLORY, "rule": "branches",
                "code": "signer-unknown", "level": "error",
            }],
        }])
    );
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("secret plan"), "{text}");
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

/// The policy of a repository is named by what git calls it.
#[test]
fn the_policy_in_the_repository_by_its_tree() {
    let (yard, log) = yard("");
    let text = policy(BRANCHES);
    yard.file(".gitseal/policy.toml", &text);
    let root = yard.commit(ALICE, "root");
    yard.script(
        "pre-receive",
        &format!("exec {GITSEAL} pre-receive --policy-root {root}"),
    );
    yard.allowed(&["HEAD:refs/heads/main"]);
    let tree = yard.stage.git(["rev-parse", "HEAD:.gitseal"]).ok();
    let line = &lines(&log)[0];
    assert_eq!(line["policy"], format!("tree:{}", tree.line()));
    assert_eq!(line["policy_from"], root);
}

/// What a file includes is part of its digest, as `cat` would join them.
#[test]
fn included_files_are_part_of_the_policy() {
    let people = "[signers.carol]\nissuer = \"https://i.test\"\nidentity = \"c@i.test\"\n";
    let text =
        policy(BRANCHES).replacen("version = 2", "version = 2\ninclude = [\"people.toml\"]", 1);
    let (yard, log) = yard(&text);
    let beside = yard.policy_file().with_file_name("people.toml");
    fs::write(&beside, people).unwrap();
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let expected = sha256([text, people.to_owned()].concat().as_bytes());
    assert_eq!(lines(&log)[0]["policy"], format!("sha256:{expected}"));
    // One that cannot be read leaves no policy.
    fs::remove_file(&beside).unwrap();
    yard.commit(ALICE, "second");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["cannot read people.toml", "[include]", "did not complete"],
    );
    let last = &lines(&log)[1];
    assert_eq!((&last["exit"], &last["policy"]), (&json!(2), &Value::Null));
}

/// Usage, what cannot be read, and the watchdog: a run without a verdict has a line.
#[test]
fn runs_that_end_with_an_error() {
    let (yard, log) = yard(&policy(BRANCHES));
    let new = yard.commit(ALICE, "first");
    fs::rename(yard.policy_file(), yard.stage.home("aside")).unwrap();
    yard.refused(&["HEAD:refs/heads/main"], &["cannot read the policy"]);
    fs::rename(yard.stage.home("aside"), yard.policy_file()).unwrap();
    let file = yard.policy_file();
    let hook = format!("{GITSEAL} pre-receive --policy {}", file.display());
    let (zero, one) = ("0".repeat(40), "1".repeat(40));
    yard.script(
        "pre-receive",
        &format!("echo {zero} {one} refs/heads/x | {hook}"),
    );
    yard.refused(&["HEAD:refs/heads/main"], &["did not complete"]);

    // Input that never ends.
    let mut command = yard.stage.command(GITSEAL, &yard.server());
    command.args(["pre-receive", "--timeout", "1", "--policy"]);
    let mut child = command
        .arg(&file)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let open = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    drop(open);

    let said = lines(&log);
    let exits: Vec<_> = said.iter().map(|line| line["exit"].clone()).collect();
    assert_eq!(exits, [2, 3, 3], "{said:?}");
    for (line, words) in said
        .iter()
        .zip(["cannot read the policy", &one, "timed out after 1 s"])
    {
        let error = line["error"].as_str().unwrap();
        assert!(error.contains(words), "{words}: {error}");
    }
    // What was requested is known, but not what would have come of it.
    assert_eq!(said[0]["refs"][0]["new"], new);
    assert_eq!(said[0]["refs"][0]["verdict"], Value::Null);
    assert_eq!(said[2]["refs"], json!([]));
}

#[test]
fn without_its_line_a_push_is_rejected() {
    let (yard, log) = yard(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    let pipe = yard.stage.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for (target, words) in [
        (yard.base(), "directory"),
        (yard.stage.path("nowhere/log"), "No such file"),
        (pipe, ""),
        (PathBuf::from("/dev/null"), "it is not a file"),
    ] {
        let target = target.to_str().unwrap();
        yard.on_server(["config", "gitseal.verdictLog", target])
            .ok();
        yard.refused(
            &["HEAD:refs/heads/main"],
            &[
                "cannot write the verdict log",
                target,
                words,
                "did not complete",
            ],
        );
    }
    for (value, words) in [
        ("syslog", "syslog is not supported"),
        ("log.jsonl", "expected an absolute path"),
    ] {
        yard.on_server(["config", "gitseal.verdictLog", value]).ok();
        yard.refused(&["HEAD:refs/heads/main"], &["gitseal.verdictLog", words]);
    }
    assert!(!log.exists());
    yard.on_server(["config", "gitseal.verdictLog", log.to_str().unwrap()])
        .ok();
    yard.allowed(&["HEAD:refs/heads/main"]);
    assert_eq!(lines(&log).len(), 1);
}

/// The other commands write it too; elsewhere than on a server, a repository's own
/// configuration does not choose a file to write.
#[test]
fn other_commands_and_scopes() {
    let (yard, log) = yard(&policy(BRANCHES));
    yard.no_hook();
    yard.hook("update", "");
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    assert_eq!(lines(&log)[0]["command"], "update");
    let own = yard.stage.path("own.jsonl");
    let own = own.to_str().unwrap();
    let file = yard.policy_file();
    let ci = || {
        let file = file.to_str().unwrap();
        yard.stage.gitseal([
            "ci",
            "--policy",
            file,
            "--range",
            "HEAD",
            "--ref",
            "refs/heads/main",
        ])
    };
    yard.stage.local("gitseal.verdictLog", own);
    ci().says("ignoring gitseal.verdictLog");
    assert!(!Path::new(own).exists());
    yard.stage.config("gitseal.verdictLog", own);
    let exit = ci().code;
    let said = lines(Path::new(own));
    assert_eq!(
        (&said[0]["command"], &said[0]["exit"]),
        (&json!("ci"), &json!(exit))
    );
}
