//! gitseal against other implementations of the same protocols: OpenSSL, real
//! Fulcio, the npm packages of Sigstore, cosign, the Python client, rekor-cli
//! and the timestamp authority. Everything runs on loopback and is bounded in
//! time. A peer that is not installed is a skipped test that says so;
//! `.ci/peers` installs them.
//!
//! gitsign itself is not among them, since no package registry has it; what it
//! made is in `tests/data/gitsign`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;

use serde_json::{Value, json};

use support::{
    ALICE,
    peers::{Repository, command, fail, openssl, peer, program, source, succeed},
    process::{Server, free_port, listens, run},
    servers::Lab,
};

/// OpenSSL reads our CMS, finds the digest right, the signature right, and the
/// certificate chain of the signer right.
#[test]
fn openssl_verifies_our_signature() {
    let Some(openssl) = openssl() else {
        return;
    };
    let lab = Lab::without_login();
    let repository = Repository::new(&lab, &[]);
    let commit = repository.commit("for openssl");
    let (payload, der) = repository.signed_parts(&commit);
    let payload_file = lab.file("payload", &payload);
    let signature = lab.file("signature.der", &der);
    let trust = lab.servers.trusted_root();
    let chain = trust["certificateAuthorities"][0]["certChain"]["certificates"]
        .as_array()
        .unwrap();
    let pem = |certificate: &Value| {
        let base64 = certificate["rawBytes"].as_str().unwrap();
        let lines: Vec<&str> = base64
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    };
    let authorities: String = chain.iter().map(pem).collect();
    let authorities = lab.file("authorities.pem", authorities);
    let verify = |content: &std::path::Path| {
        let mut command = command(&lab, &openssl);
        command
            .args(["cms", "-verify", "-binary", "-inform", "DER", "-in"])
            .arg(&signature)
            .arg("-content")
            .arg(content)
            .arg("-CAfile")
            .arg(&authorities)
            .args(["-purpose", "any", "-out"])
            .arg(lab.path("verified"));
        command
    };
    succeed(&mut verify(&payload_file));
    assert_eq!(fs::read_to_string(lab.path("verified")).unwrap(), payload);
    let tampered = lab.file("tampered", payload.replace("for openssl", "for 0penssl"));
    let said = fail(&mut verify(&tampered));
    assert!(said.contains("content verify error"), "{said}");
}

/// A certificate authority of another make: npm `@sigstore/mock`. Its root
/// issues directly (no intermediate), the identity is a URI, its CT log is its
/// own.
#[test]
fn the_npm_mock_of_fulcio_issues_to_our_client() {
    let (Some(modules), Some(node)) = (
        peer("node").filter(|dir| dir.join("node_modules/@sigstore/mock").exists()),
        program("node", "--version"),
    ) else {
        return;
    };
    let lab = Lab::without_login();
    let out = lab.path("mock.json");
    let script = source("mock-fulcio.mjs");
    let mut server = Server::start(
        command(&lab, node).arg(script).arg(modules).arg(&out),
        lab.path("mock.log"),
    );
    let mock: Value = server.wait(|| serde_json::from_slice(&fs::read(&out).ok()?).ok());

    let mut trust = lab.servers.trusted_root();
    trust["certificateAuthorities"] = mock["certificateAuthorities"].clone();
    trust["ctlogs"] = mock["ctlogs"].clone();
    let trust = lab.file("mock_trusted_root.json", trust.to_string());
    let mut repository = Repository::new(
        &lab,
        &[
            ("gitseal.fulcio", mock["url"].as_str().unwrap()),
            ("gitseal.trustedRoot", &trust.to_string_lossy()),
        ],
    );
    repository.token = mock["token"].as_str().unwrap().to_owned();
    let commit = repository.commit("certified by another make");
    repository.verify(
        &commit,
        "https://builder.mock.test/workflow",
        "https://issuer.mock.test",
    );
}

