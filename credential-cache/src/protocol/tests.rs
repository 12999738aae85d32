#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Cursor;

use super::*;

fn scope(subject: &str) -> Scope {
    Scope {
        issuer: "https://issuer.example".into(),
        client_id: "sigstore".into(),
        connector: "https://provider.example".into(),
        authority: "https://authority.example".into(),
        trusted_root: "00ff".repeat(16),
        subject: subject.into(),
    }
}

fn requests() -> Vec<CacheRequest> {
    vec![
        CacheRequest::Hello,
        CacheRequest::Find {
            scope: scope("alice@example.test"),
            min_left: 20,
        },
        CacheRequest::Acquire {
            scope: scope(""),
            min_left: u32::MAX,
            wait: 60_000,
        },
        CacheRequest::Fail {
            key: [5; 16],
            reason: "the browser was closed".into(),
        },
        CacheRequest::KeepToken {
            scope: scope(""),
            kind: TokenKind::Identity,
            token: Secret::new("eyJ.e30.sig"),
            expires: 1_800_000_000,
        },
        CacheRequest::Token {
            scope: scope(""),
            kind: TokenKind::Refresh,
        },
        CacheRequest::Forget(scope("x")),
        CacheRequest::Store {
            key: [7; 16],
            chain: vec![vec![0x30, 0], vec![]],
        },
        CacheRequest::Sign {
            key: [1; 16],
            digest: [2; 32],
        },
        CacheRequest::Status,
        CacheRequest::Clear,
        CacheRequest::Stop,
    ]
}

fn responses() -> Vec<CacheResponse> {
    let mut all = vec![
        CacheResponse::Absent,
        CacheResponse::Found {
            key: [9; 16],
            chain: vec![vec![0x30; 900]],
        },
        CacheResponse::MustLogIn {
            key: [3; 16],
            public: vec![4; 91],
        },
        CacheResponse::Done,
        CacheResponse::Failed("no network".into()),
        CacheResponse::Welcome(DaemonInfo {
            pid: 77,
            locked: true,
            confirms: false,
        }),
        CacheResponse::Token(1200),
        CacheResponse::Signature(vec![0x30; 71]),
        CacheResponse::Status(vec![]),
        CacheResponse::Status(vec![
            StatusEntry {
                scope: scope("ünï@example.test"),
                not_after: u64::MAX,
                signatures: 12,
                identity_token: 5,
                refresh_token: true,
                waiting: 99,
            };
            MAX_ENTRIES
        ]),
        CacheResponse::Cleared(u32::MAX),
        CacheResponse::Stopping,
    ];
    all.extend(RequestError::ALL.map(CacheResponse::Refused));
    all
}

#[test]
fn every_message_prints_and_parses_back() {
    for request in requests() {
        let payload = request.print().unwrap();
        assert_eq!(CacheRequest::parse(&payload).unwrap(), request);
        assert!(
            matches!(CacheResponse::parse(&payload), Err(ProtocolError::Kind(_))),
            "a request is not a response: {request:?}"
        );
    }
    for response in responses() {
        let payload = response.print().unwrap();
        assert_eq!(CacheResponse::parse(&payload).unwrap(), response);
        assert!(matches!(
            CacheRequest::parse(&payload),
            Err(ProtocolError::Kind(_))
        ));
    }
}

