//! The trusted root, written as a `trusted_root.json` (Sigstore protobuf-specs,
//! `sigstore_trustroot.proto`). The reader is `evidence/trusted_root.rs`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use gitseal_evidence::{
    UnixTime,
    certificate::Certificate,
    keys::{KeyAlgorithm, PublicKey},
    trusted_root::{TrustedRoot, ValidityPeriod},
};

/// The media type that every client reads.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";

/// Returns a trusted root as a `trusted_root.json` that every Sigstore client reads.
#[must_use]
pub fn to_json(root: &TrustedRoot) -> String {
    let instance =
        |base_url: &str, key: &PublicKey, log_id: &[u8], window: &ValidityPeriod| Instance {
            base_url: base_url.to_owned(),
            hash_algorithm: Some("SHA2_256".to_owned()),
            public_key: Some(Key {
                raw_bytes: BASE64_STANDARD.encode(key.spki()),
                key_details: key_details(key.algorithm()).to_owned(),
                valid_for: Some(window.into()),
            }),
            log_id: Some(LogId {
                key_id: BASE64_STANDARD.encode(log_id),
            }),
        };
    let authority = |uri: &str, chain: &[Certificate], window: &ValidityPeriod| Authority {
        // Nothing reads it for a decision; sigstore-python demands it.
        subject: Some(distinguished_name(chain.last())),
        uri: uri.to_owned(),
        cert_chain: Some(Chain {
            certificates: chain
                .iter()
                .map(|certificate| Raw {
                    raw_bytes: BASE64_STANDARD.encode(certificate.der()),
                })
                .collect(),
        }),
        valid_for: Some(window.into()),
    };
    let file = File {
        media_type: MEDIA_TYPE.to_owned(),
        tlogs: root
            .logs
            .iter()
            .map(|log| instance(&log.base_url, &log.key, &log.log_id, &log.window))
            .collect(),
        certificate_authorities: root
            .authorities
            .iter()
            .map(|one| authority(&one.uri, &one.chain, &one.window))
            .collect(),
        ctlogs: root
            .ct_logs
            .iter()
            .map(|log| instance(&log.base_url, &log.key, &log.log_id, &log.window))
            .collect(),
        timestamp_authorities: root
            .timestamp_authorities
            .iter()
            .map(|one| authority(&one.uri, &one.chain, &one.window))
            .collect(),
    };
    serde_json::to_string_pretty(&file).unwrap_or_default()
}

/// The name of a key's algorithm in `sigstore_common.proto`, `PublicKeyDetails`.
fn key_details(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::P256 => "PKIX_ECDSA_P256_SHA_256",
        KeyAlgorithm::P384 => "PKIX_ECDSA_P384_SHA_384",
        KeyAlgorithm::P521 => "PKIX_ECDSA_P521_SHA_512",
        KeyAlgorithm::Rsa { bits } if bits <= 2048 => "PKIX_RSA_PKCS1V15_2048_SHA256",
        KeyAlgorithm::Rsa { bits } if bits <= 3072 => "PKIX_RSA_PKCS1V15_3072_SHA256",
        KeyAlgorithm::Rsa { .. } => "PKIX_RSA_PKCS1V15_4096_SHA256",
        KeyAlgorithm::Ed25519 => "PKIX_ED25519",
    }
}

/// `dev.sigstore.common.v1.DistinguishedName`.
fn distinguished_name(certificate: Option<&Certificate>) -> serde_json::Value {
    let mut name = serde_json::Map::new();
    let mut insert = |key: &str, text: Option<String>| {
        if let Some(text) = text {
            name.insert(key.to_owned(), text.into());
        }
    };
    insert(
        "organization",
        certificate.and_then(Certificate::subject_organization),
    );
    insert(
        "commonName",
        certificate.and_then(Certificate::subject_common_name),
    );
    name.into()
}

impl From<&ValidityPeriod> for TimeRange {
    fn from(window: &ValidityPeriod) -> Self {
        let text = |at: UnixTime| {
            jiff::Timestamp::from_second(at)
                .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
                .to_string()
        };
        Self {
            start: Some(text(window.start)),
            end: window.end.map(text),
        }
    }
}

// The JSON shapes: sigstore_trustroot.proto in protobuf's JSON mapping.

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    media_type: String,
    tlogs: Vec<Instance>,
    certificate_authorities: Vec<Authority>,
    ctlogs: Vec<Instance>,
    timestamp_authorities: Vec<Authority>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    base_url: String,
    hash_algorithm: Option<String>,
    public_key: Option<Key>,
    log_id: Option<LogId>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    raw_bytes: String,
    key_details: String,
    valid_for: Option<TimeRange>,
}

#[derive(Debug, Serialize)]
struct TimeRange {
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Authority {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<serde_json::Value>,
    uri: String,
    cert_chain: Option<Chain>,
    valid_for: Option<TimeRange>,
}

#[derive(Debug, Serialize)]
struct Chain {
    certificates: Vec<Raw>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    raw_bytes: String,
}
