//! The reference CT log: RFC 6962 §4 over the log of `log/`.
//!
//! An SCT is returned only after its log entry is on the disk. The same
//! certificate gets the same SCT again.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use p256::ecdsa::{DerSignature, SigningKey, signature::Signer as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::log::{Log, LogError, StoredEntry};
use gitseal_evidence::{
    asn1,
    certificate::{CT_POISON, Certificate},
    memo::Memo,
    merkle::Hash,
    sct::{self, Sct},
};
use gitseal_services::ct::wire::{
    AddChain, AddChainResponse, LeafEntry, MAX_CHAIN, MAX_ENTRIES, SignedTreeHead,
};
use gitseal_services::http::{
    endpoint::{Endpoint, NoEndpoint, dispatch, get, post},
    message::{ServerRequest, ServerResponse},
    server::Handler,
};

/// Returns the time in milliseconds since 1970.
pub type MillisecondClock = Box<dyn Fn() -> u64 + Send + Sync>;

/// Errors of a request to the CT log.
#[derive(Debug, thiserror::Error)]
pub enum CtServerError {
    /// The submission or the request is invalid.
    #[error("{0}")]
    Submission(String),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl CtServerError {
    fn submission(why: impl Into<String>) -> Self {
        Self::Submission(why.into())
    }
}

/// The server of a CT log. Its methods need no socket; [`Handler`] serves them.
pub struct CtServer {
    log: Arc<Log>,
    key: SigningKey,
    log_id: [u8; 32],
    roots: Vec<Certificate>,
    clock: MillisecondClock,
}

impl CtServer {
    /// Returns a CT log that accepts chains to one of `roots`. `spki` is the
    /// SubjectPublicKeyInfo of `key`.
    #[must_use]
    pub fn new(
        log: Arc<Log>,
        key: SigningKey,
        spki: &[u8],
        roots: Vec<Certificate>,
        clock: MillisecondClock,
    ) -> Self {
        Self {
            log,
            key,
            log_id: Sha256::digest(spki).into(),
            roots,
            clock,
        }
    }

    /// Appends a precertificate (DER) with its issuers and returns the SCT.
    ///
    /// # Errors
    ///
    /// Returns [`CtServerError`] if the certificates are not a chain to a root, or the
    /// log failed.
    pub fn add_pre_chain(&self, chain: &[Vec<u8>]) -> Result<Sct, CtServerError> {
        let chain = self.chain(chain)?;
        let (precertificate, issuer) = self.first_two(&chain)?;
        let poison = precertificate
            .extension(&CT_POISON)
            .filter(|poison| poison.critical && poison.value == [asn1::NULL, 0]);
        if poison.is_none() {
            return Err(CtServerError::submission(
                "the first certificate is not a precertificate: it has no critical poison extension",
            ));
        }
        let tbs = sct::precert_tbs(precertificate);
        let entry = sct::CtEntry::Precert {
            issuer_key_hash: Sha256::digest(issuer.spki()).into(),
            tbs: &tbs,
        };
        // PrecertChainEntry: the precertificate, then its chain (RFC 6962 §3.1).
        let mut extra = opaque24(precertificate.der());
        extra.extend(certificate_list(chain.get(1..).unwrap_or_default()));
        self.append(entry, &extra)
    }

    /// Appends a certificate (DER) with its issuers and returns the SCT.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::add_pre_chain`].
    pub fn add_chain(&self, chain: &[Vec<u8>]) -> Result<Sct, CtServerError> {
        let chain = self.chain(chain)?;
        let (certificate, _) = self.first_two(&chain)?;
        if certificate.extension(&CT_POISON).is_some() {
            return Err(CtServerError::submission(
                "the first certificate is a precertificate",
            ));
        }
        let extra = certificate_list(chain.get(1..).unwrap_or_default());
        self.append(sct::CtEntry::X509(certificate.der()), &extra)
    }

    fn append(&self, entry: sct::CtEntry<'_>, extra: &[u8]) -> Result<Sct, CtServerError> {
        let key: Hash = Sha256::digest(sct::entry_bytes(entry)).into();
        // A MerkleTreeLeaf (RFC 6962 §3.4) has the bytes that an SCT signs: in
        // both, two zero octets precede the timestamp.
        let leaf = sct::digitally_signed((self.clock)(), entry, &[]);
        let there = self.log.append(key, &leaf, extra).map_err(request_error)?;
        let leaf = if there.duplicate {
            self.log.entry(there.index)?.leaf
        } else {
            leaf
        };
        let timestamp_ms = leaf
            .get(2..10)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes)
            .ok_or_else(|| CtServerError::submission("the log entry cannot be read back"))?;
        // Deterministic (RFC 6979): the same entry gets the same signature.
        let signature: DerSignature = self.key.sign(&leaf);
        Ok(Sct::ecdsa_sha256(
            self.log_id,
            timestamp_ms,
            Vec::new(),
            signature.as_bytes().to_vec(),
        ))
    }

