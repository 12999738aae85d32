//! CMS SignedData (RFC 5652), read strictly and made as gitsign makes it.
//!
//! Reading is over the bytes that came in: DER only, each thing once, nothing
//! left over. Making goes through the `cms` crate's types.
//!
//! *Not checked here:* the armour (`armor.rs`), the content's digest and the
//! signature (`verify.rs`, steps 2 and 3), the log entry's and timestamps'
//! content (`entry.rs`, `timestamp.rs`), whose certificate it is (`chain.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use cms::{
    cert::{CertificateChoices, IssuerAndSerialNumber},
    content_info::{CmsVersion, ContentInfo},
    signed_data::{
        CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier,
        SignerInfo, SignerInfos,
    },
};
use const_oid::{
    ObjectIdentifier,
    db::rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA, ID_SIGNING_TIME},
};
use der::{
    Any, Decode as _, Encode as _,
    asn1::{OctetString, SetOfVec},
};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use spki::AlgorithmIdentifierOwned;
use x509_cert::attr::Attribute;

use super::{
    UnixTime,
    asn1::{self, DerError, DerReader, Tlv},
    certificate::{Certificate, CertificateRefusal},
    keys::{KeyAlgorithm, SignatureAlgorithm},
    refusal::reasons,
};

/// The largest CMS that is read, in bytes.
pub const MAX_CMS: usize = 1 << 20;
/// The most certificates in one CMS.
pub const MAX_CERTIFICATES: usize = 16;
/// The most attributes of one kind (signed, unsigned).
pub const MAX_ATTRIBUTES: usize = 32;

/// The log entry: 1.3.6.1.4.1.57264.3.1, one OCTET STRING with a
/// `dev.sigstore.rekor.v1.TransparencyLogEntry` in protobuf.
pub const LOG_ENTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.3.1");
/// The arc of the January-2023 draft, which spread the entry over .0 to .9.
const DRAFT_ARC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x03];
/// id-aa-timeStampToken (RFC 3161 appendix A).
pub const TIMESTAMP_TOKEN: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.14");

static ID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
static ID_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
static ID_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

