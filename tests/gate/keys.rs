//! No key of the language is without effect: for each, two policies that differ in it
//! alone, and one push of which the hook says something else.

use std::{collections::BTreeSet, fs};

use gitseal_policy::parse::{KEYS, OVERRIDE_KEYS, RULE_KEYS, SIGNER_KEYS, THRESHOLD_KEYS};

use crate::{
    stage::{GITSEAL, run},
    yard::{ALICE, BOB, MALLORY, Yard},
};

const SIGNERS: &str = "[signers.alice]\nissuer = \"ISSUER\"\nidentity = \"alice@example.test\"\n\
                       [signers.bob]\nissuer = \"ISSUER\"\nidentity = \"bob@example.test\"\n";

/// One rule, whose keys each case changes.
const RULE: &str = "[[rules]]\nname = \"all\"\nrefs = [\"refs/**\"]\n\
                    commit = [\"alice\"]\nmerge = [\"alice\"]\ntag = [\"alice\"]\n\
                    create = [\"anyone\"]\nupdate = [\"anyone\"]\n\
                    rewrite = [\"anyone\"]\ndelete = [\"anyone\"]\n";

/// What a server has and gets; each value is a line of the hook's input.
struct Pushes {
    alice: String,
    bob: String,
    mallory: String,
    unsigned: String,
    /// A merge by Alice that takes in Mallory's commit.
    merge: String,
    /// A merge that nobody signed, of Alice's commits.
    web: String,
    tag: String,
    new: String,
    rewrite: String,
    delete: String,
    /// A new branch from one that lends to nothing by itself.
    release: String,
    unsigned_id: String,
}

fn pushes(yard: &Yard) -> Pushes {
    let zero = "0".repeat(40);
    let base = yard.commit(ALICE, "base");
    let line = |old: &str, new: &str, name: &str| format!("{old} {new} {name}\n");
    let main = |new: &str| line(&base, new, "refs/heads/main");
    let mut all = Vec::new();
    let mut one = |who: &str| {
        yard.branch("one", &base);
        yard.file(&format!("src/{}", all.len()), who);
        let id = match who {
            "" => yard.unsigned("one"),
            who => yard.commit(who, "one"),
        };
        all.push(id.clone());
        id
    };
    let (alice, bob, mallory, unsigned) = (one(ALICE), one(BOB), one(MALLORY), one(""));
    yard.branch("one", &base);
    let merge = yard.merge(ALICE, &mallory, "adopts");
    yard.branch("one", &base);
    yard.stage
        .git([
            "merge",
            "-q",
            "--no-ff",
            "--no-gpg-sign",
            "-m",
            "web",
            &alice,
        ])
        .ok();
    let web = yard.head();
    yard.branch("one", &base);
    let tag = yard.tag(ALICE, "v1", "v1");
    for (name, id) in [
        ("main", &base),
        ("gone", &base),
        ("dev", &bob),
        ("x/merge", &merge),
        ("x/web", &web),
        ("x/unsigned", &unsigned),
    ] {
        yard.push(&[&format!("{id}:refs/heads/{name}")]).ok();
    }
    for name in ["x/merge", "x/web", "x/unsigned"] {
        let name = format!("refs/heads/{name}");
        yard.on_server(["update-ref", "-d", &name]).ok();
    }
    let tagged = format!("{tag}:refs/heads/x/tag");
    assert_ne!(yard.push(&[&tagged]).code, 0, "a branch of a tag");
    yard.push(&["refs/tags/v1:refs/tags/v0"]).ok();
    Pushes {
        alice: main(&alice),
        bob: main(&bob),
        mallory: main(&mallory),
        unsigned: main(&unsigned),
        merge: main(&merge),
        web: main(&web),
        tag: line(&zero, &tag, "refs/tags/v1"),
        new: line(&zero, &base, "refs/heads/new"),
        rewrite: line(&bob, &base, "refs/heads/dev"),
        delete: line(&base, &zero, "refs/heads/gone"),
        release: line(&zero, &bob, "refs/heads/release"),
        unsigned_id: unsigned,
    }
}

/// A key, two policies, a push, and what the hook says with one of them alone.
type Case<'a> = (&'a str, String, String, &'a str, &'a str);

fn top(line: &str, signers: &str, rules: &str) -> String {
    format!("version = 2\n{line}\n{signers}{rules}").replace("ISSUER", crate::forge::ISSUER)
}

/// The rule with one of its lines replaced; `line`: `key = value`.
fn rule(line: &str) -> String {
    let key = line.split(' ').next().unwrap();
    let is_other = |other: &&str| !other.starts_with(&format!("{key} = "));
    let kept: Vec<&str> = RULE.lines().filter(is_other).collect();
    format!("{}\n{line}\n", kept.join("\n"))
}

