#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/support/forge/mod.rs"]
mod forge;

use std::{ffi::OsString, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use forge::{
    IDENTITY, ISSUER, Key, LOG_NAME, Lab, NOW, SctSpec, Spec, TREE_ID, email, fulcio, fulcio_raw,
    hex, pem, san, sign_note, uri,
};
use serde_json::{Value, json};

use zeroize::Zeroizing;

use super::{
    error::IssuedCertificateError as Problem,
    login::{LoginMethod, LoginOptions, TokenSource},
    *,
};
use crate::host::git_config::{ConfigScope, ConfigValue};
use crate::stub::{CannedResponse, Stub};
use gitseal_evidence::refusal::{Refusal, Step};
use gitseal_services::{
    fulcio::wire::parse_csr,
    http::client::Client,
    oidc::{
        ambient::{self, AmbientContext, AmbientError},
        token::{IdentityToken, IdentityTokenError},
    },
    rekor::client::RekorClientError,
};

const PAYLOAD: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
author A <a@example.test> 1795176000 +0000\n\
committer Alice <alice@example.test> 1795176000 +0000\n\nmessage without a final newline";

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

/// Settings without a credential cache, that live as long as the test.
fn settings(values: &[(&str, &str)]) -> &'static Settings {
    const DEFAULTS: [(&str, &str); 4] = [
        ("issuer", ISSUER),
        ("fulcio", "https://fulcio.example"),
        ("confirmidentity", "false"),
        ("credentialcache", "off"),
    ];
    let config: Vec<ConfigValue> = DEFAULTS
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

fn http() -> &'static Client {
    Box::leak(Box::new(Client::new(Timeouts::default(), || 0)))
}

/// A process environment with these variables and no files.
fn environment(variables: &'static [(&'static str, &'static str)]) -> AmbientContext<'static> {
    AmbientContext {
        variable: Box::leak(Box::new(move |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })),
        file: &|_: &Path| Ok(None),
        now: &|| NOW + 1,
        http: http(),
        token_file: None,
    }
}

fn login(values: &[(&str, &str)]) -> Result<LoginOptions<'static>, SignError> {
    LoginOptions::new(settings(values), environment(&[]))
}

fn request(login: LoginOptions<'static>) -> CredentialRequest<'static> {
    let trust = Box::leak(Box::new(trust()));
    CredentialRequest { login, trust }
}

struct Try<'a> {
    payload: &'a [u8],
    attached: bool,
    settings: &'a [(&'a str, &'a str)],
    token: Zeroizing<String>,
}

impl Default for Try<'_> {
    fn default() -> Self {
        Self {
            payload: PAYLOAD,
            attached: false,
            settings: &[],
            token: token(|_| {}),
        }
    }
}

impl Try<'_> {
    fn sign(self, authority: &Stub, log: &Stub) -> Result<CompletedSignature, SignError> {
        let servers = [
            ("fulcio", authority.url.as_str()),
            ("rekor", log.url.as_str()),
        ];
        let settings = settings(&[&servers, self.settings].concat());
        let variable =
            |name: &str| (name == "SIGSTORE_ID_TOKEN").then(|| OsString::from(&**self.token));
        let environment = AmbientContext {
            variable: &variable,
            ..environment(&[])
        };
        sign(
            &SignRequest {
                payload: self.payload,
                detached: !self.attached,
            },
            &mut CredentialRequest {
                login: LoginOptions::new(settings, environment)?,
                trust: &trust(),
            },
        )
    }

    /// Signs with a good authority and a good log.
    fn sign_well(self) -> Result<CompletedSignature, SignError> {
        self.sign(&good_authority(), &good_log())
    }
}

fn verified(signature: &CompletedSignature, payload: Option<&[u8]>) -> Result<Verified, Refusal> {
    verify::verify(
        &SignatureInput {
            payload,
            signature: signature.armored().as_bytes(),
            hash: HashKind::Sha1,
        },
        &VerifyInputs::new(&trust()),
        &mut verify::NoopObserver,
    )
}

fn trust() -> TrustedRoot {
    TrustedRoot::from_json(Lab::new().trusted_root().as_bytes()).unwrap()
}

fn good_authority() -> Stub {
    authority(|_, _| {})
}

#[test]
fn a_commit_is_signed_and_verifies() {
    let completed = Try {
        settings: &[("matchcommitter", "true")],
        ..Try::default()
    }
    .sign_well()
    .unwrap();
    assert!(
        completed
            .armored()
            .starts_with("-----BEGIN SIGNED MESSAGE-----\n")
    );
    assert_eq!(completed.log_index, Some(9));
    let verified = verified(&completed, Some(PAYLOAD)).unwrap();
    assert_eq!(verified.identity.san.value(), IDENTITY);
    assert_eq!(verified.time, NOW + 2);
}

