//! The attacks on a gate, by the names that the catalogue gives them: what is
//! pushed, what must happen, and the reason that the pusher is ended.

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use crate::{
    forge,
    stage::{GITSEAL, run},
    yard::{ALICE, BRANCHES, MALLORY, Yard, policy},
};

/// Every reference may be made, moved and deleted, so that what refuses is what
/// the test is about.
const OPEN: &str = r#"
[[rules]]
name = "open"
create = ["anyone"]
update = ["anyone"]
rewrite = ["anyone"]
delete = ["anyone"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
tag = ["alice", "bob"]
"#;

#[test]
fn h1_quarantine_in_a_bare_repository() {
    for yard in [
        Yard::new(&policy(BRANCHES)),
        Yard::sha256(&policy(BRANCHES)),
    ] {
        // Loose, packed, and through the server's own alternates.
        yard.commit(ALICE, "one");
        yard.allowed(&["HEAD:refs/heads/main"]);
        yard.on_server(["config", "receive.unpackLimit", "1"]).ok();
        yard.commit(ALICE, "two");
        yard.allowed(&["HEAD:refs/heads/main"]);
        let other = yard.stage.path("other.git");
        yard.stage
            .git([
                "clone",
                "-q",
                "--bare",
                yard.server().to_str().unwrap(),
                other.to_str().unwrap(),
            ])
            .ok();
        fs::write(
            yard.server().join("objects/info/alternates"),
            format!("{}\n", other.join("objects").display()),
        )
        .unwrap();
        yard.commit(ALICE, "three");
        yard.allowed(&["HEAD:refs/heads/main"]);
        yard.unsigned("four");
        yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
        // The hook left the references and the quarantine alone.
        assert!(!yard.server().join("objects").join("tmp").exists());
    }
}

#[test]
fn h2_a_new_reference_to_old_unsigned_history() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.unsigned("old");
    yard.smuggle(&["HEAD:refs/old/place"]);
    yard.refused(
        &["HEAD:refs/heads/new"],
        &["refs/heads/new: commit", "[unsigned]"],
    );
    // One that begins where the same rules bind already gains nothing.
    yard.smuggle(&["HEAD:refs/heads/main"]);
    yard.allowed(&["HEAD:refs/heads/new"]);
}

#[test]
fn h2_references_of_special_kinds() {
    let yard = Yard::new(&policy(OPEN));
    let id = yard.commit(ALICE, "first");
    let second = yard.commit(ALICE, "second");
    yard.allowed(&["HEAD:refs/heads/main"]);
    for (name, why) in [
        (
            format!("refs/replace/{id}"),
            "replacement refs change what Git displays",
        ),
        (
            "refs/notes/commits".to_owned(),
            "notes are not covered by commit signatures",
        ),
        (
            "refs/for/main".to_owned(),
            "a review server rewrites pushes to this ref",
        ),
        (
            "refs/pull/1/head".to_owned(),
            "only the server writes this ref",
        ),
        (
            "refs/merge-requests/1/head".to_owned(),
            "only the server writes this ref",
        ),
        (
            "refs/changes/01/1/1".to_owned(),
            "only the server writes this ref",
        ),
    ] {
        yard.refused(
            &[&format!("{second}:{name}")],
            &[why, "[reference-special]"],
        );
    }
    yard.policy(&policy(&format!(
        "{OPEN}\n[[rules]]\nname = \"notes\"\nrefs = [\"refs/notes/*\"]\ncreate = [\"anyone\"]\n"
    )));
    yard.allowed(&[&format!("{second}:refs/notes/commits")]);
    yard.refused(
        &[&format!("{second}:refs/for/main")],
        &["[reference-special]"],
    );
}

