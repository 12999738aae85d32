#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use p256::pkcs8::EncodePublicKey as _;

use super::*;
use crate::log::Directory;
use gitseal_evidence::{
    checkpoint::{LogVerifier, RekorVersion},
    entry::{LogEntry, set_payload},
    memo::Memo,
};
use gitseal_services::{http::message::Headers, rekor::rest::from_rekor_v1_json};

const NAME: &str = "rekor.test";
const ENTRIES: &str = "/api/v1/log/entries";
const INDEX: &str = "/api/v1/index/retrieve";
const RETRIEVE: &str = "/api/v1/log/entries/retrieve";

fn spki(key: &SigningKey) -> Vec<u8> {
    let der = key.verifying_key().to_public_key_der().unwrap();
    der.as_bytes().to_vec()
}

fn pem(key: &SigningKey) -> String {
    armor::encode_label("PUBLIC KEY", &spki(key))
}

fn log_key() -> SigningKey {
    SigningKey::from_slice(&[0x31; 32]).unwrap()
}

fn user_key() -> SigningKey {
    SigningKey::from_slice(&[0x32; 32]).unwrap()
}

fn open(folder: &Path) -> RekorServer {
    let key = log_key();
    let spki = spki(&key);
    let log = Log::open(
        identity(NAME, &spki),
        Arc::new(Directory::open(folder).unwrap()),
        checkpoint_signer(NAME, key.clone(), &spki),
        Box::new(|| 1_700_000_000),
    )
    .unwrap();
    RekorServer::new(Arc::new(log), NAME, key, &spki).unwrap()
}

struct Fixture {
    rekor: RekorServer,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            rekor: open(folder.path()),
            folder,
        }
    }

    fn restarted(self) -> Self {
        drop(self.rekor);
        Self {
            rekor: open(self.folder.path()),
            folder: self.folder,
        }
    }

    fn ask(&self, method: Method, target: &str, media: &str, body: &[u8]) -> ServerResponse {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = Headers::default();
        headers.push("content-type", media);
        self.rekor.handle(&ServerRequest {
            method,
            head_only: false,
            path: path.to_owned(),
            query: query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            headers,
            body: body.to_vec(),
            peer: ([127, 0, 0, 1], 1).into(),
        })
    }

    fn get(&self, target: &str) -> ServerResponse {
        self.ask(Method::Get, target, "", b"")
    }

    fn post(&self, target: &str, body: impl AsRef<[u8]>) -> ServerResponse {
        self.ask(Method::Post, target, "application/json", body.as_ref())
    }

    /// The ids that a search finds.
    fn search(&self, what: &Value) -> Vec<String> {
        let answer = self.post(INDEX, what.to_string());
        assert_eq!(answer.status, 200, "{what}: {}", text(&answer));
        let mut ids: Vec<String> = serde_json::from_slice(&answer.body).unwrap();
        ids.sort();
        ids
    }
}

fn text(answer: &ServerResponse) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

