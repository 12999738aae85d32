//! Fulcio's messages: what a client sends for a certificate and what the
//! authority answers, in both versions of its API, and the contract that the
//! HTTP client and an in-process authority share.
//!
//! Sources: `fulcio.proto` (`dev.sigstore.fulcio.v2.CA`), `fulcio_legacy.proto`
//! and what the servers in use really send. JSON is protobuf's: unknown members
//! are ignored, camelCase and snake_case names are both read, bytes are base64
//! of either alphabet, padded or not; what is written is camelCase and padded
//! standard base64.
//!
//! *Not checked here:* tokens and proofs of possession (`issue.rs`,
//! `server.rs`), and whether the certificate is the one asked for
//! (`sign/credential.rs`).

use std::fmt;

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use der::{Decode as _, Encode as _, asn1::BitString, pem::LineEnding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x509_cert::{
    name::Name,
    request::{CertReq, CertReqInfo, Version},
};

use gitseal_evidence::certificate::Certificate;

/// Where a client asks for a certificate, API v2.
pub const SIGNING_CERT_V2: &str = "/api/v2/signingCert";
/// The chains an authority issues under.
pub const TRUST_BUNDLE_V2: &str = "/api/v2/trustBundle";
/// The identity providers an authority believes.
pub const CONFIGURATION_V2: &str = "/api/v2/configuration";
/// Where a client asks for a certificate, API v1.
pub const SIGNING_CERT_V1: &str = "/api/v1/signingCert";
/// The authority's certificates as one PEM text, API v1.
pub const ROOT_CERT_V1: &str = "/api/v1/rootCert";
/// Whether the server is up.
pub const HEALTH: &str = "/healthz";

/// The content type of a chain in API v1.
pub const PEM_CHAIN_TYPE: &str = "application/pem-certificate-chain";

/// The largest request that is read, in bytes. A real one has some 3 KiB, most
/// of it the token.
pub const MAX_REQUEST: usize = 64 << 10;
/// The largest answer that is read, in bytes. A real one has 3 to 5 KiB.
pub const MAX_ANSWER: usize = 256 << 10;
/// The most certificates in an answer's chain.
pub const MAX_CHAIN: usize = 10;
/// The largest token that is read or sent, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;

/// Bytes in protobuf's JSON: base64.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const LENIENT: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let alphabet = if text.contains(['-', '_']) {
            &URL_SAFE
        } else {
            &STANDARD
        };
        GeneralPurpose::new(alphabet, LENIENT)
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not base64"))
    }
}

// ---------------------------------------------------------------- API v2

/// `POST /api/v2/signingCert`. Exactly one of the two ways to present a key.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SigningCertRequest {
    /// The token, when it is not in the `Authorization` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// A bare key with a signature over the challenge.
    #[serde(skip_serializing_if = "Option::is_none", alias = "public_key_request")]
    pub public_key_request: Option<PublicKeyRequest>,
    /// A PEM PKCS#10 request, whose own signature is the proof.
    #[serde(
        skip_serializing_if = "Option::is_none",
        alias = "certificate_signing_request"
    )]
    pub certificate_signing_request: Option<Bytes>,
}

/// The token in the body, which wins over the one in the header.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    /// The identity token, a JWT. Secret.
    #[serde(alias = "oidc_identity_token")]
    pub oidc_identity_token: String,
}

/// A key and the proof that its owner asks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct PublicKeyRequest {
    #[serde(alias = "public_key")]
    pub public_key: Option<PublicKeyV2>,
    /// The signature over the challenge: the token's email or subject.
    #[serde(alias = "proof_of_possession")]
    pub proof_of_possession: Bytes,
}

/// A key in API v2.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct PublicKeyV2 {
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub algorithm: serde_json::Value,
    pub content: String,
}

/// The answer to [`SigningCertRequest`], one of two.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SigningCertificate {
    /// The SCT is an extension of the certificate.
    #[serde(
        skip_serializing_if = "Option::is_none",
        alias = "signed_certificate_embedded_sct"
    )]
    pub signed_certificate_embedded_sct: Option<EmbeddedSct>,
    /// The SCT is beside the certificate, or there is none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        alias = "signed_certificate_detached_sct"
    )]
    pub signed_certificate_detached_sct: Option<DetachedSct>,
}

