//! What a name means: the object that `git rev-parse` prints, or a refusal. Scenes
//! with names that are made to be confused, and thousands of names by chance.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{
    forge::IDENTITY,
    not_applicable,
    stage::{Ended, GITSEAL, Stage, run},
};
use gitseal::host::git::{GitError, Workspace, resolve::Among};
use serde_json::{Value, json};

// ------------------------------------------------------------------- scenes

/// A repository in which `main` and HEAD are unsigned, and the commit before is
/// signed by the expected signer.
struct Scene {
    stage: Stage,
    signed: String,
    unsigned: String,
}

fn scene() -> Scene {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let signed = stage.commit("signed");
    stage.payload("not signed");
    let unsigned = stage.git(["rev-parse", "HEAD"]).ok().line().to_owned();
    Scene {
        stage,
        signed,
        unsigned,
    }
}

impl Scene {
    /// Writes a ref as a file: Git's commands refuse some of these names.
    fn reference(&self, name: &str, value: &str) {
        let path = self.stage.repo().join(".git").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }

    fn gitseal(&self, words: &[&str]) -> Ended {
        self.stage.gitseal(words)
    }

    fn stdin(&self, line: &str) -> Ended {
        let mut command = self.stage.command(GITSEAL, &self.stage.repo());
        command.args(["verify", "--offline", "--stdin"]);
        run(&mut command, format!("{line}\n").as_bytes())
    }

    /// No command accepts the unsigned commit because of this name.
    #[track_caller]
    fn is_not_confused_by(&self, name: &str) {
        let git = self.stage.git(["rev-parse", "--verify", "-q", name]).ok();
        assert_eq!(git.line(), self.unsigned, "the scene: {name}");
        let base = &self.signed;
        let range = format!("{base}..{name}");
        let back = format!("{name}..HEAD");
        for words in [
            &["verify", "--offline", name][..],
            &["verify", "--offline", name, name, "--json"],
            &["verify", "--offline", &range],
            &["explain", "--offline", name],
        ] {
            let ended = self.gitseal(words);
            assert!(matches!(ended.code, 1 | 2), "{words:?}: {ended:?}");
            let is_about_signed = ended.out.contains(&format!("commit {base}"));
            assert!(!is_about_signed, "{words:?}: {ended:?}");
        }
        for ended in [self.stdin(name), self.stdin(&range)] {
            assert!(matches!(ended.code, 1 | 2), "{name}: {ended:?}");
        }
        let shown = self.gitseal(&["show", name]);
        assert!(matches!(shown.code, 1 | 2), "{name}: {shown:?}");
        // An empty range is one only if both ends are the object that Git means.
        let ended = self.gitseal(&["verify", "--offline", &back]);
        match ended.code {
            0 => {
                ended.says("gitseal: empty range: 0 commits");
            }
            code => assert_eq!(code, 2, "{back}: {ended:?}"),
        }
        let policy = self.stage.file(
            "policy.toml",
            "version = 2\n[signers]\na = { issuer = \"https://i.example\", identity = \"a@example.com\" }\n[[rules]]\nname = \"all\"\nrefs = [\"refs/heads/**\"]\ncommit = [\"a\"]\n",
        );
        let policy = policy.to_str().unwrap();
        for words in [
            &[
                "policy",
                "test",
                "--policy",
                policy,
                "--ref",
                "refs/heads/main",
                &range,
            ][..],
            &[
                "ci",
                "--range",
                &range,
                "--ref",
                "refs/heads/main",
                "--policy",
                policy,
            ],
        ] {
            let ended = self.gitseal(words);
            assert!(matches!(ended.code, 1..=3), "{words:?}: {ended:?}");
        }
    }
}

#[test]
fn a_tag_called_head() {
    let scene = scene();
    scene.reference("refs/tags/HEAD", &scene.signed);
    scene.is_not_confused_by("HEAD");
    scene.is_not_confused_by("@");
    scene
        .gitseal(&["verify", "--offline"])
        .fails(1)
        .says(&format!("HEAD = refs/heads/main = {}", scene.unsigned));
}

#[test]
fn a_tag_called_like_a_full_name() {
    let scene = scene();
    scene.reference("refs/tags/refs/heads/main", &scene.signed);
    scene.is_not_confused_by("refs/heads/main");
    // Below refs/tags/ it has its own full name.
    scene
        .gitseal(&["verify", "--offline", "refs/tags/refs/heads/main"])
        .ok();
    // A full name that does not exist is not looked for elsewhere, though Git does.
    let range = "refs/remotes/origin/main..HEAD";
    let name = "refs/tags/refs/remotes/origin/main";
    scene.reference(name, &scene.unsigned);
    scene.stage.git(["rev-parse", range]).ok();
    for name in [range, "refs/remotes/origin/main"] {
        scene
            .gitseal(&["verify", "--offline", name])
            .fails(2)
            .says("no ref has this full name");
    }
    // Nor is what a rule for short names tries.
    scene.reference("refs/tags/refs/heads/gone", &scene.signed);
    for name in ["gone", "heads/gone"] {
        scene
            .gitseal(&["verify", "--offline", name])
            .fails(2)
            .says("unknown revision");
    }
    // A short name that is a full name elsewhere.
    scene.reference("refs/tags/heads/main", &scene.signed);
    scene.is_not_confused_by("heads/main");
    scene
        .gitseal(&["verify", "--offline", "heads/main"])
        .fails(2)
        .says("ambiguous: refs/heads/main, refs/tags/heads/main");
}

