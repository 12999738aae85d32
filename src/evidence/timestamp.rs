//! RFC 3161 timestamps: verified for step 6, and the messages between a client
//! and an authority.
//!
//! *Not checked here:* whether the time lies in the certificate's validity
//! (`verify.rs`). An authority's certificate may have expired since: it must
//! have been valid at the time that the token states.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use const_oid::ObjectIdentifier;
use sha2::{Digest as _, Sha256};

use super::{
    UnixTime,
    asn1::{self, DerError, DerReader, Tlv},
    certificate::Certificate,
    chain::{self, ChainPurpose, ChainRefusal},
    keys::KeyRefusal,
    refusal::{hex, reasons},
    signed_data::{self, CmsRefusal, Digest},
    trusted_root::TimestampAuthority,
};

/// The largest token, request or response that is read, in bytes.
pub const MAX_TIMESTAMP: usize = 64 * 1024;
/// The most octets of a nonce.
pub const MAX_NONCE: usize = 32;

const ID_SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// id-ct-TSTInfo 1.2.840.113549.1.9.16.1.4.
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// id-aa-signingCertificate (RFC 2634 §5.4): SHA-1.
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
/// id-aa-signingCertificateV2 (RFC 5035 §3).
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

reasons! {
    /// Why a timestamp is not believed.
    pub enum TimestampRefusal {
        /// More than [`MAX_TIMESTAMP`] bytes.
        #[code = "timestamp-too-large"]
        #[error("the timestamp has {bytes} bytes, more than {MAX_TIMESTAMP}")]
        TooLarge {
            /// Bytes found.
            bytes: usize,
        },
        /// Not DER, or not the structure of RFC 3161.
        #[code = "timestamp-not-der"]
        #[error("the timestamp is not readable: {why}")]
        Der {
            /// What is wrong.
            why: DerError,
        },
        /// A part that CMS shares with signatures.
        #[code = "timestamp-cms"]
        #[error("the timestamp's CMS is not readable: {why}")]
        Cms {
            /// What is wrong.
            why: CmsRefusal,
        },
        /// Not a TimeStampToken.
        #[code = "timestamp-content-type"]
        #[error("the token holds {found}, not TSTInfo")]
        ContentType {
            /// Dotted.
            found: String,
        },
        /// Not exactly one signer.
        #[code = "timestamp-signers"]
        #[error("the token has {found} signers, not exactly one")]
        Signers {
            /// How many.
            found: usize,
        },
        /// A digest that is not SHA-2.
        #[code = "timestamp-hash-algorithm"]
        #[error("the digest {oid} is not SHA-256, SHA-384 or SHA-512")]
        HashAlgorithm {
            /// Dotted.
            oid: String,
        },
        /// A signature algorithm that is not known here.
        #[code = "timestamp-signature-algorithm"]
        #[error("the signature algorithm {oid} is not known here")]
        SignatureAlgorithm {
            /// Dotted.
            oid: String,
        },
        /// The stamped digest is of something else.
        #[code = "timestamp-imprint"]
        #[error("the timestamp is over {stamped}, the signature's digest is {wanted}")]
        Imprint {
            /// Hex.
            stamped: String,
            /// Hex.
            wanted: String,
        },
        /// The signed attributes are about another TSTInfo.
        #[code = "timestamp-digest"]
        #[error("the token's digest is {content}, its signature is over {signed}")]
        Digest {
            /// Hex.
            content: String,
            /// Hex.
            signed: String,
        },
        /// Another version of TSTInfo than 1.
        #[code = "timestamp-version"]
        #[error("TSTInfo has version {found}, not 1")]
        Version {
            /// As found.
            found: u32,
        },
        /// A critical extension of TSTInfo.
        #[code = "timestamp-critical-extension"]
        #[error("TSTInfo has the critical extension {oid}, whose meaning is unknown here")]
        CriticalExtension {
            /// Dotted.
            oid: String,
        },
        /// A time that is not one.
        #[code = "timestamp-time"]
        #[error("genTime is not a time")]
        Time,
        /// No authority is trusted at all.
        #[code = "timestamp-no-authority"]
        #[error("there is a timestamp, and the trusted root names no timestamp authority")]
        NoAuthority,
        /// No trusted authority made it.
        #[code = "timestamp-untrusted"]
        #[error("no trusted timestamp authority made the timestamp")]
        Untrusted,
        /// The attribute that names the signer's certificate is missing.
        #[code = "timestamp-no-signing-certificate"]
        #[error("the token does not say which certificate signed it")]
        NoSigningCertificate,
        /// The attribute names another certificate.
        #[code = "timestamp-certificate-mismatch"]
        #[error("the token names another signing certificate than the trusted authority's")]
        CertificateMismatch,
        /// The authority was not trusted then.
        #[code = "timestamp-authority-window"]
        #[error("stamped at {at}, outside the time in which the timestamp authority is trusted")]
        AuthorityWindow {
            /// Unix seconds.
            at: UnixTime,
        },
        /// A certificate of the authority was not valid then.
        #[code = "timestamp-expired"]
        #[error("{subject:?} is valid from {not_before} to {not_after}, not at {at}")]
        Expired {
            /// Whose certificate.
            subject: String,
            /// Unix seconds.
            at: UnixTime,
            /// Unix seconds.
            not_before: UnixTime,
            /// Unix seconds.
            not_after: UnixTime,
        },
        /// The signing certificate is for something else.
        #[code = "timestamp-key-usage"]
        #[error("{subject:?} is not for timestamping alone")]
        KeyUsage {
            /// Whose certificate.
            subject: String,
        },
        /// A link of the chain that is no authority, or not signed by the next.
        #[code = "timestamp-chain"]
        #[error("the timestamp authority's chain: {why}")]
        Chain {
            /// What is wrong.
            why: ChainRefusal,
        },
        /// The token's signature.
        #[code = "timestamp-signature"]
        #[error("the timestamp's signature: {why}")]
        Signature {
            /// What the key said.
            why: KeyRefusal,
        },
        /// The authority refused the request.
        #[code = "timestamp-rejected"]
        #[error("the timestamp authority refused: status {status}{text}")]
        Rejected {
            /// PKIStatus.
            status: u32,
            /// Its words, with ": " before them, or nothing.
            text: String,
        },
        /// The answer is to another request.
        #[code = "timestamp-nonce"]
        #[error("the answer's nonce is not the request's")]
        Nonce,
    }
}

