//! `gitseal policy`: what a person asks a policy before it judges anybody.

use std::fs;

use serde_json::json;

use crate::yard::{ALICE, BOB, BRANCHES, MALLORY, Yard, policy};

const OWN: &str = ".gitseal/policy.toml";

#[test]
fn mistakes_have_a_line_and_a_column() {
    let yard = Yard::new("");
    let file = yard.policy_file();
    let check = |more: &[&str]| {
        let mut arguments = vec!["policy", "check", file.to_str().unwrap()];
        arguments.extend_from_slice(more);
        yard.stage.gitseal(arguments)
    };
    let clean = BRANCHES.replace("delete = [\"anyone\"]\n", "");
    yard.policy(&policy(&clean));
    assert!(check(&["--strict"]).ok().line().ends_with(": valid"));
    // A mistake says where, which, and what to write in its place.
    yard.policy(&policy(&clean.replace("commit =", "comit =")));
    let said = check(&[]).fails(1);
    let line = said.line();
    assert!(line.contains("policy.toml:15:1: "), "{line}");
    assert!(line.contains("comit") && line.contains("commit"), "{line}");
    let said = check(&["--json"]).fails(1).json();
    assert_eq!(said["good"], json!(false));
    assert_eq!(said["errors"][0]["line"], json!(15));
    assert_eq!(said["errors"][0]["column"], json!(1));
    // What only looks wrong fails where somebody asks for that.
    yard.policy(&policy(&format!(
        "{clean}\n[groups]\nnobody-uses = [\"alice\"]\n"
    )));
    check(&[]).ok().says("valid, 1 warnings");
    check(&["--strict"]).fails(1).says("nobody-uses");
    // No file is no policy.
    fs::remove_file(&file).unwrap();
    check(&[]).fails(2).says("cannot read");
}

