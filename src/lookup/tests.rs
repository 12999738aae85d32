#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::stub::{CannedResponse, Stub};
use gitseal_evidence::{
    identity::{ExpectedIdentity, IdentityMatcher, Pattern},
    object,
    object::{HashKind, ObjectKind},
    refusal::codes,
    trusted_root::TrustedRoot,
    verify::{Verified, VerifyInputs},
};
use gitseal_services::http::client::Timeouts;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gitsign")
}

struct Recorded {
    kind: ObjectKind,
    raw: Vec<u8>,
    answers: Value,
}

fn recorded(name: &str) -> Recorded {
    let (_, kind) = name.rsplit_once('.').unwrap();
    let answers = std::fs::read(data().join(format!("rekor/{name}.json"))).unwrap();
    Recorded {
        kind: ObjectKind::from_type(kind).unwrap(),
        raw: std::fs::read(data().join("objects").join(name)).unwrap(),
        answers: serde_json::from_slice(&answers).unwrap(),
    }
}

/// A log that knows what `change` makes of the recorded answers.
fn log(mut answers: Value, change: impl FnOnce(&mut Value)) -> Stub {
    change(&mut answers);
    Stub::start(move |asked| match asked.target.as_str() {
        "/api/v1/index/retrieve" => CannedResponse::json(200, &answers["index_retrieve"]),
        path => {
            assert_eq!(path, "/api/v1/log/entries/retrieve");
            let asked: Value = serde_json::from_slice(&asked.body).unwrap();
            let ids = asked["entryUUIDs"].as_array().unwrap();
            let entries = ids
                .iter()
                .filter_map(|id| answers["entries"].get(id.as_str()?).cloned());
            CannedResponse::json(200, &entries.collect())
        }
    })
}

fn trust() -> TrustedRoot {
    TrustedRoot::from_json(&std::fs::read(data().join("trusted_root.json")).unwrap()).unwrap()
}

fn judge(recorded: &Recorded, log: &Stub) -> (usize, Result<Verified, Refusal>) {
    let object = object::split_signature(recorded.kind, HashKind::Sha1, &recorded.raw).unwrap();
    let subject = SignatureInput {
        payload: Some(&object.payload),
        signature: &object.signature,
        hash: HashKind::Sha1,
    };
    let http = Client::new(Timeouts::default(), || 0);
    let mut searcher = EntrySearcher::new(http, &log.url);
    let trust = trust();
    let found = searcher
        .find_all(&[subject], &trust, Memo::disabled())
        .remove(0)
        .unwrap();
    let rule = IdentityMatcher::new(
        vec![Pattern::exact("identity", "alice@example.test").unwrap()],
        vec![Pattern::exact("issuer", "http://127.0.0.1:18080").unwrap()],
        vec![],
    )
    .unwrap();
    let verdict = verify::verify(
        &subject,
        &VerifyInputs {
            expected: &ExpectedIdentity::OneOf(vec![rule]),
            found: &found,
            ..VerifyInputs::new(&trust)
        },
        &mut NoopObserver,
    );
    (found.len(), verdict)
}

const ALL: [&str; 4] = [
    "online.commit",
    "online.tag",
    "online-legacy.commit",
    "online-legacy.tag",
];

#[test]
fn recorded_answers_make_gitsigns_default_form_good() {
    for name in ALL {
        let recorded = recorded(name);
        let log = log(recorded.answers.clone(), |_| {});
        let (found, verdict) = judge(&recorded, &log);
        assert_eq!(found, 1, "{name}");
        assert!(verdict.unwrap().identity_matched, "{name}");
    }
}

#[test]
fn entries_of_other_objects_are_passed_over() {
    let recorded = recorded("online.commit");
    let other = self::recorded("online.tag");
    let log = log(recorded.answers.clone(), |answers| {
        // The other object's entry first, and an id that has no entry.
        let others = other.answers["index_retrieve"][0].clone();
        let ids = answers["index_retrieve"].as_array_mut().unwrap();
        ids.insert(0, others.clone());
        ids.push(format!("{}{}", "0".repeat(16), "f".repeat(64)).into());
        let id = others.as_str().unwrap();
        answers["entries"][id] = other.answers["entries"][id].clone();
    });
    let (found, verdict) = judge(&recorded, &log);
    assert_eq!(found, 1);
    verdict.unwrap();
}

