//! Attacks on one signature, each built and refused *for its own reason*: a
//! forged Sigstore makes a signature that is right in every part but one.
//!
//! The rows are numbered as in `docs/verification.md`, which lists them all.
//! A row that is expected `good` guards against refusing what real signers make.

use crate::support::forge::{
    self, CODE_SIGNING, EntrySpec, IDENTITY, ISSUER, Key, Lab, NOW, SERVER_AUTH, SHA1, SHA512,
    Spec, armor, attribute, authority_key_id, ca, commit_payload,
    der::{
        self, algorithm, explicit, extension, generalized_time, int, name, null, octets, oid, seq,
        tlv, utc_time, utf8,
    },
    eku, email, fulcio, fulcio_raw, intermediate_name, note_line, root_name, san, sign_note, uri,
};
use gitseal_evidence::{
    identity::{ExpectedIdentity, IdentityMatcher, Pattern},
    memo::Memo,
    object::HashKind,
    trusted_root::TrustedRoot,
    verify::{NoopObserver, SignatureInput, VerifyInputs, verify},
};

static MEMORY: Memo = Memo::with_capacity(4096);

/// `good`, or the step and the code.
fn verdict_on(
    payload: Option<&[u8]>,
    signature: &str,
    trust: &TrustedRoot,
    wanted: &ExpectedIdentity,
) -> String {
    let subject = SignatureInput {
        payload,
        signature: signature.as_bytes(),
        hash: HashKind::Sha1,
    };
    let against = VerifyInputs {
        expected: wanted,
        ..VerifyInputs::new(trust)
    };
    let plain = verify(&subject, &against, &mut NoopObserver);
    // One memory for all attacks of this file, in whatever order they come: what it
    // remembers of one must change no verdict on another, nor on the same again.
    let remembering = VerifyInputs {
        memo: &MEMORY,
        ..against
    };
    for _ in 0..2 {
        let remembered = verify(&subject, &remembering, &mut NoopObserver);
        match (&plain, &remembered) {
            (Ok(one), Ok(other)) => {
                assert_eq!(one.certificate.der(), other.certificate.der());
                assert_eq!(
                    (one.time, one.identity_matched),
                    (other.time, other.identity_matched)
                );
                assert_eq!(one.log_index, other.log_index);
                assert_eq!(one.checkpoint, other.checkpoint);
            }
            (one, other) => assert_eq!(one.as_ref().err(), other.as_ref().err()),
        }
    }
    match plain {
        Ok(verified) => {
            assert_eq!(verified.identity.issuer, ISSUER);
            "good".to_owned()
        }
        Err(refusal) => format!("{} {}", refusal.step().number(), refusal.code()),
    }
}

fn trust(lab: &Lab) -> TrustedRoot {
    TrustedRoot::from_json(lab.trusted_root().as_bytes()).unwrap()
}

/// One row: its name, what is changed, what must come of it.
type Row<'a> = (&'a str, &'a dyn Fn(&Lab, &mut Spec), &'a str);

