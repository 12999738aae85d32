#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use super::{codes::*, *};
use crate::{
    evaluate::tests::{Scene, policy, tag, update},
    facts::{OtherKind, Pusher, SignatureResult, Tag, UpdateKind},
};
use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity, San},
};

const MAIN: &[u8] = b"refs/heads/main";
const AT: UnixTime = 1_790_000_000;

/// A history in memory: commits have names for ids.
#[derive(Default)]
struct Repository {
    commits: HashMap<String, (CommitFacts<String>, Option<usize>)>,
    policies: Vec<String>,
    verified: usize,
    parsed: usize,
}

/// One commit in the making.
struct Making<'r> {
    repository: &'r mut Repository,
    facts: CommitFacts<String>,
    policy: Option<usize>,
}

fn signature(email: &str) -> SignatureResult {
    SignatureResult::Good {
        identity: Identity {
            san: San::Email(email.to_owned()),
            issuer: "https://accounts.google.com".to_owned(),
        },
        claims: FulcioExtensions::default(),
        signed_at: AT,
    }
}

impl Repository {
    /// A commit by somebody on some parents; its tree has the policy of the
    /// first one.
    fn commit(&mut self, id: &str, who: &str, parents: &[&str]) -> Making<'_> {
        let policy = parents
            .first()
            .and_then(|parent| self.commits.get(*parent))
            .and_then(|(_, policy)| *policy);
        Making {
            facts: CommitFacts {
                id: id.to_owned(),
                parents: parents.iter().map(|p| (*p).to_owned()).collect(),
                signature: match who {
                    "" => SignatureResult::Unsigned,
                    who => signature(&format!("{who}@example.com")),
                },
                author: b"A <a@example.com> 1 +0000".to_vec(),
                committer: b"A <a@example.com> 1 +0000".to_vec(),
                paths: vec![ChangedPath {
                    path: b"src/lib.rs".to_vec(),
                    changed: parents.len() < 2,
                    link: false,
                }],
            },
            policy,
            repository: self,
        }
    }

    fn ask(&mut self, root: &str, tip: &str) -> AuthenticationResult<String> {
        self.ask_through(root, tip, None)
    }

    fn ask_through(
        &mut self,
        root: &str,
        tip: &str,
        through: Option<&str>,
    ) -> AuthenticationResult<String> {
        let through = through.map(str::to_owned);
        let request = AuthenticationRequest {
            root: &root.to_owned(),
            tip: &tip.to_owned(),
            through: through.as_ref(),
            ref_name: MAIN,
        };
        authenticate(&request, self).unwrap()
    }

    /// Refused at which commit, and the first code that refuses.
    fn refused(&mut self, root: &str, tip: &str) -> (String, &'static str) {
        refused(self.ask(root, tip))
    }
}

fn refused(walked: AuthenticationResult<String>) -> (String, &'static str) {
    let (commit, findings) = walked.refused.expect("should be refused");
    let first = findings.iter().find(|finding| finding.refuses()).unwrap();
    (commit, first.code)
}

impl Making<'_> {
    /// With this policy in its tree.
    fn policy(mut self, text: &str) -> Self {
        self.repository.policies.push(text.to_owned());
        self.policy = Some(self.repository.policies.len() - 1);
        self.facts.paths = vec![ChangedPath::changed(POLICY_PATH.as_bytes())];
        self
    }

    fn without_policy(mut self) -> Self {
        self.policy = None;
        self.facts.paths = vec![ChangedPath::changed(POLICY_PATH.as_bytes())];
        self
    }

    /// With the policy of that commit in its tree, as a merge brings it.
    fn policy_of(mut self, commit: &str) -> Self {
        self.policy = self.repository.commits[commit].1;
        self.paths(&[(POLICY_PATH, false)])
    }

    fn paths(mut self, paths: &[(&str, bool)]) -> Self {
        self.facts.paths = paths
            .iter()
            .map(|(path, own)| ChangedPath {
                path: path.as_bytes().to_vec(),
                changed: *own,
                link: false,
            })
            .collect();
        self
    }

    fn at(mut self, time: UnixTime) -> Self {
        if let SignatureResult::Good { signed_at, .. } = &mut self.facts.signature {
            *signed_at = time;
        }
        self
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let entry = (self.facts.clone(), self.policy);
        self.repository.commits.insert(self.facts.id.clone(), entry);
    }
}

