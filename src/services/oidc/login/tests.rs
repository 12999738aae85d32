//! The flows against an issuer on loopback that does one thing differently.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::stub::{CannedResponse, RecordedRequest, Stub};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use p256::elliptic_curve::Generate as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    http::client::{HttpReason, Timeouts},
    oidc::{browser, device, headless, refresh, token::IdentityTokenError},
};

const ALICE: &str = "alice@example.test";

/// How the token is signed.
#[derive(Clone, Copy, Default)]
enum Sign {
    #[default]
    Properly,
    /// `alg: none`, and an empty signature.
    Not,
    /// HS256 with these of the public key's bytes: the SEC1 point.
    Hmac,
    /// ES256 with the ASN.1 form of the signature.
    Der,
}

/// What is different. Objects are laid over what the issuer would say; `null`
/// takes a member away.
#[derive(Clone, Default)]
struct Different {
    discovery: Value,
    head: Value,
    claims: Value,
    answer: Value,
    /// What the token endpoint says before it grants, one for each question.
    before: Vec<Value>,
    /// What the redirect carries besides.
    redirect: Vec<(&'static str, &'static str)>,
    sign: Sign,
}

fn lay_over(base: &mut Value, over: &Value) {
    for (name, value) in over.as_object().into_iter().flatten() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
}

fn form(text: &str) -> std::collections::HashMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// RFC 2104, for a key of at most 64 bytes or its digest.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(text)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn token(key: &SigningKey, different: &Different, host: &str, nonce: &str) -> String {
    let point = key.verifying_key().to_sec1_point(false);
    let algorithm = match different.sign {
        Sign::Properly | Sign::Der => "ES256",
        Sign::Not => "none",
        Sign::Hmac => "HS256",
    };
    let mut head = json!({"alg": algorithm, "kid": "1", "typ": "JWT"});
    lay_over(&mut head, &different.head);
    let mut claims = json!({
        "iss": host, "sub": "alice", "email": ALICE, "email_verified": true, "aud": "sigstore",
        "nonce": nonce, "iat": now(), "exp": now() + 60,
    });
    lay_over(&mut claims, &different.claims);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(head.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature: Signature = key.sign(signed.as_bytes());
    let signature = match different.sign {
        Sign::Properly => signature.to_bytes().to_vec(),
        Sign::Not => Vec::new(),
        Sign::Hmac => hmac(point.as_bytes(), signed.as_bytes()),
        Sign::Der => signature.to_der().as_bytes().to_vec(),
    };
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn stub(different: Different) -> Stub {
    let key = SigningKey::generate();
    let nonce: Mutex<String> = Mutex::default();
    let before = Mutex::new(different.before.clone().into_iter());
    Stub::start(move |asked: &RecordedRequest| {
        let host = format!("http://{}", asked.header("host").unwrap());
        let (path, question) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match path {
            "/.well-known/openid-configuration" => {
                let mut discovery = json!({
                    "issuer": host,
                    "authorization_endpoint": format!("{host}/auth"),
                    "token_endpoint": format!("{host}/token"),
                    "device_authorization_endpoint": format!("{host}/device"),
                    "jwks_uri": format!("{host}/keys"),
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                    "code_challenge_methods_supported": ["S256"],
                });
                lay_over(&mut discovery, &different.discovery);
                CannedResponse::json(200, &discovery)
            }
            "/keys" => {
                let point = key.verifying_key().to_sec1_point(false);
                let (x, y) = point.as_bytes()[1..].split_at(32);
                CannedResponse::json(
                    200,
                    &json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
                        "kid": "1", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}]}),
                )
            }
            "/auth" => {
                let asked = form(question);
                nonce.lock().unwrap().clone_from(&asked["nonce"]);
                let mut to = Url::parse(&asked["redirect_uri"]).unwrap();
                to.query_pairs_mut()
                    .append_pair("state", &asked["state"])
                    .append_pair("code", "the-code")
                    .extend_pairs(&different.redirect);
                CannedResponse::new(302, "", "").with("Location", to)
            }
            "/device" => CannedResponse::json(
                200,
                &json!({"device_code": "the-device-code", "user_code": "ABCD-EFGH",
                    "verification_uri": format!("{host}/type"), "expires_in": 300, "interval": 5}),
            ),
            "/token" => {
                if let Some(no) = before.lock().unwrap().next() {
                    return CannedResponse::json(400, &no);
                }
                let token = token(&key, &different, &host, &nonce.lock().unwrap());
                let mut answer = json!({"access_token": "a", "token_type": "bearer",
                    "expires_in": 60, "id_token": token});
                lay_over(&mut answer, &different.answer);
                CannedResponse::json(200, &answer)
            }
            other => panic!("asked for {other}"),
        }
    })
}

