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

use const_oid::{
    ObjectIdentifier,
    db::rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA, ID_SIGNING_TIME},
};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::{
    UnixTime,
    asn1::{self, DerError, DerReader, ParseError, Tlv},
    certificate::Certificate,
    keys::{KeyAlgorithm, SignatureAlgorithm},
    refusal::{Reason, reason},
};

/// The largest CMS that is read, in bytes.
pub(crate) const MAX_CMS: usize = 1 << 20;
/// The most certificates in one CMS.
pub(crate) const MAX_CERTIFICATES: usize = 16;
/// The most attributes of one kind (signed, unsigned).
pub(crate) const MAX_ATTRIBUTES: usize = 32;

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
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The digest over the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// The digest SHA-256.
    Sha256,
    /// The digest SHA-384.
    Sha384,
    /// The digest SHA-512.
    Sha512,
}

impl Digest {
    /// Returns the name: `sha256`, `sha384` or `sha512`.
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
    /// The signature over the attributes.
    pub signature: Vec<u8>,
    /// The algorithm of the signature.
    pub signature_algorithm: SignatureAlgorithm,
    /// The certificate of the signer.
    pub leaf: Certificate,
    /// The other certificates of the CMS.
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
/// The message is not a CMS of this form: DER, one signer, within the limits.
pub fn read(der: &[u8]) -> Result<SignedMessage, Reason> {
    if der.len() > MAX_CMS {
        return Err(reason!(
            "cms-too-large",
            "the CMS is {} bytes; the limit is {MAX_CMS}",
            der.len()
        ));
    }
    parse(der).map_err(|error| error.reason(not_der))
}

/// The reason for a CMS that is not DER.
pub(crate) fn not_der(error: DerError) -> Reason {
    reason!("cms-not-der", "cannot parse CMS: {error}")
}

fn parse(der: &[u8]) -> Result<SignedMessage, ParseError> {
    let mut whole = DerReader::new(der);
    let outer = whole.expect(asn1::SEQUENCE, "ContentInfo")?;
    if let Some(bytes) = der
        .len()
        .checked_sub(outer.raw.len())
        .filter(|rest| *rest > 0)
    {
        return Err(reason!("cms-trailing-data", "{bytes} bytes follow the CMS").into());
    }
    asn1::check_der(der, "CMS")?;
    let mut info = DerReader::new(outer.value);
    let kind = info.oid("contentType")?;
    if kind != ID_SIGNED_DATA.as_bytes() {
        return Err(reason!(
            "cms-not-signed-data",
            "the CMS contains {oid}, not SignedData",
            oid = asn1::dotted(kind)
        )
        .into());
    }
    let explicit = info.expect(0xa0, "content")?;
    info.finish("ContentInfo")?;
    let mut data =
        DerReader::new(asn1::read_single(explicit.value, asn1::SEQUENCE, "SignedData")?.value);
    let version = data.read_u32("version")?;
    let digests = values(data.expect(asn1::SET, "digestAlgorithms")?)?;
    let content = encapsulated(data.expect(asn1::SEQUENCE, "encapContentInfo")?)?;
    let certificates = match data.optional(0xa0, "certificates")? {
        None => Vec::new(),
        Some(set) => certificates(set)?,
    };
    if data.optional(0xa1, "crls")?.is_some() {
        return Err(reason!("cms-crls", "the CMS contains revocation lists").into());
    }
    let signers = values(data.expect(asn1::SET, "signerInfos")?)?;
    data.finish("SignedData")?;
    let [signer] = signers.as_slice() else {
        return Err(reason!(
            "cms-signers",
            "the CMS has {found} signers, not exactly one",
            found = signers.len()
        )
        .into());
    };
    if certificates.is_empty() {
        return Err(reason!("cms-no-certificate", "the CMS contains no certificate").into());
    }
    signer_info(*signer, version, &digests, content, certificates)
}

fn unknown_version(what: &str, found: u32) -> Reason {
    reason!("cms-version", "{what} has version {found}")
}

fn not_data(content_type: &[u8]) -> Reason {
    reason!(
        "cms-content-type",
        "the content type is {}, not id-data",
        asn1::dotted(content_type)
    )
}

fn attribute_values(name: &str, found: usize) -> Reason {
    reason!(
        "cms-attribute-values",
        "the attribute {name} has {found} values, not exactly one"
    )
}

pub(crate) fn missing_attribute(name: &str) -> Reason {
    reason!(
        "cms-missing-attribute",
        "the signed attribute {name} is missing"
    )
}

fn draft() -> Reason {
    reason!(
        "cms-draft-log-entry",
        "the log entry is in the draft encoding of January 2023, which is not supported"
    )
}

/// The values of a SET.
pub(super) fn values<'a>(set: Tlv<'a>) -> Result<Vec<Tlv<'a>>, ParseError> {
    let mut reader = DerReader::new(set.value);
    let mut found = Vec::new();
    while !reader.is_empty() {
        if found.len() >= MAX_ATTRIBUTES {
            return Err(reason!(
                "cms-too-many-attributes",
                "more than {MAX_ATTRIBUTES} attributes"
            )
            .into());
        }
        found.push(reader.any("value of a SET")?);
    }
    Ok(found)
}

