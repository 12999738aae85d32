//! What reaches a status descriptor, a terminal, a script (O1 to O7).

use std::{
    fs::{self, File},
    process::Stdio,
};

use crate::{
    forge::{IDENTITY, commit_payload, email, san, uri},
    stage::{GITSEAL, Stage, wait},
    support::not_applicable,
};

const VERIFY: [&str; 4] = ["--status-fd=1", "--verify", "FILE", "-"];

/// The position of the SAN among the forge's extensions.
const SAN: usize = 3;

/// O1, O2, O7: whatever a certificate says, it says it on one line, in ASCII.
#[test]
fn o1_o2_o7_names_that_want_to_be_more() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let payload = commit_payload();
    let long = format!("{}@example.test", "a".repeat(1 << 16));
    for name in [
        "x\n[GNUPG:] TRUST_ULTIMATE 0 shell\n[GNUPG:] VALIDSIG 0",
        "x\r\n[GNUPG:] GOODSIG 0 alice@example.test",
        "eve@example.test\ngitseal: Good signature from [alice@example.test](x)",
        "\u{1b}[2K\u{1b}[1Aalice@example.test",
        "\u{202e}tset.elpmaxe@ecila",
        "alice\u{200b}@example.test",
        "\u{430}lice@example.test",
        "alice@example.test\0",
        &long,
    ] {
        for kind in [email, uri] {
            let signature = stage.lab.sign_with(&payload, |spec| {
                spec.leaf.extensions[SAN] = san(&[kind(name)]);
            });
            let ended = stage.helper(&VERIFY, &signature, &payload);
            assert_eq!(ended.code, 1, "{name:?}: {ended:?}");
            let verdicts = ["GOODSIG", "BADSIG", "ERRSIG"]
                .iter()
                .map(|word| ended.out.matches(&format!("[GNUPG:] {word} ")).count())
                .sum::<usize>();
            assert!(
                ended.out.lines().all(|line| line.starts_with("[GNUPG:] ")),
                "{ended:?}"
            );
            assert!(ended.out.lines().count() <= 4, "{ended:?}");
            assert_eq!(ended.out.lines().next(), Some("[GNUPG:] NEWSIG"));
            assert!(verdicts >= 1, "{ended:?}");
            assert!(
                !ended.out.contains("\n[GNUPG:] TRUST_ULTIMATE"),
                "{ended:?}"
            );
            assert!(!ended.out.contains("TRUST_FULLY"), "{ended:?}");
            let plain = |text: &str| {
                text.chars()
                    .all(|character| character == '\n' || (' '..='~').contains(&character))
            };
            assert!(plain(&ended.out), "{ended:?}");
            assert!(plain(&ended.err), "{name:?}: {ended:?}");
            assert!(
                ended.out.len() + ended.err.len() < 8192,
                "{}",
                ended.err.len()
            );
            assert!(
                !ended
                    .err
                    .lines()
                    .any(|line| line
                        .starts_with("gitseal: Good signature from [alice@example.test](x)")),
                "{ended:?}"
            );
        }
    }
}

/// O3, O4: exactly one verdict, and an exit code that fits.
#[test]
fn o3_o4_one_verdict() {
    let stage = Stage::new();
    let payload = commit_payload();
    let good = stage.lab.sign_with(&payload, |_| {});
    let verdict = |signature: &str, payload: &[u8]| {
        let ended = stage.helper(&VERIFY, signature, payload);
        let words: Vec<String> = ended
            .out
            .lines()
            .map(|line| line.split(' ').nth(1).unwrap().to_owned())
            .collect();
        (words.join(" "), ended.code)
    };
    assert_eq!(
        verdict(&good, &payload),
        ("NEWSIG GOODSIG VALIDSIG TRUST_UNDEFINED".to_owned(), 0)
    );
    assert_eq!(
        verdict(&good, b"other"),
        ("NEWSIG BADSIG TRUST_NEVER".to_owned(), 1)
    );
    for broken in ["", "garbage", &good[..200], &good.replace("SIGNED", "PGP")] {
        assert_eq!(
            verdict(broken, &payload),
            ("NEWSIG BADSIG TRUST_NEVER".to_owned(), 1),
            "{broken:?}"
        );
    }
    let without = stage.lab.sign_with(&payload, |spec| spec.entry = None);
    assert_eq!(
        verdict(&without, &payload),
        ("NEWSIG ERRSIG TRUST_UNDEFINED".to_owned(), 3)
    );
    stage.name_the_signer("bob@example.test");
    assert_eq!(
        verdict(&good, &payload),
        ("NEWSIG GOODSIG VALIDSIG TRUST_NEVER".to_owned(), 1)
    );
    // Whatever DER: as it is, and attached to nothing.
    let der = stage.lab.cms(&payload, &stage.lab.spec());
    let file = stage.home("signature.der");
    fs::write(&file, &der).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let ended = stage.helper(&["--verify", &file, "-"], "", &payload);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (1, ""),
        "the wrong signer, and no status asked for"
    );
}