impl From<DerError> for TimestampRefusal {
    fn from(why: DerError) -> Self {
        Self::Der { why }
    }
}

impl From<CmsRefusal> for TimestampRefusal {
    fn from(why: CmsRefusal) -> Self {
        Self::Cms { why }
    }
}

/// What a token says: TSTInfo (RFC 3161 §2.4.2), and how it was signed.
#[derive(Debug, Clone)]
pub struct TimestampToken {
    /// How the stamped bytes were digested.
    pub imprint_digest: Digest,
    /// Their digest.
    pub imprint: Vec<u8>,
    /// The stated time; fractions of a second are cut off.
    pub time: UnixTime,
    /// The nonce of the request (content octets of the INTEGER).
    pub nonce: Option<Vec<u8>>,
    digest: Digest,
    content: Vec<u8>,
    message_digest: Vec<u8>,
    attributes: Vec<u8>,
    signature_oid: Vec<u8>,
    signature: Vec<u8>,
    signing_certificate: Option<CertificateHash>,
    version: u32,
    sid: Vec<u8>,
    certificates: Vec<Certificate>,
}

/// The hash by which a token names its signer's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CertificateHash {
    Sha1(Vec<u8>),
    Sha2(Digest, Vec<u8>),
}

impl CertificateHash {
    fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Sha1(hash) => certificate.sha1().as_slice() == hash,
            Self::Sha2(digest, hash) => digest.of(certificate.der()) == *hash,
        }
    }
}

/// A timestamp by a trusted authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedTimestamp {
    /// Unix seconds.
    pub time: UnixTime,
}

