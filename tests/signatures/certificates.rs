//! Certificates, CMS and timestamps that others made, held against second
//! opinions: the manifests beside them, the `x509-cert` and `cms` crates, and
//! OpenSSL. And what is written here, held against what gitsign wrote.
//!
//! What came from other repositories lies beside the checkout (or where
//! `GITSEAL_SHARED` says).

use gitseal_reference::tsa;
use gitseal_services::signed_data as encode;
use gitseal_services::tsa::wire;
use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::support::forge::{self, Key, Lab, NOW};
use crate::support::{gitsign_data, peers, shared};
use const_oid::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use gitseal_evidence::{
    armor,
    certificate::Certificate,
    chain,
    memo::Memo,
    object::{self, HashKind, ObjectKind},
    sct::{self, Sct},
    signed_data::{self, Digest, SignedMessage},
    timestamp,
    trusted_root::TrustedRoot,
};
use serde_json::Value;

/// A line of a manifest and the CMS of its object.
struct Vector {
    line: Value,
    name: String,
    der: Vec<u8>,
}

impl Vector {
    fn text(&self, member: &str) -> &str {
        self.line[member].as_str().unwrap_or_default()
    }

    fn message(&self) -> SignedMessage {
        signed_data::read(&self.der).unwrap_or_else(|refusal| panic!("{}: {refusal}", self.name))
    }
}

fn vectors(dir: &Path, key: &str) -> Vec<Vector> {
    let text = fs::read_to_string(dir.join("manifest.jsonl")).unwrap();
    let found: Vec<Vector> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |member: &str| line[member].as_str().unwrap();
            let name = format!("{}.{}", text(key), text("type"));
            let raw = fs::read(dir.join("objects").join(&name)).unwrap();
            let hash = if text("oid").len() == 64 {
                HashKind::Sha256
            } else {
                HashKind::Sha1
            };
            let kind = ObjectKind::from_type(text("type")).unwrap();
            let object = object::split_signature(kind, hash, &raw).unwrap();
            let der = armor::decode(&object.signature).unwrap();
            Vector { line, name, der }
        })
        .collect();
    assert!(found.len() > 20, "the manifest is nearly empty");
    found
}

/// All that can be read: the one in the draft's encoding is refused.
fn readable() -> Vec<Vector> {
    let mut found = vectors(&gitsign_data(), "name");
    if let Some(dir) = shared("vectors/real") {
        let mut real = vectors(&dir, "oid");
        let all = real.len();
        real.retain(|vector| vector.text("class") != "embedded-draft");
        assert_eq!(all - real.len(), 1);
        found.extend(real);
    }
    found
}

