//! Each planted fault is found, and the right command is named; what `--fix`
//! may do it does, and the fault is gone.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use crate::support::stub::{CannedResponse, Stub};
use crate::support::{
    ALICE, GITSEAL,
    forge::{Key, Lab, ca, intermediate_name, root_name},
    home::{mode, set_mode},
    servers::Servers,
    stage::Stage,
};

/// A home in which nothing is wrong.
fn healthy() -> Stage {
    let stage = Stage::untouched();
    stage.config("user.name", "Alice");
    stage.config("user.email", ALICE);
    stage.gitseal(["setup", "--yes"]).ok();
    stage
}

struct Fault {
    name: &'static str,
    plant: fn(&mut Stage),
    /// The finding.
    id: &'static str,
    level: &'static str,
    /// What its mending holds.
    fix: &'static str,
    /// Whether `--fix` does it.
    fixable: bool,
}

const fn fault(
    name: &'static str,
    plant: fn(&mut Stage),
    id: &'static str,
    level: &'static str,
    fix: &'static str,
    fixable: bool,
) -> Fault {
    Fault {
        name,
        plant,
        id,
        level,
        fix,
        fixable,
    }
}

const FAULTS: &[Fault] = &[
    fault(
        "git signs with OpenPGP",
        |stage| {
            let settings = stage.home(".config/gitseal/gitconfig");
            let file = settings.to_str().unwrap();
            drop(
                stage
                    .git(["config", "--file", file, "--unset", "gpg.format"])
                    .ok(),
            );
        },
        "gpg-format",
        "problem",
        "gitseal setup",
        true,
    ),
    fault(
        "gitsign is still the program",
        |stage| stage.config("gpg.x509.program", "gitsign"),
        "program-gitsign",
        "problem",
        "gitseal setup",
        true,
    ),
    fault(
        "the program is gone",
        |stage| stage.config("gpg.x509.program", "/nowhere/gitseal"),
        "program-missing",
        "problem",
        "gitseal setup",
        true,
    ),
    fault(
        "the name is on no PATH",
        |stage| stage.config("gpg.x509.program", "gitseal-that-is-not-there"),
        "program-missing",
        "problem",
        "gitseal setup",
        true,
    ),
    fault(
        "the program is another one",
        |stage| stage.config("gpg.x509.program", "/bin/echo"),
        "program-foreign",
        "problem",
        "gitseal setup",
        true,
    ),
    fault(
        "the program is looked for in the work tree",
        |stage| stage.config("gpg.x509.program", "./gitseal"),
        "program-relative",
        "problem",
        "gitseal setup",
        true,
    ),
    fault(
        "a desktop does not find the name",
        |stage| {
            let bin = stage.path("bin");
            fs::create_dir(&bin).unwrap();
            symlink(GITSEAL, bin.join("gitseal")).unwrap();
            let path = std::env::var("PATH").unwrap();
            stage.set("PATH", format!("{}:{path}", bin.display()));
            stage.config("gpg.x509.program", "gitseal");
        },
        "program-desktop",
        "warning",
        "gitseal setup",
        true,
    ),
    fault(
        "the repository says otherwise",
        |stage| {
            drop(
                stage
                    .git(["config", "--local", "gpg.format", "openpgp"])
                    .ok(),
            )
        },
        "gpg-format",
        "problem",
        "git config --local --unset gpg.format",
        false,
    ),
    fault(
        "a typing error",
        |stage| stage.config("gitseal.fulcoi", "https://fulcio.example"),
        "unknown-setting",
        "warning",
        "git config --global gitseal.fulcio 'https://fulcio.example' && git config --global --unset gitseal.fulcoi",
        false,
    ),
    fault(
        "a key that gitsign's documentation has and gitsign has not",
        |stage| stage.config("gitsign.timestampCert", "/x.pem"),
        "unknown-setting",
        "warning",
        "gitseal.timestampCertChain",
        false,
    ),
    fault(
        "a value that is none",
        |stage| stage.config("gitseal.rekorMode", "of"),
        "setting",
        "problem",
        "git config --global gitseal.rekorMode",
        false,
    ),
    fault(
        "a trust root that is not there",
        |stage| stage.config("gitseal.trustedRoot", "/nowhere/trusted_root.json"),
        "trust-root",
        "problem",
        "git config --global gitseal.trustedRoot FILE",
        false,
    ),
    fault(
        "a trust root whose keys have ended",
        |stage| {
            let old =
                r#"{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
            let file = stage.home("trusted_root.json");
            fs::write(&file, old).unwrap();
            stage.config("gitseal.trustedRoot", file.to_str().unwrap());
        },
        "trust-root-expired",
        "problem",
        "trusted_root.json",
        false,
    ),
    fault(
        "a trust root with a certificate by another key than its issuer's",
        |stage| {
            let mut lab = Lab::new();
            let (subject, issuer) = (intermediate_name(), root_name());
            let own = ca(&subject, &issuer, &lab.intermediate, &lab.root, Some(0));
            lab.intermediate_certificate = own.sign(&Key::p384(90));
            let file = stage.home("other_root.json");
            fs::write(&file, lab.trusted_root()).unwrap();
            stage.config("gitseal.trustedRoot", file.to_str().unwrap());
        },
        "trust-root",
        "problem",
        "git config --global gitseal.trustedRoot FILE",
        false,
    ),
    fault(
        "a state directory for everybody",
        |stage| {
            let directory = stage.home(".local/state/gitseal");
            fs::create_dir_all(&directory).unwrap();
            set_mode(&directory, 0o777);
        },
        "directories",
        "warning",
        "chmod 700",
        true,
    ),
    fault(
        "a socket in a directory for everybody",
        |stage| {
            let directory = stage.path("run");
            fs::create_dir(&directory).unwrap();
            set_mode(&directory, 0o777);
            let socket = directory.join("cache.sock");
            stage.config("gitseal.credentialCache", socket.to_str().unwrap());
        },
        "cache-directory",
        "problem",
        "chmod 700",
        true,
    ),
    fault(
        "the committer is not who logs in",
        |stage| {
            stage.config("gitseal.matchCommitter", "true");
            stage.config("gitseal.loginHint", "bob@example.test");
        },
        "match-committer",
        "problem",
        "git config user.email bob@example.test",
        false,
    ),
    fault(
        "no address at all",
        |stage| {
            drop(
                stage
                    .git(["config", "--global", "--unset", "user.email"])
                    .ok(),
            )
        },
        "user-email",
        "warning",
        "git config --global user.email",
        false,
    ),
    fault(
        "a token for everybody",
        |stage| stage.set("SIGSTORE_ID_TOKEN", "secret-token-text"),
        "token-in-environment",
        "warning",
        "unset SIGSTORE_ID_TOKEN",
        false,
    ),
    fault(
        "a variable that nobody reads",
        |stage| stage.set("GITSIGN_REKOR_MODUS", "offline"),
        "unknown-variable",
        "warning",
        "GITSEAL_REKOR_MODE",
        false,
    ),
    fault(
        "a repository that names its own trust root",
        |stage| {
            drop(
                stage
                    .git([
                        "config",
                        "--local",
                        "gitseal.trustedRoot",
                        "/repo/root.json",
                    ])
                    .ok(),
            );
        },
        "left-aside",
        "warning",
        "git config --local --unset gitseal.trustedRoot",
        false,
    ),
    fault(
        "files that include each other",
        |stage| {
            let other = stage.home("other");
            let config = stage.home(".gitconfig");
            fs::write(
                &other,
                format!("[include]\n\tpath = {}\n", config.display()),
            )
            .unwrap();
            stage.config("include.path", other.to_str().unwrap());
        },
        "include-loop",
        "problem",
        "include.path",
        false,
    ),
    fault(
        "a repository of somebody else",
        |stage| stage.set("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"),
        "safe-directory",
        "problem",
        "git config --global --add safe.directory",
        false,
    ),
    fault(
        "no home",
        |stage| stage.unset("HOME"),
        "home",
        "problem",
        "set HOME",
        false,
    ),
    fault(
        "an old git",
        |stage| {
            let bin = stage.path("bin");
            fs::create_dir(&bin).unwrap();
            let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|directory| directory.join("git"))
                .find(|file| file.exists())
                .unwrap();
            let script = format!(
                "#!/bin/sh\n[ \"$1\" = --version ] && echo 'git version 2.30.2' && exit\nexec {} \"$@\"\n",
                real.display()
            );
            fs::write(bin.join("git"), script).unwrap();
            set_mode(&bin.join("git"), 0o755);
            let path = std::env::var("PATH").unwrap();
            stage.set("PATH", format!("{}:{path}", bin.display()));
        },
        "git-version",
        "problem",
        "install git 2.34",
        false,
    ),
    fault(
        "a log without a time, and no authority for one",
        |stage| stage.config("gitseal.rekorVersion", "2"),
        "timestamp-missing",
        "problem",
        "gitseal.timestampServerURL",
        false,
    ),
    fault(
        "an identity that nobody vouches for",
        |stage| stage.config("gitseal.certificateIdentity", ALICE),
        "who",
        "problem",
        "gitseal.certificateOidcIssuer",
        false,
    ),
    fault(
        "a hook that git skips",
        |stage| {
            let hook = stage.repo().join(".git/hooks/pre-push");
            fs::write(&hook, "#!/bin/sh\nexec gitseal pre-push \"$@\"\n").unwrap();
            set_mode(&hook, 0o644);
        },
        "hooks",
        "problem",
        "chmod +x",
        false,
    ),
    fault(
        "another authority than the one that is believed",
        |stage| stage.config("gitseal.fulcio", "https://fulcio.example"),
        "trust-root-other",
        "warning",
        "gitseal.trustedRoot",
        false,
    ),
];

