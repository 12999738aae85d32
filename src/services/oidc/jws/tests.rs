//! Attacks on tokens: what a reader that is less strict has been deceived with.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::json;

use super::*;
use crate::oidc::token::{IdentityToken, IdentityTokenError, MAX_TOKEN, SKEW};

const NOW: i64 = 1_800_000_000;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn join(header: &str, claims: &str, signature: &[u8]) -> String {
    [encode(header), encode(claims), encode(signature)].join(".")
}

const CLAIMS: &str = r#"{"iss":"https://issuer.test","aud":"sigstore","sub":"1","exp":1800000300}"#;
const HEADER: &str = r#"{"alg":"ES256","kid":"1"}"#;

fn parse(text: &str) -> Result<IdentityToken, IdentityTokenError> {
    IdentityToken::parse(Zeroizing::new(text.to_owned()))
}

fn with_header(header: &str) -> Result<IdentityToken, IdentityTokenError> {
    parse(&join(header, CLAIMS, &[7; 64]))
}

fn with_claims(claims: &str) -> Result<IdentityToken, IdentityTokenError> {
    parse(&join(HEADER, claims, &[7; 64]))
}

/// The good claims with some changed, and some away (null).
fn with(changes: &Value) -> Result<IdentityToken, IdentityTokenError> {
    let mut claims: Value = serde_json::from_str(CLAIMS).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    with_claims(&claims.to_string())
}

#[track_caller]
fn refused(result: Result<IdentityToken, IdentityTokenError>) -> IdentityTokenError {
    match result {
        Ok(token) => panic!("it was read: {:?}", token.claims()),
        Err(refusal) => refusal,
    }
}

#[test]
fn the_good_one_is_read() {
    with_claims(CLAIMS)
        .unwrap()
        .check(NOW, Some("sigstore"))
        .unwrap();
    for (algorithm, length) in ALGORITHMS {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
        let signature = vec![7; length.unwrap_or(256)];
        parse(&join(&header, CLAIMS, &signature)).unwrap();
    }
}

