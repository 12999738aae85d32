//! HTTP/1.1 messages as our servers read and write them (RFC 9110, RFC 9112),
//! strictly: what two readers could frame differently is refused, because a
//! proxy in front would disagree about where a request ends.
//!
//! Pure: bytes in, a [`Head`] or a [`HttpParseError`] out. Time limits, the
//! body's bytes and the socket are `server.rs`' business.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// More header lines than this are refused with 431.
pub const MAX_HEADERS: usize = 64;
/// A request target longer than this is refused with 414.
pub const MAX_TARGET: usize = 8 * 1024;
/// More query parameters than this are refused with 400.
pub const MAX_QUERY: usize = 64;

/// The method of a request. `HEAD` reaches a handler as [`Method::Get`]; the
/// server leaves the answer's body out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET` (and `HEAD`).
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        })
    }
}

/// Header lines in the order they came, names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of this (lower-case) name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of this (lower-case) name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Adds a line; the name is put into lower case.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// Returns all header lines.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// One request, read completely.
#[derive(Debug, Clone)]
pub struct ServerRequest {
    /// The method; `HEAD` is shown as `GET`.
    pub method: Method,
    /// Whether it was `HEAD`.
    pub head_only: bool,
    /// The path as sent, still percent-encoded, beginning with `/`. Compare it
    /// as it is: no route of the reference servers needs an escaped character.
    pub path: String,
    /// The query's pairs in order, percent- and plus-decoded.
    pub query: Vec<(String, String)>,
    /// The header lines.
    pub headers: Headers,
    /// The body, de-chunked.
    pub body: Vec<u8>,
    /// The address of the peer.
    pub peer: SocketAddr,
}

impl ServerRequest {
    /// The first value of a query parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The path's segments without the leading slash.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.path
            .strip_prefix('/')
            .unwrap_or(&self.path)
            .split('/')
            .collect()
    }

    /// The media type of the body in lower case, without parameters.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let value = self.headers.first("content-type")?;
        let media = value.split(';').next().unwrap_or(value);
        Some(media.trim().to_ascii_lowercase())
    }
}

/// A response of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerResponse {
    /// The status code.
    pub status: u16,
    /// The `Content-Type`; empty for none.
    pub content_type: String,
    /// Further header lines. A value must not hold CR, LF or NUL: such a line
    /// is left out when the answer is written.
    pub headers: Vec<(String, String)>,
    /// The body; the server writes its `Content-Length`.
    pub body: Vec<u8>,
}

impl ServerResponse {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self::new(status, "", Vec::new())
    }

    /// An answer with a body.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Returns a response of type `text/plain`.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    /// `application/json` from a value.
    #[must_use]
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    /// The same answer with one more header line.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The bytes on the wire. `date` is the `Date` header's value.
    #[must_use]
    pub fn to_bytes(&self, date: &str, close: bool, head_only: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        let mut line = |name: &str, value: &str| {
            let clean = |text: &str| !text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0));
            if clean(name) && clean(value) {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        };
        line("Date", date);
        if !self.content_type.is_empty() {
            line("Content-Type", &self.content_type);
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        line("X-Content-Type-Options", "nosniff");
        // RFC 9110 §8.6: none of these statuses has a body.
        if self.status != 204 && self.status != 304 && self.status >= 200 {
            line("Content-Length", &self.body.len().to_string());
        }
        if close {
            line("Connection", "close");
        }
        let mut message =
            format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).into_bytes();
        message.append(&mut out);
        message.extend_from_slice(b"\r\n");
        if !head_only && self.status != 204 && self.status != 304 {
            message.extend_from_slice(&self.body);
        }
        message
    }
}

/// The reason phrase of a status code (RFC 9110 §15).
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

/// The error of a malformed request: the status to answer with, and the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {message}")]
pub struct HttpParseError {
    /// The status code.
    pub status: u16,
    /// The message in the response's body.
    pub message: &'static str,
}

impl HttpParseError {
    /// A fault with this status.
    #[must_use]
    pub fn new(status: u16, message: &'static str) -> Self {
        Self { status, message }
    }
}