#[test]
fn a_tag_of_forty_digits() {
    let scene = scene();
    let name = format!("refs/tags/{}", scene.unsigned);
    scene.reference(&name, &scene.signed);
    scene.is_not_confused_by(&scene.unsigned);
}

#[test]
fn branches_that_look_like_git_describe() {
    let scene = scene();
    let abbreviation = &scene.signed[..10];
    for name in [
        format!("fix-g{abbreviation}"),
        format!("v1-3-g{abbreviation}"),
        format!("{abbreviation}-fix"),
        format!("{abbreviation}-dirty"),
    ] {
        scene.reference(&format!("refs/heads/{name}"), &scene.unsigned);
        scene.is_not_confused_by(&name);
        scene
            .gitseal(&["verify", "--offline", &name])
            .fails(1)
            .says(&format!("{name} = refs/heads/{name} = {}", scene.unsigned));
    }
    // Without such a branch, what git describe prints is not read.
    scene
        .gitseal(&["verify", "--offline", &format!("v2-1-g{abbreviation}")])
        .fails(2)
        .says("the output of git describe is not read");
    scene
        .gitseal(&["verify", "--offline", &format!("{abbreviation}-other")])
        .fails(2)
        .says("unknown revision");
}

#[test]
fn a_branch_called_like_an_abbreviated_id() {
    let scene = scene();
    let name = &scene.signed[..8];
    scene.gitseal(&["verify", "--offline", name]).ok();
    scene.reference(&format!("refs/heads/{name}"), &scene.unsigned);
    scene.is_not_confused_by(name);
    scene
        .gitseal(&["verify", "--offline", name])
        .fails(2)
        .says(&format!(
            "ambiguous: refs/heads/{name}, commit {}",
            scene.signed
        ));
}

/// The README's line for CI: a tag beside the remote branch made it verify nothing.
#[test]
fn a_tag_beside_the_remote_branch() {
    let scene = scene();
    scene.reference("refs/remotes/origin/main", &scene.signed);
    scene.reference("refs/remotes/origin/HEAD", "ref: refs/remotes/origin/main");
    let words = ["verify", "--offline", "origin/main..HEAD"];
    scene.gitseal(&words).fails(1).says("1 unsigned");
    scene
        .gitseal(&["verify", "--offline", "origin"])
        .ok()
        .says(&format!(
            "gitseal: origin = refs/remotes/origin/HEAD = refs/remotes/origin/main = {}\n",
            scene.signed
        ));
    scene.reference("refs/tags/origin/main", &scene.unsigned);
    for range in ["origin/main..HEAD", "origin/main..", "^origin/main"] {
        scene
            .gitseal(&["verify", "--offline", range, "HEAD"])
            .fails(2)
            .says("\"origin/main\" is ambiguous: refs/tags/origin/main, refs/remotes/origin/main")
            .says("hint: write the full name of the ref");
    }
    scene
        .gitseal(&["verify", "--offline", "refs/remotes/origin/main..HEAD"])
        .fails(1)
        .says("1 unsigned");
    let policy = scene.stage.file("policy.toml", "");
    scene
        .gitseal(&[
            "ci",
            "--range",
            "origin/main..HEAD",
            "--ref",
            "refs/heads/main",
            "--policy",
            policy.to_str().unwrap(),
        ])
        .fails(2)
        .says("is ambiguous");
    scene
        .gitseal(&["policy", "test", "--policy-root", "origin/main", "HEAD"])
        .fails(2)
        .says("is ambiguous");
    scene
        .gitseal(&["policy", "describe", "origin/main:"])
        .fails(2)
        .says("is ambiguous");
    let text = "version = 2\n[signers]\na = { issuer = \"https://i.example\", identity = \"a@example.com\" }\n[[rules]]\nname = \"all\"\nrefs = [\"refs/heads/**\"]\ncommit = [\"a\"]\n";
    fs::create_dir(scene.stage.repo().join(".gitseal")).unwrap();
    fs::write(scene.stage.repo().join(".gitseal/policy.toml"), text).unwrap();
    scene.stage.git(["add", ".gitseal"]).ok();
    scene.stage.payload("a policy");
    let id = scene.stage.git(["rev-parse", "HEAD"]).ok();
    let equation = format!("gitseal: main = refs/heads/main = {}\n", id.line());
    for words in [
        &["check", "main:"][..],
        &["describe", "main:"],
        &["diff", "HEAD:", "main:"],
    ] {
        let words = [&["policy"], words].concat();
        scene.gitseal(&words).ok().says(&equation);
        let json = scene
            .gitseal(&[&words[..], &["--json"]].concat())
            .ok()
            .json();
        let resolved = json["resolved"].as_array().unwrap();
        assert_eq!(resolved.last().unwrap()["ref"], "refs/heads/main");
    }
}

