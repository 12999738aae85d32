//! The login in the browser of this machine: the issuer sends the person back
//! to a listener on loopback (RFC 8252 §7.3), which takes one answer.
//!
//! The answer is a GET with the right `Host`, path and `state`; whatever else
//! comes gets an error page, and the login goes on: any page in the browser,
//! and any program here, can send requests to a port. What somebody learns who
//! receives the answer in our place is a code that is worth nothing without the
//! PKCE verifier.
//!
//! `tiny_http` serves it. It has no time-out of its own and reads headers of any
//! size, in a thread for each connection; nobody but this machine reaches the
//! port, one slow connection does not hold up another, and all of it ends with
//! the login.
//!
//! *Not checked here:* the token (`login.rs`).

use std::{
    fmt::Write as _,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use tiny_http::{Header, Method, Request, Response, Server};
use url::{Host, Url};

use super::{
    login::{Asked, Described, Granted, Issuer, LoginError, Person, redirect_url, web_address},
    page::{Mood, Script, escaped, page, policy},
};
use crate::services::http::client::excerpt;

/// Where the answer goes, behind the listener's address. gitsign's too, so that
/// what is registered for it fits.
pub const CALLBACK: &str = "/auth/callback";
/// The longest target of a request that is looked into, in bytes.
pub const MAX_TARGET: usize = 16 << 10;
/// The longest body that is read, to be ignored, in bytes.
pub const MAX_BODY: usize = 1 << 10;
/// How often another port is tried when half of one is taken.
const TRIES: usize = 8;
/// How long one look at a listener lasts.
const LOOK: Duration = Duration::from_millis(20);

/// How the login goes.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The registered address, `http://localhost:PORT/PATH`; otherwise a port of
    /// the system's choice and [`CALLBACK`].
    pub redirect_url: Option<&'a str>,
    /// After how long the last page closes itself, if it does.
    pub autoclose: Option<Duration>,
    /// How long the person has.
    pub timeout: Duration,
}