fn with_rule(line: &str) -> String {
    top("", SIGNERS, &rule(line))
}

fn with_bob(line: &str) -> String {
    let rules = rule("commit = [\"alice\", \"bob\"]");
    top("", &format!("{SIGNERS}{line}\n"), &rules)
}

fn cases(p: &Pushes) -> Vec<Case<'_>> {
    let plain = || top("", SIGNERS, RULE);
    let head = |line: &str| top(line, SIGNERS, RULE);
    let bob_without = |part: &str, with: &str| {
        let signers = SIGNERS.replacen(&format!("{part}bob"), &format!("{part}{with}"), 1);
        top("", &signers, &rule("commit = [\"alice\", \"bob\"]"))
    };
    let names = |rules: &str| top("", SIGNERS, rules);
    let approved = "threshold = { count = 2, of = [\"alice\", \"bob\"] }";
    let committer = format!(
        "{}match-committer = true\n",
        rule("commit = [\"alice\", \"bob\"]")
    );
    let updater = rule("update = [\"bob\"]");
    let by_account = "merge-by-account = true";
    let account = |line: &str, more: &str| {
        let signers = SIGNERS.replacen("[signers.bob]", &format!("{line}\n[signers.bob]"), 1);
        top("", &signers, &format!("{RULE}{more}\n"))
    };
    vec![
        (
            "version",
            plain(),
            plain().replace("= 2", "= 3"),
            &p.alice,
            "[version-unknown]",
        ),
        (
            "mode",
            head("mode = \"warn\""),
            plain(),
            &p.mallory,
            "push accepted with warnings",
        ),
        (
            "contact",
            head("contact = \"#git-help\""),
            plain(),
            &p.mallory,
            "#git-help",
        ),
        (
            "max-age",
            head("max-age = \"1h\""),
            plain(),
            &p.alice,
            "[signature-too-old]",
        ),
        (
            "include",
            top(
                "include = [\"people.toml\"]",
                SIGNERS,
                &rule("commit = [\"mallory\"]"),
            ),
            top("", SIGNERS, &rule("commit = [\"mallory\"]")),
            &p.mallory,
            "\"mallory\" not found",
        ),
        (
            "cut-off",
            head(&format!("cut-off = [\"{}\"]", p.unsigned_id)),
            plain(),
            &p.unsigned,
            "[unsigned]",
        ),
        (
            "override",
            head("override = { by = [\"bob\"] }"),
            plain(),
            &p.mallory,
            "the policy has no [override]",
        ),
        (
            "override by",
            head("override = { by = [\"alice\"] }"),
            head("override = { }"),
            &p.mallory,
            "override has no by",
        ),
        (
            "signers",
            plain(),
            top("", "", RULE),
            &p.alice,
            "\"alice\" not found",
        ),
        (
            "groups",
            top(
                "",
                &format!("{SIGNERS}[groups]\nteam = [\"alice\"]\n"),
                &rule("commit = [\"team\"]"),
            ),
            top("", SIGNERS, &rule("commit = [\"team\"]")),
            &p.alice,
            "\"team\" not found",
        ),
        (
            "rules",
            plain(),
            top("", SIGNERS, ""),
            &p.alice,
            "no rules defined",
        ),
        (
            "signer issuer",
            with_bob(""),
            with_bob("").replacen("bob]\nissuer = \"", "bob]\nissuer = \"x", 1),
            &p.bob,
            "[signer-unknown]",
        ),
        (
            "signer identity",
            with_bob(""),
            bob_without("identity = \"", "rob"),
            &p.bob,
            "[signer-unknown]",
        ),
        (
            "signer claims",
            with_bob("claims = { runnerEnvironment = \"github-hosted\" }"),
            with_bob(""),
            &p.bob,
            "[claim-absent]",
        ),
        (
            "signer valid-from",
            with_bob("valid-from = 2099-01-01T00:00:00Z"),
            with_bob(""),
            &p.bob,
            "[signer-too-early]",
        ),
        (
            "signer valid-until",
            with_bob("valid-until = 2020-01-01T00:00:00Z"),
            with_bob(""),
            &p.bob,
            "[signer-expired]",
        ),
        (
            "signer max-age",
            with_bob("max-age = \"1h\""),
            with_bob(""),
            &p.bob,
            "[signature-too-old]",
        ),
        (
            "signer emails",
            top(
                "",
                &format!("{SIGNERS}emails = [\"{}\"]\n", crate::forge::IDENTITY),
                &committer,
            ),
            top("", SIGNERS, &committer),
            &p.bob,
            "[committer-mismatch]",
        ),
        (
            "signer accounts",
            top("", &format!("{SIGNERS}accounts = [\"al\"]\n"), &updater),
            top("", SIGNERS, &updater),
            &p.alice,
            "[pusher-not-allowed]",
        ),
        (
            "rule name",
            plain(),
            plain().replace("name = \"all\"\n", ""),
            &p.alice,
            "[rule-without-name]",
        ),
        (
            "rule trial",
            names(&format!(
                "{RULE}[[rules]]\nname = \"two\"\ntrial = true\ncommit = [\"bob\"]\n"
            )),
            names(&format!(
                "{RULE}[[rules]]\nname = \"two\"\ncommit = [\"bob\"]\n"
            )),
            &p.alice,
            "push accepted with warnings",
        ),
        (
            "rule refs",
            plain(),
            with_rule("refs = [\"refs/heads/other\"]"),
            &p.alice,
            "[no-rule]",
        ),
        (
            "rule paths",
            names(
                "[[rules]]\nname = \"a\"\nupdate = [\"anyone\"]\n[[rules]]\nname = \"b\"\ncommit = [\"alice\"]\npaths = [\"docs/**\"]\n",
            ),
            names(
                "[[rules]]\nname = \"a\"\nupdate = [\"anyone\"]\n[[rules]]\nname = \"b\"\ncommit = [\"alice\"]\n",
            ),
            &p.alice,
            "[no-rule]",
        ),
        (
            "rule from",
            with_rule("from = [\"refs/heads/dev\"]"),
            plain(),
            &p.release,
            "[signer-not-allowed]",
        ),
        (
            "rule help",
            with_rule("help = \"see the handbook\""),
            plain(),
            &p.bob,
            "see the handbook",
        ),
        (
            "rule commit",
            with_rule("commit = [\"alice\", \"bob\"]"),
            plain(),
            &p.bob,
            "[signer-not-allowed]",
        ),
        (
            "rule merge",
            names(&format!(
                "{}adopt = [\"alice\"]\n",
                rule("merge = [\"bob\"]")
            )),
            with_rule("adopt = [\"alice\"]"),
            &p.merge,
            "may not merge",
        ),
        (
            "rule adopt",
            with_rule("adopt = [\"alice\"]"),
            plain(),
            &p.merge,
            "[signer-unknown]",
        ),
        (
            "rule tag",
            with_rule("tag = [\"bob\"]"),
            plain(),
            &p.tag,
            "may not sign tags",
        ),
        (
            "rule create",
            with_rule("create = [\"nobody\"]"),
            plain(),
            &p.new,
            "create is disabled",
        ),
        (
            "rule update",
            with_rule("update = [\"nobody\"]"),
            plain(),
            &p.alice,
            "update is disabled",
        ),
        (
            "rule rewrite",
            with_rule("rewrite = [\"nobody\"]"),
            plain(),
            &p.rewrite,
            "rewrite is disabled",
        ),
        (
            "rule delete",
            with_rule("delete = [\"nobody\"]"),
            plain(),
            &p.delete,
            "delete is disabled",
        ),
        (
            "rule direct",
            with_rule("direct = [\"nobody\"]"),
            plain(),
            &p.alice,
            "[direct-not-allowed]",
        ),
        (
            "rule match-committer",
            top("", SIGNERS, &committer),
            top("", SIGNERS, &rule("commit = [\"alice\", \"bob\"]")),
            &p.bob,
            "[committer-mismatch]",
        ),
        (
            "rule merge-by-account",
            account("accounts = [\"al\"]", by_account),
            account("accounts = [\"al\"]", ""),
            &p.web,
            "[unsigned]",
        ),
        (
            "rule threshold",
            names(&format!(
                "{}{approved}\n",
                rule("commit = [\"alice\", \"bob\"]")
            )),
            with_bob(""),
            &p.alice,
            "[threshold-not-met]",
        ),
        (
            "threshold count",
            names(&format!(
                "{}{approved}\n",
                rule("commit = [\"alice\", \"bob\"]")
            )),
            names(&format!(
                "{}{}\n",
                rule("commit = [\"alice\", \"bob\"]"),
                approved.replace('2', "1")
            )),
            &p.alice,
            "[threshold-not-met]",
        ),
        (
            "threshold of",
            names(&format!(
                "{}threshold = {{ count = 1, of = [\"bob\"] }}\n",
                rule("commit = [\"alice\", \"bob\"]")
            )),
            names(&format!(
                "{}threshold = {{ count = 1, of = [\"alice\"] }}\n",
                rule("commit = [\"alice\", \"bob\"]")
            )),
            &p.alice,
            "[threshold-not-met]",
        ),
    ]
}

