//! The login in the browser of this machine: the issuer sends the person back
//! to a listener on loopback (RFC 8252 §7.3), which takes one answer.
//!
//! The answer is a GET with the right `Host`, path and `state`; whatever else
//! comes gets an error page, and the login goes on: any page in the browser,
//! and any program here, can send requests to a port. What somebody learns who
//! receives the answer in our place is a code that is worth nothing without the
//! PKCE verifier.
//!
//! The browser is given a one-time address of this listener, which redirects to
//! the issuer: other users read the arguments of a program, and with state and
//! nonce they could send us an answer of their own. A request of another user is
//! refused where the system reports whose it is. Where it does not, a second use of
//! the address ends the login.
//!
//! The server is the reference servers' (`services/http/server.rs`): a thread a
//! connection, and a limit on everything that a program here could send, or
//! leave unread. This thread waits for the requests that came whole, and for
//! nothing else.
//!
//! *Not checked here:* the token (`login.rs`).

use std::{
    fmt::Write as _,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use url::{Host, Url};

use super::{
    login::{
        AuthorizationRequest, DiscoveredProvider, LoginConfig, LoginError, LoginPrompt,
        LoginTokens, redirect_url, web_address,
    },
    page::{PageOutcome, Script, content_security_policy, escape_html, page},
};
use crate::http::{
    client::excerpt,
    message::{Method, ServerRequest, ServerResponse},
    server::{Limits, ServerHandle, serve},
};

/// The path of the redirect URL, behind the listener's address. gitsign's too,
/// so that what is registered for it fits.
pub const CALLBACK: &str = "/auth/callback";
/// The path of the one-time address, without its last segment.
const ENTRY: &str = "/login/";
/// The number of ports to try if another program uses half of one.
const TRIES: usize = 8;
/// The time the process waits at its end for a browser that reads the last page
/// slowly.
const LAST_PAGE: Duration = Duration::from_secs(2);

/// The limits for the programs of this machine. A browser sends
/// every cookie that any server on `localhost` gave it, hence the large head;
/// bodies have nothing to say here.
fn limits() -> Limits {
    Limits {
        max_head: 64 << 10,
        max_body: 0,
        max_bodies: 0,
        head_deadline: Duration::from_secs(10),
        body_deadline: LAST_PAGE,
        write_deadline: LAST_PAGE,
        idle: Duration::from_secs(30),
        connections: 64,
        one_request: true,
        hosts: Vec::new(),
    }
}

/// The options of a login in the browser.
#[derive(Debug, Clone, Copy)]
pub struct BrowserLoginOptions<'a> {
    /// The registered address, `http://localhost:PORT/PATH`; otherwise a port of
    /// the system's choice and [`CALLBACK`].
    pub redirect_url: Option<&'a str>,
    /// After how long the last page closes itself, if it does.
    pub autoclose: Option<Duration>,
    /// The time limit of the login.
    pub timeout: Duration,
    /// Whether a connection from this address to this port of loopback is one of
    /// the user's own; `None` if the system does not report it.
    pub is_own: fn(SocketAddr, u16) -> Option<bool>,
}

