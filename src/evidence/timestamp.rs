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

use crate::{
    UnixTime,
    asn1::{self, DerError, DerReader, ParseError, Tlv},
    certificate::Certificate,
    chain::{self, ChainPurpose},
    hex,
    memo::Memo,
    refusal::{Reason, codes, reason},
    signed_data::{self, Digest},
    time::rfc3339,
    trusted_root::TimestampAuthority,
};

/// The largest token, request or response that is read, in bytes.
pub const MAX_TIMESTAMP: usize = 64 * 1024;

const ID_SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// The content type TSTInfo: id-ct-TSTInfo 1.2.840.113549.1.9.16.1.4.
pub const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// id-aa-signingCertificate (RFC 2634 §5.4): SHA-1.
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
/// id-aa-signingCertificateV2 (RFC 5035 §3).
pub const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// The contents of a token: TSTInfo (RFC 3161 §2.4.2), and how it was signed.
#[derive(Debug, Clone)]
pub struct TimestampToken {
    /// The digest of the stamped bytes.
    pub imprint_digest: Digest,
    /// The octets of this digest.
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
    /// A part of the CMS in which anything could be put, because no signature covers it.
    unsigned_part: Option<Reason>,
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
    /// The time that the token states.
    pub time: UnixTime,
}

/// Parses a TimeStampToken in DER.
///
/// # Errors
/// Not DER, not a TSTInfo, more than one signer, an unknown digest.
pub fn read(token: &[u8]) -> Result<TimestampToken, Reason> {
    if token.len() > MAX_TIMESTAMP {
        return Err(reason!(
            "timestamp-too-large",
            "the timestamp is {} bytes; the limit is {MAX_TIMESTAMP}",
            token.len()
        ));
    }
    parse(token).map_err(|error| error.reason(not_der))
}

fn not_der(error: DerError) -> Reason {
    reason!("timestamp-not-der", "cannot parse timestamp: {error}")
}

/// A part that CMS shares with signatures.
fn cms(error: ParseError) -> Reason {
    reason!(
        "timestamp-cms",
        "cannot parse the timestamp's CMS: {}",
        error.reason(signed_data::not_der)
    )
}

fn parse(token: &[u8]) -> Result<TimestampToken, ParseError> {
    asn1::check_der(token, "TimeStampToken")?;
    let mut info =
        DerReader::new(asn1::read_single(token, asn1::SEQUENCE, "TimeStampToken")?.value);
    let kind = info.oid("contentType")?;
    if kind != ID_SIGNED_DATA {
        return Err(not_tst_info(kind).into());
    }
    let explicit = info.expect(0xa0, "content")?;
    info.finish("TimeStampToken")?;
    let mut data =
        DerReader::new(asn1::read_single(explicit.value, asn1::SEQUENCE, "SignedData")?.value);
    // RFC 5652 §5.1: 3 for any content but id-data.
    check_version("SignedData", data.read_u32("version")?, 3)?;
    let digests = signed_data::values(data.expect(asn1::SET, "digestAlgorithms")?).map_err(cms)?;
    let mut encapsulated = data.enter(asn1::SEQUENCE, "encapContentInfo")?;
    let content_type = encapsulated.oid("eContentType")?;
    if content_type != TST_INFO.as_bytes() {
        return Err(not_tst_info(content_type).into());
    }
    let content = encapsulated.expect(0xa0, "eContent")?;
    encapsulated.finish("encapContentInfo")?;
    let content = asn1::read_single(content.value, asn1::OCTET_STRING, "eContent")?.value;
    let certificates = match data.optional(0xa0, "certificates")? {
        None => Vec::new(),
        Some(set) => signed_data::certificates(set).map_err(cms)?,
    };
    let crls = data.optional(0xa1, "crls")?;
    let signers = signed_data::values(data.expect(asn1::SET, "signerInfos")?).map_err(cms)?;
    data.finish("SignedData")?;
    let [signer] = signers.as_slice() else {
        return Err(reason!(
            "timestamp-signers",
            "the token has {found} signers, not exactly one",
            found = signers.len()
        )
        .into());
    };
    let mut token = signer_info(*signer, content, certificates)?;
    if crls.is_some() {
        token.unsigned_part = Some(unsigned_part("revocation lists"));
    }
    let lists_signers = match digests.as_slice() {
        [one] => {
            let one = asn1::read_single(one.raw, asn1::SEQUENCE, "digestAlgorithms")?;
            digest_of(one)? == token.digest
        }
        _ => false,
    };
    if !lists_signers {
        token.unsigned_part = Some(unsigned_part("digest algorithms of no signer"));
    }
    Ok(token)
}