reasons! {
    /// Why a CMS is not read as one signature by one signer.
    pub enum CmsRefusal {
        /// More than [`MAX_CMS`] bytes.
        #[code = "cms-too-large"]
        #[error("the CMS has {bytes} bytes, more than {MAX_CMS}")]
        TooLarge {
            /// Bytes found.
            bytes: usize,
        },
        /// Not DER, or not the structure of RFC 5652.
        #[code = "cms-not-der"]
        #[error("the CMS is not readable as DER: {why}")]
        Der {
            /// What is wrong.
            why: DerError,
        },
        /// Bytes after the CMS.
        #[code = "cms-trailing-data"]
        #[error("{bytes} bytes follow the CMS")]
        Trailing {
            /// Bytes found.
            bytes: usize,
        },
        /// Another kind of CMS.
        #[code = "cms-not-signed-data"]
        #[error("the CMS holds {oid}, not SignedData")]
        NotSignedData {
            /// Dotted.
            oid: String,
        },
        /// A version that does not go with what is there (RFC 5652 §5.1, §5.3).
        #[code = "cms-version"]
        #[error("{what} has version {found}")]
        Version {
            /// SignedData or SignerInfo.
            what: &'static str,
            /// As found.
            found: u32,
        },
        /// The content, or what the signer says of it, is not plain data.
        #[code = "cms-content-type"]
        #[error("the content type is {found}, not id-data")]
        ContentType {
            /// Dotted.
            found: String,
        },
        /// Certificate revocation lists have no business here.
        #[code = "cms-crls"]
        #[error("the CMS carries revocation lists")]
        Crls,
        /// No certificate at all.
        #[code = "cms-no-certificate"]
        #[error("the CMS carries no certificate")]
        NoCertificate,
        /// More than [`MAX_CERTIFICATES`].
        #[code = "cms-too-many-certificates"]
        #[error("the CMS carries more than {MAX_CERTIFICATES} certificates")]
        TooManyCertificates,
        /// A certificate that cannot be read.
        #[code = "cms-certificate"]
        #[error("a certificate of the CMS is not readable: {why}")]
        Certificate {
            /// What is wrong.
            why: CertificateRefusal,
        },
        /// Not exactly one signer.
        #[code = "cms-signers"]
        #[error("the CMS has {found} signers, not exactly one")]
        Signers {
            /// How many.
            found: usize,
        },
        /// No certificate is the signer's.
        #[code = "cms-no-signer-certificate"]
        #[error("none of the certificates is the signer's")]
        NoSignerCertificate,
        /// Two certificates could be the signer's.
        #[code = "cms-ambiguous-signer"]
        #[error("more than one of the certificates could be the signer's")]
        AmbiguousSigner,
        /// A digest that is not SHA-2.
        #[code = "cms-digest-algorithm"]
        #[error("the digest algorithm {oid} is not SHA-256, SHA-384 or SHA-512")]
        DigestAlgorithm {
            /// Dotted.
            oid: String,
        },
        /// The list of digests does not name the signer's.
        #[code = "cms-digest-algorithms"]
        #[error("the CMS's digest algorithms do not contain the signer's")]
        DigestAlgorithms,
        /// The signature hashes with another digest than the content.
        #[code = "cms-digest-mismatch"]
        #[error("the content is digested with {digest}, the signature with {signature}")]
        DigestMismatch {
            /// The signer's digest.
            digest: &'static str,
            /// The signature algorithm.
            signature: SignatureAlgorithm,
        },
        /// A signature algorithm that is not known, or not of the leaf's key.
        #[code = "cms-signature-algorithm"]
        #[error("the signature algorithm {oid} is not one of the certificate's key")]
        SignatureAlgorithm {
            /// Dotted.
            oid: String,
        },
        /// Algorithm parameters where there are none.
        #[code = "cms-algorithm-parameters"]
        #[error("the algorithm {oid} has parameters that it does not take")]
        Parameters {
            /// Dotted.
            oid: String,
        },
        /// Signed attributes are what binds the content type: without them a
        /// signature could be read in two ways.
        #[code = "cms-no-signed-attributes"]
        #[error("the signer signed no attributes")]
        NoSignedAttributes,
        /// More than [`MAX_ATTRIBUTES`].
        #[code = "cms-too-many-attributes"]
        #[error("more than {MAX_ATTRIBUTES} attributes")]
        TooManyAttributes,
        /// Not in DER's order, so that their bytes are not the only ones.
        #[code = "cms-attributes-order"]
        #[error("the attributes are not in the order of DER")]
        AttributesOrder,
        /// One of the three that must be there.
        #[code = "cms-missing-attribute"]
        #[error("the signed attribute {name} is missing")]
        MissingAttribute {
            /// Which.
            name: &'static str,
        },
        /// The same attribute twice.
        #[code = "cms-duplicate-attribute"]
        #[error("the attribute {oid} is there twice")]
        DuplicateAttribute {
            /// Dotted.
            oid: String,
        },
        /// Not exactly one value.
        #[code = "cms-attribute-values"]
        #[error("the attribute {name} has {found} values, not exactly one")]
        AttributeValues {
            /// Which.
            name: &'static str,
            /// How many.
            found: usize,
        },
        /// The log entry as a draft of January 2023 wrote it.
        #[code = "cms-draft-log-entry"]
        #[error("the log entry is in the draft encoding of January 2023, which is not read")]
        DraftLogEntry,
        /// The parts do not make a CMS. A fault of the maker.
        #[code = "cms-assembly"]
        #[error("the CMS cannot be put together: {why}")]
        Assembly {
            /// What the encoder said.
            why: String,
        },
    }
}

impl From<DerError> for CmsRefusal {
    fn from(why: DerError) -> Self {
        Self::Der { why }
    }
}

