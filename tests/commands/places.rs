//! Repositories of all shapes, and what an environment says about them.

use std::{fs, path::Path};

use crate::{
    forge::{self, IDENTITY, ISSUER},
    stage::{GITSEAL, Stage, run},
};

#[test]
fn from_a_subdirectory() {
    let stage = Stage::new();
    stage.commit("one");
    let below = stage.repo().join("a/b");
    fs::create_dir_all(&below).unwrap();
    stage.verify_at(&below, "HEAD").ok();
}

#[test]
fn in_a_linked_worktree() {
    let stage = Stage::new();
    stage.commit("one");
    let tree = stage.path("tree");
    stage
        .git([
            "worktree",
            "add",
            "-q",
            tree.to_str().unwrap(),
            "-b",
            "other",
        ])
        .ok();
    stage.verify_at(&tree, "HEAD").ok();
    stage.verify_at(&tree, "other").ok();
    stage.verify_at(&tree, "main").ok();
    stage.git_at(&tree, ["verify-commit", "HEAD"]).ok();
}

#[test]
fn in_a_bare_repository() {
    let stage = Stage::new();
    stage.commit("one");
    stage.tag("v1");
    let bare = stage.path("bare.git");
    stage
        .git(["clone", "-q", "--bare", ".", bare.to_str().unwrap()])
        .ok();
    stage.verify_at(&bare, "main").ok();
    let named = |stage: &Stage| {
        stage.gitseal_at(
            &bare,
            [
                "verify-tag",
                "v1",
                "--offline",
                "--certificate-identity",
                IDENTITY,
                "--certificate-oidc-issuer",
                ISSUER,
            ],
        )
    };
    named(&stage).ok();
}

#[test]
fn with_git_dir_from_elsewhere() {
    let mut stage = Stage::new();
    stage.commit("one");
    let elsewhere = stage.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    stage
        .verify_at(&elsewhere, "HEAD")
        .fails(2)
        .says("no Git repository in");
    let git_dir = stage.repo().join(".git");
    stage.set("GIT_DIR", git_dir.to_str().unwrap());
    stage.verify_at(&elsewhere, "HEAD").ok();
    let repo = stage.repo();
    stage.set("GIT_WORK_TREE", repo.to_str().unwrap());
    stage.verify_at(&elsewhere, "HEAD").ok();
    stage.set("GIT_DIR", "/nowhere/at/all");
    stage.verify_at(&elsewhere, "HEAD").fails(2);
}

#[test]
fn with_git_common_dir() {
    let mut stage = Stage::new();
    stage.commit("one");
    let tree = stage.path("tree");
    stage
        .git([
            "worktree",
            "add",
            "-q",
            tree.to_str().unwrap(),
            "-b",
            "other",
        ])
        .ok();
    let private = stage.repo().join(".git/worktrees/tree");
    let common = stage.repo().join(".git");
    for (name, path) in [("GIT_DIR", private), ("GIT_COMMON_DIR", common)] {
        stage.set(name, path.to_str().unwrap());
    }
    stage.git(["rev-parse", "main"]).ok();
    stage.verify("main").ok();
    stage.verify("HEAD").ok();
}

