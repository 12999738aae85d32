//! Recorded signatures, by gitsign and by real people, against the core:
//! objects, armour, log entries, checkpoints and inclusion proofs. The CMS is
//! read here by another reader, so that each part is checked on its own.
//!
//! What came from other repositories lies beside the checkout (or where
//! `GITSEAL_SHARED` says).

use gitseal_services::rekor::rest;
use std::{fs, path::Path};

use crate::support::{gitsign_data, shared};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cms::{cert::CertificateChoices, content_info::ContentInfo, signed_data::SignedData};
use const_oid::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use gitseal_evidence::{
    armor,
    checkpoint::{self, LogVerifier, RekorVersion},
    entry::{self, LogEntry},
    keys::PublicKey,
    memo::Memo,
    merkle,
    object::{self, HashKind, ObjectKind, SignedObject},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const LOG_ENTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.3.1");
const TIMESTAMP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.14");

/// One line of a manifest, and the object.
struct Recorded {
    line: Value,
    kind: ObjectKind,
    hash: HashKind,
    oid: String,
    raw: Vec<u8>,
}

impl Recorded {
    fn text(&self, member: &str) -> &str {
        self.line[member].as_str().unwrap_or_default()
    }

    fn split(&self) -> SignedObject {
        object::split_signature(self.kind, self.hash, &self.raw)
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", self.oid))
    }
}

fn manifest(dir: &Path, name: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(dir.join("manifest.jsonl")).unwrap();
    let found: Vec<Recorded> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let file = format!(
                "objects/{}.{}",
                line[name].as_str().unwrap(),
                line["type"].as_str().unwrap()
            );
            let oid = line["oid"].as_str().unwrap().to_owned();
            Recorded {
                kind: ObjectKind::from_type(line["type"].as_str().unwrap()).unwrap(),
                hash: if oid.len() == 64 {
                    HashKind::Sha256
                } else {
                    HashKind::Sha1
                },
                oid,
                raw: fs::read(dir.join(file)).unwrap(),
                line,
            }
        })
        .collect();
    assert!(found.len() > 20, "the manifest is nearly empty");
    found
}

fn everything() -> Vec<Recorded> {
    let mut found = manifest(&gitsign_data(), "name");
    if let Some(dir) = shared("vectors/real") {
        found.extend(manifest(&dir, "oid"));
    }
    found
}

/// The parts of a CMS that the log knows of.
struct Parts {
    /// SHA-256 of the signed attributes.
    digest: [u8; 32],
    signature: Vec<u8>,
    certificate: Vec<u8>,
    entry: Option<Vec<u8>>,
    timestamped: bool,
}

fn parts(der: &[u8]) -> Parts {
    let info = ContentInfo::from_der(der).unwrap();
    let data: SignedData = info.content.decode_as().unwrap();
    let [signer] = data.signer_infos.0.as_slice() else {
        panic!("not one signer")
    };
    let certificate = data
        .certificates
        .iter()
        .flat_map(|set| set.0.iter())
        .find_map(|choice| match choice {
            CertificateChoices::Certificate(certificate)
                if matches!(&signer.sid, cms::signed_data::SignerIdentifier::IssuerAndSerialNumber(sid)
                    if sid.serial_number == *certificate.tbs_certificate().serial_number()) =>
            {
                Some(certificate.to_der().unwrap())
            }
            _ => None,
        })
        .unwrap();
    let unsigned = signer.unsigned_attrs.as_ref();
    let attribute = |oid| unsigned.and_then(|all| all.iter().find(|one| one.oid == oid));
    let entry = attribute(LOG_ENTRY).and_then(|attribute| {
        let value = attribute.values.get(0).unwrap();
        // The draft of January 2023 has an INTEGER here.
        value
            .decode_as::<der::asn1::OctetString>()
            .ok()
            .map(|octets| octets.as_bytes().to_vec())
    });
    let attributes = signer.signed_attrs.as_ref().unwrap().to_der().unwrap();
    Parts {
        digest: Sha256::digest(attributes).into(),
        signature: signer.signature.as_bytes().to_vec(),
        certificate,
        entry,
        timestamped: attribute(TIMESTAMP).is_some(),
    }
}

fn key_of(certificate: &[u8]) -> PublicKey {
    let parsed = x509_cert::Certificate::from_der(certificate).unwrap();
    let spki = parsed.tbs_certificate().subject_public_key_info();
    PublicKey::from_spki(&spki.to_der().unwrap()).unwrap()
}

