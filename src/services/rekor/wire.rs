//! The messages of Rekor's v1 API (`openapi.yaml` of Rekor) that client and server
//! use. Entry bodies are in `evidence/entry.rs`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use gitseal_evidence::{
    checkpoint::Checkpoint,
    hex,
    merkle::{self, Hash},
};

/// The maximum number of entries in one request.
pub const MAX_RETRIEVE: usize = 10;

/// Returns the ID of an entry: 16 hex digits of the tree ID, 64 of the leaf hash.
#[must_use]
pub fn entry_id(tree_id: u64, body: &[u8]) -> String {
    format!("{tree_id:016x}{}", hex(&merkle::leaf_hash(body)))
}

/// Returns the body of an error: `{"code":…,"message":…}`.
#[must_use]
pub fn error(code: u32, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

/// A proposed entry: `POST /api/v1/log/entries`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct ProposedEntry {
    pub kind: Option<String>,
    pub api_version: Option<String>,
    pub spec: Option<Value>,
}

/// `spec` of a hashedrekord 0.0.1.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct HashedRekordSpec {
    pub data: HashedRekordData,
    /// The signature and its key.
    pub signature: HashedRekordSignature,
}

/// The member `spec.data` of a hashedrekord.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct HashedRekordData {
    pub hash: HashValue,
}

/// An algorithm and lowercase hex.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct HashValue {
    pub algorithm: String,
    pub value: String,
}

/// The member `spec.signature` of a hashedrekord.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct HashedRekordSignature {
    pub content: String,
    pub public_key: KeyContent,
}

/// A key or certificate, as base64 of PEM.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct KeyContent {
    pub content: String,
}

/// `spec` of a dsse 0.0.1.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct DsseSpec {
    pub proposed_content: Option<DsseContent>,
}

/// The member `spec.proposedContent` of a dsse entry.
#[derive(Debug, Clone, Deserialize)]
pub struct DsseContent {
    /// The envelope, as JSON in a string.
    pub envelope: String,
    /// Keys or certificates, each as base64 of PEM.
    pub verifiers: Vec<String>,
}

/// A DSSE envelope (`github.com/secure-systems-lab/dsse`, envelope.md).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct DsseEnvelope {
    pub payload: String,
    pub payload_type: String,
    pub signatures: Vec<DsseSignature>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct DsseSignature {
    pub sig: String,
}

/// A search request: `POST /api/v1/index/retrieve`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct SearchIndex {
    /// The email address in a certificate.
    pub email: Option<String>,
    /// Another subject in a certificate.
    pub subject: Option<String>,
    pub hash: Option<String>,
    /// A key or certificate.
    pub public_key: Option<SearchKey>,
    pub operator: Option<String>,
}

/// The key of a search.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct SearchKey {
    pub format: String,
    pub content: Option<String>,
}

/// A request for several entries: `POST /api/v1/log/entries/retrieve`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct Retrieve {
    /// Entry IDs of 64 or 80 hex digits.
    #[serde(rename = "entryUUIDs", deserialize_with = "null_is_empty")]
    pub entry_uuids: Vec<String>,
    #[serde(rename = "logIndexes", deserialize_with = "null_is_empty")]
    pub log_indexes: Vec<i64>,
    /// Entries in the form of a proposed entry.
    #[serde(deserialize_with = "null_is_empty")]
    pub entries: Vec<ProposedEntry>,
}

/// Accepts `null` as an empty list, because rekor-cli (Go) sends that.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The parts of a response with an entry.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct EntryAnswer<'a> {
    /// The canonical body, as base64.
    pub body_base64: &'a str,
    /// The integrated time, in Unix seconds.
    pub integrated_time: i64,
    pub log_id: &'a str,
    pub index: u64,
    /// The tree that the proof is for.
    pub tree: &'a Checkpoint,
    pub checkpoint: &'a str,
    pub proof: &'a [Hash],
    pub set: &'a str,
}

impl EntryAnswer<'_> {
    /// Returns the response body: `{"<id>": {…}}`.
    #[must_use]
    pub fn json(&self, id: &str) -> Value {
        let hashes: Vec<String> = self.proof.iter().map(|hash| hex(hash)).collect();
        json!({ id: {
            "body": self.body_base64,
            "integratedTime": self.integrated_time,
            "logID": self.log_id,
            "logIndex": self.index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": self.checkpoint,
                    "hashes": hashes,
                    "logIndex": self.index,
                    "rootHash": hex(&self.tree.root),
                    "treeSize": self.tree.size,
                },
                "signedEntryTimestamp": self.set,
            },
        }})
    }
}