/// A certificate with its SCT inside.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EmbeddedSct {
    /// Leaf first, root last.
    pub chain: PemChain,
}

/// A certificate with its SCT beside it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DetachedSct {
    /// Leaf first, root last.
    pub chain: PemChain,
    /// The JSON answer of the CT log; empty when there is no CT log.
    #[serde(alias = "signed_certificate_timestamp")]
    pub signed_certificate_timestamp: Bytes,
}

/// Certificates as PEM texts, without a trailing newline each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PemChain {
    /// One PEM block a member.
    pub certificates: Vec<String>,
}

/// `GET /api/v2/trustBundle`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrustBundle {
    /// One chain for each issuing certificate: intermediates first, root last.
    pub chains: Vec<PemChain>,
}

/// `GET /api/v2/configuration`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// The identity providers, in no particular order.
    pub issuers: Vec<OidcIssuer>,
}

/// One identity provider that an authority believes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct OidcIssuer {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer_url: String,
    /// Or a pattern of addresses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wildcard_issuer_url: String,
    /// The audience that tokens must name.
    pub audience: String,
    /// The claim that a proof of possession signs.
    pub challenge_claim: String,
    pub spiffe_trust_domain: String,
    /// `email`, `uri`, `username`, `spiffe`, `ci-provider` …
    pub issuer_type: String,
    /// For `uri` and `username` issuers.
    pub subject_domain: String,
    /// Whether an unverified address is accepted.
    pub skip_email_verification: bool,
}

// ---------------------------------------------------------------- API v1

/// `POST /api/v1/signingCert`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct SigningCertRequestV1 {
    #[serde(skip_serializing_if = "Option::is_none", alias = "public_key")]
    pub public_key: Option<PublicKeyV1>,
    /// The signature over the challenge.
    #[serde(alias = "signed_email_address")]
    pub signed_email_address: Bytes,
    /// Or a PEM PKCS#10 request.
    #[serde(alias = "certificate_signing_request")]
    pub certificate_signing_request: Option<Bytes>,
}

/// A key in API v1.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct PublicKeyV1 {
    /// The SPKI in DER, or the same as PEM text.
    pub content: Bytes,
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub algorithm: serde_json::Value,
}

// ---------------------------------------------------------------- errors

/// The form of every error response, v1 and v2: `google.rpc.Status` as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct ErrorAnswer {
    pub code: i32,
    pub message: String,
    pub details: Vec<serde_json::Value>,
}

impl ErrorAnswer {
    /// An error as servers write it.
    #[must_use]
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }
}

/// Reasons to reject a response with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum FulcioResponseError {
    /// Not the JSON that was agreed.
    #[error("the response is not a signing certificate: {reason}")]
    NotJson { reason: String },
    /// Neither or both of the two forms.
    #[error("the response contains {forms} certificates, expected one")]
    Forms { forms: usize },
    /// The SCT would have to travel beside the certificate.
    #[error("the SCT is not embedded in the certificate, as a Git signature requires")]
    DetachedSct,
    /// The certificate is in no CT log.
    #[error("the certificate has no SCT; the certificate authority must use a CT log")]
    NoSct,
    /// A leaf alone, or too much.
    #[error("the certificate chain has {found} certificates; expected 2 to {MAX_CHAIN}")]
    ChainLength { found: usize },
    /// A certificate cannot be read.
    #[error("certificate {index} of the certificate chain is malformed: {reason}")]
    Certificate { index: usize, reason: String },
}

