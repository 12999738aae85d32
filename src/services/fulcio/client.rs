//! Asks a certificate authority for a certificate: API v2 with a certificate
//! request, and API v1 where only that answers.
//!
//! The token goes in the header, where Fulcio looks for it, and in the body of
//! v2 as well, where some that speak its API look.
//!
//! *Not checked here:* the certificate: whose key, which chain, which SCT, which
//! identity (`sign/credential.rs`, before anything is signed).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::Url;

use super::wire::{
    Authority, Bytes, Credentials, FulcioResponseError, IssueRequest, MAX_ANSWER, MAX_CHAIN,
    PublicKeyV1, SIGNING_CERT_V1, SIGNING_CERT_V2, SigningCertRequest, SigningCertRequestV1,
    SigningCertificate,
};
use crate::http::client::{Client, HttpError, HttpRequest, HttpResponse, Service, error_message};
use gitseal_evidence::certificate::Certificate;

/// Errors of a certificate request to Fulcio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum FulcioError {
    /// No answer, or none that is Fulcio's.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The authority says no. Every fault of a token has the same words.
    #[error("{authority} rejected the certificate request (HTTP {status}): {message}")]
    Refused {
        authority: String,
        status: u16,
        message: String,
    },
    /// It answered with something that is no chain of certificates.
    #[error("{authority}: {reason}")]
    Answer {
        authority: String,
        reason: FulcioResponseError,
    },
    /// Neither API is there.
    #[error("{authority} is not a Fulcio server (HTTP {status})")]
    NotFulcio { authority: String, status: u16 },
}

/// The client of one certificate authority.
pub struct FulcioClient<'a>(Service<'a>);

impl<'a> FulcioClient<'a> {
    /// The authority at `base`, which may have a path.
    #[must_use]
    pub fn new(http: &'a Client, base: &'a Url) -> Self {
        Self(Service { http, base })
    }

    fn post(&self, path: &str, token: &str, body: &[u8]) -> Result<HttpResponse, HttpError> {
        let url = self.0.at(path);
        self.0.http.send(&HttpRequest {
            authorization: Some(("Bearer", token)),
            accept: "application/json, application/pem-certificate-chain",
            ..HttpRequest::post(
                "certificate request",
                &url,
                "application/json",
                body,
                MAX_ANSWER,
            )
        })
    }

    fn refused(&self, answer: &HttpResponse) -> FulcioError {
        match error_message(answer) {
            Some(message) => FulcioError::Refused {
                authority: self.0.name(),
                status: answer.status,
                message,
            },
            None => FulcioError::Http(answer.unexpected()),
        }
    }

    fn answer(&self, reason: FulcioResponseError) -> FulcioError {
        FulcioError::Answer {
            authority: self.0.name(),
            reason,
        }
    }

    /// `None` when there is no API v2.
    fn certify_v2(
        &self,
        application: &IssueRequest<'_>,
    ) -> Result<Option<Vec<Certificate>>, FulcioError> {
        let request = SigningCertRequest {
            credentials: Some(Credentials {
                oidc_identity_token: application.token.to_owned(),
            }),
            public_key_request: None,
            certificate_signing_request: Some(Bytes(application.request_pem.into())),
        };
        let answer = self.post(SIGNING_CERT_V2, application.token, &json(&request))?;
        match answer.status {
            200 | 201 => {}
            404 | 405 | 501 => return Ok(None),
            _ => return Err(self.refused(&answer)),
        }
        let pems = SigningCertificate::read(&answer.body).map_err(|error| self.answer(error))?;
        let chain = pems
            .iter()
            .map(|pem| one_block(pem))
            .collect::<Option<Vec<_>>>();
        self.chain(chain.unwrap_or_default()).map(Some)
    }

    fn certify_v1(&self, application: &IssueRequest<'_>) -> Result<Vec<Certificate>, FulcioError> {
        let request = SigningCertRequestV1 {
            public_key: Some(PublicKeyV1 {
                content: Bytes(application.spki.to_vec()),
                algorithm: "ecdsa".into(),
            }),
            signed_email_address: Bytes(application.proof.to_vec()),
            certificate_signing_request: None,
        };
        let answer = self.post(SIGNING_CERT_V1, application.token, &json(&request))?;
        match answer.status {
            200 | 201 => {}
            404 | 405 | 501 => {
                return Err(FulcioError::NotFulcio {
                    authority: self.0.name(),
                    status: answer.status,
                });
            }
            _ => return Err(self.refused(&answer)),
        }
        if answer.header("sct").is_some() {
            return Err(self.answer(FulcioResponseError::DetachedSct));
        }
        let text = std::str::from_utf8(&answer.body).unwrap_or_default();
        self.chain(pem_blocks(text).unwrap_or_default())
    }

    fn chain(&self, ders: Vec<Vec<u8>>) -> Result<Vec<Certificate>, FulcioError> {
        if !(2..=MAX_CHAIN).contains(&ders.len()) {
            return Err(self.answer(FulcioResponseError::ChainLength { found: ders.len() }));
        }
        ders.iter()
            .enumerate()
            .map(|(index, der)| {
                Certificate::from_der(der).map_err(|error| {
                    self.answer(FulcioResponseError::Certificate {
                        index,
                        reason: error.to_string(),
                    })
                })
            })
            .collect()
    }
}

impl Authority for FulcioClient<'_> {
    type Error = FulcioError;

    fn certify(&self, application: &IssueRequest<'_>) -> Result<Vec<Certificate>, FulcioError> {
        match self.certify_v2(application)? {
            Some(chain) => Ok(chain),
            None => self.certify_v1(application),
        }
    }
}

/// These messages are structs of strings: they are always JSON.
fn json(message: &impl serde::Serialize) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(serde_json::to_vec(message).unwrap_or_default())
}

/// The one `CERTIFICATE` block of a text. Lines may be of any length: some
/// authorities write none shorter than the certificate.
fn one_block(text: &str) -> Option<Vec<u8>> {
    let mut blocks = pem_blocks(text)?;
    let block = blocks.pop()?;
    blocks.is_empty().then_some(block)
}

/// All `CERTIFICATE` blocks of a text that holds nothing else but white space.
fn pem_blocks(text: &str) -> Option<Vec<Vec<u8>>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut rest = text.trim();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        if blocks.len() > MAX_CHAIN {
            return None;
        }
        let (base64, after) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        let base64: String = base64
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .collect();
        blocks.push(STANDARD.decode(base64).ok()?);
        rest = after.trim_start();
    }
    Some(blocks)
}

#[cfg(test)]
mod tests;