#[test]
fn h2_tags_of_other_things() {
    let yard = Yard::new(&policy(OPEN));
    yard.file("a", "1");
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let blob = yard.stage.git(["rev-parse", "HEAD:a"]).ok();
    let tree = yard.stage.git(["rev-parse", "HEAD^{tree}"]).ok();
    yard.tag_of(ALICE, "of-blob", "of-blob", blob.line(), "blob");
    yard.refused(
        &["refs/tags/of-blob"],
        &["a tag points to a blob", "[tag-target]"].map(|w| w.trim_start_matches("a ")),
    );
    yard.tag_of(ALICE, "of-tree", "of-tree", tree.line(), "tree");
    yard.refused(&["refs/tags/of-tree"], &["[tag-target]"]);
    let inner = yard.tag(ALICE, "inner", "inner");
    yard.tag_of(ALICE, "outer", "outer", &inner, "tag");
    yard.refused(
        &["refs/tags/outer"],
        &["the tag points to a tag", "[tag-target]"],
    );
    // A blob or tree under a branch or as a bare tag.
    yard.refused(
        &[&format!("{}:refs/tags/bare", blob.line())],
        &[
            "would point to a blob, which cannot be signed",
            "[reference-of-other]",
        ],
    );
    yard.refused(
        &[
            "refs/tags/inner:refs/odd/tag-as-branch-base",
            "refs/tags/of-blob:refs/odd/x",
        ],
        &["[tag-target]"],
    );
}

#[test]
fn h2_an_inner_tag_is_signed_too() {
    let yard = Yard::new(&policy(OPEN).replacen("version = 2", "version = 2\nmode = \"warn\"", 1));
    yard.commit(ALICE, "first");
    let inner = yard.tag(MALLORY, "inner", "inner");
    yard.tag_of(ALICE, "outer", "outer", &inner, "tag");
    let ended = yard.allowed(&["HEAD:refs/heads/main", "refs/tags/outer"]);
    assert!(
        ended.err.contains("mallory@example.test (issuer "),
        "{ended:?}"
    );
}

#[test]
fn h2_fifty_thousand_references() {
    let yard = Yard::new(&policy(OPEN));
    let first = yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let bad = yard.unsigned("bad");
    yard.smuggle(&["HEAD:refs/old/bad"]);
    // Only the object stays.
    yard.on_server(["update-ref", "-d", "refs/old/bad"]).ok();
    let zero = "0".repeat(40);
    let hook = |id: &str| {
        let mut lines = String::new();
        for n in 0..50_000 {
            writeln!(lines, "{zero} {id} refs/heads/b{n}").unwrap();
        }
        let mut command = yard.stage.command(GITSEAL, &yard.server());
        command
            .args([
                "pre-receive",
                "--policy",
                yard.policy_file().to_str().unwrap(),
            ])
            .env("GIT_DIR", ".");
        let began = Instant::now();
        let ended = run(&mut command, lines.as_bytes());
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
        ended
    };
    assert_eq!(hook(&first).code, 0);
    // Each ref says so, as far as the pusher can read it.
    let refused = hook(&bad).fails(1);
    assert_eq!(refused.err.matches("[unsigned]").count(), 20, "{refused:?}");
    assert!(refused.err.contains("... and 49980 more"), "{refused:?}");
    let mut command = yard.stage.command(GITSEAL, &yard.server());
    command
        .args([
            "pre-receive",
            "--max-updates",
            "2",
            "--policy",
            yard.policy_file().to_str().unwrap(),
        ])
        .env("GIT_DIR", ".");
    let lines: String = (0..3)
        .map(|n| format!("{zero} {first} refs/heads/c{n}\n"))
        .collect();
    run(&mut command, lines.as_bytes())
        .fails(2)
        .says("more than 2 refs")
        .says("push rejected: verification did not complete");
}

#[test]
fn h3_the_empty_set_trick() {
    // The unsigned commit is there already, under a reference that other rules
    // bind: no object is new, and the protected branch gains it all the same.
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "main"
refs = ["refs/heads/main"]
commit = ["alice"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "drafts"
refs = ["refs/heads/drafts/**"]
commit = ["anyone"]
create = ["anyone"]
update = ["anyone"]
"#,
    ));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let bad = yard.unsigned("bad");
    yard.allowed(&["HEAD:refs/heads/drafts/x"]);
    yard.refused(
        &["HEAD:refs/heads/main"],
        &[&bad[..12], "rule main: ", "[unsigned]"],
    );
    // Both in one push, the unprotected first.
    yard.unsigned("worse");
    yard.refused(
        &["HEAD:refs/heads/drafts/y", "HEAD:refs/heads/main"],
        &["refs/heads/main: commit", "rule main: "],
    );
}

