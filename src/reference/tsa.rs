//! A timestamp authority: RFC 3161 over HTTP, with the paths, types and errors of
//! Sigstore's timestamp-authority.
//!
//! Source: RFC 3161 §2.4 and §3.4, and the behavior of Sigstore's
//! timestamp-authority 2.0. The time comes from the clock that the caller passes
//! in.
//!
//! *Not checked here:* tokens (`evidence/timestamp.rs`).

use const_oid::ObjectIdentifier;
use serde::Deserialize;

use gitseal_evidence::{certificate::Certificate, keys::SignatureAlgorithm, signed_data::Digest};
use gitseal_services::{
    Clock, Entropy, SignKey,
    der::unsigned,
    http::{
        endpoint::{Endpoint, NoEndpoint, dispatch, get, post},
        message::{ServerRequest, ServerResponse},
        server::Handler,
    },
    tsa::wire::{TimestampRequest, parse_request},
};

mod token;
pub use token::{TokenFields, encode_response, token};

/// The path of timestamp requests.
pub const TIMESTAMP: &str = "/api/v1/timestamp";
/// The path of the authority's certificates.
pub const CERTIFICATE_CHAIN: &str = "/api/v1/timestamp/certchain";
/// The maximum length of a request, in bytes; a usual one has about 60.
pub const MAX_REQUEST: usize = 4 << 10;
/// Sigstore's timestamp policy, which tokens name.
pub const POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.2");

const QUERY: &str = "application/timestamp-query";
const REPLY: &str = "application/timestamp-reply";

/// The server of a timestamp authority.
pub struct TsaServer {
    /// The signing certificate first, the root last.
    pub chain: Vec<Certificate>,
    pub algorithm: SignatureAlgorithm,
    pub sign: SignKey,
    pub clock: Clock,
    pub entropy: Entropy,
}

/// Reasons why no timestamp is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TsaServerError {
    /// The request is not a TimeStampReq.
    #[error("error parsing the timestamp request: {0}")]
    Request(String),
    #[error("unsupported policy {0}")]
    Policy(String),
    #[error("request extensions are not supported")]
    Extensions,
    #[error("the request must be {QUERY} or application/json")]
    MediaType,
    /// The authority failed to sign.
    #[error("cannot create the timestamp: {0}")]
    Internal(String),
}

impl TsaServerError {
    fn status(&self) -> u16 {
        match self {
            Self::Request(_) | Self::Policy(_) | Self::Extensions => 400,
            Self::MediaType => 415,
            Self::Internal(_) => 500,
        }
    }
}

/// A timestamp request in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonRequest {
    artifact_hash: String,
    hash_algorithm: String,
    #[serde(default)]
    certificates: bool,
    #[serde(default)]
    nonce: Option<u64>,
    #[serde(default, rename = "tsaPolicyOID")]
    policy: Option<String>,
}

impl JsonRequest {
    fn read(body: &[u8]) -> Result<TimestampRequest, TsaServerError> {
        use base64::Engine as _;
        let request: Self = serde_json::from_slice(body)
            .map_err(|error| TsaServerError::Request(error.to_string()))?;
        let digest = match request.hash_algorithm.as_str() {
            "sha256" => Digest::Sha256,
            "sha384" => Digest::Sha384,
            "sha512" => Digest::Sha512,
            other => {
                return Err(TsaServerError::Request(format!(
                    "unsupported hash {other:?}"
                )));
            }
        };
        let imprint = base64::engine::general_purpose::STANDARD
            .decode(&request.artifact_hash)
            .map_err(|_| TsaServerError::Request("artifactHash is not base64".into()))?;
        if imprint.len() != digest.of(&[]).len() {
            return Err(TsaServerError::Request(
                "artifactHash does not have the length of the hash".into(),
            ));
        }
        // The content octets of a DER INTEGER.
        let nonce = request.nonce.map(|nonce| {
            unsigned(&nonce.to_be_bytes())
                .get(2..)
                .unwrap_or_default()
                .to_vec()
        });
        Ok(TimestampRequest {
            digest,
            imprint,
            policy: request.policy.filter(|policy| !policy.is_empty()),
            nonce,
            with_certificate: request.certificates,
            extensions: false,
        })
    }
}

impl TsaServer {
    /// Issues a TimeStampToken for a request.
    ///
    /// # Errors
    ///
    /// Returns [`TsaServerError`] if the request names another policy or contains
    /// extensions, or the authority failed.
    pub fn issue_timestamp(&self, request: &TimestampRequest) -> Result<Vec<u8>, TsaServerError> {
        if let Some(policy) = &request.policy
            && *policy != POLICY.to_string()
        {
            return Err(TsaServerError::Policy(policy.clone()));
        }
        if request.extensions {
            return Err(TsaServerError::Extensions);
        }
        let mut serial = [0; 20];
        (self.entropy)(&mut serial)
            .map_err(|error| TsaServerError::Internal(format!("no entropy: {error}")))?;
        if let Some(first) = serial.first_mut() {
            *first &= 0x7f;
        }
        token(
            &TokenFields {
                request,
                policy: &POLICY,
                serial: &serial,
                time: (self.clock)(),
                chain: &self.chain,
                algorithm: &self.algorithm.oid(),
            },
            &self.sign,
        )
        .map_err(|refusal| TsaServerError::Internal(refusal.to_string()))
    }

    fn respond(&self, request: &ServerRequest) -> Result<ServerResponse, TsaServerError> {
        if request.body.len() > MAX_REQUEST {
            return Err(TsaServerError::Request(format!(
                "it is {} bytes; the limit is {MAX_REQUEST}",
                request.body.len()
            )));
        }
        let query = match request.media_type().as_deref() {
            Some(QUERY) => parse_request(&request.body)
                .map_err(|refusal| TsaServerError::Request(refusal.to_string()))?,
            Some("application/json") => JsonRequest::read(&request.body)?,
            _ => return Err(TsaServerError::MediaType),
        };
        let token = self.issue_timestamp(&query)?;
        Ok(ServerResponse::new(200, REPLY, encode_response(&token)))
    }
}

const ENDPOINTS: [Endpoint<TsaServer, ServerResponse>; 3] = [
    post(TIMESTAMP, |tsa, request| {
        tsa.respond(request)
            .unwrap_or_else(|refusal| error(refusal.status(), &refusal.to_string()))
    }),
    get(CERTIFICATE_CHAIN, |tsa, _| {
        let pem: Vec<String> = tsa.chain.iter().map(Certificate::to_pem).collect();
        ServerResponse::new(200, "application/pem-certificate-chain", pem.concat())
    }),
    get("/ping", |_, _| ServerResponse::text(200, "pong\n")),
];

impl Handler for TsaServer {
    fn handle(&self, request: &ServerRequest) -> ServerResponse {
        dispatch(&ENDPOINTS, self, request).unwrap_or_else(|no_endpoint| match no_endpoint {
            NoEndpoint::Path => error(404, "path not found"),
            NoEndpoint::Method(_) => error(405, "method not allowed"),
        })
    }
}

fn error(status: u16, message: &str) -> ServerResponse {
    ServerResponse::json(
        status,
        &serde_json::json!({ "code": status, "message": message }),
    )
}
