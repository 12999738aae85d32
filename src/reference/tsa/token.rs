//! Encoding of timestamp tokens: CMS SignedData over a TSTInfo, and the response
//! around it (RFC 3161 §2.4.2).

use const_oid::{
    ObjectIdentifier,
    db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST, ID_SIGNED_DATA, ID_SIGNING_TIME},
};
use sha2::{Digest as _, Sha256};

use gitseal_evidence::{
    UnixTime,
    asn1::{self, DerError},
    certificate::Certificate,
    signed_data::Digest,
    timestamp::{SIGNING_CERTIFICATE_V2, TST_INFO},
};
use gitseal_services::{
    der::{encode_generalized_time, encode_time, object_identifier, set_of, unsigned},
    tsa::wire::TimestampRequest,
};

/// The fields of a timestamp token.
#[derive(Debug, Clone, Copy)]
pub struct TokenFields<'a> {
    /// The request for the token.
    pub request: &'a TimestampRequest,
    /// The policy: content octets of the object identifier.
    pub policy: &'a ObjectIdentifier,
    /// A unique serial number, big-endian.
    pub serial: &'a [u8],
    pub time: UnixTime,
    /// The authority's certificates, the signing one first.
    pub chain: &'a [Certificate],
    /// The object identifier of the signature algorithm.
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
) -> Result<Vec<u8>, DerError> {
    let seq = |parts: &[&[u8]]| asn1::tlv(asn1::SEQUENCE, parts);
    let oid = |oid: &ObjectIdentifier| object_identifier(oid.as_bytes());
    let algorithm_of = |digest: Digest| seq(&[&object_identifier(digest.oid_octets())]);
    let attribute =
        |kind: &ObjectIdentifier, value: &[u8]| seq(&[&oid(kind), &asn1::tlv(asn1::SET, &[value])]);
    let request = statement.request;
    let signer = statement
        .chain
        .first()
        .ok_or_else(|| DerError::value("chain", "empty"))?;
    let imprint = seq(&[
        &algorithm_of(request.digest),
        &asn1::tlv(asn1::OCTET_STRING, &[&request.imprint]),
    ]);
    // Accuracy of one second, as Sigstore's own authority states.
    let accuracy = seq(&[&unsigned(&[1])]);
    let nonce = request
        .nonce
        .as_ref()
        .map(|nonce| asn1::tlv(asn1::INTEGER, &[nonce]))
        .unwrap_or_default();
    let info = seq(&[
        &unsigned(&[1]),
        &oid(statement.policy),
        &imprint,
        &unsigned(statement.serial),
        &encode_generalized_time(statement.time)?,
        &accuracy,
        &nonce,
    ]);
    let certificate_id = seq(&[&asn1::tlv(
        asn1::OCTET_STRING,
        &[&Sha256::digest(signer.der())],
    )]);
    let signed = set_of(vec![
        attribute(&ID_CONTENT_TYPE, &oid(&TST_INFO)),
        attribute(
            &ID_MESSAGE_DIGEST,
            &asn1::tlv(asn1::OCTET_STRING, &[&Sha256::digest(&info)]),
        ),
        attribute(&ID_SIGNING_TIME, &encode_time(statement.time)?),
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
        &unsigned(&[1]),
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
        &unsigned(&[3]),
        &asn1::tlv(asn1::SET, &[&sha256]),
        &seq(&[&oid(&TST_INFO), &content]),
        &certificates,
        &asn1::tlv(asn1::SET, &[&signer_info]),
    ]);
    Ok(seq(&[
        &object_identifier(ID_SIGNED_DATA.as_bytes()),
        &asn1::tlv(0xa0, &[&data]),
    ]))
}

/// A TimeStampResp that grants (RFC 3161 §2.4.2).
#[must_use]
pub fn encode_response(token: &[u8]) -> Vec<u8> {
    let status = asn1::tlv(asn1::SEQUENCE, &[&unsigned(&[0])]);
    asn1::tlv(asn1::SEQUENCE, &[&status, token])
}