#[test]
fn h3_the_update_hook_after_an_earlier_part_of_the_push() {
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "main"
refs = ["refs/heads/main"]
commit = ["alice"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "drafts"
refs = ["refs/heads/a-draft"]
commit = ["anyone"]
create = ["anyone"]
update = ["anyone"]
"#,
    ));
    fs::remove_file(yard.server().join("hooks/pre-receive")).unwrap();
    yard.hook("update", "");
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.unsigned("bad");
    // git updates a-draft before it asks about main.
    let ended = yard
        .push(&["HEAD:refs/heads/a-draft", "HEAD:refs/heads/main"])
        .fails(1);
    assert!(ended.err.contains("rule main: "), "{ended:?}");
    let main = yard.on_server(["log", "-1", "--format=%s", "main"]).ok();
    assert_eq!(main.line(), "first");
    let draft = yard.on_server(["log", "-1", "--format=%s", "a-draft"]).ok();
    assert_eq!(draft.line(), "bad");
}

#[test]
fn h3_shallow_pushes_and_missing_parents() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.unsigned("hidden behind the cut");
    yard.commit(ALICE, "second");
    let shallow = yard.stage.path("shallow");
    yard.stage
        .git([
            "clone",
            "-q",
            "--depth=1",
            &format!("file://{}", yard.stage.repo().display()),
            shallow.to_str().unwrap(),
        ])
        .ok();
    yard.on_server(["config", "receive.shallowUpdate", "true"])
        .ok();
    let before = yard.state();
    let ended = yard.stage.git_at(
        &shallow,
        [
            "push",
            yard.server().to_str().unwrap(),
            "HEAD:refs/heads/main",
        ],
    );
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains(" is missing"), "{ended:?}");
    assert!(ended.err.contains("git fetch --unshallow"), "{ended:?}");
    assert_eq!(yard.state(), before);
}

#[test]
fn h4_a_history_that_lies_about_its_times() {
    let mut yard = Yard::new(&policy(BRANCHES));
    let at = |yard: &mut Yard, when: &str| {
        yard.stage.environment = vec![
            ("GIT_AUTHOR_DATE".to_owned(), when.to_owned()),
            ("GIT_COMMITTER_DATE".to_owned(), when.to_owned()),
        ];
    };
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    at(&mut yard, "@1 +0000");
    let bad = yard.unsigned("from 1970");
    at(&mut yard, "@4000000000 +0000");
    yard.commit(ALICE, "from 2096");
    yard.refused(&["HEAD:refs/heads/main"], &[&bad[..12], "[unsigned]"]);
}

/// The walk by time misses where the new branch left main, whose commits say that
/// they are older than their parents. Before it refuses, it looks to the end.
#[test]
fn h4_false_times_on_main_refuse_no_branch() {
    let mut yard = Yard::new(&policy(BRANCHES));
    let at = |yard: &mut Yard, when: &str| {
        yard.stage.environment = vec![
            ("GIT_AUTHOR_DATE".to_owned(), when.to_owned()),
            ("GIT_COMMITTER_DATE".to_owned(), when.to_owned()),
        ];
    };
    at(&mut yard, "@1000000000 +0000");
    yard.unsigned("before there was a gate");
    at(&mut yard, "@100000010 +0000");
    let left = yard.commit(ALICE, "where the branch leaves");
    at(&mut yard, "@100000005 +0000");
    yard.commit(ALICE, "main");
    yard.smuggle(&["HEAD:refs/heads/main"]);
    at(&mut yard, "@1500000000 +0000");
    yard.branch("topic", &left);
    yard.file("a", "1");
    yard.commit(ALICE, "work");
    yard.allowed(&["HEAD:refs/heads/topic"]);
    yard.unsigned("more");
    yard.refused(&["HEAD:refs/heads/other"], &["[unsigned]"]);
}

