#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::stub::{CannedResponse, RecordedRequest, Stub};
use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use p256::elliptic_curve::Generate as _;
use serde_json::json;

use url::Url;

use super::*;
use crate::{
    http::client::{Client, Timeouts},
    oidc::token::IdentityToken,
};

/// An issuer for one login, with one thing wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    OtherIssuer,
    OtherState,
    OtherNonce,
    OtherKey,
    OtherAudience,
    OtherRedirect,
    OtherIss,
    TwoCodes,
    Expired,
    Consent,
    Refuses,
    NoIdToken,
    Html,
    NoS256,
    IssAnnounced,
    AlgNone,
    SharedKey,
    DerSignature,
    OtherKid,
    OtherAccessToken,
    NoNonce,
}

/// RFC 2104, for a secret of more than one block.
fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let mut block = [0_u8; 64];
    block[..32].copy_from_slice(&Sha256::digest(secret));
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn query(text: &str) -> std::collections::HashMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

fn issuer(fault: Fault) -> Stub {
    let key = SigningKey::generate();
    let other = SigningKey::generate();
    let seen: Arc<Mutex<(String, String)>> = Arc::default();
    Stub::start(move |asked: &RecordedRequest| {
        let host = format!("http://{}", asked.header("host").unwrap());
        let (path, question) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match path {
            "/.well-known/openid-configuration" if fault == Fault::Html => {
                CannedResponse::new(200, "text/html", "<html>it works</html>")
            }
            "/.well-known/openid-configuration" => CannedResponse::json(
                200,
                &json!({
                    "issuer": if fault == Fault::OtherIssuer { "http://other.test" } else { &host },
                    "authorization_endpoint": format!("{host}/auth"),
                    "token_endpoint": format!("{host}/token"),
                    "jwks_uri": format!("{host}/keys"),
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                    "code_challenge_methods_supported":
                        if fault == Fault::NoS256 { json!(["plain"]) } else { json!(["S256"]) },
                    "authorization_response_iss_parameter_supported": fault == Fault::IssAnnounced,
                }),
            ),
            "/keys" => {
                let point = key.verifying_key().to_sec1_point(false);
                CannedResponse::json(
                    200,
                    &json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
                        "x": URL_SAFE_NO_PAD.encode(&point.as_bytes()[1..33]),
                        "y": URL_SAFE_NO_PAD.encode(&point.as_bytes()[33..])}]}),
                )
            }
            "/auth" => {
                let asked = query(question);
                assert_eq!(asked["prompt"], "none");
                assert_eq!(asked["login_hint"], "alice@example.test");
                assert_eq!(asked["code_challenge_method"], "S256");
                assert!(asked["scope"].split(' ').any(|scope| scope == "email"));
                *seen.lock().unwrap() = (asked["nonce"].clone(), asked["code_challenge"].clone());
                let state = match fault {
                    Fault::OtherState => "x",
                    _ => &asked["state"],
                };
                let to = match fault {
                    Fault::OtherRedirect => "http://127.0.0.1:1/auth/callback",
                    _ => &asked["redirect_uri"],
                };
                let mut to = Url::parse(to).unwrap();
                to.query_pairs_mut().append_pair("state", state);
                match fault {
                    Fault::Consent => return CannedResponse::new(200, "text/html", "<form>"),
                    Fault::Refuses => {
                        to.query_pairs_mut()
                            .append_pair("error", "login_required")
                            .append_pair("error_description", "who?\x1b[1m");
                    }
                    Fault::OtherIss => {
                        to.query_pairs_mut().append_pair("iss", "http://other.test");
                    }
                    _ => {}
                }
                to.query_pairs_mut().append_pair("code", "the-code");
                if fault == Fault::TwoCodes {
                    to.query_pairs_mut().append_pair("code", "other");
                }
                CannedResponse::new(302, "", "").with("Location", to)
            }
            "/token" => {
                let form = query(std::str::from_utf8(&asked.body).unwrap());
                assert_eq!(form["code"], "the-code");
                let (nonce, challenge) = seen.lock().unwrap().clone();
                let hash = <sha2::Sha256 as sha2::Digest>::digest(&form["code_verifier"]);
                assert_eq!(URL_SAFE_NO_PAD.encode(hash), challenge);
                let now = std::time::SystemTime::UNIX_EPOCH
                    .elapsed()
                    .unwrap()
                    .as_secs();
                let head = json!({
                    "alg": match fault {
                        Fault::AlgNone => "none",
                        Fault::SharedKey => "HS256",
                        _ => "ES256",
                    },
                    "kid": if fault == Fault::OtherKid { "2" } else { "1" },
                    "typ": "JWT",
                });
                let mut claims = json!({
                    "iss": host, "sub": "alice", "email": "alice@example.test", "email_verified": true,
                    "aud": if fault == Fault::OtherAudience { "other" } else { "sigstore" },
                    "nonce": if fault == Fault::OtherNonce { "x" } else { &nonce },
                    "iat": now, "exp": if fault == Fault::Expired { now - 10 } else { now + 60 },
                });
                if fault == Fault::NoNonce {
                    claims.as_object_mut().unwrap().remove("nonce");
                }
                if fault == Fault::OtherAccessToken {
                    let hash = <sha2::Sha256 as sha2::Digest>::digest("another");
                    claims["at_hash"] = json!(URL_SAFE_NO_PAD.encode(&hash[..16]));
                }
                let signed = format!(
                    "{}.{}",
                    URL_SAFE_NO_PAD.encode(head.to_string()),
                    URL_SAFE_NO_PAD.encode(claims.to_string())
                );
                let signer = if fault == Fault::OtherKey {
                    &other
                } else {
                    &key
                };
                let signature: Signature = signer.sign(signed.as_bytes());
                let signature = match fault {
                    Fault::AlgNone => Vec::new(),
                    Fault::DerSignature => signature.to_der().as_bytes().to_vec(),
                    // The public key's bytes as a shared secret.
                    Fault::SharedKey => {
                        let point = key.verifying_key().to_sec1_point(false);
                        hmac_sha256(point.as_bytes(), signed.as_bytes())
                    }
                    _ => signature.to_bytes().to_vec(),
                };
                let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
                let mut answer =
                    json!({"access_token": "a", "token_type": "bearer", "expires_in": 60});
                if fault != Fault::NoIdToken {
                    answer["id_token"] = json!(token);
                }
                CannedResponse::json(200, &answer)
            }
            other => panic!("asked for {other}"),
        }
    })
}

