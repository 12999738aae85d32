//! Public keys and what verifies with them: ECDSA on the three NIST curves,
//! RSA (PKCS #1 v1.5) and Ed25519.
//!
//! Two backends hold the arithmetic: `aws_lc` (feature `verify-aws-lc`, the
//! default) and `pure`, the fallback without C code, which knows P-256, P-384
//! and Ed25519. Tests compile both and hold them against each other.
//!
//! *Not checked here:* which key may sign what, and when (`chain.rs`,
//! `checkpoint.rs`, `signed_data.rs`, `trusted_root.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use der::{
    Decode, Tagged as _,
    asn1::{ObjectIdentifier, UintRef},
};
use sha2::{Digest, Sha256};
use spki::SubjectPublicKeyInfoRef;

use super::refusal::reasons;

#[cfg(feature = "verify-aws-lc")]
mod aws_lc;
#[cfg(any(test, not(feature = "verify-aws-lc")))]
mod pure;
#[cfg(test)]
mod tests;

#[cfg(feature = "verify-aws-lc")]
use aws_lc as backend;
#[cfg(not(feature = "verify-aws-lc"))]
use pure as backend;

/// Longest SubjectPublicKeyInfo that is read, in bytes. An RSA key of 8192
/// bits takes 1,062.
pub const MAX_SPKI: usize = 2048;
/// Longest PEM text that is read as a public key, in bytes.
pub const MAX_PEM: usize = 16 * 1024;
/// Fewest bits of an RSA modulus.
pub const MIN_RSA_BITS: u32 = 2048;
/// Most bits of an RSA modulus.
pub const MAX_RSA_BITS: u32 = 8192;
/// Longest signature that is handed to a backend, in bytes (RSA-8192).
pub const MAX_SIGNATURE: usize = 1024;

// RFC 5480 §2.1.1, RFC 3279 §2.3.1, RFC 8410 §3.
const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

// RFC 5758 §3.2, RFC 4055 §5.
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

reasons! {
    /// Why a public key is not used, or a signature not believed.
    pub enum KeyRefusal {
        /// The bytes are no SubjectPublicKeyInfo in DER.
        #[code = "key-unreadable"]
        #[error("the public key is no SubjectPublicKeyInfo in DER: {reason}")]
        Unreadable {
            /// What the decoder found.
            reason: String,
        },
        /// The text is no PEM block of a public key.
        #[code = "key-not-pem"]
        #[error("the public key is no PEM block \"PUBLIC KEY\": {reason}")]
        NotPem {
            /// What was found instead.
            reason: String,
        },
        /// Longer than any key that is accepted.
        #[code = "key-too-long"]
        #[error("the public key takes {bytes} bytes, at most {max} are read")]
        TooLong {
            /// How many bytes.
            bytes: usize,
            /// How many are read.
            max: usize,
        },
        /// An algorithm that is not known here.
        #[code = "key-algorithm-unknown"]
        #[error("the public key's algorithm {oid} is not supported")]
        UnknownAlgorithm {
            /// The algorithm's object identifier.
            oid: String,
        },
        /// A curve that is not known here.
        #[code = "key-curve-unknown"]
        #[error("the public key's curve {oid} is not supported")]
        UnknownCurve {
            /// The curve's object identifier.
            oid: String,
        },
        /// Curve parameters spelled out instead of a named curve (RFC 5480
        /// §2.1.1 forbids them).
        #[code = "key-curve-explicit"]
        #[error("the public key spells out its curve's parameters instead of naming the curve")]
        ExplicitCurve,
        /// Parameters that the algorithm does not have.
        #[code = "key-parameters"]
        #[error("the {algorithm} public key carries wrong algorithm parameters")]
        Parameters {
            /// Which algorithm.
            algorithm: &'static str,
        },
        /// A compressed, hybrid or infinite point, or one of a wrong length.
        #[code = "key-point-form"]
        #[error("the public key's point is not in uncompressed form: {bytes} bytes that begin with {first:#04x}, wanted {wanted} that begin with 0x04")]
        PointForm {
            /// How many bytes.
            bytes: usize,
            /// The first of them (0 if there is none).
            first: u8,
            /// How many there should be.
            wanted: usize,
        },
        /// The numbers are no valid key (a point off its curve, an even RSA
        /// exponent).
        #[code = "key-invalid"]
        #[error("the {algorithm} public key is not valid (its point or its numbers are out of range)")]
        Invalid {
            /// Which algorithm.
            algorithm: KeyAlgorithm,
        },
        /// An RSA modulus of a size that is not accepted.
        #[code = "key-rsa-size"]
        #[error("the RSA modulus has {bits} bits, accepted are {min} to {max}")]
        RsaSize {
            /// How many bits.
            bits: u32,
            /// The fewest.
            min: u32,
            /// The most.
            max: u32,
        },
        /// This build cannot verify with such a key.
        #[code = "key-not-in-this-build"]
        #[error("this build cannot verify {algorithm} signatures (it was built without the feature verify-aws-lc)")]
        NotInThisBuild {
            /// Which algorithm.
            algorithm: KeyAlgorithm,
        },
        /// The signature's algorithm is not one of the key's.
        #[code = "signature-algorithm-mismatch"]
        #[error("a {key} key makes no {signature} signature")]
        AlgorithmMismatch {
            /// The key's algorithm.
            key: KeyAlgorithm,
            /// The signature's algorithm.
            signature: SignatureAlgorithm,
        },
        /// A digest of a length that the algorithm does not have.
        #[code = "digest-length"]
        #[error("the digest has {bytes} bytes, {signature} takes {wanted}")]
        DigestLength {
            /// How many bytes.
            bytes: usize,
            /// How many there should be.
            wanted: usize,
            /// The signature's algorithm.
            signature: SignatureAlgorithm,
        },
        /// The signature does not verify.
        #[code = "signature-invalid"]
        #[error("the {signature} signature does not verify with the {key} key")]
        SignatureInvalid {
            /// The key's algorithm.
            key: KeyAlgorithm,
            /// The signature's algorithm.
            signature: SignatureAlgorithm,
        },
    }
}

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// RSA with a modulus of so many bits.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
    },
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// How a signature was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// Ed25519 over the message itself.
    Ed25519,
}