#[test]
fn files_of_the_git_directory_hide_no_ref() {
    let scene = scene();
    // Git 2.39 reads any file of its directory as a ref.
    scene.reference("release", &scene.signed);
    scene.reference("refs/heads/release", &scene.unsigned);
    scene
        .gitseal(&["verify", "--offline", "release"])
        .fails(2)
        .says("ambiguous: the file release in the Git directory, refs/heads/release");
    scene
        .gitseal(&["verify", "--offline", "logs/HEAD"])
        .fails(2)
        .says("not read as a ref");
    // One that is not a ref is in no one's way.
    scene.reference("refs/heads/config", &scene.unsigned);
    scene.is_not_confused_by("config");
    // What a fetch brought is one of Git's own.
    scene.reference(
        "FETCH_HEAD",
        &format!("{}\t\tbranch 'main' of /srv/x", scene.unsigned),
    );
    scene.is_not_confused_by("FETCH_HEAD");
    scene
        .gitseal(&["verify", "--offline", "FETCH_HEAD"])
        .fails(1)
        .says("object-unsigned");
    scene.reference("FETCH_HEAD", "ref: refs/heads/main");
    scene
        .stage
        .git(["rev-parse", "--verify", "-q", "FETCH_HEAD"])
        .fails(1);
    scene
        .gitseal(&["verify", "--offline", "FETCH_HEAD"])
        .fails(2)
        .says("symbolic ref");
}

/// Git composes names on macOS only, whatever the configuration says.
#[test]
#[cfg(not(target_os = "macos"))]
fn names_are_compared_byte_by_byte() {
    let scene = scene();
    scene.stage.local("core.precomposeUnicode", "true");
    scene.reference("refs/heads/\u{e4}", &scene.signed);
    scene.reference("refs/heads/a\u{308}", &scene.unsigned);
    scene.is_not_confused_by("a\u{308}");
    scene.stage.git(["pack-refs", "--all"]).ok();
    scene.is_not_confused_by("a\u{308}");
}

#[test]
fn nothing_to_verify_is_not_success() {
    let scene = scene();
    let verify = |words: &[&str]| scene.gitseal(&[&["verify", "--offline"], words].concat());
    verify(&["^main"])
        .fails(2)
        .says("nothing to verify: no commit to start from is named, only exclusions");
    verify(&["^main", "^HEAD~1"]).fails(2);
    verify(&["HEAD~1^@"]).fails(2);
    verify(&[".."]).fails(2);
    scene.stdin("").fails(2).says("nothing to verify");
    scene.stdin("^main").fails(2).says("nothing to verify");
    // An empty range reports its ends, and that it is empty.
    let equation = format!("gitseal: main = refs/heads/main = {}\n", scene.unsigned);
    verify(&["main..main"])
        .ok()
        .says(&equation)
        .says("gitseal: empty range: 0 commits");
    let summary: Value =
        serde_json::from_str(verify(&["--json", "main..HEAD"]).ok().line()).unwrap();
    assert_eq!(summary["summary"]["commits"], 0);
    assert_eq!(
        summary["summary"]["resolved"],
        json!([
            {"name": "main", "ref": "refs/heads/main", "id": scene.unsigned},
            {"name": "HEAD", "ref": "HEAD", "id": scene.unsigned},
        ])
    );
    let summary = |words: &[&str]| -> Value {
        let ended = verify(&[&["--json"], words].concat());
        serde_json::from_str(ended.out.lines().last().unwrap()).unwrap()
    };
    // Full IDs are listed as ends of a range, and not where they are a list.
    let id = scene.signed.as_str();
    let ends = summary(&[&format!("{id}..{id}")]);
    assert_eq!(ends["summary"]["resolved"][0]["id"], id);
    assert_eq!(ends["summary"]["resolved"][0]["ref"], Value::Null);
    let listed = summary(&[id, &scene.unsigned]);
    assert_eq!(listed["summary"]["resolved"], json!([]));
    verify(&["main..nothing"]).fails(2);
    // A repository without a commit.
    let empty = scene.stage.path("empty");
    scene
        .stage
        .git(["init", "-q", empty.to_str().unwrap()])
        .ok();
    for words in [
        &["verify", "--all"][..],
        &["audit", "--offline"],
        &["verify"],
    ] {
        scene.stage.gitseal_at(&empty, words).fails(2);
    }
}

#[test]
fn a_tag_under_the_name_of_another_release() {
    let scene = scene();
    let stage = &scene.stage;
    stage.git(["update-ref", "HEAD", &scene.signed]).ok();
    let tag = stage.tag("v1");
    for name in ["refs/tags/v2", "refs/remotes/origin/v3", "refs/heads/v4"] {
        scene.reference(name, &tag);
    }
    for name in ["v1", "refs/tags/v1", "v1^{tag}"] {
        stage.gitseal(["verify-tag", "--offline", name]).ok();
    }
    stage.gitseal(["verify", "--offline", "v1"]).ok();
    let said = format!("points to tag object {tag}, which is named \"v1\" [tag-name]");
    for name in ["v2", "refs/tags/v2", "origin/v3", "v4", "v2^{tag}"] {
        for command in ["verify-tag", "verify", "explain"] {
            stage
                .gitseal([command, "--offline", name])
                .fails(1)
                .says(&said);
        }
        stage
            .gitseal(["verify", "--offline", name, &scene.signed])
            .fails(1)
            .says(&said);
    }
    // Elsewhere than below refs/tags/, the end of the ref's name is the tag's.
    stage
        .git(["update-ref", "refs/remotes/origin/v1", &tag])
        .ok();
    stage.gitseal(["verify-tag", "--offline", "origin/v1"]).ok();
    // By an ID the name that was meant cannot be known: it is printed.
    stage
        .gitseal(["verify-tag", "--offline", &tag])
        .ok()
        .says("(tag object is named v1)");
}

