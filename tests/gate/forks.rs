//! Time in policies: which policy is in force, and what a commit on an old one gains.
//! The policy is in the repository.

use std::fs;

use crate::{
    forge::ISSUER,
    stage::{Ended, GITSEAL, run},
    yard::{ALICE, BOB, MALLORY, Yard},
};

const PATH: &str = ".gitseal/policy.toml";

/// A policy in which these people may do everything on branches but rewrite; `more`
/// are lines of its one rule.
fn people(people: &[&str], mode: &str, more: &str) -> String {
    let mut text = format!("version = 2\nmode = \"{mode}\"\n\n[signers]\n");
    for who in people {
        text.push_str(&format!(
            "{who} = {{ issuer = \"{ISSUER}\", identity = \"{who}@example.test\" }}\n"
        ));
    }
    let list = format!("[\"{}\"]", people.join("\", \""));
    text.push_str(&format!(
        "\n[[rules]]\nname = \"branches\"\nrefs = [\"refs/heads/**\"]\ncommit = {list}\nmerge = {list}\npolicy = {list}\ncreate = [\"anyone\"]\nupdate = [\"anyone\"]\n{more}\n"
    ));
    text
}

/// A server whose policy root is the first commit, which brings this policy.
fn yard(policy: &str) -> (Yard, String) {
    let yard = Yard::new("");
    yard.file(PATH, policy);
    let root = yard.commit(ALICE, "root");
    yard.script(
        "pre-receive",
        &format!("exec {GITSEAL} pre-receive --policy-root {root}"),
    );
    yard.allowed(&["HEAD:refs/heads/main"]);
    (yard, root)
}

/// Changes the policy on main.
fn policy_is(yard: &Yard, policy: &str) -> String {
    yard.file(PATH, policy);
    let id = yard.commit(ALICE, "another policy");
    yard.allowed(&["HEAD:refs/heads/main"]);
    id
}

fn pull_request(yard: &Yard, base: &str, head: &str, more: &[&str]) -> Ended {
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
        .env("GITHUB_EVENT_PATH", &event);
    run(&mut command, b"")
}

/// Mallory was a signer and is none any more: on a commit of then she gains nothing,
/// as a new branch, on a branch with the old policy, with a policy of her own, and
/// in CI.
#[test]
fn an_old_fork_by_a_removed_signer() {
    let (yard, root) = yard(&people(&["alice", "mallory"], "enforce", ""));
    yard.file("a", "1");
    let then = yard.commit(MALLORY, "while a signer");
    let now = policy_is(&yard, &people(&["alice"], "enforce", ""));
    yard.branch("fork", &then);
    yard.file("evil", "1");
    let evil = yard.commit(MALLORY, "signed after the removal");
    let unknown: &[&str] = &["mallory@example.test", "[signer-unknown]"];
    yard.refused(&["HEAD:refs/heads/release"], unknown);
    // In two pushes: the branch alone is a state of main.
    yard.allowed(&[&format!("{then}:refs/heads/release")]);
    yard.refused(&["HEAD:refs/heads/release"], unknown);
    yard.file(PATH, &people(&["mallory"], "enforce", ""));
    yard.commit(MALLORY, "a policy of my own");
    yard.refused(&["HEAD:refs/heads/release"], unknown);
    yard.refused(&["HEAD:refs/heads/another"], unknown);
    for more in [&[][..], &["--policy-root", &root]] {
        pull_request(&yard, &now, &evil, more)
            .fails(1)
            .says("[signer-unknown]");
    }
    // Whoever merges her branch answers for it only with the right to adopt.
    yard.branch("merged", &now);
    yard.merge(ALICE, &evil, "merged");
    yard.refused(&["HEAD:refs/heads/main"], unknown);
    // What she brought while she was a signer stays, and goes on.
    yard.branch("more", &then);
    yard.file("b", "1");
    yard.commit(ALICE, "on an old commit");
    yard.allowed(&["HEAD:refs/heads/release"]);
    yard.merge(ALICE, &now, "takes main in");
    yard.allowed(&["HEAD:refs/heads/release"]);
}

