#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const GOOGLE: &str = "https://accounts.google.com";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const MAIN: &[u8] = b"refs/heads/main";
const AT: UnixTime = 1_790_000_000;

/// Signers and groups that most tests share.
const PEOPLE: &str = r#"
version = 1
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
[bots.web]
author = "Web Editor <web@example.com>"
committer = "Forge <noreply@forge.example>"
"#;

fn policy(rules: &str) -> Policy {
    Policy::parse(&format!("{PEOPLE}\n{rules}"), "test.toml").unwrap_or_else(|e| panic!("{e}"))
}

/// A signer, a commit and its changes, held together.
struct Scene {
    identity: Identity,
    claims: FulcioExtensions,
    at: UnixTime,
    parents: Vec<String>,
    paths: Vec<ChangedPath>,
    email: String,
    direct: bool,
}

impl Scene {
    fn by(email: &str) -> Self {
        Self {
            identity: Identity {
                san: San::Email(email.to_owned()),
                issuer: GOOGLE.to_owned(),
            },
            claims: FulcioExtensions::default(),
            at: AT,
            parents: vec!["11".repeat(20)],
            paths: vec![ChangedPath::own(b"src/main.rs")],
            email: email.to_owned(),
            direct: true,
        }
    }

    fn paths(mut self, paths: &[&str]) -> Self {
        self.paths = paths
            .iter()
            .map(|p| ChangedPath::own(p.as_bytes()))
            .collect();
        self
    }

    fn merge(mut self, brought: &[&str], own: &[&str]) -> Self {
        self.parents.push("22".repeat(20));
        self.paths = brought
            .iter()
            .map(|p| ChangedPath::brought(p.as_bytes()))
            .chain(own.iter().map(|p| ChangedPath::own(p.as_bytes())))
            .collect();
        self
    }

    fn good(&self) -> Signature<'_> {
        Signature::Good {
            identity: &self.identity,
            claims: &self.claims,
            signed_at: self.at,
        }
    }

    fn person(&self) -> Person<'_> {
        Person {
            name: b"Somebody",
            email: self.email.as_bytes(),
        }
    }

    fn commit<'a>(&'a self, signature: Signature<'a>) -> Commit<'a> {
        Commit {
            id: "3333333333333333333333333333333333333333",
            parents: &self.parents,
            signature,
            author: self.person(),
            committer: self.person(),
            paths: &self.paths,
            direct: self.direct,
        }
    }
}

fn codes_of(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code).collect()
}

fn on_main(policy: &Policy, scene: &Scene) -> Vec<&'static str> {
    codes_of(&policy.judge_commit(&scene.commit(scene.good()), MAIN))
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
    assert!(on_main(&policy, &Scene::by("alice@example.com")).is_empty());
    assert_eq!(
        on_main(&policy, &Scene::by("carol@example.com")),
        [codes::SIGNER_NOT_ALLOWED]
    );
    assert_eq!(
        on_main(&policy, &Scene::by("mallory@example.com")),
        [codes::SIGNER_UNKNOWN]
    );
    let merge = |who: &str| Scene::by(who).merge(&["a"], &[]);
    assert!(on_main(&policy, &merge("alice@example.com")).is_empty());
    assert_eq!(
        on_main(&policy, &merge("bob@example.com")),
        [codes::SIGNER_NOT_ALLOWED]
    );
}

#[test]
fn the_same_name_at_another_issuer_is_somebody_else() {
    let policy = policy(SIMPLE);
    let mut scene = Scene::by("alice@example.com");
    scene.identity.issuer = "https://accounts.google.com/".to_owned();
    assert_eq!(on_main(&policy, &scene), [codes::SIGNER_UNKNOWN]);
    scene.identity.issuer = GOOGLE.to_owned();
    scene.identity.san = San::Email("Alice@example.com".to_owned());
    assert_eq!(on_main(&policy, &scene), [codes::SIGNER_UNKNOWN]);
}
