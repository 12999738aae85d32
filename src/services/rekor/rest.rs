//! A log entry in the form of Rekor v1's REST API (`openapi.yaml` of Rekor).
//!
//! *Not checked here:* proofs and signatures (`evidence/verify.rs`).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use gitseal_evidence::{
    checkpoint::split_v1_origin,
    entry::{InclusionProof, LogEntry, proof_hashes},
    hex,
    merkle::{MAX_PROOF_HASHES, leaf_hash},
    refusal::{Reason, reason},
};

/// The longest response that is parsed, in bytes.
pub const MAX_JSON: usize = 10 * 1024 * 1024;

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

/// A map with exactly one member; a map type would accept a second one, or a
/// duplicate name.
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
/// entry) and returns the entry ID, 64 or 80 lowercase hex digits, with the entry,
/// body included. The ID must belong to the body, and its tree to the checkpoint.
///
/// # Errors
/// [`Reason`] names what is malformed or contradicts itself.
pub fn from_rekor_v1_json(json: &[u8]) -> Result<(String, LogEntry), Reason> {
    if json.len() > MAX_JSON {
        return Err(reason!(
            "entry-too-long",
            "the log entry is {} bytes; the limit is {MAX_JSON}",
            json.len()
        ));
    }
    let OneEntry(id, rest) = serde_json::from_slice(json).map_err(|error| not_json(&error))?;
    let body = base64("body", &rest.body)?;
    check_id(&id, &body)?;
    let kind: RestBody = serde_json::from_slice(&body)
        .map_err(|error| not_json(&format_args!("its body: {error}")))?;
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

fn rest_proof(proof: RestProof) -> Result<InclusionProof, Reason> {
    let hashes: Vec<Vec<u8>> = proof
        .hashes
        .iter()
        .take(MAX_PROOF_HASHES + 1)
        .map(|hash| unhex("proof hash", hash))
        .collect::<Result<_, _>>()?;
    Ok(InclusionProof {
        log_index: proof.log_index,
        root_hash: unhex("root", &proof.root_hash)?,
        tree_size: proof.tree_size,
        hashes: proof_hashes(&hashes)?,
        checkpoint: proof.checkpoint.unwrap_or_default(),
    })
}

fn not_json(problem: &dyn std::fmt::Display) -> Reason {
    reason!(
        "entry-json",
        "the log's response is not a log entry in JSON: {problem}"
    )
}

fn not_encoded(what: &str, encoding: &str) -> Reason {
    reason!(
        "entry-encoding",
        "the {what} in the log's response is not valid {encoding}"
    )
}

/// The last 64 digits of an entry id are the leaf hash of its body.
fn check_id(id: &str, body: &[u8]) -> Result<(), Reason> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let hash = match id.len() {
        64 => Some(id),
        80 => id.get(16..),
        _ => None,
    }
    .filter(|_| id.bytes().all(lower))
    .ok_or_else(|| {
        reason!(
            "entry-id",
            "{:?} is not an entry id (64 or 80 lowercase hex digits)",
            id.chars().take(100).collect::<String>()
        )
    })?;
    let leaf = hex(&leaf_hash(body));
    if hash != leaf {
        return Err(reason!(
            "entry-id-mismatch",
            "the entry id ends with {id}, but the body's leaf hash is {leaf}",
            id = hash
        ));
    }
    Ok(())
}

/// The first 16 digits of an entry id of 80 are the tree id.
fn check_tree(id: &str, checkpoint: &str) -> Result<(), Reason> {
    let tree = id
        .get(..16)
        .filter(|_| id.len() == 80)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let origin = checkpoint.lines().next().and_then(split_v1_origin);
    match (tree, origin) {
        (Some(id), Some((_, checkpoint))) if id != checkpoint => Err(reason!(
            "entry-tree-mismatch",
            "the entry id is of tree {id}, the checkpoint of tree {checkpoint}"
        )),
        _ => Ok(()),
    }
}

fn base64(what: &'static str, text: &str) -> Result<Vec<u8>, Reason> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|_| not_encoded(what, "base64"))
}

/// Decodes lowercase hex; uppercase is rejected.
fn unhex(what: &'static str, text: &str) -> Result<Vec<u8>, Reason> {
    gitseal_evidence::unhex(text).ok_or_else(|| not_encoded(what, "lowercase hex"))
}