impl SignatureAlgorithm {
    const ALL: [Self; 7] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::Ed25519,
    ];

    /// The algorithm of this object identifier, if it names both the scheme
    /// and the digest. (`id-ecPublicKey` and `rsaEncryption`, which CMS
    /// signers also write, do not.)
    #[must_use]
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.oid() == *oid)
    }

    /// The object identifier (RFC 5758 §3.2, RFC 4055 §5, RFC 8410 §3).
    #[must_use]
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaSha256 => ECDSA_SHA256,
            Self::EcdsaSha384 => ECDSA_SHA384,
            Self::EcdsaSha512 => ECDSA_SHA512,
            Self::RsaPkcs1Sha256 => RSA_SHA256,
            Self::RsaPkcs1Sha384 => RSA_SHA384,
            Self::RsaPkcs1Sha512 => RSA_SHA512,
            Self::Ed25519 => ID_ED25519,
        }
    }

    /// Bytes of the digest that is signed; `None` for Ed25519, which takes
    /// the message.
    #[must_use]
    pub fn digest_length(self) -> Option<usize> {
        match self {
            Self::EcdsaSha256 | Self::RsaPkcs1Sha256 => Some(32),
            Self::EcdsaSha384 | Self::RsaPkcs1Sha384 => Some(48),
            Self::EcdsaSha512 | Self::RsaPkcs1Sha512 => Some(64),
            Self::Ed25519 => None,
        }
    }

    /// Whether a key of this kind makes such signatures.
    #[must_use]
    pub fn is_compatible_with(self, key: KeyAlgorithm) -> bool {
        match key {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => {
                matches!(
                    self,
                    Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512
                )
            }
            KeyAlgorithm::Rsa { .. } => {
                matches!(
                    self,
                    Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512
                )
            }
            KeyAlgorithm::Ed25519 => matches!(self, Self::Ed25519),
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaSha256 => "ECDSA-SHA256",
            Self::EcdsaSha384 => "ECDSA-SHA384",
            Self::EcdsaSha512 => "ECDSA-SHA512",
            Self::RsaPkcs1Sha256 => "RSA-SHA256",
            Self::RsaPkcs1Sha384 => "RSA-SHA384",
            Self::RsaPkcs1Sha512 => "RSA-SHA512",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// A public key that was read, judged and is ready to verify with. Cheap to
/// clone. Equal keys have equal SubjectPublicKeyInfo bytes.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    spki: Box<[u8]>,
    algorithm: KeyAlgorithm,
    /// Bytes of the bare key, with which `spki` ends.
    material: usize,
    backend: backend::Key,
    id: OnceLock<[u8; 32]>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
    ///
    /// Elliptic-curve keys must name their curve and hold an uncompressed
    /// point on it (RFC 5480 §2); RSA moduli have [`MIN_RSA_BITS`] to
    /// [`MAX_RSA_BITS`] bits; Ed25519 keys of small order are refused.
    ///
    /// # Errors
    /// [`KeyRefusal`] names what is wrong with the key.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyRefusal> {
        if der.len() > MAX_SPKI {
            return Err(KeyRefusal::TooLong {
                bytes: der.len(),
                max: MAX_SPKI,
            });
        }
        let (algorithm, material) = read_spki(der)?;
        let backend = backend::Key::new(algorithm, material)?;
        Ok(Self(Arc::new(Inner {
            spki: der.into(),
            algorithm,
            material: material.len(),
            backend,
            id: OnceLock::new(),
        })))
    }

    /// Reads a PEM block `PUBLIC KEY` (RFC 7468 §13).
    ///
    /// # Errors
    /// [`KeyRefusal`] names what is wrong with the text or with the key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyRefusal> {
        if pem.len() > MAX_PEM {
            return Err(KeyRefusal::TooLong {
                bytes: pem.len(),
                max: MAX_PEM,
            });
        }
        let (label, der) =
            der::pem::decode_vec(pem.trim().as_bytes()).map_err(|error| KeyRefusal::NotPem {
                reason: error.to_string(),
            })?;
        if label != "PUBLIC KEY" {
            return Err(KeyRefusal::NotPem {
                reason: format!("its label is {label:?}"),
            });
        }
        Self::from_spki(&der)
    }

    /// The SubjectPublicKeyInfo, DER, as it was read.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// The key as a PEM block: 64 columns, LF, final LF.
    #[must_use]
    pub fn to_pem(&self) -> String {
        super::armor::encode_label("PUBLIC KEY", &self.0.spki)
    }

    /// What kind of key it is.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.0.algorithm
    }

    /// SHA-256 of the SubjectPublicKeyInfo: the log id of CT logs (RFC 6962
    /// §3.2) and of Rekor v1 logs.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        *self.0.id.get_or_init(|| Sha256::digest(self.spki()).into())
    }

    /// The bare key: an uncompressed point (SEC 1 §2.3.3), an RSAPublicKey
    /// (RFC 8017 A.1.1), or 32 bytes of Ed25519 (RFC 8410 §4).
    #[must_use]
    pub fn raw_key(&self) -> &[u8] {
        let before = self.0.spki.len().saturating_sub(self.0.material);
        self.0.spki.get(before..).unwrap_or_default()
    }

    /// The algorithm that a signer with this key uses: the digest as wide as
    /// the curve, SHA-256 with RSA.
    #[must_use]
    pub fn default_algorithm(&self) -> SignatureAlgorithm {
        default_algorithm(self.0.algorithm)
    }

    /// Verifies a signature over a message. ECDSA signatures are strict DER;
    /// a high s is accepted (half of all signatures have one).
    ///
    /// # Errors
    /// [`KeyRefusal::AlgorithmMismatch`] if such a key makes no such
    /// signatures, [`KeyRefusal::SignatureInvalid`] if it does not verify.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyRefusal> {
        self.fits(algorithm, signature)?;
        self.outcome(
            algorithm,
            self.0.backend.verify(algorithm, message, signature),
        )
    }

    /// Verifies a signature over a message of which only the digest is known.
    ///
    /// # Errors
    /// As [`Self::verify`]; also if the digest's length is not the
    /// algorithm's, and always for Ed25519, which signs no digests.
    pub fn verify_digest(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyRefusal> {
        self.fits(algorithm, signature)?;
        let wanted = algorithm.digest_length().unwrap_or(0);
        if wanted == 0 || digest.len() != wanted {
            return Err(KeyRefusal::DigestLength {
                bytes: digest.len(),
                wanted,
                signature: algorithm,
            });
        }
        self.outcome(
            algorithm,
            self.0.backend.verify_digest(algorithm, digest, signature),
        )
    }

    fn fits(&self, algorithm: SignatureAlgorithm, signature: &[u8]) -> Result<(), KeyRefusal> {
        if !algorithm.is_compatible_with(self.0.algorithm) {
            return Err(KeyRefusal::AlgorithmMismatch {
                key: self.0.algorithm,
                signature: algorithm,
            });
        }
        if signature.len() > MAX_SIGNATURE {
            return self.outcome(algorithm, Err(Invalid));
        }
        Ok(())
    }

    fn outcome(
        &self,
        algorithm: SignatureAlgorithm,
        result: Result<(), Invalid>,
    ) -> Result<(), KeyRefusal> {
        result.map_err(|Invalid| KeyRefusal::SignatureInvalid {
            key: self.0.algorithm,
            signature: algorithm,
        })
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} ", self.0.algorithm)?;
        for byte in self.sha256() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// A backend's "does not verify"; why it does not, none of them tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Invalid;

fn default_algorithm(key: KeyAlgorithm) -> SignatureAlgorithm {
    match key {
        KeyAlgorithm::P256 => SignatureAlgorithm::EcdsaSha256,
        KeyAlgorithm::P384 => SignatureAlgorithm::EcdsaSha384,
        KeyAlgorithm::P521 => SignatureAlgorithm::EcdsaSha512,
        KeyAlgorithm::Rsa { .. } => SignatureAlgorithm::RsaPkcs1Sha256,
        KeyAlgorithm::Ed25519 => SignatureAlgorithm::Ed25519,
    }
}

/// Reads the kind of key and its material, and judges all that does not need
/// arithmetic.
fn read_spki(der: &[u8]) -> Result<(KeyAlgorithm, &[u8]), KeyRefusal> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(unreadable)?;
    let material = info
        .subject_public_key
        .as_bytes()
        .ok_or_else(|| KeyRefusal::Unreadable {
            reason: "the key's bit string is no whole number of bytes".into(),
        })?;
    let parameters = info.algorithm.parameters;
    let oid = info.algorithm.oid;
    if oid == ID_EC_PUBLIC_KEY {
        let parameters = parameters.ok_or(KeyRefusal::Parameters { algorithm: "EC" })?;
        if parameters.tag() == der::Tag::Sequence {
            return Err(KeyRefusal::ExplicitCurve);
        }
        let curve = parameters
            .decode_as::<ObjectIdentifier>()
            .map_err(|_| KeyRefusal::Parameters { algorithm: "EC" })?;
        let (algorithm, wanted) = match curve {
            ID_P256 => (KeyAlgorithm::P256, 65),
            ID_P384 => (KeyAlgorithm::P384, 97),
            ID_P521 => (KeyAlgorithm::P521, 133),
            other => {
                return Err(KeyRefusal::UnknownCurve {
                    oid: other.to_string(),
                });
            }
        };
        let first = material.first().copied().unwrap_or(0);
        if first != 4 || material.len() != wanted {
            return Err(KeyRefusal::PointForm {
                bytes: material.len(),
                first,
                wanted,
            });
        }
        Ok((algorithm, material))
    } else if oid == ID_RSA {
        if !parameters.is_some_and(|any| any.is_null()) {
            return Err(KeyRefusal::Parameters { algorithm: "RSA" });
        }
        let bits = rsa_bits(material)?;
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyRefusal::RsaSize {
                bits,
                min: MIN_RSA_BITS,
                max: MAX_RSA_BITS,
            });
        }
        Ok((KeyAlgorithm::Rsa { bits }, material))
    } else if oid == ID_ED25519 {
        if parameters.is_some() {
            return Err(KeyRefusal::Parameters {
                algorithm: "Ed25519",
            });
        }
        check_ed25519(material)?;
        Ok((KeyAlgorithm::Ed25519, material))
    } else {
        Err(KeyRefusal::UnknownAlgorithm {
            oid: oid.to_string(),
        })
    }
}