/// Real Fulcio, with our issuer's tokens and our CT log, issues to our client.
/// It runs with the reference CA's key and chain, which our CT log accepts.
#[test]
fn real_fulcio_issues_to_our_client() {
    let Some(fulcio) = peer("bin/fulcio") else {
        return;
    };
    let lab = Lab::without_login();
    let config = lab.file(
        "fulcio.yaml",
        format!(
            "oidc-issuers:\n  {0}:\n    issuer-url: {0}\n    client-id: sigstore\n    type: email\n",
            lab.issuer()
        ),
    );
    let trust = lab.servers.trusted_root();
    let ct_log = trust["ctlogs"][0]["baseUrl"].as_str().unwrap();
    let (http, grpc, metrics) = (free_port(), free_port(), free_port());
    let mut server = Server::start(
        command(&lab, fulcio)
            .args(["serve", "--host", "127.0.0.1", "--port", &http.to_string()])
            .args(["--grpc-host", "127.0.0.1", "--grpc-port", &grpc.to_string()])
            .args(["--metrics-port", &metrics.to_string()])
            .arg("--legacy-unix-domain-socket")
            .arg(format!("@gitseal-peers-{}-{http}", std::process::id()))
            .args(["--ca", "fileca", "--fileca-watch=false"])
            .arg("--fileca-cert")
            .arg(lab.servers.file(CA_CHAIN))
            .arg("--fileca-key")
            .arg(lab.servers.file(CA_KEY))
            .args(["--fileca-key-passwd", "unused"])
            .args(["--ct-log-url", ct_log])
            .arg("--ct-log-public-key-path")
            .arg(lab.servers.file(CT_KEY))
            .arg("--config-path")
            .arg(config),
        lab.path("fulcio.log"),
    );
    let url = format!("http://127.0.0.1:{http}");
    server.wait(|| listens(&url));
    let repository = Repository::new(&lab, &[("gitseal.fulcio", &url)]);
    let commit = repository.commit("certified by the real one");
    assert!(
        server.log().contains("/api/v") || server.log().contains("CreateSigningCertificate"),
        "real Fulcio was not asked:\n{}",
        server.log()
    );
    repository.verify(&commit, ALICE, &lab.issuer());
}

/// The files that the reference servers keep, as their documentation names them.
const CA_CHAIN: &str = "fulcio.pem";
const CA_KEY: &str = "keys/fulcio.pem";
const CT_KEY: &str = "ctfe.pub";

/// cosign signs a file with our servers (token, certificate, SCT, log, and a
/// timestamp), and verifies what it got.
#[test]
fn cosign_signs_and_verifies_with_our_servers() {
    let Some(cosign) = peer("bin/cosign") else {
        return;
    };
    let lab = Lab::without_login();
    let artifact = lab.file("artifact", "signed by cosign\n");
    let bundle = lab.path("cosign.bundle");
    let cosign = || {
        let mut command = command(&lab, &cosign);
        command.env("TUF_ROOT", lab.path("tuf"));
        command
    };
    succeed(
        cosign()
            .args(["sign-blob", "--yes", "--signing-config"])
            .arg(lab.servers.file("signing_config.json"))
            .arg("--trusted-root")
            .arg(lab.servers.file("trusted_root.json"))
            .arg("--identity-token")
            .arg(lab.file("token", lab.servers.token(&[])))
            .arg("--bundle")
            .arg(&bundle)
            .arg(&artifact),
    );
    let made: Value = serde_json::from_slice(&fs::read(&bundle).unwrap()).unwrap();
    assert!(made["verificationMaterial"]["tlogEntries"][0]["inclusionProof"].is_object());
    let verify = |artifact: &std::path::Path, identity: &str| {
        let mut command = cosign();
        command
            .args(["verify-blob", "--trusted-root"])
            .arg(lab.servers.file("trusted_root.json"))
            .arg("--bundle")
            .arg(&bundle)
            .args(["--certificate-identity", identity])
            .args(["--certificate-oidc-issuer", &lab.issuer()])
            .arg(artifact);
        command
    };
    succeed(&mut verify(&artifact, ALICE));
    fail(&mut verify(&artifact, "mallory@example.test"));
    fail(&mut verify(&lab.file("other", "not signed\n"), ALICE));
}

