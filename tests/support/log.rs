//! A log in memory that signs as the forge's: entries with proofs in a tree that
//! grows, and a server that shows that tree, another one, or none.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use gitseal_evidence::{
    armor,
    certificate::Certificate,
    checkpoint::{self, Checkpoint},
    entry::{self, InclusionProof, LogEntry},
    hex, merkle,
};
use gitseal_services::http::{
    message::{ServerRequest, ServerResponse},
    server::{Limits, ServerHandle, serve},
};
use gitseal_services::merkle_tree::{self, MemoryTree, NodeSource as _};
use gitseal_services::signed_data;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::forge::{self, Key, LOG_NAME, Lab, TREE_ID};

/// One signature, with an entry in `log`, and up to fifteen entries of others
/// behind it.
pub fn sign(
    lab: &Lab,
    payload: &[u8],
    at: i64,
    key: &Key,
    leaf: &[u8],
    log: &mut MemoryTree,
) -> String {
    let attributes = signed_data::attributes(&Sha256::digest(payload).into(), at).unwrap();
    let signature = key.sign(&attributes);
    let digest = Sha256::digest(&attributes).into();
    let body = entry::hashedrekord_v1(&digest, &signature, leaf);
    let index = log.size();
    log.push(merkle::leaf_hash(&body));
    // What others log in the same moment.
    for nth in 0..u64::from(digest[0] % 16) {
        log.push(merkle::leaf_hash(
            &[digest.as_slice(), &nth.to_be_bytes()].concat(),
        ));
    }
    let size = log.size();
    let tree = Checkpoint {
        origin: format!("{LOG_NAME} - {TREE_ID}"),
        size,
        root: merkle_tree::root(log, size).unwrap(),
        extensions: vec![],
    };
    let text = tree.to_text();
    let log_id = lab.rekor.log_id();
    let note = checkpoint::signed(
        &text,
        LOG_NAME,
        checkpoint::key_hint(&log_id),
        &lab.rekor.sign(text.as_bytes()),
    );
    let set = entry::set_payload(
        &BASE64_STANDARD.encode(&body),
        at + 1,
        &hex(&log_id),
        index as i64,
    );
    let proof = merkle_tree::inclusion_proof(log, index, size).unwrap();
    let logged = LogEntry {
        log_index: index as i64,
        log_id: log_id.to_vec(),
        kind: "hashedrekord".to_owned(),
        version: "0.0.1".to_owned(),
        integrated_time: at + 1,
        set: Some(lab.rekor.sign(&set)),
        proof: Some(InclusionProof {
            log_index: index as i64,
            root_hash: tree.root.to_vec(),
            tree_size: size as i64,
            hashes: proof,
            checkpoint: note,
        }),
        body: None,
    };
    let leaf = Certificate::from_der(leaf).unwrap();
    let cms = signed_data::encode_signed_data(
        &attributes,
        &signature,
        &leaf,
        Some(&logged.to_protobuf(false)),
        None,
    )
    .unwrap();
    armor::encode_label(armor::LABEL, &cms)
}

/// What a log shows.
#[derive(Clone)]
pub struct Shown {
    /// The tree that it answers out of.
    pub nodes: MemoryTree,
    /// How much of it.
    pub size: u64,
    /// Whether it gives proofs.
    pub proves: bool,
    /// Its origin as a Rekor v2 log.
    pub origin_v2: String,
    /// Requests until now, by path.
    pub asked: Vec<String>,
}

impl Shown {
    pub fn new(nodes: &MemoryTree) -> Self {
        Self {
            size: nodes.size(),
            nodes: nodes.clone(),
            proves: true,
            origin_v2: String::new(),
            asked: Vec::new(),
        }
    }

    pub fn tree(&self, size: u64) -> Checkpoint {
        Checkpoint {
            origin: format!("{LOG_NAME} - {TREE_ID}"),
            size,
            root: merkle_tree::root(&self.nodes, size).unwrap(),
            extensions: vec![],
        }
    }