/// The digest over the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// `sha256`, `sha384`, `sha512`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The content octets of its object identifier.
    #[must_use]
    pub fn oid_octets(self) -> &'static [u8] {
        match self {
            Self::Sha256 => ID_SHA256.as_bytes(),
            Self::Sha384 => ID_SHA384.as_bytes(),
            Self::Sha512 => ID_SHA512.as_bytes(),
        }
    }

    /// The digest of some bytes.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// The digest of this object identifier (content octets).
    pub(super) fn from_oid(oid: &[u8]) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|known| known.oid_octets() == oid)
    }
}

/// One signature by one signer, as it was written.
#[derive(Debug, Clone)]
pub struct SignedMessage {
    /// Over the content, and inside the signature.
    pub digest: Digest,
    /// The signed attributes as a SET OF (tag 31): the bytes that are signed.
    pub attributes: Vec<u8>,
    /// The value of `messageDigest`.
    pub message_digest: Vec<u8>,
    /// The value of `signingTime`: the signer's own clock.
    pub signing_time: UnixTime,
    /// The signature.
    pub signature: Vec<u8>,
    /// How it was made.
    pub signature_algorithm: SignatureAlgorithm,
    /// The signer's certificate.
    pub leaf: Certificate,
    /// The other certificates.
    pub others: Vec<Certificate>,
    /// The content, in the attached form.
    pub content: Option<Vec<u8>>,
    /// The embedded log entry, in protobuf.
    pub log_entry: Option<Vec<u8>>,
    /// RFC 3161 timestamp tokens, in DER.
    pub timestamps: Vec<Vec<u8>>,
}

/// Reads a CMS: step 1.
///
/// ```text
/// ContentInfo ::= SEQUENCE { contentType, content [0] EXPLICIT SignedData }
/// SignedData ::= SEQUENCE { version, digestAlgorithms SET, encapContentInfo,
///   certificates [0] IMPLICIT SET OPTIONAL, crls [1] OPTIONAL, signerInfos SET }
/// ```
///
/// # Errors
/// See [`CmsRefusal`].
pub fn read(der: &[u8]) -> Result<SignedMessage, CmsRefusal> {
    if der.len() > MAX_CMS {
        return Err(CmsRefusal::TooLarge { bytes: der.len() });
    }
    let mut whole = DerReader::new(der);
    let outer = whole.expect(asn1::SEQUENCE, "ContentInfo")?;
    if let Some(bytes) = der
        .len()
        .checked_sub(outer.raw.len())
        .filter(|rest| *rest > 0)
    {
        return Err(CmsRefusal::Trailing { bytes });
    }
    asn1::check_der(der, "CMS")?;
    let mut info = DerReader::new(outer.value);
    let kind = info.oid("contentType")?;
    if kind != ID_SIGNED_DATA.as_bytes() {
        return Err(CmsRefusal::NotSignedData {
            oid: asn1::dotted(kind),
        });
    }
    let explicit = info.expect(0xa0, "content")?;
    info.finish("ContentInfo")?;
    let mut data =
        DerReader::new(asn1::read_single(explicit.value, asn1::SEQUENCE, "SignedData")?.value);
    let version = data.read_u32("version")?;
    // RFC 5652 §5.1: 1 for data with issuer-and-serial, 3 otherwise.
    if !matches!(version, 1 | 3) {
        return Err(CmsRefusal::Version {
            what: "SignedData",
            found: version,
        });
    }
    let digests = values(data.expect(asn1::SET, "digestAlgorithms")?)?;
    let content = encapsulated(data.expect(asn1::SEQUENCE, "encapContentInfo")?)?;
    let certificates = match data.optional(0xa0, "certificates")? {
        None => Vec::new(),
        Some(set) => certificates(set)?,
    };
    if data.optional(0xa1, "crls")?.is_some() {
        return Err(CmsRefusal::Crls);
    }
    let signers = values(data.expect(asn1::SET, "signerInfos")?)?;
    data.finish("SignedData")?;
    let [signer] = signers.as_slice() else {
        return Err(CmsRefusal::Signers {
            found: signers.len(),
        });
    };
    if certificates.is_empty() {
        return Err(CmsRefusal::NoCertificate);
    }
    signer_info(*signer, &digests, content, certificates)
}

