//! Signatures that nobody here made up: real commits and tags of the public
//! Sigstore, and what gitsign made against real Fulcio, Rekor and timestamp
//! servers. They live beside a checkout (`../shared/vectors`, or
//! `$GITSEAL_SHARED/vectors`); where they are absent the tests say so.
//!
//! Every object gets exactly the verdict that its manifest names; an unexpected
//! pass fails as loudly as an unexpected refusal.

use gitseal_services::rekor::rest;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::support::shared;
use gitseal_evidence::{
    entry,
    memo::Memo,
    object::{self, HashKind, ObjectKind},
    trusted_root::TrustedRoot,
    verify::{NoopObserver, SignatureInput, Verified, VerifyInputs, verify},
};
use serde_json::Value;

static MEMORY: Memo = Memo::with_capacity(4096);

fn manifest(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!rows.is_empty(), "an empty manifest proves nothing");
    rows
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {row}"))
}

fn kind(row: &Value) -> ObjectKind {
    match text(row, "type") {
        "commit" => ObjectKind::Commit,
        "tag" => ObjectKind::Tag,
        other => panic!("a {other}"),
    }
}

/// The verdict in words: what the signature says, or `refused STEP CODE`.
fn judge(
    row: &Value,
    raw: &[u8],
    trust: &TrustedRoot,
    found: &[entry::LogEntry],
) -> Result<Verified, String> {
    let oid = text(row, "oid");
    let hash = if oid.len() == 64 {
        HashKind::Sha256
    } else {
        HashKind::Sha1
    };
    assert_eq!(object::id_hex(kind(row), hash, raw), oid);
    let signed = object::split_signature(kind(row), hash, raw)
        .map_err(|refusal| refusal.code().to_owned())?;
    assert_eq!(
        object::attach_signature(signed.kind, hash, &signed.payload, &signed.signature),
        raw,
        "{oid} rejoins byte for byte"
    );
    let subject = SignatureInput {
        payload: Some(&signed.payload),
        signature: &signed.signature,
        hash,
    };
    let against = VerifyInputs {
        found,
        ..VerifyInputs::new(trust)
    };
    let plain = verify(&subject, &against, &mut NoopObserver);
    // One memory for all vectors changes no verdict, the second time neither.
    let remembering = VerifyInputs {
        memo: &MEMORY,
        ..against
    };
    for _ in 0..2 {
        let remembered = verify(&subject, &remembering, &mut NoopObserver);
        match (&plain, &remembered) {
            (Ok(one), Ok(other)) => {
                assert_eq!(one.certificate.der(), other.certificate.der(), "{oid}");
                assert_eq!(one.time, other.time, "{oid}");
                assert_eq!(one.log_index, other.log_index, "{oid}");
                assert_eq!(one.checkpoint, other.checkpoint, "{oid}");
            }
            (one, other) => assert_eq!(one.as_ref().err(), other.as_ref().err(), "{oid}"),
        }
    }
    plain.map_err(|refusal| {
        let verdict = if refusal.is_undecided() {
            "undecided"
        } else {
            "refused"
        };
        format!("{verdict} {} {}", refusal.step().number(), refusal.code())
    })
}