/// Logs the user in and returns the tokens.
///
/// # Errors
/// No browser, nobody came, or the login fails.
pub fn log_in(
    issuer: &LoginConfig<'_>,
    options: &BrowserLoginOptions<'_>,
    person: &mut dyn LoginPrompt,
) -> Result<LoginTokens, LoginError> {
    let described = issuer.discover()?;
    let listening = CallbackListener::start(options)?;
    let redirect = redirect_url(listening.address.as_str())?;
    let asked = described.authorization_request(&redirect, &[]);
    // First the address: an opener may take its time, or follow it by itself.
    person.tell("gitseal: opening your browser to log in. If it does not open, visit:");
    person.tell(asked.url.as_str());
    listening.entry.redirect_to(&asked.url);
    if let Err(reason) = person.open(&listening.entry_address()) {
        person.tell("gitseal: the URL above is no longer valid");
        return Err(LoginError::NoBrowser { reason });
    }
    let until = Instant::now() + options.timeout;
    while let Some(arrived) = listening.next(until)? {
        let code = match listening.code(&arrived.request, &described, &asked) {
            Ok(code) => code,
            Err(UnexpectedRequest { status, why }) => {
                arrived.answer(response(status, &failure_page("Unexpected request", &why)));
                continue;
            }
        };
        let result = code.and_then(|code| {
            described.redeem(
                code,
                &redirect,
                &asked.nonce,
                openidconnect::PkceCodeVerifier::new(asked.verifier.secret().clone()),
            )
        });
        let last = match &result {
            Ok(granted) => response(200, &success_page(granted, options.autoclose)),
            Err(error) => response(400, &failure_page("Login failed", &error.to_string())),
        };
        listening.end(arrived, last);
        return result;
    }
    Err(LoginError::NobodyCame {
        seconds: options.timeout.as_secs(),
    })
}

/// A request that is not the answer.
struct UnexpectedRequest {
    status: u16,
    why: String,
}

/// A request that came whole, whose connection waits for our answer.
struct PendingRequest {
    request: ServerRequest,
    reply: SyncSender<ServerResponse>,
}

impl PendingRequest {
    /// Sends a page to the browser. If the browser is gone, nobody misses it.
    fn answer(self, page: ServerResponse) {
        let _ = self.reply.try_send(page);
    }
}

/// What the connections report to the login.
enum Arrival {
    Request(PendingRequest),
    /// The one-time address was used again, and the system does not report by whom.
    EntryUsedTwice,
}

/// The one-time address for the browser.
struct EntryPage {
    path: String,
    state: Mutex<EntryState>,
}

enum EntryState {
    /// It redirects here, once.
    Fresh(Url),
    Used,
}

impl EntryPage {
    /// Creates a page under an unpredictable path.
    fn new() -> Result<Self, LoginError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(|error| LoginError::NoBrowser {
            reason: error.to_string(),
        })?;
        Ok(Self {
            path: format!("{ENTRY}{}", gitseal_evidence::hex(&bytes)),
            state: Mutex::new(EntryState::Used),
        })
    }

    fn replace(&self, state: EntryState) -> EntryState {
        let mut current = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, state)
    }

    fn redirect_to(&self, url: &Url) {
        self.replace(EntryState::Fresh(url.clone()));
    }

    /// Answers a request for the page. `None`: it was used before.
    fn answer(&self, request: &ServerRequest) -> Option<ServerResponse> {
        if request.method != Method::Get || request.head_only {
            let page = failure_page("Unexpected request", "only GET is allowed");
            return Some(response(405, &page));
        }
        match self.replace(EntryState::Used) {
            EntryState::Used => None,
            EntryState::Fresh(url) => Some(
                ServerResponse::new(302, "", "")
                    .with("Location", url.as_str())
                    .with("Cache-Control", "no-store")
                    .with("Referrer-Policy", "no-referrer"),
            ),
        }
    }
}

/// The listener, on each loopback address that the name may mean.
struct CallbackListener {
    servers: Vec<ServerHandle>,
    arrivals: Receiver<Arrival>,
    entry: Arc<EntryPage>,
    /// The URL that the issuer redirects the browser to.
    address: Url,
}