/// The values of a SET.
pub(super) fn values<'a>(set: Tlv<'a>) -> Result<Vec<Tlv<'a>>, CmsRefusal> {
    let mut reader = DerReader::new(set.value);
    let mut found = Vec::new();
    while !reader.is_empty() {
        if found.len() >= MAX_ATTRIBUTES {
            return Err(CmsRefusal::TooManyAttributes);
        }
        found.push(reader.any("value of a SET")?);
    }
    Ok(found)
}

/// `EncapsulatedContentInfo ::= SEQUENCE { eContentType, eContent [0] EXPLICIT
/// OCTET STRING OPTIONAL }`
fn encapsulated(info: Tlv<'_>) -> Result<Option<Vec<u8>>, CmsRefusal> {
    let mut reader = DerReader::new(info.value);
    let kind = reader.oid("eContentType")?;
    if kind != ID_DATA.as_bytes() {
        return Err(CmsRefusal::ContentType {
            found: asn1::dotted(kind),
        });
    }
    let content = match reader.optional(0xa0, "eContent")? {
        None => None,
        Some(explicit) => Some(
            asn1::read_single(explicit.value, asn1::OCTET_STRING, "eContent")?
                .value
                .to_vec(),
        ),
    };
    reader.finish("encapContentInfo")?;
    Ok(content)
}

pub(super) fn certificates(set: Tlv<'_>) -> Result<Vec<Certificate>, CmsRefusal> {
    let mut reader = DerReader::new(set.value);
    let mut found = Vec::new();
    while !reader.is_empty() {
        if found.len() >= MAX_CERTIFICATES {
            return Err(CmsRefusal::TooManyCertificates);
        }
        let one = reader.expect(asn1::SEQUENCE, "certificate")?;
        found.push(Certificate::from_der(one.raw).map_err(|why| CmsRefusal::Certificate { why })?);
    }
    Ok(found)
}

/// An AlgorithmIdentifier; parameters must be absent or NULL.
pub(super) fn algorithm<'a>(tlv: Tlv<'a>) -> Result<&'a [u8], CmsRefusal> {
    let mut reader = DerReader::new(tlv.value);
    let oid = reader.oid("algorithm")?;
    let parameters = reader.optional(asn1::NULL, "parameters")?;
    if parameters.is_some_and(|null| !null.value.is_empty()) || !reader.is_empty() {
        return Err(CmsRefusal::Parameters {
            oid: asn1::dotted(oid),
        });
    }
    Ok(oid)
}

