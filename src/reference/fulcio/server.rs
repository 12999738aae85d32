//! A Fulcio server: both versions of the HTTP API, over a certificate authority
//! that other code can also call without a socket.
//!
//! Paths, statuses and error bodies are those of Fulcio, so that its clients work.
//! Two things differ on purpose. The reason to reject a token is written to the
//! server's log only. A CT log that does not respond causes an error response
//! within the CT log's time limit instead of a connection that hangs.
//!
//! Source: `fulcio.proto`, `fulcio_legacy.proto`, and the behavior of Fulcio
//! 1.8.
//!
//! *Not checked here:* tokens (`tokens.rs`), and the identity in them
//! (`principal.rs`).

use super::{
    issue::{IssueError, IssuedBy, TbsTemplate, sct_list},
    principal::Principal,
    tokens::{TokenVerifier, TokenVerifyError},
};
use gitseal_evidence::{
    UnixTime, armor, asn1,
    keys::{KeyAlgorithm, PublicKey, SignatureAlgorithm},
    refusal::{Reason, codes},
};
use gitseal_services::der::object_identifier;
use gitseal_services::fulcio::wire::{
    CONFIGURATION_V2, Configuration, ErrorAnswer, HEALTH, MAX_REQUEST, PEM_CHAIN_TYPE, PemChain,
    ROOT_CERT_V1, SIGNING_CERT_V1, SIGNING_CERT_V2, SigningCertRequest, SigningCertRequestV1,
    SigningCertificate, TRUST_BUNDLE_V2, TrustBundle, parse_csr,
};
use gitseal_services::http::{
    endpoint::{Endpoint, NoEndpoint, dispatch, get, post},
    message::{ServerRequest, ServerResponse},
    server::Handler,
};
use gitseal_services::{Clock, Entropy, SignKey};

/// Submits a chain (precertificate first, root last, DER) to a CT log and returns
/// the SCT in its TLS encoding.
pub type Submit = Box<dyn Fn(&[Vec<u8>]) -> Result<Vec<u8>, SubmitError> + Send + Sync>;
/// Writes a line without secrets to the server's log.
pub type LogLine = Box<dyn Fn(&str) + Send + Sync>;

/// Reasons that the CT log returns no SCT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The CT log rejected the precertificate.
    #[error("the CT log rejected the precertificate: {0}")]
    Refused(String),
    /// The CT log did not respond in time.
    #[error("the CT log cannot be reached: {0}")]
    Unavailable(String),
}

/// A certificate authority: its keys, its trusted issuers and its CT log.
pub struct FulcioState {
    /// The CA certificates in DER, the issuing one first, the root last.
    pub chain: Vec<Vec<u8>>,
    /// The issuing certificate's subject and key.
    pub issuer: IssuedBy,
    /// Signs with the issuing key.
    pub sign: SignKey,
    pub tokens: TokenVerifier,
    pub submit: Submit,
    pub clock: Clock,
    /// The source of serial numbers.
    pub entropy: Entropy,
    pub log: LogLine,
}

/// The public key of a request, and the proof that the client holds its private key.
pub enum ProofOfPossession<'a> {
    /// A PKCS#10 request in PEM, signed with the key.
    Request(&'a [u8]),
    /// A key, and a signature over the challenge.
    Challenge {
        /// The SPKI in DER, or PEM of it or of a PKCS#1 RSA key.
        key: &'a [u8],
        signature: &'a [u8],
    },
}

/// Reasons to reject a certificate request. The message is sent to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuanceError {
    /// The token does not verify, or does not name an identity.
    #[error("There was an error processing the identity token")]
    Token {
        /// The reason for the server's log; the client does not receive it.
        reason: String,
    },
    /// The key is missing or malformed.
    #[error("The public key supplied in the request could not be parsed")]
    Key,
    /// The key is too weak.
    #[error("The public key supplied in the request is insecure")]
    WeakKey,
    /// The client does not prove that it holds the key.
    #[error("The signature supplied in the request could not be verified")]
    ProofOfPossession,
    /// The request is not PKCS#10 in PEM.
    #[error("The certificate signing request could not be parsed")]
    Request,
    /// The request is signed with another hash than the one that belongs to the key.
    #[error("signing algorithm not permitted: {0}")]
    Algorithm(String),
    /// The request is not JSON, or contains two keys.
    #[error("{0}")]
    Malformed(String),
    /// A certificate cannot contain the identity in the token.
    #[error("{0}")]
    Unfit(String),
    /// The CT log rejected the precertificate.
    #[error("Error entering certificate in CTL")]
    CtServer(String),
    /// The CT log did not respond.
    #[error("The certificate transparency log is unavailable; try again later")]
    CtLogUnavailable(String),
    /// The authority failed to sign.
    #[error("error communicating with CA backend")]
    Internal(String),
}