#[test]
fn a_signature_can_contain_the_signed_content() {
    let completed = Try {
        payload: b"just data",
        attached: true,
        ..Try::default()
    }
    .sign_well()
    .unwrap();
    verified(&completed, None).unwrap();
    assert_eq!(
        verified(&completed, Some(b"just data")).unwrap_err().code(),
        "content-in-detached"
    );
}

#[test]
fn online_mode_logs_the_object_id_and_embeds_nothing() {
    let log = good_log();
    let completed = Try {
        settings: &[("rekormode", "online")],
        ..Try::default()
    }
    .sign(&good_authority(), &log)
    .unwrap();
    let raw = object::attach_signature(
        ObjectKind::Commit,
        HashKind::Sha1,
        PAYLOAD,
        completed.armored().as_bytes(),
    );
    let id = object::id_hex(ObjectKind::Commit, HashKind::Sha1, &raw);
    let body: Value = serde_json::from_slice(&log.asked()[0].body).unwrap();
    assert_eq!(
        body.pointer("/spec/data/hash/value").unwrap(),
        &hex(&sha256(id.as_bytes()))
    );
    let refusal = verified(&completed, Some(PAYLOAD)).unwrap_err();
    assert!(refusal.is_undecided());
}

/// Names the problem of a certificate.
fn problem(error: &SignError) -> &'static str {
    let SignError::Certificate { error, .. } = error else {
        return "another error";
    };
    match error {
        Problem::OtherKey => "key",
        Problem::OtherIdentity { what, .. } => what,
        Problem::NoIdentity(_) => "no identity",
        Problem::Chain(_) => "chain",
        Problem::Sct(_) => "SCT",
        Problem::Clock { .. } => "clock",
        Problem::Key(_) => "unusable key",
    }
}

#[test]
fn a_certificate_that_is_not_the_requested_one_is_not_used() {
    type Change = fn(&Lab, &mut Spec);
    let cases: [(&str, Change, &str); 9] = [
        (
            "another key",
            |_, spec| spec.leaf.spki = Key::p256(99).spki(),
            "key",
        ),
        (
            "another identity",
            |_, spec| spec.leaf.extensions[3] = san(&[email("mallory@example.test")]),
            "identity",
        ),
        (
            "an address where the token has one, as URI",
            |_, spec| {
                spec.leaf.extensions[3] = san(&[uri("https://example.test/alice")]);
                spec.leaf.extensions.truncate(6);
            },
            "identity",
        ),
        (
            "another issuer",
            |_, spec| {
                spec.leaf.extensions[4] = fulcio_raw(1, "https://other.test");
                spec.leaf.extensions[5] = fulcio(8, "https://other.test");
            },
            "issuer",
        ),
        (
            "another subject",
            |_, spec| spec.leaf.extensions[6] = fulcio(24, "subject-2"),
            "subject",
        ),
        (
            "two identities",
            |_, spec| {
                spec.leaf.extensions[3] = san(&[email(IDENTITY), email("mallory@example.test")]);
            },
            "chain",
        ),
        ("no SCT", |_, spec| spec.scts.clear(), "SCT"),
        (
            "an SCT of an unknown log",
            |lab, spec| {
                spec.scts = vec![SctSpec {
                    key: Key::p256(98),
                    ..lab.sct()
                }];
            },
            "SCT",
        ),
        (
            "another authority",
            |_, spec| spec.leaf_issuer = Key::p384(97),
            "chain",
        ),
    ];
    for (name, change, expected) in cases {
        let log = good_log();
        let error = Try::default().sign(&authority(change), &log).unwrap_err();
        assert_eq!(problem(&error), expected, "{name}: {error:?}");
        assert!(log.asked().is_empty(), "{name}: the log was queried");
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
        assert_eq!(problem(&error), "clock", "{error}");
        assert!(error.hint().unwrap().contains("clock"));
    }
    // The authority's clock may be a little ahead of the system clock.
    Try::default()
        .sign(
            &authority(|_, spec| spec.leaf.not_before = forge::der::utc_time(NOW + 2)),
            &good_log(),
        )
        .unwrap();
}