/// ```text
/// SignerInfo ::= SEQUENCE { version, sid, digestAlgorithm,
///   signedAttrs [0] IMPLICIT SET OPTIONAL, signatureAlgorithm, signature,
///   unsignedAttrs [1] IMPLICIT SET OPTIONAL }
/// ```
fn signer_info(
    signer: Tlv<'_>,
    digests: &[Tlv<'_>],
    content: Option<Vec<u8>>,
    mut certificates: Vec<Certificate>,
) -> Result<SignedMessage, CmsRefusal> {
    let mut reader =
        DerReader::new(asn1::read_single(signer.raw, asn1::SEQUENCE, "SignerInfo")?.value);
    let version = reader.read_u32("version")?;
    let sid = reader.any("sid")?;
    let nth = signer_certificate(version, sid, &certificates)?;
    let digest_oid = algorithm(reader.expect(asn1::SEQUENCE, "digestAlgorithm")?)?;
    let digest = Digest::from_oid(digest_oid).ok_or_else(|| CmsRefusal::DigestAlgorithm {
        oid: asn1::dotted(digest_oid),
    })?;
    let mut listed = false;
    for one in digests {
        let one = asn1::read_single(one.raw, asn1::SEQUENCE, "digestAlgorithms")?;
        listed |= algorithm(one)? == digest_oid;
    }
    if !listed {
        return Err(CmsRefusal::DigestAlgorithms);
    }
    let signed = reader
        .optional(0xa0, "signedAttrs")?
        .ok_or(CmsRefusal::NoSignedAttributes)?;
    let signature_oid = algorithm(reader.expect(asn1::SEQUENCE, "signatureAlgorithm")?)?;
    let signature = reader
        .expect(asn1::OCTET_STRING, "signature")?
        .value
        .to_vec();
    let unsigned = reader.optional(0xa1, "unsignedAttrs")?;
    reader.finish("SignerInfo")?;

    let signed_attributes = attributes_of(signed)?;
    let one = |oid: &ObjectIdentifier, name: &'static str| {
        single(&signed_attributes, oid, name)?.ok_or(CmsRefusal::MissingAttribute { name })
    };
    let content_type = one(&ID_CONTENT_TYPE, "contentType")?;
    let content_type = asn1::read_single(content_type.raw, asn1::OID, "contentType")?.value;
    if content_type != ID_DATA.as_bytes() {
        return Err(CmsRefusal::ContentType {
            found: asn1::dotted(content_type),
        });
    }
    let message_digest = one(&ID_MESSAGE_DIGEST, "messageDigest")?;
    let message_digest =
        asn1::read_single(message_digest.raw, asn1::OCTET_STRING, "messageDigest")?.value;
    let signing_time = asn1::time(one(&ID_SIGNING_TIME, "signingTime")?, "signingTime")?;

    let unsigned_attributes = unsigned.map(attributes_of).transpose()?.unwrap_or_default();
    let log_entry = embedded_entry(&unsigned_attributes)?;
    let timestamps = match find(&unsigned_attributes, &TIMESTAMP_TOKEN) {
        None => Vec::new(),
        Some([]) => {
            return Err(CmsRefusal::AttributeValues {
                name: "timeStampToken",
                found: 0,
            });
        }
        Some(values) => values.iter().map(|value| value.raw.to_vec()).collect(),
    };

    let leaf = certificates.swap_remove(nth);
    let signature_algorithm = signature_algorithm(signature_oid, digest, &leaf)?;
    Ok(SignedMessage {
        digest,
        attributes: asn1::tlv(asn1::SET, &[signed.value]),
        message_digest: message_digest.to_vec(),
        signing_time,
        signature,
        signature_algorithm,
        leaf,
        others: certificates,
        content,
        log_entry,
        timestamps,
    })
}

/// `SignerIdentifier ::= CHOICE { IssuerAndSerialNumber, [0] SubjectKeyIdentifier }`:
/// version 1 goes with the first, 3 with the second (RFC 5652 §5.3).
pub(super) fn signer_certificate(
    version: u32,
    sid: Tlv<'_>,
    certificates: &[Certificate],
) -> Result<usize, CmsRefusal> {
    let matches: Vec<usize> = match (version, sid.tag) {
        (1, asn1::SEQUENCE) => {
            let mut reader = DerReader::new(sid.value);
            let issuer = reader.expect(asn1::SEQUENCE, "issuer")?.raw;
            let serial = reader.expect(asn1::INTEGER, "serialNumber")?.value;
            let serial = asn1::integer(serial, "serialNumber")?;
            reader.finish("issuerAndSerialNumber")?;
            positions(certificates, |one| {
                one.issuer_der() == issuer && one.serial() == serial
            })
        }
        (3, 0x80) => positions(certificates, |one| one.subject_key_id() == Some(sid.value)),
        _ => {
            return Err(CmsRefusal::Version {
                what: "SignerInfo",
                found: version,
            });
        }
    };
    match matches.as_slice() {
        [] => Err(CmsRefusal::NoSignerCertificate),
        [one] => Ok(*one),
        _ => Err(CmsRefusal::AmbiguousSigner),
    }
}

