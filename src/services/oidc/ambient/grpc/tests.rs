#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

/// A peer that sends what it was given, byte by byte, and keeps what it gets.
struct Script {
    sends: Vec<u8>,
    at: usize,
    got: Vec<u8>,
}

impl Peer for Script {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(byte) = self.sends.get(self.at) else {
            return Ok(0);
        };
        self.at += 1;
        buffer[0] = *byte;
        Ok(1)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.got.extend_from_slice(bytes);
        Ok(())
    }

    fn given(&self) -> Duration {
        Duration::from_secs(1)
    }
}

const CALL: Call<'static> = Call {
    path: "/S/M",
    headers: &[("x", "y")],
    message: b"question",
    own: false,
    time: Duration::from_secs(1),
};

fn told(frames: &[(u8, u8, u32, Vec<u8>)]) -> (Result<Vec<u8>, GrpcError>, Vec<u8>) {
    let mut sends = Vec::new();
    for (kind, flags, stream, payload) in frames {
        put(&mut sends, *kind, *flags, *stream, payload);
    }
    let mut script = Script {
        sends,
        at: 0,
        got: Vec::new(),
    };
    let result = converse(&mut script, &CALL);
    let opening = opening(&CALL).unwrap();
    assert!(script.got.starts_with(&opening));
    (result, script.got[opening.len()..].to_vec())
}

fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in headers {
        hpack::write(&mut out, name, value);
    }
    out
}

fn head() -> (u8, u8, u32, Vec<u8>) {
    let block = block(&[(":status", "200"), ("content-type", "application/grpc")]);
    (frame::HEADERS, frame::END_HEADERS, 1, block)
}

fn trailers(status: &str, words: &str) -> (u8, u8, u32, Vec<u8>) {
    let block = block(&[("grpc-status", status), ("grpc-message", words)]);
    (
        frame::HEADERS,
        frame::END_HEADERS | frame::END_STREAM,
        1,
        block,
    )
}

fn data(message: &[u8]) -> (u8, u8, u32, Vec<u8>) {
    let mut payload = vec![0];
    payload.extend_from_slice(&(message.len() as u32).to_be_bytes());
    payload.extend_from_slice(message);
    (frame::DATA, 0, 1, payload)
}

#[test]
fn an_answer_is_taken() {
    let (result, replies) = told(&[
        (frame::SETTINGS, 0, 0, vec![0, 3, 0, 0, 0, 100]),
        (frame::SETTINGS, frame::ACK, 0, vec![]),
        (8, 0, 0, vec![0, 0, 1, 0]),
        (frame::PING, 0, 0, b"12345678".to_vec()),
        (0xfe, 0xff, 7, b"unknown".to_vec()),
        head(),
        data(b"answer"),
        trailers("0", ""),
    ]);
    assert_eq!(result.unwrap(), b"answer");
    let mut expected = Vec::new();
    put(&mut expected, frame::SETTINGS, frame::ACK, 0, &[]);
    put(&mut expected, frame::PING, frame::ACK, 0, b"12345678");
    assert_eq!(replies, expected);
}

#[test]
fn padding_priority_and_continuations_are_read() {
    let mut first = vec![3, 0, 0, 0, 0, 9];
    let whole = head().3;
    let (begin, end) = whole.split_at(5);
    first.extend_from_slice(begin);
    first.extend_from_slice(&[0, 0, 0]);
    let (kind, _, _, message) = data(b"answer");
    let (one, two) = message.split_at(7);
    let mut padded = vec![2];
    padded.extend_from_slice(two);
    padded.extend_from_slice(&[0, 0]);
    let (result, _) = told(&[
        (
            frame::HEADERS,
            frame::PADDED | frame::WITH_PRIORITY,
            1,
            first,
        ),
        (frame::CONTINUATION, frame::END_HEADERS, 1, end.to_vec()),
        (kind, 0, 1, one.to_vec()),
        (kind, frame::PADDED, 1, padded),
        trailers("0", ""),
    ]);
    assert_eq!(result.unwrap(), b"answer");
}

