//! Certificates as Fulcio issues them, and the certificates of the authorities.
//!
//! Identity, key, time and serial number go in; precertificate and certificate
//! come out. A function that is passed in makes the signature.
//!
//! Precertificate and certificate come out of one [`TbsTemplate`], so that they
//! agree byte for byte in all but the poison and the SCT list (RFC 6962 §3.1).
//!
//! Sources: RFC 5280 §4.1, §4.2; RFC 6962 §3.1, §3.3; Fulcio's certificate
//! specification and its list of extensions (1.3.6.1.4.1.57264.1).
//!
//! *Not checked here:* whether the client has the identity (`tokens.rs`), and
//! holds the key (`server.rs`).

use sha1::{Digest as _, Sha1};

use super::principal::{Principal, PrincipalName};
use gitseal_evidence::{
    UnixTime,
    asn1::{self, BIT_STRING, BOOLEAN, DerError, OCTET_STRING, SEQUENCE, UTF8_STRING},
    keys::{PublicKey, SignatureAlgorithm},
};
use gitseal_services::der::{encode_time, object_identifier, unsigned};

/// The lifetime of a certificate, in seconds.
pub const LIFETIME: i64 = 600;
/// The longest value of an extension or a name, in bytes.
pub const MAX_VALUE: usize = 2048;

// Contents of object identifiers.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f]; // 2.5.29.15
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25]; // 2.5.29.37
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e]; // 2.5.29.14
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23]; // 2.5.29.35
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11]; // 2.5.29.17
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13]; // 2.5.29.19
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a]; // 2.5.4.10
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03]; // 2.5.4.3
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3]; // 1.3.6.1.5.5.7.3.3
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8]; // 1.3.6.1.5.5.7.3.8
const FULCIO: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1]; // 1.3.6.1.4.1.57264.1, one arc is added
const SCT_LIST: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2]; // 1.3.6.1.4.1.11129.2.4.2
const POISON: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3]; // 1.3.6.1.4.1.11129.2.4.3