impl IssuanceError {
    /// Returns the HTTP status and the gRPC code.
    fn codes(&self) -> (u16, i32) {
        match self {
            Self::Token { .. }
            | Self::Key
            | Self::WeakKey
            | Self::ProofOfPossession
            | Self::Request
            | Self::Algorithm(_)
            | Self::Malformed(_)
            | Self::Unfit(_) => (400, 3),
            Self::CtServer(_) | Self::Internal(_) => (500, 13),
            Self::CtLogUnavailable(_) => (503, 14),
        }
    }

    /// Returns the message for the server's log, with the reason.
    fn detail(&self) -> String {
        match self {
            Self::Token { reason }
            | Self::CtServer(reason)
            | Self::CtLogUnavailable(reason)
            | Self::Internal(reason) => format!("{self}: {reason}"),
            _ => self.to_string(),
        }
    }
}

impl From<TokenVerifyError> for IssuanceError {
    fn from(refusal: TokenVerifyError) -> Self {
        Self::Token {
            reason: refusal.to_string(),
        }
    }
}

impl From<IssueError> for IssuanceError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Alphabet { .. } | IssueError::TooLong { .. } => {
                Self::Unfit(error.to_string())
            }
            IssueError::Time(_) => Self::Internal(error.to_string()),
        }
    }
}

impl FulcioState {
    /// Issues a certificate: the chain in DER, leaf first, root last.
    ///
    /// # Errors
    ///
    /// Returns [`IssuanceError`] for the first check that fails. No certificate is
    /// issued then, though the CT log may contain a precertificate.
    pub fn issue(
        &self,
        token: &str,
        proof: &ProofOfPossession<'_>,
    ) -> Result<Vec<Vec<u8>>, IssuanceError> {
        let now = (self.clock)();
        let (issuer, claims) = self.tokens.verify(token, now)?;
        let principal = issuer
            .principal(&claims)
            .map_err(|refusal| IssuanceError::Token {
                reason: format!("{}: {refusal}", issuer.url),
            })?;
        let key = match proof {
            ProofOfPossession::Request(pem) => requested_key(pem)?,
            ProofOfPossession::Challenge { key, signature } => {
                let key = read_key(key)?;
                key.verify(
                    key.default_algorithm(),
                    principal.challenge.as_bytes(),
                    signature,
                )
                .map_err(|_| IssuanceError::ProofOfPossession)?;
                key
            }
        };
        self.certificate(&principal, &key, now)
    }

    fn certificate(
        &self,
        principal: &Principal,
        key: &PublicKey,
        now: UnixTime,
    ) -> Result<Vec<Vec<u8>>, IssuanceError> {
        let mut serial = [0; 20];
        (self.entropy)(&mut serial)
            .map_err(|error| IssuanceError::Internal(format!("no entropy: {error}")))?;
        let draft = TbsTemplate::new(principal, key.spki(), &self.issuer, serial, now)?;
        let mut chain = vec![draft.precertificate(&self.sign)?];
        chain.extend(self.chain.iter().cloned());
        let sct = (self.submit)(&chain).map_err(|error| match error {
            SubmitError::Refused(reason) => IssuanceError::CtServer(reason),
            SubmitError::Unavailable(reason) => IssuanceError::CtLogUnavailable(reason),
        })?;
        let list = sct_list(&[sct])
            .ok_or_else(|| IssuanceError::CtServer("the SCT is too long".to_owned()))?;
        if let Some(leaf) = chain.first_mut() {
            *leaf = draft.certificate(&list, &self.sign)?;
        }
        (self.log)(&format!(
            "fulcio: certificate issued subject={:?}",
            principal.challenge
        ));
        Ok(chain)
    }

