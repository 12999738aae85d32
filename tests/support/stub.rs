//! A server for tests: answers each request on a loopback port with what a
//! closure returns, and records the requests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    missing_docs,
    reason = "test support, of which unit tests use a part as well"
)]

use std::{
    io::{Cursor, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tiny_http::{Header, Request, Response, Server, StatusCode};
use url::Url;

#[derive(Debug, Clone)]
pub struct RecordedRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The number of requests before this one.
    pub number: usize,
}

impl RecordedRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

pub struct CannedResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// A pause before each 16 bytes of the body.
    pub drip: Duration,
}

impl CannedResponse {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let canned = Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            drip: Duration::ZERO,
        };
        canned.with("Content-Type", content_type)
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// The running server; it ends when dropped.
pub struct Stub {
    pub address: SocketAddr,
    pub url: Url,
    asked: Arc<Mutex<Vec<RecordedRequest>>>,
    server: Arc<Mutex<Option<Arc<Server>>>>,
}

impl Stub {
    pub fn start(
        answer: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        Self::hanging_up(0, answer)
    }

    /// Closes the first `times` connections without a response.
    pub fn hanging_up(
        times: usize,
        answer: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stub = Self {
            address,
            url: Url::parse(&format!("http://{address}")).unwrap(),
            asked: Arc::default(),
            server: Arc::default(),
        };
        let (asked, server) = (Arc::clone(&stub.asked), Arc::clone(&stub.server));
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for _ in 0..times {
                drop(listener.accept());
            }
            let running = Arc::new(Server::from_listener(listener, None).unwrap());
            *server.lock().unwrap() = Some(Arc::clone(&running));
            for request in running.incoming_requests() {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                thread::spawn(move || respond(request, &asked, &*answer));
            }
        });
        stub
    }

    pub fn asked(&self) -> Vec<RecordedRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.unblock();
        }
    }
}

fn respond(
    mut request: Request,
    asked: &Mutex<Vec<RecordedRequest>>,
    answer: &dyn Fn(&RecordedRequest) -> CannedResponse,
) {
    let mut body = Vec::new();
    if request.as_reader().read_to_end(&mut body).is_err() {
        return;
    }
    let headers = request
        .headers()
        .iter()
        .map(|header| (header.field.to_string(), header.value.to_string()))
        .collect();
    let mut recorded = RecordedRequest {
        method: request.method().to_string(),
        target: request.url().to_owned(),
        headers,
        body,
        number: 0,
    };
    {
        let mut asked = asked.lock().unwrap();
        recorded.number = asked.len();
        asked.push(recorded.clone());
    }
    let canned = answer(&recorded);
    if canned.drip.is_zero() {
        let headers = canned
            .headers
            .iter()
            .map(|(name, value)| Header::from_bytes(name.as_bytes(), value.as_bytes()).unwrap())
            .collect();
        let (status, length) = (StatusCode(canned.status), canned.body.len());
        let response = Response::new(
            status,
            headers,
            Cursor::new(canned.body),
            Some(length),
            None,
        )
        .with_chunked_threshold(usize::MAX);
        drop(request.respond(response));
        return;
    }
    let mut writer = request.into_writer();
    let length = canned.body.len();
    let mut next = format!(
        "HTTP/1.1 {} x\r\nContent-Length: {length}\r\n\r\n",
        canned.status
    )
    .into_bytes();
    for piece in canned.body.chunks(16) {
        if writer
            .write_all(&next)
            .and_then(|()| writer.flush())
            .is_err()
        {
            return;
        }
        thread::sleep(canned.drip);
        next = piece.to_owned();
    }
}
