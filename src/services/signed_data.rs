//! CMS SignedData (RFC 5652), made byte for byte as gitsign makes it: version 1,
//! issuer and serial, algorithms without parameters, the leaf alone, the log
//! entry and the timestamp as unsigned attributes.
//!
//! *Not checked here:* whether what was put together verifies
//! (`evidence/verify.rs`).

use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA, ID_SIGNING_TIME},
        rfc5912::{ECDSA_WITH_SHA_256, ID_SHA_256},
    },
};

use crate::der::{encode_time, object_identifier, set_of, unsigned};
use gitseal_evidence::{
    UnixTime,
    asn1::{self, DerError, DerReader, OCTET_STRING, SEQUENCE, SET, tlv},
    certificate::Certificate,
    signed_data::{LOG_ENTRY, TIMESTAMP_TOKEN},
};

/// Reasons that a CMS cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedDataError {
    /// A part is not DER of its type.
    #[error("cannot encode CMS: {0}")]
    Der(#[from] DerError),
    /// It has content already.
    #[error("cannot embed content in CMS: it has content already")]
    Content,
}

fn oid(oid: &ObjectIdentifier) -> Vec<u8> {
    object_identifier(oid.as_bytes())
}

fn attribute(kind: &ObjectIdentifier, value: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&oid(kind), &tlv(SET, &[value])])
}

/// The three signed attributes of a SHA-256 signature, as a SET OF (tag 31) in
/// DER's order: the bytes to sign.
///
/// # Errors
/// The time is not between 1970 and 9999.
pub fn attributes(
    content_digest: &[u8; 32],
    signing_time: UnixTime,
) -> Result<Vec<u8>, SignedDataError> {
    Ok(set_of(vec![
        attribute(&ID_CONTENT_TYPE, &oid(&ID_DATA)),
        attribute(&ID_SIGNING_TIME, &encode_time(signing_time)?),
        attribute(&ID_MESSAGE_DIGEST, &tlv(OCTET_STRING, &[content_digest])),
    ]))
}

/// Encodes a detached signature. `attributes` is what [`attributes`](fn@attributes)
/// returned and what was signed.
///
/// # Errors
/// Attributes or timestamp are not DER.
pub fn encode_signed_data(
    attributes: &[u8],
    signature: &[u8],
    leaf: &Certificate,
    log_entry: Option<&[u8]>,
    timestamp: Option<&[u8]>,
) -> Result<Vec<u8>, SignedDataError> {
    let mut unsigned_attributes = Vec::new();
    if let Some(entry) = log_entry {
        unsigned_attributes.push(attribute(&LOG_ENTRY, &tlv(OCTET_STRING, &[entry])));
    }
    if let Some(token) = timestamp {
        asn1::read_single(token, SEQUENCE, "timestamp")?;
        unsigned_attributes.push(attribute(&TIMESTAMP_TOKEN, token));
    }
    let unsigned_attributes = match unsigned_attributes.as_slice() {
        [] => Vec::new(),
        _ => {
            let set = set_of(unsigned_attributes);
            tlv(
                0xa1,
                &[asn1::read_single(&set, SET, "unsignedAttrs")?.value],
            )
        }
    };
    let version = unsigned(&[1]);
    let sha256 = tlv(SEQUENCE, &[&oid(&ID_SHA_256)]);
    let serial = tlv(asn1::INTEGER, &[leaf.serial()]);
    let signed_attributes = asn1::read_single(attributes, SET, "signedAttrs")?.value;
    let signer = tlv(
        SEQUENCE,
        &[
            &version,
            &tlv(SEQUENCE, &[leaf.issuer_der(), &serial]),
            &sha256,
            &tlv(0xa0, &[signed_attributes]),
            &tlv(SEQUENCE, &[&oid(&ECDSA_WITH_SHA_256)]),
            &tlv(OCTET_STRING, &[signature]),
            &unsigned_attributes,
        ],
    );
    Ok(content_info(&[
        &version,
        &tlv(SET, &[&sha256]),
        &tlv(SEQUENCE, &[&oid(&ID_DATA)]),
        &tlv(0xa0, &[leaf.der()]),
        &tlv(SET, &[&signer]),
    ]))
}

/// Puts what was signed inside a detached signature that [`encode_signed_data`]
/// made (RFC 5652 §5.2, eContent). The signature itself does not change: it is
/// over the attributes, which contain the content's digest.
///
/// # Errors
/// It is not such a signature, or one that has content already.
pub fn embed_content(detached: &[u8], content: &[u8]) -> Result<Vec<u8>, SignedDataError> {
    let mut info = DerReader::new(asn1::read_single(detached, SEQUENCE, "ContentInfo")?.value);
    info.oid("contentType")?;
    let data = info.expect(0xa0, "content")?;
    let mut data = DerReader::new(asn1::read_single(data.value, SEQUENCE, "SignedData")?.value);
    let version = data.any("version")?;
    let digests = data.expect(SET, "digestAlgorithms")?;
    let mut encapsulated = data.enter(SEQUENCE, "encapContentInfo")?;
    let kind = encapsulated.any("eContentType")?;
    if !encapsulated.is_empty() {
        return Err(SignedDataError::Content);
    }
    let content = tlv(0xa0, &[&tlv(OCTET_STRING, &[content])]);
    let certificates = data.expect(0xa0, "certificates")?;
    let signers = data.expect(SET, "signerInfos")?;
    data.finish("SignedData")?;
    Ok(content_info(&[
        version.raw,
        digests.raw,
        &tlv(SEQUENCE, &[kind.raw, &content]),
        certificates.raw,
        signers.raw,
    ]))
}

fn content_info(parts: &[&[u8]]) -> Vec<u8> {
    let data = tlv(SEQUENCE, parts);
    tlv(SEQUENCE, &[&oid(&ID_SIGNED_DATA), &tlv(0xa0, &[&data])])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHAIN: &str = include_str!("../../tests/data/gitsign/chain.pem");

    #[test]
    fn parts_that_are_not_der_are_errors() {
        let leaf = Certificate::pem_chain(CHAIN).unwrap().remove(0);
        let attributes = attributes(&[0; 32], 1_790_000_000).unwrap();
        for (attributes, timestamp) in [(&b"x"[..], None), (&attributes, Some(&b"x"[..]))] {
            assert!(matches!(
                encode_signed_data(attributes, b"s", &leaf, None, timestamp),
                Err(SignedDataError::Der(_))
            ));
        }
        let detached = encode_signed_data(&attributes, b"s", &leaf, None, None).unwrap();
        let attached = embed_content(&detached, b"content").unwrap();
        assert_eq!(
            embed_content(&attached, b"content"),
            Err(SignedDataError::Content)
        );
        assert!(super::attributes(&[0; 32], -1).is_err());
    }
}