fn check_version(what: &str, found: u32, expected: u32) -> Result<(), Reason> {
    if found == expected {
        return Ok(());
    }
    Err(reason!(
        "timestamp-version",
        "{what} has version {found}, not {expected}"
    ))
}

fn unsigned_part(what: &str) -> Reason {
    reason!(
        "timestamp-unsigned-part",
        "the timestamp contains {what}, which its signature does not cover"
    )
}

fn digest_of(algorithm: Tlv<'_>) -> Result<Digest, ParseError> {
    let oid = signed_data::algorithm(algorithm).map_err(cms)?;
    Digest::from_oid(oid).ok_or_else(|| {
        reason!(
            "timestamp-hash-algorithm",
            "the digest {} is not SHA-256, SHA-384 or SHA-512",
            asn1::dotted(oid)
        )
        .into()
    })
}

fn signer_info(
    signer: Tlv<'_>,
    content: &[u8],
    certificates: Vec<Certificate>,
) -> Result<TimestampToken, ParseError> {
    let mut reader =
        DerReader::new(asn1::read_single(signer.raw, asn1::SEQUENCE, "SignerInfo")?.value);
    let version = reader.read_u32("version")?;
    let sid = reader.any("sid")?.raw.to_vec();
    let digest = digest_of(reader.expect(asn1::SEQUENCE, "digestAlgorithm")?)?;
    let signed = reader.expect(0xa0, "signedAttrs")?;
    let signature_oid =
        signed_data::algorithm(reader.expect(asn1::SEQUENCE, "signatureAlgorithm")?)
            .map_err(cms)?
            .to_vec();
    let signature = reader
        .expect(asn1::OCTET_STRING, "signature")?
        .value
        .to_vec();
    let unsigned = reader.optional(0xa1, "unsignedAttrs")?;
    reader.finish("SignerInfo")?;
    let attributes = signed_data::attributes_of(signed).map_err(cms)?;
    let one = |oid: &ObjectIdentifier, name: &'static str| {
        signed_data::single(&attributes, oid, name)
            .and_then(|found| found.ok_or_else(|| signed_data::missing_attribute(name).into()))
            .map_err(cms)
    };
    let content_type = one(&CONTENT_TYPE, "contentType")?;
    let content_type = asn1::read_single(content_type.raw, asn1::OID, "contentType")?.value;
    if content_type != TST_INFO.as_bytes() {
        return Err(not_tst_info(content_type).into());
    }
    let message_digest = one(&MESSAGE_DIGEST, "messageDigest")?;
    let message_digest =
        asn1::read_single(message_digest.raw, asn1::OCTET_STRING, "messageDigest")?.value;
    let v1 = signed_data::single(&attributes, &SIGNING_CERTIFICATE, "signingCertificate")
        .map_err(cms)?;
    let v2 = signed_data::single(&attributes, &SIGNING_CERTIFICATE_V2, "signingCertificateV2")
        .map_err(cms)?;
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
        unsigned_part: unsigned.map(|_| unsigned_part("unsigned attributes")),
    })
}

/// The first ESSCertID of a SigningCertificate (RFC 2634 §5.4.1: SHA-1) or
/// ESSCertIDv2 of a SigningCertificateV2 (RFC 5035 §3: SHA-256 if it does not
/// say), which is the signer's.
fn certificate_hash(value: Tlv<'_>, v2: bool) -> Result<CertificateHash, ParseError> {
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
fn tst_info(content: &[u8]) -> Result<TstInfo, ParseError> {
    asn1::check_der(content, "TSTInfo")?;
    let mut reader = DerReader::new(asn1::read_single(content, asn1::SEQUENCE, "TSTInfo")?.value);
    check_version("TSTInfo", reader.read_u32("version")?, 1)?;
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
fn no_critical(extensions: Tlv<'_>) -> Result<(), ParseError> {
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
            return Err(reason!(
                "timestamp-critical-extension",
                "TSTInfo has the unknown critical extension {oid}",
                oid = asn1::dotted(oid)
            )
            .into());
        }
    }
    Ok(())
}

/// Parses a MessageImprint, which requests contain too.
///
/// # Errors
/// It is not DER, or the digest is unknown.
pub fn message_imprint(reader: &mut DerReader<'_>) -> Result<(Digest, Vec<u8>), Reason> {
    imprint(reader).map_err(|error| error.reason(not_der))
}

