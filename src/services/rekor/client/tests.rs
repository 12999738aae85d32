#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::stub::{CannedResponse, RecordedRequest, Stub};
use p256::elliptic_curve::Generate as _;
use serde_json::{Value, json};
use spki::EncodePublicKey as _;

use super::*;
use crate::http::client::{HttpReason, Timeouts};

const DIGEST: [u8; 32] = [1; 32];
const TREE: &str = "11fb2d42ce3a4620";

fn http() -> Client {
    Client::new(Timeouts::default(), || 0)
}

fn checkpoint(tree: &str) -> String {
    let tree = u64::from_str_radix(tree, 16).unwrap();
    let root = STANDARD.encode([3; 32]);
    format!(
        "rekor.test - {tree}\n1\n{root}\n\n\u{2014} rekor.test {}\n",
        STANDARD.encode([1; 12])
    )
}

fn id(body: &[u8]) -> String {
    format!("{TREE}{}", hex(&leaf_hash(body)))
}

fn rest(id: &str, body: &[u8]) -> Value {
    json!({id: {
        "body": STANDARD.encode(body), "integratedTime": 5, "logID": "ab".repeat(32), "logIndex": 7,
        "verification": {
            "inclusionProof": {"checkpoint": checkpoint(TREE), "hashes": [], "logIndex": 0,
                               "rootHash": "03".repeat(32), "treeSize": 1},
            "signedEntryTimestamp": STANDARD.encode(b"set"),
        },
    }})
}

fn upload(
    answer: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
) -> Result<LogEntry, RekorClientError> {
    upload_to(&Stub::start(answer))
}

fn upload_to(stub: &Stub) -> Result<LogEntry, RekorClientError> {
    RekorClient::new(&http(), &stub.url).upload_v1(&DIGEST, b"sig", b"cert")
}

#[test]
fn an_upload_gives_the_entry() {
    let entry = upload(|asked| {
        assert_eq!(asked.target, "/api/v1/log/entries");
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!(asked.body, hashedrekord_v1(&DIGEST, b"sig", b"cert"));
        let id = id(&asked.body);
        CannedResponse::json(201, &rest(&id, &asked.body))
            .with("ETag", &id)
            .with("Location", format!("/api/v1/log/entries/{id}"))
    })
    .unwrap();
    assert_eq!((entry.log_index, entry.integrated_time), (7, 5));
    assert_eq!(entry.set.as_deref(), Some(&b"set"[..]));
}

#[test]
fn a_log_below_a_path_is_reached() {
    let stub = Stub::start(|asked| {
        assert_eq!(asked.target, "/rekor/api/v1/log/entries");
        CannedResponse::json(201, &rest(&id(&asked.body), &asked.body))
    });
    let base = stub.url.join("/rekor/").unwrap();
    RekorClient::new(&http(), &base)
        .upload_v1(&DIGEST, b"sig", b"cert")
        .unwrap();
}

#[test]
fn an_answer_lost_is_met_again_as_a_conflict() {
    let stub = Stub::hanging_up(1, |asked| match asked.method.as_str() {
        "POST" => CannedResponse::json(409, &json!({"code": 409, "message": "there"})).with(
            "Location",
            format!("/api/v1/log/entries/{}", id(&asked.body)),
        ),
        _ => {
            let body = hashedrekord_v1(&DIGEST, b"sig", b"cert");
            assert_eq!(asked.target, format!("/api/v1/log/entries/{}", id(&body)));
            CannedResponse::json(200, &rest(&id(&body), &body))
        }
    });
    assert_eq!(upload_to(&stub).unwrap().log_index, 7);
}

#[test]
fn busy_then_good_is_good() {
    upload(|asked| match asked.number {
        0 => CannedResponse::new(503, "text/html", "<html>later</html>").with("Retry-After", "0"),
        _ => CannedResponse::json(201, &rest(&id(&asked.body), &asked.body)),
    })
    .unwrap();
}

