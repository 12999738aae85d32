#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

fn jwt(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        URL_SAFE_NO_PAD.encode([7; 64])
    )
}

fn claims() -> Value {
    json!({"iss": "https://issuer.test", "aud": "sigstore", "sub": "1", "exp": 1000,
           "email": "alice@example.test", "email_verified": true})
}

fn parse(text: &str) -> Result<IdentityToken, IdentityTokenError> {
    IdentityToken::parse(Zeroizing::new(text.to_owned()))
}

fn parse_claims(claims: &Value) -> Result<IdentityToken, IdentityTokenError> {
    parse(&jwt(&json!({"alg": "ES256"}), claims))
}

#[track_caller]
fn refusal(result: Result<IdentityToken, IdentityTokenError>) -> IdentityTokenError {
    match result {
        Ok(_) => panic!("the token was read"),
        Err(refusal) => refusal,
    }
}

#[test]
fn a_token_is_read() {
    let mut both = claims();
    both["aud"] = json!(["other", "sigstore"]);
    both["federated_claims"] = json!({"connector_id": "https://github.com/login/oauth"});
    let token = parse(&format!(" {}\n", jwt(&json!({"alg": "RS256"}), &both))).unwrap();
    token.check(900, Some("sigstore")).unwrap();
    assert_eq!(token.challenge(), "alice@example.test");
    assert_eq!(
        token.claims().connector.as_deref(),
        Some("https://github.com/login/oauth")
    );
    assert!(!token.secret().contains(' '));

    let mut robot = claims();
    robot.as_object_mut().unwrap().remove("email");
    robot["exp"] = json!(1000.75);
    let token = parse_claims(&robot).unwrap();
    assert_eq!((token.challenge(), token.claims().expires), ("1", 1000));
    token.check(900, None).unwrap();
}

#[test]
fn what_is_no_token_is_refused() {
    assert_eq!(refusal(parse(" \n")), IdentityTokenError::Empty);
    assert_eq!(
        refusal(parse(&"a".repeat(MAX_TOKEN + 1))),
        IdentityTokenError::TooLong {
            length: MAX_TOKEN + 1
        }
    );
    for text in [
        "a.b",
        "a.b.c.d",
        "e30.e30=.c2ln",
        "e30.e30.c2ln",
        "é.e30.c2ln",
    ] {
        assert!(
            matches!(refusal(parse(text)), IdentityTokenError::NotJwt { .. }),
            "{text}"
        );
    }
    assert!(matches!(
        refusal(parse(&jwt(&json!({"alg": "none"}), &claims()))),
        IdentityTokenError::Unsigned { .. }
    ));
    for missing in ["iss", "aud", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(
            matches!(
                refusal(parse_claims(&claims)),
                IdentityTokenError::Claims { .. }
            ),
            "{missing}"
        );
    }
    let twice = format!(
        "{}.{}.c2ln",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#),
        URL_SAFE_NO_PAD.encode(r#"{"iss":"a","aud":"b","exp":9,"email":"a@b","email":"c@d"}"#)
    );
    assert!(matches!(
        refusal(parse(&twice)),
        IdentityTokenError::Claims { .. }
    ));
}

#[test]
fn a_token_that_is_not_for_now_or_us_is_refused() {
    let token = parse_claims(&claims()).unwrap();
    assert_eq!(
        token.check(999, None).unwrap_err(),
        IdentityTokenError::Expired {
            expires: 1000,
            now: 999
        }
    );
    assert!(matches!(
        token.check(1, Some("other")).unwrap_err(),
        IdentityTokenError::Audience { .. }
    ));
    let mut later = claims();
    later["nbf"] = json!(500);
    let token = parse_claims(&later).unwrap();
    token.check(440, None).unwrap();
    assert_eq!(
        token.check(439, None).unwrap_err(),
        IdentityTokenError::NotYet {
            from: 500,
            now: 439
        }
    );
    for unverified in [json!(false), json!("false"), json!(null), json!(1)] {
        let mut claims = claims();
        claims["email_verified"] = unverified;
        assert!(matches!(
            parse_claims(&claims).unwrap().check(1, None).unwrap_err(),
            IdentityTokenError::Unverified { .. }
        ));
    }
    let mut nobody = claims();
    nobody.as_object_mut().unwrap().remove("email");
    nobody["sub"] = json!("");
    assert_eq!(
        parse_claims(&nobody).unwrap().check(1, None).unwrap_err(),
        IdentityTokenError::Nobody
    );
}

#[test]
fn a_token_is_for_its_address_or_its_subject() {
    let token = parse_claims(&claims()).unwrap();
    for user in ["alice@example.test", "alice@EXAMPLE.test", "1"] {
        assert!(token.claims().is_user(user), "{user}");
    }
    for user in [
        "",
        "alice",
        "Alice@example.test",
        "alice@example.test.evil",
        "alice@example.tes",
        "bob@example.test",
        "@example.test",
    ] {
        assert!(!token.claims().is_user(user), "{user}");
    }
    let mut robot = claims();
    robot.as_object_mut().unwrap().remove("email");
    let robot = parse_claims(&robot).unwrap();
    assert!(robot.claims().is_user("1") && !robot.claims().is_user("alice@example.test"));
}