#[test]
fn h5_whatever_is_missing_refuses() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    let main = "HEAD:refs/heads/main";
    let over = "push rejected: verification did not complete";
    // The trusted root.
    let root = yard.stage.home("trusted_root.json");
    let trusted = fs::read(&root).unwrap();
    fs::remove_file(&root).unwrap();
    yard.refused(&[main], &["cannot read ", "trusted_root.json", over]);
    fs::write(&root, "{").unwrap();
    yard.refused(&[main], &["trusted_root.json", over]);
    fs::write(&root, trusted).unwrap();
    // The policy.
    yard.policy("version = 2\nnonsense = 2\n");
    yard.refused(&[main], &["nonsense", over]);
    fs::remove_file(yard.policy_file()).unwrap();
    yard.refused(&[main], &["cannot read the policy", over]);
    yard.script("pre-receive", &format!("exec {GITSEAL} pre-receive"));
    yard.refused(&[main], &["no policy is set", "gitseal.policy", over]);
    // The program.
    yard.script("pre-receive", "exec /nowhere/gitseal pre-receive");
    yard.refused(&[main], &["pre-receive hook declined"]);
    // The time.
    yard.policy(&policy(BRANCHES));
    yard.script(
        "pre-receive",
        &format!(
            "sleep 20 | exec {GITSEAL} pre-receive --timeout 1 --policy {}",
            yard.policy_file().display()
        ),
    );
    let began = Instant::now();
    yard.refused(&[main], &["timed out after 1 s"]);
    assert!(began.elapsed() < Duration::from_secs(40));
    // What is damaged in the repository itself.
    yard.hook("pre-receive", "");
    yard.allowed(&[main]);
}

#[test]
fn h5_what_commits_say_does_not_reach_the_terminal_raw() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.unsigned("a\u{1b}[2K\u{1b}[1A\u{202e}gitseal: everything is fine");
    let ended = yard.refused(
        &["HEAD:refs/heads/main"],
        &["\\u{1b}[2K\\u{1b}[1A\\u{202e}"],
    );
    assert!(!ended.err.contains("\u{1b}[2K\u{1b}"), "{ended:?}");
    assert!(!ended.err.contains('\u{202e}'), "{ended:?}");
}

#[test]
fn h5_f15_a_hook_that_is_killed_changes_nothing() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    for n in 0..40 {
        yard.file("file", &n.to_string());
        yard.commit(ALICE, "one of many");
    }
    let before = yard.state();
    let mut killed = 0;
    for round in 0..16_u64 {
        // The shell that becomes the hook kills itself after a while of its own.
        let wait = (round * 7919 % 60) as f64 / 1000.0;
        yard.script(
            "pre-receive",
            &format!(
                "(sleep {wait}; kill -9 $$) >/dev/null 2>&1 &\nexec {GITSEAL} pre-receive --policy {}",
                yard.policy_file().display()
            ),
        );
        let ended = yard.push(&["HEAD:refs/heads/main", "HEAD:refs/heads/new"]);
        if ended.code == 0 {
            // It was faster. Back to where it was.
            yard.on_server(["update-ref", "refs/heads/main", "HEAD~0"]);
            let first = before.split_whitespace().nth(1).unwrap().to_owned();
            yard.on_server(["update-ref", "refs/heads/main", &first])
                .ok();
            yard.on_server(["update-ref", "-d", "refs/heads/new"]).ok();
        } else {
            killed += 1;
        }
        let refs = yard
            .on_server(["for-each-ref", "--format=%(refname) %(objectname)"])
            .ok();
        assert!(before.starts_with(&refs.out), "round {round}: {}", refs.out);
        yard.on_server(["fsck", "--full", "--no-dangling"]).ok();
    }
    assert!(killed > 0, "no hook was killed");
}