fn bad(message: &'static str) -> HttpParseError {
    HttpParseError::new(400, message)
}

/// The way in which the length of a body is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Empty,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// Whether it was `HEAD`.
    pub head_only: bool,
    /// The path as sent.
    pub path: String,
    /// The decoded query.
    pub query: Vec<(String, String)>,
    /// The header lines.
    pub headers: Headers,
    /// The body's framing.
    pub framing: Framing,
    /// Whether the connection ends after the answer.
    pub close: bool,
    /// Whether the peer waits for `100 Continue`.
    pub expects_continue: bool,
    /// The authority of `Host` (or of an absolute target), as sent.
    pub authority: Option<String>,
}

/// Returns the end of the head in `buffer` (after its empty line), if it is
/// complete.
///
/// # Errors
/// A bare LF or CR anywhere in the head (RFC 9112 §2.2 lets a recipient choose;
/// two recipients that choose differently are a smuggling gap), or a NUL.
pub fn head_end(buffer: &[u8], from: usize) -> Result<Option<usize>, HttpParseError> {
    let mut at = from.saturating_sub(3);
    while let Some(&byte) = buffer.get(at) {
        let before = at.checked_sub(1).and_then(|i| buffer.get(i)).copied();
        match byte {
            0 => return Err(bad("a NUL byte in the request head")),
            b'\n' if before != Some(b'\r') => {
                return Err(bad("a line of the request head ends with LF without CR"));
            }
            b'\n'
                if buffer
                    .get(..=at)
                    .is_some_and(|head| head.ends_with(b"\r\n\r\n")) =>
            {
                return Ok(at.checked_add(1));
            }
            _ if byte != b'\n' && before == Some(b'\r') => {
                return Err(bad("a CR without LF in the request head"));
            }
            _ => {}
        }
        at = at.saturating_add(1);
    }
    Ok(None)
}

/// Reads a complete head (up to and with its empty line).
///
/// # Errors
/// Every form that RFC 9112 calls an error, and the ambiguous ones: two
/// `Content-Length` lines (even equal ones), `Content-Length` beside
/// `Transfer-Encoding`, folded header lines, codings other than chunked.
pub fn parse_head(bytes: &[u8]) -> Result<Head, HttpParseError> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(end)) if end == bytes.len() => {}
        Ok(_) => return Err(bad("the request head is malformed")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpParseError::new(431, "too many header lines"));
        }
        Err(httparse::Error::Version) => {
            return Err(HttpParseError::new(
                505,
                "only HTTP/1.0 and HTTP/1.1 are supported",
            ));
        }
        Err(_) => return Err(bad("the request head is malformed")),
    }
    let version = parsed.version.unwrap_or(0);
    let (method, head_only) = match parsed.method.unwrap_or_default() {
        "GET" => (Method::Get, false),
        "HEAD" => (Method::Get, true),
        "POST" => (Method::Post, false),
        "PUT" => (Method::Put, false),
        "PATCH" => (Method::Patch, false),
        "DELETE" => (Method::Delete, false),
        "OPTIONS" => (Method::Options, false),
        _ => return Err(HttpParseError::new(501, "this method is not implemented")),
    };
    let mut headers = Headers::default();
    for line in parsed.headers.iter() {
        let value =
            std::str::from_utf8(line.value).map_err(|_| bad("a header value is not UTF-8"))?;
        headers.push(line.name, value.trim_matches([' ', '\t']));
    }
    let target = parsed.path.unwrap_or_default();
    if target.len() > MAX_TARGET {
        return Err(HttpParseError::new(414, "the request target is too long"));
    }
    let (authority, path_and_query) = split_target(target)?;
    let authority = host(&headers, version, authority)?;
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, decode_form(query)?),
        None => (path_and_query, Vec::new()),
    };
    let framing = framing(&headers, version)?;
    let expects_continue = match headers.first("expect") {
        None => false,
        Some(value) if value.eq_ignore_ascii_case("100-continue") => version == 1,
        Some(_) => {
            return Err(HttpParseError::new(
                417,
                "the only supported expectation is 100-continue",
            ));
        }
    };
    if headers
        .first("content-encoding")
        .is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        // A compressed body has no bounded size before it is unpacked.
        return Err(HttpParseError::new(415, "encoded bodies are not supported"));
    }
    let close = version == 0
        || headers
            .all("connection")
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case("close"));
    Ok(Head {
        method,
        head_only,
        path: path.to_owned(),
        query,
        headers,
        framing,
        close,
        expects_continue,
        authority,
    })
}

