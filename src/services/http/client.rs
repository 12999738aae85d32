//! The one HTTP client: blocking, bounded in time and size, deaf to redirects
//! that lead to another origin, and patient with servers that are busy.
//!
//! TLS costs nothing until the first `https` address is spoken to: the
//! certificate store and the handshake code are set up then. Proxies come from
//! the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`);
//! loopback addresses are never sent to one.
//!
//! *Not checked here:* what an answer says (each service's `client.rs`).

use std::{
    fmt,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Proxy,
    http::{self, HeaderMap, HeaderValue, Method, StatusCode, header},
    tls::{RootCerts, TlsConfig, TlsProvider},
};
use url::Url;

/// The most redirects that are followed, all within one origin.
pub const MAX_REDIRECTS: usize = 3;
/// The most bytes of an answer's head.
pub const MAX_HEAD: usize = 32 << 10;
/// The bytes of an unexpected answer that an error shows.
pub const EXCERPT: usize = 200;
/// The longest pause between two tries, also when the server asks for more.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Timeouts of a connection, a try and a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To reach the server.
    pub connect: Duration,
    /// For one try: name, connection, request, whole answer.
    pub one_try: Duration,
    /// For all tries and the pauses between them; no try begins after it.
    pub all_tries: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            one_try: Duration::from_secs(30),
            all_tries: Duration::from_secs(60),
        }
    }
}

/// Whether a request may be sent again, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// All tries, the first one included; at least 1.
    pub tries: u32,
    /// The pause after the first try; doubled after each further one.
    pub first_pause: Duration,
}

impl Retry {
    /// For requests that must not be sent twice, such as one with a one-use
    /// code.
    pub const NO_RETRY: Self = Self {
        tries: 1,
        first_pause: Duration::ZERO,
    };
    /// For requests that have the same effect when sent twice.
    pub const IDEMPOTENT: Self = Self {
        tries: 4,
        first_pause: Duration::from_millis(200),
    };
}

/// A failed HTTP exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {url}: {reason}")]
pub struct HttpError {
    /// The operation, as a noun: "certificate request".
    pub what: &'static str,
    /// The URL, without user, password, query and fragment.
    pub url: String,
    /// What went wrong.
    pub reason: HttpReason,
}

/// The reason for which an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum HttpReason {
    /// Neither http nor https, or no host.
    #[error("not an http or https URL")]
    Address,
    /// A token that cannot be sent in a header.
    #[error("the token contains invalid characters")]
    Token,
    /// A secret would leave this machine without TLS.
    #[error("refusing to send a secret to another machine without TLS; use an https URL")]
    Plaintext,
    /// No such host.
    #[error("host not found")]
    HostUnknown,
    /// Nobody listens, or the way is blocked.
    #[error("cannot connect: {reason}")]
    Connection { reason: String },
    /// TLS failed: certificate, protocol.
    #[error("TLS: {reason}")]
    Tls { reason: String },
    /// Time ran out.
    #[error("timed out after {} s", .after.as_secs_f32())]
    Timeout { after: Duration },
    /// The answer is longer than any real one.
    #[error("the response is larger than {limit} bytes")]
    TooLarge { limit: usize },
    /// A redirect that is not followed.
    #[error("unexpected redirect to {to} (HTTP {status})")]
    Redirect { status: u16, to: String },
    /// An answer with a status that was not expected.
    #[error("HTTP {status}{}{excerpt}", if .excerpt.is_empty() { "" } else { ": " })]
    Status { status: u16, excerpt: String },
    /// Not HTTP.
    #[error("the response is not HTTP: {reason}")]
    Protocol { reason: String },
}

impl HttpReason {
    /// Whether another try might end better.
    fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Timeout { .. } => true,
            Self::Status { status, .. } => is_passing_status(*status),
            Self::Address
            | Self::Token
            | Self::Plaintext
            | Self::HostUnknown
            | Self::Tls { .. }
            | Self::TooLarge { .. }
            | Self::Redirect { .. }
            | Self::Protocol { .. } => false,
        }
    }
}

/// Whether a status says "later" rather than "no".
fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// A request and the limits on its response.
pub struct HttpRequest<'a> {
    /// The operation, as a noun, for errors.
    pub what: &'static str,
    /// GET or POST.
    pub method: Method,
    /// Where.
    pub url: &'a Url,
    /// The `Accept` header.
    pub accept: &'static str,
    /// The scheme and the secret of the `Authorization` header. With one, the
    /// request is sent only if [`protects_secrets`] permits its URL.
    pub authorization: Option<(&'static str, &'a str)>,
    /// The body and its type.
    pub body: Option<(&'static str, &'a [u8])>,
    /// The longest answer that is read, in bytes.
    pub max_answer: usize,
    /// The tries that are allowed.
    pub retry: Retry,
    /// Further headers. Their values are not secret.
    pub headers: &'a [(&'static str, &'a str)],
    /// Whether redirects are followed, within the origin and for GET only.
    pub redirects: bool,
    /// Past any proxy: for addresses that mean this very machine.
    pub direct: bool,
    /// For one try, where the client's own time is too long.
    pub one_try: Option<Duration>,
}