#[test]
fn a_conflict_elsewhere_is_not_followed() {
    for location in [
        "http://other.test/api/v1/log/entries/ID",
        "/api/v2/log/entries/ID",
        "/api/v1/log/entries/x",
        "/api/v1/log/entries/",
    ] {
        let error = upload(move |asked| {
            let to = location.replace("ID", &id(&asked.body));
            CannedResponse::json(409, &json!({})).with("Location", to)
        })
        .unwrap_err();
        assert!(
            matches!(error, RekorClientError::Elsewhere { .. }),
            "{location}: {error}"
        );
    }
    let error = upload(|_| {
        CannedResponse::json(409, &json!({}))
            .with("Location", format!("/api/v1/log/entries/{}", id(b"other")))
    })
    .unwrap_err();
    assert!(matches!(
        error,
        RekorClientError::OtherEntry { what: "id", .. }
    ));
}

#[test]
fn another_entry_is_refused() {
    // A consistent entry of something else.
    let error = upload(|_| {
        CannedResponse::json(
            201,
            &rest(
                &id(b"{\"kind\":\"x\",\"apiVersion\":\"1\"}"),
                b"{\"kind\":\"x\",\"apiVersion\":\"1\"}",
            ),
        )
    })
    .unwrap_err();
    assert!(
        matches!(
            error,
            RekorClientError::OtherEntry {
                what: "body's leaf hash",
                ..
            }
        ),
        "{error}"
    );
    // The right body under another id.
    let error =
        upload(|asked| CannedResponse::json(201, &rest(&id(b"x"), &asked.body))).unwrap_err();
    assert!(
        matches!(&error, RekorClientError::Entry { reason, .. } if reason.code() == "entry-id-mismatch"),
        "{error}"
    );
    // Header and map disagree.
    let error = upload(|asked| {
        CannedResponse::json(201, &rest(&id(&asked.body), &asked.body)).with("ETag", id(b"x"))
    })
    .unwrap_err();
    assert!(matches!(
        error,
        RekorClientError::OtherEntry { what: "ETag", .. }
    ));
    // Two entries.
    let error = upload(|asked| {
        let mut both = rest(&id(&asked.body), &asked.body);
        both["x"] = json!({});
        CannedResponse::json(201, &both)
    })
    .unwrap_err();
    assert!(
        matches!(&error, RekorClientError::Entry { reason, .. } if reason.code() == "entry-json"),
        "{error}"
    );
}

