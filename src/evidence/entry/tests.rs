#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn entry() -> LogEntry {
    LogEntry {
        log_index: 7,
        log_id: vec![1; 32],
        kind: "hashedrekord".into(),
        version: "0.0.1".into(),
        integrated_time: 1_790_000_000,
        set: Some(vec![0x30, 1]),
        proof: Some(InclusionProof {
            log_index: 3,
            root_hash: vec![2; 32],
            tree_size: 9,
            hashes: vec![[3; 32]; 4],
            checkpoint: "o\n9\nx\n\n".into(),
        }),
        body: Some(b"{}".to_vec()),
    }
}

fn code(bytes: &[u8]) -> &'static str {
    LogEntry::from_protobuf(bytes).unwrap_err().code()
}

#[test]
fn a_message_prints_back_and_its_body_may_be_left_out() {
    let entry = entry();
    let message = entry.to_protobuf(true);
    assert_eq!(LogEntry::from_protobuf(&message).as_ref(), Ok(&entry));
    let bare = LogEntry::from_protobuf(&entry.to_protobuf(false)).unwrap();
    assert_eq!(
        bare,
        LogEntry {
            body: None,
            ..entry
        }
    );
}

/// gitsign writes an empty promise for an entry without SET, others none.
#[test]
fn without_a_set_the_promise_is_empty_or_absent() {
    let entry = LogEntry {
        set: None,
        body: None,
        ..entry()
    };
    let written = entry.to_protobuf(true);
    assert_eq!(LogEntry::from_protobuf(&written).as_ref(), Ok(&entry));
    let mut message = entry.message(true);
    message.inclusion_promise = None;
    let other = message.encode_to_vec();
    assert_eq!(other.len() + 2, written.len());
    assert_eq!(LogEntry::from_protobuf(&other).as_ref(), Ok(&entry));
}

#[test]
fn only_the_canonical_encoding_is_read() {
    let good = entry().to_protobuf(true);
    // Field 1, log_index = 7, is 08 07.
    assert_eq!(good[..2], [8, 7]);
    let rest = &good[2..];
    for (bytes, why) in [
        ([&[8, 0x87, 0][..], rest].concat(), "a padded number"),
        ([&[8, 7, 8, 7][..], rest].concat(), "a field twice"),
        ([rest, &[8, 7]].concat(), "fields out of order"),
        ([&good[..], &[0x40, 1]].concat(), "an unknown field"),
        (
            [&good[..], &[0x3a, 0]].concat(),
            "an empty field written out",
        ),
    ] {
        assert_eq!(code(&bytes), "entry-not-canonical", "{why}");
    }
    assert_eq!(code(&good[..good.len() - 1]), "entry-unreadable");
    assert_eq!(code(&[0xff; 20]), "entry-unreadable");
    assert_eq!(code(&vec![0; MAX_ENTRY + 1]), "entry-too-long");
    assert_eq!(code(&[]), "entry-incomplete");
}

#[test]
fn numbers_and_lengths_that_cannot_be_are_named() {
    let check = |change: &dyn Fn(&mut LogEntry)| {
        let mut entry = entry();
        change(&mut entry);
        code(&entry.to_protobuf(true))
    };
    let proof = |change: &dyn Fn(&mut InclusionProof)| {
        check(&|entry| change(entry.proof.as_mut().unwrap()))
    };
    assert_eq!(check(&|entry| entry.log_index = -1), "entry-number");
    assert_eq!(check(&|entry| entry.log_index = i64::MIN), "entry-number");
    assert_eq!(check(&|entry| entry.integrated_time = -1), "entry-number");
    assert_eq!(
        check(&|entry| entry.log_id = vec![1; 31]),
        "entry-hash-length"
    );
    assert_eq!(check(&|entry| entry.kind.clear()), "entry-incomplete");
    assert_eq!(check(&|entry| entry.version.clear()), "entry-incomplete");
    assert_eq!(proof(&|proof| proof.tree_size = 0), "entry-number");
    assert_eq!(proof(&|proof| proof.tree_size = -9), "entry-number");
    assert_eq!(proof(&|proof| proof.log_index = -1), "entry-number");
    assert_eq!(proof(&|proof| proof.log_index = 9), "entry-number");
    assert_eq!(
        proof(&|proof| proof.root_hash = vec![]),
        "entry-hash-length"
    );
    let mut message = entry().message(true);
    if let Some(proof) = &mut message.inclusion_proof {
        proof.hashes[2] = vec![3; 33];
    }
    assert_eq!(code(&message.encode_to_vec()), "entry-hash-length");
    assert_eq!(
        proof(&|proof| proof.hashes = vec![[3; 32]; MAX_PROOF_HASHES + 1]),
        "entry-proof-too-long"
    );
    assert_eq!(proof(&|proof| proof.checkpoint.clear()), "entry-incomplete");
    let mut without = entry();
    without.proof = None;
    assert!(LogEntry::from_protobuf(&without.to_protobuf(true)).is_ok());
}

/// The builders print what an RFC 8785 serialiser prints.
#[test]
fn bodies_and_set_payloads_are_canonical_json() {
    let canonical = |bytes: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        serde_json_canonicalizer::to_vec(&value).unwrap()
    };
    let key = p384::ecdsa::SigningKey::from_slice(&[9; 48]).unwrap();
    let spki = spki::EncodePublicKey::to_public_key_der(key.verifying_key()).unwrap();
    let key = PublicKey::from_spki(spki.as_bytes()).unwrap();
    for bytes in [
        hashedrekord_v1(&[1; 32], &[0xff; 71], &[7; 700]),
        hashedrekord_v1_body("sha512", &[1; 64], &[0xff; 71], &key.to_pem()),
        hashedrekord_v2(&[1; 48], &[0xfe; 71], &[7; 700], &key).unwrap(),
        set_payload("e30=", 1_790_000_000, "c0d2", 77),
    ] {
        assert_eq!(canonical(&bytes), bytes);
    }
    let refusal = hashedrekord_v2(&[1; 32], &[0], &[7], &key).unwrap_err();
    assert_eq!(refusal.code(), "entry-digest-length");
}

/// Reject list 3: what a v2 log says about the key comes from the key.
#[test]
fn key_details_are_the_keys_own() {
    let ed = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let spki = spki::EncodePublicKey::to_public_key_der(&ed.verifying_key()).unwrap();
    let key = PublicKey::from_spki(spki.as_bytes()).unwrap();
    assert_eq!(
        KeyDetails::of(&key).unwrap_err().code(),
        "entry-key-unsupported"
    );
    let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let spki = spki::EncodePublicKey::to_public_key_der(p256.verifying_key()).unwrap();
    let key = PublicKey::from_spki(spki.as_bytes()).unwrap();
    let body = hashedrekord_v2(&[1; 32], &[2], &[7], &key).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let record = &body["spec"]["hashedRekordV002"];
    assert_eq!(record["data"]["algorithm"], "SHA2_256");
    assert_eq!(
        record["signature"]["verifier"]["keyDetails"],
        "PKIX_ECDSA_P256_SHA_256"
    );
}