/// How a message travels.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    direct: bool,
    one_try: Option<Duration>,
}

impl<'a> HttpRequest<'a> {
    /// A GET that may be repeated.
    #[must_use]
    pub fn get(what: &'static str, url: &'a Url, max_answer: usize) -> Self {
        Self {
            what,
            method: Method::GET,
            url,
            accept: "application/json",
            authorization: None,
            body: None,
            max_answer,
            retry: Retry::IDEMPOTENT,
            headers: &[],
            redirects: true,
            direct: false,
            one_try: None,
        }
    }

    /// A POST that may be repeated, unless `retry` is set otherwise.
    #[must_use]
    pub fn post(
        what: &'static str,
        url: &'a Url,
        content_type: &'static str,
        body: &'a [u8],
        max_answer: usize,
    ) -> Self {
        Self {
            method: Method::POST,
            body: Some((content_type, body)),
            ..Self::get(what, url, max_answer)
        }
    }
}

/// One answer, read whole.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    what: &'static str,
    url: String,
}

impl HttpResponse {
    /// A header's value, when it is there once at least and is ASCII text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type without its parameters, in lower case.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        let essence = value.split(';').next().unwrap_or(value);
        Some(essence.trim().to_ascii_lowercase())
    }

    /// The error that this answer is, where its status was not expected.
    #[must_use]
    pub fn unexpected(&self) -> HttpError {
        HttpError {
            what: self.what,
            url: self.url.clone(),
            reason: HttpReason::Status {
                status: self.status,
                excerpt: excerpt(&self.body),
            },
        }
    }
}

/// Returns the start of a foreign text, fit for one line of a terminal:
/// printable ASCII as it is, runs of white space as one space, all else
/// escaped.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut space = false;
    for &byte in bytes.iter().take(EXCERPT) {
        if byte.is_ascii_whitespace() {
            space = !out.is_empty();
            continue;
        }
        if space {
            out.push(' ');
            space = false;
        }
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if bytes.len() > EXCERPT {
        out.push('…');
    }
    out
}

/// A service at a URL, as its client reaches it.
#[derive(Clone, Copy)]
pub struct Service<'a> {
    /// The HTTP client.
    pub http: &'a Client,
    /// The URL that the paths of the service start at; it may have a path.
    pub base: &'a Url,
}

impl Service<'_> {
    /// Returns the URL of a path of the service.
    #[must_use]
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        url
    }

    /// Returns the URL of the service for messages, without secrets.
    #[must_use]
    pub fn name(&self) -> String {
        redact_url(self.base).trim_end_matches('/').to_owned()
    }
}

/// Returns the text of the member `message` of a JSON error, escaped, if a
/// response has one.
#[must_use]
pub fn error_message(response: &HttpResponse) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Error {
        message: String,
    }
    let error: Error = serde_json::from_slice(&response.body).ok()?;
    (!error.message.is_empty()).then(|| excerpt(error.message.as_bytes()))
}

