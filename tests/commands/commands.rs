//! The commands for people.

use serde_json::Value;

use crate::{
    forge::{self, IDENTITY, ISSUER},
    stage::Stage,
};

fn good(stage: &Stage, more: &[&str]) -> crate::stage::Ended {
    let mut arguments = vec!["verify", "--offline"];
    arguments.extend(more);
    stage.gitseal(arguments)
}

/// I6: nobody named is a mistake of the caller, never "anybody".
#[test]
fn i6_who_must_have_signed_has_to_be_said() {
    let stage = Stage::new();
    stage.commit("one");
    stage.tag("v1");
    good(&stage, &[])
        .fails(2)
        .says("no expected identity")
        .says("--certificate-identity and --certificate-oidc-issuer");
    stage
        .gitseal(["verify-tag", "v1"])
        .fails(2)
        .says("no expected identity");
    good(&stage, &["--certificate-identity", IDENTITY])
        .fails(2)
        .says("without an issuer");
    good(&stage, &["--certificate-oidc-issuer", ISSUER])
        .fails(2)
        .says("without an identity");
    good(
        &stage,
        &[
            "--certificate-identity",
            "",
            "--certificate-oidc-issuer",
            ISSUER,
        ],
    )
    .fails(2)
    .says("matches nothing");
    good(
        &stage,
        &[
            "--certificate-identity",
            IDENTITY,
            "--certificate-oidc-issuer",
            ISSUER,
        ],
    )
    .ok()
    .says(&format!("signed by {IDENTITY} (issuer {ISSUER}) at "));
    stage.name_the_signer(IDENTITY);
    good(&stage, &[]).ok();
    // Variables that were never filled take back who may sign, and name nobody.
    let mut unfilled = Stage::new();
    let id = unfilled.commit("one");
    unfilled.name_the_signer(IDENTITY);
    for name in ["IDENTITY", "OIDC_ISSUER"] {
        unfilled
            .environment
            .push((format!("GITSEAL_CERTIFICATE_{name}"), String::new()));
    }
    unfilled
        .git(["verify-commit", "--raw", &id])
        .fails(1)
        .says("[GNUPG:] ERRSIG");
    good(&unfilled, &[]).fails(2).says("matches nothing");
    // Flags replace the settings.
    good(
        &stage,
        &[
            "--certificate-identity",
            "bob@example.test",
            "--certificate-oidc-issuer",
            ISSUER,
        ],
    )
    .fails(1)
    .says("[identity-mismatch]");
}

/// I2: patterns are anchored.
#[test]
fn i2_patterns_match_the_whole() {
    let stage = Stage::new();
    stage.commit("one");
    let with = |identity: &str, issuer: &str| {
        good(
            &stage,
            &[
                "--certificate-identity-regexp",
                identity,
                "--certificate-oidc-issuer-regexp",
                issuer,
            ],
        )
    };
    with(r".*@example\.test", "https://issuer.*").ok();
    with(r"alice@example\.test|bob", r"https://issuer\.example\.test").ok();
    with("alice", "https://issuer.*")
        .fails(1)
        .says("[identity-mismatch]");
    with(r"lice@example\.test", "https://issuer.*").fails(1);
    with(r".*@example\.test", "issuer")
        .fails(1)
        .says("[issuer-mismatch]");
    with(r".*@example\.test)|(.*", "https://issuer.*")
        .fails(2)
        .says("regular expression");
    with("", ".*").fails(2).says("matches nothing");
    with("(", ".*").fails(2);
}