/// Two plain files that a commit can bring along are a repository to Git: `HEAD` there
/// is another commit than in the repository around it.
#[test]
fn a_directory_of_the_work_tree_that_is_a_repository_to_git() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let signed = stage.commit("signed");
    let payload = stage.payload("unsigned");
    let signature_file = stage.file("signature", stage.lab.sign_with(&payload, |_| {}));
    let unsigned = stage.git(["rev-parse", "HEAD"]).ok();
    let unsigned = unsigned.line();
    stage.git(["reset", "-q", "--hard", &signed]).ok();
    let inner = stage.repo().join("inner");
    fs::create_dir_all(inner.join("below")).unwrap();
    fs::write(inner.join("HEAD"), format!("{unsigned}\n")).unwrap();
    stage.verify_at(&inner, "HEAD").ok();
    fs::write(inner.join("commondir"), "../.git\n").unwrap();
    for directory in [inner.clone(), inner.join("below")] {
        let head = stage.git_at(&directory, ["rev-parse", "HEAD"]).ok();
        assert_eq!(head.line(), unsigned);
        stage
            .verify_at(&directory, "HEAD")
            .fails(2)
            .says(&format!("Git uses {}", inner.display()))
            .says(&stage.repo().join(".git").display().to_string());
        stage.gitseal_at(&directory, ["explain", "HEAD"]).fails(2);
        // The form in which Git starts it reads no other repository's configuration.
        let mut helper = stage.command(GITSEAL, &directory);
        helper.args(["--status-fd=1", "--verify"]);
        helper.arg(&signature_file).arg("-");
        run(&mut helper, &payload).fails(2).says("Git uses ");
    }
    stage.verify("HEAD").ok();
    stage.git(["verify-commit", &signed]).ok();
}

/// As Git runs the hooks of a repository with a work tree.
#[test]
fn a_relative_git_dir_within_it() {
    let mut stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let signed = stage.commit("signed");
    let git_dir = stage.repo().join(".git");
    stage.git_at(&git_dir, ["init", "-q"]).ok();
    stage.verify_at(&git_dir, "HEAD").fails(2);
    for (directory, value) in [(git_dir.clone(), "."), (git_dir.join("refs"), "..")] {
        stage.set("GIT_DIR", value);
        let head = stage.git_at(&directory, ["rev-parse", "HEAD"]).ok();
        assert_eq!(head.line(), signed);
        stage.verify_at(&directory, "HEAD").ok();
        stage.git_at(&directory, ["verify-commit", &signed]).ok();
    }
}

/// Git reads refs through links; the list of all refs must not lack them.
#[test]
fn refs_that_are_links_are_not_passed_over() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let signed = stage.commit("signed");
    stage.write("commit", &stage.payload("unsigned"));
    stage.git(["update-ref", "refs/heads/main", &signed]).ok();
    stage.gitseal(["verify", "--all"]).ok();
    let heads = stage.repo().join(".git/refs/heads");
    let stray = stage.path("stray");
    fs::write(&stray, format!("{signed}\n")).unwrap();
    let linked = heads.join("linked");
    std::os::unix::fs::symlink(&stray, &linked).unwrap();
    for command in [&["verify", "--all"][..], &["audit"]] {
        let ended = stage.gitseal(command);
        assert_ne!(ended.code, 0);
        ended.says("heads/linked: a ref that is a symbolic link");
    }
    fs::remove_file(&linked).unwrap();
    fs::write(heads.join("b~d"), format!("{signed}\n")).unwrap();
    stage
        .gitseal(["verify", "--all"])
        .says("heads/b~d: a ref cannot have this name");
    fs::remove_file(heads.join("b~d")).unwrap();
    fs::write(heads.join("main.lock"), "").unwrap();
    stage.gitseal(["verify", "--all"]).ok();
}

#[test]
fn an_environment_in_which_git_finds_no_repository() {
    let mut stage = Stage::new();
    stage.commit("one");
    let (repo, below) = (stage.repo(), stage.repo().join("a/b"));
    fs::create_dir_all(&below).unwrap();
    stage.set("GIT_CEILING_DIRECTORIES", repo.to_str().unwrap());
    stage.git_at(&below, ["rev-parse", "HEAD"]).fails(128);
    stage
        .verify_at(&below, "HEAD")
        .fails(2)
        .says("not a git repository");
    stage.gitseal_at(&below, ["version"]).ok();
    stage.verify("HEAD").ok();
    stage.unset("GIT_CEILING_DIRECTORIES");
    for name in ["GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"] {
        stage.set(name, "");
        stage.git(["rev-parse", "HEAD"]).fails(128);
        stage
            .verify("HEAD")
            .fails(2)
            .says(&format!("{name} is empty"));
        stage.unset(name);
    }
    stage.verify("HEAD").ok();
}