impl CallbackListener {
    fn start(options: &BrowserLoginOptions<'_>) -> Result<Self, LoginError> {
        let registered = options.redirect_url;
        let (address, port) = match registered {
            Some(text) => {
                let address = web_address("redirect address", text)?;
                let port = address.port_or_known_default().unwrap_or(0);
                (address, port)
            }
            None => {
                let address = web_address("redirect address", "http://localhost/")?;
                (address, 0)
            }
        };
        let unfit = |reason| LoginError::Address {
            what: "redirect address",
            address: excerpt(address.as_str().as_bytes()),
            reason,
        };
        if address.scheme() != "http" {
            return Err(unfit(
                "gitseal itself listens there, without a TLS certificate",
            ));
        }
        let (four, six) = match address.host() {
            Some(Host::Domain("localhost")) => (true, true),
            Some(Host::Ipv4(ip)) if ip == Ipv4Addr::LOCALHOST => (true, false),
            Some(Host::Ipv6(ip)) if ip == Ipv6Addr::LOCALHOST => (false, true),
            _ => {
                return Err(unfit(
                    "the host must be this machine: localhost, 127.0.0.1 or [::1]",
                ));
            }
        };
        let listeners = listeners(four, six, port).map_err(|error| LoginError::NoListener {
            address: address.to_string(),
            reason: error.to_string(),
        })?;
        let (arrived, arrivals) = mpsc::channel();
        let mut listening = Self {
            servers: Vec::new(),
            arrivals,
            entry: Arc::new(EntryPage::new()?),
            address,
        };
        for listener in listeners {
            let failed = |reason: String| LoginError::NoListener {
                address: "loopback".to_owned(),
                reason,
            };
            if registered.is_none()
                && let Ok(bound) = listener.local_addr()
            {
                // `localhost` and not the number: that is what issuers know.
                let _ = listening.address.set_port(Some(bound.port()));
                listening.address.set_path(CALLBACK);
            }
            let connection = LoginConnection {
                arrived: arrived.clone(),
                entry: Arc::clone(&listening.entry),
                authority: listening.authority(),
                port: listening.address.port_or_known_default().unwrap_or(0),
                is_own: options.is_own,
            };
            let handler = Arc::new(move |request: &ServerRequest| connection.answer(request));
            let server =
                serve(listener, limits(), handler).map_err(|error| failed(error.to_string()))?;
            listening.servers.push(server);
        }
        Ok(listening)
    }

    /// Returns the one-time address that the browser opens.
    fn entry_address(&self) -> Url {
        let mut address = self.address.clone();
        address.set_path(&self.entry.path);
        address.set_query(None);
        address
    }

    /// Returns the `Host` of requests for this listener. A page of another origin
    /// that has its own name point here (DNS rebinding) sends that name.
    fn authority(&self) -> String {
        match (self.address.host_str(), self.address.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            _ => String::new(),
        }
    }

    /// The next request, if one comes before `until`.
    ///
    /// # Errors
    /// The one-time address was used twice.
    fn next(&self, until: Instant) -> Result<Option<PendingRequest>, LoginError> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match self.arrivals.recv_timeout(left) {
            Ok(Arrival::Request(request)) => Ok(Some(request)),
            Ok(Arrival::EntryUsedTwice) => Err(LoginError::OpenedTwice),
            Err(_) => Ok(None),
        }
    }

    /// Sends the last page, and waits until it is sent: the process may end with
    /// the login.
    fn end(mut self, arrived: PendingRequest, last: ServerResponse) {
        for server in &mut self.servers {
            server.stop();
        }
        drop(self.arrivals);
        arrived.answer(last);
        for server in self.servers {
            server.shutdown(LAST_PAGE);
        }
    }

    /// The code in the answer (or the issuer's refusal), or why this is none.
    fn code(
        &self,
        request: &ServerRequest,
        described: &DiscoveredProvider<'_>,
        asked: &AuthorizationRequest,
    ) -> Result<Result<String, LoginError>, UnexpectedRequest> {
        let stray = |status, why: &str| UnexpectedRequest {
            status,
            why: why.to_owned(),
        };
        if request.method != Method::Get || request.head_only {
            return Err(stray(405, "only GET is allowed"));
        }
        if request.path != self.address.path() {
            return Err(stray(404, "path not found"));
        }
        match described.code(asked, &request.query) {
            Err(LoginError::Answer { reason }) => Err(stray(400, reason)),
            result => Ok(result),
        }
    }
}

/// What the threads of the connections need to answer a request.
struct LoginConnection {
    arrived: mpsc::Sender<Arrival>,
    entry: Arc<EntryPage>,
    authority: String,
    port: u16,
    is_own: fn(SocketAddr, u16) -> Option<bool>,
}

