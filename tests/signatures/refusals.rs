//! Every reason for which a certificate, a chain, an SCT, a CMS or a timestamp
//! is refused, each brought about by one change to something good. The last
//! test reads the reasons out of the source: one that no row here brings about
//! fails it.

use gitseal_reference::tsa;
use gitseal_services::tsa::wire::{TsaMessageError, parse_response};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::support::forge::{
    self, CertificateSpec, Key, Lab, NOW, SERVER_AUTH, Spec, TIME_STAMPING, authority_key_id, ca,
    commit_payload,
    der::{
        algorithm, bits, content, explicit, extension, int, name, null, octets, oid, retag, seq,
        tlv, utc_time, utf8,
    },
    eku, email, fulcio, intermediate_name, root_name, san, uri,
};
use gitseal_evidence::{
    certificate::Certificate,
    chain,
    memo::Memo,
    sct::{self, Sct},
    signed_data, timestamp,
    trusted_root::{TrustedRoot, ValidityPeriod},
};

/// A name, what came of it, what should have.
type Row = (&'static str, String, &'static str);

fn judge(rows: &[Row]) -> BTreeSet<&'static str> {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(name, found, expected)| format!("{name}: {found}, expected {expected}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    rows.iter().map(|row| row.2).collect()
}

/// `good`, or the code.
macro_rules! code {
    ($result:expr) => {
        match $result {
            Ok(_) => "good".to_owned(),
            Err(refusal) => refusal.code().to_owned(),
        }
    };
}

/// The values inside a constructed one.
fn children(der: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = content(der);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let body = content(rest);
        let header = body.as_ptr() as usize - rest.as_ptr() as usize;
        let length = match rest[1] {
            short if short < 0x80 => usize::from(short),
            long => rest[2..2 + usize::from(long & 0x7f)]
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        };
        let (one, after) = rest.split_at(header + length);
        found.push(one.to_vec());
        rest = after;
    }
    found
}