#[test]
fn refusals_are_passed_on_in_the_logs_words() {
    let error = upload(|_| {
        CannedResponse::json(
            400,
            &json!({"code": 400, "message": "error processing\nentry: \u{1b}[1m"}),
        )
    })
    .unwrap_err();
    let RekorClientError::Refused {
        status: 400,
        message,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(message, "error processing entry: \\x1b[1m");
    let error =
        upload(|_| CannedResponse::new(404, "text/html", "<html>nginx</html>")).unwrap_err();
    assert!(
        matches!(&error, RekorClientError::Http(HttpError { reason: HttpReason::Status { status: 404, excerpt }, .. }) if excerpt == "<html>nginx</html>"),
        "{error}"
    );
    let error =
        upload(|_| CannedResponse::new(201, "application/json", vec![b' '; MAX_ANSWER + 1]))
            .unwrap_err();
    assert!(matches!(
        error,
        RekorClientError::Http(HttpError {
            reason: HttpReason::TooLarge { .. },
            ..
        })
    ));
}

#[test]
fn a_search_gives_ids_and_nothing_else() {
    let ids = [id(b"b"), id(b"a"), id(b"b")];
    let told = ids.clone();
    let stub = Stub::start(move |asked| {
        assert_eq!(asked.target, "/api/v1/index/retrieve");
        let asked: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(asked["publicKey"]["format"], "x509");
        let pem = STANDARD
            .decode(asked["publicKey"]["content"].as_str().unwrap())
            .unwrap();
        assert!(pem.starts_with(b"-----BEGIN CERTIFICATE-----\n"));
        CannedResponse::json(200, &json!(told))
    });
    let found = RekorClient::new(&http(), &stub.url)
        .search(b"cert")
        .unwrap();
    let mut expected = vec![ids[0].clone(), ids[1].clone()];
    expected.sort_unstable();
    assert_eq!(found, expected);

    for bad in [json!(["../../x"]), json!({"a": 1}), json!([1])] {
        let stub = Stub::start(move |_| CannedResponse::json(200, &bad));
        let error = RekorClient::new(&http(), &stub.url)
            .search(b"cert")
            .unwrap_err();
        assert!(matches!(error, RekorClientError::Shape { .. }), "{error}");
    }
    let many = vec![id(b"a"); MAX_FOUND + 1];
    let stub = Stub::start(move |_| CannedResponse::json(200, &json!(many)));
    let error = RekorClient::new(&http(), &stub.url)
        .search(b"cert")
        .unwrap_err();
    assert!(matches!(error, RekorClientError::TooMany { .. }), "{error}");
}

#[test]
fn an_entry_is_the_one_that_was_asked_for() {
    let body = hashedrekord_v1(&DIGEST, b"sig", b"cert");
    let stub = {
        let body = body.clone();
        Stub::start(move |asked| {
            if asked.target.ends_with(&"0".repeat(64)) {
                return CannedResponse::new(404, "", "");
            }
            CannedResponse::json(200, &rest(&id(&body), &body))
        })
    };
    let http = http();
    let client = RekorClient::new(&http, &stub.url);
    assert!(client.entry(&id(&body)).unwrap().is_some());
    assert!(client.entry(&hex(&leaf_hash(&body))).unwrap().is_some());
    assert!(client.entry(&"0".repeat(64)).unwrap().is_none());
    for other in [
        id(b"x"),
        format!("{}{}", "0".repeat(16), hex(&leaf_hash(&body))),
    ] {
        let error = client.entry(&other).unwrap_err();
        assert!(
            matches!(error, RekorClientError::OtherEntry { what: "id", .. }),
            "{error}"
        );
    }
    assert!(matches!(
        client.entry("../x").unwrap_err(),
        RekorClientError::NoEntry { .. }
    ));
}

fn v2(body: &[u8]) -> Value {
    json!({"logIndex": "1", "logId": {"keyId": STANDARD.encode([9; 32])},
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"}, "integratedTime": "0",
        "inclusionPromise": null,
        "inclusionProof": {"logIndex": "1", "rootHash": STANDARD.encode([3; 32]), "treeSize": "2",
            "hashes": [STANDARD.encode([4; 32])],
            "checkpoint": {"envelope": "rekor.test\n2\n…"}},
        "canonicalizedBody": STANDARD.encode(body)})
}

#[test]
fn a_v2_upload_gives_the_entry_or_says_why_not() {
    let key = p256::ecdsa::SigningKey::generate();
    let key =
        PublicKey::from_spki(key.verifying_key().to_public_key_der().unwrap().as_bytes()).unwrap();
    let body = hashedrekord_v2(&DIGEST, b"sig", b"cert", &key).unwrap();
    let upload = |told: Box<dyn Fn() -> CannedResponse + Send + Sync>| {
        let stub = Stub::start(move |asked| {
            assert_eq!(asked.target, "/api/v2/log/entries");
            let asked: Value = serde_json::from_slice(&asked.body).unwrap();
            let request = &asked["hashedRekordRequestV002"];
            assert_eq!(request["digest"], STANDARD.encode(DIGEST));
            assert_eq!(
                request["signature"]["verifier"]["keyDetails"],
                "PKIX_ECDSA_P256_SHA_256"
            );
            told()
        });
        RekorClient::new(&http(), &stub.url).upload_v2(&DIGEST, b"sig", b"cert", &key)
    };
    let good = v2(&body);
    let entry = upload(Box::new(move || CannedResponse::json(201, &good))).unwrap();
    assert_eq!((entry.log_index, entry.version.as_str()), (1, "0.0.2"));
    assert_eq!(entry.proof.unwrap().tree_size, 2);

    let error = upload(Box::new(|| CannedResponse::json(201, &v2(b"{}")))).unwrap_err();
    assert!(
        matches!(error, RekorClientError::OtherEntry { .. }),
        "{error}"
    );
    let error = upload(Box::new(|| {
        CannedResponse::json(409, &json!({"code": 6, "message": "there"})).with("X-Log-Index", "12")
    }))
    .unwrap_err();
    assert!(matches!(error, RekorClientError::Duplicate { index, .. } if index == "12"));
    let error = upload(Box::new(|| CannedResponse::json(201, &json!("x")))).unwrap_err();
    assert!(matches!(error, RekorClientError::Shape { .. }), "{error}");
}