#[test]
fn h6_two_pushes_at_once() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let good = yard.commit(ALICE, "good");
    let bad = yard.unsigned("bad");
    let (one, two) = std::thread::scope(|scope| {
        let yard = &yard;
        let (good, bad) = (
            format!("{good}:refs/heads/main"),
            format!("{bad}:refs/heads/other"),
        );
        let one = scope.spawn(move || yard.push(&[&good]));
        let two = scope.spawn(move || yard.push(&[&bad]));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(one.code, 0, "{one:?}");
    assert_eq!(two.code, 1, "{two:?}");
    assert!(two.err.contains("[unsigned]"), "{two:?}");
    // The policy that a push brings along is nothing to the hook.
    yard.file(
        ".gitseal/policy.toml",
        &policy(OPEN).replace("alice@example.test", "mallory@example.test"),
    );
    yard.commit(MALLORY, "my own policy");
    yard.refused(&["HEAD:refs/heads/main"], &["[signer-unknown]"]);
}

#[test]
fn g13_g14_copies_and_replays_are_for_rules_about_refs() {
    // A commit that was signed for one branch is good on another: only rules about
    // refs tell them apart.
    let yard = Yard::new(&policy(
        r#"
[[rules]]
name = "drafts"
refs = ["refs/heads/drafts/**"]
commit = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]

[[rules]]
name = "main"
refs = ["refs/heads/main"]
commit = ["bob"]
create = ["anyone"]
update = ["anyone"]
"#,
    ));
    yard.commit(ALICE, "a draft");
    yard.allowed(&["HEAD:refs/heads/drafts/x"]);
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["alice@example.test may not add commits", "rule main: "],
    );
    // Wrapped again it is another object, and as good.
    let payload = yard.stage.payload("twice");
    let sign = || yard.stage.lab.sign_with(&payload, |_| {});
    let one = yard.stage.place(&forge::commit_object(&payload, &sign()));
    yard.allowed(&["HEAD:refs/heads/drafts/one"]);
    let other = yard.stage.lab.sign_with(&payload, |spec| {
        spec.extra_attributes
            .push(forge::attribute("1.2.3.4", &[forge::der::octets(b"x")]));
    });
    let two = yard.stage.place(&forge::commit_object(&payload, &other));
    assert_ne!(one, two);
    yard.allowed(&["HEAD:refs/heads/drafts/two"]);
}

#[test]
fn g15_replacements_and_grafts_stand_in_for_nothing() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let good = yard.commit(ALICE, "good");
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    let bad = yard.unsigned("bad");
    // On the server: a replacement by a signed one, and a graft that cuts it off.
    yard.smuggle(&[&format!("{good}:refs/replace/{bad}")]);
    fs::write(yard.server().join("info/grafts"), format!("{bad}\n")).unwrap();
    let before = yard.on_server(["rev-parse", "main"]).ok();
    let ended = yard.push(&["HEAD:refs/heads/main"]).fails(1);
    assert!(
        ended.err.contains(&bad[..12]) && ended.err.contains("[unsigned]"),
        "{ended:?}"
    );
    assert_eq!(
        yard.on_server(["rev-parse", "main"]).ok().line(),
        before.line()
    );
}

#[test]
fn e1_whose_configuration_names_the_policy() {
    // On the server its repository's own configuration is the administrator's.
    let yard = Yard::new(&policy(BRANCHES));
    yard.script("pre-receive", &format!("exec {GITSEAL} pre-receive"));
    yard.on_server([
        "config",
        "gitseal.policy",
        yard.policy_file().to_str().unwrap(),
    ])
    .ok();
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.unsigned("bad");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    // At the pusher it is whoever made the clone.
    let lax = yard.stage.home("lax.toml");
    fs::write(
        &lax,
        policy(BRANCHES).replacen("version = 2", "version = 2\nmode = \"warn\"", 1),
    )
    .unwrap();
    yard.stage.local("gitseal.policy", lax.to_str().unwrap());
    yard.stage.local("gitseal.trustedRoot", "/nowhere.json");
    let zero = "0".repeat(40);
    let line = format!("refs/heads/x {} refs/heads/x {zero}\n", yard.head());
    let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
    command.args(["pre-push", "origin", "file:///x"]);
    run(&mut command, line.as_bytes())
        .fails(2)
        .says("not allowed in repository configuration")
        .says("no policy is set");
    let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
    command
        .args(["pre-push", "origin", "file:///x", "--policy"])
        .arg(yard.policy_file());
    run(&mut command, line.as_bytes())
        .fails(1)
        .says("[unsigned]");
}