/// Changes the values inside the one at `path` and mends all lengths above.
fn edit(der: &[u8], path: &[usize], change: &dyn Fn(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut inside = children(der);
    match path {
        [] => change(&mut inside),
        [first, rest @ ..] => inside[*first] = edit(&inside[*first], rest, change),
    }
    tlv(der[0], &inside.concat())
}

const SIGNED_DATA: &[usize] = &[1, 0];
const SIGNER: &[usize] = &[1, 0, 4, 0];
const SIGNED_ATTRIBUTES: &[usize] = &[1, 0, 4, 0, 3];

fn certificates() -> Vec<Row> {
    let lab = Lab::new();
    let leaf = |change: &dyn Fn(&mut CertificateSpec)| {
        let mut spec = lab.leaf(&Key::p256(20));
        change(&mut spec);
        spec.sign(&lab.intermediate)
    };
    let read = |change: &dyn Fn(&mut CertificateSpec)| code!(Certificate::from_der(&leaf(change)));
    let named = |names: &[Vec<u8>]| {
        let der = leaf(&|spec| spec.extensions[3] = san(names));
        code!(Certificate::from_der(&der).unwrap().identity())
    };
    let other_name =
        |kind: &str, value: &[u8]| tlv(0xa0, &[oid(kind), explicit(0, value)].concat());
    const FULCIO_NAME: &str = "1.3.6.1.4.1.57264.1.7";
    let issued = |issuer: &str| {
        let der = leaf(&|spec| {
            spec.extensions[4] = forge::fulcio_raw(1, issuer);
            spec.extensions[5] = fulcio(8, issuer);
        });
        code!(Certificate::from_der(&der).unwrap().identity())
    };
    vec![
        ("unchanged", read(&|_| {}), "good"),
        (
            "64 KiB",
            read(&|spec| spec.extensions.push(fulcio(20, &"x".repeat(65_536)))),
            "certificate-too-large",
        ),
        (
            "nothing",
            code!(Certificate::from_der(&[])),
            "certificate-unreadable",
        ),
        (
            "a byte after it",
            code!(Certificate::from_der(&[leaf(&|_| {}), vec![0]].concat())),
            "certificate-unreadable",
        ),
        (
            "unique identifiers",
            read(&|spec| spec.spki.extend(tlv(0x81, &[0, 1]))),
            "certificate-unreadable",
        ),
        (
            "critical FALSE written out",
            read(&|spec| {
                spec.extensions
                    .push(seq(&[&oid("1.2.3"), &[1, 1, 0], &octets(&null())]));
            }),
            "certificate-unreadable",
        ),
        (
            "PEM of a key",
            code!(Certificate::from_pem(&forge::pem("PUBLIC KEY", b"x"))),
            "certificate-pem",
        ),
        (
            "PEM of two where one is wanted",
            code!(Certificate::from_pem(
                &forge::pem("CERTIFICATE", &leaf(&|_| {})).repeat(2)
            )),
            "certificate-pem",
        ),
        (
            "version 1",
            read(&|spec| spec.version = None),
            "certificate-version",
        ),
        (
            "version 2",
            read(&|spec| spec.version = Some(1)),
            "certificate-version",
        ),
        (
            "a serial number of 20 octets and a zero",
            read(&|spec| spec.serial = vec![0xff; 20]),
            "good",
        ),
        (
            "a serial number of 21 octets",
            read(&|spec| spec.serial = vec![1; 21]),
            "certificate-serial",
        ),
        (
            "a negative serial number",
            code!(Certificate::from_der(&edit(&leaf(&|_| {}), &[0], &|tbs| {
                tbs[1] = tlv(2, &[0x80, 1])
            }))),
            "certificate-serial",
        ),
        (
            "GeneralizedTime before 2050",
            read(&|spec| spec.not_before = forge::der::generalized_time(NOW)),
            "certificate-time",
        ),
        (
            "two algorithms",
            read(&|spec| {
                let (one, two) = (forge::ECDSA_SHA256, forge::ECDSA_SHA384);
                spec.algorithms = Some((algorithm(one), algorithm(two)));
            }),
            "certificate-algorithm-mismatch",
        ),
        (
            "one extension twice",
            read(&|spec| spec.extensions.push(fulcio(8, forge::ISSUER))),
            "certificate-duplicate-extension",
        ),
        (
            "65 extensions",
            read(&|spec| {
                let unknown = |nth: usize| extension(&format!("1.2.3.{nth}"), false, &null());
                spec.extensions.extend((0..65).map(unknown));
            }),
            "certificate-too-many-extensions",
        ),
        (
            "an extension of another form",
            read(&|spec| spec.extensions[0] = extension("2.5.29.15", true, &null())),
            "certificate-extension",
        ),
        (
            "an issuer in an OCTET STRING",
            read(&|spec| {
                spec.extensions[5] =
                    extension("1.3.6.1.4.1.57264.1.8", false, &octets(b"https://x"));
            }),
            "certificate-extension",
        ),
        (
            "an issuer that is not UTF-8",
            read(&|spec| {
                spec.extensions[5] = extension("1.3.6.1.4.1.57264.1.8", false, &tlv(0x0c, &[0xff]));
            }),
            "certificate-text",
        ),
        (
            "two issuers",
            read(&|spec| spec.extensions[5] = fulcio(8, "https://other.example.test")),
            "certificate-issuers-differ",
        ),
        (
            "no issuer",
            code!(
                Certificate::from_der(&leaf(&|spec| {
                    spec.extensions.drain(4..6);
                }))
                .unwrap()
                .identity()
            ),
            "certificate-no-issuer",
        ),
        ("no name", named(&[]), "certificate-sans"),
        (
            "two names",
            named(&[email("a@x"), uri("https://x")]),
            "certificate-sans",
        ),
        ("a URI", named(&[uri("https://x.test/a@b")]), "good"),
        (
            "Fulcio's user name",
            named(&[other_name(FULCIO_NAME, &utf8("alice!x.test"))]),
            "good",
        ),
        (
            "a DNS name",
            named(&[tlv(0x82, b"x.test")]),
            "certificate-san-kind",
        ),
        (
            "a user name of another type",
            named(&[other_name("1.2.3", &utf8("alice"))]),
            "certificate-san-kind",
        ),
        (
            "an empty name",
            named(&[email("")]),
            "certificate-san-characters",
        ),
        (
            "a line break in a name",
            named(&[email("a@x\nGood signature")]),
            "certificate-san-characters",
        ),
        (
            "a name that is not ASCII",
            named(&[email("\u{e4}@x")]),
            "certificate-san-characters",
        ),
        (
            "an escape in a user name",
            named(&[other_name(FULCIO_NAME, &utf8("\u{1b}[2K"))]),
            "certificate-san-characters",
        ),
        (
            "a name of 5,000 bytes",
            named(&[email(&"x".repeat(5_000))]),
            "certificate-san-too-long",
        ),
        (
            "an e-mail that claims to be constructed",
            read(&|spec| spec.extensions[3] = san(&[tlv(0xa1, &utf8("a@x"))])),
            "certificate-extension",
        ),
        (
            "a user name that claims to be primitive",
            read(&|spec| {
                let name = other_name(FULCIO_NAME, &utf8("alice!x.test"));
                spec.extensions[3] = san(&[tlv(0x80, content(&name))]);
            }),
            "certificate-extension",
        ),
        (
            "a directory name that claims to be primitive",
            read(&|spec| spec.extensions[3] = san(&[tlv(0x84, &root_name())])),
            "certificate-extension",
        ),
        (
            "a kind of name that does not exist",
            read(&|spec| spec.extensions[3] = san(&[tlv(0x89, b"x")])),
            "certificate-extension",
        ),
        (
            "a key identifier that claims to be constructed, and would be passed over",
            read(&|spec| {
                let id = tlv(0xa0, &octets(&Key::p384(2).key_id()));
                spec.extensions[2] = extension("2.5.29.35", false, &seq(&[&id]));
            }),
            "certificate-extension",
        ),
        (
            "a key identifier with issuer and serial number",
            read(&|spec| {
                let id = tlv(0x80, &Key::p384(2).key_id());
                let issuer = tlv(0xa1, &tlv(0xa4, &root_name()));
                let all = seq(&[&id, &issuer, &tlv(0x82, &[1])]);
                spec.extensions[2] = extension("2.5.29.35", false, &all);
            }),
            "good",
        ),
        ("an issuer", issued("https://issuer.example.test"), "good"),
        (
            "an issuer as a real certificate has it",
            issued("https:%2F%2Faccounts.google.com"),
            "good",
        ),
        (
            "an empty issuer",
            issued(""),
            "certificate-issuer-characters",
        ),
        (
            "a line break in the issuer",
            issued("https://x\nGood signature"),
            "certificate-issuer-characters",
        ),
        (
            "an issuer that is not ASCII",
            issued("https://\u{430}ccounts.google.com"),
            "certificate-issuer-characters",
        ),
        (
            "a change of direction in the issuer",
            issued("https://x\u{202e}"),
            "certificate-issuer-characters",
        ),
        (
            "an issuer of 5,000 bytes",
            issued(&"x".repeat(5_000)),
            "certificate-issuer-too-long",
        ),
    ]
}

/// The leaf, changed, against the lab's trust, changed.
fn chained(
    at: i64,
    change: &dyn Fn(&mut Spec),
    trusted: &dyn Fn(&mut TrustedRoot, &mut Lab),
) -> String {
    let mut lab = Lab::new();
    let mut trust = TrustedRoot::from_json(lab.trusted_root().as_bytes()).unwrap();
    trusted(&mut trust, &mut lab);
    let mut spec = lab.spec();
    change(&mut spec);
    let leaf = Certificate::from_der(&lab.leaf_certificate(&spec)).unwrap();
    code!(chain::verify(
        &leaf,
        at,
        &trust.authorities,
        Memo::disabled()
    ))
}

fn chains() -> Vec<Row> {
    let leaf = |change: &dyn Fn(&mut Spec)| chained(NOW, change, &|_, _| {});
    let at = |at| chained(at, &|_| {}, &|_, _| {});
    // One certificate of the authority is another: 0 issues, 1 is the root.
    let authority = |nth: usize, change: &dyn Fn(&mut CertificateSpec)| {
        chained(NOW, &|_| {}, &|trust, lab| {
            let (subject, key) = match nth {
                0 => (intermediate_name(), &lab.intermediate),
                _ => (root_name(), &lab.root),
            };
            let mut spec = ca(&subject, &root_name(), key, &lab.root, None);
            change(&mut spec);
            trust.authorities[0].chain[nth] = Certificate::from_der(&spec.sign(&lab.root)).unwrap();
        })
    };
    // The issuing certificate constrains names; the leaf has one.
    let constrained = |list: u8, base: Vec<u8>, name: Vec<u8>| {
        chained(
            NOW,
            &|spec| spec.leaf.extensions[3] = san(std::slice::from_ref(&name)),
            &|trust, lab| {
                let mut spec = ca(
                    &intermediate_name(),
                    &root_name(),
                    &lab.intermediate,
                    &lab.root,
                    None,
                );
                let subtrees = tlv(list, &seq(&[&base]));
                spec.extensions
                    .push(extension("2.5.29.30", true, &seq(&[&subtrees])));
                trust.authorities[0].chain[0] =
                    Certificate::from_der(&spec.sign(&lab.root)).unwrap();
            },
        )
    };
    const PERMITTED: u8 = 0xa0;
    const EXCLUDED: u8 = 0xa1;
    const ANY_USE: &str = "2.5.29.37.0";
    const POLICIES: &str = "2.5.29.32";
    let policies = |nth: usize, critical: bool, all: &[Vec<u8>]| {
        let value = tlv(0x30, &all.concat());
        authority(nth, &|spec| {
            spec.extensions.push(extension(POLICIES, critical, &value));
        })
    };
    let qualified = |kind: &str| {
        let qualifier = seq(&[&oid(kind), &tlv(0x16, b"https://x.test/cps")]);
        seq(&[&oid("1.2.3.4"), &seq(&[&qualifier])])
    };
    // The certificate `above` constrains directory names; the leaf and the issuing
    // certificate have these subjects.
    let directory = |above: usize, list: u8, base: &[u8], leaf: &[u8], issuing: &[u8]| {
        let base = tlv(0xa4, base);
        chained(
            NOW,
            &|spec| {
                spec.leaf.subject = leaf.to_vec();
                spec.leaf.issuer = issuing.to_vec();
            },
            &|trust, lab| {
                let subtrees = tlv(list, &seq(&[&base]));
                let constraint = extension("2.5.29.30", true, &seq(&[&subtrees]));
                let mut specs = [
                    ca(issuing, &root_name(), &lab.intermediate, &lab.root, None),
                    ca(&root_name(), &root_name(), &lab.root, &lab.root, None),
                ];
                specs[above].extensions.push(constraint);
                trust.authorities[0].chain = specs
                    .iter()
                    .map(|spec| Certificate::from_der(&spec.sign(&lab.root)).unwrap())
                    .collect();
            },
        )
    };
    // The root constrains names, its renewed certificate issued the issuing one.
    let renewed = |base: &[u8], issuing: &[u8]| {
        let base = tlv(0xa4, base);
        chained(
            NOW,
            &|spec| spec.leaf.issuer = issuing.to_vec(),
            &|trust, lab| {
                let constraint = seq(&[&tlv(PERMITTED, &seq(&[&base]))]);
                let mut root = ca(&root_name(), &root_name(), &lab.root, &lab.root, None);
                let renewed = root.clone();
                root.extensions
                    .push(extension("2.5.29.30", true, &constraint));
                let own = ca(issuing, &root_name(), &lab.intermediate, &lab.root, None);
                trust.authorities[0].chain = [own, renewed, root]
                    .iter()
                    .map(|spec| Certificate::from_der(&spec.sign(&lab.root)).unwrap())
                    .collect();
            },
        )
    };
    let attribute = |kind: &str, tag: u8, text: &str| {
        forge::der::set_of(&[seq(&[&oid(kind), &tlv(tag, text.as_bytes())])])
    };
    let organization = |text: &str| seq(&[&attribute("2.5.4.10", 0x0c, text)]);
    let below = |text: &str, unit: &str| {
        let unit = attribute("2.5.4.11", 0x13, unit);
        seq(&[&attribute("2.5.4.10", 0x13, text), &unit])
    };
    let (good, none) = (organization("Good"), seq(&[]));
    let issuing = intermediate_name();
    let foreign = {
        let lab = Lab::new();
        let trust = TrustedRoot::from_json(lab.trusted_root().as_bytes()).unwrap();
        let tsa = Certificate::from_der(&lab.tsa_certificate).unwrap();
        let own = Certificate::from_der(&lab.intermediate_certificate).unwrap();
        assert!(chain::check_extra_certificates(&[own], &trust.authorities[0]).is_ok());
        code!(chain::check_extra_certificates(
            &[tsa],
            &trust.authorities[0]
        ))
    };
    vec![
        ("first second", at(NOW), "good"),
        ("last second", at(NOW + 600), "good"),
        ("a second before", at(NOW - 1), "chain-expired"),
        ("a second after", at(NOW + 601), "chain-expired"),
        (
            "no issuer extension",
            leaf(&|spec| {
                spec.leaf.extensions.drain(4..6);
            }),
            "chain-not-sigstore",
        ),
        (
            "another issuer",
            leaf(&|spec| spec.leaf.issuer = name("x", "y")),
            "chain-no-authority",
        ),
        (
            "no authorities",
            chained(NOW, &|_| {}, &|trust, _| trust.authorities.clear()),
            "chain-no-authority",
        ),
        (
            "C5 first and last second of the authority",
            chained(NOW, &|_| {}, &|trust, _| {
                trust.authorities[0].window = ValidityPeriod {
                    start: NOW,
                    end: Some(NOW),
                };
            }),
            "good",
        ),
        (
            "C5 a second after the authority",
            chained(NOW, &|_| {}, &|trust, _| {
                trust.authorities[0].window.end = Some(NOW - 1);
            }),
            "chain-authority-window",
        ),
        (
            "C3 the root had expired",
            authority(1, &|spec| spec.not_after = utc_time(NOW - 1)),
            "chain-expired",
        ),
        (
            "C3 the intermediate was not valid yet",
            authority(0, &|spec| spec.not_before = utc_time(NOW + 1)),
            "chain-expired",
        ),
        (
            "signed by another key",
            leaf(&|spec| spec.leaf_issuer = Key::p384(90)),
            "chain-signature",
        ),
        (
            "a leaf of the root itself",
            leaf(&|spec| {
                spec.leaf_issuer = Key::p384(1);
                spec.leaf.issuer = root_name();
                spec.leaf.extensions[2] = authority_key_id(&Key::p384(1));
            }),
            "good",
        ),
        (
            "an authority whose chain does not join",
            authority(1, &|spec| spec.subject = name("x", "y")),
            "chain-names",
        ),
        (
            "another key identifier",
            leaf(&|spec| spec.leaf.extensions[2] = authority_key_id(&Key::p256(90))),
            "chain-key-ids",
        ),
        (
            "no key identifier",
            leaf(&|spec| {
                spec.leaf.extensions.remove(2);
            }),
            "good",
        ),
        (
            "C4 a root that is no CA",
            authority(1, &|spec| {
                spec.extensions[1] = extension("2.5.29.19", true, &seq(&[]));
            }),
            "chain-not-a-ca",
        ),
        (
            "C4 a path length of zero in the root",
            authority(1, &|spec| {
                let limits = seq(&[&forge::der::yes(), &int(0)]);
                spec.extensions[1] = extension("2.5.29.19", true, &limits);
            }),
            "chain-path-length",
        ),
        (
            "C4 a path length of one in the root",
            authority(1, &|spec| {
                let limits = seq(&[&forge::der::yes(), &int(1)]);
                spec.extensions[1] = extension("2.5.29.19", true, &limits);
            }),
            "good",
        ),
        (
            "an authority that may not sign certificates",
            authority(0, &|spec| {
                spec.extensions[0] = extension("2.5.29.15", true, &[3, 2, 7, 0x80]);
            }),
            "chain-ca-key-usage",
        ),
        (
            "an authority for servers",
            authority(0, &|spec| spec.extensions[3] = eku(false, &[SERVER_AUTH])),
            "chain-ca-extended-key-usage",
        ),
        (
            "C1 an authority for any use",
            authority(0, &|spec| spec.extensions[3] = eku(false, &[ANY_USE])),
            "good",
        ),
        (
            "C1 an authority for any use and for servers",
            authority(0, &|spec| {
                spec.extensions[3] = eku(true, &[SERVER_AUTH, ANY_USE]);
            }),
            "good",
        ),
        (
            "C1 a leaf for any use",
            leaf(&|spec| spec.leaf.extensions[1] = eku(false, &[ANY_USE])),
            "chain-leaf-extended-key-usage",
        ),
        (
            "C1 a use that starts like any use",
            authority(0, &|spec| {
                spec.extensions[3] = eku(false, &["2.5.29.37.0.1"]);
            }),
            "chain-ca-extended-key-usage",
        ),
        (
            "C4 critical policies of an authority",
            policies(
                0,
                true,
                &[seq(&[&oid("1.2.3.4")]), seq(&[&oid("2.5.29.32.0")])],
            ),
            "good",
        ),
        (
            "C4 critical policies of the root, with qualifiers for people",
            policies(1, true, &[qualified("1.3.6.1.5.5.7.2.1")]),
            "good",
        ),
        (
            "C4 a critical policy with an unknown qualifier",
            policies(0, true, &[qualified("1.2.3.5")]),
            "chain-policies",
        ),
        (
            "C4 an uncritical policy with an unknown qualifier",
            policies(0, false, &[qualified("1.2.3.5")]),
            "good",
        ),
        (
            "C4 critical policies of another form",
            policies(0, true, &[octets(b"x")]),
            "chain-policies",
        ),
        (
            "C4 an authority that requires a policy",
            authority(0, &|spec| {
                let constraints = seq(&[&tlv(0x80, &[0])]);
                spec.extensions
                    .push(extension("2.5.29.36", true, &constraints));
            }),
            "chain-critical-extension",
        ),
        (
            "C4 an authority that maps policies",
            authority(0, &|spec| {
                let mapping = seq(&[&seq(&[&oid("1.2.3"), &oid("1.2.4")])]);
                spec.extensions.push(extension("2.5.29.33", true, &mapping));
            }),
            "chain-critical-extension",
        ),
        (
            "C4 critical policies of the leaf",
            leaf(&|spec| {
                let policy = seq(&[&seq(&[&oid("1.2.3.4")])]);
                spec.leaf
                    .extensions
                    .push(extension(POLICIES, true, &policy));
            }),
            "chain-critical-extension",
        ),
        (
            "a critical extension in the leaf",
            leaf(&|spec| {
                spec.leaf
                    .extensions
                    .push(extension("1.2.3.4", true, &null()));
            }),
            "chain-critical-extension",
        ),
        (
            "C4 a constraint on the mail host",
            constrained(PERMITTED, email("example.test"), email("a@Example.Test")),
            "good",
        ),
        (
            "C4 another mail host",
            constrained(PERMITTED, email("example.test"), email("a@x.example.test")),
            "chain-name-constraints",
        ),
        (
            "C4 hosts below",
            constrained(PERMITTED, email(".example.test"), email("a@x.example.test")),
            "good",
        ),
        (
            "C4 not the domain itself, where hosts below are meant",
            constrained(PERMITTED, email(".example.test"), email("a@example.test")),
            "chain-name-constraints",
        ),
        (
            "C4 a name that only ends alike",
            constrained(
                PERMITTED,
                email(".example.test"),
                email("a@evilexample.test"),
            ),
            "chain-name-constraints",
        ),
        (
            "C4 an excluded mailbox, its host in capitals",
            constrained(EXCLUDED, email("a@example.test"), email("a@EXAMPLE.test")),
            "chain-name-constraints",
        ),
        (
            "C4 another mailbox than the excluded one",
            constrained(EXCLUDED, email("a@example.test"), email("b@example.test")),
            "good",
        ),
        (
            "C4 an excluded host with a dot after it",
            constrained(EXCLUDED, uri("evil.test"), uri("https://evil.test./x")),
            "chain-name-constraints",
        ),
        (
            "C4 an excluded host behind a user and a port",
            constrained(
                EXCLUDED,
                uri("evil.test"),
                uri("https://good.test@evil.test:1/x"),
            ),
            "chain-name-constraints",
        ),
        (
            "C4 an address where hosts are constrained",
            constrained(EXCLUDED, uri("evil.test"), uri("https://127.0.0.1/x")),
            "chain-name-constraints",
        ),
        (
            "C4 a permitted host",
            constrained(
                PERMITTED,
                uri("good.test"),
                uri("https://good.test/x@evil.test"),
            ),
            "good",
        ),
        (
            "C4 a constraint on another kind of name",
            constrained(PERMITTED, uri("good.test"), email("a@evil.test")),
            "good",
        ),
        (
            "C4 a constraint that excludes nothing or everything",
            constrained(EXCLUDED, email(""), email("a@example.test")),
            "chain-name-constraints-kind",
        ),
        (
            "C4 no subject where subjects are constrained",
            directory(0, PERMITTED, &good, &none, &issuing),
            "good",
        ),
        (
            "C4 the permitted subject",
            directory(0, PERMITTED, &good, &good, &issuing),
            "good",
        ),
        (
            "C4 a subject below the permitted one, in other letters",
            directory(0, PERMITTED, &good, &below("GOOD ", "Unit"), &issuing),
            "good",
        ),
        (
            "C4 another subject than the permitted one",
            directory(0, PERMITTED, &good, &organization("Evil"), &issuing),
            "chain-name-constraints",
        ),
        (
            "C4 a subject above the permitted one",
            directory(0, PERMITTED, &below("Good", "Unit"), &good, &issuing),
            "chain-name-constraints",
        ),
        (
            "C4 the excluded subject, in other letters",
            directory(0, EXCLUDED, &good, &organization(" gOOd"), &issuing),
            "chain-name-constraints",
        ),
        (
            "C4 a subject below the excluded one",
            directory(0, EXCLUDED, &good, &below("Good", "Unit"), &issuing),
            "chain-name-constraints",
        ),
        (
            "C4 a subject beside the excluded one",
            directory(0, EXCLUDED, &good, &organization("Goods"), &issuing),
            "good",
        ),
        (
            "C4 a subject that cannot be compared",
            directory(0, EXCLUDED, &good, &organization("Go\u{f6}d"), &issuing),
            "chain-name-constraints",
        ),
        (
            "C4 a constraint that cannot be compared",
            directory(0, EXCLUDED, &organization("\u{f6}"), &good, &issuing),
            "chain-name-constraints-kind",
        ),
        (
            "C4 the root constrains the issuing certificate's subject",
            directory(1, PERMITTED, &good, &none, &issuing),
            "chain-name-constraints",
        ),
        (
            "C4 the root excludes the issuing certificate's subject",
            directory(1, EXCLUDED, &issuing, &none, &issuing),
            "chain-name-constraints",
        ),
        (
            "C4 a CA that renews its own certificate is not constrained, those below it are",
            renewed(&good, &good),
            "good",
        ),
        (
            "C4 a name below a renewed certificate",
            renewed(&good, &organization("Evil")),
            "chain-name-constraints",
        ),
        (
            "C4 the root permits the issuing certificate's subject",
            directory(1, PERMITTED, &issuing, &none, &issuing),
            "good",
        ),
        (
            "a CA as leaf",
            leaf(&|spec| {
                spec.leaf.extensions.push(extension(
                    "2.5.29.19",
                    true,
                    &seq(&[&forge::der::yes()]),
                ));
            }),
            "chain-leaf-is-ca",
        ),
        (
            "no key usage",
            leaf(&|spec| {
                spec.leaf.extensions.remove(0);
            }),
            "chain-leaf-key-usage",
        ),
        (
            "no extended key usage",
            leaf(&|spec| {
                spec.leaf.extensions.remove(1);
            }),
            "chain-leaf-extended-key-usage",
        ),
        (
            "C4 a key on a curve that is spelled out",
            leaf(&|spec| {
                let explicit = seq(&[&oid("1.2.840.10045.2.1"), &seq(&[&int(1)])]);
                spec.leaf.spki = seq(&[&explicit, &bits(&[4; 65])]);
            }),
            "chain-leaf-key",
        ),
        (
            "A4 a point that is not on its curve",
            leaf(&|spec| {
                let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
                spec.leaf.spki = seq(&[&algorithm, &bits(&[4; 65])]);
            }),
            "chain-leaf-key",
        ),
        (
            "two names",
            leaf(&|spec| spec.leaf.extensions[3] = san(&[email("a@x"), email("b@x")])),
            "certificate-sans",
        ),
        (
            "a stranger in the bag",
            foreign,
            "chain-foreign-certificate",
        ),
    ]
}

fn scts() -> Vec<Row> {
    let verify = |change: &dyn Fn(&mut Spec), trusted: &dyn Fn(&mut TrustedRoot)| {
        let lab = Lab::new();
        let mut trust = TrustedRoot::from_json(lab.trusted_root().as_bytes()).unwrap();
        trusted(&mut trust);
        let mut spec = lab.spec();
        change(&mut spec);
        let leaf = Certificate::from_der(&lab.leaf_certificate(&spec)).unwrap();
        let issuer = Certificate::from_der(&lab.intermediate_certificate).unwrap();
        code!(sct::verify(
            &leaf,
            &issuer,
            &[NOW],
            &trust.ct_logs,
            Memo::disabled()
        ))
    };
    let leaf = |change: &dyn Fn(&mut Spec)| verify(change, &|_| {});
    let list = |bytes: &'static [u8]| {
        leaf(&|spec| {
            spec.scts.clear();
            spec.sct_list = Some(bytes.to_vec());
        })
    };
    let other_algorithm = leaf(&|spec| {
        spec.scts.clear();
        let log_id = Lab::new().ct.log_id();
        let mut sct = Sct::ecdsa_sha256(log_id, (NOW * 1000) as u64, vec![], vec![1]);
        sct.hash = 2;
        spec.sct_list = Some(sct::encode_list(&[sct]));
    });
    let sct_at = |at: i64| leaf(&|spec| spec.scts[0].timestamp_ms = (at * 1000) as u64);
    let window = |start, end| {
        verify(&|_| {}, &|trust| {
            trust.ct_logs[0].window = ValidityPeriod { start, end };
        })
    };
    vec![
        ("unchanged", leaf(&|_| {}), "good"),
        ("none", leaf(&|spec| spec.scts.clear()), "sct-absent"),
        ("not an OCTET STRING", list(&[5, 0]), "sct-list"),
        ("an empty list", list(&[4, 2, 0, 0]), "sct-list"),
        ("cut off", list(&[4, 3, 0, 2, 0]), "sct-list"),
        ("a byte after the list", list(&[4, 3, 0, 0, 0]), "sct-list"),
        ("version 2", list(&[4, 5, 0, 3, 0, 1, 1]), "sct-list"),
        (
            "seventeen",
            leaf(&|spec| {
                let one = spec.scts[0].clone();
                spec.scts = vec![one; 17];
            }),
            "sct-too-many",
        ),
        (
            "of an unknown log",
            leaf(&|spec| spec.scts[0].key = Key::p256(90)),
            "sct-unknown-log",
        ),
        ("by SHA-1", other_algorithm, "sct-algorithm"),
        ("first and last second", window(NOW, Some(NOW)), "good"),
        ("a second early", window(NOW + 1, None), "sct-log-window"),
        ("a second late", window(0, Some(NOW - 1)), "sct-log-window"),
        ("five minutes early", sct_at(NOW - 300), "good"),
        (
            "more than five minutes early",
            sct_at(NOW - 301),
            "sct-outside-certificate",
        ),
        ("five minutes late", sct_at(NOW + 300), "good"),
        (
            "more than five minutes after the signature",
            sct_at(NOW + 301),
            "sct-after-signature",
        ),
        (
            "more than five minutes after the certificate",
            sct_at(NOW + 901),
            "sct-outside-certificate",
        ),
        (
            "over another certificate",
            leaf(&|spec| spec.scts[0].other_tbs = true),
            "sct-signature",
        ),
        (
            "a false one beside a good one",
            leaf(&|spec| {
                let mut other = spec.scts[0].clone();
                other.other_tbs = true;
                spec.scts.push(other);
            }),
            "sct-signature",
        ),
    ]
}

