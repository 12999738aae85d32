//! The messages between a client and a timestamp authority (RFC 3161 §2.4).
//!
//! *Not checked here:* the token itself (`evidence/timestamp.rs`).

use const_oid::db::rfc5912::ID_SHA_256;

use crate::der::{object_identifier, unsigned};
use gitseal_evidence::{
    asn1::{self, DerError, DerReader},
    hex,
    refusal::Reason,
    signed_data::Digest,
    timestamp::{self, MAX_TIMESTAMP},
};

/// The maximum length of a nonce, in bytes.
pub const MAX_NONCE: usize = 32;

/// Reasons to reject a timestamp request or response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum TsaMessageError {
    /// The message has more than [`MAX_TIMESTAMP`] bytes.
    #[error("the message is {bytes} bytes; the limit is {MAX_TIMESTAMP}")]
    TooLarge { bytes: usize },
    /// The message is not DER, or not a structure of RFC 3161.
    #[error("cannot parse the message: {0}")]
    Der(#[from] DerError),
    /// The version of the request is not 1.
    #[error("the request has version {found}, not 1")]
    Version { found: u32 },
    /// The digest or the token is invalid.
    #[error(transparent)]
    Timestamp(#[from] Reason),
    /// The authority rejected the request.
    #[error("the timestamp authority refused: status {status}{text}")]
    Rejected { status: u32, text: String },
    /// The token is over another digest.
    #[error("the timestamp is over {stamped}, not over {expected}")]
    Imprint { stamped: String, expected: String },
    /// The response is to another request.
    #[error("the response's nonce is not the request's")]
    Nonce,
}

fn sha256_imprint(imprint: &[u8; 32]) -> Vec<u8> {
    let algorithm = asn1::tlv(asn1::SEQUENCE, &[&object_identifier(ID_SHA_256.as_bytes())]);
    let hash = asn1::tlv(asn1::OCTET_STRING, &[imprint]);
    asn1::tlv(asn1::SEQUENCE, &[&algorithm, &hash])
}

/// Encodes a TimeStampReq (RFC 3161 §2.4.1) for a SHA-256 digest. `nonce` is a
/// big-endian number.
#[must_use]
pub fn encode_request(imprint: &[u8; 32], nonce: Option<&[u8]>, with_certificate: bool) -> Vec<u8> {
    let version = unsigned(&[1]);
    let nonce = nonce.map(unsigned).unwrap_or_default();
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

/// The request of a client, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRequest {
    /// The digest algorithm of the imprint.
    pub digest: Digest,
    /// The digest of the message, with the algorithm's length.
    pub imprint: Vec<u8>,
    /// The requested policy, as a dotted OID.
    pub policy: Option<String>,
    /// The nonce: content octets of the INTEGER.
    pub nonce: Option<Vec<u8>>,
    /// Whether the token must contain the authority's certificate.
    pub with_certificate: bool,
    /// Whether the request has extensions.
    pub extensions: bool,
}

/// Parses a TimeStampReq in DER.
///
/// # Errors
///
/// Returns [`TsaMessageError`] if the request is malformed, or its version or digest
/// is not supported.
pub fn parse_request(der: &[u8]) -> Result<TimestampRequest, TsaMessageError> {
    if der.len() > MAX_TIMESTAMP {
        return Err(TsaMessageError::TooLarge { bytes: der.len() });
    }
    asn1::check_der(der, "TimeStampReq")?;
    let mut reader = DerReader::new(asn1::read_single(der, asn1::SEQUENCE, "TimeStampReq")?.value);
    let version = reader.read_u32("version")?;
    if version != 1 {
        return Err(TsaMessageError::Version { found: version });
    }
    let (digest, imprint) = timestamp::message_imprint(&mut reader)?;
    if digest.of(&[]).len() != imprint.len() {
        return Err(DerError::value("hashedMessage", "not of the digest's length").into());
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
        return Err(DerError::value("nonce", "too long").into());
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

/// Returns the token of a TimeStampResp, which must be the response to this request.
///
/// # Errors
///
/// Returns [`TsaMessageError`] if the authority rejected the request, or the response
/// is for another request.
pub fn parse_response(
    response: &[u8],
    imprint: &[u8; 32],
    nonce: Option<&[u8]>,
) -> Result<Vec<u8>, TsaMessageError> {
    if response.len() > MAX_TIMESTAMP {
        return Err(TsaMessageError::TooLarge {
            bytes: response.len(),
        });
    }
    asn1::check_der(response, "TimeStampResp")?;
    let mut reader =
        DerReader::new(asn1::read_single(response, asn1::SEQUENCE, "TimeStampResp")?.value);
    let mut info = reader.enter(asn1::SEQUENCE, "PKIStatusInfo")?;
    let status = info.read_u32("status")?;
    if status > 1 {
        return Err(TsaMessageError::Rejected {
            status,
            text: status_text(&mut info),
        });
    }
    let token = reader.expect(asn1::SEQUENCE, "timeStampToken")?.raw;
    reader.finish("TimeStampResp")?;
    let read = timestamp::read(token)?;
    if read.imprint_digest != Digest::Sha256 || read.imprint != imprint {
        return Err(TsaMessageError::Imprint {
            stamped: hex(&read.imprint),
            expected: hex(imprint),
        });
    }
    let wanted = nonce.map(unsigned);
    let found = read
        .nonce
        .as_ref()
        .map(|nonce| asn1::tlv(asn1::INTEGER, &[nonce]));
    if wanted != found {
        return Err(TsaMessageError::Nonce);
    }
    Ok(token.to_vec())
}

/// Returns the printable characters of a PKIFreeText.
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