/// The certificate in the cache, by a clock that is a little off.
#[test]
fn a_cached_certificate_has_the_same_tolerance() {
    let lab = Lab::new();
    let chain = [lab.leaf_certificate(&lab.spec())];
    let check = |now: &'static dyn Fn() -> UnixTime| {
        let environment = AmbientContext {
            now,
            ..environment(&[])
        };
        request(LoginOptions::new(settings(&[]), environment).unwrap()).check_cached(&chain)
    };
    // It is valid from NOW to NOW + 600.
    let near: [&dyn Fn() -> UnixTime; 4] =
        [&|| NOW - 60, &|| NOW - 30, &|| NOW + 630, &|| NOW + 660];
    for now in near {
        let found = check(now);
        assert!(found.is_ok(), "{}: {:?}", now(), found.err());
    }
    let far: [&dyn Fn() -> UnixTime; 2] = [&|| NOW - 61, &|| NOW + 661];
    for now in far {
        assert_eq!(problem(&check(now).unwrap_err()), "clock", "{}", now());
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
    let refused = |payload: &[u8]| {
        let attempt = Try {
            payload,
            settings: &[("matchcommitter", "true")],
            ..Try::default()
        };
        match attempt.sign_well() {
            Err(SignError::Committer(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let other = String::from_utf8_lossy(PAYLOAD).replace("alice@", "eve@");
    let reason = refused(other.as_bytes());
    assert_eq!(reason.code(), "committer-mismatch");
    for part in ["the committer is", "<eve@example.test>"] {
        assert!(reason.message().contains(part), "{part}: {reason}");
    }
    assert_eq!(refused(b"just data").code(), "committer-absent");
}

#[test]
fn a_malformed_payload_is_rejected_before_the_login() {
    let authority = good_authority();
    let refused = |attempt: Try<'_>| attempt.sign(&authority, &good_log()).unwrap_err();
    let nul = [PAYLOAD, b"\0more"].concat();
    let error = refused(Try {
        payload: &nul,
        ..Try::default()
    });
    assert!(matches!(error, SignError::Payload { what: "commit", .. }));
    let error = refused(Try {
        payload: b"",
        ..Try::default()
    });
    assert!(matches!(error, SignError::EmptyPayload));
    let error = refused(Try {
        payload: b"just data",
        settings: &[("rekormode", "online")],
        ..Try::default()
    });
    assert!(matches!(error, SignError::Settings { .. }));
    let error = refused(Try {
        token: token(|claims| claims["exp"] = (NOW - 1).into()),
        ..Try::default()
    });
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
    let login = login(&[
        ("tokenprovider", "envvar"),
        ("fulcio", "http://127.0.0.1:1"),
        ("rekor", "http://127.0.0.1:1"),
    ]);
    let error = sign(
        &SignRequest {
            payload: PAYLOAD,
            detached: true,
        },
        &mut request(login.unwrap()),
    )
    .unwrap_err();
    assert!(matches!(
        error,
        SignError::Ambient(AmbientError::Unset { .. })
    ));
    assert!(error.hint().unwrap().contains("SIGSTORE_ID_TOKEN"));
}

#[test]
fn providers_have_names() {
    let source = |name| login(&[("tokenprovider", name)]).map(|login| login.source);
    let ambient = |name| TokenSource::Ambient(ambient::named(name).unwrap());
    assert_eq!(source("headless").unwrap(), TokenSource::Headless);
    for (name, method) in [
        ("interactive", LoginMethod::Browser),
        ("device", LoginMethod::Device),
        ("oob", LoginMethod::OutOfBand),
    ] {
        assert_eq!(source(name).unwrap(), TokenSource::User(method));
    }
    assert_eq!(
        source("google-impersonation").unwrap(),
        ambient("google-impersonate")
    );
    let error = source("x\u{7f}").unwrap_err();
    assert_eq!(error.to_string(), r#"unknown token provider "x\u{7f}""#);
    assert_eq!(error.exit_code(), crate::exit::EXIT_USAGE);
    // Without a name, the first one that is available.
    let first = |variables| {
        let login = LoginOptions::new(settings(&[]), environment(variables));
        login.unwrap().source
    };
    assert_eq!(first(&[("SIGSTORE_ID_TOKEN", "x")]), ambient("envvar"));
    assert_eq!(
        first(&[("DISPLAY", ":0")]),
        TokenSource::User(LoginMethod::Browser)
    );
}

/// The scope depends on the request, not on the directory.
#[test]
fn each_part_of_a_request_changes_its_scope() {
    const USER: (&str, &str) = ("tokenprovider", "interactive");
    let plain = || request(login(&[USER]).unwrap());
    let committer = Some(("Alice".to_owned(), IDENTITY.to_owned()));
    let usual = plain().scope();
    assert_eq!(usual, plain().scope());
    let mut other = plain();
    other.login.committer = committer.clone();
    assert_eq!(
        usual,
        other.scope(),
        "the committer does not choose the signer"
    );
    for setting in [
        ("issuer", "https://other.example"),
        ("clientid", "other"),
        ("connectorid", "https://accounts.google.com"),
        ("loginhint", IDENTITY),
        ("matchcommitter", "true"),
        ("fulcio", "https://other.example"),
    ] {
        let mut other = request(login(&[USER, setting]).unwrap());
        other.login.committer = committer.clone();
        assert_ne!(usual, other.scope(), "{setting:?}");
    }
    let mut less = trust();
    less.timestamp_authorities.clear();
    less.logs.clear();
    let other = CredentialRequest {
        trust: &less,
        ..plain()
    };
    assert_ne!(usual, other.scope());
    // Two jobs on one machine are two, whatever else they share.
    let job = |variables| {
        let login = LoginOptions::new(settings(&[]), environment(variables));
        request(login.unwrap()).scope()
    };
    const GITHUB: [(&str, &str); 2] = [
        ("GITHUB_ACTIONS", "true"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://token.example/"),
    ];
    const ONE: [(&str, &str); 3] = [
        GITHUB[0],
        GITHUB[1],
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "one"),
    ];
    const TWO: [(&str, &str); 3] = [
        GITHUB[0],
        GITHUB[1],
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "two"),
    ];
    assert_eq!(job(&ONE), job(&ONE));
    assert_ne!(job(&ONE), job(&TWO));
    assert!(!job(&ONE).subject.contains("one"), "the token is not in it");
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
    assert_eq!(problem(&error), "identity");
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

/// The user does not log in for a token that has nowhere to go.
#[test]
fn a_service_without_tls_on_another_machine_is_refused_before_the_login() {
    let check = |values: &[(&str, &str)]| login(values).unwrap().check_services();
    for (name, provider) in [
        ("fulcio", "interactive"),
        ("fulcio", "headless"),
        ("fulcio", "envvar"),
        ("issuer", "device"),
        ("issuer", "oob"),
    ] {
        let values = [
            ("tokenprovider", provider),
            (name, "http://sigstore.example"),
        ];
        let error = check(&values).unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::EXIT_USAGE);
        let text = error.to_string();
        assert!(text.contains("http://sigstore.example"), "{text}");
        assert!(text.contains(&format!("gitseal.{name}")), "{text}");
        let hint = error.hint().unwrap();
        assert_eq!(hint, format!("set gitseal.{name} to an https URL"));
    }
    // The issuer is not asked for a token that is there.
    check(&[
        ("tokenprovider", "envvar"),
        ("issuer", "http://sigstore.example"),
    ])
    .unwrap();
    check(&[
        ("tokenprovider", "device"),
        ("fulcio", "http://127.0.0.1:1"),
    ])
    .unwrap();
}

/// A login is for the user that the settings request; a token that comes without a
/// login is for whoever the environment says.
#[test]
fn a_token_is_compared_with_the_requested_user() {
    const HINT: (&str, &str) = ("loginhint", "bob@example.test");
    const MATCH: (&str, &str) = ("matchcommitter", "true");
    let check = |provider: &str, values: &[(&str, &str)], committer: &str| {
        let values = [&[("tokenprovider", provider)], values].concat();
        let mut login = login(&values).unwrap();
        login.committer = Some(("A".to_owned(), committer.to_owned()));
        let token = IdentityToken::parse(token(|_| {})).unwrap();
        match login.check_user(&token) {
            Ok(()) => None,
            Err(SignError::OtherAccount { requested_by, .. }) => Some(requested_by),
            Err(error) => panic!("{error}"),
        }
    };
    let other = "bob@example.test";
    for provider in ["interactive", "device", "oob", "headless"] {
        assert_eq!(
            check(provider, &[HINT], IDENTITY),
            Some("gitseal.loginHint")
        );
        let same = [("loginhint", IDENTITY)];
        assert_eq!(check(provider, &same, other), None, "{provider}");
        let both = [MATCH];
        assert_eq!(check(provider, &both, other), Some("the committer"));
        assert_eq!(check(provider, &both, IDENTITY), None, "{provider}");
    }
    // The address of a commit need not be that of an account.
    assert_eq!(check("interactive", &[], other), None);
    // A login without a prompt is for the committer.
    assert_eq!(check("headless", &[], other), Some("the committer"));
    assert_eq!(check("envvar", &[HINT, MATCH], other), None);
}

/// A certificate in the cache is compared as its token was.
#[test]
fn a_cached_certificate_of_another_account_is_not_used() {
    let lab = Lab::new();
    let leaf = lab.leaf_certificate(&lab.spec());
    let check = |user: &str| {
        let login = login(&[("tokenprovider", "device"), ("loginhint", user)]).unwrap();
        request(login).check_cached(std::slice::from_ref(&leaf))
    };
    check(IDENTITY).unwrap();
    check("subject-1").unwrap();
    let error = check("bob@example.test").map(drop).unwrap_err();
    assert!(matches!(error, SignError::OtherAccount { .. }), "{error}");
}
