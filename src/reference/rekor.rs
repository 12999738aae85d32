//! The reference Rekor: the v1 API over the log of `log/`.
//!
//! It accepts hashedrekord 0.0.1 and dsse 0.0.1 entries, verifies their
//! signatures, and returns a log entry only after it is on the disk.
//!
//! It is stricter than Rekor where this does not affect valid clients: digests
//! are lowercase hex, a key is one PEM block, and malformed JSON is a 400. It
//! fetches no URL and stores no artifact or attestation.
//!
//! *Not checked here, as in any Rekor:* the chain, validity or identity of a
//! certificate. A log entry proves only that its creator had the key.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use p256::ecdsa::{DerSignature, SigningKey, signature::Signer as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::log::{Log, LogError, LogIdentity};
use gitseal_evidence::{
    armor,
    certificate::Certificate,
    checkpoint::{self, Checkpoint},
    entry, hex,
    keys::{KeyAlgorithm, PublicKey, SignatureAlgorithm},
    merkle, unhex,
};
use gitseal_services::http::{
    endpoint::{Endpoint, NoEndpoint, dispatch, get, post},
    message::{Method, ServerRequest, ServerResponse},
    server::Handler,
};
use gitseal_services::rekor::wire::{
    self, DsseEnvelope, DsseSpec, EntryAnswer, HashedRekordSpec, MAX_RETRIEVE, ProposedEntry,
    Retrieve, SearchIndex,
};

/// The maximum number of signatures, and of verifiers, of one DSSE envelope.
const MAX_DSSE: usize = 10;
/// The maximum number of search keys of one entry (subjects of an attestation).
const MAX_INDEX_KEYS: usize = 1_024;
/// The maximum number of entries that one search returns.
const MAX_FOUND: usize = 10_000;