fn unreadable(error: der::Error) -> KeyRefusal {
    KeyRefusal::Unreadable {
        reason: error.to_string(),
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`
/// (RFC 8017 A.1.1).
#[derive(der::Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    #[allow(dead_code)] // judged by the backend
    public_exponent: UintRef<'a>,
}

fn rsa_bits(der: &[u8]) -> Result<u32, KeyRefusal> {
    let key = RsaPublicKey::from_der(der).map_err(unreadable)?;
    let bytes = key.modulus.as_bytes();
    let leading = bytes.first().map_or(8, |first| first.leading_zeros());
    let bits = u32::try_from(bytes.len())
        .ok()
        .and_then(|bytes| bytes.checked_mul(8))
        .and_then(|bits| bits.checked_sub(leading));
    Ok(bits.unwrap_or(0))
}

/// A point of small order verifies signatures that nobody made (RFC 8032
/// §5.1.7 leaves it open; both backends would accept some).
fn check_ed25519(material: &[u8]) -> Result<(), KeyRefusal> {
    let invalid = KeyRefusal::Invalid {
        algorithm: KeyAlgorithm::Ed25519,
    };
    let Ok(bytes) = <&[u8; 32]>::try_from(material) else {
        return Err(invalid);
    };
    match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
        Ok(key) if !key.is_weak() => Ok(()),
        _ => Err(invalid),
    }
}
