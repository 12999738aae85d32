//! `gitseal ci` in jobs of GitHub and GitLab: the range out of their variables, the
//! policy of the base, and what is written for them.

use std::fs;

use crate::{
    stage::{Ended, GITSEAL, run},
    yard::{ALICE, BRANCHES, MALLORY, Yard, policy},
};

/// A repository whose main has a policy, and a branch beside it.
fn project() -> (Yard, String) {
    let yard = Yard::new("");
    yard.no_hook();
    yard.file(".gitseal/policy.toml", &policy(BRANCHES));
    let base = yard.commit(ALICE, "base");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.branch("topic", "HEAD");
    (yard, base)
}

fn github(yard: &Yard, base: &str, head: &str, more: &[&str]) -> Ended {
    let event = yard.stage.home("event.json");
    fs::write(
        &event,
        format!(
            r#"{{"pull_request":{{"number":7,"base":{{"sha":"{base}","ref":"main"}},"head":{{"sha":"{head}"}}}},"repository":{{"default_branch":"main"}}}}"#
        ),
    )
    .unwrap();
    let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
    command
        .arg("ci")
        .args(more)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_NAME", "pull_request")
        .env("GITHUB_EVENT_PATH", &event)
        .env("GITHUB_STEP_SUMMARY", yard.stage.home("summary.md"));
    run(&mut command, b"")
}

#[test]
fn a_pull_request_of_github() {
    let (yard, base) = project();
    yard.file("a", "1");
    let good = yard.commit(ALICE, "good");
    let ended = github(&yard, &base, &good, &[]).ok();
    assert!(
        ended
            .out
            .contains("pull request 7: 1 commits and tags checked: 0 errors"),
        "{ended:?}"
    );
    // What the request says about who may sign is not asked.
    yard.file(
        ".gitseal/policy.toml",
        &policy(BRANCHES).replace("bob@example.test", MALLORY),
    );
    let bad = yard.commit(MALLORY, "x%\n\n::error::fine##[add-mask]");
    let ended = github(&yard, &base, &bad, &[]).fails(1);
    let annotation = ended
        .out
        .lines()
        .find(|line| line.starts_with("::error "))
        .unwrap();
    assert!(
        annotation.contains("[signer-unknown]") && annotation.contains("%25"),
        "{annotation}"
    );
    assert!(
        !ended.out.contains("##[") && !ended.err.contains("##["),
        "{ended:?}"
    );
    assert_eq!(
        ended
            .out
            .lines()
            .filter(|line| line.starts_with("::error::"))
            .count(),
        0
    );
    let summary = fs::read_to_string(yard.stage.home("summary.md")).unwrap();
    assert!(
        summary.contains("### gitseal: pull request 7 accepted"),
        "{summary}"
    );
    assert!(
        summary.contains("### gitseal: pull request 7 rejected"),
        "{summary}"
    );
    // A policy file in the checkout is the request's.
    github(&yard, &base, &bad, &["--policy", ".gitseal/policy.toml"])
        .fails(2)
        .says("this file is part of the change being checked");
    let policy_file = yard.stage.repo().join(".gitseal/policy.toml");
    yard.stage
        .config("gitseal.policy", policy_file.to_str().unwrap());
    github(&yard, &base, &bad, &[])
        .fails(2)
        .says("cannot use gitseal.policy");
    yard.stage
        .git(["config", "--global", "--unset", "gitseal.policy"])
        .ok();
    let value = github(&yard, &base, &bad, &["--json"]).fails(1).json();
    assert_eq!(value["verdict"], "refused");
    assert_eq!(value["findings"][0]["code"], "signer-unknown");
}

