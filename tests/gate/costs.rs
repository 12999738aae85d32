//! What a push costs: counted in commits and trees that are read, and once each held
//! to a time that is generous.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    stage::{GITSEAL, run},
    yard::{ALICE, BRANCHES, Yard, policy},
};

/// What the hook reports of a push in the repository of whoever pushes.
fn hook(yard: &Yard, code: i32, updates: &[(&str, &str, &str)], more: &[&str]) -> Value {
    let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
    command.args(["pre-receive", "--json"]).args(more);
    command.env("GITSEAL_POLICY_REF", "refs/heads/main");
    let lines: String = updates
        .iter()
        .map(|(old, new, name)| format!("{old} {new} {name}\n"))
        .collect();
    let ended = run(&mut command, lines.as_bytes());
    assert_eq!(ended.code, code, "{ended:?}");
    serde_json::from_str(&ended.out).unwrap()
}

fn import(yard: &Yard, stream: &str) {
    let mut git = Command::new("git")
        .args(["fast-import", "--quiet", "--force"])
        .current_dir(yard.stage.repo())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin
        .take()
        .unwrap()
        .write_all(stream.as_bytes())
        .unwrap();
    assert!(git.wait().unwrap().success());
}

/// Some thousand commits on main, on top of `from`.
fn long_history(yard: &Yard, from: &str, count: usize) {
    let mut stream = String::new();
    for number in 0..count {
        let time = 1_500_000_000 + number * 60;
        writeln!(
            stream,
            "commit refs/heads/main\ncommitter A <a@b> {time} +0000\ndata 1\nx"
        )
        .unwrap();
        if number == 0 {
            writeln!(stream, "from {from}").unwrap();
        }
    }
    import(yard, &stream);
}

fn id(yard: &Yard, name: &str) -> String {
    yard.stage.git(["rev-parse", name]).ok().line().to_owned()
}

const ZERO: &str = "0000000000000000000000000000000000000000";

/// A new branch at main's tip, or a little above, reads what is new.
#[test]
fn a_new_branch_reads_what_is_new() {
    let rules = format!(
        "{BRANCHES}[[rules]]\nname = \"main\"\nrefs = [\"refs/heads/main\"]\nrewrite = [\"nobody\"]\ncommit = [\"alice\", \"bob\"]\nthreshold = {{ count = 2, of = [\"alice\", \"bob\"] }}\n"
    );
    let yard = Yard::new(&policy(&rules));
    let policy = yard.policy_file();
    let policy = ["--policy", policy.to_str().unwrap()];
    yard.stage.git(["checkout", "-q", "-B", "work"]).ok();
    let first = yard.unsigned("first");
    long_history(&yard, &first, 3_000);
    let main = id(&yard, "refs/heads/main");
    let said = hook(&yard, 0, &[(ZERO, &main, "refs/heads/new")], &policy);
    assert_eq!(said["checked"], 0, "{said}");
    assert!(said["commits_read"].as_u64().unwrap() <= 4, "{said}");
    yard.branch("topic", "refs/heads/main");
    let topic = yard.commit(ALICE, "topic");
    let said = hook(&yard, 0, &[(ZERO, &topic, "refs/heads/new")], &policy);
    assert_eq!(said["checked"], 1, "{said}");
    assert!(said["commits_read"].as_u64().unwrap() <= 42, "{said}");
    assert_eq!(said["results"][0]["base"], main.as_str());
    // Back from main: as far as the new line left it, not to the root.
    yard.branch("topic", "refs/heads/main~100");
    let topic = yard.commit(ALICE, "on an older one");
    let said = hook(&yard, 0, &[(ZERO, &topic, "refs/heads/new")], &policy);
    assert!(said["commits_read"].as_u64().unwrap() <= 320, "{said}");
}

/// What is refused came with the push, so that no ref can have had it: no walk to
/// the end of history has to confirm that.
#[test]
fn a_refusal_of_what_is_new_reads_what_is_new() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.stage.git(["checkout", "-q", "-B", "work"]).ok();
    let first = yard.unsigned("first");
    long_history(&yard, &first, 3_000);
    yard.smuggle(&["refs/heads/main:refs/heads/main"]);
    yard.hook("pre-receive", "--json");
    yard.branch("topic", "refs/heads/main");
    yard.unsigned("topic");
    let read = |specs: &[&str]| -> u64 {
        let said = yard.push(specs).fails(1);
        assert!(said.err.contains("[unsigned]"), "{said:?}");
        let (_, count) = said.err.split_once("\"commits_read\":").unwrap();
        let count = count.trim_start();
        let end = count.find(|digit: char| !digit.is_ascii_digit()).unwrap();
        count[..end].parse().unwrap()
    };
    assert!(read(&["HEAD:refs/heads/main"]) <= 42);
    assert!(read(&["HEAD:refs/heads/new"]) <= 42);
    // What was there already is confirmed by a walk to the end.
    yard.smuggle(&["HEAD:refs/old/place"]);
    assert!(read(&["HEAD:refs/heads/main"]) > 3_000);
}