/// What a leaver left open enters by a merge of someone who may adopt.
#[test]
fn a_removed_signers_work_is_adopted() {
    let (yard, root) = yard(&people(&["alice", "bob", "mallory"], "enforce", ""));
    yard.file("work", "1");
    let open = yard.commit(MALLORY, "open work");
    yard.branch("main", &root);
    policy_is(
        &yard,
        &people(&["alice", "bob"], "enforce", "adopt = [\"alice\"]"),
    );
    yard.stage.git(["branch", "-f", "now"]).ok();
    yard.merge(BOB, &open, "by Bob");
    yard.refused(&["HEAD:refs/heads/main"], &["[signer-unknown]"]);
    yard.branch("main", "now");
    let merge = yard.merge(ALICE, &open, "by Alice");
    let zero = "0".repeat(40);
    // What the run tells the server's log: who adopted what.
    let hook = |name: &str, head: &str| {
        let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
        command.args(["pre-push", "--json", "--policy-root", &root, "origin", "x"]);
        command.env("GITSEAL_POLICY_REF", "refs/heads/main");
        let old = yard.stage.git(["rev-parse", "now"]).ok();
        let old = if name == "refs/heads/main" {
            old.line()
        } else {
            &zero
        };
        run(
            &mut command,
            format!("refs/heads/x {head} {name} {old}\n").as_bytes(),
        )
    };
    let said = hook("refs/heads/main", &merge).ok().json();
    assert_eq!(said["results"][0]["adopted"][0]["commit"], open.as_str());
    assert_eq!(said["results"][0]["adopted"][0]["by"], merge.as_str());
    assert_eq!(said["results"][0]["verdict"], "allowed");
    yard.allowed(&["HEAD:refs/heads/main"]);
}

/// A time in mode `warn` is no door to what came after it.
#[test]
fn a_fork_from_a_time_of_warnings() {
    let (yard, root) = yard(&people(&["alice"], "warn", ""));
    let now = policy_is(&yard, &people(&["alice"], "enforce", ""));
    yard.branch("side", &root);
    yard.file("evil", "1");
    let evil = yard.unsigned("by no one");
    yard.refused(&["HEAD:refs/heads/release"], &["[unsigned]"]);
    yard.allowed(&[&format!("{root}:refs/heads/release")]);
    yard.refused(&["HEAD:refs/heads/release"], &["[unsigned]"]);
    yard.file(PATH, &people(&["alice"], "warn", "rewrite = [\"anyone\"]"));
    yard.unsigned("a policy by no one");
    yard.refused(&["HEAD:refs/heads/release"], &["[unsigned]"]);
    yard.branch("merged", &now);
    yard.merge(ALICE, &evil, "merged");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    for more in [&[][..], &["--policy-root", &root]] {
        pull_request(&yard, &now, &evil, more)
            .fails(1)
            .says("[unsigned]");
    }
}

/// Mode `warn` lets commits in, but not a change of the policy.
#[test]
fn warnings_do_not_give_the_policy_away() {
    let (yard, _) = yard(&people(&["alice"], "warn", ""));
    yard.file("a", "1");
    yard.unsigned("taken with a warning");
    let ended = yard.allowed(&["HEAD:refs/heads/main"]);
    assert!(ended.err.contains("accepted with warnings"), "{ended:?}");
    yard.file(PATH, &people(&["mallory"], "warn", ""));
    yard.unsigned("the repository is mine");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    yard.sign_head(MALLORY);
    yard.refused(&["HEAD:refs/heads/main"], &["[signer-unknown]"]);
    // On another branch it is a text without force.
    yard.allowed(&["HEAD:refs/heads/proposal"]);
}

/// The branch that HEAD names does not exist, or HEAD names none: no policy is in
/// force, and no push makes one so.
#[test]
fn a_dangling_head() {
    let yard = Yard::new("");
    yard.file(PATH, &people(&["alice", "mallory"], "enforce", ""));
    let root = yard.commit(ALICE, "root");
    yard.file(PATH, &people(&["alice"], "enforce", ""));
    let now = yard.commit(ALICE, "mallory is removed");
    yard.script(
        "pre-receive",
        &format!("exec {GITSEAL} pre-receive --policy-root {root}"),
    );
    yard.on_server(["symbolic-ref", "HEAD", "refs/heads/master"])
        .ok();
    let main = format!("{now}:refs/heads/main");
    let none: &[&str] = &["[no-policy-ref]", "verification did not complete"];
    yard.refused(&[&main], none);
    yard.smuggle(&[&main]);
    // She makes the branch that HEAD names, with a policy of her own.
    yard.branch("mine", &root);
    yard.file(
        PATH,
        &people(&["mallory"], "enforce", "rewrite = [\"anyone\"]"),
    );
    yard.commit(MALLORY, "mine");
    yard.refused(&["HEAD:refs/heads/master"], none);
    yard.refused(&["-f", "HEAD:refs/heads/main"], none);
    yard.on_server(["update-ref", "--no-deref", "HEAD", &now])
        .ok();
    yard.refused(&["HEAD:refs/heads/topic"], none);
    // The administrator says which branch it is.
    yard.on_server(["config", "gitseal.policyRef", "main"]).ok();
    yard.refused(&["HEAD:refs/heads/topic"], &["gitseal.policyRef"]);
    yard.on_server(["config", "gitseal.policyRef", "refs/heads/main"])
        .ok();
    yard.refused(&["HEAD:refs/heads/topic"], &["[signer-unknown]"]);
    yard.branch("topic", &now);
    yard.file("a", "1");
    yard.commit(ALICE, "work");
    yard.allowed(&["HEAD:refs/heads/topic"]);
}

