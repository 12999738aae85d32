#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Display;

use super::{codes::*, *};
use crate::facts::{ApprovalTag, CommitFacts, OtherKind, is_policy};
use crate::facts::{NameEmail, Pusher, RefUpdate, SignatureResult, Tag, UpdateKind};
use gitseal_evidence::certificate::{FulcioExtensions, Identity, San};

const GOOGLE: &str = "https://accounts.google.com";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const MAIN: &[u8] = b"refs/heads/main";
const AT: UnixTime = 1_790_000_000;

/// What the engine asks of a policy about one commit, all at once.
impl Policy {
    /// Evaluates a commit on its way to a ref. No finding: everything is allowed.
    /// `direct`: the commit is in the first-parent history between the ref's old and
    /// new value. The last findings are those of rules on trial, as warnings.
    pub(crate) fn evaluate_commit<I: Display>(
        &self,
        commit: &CommitFacts<I>,
        direct: bool,
        ref_name: &[u8],
    ) -> Vec<Finding> {
        let context = self.commit_context(commit, direct, None);
        let all: Vec<&ChangedPath> = commit.paths.iter().collect();
        let own: Vec<&ChangedPath> = commit.paths.iter().filter(|path| path.changed).collect();
        let mut actions = Vec::new();
        if commit.is_merge() {
            actions.push((Action::Merge, all.as_slice()));
            if !own.is_empty() {
                actions.push((Action::Commit, own.as_slice()));
            }
        } else {
            actions.push((Action::Commit, all.as_slice()));
        }
        let mut findings = Vec::new();
        for (action, paths) in &actions {
            self.evaluate(*action, paths, ref_name, &context, &mut findings);
        }
        if all.iter().any(|path| is_policy(&path.path)) {
            let mut changes = Vec::new();
            self.evaluate(Action::Policy, &[], ref_name, &context, &mut changes);
            findings.extend(changes.into_iter().map(Finding::enforced));
        }
        for (action, paths) in &actions {
            self.evaluate_trials(*action, paths, ref_name, &context, &mut findings);
        }
        findings
    }

    /// Evaluates whether the signer of a merge may adopt the history that it brings
    /// in: that takes `adopt`, and `commit` for all that the merge changes.
    pub(crate) fn evaluate_adoption<I: Display>(
        &self,
        merge: &CommitFacts<I>,
        ref_name: &[u8],
    ) -> Vec<Finding> {
        let context = self.commit_context(merge, false, None);
        let all: Vec<&ChangedPath> = merge.paths.iter().collect();
        let mut findings = Vec::new();
        self.evaluate(Action::Adopt, &all, ref_name, &context, &mut findings);
        if findings.iter().any(Finding::refuses) {
            return findings;
        }
        let mut commits = Vec::new();
        self.evaluate(Action::Commit, &all, ref_name, &context, &mut commits);
        for finding in commits {
            add(&mut findings, finding.of_adoption());
        }
        findings
    }
}

/// Signers and groups that most tests share.
const PEOPLE: &str = r#"
version = 2
[signers]
alice = { issuer = "https://accounts.google.com", identity = "alice@example.com", accounts = ["al"] }
bob = { issuer = "https://accounts.google.com", identity = "bob@example.com", accounts = ["bobby"] }
carol = { issuer = "https://accounts.google.com", identity = "carol@example.com" }
old = { issuer = "https://accounts.google.com", identity = "old@example.com", valid-until = 2026-01-01T00:00:00Z, accounts = ["old"] }
new = { issuer = "https://accounts.google.com", identity = "new@example.com", valid-from = 2030-01-01T00:00:00Z }
[signers.bot]
issuer = "https://token.actions.githubusercontent.com"
identity = { pattern = 'https://github\.com/example/app/\.github/workflows/[a-z]+\.yml@refs/heads/main' }
claims = { runnerEnvironment = "github-hosted", sourceRepositoryUri = "https://github.com/example/app" }
[groups]
team = ["alice", "bob"]
all = ["team", "old", "new"]
"#;

pub(crate) fn policy(rules: &str) -> Policy {
    Policy::parse(&format!("{PEOPLE}\n{rules}"), "test.toml").unwrap_or_else(|e| panic!("{e}"))
}

/// A signer, a commit and its changes, held together.
pub(crate) struct Scene {
    identity: Identity,
    pub(crate) claims: FulcioExtensions,
    at: UnixTime,
    parents: Vec<String>,
    paths: Vec<ChangedPath>,
    pub(crate) email: String,
    direct: bool,
}

impl Scene {
    /// A commit of this signer at example.com.
    pub(crate) fn by(who: &str) -> Self {
        let email = format!("{who}@example.com");
        Self {
            identity: Identity {
                san: San::Email(email.clone()),
                issuer: GOOGLE.to_owned(),
            },
            claims: FulcioExtensions::default(),
            at: AT,
            parents: vec!["11".repeat(20)],
            paths: vec![ChangedPath::changed(b"src/main.rs")],
            email,
            direct: true,
        }
    }

    pub(crate) fn paths(mut self, paths: &[&str]) -> Self {
        self.paths = paths
            .iter()
            .map(|p| ChangedPath::changed(p.as_bytes()))
            .collect();
        self
    }