/// Merges that no one signed are refused before their trees or merge bases are looked
/// at, and before what they bring is verified.
#[test]
fn unsigned_merges_cost_nothing_but_their_commits() {
    let yard = Yard::new(&policy(BRANCHES));
    let policy = yard.policy_file();
    let policy = ["--policy", policy.to_str().unwrap()];
    yard.stage.git(["checkout", "-q", "-B", "work"]).ok();
    let first = yard.unsigned("first");
    long_history(&yard, &first, 20_000);
    let main = id(&yard, "refs/heads/main");
    let tree = id(&yard, &format!("{main}^{{tree}}"));
    let make = |message: &str, parents: &[&str]| {
        let mut arguments = vec!["commit-tree", "--no-gpg-sign", "-m", message, &tree];
        for parent in parents {
            arguments.extend(["-p", parent]);
        }
        yard.stage.git(arguments).ok().line().to_owned()
    };
    let mut tip = main.clone();
    for number in 0..20 {
        let side = make(&format!("side {number}"), &[&first]);
        tip = make("merge", &[&tip, &side]);
    }
    let began = Instant::now();
    let said = hook(&yard, 1, &[(&main, &tip, "refs/heads/main")], &policy);
    let took = began.elapsed();
    assert_eq!(said["trees_read"], 0, "{said}");
    assert_eq!(said["results"][0]["gained"], 1, "{said}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// An unsigned commit with a tree of a million entries: no tree is read.
#[test]
fn an_unsigned_push_reads_no_tree() {
    let yard = Yard::new(&policy(BRANCHES));
    let blob = yard.stage.write("blob", b"x");
    let raw: Vec<u8> = (0..blob.len() / 2)
        .map(|at| u8::from_str_radix(&blob[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let mut tree = Vec::new();
    for number in 0..200_000 {
        tree.extend_from_slice(format!("100644 {number:07}\0").as_bytes());
        tree.extend_from_slice(&raw);
    }
    let tree = yard.stage.write("tree", &tree);
    let made = yard
        .stage
        .git(["commit-tree", "--no-gpg-sign", "-m", "x", &tree])
        .ok();
    let policy = yard.policy_file();
    let policy = ["--policy", policy.to_str().unwrap()];
    let updates = [(ZERO, made.line(), "refs/heads/main")];
    let said = hook(&yard, 1, &updates, &policy);
    assert_eq!(said["trees_read"], 0, "{said}");
    assert_eq!(said["findings"][0]["code"], "unsigned");
}

/// What is over its time is refused, whatever was found by then.
#[test]
fn no_push_is_judged_after_its_time() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.stage.git(["checkout", "-q", "-B", "work"]).ok();
    let first = yard.unsigned("first");
    // More than can be read in a second.
    long_history(&yard, &first, 100_000);
    let main = id(&yard, "refs/heads/main");
    let mut command = yard.stage.command(GITSEAL, &yard.stage.repo());
    command.args(["pre-receive", "--timeout", "1", "--policy"]);
    command.arg(yard.policy_file());
    let began = Instant::now();
    let line = format!("{first} {main} refs/heads/main\n");
    let ended = run(&mut command, line.as_bytes()).fails(3);
    let took = began.elapsed();
    assert!(ended.err.contains("timed out after 1 s"), "{ended:?}");
    // The process ends one second later, whatever it does.
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// A hundred thousand refs of which none lends are listed and not followed.
#[test]
fn many_refs_are_listed_and_not_followed() {
    let yard = Yard::new(&policy(BRANCHES));
    let policy = yard.policy_file();
    let policy = ["--policy", policy.to_str().unwrap()];
    let head = yard.commit(ALICE, "first");
    let git_dir = id(&yard, "--absolute-git-dir");
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for number in 0..100_000 {
        // Objects that do not exist: following one would be an error.
        writeln!(packed, "{number:040x} refs/changes/{number:06}").unwrap();
    }
    std::fs::write(format!("{git_dir}/packed-refs"), packed).unwrap();
    let began = Instant::now();
    let said = hook(&yard, 0, &[(ZERO, &head, "refs/heads/new")], &policy);
    let took = began.elapsed();
    assert!(said["commits_read"].as_u64().unwrap() <= 4, "{said}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