/// `MessageImprint ::= SEQUENCE { hashAlgorithm, hashedMessage OCTET STRING }`
fn imprint(reader: &mut DerReader<'_>) -> Result<(Digest, Vec<u8>), ParseError> {
    let mut imprint = reader.enter(asn1::SEQUENCE, "messageImprint")?;
    let digest = digest_of(imprint.expect(asn1::SEQUENCE, "hashAlgorithm")?)?;
    let hash = imprint
        .expect(asn1::OCTET_STRING, "hashedMessage")?
        .value
        .to_vec();
    imprint.finish("messageImprint")?;
    Ok((digest, hash))
}

fn not_tst_info(content_type: &[u8]) -> Reason {
    reason!(
        "timestamp-content-type",
        "the token contains {}, not TSTInfo",
        asn1::dotted(content_type)
    )
}

fn bad_time() -> Reason {
    reason!("timestamp-time", "genTime is not a time")
}

/// Whether a timestamp is refused only because its authority is not in the trusted root.
#[must_use]
pub(crate) fn is_unknown_authority(reason: &Reason) -> bool {
    matches!(
        reason.code(),
        codes::TIMESTAMP_UNTRUSTED | codes::TIMESTAMP_NO_AUTHORITY
    )
}

fn untrusted() -> Reason {
    reason!(
        codes::TIMESTAMP_UNTRUSTED,
        "no trusted timestamp authority made the timestamp"
    )
}

/// RFC 3161 §2.4.2: `YYYYMMDDhhmmss[.s...]Z`; the fraction has no trailing zero
/// and is cut off here.
fn gen_time(time: Tlv<'_>) -> Result<UnixTime, ParseError> {
    let whole = match time.value.iter().position(|byte| *byte == b'.') {
        None => time.value.to_vec(),
        Some(dot) => {
            let fraction = time
                .value
                .get(dot.saturating_add(1)..)
                .and_then(|rest| rest.strip_suffix(b"Z"))
                .ok_or_else(bad_time)?;
            let digits = !fraction.is_empty()
                && fraction.iter().all(u8::is_ascii_digit)
                && fraction.last() != Some(&b'0');
            if !digits {
                return Err(bad_time().into());
            }
            let mut whole = time.value.get(..dot).unwrap_or_default().to_vec();
            whole.push(b'Z');
            whole
        }
    };
    let raw = asn1::tlv(asn1::GENERALIZED_TIME, &[&whole]);
    let tlv = asn1::read_single(&raw, asn1::GENERALIZED_TIME, "genTime")?;
    asn1::time(tlv, "genTime").map_err(|_| bad_time().into())
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
    memo: &Memo,
) -> Result<VerifiedTimestamp, Reason> {
    let token = read(token)?;
    let expected = token.imprint_digest.of(message);
    if token.imprint != expected {
        return Err(reason!(
            "timestamp-imprint",
            "the timestamp is over {stamped}, the signature's digest is {expected}",
            stamped = hex(&token.imprint),
            expected = hex(&expected)
        ));
    }
    let content = token.digest.of(&token.content);
    if token.message_digest != content {
        return Err(reason!(
            "timestamp-digest",
            "the token's digest is {content}, its signature is over {signed}",
            content = hex(&content),
            signed = hex(&token.message_digest)
        ));
    }
    let mut telling = match authorities {
        [] => reason!(
            codes::TIMESTAMP_NO_AUTHORITY,
            "the trusted root has no timestamp authority for the timestamp"
        ),
        _ => untrusted(),
    };
    for authority in authorities {
        match token.made_by(authority, memo) {
            Ok(()) => return Ok(VerifiedTimestamp { time: token.time }),
            Err(reason) if reason.code() == codes::TIMESTAMP_UNTRUSTED => {}
            Err(refusal) => telling = refusal,
        }
    }
    Err(telling)
}

impl TimestampToken {
    /// Whether this authority made the token: its signing certificate is the
    /// trusted root's, or, where the root names only CAs, one in the token that
    /// those issued.
    fn made_by(&self, authority: &TimestampAuthority, memo: &Memo) -> Result<(), Reason> {
        let is_ca = |one: &Certificate| one.basic_constraints().is_some_and(|limits| limits.ca);
        let first = authority.chain.first().ok_or_else(untrusted)?;
        let (leaf, above): (&Certificate, &[Certificate]) = if is_ca(first) {
            let own = self
                .certificates
                .iter()
                .find(|one| self.is_signer(one) && one.issuer_der() == first.subject_der());
            (own.ok_or_else(untrusted)?, &authority.chain)
        } else {
            (first, authority.chain.get(1..).unwrap_or_default())
        };
        if !self.is_signer(leaf) {
            return Err(untrusted());
        }
        self.signed_with(leaf)?;
        match &self.signing_certificate {
            None => {
                return Err(reason!(
                    "timestamp-no-signing-certificate",
                    "the token does not name its signing certificate"
                ));
            }
            Some(hash) if !hash.names(leaf) => {
                return Err(reason!(
                    "timestamp-certificate-mismatch",
                    "the token names another signing certificate than the trusted \
                         authority's"
                ));
            }
            Some(_) => {}
        }
        let at = self.time;
        if !authority.window.contains(at) {
            return Err(reason!(
                "timestamp-authority-window",
                "stamped at {at}, outside the validity of the timestamp authority",
                at = rfc3339(at)
            ));
        }
        timestamping_leaf(leaf)?;
        chain(leaf, above, at, memo)?;
        self.check_unsigned_parts(leaf, &authority.chain)
    }