/// The Python client signs and verifies with our servers: a CSR at Fulcio, the
/// strictest reader of certificates.
#[test]
fn the_python_client_signs_and_verifies_with_our_servers() {
    let Some(sigstore) = peer("python/bin/sigstore") else {
        return;
    };
    let lab = Lab::without_login();
    let artifact = lab.file("artifact", "signed by the Python client\n");
    let bundle = lab.path("python.sigstore.json");
    let sigstore = || {
        let mut command = command(&lab, &sigstore);
        command
            .arg("--trust-config")
            .arg(lab.servers.file("client_trust_config.json"));
        command
    };
    succeed(
        sigstore()
            .args([
                "sign",
                "--identity-token",
                &lab.servers.token(&[]),
                "--bundle",
            ])
            .arg(&bundle)
            .arg(&artifact),
    );
    let verify = |artifact: &std::path::Path, identity: &str| {
        let mut command = sigstore();
        command
            .args(["verify", "identity", "--bundle"])
            .arg(&bundle)
            .args(["--cert-identity", identity])
            .args(["--cert-oidc-issuer", &lab.issuer()])
            .arg(artifact);
        command
    };
    succeed(&mut verify(&artifact, ALICE));
    fail(&mut verify(&artifact, "mallory@example.test"));
    fail(&mut verify(&lab.file("other", "not signed\n"), ALICE));
}

/// The JavaScript client signs with our servers and verifies the bundle.
#[test]
fn the_npm_client_signs_and_verifies_with_our_servers() {
    let (Some(modules), Some(node)) = (
        peer("node").filter(|dir| dir.join("node_modules/@sigstore/sign").exists()),
        program("node", "--version"),
    ) else {
        return;
    };
    let lab = Lab::without_login();
    let artifact = lab.file("artifact", "signed by the npm client\n");
    let script = source("sigstore-js.mjs");
    let tsa = lab.servers.tsa();
    let tsa = tsa.strip_suffix("/api/v1/timestamp").unwrap_or(&tsa);
    let said = succeed(
        command(&lab, node)
            .arg(script)
            .arg(modules)
            .arg(lab.file("token", lab.servers.token(&[])))
            .arg(lab.servers.file("trusted_root.json"))
            .args([&lab.servers.fulcio(), &lab.servers.rekor(), tsa])
            .arg(artifact),
    );
    assert_eq!(said.trim(), ALICE);
}

