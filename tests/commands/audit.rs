//! The whole repository, and the logs that signed what it carries.

use gitseal_services::merkle_tree::MemoryTree;
use std::{fs, path::Path};

use crate::support::forge::{self, IDENTITY, ISSUER, LOG_HOST_V2, LOG_NAME, Lab, NOW, TREE_ID};
use crate::support::log::{self, LogServer, Shown};
use crate::support::stage::{Ended, Stage};
use gitseal::{
    audit::checkpoints::{CheckpointArchive, ConsistencyReport, LogFindingKind, check_consistency},
    batch::ObservedCheckpoint,
};
use gitseal_evidence::{
    checkpoint::Checkpoint,
    merkle,
    object::{self, HashKind, ObjectKind},
    trusted_root::TrustedRoot,
};
use serde_json::Value;

/// A stage whose commits are in a log of their own, which is served.
struct Scene {
    stage: Stage,
    nodes: MemoryTree,
    server: LogServer,
}

fn leaves(count: u64, salt: u64) -> MemoryTree {
    let mut nodes = MemoryTree::default();
    for nth in 0..count {
        nodes.push(merkle::leaf_hash(&(nth ^ salt).to_be_bytes()));
    }
    nodes
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::new();
        stage.name_the_signer(IDENTITY);
        let nodes = leaves(100, 0);
        let server = LogServer::start(Shown::new(&nodes));
        let root = stage
            .lab
            .trusted_root()
            .replace("https://rekor.example.test", &server.url());
        fs::write(stage.home("trusted_root.json"), root).unwrap();
        Self {
            stage,
            nodes,
            server,
        }
    }

    /// A signed commit whose entry goes into this tree; the server shows it.
    fn commit(&mut self, message: &str) -> String {
        let payload = self.stage.payload(message);
        let spec = self.stage.lab.spec();
        let leaf = self.stage.lab.leaf_certificate(&spec);
        let signature = log::sign(
            &self.stage.lab,
            &payload,
            NOW + 1,
            &spec.key,
            &leaf,
            &mut self.nodes,
        );
        let raw = object::attach_signature(
            ObjectKind::Commit,
            HashKind::Sha1,
            &payload,
            signature.as_bytes(),
        );
        self.show(|shown, nodes| {
            shown.nodes = nodes.clone();
            shown.size = nodes.size();
        });
        self.stage.place(&raw)
    }

    fn show(&mut self, change: impl FnOnce(&mut Shown, &MemoryTree)) {
        change(&mut self.server.shown.lock().unwrap(), &self.nodes);
    }

    fn audit(&self, words: &[&str]) -> Ended {
        self.stage.gitseal(["audit"].iter().chain(words))
    }
}

#[track_caller]
fn summary(ended: &Ended) -> Value {
    let last = ended
        .out
        .lines()
        .last()
        .unwrap_or_else(|| panic!("{ended:?}"));
    let value: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{ended:?}"));
    value["summary"].clone()
}

#[test]
fn a_repository_and_its_log_agree() {
    let mut scene = Scene::new();
    for number in 0..6 {
        scene.commit(&number.to_string());
    }
    let summary = summary(&scene.audit(&["--json"]).ok());
    assert_eq!(summary["good"], 6);
    let checkpoints = &summary["checkpoints"];
    assert_eq!(checkpoints["carried"], 6);
    assert_eq!(checkpoints["distinct"], 6);
    // Five pairs between them, and one to what the log shows now.
    assert_eq!(checkpoints["consistent_pairs"], 6);
    assert_eq!(checkpoints["requests"], 6);
    assert_eq!(checkpoints["findings"], Value::Array(vec![]));
    assert_eq!(scene.server.asked().len(), 6);
    let text = scene.audit(&[]).ok();
    assert!(
        text.out.contains(
            "checkpoints: 6 found (6 distinct) from 1 log; 6 pairs consistent (6 requests)"
        ),
        "{text:?}"
    );
    // Nobody is asked when nobody is to be.
    let before = scene.server.asked().len();
    let text = scene.audit(&["--offline"]).ok();
    assert!(text.out.contains("the log was not queried"), "{text:?}");
    assert_eq!(scene.server.asked().len(), before);
}