/// I5: a claim that is asked for and not there refuses.
#[test]
fn i5_workflow_claims() {
    let stage = Stage::new();
    stage.commit("one");
    for flag in ["trigger", "sha", "name", "repository", "ref"] {
        good(
            &stage,
            &[
                "--certificate-identity",
                IDENTITY,
                "--certificate-oidc-issuer",
                ISSUER,
                &format!("--certificate-github-workflow-{flag}"),
                "x",
            ],
        )
        .fails(1)
        .says("[claim-absent]");
    }
    let id = stage.commit_with("two", |spec| {
        for (arc, value) in [
            (2, "push"),
            (3, "abc"),
            (4, "ci"),
            (5, "o/r"),
            (6, "refs/heads/main"),
        ] {
            spec.leaf.extensions.push(forge::fulcio_raw(arc, value));
        }
    });
    let with = |repository: &str| {
        good(
            &stage,
            &[
                &id,
                "--certificate-identity",
                IDENTITY,
                "--certificate-oidc-issuer",
                ISSUER,
                "--certificate-github-workflow-trigger=push",
                "--certificate-github-workflow-sha=abc",
                "--certificate-github-workflow-name=ci",
                "--certificate-github-workflow-ref=refs/heads/main",
                "--certificate-github-workflow-repository",
                repository,
            ],
        )
    };
    with("o/r").ok();
    with("o/r2").fails(1).says("[claim-mismatch]");
    // Claims alone name nobody.
    good(&stage, &["--certificate-github-workflow-repository=o/r"]).fails(2);
}

#[test]
fn flags_that_are_refused_say_why() {
    let stage = Stage::new();
    stage.commit("one");
    for (flag, why) in [
        ("--insecure-ignore-sct", "issued in secret"),
        ("--insecure-ignore-sct=true", "issued in secret"),
        ("--sct=x", "detached SCTs"),
        ("--certificate=x", "taken from the signature"),
        ("--certificate-chain=x", "--trusted-root"),
        ("--ca-roots=x", "--trusted-root"),
        ("--ca-intermediates=x", "--trusted-root"),
    ] {
        good(&stage, &[flag])
            .fails(2)
            .says("is not supported")
            .says(why);
    }
    good(&stage, &["--no-such-flag"]).fails(2);
    stage.gitseal(["frob"]).fails(2);
    stage.gitseal(["verify", "a", "b"]).fails(2);
    let none: [&str; 0] = [];
    stage.gitseal(none).fails(2).says("Usage");
}

#[test]
fn a_trusted_root_by_flag() {
    let stage = Stage::new();
    stage.commit("one");
    stage.name_the_signer(IDENTITY);
    stage.config("gitseal.trustedRoot", "/nowhere");
    let root = stage.home("trusted_root.json");
    good(&stage, &["--trusted-root", root.to_str().unwrap()]).ok();
    good(&stage, &["--trusted-root", "/nowhere/else"])
        .fails(2)
        .says("cannot read /nowhere/else")
        .says("(--trusted-root)");
    std::fs::write(stage.home("bad.json"), "{").unwrap();
    good(
        &stage,
        &["--trusted-root", stage.home("bad.json").to_str().unwrap()],
    )
    .fails(2)
    .says("not the JSON of a trusted root");
}