/// Logs in.
///
/// # Errors
/// No browser, nobody came, or the login fails.
pub fn log_in(
    issuer: &Issuer<'_>,
    options: &Options<'_>,
    person: &mut dyn Person,
) -> Result<Granted, LoginError> {
    let described = issuer.describe()?;
    let listening = Listening::start(options.redirect_url)?;
    let redirect = redirect_url(listening.address.as_str())?;
    let asked = described.ask(&redirect, &[]);
    person.tell("gitseal: your browser opens now; if it does not, go to this address:");
    person.tell(asked.url.as_str());
    person
        .open(&asked.url)
        .map_err(|reason| LoginError::NoBrowser { reason })?;
    let until = Instant::now() + options.timeout;
    while Instant::now() < until {
        let Some(request) = listening.next() else {
            continue;
        };
        let code = match listening.code(&request, &described, &asked) {
            Ok(code) => code,
            Err(Stray { status, why }) => {
                respond(request, status, &failed("This is not the answer", &why));
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
        match &result {
            Ok(granted) => respond(request, 200, &welcome(granted, options.autoclose)),
            Err(error) => respond(
                request,
                400,
                &failed("You are not logged in", &error.to_string()),
            ),
        }
        return result;
    }
    Err(LoginError::NobodyCame {
        seconds: options.timeout.as_secs(),
    })
}

/// A request that is not the answer.
struct Stray {
    status: u16,
    why: String,
}

/// The listener, on each loopback address that the name may mean.
struct Listening {
    servers: Vec<Server>,
    /// Where the issuer sends the browser.
    address: Url,
}

impl Listening {
    fn start(registered: Option<&str>) -> Result<Self, LoginError> {
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
                "gitseal listens there itself, and has no certificate",
            ));
        }
        let (four, six) = match address.host() {
            Some(Host::Domain("localhost")) => (true, true),
            Some(Host::Ipv4(ip)) if ip == Ipv4Addr::LOCALHOST => (true, false),
            Some(Host::Ipv6(ip)) if ip == Ipv6Addr::LOCALHOST => (false, true),
            _ => {
                return Err(unfit(
                    "it is not this machine: localhost, 127.0.0.1 or [::1]",
                ));
            }
        };
        let listeners = listeners(four, six, port).map_err(|error| LoginError::NoListener {
            address: address.to_string(),
            reason: error.to_string(),
        })?;
        let mut listening = Self {
            servers: Vec::new(),
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
            // Without it the answer waits 40 ms for an acknowledgement.
            socket2::SockRef::from(&listener)
                .set_tcp_nodelay(true)
                .map_err(|error| failed(error.to_string()))?;
            let server =
                Server::from_listener(listener, None).map_err(|error| failed(error.to_string()))?;
            listening.servers.push(server);
        }
        Ok(listening)
    }

    fn next(&self) -> Option<Request> {
        self.servers
            .iter()
            .find_map(|server| server.recv_timeout(LOOK).ok().flatten())
    }

    /// The code in the answer (or the issuer's refusal), or why this is none.
    fn code(
        &self,
        request: &Request,
        described: &Described<'_>,
        asked: &Asked,
    ) -> Result<Result<String, LoginError>, Stray> {
        let stray = |status, why: &str| Stray {
            status,
            why: why.to_owned(),
        };
        if *request.method() != Method::Get {
            return Err(stray(405, "only GET is answered here"));
        }
        // A page of another origin that has its own name point here (DNS
        // rebinding) sends that name.
        let authority = match (self.address.host_str(), self.address.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            _ => String::new(),
        };
        let mut hosts = request
            .headers()
            .iter()
            .filter(|header| header.field.equiv("Host"));
        match (hosts.next(), hosts.next()) {
            (Some(host), None) if host.value.as_str().eq_ignore_ascii_case(&authority) => {}
            _ => return Err(stray(400, "the request is for another host")),
        }
        let target = request.url();
        if target.len() > MAX_TARGET || !target.starts_with('/') {
            return Err(stray(400, "that is no address of this login"));
        }
        let Ok(url) = self.address.join(target) else {
            return Err(stray(400, "that is no address of this login"));
        };
        if url.origin() != self.address.origin() || url.path() != self.address.path() {
            return Err(stray(404, "there is nothing at this address"));
        }
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        match described.code(asked, &pairs) {
            Err(LoginError::Answer { reason }) => Err(stray(400, reason)),
            result => Ok(result),
        }
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

fn welcome(granted: &Granted, autoclose: Option<Duration>) -> Page {
    let claims = granted.token.claims();
    let mut body = String::from("<dl>");
    let who = claims.email.as_deref().unwrap_or(&claims.subject);
    let issuer = claims.connector.as_deref().unwrap_or(&claims.issuer);
    for (name, value) in [("Identity", who), ("Vouched for by", issuer)] {
        let _ = write!(body, "<dt>{name}</dt><dd>{}</dd>", escaped(value));
    }
    body.push_str(
        "</dl><p>gitseal signs with this identity. It goes into the certificate and the \
         public logs, where it stays.</p><p>You may close this page and go back to git.</p>",
    );
    let script = autoclose.and_then(|after| {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(Script {
            nonce: crate::evidence::asn1::hex(&bytes),
            seconds: u32::try_from(after.as_secs()).unwrap_or(u32::MAX),
        })
    });
    if let Some(script) = &script {
        let _ = write!(
            body,
            "<p><small>It closes itself in {} seconds.</small></p>",
            script.seconds
        );
    }
    Page {
        html: page(Mood::Good, "You are logged in", &body, script.as_ref()),
        policy: policy(script.as_ref(), "'none'"),
    }
}

fn failed(title: &str, why: &str) -> Page {
    let body = format!(
        "<p>{}.</p><p><small>Go back to git; its terminal says what to do next.</small></p>",
        escaped(&excerpt(why.as_bytes()))
    );
    Page {
        html: page(Mood::Bad, title, &body, None),
        policy: policy(None, "'none'"),
    }
}

/// Sends a page. If the browser is gone, nobody misses it.
fn respond(request: Request, status: u16, page: &Page) {
    let chunked = request
        .headers()
        .iter()
        .any(|header| header.field.equiv("Transfer-Encoding"));
    if chunked
        || request
            .body_length()
            .is_some_and(|length| length > MAX_BODY)
    {
        // To drop it would have the library read all of the body, into memory
        // that it asks for at once. The process ends soon.
        std::mem::forget(request);
        return;
    }
    let mut response = Response::from_string(&page.html).with_status_code(status);
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", page.policy.as_str()),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ] {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    let _ = request.respond(response);
}