fn with_issuer<T>(stub: &Stub, run: impl FnOnce(&LoginConfig<'_>) -> T) -> T {
    let http = Client::new(Timeouts::default(), || 0);
    run(&LoginConfig {
        http: &http,
        issuer: &format!("http://{}", stub.address),
        client_id: "sigstore",
        client_secret: None,
        connector_id: None,
        login_hint: None,
        offline_access: true,
    })
}

fn log_in(different: Different) -> Result<LoginTokens, LoginError> {
    let stub = stub(different);
    with_issuer(&stub, |issuer| headless::log_in(issuer, ALICE, None))
}

#[track_caller]
fn said<T>(result: Result<T, LoginError>) -> LoginError {
    match result {
        Ok(_) => panic!("logged in"),
        Err(error) => error,
    }
}

#[track_caller]
fn refused_for(different: Different, words: &str) {
    let error = said(log_in(different)).to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn k2_a_nonce_that_is_missing_or_wrong_is_refused() {
    for nonce in [Value::Null, json!("x")] {
        let claims = json!({ "nonce": nonce });
        let different = Different {
            claims,
            ..Different::default()
        };
        refused_for(different, "nonce");
    }
}

#[test]
fn k2_an_issuer_whose_methods_lack_s256_is_refused() {
    for methods in [json!([]), json!(["plain"])] {
        let discovery = json!({ "code_challenge_methods_supported": methods });
        let different = Different {
            discovery,
            ..Different::default()
        };
        refused_for(different, "lack S256");
    }
}

#[test]
fn k2_an_announced_iss_must_be_there() {
    let stub = stub(Different {
        discovery: json!({"authorization_response_iss_parameter_supported": true}),
        ..Different::default()
    });
    let error = said(with_issuer(&stub, |issuer| {
        headless::log_in(issuer, ALICE, None)
    }));
    assert!(
        error.to_string().contains("the iss parameter is missing"),
        "{error}"
    );
    let asked = stub.asked();
    assert!(asked.iter().all(|asked| asked.target != "/token"));
}

#[test]
fn k5_a_token_that_holds_is_taken() {
    let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest("a")[..16]);
    let claims = json!({ "at_hash": hash });
    let granted = log_in(Different {
        claims,
        ..Different::default()
    });
    let token = granted
        .map(|granted| granted.token)
        .map_err(|error| error.to_string());
    let token = token.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(token.check(now(), Some("sigstore")), Ok(()));
}

#[test]
fn k5_a_signature_that_is_none_is_refused() {
    // Also where the issuer's description offers such an algorithm.
    for offered in [json!(["ES256"]), json!(["ES256", "HS256", "none"])] {
        for sign in [Sign::Not, Sign::Hmac, Sign::Der] {
            let different = Different {
                discovery: json!({ "id_token_signing_alg_values_supported": offered }),
                sign,
                ..Different::default()
            };
            let error = said(log_in(different));
            assert!(
                matches!(
                    error,
                    LoginError::Token { .. } | LoginError::Exchange { .. }
                ),
                "{error}"
            );
        }
    }
}

#[test]
fn k5_a_key_that_is_not_in_the_set_is_refused() {
    // The signature itself is right: only the name of its key is not.
    let head = json!({"kid": "2"});
    refused_for(
        Different {
            head,
            ..Different::default()
        },
        "ignature",
    );
}

#[test]
fn k5_claims_that_do_not_fit_are_refused() {
    for (claims, words) in [
        (json!({"aud": "other"}), "audience"),
        (json!({"aud": ["sigstore", "other"]}), "audience"),
        (json!({"iss": "http://other.test"}), "issuer"),
        (json!({"exp": now() - 10}), "expired"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "at_hash"),
    ] {
        refused_for(
            Different {
                claims,
                ..Different::default()
            },
            words,
        );
    }
}

#[test]
fn k5_an_address_that_is_not_verified_is_not_used() {
    let claims = json!({"email_verified": false});
    let granted = log_in(Different {
        claims,
        ..Different::default()
    });
    let token = granted.unwrap_or_else(|error| panic!("{error}")).token;
    assert!(matches!(
        token.check(now(), Some("sigstore")),
        Err(IdentityTokenError::Unverified { .. })
    ));
}

/// What a browser does with an address.
type Open<'a> = dyn FnMut(&Url) -> Result<(), String> + 'a;

/// Somebody who does not sleep, and whose browser is a closure.
#[derive(Default)]
struct Somebody<'a> {
    told: Vec<String>,
    pauses: Vec<Duration>,
    /// After how many pauses they leave.
    patience: Option<usize>,
    browser: Option<Box<Open<'a>>>,
}

