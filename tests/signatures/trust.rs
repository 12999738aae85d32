//! Trust roots, right and wrong: windows, unknown keys, limits, PEM files
//! (rows C5, C6, U2), on the forge's `trusted_root.json`.

use std::process::Command;

use crate::support::forge::{
    EntrySpec, Key, LOG_HOST_V2, Lab, NOW, TimestampSpec, ca, commit_payload, der,
    intermediate_name, pem, root_name,
};
use crate::support::peers;
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
    verdict_of(&payload, &signature, trust)
}

fn verdict_of(payload: &[u8], signature: &str, trust: &TrustedRoot) -> String {
    let verdict = verify(
        &SignatureInput {
            payload: Some(payload),
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

/// The same for Rekor v2, whose entries contain no time: that of the timestamp counts.
/// The log's name is part of its checkpoints, so a listing under another name is another
/// log's.
#[test]
fn c5_a_v2_log_can_be_listed_for_several_times() {
    let lab = Lab::new();
    let listed = |listings: &[(i64, i64, &str)], stamps: &[i64]| {
        let mut document = document(&lab);
        let log = document["tlogs"][1].clone();
        document["tlogs"] = listings
            .iter()
            .map(|(start, end, host)| {
                let mut log = log.clone();
                log["baseUrl"] = json!(format!("https://{host}"));
                log["publicKey"]["validFor"] =
                    json!({ "start": rfc3339(*start), "end": rfc3339(*end) });
                log
            })
            .collect();
        let trust = read(&document).unwrap();
        let payload = commit_payload();
        let signature = lab.sign_with(&payload, |spec| {
            spec.entry = Some(EntrySpec::v2(&lab.rekor2));
            spec.timestamps = stamps
                .iter()
                .map(|at| TimestampSpec {
                    at: *at,
                    ..lab.timestamp()
                })
                .collect();
        });
        verdict_of(&payload, &signature, &trust)
    };
    const OWN: &str = LOG_HOST_V2;
    const OTHER: &str = "other.example.test";
    let before = (NOW - 100, NOW - 50, OWN);
    let now = (NOW, NOW + 50, OWN);
    let later = (NOW + 51, NOW + 100, OWN);
    let at = &[NOW + 3][..];
    assert_eq!(listed(&[before, now], at), "good");
    assert_eq!(listed(&[now, before], at), "good");
    assert_eq!(listed(&[before, later], at), "6 log-key-window");
    // One listing has to contain every time.
    let both = &[NOW + 3, NOW + 60][..];
    assert_eq!(listed(&[now, later], both), "6 log-key-window");
    assert_eq!(listed(&[now, (NOW, NOW + 60, OWN)], both), "good");
    // Another name for the same key and ID.
    let renamed = (NOW, NOW + 50, OTHER);
    assert_eq!(listed(&[renamed, now], at), "good");
    assert_eq!(listed(&[now, renamed], at), "good");
    assert_eq!(listed(&[before, renamed], at), "6 log-key-window");
    assert_eq!(listed(&[renamed], at), "5 checkpoint-origin");
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

/// protobuf's JSON has more than one spelling of a value; Sigstore's Go client reads them
/// all, so files with them exist.
#[test]
fn u2_every_spelling_of_protobufs_json_is_read() {
    fn rename(value: &Value) -> Value {
        match value {
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| {
                    let name = name.chars().fold(String::new(), |mut name, one| {
                        if one.is_uppercase() {
                            name.push('_');
                        }
                        name.push(one.to_ascii_lowercase());
                        name
                    });
                    (name, rename(value))
                })
                .collect(),
            Value::Array(list) => list.iter().map(rename).collect(),
            other => other.clone(),
        }
    }
    fn texts(value: &mut Value, change: &dyn Fn(&str) -> String) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("rawBytes" | "keyId", Value::String(text)) => *text = change(text),
                        (_, value) => texts(value, change),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|one| texts(one, change)),
            _ => {}
        }
    }
    let lab = Lab::new();
    let plain = document(&lab);
    let as_read = to_json(&read(&plain).unwrap());
    let same = |what: &str, document: &Value| {
        let trust = read(document).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(to_json(&trust), as_read, "{what}");
        assert_eq!(verdict(&lab, &trust), "good", "{what}");
    };
    let snake = rename(&plain);
    assert!(snake["certificate_authorities"][0]["cert_chain"].is_object());
    same("names of the .proto file", &snake);
    for (what, change) in [
        (
            "URL alphabet",
            &(|text: &str| text.replace('+', "-").replace('/', "_")) as &dyn Fn(&str) -> String,
        ),
        ("no padding", &|text| text.trim_end_matches('=').to_owned()),
    ] {
        let mut document = plain.clone();
        texts(&mut document, change);
        assert_ne!(document, plain, "{what}");
        same(what, &document);
    }
    let mut nulls = plain.clone();
    nulls["tlogs"][0]["logId"] = json!(null);
    nulls["certificateAuthorities"][0]["uri"] = json!("https://fulcio.example.test");
    same("an absent log ID", &nulls);
    for place in [
        "/tlogs",
        "/ctlogs",
        "/timestampAuthorities",
        "/certificateAuthorities",
    ] {
        let mut document = plain.clone();
        *document.pointer_mut(place).unwrap() = json!(null);
        let null = to_json(&read(&document).unwrap());
        *document.pointer_mut(place).unwrap() = json!([]);
        assert_eq!(null, to_json(&read(&document).unwrap()), "{place}");
    }
    // What is damaged stays so.
    for (place, value, expected) in [
        ("/tlogs/0", json!(null), "trust-json"),
        ("/mediaType", json!(null), "trust-media-type"),
        ("/tlogs/0/publicKey/rawBytes", json!(null), "trust-key"),
        ("/tlogs/0/logId/keyId", json!("A A="), "trust-base64"),
        ("/tlogs/0/logId/keyId", json!("AA=A"), "trust-base64"),
        ("/tlogs/0/logId/keyId", json!("AB=="), "trust-base64"),
        ("/tlogs/0/logId/keyId", json!("A"), "trust-base64"),
        (
            "/certificateAuthorities/0/certChain/certificates",
            json!(null),
            "trust-no-certificate",
        ),
    ] {
        let mut document = plain.clone();
        *document.pointer_mut(place).unwrap() = value;
        assert_eq!(read(&document).unwrap_err().code(), expected, "{place}");
    }
    // Both spellings of one name, of which readers could take different ones.
    for (place, name) in [
        ("", "media_type"),
        ("", "certificate_authorities"),
        ("/tlogs/0", "public_key"),
        ("/tlogs/0/publicKey", "raw_bytes"),
    ] {
        let mut document = plain.clone();
        let object = document.pointer_mut(place).unwrap();
        let camel = rename(&plain).pointer(&rename_path(place)).unwrap()[name].clone();
        object[name] = camel;
        assert_eq!(
            read(&document).unwrap_err().code(),
            "trust-json",
            "{place} {name}"
        );
    }
}