impl SigningCertificate {
    /// Reads the answer of API v2 and gives the PEM chain, leaf first.
    ///
    /// # Errors
    ///
    /// When it is not the message, or the SCT is not embedded.
    pub fn read(body: &[u8]) -> Result<Vec<String>, FulcioResponseError> {
        let answer: Self =
            serde_json::from_slice(body).map_err(|error| FulcioResponseError::NotJson {
                reason: error.to_string(),
            })?;
        match (
            answer.signed_certificate_embedded_sct,
            answer.signed_certificate_detached_sct,
        ) {
            (Some(embedded), None) => Ok(embedded.chain.certificates),
            (None, Some(detached)) if detached.signed_certificate_timestamp.0.is_empty() => {
                Err(FulcioResponseError::NoSct)
            }
            (None, Some(_)) => Err(FulcioResponseError::DetachedSct),
            (None, None) => Err(FulcioResponseError::Forms { forms: 0 }),
            (Some(_), Some(_)) => Err(FulcioResponseError::Forms { forms: 2 }),
        }
    }

    /// The message of an authority that embeds SCTs.
    #[must_use]
    pub fn embedded(certificates: Vec<String>) -> Self {
        Self {
            signed_certificate_embedded_sct: Some(EmbeddedSct {
                chain: PemChain { certificates },
            }),
            signed_certificate_detached_sct: None,
        }
    }
}

// ---------------------------------------------------------------- contract

/// The inputs of a certificate request. The token is a secret: this type
/// has no `Debug`.
pub struct IssueRequest<'a> {
    /// The identity token, a JWT.
    pub token: &'a str,
    /// The key's SPKI, DER.
    pub spki: &'a [u8],
    /// A PKCS#10 request for the key, PEM: the proof of possession of API v2.
    pub request_pem: &'a str,
    /// A signature over the challenge (the token's email or subject): the proof
    /// of possession of API v1.
    pub proof: &'a [u8],
}

/// Something that certifies a key for the subject of a token: the HTTP client,
/// and the reference server's inner state.
pub trait Authority {
    /// The reason for which it issues no certificate.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Gives the chain: leaf first, root last, at least two.
    ///
    /// # Errors
    ///
    /// When the authority refuses, cannot be reached, or answers with something
    /// else.
    fn certify(&self, application: &IssueRequest<'_>) -> Result<Vec<Certificate>, Self::Error>;
}

/// Errors of encoding or parsing a certificate request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum CsrError {
    /// No PEM block, or another one.
    #[error("expected one PEM block CERTIFICATE REQUEST")]
    Armour,
    /// Not the DER of a PKCS#10 request.
    #[error("the certificate request is not PKCS #10: {reason}")]
    Der { reason: String },
}

impl From<der::Error> for CsrError {
    fn from(error: der::Error) -> Self {
        Self::Der {
            reason: error.to_string(),
        }
    }
}

/// Makes a PKCS#10 request (RFC 2986 §4) for a P-256 key: no subject, no
/// attributes, since an authority takes the identity from the token alone.
/// `sign` makes an ASN.1 ECDSA-with-SHA-256 signature over the bytes it is
/// given.
///
/// # Errors
///
/// When `spki` is not a SubjectPublicKeyInfo, or `sign` fails.
pub fn encode_csr<E: From<CsrError>>(
    spki: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let info = unsigned_request(spki)?;
    let signature = sign(&info.to_der().map_err(CsrError::from)?)?;
    Ok(signed_request(info, &signature)?)
}

fn unsigned_request(spki: &[u8]) -> Result<CertReqInfo, CsrError> {
    Ok(CertReqInfo {
        version: Version::V1,
        subject: Name::default(),
        public_key: spki::SubjectPublicKeyInfoOwned::from_der(spki)?,
        attributes: der::asn1::SetOfVec::new(),
    })
}

fn signed_request(info: CertReqInfo, signature: &[u8]) -> Result<String, CsrError> {
    let request = CertReq {
        info,
        algorithm: spki::AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::ECDSA_WITH_SHA_256,
            parameters: None,
        },
        signature: BitString::from_bytes(signature)?,
    };
    let der = request.to_der()?;
    der::pem::encode_string("CERTIFICATE REQUEST", LineEnding::LF, &der)
        .map_err(|_| CsrError::Armour)
}

/// A certificate request as a server reads it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct CertificateRequest {
    /// The bytes that are signed, as they came.
    pub signed: Vec<u8>,
    /// The key, SPKI DER.
    pub spki: Vec<u8>,
    pub algorithm: der::asn1::ObjectIdentifier,
    pub signature: Vec<u8>,
}

