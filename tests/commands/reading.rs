//! Which configuration is read: the one that Git reads, by both readings (Git's
//! listing, and in-process where Git starts gitseal), wherever it is written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    forge::{IDENTITY, ISSUER},
    stage::{GITSEAL, Stage, run},
    support::home::set_mode,
};

const BOB: &str = "bob@example.test";

/// A file that expects this signer.
fn expecting(stage: &Stage, name: &str, identity: &str) -> PathBuf {
    stage.file(
        name,
        format!(
            "[gitseal]\n\tcertificateIdentity = {identity}\n\tcertificateOidcIssuer = {ISSUER}\n"
        ),
    )
}

/// Demands that the signer of `revision` is expected by Git's value of the key,
/// by gitseal's own command, and where Git starts it.
#[track_caller]
fn expects_the_signer_at(stage: &Stage, directory: &Path, revision: &str) {
    let git = stage
        .git_at(
            directory,
            ["config", "--get", "gitseal.certificateIdentity"],
        )
        .ok();
    assert_eq!(git.line(), IDENTITY);
    stage
        .gitseal_at(directory, ["verify", "--offline", revision])
        .ok();
    let log = ["log", "-1", "--no-walk", "--format=%GT", revision];
    assert_eq!(stage.git_at(directory, log).ok().line(), "fully");
}

/// Writes a `git` that starts the real one with this in front, and puts it first
/// on the PATH.
fn wrap_git(stage: &mut Stage, script: &str) {
    let directory = stage.path("bin");
    fs::create_dir(&directory).unwrap();
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path)
        .map(|directory| directory.join("git"))
        .find(|git| git.is_file())
        .unwrap();
    let program = directory.join("git");
    fs::write(
        &program,
        format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display()),
    )
    .unwrap();
    set_mode(&program, 0o755);
    stage.set("PATH", format!("{}:{path}", directory.display()));
}

#[test]
fn includes_count_in_the_order_of_git() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let bob = expecting(&stage, "bob.cfg", BOB);
    let alice = expecting(&stage, "alice.cfg", IDENTITY);
    let global = stage.home(".gitconfig");
    let before = fs::read_to_string(&global).unwrap();
    let write = |text: &str| fs::write(&global, format!("{before}{text}")).unwrap();
    // Two in one section: the last one wins.
    write(&format!(
        "[include]\n\tpath = {}\n\tpath = {}\n",
        bob.display(),
        alice.display()
    ));
    expects_the_signer_at(&stage, &stage.repo(), &id);
    // A value before an include, and one behind it.
    write(&format!(
        "[gitseal]\n\tcertificateOidcIssuer = {ISSUER}\n\tcertificateIdentity = {BOB}\n[include]\n\tpath = ../alice.cfg\n"
    ));
    expects_the_signer_at(&stage, &stage.repo(), &id);
    stage.file(
        "around.cfg",
        format!("[include]\n\tpath = bob.cfg\n[gitseal]\n\tcertificateIdentity = {IDENTITY}\n"),
    );
    write("[include]\n\tpath = ../around.cfg\n");
    expects_the_signer_at(&stage, &stage.repo(), &id);
}

#[test]
fn an_include_of_the_command_line() {
    let stage = Stage::new();
    let id = stage.commit("one");
    stage.name_the_signer(BOB);
    let include = format!(
        "include.path={}",
        expecting(&stage, "alice.cfg", IDENTITY).display()
    );
    let log = ["-c", &include, "log", "-1", "--format=%GT", &id];
    assert_eq!(stage.git(log).ok().line(), "fully");
    let mut stage = stage;
    stage.set("GIT_CONFIG_COUNT", "1");
    stage.set("GIT_CONFIG_KEY_0", "include.path");
    let path = stage.path("alice.cfg");
    stage.set("GIT_CONFIG_VALUE_0", path.to_str().unwrap());
    expects_the_signer_at(&stage, &stage.repo(), &id);
}

#[test]
fn a_condition_on_a_path_through_a_link() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    stage.name_the_signer(BOB);
    let link = stage.path("link");
    std::os::unix::fs::symlink(stage.repo(), &link).unwrap();
    let file = expecting(&stage, "alice.cfg", IDENTITY);
    let condition = format!("includeIf.gitdir:{}/.path", link.display());
    stage.config(&condition, file.to_str().unwrap());
    stage.set("PWD", link.to_str().unwrap());
    expects_the_signer_at(&stage, &link, &id);
    // By the real path it does not hold.
    let repo = stage.repo();
    stage.set("PWD", repo.to_str().unwrap());
    assert_eq!(stage.shown(&id).rsplit('|').next(), Some("never"));
}