#[test]
fn bare_repositories_and_formats_as_git_reads_them() {
    let mut scene = scene();
    let bare = scene.stage.path("bare.git");
    let at = bare.to_str().unwrap().to_owned();
    scene.stage.git(["clone", "-q", "--bare", ".", &at]).ok();
    let both = |scene: &Scene, directory: &Path, what: &str, git: i32, ours: i32| {
        let words = ["rev-parse", "--verify", "HEAD"];
        let theirs = scene.stage.git_at(directory, words);
        assert_eq!(theirs.code, git, "{what}: {theirs:?}");
        scene
            .stage
            .gitseal_at(directory, ["verify", "--offline", &scene.signed])
            .fails(ours)
    };
    both(&scene, &bare, "bare", 0, 0);
    both(&scene, &bare.join("refs"), "below", 0, 0);
    // From below a bare repository inside a work tree, that one is meant.
    let inner = scene.stage.repo().join("inner.git");
    let there = inner.to_str().unwrap();
    scene.stage.git(["clone", "-q", "--bare", ".", there]).ok();
    scene
        .stage
        .git_at(&inner, ["update-ref", "refs/heads/main", &scene.signed])
        .ok();
    scene
        .stage
        .gitseal_at(&inner.join("refs"), ["verify", "--offline", "main"])
        .ok()
        .says(&scene.signed);
    // The repository itself cannot choose.
    scene
        .stage
        .git_at(&bare, ["config", "safe.bareRepository", "explicit"])
        .ok();
    both(&scene, &bare, "its own setting", 0, 0);
    scene.stage.config("safe.bareRepository", "explicit");
    both(&scene, &bare, "explicit", 128, 2).says("safe.bareRepository");
    both(&scene, &bare.join("refs"), "below, explicit", 128, 2);
    let repo = scene.stage.repo();
    both(&scene, &repo, "not bare", 0, 0);
    scene.stage.set("GIT_DIR", at);
    both(&scene, &repo, "named", 0, 0);
    scene.stage.unset("GIT_DIR");
    scene.stage.config("safe.bareRepository", "all");
    scene.stage.set("GIT_CONFIG_COUNT", "1");
    scene.stage.set("GIT_CONFIG_KEY_0", "safe.bareRepository");
    scene.stage.set("GIT_CONFIG_VALUE_0", "explicit");
    both(&scene, &bare, "explicit by the environment", 128, 2);
    scene.stage.unset("GIT_CONFIG_COUNT");
    // Formats: what Git refuses is refused, what it ignores is ignored.
    for (version, extension, is_read) in [
        ("0", "extensions.somethingNew", true),
        ("1", "extensions.somethingNew", false),
        ("1", "extensions.noop", true),
        ("1", "extensions.a.b", false),
        ("0", "extensions.noop-v1", false),
        ("1", "extensions.noop-v1", true),
        ("2", "extensions.noop", false),
    ] {
        scene.stage.local("core.repositoryFormatVersion", version);
        let config = repo.join(".git/config");
        let before = fs::read_to_string(&config).unwrap();
        let file = config.to_str().unwrap();
        scene
            .stage
            .git_at(
                scene.stage.root(),
                ["config", "--file", file, extension, "true"],
            )
            .ok();
        let (git, ours) = if is_read { (0, 0) } else { (128, 2) };
        both(&scene, &repo, &format!("{version} {extension}"), git, ours);
        fs::write(&config, before.replace(&format!("= {version}\n"), "= 0\n")).unwrap();
    }
}