/// An address without what may be secret in it: user, password, query, fragment.
#[must_use]
pub fn redact_url(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for an address with a host; without one there is none to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// The client. One for a process: connections are kept open between requests.
pub struct Client {
    timeouts: Timeouts,
    jitter: Box<dyn Fn() -> u8 + Send + Sync>,
    direct: Agent,
    proxied: OnceLock<Agent>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Returns a client with these timeouts. `jitter` gives a random byte each
    /// time: pauses between tries are lengthened by up to their half, so that
    /// many clients of a server that fell over do not come back at once.
    #[must_use]
    pub fn new(timeouts: Timeouts, jitter: impl Fn() -> u8 + Send + Sync + 'static) -> Self {
        Self {
            timeouts,
            jitter: Box::new(jitter),
            direct: agent(timeouts, None),
            proxied: OnceLock::new(),
        }
    }

    /// Sends a request until an answer comes that does not say "later", or the
    /// tries or the time are used up. Any other status is an answer.
    ///
    /// # Errors
    ///
    /// When no answer came, it is too large, it leads elsewhere, or it still
    /// says "later" (429, 500, 502, 503, 504) after the last try.
    pub fn send(&self, request: &HttpRequest<'_>) -> Result<HttpResponse, HttpError> {
        let begun = Instant::now();
        let mut pause = request.retry.first_pause;
        let mut tried: u32 = 0;
        loop {
            tried = tried.saturating_add(1);
            let (error, asked) = match self.follow(request) {
                Ok(answer) if !is_passing_status(answer.status) => return Ok(answer),
                Ok(answer) => (answer.unexpected(), retry_after(&answer.headers)),
                Err(error) => (error, None),
            };
            if tried >= request.retry.tries || !error.reason.is_passing() {
                return Err(error);
            }
            let extra = pause
                .saturating_mul(u32::from((self.jitter)()))
                .checked_div(512)
                .unwrap_or_default();
            let wait = asked
                .unwrap_or(pause)
                .saturating_add(extra)
                .min(LONGEST_PAUSE);
            if begun.elapsed().saturating_add(wait) >= self.timeouts.all_tries {
                return Err(error);
            }
            thread::sleep(wait);
            pause = pause.saturating_mul(2);
        }
    }

    /// One try, with the redirects that stay within the origin (GET only).
    fn follow(&self, request: &HttpRequest<'_>) -> Result<HttpResponse, HttpError> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.once(request, &url)?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let Some(to) = answer
                .header("location")
                .and_then(|location| url.join(location).ok())
            else {
                return Err(answer.unexpected());
            };
            if !request.redirects || request.method != Method::GET || to.origin() != url.origin() {
                return Err(HttpError {
                    what: request.what,
                    url: redact_url(&url),
                    reason: HttpReason::Redirect {
                        status: answer.status,
                        to: excerpt(redact_url(&to).as_bytes()),
                    },
                });
            }
            url = to;
        }
        Err(HttpError {
            what: request.what,
            url: redact_url(request.url),
            reason: HttpReason::Redirect {
                status: 302,
                to: excerpt(redact_url(&url).as_bytes()),
            },
        })
    }

    fn once(&self, request: &HttpRequest<'_>, url: &Url) -> Result<HttpResponse, HttpError> {
        let mut message = http::Request::builder()
            .method(request.method.clone())
            .uri(url.as_str())
            .header(header::ACCEPT, request.accept);
        if let Some((scheme, secret)) = request.authorization {
            if !protects_secrets(url) {
                return Err(refused(request.what, url, HttpReason::Plaintext));
            }
            let value = HeaderValue::try_from(format!("{scheme} {secret}")).map(|mut value| {
                value.set_sensitive(true);
                value
            });
            match value {
                Ok(value) => message = message.header(header::AUTHORIZATION, value),
                Err(_) => return Err(refused(request.what, url, HttpReason::Token)),
            }
        }
        for (name, value) in request.headers {
            message = message.header(*name, *value);
        }
        if let Some((content_type, _)) = request.body {
            message = message.header(header::CONTENT_TYPE, content_type);
        }
        let body = request.body.map(|(_, body)| body.to_vec());
        let message = message
            .body(body.unwrap_or_default())
            .map_err(|_| refused(request.what, url, HttpReason::Address))?;
        let way = Way {
            direct: request.direct,
            one_try: request.one_try,
        };
        let answer = self.exchange_by(request.what, message, request.max_answer, way)?;
        let (head, body) = answer.into_parts();
        Ok(HttpResponse {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            what: request.what,
            url: redact_url(url),
        })
    }

    /// Sends one message of a login as it is: no second try, no redirect followed,
    /// any status. It is sent only if [`protects_secrets`] permits its URL: messages
    /// of a login contain codes, verifiers and tokens, or the keys and URLs that
    /// decide where those go.
    ///
    /// # Errors
    ///
    /// When the URL does not protect secrets, no answer came, or it is too large.
    pub fn exchange(
        &self,
        what: &'static str,
        message: http::Request<Vec<u8>>,
        max_answer: usize,
    ) -> Result<http::Response<Vec<u8>>, HttpError> {
        if let Ok(url) = Url::parse(&message.uri().to_string())
            && !protects_secrets(&url)
        {
            return Err(refused(what, &url, HttpReason::Plaintext));
        }
        self.exchange_by(what, message, max_answer, Way::default())
    }

    fn exchange_by(
        &self,
        what: &'static str,
        message: http::Request<Vec<u8>>,
        max_answer: usize,
        way: Way,
    ) -> Result<http::Response<Vec<u8>>, HttpError> {
        let shown = message.uri().to_string();
        let url = Url::parse(&shown).map_err(|_| HttpError {
            what,
            url: excerpt(shown.as_bytes()),
            reason: HttpReason::Address,
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(refused(what, &url, HttpReason::Address));
        }
        let agent = if way.direct || is_loopback(&url) {
            &self.direct
        } else {
            self.proxied.get_or_init(|| match Proxy::try_from_env() {
                Some(proxy) => agent(self.timeouts, Some(proxy)),
                None => self.direct.clone(),
            })
        };
        let timeouts = Timeouts {
            one_try: way.one_try.unwrap_or(self.timeouts.one_try),
            ..self.timeouts
        };
        let fail = |error: ureq::Error| refused(what, &url, reason(error, timeouts, max_answer));
        let answer = if message.method() == Method::GET {
            let (head, _) = message.into_parts();
            let message = http::Request::from_parts(head, ());
            agent.run(within(agent, message, way.one_try))
        } else {
            agent.run(within(agent, message, way.one_try))
        };
        let (head, mut body) = answer.map_err(fail)?.into_parts();
        let body = if head.status == StatusCode::NO_CONTENT {
            Vec::new()
        } else {
            // The library's limit refuses a body that is exactly as long.
            let limit = u64::try_from(max_answer).unwrap_or(u64::MAX);
            let body = body
                .with_config()
                .limit(limit.saturating_add(1))
                .read_to_vec()
                .map_err(fail)?;
            if body.len() > max_answer {
                return Err(refused(
                    what,
                    &url,
                    HttpReason::TooLarge { limit: max_answer },
                ));
            }
            body
        };
        Ok(http::Response::from_parts(head, body))
    }
}

/// The message, with a time of its own if there is one.
fn within<B: ureq::AsSendBody>(
    agent: &Agent,
    message: http::Request<B>,
    time: Option<Duration>,
) -> http::Request<B> {
    match time {
        None => message,
        Some(time) => agent
            .configure_request(message)
            .timeout_global(Some(time))
            .build(),
    }
}

fn refused(what: &'static str, url: &Url, reason: HttpReason) -> HttpError {
    HttpError {
        what,
        url: redact_url(url),
        reason,
    }
}

fn agent(timeouts: Timeouts, proxy: Option<Proxy>) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("gitseal/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy)
        .timeout_connect(Some(timeouts.connect))
        .timeout_global(Some(timeouts.one_try))
        .max_response_header_size(MAX_HEAD)
        .tls_config(
            TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .root_certs(RootCerts::PlatformVerifier)
                .unversioned_rustls_crypto_provider(Arc::new(
                    rustls::crypto::aws_lc_rs::default_provider(),
                ))
                .build(),
        )
        .build()
        .new_agent()
}

/// Returns whether a secret may be sent to a URL: over TLS, or to this machine. Of
/// names only `localhost` is this machine: the names below it may be asked of DNS.
#[must_use]
pub fn protects_secrets(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            _ => is_loopback(url),
        },
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// `Retry-After` in seconds; the form with a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

fn reason(error: ureq::Error, timeouts: Timeouts, limit: usize) -> HttpReason {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect) => HttpReason::Timeout {
            after: timeouts.connect,
        },
        ureq::Error::Timeout(_) => HttpReason::Timeout {
            after: timeouts.one_try,
        },
        ureq::Error::BodyExceedsLimit(_) => HttpReason::TooLarge { limit },
        ureq::Error::LargeResponseHeader(_, limit) => HttpReason::TooLarge { limit },
        ureq::Error::HostNotFound => HttpReason::HostUnknown,
        ureq::Error::ConnectionFailed => HttpReason::Connection {
            reason: "connection refused or host unreachable".into(),
        },
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| {
            // The body reader wraps the library's own errors.
            inner
                .downcast_ref::<ureq::Error>()
                .map(|inner| match inner {
                    ureq::Error::Timeout(_) => HttpReason::Timeout {
                        after: timeouts.one_try,
                    },
                    ureq::Error::BodyExceedsLimit(_) => HttpReason::TooLarge { limit },
                    other => HttpReason::Protocol {
                        reason: other.to_string(),
                    },
                })
        }) {
            Some(reason) => reason,
            None if error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>()) =>
            {
                HttpReason::Tls {
                    reason: error.to_string(),
                }
            }
            None => HttpReason::Connection {
                reason: error.to_string(),
            },
        },
        ureq::Error::Rustls(error) => HttpReason::Tls {
            reason: error.to_string(),
        },
        ureq::Error::Tls(reason) => HttpReason::Tls {
            reason: reason.into(),
        },
        ureq::Error::BadUri(_) => HttpReason::Address,
        other => HttpReason::Protocol {
            reason: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