#[test]
fn every_key_changes_what_the_hook_says() {
    let yard = Yard::new("");
    yard.no_hook();
    let pushes = pushes(&yard);
    let people = yard.policy_file().with_file_name("people.toml");
    let mallory = format!(
        "[signers.mallory]\nissuer = \"{}\"\nidentity = \"{MALLORY}\"\n",
        crate::forge::ISSUER
    );
    fs::write(people, mallory).unwrap();
    let said = |policy: &str, line: &str| {
        yard.policy(policy);
        let mut command = yard.stage.command(GITSEAL, &yard.server());
        command
            .args(["pre-receive", "--policy"])
            .arg(yard.policy_file())
            .env("GL_USERNAME", "al")
            .env("GITSEAL_VERDICT_LOG", yard.stage.home("log"))
            .env("GIT_PUSH_OPTION_COUNT", "1")
            .env("GIT_PUSH_OPTION_0", "gitseal.override=why");
        run(&mut command, line.as_bytes()).err
    };
    let cases = cases(&pushes);
    for (key, one, other, line, words) in &cases {
        let (a, b) = (said(one, line), said(other, line));
        assert!(
            a.contains(words) != b.contains(words),
            "{key}: {words:?} is in both or in none:\n{a}\n--\n{b}\n{one}"
        );
    }
    // The right to change the policy is about the one in the repository
    // (`own::each_commit_by_the_policy_of_its_parent`).
    let found: BTreeSet<&str> = cases
        .iter()
        .map(|case| case.0)
        .chain(["rule policy"])
        .collect();
    let of = |prefix: &str, keys: &[&str]| -> Vec<String> {
        keys.iter().map(|key| format!("{prefix}{key}")).collect()
    };
    let all = [
        of("", &KEYS),
        of("signer ", &SIGNER_KEYS),
        of("override ", &OVERRIDE_KEYS),
        of("rule ", &RULE_KEYS),
        of("threshold ", &THRESHOLD_KEYS),
    ]
    .concat();
    assert_eq!(found, all.iter().map(String::as_str).collect());
}