#[test]
fn a_token_must_be_signed_with_a_private_key() {
    for none in ["none", "None", "NONE", "nOnE"] {
        let header = format!(r#"{{"alg":"{none}"}}"#);
        assert!(matches!(
            refused(with_header(&header)),
            IdentityTokenError::Unsigned { .. }
        ));
        assert!(matches!(
            refused(parse(&join(&header, CLAIMS, b""))),
            IdentityTokenError::Unsigned { .. }
        ));
    }
    assert!(matches!(
        refused(parse(&join(HEADER, CLAIMS, b""))),
        IdentityTokenError::Unsigned { .. }
    ));
    // A public key as if it were a shared one; spellings; encryption.
    for other in [
        "HS256",
        "HS384",
        "HS512",
        "hs256",
        "es256",
        "ES256K",
        "RS1",
        "RSA-OAEP",
        "dir",
        "",
        " none",
        "none ",
        "n\\u006fne\\u0000",
        "ES256\\u0000",
        "A256KW",
    ] {
        let header = format!(r#"{{"alg":"{other}"}}"#);
        let refusal = refused(with_header(&header));
        assert!(
            matches!(refusal, IdentityTokenError::Algorithm { .. }),
            "{other}: {refusal:?}"
        );
        assert!(!refusal.to_string().contains('\0'));
    }
    for header in [
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":1}"#,
        r#"{"ALG":"ES256"}"#,
        "[]",
        "\"ES256\"",
        "",
        "{",
    ] {
        assert!(
            matches!(
                refused(with_header(header)),
                IdentityTokenError::NotJwt { .. }
            ),
            "{header}"
        );
    }
}

#[test]
fn a_token_brings_no_key_and_no_rules_of_its_own() {
    for (member, named) in [
        (
            r#""jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
            "jwk",
        ),
        (r#""jku":"https://attacker.test/keys""#, "jku"),
        (r#""x5u":"https://attacker.test/chain""#, "x5u"),
        (r#""x5c":["MIIB"]"#, "x5c"),
        (r#""crit":["b64"]"#, "crit"),
        (r#""crit":[]"#, "crit"),
        (r#""b64":false"#, "b64"),
        (r#""b64":true"#, "b64"),
        (r#""zip":"DEF""#, "zip"),
        (r#""enc":"A256GCM""#, "enc"),
        (r#""cty":"JWT""#, "cty"),
        (r#""jwk":null"#, "jwk"),
        (r#""j\u0077k":{}"#, "jwk"),
    ] {
        let header = format!(r#"{{"alg":"ES256",{member}}}"#);
        let words = refused(with_header(&header)).to_string();
        assert!(words.contains(&format!("({named})")), "{member}: {words}");
    }
    // A name is a name: it leads nowhere.
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "'; drop table keys; --",
        "https://x.test/",
    ] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        with_header(&header).unwrap();
    }
    for header in [
        r#"{"alg":"ES256","kid":1}"#,
        r#"{"alg":"ES256","kid":"a\u0000"}"#,
        r#"{"alg":"ES256","typ":["JWT"]}"#,
    ] {
        assert!(
            matches!(
                refused(with_header(header)),
                IdentityTokenError::NotJwt { .. }
            ),
            "{header}"
        );
    }
    // A token in a token.
    let inner = join(HEADER, CLAIMS, &[7; 64]);
    assert!(matches!(
        refused(with_claims(&inner)),
        IdentityTokenError::Claims { .. }
    ));
    assert!(matches!(
        refused(with_claims(&json!(inner).to_string())),
        IdentityTokenError::Claims { .. }
    ));
}

#[test]
fn a_signature_has_its_algorithms_form() {
    // DER around the two numbers, a number short of its zeros, another curve's.
    for length in [1, 32, 63, 65, 70, 71, 72, 96, 132, 256] {
        assert!(matches!(
            refused(parse(&join(HEADER, CLAIMS, &vec![7; length]))),
            IdentityTokenError::NotJwt { .. }
        ));
    }
    let header = r#"{"alg":"RS256"}"#;
    parse(&join(header, CLAIMS, &[7; MAX_SIGNATURE])).unwrap();
    refused(parse(&join(header, CLAIMS, &[7; MAX_SIGNATURE + 1])));
}

#[test]
fn a_token_has_one_spelling() {
    let good = join(HEADER, CLAIMS, &[7; 64]);
    parse(&good).unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("three parts");
    };
    // 64 bytes end in two bits that mean nothing: only zeros are canonical.
    let mut stray = signature[..85].to_owned();
    assert!(signature.ends_with('w'));
    stray.push('x');
    for text in [
        format!("{header}.{claims}.{stray}"),
        format!("{header}.{claims}.{signature}=="),
        format!("{header}.{claims}.{signature}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}."),
        format!(".{header}.{claims}.{signature}"),
        format!("{header}.{claims}"),
        format!(".{claims}.{signature}"),
        format!("{header}.{claims}.{signature}.a.b"),
        format!("{header}.{claims}\n.{signature}"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}.{claims}.{signature}%"),
        format!("{header}.{claims}.{}+", &signature[..85]),
        format!("{header}.{claims}.{}/", &signature[..85]),
        format!("Bearer {good}"),
        format!("\u{feff}{good}"),
        format!("{good}\0"),
        json!({"payload": claims, "protected": header, "signature": signature}).to_string(),
    ] {
        assert!(
            matches!(refused(parse(&text)), IdentityTokenError::NotJwt { .. }),
            "{text:?}"
        );
    }
    refused(parse(&format!("{header}..{signature}")));
    // White space around it is a file's, not the token's.
    assert_eq!(parse(&format!(" \r\n{good}\r\n")).unwrap().secret(), good);
}

#[test]
fn large_things_are_refused_before_they_are_read() {
    let begun = std::time::Instant::now();
    for text in [
        "a".repeat(10 << 20),
        ".".repeat(10 << 20),
        join(
            HEADER,
            &format!(r#"{{"iss":"{}"}}"#, "a".repeat(10 << 20)),
            &[7; 64],
        ),
    ] {
        assert!(matches!(
            refused(parse(&text)),
            IdentityTokenError::TooLong { .. }
        ));
    }
    assert!(begun.elapsed().as_secs() < 5);
    assert!(matches!(
        refused(parse(&".".repeat(MAX_TOKEN))),
        IdentityTokenError::NotJwt { .. }
    ));
    let deep = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(object(deep(MAX_DEPTH - 1).as_bytes()).is_ok());
    assert!(object(deep(MAX_DEPTH).as_bytes()).is_err());
    assert!(object(deep(6000).as_bytes()).is_err());
}

#[test]
fn no_name_is_there_twice() {
    for header in [
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","alg":"none"}"#,
        r#"{"alg":"ES256","\u0061lg":"none"}"#,
        r#"{"alg":"ES256","kid":"1","kid":"2"}"#,
        r#"{"alg":"ES256","x":{"y":1,"y":2}}"#,
    ] {
        assert!(
            matches!(
                refused(with_header(header)),
                IdentityTokenError::NotJwt { .. }
            ),
            "{header}"
        );
    }
    for twice in [
        r#""iss":"https://other.test""#,
        r#""\u0069ss":"https://other.test""#,
        r#""sub":"2""#,
        r#""aud":"other""#,
        r#""exp":9999999999"#,
        r#""x":1,"x":1"#,
        r#""x":[{"y":{"z":1,"z":1}}]"#,
        r#""email":"a@b.test","email":"c@d.test""#,
        r#""email_verified":false,"email_verified":true"#,
        r#""federated_claims":{"connector_id":"a","connector_id":"b"}"#,
    ] {
        let claims = CLAIMS.replacen('{', &format!("{{{twice},"), 1);
        let words = refused(with_claims(&claims)).to_string();
        assert!(words.contains("duplicate"), "{claims}: {words}");
    }
    // Names that only look alike are different names.
    let claims = CLAIMS.replacen('{', r#"{"Iss":"x","ISS":"y","iss ":"z","":1,"#, 1);
    assert_eq!(
        with_claims(&claims).unwrap().claims().issuer,
        "https://issuer.test"
    );
}

#[test]
fn json_is_json() {
    for claims in [
        "",
        "{}",
        "[]",
        "null",
        "{\"iss\":",
        &format!("{CLAIMS}{CLAIMS}"),
        &format!("{CLAIMS}x"),
        &format!("\u{feff}{CLAIMS}"),
        &CLAIMS.replace("\"1\"", "'1'"),
        &CLAIMS.replace('}', ",}"),
        &CLAIMS.replace("\"sub\"", "/* */ \"sub\""),
        &CLAIMS.replace("1800000300", "NaN"),
        &CLAIMS.replace("1800000300", "01800000300"),
        &CLAIMS.replace("\"1\"", r#""\ud800""#),
    ] {
        assert!(
            matches!(
                refused(with_claims(claims)),
                IdentityTokenError::Claims { .. }
            ),
            "{claims}"
        );
    }
    let latin = [
        encode(HEADER),
        encode(b"{\"iss\":\"\xe9\"}"),
        encode([7; 64]),
    ]
    .join(".");
    assert!(matches!(
        refused(parse(&latin)),
        IdentityTokenError::Claims { .. }
    ));
    // An error shows nothing of a terminal's language, and no value of the JSON.
    let words = refused(with_claims("{\"iss\":\"secret\u{1b}[1m")).to_string();
    assert!(
        !words.contains("secret") && !words.contains('\u{1b}'),
        "{words}"
    );
}

#[test]
fn nothing_hides_in_a_name() {
    for name in ["iss", "sub", "email", "aud"] {
        for text in ["a\0b", "a\nb", "a\u{1b}[2Jb", "a\u{7f}", "\u{85}", "\r"] {
            assert!(
                matches!(
                    refused(with(&json!({ name: text }))),
                    IdentityTokenError::Claims { .. }
                ),
                "{name} {text:?}"
            );
        }
    }
    refused(with(&json!({"aud": ["sigstore", "a\0"]})));
    refused(with(&json!({"federated_claims": {"connector_id": "a\nb"}})));
    refused(with(&json!({"iss": ""})));
}

#[test]
fn the_audience_is_one_of_its_list_exactly() {
    for aud in [
        json!("sigstore"),
        json!(["sigstore"]),
        json!(["a", "sigstore"]),
    ] {
        with(&json!({ "aud": aud }))
            .unwrap()
            .check(NOW, Some("sigstore"))
            .unwrap();
    }
    for aud in [
        json!("sigstore2"),
        json!("Sigstore"),
        json!("sigstore "),
        json!("a,sigstore"),
        json!(["a sigstore"]),
        json!(""),
        json!(["sigstor", "e"]),
    ] {
        let refusal = with(&json!({ "aud": aud }))
            .unwrap()
            .check(NOW, Some("sigstore"));
        assert!(
            matches!(refusal, Err(IdentityTokenError::Audience { .. })),
            "{aud}"
        );
    }
    for aud in [
        json!([]),
        json!(null),
        json!({"a": "sigstore"}),
        json!([["sigstore"]]),
        json!(1),
    ] {
        assert!(
            matches!(
                refused(with(&json!({ "aud": aud }))),
                IdentityTokenError::Claims { .. }
            ),
            "{aud}"
        );
    }
}

#[test]
fn the_times_hold_to_the_second() {
    let check = |claims: Value, now: i64| with(&claims).unwrap().check(now, None);
    assert_eq!(check(json!({"exp": NOW}), NOW - 2), Ok(()));
    assert!(matches!(
        check(json!({"exp": NOW}), NOW - 1),
        Err(IdentityTokenError::Expired { .. })
    ));
    assert!(matches!(
        check(json!({"exp": 0}), NOW),
        Err(IdentityTokenError::Expired { .. })
    ));
    for name in ["nbf", "iat"] {
        assert_eq!(check(json!({ name: NOW + SKEW }), NOW), Ok(()));
        assert!(matches!(
            check(json!({ name: NOW + SKEW + 1 }), NOW),
            Err(IdentityTokenError::NotYet { .. })
        ));
        assert_eq!(check(json!({ name: 0 }), NOW), Ok(()));
    }
    // A float counts whole seconds, downwards.
    let half = with(&json!({"exp": 1_800_000_000.9})).unwrap();
    assert_eq!(half.claims().expires, NOW);
    assert_eq!(with(&json!({"exp": 1.8e9})).unwrap().claims().expires, NOW);
    for name in ["exp", "nbf", "iat"] {
        for odd in [
            json!("1800000300"),
            json!(true),
            json!([1_800_000_300]),
            json!(-1),
            json!(-0.5e12),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
            json!(253_402_300_800_i64),
        ] {
            assert!(
                matches!(
                    refused(with(&json!({ name: odd }))),
                    IdentityTokenError::Claims { .. }
                ),
                "{name} {odd}"
            );
        }
    }
    refused(with(&json!({"exp": null})));
    let huge = CLAIMS.replace("1800000300", &"9".repeat(400));
    refused(with_claims(&huge));
    // Now may be anything.
    let token = with_claims(CLAIMS).unwrap();
    for now in [i64::MIN, -1, 0, i64::MAX] {
        let _ = token.check(now, None);
    }
}

#[test]
fn an_address_must_be_verified() {
    let check = |verified: Value| {
        with(&json!({"email": "a@b.test", "email_verified": verified}))
            .unwrap()
            .check(NOW, None)
    };
    assert_eq!(check(json!(true)), Ok(()));
    assert_eq!(check(json!("true")), Ok(()));
    for no in [
        json!(false),
        json!("false"),
        json!(null),
        json!("True"),
        json!("yes"),
        json!(1),
        json!([true]),
        json!({"a": true}),
        json!(""),
    ] {
        assert!(
            matches!(
                check(no.clone()),
                Err(IdentityTokenError::Unverified { .. })
            ),
            "{no}"
        );
    }
    let absent = with(&json!({"email": "a@b.test"})).unwrap();
    assert!(matches!(
        absent.check(NOW, None),
        Err(IdentityTokenError::Unverified { .. })
    ));
    // Nobody at all.
    let nobody = with(&json!({"sub": ""})).unwrap();
    assert_eq!(nobody.check(NOW, None), Err(IdentityTokenError::Nobody));
}

#[test]
fn an_issuer_is_what_it_is() {
    // No slash is added or taken: two issuers differ by it.
    for issuer in [
        "https://issuer.test/",
        "https://issuer.test",
        "https://ISSUER.test",
        "https://issuer.test/%2e",
    ] {
        assert_eq!(
            with(&json!({ "iss": issuer })).unwrap().claims().issuer,
            issuer
        );
    }
    for issuer in [
        json!(null),
        json!(["https://issuer.test"]),
        json!({"url": "x"}),
        json!(1),
    ] {
        refused(with(&json!({ "iss": issuer })));
    }
}