/// Signs a TBSCertificate with the issuer's key.
pub type SignTbs<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// Reasons that a certificate cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A value with characters that its field does not allow.
    #[error("{what} contains characters that a certificate does not allow: {value:?}")]
    Alphabet { what: &'static str, value: String },
    /// A value that is too long for a certificate that each commit carries.
    #[error("{what} has {bytes} bytes; a certificate contains at most {MAX_VALUE}")]
    TooLong { what: &'static str, bytes: usize },
    /// A time outside of 1970 to 9999.
    #[error("cannot encode the validity: {0}")]
    Time(#[from] DerError),
}

/// The issuer's part of a certificate.
#[derive(Debug, Clone)]
pub struct IssuedBy {
    /// The issuer's subject, DER.
    pub name: Vec<u8>,
    pub key: PublicKey,
}

/// A leaf certificate without its last extension: the SCT list or the poison.
#[derive(Debug, Clone)]
pub struct TbsTemplate {
    /// The fields from `version` to `subjectPublicKeyInfo`.
    head: Vec<u8>,
    /// All extensions but the last one.
    extensions: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl TbsTemplate {
    /// Returns a leaf for `principal` and the key `spki` (DER), valid from `now` for
    /// [`LIFETIME`] seconds. `serial` is random; its top bit is not used.
    ///
    /// # Errors
    ///
    /// Returns [`IssueError`] if a certificate cannot contain the identity.
    pub fn new(
        principal: &Principal,
        spki: &[u8],
        issuer: &IssuedBy,
        serial: [u8; 20],
        now: UnixTime,
    ) -> Result<Self, IssueError> {
        let algorithm = issuer.key.default_algorithm();
        let head = head(
            serial,
            algorithm,
            &issuer.name,
            (now, now.saturating_add(LIFETIME)),
            &asn1::tlv(SEQUENCE, &[]),
            spki,
        )?;
        let mut extensions = vec![
            key_usage(&[7, 0x80]),
            extended_key_usage(CODE_SIGNING, false),
            authority_key_id(&issuer.key),
            extension(
                SUBJECT_ALT_NAME,
                true,
                &asn1::tlv(SEQUENCE, &[&general_name(&principal.san)?]),
            ),
        ];
        for (arc, value) in principal.extensions() {
            fit("a claim", value)?;
            let value = if arc <= 6 {
                value.as_bytes().to_vec()
            } else {
                asn1::tlv(UTF8_STRING, &[value.as_bytes()])
            };
            extensions.push(extension(&[FULCIO, &[arc]].concat(), false, &value));
        }
        Ok(Self {
            head,
            extensions: extensions.concat(),
            algorithm,
        })
    }

    fn finish(&self, last: &[u8], sign: SignTbs<'_>) -> Result<Vec<u8>, IssueError> {
        let all = asn1::tlv(SEQUENCE, &[&self.extensions, last]);
        let tbs = asn1::tlv(SEQUENCE, &[&self.head, &asn1::tlv(0xa3, &[&all])]);
        signed(&tbs, self.algorithm, sign)
    }

    /// Returns the precertificate in DER: with the poison, signed by the issuer's key.
    ///
    /// # Errors
    ///
    /// Returns [`IssueError`] if the certificate cannot be encoded.
    pub fn precertificate(&self, sign: SignTbs<'_>) -> Result<Vec<u8>, IssueError> {
        self.finish(&extension(POISON, true, &asn1::tlv(asn1::NULL, &[])), sign)
    }

    /// Returns the certificate in DER. `sct_list` is the TLS encoding of a
    /// SignedCertificateTimestampList.
    ///
    /// # Errors
    ///
    /// Returns [`IssueError`] if the certificate cannot be encoded.
    pub fn certificate(&self, sct_list: &[u8], sign: SignTbs<'_>) -> Result<Vec<u8>, IssueError> {
        let value = asn1::tlv(OCTET_STRING, &[sct_list]);
        self.finish(&extension(SCT_LIST, false, &value), sign)
    }
}

/// Encodes a SignedCertificateTimestampList (RFC 6962 §3.3) of encoded SCTs.
/// Returns `None` if they are too long for it.
#[must_use]
pub fn sct_list(scts: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut list = Vec::new();
    for sct in scts {
        list.extend(u16::try_from(sct.len()).ok()?.to_be_bytes());
        list.extend_from_slice(sct);
    }
    let mut out = u16::try_from(list.len()).ok()?.to_be_bytes().to_vec();
    out.append(&mut list);
    Some(out)
}

/// The purpose of an authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaRole {
    /// A root, which signs the certificate of one issuing authority.
    Root,
    /// Issues code-signing certificates, but no CA certificates.
    Issuing,
    /// Signs RFC 3161 timestamp tokens.
    TimeStamping,
}

/// The fields of an authority's certificate.
#[derive(Debug, Clone)]
pub struct CaCertificate<'a> {
    pub role: CaRole,
    pub organization: &'a str,
    pub common_name: &'a str,
    pub key: &'a PublicKey,
    /// A random number; the top bit is not used.
    pub serial: [u8; 20],
    /// The first and the last second.
    pub validity: (UnixTime, UnixTime),
}

impl CaCertificate<'_> {
    /// Returns the certificate in DER, signed by `issuer` (a root by itself).
    ///
    /// # Errors
    ///
    /// Returns [`IssueError`] if a certificate cannot contain a name or a time.
    pub fn certificate(&self, issuer: &IssuedBy, sign: SignTbs<'_>) -> Result<Vec<u8>, IssueError> {
        let algorithm = issuer.key.default_algorithm();
        let head = head(
            self.serial,
            algorithm,
            &issuer.name,
            self.validity,
            &name(self.organization, self.common_name)?,
            self.key.spki(),
        )?;
        let authority = |path: u8| {
            let constraints = asn1::tlv(
                SEQUENCE,
                &[&asn1::tlv(BOOLEAN, &[&[0xff]]), &unsigned(&[path])],
            );
            // keyCertSign and cRLSign.
            [
                key_usage(&[1, 0x06]),
                extension(BASIC_CONSTRAINTS, true, &constraints),
            ]
            .concat()
        };
        let mut extensions = match self.role {
            CaRole::Root => authority(1),
            CaRole::Issuing => [authority(0), extended_key_usage(CODE_SIGNING, false)].concat(),
            CaRole::TimeStamping => [
                key_usage(&[7, 0x80]),
                // RFC 3161 §2.3: critical, and the only purpose.
                extended_key_usage(TIME_STAMPING, true),
            ]
            .concat(),
        };
        let id = asn1::tlv(OCTET_STRING, &[&key_id(self.key)]);
        extensions.extend(extension(SUBJECT_KEY_ID, false, &id));
        if self.role != CaRole::Root {
            extensions.extend(authority_key_id(&issuer.key));
        }
        let all = asn1::tlv(SEQUENCE, &[&extensions]);
        let tbs = asn1::tlv(SEQUENCE, &[&head, &asn1::tlv(0xa3, &[&all])]);
        signed(&tbs, algorithm, sign)
    }
}

/// Encodes a Name of an organization and a common name in DER.
///
/// # Errors
///
/// Returns [`IssueError`] if one of them is too long or contains control characters.
pub fn name(organization: &str, common_name: &str) -> Result<Vec<u8>, IssueError> {
    let part = |oid: &[u8], value: &str| -> Result<Vec<u8>, IssueError> {
        fit("a name", value)?;
        let pair = asn1::tlv(
            SEQUENCE,
            &[
                &object_identifier(oid),
                &asn1::tlv(UTF8_STRING, &[value.as_bytes()]),
            ],
        );
        Ok(asn1::tlv(asn1::SET, &[&pair]))
    };
    Ok(asn1::tlv(
        SEQUENCE,
        &[
            &part(ORGANIZATION, organization)?,
            &part(COMMON_NAME, common_name)?,
        ],
    ))
}

