//! What git itself makes of the verdicts.

use std::{fs, path::Path};

use crate::{
    forge::{IDENTITY, ISSUER},
    stage::Stage,
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gitsign");

/// The fingerprint that git shows, from the JSON report.
fn fingerprint(stage: &Stage, revision: &str) -> String {
    let report = stage.gitseal(["explain", "--offline", "--json", revision]);
    report.json()["certificate_sha1"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn good_and_named() {
    let stage = Stage::new();
    let id = stage.commit("one");
    stage.name_the_signer(IDENTITY);
    let fpr = fingerprint(&stage, &id);
    assert_eq!(fpr.len(), 40);
    assert_eq!(
        stage.shown(&id),
        format!("G|{IDENTITY}|{fpr}|{fpr}|{fpr}|fully")
    );
    stage.git(["verify-commit", &id]).ok();
    let raw = stage.git(["verify-commit", "--raw", &id]).ok();
    assert_eq!(
        raw.err,
        format!(
            "[GNUPG:] NEWSIG\n\
             [GNUPG:] GOODSIG {fpr} {IDENTITY}\n\
             [GNUPG:] VALIDSIG {fpr} 2026-11-20 1795176002 0 0 0 19 8 00 {fpr}\n\
             [GNUPG:] TRUST_FULLY 0 shell\n"
        )
    );
    let text = stage.git(["verify-commit", "-v", &id]).ok();
    text.says(&format!(
        "gitseal: Good signature from [{IDENTITY}]({ISSUER})"
    ))
    .says("Validated Git signature: true")
    .says("Validated Rekor entry: true")
    .says("Validated Certificate claims: true")
    .says(&format!("certificate ID 0x{fpr} | "));
}

#[test]
fn good_and_nobody_named() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let fpr = fingerprint(&stage, &id);
    assert_eq!(
        stage.shown(&id),
        format!("U|{IDENTITY}|{fpr}|{fpr}|{fpr}|undefined")
    );
    stage
        .git(["verify-commit", &id])
        .ok()
        .says("Validated Certificate claims: false")
        .says("no expected identity is set");
}

#[test]
fn good_but_of_somebody_else() {
    let stage = Stage::new();
    let id = stage.commit("one");
    stage.name_the_signer("bob@example.test");
    assert!(stage.shown(&id).starts_with(&format!("U|{IDENTITY}|")));
    assert!(stage.shown(&id).ends_with("|never"));
    stage
        .git(["verify-commit", &id])
        .fails(1)
        .says("[identity-mismatch]");
    stage
        .git(["verify-commit", "--raw", &id])
        .fails(1)
        .says("[GNUPG:] TRUST_NEVER 0 shell");
}

/// O3: git shows a tampered commit as bad, not as unsigned.
#[test]
fn o3_tampered() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let payload = stage.payload("one");
    let signature = stage.lab.sign_with(&payload, |_| {});
    let text = String::from_utf8(payload).unwrap().replace("one", "two");
    let id = stage.place(&crate::forge::commit_object(text.as_bytes(), &signature));
    let shown = stage.shown(&id);
    assert!(shown.starts_with(&format!("B|{IDENTITY}|")), "{shown}");
    assert!(shown.ends_with("|never"), "{shown}");
    stage
        .git(["verify-commit", "--raw", &id])
        .fails(1)
        .says("[GNUPG:] BADSIG ");
    stage
        .git(["verify-commit", &id])
        .fails(1)
        .says("[digest-mismatch]");
}

#[test]
fn without_evidence_git_says_cannot_be_checked() {
    let stage = Stage::new();
    let id = stage.commit_with("one", |spec| spec.entry = None);
    let shown = stage.shown(&id);
    assert!(shown.starts_with("E|"), "{shown}");
    assert!(shown.ends_with("|undefined"), "{shown}");
    stage
        .git(["verify-commit", "--raw", &id])
        .fails(1)
        .says("[GNUPG:] ERRSIG ");
    stage
        .git(["verify-commit", &id])
        .fails(1)
        .says("no embedded log entry");
}

#[test]
fn unsigned_is_unsigned() {
    let stage = Stage::new();
    stage.payload("one");
    assert_eq!(stage.shown("HEAD"), "N|||||undefined");
    stage.git(["verify-commit", "HEAD"]).fails(1);
    stage.verify("HEAD").fails(1).says("[object-unsigned]");
}

#[test]
fn minimum_trust_level() {
    let stage = Stage::new();
    let id = stage.commit("one");
    stage.config("gpg.minTrustLevel", "fully");
    stage.git(["verify-commit", &id]).fails(1);
    stage.name_the_signer(IDENTITY);
    stage.git(["verify-commit", &id]).ok();
    stage.config("gpg.minTrustLevel", "ultimate");
    stage.git(["verify-commit", &id]).fails(1);
    stage.config("gpg.minTrustLevel", "undefined");
    stage.name_the_signer("bob@example.test");
    stage.git(["verify-commit", &id]).fails(1);
}

#[test]
fn merge_verify_signatures() {
    let stage = Stage::new();
    stage.commit("base");
    stage.git(["checkout", "-q", "-b", "side"]).ok();
    stage.commit("side");
    stage.git(["checkout", "-q", "main"]).ok();
    let merge = [
        "merge",
        "--verify-signatures",
        "--no-ff",
        "--no-gpg-sign",
        "-m",
        "m",
        "side",
    ];
    // Nobody named: git wants more trust than "undefined" here.
    stage.git(merge).fails(128).says("untrusted");
    stage.name_the_signer("bob@example.test");
    let refused = stage.git(merge);
    assert_ne!(refused.code, 0, "{refused:?}");
    stage.name_the_signer(IDENTITY);
    stage.git(merge).ok().says("has a good GPG signature");
    // And a side that is not signed.
    stage.git(["checkout", "-q", "-b", "unsigned"]).ok();
    stage.payload("unsigned");
    stage.git(["checkout", "-q", "main"]).ok();
    stage
        .git(["merge", "--verify-signatures", "--no-gpg-sign", "unsigned"])
        .fails(128)
        .says("does not have a GPG signature");
}

#[test]
fn tags() {
    let stage = Stage::new();
    stage.commit("one");
    stage.tag("v1");
    stage.name_the_signer(IDENTITY);
    stage
        .git(["verify-tag", "v1"])
        .ok()
        .says("Good signature from");
    stage
        .git(["verify-tag", "--raw", "v1"])
        .ok()
        .says("[GNUPG:] TRUST_FULLY 0 shell");
    stage.git(["tag", "-v", "v1"]).ok().says("A release");
    let format = "--format=%(tag) %(*objectname)";
    stage.git(["tag", "-v", format, "v1"]).ok().says("v1 ");
    // Under another name it is refused; by its ID the name cannot be known, and is printed.
    let id = stage.git(["rev-parse", "v1"]).ok().line().to_owned();
    stage.git(["update-ref", "refs/tags/v9", &id]).ok();
    stage
        .gitseal(["verify-tag", "--offline", &id])
        .ok()
        .says(&format!("verified tag {id} (tag object is named v1)"));
    let report = stage
        .gitseal(["verify-tag", "--offline", "--json", &id])
        .ok();
    assert_eq!(report.json()["tag"], "v1");
    assert_eq!(report.json()["resolved"][0]["ref"], serde_json::Value::Null);
    stage
        .gitseal(["verify-tag", "--offline", "v9"])
        .fails(1)
        .says(&format!(
            "refs/tags/v9 points to tag object {id}, which is named \"v1\" [tag-name]"
        ));
    let report = stage
        .gitseal(["verify-tag", "--offline", "--json", "v9"])
        .fails(1)
        .json();
    assert_eq!(report["tag"], "v1");
    assert_eq!(report["verdict"], "refused");
    assert_eq!(report["refusal"]["code"], "tag-name");
    stage.name_the_signer("bob@example.test");
    stage.git(["verify-tag", "v1"]).fails(1);
    // Text after the signature is signed by nobody.
    let raw = stage.git(["cat-file", "tag", "v1"]).ok().out;
    let tampered = raw.replace("A release", "Another release");
    let id = stage.write("tag", tampered.as_bytes());
    stage.git(["update-ref", "refs/tags/v2", &id]).ok();
    stage
        .git(["verify-tag", "--raw", "v2"])
        .fails(1)
        .says("BADSIG");
}

/// Every recorded object of gitsign gets the verdict that its manifest names,
/// through both doors.
#[test]
fn gitsigns_objects_through_both_doors() {
    let sha1 = Stage::new();
    let sha256 = Stage::sha256();
    let manifest = fs::read_to_string(Path::new(DATA).join("manifest.jsonl")).unwrap();
    let mut seen = 0;
    for line in manifest.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap();
        let (name, kind, oid) = (text("name"), text("type"), text("oid"));
        let stage = if oid.len() == 64 { &sha256 } else { &sha1 };
        stage.config("gitseal.trustedRoot", &format!("{DATA}/trusted_root.json"));
        stage.config("gitseal.certificateIdentity", text("identity"));
        stage.config("gitseal.certificateOidcIssuer", text("issuer"));
        let raw = fs::read(Path::new(DATA).join(format!("objects/{name}.{kind}"))).unwrap();
        assert_eq!(stage.write(kind, &raw), oid, "{name}");
        let (gits, ours) = match kind {
            "commit" => (
                stage.git(["verify-commit", "--raw", oid]),
                stage.gitseal(["verify", oid, "--offline"]),
            ),
            _ => (
                stage.git(["verify-tag", "--raw", oid]),
                stage.gitseal(["verify-tag", oid, "--offline"]),
            ),
        };
        match text("expect") {
            "good" => {
                gits.ok().says("[GNUPG:] TRUST_FULLY 0 shell");
                ours.ok().says("verified ");
            }
            "online" => {
                gits.fails(1).says("[GNUPG:] ERRSIG ");
                ours.fails(3).says("[no-log-entry]");
            }
            "refused: no trusted time" => {
                gits.fails(1).says("[GNUPG:] BADSIG ");
                ours.fails(1).says("[no-trusted-time]");
            }
            other => panic!("{name}: {other}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 27);
}
