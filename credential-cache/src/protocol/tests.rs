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
    let parse = |bytes: &[u8]| CacheRequest::parse(bytes).unwrap_err();
    assert!(matches!(parse(&[]), ProtocolError::FrameLength(0)));
    assert!(matches!(parse(&[1]), ProtocolError::FrameLength(1)));
    assert!(matches!(parse(&[2, 5]), ProtocolError::Version(2)));
    assert!(matches!(parse(&[1, 0]), ProtocolError::Kind(0)));
    assert!(matches!(parse(&[1, 5, 0]), ProtocolError::Trailing(1)));
    assert!(matches!(
        parse(&[1, 1, 0, 0]),
        ProtocolError::Truncated("issuer")
    ));
    assert!(matches!(
        parse(&[1, 1, 0, 0, 0, 1]),
        ProtocolError::Truncated("issuer")
    ));
    assert!(matches!(
        parse(&[1, 1, 0xff, 0xff, 0xff, 0xff]),
        ProtocolError::TooLong {
            field: "issuer",
            limit: MAX_TEXT,
            ..
        }
    ));
    assert!(matches!(
        parse(&[1, 1, 0, 0, 0, 1, b'\n']),
        ProtocolError::Text("issuer")
    ));
    assert!(matches!(
        parse(&[1, 1, 0, 0, 0, 1, 0xff]),
        ProtocolError::Text("issuer")
    ));
    assert!(matches!(
        CacheResponse::parse(&[1, 0xff, 99]).unwrap_err(),
        ProtocolError::ErrorCode(99)
    ));
    let chain = CacheRequest::Store {
        key: [0; 16],
        chain: vec![vec![]; MAX_CHAIN + 1],
    };
    assert!(matches!(
        chain.print().unwrap_err(),
        ProtocolError::TooLong { field: "chain", .. }
    ));
    let text = CacheRequest::Forget(Scope {
        issuer: "x".repeat(MAX_TEXT + 1),
        ..Scope::default()
    });
    assert!(matches!(
        text.print().unwrap_err(),
        ProtocolError::TooLong {
            field: "issuer",
            ..
        }
    ));
    let wide = CacheRequest::Forget(Scope {
        issuer: "x".repeat(MAX_SCOPE / 2),
        subject: "x".repeat(MAX_SCOPE / 2 + 1),
        ..Scope::default()
    });
    assert!(matches!(
        wide.print().unwrap_err(),
        ProtocolError::TooLong { field: "scope", .. }
    ));
    assert!(matches!(
        CacheRequest::Forget(scope("a\u{1b}[2K"))
            .print()
            .unwrap_err(),
        ProtocolError::Text("subject")
    ));
    let large = CacheRequest::Store {
        key: [0; 16],
        chain: vec![vec![0; MAX_CERTIFICATE]; MAX_CHAIN],
    };
    assert!(matches!(
        large.print().unwrap_err(),
        ProtocolError::FrameLength(_)
    ));
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