/// Tries every prefix, every one-byte extension and every single-byte change of
/// every message.
#[test]
fn accepted_bytes_print_back_identically() {
    let payloads: Vec<Vec<u8>> = requests()
        .iter()
        .map(|r| r.print().unwrap().to_vec())
        .chain(responses().iter().map(|r| r.print().unwrap().to_vec()))
        .collect();
    let mut accepted = 0;
    for payload in payloads {
        for cut in 0..payload.len() {
            assert!(CacheRequest::parse(&payload[..cut]).is_err());
            assert!(CacheResponse::parse(&payload[..cut]).is_err());
        }
        let mut longer = payload.clone();
        longer.push(0);
        assert!(CacheRequest::parse(&longer).is_err());
        assert!(CacheResponse::parse(&longer).is_err());

        let places = payload.len().min(400);
        for at in 0..places {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = payload.clone();
                bytes[at] ^= change;
                if let Ok(request) = CacheRequest::parse(&bytes) {
                    assert_eq!(*request.print().unwrap(), bytes);
                    accepted += 1;
                }
                if let Ok(response) = CacheResponse::parse(&bytes) {
                    assert_eq!(*response.print().unwrap(), bytes);
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 100, "the property was not exercised: {accepted}");
}

#[test]
fn errors_name_their_reason() {
    for (payload, message) in [
        (&[][..], "frame is 0 bytes; must be 2 to 65536"),
        (&[1], "frame is 1 bytes; must be 2 to 65536"),
        (&[2, 5], "protocol version 2, expected 1"),
        (&[1, 0], "unknown message kind 0x00"),
        (&[1, 5, 0], "1 bytes after the last field"),
        (&[1, 1, 0, 0], "payload ends inside the field issuer"),
        (&[1, 1, 0, 0, 0, 1], "payload ends inside the field issuer"),
        (
            &[1, 1, 0xff, 0xff, 0xff, 0xff],
            "field issuer has length 4294967295; the limit is 1600",
        ),
        (&[1, 1, 0, 0, 0, 1, b'\n'], "field issuer is not plain text"),
        (&[1, 1, 0, 0, 0, 1, 0xff], "field issuer is not plain text"),
    ] {
        let error = CacheRequest::parse(payload).unwrap_err();
        assert_eq!(error.to_string(), message, "{payload:?}");
    }
    let code = CacheResponse::parse(&[1, 0xff, 99]).unwrap_err();
    assert_eq!(code.to_string(), "unknown error code 99");

    let forget = |issuer: usize, subject: usize| {
        CacheRequest::Forget(Scope {
            issuer: "x".repeat(issuer),
            subject: "x".repeat(subject),
            ..Scope::default()
        })
    };
    let store = |certificate: usize, count: usize| CacheRequest::Store {
        key: [0; 16],
        chain: vec![vec![0; certificate]; count],
    };
    for (request, message) in [
        (
            store(0, MAX_CHAIN + 1),
            "field chain has length 9; the limit is 8",
        ),
        (
            store(MAX_CERTIFICATE + 1, 1),
            "field certificate has length 16385; the limit is 16384",
        ),
        (
            store(MAX_CERTIFICATE, MAX_CHAIN),
            "frame is 131126 bytes; must be 2 to 65536",
        ),
        (
            forget(MAX_TEXT + 1, 0),
            "field issuer has length 1601; the limit is 1600",
        ),
        (
            forget(MAX_SCOPE / 2, MAX_SCOPE / 2 + 1),
            "field scope has length 1801; the limit is 1800",
        ),
        (
            CacheRequest::Forget(scope("a\u{1b}[2K")),
            "field subject is not plain text",
        ),
    ] {
        assert_eq!(request.print().unwrap_err().to_string(), message);
    }
}

#[test]
fn frames_are_bounded_and_whole() {
    let mut wire = Vec::new();
    for request in requests() {
        write_frame(&mut wire, &request.print().unwrap()).unwrap();
    }
    let mut stream = Cursor::new(&wire);
    for request in requests() {
        let payload = read_frame(&mut stream).unwrap();
        assert_eq!(CacheRequest::parse(&payload).unwrap(), request);
    }
    assert!(matches!(
        read_frame(&mut stream).unwrap_err(),
        ProtocolError::Closed
    ));

    for claim in [0u32, 1, MAX_FRAME as u32 + 1, 1 << 30, u32::MAX] {
        let bytes = claim.to_be_bytes();
        assert!(matches!(
            read_frame(&mut Cursor::new(bytes)).unwrap_err(),
            ProtocolError::FrameLength(length) if length == u64::from(claim)
        ));
    }
    for cut in [1, 3, 5, wire.len() - 1] {
        let mut stream = Cursor::new(&wire[..cut]);
        let end = loop {
            match read_frame(&mut stream) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(end, ProtocolError::Io(_)), "cut at {cut}: {end}");
    }
    assert!(matches!(
        write_frame(&mut Vec::new(), &vec![0; MAX_FRAME + 1]).unwrap_err(),
        ProtocolError::FrameLength(_)
    ));
}
