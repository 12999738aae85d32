#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/support/forge/mod.rs"]
mod forge;

use std::ffi::OsString;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use forge::{
    IDENTITY, ISSUER, Key, LOG_NAME, Lab, NOW, SctSpec, Spec, TREE_ID, email, fulcio, fulcio_raw,
    hex, pem, san, sign_note, uri,
};
use serde_json::{Value, json};

use super::*;
use crate::host::{
    git::{ConfigScope, ConfigValue},
    opener::Opener,
    settings::Origin,
};
use crate::stub::{CannedResponse, Stub};
use gitseal_evidence::refusal::Step;
use gitseal_services::{
    fulcio::wire::parse_csr,
    oidc::{
        ambient::{AmbientError, TokenProvider},
        token::IdentityTokenError,
    },
    rekor::client::RekorClientError,
};

const PAYLOAD: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
author A <a@example.test> 1795176000 +0000\n\
committer Alice <alice@example.test> 1795176000 +0000\n\nmessage without a final newline";

const NO_CACHE: Setting<CacheMode> = Setting {
    value: CacheMode::Off,
    origin: Origin::Default,
};

/// An authority that certifies any key, with what `change` makes of the leaf.
fn authority(change: impl Fn(&Lab, &mut Spec) + Send + Sync + 'static) -> Stub {
    Stub::start(move |asked| {
        let lab = Lab::new();
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let request = STANDARD
            .decode(body["certificateSigningRequest"].as_str().unwrap())
            .unwrap();
        let request = parse_csr(&request).unwrap();
        let mut spec = lab.spec();
        spec.leaf.spki = request.spki;
        change(&lab, &mut spec);
        let chain = [
            pem("CERTIFICATE", &lab.leaf_certificate(&spec)),
            pem("CERTIFICATE", &lab.intermediate_certificate),
            pem("CERTIFICATE", &lab.root_certificate),
        ];
        CannedResponse::json(
            200,
            &json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}),
        )
    })
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// The answer of a log whose only entry this is, made by hand.
fn logged(body: &[u8], key: &Key, at: i64) -> Value {
    let leaf = sha256(&[&[0][..], body].concat());
    let id = format!("{:016x}{}", TREE_ID.parse::<u64>().unwrap(), hex(&leaf));
    let log_id = hex(&key.log_id());
    let text = format!("{LOG_NAME} - {TREE_ID}\n1\n{}\n", STANDARD.encode(&leaf));
    let set = format!(
        r#"{{"body":"{}","integratedTime":{at},"logID":"{log_id}","logIndex":9}}"#,
        STANDARD.encode(body)
    );
    json!({id: {
        "body": STANDARD.encode(body), "integratedTime": at, "logID": log_id, "logIndex": 9,
        "verification": {
            "inclusionProof": {
                "checkpoint": sign_note(&text, LOG_NAME, key), "hashes": [], "logIndex": 0,
                "rootHash": hex(&leaf), "treeSize": 1,
            },
            "signedEntryTimestamp": STANDARD.encode(key.sign(set.as_bytes())),
        },
    }})
}

/// A log that answers with what `change` makes of a right answer.
fn log(change: impl Fn(&Lab, &[u8], Value) -> Value + Send + Sync + 'static) -> Stub {
    Stub::start(move |asked| {
        let lab = Lab::new();
        let right = logged(&asked.body, &lab.rekor, NOW + 2);
        CannedResponse::json(201, &change(&lab, &asked.body, right))
    })
}

fn good_log() -> Stub {
    log(|_, _, right| right)
}

fn token(change: impl FnOnce(&mut Value)) -> Zeroizing<String> {
    let mut claims = json!({"iss": ISSUER, "aud": "sigstore", "sub": "subject-1", "exp": NOW + 60,
        "email": IDENTITY, "email_verified": true});
    change(&mut claims);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Zeroizing::new(format!(
        "{}.{}.c2ln",
        part(&json!({"alg": "RS256"})),
        part(&claims)
    ))
}