/// What is not read in-process is left to Git.
#[test]
fn conditions_that_only_git_reads() {
    let stage = Stage::new();
    let id = stage.commit("one");
    stage.name_the_signer(BOB);
    let file = expecting(&stage, "alice.cfg", IDENTITY);
    stage.config("includeIf.onbranch:ma*.path", file.to_str().unwrap());
    expects_the_signer_at(&stage, &stage.repo(), &id);
    stage.git(["checkout", "-q", "-b", "other"]).ok();
    assert_eq!(stage.shown(&id).rsplit('|').next(), Some("never"));
    stage.local("remote.origin.url", "https://example.test/x");
    stage.config(
        "includeIf.hasconfig:remote.*.url:https://example.test/**.path",
        file.to_str().unwrap(),
    );
    expects_the_signer_at(&stage, &stage.repo(), &id);
}

#[test]
fn an_empty_xdg_config_home() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    let directory = stage.home(".config/git");
    fs::create_dir_all(&directory).unwrap();
    let file = expecting(&stage, "alice.cfg", IDENTITY);
    fs::copy(file, directory.join("config")).unwrap();
    stage.set("XDG_CONFIG_HOME", "");
    expects_the_signer_at(&stage, &stage.repo(), &id);
    stage.set("XDG_CONFIG_HOME", "/nowhere");
    assert_eq!(stage.shown(&id).rsplit('|').next(), Some("undefined"));
}

/// A Git that was built for another prefix has its system configuration there.
#[test]
fn the_system_configuration_of_another_git() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    let file = expecting(&stage, "gitconfig", IDENTITY);
    wrap_git(
        &mut stage,
        &format!(
            "GIT_CONFIG_SYSTEM={}; export GIT_CONFIG_SYSTEM",
            file.display()
        ),
    );
    stage.set("GIT_CONFIG_NOSYSTEM", "0");
    expects_the_signer_at(&stage, &stage.repo(), &id);
    // Where this Git does not start it either.
    let signature = signature_of(&stage, &id);
    let verify = ["--status-fd=2", "--verify", "FILE", "-"];
    stage
        .helper(&verify, &signature.0, &signature.1)
        .ok()
        .says("TRUST_FULLY");
}

/// The signature of a commit, and what it signs.
fn signature_of(stage: &Stage, id: &str) -> (String, Vec<u8>) {
    let raw = stage.git(["cat-file", "commit", id]).ok().out;
    let (mut signature, mut payload) = (String::new(), String::new());
    let mut is_inside = false;
    for line in raw.split_inclusive('\n') {
        if let Some(first) = line.strip_prefix("gpgsig ") {
            is_inside = true;
            signature.push_str(first);
        } else if let Some(next) = line.strip_prefix(' ').filter(|_| is_inside) {
            signature.push_str(next);
        } else {
            is_inside = false;
            payload.push_str(line);
        }
    }
    (signature, payload.into_bytes())
}

/// `git config` reads `GIT_CONFIG` in place of everything; no other command does.
#[test]
fn the_variable_of_git_config_alone() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    stage.name_the_signer(BOB);
    let file = expecting(&stage, "alice.cfg", IDENTITY);
    stage.set("GIT_CONFIG", file.to_str().unwrap());
    stage
        .gitseal(["verify", "--offline", &id])
        .fails(1)
        .says("[identity-mismatch]");
    assert_eq!(stage.shown(&id).rsplit('|').next(), Some("never"));
}

/// A rule that is not read does not count as absent.
#[test]
fn configuration_that_cannot_be_read() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    stage.name_the_signer(BOB);
    let signature = signature_of(&stage, &id);
    let helper = |stage: &Stage| {
        let verify = ["--status-fd=2", "--verify", "FILE", "-"];
        stage.helper(&verify, &signature.0, &signature.1)
    };
    helper(&stage).fails(1).says("TRUST_NEVER");
    let global = stage.home(".gitconfig");
    let before = fs::read_to_string(&global).unwrap();
    for broken in [
        "[gitseal]\n\tx = \"open\n",
        "[include]\n\tpath\n",
        "[gitseal\n",
    ] {
        fs::write(&global, format!("{before}{broken}")).unwrap();
        for ended in [helper(&stage), stage.verify(&id)] {
            ended
                .fails(2)
                .says(".gitconfig")
                .says("cannot read Git's configuration");
        }
    }
    // Without Git, what is certain is read, and nothing else.
    stage.set("PATH", "/nowhere");
    fs::write(&global, &before).unwrap();
    helper(&stage).fails(1).says("TRUST_NEVER");
    stage.verify(&id).ok();
    fs::write(
        &global,
        format!("{before}[includeIf \"onbranch:x\"]\n\tpath = /x\n"),
    )
    .unwrap();
    for ended in [helper(&stage), stage.verify(&id)] {
        ended
            .fails(2)
            .says("git not found on the PATH")
            .says("includeIf onbranch:x");
    }
}