fn messages() -> Vec<Row> {
    let lab = Lab::new();
    let payload = commit_payload();
    let made = |change: &dyn Fn(&mut Spec)| {
        let mut spec = lab.spec();
        change(&mut spec);
        lab.cms(&payload, &spec)
    };
    let read = |change: &dyn Fn(&mut Spec)| code!(signed_data::read(&made(change)));
    let edited = |path: &[usize], change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        code!(signed_data::read(&edit(&made(&|_| {}), path, change)))
    };
    let key_id = {
        // The signer named by key identifier (RFC 5652 §5.3: version 3).
        let der = made(&|spec| {
            let id = extension("2.5.29.14", false, &octets(&spec.key.key_id()));
            spec.leaf.extensions.push(id);
        });
        let id = Key::p256(20).key_id();
        let der = edit(&der, SIGNER, &|signer| {
            signer[0] = int(3);
            signer[1] = tlv(0x80, &id);
        });
        let other = code!(signed_data::read(&der));
        assert_eq!(other, "cms-version", "SignedData of version 1");
        code!(signed_data::read(&edit(&der, SIGNED_DATA, &|data| {
            data[0] = int(3)
        })))
    };
    let unsigned = |kind: &'static str, values: Vec<Vec<u8>>| {
        read(&|spec| {
            let one = forge::attribute(kind, &values);
            spec.entry = None;
            spec.unsigned_attributes = Box::new(move |all| all.push(one.clone()));
        })
    };
    let extra = |kind: &'static str, count: usize| {
        read(&|spec| {
            let one = |nth| forge::attribute(&format!("{kind}.{nth}"), &[null()]);
            spec.extra_attributes = (0..count).map(one).collect();
        })
    };
    vec![
        ("unchanged", read(&|_| {}), "good"),
        ("the signer by key identifier", key_id, "good"),
        (
            "1 MiB",
            code!(signed_data::read(&vec![0x30; (1 << 20) + 1])),
            "cms-too-large",
        ),
        ("nothing", code!(signed_data::read(&[])), "cms-not-der"),
        (
            "a byte after it",
            read(&|spec| spec.mutate_cms = Box::new(|cms| [cms, vec![0]].concat())),
            "cms-trailing-data",
        ),
        (
            "A1 an OCTET STRING in pieces",
            edited(SIGNER, &|signer| signer[5] = tlv(0x24, &signer[5])),
            "cms-not-der",
        ),
        (
            "A1 something after the SignerInfo's attributes",
            edited(SIGNER, &|signer| signer.push(null())),
            "cms-not-der",
        ),
        (
            "plain data",
            code!(signed_data::read(&seq(&[
                &oid(forge::ID_DATA),
                &explicit(0, &octets(b"x"))
            ]))),
            "cms-not-signed-data",
        ),
        (
            "SignedData of version 2",
            edited(SIGNED_DATA, &|data| data[0] = int(2)),
            "cms-version",
        ),
        (
            "SignedData of version 3 for a SignerInfo of version 1",
            edited(SIGNED_DATA, &|data| data[0] = int(3)),
            "cms-version",
        ),
        (
            "a SignerInfo of version 3 with issuer and serial",
            edited(SIGNER, &|signer| signer[0] = int(3)),
            "cms-version",
        ),
        (
            "another content type",
            read(&|spec| spec.econtent_type = "1.2.3"),
            "cms-content-type",
        ),
        (
            "another content type among the signed attributes",
            read(&|spec| spec.content_type = Some("1.2.3")),
            "cms-content-type",
        ),
        (
            "revocation lists",
            edited(SIGNED_DATA, &|data| data.insert(4, tlv(0xa1, &[]))),
            "cms-crls",
        ),
        (
            "no certificate",
            read(&|spec| spec.certificates = Box::new(|_| vec![])),
            "cms-no-certificate",
        ),
        (
            "seventeen certificates",
            read(&|spec| spec.certificates = Box::new(|bag| vec![bag[0].clone(); 17])),
            "cms-too-many-certificates",
        ),
        (
            "a broken certificate",
            read(&|spec| spec.leaf.version = None),
            "certificate-version",
        ),
        (
            "two signers",
            read(&|spec| {
                spec.signers = Box::new(|signers| vec![signers[0].clone(), signers[0].clone()]);
            }),
            "cms-signers",
        ),
        (
            "somebody else's certificate",
            read(&|spec| {
                let other = Lab::new().intermediate_certificate;
                spec.certificates = Box::new(move |_| vec![other.clone()]);
            }),
            "cms-no-signer-certificate",
        ),
        (
            "the same certificate twice",
            read(&|spec| spec.certificates = Box::new(|bag| vec![bag[0].clone(); 2])),
            "cms-ambiguous-signer",
        ),
        (
            "SHA-1",
            read(&|spec| spec.digest = forge::SHA1),
            "cms-digest-algorithm",
        ),
        (
            "a digest that is not listed",
            read(&|spec| spec.digest_algorithms = Some(vec![algorithm(forge::SHA512)])),
            "cms-digest-algorithms",
        ),
        (
            "M6 SHA-512 with a signature over SHA-256",
            read(&|spec| spec.digest = forge::SHA512),
            "cms-digest-mismatch",
        ),
        (
            "A4 P-256 with SHA-384",
            read(&|spec| {
                spec.digest = forge::SHA384;
                spec.signature_algorithm = algorithm(forge::ECDSA_SHA384);
            }),
            "cms-signature-algorithm",
        ),
        (
            "A4 P-256 with SHA-512, by the name of the key's kind",
            read(&|spec| {
                spec.digest = forge::SHA512;
                spec.signature_algorithm = algorithm("1.2.840.10045.2.1");
            }),
            "cms-signature-algorithm",
        ),
        (
            "the name of the key's kind for a signature algorithm",
            read(&|spec| spec.signature_algorithm = algorithm("1.2.840.10045.2.1")),
            "good",
        ),
        (
            "an unknown signature algorithm",
            read(&|spec| spec.signature_algorithm = algorithm("1.2.3")),
            "cms-signature-algorithm",
        ),
        (
            "parameters",
            read(&|spec| {
                spec.signature_algorithm = seq(&[&oid(forge::ECDSA_SHA256), &seq(&[])]);
            }),
            "cms-algorithm-parameters",
        ),
        (
            "no signed attributes",
            read(&|spec| spec.signed_attributes = false),
            "cms-no-signed-attributes",
        ),
        ("unknown signed attributes", extra("1.2.3", 29), "good"),
        (
            "33 signed attributes",
            extra("1.2.3", 30),
            "cms-too-many-attributes",
        ),
        (
            "attributes in another order",
            edited(SIGNED_ATTRIBUTES, &|all| all.reverse()),
            "cms-attributes-order",
        ),
        (
            "no signing time",
            read(&|spec| spec.signing_time = None),
            "cms-missing-attribute",
        ),
        (
            "two log entries",
            read(&|spec| {
                spec.unsigned_attributes = Box::new(|all| {
                    all.push(forge::attribute(forge::LOG_ENTRY, &[octets(b"x")]));
                });
            }),
            "cms-duplicate-attribute",
        ),
        (
            "a log entry of two values",
            unsigned(forge::LOG_ENTRY, vec![octets(b"x"), octets(b"y")]),
            "cms-attribute-values",
        ),
        (
            "a timestamp attribute without a timestamp",
            unsigned(forge::TIMESTAMP, vec![]),
            "cms-attribute-values",
        ),
        (
            "an unknown unsigned attribute",
            unsigned("1.2.3", vec![null()]),
            "good",
        ),
        (
            "the draft's integrated time",
            unsigned(forge::LOG_ENTRY, vec![int(1)]),
            "cms-draft-log-entry",
        ),
        (
            "the draft's log id",
            unsigned("1.3.6.1.4.1.57264.3.2", vec![tlv(0x13, b"00")]),
            "cms-draft-log-entry",
        ),
    ]
}

