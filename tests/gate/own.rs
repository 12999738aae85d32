//! The policy in the repository: each step of the default branch is judged by the
//! policy of the step before, from the policy root that the server names; everything
//! else by the policy of the default branch.

use crate::{
    stage::GITSEAL,
    yard::{ALICE, BOB, MALLORY, Yard, policy},
};

const PATH: &str = ".gitseal/policy.toml";

const RULES: &str = r#"
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
policy = ["alice"]
create = ["anyone"]
update = ["anyone"]
rewrite = ["nobody"]

[[rules]]
name = "tags"
refs = ["refs/tags/**"]
tag = ["alice", "bob"]
create = ["anyone"]
"#;

/// A server that trusts the first commit, which brings the policy.
fn yard() -> Yard {
    let yard = Yard::new("");
    yard.file(PATH, &policy(RULES));
    let root = yard.commit(ALICE, "root");
    yard.script(
        "pre-receive",
        &format!("exec {GITSEAL} pre-receive --policy-root {root}"),
    );
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard
}

#[test]
fn each_commit_by_the_policy_of_its_parent() {
    let yard = yard();
    yard.file("a", "1");
    yard.commit(BOB, "work");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.commit(MALLORY, "not a signer");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["mallory@example.test", "[signer-unknown]"],
    );
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    // Bob may not change the policy.
    yard.file(
        PATH,
        &policy(RULES).replace("policy = [\"alice\"]", "policy = [\"bob\"]"),
    );
    yard.commit(BOB, "more power to me");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["bob@example.test may not change the policy"],
    );
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    // Nor does a policy judge the commit that brings it.
    yard.file(
        PATH,
        &policy(RULES).replace("bob@example.test", "mallory@example.test"),
    );
    yard.commit(MALLORY, "a policy that allows me");
    yard.refused(&["HEAD:refs/heads/main"], &["[signer-unknown]"]);
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    // Alice may; from then on the new one counts, also within one push.
    yard.file(
        PATH,
        &policy(RULES).replace("bob@example.test", "carol@example.test"),
    );
    yard.commit(ALICE, "carol for bob");
    yard.commit("carol@example.test", "by carol");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.commit(BOB, "bob is gone");
    yard.refused(&["HEAD:refs/heads/main"], &["[signer-unknown]"]);
}

#[test]
fn merges_branches_and_tags() {
    let yard = yard();
    yard.file("a", "1");
    yard.commit(ALICE, "on main");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.stage.git(["branch", "-f", "now"]).ok();
    // A branch from further back, merged.
    yard.branch("topic", "HEAD~1");
    yard.file("b", "1");
    yard.commit(BOB, "on the side");
    yard.allowed(&["HEAD:refs/heads/topic"]);
    yard.branch("merged", "now");
    yard.merge(ALICE, "topic", "merge");
    yard.tag(ALICE, "v1", "v1");
    yard.allowed(&["HEAD:refs/heads/main", "refs/tags/v1"]);
    yard.allowed(&["HEAD:refs/heads/release"]);
    // A hostile branch with its own beginning and its own policy.
    yard.stage
        .git(["checkout", "-q", "--orphan", "hostile"])
        .ok();
    yard.file(
        PATH,
        &policy(RULES).replace("alice@example.test", "mallory@example.test"),
    );
    yard.commit(MALLORY, "mine");
    yard.refused(&["HEAD:refs/heads/hostile"], &["[signer-unknown]"]);
    yard.branch("evil", "merged");
    yard.stage
        .git([
            "merge",
            "-q",
            "--no-ff",
            "--no-gpg-sign",
            "--allow-unrelated-histories",
            "-s",
            "ours",
            "-m",
            "merge",
            "hostile",
        ])
        .ok();
    yard.sign_head(ALICE);
    yard.refused(&["HEAD:refs/heads/main"], &["[signer-unknown]"]);
    // A tag of what is on no branch.
    yard.branch("loose", "merged");
    yard.unsigned("loose");
    yard.tag(ALICE, "v2", "v2");
    yard.refused(&["refs/tags/v2"], &["[not-a-state]"]);
}

