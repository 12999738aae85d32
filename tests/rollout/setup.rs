//! Setup and the way back, with git as the reader and the other writer.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    thread,
    time::Duration,
};

use crate::support::{
    GITSEAL,
    home::{mode, set_mode},
    peers,
    process::{run, run_at},
    stage::Stage,
};

const FILES: &[&str] = &[
    "",
    "# mine\n",
    "[user]\n\tname = Alice",
    "[user]\r\n\tname = Alice\r\n[gpg]\r\n\tformat = openpgp ; the old way\r\n",
    "[gpg] format = ssh\n[gpg]\n\tformat = openpgp\n[gpg \"x509\"]\n\tprogram = \"gpg sm\" # x\n[commit]\n\tgpgsign\n",
    "[gpg]\n\tformat = ssh\n[include]\n\tpath = elsewhere\n\n\n; end",
    "[commit]\n\tgpgsign = no\n[tag]\n[gitseal]\n[gitseal]\n\tfulcio = https://mine.example\n",
];

/// What a file contains; one that does not exist contains nothing.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// In the settings file a relative path would be relative to that file.
#[test]
fn a_relative_path_of_a_flag_is_stored_as_an_absolute_one() {
    let stage = Stage::untouched();
    stage
        .gitseal([
            "setup",
            "--yes",
            "--set",
            "trustedRoot=roots/tr.json",
            "--set",
            "logPath=~/log",
            "--set",
            "trustedRepository=*",
            "--set",
            "credentialCache=off",
        ])
        .ok();
    let path = stage.repo().join("roots/tr.json");
    assert_eq!(stage.value("gitseal.trustedRoot"), path.to_str().unwrap());
    assert_eq!(stage.value("gitseal.logPath"), "~/log");
    assert_eq!(stage.value("gitseal.trustedRepository"), "*");
    assert_eq!(stage.value("gitseal.credentialCache"), "off");
}

#[test]
fn setup_then_undo_leaves_every_byte() {
    for file in FILES {
        let stage = Stage::untouched();
        let config = stage.home(".gitconfig");
        let settings = stage.home(".config/gitseal/gitconfig");
        fs::write(&config, file).unwrap();
        set_mode(&config, 0o640);
        stage
            .gitseal([
                "setup",
                "--yes",
                "--set",
                "fulcio=https://f.example",
                "--set",
                "clientID=a; b # \"c\" \\ ",
            ])
            .ok();
        assert_eq!(stage.value("gpg.format"), "x509", "{file:?}");
        assert_eq!(stage.value("gpg.x509.program"), GITSEAL, "{file:?}");
        let truth = stage
            .git(["config", "--type=bool", "--get", "commit.gpgsign"])
            .ok()
            .out;
        assert_eq!(truth, "true\n", "{file:?}");
        assert_eq!(
            stage.value("gitseal.fulcio"),
            "https://f.example",
            "{file:?}"
        );
        assert_eq!(stage.effective("clientID"), "a; b # \"c\" \\ ", "{file:?}");
        assert_eq!(mode(&config), 0o640);
        // Several runs, other values, and one that changes nothing.
        stage
            .gitseal(["setup", "--yes", "--set", "fulcio=https://g.example"])
            .ok();
        stage
            .gitseal(["setup", "--yes", "--set", "rekorMode=online"])
            .ok();
        let before = (text(&config), text(&settings));
        let same = stage.gitseal(["setup", "--yes", "--json"]).ok().json();
        assert_eq!(same["changes"], serde_json::json!([]), "{file:?}");
        assert_eq!((text(&config), text(&settings)), before);
        assert_eq!(before.0.matches("gitseal/gitconfig").count(), 1);
        assert_eq!(
            stage.value("gitseal.fulcio"),
            "https://g.example",
            "{file:?}"
        );
        assert_eq!(stage.effective("fulcio"), "https://g.example", "{file:?}");
        stage.gitseal(["setup", "--undo", "--yes"]).ok();
        // Git ends the last line of a file that it adds to, and keeps a section
        // that a comment precedes; setup removes it unless there are others.
        let expected = match *file {
            _ if file.is_empty() || file.ends_with('\n') => file.to_string(),
            _ if file.contains("[include]") => format!("{file}\n[include]\n"),
            _ => format!("{file}\n"),
        };
        assert_eq!(text(&config), expected, "{file:?}");
        if config.exists() {
            assert_eq!(mode(&config), 0o640);
        }
        // Nothing is left behind, and once more is nothing more.
        assert!(!stage.home(".config/gitseal").exists());
        stage.gitseal(["setup", "--undo", "--yes"]).ok();
        assert_eq!(text(&config), expected, "{file:?}");
    }
}