/// Settings that live as long as the test.
fn settings(values: &[(&str, &str)]) -> &'static Settings {
    let config: Vec<ConfigValue> = [("issuer", ISSUER), ("confirmidentity", "false")]
        .iter()
        .chain(values)
        .map(|(name, value)| ConfigValue {
            key: format!("gitseal.{name}"),
            value: Some(value.as_bytes().to_vec()),
            scope: ConfigScope::Global,
            file: None,
        })
        .collect();
    Box::leak(Box::new(
        Settings::resolve(&config, &|_| None, None).unwrap(),
    ))
}

/// A login whose token is the environment's, and everything else is not there.
fn login<'a>(variable: &'a dyn Fn(&str) -> Option<OsString>, http: &'a Client) -> LoginOptions<'a> {
    LoginOptions {
        provider: Provider::Automatic,
        surroundings: AmbientContext {
            variable,
            file: &|_| Ok(None),
            now: &|| NOW + 1,
            http,
            token_file: None,
        },
        settings: settings(&[]),
        client_secret: None,
        committer: None,
        opener: Opener::new(None).unwrap(),
    }
}

struct Try<'a> {
    payload: &'a [u8],
    attached: bool,
    mode: RekorMode,
    match_committer: bool,
    token: Zeroizing<String>,
}

impl Default for Try<'_> {
    fn default() -> Self {
        Self {
            payload: PAYLOAD,
            attached: false,
            mode: RekorMode::Offline,
            match_committer: false,
            token: token(|_| {}),
        }
    }
}

impl Try<'_> {
    fn sign(self, authority: &Stub, log: &Stub) -> Result<CompletedSignature, SignError> {
        let http = Client::new(Timeouts::default(), || 0);
        let variable =
            |name: &str| (name == "SIGSTORE_ID_TOKEN").then(|| OsString::from(&**self.token));
        sign(
            &SignRequest {
                payload: self.payload,
                detached: !self.attached,
                clock: || NOW + 1,
            },
            &Services {
                fulcio: authority.url.clone(),
                rekor: log.url.clone(),
                rekor_version: RekorVersion::V1,
                rekor_mode: self.mode,
                timestamp: None,
            },
            LoginOptions {
                settings: settings(&[("matchcommitter", &self.match_committer.to_string())]),
                ..login(&variable, &http)
            },
            &NO_CACHE,
            &trust(),
            &http,
        )
    }
}

fn trust() -> TrustedRoot {
    TrustedRoot::from_json(Lab::new().trusted_root().as_bytes()).unwrap()
}

fn good_authority() -> Stub {
    authority(|_, _| {})
}

#[test]
fn a_commit_is_signed_and_verifies() {
    let finished = Try {
        match_committer: true,
        ..Try::default()
    }
    .sign(&good_authority(), &good_log())
    .unwrap();
    let armoured = finished.armoured();
    assert!(armoured.starts_with("-----BEGIN SIGNED MESSAGE-----\n"));
    assert_eq!(finished.log_index(), Some(9));
    let verified = verify::verify(
        &SignatureInput {
            payload: Some(PAYLOAD),
            signature: armoured.as_bytes(),
            hash: HashKind::Sha1,
        },
        &VerifyInputs::new(&trust()),
        &mut verify::NoopObserver,
    )
    .unwrap();
    assert_eq!(verified.identity.san.value(), IDENTITY);
    assert_eq!(verified.time, NOW + 2);
}