fn rename_path(place: &str) -> String {
    place.replace("publicKey", "public_key")
}

/// Older trusted roots have RSA keys as PKCS #1. A key for RSASSA-PSS is left out and
/// named: its signatures are of another scheme.
#[test]
fn u2_rsa_keys_of_both_forms() {
    let Some(openssl) = peers::openssl() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let run = |arguments: &[&str]| {
        let output = Command::new(&openssl).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let path = key.to_str().unwrap();
    run(&["genrsa", "-out", path, "2048"]);
    let spki = run(&["rsa", "-in", path, "-pubout", "-outform", "DER"]);
    let pkcs1 = run(&["rsa", "-in", path, "-RSAPublicKey_out", "-outform", "DER"]);
    let b64 = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes);
    let lab = Lab::new();
    let listed = |bytes: &[u8], details: &str| {
        let mut document = document(&lab);
        let mut log = document["tlogs"][0].clone();
        log["publicKey"]["rawBytes"] = json!(b64(bytes));
        log["publicKey"]["keyDetails"] = json!(details);
        log["logId"] = json!(null);
        document["tlogs"] = json!([log]);
        read(&document)
    };
    for details in ["PKIX_RSA_PKCS1V15_2048_SHA256", ""] {
        let trust = listed(&spki, details).unwrap();
        assert_eq!(trust.logs[0].key.spki(), spki, "{details}");
    }
    let trust = listed(&pkcs1, "PKCS1_RSA_PKCS1V5").unwrap();
    assert_eq!(trust.logs[0].key.spki(), spki);
    assert_eq!(trust.logs[0].log_id, trust.logs[0].key.sha256());
    for details in ["PKCS1_RSA_PSS", "PKIX_RSA_PSS", "PKIX_RSA_PSS_2048_SHA256"] {
        let bytes = if details.starts_with("PKCS1") {
            &pkcs1
        } else {
            &spki
        };
        let trust = listed(bytes, details).unwrap();
        assert!(trust.logs.is_empty(), "{details}");
        assert_eq!(trust.left_out, [format!("tlogs[0]: {details}")]);
    }
    // The name decides, not a guess about the bytes.
    for (bytes, details) in [
        (&pkcs1, "PKIX_RSA_PKCS1V15_2048_SHA256"),
        (&spki, "PKCS1_RSA_PKCS1V5"),
        (&lab.rekor.spki(), "PKCS1_RSA_PKCS1V5"),
    ] {
        assert_eq!(
            listed(bytes, details).unwrap_err().code(),
            "trust-key",
            "{details}"
        );
    }
}