/// Reads a TimeStampToken.
///
/// # Errors
/// Not DER, not a TSTInfo, more than one signer, an unknown digest.
pub fn read(token: &[u8]) -> Result<TimestampToken, TimestampRefusal> {
    if token.len() > MAX_TIMESTAMP {
        return Err(TimestampRefusal::TooLarge { bytes: token.len() });
    }
    asn1::check_der(token, "TimeStampToken")?;
    let mut info =
        DerReader::new(asn1::read_single(token, asn1::SEQUENCE, "TimeStampToken")?.value);
    let kind = info.oid("contentType")?;
    if kind != ID_SIGNED_DATA {
        return Err(TimestampRefusal::ContentType {
            found: asn1::dotted(kind),
        });
    }
    let explicit = info.expect(0xa0, "content")?;
    info.finish("TimeStampToken")?;
    let mut data =
        DerReader::new(asn1::read_single(explicit.value, asn1::SEQUENCE, "SignedData")?.value);
    data.read_u32("version")?;
    data.expect(asn1::SET, "digestAlgorithms")?;
    let mut encapsulated = data.enter(asn1::SEQUENCE, "encapContentInfo")?;
    let content_type = encapsulated.oid("eContentType")?;
    if content_type != TST_INFO.as_bytes() {
        return Err(TimestampRefusal::ContentType {
            found: asn1::dotted(content_type),
        });
    }
    let content = encapsulated.expect(0xa0, "eContent")?;
    encapsulated.finish("encapContentInfo")?;
    let content = asn1::read_single(content.value, asn1::OCTET_STRING, "eContent")?.value;
    let certificates = match data.optional(0xa0, "certificates")? {
        None => Vec::new(),
        Some(set) => signed_data::certificates(set)?,
    };
    data.optional(0xa1, "crls")?;
    let signers = signed_data::values(data.expect(asn1::SET, "signerInfos")?)?;
    data.finish("SignedData")?;
    let [signer] = signers.as_slice() else {
        return Err(TimestampRefusal::Signers {
            found: signers.len(),
        });
    };
    signer_info(*signer, content, certificates)
}

fn digest_of(algorithm: Tlv<'_>) -> Result<Digest, TimestampRefusal> {
    let oid = signed_data::algorithm(algorithm)?;
    Digest::from_oid(oid).ok_or_else(|| TimestampRefusal::HashAlgorithm {
        oid: asn1::dotted(oid),
    })
}

fn signer_info(
    signer: Tlv<'_>,
    content: &[u8],
    certificates: Vec<Certificate>,
) -> Result<TimestampToken, TimestampRefusal> {
    let mut reader =
        DerReader::new(asn1::read_single(signer.raw, asn1::SEQUENCE, "SignerInfo")?.value);
    let version = reader.read_u32("version")?;
    let sid = reader.any("sid")?.raw.to_vec();
    let digest = digest_of(reader.expect(asn1::SEQUENCE, "digestAlgorithm")?)?;
    let signed = reader.expect(0xa0, "signedAttrs")?;
    let signature_oid =
        signed_data::algorithm(reader.expect(asn1::SEQUENCE, "signatureAlgorithm")?)?.to_vec();
    let signature = reader
        .expect(asn1::OCTET_STRING, "signature")?
        .value
        .to_vec();
    reader.optional(0xa1, "unsignedAttrs")?;
    reader.finish("SignerInfo")?;
    let attributes = signed_data::attributes_of(signed)?;
    let one = |oid: &ObjectIdentifier, name: &'static str| {
        signed_data::single(&attributes, oid, name)?.ok_or(CmsRefusal::MissingAttribute { name })
    };
    let content_type = one(&CONTENT_TYPE, "contentType")?;
    let content_type = asn1::read_single(content_type.raw, asn1::OID, "contentType")?.value;
    if content_type != TST_INFO.as_bytes() {
        return Err(TimestampRefusal::ContentType {
            found: asn1::dotted(content_type),
        });
    }
    let message_digest = one(&MESSAGE_DIGEST, "messageDigest")?;
    let message_digest =
        asn1::read_single(message_digest.raw, asn1::OCTET_STRING, "messageDigest")?.value;
    let v1 = signed_data::single(&attributes, &SIGNING_CERTIFICATE, "signingCertificate")?;
    let v2 = signed_data::single(&attributes, &SIGNING_CERTIFICATE_V2, "signingCertificateV2")?;
    let signing_certificate = match (v2, v1) {
        (Some(v2), _) => Some(certificate_hash(v2, true)?),
        (None, Some(v1)) => Some(certificate_hash(v1, false)?),
        (None, None) => None,
    };
    let info = tst_info(content)?;
    Ok(TimestampToken {
        imprint_digest: info.imprint_digest,
        imprint: info.imprint,
        time: info.time,
        nonce: info.nonce,
        digest,
        content: content.to_vec(),
        message_digest: message_digest.to_vec(),
        attributes: asn1::tlv(asn1::SET, &[signed.value]),
        signature_oid,
        signature,
        signing_certificate,
        version,
        sid,
        certificates,
    })
}

