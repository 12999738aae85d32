//! Trust roots, right and wrong: windows, unknown keys, limits, PEM files
//! (rows C5, C6, U2), on the forge's `trusted_root.json`.

use crate::support::forge::{
    Key, Lab, NOW, ca, commit_payload, der, intermediate_name, pem, root_name,
};
use gitseal_evidence::{
    object::HashKind,
    rfc3339,
    trusted_root::{self, TrustedRoot, TrustedRootError},
    verify::{NoopObserver, SignatureInput, VerifyInputs, verify},
};
use gitseal_services::trusted_root::to_json;
use serde_json::{Value, json};

fn document(lab: &Lab) -> Value {
    serde_json::from_str(&lab.trusted_root()).unwrap()
}

fn read(document: &Value) -> Result<TrustedRoot, TrustedRootError> {
    TrustedRoot::from_json(document.to_string().as_bytes())
}

fn verdict(lab: &Lab, trust: &TrustedRoot) -> String {
    let payload = commit_payload();
    let signature = lab.sign_with(&payload, |spec| spec.timestamps = vec![lab.timestamp()]);
    let verdict = verify(
        &SignatureInput {
            payload: Some(&payload),
            signature: signature.as_bytes(),
            hash: HashKind::Sha1,
        },
        &VerifyInputs::new(trust),
        &mut NoopObserver,
    );
    match verdict {
        Ok(_) => "good".to_owned(),
        Err(refusal) => format!("{} {}", refusal.step().number(), refusal.code()),
    }
}

#[test]
fn c5_windows_are_closed_intervals() {
    let lab = Lab::new();
    // The lab's signature: SCT at NOW, logged at NOW + 2, stamped at NOW + 3.
    let places = [
        (
            "/tlogs/0/publicKey/validFor",
            NOW + 2,
            NOW + 3,
            "6 log-key-window",
        ),
        ("/ctlogs/0/publicKey/validFor", NOW, NOW, "8 sct-log-window"),
        (
            "/certificateAuthorities/0/validFor",
            NOW + 2,
            NOW + 3,
            "7 chain-authority-window",
        ),
        (
            "/timestampAuthorities/0/validFor",
            NOW + 3,
            NOW + 3,
            "6 timestamp-authority-window",
        ),
    ];
    for (place, first, last, refused) in places {
        for (start, end, expected) in [
            (first, last, "good"),
            (first + 1, last + 60, refused),
            (first - 60, last - 1, refused),
        ] {
            let mut document = document(&lab);
            *document.pointer_mut(place).unwrap() =
                json!({ "start": rfc3339(start), "end": rfc3339(end) });
            let trust = read(&document).unwrap();
            assert_eq!(verdict(&lab, &trust), expected, "{place} {start} {end}");
        }
    }
}

/// A log that is listed for several times is known in each of them.
#[test]
fn c5_a_log_can_be_listed_for_several_times() {
    let lab = Lab::new();
    let listed = |windows: &[(i64, i64)]| {
        let mut document = document(&lab);
        let log = document["tlogs"][0].clone();
        document["tlogs"] = windows
            .iter()
            .map(|(start, end)| {
                let mut log = log.clone();
                log["publicKey"]["validFor"] =
                    json!({ "start": rfc3339(*start), "end": rfc3339(*end) });
                log
            })
            .collect();
        verdict(&lab, &read(&document).unwrap())
    };
    let (before, now) = ((NOW - 100, NOW - 50), (NOW, NOW + 50));
    assert_eq!(listed(&[before, now]), "good");
    assert_eq!(listed(&[now, before]), "good");
    assert_eq!(listed(&[before]), "6 log-key-window");
    assert_eq!(listed(&[before, (NOW + 20, NOW + 50)]), "6 log-key-window");
}

