//! Many commits at once: what belongs to a range, what the verdicts come to, and
//! that neither threads nor memory change a verdict.

use std::{
    fs,
    net::TcpListener,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
};

use crate::support::forge::{self, IDENTITY, ISSUER, NOW};
use crate::support::skipped;
use crate::support::stage::{Ended, GITSEAL, Stage, run};
use gitseal::{
    batch::{self, BatchVerifier},
    host::git::{
        ObjectId, Workspace,
        walk::{RangeSpec, RevWalk},
    },
    host::trusted_root_files::LoadedTrustedRoot,
    verdict::{Verdict, VerifyRequest},
};
use gitseal_evidence::{
    memo::Memo,
    object::{self, HashKind, ObjectKind},
    trusted_root::TrustedRoot,
    verify::{self, NoopObserver, SignatureInput},
};
use gitseal_services::http::{
    message::{ServerRequest, ServerResponse},
    server::{Limits, ServerHandle, serve},
};
use serde_json::{Value, json};

// ------------------------------------------------------------- what is meant

fn ids(walk: RevWalk) -> Vec<String> {
    walk.map(|step| step.unwrap().id.to_string()).collect()
}

fn specs(words: &[&str]) -> Vec<RangeSpec> {
    words
        .iter()
        .map(|word| match *word {
            "--all" => RangeSpec::All,
            word => RangeSpec::Revision(word.to_owned()),
        })
        .collect()
}

/// Our list and git's, for the same words.
#[track_caller]
fn as_git(stage: &Stage, words: &[&str]) -> Vec<String> {
    let workspace = Workspace::open(&stage.repo()).unwrap();
    let repository = workspace.repository().unwrap();
    let ours = ids(repository.revisions(&specs(words)).unwrap());
    let theirs = stage.git(["rev-list"].iter().chain(words)).ok();
    let theirs: Vec<String> = theirs.out.lines().map(str::to_owned).collect();
    assert_eq!(ours, theirs, "{words:?}");
    ours
}

/// A history with merges, two roots, and dates that run backwards in places.
fn tangled(stage: &Stage, commits: u64, skew: i64) {
    let mut stream = String::new();
    let mut dice = 12_345_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) % sides
    };
    for number in 1..=commits {
        let jitter = roll(2 * skew.unsigned_abs() + 1) as i64 - skew;
        let at = NOW + 60 * number as i64 + jitter;
        stream.push_str(&format!(
            "commit refs/heads/line{}\nmark :{number}\nauthor A <a@x> {at} +0000\ncommitter A <a@x> {at} +0000\ndata 2\nm\n",
            roll(4)
        ));
        if number > 1 && roll(40) > 0 {
            let near = |far: u64| number - 1 - far.min(number - 2);
            let first = near(roll(6));
            stream.push_str(&format!("from :{first}\n"));
            for _ in 0..roll(3) {
                let other = near(roll(30));
                if other != first {
                    stream.push_str(&format!("merge :{other}\n"));
                    break;
                }
            }
        } else {
            stream.push_str("deleteall\n");
        }
        stream.push('\n');
        if roll(10) == 0 {
            stream.push_str(&format!("reset refs/tags/t{number}\nfrom :{number}\n\n"));
        }
    }
    let mut import = stage.command("git", &stage.repo());
    import.args(["fast-import", "--quiet", "--force"]);
    run(&mut import, stream.as_bytes()).ok();
    stage.git(["symbolic-ref", "HEAD", "refs/heads/line0"]).ok();
}

#[test]
fn ranges_are_gits() {
    for stage in [Stage::new(), Stage::sha256()] {
        tangled(&stage, 300, 0);
        let tags = stage.git(["tag"]).ok();
        let tags: Vec<&str> = tags.out.lines().collect();
        assert!(tags.len() > 10, "{tags:?}");
        as_git(&stage, &["--all"]);
        as_git(&stage, &["HEAD"]);
        for pair in tags.windows(2) {
            as_git(&stage, &[&format!("{}..{}", pair[0], pair[1])]);
            as_git(&stage, &[&format!("^{}", pair[0]), pair[1], "line1"]);
            as_git(&stage, &[pair[0], "line2", &format!("{}^!", pair[1])]);
            as_git(&stage, &["--all", &format!("^{}", pair[1])]);
        }
    }
}

