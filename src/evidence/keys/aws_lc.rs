//! Verification by aws-lc-rs: fast, and knows every algorithm.

use aws_lc_rs::{digest, signature as lc};

use super::{Invalid, KeyAlgorithm, SignatureAlgorithm, default_algorithm, invalid};
use crate::refusal::Reason;

/// A key, parsed once. aws-lc-rs ties a parsed key to one digest: the usual
/// one is kept ready, another is prepared when it is asked for.
pub(super) struct Key {
    algorithm: KeyAlgorithm,
    usual: lc::ParsedPublicKey,
}

impl Key {
    pub(super) fn new(algorithm: KeyAlgorithm, material: &[u8]) -> Result<Self, Reason> {
        let usual = method(algorithm, default_algorithm(algorithm))
            .and_then(|method| lc::ParsedPublicKey::new(method, material).ok())
            .ok_or_else(|| invalid(algorithm))?;
        Ok(Self { algorithm, usual })
    }

    pub(super) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Invalid> {
        if algorithm == default_algorithm(self.algorithm) {
            return self
                .usual
                .verify_sig(message, signature)
                .map_err(|_| Invalid);
        }
        self.unusual(algorithm)?
            .verify_sig(message, signature)
            .map_err(|_| Invalid)
    }

    pub(super) fn verify_digest(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Invalid> {
        let kind = match algorithm.digest_length() {
            Some(32) => &digest::SHA256,
            Some(48) => &digest::SHA384,
            Some(64) => &digest::SHA512,
            _ => return Err(Invalid),
        };
        let digest = digest::Digest::import_less_safe(digest, kind).map_err(|_| Invalid)?;
        if algorithm == default_algorithm(self.algorithm) {
            return self
                .usual
                .verify_digest_sig(&digest, signature)
                .map_err(|_| Invalid);
        }
        self.unusual(algorithm)?
            .verify_digest_sig(&digest, signature)
            .map_err(|_| Invalid)
    }

    fn unusual(&self, algorithm: SignatureAlgorithm) -> Result<lc::ParsedPublicKey, Invalid> {
        let method = method(self.algorithm, algorithm).ok_or(Invalid)?;
        lc::ParsedPublicKey::new(method, self.usual.as_ref()).map_err(|_| Invalid)
    }
}

fn method(
    key: KeyAlgorithm,
    signature: SignatureAlgorithm,
) -> Option<&'static dyn lc::VerificationAlgorithm> {
    use KeyAlgorithm as K;
    use SignatureAlgorithm as S;
    Some(match (key, signature) {
        (K::P256, S::EcdsaSha256) => &lc::ECDSA_P256_SHA256_ASN1,
        (K::P256, S::EcdsaSha384) => &lc::ECDSA_P256_SHA384_ASN1,
        (K::P256, S::EcdsaSha512) => &lc::ECDSA_P256_SHA512_ASN1,
        (K::P384, S::EcdsaSha256) => &lc::ECDSA_P384_SHA256_ASN1,
        (K::P384, S::EcdsaSha384) => &lc::ECDSA_P384_SHA384_ASN1,
        (K::P384, S::EcdsaSha512) => &lc::ECDSA_P384_SHA512_ASN1,
        (K::P521, S::EcdsaSha256) => &lc::ECDSA_P521_SHA256_ASN1,
        (K::P521, S::EcdsaSha384) => &lc::ECDSA_P521_SHA384_ASN1,
        (K::P521, S::EcdsaSha512) => &lc::ECDSA_P521_SHA512_ASN1,
        (K::Rsa { .. }, S::RsaPkcs1Sha256) => &lc::RSA_PKCS1_2048_8192_SHA256,
        (K::Rsa { .. }, S::RsaPkcs1Sha384) => &lc::RSA_PKCS1_2048_8192_SHA384,
        (K::Rsa { .. }, S::RsaPkcs1Sha512) => &lc::RSA_PKCS1_2048_8192_SHA512,
        (K::Ed25519, S::Ed25519) => &lc::ED25519,
        _ => return None,
    })
}
