//! Signatures without an embedded entry, and a log that answers with what the
//! real one answered.

use std::{fs, net::TcpListener, path::Path};

use serde_json::Value;

use crate::{
    stage::Stage,
    stub::{CannedResponse, Stub},
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