    fn merge(mut self, brought: &[&str], own: &[&str]) -> Self {
        self.parents.push("22".repeat(20));
        let brought = brought.iter().map(|path| (path, false));
        let all = brought.chain(own.iter().map(|path| (path, true)));
        self.paths = all
            .map(|(path, changed)| ChangedPath {
                path: path.as_bytes().to_vec(),
                changed,
                link: false,
            })
            .collect();
        self
    }

    pub(crate) fn good(&self) -> &'static SignatureResult {
        Box::leak(Box::new(SignatureResult::Good {
            identity: self.identity.clone(),
            claims: self.claims.clone(),
            signed_at: self.at,
        }))
    }

    pub(crate) fn commit(&self, signature: &SignatureResult) -> CommitFacts<String> {
        let person = format!("Somebody <{}> 1 +0000", self.email).into_bytes();
        CommitFacts {
            id: "3333333333333333333333333333333333333333".to_owned(),
            parents: self.parents.clone(),
            signature: signature.clone(),
            author: person.clone(),
            committer: person,
            paths: self.paths.clone(),
        }
    }
}

fn codes_of(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code).collect()
}

fn on_main(policy: &Policy, scene: &Scene) -> Vec<&'static str> {
    codes_of(&policy.evaluate_commit(&scene.commit(scene.good()), scene.direct, MAIN))
}

const SIMPLE: &str = r#"
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
commit = ["team", "old", "new", "bot"]
merge = ["alice"]
create = ["anyone"]
update = ["team"]
delete = ["alice"]
"#;

#[test]
fn who_may_commit_and_merge() {
    let policy = policy(SIMPLE);
    assert!(on_main(&policy, &Scene::by("alice")).is_empty());
    assert_eq!(on_main(&policy, &Scene::by("carol")), [SIGNER_NOT_ALLOWED]);
    assert_eq!(on_main(&policy, &Scene::by("mallory")), [SIGNER_UNKNOWN]);
    let merge = |who: &str| Scene::by(who).merge(&["a"], &[]);
    assert!(on_main(&policy, &merge("alice")).is_empty());
    assert_eq!(on_main(&policy, &merge("bob")), [SIGNER_NOT_ALLOWED]);
}

#[test]
fn the_same_name_at_another_issuer_is_somebody_else() {
    let policy = policy(SIMPLE);
    let mut scene = Scene::by("alice");
    scene.identity.issuer = "https://accounts.google.com/".to_owned();
    assert_eq!(on_main(&policy, &scene), [SIGNER_UNKNOWN]);
    scene.identity.issuer = GOOGLE.to_owned();
    scene.identity.san = San::Email("Alice@example.com".to_owned());
    assert_eq!(on_main(&policy, &scene), [SIGNER_UNKNOWN]);
}

// ------------------------------------------------------------ one rule at a time

#[test]
fn every_rule_that_speaks_must_allow_and_one_must_speak() {
    let policy = policy(
        r#"
[[rules]]
name = "all"
refs = ["refs/heads/**"]
commit = ["team", "carol"]
[[rules]]
name = "main"
refs = ["refs/heads/main"]
commit = ["team"]
"#,
    );
    let carol = Scene::by("carol");
    assert_eq!(on_main(&policy, &carol), [SIGNER_NOT_ALLOWED]);
    let on =
        |name: &[u8]| codes_of(&policy.evaluate_commit(&carol.commit(carol.good()), true, name));
    assert!(on(b"refs/heads/topic").is_empty());
    assert_eq!(on(b"refs/tags/v1"), [NO_RULE]);
    // Merging is another action.
    let merge = Scene::by("alice").merge(&["a"], &[]);
    assert_eq!(on_main(&policy, &merge), [NO_RULE]);
}

const PATHS: &str = r#"
[[rules]]
name = "code"
paths = ["src/**"]
commit = ["alice"]
merge = ["alice", "bob"]
[[rules]]
name = "docs"
paths = ["docs/**"]
commit = ["alice", "carol"]
merge = ["alice"]
"#;

#[test]
fn paths_have_owners() {
    let policy = policy(PATHS);
    let by = |who: &str, paths: &[&str]| on_main(&policy, &Scene::by(who).paths(paths));
    assert!(by("carol", &["docs/a"]).is_empty());
    assert_eq!(by("carol", &["docs/a", "src/b"]), [SIGNER_NOT_ALLOWED]);
    assert!(by("alice", &["docs/a", "src/b"]).is_empty());
    // A path that nobody speaks of is refused, and so is a commit without any.
    assert_eq!(by("alice", &["docs/a", "Makefile"]), [PATH_NO_RULE]);
    assert_eq!(by("alice", &["Makefile"]), [NO_RULE]);
    assert_eq!(by("alice", &[]), [NO_RULE]);
}

#[test]
fn a_merge_answers_for_what_it_brings_and_adds() {
    let policy = policy(PATHS);
    let by = |who: &str, brought: &[&str], own: &[&str]| {
        on_main(&policy, &Scene::by(who).merge(brought, own))
    };
    assert!(by("bob", &["src/a"], &[]).is_empty());
    assert_eq!(by("bob", &["src/a", "docs/a"], &[]), [SIGNER_NOT_ALLOWED]);
    // What a merge adds of its own is a commit too: Bob may merge, not commit.
    assert_eq!(by("bob", &["src/a"], &["src/b"]), [SIGNER_NOT_ALLOWED]);
    assert!(by("alice", &["src/a"], &["src/b"]).is_empty());
}

