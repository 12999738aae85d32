//! The client of a transparency log: uploads an entry and returns it with its
//! proof (v1, v2), and finds the entries of a certificate (v1).
//!
//! A response is compared with the request before it is returned: the entry has
//! the uploaded body, and its ID is the body's leaf hash. A conflict (409) is
//! followed within this log only.
//!
//! *Not checked here:* the proof, the checkpoint and the signed entry timestamp
//! (`evidence/verify.rs`). No response is trusted until it passes these checks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::rest::from_rekor_v1_json;
use crate::http::client::{
    Client, HttpError, HttpReason, HttpRequest, HttpResponse, Service, error_message, excerpt,
};
use gitseal_evidence::{
    armor,
    entry::{InclusionProof, KeyDetails, LogEntry, hashedrekord_v1, hashedrekord_v2, proof_hashes},
    hex,
    keys::PublicKey,
    merkle::{Hash, MAX_PROOF_HASHES, leaf_hash},
    refusal::Reason,
    unhex,
};

pub use super::wire::MAX_RETRIEVE;

/// The maximum length of a response, in bytes: one entry with its proof has about
/// 6 KiB.
pub const MAX_ANSWER: usize = 256 << 10;
/// The maximum number of entries that a search returns. A certificate signs for ten
/// minutes, but anyone can log further entries about its signatures later.
pub const MAX_FOUND: usize = 1024;

/// Errors of the client of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum RekorClientError {
    /// The log does not respond, or not as expected.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The log rejects the request.
    #[error("{log} rejected the {what} (HTTP {status}): {message}")]
    Refused {
        log: String,
        what: &'static str,
        status: u16,
        message: String,
    },
    /// The response is not an entry.
    #[error("malformed log entry from {log}: {reason}")]
    Entry { log: String, reason: Reason },
    /// The response is not the expected JSON.
    #[error("unexpected response from {log}: expected {what}: {reason}")]
    Shape {
        log: String,
        what: &'static str,
        reason: String,
    },
    /// The entry differs from the uploaded or requested one.
    #[error("{log} returned another entry: its {what} is {found}, expected {expected}")]
    OtherEntry {
        log: String,
        what: &'static str,
        found: String,
        expected: String,
    },
    /// A conflict response names a URL of another log.
    #[error("{log} already has this entry, but returned an invalid location: {location}")]
    Elsewhere { log: String, location: String },
    /// A v2 log has the entry but cannot return it.
    #[error("{log} already has this entry (index {index}) but did not return it")]
    Duplicate { log: String, index: String },
    /// The log has no entry with this ID.
    #[error("{log} has no entry {id}")]
    NoEntry { log: String, id: String },
    /// The log does not know the tree.
    #[error("{log} has no tree {tree}")]
    NoTree { log: String, tree: String },
    /// A search returns too many entries.
    #[error("{log} found {found} entries; the limit is {MAX_FOUND}")]
    TooMany { log: String, found: usize },
    /// A v2 log does not accept the key.
    #[error(transparent)]
    Key(Reason),
}

impl RekorClientError {
    /// Returns whether a search has more results than are read.
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        matches!(
            self,
            Self::TooMany { .. }
                | Self::Http(HttpError {
                    reason: HttpReason::TooLarge { .. },
                    ..
                })
        )
    }
}

/// The client of one log.
pub struct RekorClient<'a>(Service<'a>);

impl<'a> RekorClient<'a> {
    /// Returns a client of the log at `base`, which may have a path.
    #[must_use]
    pub fn new(http: &'a Client, base: &'a Url) -> Self {
        Self(Service { http, base })
    }

    fn entry_error(&self, reason: Reason) -> RekorClientError {
        RekorClientError::Entry {
            log: self.0.name(),
            reason,
        }
    }

    fn refused(&self, what: &'static str, answer: &HttpResponse) -> RekorClientError {
        match error_message(answer) {
            Some(message) => RekorClientError::Refused {
                log: self.0.name(),
                what,
                status: answer.status,
                message,
            },
            None => RekorClientError::Http(answer.unexpected()),
        }
    }