fn trusted(file: &Path) -> TrustedRoot {
    TrustedRoot::from_json(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn certificates_say_what_the_manifest_says() {
    let Some(dir) = shared("vectors/real") else {
        return;
    };
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for vector in vectors(&dir, "oid") {
        let class = vector.text("class").to_owned();
        *classes.entry(class.clone()).or_default() += 1;
        if class == "embedded-draft" {
            let refusal = signed_data::read(&vector.der).unwrap_err();
            assert_eq!(refusal.code(), "cms-draft-log-entry");
            continue;
        }
        let message = vector.message();
        let leaf = &message.leaf;
        let name = &vector.name;
        assert_eq!(leaf.sha1_hex(), vector.text("certificate_sha1"), "{name}");
        let shown = |at: i64| {
            let time = jiff::Timestamp::from_second(at).unwrap().to_string();
            time.replace('T', " ").replace('Z', "+00:00")
        };
        assert_eq!(
            shown(leaf.not_before()),
            vector.text("not_before"),
            "{name}"
        );
        assert_eq!(shown(leaf.not_after()), vector.text("not_after"), "{name}");
        assert_eq!(
            Some(message.others.len() as u64 + 1),
            vector.line["certificates"].as_u64(),
            "{name}"
        );
        assert_eq!(
            Some(message.log_entry.is_some()),
            vector.line["embedded_entry"].as_bool(),
            "{name}"
        );
        // Steps 2 and 3 of everything, the S/MIME one included.
        assert_eq!(message.message_digest.len(), message.digest.of(b"").len());
        let verified = leaf.public_key().and_then(|key| {
            key.verify(
                message.signature_algorithm,
                &message.attributes,
                &message.signature,
            )
        });
        // The fallback without C code knows no RSA, and says so.
        let fallback = cfg!(not(feature = "verify-aws-lc")) && class == "smime";
        let expected = if fallback {
            Err("key-not-in-this-build")
        } else {
            Ok(())
        };
        assert_eq!(verified.map_err(|why| why.code()), expected, "{name}");
        if class == "smime" {
            assert_eq!(leaf.identity().unwrap_err().code(), "certificate-no-issuer");
            continue;
        }
        let identity = leaf
            .identity()
            .unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(
            vector.line["identity"],
            serde_json::json!([identity.san.value()])
        );
        assert_eq!(identity.issuer, vector.text("issuer"), "{name}");
    }
    assert_eq!(classes.len(), 10, "{classes:?}");
}

#[test]
fn chains_and_scts_of_the_public_sigstore() {
    let (Some(dir), Some(public)) = (shared("vectors/real"), shared("vectors/public-good")) else {
        return;
    };
    let trust = trusted(&public.join("trusted_root.json"));
    let mut verified = 0;
    for vector in vectors(&dir, "oid") {
        let class = vector.text("class");
        if class == "embedded-draft" {
            continue;
        }
        let (name, message) = (&vector.name, vector.message());
        let leaf = &message.leaf;
        // Both ends of the validity, and a second outside each.
        let at = |at| chain::verify(leaf, at, &trust.authorities, Memo::disabled());
        if class == "smime" {
            assert_eq!(
                at(leaf.not_before()).unwrap_err().code(),
                "chain-not-sigstore"
            );
            continue;
        }
        for outside in [leaf.not_before() - 1, leaf.not_after() + 1] {
            assert_eq!(at(outside).unwrap_err().code(), "chain-expired", "{name}");
        }
        at(leaf.not_after()).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let chained = at(leaf.not_before()).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        chain::check_extra_certificates(&message.others, chained.authority)
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let signed_at = [leaf.not_before()];
        let promised =
            |issuer| sct::verify(leaf, issuer, &signed_at, &trust.ct_logs, Memo::disabled());
        let sct = promised(chained.issuer);
        if class == "oldroot" {
            assert_eq!(sct.unwrap_err().code(), "sct-absent", "{name}");
            assert_eq!(
                Some(chained.issuer),
                chained.authority.chain.last(),
                "{name}"
            );
            continue;
        }
        let sct = sct.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert!((sct.time() - leaf.not_before()).abs() < 60, "{name}");
        // Not under any other certificate as issuer.
        let root = chained.authority.chain.last().unwrap();
        assert_eq!(promised(root).unwrap_err().code(), "sct-signature");
        verified += 1;
    }
    assert_eq!(verified, 92);
}

#[test]
fn another_parser_reads_the_same_certificates() {
    let mut seen = 0;
    for vector in readable() {
        let message = vector.message();
        for ours in std::iter::once(&message.leaf).chain(&message.others) {
            let theirs = x509_cert::Certificate::from_der(ours.der()).unwrap();
            let tbs = theirs.tbs_certificate();
            assert_eq!(tbs.to_der().unwrap(), ours.tbs());
            assert_eq!(tbs.serial_number().as_bytes(), ours.serial());
            assert_eq!(tbs.issuer().to_der().unwrap(), ours.issuer_der());
            assert_eq!(tbs.subject().to_der().unwrap(), ours.subject_der());
            let spki = tbs.subject_public_key_info().to_der().unwrap();
            assert_eq!(spki, ours.spki());
            let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs() as i64;
            assert_eq!(seconds(&tbs.validity().not_before), ours.not_before());
            assert_eq!(seconds(&tbs.validity().not_after), ours.not_after());
            assert_eq!(Some(ours.signature()), theirs.signature().as_bytes());
            let extensions = tbs.extensions().unwrap();
            assert_eq!(extensions.len(), ours.extensions().len());
            for (theirs, ours) in extensions.iter().zip(ours.extensions()) {
                assert_eq!(theirs.extn_id.as_bytes(), ours.oid);
                assert_eq!(theirs.critical, ours.critical);
                assert_eq!(theirs.extn_value.as_bytes(), ours.value);
            }
            assert_eq!(Certificate::from_pem(&ours.to_pem()).as_ref(), Ok(ours));
            seen += 1;
        }
    }
    assert!(seen >= 27, "{seen}");
}

#[test]
fn what_is_assembled_is_what_gitsign_wrote() {
    let mut same = 0;
    for vector in readable() {
        let message = vector.message();
        let class = vector.text("class");
        let Ok(digest) = <[u8; 32]>::try_from(message.message_digest.as_slice()) else {
            panic!("{}: not SHA-256", vector.name);
        };
        if class == "smime" {
            continue;
        }
        assert_eq!(
            encode::attributes(&digest, message.signing_time).unwrap(),
            message.attributes,
            "{}",
            vector.name
        );
        // The oldest releases put the intermediate into the bag as well.
        if !message.others.is_empty() {
            assert!(matches!(class, "google2" | "odd"), "{}", vector.name);
            continue;
        }
        assert!(message.timestamps.len() <= 1);
        let again = encode::encode_signed_data(
            &message.attributes,
            &message.signature,
            &message.leaf,
            message.log_entry.as_deref(),
            message.timestamps.first().map(Vec::as_slice),
        )
        .unwrap();
        assert_eq!(again, vector.der, "{}", vector.name);
        assert_eq!(
            armor::decode(armor::encode(&again).as_bytes()).unwrap(),
            again
        );
        same += 1;
    }
    assert!(same >= 27, "{same}");
}

#[test]
fn timestamps_of_another_authority() {
    let dir = gitsign_data();
    let trust = trusted(&dir.join("trusted_root.json"));
    let mut stamped = 0;
    for vector in vectors(&dir, "name") {
        let message = vector.message();
        for token in &message.timestamps {
            let verify = |token: &[u8], message: &[u8]| {
                timestamp::verify(
                    token,
                    message,
                    &trust.timestamp_authorities,
                    Memo::disabled(),
                )
            };
            let verified = verify(token, &message.signature).unwrap();
            assert!(message.leaf.is_valid_at(verified.time), "{}", vector.name);
            assert_eq!(
                verify(token, &message.attributes).unwrap_err().code(),
                "timestamp-imprint"
            );
            // Whatever bit is changed, it is refused or says the same.
            for at in 0..token.len() {
                let mut changed = token.clone();
                changed[at] ^= 1;
                if let Ok(again) = verify(&changed, &message.signature) {
                    assert_eq!(again, verified, "{}: byte {at}", vector.name);
                }
            }
            stamped += 1;
        }
    }
    assert!(stamped >= 4, "{stamped}");
}

#[test]
fn no_changed_bit_of_a_certificate_keeps_its_chain() {
    let dir = gitsign_data();
    let trust = trusted(&dir.join("trusted_root.json"));
    let leaf = vectors(&dir, "name").remove(0).message().leaf;
    let at = leaf.not_before();
    chain::verify(&leaf, at, &trust.authorities, Memo::disabled()).unwrap();
    for byte in 0..leaf.der().len() {
        for bit in [0x01, 0x80] {
            let mut der = leaf.der().to_vec();
            der[byte] ^= bit;
            let Ok(changed) = Certificate::from_der(&der) else {
                continue;
            };
            let verdict = chain::verify(&changed, at, &trust.authorities, Memo::disabled());
            assert!(verdict.is_err(), "byte {byte}, bit {bit:#04x}");
        }
    }
}

/// What our own authority makes, for a request of ours.
fn stamp(lab: &Lab, message: &[u8], nonce: Option<&[u8]>, chain: &[Certificate]) -> Vec<u8> {
    let imprint: [u8; 32] = Digest::Sha256.of(message).try_into().unwrap();
    let request = wire::parse_request(&wire::encode_request(&imprint, nonce, true)).unwrap();
    assert_eq!(request.imprint, imprint);
    assert!(request.with_certificate);
    let token = tsa::token(
        &tsa::TokenFields {
            request: &request,
            policy: &ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.2"),
            serial: &[0x80, 1],
            time: NOW + 3,
            chain,
            algorithm: &ObjectIdentifier::new_unwrap(forge::ECDSA_SHA256),
        },
        &|bytes| lab.tsa.sign(bytes),
    )
    .unwrap();
    let response = tsa::encode_response(&token);
    let unwrapped = wire::parse_response(&response, &imprint, nonce).unwrap();
    assert_eq!(unwrapped, token);
    response
}

#[test]
fn our_timestamps_verify_here_and_with_openssl() {
    let lab = Lab::new();
    let trust = TrustedRoot::from_json(lab.trusted_root().as_bytes()).unwrap();
    let chain: Vec<Certificate> = [&lab.tsa_certificate, &lab.tsa_root_certificate]
        .map(|der| Certificate::from_der(der).unwrap())
        .to_vec();
    for nonce in [None, Some(&[0x00, 0xff, 1][..]), Some(&[1; 16])] {
        let response = stamp(&lab, b"signature", nonce, &chain);
        let imprint: [u8; 32] = Digest::Sha256.of(b"signature").try_into().unwrap();
        let token = wire::parse_response(&response, &imprint, nonce).unwrap();
        let verified = timestamp::verify(
            &token,
            b"signature",
            &trust.timestamp_authorities,
            Memo::disabled(),
        )
        .unwrap();
        assert_eq!(verified.time, NOW + 3);

        if peers::openssl().is_none() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let answer = file("answer.tsr", &response);
        let question = file("question.tsq", &wire::encode_request(&imprint, nonce, true));
        let root = file(
            "root.pem",
            forge::pem("CERTIFICATE", &lab.tsa_root_certificate).as_bytes(),
        );
        let data = file("data", b"signature");
        let other = file("other", b"another");
        let check = |flag: &str, what: &Path| {
            Command::new("openssl")
                .args(["ts", "-verify", "-attime", &(NOW + 3).to_string(), flag])
                .arg(what)
                .arg("-in")
                .arg(&answer)
                .arg("-CAfile")
                .arg(&root)
                .output()
                .unwrap()
        };
        for (flag, what, good) in [
            ("-data", &data, true),
            ("-queryfile", &question, true),
            ("-data", &other, false),
        ] {
            let output = check(flag, what);
            assert_eq!(
                output.status.success(),
                good,
                "{flag} {}: {}{}",
                what.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        // And the questions that OpenSSL asks are read.
        let asked = Command::new("openssl")
            .args(["ts", "-query", "-sha256", "-cert", "-data"])
            .arg(&data)
            .output()
            .unwrap();
        let request = wire::parse_request(&asked.stdout).unwrap();
        assert_eq!(request.imprint, imprint);
        assert!(request.nonce.is_some() && request.with_certificate && !request.extensions);
    }
}

#[test]
fn a_precertificate_becomes_a_certificate_with_an_sct() {
    let lab = Lab::new();
    let trust = TrustedRoot::from_json(lab.trusted_root().as_bytes()).unwrap();
    let issuer = Certificate::from_der(&lab.intermediate_certificate).unwrap();
    let poison = forge::der::extension("1.3.6.1.4.1.11129.2.4.3", true, &forge::der::null());
    for log_extensions in [vec![], vec![0, 0, 5, 0, 0, 0, 0, 9]] {
        let mut spec = lab.leaf(&Key::p256(20));
        spec.extensions.push(poison.clone());
        let precertificate = Certificate::from_der(&spec.sign(&lab.intermediate)).unwrap();
        assert!(precertificate.unknown_critical_extension(&[]).is_some());
        let tbs = sct::precert_tbs(&precertificate);

        // What the log signs.
        let timestamp_ms = (NOW * 1000) as u64;
        let entry = sct::CtEntry::Precert {
            issuer_key_hash: issuer.public_key().unwrap().sha256(),
            tbs: &tbs,
        };
        let signed = sct::digitally_signed(timestamp_ms, entry, &log_extensions);
        let answer = Sct::ecdsa_sha256(
            lab.ct.log_id(),
            timestamp_ms,
            log_extensions,
            lab.ct.sign(&signed),
        );
        assert_eq!(Sct::from_bytes(&answer.to_bytes()).as_ref(), Ok(&answer));

        // What the authority issues then.
        spec.extensions.pop();
        let list = sct::encode_list(std::slice::from_ref(&answer));
        spec.extensions.push(forge::der::extension(
            "1.3.6.1.4.1.11129.2.4.2",
            false,
            &list,
        ));
        let leaf = Certificate::from_der(&spec.sign(&lab.intermediate)).unwrap();
        assert_eq!(sct::precert_tbs(&leaf), tbs);
        assert_eq!(sct::embedded(&leaf).unwrap(), std::slice::from_ref(&answer));
        assert_eq!(
            sct::verify(&leaf, &issuer, &[NOW], &trust.ct_logs, Memo::disabled()),
            Ok(answer)
        );
        chain::verify(&leaf, NOW, &trust.authorities, Memo::disabled()).unwrap();
    }
}

#[test]
fn names_read_as_gitsign_prints_them() {
    use crate::support::forge::der::{oid, seq, tlv, utf8};
    let lab = Lab::new();
    let attribute = |kind: &str, value: &[u8]| tlv(0x31, &seq(&[&oid(kind), value]));
    let shown = |parts: &[Vec<u8>]| {
        let mut spec = lab.leaf(&Key::p256(20));
        spec.issuer = tlv(0x30, &parts.concat());
        Certificate::from_der(&spec.sign(&lab.intermediate))
            .unwrap()
            .issuer_text()
    };
    assert_eq!(
        shown(&[
            attribute("2.5.4.10", &utf8("sigstore.dev")),
            attribute("2.5.4.3", &utf8("sigstore-intermediate")),
        ]),
        "CN=sigstore-intermediate,O=sigstore.dev"
    );
    // The order is the reader's, whatever the certificate's; a comma inside a
    // name does not end it.
    assert_eq!(
        shown(&[
            attribute("2.5.4.3", &utf8("ca, #1")),
            attribute("2.5.4.17", &utf8("98033")),
            attribute("2.5.4.6", &tlv(0x13, b"USA")),
            attribute("1.2.3", &utf8("x")),
        ]),
        "CN=ca\\, #1,POSTALCODE=98033,C=USA,1.2.3=#0c0178"
    );
    // Nothing that a terminal or a status line would obey.
    let text = shown(&[attribute(
        "2.5.4.3",
        &utf8("x\n[GNUPG:] TRUST_ULTIMATE\u{1b}[2K"),
    )]);
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
