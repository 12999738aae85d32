//! Certificates made by hand: the shape alone, as the daemon reads it.

use std::time::Duration;

use x509_cert::der::asn1::UtcTime;
use x509_cert::der::{DateTime, Encode};

/// Returns a certificate (RFC 5280 §4.1) for this SubjectPublicKeyInfo, with
/// empty names and a signature of zeros.
pub fn leaf(public: &[u8], not_before: u64, not_after: u64) -> Vec<u8> {
    const ECDSA_WITH_SHA256: [u8; 12] = [
        0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
    ];
    let version = der(0xa0, &der(0x02, &[2]));
    let validity = der(0x30, &[time(not_before), time(not_after)].concat());
    let empty = der(0x30, &[]);
    let content = [
        version,
        der(0x02, &[1]),
        ECDSA_WITH_SHA256.to_vec(),
        empty.clone(),
        validity,
        empty,
        public.to_vec(),
    ]
    .concat();
    let signature = der(0x03, &[0u8; 9]);
    der(
        0x30,
        &[der(0x30, &content), ECDSA_WITH_SHA256.to_vec(), signature].concat(),
    )
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        length if length < 128 => bytes.push(length as u8),
        length if length < 256 => bytes.extend([0x81, length as u8]),
        length => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Encodes a time as UTCTime (RFC 5280 §4.1.2.5.1).
fn time(unix: u64) -> Vec<u8> {
    let date = DateTime::from_unix_duration(Duration::from_secs(unix)).unwrap();
    UtcTime::from_date_time(date).unwrap().to_der().unwrap()
}
