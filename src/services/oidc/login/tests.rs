#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! The flows with a person, against a stub issuer; nothing sleeps.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    elliptic_curve::Generate as _,
};
use serde_json::{Value, json};

use super::*;
use crate::services::{
    http::client::{
        Timeouts,
        stub::{Asked as Request, Stub, Told},
    },
    oidc::{browser, device, out_of_band, refresh},
};

/// What the token endpoint says, one answer after the other; the last one again
/// and again. `None`: a token.
type Script = Vec<Option<&'static str>>;

struct Scene {
    stub: Stub,
    http: Client,
    offline_access: bool,
}

impl Scene {
    fn new(script: Script, refresh: &[&'static str]) -> Self {
        Self {
            stub: issuer(script, refresh.to_vec(), true),
            http: Client::new(Timeouts::default(), || 0),
            offline_access: !refresh.is_empty(),
        }
    }

    fn log_in<T>(&self, with: impl FnOnce(&Issuer<'_>) -> T) -> T {
        with(&Issuer {
            http: &self.http,
            issuer: &format!("http://{}", self.stub.address),
            client_id: "sigstore",
            client_secret: None,
            connector_id: None,
            login_hint: None,
            offline_access: self.offline_access,
        })
    }
}

fn issuer(script: Script, refresh: Vec<&'static str>, device: bool) -> Stub {
    let key = SigningKey::generate();
    let nonce: Arc<Mutex<Option<String>>> = Arc::default();
    let at = Mutex::new(0_usize);
    Stub::start(move |asked: &Request| {
        let host = format!("http://{}", asked.header("host").unwrap());
        let (path, question) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match path {
            "/.well-known/openid-configuration" => {
                let mut found = json!({
                    "issuer": host,
                    "authorization_endpoint": format!("{host}/auth"),
                    "token_endpoint": format!("{host}/token"),
                    "jwks_uri": format!("{host}/keys"),
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                });
                if device {
                    found["device_authorization_endpoint"] = json!(format!("{host}/device/code"));
                }
                Told::json(200, &found)
            }
            "/keys" => {
                let point = key.verifying_key().to_sec1_point(false);
                Told::json(
                    200,
                    &json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
                        "kid": "1",
                        "x": URL_SAFE_NO_PAD.encode(&point.as_bytes()[1..33]),
                        "y": URL_SAFE_NO_PAD.encode(&point.as_bytes()[33..])}]}),
                )
            }
            "/device/code" => Told::json(
                200,
                &json!({"device_code": "d", "user_code": "BCDF-GHJK", "interval": 5,
                    "expires_in": 600, "verification_uri": format!("{host}/device")}),
            ),
            "/auth" => {
                // The person's browser: it goes back with the code, at once.
                let pairs: Vec<(String, String)> = url::form_urlencoded::parse(question.as_bytes())
                    .into_owned()
                    .collect();
                let value = |name: &str| {
                    pairs
                        .iter()
                        .find(|(key, _)| key == name)
                        .map(|(_, value)| value.clone())
                };
                *nonce.lock().unwrap() = value("nonce");
                let mut to = Url::parse(&value("redirect_uri").unwrap()).unwrap();
                to.query_pairs_mut()
                    .append_pair("state", &value("state").unwrap())
                    .append_pair("code", "the-code");
                Told::new(302, "", "").with("Location", to)
            }
            "/token" => {
                let mut at = at.lock().unwrap();
                let step = script.get(*at).or(script.last()).copied().flatten();
                let successor = refresh.get(*at).copied();
                *at += 1;
                if let Some(error) = step {
                    return Told::json(400, &json!({ "error": error }));
                }
                let now = std::time::SystemTime::UNIX_EPOCH
                    .elapsed()
                    .unwrap()
                    .as_secs();
                let mut claims = json!({"iss": host, "sub": "alice", "aud": "sigstore",
                    "email": "alice@example.test", "email_verified": true,
                    "iat": now, "exp": now + 60});
                if let Some(nonce) = &*nonce.lock().unwrap() {
                    claims["nonce"] = json!(nonce);
                }
                let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                let signed = format!(
                    "{}.{}",
                    part(&json!({"alg": "ES256", "kid": "1"})),
                    part(&claims)
                );
                let signature: Signature = key.sign(signed.as_bytes());
                let mut answer = json!({"access_token": "a", "token_type": "bearer",
                    "id_token": format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))});
                if let Some(successor) = successor {
                    answer["refresh_token"] = json!(successor);
                }
                Told::json(200, &answer)
            }
            other => panic!("asked for {other}"),
        }
    })
}

