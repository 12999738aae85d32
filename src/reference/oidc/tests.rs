#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU8, Ordering},
};

use p256::elliptic_curve::Generate as _;

use super::*;
use gitseal_services::http::message::{Headers, Method};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "http://localhost:4711/auth/callback";

struct Bench {
    issuer: ReferenceIssuer,
    now: Arc<AtomicI64>,
}

fn bench(headless: bool) -> Bench {
    let now = Arc::new(AtomicI64::new(1_800_000_000));
    let clock = Arc::clone(&now);
    let counter = AtomicU8::new(0);
    let issuer = ReferenceIssuer::new(
        Config {
            issuer: "http://127.0.0.1:18080".into(),
            clients: vec!["sigstore".into(), "other".into()],
            users: users(["alice@example.test", "bob@example.test"]).unwrap(),
            headless,
            lifetime: 600,
        },
        SigningKey::generate(),
        Box::new(move || clock.load(Ordering::SeqCst)),
        Box::new(move |bytes| {
            bytes.fill(counter.fetch_add(1, Ordering::SeqCst));
            Ok(())
        }),
    )
    .unwrap();
    Bench { issuer, now }
}

impl Bench {
    fn later(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> ServerResponse {
        self.issuer.handle(&request(Method::Get, path, query, None))
    }

    fn post(&self, path: &str, pairs: &[(&str, &str)]) -> ServerResponse {
        self.issuer
            .handle(&request(Method::Post, path, &[], Some(pairs)))
    }

    /// A login's parameters with some replaced (an empty value leaves one out).
    fn login(&self, changes: &[(&str, &str)]) -> ServerResponse {
        self.get(AUTHORIZE, &parameters(changes))
    }

    fn code(&self) -> String {
        let response = self.login(&[]);
        assert_eq!(response.status, 302);
        answer(&response, "code").unwrap()
    }

    fn exchange(&self, code: &str, changes: &[(&str, &str)]) -> ServerResponse {
        let pairs = replaced(
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "sigstore"),
                ("code", code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
            ],
            changes,
        );
        self.post(TOKEN, &pairs)
    }
}

fn parameters<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    replaced(
        &[
            ("response_type", "code"),
            ("client_id", "sigstore"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid email"),
            ("state", "st&te"),
            ("nonce", "n"),
            // Of `VERIFIER`.
            (
                "code_challenge",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            ),
            ("code_challenge_method", "S256"),
            ("prompt", "none"),
            ("login_hint", "alice@example.test"),
        ],
        changes,
    )
}

fn replaced<'a>(
    base: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<_> = base
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
        .chain(changes)
        .copied()
        .collect();
    pairs.retain(|(_, value)| !value.is_empty());
    pairs
}

fn request(
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    form: Option<&[(&str, &str)]>,
) -> ServerRequest {
    let mut headers = Headers::default();
    let mut body = Vec::new();
    if let Some(pairs) = form {
        headers.push("content-type", "application/x-www-form-urlencoded");
        body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
            .into_bytes();
    }
    ServerRequest {
        method,
        head_only: false,
        path: path.into(),
        query: query
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        headers,
        body,
        peer: ([127, 0, 0, 1], 9).into(),
    }
}

fn location(response: &ServerResponse) -> Url {
    let (_, value) = response
        .headers
        .iter()
        .find(|(name, _)| name == "Location")
        .expect("a redirect");
    Url::parse(value).unwrap()
}