#[test]
fn e2_e3_no_file_is_written_and_no_program_started() {
    let yard = Yard::new(&policy(BRANCHES));
    let trap = yard.stage.home("trap");
    for (key, value) in [
        ("core.fsmonitor", format!("touch {}", trap.display())),
        ("gpg.program", format!("touch {}", trap.display())),
        ("gpg.x509.program", format!("touch {}", trap.display())),
        ("diff.external", format!("touch {}", trap.display())),
        ("gitseal.urlOpener", format!("touch {}", trap.display())),
        ("core.pager", format!("touch {}", trap.display())),
    ] {
        yard.on_server(["config", key, &value]).ok();
    }
    yard.unsigned("bad");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    yard.commit(ALICE, "good");
    yard.push(&["HEAD:refs/heads/main"]);
    assert!(!trap.exists(), "a program of the configuration was started");
}

#[test]
fn e4_the_environment_chooses_no_other_history() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.commit(ALICE, "first");
    yard.allowed(&["HEAD:refs/heads/main"]);
    let bad = yard.unsigned("bad");
    let grafts = yard.stage.home("grafts");
    fs::write(&grafts, format!("{bad}\n")).unwrap();
    let shallow = yard.stage.home("shallow");
    fs::write(&shallow, format!("{bad}\n")).unwrap();
    yard.script(
        "pre-receive",
        &format!(
            "export GIT_GRAFT_FILE={} GIT_SHALLOW_FILE={} GIT_REPLACE_REF_BASE=refs/heads/ GIT_PUSH_OPTION_COUNT=1 GIT_PUSH_OPTION_0=--policy=/dev/null GIT_EXEC_PATH=/nowhere PATH=/nowhere\nexec {GITSEAL} pre-receive --policy {}",
            grafts.display(),
            shallow.display(),
            yard.policy_file().display()
        ),
    );
    yard.refused(&["HEAD:refs/heads/main"], &[&bad[..12], "[unsigned]"]);
    yard.stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    yard.commit(ALICE, "good");
    yard.allowed(&["HEAD:refs/heads/main"]);
}

#[test]
fn e5_a_value_of_several_lines_injects_nothing() {
    let yard = Yard::new(&policy(BRANCHES));
    let lax = yard.stage.home("lax.toml");
    fs::write(&lax, "version = 2\nmode = \"warn\"\n").unwrap();
    yard.script("pre-receive", &format!("exec {GITSEAL} pre-receive"));
    yard.on_server([
        "config",
        "gitseal.policy",
        yard.policy_file().to_str().unwrap(),
    ])
    .ok();
    yard.on_server([
        "config",
        "foo.bar",
        &format!(
            "x\ngitseal.policy {}\n[gitseal]\npolicy={}",
            lax.display(),
            lax.display()
        ),
    ])
    .ok();
    yard.unsigned("bad");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
    yard.on_server(["config", "gitseal.policy", "/a\n/b"]).ok();
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["verification did not complete"],
    );
}

#[test]
fn i_identities_are_compared_whole() {
    // I1, I3 and I4 concern one certificate (tests/attacks.rs), I2 and I6 the
    // policy (src/policy); here is what of them reaches a push.
    let yard = Yard::new(&policy(BRANCHES));
    for who in [
        "malice@example.test",
        "ALICE@example.test",
        "alice@example.test.evil.example",
        "\u{430}lice@example.test",
    ] {
        yard.commit(who, "not alice");
        yard.refused(&["HEAD:refs/heads/main"], &["refs/heads/main: commit"]);
        yard.stage.git(["update-ref", "-d", "HEAD"]).ok();
    }
    // I5: a claim that is asked for and not in the certificate.
    yard.policy(&policy(BRANCHES).replace(
        "identity = \"alice@example.test\"",
        "identity = \"alice@example.test\"\nclaims = { sourceRepositoryUri = \"https://github.com/a/b\" }",
    ));
    yard.commit(ALICE, "without the claim");
    yard.refused(&["HEAD:refs/heads/main"], &["[claim-absent]"]);
}