    /// What the token's signature does not cover is what this authority's token has: no
    /// more, and no certificate that is not of its chain.
    fn check_unsigned_parts(
        &self,
        leaf: &Certificate,
        chain: &[Certificate],
    ) -> Result<(), Reason> {
        if let Some(reason) = &self.unsigned_part {
            return Err(reason.clone());
        }
        let mut seen: Vec<&Certificate> = Vec::new();
        let mut others = self.certificates.iter();
        let foreign = others.find(|one| {
            let known = (*one == leaf || chain.contains(one)) && !seen.contains(one);
            seen.push(one);
            !known
        });
        match foreign {
            None => Ok(()),
            Some(foreign) => Err(reason!(
                "timestamp-foreign-certificate",
                "the timestamp contains the certificate of {:?}, which is not in its chain, or \
                 is in it twice",
                foreign.subject_text()
            )),
        }
    }

    /// Whether the SignerIdentifier is this certificate's.
    fn is_signer(&self, certificate: &Certificate) -> bool {
        let candidates = std::slice::from_ref(certificate);
        DerReader::new(&self.sid)
            .any("sid")
            .is_ok_and(|sid| signed_data::signer_certificate(self.version, sid, candidates).is_ok())
    }

    fn signed_with(&self, certificate: &Certificate) -> Result<(), Reason> {
        let unknown = || {
            reason!(
                "timestamp-signature-algorithm",
                "the signature algorithm {oid} is not supported",
                oid = asn1::dotted(&self.signature_oid)
            )
        };
        let oid = ObjectIdentifier::from_bytes(&self.signature_oid).map_err(|_| unknown())?;
        let algorithm = signed_data::named_algorithm(&oid, self.digest).ok_or_else(unknown)?;
        certificate
            .public_key()
            .and_then(|key| key.verify(algorithm, &self.attributes, &self.signature))
            .map_err(|why| {
                reason!(
                    "timestamp-signature",
                    "the timestamp's signature does not verify: {why}"
                )
            })
    }
}

/// RFC 3161 §2.3: one extended key usage, critical, and it is timeStamping.
fn timestamping_leaf(leaf: &Certificate) -> Result<(), Reason> {
    let critical = leaf
        .extension(&EXTENDED_KEY_USAGE)
        .is_some_and(|extension| extension.critical);
    let alone = leaf
        .extended_key_usage()
        .is_some_and(|uses| matches!(uses, [one] if one == ChainPurpose::TimeStamping.oid()));
    let signs = leaf.key_usage().is_none_or(|usage| usage & 0b11 != 0);
    let known = leaf.unknown_critical_extension(&[]).is_none();
    if critical && alone && signs && known {
        Ok(())
    } else {
        Err(reason!(
            "timestamp-key-usage",
            "{subject:?} is not for timestamping alone",
            subject = leaf.subject_text()
        ))
    }
}

/// Each link signed by the next, each issuer a CA that may stamp, each valid at
/// the stated time.
fn chain(
    leaf: &Certificate,
    above: &[Certificate],
    at: UnixTime,
    memo: &Memo,
) -> Result<(), Reason> {
    if !leaf.is_valid_at(at) {
        return Err(reason!(
            "timestamp-expired",
            "{subject:?} is valid from {not_before} to {not_after}, not at {at}",
            subject = leaf.subject_text(),
            not_before = rfc3339(leaf.not_before()),
            not_after = rfc3339(leaf.not_after()),
            at = rfc3339(at)
        ));
    }
    let broken = |why| reason!("timestamp-chain", "the timestamp authority's chain: {why}");
    if let Some(issuer) = above.first() {
        chain::check_issued_by(leaf, issuer, memo).map_err(broken)?;
    }
    chain::build_path(leaf, above, at, ChainPurpose::TimeStamping, memo).map_err(broken)
}
