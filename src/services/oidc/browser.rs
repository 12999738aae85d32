//! A login in the browser of this machine: it comes back to a loopback address
//! that we listen on for this one answer.
//!
//! Sources: RFC 8252 §7.3, §8.3 (loopback redirect), OpenID Connect Core 1.0
//! §3.1, RFC 9207, RFC 9700 §4.
//!
//! Anybody on this machine, and every web page that its browser shows, can send
//! requests to the listener. One that is not the answer to this very login (by
//! its state) gets an error page, and the login goes on. The library under it
//! has no limits on heads and a thread for each connection: it is here for the
//! minutes of one login, on loopback, and a slow connection stops no other.
//!
//! *Not checked here:* the token (`login.rs`).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tiny_http::{Header, Method, Request, Response, Server};
use url::Url;

use super::{
    login::{Granted, Issuer, LoginError, Person, Return, identity},
    page::{Page, Tone},
};
use crate::services::http::client::excerpt;

/// How long a login may take, when nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(120);
/// The path of the redirect, as every client of Sigstore has it.
pub const CALLBACK: &str = "/auth/callback";
/// How often another port is tried, when one is free on one loopback address only.
const PORTS: usize = 16;
/// The longest request target that is looked at.
const MAX_TARGET: usize = 16 << 10;
/// The longest body that the library has read before we see the request. It
/// would make room for a longer one at once, whatever length it is said to have.
const MAX_BODY: usize = 1024;

/// How the login goes.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Where the browser comes back to, when the client is registered with one:
    /// a loopback address; port 0 is any.
    pub redirect_url: Option<&'a str>,
    /// Whether the last page closes itself; only where the issuer's
    /// `connector_id` is set, as in gitsign.
    pub autoclose: bool,
    /// After how long it does.
    pub autoclose_timeout: Duration,
    /// How long the login may take.
    pub timeout: Duration,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            redirect_url: None,
            autoclose: true,
            autoclose_timeout: Duration::from_secs(6),
            timeout: TIMEOUT,
        }
    }
}

/// Logs in. The address is told before the browser opens.
///
/// # Errors
///
/// When nothing can listen, no browser opens, nobody logs in in time, the issuer
/// refuses, or its token does not hold. The browser shows the reason too.
pub fn log_in(
    issuer: &Issuer<'_>,
    options: &Options<'_>,
    person: &mut dyn Person,
) -> Result<Granted, LoginError> {
    let found = issuer.discover()?;
    let door = Door::open(options.redirect_url)?;
    let begun = found.begin(&door.redirect, &[]);
    person.tell("Your browser is about to open this address; you can also open it yourself:");
    person.tell(&format!("  {}", begun.url));
    let deadline = Instant::now().checked_add(options.timeout);
    if let Err(reason) = person.open(&begun.url) {
        return Err(LoginError::NoBrowser { reason });
    }
    let (request, outcome) = loop {
        let left = deadline.map_or(options.timeout, |end| {
            end.saturating_duration_since(Instant::now())
        });
        let Some(request) = door.next(left) else {
            return Err(LoginError::TimedOut {
                after: options.timeout,
            });
        };
        let query = match door.query(&request) {
            Ok(query) => query,
            Err((status, reason)) => {
                answer(request, status, &stray(reason));
                continue;
            }
        };
        match found.judge(&begun, &query) {
            Return::Stray(reason) => answer(request, 400, &stray(reason)),
            Return::Code(code) => break (request, Ok(code)),
            Return::Ended(error) => break (request, Err(error)),
        }
    };
    let granted = outcome.and_then(|code| found.finish(begun, &code));
    match &granted {
        Ok(granted) => {
            let claims = granted.token.claims();
            let mut page = Page::new(Tone::Good, "gitseal", "You are logged in")
                .facts(&[
                    ("You sign as", identity(claims)),
                    (
                        "Vouched for by",
                        claims.connector.as_deref().unwrap_or(&claims.issuer),
                    ),
                ])
                .text("You can close this page and go back to your terminal.")
                .soft(
                    "What you sign is recorded, with this name, in a transparency log. \
                     Public logs can be read by everyone and forget nothing.",
                );
            if options.autoclose && issuer.connector_id.is_some() {
                page = page.closing_after(options.autoclose_timeout.as_secs());
            }
            answer(request, 200, &page);
        }
        Err(error) => {
            let page = Page::new(Tone::Bad, "gitseal", "The login did not work")
                .text(&error.to_string())
                .soft("Nothing was signed. You can close this page and go back to your terminal.");
            answer(request, 400, &page);
        }
    }
    granted
}

fn stray(reason: &str) -> Page {
    Page::new(Tone::Bad, "gitseal", "Not the answer that is awaited")
        .text(&format!("This request is not part of the login: {reason}."))
        .soft("The login goes on in the page where it began.")
}

/// The listeners on loopback, for one answer.
struct Door {
    servers: Vec<Arc<Server>>,
    requests: mpsc::Receiver<Request>,
    redirect: String,
    authority: String,
    path: String,
}

