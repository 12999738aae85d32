//! Setup and the way back, with git as the reader and the other writer.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    thread,
    time::Duration,
};

use crate::stage::{GITSEAL, Stage, finish, mode, set_mode};

const FILES: &[&str] = &[
    "",
    "# mine\n",
    "[user]\n\tname = Alice",
    "[user]\r\n\tname = Alice\r\n[gpg]\r\n\tformat = openpgp ; the old way\r\n",
    "[gpg] format = ssh\n[gpg]\n\tformat = openpgp\n[gpg \"x509\"]\n\tprogram = \"gpg sm\" # x\n[commit]\n\tgpgsign\n",
    "[gpg]\n\tformat = ssh\n[include]\n\tpath = elsewhere\n\n\n; end",
    "[commit]\n\tgpgsign = no\n[tag]\n[gitseal]\n[gitseal]\n\tfulcio = https://mine.example\n",
];

#[test]
fn setup_then_undo_leaves_every_byte() {
    for file in FILES {
        let stage = Stage::new();
        let config = stage.home(".gitconfig");
        fs::write(&config, file).unwrap();
        set_mode(&config, 0o640);
        stage
            .gitseal([
                "setup",
                "--yes",
                "--set",
                "fulcio=https://f.example",
                "--set",
                "clientID=a; b # c",
            ])
            .ok();
        assert_eq!(stage.value("gpg.format"), "x509", "{file:?}");
        assert_eq!(stage.value("gpg.x509.program"), GITSEAL, "{file:?}");
        let truth = stage
            .git(["config", "--type=bool", "--get", "commit.gpgsign"])
            .ok()
            .text();
        assert_eq!(truth, "true\n", "{file:?}");
        assert_eq!(
            stage.value("gitseal.fulcio"),
            "https://f.example",
            "{file:?}"
        );
        assert_eq!(stage.value("gitseal.clientID"), "a; b # c", "{file:?}");
        // Several runs, other values.
        stage
            .gitseal(["setup", "--yes", "--set", "fulcio=https://g.example"])
            .ok();
        stage
            .gitseal(["setup", "--yes", "--set", "rekorMode=online"])
            .ok();
        assert_eq!(
            stage.value("gitseal.fulcio"),
            "https://g.example",
            "{file:?}"
        );
        stage.gitseal(["setup", "--undo", "--yes"]).ok();
        assert_eq!(fs::read_to_string(&config).unwrap(), *file);
        assert_eq!(mode(&config), 0o640);
        // Nothing is left behind, and once more is nothing more.
        let state = stage.home(".local/state/gitseal/setup");
        assert_eq!(fs::read_dir(state).unwrap().count(), 0);
        stage.gitseal(["setup", "--undo", "--yes"]).ok();
        assert_eq!(fs::read_to_string(&config).unwrap(), *file);
    }
}

#[test]
fn a_file_that_was_made_goes_again_and_a_link_stays_one() {
    let stage = Stage::new();
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
}

#[test]
fn local_and_system_have_their_own_way_back() {
    let mut stage = Stage::new();
    let system = stage.at("etc-gitconfig");
    fs::write(&system, "[core]\n\tpager = less").unwrap();
    stage.unset("GIT_CONFIG_NOSYSTEM");
    stage.set("GIT_CONFIG_SYSTEM", system.to_str().unwrap());
    let local = stage.repo().join(".git/config");
    let before = fs::read(&local).unwrap();
    stage.gitseal(["setup", "--system", "--yes"]).ok();
    stage.gitseal(["setup", "--local", "--yes"]).ok();
    assert!(stage.at("etc-gitconfig.gitseal-undo").exists());
    let read = |scope: &str| stage.git(["config", scope, "gpg.format"]).ok().text();
    assert_eq!(read("--system"), "x509\n");
    assert_eq!(read("--local"), "x509\n");
    stage.gitseal(["setup", "--undo", "--local", "--yes"]).ok();
    assert_eq!(fs::read(&local).unwrap(), before);
    assert_eq!(read("--system"), "x509\n");
    stage.gitseal(["setup", "--undo", "--system", "--yes"]).ok();
    assert_eq!(
        fs::read_to_string(&system).unwrap(),
        "[core]\n\tpager = less"
    );
    assert!(!stage.at("etc-gitconfig.gitseal-undo").exists());
}

