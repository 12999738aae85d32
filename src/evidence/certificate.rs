//! X.509 certificates (RFC 5280), read from the bytes that were signed and
//! never written anew: what is verified is a slice of what came in.
//!
//! Any certificate can be read, also one that no Sigstore client would accept;
//! what a leaf, a CA or a timestamping certificate must look like is the
//! business of those who use it.
//!
//! *Not checked here:* signatures, validity, profiles (`chain.rs`,
//! `timestamp.rs`), the SCT list's content (`sct.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::sync::{Arc, OnceLock};

use const_oid::ObjectIdentifier;
use sha1::{Digest as _, Sha1};

use crate::{
    UnixTime, armor,
    asn1::{self, DerError, DerReader, ParseError, Tlv},
    hex,
    keys::{PublicKey, SignatureAlgorithm, unknown_algorithm},
    memo::Memo,
    refusal::{Reason, reason},
};

mod claims;
mod names;
pub use claims::{CLAIM_OIDS, ClaimOid, FulcioExtensions};
pub(crate) use names::{DIRECTORY_NAME, NameConstraints, Rdn, rdns};
pub use names::{GeneralName, Identity, San};

/// The largest certificate that is read, in bytes.
pub const MAX_CERTIFICATE: usize = 64 * 1024;
/// The most extensions of one certificate.
pub(crate) const MAX_EXTENSIONS: usize = 64;
/// The most octets of a serial number (RFC 5280 §4.1.2.2).
pub(crate) const MAX_SERIAL: usize = 20;
/// The most certificates of one PEM text.
pub(crate) const MAX_PEM_CERTIFICATES: usize = 64;

const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
/// The policies of a CA (RFC 5280 §4.2.1.4).
pub(crate) const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// The SCT list (RFC 6962 §3.3).
pub const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
/// The poison of a precertificate (RFC 6962 §3.1).
pub const CT_POISON: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.3");

/// One extension: the value is the content of the OCTET STRING.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The content octets of the object identifier.
    pub oid: Vec<u8>,
    /// Whether one who does not know it must refuse.
    pub critical: bool,
    /// The content of the extension.
    pub value: Vec<u8>,
    /// The whole extension in DER.
    raw: Vec<u8>,
}

impl Extension {
    /// The whole extension in DER.
    #[must_use]
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// BasicConstraints (RFC 5280 §4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether the key may sign certificates.
    pub ca: bool,
    /// The number of intermediates that may follow.
    pub path_len: Option<u32>,
}

