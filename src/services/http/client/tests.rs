#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::stub::{CannedResponse, Stub};

fn quick() -> Client {
    Client::new(
        Timeouts {
            connect: Duration::from_millis(500),
            one_try: Duration::from_millis(500),
            all_tries: Duration::from_secs(3),
        },
        || 0,
    )
}

const PATIENT: Retry = Retry {
    tries: 3,
    first_pause: Duration::from_millis(5),
};

fn get(client: &Client, url: &Url) -> Result<HttpResponse, HttpError> {
    client.send(&HttpRequest {
        retry: PATIENT,
        ..HttpRequest::get("test", url, 1000)
    })
}

#[test]
fn a_request_carries_what_it_should() {
    let stub = Stub::start(|_| CannedResponse::new(201, "Application/JSON; charset=x", "{}"));
    let url = stub.url.join("/a?b=c").unwrap();
    let answer = quick()
        .send(&HttpRequest {
            authorization: Some(("Bearer", "secret")),
            ..HttpRequest::post("test", &url, "text/plain", b"body", 10)
        })
        .unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (201, &b"{}"[..]));
    assert_eq!(answer.media_type().unwrap(), "application/json");
    let asked = &stub.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("POST", "/a?b=c")
    );
    assert_eq!(asked.body, b"body");
    assert_eq!(asked.header("authorization"), Some("Bearer secret"));
    assert_eq!(asked.header("content-type"), Some("text/plain"));
    assert_eq!(
        asked.header("user-agent").unwrap(),
        concat!("gitseal/", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn busy_servers_are_asked_again_and_others_are_not() {
    let stub = Stub::hanging_up(1, |asked| match asked.number {
        0 => CannedResponse::new(503, "text/plain", "later").with("Retry-After", "0"),
        _ => CannedResponse::new(200, "text/plain", "here"),
    });
    assert_eq!(get(&quick(), &stub.url).unwrap().body, b"here");
    assert_eq!(stub.asked().len(), 2);

    let stub = Stub::start(|_| CannedResponse::new(404, "text/html", "<html>\n\x1b[31mno\x07"));
    let answer = get(&quick(), &stub.url).unwrap();
    assert_eq!(stub.asked().len(), 1);
    assert_eq!(
        answer.unexpected().to_string(),
        format!("test: {}: HTTP 404: <html> \\x1b[31mno\\x07", stub.url)
    );

    let stub = Stub::start(|_| CannedResponse::new(502, "", ""));
    let error = get(&quick(), &stub.url).unwrap_err();
    assert_eq!(stub.asked().len(), 3);
    assert_eq!(
        error.reason,
        HttpReason::Status {
            status: 502,
            excerpt: String::new()
        }
    );
}

#[test]
fn what_must_not_be_sent_twice_is_sent_once() {
    let stub = Stub::start(|_| CannedResponse::new(503, "", ""));
    let error = quick()
        .send(&HttpRequest {
            retry: Retry::NO_RETRY,
            ..HttpRequest::post("test", &stub.url, "text/plain", b"", 10)
        })
        .unwrap_err();
    assert!(matches!(
        error.reason,
        HttpReason::Status { status: 503, .. }
    ));
    assert_eq!(stub.asked().len(), 1);
}

#[test]
fn nobody_listening_is_a_connection_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = get(&quick(), &url).unwrap_err();
    assert!(
        matches!(error.reason, HttpReason::Connection { .. }),
        "{error}"
    );
}

#[test]
fn large_and_slow_answers_are_cut_off() {
    let stub = Stub::start(|_| CannedResponse::new(200, "text/plain", vec![b'a'; 1001]));
    assert_eq!(
        get(&quick(), &stub.url).unwrap_err().reason,
        HttpReason::TooLarge { limit: 1000 }
    );
    let exact = Stub::start(|_| CannedResponse::new(200, "text/plain", vec![b'a'; 1000]));
    assert_eq!(get(&quick(), &exact.url).unwrap().body.len(), 1000);

    let stub = Stub::start(|_| CannedResponse {
        drip: Duration::from_millis(100),
        ..CannedResponse::new(200, "text/plain", vec![b'a'; 900])
    });
    let begun = Instant::now();
    let error = quick()
        .send(&HttpRequest {
            retry: Retry::NO_RETRY,
            ..HttpRequest::get("test", &stub.url, 1000)
        })
        .unwrap_err();
    assert!(
        matches!(error.reason, HttpReason::Timeout { .. }),
        "{error:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn redirects_stay_within_the_origin() {
    let stub = Stub::start(|asked| match asked.target.as_str() {
        "/a" => CannedResponse::new(302, "", "").with("Location", "/b"),
        "/b" => CannedResponse::new(200, "text/plain", "b"),
        "/loop" => CannedResponse::new(302, "", "").with("Location", "/loop"),
        "/away" => {
            CannedResponse::new(302, "", "").with("Location", "http://u:p@other.test/?token=x")
        }
        _ => CannedResponse::new(302, "", ""),
    });
    let at = |path: &str| get(&quick(), &stub.url.join(path).unwrap());
    assert_eq!(at("/a").unwrap().body, b"b");
    assert!(matches!(
        at("/loop").unwrap_err().reason,
        HttpReason::Redirect { .. }
    ));
    assert_eq!(
        at("/away").unwrap_err().reason,
        HttpReason::Redirect {
            status: 302,
            to: "http://other.test/".into()
        }
    );
    assert!(matches!(
        at("/nowhere").unwrap_err().reason,
        HttpReason::Status { status: 302, .. }
    ));
    let url = stub.url.join("/a").unwrap();
    let error = quick()
        .send(&HttpRequest::post("test", &url, "text/plain", b"", 10))
        .unwrap_err();
    assert!(matches!(error.reason, HttpReason::Redirect { .. }));
}

#[test]
fn addresses_that_are_no_web_addresses_are_refused() {
    for text in ["file:///etc/passwd", "ftp://h/", "data:,x"] {
        let url = Url::parse(text).unwrap();
        assert_eq!(
            get(&quick(), &url).unwrap_err().reason,
            HttpReason::Address,
            "{text}"
        );
    }
}

#[test]
fn errors_do_not_show_what_may_be_secret() {
    let url = Url::parse("http://user:pass@127.0.0.1:1/p?code=abc#f").unwrap();
    assert_eq!(redact_url(&url), "http://127.0.0.1:1/p");
}

#[test]
fn tls_to_a_server_that_speaks_none_fails_by_name() {
    let stub = Stub::start(|_| CannedResponse::new(200, "", ""));
    let url = Url::parse(&format!("https://{}", stub.address)).unwrap();
    let error = get(&quick(), &url).unwrap_err();
    assert!(
        matches!(
            error.reason,
            HttpReason::Tls { .. } | HttpReason::Timeout { .. } | HttpReason::Connection { .. }
        ),
        "{error:?}"
    );
}

/// The address of a documentation network, and names that only DNS could resolve:
/// a request that was tried would end with another error, or with none.
const ELSEWHERE: [&str; 6] = [
    "http://192.0.2.1:9/",
    "http://[2001:db8::1]:9/",
    "http://fulcio.example/",
    "http://fulcio.localhost/",
    "http://localhost.example/",
    "http://127.0.0.1.example/",
];

#[test]
fn a_secret_leaves_this_machine_only_over_tls() {
    for url in ELSEWHERE {
        let url = Url::parse(url).unwrap();
        assert!(!protects_secrets(&url), "{url}");
        for (scheme, secret) in [("Bearer", "a.b.c"), ("Token", "zq7")] {
            let error = quick()
                .send(&HttpRequest {
                    authorization: Some((scheme, secret)),
                    ..HttpRequest::post("test", &url, "text/plain", b"", 10)
                })
                .unwrap_err();
            assert_eq!(error.reason, HttpReason::Plaintext, "{url}");
            let text = error.to_string();
            assert!(
                text.contains(url.as_str()) && text.contains("https"),
                "{text}"
            );
            assert!(!text.contains(secret), "{text}");
        }
        let message = http::Request::builder()
            .uri(url.as_str())
            .body(Vec::new())
            .unwrap();
        let error = quick().exchange("login", message, 10).unwrap_err();
        assert_eq!(error.reason, HttpReason::Plaintext, "{url}");
    }
    for url in [
        "https://fulcio.example/",
        "http://localhost:1/",
        "http://127.0.0.9:1/",
        "http://[::1]:1/",
    ] {
        assert!(protects_secrets(&Url::parse(url).unwrap()), "{url}");
    }
    // Within TLS a redirect cannot leave it: it stays within the origin.
    let other = Stub::start(|_| CannedResponse::new(200, "text/plain", "here"));
    let to = other.url.clone();
    let first =
        Stub::start(move |_| CannedResponse::new(302, "", "").with("Location", to.as_str()));
    let error = quick()
        .send(&HttpRequest {
            authorization: Some(("Bearer", "a.b.c")),
            ..HttpRequest::get("test", &first.url, 10)
        })
        .unwrap_err();
    assert!(matches!(error.reason, HttpReason::Redirect { .. }));
    assert!(other.asked().is_empty());
}