    /// Parses a chain and verifies its signatures up to a root.
    fn chain(&self, chain: &[Vec<u8>]) -> Result<Vec<Certificate>, CtServerError> {
        if chain.is_empty() || chain.len() > MAX_CHAIN {
            return Err(CtServerError::submission(format!(
                "a chain of {} certificates; expected 1 to {MAX_CHAIN}",
                chain.len()
            )));
        }
        let chain = chain
            .iter()
            .map(|der| Certificate::from_der(der))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|refusal| CtServerError::submission(refusal.to_string()))?;
        for (nth, pair) in chain.windows(2).enumerate() {
            if let [one, next] = pair {
                issued_by(one, next).map_err(|why| {
                    CtServerError::submission(format!("certificate {nth} of the chain: {why}"))
                })?;
            }
        }
        let ends_at_root = chain.last().is_some_and(|last| {
            self.roots
                .iter()
                .any(|root| root == last || issued_by(last, root).is_ok())
        });
        if ends_at_root {
            Ok(chain)
        } else {
            Err(CtServerError::submission(
                "the chain does not end at a root of this log",
            ))
        }
    }

    /// Returns the submitted certificate and the one that issued it.
    fn first_two<'a>(
        &'a self,
        chain: &'a [Certificate],
    ) -> Result<(&'a Certificate, &'a Certificate), CtServerError> {
        let first = chain
            .first()
            .ok_or_else(|| CtServerError::submission("an empty chain"))?;
        let issuer = chain.get(1).or_else(|| {
            self.roots
                .iter()
                .find(|root| issued_by(first, root).is_ok())
        });
        issuer
            .map(|issuer| (first, issuer))
            .ok_or_else(|| CtServerError::submission("no root issued the certificate"))
    }

    /// Returns the signed head of the whole tree.
    ///
    /// # Errors
    ///
    /// Returns [`LogError`] if the log failed.
    pub fn tree_head(&self) -> Result<SignedTreeHead, LogError> {
        let tree = self.log.checkpoint(None)?;
        let timestamp = (self.clock)();
        // TreeHeadSignature (RFC 6962 §3.5): version, type 1, time, size, root.
        let mut signed = vec![0, 1];
        signed.extend(timestamp.to_be_bytes());
        signed.extend(tree.size.to_be_bytes());
        signed.extend(tree.root);
        let signature: DerSignature = self.key.sign(&signed);
        let signature = signature.as_bytes();
        let mut digitally_signed = vec![4, 3];
        digitally_signed.extend(
            u16::try_from(signature.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        digitally_signed.extend_from_slice(signature);
        Ok(SignedTreeHead {
            tree_size: tree.size,
            timestamp,
            sha256_root_hash: BASE64_STANDARD.encode(tree.root),
            tree_head_signature: BASE64_STANDARD.encode(digitally_signed),
        })
    }

    fn submit(
        &self,
        request: &ServerRequest,
        add: impl Fn(&Self, &[Vec<u8>]) -> Result<Sct, CtServerError>,
    ) -> Result<Value, CtServerError> {
        let submission: AddChain = serde_json::from_slice(&request.body)
            .map_err(|error| CtServerError::submission(format!("not a chain in JSON: {error}")))?;
        let chain = submission
            .chain
            .iter()
            .map(|text| BASE64_STANDARD.decode(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CtServerError::submission("a certificate is not base64"))?;
        let sct = add(self, &chain)?;
        Ok(json!(AddChainResponse::new(&sct)))
    }

    fn consistency(&self, request: &ServerRequest) -> Result<Value, CtServerError> {
        let (first, second) = (number(request, "first")?, number(request, "second")?);
        let proof = self.log.consistency(first, second).map_err(request_error)?;
        Ok(json!({ "consistency": encode_all(&proof) }))
    }

    fn proof_by_hash(&self, request: &ServerRequest) -> Result<Value, CtServerError> {
        let size = number(request, "tree_size")?;
        let hash: Hash = request
            .parameter("hash")
            .and_then(|text| BASE64_STANDARD.decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| CtServerError::submission("hash: expected base64 of 32 bytes"))?;
        let index = self
            .log
            .index_of_leaf(&hash)
            .ok_or_else(|| CtServerError::submission("entry not found"))?;
        let (_, proof) = self
            .log
            .inclusion(index, Some(size))
            .map_err(request_error)?;
        Ok(json!({ "leaf_index": index, "audit_path": encode_all(&proof) }))
    }

    fn entries(&self, request: &ServerRequest) -> Result<Value, CtServerError> {
        let (start, end) = (number(request, "start")?, number(request, "end")?);
        let size = self.log.size();
        if start > end || start >= size {
            return Err(CtServerError::submission(format!(
                "start {start} and end {end} are not a range of {size} log entries"
            )));
        }
        // A log may return fewer than requested (RFC 6962 §4.6).
        let end = end
            .min(size.saturating_sub(1))
            .min(start.saturating_add(MAX_ENTRIES.saturating_sub(1)));
        let entries = (start..=end)
            .map(|index| self.log.entry(index).map(|entry| leaf_entry(&entry)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "entries": entries }))
    }

    fn entry_and_proof(&self, request: &ServerRequest) -> Result<Value, CtServerError> {
        let (index, size) = (
            number(request, "leaf_index")?,
            number(request, "tree_size")?,
        );
        let (_, proof) = self
            .log
            .inclusion(index, Some(size))
            .map_err(request_error)?;
        let entry = leaf_entry(&self.log.entry(index)?);
        Ok(json!({
            "leaf_input": entry.leaf_input,
            "extra_data": entry.extra_data,
            "audit_path": encode_all(&proof),
        }))
    }

    fn roots(&self) -> Value {
        let certificates: Vec<String> = self
            .roots
            .iter()
            .map(|root| BASE64_STANDARD.encode(root.der()))
            .collect();
        json!({ "certificates": certificates })
    }
}

/// Checks that `issuer` issued a certificate: it is a CA certificate, its subject is
/// the certificate's issuer, and its key signed. Validity and key usage are not
/// checked, because a log contains all that was issued.
fn issued_by(certificate: &Certificate, issuer: &Certificate) -> Result<(), String> {
    if certificate.issuer_der() != issuer.subject_der() {
        return Err("its issuer differs from the subject of the next certificate".to_owned());
    }
    if !issuer.basic_constraints().is_some_and(|limits| limits.ca) {
        return Err("the next certificate is not a CA certificate".to_owned());
    }
    certificate
        .verify_signed_by(issuer, Memo::disabled())
        .map_err(|why| why.to_string())
}

type Reply = Result<Value, CtServerError>;

const ENDPOINTS: [Endpoint<CtServer, Reply>; 9] = [
    post("/ct/v1/add-chain", |ct, request| {
        ct.submit(request, CtServer::add_chain)
    }),
    post("/ct/v1/add-pre-chain", |ct, request| {
        ct.submit(request, CtServer::add_pre_chain)
    }),
    get("/ct/v1/get-sth", |ct, _| Ok(json!(ct.tree_head()?))),
    get("/ct/v1/get-sth-consistency", CtServer::consistency),
    get("/ct/v1/get-proof-by-hash", CtServer::proof_by_hash),
    get("/ct/v1/get-entries", CtServer::entries),
    get("/ct/v1/get-entry-and-proof", CtServer::entry_and_proof),
    get("/ct/v1/get-roots", |ct, _| Ok(ct.roots())),
    get("/healthz", |_, _| Ok(json!({ "status": "SERVING" }))),
];

impl Handler for CtServer {
    fn handle(&self, request: &ServerRequest) -> ServerResponse {
        match dispatch(&ENDPOINTS, self, request) {
            Ok(Ok(value)) => ServerResponse::json(200, &value),
            Ok(Err(CtServerError::Submission(reason))) => ServerResponse::text(400, reason),
            Ok(Err(CtServerError::Log(error))) => {
                ServerResponse::text(503, error.to_string()).with("Retry-After", "1")
            }
            Err(NoEndpoint::Path) => ServerResponse::text(404, "path not found"),
            Err(NoEndpoint::Method(allowed)) => {
                ServerResponse::text(405, "method not allowed").with("Allow", allowed)
            }
        }
    }
}

/// Classifies an error of the log: a request for an entry or tree that does not
/// exist is the client's error, and so is a chain that is too long for an entry.
fn request_error(error: LogError) -> CtServerError {
    match error {
        LogError::NoEntry { .. } | LogError::NoTree { .. } | LogError::TooLong { .. } => {
            CtServerError::submission(error.to_string())
        }
        other => CtServerError::Log(other),
    }
}

fn number(request: &ServerRequest, name: &str) -> Result<u64, CtServerError> {
    request
        .parameter(name)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| CtServerError::submission(format!("{name}: not a number")))
}

fn encode_all(hashes: &[Hash]) -> Vec<String> {
    hashes
        .iter()
        .map(|hash| BASE64_STANDARD.encode(hash))
        .collect()
}

fn leaf_entry(entry: &StoredEntry) -> LeafEntry {
    LeafEntry {
        leaf_input: BASE64_STANDARD.encode(&entry.leaf),
        extra_data: BASE64_STANDARD.encode(&entry.extra),
    }
}

/// Encodes an `opaque ASN.1Cert<1..2^24-1>`.
fn opaque24(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = length.get(1..).unwrap_or_default().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// Encodes an `ASN.1Cert certificate_chain<0..2^24-1>`.
fn certificate_list(chain: &[Certificate]) -> Vec<u8> {
    let certificates: Vec<u8> = chain.iter().flat_map(|one| opaque24(one.der())).collect();
    opaque24(&certificates)
}