    fn create_signing_certificate(
        &self,
        request: &ServerRequest,
    ) -> Result<ServerResponse, IssuanceError> {
        let header = request
            .headers
            .first("authorization")
            .map(|value| match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
                _ => value,
            })
            .unwrap_or("");
        if request.body.len() > MAX_REQUEST {
            return Err(IssuanceError::Malformed(
                "http: request body too large".into(),
            ));
        }
        let body: &[u8] = if request.body.is_empty() {
            b"{}"
        } else {
            &request.body
        };
        let malformed = |error: serde_json::Error| IssuanceError::Malformed(error.to_string());
        if request.path == SIGNING_CERT_V1 {
            let message: SigningCertRequestV1 = serde_json::from_slice(body).map_err(malformed)?;
            let key = message.public_key.unwrap_or_default().content.0;
            let csr = message.certificate_signing_request.unwrap_or_default().0;
            let chain = self.issue(
                header,
                &choose(&csr, &key, &message.signed_email_address.0)?,
            )?;
            let pem: Vec<String> = chain.iter().map(|der| pem(der)).collect();
            return Ok(ServerResponse::new(201, PEM_CHAIN_TYPE, pem.join("\n")));
        }
        let message: SigningCertRequest = serde_json::from_slice(body).map_err(malformed)?;
        let token = message
            .credentials
            .as_ref()
            .map(|credentials| credentials.oidc_identity_token.as_str())
            .filter(|token| !token.is_empty())
            .unwrap_or(header);
        let (key, signature) = message
            .public_key_request
            .map(|request| {
                let key = request.public_key.unwrap_or_default().content;
                (key.into_bytes(), request.proof_of_possession.0)
            })
            .unwrap_or_default();
        let csr = message.certificate_signing_request.unwrap_or_default().0;
        let chain = self.issue(token, &choose(&csr, &key, &signature)?)?;
        let response = SigningCertificate::embedded(chain.iter().map(|der| pem(der)).collect());
        Ok(json(200, &response))
    }

    fn bundle(&self) -> Vec<String> {
        self.chain.iter().map(|der| pem(der)).collect()
    }

    fn signing_cert(&self, request: &ServerRequest) -> ServerResponse {
        self.create_signing_certificate(request)
            .unwrap_or_else(|refusal| {
                (self.log)(&format!(
                    "fulcio: request rejected reason={:?}",
                    refusal.detail()
                ));
                let (status, code) = refusal.codes();
                json(status, &ErrorAnswer::new(code, refusal.to_string()))
            })
    }
}

const ENDPOINTS: [Endpoint<FulcioState, ServerResponse>; 6] = [
    post(SIGNING_CERT_V1, FulcioState::signing_cert),
    post(SIGNING_CERT_V2, FulcioState::signing_cert),
    get(TRUST_BUNDLE_V2, |fulcio, _| {
        let certificates = fulcio.bundle();
        let chains = vec![PemChain { certificates }];
        json(200, &TrustBundle { chains })
    }),
    get(CONFIGURATION_V2, |fulcio, _| {
        let issuers = fulcio.tokens.issuers().public();
        json(200, &Configuration { issuers })
    }),
    get(ROOT_CERT_V1, |fulcio, _| {
        ServerResponse::new(200, PEM_CHAIN_TYPE, fulcio.bundle().join("\n"))
    }),
    get(HEALTH, |_, _| {
        ServerResponse::json(200, &serde_json::json!({ "status": "SERVING" }))
    }),
];

impl Handler for FulcioState {
    fn handle(&self, request: &ServerRequest) -> ServerResponse {
        dispatch(&ENDPOINTS, self, request).unwrap_or_else(|no_endpoint| match no_endpoint {
            NoEndpoint::Path => json(404, &ErrorAnswer::new(5, "Not Found")),
            NoEndpoint::Method(_) => json(501, &ErrorAnswer::new(12, "Method Not Allowed")),
        })
    }
}