#[test]
fn a_signature_can_carry_what_it_signs() {
    let finished = Try {
        payload: b"just data",
        attached: true,
        ..Try::default()
    }
    .sign(&good_authority(), &good_log())
    .unwrap();
    let (trust, wanted) = (trust(), ExpectedIdentity::Any);
    let judge = |payload| {
        let armoured = finished.armoured();
        verify::verify(
            &SignatureInput {
                payload,
                signature: armoured.as_bytes(),
                hash: HashKind::Sha1,
            },
            &VerifyInputs {
                expected: &wanted,
                ..VerifyInputs::new(&trust)
            },
            &mut verify::NoopObserver,
        )
    };
    judge(None).unwrap();
    assert_eq!(
        judge(Some(b"just data")).unwrap_err().code(),
        "content-in-detached"
    );
}

#[test]
fn online_mode_logs_the_object_id_and_embeds_nothing() {
    let log = good_log();
    let finished = Try {
        mode: RekorMode::Online,
        ..Try::default()
    }
    .sign(&good_authority(), &log)
    .unwrap();
    let armoured = finished.armoured();
    let raw = object::attach_signature(
        ObjectKind::Commit,
        HashKind::Sha1,
        PAYLOAD,
        armoured.as_bytes(),
    );
    let id = object::id_hex(ObjectKind::Commit, HashKind::Sha1, &raw);
    let body: Value = serde_json::from_slice(&log.asked()[0].body).unwrap();
    assert_eq!(
        body.pointer("/spec/data/hash/value").unwrap(),
        &hex(&sha256(id.as_bytes()))
    );
    let refusal = verify::verify(
        &SignatureInput {
            payload: Some(PAYLOAD),
            signature: armoured.as_bytes(),
            hash: HashKind::Sha1,
        },
        &VerifyInputs::new(&trust()),
        &mut verify::NoopObserver,
    )
    .unwrap_err();
    assert!(refusal.is_undecided());
}

#[test]
fn a_certificate_that_is_not_what_was_asked_for_is_not_signed_with() {
    type Change = fn(&Lab, &mut Spec);
    type Expected = fn(&SignError) -> bool;
    let cases: [(&str, Change, Expected); 9] = [
        (
            "another key",
            |_, spec| spec.leaf.spki = Key::p256(99).spki(),
            |error| matches!(error, SignError::OtherKey { .. }),
        ),
        (
            "another identity",
            |_, spec| spec.leaf.extensions[3] = san(&[email("mallory@example.test")]),
            |error| {
                matches!(
                    error,
                    SignError::OtherIdentity {
                        what: "identity",
                        ..
                    }
                )
            },
        ),
        (
            "an address where the token has one, as URI",
            |_, spec| {
                spec.leaf.extensions[3] = san(&[uri("https://example.test/alice")]);
                spec.leaf.extensions.truncate(6);
            },
            |error| {
                matches!(
                    error,
                    SignError::OtherIdentity {
                        what: "identity",
                        ..
                    }
                )
            },
        ),
        (
            "another issuer",
            |_, spec| {
                spec.leaf.extensions[4] = fulcio_raw(1, "https://other.test");
                spec.leaf.extensions[5] = fulcio(8, "https://other.test");
            },
            |error| matches!(error, SignError::OtherIdentity { what: "issuer", .. }),
        ),
        (
            "another subject",
            |_, spec| spec.leaf.extensions[6] = fulcio(24, "subject-2"),
            |error| {
                matches!(
                    error,
                    SignError::OtherIdentity {
                        what: "subject",
                        ..
                    }
                )
            },
        ),
        (
            "two identities",
            |_, spec| {
                spec.leaf.extensions[3] = san(&[email(IDENTITY), email("mallory@example.test")]);
            },
            |error| matches!(error, SignError::Chain { .. } | SignError::Nobody { .. }),
        ),
        (
            "no SCT",
            |_, spec| spec.scts.clear(),
            |error| matches!(error, SignError::Sct { .. }),
        ),
        (
            "an SCT of an unknown log",
            |lab, spec| {
                spec.scts = vec![SctSpec {
                    key: Key::p256(98),
                    ..lab.sct()
                }];
            },
            |error| matches!(error, SignError::Sct { .. }),
        ),
        (
            "another authority",
            |_, spec| spec.leaf_issuer = Key::p384(97),
            |error| matches!(error, SignError::Chain { .. }),
        ),
    ];
    for (name, change, expected) in cases {
        let log = good_log();
        let error = Try::default().sign(&authority(change), &log).unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        assert!(log.asked().is_empty(), "{name}: the log was asked");
    }
}