/// I5: what is asked for and not there refuses, for every claim.
#[test]
fn every_claim_that_is_absent_or_other_refuses() {
    use gitseal_evidence::certificate::CLAIM_OIDS;
    for claim in CLAIM_OIDS {
        let name = claim.name;
        let by_signer = policy(&format!(
            "[signers.x]\nissuer = \"https://accounts.google.com\"\nidentity = \"x@example.com\"\nclaims = {{ {name} = {{ pattern = 'y..' }} }}\n[[rules]]\nname = \"r\"\ncommit = [\"x\"]\n"
        ));
        let mut scene = Scene::by("x");
        assert_eq!(on_main(&by_signer, &scene), [CLAIM_ABSENT], "{name}");
        scene.claims = FulcioExtensions::from_pairs(&[(name, "yes")]);
        assert!(on_main(&by_signer, &scene).is_empty(), "{name}");
        for other in ["", "Yes", "yes ", "xyes", "yesx"] {
            scene.claims = FulcioExtensions::from_pairs(&[(name, other)]);
            assert_eq!(
                on_main(&by_signer, &scene),
                [CLAIM_MISMATCH],
                "{name} {other:?}"
            );
        }
    }
}

#[test]
fn a_workflow_by_pattern_and_claims() {
    let policy = policy(SIMPLE);
    let mut scene = Scene::by("unused");
    let uri = "https://github.com/example/app/.github/workflows/ci.yml@refs/heads/main";
    scene.identity = Identity {
        san: San::Uri(uri.to_owned()),
        issuer: GITHUB.to_owned(),
    };
    scene.claims = FulcioExtensions::from_pairs(&[
        ("runnerEnvironment", "github-hosted"),
        ("sourceRepositoryUri", "https://github.com/example/app"),
    ]);
    assert!(on_main(&policy, &scene).is_empty());
    scene.claims = FulcioExtensions::from_pairs(&[("runnerEnvironment", "github-hosted")]);
    assert_eq!(on_main(&policy, &scene), [CLAIM_ABSENT]);
    for other in [
        format!("x{uri}"),
        format!("{uri}x"),
        uri.replace("ci.yml", "c.i.yml"),
    ] {
        scene.identity.san = San::Uri(other);
        assert_eq!(on_main(&policy, &scene), [SIGNER_UNKNOWN]);
    }
}

#[test]
fn validity_is_half_open() {
    let policy = policy(SIMPLE);
    let at = |who: &str, at| {
        let mut scene = Scene::by(who);
        scene.at = at;
        on_main(&policy, &scene)
    };
    // 2026-01-01 and 2030-01-01.
    assert!(at("old", 1_767_225_599).is_empty());
    assert_eq!(at("old", 1_767_225_600), [SIGNER_EXPIRED]);
    assert_eq!(at("new", 1_893_455_999), [SIGNER_TOO_EARLY]);
    assert!(at("new", 1_893_456_000).is_empty());
}

/// I7: the committer against the identity.
#[test]
fn the_committer_must_be_the_signer() {
    let policy = policy(
        r#"
[signers.dora]
issuer = "https://accounts.google.com"
identity = "dora@example.com"
emails = ["dora@users.example.org"]
[[rules]]
name = "r"
commit = ["alice", "dora", "bot"]
match-committer = true
"#,
    );
    let alice = Scene::by("alice");
    assert!(on_main(&policy, &alice).is_empty());
    let mallory = b"Alice <mallory@example.com> 1 +0000";
    let mut commit = alice.commit(alice.good());
    commit.committer = mallory.to_vec();
    let found = policy.evaluate_commit(&commit, true, MAIN);
    assert_eq!(codes_of(&found), [COMMITTER_MISMATCH]);
    assert!(found[0].refuses() && found[0].rule == "r");
    // The author is what the committer wrote.
    let mut commit = alice.commit(alice.good());
    commit.author = mallory.to_vec();
    assert!(policy.evaluate_commit(&commit, true, MAIN).is_empty());
    for other in [
        "Alice@example.com",
        "alice@example.com ",
        "",
        "alice@example.com>",
    ] {
        let mut scene = Scene::by("alice");
        scene.email = other.to_owned();
        assert_eq!(on_main(&policy, &scene), [COMMITTER_MISMATCH], "{other:?}");
    }
    // With addresses of one's own the identity itself is none of them.
    let mut dora = Scene::by("dora");
    assert!(on_main(&policy, &dora).contains(&COMMITTER_MISMATCH));
    dora.email = "dora@users.example.org".to_owned();
    assert!(on_main(&policy, &dora).is_empty());
}