/// The members of the report are a contract.
#[test]
fn explain_json() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let explain = |more: &[&str]| {
        let mut arguments = vec!["explain", "--json", "--offline"];
        arguments.extend(more);
        stage.gitseal(arguments)
    };
    let report = explain(&[]).ok().json();
    assert_eq!(report["verdict"], "good");
    assert_eq!(report["refusal"], Value::Null);
    assert_eq!(report["identity"], IDENTITY);
    assert_eq!(report["issuer"], ISSUER);
    assert_eq!(report["time"], "2026-11-20T12:00:02Z");
    assert_eq!(report["object"], id.as_str());
    assert_eq!(report["identity_matched"], false);
    assert!(report["log_index"].is_u64());
    assert_eq!(report["certificate_sha1"].as_str().unwrap().len(), 40);
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 9);
    for (index, (step, name)) in steps
        .iter()
        .zip([
            "read",
            "content",
            "signature",
            "entry",
            "inclusion",
            "time",
            "chain",
            "sct",
            "identity",
        ])
        .enumerate()
    {
        assert_eq!(step["step"], index + 1);
        assert_eq!(step["name"], name);
        assert_eq!(step["ok"], true);
        assert!(!step["detail"].as_str().unwrap().is_empty());
    }
    // Of somebody else.
    let report = explain(&[
        "--certificate-identity=bob",
        &format!("--certificate-oidc-issuer={ISSUER}"),
    ])
    .fails(1)
    .json();
    assert_eq!(report["verdict"], "refused");
    assert_eq!(report["refusal"]["step"], 9);
    assert_eq!(report["refusal"]["code"], "identity-mismatch");
    assert_eq!(report["identity"], IDENTITY);
    assert_eq!(report["steps"][7]["ok"], true);
    assert_eq!(report["steps"][8]["ok"], false);
    // No entry: it goes on past what needs the network.
    stage.commit_with("two", |spec| spec.entry = None);
    let report = explain(&[]).fails(3).json();
    assert_eq!(report["verdict"], "undecided");
    assert_eq!(report["refusal"]["step"], 4);
    assert_eq!(report["refusal"]["code"], "no-log-entry");
    assert_eq!(report["identity"], IDENTITY);
    assert_eq!(report["time"], Value::Null);
    for step in [3, 4, 5] {
        assert_eq!(report["steps"][step]["ok"], Value::Null);
    }
    for step in [0, 1, 2, 6, 7, 8] {
        assert_eq!(report["steps"][step]["ok"], true, "{report}");
        // What is said without the time is marked as such.
        assert_eq!(report["steps"][step]["assumed"], step > 3);
    }
    stage
        .gitseal(["explain", "--offline"])
        .fails(3)
        .says("3 ok  ")
        .says("8 ok?  ");
    // Not signed at all.
    stage.payload("three");
    let report = explain(&[]).fails(1).json();
    assert_eq!(report["refusal"]["code"], "object-unsigned");
    assert_eq!(report["identity"], Value::Null);
    // verify prints the same object.
    let report = stage
        .gitseal([
            "verify",
            "--json",
            "--offline",
            &id,
            "--certificate-identity",
            IDENTITY,
            "--certificate-oidc-issuer",
            ISSUER,
        ])
        .ok()
        .json();
    assert_eq!(report["verdict"], "good");
    assert_eq!(report["identity_matched"], true);
}

#[test]
fn explain_for_people() {
    let stage = Stage::new();
    stage.commit("one");
    stage.tag("v1");
    stage
        .gitseal(["explain", "--offline"])
        .ok()
        .says("1 ok  ")
        .says("9 ok  ")
        .says("verified: signed by alice@example.test")
        .says("A valid signature does not prove that");
    stage
        .gitseal(["explain", "v1", "--offline"])
        .ok()
        .says("tag ");
    let ended = stage.gitseal(["explain", "--offline"]).ok();
    assert!(
        !ended.out.contains('\u{1b}'),
        "no colour without a terminal"
    );
}

#[test]
fn show_is_a_statement() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let tag = stage.tag("v1");
    stage
        .git([
            "remote",
            "add",
            "origin",
            "https://user:secret@git.example/r",
        ])
        .ok();
    let shown = stage.gitseal(["show"]).ok();
    assert!(!shown.out.contains("secret"));
    let statement = shown.json();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statement["predicateType"],
        "https://gitsign.sigstore.dev/predicate/git/v0.1"
    );
    assert_eq!(statement["subject"][0]["digest"]["sha1"], id.as_str());
    assert_eq!(statement["subject"][0]["digest"]["gitCommit"], id.as_str());
    assert_eq!(statement["subject"][0]["name"], "https://git.example/r");
    let source = &statement["predicate"]["source"];
    assert_eq!(source["message"], "one\n");
    assert_eq!(source["author"]["date"], "2026-11-20T12:00:00Z");
    assert!(
        statement["predicate"]["signer_info"][0]["certificate"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----\n")
    );
    let statement = stage.gitseal(["show", "v1"]).ok().json();
    assert_eq!(
        statement["predicateType"],
        "https://gitsign.sigstore.dev/predicate/tag/v0.1"
    );
    assert_eq!(statement["subject"][0]["digest"]["gitTag"], tag.as_str());
    assert_eq!(statement["predicate"]["source"]["object_type"], "commit");
    stage.payload("unsigned");
    stage.gitseal(["show"]).fails(1).says("not signed");
}

