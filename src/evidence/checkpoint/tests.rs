#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use p256::ecdsa::signature::Signer as _;
use spki::EncodePublicKey as _;

use super::*;

const HOST: &str = "log.example.test";

struct V1(p256::ecdsa::SigningKey);
struct V2(ed25519_dalek::SigningKey);

impl V1 {
    fn new(seed: u8) -> Self {
        Self(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    fn key(&self) -> PublicKey {
        let spki = self.0.verifying_key().to_public_key_der().unwrap();
        PublicKey::from_spki(spki.as_bytes()).unwrap()
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let signature: p256::ecdsa::DerSignature = self.0.sign(text.as_bytes());
        signature.as_bytes().to_vec()
    }

    fn note(&self, text: &str, name: &str) -> String {
        signed(text, name, key_hint(&self.key().sha256()), &self.sign(text))
    }
}

impl V2 {
    fn new(seed: u8) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    fn key(&self) -> PublicKey {
        let spki = self.0.verifying_key().to_public_key_der().unwrap();
        PublicKey::from_spki(spki.as_bytes()).unwrap()
    }

    fn line(&self, text: &str, name: &str) -> String {
        let id = ed25519_key_id(name, self.0.verifying_key().as_bytes());
        let signature = self.0.sign(text.as_bytes()).to_bytes();
        written_line(name, key_hint(&id), &signature)
    }

    fn note(&self, text: &str, name: &str) -> String {
        format!("{text}\n{}", self.line(text, name))
    }
}

fn text(origin: &str) -> String {
    Checkpoint {
        origin: origin.into(),
        size: 7,
        root: [5; 32],
        extensions: vec![],
    }
    .to_text()
}

fn open_v1(note: &str, log: &V1) -> Result<Checkpoint, Reason> {
    let key = log.key();
    open(
        note,
        &LogVerifier {
            key: &key,
            key_hint: key_hint(&key.sha256()),
            kind: RekorVersion::V1,
            origin: None,
        },
        Memo::disabled(),
    )
}

fn open_v2(note: &str, log: &V2) -> Result<Checkpoint, Reason> {
    let key = log.key();
    open(
        note,
        &LogVerifier {
            key: &key,
            key_hint: key_hint(&key_id(HOST, &key)),
            kind: RekorVersion::V2,
            origin: Some(HOST),
        },
        Memo::disabled(),
    )
}

fn code<T: fmt::Debug>(result: Result<T, Reason>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn a_v1_checkpoint_is_signed_under_the_name_in_its_origin() {
    let log = V1::new(3);
    let origin = format!("{HOST} - 1193050959916656506");
    let text = text(&origin);
    let checkpoint = open_v1(&log.note(&text, HOST), &log).unwrap();
    assert_eq!((checkpoint.size, checkpoint.root), (7, [5; 32]));
    assert_eq!(checkpoint.to_text(), text);
    // R6, reject list 9: another name, another key, no tree id.
    assert_eq!(
        code(open_v1(&log.note(&text, "other.example.test"), &log)),
        "checkpoint-signer-name"
    );
    assert_eq!(
        code(open_v1(&log.note(&text, HOST), &V1::new(4))),
        "checkpoint-signer-key"
    );
    assert_eq!(
        code(open_v1(&V1::new(4).note(&text, "elsewhere"), &log)),
        "checkpoint-not-signed-by-log"
    );
    for origin in [HOST, "a - b", "log.example.test - 007", " - 7", "a - -7"] {
        let text = self::text(origin);
        assert_eq!(
            code(open_v1(&log.note(&text, HOST), &log)),
            "checkpoint-origin-form",
            "{origin:?}"
        );
    }
}

#[test]
fn a_v2_checkpoint_is_signed_under_its_origin() {
    let log = V2::new(3);
    let text = text(HOST);
    let checkpoint = open_v2(&log.note(&text, HOST), &log).unwrap();
    assert_eq!(checkpoint.origin, HOST);
    // R6: the same key, the checkpoint of another log.
    let other = self::text("other.example.test");
    assert_eq!(
        code(open_v2(&log.note(&other, "other.example.test"), &log)),
        "checkpoint-origin"
    );
    // R12: a v1 origin is not a v2 one.
    let v1 = self::text(&format!("{HOST} - 7"));
    assert_eq!(
        code(open_v2(&log.note(&v1, HOST), &log)),
        "checkpoint-origin"
    );
    assert_eq!(
        code(open_v2(&V2::new(4).note(&text, HOST), &log)),
        "checkpoint-signer-key"
    );
}

/// R7, reject list 9: right key hint, wrong key or wrong text.
#[test]
fn a_line_of_the_logs_that_does_not_verify_refuses_the_note() {
    let log = V2::new(3);
    let text = text(HOST);
    let good = log.line(&text, HOST);
    let id = ed25519_key_id(HOST, log.0.verifying_key().as_bytes());
    let forged = written_line(
        HOST,
        key_hint(&id),
        &V2::new(4).0.sign(text.as_bytes()).to_bytes(),
    );
    for lines in [
        forged.clone(),
        format!("{good}{forged}"),
        format!("{forged}{good}"),
    ] {
        assert_eq!(
            code(open_v2(&format!("{text}\n{lines}"), &log)),
            "checkpoint-signature-invalid"
        );
    }
    for (from, to) in [("\n7\n", "\n8\n"), (HOST, "log.example.tesT")] {
        let note = log.note(&text, HOST).replacen(from, to, 1);
        assert!(open_v2(&note, &log).is_err());
    }
    let v1 = V1::new(3);
    let origin = format!("{HOST} - 7");
    let note = v1
        .note(&self::text(&origin), HOST)
        .replace("\n7\n", "\n9\n");
    assert_eq!(code(open_v1(&note, &v1)), "checkpoint-signature-invalid");
}

/// R7: cosignatures, in any order, are left aside; two of the log's are fine.
#[test]
fn lines_of_others_are_left_aside() {
    let log = V2::new(3);
    let text = text(HOST);
    let own = log.line(&text, HOST);
    let witness = V2::new(9).line("something else\n", "witness.example.test");
    let same_name = V2::new(9).line("something else\n", HOST);
    for lines in [
        format!("{witness}{own}"),
        format!("{own}{witness}{witness}"),
        format!("{witness}{own}{same_name}{own}"),
    ] {
        open_v2(&format!("{text}\n{lines}"), &log).unwrap();
    }
    assert_eq!(
        code(open_v2(&format!("{text}\n{witness}"), &log)),
        "checkpoint-not-signed-by-log"
    );
    let many = format!("{text}\n{}{own}", witness.repeat(16));
    open_v2(&many, &log).unwrap();
    let too_many = format!("{text}\n{}{own}", witness.repeat(MAX_SIGNATURES));
    assert_eq!(code(open_v2(&too_many, &log)), "note-too-many-signatures");
}

#[test]
fn a_note_prints_back_as_it_was_read() {
    let log = V2::new(3);
    let text = "first\n\nsecond\n";
    let note = log.note(text, HOST);
    let read = SignedNote::parse(&note).unwrap();
    assert_eq!(read.text, text, "the text ends at the last blank line");
    assert_eq!(read.to_string(), note);
}

#[test]
fn a_malformed_note_is_named() {
    let good = V2::new(3).note(&text(HOST), HOST);
    let parse = |note: &str| code(SignedNote::parse(note));
    assert_eq!(parse(""), "note-unterminated");
    assert_eq!(parse("\n\n"), "note-no-signatures");
    assert_eq!(parse("text\n"), "note-no-signatures");
    assert_eq!(parse("text\n\n"), "note-no-signatures");
    assert_eq!(parse(good.trim_end()), "note-unterminated");
    assert_eq!(parse(&good.replace('\n', "\r\n")), "note-control-character");
    assert_eq!(parse(&good.replace('7', "\t")), "note-control-character");
    assert_eq!(parse(&"x".repeat(MAX_NOTE + 1)), "note-too-long");
    for line in [
        "- log.example.test AAAAAAA=",
        "\u{2014} log.example.test",
        "\u{2014}  AAAAAAA=",
        "\u{2014} a+b AAAAAAA=",
        "\u{2014} a\u{a0}b AAAAAAA=",
        "\u{2014} log AAAAAAB=",
        "\u{2014} log AAAAAA==",
        "\u{2014} log AAAAAAA",
        "\u{2014} log AAAA-AA=",
        "\u{2014} log AAAAAAA= ",
        "\u{2014} log AAAA",
        "x",
    ] {
        assert_eq!(
            parse(&format!("text\n\n{line}\n")),
            "note-signature-line",
            "{line:?}"
        );
    }
}

#[test]
fn a_malformed_checkpoint_is_named() {
    let root = STANDARD.encode([5; 32]);
    let parse = |text: &str| code(Checkpoint::parse(text));
    for size in ["0", "1", "9223372036854775807"] {
        let text = format!("o\n{size}\n{root}\n");
        assert_eq!(Checkpoint::parse(&text).unwrap().to_text(), text);
    }
    for size in [
        "007",
        "00",
        "+7",
        "-1",
        "7 ",
        "7a",
        "9223372036854775808",
        "18446744073709551616",
    ] {
        assert_eq!(
            parse(&format!("o\n{size}\n{root}\n")),
            "checkpoint-size",
            "{size:?}"
        );
    }
    for root in [
        &root[..43],
        "x",
        &STANDARD.encode([5; 31]),
        &STANDARD.encode([5; 33]),
    ] {
        assert_eq!(
            parse(&format!("o\n7\n{root}\n")),
            "checkpoint-root",
            "{root:?}"
        );
    }
    // The last character carries two bits that must be zero.
    let loose = format!("{}V=", &root[..42]);
    assert_ne!(loose, root);
    assert_eq!(parse(&format!("o\n7\n{loose}\n")), "checkpoint-root");
    assert_eq!(parse(""), "note-unterminated");
    assert_eq!(parse("\n"), "checkpoint-missing-line");
    assert_eq!(parse(&format!("\n7\n{root}\n")), "checkpoint-missing-line");
    assert_eq!(parse(&format!("7\n{root}\n")), "checkpoint-size");
    assert_eq!(parse(&format!("o\n{root}\n")), "checkpoint-size");
    assert_eq!(parse("o\n7\n"), "checkpoint-missing-line");
    assert_eq!(parse("o\n"), "checkpoint-missing-line");
    let extended = format!("o\n7\n{root}\nTimestamp: 7\nmore\n");
    let checkpoint = Checkpoint::parse(&extended).unwrap();
    assert_eq!(checkpoint.extensions, ["Timestamp: 7", "more"]);
    assert_eq!(checkpoint.to_text(), extended);
    assert_eq!(
        parse(&format!("o\n7\n{root}\n\nmore\n")),
        "checkpoint-blank-line"
    );
}

#[test]
fn the_origin_tells_the_kind() {
    assert_eq!(
        RekorVersion::of_origin("rekor.sigstore.dev - 2605736670972794746"),
        RekorVersion::V1
    );
    assert_eq!(
        RekorVersion::of_origin("log2025-1.rekor.sigstore.dev"),
        RekorVersion::V2
    );
    assert_eq!(split_v1_origin("a - b - 7"), Some(("a - b", 7)));
    assert_eq!(split_v1_origin("a - 18446744073709551616"), None);
}

/// The public v2 log: its key id in the trust root is the C2SP key id.
#[test]
fn key_ids_are_those_of_the_public_logs() {
    let spki = STANDARD
        .decode("MCowBQYDK2VwAyEAt8rlp1knGwjfbcXAYPYAkn0XiLz1x8O4t0YkEhie244=")
        .unwrap();
    let key = PublicKey::from_spki(&spki).unwrap();
    let id = key_id("log2025-1.rekor.sigstore.dev", &key);
    assert_eq!(
        STANDARD.encode(id),
        "zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A="
    );
    assert_eq!(hex(&key_hint(&id)), "cf119915");
    let ecdsa = V1::new(3).key();
    assert_eq!(key_id("any", &ecdsa), ecdsa_key_id(ecdsa.spki()));
    assert_eq!(key_id("any", &ecdsa), ecdsa.sha256());
}

/// A Rekor v1 key on P-521 signs with SHA-256 too. Key and signatures were made with
/// OpenSSL (`openssl dgst -sha256 -sign`).
#[cfg(feature = "verify-aws-lc")]
#[test]
fn a_v1_log_on_p521_signs_with_sha256() {
    const KEY: &str = "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBRpGnFjEMNFw5lCpoS+kEzN8XF+kP85B1pgi0YTmm8e91rvVvlNtW+wG1G24GHNHfBiW91gI49azIalbv76nmN4MBxrUWpccVodpRXhAFu9nne4HRfCfQG+5MCvD6U3M9zo4S24YbVMZdjHeL8zsbCuwroV76sQ2BZQwoKU0WxsT+bPU=";
    const TEXT: &str = "rekor.example.test - 7\n3\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    const SHA256: &str = "FvnBWDCBiAJCAZFJWnmpRdNY7e7aLZbqr6sIA7EMF31FtQWQfQMuHLhf803YPYgXrA834PZY5vr/wXx5DUf9ZYq05j6oRQz67bhnAkIAwmcmR7LWhIvituwpoMjWEzSCLr3HMggTooA4oygfsBfwcarEpoKnbxifGnuyKTTcpsDFWOHTOjfXReV4NG8vwi0=";
    const SHA384: &str = "FvnBWDCBiAJCAe38OD6RuwkRcxP1fjmaBFQ8Umz0z9e/6ULnKi6JiZ2edeyJVZ2E/I9Oav6Cm7WxJvjmNr8K8SiXW5L8k75NLsEOAkIAjW43yPnp6HOpkBfL+q/mJq2t8fDxs+UoGx2S0Sj81+Qa4UQEsQE7vvQgh85JVPBhzC+4Cr3XI5djyNTZEitkWhk=";
    const SHA512: &str = "FvnBWDCBhwJBFVwWjaPBjJM83BELTP8CgV2bJ38CiypL4Res/P8GdaLf6wjQ3dNs4dV86PnDX+VABll+8EygUVS1LvgI40wR5jkCQgD7ugFB6ZlTOkXBTvErc6t6P3hsym13/R0OERkbDQonmKFGl3Peb9oVlSIrR854oZeRhgmFw3dMqrv/g1g6vs92+Q==";
    let key = PublicKey::from_spki(&STANDARD.decode(KEY).unwrap()).unwrap();
    let verifier = LogVerifier {
        key: &key,
        key_hint: key_hint(&key.sha256()),
        kind: RekorVersion::V1,
        origin: None,
    };
    let open_with = |text: &str, line: &str| {
        let note = format!("{text}\n\u{2014} rekor.example.test {line}\n");
        open(&note, &verifier, Memo::disabled())
    };
    assert_eq!(open_with(TEXT, SHA256).unwrap().size, 3);
    assert_eq!(open_with(TEXT, SHA512).unwrap().size, 3);
    assert_eq!(
        code(open_with(TEXT, SHA384)),
        "checkpoint-signature-invalid"
    );
    let other = TEXT.replace("\n3\n", "\n4\n");
    for line in [SHA256, SHA512] {
        assert_eq!(
            code(open_with(&other, line)),
            "checkpoint-signature-invalid"
        );
    }
    // A v2 log signs with the digest of the curve's width alone.
    let v2 = LogVerifier {
        kind: RekorVersion::V2,
        ..verifier
    };
    let text = TEXT.replace(" - 7", "");
    let note = format!("{text}\n\u{2014} rekor.example.test {SHA256}\n");
    let refused = open(&note, &v2, Memo::disabled());
    assert_eq!(code(refused), "checkpoint-signature-invalid");
}