/// Git's own listing is read where refs are no files, with a program that prints what
/// `git for-each-ref` of 2.45 prints.
#[test]
fn refs_that_only_git_reads() {
    let mut scene = scene();
    let repo = scene.stage.repo();
    let verify =
        |scene: &Scene, name: &str| scene.stage.gitseal_at(&repo, ["verify", "--offline", name]);
    scene.stage.local("core.repositoryFormatVersion", "1");
    let config = repo.join(".git/config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        format!("{text}[extensions]\n\trefStorage = reftable\n"),
    )
    .unwrap();
    // As Git leaves them in such a repository.
    fs::write(repo.join(".git/HEAD"), "ref: refs/heads/.invalid\n").unwrap();
    fs::remove_dir_all(repo.join(".git/refs")).unwrap();
    fs::create_dir(repo.join(".git/refs")).unwrap();
    fs::write(
        repo.join(".git/refs/heads"),
        "this repository uses the reftable format\n",
    )
    .unwrap();
    let programs = scene.stage.path("programs");
    fs::create_dir(&programs).unwrap();
    let program = programs.join("git");
    let git_dir = repo.join(".git").display().to_string();
    let config = format!(
        "config*) PATH=${{PATH#*:}}; exec git \"$@\" ;;\n*' rev-parse '*' --git-common-dir') echo {git_dir}; echo {git_dir} ;;"
    );
    let install = |for_each_ref: &str| {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*' for-each-ref --include-root-refs '*) {for_each_ref} ;;\n{config}\n*) exit 64 ;;\nesac\n"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    scene.stage.set("PATH", path);
    // A Git that refuses the repository: so do we, by name.
    install("echo 'fatal: unknown repository extension found: refstorage' >&2; exit 128");
    verify(&scene, "HEAD")
        .fails(2)
        .says("cannot list the refs: they are stored as \"reftable\"")
        .says("unknown repository extension found");
    verify(&scene, &scene.signed).ok();
    // One that says something else.
    install("echo 'refs/heads/main'");
    verify(&scene, "HEAD").fails(2).says("is malformed");
    let listing = [
        ("HEAD", &scene.unsigned, "refs/heads/main"),
        ("refs/heads/main", &scene.unsigned, ""),
        ("refs/heads/good", &scene.signed, ""),
        ("refs/tags/twice", &scene.signed, ""),
        ("refs/heads/twice", &scene.unsigned, ""),
    ];
    let listing = listing.map(|(name, id, symbolic)| format!("{name}\0{id}\0{symbolic}\n"));
    let listing = scene.stage.file("listing", listing.concat());
    install(&format!("cat {}", listing.display()));
    verify(&scene, "good")
        .ok()
        .says(&format!("good = refs/heads/good = {}", scene.signed));
    verify(&scene, "HEAD")
        .fails(1)
        .says(&format!("HEAD = refs/heads/main = {}", scene.unsigned));
    verify(&scene, "good..main").fails(1).says("1 unsigned");
    verify(&scene, "twice").fails(2).says("is ambiguous");
    verify(&scene, "none").fails(2).says("unknown revision");
    let all = verify(&scene, "--all").fails(1);
    assert!(all.out.contains("2 commits: 1 verified"), "{all:?}");
}

/// The same with Git itself, where it has reftable.
#[test]
fn refs_in_a_reftable() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let repo = stage.path("reftable");
    let at = repo.to_str().unwrap();
    let made = stage.git(["init", "-q", "-b", "main", "--ref-format=reftable", at]);
    if made.code != 0 {
        return not_applicable("reftable: this Git is older than 2.45");
    }
    let git = |words: &[&str]| stage.git_at(&repo, words).ok().line().to_owned();
    let verify =
        |directory: &Path, name: &str| stage.gitseal_at(directory, ["verify", "--offline", name]);
    for name in ["HEAD", "main", "--all"] {
        verify(&repo, name).fails(2);
    }
    let tree = git(&["write-tree"]);
    let commit = |parents: &[&str], message: &str| {
        let words = ["commit-tree", "--no-gpg-sign", &tree, "-m", message];
        git(&[&words[..], parents].concat())
    };
    let one = commit(&[], "one");
    let two = commit(&["-p", &one], "two");
    git(&["update-ref", "refs/heads/main", &two]);
    git(&["tag", "-a", "--no-sign", "-m", "x", "v1", &one]);
    git(&["update-ref", "refs/remotes/origin/main", &one]);
    git(&[
        "symbolic-ref",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/main",
    ]);
    let linked = stage.path("linked");
    git(&[
        "worktree",
        "add",
        "-q",
        "--detach",
        linked.to_str().unwrap(),
        &one,
    ]);
    for directory in [&repo, &linked] {
        for name in [
            "HEAD",
            "main",
            "v1^{commit}",
            "origin",
            "origin/main",
            "main~1",
        ] {
            let meant = stage
                .git_at(directory, ["rev-parse", "--verify", name])
                .ok();
            let meant = meant.line();
            verify(directory, name)
                .fails(1)
                .says(&format!("= {meant}\n"))
                .says("[object-unsigned]");
        }
        verify(directory, "none").fails(2).says("unknown revision");
    }
    verify(&repo, "--all")
        .fails(1)
        .says("2 commits: 0 verified");
    git(&["tag", "main", &one]);
    verify(&repo, "main")
        .fails(2)
        .says("ambiguous: refs/tags/main, refs/heads/main");
}

#[test]
fn a_namespace_changes_no_name() {
    let mut scene = scene();
    scene.reference("refs/namespaces/x/refs/heads/main", &scene.signed);
    scene.reference(
        "refs/namespaces/x/HEAD",
        "ref: refs/namespaces/x/refs/heads/main",
    );
    scene.stage.set("GIT_NAMESPACE", "x");
    scene.is_not_confused_by("main");
    scene.is_not_confused_by("HEAD");
    // The library's own setting for it is not one of Git's.
    scene.stage.unset("GIT_NAMESPACE");
    scene.stage.local("gitoxide.core.refsNamespace", "x");
    scene.is_not_confused_by("main");
}