#[test]
fn version_never_shows_a_token() {
    let mut stage = Stage::new();
    stage.config("gitsign.clientSecretFile", "/secret/file");
    stage.environment = vec![
        ("SIGSTORE_ID_TOKEN".into(), "eyJ-very-secret".into()),
        (
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN".into(),
            "also-secret".into(),
        ),
        ("GITSIGN_REKOR_MODE".into(), "online".into()),
    ];
    for arguments in [&["version"][..], &["--version"], &["version", "--json"]] {
        let ended = stage.gitseal(arguments).ok();
        let all = ended.out + &ended.err;
        assert!(
            !all.contains("secret\"") && !all.contains("very-secret"),
            "{all}"
        );
        assert!(!all.contains("also-secret"), "{all}");
    }
    let line = format!("gitseal version {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(stage.gitseal(["--version"]).ok().line(), line);
    let version = stage.gitseal(["version"]).ok();
    assert!(version.out.starts_with(&line));
    version.says("(environment variable GITSIGN_REKOR_MODE)");
    let report = stage.gitseal(["version", "--json"]).ok().json();
    assert_eq!(report["settings"]["rekorMode"]["value"], "online");
    // Outside of any repository, too.
    stage.gitseal_at(&stage.path("home"), ["version"]).ok();
}

#[test]
fn help_completions_and_manual_pages() {
    let stage = Stage::new();
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["verify", "--help"],
        &["verify-tag", "--help"],
        &["explain", "--help"],
        &["show", "--help"],
        &["version", "--help"],
        &["--help", "--status-fd=2"],
    ] {
        stage.gitseal(arguments).ok().says("Usage");
    }
    stage.gitseal(["--help"]).ok().says("Exit codes");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stage.gitseal(["completions", shell]).ok();
        assert!(script.out.contains("verify-tag"), "{shell}");
    }
    let pages = stage.path("man");
    stage.gitseal(["man", pages.to_str().unwrap()]).ok();
    for page in ["gitseal.1", "gitseal-verify.1", "gitseal-explain.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH "), "{page}");
    }
    stage.gitseal(["man"]).ok().says(".TH ");
}

#[test]
fn what_other_callers_of_gpgsm_ask() {
    let stage = Stage::new();
    stage.gitseal(["--list-keys"]).ok();
    stage.gitseal(["--list-secret-keys", "--with-colons"]).ok();
    stage
        .gitseal(["--decrypt", "x"])
        .fails(2)
        .says("expected --sign or --verify");
    stage
        .gitseal(["-u", "x"])
        .fails(2)
        .says("missing operation");
    stage
        .gitseal(["--verify", "/no/such/file", "-"])
        .fails(2)
        .says("cannot read the signature");
}

/// A link named `gitsign` is the same program (`install.sh --as-gitsign`).
#[cfg(unix)]
#[test]
fn under_gitsigns_name() {
    let stage = Stage::new();
    stage.commit("one");
    let link = stage.path("gitsign");
    std::os::unix::fs::symlink(crate::stage::GITSEAL, &link).unwrap();
    stage.config("gpg.x509.program", link.to_str().unwrap());
    stage.git(["verify-commit", "HEAD"]).ok();
    let ended = crate::stage::run(
        stage
            .command(link.to_str().unwrap(), &stage.repo())
            .args(["verify", "--offline", "--certificate-identity", IDENTITY])
            .args(["--certificate-oidc-issuer", ISSUER]),
        b"",
    );
    ended.ok();
}