#[test]
fn in_words_and_compared() {
    let yard = Yard::new("");
    yard.file(OWN, &policy(BRANCHES));
    yard.commit(ALICE, "a policy");
    let said = yard.stage.gitseal(["policy", "describe", "HEAD:"]).ok();
    for word in [ALICE, BOB, "refs/heads/**"] {
        assert!(said.out.contains(word), "{said:?}");
    }
    yard.file(
        OWN,
        &policy(&BRANCHES.replace("merge = [\"alice\", \"bob\"]", "merge = [\"alice\"]")),
    );
    yard.commit(ALICE, "bob merges no more");
    let arguments = ["policy", "diff", "HEAD~1:", "HEAD:", "--json"];
    let said = yard.stage.gitseal(arguments).ok().json();
    let changes = said["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["kind"], json!("loses"));
    assert!(changes[0].to_string().contains("bob"));
    yard.stage
        .gitseal(["policy", "diff", "HEAD:", "HEAD:"])
        .ok()
        .says("no permission changes");
}

#[test]
fn what_a_policy_would_say() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    let bad = yard.commit(MALLORY, "second");
    let unsigned = yard.unsigned("third");
    yard.commit(BOB, "fourth");
    let file = yard.policy_file();
    let test = |more: &[&str]| {
        let mut arguments = vec!["policy", "test", "--policy", file.to_str().unwrap()];
        arguments.extend_from_slice(more);
        yard.stage.gitseal(arguments)
    };
    // One commit, a range, all that is there.
    test(&["HEAD"]).ok().says("1 commits checked: 0 errors");
    test(&["HEAD~3..HEAD~2"]).fails(1).says(&bad);
    let said = test(&["--json", "^HEAD~3", "HEAD"]).fails(1).json();
    assert_eq!(
        (&said["checked"], &said["refusals"]),
        (&json!(3), &json!(2))
    );
    let found: Vec<_> = said["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["commit"].as_str().unwrap(),
                one["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(
        found.contains(&(bad.as_str(), "signer-unknown")),
        "{found:?}"
    );
    assert!(
        found.contains(&(unsigned.as_str(), "unsigned")),
        "{found:?}"
    );
    // Another reference has other rules: here none.
    test(&["--ref", "refs/heads/main", "HEAD"]).ok();
    test(&["--ref", "refs/notes/x", "HEAD"])
        .fails(1)
        .says("[no-rule]");
    test(&["no-such-revision"]).fails(2);
    yard.stage
        .gitseal(["policy", "test", "HEAD"])
        .fails(2)
        .says("no policy is set");
}

#[test]
fn what_the_repositorys_own_policy_would_say() {
    let yard = Yard::new("");
    yard.file(OWN, &policy(BRANCHES));
    let root = yard.commit(ALICE, "root");
    yard.commit(BOB, "work");
    let test = |revision: &str| {
        yard.stage
            .gitseal(["policy", "test", "--policy-root", &root, revision])
    };
    test("HEAD").ok().says("1 commits checked: 0 errors");
    let bad = yard.commit(MALLORY, "hostile");
    yard.commit(ALICE, "on top");
    test("HEAD").fails(1).says(&bad);
    // A commit that does not come from the policy root has no answer.
    yard.stage.git(["checkout", "-q", "--orphan", "other"]).ok();
    yard.commit(ALICE, "another history");
    test("HEAD").fails(1).says("[not-descended]");
}

#[test]
fn a_policy_to_begin_with() {
    let yard = Yard::new("");
    yard.commit(ALICE, "first");
    let said = yard.stage.gitseal(["policy", "init"]).ok();
    assert!(said.out.contains(ALICE));
    yard.policy(&said.out);
    let file = yard.policy_file();
    let file = file.to_str().unwrap();
    yard.stage
        .gitseal(["policy", "check", "--strict", file])
        .ok();
    yard.stage
        .gitseal(["policy", "test", "--policy", file])
        .ok();
    // Nobody is taken over who did not sign.
    yard.unsigned("second");
    yard.stage
        .gitseal(["policy", "init"])
        .fails(2)
        .says("--identity");
    // What is there is not written over.
    yard.stage
        .gitseal([
            "policy",
            "init",
            "--identity",
            BOB,
            "--issuer",
            "https://i.example",
            "--output",
            file,
        ])
        .fails(2);
    assert!(fs::read_to_string(file).unwrap().contains(ALICE));
}

/// The owners of a CODEOWNERS file are those of the paths, on the branch that HEAD
/// names.
#[test]
fn a_policy_with_the_owners_of_a_file() {
    let yard = Yard::new("");
    yard.commit(ALICE, "first");
    yard.branch("trunk", "HEAD");
    let owners = yard.stage.home("CODEOWNERS");
    let init = || {
        let path = owners.to_str().unwrap();
        yard.stage.gitseal(["policy", "init", "--codeowners", path])
    };
    fs::write(&owners, "* @org/all\n/web/ @web\n").unwrap();
    let said = init().ok();
    for line in [
        "web = [\"first\"] # @web",
        "paths = [\"**\", \"!web/**\"]",
        "paths = [\"web/**\"]",
        "refs = [\"refs/heads/trunk\"]",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    yard.policy(&said.out);
    let file = yard.policy_file();
    yard.stage
        .gitseal(["policy", "check", "--strict", file.to_str().unwrap()])
        .ok();
    fs::write(&owners, "[Section] @web\n").unwrap();
    init().fails(2).says("line 1: sections are not supported");
}

/// Which rules speak of a ref, what lends to it, and what on it was adopted.
#[test]
fn refs_and_what_stands_on_them() {
    let rules = r#"
[[rules]]
name = "main"
refs = ["refs/heads/main"]
commit = ["alice", "bob"]
merge = ["alice"]
adopt = ["alice"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "drafts"
refs = ["refs/heads/drafts/**"]
commit = ["anyone"]
merge = ["anyone"]
create = ["anyone"]
"#;
    let yard = Yard::new(&policy(rules));
    yard.commit(ALICE, "first");
    yard.branch("topic", "HEAD");
    yard.file("a", "1");
    let fork = yard.unsigned("of a fork");
    yard.branch("main", "HEAD~1");
    yard.file("b", "1");
    yard.commit(BOB, "on main");
    let merge = yard.merge(ALICE, "topic", "adopted");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.branch("draft", "HEAD");
    let open = yard.commit(BOB, "bob's own");
    yard.allowed(&["HEAD:refs/heads/drafts/bob"]);

    let file = yard.policy_file();
    let file = file.to_str().unwrap();
    let server = yard.server();
    let refs = |more: &[&str]| {
        let mut arguments = vec!["policy", "refs", "--policy", file];
        arguments.extend_from_slice(more);
        yard.stage.gitseal_at(&server, arguments)
    };
    let said = refs(&["--json"]).ok().json();
    let main = &said["refs"][1];
    assert_eq!(main["name"], "refs/heads/main", "{said}");
    assert_eq!(main["default"], json!(true));
    assert_eq!(main["rules"], json!(["main"]));
    assert_eq!(main["sources"], json!([]));
    assert_eq!(main["adopted"], json!([{ "commit": fork, "by": merge }]));
    assert_eq!(main["refused"], json!([]));
    let draft = &said["refs"][0];
    assert_eq!(draft["name"], "refs/heads/drafts/bob");
    assert_eq!(draft["protected"], json!(false));
    assert_eq!(draft["sources"], json!(["refs/heads/main"]));
    let said = refs(&[]).ok();
    for line in [
        "refs/heads/main (default branch)\n  rules: main\n  sources: none\n  adopted: 1 commits\n",
        "refs/heads/drafts/bob (not protected)\n",
    ] {
        assert!(said.out.contains(line), "{said:?}");
    }
    // What a leaver still has open, by name or by identity.
    for who in ["bob", BOB] {
        let said = refs(&["--signer", who, "--json"]).ok().json();
        let expected = json!([{ "name": "refs/heads/drafts/bob", "commits": [open] }]);
        assert_eq!(said["refs"], expected, "{who}");
    }
    let said = refs(&["--signer", "alice", "--json"]).ok().json();
    assert_eq!(said["refs"], json!([]));
    // A leaver's commits on main stand, and would be refused now.
    yard.policy(&policy(&rules.replace("\"alice\", \"bob\"", "\"alice\"")));
    refs(&[]).ok().says("would be refused now: 1 commits");
}