#[test]
fn c5_a_key_without_a_start_refuses_the_file() {
    let lab = Lab::new();
    for place in [
        "/tlogs/0/publicKey/validFor",
        "/ctlogs/0/publicKey/validFor",
        "/certificateAuthorities/0/validFor",
        "/timestampAuthorities/0/validFor",
    ] {
        for window in [
            json!({}),
            json!({ "end": "2030-01-01T00:00:00Z" }),
            json!(null),
        ] {
            let mut document = document(&lab);
            *document.pointer_mut(place).unwrap() = window;
            assert_eq!(
                read(&document).unwrap_err().code(),
                "trust-no-start",
                "{place}"
            );
        }
    }
}

#[test]
fn u2_files_that_are_none() {
    let lab = Lab::new();
    let change = |place: &str, value: Value| {
        let mut document = document(&lab);
        *document.pointer_mut(place).unwrap() = value;
        read(&document)
            .err()
            .map_or("read", |refusal| refusal.code())
    };
    let first = document(&lab)["tlogs"][0].clone();
    for (place, value, expected) in [
        ("/mediaType", json!("application/json"), "trust-media-type"),
        ("/tlogs/0/publicKey/rawBytes", json!("?"), "trust-base64"),
        ("/tlogs/0/publicKey/rawBytes", json!("AAAA"), "trust-key"),
        ("/tlogs/0/logId/keyId", json!("AAAA"), "trust-log-id"),
        ("/tlogs/0/hashAlgorithm", json!("SHA3_256"), "trust-hash"),
        (
            "/tlogs/0/publicKey/validFor/start",
            json!("yesterday"),
            "trust-time",
        ),
        (
            "/tlogs/0/publicKey/validFor",
            json!({ "start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z" }),
            "trust-window",
        ),
        (
            "/certificateAuthorities/0/certChain/certificates",
            json!([]),
            "trust-no-certificate",
        ),
        (
            "/certificateAuthorities/0/certChain/certificates/0/rawBytes",
            json!("MAA="),
            "trust-certificate",
        ),
        (
            "/tlogs",
            json!(vec![first.clone(); trusted_root::MAX_ENTRIES + 1]),
            "trust-too-many",
        ),
        ("/tlogs", json!([first.clone(), first]), "read"),
        ("/tlogs", json!("none"), "trust-json"),
    ] {
        assert_eq!(change(place, value), expected, "{place}");
    }
    // The same id, another key: an entry could choose.
    let mut document = document(&lab);
    let other = document["ctlogs"][0]["publicKey"].clone();
    document["tlogs"][1] = document["tlogs"][0].clone();
    document["tlogs"][1]["publicKey"] = other;
    assert_eq!(
        read(&document).unwrap_err().code(),
        "trust-duplicate-log-id"
    );
    assert_eq!(
        TrustedRoot::from_json(&vec![b' '; trusted_root::MAX_TRUSTED_ROOT + 1])
            .unwrap_err()
            .code(),
        "trust-too-large"
    );
    assert_eq!(
        TrustedRoot::from_json(b"{").unwrap_err().code(),
        "trust-json"
    );
}

#[test]
fn u2_what_a_newer_file_may_hold_is_left_out_and_named() {
    let lab = Lab::new();
    let mut document = document(&lab);
    document["somethingNew"] = json!({ "of": "a later version" });
    // SubjectPublicKeyInfo of an unknown algorithm, 1.2.3.4.
    let unknown = der::seq(&[&der::seq(&[&der::oid("1.2.3.4")]), &der::bits(b"key")]);
    let mut later = document["tlogs"][0].clone();
    later["publicKey"]["rawBytes"] = json!(base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        unknown
    ));
    later["publicKey"]["keyDetails"] = json!("ML_DSA_44");
    document["tlogs"].as_array_mut().unwrap().push(later);
    let trust = read(&document).unwrap();
    assert_eq!(trust.logs.len(), 2);
    assert_eq!(trust.left_out.len(), 1);
    assert!(
        trust.left_out[0].contains("ML_DSA_44"),
        "{:?}",
        trust.left_out
    );
    assert_eq!(verdict(&lab, &trust), "good");
}