#[test]
fn people_are_read_as_git_writes_them() {
    let person = |raw: &'static [u8]| {
        let person = NameEmail::from_header(raw);
        (person.name, person.email)
    };
    assert_eq!(person(b"A B <a@b> 12 +0000"), (&b"A B"[..], &b"a@b"[..]));
    assert_eq!(person(b" <a@b> 12 +0000"), (&b""[..], &b"a@b"[..]));
    assert_eq!(person(b"A <a@b> <c@d> 1 +0000").1, b"a@b> <c@d");
    assert_eq!(person(b"nothing"), (&b"nothing"[..], &b""[..]));
    assert_eq!(person(b"> <").1, b"");
}

#[test]
fn unsigned_bad_and_other_signatures() {
    let policy = policy(
        r#"
[[rules]]
name = "r"
refs = ["refs/heads/main"]
commit = ["alice"]
[[rules]]
name = "drafts"
refs = ["refs/heads/drafts/**"]
commit = ["anyone"]
merge = ["anyone"]
"#,
    );
    let scene = Scene::by("web");
    let bad = SignatureResult::Bad {
        code: "digest-mismatch".to_owned(),
        message: "other bytes".to_owned(),
    };
    for (signature, code) in [
        (&SignatureResult::Unsigned, UNSIGNED),
        (&SignatureResult::Other(OtherKind::OpenPgp), SIGNATURE_OTHER),
        (&SignatureResult::Other(OtherKind::Ssh), SIGNATURE_OTHER),
        (&bad, SIGNATURE_BAD),
        (scene.good(), SIGNER_UNKNOWN),
    ] {
        let commit = scene.commit(signature);
        let found = policy.evaluate_commit(&commit, true, MAIN);
        assert_eq!(codes_of(&found), [code]);
        assert!(found[0].refuses());
        // Anyone may push drafts, in whatever way they are signed.
        let found = policy.evaluate_commit(&commit, true, b"refs/heads/drafts/x");
        assert!(found.is_empty(), "{code}");
    }
}

#[test]
fn the_policy_has_its_own_right() {
    let policy = policy(
        r#"
[[rules]]
name = "r"
commit = ["alice", "bob"]
merge = ["alice", "bob"]
policy = ["alice"]
"#,
    );
    for path in [".gitseal/policy.toml", ".gitseal", ".gitseal/other"] {
        let by = |who: &str| on_main(&policy, &Scene::by(who).paths(&[path]));
        assert!(by("alice").is_empty());
        assert_eq!(by("bob"), [SIGNER_NOT_ALLOWED], "{path}");
        let merge = Scene::by("bob").merge(&[path], &[]);
        assert_eq!(on_main(&policy, &merge), [SIGNER_NOT_ALLOWED]);
    }
    for path in [
        ".gitsealed",
        "a/.gitseal/policy.toml",
        ".Gitseal/policy.toml",
    ] {
        assert!(on_main(&policy, &Scene::by("bob").paths(&[path])).is_empty());
    }
}

#[test]
fn direct_commits() {
    let policy = policy(
        r#"
[[rules]]
name = "r"
commit = ["alice", "bob"]
merge = ["bob"]
direct = ["alice"]
"#,
    );
    let mut bob = Scene::by("bob");
    assert_eq!(on_main(&policy, &bob), [NOT_DIRECT]);
    bob.direct = false;
    assert!(on_main(&policy, &bob).is_empty());
    assert!(on_main(&policy, &Scene::by("alice")).is_empty());
    let merge = Scene::by("bob").merge(&["a"], &["b"]);
    assert!(on_main(&policy, &merge).is_empty());
}

#[test]
fn the_mode_is_that_of_the_whole() {
    let warn = PEOPLE.replacen("version = 2", "version = 2\nmode = \"warn\"", 1);
    let rule = "[[rules]]\nname = \"e\"\npaths = [\"crypto/**\"]\ncommit = [\"alice\"]\n";
    let policy = Policy::parse(&format!("{warn}{rule}"), "t").unwrap();
    let scene = Scene::by("bob").paths(&["crypto/a"]);
    let found = policy.evaluate_commit(&scene.commit(scene.good()), scene.direct, MAIN);
    assert_eq!((found.len(), found[0].refuses()), (1, false));
    assert!(
        found[0]
            .message
            .starts_with("bob@example.com may not add commits in crypto/a ")
    );
}

/// A trial rule is reported and nothing else: it neither refuses nor allows.
#[test]
fn a_rule_on_trial_changes_no_verdict() {
    let trial = "[[rules]]\nname = \"t\"\ntrial = true\nrefs = [\"refs/**\"]\ncommit = [\"alice\"]\ntag = [\"alice\"]\nupdate = [\"alice\"]\n";
    let both = policy(&format!("{SIMPLE}{trial}"));
    let bob = Scene::by("bob");
    let found = both.evaluate_commit(&bob.commit(bob.good()), true, MAIN);
    assert_eq!(codes_of(&found), [SIGNER_NOT_ALLOWED]);
    assert!(!found[0].refuses() && found[0].rule == "t");
    assert!(
        found[0]
            .message
            .starts_with("on trial: bob@example.com may not")
    );
    let pusher = Pusher {
        account: Some("bobby"),
        ..Pusher::default()
    };
    let forward = UpdateKind::Update { fast_forward: true };
    let found = both.evaluate_update(&update(MAIN, forward, None), &pusher);
    assert_eq!(codes_of(&found), [PUSHER_NOT_ALLOWED]);
    assert!(!found[0].refuses());
    // What no other rule speaks of stays refused.
    let alone = policy(trial);
    let alice = Scene::by("alice");
    assert_eq!(on_main(&alone, &alice), [NO_RULE]);
    let tagged = tag(b"v1", alice.good());
    let kind = UpdateKind::Create;
    let update = update(b"refs/tags/v1", kind, Some(tagged));
    let found = alone.evaluate_update(&update, &Pusher::default());
    assert_eq!(codes_of(&found), [NO_RULE, NO_RULE]);
    assert!(found.iter().all(Finding::refuses));
}