/// The first ESSCertID of a SigningCertificate (RFC 2634 §5.4.1: SHA-1) or
/// ESSCertIDv2 of a SigningCertificateV2 (RFC 5035 §3: SHA-256 if it does not
/// say), which is the signer's.
fn certificate_hash(value: Tlv<'_>, v2: bool) -> Result<CertificateHash, TimestampRefusal> {
    const WHAT: &str = "signingCertificate";
    let mut outer = DerReader::new(asn1::read_single(value.raw, asn1::SEQUENCE, WHAT)?.value);
    let mut list = outer.enter(asn1::SEQUENCE, WHAT)?;
    let mut first = list.enter(asn1::SEQUENCE, WHAT)?;
    if !v2 {
        let hash = first.expect(asn1::OCTET_STRING, WHAT)?.value.to_vec();
        return Ok(CertificateHash::Sha1(hash));
    }
    let digest = match first.optional(asn1::SEQUENCE, WHAT)? {
        None => Digest::Sha256,
        Some(algorithm) => digest_of(algorithm)?,
    };
    let hash = first.expect(asn1::OCTET_STRING, WHAT)?.value.to_vec();
    Ok(CertificateHash::Sha2(digest, hash))
}

struct TstInfo {
    imprint_digest: Digest,
    imprint: Vec<u8>,
    time: UnixTime,
    nonce: Option<Vec<u8>>,
}

/// ```text
/// TSTInfo ::= SEQUENCE { version INTEGER { v1(1) }, policy, messageImprint,
///   serialNumber, genTime GeneralizedTime, accuracy OPTIONAL,
///   ordering BOOLEAN DEFAULT FALSE, nonce OPTIONAL, tsa [0], extensions [1] }
/// ```
fn tst_info(content: &[u8]) -> Result<TstInfo, TimestampRefusal> {
    asn1::check_der(content, "TSTInfo")?;
    let mut reader = DerReader::new(asn1::read_single(content, asn1::SEQUENCE, "TSTInfo")?.value);
    let version = reader.read_u32("version")?;
    if version != 1 {
        return Err(TimestampRefusal::Version { found: version });
    }
    reader.oid("policy")?;
    let (imprint_digest, imprint) = imprint(&mut reader)?;
    asn1::integer(
        reader.expect(asn1::INTEGER, "serialNumber")?.value,
        "serialNumber",
    )?;
    let time = gen_time(reader.expect(asn1::GENERALIZED_TIME, "genTime")?)?;
    reader.optional(asn1::SEQUENCE, "accuracy")?;
    reader.optional(asn1::BOOLEAN, "ordering")?;
    let nonce = reader
        .optional(asn1::INTEGER, "nonce")?
        .map(|nonce| asn1::integer(nonce.value, "nonce").map(<[u8]>::to_vec))
        .transpose()?;
    reader.optional(0xa0, "tsa")?;
    if let Some(extensions) = reader.optional(0xa1, "extensions")? {
        no_critical(extensions)?;
    }
    reader.finish("TSTInfo")?;
    Ok(TstInfo {
        imprint_digest,
        imprint,
        time,
        nonce,
    })
}

/// None of the extensions is known here, so a critical one is refused (RFC 3161
/// §2.4.2, RFC 5280 §4.2).
fn no_critical(extensions: Tlv<'_>) -> Result<(), TimestampRefusal> {
    let mut list = DerReader::new(extensions.value);
    while !list.is_empty() {
        let mut one = list.enter(asn1::SEQUENCE, "extension")?;
        let oid = one.oid("extension")?;
        let critical = match one.optional(asn1::BOOLEAN, "critical")? {
            None => false,
            Some(flag) => asn1::boolean(flag.value, "critical")?,
        };
        one.expect(asn1::OCTET_STRING, "extnValue")?;
        one.finish("extension")?;
        if critical {
            return Err(TimestampRefusal::CriticalExtension {
                oid: asn1::dotted(oid),
            });
        }
    }
    Ok(())
}