/// The default branch is made from the policy root, alone, and is never deleted.
#[test]
fn the_first_push_and_the_last() {
    let yard = Yard::new("");
    yard.file(
        PATH,
        &people(&["alice"], "enforce", "delete = [\"anyone\"]"),
    );
    let root = yard.commit(ALICE, "root");
    yard.file("a", "1");
    let work = yard.commit(ALICE, "work");
    yard.script(
        "pre-receive",
        &format!("exec {GITSEAL} pre-receive --policy-root {root}"),
    );
    let none: &[&str] = &["push it first, and alone", "[no-policy-ref]"];
    yard.refused(&["HEAD:refs/heads/topic"], none);
    yard.refused(&["HEAD:refs/heads/main", "HEAD:refs/heads/topic"], none);
    // Not from anywhere but the policy root, which is there already.
    yard.smuggle(&[&format!("{root}:refs/old/root")]);
    yard.stage.git(["checkout", "-q", "--orphan", "x"]).ok();
    yard.commit(ALICE, "another history");
    yard.refused(&["HEAD:refs/heads/main"], &["[not-descended]"]);
    yard.allowed(&[&format!("{work}:refs/heads/main")]);
    yard.allowed(&[&format!("{work}:refs/heads/topic")]);
    yard.on_server(["config", "receive.denyDeleteCurrent", "ignore"])
        .ok();
    yard.refused(
        &[":refs/heads/main"],
        &["refs/heads/main is the default branch, which cannot be deleted"],
    );
    yard.allowed(&[":refs/heads/topic"]);
}

/// Who may rewrite the default branch may not bring an old policy back.
#[test]
fn a_rewrite_keeps_the_policy() {
    let rewrite = "rewrite = [\"anyone\"]";
    let (yard, root) = yard(&people(&["alice", "mallory"], "enforce", rewrite));
    policy_is(&yard, &people(&["alice"], "enforce", rewrite));
    yard.refused(
        &["-f", &format!("{root}:refs/heads/main")],
        &["[policy-rewound]"],
    );
    yard.file("a", "1");
    yard.commit(ALICE, "work");
    yard.allowed(&["HEAD:refs/heads/main"]);
    // The same policy before and after: that is a rewrite like any other.
    yard.allowed(&["-f", "HEAD~1:refs/heads/main"]);
    // From another side, with another text of the policy that is not in force.
    yard.branch("side", &root);
    yard.file("b", "1");
    yard.commit(MALLORY, "by a removed signer, under the policy of then");
    yard.refused(&["-f", "HEAD:refs/heads/main"], &["[policy-rewound]"]);
}

/// A change of the policy and other refs in one push: the others are judged as if
/// they had been pushed before.
#[test]
fn a_push_is_judged_by_the_policy_before_it() {
    let (yard, _) = yard(&people(&["alice"], "enforce", ""));
    yard.file(PATH, &people(&["alice", "bob"], "enforce", ""));
    yard.commit(ALICE, "bob joins");
    yard.stage.git(["branch", "-f", "joined"]).ok();
    yard.file("a", "1");
    yard.commit(BOB, "his first");
    // On the default branch step by step, on another one by the policy before.
    yard.refused(
        &["HEAD:refs/heads/main", "HEAD:refs/heads/topic"],
        &["refs/heads/topic: commit", "[signer-unknown]"],
    );
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.allowed(&["HEAD:refs/heads/topic"]);
}