#[test]
fn a_refusal_is_passed_on_in_its_words() {
    let only = block(&[
        (":status", "200"),
        ("grpc-status", "7"),
        ("grpc-message", "no%20identity %1b issued%"),
    ]);
    let flags = frame::END_HEADERS | frame::END_STREAM;
    let (result, _) = told(&[(frame::HEADERS, flags, 1, only)]);
    assert_eq!(
        result.unwrap_err(),
        GrpcError::Status {
            code: 7,
            message: "no identity \\x1b issued%".into()
        }
    );
    // Also after a message.
    let (result, _) = told(&[head(), data(b"answer"), trailers("2", "late")]);
    assert!(matches!(
        result.unwrap_err(),
        GrpcError::Status { code: 2, .. }
    ));
}

#[test]
fn what_is_not_a_call_s_answer_is_refused() {
    let compressed = |mut frame: (u8, u8, u32, Vec<u8>)| {
        frame.3[0] = 1;
        frame
    };
    let at = |mut frame: (u8, u8, u32, Vec<u8>), stream: u32| {
        frame.2 = stream;
        frame
    };
    let closing = |mut frame: (u8, u8, u32, Vec<u8>)| {
        frame.1 |= frame::END_STREAM;
        frame
    };
    let headers =
        |headers: &[(&str, &str)]| (frame::HEADERS, frame::END_HEADERS, 1, block(headers));
    type Frames = Vec<(u8, u8, u32, Vec<u8>)>;
    let cases: Vec<(&str, Frames)> = vec![
        ("nothing", vec![]),
        ("only settings", vec![(frame::SETTINGS, 0, 0, vec![])]),
        ("no head", vec![data(b"a"), trailers("0", "")]),
        ("no message", vec![head(), trailers("0", "")]),
        ("no status", vec![head(), closing(data(b"a"))]),
        (
            "two messages",
            vec![head(), data(b"a"), data(b"b"), trailers("0", "")],
        ),
        (
            "compressed",
            vec![head(), compressed(data(b"a")), trailers("0", "")],
        ),
        (
            "cut off",
            vec![
                head(),
                (frame::DATA, 0, 1, vec![0, 0, 0, 0, 9, 1]),
                trailers("0", ""),
            ],
        ),
        (
            "another stream",
            vec![at(head(), 3), data(b"a"), trailers("0", "")],
        ),
        (
            "data elsewhere",
            vec![head(), at(data(b"a"), 2), trailers("0", "")],
        ),
        (
            "http 404",
            vec![headers(&[(":status", "404")]), trailers("0", "")],
        ),
        (
            "no http state",
            vec![headers(&[("a", "b")]), data(b"a"), trailers("0", "")],
        ),
        (
            "two heads",
            vec![head(), head(), data(b"a"), trailers("0", "")],
        ),
        (
            "status is a word",
            vec![head(), data(b"a"), trailers("ok", "")],
        ),
        (
            "pushed",
            vec![(frame::PUSH_PROMISE, frame::END_HEADERS, 1, vec![0, 0, 0, 2])],
        ),
        ("reset", vec![(frame::RST_STREAM, 0, 1, vec![0, 0, 0, 8])]),
        ("farewell", vec![(frame::GOAWAY, 0, 0, vec![0; 8])]),
        ("short farewell", vec![(frame::GOAWAY, 0, 0, vec![0; 3])]),
        (
            "settings on a stream",
            vec![(frame::SETTINGS, 0, 1, vec![])],
        ),
        ("odd settings", vec![(frame::SETTINGS, 0, 0, vec![0; 5])]),
        ("short ping", vec![(frame::PING, 0, 0, vec![0; 7])]),
        (
            "stray continuation",
            vec![(frame::CONTINUATION, 4, 1, vec![])],
        ),
        (
            "interrupted headers",
            vec![(frame::HEADERS, 0, 1, vec![0x88]), data(b"a")],
        ),
        (
            "more padding than frame",
            vec![(frame::HEADERS, frame::PADDED | 4, 1, vec![9, 0x88])],
        ),
        (
            "no room for priority",
            vec![(frame::HEADERS, frame::WITH_PRIORITY | 4, 1, vec![0; 4])],
        ),
        ("bad headers", vec![(frame::HEADERS, 4, 1, vec![0x80])]),
    ];
    for (name, frames) in cases {
        let (result, _) = told(&frames);
        assert!(
            matches!(
                result,
                Err(GrpcError::Closed | GrpcError::Protocol { .. } | GrpcError::Ended { .. })
            ),
            "{name}: {result:?}"
        );
    }
    // A farewell to later streams does not end ours.
    let (result, _) = told(&[
        (frame::GOAWAY, 0, 0, vec![0, 0, 0, 1, 0, 0, 0, 0]),
        head(),
        data(b"a"),
        trailers("0", ""),
    ]);
    assert_eq!(result.unwrap(), b"a");
}