#[test]
fn a_certificate_of_another_time_is_a_matter_of_clocks() {
    for shift in [-10_000, 10_000] {
        let error = Try::default()
            .sign(
                &authority(move |_, spec| {
                    spec.leaf.not_before = forge::der::utc_time(NOW + shift);
                    spec.leaf.not_after = forge::der::utc_time(NOW + shift + 600);
                }),
                &good_log(),
            )
            .unwrap_err();
        assert!(matches!(error, SignError::Clock { .. }), "{error}");
        assert!(error.hint().unwrap().contains("clock"));
    }
    // An authority whose clock is a little ahead of ours is no reason to fail.
    Try::default()
        .sign(
            &authority(|_, spec| spec.leaf.not_before = forge::der::utc_time(NOW + 2)),
            &good_log(),
        )
        .unwrap();
}

/// The certificate that the cache keeps, by a clock that is a little off.
#[test]
fn a_kept_certificate_has_the_same_tolerance() {
    let lab = Lab::new();
    let chain = [lab.leaf_certificate(&lab.spec())];
    let http = Client::new(Timeouts::default(), || 0);
    let nothing = |_: &str| None;
    let login = login(&nothing, &http);
    let (source, trust) = (login.source(), trust());
    let wish = |clock: Clock| {
        CredentialRequest {
            authority: &Url::parse("https://fulcio.example").unwrap(),
            login: &login,
            source: &source,
            trust: &trust,
            http: &http,
            clock,
        }
        .leaf(&chain)
    };
    // It is good from NOW to NOW + 600.
    let near: [Clock; 4] = [|| NOW - 60, || NOW - 30, || NOW + 630, || NOW + 660];
    for clock in near {
        let found = wish(clock);
        assert!(found.is_ok(), "{}: {:?}", clock(), found.err());
    }
    let far: [Clock; 2] = [|| NOW - 61, || NOW + 661];
    for clock in far {
        let found = wish(clock);
        assert!(matches!(found, Err(SignError::Clock { .. })), "{}", clock());
    }
}

#[test]
fn a_log_entry_that_does_not_prove_it_reaches_nobody() {
    type Change = fn(&Lab, &[u8], Value) -> Value;
    fn first(entry: &mut Value) -> &mut Value {
        entry.as_object_mut().unwrap().values_mut().next().unwrap()
    }
    let cases: [(&str, Change, Step, &str); 4] = [
        (
            "another log's key",
            |_, body, _| logged(body, &Key::p256(96), NOW + 2),
            Step::Entry,
            "log-unknown",
        ),
        (
            "a SET for another time",
            |_, _, mut right| {
                first(&mut right)["integratedTime"] = (NOW + 3).into();
                right
            },
            Step::Inclusion,
            "",
        ),
        (
            "no SET",
            |_, _, mut right| {
                first(&mut right)["verification"]
                    .as_object_mut()
                    .unwrap()
                    .remove("signedEntryTimestamp");
                right
            },
            Step::Time,
            "no-trusted-time",
        ),
        (
            "after the certificate's end",
            |lab, body, _| logged(body, &lab.rekor, NOW + 700),
            Step::Time,
            "time-outside-certificate",
        ),
    ];
    for (name, change, step, code) in cases {
        let error = Try::default()
            .sign(&good_authority(), &log(change))
            .unwrap_err();
        let SignError::Unverifiable(refusal) = &error else {
            panic!("{name}: {error}");
        };
        assert_eq!(refusal.step(), step, "{name}: {refusal}");
        if !code.is_empty() {
            assert_eq!(refusal.code(), code, "{name}");
        }
    }
    let error = Try::default()
        .sign(
            &good_authority(),
            &log(|lab, _, _| {
                logged(
                    br#"{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{}}"#,
                    &lab.rekor,
                    NOW,
                )
            }),
        )
        .unwrap_err();
    assert!(
        matches!(error, SignError::Rekor(RekorClientError::OtherEntry { .. })),
        "{error}"
    );
}

