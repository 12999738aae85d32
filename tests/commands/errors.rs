//! What the reference Fulcio and timestamp authority answer to what they do not
//! take: statuses, codes and words are those that clients were written for.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use crate::support::{ALICE, peers, servers::Lab};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    elliptic_curve::Generate as _,
    pkcs8::{EncodePublicKey as _, LineEnding},
};
use serde_json::{Value, json};
use url::Url;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&self.body)))
    }
}

fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let url = Url::parse(url).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect((host, port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {}\r\nConnection: close\r\n",
        url.path(),
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A server that has read enough may close before all is sent.
    drop(stream.write_all(format!("{head}\r\n").as_bytes()));
    drop(stream.write_all(body));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {}", text(&answer)));
    let head = text(&answer[..end]);
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: answer[end + 4..].to_vec(),
        head: head.to_ascii_lowercase(),
    }
}

const TOKEN: &str = "There was an error processing the identity token";
const KEY: &str = "The public key supplied in the request could not be parsed";
const WEAK: &str = "The public key supplied in the request is insecure";
const PROOF: &str = "The signature supplied in the request could not be verified";
const REQUEST: &str = "The certificate signing request could not be parsed";

/// A key and its proof, in the form of the second version.
fn proven(key: &SigningKey, over: &str) -> Value {
    let pem = key
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .unwrap();
    let proof: Signature = key.sign(over.as_bytes());
    json!({"publicKeyRequest": {
        "publicKey": {"algorithm": "ECDSA", "content": pem},
        "proofOfPossession": STANDARD.encode(proof.to_der()),
    }})
}

#[test]
fn what_fulcio_refuses() {
    let lab = Lab::start();
    let v2 = format!("{}/api/v2/signingCert", lab.servers.fulcio());
    let v1 = format!("{}/api/v1/signingCert", lab.servers.fulcio());
    let good = lab.servers.token(&[]);
    let key = SigningKey::generate();
    let proven = |over: &str| proven(&key, over);
    let refused = |url: &str, token: &str, body: &[u8]| {
        let bearer = format!("Bearer {token}");
        let answer = ask("POST", url, &[("Authorization", &bearer)], body);
        assert!(
            answer.head.contains("content-type: application/json"),
            "{}",
            answer.head
        );
        let said = answer.json();
        (
            answer.status,
            said["code"].as_i64().unwrap(),
            said["message"].as_str().unwrap().to_owned(),
        )
    };
    let is = |found: (u16, i64, String), words: &str| {
        assert_eq!((found.0, found.1, found.2.as_str()), (400, 3, words));
    };
    let with_proof = proven(ALICE).to_string();
    // The token: whatever is wrong with it, the answer says only that.
    let (head, rest) = good.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    for bad in [
        String::new(),
        "no token".to_owned(),
        format!("{head}.{claims}.AAAA"),
        lab.servers.token(&["--audience", "another"]),
        ".".repeat(4000),
    ] {
        is(refused(&v2, &bad, with_proof.as_bytes()), TOKEN);
        is(refused(&v1, &bad, b"{}"), TOKEN);
    }
    // The key.
    is(refused(&v2, &good, b"{}"), KEY);
    is(refused(&v2, &good, b""), KEY);
    is(refused(&v1, &good, b"{}"), KEY);
    let mut other = proven(ALICE);
    other["publicKeyRequest"]["publicKey"]["content"] = json!("no key");
    is(refused(&v2, &good, other.to_string().as_bytes()), KEY);
    // The proof: over another's name, by another key, none.
    for bad in [
        proven("bob@example.test"),
        {
            let mut swapped = proven(ALICE);
            let others = self::proven(&SigningKey::generate(), ALICE);
            swapped["publicKeyRequest"]["proofOfPossession"] =
                others["publicKeyRequest"]["proofOfPossession"].clone();
            swapped
        },
        {
            let mut none = proven(ALICE);
            none["publicKeyRequest"]["proofOfPossession"] = json!("");
            none
        },
    ] {
        is(refused(&v2, &good, bad.to_string().as_bytes()), PROOF);
    }
    // Certificate requests.
    let request = |pem: &str| json!({"certificateSigningRequest": STANDARD.encode(pem)});
    is(
        refused(&v2, &good, request("no request").to_string().as_bytes()),
        REQUEST,
    );
    let mut both = proven(ALICE);
    both["certificateSigningRequest"] = request("x")["certificateSigningRequest"].clone();
    let (status, code, words) = refused(&v2, &good, both.to_string().as_bytes());
    assert_eq!((status, code), (400, 3));
    assert!(words.contains("is already set"), "{words}");
    // No JSON, and too much of it.
    let (status, code, _) = refused(&v2, &good, b"not json");
    assert_eq!((status, code), (400, 3));
    // What is right is still taken, with a bare token and by either door.
    let header = [("Authorization", good.as_str())];
    assert_eq!(ask("POST", &v2, &header, with_proof.as_bytes()).status, 200);
    let der = key.verifying_key().to_public_key_der().unwrap();
    let proof: Signature = key.sign(ALICE.as_bytes());
    let first = json!({
        "publicKey": {"content": STANDARD.encode(der.as_bytes()), "algorithm": "ecdsa"},
        "signedEmailAddress": STANDARD.encode(proof.to_der()),
        "certificateSigningRequest": null,
    });
    let answer = ask("POST", &v1, &header, first.to_string().as_bytes());
    assert_eq!(answer.status, 201);
    assert!(
        answer
            .head
            .contains("content-type: application/pem-certificate-chain")
    );
    assert!(!answer.body.ends_with(b"\n"));
}