#[test]
fn every_object_splits_joins_and_has_its_id() {
    for recorded in everything() {
        let Recorded {
            kind,
            hash,
            oid,
            raw,
            ..
        } = &recorded;
        assert_eq!(&object::id_hex(*kind, *hash, raw), oid);
        let split = recorded.split();
        let joined = object::attach_signature(*kind, *hash, &split.payload, &split.signature);
        assert_eq!(&joined, raw, "{oid}");
        assert_eq!(object::check_payload(&split.payload), Ok(*kind), "{oid}");
        match kind {
            ObjectKind::Commit => {
                let view = object::commit_view(&split.payload).unwrap();
                assert!(split.payload.ends_with(&view.message));
            }
            ObjectKind::Tag => {
                let view = object::tag_view(&split.payload).unwrap();
                assert!(view.tagger.is_some() && split.payload.ends_with(&view.message));
            }
        }
        let der = armor::decode(&split.signature).unwrap();
        assert_eq!(armor::encode(&der).as_bytes(), split.signature, "{oid}");
    }
}

/// The first byte that is changed, dropped or doubled changes what is signed,
/// or is refused: nothing of an object escapes both payload and signature.
#[test]
fn no_byte_of_an_object_is_left_out() {
    for recorded in manifest(&gitsign_data(), "name").iter().take(8) {
        let whole = recorded.split();
        for at in 0..recorded.raw.len() {
            let mut raw = recorded.raw.clone();
            raw[at] ^= 0x20;
            if let Ok(other) = object::split_signature(recorded.kind, recorded.hash, &raw) {
                assert_ne!(other, whole, "{} byte {at}", recorded.oid);
            }
            raw.remove(at);
            if let Ok(other) = object::split_signature(recorded.kind, recorded.hash, &raw) {
                assert_ne!(other, whole, "{} without byte {at}", recorded.oid);
            }
        }
    }
}

struct Log {
    key: PublicKey,
    kind: RekorVersion,
    origin: Option<String>,
}

impl Log {
    fn id(&self) -> [u8; 32] {
        match &self.origin {
            Some(origin) => checkpoint::key_id(origin, &self.key),
            None => self.key.sha256(),
        }
    }

    /// Entry, inclusion and SET: what steps 4 and 5 hold against each other.
    fn hold(&self, what: &str, parts: &Parts, entry: &LogEntry) {
        assert_eq!(entry.log_id, self.id(), "{what}");
        let proof = entry.proof.as_ref().unwrap();
        let id = self.id();
        let verifier = LogVerifier {
            key: &self.key,
            key_hint: checkpoint::key_hint(&id),
            kind: self.kind,
            origin: self.origin.as_deref(),
        };
        let checkpoint = checkpoint::open(&proof.checkpoint, &verifier, Memo::disabled())
            .unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
        assert_eq!(checkpoint.root[..], proof.root_hash, "{what}");
        assert_eq!(i64::try_from(checkpoint.size), Ok(proof.tree_size));
        let body = match self.kind {
            RekorVersion::V1 => {
                entry::hashedrekord_v1(&parts.digest, &parts.signature, &parts.certificate)
            }
            RekorVersion::V2 => entry::hashedrekord_v2(
                &parts.digest,
                &parts.signature,
                &parts.certificate,
                &key_of(&parts.certificate),
            )
            .unwrap(),
        };
        let hashes = proof.hashes.clone();
        let index = u64::try_from(proof.log_index).unwrap();
        let leaf = merkle::leaf_hash(&body);
        let included =
            merkle::verify_inclusion(index, checkpoint.size, &leaf, &hashes, &checkpoint.root);
        assert_eq!(included, Ok(()), "{what}");
        // Reject list 8: any other index, leaf or proof.
        let other = merkle::leaf_hash(&body[1..]);
        assert!(
            merkle::verify_inclusion(index, checkpoint.size, &other, &hashes, &checkpoint.root)
                .is_err()
        );
        let moved =
            merkle::verify_inclusion(index ^ 1, checkpoint.size, &leaf, &hashes, &checkpoint.root);
        assert!(moved.is_err() || checkpoint.size == 1, "{what}");
        self.hold_set(what, entry, &body);
    }

    fn hold_set(&self, what: &str, entry: &LogEntry, body: &[u8]) {
        let Some(set) = &entry.set else {
            assert_eq!(self.kind, RekorVersion::V2, "{what}: no SET");
            return;
        };
        let body = BASE64_STANDARD.encode(body);
        let log_id = gitseal_evidence::hex(&entry.log_id);
        let algorithm = self.key.default_algorithm();
        let verify = |time, index| {
            let payload = entry::set_payload(&body, time, &log_id, index);
            self.key.verify(algorithm, &payload, set).is_ok()
        };
        assert!(verify(entry.integrated_time, entry.log_index), "{what}");
        // Reject list 4: a SET over another time or index.
        assert!(!verify(entry.integrated_time + 1, entry.log_index));
        assert!(!verify(entry.integrated_time, entry.log_index + 1));
    }
}