impl LoginConnection {
    fn answer(&self, request: &ServerRequest) -> ServerResponse {
        let stray = |status, why| response(status, &failure_page("Unexpected request", why));
        let is_own = (self.is_own)(request.peer, self.port);
        if is_own == Some(false) {
            return stray(403, "the request is from another user of this machine");
        }
        if !request
            .headers
            .first("host")
            .is_some_and(|host| host.eq_ignore_ascii_case(&self.authority))
        {
            return stray(400, "the request is for another host");
        }
        if request.path == self.entry.path {
            return self.entry.answer(request).unwrap_or_else(|| {
                if is_own.is_none() {
                    // If the login has finished, nobody needs to know.
                    let _ = self.arrived.send(Arrival::EntryUsedTwice);
                }
                stray(410, "this address was used before")
            });
        }
        // The connection's thread waits here; how many do is limited.
        let (reply, page) = mpsc::sync_channel(1);
        let request = request.clone();
        self.arrived
            .send(Arrival::Request(PendingRequest { request, reply }))
            .ok()
            .and_then(|()| page.recv().ok())
            .unwrap_or_else(|| stray(404, "this login has already finished"))
    }
}

/// Binds both loopback addresses at one port, or those there are. A half that
/// somebody else holds is no port for a login: the browser might go there.
fn listeners(four: bool, six: bool, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for _ in 0..TRIES {
        let mut bound = Vec::new();
        if four {
            bound.push(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?);
        }
        if !six {
            return Ok(bound);
        }
        let same = match bound.first() {
            Some(listener) => listener.local_addr()?.port(),
            None => port,
        };
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, same))) {
            Ok(listener) => {
                bound.push(listener);
                return Ok(bound);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                last = error;
                if port != 0 {
                    break;
                }
            }
            // No IPv6 on this machine: then `localhost` does not mean it.
            Err(_) if four => return Ok(bound),
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// A page and its policy.
struct Page {
    html: String,
    policy: String,
}

fn success_page(granted: &LoginTokens, autoclose: Option<Duration>) -> Page {
    let claims = granted.token.claims();
    let mut body = String::from("<dl>");
    let who = claims.email.as_deref().unwrap_or(&claims.subject);
    let issuer = claims.connector.as_deref().unwrap_or(&claims.issuer);
    for (name, value) in [("Identity", who), ("Issuer", issuer)] {
        let _ = write!(body, "<dt>{name}</dt><dd>{}</dd>", escape_html(value));
    }
    body.push_str(
        "</dl><p>gitseal will sign with this identity. It is recorded permanently in the \
         certificate and in public logs.</p><p>You can close this page.</p>",
    );
    let script = autoclose.and_then(|after| {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(Script {
            nonce: gitseal_evidence::hex(&bytes),
            seconds: u32::try_from(after.as_secs()).unwrap_or(u32::MAX),
        })
    });
    if let Some(script) = &script {
        let _ = write!(
            body,
            "<p><small>This page closes in {} seconds.</small></p>",
            script.seconds
        );
    }
    Page {
        html: page(
            PageOutcome::Good,
            "You are logged in",
            &body,
            script.as_ref(),
        ),
        policy: content_security_policy(script.as_ref(), "'none'"),
    }
}

/// Returns a text with its first letter in upper case.
fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

fn failure_page(title: &str, why: &str) -> Page {
    let body = format!(
        "<p>{}.</p><p><small>Return to your terminal for details.</small></p>",
        escape_html(&capitalized(&excerpt(why.as_bytes())))
    );
    Page {
        html: page(PageOutcome::Bad, title, &body, None),
        policy: content_security_policy(None, "'none'"),
    }
}

fn response(status: u16, page: &Page) -> ServerResponse {
    ServerResponse::new(status, "text/html; charset=utf-8", page.html.as_str())
        .with("Content-Security-Policy", page.policy.as_str())
        .with("Cache-Control", "no-store")
        .with("Referrer-Policy", "no-referrer")
}
