//! The messages of a CT log (RFC 6962 §4), in JSON.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use gitseal_evidence::{
    refusal::Reason,
    sct::{self, Sct},
};

/// The maximum number of certificates in a submitted chain.
pub const MAX_CHAIN: usize = 8;
/// The maximum number of entries in one response.
pub const MAX_ENTRIES: u64 = 256;

/// A submission: `POST /ct/v1/add-chain` or `/ct/v1/add-pre-chain`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct AddChain {
    pub chain: Vec<String>,
}

/// The response to a submission: an SCT (RFC 6962 §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct AddChainResponse {
    pub sct_version: u8,
    /// Base64 of the log id.
    pub id: String,
    pub timestamp: u64,
    pub extensions: String,
    /// Base64 of a `DigitallySigned`.
    pub signature: String,
}

impl AddChainResponse {
    /// Returns the response with this SCT.
    #[must_use]
    pub fn new(sct: &Sct) -> Self {
        // hash | signature kind | u16 length | signature
        let bytes = sct.to_bytes();
        let signed = sct.signature.len().saturating_add(4);
        let start = bytes.len().saturating_sub(signed);
        Self {
            sct_version: 0,
            id: BASE64_STANDARD.encode(sct.log_id),
            timestamp: sct.timestamp_ms,
            extensions: BASE64_STANDARD.encode(&sct.extensions),
            signature: BASE64_STANDARD.encode(bytes.get(start..).unwrap_or_default()),
        }
    }

    /// Returns the SCT of a response.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not an SCT of version 1.
    pub fn sct(&self) -> Result<Sct, Reason> {
        let bad = sct::bad_list;
        let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| bad("not base64"));
        if self.sct_version != 0 {
            return Err(bad("an SCT of another version than v1"));
        }
        let extensions = decode(&self.extensions)?;
        let length = u16::try_from(extensions.len()).map_err(|_| bad("extensions too long"))?;
        let mut bytes = vec![0];
        bytes.extend(decode(&self.id)?);
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(extensions);
        bytes.extend(decode(&self.signature)?);
        Sct::from_bytes(&bytes)
    }
}

/// A signed tree head: `GET /ct/v1/get-sth` (RFC 6962 §4.3).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct SignedTreeHead {
    pub tree_size: u64,
    pub timestamp: u64,
    /// Base64 of the root hash.
    pub sha256_root_hash: String,
    /// Base64 of a `DigitallySigned` over the tree head.
    pub tree_head_signature: String,
}

/// One entry of `GET /ct/v1/get-entries` (RFC 6962 §4.6).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeafEntry {
    /// Base64 of the `MerkleTreeLeaf`.
    pub leaf_input: String,
    /// Base64 of the chain.
    pub extra_data: String,
}