fn answer(response: &ServerResponse, name: &str) -> Option<String> {
    location(response)
        .query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn error(response: &ServerResponse) -> String {
    serde_json::from_slice::<OauthError>(&response.body)
        .unwrap()
        .error
}

fn claims(token: &str) -> IssuedClaims {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn a_code_becomes_a_token_once() {
    let bench = bench(true);
    let response = bench.login(&[]);
    assert_eq!(answer(&response, "state").unwrap(), "st&te");
    assert_eq!(answer(&response, "iss").unwrap(), "http://127.0.0.1:18080");
    let code = answer(&response, "code").unwrap();
    let response = bench.exchange(&code, &[]);
    assert_eq!(response.status, 200);
    let tokens: OidcTokenResponse = serde_json::from_slice(&response.body).unwrap();
    let id = claims(&tokens.id_token);
    assert_eq!(id.email, "alice@example.test");
    assert_eq!(id.aud, "sigstore");
    assert_eq!(id.nonce.as_deref(), Some("n"));
    assert_eq!(id.at_hash, Some(access_token_hash(&tokens.access_token)));
    assert_eq!(claims(&tokens.access_token).aud, "sigstore");
    let again = bench.exchange(&code, &[]);
    assert_eq!(
        (again.status, error(&again).as_str()),
        (400, "invalid_grant")
    );
}

#[test]
fn tokens_are_signed_with_the_published_key() {
    use p256::ecdsa::{VerifyingKey, signature::Verifier as _};
    let bench = bench(true);
    let response = bench.get(KEYS, &[]);
    let set: KeySet = serde_json::from_slice(&response.body).unwrap();
    let point = [
        vec![4],
        URL_SAFE_NO_PAD.decode(&set.keys[0].x).unwrap(),
        URL_SAFE_NO_PAD.decode(&set.keys[0].y).unwrap(),
    ]
    .concat();
    let key = VerifyingKey::from_sec1_bytes(&point).unwrap();
    let user = User::new("alice@example.test").unwrap();
    let token = bench.issuer.mint(&user, "sigstore", None, None).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    key.verify(signed.as_bytes(), &signature).unwrap();
    let header = token.split('.').next().unwrap();
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(header["kid"], set.keys[0].kid);
    let discovery: Discovery = serde_json::from_slice(&bench.get(DISCOVERY, &[]).body).unwrap();
    assert_eq!(discovery.issuer, "http://127.0.0.1:18080");
    assert_eq!(discovery.code_challenge_methods_supported, ["S256"]);
}

#[test]
fn a_code_is_bound_to_its_login() {
    let bench = bench(true);
    for change in [
        ("client_id", "other"),
        ("redirect_uri", "http://localhost:4712/auth/callback"),
        (
            "code_verifier",
            "xBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            "code_verifier",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
    ] {
        let code = bench.code();
        let refused = bench.exchange(&code, &[change]);
        assert_eq!(error(&refused), "invalid_grant", "{change:?}");
        // The failed attempt used it up.
        assert_eq!(error(&bench.exchange(&code, &[])), "invalid_grant");
    }
    let code = bench.code();
    assert_eq!(
        error(&bench.exchange(&code, &[("client_id", "nobody")])),
        "invalid_client"
    );
    let code = bench.code();
    bench.later(CODE_LIFETIME + 1);
    assert_eq!(error(&bench.exchange(&code, &[])), "invalid_grant");
    let missing = bench.exchange(&bench.code(), &[("code_verifier", "")]);
    assert_eq!(error(&missing), "invalid_request");
}

#[test]
fn nothing_is_sent_to_a_place_that_is_not_the_clients() {
    let bench = bench(true);
    for redirect in [
        "https://evil.test/auth/callback",
        "http://evil.test/auth/callback",
        "http://localhost.evil.test/auth/callback",
        "http://localhost:4711@evil.test/auth/callback",
        "http://127.0.0.1:4711/auth/callback/../../x",
        "http://127.0.0.1:4711/auth/callback?x=1",
        "http://127.0.0.1:4711/auth/callback#x",
        "http://127.0.0.1:0/auth/callback",
        "http://127.0.0.1:99999/auth/callback",
        "http://127.0.0.1:/auth/callback",
        "http://127.1:4711/auth/callback",
        "HTTP://127.0.0.1:4711/auth/callback",
        "javascript:alert(1)",
        "http://localhost:4711/auth/callback\r\nSet-Cookie: x",
    ] {
        let response = bench.login(&[("redirect_uri", redirect)]);
        assert_eq!(response.status, 400, "{redirect}");
        assert!(response.headers.iter().all(|(name, _)| name != "Location"));
    }
    for redirect in [
        "http://localhost:8080",
        "http://localhost:8080/",
        "http://127.0.0.1:1/auth/callback",
        "http://127.0.0.1/auth/callback",
        "http://[::1]:65535/auth/callback",
    ] {
        assert_eq!(bench.login(&[("redirect_uri", redirect)]).status, 302);
    }
    assert_eq!(bench.login(&[("client_id", "nobody")]).status, 400);
}

#[test]
fn a_login_without_s256_or_with_repeated_parameters_is_refused() {
    let open = bench(true);
    for (change, code) in [
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "email"), "invalid_scope"),
        (("login_hint", "mallory@example.test"), "login_required"),
        (("login_hint", ""), "login_required"),
        (("request", "x.y.z"), "request_not_supported"),
        (("prompt", "none login"), "invalid_request"),
    ] {
        let response = open.login(&[change]);
        assert_eq!(answer(&response, "error").unwrap(), code, "{change:?}");
        assert_eq!(answer(&response, "code"), None);
    }
    let mut twice = parameters(&[]);
    twice.push(("nonce", "m"));
    let response = open.get(AUTHORIZE, &twice);
    assert_eq!(answer(&response, "error").unwrap(), "invalid_request");
    let closed = bench(false);
    assert_eq!(
        answer(&closed.login(&[]), "error").unwrap(),
        "interaction_required"
    );
}

#[test]
fn the_page_escapes_what_it_shows_and_its_form_logs_in() {
    let bench = bench(true);
    let evil = "\"><script>alert('x')</script>";
    let response = bench.login(&[("prompt", ""), ("state", evil), ("nonce", evil)]);
    assert_eq!(response.status, 200);
    let html = String::from_utf8(response.body).unwrap();
    assert!(!html.contains("<script"));
    assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)"));
    assert!(
        response
            .headers
            .iter()
            .any(|(name, value)| name == "Content-Security-Policy"
                && value.contains("default-src 'none'"))
    );
    let chosen = parameters(&[("prompt", ""), ("user", "bob@example.test")]);
    let response = bench.post(AUTHORIZE, &chosen);
    let code = answer(&response, "code").unwrap();
    let tokens: OidcTokenResponse =
        serde_json::from_slice(&bench.exchange(&code, &[]).body).unwrap();
    assert_eq!(claims(&tokens.id_token).email, "bob@example.test");
    let denied = parameters(&[("user", "bob@example.test"), ("deny", "1")]);
    assert_eq!(
        answer(&bench.post(AUTHORIZE, &denied), "error").unwrap(),
        "access_denied"
    );
    let stranger = parameters(&[("user", "mallory@example.test")]);
    assert_eq!(
        answer(&bench.post(AUTHORIZE, &stranger), "error").unwrap(),
        "access_denied"
    );
    // Out of band: the code is shown, escaped, and works.
    let response = bench.login(&[("redirect_uri", OUT_OF_BAND)]);
    let html = String::from_utf8(response.body).unwrap();
    let code = html.split("<code>").nth(1).unwrap();
    let code = code.split("</code>").next().unwrap();
    assert_eq!(
        bench
            .exchange(code, &[("redirect_uri", OUT_OF_BAND)])
            .status,
        200
    );
}