/// Where dates run backwards git itself may list a commit too many. Ours is the
/// exact set, and in no case one too few.
#[test]
fn wrong_dates_hide_nothing() {
    let stage = Stage::new();
    tangled(&stage, 400, 4_000);
    let tags = stage.git(["tag"]).ok();
    let tags: Vec<&str> = tags.out.lines().collect();
    let workspace = Workspace::open(&stage.repo()).unwrap();
    let repository = workspace.repository().unwrap();
    let reached = |name: &str| -> std::collections::BTreeSet<String> {
        ids(repository.revisions(&specs(&[name])).unwrap())
            .into_iter()
            .collect()
    };
    for pair in tags.windows(2) {
        let range = format!("{}..{}", pair[0], pair[1]);
        let ours: std::collections::BTreeSet<String> =
            ids(repository.revisions(&specs(&[&range])).unwrap())
                .into_iter()
                .collect();
        let exact: std::collections::BTreeSet<String> = reached(pair[1])
            .difference(&reached(pair[0]))
            .cloned()
            .collect();
        assert_eq!(ours, exact, "{range}");
    }
}

#[test]
fn words_that_mean_nothing_here_are_refused_with_their_reason() {
    let stage = named();
    stage.commit("one");
    for (word, reason) in [
        ("HEAD...HEAD", "A...B is not supported"),
        ("nothing..HEAD", "unknown revision"),
        ("^nothing", "unknown revision"),
    ] {
        stage
            .gitseal(["verify", "--offline", "HEAD", word])
            .fails(2)
            .says(reason);
    }
    let tree = stage.git(["rev-parse", "HEAD^{tree}"]).ok();
    stage
        .gitseal(["verify", "--offline", &format!("{}..HEAD", tree.line())])
        .fails(2)
        .says("is a tree, not a commit");
}

/// A signed commit, in a repository of either hash.
fn signed(stage: &Stage, message: &str) -> String {
    let payload = stage.payload(message);
    let signature = stage.lab.sign_with(&payload, |_| {});
    let hash = match stage.git(["rev-parse", "HEAD"]).ok().line().len() {
        40 => HashKind::Sha1,
        _ => HashKind::Sha256,
    };
    let raw = object::attach_signature(ObjectKind::Commit, hash, &payload, signature.as_bytes());
    stage.place(&raw)
}

/// H1: in the quarantine of a push the new commits are there, in a bare
/// repository with either hash.
#[test]
fn the_quarantine_of_a_push_is_walked() {
    for stage in [Stage::new(), Stage::sha256()] {
        let before = signed(&stage, "before");
        let bare = stage.path("bare.git");
        stage
            .git(["clone", "-q", "--bare", ".", bare.to_str().unwrap()])
            .ok();
        let first = signed(&stage, "first");
        let second = signed(&stage, "second");
        let trace = stage.home("hook.out");
        let hook = format!(
            "#!/bin/sh\nwhile read old new ref; do\n  {GITSEAL} verify --offline --json --certificate-identity {IDENTITY} --certificate-oidc-issuer {ISSUER} $old..$new >{0} 2>&1; echo $? >>{0}\ndone\n",
            trace.display()
        );
        let path = bare.join("hooks").join("pre-receive");
        fs::write(&path, hook).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Packed and unpacked.
        for limit in ["1", "100"] {
            stage
                .git_at(&bare, ["config", "receive.unpackLimit", limit])
                .ok();
            stage
                .git_at(&bare, ["update-ref", "refs/heads/main", &before])
                .ok();
            stage
                .git(["push", "-q", bare.to_str().unwrap(), "main"])
                .ok();
            let out = fs::read_to_string(&trace).unwrap();
            let lines: Vec<&str> = out.lines().collect();
            assert_eq!(lines.len(), 4, "{out}");
            assert!(
                lines[0].contains(&second) && lines[0].contains("\"good\""),
                "{out}"
            );
            assert!(
                lines[1].contains(&first) && lines[1].contains("\"good\""),
                "{out}"
            );
            assert_eq!(lines[3], "0", "{out}");
        }
    }
}

// ---------------------------------------------------------------- verdicts

/// A stage whose user says that Alice must have signed.
fn named() -> Stage {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    stage
}

fn verify_words(stage: &Stage, words: &[&str]) -> Ended {
    stage.gitseal(["verify", "--offline"].iter().chain(words))
}

/// The lines of `--json`, the summary apart.
#[track_caller]
fn lines(ended: &Ended) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ended:?}")))
        .collect();
    let last = lines.pop().unwrap_or_else(|| panic!("{ended:?}"));
    (lines, last["summary"].clone())
}

#[test]
fn one_commit_is_told_as_ever() {
    let stage = named();
    let id = stage.commit("one");
    let plain = verify_words(&stage, &[]).ok();
    assert_eq!(plain.out, verify_words(&stage, &["HEAD"]).ok().out);
    assert_eq!(
        plain.out,
        format!(
            "gitseal: verified commit {id}: signed by {IDENTITY} (issuer {ISSUER}) at 2026-11-20T12:00:02Z\n"
        )
    );
    assert_eq!(
        verify_words(&stage, &["--json"]).ok().json()["steps"][8]["ok"],
        true
    );
}