fn try_to_log_in(fault: Fault) -> Result<IdentityToken, LoginError> {
    let stub = issuer(fault);
    let http = Client::new(Timeouts::default(), || 0);
    let issuer = LoginConfig {
        http: &http,
        issuer: &format!("http://{}", stub.address),
        client_id: "sigstore",
        client_secret: None,
        connector_id: None,
        login_hint: None,
        offline_access: false,
    };
    log_in(&issuer, "alice@example.test", None).map(|granted| granted.token)
}

#[test]
fn a_headless_login_gives_a_token() {
    let token = match try_to_log_in(Fault::None) {
        Ok(token) => token,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(token.challenge(), "alice@example.test");
    assert_eq!(token.claims().audience, ["sigstore"]);
}

/// K2 (mix-up, nonce, PKCE) and K5 (the token's signature) as a login meets
/// them.
#[test]
fn k2_k5_a_login_with_one_thing_wrong_is_refused_for_that() {
    for (fault, words) in [
        (Fault::NoS256, "lack S256"),
        (Fault::IssAnnounced, "iss parameter is missing"),
        (Fault::AlgNone, ""),
        (Fault::SharedKey, ""),
        (Fault::DerSignature, ""),
        (Fault::OtherKid, ""),
        (Fault::OtherAccessToken, "at_hash"),
        (Fault::NoNonce, "nonce"),
        (
            Fault::OtherIssuer,
            "no valid OpenID Connect discovery document",
        ),
        (Fault::Html, "no valid OpenID Connect discovery document"),
        (Fault::OtherState, "the state parameter does not match"),
        (Fault::OtherRedirect, "another redirect URL"),
        (Fault::OtherIss, "the iss parameter does not match"),
        (Fault::TwoCodes, "duplicate parameter"),
        (Fault::Consent, "without a browser"),
        (Fault::Refuses, "login_required: who?\\x1b[1m"),
        (Fault::NoIdToken, "missing id_token"),
        (Fault::OtherNonce, "nonce"),
        (Fault::OtherAudience, "audience"),
        (Fault::OtherKey, "ignature"),
        (Fault::Expired, "expired"),
    ] {
        match try_to_log_in(fault) {
            Ok(_) => panic!("{fault:?}: logged in"),
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains(words), "{fault:?}: {said}");
            }
        }
    }
}