/// An X.509 certificate that was parsed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    der: Vec<u8>,
    /// Octets of the certificate's header, and of the part that is signed.
    tbs: (usize, usize),
    /// The content of the signed part up to the extensions.
    fields: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
    spki: Vec<u8>,
    key: OnceLock<Result<PublicKey, Reason>>,
    signature_oid: Vec<u8>,
    signature: Vec<u8>,
    extensions: Vec<Extension>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<u16>,
    extended_key_usage: Option<Vec<Vec<u8>>>,
    sans: Vec<GeneralName>,
    name_constraints: Option<NameConstraints>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    fulcio: FulcioExtensions,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl Certificate {
    /// Reads one certificate in DER, with nothing after it.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn from_der(der: &[u8]) -> Result<Self, Reason> {
        if der.len() > MAX_CERTIFICATE {
            return Err(reason!(
                "certificate-too-large",
                "the certificate is {bytes} bytes; the limit is {MAX_CERTIFICATE}",
                bytes = der.len()
            ));
        }
        asn1::check_der(der, "certificate").map_err(unreadable)?;
        parse(der)
            .map(|parsed| Self(Arc::new(parsed)))
            .map_err(|error| error.reason(unreadable))
    }

    /// Reads the one certificate of a PEM text.
    ///
    /// # Errors
    /// Not exactly one certificate, or one that cannot be read.
    pub fn from_pem(pem: &str) -> Result<Self, Reason> {
        let mut chain = Self::pem_chain(pem)?;
        match (chain.pop(), chain.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(reason!(
                "certificate-pem",
                "not a PEM certificate: {why}",
                why = "not exactly one certificate"
            )),
        }
    }

    /// Reads all certificates of a PEM text, in order. Text between blocks, such
    /// as comments, is passed over; a block of another kind is refused.
    ///
    /// # Errors
    /// Broken PEM, or a certificate that cannot be read.
    pub fn pem_chain(pem: &str) -> Result<Vec<Self>, Reason> {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        const END: &str = "-----END CERTIFICATE-----";
        let refuse = |why| reason!("certificate-pem", "not a PEM certificate: {why}");
        let mut certificates = Vec::new();
        let mut rest = pem;
        while let Some((before, after)) = rest.split_once("-----BEGIN ") {
            if before.contains("-----END ") {
                return Err(refuse("an END line without its BEGIN line"));
            }
            let start = rest
                .len()
                .saturating_sub(after.len().saturating_add("-----BEGIN ".len()));
            let block = rest.get(start..).unwrap_or_default();
            let body = block
                .strip_prefix(BEGIN)
                .ok_or(refuse("a block that is not a CERTIFICATE"))?;
            let (text, tail) = body
                .split_once(END)
                .ok_or(refuse("no END CERTIFICATE line"))?;
            if certificates.len() >= MAX_PEM_CERTIFICATES {
                return Err(refuse("too many certificates"));
            }
            let base64: String = text.split_ascii_whitespace().collect();
            let der = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, base64)
                .map_err(|_| refuse("not base64"))?;
            certificates.push(Self::from_der(&der)?);
            rest = tail;
        }
        Ok(certificates)
    }

    /// The whole certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The part that is signed, as it came in.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        let (header, length) = self.0.tbs;
        let content = self.0.der.get(header..).unwrap_or_default();
        content.get(..length).unwrap_or_default()
    }

    /// The content of the part that is signed, without the extensions at its end.
    #[must_use]
    pub(crate) fn fields(&self) -> &[u8] {
        &self.0.fields
    }

    /// PEM as Go's `encoding/pem` writes it: 64 columns, LF, a final LF.
    #[must_use]
    pub fn to_pem(&self) -> String {
        armor::encode_label("CERTIFICATE", self.der())
    }

    /// The subject's Name in DER.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        &self.0.subject
    }

    /// The issuer's Name in DER.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        &self.0.issuer
    }

    /// The subject for people: `CN=sigstore-intermediate,O=sigstore.dev`.
    #[must_use]
    pub fn subject_text(&self) -> String {
        names::text(&self.0.subject)
    }

    /// The subject's organization (2.5.4.10), where it is plain text.
    #[must_use]
    pub fn subject_organization(&self) -> Option<String> {
        names::attribute(&self.0.subject, &[0x55, 0x04, 0x0a])
    }

    /// The subject's common name (2.5.4.3), where it is plain text.
    #[must_use]
    pub fn subject_common_name(&self) -> Option<String> {
        names::attribute(&self.0.subject, &[0x55, 0x04, 0x03])
    }

    /// The issuer for people: `CN=sigstore-intermediate,O=sigstore.dev`.
    #[must_use]
    pub fn issuer_text(&self) -> String {
        names::text(&self.0.issuer)
    }

    /// The serial number's content octets (big-endian, not negative).
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// First second of validity, included.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.0.not_before
    }

    /// Last second of validity, included.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.0.not_after
    }

    /// Whether `at` lies in the validity, both ends included (RFC 5280 §4.1.2.5).
    #[must_use]
    pub fn is_valid_at(&self, at: UnixTime) -> bool {
        self.0.not_before <= at && at <= self.0.not_after
    }

    /// The SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// The key, parsed when it is first asked for.
    ///
    /// # Errors
    /// A key that is damaged or of an unknown kind.
    pub fn public_key(&self) -> Result<&PublicKey, Reason> {
        self.0
            .key
            .get_or_init(|| PublicKey::from_spki(&self.0.spki))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Returns the algorithm of the issuer's signature.
    ///
    /// # Errors
    /// An algorithm that is not known here.
    pub fn signature_algorithm(&self) -> Result<SignatureAlgorithm, Reason> {
        let unknown = || unknown_algorithm(&asn1::dotted(&self.0.signature_oid));
        let oid = ObjectIdentifier::from_bytes(&self.0.signature_oid).map_err(|_| unknown())?;
        SignatureAlgorithm::from_oid(&oid).ok_or_else(unknown)
    }

    /// The signature by the issuer's key.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// Verifies that `issuer`'s key signed this certificate.
    ///
    /// # Errors
    /// It did not, or its key or the algorithm is unusable.
    pub fn verify_signed_by(&self, issuer: &Self, memo: &Memo) -> Result<(), Reason> {
        memo.verify(
            issuer.public_key()?,
            self.signature_algorithm()?,
            self.tbs(),
            self.signature(),
        )
    }

    /// The fingerprint by which git and gitsign name a certificate. A name, not
    /// a proof.
    #[must_use]
    pub fn sha1(&self) -> [u8; 20] {
        Sha1::digest(self.der()).into()
    }

    /// [`Self::sha1`] in lowercase hex.
    #[must_use]
    pub fn sha1_hex(&self) -> String {
        hex(&self.sha1())
    }

    /// Returns BasicConstraints, if present.
    #[must_use]
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.0.basic_constraints
    }

    /// KeyUsage bits, bit 0 (digitalSignature) the lowest; `None`: no extension.
    #[must_use]
    pub fn key_usage(&self) -> Option<u16> {
        self.0.key_usage
    }

    /// The object identifiers of the extended key usage; `None`: no extension.
    #[must_use]
    pub fn extended_key_usage(&self) -> Option<&[Vec<u8>]> {
        self.0.extended_key_usage.as_deref()
    }

    /// The subject alternative names.
    #[must_use]
    pub fn sans(&self) -> &[GeneralName] {
        &self.0.sans
    }

    /// Returns NameConstraints, if present.
    #[must_use]
    pub(crate) fn name_constraints(&self) -> Option<&NameConstraints> {
        self.0.name_constraints.as_ref()
    }

    /// The value of SubjectKeyIdentifier.
    #[must_use]
    pub(crate) fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.subject_key_id.as_deref()
    }

    /// The keyIdentifier of AuthorityKeyIdentifier.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    /// All extensions, in order.
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        &self.0.extensions
    }

    /// The value of one extension.
    #[must_use]
    pub fn extension(&self, oid: &ObjectIdentifier) -> Option<&Extension> {
        self.0
            .extensions
            .iter()
            .find(|one| one.oid == oid.as_bytes())
    }

    /// The first critical extension whose meaning is not known here, nor to the caller.
    #[must_use]
    pub fn unknown_critical_extension(&self, known_too: &[ObjectIdentifier]) -> Option<String> {
        const KNOWN: [ObjectIdentifier; 7] = [
            SUBJECT_KEY_ID,
            KEY_USAGE,
            SUBJECT_ALT_NAME,
            BASIC_CONSTRAINTS,
            NAME_CONSTRAINTS,
            AUTHORITY_KEY_ID,
            EXTENDED_KEY_USAGE,
        ];
        self.0
            .extensions
            .iter()
            .find(|one| {
                let mut known = KNOWN.iter().chain(known_too);
                one.critical && !known.any(|known| known.as_bytes() == one.oid)
            })
            .map(|one| asn1::dotted(&one.oid))
    }

    /// Returns the claims in Fulcio's extensions.
    #[must_use]
    pub fn fulcio(&self) -> &FulcioExtensions {
        &self.0.fulcio
    }

    /// The one identity of a Fulcio leaf.
    ///
    /// # Errors
    /// No name, more than one, a kind that Fulcio does not issue, no issuer, or
    /// characters that neither has.
    pub fn identity(&self) -> Result<Identity, Reason> {
        let [name] = self.0.sans.as_slice() else {
            return Err(reason!(
                "certificate-sans",
                "the certificate has {found} subject alternative names, not exactly one",
                found = self.0.sans.len()
            ));
        };
        let san = San::read(name)?;
        let issuer = self.0.fulcio.issuer().ok_or_else(|| {
            reason!(
                "certificate-no-issuer",
                "the certificate has no issuer extension"
            )
        })?;
        let issuer = names::issuer(issuer)?;
        Ok(Identity { san, issuer })
    }
}