#[test]
fn a_range_of_good_commits_is_good() {
    let stage = named();
    let made: Vec<String> = (0..40).map(|n| stage.commit(&n.to_string())).collect();
    let text = verify_words(&stage, &["HEAD~39..HEAD"]).ok();
    assert_eq!(
        text.out,
        format!(
            "signer              identity provider            signed  first       last\n{IDENTITY}  {ISSUER}  39      2026-11-20  2026-11-20\n\ngitseal: verified: 39 commits: 39 verified\n"
        )
    );
    assert_eq!(
        text.err,
        format!(
            "gitseal: HEAD~39 = refs/heads/main~39 = {}\ngitseal: HEAD = refs/heads/main = {}\n",
            made[0], made[39]
        )
    );
    let (each, summary) = lines(&verify_words(&stage, &["--json", "HEAD~39..HEAD"]).ok());
    assert_eq!(
        summary["resolved"],
        json!([
            {"name": "HEAD~39", "ref": "HEAD", "id": made[0]},
            {"name": "HEAD", "ref": "HEAD", "id": made[39]},
        ])
    );
    let order: Vec<&str> = each
        .iter()
        .map(|one| one["object"].as_str().unwrap())
        .collect();
    let wanted: Vec<&str> = made.iter().skip(1).rev().map(String::as_str).collect();
    assert_eq!(order, wanted);
    for one in &each {
        assert_eq!(one["verdict"], "good");
        assert_eq!(one["identity"], IDENTITY);
        assert_eq!(one["time"], "2026-11-20T12:00:02Z");
        assert_eq!(one["log_index"], 4242);
        assert_eq!(one["refusal"], Value::Null);
    }
    assert_eq!(summary["good"], 39);
    assert_eq!(summary["verdict"], "good");
    assert_eq!(summary["signers"][0]["objects"], 39);
}

#[test]
fn nobody_named_is_no_range() {
    let stage = Stage::new();
    stage.commit("one");
    verify_words(&stage, &["--all"])
        .fails(2)
        .says("no expected identity");
}

/// One of everything, and what each comes to.
#[test]
fn each_kind_of_failure_has_its_code() {
    let stage = named();
    stage.commit("good");
    let unsigned = {
        stage.payload("unsigned");
        stage.git(["rev-parse", "HEAD"]).ok().line().to_owned()
    };
    let pgp = {
        let payload = stage.payload("pgp");
        let block = "-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n";
        stage.place(&forge::commit_object(&payload, block))
    };
    let ssh = {
        let payload = stage.payload("ssh");
        let block = "-----BEGIN SSH SIGNATURE-----\nabcd\n-----END SSH SIGNATURE-----\n";
        stage.place(&forge::commit_object(&payload, block))
    };
    let tampered = {
        let payload = stage.payload("before");
        let signature = stage.lab.sign_with(&payload, |_| {});
        let payload = String::from_utf8(payload)
            .unwrap()
            .replace("before", "behind");
        stage.place(&forge::commit_object(payload.as_bytes(), &signature))
    };
    let late = stage.commit_with("late", |spec| {
        spec.entry.as_mut().unwrap().integrated_time = NOW + 900;
    });
    let other = stage.commit_with("other", |spec| {
        let mut leaf = spec.leaf.clone();
        leaf.extensions[3] = forge::san(&[forge::email("mallory@example.test")]);
        spec.leaf = leaf;
    });
    let without = stage.commit_with("online", |spec| spec.entry = None);
    let all = verify_words(&stage, &["--json", "--all"]).fails(1);
    let (each, summary) = lines(&all);
    let told = |id: &str| {
        let one = each.iter().find(|one| one["object"] == id).unwrap();
        (
            one["verdict"].as_str().unwrap().to_owned(),
            one["refusal"]["code"].as_str().unwrap().to_owned(),
            one["failure"].as_bool().unwrap(),
        )
    };
    let expect = |verdict: &str, code: &str| (verdict.to_owned(), code.to_owned(), true);
    assert_eq!(told(&unsigned), expect("unsigned", "object-unsigned"));
    assert_eq!(told(&pgp), expect("other", "other-kind"));
    assert_eq!(told(&ssh), expect("other", "other-kind"));
    assert_eq!(told(&tampered), expect("refused", "digest-mismatch"));
    assert_eq!(told(&late), expect("refused", "time-outside-certificate"));
    assert_eq!(told(&other), expect("refused", "identity-mismatch"));
    assert_eq!(told(&without), expect("undecided", "no-log-entry"));
    assert_eq!(summary["commits"], 8);
    assert_eq!(summary["good"], 1);
    assert_eq!(summary["refused"], 6);
    assert_eq!(summary["undecided"], 1);
    assert_eq!(summary["unsigned"], 1);
    assert_eq!(summary["other"]["OpenPGP"], 1);
    assert_eq!(summary["other"]["SSH"], 1);
    assert_eq!(summary["verdict"], "refused");
    // Flags let pass what they name and nothing else.
    let (_, summary) =
        lines(&verify_words(&stage, &["--json", "--all", "--allow-unsigned"]).fails(1));
    assert_eq!(summary["refused"], 5);
    let (_, summary) =
        lines(&verify_words(&stage, &["--json", "--all", "--allow-other-kinds"]).fails(1));
    assert_eq!(summary["refused"], 4);
    verify_words(&stage, &["--allow-unsigned", &unsigned]).ok();
    verify_words(&stage, &["--allow-other-kinds", &pgp, &ssh]).ok();
    verify_words(&stage, &[&without, &without]).fails(3);
    // A failure to verify outweighs a doubt.
    verify_words(&stage, &[&without, &late]).fails(1);
    let text = verify_words(&stage, &["--all"]).fails(1);
    assert!(
        text.out
            .contains(&format!("commit {late} refused at step 6 (time)")),
        "{text:?}"
    );
    assert!(text.out.contains("[digest-mismatch]"), "{text:?}");
}