/// Somebody who does what the test says and writes down what they were told.
#[derive(Default)]
struct Somebody {
    told: Vec<String>,
    pauses: Vec<u64>,
    types: Option<&'static str>,
    opens: Option<fn(Url)>,
}

impl Person for Somebody {
    fn tell(&mut self, line: &str) {
        self.told.push(line.to_owned());
    }
    fn open(&mut self, url: &Url) -> Result<(), String> {
        let open = self.opens.ok_or("no browser here")?;
        let url = url.clone();
        thread::spawn(move || open(url));
        Ok(())
    }
    fn ask(&mut self, _: &str) -> Result<String, String> {
        self.types
            .map(str::to_owned)
            .ok_or_else(|| "nobody".to_owned())
    }
    fn can_be_asked(&self) -> bool {
        self.types.is_some()
    }
    fn pause(&mut self, how_long: Duration) {
        self.pauses.push(how_long.as_secs());
    }
}

fn name(result: Result<Granted, LoginError>) -> Result<String, LoginError> {
    result.map(|granted| granted.token.challenge().to_owned())
}

#[test]
fn a_device_is_asked_about_until_somebody_decides() {
    let scene = Scene::new(
        vec![
            Some("authorization_pending"),
            Some("slow_down"),
            Some("authorization_pending"),
            None,
        ],
        &[],
    );
    let mut somebody = Somebody::default();
    let who = name(scene.log_in(|issuer| device::log_in(issuer, &mut somebody)));
    assert_eq!(who.unwrap(), "alice@example.test");
    // RFC 8628 §3.5: five seconds more after slow_down, and for good.
    assert_eq!(somebody.pauses, [5, 10, 10]);
    assert!(somebody.told.iter().any(|line| line.contains("BCDF-GHJK")));
}

#[test]
fn a_device_login_can_end_badly() {
    for (error, words) in [
        ("access_denied", "access_denied"),
        ("expired_token", "nobody typed the code"),
        ("invalid_grant", "invalid_grant"),
    ] {
        let scene = Scene::new(vec![Some("authorization_pending"), Some(error)], &[]);
        let failed = scene.log_in(|issuer| device::log_in(issuer, &mut Somebody::default()));
        let said = name(failed).unwrap_err();
        assert!(said.to_string().contains(words), "{error}: {said}");
        assert!(!said.is_way_closed(), "{error}");
    }
    let scene = Scene {
        stub: issuer(vec![None], vec![], false),
        ..Scene::new(vec![None], &[])
    };
    let failed = scene.log_in(|issuer| device::log_in(issuer, &mut Somebody::default()));
    assert!(name(failed).unwrap_err().is_way_closed());
}

#[test]
fn a_refresh_token_renews_and_is_replaced() {
    let scene = Scene::new(vec![None, None], &["second"]);
    scene.log_in(|issuer| {
        let granted = refresh::renew(issuer, "first").ok().unwrap();
        assert_eq!(granted.refresh.unwrap().as_str(), "second");
        // None in place of the old one: the old one goes on.
        let granted = refresh::renew(issuer, "second").ok().unwrap();
        assert_eq!(granted.refresh.unwrap().as_str(), "second");
    });
    let scene = Scene::new(vec![Some("invalid_grant")], &["x"]);
    let failed = scene.log_in(|issuer| name(refresh::renew(issuer, "stale")));
    assert!(failed.unwrap_err().to_string().contains("invalid_grant"));
    // Who did not ask for one gets none, whatever the issuer sends.
    let mut scene = Scene::new(vec![None], &["unasked"]);
    scene.offline_access = false;
    let mut somebody = Somebody {
        types: Some("the-code"),
        ..Somebody::default()
    };
    let failed = scene.log_in(|issuer| out_of_band::log_in(issuer, &mut somebody));
    // No nonce was seen by this stub: the flow refuses that too.
    assert!(name(failed).unwrap_err().to_string().contains("nonce"));
}