#[test]
fn suffixes_in_a_shallow_clone_end_where_git_ends() {
    let scene = scene();
    let shallow = scene.stage.path("shallow");
    let from = format!("file://{}", scene.stage.repo().display());
    let to = shallow.to_str().unwrap();
    scene
        .stage
        .git(["clone", "-q", "--depth=1", &from, to])
        .ok();
    let git = scene
        .stage
        .git_at(&shallow, ["rev-parse", "--verify", "HEAD~1"]);
    assert_eq!(git.code, 128, "{git:?}");
    scene
        .stage
        .gitseal_at(&shallow, ["verify", "--offline", "HEAD~1"])
        .fails(2)
        .says("boundary of a shallow clone");
}

// ---------------------------------------------------------- names by chance

/// Numbers of a sequence that its start decides (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap() % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a, T: ?Sized + AsRef<str>>(&mut self, from: &'a [Box<T>]) -> &'a str {
        from[self.roll(from.len())].as_ref().as_ref()
    }

    fn of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// A repository by chance.
struct World {
    stage: Stage,
    /// The repository, or a linked worktree.
    directory: PathBuf,
    objects: Vec<Box<str>>,
    refs: Vec<Box<str>>,
}

const PARTS: [&str; 44] = [
    "main",
    "v1",
    "HEAD",
    "origin",
    "origin/main",
    "refs",
    "heads",
    "tags",
    "remotes",
    "heads/main",
    "tags/v1",
    "remotes/origin",
    "refs/heads/main",
    "refs/tags/v1",
    "x",
    "X",
    "@",
    "a@b",
    "-dash",
    "fix",
    "2024",
    "beef",
    "cafe1",
    "\u{fc}n\u{ef}",
    "a.b",
    "a{b}",
    "b}",
    "^",
    "MERGE_HEAD",
    "FETCH_HEAD",
    "ORIG_HEAD",
    "config",
    "index",
    "logs/HEAD",
    "v1-3-g",
    "stash",
    "bisect/bad",
    "worktree/x",
    "notes/commits",
    "main-worktree/HEAD",
    "worktrees/x/HEAD",
    "lower",
    "a b",
    "description",
];