#[test]
fn a_file_that_was_made_goes_again_and_a_link_stays_one() {
    let mut stage = Stage::untouched();
    let config = stage.home(".gitconfig");
    stage.gitseal(["setup", "--yes"]).ok();
    assert!(config.exists());
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert!(!config.exists());

    fs::create_dir(stage.home("dotfiles")).unwrap();
    let real = stage.home("dotfiles/gitconfig");
    fs::write(&real, "[user]\n\tname = Alice\n").unwrap();
    symlink("dotfiles/gitconfig", &config).unwrap();
    stage.gitseal(["setup", "--yes"]).ok();
    assert_eq!(stage.value("gpg.format"), "x509");
    assert!(fs::symlink_metadata(&config).unwrap().is_symlink());
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert!(fs::symlink_metadata(&config).unwrap().is_symlink());
    assert_eq!(
        fs::read_to_string(&real).unwrap(),
        "[user]\n\tname = Alice\n"
    );

    // Where git itself would write.
    fs::remove_file(&config).unwrap();
    fs::create_dir_all(stage.home(".config/git")).unwrap();
    let other = stage.home(".config/git/config");
    fs::write(&other, "[user]\n").unwrap();
    stage.gitseal(["setup", "--yes"]).ok();
    assert!(!config.exists());
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert_eq!(fs::read_to_string(&other).unwrap(), "[user]\n");

    // Other directories for configuration, and another file.
    let xdg = stage.home("xdg");
    fs::create_dir_all(xdg.join("git")).unwrap();
    fs::write(xdg.join("git/config"), "[user]\n").unwrap();
    stage.set("XDG_CONFIG_HOME", xdg.to_str().unwrap());
    stage.gitseal(["setup", "--yes"]).ok();
    assert!(!config.exists() && xdg.join("gitseal/gitconfig").exists());
    assert_eq!(stage.value("gpg.format"), "x509");
    let named = stage.home("named/gitconfig");
    fs::create_dir_all(named.parent().unwrap()).unwrap();
    stage.set("GIT_CONFIG_GLOBAL", named.to_str().unwrap());
    stage.gitseal(["setup", "--yes"]).ok();
    assert!(named.exists() && stage.home("named/gitseal/gitconfig").exists());
    assert_eq!(stage.value("gpg.format"), "x509");
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert!(!named.exists() && !stage.home("named/gitseal").exists());
    stage.unset("GIT_CONFIG_GLOBAL");
    assert_eq!(stage.value("gpg.format"), "x509");
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert_eq!(text(&xdg.join("git/config")), "[user]\n");
}

#[test]
fn local_and_system_have_their_own_way_back() {
    let mut stage = Stage::untouched();
    let system = stage.path("etc/gitconfig");
    fs::create_dir(stage.path("etc")).unwrap();
    fs::write(&system, "[core]\n\tpager = less\n").unwrap();
    stage.unset("GIT_CONFIG_NOSYSTEM");
    stage.set("GIT_CONFIG_SYSTEM", system.to_str().unwrap());
    let local = stage.repo().join(".git/config");
    let before = fs::read(&local).unwrap();
    stage.gitseal(["setup", "--system", "--yes"]).ok();
    stage
        .gitseal(["setup", "--local", "--yes", "--set", "matchCommitter=true"])
        .ok();
    let settings = stage.path("etc/gitseal/gitconfig");
    assert_eq!(mode(&settings), 0o644);
    let read = |scope: &str| {
        stage
            .git(["config", scope, "--includes", "gpg.format"])
            .ok()
            .out
    };
    assert_eq!(read("--system"), "x509\n");
    assert_eq!(read("--local"), "x509\n");
    // The repository is all that the local values depend on.
    stage.config("user.name", "Alice");
    stage.config("user.email", "alice@example.test");
    stage
        .git([
            "-c",
            "commit.gpgsign=false",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ])
        .ok();
    let linked = stage.path("linked");
    stage
        .git(["worktree", "add", "-q", linked.to_str().unwrap()])
        .ok();
    let mut command = stage.command(GITSEAL, &stage.repo());
    command
        .args(["setup", "--local", "--yes", "--set", "rekorMode=online"])
        .current_dir(&linked);
    run(&mut command, b"").ok();
    assert_eq!(stage.effective("rekorMode"), "online");
    assert_eq!(stage.effective("matchCommitter"), "true");
    let moved = stage.path("moved");
    fs::rename(stage.repo(), &moved).unwrap();
    let mut command = stage.command("git", &stage.repo());
    command
        .args(["config", "--local", "--includes", "gpg.format"])
        .current_dir(&moved);
    let format = run(&mut command, b"");
    fs::rename(&moved, stage.repo()).unwrap();
    assert_eq!(format.ok().out, "x509\n");
    stage.gitseal(["setup", "--undo", "--local", "--yes"]).ok();
    assert_eq!(fs::read(&local).unwrap(), before);
    assert!(!stage.repo().join(".git/gitseal").exists());
    assert_eq!(read("--system"), "x509\n");
    stage.gitseal(["setup", "--undo", "--system", "--yes"]).ok();
    assert_eq!(text(&system), "[core]\n\tpager = less\n");
    assert!(!stage.path("etc/gitseal").exists());
}