fn header<'a>(answer: &'a ServerResponse, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// An error's status and code, and words that are in its message.
fn assert_error(answer: &ServerResponse, status: u16, code: u32, words: &str) {
    assert_eq!(answer.status, status, "{}", text(answer));
    assert_eq!(answer.content_type, "application/json");
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(error["code"], code, "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(words), "{message:?} has no {words:?}");
    assert_eq!(error.as_object().unwrap().len(), 2);
}

/// The canonical body of an entry over a message, with the user's key.
fn body(message: &[u8]) -> Vec<u8> {
    let key = user_key();
    let signature: DerSignature = key.sign(message);
    entry::hashedrekord_v1_body(
        "sha256",
        &Sha256::digest(message),
        signature.as_bytes(),
        &pem(&key),
    )
}

fn changed(body: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(body).unwrap();
    change(&mut value);
    value.to_string().into_bytes()
}

/// Reads an answer about one entry and checks all that the log says of it.
fn proven(answer: &[u8]) -> (String, LogEntry) {
    let (id, entry) = from_rekor_v1_json(answer).unwrap();
    let key = PublicKey::from_spki(&spki(&log_key())).unwrap();
    let proof = entry.proof.clone().unwrap();
    let tree = checkpoint::open(
        &proof.checkpoint,
        &LogVerifier {
            key: &key,
            key_hint: checkpoint::key_hint(&checkpoint::ecdsa_key_id(key.spki())),
            kind: RekorVersion::V1,
            origin: Some(NAME),
        },
        Memo::disabled(),
    )
    .unwrap();
    let hashes: Vec<merkle::Hash> = proof
        .hashes
        .iter()
        .map(|hash| hash.as_slice().try_into().unwrap())
        .collect();
    let leaf = merkle::leaf_hash(entry.body.as_ref().unwrap());
    let index = u64::try_from(entry.log_index).unwrap();
    merkle::verify_inclusion(index, tree.size, &leaf, &hashes, &tree.root).unwrap();
    assert_eq!(u64::try_from(proof.tree_size), Ok(tree.size));
    assert_eq!(proof.root_hash, tree.root);
    let promise = set_payload(
        &BASE64_STANDARD.encode(entry.body.as_ref().unwrap()),
        entry.integrated_time,
        &hex(&entry.log_id),
        entry.log_index,
    );
    let set = entry.set.as_ref().unwrap();
    key.verify(SignatureAlgorithm::EcdsaSha256, &promise, set)
        .unwrap();
    (id, entry)
}

#[test]
fn an_entry_is_taken_and_proven() {
    let fixture = Fixture::new();
    for nth in 0..20_u8 {
        let body = body(&[nth]);
        let answer = fixture.post(ENTRIES, &body);
        assert_eq!(answer.status, 201, "{}", text(&answer));
        assert_eq!(answer.content_type, "application/json");
        let (id, entry) = proven(&answer.body);
        assert_eq!(id.len(), 80);
        assert_eq!(header(&answer, "ETag"), Some(id.as_str()));
        assert_eq!(
            header(&answer, "Location"),
            Some(format!("{ENTRIES}/{id}").as_str())
        );
        assert_eq!(entry.log_index, i64::from(nth));
        assert_eq!(entry.integrated_time, 1_700_000_000);
        assert_eq!(entry.body.as_deref(), Some(body.as_slice()));
        for target in [
            format!("{ENTRIES}/{id}"),
            format!("{ENTRIES}/{}", &id[16..]),
            format!("{ENTRIES}?logIndex={nth}"),
        ] {
            let answer = fixture.get(&target);
            assert_eq!(answer.status, 200, "{target}");
            let (found, entry) = proven(&answer.body);
            assert_eq!(found, id);
            assert_eq!(entry.body.as_deref(), Some(body.as_slice()));
        }
    }
}

#[test]
fn an_answer_has_the_members_of_rekor_and_no_other() {
    let fixture = Fixture::new();
    let answer: Value = serde_json::from_slice(&fixture.post(ENTRIES, body(b"1")).body).unwrap();
    let names = |value: &Value| -> Vec<String> {
        let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let entry = answer.as_object().unwrap().values().next().unwrap();
    assert_eq!(
        names(entry),
        [
            "body",
            "integratedTime",
            "logID",
            "logIndex",
            "verification"
        ]
    );
    let verification = &entry["verification"];
    assert_eq!(
        names(verification),
        ["inclusionProof", "signedEntryTimestamp"]
    );
    let proof = &verification["inclusionProof"];
    assert_eq!(
        names(proof),
        ["checkpoint", "hashes", "logIndex", "rootHash", "treeSize"]
    );
    assert_eq!(proof["hashes"], json!([]), "[], not null, for one entry");
    let spki = spki(&log_key());
    assert_eq!(entry["logID"], sha256_hex(&spki));
    let note = proof["checkpoint"].as_str().unwrap();
    let tree = fixture.rekor.tree_id();
    assert!(note.starts_with(&format!("{NAME} - {tree}\n1\n")), "{note}");
    assert!(note.contains(&format!("\n\u{2014} {NAME} ")), "{note}");
}

#[test]
fn the_same_entry_again_is_a_conflict_that_says_where() {
    let fixture = Fixture::new();
    let first = body(b"1");
    let (id, _) = proven(&fixture.post(ENTRIES, &first).body);
    // The same entry in other words: members in another order, white space,
    // members that are not kept.
    let spaced = {
        let mut value: Value = serde_json::from_slice(&first).unwrap();
        value["spec"]["signature"]["publicKey"]["url"] = json!("");
        serde_json::to_string_pretty(&value).unwrap().into_bytes()
    };
    for again in [first.clone(), spaced] {
        let answer = fixture.post(ENTRIES, again);
        assert_error(
            &answer,
            409,
            409,
            &format!("an equivalent entry already exists in the transparency log with UUID {id}"),
        );
        let location = header(&answer, "Location").unwrap();
        let (found, entry) = proven(&fixture.get(location).body);
        assert_eq!(found, id);
        assert_eq!(entry.body.as_deref(), Some(first.as_slice()));
    }
    assert_eq!(fixture.rekor.log.size(), 1);
}

#[test]
fn what_is_wrong_gets_rekors_status_and_code() {
    let fixture = Fixture::new();
    let good = body(b"1");
    proven(&fixture.post(ENTRIES, &good).body);
    proven(&fixture.post(ENTRIES, body(b"2")).body);
    let without = |name: &str| {
        changed(&good, |value| {
            value.as_object_mut().unwrap().remove(name);
        })
    };
    let with = |name: &str, to: Value| changed(&good, |value| value[name] = to);
    let spec = |path: &str, to: &str| {
        changed(&good, |value| {
            *value.pointer_mut(&format!("/spec/{path}")).unwrap() = json!(to);
        })
    };
    let upper = BASE64_STANDARD.encode("not PEM");
    let two = BASE64_STANDARD.encode(pem(&user_key()).repeat(2));
    let rows: Vec<(&str, Vec<u8>, u16, u32, &str)> = vec![
        (ENTRIES, without("kind"), 422, 602, "kind"),
        (ENTRIES, without("apiVersion"), 422, 602, "apiVersion"),
        (ENTRIES, without("spec"), 422, 602, "spec"),
        (
            ENTRIES,
            with("kind", json!("helm")),
            422,
            606,
            "invalid kind value: \"helm\"",
        ),
        (
            ENTRIES,
            with("apiVersion", json!("0.0.2")),
            400,
            400,
            "error processing entry",
        ),
        (
            ENTRIES,
            with("spec", json!([])),
            400,
            400,
            "error processing entry",
        ),
        (
            ENTRIES,
            with("kind", json!(7)),
            400,
            400,
            "body is malformed",
        ),
        (ENTRIES, b"{".to_vec(), 400, 400, "body is malformed"),
        (ENTRIES, b"".to_vec(), 400, 400, "body is malformed"),
        (ENTRIES, b"[]".to_vec(), 400, 400, "body is malformed"),
        (
            ENTRIES,
            spec("data/hash/value", &hex(&Sha256::digest(b"other"))),
            400,
            400,
            "error processing entry",
        ),
        (
            ENTRIES,
            spec(
                "data/hash/value",
                &hex(&Sha256::digest(b"1")).to_uppercase(),
            ),
            400,
            400,
            "lowercase",
        ),
        (
            ENTRIES,
            spec("data/hash/value", ""),
            400,
            400,
            "error processing entry",
        ),
        (
            ENTRIES,
            spec("data/hash/value", "00"),
            400,
            400,
            "error processing entry",
        ),
        (
            ENTRIES,
            spec("data/hash/algorithm", "md5"),
            400,
            400,
            "entry algorithms are not allowed",
        ),
        (
            ENTRIES,
            spec("signature/content", "####"),
            400,
            400,
            "not base64",
        ),
        (
            ENTRIES,
            spec("signature/content", "AAAA"),
            400,
            400,
            "error processing entry",
        ),
        (
            ENTRIES,
            spec("signature/publicKey/content", "####"),
            400,
            400,
            "not base64",
        ),
        (
            ENTRIES,
            spec("signature/publicKey/content", &upper),
            400,
            400,
            "error processing entry",
        ),
        (
            ENTRIES,
            spec("signature/publicKey/content", &two),
            400,
            400,
            "error processing entry",
        ),
        (
            RETRIEVE,
            b"nonsense".to_vec(),
            400,
            400,
            "body is malformed",
        ),
        (
            RETRIEVE,
            json!({ "logIndexes": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] })
                .to_string()
                .into(),
            422,
            611,
            "at most 10",
        ),
        (
            RETRIEVE,
            json!({ "logIndexes": [-1] }).to_string().into(),
            422,
            609,
            "logIndexes",
        ),
        (
            RETRIEVE,
            json!({ "entryUUIDs": ["xyz"] }).to_string().into(),
            422,
            605,
            "entryUUID",
        ),
        (
            INDEX,
            json!({ "hash": "sha256:00" }).to_string().into(),
            422,
            605,
            "hash",
        ),
        (
            INDEX,
            json!({ "hash": format!("sha1:{}", "0".repeat(64)) })
                .to_string()
                .into(),
            422,
            605,
            "hash",
        ),
        (
            INDEX,
            json!({ "email": "a@b", "operator": "xor" })
                .to_string()
                .into(),
            422,
            606,
            "operator",
        ),
        (
            INDEX,
            json!({ "publicKey": { "format": "x509", "content": "AAAA" } })
                .to_string()
                .into(),
            400,
            400,
            "",
        ),
    ];
    for (path, body, status, code, words) in rows {
        assert_error(&fixture.post(path, body), status, code, words);
    }
    let tree = fixture.rekor.tree_id();
    for (target, status, code, words) in [
        (format!("{ENTRIES}?logIndex=-1"), 422, 609, "logIndex"),
        (format!("{ENTRIES}?logIndex=x"), 422, 601, "logIndex"),
        (ENTRIES.to_owned(), 422, 602, "logIndex"),
        (
            format!("{ENTRIES}/{}", "0".repeat(63)),
            422,
            605,
            "entryUUID",
        ),
        (
            format!("{ENTRIES}/{}", "A".repeat(64)),
            422,
            605,
            "entryUUID",
        ),
        ("/api/v1/log/proof".to_owned(), 422, 602, "lastSize"),
        (
            "/api/v1/log/proof?lastSize=x".to_owned(),
            422,
            601,
            "lastSize",
        ),
        (
            "/api/v1/log/proof?firstSize=0&lastSize=1".to_owned(),
            422,
            609,
            "firstSize",
        ),
        (
            "/api/v1/log/proof?firstSize=2&lastSize=1".to_owned(),
            400,
            400,
            "firstSize(2) must be less than lastSize(1)",
        ),
        (
            "/api/v1/log/proof?lastSize=5".to_owned(),
            400,
            400,
            "the tree size requested(5) was greater than what is currently observable(2)",
        ),
        (
            "/api/v1/log/proof?lastSize=1&treeID=77".to_owned(),
            400,
            400,
            "no log range found for tree ID 77",
        ),
        ("/api/v1/log/publicKey?treeID=77".to_owned(), 400, 400, "77"),
        (
            "/api/v1/log/publicKey?treeID=x".to_owned(),
            422,
            605,
            "treeID",
        ),
        (
            "/api/v1/version".to_owned(),
            404,
            404,
            "path /api/v1/version was not found",
        ),
        (
            "/api/v1/index/retrieve".to_owned(),
            405,
            405,
            "method GET is not allowed, but [POST] are",
        ),
    ] {
        assert_error(&fixture.get(&target), status, code, words);
    }
    assert_error(&fixture.post("/api/v1/log", "{}"), 405, 405, "[GET]");
    assert_error(
        &fixture.ask(Method::Delete, ENTRIES, "", b""),
        405,
        405,
        "[GET,POST]",
    );
    assert_error(
        &fixture.ask(Method::Post, ENTRIES, "text/plain", &good),
        415,
        415,
        "text/plain",
    );
    // What is not there has no body at all.
    for target in [
        format!("{ENTRIES}?logIndex=2"),
        format!("{ENTRIES}/{}", "0".repeat(64)),
        format!("{ENTRIES}/{tree:016x}{}", "0".repeat(64)),
        format!(
            "{ENTRIES}/{}{}",
            "1".repeat(16),
            &wire::entry_id(tree, &good)[16..]
        ),
    ] {
        let answer = fixture.get(&target);
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{target}");
        assert_eq!(answer.content_type, "");
    }
    assert_eq!(fixture.rekor.log.size(), 2, "nothing of this is in the log");
}

/// Keys and signatures over `gitseal`, made with openssl.
#[test]
fn a_key_goes_with_one_digest() {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        name: String,
        public_key: String,
        signatures: HashMap<String, String>,
    }
    let rows: Vec<Row> = serde_json::from_str(include_str!("algorithms.json")).unwrap();
    let fixture = Fixture::new();
    let mut taken = Vec::new();
    for row in rows {
        for (digest, signature) in row.signatures {
            let value = match digest.as_str() {
                "sha256" => hex(&Sha256::digest("gitseal")),
                "sha384" => hex(&sha2::Sha384::digest("gitseal")),
                _ => hex(&sha2::Sha512::digest("gitseal")),
            };
            let proposed = json!({
                "apiVersion": "0.0.1",
                "kind": "hashedrekord",
                "spec": {
                    "data": { "hash": { "algorithm": digest, "value": value } },
                    "signature": {
                        "content": signature,
                        "publicKey": { "content": BASE64_STANDARD.encode(&row.public_key) },
                    },
                },
            });
            let answer = fixture.post(ENTRIES, proposed.to_string());
            if answer.status == 201 {
                proven(&answer.body);
                taken.push(format!("{} {digest}", row.name));
            } else {
                assert_error(&answer, 400, 400, "");
            }
        }
    }
    taken.sort();
    assert_eq!(
        taken,
        [
            "P-256 sha256",
            "P-384 sha384",
            "P-521 sha512",
            "RSA-2048 sha256",
            "RSA-3072 sha256",
            "RSA-4096 sha256",
        ]
    );
}

