//! What one ref may take from another (`from`), what a merge answers for, and what
//! approves a tag. The policy is a file.

use crate::{
    forge::ISSUER,
    yard::{ALICE, BOB, MALLORY, Yard, policy},
};

/// Rules in which these people may do everything on branches.
fn branches(people: &str) -> String {
    format!(
        "\n[[rules]]\nname = \"branches\"\nrefs = [\"refs/heads/**\"]\ncommit = [{people}]\nmerge = [{people}]\ncreate = [\"anyone\"]\nupdate = [\"anyone\"]\n"
    )
}

fn with_mallory(rules: &str) -> String {
    let signer = format!("[signers.mallory]\nissuer = \"{ISSUER}\"\nidentity = \"{MALLORY}\"\n");
    policy(&format!("{signer}{rules}"))
}

const ALL: &str = "\"alice\", \"bob\"";

/// Mallory leaves. Branches of before take main in, and new ones are cut from it.
#[test]
fn after_a_signer_left() {
    let yard = Yard::new(&with_mallory(&branches("\"alice\", \"bob\", \"mallory\"")));
    let first = yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main", "HEAD:refs/heads/topic"]);
    yard.file("a", "1");
    yard.commit(MALLORY, "of the leaver");
    yard.commit(BOB, "on top");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.stage.git(["branch", "-f", "now"]).ok();
    yard.policy(&policy(&branches(ALL)));
    yard.allowed(&["HEAD:refs/heads/release/1"]);
    yard.branch("topic", &first);
    yard.file("b", "1");
    yard.commit(BOB, "older work");
    yard.merge(BOB, "now", "takes main in");
    yard.allowed(&["HEAD:refs/heads/topic"]);
    yard.file("c", "1");
    yard.commit(MALLORY, "not any more");
    yard.refused(&["HEAD:refs/heads/topic"], &["[signer-unknown]"]);
}

/// A branch with stricter rules is cut from main, moves along it if its updaters say
/// so, and takes nothing else.
#[test]
fn a_strict_branch_is_cut_from_main() {
    let releases = |update: &str| {
        policy(&format!(
            "\n[[rules]]\nname = \"main\"\nrefs = [\"refs/heads/main\", \"refs/heads/topic/**\"]\ncommit = [{ALL}]\nmerge = [{ALL}]\ncreate = [\"anyone\"]\nupdate = [\"anyone\"]\n[[rules]]\nname = \"releases\"\nrefs = [\"refs/heads/release/**\"]\nfrom = [\"refs/heads/main\"]\ncommit = [\"alice\"]\nmerge = [\"alice\"]\ncreate = [\"anyone\"]\nupdate = [\"{update}\"]\n"
        ))
    };
    let yard = Yard::new(&releases("anyone"));
    yard.commit(ALICE, "first");
    yard.file("a", "1");
    yard.commit(BOB, "second");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.allowed(&["HEAD:refs/heads/release/1"]);
    // Nobody is named, so that moving it along main is committing.
    yard.file("b", "1");
    let third = yard.commit(BOB, "third");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let not_his: &[&str] = &["bob@example.test may not add commits"];
    yard.refused(&["HEAD:refs/heads/release/1"], not_his);
    // Whoever may merge there takes main in.
    yard.branch("release", "HEAD~1");
    yard.file("fix", "1");
    yard.commit(ALICE, "a fix");
    yard.merge(ALICE, &third, "main into the release");
    yard.allowed(&["HEAD:refs/heads/release/1"]);
    yard.file("fix", "2");
    yard.commit(BOB, "his fix");
    yard.refused(&["HEAD:refs/heads/release/1"], not_his);
    // Of a branch that is no source only what main has is taken as it is.
    yard.branch("topic", &third);
    yard.file("c", "1");
    yard.commit(BOB, "on a topic");
    yard.allowed(&["HEAD:refs/heads/topic/x"]);
    yard.refused(&["HEAD:refs/heads/release/2"], not_his);
}

/// The pusher is named as one who moves the branch: then it moves along its source.
#[test]
fn a_named_updater_moves_a_branch_along_its_source() {
    let rules = format!(
        "\n[[rules]]\nname = \"main\"\nrefs = [\"refs/heads/main\"]\ncommit = [{ALL}]\nmerge = [{ALL}]\ncreate = [\"anyone\"]\nupdate = [\"anyone\"]\n[[rules]]\nname = \"releases\"\nrefs = [\"refs/heads/release/**\"]\ncommit = [\"alice\"]\ncreate = [\"anyone\"]\nupdate = [\"alice\"]\n"
    );
    let account = |who: &str| {
        let identity = format!("identity = \"{who}\"");
        policy(&rules).replace(&identity, &format!("{identity}\naccounts = [\"pusher\"]"))
    };
    let yard = Yard::new(&account(ALICE));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main", "HEAD:refs/heads/release/1"]);
    yard.file("a", "1");
    yard.commit(BOB, "second");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let http = crate::servers::http(&yard.base(), yard.prepare());
    let url = format!("http://127.0.0.1:{}/server.git", http.address.port());
    let forward = ["HEAD:refs/heads/release/1"];
    yard.policy(&account(BOB));
    let said = yard.push_to(&url, &forward).fails(1);
    assert!(said.err.contains("[pusher-not-allowed]"), "{said:?}");
    yard.policy(&account(ALICE));
    yard.push_to(&url, &forward).ok();
}