#[test]
fn edits_of_the_user_and_of_git_stay() {
    let stage = Stage::untouched();
    let config = stage.home(".gitconfig");
    fs::write(&config, "[gpg]\n\tformat = openpgp\n").unwrap();
    stage.gitseal(["setup", "--yes"]).ok();
    stage.config("commit.template", "/t");
    stage.config("tag.sort", "version:refname");
    stage.config("gpg.x509.other", "x");
    stage.config("user.name", "Alice");
    stage.config("tag.gpgsign", "false");
    // The last value wins, which is the user's until setup runs again.
    assert_eq!(stage.value("tag.gpgsign"), "false");
    let undone = stage.gitseal(["setup", "--undo", "--dry-run"]).ok();
    assert!(
        undone
            .err
            .contains("tag.gpgsign not restored: changed since setup (now \"false\")"),
        "{}",
        undone.err
    );
    stage.gitseal(["setup", "--yes"]).ok();
    assert_eq!(stage.value("tag.gpgsign"), "true");
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    let listed = stage.git(["config", "--global", "--list"]).ok().out;
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "commit.template=/t",
            "gpg.format=openpgp",
            "gpg.x509.other=x",
            "tag.gpgsign=false",
            "tag.sort=version:refname",
            "user.name=Alice",
        ]
    );
}

/// Git adds to the last section of a name, wherever that is.
#[test]
fn an_include_of_the_user_at_the_top_does_not_decide_the_order() {
    let stage = Stage::untouched();
    let config = stage.home(".gitconfig");
    let before = "[include]\n\tpath = other\n[gpg]\n\tformat = openpgp\n";
    fs::write(&config, before).unwrap();
    stage.gitseal(["setup", "--yes"]).ok();
    assert_eq!(stage.value("gpg.format"), "x509");
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert_eq!(text(&config), before);
    // A comment keeps Git from removing the section; it is used again.
    fs::write(&config, format!("{before}# mine\n")).unwrap();
    for _ in 0..3 {
        stage.gitseal(["setup", "--yes"]).ok();
        assert_eq!(stage.value("gpg.format"), "x509");
        stage.gitseal(["setup", "--undo", "--yes"]).ok();
        assert_eq!(text(&config), format!("{before}# mine\n[include]\n"));
    }
}

#[test]
fn nothing_is_written_without_a_yes() {
    let stage = Stage::untouched();
    let plan = stage.gitseal(["setup", "--dry-run", "--json"]).ok().json();
    assert_eq!(plan["written"], false);
    assert_eq!(plan["changes"][0]["key"], "gpg.format");
    assert_eq!(plan["changes"][0]["new"], "x509");
    // No terminal: a session of its own has none.
    let mut command = stage.command("setsid", &stage.repo());
    command.args(["-w", GITSEAL, "setup"]);
    run(&mut command, b"y\n").fails(2).says("pass --yes");
    assert!(!stage.home(".gitconfig").exists());
    stage
        .gitseal(["setup", "--set", "fulcoi=x", "--yes"])
        .fails(2)
        .says("did you mean \"fulcio\"?");
    stage
        .gitseal(["setup", "--set", "fulcio=nonsense", "--yes"])
        .fails(2)
        .says("fulcio");
    stage
        .gitseal(["setup", "--program", "./x", "--yes"])
        .fails(2)
        .says("absolute");
    assert!(!stage.home(".gitconfig").exists());
}