/// `MessageImprint ::= SEQUENCE { hashAlgorithm, hashedMessage OCTET STRING }`
fn imprint(reader: &mut DerReader<'_>) -> Result<(Digest, Vec<u8>), TimestampRefusal> {
    let mut imprint = reader.enter(asn1::SEQUENCE, "messageImprint")?;
    let digest = digest_of(imprint.expect(asn1::SEQUENCE, "hashAlgorithm")?)?;
    let hash = imprint
        .expect(asn1::OCTET_STRING, "hashedMessage")?
        .value
        .to_vec();
    imprint.finish("messageImprint")?;
    Ok((digest, hash))
}

/// RFC 3161 §2.4.2: `YYYYMMDDhhmmss[.s...]Z`; the fraction has no trailing zero
/// and is cut off here.
fn gen_time(time: Tlv<'_>) -> Result<UnixTime, TimestampRefusal> {
    let whole = match time.value.iter().position(|byte| *byte == b'.') {
        None => time.value.to_vec(),
        Some(dot) => {
            let fraction = time
                .value
                .get(dot.saturating_add(1)..)
                .and_then(|rest| rest.strip_suffix(b"Z"))
                .ok_or(TimestampRefusal::Time)?;
            let digits = !fraction.is_empty()
                && fraction.iter().all(u8::is_ascii_digit)
                && fraction.last() != Some(&b'0');
            if !digits {
                return Err(TimestampRefusal::Time);
            }
            let mut whole = time.value.get(..dot).unwrap_or_default().to_vec();
            whole.push(b'Z');
            whole
        }
    };
    let raw = asn1::tlv(asn1::GENERALIZED_TIME, &[&whole]);
    let tlv = asn1::read_single(&raw, asn1::GENERALIZED_TIME, "genTime")?;
    asn1::time(tlv, "genTime").map_err(|_| TimestampRefusal::Time)
}

/// Verifies a token over `message` (the bytes of the signature it dates).
///
/// # Errors
/// It is over something else, no trusted authority made it, or the authority's
/// certificates were not good for it at that time.
pub fn verify(
    token: &[u8],
    message: &[u8],
    authorities: &[TimestampAuthority],
) -> Result<VerifiedTimestamp, TimestampRefusal> {
    let token = read(token)?;
    let wanted = token.imprint_digest.of(message);
    if token.imprint != wanted {
        return Err(TimestampRefusal::Imprint {
            stamped: hex(&token.imprint),
            wanted: hex(&wanted),
        });
    }
    let content = token.digest.of(&token.content);
    if token.message_digest != content {
        return Err(TimestampRefusal::Digest {
            content: hex(&content),
            signed: hex(&token.message_digest),
        });
    }
    let mut telling = match authorities {
        [] => TimestampRefusal::NoAuthority,
        _ => TimestampRefusal::Untrusted,
    };
    for authority in authorities {
        match token.made_by(authority) {
            Ok(()) => return Ok(VerifiedTimestamp { time: token.time }),
            Err(TimestampRefusal::Untrusted) => {}
            Err(refusal) => telling = refusal,
        }
    }
    Err(telling)
}

impl TimestampToken {
    /// Whether this authority made the token: its signing certificate is the
    /// trusted root's, or, where the root names only CAs, one in the token that
    /// those issued.
    fn made_by(&self, authority: &TimestampAuthority) -> Result<(), TimestampRefusal> {
        let is_ca = |one: &Certificate| one.basic_constraints().is_some_and(|limits| limits.ca);
        let first = authority.chain.first().ok_or(TimestampRefusal::Untrusted)?;
        let (leaf, above): (&Certificate, &[Certificate]) = if is_ca(first) {
            let own = self
                .certificates
                .iter()
                .find(|one| self.is_signer(one) && one.issuer_der() == first.subject_der());
            (own.ok_or(TimestampRefusal::Untrusted)?, &authority.chain)
        } else {
            (first, authority.chain.get(1..).unwrap_or_default())
        };
        if !self.is_signer(leaf) {
            return Err(TimestampRefusal::Untrusted);
        }
        self.signed_with(leaf)?;
        match &self.signing_certificate {
            None => return Err(TimestampRefusal::NoSigningCertificate),
            Some(hash) if !hash.names(leaf) => return Err(TimestampRefusal::CertificateMismatch),
            Some(_) => {}
        }
        let at = self.time;
        if !authority.window.contains(at) {
            return Err(TimestampRefusal::AuthorityWindow { at });
        }
        timestamping_leaf(leaf)?;
        chain(leaf, above, at)
    }