/// Errors of a request to Rekor.
#[derive(Debug, thiserror::Error)]
pub enum RekorServerError {
    /// The entry or the query is invalid: 400.
    #[error("{0}")]
    Bad(String),
    /// The request does not match the API's schema: 422 with go-openapi's code.
    #[error("{message}")]
    Invalid {
        /// 601 type, 602 required, 605 pattern, 606 enum, 611 too many items.
        code: u32,
        message: String,
    },
    /// The log already contains the entry: 409.
    #[error("an equivalent entry already exists in the transparency log with UUID {id}")]
    Exists { id: String },
    #[error("not found")]
    NotFound,
    /// The path does not exist: 404.
    #[error("path {0} was not found")]
    NoPath(String),
    /// The path does not allow the method: 405.
    #[error("method {method} is not allowed, but [{allowed}] are")]
    Method { method: Method, allowed: String },
    /// Not JSON by its content type: 415.
    #[error("unsupported media type {0:?}, only \"application/json\" is supported")]
    MediaType(String),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl RekorServerError {
    fn invalid(code: u32, message: impl Into<String>) -> Self {
        Self::Invalid {
            code,
            message: message.into(),
        }
    }

    fn response(&self) -> ServerResponse {
        let (status, code) = match self {
            Self::Bad(_) => (400, 400),
            Self::Invalid { code, .. } => (422, *code),
            Self::Exists { id } => {
                return ServerResponse::json(409, &wire::error(409, &self.to_string()))
                    .with("Location", location(id));
            }
            Self::NotFound => return ServerResponse::empty(404),
            Self::NoPath(_) => (404, 404),
            Self::Method { allowed, .. } => {
                return ServerResponse::json(405, &wire::error(405, &self.to_string()))
                    .with("Allow", allowed);
            }
            Self::MediaType(_) => (415, 415),
            // The entry is invalid, so a retry cannot succeed.
            Self::Log(LogError::TooLong { .. }) => (400, 400),
            Self::Log(_) => {
                return ServerResponse::json(503, &wire::error(503, &self.to_string()))
                    .with("Retry-After", "1");
            }
        };
        ServerResponse::json(status, &wire::error(code, &self.to_string()))
    }
}

fn location(id: &str) -> String {
    format!("/api/v1/log/entries/{id}")
}

/// Returns the identity of a Rekor's log, with the origin `NAME - TREE ID`. The tree
/// ID is derived from the key.
#[must_use]
pub fn identity(name: &str, spki: &[u8]) -> LogIdentity {
    let key_id: [u8; 32] = Sha256::digest(spki).into();
    LogIdentity {
        origin: format!("{name} - {}", tree_id(&key_id)),
        key_id,
    }
}

/// Derives a positive 63-bit number from a log ID.
fn tree_id(log_id: &[u8; 32]) -> u64 {
    u64::from_be_bytes(log_id.first_chunk().copied().unwrap_or_default()) >> 1
}

/// Returns a function that signs checkpoints as Rekor does: the signature line
/// contains the name of the origin.
#[must_use]
pub fn checkpoint_signer(name: &str, key: SigningKey, spki: &[u8]) -> crate::log::SignCheckpoint {
    let name = name.to_owned();
    let hint = checkpoint::key_hint(&checkpoint::ecdsa_key_id(spki));
    Box::new(move |tree: &Checkpoint| {
        let text = tree.to_text();
        let signature: DerSignature = key.sign(text.as_bytes());
        checkpoint::signed(&text, &name, hint, signature.as_bytes())
    })
}

/// The server of a Rekor log. Its methods need no socket; [`Handler`] serves
/// them.
pub struct RekorServer {
    log: Arc<Log>,
    key: SigningKey,
    public_key_pem: String,
    log_id: [u8; 32],
    sign_checkpoint: crate::log::SignCheckpoint,
    /// The checkpoint that was signed last, and its note: all requests that wait for
    /// one flush need the same.
    signed: Mutex<Option<(Checkpoint, Arc<str>)>>,
    /// The indexes of each search key, in order.
    index: RwLock<HashMap<String, Vec<u64>>>,
}

/// A verified entry: its canonical body and its search keys.
struct Canonical {
    body: Vec<u8>,
    keys: Vec<String>,
}

impl RekorServer {
    /// Returns a Rekor over a log that was opened with [`identity`]. The search index
    /// is read from the log.
    ///
    /// # Errors
    ///
    /// Returns [`LogError`] if the log cannot be read.
    pub fn new(log: Arc<Log>, name: &str, key: SigningKey, spki: &[u8]) -> Result<Self, LogError> {
        let mut index: HashMap<String, Vec<u64>> = HashMap::new();
        for nth in 0..log.size() {
            let entry = log.entry(nth)?;
            for line in String::from_utf8_lossy(&entry.extra).lines() {
                index.entry(line.to_owned()).or_default().push(nth);
            }
        }
        Ok(Self {
            log,
            public_key_pem: armor::encode_label("PUBLIC KEY", spki),
            log_id: Sha256::digest(spki).into(),
            sign_checkpoint: checkpoint_signer(name, key.clone(), spki),
            signed: Mutex::new(None),
            key,
            index: RwLock::new(index),
        })
    }