#[test]
fn names_alone_are_those_commits_and_ranges_their_ancestors() {
    let stage = named();
    stage.payload("unsigned root");
    stage.commit("one");
    let two = stage.commit("two");
    let (each, _) = lines(&verify_words(&stage, &["--json", "HEAD", "HEAD~1", "HEAD"]).ok());
    assert_eq!(each.len(), 2);
    assert_eq!(each[0]["object"], two.as_str());
    let (each, _) = lines(&verify_words(&stage, &["--json", "^HEAD~1", "HEAD"]).ok());
    assert_eq!(each.len(), 1);
    // From standard input, one on a line.
    let mut command = stage.command(GITSEAL, &stage.repo());
    command.args(["verify", "--offline", "--json", "--stdin"]);
    let (each, _) = lines(&run(&mut command, b"HEAD~1\n\nHEAD\n").ok());
    assert_eq!(each.len(), 2);
    let mut command = stage.command(GITSEAL, &stage.repo());
    command.args(["verify", "--offline", "--json", "--stdin"]);
    for nothing in [&b""[..], b"\n\r\n"] {
        run(&mut command, nothing)
            .fails(2)
            .says("nothing to verify: standard input names no revision");
    }
    let mut command = stage.command(GITSEAL, &stage.repo());
    command.args(["verify", "--offline", "--stdin"]);
    run(&mut command, &[b'a'; 5000]).fails(2).says("4096 bytes");
}

#[test]
fn tags_that_are_named_are_judged_as_tags() {
    let stage = named();
    stage.commit("one");
    let tag = stage.tag("v1");
    stage.git(["tag", "-a", "-m", "not signed", "v0"]).ok();
    stage.commit("two");
    let (each, summary) = lines(&verify_words(&stage, &["--json", "v1", "HEAD"]).ok());
    assert_eq!(each.len(), 3);
    assert_eq!(each[0]["object"], tag.as_str());
    assert_eq!(each[0]["type"], "tag");
    assert_eq!(summary["tags"], 1);
    let (each, _) = lines(&verify_words(&stage, &["--json", "v0", "HEAD"]).fails(1));
    assert_eq!(each[0]["refusal"]["code"], "object-unsigned");
    // One that is excluded is not asked for.
    verify_words(&stage, &["v0..HEAD"]).ok();
}

#[test]
fn the_work_stops_at_so_many_failures() {
    let stage = named();
    for number in 0..30 {
        stage.payload(&number.to_string());
    }
    for jobs in ["1", "2", "7"] {
        let (each, summary) = lines(
            &verify_words(
                &stage,
                &["--json", "--all", "--max-failures", "3", "--jobs", jobs],
            )
            .fails(1),
        );
        assert_eq!(each.len(), 3);
        assert_eq!(summary["stopped_early"], true);
    }
    verify_words(&stage, &["--all", "--max-failures", "0"]).fails(2);
    verify_words(&stage, &["--all", "--jobs", "0"]).fails(2);
}

#[test]
fn threads_change_nothing() {
    let stage = named();
    for number in 0..70 {
        match number % 7 {
            3 => {
                stage.payload("unsigned");
            }
            5 => {
                stage.commit_with("late", |spec| {
                    spec.entry.as_mut().unwrap().integrated_time = NOW + 900;
                });
            }
            _ => {
                stage.commit("good");
            }
        }
    }
    let one = verify_words(&stage, &["--json", "--all", "--jobs", "1"]).fails(1);
    for jobs in ["2", "3", "16"] {
        let many = verify_words(&stage, &["--json", "--all", "--jobs", jobs]).fails(1);
        assert_eq!(one.out, many.out);
    }
}