/// `EncapsulatedContentInfo ::= SEQUENCE { eContentType, eContent [0] EXPLICIT
/// OCTET STRING OPTIONAL }`
fn encapsulated(info: Tlv<'_>) -> Result<Option<Vec<u8>>, ParseError> {
    let mut reader = DerReader::new(info.value);
    let kind = reader.oid("eContentType")?;
    if kind != ID_DATA.as_bytes() {
        return Err(not_data(kind).into());
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

pub(super) fn certificates(set: Tlv<'_>) -> Result<Vec<Certificate>, ParseError> {
    let mut reader = DerReader::new(set.value);
    let mut found = Vec::new();
    while !reader.is_empty() {
        if found.len() >= MAX_CERTIFICATES {
            return Err(reason!(
                "cms-too-many-certificates",
                "the CMS contains more than {MAX_CERTIFICATES} certificates"
            )
            .into());
        }
        let one = reader.expect(asn1::SEQUENCE, "certificate")?;
        found.push(Certificate::from_der(one.raw)?);
    }
    Ok(found)
}

/// An AlgorithmIdentifier; parameters must be absent or NULL.
pub(super) fn algorithm<'a>(tlv: Tlv<'a>) -> Result<&'a [u8], ParseError> {
    let mut reader = DerReader::new(tlv.value);
    let oid = reader.oid("algorithm")?;
    let parameters = reader.optional(asn1::NULL, "parameters")?;
    if parameters.is_some_and(|null| !null.value.is_empty()) || !reader.is_empty() {
        return Err(reason!(
            "cms-algorithm-parameters",
            "the algorithm {oid} has parameters that it does not take",
            oid = asn1::dotted(oid)
        )
        .into());
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
    outer_version: u32,
    digests: &[Tlv<'_>],
    content: Option<Vec<u8>>,
    mut certificates: Vec<Certificate>,
) -> Result<SignedMessage, ParseError> {
    let mut reader =
        DerReader::new(asn1::read_single(signer.raw, asn1::SEQUENCE, "SignerInfo")?.value);
    let version = reader.read_u32("version")?;
    let sid = reader.any("sid")?;
    let nth = signer_certificate(version, sid, &certificates)?;
    // RFC 5652 §5.1: SignedData over id-data has the version of its SignerInfo.
    if outer_version != version {
        return Err(unknown_version("SignedData", outer_version).into());
    }
    let digest_oid = algorithm(reader.expect(asn1::SEQUENCE, "digestAlgorithm")?)?;
    let digest = Digest::from_oid(digest_oid).ok_or_else(|| {
        reason!(
            "cms-digest-algorithm",
            "the digest algorithm {oid} is not SHA-256, SHA-384 or SHA-512",
            oid = asn1::dotted(digest_oid)
        )
    })?;
    let mut listed = false;
    for one in digests {
        let one = asn1::read_single(one.raw, asn1::SEQUENCE, "digestAlgorithms")?;
        listed |= algorithm(one)? == digest_oid;
    }
    if !listed {
        return Err(reason!(
            "cms-digest-algorithms",
            "the CMS's digest algorithms do not contain the signer's"
        )
        .into());
    }
    let signed = reader.optional(0xa0, "signedAttrs")?.ok_or_else(|| {
        reason!(
            "cms-no-signed-attributes",
            "the signer signed no attributes"
        )
    })?;
    let signature_oid = algorithm(reader.expect(asn1::SEQUENCE, "signatureAlgorithm")?)?;
    let signature = reader
        .expect(asn1::OCTET_STRING, "signature")?
        .value
        .to_vec();
    let unsigned = reader.optional(0xa1, "unsignedAttrs")?;
    reader.finish("SignerInfo")?;

    let signed_attributes = attributes_of(signed)?;
    let one = |oid: &ObjectIdentifier, name: &'static str| {
        single(&signed_attributes, oid, name)?
            .ok_or_else(|| ParseError::from(missing_attribute(name)))
    };
    let content_type = one(&ID_CONTENT_TYPE, "contentType")?;
    let content_type = asn1::read_single(content_type.raw, asn1::OID, "contentType")?.value;
    if content_type != ID_DATA.as_bytes() {
        return Err(not_data(content_type).into());
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
            return Err(attribute_values("timeStampToken", 0).into());
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
) -> Result<usize, ParseError> {
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
            return Err(unknown_version("SignerInfo", version).into());
        }
    };
    match matches.as_slice() {
        [] => Err(reason!(
            "cms-no-signer-certificate",
            "none of the certificates is the signer's"
        )
        .into()),
        [one] => Ok(*one),
        _ => Err(reason!(
            "cms-ambiguous-signer",
            "more than one of the certificates could be the signer's"
        )
        .into()),
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
pub(super) fn attributes_of(set: Tlv<'_>) -> Result<Vec<AttributeValues<'_>>, ParseError> {
    let all = values(set)?;
    let mut found: Vec<AttributeValues<'_>> = Vec::with_capacity(all.len());
    for one in &all {
        let mut reader =
            DerReader::new(asn1::read_single(one.raw, asn1::SEQUENCE, "attribute")?.value);
        let oid = reader.oid("attrType")?;
        let values = values(reader.expect(asn1::SET, "attrValues")?)?;
        reader.finish("attribute")?;
        if found.iter().any(|(known, _)| *known == oid) {
            return Err(reason!(
                "cms-duplicate-attribute",
                "duplicate attribute {oid}",
                oid = asn1::dotted(oid)
            )
            .into());
        }
        found.push((oid, values));
    }
    let raw: Vec<&[u8]> = all.iter().map(|one| one.raw).collect();
    if asn1::is_sorted_set(&raw) {
        Ok(found)
    } else {
        Err(reason!(
            "cms-attributes-order",
            "the attributes are not in the order of DER"
        )
        .into())
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
) -> Result<Option<Tlv<'a>>, ParseError> {
    match find(attributes, oid) {
        None => Ok(None),
        Some([value]) => Ok(Some(*value)),
        Some(values) => Err(attribute_values(name, values.len()).into()),
    }
}

/// The embedded log entry. The draft used the same object identifier for an
/// INTEGER, and its siblings for the rest.
fn embedded_entry(unsigned: &[AttributeValues<'_>]) -> Result<Option<Vec<u8>>, ParseError> {
    let entry = single(unsigned, &LOG_ENTRY, "log entry")?;
    let draft_part = unsigned.iter().any(|(oid, _)| {
        oid.split_last()
            .is_some_and(|(arc, prefix)| prefix == DRAFT_ARC && *arc != 1)
    });
    match entry {
        _ if draft_part => Err(draft().into()),
        None => Ok(None),
        Some(value) if value.tag == asn1::OCTET_STRING => Ok(Some(value.value.to_vec())),
        Some(_) => Err(draft().into()),
    }
}

/// The signature algorithm must be one of the leaf's key and hash with the
/// signer's digest. `id-ecPublicKey` and `rsaEncryption`, which name only the
/// key, are read as "with that digest" (RFC 5652 §5.3 leaves it to the digest).
fn signature_algorithm(
    oid: &[u8],
    digest: Digest,
    leaf: &Certificate,
) -> Result<SignatureAlgorithm, Reason> {
    let refuse = || {
        reason!(
            "cms-signature-algorithm",
            "the signature algorithm {oid} is not one of the certificate's key",
            oid = asn1::dotted(oid)
        )
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
        return Err(reason!(
            "cms-digest-mismatch",
            "the content is digested with {digest}, the signature with {signature}",
            digest = digest.name(),
            signature = found
        ));
    }
    if key.is_some_and(|key| !pairs(key, digest)) {
        return Err(refuse());
    }
    Ok(found)
}

/// The digests that a key signs with here: the one of its curve's width, which
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