/// O5: a signature that carries its content is about that content, and one that
/// does not is about nothing.
#[test]
fn o5_attached() {
    let stage = Stage::new();
    let payload = commit_payload();
    let detached = stage.lab.sign_with(&payload, |_| {});
    let attached = stage
        .lab
        .sign_with(&payload, |spec| spec.econtent = Some(payload.clone()));
    let other = stage
        .lab
        .sign_with(&payload, |spec| spec.econtent = Some(b"other".to_vec()));
    let one = ["--status-fd=1", "--verify", "FILE"];
    stage
        .helper(&one, &detached, b"")
        .fails(1)
        .says("[no-content]");
    stage.helper(&one, &attached, b"").ok().says("GOODSIG");
    stage.helper(&one, &other, b"").fails(1).says("BADSIG");
    stage
        .helper(&VERIFY, &attached, &payload)
        .fails(1)
        .says("[content-in-detached]");
    let empty = stage.lab.sign_with(b"", |_| {});
    stage
        .helper(&one, &empty, b"")
        .fails(1)
        .says("[no-content]");
}

/// O6: a verdict that nobody can read is no success.
#[cfg(unix)]
#[test]
fn o6_streams_that_are_gone() {
    let stage = Stage::new();
    let payload = commit_payload();
    let file = stage.home("signature");
    fs::write(&file, stage.lab.sign_with(&payload, |_| {})).unwrap();
    let input = stage.home("payload");
    fs::write(&input, &payload).unwrap();
    let with = |arguments: &[&str], out: Stdio| {
        let mut command = stage.command(GITSEAL, &stage.repo());
        command
            .args(arguments)
            .arg(&file)
            .arg("-")
            .stdin(File::open(&input).unwrap())
            .stdout(out)
            .stderr(Stdio::null());
        wait(&mut command)
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    if File::options().write(true).open("/dev/full").is_err() {
        not_applicable("this system has no /dev/full");
        return;
    }
    assert_eq!(with(&["--status-fd=1", "--verify"], Stdio::null()), 0);
    assert_eq!(with(&["--status-fd=1", "--verify"], full()), 3);
    assert_eq!(with(&["--status-fd=77", "--verify"], Stdio::null()), 2);
    // A reader that went away: SIGPIPE ends nothing, the exit code tells.
    let mut command = stage.command("sh", &stage.repo());
    command.args([
        "-c",
        &format!(
            "(sleep 0.2; {GITSEAL} --status-fd=1 --verify {} - < {}; echo $? > {}) | true",
            file.display(),
            input.display(),
            stage.home("code").display()
        ),
    ]);
    wait(&mut command);
    for _ in 0..200 {
        if fs::read_to_string(stage.home("code")).is_ok_and(|text| text.ends_with('\n')) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(fs::read_to_string(stage.home("code")).unwrap(), "3\n");
    // The commands for people as well.
    stage.commit("one");
    let mut command = stage.command(GITSEAL, &stage.repo());
    command
        .args(["explain", "--offline"])
        .stdout(full())
        .stderr(Stdio::null());
    assert_eq!(wait(&mut command), 3);
    let mut command = stage.command(GITSEAL, &stage.repo());
    command
        .arg("--version")
        .stdout(full())
        .stderr(Stdio::null());
    assert_ne!(wait(&mut command), 0);
}

/// A descriptor of the caller's choice.
#[cfg(unix)]
#[test]
fn status_on_another_descriptor() {
    let stage = Stage::new();
    let payload = commit_payload();
    let file = stage.home("signature");
    fs::write(&file, stage.lab.sign_with(&payload, |_| {})).unwrap();
    fs::write(stage.home("payload"), &payload).unwrap();
    let mut command = stage.command("sh", &stage.repo());
    command.args([
        "-c",
        &format!(
            "exec 9>{}; {GITSEAL} --status-fd 9 --verify {} {}",
            stage.home("status").display(),
            file.display(),
            stage.home("payload").display()
        ),
    ]);
    let ended = crate::stage::run(&mut command, b"").ok();
    assert_eq!(ended.out, "");
    let status = fs::read_to_string(stage.home("status")).unwrap();
    assert!(
        status.starts_with("[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG "),
        "{status}"
    );
}