#[test]
fn a_shallow_checkout_is_named() {
    let (yard, base) = project();
    yard.file("a", "1");
    yard.commit(ALICE, "one");
    let head = yard.commit(ALICE, "two");
    yard.allowed(&["HEAD:refs/heads/topic"]);
    let shallow = yard.stage.path("shallow");
    yard.stage
        .git([
            "clone",
            "-q",
            "--depth=1",
            "-b",
            "topic",
            &format!("file://{}", yard.server().display()),
            shallow.to_str().unwrap(),
        ])
        .ok();
    let event = yard.stage.home("event.json");
    fs::write(
        &event,
        format!(r#"{{"pull_request":{{"base":{{"sha":"{base}","ref":"main"}},"head":{{"sha":"{head}"}}}}}}"#),
    )
    .unwrap();
    let mut command = yard.stage.command(GITSEAL, &shallow);
    command
        .arg("ci")
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_NAME", "pull_request")
        .env("GITHUB_EVENT_PATH", &event);
    run(&mut command, b"")
        .fails(3)
        .says("is not in this clone")
        .says("fetch-depth: 0");
    let mut command = yard.stage.command(GITSEAL, &shallow);
    command
        .arg("ci")
        .env("GITLAB_CI", "true")
        .env("CI_COMMIT_SHA", &head)
        .env("CI_MERGE_REQUEST_DIFF_BASE_SHA", &base)
        .env("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main")
        .env("CI_DEFAULT_BRANCH", "main");
    run(&mut command, b"")
        .fails(3)
        .says("the target branch origin/main is not in this clone")
        .says("git fetch origin");
    command.env("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", &base);
    run(&mut command, b"").fails(3).says("GIT_DEPTH");
}

#[test]
fn a_merge_request_of_gitlab() {
    let (yard, base) = project();
    let head = yard.unsigned("bad");
    let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
    command
        .args([
            "ci",
            "--junit",
            "junit.xml",
            "--code-quality",
            "quality.json",
        ])
        .env("GITLAB_CI", "true")
        .env("CI_COMMIT_SHA", &head)
        .env("CI_MERGE_REQUEST_IID", "12")
        .env("CI_MERGE_REQUEST_DIFF_BASE_SHA", &base)
        .env("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main")
        .env("CI_DEFAULT_BRANCH", "main");
    let ended = run(&mut command, b"").fails(1);
    assert!(
        ended.out.contains("merge request 12: 1 commits"),
        "{ended:?}"
    );
    let junit = fs::read_to_string(yard.stage.repo().join("junit.xml")).unwrap();
    assert!(junit.contains("<failure type=\"unsigned\""), "{junit}");
    let quality: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(yard.stage.repo().join("quality.json")).unwrap())
            .unwrap();
    assert_eq!(quality[0]["check_name"], "gitseal/unsigned");
}

#[test]
fn by_hand_and_not_at_all() {
    let (yard, base) = project();
    yard.commit(ALICE, "good");
    let ci = |more: &[&str]| {
        let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
        command.arg("ci").args(more);
        run(&mut command, b"")
    };
    ci(&[
        "--range",
        &format!("{base}..HEAD"),
        "--ref",
        "refs/heads/main",
    ])
    .ok();
    yard.unsigned("bad");
    ci(&["--range", &format!("{base}.."), "--ref", "refs/heads/main"])
        .fails(1)
        .says("[unsigned]");
    ci(&["--range", "a...b", "--ref", "refs/heads/main"]).fails(2);
    ci(&["--range", "HEAD", "--ref", "main\n::error::x"]).fails(2);
    ci(&[])
        .fails(2)
        .says("not running in GitHub, GitLab, Gitea or Forgejo CI");
}

/// Mallory was a signer when her branch began, and is none any more.
#[test]
fn the_policy_is_that_of_the_target_and_not_of_the_fork() {
    let yard = Yard::new("");
    yard.no_hook();
    let then = policy(BRANCHES).replace("bob@example.test", MALLORY);
    yard.file(".gitseal/policy.toml", &then);
    let fork = yard.commit(ALICE, "mallory is a signer");
    yard.file(".gitseal/policy.toml", &policy(BRANCHES));
    yard.commit(ALICE, "and is none");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.branch("topic", &fork);
    yard.file("a", "1");
    let head = yard.commit(MALLORY, "work");
    // What the service says may be old; what it says of the fork always is.
    github(&yard, &fork, &head, &[])
        .fails(1)
        .says("[signer-unknown]");
    let mut gitlab = yard.stage.command(GITSEAL, &yard.stage.repo());
    gitlab
        .arg("ci")
        .env("GITLAB_CI", "true")
        .env("CI_COMMIT_SHA", &head)
        .env("CI_MERGE_REQUEST_DIFF_BASE_SHA", &fork)
        .env("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main")
        .env("CI_DEFAULT_BRANCH", "main");
    run(&mut gitlab, b"").fails(1).says("[signer-unknown]");
    gitlab.env("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", &fork);
    run(&mut gitlab, b"").fails(1).says("[signer-unknown]");
}