impl World {
    fn new(dice: &mut Dice) -> Self {
        let stage = if dice.one_in(3) {
            Stage::sha256()
        } else {
            Stage::new()
        };
        let mut stream = String::new();
        let blobs = 400;
        for number in 1..=blobs {
            let text = format!("{number} {}", dice.roll(1 << 30));
            let _ = write!(
                stream,
                "blob\nmark :{number}\ndata {}\n{text}\n",
                text.len()
            );
        }
        for number in 1..=12 {
            let mark = blobs + number;
            let _ = write!(
                stream,
                "commit refs/heads/main\nmark :{mark}\ncommitter A <a@x> {} +0000\ndata 2\nm\n",
                1_700_000_000 + dice.roll(1 << 20)
            );
            if number > 4 && dice.one_in(3) {
                let _ = writeln!(stream, "merge :{}", mark - 2);
            }
            let _ = writeln!(stream, "M 644 :{number} f{number}");
            if dice.one_in(2) {
                let _ = write!(
                    stream,
                    "tag t{number}\nfrom :{mark}\ntagger A <a@x> 1700000000 +0000\ndata 2\nm\n"
                );
            }
        }
        let mut import = stage.command("git", &stage.repo());
        import.args(["fast-import", "--quiet"]);
        run(&mut import, stream.as_bytes()).ok();
        // Tags of tags, of blobs and of trees.
        let blob = stage.git(["rev-parse", "main:f1"]).ok();
        let tree = stage.git(["rev-parse", "main^{tree}"]).ok();
        let mut inner = vec![
            (blob.line().to_owned(), "blob"),
            (tree.line().to_owned(), "tree"),
        ];
        let commit = stage.git(["rev-parse", "main~2"]).ok().line().to_owned();
        inner.push((commit, "commit"));
        for (id, kind) in inner {
            let mut at = (id, kind);
            for depth in 0..2 {
                let raw = format!(
                    "object {}\ntype {}\ntag n{depth}\ntagger A <a@x> 1700000000 +0000\n\nm\n",
                    at.0, at.1
                );
                at = (stage.write("tag", raw.as_bytes()), "tag");
            }
        }
        let format = [
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname)",
        ];
        let objects: Vec<Box<str>> = stage.git(format).ok().out.lines().map(Box::from).collect();
        let mut directory = stage.repo();
        if dice.one_in(4) {
            directory = stage.path("linked");
            let at = directory.to_str().unwrap();
            stage
                .git(["worktree", "add", "-q", "--detach", at, "main~3"])
                .ok();
        }
        let mut world = Self {
            directory,
            stage,
            objects,
            refs: Vec::new(),
        };
        world.add_refs(dice);
        world
    }

    /// An object: more often a commit or a tag than a blob.
    fn object(&self, dice: &mut Dice) -> String {
        if dice.one_in(4) {
            return dice.pick(&self.objects).to_owned();
        }
        let revision = format!("main~{}", dice.roll(8));
        self.stage
            .git(["rev-parse", &revision])
            .ok()
            .line()
            .to_owned()
    }

    /// A short name that has to do with an object, or with nothing.
    fn word(&self, dice: &mut Dice) -> String {
        let id = dice.pick(&self.objects).to_owned();
        let cut = |dice: &mut Dice| id[..4 + dice.roll(8)].to_owned();
        match dice.roll(10) {
            0 => format!("fix-g{}", cut(dice)),
            1 => format!("{}-fix", cut(dice)),
            2 => cut(dice),
            3 => id,
            4 => format!("{}/{}", dice.of(&PARTS), dice.of(&PARTS)),
            5 => format!("v1-{}-g{}", dice.roll(9), cut(dice)),
            _ => dice.of(&PARTS).to_owned(),
        }
    }

    fn add_refs(&mut self, dice: &mut Dice) {
        let git = self.stage.repo().join(".git");
        let linked = git.join("worktrees/linked");
        if linked.exists() {
            for name in [
                "ORIG_HEAD",
                "refs/bisect/bad",
                "refs/worktree/x",
                "refs/heads/own",
            ] {
                let id = self.object(dice);
                fs::create_dir_all(linked.join(name).parent().unwrap()).unwrap();
                fs::write(linked.join(name), format!("{id}\n")).unwrap();
                self.refs.push(name.into());
            }
        }
        let mut names = BTreeSet::new();
        for _ in 0..40 {
            let before = dice.of(&["refs/", "refs/tags/", "refs/heads/", "refs/remotes/", ""]);
            let after = dice.of(&["", "", "", "/HEAD"]);
            names.insert(format!("{before}{}{after}", self.word(dice)));
        }
        let ids: Vec<String> = (0..6).map(|_| self.object(dice)).collect();
        let mut packed = false;
        for (number, name) in names.iter().enumerate() {
            if number > names.len() / 2 && !packed {
                packed = true;
                // A name that Git cannot pack stays as it is.
                let _ = self.stage.git(["pack-refs", "--all"]);
            }
            let is_git_file = ["config", "HEAD", "index", "description", "logs", "objects"]
                .iter()
                .any(|own| name == own || name.starts_with(&format!("{own}/")));
            let path = git.join(name);
            let parent = path.parent().unwrap();
            if is_git_file || path.exists() || fs::create_dir_all(parent).is_err() {
                continue;
            }
            let other = dice.pick_or(&self.refs, "refs/heads/main").to_owned();
            let value = match dice.roll(12) {
                0 => format!("ref: {other}\n"),
                1 => format!("ref: refs/heads/none{number}\n"),
                2 => "neither\n".to_owned(),
                3 => format!("{}\t\tbranch 'x' of y\n", ids[dice.roll(ids.len())]),
                _ => format!("{}\n", ids[dice.roll(ids.len())]),
            };
            if fs::write(path, value).is_ok() {
                self.refs.push(name.as_str().into());
            }
        }
        for name in ["FETCH_HEAD", "MERGE_HEAD", "ORIG_HEAD", "AUTO_MERGE"] {
            let id = &ids[dice.roll(ids.len())];
            let value = match dice.roll(6) {
                0 => format!("{id}\n"),
                1 => format!("ref: {}\n", dice.of(&["refs/heads/main", "HEAD"])),
                2 => format!("{id}\tnot-for-merge\n{}\n", ids[0]),
                _ => continue,
            };
            // It can be a directory by now.
            if fs::write(git.join(name), value).is_ok() {
                self.refs.push(name.into());
            }
        }
        match dice.roll(4) {
            0 => fs::write(git.join("HEAD"), format!("{}\n", ids[0])).unwrap(),
            1 => fs::write(git.join("HEAD"), "ref: refs/heads/unborn\n").unwrap(),
            _ => {}
        }
    }

    fn name(&self, dice: &mut Dice) -> String {
        let mut name = match dice.roll(8) {
            0 | 1 => self.word(dice),
            2 => {
                let id = dice.pick(&self.objects);
                let digits = 1 + dice.roll(id.len());
                id[..digits].to_owned()
            }
            3 => dice.pick(&self.objects).to_owned(),
            _ => {
                // A ref by its name, or by what is left of it.
                let full = dice.pick_or(&self.refs, "refs/heads/main");
                let parts: Vec<&str> = full.split('/').collect();
                let from = dice.roll(parts.len().min(3));
                let to = parts.len() - usize::from(dice.one_in(6) && parts.len() > from + 1);
                parts[from..to].join("/")
            }
        };
        if dice.one_in(12) {
            name = name.to_uppercase();
        }
        if dice.one_in(12) {
            let odd = dice.of(&[
                " ", "\t", "~", "^", ":", "?", "*", "[", "\\", "..", "@{", "@", "//", "/", ".",
                ".lock", "\u{7f}", "\u{1}", "\u{200b}", "e\u{301}", "{", "}", "-", "0",
            ]);
            let mut at = dice.roll(name.len() + 1);
            while !name.is_char_boundary(at) {
                at -= 1;
            }
            name.insert_str(at, odd);
        }
        while dice.one_in(3) {
            name.push_str(dice.of(&[
                "^",
                "^0",
                "^1",
                "^2",
                "^3",
                "~",
                "~0",
                "~1",
                "~2",
                "~9",
                "~00",
                "~99999999999",
                "^{}",
                "^{commit}",
                "^{tag}",
                "^{tree}",
                "^{blob}",
                "^{object}",
                "^{/m}",
                "@{0}",
                "@{1}",
                "@{u}",
                "@{-1}",
                "@{yesterday}",
                ":f1",
                ":",
                "^{commit}}",
                "^{x}",
                "^-",
                "^!",
            ]));
        }
        if dice.one_in(40) {
            name = dice
                .of(&[
                    "", "@", ":/m", ":f1", "@~1", "@^{}", "@{-1}", "^", "~1", "@@", "-",
                ])
                .to_owned();
        }
        name
    }

    /// What Git means by these names: one process for all.
    fn git(&self, names: &[String]) -> Vec<Option<String>> {
        let mut command = self.stage.command("git", &self.directory);
        command
            .args(["cat-file", "-z", "--batch-check=%(objectname)"])
            .env("GIT_NO_REPLACE_OBJECTS", "1");
        let input: Vec<u8> = names
            .iter()
            // At some of these Git stops. They are refused here, whatever they mean.
            .map(|name| if name.contains("@{") { ":" } else { name })
            .flat_map(|name| [name.as_bytes(), b"\0"].concat())
            .collect();
        let ended = run(&mut command, &input);
        let digits = self.objects[0].len();
        let is_id =
            |line: &str| line.len() == digits && line.bytes().all(|b| b.is_ascii_hexdigit());
        let lines: Vec<&str> = ended.out.split('\n').collect();
        assert_eq!(lines.len(), names.len() + 1, "{ended:?}");
        lines
            .iter()
            .take(names.len())
            .map(|line| is_id(line).then(|| (*line).to_owned()))
            .collect()
    }
}

