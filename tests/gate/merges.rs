//! Merges and trees that are made to hide a change: each comes through the gate
//! only if whoever signed it could have made the change openly.

use crate::yard::{ALICE, BOB, MALLORY, Yard, policy};

/// Alice works anywhere but in `crypto`, Bob anywhere; both merge.
const OWNED: &str = r#"
[[rules]]
name = "everything else"
refs = ["refs/heads/**"]
paths = ["**", "!crypto/**"]
commit = ["alice", "bob"]

[[rules]]
name = "crypto"
refs = ["refs/heads/**"]
paths = ["crypto/**"]
commit = ["bob"]

[[rules]]
name = "all branches"
refs = ["refs/heads/**"]
merge = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]
"#;

/// A branch on which Bob wrote `crypto/key` and mended it: the commits `old` and
/// `now`.
fn yard(rules: &str) -> Yard {
    let yard = Yard::new(&policy(rules));
    yard.file("crypto/key", "weak");
    yard.file("web/page", "1");
    yard.commit(BOB, "first");
    yard.stage.git(["branch", "old"]).ok();
    yard.file("crypto/key", "strong");
    yard.commit(BOB, "mended");
    yard.stage.git(["branch", "now"]).ok();
    yard.smuggle(&["HEAD:refs/heads/main"]);
    yard
}

fn tree(yard: &Yard, revision: &str) -> String {
    let name = format!("{revision}^{{tree}}");
    let said = yard.stage.git(["rev-parse", &name]).ok();
    said.line().to_owned()
}

/// A commit of this tree on these parents, signed by `who`, at HEAD.
fn made(yard: &Yard, who: &str, tree: &str, parents: &[&str]) -> String {
    let mut arguments = vec!["commit-tree", "--no-gpg-sign", "-m", "made", tree];
    for parent in parents {
        arguments.extend(["-p", parent]);
    }
    let id = yard.stage.git(arguments).ok().line().to_owned();
    yard.stage.git(["checkout", "-q", "-B", "made", &id]).ok();
    yard.sign_head(who)
}

#[test]
fn an_old_commit_as_first_parent_takes_nothing_back() {
    let yard = yard(OWNED);
    // What she wants, openly: refused.
    yard.branch("open", "now");
    yard.file("crypto/key", "weak");
    yard.commit(ALICE, "weak again");
    let crypto: &[&str] = &["alice@example.test may not add commits", "crypto"];
    yard.refused(&["HEAD:refs/heads/main"], crypto);
    // The same as a merge of what is there into what was.
    made(&yard, ALICE, &tree(&yard, "old"), &["old", "now"]);
    yard.refused(&["HEAD:refs/heads/main"], crypto);
    // In two steps, so that the branch is the first parent of the second.
    let first = made(&yard, ALICE, &tree(&yard, "old"), &["old", "now"]);
    made(&yard, ALICE, &tree(&yard, "old"), &["now", &first]);
    yard.refused(&["HEAD:refs/heads/main"], crypto);
    // As one parent of three.
    yard.branch("between", "old");
    yard.file("web/page", "2");
    yard.commit(ALICE, "between");
    made(
        &yard,
        ALICE,
        &tree(&yard, "between"),
        &["old", "between", "now"],
    );
    yard.refused(&["HEAD:refs/heads/main"], crypto);
    // As the other parent has it, which did not change it.
    made(&yard, ALICE, &tree(&yard, "between"), &["now", "between"]);
    yard.refused(&["HEAD:refs/heads/main"], crypto);
    // A file that she does not take over is one that she deletes.
    yard.branch("more", "now");
    yard.file("crypto/check", "1");
    yard.commit(BOB, "a check");
    yard.allowed(&["HEAD:refs/heads/main"]);
    made(&yard, ALICE, &tree(&yard, "now"), &["now", "more"]);
    yard.refused(&["HEAD:refs/heads/main"], &["crypto/check"]);
    // Bob may, since it is his path: on another branch. The first-parent history of
    // the default branch is its policy's, and stays.
    made(&yard, BOB, &tree(&yard, "now"), &["now", "more"]);
    yard.refused(&["HEAD:refs/heads/main"], &["may not be force-pushed"]);
    yard.allowed(&["HEAD:refs/heads/other"]);
}