impl LoginPrompt for Somebody<'_> {
    fn tell(&mut self, line: &str) {
        self.told.push(line.to_owned());
    }
    fn open(&mut self, url: &Url) -> Result<(), String> {
        match &mut self.browser {
            Some(browser) => browser(url),
            None => Err("there is none".to_owned()),
        }
    }
    fn ask(&mut self, _: &str) -> Result<String, String> {
        Err("nobody".to_owned())
    }
    fn can_be_asked(&self) -> bool {
        false
    }
    fn can_be_told(&self) -> bool {
        true
    }
    fn pause(&mut self, how_long: Duration) -> bool {
        self.pauses.push(how_long);
        self.patience.is_none_or(|most| self.pauses.len() < most)
    }
}

fn on_a_device(different: Different) -> (Result<LoginTokens, LoginError>, Somebody<'static>) {
    let stub = stub(different);
    let mut person = Somebody::default();
    let result = with_issuer(&stub, |issuer| device::log_in(issuer, &mut person));
    (result, person)
}

fn before(errors: &[&str]) -> Different {
    let before = errors
        .iter()
        .map(|error| json!({ "error": error }))
        .collect();
    Different {
        before,
        ..Different::default()
    }
}

#[test]
fn k4_a_code_is_asked_for_until_it_is_typed() {
    let (result, person) = on_a_device(before(&["authorization_pending"; 2]));
    let granted = result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(granted.token.challenge(), ALICE);
    assert_eq!(person.pauses, [Duration::from_secs(5); 2]);
    assert!(person.told.iter().any(|line| line.contains("ABCD-EFGH")));
}

#[test]
fn k4_slow_down_lengthens_the_pause() {
    let errors = [
        "authorization_pending",
        "slow_down",
        "authorization_pending",
    ];
    let (result, person) = on_a_device(before(&errors));
    assert!(result.is_ok());
    assert_eq!(person.pauses, [5, 10, 10].map(Duration::from_secs));
}

#[test]
fn k4_what_ends_a_login_on_a_device_is_named() {
    let (result, _) = on_a_device(before(&["expired_token"]));
    assert_eq!(said(result), LoginError::CodeExpired { seconds: 300 });
    let (result, _) = on_a_device(before(&["access_denied"]));
    assert!(matches!(said(result), LoginError::Refused { error, .. } if error == "access_denied"));
    let discovery = json!({"device_authorization_endpoint": null});
    let (result, _) = on_a_device(Different {
        discovery,
        ..Different::default()
    });
    assert!(matches!(said(result), LoginError::NoDeviceLogin { .. }));
}

#[test]
fn k4_a_code_is_not_asked_for_when_nobody_waits() {
    let stub = stub(before(&["authorization_pending"; 9]));
    let mut person = Somebody {
        patience: Some(2),
        ..Somebody::default()
    };
    let result = with_issuer(&stub, |issuer| device::log_in(issuer, &mut person));
    assert_eq!(said(result), LoginError::Abandoned);
    let asked = stub.asked();
    let looks = asked.iter().filter(|asked| asked.target == "/token");
    assert_eq!(looks.count(), 2);
}

fn renew(different: Different) -> Result<LoginTokens, LoginError> {
    let claims = json!({"nonce": null});
    let stub = stub(Different {
        claims,
        ..different
    });
    let result = with_issuer(&stub, |issuer| refresh::renew(issuer, "old"));
    let asked = stub.asked();
    let asked = asked.iter().find(|asked| asked.target == "/token").unwrap();
    let form = form(std::str::from_utf8(&asked.body).unwrap());
    assert_eq!(form["grant_type"], "refresh_token");
    assert_eq!(form["refresh_token"], "old");
    result
}