// -------------------------------------------------------- hostile histories

/// H4: ten thousand parents.
#[test]
fn a_merge_of_ten_thousand_is_walked_and_refused() {
    let stage = named();
    stage.git(["config", "core.logAllRefUpdates", "false"]).ok();
    let mut stream = String::new();
    for number in 1..=10_000 {
        let at = NOW + number;
        stream.push_str(&format!(
            "reset refs/heads/x\ncommit refs/heads/x\nmark :{number}\ncommitter A <a@x> {at} +0000\ndata 0\n\n"
        ));
    }
    let mut import = stage.command("git", &stage.repo());
    import.args(["fast-import", "--quiet", "--force", "--export-marks=marks"]);
    run(&mut import, stream.as_bytes()).ok();
    let marks = fs::read_to_string(stage.repo().join("marks")).unwrap();
    let mut octopus = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n".to_owned();
    for line in marks.lines() {
        octopus.push_str(&format!("parent {}\n", line.split_once(' ').unwrap().1));
    }
    octopus.push_str(&format!(
        "author A <a@x> {0} +0000\ncommitter A <a@x> {0} +0000\n\nmany\n",
        NOW + 20_000
    ));
    let id = stage.write("commit", octopus.as_bytes());
    let (each, summary) =
        lines(&verify_words(&stage, &["--json", &id, &format!("^{id}^1")]).fails(1));
    assert_eq!(each.len(), 10_000);
    assert_eq!(each[0]["object"], id.as_str());
    assert_eq!(each[0]["refusal"]["code"], "object-too-many-parents");
    assert_eq!(summary["unsigned"], 9_999);
}

#[test]
fn what_is_missing_leaves_it_undecided_and_is_named() {
    let stage = named();
    let first = stage.commit("first");
    stage.commit("second");
    stage.commit("third");
    fs::remove_file(loose(&stage, &first)).unwrap();
    let (each, summary) = lines(&verify_words(&stage, &["--json", "--all"]).fails(3));
    assert_eq!(each.len(), 3);
    let missing = each
        .iter()
        .find(|one| one["object"] == first.as_str())
        .unwrap();
    assert_eq!(missing["verdict"], "undecided");
    assert_eq!(missing["refusal"]["code"], "object-missing");
    assert_eq!(summary["good"], 2);
    verify_words(&stage, &["--all"]).fails(3).says(&first);
    // An id that was never there.
    let never = "00112233445566778899aabbccddeeff00112233";
    verify_words(&stage, &[never, "HEAD"]).fails(3).says(never);
}

#[test]
fn a_damaged_object_is_refused_wherever_it_stands() {
    let stage = named();
    let first = stage.commit("first");
    let second = stage.commit("second");
    stage.commit("third");
    // Another commit under the name of the second.
    let other = stage.git(["cat-file", "commit", &first]).ok().out;
    let damaged = loose(&stage, &second);
    let source = loose(&stage, &first);
    fs::remove_file(&damaged).unwrap();
    fs::copy(&source, &damaged).unwrap();
    assert!(other.starts_with("tree "));
    let (each, _) = lines(&verify_words(&stage, &["--json", "--all"]).fails(1));
    let one = each
        .iter()
        .find(|one| one["object"] == second.as_str())
        .unwrap();
    assert_eq!(one["refusal"]["code"], "object-damaged");
    // As the lower end of a range it is told as well: what it would exclude is not
    // what its name says.
    verify_words(&stage, &[&format!("{second}..HEAD")])
        .fails(1)
        .says("is damaged");
}

fn loose(stage: &Stage, id: &str) -> std::path::PathBuf {
    stage
        .repo()
        .join(".git/objects")
        .join(&id[..2])
        .join(&id[2..])
}

/// G15: replacements, grafts and shallow files stand in for nothing.
#[test]
fn pretended_history_is_left_aside_and_named() {
    let stage = named();
    let good = stage.commit("good");
    stage.payload("unsigned");
    let bad = stage.git(["rev-parse", "HEAD"]).ok().line().to_owned();
    let top = stage.commit("top");
    stage.git(["replace", &bad, &good]).ok();
    let ended = verify_words(&stage, &["--json", "HEAD~2..HEAD"]).fails(1);
    assert!(ended.err.contains("1 replacement refs"), "{ended:?}");
    let (each, _) = lines(&ended);
    assert_eq!(each[1]["object"], bad.as_str());
    assert_eq!(each[1]["verdict"], "unsigned");
    stage.git(["replace", "-d", &bad]).ok();
    // A graft that leaves the unsigned commit out.
    fs::create_dir_all(stage.repo().join(".git/info")).unwrap();
    fs::write(
        stage.repo().join(".git/info/grafts"),
        format!("{top} {good}\n"),
    )
    .unwrap();
    let ended = verify_words(&stage, &["--json", &format!("{good}..HEAD")]).fails(1);
    assert!(ended.err.contains("grafts"), "{ended:?}");
    assert_eq!(lines(&ended).0.len(), 2);
    fs::remove_file(stage.repo().join(".git/info/grafts")).unwrap();
    // A shallow file that ends history above commits that are there.
    fs::write(stage.repo().join(".git/shallow"), format!("{top}\n")).unwrap();
    assert_eq!(
        lines(&verify_words(&stage, &["--json", "--all"]).fails(1))
            .0
            .len(),
        3
    );
}