fn timestamps() -> Vec<Row> {
    const MESSAGE: &[u8] = b"the signature";
    let made = |change: &dyn Fn(&mut forge::TimestampSpec)| {
        let mut spec = Lab::new().timestamp();
        change(&mut spec);
        spec.token(MESSAGE)
    };
    let trusted = |change: &dyn Fn(&mut TrustedRoot)| {
        let mut trust = TrustedRoot::from_json(Lab::new().trusted_root().as_bytes()).unwrap();
        change(&mut trust);
        trust.timestamp_authorities
    };
    let verify = |token: &[u8]| {
        code!(timestamp::verify(
            token,
            MESSAGE,
            &trusted(&|_| {}),
            Memo::disabled()
        ))
    };
    let token = |change: &dyn Fn(&mut forge::TimestampSpec)| verify(&made(change));
    let edited = |path: &[usize], change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        verify(&edit(&made(&|_| {}), path, change))
    };
    // The TSTInfo lies in an OCTET STRING; what is refused in it is refused
    // before the digest is compared.
    let info = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        edited(&[1, 0, 2, 1], &|explicit| {
            let changed = edit(content(&explicit[0]), &[], change);
            explicit[0] = octets(&changed);
        })
    };
    let against = |change: &dyn Fn(&mut TrustedRoot)| {
        code!(timestamp::verify(
            &made(&|_| {}),
            MESSAGE,
            &trusted(change),
            Memo::disabled()
        ))
    };
    // The signing certificate is another, in the token and in the trust.
    let signer = |change: &dyn Fn(&mut CertificateSpec)| {
        let lab = Lab::new();
        let mut spec = ca(
            &name("example.test", "tsa"),
            &name("example.test", "tsa-root"),
            &lab.tsa,
            &lab.tsa_root,
            None,
        );
        spec.extensions = vec![
            extension("2.5.29.15", true, &[3, 2, 7, 0x80]),
            eku(true, &[TIME_STAMPING]),
            authority_key_id(&lab.tsa_root),
        ];
        change(&mut spec);
        let der = spec.sign(&lab.tsa_root);
        let token = made(&|spec| spec.certificate = der.clone());
        let trust = trusted(&|trust| {
            trust.timestamp_authorities[0].chain[0] = Certificate::from_der(&der).unwrap();
        });
        code!(timestamp::verify(&token, MESSAGE, &trust, Memo::disabled()))
    };
    let root = |change: &dyn Fn(&mut CertificateSpec)| {
        let lab = Lab::new();
        let root = name("example.test", "tsa-root");
        let mut spec = ca(&root, &root, &lab.tsa_root, &lab.tsa_root, None);
        change(&mut spec);
        against(&|trust| {
            trust.timestamp_authorities[0].chain[1] =
                Certificate::from_der(&spec.sign(&lab.tsa_root)).unwrap();
        })
    };
    let critical = explicit(1, &extension("1.2.3", true, &null()));
    let critical = retag(0xa1, &seq(&[content(&critical)]));
    let only_ca = |trust: &mut TrustedRoot| {
        trust.timestamp_authorities[0].chain.remove(0);
    };
    vec![
        ("unchanged", token(&|_| {}), "good"),
        (
            "only the authority's CA is trusted",
            against(&only_ca),
            "good",
        ),
        (
            "only the CA is trusted, and the certificate is not there",
            code!(timestamp::verify(
                &made(&|spec| spec.with_certificate = false),
                MESSAGE,
                &trusted(&only_ca),
                Memo::disabled()
            )),
            "timestamp-untrusted",
        ),
        (
            "M8 a stranger in the bag",
            token(&|spec| spec.extra_certificates = vec![Lab::new().intermediate_certificate]),
            "timestamp-foreign-certificate",
        ),
        (
            "M8 its root in the bag",
            token(&|spec| spec.extra_certificates = vec![Lab::new().tsa_root_certificate]),
            "good",
        ),
        (
            "M8 its certificate twice in the bag",
            token(&|spec| spec.extra_certificates = vec![Lab::new().tsa_certificate]),
            "timestamp-foreign-certificate",
        ),
        (
            "M8 a stranger in the bag of an authority of which only the CA is trusted",
            code!(timestamp::verify(
                &made(&|spec| {
                    spec.extra_certificates = vec![Lab::new().intermediate_certificate];
                }),
                MESSAGE,
                &trusted(&only_ca),
                Memo::disabled()
            )),
            "timestamp-foreign-certificate",
        ),
        (
            "M8 revocation lists",
            edited(SIGNED_DATA, &|data| data.insert(4, tlv(0xa1, &[]))),
            "timestamp-unsigned-part",
        ),
        (
            "M8 unsigned attributes",
            edited(SIGNER, &|signer| {
                let one = forge::attribute("1.2.3", &[octets(b"anything")]);
                signer.push(tlv(0xa1, &one));
            }),
            "timestamp-unsigned-part",
        ),
        (
            "M8 a digest algorithm too many",
            edited(&[1, 0, 1], &|digests| {
                digests.push(algorithm(forge::SHA512))
            }),
            "timestamp-unsigned-part",
        ),
        (
            "M8 another digest algorithm",
            edited(&[1, 0, 1], &|digests| digests[0] = algorithm(forge::SHA512)),
            "timestamp-unsigned-part",
        ),
        (
            "M8 no digest algorithm",
            edited(&[1, 0, 1], &|digests| digests.clear()),
            "timestamp-unsigned-part",
        ),
        (
            "SignedData of version 1",
            edited(SIGNED_DATA, &|data| data[0] = int(1)),
            "timestamp-version",
        ),
        (
            "64 KiB",
            verify(&vec![0x30; (64 << 10) + 1]),
            "timestamp-too-large",
        ),
        ("nothing", verify(&[]), "timestamp-not-der"),
        (
            "a TimeStampResp instead of its token",
            verify(&tsa::encode_response(&made(&|_| {}))),
            "timestamp-not-der",
        ),
        (
            "attributes in another order",
            edited(SIGNED_ATTRIBUTES, &|all| all.reverse()),
            "timestamp-cms",
        ),
        (
            "plain data",
            edited(&[1, 0, 2], &|encapsulated| {
                encapsulated[0] = oid(forge::ID_DATA)
            }),
            "timestamp-content-type",
        ),
        (
            "two signers",
            edited(&[1, 0, 4], &|signers| signers.push(signers[0].clone())),
            "timestamp-signers",
        ),
        (
            "an imprint by SHA-1",
            token(&|spec| spec.imprint_digest = forge::SHA1),
            "timestamp-hash-algorithm",
        ),
        (
            "an unknown signature algorithm",
            edited(SIGNER, &|signer| signer[4] = algorithm("1.2.3")),
            "timestamp-signature-algorithm",
        ),
        (
            "over something else",
            token(&|spec| spec.over = Some(b"other".to_vec())),
            "timestamp-imprint",
        ),
        (
            "another TSTInfo than was signed",
            info(&|info| info[3] = int(78)),
            "timestamp-digest",
        ),
        (
            "version 2",
            info(&|info| info[0] = int(2)),
            "timestamp-version",
        ),
        (
            "a critical extension",
            info(&|info| info.push(critical.clone())),
            "timestamp-critical-extension",
        ),
        (
            "a fraction that ends in zero",
            info(&|info| info[4] = tlv(0x18, b"20261120120003.50Z")),
            "timestamp-time",
        ),
        (
            "no authorities",
            against(&|trust| trust.timestamp_authorities.clear()),
            "timestamp-no-authority",
        ),
        (
            "another authority's serial number",
            edited(&[1, 0, 4, 0, 1], &|sid| sid[1] = int(5)),
            "timestamp-untrusted",
        ),
        (
            "no signing-certificate attribute",
            token(&|spec| spec.signing_certificate_attribute = false),
            "timestamp-no-signing-certificate",
        ),
        (
            "another certificate of the same key",
            token(&|spec| spec.certificate = Lab::new().tsa_root_certificate),
            "timestamp-certificate-mismatch",
        ),
        (
            "first and last second of the authority",
            against(&|trust| {
                trust.timestamp_authorities[0].window = ValidityPeriod {
                    start: NOW + 3,
                    end: Some(NOW + 3),
                };
            }),
            "good",
        ),
        (
            "a second after the authority",
            against(&|trust| trust.timestamp_authorities[0].window.end = Some(NOW + 2)),
            "timestamp-authority-window",
        ),
        (
            "the signing certificate had expired",
            signer(&|spec| spec.not_after = utc_time(NOW + 2)),
            "timestamp-expired",
        ),
        (
            "the signing certificate's last second",
            signer(&|spec| spec.not_after = utc_time(NOW + 3)),
            "good",
        ),
        (
            "a use that is not critical",
            signer(&|spec| spec.extensions[1] = eku(false, &[TIME_STAMPING])),
            "timestamp-key-usage",
        ),
        (
            "two uses",
            signer(&|spec| spec.extensions[1] = eku(true, &[TIME_STAMPING, SERVER_AUTH])),
            "timestamp-key-usage",
        ),
        (
            "the root had expired",
            root(&|spec| spec.not_after = utc_time(NOW + 2)),
            "timestamp-chain",
        ),
        (
            "a root that may not sign certificates",
            root(&|spec| {
                spec.extensions[0] = extension("2.5.29.15", true, &[3, 2, 7, 0x80]);
            }),
            "timestamp-chain",
        ),
        (
            "a root for servers",
            root(&|spec| spec.extensions.push(eku(false, &[SERVER_AUTH]))),
            "timestamp-chain",
        ),
        (
            "the root's key is another",
            signer(&|spec| spec.extensions[2] = authority_key_id(&Key::p256(90))),
            "timestamp-chain",
        ),
        (
            "a broken signature",
            token(&|spec| spec.bad_signature = true),
            "timestamp-signature",
        ),
    ]
}