#[test]
fn clients_may_name_themselves_by_basic_authentication() {
    let bench = bench(true);
    let code = bench.code();
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let mut request = request(Method::Post, TOKEN, &[], Some(&pairs));
    request.headers.push(
        "authorization",
        format!("Basic {}", STANDARD.encode("sigstore:")),
    );
    assert_eq!(bench.issuer.handle(&request).status, 200);
    let mut wrong = request.clone();
    wrong.body.extend_from_slice(b"&client_id=other");
    assert_eq!(bench.issuer.handle(&wrong).status, 401);
}

#[test]
fn a_device_logs_in_when_its_person_agrees() {
    let bench = bench(true);
    let begin = || -> DeviceResponse {
        let response = bench.post(
            DEVICE_CODE,
            &[
                ("client_id", "sigstore"),
                ("scope", "openid email"),
                (
                    "code_challenge",
                    "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
                ),
                ("code_challenge_method", "S256"),
            ],
        );
        assert_eq!(response.status, 200);
        serde_json::from_slice(&response.body).unwrap()
    };
    let poll = |code: &str, verifier: &str| {
        bench.post(
            TOKEN,
            &[
                ("grant_type", DEVICE_GRANT),
                ("client_id", "sigstore"),
                ("device_code", code),
                ("code_verifier", verifier),
            ],
        )
    };
    let device = begin();
    assert_eq!(device.user_code.len(), 9);
    let code = device.device_code.as_str();
    assert_eq!(error(&poll(code, VERIFIER)), "authorization_pending");
    assert_eq!(error(&poll(code, VERIFIER)), "slow_down");
    bench.later(5);
    assert_eq!(error(&poll(code, VERIFIER)), "slow_down");
    bench.later(60);
    assert_eq!(error(&poll(code, &"a".repeat(43))), "invalid_grant");
    let typed = device.user_code.to_lowercase().replace('-', " ");
    let decided = bench.post(
        DEVICE_PAGE,
        &[("user_code", &typed), ("user", "bob@example.test")],
    );
    assert_eq!(decided.status, 200);
    let response = poll(code, VERIFIER);
    let tokens: OidcTokenResponse = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(claims(&tokens.id_token).email, "bob@example.test");
    assert_eq!(error(&poll(code, VERIFIER)), "invalid_grant");

    let denied = begin();
    bench.post(
        DEVICE_PAGE,
        &[("user_code", denied.user_code.as_str()), ("deny", "1")],
    );
    assert_eq!(error(&poll(&denied.device_code, VERIFIER)), "access_denied");

    let late = begin();
    bench.later(DEVICE_LIFETIME + 1);
    assert_eq!(error(&poll(&late.device_code, VERIFIER)), "expired_token");

    for _ in 0..MAX_GUESSES {
        let guess = bench.post(DEVICE_PAGE, &[("user_code", "BBBB-CCCC")]);
        assert_eq!(guess.status, 400);
    }
    let guess = bench.post(DEVICE_PAGE, &[("user_code", "BBBB-CCCC")]);
    assert_eq!(guess.status, 429);
}