/// Every command of rekor-cli that reads or writes entries, against our log,
/// with the log's key given and not fetched.
#[test]
fn rekor_cli_works_with_our_log() {
    let (Some(rekor), Some(openssl)) = (peer("bin/rekor-cli"), openssl()) else {
        return;
    };
    let lab = Lab::without_login();
    // Entries of ours: two signed commits.
    let repository = Repository::new(&lab, &[]);
    let commit = repository.commit("in the log");
    repository.commit("in the log too");
    let (_, der) = repository.signed_parts(&commit);
    drop(der);

    // An entry of theirs: a file signed with a plain key.
    let artifact = lab.file("artifact", "uploaded by rekor-cli\n");
    let (key, public, signature) = (
        lab.path("key.pem"),
        lab.path("key.pub"),
        lab.path("artifact.sig"),
    );
    succeed(
        command(&lab, &openssl)
            .args([
                "ecparam",
                "-name",
                "prime256v1",
                "-genkey",
                "-noout",
                "-out",
            ])
            .arg(&key),
    );
    succeed(
        command(&lab, &openssl)
            .args(["ec", "-pubout", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(&public),
    );
    succeed(
        command(&lab, &openssl)
            .args(["dgst", "-sha256", "-sign"])
            .arg(&key)
            .arg("-out")
            .arg(&signature)
            .arg(&artifact),
    );

    let log_key = fs::read_to_string(lab.servers.file(REKOR_KEY)).unwrap();
    let rekor = |arguments: &[&str]| {
        let mut command = command(&lab, &rekor);
        command
            .env("REKOR_REKOR_SERVER_PUBLIC_KEY", &log_key)
            .args(arguments)
            .args([
                "--rekor_server",
                &lab.servers.rekor(),
                "--retry",
                "0",
                "--timeout",
                "20s",
            ]);
        command
    };
    let json = |arguments: &[&str]| -> Value {
        let text = succeed(rekor(arguments).args(["--format", "json"]));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{text}"))
    };
    let files = [
        "--artifact",
        artifact.to_str().unwrap(),
        "--signature",
        signature.to_str().unwrap(),
        "--public-key",
        public.to_str().unwrap(),
        "--pki-format",
        "x509",
    ];
    let with_files = |first: &'static str| -> Vec<&str> { [&[first][..], &files[..]].concat() };

    let before = json(&["loginfo"]);
    assert_eq!(before["ActiveTreeSize"], json!(2), "{before}");

    let uploaded = json(&with_files("upload"));
    assert_eq!(uploaded["AlreadyExists"], json!(false), "{uploaded}");
    assert_eq!(uploaded["Index"], json!(2), "{uploaded}");
    let again = json(&with_files("upload"));
    assert_eq!(again["AlreadyExists"], json!(true), "{again}");

    let found = json(&["search", "--artifact", artifact.to_str().unwrap()]);
    let uuid = found["UUIDs"][0].as_str().expect("one UUID").to_owned();
    assert_eq!(found["UUIDs"].as_array().unwrap().len(), 1, "{found}");
    let by_key = json(&[
        "search",
        "--public-key",
        public.to_str().unwrap(),
        "--pki-format",
        "x509",
    ]);
    assert_eq!(by_key["UUIDs"], found["UUIDs"]);
    let by_mail = json(&["search", "--email", ALICE]);
    assert_eq!(by_mail["UUIDs"].as_array().unwrap().len(), 2, "{by_mail}");
    let nothing = fail(&mut rekor(&["search", "--email", "nobody@example.test"]));
    assert!(nothing.contains("no matching entries found"), "{nothing}");

    let entry = json(&["get", "--uuid", &uuid]);
    assert_eq!(entry["LogIndex"], json!(2), "{entry}");
    assert!(entry["Body"]["HashedRekordObj"].is_object(), "{entry}");
    let by_index = json(&["get", "--log-index", "2"]);
    assert_eq!(by_index["UUID"], entry["UUID"]);
    let tle: Value = serde_json::from_str(&succeed(
        rekor(&["get", "--uuid", &uuid]).args(["--format", "tle"]),
    ))
    .expect("a transparency log entry");
    assert!(
        tle["inclusionProof"]["checkpoint"]["envelope"].is_string(),
        "{tle}"
    );

    let verified = json(&["verify", "--uuid", &uuid]);
    assert_eq!(verified["Index"], json!(2), "{verified}");
    assert_eq!(json(&["verify", "--log-index", "0"])["Index"], json!(0));
    assert_eq!(json(&with_files("verify"))["Index"], json!(2));

    // The second loginfo proves consistency with the first one's state.
    let after = json(&["loginfo"]);
    assert_eq!(after["ActiveTreeSize"], json!(3), "{after}");
    run(&mut rekor(&["loginfo"]), b"").says("Verification Successful!");
    let proof = json(&["logproof", "--first-size", "1", "--last-size", "3"]);
    assert_eq!(proof["RootHash"], after["RootHash"], "{proof}");
    assert!(!proof["Hashes"].as_array().unwrap().is_empty());

    // A log with another key is not believed.
    let mut wrong = rekor(&["verify", "--uuid", &uuid]);
    wrong.env(
        "REKOR_REKOR_SERVER_PUBLIC_KEY",
        fs::read_to_string(&public).unwrap(),
    );
    fail(&mut wrong);
}

const REKOR_KEY: &str = "rekor.pub";

/// The timestamp authority of Sigstore stamps our signatures, and verification
/// under a trust root with its chain holds.
#[test]
fn the_timestamp_server_stamps_our_signatures() {
    let (Some(server), Some(openssl)) = (peer("bin/timestamp-server"), openssl()) else {
        return;
    };
    let lab = Lab::without_login();
    let port = free_port();
    let mut server = Server::start(
        command(&lab, server)
            .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--timestamp-signer", "memory", "--disable-ntp-monitoring"]),
        lab.path("timestamp-server.log"),
    );
    let base = format!("http://127.0.0.1:{port}");
    server.wait(|| listens(&base));
    let chain = http_get(&format!("{base}/api/v1/timestamp/certchain"));
    let certificates: Vec<Value> = chain
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|block| {
            let base64: String = block
                .lines()
                .take_while(|line| !line.starts_with('-'))
                .collect();
            json!({ "rawBytes": base64 })
        })
        .collect();
    assert!(certificates.len() >= 2, "{chain}");
    let url = format!("{base}/api/v1/timestamp");
    let mut trust = lab.servers.trusted_root();
    trust["timestampAuthorities"] = json!([{
        "subject": { "organization": "local", "commonName": "Test TSA Timestamping" },
        "uri": url,
        "certChain": { "certificates": certificates },
        "validFor": { "start": "2020-01-01T00:00:00Z" },
    }]);
    let trust = lab.file("tsa_trusted_root.json", trust.to_string());
    let repository = Repository::new(
        &lab,
        &[
            ("gitseal.timestampServerURL", &url),
            ("gitseal.trustedRoot", &trust.to_string_lossy()),
        ],
    );
    let commit = repository.commit("stamped");
    let (_, der) = repository.signed_parts(&commit);
    let signature = lab.file("stamped.der", der);
    let structure = succeed(
        command(&lab, &openssl)
            .args([
                "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in",
            ])
            .arg(signature),
    );
    assert!(
        structure.contains("id-smime-aa-timeStampToken"),
        "no timestamp in the signature"
    );
    repository.verify(&commit, ALICE, &lab.issuer());
    // Under a trusted root that does not name this authority, the log's time remains.
    let unknown = lab.servers.file("trusted_root.json");
    let setting = format!("gitseal.trustedRoot={}", unknown.display());
    repository
        .git(["-c", &setting, "verify-commit", &commit])
        .ok()
        .says("integrated time signed by the log");
}

/// One GET over a plain socket.
fn http_get(url: &str) -> String {
    use std::io::{Read, Write};
    let url = url::Url::parse(url).unwrap();
    let authority = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut stream = std::net::TcpStream::connect(&authority).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .unwrap();
    write!(
        stream,
        "GET {} HTTP/1.0\r\nHost: {authority}\r\n\r\n",
        url.path()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Rekor v2 (tiles) as Sigstore builds it records our signatures; the time comes
/// from our timestamp authority, since such a log has none.
#[test]
fn rekor_tiles_records_our_signatures() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest as _, Sha256};

    let (Some(server), Some(openssl)) = (peer("bin/posix"), openssl()) else {
        return;
    };
    let mut lab = Lab::without_login();
    let (key, public) = (lab.path("tiles.pem"), lab.path("tiles.der"));
    succeed(
        command(&lab, &openssl)
            .args(["genpkey", "-algorithm", "ed25519", "-out"])
            .arg(&key),
    );
    succeed(
        command(&lab, &openssl)
            .args(["pkey", "-pubout", "-outform", "DER", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(&public),
    );
    let (http, grpc, metrics) = (free_port(), free_port(), free_port());
    let mut server = Server::start(
        command(&lab, server)
            .args([
                "serve",
                "--http-address",
                "127.0.0.1",
                "--grpc-address",
                "127.0.0.1",
            ])
            .args(["--http-port", &http.to_string()])
            .args(["--grpc-port", &grpc.to_string()])
            .args(["--http-metrics-port", &metrics.to_string()])
            .args(["--hostname", "127.0.0.1", "--checkpoint-interval", "1s"])
            .args(["--batch-max-age", "50ms", "--storage-dir"])
            .arg(lab.path("tiles"))
            .arg("--signer-filepath")
            .arg(&key),
        lab.path("tiles.log"),
    );
    let url = format!("http://127.0.0.1:{http}");
    server.wait(|| listens(&url));
    let spki = fs::read(&public).unwrap();
    // C2SP signed-note: the key id of an Ed25519 key; Rekor v2 takes all of it.
    let mut named = b"127.0.0.1\n\x01".to_vec();
    named.extend_from_slice(&spki[spki.len() - 32..]);
    let mut trust = lab.servers.trusted_root();
    trust["tlogs"] = json!([{
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": STANDARD.encode(&spki),
            "keyDetails": "PKIX_ED25519",
            "validFor": { "start": "2020-01-01T00:00:00Z" },
        },
        "logId": { "keyId": STANDARD.encode(Sha256::digest(&named)) },
    }]);
    let trust = lab.file("tiles_trusted_root.json", trust.to_string());
    let repository = Repository::new(
        &lab,
        &[
            ("gitseal.rekor", &url),
            ("gitseal.rekorVersion", "2"),
            ("gitseal.timestampServerURL", &lab.servers.tsa()),
            ("gitseal.trustedRoot", &trust.to_string_lossy()),
        ],
    );
    // The first entry has index 0, which the message leaves out.
    for message in ["the first entry of a log", "the second"] {
        let commit = repository.commit(message);
        repository.verify(&commit, ALICE, &lab.issuer());
    }
    repository.git(["tag", "-s", "-m", "t", "v1"]).ok();
    let path = repository.path.clone();
    lab.stop();
    lab.git(&path, &["verify-tag", "v1"]);
}