    /// Whether the SignerIdentifier is this certificate's.
    fn is_signer(&self, certificate: &Certificate) -> bool {
        let candidates = std::slice::from_ref(certificate);
        DerReader::new(&self.sid)
            .any("sid")
            .is_ok_and(|sid| signed_data::signer_certificate(self.version, sid, candidates).is_ok())
    }

    fn signed_with(&self, certificate: &Certificate) -> Result<(), TimestampRefusal> {
        let unknown = || TimestampRefusal::SignatureAlgorithm {
            oid: asn1::dotted(&self.signature_oid),
        };
        let oid = ObjectIdentifier::from_bytes(&self.signature_oid).map_err(|_| unknown())?;
        let algorithm = signed_data::named_algorithm(&oid, self.digest).ok_or_else(unknown)?;
        certificate
            .public_key()
            .and_then(|key| key.verify(algorithm, &self.attributes, &self.signature))
            .map_err(|why| TimestampRefusal::Signature { why })
    }
}

/// RFC 3161 §2.3: one extended key usage, critical, and it is timeStamping.
fn timestamping_leaf(leaf: &Certificate) -> Result<(), TimestampRefusal> {
    let critical = leaf
        .extension(&EXTENDED_KEY_USAGE)
        .is_some_and(|extension| extension.critical);
    let alone = leaf
        .extended_key_usage()
        .is_some_and(|uses| matches!(uses, [one] if one == ChainPurpose::TimeStamping.oid()));
    let signs = leaf.key_usage().is_none_or(|usage| usage & 0b11 != 0);
    let known = leaf.unknown_critical_extension().is_none();
    if critical && alone && signs && known {
        Ok(())
    } else {
        Err(TimestampRefusal::KeyUsage {
            subject: leaf.subject_text(),
        })
    }
}

/// Each link signed by the next, each issuer a CA that may stamp, each valid at
/// the stated time.
fn chain(leaf: &Certificate, above: &[Certificate], at: UnixTime) -> Result<(), TimestampRefusal> {
    if !leaf.is_valid_at(at) {
        return Err(TimestampRefusal::Expired {
            subject: leaf.subject_text(),
            at,
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
        });
    }
    let broken = |why| TimestampRefusal::Chain { why };
    if let Some(issuer) = above.first() {
        chain::check_issued_by(leaf, issuer).map_err(broken)?;
    }
    chain::build_path(leaf, above, at, ChainPurpose::TimeStamping).map_err(broken)
}

// The messages between a client and an authority.

fn sha256_imprint(imprint: &[u8; 32]) -> Vec<u8> {
    let algorithm = asn1::tlv(
        asn1::SEQUENCE,
        &[&asn1::object_identifier(SHA256.as_bytes())],
    );
    let hash = asn1::tlv(asn1::OCTET_STRING, &[imprint]);
    asn1::tlv(asn1::SEQUENCE, &[&algorithm, &hash])
}

