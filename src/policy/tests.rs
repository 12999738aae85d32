//! Each code of a finding is brought about by a small policy and a small input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity, San},
};

use crate::{
    CommitFacts, Finding, OtherKind, POLICY_PATH, Policy, Pusher, RefUpdate, SignatureResult, Tag,
    UpdateKind, codes,
    facts::ChangedPath,
    walk::{AuthenticationRequest, CommitSource, authenticate},
};

const MAIN: &[u8] = b"refs/heads/main";
const AT: UnixTime = 1_790_000_000;
const SIGNERS: &str = r#"
version = 1
[signers]
alice = { issuer = "https://i.example", identity = "alice@example.com" }
bob = { issuer = "https://i.example", identity = "bob@example.com" }
old = { issuer = "https://i.example", identity = "old@example.com", valid-until = 2026-01-01T00:00:00Z }
new = { issuer = "https://i.example", identity = "new@example.com", valid-from = 2030-01-01T00:00:00Z }
[bots]
web = { author = "Web <web@example.com>" }
[[rules]]
name = "r"
"#;

fn policy(rule: &str) -> Policy {
    Policy::parse(&format!("{SIGNERS}{rule}"), "p").unwrap_or_else(|errors| panic!("{errors}"))
}

fn good(who: &str) -> SignatureResult {
    SignatureResult::Good {
        identity: Identity {
            san: San::Email(format!("{who}@example.com")),
            issuer: "https://i.example".to_owned(),
        },
        claims: FulcioExtensions::from_pairs(&[("subject", "s")]),
        signed_at: AT,
    }
}

fn facts(signature: SignatureResult) -> CommitFacts<usize> {
    CommitFacts {
        id: 1,
        parents: vec![0],
        signature,
        author: b"Web <web@example.com> 1 +0000".to_vec(),
        committer: b"Web <web@example.com> 1 +0000".to_vec(),
        paths: vec![ChangedPath::changed(b"src/a")],
    }
}

fn commit(rule: &str, signature: SignatureResult) -> Vec<Finding> {
    policy(rule).evaluate_commit(&facts(signature), true, MAIN)
}

fn update(rule: &str, name: &[u8], tag: Option<Tag<'_>>) -> Vec<Finding> {
    let update = RefUpdate {
        name,
        kind: UpdateKind::Create,
        new: "44",
        tag,
    };
    policy(rule).evaluate_update(&update, &Pusher::default())
}

fn tag(name: &[u8], target_type: &str) -> Vec<Finding> {
    let tag = Tag {
        id: "44",
        name,
        signature: &good("alice"),
        target_type,
        others: &[],
    };
    let rule = "tag = [\"alice\"]\ncreate = [\"anyone\"]";
    update(rule, b"refs/tags/v1", Some(tag))
}