/// That a commit was adopted authenticates nothing that is built on it.
#[test]
fn what_was_adopted_is_no_policy_root() {
    let yard = Yard::new("");
    let rules = RULES.replace(
        "policy = [\"alice\"]",
        "policy = [\"alice\"]\nadopt = [\"alice\"]",
    );
    yard.file(PATH, &policy(&rules.replace("nobody", "alice")));
    let root = yard.commit(ALICE, "root");
    yard.script(
        "pre-receive",
        &format!("exec {GITSEAL} pre-receive --policy-root {root}"),
    );
    yard.allowed(&["HEAD:refs/heads/main"]);
    // From outside, with a policy that makes Mallory a signer.
    yard.branch("outside", "HEAD");
    yard.file(PATH, &policy(&rules).replace("bob@example.test", MALLORY));
    yard.commit(MALLORY, "mine");
    yard.file("a", "1");
    yard.commit(MALLORY, "a contribution");
    yard.stage.git(["branch", "-f", "adopted"]).ok();
    yard.branch("merged", &root);
    yard.file("b", "1");
    yard.commit(ALICE, "on main");
    yard.stage
        .git(["merge", "-q", "--no-ff", "--no-commit", "outside"]);
    yard.stage.git(["checkout", "-q", &root, "--", PATH]).ok();
    yard.stage
        .git(["commit", "-q", "--no-gpg-sign", "-m", "adopted"])
        .ok();
    yard.sign_head(ALICE);
    yard.allowed(&["HEAD:refs/heads/main"]);
    // Now it is reachable, and still no place to begin at: in one step,
    yard.branch("more", "adopted");
    yard.file("c", "1");
    yard.commit(MALLORY, "more of mine");
    yard.refused(&["HEAD:refs/heads/release"], &["mallory@example.test"]);
    // in two,
    yard.refused(&["adopted:refs/heads/release"], &["mallory@example.test"]);
    // and where the branch itself is set back to it.
    yard.refused(&["-f", "adopted:refs/heads/main"], &["[policy-rewound]"]);
    // What is on the branch is a place to begin at.
    yard.allowed(&["merged:refs/heads/release"]);
    yard.branch("work", "merged");
    yard.file("d", "1");
    yard.commit(BOB, "work");
    yard.allowed(&["HEAD:refs/heads/release"]);
}

#[test]
fn a_policy_root_that_is_none() {
    let yard = yard();
    yard.script(
        "pre-receive",
        &format!(
            "exec {GITSEAL} pre-receive --policy-root {}",
            "7".repeat(40)
        ),
    );
    yard.commit(ALICE, "next");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["policy root: ", "verification did not complete"],
    );
    let no_policy = Yard::new("");
    let root = no_policy.commit(ALICE, "without a policy");
    no_policy.script(
        "pre-receive",
        &format!("exec {GITSEAL} pre-receive --policy-root {root}"),
    );
    no_policy.refused(
        &["HEAD:refs/heads/main"],
        &[
            "has no .gitseal/policy.toml",
            "verification did not complete",
        ],
    );
}

#[test]
fn a_policy_that_is_lost_refuses_all_that_follows() {
    // Bob may not, but alice may take the policy away; then nothing can follow, and
    // what is refused is ended though no commit of the push is at fault.
    let yard = yard();
    yard.stage.git(["rm", "-q", PATH]).ok();
    yard.commit(ALICE, "without a policy");
    yard.refused(&["HEAD:refs/heads/main"], &["[policy-missing]"]);
    yard.smuggle(&["HEAD:refs/heads/main"]);
    yard.commit(ALICE, "next");
    yard.refused(&["HEAD:refs/heads/main"], &["has no .gitseal/policy.toml"]);
}