/// RFC 9112 §3.2: origin-form, or absolute-form (whose authority then counts).
fn split_target(target: &str) -> Result<(Option<&str>, &str), HttpParseError> {
    if target.bytes().any(|b| !(0x21..=0x7e).contains(&b)) || target.contains('#') {
        return Err(bad(
            "the request target contains a character that must be escaped",
        ));
    }
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let rest = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"))
        .ok_or_else(|| bad("the request target is neither a path nor a URL"))?;
    let slash = rest
        .find('/')
        .ok_or_else(|| bad("the request target has no path"))?;
    let (authority, path) = rest
        .split_at_checked(slash)
        .ok_or_else(|| bad("the request target has no path"))?;
    Ok((Some(authority), path))
}

/// RFC 9112 §3.2: exactly one `Host` in HTTP/1.1, equal to the target's.
fn host(
    headers: &Headers,
    version: u8,
    target: Option<&str>,
) -> Result<Option<String>, HttpParseError> {
    let mut hosts = headers.all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("duplicate Host header"));
    }
    match (host, target) {
        (None, _) if version == 1 => Err(bad("missing Host header")),
        (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target) => {
            Err(bad("Host and the request target name different hosts"))
        }
        (host, target) => Ok(host.or(target).map(str::to_owned)),
    }
}

/// RFC 9112 §6: how long the body is.
fn framing(headers: &Headers, version: u8) -> Result<Framing, HttpParseError> {
    let mut lengths = headers.all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(bad("duplicate Content-Length header"));
    }
    let mut codings = headers.all("transfer-encoding");
    let coding = codings.next();
    if codings.next().is_some() {
        return Err(bad("duplicate Transfer-Encoding header"));
    }
    match (length, coding) {
        (Some(_), Some(_)) => Err(bad("both Content-Length and Transfer-Encoding are present")),
        (None, None) => Ok(Framing::Empty),
        (None, Some(_)) if version == 0 => Err(bad("Transfer-Encoding in HTTP/1.0")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(HttpParseError::new(
            501,
            "the only supported transfer coding is chunked",
        )),
        (Some(length), None) => {
            if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad("Content-Length is not a number"));
            }
            length
                .parse()
                .map(Framing::Length)
                .map_err(|_| HttpParseError::new(413, "Content-Length is too large"))
        }
    }
}

/// Decodes `application/x-www-form-urlencoded` pairs (a query or a form body).
///
/// # Errors
/// A broken escape, text that is not UTF-8, or more than [`MAX_QUERY`] pairs.
pub fn decode_form(text: &str) -> Result<Vec<(String, String)>, HttpParseError> {
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() >= MAX_QUERY {
            return Err(bad("too many parameters"));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode_text(key)?, decode_text(value)?));
    }
    Ok(pairs)
}

fn decode_text(text: &str) -> Result<String, HttpParseError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || {
                    bytes
                        .next()
                        .and_then(|b| char::from(b).to_digit(16))
                        .and_then(|d| u8::try_from(d).ok())
                };
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(bad("an invalid percent escape"));
                };
                out.push((high << 4) | low);
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| bad("a parameter is not UTF-8"))
}