/// A merge takes nothing of a branch: that is no state to begin at later.
#[test]
fn what_a_merge_left_out_is_no_state() {
    let rules = |more: &str| policy(&format!("{}rewrite = [\"anyone\"]\n{more}", branches(ALL)));
    let yard = Yard::new(&rules("adopt = [\"alice\"]\n"));
    yard.file("a", "1");
    let first = yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main", "HEAD:refs/heads/topic"]);
    yard.file("a", "evil");
    let evil = yard.unsigned("left out by the merge");
    yard.branch("merged", &first);
    yard.stage
        .git([
            "merge",
            "-q",
            "--no-ff",
            "--no-gpg-sign",
            "-s",
            "ours",
            "-m",
            "not this",
            &evil,
        ])
        .ok();
    yard.sign_head(ALICE);
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.refused(&[&format!("{evil}:refs/heads/new")], &["[unsigned]"]);
    yard.refused(
        &["-f", &format!("{evil}:refs/heads/topic")],
        &["[unsigned]"],
    );
    // Nor when another merge brings it in past main's.
    yard.branch("past", &first);
    yard.merge(BOB, &evil, "this after all");
    yard.refused(&["HEAD:refs/heads/topic"], &["[unsigned]"]);
}

/// Whoever adopts answers for the content: it takes the right to commit it.
#[test]
fn adopting_takes_the_right_to_commit() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "everything else"
refs = ["refs/heads/**"]
paths = ["**", "!crypto/**"]
commit = ["alice", "bob"]
[[rules]]
name = "crypto"
refs = ["refs/heads/**"]
paths = ["crypto/**"]
commit = ["alice"]
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
merge = ["alice", "bob"]
adopt = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]
"#,
    ));
    yard.file("a", "1");
    let first = yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("crypto/key", "weak");
    let evil = yard.unsigned("a contribution");
    yard.branch("side", &first);
    yard.file("b", "1");
    let fine = yard.unsigned("another one");
    yard.branch("main", &first);
    yard.merge(BOB, &evil, "by Bob");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    yard.branch("main", &first);
    yard.merge(BOB, &fine, "by Bob");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.merge(ALICE, &evil, "by Alice");
    yard.allowed(&["HEAD:refs/heads/main"]);
}

/// A rule on trial opens nothing that was closed.
#[test]
fn a_trial_rule_admits_no_one() {
    let closed = "\n[[rules]]\nname = \"main\"\nrefs = [\"refs/heads/main\"]\ncommit = [\"alice\"]\nmerge = [\"alice\"]\n[[rules]]\nname = \"refs\"\nrefs = [\"refs/heads/**\"]\ncreate = [\"anyone\"]\nupdate = [\"anyone\"]\n";
    let trial = format!(
        "{closed}[[rules]]\nname = \"committer is signer\"\ntrial = true\nrefs = [\"refs/heads/**\"]\ncommit = [\"bob\"]\nmatch-committer = true\n"
    );
    let yard = Yard::new(&policy(closed));
    yard.unsigned("by no one");
    yard.refused(&["HEAD:refs/heads/topic"], &["[no-rule]"]);
    yard.policy(&policy(&trial));
    yard.refused(&["HEAD:refs/heads/topic"], &["[no-rule]"]);
    // Nor does it refuse what was open: it says what it would refuse.
    yard.sign_head(ALICE);
    let ended = yard.allowed(&["HEAD:refs/heads/main"]);
    assert!(ended.err.contains("committer is signer"), "{ended:?}");
}

