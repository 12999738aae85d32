//! Every kind of rule: a push that it allows, and one that it refuses, with the
//! reason in what the pusher sees.

use crate::yard::{ALICE, BOB, BRANCHES, MALLORY, Yard, policy};

#[test]
fn who_may_add_commits() {
    for yard in [
        Yard::new(&policy(BRANCHES)),
        Yard::sha256(&policy(BRANCHES)),
    ] {
        yard.file("README", "1");
        yard.commit(ALICE, "first");
        yard.allowed(&["HEAD:refs/heads/main"]);
        yard.commit(BOB, "second");
        yard.commit(ALICE, "third");
        assert_eq!(
            yard.allowed(&["HEAD:refs/heads/main"])
                .err
                .matches("remote:")
                .count(),
            0
        );
        let bad = yard.commit(MALLORY, "fourth");
        yard.commit(ALICE, "fifth");
        yard.refused(
            &["HEAD:refs/heads/main"],
            &[
                "push rejected by the policy policy.toml",
                "refs/heads/main: commit ",
                &bad[..12],
                "mallory@example.test (issuer https://issuer.example.test) is not a signer in the policy",
                "[signer-unknown]",
                "no refs were updated",
            ],
        );
        yard.stage.git(["reset", "-q", "--hard", "HEAD~2"]).ok();
        let bad = yard.unsigned("unsigned");
        yard.refused(
            &["HEAD:refs/heads/main"],
            &[
                &bad[..12],
                "rule branches: the commit is not signed [unsigned]",
                "git commit --amend --no-edit -S",
            ],
        );
        let parent = yard.stage.git(["rev-parse", "HEAD~1"]).ok();
        yard.commit(ALICE, "on top");
        yard.refused(
            &["HEAD:refs/heads/main"],
            &[
                "hint: sign the commit and push again:",
                &format!(
                    "hint:   git rebase --rebase-merges --exec 'git commit --amend --no-edit -S' {}",
                    &parent.line()[..12]
                ),
                "hint: not set up yet? install gitseal, then run 'gitseal setup'",
            ],
        );
    }
}

#[test]
fn a_tampered_commit_says_step_and_code() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    let raw = yard.stage.git(["cat-file", "commit", "HEAD"]).ok().out;
    yard.stage.place(raw.replace("first", "First").as_bytes());
    yard.refused(
        &["HEAD:refs/heads/main"],
        &[
            "the signature does not verify",
            "(digest-mismatch)",
            "[signature-bad]",
        ],
    );
}

#[test]
fn who_may_merge_and_who_may_commit_directly() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "main"
refs = ["refs/heads/main"]
commit = ["alice", "bob"]
merge = ["alice"]
direct = ["alice"]
create = ["anyone"]
update = ["anyone"]
"#,
    ));
    yard.file("a", "1");
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("b", "1");
    yard.commit(BOB, "directly");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["[direct-not-allowed]", "(except alice)"],
    );
    yard.stage.git(["branch", "-f", "side"]).ok();
    yard.branch("merged", "HEAD~1");
    yard.merge(BOB, "side", "merged by bob");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &[
            "bob@example.test may not merge here (allowed: alice)",
            "[signer-not-allowed]",
        ],
    );
    yard.branch("merged", "HEAD~1");
    yard.merge(ALICE, "side", "merged by alice");
    yard.allowed(&["HEAD:refs/heads/main"]);
}

#[test]
fn who_may_change_a_path() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "release"
paths = ["release/**", "Makefile"]
commit = ["alice"]
"#,
    ));
    yard.file("src/a.c", "1");
    yard.file("release/notes", "1");
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("src/a.c", "2");
    yard.commit(BOB, "his own");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("release/notes", "2");
    yard.commit(BOB, "not his");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["rule release: bob@example.test may not add commits in release/notes (allowed: alice) [signer-not-allowed]"],
    );
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    // Deleting is changing; so is a file where the folder was.
    yard.stage.git(["rm", "-rq", "release"]).ok();
    yard.commit(BOB, "away with it");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["rule release: ", "[signer-not-allowed]"],
    );
}

#[test]
fn drafts_other_kinds_and_trials() {
    let rules = |more: &str| {
        policy(&format!(
            "[[rules]]\nname = \"branches\"\nrefs = [\"refs/heads/**\", \"!refs/heads/drafts/**\"]\ncommit = [\"alice\"]\ncreate = [\"anyone\"]\nupdate = [\"anyone\"]\n{more}\n"
        ))
    };
    let drafts = "[[rules]]\nname = \"drafts\"\nrefs = [\"refs/heads/drafts/**\"]\ncommit = [\"anyone\"]\ncreate = [\"anyone\"]\n";
    let yard = Yard::new(&rules(drafts));
    yard.unsigned("by the web editor");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    yard.allowed(&["HEAD:refs/heads/drafts/web"]);

    let payload = yard.stage.payload("by ssh");
    yard.stage.place(&crate::forge::commit_object(
        &payload,
        "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n",
    ));
    yard.refused(
        &["HEAD:refs/heads/main"],
        &[
            "signed with SSH; this repository requires a Sigstore signature",
            "[signature-other]",
        ],
    );
    // A rule on trial lets nothing in.
    yard.policy(&rules(
        "[[rules]]\nname = \"trial\"\ntrial = true\ncommit = [\"anyone\"]\n",
    ));
    yard.refused(&["HEAD:refs/heads/main"], &["[signature-other]"]);
}