#[test]
fn limits_hold() {
    let mut sends = vec![1, 0, 1, 0, 0, 0, 0, 0, 0];
    sends.extend_from_slice(&[0; 64]);
    let mut script = Script {
        sends,
        at: 0,
        got: Vec::new(),
    };
    assert!(matches!(
        converse(&mut script, &CALL).unwrap_err(),
        GrpcError::TooLarge { .. }
    ));
    assert_eq!(script.at, 9, "the frame itself is not read");

    let mut long = vec![head()];
    long.extend((0..5).map(|_| (frame::DATA, 0, 1, vec![0; MAX_FRAME])));
    assert!(matches!(
        told(&long).0.unwrap_err(),
        GrpcError::TooLarge { .. }
    ));
    let mut endless = vec![(frame::HEADERS, 0, 1, vec![])];
    endless.extend((0..3).map(|_| (frame::CONTINUATION, 0, 1, vec![0; MAX_FRAME - 1])));
    assert!(matches!(
        told(&endless).0.unwrap_err(),
        GrpcError::TooLarge { .. }
    ));
    let pings: Vec<_> = (0..MAX_FRAMES + 1)
        .map(|_| (frame::PING, 0, 0, vec![0; 8]))
        .collect();
    assert!(matches!(
        told(&pings).0.unwrap_err(),
        GrpcError::Protocol { .. }
    ));
    let large = Call {
        message: &[0; MAX_REQUEST + 1],
        ..CALL
    };
    assert!(matches!(opening(&large), Err(GrpcError::TooLarge { .. })));
}

#[test]
fn changed_answers_end_and_nothing_else() {
    let mut good = Vec::new();
    for (kind, flags, stream, payload) in [
        (frame::SETTINGS, 0, 0, vec![0, 3, 0, 0, 0, 100]),
        (frame::PING, 0, 0, b"12345678".to_vec()),
        head(),
        data(b"answer"),
        trailers("0", "a%20b"),
    ] {
        put(&mut good, kind, flags, stream, &payload);
    }
    // SplitMix64, so that a failure repeats.
    let mut state = 0x6772_7063_u64;
    let mut roll = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    };
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut sends = good.clone();
        for _ in 0..=roll(3) {
            let at = roll(sends.len());
            match roll(4) {
                0 => sends.truncate(at.max(1)),
                1 => sends.insert(at, roll(256) as u8),
                2 => sends[at] = roll(256) as u8,
                _ => sends[at] ^= 1 << roll(8),
            }
        }
        let mut script = Script {
            sends,
            at: 0,
            got: Vec::new(),
        };
        if let Ok(message) = converse(&mut script, &CALL) {
            // Nothing else is as long and has its length before it.
            assert!(message.len() <= 6, "{message:?}");
            accepted += 1;
        }
        assert!(script.got.len() < 1 << 14);
    }
    assert!(accepted > 1000, "only {accepted} were read");
}

#[test]
#[cfg(unix)]
fn our_own_listener_is_no_stranger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let ends = std::thread::spawn(move || drop(listener.accept()));
    let own = Call { own: true, ..CALL };
    let error = call(&SockAddr::unix(&path).unwrap(), &own).unwrap_err();
    assert_eq!(error, GrpcError::Closed, "it was spoken to");
    ends.join().unwrap();
    #[cfg(target_os = "linux")]
    {
        // Of a TCP connection nobody says whose it is.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = SockAddr::from(listener.local_addr().unwrap());
        assert_eq!(call(&address, &own).unwrap_err(), GrpcError::Stranger);
    }
}