fn judge(rows: &[Row<'_>]) {
    let lab = Lab::new();
    let trust = trust(&lab);
    let payload = commit_payload();
    let mut wrong = Vec::new();
    for (name, change, expected) in rows {
        let signature = lab.sign_with(&payload, |spec| change(&lab, spec));
        let found = verdict_on(Some(&payload), &signature, &trust, &ExpectedIdentity::Any);
        if found != *expected {
            wrong.push(format!("{name}: {found}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn entry(spec: &mut Spec) -> &mut EntrySpec {
    spec.entry.as_mut().unwrap()
}

/// Replaces the extension whose DER begins like this one's OID.
fn replace(spec: &mut Spec, dotted: &str, with: Option<Vec<u8>>) {
    let wanted = oid(dotted);
    let at = spec
        .leaf
        .extensions
        .iter()
        .position(|one| forge::inner(one).starts_with(&wanted))
        .unwrap();
    match with {
        Some(other) => spec.leaf.extensions[at] = other,
        None => drop(spec.leaf.extensions.remove(at)),
    }
}

const SAN: &str = "2.5.29.17";
const EKU: &str = "2.5.29.37";
const KEY_USAGE: &str = "2.5.29.15";

#[test]
fn nothing_broken_is_good() {
    judge(&[
        ("v1 with SET and proof", &|_, _| {}, "good"),
        (
            "v1 with a timestamp beside the SET",
            &|lab, spec| spec.timestamps = vec![lab.timestamp()],
            "good",
        ),
        (
            "v1 without SET, with a timestamp",
            &|lab, spec| {
                entry(spec).set = false;
                spec.timestamps = vec![lab.timestamp()];
            },
            "good",
        ),
        (
            "v2 with a timestamp",
            &|lab, spec| {
                spec.entry = Some(EntrySpec::v2(&lab.rekor2));
                spec.timestamps = vec![lab.timestamp()];
            },
            "good",
        ),
        (
            "v2 stored as 0.0.1, as gitsign does",
            &|lab, spec| {
                spec.entry = Some(EntrySpec::v2(&lab.rekor2));
                entry(spec).version = "0.0.1".into();
                spec.timestamps = vec![lab.timestamp()];
            },
            "good",
        ),
        (
            "the intermediate in the bag",
            &|lab, spec| {
                let intermediate = lab.intermediate_certificate.clone();
                spec.certificates = Box::new(move |mut bag| {
                    bag.push(intermediate.clone());
                    bag
                });
            },
            "good",
        ),
        (
            "unknown signed attribute",
            &|_, spec| spec.extra_attributes = vec![attribute("1.2.3.4", &[utf8("x")])],
            "good",
        ),
        (
            "unknown unsigned attribute",
            &|_, spec| {
                spec.unsigned_attributes =
                    Box::new(|all| all.push(attribute("1.2.3.4", &[utf8("x")])));
            },
            "good",
        ),
        (
            "signature algorithm id-ecPublicKey",
            &|_, spec| spec.signature_algorithm = algorithm("1.2.840.10045.2.1"),
            "good",
        ),
        (
            "SHA-512 digest: not the one that the signature uses",
            &|_, spec| spec.digest = SHA512,
            "1 cms-digest-mismatch",
        ),
        (
            "URI identity",
            &|_, spec| {
                replace(
                    spec,
                    SAN,
                    Some(san(&[uri("https://ci.example.test/job@refs/heads/main")])),
                );
            },
            "good",
        ),
        (
            "issuer only as v1",
            &|_, spec| replace(spec, "1.3.6.1.4.1.57264.1.8", None),
            "good",
        ),
        (
            "issuer only as v2",
            &|_, spec| replace(spec, "1.3.6.1.4.1.57264.1.1", None),
            "good",
        ),
    ]);
}

#[test]
fn r_transparency_log_v1() {
    judge(&[
        (
            "R1 attributes stripped",
            &|_, spec| spec.entry = None,
            "4 no-log-entry",
        ),
        (
            "R2 the entry of another signature by the same key",
            &|_, spec| entry(spec).body = Some(b"{}".to_vec()),
            "5 proof-root-mismatch",
        ),
        (
            "R4 a body is sent along and says something else",
            &|_, spec| entry(spec).sent_body = Some(b"{}".to_vec()),
            "4 entry-body-mismatch",
        ),
        (
            "R5 SET without proof",
            &|_, spec| entry(spec).proof = false,
            "5 no-inclusion-proof",
        ),
        (
            "R5 proof without SET",
            &|_, spec| entry(spec).set = false,
            "6 no-trusted-time",
        ),
        (
            "R5 proof without checkpoint",
            &|_, spec| entry(spec).note = Box::new(|_| String::new()),
            "4 entry-incomplete",
        ),
        (
            "R5 size forged, index with it",
            &|_, spec| {
                entry(spec).proof_index = Some(1);
                entry(spec).tree_size = Some(2);
            },
            "5 checkpoint-size-mismatch",
        ),
        (
            "R5 root forged",
            &|_, spec| entry(spec).root_hash = Some(vec![7; 32]),
            "5 checkpoint-root-mismatch",
        ),
        (
            "R5 proof of another leaf",
            &|_, spec| entry(spec).proof_index = Some(0),
            "5 proof-length",
        ),
        (
            "R5 proof hash changed",
            &|_, spec| entry(spec).hashes = Box::new(|hashes| hashes[0][0] ^= 1),
            "5 proof-root-mismatch",
        ),
        (
            "R5 proof too long",
            &|_, spec| entry(spec).hashes = Box::new(|hashes| hashes.push(vec![0; 32])),
            "5 proof-length",
        ),
        (
            "R5 proof hash of 31 bytes",
            &|_, spec| entry(spec).hashes = Box::new(|hashes| hashes[0].truncate(31)),
            "4 entry-hash-length",
        ),
        (
            "R5 64 proof hashes",
            &|_, spec| {
                entry(spec).hashes = Box::new(|hashes| hashes.resize(64, vec![0; 32]));
            },
            "5 proof-length",
        ),
        (
            "R5 checkpoint by another key under the log's name",
            &|_, spec| {
                entry(spec).note = Box::new(|note| {
                    let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
                    sign_note(&text, forge::LOG_NAME, &Key::p256(99))
                });
            },
            "5 checkpoint-signer-key",
        ),
        (
            "R5 a self-made log",
            &|_, spec| spec.entry = Some(EntrySpec::v1(&Key::p256(99))),
            "4 log-unknown",
        ),
        (
            "R5 SET over another time",
            &|_, spec| entry(spec).set_over = Some((NOW + 3, 4_242)),
            "5 signature-invalid",
        ),
        (
            "R5 SET over another index",
            &|_, spec| entry(spec).set_over = Some((NOW + 2, 4_243)),
            "5 signature-invalid",
        ),
        (
            "R5 integrated time after the certificate",
            &|_, spec| entry(spec).integrated_time = NOW + 601,
            "6 time-outside-certificate",
        ),
        (
            "R5 integrated time before the certificate",
            &|_, spec| entry(spec).integrated_time = NOW - 1,
            "6 time-outside-certificate",
        ),
        (
            "R5 integrated time 0",
            &|_, spec| entry(spec).integrated_time = 0,
            "6 log-key-window",
        ),
        (
            "R5 integrated time negative",
            &|_, spec| entry(spec).integrated_time = -5,
            "4 entry-number",
        ),
        (
            "R5 proof index -1",
            &|_, spec| entry(spec).proof_index = Some(-1),
            "4 entry-number",
        ),
        (
            "R5 log index -1",
            &|_, spec| entry(spec).log_index = -1,
            "4 entry-number",
        ),
        (
            "R5 index = size",
            &|_, spec| entry(spec).proof_index = Some(3),
            "4 entry-number",
        ),
        (
            "R8 another version than the log's",
            &|_, spec| entry(spec).version = "0.0.2".into(),
            "4 entry-version",
        ),
        (
            "R8 text where the version is",
            &|_, spec| entry(spec).version = "0.0.1 ".into(),
            "4 entry-version",
        ),
        (
            "R8 another kind",
            &|_, spec| entry(spec).kind = "dsse".into(),
            "4 entry-kind",
        ),
        (
            "R6 checkpoint of another log by the same key, another name",
            &|_, spec| entry(spec).origin = format!("other.example.test - {}", forge::TREE_ID),
            "5 checkpoint-signer-name",
        ),
        (
            "R9 two log entry attributes",
            &|_, spec| {
                spec.unsigned_attributes = Box::new(|all| {
                    let again = all[0].clone();
                    all.push(again);
                });
            },
            "1 cms-duplicate-attribute",
        ),
        (
            "R9 two values in one attribute",
            &|_, spec| {
                spec.unsigned_attributes = Box::new(|all| {
                    all[0] = attribute(forge::LOG_ENTRY, &[octets(b"a"), octets(b"b")]);
                });
            },
            "1 cms-attribute-values",
        ),
        (
            "R9 the draft encoding",
            &|_, spec| {
                spec.unsigned_attributes = Box::new(|all| {
                    all[0] = attribute(forge::LOG_ENTRY, &[int(1_668_000_000)]);
                });
            },
            "1 cms-draft-log-entry",
        ),
        (
            "R12 a v2 checkpoint from a v1 log",
            &|_, spec| entry(spec).origin = forge::LOG_NAME.into(),
            "5 proof-root-mismatch",
        ),
    ]);
}

#[test]
fn r7_checkpoint_notes() {
    fn note(change: impl Fn(String) -> String + 'static) -> impl Fn(&Lab, &mut Spec) {
        let change = std::rc::Rc::new(change);
        move |_, spec| {
            let change = change.clone();
            entry(spec).note = Box::new(move |note| change(note));
        }
    }
    fn text(change: impl Fn(String) -> String + 'static) -> impl Fn(&Lab, &mut Spec) {
        let change = std::rc::Rc::new(change);
        move |_, spec| {
            let change = change.clone();
            entry(spec).text = Box::new(move |text| change(text));
        }
    }
    fn stranger(note: &str) -> String {
        let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
        note_line(&text, "witness.example.test", &Key::ed25519(50))
    }
    judge(&[
        (
            "cosigned",
            &note(|note| {
                let line = stranger(&note);
                note + &line
            }),
            "good",
        ),
        (
            "the log's line is not the first",
            &note(|note| {
                let line = stranger(&note);
                let (text, lines) = note.split_once("\n\n").unwrap();
                format!("{text}\n\n{line}{lines}")
            }),
            "good",
        ),
        (
            "an extension line",
            &text(|text| text + "extension\n"),
            "good",
        ),
        (
            "no signature line",
            &note(|note| note.split_once("\n\n").unwrap().0.to_owned() + "\n\n"),
            "5 note-no-signatures",
        ),
        (
            "only a stranger's line",
            &note(|note| {
                let line = stranger(&note);
                format!("{}\n\n{line}", note.split_once("\n\n").unwrap().0)
            }),
            "5 checkpoint-not-signed-by-log",
        ),
        (
            "CRLF",
            &note(|note| note.replace('\n', "\r\n")),
            "5 note-control-character",
        ),
        (
            "no final newline",
            &note(|note| note.trim_end().to_owned()),
            "5 note-unterminated",
        ),
        (
            "size 03",
            &text(|text| text.replace("\n3\n", "\n03\n")),
            "5 checkpoint-size",
        ),
        (
            "size above 2^63",
            &text(|text| text.replace("\n3\n", "\n9223372036854775808\n")),
            "5 checkpoint-size",
        ),
        (
            "size missing",
            &text(|text| text.replace("\n3\n", "\n")),
            "5 checkpoint-size",
        ),
        (
            "root of 31 bytes",
            &text(|text| {
                let mut lines: Vec<&str> = text.lines().collect();
                lines[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
                lines.join("\n") + "\n"
            }),
            "5 checkpoint-root",
        ),
        (
            "a thousand signature lines",
            &note(|note| {
                let line = stranger(&note);
                note + &line.repeat(1_000)
            }),
            "5 note-too-long",
        ),
        (
            "a hundred signature lines",
            &note(|note| {
                let line = stranger(&note);
                note + &line.repeat(100)
            }),
            "5 note-too-many-signatures",
        ),
        (
            "the log's hint, another key",
            &note(|note| {
                let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
                let line = note_line(&text, forge::LOG_NAME, &Key::p256(4));
                // The right key id before a signature of other bytes.
                let other = note_line("other\n", forge::LOG_NAME, &Key::p256(4));
                assert_ne!(line, other);
                format!("{text}\n{other}")
            }),
            "5 checkpoint-signature-invalid",
        ),
        (
            "root other than signed",
            &text(|text| {
                let mut lines: Vec<&str> = text.lines().collect();
                lines[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
                lines.join("\n") + "\n"
            }),
            "5 checkpoint-root-mismatch",
        ),
    ]);
}

#[test]
fn r_transparency_log_v2() {
    fn v2(change: impl Fn(&mut EntrySpec) + 'static) -> impl Fn(&Lab, &mut Spec) {
        move |lab: &Lab, spec: &mut Spec| {
            let mut entry = EntrySpec::v2(&lab.rekor2);
            change(&mut entry);
            spec.entry = Some(entry);
            spec.timestamps = vec![lab.timestamp()];
        }
    }
    judge(&[
        (
            "R12 only a self-asserted time",
            &|lab, spec| {
                spec.entry = Some(EntrySpec::v2(&lab.rekor2));
                entry(spec).integrated_time = NOW + 2;
            },
            "6 no-trusted-time",
        ),
        (
            "R12 a SET in v2",
            &v2(|entry| {
                entry.set = true;
                entry.integrated_time = NOW + 2;
            }),
            "5 set-in-v2",
        ),
        (
            "R6 another origin, same key",
            &v2(|entry| entry.origin = "other.example.test".into()),
            "5 checkpoint-origin",
        ),
        (
            "R6 another origin and name, same key",
            &v2(|entry| {
                entry.origin = "other.example.test".into();
                entry.note_name = "other.example.test".into();
                entry.log_id = Some(forge::note_key_id(forge::LOG_HOST_V2, &entry.key).to_vec());
            }),
            "5 checkpoint-origin",
        ),
        (
            "R5 two indexes",
            &v2(|entry| entry.log_index = 77),
            "5 log-index-mismatch",
        ),
        (
            "R12 a v1 body in a v2 log",
            &v2(|entry| {
                entry.body = Some(EntrySpec::v1(&Key::p256(1)).real_body(&[0; 32], b"s", b"c"));
            }),
            "5 proof-root-mismatch",
        ),
        (
            "R12 a v1 origin by a v2 log",
            &v2(|entry| entry.origin = format!("{} - 1", forge::LOG_HOST_V2)),
            "4 entry-version",
        ),
        (
            "R8 the version as gitsign names it",
            &v2(|entry| entry.version = "0.0.1".into()),
            "good",
        ),
        (
            "R8 another version than any log's",
            &v2(|entry| entry.version = "0.0.3".into()),
            "4 entry-version",
        ),
        (
            "R8 no version",
            &v2(|entry| entry.version = String::new()),
            "4 entry-incomplete",
        ),
        (
            "R12 the same, as gitsign names the version",
            &v2(|entry| {
                entry.origin = format!("{} - 1", forge::LOG_HOST_V2);
                entry.version = "0.0.1".into();
            }),
            "5 proof-root-mismatch",
        ),
    ]);
}

/// R6: a trusted log without an address has no origin that a v2 checkpoint could
/// be of; it is not "any".
#[test]
fn r6_a_v2_log_without_an_address() {
    let lab = Lab::new();
    let mut trust = trust(&lab);
    let mut spec = lab.spec();
    spec.entry = Some(EntrySpec::v2(&lab.rekor2));
    spec.timestamps = vec![lab.timestamp()];
    let payload = commit_payload();
    let signature = lab.sign(&payload, &spec);
    assert_eq!(
        verdict_on(Some(&payload), &signature, &trust, &ExpectedIdentity::Any),
        "good"
    );
    for log in &mut trust.logs {
        log.base_url.clear();
    }
    assert_eq!(
        verdict_on(Some(&payload), &signature, &trust, &ExpectedIdentity::Any),
        "5 checkpoint-origin"
    );
}

/// A v1 log signs with SHA-256 whatever the curve of its key is; the digest of the curve's
/// width is what a key management service may use. Nothing else is accepted.
#[test]
fn rekor_v1_signs_with_sha256_on_every_curve() {
    let found = |key: &Key, set: &Key, note: &Key, v2: bool| {
        let mut lab = Lab::new();
        lab.rekor = key.clone();
        lab.rekor2 = key.clone();
        let trust = trust(&lab);
        let payload = commit_payload();
        let signature = lab.sign_with(&payload, |spec| {
            let mut one = if v2 {
                EntrySpec::v2(set)
            } else {
                EntrySpec::v1(set)
            };
            let note = note.clone();
            one.note = Box::new(move |signed| {
                let text = format!("{}\n", signed.split_once("\n\n").unwrap().0);
                let name = if v2 {
                    forge::LOG_HOST_V2
                } else {
                    forge::LOG_NAME
                };
                sign_note(&text, name, &note)
            });
            spec.entry = Some(one);
            if v2 {
                spec.timestamps = vec![lab.timestamp()];
            }
        });
        verdict_on(Some(&payload), &signature, &trust, &ExpectedIdentity::Any)
    };
    let (wide, short) = (Key::p384(8), Key::p384_sha256(8));
    assert_eq!(found(&wide, &short, &short, false), "good");
    assert_eq!(found(&wide, &wide, &wide, false), "good");
    let other_short = Key::p384_sha256(9);
    assert_eq!(
        found(&wide, &short, &other_short, false),
        "5 checkpoint-signer-key"
    );
    assert_eq!(found(&wide, &other_short, &short, false), "4 log-unknown");
    // Rekor v2 signs with the digest of the curve's width.
    assert_eq!(found(&wide, &wide, &wide, true), "good");
    assert_eq!(
        found(&wide, &wide, &short, true),
        "5 checkpoint-signature-invalid"
    );
}

#[test]
fn m8_timestamps() {
    fn stamped(
        change: impl Fn(&Lab, &mut forge::TimestampSpec) + 'static,
    ) -> impl Fn(&Lab, &mut Spec) {
        move |lab: &Lab, spec: &mut Spec| {
            let mut stamp = lab.timestamp();
            change(lab, &mut stamp);
            spec.timestamps = vec![stamp];
        }
    }
    judge(&[
        (
            "without a certificate in the token",
            &stamped(|_, stamp| stamp.with_certificate = false),
            "good",
        ),
        (
            "over something else",
            &stamped(|_, stamp| stamp.over = Some(b"other".to_vec())),
            "6 timestamp-imprint",
        ),
        (
            "imprint by SHA-1",
            &stamped(|_, stamp| stamp.imprint_digest = SHA1),
            "6 timestamp-hash-algorithm",
        ),
        (
            "signature broken",
            &stamped(|_, stamp| stamp.bad_signature = true),
            "6 timestamp-signature",
        ),
        (
            "content digest broken",
            &stamped(|_, stamp| stamp.bad_digest = true),
            "6 timestamp-digest",
        ),
        (
            "after the certificate",
            &stamped(|_, stamp| stamp.at = NOW + 601),
            "6 time-outside-certificate",
        ),
        (
            "before the certificate",
            &stamped(|_, stamp| stamp.at = NOW - 1),
            "6 time-outside-certificate",
        ),
        (
            "an untrusted authority",
            &stamped(|lab, stamp| {
                let (key, root) = (Key::p256(60), Key::p256(61));
                let mut spec = ca(
                    &name("evil", "tsa"),
                    &name("evil", "root"),
                    &key,
                    &root,
                    None,
                );
                spec.extensions = vec![eku(true, &[forge::TIME_STAMPING]), authority_key_id(&root)];
                stamp.certificate = spec.sign(&root);
                stamp.key = key;
                let _ = lab;
            }),
            "6 timestamp-signature",
        ),
        (
            "no time-stamping use",
            &stamped(|lab, stamp| {
                let mut spec = ca(
                    &name("example.test", "tsa"),
                    &name("example.test", "tsa-root"),
                    &lab.tsa,
                    &lab.tsa_root,
                    None,
                );
                spec.extensions = vec![eku(true, &[CODE_SIGNING]), authority_key_id(&lab.tsa_root)];
                stamp.certificate = spec.sign(&lab.tsa_root);
            }),
            "6 timestamp-certificate-mismatch",
        ),
    ]);
}

/// A timestamp of an authority that the trusted root does not name is ignored beside a
/// trusted time: it adds nothing. One that claims to be a trusted authority's is not.
#[test]
fn m8_timestamps_of_unknown_authorities() {
    /// A token by a key and under a name that the trusted root does not have.
    fn unknown(lab: &Lab) -> forge::TimestampSpec {
        let (key, root) = (Key::p256(60), Key::p256(61));
        let issuer = name("example.org", "other-root");
        let mut spec = ca(&name("example.org", "tsa"), &issuer, &key, &root, None);
        spec.extensions = vec![eku(true, &[forge::TIME_STAMPING]), authority_key_id(&root)];
        forge::TimestampSpec {
            key,
            certificate: spec.sign(&root),
            issuer,
            ..lab.timestamp()
        }
    }
    fn with(
        change: impl Fn(&Lab, &mut forge::TimestampSpec) + 'static,
    ) -> impl Fn(&Lab, &mut Spec) {
        move |lab, spec| {
            let mut stamp = unknown(lab);
            change(lab, &mut stamp);
            spec.timestamps = vec![stamp];
        }
    }
    judge(&[
        ("beside the SET", &with(|_, _| {}), "good"),
        (
            "of any time",
            &with(|_, stamp| stamp.at = NOW + 40_000),
            "good",
        ),
        (
            "alone",
            &|lab, spec| {
                entry(spec).set = false;
                spec.timestamps = vec![unknown(lab)];
            },
            "6 timestamp-untrusted",
        ),
        (
            "beside a trusted timestamp",
            &|lab, spec| {
                entry(spec).set = false;
                spec.timestamps = vec![unknown(lab), lab.timestamp()];
            },
            "good",
        ),
        (
            "beside a trusted timestamp that is outside of the certificate's validity",
            &|lab, spec| {
                entry(spec).set = false;
                let mut late = lab.timestamp();
                late.at = NOW + 601;
                spec.timestamps = vec![unknown(lab), late];
            },
            "6 time-outside-certificate",
        ),
        (
            "over something else",
            &with(|_, stamp| stamp.over = Some(b"other".to_vec())),
            "6 timestamp-imprint",
        ),
        (
            "with another digest of its content",
            &with(|_, stamp| stamp.bad_digest = true),
            "6 timestamp-digest",
        ),
        (
            "by an unknown key in the name of the trusted authority",
            &with(|lab, stamp| stamp.issuer = lab.timestamp().issuer),
            "6 timestamp-signature",
        ),
    ]);
}

#[test]
fn c_certificate_profile() {
    judge(&[
        (
            "C1 serverAuth",
            &|_, spec| replace(spec, EKU, Some(eku(false, &[SERVER_AUTH]))),
            "7 chain-leaf-extended-key-usage",
        ),
        (
            "C1 no EKU",
            &|_, spec| replace(spec, EKU, None),
            "7 chain-leaf-extended-key-usage",
        ),
        (
            "C1 anyEKU",
            &|_, spec| replace(spec, EKU, Some(eku(false, &["2.5.29.37.0"]))),
            "7 chain-leaf-extended-key-usage",
        ),
        (
            "C1 no keyUsage",
            &|_, spec| replace(spec, KEY_USAGE, None),
            "7 chain-leaf-key-usage",
        ),
        (
            "C1 keyUsage without digitalSignature",
            &|_, spec| {
                replace(
                    spec,
                    KEY_USAGE,
                    Some(extension(KEY_USAGE, true, &[0x03, 0x02, 0x05, 0x20])),
                );
            },
            "7 chain-leaf-key-usage",
        ),
        (
            "C1 a CA as leaf",
            &|_, spec| {
                spec.leaf
                    .extensions
                    .push(extension("2.5.29.19", true, &seq(&[&der::yes()])));
            },
            "7 chain-leaf-is-ca",
        ),
        (
            "C4 unknown critical extension",
            &|_, spec| {
                spec.leaf
                    .extensions
                    .push(extension("1.2.3.4", true, &null()));
            },
            "7 chain-critical-extension",
        ),
        (
            "C4 duplicate extension",
            &|_, spec| {
                spec.leaf.extensions.push(fulcio(8, ISSUER));
            },
            "1 certificate-duplicate-extension",
        ),
        (
            "C4 version 1",
            &|_, spec| spec.leaf.version = None,
            "1 certificate-version",
        ),
        (
            "C4 serial of 21 bytes",
            &|_, spec| spec.leaf.serial = vec![1; 21],
            "1 certificate-serial",
        ),
        (
            "C4 UTCTime without Z",
            &|_, spec| {
                spec.leaf.not_before = tlv(0x17, b"261120120000");
            },
            "1 certificate-unreadable",
        ),
        (
            "C3 not valid yet at the log's time",
            &|_, spec| {
                spec.leaf.not_before = utc_time(NOW + 60);
            },
            "6 time-outside-certificate",
        ),
        (
            "C chain to another root",
            &|_, spec| spec.leaf_issuer = Key::p384(90),
            "7 chain-signature",
        ),
        (
            "C another issuer's name",
            &|_, spec| spec.leaf.issuer = name("evil", "ca"),
            "7 chain-no-authority",
        ),
        (
            "C inner and outer algorithm differ",
            &|_, spec| {
                spec.leaf.algorithms = Some((
                    algorithm(forge::ECDSA_SHA256),
                    algorithm(forge::ECDSA_SHA384),
                ));
            },
            "1 certificate-algorithm-mismatch",
        ),
        (
            "I1 two e-mails",
            &|_, spec| {
                replace(
                    spec,
                    SAN,
                    Some(san(&[email(IDENTITY), email("mallory@example.test")])),
                );
            },
            "7 certificate-sans",
        ),
        (
            "I1 e-mail and URI",
            &|_, spec| {
                replace(
                    spec,
                    SAN,
                    Some(san(&[email(IDENTITY), uri("https://evil.example")])),
                );
            },
            "7 certificate-sans",
        ),
        (
            "I1 no SAN",
            &|_, spec| replace(spec, SAN, None),
            "7 certificate-sans",
        ),
        (
            "I3 v1 and v2 issuer differ",
            &|_, spec| {
                replace(
                    spec,
                    "1.3.6.1.4.1.57264.1.1",
                    Some(fulcio_raw(1, "https://evil.example")),
                );
            },
            "1 certificate-issuers-differ",
        ),
        (
            "I3 v2 issuer with trailing bytes",
            &|_, spec| {
                let value = [utf8(ISSUER), vec![0]].concat();
                replace(
                    spec,
                    "1.3.6.1.4.1.57264.1.8",
                    Some(extension("1.3.6.1.4.1.57264.1.8", false, &value)),
                );
            },
            "1 certificate-extension",
        ),
        (
            "I3 v2 issuer of another type",
            &|_, spec| {
                replace(
                    spec,
                    "1.3.6.1.4.1.57264.1.8",
                    Some(extension(
                        "1.3.6.1.4.1.57264.1.8",
                        false,
                        &tlv(0x13, ISSUER.as_bytes()),
                    )),
                );
            },
            "1 certificate-extension",
        ),
        (
            "I3 a line break in the issuer",
            &|_, spec| {
                let issuer = format!("{ISSUER}\n[GNUPG:] TRUST_FULLY");
                replace(spec, "1.3.6.1.4.1.57264.1.1", Some(fulcio_raw(1, &issuer)));
                replace(spec, "1.3.6.1.4.1.57264.1.8", Some(fulcio(8, &issuer)));
            },
            "7 certificate-issuer-characters",
        ),
        (
            "I4 a NUL in the e-mail",
            &|_, spec| {
                replace(
                    spec,
                    SAN,
                    Some(san(&[email("alice@example.test\0.evil.example")])),
                );
            },
            "7 certificate-san-characters",
        ),
        (
            "no issuer at all: not Sigstore's",
            &|_, spec| {
                replace(spec, "1.3.6.1.4.1.57264.1.8", None);
                replace(spec, "1.3.6.1.4.1.57264.1.1", None);
            },
            "7 chain-not-sigstore",
        ),
    ]);
}

#[test]
fn c2_scts() {
    judge(&[
        (
            "two SCTs of one log",
            &|lab, spec| spec.scts = vec![lab.sct(), lab.sct()],
            "good",
        ),
        (
            "an SCT with extensions",
            &|_, spec| spec.scts[0].extensions = vec![0, 0, 5, 0, 0, 0, 0, 9],
            "good",
        ),
        (
            "one of an unknown log beside the good one",
            &|lab, spec| {
                let mut other = lab.sct();
                other.key = Key::p256(80);
                spec.scts.push(other);
            },
            "good",
        ),
        ("none", &|_, spec| spec.scts = vec![], "8 sct-absent"),
        (
            "only of an unknown log",
            &|_, spec| spec.scts[0].key = Key::p256(80),
            "8 sct-unknown-log",
        ),
        (
            "of another certificate",
            &|_, spec| spec.scts[0].other_tbs = true,
            "8 sct-signature",
        ),
        (
            "over another issuer's key",
            &|lab, spec| spec.scts[0].issuer = Some(lab.root.clone()),
            "8 sct-signature",
        ),
        (
            "before the log's time",
            &|_, spec| spec.scts[0].timestamp_ms = 1_000,
            "8 sct-log-window",
        ),
        (
            "of five minutes before the certificate",
            &|_, spec| spec.scts[0].timestamp_ms = ((NOW - 300) * 1000) as u64,
            "good",
        ),
        (
            "older than the certificate",
            &|_, spec| spec.scts[0].timestamp_ms = ((NOW - 301) * 1000) as u64,
            "8 sct-outside-certificate",
        ),
        (
            "of five minutes after the signature",
            &|_, spec| spec.scts[0].timestamp_ms = ((NOW + 302) * 1000) as u64,
            "good",
        ),
        (
            "younger than the signature: the certificate was dated back",
            &|_, spec| spec.scts[0].timestamp_ms = ((NOW + 303) * 1000) as u64,
            "8 sct-after-signature",
        ),
        (
            "younger than one of the times",
            &|lab, spec| {
                spec.scts[0].timestamp_ms = ((NOW + 303) * 1000) as u64;
                let mut stamp = lab.timestamp();
                stamp.at = NOW + 100;
                spec.timestamps = vec![stamp];
            },
            "8 sct-after-signature",
        ),
        (
            "younger than the certificate",
            &|_, spec| spec.scts[0].timestamp_ms = ((NOW + 901) * 1000) as u64,
            "8 sct-outside-certificate",
        ),
        (
            "one out of time beside a good one",
            &|lab, spec| {
                let mut other = lab.sct();
                other.timestamp_ms = ((NOW + 901) * 1000) as u64;
                spec.scts.push(other);
            },
            "8 sct-outside-certificate",
        ),
        (
            "an empty list",
            &|_, spec| {
                spec.scts = vec![];
                spec.sct_list = Some(octets(&[0, 0]));
            },
            "8 sct-list",
        ),
        (
            "a list that claims more than is there",
            &|_, spec| {
                spec.scts = vec![];
                spec.sct_list = Some(octets(&[0, 9, 1]));
            },
            "8 sct-list",
        ),
    ]);
}

#[test]
fn m_cms() {
    judge(&[
        (
            "M1 no certificates",
            &|_, spec| spec.certificates = Box::new(|_| vec![]),
            "1 cms-no-certificate",
        ),
        (
            "M1 no SignerInfo",
            &|_, spec| spec.signers = Box::new(|_| vec![]),
            "1 cms-signers",
        ),
        (
            "M1 SignerInfo of another certificate",
            &|lab, spec| {
                let other = lab.intermediate_certificate.clone();
                spec.certificates = Box::new(move |_| vec![other.clone()]);
            },
            "1 cms-no-signer-certificate",
        ),
        (
            "M2 two SignerInfos",
            &|_, spec| {
                spec.signers = Box::new(|mut signers| {
                    let mut other = signers[0].clone();
                    *other.last_mut().unwrap() ^= 1;
                    signers.push(other);
                    signers
                });
            },
            "1 cms-signers",
        ),
        (
            "M3 a decoy certificate",
            &|_, spec| {
                let decoy = Lab::new().leaf(&Key::p256(70));
                let mut decoy = decoy;
                decoy.serial = vec![9];
                let decoy = decoy.sign(&Key::p384(2));
                spec.certificates = Box::new(move |mut bag| {
                    bag.push(decoy.clone());
                    bag
                });
            },
            "7 chain-foreign-certificate",
        ),
        (
            "M3 same issuer and serial twice",
            &|lab, spec| {
                let decoy = lab.leaf(&Key::p256(70)).sign(&lab.intermediate);
                spec.certificates = Box::new(move |mut bag| {
                    bag.push(decoy.clone());
                    bag
                });
            },
            "1 cms-ambiguous-signer",
        ),
        (
            "M4 no signed attributes",
            &|_, spec| spec.signed_attributes = false,
            "1 cms-no-signed-attributes",
        ),
        (
            "M5 contentType wrong",
            &|_, spec| spec.content_type = Some("1.2.3.4"),
            "1 cms-content-type",
        ),
        (
            "M5 contentType missing",
            &|_, spec| spec.content_type = None,
            "1 cms-missing-attribute",
        ),
        (
            "M5 eContentType wrong",
            &|_, spec| spec.econtent_type = "1.2.3.4",
            "1 cms-content-type",
        ),
        (
            "M5 eContent with another text",
            &|_, spec| spec.econtent = Some(b"other".to_vec()),
            "1 content-in-detached",
        ),
        (
            "M5 eContent with the same text",
            &|_, spec| spec.econtent = Some(commit_payload()),
            "1 content-in-detached",
        ),
        (
            "M5 messageDigest with two values",
            &|_, spec| {
                spec.message_digest = Some(vec![vec![1; 32], vec![2; 32]]);
            },
            "1 cms-attribute-values",
        ),
        (
            "M5 messageDigest twice",
            &|_, spec| {
                spec.extra_attributes = vec![attribute(forge::MESSAGE_DIGEST, &[octets(&[1; 32])])];
            },
            "1 cms-duplicate-attribute",
        ),
        (
            "M5 messageDigest missing",
            &|_, spec| spec.message_digest = Some(vec![]),
            "1 cms-missing-attribute",
        ),
        (
            "M5 signingTime missing",
            &|_, spec| spec.signing_time = None,
            "1 cms-missing-attribute",
        ),
        (
            "M5 attributes not sorted",
            &|_, spec| spec.arrange = Box::new(|all| all.reverse()),
            "1 cms-attributes-order",
        ),
        (
            "M6 SHA-1",
            &|_, spec| spec.digest = SHA1,
            "1 cms-digest-algorithm",
        ),
        (
            "M6 digestAlgorithms names another",
            &|_, spec| {
                spec.digest_algorithms = Some(vec![algorithm(SHA512)]);
            },
            "1 cms-digest-algorithms",
        ),
        (
            "M6 RSA OID on an EC key",
            &|_, spec| {
                spec.signature_algorithm = seq(&[&oid("1.2.840.113549.1.1.11"), &null()]);
            },
            "1 cms-signature-algorithm",
        ),
        (
            "M7 the signer's clock is years off",
            &|_, spec| spec.signing_time = Some(NOW - 8 * 31_536_000),
            "6 signing-time",
        ),
        (
            "M7 within five minutes",
            &|_, spec| spec.signing_time = Some(NOW - 299),
            "good",
        ),
        (
            "M another message",
            &|_, spec| spec.message_digest = Some(vec![vec![3; 32]]),
            "2 digest-mismatch",
        ),
        (
            "A3 signature flipped",
            &|_, spec| {
                spec.mutate_signature = Box::new(|mut signature| {
                    *signature.last_mut().unwrap() ^= 1;
                    signature
                });
            },
            "3 signature-invalid",
        ),
        (
            "A3 r = 0",
            &|_, spec| {
                spec.mutate_signature = Box::new(|_| seq(&[&int(0), &int(1)]));
            },
            "3 signature-invalid",
        ),
        (
            "A3 trailing byte in the signature",
            &|_, spec| {
                spec.mutate_signature = Box::new(|signature| [signature, vec![0]].concat());
            },
            "3 signature-invalid",
        ),
        (
            "A1 trailing byte after the CMS",
            &|_, spec| {
                spec.mutate_cms = Box::new(|cms| [cms, vec![0]].concat());
            },
            "1 cms-trailing-data",
        ),
        (
            "A1 non-minimal length",
            &|_, spec| {
                spec.mutate_cms = Box::new(|cms| {
                    assert_eq!(cms[1], 0x82);
                    [&[cms[0], 0x83, 0][..], &cms[2..]].concat()
                });
            },
            "1 cms-not-der",
        ),
        (
            "A1 indefinite length",
            &|_, spec| {
                spec.mutate_cms = Box::new(|cms| [&[0x30, 0x80][..], &cms[4..], &[0, 0]].concat());
            },
            "1 cms-not-der",
        ),
        (
            "A2 a length of 2^32 - 1",
            &|_, spec| {
                spec.mutate_cms =
                    Box::new(|cms| [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &cms[4..]].concat());
            },
            "1 cms-not-der",
        ),
        (
            "an empty CMS",
            &|_, spec| spec.mutate_cms = Box::new(|_| seq(&[])),
            "1 cms-not-der",
        ),
        (
            "another content type",
            &|_, spec| {
                spec.mutate_cms =
                    Box::new(|_| seq(&[&oid(forge::ID_DATA), &explicit(0, &octets(b"x"))]));
            },
            "1 cms-not-signed-data",
        ),
    ]);
}

#[test]
fn a2_nesting_is_refused_in_linear_time() {
    let lab = Lab::new();
    let trust = trust(&lab);
    for depth in [1_000, 20_000, 60_000] {
        let mut nested = Vec::new();
        for _ in 0..depth {
            nested.extend([0x30, 0x84, 0, 0, 0, 1]);
        }
        let payload = commit_payload();
        let verdict = verdict_on(
            Some(&payload),
            &armor(&nested),
            &trust,
            &ExpectedIdentity::Any,
        );
        assert!(verdict.starts_with("1 "), "{verdict}");
    }
}

#[test]
fn c4_generalized_time_in_a_leaf_is_read_or_refused_but_never_reencoded() {
    judge(&[(
        "GeneralizedTime before 2050 (RFC 5280 §4.1.2.5 wants UTCTime)",
        &|_, spec| {
            spec.leaf.not_before = generalized_time(NOW);
        },
        "1 certificate-time",
    )]);
}

#[test]
fn chains_are_checked_at_every_link() {
    let payload = commit_payload();
    let mut wrong = Vec::new();
    let mut row = |what: &str, certificate: Vec<u8>, expected: &str| {
        let mut lab = Lab::new();
        lab.intermediate_certificate = certificate;
        let trust = trust(&lab);
        let signature = lab.sign(&payload, &lab.spec());
        let found = verdict_on(Some(&payload), &signature, &trust, &ExpectedIdentity::Any);
        if found != expected {
            wrong.push(format!("{what}: {found}, expected {expected}"));
        }
    };
    let lab = Lab::new();
    let spec = || {
        ca(
            &intermediate_name(),
            &root_name(),
            &lab.intermediate,
            &lab.root,
            Some(0),
        )
    };
    row("unchanged", spec().sign(&lab.root), "good");
    let mut expired = spec();
    expired.not_after = utc_time(NOW - 1);
    row(
        "C3 the intermediate had expired",
        expired.sign(&lab.root),
        "7 chain-expired",
    );
    let mut no_ca = spec();
    no_ca.extensions[1] = extension("2.5.29.19", true, &seq(&[]));
    row(
        "C4 an intermediate that is no CA",
        no_ca.sign(&lab.root),
        "7 chain-not-a-ca",
    );
    let mut no_sign = spec();
    no_sign.extensions[0] = extension(KEY_USAGE, true, &[0x03, 0x02, 0x07, 0x80]);
    row(
        "C4 an intermediate that may not sign certificates",
        no_sign.sign(&lab.root),
        "7 chain-ca-key-usage",
    );
    let mut other_use = spec();
    other_use.extensions[3] = eku(false, &[SERVER_AUTH]);
    row(
        "C4 an intermediate for another use",
        other_use.sign(&lab.root),
        "7 chain-ca-extended-key-usage",
    );
    row(
        "an intermediate that the root did not sign",
        spec().sign(&Key::p384(90)),
        "7 chain-signature",
    );
    let mut critical = spec();
    critical
        .extensions
        .push(extension("1.2.3.4", true, &null()));
    row(
        "C4 unknown critical extension in a CA",
        critical.sign(&lab.root),
        "7 chain-critical-extension",
    );
    // RFC 5280 §4.2.1.10: only this mail host is permitted.
    let constrain = |base: &[u8]| {
        let permitted = tlv(0xa0, &seq(&[base]));
        extension("2.5.29.30", true, &seq(&[&permitted]))
    };
    let mut constrained = spec();
    constrained
        .extensions
        .push(constrain(&tlv(0x81, b"other.test")));
    row(
        "C4 name constraints exclude the e-mail",
        constrained.sign(&lab.root),
        "7 chain-name-constraints",
    );
    let mut permitted = spec();
    permitted
        .extensions
        .push(constrain(&tlv(0x81, b"example.test")));
    row(
        "C4 name constraints permit the e-mail",
        permitted.sign(&lab.root),
        "good",
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn o5_attached_signatures_verify_their_own_content_or_nothing() {
    let lab = Lab::new();
    let trust = trust(&lab);
    let payload = commit_payload();
    let attached = lab.sign_with(&payload, |spec| spec.econtent = Some(payload.clone()));
    let verdict = |signature: &str| verdict_on(None, signature, &trust, &ExpectedIdentity::Any);
    assert_eq!(verdict(&attached), "good");
    let other = lab.sign_with(&payload, |spec| spec.econtent = Some(b"other".to_vec()));
    assert_eq!(verdict(&other), "2 digest-mismatch");
    assert_eq!(verdict(&lab.sign(&payload, &lab.spec())), "1 no-content");
    let empty = lab.sign(b"", &lab.spec());
    assert_eq!(verdict(&empty), "1 no-content");
}

#[test]
fn g_payload_changes_are_seen() {
    let lab = Lab::new();
    let trust = trust(&lab);
    let payload = commit_payload();
    let signature = lab.sign(&payload, &lab.spec());
    let text = String::from_utf8(payload.clone()).unwrap();
    for (what, changed, expected) in [
        (
            "G4 LF to CRLF",
            text.replace("A change\n", "A change\r\n"),
            "2 digest-mismatch",
        ),
        (
            "G4 last LF dropped",
            text.trim_end().to_owned(),
            "2 digest-mismatch",
        ),
        (
            "another message",
            text.replace("A change", "Another"),
            "2 digest-mismatch",
        ),
    ] {
        let found = verdict_on(
            Some(changed.as_bytes()),
            &signature,
            &trust,
            &ExpectedIdentity::Any,
        );
        assert_eq!(found, expected, "{what}");
    }
    for (what, legitimate) in [
        ("CRLF", text.replace("A change\n", "A change\r\n")),
        ("no final newline", text.trim_end().to_owned()),
        (
            "a line of 70 kB",
            text.replace("A change", &"x".repeat(70_000)),
        ),
        ("an empty message", text.replace("A change\n", "")),
    ] {
        let signature = lab.sign(legitimate.as_bytes(), &lab.spec());
        let found = verdict_on(
            Some(legitimate.as_bytes()),
            &signature,
            &trust,
            &ExpectedIdentity::Any,
        );
        assert_eq!(found, "good", "{what}");
    }
}

#[test]
fn i_identities() {
    let lab = Lab::new();
    let trust = trust(&lab);
    let payload = commit_payload();
    let signature = lab.sign(&payload, &lab.spec());
    let rule = |identity: Pattern, issuer: Pattern, claims: Vec<(String, Pattern)>| {
        ExpectedIdentity::OneOf(vec![
            IdentityMatcher::new(vec![identity], vec![issuer], claims).unwrap(),
        ])
    };
    let exact = |text: &str| Pattern::exact("identity", text).unwrap();
    let regexp = |text: &str| Pattern::matching("identity", text).unwrap();
    let claim = |name: &str, value: &str| vec![(name.to_owned(), exact(value))];
    for (what, wanted, expected) in [
        (
            "named",
            rule(exact(IDENTITY), exact(ISSUER), vec![]),
            "good",
        ),
        (
            "by pattern",
            rule(regexp(r".*@example\.test"), regexp("https://.*"), vec![]),
            "good",
        ),
        (
            "I2 a pattern that is part of it",
            rule(regexp("alice"), exact(ISSUER), vec![]),
            "9 identity-mismatch",
        ),
        (
            "I4 another case",
            rule(exact("ALICE@example.test"), exact(ISSUER), vec![]),
            "9 identity-mismatch",
        ),
        (
            "another issuer",
            rule(
                exact(IDENTITY),
                exact("https://issuer.example.test/"),
                vec![],
            ),
            "9 issuer-mismatch",
        ),
        (
            "I5 a claim that is not there",
            rule(
                exact(IDENTITY),
                exact(ISSUER),
                claim("githubWorkflowRef", "refs/heads/main"),
            ),
            "9 claim-absent",
        ),
        (
            "a claim that is another",
            rule(
                exact(IDENTITY),
                exact(ISSUER),
                claim("subject", "subject-2"),
            ),
            "9 claim-mismatch",
        ),
        (
            "a claim that is right",
            rule(
                exact(IDENTITY),
                exact(ISSUER),
                claim("subject", "subject-1"),
            ),
            "good",
        ),
        (
            "I6 nobody may sign",
            ExpectedIdentity::OneOf(vec![]),
            "9 identity-no-rule",
        ),
    ] {
        assert_eq!(
            verdict_on(Some(&payload), &signature, &trust, &wanted),
            expected,
            "{what}"
        );
    }
}

#[test]
fn r11_what_is_counted_is_bounded() {
    judge(&[
        (
            "R11 a hundred timestamps",
            &|lab, spec| {
                let stamp = lab.timestamp();
                spec.timestamps = vec![stamp];
                spec.unsigned_attributes = Box::new(|all| {
                    let token = forge::inner(&all[1]).to_vec();
                    let (kind, values) = token.split_at(token.len() - token.len() + 13);
                    let value = forge::inner(values).to_vec();
                    let many: Vec<Vec<u8>> = (0..20)
                        .map(|nth| {
                            let mut one = value.clone();
                            *one.last_mut().unwrap() ^= nth;
                            one
                        })
                        .collect();
                    all[1] = seq(&[kind, &der::set_of(&many)]);
                });
            },
            "6 too-many-timestamps",
        ),
        (
            "R11 a hundred attributes",
            &|_, spec| {
                spec.unsigned_attributes = Box::new(|all| {
                    all.extend((0..100).map(|nth| attribute(&format!("1.2.3.{nth}"), &[int(1)])));
                });
            },
            "1 cms-too-many-attributes",
        ),
        (
            "C6 twenty certificates",
            &|_, spec| {
                spec.certificates = Box::new(|bag| vec![bag[0].clone(); 20]);
            },
            "1 cms-too-many-certificates",
        ),
    ]);
}

#[test]
fn g13_g14_what_a_signature_cannot_tell() {
    // The same commit with another unsigned attribute is another object, and as
    // good as the first: nothing may be keyed by the signature's bytes. And no
    // signature says which repository or branch it was made for.
    let lab = Lab::new();
    let trust = trust(&lab);
    let payload = commit_payload();
    let one = lab.sign(&payload, &lab.spec());
    let other = lab.sign_with(&payload, |spec| {
        spec.unsigned_attributes = Box::new(|all| all.push(attribute("1.2.3.4", &[utf8("x")])));
    });
    assert_ne!(
        forge::commit_object(&payload, &one),
        forge::commit_object(&payload, &other)
    );
    for signature in [one, other] {
        let found = verdict_on(Some(&payload), &signature, &trust, &ExpectedIdentity::Any);
        assert_eq!(found, "good");
    }
}