#[test]
fn k4_a_rotated_refresh_token_replaces_the_old_one() {
    for (answer, expected) in [(json!({"refresh_token": "new"}), "new"), (json!({}), "old")] {
        let granted = renew(Different {
            answer,
            ..Different::default()
        });
        let granted = granted.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(granted.refresh.unwrap().as_str(), expected);
    }
    let error = said(renew(before(&["invalid_grant"])));
    assert!(error.to_string().contains("invalid_grant"), "{error}");
}

/// Sends bytes to the listener. The answer, as far as one comes.
fn send(port: u16, bytes: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    drop(stream.write_all(bytes.as_bytes()));
    let (mut answer, mut some) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut some) {
        answer.extend_from_slice(&some[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(port: u16, host: &str, target: &str) -> String {
    send(
        port,
        &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    )
}

/// Where the answer to a GET sends a browser.
fn followed(url: &Url) -> Url {
    let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    let answer = get(
        port,
        &format!("{host}:{port}"),
        &format!("{}{query}", url.path()),
    );
    let location = answer
        .lines()
        .find_map(|line| line.strip_prefix("Location: "));
    Url::parse(location.unwrap_or_else(|| panic!("{answer}"))).unwrap()
}

/// Logs in with a browser that, sent back by the issuer, sends what `strays`
/// does, and then the answer. Gives the status lines that `strays` got.
fn in_a_browser(strays: fn(u16, &Url) -> Vec<String>) -> Vec<String> {
    let stub = stub(Different::default());
    let issuer_port = stub.address.port();
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut threads = Vec::new();
    let mut person = Somebody {
        browser: Some(Box::new(|entry| {
            let url = followed(entry);
            assert_eq!(url.port(), Some(issuer_port));
            let back = followed(&url);
            let got = Arc::clone(&got);
            threads.push(thread::spawn(move || {
                let port = back.port().unwrap();
                got.lock().unwrap().extend(strays(port, &back));
                let target = format!("{}?{}", back.path(), back.query().unwrap());
                get(port, &format!("localhost:{port}"), &target)
            }));
            Ok(())
        })),
        ..Somebody::default()
    };
    let options = browser::BrowserLoginOptions {
        redirect_url: None,
        autoclose: None,
        timeout: Duration::from_secs(20),
        is_own: |_, _| Some(true),
    };
    let result = with_issuer(&stub, |issuer| {
        browser::log_in(issuer, &options, &mut person)
    });
    drop(person);
    let granted = result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(granted.token.challenge(), ALICE);
    for thread in threads {
        let page = thread.join().unwrap();
        assert!(page.contains("You are logged in"), "{page}");
    }
    let got = got.lock().unwrap();
    let status = |answer: &String| answer.split(' ').nth(1).unwrap_or("").to_owned();
    got.iter().map(status).collect()
}

fn target(back: &Url) -> String {
    format!("{}?{}", back.path(), back.query().unwrap())
}

#[test]
fn k1_a_stray_request_does_not_end_the_login() {
    let got = in_a_browser(|port, back| {
        let host = format!("localhost:{port}");
        let path = back.path();
        let twice = format!("{}&state=x", target(back));
        vec![
            get(port, &host, "/favicon.ico"),
            get(port, &host, path),
            get(port, &host, &format!("{path}?code=x&state=x")),
            get(port, &host, &format!("{path}?error=access_denied&state=x")),
            get(port, &host, &twice),
        ]
    });
    assert_eq!(got, ["404", "400", "400", "400", "400"]);
}

#[test]
fn k3_only_the_right_host_method_and_path_are_an_answer() {
    let got = in_a_browser(|port, back| {
        let (host, target) = (format!("localhost:{port}"), target(back));
        let query = back.query().unwrap();
        vec![
            get(port, &format!("rebound.test:{port}"), &target),
            get(port, "localhost", &target),
            get(port, &format!("{host}\r\nHost: {host}"), &target),
            send(port, &format!("GET {target} HTTP/1.1\r\n\r\n")),
            send(
                port,
                &format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"),
            ),
            send(
                port,
                &format!("HEAD {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            ),
            get(port, &host, &format!("/other?{query}")),
            get(port, &host, &format!("//other.test/auth/callback?{query}")),
        ]
    });
    assert_eq!(
        got,
        ["421", "400", "400", "400", "405", "405", "404", "404"]
    );
}

#[test]
fn k3_a_body_is_neither_read_nor_waited_for() {
    let got = in_a_browser(|port, back| {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: localhost:{port}\r\n",
            target(back)
        );
        vec![
            send(
                port,
                &format!("{head}Content-Length: 1000000000000\r\n\r\nx"),
            ),
            send(
                port,
                &format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffff\r\nx"),
            ),
        ]
    });
    assert_eq!(got, ["413", "413"]);
}

#[test]
fn k3_idle_connections_do_not_keep_the_answer_away() {
    let got = in_a_browser(|port, back| {
        let idle: Vec<TcpStream> = (0..200)
            .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
            .collect();
        let answer = get(port, &format!("localhost:{port}"), back.path());
        drop(idle);
        vec![answer]
    });
    assert_eq!(got, ["400"]);
}

#[test]
fn k1_an_address_is_shown_first_and_taken_back_without_a_browser() {
    let stub = stub(Different::default());
    let mut person = Somebody::default();
    let options = browser::BrowserLoginOptions {
        redirect_url: None,
        autoclose: None,
        timeout: Duration::from_secs(20),
        is_own: |_, _| Some(true),
    };
    let error = said(with_issuer(&stub, |issuer| {
        browser::log_in(issuer, &options, &mut person)
    }));
    assert!(matches!(error, LoginError::NoBrowser { .. }), "{error}");
    let [words, address, taken_back] = person.told.as_slice() else {
        panic!("{:?}", person.told);
    };
    assert!(words.contains("If it does not open, visit:"));
    assert!(address.starts_with("http://"), "{address}");
    assert!(taken_back.contains("the URL above is no longer valid"));
}

fn nobody_comes(redirect_url: Option<&str>) -> LoginError {
    let stub = stub(Different::default());
    let mut person = Somebody {
        browser: Some(Box::new(|_| Ok(()))),
        ..Somebody::default()
    };
    let options = browser::BrowserLoginOptions {
        redirect_url,
        autoclose: None,
        timeout: Duration::from_millis(100),
        is_own: |_, _| Some(true),
    };
    said(with_issuer(&stub, |issuer| {
        browser::log_in(issuer, &options, &mut person)
    }))
}

#[test]
fn k1_a_login_nobody_comes_to_ends() {
    assert_eq!(nobody_comes(None), LoginError::NobodyCame { seconds: 0 });
}

#[test]
fn k3_an_address_that_is_not_this_machine_is_not_listened_at() {
    for address in [
        "http://0.0.0.0:8080/auth/callback",
        "http://example.test:8080/auth/callback",
        "http://localhost.example.test:8080/",
        "http://[::]:8080/",
        "https://localhost:8080/auth/callback",
    ] {
        let error = nobody_comes(Some(address));
        assert!(
            matches!(error, LoginError::Address { .. }),
            "{address}: {error}"
        );
    }
}

/// Neither a code nor a token, and nothing that decides where those go, travels to
/// another machine without TLS.
#[test]
fn a_login_leaves_this_machine_only_over_tls() {
    type Flow = fn(&LoginConfig<'_>) -> Result<LoginTokens, LoginError>;
    let flows: [Flow; 4] = [
        |issuer| headless::log_in(issuer, ALICE, None),
        |issuer| device::log_in(issuer, &mut Somebody::default()),
        |issuer| {
            let options = browser::BrowserLoginOptions {
                redirect_url: None,
                autoclose: None,
                timeout: Duration::from_secs(1),
                is_own: |_, _| Some(true),
            };
            browser::log_in(issuer, &options, &mut Somebody::default())
        },
        |issuer| refresh::renew(issuer, "the-refresh-token"),
    ];
    for flow in flows {
        let http = Client::new(Timeouts::default(), || 0);
        let config = LoginConfig {
            http: &http,
            issuer: "http://issuer.example",
            client_id: "sigstore",
            client_secret: None,
            connector_id: None,
            login_hint: None,
            offline_access: true,
        };
        let error = said(flow(&config));
        let LoginError::Http(error) = &error else {
            panic!("{error}");
        };
        assert_eq!(error.reason, HttpReason::Plaintext);
        for endpoint in [
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "device_authorization_endpoint",
        ] {
            let stub = stub(Different {
                discovery: json!({ endpoint: "http://other.example/x" }),
                ..Different::default()
            });
            let error = said(with_issuer(&stub, flow)).to_string();
            let is_refused = error.contains("on another machine and has no TLS")
                // The keys are fetched with the discovery document.
                || endpoint == "jwks_uri" && error.contains("without TLS");
            assert!(is_refused, "{endpoint}: {error}");
            let asked = stub.asked();
            assert!(asked.iter().all(|asked| asked.target != "/token"));
        }
    }
}

/// Runs a login whose opener hands its address to `browser`, in a thread.
fn with_opener(
    is_own: fn(std::net::SocketAddr, u16) -> Option<bool>,
    browser: fn(Url) -> Vec<String>,
) -> (Result<LoginTokens, LoginError>, Vec<String>) {
    let stub = stub(Different::default());
    let mut thread = None;
    let mut person = Somebody {
        browser: Some(Box::new(|entry| {
            let entry = entry.clone();
            thread = Some(thread::spawn(move || browser(entry)));
            Ok(())
        })),
        ..Somebody::default()
    };
    let options = browser::BrowserLoginOptions {
        redirect_url: None,
        autoclose: None,
        timeout: Duration::from_secs(2),
        is_own,
    };
    let result = with_issuer(&stub, |issuer| {
        browser::log_in(issuer, &options, &mut person)
    });
    drop(person);
    (result, thread.unwrap().join().unwrap())
}

/// The status of the answer to a GET of a URL, or to `method` in its place.
fn status(method: &str, url: &Url) -> String {
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
    let request = format!(
        "{method} {}{query} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 0\r\n\r\n",
        url.path()
    );
    let answer = send(port, &request);
    answer.split(' ').nth(1).unwrap_or("").to_owned()
}

/// Other users read the arguments of the browser: nothing of the login is in them.
#[test]
fn the_browser_gets_a_one_time_address() {
    let (result, seen) = with_opener(
        |_, _| Some(true),
        |entry| {
            let mut seen = vec![entry.to_string()];
            // Neither of these uses it.
            seen.push(status("HEAD", &entry));
            seen.push(status("POST", &entry));
            let issuer = followed(&entry);
            seen.push(issuer.to_string());
            // The address is used, and the login goes on.
            seen.push(status("GET", &entry));
            let back = followed(&issuer);
            seen.push(status("GET", &back));
            seen
        },
    );
    result.unwrap_or_else(|error| panic!("{error}"));
    let [entry, head, post, issuer, again, end] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    let entry = Url::parse(entry).unwrap();
    assert_eq!(entry.host_str(), Some("localhost"));
    assert_eq!((entry.query(), entry.fragment()), (None, None));
    let token = entry.path().strip_prefix("/login/").unwrap();
    assert_eq!(token.len(), 32, "{entry}");
    let issuer = Url::parse(issuer).unwrap();
    for name in ["state", "nonce", "code_challenge"] {
        let secret = issuer.query_pairs().find(|(key, _)| key == name).unwrap().1;
        assert!(!entry.as_str().contains(&*secret), "{name}");
    }
    let statuses = [head, post, again, end].map(String::as_str);
    assert_eq!(statuses, ["405", "405", "410", "200"]);
}

#[test]
fn an_address_that_two_programs_used_ends_the_login() {
    let (result, seen) = with_opener(
        |_, _| None,
        |entry| vec![followed(&entry).to_string(), status("GET", &entry)],
    );
    assert_eq!(said(result), LoginError::OpenedTwice);
    assert_eq!(seen[1], "410");
}

/// Another user who knows the address, or even the state, is not the browser.
#[test]
fn a_request_of_another_user_is_refused() {
    let (result, seen) = with_opener(
        |_, _| Some(false),
        |entry| {
            let mut callback = entry.clone();
            callback.set_path(browser::CALLBACK);
            callback.set_query(Some("code=x&state=y"));
            vec![status("GET", &entry), status("GET", &callback)]
        },
    );
    assert_eq!(said(result), LoginError::NobodyCame { seconds: 2 });
    assert_eq!(seen, ["403", "403"]);
}