/// Whether a request for `authority` that arrived at `local` is meant for this
/// server. A page of another site whose name was made to resolve to this
/// machine (DNS rebinding) sends that site's name, and is refused.
#[must_use]
pub fn is_own_authority(authority: &str, local: SocketAddr, names: &[String]) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || is_port(port) => host,
            _ => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            Some(_) => return false,
            None => authority,
        },
    };
    if names.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        return true;
    }
    let here = local.ip().to_canonical();
    if host.eq_ignore_ascii_case("localhost") {
        return here.is_loopback();
    }
    host.parse::<IpAddr>().is_ok_and(|address| {
        let address = address.to_canonical();
        address == here || (address.is_loopback() && here.is_loopback())
    })
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, HttpParseError> {
        let bytes = text.as_bytes();
        match head_end(bytes, 0)? {
            Some(end) => parse_head(&bytes[..end]),
            None => panic!("incomplete head in a test"),
        }
    }

    #[test]
    fn reads_a_plain_request() {
        let head = parse("GET /a/b?x=1&y=a%20b+c HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(head.path, "/a/b");
        assert_eq!(
            head.query,
            [
                ("x".to_owned(), "1".to_owned()),
                ("y".to_owned(), "a b c".to_owned())
            ]
        );
        assert_eq!(head.framing, Framing::Empty);
        assert!(!head.close);
    }

    #[test]
    fn refuses_what_two_readers_frame_differently() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        for (lines, status) in [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", 400),
            ("Content-Length: 3, 3\r\n", 400),
            ("Content-Length: +3\r\n", 400),
            ("Content-Length: -3\r\n", 400),
            ("Content-Length: 0x3\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("Content-Length: 99999999999999999999999\r\n", 413),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                400,
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: xchunked\r\n", 501),
            ("X: a\r\n folded\r\n", 400),
            (" X: a\r\n", 400),
            ("X : a\r\n", 400),
            ("X\r\n", 400),
            ("Host: localhost\r\n", 400),
            ("Expect: 200-maybe\r\n", 417),
            ("Content-Encoding: gzip\r\n", 415),
        ] {
            assert_eq!(parse(&with(lines)).unwrap_err().status, status, "{lines:?}");
        }
    }

    #[test]
    fn refuses_bad_lines_and_targets() {
        for (text, status) in [
            ("GET / HTTP/1.1\nHost: localhost\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
            ("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
            ("GET localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            ("GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            ("GET /?a=%2 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            ("GET /?a=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ] {
            assert_eq!(parse(text).unwrap_err().status, status, "{text:?}");
        }
        let many = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
            "X: y\r\n".repeat(MAX_HEADERS)
        );
        assert_eq!(parse(&many).unwrap_err().status, 431);
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "a".repeat(MAX_TARGET)
        );
        assert_eq!(parse(&long).unwrap_err().status, 414);
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_reads_split_it() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let end = text.len() - 4;
        for split in 0..=text.len() {
            let found = head_end(&text[..split], 0).unwrap();
            assert_eq!(found, (split >= end).then_some(end), "{split}");
            assert_eq!(head_end(text, split.min(end)).unwrap(), Some(end));
        }
    }

    #[test]
    fn only_own_names_are_own() {
        let local: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let outer: SocketAddr = "10.1.2.3:80".parse().unwrap();
        let names = ["log.example".to_owned()];
        for (authority, at, own) in [
            ("localhost", local, true),
            ("LOCALHOST:1", local, true),
            ("127.0.0.1:9", local, true),
            ("127.1.2.3", local, true),
            ("[::1]:9", local, true),
            ("log.example:443", local, true),
            ("evil.example", local, false),
            ("localhost.evil.example", local, false),
            ("evil.example:8080", local, false),
            ("127.0.0.1.evil.example", local, false),
            ("user@localhost", local, false),
            ("", local, false),
            ("[::1", local, false),
            ("localhost", outer, false),
            ("127.0.0.1", outer, false),
            ("10.1.2.3", outer, true),
            ("10.1.2.4", outer, false),
        ] {
            assert_eq!(is_own_authority(authority, at, &names), own, "{authority}");
        }
    }

    #[test]
    fn an_answer_cannot_be_split() {
        let answer = ServerResponse::text(200, "x").with("Location", "a\r\nSet-Cookie: b");
        let text = String::from_utf8(answer.to_bytes("now", true, false)).unwrap();
        assert!(!text.contains("Set-Cookie"), "{text}");
        assert!(text.ends_with("Connection: close\r\n\r\nx"), "{text}");
    }
}