const OWNERS: &str = r#"
[[rules]]
name = "everything else"
refs = ["refs/heads/**"]
paths = ["**", "!deploy/prod/**"]
commit = ["team", "carol"]
[[rules]]
name = "deploy"
paths = ["deploy/prod/**"]
commit = ["carol"]
"#;

/// I10: what a checkout reads at a path is its owners', also through a link above it,
/// and under a name that a file system takes for the same.
#[test]
fn links_above_and_other_spellings() {
    let policy = policy(OWNERS);
    let by = |who: &str, path: &str, link: bool| {
        let mut scene = Scene::by(who).paths(&[path]);
        scene.paths[0].link = link;
        on_main(&policy, &scene)
    };
    for (path, link) in [
        ("deploy", true),
        ("Deploy", true),
        ("deploy/prod", true),
        ("Deploy/Prod/key", false),
        ("deploy/PROD/key", false),
    ] {
        assert_eq!(by("alice", path, link), [SIGNER_NOT_ALLOWED], "{path}");
    }
    // A file cannot lead elsewhere; other links are nothing to the rule.
    for (path, link) in [("deploy", false), ("deploy/other", true), ("docs", true)] {
        assert!(by("alice", path, link).is_empty(), "{path}");
    }
    assert!(by("carol", "deploy", true).is_empty());
    assert!(by("carol", "deploy/prod/key", false).is_empty());
    // To allow, a rule must match the spelling: alone, the rule about deploy/prod
    // allows no other.
    let alone = self::policy(
        "[[rules]]\nname = \"deploy\"\npaths = [\"deploy/prod/**\"]\ncommit = [\"carol\"]\n",
    );
    let mut scene = Scene::by("carol").paths(&["Deploy/prod/key"]);
    assert_eq!(on_main(&alone, &scene), [PATH_NO_RULE]);
    scene = Scene::by("carol").paths(&["deploy"]);
    scene.paths[0].link = true;
    assert_eq!(on_main(&alone, &scene), [PATH_NO_RULE]);
    // What is only excluded is closed in each spelling, and by way of a link.
    let closed = self::policy(
        "[[rules]]\nname = \"all\"\npaths = [\"**\", \"!prod/**\", \"!deploy/x/**\"]\ncommit = [\"carol\"]\n",
    );
    for (path, link, is_open) in [
        ("prod/k", false, false),
        ("Prod/k", false, false),
        ("PROD", true, false),
        ("deploy", true, false),
        ("Deploy", true, false),
        ("deploy", false, true),
        ("deploy/y", true, true),
        ("product/k", false, true),
    ] {
        let mut scene = Scene::by("carol").paths(&[path]);
        scene.paths[0].link = link;
        assert_eq!(on_main(&closed, &scene).is_empty(), is_open, "{path}");
    }
}

/// A signature counts for a time, the signer's before the policy's.
#[test]
fn a_signature_grows_old() {
    let text = PEOPLE
        .replacen("version = 2", "version = 2\nmax-age = \"30d\"", 1)
        .replacen(
            "identity = \"bob@example.com\"",
            "identity = \"bob@example.com\", max-age = \"1h\"",
            1,
        );
    let rule = "[[rules]]\nname = \"r\"\ncommit = [\"team\"]\ntag = [\"team\"]\ncreate = [\"anyone\"]\nthreshold = { count = 2, of = [\"team\"] }\n";
    let policy = Policy::parse(&format!("{text}{rule}"), "t").unwrap();
    let judge = |who: &str, now: Option<UnixTime>| {
        let scene = Scene::by(who);
        let facts = scene.commit(scene.good());
        let context = policy.commit_context(&facts, true, now);
        let paths: Vec<&ChangedPath> = facts.paths.iter().collect();
        let mut findings = Vec::new();
        policy.evaluate(Action::Commit, &paths, MAIN, &context, &mut findings);
        findings
    };
    for (who, age) in [("alice", 30 * 86_400), ("bob", 3_600)] {
        assert!(judge(who, Some(AT + age)).is_empty());
        assert!(judge(who, None).is_empty());
        assert!(judge(who, Some(AT - 1)).is_empty());
        let found = judge(who, Some(AT + age + 1));
        assert_eq!(codes_of(&found), [SIGNATURE_TOO_OLD], "{who}");
        assert!(
            found[0]
                .command
                .as_ref()
                .unwrap()
                .starts_with("git rebase ")
        );
    }
    assert!(
        judge("bob", Some(AT + 3_601))[0]
            .message
            .contains("count for 1 hour;")
    );
    // Tags, their approvals and push certificates age by the server's clock.
    let [alice, bob] = ["alice", "bob"].map(Scene::by);
    let others = [ApprovalTag {
        ref_name: b"refs/approvals/v1/bob",
        name: b"v1",
        signature: bob.good(),
    }];
    let tagged = |now| {
        let tag = Tag {
            others: &others,
            ..tag(b"v1", alice.good())
        };
        let pusher = Pusher {
            now: Some(now),
            ..Pusher::default()
        };
        let update = update(b"refs/tags/v1", UpdateKind::Create, Some(tag));
        codes_of(&policy.evaluate_update(&update, &pusher))
    };
    assert!(tagged(AT + 3_600).is_empty());
    assert_eq!(tagged(AT + 3_601), [THRESHOLD]);
    assert_eq!(tagged(AT + 31 * 86_400), [SIGNATURE_TOO_OLD, THRESHOLD]);
}