#[test]
fn a_pasted_code_needs_somebody_and_is_one() {
    let scene = Scene::new(vec![None], &[]);
    let nobody = scene.log_in(|issuer| name(out_of_band::log_in(issuer, &mut Somebody::default())));
    assert!(matches!(nobody.unwrap_err(), LoginError::NoTerminal { .. }));
    for types in ["", "  ", "a\u{1b}b"] {
        let mut somebody = Somebody {
            types: Some(types),
            ..Somebody::default()
        };
        let failed = scene.log_in(|issuer| name(out_of_band::log_in(issuer, &mut somebody)));
        assert!(
            matches!(failed.unwrap_err(), LoginError::Answer { .. }),
            "{types:?}"
        );
    }
}

/// Sends bytes to the listener and gives the status of the answer, if there is one.
fn send(to: &Url, bytes: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", to.port()?)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(bytes.as_bytes()).ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split_whitespace().nth(1)?.parse().ok()
}

fn get(to: &Url, target: &str) -> String {
    let authority = format!("localhost:{}", to.port().unwrap());
    format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")
}

/// Where the issuer sends the browser.
fn follow(url: &Url) -> Url {
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    let mut stream = TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
        url.port().unwrap()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer
        .lines()
        .find(|line| line.to_lowercase().starts_with("location: "))
        .unwrap();
    Url::parse(line.split_once(": ").unwrap().1.trim()).unwrap()
}

fn quick<'a>() -> browser::Options<'a> {
    browser::Options {
        redirect_url: None,
        autoclose: None,
        timeout: Duration::from_secs(20),
    }
}

#[test]
fn k1_k3_only_the_answer_ends_a_login() {
    let scene = Scene::new(vec![None], &[]);
    let mut somebody = Somebody {
        opens: Some(|url| {
            let to = follow(&url);
            let right = format!("{}?{}", to.path(), to.query().unwrap());
            let held: Vec<_> = (0..200)
                .filter_map(|_| TcpStream::connect(("127.0.0.1", to.port().unwrap())).ok())
                .collect();
            for (what, bytes, status) in [
                ("no state", get(&to, "/auth/callback?code=x"), Some(400)),
                (
                    "another state",
                    get(&to, "/auth/callback?code=x&state=y"),
                    Some(400),
                ),
                (
                    "a state twice",
                    get(&to, &format!("{right}&state=y")),
                    Some(400),
                ),
                ("another path", get(&to, "/favicon.ico"), Some(404)),
                (
                    "another host",
                    get(&to, &right).replace("localhost", "attacker.example"),
                    Some(400),
                ),
                (
                    "no host",
                    format!("GET {right} HTTP/1.1\r\nConnection: close\r\n\r\n"),
                    Some(400),
                ),
                (
                    "POST",
                    get(&to, &right).replacen("GET", "POST", 1),
                    Some(405),
                ),
                (
                    "a body that is announced to be huge",
                    get(&to, &right).replacen("GET", "POST", 1).replace(
                        "Connection: close",
                        "Content-Length: 9000000000000000000\r\nConnection: close",
                    ),
                    None,
                ),
            ] {
                let answered = send(&to, &bytes);
                if status.is_some() {
                    assert_eq!(answered, status, "{what}");
                }
            }
            assert_eq!(send(&to, &get(&to, &right)), Some(200));
            drop(held);
        }),
        ..Somebody::default()
    };
    let who = scene.log_in(|issuer| name(browser::log_in(issuer, &quick(), &mut somebody)));
    assert_eq!(who.unwrap(), "alice@example.test");
}

#[test]
fn k3_a_browser_login_ends_in_time_and_listens_on_loopback_only() {
    let scene = Scene::new(vec![None], &[]);
    let options = browser::Options {
        timeout: Duration::from_millis(200),
        ..quick()
    };
    let mut somebody = Somebody {
        opens: Some(|_| ()),
        ..Somebody::default()
    };
    let late = scene.log_in(|issuer| name(browser::log_in(issuer, &options, &mut somebody)));
    assert!(late.unwrap_err().is_way_closed());
    let none =
        scene.log_in(|issuer| name(browser::log_in(issuer, &quick(), &mut Somebody::default())));
    assert!(matches!(none.unwrap_err(), LoginError::NoBrowser { .. }));
    for address in [
        "http://example.com:1234/cb",
        "http://0.0.0.0:1234/",
        "https://localhost:1/cb",
    ] {
        let options = browser::Options {
            redirect_url: Some(address),
            ..quick()
        };
        let failed = scene.log_in(|issuer| name(browser::log_in(issuer, &options, &mut somebody)));
        assert!(
            matches!(failed.unwrap_err(), LoginError::Address { .. }),
            "{address}"
        );
    }
}