#[test]
fn the_committer_of_the_object_counts() {
    let other = String::from_utf8_lossy(PAYLOAD).replace("alice@", "eve@");
    let error = Try {
        payload: other.as_bytes(),
        match_committer: true,
        ..Try::default()
    }
    .sign(&good_authority(), &good_log())
    .unwrap_err();
    assert!(
        matches!(
            &error,
            SignError::Committer(reason)
                if reason.code() == "committer-mismatch"
                    && reason.message().contains("the committer is")
                    && reason.message().contains("<eve@example.test>")
        ),
        "{error}"
    );
    let error = Try {
        payload: b"just data",
        match_committer: true,
        ..Try::default()
    }
    .sign(&good_authority(), &good_log())
    .unwrap_err();
    assert!(
        matches!(&error, SignError::Committer(reason) if reason.code() == "committer-absent"),
        "{error}"
    );
}

#[test]
fn what_no_verifier_would_take_is_refused_before_anybody_is_asked() {
    let authority = good_authority();
    let nul = [PAYLOAD, b"\0more"].concat();
    let error = Try {
        payload: &nul,
        ..Try::default()
    }
    .sign(&authority, &good_log())
    .unwrap_err();
    assert!(matches!(error, SignError::Payload { what: "commit", .. }));
    let error = Try {
        payload: b"",
        ..Try::default()
    }
    .sign(&authority, &good_log())
    .unwrap_err();
    assert!(matches!(error, SignError::EmptyPayload));
    let error = Try {
        payload: b"just data",
        mode: RekorMode::Online,
        ..Try::default()
    }
    .sign(&authority, &good_log())
    .unwrap_err();
    assert!(matches!(error, SignError::Settings(_)));
    let error = Try {
        token: token(|claims| claims["exp"] = (NOW - 1).into()),
        ..Try::default()
    }
    .sign(&authority, &good_log())
    .unwrap_err();
    assert!(matches!(
        error,
        SignError::Ambient(AmbientError::Token {
            refusal: IdentityTokenError::Expired { .. },
            ..
        })
    ));
    assert!(authority.asked().is_empty());
}

#[test]
fn without_a_token_it_says_how_to_get_one() {
    let http = Client::new(Timeouts::default(), || 0);
    let nothing = |_: &str| None;
    let error = sign(
        &SignRequest {
            payload: PAYLOAD,
            detached: true,
            clock: || NOW,
        },
        &Services {
            fulcio: Url::parse("http://127.0.0.1:1").unwrap(),
            rekor: Url::parse("http://127.0.0.1:1").unwrap(),
            rekor_version: RekorVersion::V1,
            rekor_mode: RekorMode::Offline,
            timestamp: None,
        },
        LoginOptions {
            provider: Provider::named("envvar").unwrap(),
            ..login(&nothing, &http)
        },
        &NO_CACHE,
        &trust(),
        &http,
    )
    .unwrap_err();
    assert!(matches!(
        error,
        SignError::Ambient(AmbientError::Unset { .. })
    ));
    assert!(error.hint().unwrap().contains("SIGSTORE_ID_TOKEN"));
    let error = Provider::named("x\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no token provider \"x\\\\u{a}\""
    );
    assert_eq!(error.exit_code(), crate::exit::EXIT_USAGE);
}

