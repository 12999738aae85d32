//! Log entries: the message that travels with a signature, the bodies that
//! logs hash, what a SET signs, and Rekor v1's REST form.
//!
//! `dev.sigstore.rekor.v1.TransparencyLogEntry`; Rekor `hashedrekord` 0.0.1
//! and 0.0.2; RFC 8785.
//!
//! A body is always rebuilt from the signature at hand, never believed: the
//! builders here are what step 4 hashes.
//!
//! *Not checked here:* proofs (`merkle.rs`), checkpoints (`checkpoint.rs`),
//! the SET's signature and which log is trusted (`verify.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;

use crate::{
    UnixTime, armor, hex,
    keys::{KeyAlgorithm, PublicKey},
    merkle::{Hash, MAX_PROOF_HASHES},
    refusal::{Reason, reason},
};

#[cfg(test)]
mod tests;

/// Longest log entry message that is read, in bytes.
pub const MAX_ENTRY: usize = 256 * 1024;

/// One entry of a transparency log, with what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The index over all shards of the log (v1), or in the tree (v2).
    /// Authenticated only by the SET (v1) or by equality with the proof's (v2).
    pub log_index: i64,
    /// 32 bytes: which log.
    pub log_id: Vec<u8>,
    /// The stored kind, which is not verified: `hashedrekord`.
    pub kind: String,
    /// The stored version, which is not verified: gitsign writes `0.0.1` for v2 too.
    pub version: String,
    /// When a v1 log says it took the entry, authenticated only by the SET; 0
    /// in v2.
    pub integrated_time: UnixTime,
    /// The signed entry timestamp (inclusion promise) of a v1 log.
    pub set: Option<Vec<u8>>,
    /// The inclusion proof of the entry.
    pub proof: Option<InclusionProof>,
    /// The canonicalized body, where it came along (never out of a signature
    /// that gitsign made).
    pub body: Option<Vec<u8>>,
}

/// An inclusion proof as it is stored; index, root and size count for nothing
/// until they equal what the checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Index of the leaf in the tree.
    pub log_index: i64,
    /// The root, 32 bytes.
    pub root_hash: Vec<u8>,
    /// Leaves of the tree.
    pub tree_size: i64,
    /// 32 bytes each, leaf side first.
    pub hashes: Vec<Hash>,
    /// The signed note of the log.
    pub checkpoint: String,
}