#[test]
fn objects_through_alternates() {
    let stage = Stage::new();
    stage.commit("one");
    let borrower = stage.path("borrower");
    stage
        .git(["clone", "-q", "-s", ".", borrower.to_str().unwrap()])
        .ok();
    stage.verify_at(&borrower, "HEAD").ok();
}

#[test]
fn objects_through_the_environment() {
    let mut stage = Stage::new();
    let first = stage.commit("one");
    // A repository that has the reference, but none of the objects.
    let hollow = stage.path("hollow");
    stage
        .git_at(&stage.path(""), ["init", "-q", hollow.to_str().unwrap()])
        .ok();
    let objects = stage.repo().join(".git/objects");
    let objects = objects.to_str().unwrap();
    fs::write(hollow.join(".git/refs/heads/x"), format!("{first}\n")).unwrap();
    stage
        .verify_at(&hollow, "x")
        .fails(2)
        .says("is not in this repository");
    stage.set("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
    stage.verify_at(&hollow, "x").ok();
    stage.verify_at(&hollow, &first[..10]).ok();
    stage.environment[0] = (
        "GIT_ALTERNATE_OBJECT_DIRECTORIES".into(),
        format!("/nowhere:\"{objects}\":"),
    );
    stage.verify_at(&hollow, "x").ok();
    stage.environment[0] = ("GIT_OBJECT_DIRECTORY".into(), objects.into());
    stage.verify_at(&hollow, "x").ok();
    stage.verify_at(&hollow, "x^{commit}").ok();
}

/// H1: a hook sees the objects of a push that is not accepted yet, loose and
/// packed.
#[cfg(unix)]
#[test]
fn h1_in_the_quarantine_of_a_push() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::new();
    let server = stage.path("server.git");
    stage
        .git(["init", "-q", "--bare", server.to_str().unwrap()])
        .ok();
    let hook = server.join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(
        &hook,
        format!(
            "#!/bin/sh\nwhile read old new ref; do\n  {GITSEAL} verify --offline --certificate-identity {IDENTITY} --certificate-oidc-issuer {ISSUER} $new || exit 1\ndone\n"
        ),
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    stage.commit("one");
    let server = server.to_str().unwrap();
    stage
        .git(["push", "-q", server, "HEAD:refs/heads/main"])
        .ok();
    stage.payload("unsigned");
    stage
        .git(["push", "-q", server, "HEAD:refs/heads/main"])
        .fails(1)
        .says("[object-unsigned]");
    stage.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    stage
        .git_at(Path::new(server), ["config", "receive.unpackLimit", "1"])
        .ok();
    stage.commit("two");
    stage
        .git(["push", "-q", server, "HEAD:refs/heads/main"])
        .ok();
}

#[test]
fn extensions_and_packs() {
    let stage = Stage::new();
    stage.commit("one");
    stage.tag("v1");
    stage.local("extensions.worktreeConfig", "true");
    stage.verify("HEAD").ok();
    stage.local("core.repositoryFormatVersion", "1");
    stage.local("extensions.partialClone", "origin");
    stage.local("remote.origin.promisor", "true");
    stage.verify("HEAD").ok();
    stage.git(["gc", "-q"]).ok();
    stage.git(["pack-refs", "--all"]).ok();
    stage.verify("HEAD").ok();
    stage.verify("v1").ok();
    stage.verify("v1^{}").ok();
    let id = stage.git(["rev-parse", "HEAD"]).ok();
    stage.verify(id.line()).ok();
    stage.verify(&id.line()[..8]).ok();
}

#[test]
fn sha256_repositories() {
    let stage = Stage::sha256();
    let payload = stage.payload("one");
    let signature = stage.lab.sign_with(&payload, |_| {});
    let raw = String::from_utf8(forge::commit_object(&payload, &signature)).unwrap();
    let id = stage.place(raw.replace("\ngpgsig ", "\ngpgsig-sha256 ").as_bytes());
    assert_eq!(id.len(), 64);
    stage.verify("HEAD").ok();
    stage.name_the_signer(IDENTITY);
    stage.git(["verify-commit", "HEAD"]).ok();
    // The other header is the other hash's.
    stage.place(raw.as_bytes());
    stage.verify("HEAD").fails(1);
}

/// G15: an unsigned commit does not become signed by a replace reference or a
/// graft, whatever git shows.
#[test]
fn g15_replaced_and_grafted() {
    let stage = Stage::new();
    let signed = stage.commit("signed");
    stage.payload("unsigned");
    let unsigned = stage.git(["rev-parse", "HEAD"]).ok();
    let unsigned = unsigned.line();
    stage.git(["replace", "-f", unsigned, &signed]).ok();
    // What git itself makes of it.
    stage.name_the_signer(IDENTITY);
    stage.git(["verify-commit", unsigned]).ok();
    stage.verify(unsigned).fails(1).says("[object-unsigned]");
    stage.verify("HEAD").fails(1).says("[object-unsigned]");
    stage.git(["replace", "-d", unsigned]).ok();
    // And the other way round.
    stage.git(["replace", "-f", &signed, unsigned]).ok();
    stage.verify(&signed).ok();
    stage.git(["replace", "-d", &signed]).ok();
    fs::create_dir_all(stage.repo().join(".git/info")).unwrap();
    fs::write(stage.repo().join(".git/info/grafts"), format!("{signed}\n")).unwrap();
    stage.verify(&signed).ok();
}

/// An object whose bytes are not its name's is damaged, not good or bad.
#[test]
fn a_damaged_object() {
    let stage = Stage::new();
    let good = stage.commit("one");
    let other = stage.payload("two");
    let signature = stage.lab.sign_with(&other, |_| {});
    let evil = stage.place(&forge::commit_object(&other, &signature));
    let path = |id: &str| {
        stage
            .repo()
            .join(".git/objects")
            .join(&id[..2])
            .join(&id[2..])
    };
    fs::remove_file(path(&good)).unwrap();
    fs::copy(path(&evil), path(&good)).unwrap();
    stage.verify(&good).fails(2).says("is damaged");
}

#[test]
fn names_that_are_no_commit() {
    let stage = Stage::new();
    stage.commit("one");
    stage.commit("two");
    stage.verify("HEAD~1").ok();
    stage.verify("@").ok();
    for bad in [
        "nonsense",
        "HEAD...HEAD~1",
        "HEAD~99",
        "HEAD^{tree}",
        "HEAD^{/one}",
        ":/one",
        "HEAD@{0}",
        "HEAD:",
        "",
        "\u{1b}[2K",
    ] {
        let ended = stage.verify(bad).fails(2);
        assert!(!ended.err.contains("\u{1b}[2K"), "{ended:?}");
    }
    let blob = stage.write("blob", b"x");
    stage.verify(&blob).fails(2).says("is a blob, not a commit");
}

#[test]
fn tags_that_are_none() {
    let stage = Stage::new();
    stage.commit("one");
    stage.tag("v1");
    let verify_tag = |name: &str| {
        stage.gitseal([
            "verify-tag",
            name,
            "--offline",
            "--certificate-identity",
            IDENTITY,
            "--certificate-oidc-issuer",
            ISSUER,
        ])
    };
    verify_tag("v1").ok();
    verify_tag("refs/tags/v1").ok();
    stage.git(["tag", "light"]).ok();
    verify_tag("light").fails(2).says("lightweight tag");
    verify_tag("main").fails(2).says("is a commit, not a tag");
    verify_tag("none").fails(2);
    stage
        .git(["tag", "-a", "--no-sign", "-m", "x", "annotated"])
        .ok();
    verify_tag("annotated").fails(1).says("[object-unsigned]");
    // With a branch of the same name, the full name is needed.
    stage.git(["branch", "v1", "HEAD"]).ok();
    verify_tag("v1")
        .fails(2)
        .says("ambiguous: refs/tags/v1, refs/heads/v1");
    verify_tag("refs/tags/v1").ok();
    verify_tag("tags/v1").ok();
}