    /// Uploads a `hashedrekord` 0.0.1 entry (SHA-256 digest, certificate as
    /// verifier) and returns the log's entry, body included. An entry that exists
    /// already (after a lost response) is fetched.
    ///
    /// # Errors
    ///
    /// Returns an error if the log rejects the entry, or returns another one.
    pub fn upload_v1(
        &self,
        digest: &[u8; 32],
        signature: &[u8],
        cert_der: &[u8],
    ) -> Result<LogEntry, RekorClientError> {
        // The proposed entry is the canonical body: the log needs to change nothing.
        let body = hashedrekord_v1(digest, signature, cert_der);
        let url = self.0.at("/api/v1/log/entries");
        let answer = self.0.http.send(&HttpRequest::post(
            "log entry upload",
            &url,
            "application/json",
            &body,
            MAX_ANSWER,
        ))?;
        let (id, entry) = match answer.status {
            201 => from_rekor_v1_json(&answer.body).map_err(|error| self.entry_error(error))?,
            409 => {
                let id = self.conflicting_id(&answer, &body)?;
                self.fetch(&id)?.ok_or_else(|| RekorClientError::NoEntry {
                    log: self.0.name(),
                    id,
                })?
            }
            _ => return Err(self.refused("log entry", &answer)),
        };
        let named = |what, found: Option<String>| match found {
            Some(found) if found != id => Err(RekorClientError::OtherEntry {
                log: self.0.name(),
                what,
                found: excerpt(found.as_bytes()),
                expected: id.clone(),
            }),
            _ => Ok(()),
        };
        if answer.status == 201 {
            named(
                "ETag",
                answer
                    .header("etag")
                    .map(|tag| tag.trim_matches('"').to_owned()),
            )?;
            named(
                "Location",
                answer
                    .header("location")
                    .map(|location| last_segment(location).to_owned()),
            )?;
        }
        self.same_body(&entry, &body)?;
        Ok(entry)
    }

    fn same_body(&self, entry: &LogEntry, body: &[u8]) -> Result<(), RekorClientError> {
        let found = entry.body.as_deref().unwrap_or_default();
        if found == body {
            return Ok(());
        }
        Err(RekorClientError::OtherEntry {
            log: self.0.name(),
            what: "body's leaf hash",
            found: hex(&leaf_hash(found)),
            expected: hex(&leaf_hash(body)),
        })
    }

    /// Returns the ID in a 409 response. Without a Location it is the leaf hash alone,
    /// which identifies the entry as well.
    fn conflicting_id(
        &self,
        answer: &HttpResponse,
        body: &[u8],
    ) -> Result<String, RekorClientError> {
        let leaf = hex(&leaf_hash(body));
        let Some(location) = answer.header("location") else {
            return Ok(leaf);
        };
        let elsewhere = || RekorClientError::Elsewhere {
            log: self.0.name(),
            location: excerpt(location.as_bytes()),
        };
        let url = self.0.base.join(location).map_err(|_| elsewhere())?;
        let id = last_segment(url.path());
        let here = url.origin() == self.0.base.origin()
            && url.path().ends_with(&format!("/api/v1/log/entries/{id}"));
        if !here || !is_entry_id(id) {
            return Err(elsewhere());
        }
        if !id.ends_with(&leaf) {
            return Err(RekorClientError::OtherEntry {
                log: self.0.name(),
                what: "id",
                found: id.to_owned(),
                expected: leaf,
            });
        }
        Ok(id.to_owned())
    }