/// A TimeStampReq (RFC 3161 §2.4.1) over a SHA-256 digest. `nonce` is a
/// big-endian number.
#[must_use]
pub fn encode_request(imprint: &[u8; 32], nonce: Option<&[u8]>, with_certificate: bool) -> Vec<u8> {
    let version = asn1::unsigned(&[1]);
    let nonce = nonce.map(asn1::unsigned).unwrap_or_default();
    let flag = if with_certificate {
        asn1::tlv(asn1::BOOLEAN, &[&[0xff]])
    } else {
        Vec::new()
    };
    asn1::tlv(
        asn1::SEQUENCE,
        &[&version, &sha256_imprint(imprint), &nonce, &flag],
    )
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRequest {
    /// How the bytes were digested.
    pub digest: Digest,
    /// Their digest, of the digest's length.
    pub imprint: Vec<u8>,
    /// The policy asked for, dotted.
    pub policy: Option<String>,
    /// The nonce: content octets of the INTEGER.
    pub nonce: Option<Vec<u8>>,
    /// Whether the answer is to carry the authority's certificate.
    pub with_certificate: bool,
    /// Whether the request has extensions.
    pub extensions: bool,
}

/// Reads a TimeStampReq.
///
/// # Errors
/// Not DER, another version, an unknown digest, a digest of another length.
pub fn parse_request(der: &[u8]) -> Result<TimestampRequest, TimestampRefusal> {
    if der.len() > MAX_TIMESTAMP {
        return Err(TimestampRefusal::TooLarge { bytes: der.len() });
    }
    asn1::check_der(der, "TimeStampReq")?;
    let mut reader = DerReader::new(asn1::read_single(der, asn1::SEQUENCE, "TimeStampReq")?.value);
    let version = reader.read_u32("version")?;
    if version != 1 {
        return Err(TimestampRefusal::Version { found: version });
    }
    let (digest, imprint) = imprint(&mut reader)?;
    if digest.of(&[]).len() != imprint.len() {
        return Err(DerError::Value {
            what: "hashedMessage",
            problem: "not of the digest's length",
        }
        .into());
    }
    let policy = match reader.peek() {
        Some(asn1::OID) => Some(asn1::dotted(reader.oid("reqPolicy")?)),
        _ => None,
    };
    let nonce = reader
        .optional(asn1::INTEGER, "nonce")?
        .map(|nonce| asn1::integer(nonce.value, "nonce").map(<[u8]>::to_vec))
        .transpose()?;
    if nonce.as_ref().is_some_and(|nonce| nonce.len() > MAX_NONCE) {
        return Err(DerError::Value {
            what: "nonce",
            problem: "too long",
        }
        .into());
    }
    let with_certificate = match reader.optional(asn1::BOOLEAN, "certReq")? {
        None => false,
        Some(flag) => asn1::boolean(flag.value, "certReq")?,
    };
    let extensions = reader.optional(0xa0, "extensions")?.is_some();
    reader.finish("TimeStampReq")?;
    Ok(TimestampRequest {
        digest,
        imprint,
        policy,
        nonce,
        with_certificate,
        extensions,
    })
}

/// What an authority states.
#[derive(Debug, Clone, Copy)]
pub struct TokenFields<'a> {
    /// The request that is answered.
    pub request: &'a TimestampRequest,
    /// The policy: content octets of the object identifier.
    pub policy: &'a ObjectIdentifier,
    /// A big-endian serial number, never used twice.
    pub serial: &'a [u8],
    /// Unix seconds.
    pub time: UnixTime,
    /// The authority's certificates, the signing one first.
    pub chain: &'a [Certificate],
    /// How the key signs: the object identifier that goes into the token.
    pub algorithm: &'a ObjectIdentifier,
}

/// A TimeStampToken: CMS SignedData version 3 over a TSTInfo. `sign` makes the
/// signature over the bytes it is given with the key of `chain`'s first
/// certificate.
///
/// # Errors
/// The chain is empty, or the time is not between 1970 and 9999.
pub fn token(
    statement: &TokenFields<'_>,
    sign: &dyn Fn(&[u8]) -> Vec<u8>,
) -> Result<Vec<u8>, TimestampRefusal> {
    let seq = |parts: &[&[u8]]| asn1::tlv(asn1::SEQUENCE, parts);
    let oid = |oid: &ObjectIdentifier| asn1::object_identifier(oid.as_bytes());
    let algorithm_of = |digest: Digest| seq(&[&asn1::object_identifier(digest.oid_octets())]);
    let attribute =
        |kind: &ObjectIdentifier, value: &[u8]| seq(&[&oid(kind), &asn1::tlv(asn1::SET, &[value])]);
    let request = statement.request;
    let signer = statement
        .chain
        .first()
        .ok_or(TimestampRefusal::NoAuthority)?;
    let imprint = seq(&[
        &algorithm_of(request.digest),
        &asn1::tlv(asn1::OCTET_STRING, &[&request.imprint]),
    ]);
    // Accuracy of one second, as Sigstore's own authority states.
    let accuracy = seq(&[&asn1::unsigned(&[1])]);
    let nonce = request
        .nonce
        .as_ref()
        .map(|nonce| asn1::tlv(asn1::INTEGER, &[nonce]))
        .unwrap_or_default();
    let info = seq(&[
        &asn1::unsigned(&[1]),
        &oid(statement.policy),
        &imprint,
        &asn1::unsigned(statement.serial),
        &asn1::encode_generalized_time(statement.time)?,
        &accuracy,
        &nonce,
    ]);
    let certificate_id = seq(&[&asn1::tlv(
        asn1::OCTET_STRING,
        &[&Sha256::digest(signer.der())],
    )]);
    let signed = asn1::set_of(vec![
        attribute(&CONTENT_TYPE, &oid(&TST_INFO)),
        attribute(
            &MESSAGE_DIGEST,
            &asn1::tlv(asn1::OCTET_STRING, &[&Sha256::digest(&info)]),
        ),
        attribute(&SIGNING_TIME, &asn1::encode_time(statement.time)?),
        attribute(&SIGNING_CERTIFICATE_V2, &seq(&[&seq(&[&certificate_id])])),
    ]);
    let signature = sign(&signed);
    let implicit = asn1::read_single(&signed, asn1::SET, "signedAttrs")?.value;
    let sid = seq(&[
        signer.issuer_der(),
        &asn1::tlv(asn1::INTEGER, &[signer.serial()]),
    ]);
    let sha256 = algorithm_of(Digest::Sha256);
    let signer_info = seq(&[
        &asn1::unsigned(&[1]),
        &sid,
        &sha256,
        &asn1::tlv(0xa0, &[implicit]),
        &seq(&[&oid(statement.algorithm)]),
        &asn1::tlv(asn1::OCTET_STRING, &[&signature]),
    ]);
    let certificates = if request.with_certificate {
        let mut bag: Vec<&[u8]> = statement.chain.iter().map(Certificate::der).collect();
        bag.sort_unstable();
        asn1::tlv(0xa0, &bag)
    } else {
        Vec::new()
    };
    let content = asn1::tlv(0xa0, &[&asn1::tlv(asn1::OCTET_STRING, &[&info])]);
    let data = seq(&[
        &asn1::unsigned(&[3]),
        &asn1::tlv(asn1::SET, &[&sha256]),
        &seq(&[&oid(&TST_INFO), &content]),
        &certificates,
        &asn1::tlv(asn1::SET, &[&signer_info]),
    ]);
    Ok(seq(&[
        &asn1::object_identifier(ID_SIGNED_DATA),
        &asn1::tlv(0xa0, &[&data]),
    ]))
}