#[test]
fn bodies_that_a_real_log_made_are_taken_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/gitsign/rekor");
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for file in ["online.commit.json", "online.tag.json"] {
        let recorded = std::fs::read(folder.join(file)).unwrap();
        let recorded: Value = serde_json::from_slice(&recorded).unwrap();
        let entries = recorded["entries"].as_object().unwrap();
        for answer in entries.values() {
            let (_, entry) = from_rekor_v1_json(answer.to_string().as_bytes()).unwrap();
            let body = entry.body.unwrap();
            let answer = fixture.post(ENTRIES, &body);
            assert_eq!(answer.status, 201, "{}", text(&answer));
            let (id, taken) = proven(&answer.body);
            assert_eq!(taken.body, Some(body));
            ids.push(id);
        }
    }
    let entry = fixture.rekor.log.entry(0).unwrap();
    let value: Value = serde_json::from_slice(&entry.leaf).unwrap();
    let content = &value["spec"]["signature"]["publicKey"]["content"];
    let verifier = Verifier::read(content.as_str().unwrap()).unwrap();
    let email = verifier.subjects.first().unwrap();
    assert!(email.contains('@'), "{email}");
    let hash = value["spec"]["data"]["hash"]["value"].as_str().unwrap();
    let first = [ids[0].clone()];
    // The certificates are of one person: all entries, whatever the case.
    ids.sort();
    for email in [email.clone(), email.to_uppercase()] {
        assert_eq!(fixture.search(&json!({ "email": email })), ids);
    }
    let key = json!({ "format": "x509", "content": content });
    assert_eq!(fixture.search(&json!({ "publicKey": key })), first);
    for hash in [hash.to_owned(), format!("sha256:{}", hash.to_uppercase())] {
        assert_eq!(fixture.search(&json!({ "hash": hash })), first);
        let both = |operator: &str| json!({ "hash": hash, "email": email, "operator": operator });
        assert_eq!(fixture.search(&both("or")), ids);
        assert_eq!(fixture.search(&both("and")), first);
    }
    let nobody = json!({ "hash": hash, "email": "nobody@example.test", "operator": "and" });
    assert!(fixture.search(&nobody).is_empty());
    assert!(fixture.search(&json!({})).is_empty());

    let fixture = fixture.restarted();
    assert_eq!(fixture.search(&json!({ "email": email })), ids);
}