    /// Returns the signed note of a checkpoint.
    fn note(&self, tree: &Checkpoint) -> Arc<str> {
        let lock = || self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, note)) = lock().as_ref().filter(|(signed, _)| signed == tree) {
            return Arc::clone(note);
        }
        let note: Arc<str> = (self.sign_checkpoint)(tree).into();
        *lock() = Some((tree.clone(), Arc::clone(&note)));
        note
    }

    /// Returns the tree ID, as in origins and entry IDs.
    #[must_use]
    pub fn tree_id(&self) -> u64 {
        tree_id(&self.log_id)
    }

    /// Appends a proposed entry and returns its ID and the response body.
    ///
    /// # Errors
    ///
    /// Returns [`RekorServerError`] if the entry is invalid or exists, or the log
    /// failed.
    pub fn create(&self, proposed: &ProposedEntry) -> Result<(String, Value), RekorServerError> {
        let canonical = canonicalize(proposed)?;
        let keys = canonical.keys.join("\n");
        let there = self.log.append(
            merkle::leaf_hash(&canonical.body),
            &canonical.body,
            keys.as_bytes(),
        )?;
        let id = wire::entry_id(self.tree_id(), &canonical.body);
        if there.duplicate {
            return Err(RekorServerError::Exists { id });
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for key in canonical.keys {
            index.entry(key).or_default().push(there.index);
        }
        drop(index);
        let answer = self.entry(there.index)?;
        Ok((id, answer))
    }

    /// Returns the response for one entry, `{"<id>": {…}}`, with its inclusion proof in
    /// the whole tree.
    ///
    /// # Errors
    ///
    /// Returns [`RekorServerError`] if the log has no such entry, or failed.
    pub fn entry(&self, index: u64) -> Result<Value, RekorServerError> {
        let entry = match self.log.entry(index) {
            Err(LogError::NoEntry { .. }) => return Err(RekorServerError::NotFound),
            other => other?,
        };
        let (tree, proof) = self.log.inclusion(index, None)?;
        let body_base64 = BASE64_STANDARD.encode(&entry.leaf);
        let log_id = hex(&self.log_id);
        let promise = entry::set_payload(
            &body_base64,
            entry.time,
            &log_id,
            i64::try_from(index).unwrap_or(i64::MAX),
        );
        let set: DerSignature = self.key.sign(&promise);
        let answer = EntryAnswer {
            body_base64: &body_base64,
            integrated_time: entry.time,
            log_id: &log_id,
            index,
            tree: &tree,
            checkpoint: &self.note(&tree),
            proof: &proof,
            set: &BASE64_STANDARD.encode(set.as_bytes()),
        };
        Ok(answer.json(&wire::entry_id(self.tree_id(), &entry.leaf)))
    }

    /// Returns the index of an entry ID: 64 hex digits of the leaf hash, or 80 with the
    /// tree ID before them.
    fn index_of(&self, id: &str) -> Result<u64, RekorServerError> {
        let digits = id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || !(id.len() == 64 || id.len() == 80) {
            return Err(RekorServerError::invalid(
                605,
                "entryUUID in path should match '^([0-9a-f]{64}|[0-9a-f]{80})$'",
            ));
        }
        let (tree, leaf) = id.split_at(id.len().saturating_sub(64));
        if !tree.is_empty() && tree != format!("{:016x}", self.tree_id()) {
            return Err(RekorServerError::NotFound);
        }
        let hash: Option<merkle::Hash> = unhex(leaf).and_then(|bytes| bytes.try_into().ok());
        hash.and_then(|hash| self.log.index_of_leaf(&hash))
            .ok_or(RekorServerError::NotFound)
    }

    fn by_index(&self, request: &ServerRequest) -> Result<Value, RekorServerError> {
        let text = request
            .parameter("logIndex")
            .ok_or_else(|| RekorServerError::invalid(602, "logIndex in query is required"))?;
        let index: i64 = text.parse().map_err(|_| {
            RekorServerError::invalid(
                601,
                format!("logIndex in query must be of type int64: {text:?}"),
            )
        })?;
        let index = u64::try_from(index).map_err(|_| {
            RekorServerError::invalid(
                609,
                "logIndex in query should be greater than or equal to 0",
            )
        })?;
        self.entry(index)
    }

    fn retrieve(&self, request: &ServerRequest) -> Result<Value, RekorServerError> {
        let wanted: Retrieve = json_body(request)?;
        let lists = [
            ("entryUUIDs", wanted.entry_uuids.len()),
            ("logIndexes", wanted.log_indexes.len()),
            ("entries", wanted.entries.len()),
        ];
        let total: usize = lists.iter().map(|(_, length)| length).sum();
        if total > MAX_RETRIEVE {
            return Err(RekorServerError::invalid(
                611,
                format!("{total} entries in body should have at most {MAX_RETRIEVE} items"),
            ));
        }
        let mut indexes = Vec::new();
        for id in &wanted.entry_uuids {
            match self.index_of(id) {
                Ok(index) => indexes.push(index),
                Err(RekorServerError::NotFound) => {}
                Err(other) => return Err(other),
            }
        }
        for index in &wanted.log_indexes {
            let index = u64::try_from(*index).map_err(|_| {
                RekorServerError::invalid(609, "logIndexes in body must not be negative")
            })?;
            indexes.push(index);
        }
        for proposed in &wanted.entries {
            let leaf = merkle::leaf_hash(&canonicalize(proposed)?.body);
            indexes.extend(self.log.index_of_leaf(&leaf));
        }
        let mut found = Vec::new();
        for index in indexes {
            match self.entry(index) {
                Ok(entry) => found.push(entry),
                Err(RekorServerError::NotFound) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(Value::Array(found))
    }

    fn search(&self, request: &ServerRequest) -> Result<Value, RekorServerError> {
        let wanted: SearchIndex = json_body(request)?;
        let and = match wanted.operator.as_deref() {
            None | Some("" | "or") => false,
            Some("and") => true,
            Some(other) => {
                return Err(RekorServerError::invalid(
                    606,
                    format!("operator in body should be one of [and or], not {other:?}"),
                ));
            }
        };
        let mut keys = Vec::new();
        keys.extend(wanted.email.filter(|text| !text.is_empty()));
        keys.extend(wanted.subject.filter(|text| !text.is_empty()));
        if let Some(hash) = wanted.hash.filter(|text| !text.is_empty()) {
            keys.push(search_hash(&hash)?);
        }
        if let Some(content) = wanted.public_key.and_then(|key| key.content) {
            let verifier = Verifier::read(&content)?;
            keys.push(sha256_hex(verifier.pem.as_bytes()));
        }
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Option<BTreeSet<u64>> = None;
        for key in keys {
            let here: BTreeSet<u64> = index
                .get(&key.to_lowercase())
                .map(|indexes| indexes.iter().copied().collect())
                .unwrap_or_default();
            found = Some(match found {
                None => here,
                Some(before) if and => before.intersection(&here).copied().collect(),
                Some(before) => before.union(&here).copied().collect(),
            });
        }
        drop(index);
        let found = found.unwrap_or_default();
        if found.len() > MAX_FOUND {
            return Err(RekorServerError::Bad(format!(
                "{} entries match, more than the maximum of {MAX_FOUND}; narrow the search with operator \"and\"",
                found.len()
            )));
        }
        let ids = found
            .into_iter()
            .map(|index| {
                let leaf = self.log.leaf_hash(index)?;
                Ok(format!("{:016x}{}", self.tree_id(), hex(&leaf)))
            })
            .collect::<Result<Vec<_>, LogError>>()?;
        Ok(json!(ids))
    }

    fn log_info(&self) -> Result<Value, RekorServerError> {
        let tree = self.log.checkpoint(None)?;
        Ok(json!({
            "inactiveShards": null,
            "rootHash": hex(&tree.root),
            "signedTreeHead": self.note(&tree).as_ref(),
            "treeID": self.tree_id().to_string(),
            "treeSize": tree.size,
        }))
    }

    fn proof(&self, request: &ServerRequest) -> Result<Value, RekorServerError> {
        let number = |name: &str, default: Option<u64>| match request.parameter(name) {
            None => default.ok_or_else(|| {
                RekorServerError::invalid(602, format!("{name} in query is required"))
            }),
            Some(text) => match text.parse::<u64>() {
                Ok(0) => Err(RekorServerError::invalid(
                    609,
                    format!("{name} in query should be greater than or equal to 1"),
                )),
                Ok(number) => Ok(number),
                Err(_) => Err(RekorServerError::invalid(
                    601,
                    format!("{name} in query must be of type int64: {text:?}"),
                )),
            },
        };
        let first = number("firstSize", Some(1))?;
        let last = number("lastSize", None)?;
        self.only_tree(request)?;
        if first > last {
            return Err(RekorServerError::Bad(format!(
                "firstSize({first}) must be less than lastSize({last})"
            )));
        }
        let tree = self.log.checkpoint(None)?;
        if last > tree.size {
            return Err(RekorServerError::Bad(format!(
                "the tree size requested({last}) was greater than what is currently observable({})",
                tree.size
            )));
        }
        let hashes: Vec<String> = self
            .log
            .consistency(first, last)?
            .iter()
            .map(|hash| hex(hash))
            .collect();
        Ok(json!({ "hashes": hashes, "rootHash": hex(&tree.root) }))
    }

    /// Rejects a request for another tree; the log has only one.
    fn only_tree(&self, request: &ServerRequest) -> Result<(), RekorServerError> {
        match request.parameter("treeID") {
            None | Some("") => Ok(()),
            Some(text) if !text.bytes().all(|byte| byte.is_ascii_digit()) => Err(
                RekorServerError::invalid(605, "treeID in query should match '^[0-9]+$'"),
            ),
            Some(text) if text == self.tree_id().to_string() => Ok(()),
            Some(text) => Err(RekorServerError::Bad(format!(
                "no log range found for tree ID {text}"
            ))),
        }
    }

    fn post_entry(&self, request: &ServerRequest) -> Result<ServerResponse, RekorServerError> {
        let proposed: ProposedEntry = json_body(request)?;
        let (id, answer) = self.create(&proposed)?;
        Ok(ServerResponse::json(201, &answer)
            .with("Location", location(&id))
            .with("ETag", id))
    }

    fn public_key(&self, request: &ServerRequest) -> Reply {
        self.only_tree(request)?;
        let pem = self.public_key_pem.clone();
        Ok(ServerResponse::new(200, "application/x-pem-file", pem))
    }
}

const ENTRIES: &str = "/api/v1/log/entries";
/// The path of an entry, without its ID.
const ENTRY: &str = "/api/v1/log/entries/";

type Reply = Result<ServerResponse, RekorServerError>;

const ENDPOINTS: [Endpoint<RekorServer, Reply>; 10] = [
    get(ENTRIES, |rekor, request| ok(rekor.by_index(request)?)),
    post(ENTRIES, RekorServer::post_entry),
    post("/api/v1/log/entries/retrieve", |rekor, request| {
        ok(rekor.retrieve(request)?)
    }),
    post("/api/v1/index/retrieve", |rekor, request| {
        ok(rekor.search(request)?)
    }),
    get("/api/v1/log", |rekor, _| ok(rekor.log_info()?)),
    get("/api/v1/log/proof", |rekor, request| {
        ok(rekor.proof(request)?)
    }),
    get("/api/v1/log/publicKey", RekorServer::public_key),
    get("/ping", |_, _| Ok(ServerResponse::text(200, "."))),
    get("/healthz", |_, _| ok(json!({ "status": "SERVING" }))),
    get(ENTRY, |rekor, request| {
        let id = request.path.get(ENTRY.len()..).unwrap_or_default();
        ok(rekor.entry(rekor.index_of(id)?)?)
    }),
];

fn ok(value: Value) -> Reply {
    Ok(ServerResponse::json(200, &value))
}

impl Handler for RekorServer {
    fn handle(&self, request: &ServerRequest) -> ServerResponse {
        dispatch(&ENDPOINTS, self, request)
            .unwrap_or_else(|no_endpoint| {
                Err(match no_endpoint {
                    NoEndpoint::Path => {
                        RekorServerError::NoPath(request.path.chars().take(200).collect())
                    }
                    NoEndpoint::Method(allowed) => RekorServerError::Method {
                        method: request.method,
                        allowed,
                    },
                })
            })
            .unwrap_or_else(|error| error.response())
            .with(
                "Cache-Control",
                "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
            )
    }
}

fn json_body<T: serde::de::DeserializeOwned>(
    request: &ServerRequest,
) -> Result<T, RekorServerError> {
    match request.media_type() {
        Some(kind) if kind == "application/json" => {}
        other => return Err(RekorServerError::MediaType(other.unwrap_or_default())),
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| RekorServerError::Bad(format!("the body is malformed: {error}")))
}

/// Returns `sha256:HEX` for a digest with or without its name; the length determines
/// the algorithm.
fn search_hash(text: &str) -> Result<String, RekorServerError> {
    let (name, value) = text.split_once(':').unwrap_or(("", text));
    let digits = value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = match value.len() {
        40 => "sha1",
        64 => "sha256",
        128 => "sha512",
        _ => "",
    };
    if !digits || named.is_empty() || !(name.is_empty() || name == named) {
        return Err(RekorServerError::invalid(
            605,
            "hash in body should match '^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$'",
        ));
    }
    Ok(format!("{named}:{}", value.to_lowercase()))
}

/// Verifies a proposed entry and returns its canonical form.
fn canonicalize(proposed: &ProposedEntry) -> Result<Canonical, RekorServerError> {
    let required =
        |name: &str| RekorServerError::invalid(602, format!("{name} in body is required"));
    let kind = proposed.kind.as_deref().ok_or_else(|| required("kind"))?;
    let version = proposed
        .api_version
        .as_deref()
        .ok_or_else(|| required("apiVersion"))?;
    let spec = proposed.spec.as_ref().ok_or_else(|| required("spec"))?;
    match (kind, version) {
        ("hashedrekord", "0.0.1") => hashedrekord(spec),
        ("dsse", "0.0.1") => dsse(spec),
        ("hashedrekord" | "dsse", other) => Err(RekorServerError::Bad(format!(
            "error processing entry: {kind} version {other:?} is not supported, only 0.0.1"
        ))),
        (other, _) => Err(RekorServerError::invalid(
            606,
            format!("invalid kind value: {other:?} (this log accepts hashedrekord and dsse)"),
        )),
    }
}

fn processing(why: impl fmt::Display) -> RekorServerError {
    RekorServerError::Bad(format!("error processing entry: {why}"))
}

/// A public key, alone or in a certificate.
struct Verifier {
    key: PublicKey,
    /// The PEM block, encoded again.
    pem: String,
    /// The subject alternative names of the certificate.
    subjects: Vec<String>,
}

impl Verifier {
    /// Parses the base64 of one PEM block.
    fn read(content: &str) -> Result<Self, RekorServerError> {
        let bytes = BASE64_STANDARD
            .decode(content)
            .map_err(|_| processing("the public key is not base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| processing("the public key is not PEM"))?;
        if text.contains("-----BEGIN CERTIFICATE-----") {
            let certificate = Certificate::from_pem(&text).map_err(processing)?;
            let subjects = certificate
                .sans()
                .iter()
                .filter_map(|name| match name.tag {
                    1 | 2 | 6 => String::from_utf8(name.value.clone()).ok(),
                    _ => certificate
                        .identity()
                        .ok()
                        .map(|identity| identity.san.value().to_owned()),
                })
                .collect();
            return Ok(Self {
                key: certificate.public_key().map_err(processing)?.clone(),
                pem: certificate.to_pem(),
                subjects,
            });
        }
        let key = PublicKey::from_pem(&text).map_err(processing)?;
        Ok(Self {
            pem: armor::encode_label("PUBLIC KEY", key.spki()),
            key,
            subjects: Vec::new(),
        })
    }
}

/// Returns the algorithm of a hashedrekord's key, by its digest.
fn hashedrekord_algorithm(key: KeyAlgorithm, digest: &str) -> Option<SignatureAlgorithm> {
    match (key, digest) {
        (KeyAlgorithm::P256, "sha256") => Some(SignatureAlgorithm::EcdsaSha256),
        (KeyAlgorithm::P384, "sha384") => Some(SignatureAlgorithm::EcdsaSha384),
        (KeyAlgorithm::P521, "sha512") => Some(SignatureAlgorithm::EcdsaSha512),
        (
            KeyAlgorithm::Rsa {
                bits: 2048 | 3072 | 4096,
            },
            "sha256",
        ) => Some(SignatureAlgorithm::RsaPkcs1Sha256),
        _ => None,
    }
}

fn hashedrekord(spec: &Value) -> Result<Canonical, RekorServerError> {
    let spec: HashedRekordSpec =
        serde_json::from_value(spec.clone()).map_err(|error| processing(error.to_string()))?;
    let verifier = Verifier::read(&spec.signature.public_key.content)?;
    let signature = BASE64_STANDARD
        .decode(&spec.signature.content)
        .map_err(|_| processing("the signature is not base64"))?;
    let hash = &spec.data.hash;
    let digest = unhex(&hash.value).ok_or_else(|| processing("the digest is not lowercase hex"))?;
    let algorithm =
        hashedrekord_algorithm(verifier.key.algorithm(), &hash.algorithm).ok_or_else(|| {
            RekorServerError::Bad(format!(
                "entry algorithms are not allowed: {} with {:?}",
                verifier.key.algorithm(),
                hash.algorithm
            ))
        })?;
    verifier
        .key
        .verify_digest(algorithm, &digest, &signature)
        .map_err(processing)?;
    let body = entry::hashedrekord_v1_body(&hash.algorithm, &digest, &signature, &verifier.pem);
    let mut keys = verifier.subjects;
    keys.push(sha256_hex(verifier.pem.as_bytes()));
    keys.push(format!("{}:{}", hash.algorithm, hash.value));
    Ok(Canonical {
        body,
        keys: index_keys(keys),
    })
}

/// Returns the pre-authentication encoding of DSSE v1 (protocol.md), which is signed.
fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

fn dsse(spec: &Value) -> Result<Canonical, RekorServerError> {
    let spec: DsseSpec =
        serde_json::from_value(spec.clone()).map_err(|error| processing(error.to_string()))?;
    let content = spec
        .proposed_content
        .ok_or_else(|| processing("proposedContent is missing"))?;
    let envelope: DsseEnvelope = serde_json::from_str(&content.envelope)
        .map_err(|error| processing(format!("the envelope: {error}")))?;
    for (what, found) in [
        ("signatures", envelope.signatures.len()),
        ("verifiers", content.verifiers.len()),
    ] {
        if found == 0 || found > MAX_DSSE {
            return Err(processing(format!(
                "{found} {what}; expected 1 to {MAX_DSSE}"
            )));
        }
    }
    let payload = BASE64_STANDARD
        .decode(&envelope.payload)
        .map_err(|_| processing("the payload is not base64"))?;
    let signed = pae(&envelope.payload_type, &payload);
    let verifiers = content
        .verifiers
        .iter()
        .map(|one| Verifier::read(one))
        .collect::<Result<Vec<_>, _>>()?;
    let mut signatures = Vec::new();
    for one in &envelope.signatures {
        let bytes = BASE64_STANDARD
            .decode(&one.sig)
            .map_err(|_| processing("a signature is not base64"))?;
        // Rekor's dsse entries use SHA-256 for every type of key.
        let verifier = verifiers
            .iter()
            .find(|verifier| {
                let algorithm = match verifier.key.algorithm() {
                    KeyAlgorithm::Rsa { .. } => SignatureAlgorithm::RsaPkcs1Sha256,
                    KeyAlgorithm::Ed25519 => SignatureAlgorithm::Ed25519,
                    _ => SignatureAlgorithm::EcdsaSha256,
                };
                verifier.key.verify(algorithm, &signed, &bytes).is_ok()
            })
            .ok_or_else(|| processing("a signature verifies with none of the verifiers"))?;
        signatures.push((one.sig.clone(), BASE64_STANDARD.encode(&verifier.pem)));
    }
    signatures.sort();
    let envelope_hash = sha256_hex(content.envelope.as_bytes());
    let payload_hash = sha256_hex(&payload);
    let listed: Vec<Value> = signatures
        .iter()
        .map(|(signature, verifier)| json!({ "signature": signature, "verifier": verifier }))
        .collect();
    let body = serde_json_canonicalizer::to_vec(&json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": envelope_hash },
            "payloadHash": { "algorithm": "sha256", "value": payload_hash },
            "signatures": listed,
        },
    }))
    .map_err(|error| processing(error.to_string()))?;
    let mut keys = vec![
        format!("sha256:{envelope_hash}"),
        format!("sha256:{payload_hash}"),
    ];
    for verifier in verifiers {
        keys.push(format!("sha256:{}", sha256_hex(verifier.pem.as_bytes())));
        keys.extend(verifier.subjects);
    }
    keys.extend(statement_digests(&payload));
    Ok(Canonical {
        body,
        keys: index_keys(keys),
    })
}

/// Returns the digests of an in-toto statement's subjects: `sha256:HEX` …
fn statement_digests(payload: &[u8]) -> Vec<String> {
    let Ok(statement) = serde_json::from_slice::<Value>(payload) else {
        return Vec::new();
    };
    let subjects = statement.get("subject").and_then(Value::as_array);
    subjects
        .into_iter()
        .flatten()
        .filter_map(|subject| subject.get("digest").and_then(Value::as_object))
        .flatten()
        .filter_map(|(name, value)| Some(format!("{name}:{}", value.as_str()?)))
        .take(MAX_INDEX_KEYS)
        .collect()
}

/// Returns search keys in lower case, one line each, without duplicates.
fn index_keys(keys: Vec<String>) -> Vec<String> {
    let unique: BTreeSet<String> = keys
        .into_iter()
        .filter(|key| key.len() <= 512 && !key.chars().any(char::is_control))
        .map(|key| key.to_lowercase())
        .take(MAX_INDEX_KEYS)
        .collect();
    unique.into_iter().collect()
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