fn trusted_root(file: PathBuf) -> TrustedRoot {
    TrustedRoot::from_json(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn real_signatures_of_the_public_sigstore() {
    let Some(vectors) = shared("vectors") else {
        return;
    };
    let folder = vectors.join("real");
    let trust = trusted_root(vectors.join("public-good/trusted_root.json"));
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in manifest(&folder) {
        let name = format!("{}.{}", text(&row, "oid"), text(&row, "type"));
        let raw = fs::read(folder.join("objects").join(&name)).unwrap();
        let class = text(&row, "class");
        *classes.entry(class.to_owned()).or_default() += 1;
        let expected = match class {
            "embedded" => "good",
            "embedded-draft" => "refused 1 cms-draft-log-entry",
            "smime" => "refused 7 chain-not-sigstore",
            _ => "undecided 4 no-log-entry",
        };
        let verdict = judge(&row, &raw, &trust, &[]);
        if let Ok(verified) = &verdict {
            let identities: Vec<&str> = row["identity"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one.as_str().unwrap())
                .collect();
            assert_eq!(identities, [verified.identity.san.value()], "{name}");
            assert_eq!(text(&row, "issuer"), verified.identity.issuer, "{name}");
            assert_eq!(
                text(&row, "certificate_sha1"),
                verified.certificate.sha1_hex()
            );
            assert!(verified.log_index.is_some());
        }
        let found = verdict.map_or_else(|refusal| refusal, |_| "good".to_owned());
        if found != expected {
            wrong.push(format!("{name} ({class}): {found}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(classes.values().sum::<usize>(), 104, "{classes:?}");
}

#[test]
fn what_gitsign_makes() {
    let Some(vectors) = shared("vectors") else {
        return;
    };
    let folder = vectors.join("gitsign");
    let trust = trusted_root(folder.join("trusted_root.json"));
    let mut wrong = Vec::new();
    for row in manifest(&folder) {
        let name = format!("{}.{}", text(&row, "name"), text(&row, "type"));
        let raw = fs::read(folder.join("objects").join(&name)).unwrap();
        let (expected, found) = match text(&row, "expect") {
            "good" => ("good", vec![]),
            "online" => {
                assert_eq!(
                    judge(&row, &raw, &trust, &[]).unwrap_err(),
                    "undecided 4 no-log-entry"
                );
                ("good", recorded(&folder, &name))
            }
            "refused: no trusted time" => ("refused 6 no-trusted-time", vec![]),
            other => panic!("{other}"),
        };
        let verdict = judge(&row, &raw, &trust, &found);
        if let Ok(verified) = &verdict {
            assert_eq!(text(&row, "identity"), verified.identity.san.value());
            assert_eq!(text(&row, "issuer"), verified.identity.issuer);
        }
        let verdict = verdict.map_or_else(|refusal| refusal, |_| "good".to_owned());
        if verdict != expected {
            wrong.push(format!("{name}: {verdict}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The entries that the log answered for a certificate, as recorded.
fn recorded(folder: &Path, name: &str) -> Vec<entry::LogEntry> {
    let answers: Value =
        serde_json::from_slice(&fs::read(folder.join(format!("rekor/{name}.json"))).unwrap())
            .unwrap();
    let entries: Vec<entry::LogEntry> = answers["entries"]
        .as_object()
        .unwrap()
        .values()
        .map(|answer| {
            let json = serde_json::to_vec(answer).unwrap();
            rest::from_rekor_v1_json(&json).unwrap().1
        })
        .collect();
    assert!(!entries.is_empty());
    entries
}

#[test]
fn an_online_entry_of_another_object_does_not_serve() {
    let Some(vectors) = shared("vectors") else {
        return;
    };
    let folder = vectors.join("gitsign");
    let trust = trusted_root(folder.join("trusted_root.json"));
    let rows = manifest(&folder);
    let row = rows
        .iter()
        .find(|row| text(row, "name") == "online" && text(row, "type") == "commit")
        .unwrap();
    let raw = fs::read(folder.join("objects/online.commit")).unwrap();
    let other = recorded(&folder, "online.tag");
    assert_eq!(
        judge(row, &raw, &trust, &other).unwrap_err(),
        "undecided 4 log-entry-not-found"
    );
}

#[test]
fn single_key_files_are_the_same_trust() {
    let Some(vectors) = shared("vectors") else {
        return;
    };
    let folder = vectors.join("gitsign");
    let pem = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let mut trust = TrustedRoot::default();
    trust.set_authorities_pem(&pem("chain.pem")).unwrap();
    trust.set_ct_log_key(pem("ct.pub.pem").as_bytes()).unwrap();
    trust
        .set_timestamp_authority_pem(&pem("tsachain.pem"))
        .unwrap();
    for row in manifest(&folder) {
        if text(&row, "expect") != "good" {
            continue;
        }
        if text(&row, "name").starts_with("v2") {
            trust
                .set_log_pem(&pem("rekor2.pub"), "http://127.0.0.1:3003")
                .unwrap();
        } else {
            trust
                .set_log_pem(&pem("rekor1.pub"), "http://127.0.0.1:3000")
                .unwrap();
        }
        let name = format!("{}.{}", text(&row, "name"), text(&row, "type"));
        let raw = fs::read(folder.join("objects").join(&name)).unwrap();
        if let Err(refusal) = judge(&row, &raw, &trust, &[]) {
            panic!("{name}: {refusal}");
        }
    }
}