#[test]
fn a_log_that_forgot_is_a_rollback() {
    let mut scene = Scene::new();
    scene.commit("one");
    let last = scene.commit("two");
    scene.show(|shown, nodes| shown.size = nodes.size() - 1);
    let ended = scene.audit(&["--json"]).fails(1);
    let finding = &summary(&ended)["checkpoints"]["findings"][0];
    assert_eq!(finding["code"], "log-rollback");
    assert_eq!(finding["checkpoints"][0]["object"], last.as_str());
    scene.audit(&[]).fails(1).says("[log-rollback]");
    // The reports for CI are not green.
    let (junit, sarif) = (scene.stage.home("a.xml"), scene.stage.home("a.sarif"));
    scene
        .audit(&[
            "--junit",
            junit.to_str().unwrap(),
            "--sarif",
            sarif.to_str().unwrap(),
        ])
        .fails(1);
    let xml = fs::read_to_string(junit).unwrap();
    assert!(xml.contains("tests=\"3\" failures=\"1\""), "{xml}");
    assert!(xml.contains("<failure type=\"log-rollback\""), "{xml}");
    let sarif: Value = serde_json::from_slice(&fs::read(sarif).unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "log-rollback");
}

#[test]
fn a_log_with_another_history_is_a_fork() {
    let mut scene = Scene::new();
    let first = scene.commit("one");
    let second = scene.commit("two");
    // Another tree, larger, and honest about itself.
    scene.show(|shown, nodes| *shown = Shown::new(&leaves(nodes.size() + 50, 7)));
    let ended = scene.audit(&["--json"]).fails(1);
    let summary = summary(&ended);
    assert_eq!(summary["good"], 2);
    assert_eq!(summary["verdict"], "refused");
    let findings = summary["checkpoints"]["findings"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(findings.len(), 2, "{findings:?}");
    for finding in &findings {
        assert_eq!(finding["code"], "log-fork");
    }
    assert_eq!(findings[0]["checkpoints"][0]["object"], first.as_str());
    assert_eq!(findings[0]["checkpoints"][1]["object"], second.as_str());
}

/// Two signed roots for one size need no server to be seen.
#[test]
fn two_roots_for_one_size_are_a_fork_offline() {
    let mut scene = Scene::new();
    let first = scene.commit("one");
    let size = scene.nodes.size();
    // The same log signs another tree of the same size.
    let mut other = None;
    for salt in 1..400_u64 {
        scene.nodes = leaves(size - 1 - salt % 16, salt);
        let before = scene
            .stage
            .git(["rev-parse", "HEAD"])
            .ok()
            .line()
            .to_owned();
        let id = scene.commit(&format!("try {salt}"));
        if scene.nodes.size() == size {
            other = Some(id);
            break;
        }
        scene.stage.git(["update-ref", "HEAD", &before]).ok();
    }
    let other = other.expect("a tree of the same size");
    let ended = scene.audit(&["--json", "--offline"]).fails(1);
    let summary = summary(&ended);
    let finding = &summary["checkpoints"]["findings"][0];
    assert_eq!(finding["code"], "log-fork");
    let objects: Vec<&str> = finding["checkpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["object"].as_str().unwrap())
        .collect();
    assert!(objects.contains(&first.as_str()) && objects.contains(&other.as_str()));
    assert_eq!(summary["good"], 2);
}

#[test]
fn what_cannot_be_proved_is_undecided() {
    let mut scene = Scene::new();
    for number in 0..8 {
        scene.commit(&number.to_string());
    }
    scene.show(|shown, _| shown.proves = false);
    let ended = scene.audit(&["--json"]).fails(3);
    let summary = summary(&ended);
    let findings = summary["checkpoints"]["findings"]
        .as_array()
        .unwrap()
        .clone();
    // Three in a row, then the rest is not asked for.
    assert_eq!(findings.len(), 4, "{findings:?}");
    for finding in &findings {
        assert_eq!(finding["code"], "log-unprovable");
    }
    assert!(
        findings[3]["message"]
            .as_str()
            .unwrap()
            .contains("4 more pairs")
    );
    scene.show(|shown, _| shown.proves = true);
    scene
        .audit(&["--max-proofs", "2"])
        .fails(3)
        .says("--max-proofs allows no more");
    // A log that is not there.
    let root = fs::read_to_string(scene.stage.home("trusted_root.json")).unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    fs::write(
        scene.stage.home("trusted_root.json"),
        root.replace(&scene.server.url(), &url),
    )
    .unwrap();
    scene.audit(&[]).fails(3).says("[log-unprovable]");
}

/// A signature that is refused still carries what the log signed.
#[test]
fn refused_signatures_bear_witness_too() {
    let scene = Scene::new();
    scene.stage.commit("good");
    scene.stage.commit_with("late", |spec| {
        let entry = spec.entry.as_mut().unwrap();
        entry.integrated_time = NOW + 900;
        entry.body = Some(b"another leaf".to_vec());
    });
    let ended = scene.audit(&["--json", "--offline"]).fails(1);
    let checkpoints = summary(&ended)["checkpoints"].clone();
    assert_eq!(checkpoints["carried"], 2, "{checkpoints}");
    assert_eq!(checkpoints["findings"][0]["code"], "log-fork");
}

/// G12: a tag object under a name that is not its own.
#[test]
fn tags_are_judged_and_held_against_their_names() {
    let mut scene = Scene::new();
    scene.commit("one");
    let tag = scene.stage.tag("v1");
    let summary_of =
        |scene: &Scene, code| summary(&scene.audit(&["--json", "--offline"]).fails(code));
    let good = summary_of(&scene, 0);
    assert_eq!((&good["tags"], &good["good"]), (&1.into(), &2.into()));
    scene.stage.git(["update-ref", "refs/tags/v2", &tag]).ok();
    let wrong = summary_of(&scene, 1);
    assert_eq!(wrong["tags"], 1);
    assert_eq!(
        wrong["tag_names"]["mismatched"][0]["reference"],
        "refs/tags/v2"
    );
    assert_eq!(wrong["tag_names"]["mismatched"][0]["tag_name"], "v1");
    assert_eq!(wrong["reasons"][0]["code"], "tag-name");
    scene
        .audit(&["--offline"])
        .fails(1)
        .says("which is named \"v1\" [tag-name]");
    // An unsigned annotated tag is a failure; a lightweight one is a name.
    scene.stage.git(["update-ref", "-d", "refs/tags/v2"]).ok();
    scene.stage.git(["tag", "light"]).ok();
    summary_of(&scene, 0);
    scene.stage.git(["tag", "-a", "-m", "x", "heavy"]).ok();
    assert_eq!(summary_of(&scene, 1)["unsigned"], 1);
    scene.audit(&["--offline", "--allow-unsigned"]).ok();
}

#[test]
fn every_reference_counts_also_those_that_lead_elsewhere() {
    let mut scene = Scene::new();
    scene.commit("one");
    scene.stage.git(["update-ref", "refs/notes/n", "HEAD"]).ok();
    scene
        .stage
        .git(["checkout", "-q", "--orphan", "other"])
        .ok();
    let unsigned = scene.stage.payload("unsigned");
    assert!(!unsigned.is_empty());
    let blob = scene.stage.write("blob", b"text");
    scene
        .stage
        .git(["update-ref", "refs/tags/blob", &blob])
        .ok();
    let found = summary(&scene.audit(&["--json", "--offline"]).fails(1));
    assert_eq!(found["commits"], 2);
    assert_eq!(found["tag_names"]["references_to_other_objects"], 1);
    // A reference to nothing.
    fs::write(
        scene.stage.repo().join(".git/refs/heads/broken"),
        "00112233445566778899aabbccddeeff00112233\n",
    )
    .unwrap();
    let file = scene.stage.path("audit.xml");
    let junit = ["--junit", file.to_str().unwrap()];
    let options = [&["--json", "--offline", "--allow-unsigned"][..], &junit].concat();
    let found = summary(&scene.audit(&options).fails(3));
    assert_eq!(found["broken_references"], 1);
    let report = fs::read_to_string(file).unwrap();
    assert!(report.contains("reference-broken"), "{report}");
}

#[test]
fn nobody_named_is_said_aloud() {
    let stage = Stage::new();
    stage.commit("one");
    let ended = stage.gitseal(["audit", "--offline", "--json"]).ok();
    assert!(ended.err.contains("no expected identity set"), "{ended:?}");
    assert_eq!(summary(&ended)["identity_matched"], false);
    stage
        .gitseal(["audit", "--offline"])
        .ok()
        .says("no expected identity set: signatures by anyone are counted as verified");
}

// --------------------------------------------------------------- Rekor v2

fn seen(log_id: &[u8], checkpoint: Checkpoint) -> ObservedCheckpoint {
    ObservedCheckpoint {
        log_id: log_id.to_vec(),
        checkpoint,
        first_index: None,
    }
}

/// The trees of one log follow each other: two that contain the same index of the log
/// are two histories, whatever they are called.
#[test]
fn two_histories_under_two_tree_ids_are_a_fork() {
    let found = |trees: &[(&[u8], &str, u64, Option<u64>)]| {
        let mut archive = CheckpointArchive::default();
        for (log_id, origin, size, first_index) in trees {
            let checkpoint = Checkpoint {
                origin: (*origin).to_owned(),
                size: *size,
                root: [7; 32],
                extensions: vec![],
            };
            let observed = ObservedCheckpoint {
                first_index: *first_index,
                ..seen(log_id, checkpoint)
            };
            archive.add(&observed, &format!("commit of {origin}"));
        }
        check_consistency(&archive, &TrustedRoot::default(), None).findings
    };
    let (one, two) = ("log - 1", "log - 2");
    for honest in [
        vec![(&b"a"[..], one, 10, Some(0)), (b"a", two, 5, Some(10))],
        vec![(b"a", two, 5, Some(10)), (b"a", one, 10, Some(0))],
        vec![(b"a", one, 10, Some(0)), (b"a", two, 5, Some(1_000))],
        // Another key: another log.
        vec![(b"a", one, 10, Some(0)), (b"b", two, 10, Some(0))],
        // Nothing says where the second one starts.
        vec![(b"a", one, 10, Some(0)), (b"a", two, 10, None)],
        vec![(b"a", one, 10, Some(0)), (b"a", one, 20, Some(0))],
    ] {
        assert!(found(&honest).is_empty(), "{honest:?}");
    }
    for forked in [
        vec![(&b"a"[..], one, 10, Some(0)), (b"a", two, 5, Some(9))],
        vec![(b"a", one, 10, Some(0)), (b"a", two, 5, Some(0))],
        vec![
            (b"a", two, 5, Some(9)),
            (b"a", one, 3, Some(0)),
            (b"a", one, 10, None),
        ],
        vec![(b"a", one, 10, Some(5)), (b"a", two, 6, Some(0))],
    ] {
        let findings = found(&forked);
        assert_eq!(findings.len(), 1, "{forked:?}");
        assert_eq!(findings[0].kind, LogFindingKind::Fork);
        assert_eq!(findings[0].code(), "log-fork");
        let text = findings[0].to_string();
        assert!(text.contains(one) && text.contains(two), "{text}");
    }
}

/// The same with signatures: the SET says which index of the log an entry has, the proof
/// which of its tree.
#[test]
fn signatures_of_two_histories_are_a_fork() {
    for (index, expected) in [(4_245, 0), (4_244, 1), (4_242, 1)] {
        let scene = Scene::new();
        let sign = |tree: &str, index: i64| {
            let payload = forge::commit_payload();
            let signature = scene.stage.lab.sign_with(&payload, |spec| {
                let entry = spec.entry.as_mut().unwrap();
                entry.origin = format!("{} - {tree}", LOG_NAME);
                entry.log_index = index;
            });
            let raw = forge::commit_object(&payload, &signature);
            scene.stage.write("commit", &raw)
        };
        // The entry is the third of a tree of three.
        let ids = [sign("1", 4_242), sign("2", index)];
        for (nth, id) in ids.iter().enumerate() {
            let name = format!("refs/heads/tree{nth}");
            scene.stage.git(["update-ref", &name, id]).ok();
        }
        let ended = scene.audit(&["--json", "--offline", "--allow-shallow"]);
        let findings = summary(&ended)["checkpoints"]["findings"].clone();
        assert_eq!(
            findings.as_array().unwrap().len(),
            expected,
            "{index}: {ended:?}"
        );
        if expected > 0 {
            assert_eq!(findings[0]["code"], "log-fork");
        }
    }
}

/// The same through tiles.
#[test]
fn a_log_of_tiles_is_held_to_what_it_signed() {
    let nodes = leaves(3_000, 0);
    let server = LogServer::start(Shown::new(&nodes));
    let host = server.url().replace("http://", "");
    let name = host.split(':').next().unwrap().to_owned();
    server.shown.lock().unwrap().origin_v2 = name.clone();
    let lab = Lab::new();
    let id = forge::note_key_id(LOG_HOST_V2, &lab.rekor2);
    let own = forge::note_key_id(&name, &lab.rekor2);
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes);
    let root = lab
        .trusted_root()
        .replace(&format!("https://{LOG_HOST_V2}"), &server.url())
        .replace(&encode(&id), &encode(&own));
    let trust = TrustedRoot::from_json(root.as_bytes()).unwrap();
    let shown = server.shown.lock().unwrap().clone();
    let all = |sizes: &[u64], of: &Shown| -> ConsistencyReport {
        let mut archive = CheckpointArchive::default();
        for size in sizes {
            archive.add(&seen(&own, of.tree_v2(*size)), &format!("commit {size}"));
        }
        check_consistency(&archive, &trust, Some(1_000))
    };
    let sizes = [1, 2, 255, 256, 257, 1_000, 2_047, 2_048, 2_999];
    let agreed = all(&sizes, &shown);
    assert!(agreed.findings.is_empty(), "{:?}", agreed.findings);
    assert_eq!(agreed.json()["consistent_pairs"], 9);
    // Fewer tiles than proofs would take requests.
    assert!(
        agreed.json()["requests"].as_u64().unwrap() <= 16,
        "{}",
        agreed.json()
    );
    // Statements out of another tree.
    let other = Shown {
        nodes: leaves(3_000, 9),
        ..shown.clone()
    };
    let forked = all(&[256, 1_000], &other);
    assert!(
        forked
            .findings
            .iter()
            .all(|one| one.kind == LogFindingKind::Fork),
        "{:?}",
        forked.findings
    );
    assert_eq!(forked.findings.len(), 2);
    server.shown.lock().unwrap().size = 900;
    let rolled = all(&[256, 1_000], &shown);
    assert_eq!(rolled.findings.len(), 1);
    assert_eq!(rolled.findings[0].kind, LogFindingKind::Rollback);
    assert!(rolled.findings[0].to_string().contains("current size 900"));
    server.shown.lock().unwrap().proves = false;
    server.shown.lock().unwrap().size = 3_000;
    let blind = all(&[255, 1_000], &shown);
    assert!(blind.findings.iter().all(|one| !one.is_proven()) && blind.findings.len() == 2);
}

/// A checkpoint of the log's that its key did not sign is no answer.
#[test]
fn an_answer_in_anothers_name_proves_nothing() {
    let nodes = leaves(300, 0);
    let server = LogServer::start(Shown::new(&nodes));
    let lab = Lab::new();
    let root = lab
        .trusted_root()
        .replace("https://rekor.example.test", &server.url());
    let trust = TrustedRoot::from_json(root.as_bytes()).unwrap();
    let mut archive = CheckpointArchive::default();
    let shown = Shown::new(&nodes);
    let foreign = Checkpoint {
        origin: format!("{LOG_NAME} - 77"),
        ..shown.tree(200)
    };
    archive.add(&seen(&lab.rekor.log_id(), foreign), "commit");
    let examined = check_consistency(&archive, &trust, Some(10));
    assert_eq!(examined.findings.len(), 1);
    assert_eq!(examined.findings[0].kind, LogFindingKind::Unprovable);
    assert!(
        examined.json()["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("has no tree 77")
    );
    let _ = (TREE_ID, ISSUER, Path::new("."));
}