/// A draft of Bob's and what he has now differ both from what they began with:
/// git would ask, and whoever answers changes his path.
#[test]
fn who_settles_a_conflict_answers_for_it() {
    let yard = yard(OWNED);
    yard.branch("draft", "old");
    yard.file("crypto/key", "draft");
    yard.commit(BOB, "a draft");
    let crypto: &[&str] = &["alice@example.test may not add commits", "crypto"];
    for (tree_of, parents) in [
        ("draft", ["draft", "now"]),
        ("draft", ["now", "draft"]),
        ("now", ["now", "draft"]),
    ] {
        made(&yard, ALICE, &tree(&yard, tree_of), &parents);
        yard.refused(&["HEAD:refs/heads/main"], crypto);
        yard.refused(&["HEAD:refs/heads/other"], crypto);
    }
    made(&yard, BOB, &tree(&yard, "now"), &["now", "draft"]);
    yard.allowed(&["HEAD:refs/heads/main"]);
}

/// Changes below `crypto/` take two signers.
const TWO_FOR_CRYPTO: &str = r#"
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "crypto takes two"
paths = ["crypto/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
threshold = { count = 2, of = ["alice", "bob"] }
"#;

/// What one reference gains is judged on its account, whatever another gains in
/// the same push, and whatever commits say about their time.
#[test]
fn one_reference_answers_for_no_other() {
    let mut yard = yard(TWO_FOR_CRYPTO);
    // Unsigned history that was there before, under many commits.
    yard.branch("legacy", "now");
    let unsigned = yard.unsigned("before there was a gate");
    for number in 0..45 {
        yard.unsigned(&format!("{number}"));
    }
    yard.smuggle(&["HEAD:refs/heads/legacy"]);
    let at = yard.stage.environment.len();
    for name in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
        let old = (name.to_owned(), "100000000 +0000".to_owned());
        yard.stage.environment.push(old);
    }
    yard.file("web/page", "k");
    let k = yard.commit(ALICE, "long ago");
    yard.stage.environment.truncate(at);
    yard.allowed(&["HEAD:refs/heads/legacy"]);
    let m = made(&yard, ALICE, &tree(&yard, "now"), &["now", &unsigned]);
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    let n = made(&yard, ALICE, &tree(&yard, &k), &[&k, &unsigned]);
    yard.refused(
        &[
            &format!("{n}:refs/heads/legacy"),
            &format!("{m}:refs/heads/main"),
        ],
        &["[unsigned]"],
    );
    // Nor does a signature that only another reference gains count for this one.
    yard.branch("bad", "now");
    yard.file("crypto/key", "bad");
    let bad = yard.commit(ALICE, "bad");
    yard.file("crypto/key", "good");
    let good = yard.commit(BOB, "repaired");
    let whole = format!("{good}:refs/heads/aaa");
    yard.refused(
        &[&format!("{bad}:refs/heads/main")],
        &["[threshold-not-met]"],
    );
    yard.refused(
        &[&whole, &format!("{bad}:refs/heads/main")],
        &["[threshold-not-met]"],
    );
    yard.refused(
        &[&whole, &format!("{bad}:refs/heads/new")],
        &["[threshold-not-met]"],
    );
}