/// What is checked out is what is to be judged, and vouches for nothing.
#[test]
fn the_checked_out_commit_is_not_the_protected_branch() {
    let (yard, root) = project();
    yard.file("a", "1");
    let main = yard.commit(ALICE, "on main");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.branch("topic", &root);
    yard.unsigned("not authenticated");
    yard.file("b", "1");
    let head = yard.commit(ALICE, "on top");
    let ci = || {
        let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
        command.args(["ci", "--policy-root", &root, "--ref", "refs/heads/main"]);
        command.args(["--range", &format!("{main}..{head}")]);
        run(&mut command, b"")
    };
    ci().fails(1).says("[unsigned]");
    yard.stage
        .git(["checkout", "-q", "--detach", "HEAD~1"])
        .ok();
    ci().fails(1).says("[unsigned]");
    yard.stage.git(["checkout", "-q", "--detach", &main]).ok();
    ci().fails(1).says("[unsigned]");
}

/// Two new branches with one commit do not vouch for each other.
#[test]
fn a_branch_beside_hides_nothing() {
    let (yard, base) = project();
    let head = yard.unsigned("bad");
    yard.allowed(&["HEAD:refs/heads/evil", "HEAD:refs/heads/evil2"]);
    for (branch, head, code) in [("evil", &head, 1), ("evil2", &head, 1), ("fine", &base, 0)] {
        let event = yard.stage.home("event.json");
        let text = format!(
            r#"{{"ref":"refs/heads/{branch}","before":"{}","after":"{head}","repository":{{"default_branch":"main"}}}}"#,
            "0".repeat(40)
        );
        fs::write(&event, text).unwrap();
        let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
        let policy = yard.stage.home("policy.toml");
        fs::write(&policy, crate::yard::policy(BRANCHES)).unwrap();
        command
            .args(["ci", "--policy", policy.to_str().unwrap()])
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_EVENT_NAME", "push")
            .env("GITHUB_EVENT_PATH", &event);
        run(&mut command, b"").fails(code);
    }
}

/// A release branch has a policy in its tree, which is a text without force: the
/// policy is that of the service's default branch, whatever the target.
#[test]
fn the_policy_is_that_of_the_default_branch() {
    let (yard, base) = project();
    yard.branch("release", &base);
    let theirs = policy(BRANCHES).replace("bob@example.test", MALLORY);
    yard.file(".gitseal/policy.toml", &theirs);
    let target = yard.commit(ALICE, "a policy of the release branch");
    yard.allowed(&["HEAD:refs/heads/release"]);
    yard.file("a", "1");
    let head = yard.commit(MALLORY, "for the release");
    let event = yard.stage.home("event.json");
    let ask = |default: &str| {
        fs::write(
            &event,
            format!(
                r#"{{"pull_request":{{"number":7,"base":{{"sha":"{target}","ref":"release"}},"head":{{"sha":"{head}"}}}},"repository":{{"default_branch":"{default}"}}}}"#
            ),
        )
        .unwrap();
        let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
        command
            .arg("ci")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_EVENT_NAME", "pull_request")
            .env("GITHUB_EVENT_PATH", &event);
        run(&mut command, b"")
    };
    ask("main").fails(1).says("[signer-unknown]");
    // One that was not fetched is no reason to take another.
    ask("trunk")
        .fails(3)
        .says("the default branch origin/trunk is not in this clone");
}

/// A trusted root, or a single key, in the repository would be the request's own.
#[test]
fn nothing_that_decides_is_in_the_repository() {
    let (yard, base) = project();
    let trusted = yard.stage.home("trusted_root.json");
    fs::copy(&trusted, yard.stage.repo().join("trusted_root.json")).unwrap();
    std::os::unix::fs::symlink(&trusted, yard.stage.repo().join("link.json")).unwrap();
    yard.stage
        .git(["add", "trusted_root.json", "link.json"])
        .ok();
    let head = yard.commit(ALICE, "brings a trusted root");
    let inside = "this file is part of the change being checked";
    for file in ["trusted_root.json", "./link.json"] {
        github(&yard, &base, &head, &["--trusted-root", file])
            .fails(2)
            .says("cannot use --trusted-root")
            .says(inside);
    }
    let ask = |variable: &str| {
        let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
        command
            .args(["ci", "--ref", "refs/heads/main"])
            .args(["--range", &format!("{base}..{head}")])
            .env(variable, "trusted_root.json");
        run(&mut command, b"")
    };
    ask("GITSEAL_TRUSTED_ROOT")
        .fails(2)
        .says("cannot use gitseal.trustedRoot");
    // A file outside is taken, and so is one that decides nothing.
    let outside = trusted.to_str().unwrap();
    github(&yard, &base, &head, &["--trusted-root", outside]).ok();
    ask("GITSEAL_TOKEN_FILE").ok();
}