/// Adopting is committing: whoever may not commit a path cannot adopt a change of it.
#[test]
fn adopting_takes_the_right_to_commit() {
    let policy = policy(
        r#"
[[rules]]
name = "web"
paths = ["web/**"]
commit = ["team"]
[[rules]]
name = "crypto"
paths = ["crypto/**"]
commit = ["alice"]
[[rules]]
name = "merges"
merge = ["team"]
adopt = ["bob"]
"#,
    );
    let adopts = |who: &str, brought: &[&str]| {
        let scene = Scene::by(who).merge(brought, &[]);
        codes_of(&policy.evaluate_adoption(&scene.commit(scene.good()), MAIN))
    };
    assert!(adopts("bob", &["web/a"]).is_empty());
    assert_eq!(adopts("bob", &["web/a", "crypto/a"]), [ADOPT_NEEDS_COMMIT]);
    assert_eq!(adopts("bob", &["other"]), [ADOPT_NEEDS_COMMIT]);
    assert_eq!(adopts("alice", &["crypto/a"]), [SIGNER_NOT_ALLOWED]);
}

/// Mode `warn` never reaches the policy itself.
#[test]
fn the_policy_is_enforced_in_mode_warn() {
    let warn = PEOPLE.replacen("version = 2", "version = 2\nmode = \"warn\"", 1);
    let rule = "[[rules]]\nname = \"r\"\ncommit = [\"alice\"]\npolicy = [\"alice\"]\n";
    let policy = Policy::parse(&format!("{warn}{rule}"), "t").unwrap();
    let scene = Scene::by("bob").paths(&[".gitseal/policy.toml"]);
    let found = policy.evaluate_commit(&scene.commit(scene.good()), true, MAIN);
    let refusing: Vec<&Finding> = found.iter().filter(|finding| finding.refuses()).collect();
    assert_eq!(refusing.len(), 1, "{found:?}");
    assert!(refusing[0].message.contains("may not change the policy"));
}

/// A command in a hint is one command to a shell, whatever names are in it.
#[test]
fn commands_are_quoted() {
    let policy = policy(
        "[[rules]]\nname = \"r\"\ncommit = [\"eve\"]\ntag = [\"alice\"]\ncreate = [\"anyone\"]\nmatch-committer = true\n\
         [signers.eve]\nissuer = \"https://accounts.google.com\"\nidentity = \"e$(x)'@example.com\"\n",
    );
    let mut eve = Scene::by("e$(x)'");
    eve.email = "other@example.com".to_owned();
    let found = policy.evaluate_commit(&eve.commit(eve.good()), true, MAIN);
    assert_eq!(
        found[0].command.as_deref(),
        Some(r"git -c 'user.email=e$(x)'\''@example.com' commit --amend --no-edit -S")
    );
    let command = |name: &[u8], tag: Option<Tag<'_>>| {
        let update = update(name, UpdateKind::Create, tag);
        policy.evaluate_update(&update, &Pusher::default())[0]
            .command
            .clone()
    };
    let signed = Scene::by("alice").good();
    assert_eq!(
        command(b"refs/tags/v1;reboot", None).as_deref(),
        Some("git tag -s -f 'v1;reboot' 44")
    );
    assert_eq!(
        command(b"refs/tags/a`x`", Some(tag(b"v2", signed))).as_deref(),
        Some("git tag -s -f 'a`x`' 55^{}")
    );
    // What a terminal shows otherwise, or a program takes for an option, is none.
    assert_eq!(command("refs/tags/\u{202e}".as_bytes(), None), None);
    assert_eq!(command(b"refs/tags/-d", None), None);
}