/// A chain whose certificates do not follow each other is a mistake in the file, and
/// refused with its place, before any signature is.
#[test]
fn u2_chains_are_in_order() {
    let lab = Lab::new();
    let b64 = |bytes: &[u8]| json!({ "rawBytes": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes) });
    let (intermediate, root) = (&lab.intermediate_certificate, &lab.root_certificate);
    let (tsa, tsa_root) = (&lab.tsa_certificate, &lab.tsa_root_certificate);
    // The same name as the root's, but not its key.
    let other = Key::p384(90);
    let namesake = ca(&root_name(), &root_name(), &other, &other, None).sign(&other);
    for (list, chain, expected) in [
        ("certificateAuthorities", vec![intermediate, root], "read"),
        ("certificateAuthorities", vec![root], "read"),
        (
            "certificateAuthorities",
            vec![root, intermediate],
            "trust-chain",
        ),
        (
            "certificateAuthorities",
            vec![intermediate, intermediate],
            "trust-chain",
        ),
        (
            "certificateAuthorities",
            vec![intermediate, tsa_root],
            "trust-chain",
        ),
        (
            "certificateAuthorities",
            vec![intermediate, &namesake],
            "trust-chain",
        ),
        (
            "certificateAuthorities",
            vec![intermediate, tsa_root, root],
            "trust-chain",
        ),
        ("timestampAuthorities", vec![tsa, tsa_root], "read"),
        ("timestampAuthorities", vec![tsa], "read"),
        ("timestampAuthorities", vec![tsa_root, tsa], "trust-chain"),
    ] {
        let mut document = document(&lab);
        let certificates: Vec<Value> = chain.iter().map(|one| b64(one)).collect();
        document[list][0]["certChain"]["certificates"] = json!(certificates);
        let found = read(&document).err();
        let code = found.as_ref().map_or("read", TrustedRootError::code);
        assert_eq!(code, expected, "{list} {}", chain.len());
        if let Some(error) = found {
            assert!(
                error.to_string().starts_with(&format!("{list}[0]: ")),
                "{error}"
            );
        }
    }
    let mut trust = read(&document(&lab)).unwrap();
    let pem_of = |all: [&[u8]; 2]| all.map(|one| pem("CERTIFICATE", one)).concat();
    trust
        .set_timestamp_authority_pem(&pem_of([tsa, tsa_root]))
        .unwrap();
    let refused = trust.set_timestamp_authority_pem(&pem_of([tsa_root, tsa]));
    assert_eq!(refused.unwrap_err().code(), "trust-chain");
}

/// A certificate with the right names and key IDs, but by another key: every signature by
/// this authority is refused, and `gitseal doctor` finds it beforehand.
#[test]
fn u2_links_are_signed() {
    let lab = Lab::new();
    let with = |list: &str, certificate: &[u8]| {
        let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, certificate);
        let mut document = document(&lab);
        document[list][0]["certChain"]["certificates"][0]["rawBytes"] = json!(encoded);
        read(&document).unwrap()
    };
    let stranger = Key::p384(90);
    let own = ca(
        &intermediate_name(),
        &root_name(),
        &lab.intermediate,
        &lab.root,
        Some(0),
    );
    let trust = with("certificateAuthorities", &own.sign(&lab.root));
    trust.check_chains().unwrap();
    assert_eq!(verdict(&lab, &trust), "good");
    let trust = with("certificateAuthorities", &own.sign(&stranger));
    let error = trust.check_chains().unwrap_err();
    assert_eq!(error.code(), "trust-chain");
    assert!(
        error.to_string().contains("https://fulcio.example.test"),
        "{error}"
    );
    assert_eq!(verdict(&lab, &trust), "7 chain-signature");
    let tsa = ca(
        &der::name("example.test", "tsa"),
        &der::name("example.test", "tsa-root"),
        &lab.tsa,
        &lab.tsa_root,
        None,
    );
    let trust = with("timestampAuthorities", &tsa.sign(&Key::p256(90)));
    assert_eq!(trust.check_chains().unwrap_err().code(), "trust-chain");
    let built_in = TrustedRoot::from_json(trusted_root::PUBLIC_GOOD.as_bytes()).unwrap();
    built_in.check_chains().unwrap();
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