impl Repository {
    fn found(&self, commit: &str) -> Result<&(CommitFacts<String>, Option<usize>), Missing> {
        self.commits.get(commit).ok_or(Missing)
    }
}

/// A commit does not exist.
#[derive(Debug)]
struct Missing;

impl CommitSource for Repository {
    type Id = String;
    type Error = Missing;

    fn parents(&mut self, commit: &String) -> Result<Vec<String>, Missing> {
        Ok(self.found(commit)?.0.parents.clone())
    }

    fn policy_id(&mut self, commit: &String) -> Result<Option<String>, Missing> {
        Ok(self.found(commit)?.1.map(|policy| policy.to_string()))
    }

    fn policy_text(&mut self, blob: &String) -> Result<Vec<u8>, Missing> {
        self.parsed += 1;
        Ok(self.policies[blob.parse::<usize>().unwrap()]
            .clone()
            .into_bytes())
    }

    fn commit(&mut self, commit: &String) -> Result<CommitFacts<String>, Missing> {
        self.verified += 1;
        Ok(self.found(commit)?.0.clone())
    }

    fn merged_commits(&mut self, commit: &String, most: usize) -> Result<Vec<String>, Missing> {
        let reach = |from: &str| {
            let mut seen = Vec::new();
            let mut stack = vec![from.to_owned()];
            while let Some(id) = stack.pop() {
                if !seen.contains(&id) {
                    stack.extend(self.found(&id).unwrap().0.parents.clone());
                    seen.push(id);
                }
            }
            seen
        };
        let before = reach(&self.found(commit)?.0.parents[0]);
        Ok(reach(commit)
            .into_iter()
            .filter(|id| !before.contains(id))
            .take(most)
            .collect())
    }
}