fn positions(certificates: &[Certificate], is: impl Fn(&Certificate) -> bool) -> Vec<usize> {
    certificates
        .iter()
        .enumerate()
        .filter(|(_, one)| is(one))
        .map(|(nth, _)| nth)
        .collect()
}

pub(super) type AttributeValues<'a> = (&'a [u8], Vec<Tlv<'a>>);

/// `Attribute ::= SEQUENCE { attrType, attrValues SET OF }`, in DER's order and
/// each type once.
pub(super) fn attributes_of(set: Tlv<'_>) -> Result<Vec<AttributeValues<'_>>, CmsRefusal> {
    let all = values(set)?;
    let mut found: Vec<AttributeValues<'_>> = Vec::with_capacity(all.len());
    for one in &all {
        let mut reader =
            DerReader::new(asn1::read_single(one.raw, asn1::SEQUENCE, "attribute")?.value);
        let oid = reader.oid("attrType")?;
        let values = values(reader.expect(asn1::SET, "attrValues")?)?;
        reader.finish("attribute")?;
        if found.iter().any(|(known, _)| *known == oid) {
            return Err(CmsRefusal::DuplicateAttribute {
                oid: asn1::dotted(oid),
            });
        }
        found.push((oid, values));
    }
    let raw: Vec<&[u8]> = all.iter().map(|one| one.raw).collect();
    if asn1::is_sorted_set(&raw) {
        Ok(found)
    } else {
        Err(CmsRefusal::AttributesOrder)
    }
}

fn find<'a, 'b>(
    attributes: &'b [AttributeValues<'a>],
    oid: &ObjectIdentifier,
) -> Option<&'b [Tlv<'a>]> {
    attributes
        .iter()
        .find(|(found, _)| *found == oid.as_bytes())
        .map(|(_, values)| values.as_slice())
}

/// The one value of an attribute, where it is there.
pub(super) fn single<'a>(
    attributes: &[AttributeValues<'a>],
    oid: &ObjectIdentifier,
    name: &'static str,
) -> Result<Option<Tlv<'a>>, CmsRefusal> {
    match find(attributes, oid) {
        None => Ok(None),
        Some([value]) => Ok(Some(*value)),
        Some(values) => Err(CmsRefusal::AttributeValues {
            name,
            found: values.len(),
        }),
    }
}