fn unreadable(error: DerError) -> Reason {
    reason!(
        "certificate-unreadable",
        "cannot parse certificate: {error}"
    )
}

/// ```text
/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
/// TBSCertificate ::= SEQUENCE { version [0] EXPLICIT, serialNumber, signature,
///   issuer, validity, subject, subjectPublicKeyInfo, extensions [3] EXPLICIT }
/// ```
/// Unique identifiers (context tags 1 and 2) are refused: RFC 5280 §4.1.2.8 has none.
fn parse(der: &[u8]) -> Result<Parsed, ParseError> {
    let whole = asn1::read_single(der, asn1::SEQUENCE, "certificate")?;
    let header = whole
        .raw
        .len()
        .checked_sub(whole.value.len())
        .ok_or_else(|| DerError::value("certificate", "no header"))?;
    let mut outer = DerReader::new(whole.value);
    let tbs = outer.expect(asn1::SEQUENCE, "tbsCertificate")?;
    let algorithm = outer.expect(asn1::SEQUENCE, "signatureAlgorithm")?;
    let signature_part = outer.expect(asn1::BIT_STRING, "signatureValue")?;
    outer.finish("certificate")?;
    let signature = asn1::byte_aligned_bit_string(signature_part.value, "signatureValue")?.to_vec();
    let mut reader = DerReader::new(tbs.value);
    let version = match reader.optional(0xa0, "version")? {
        None => 0,
        Some(explicit) => {
            let mut inner = DerReader::new(explicit.value);
            let version = inner.read_u32("version")?;
            inner.finish("version")?;
            version
        }
    };
    if version != 2 {
        return Err(reason!(
            "certificate-version",
            "the certificate is of version {found}, not 3",
            found = u64::from(version) + 1
        )
        .into());
    }
    let serial = asn1::integer(
        reader.expect(asn1::INTEGER, "serialNumber")?.value,
        "serialNumber",
    )?;
    // A leading zero octet only keeps the number positive.
    let magnitude = match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    if serial.first().is_some_and(|first| *first >= 0x80) || magnitude.len() > MAX_SERIAL {
        return Err(reason!(
            "certificate-serial",
            "the serial number of {bytes} octets is negative or longer than {MAX_SERIAL}",
            bytes = serial.len()
        )
        .into());
    }
    let inner_algorithm = reader.expect(asn1::SEQUENCE, "signature")?;
    if inner_algorithm.raw != algorithm.raw {
        return Err(reason!(
            "certificate-algorithm-mismatch",
            "the certificate names two signature algorithms, inside and outside"
        )
        .into());
    }
    let signature_oid = DerReader::new(algorithm.value)
        .oid("signatureAlgorithm")?
        .to_vec();
    let issuer = reader.expect(asn1::SEQUENCE, "issuer")?.raw.to_vec();
    let mut validity = reader.enter(asn1::SEQUENCE, "validity")?;
    let not_before = validity_time(validity.any("notBefore")?)?;
    let not_after = validity_time(validity.any("notAfter")?)?;
    validity.finish("validity")?;
    let subject = reader.expect(asn1::SEQUENCE, "subject")?.raw.to_vec();
    let spki = reader
        .expect(asn1::SEQUENCE, "subjectPublicKeyInfo")?
        .raw
        .to_vec();
    let explicit = reader.optional(0xa3, "extensions")?;
    let fields = explicit.map_or(tbs.value.len(), |explicit| {
        tbs.value.len().saturating_sub(explicit.raw.len())
    });
    let extensions = match explicit {
        None => Vec::new(),
        Some(explicit) => extensions(explicit.value)?,
    };
    reader.finish("tbsCertificate")?;

    let mut parsed = Parsed {
        der: der.to_vec(),
        tbs: (header, tbs.raw.len()),
        fields: tbs.value.get(..fields).unwrap_or_default().to_vec(),
        serial: serial.to_vec(),
        issuer,
        subject,
        not_before,
        not_after,
        spki,
        key: OnceLock::new(),
        signature_oid,
        signature,
        extensions,
        basic_constraints: None,
        key_usage: None,
        extended_key_usage: None,
        sans: Vec::new(),
        name_constraints: None,
        subject_key_id: None,
        authority_key_id: None,
        fulcio: FulcioExtensions::default(),
    };
    parsed.read_extensions()?;
    Ok(parsed)
}

/// RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
fn validity_time(tlv: Tlv<'_>) -> Result<UnixTime, ParseError> {
    // 2050-01-01T00:00:00Z
    const FIRST_GENERALIZED: UnixTime = 2_524_608_000;
    let at = asn1::time(tlv, "validity")?;
    if tlv.tag == asn1::GENERALIZED_TIME && at < FIRST_GENERALIZED {
        return Err(reason!(
            "certificate-time",
            "the validity is written as GeneralizedTime before 2050"
        )
        .into());
    }
    Ok(at)
}

/// `Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue }`
fn extensions(explicit: &[u8]) -> Result<Vec<Extension>, ParseError> {
    let mut list = DerReader::new(asn1::read_single(explicit, asn1::SEQUENCE, "extensions")?.value);
    let mut extensions: Vec<Extension> = Vec::new();
    while !list.is_empty() {
        let whole = list.expect(asn1::SEQUENCE, "extension")?;
        let mut one = DerReader::new(whole.value);
        let oid = one.oid("extension")?.to_vec();
        let critical = match one.optional(asn1::BOOLEAN, "critical")? {
            None => false,
            Some(flag) => {
                let critical = asn1::boolean(flag.value, "critical")?;
                if !critical {
                    // X.690 §11.5: a default value is not written.
                    return Err(DerError::value("critical", "an explicit default").into());
                }
                critical
            }
        };
        let value = one.expect(asn1::OCTET_STRING, "extnValue")?.value.to_vec();
        one.finish("extension")?;
        if extensions.iter().any(|known| known.oid == oid) {
            return Err(reason!(
                "certificate-duplicate-extension",
                "duplicate extension {oid}",
                oid = asn1::dotted(&oid)
            )
            .into());
        }
        if extensions.len() >= MAX_EXTENSIONS {
            return Err(reason!(
                "certificate-too-many-extensions",
                "more than {MAX_EXTENSIONS} extensions"
            )
            .into());
        }
        extensions.push(Extension {
            oid,
            critical,
            value,
            raw: whole.raw.to_vec(),
        });
    }
    Ok(extensions)
}