/// The findings of this name and level: their mending.
fn found(report: &serde_json::Value, id: &str, level: &str) -> Vec<String> {
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["id"] == id && finding["level"] == level)
        .map(|finding| finding["fix"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_healthy_home_has_no_problem() {
    let stage = healthy();
    let report = stage.gitseal(["doctor", "--offline", "--json"]).ok().json();
    assert_eq!(report["problems"], 0, "{report:#}");
    assert_eq!(report["warnings"], 0, "{report:#}");
    let text = stage.gitseal(["doctor", "--offline"]).ok().out;
    assert!(text.ends_with("no problems, no warnings\n"), "{text}");
}

/// What Git lists is compared with what is read without it.
#[test]
fn both_readings_of_the_configuration_are_compared() {
    let mut stage = healthy();
    let report = |stage: &Stage| stage.gitseal(["doctor", "--offline", "--json"]).json();
    let messages = |report: &serde_json::Value, id: &str, level: &str| -> Vec<String> {
        let findings = report["findings"].as_array().unwrap();
        findings
            .iter()
            .filter(|finding| finding["id"] == id && finding["level"] == level)
            .map(|finding| finding["message"].as_str().unwrap().to_owned())
            .collect()
    };
    const ID: &str = "configuration-reading";
    assert_eq!(messages(&report(&stage), ID, "ok").len(), 1);
    // Named with version and path.
    let git = messages(&report(&stage), "git", "ok").join("");
    assert!(
        git.starts_with("git version ") && git.contains("/git)"),
        "{git}"
    );
    // A construct that only Git reads.
    stage.config("includeIf.onbranch:x.path", "/x");
    let noted = messages(&report(&stage), ID, "note");
    assert!(noted[0].contains("includeIf onbranch:x"), "{noted:?}");
    stage
        .git([
            "config",
            "--global",
            "--remove-section",
            "includeIf.onbranch:x",
        ])
        .ok();
    // A Git that reads something else than the files.
    let directory = stage.path("bin");
    fs::create_dir(&directory).unwrap();
    let program = directory.join("git");
    fs::write(
        &program,
        "#!/bin/sh\nPATH=${PATH#*:}\n[ \"$1\" = config ] && exec git -c gitseal.loginHint=other \"$@\"\nexec git \"$@\"\n",
    )
    .unwrap();
    set_mode(&program, 0o755);
    let path = std::env::var("PATH").unwrap();
    stage.set("PATH", format!("{}:{path}", directory.display()));
    stage.set("GIT_CONFIG_NOSYSTEM", "0");
    let report = report(&stage);
    let found = messages(&report, ID, "problem");
    assert_eq!(
        found,
        ["Git reads gitseal.loginhint as \"other\" (command), and gitseal without Git as unset"],
        "{report:#}"
    );
    let noted = messages(&report, ID, "note");
    assert!(
        noted[0].contains("the system configuration of "),
        "{noted:?}"
    );
}

#[test]
fn each_planted_fault_is_found_and_the_right_fix_named() {
    for fault in FAULTS {
        let mut stage = healthy();
        (fault.plant)(&mut stage);
        let ended = stage.gitseal(["doctor", "--offline", "--json"]);
        let report = ended.json();
        assert_eq!(
            ended.code,
            i32::from(fault.level == "problem"),
            "{}: {report:#}",
            fault.name
        );
        let fixes = found(&report, fault.id, fault.level);
        assert!(
            fixes.iter().any(|fix| fix.contains(fault.fix)),
            "{}: {report:#}",
            fault.name
        );
        assert!(!ended.out.contains("secret-token-text"));
        let ended = stage.gitseal(["doctor", "--offline", "--json", "--fix"]);
        let after = ended.json();
        if fault.fixable {
            assert_eq!(
                found(&after, fault.id, fault.level),
                [""; 0],
                "{}: {after:#}",
                fault.name
            );
            assert_eq!(after["problems"], 0, "{}: {after:#}", fault.name);
            assert_eq!(ended.code, 0, "{}", fault.name);
            assert_eq!(after["fixed"].as_array().unwrap().len(), 1, "{after:#}");
        } else {
            assert_eq!(after["fixed"], serde_json::json!([]), "{}", fault.name);
        }
    }
}

#[test]
fn what_fix_did_to_the_configuration_undo_takes_back() {
    let stage = Stage::untouched();
    stage.config("user.email", ALICE);
    stage.config("gpg.x509.program", "gitsign");
    let before = fs::read(stage.home(".gitconfig")).unwrap();
    stage.gitseal(["doctor", "--offline", "--fix"]).ok();
    assert_eq!(stage.value("gpg.x509.program"), GITSEAL);
    // It is no choice of doctor's that all commits are signed.
    stage.git(["config", "--get", "commit.gpgsign"]).fails(1);
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert_eq!(fs::read(stage.home(".gitconfig")).unwrap(), before);
    let cache = stage.home(".cache/gitseal");
    assert!(!cache.exists() || mode(&cache) & 0o022 == 0);
}

#[test]
fn services_are_asked_and_the_clock_compared() {
    let servers = Servers::start(&[]);
    let stage = Stage::untouched();
    let include = servers.file("gitconfig");
    stage.config("include.path", include.to_str().unwrap());
    stage.config("user.email", ALICE);
    // The included file names a program too: what setup writes goes after it.
    stage.gitseal(["setup", "--yes"]).ok();
    assert_eq!(stage.value("gpg.x509.program"), GITSEAL);
    let report = stage.gitseal(["doctor", "--json"]).ok().json();
    assert_eq!(report["problems"], 0, "{report:#}");
    assert_eq!(found(&report, "network", "ok").len(), 3, "{report:#}");
    assert_eq!(found(&report, "clock", "ok").len(), 1, "{report:#}");

    // Nobody listens there.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    stage.config("gitseal.fulcio", &closed);
    let ended = stage.gitseal(["doctor", "--json"]);
    let report = ended.json();
    assert_eq!(ended.code, 1);
    let fixes = found(&report, "network", "problem");
    assert_eq!(fixes.len(), 1, "{report:#}");
    assert!(
        fixes[0].contains("git config --global gitseal.fulcio URL"),
        "{fixes:?}"
    );

    // Somebody else listens there.
    let other = Stub::start(|_| CannedResponse::new(404, "text/plain", "no"));
    stage.config("gitseal.fulcio", other.url.as_str());
    let report = stage.gitseal(["doctor", "--json"]).json();
    assert_eq!(
        found(&report, "network-other", "problem").len(),
        1,
        "{report:#}"
    );
}

#[test]
fn a_clock_that_is_off_is_found() {
    let stage = healthy();
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let stub =
        Stub::start(move |_| CannedResponse::json(200, &serde_json::json!({})).with("Date", old));
    for key in ["fulcio", "rekor", "issuer"] {
        stage.config(&format!("gitseal.{key}"), stub.url.as_str());
    }
    let report = stage.gitseal(["doctor", "--json"]).json();
    let fixes = found(&report, "clock", "problem");
    assert_eq!(fixes.len(), 1, "{report:#}");
    assert!(
        fixes[0].contains("timedatectl") || fixes[0].contains("sntp"),
        "{fixes:?}"
    );
}

#[test]
fn a_service_that_says_nothing_does_not_hold_it_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stage = healthy();
    for key in ["fulcio", "rekor", "issuer", "timestampServerURL"] {
        stage.config(&format!("gitseal.{key}"), &url);
    }
    let begun = Instant::now();
    let report = stage.gitseal(["doctor", "--json"]).json();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(found(&report, "network", "problem").len(), 4, "{report:#}");
    drop(listener);
}
