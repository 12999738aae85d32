//! Verification without C code: P-256, P-384 and Ed25519.

use ed25519_dalek::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Invalid, KeyAlgorithm, SignatureAlgorithm, invalid};
use crate::refusal::{Reason, codes, reason};

/// A key, parsed once.
pub(super) enum Key {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl Key {
    pub(super) fn new(algorithm: KeyAlgorithm, material: &[u8]) -> Result<Self, Reason> {
        let invalid = || invalid(algorithm);
        match algorithm {
            KeyAlgorithm::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(material)
                .map(Self::P256)
                .map_err(|_| invalid()),
            KeyAlgorithm::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(material)
                .map(Self::P384)
                .map_err(|_| invalid()),
            KeyAlgorithm::Ed25519 => <&[u8; 32]>::try_from(material)
                .ok()
                .and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok())
                .map(Self::Ed25519)
                .ok_or_else(invalid),
            KeyAlgorithm::P521 | KeyAlgorithm::Rsa { .. } => Err(reason!(
                codes::KEY_NOT_IN_THIS_BUILD,
                "this build cannot verify {algorithm} signatures (it was built without the \
                     feature verify-aws-lc)"
            )),
        }
    }

    pub(super) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Invalid> {
        match algorithm {
            SignatureAlgorithm::EcdsaSha256 => {
                self.verify_digest(algorithm, &Sha256::digest(message), signature)
            }
            SignatureAlgorithm::EcdsaSha384 => {
                self.verify_digest(algorithm, &Sha384::digest(message), signature)
            }
            SignatureAlgorithm::EcdsaSha512 => {
                self.verify_digest(algorithm, &Sha512::digest(message), signature)
            }
            SignatureAlgorithm::Ed25519 => {
                let Self::Ed25519(key) = self else {
                    return Err(Invalid);
                };
                let signature =
                    ed25519_dalek::Signature::from_slice(signature).map_err(|_| Invalid)?;
                key.verify(message, &signature).map_err(|_| Invalid)
            }
            SignatureAlgorithm::RsaPkcs1Sha256
            | SignatureAlgorithm::RsaPkcs1Sha384
            | SignatureAlgorithm::RsaPkcs1Sha512 => Err(Invalid),
        }
    }

    /// Verifies an ECDSA signature over a digest; its length was checked.
    pub(super) fn verify_digest(
        &self,
        _algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Invalid> {
        match self {
            Self::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(|_| Invalid)?;
                key.verify_prehash(digest, &signature).map_err(|_| Invalid)
            }
            Self::P384(key) => {
                let signature = p384::ecdsa::Signature::from_der(signature).map_err(|_| Invalid)?;
                key.verify_prehash(digest, &signature).map_err(|_| Invalid)
            }
            Self::Ed25519(_) => Err(Invalid),
        }
    }
}
