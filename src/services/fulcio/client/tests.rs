#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::stub::{CannedResponse, RecordedRequest, Stub};
use serde_json::json;

use super::*;
use crate::http::client::{HttpReason, Timeouts};

/// The certificate that a real Fulcio gave out in a laboratory, valid for ten
/// minutes of 2026-11-21.
const LEAF: &str = include_str!("leaf.pem");

fn certify(
    path: &str,
    answer: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
) -> Result<Vec<Certificate>, FulcioError> {
    let stub = Stub::start(answer);
    let client = Client::new(Timeouts::default(), || 0);
    FulcioClient::new(&client, &stub.url.join(path).unwrap()).certify(&IssueRequest {
        token: "a.b.c",
        spki: b"spki",
        request_pem: "csr",
        proof: b"proof",
    })
}

fn embedded(pems: &[&str]) -> CannedResponse {
    CannedResponse::json(
        200,
        &json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}),
    )
}

#[test]
fn v2_gives_a_chain() {
    let chain = certify("/", |asked| {
        assert_eq!(asked.target, "/api/v2/signingCert");
        assert_eq!(asked.header("authorization"), Some("Bearer a.b.c"));
        let body: SigningCertRequest = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body.certificate_signing_request.unwrap().0, b"csr");
        assert_eq!(body.credentials.unwrap().oidc_identity_token, "a.b.c");
        embedded(&[LEAF.trim_end(), LEAF])
    })
    .unwrap();
    assert_eq!(chain.len(), 2);
}

#[test]
fn one_long_line_of_base64_is_read() {
    let base64: String = LEAF.lines().filter(|line| !line.starts_with('-')).collect();
    let long = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
    let chain = certify("/", move |_| embedded(&[&long, LEAF])).unwrap();
    assert_eq!(chain[0].der(), chain[1].der());
}

#[test]
fn v1_is_asked_where_v2_is_not() {
    for status in [404, 501] {
        let chain = certify("/ca/", move |asked| match asked.target.as_str() {
            "/ca/api/v2/signingCert" => {
                CannedResponse::json(status, &json!({"code": 5, "message": "Not Found"}))
            }
            "/ca/api/v1/signingCert" => {
                let body: SigningCertRequestV1 = serde_json::from_slice(&asked.body).unwrap();
                assert_eq!(body.public_key.unwrap().content.0, b"spki");
                assert_eq!(body.signed_email_address.0, b"proof");
                CannedResponse::new(
                    201,
                    "application/pem-certificate-chain",
                    format!("{}\n{}", LEAF.trim_end(), LEAF.trim_end()),
                )
            }
            other => panic!("asked for {other}"),
        })
        .unwrap();
        assert_eq!(chain.len(), 2);
    }
    let error = certify("/", |_| CannedResponse::new(404, "text/html", "<html>")).unwrap_err();
    assert!(
        matches!(error, FulcioError::NotFulcio { status: 404, .. }),
        "{error}"
    );
}

#[test]
fn a_certificate_without_its_sct_inside_is_refused() {
    let detached = |sct: &'static str| {
        certify("/", move |_| {
            CannedResponse::json(
                200,
                &json!({"signedCertificateDetachedSct": {"chain": {"certificates": [LEAF, LEAF]},
                        "signedCertificateTimestamp": sct}}),
            )
        })
        .unwrap_err()
    };
    assert!(matches!(
        detached(""),
        FulcioError::Answer {
            reason: FulcioResponseError::NoSct,
            ..
        }
    ));
    assert!(matches!(
        detached("e30="),
        FulcioError::Answer {
            reason: FulcioResponseError::DetachedSct,
            ..
        }
    ));
    let error = certify("/", |asked| {
        if asked.target.contains("v2") {
            return CannedResponse::new(404, "", "");
        }
        CannedResponse::new(201, "application/pem-certificate-chain", LEAF).with("SCT", "e30=")
    })
    .unwrap_err();
    assert!(matches!(
        error,
        FulcioError::Answer {
            reason: FulcioResponseError::DetachedSct,
            ..
        }
    ));
}

#[test]
fn answers_that_are_no_chain_are_refused() {
    let reason = |told: fn() -> CannedResponse| match certify("/", move |_| told()).unwrap_err() {
        FulcioError::Answer { reason, .. } => reason,
        other => panic!("{other}"),
    };
    assert_eq!(
        reason(|| embedded(&[LEAF])),
        FulcioResponseError::ChainLength { found: 1 }
    );
    assert_eq!(
        reason(|| embedded(&[LEAF; MAX_CHAIN + 1])),
        FulcioResponseError::ChainLength {
            found: MAX_CHAIN + 1
        }
    );
    assert_eq!(
        reason(|| embedded(&[
            LEAF,
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----"
        ])),
        FulcioResponseError::ChainLength { found: 0 }
    );
    assert!(matches!(
        reason(|| embedded(&[
            LEAF,
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"
        ])),
        FulcioResponseError::Certificate { index: 1, .. }
    ));
    assert!(matches!(
        reason(|| CannedResponse::new(200, "text/html", "<html>welcome</html>")),
        FulcioResponseError::NotJson { .. }
    ));
}

#[test]
fn refusals_and_error_pages_are_passed_on() {
    let message = "There was an error processing the identity token";
    let error = certify("/", move |_| {
        CannedResponse::json(400, &json!({"code": 3, "message": message, "details": []}))
    })
    .unwrap_err();
    let FulcioError::Refused {
        status: 400,
        message: said,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(said, message);
    assert!(!error.to_string().contains("a.b.c"));
    let error = certify("/", |_| {
        CannedResponse::new(403, "text/html", "<html>WAF</html>")
    })
    .unwrap_err();
    assert!(matches!(
        error,
        FulcioError::Http(HttpError {
            reason: HttpReason::Status { status: 403, .. },
            ..
        })
    ));
}

#[test]
fn a_busy_authority_is_asked_again() {
    let chain = certify("/", |asked| match asked.number {
        0 => CannedResponse::new(429, "text/plain", "").with("Retry-After", "0"),
        _ => embedded(&[LEAF, LEAF]),
    })
    .unwrap();
    assert_eq!(chain.len(), 2);
}

#[test]
fn no_token_is_sent_without_tls() {
    let client = Client::new(Timeouts::default(), || 0);
    let url = Url::parse("http://fulcio.example").unwrap();
    let error = FulcioClient::new(&client, &url).certify(&IssueRequest {
        token: "a.b.c",
        spki: b"spki",
        request_pem: "csr",
        proof: b"proof",
    });
    assert!(matches!(
        error,
        Err(FulcioError::Http(HttpError {
            reason: HttpReason::Plaintext,
            ..
        }))
    ));
}