impl Parsed {
    fn value(&self, oid: &ObjectIdentifier) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|one| one.oid == oid.as_bytes())
            .map(|one| one.value.as_slice())
    }

    fn read_extensions(&mut self) -> Result<(), Reason> {
        fn of<T>(
            name: &'static str,
            value: Option<&[u8]>,
            read: impl Fn(&[u8]) -> Result<T, DerError>,
        ) -> Result<Option<T>, Reason> {
            value
                .map(|value| {
                    asn1::check_der(value, name)
                        .and_then(|()| read(value))
                        .map_err(|why| {
                            reason!(
                                "certificate-extension",
                                "cannot parse extension {name}: {why}"
                            )
                        })
                })
                .transpose()
        }
        self.basic_constraints = of(
            "basicConstraints",
            self.value(&BASIC_CONSTRAINTS),
            basic_constraints,
        )?;
        self.key_usage = of("keyUsage", self.value(&KEY_USAGE), key_usage)?;
        self.extended_key_usage = of(
            "extKeyUsage",
            self.value(&EXTENDED_KEY_USAGE),
            extended_key_usage,
        )?;
        self.sans = of("subjectAltName", self.value(&SUBJECT_ALT_NAME), |value| {
            names::general_names(asn1::read_single(value, asn1::SEQUENCE, "subjectAltName")?.value)
        })?
        .unwrap_or_default();
        self.name_constraints = of(
            "nameConstraints",
            self.value(&NAME_CONSTRAINTS),
            names::name_constraints,
        )?;
        self.subject_key_id = of(
            "subjectKeyIdentifier",
            self.value(&SUBJECT_KEY_ID),
            |value| {
                asn1::read_single(value, asn1::OCTET_STRING, "subjectKeyIdentifier")
                    .map(|tlv| tlv.value.to_vec())
            },
        )?;
        self.authority_key_id = of(
            "authorityKeyIdentifier",
            self.value(&AUTHORITY_KEY_ID),
            authority_key_id,
        )?
        .flatten();
        self.fulcio = claims::read(&self.extensions)?;
        Ok(())
    }
}