/// A ref on which anyone may commit lends nothing; others lend to those that name them.
#[test]
fn who_lends_to_whom() {
    let policy = policy(
        r#"
[[rules]]
name = "main"
refs = ["refs/heads/main", "refs/heads/release/**"]
commit = ["team"]
[[rules]]
name = "drafts"
refs = ["refs/heads/drafts/**"]
commit = ["anyone"]
[[rules]]
name = "keys"
paths = ["keys/**"]
commit = ["alice"]
[[rules]]
name = "tags"
refs = ["refs/tags/v*"]
from = ["refs/heads/**"]
tag = ["team"]
[[rules]]
name = "release tags"
refs = ["refs/tags/v1*"]
from = ["refs/heads/release/**"]
tag = ["team"]
[[rules]]
name = "trial"
trial = true
commit = ["anyone"]
"#,
    );
    assert!(policy.is_open(b"refs/heads/drafts/x"));
    assert!(!policy.is_open(MAIN) && !policy.is_open(b"refs/heads/other"));
    let lends = |source: &[u8], to: &[u8]| policy.lends(source, to, Some(MAIN));
    // By default the default branch, and to itself nothing.
    assert!(lends(MAIN, b"refs/heads/release/1"));
    assert!(!lends(b"refs/heads/release/1", MAIN) && !lends(MAIN, MAIN));
    assert!(!lends(b"refs/heads/release/1", b"refs/heads/release/2"));
    assert!(!policy.lends(MAIN, b"refs/heads/release/1", None));
    // All rules that have sources must name it.
    assert!(lends(MAIN, b"refs/tags/v2") && !lends(MAIN, b"refs/tags/v1"));
    assert!(lends(b"refs/heads/release/1", b"refs/tags/v1"));
    assert!(!lends(b"refs/heads/drafts/x", b"refs/tags/v2"));
}

// ------------------------------------------------------------------ refs and tags

pub(crate) fn update<'a>(name: &'a [u8], kind: UpdateKind, tag: Option<Tag<'a>>) -> RefUpdate<'a> {
    RefUpdate {
        name,
        kind,
        new: "44",
        tag,
    }
}

#[test]
fn who_may_move_a_branch() {
    let policy = policy(SIMPLE);
    let ask = |kind, pusher: &Pusher<'_>| {
        codes_of(&policy.evaluate_update(&update(MAIN, kind, None), pusher))
    };
    let account = |account: &'static str| Pusher {
        account: Some(account),
        ..Pusher::default()
    };
    let nobody = Pusher::default();
    let forward = UpdateKind::Update { fast_forward: true };
    assert!(ask(UpdateKind::Create, &nobody).is_empty());
    assert_eq!(ask(forward, &nobody), [PUSHER_UNKNOWN]);
    assert!(ask(forward, &account("al")).is_empty());
    assert!(ask(forward, &account("bobby")).is_empty());
    assert_eq!(ask(forward, &account("mallory")), [PUSHER_NOT_ALLOWED]);
    assert_eq!(ask(forward, &account("alice")), [PUSHER_NOT_ALLOWED]);
    assert_eq!(
        ask(UpdateKind::Delete, &account("bobby")),
        [PUSHER_NOT_ALLOWED]
    );
    assert!(ask(UpdateKind::Delete, &account("al")).is_empty());
    let rewrite = UpdateKind::Update {
        fast_forward: false,
    };
    assert_eq!(ask(rewrite, &account("al")), [NO_RULE]);
    // A push certificate says it better than an account.
    let alice = Scene::by("alice");
    let signed = |signature| Pusher {
        account: Some("al"),
        certificate: Some(signature),
        now: None,
    };
    assert!(ask(forward, &signed(alice.good())).is_empty());
    let mallory = Scene::by("mallory");
    assert_eq!(ask(forward, &signed(mallory.good())), [PUSHER_NOT_ALLOWED]);
    let bad = SignatureResult::Bad {
        code: "x".to_owned(),
        message: "y".to_owned(),
    };
    assert_eq!(ask(forward, &signed(&bad)), [PUSHER_UNKNOWN]);
    // Other namespaces: nobody speaks of them.
    for name in [
        &b"refs/replace/44"[..],
        b"refs/notes/commits",
        b"refs/for/main",
        b"refs/tags/v1",
    ] {
        let found = policy.evaluate_update(&update(name, UpdateKind::Create, None), &account("al"));
        assert!(found.iter().any(|f| f.code == NO_RULE && f.refuses()));
    }
}

#[test]
fn an_account_is_a_signers_while_the_signer_is_valid() {
    let policy = policy("[[rules]]\nname = \"r\"\nupdate = [\"all\"]\n");
    let ask = |now| {
        let pusher = Pusher {
            account: Some("old"),
            now,
            ..Pusher::default()
        };
        let kind = UpdateKind::Update { fast_forward: true };
        codes_of(&policy.evaluate_update(&update(MAIN, kind, None), &pusher))
    };
    assert!(ask(None).is_empty() && ask(Some(1_767_225_599)).is_empty());
    assert_eq!(ask(Some(1_767_225_600)), [PUSHER_NOT_ALLOWED]);
}

const TAG_RULES: &str = r#"
[[rules]]
name = "approvals"
refs = ["refs/tags/ok/**", "refs/approvals/**"]
tag = ["team", "carol"]
create = ["anyone"]
[[rules]]
name = "releases"
refs = ["refs/tags/v*"]
tag = ["team", "carol"]
create = ["anyone"]
threshold = { count = 2, of = ["team"] }
[[rules]]
name = "notes"
refs = ["refs/tags/light/**"]
tag = ["anyone"]
create = ["anyone"]
"#;

pub(crate) fn tag<'a>(name: &'a [u8], signature: &'a SignatureResult) -> Tag<'a> {
    Tag {
        id: "55",
        name,
        signature,
        target_type: "commit",
        others: &[],
    }
}