fn choose<'a>(
    csr: &'a [u8],
    key: &'a [u8],
    signature: &'a [u8],
) -> Result<ProofOfPossession<'a>, IssuanceError> {
    match (csr.is_empty(), key.is_empty()) {
        (false, false) => Err(IssuanceError::Malformed(
            "proto: oneof dev.sigstore.fulcio.v2.CreateSigningCertificateRequest.key is already set"
                .into(),
        )),
        (false, true) => Ok(ProofOfPossession::Request(csr)),
        // A missing key is reported after the token is verified.
        (true, _) => Ok(ProofOfPossession::Challenge { key, signature }),
    }
}

/// Encodes a certificate as PEM without the last line feed, as Fulcio does.
fn pem(der: &[u8]) -> String {
    let mut text = armor::encode_label("CERTIFICATE", der);
    text.truncate(text.trim_end().len());
    text
}

fn json(status: u16, value: &impl serde::Serialize) -> ServerResponse {
    match serde_json::to_vec(value) {
        Ok(body) => ServerResponse::new(status, "application/json", body),
        Err(_) => ServerResponse::empty(500),
    }
}

/// Returns the key of a request that is signed with this key and the hash that
/// belongs to it.
fn requested_key(pem: &[u8]) -> Result<PublicKey, IssuanceError> {
    let request = parse_csr(pem).map_err(|_| IssuanceError::Request)?;
    let key = strong(PublicKey::from_spki(&request.spki).map_err(unusable)?)?;
    let wanted = key.default_algorithm();
    match SignatureAlgorithm::from_oid(&request.algorithm) {
        Some(found) if found == wanted => {}
        found => {
            let name = found.map_or_else(|| request.algorithm.to_string(), |a| a.to_string());
            return Err(IssuanceError::Algorithm(format!(
                "{}, {name}",
                key.algorithm()
            )));
        }
    }
    key.verify(wanted, &request.signed, &request.signature)
        .map_err(|_| IssuanceError::ProofOfPossession)?;
    Ok(key)
}

/// Parses a key in DER, PEM `PUBLIC KEY`, or PEM `RSA PUBLIC KEY` (PKCS#1).
fn read_key(text: &[u8]) -> Result<PublicKey, IssuanceError> {
    let key = if text.starts_with(b"-----BEGIN") {
        let trimmed = text.trim_ascii();
        let (label, der) = der::pem::decode_vec(trimmed).map_err(|_| IssuanceError::Key)?;
        match label {
            "PUBLIC KEY" => PublicKey::from_spki(&der),
            "RSA PUBLIC KEY" => PublicKey::from_spki(&rsa_spki(&der)),
            _ => return Err(IssuanceError::Key),
        }
    } else {
        PublicKey::from_spki(text)
    };
    strong(key.map_err(unusable)?)
}

fn unusable(why: Reason) -> IssuanceError {
    match why.code() {
        codes::KEY_RSA_SIZE => IssuanceError::WeakKey,
        _ => IssuanceError::Key,
    }
}

/// Wraps a PKCS#1 RSA key in an SPKI (RFC 3279 §2.3.1).
fn rsa_spki(pkcs1: &[u8]) -> Vec<u8> {
    // 1.2.840.113549.1.1.1
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let algorithm = asn1::tlv(
        asn1::SEQUENCE,
        &[&object_identifier(RSA), &asn1::tlv(asn1::NULL, &[])],
    );
    let bits = asn1::tlv(asn1::BIT_STRING, &[&[0], pkcs1]);
    asn1::tlv(asn1::SEQUENCE, &[&algorithm, &bits])
}

/// Checks that Fulcio allows a key: the NIST curves, Ed25519, and RSA of three
/// sizes with the exponent 65537.
fn strong(key: PublicKey) -> Result<PublicKey, IssuanceError> {
    match key.algorithm() {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 | KeyAlgorithm::Ed25519 => {
            Ok(key)
        }
        KeyAlgorithm::Rsa {
            bits: 2048 | 3072 | 4096,
        } => {
            // RSAPublicKey ends with the exponent: INTEGER 65537.
            if key.raw_key().ends_with(&[0x02, 0x03, 0x01, 0x00, 0x01]) {
                Ok(key)
            } else {
                Err(IssuanceError::WeakKey)
            }
        }
        KeyAlgorithm::Rsa { .. } => Err(IssuanceError::WeakKey),
    }
}