/// A clone knows no accounts, and paths of a merge are not what it changes.
#[test]
fn merges_by_account_where_they_cannot_be() {
    let yard = Yard::new("");
    let text = with_rule("merge-by-account = true");
    yard.file(".gitseal/policy.toml", &text);
    let root = yard.commit(ALICE, "root");
    let hook = format!("exec {GITSEAL} pre-receive --policy-root {root}");
    yard.script("pre-receive", &hook);
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["merge-by-account, which only a policy file on the server can have"],
    );
    yard.policy(&text.replacen("merge-by", "paths = [\"src/**\"]\nmerge-by", 1));
    let file = yard.policy_file();
    yard.stage
        .gitseal(["policy", "check", file.to_str().unwrap()])
        .fails(1)
        .says("merge-by-account has no effect in a rule with paths");
}

/// A policy in the repository includes files of `.gitseal`, at the gate and in the
/// commands about policies.
#[test]
fn included_files_in_the_repository() {
    let yard = Yard::new("");
    let rules = format!(
        "{}policy = [\"alice\"]\n",
        rule("commit = [\"alice\", \"mallory\"]")
    );
    let text = top("include = [\"people.toml\"]", SIGNERS, &rules);
    let people = format!(
        "[signers.mallory]\nissuer = \"{}\"\nidentity = \"{MALLORY}\"\n",
        crate::forge::ISSUER
    );
    yard.file(".gitseal/policy.toml", &text);
    yard.file(".gitseal/people.toml", &people);
    let root = yard.commit(ALICE, "root");
    let hook = format!("exec {GITSEAL} pre-receive --policy-root {root}");
    yard.script("pre-receive", &hook);
    yard.commit(MALLORY, "a signer of the included file");
    yard.allowed(&["HEAD:refs/heads/main"]);
    for command in [
        vec!["policy", "check", "HEAD:"],
        vec!["policy", "describe", "HEAD:"],
        vec!["policy", "test", "--policy-root", &root],
    ] {
        yard.stage.gitseal(command).ok();
    }
    yard.stage.git(["rm", "-q", ".gitseal/people.toml"]).ok();
    yard.commit(ALICE, "without it");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &[
            "[policy-unreadable]",
            "cannot read people.toml: no such file in .gitseal",
        ],
    );
    for command in [
        vec!["policy", "check", "HEAD:"],
        vec!["policy", "describe", "HEAD:"],
        vec!["policy", "test", "--policy-root", "HEAD"],
    ] {
        let said = yard.stage.gitseal(&command).says("cannot read people.toml");
        assert_ne!(said.code, 0, "{command:?}");
    }
    // In force, it leaves every push without a result.
    yard.smuggle(&["HEAD:refs/heads/main"]);
    yard.commit(ALICE, "next");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["cannot read people.toml", "did not complete"],
    );
}