#[test]
fn a_shallow_clone_is_undecided_unless_that_is_allowed() {
    let stage = named();
    stage.commit("one");
    let two = stage.commit("two");
    stage.commit("three");
    let clone = stage.path("clone");
    let url = format!("file://{}", stage.repo().display());
    stage
        .git(["clone", "-q", "--depth", "2", &url, clone.to_str().unwrap()])
        .ok();
    let words = ["verify", "--offline", "--json", "--all"];
    let (each, summary) = lines(&stage.gitseal_at(&clone, words).fails(3));
    assert_eq!(summary["good"], 2);
    assert_eq!(summary["commits"], 2);
    assert_eq!(summary["shallow_boundaries"], 1);
    let cut = each
        .iter()
        .find(|one| one["verdict"] == "undecided")
        .unwrap();
    assert_eq!(cut["refusal"]["code"], "shallow-boundary");
    assert!(cut["refusal"]["message"].as_str().unwrap().contains(&two));
    stage
        .gitseal_at(&clone, words.iter().chain(&["--allow-shallow"]))
        .ok();
    stage
        .gitseal_at(&clone, ["verify", "--offline", "HEAD~1..HEAD"])
        .ok();
}

#[test]
fn objects_that_are_no_commits_end_nothing_quietly() {
    let stage = named();
    stage.commit("one");
    let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    stage
        .git(["hash-object", "-t", "tree", "-w", "/dev/null"])
        .ok();
    let raw = format!(
        "tree {tree}\nparent {tree}\nauthor A <a@x> {NOW} +0000\ncommitter A <a@x> {NOW} +0000\n\nm\n"
    );
    let id = stage.write("commit", raw.as_bytes());
    let (each, _) = lines(&verify_words(&stage, &["--json", "HEAD..", &id]).fails(1));
    assert!(
        each.iter()
            .any(|one| one["object"] == tree && one["refusal"]["code"] == "object-unreadable")
    );
    let raw = "tree x\nparent y\ncommitter z\n\nnot a commit\n";
    let id = stage.write("commit", raw.as_bytes());
    let (each, _) = lines(&verify_words(&stage, &["--json", &id, "HEAD"]).fails(1));
    assert_eq!(each[0]["verdict"], "refused");
}

// -------------------------------------------------------------------- files

#[test]
fn junit_and_sarif_say_the_same() {
    let stage = named();
    stage.commit("good");
    stage.payload("unsigned <&\"'>");
    let late = stage.commit_with("late", |spec| {
        spec.entry.as_mut().unwrap().integrated_time = NOW + 900;
    });
    let (junit, sarif) = (stage.home("junit.xml"), stage.home("out.sarif"));
    verify_words(
        &stage,
        &[
            "--all",
            "--allow-unsigned",
            "--junit",
            junit.to_str().unwrap(),
            "--sarif",
            sarif.to_str().unwrap(),
        ],
    )
    .fails(1);
    let xml = fs::read_to_string(&junit).unwrap();
    assert!(
        xml.contains("<testsuite name=\"gitseal verify\" tests=\"3\" failures=\"1\" skipped=\"1\" errors=\"0\""),
        "{xml}"
    );
    assert_eq!(xml.matches("<testcase ").count(), 3);
    assert!(
        xml.contains(&format!(
            "name=\"{late}\"><failure type=\"time-outside-certificate\""
        )),
        "{xml}"
    );
    assert!(xml.trim_end().ends_with("</testsuite></testsuites>"));
    well_formed(&junit);
    let sarif: Value = serde_json::from_slice(&fs::read(&sarif).unwrap()).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(
        run["tool"]["driver"]["rules"][0]["id"],
        "time-outside-certificate"
    );
    assert_eq!(run["results"].as_array().unwrap().len(), 1);
    assert_eq!(run["results"][0]["level"], "error");
    assert_eq!(
        run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"],
        late.as_str()
    );
    // Nowhere to write is said before the work.
    verify_words(&stage, &["--all", "--junit", "/nonexistent/x.xml"])
        .fails(2)
        .says("/nonexistent/x.xml");
}