#[test]
fn providers_have_names() {
    let named = |name| Provider::named(name).unwrap();
    assert_eq!(named(""), Provider::Automatic);
    assert_eq!(named("headless"), Provider::Headless);
    assert_eq!(named("interactive"), Provider::Interactive);
    assert_eq!(named("device"), Provider::Device);
    assert_eq!(named("oob"), Provider::OutOfBand);
    assert_eq!(
        named("google-impersonation"),
        Provider::Ambient(TokenProvider::named("google-impersonate").unwrap())
    );
}

/// Whose credential it is depends on what was wished for, not on the directory.
#[test]
fn a_credential_is_of_a_wish() {
    let http = Client::new(Timeouts::default(), || 0);
    let nothing = |_: &str| None;
    let plain = || LoginOptions {
        provider: Provider::Interactive,
        ..login(&nothing, &http)
    };
    let of = |login: LoginOptions<'_>| {
        let source = login.source();
        cache::scope("https://fulcio.example", &login, &source, &trust())
    };
    let usual = of(plain());
    assert_eq!(usual, of(plain()));
    let committer = Some(("Alice".to_owned(), IDENTITY.to_owned()));
    assert_eq!(
        usual,
        of(LoginOptions {
            committer: committer.clone(),
            ..plain()
        }),
        "whoever logs in signs, whoever commits"
    );
    for other in [
        LoginOptions {
            settings: settings(&[("issuer", "https://other.example")]),
            ..plain()
        },
        LoginOptions {
            settings: settings(&[("clientid", "other")]),
            ..plain()
        },
        LoginOptions {
            settings: settings(&[("connectorid", "https://accounts.google.com")]),
            ..plain()
        },
        LoginOptions {
            settings: settings(&[("loginhint", IDENTITY)]),
            ..plain()
        },
        LoginOptions {
            committer,
            settings: settings(&[("matchcommitter", "true")]),
            ..plain()
        },
    ] {
        assert_ne!(usual, of(other));
    }
    let source = plain().source();
    assert_ne!(
        usual,
        cache::scope("https://other.example", &plain(), &source, &trust())
    );
    let mut less = trust();
    less.timestamp_authorities.clear();
    less.logs.clear();
    assert_ne!(
        usual,
        cache::scope("https://fulcio.example", &plain(), &source, &less)
    );
    // Two jobs on one machine are two, whatever else they share.
    let job = |token: &'static str| {
        let variable = move |name: &str| {
            let value = match name {
                "GITHUB_ACTIONS" => "true",
                "ACTIONS_ID_TOKEN_REQUEST_URL" => "https://token.example/",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN" => token,
                _ => return None,
            };
            Some(OsString::from(value))
        };
        of(login(&variable, &http))
    };
    assert_eq!(job("one"), job("one"));
    assert_ne!(job("one"), job("two"));
    assert!(!job("one").subject.contains("one"), "the token is not told");
}

#[test]
fn a_tokens_identity_is_compared_by_its_kind() {
    let sign = |change: fn(&mut Value), leaf: fn(&Lab, &mut Spec)| {
        Try {
            token: token(change),
            ..Try::default()
        }
        .sign(&authority(leaf), &good_log())
    };
    // A CI token: no address, an identity made of other claims.
    let ci: fn(&mut Value) = |claims| {
        claims.as_object_mut().unwrap().remove("email");
    };
    sign(ci, |_, spec| {
        spec.leaf.extensions[3] = san(&[uri("https://github.com/o/r/.github/workflows/w.yml@r")]);
    })
    .unwrap();
    // An address out of nowhere.
    let error = sign(ci, |_, _| {}).unwrap_err();
    assert!(matches!(
        error,
        SignError::OtherIdentity {
            what: "identity",
            ..
        }
    ));
    // A broker: the certificate names the provider behind it.
    sign(
        |claims| {
            claims["iss"] = "https://broker.test".into();
            claims["federated_claims"] = json!({"connector_id": ISSUER});
        },
        |_, _| {},
    )
    .unwrap();
}