/// `AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] OPTIONAL,
/// authorityCertIssuer [1] GeneralNames OPTIONAL, authorityCertSerialNumber [2] OPTIONAL }`
fn authority_key_id(value: &[u8]) -> Result<Option<Vec<u8>>, DerError> {
    const WHAT: &str = "authorityKeyIdentifier";
    let mut reader = DerReader::new(asn1::read_single(value, asn1::SEQUENCE, WHAT)?.value);
    let id = reader.optional(0x80, WHAT)?;
    reader.optional(0xa1, WHAT)?;
    reader.optional(0x82, WHAT)?;
    reader.finish(WHAT)?;
    Ok(id.map(|id| id.value.to_vec()))
}

fn basic_constraints(value: &[u8]) -> Result<BasicConstraints, DerError> {
    const WHAT: &str = "basicConstraints";
    let mut reader = DerReader::new(asn1::read_single(value, asn1::SEQUENCE, WHAT)?.value);
    let ca = match reader.optional(asn1::BOOLEAN, WHAT)? {
        None => false,
        Some(flag) => asn1::boolean(flag.value, WHAT)?,
    };
    let path_len = if reader.peek() == Some(asn1::INTEGER) {
        Some(reader.read_u32("pathLenConstraint")?)
    } else {
        None
    };
    reader.finish(WHAT)?;
    Ok(BasicConstraints { ca, path_len })
}

/// Named bits, bit 0 first in the octets (RFC 5280 §4.2.1.3): bit n here is 1 << n.
fn key_usage(value: &[u8]) -> Result<u16, DerError> {
    let tlv = asn1::read_single(value, asn1::BIT_STRING, "keyUsage")?;
    let (_, octets) = asn1::bit_string(tlv.value, "keyUsage")?;
    let octet = |nth: usize| octets.get(nth).copied().unwrap_or(0).reverse_bits();
    Ok(u16::from_le_bytes([octet(0), octet(1)]))
}

fn extended_key_usage(value: &[u8]) -> Result<Vec<Vec<u8>>, DerError> {
    let mut reader = DerReader::new(asn1::read_single(value, asn1::SEQUENCE, "extKeyUsage")?.value);
    let mut uses = Vec::new();
    while !reader.is_empty() {
        uses.push(reader.oid("extKeyUsage")?.to_vec());
    }
    Ok(uses)
}