fn dsse_envelope(payload: &[u8], signers: &[SigningKey]) -> String {
    let kind = "application/vnd.in-toto+json";
    let signed = pae(kind, payload);
    let signatures: Vec<Value> = signers
        .iter()
        .map(|key| {
            let signature: DerSignature = key.sign(&signed);
            json!({ "sig": BASE64_STANDARD.encode(signature.as_bytes()), "keyid": "" })
        })
        .collect();
    json!({
        "payload": BASE64_STANDARD.encode(payload),
        "payloadType": kind,
        "signatures": signatures,
    })
    .to_string()
}

fn dsse_entry(envelope: &str, verifiers: &[SigningKey]) -> Value {
    let verifiers: Vec<String> = verifiers
        .iter()
        .map(|key| BASE64_STANDARD.encode(pem(key)))
        .collect();
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": { "proposedContent": { "envelope": envelope, "verifiers": verifiers } },
    })
}

#[test]
fn an_attestation_is_taken_and_found() {
    let fixture = Fixture::new();
    let digest = "ab".repeat(32);
    let payload = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "x", "digest": { "sha256": digest } }],
    })
    .to_string();
    let keys = [user_key(), SigningKey::from_slice(&[0x33; 32]).unwrap()];
    let envelope = dsse_envelope(payload.as_bytes(), &keys);
    let answer = fixture.post(ENTRIES, dsse_entry(&envelope, &keys).to_string());
    assert_eq!(answer.status, 201, "{}", text(&answer));
    let (id, entry) = from_rekor_v1_json(&answer.body).unwrap();
    // Written out by hand after Rekor's own form: sorted signatures, no payload.
    let parsed: Value = serde_json::from_str(&envelope).unwrap();
    let mut signatures: Vec<String> = parsed["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .zip(&keys)
        .map(|(one, key)| {
            format!(
                r#"{{"signature":{},"verifier":"{}"}}"#,
                one["sig"],
                BASE64_STANDARD.encode(pem(key))
            )
        })
        .collect();
    signatures.sort();
    let expected = format!(
        r#"{{"apiVersion":"0.0.1","kind":"dsse","spec":{{"envelopeHash":{{"algorithm":"sha256","value":"{}"}},"payloadHash":{{"algorithm":"sha256","value":"{}"}},"signatures":[{}]}}}}"#,
        sha256_hex(envelope.as_bytes()),
        sha256_hex(payload.as_bytes()),
        signatures.join(",")
    );
    assert_eq!(String::from_utf8(entry.body.unwrap()).unwrap(), expected);
    let found = [id];
    for hash in [
        digest,
        sha256_hex(payload.as_bytes()),
        sha256_hex(envelope.as_bytes()),
        sha256_hex(pem(&keys[1]).as_bytes()),
    ] {
        assert_eq!(fixture.search(&json!({ "hash": hash })), found);
    }
    let again = fixture.post(ENTRIES, dsse_entry(&envelope, &keys).to_string());
    assert_eq!(again.status, 409);
}