/// An approval is of one name and one commit, and others cannot crowd it out.
#[test]
fn an_approval_is_of_one_name() {
    let yard = Yard::new(&policy(&format!(
        "{}{}",
        branches(ALL),
        r#"
[[rules]]
name = "approvals"
refs = ["refs/approvals/**"]
tag = ["alice", "bob"]
create = ["anyone"]
[[rules]]
name = "nightlies"
refs = ["refs/tags/nightly/**"]
tag = ["bob"]
create = ["anyone"]
[[rules]]
name = "marks"
refs = ["refs/tags/a/**"]
tag = ["anyone"]
create = ["anyone"]
[[rules]]
name = "releases"
refs = ["refs/tags/v*"]
tag = ["alice", "bob"]
create = ["anyone"]
threshold = { count = 2, of = ["alice", "bob"] }
"#
    )));
    let head = yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let nightly = yard.tag(BOB, "nightly/1", "nightly/1");
    yard.allowed(&["refs/tags/nightly/1"]);
    yard.tag(ALICE, "v1", "v1");
    yard.refused(&["refs/tags/v1"], &["[threshold-not-met]"]);
    // His nightly build is no approval of her release.
    let other = format!("{nightly}:refs/approvals/v1/bob");
    yard.refused(&[&other], &["[tag-name-mismatch]"]);
    yard.refused(&[&other, "refs/tags/v1"], &["[threshold-not-met]"]);
    // Three hundred marks of the same commit, by anyone.
    let specs: Vec<String> = (0..300)
        .map(|number| {
            let payload = format!(
                "object {head}\ntype commit\ntag a/{number}\ntagger M <m@x> 1 +0000\n\nx\n"
            );
            let id = yard.stage.write("tag", payload.as_bytes());
            format!("{id}:refs/tags/a/{number}")
        })
        .collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    yard.allowed(&specs);
    let approval = yard.tag_of(BOB, "aside", "v1", &head, "commit");
    yard.allowed(&[&format!("{approval}:refs/approvals/v1/bob")]);
    yard.allowed(&["refs/tags/v1"]);
    // Of this commit, not of the next one.
    yard.file("a", "1");
    yard.commit(ALICE, "second");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.tag(ALICE, "v2", "v2");
    yard.refused(&["refs/tags/v2"], &["[threshold-not-met]"]);
}

/// A link above an owned path is the owner's to make.
#[test]
fn a_link_above_a_path_is_its_owners() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "rest"
refs = ["refs/heads/**"]
paths = ["**", "!deploy/prod/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
[[rules]]
name = "production is Alice's"
refs = ["refs/heads/**"]
paths = ["deploy/prod/**"]
commit = ["alice"]
[[rules]]
name = "refs"
refs = ["refs/heads/**"]
create = ["anyone"]
update = ["anyone"]
"#,
    ));
    yard.file("deploy/staging/run", "1");
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.stage.git(["rm", "-rq", "deploy"]).ok();
    yard.file("tools/d/prod/run", "evil");
    let target = yard.stage.write("blob", b"tools/d");
    let entry = format!("120000,{target},deploy");
    yard.stage
        .git(["update-index", "--add", "--cacheinfo", &entry])
        .ok();
    yard.commit(BOB, "tidy up");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["bob@example.test may not add commits", "production"],
    );
    yard.stage.git(["reset", "-q", "--soft", "HEAD~1"]).ok();
    yard.commit(ALICE, "tidy up");
    yard.allowed(&["HEAD:refs/heads/main"]);
}

/// A pattern whose `**` is inside a component would not mean what it looks like.
#[test]
fn a_pattern_that_looks_wider_is_a_mistake() {
    let rules = format!(
        "{}[[rules]]\nname = \"crypto\"\npaths = [\"crypto**\"]\ncommit = [\"alice\"]\n",
        branches(ALL)
    );
    let yard = Yard::new(&policy(&rules));
    yard.commit(ALICE, "first");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["crypto**", "verification did not complete"],
    );
}

/// A tag is made of a state of the branches that its rule names.
#[test]
fn a_tag_is_of_a_state() {
    let tags = |from: &str| {
        policy(&format!(
            "{}[[rules]]\nname = \"tags\"\nrefs = [\"refs/tags/**\"]\n{from}tag = [{ALL}]\ncreate = [\"anyone\"]\n",
            branches(ALL)
        ))
    };
    let yard = Yard::new(&tags(""));
    let first = yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("a", "1");
    yard.commit(ALICE, "on a release branch");
    yard.allowed(&["HEAD:refs/heads/release/1"]);
    yard.tag(ALICE, "v1", "v1");
    yard.refused(&["refs/tags/v1"], &["[not-a-state]"]);
    yard.policy(&tags(
        "from = [\"refs/heads/main\", \"refs/heads/release/**\"]\n",
    ));
    yard.allowed(&["refs/tags/v1"]);
    // What a merge brought is not what main was.
    yard.branch("merged", &first);
    yard.merge(ALICE, "refs/remotes/origin/release/1", "merged");
    yard.file("b", "1");
    let side = yard.commit(BOB, "more");
    yard.branch("main", &first);
    yard.merge(ALICE, &side, "merged again");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.tag_of(ALICE, "v2", "v2", &side, "commit");
    yard.refused(&["refs/tags/v2"], &["[not-a-state]"]);
    // With the branch in one push.
    yard.file("c", "1");
    yard.commit(ALICE, "next");
    yard.tag(ALICE, "v3", "v3");
    yard.allowed(&["HEAD:refs/heads/main", "refs/tags/v3"]);
}
