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
use serde::Deserialize;

use super::{
    UnixTime, armor,
    checkpoint::split_v1_origin,
    keys::{KeyAlgorithm, PublicKey},
    merkle::{MAX_PROOF_HASHES, leaf_hash},
    refusal::{self, hex, reasons},
};

#[cfg(test)]
mod tests;

/// Longest log entry message that is read, in bytes.
pub const MAX_ENTRY: usize = 256 * 1024;
/// Longest REST answer that is read, in bytes.
pub const MAX_JSON: usize = 10 * 1024 * 1024;

reasons! {
    /// Why a log entry is not read.
    pub enum EntryRefusal {
        /// Longer than any entry that is accepted.
        #[code = "entry-too-long"]
        #[error("the log entry takes {bytes} bytes, at most {max} are read")]
        TooLong {
            /// How many bytes.
            bytes: usize,
            /// How many are read.
            max: usize,
        },
        /// No protobuf message of this type.
        #[code = "entry-unreadable"]
        #[error("the log entry is no TransparencyLogEntry: {reason}")]
        Unreadable {
            /// What the decoder found.
            reason: String,
        },
        /// Unknown, repeated or reordered fields, or padded numbers: it does
        /// not encode back to the same bytes.
        #[code = "entry-not-canonical"]
        #[error("the log entry has unknown, repeated or reordered fields ({bytes} bytes that encode back to {canonical} others)")]
        NotCanonical {
            /// How many bytes it takes.
            bytes: usize,
            /// How many its canonical form takes.
            canonical: usize,
        },
        /// A part without which an entry says nothing.
        #[code = "entry-incomplete"]
        #[error("the log entry has no {what}")]
        Incomplete {
            /// What is missing.
            what: &'static str,
        },
        /// A hash, root or log id that is not 32 bytes.
        #[code = "entry-hash-length"]
        #[error("the log entry's {what} has {bytes} bytes, not 32")]
        HashLength {
            /// Which one.
            what: &'static str,
            /// How many bytes.
            bytes: usize,
        },
        /// A number that cannot be.
        #[code = "entry-number"]
        #[error("the log entry's {what} cannot be {value}")]
        Number {
            /// Which one.
            what: &'static str,
            /// The number.
            value: i64,
        },
        /// A longer proof than any tree has.
        #[code = "entry-proof-too-long"]
        #[error("the inclusion proof has {hashes} hashes, at most {max} are read")]
        ProofTooLong {
            /// How many hashes.
            hashes: usize,
            /// How many are read.
            max: usize,
        },
        /// No answer of the REST API.
        #[code = "entry-json"]
        #[error("the log's answer is no log entry in JSON: {reason}")]
        Json {
            /// What the parser found.
            reason: String,
        },
        /// Text that is not what its field holds.
        #[code = "entry-encoding"]
        #[error("the {what} in the log's answer is not valid {encoding}")]
        Encoding {
            /// Which field.
            what: &'static str,
            /// The encoding it should be in.
            encoding: &'static str,
        },
        /// An entry id that is not 64 or 80 lowercase hex digits.
        #[code = "entry-id"]
        #[error("{found:?} is no entry id (64 or 80 lowercase hex digits)")]
        Id {
            /// What was found.
            found: String,
        },
        /// An entry id that does not belong to the body.
        #[code = "entry-id-mismatch"]
        #[error("the entry id ends with {id}, but the body's leaf hash is {leaf}")]
        IdMismatch {
            /// Its last 64 digits.
            id: String,
            /// The leaf hash, hex.
            leaf: String,
        },
        /// An entry id of another tree than the checkpoint's.
        #[code = "entry-tree-mismatch"]
        #[error("the entry id is of tree {id}, the checkpoint of tree {checkpoint}")]
        TreeMismatch {
            /// The tree in the entry id.
            id: u64,
            /// The tree in the checkpoint's origin.
            checkpoint: u64,
        },
        /// A key that a v2 log has no name for.
        #[code = "entry-key-unsupported"]
        #[error("a {key} key has no place in a Rekor v2 entry")]
        KeyUnsupported {
            /// The key's algorithm.
            key: KeyAlgorithm,
        },
        /// A digest that is not as wide as the key calls for.
        #[code = "entry-digest-length"]
        #[error("the digest has {bytes} bytes, the entry of a {key} key takes {wanted}")]
        DigestLength {
            /// How many bytes.
            bytes: usize,
            /// How many there should be.
            wanted: usize,
            /// The key's algorithm.
            key: KeyAlgorithm,
        },
    }
}