#[test]
fn an_attestation_needs_every_signature() {
    let fixture = Fixture::new();
    let (one, other) = (user_key(), SigningKey::from_slice(&[0x33; 32]).unwrap());
    let both = [one.clone(), other.clone()];
    let envelope = dsse_envelope(b"{}", &both);
    let with = |change: &dyn Fn(&mut Value)| {
        let changed = changed(envelope.as_bytes(), change);
        String::from_utf8(changed).unwrap()
    };
    let rows = [
        (envelope.clone(), vec![one.clone()], "none of the verifiers"),
        (envelope.clone(), vec![], "0 verifiers"),
        (envelope.clone(), vec![one.clone(); 11], "11 verifiers"),
        (
            with(&|value| value["signatures"] = json!([])),
            both.to_vec(),
            "0 signatures",
        ),
        (
            with(&|value| value["payload"] = json!("e30K")),
            both.to_vec(),
            "none of the verifiers",
        ),
        (
            with(&|value| value["payload"] = json!("e30")),
            both.to_vec(),
            "base64",
        ),
        (
            with(&|value| value["payloadType"] = json!("text/plain")),
            both.to_vec(),
            "none of the verifiers",
        ),
        (
            with(&|value| value["signatures"][0]["sig"] = json!("?")),
            both.to_vec(),
            "base64",
        ),
        ("nonsense".to_owned(), both.to_vec(), "envelope"),
    ];
    for (envelope, verifiers, words) in rows {
        let answer = fixture.post(ENTRIES, dsse_entry(&envelope, &verifiers).to_string());
        assert_error(&answer, 400, 400, words);
    }
    let computed = json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": { "payloadHash": { "algorithm": "sha256", "value": "00" } },
    });
    assert_error(
        &fixture.post(ENTRIES, computed.to_string()),
        400,
        400,
        "proposedContent",
    );
    assert_eq!(fixture.rekor.log.size(), 0);
}