    /// Fetches one entry by its ID (64 or 80 hex digits), and compares the response's
    /// ID and body with it.
    fn fetch(&self, id: &str) -> Result<Option<(String, LogEntry)>, RekorClientError> {
        let url = self.0.at(&format!("/api/v1/log/entries/{id}"));
        let answer = self
            .0
            .http
            .send(&HttpRequest::get("log entry", &url, MAX_ANSWER))?;
        match answer.status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refused("request for an entry", &answer)),
        }
        let (found, entry) =
            from_rekor_v1_json(&answer.body).map_err(|error| self.entry_error(error))?;
        // The last 64 digits are the leaf hash, which was compared with the
        // body; the tree in front of them may be absent in what was asked for.
        let leaf = |id: &str| id.get(id.len().saturating_sub(64)..).map(str::to_owned);
        if leaf(&found) != leaf(id) || (id.len() == found.len() && id != found) {
            return Err(RekorClientError::OtherEntry {
                log: self.0.name(),
                what: "id",
                found,
                expected: id.to_owned(),
            });
        }
        Ok(Some((found, entry)))
    }

    /// Fetches one entry by its ID, body included; `None` if the log has none.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or returns another entry.
    pub fn entry(&self, id: &str) -> Result<Option<LogEntry>, RekorClientError> {
        if !is_entry_id(id) {
            return Err(RekorClientError::NoEntry {
                log: self.0.name(),
                id: excerpt(id.as_bytes()),
            });
        }
        Ok(self.fetch(id)?.map(|(_, entry)| entry))
    }

    /// Fetches up to [`MAX_RETRIEVE`] entries by their IDs, bodies included. Entries
    /// that the log does not have are omitted; others than requested are rejected.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or returns another entry.
    pub fn retrieve(&self, ids: &[String]) -> Result<Vec<(String, LogEntry)>, RekorClientError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let url = self.0.at("/api/v1/log/entries/retrieve");
        let body = json!({ "entryUUIDs": ids });
        let answer = self.0.http.send(&HttpRequest::post(
            "log entries",
            &url,
            "application/json",
            body.to_string().as_bytes(),
            MAX_ANSWER,
        ))?;
        match answer.status {
            200 => {}
            404 => return Ok(Vec::new()),
            _ => return Err(self.refused("request for entries", &answer)),
        }
        let shape = |reason: String| RekorClientError::Shape {
            log: self.0.name(),
            what: "a list of entries",
            reason,
        };
        let entries: Vec<serde_json::Value> =
            serde_json::from_slice(&answer.body).map_err(|error| shape(error.to_string()))?;
        let mut found = Vec::new();
        for entry in entries {
            // An entry of another kind may be among them; the right one can follow.
            let Ok((id, entry)) = from_rekor_v1_json(entry.to_string().as_bytes()) else {
                continue;
            };
            let leaf = |id: &str| id.get(id.len().saturating_sub(64)..).map(str::to_owned);
            if !ids.iter().any(|asked| leaf(asked) == leaf(&id)) {
                return Err(shape(
                    "it contains an entry that was not requested".to_owned(),
                ));
            }
            found.push((id, entry));
        }
        Ok(found)
    }

    /// Returns the IDs of the entries whose verifier is this certificate. The index may
    /// be incomplete, may contain other entries, and has no order.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or its response is malformed.
    pub fn search(&self, cert_der: &[u8]) -> Result<Vec<String>, RekorClientError> {
        self.search_index(&json!({ "publicKey": public_key(cert_der) }))
    }

    /// Returns the IDs of the entries whose verifier is this certificate and whose
    /// artifact has this SHA-256 digest, as [`Self::search`] does.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or its response is malformed.
    pub fn search_digest(
        &self,
        cert_der: &[u8],
        digest: &[u8; 32],
    ) -> Result<Vec<String>, RekorClientError> {
        self.search_index(&json!({
            "publicKey": public_key(cert_der),
            "hash": format!("sha256:{}", hex(digest)),
            "operator": "and",
        }))
    }

    fn search_index(&self, body: &serde_json::Value) -> Result<Vec<String>, RekorClientError> {
        let url = self.0.at("/api/v1/index/retrieve");
        let answer = self.0.http.send(&HttpRequest::post(
            "log search",
            &url,
            "application/json",
            body.to_string().as_bytes(),
            MAX_ANSWER,
        ))?;
        if answer.status != 200 {
            return Err(self.refused("search", &answer));
        }
        let shape = |reason: String| RekorClientError::Shape {
            log: self.0.name(),
            what: "a list of entry ids",
            reason,
        };
        let mut ids: Vec<String> =
            serde_json::from_slice(&answer.body).map_err(|error| shape(error.to_string()))?;
        if ids.len() > MAX_FOUND {
            return Err(RekorClientError::TooMany {
                log: self.0.name(),
                found: ids.len(),
            });
        }
        if let Some(bad) = ids.iter().find(|id| !is_entry_id(id)) {
            return Err(shape(format!(
                "{:?} is not an entry ID",
                excerpt(bad.as_bytes())
            )));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Returns the current state of one of the log's trees, as a signed note
    /// (v1). The signature is not verified.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or does not have the tree.
    pub fn signed_tree(&self, tree_id: u64) -> Result<String, RekorClientError> {
        let url = self.0.at("/api/v1/log");
        let answer = self
            .0
            .http
            .send(&HttpRequest::get("log info", &url, MAX_ANSWER))?;
        if answer.status != 200 {
            return Err(self.refused("request for its tree", &answer));
        }
        let info: LogInfo =
            serde_json::from_slice(&answer.body).map_err(|error| RekorClientError::Shape {
                log: self.0.name(),
                what: "the state of its tree",
                reason: error.to_string(),
            })?;
        let wanted = tree_id.to_string();
        std::iter::once(info.tree)
            .chain(info.inactive_shards.unwrap_or_default())
            .find(|tree| tree.tree_id == wanted)
            .map(|tree| tree.signed_tree_head)
            .ok_or_else(|| RekorClientError::NoTree {
                log: self.0.name(),
                tree: wanted,
            })
    }

    /// Returns the consistency proof between two sizes of a tree (v1). The proof is not
    /// verified.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or returns no proof.
    pub fn consistency(
        &self,
        tree_id: u64,
        old: u64,
        new: u64,
    ) -> Result<Vec<Hash>, RekorClientError> {
        #[derive(Deserialize)]
        struct Proof {
            hashes: Vec<String>,
        }
        let mut url = self.0.at("/api/v1/log/proof");
        url.set_query(Some(&format!(
            "firstSize={old}&lastSize={new}&treeID={tree_id}"
        )));
        let answer = self
            .0
            .http
            .send(&HttpRequest::get("consistency proof", &url, MAX_ANSWER))?;
        if answer.status != 200 {
            return Err(self.refused("request for a proof", &answer));
        }
        let shape = |reason: String| RekorClientError::Shape {
            log: self.0.name(),
            what: "a consistency proof",
            reason,
        };
        let proof: Proof =
            serde_json::from_slice(&answer.body).map_err(|error| shape(error.to_string()))?;
        if proof.hashes.len() > MAX_PROOF_HASHES {
            return Err(shape(format!("{} hashes", proof.hashes.len())));
        }
        proof
            .hashes
            .iter()
            .map(|text| {
                unhex(text)
                    .and_then(|hash| Hash::try_from(hash).ok())
                    .ok_or_else(|| shape("a hash is not 64 hex digits".to_owned()))
            })
            .collect()
    }

    /// Returns the current checkpoint of a v2 log, as a signed note.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or its response is not text.
    pub fn checkpoint_v2(&self) -> Result<String, RekorClientError> {
        let url = self.0.at("/api/v2/checkpoint");
        let answer = self
            .0
            .http
            .send(&HttpRequest::get("checkpoint", &url, MAX_ANSWER))?;
        if answer.status != 200 {
            return Err(self.refused("request for its checkpoint", &answer));
        }
        String::from_utf8(answer.body).map_err(|_| RekorClientError::Shape {
            log: self.0.name(),
            what: "a checkpoint",
            reason: "not UTF-8".to_owned(),
        })
    }

    /// Returns the hashes of one tile (C2SP tlog-tiles) of a v2 log.
    ///
    /// # Errors
    ///
    /// Returns an error if the log is unavailable, or the tile has another width.
    pub fn tile(&self, level: u8, n: u64, width: u64) -> Result<Vec<Hash>, RekorClientError> {
        let mut path = format!("{:03}", n % 1000);
        let mut rest = n / 1000;
        while rest > 0 {
            path = format!("x{:03}/{path}", rest % 1000);
            rest /= 1000;
        }
        let part = if width < 256 {
            format!(".p/{width}")
        } else {
            String::new()
        };
        let url = self.0.at(&format!("/api/v2/tile/{level}/{path}{part}"));
        let answer = self
            .0
            .http
            .send(&HttpRequest::get("tile of the log", &url, MAX_ANSWER))?;
        if answer.status != 200 {
            return Err(self.refused("request for a tile", &answer));
        }
        let (hashes, rest) = answer.body.as_chunks::<32>();
        if !rest.is_empty() || u64::try_from(hashes.len()) != Ok(width) {
            return Err(RekorClientError::Shape {
                log: self.0.name(),
                what: "a tile",
                reason: format!("{} bytes, expected {width} hashes", answer.body.len()),
            });
        }
        Ok(hashes.to_vec())
    }

    /// Returns the error for a hash that is missing in a tile.
    pub(super) fn no_node(&self, level: u8, index: u64) -> RekorClientError {
        RekorClientError::Shape {
            log: self.0.name(),
            what: "its tree",
            reason: format!("hash {index} of level {level} is outside of it"),
        }
    }

    /// Uploads a `hashedrekord` 0.0.2 entry to a v2 log and returns the entry, body
    /// included. The response may take the log's checkpoint interval, ten seconds and
    /// more.
    ///
    /// # Errors
    ///
    /// Returns an error if the log rejects the entry, returns another one, or has it
    /// already (it cannot return it again).
    pub fn upload_v2(
        &self,
        digest: &[u8],
        signature: &[u8],
        cert_der: &[u8],
        key: &PublicKey,
    ) -> Result<LogEntry, RekorClientError> {
        let body =
            hashedrekord_v2(digest, signature, cert_der, key).map_err(RekorClientError::Key)?;
        let details = KeyDetails::of(key).map_err(RekorClientError::Key)?;
        let request = json!({"hashedRekordRequestV002": {
            "digest": STANDARD.encode(digest),
            "signature": {
                "content": STANDARD.encode(signature),
                "verifier": {
                    "x509Certificate": {"rawBytes": STANDARD.encode(cert_der)},
                    "keyDetails": details.name,
                },
            },
        }});
        let url = self.0.at("/api/v2/log/entries");
        let answer = self.0.http.send(&HttpRequest::post(
            "log entry upload",
            &url,
            "application/json",
            request.to_string().as_bytes(),
            MAX_ANSWER,
        ))?;
        match answer.status {
            201 => {}
            409 => {
                return Err(RekorClientError::Duplicate {
                    log: self.0.name(),
                    index: excerpt(answer.header("x-log-index").unwrap_or("unknown").as_bytes()),
                });
            }
            _ => return Err(self.refused("log entry", &answer)),
        }
        let entry: V2Entry =
            serde_json::from_slice(&answer.body).map_err(|error| RekorClientError::Shape {
                log: self.0.name(),
                what: "a log entry",
                reason: error.to_string(),
            })?;
        let entry = entry
            .into_entry()
            .map_err(|error| self.entry_error(error))?;
        entry.check().map_err(|error| self.entry_error(error))?;
        self.same_body(&entry, &body)?;
        Ok(entry)
    }
}

/// The search key of a certificate.
fn public_key(cert_der: &[u8]) -> serde_json::Value {
    let pem = armor::encode_label("CERTIFICATE", cert_der);
    json!({"content": STANDARD.encode(pem), "format": "x509"})
}

/// The response to `GET /api/v1/log`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogInfo {
    #[serde(flatten)]
    tree: TreeInfo,
    inactive_shards: Option<Vec<TreeInfo>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TreeInfo {
    #[serde(rename = "treeID")]
    tree_id: String,
    signed_tree_head: String,
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_entry_id(id: &str) -> bool {
    matches!(id.len(), 64 | 80)
        && id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

// `TransparencyLogEntry` in protobuf's JSON: 64-bit integers are strings (or
// numbers), absent members are zero.

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct V2Entry {
    log_index: Int,
    log_id: V2LogId,
    kind_version: V2Kind,
    integrated_time: Int,
    inclusion_proof: Option<V2Proof>,
    canonicalized_body: Base64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct V2LogId {
    key_id: Base64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct V2Kind {
    kind: String,
    version: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct V2Proof {
    log_index: Int,
    root_hash: Base64,
    tree_size: Int,
    hashes: Vec<Base64>,
    checkpoint: V2Checkpoint,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct V2Checkpoint {
    envelope: String,
}

#[derive(Default)]
struct Int(i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Text(text) => text
                .parse()
                .map(Self)
                .map_err(|_| serde::de::Error::custom("not a 64-bit integer")),
        }
    }
}

#[derive(Default)]
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not base64"))
    }
}

impl AsRef<[u8]> for Base64 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl V2Entry {
    fn into_entry(self) -> Result<LogEntry, Reason> {
        let proof = match self.inclusion_proof {
            None => None,
            Some(proof) => Some(InclusionProof {
                log_index: proof.log_index.0,
                root_hash: proof.root_hash.0,
                tree_size: proof.tree_size.0,
                hashes: proof_hashes(&proof.hashes)?,
                checkpoint: proof.checkpoint.envelope,
            }),
        };
        Ok(LogEntry {
            log_index: self.log_index.0,
            log_id: self.log_id.key_id.0,
            kind: self.kind_version.kind,
            version: self.kind_version.version,
            integrated_time: self.integrated_time.0,
            set: None,
            proof,
            body: Some(self.canonicalized_body.0),
        })
    }
}

#[cfg(test)]
mod tests;