#[test]
fn a_response_is_the_answer_to_its_request() {
    const MESSAGE: &[u8] = b"the signature";
    let parse = |response: &[u8], nonce: Option<&[u8]>| {
        let imprint: [u8; 32] = forge::hash(forge::SHA256, MESSAGE).try_into().unwrap();
        parse_response(response, &imprint, nonce)
    };
    let status = |status: u64| seq(&[&seq(&[&int(status), &seq(&[&utf8("no\x1b[2K")])])]);
    let granted = tsa::encode_response(&Lab::new().timestamp().token(MESSAGE));
    parse(&granted, None).unwrap();
    assert_eq!(parse(&granted, Some(&[1])), Err(TsaMessageError::Nonce));
    assert!(matches!(
        parse(&status(2), None),
        Err(TsaMessageError::Rejected { status: 2, .. })
    ));
    assert!(matches!(
        parse(&status(0), None),
        Err(TsaMessageError::Der(_))
    ));
    let other = tsa::encode_response(&Lab::new().timestamp().token(b"another"));
    assert!(matches!(
        parse(&other, None),
        Err(TsaMessageError::Imprint { .. })
    ));
}

/// The codes of the reasons that a file makes: `reason!("code", …)`, or
/// `reason!(codes::CODE, …)`.
fn codes(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    text.split("reason!(")
        .skip(1)
        .map(str::trim_start)
        .filter_map(|rest| match rest.strip_prefix("codes::") {
            Some(name) => Some(name.split(',').next()?.to_lowercase().replace('_', "-")),
            None => Some(rest.strip_prefix('"')?.split('"').next()?.to_owned()),
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source below this folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The codes of the verifier, of look-ups, of ranges and of audits.
fn all_codes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["src/evidence", "src/services/rekor"] {
        for file in sources(&root().join(folder)) {
            found.extend(codes(&file));
        }
    }
    // The example in the documentation of the macro.
    assert!(found.remove("kebab-case-code"));
    for file in ["verdict.rs", "audit/checkpoints.rs", "report.rs"] {
        let text = fs::read_to_string(root().join("src").join(file)).unwrap();
        let more: Vec<_> = ["Failure::new(", "Self::new(", "=>", ": &str ="]
            .iter()
            .flat_map(|before| text.split(before).skip(1))
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
            .filter(|code| {
                code.contains('-') && code.bytes().all(|b| b == b'-' || b.is_ascii_lowercase())
            })
            .map(str::to_owned)
            .collect();
        assert_ne!(more, [""; 0], "no codes found in {file}");
        found.extend(more);
    }
    found
}

/// Every code is an expectation of some test: the code alone in a string, in
/// brackets as gitseal prints it, or behind its step.
#[test]
fn every_code_is_expected_by_a_test() {
    let mut tests = String::new();
    for file in [sources(&root().join("src")), sources(&root().join("tests"))].concat() {
        let text = fs::read_to_string(&file).unwrap();
        let is_test = file.starts_with(root().join("tests")) || file.ends_with("tests.rs");
        tests += match text.split_once("\nmod tests {") {
            Some((_, inner)) => inner,
            None if is_test => &text,
            None => "",
        };
    }
    for code in all_codes() {
        let constant = format!("codes::{}", code.to_uppercase().replace('-', "_"));
        let expected = [
            format!("\"{code}\""),
            format!("[{code}]"),
            format!(" {code}\""),
            constant,
        ];
        assert!(
            expected.iter().any(|form| tests.contains(form)),
            "no test expects {code}"
        );
    }
}

/// The table in `docs/verification.md` has a row for every code, and no other;
/// each says what the code means and, itself or for its group, what to do next.
#[test]
fn every_code_is_documented() {
    let page = fs::read_to_string(root().join("docs/verification.md")).unwrap();
    let (_, table) = page.split_once("## Refusal codes").unwrap();
    let mut documented = BTreeSet::new();
    let mut group = "";
    let rows = table.lines().skip_while(|line| !line.starts_with("|---"));
    for row in rows.skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, meaning, next] = cells[..] else {
            panic!("not three cells: {row}");
        };
        if name.starts_with("**") {
            group = next;
            continue;
        }
        assert_ne!(meaning, "", "{row}");
        assert_ne!((group, next), ("", ""), "no next step: {row}");
        assert!(
            documented.insert(name.trim_matches('`').to_owned()),
            "{row}"
        );
    }
    assert_eq!(documented, all_codes());
}

#[test]
fn every_reason_is_brought_about() {
    let mut seen = BTreeSet::new();
    for (file, rows) in [
        ("certificate", certificates()),
        ("chain", chains()),
        ("sct", scts()),
        ("signed_data", messages()),
        ("timestamp", timestamps()),
    ] {
        let found = judge(&rows);
        seen.extend(found.iter().copied());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/evidence");
        let mut codes = codes(&source.join(file).with_extension("rs"));
        for part in fs::read_dir(source.join(file)).into_iter().flatten() {
            codes.extend(self::codes(&part.unwrap().path()));
        }
        assert!(!codes.is_empty(), "no reasons found in {file}.rs");
        for code in codes {
            assert!(
                found.contains(code.as_str()),
                "{file}.rs: {code} is never reached"
            );
        }
    }
    assert!(seen.contains("good"));
}