#[test]
fn an_empty_log_and_a_growing_one() {
    let fixture = Fixture::new();
    let info = |fixture: &Fixture| -> Value {
        serde_json::from_slice(&fixture.get("/api/v1/log").body).unwrap()
    };
    let empty = info(&fixture);
    assert_eq!(empty["treeSize"], 0);
    assert_eq!(
        empty["rootHash"],
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(empty["inactiveShards"], Value::Null);
    assert_eq!(empty["treeID"], fixture.rekor.tree_id().to_string());
    assert_eq!(empty.as_object().unwrap().len(), 5);
    let mut roots: Vec<merkle::Hash> = vec![merkle::EMPTY_ROOT];
    for nth in 0..12_u8 {
        fixture.post(ENTRIES, body(&[nth]));
        let info = info(&fixture);
        assert_eq!(info["treeSize"], u64::from(nth) + 1);
        let root = unhex(info["rootHash"].as_str().unwrap()).unwrap();
        roots.push(root.try_into().unwrap());
        let note = info["signedTreeHead"].as_str().unwrap();
        let tree = Checkpoint::parse(&checkpoint::SignedNote::parse(note).unwrap().text).unwrap();
        assert_eq!(
            (tree.size, tree.root),
            (u64::from(nth) + 1, *roots.last().unwrap())
        );
    }
    for new in 1..=12_usize {
        for old in 1..=new {
            let target = format!("/api/v1/log/proof?firstSize={old}&lastSize={new}");
            let answer = fixture.get(&target);
            assert_eq!(answer.status, 200, "{}", text(&answer));
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            let proof: Vec<merkle::Hash> = answer["hashes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|hash| unhex(hash.as_str().unwrap()).unwrap().try_into().unwrap())
                .collect();
            merkle::verify_consistency(old as u64, new as u64, &proof, &roots[old], &roots[new])
                .unwrap();
            // As in Rekor: the root of now, not that of lastSize.
            assert_eq!(answer["rootHash"], hex(&roots[12]));
        }
    }
}

#[test]
fn several_entries_at_once() {
    let fixture = Fixture::new();
    let bodies: Vec<Vec<u8>> = (0..4_u8).map(|nth| body(&[nth])).collect();
    let ids: Vec<String> = bodies
        .iter()
        .map(|body| proven(&fixture.post(ENTRIES, body).body).0)
        .collect();
    let ask = |what: Value| -> Vec<String> {
        let answer = fixture.post(RETRIEVE, what.to_string());
        assert_eq!(answer.status, 200, "{}", text(&answer));
        let found: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        found
            .iter()
            .map(|one| proven(one.to_string().as_bytes()).0)
            .collect()
    };
    assert!(ask(json!({})).is_empty());
    assert_eq!(
        ask(json!({ "logIndexes": [3, 0, 9] })),
        [&ids[3], &ids[0]].map(Clone::clone)
    );
    let both = json!({ "entryUUIDs": [ids[2], &ids[1][16..], "0".repeat(64)] });
    assert_eq!(ask(both), [&ids[2], &ids[1]].map(Clone::clone));
    let proposed: Value = serde_json::from_slice(&bodies[1]).unwrap();
    assert_eq!(ask(json!({ "entries": [proposed] })), [ids[1].clone()]);
}

#[test]
fn the_key_and_the_rest() {
    let fixture = Fixture::new();
    let tree = fixture.rekor.tree_id();
    for target in [
        "/api/v1/log/publicKey".to_owned(),
        format!("/api/v1/log/publicKey?treeID={tree}"),
    ] {
        let answer = fixture.get(&target);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.content_type, "application/x-pem-file");
        let key = PublicKey::from_pem(&text(&answer)).unwrap();
        assert_eq!(key.spki(), spki(&log_key()));
    }
    assert_eq!(text(&fixture.get("/ping")), ".");
    assert_eq!(fixture.get("/healthz").status, 200);
    assert_eq!(fixture.restarted().rekor.tree_id(), tree);
}