#[test]
fn who_may_move_and_delete() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
commit = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]
rewrite = ["nobody"]
delete = ["alice"]
"#,
    ));
    yard.commit(ALICE, "first");
    yard.commit(ALICE, "second");
    yard.allowed(&["HEAD:refs/heads/main"]);
    // Back, and aside.
    yard.refused(
        &["-f", "HEAD~1:refs/heads/main"],
        &["rewrite is disabled for this ref", "[pusher-not-allowed]"],
    );
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    yard.commit(ALICE, "another second");
    yard.refused(
        &["-f", "HEAD:refs/heads/main"],
        &["rewrite is disabled for this ref"],
    );
    // Who pushes is not known here: whoever asks for one gets nobody.
    yard.refused(
        &[":refs/heads/main"],
        &[
            "only alice may delete refs, and the server did not identify the pusher",
            "[pusher-unknown]",
        ],
    );
    // A reference of which no rule speaks.
    yard.refused(
        &["refs/remotes/origin/main:refs/odd/one"],
        &["creating refs/odd/one is not allowed", "[no-rule]"],
    );
}

/// An account is that of a signer while the signer is valid by the server's clock.
#[test]
fn a_server_names_the_account() {
    let rules = BRANCHES.replace("delete = [\"anyone\"]", "delete = [\"bob\"]");
    let until = |until: &str| {
        policy(&rules).replace(
            "identity = \"bob@example.test\"",
            &format!(
                "identity = \"bob@example.test\"\naccounts = [\"pusher\"]\nvalid-until = {until}"
            ),
        )
    };
    let yard = Yard::new(&until("2020-01-01T00:00:00Z"));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main", "HEAD:refs/heads/gone"]);
    yard.refused(&[":refs/heads/gone"], &["[pusher-unknown]"]);
    // Over HTTP the server authenticated an account (the tests' one "pusher").
    let http = crate::servers::http(&yard.base(), yard.prepare());
    let url = format!("http://127.0.0.1:{}/server.git", http.address.port());
    let said = yard.push_to(&url, &[":refs/heads/gone"]).fails(1);
    assert!(said.err.contains("[pusher-not-allowed]"), "{said:?}");
    yard.policy(&until("2090-01-01T00:00:00Z"));
    yard.push_to(&url, &[":refs/heads/gone"]).ok();
}

#[test]
fn a_path_can_ask_for_two() {
    let yard = Yard::new(&policy(&format!(
        "{BRANCHES}{}",
        r#"
[[rules]]
name = "keys"
paths = ["keys/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
threshold = { count = 2, of = ["alice", "bob"] }
"#
    )));
    yard.file("README", "1");
    yard.commit(ALICE, "elsewhere, alone");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("keys/a", "1");
    yard.commit(ALICE, "one");
    yard.refused(&["HEAD:refs/heads/main"], &["[threshold-not-met]", "keys"]);
    yard.file("keys/b", "1");
    yard.commit(BOB, "two, and who signs for this?");
    yard.refused(&["HEAD:refs/heads/main"], &["from alice, bob; has 1: bob"]);
    // A branch of hers that he merges is signed for by two.
    yard.stage
        .git(["checkout", "-q", "-B", "topic", "refs/remotes/origin/main"])
        .ok();
    yard.file("keys/a", "3");
    yard.commit(ALICE, "hers");
    yard.stage
        .git(["checkout", "-q", "-B", "main", "refs/remotes/origin/main"])
        .ok();
    yard.file("README", "3");
    yard.commit(BOB, "on main");
    yard.merge(BOB, "topic", "his merge");
    yard.allowed(&["HEAD:refs/heads/main"]);
}

#[test]
fn tags_are_signed_and_stay() {
    let yard = Yard::new(&policy(&format!(
        "{BRANCHES}{}",
        r#"
[[rules]]
name = "releases"
refs = ["refs/tags/v*"]
tag = ["alice"]
create = ["anyone"]
rewrite = ["nobody"]
delete = ["nobody"]
"#
    )));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.tag(ALICE, "v1", "v1");
    yard.allowed(&["refs/tags/v1"]);
    yard.tag(BOB, "v2", "v2");
    yard.refused(
        &["refs/tags/v2"],
        &["bob@example.test may not sign tags", "rule releases: "],
    );
    yard.stage.git(["tag", "-f", "v3"]).ok();
    yard.refused(&["refs/tags/v3"], &["[tag-lightweight]"]);
    // G12: the same tag object under another name.
    yard.refused(
        &["refs/tags/v1:refs/tags/v4"],
        &[
            "the tag object is named \"v1\" but pushed to refs/tags/v4",
            "[tag-name-mismatch]",
        ],
    );
    yard.commit(ALICE, "second");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.tag(ALICE, "v1", "v1");
    yard.refused(
        &["-f", "refs/tags/v1"],
        &["rewrite is disabled for this ref"],
    );
    yard.refused(&[":refs/tags/v1"], &["delete is disabled for this ref"]);
}

#[test]
fn a_release_asks_for_two() {
    let yard = Yard::new(&policy(&format!(
        "{BRANCHES}{}",
        r#"
[[rules]]
name = "approvals"
refs = ["refs/approvals/**"]
tag = ["alice", "bob"]
create = ["anyone"]

[[rules]]
name = "releases"
refs = ["refs/tags/v*"]
tag = ["alice", "bob"]
threshold = { count = 2, of = ["alice", "bob"] }
create = ["anyone"]
"#
    )));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.tag(ALICE, "v1", "v1");
    yard.refused(
        &["refs/tags/v1"],
        &["2 distinct signers", "[threshold-not-met]"],
    );
    // Her own approval is no second one.
    let approve = |who: &str| {
        yard.tag(who, "v1", "v1");
        yard.allowed(&[&format!("refs/tags/v1:refs/approvals/v1/{}", &who[..3])]);
    };
    approve(ALICE);
    yard.tag(ALICE, "v1", "v1");
    yard.refused(&["refs/tags/v1"], &["[threshold-not-met]"]);
    // Bob's tag of the same commit, of another name.
    yard.tag(BOB, "nightly", "nightly");
    yard.refused(
        &["refs/tags/nightly:refs/approvals/v1/bob"],
        &["[tag-name-mismatch]"],
    );
    approve(BOB);
    yard.tag(ALICE, "v1", "v1");
    yard.allowed(&["refs/tags/v1"]);
}

#[test]
fn history_before_the_cut_off_is_not_judged() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.unsigned("old");
    let cut = yard.unsigned("the last one without");
    yard.commit(ALICE, "the first one with");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    yard.policy(&policy(BRANCHES).replacen(
        "version = 2",
        &format!("version = 2\ncut-off = [\"{cut}\"]"),
        1,
    ));
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.unsigned("one after");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
}

