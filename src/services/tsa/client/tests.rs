#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

use crate::stub::{CannedResponse, RecordedRequest, Stub};
use std::{fs, path::Path, process::Command};

use super::*;
use crate::http::client::{HttpReason, Timeouts};

fn ask(
    answer: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
) -> Result<Vec<u8>, TsaError> {
    let stub = Stub::start(answer);
    let url = stub.url.join("/api/v1/timestamp").unwrap();
    TsaClient::new(&Client::new(Timeouts::default(), || 0), &url).timestamp(b"signature")
}

fn reply(der: Vec<u8>) -> CannedResponse {
    CannedResponse::new(200, REPLY_TYPE, der)
}

#[test]
fn answers_that_are_no_timestamp_are_refused() {
    let error =
        ask(|_| CannedResponse::new(200, "text/html; charset=utf-8", "<html>")).unwrap_err();
    assert!(
        matches!(&error, TsaError::MediaType { found, .. } if found == "text/html"),
        "{error}"
    );
    let error = ask(|_| CannedResponse::new(404, "text/plain", "no")).unwrap_err();
    assert!(matches!(
        error,
        TsaError::Http(HttpError {
            reason: HttpReason::Status { status: 404, .. },
            ..
        })
    ));
    for der in [
        vec![],
        vec![0x30, 0x00],
        b"<html>".to_vec(),
        vec![0x30; 200],
    ] {
        let error = ask(move |_| reply(der.clone())).unwrap_err();
        assert!(matches!(error, TsaError::Answer { .. }), "{error}");
    }
    let error = ask(|_| reply(vec![0; MAX_ANSWER + 1])).unwrap_err();
    assert!(matches!(
        error,
        TsaError::Http(HttpError {
            reason: HttpReason::TooLarge { .. },
            ..
        })
    ));
}

fn openssl(directory: &Path, arguments: &[&str]) -> bool {
    Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A timestamp authority made of openssl; `None` (with a word why) without it.
fn openssl_authority() -> Option<tempfile::TempDir> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("tsa.cnf"),
        "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=tsa\n\
         [ext]\nextendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n\
         [tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert=cert.pem\nsigner_key=key.pem\n\
         certs=cert.pem\nsigner_digest=sha256\ndefault_policy=1.2.3\ndigests=sha256\n\
         ess_cert_id_alg=sha256\n",
    )
    .unwrap();
    fs::write(directory.path().join("serial"), "01\n").unwrap();
    let arguments = "req -x509 -config tsa.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    if openssl(directory.path(), &arguments) {
        Some(directory)
    } else {
        eprintln!("skipped: openssl is not here or cannot make a key");
        None
    }
}

fn stamp(directory: &Path, request: &[u8]) -> Vec<u8> {
    fs::write(directory.join("query"), request).unwrap();
    let arguments = "ts -reply -config tsa.cnf -queryfile query -out reply";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    assert!(openssl(directory, &arguments));
    fs::read(directory.join("reply")).unwrap()
}

#[test]
fn openssl_answers_and_only_this_request() {
    let Some(directory) = openssl_authority() else {
        return;
    };
    let path = directory.path().to_owned();
    let token = ask(move |asked| {
        assert_eq!(asked.header("content-type"), Some(QUERY_TYPE));
        reply(stamp(&path, &asked.body))
    })
    .unwrap();
    assert_eq!(token[0], 0x30);

    // An answer to another request: its nonce, or its imprint, is another one.
    let imprint: [u8; 32] = Sha256::digest(b"signature").into();
    let nonce = [7; NONCE];
    for other in [
        encode_request(&imprint, Some(&nonce), true),
        encode_request(&[0; 32], Some(&nonce), true),
    ] {
        let path = directory.path().to_owned();
        let error = ask(move |_| reply(stamp(&path, &other))).unwrap_err();
        assert!(matches!(error, TsaError::Answer { .. }), "{error}");
    }
    // A refusal: openssl takes no SHA-1.
    let path = directory.path().to_owned();
    let error = ask(move |asked| {
        let mut request = asked.body.clone();
        // The digest's identifier ends in 01 (sha256); 02 is sha384.
        let sha256 = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
        let at = request
            .windows(sha256.len())
            .position(|window| window == sha256)
            .unwrap();
        request[at + 8] = 0x02;
        reply(stamp(&path, &request))
    })
    .unwrap_err();
    assert!(matches!(error, TsaError::Answer { .. }), "{error}");
}