/// The embedded log entry. The draft used the same object identifier for an
/// INTEGER, and its siblings for the rest.
fn embedded_entry(unsigned: &[AttributeValues<'_>]) -> Result<Option<Vec<u8>>, CmsRefusal> {
    let entry = single(unsigned, &LOG_ENTRY, "log entry")?;
    let draft_part = unsigned.iter().any(|(oid, _)| {
        oid.split_last()
            .is_some_and(|(arc, prefix)| prefix == DRAFT_ARC && *arc != 1)
    });
    match entry {
        _ if draft_part => Err(CmsRefusal::DraftLogEntry),
        None => Ok(None),
        Some(value) if value.tag == asn1::OCTET_STRING => Ok(Some(value.value.to_vec())),
        Some(_) => Err(CmsRefusal::DraftLogEntry),
    }
}

/// The signature algorithm must be one of the leaf's key and hash with the
/// signer's digest. `id-ecPublicKey` and `rsaEncryption`, which name only the
/// key, are read as "with that digest" (RFC 5652 §5.3 leaves it to the digest).
fn signature_algorithm(
    oid: &[u8],
    digest: Digest,
    leaf: &Certificate,
) -> Result<SignatureAlgorithm, CmsRefusal> {
    let refuse = || CmsRefusal::SignatureAlgorithm {
        oid: asn1::dotted(oid),
    };
    let known = ObjectIdentifier::from_bytes(oid).map_err(|_| refuse())?;
    let found = named_algorithm(&known, digest).ok_or_else(refuse)?;
    // A key that cannot be read is step 3's to refuse.
    let key = leaf.public_key().ok().map(|key| key.algorithm());
    if key.is_some_and(|key| !found.is_compatible_with(key)) {
        return Err(refuse());
    }
    let hashes_with = match found {
        SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::RsaPkcs1Sha256 => Digest::Sha256,
        SignatureAlgorithm::EcdsaSha384 | SignatureAlgorithm::RsaPkcs1Sha384 => Digest::Sha384,
        // RFC 8419 §3.1: Ed25519 goes with SHA-512.
        SignatureAlgorithm::EcdsaSha512
        | SignatureAlgorithm::RsaPkcs1Sha512
        | SignatureAlgorithm::Ed25519 => Digest::Sha512,
    };
    if hashes_with != digest {
        return Err(CmsRefusal::DigestMismatch {
            digest: digest.name(),
            signature: found,
        });
    }
    if key.is_some_and(|key| !pairs(key, digest)) {
        return Err(refuse());
    }
    Ok(found)
}

/// Which digests a key signs with here: the one of its curve's width, which
/// every Sigstore client uses, or SHA-256, which gitsign also tries; never one
/// that the curve would cut off.
fn pairs(key: KeyAlgorithm, digest: Digest) -> bool {
    match key {
        KeyAlgorithm::P256 => digest == Digest::Sha256,
        KeyAlgorithm::P384 => matches!(digest, Digest::Sha256 | Digest::Sha384),
        KeyAlgorithm::P521 => matches!(digest, Digest::Sha256 | Digest::Sha512),
        KeyAlgorithm::Rsa { .. } | KeyAlgorithm::Ed25519 => true,
    }
}

/// The algorithm of this object identifier; one that names only the kind of
/// key goes with the signer's digest.
pub(super) fn named_algorithm(
    oid: &ObjectIdentifier,
    digest: Digest,
) -> Option<SignatureAlgorithm> {
    match SignatureAlgorithm::from_oid(oid) {
        Some(found) => Some(found),
        None if *oid == EC_PUBLIC_KEY => Some(match digest {
            Digest::Sha256 => SignatureAlgorithm::EcdsaSha256,
            Digest::Sha384 => SignatureAlgorithm::EcdsaSha384,
            Digest::Sha512 => SignatureAlgorithm::EcdsaSha512,
        }),
        None if *oid == RSA_ENCRYPTION => Some(match digest {
            Digest::Sha256 => SignatureAlgorithm::RsaPkcs1Sha256,
            Digest::Sha384 => SignatureAlgorithm::RsaPkcs1Sha384,
            Digest::Sha512 => SignatureAlgorithm::RsaPkcs1Sha512,
        }),
        None => None,
    }
}

/// The three signed attributes of a SHA-256 signature, as a SET OF (tag 31) in
/// DER's order: the bytes to sign.
///
/// # Errors
/// The time is not between 1970 and 9999.
pub fn attributes(
    content_digest: &[u8; 32],
    signing_time: UnixTime,
) -> Result<Vec<u8>, CmsRefusal> {
    signed_attributes(content_digest, signing_time)?
        .to_der()
        .map_err(assembly)
}

fn assembly(why: der::Error) -> CmsRefusal {
    CmsRefusal::Assembly {
        why: why.to_string(),
    }
}

fn attribute(oid: ObjectIdentifier, value: Any) -> Result<Attribute, CmsRefusal> {
    Ok(Attribute {
        oid,
        values: SetOfVec::try_from(vec![value]).map_err(assembly)?,
    })
}

fn signed_attributes(
    content_digest: &[u8; 32],
    signing_time: UnixTime,
) -> Result<SignedAttributes, CmsRefusal> {
    let time = asn1::encode_time(signing_time)?;
    let digest = asn1::tlv(asn1::OCTET_STRING, &[content_digest]);
    SetOfVec::try_from(vec![
        attribute(ID_CONTENT_TYPE, Any::from(ID_DATA))?,
        attribute(ID_SIGNING_TIME, Any::from_der(&time).map_err(assembly)?)?,
        attribute(ID_MESSAGE_DIGEST, Any::from_der(&digest).map_err(assembly)?)?,
    ])
    .map_err(assembly)
}

/// Puts a detached signature together, byte for byte as gitsign does: version
/// 1, issuer and serial, algorithms without parameters, the leaf alone, the log
/// entry and the timestamp as unsigned attributes.
///
/// `attributes` is what [`attributes`](fn@attributes) gave and what was signed.
///
/// # Errors
/// A part is not DER, or the certificate would be changed by encoding it.
pub fn encode_signed_data(
    attributes: &[u8],
    signature: &[u8],
    leaf: &Certificate,
    log_entry: Option<&[u8]>,
    timestamp: Option<&[u8]>,
) -> Result<Vec<u8>, CmsRefusal> {
    let algorithm = |oid| AlgorithmIdentifierOwned {
        oid,
        parameters: None,
    };
    let certificate = x509_cert::Certificate::from_der(leaf.der()).map_err(assembly)?;
    let mut unsigned = Vec::new();
    if let Some(entry) = log_entry {
        let value = asn1::tlv(asn1::OCTET_STRING, &[entry]);
        unsigned.push(attribute(
            LOG_ENTRY,
            Any::from_der(&value).map_err(assembly)?,
        )?);
    }
    if let Some(token) = timestamp {
        unsigned.push(attribute(
            TIMESTAMP_TOKEN,
            Any::from_der(token).map_err(assembly)?,
        )?);
    }
    let unsigned_attrs = if unsigned.is_empty() {
        None
    } else {
        Some(SetOfVec::try_from(unsigned).map_err(assembly)?)
    };
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.tbs_certificate().issuer().clone(),
            serial_number: certificate.tbs_certificate().serial_number().clone(),
        }),
        digest_alg: algorithm(ID_SHA256),
        signed_attrs: Some(SignedAttributes::from_der(attributes).map_err(assembly)?),
        signature_algorithm: algorithm(ECDSA_WITH_SHA256),
        signature: OctetString::new(signature).map_err(assembly)?,
        unsigned_attrs,
    };
    let data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![algorithm(ID_SHA256)]).map_err(assembly)?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: ID_DATA,
            econtent: None,
        },
        certificates: Some(
            CertificateSet::try_from(vec![CertificateChoices::Certificate(certificate)])
                .map_err(assembly)?,
        ),
        crls: None,
        signer_infos: SignerInfos::try_from(vec![signer]).map_err(assembly)?,
    };
    let whole = ContentInfo {
        content_type: ID_SIGNED_DATA,
        content: Any::encode_from(&data).map_err(assembly)?,
    };
    let der = whole.to_der().map_err(assembly)?;
    // The certificate went through an encoder; it must have come out as it was.
    if der.windows(leaf.der().len()).any(|part| part == leaf.der()) {
        Ok(der)
    } else {
        Err(CmsRefusal::Assembly {
            why: "the certificate is not in canonical DER".to_owned(),
        })
    }
}

/// Puts what was signed inside a detached signature that [`encode_signed_data`] made
/// (RFC 5652 §5.2, eContent). The signature itself does not change: it is over
/// the attributes, which hold the content's digest.
///
/// # Errors
/// It is not such a signature, or one that has content already.
pub fn embed_content(detached: &[u8], content: &[u8]) -> Result<Vec<u8>, CmsRefusal> {
    let mut whole = ContentInfo::from_der(detached).map_err(assembly)?;
    let mut data: SignedData = whole.content.decode_as().map_err(assembly)?;
    if data.encap_content_info.econtent.is_some() {
        return Err(CmsRefusal::Assembly {
            why: "it has content already".to_owned(),
        });
    }
    let content = asn1::tlv(asn1::OCTET_STRING, &[content]);
    data.encap_content_info.econtent = Some(Any::from_der(&content).map_err(assembly)?);
    whole.content = Any::encode_from(&data).map_err(assembly)?;
    whole.to_der().map_err(assembly)
}