/// What another rule let in on another branch is not let in here.
#[test]
fn a_branch_beside_lends_no_rights() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "source"
refs = ["refs/heads/**"]
paths = ["src/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]

[[rules]]
name = "moves"
refs = ["refs/heads/**"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "documents on topics"
refs = ["refs/heads/topic/**"]
paths = ["docs/**"]
commit = ["alice", "bob"]
"#,
    ));
    yard.file("src/a", "1");
    yard.commit(ALICE, "source");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("docs/a", "1");
    yard.commit(BOB, "documents");
    yard.refused(&["HEAD:refs/heads/release"], &["[no-rule]"]);
    yard.allowed(&["HEAD:refs/heads/topic/x"]);
    yard.refused(&["HEAD:refs/heads/release"], &["[no-rule]"]);
}

/// What the server writes for itself was judged by nobody.
#[test]
fn what_a_server_keeps_hides_nothing() {
    let rules = r#"
[[rules]]
name = "all"
commit = ["alice"]
merge = ["alice"]
tag = ["alice"]
create = ["anyone"]
update = ["anyone"]
"#;
    let yard = Yard::new(&policy(rules));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let bad = yard.unsigned("of a pull request");
    for kept in [
        "refs/pull/1/head",
        "refs/keep-around/x",
        "refs/remotes/up/x",
    ] {
        yard.smuggle(&[&format!("{bad}:{kept}")]);
    }
    yard.on_server(["update-ref", "--no-deref", "HEAD", &bad])
        .ok();
    yard.refused(&["HEAD:refs/heads/evil"], &["[unsigned]"]);
    yard.tag_of(ALICE, "v1", "v1", &bad, "commit");
    yard.refused(&["refs/tags/v1"], &["[not-a-state]"]);
}

/// A name for another reference is judged as that one.
#[test]
fn an_alias_is_what_it_stands_for() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
commit = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "main"
refs = ["refs/heads/main", "refs/heads/prot/**"]
commit = ["alice"]
"#,
    ));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.on_server(["symbolic-ref", "refs/heads/master", "refs/heads/main"])
        .ok();
    yard.commit(BOB, "second");
    let not_his = "bob@example.test may not add commits";
    yard.refused(&["HEAD:refs/heads/main"], &[not_his]);
    yard.refused(&["HEAD:refs/heads/master"], &["refs/heads/main", not_his]);
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    yard.commit(ALICE, "hers");
    yard.allowed(&["HEAD:refs/heads/master"]);
    // Under its own name it lets nothing in elsewhere.
    yard.commit(BOB, "on another branch");
    yard.allowed(&["HEAD:refs/heads/wild"]);
    yard.on_server(["symbolic-ref", "refs/heads/prot/alias", "refs/heads/wild"])
        .ok();
    yard.refused(&["HEAD:refs/heads/prot/x"], &["bob@example.test may not"]);
}