/// Reads a PEM PKCS#10 request: labels `CERTIFICATE REQUEST` and `NEW
/// CERTIFICATE REQUEST`. Subject and attributes are ignored.
///
/// # Errors
///
/// When it is none. The signature is not checked here.
pub fn parse_csr(pem: &[u8]) -> Result<CertificateRequest, CsrError> {
    let (label, der) = der::pem::decode_vec(pem).map_err(|_| CsrError::Armour)?;
    if !matches!(label, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
        return Err(CsrError::Armour);
    }
    let request = CertReq::from_der(&der)?;
    Ok(CertificateRequest {
        // A request is strict DER, so what is encoded again is what was read;
        // if a peer's was not, its signature fails and it is refused.
        signed: request.info.to_der()?,
        spki: request.info.public_key.to_der()?,
        algorithm: request.algorithm.oid,
        signature: request
            .signature
            .as_bytes()
            .ok_or_else(|| CsrError::Der {
                reason: "the signature is not a whole number of bytes".into(),
            })?
            .to_vec(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use p256::ecdsa::{
        DerSignature, SigningKey,
        signature::{Signer as _, Verifier as _},
    };
    use p256::elliptic_curve::Generate as _;
    use spki::EncodePublicKey as _;

    #[test]
    fn a_request_reads_back_and_its_signature_holds() {
        let key = SigningKey::generate();
        let spki = key.verifying_key().to_public_key_der().unwrap();
        let pem = encode_csr(spki.as_bytes(), |bytes| {
            let signature: DerSignature = key.sign(bytes);
            Ok::<_, CsrError>(signature.as_bytes().to_vec())
        })
        .unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));
        let read = parse_csr(pem.as_bytes()).unwrap();
        assert_eq!(read.spki, spki.as_bytes());
        let signature = DerSignature::from_bytes(&read.signature).unwrap();
        key.verifying_key()
            .verify(&read.signed, &signature)
            .unwrap();
    }

    #[test]
    fn a_request_under_another_label_is_refused() {
        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(parse_csr(pem.as_bytes()).unwrap_err(), CsrError::Armour);
    }

    #[test]
    fn answers_are_told_apart() {
        let chain = |json: &str| SigningCertificate::read(json.as_bytes());
        assert_eq!(
            chain(r#"{"signedCertificateEmbeddedSct":{"chain":{"certificates":["a","b"]}},"x":1}"#)
                .unwrap(),
            ["a", "b"]
        );
        let detached = |sct| {
            format!(
                r#"{{"signedCertificateDetachedSct":{{"chain":{{"certificates":["a"]}},"signedCertificateTimestamp":"{sct}"}}}}"#
            )
        };
        assert_eq!(
            chain(&detached("")).unwrap_err(),
            FulcioResponseError::NoSct
        );
        assert_eq!(
            chain(&detached("e30=")).unwrap_err(),
            FulcioResponseError::DetachedSct
        );
        assert_eq!(
            chain("{}").unwrap_err(),
            FulcioResponseError::Forms { forms: 0 }
        );
        assert!(matches!(
            chain("<html>").unwrap_err(),
            FulcioResponseError::NotJson { .. }
        ));
    }

    #[test]
    fn requests_are_read_as_leniently_as_protobuf_json() {
        let read: SigningCertRequest = serde_json::from_str(
            r#"{"public_key_request":{"publicKey":{"algorithm":2,"content":"pem"},"proofOfPossession":"-_8"},"new":[]}"#,
        )
        .unwrap();
        let key = read.public_key_request.unwrap();
        assert_eq!(key.proof_of_possession.0, [0xfb, 0xff]);
        assert_eq!(key.public_key.unwrap().content, "pem");
        assert!(serde_json::from_str::<Bytes>("\"a b\"").is_err());
        let v1: SigningCertRequestV1 = serde_json::from_str(
            r#"{"publicKey":{"content":"AQ==","algorithm":"ecdsa"},"signedEmailAddress":"Ag==","certificateSigningRequest":null}"#,
        )
        .unwrap();
        assert_eq!(v1.public_key.unwrap().content.0, [1]);
        assert!(v1.certificate_signing_request.is_none());
    }
}