#[test]
fn which_keys_fulcio_refuses() {
    let Some(program) = peers::openssl() else {
        return;
    };
    let openssl = |arguments: &[&str]| {
        let said = Command::new(&program).args(arguments).output().unwrap();
        assert!(said.status.success(), "{}", text(&said.stderr));
        said.stdout
    };
    let lab = Lab::start();
    let url = format!("{}/api/v2/signingCert", lab.servers.fulcio());
    let good = lab.servers.token(&[]);
    let refused = |body: Value| {
        let bearer = format!("Bearer {good}");
        let headers = [("Authorization", bearer.as_str())];
        let answer = ask("POST", &url, &headers, body.to_string().as_bytes());
        let said = answer.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (answer.status, said)
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let file = file.to_str().unwrap();
    for (kind, words) in [
        (&["RSA", "-pkeyopt", "rsa_keygen_bits:1024"][..], WEAK),
        (
            &[
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-pkeyopt",
                "rsa_keygen_pubexp:3",
            ],
            WEAK,
        ),
        (&["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], KEY),
    ] {
        let mut make = vec!["genpkey", "-out", file, "-algorithm"];
        make.extend_from_slice(kind);
        openssl(&make);
        let pem = openssl(&["pkey", "-in", file, "-pubout"]);
        let body = json!({"publicKeyRequest": {
            "publicKey": {"content": text(&pem)}, "proofOfPossession": "AAAA",
        }});
        assert_eq!(refused(body), (400, words.to_owned()), "{kind:?}");
    }
    // A request that was signed with another hash than belongs to its key.
    let curve = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let mut make = vec!["genpkey", "-out", file, "-algorithm"];
    make.extend_from_slice(&curve);
    openssl(&make);
    let request = |digest: &str, form: &str| {
        openssl(&[
            "req", "-new", "-key", file, "-subj", "/CN=x", digest, "-outform", form,
        ])
    };
    let body = |bytes: &[u8]| json!({"certificateSigningRequest": STANDARD.encode(bytes)});
    let (status, words) = refused(body(&request("-sha384", "PEM")));
    assert_eq!(status, 400);
    assert!(
        words.starts_with("signing algorithm not permitted"),
        "{words}"
    );
    assert_eq!(
        refused(body(&request("-sha256", "DER"))),
        (400, REQUEST.to_owned())
    );
    assert_eq!(refused(body(&request("-sha256", "PEM"))).0, 200);
}

#[test]
fn doors_that_fulcio_does_not_have() {
    let lab = Lab::start();
    let fulcio = lab.servers.fulcio();
    for (method, path, status, code, words) in [
        ("GET", "/api/v2/signingCert", 501, 12, "Method Not Allowed"),
        ("PUT", "/api/v1/signingCert", 501, 12, "Method Not Allowed"),
        ("POST", "/api/v2/trustBundle", 501, 12, "Method Not Allowed"),
        ("GET", "/", 404, 5, "Not Found"),
        ("GET", "/api/v2/trustBundle/", 404, 5, "Not Found"),
        ("POST", "//api/v2/signingCert", 404, 5, "Not Found"),
    ] {
        let answer = ask(method, &format!("{fulcio}{path}"), &[], b"");
        let said = answer.json();
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(said["code"], json!(code), "{method} {path}");
        assert_eq!(said["message"], json!(words), "{method} {path}");
    }
    let health = ask("GET", &format!("{fulcio}/healthz"), &[], b"");
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"status": "SERVING"}))
    );
}

#[test]
fn what_the_timestamp_authority_refuses() {
    let lab = Lab::start();
    let url = lab.servers.tsa();
    let base = Url::parse(&url).unwrap();
    let other = |path: &str| base.join(path).unwrap().to_string();
    const QUERY: &str = "application/timestamp-query";
    let digest = STANDARD.encode([7; 32]);
    let good = json!({"artifactHash": digest, "hashAlgorithm": "sha256"});
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body.to_string().into_bytes()
    };
    let json_type = "application/json";
    for (what, media, body, status) in [
        ("no DER", QUERY, b"no request".to_vec(), 400),
        ("nothing", QUERY, Vec::new(), 400),
        ("too much", QUERY, vec![0x30; 64 << 10], 400),
        ("no type", "text/plain", good.to_string().into_bytes(), 415),
        ("no JSON", json_type, b"{".to_vec(), 400),
        (
            "another hash",
            json_type,
            with("hashAlgorithm", json!("sha1")),
            400,
        ),
        (
            "a digest too short",
            json_type,
            with("artifactHash", json!("AAAA")),
            400,
        ),
        (
            "no base64",
            json_type,
            with("artifactHash", json!("*")),
            400,
        ),
        ("an unknown field", json_type, with("more", json!(1)), 400),
        (
            "another policy",
            json_type,
            with("tsaPolicyOID", json!("1.2.3")),
            400,
        ),
    ] {
        let answer = ask("POST", &url, &[("Content-Type", media)], &body);
        assert_eq!(answer.status, status, "{what}: {}", text(&answer.body));
        let said = answer.json();
        assert_eq!(said["code"], json!(status), "{what}");
        assert!(!said["message"].as_str().unwrap().is_empty(), "{what}");
    }
    assert_eq!(ask("GET", &url, &[], b"").status, 405);
    assert_eq!(ask("GET", &other("/nothing"), &[], b"").status, 404);
    assert_eq!(ask("GET", &other("/ping"), &[], b"").status, 200);
    // What is right is still taken.
    let body = good.to_string();
    let answer = ask(
        "POST",
        &url,
        &[("Content-Type", json_type)],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", text(&answer.body));
    assert!(
        answer
            .head
            .contains("content-type: application/timestamp-reply")
    );
}