#[test]
fn on_a_terminal_a_yes_is_asked_for() {
    let stage = Stage::untouched();
    let config = stage.home(".gitconfig");
    let ask = |words: &str, answer: &[u8]| {
        let mut command = stage.command("script", &stage.repo());
        command.args(["-qec", &format!("{GITSEAL} {words}"), "/dev/null"]);
        run_at(&mut command, "[y/N]", answer)
    };
    if peers::program("script", "--version").is_none() {
        return;
    }
    let ended = ask("setup", b"n\n");
    assert_eq!(ended.code, 1, "{}", ended.out);
    assert!(ended.out.contains("[y/N]"), "{}", ended.out);
    assert!(!config.exists());
    assert_eq!(ask("setup", b"y\n").code, 0);
    assert_eq!(stage.value("gpg.format"), "x509");
    assert_eq!(ask("setup --undo", b"y\n").code, 0);
    assert!(!config.exists());
}

#[test]
fn a_file_of_somebody_else_is_refused_in_words() {
    let stage = Stage::untouched();
    let config = stage.home(".gitconfig");
    fs::write(&config, "[user]\n").unwrap();
    set_mode(&config, 0o444);
    stage.gitseal(["setup", "--yes"]).fails(2).says("read-only");
    set_mode(&config, 0o644);
    fs::write(stage.home(".gitconfig.lock"), "").unwrap();
    stage
        .gitseal(["setup", "--yes"])
        .fails(2)
        .says("is locked (");
    fs::remove_file(stage.home(".gitconfig.lock")).unwrap();
    fs::write(&config, "[user\n").unwrap();
    stage.gitseal(["setup", "--yes"]).fails(2).says("line 1");
    assert_eq!(fs::read_to_string(&config).unwrap(), "[user\n");
    assert!(!stage.home(".gitconfig.lock").exists());
}

/// A crash between the two writes, and between the two steps of the second.
#[test]
fn a_run_that_did_not_finish_is_finished_or_undone() {
    let before = "[gpg]\n\tformat = openpgp\n";
    for unfinished in [
        before.to_owned(),
        format!("{before}[gitseal-setup]\n\tpath = /x\n"),
    ] {
        for undo in [false, true] {
            let stage = Stage::untouched();
            let config = stage.home(".gitconfig");
            stage.gitseal(["setup", "--yes"]).ok();
            fs::write(&config, &unfinished).unwrap();
            assert_eq!(stage.value("gpg.format"), "openpgp");
            if !undo {
                stage.gitseal(["setup", "--yes"]).ok();
                assert_eq!(stage.value("gpg.format"), "x509");
                assert!(!text(&config).contains("gitseal-setup"));
            }
            stage.gitseal(["setup", "--undo", "--yes"]).ok();
            assert_eq!(text(&config), before);
            assert!(!stage.home(".config/gitseal").exists());
        }
    }
    // The settings file is missing: Git ignores the include.
    let stage = Stage::untouched();
    stage.gitseal(["setup", "--yes"]).ok();
    fs::remove_file(stage.home(".config/gitseal/gitconfig")).unwrap();
    stage.gitseal(["setup", "--yes"]).ok();
    assert_eq!(stage.value("gpg.format"), "x509");
}

#[test]
fn another_writer_loses_nothing() {
    const ROUNDS: usize = 10;
    let stage = Stage::untouched();
    let config = stage.home(".gitconfig");
    fs::write(&config, "[gpg]\n\tformat = openpgp\n").unwrap();
    let owner = fs::metadata(&config).unwrap().uid();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                let value = round.to_string();
                // git fails when the lock is taken; who calls it tries again.
                while stage
                    .git(["config", "--global", "--add", "other.value", &value])
                    .code
                    != 0
                {
                    thread::sleep(Duration::from_millis(2));
                }
            }
        });
        for _ in 0..ROUNDS {
            for arguments in [&["setup", "--yes"][..], &["setup", "--undo", "--yes"]] {
                while stage.gitseal(arguments).code != 0 {
                    thread::sleep(Duration::from_millis(2));
                }
            }
        }
    });
    let values = stage
        .git(["config", "--global", "--get-all", "other.value"])
        .ok()
        .out;
    let wanted: Vec<String> = (0..ROUNDS).map(|round| round.to_string()).collect();
    assert_eq!(values.lines().collect::<Vec<_>>(), wanted);
    let listed = stage.git(["config", "--global", "--list"]).ok().out;
    assert_eq!(listed.lines().count(), ROUNDS + 1, "{listed}");
    assert!(listed.contains("gpg.format=openpgp"), "{listed}");
    assert_eq!(fs::metadata(&config).unwrap().uid(), owner);
}