/// A Git that lists nothing, too little, or something else.
#[test]
fn a_listing_that_is_none() {
    for (script, message) in [
        ("[ \"$1\" = config ] && exit 1", "config --list"),
        ("[ \"$1\" = config ] && echo garbage && exit 0", "cut off"),
        (
            "[ \"$1\" = config ] && printf 'global\\0file:/x\\0a.b\\nc\\0global\\0' && exit 0",
            "not scope, origin and key",
        ),
        (
            "[ \"$1\" = config ] && printf 'elsewhere\\0file:/x\\0a.b\\nc\\0' && exit 0",
            "unknown scope",
        ),
    ] {
        let mut stage = Stage::new();
        let id = stage.commit("one");
        wrap_git(&mut stage, script);
        stage.verify(&id).fails(2).says(message);
    }
}

#[test]
fn a_relative_path_is_relative_to_the_file_that_sets_it() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let below = stage.repo().join("a/b");
    fs::create_dir_all(&below).unwrap();
    // A file of that name in the repository is not meant.
    fs::write(stage.repo().join("trusted_root.json"), "{}").unwrap();
    stage.config("gitseal.trustedRoot", "trusted_root.json");
    for directory in [&below, &stage.repo()] {
        stage.verify_at(directory, &id).ok();
        stage.git_at(directory, ["verify-commit", &id]).ok();
    }
    // Of a trusted repository's own file, which Git names relative to the work tree.
    stage
        .git(["config", "--global", "--unset", "gitseal.trustedRoot"])
        .ok();
    stage.config("gitseal.trustedRepository", stage.repo().to_str().unwrap());
    stage.local("gitseal.trustedRoot", "../../home/trusted_root.json");
    for directory in [&below, &stage.repo(), &stage.repo().join(".git")] {
        stage.verify_at(directory, &id).ok();
    }
    stage.git_at(&below, ["verify-commit", &id]).ok();
    // On the command line it is relative to the directory.
    let mut stage = stage;
    stage.set("GITSEAL_TRUSTED_ROOT", "../../../home/trusted_root.json");
    stage.verify_at(&below, &id).ok();
    stage.verify(&id).fails(2).says("cannot read");
}

/// E1: a repository cannot make a look at its log reach the network.
#[test]
fn e1_the_mode_of_a_repository_does_not_query_a_log() {
    let log = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    log.set_nonblocking(true).unwrap();
    let stage = Stage::new();
    let id = stage.commit_with("one", |spec| spec.entry = None);
    stage.config(
        "gitsign.rekor",
        &format!("http://{}", log.local_addr().unwrap()),
    );
    stage.local("gitsign.rekorMode", "online");
    stage.local("gitseal.rekorMode", "online");
    assert!(stage.shown(&id).starts_with("E|"));
    stage
        .git(["verify-commit", &id])
        .fails(1)
        .says("no embedded log entry");
    assert!(log.accept().is_err(), "the log was queried");
}

/// The old name of the policy root would be ignored, and another policy decide.
#[test]
fn the_old_name_of_the_policy_root_is_an_error() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    let range = format!("{id}..{id}");
    let ci = ["ci", "--range", &range, "--ref", "refs/heads/main"];
    for scope in ["--global", "--local"] {
        stage.git(["config", scope, "gitseal.trustRoot", &id]).ok();
        for arguments in [&ci[..], &["verify", &id], &["version"]] {
            stage
                .gitseal(arguments)
                .fails(2)
                .says("gitseal.trustRoot in ")
                .says("gitseal.policyRoot");
        }
        assert!(stage.shown(&id).starts_with("E|"));
        stage
            .git(["config", scope, "--unset", "gitseal.trustRoot"])
            .ok();
    }
    stage.set("GITSEAL_TRUST_ROOT", id.as_str());
    stage.gitseal(ci).fails(2).says("GITSEAL_POLICY_ROOT");
}

/// Nothing of a repository is run to read its configuration.
#[cfg(unix)]
#[test]
fn e4_a_git_beside_the_files_of_a_repository_is_not_run() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    let marker = stage.path("marker");
    let program = stage.repo().join("git");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
    set_mode(&program, 0o755);
    let path = std::env::var("PATH").unwrap();
    stage.set("PATH", format!(".:{path}"));
    let mut command = stage.command(GITSEAL, &stage.repo());
    command.args(["verify", "--offline", &id]);
    command.args([
        "--certificate-identity",
        IDENTITY,
        "--certificate-oidc-issuer",
        ISSUER,
    ]);
    run(&mut command, b"").ok();
    assert!(!marker.exists());
}
