//! Each code of a finding.

use std::collections::HashSet;

use super::*;
use crate::{
    evaluate::tests::{Scene, policy, tag, update},
    facts::{Finding, OtherKind, Tag},
};

fn rule(text: &str) -> Policy {
    policy(&format!("[[rules]]\nname = \"r\"\n{text}\n"))
}

fn create(name: &[u8], tag: Option<Tag<'_>>, text: &str) -> Vec<Finding> {
    let update = update(name, UpdateKind::Create, tag);
    rule(text).evaluate_update(&update, &Pusher::default())
}

/// Each code of a finding is brought about by a small policy and a small input.
#[test]
fn every_code_is_brought_about() {
    let alice = Scene::by("alice");
    let signed = |signature: &SignatureResult, text: &str| {
        rule(text).evaluate_commit(&alice.commit(signature), true, MAIN)
    };
    let by = |who: &str, text: &str| signed(Scene::by(who).good(), text);
    let tagged = |name: &[u8], target_type| {
        let tag = Some(Tag {
            target_type,
            ..tag(name, alice.good())
        });
        create(
            b"refs/tags/v1",
            tag,
            "tag = [\"alice\"]\ncreate = [\"anyone\"]",
        )
    };
    let walked = |r: &mut Repository, tip: &str| {
        let found = r.cloned("r", tip).unwrap().findings;
        found.into_iter().map(|found| found.finding).collect()
    };
    let bad = SignatureResult::Bad {
        code: "digest-mismatch".to_owned(),
        message: "other bytes".to_owned(),
    };
    let ssh = SignatureResult::Other(OtherKind::Ssh);
    let alone = "commit = [\"alice\"]";
    let with = |line: &str| format!("{alone}\n{line}");
    let two = "commit = [\"team\"]\nthreshold = { count = 2, of = [\"team\"] }";
    let of_team = people("alice", "") + "[[rules]]\nname = \"two\"\n" + two;
    let of_team = of_team.replace("\"team\"", "\"alice\", \"bob\"") + "\n" + &signers("bob");
    let mut other = Scene::by("alice");
    other.email = "other@example.com".to_owned();
    let other =
        |line: &str| rule(&with(line)).evaluate_commit(&other.commit(alice.good()), true, MAIN);
    let paths = Scene::by("alice").paths(&["docs/a", "src/a"]);
    let claims = "commit = [\"carl\"]\n[signers.carl]\nissuer = \"https://accounts.google.com\"\nidentity = \"carl@example.com\"\nclaims = { subject = \"t\" }";
    let mut claimed = Scene::by("carl");
    claimed.claims = FulcioExtensions::from_pairs(&[("subject", "s")]);
    let mut r = project();
    drop(r.commit("none", "alice", &["r"]).without_policy());
    drop(r.commit("broken", "alice", &["r"]).policy("version = 2"));
    drop(r.commit("o", "alice", &[]));
    drop(r.commit("two", "alice", &["r"]).policy(&of_team));
    drop(r.commit("alone", "alice", &["two"]));
    drop(r.commit("side", "alice", &["r"]));
    drop(
        r.commit("back", "alice", &["r"])
            .policy(&people("alice", "")),
    );
    let own_adopter = people("alice", "bob")
        .replace("adopt = [\"alice\"]", "adopt = [\"alice\", \"bob\"]")
        .replace("commit = [\"alice\", \"bob\"]", "commit = [\"alice\"]");
    drop(r.commit("adopters", "alice", &["r"]).policy(&own_adopter));
    drop(r.commit("u", "", &["adopters"]));
    drop(r.commit("join", "bob", &["adopters", "u"]));
    let aging = people("alice", "bob").replacen("version = 2", "version = 2\nmax-age = \"30d\"", 1);
    drop(r.commit("aging", "alice", &["r"]).policy(&aging));
    drop(r.commit("aged", "alice", &["aging"]).at(AT - 40 * DAY));
    drop(r.commit("late", "bob", &["aging", "aged"]));
    let rewound = r.pushed("back", "side").findings;
    let tag = {
        let mut judge = StepJudge::new(&mut r, Rc::new(rule("tag = [\"alice\"]")));
        let tag = judge.judge_tag(&super::update(b"refs/tags/v1", None, Some("r"), &[]));
        tag.unwrap().findings
    };
    let found = |found: Vec<Found<Id>>| -> Vec<Finding> {
        found.into_iter().map(|found| found.finding).collect()
    };
    let rows = [
        (UNSIGNED, signed(&SignatureResult::Unsigned, alone)),
        (SIGNATURE_BAD, signed(&bad, alone)),
        (SIGNATURE_OTHER, signed(&ssh, alone)),
        (SIGNER_UNKNOWN, by("mallory", alone)),
        (SIGNER_NOT_ALLOWED, by("bob", alone)),
        (SIGNER_TOO_EARLY, by("new", "commit = [\"new\"]")),
        (SIGNER_EXPIRED, by("old", "commit = [\"old\"]")),
        (CLAIM_ABSENT, by("carl", claims)),
        (CLAIM_MISMATCH, signed(claimed.good(), claims)),
        (COMMITTER_MISMATCH, other("match-committer = true")),
        (NO_RULE, by("alice", "merge = [\"alice\"]")),
        (
            PATH_NO_RULE,
            rule(&with("paths = [\"docs/**\"]")).evaluate_commit(
                &paths.commit(alice.good()),
                true,
                MAIN,
            ),
        ),
        (NOT_DIRECT, by("alice", &with("direct = [\"nobody\"]"))),
        (THRESHOLD, walked(&mut r, "alone")),
        (PUSHER_UNKNOWN, create(MAIN, None, "create = [\"alice\"]")),
        (
            PUSHER_NOT_ALLOWED,
            create(MAIN, None, "create = [\"nobody\"]"),
        ),
        (
            TAG_LIGHTWEIGHT,
            create(
                b"refs/tags/v1",
                None,
                "tag = [\"alice\"]\ncreate = [\"anyone\"]",
            ),
        ),
        (TAG_NAME, tagged(b"v2", "commit")),
        (TAG_TARGET, tagged(b"v1", "blob")),
        (POLICY_MISSING, walked(&mut r, "none")),
        (POLICY_UNREADABLE, walked(&mut r, "broken")),
        (NOT_DESCENDED, walked(&mut r, "o")),
        (ADOPT_NEEDS_COMMIT, walked(&mut r, "join")),
        (SIGNATURE_TOO_OLD, walked(&mut r, "late")),
        (POLICY_REWOUND, found(rewound)),
        (NOT_A_STATE, found(tag)),
    ];
    for (code, findings) in &rows {
        let found = findings.iter().any(|finding| finding.code == *code);
        assert!(found, "{code}: {findings:?}");
    }
    // The gate brings about the others.
    let elsewhere = [NO_POLICY_REF, OVERRIDE];
    let rows: HashSet<&str> = rows
        .iter()
        .map(|(code, _)| *code)
        .chain(elsewhere)
        .collect();
    assert_eq!(rows, ALL.iter().copied().collect());
}