impl Door {
    fn open(redirect: Option<&str>) -> Result<Self, LoginError> {
        let url = wanted(redirect)?;
        let (v4, v6) = match url.host_str() {
            Some("127.0.0.1") => (true, false),
            Some("[::1]") => (false, true),
            _ => (true, true),
        };
        let port = url
            .port()
            .unwrap_or(if redirect.is_some() { 80 } else { 0 });
        let listeners = listen(v4, v6, port).map_err(|error| LoginError::Listen {
            address: excerpt(url.as_str().as_bytes()),
            reason: error.to_string(),
        })?;
        let failed = |reason: String| LoginError::Listen {
            address: excerpt(url.as_str().as_bytes()),
            reason,
        };
        let bound = listeners
            .first()
            .and_then(|listener| listener.local_addr().ok())
            .map(|address| address.port())
            .ok_or_else(|| failed("no port".into()))?;
        let host = url.host_str().unwrap_or("localhost");
        // A browser leaves the usual port out of `Host`.
        let authority = if bound == 80 {
            host.to_owned()
        } else {
            format!("{host}:{bound}")
        };
        // As the setting has it where it names the port: issuers compare texts.
        let redirect = match redirect {
            Some(text) if port != 0 => text.to_owned(),
            _ => format!("http://{authority}{}", url.path()),
        };
        let (send, requests) = mpsc::sync_channel(64);
        let mut servers = Vec::new();
        for listener in listeners {
            // Accepted connections inherit it; without it each answer waits 40 ms.
            let _ = socket2::SockRef::from(&listener).set_tcp_nodelay(true);
            let server = Arc::new(
                Server::from_listener(listener, None).map_err(|error| failed(error.to_string()))?,
            );
            let (here, send) = (Arc::clone(&server), send.clone());
            thread::spawn(move || {
                while let Ok(request) = here.recv() {
                    if send.send(request).is_err() {
                        break;
                    }
                }
            });
            servers.push(server);
        }
        Ok(Self {
            servers,
            requests,
            redirect,
            authority,
            path: url.path().to_owned(),
        })
    }

    fn next(&self, left: Duration) -> Option<Request> {
        self.requests.recv_timeout(left).ok()
    }

    /// The query of a request that could be the answer.
    fn query(&self, request: &Request) -> Result<String, (u16, &'static str)> {
        if *request.method() != Method::Get {
            return Err((405, "only GET is meant"));
        }
        let mut hosts = request
            .headers()
            .iter()
            .filter(|header| header.field.equiv("Host"))
            .map(|header| header.value.as_str());
        // DNS rebinding: a page of another name must not speak to us.
        if hosts.next() != Some(self.authority.as_str()) || hosts.next().is_some() {
            return Err((400, "it was sent to another host name"));
        }
        let target = request.url();
        if target.len() > MAX_TARGET {
            return Err((414, "its address is too long"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path != self.path {
            return Err((404, "nothing is here"));
        }
        Ok(query.to_owned())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        for server in &self.servers {
            server.unblock();
        }
    }
}

/// The loopback address that the setting names, or the usual one.
fn wanted(redirect: Option<&str>) -> Result<Url, LoginError> {
    let text = redirect.unwrap_or("http://localhost:0/auth/callback");
    let fail = |reason| LoginError::Address {
        what: "redirect address",
        address: excerpt(text.as_bytes()),
        reason,
    };
    let url = Url::parse(text).map_err(|_| fail("not an address"))?;
    if url.scheme() != "http" {
        return Err(fail(
            "the answer comes back over plain http, on this machine",
        ));
    }
    if !matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        return Err(fail("not localhost, 127.0.0.1 or [::1]"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(fail("it has a user, a query or a fragment"));
    }
    Ok(url)
}

/// Listens on one port of the loopback addresses. Where a machine has no IPv6,
/// IPv4 is enough; where another program has the port on one of the two, it
/// could catch the answer, so another port is taken.
fn listen(v4: bool, v6: bool, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORTS {
        let mut listeners = Vec::new();
        let mut port = port;
        let free = port == 0;
        if v4 {
            let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            port = listener.local_addr()?.port();
            listeners.push(listener);
        }
        if v6 {
            match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    last = error;
                    if free {
                        continue;
                    }
                    return Err(last);
                }
                Err(error) if listeners.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        return Ok(listeners);
    }
    Err(last)
}

fn answer(request: Request, status: u16, page: &Page) {
    if request
        .body_length()
        .is_some_and(|length| length > MAX_BODY)
    {
        // Dropping it would make the library allocate and read all of it.
        std::mem::forget(request);
        return;
    }
    let mut response = Response::from_string(page.document()).with_status_code(status);
    let policy = page.policy("'none'");
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy.as_str()),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Connection", "close"),
    ] {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    // Whoever asked may be gone; the login does not depend on it.
    let _ = request.respond(response);
}