/// The protobuf messages, written out by hand from `sigstore_rekor.proto` and
/// `sigstore_common.proto`.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TransparencyLogEntry {
        #[prost(int64, tag = "1")]
        pub log_index: i64,
        #[prost(message, optional, tag = "2")]
        pub log_id: Option<LogId>,
        #[prost(message, optional, tag = "3")]
        pub kind_version: Option<KindVersion>,
        #[prost(int64, tag = "4")]
        pub integrated_time: i64,
        #[prost(message, optional, tag = "5")]
        pub inclusion_promise: Option<InclusionPromise>,
        #[prost(message, optional, tag = "6")]
        pub inclusion_proof: Option<InclusionProof>,
        #[prost(bytes = "vec", tag = "7")]
        pub canonicalized_body: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct LogId {
        #[prost(bytes = "vec", tag = "1")]
        pub key_id: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KindVersion {
        #[prost(string, tag = "1")]
        pub kind: String,
        #[prost(string, tag = "2")]
        pub version: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct InclusionPromise {
        #[prost(bytes = "vec", tag = "1")]
        pub signed_entry_timestamp: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct InclusionProof {
        #[prost(int64, tag = "1")]
        pub log_index: i64,
        #[prost(bytes = "vec", tag = "2")]
        pub root_hash: Vec<u8>,
        #[prost(int64, tag = "3")]
        pub tree_size: i64,
        #[prost(bytes = "vec", repeated, tag = "4")]
        pub hashes: Vec<Vec<u8>>,
        #[prost(message, optional, tag = "5")]
        pub checkpoint: Option<CheckpointProto>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct CheckpointProto {
        #[prost(string, tag = "1")]
        pub envelope: String,
    }
}

impl LogEntry {
    /// Reads a `TransparencyLogEntry` message. Only its canonical encoding is
    /// read: every entry that gitsign stored has it, and any other form would
    /// be a second spelling of the same signature. (Where there is no SET, the
    /// promise may be empty or absent.)
    ///
    /// # Errors
    /// The message is not such an entry, in its one form.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, Reason> {
        if bytes.len() > MAX_ENTRY {
            return Err(reason!(
                "entry-too-long",
                "the log entry is {bytes} bytes; the limit is {MAX_ENTRY}",
                bytes = bytes.len()
            ));
        }
        let message = wire::TransparencyLogEntry::decode(bytes).map_err(|error| {
            reason!(
                "entry-unreadable",
                "the log entry is not a TransparencyLogEntry: {reason}",
                reason = error.to_string()
            )
        })?;
        let kind_version = message
            .kind_version
            .ok_or_else(|| incomplete("kind and version"))?;
        let log_id = message.log_id.ok_or_else(|| incomplete("log id"))?.key_id;
        let proof = match message.inclusion_proof {
            None => None,
            Some(proof) => Some(InclusionProof {
                log_index: proof.log_index,
                root_hash: proof.root_hash,
                tree_size: proof.tree_size,
                hashes: proof_hashes(&proof.hashes)?,
                checkpoint: proof
                    .checkpoint
                    .map(|checkpoint| checkpoint.envelope)
                    .unwrap_or_default(),
            }),
        };
        let entry = Self {
            log_index: message.log_index,
            log_id,
            kind: kind_version.kind,
            version: kind_version.version,
            integrated_time: message.integrated_time,
            set: message
                .inclusion_promise
                .map(|promise| promise.signed_entry_timestamp)
                .filter(|set| !set.is_empty()),
            proof,
            body: Some(message.canonicalized_body).filter(|body| !body.is_empty()),
        };
        entry.check()?;
        // gitsign writes an empty promise where there is none, other writers
        // leave it out; nothing else has two spellings.
        let canonical = entry.message(true).encode_to_vec();
        let spelled = bytes == canonical
            || entry.set.is_none() && {
                let mut message = entry.message(true);
                message.inclusion_promise = None;
                bytes == message.encode_to_vec()
            };
        if !spelled {
            return Err(reason!(
                "entry-not-canonical",
                "the log entry has unknown, repeated or reordered fields ({bytes} bytes \
                     that encode back to {canonical} others)",
                bytes = bytes.len(),
                canonical = canonical.len()
            ));
        }
        Ok(entry)
    }

    /// The canonical `TransparencyLogEntry` message, with or without the body.
    /// An entry without SET carries an empty promise, as gitsign writes it.
    #[must_use]
    pub fn to_protobuf(&self, with_body: bool) -> Vec<u8> {
        self.message(with_body).encode_to_vec()
    }

    fn message(&self, with_body: bool) -> wire::TransparencyLogEntry {
        let body = match &self.body {
            Some(body) if with_body => body.clone(),
            _ => Vec::new(),
        };
        wire::TransparencyLogEntry {
            log_index: self.log_index,
            log_id: Some(wire::LogId {
                key_id: self.log_id.clone(),
            }),
            kind_version: Some(wire::KindVersion {
                kind: self.kind.clone(),
                version: self.version.clone(),
            }),
            integrated_time: self.integrated_time,
            inclusion_promise: Some(wire::InclusionPromise {
                signed_entry_timestamp: self.set.clone().unwrap_or_default(),
            }),
            inclusion_proof: self.proof.as_ref().map(|proof| wire::InclusionProof {
                log_index: proof.log_index,
                root_hash: proof.root_hash.clone(),
                tree_size: proof.tree_size,
                hashes: proof.hashes.iter().map(|hash| hash.to_vec()).collect(),
                checkpoint: Some(wire::CheckpointProto {
                    envelope: proof.checkpoint.clone(),
                }),
            }),
            canonicalized_body: body,
        }
    }

    /// Numbers in range, hashes of 32 bytes, a checkpoint with the proof.
    /// Whoever fills a `LogEntry` from another form calls this too.
    ///
    /// # Errors
    /// A value is out of range.
    pub fn check(&self) -> Result<(), Reason> {
        number("log index", self.log_index, 0)?;
        number("integrated time", self.integrated_time, 0)?;
        hash_length("log id", &self.log_id)?;
        if self.kind.is_empty() || self.version.is_empty() {
            return Err(incomplete("kind and version"));
        }
        let Some(proof) = &self.proof else {
            return Ok(());
        };
        number("tree size", proof.tree_size, 1)?;
        number("index in the tree", proof.log_index, 0)?;
        if proof.log_index >= proof.tree_size {
            return Err(out_of_range("index in the tree", proof.log_index));
        }
        hash_length("root", &proof.root_hash)?;
        if proof.hashes.len() > MAX_PROOF_HASHES {
            return Err(proof_too_long(proof.hashes.len()));
        }
        if proof.checkpoint.is_empty() {
            return Err(incomplete("checkpoint"));
        }
        Ok(())
    }
}

/// The hashes of an inclusion proof, each of 32 bytes.
///
/// # Errors
/// There are more than any proof has, or one has another length.
pub fn proof_hashes<B: AsRef<[u8]>>(hashes: &[B]) -> Result<Vec<Hash>, Reason> {
    if hashes.len() > MAX_PROOF_HASHES {
        return Err(proof_too_long(hashes.len()));
    }
    hashes
        .iter()
        .map(|hash| hash_length("proof hash", hash.as_ref()))
        .collect()
}

fn hash_length(what: &str, bytes: &[u8]) -> Result<Hash, Reason> {
    bytes.try_into().map_err(|_| {
        reason!(
            "entry-hash-length",
            "the log entry's {what} has {} bytes, not 32",
            bytes.len()
        )
    })
}

fn number(what: &str, value: i64, least: i64) -> Result<(), Reason> {
    if value < least {
        return Err(out_of_range(what, value));
    }
    Ok(())
}

fn out_of_range(what: &str, value: i64) -> Reason {
    reason!("entry-number", "the log entry's {what} cannot be {value}")
}

fn proof_too_long(hashes: usize) -> Reason {
    reason!(
        "entry-proof-too-long",
        "the inclusion proof has {hashes} hashes; the limit is {MAX_PROOF_HASHES}"
    )
}

fn incomplete(what: &str) -> Reason {
    reason!("entry-incomplete", "the log entry has no {what}")
}

/// The canonical body of a `hashedrekord` 0.0.1 entry over a SHA-256 digest
/// with a certificate as verifier.
#[must_use]
pub fn hashedrekord_v1(digest: &[u8; 32], signature: &[u8], cert_der: &[u8]) -> Vec<u8> {
    let pem = armor::encode_label("CERTIFICATE", cert_der);
    hashedrekord_v1_body("sha256", digest, signature, &pem)
}

/// The canonical body of any `hashedrekord` 0.0.1 entry: `algorithm` is
/// `sha256`, `sha384` or `sha512`, `pem` a certificate or public key as Go's
/// `encoding/pem` writes it.
#[must_use]
pub fn hashedrekord_v1_body(
    algorithm: &str,
    digest: &[u8],
    signature: &[u8],
    pem: &str,
) -> Vec<u8> {
    // RFC 8785: members sorted, no whitespace. Nothing here needs escapes.
    [
        r#"{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":""#,
        algorithm,
        r#"","value":""#,
        &hex(digest),
        r#""}},"signature":{"content":""#,
        &STANDARD.encode(signature),
        r#"","publicKey":{"content":""#,
        &STANDARD.encode(pem),
        r#""}}}}"#,
    ]
    .concat()
    .into_bytes()
}

/// The canonical body of a `hashedrekord` 0.0.2 entry with a certificate as
/// verifier. The key details come from the certificate's key, never from what
/// the log was told.
///
/// # Errors
/// If a v2 log takes no such key, or the digest's length is not the key's.
pub fn hashedrekord_v2(
    digest: &[u8],
    signature: &[u8],
    cert_der: &[u8],
    key: &PublicKey,
) -> Result<Vec<u8>, Reason> {
    let details = KeyDetails::of(key)?;
    if digest.len() != details.digest_length {
        return Err(reason!(
            "entry-digest-length",
            "the digest is {bytes} bytes; a {key} key needs {expected}",
            bytes = digest.len(),
            expected = details.digest_length,
            key = key.algorithm()
        ));
    }
    // RFC 8785: members sorted, no whitespace. Nothing here needs escapes.
    Ok([
        r#"{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":""#,
        details.digest,
        r#"","digest":""#,
        &STANDARD.encode(digest),
        r#""},"signature":{"content":""#,
        &STANDARD.encode(signature),
        r#"","verifier":{"keyDetails":""#,
        details.name,
        r#"","x509Certificate":{"rawBytes":""#,
        &STANDARD.encode(cert_der),
        r#""}}}}}}"#,
    ]
    .concat()
    .into_bytes())
}

/// Names of a key and its digest in a v2 log
/// (`dev.sigstore.common.v1.PublicKeyDetails`, `HashAlgorithm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDetails {
    /// The name of the key, such as `PKIX_ECDSA_P256_SHA_256`.
    pub name: &'static str,
    /// The name of the digest, such as `SHA2_256`.
    pub digest: &'static str,
    /// Bytes of the digest.
    pub digest_length: usize,
}

impl KeyDetails {
    /// The details of a key.
    ///
    /// # Errors
    /// If a v2 log takes no such key.
    pub fn of(key: &PublicKey) -> Result<Self, Reason> {
        let (name, digest, digest_length) = match key.algorithm() {
            KeyAlgorithm::P256 => ("PKIX_ECDSA_P256_SHA_256", "SHA2_256", 32),
            KeyAlgorithm::P384 => ("PKIX_ECDSA_P384_SHA_384", "SHA2_384", 48),
            KeyAlgorithm::P521 => ("PKIX_ECDSA_P521_SHA_512", "SHA2_512", 64),
            KeyAlgorithm::Rsa { bits: 2048 } => ("PKIX_RSA_PKCS1V15_2048_SHA256", "SHA2_256", 32),
            KeyAlgorithm::Rsa { bits: 3072 } => ("PKIX_RSA_PKCS1V15_3072_SHA256", "SHA2_256", 32),
            KeyAlgorithm::Rsa { bits: 4096 } => ("PKIX_RSA_PKCS1V15_4096_SHA256", "SHA2_256", 32),
            key @ (KeyAlgorithm::Rsa { .. } | KeyAlgorithm::Ed25519) => {
                return Err(reason!(
                    "entry-key-unsupported",
                    "a {key} key is not supported in a Rekor v2 entry"
                ));
            }
        };
        Ok(Self {
            name,
            digest,
            digest_length,
        })
    }
}

/// The bytes that a SET signs: the RFC 8785 form of four members, and nothing else of
/// the entry.
#[must_use]
pub fn set_payload(
    body_base64: &str,
    integrated_time: i64,
    log_id_hex: &str,
    log_index: i64,
) -> Vec<u8> {
    format!(
        r#"{{"body":"{body_base64}","integratedTime":{integrated_time},"logID":"{log_id_hex}","logIndex":{log_index}}}"#
    )
    .into_bytes()
}