/// Verification is for machines without a network: nothing is asked, and no
/// variable of a proxy or of another client changes that.
#[test]
fn embedded_proofs_need_nobody() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    stage.config("gitsign.rekorMode", "online");
    stage.config("gitsign.rekor", "http://127.0.0.1:1");
    stage.environment = vec![
        ("HTTPS_PROXY".into(), "http://127.0.0.1:1".into()),
        ("HTTP_PROXY".into(), "http://127.0.0.1:1".into()),
        ("SIGSTORE_NO_CACHE".into(), "true".into()),
        ("TUF_ROOT".into(), "/nowhere".into()),
    ];
    stage.git(["verify-commit", &id]).ok();
    stage
        .gitseal([
            "verify",
            "--certificate-identity",
            IDENTITY,
            "--certificate-oidc-issuer",
            ISSUER,
        ])
        .ok();
}

/// Commits as libgit2, dulwich, JGit and Git with two object formats write them verify
/// through Git and through gitseal; what is not verified is named.
#[test]
fn what_other_programs_write() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let payload = stage.payload("one");
    let raw = |payload: &[u8]| {
        let signature = stage.lab.sign_with(payload, |_| {});
        String::from_utf8(forge::commit_object(payload, &signature)).unwrap()
    };
    let end = " -----END SIGNED MESSAGE-----\n";
    let encoding = "encoding ISO-8859-1\n";
    let text = String::from_utf8(payload.clone()).unwrap();
    let encoded = text.replacen("\n\n", &format!("\n{encoding}\n"), 1);
    let plain = raw(&payload);
    let start = plain.find("gpgsig ").unwrap();
    let stop = plain.find(end).unwrap() + end.len();
    let second = plain[start..stop].replace("gpgsig ", "gpgsig-sha256 ");
    for (what, object, unverified) in [
        (
            "libgit2",
            plain.replace(end, &format!("{end} \n")),
            Value::Null,
        ),
        (
            "JGit",
            raw(encoded.as_bytes())
                .replace(encoding, "")
                .replace(end, &format!("{end}{encoding}")),
            Value::Null,
        ),
        (
            "two formats",
            plain.replace(end, &format!("{end}{second}")),
            "gpgsig-sha256".into(),
        ),
    ] {
        let id = stage.place(object.as_bytes());
        assert!(stage.shown(&id).starts_with("G|"), "{what}");
        let said = stage.gitseal(["verify", "--offline", &id]).ok();
        let report = stage
            .gitseal(["verify", "--offline", "--json", &id])
            .ok()
            .json();
        assert_eq!(report["unverified_header"], unverified, "{what}");
        let range = [
            "verify",
            "--offline",
            "--allow-unsigned",
            &format!("{id}^!"),
        ];
        let many = stage.gitseal(range).ok();
        let explained = stage.gitseal(["explain", &id]).ok();
        for (one, says) in [
            (
                &said,
                "its header gpgsig-sha256 is a signature over the other object format",
            ),
            (
                &many,
                "1 commit with a second signature over the other object format",
            ),
            (
                &explained,
                "The header gpgsig-sha256 is a signature over the other object format",
            ),
        ] {
            assert_eq!(
                one.out.contains(says),
                unverified != Value::Null,
                "{what}: {one:?}"
            );
        }
    }
    // Nothing else follows the signature.
    for (object, code) in [
        (
            plain.replace(end, &format!("{end} \n \n")),
            "armor-text-after",
        ),
        (
            plain.replace(end, &format!("{end}foo x\n")),
            "signature-not-last",
        ),
        (
            plain.replace(end, &format!("{end}gpgsig-sha256 x\n")),
            "signature-other-format",
        ),
    ] {
        let id = stage.place(object.as_bytes());
        stage.verify(&id).fails(1).says(&format!("[{code}]"));
    }
}