/// Committers may commit and merge; managers may besides adopt and change the
/// policy.
fn people(managers: &str, committers: &str) -> String {
    let mut text = "version = 2\n".to_owned();
    for who in managers.split(' ').chain(committers.split(' ')) {
        if !who.is_empty() && !text.contains(&format!("[signers.{who}]")) {
            text.push_str(&format!(
                "[signers.{who}]\nissuer = \"https://accounts.google.com\"\nidentity = \"{who}@example.com\"\n"
            ));
        }
    }
    let list = |names: &str| {
        names
            .split(' ')
            .filter(|name| !name.is_empty())
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let all = format!("{managers} {committers}");
    text.push_str(&format!(
        "[[rules]]\nname = \"all\"\ncommit = [{}]\nmerge = [{}]\nadopt = [{}]\npolicy = [{}]\n",
        list(&all),
        list(&all),
        list(managers),
        list(managers)
    ));
    text
}

/// Alice manages, Bob commits; Carol and Mallory are nobody.
fn project() -> Repository {
    let mut r = Repository::default();
    drop(r.commit("r", "alice", &[]).policy(&people("alice", "bob")));
    r
}

// ------------------------------------------- the scenarios of sequoia-git's book

/// "Adding a signing policy", "Authorize Bob", "Bob adds a commit".
#[test]
fn sequoia_a_policy_an_authorisation_and_a_commit() {
    let mut r = Repository::default();
    drop(r.commit("b0", "alice", &[]));
    drop(
        r.commit("b1", "alice", &["b0"])
            .policy(&people("alice", "")),
    );
    drop(
        r.commit("b2", "alice", &["b1"])
            .policy(&people("alice", "bob")),
    );
    drop(r.commit("b3", "bob", &["b2"]));
    drop(r.commit("b4", "bob", &["b3"]));
    let walked = r.ask("b1", "b4");
    assert!(walked.is_authenticated(), "{walked:?}");
    assert_eq!((walked.judged, walked.policies), (3, 2));
    // The commit before the policy is no policy root.
    assert_eq!(r.refused("b0", "b4"), ("b0".to_owned(), POLICY_MISSING));
    // Only the parent, as `--policy-root HEAD^`.
    assert!(r.ask("b3", "b4").is_authenticated());
    assert!(r.ask("b4", "b4").is_authenticated());
}

/// Carol, whom nobody authorised, pushes on top of main.
#[test]
fn sequoia_a_commit_of_somebody_who_is_not_in_the_policy() {
    let mut r = project();
    drop(r.commit("c", "carol", &["r"]));
    assert_eq!(r.refused("r", "c"), ("c".to_owned(), SIGNER_UNKNOWN));
    drop(r.commit("u", "", &["r"]));
    assert_eq!(r.refused("r", "u"), ("u".to_owned(), UNSIGNED));
    // Nor does Bob's commit on top make it good.
    drop(r.commit("d", "bob", &["c"]));
    assert_eq!(r.refused("r", "d"), ("c".to_owned(), SIGNER_UNKNOWN));
}

/// "Merge Carol's change": whoever may adopt answers for what they merge.
#[test]
fn sequoia_a_merge_of_a_change_from_outside() {
    let mut r = project();
    drop(r.commit("b5", "bob", &["r"]));
    drop(r.commit("b6", "carol", &["b5"]));
    drop(r.commit("b9", "alice", &["b5", "b6"]));
    let walked = r.ask("r", "b9");
    assert!(walked.is_authenticated(), "{walked:?}");
    assert_eq!(walked.adopted, ["b9"]);
    // Bob may merge, but only what is authenticated.
    drop(r.commit("b10", "bob", &["b5", "b6"]));
    assert_eq!(r.refused("r", "b10"), ("b10".to_owned(), PARENT));
    // A fast-forward of Carol's branch is no merge.
    assert_eq!(r.refused("r", "b6"), ("b6".to_owned(), SIGNER_UNKNOWN));
}

/// Bob merges his own branch, and one of Alice's.
#[test]
fn sequoia_a_merge_of_authenticated_branches() {
    let mut r = project();
    drop(r.commit("a1", "alice", &["r"]));
    drop(r.commit("b1", "bob", &["r"]));
    drop(r.commit("b2", "bob", &["b1"]));
    drop(r.commit("m", "bob", &["a1", "b2"]));
    drop(r.commit("n", "bob", &["m", "b2", "a1"]));
    let walked = r.ask("r", "n");
    assert!(walked.is_authenticated(), "{walked:?}");
    assert!(walked.adopted.is_empty());
}

/// Bob may not authorise Carol; Alice may, and from then on Carol commits.
#[test]
fn sequoia_who_may_change_the_policy() {
    let mut r = project();
    drop(
        r.commit("b", "bob", &["r"])
            .policy(&people("alice", "bob carol")),
    );
    assert_eq!(r.refused("r", "b"), ("b".to_owned(), SIGNER_NOT_ALLOWED));
    // The new policy does not judge the commit that brings it.
    drop(
        r.commit("bb", "bob", &["r"])
            .policy(&people("bob", "alice")),
    );
    assert_eq!(r.refused("r", "bb"), ("bb".to_owned(), SIGNER_NOT_ALLOWED));
    drop(r.commit("cc", "carol", &["r"]).policy(&people("carol", "")));
    assert_eq!(r.refused("r", "cc"), ("cc".to_owned(), SIGNER_UNKNOWN));
    drop(
        r.commit("a", "alice", &["r"])
            .policy(&people("alice", "bob carol")),
    );
    drop(r.commit("c", "carol", &["a"]));
    assert!(r.ask("r", "c").is_authenticated());
}

/// A retired committer's old commits stay good, new ones are refused.
#[test]
fn sequoia_a_retired_committer() {
    let mut r = project();
    drop(r.commit("b1", "bob", &["r"]));
    drop(
        r.commit("a1", "alice", &["b1"])
            .policy(&people("alice", "")),
    );
    drop(r.commit("a2", "alice", &["a1"]));
    assert!(r.ask("r", "a2").is_authenticated());
    drop(r.commit("b2", "bob", &["a2"]));
    assert_eq!(r.refused("r", "b2"), ("b2".to_owned(), SIGNER_UNKNOWN));
}

// --------------------------------------------------------------------- and ours

#[test]
fn a_signer_whose_time_is_over() {
    let mut r = Repository::default();
    let text = people("alice", "bob").replace(
        "identity = \"bob@example.com\"",
        "identity = \"bob@example.com\"\nvalid-until = 2026-06-01T00:00:00Z",
    );
    drop(r.commit("r", "alice", &[]).policy(&text));
    drop(r.commit("b1", "bob", &["r"]).at(1_780_271_999));
    drop(r.commit("b2", "bob", &["b1"]).at(1_780_272_000));
    assert!(r.ask("r", "b1").is_authenticated());
    assert_eq!(r.refused("r", "b2"), ("b2".to_owned(), SIGNER_EXPIRED));
}

/// A removed signer forks from a time when the old policy still named them.
#[test]
fn a_hostile_branch_of_a_removed_signer() {
    let mut r = project();
    drop(
        r.commit("a1", "alice", &["r"])
            .policy(&people("alice carol", "")),
    );
    drop(r.commit("a2", "alice", &["a1"]));
    drop(r.commit("x1", "bob", &["r"]));
    drop(r.commit("x2", "bob", &["x1"]));
    // By itself it is authenticated: the user's policy root is that old.
    assert!(r.ask("r", "x2").is_authenticated());
    // With the branch's own value it is not, nor with a later policy root.
    let through = refused(r.ask_through("r", "x2", Some("a2")));
    assert_eq!(through, ("x2".to_owned(), NOT_DESCENDED));
    assert_eq!(r.refused("a1", "x2"), ("x2".to_owned(), NOT_DESCENDED));
    // Swallowing main as the second parent looks like a fast-forward, and is
    // judged by the first parent, the hostile one: it must not pass for main.
    drop(r.commit("x3", "bob", &["x2", "a2"]));
    let through = refused(r.ask_through("r", "x3", Some("a2")));
    assert_eq!(through, ("x3".to_owned(), NOT_DESCENDED));
    // On main it cannot be merged by himself.
    drop(r.commit("x4", "bob", &["a2", "x2"]));
    assert_eq!(r.refused("r", "x4"), ("x4".to_owned(), SIGNER_UNKNOWN));
}

/// A policy that a side branch changed comes with the merge, and so counts as
/// the merge's change, whoever was allowed what on the side.
#[test]
fn a_hostile_policy_on_a_side_branch() {
    let mut r = project();
    drop(r.commit("s1", "carol", &["r"]).policy(&people("carol", "")));
    drop(r.commit("s2", "carol", &["s1"]));
    drop(r.commit("m", "bob", &["r", "s2"]).policy_of("s1"));
    assert_eq!(r.refused("r", "m"), ("m".to_owned(), SIGNER_NOT_ALLOWED));
    // A list of changed paths that keeps quiet about it changes nothing.
    drop(
        r.commit("q", "bob", &["r", "s2"])
            .policy_of("s1")
            .paths(&[("src/a", false)]),
    );
    assert_eq!(r.refused("r", "q"), ("q".to_owned(), SIGNER_NOT_ALLOWED));
    // Merged without the policy, by somebody who may not adopt: the branch has
    // authenticated itself by its own policy only from its second commit on.
    drop(r.commit("m2", "bob", &["r", "s2"]));
    assert_eq!(r.refused("r", "m2"), ("m2".to_owned(), PARENT));
    // Alice may adopt the branch, and the policy stays hers.
    drop(r.commit("m3", "alice", &["r", "s2"]));
    drop(r.commit("c", "carol", &["m3"]));
    assert_eq!(r.refused("r", "c"), ("c".to_owned(), SIGNER_UNKNOWN));
    // Adopting does not authenticate the branch: nothing else builds on it.
    drop(r.commit("s3", "carol", &["s2"]));
    drop(r.commit("m4", "bob", &["m3", "s3"]));
    assert_eq!(r.refused("r", "m4"), ("m4".to_owned(), PARENT));
}

#[test]
fn a_policy_must_stay_and_be_readable() {
    let mut r = project();
    drop(r.commit("d", "alice", &["r"]).without_policy());
    assert_eq!(r.refused("r", "d"), ("d".to_owned(), POLICY_MISSING));
    drop(r.commit("e", "alice", &["r"]).policy("version = 2"));
    drop(r.commit("f", "alice", &["e"]));
    assert_eq!(r.refused("r", "f"), ("e".to_owned(), POLICY_UNREADABLE));
    assert_eq!(r.refused("e", "f"), ("e".to_owned(), POLICY_UNREADABLE));
    assert_eq!(r.refused("d", "d"), ("d".to_owned(), POLICY_MISSING));
}

#[test]
fn a_policy_root_that_is_no_ancestor() {
    let mut r = project();
    drop(r.commit("o", "alice", &[]).policy(&people("alice", "")));
    drop(r.commit("o1", "alice", &["o"]));
    drop(r.commit("a", "alice", &["r"]));
    assert_eq!(r.refused("o1", "a"), ("a".to_owned(), NOT_DESCENDED));
    // An ancestor, but not by first parents.
    drop(r.commit("m", "alice", &["a", "o1"]));
    assert_eq!(r.refused("o", "m"), ("m".to_owned(), NOT_DESCENDED));
    assert_eq!(r.verified, 0, "nothing was verified for that");
    // A fact that is missing is no yes.
    drop(r.commit("b", "alice", &["gone"]));
    let question = AuthenticationRequest {
        root: &"r".to_owned(),
        tip: &"b".to_owned(),
        through: None,
        ref_name: MAIN,
    };
    assert!(matches!(
        authenticate(&question, &mut r),
        Err(WalkError::Source(_))
    ));
}

#[test]
fn warnings_let_pass_and_are_told() {
    let mut r = Repository::default();
    let text = people("alice", "bob").replacen("version = 2", "version = 2\nmode = \"warn\"", 1);
    drop(r.commit("r", "alice", &[]).policy(&text));
    drop(r.commit("c", "carol", &["r"]));
    drop(r.commit("m", "carol", &["r", "c"]));
    let walked = r.ask("r", "m");
    assert!(walked.is_authenticated());
    assert!(
        walked
            .warnings
            .iter()
            .any(|(commit, finding)| commit == "m" && finding.code == SIGNER_UNKNOWN)
    );
}

#[test]
fn a_threshold_counts_author_and_merger() {
    let mut r = Repository::default();
    let text = people("alice bob", "carol")
        + "[[rules]]\nname = \"crypto\"\npaths = [\"crypto/**\"]\ncommit = [\"alice\", \"bob\", \"carol\"]\nmerge = [\"alice\", \"bob\", \"carol\"]\nthreshold = { count = 2, of = [\"alice\", \"bob\"] }\n";
    drop(r.commit("r", "alice", &[]).policy(&text));
    let crypto = &[("crypto/a", true)][..];
    let brought = &[("crypto/a", false)][..];
    // Alone on the branch: one.
    drop(r.commit("d", "alice", &["r"]).paths(crypto));
    assert_eq!(r.refused("r", "d"), ("d".to_owned(), THRESHOLD));
    // Other paths ask for nobody else.
    drop(r.commit("o", "alice", &["r"]));
    assert!(r.ask("r", "o").is_authenticated());
    // Written by one, merged by the other.
    drop(r.commit("s", "alice", &["r"]).paths(crypto));
    drop(r.commit("m", "bob", &["r", "s"]).paths(brought));
    let walked = r.ask("r", "m");
    assert!(walked.is_authenticated(), "{walked:?}");
    // Merged by oneself, or by somebody who does not count.
    for who in ["alice", "carol"] {
        drop(r.commit("n", who, &["r", "s"]).paths(brought));
        assert_eq!(r.refused("r", "n"), ("n".to_owned(), THRESHOLD), "{who}");
    }
}

#[test]
fn direct_commits_and_merged_ones() {
    let mut r = Repository::default();
    let text = people("alice", "bob")
        + "[[rules]]\nname = \"reviewed\"\ncommit = [\"alice\", \"bob\"]\ndirect = [\"nobody\"]\n";
    drop(r.commit("r", "alice", &[]).policy(&text));
    drop(r.commit("s", "bob", &["r"]));
    drop(r.commit("m", "alice", &["r", "s"]));
    assert!(r.ask("r", "m").is_authenticated());
    assert_eq!(r.refused("r", "s"), ("s".to_owned(), NOT_DIRECT));
}

/// 100,000 commits with a merge every hundred and ten policies.
#[test]
fn a_long_history() {
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]).policy(&people("alice", "bob")));
    let mut last = "0".to_owned();
    for number in 1..50_000 {
        let id = number.to_string();
        let side = format!("s{number}");
        drop(r.commit(&side, "bob", &[&last]));
        let making = if number % 100 == 0 {
            r.commit(&id, "bob", &[&last, &side])
        } else {
            r.commit(&id, "alice", &[&last])
        };
        drop(if number % 5_001 == 0 {
            making.policy(&people("alice", &format!("bob x{number}")))
        } else {
            making
        });
        last = id;
    }
    let began = Instant::now();
    let walked = r.ask("0", &last);
    assert!(walked.is_authenticated(), "{:?}", walked.refused);
    assert_eq!(walked.judged, 49_999 + 499);
    assert_eq!(walked.policies, 10);
    assert_eq!(r.parsed, 10, "once for each blob");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    // A side that joins after a very long line of its own: no recursion.
    for number in 0..50_000 {
        let parent = match number {
            0 => "0".to_owned(),
            _ => format!("t{}", number - 1),
        };
        drop(r.commit(&format!("t{number}"), "bob", &[&parent]));
    }
    drop(r.commit("join", "bob", &[&last, "t49999"]));
    assert!(r.ask("0", "join").is_authenticated());
}

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
    let walked = |r: &mut Repository, tip: &str| r.ask("r", tip).refused.unwrap().1;
    let bad = SignatureResult::Bad {
        code: "digest-mismatch".to_owned(),
        message: "other bytes".to_owned(),
    };
    let ssh = SignatureResult::Other(OtherKind::Ssh);
    let alone = "commit = [\"alice\"]";
    let with = |line: &str| format!("{alone}\n{line}");
    let two = "commit = [\"team\"]\nthreshold = { count = 2, of = [\"team\"] }";
    let below = rule(two).evaluate_thresholds(&[alice.commit(alice.good())], MAIN);
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
    drop(r.commit("side", "carol", &["r"]));
    drop(r.commit("join", "bob", &["r", "side"]));
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
        (
            THRESHOLD,
            below.into_iter().map(|(_, finding)| finding).collect(),
        ),
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
        (PARENT, walked(&mut r, "join")),
    ];
    for (code, findings) in &rows {
        let found = findings.iter().any(|finding| finding.code == *code);
        assert!(found, "{code}: {findings:?}");
    }
    // The gate brings about the others.
    let elsewhere = [
        SIGNATURE_TOO_OLD,
        ADOPT_NEEDS_COMMIT,
        POLICY_REWOUND,
        NO_POLICY_REF,
        NOT_A_STATE,
        OVERRIDE,
    ];
    let rows: HashSet<&str> = rows
        .iter()
        .map(|(code, _)| *code)
        .chain(elsewhere)
        .collect();
    assert_eq!(rows, ALL.iter().copied().collect());
}