#[test]
fn tags_and_their_thresholds() {
    let policy = policy(TAG_RULES);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(Scene::by);
    let ask = |name: &[u8], kind, tag: Option<Tag<'_>>| {
        codes_of(&policy.evaluate_update(&update(name, kind, tag), &Pusher::default()))
    };
    let new = UpdateKind::Create;
    assert!(ask(b"refs/tags/ok/1", new, Some(tag(b"ok/1", alice.good()))).is_empty());
    // G12: the name inside is another.
    assert_eq!(
        ask(b"refs/tags/ok/1", new, Some(tag(b"ok/2", alice.good()))),
        [TAG_NAME]
    );
    assert_eq!(ask(b"refs/tags/ok/1", new, None), [TAG_LIGHTWEIGHT]);
    assert!(ask(b"refs/tags/light/1", new, None).is_empty());
    assert!(
        ask(
            b"refs/tags/light/1",
            new,
            Some(tag(b"light/1", &SignatureResult::Unsigned))
        )
        .is_empty()
    );
    assert_eq!(
        ask(
            b"refs/tags/ok/1",
            new,
            Some(tag(b"ok/1", &SignatureResult::Unsigned))
        ),
        [UNSIGNED]
    );
    // A tag that moves is rewritten, whatever its old value was.
    for fast_forward in [true, false] {
        assert_eq!(
            ask(
                b"refs/tags/ok/1",
                UpdateKind::Update { fast_forward },
                Some(tag(b"ok/1", alice.good()))
            ),
            [NO_RULE]
        );
    }
    assert_eq!(ask(b"refs/tags/ok/1", UpdateKind::Delete, None), [NO_RULE]);
    let blob = Tag {
        target_type: "blob",
        ..tag(b"ok/1", alice.good())
    };
    assert_eq!(ask(b"refs/tags/ok/1", new, Some(blob)), [TAG_TARGET]);
    // Two people: an approval is of one name, at one place.
    let release = |own: &Scene, others: &[(&'static [u8], &'static [u8], &Scene)]| {
        let others: Vec<ApprovalTag<'_>> = others
            .iter()
            .map(|(ref_name, name, scene)| ApprovalTag {
                ref_name,
                name,
                signature: scene.good(),
            })
            .collect();
        let tag = Tag {
            others: &others,
            ..tag(b"v1", own.good())
        };
        ask(b"refs/tags/v1", new, Some(tag))
    };
    let place = b"refs/approvals/v1/x";
    assert_eq!(release(&alice, &[]), [THRESHOLD]);
    assert!(release(&alice, &[(place, b"v1", &bob)]).is_empty());
    assert_eq!(release(&alice, &[(place, b"v1", &alice)]), [THRESHOLD]);
    assert_eq!(release(&alice, &[(place, b"v1", &carol)]), [THRESHOLD]);
    assert_eq!(release(&carol, &[(place, b"v1", &bob)]), [THRESHOLD]);
    for (elsewhere, name) in [
        (&b"refs/tags/v1"[..], &b"v1"[..]),
        (b"refs/approvals/v1", b"v1"),
        (b"refs/approvals/v1/", b"v1"),
        (b"refs/approvals/v10/x", b"v1"),
        (b"refs/approvals/v10/x", b"v10"),
        (b"refs/tags/approvals/v1/x", b"v1"),
        (place, b"nightly"),
    ] {
        let found = release(&alice, &[(elsewhere, name, &bob)]);
        assert_eq!(found, [THRESHOLD], "{name:?} at {elsewhere:?}");
    }
    let two = [
        (&place[..], &b"v1"[..], &bob),
        (b"refs/approvals/v1/a/b", b"v1", &alice),
    ];
    assert!(release(&carol, &two).is_empty());
}

/// Dates and claims decide whether a signature counts, never as how many.
#[test]
fn one_identity_is_one_signer_in_every_year() {
    let policy = policy(
        r#"
[signers.before]
issuer = "https://accounts.google.com"
identity = "dan@example.com"
valid-until = 2026-01-01T00:00:00Z
[signers.after]
issuer = "https://accounts.google.com"
identity = { pattern = "dan@.*" }
valid-from = 2026-01-01T00:00:00Z
[[rules]]
name = "release"
refs = ["refs/tags/v*"]
tag = ["before", "after", "alice"]
create = ["anyone"]
threshold = { count = 2, of = ["before", "after", "alice"] }
"#,
    );
    let dan = |at| Scene {
        at,
        ..Scene::by("dan")
    };
    let (early, late) = (dan(1_700_000_000), dan(AT));
    let alice = Scene::by("alice");
    let release = |own: &Scene, other: &Scene| {
        let others = [ApprovalTag {
            ref_name: b"refs/approvals/v1/dan",
            name: b"v1",
            signature: other.good(),
        }];
        let tag = Tag {
            others: &others,
            ..tag(b"v1", own.good())
        };
        let update = update(b"refs/tags/v1", UpdateKind::Create, Some(tag));
        codes_of(&policy.evaluate_update(&update, &Pusher::default()))
    };
    assert_eq!(release(&late, &early), [THRESHOLD]);
    assert!(release(&late, &alice).is_empty());
    assert!(release(&early, &alice).is_empty());
}