#[test]
fn c6_chains_are_bounded() {
    let lab = Lab::new();
    let mut document = document(&lab);
    let one = document["certificateAuthorities"][0]["certChain"]["certificates"][0].clone();
    document["certificateAuthorities"][0]["certChain"]["certificates"] = json!(vec![one; 50]);
    assert_eq!(read(&document).unwrap_err().code(), "trust-too-many");

    // Thirty intermediates of one name, each of which could have issued each.
    let name = intermediate_name();
    let mut text = pem("CERTIFICATE", &lab.root_certificate);
    for seed in 30..60 {
        let key = Key::p256(seed);
        text += &pem(
            "CERTIFICATE",
            &ca(&name, &root_name(), &key, &lab.root, None).sign(&lab.root),
        );
    }
    let mut trust = read(&self::document(&lab)).unwrap();
    let started = std::time::Instant::now();
    trust.set_authorities_pem(&text).unwrap();
    assert_eq!(trust.authorities.len(), 31);
    let mut crossed = String::new();
    for seed in 60..100 {
        let (key, above) = (Key::p256(seed), der::name("loop", &(seed % 2).to_string()));
        let own = der::name("loop", &((seed + 1) % 2).to_string());
        crossed += &pem(
            "CERTIFICATE",
            &ca(&own, &above, &key, &key, None).sign(&key),
        );
    }
    assert_eq!(
        trust.set_authorities_pem(&crossed).unwrap_err().code(),
        "trust-no-root"
    );
    crossed += &pem("CERTIFICATE", &lab.root_certificate);
    let outcome = trust.set_authorities_pem(&crossed);
    assert!(
        outcome.is_ok() || outcome.unwrap_err().code() == "trust-too-many",
        "bounded either way"
    );
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn pem_files_are_read_in_any_order_and_refused_when_broken() {
    let lab = Lab::new();
    let root = pem("CERTIFICATE", &lab.root_certificate);
    let intermediate = pem("CERTIFICATE", &lab.intermediate_certificate);
    for text in [
        format!("{root}{intermediate}"),
        format!("{intermediate}{root}"),
        format!("# a comment\n{root}\n\n{intermediate}"),
        // No line end between END and BEGIN.
        format!("{}{intermediate}", root.trim_end()),
    ] {
        let mut trust = read(&document(&lab)).unwrap();
        trust.set_authorities_pem(&text).unwrap();
        assert_eq!(verdict(&lab, &trust), "good");
    }
    for (text, code) in [
        (String::new(), "trust-no-certificate"),
        (intermediate.clone(), "trust-no-root"),
        (root.replace("MII", "!!!"), "trust-certificate"),
        (pem("PUBLIC KEY", b"x"), "trust-certificate"),
        (
            format!("{root}-----BEGIN CERTIFICATE-----\n"),
            "trust-certificate",
        ),
    ] {
        let refusal = TrustedRoot::default()
            .set_authorities_pem(&text)
            .unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
    }
}

#[test]
fn what_is_written_reads_the_same() {
    let lab = Lab::new();
    let trust = read(&document(&lab)).unwrap();
    let again = TrustedRoot::from_json(to_json(&trust).as_bytes()).unwrap();
    assert_eq!(to_json(&again), to_json(&trust));
    assert_eq!(verdict(&lab, &again), "good");
}

#[test]
fn the_built_in_root_is_that_of_the_public_sigstore() {
    let trust = TrustedRoot::from_json(trusted_root::PUBLIC_GOOD.as_bytes()).unwrap();
    assert!(trust.left_out.is_empty(), "{:?}", trust.left_out);
    for url in [
        "https://rekor.sigstore.dev",
        "https://log2025-1.rekor.sigstore.dev",
    ] {
        assert!(trust.logs.iter().any(|log| log.base_url == url), "{url}");
    }
    assert!(!trust.authorities.is_empty() && !trust.ct_logs.is_empty());
}