/// A TimeStampResp that grants (RFC 3161 §2.4.2).
#[must_use]
pub fn encode_response(token: &[u8]) -> Vec<u8> {
    let status = asn1::tlv(asn1::SEQUENCE, &[&asn1::unsigned(&[0])]);
    asn1::tlv(asn1::SEQUENCE, &[&status, token])
}

/// The token of a TimeStampResp, which must be the answer to this request.
///
/// # Errors
/// The authority refused, or the answer is to something else.
pub fn parse_response(
    response: &[u8],
    imprint: &[u8; 32],
    nonce: Option<&[u8]>,
) -> Result<Vec<u8>, TimestampRefusal> {
    if response.len() > MAX_TIMESTAMP {
        return Err(TimestampRefusal::TooLarge {
            bytes: response.len(),
        });
    }
    asn1::check_der(response, "TimeStampResp")?;
    let mut reader =
        DerReader::new(asn1::read_single(response, asn1::SEQUENCE, "TimeStampResp")?.value);
    let mut info = reader.enter(asn1::SEQUENCE, "PKIStatusInfo")?;
    let status = info.read_u32("status")?;
    if status > 1 {
        return Err(TimestampRefusal::Rejected {
            status,
            text: status_text(&mut info),
        });
    }
    let token = reader.expect(asn1::SEQUENCE, "timeStampToken")?.raw;
    reader.finish("TimeStampResp")?;
    let read = read(token)?;
    if read.imprint_digest != Digest::Sha256 || read.imprint != imprint {
        return Err(TimestampRefusal::Imprint {
            stamped: hex(&read.imprint),
            wanted: hex(imprint),
        });
    }
    let wanted = nonce.map(asn1::unsigned);
    let found = read
        .nonce
        .as_ref()
        .map(|nonce| asn1::tlv(asn1::INTEGER, &[nonce]));
    if wanted != found {
        return Err(TimestampRefusal::Nonce);
    }
    Ok(token.to_vec())
}

/// PKIFreeText, printable characters only.
fn status_text(info: &mut DerReader<'_>) -> String {
    let Ok(mut texts) = info.enter(asn1::SEQUENCE, "statusString") else {
        return String::new();
    };
    let Ok(text) = texts.expect(asn1::UTF8_STRING, "statusString") else {
        return String::new();
    };
    let text: String = String::from_utf8_lossy(text.value)
        .chars()
        .filter(|one| !one.is_control())
        .take(200)
        .collect();
    format!(": {text}")
}
