#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use std::sync::mpsc;

/// Echoes what arrived; `/slow` takes 200 ms.
fn echo(request: &ServerRequest) -> ServerResponse {
    if request.path == "/slow" {
        thread::sleep(Duration::from_millis(200));
    }
    let mut text = format!("{} {}", request.method, request.path).into_bytes();
    text.push(b' ');
    text.extend_from_slice(&request.body);
    ServerResponse::new(200, "text/plain", text)
}

fn tight() -> Limits {
    Limits {
        max_head: 2048,
        max_body: 10_000,
        max_bodies: 50_000,
        head_deadline: Duration::from_millis(300),
        body_deadline: Duration::from_millis(300),
        write_deadline: Duration::from_millis(500),
        idle: Duration::from_millis(600),
        connections: 8,
        one_request: false,
        hosts: vec!["log.example".to_owned()],
    }
}

fn start(limits: Limits) -> ServerHandle {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve(listener, limits, Arc::new(echo)).unwrap()
}

fn connect(server: &ServerHandle) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream
}

/// Everything the server sends until it closes.
fn talk(server: &ServerHandle, bytes: &[u8]) -> String {
    let mut stream = connect(server);
    let _ = stream.write_all(bytes);
    drain(&mut stream)
}

fn drain(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(count) = stream.read(&mut part) {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

const CLOSE: &str = "Host: localhost\r\nConnection: close\r\n";

#[test]
fn answers_get_head_post_and_chunks() {
    let server = start(tight());
    let get = talk(
        &server,
        format!("GET /a HTTP/1.1\r\n{CLOSE}\r\n").as_bytes(),
    );
    assert!(get.ends_with("\r\n\r\nGET /a "), "{get}");
    let head = talk(
        &server,
        format!("HEAD /a HTTP/1.1\r\n{CLOSE}\r\n").as_bytes(),
    );
    assert!(
        head.contains("Content-Length: 7\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let post = format!("POST /a HTTP/1.1\r\n{CLOSE}Content-Length: 2\r\n\r\nhi");
    assert!(talk(&server, post.as_bytes()).ends_with("POST /a hi"));
    let chunked = format!(
        "POST /a HTTP/1.1\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n\
         2;x=y\r\nhi\r\n3\r\n yo\r\n0\r\nTrailer: t\r\n\r\n"
    );
    assert!(talk(&server, chunked.as_bytes()).ends_with("POST /a hi yo"));
    let old = talk(&server, b"GET /a HTTP/1.0\r\n\r\n");
    assert!(
        old.contains("Connection: close") && old.ends_with("GET /a "),
        "{old}"
    );
}

#[test]
fn keeps_connections_and_takes_pipelined_requests_in_order() {
    let server = start(tight());
    let mut all = String::new();
    for n in 0..500 {
        all += &format!("GET /{n} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    }
    all += &format!("GET /end HTTP/1.1\r\n{CLOSE}\r\n");
    let answer = talk(&server, all.as_bytes());
    let order: Vec<_> = answer
        .match_indices("GET /")
        .map(|(at, _)| &answer[at + 5..])
        .collect();
    assert_eq!(order.len(), 501);
    assert!(order[499].starts_with("499 ") && order[500].starts_with("end "));
}

#[test]
fn one_request_is_one_answer() {
    let server = start(Limits {
        one_request: true,
        ..tight()
    });
    let both =
        b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /2 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = talk(&server, both);
    assert!(answer.contains("Connection: close"), "{answer}");
    assert!(answer.ends_with("GET /1 "), "{answer}");
}

#[test]
fn asks_for_the_body_only_when_it_will_take_it() {
    let server = start(tight());
    let mut stream = connect(&server);
    stream
        .write_all(
            format!("POST /a HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
    let mut part = [0; 64];
    let count = stream.read(&mut part).unwrap();
    assert_eq!(&part[..count], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ok").unwrap();
    assert!(drain(&mut stream).ends_with("POST /a ok"));

    let large =
        format!("POST /a HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nContent-Length: 20000\r\n\r\n");
    assert_eq!(status(&talk(&server, large.as_bytes())), 413);
}

#[test]
fn refuses_what_is_too_large() {
    let server = start(tight());
    let post = |lines: &str| format!("POST /a HTTP/1.1\r\n{CLOSE}{lines}\r\n");
    for (request, expected) in [
        (post("Content-Length: 10001\r\n"), 413),
        (post("Content-Length: 1000000000000\r\n"), 413),
        (post("Transfer-Encoding: chunked\r\n") + "fffffff\r\n", 413),
        (
            post("Transfer-Encoding: chunked\r\n") + "3e8\r\n" + &"a".repeat(1000) + "\r\n2711\r\n",
            413,
        ),
        (post(&format!("X: {}\r\n", "a".repeat(4000))), 431),
        (post(&"X: y\r\n".repeat(100)), 431),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(10_000)), 431),
        (
            post("Transfer-Encoding: chunked\r\n") + "5\r\nhello!\r\n0\r\n\r\n",
            400,
        ),
        (post("Transfer-Encoding: chunked\r\n") + "-5\r\n", 400),
        (post("Transfer-Encoding: chunked\r\n") + "\r\n", 400),
        (post("Transfer-Encoding: chunked\r\n") + "5\nhello\r\n", 400),
        (
            post("Transfer-Encoding: chunked\r\n") + "0\r\n" + &"T: t\r\n".repeat(100),
            431,
        ),
        (
            post("Transfer-Encoding: chunked\r\n") + &"a".repeat(1000),
            400,
        ),
    ] {
        let answer = talk(&server, request.as_bytes());
        assert_eq!(status(&answer), expected, "{:.80} -> {answer}", request);
        assert!(answer.contains("Connection: close"), "{answer}");
    }
}

/// A peer that sends a byte now and then is cut off by the total deadline.
#[test]
fn slow_requests_end_at_the_deadline() {
    let server = start(tight());
    for start_of in [
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n",
    ] {
        let mut stream = connect(&server);
        let begun = Instant::now();
        stream.write_all(start_of.as_bytes()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut answer = Vec::new();
        while begun.elapsed() < Duration::from_secs(4) {
            let _ = stream.write_all(b"a");
            let mut part = [0; 1024];
            match stream.read(&mut part) {
                Ok(0) => break,
                Ok(count) => {
                    answer.extend_from_slice(&part[..count]);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        assert_eq!(status(&String::from_utf8_lossy(&answer)), 408);
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
    }
    // A connection that never says anything is closed without a word.
    let mut silent = connect(&server);
    let begun = Instant::now();
    assert_eq!(drain(&mut silent), "");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn silent_connections_make_room_for_new_ones() {
    let server = start(Limits {
        head_deadline: Duration::from_secs(30),
        idle: Duration::from_secs(30),
        ..tight()
    });
    let mut holders = Vec::new();
    for _ in 0..60 {
        let mut stream = connect(&server);
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        holders.push(stream);
        // The one that makes room has to end first; until then the answer is
        // "every connection is taken", with the time to come back.
        let ask = || {
            talk(
                &server,
                format!("GET /a HTTP/1.1\r\n{CLOSE}\r\n").as_bytes(),
            )
        };
        let begun = Instant::now();
        let mut answer = ask();
        while status(&answer) == 503 && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(10));
            answer = ask();
        }
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert!(server.connections() <= 8, "{}", server.connections());
}

#[test]
fn says_503_when_every_connection_works() {
    let server = start(Limits {
        connections: 2,
        ..tight()
    });
    let mut busy: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = connect(&server);
            stream
                .write_all(format!("GET /slow HTTP/1.1\r\n{CLOSE}\r\n").as_bytes())
                .unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(80));
    let answer = talk(
        &server,
        format!("GET /a HTTP/1.1\r\n{CLOSE}\r\n").as_bytes(),
    );
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("Retry-After: 1"), "{answer}");
    for stream in &mut busy {
        assert_eq!(status(&drain(stream)), 200);
    }
}

#[test]
fn all_bodies_together_are_bounded() {
    let server = start(Limits {
        connections: 64,
        body_deadline: Duration::from_secs(5),
        ..tight()
    });
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..8 {
        let mut stream = connect(&server);
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n")
            .unwrap();
        stream.write_all(&[b'a'; 8999]).unwrap();
        held.push(stream);
    }
    for stream in &mut held {
        stream
            .set_read_timeout(Some(Duration::from_millis(150)))
            .unwrap();
        if status(&drain(stream)) == 503 {
            refused += 1;
        }
    }
    assert!((2..8).contains(&refused), "{refused}");
}

#[test]
fn other_names_and_other_sites_are_refused() {
    let server = start(tight());
    let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    for (host, expected) in [
        ("evil.example", 421),
        ("log.example", 200),
        ("localhost:1", 200),
        ("[::1]", 200),
    ] {
        assert_eq!(
            status(&talk(&server, get(host).as_bytes())),
            expected,
            "{host}"
        );
    }
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(status(&talk(&server, absolute.as_bytes())), 421);
    let post = |origin: &str| {
        format!("POST / HTTP/1.1\r\n{CLOSE}Origin: {origin}\r\nContent-Length: 0\r\n\r\n")
    };
    for (origin, expected) in [
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost:99", 403),
        ("http://localhost", 200),
    ] {
        assert_eq!(
            status(&talk(&server, post(origin).as_bytes())),
            expected,
            "{origin}"
        );
    }
}

#[test]
fn garbage_is_answered_and_nothing_hangs() {
    let server = start(tight());
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
    ] {
        let begun = Instant::now();
        let answer = talk(&server, request);
        assert!(matches!(status(&answer), 400 | 408 | 505), "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
    // A peer that resets in the middle leaves nothing behind.
    for _ in 0..50 {
        let mut stream = connect(&server);
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab")
            .unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.connections(), 0);
}

/// A peer that never reads its answers does not keep its thread.
#[test]
fn answers_nobody_takes_are_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let large = |_: &ServerRequest| ServerResponse::new(200, "", vec![b'a'; 8 << 20]);
    let server = serve(listener, tight(), Arc::new(large)).unwrap();
    let mut stream = connect(&server);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(server.connections(), 0);
}

#[test]
fn shutdown_finishes_what_began() {
    let server = start(tight());
    let addr = server.addr();
    let mut idle = connect(&server);
    let mut busy = connect(&server);
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    thread::sleep(Duration::from_millis(50));
    let (done, finished) = mpsc::channel();
    thread::spawn(move || done.send(server.shutdown(Duration::from_secs(5))));
    let answer = drain(&mut busy);
    assert!(
        answer.contains("Connection: close") && status(&answer) == 200,
        "{answer}"
    );
    assert_eq!(drain(&mut idle), "");
    assert!(finished.recv_timeout(Duration::from_secs(3)).unwrap());
    assert!(TcpStream::connect(addr).is_err());
}
