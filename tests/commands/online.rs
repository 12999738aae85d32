//! Signatures without an embedded entry, and a log that answers with what the
//! real one answered.

use std::{collections::BTreeMap, fs, net::TcpListener, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    forge::{self, EntrySpec, IDENTITY, NOW},
    stage::Stage,
    stub::{CannedResponse, Stub},
};
use gitseal_evidence::{
    entry::{LogEntry, hashedrekord_v1},
    hex,
    merkle::leaf_hash,
    signed_data,
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gitsign");
const COMMIT: &str = "7658c11d3819fbba93a116a4fb71374bf13cefe4";

/// A log on loopback that knows some recorded answers.
fn log(search: Value, entries: Value) -> Stub {
    Stub::start(move |asked| match asked.target.as_str() {
        "/api/v1/index/retrieve" => CannedResponse::json(200, &search),
        "/api/v1/log/entries/retrieve" => {
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            let ids = body["entryUUIDs"].as_array().unwrap();
            let found = ids
                .iter()
                .filter_map(|id| entries.get(id.as_str().unwrap()).cloned());
            CannedResponse::json(200, &found.collect())
        }
        _ => CannedResponse::json(404, &Value::Null),
    })
}

fn recorded(name: &str) -> (Value, Value) {
    let path = Path::new(DATA).join(format!("rekor/{name}.json"));
    let answers: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    (
        answers["index_retrieve"].clone(),
        answers["entries"].clone(),
    )
}

/// A repository with one object of gitsign's default form.
fn stage(name: &str, kind: &str) -> (Stage, String) {
    let stage = Stage::new();
    stage.config("gitseal.trustedRoot", &format!("{DATA}/trusted_root.json"));
    stage.config("gitseal.certificateIdentity", "alice@example.test");
    stage.config("gitseal.certificateOidcIssuer", "http://127.0.0.1:18080");
    let raw = fs::read(Path::new(DATA).join(format!("objects/{name}.{kind}"))).unwrap();
    let id = stage.write(kind, &raw);
    (stage, id)
}

#[test]
fn recorded_answers_through_both_doors() {
    for name in ["online", "online-legacy"] {
        for kind in ["commit", "tag"] {
            let (search, entries) = recorded(&format!("{name}.{kind}"));
            let log = log(search, entries);
            let (stage, id) = stage(name, kind);
            stage.config("gitsign.rekor", log.url.as_str());
            let ours = if kind == "commit" {
                "verify"
            } else {
                "verify-tag"
            };
            let gits = if kind == "commit" {
                "verify-commit"
            } else {
                "verify-tag"
            };
            // git asks nobody unless the mode says so.
            stage
                .git([gits, &id])
                .fails(1)
                .says("no embedded log entry");
            stage.gitseal([ours, "--offline", &id]).fails(3);
            assert_eq!(log.asked().len(), 0);
            stage.gitseal([ours, &id]).ok().says("signed by ");
            assert!(log.asked().len() >= 2);
            stage.config("gitsign.rekorMode", "online");
            stage
                .git([gits, "--raw", &id])
                .ok()
                .says("[GNUPG:] TRUST_FULLY 0 shell");
            let report = stage.gitseal(["explain", "--json", &id]).ok().json();
            assert_eq!(report["verdict"], "good");
            assert!(
                report["steps"][3]["detail"]
                    .as_str()
                    .unwrap()
                    .ends_with("found online")
            );
        }
    }
}

/// The same certificate's other entries are no evidence for this commit
/// (CVE-2024-51746).
#[test]
fn entries_of_something_else_do_not_help() {
    let (search, entries) = recorded("online.tag");
    let log = log(search, entries);
    let (stage, id) = stage("online", "commit");
    stage.config("gitsign.rekor", log.url.as_str());
    stage
        .gitseal(["verify", &id])
        .fails(3)
        .says("[log-entry-not-found]");
}

#[test]
fn a_log_that_knows_nothing_or_is_not_there() {
    let empty = log(serde_json::json!([]), serde_json::json!({}));
    let (stage, id) = stage("online", "commit");
    assert_eq!(id, COMMIT);
    stage.config("gitsign.rekor", empty.url.as_str());
    stage
        .gitseal(["verify", &id])
        .fails(3)
        .says("[log-entry-not-found]");
    // A port that nobody listens on.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    stage.config("gitsign.rekor", &url);
    stage
        .gitseal(["verify", &id])
        .fails(3)
        .says("cannot query the log");
    let report = stage.gitseal(["explain", "--json", &id]).fails(3).json();
    assert_eq!(report["refusal"]["code"], "lookup-failed");
    stage.config("gitsign.rekorMode", "online");
    assert!(stage.shown(&id).starts_with("E|"));
}

/// E1: a repository does not say whom a look at its log asks.
#[test]
fn e1_a_repository_cannot_send_look_ups_elsewhere() {
    let (search, entries) = recorded("online.commit");
    let mine = log(search, entries);
    let theirs = log(serde_json::json!([]), serde_json::json!({}));
    let (stage, id) = stage("online", "commit");
    stage.config("gitsign.rekor", mine.url.as_str());
    stage.config("gitsign.rekorMode", "online");
    stage.local("gitsign.rekor", theirs.url.as_str());
    stage.git(["log", "-1", "--show-signature", &id]).ok();
    stage.gitseal(["verify", &id]).ok();
    assert_eq!(theirs.asked().len(), 0);
    assert!(mine.asked().len() >= 2);
}

/// The digest, ID and REST form of an entry that the forge's log has about a commit.
fn logged(stage: &Stage, payload: &[u8], tree: u64, time: i64) -> (String, String, Value) {
    let mut spec = stage.lab.spec();
    spec.entry = Some(EntrySpec {
        origin: format!("{} - {tree}", forge::LOG_NAME),
        integrated_time: time,
        ..EntrySpec::v1(&stage.lab.rekor)
    });
    let message = signed_data::read(&stage.lab.cms(payload, &spec)).unwrap();
    let entry = LogEntry::from_protobuf(message.log_entry.as_ref().unwrap()).unwrap();
    let digest: [u8; 32] = Sha256::digest(&message.attributes).into();
    let body = hashedrekord_v1(&digest, &message.signature, message.leaf.der());
    let id = format!("{tree:016x}{}", hex(&leaf_hash(&body)));
    let proof = entry.proof.unwrap();
    let entry = json!({ &id: {
        "body": BASE64_STANDARD.encode(&body),
        "integratedTime": entry.integrated_time,
        "logID": hex(&entry.log_id),
        "logIndex": entry.log_index,
        "verification": {
            "inclusionProof": {
                "checkpoint": proof.checkpoint,
                "hashes": proof.hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>(),
                "logIndex": proof.log_index,
                "rootHash": hex(&proof.root_hash),
                "treeSize": proof.tree_size,
            },
            "signedEntryTimestamp": BASE64_STANDARD.encode(entry.set.unwrap()),
        },
    }});
    (hex(&digest), id, entry)
}

/// A log of the forge. A search by certificate alone has too many results if it is
/// crowded, and so has one by a digest in `flooded`.
fn forged_log(entries: Vec<(String, String, Value)>, crowded: bool, flooded: Vec<String>) -> Stub {
    let by_id: BTreeMap<String, (String, Value)> = entries
        .into_iter()
        .map(|(digest, id, entry)| (id, (digest, entry)))
        .collect();
    Stub::start(move |asked| {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let many = || json!((0..1_025).map(|n| format!("{n:080x}")).collect::<Vec<_>>());
        if asked.target == "/api/v1/log/entries/retrieve" {
            let ids = body["entryUUIDs"].as_array().unwrap();
            let known = |id: &Value| Some(by_id.get(id.as_str()?)?.1.clone());
            return CannedResponse::json(200, &ids.iter().filter_map(known).collect());
        }
        let digest = body["hash"]
            .as_str()
            .map(|text| text.trim_start_matches("sha256:"));
        let found = match digest {
            None if crowded => many(),
            None => json!(by_id.keys().collect::<Vec<_>>()),
            Some(digest) if flooded.iter().any(|one| one == digest) => many(),
            Some(digest) => {
                let own = by_id.iter().filter(|(_, (known, _))| known == digest);
                json!(own.map(|(id, _)| id).collect::<Vec<_>>())
            }
        };
        CannedResponse::json(200, &found)
    })
}

/// Anyone can log further entries about a signature that is public. They neither spoil
/// nor help it, and one commit and a range report the same; so many that the search ends
/// leave it undecided, and only it.
#[test]
fn further_entries_change_no_verdict() {
    const LATE: i64 = NOW + 100_000;
    #[derive(Clone, Copy)]
    struct Case {
        first: &'static [(u64, i64)],
        crowded: bool,
        flooded: bool,
        expected: (i32, &'static str),
    }
    let case = |first, crowded, flooded, expected| Case {
        first,
        crowded,
        flooded,
        expected,
    };
    for Case {
        first,
        crowded,
        flooded,
        expected: (exit, says),
    } in [
        case(&[(1, NOW + 2)], false, false, (0, "")),
        case(&[(1, NOW + 2), (2, LATE)], false, false, (0, "")),
        case(&[(1, LATE), (2, NOW + 2), (3, LATE)], false, false, (0, "")),
        case(
            &[(1, LATE), (2, LATE)],
            false,
            false,
            (1, "time-outside-certificate"),
        ),
        case(&[], false, false, (3, "log-entry-not-found")),
        case(&[(1, LATE), (2, NOW + 2)], true, false, (0, "")),
        case(&[(1, LATE)], true, false, (1, "time-outside-certificate")),
        case(&[(1, NOW + 2)], true, true, (3, "lookup-failed")),
    ] {
        let stage = Stage::new();
        stage.name_the_signer(IDENTITY);
        let mut entries = Vec::new();
        let mut ids = Vec::new();
        let mut digests = Vec::new();
        for message in ["first", "second"] {
            let payload = stage.payload(message);
            let signature = stage.lab.sign_with(&payload, |spec| spec.entry = None);
            ids.push(stage.place(&forge::commit_object(&payload, &signature)));
            let own = if message == "first" {
                first
            } else {
                &[(9, NOW + 2)]
            };
            entries.extend(
                own.iter()
                    .map(|(tree, time)| logged(&stage, &payload, *tree, *time)),
            );
            digests.push(logged(&stage, &payload, 1, NOW).0);
        }
        let flooded = if flooded {
            vec![digests[0].clone()]
        } else {
            vec![]
        };
        let log = forged_log(entries, crowded, flooded);
        stage.config("gitsign.rekor", log.url.as_str());
        let what = format!("{first:?} {crowded}");
        let one = stage.gitseal(["verify", "--json", &ids[0]]);
        assert_eq!(one.code, exit, "{what}: {one:?}");
        let one = one.json();
        if exit != 0 {
            assert_eq!(one["refusal"]["code"], says, "{what}: {one}");
        }
        // Verified entries would be stored: the range searches for itself.
        let _ = fs::remove_dir_all(stage.home(".cache/gitseal"));
        let many = stage.gitseal(["verify", "--json", &ids[0], &ids[1]]);
        assert_eq!(many.code, exit, "{what}: {many:?}");
        let lines: Vec<Value> = many
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of = |id: &str| lines.iter().find(|line| line["object"] == id).unwrap();
        assert_eq!(of(&ids[0])["refusal"], one["refusal"], "{what}");
        assert_eq!(of(&ids[1])["verdict"], "good", "{what}");
    }
}

/// What someone logged about one signature says nothing about another one of the same
/// certificate.
#[test]
fn a_flooded_signature_does_not_hide_another() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let sign = |message: &str| {
        let payload = stage.payload(message);
        let signature = stage.lab.sign_with(&payload, |spec| spec.entry = None);
        let id = stage.place(&forge::commit_object(&payload, &signature));
        (id, payload)
    };
    let (first, flooded) = sign("first");
    let (second, late) = sign("second");
    let digest = logged(&stage, &flooded, 1, NOW).0;
    let entries = vec![logged(&stage, &late, 1, NOW + 100_000)];
    let log = forged_log(entries, true, vec![digest]);
    stage.config("gitsign.rekor", log.url.as_str());
    let many = stage
        .gitseal(["verify", "--json", &first, &second])
        .fails(1);
    let refusal = |id: &str| {
        let lines = many.out.lines();
        let mut lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let line = lines.find(|line| line["object"] == id).unwrap();
        line["refusal"]["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(refusal(&first), "lookup-failed");
    assert_eq!(refusal(&second), "time-outside-certificate");
}