/// Python's parser is a second opinion, where there is one.
fn well_formed(path: &Path) {
    let check = "import sys,xml.dom.minidom as m; m.parse(sys.argv[1])";
    match std::process::Command::new("python3")
        .args(["-c", check])
        .arg(path)
        .status()
    {
        Ok(status) => assert!(status.success()),
        Err(_) => skipped("no python3 to read the XML"),
    }
}

// ------------------------------------------------------------------- memory

/// Every object of the corpora beside this file, judged with a memory and
/// without: the same verdicts, and the memory was used.
#[test]
fn the_memory_changes_no_verdict() {
    let stage = named();
    let mut made = Vec::new();
    for round in 0..3 {
        made.push(stage.commit(&format!("good {round}")));
        made.push(stage.commit_with("late", |spec| {
            spec.entry.as_mut().unwrap().integrated_time = NOW + 900;
        }));
        made.push(stage.commit_with("bad checkpoint", |spec| {
            spec.entry.as_mut().unwrap().text = Box::new(|text| text.replace("rekor", "rokor"));
        }));
        made.push(stage.commit_with("bad sct", |spec| spec.scts[0].other_tbs = true));
        made.push(stage.commit_with("other authority", |spec| {
            spec.leaf_issuer = forge::Key::p384(9);
        }));
    }
    let trust = LoadedTrustedRoot {
        root: TrustedRoot::from_json(stage.lab.trusted_root().as_bytes()).unwrap(),
        source: String::from("the forge"),
    };
    let request = VerifyRequest::for_signer(trust, IDENTITY, ISSUER).unwrap();
    let workspace = Workspace::open(&stage.repo()).unwrap();
    let repository = workspace.repository().unwrap();
    let verdicts = |engine: &BatchVerifier<'_>, jobs: usize| {
        let mut said = Vec::new();
        let ids: Vec<ObjectId> = made
            .iter()
            .map(|id| ObjectId::from_hex(id.as_bytes()).unwrap())
            .collect();
        batch::verify_all(ids, repository, engine, jobs, &mut |judged| {
            said.push(match judged.verdict {
                Verdict::Verified(verified) => {
                    format!("good {} {}", verified.time, verified.identity_matched)
                }
                other => format!("{other:?}"),
            });
            ControlFlow::Continue(())
        });
        said
    };
    let without = BatchVerifier::new(&request).without_memo();
    let with = BatchVerifier::new(&request);
    let plain = verdicts(&without, 1);
    assert_eq!(plain.len(), 15);
    assert_eq!(
        plain.iter().filter(|one| one.starts_with("good")).count(),
        3
    );
    for jobs in [1, 2, 4] {
        assert_eq!(plain, verdicts(&with, jobs), "{jobs}");
    }
    assert_eq!(without.memo().counts().remembered, 0);
    let counts = with.memo().counts();
    // Of 45 judgements, the good chain, SCT and checkpoint are computed once (or
    // once for each thread that asked at the same moment).
    assert!(counts.remembered > counts.computed, "{counts:?}");
}

#[test]
fn a_memory_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Memo>();
    shared::<BatchVerifier<'_>>();
}

// ---------------------------------------------------- entries that are looked up

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gitsign");