/// One entry of a transparency log, with what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The index over all shards of the log (v1), or in the tree (v2).
    /// Authenticated only by the SET (v1) or by equality with the proof's (v2).
    pub log_index: i64,
    /// 32 bytes: which log.
    pub log_id: Vec<u8>,
    /// As stored, and not to be believed: `hashedrekord`.
    pub kind: String,
    /// As stored, and not to be believed: gitsign writes `0.0.1` for v2 too.
    pub version: String,
    /// When a v1 log says it took the entry, authenticated only by the SET; 0
    /// in v2.
    pub integrated_time: UnixTime,
    /// The signed entry timestamp (inclusion promise) of a v1 log.
    pub set: Option<Vec<u8>>,
    /// The inclusion proof.
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
    /// 32 bytes.
    pub root_hash: Vec<u8>,
    /// Leaves of the tree.
    pub tree_size: i64,
    /// 32 bytes each, leaf side first.
    pub hashes: Vec<Vec<u8>>,
    /// The signed note.
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
    /// [`EntryRefusal`] names what is wrong.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, EntryRefusal> {
        if bytes.len() > MAX_ENTRY {
            return Err(EntryRefusal::TooLong {
                bytes: bytes.len(),
                max: MAX_ENTRY,
            });
        }
        let message = wire::TransparencyLogEntry::decode(bytes).map_err(|error| {
            EntryRefusal::Unreadable {
                reason: error.to_string(),
            }
        })?;
        let kind_version = message.kind_version.ok_or(EntryRefusal::Incomplete {
            what: "kind and version",
        })?;
        let log_id = message
            .log_id
            .ok_or(EntryRefusal::Incomplete { what: "log id" })?
            .key_id;
        let proof = match message.inclusion_proof {
            None => None,
            Some(proof) => Some(InclusionProof {
                log_index: proof.log_index,
                root_hash: proof.root_hash,
                tree_size: proof.tree_size,
                hashes: proof.hashes,
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
            return Err(EntryRefusal::NotCanonical {
                bytes: bytes.len(),
                canonical: canonical.len(),
            });
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
                hashes: proof.hashes.clone(),
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
    /// [`EntryRefusal`] names what cannot be.
    pub fn check(&self) -> Result<(), EntryRefusal> {
        let number = |what, value: i64, least: i64| {
            if value < least {
                return Err(EntryRefusal::Number { what, value });
            }
            Ok(())
        };
        let hash = |what, bytes: &[u8]| {
            if bytes.len() != 32 {
                return Err(EntryRefusal::HashLength {
                    what,
                    bytes: bytes.len(),
                });
            }
            Ok(())
        };
        number("log index", self.log_index, 0)?;
        number("integrated time", self.integrated_time, 0)?;
        hash("log id", &self.log_id)?;
        if self.kind.is_empty() || self.version.is_empty() {
            return Err(EntryRefusal::Incomplete {
                what: "kind and version",
            });
        }
        let Some(proof) = &self.proof else {
            return Ok(());
        };
        number("tree size", proof.tree_size, 1)?;
        number("index in the tree", proof.log_index, 0)?;
        if proof.log_index >= proof.tree_size {
            return Err(EntryRefusal::Number {
                what: "index in the tree",
                value: proof.log_index,
            });
        }
        hash("root", &proof.root_hash)?;
        if proof.hashes.len() > MAX_PROOF_HASHES {
            return Err(EntryRefusal::ProofTooLong {
                hashes: proof.hashes.len(),
                max: MAX_PROOF_HASHES,
            });
        }
        for sibling in &proof.hashes {
            hash("proof hash", sibling)?;
        }
        if proof.checkpoint.is_empty() {
            return Err(EntryRefusal::Incomplete { what: "checkpoint" });
        }
        Ok(())
    }
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
    // RFC 8785: members sorted, no white space. Nothing here needs escapes.
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
) -> Result<Vec<u8>, EntryRefusal> {
    hashedrekord_v2_body(digest, signature, "x509Certificate", cert_der, key)
}

/// As [`hashedrekord_v2`], with a bare public key as verifier.
///
/// # Errors
/// As [`hashedrekord_v2`].
pub fn hashedrekord_v2_with_key(
    digest: &[u8],
    signature: &[u8],
    key: &PublicKey,
) -> Result<Vec<u8>, EntryRefusal> {
    hashedrekord_v2_body(digest, signature, "publicKey", key.spki(), key)
}

fn hashedrekord_v2_body(
    digest: &[u8],
    signature: &[u8],
    verifier: &str,
    raw: &[u8],
    key: &PublicKey,
) -> Result<Vec<u8>, EntryRefusal> {
    let details = KeyDetails::of(key)?;
    if digest.len() != details.digest_length {
        return Err(EntryRefusal::DigestLength {
            bytes: digest.len(),
            wanted: details.digest_length,
            key: key.algorithm(),
        });
    }
    let details_member = format!(r#""keyDetails":"{}""#, details.name);
    let verifier_member = format!(r#""{verifier}":{{"rawBytes":"{}"}}"#, STANDARD.encode(raw));
    // "keyDetails" sorts before "publicKey" and "x509Certificate".
    Ok([
        r#"{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":""#,
        details.digest,
        r#"","digest":""#,
        &STANDARD.encode(digest),
        r#""},"signature":{"content":""#,
        &STANDARD.encode(signature),
        r#"","verifier":{"#,
        &details_member,
        ",",
        &verifier_member,
        "}}}}}",
    ]
    .concat()
    .into_bytes())
}

/// How a v2 log names a key and the digest that goes with it
/// (`dev.sigstore.common.v1.PublicKeyDetails`, `HashAlgorithm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDetails {
    /// `PKIX_ECDSA_P256_SHA_256`.
    pub name: &'static str,
    /// `SHA2_256`.
    pub digest: &'static str,
    /// Bytes of the digest.
    pub digest_length: usize,
}

impl KeyDetails {
    /// The details of a key.
    ///
    /// # Errors
    /// If a v2 log takes no such key.
    pub fn of(key: &PublicKey) -> Result<Self, EntryRefusal> {
        let (name, digest, digest_length) = match key.algorithm() {
            KeyAlgorithm::P256 => ("PKIX_ECDSA_P256_SHA_256", "SHA2_256", 32),
            KeyAlgorithm::P384 => ("PKIX_ECDSA_P384_SHA_384", "SHA2_384", 48),
            KeyAlgorithm::P521 => ("PKIX_ECDSA_P521_SHA_512", "SHA2_512", 64),
            KeyAlgorithm::Rsa { bits: 2048 } => ("PKIX_RSA_PKCS1V15_2048_SHA256", "SHA2_256", 32),
            KeyAlgorithm::Rsa { bits: 3072 } => ("PKIX_RSA_PKCS1V15_3072_SHA256", "SHA2_256", 32),
            KeyAlgorithm::Rsa { bits: 4096 } => ("PKIX_RSA_PKCS1V15_4096_SHA256", "SHA2_256", 32),
            key @ (KeyAlgorithm::Rsa { .. } | KeyAlgorithm::Ed25519) => {
                return Err(EntryRefusal::KeyUnsupported { key });
            }
        };
        Ok(Self {
            name,
            digest,
            digest_length,
        })
    }
}

/// What a SET signs: the RFC 8785 form of four members, and nothing else of
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestEntry {
    body: String,
    integrated_time: i64,
    #[serde(rename = "logID")]
    log_id: String,
    log_index: i64,
    verification: Option<RestVerification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestVerification {
    inclusion_proof: Option<RestProof>,
    signed_entry_timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestProof {
    checkpoint: Option<String>,
    hashes: Vec<String>,
    log_index: i64,
    root_hash: String,
    tree_size: i64,
}

#[derive(Deserialize)]
struct RestBody {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
}

/// Exactly one member; a map type would let a second one, or a second of the
/// same name, go unnoticed.
struct OneEntry(String, RestEntry);

impl<'de> Deserialize<'de> for OneEntry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OneEntry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of exactly one entry id to its entry")
            }

            fn visit_map<M: serde::de::MapAccess<'de>>(
                self,
                mut map: M,
            ) -> Result<OneEntry, M::Error> {
                use serde::de::Error as _;
                let (id, entry) = map
                    .next_entry()?
                    .ok_or_else(|| M::Error::custom("the map has no entry"))?;
                match map.next_key::<String>()? {
                    None => Ok(OneEntry(id, entry)),
                    Some(_) => Err(M::Error::custom("the map has more than one entry")),
                }
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Reads one entry of Rekor v1's REST API (a map of one entry id to its
/// entry) and gives the entry id, 64 or 80 lowercase hex digits, with the
/// entry, body included. The id must belong to the body, and its tree to the
/// checkpoint.
///
/// # Errors
/// [`EntryRefusal`] names what is malformed or contradicts itself.
pub fn from_rekor_v1_json(json: &[u8]) -> Result<(String, LogEntry), EntryRefusal> {
    if json.len() > MAX_JSON {
        return Err(EntryRefusal::TooLong {
            bytes: json.len(),
            max: MAX_JSON,
        });
    }
    let OneEntry(id, rest) = serde_json::from_slice(json).map_err(|error| EntryRefusal::Json {
        reason: error.to_string(),
    })?;
    let body = base64("body", &rest.body)?;
    check_id(&id, &body)?;
    let kind: RestBody = serde_json::from_slice(&body).map_err(|error| EntryRefusal::Json {
        reason: format!("its body: {error}"),
    })?;
    let (proof, set) = match rest.verification {
        None => (None, None),
        Some(verification) => (
            verification.inclusion_proof,
            verification.signed_entry_timestamp,
        ),
    };
    let proof = proof.map(rest_proof).transpose()?;
    if let Some(proof) = &proof {
        check_tree(&id, &proof.checkpoint)?;
    }
    let entry = LogEntry {
        log_index: rest.log_index,
        log_id: unhex("log id", &rest.log_id)?,
        kind: kind.kind,
        version: kind.api_version,
        integrated_time: rest.integrated_time,
        set: set
            .filter(|set| !set.is_empty())
            .map(|set| base64("signed entry timestamp", &set))
            .transpose()?,
        proof,
        body: Some(body),
    };
    entry.check()?;
    Ok((id, entry))
}

fn rest_proof(proof: RestProof) -> Result<InclusionProof, EntryRefusal> {
    if proof.hashes.len() > MAX_PROOF_HASHES {
        return Err(EntryRefusal::ProofTooLong {
            hashes: proof.hashes.len(),
            max: MAX_PROOF_HASHES,
        });
    }
    Ok(InclusionProof {
        log_index: proof.log_index,
        root_hash: unhex("root", &proof.root_hash)?,
        tree_size: proof.tree_size,
        hashes: proof
            .hashes
            .iter()
            .map(|hash| unhex("proof hash", hash))
            .collect::<Result<_, _>>()?,
        checkpoint: proof.checkpoint.unwrap_or_default(),
    })
}

/// The last 64 digits of an entry id are the leaf hash of its body.
fn check_id(id: &str, body: &[u8]) -> Result<(), EntryRefusal> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let hash = match id.len() {
        64 => Some(id),
        80 => id.get(16..),
        _ => None,
    }
    .filter(|_| id.bytes().all(lower))
    .ok_or_else(|| EntryRefusal::Id {
        found: id.chars().take(100).collect(),
    })?;
    let leaf = hex(&leaf_hash(body));
    if hash != leaf {
        return Err(EntryRefusal::IdMismatch {
            id: hash.to_owned(),
            leaf,
        });
    }
    Ok(())
}

/// The first 16 digits of an entry id of 80 are the tree id.
fn check_tree(id: &str, checkpoint: &str) -> Result<(), EntryRefusal> {
    let tree = id
        .get(..16)
        .filter(|_| id.len() == 80)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let origin = checkpoint.lines().next().and_then(split_v1_origin);
    match (tree, origin) {
        (Some(id), Some((_, checkpoint))) if id != checkpoint => {
            Err(EntryRefusal::TreeMismatch { id, checkpoint })
        }
        _ => Ok(()),
    }
}

fn base64(what: &'static str, text: &str) -> Result<Vec<u8>, EntryRefusal> {
    STANDARD.decode(text).map_err(|_| EntryRefusal::Encoding {
        what,
        encoding: "base64",
    })
}

/// Lowercase hex only.
fn unhex(what: &'static str, text: &str) -> Result<Vec<u8>, EntryRefusal> {
    refusal::unhex(text).ok_or(EntryRefusal::Encoding {
        what,
        encoding: "lowercase hex",
    })
}