/// Returns the key identifier of RFC 5280 §4.2.1.2, method 1: SHA-1 of the bits
/// of the key. It is a name; nothing relies on it.
fn key_id(key: &PublicKey) -> [u8; 20] {
    Sha1::digest(key.raw_key()).into()
}

fn head(
    serial: [u8; 20],
    algorithm: SignatureAlgorithm,
    issuer: &[u8],
    validity: (UnixTime, UnixTime),
    subject: &[u8],
    spki: &[u8],
) -> Result<Vec<u8>, IssueError> {
    let mut serial = serial;
    if let Some(first) = serial.first_mut() {
        *first &= 0x7f;
    }
    Ok([
        asn1::tlv(0xa0, &[&unsigned(&[2])]),
        unsigned(&serial),
        algorithm_identifier(algorithm),
        issuer.to_vec(),
        asn1::tlv(
            SEQUENCE,
            &[&encode_time(validity.0)?, &encode_time(validity.1)?],
        ),
        subject.to_vec(),
        spki.to_vec(),
    ]
    .concat())
}

fn signed(
    tbs: &[u8],
    algorithm: SignatureAlgorithm,
    sign: SignTbs<'_>,
) -> Result<Vec<u8>, IssueError> {
    let signature = sign(tbs);
    Ok(asn1::tlv(
        SEQUENCE,
        &[
            tbs,
            &algorithm_identifier(algorithm),
            &asn1::tlv(BIT_STRING, &[&[0], &signature]),
        ],
    ))
}

/// Encodes an AlgorithmIdentifier: without parameters (RFC 5758 §3.2, RFC 8410 §3),
/// for RSA with NULL (RFC 4055 §5).
fn algorithm_identifier(algorithm: SignatureAlgorithm) -> Vec<u8> {
    let oid = object_identifier(algorithm.oid().as_bytes());
    match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha256
        | SignatureAlgorithm::RsaPkcs1Sha384
        | SignatureAlgorithm::RsaPkcs1Sha512 => {
            asn1::tlv(SEQUENCE, &[&oid, &asn1::tlv(asn1::NULL, &[])])
        }
        SignatureAlgorithm::EcdsaSha256
        | SignatureAlgorithm::EcdsaSha384
        | SignatureAlgorithm::EcdsaSha512
        | SignatureAlgorithm::Ed25519 => asn1::tlv(SEQUENCE, &[&oid]),
    }
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical {
        asn1::tlv(BOOLEAN, &[&[0xff]])
    } else {
        Vec::new()
    };
    asn1::tlv(
        SEQUENCE,
        &[
            &object_identifier(oid),
            &flag,
            &asn1::tlv(OCTET_STRING, &[value]),
        ],
    )
}

/// Encodes a KeyUsage extension. `bits` is the number of unused bits, then the bits.
fn key_usage(bits: &[u8]) -> Vec<u8> {
    extension(KEY_USAGE, true, &asn1::tlv(BIT_STRING, &[bits]))
}

fn extended_key_usage(purpose: &[u8], critical: bool) -> Vec<u8> {
    let list = asn1::tlv(SEQUENCE, &[&object_identifier(purpose)]);
    extension(EXTENDED_KEY_USAGE, critical, &list)
}

fn authority_key_id(key: &PublicKey) -> Vec<u8> {
    let id = asn1::tlv(0x80, &[&key_id(key)]);
    extension(AUTHORITY_KEY_ID, false, &asn1::tlv(SEQUENCE, &[&id]))
}

/// Encodes a GeneralName (RFC 5280 §4.2.1.6).
fn general_name(san: &PrincipalName) -> Result<Vec<u8>, IssueError> {
    match san {
        PrincipalName::Email(email) => {
            ascii("the email address", email)?;
            Ok(asn1::tlv(0x81, &[email.as_bytes()]))
        }
        PrincipalName::Uri(uri) => {
            ascii("the URI", uri)?;
            Ok(asn1::tlv(0x86, &[uri.as_bytes()]))
        }
        PrincipalName::OtherName(text) => {
            fit("the user name", text)?;
            let value = asn1::tlv(0xa0, &[&asn1::tlv(UTF8_STRING, &[text.as_bytes()])]);
            let id = object_identifier(&[FULCIO, &[7]].concat());
            Ok(asn1::tlv(0xa0, &[&id, &value]))
        }
    }
}

/// Checks that a value is an IA5String without control characters.
fn ascii(what: &'static str, value: &str) -> Result<(), IssueError> {
    fit(what, value)?;
    if value.is_ascii() {
        return Ok(());
    }
    Err(alphabet(what, value))
}

fn fit(what: &'static str, value: &str) -> Result<(), IssueError> {
    if value.len() > MAX_VALUE {
        return Err(IssueError::TooLong {
            what,
            bytes: value.len(),
        });
    }
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(alphabet(what, value));
    }
    Ok(())
}

fn alphabet(what: &'static str, value: &str) -> IssueError {
    IssueError::Alphabet {
        what,
        value: value.chars().take(64).collect(),
    }
}