/// A log that knows the recorded answers and counts what it is asked.
struct Recorded {
    running: ServerHandle,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Recorded {
    fn start(names: &[&str]) -> Self {
        let mut searches: Vec<(String, Value)> = Vec::new();
        let mut entries = serde_json::Map::new();
        for name in names {
            let path = Path::new(DATA).join(format!("rekor/{name}.json"));
            let answers: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            searches.push((certificate(name), answers["index_retrieve"].clone()));
            entries.extend(answers["entries"].as_object().unwrap().clone());
        }
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer = move |request: &ServerRequest| {
            log.lock().unwrap().push(request.path.clone());
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            match request.path.as_str() {
                "/api/v1/index/retrieve" => {
                    let wanted = body["publicKey"]["content"].as_str().unwrap();
                    let found = searches.iter().find(|(pem, _)| pem == wanted);
                    ServerResponse::json(200, &found.map_or(json!([]), |(_, ids)| ids.clone()))
                }
                "/api/v1/log/entries/retrieve" => {
                    let ids = body["entryUUIDs"].as_array().unwrap();
                    assert!((1..=10).contains(&ids.len()));
                    let found: Vec<Value> = ids
                        .iter()
                        .filter_map(|id| entries.get(id.as_str().unwrap()).cloned())
                        .collect();
                    ServerResponse::json(200, &Value::Array(found))
                }
                _ => ServerResponse::json(404, &json!({"code": 404, "message": "no"})),
            }
        };
        Self {
            running: serve(
                TcpListener::bind("127.0.0.1:0").unwrap(),
                Limits::default(),
                Arc::new(answer),
            )
            .unwrap(),
            asked,
        }
    }

    /// What was asked since the last time.
    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

fn recorded_object(name: &str) -> (ObjectKind, Vec<u8>) {
    let kind = match name.rsplit_once('.').unwrap().1 {
        "commit" => ObjectKind::Commit,
        _ => ObjectKind::Tag,
    };
    let raw = fs::read(Path::new(DATA).join("objects").join(name)).unwrap();
    (kind, raw)
}

/// The certificate of a recorded object as a search names it.
fn certificate(name: &str) -> String {
    let (kind, raw) = recorded_object(name);
    let signed = object::split_signature(kind, HashKind::Sha1, &raw).unwrap();
    let subject = SignatureInput {
        payload: Some(&signed.payload),
        signature: &signed.signature,
        hash: HashKind::Sha1,
    };
    let read = verify::read(&subject, &mut NoopObserver).unwrap();
    base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        read.message().leaf.to_pem(),
    )
}

#[test]
fn entries_are_fetched_in_tens_and_kept() {
    let names = [
        "online.commit",
        "online-legacy.commit",
        "online.tag",
        "online-legacy.tag",
    ];
    let log = Recorded::start(&names);
    let stage = Stage::new();
    stage.config("gitseal.trustedRoot", &format!("{DATA}/trusted_root.json"));
    stage.config("gitseal.certificateIdentity", "alice@example.test");
    stage.config("gitseal.certificateOidcIssuer", "http://127.0.0.1:18080");
    stage.config("gitsign.rekor", &log.running.url());
    let ids: Vec<String> = names
        .iter()
        .map(|name| {
            let (kind, raw) = recorded_object(name);
            stage.write(kind.name(), &raw)
        })
        .collect();
    let words = |more: &[&str]| -> Vec<String> {
        ["verify", "--json"]
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .chain(ids.clone())
            .collect()
    };
    stage.gitseal(words(&["--offline"])).fails(3);
    assert_eq!(log.asked(), 0);
    let (each, summary) = lines(&stage.gitseal(words(&[])).ok());
    assert_eq!(summary["good"], 4, "{each:?}");
    let order: Vec<&str> = each
        .iter()
        .map(|one| one["object"].as_str().unwrap())
        .collect();
    // Tags first, and what they name only once.
    assert_eq!(order, [&ids[2], &ids[3], &ids[0], &ids[1]]);
    // A search for each certificate, one request for all their entries.
    assert!(log.asked() <= 5);
    // From now on nobody need be asked, and nobody is.
    let (_, summary) = lines(&stage.gitseal(words(&[])).ok());
    assert_eq!(summary["good"], 4);
    assert_eq!(log.asked(), 0);
    stage.gitseal(words(&["--offline"])).ok();
    // What is kept is no evidence: false, foreign and torn files are seen.
    let store = stage.home(".cache/gitseal/entries");
    let mut files: Vec<std::path::PathBuf> = Vec::new();
    for shelf in fs::read_dir(&store).unwrap() {
        for file in fs::read_dir(shelf.unwrap().path()).unwrap() {
            files.push(file.unwrap().path());
        }
    }
    assert_eq!(files.len(), 4);
    let foreign = fs::read(&files[1]).unwrap();
    fs::write(&files[0], &foreign).unwrap();
    let torn = fs::read(&files[2]).unwrap();
    fs::write(&files[2], &torn[..torn.len() / 2]).unwrap();
    let (_, summary) = lines(&stage.gitseal(words(&["--offline"])).fails(3));
    assert_eq!(
        (&summary["good"], &summary["undecided"]),
        (&2.into(), &2.into())
    );
    let (_, summary) = lines(&stage.gitseal(words(&[])).ok());
    assert_eq!(summary["good"], 4);
    assert!(log.asked() > 0);
    stage.gitseal(words(&["--offline"])).ok();
}

#[test]
fn a_log_that_cannot_be_asked_leaves_it_undecided() {
    let stage = Stage::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    stage.config("gitseal.trustedRoot", &format!("{DATA}/trusted_root.json"));
    stage.config("gitseal.certificateIdentity", "alice@example.test");
    stage.config("gitseal.certificateOidcIssuer", "http://127.0.0.1:18080");
    stage.config("gitsign.rekor", &url);
    let (kind, raw) = recorded_object("online.commit");
    let id = stage.write(kind.name(), &raw);
    let (each, _) = lines(&stage.gitseal(["verify", "--json", &id, &id]).fails(3));
    assert_eq!(each[0]["refusal"]["code"], "lookup-failed");
    // A log that has other entries for the certificate, and one that has none.
    let log = Recorded::start(&["online.tag"]);
    stage.config("gitsign.rekor", &log.running.url());
    let (each, _) = lines(&stage.gitseal(["verify", "--json", &id, &id]).fails(3));
    assert_eq!(each[0]["refusal"]["code"], "log-entry-not-found");
}
