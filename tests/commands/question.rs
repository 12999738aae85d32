//! One question, many entry points: for each flag and setting of a verification, one
//! commit, several, a range, an audit, `explain` and Git come to the same verdict.

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path};

use clap::CommandFactory as _;
use gitseal::cli::Cli;
use gitseal_evidence::trusted_root::PUBLIC_GOOD;
use serde_json::Value;

use crate::{
    forge::{self, EntrySpec, IDENTITY, ISSUER, LOG_HOST_V2},
    stage::{Ended, GITSEAL, Stage, run},
    stub::{CannedResponse, Stub},
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gitsign");

/// A verdict: verified, or a refusal with this code, or undecided with this code.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Good,
    Refused(&'static str),
    Undecided(&'static str),
}
use Expect::{Good, Refused, Undecided};

/// One question: by flags, by settings, or by either.
struct Row {
    flags: Option<Vec<String>>,
    settings: Option<Vec<(String, String)>>,
    subject: String,
    expect: Expect,
}

/// A command with the settings of a row, which reach Git and gitseal alike.
fn ask(stage: &Stage, program: &str, arguments: &[&str], row: &Row, input: &str) -> Ended {
    let mut command = stage.command(program, &stage.repo());
    let settings = row.settings.as_deref().unwrap_or_default();
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, (key, value)) in settings.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{number}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    run(command.args(arguments), input.as_bytes())
}

/// Asks all entry points of gitseal with these flags.
fn ask_gitseal(stage: &Stage, row: &Row, flags: &[&str]) {
    let subject = row.subject.as_str();
    // The subject alone is reachable, on an unsigned base.
    stage.git(["update-ref", "refs/heads/main", subject]).ok();
    let base = stage.git(["rev-parse", "--verify", "-q", &format!("{subject}~1")]);
    let two_dots = match base.code {
        0 => format!("{subject}~1..{subject}"),
        _ => format!("{subject}^!"),
    };
    let stdin = format!("{subject}\n");
    for (arguments, input) in [
        (&["verify", subject] as &[&str], ""),
        (&["verify", subject, subject], ""),
        (&["verify", "--jobs", "4", &two_dots], ""),
        (&["verify", "--all", "--allow-unsigned"], ""),
        (&["verify", "--stdin"], &stdin),
        (&["explain", subject], ""),
        (&["audit", "--allow-unsigned"], ""),
    ] {
        let arguments = [arguments, flags].concat();
        let ended = ask(stage, GITSEAL, &arguments, row, input);
        let (code, reason) = match row.expect {
            Good => (0, ""),
            Refused(reason) => (1, reason),
            Undecided(reason) => (3, reason),
        };
        let context = format!("{arguments:?} {:?}\n{ended:?}", row.settings);
        // The log of the recorded answers does not run: its checkpoint stays unproved.
        let unproved = names(&ended, "log-unprovable") && ended.out.contains(": 1 verified, ");
        assert!(ended.code == code || unproved, "{context}");
        if code != 0 {
            assert!(names(&ended, reason), "{context}");
        }
    }
}

/// Whether the output contains this code. A failed search is told under the code of
/// what is missing, where one object is reported.
fn names(ended: &Ended, code: &str) -> bool {
    let text = format!("{}{}", ended.out, ended.err);
    text.contains(&format!("[{code}]"))
        || code == "lookup-failed"
            && text.contains("[no-log-entry]")
            && text.contains("cannot query the log: ")
}

/// Asks Git, which knows settings only.
fn ask_git(stage: &Stage, row: &Row) {
    let ended = ask(stage, "git", &["verify-commit", &row.subject], row, "");
    let context = format!("git {:?}\n{ended:?}", row.settings);
    match row.expect {
        Good => {
            assert_eq!(ended.code, 0, "{context}");
            let claims = "Validated Certificate claims: true";
            assert!(ended.err.contains(claims), "{context}");
        }
        Refused(reason) | Undecided(reason) => {
            assert_eq!(ended.code, 1, "{context}");
            assert!(names(&ended, reason), "{context}");
        }
    }
}

fn check(stage: &Stage, rows: &[Row], more: &[&str]) {
    for row in rows {
        if let Some(flags) = &row.flags {
            let row = Row {
                flags: None,
                settings: None,
                subject: row.subject.clone(),
                expect: row.expect,
            };
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            ask_gitseal(stage, &row, &[&flags, more].concat());
        }
        if row.settings.is_some() {
            ask_gitseal(stage, row, more);
            ask_git(stage, row);
        }
    }
}

/// A question by flags with the expected signer, and by the settings of the same names.
fn row(subject: &str, expect: Expect, asked: &[(&str, &str)]) -> Row {
    let flags = asked.iter().flat_map(|(name, value)| {
        let words = name.chars().flat_map(|letter| {
            let dash = letter.is_ascii_uppercase().then_some('-');
            dash.into_iter().chain([letter.to_ascii_lowercase()])
        });
        [
            format!("--{}", words.collect::<String>()),
            (*value).to_owned(),
        ]
    });
    let settings = asked
        .iter()
        .map(|(name, value)| (format!("gitseal.{name}"), (*value).to_owned()));
    Row {
        flags: Some(flags.collect()),
        settings: Some(settings.collect()),
        subject: subject.to_owned(),
        expect,
    }
}

/// A question that has no settings.
fn by_flags(subject: &str, expect: Expect, flags: &[&str]) -> Row {
    let signer = [
        "--certificate-identity",
        IDENTITY,
        "--certificate-oidc-issuer",
        ISSUER,
    ];
    let flags = signer.iter().chain(flags).map(|&flag| flag.to_owned());
    Row {
        flags: Some(flags.collect()),
        settings: None,
        subject: subject.to_owned(),
        expect,
    }
}

/// A question that has no flags.
fn by_settings(subject: &str, expect: Expect, settings: &[(&str, &str)]) -> Row {
    Row {
        flags: None,
        ..row(subject, expect, &[SIGNER, settings].concat())
    }
}

const SIGNER: &[(&str, &str)] = &[
    ("certificateIdentity", IDENTITY),
    ("certificateOidcIssuer", ISSUER),
];

const CLAIMS: [(u8, &str, &str); 5] = [
    (2, "--certificate-github-workflow-trigger", "push"),
    (3, "--certificate-github-workflow-sha", "0123456789abcdef"),
    (4, "--certificate-github-workflow-name", "release"),
    (5, "--certificate-github-workflow-repository", "example/app"),
    (6, "--certificate-github-workflow-ref", "refs/heads/main"),
];

/// A commit over an unsigned base, and nothing else.
fn subject(stage: &Stage, base: &str, sign: impl FnOnce(&Stage) -> String) -> String {
    stage.git(["update-ref", "refs/heads/main", base]).ok();
    sign(stage)
}

/// Every flag of the question of this command.
fn flags_of(command: &str) -> BTreeSet<String> {
    let cli = Cli::command();
    let command = cli.find_subcommand(command).unwrap();
    let flags = command.get_arguments().filter(|flag| {
        ["Expected signer", "Evidence"].contains(&flag.get_help_heading().unwrap_or_default())
    });
    flags
        .map(|flag| format!("--{}", flag.get_long().unwrap()))
        .collect()
}

#[test]
fn every_entry_point_asks_for_the_same_signer_and_evidence() {
    let stage = Stage::new();
    let base = {
        stage.payload("unsigned base");
        stage.git(["rev-parse", "HEAD"]).ok().line().to_owned()
    };
    let plain = subject(&stage, &base, |stage| stage.commit("plain"));
    let workflow = subject(&stage, &base, |stage| {
        stage.commit_with("workflow", |spec| {
            for (arc, _, value) in CLAIMS {
                let extension = forge::fulcio_raw(arc, value);
                spec.leaf.extensions.push(extension);
            }
        })
    });
    let committed_by_another = subject(&stage, &base, |stage| {
        let payload = stage.payload("another committer");
        let payload = String::from_utf8(payload)
            .unwrap()
            .replace("committer Alice <alice@", "committer Eve <eve@");
        let signature = stage.lab.sign_with(payload.as_bytes(), |_| {});
        stage.place(&forge::commit_object(payload.as_bytes(), &signature))
    });
    let timestamped = subject(&stage, &base, |stage| {
        let (entry, timestamp) = (EntrySpec::v2(&stage.lab.rekor2), stage.lab.timestamp());
        stage.commit_with("timestamped", |spec| {
            spec.entry = Some(entry);
            spec.timestamps = vec![timestamp];
        })
    });
    let public = stage.file("public.json", PUBLIC_GOOD);
    let public = public.to_str().unwrap();

    let other = "https://other.example.test";
    let mut rows = vec![
        row(&plain, Good, SIGNER),
        row(
            &plain,
            Refused("identity-mismatch"),
            &[("certificateIdentity", "bob@example.test"), SIGNER[1]],
        ),
        row(
            &plain,
            Good,
            &[
                ("certificateIdentityRegexp", "(alice|bob)@example[.]test"),
                SIGNER[1],
            ],
        ),
        row(
            &plain,
            Refused("identity-mismatch"),
            &[("certificateIdentityRegexp", "alice@example"), SIGNER[1]],
        ),
        row(
            &plain,
            Refused("issuer-mismatch"),
            &[SIGNER[0], ("certificateOidcIssuer", other)],
        ),
        row(
            &plain,
            Good,
            &[
                SIGNER[0],
                ("certificateOidcIssuerRegexp", "https://issuer[.].*"),
            ],
        ),
        row(
            &plain,
            Refused("issuer-mismatch"),
            &[SIGNER[0], ("certificateOidcIssuerRegexp", "https://issuer")],
        ),
        row(
            &plain,
            Refused("log-unknown"),
            &[SIGNER, &[("trustedRoot", public)]].concat(),
        ),
        by_flags(&plain, Good, &["--match-committer"]),
        by_flags(
            &committed_by_another,
            Refused("committer-mismatch"),
            &["--match-committer"],
        ),
        row(&committed_by_another, Good, SIGNER),
    ];
    for (_, flag, value) in CLAIMS {
        rows.push(by_flags(&workflow, Good, &[flag, value]));
        rows.push(by_flags(&workflow, Refused("claim-mismatch"), &[flag, "x"]));
        rows.push(by_flags(&plain, Refused("claim-absent"), &[flag, value]));
    }
    rows.extend(single_files(&stage, &plain, &timestamped));
    check(&stage, &rows, &["--offline"]);

    // A flag that is added has to be asked here as well.
    let asked = rows.iter().flat_map(|row| row.flags.iter().flatten());
    let asked: BTreeSet<String> = asked
        .filter(|word| word.starts_with("--"))
        .cloned()
        .chain(["--offline".to_owned()])
        .collect();
    for command in ["verify", "verify-tag", "explain", "audit"] {
        assert_eq!(flags_of(command), asked, "{command}");
    }
}

/// gitsign's single files in place of the trusted root: all of them, and all but one.
fn single_files(stage: &Stage, plain: &str, timestamped: &str) -> Vec<Row> {
    let lab = &stage.lab;
    let write = |name: &str, label: &str, ders: &[&[u8]]| {
        let text: String = ders.iter().map(|der| forge::pem(label, der)).collect();
        stage.file(name, text).to_str().unwrap().to_owned()
    };
    let ca = write(
        "ca.pem",
        "CERTIFICATE",
        &[&lab.intermediate_certificate, &lab.root_certificate],
    );
    let tsa = write(
        "tsa.pem",
        "CERTIFICATE",
        &[&lab.tsa_certificate, &lab.tsa_root_certificate],
    );
    let log = write("log.pem", "PUBLIC KEY", &[&lab.rekor.spki()]);
    let log2 = write("log2.pem", "PUBLIC KEY", &[&lab.rekor2.spki()]);
    let ct = write("ct.pem", "PUBLIC KEY", &[&lab.ct.spki()]);
    let host2 = format!("https://{LOG_HOST_V2}");
    let files = [
        ("trustedRoot", ""),
        ("fulcioRoot", &ca),
        ("ctLogPublicKey", &ct),
        ("timestampCertChain", &tsa),
        ("rekorPublicKey", &log2),
        ("rekor", &host2),
    ];
    let without = |name: &str| {
        let rest = files.iter().filter(|(other, _)| *other != name);
        rest.copied().collect::<Vec<_>>()
    };
    let v1 = [
        &without("rekorPublicKey")[..],
        &[
            ("rekorPublicKey", &log),
            ("rekor", "https://rekor.example.test"),
        ],
    ];
    vec![
        by_settings(plain, Good, &v1.concat()),
        by_settings(timestamped, Good, &files),
        by_settings(
            timestamped,
            Refused("chain-no-authority"),
            &without("fulcioRoot"),
        ),
        by_settings(
            timestamped,
            Refused("sct-unknown-log"),
            &without("ctLogPublicKey"),
        ),
        by_settings(
            timestamped,
            Refused("timestamp-untrusted"),
            &without("timestampCertChain"),
        ),
        by_settings(
            timestamped,
            Refused("log-unknown"),
            &without("rekorPublicKey"),
        ),
    ]
}

/// Where a missing log entry is searched: nowhere, or in the log of the settings.
#[test]
fn every_entry_point_searches_the_same_log() {
    let path = Path::new(DATA).join("rekor/online.commit.json");
    let answers: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let full = Stub::start(move |asked| match asked.target.as_str() {
        "/api/v1/index/retrieve" => CannedResponse::json(200, &answers["index_retrieve"]),
        "/api/v1/log/entries/retrieve" => {
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            let ids = body["entryUUIDs"].as_array().unwrap();
            let found = ids
                .iter()
                .filter_map(|id| answers["entries"].get(id.as_str().unwrap()).cloned());
            CannedResponse::json(200, &found.collect())
        }
        _ => CannedResponse::json(404, &Value::Null),
    });
    let empty = Stub::start(|_| CannedResponse::json(200, &serde_json::json!([])));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone_url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);

    let stage = Stage::new();
    let root = format!("{DATA}/trusted_root.json");
    stage.config("gitseal.trustedRoot", &root);
    let raw = fs::read(Path::new(DATA).join("objects/online.commit")).unwrap();
    let id = stage.write("commit", &raw);
    let signer = [
        ("certificateIdentity", "alice@example.test"),
        ("certificateOidcIssuer", "http://127.0.0.1:18080"),
    ];
    let asked = |url: &str, mode, expect| {
        let settings = [("rekor", url), ("rekorMode", mode)];
        Row {
            flags: None,
            ..row(&id, expect, &[&signer[..], &settings].concat())
        }
    };
    let offline = |expect| {
        let row = asked(full.url.as_str(), "offline", expect);
        let requests = full.asked().len();
        ask_git(&stage, &row);
        ask_gitseal(&stage, &row, &["--offline"]);
        assert_eq!(full.asked().len(), requests);
    };
    offline(Undecided("no-log-entry"));
    for (url, expect) in [
        (empty.url.as_str(), Undecided("log-entry-not-found")),
        (gone_url.as_str(), Undecided("lookup-failed")),
        (full.url.as_str(), Good),
    ] {
        let row = asked(url, "online", expect);
        ask_gitseal(&stage, &row, &[]);
        ask_git(&stage, &row);
    }
    // The entry that was found is stored, and all entry points use it.
    offline(Good);
}

/// What `explain` assumes where the log entry is missing is the same question.
#[test]
fn an_undecided_signature_is_compared_with_its_committer() {
    let stage = Stage::new();
    stage.name_the_signer(IDENTITY);
    let payload = String::from_utf8(stage.payload("another committer")).unwrap();
    let payload = payload.replace("committer Alice <alice@", "committer Eve <eve@");
    let signature = stage
        .lab
        .sign_with(payload.as_bytes(), |spec| spec.entry = None);
    let id = stage.place(&forge::commit_object(payload.as_bytes(), &signature));
    for (flags, ok, detail) in [
        (&[] as &[&str], true, "matches the expected identity"),
        (&["--match-committer"], false, "the committer is Eve"),
    ] {
        let report = stage
            .gitseal([&["explain", "--offline", "--json", &id], flags].concat())
            .fails(3)
            .json();
        let step = &report["steps"][8];
        assert_eq!(step["ok"], ok, "{step}");
        assert_eq!(step["assumed"], true, "{step}");
        assert!(step["detail"].as_str().unwrap().contains(detail), "{step}");
    }
}