/// A rebase of many commits within one certificate.
#[test]
fn the_last_of_many_entries_is_found() {
    let recorded = recorded("online.commit");
    let other = self::recorded("online.tag");
    let log = log(recorded.answers.clone(), |answers| {
        let theirs = other.answers["index_retrieve"][0].as_str().unwrap();
        let entry = &other.answers["entries"][theirs][theirs];
        let leaf = &theirs[theirs.len() - 64..];
        let ids = answers["index_retrieve"].as_array_mut().unwrap();
        // Other objects' entries, all of which come first.
        let more: Vec<String> = (0..200).map(|n| format!("{n:016}{leaf}")).collect();
        ids.extend(more.iter().map(|id| id.as_str().into()));
        for id in more {
            // An id of another tree than the checkpoint's is refused.
            let mut entry = entry.clone();
            entry["verification"] = Value::Null;
            answers["entries"][&id] = serde_json::json!({ &id: entry });
        }
    });
    let (found, verdict) = judge(&recorded, &log);
    assert_eq!(found, 1);
    verdict.unwrap();
}

#[test]
fn only_another_objects_entry_leaves_it_undecided() {
    let recorded = recorded("online.commit");
    let log = log(self::recorded("online.tag").answers, |_| {});
    let (found, verdict) = judge(&recorded, &log);
    assert_eq!(found, 1);
    let refusal = verdict.unwrap_err();
    assert!(refusal.is_undecided());
    assert_eq!(refusal, Refusal::entry_not_found(1));
}

#[test]
fn a_log_that_knows_nothing_leaves_it_undecided() {
    let recorded = recorded("online.tag");
    let log = log(recorded.answers.clone(), |answers| {
        answers["index_retrieve"] = serde_json::json!([]);
    });
    let (found, verdict) = judge(&recorded, &log);
    assert_eq!(found, 0);
    assert_eq!(verdict.unwrap_err().code(), codes::NO_LOG_ENTRY);
}

#[test]
fn a_log_that_lies_about_time_or_place_is_refused() {
    for member in ["integratedTime", "logIndex"] {
        let recorded = recorded("online.commit");
        let log = log(recorded.answers.clone(), |answers| {
            let id = answers["index_retrieve"][0].as_str().unwrap().to_owned();
            let entry = &mut answers["entries"][&id][&id];
            let value = entry[member].as_i64().unwrap();
            entry[member] = (value + 1).into();
        });
        let (_, verdict) = judge(&recorded, &log);
        let refusal = verdict.unwrap_err();
        assert!(!refusal.is_undecided(), "{member}: {refusal}");
        assert_eq!(
            refusal.step(),
            gitseal_evidence::refusal::Step::Inclusion,
            "{member}: {refusal}"
        );
    }
}

#[test]
fn a_log_that_is_down_is_an_error_with_a_hint() {
    let recorded = recorded("online.commit");
    let object = object::split_signature(recorded.kind, HashKind::Sha1, &recorded.raw).unwrap();
    let subject = SignatureInput {
        payload: Some(&object.payload),
        signature: &object.signature,
        hash: HashKind::Sha1,
    };
    let stub = Stub::start(|_| CannedResponse::new(400, "text/html", "<html>"));
    let http = Client::new(Timeouts::default(), || 0);
    let mut searcher = EntrySearcher::new(http, &stub.url);
    let error = searcher
        .find_all(&[subject], &trust(), Memo::disabled())
        .remove(0)
        .unwrap_err();
    assert!(matches!(
        error,
        LookupError::Rekor(RekorClientError::Http(_))
    ));
    assert!(error.hint().unwrap().contains("network"));
}