impl Dice {
    fn pick_or<'a>(&mut self, from: &'a [Box<str>], other: &'a str) -> &'a str {
        if from.is_empty() {
            return other;
        }
        let at = self.roll(from.len());
        &from[at]
    }
}

/// Compares names with Git, and returns how many both accept, both refuse, and only
/// Git accepts.
fn compare(seed: u64, names_each: usize) -> [usize; 3] {
    let mut dice = Dice(seed);
    let world = World::new(&mut dice);
    let names: Vec<String> = (0..names_each).map(|_| world.name(&mut dice)).collect();
    let commits: Vec<String> = names
        .iter()
        .map(|name| format!("{name}^{{commit}}"))
        .collect();
    let of_names = world.git(&names);
    let of_commits = world.git(&commits);
    let workspace = Workspace::open(&world.directory).unwrap();
    let repository = workspace.repository().unwrap();
    let mut counts = [0; 3];
    for (((name, among), theirs), wrapped) in names
        .iter()
        .map(|name| (name, Among::Objects))
        .zip(&of_names)
        .zip(&names)
        .chain(
            names
                .iter()
                .map(|name| (name, Among::Commits))
                .zip(&of_commits)
                .zip(&commits),
        )
    {
        let context = || {
            let refs = world.stage.git(["for-each-ref"]).out;
            format!(
                "seed {seed}: {name:?} {among:?}: git says {theirs:?}; refs {:?}\n{refs}",
                world.refs
            )
        };
        let ours = match among {
            Among::Objects => repository
                .resolve(wrapped, among)
                .and_then(|found| repository.objects().kind(found.id).map(|_| found.id)),
            Among::Commits => repository.resolve_commit(name).map(|(id, _)| id),
        };
        match (ours, theirs) {
            (Ok(ours), Some(theirs)) => {
                assert_eq!(ours.to_string(), *theirs, "{}", context());
                counts[0] += 1;
            }
            (Err(_), None) => counts[1] += 1,
            (Ok(ours), None) => panic!("{} but we {ours}", context()),
            // A name that Git knows is never unknown: the refusal has another reason.
            (Err(GitError::UnknownRevision { .. }), Some(_)) => {
                panic!("{} but we do not know it", context())
            }
            (Err(_), Some(_)) => counts[2] += 1,
        }
    }
    counts
}

/// More repositories with `GITSEAL_NAMES_ROUNDS` (`.ci/nightly`).
#[test]
fn names_mean_what_they_mean_to_git() {
    let rounds: u64 =
        std::env::var("GITSEAL_NAMES_ROUNDS").map_or(8, |rounds| rounds.parse().unwrap());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let clock = u64::try_from(clock.as_nanos() & u128::from(u64::MAX)).unwrap();
    let mut sums = [0; 3];
    for round in 0..rounds {
        // One half is the same every time.
        let seed = match round % 2 {
            0 => round,
            _ => clock.wrapping_add(round),
        };
        println!("seed {seed}");
        for (sum, count) in sums.iter_mut().zip(compare(seed, 400)) {
            *sum += count;
        }
    }
    let [both, neither, only_git] = sums;
    println!("{both} names are the same object, {neither} refused by both, {only_git} by us alone");
    assert!(both * 5 > both + neither + only_git, "{sums:?}");
    assert!(only_git * 2 < both, "{sums:?}");
}