#[test]
fn edits_of_the_user_and_of_git_stay() {
    let stage = Stage::new();
    let config = stage.home(".gitconfig");
    fs::write(&config, "[gpg]\n\tformat = openpgp\n").unwrap();
    stage.gitseal(["setup", "--yes"]).ok();
    // git puts the first three into sections of ours.
    stage.config("commit.template", "/t");
    stage.config("tag.sort", "version:refname");
    stage.config("gpg.x509.other", "x");
    stage.config("user.name", "Alice");
    stage.config("tag.gpgsign", "false");
    let undone = stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert!(
        undone.err.contains("tag.gpgsign  stays false"),
        "{}",
        undone.err
    );
    let listed = stage.git(["config", "--global", "--list"]).ok().text();
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

#[test]
fn nothing_is_written_without_a_yes() {
    let stage = Stage::new();
    let plan = stage.gitseal(["setup", "--dry-run", "--json"]).ok().json();
    assert_eq!(plan["written"], false);
    assert_eq!(plan["changes"][0]["key"], "gpg.format");
    assert_eq!(plan["changes"][0]["new"], "x509");
    // No terminal: a session of its own has none.
    let mut command = stage.command("setsid");
    command.args(["-w", GITSEAL, "setup"]);
    finish(command, b"y\n").fails(2, "add --yes");
    assert!(!stage.home(".gitconfig").exists());
    stage
        .gitseal(["setup", "--set", "fulcoi=x", "--yes"])
        .fails(2, "do you mean fulcio?");
    stage
        .gitseal(["setup", "--set", "fulcio=nonsense", "--yes"])
        .fails(2, "fulcio");
    stage
        .gitseal(["setup", "--program", "./x", "--yes"])
        .fails(2, "absolute");
    assert!(!stage.home(".gitconfig").exists());
}

#[test]
fn on_a_terminal_a_yes_is_asked_for() {
    let stage = Stage::new();
    let config = stage.home(".gitconfig");
    let ask = |words: &str, answer: &[u8]| {
        let mut command = stage.command("script");
        command.args(["-qec", &format!("{GITSEAL} {words}"), "/dev/null"]);
        finish(command, answer)
    };
    if std::process::Command::new("script")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: no script(1), which makes a terminal");
        return;
    }
    let ended = ask("setup", b"n\n");
    assert_eq!(ended.code, 1, "{}", ended.text());
    assert!(ended.text().contains("[y/N]"), "{}", ended.text());
    assert!(!config.exists());
    assert_eq!(ask("setup", b"y\n").code, 0);
    assert_eq!(stage.value("gpg.format"), "x509");
    assert_eq!(ask("setup --undo", b"y\n").code, 0);
    assert!(!config.exists());
}

#[test]
fn a_file_of_somebody_else_is_refused_in_words() {
    let stage = Stage::new();
    let config = stage.home(".gitconfig");
    fs::write(&config, "[user]\n").unwrap();
    set_mode(&config, 0o444);
    stage.gitseal(["setup", "--yes"]).fails(2, "read-only");
    set_mode(&config, 0o644);
    fs::write(stage.home(".gitconfig.lock"), "").unwrap();
    stage
        .gitseal(["setup", "--yes"])
        .fails(2, "locked by another program");
    fs::remove_file(stage.home(".gitconfig.lock")).unwrap();
    fs::write(&config, "[user\n").unwrap();
    stage.gitseal(["setup", "--yes"]).fails(2, "line 1");
    assert_eq!(fs::read_to_string(&config).unwrap(), "[user\n");
    assert!(!stage.home(".gitconfig.lock").exists());
}

/// A crash between the record and the file, both times.
#[test]
fn a_record_of_what_was_not_done_takes_nothing() {
    let stage = Stage::new();
    let config = stage.home(".gitconfig");
    let before = "[gpg]\n\tformat = openpgp\n";
    fs::write(&config, before).unwrap();
    stage.gitseal(["setup", "--yes"]).ok();
    let after = fs::read(&config).unwrap();
    fs::write(&config, before).unwrap();
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert_eq!(fs::read_to_string(&config).unwrap(), before);

    // The file is there, and its record is of a run that did not end.
    stage.gitseal(["setup", "--yes"]).ok();
    assert_eq!(fs::read(&config).unwrap(), after);
    let state = stage.home(".local/state/gitseal/setup");
    let record = fs::read_dir(&state)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let first: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    stage
        .gitseal(["setup", "--yes", "--set", "fulcio=https://f.example"])
        .ok();
    let mut second: serde_json::Value =
        serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    second["before"] = first;
    fs::write(&record, second.to_string()).unwrap();
    fs::write(&config, after).unwrap();
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
}

#[test]
fn another_writer_loses_nothing() {
    const ROUNDS: usize = 25;
    let stage = Stage::new();
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
                while stage.run(GITSEAL, arguments, b"").code != 0 {
                    thread::sleep(Duration::from_millis(2));
                }
            }
        }
    });
    let values = stage
        .git(["config", "--global", "--get-all", "other.value"])
        .ok()
        .text();
    let wanted: Vec<String> = (0..ROUNDS).map(|round| round.to_string()).collect();
    assert_eq!(values.lines().collect::<Vec<_>>(), wanted);
    let listed = stage.git(["config", "--global", "--list"]).ok().text();
    assert_eq!(listed.lines().count(), ROUNDS + 1, "{listed}");
    assert!(listed.contains("gpg.format=openpgp"), "{listed}");
    assert_eq!(fs::metadata(&config).unwrap().uid(), owner);
}