    pub fn note(&self, key: &Key, size: u64) -> String {
        let text = self.tree(size).to_text();
        let hint = checkpoint::key_hint(&key.log_id());
        checkpoint::signed(&text, LOG_NAME, hint, &key.sign(text.as_bytes()))
    }

    pub fn tree_v2(&self, size: u64) -> Checkpoint {
        Checkpoint {
            origin: self.origin_v2.clone(),
            ..self.tree(size)
        }
    }

    fn answer(&mut self, lab: &Lab, request: &ServerRequest) -> ServerResponse {
        self.asked.push(request.path.clone());
        let number = |name: &str| request.parameter(name).unwrap().parse::<u64>().unwrap();
        match request.path.as_str() {
            "/api/v1/log" => ServerResponse::json(
                200,
                &json!({
                    "inactiveShards": null,
                    "rootHash": "",
                    "signedTreeHead": self.note(&lab.rekor, self.size),
                    "treeID": TREE_ID,
                    "treeSize": self.size,
                }),
            ),
            "/api/v1/log/proof" if self.proves => {
                assert_eq!(request.parameter("treeID"), Some(TREE_ID));
                let (old, new) = (number("firstSize"), number("lastSize"));
                if new > self.size {
                    return ServerResponse::json(
                        400,
                        &json!({"code": 400, "message": "too large"}),
                    );
                }
                let proof = merkle_tree::consistency_proof(&self.nodes, old, new).unwrap();
                let hashes: Vec<String> = proof.iter().map(|hash| hex(hash)).collect();
                ServerResponse::json(200, &json!({"hashes": hashes, "rootHash": ""}))
            }
            "/api/v2/checkpoint" => {
                let text = self.tree_v2(self.size).to_text();
                ServerResponse::text(200, forge::sign_note(&text, &self.origin_v2, &lab.rekor2))
            }
            path if path.starts_with("/api/v2/tile/") && self.proves => self.tile(path),
            _ => ServerResponse::json(404, &json!({"code": 404, "message": "not here"})),
        }
    }

    /// `/api/v2/tile/<L>/<N>[.p/<W>]`, numbers below 1000 only.
    fn tile(&self, path: &str) -> ServerResponse {
        let rest = path.strip_prefix("/api/v2/tile/").unwrap();
        let (level, rest) = rest.split_once('/').unwrap();
        let (n, width) = rest.split_once(".p/").unwrap_or((rest, "256"));
        let level: u8 = level.parse().unwrap();
        let (n, width): (u64, u64) = (n.parse().unwrap(), width.parse().unwrap());
        let shown = (self.size >> (8 * u32::from(level)))
            .saturating_sub(n * 256)
            .min(256);
        if width != shown {
            return ServerResponse::json(404, &json!({"code": 404, "message": "no such tile"}));
        }
        let bytes: Vec<u8> = (0..width)
            .flat_map(|nth| self.nodes.node(level * 8, n * 256 + nth).unwrap())
            .collect();
        ServerResponse::new(200, "application/octet-stream", bytes)
    }
}

/// The server of a log.
pub struct LogServer {
    pub shown: Arc<Mutex<Shown>>,
    running: ServerHandle,
}

impl LogServer {
    pub fn start(shown: Shown) -> Self {
        let shown = Arc::new(Mutex::new(shown));
        let answers = Arc::clone(&shown);
        let lab = Lab::new();
        let running = serve(
            TcpListener::bind("127.0.0.1:0").unwrap(),
            Limits::default(),
            Arc::new(move |request: &ServerRequest| answers.lock().unwrap().answer(&lab, request)),
        )
        .unwrap();
        Self { shown, running }
    }

    pub fn url(&self) -> String {
        self.running.url()
    }

    pub fn asked(&self) -> Vec<String> {
        self.shown.lock().unwrap().asked.clone()
    }
}
