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

use const_oid::ObjectIdentifier;
use sha2::{Digest, Sha256};

use crate::{
    asn1::{self, DerError, DerReader, ParseError},
    hex,
    refusal::{Reason, codes, reason},
};

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
pub(crate) const MAX_SPKI: usize = 2048;
/// Longest PEM text that is read as a public key, in bytes.
pub(crate) const MAX_PEM: usize = 16 * 1024;
/// Fewest bits of an RSA modulus.
pub(crate) const MIN_RSA_BITS: u32 = 2048;
/// Most bits of an RSA modulus.
pub(crate) const MAX_RSA_BITS: u32 = 8192;
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

/// The kind of a public key.
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
    /// Ed25519 keys (RFC 8032).
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

/// The algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA over a SHA-256 digest.
    EcdsaSha256,
    /// ECDSA over a SHA-384 digest.
    EcdsaSha384,
    /// ECDSA over a SHA-512 digest.
    EcdsaSha512,
    /// RSASSA-PKCS1-v1_5 over a SHA-256 digest.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 over a SHA-384 digest.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 over a SHA-512 digest.
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
    pub(crate) fn digest_length(self) -> Option<usize> {
        match self {
            Self::EcdsaSha256 | Self::RsaPkcs1Sha256 => Some(32),
            Self::EcdsaSha384 | Self::RsaPkcs1Sha384 => Some(48),
            Self::EcdsaSha512 | Self::RsaPkcs1Sha512 => Some(64),
            Self::Ed25519 => None,
        }
    }

    /// Whether a key of this kind makes such signatures.
    #[must_use]
    pub(crate) fn is_compatible_with(self, key: KeyAlgorithm) -> bool {
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

/// A public key that was parsed and checked, ready to verify with. Cheap to
/// clone. Equal keys have equal SubjectPublicKeyInfo bytes.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    spki: Box<[u8]>,
    algorithm: KeyAlgorithm,
    /// Offset of the bare key, with which `spki` ends.
    raw_key: usize,
    backend: backend::Key,
    id: OnceLock<[u8; 32]>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
    ///
    /// Elliptic-curve keys must name their curve and hold an uncompressed
    /// point on it (RFC 5480 §2); RSA moduli have 2048 to
    /// 8192 bits; Ed25519 keys of small order are refused.
    ///
    /// # Errors
    /// The key is malformed, of an unknown kind or out of range.
    pub fn from_spki(der: &[u8]) -> Result<Self, Reason> {
        if der.len() > MAX_SPKI {
            return Err(reason!(
                "key-too-long",
                "the public key is {bytes} bytes; the limit is {MAX_SPKI}",
                bytes = der.len()
            ));
        }
        let (algorithm, material) = read_spki(der).map_err(|error| error.reason(unreadable))?;
        let raw_key = der
            .len()
            .checked_sub(material.len())
            .ok_or_else(|| invalid(algorithm))?;
        let backend = backend::Key::new(algorithm, material)?;
        Ok(Self(Arc::new(Inner {
            spki: der.into(),
            algorithm,
            raw_key,
            backend,
            id: OnceLock::new(),
        })))
    }

    /// Reads a PEM block `PUBLIC KEY` (RFC 7468 §13).
    ///
    /// # Errors
    /// The text is not such a block, or the key is not accepted.
    pub fn from_pem(pem: &str) -> Result<Self, Reason> {
        if pem.len() > MAX_PEM {
            return Err(reason!(
                "key-too-long",
                "the public key is {bytes} bytes; the limit is {MAX_PEM}",
                bytes = pem.len()
            ));
        }
        let (label, der) = pem_rfc7468::decode_vec(pem.trim().as_bytes()).map_err(not_pem)?;
        if label != "PUBLIC KEY" {
            return Err(not_pem(format_args!("its label is {label:?}")));
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

    /// The kind of a public key.
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
        self.0.spki.get(self.0.raw_key..).unwrap_or_default()
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
    /// Keys of this kind do not make such signatures, or it does not verify.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Reason> {
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
    ) -> Result<(), Reason> {
        self.fits(algorithm, signature)?;
        let wanted = algorithm.digest_length().unwrap_or(0);
        if wanted == 0 || digest.len() != wanted {
            return Err(reason!(
                "digest-length",
                "the digest is {bytes} bytes; {signature} needs {expected}",
                bytes = digest.len(),
                expected = wanted,
                signature = algorithm
            ));
        }
        self.outcome(
            algorithm,
            self.0.backend.verify_digest(algorithm, digest, signature),
        )
    }

    fn fits(&self, algorithm: SignatureAlgorithm, signature: &[u8]) -> Result<(), Reason> {
        if !algorithm.is_compatible_with(self.0.algorithm) {
            return Err(reason!(
                "signature-algorithm-mismatch",
                "a {key} key does not make {signature} signatures",
                key = self.0.algorithm,
                signature = algorithm
            ));
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
    ) -> Result<(), Reason> {
        result.map_err(|Invalid| {
            reason!(
                "signature-invalid",
                "the {signature} signature does not verify with the {key} key",
                key = self.0.algorithm,
                signature = algorithm
            )
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
        write!(f, "{})", hex(&self.sha256()))
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

/// Parses the kind of key and the bare key, and checks all that needs no
/// arithmetic.
///
/// ```text
/// SubjectPublicKeyInfo ::= SEQUENCE {
///   algorithm SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL },
///   subjectPublicKey BIT STRING }
/// ```
fn read_spki(der: &[u8]) -> Result<(KeyAlgorithm, &[u8]), ParseError> {
    const WHAT: &str = "SubjectPublicKeyInfo";
    let mut info = DerReader::new(asn1::read_single(der, asn1::SEQUENCE, WHAT)?.value);
    let mut identifier = info.enter(asn1::SEQUENCE, "algorithm")?;
    let oid = object_identifier(identifier.oid("algorithm")?)?;
    let parameters = match identifier.peek() {
        None => None,
        Some(_) => Some(identifier.any("parameters")?),
    };
    identifier.finish("algorithm")?;
    let bits = info.expect(asn1::BIT_STRING, "subjectPublicKey")?;
    info.finish(WHAT)?;
    let raw = asn1::byte_aligned_bit_string(bits.value, "subjectPublicKey")?;
    let bad_parameters = |algorithm: &str| {
        reason!(
            "key-parameters",
            "the {algorithm} public key has wrong algorithm parameters"
        )
    };
    match oid {
        ID_EC_PUBLIC_KEY => {
            let parameters = parameters.ok_or_else(|| bad_parameters("EC"))?;
            if parameters.tag == asn1::SEQUENCE {
                return Err(reason!(
                    "key-curve-explicit",
                    "the public key contains its curve's parameters instead of the curve's \
                         name"
                )
                .into());
            }
            let curve = asn1::read_single(parameters.raw, asn1::OID, "curve")
                .and_then(|curve| asn1::oid(curve.value, "curve"))
                .and_then(object_identifier)
                .map_err(|_| bad_parameters("EC"))?;
            let (algorithm, expected) = match curve {
                ID_P256 => (KeyAlgorithm::P256, 65),
                ID_P384 => (KeyAlgorithm::P384, 97),
                ID_P521 => (KeyAlgorithm::P521, 133),
                other => {
                    return Err(reason!(
                        codes::KEY_CURVE_UNKNOWN,
                        "the public key's curve {other} is not supported"
                    )
                    .into());
                }
            };
            // SEC 1 §2.3.3: 04, then both coordinates.
            let first = raw.first().copied().unwrap_or(0);
            if first != 4 || raw.len() != expected {
                return Err(reason!(
                    "key-point-form",
                    "the public key's point is not in uncompressed form: {} bytes that start \
                     with {first:#04x}, expected {expected} that start with 0x04",
                    raw.len()
                )
                .into());
            }
            Ok((algorithm, raw))
        }
        ID_RSA => {
            if !parameters.is_some_and(|one| one.tag == asn1::NULL && one.value.is_empty()) {
                return Err(bad_parameters("RSA").into());
            }
            let bits = rsa_bits(raw)?;
            if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                return Err(reason!(
                    codes::KEY_RSA_SIZE,
                    "the RSA modulus has {bits} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}"
                )
                .into());
            }
            Ok((KeyAlgorithm::Rsa { bits }, raw))
        }
        ID_ED25519 if parameters.is_some() => Err(bad_parameters("Ed25519").into()),
        ID_ED25519 => {
            check_ed25519(raw)?;
            Ok((KeyAlgorithm::Ed25519, raw))
        }
        other => Err(unknown_algorithm(&other).into()),
    }
}

/// The SubjectPublicKeyInfo of an RSAPublicKey (RFC 8017 A.1.1, RFC 3279 §2.3.1).
#[must_use]
pub(crate) fn rsa_spki(rsa_public_key: &[u8]) -> Vec<u8> {
    let oid = asn1::tlv(asn1::OID, &[ID_RSA.as_bytes()]);
    let algorithm = asn1::tlv(asn1::SEQUENCE, &[&oid, &asn1::tlv(asn1::NULL, &[])]);
    let bits = asn1::tlv(asn1::BIT_STRING, &[&[0], rsa_public_key]);
    asn1::tlv(asn1::SEQUENCE, &[&algorithm, &bits])
}

fn object_identifier(octets: &[u8]) -> Result<ObjectIdentifier, DerError> {
    ObjectIdentifier::from_bytes(octets)
        .map_err(|_| DerError::value("OBJECT IDENTIFIER", "not one of this length"))
}

fn unreadable(error: DerError) -> Reason {
    reason!("key-unreadable", "cannot parse public key: {error}")
}

/// The reason for a key or signature algorithm that is not supported.
pub(crate) fn unknown_algorithm(oid: &dyn fmt::Display) -> Reason {
    reason!(
        codes::KEY_ALGORITHM_UNKNOWN,
        "the public key's algorithm {oid} is not supported"
    )
}

fn not_pem(problem: impl fmt::Display) -> Reason {
    reason!(
        "key-not-pem",
        "the public key is not a PEM block \"PUBLIC KEY\": {problem}"
    )
}

fn invalid(algorithm: KeyAlgorithm) -> Reason {
    reason!(
        "key-invalid",
        "the {algorithm} public key is not valid (its point or its numbers are out of range)"
    )
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`
/// (RFC 8017 A.1.1). The backend checks the exponent.
fn rsa_bits(der: &[u8]) -> Result<u32, DerError> {
    const WHAT: &str = "RSAPublicKey";
    let mut key = DerReader::new(asn1::read_single(der, asn1::SEQUENCE, WHAT)?.value);
    let modulus = natural(&mut key, "modulus")?;
    natural(&mut key, "publicExponent")?;
    key.finish(WHAT)?;
    let leading = modulus.first().map_or(8, |first| first.leading_zeros());
    let bits = u32::try_from(modulus.len())
        .ok()
        .and_then(|bytes| bytes.checked_mul(8))
        .and_then(|bits| bits.checked_sub(leading));
    Ok(bits.unwrap_or(0))
}

/// The octets of a non-negative INTEGER, without the leading zero that keeps it so.
fn natural<'a>(reader: &mut DerReader<'a>, what: &'static str) -> Result<&'a [u8], DerError> {
    match asn1::integer(reader.expect(asn1::INTEGER, what)?.value, what)? {
        [first, ..] if *first >= 0x80 => Err(DerError::value(what, "negative")),
        [0, rest @ ..] if !rest.is_empty() => Ok(rest),
        all => Ok(all),
    }
}

/// A point of small order verifies signatures that nobody made (RFC 8032
/// §5.1.7 leaves it open; both backends would accept some).
fn check_ed25519(raw: &[u8]) -> Result<(), Reason> {
    let invalid = || invalid(KeyAlgorithm::Ed25519);
    let Ok(bytes) = <&[u8; 32]>::try_from(raw) else {
        return Err(invalid());
    };
    match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
        Ok(key) if !key.is_weak() => Ok(()),
        _ => Err(invalid()),
    }
}
