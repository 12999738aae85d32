//! The reference CT log: what it promises, it shows; what it embeds into a
//! certificate, the verifier's own step 8 accepts; what is no chain, it refuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../support/forge/mod.rs"]
mod forge;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use forge::{
    CertificateSpec, Key, Lab, NOW, authority_key_id, ca,
    der::{extension, int, name, null, octets, seq},
    intermediate_name, root_name,
};
use gitseal_evidence::{
    certificate::Certificate,
    keys::{PublicKey, SignatureAlgorithm},
    memo::Memo,
    merkle,
    sct::{self, Sct},
    trusted_root,
};
use gitseal_reference::{
    ct::CtServer,
    log::{Directory, Log, LogIdentity},
};
use gitseal_services::{
    ct::wire::{AddChainResponse, SignedTreeHead},
    http::{
        message::{Headers, Method, ServerRequest, ServerResponse},
        server::Handler as _,
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const POISON: &str = "1.3.6.1.4.1.11129.2.4.3";
const PRE: &str = "/ct/v1/add-pre-chain";
const ADD: &str = "/ct/v1/add-chain";

struct Fixture {
    lab: Lab,
    ct: CtServer,
    now: Arc<AtomicU64>,
    folder: tempfile::TempDir,
}

fn open(folder: &Path, lab: &Lab, now: &Arc<AtomicU64>) -> CtServer {
    let Key::P256(key) = lab.ct.clone() else {
        panic!("the log's key is P-256")
    };
    let identity = LogIdentity {
        origin: "ct.test".to_owned(),
        key_id: lab.ct.log_id(),
    };
    let log = Log::open(
        identity,
        Arc::new(Directory::open(folder).unwrap()),
        Box::new(|tree| tree.to_text()),
        Box::new(|| NOW),
    )
    .unwrap();
    let root = Certificate::from_der(&lab.root_certificate).unwrap();
    let clock = Arc::clone(now);
    CtServer::new(
        Arc::new(log),
        key,
        &lab.ct.spki(),
        vec![root],
        Box::new(move || clock.load(Ordering::SeqCst)),
    )
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::new();
        let now = Arc::new(AtomicU64::new(NOW.unsigned_abs() * 1000 + 17));
        Self {
            ct: open(folder.path(), &lab, &now),
            lab,
            now,
            folder,
        }
    }

    fn restarted(self) -> Self {
        drop(self.ct);
        Self {
            ct: open(self.folder.path(), &self.lab, &self.now),
            lab: self.lab,
            now: self.now,
            folder: self.folder,
        }
    }

    fn ask(&self, method: Method, target: &str, body: &[u8]) -> ServerResponse {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = Headers::default();
        headers.push("content-type", "application/json");
        self.ct.handle(&ServerRequest {
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

    fn get(&self, target: &str) -> Value {
        let answer = self.ask(Method::Get, target, b"");
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{target}: {text}");
        assert_eq!(answer.content_type, "application/json");
        serde_json::from_str(&text).unwrap()
    }

    fn submit(&self, path: &str, chain: &[Vec<u8>]) -> ServerResponse {
        let chain: Vec<String> = chain
            .iter()
            .map(|der| BASE64_STANDARD.encode(der))
            .collect();
        self.ask(
            Method::Post,
            path,
            json!({ "chain": chain }).to_string().as_bytes(),
        )
    }

    fn promised(&self, path: &str, chain: &[Vec<u8>]) -> Sct {
        let answer = self.submit(path, chain);
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{text}");
        let answer: AddChainResponse = serde_json::from_str(&text).unwrap();
        answer.sct().unwrap()
    }

    fn spec(&self, serial: u8) -> CertificateSpec {
        let mut leaf = self.lab.leaf(&Key::p256(40));
        leaf.serial = vec![serial];
        leaf
    }

    fn finish(&self, spec: &CertificateSpec, last: Vec<u8>) -> Vec<u8> {
        let mut spec = spec.clone();
        spec.extensions.push(last);
        spec.sign(&self.lab.intermediate)
    }

    fn precertificate(&self, serial: u8) -> Vec<u8> {
        self.finish(&self.spec(serial), extension(POISON, true, &null()))
    }

    /// The precertificate with its issuers.
    fn chain(&self, first: Vec<u8>) -> Vec<Vec<u8>> {
        vec![
            first,
            self.lab.intermediate_certificate.clone(),
            self.lab.root_certificate.clone(),
        ]
    }

    fn size(&self) -> u64 {
        self.ct.tree_head().unwrap().tree_size
    }
}

#[test]
fn a_promise_is_what_step_8_accepts() {
    let fixture = Fixture::new();
    let issuer = Certificate::from_der(&fixture.lab.intermediate_certificate).unwrap();
    let trusted = [trusted_root::CtLog {
        base_url: String::new(),
        key: PublicKey::from_spki(&fixture.lab.ct.spki()).unwrap(),
        log_id: fixture.lab.ct.log_id(),
        window: trusted_root::ValidityPeriod {
            start: NOW,
            end: Some(NOW),
        },
    }];
    // With the root, without it, and with the intermediate alone.
    for (serial, length) in [(1, 3), (2, 2)] {
        let chain = fixture.chain(fixture.precertificate(serial));
        let promise = fixture.promised(PRE, &chain[..length]);
        assert_eq!(promise.timestamp_ms, NOW.unsigned_abs() * 1000 + 17);
        let list = sct::encode_list(std::slice::from_ref(&promise));
        let embedded = extension("1.3.6.1.4.1.11129.2.4.2", false, &list);
        let certificate = fixture.finish(&fixture.spec(serial), embedded.clone());
        let certificate = Certificate::from_der(&certificate).unwrap();
        assert_eq!(
            sct::verify(&certificate, &issuer, &[NOW], &trusted, Memo::disabled()).unwrap(),
            promise
        );
        // It is for this certificate alone.
        let other = fixture.finish(&fixture.spec(9), embedded);
        let other = Certificate::from_der(&other).unwrap();
        assert!(sct::verify(&other, &issuer, &[NOW], &trusted, Memo::disabled()).is_err());
    }
}

#[test]
fn the_same_certificate_gets_the_same_promise() {
    let mut fixture = Fixture::new();
    let chain = fixture.chain(fixture.precertificate(1));
    let promise = fixture.promised(PRE, &chain);
    fixture.now.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(fixture.promised(PRE, &chain), promise);
    assert_eq!(fixture.promised(PRE, &chain[..2]), promise);
    fixture = fixture.restarted();
    assert_eq!(fixture.promised(PRE, &chain), promise);
    assert_eq!(fixture.size(), 1);
    let later = fixture.promised(PRE, &fixture.chain(fixture.precertificate(2)));
    assert_eq!(later.timestamp_ms, promise.timestamp_ms + 60_000);
}

#[test]
fn everything_promised_is_shown_and_proven() {
    let fixture = Fixture::new();
    let mut leaves = Vec::new();
    let mut heads: Vec<(u64, merkle::Hash)> = Vec::new();
    for serial in 1..=7 {
        if serial == 4 {
            let chain = fixture.chain(fixture.spec(serial).sign(&fixture.lab.intermediate));
            let promise = fixture.promised(ADD, &chain);
            let entry = sct::CtEntry::X509(&chain[0]);
            leaves.push(sct::digitally_signed(promise.timestamp_ms, entry, &[]));
        } else {
            let chain = fixture.chain(fixture.precertificate(serial));
            let promise = fixture.promised(PRE, &chain);
            let precertificate = Certificate::from_der(&chain[0]).unwrap();
            let tbs = sct::precert_tbs(&precertificate);
            let entry = sct::CtEntry::Precert {
                issuer_key_hash: Sha256::digest(fixture.lab.intermediate.spki()).into(),
                tbs: &tbs,
            };
            leaves.push(sct::digitally_signed(promise.timestamp_ms, entry, &[]));
        }
        let head: SignedTreeHead = serde_json::from_value(fixture.get("/ct/v1/get-sth")).unwrap();
        let root = BASE64_STANDARD.decode(&head.sha256_root_hash).unwrap();
        // RFC 6962 §3.5: version, type 1, time, size, root.
        let mut signed = vec![0, 1];
        signed.extend(head.timestamp.to_be_bytes());
        signed.extend(head.tree_size.to_be_bytes());
        signed.extend(&root);
        let signature = BASE64_STANDARD.decode(&head.tree_head_signature).unwrap();
        assert_eq!(signature[..2], [4, 3]);
        assert_eq!(usize::from(signature[3]), signature.len() - 4);
        PublicKey::from_spki(&fixture.lab.ct.spki())
            .unwrap()
            .verify(SignatureAlgorithm::EcdsaSha256, &signed, &signature[4..])
            .unwrap();
        heads.push((head.tree_size, root.try_into().unwrap()));
    }
    let (size, root) = *heads.last().unwrap();
    assert_eq!(size, 7);
    let shown = fixture.get("/ct/v1/get-entries?start=0&end=1000");
    let shown = shown["entries"].as_array().unwrap();
    assert_eq!(shown.len(), 7);
    let hashes = |value: &Value| -> Vec<merkle::Hash> {
        let list = value.as_array().unwrap().iter();
        list.map(|one| {
            let bytes = BASE64_STANDARD.decode(one.as_str().unwrap()).unwrap();
            bytes.try_into().unwrap()
        })
        .collect()
    };
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(shown[index]["leaf_input"], BASE64_STANDARD.encode(leaf));
        let hash = merkle::leaf_hash(leaf);
        let target = format!(
            "/ct/v1/get-proof-by-hash?tree_size={size}&hash={}",
            BASE64_STANDARD.encode(hash)
        );
        let proof = fixture.get(&target);
        assert_eq!(proof["leaf_index"], index);
        let path = hashes(&proof["audit_path"]);
        merkle::verify_inclusion(index as u64, size, &hash, &path, &root).unwrap();
        let both = fixture.get(&format!(
            "/ct/v1/get-entry-and-proof?leaf_index={index}&tree_size={size}"
        ));
        assert_eq!(both["audit_path"], proof["audit_path"]);
        assert_eq!(both["leaf_input"], shown[index]["leaf_input"]);
        assert_eq!(both["extra_data"], shown[index]["extra_data"]);
    }
    // PrecertChainEntry: the precertificate as it came, then intermediate and root.
    let extra = BASE64_STANDARD
        .decode(shown[0]["extra_data"].as_str().unwrap())
        .unwrap();
    let sized = |der: &[u8]| [&(der.len() as u32).to_be_bytes()[1..], der].concat();
    let issuers = [
        sized(&fixture.lab.intermediate_certificate),
        sized(&fixture.lab.root_certificate),
    ]
    .concat();
    let expected = [sized(&fixture.precertificate(1)), sized(&issuers)].concat();
    assert_eq!(
        extra[expected.len() - sized(&issuers).len()..],
        sized(&issuers)
    );
    // ECDSA signatures of the forge are deterministic, so all of it is equal.
    assert_eq!(extra, expected);

    for (nth, (new, new_root)) in heads.iter().enumerate() {
        for (old, old_root) in &heads[..=nth] {
            let target = format!("/ct/v1/get-sth-consistency?first={old}&second={new}");
            let proof = hashes(&fixture.get(&target)["consistency"]);
            merkle::verify_consistency(*old, *new, &proof, old_root, new_root).unwrap();
        }
    }
    let roots = fixture.get("/ct/v1/get-roots");
    let root = BASE64_STANDARD.encode(&fixture.lab.root_certificate);
    assert_eq!(roots, json!({ "certificates": [root] }));
}

#[test]
fn what_is_no_chain_is_refused() {
    let fixture = Fixture::new();
    let lab = &fixture.lab;
    let (pre, root) = (fixture.precertificate(1), lab.root_certificate.clone());
    let intermediate = lab.intermediate_certificate.clone();
    let good = fixture.chain(pre.clone());
    let spec = fixture.spec(1);
    let plain = spec.sign(&lab.intermediate);
    let not_critical = fixture.finish(&spec, extension(POISON, false, &null()));
    let not_null = fixture.finish(&spec, extension(POISON, true, &int(1)));
    // A root of the same name with another key.
    let stranger = Key::p384(77);
    let strangers_root = ca(&root_name(), &root_name(), &stranger, &stranger, None).sign(&stranger);
    let strangers_intermediate = ca(
        &intermediate_name(),
        &root_name(),
        &lab.intermediate,
        &stranger,
        Some(0),
    )
    .sign(&stranger);
    // A leaf that plays the authority.
    let user = Key::p256(50);
    let leaf = lab.leaf(&user).sign(&lab.intermediate);
    let mut below = spec.clone();
    below.issuer = seq(&[]); // the subject of a leaf
    below.extensions = vec![authority_key_id(&user), extension(POISON, true, &null())];
    let below = below.sign(&user);
    // Too long for an entry of the tree, short enough for a certificate.
    let padded = |count: usize| {
        let padding = extension("1.2.3.4", false, &octets(&vec![0; count]));
        fixture.finish(&spec, padding)
    };
    let long = padded(64_000 + 65_528 - padded(64_000).len());
    assert!((65_520..=65_536).contains(&long.len()), "{}", long.len());
    let other_name = {
        let mut spec = spec.clone();
        spec.issuer = name("example.test", "somebody else");
        fixture.finish(&spec, extension(POISON, true, &null()))
    };

    let rows: Vec<(&str, &str, Vec<Vec<u8>>, &str)> = vec![
        ("empty", PRE, vec![], "a chain of 0 certificates"),
        (
            "long",
            PRE,
            vec![pre.clone(); 9],
            "a chain of 9 certificates",
        ),
        ("nonsense", PRE, vec![b"nonsense".to_vec()], ""),
        (
            "alone",
            PRE,
            vec![pre.clone()],
            "not end at a root of this log",
        ),
        ("no poison", PRE, fixture.chain(plain), "no critical poison"),
        (
            "poison not critical",
            PRE,
            fixture.chain(not_critical),
            "no critical poison",
        ),
        (
            "poison not null",
            PRE,
            fixture.chain(not_null),
            "no critical poison",
        ),
        (
            "poison in add-chain",
            ADD,
            good.clone(),
            "is a precertificate",
        ),
        (
            "order",
            PRE,
            vec![pre.clone(), root.clone(), intermediate.clone()],
            "certificate 0 of the chain",
        ),
        (
            "other root",
            PRE,
            vec![pre.clone(), strangers_intermediate, strangers_root.clone()],
            "not end at a root of this log",
        ),
        (
            "root of the same name",
            PRE,
            vec![pre, intermediate, strangers_root],
            "certificate 1 of the chain",
        ),
        (
            "leaf as authority",
            PRE,
            [vec![below], fixture.chain(leaf)].concat(),
            "is not a CA certificate",
        ),
        (
            "issuer's name",
            PRE,
            fixture.chain(other_name),
            "certificate 0 of the chain",
        ),
        ("too long", ADD, fixture.chain(long), "over the limit"),
    ];
    for (what, path, chain, words) in rows {
        let answer = fixture.submit(path, &chain);
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 400, "{what}: {text}");
        assert!(text.contains(words), "{what}: {text}");
    }
    for body in ["", "{", "[]", r#"{"chain":["?"]}"#, r#"{"chain":"AAAA"}"#] {
        let answer = fixture.ask(Method::Post, PRE, body.as_bytes());
        assert_eq!(answer.status, 400, "{body}");
    }
    assert_eq!(fixture.size(), 0);
    fixture.promised(PRE, &good);

    for (target, status) in [
        ("/ct/v1/get-entries?start=0", 400),
        ("/ct/v1/get-entries?start=1&end=1", 400),
        ("/ct/v1/get-entries?start=1&end=0", 400),
        ("/ct/v1/get-entries?start=-1&end=0", 400),
        ("/ct/v1/get-sth-consistency?first=1&second=2", 400),
        ("/ct/v1/get-sth-consistency?first=1&second=0", 400),
        ("/ct/v1/get-proof-by-hash?tree_size=1&hash=AAAA", 400),
        ("/ct/v1/get-entry-and-proof?leaf_index=1&tree_size=1", 400),
        ("/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=2", 400),
        ("/ct/v1/add-pre-chain", 405),
        ("/ct/v1/nothing", 404),
        ("/", 404),
    ] {
        assert_eq!(
            fixture.ask(Method::Get, target, b"").status,
            status,
            "{target}"
        );
    }
    assert_eq!(fixture.ask(Method::Post, "/ct/v1/get-sth", b"").status, 405);
}