#[test]
fn merges_that_only_bring_are_merges() {
    let yard = yard(OWNED);
    // Her branch behind his, merged either way round.
    yard.branch("hers", "old");
    yard.file("web/page", "2");
    yard.commit(ALICE, "her page");
    yard.branch("forth", "now");
    yard.merge(ALICE, "hers", "hers into his");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.branch("back", "hers");
    yard.merge(ALICE, "now", "his into hers");
    yard.allowed(&["HEAD:refs/heads/other"]);
    // A conflict in her own paths is hers to resolve.
    yard.branch("his", "now");
    yard.file("web/page", "3");
    yard.commit(BOB, "his page");
    yard.stage
        .git(["merge", "-q", "--no-ff", "--no-commit", "hers"]);
    yard.file("web/page", "4");
    yard.stage
        .git(["commit", "-q", "--no-gpg-sign", "-m", "resolved"])
        .ok();
    yard.sign_head(ALICE);
    yard.allowed(&["HEAD:refs/heads/resolved"]);
}

#[test]
fn a_merge_with_nothing_to_bring_is_a_commit() {
    let rules = r#"
[[rules]]
name = "main"
refs = ["refs/heads/**"]
commit = ["alice", "bob"]
direct = ["nobody"]
merge = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]
"#;
    let yard = yard(rules);
    yard.branch("work", "now");
    yard.file("web/page", "2");
    yard.unsigned("openly");
    let with = tree(&yard, "HEAD");
    made(&yard, ALICE, &with, &["now"]);
    yard.refused(&["HEAD:refs/heads/main"], &["[direct-not-allowed]"]);
    made(&yard, ALICE, &with, &["now", "old"]);
    yard.refused(&["HEAD:refs/heads/main"], &["[direct-not-allowed]"]);
}

#[test]
fn a_merge_that_adds_is_not_signed_for_by_those_it_merges() {
    let yard = yard(TWO_FOR_CRYPTO);
    yard.branch("hers", "now");
    yard.file("crypto/NOTES", "harmless");
    yard.commit(ALICE, "notes");
    // He merges what she signed: that is two.
    yard.branch("his", "now");
    yard.merge(BOB, "hers", "her notes");
    yard.allowed(&["HEAD:refs/heads/notes"]);
    // He merges, and puts something else there: that is one.
    yard.branch("his", "now");
    yard.stage
        .git(["merge", "-q", "--no-ff", "--no-commit", "hers"]);
    yard.stage.git(["rm", "-q", "-f", "crypto/NOTES"]).ok();
    yard.file("crypto/key", "of Bob");
    yard.stage
        .git(["commit", "-q", "--no-gpg-sign", "-m", "her notes"])
        .ok();
    yard.sign_head(BOB);
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["[threshold-not-met]", "from alice, bob; has 1: bob"],
    );
    // Nor by whoever wrote the side that is taken in a conflict.
    yard.branch("draft", "old");
    yard.file("crypto/key", "draft");
    yard.commit(BOB, "a draft");
    made(&yard, ALICE, &tree(&yard, "draft"), &["now", "draft"]);
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["[threshold-not-met]", "from alice, bob; has 1: alice"],
    );
}

/// Whoever reads a commit's headers in another way sees other parents and paths.
#[test]
fn a_commit_that_is_read_in_two_ways_is_none() {
    let rules = r#"
[[rules]]
name = "unsigned still"
refs = ["refs/heads/**"]
commit = ["anyone"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "crypto"
paths = ["crypto/**"]
commit = ["bob"]
"#;
    let yard = yard(rules);
    yard.branch("work", "now");
    yard.file("web/page", "2");
    yard.unsigned("let through");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.file("crypto/key", "weak");
    yard.unsigned("not this one");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    let raw = yard.stage.git(["cat-file", "commit", "HEAD"]).ok().out;
    let author = raw
        .lines()
        .find(|line| line.starts_with("author "))
        .unwrap();
    for other in [format!("{author}\n{author}"), "author x".to_owned()] {
        yard.stage.place(raw.replacen(author, &other, 1).as_bytes());
        yard.refused(&["HEAD:refs/heads/main"], &["are not those of a commit"]);
    }
    yard.commit(MALLORY, "by a stranger");
}