#[test]
fn open_logins_are_bounded() {
    let now = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&now);
    let counter = AtomicI64::new(0);
    let issuer = ReferenceIssuer::new(
        Config {
            issuer: "http://127.0.0.1:1".into(),
            clients: vec!["sigstore".into()],
            users: users(["alice@example.test"]).unwrap(),
            headless: true,
            lifetime: 600,
        },
        SigningKey::generate(),
        Box::new(move || clock.load(Ordering::SeqCst)),
        Box::new(move |bytes| {
            let next = counter.fetch_add(1, Ordering::SeqCst).to_be_bytes();
            bytes[..8].copy_from_slice(&next);
            Ok(())
        }),
    )
    .unwrap();
    let login = request(Method::Get, AUTHORIZE, &parameters(&[]), None);
    for _ in 0..MAX_OPEN {
        assert!(answer(&issuer.handle(&login), "code").is_some());
    }
    let full = issuer.handle(&login);
    assert_eq!(answer(&full, "error").unwrap(), "temporarily_unavailable");
    now.store(CODE_LIFETIME + 1, Ordering::SeqCst);
    assert!(answer(&issuer.handle(&login), "code").is_some());
}

#[test]
fn addresses_that_a_certificate_cannot_hold_are_no_users() {
    for email in [
        "", "alice", "@x", "a@", "a@b@c", "a b@c", "ä@c", "a\n@c", "<a@c>",
    ] {
        assert!(User::new(email).is_err(), "{email:?}");
    }
    assert_eq!(users(["a@b", "a@b"]).unwrap().len(), 1);
}

#[test]
fn a_refresh_token_is_good_once_and_theft_ends_the_login() {
    let bench = bench(true);
    let log_in = |scope: &str| {
        let code = answer(&bench.login(&[("scope", scope)]), "code").unwrap();
        let response = bench.exchange(&code, &[]);
        assert_eq!(response.status, 200);
        serde_json::from_slice::<serde_json::Value>(&response.body).unwrap()
    };
    let renew = |token: &str, more: &[(&str, &str)]| {
        let pairs = replaced(
            &[
                ("grant_type", "refresh_token"),
                ("client_id", "sigstore"),
                ("refresh_token", token),
            ],
            more,
        );
        let response = bench.post(TOKEN, &pairs);
        let value: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        (response.status, value)
    };
    // Who did not ask for one has none.
    assert!(log_in("openid email").get("refresh_token").is_none());

    let first = log_in("openid email offline_access");
    let first = first["refresh_token"].as_str().unwrap();
    // Another client, and more than was granted: no, and the token is still good.
    assert_eq!(renew(first, &[("client_id", "other")]).0, 400);
    let (status, refused) = renew(first, &[("scope", "openid groups")]);
    assert_eq!((status, &refused["error"]), (400, &"invalid_scope".into()));
    bench.later(3600);
    let (status, second) = renew(first, &[]);
    assert_eq!(status, 200, "{second}");
    assert!(second["id_token"].is_string());
    let second = second["refresh_token"].as_str().unwrap();
    assert_ne!(first, second);
    let (status, third) = renew(second, &[("scope", "openid email")]);
    assert_eq!(status, 200, "{third}");
    let third = third["refresh_token"].as_str().unwrap();
    // The first one again: somebody has a copy. Nobody goes on.
    let (status, refused) = renew(first, &[]);
    assert_eq!((status, &refused["error"]), (400, &"invalid_grant".into()));
    assert_eq!(renew(third, &[]).0, 400);
    // Another login is another family, and ends by its age.
    let other = log_in("openid offline_access");
    let other = other["refresh_token"].as_str().unwrap();
    bench.later(REFRESH_LIFETIME + 1);
    assert_eq!(renew(other, &[]).0, 400);
}