/// A history: each commit's parents, signer and policy, from the root on.
struct History(Vec<(Vec<usize>, &'static str, Option<String>)>);

impl CommitSource for History {
    type Id = usize;
    type Error = String;

    fn parents(&mut self, commit: &usize) -> Result<Vec<usize>, String> {
        Ok(self.0[*commit].0.clone())
    }

    fn policy_id(&mut self, commit: &usize) -> Result<Option<usize>, String> {
        Ok(self.0[*commit].2.as_ref().map(|_| *commit))
    }

    fn policy_text(&mut self, blob: &usize) -> Result<Vec<u8>, String> {
        Ok(self.0[*blob].2.clone().unwrap().into_bytes())
    }

    fn commit(&mut self, commit: &usize) -> Result<CommitFacts<usize>, String> {
        Ok(CommitFacts {
            id: *commit,
            parents: self.0[*commit].0.clone(),
            paths: vec![ChangedPath::changed(POLICY_PATH.as_bytes())],
            ..facts(good(self.0[*commit].1))
        })
    }

    fn merged_commits(&mut self, commit: &usize, _: usize) -> Result<Vec<usize>, String> {
        Ok(self.0[*commit].0.clone())
    }
}

/// Walks from the first commit, whose policy lets Alice do everything, to the last one.
fn walk(commits: &[(&[usize], &'static str, Option<&str>)]) -> Vec<Finding> {
    let all = "commit = [\"alice\"]\nmerge = [\"alice\"]\npolicy = [\"alice\"]";
    let text = |policy: &str| match policy {
        "all" => format!("{SIGNERS}{all}"),
        other => other.to_owned(),
    };
    let mut history = History(
        commits
            .iter()
            .map(|(parents, who, policy)| (parents.to_vec(), *who, policy.map(text)))
            .collect(),
    );
    let request = AuthenticationRequest {
        root: &0,
        tip: &(commits.len() - 1),
        through: None,
        ref_name: MAIN,
    };
    let refused = authenticate(&request, &mut history).unwrap().refused;
    refused.map(|(_, findings)| findings).unwrap_or_default()
}

#[test]
fn every_code_is_brought_about() {
    let root: (&[usize], &str, Option<&str>) = (&[], "alice", Some("all"));
    let bad = SignatureResult::Bad {
        code: "digest-mismatch".to_owned(),
        message: "other bytes".to_owned(),
    };
    let ssh = || SignatureResult::Other(OtherKind::Ssh);
    let alone = "commit = [\"alice\"]";
    let two = "commit = [\"alice\", \"bob\"]\nthreshold = { count = 2, of = [\"alice\", \"bob\"] }";
    let below = policy(two).evaluate_thresholds(&[facts(good("alice"))], MAIN);
    let rows = [
        (codes::UNSIGNED, commit(alone, SignatureResult::Unsigned)),
        (
            codes::UNSIGNED_BOT,
            commit(
                &format!("{alone}\nunsigned = [\"web\"]"),
                SignatureResult::Unsigned,
            ),
        ),
        (codes::SIGNATURE_BAD, commit(alone, bad)),
        (codes::SIGNATURE_OTHER, commit(alone, ssh())),
        (
            codes::SIGNATURE_UNVERIFIED,
            commit(&format!("{alone}\nunverified = [\"ssh\"]"), ssh()),
        ),
        (codes::SIGNER_UNKNOWN, commit(alone, good("mallory"))),
        (codes::SIGNER_NOT_ALLOWED, commit(alone, good("bob"))),
        (
            codes::SIGNER_TOO_EARLY,
            commit("commit = [\"new\"]", good("new")),
        ),
        (
            codes::SIGNER_EXPIRED,
            commit("commit = [\"old\"]", good("old")),
        ),
        (
            codes::CLAIM_ABSENT,
            commit(
                &format!("{alone}\nclaims = {{ buildTrigger = \"push\" }}"),
                good("alice"),
            ),
        ),
        (
            codes::CLAIM_MISMATCH,
            commit(
                &format!("{alone}\nclaims = {{ subject = \"t\" }}"),
                good("alice"),
            ),
        ),
        (
            codes::COMMITTER_MISMATCH,
            commit(&format!("{alone}\nmatch-committer = true"), good("alice")),
        ),
        (
            codes::AUTHOR_MISMATCH,
            commit(&format!("{alone}\nmatch-author = true"), good("alice")),
        ),
        (codes::NO_RULE, commit("merge = [\"alice\"]", good("alice"))),
        (
            codes::PATH_NO_RULE,
            policy(&format!("{alone}\npaths = [\"docs/**\"]")).evaluate_commit(
                &CommitFacts {
                    paths: vec![
                        ChangedPath::changed(b"docs/a"),
                        ChangedPath::changed(b"src/a"),
                    ],
                    ..facts(good("alice"))
                },
                true,
                MAIN,
            ),
        ),
        (
            codes::NOT_DIRECT,
            commit(&format!("{alone}\ndirect = [\"nobody\"]"), good("alice")),
        ),
        (
            codes::THRESHOLD,
            below.into_iter().map(|(_, finding)| finding).collect(),
        ),
        (
            codes::PUSHER_UNKNOWN,
            update("create = [\"alice\"]", MAIN, None),
        ),
        (
            codes::PUSHER_NOT_ALLOWED,
            update("create = [\"nobody\"]", MAIN, None),
        ),
        (
            codes::TAG_LIGHTWEIGHT,
            update(
                "tag = [\"alice\"]\ncreate = [\"anyone\"]",
                b"refs/tags/v1",
                None,
            ),
        ),
        (codes::TAG_NAME, tag(b"v2", "commit")),
        (codes::TAG_TARGET, tag(b"v1", "blob")),
        (codes::POLICY_MISSING, walk(&[(&[], "alice", None)])),
        (
            codes::POLICY_UNREADABLE,
            walk(&[root, (&[0], "alice", Some("version = 2"))]),
        ),
        (
            codes::NOT_DESCENDED,
            walk(&[root, (&[], "alice", Some("all"))]),
        ),
        (
            codes::PARENT,
            walk(&[
                root,
                (&[0], "bob", Some("all")),
                (&[0, 1], "alice", Some("all")),
            ]),
        ),
    ];
    for (code, findings) in &rows {
        let found = findings.iter().any(|finding| finding.code == *code);
        assert!(found, "{code}: {findings:?}");
    }
    let rows: BTreeSet<&str> = rows.iter().map(|(code, _)| *code).collect();
    assert_eq!(rows, codes::ALL.iter().copied().collect());
}