fn pem(name: &str) -> PublicKey {
    PublicKey::from_pem(&fs::read_to_string(gitsign_data().join(name)).unwrap()).unwrap()
}

fn private_logs() -> (Log, Log) {
    let root = fs::read_to_string(gitsign_data().join("trusted_root.json")).unwrap();
    let root: Value = serde_json::from_str(&root).unwrap();
    let v2 = pem("rekor2.pub");
    let origin = root["tlogs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|log| log["publicKey"]["rawBytes"] == BASE64_STANDARD.encode(v2.spki()))
        .and_then(|log| log["baseUrl"].as_str())
        .and_then(|url| url.split("://").nth(1))
        .and_then(|host| host.split([':', '/']).next())
        .unwrap()
        .to_owned();
    (
        Log {
            key: pem("rekor1.pub"),
            kind: RekorVersion::V1,
            origin: None,
        },
        Log {
            key: v2,
            kind: RekorVersion::V2,
            origin: Some(origin),
        },
    )
}

#[test]
fn every_entry_that_gitsign_embedded_is_bound_and_included() {
    let (v1, v2) = private_logs();
    let (mut embedded, mut second) = (0, 0);
    for recorded in manifest(&gitsign_data(), "name") {
        let parts = parts(&armor::decode(&recorded.split().signature).unwrap());
        let Some(message) = &parts.entry else {
            assert_eq!(recorded.text("expect"), "online");
            continue;
        };
        let entry = LogEntry::from_protobuf(message).unwrap();
        assert_eq!(&entry.to_protobuf(true), message, "prints back identically");
        assert_eq!((entry.kind.as_str(), &entry.body), ("hashedrekord", &None));
        let what = format!("{} {}", recorded.text("name"), recorded.kind);
        if recorded.text("mode").starts_with("v2") {
            assert_eq!(parts.timestamped, recorded.text("expect") == "good");
            v2.hold(&what, &parts, &entry);
            second += 1;
        } else {
            v1.hold(&what, &parts, &entry);
        }
        embedded += 1;
    }
    assert_eq!((embedded, second), (23, 4));
}

#[test]
fn every_entry_that_real_signers_embedded_is_bound_and_included() {
    let (Some(real), Some(trust)) = (shared("vectors/real"), shared("vectors/public-good")) else {
        return;
    };
    let root = fs::read_to_string(trust.join("trusted_root.json")).unwrap();
    let root: Value = serde_json::from_str(&root).unwrap();
    let key = root["tlogs"][0]["publicKey"]["rawBytes"].as_str().unwrap();
    let key = PublicKey::from_spki(&BASE64_STANDARD.decode(key).unwrap()).unwrap();
    let log = Log {
        key,
        kind: RekorVersion::V1,
        origin: None,
    };
    let mut embedded = 0;
    for recorded in manifest(&real, "oid") {
        let parts = parts(&armor::decode(&recorded.split().signature).unwrap());
        let Some(message) = &parts.entry else {
            assert_ne!(recorded.text("class"), "embedded");
            continue;
        };
        let entry = LogEntry::from_protobuf(message).unwrap();
        assert_eq!(&entry.to_protobuf(true), message);
        log.hold(&recorded.oid, &parts, &entry);
        embedded += 1;
    }
    assert_eq!(embedded, 12);
}

/// The answers of Rekor v1's REST API: read, bound to their id, and the body
/// rebuilt from its parts.
#[test]
fn entries_of_the_rest_api_are_read_and_rebuilt() {
    let (v1, _) = private_logs();
    let mut seen = 0;
    for recorded in manifest(&gitsign_data(), "name") {
        if recorded.text("expect") != "online" {
            continue;
        }
        let name = format!("rekor/{}.{}.json", recorded.text("name"), recorded.kind);
        let answers: Value =
            serde_json::from_slice(&fs::read(gitsign_data().join(name)).unwrap()).unwrap();
        let signed = recorded.split();
        let parts = parts(&armor::decode(&signed.signature).unwrap());
        let ids = object::gitsign_online_ids(
            recorded.kind,
            recorded.hash,
            &signed.payload,
            &signed.signature,
        );
        assert_eq!(ids[0], recorded.oid);
        // What is logged is the object id's text under a second signature.
        let digest: [u8; 32] = Sha256::digest(&ids[0]).into();
        let mut matching = 0;
        for (uuid, answer) in answers["entries"].as_object().unwrap() {
            let (id, entry) = rest::from_rekor_v1_json(answer.to_string().as_bytes()).unwrap();
            assert_eq!(&id, uuid);
            let body: Value = serde_json::from_slice(entry.body.as_ref().unwrap()).unwrap();
            let spec = &body["spec"];
            let signature = spec["signature"]["content"].as_str().unwrap();
            let signature = BASE64_STANDARD.decode(signature).unwrap();
            let rebuilt = entry::hashedrekord_v1(&digest, &signature, &parts.certificate);
            if entry.body.as_ref() != Some(&rebuilt) {
                continue;
            }
            matching += 1;
            let key = key_of(&parts.certificate);
            key.verify_digest(key.default_algorithm(), &digest, &signature)
                .unwrap();
            let parts = Parts {
                digest,
                signature,
                certificate: parts.certificate.clone(),
                entry: None,
                timestamped: false,
            };
            v1.hold(&recorded.oid, &parts, &entry);
            assert_eq!(
                LogEntry::from_protobuf(&entry.to_protobuf(true)).as_ref(),
                Ok(&entry)
            );
            tampered(answer, &id);
        }
        assert_eq!(matching, 1, "{}", recorded.oid);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// Reject list 2, 8, 13 on one answer.
fn tampered(answer: &Value, id: &str) {
    let good = answer.to_string();
    let code = |text: &str| {
        rest::from_rekor_v1_json(text.as_bytes())
            .expect_err(text)
            .code()
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut answer = answer.clone();
        change(&mut answer[id]);
        code(&answer.to_string())
    };
    let other = id.replace(|c: char| c == id.chars().last().unwrap(), "0");
    assert_eq!(code(&good.replace(id, &other)), "entry-id-mismatch");
    assert_eq!(code(&good.replace(id, &id.to_uppercase())), "entry-id");
    assert_eq!(code(&good.replace(id, &id[1..])), "entry-id");
    let moved = format!("00000000000000ff{}", &id[16..]);
    assert_eq!(code(&good.replace(id, &moved)), "entry-tree-mismatch");
    let member = &good[1..good.len() - 1];
    assert_eq!(code(&format!("{{{member},{member}}}")), "entry-json");
    assert_eq!(code(&format!("{good}x")), "entry-json");
    assert_eq!(code("{}"), "entry-json");
    assert_eq!(code("[]"), "entry-json");
    assert_eq!(
        code(&good.replacen("\"body\":", "\"body\":\"\",\"body\":", 1)),
        "entry-json"
    );
    let body = answer[id]["body"].as_str().unwrap();
    for (text, wanted) in [
        (format!("{body} "), "entry-encoding"),
        (
            body.trim_end_matches('=').replace('e', "-"),
            "entry-encoding",
        ),
        (BASE64_STANDARD.encode("{}"), "entry-id-mismatch"),
    ] {
        assert_eq!(with(&|entry| entry["body"] = text.clone().into()), wanted);
    }
    assert_eq!(
        with(&|entry| entry["logIndex"] = (-1).into()),
        "entry-number"
    );
    assert_eq!(
        with(&|entry| entry["logIndex"] = 9_223_372_036_854_775_808_u64.into()),
        "entry-json"
    );
    assert_eq!(
        with(&|entry| entry["logID"] = "c0".into()),
        "entry-hash-length"
    );
    assert_eq!(
        with(&|entry| entry["logID"] = "C0".into()),
        "entry-encoding"
    );
    let proof = |change: &dyn Fn(&mut Value)| {
        with(&|entry| change(&mut entry["verification"]["inclusionProof"]))
    };
    assert_eq!(
        proof(&|proof| proof["logIndex"] = proof["treeSize"].clone()),
        "entry-number"
    );
    assert_eq!(proof(&|proof| proof["treeSize"] = 0.into()), "entry-number");
    assert_eq!(
        proof(&|proof| proof["rootHash"] = "00".into()),
        "entry-hash-length"
    );
    assert_eq!(
        proof(&|proof| proof["rootHash"] = "zz".into()),
        "entry-encoding"
    );
    assert_eq!(
        proof(&|proof| proof["hashes"] = vec!["00"; 65].into()),
        "entry-proof-too-long"
    );
    assert_eq!(
        proof(&|proof| proof["checkpoint"] = "".into()),
        "entry-incomplete"
    );
    let set = |set: &str| with(&|entry| entry["verification"]["signedEntryTimestamp"] = set.into());
    assert_eq!(set("!"), "entry-encoding");
}