/// An entry about the same object that does not verify is not in the way of the one that
/// does, wherever it is in the response.
#[test]
fn a_second_entry_about_the_object_does_not_hide_the_first() {
    for reversed in [false, true] {
        let recorded = recorded("online.commit");
        let mut answers = recorded.answers.clone();
        let id = answers["index_retrieve"][0].as_str().unwrap().to_owned();
        let mut second = answers["entries"][&id][&id].clone();
        let later = second["integratedTime"].as_i64().unwrap() + 100_000;
        second["integratedTime"] = later.into();
        // The same leaf, without its tree.
        let other = id[16..].to_owned();
        answers["entries"][&other] = serde_json::json!({ &other: second });
        answers["index_retrieve"] = serde_json::json!([id, other]);
        let log = Stub::start(move |asked| match asked.target.as_str() {
            "/api/v1/index/retrieve" => CannedResponse::json(200, &answers["index_retrieve"]),
            _ => {
                let mut both = vec![
                    answers["entries"][&id].clone(),
                    answers["entries"][&other].clone(),
                ];
                if reversed {
                    both.reverse();
                }
                CannedResponse::json(200, &Value::Array(both))
            }
        });
        let (found, verdict) = judge(&recorded, &log);
        assert_eq!(found, 1, "{reversed}");
        assert!(verdict.unwrap().identity_matched, "{reversed}");
    }
}

/// A certificate with more entries than a search returns: each signature is searched for
/// by its digests. If these are too many as well, it is undecided.
#[test]
fn too_many_entries_narrow_the_search() {
    // Too many IDs, and too many bytes.
    for crowd in [1_025, 5_000] {
        for narrow in [true, false] {
            let recorded = recorded("online.commit");
            let answers = recorded.answers.clone();
            let log = Stub::start(move |asked| {
                let body: Value = serde_json::from_slice(&asked.body).unwrap();
                if asked.target == "/api/v1/log/entries/retrieve" {
                    let ids = body["entryUUIDs"].as_array().unwrap();
                    let known = |id: &Value| answers["entries"].get(id.as_str()?).cloned();
                    return CannedResponse::json(200, &ids.iter().filter_map(known).collect());
                }
                let id = answers["index_retrieve"][0].as_str().unwrap();
                let entry = &answers["entries"][id][id]["body"];
                let entry = base64::Engine::decode(
                    &base64::prelude::BASE64_STANDARD,
                    entry.as_str().unwrap(),
                );
                let entry: Value = serde_json::from_slice(&entry.unwrap()).unwrap();
                let own = format!(
                    "sha256:{}",
                    entry["spec"]["data"]["hash"]["value"].as_str().unwrap()
                );
                match body["hash"].as_str() {
                    Some(hash) if narrow => {
                        assert_eq!(body["operator"], "and");
                        assert!(body["publicKey"]["content"].is_string());
                        let found = if hash == own { vec![id] } else { vec![] };
                        CannedResponse::json(200, &serde_json::json!(found))
                    }
                    _ => {
                        let many: Vec<String> = (0..crowd).map(|n| format!("{n:080x}")).collect();
                        CannedResponse::json(200, &serde_json::json!(many))
                    }
                }
            });
            if narrow {
                let (found, verdict) = judge(&recorded, &log);
                assert_eq!(found, 1);
                verdict.unwrap();
                continue;
            }
            let object =
                object::split_signature(recorded.kind, HashKind::Sha1, &recorded.raw).unwrap();
            let subject = SignatureInput {
                payload: Some(&object.payload),
                signature: &object.signature,
                hash: HashKind::Sha1,
            };
            let http = Client::new(Timeouts::default(), || 0);
            let mut searcher = EntrySearcher::new(http, &log.url);
            let error = searcher
                .find_all(&[subject], &trust(), Memo::disabled())
                .remove(0)
                .unwrap_err();
            let LookupError::Rekor(reason) = &error else {
                panic!("{error}");
            };
            assert!(reason.is_too_many(), "{error}");
            assert!(error.hint().unwrap().contains("embedded"), "{error}");
        }
    }
}
