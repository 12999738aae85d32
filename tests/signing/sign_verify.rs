//! Signing and verifying with git itself, against the reference servers of this
//! package: everything on loopback, every wait bounded.

use std::{fs, path::Path, process::Command, thread};

use crate::skip;
use crate::support::{
    ALICE, GITSEAL, PAYLOAD,
    home::Home,
    process::{Ended, Server, free_port, listens, run},
    servers::Lab,
};

#[test]
fn commits_and_tags_are_signed_and_verify_with_the_servers_gone() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    fs::write(repository.join("f"), "1").unwrap();
    lab.git(&repository, &["add", "f"]);
    lab.git(&repository, &["commit", "-q", "-S", "-m", "first"]);
    lab.git(&repository, &["tag", "-s", "-m", "a tag", "v1"]);
    lab.git(&repository, &["checkout", "-q", "-b", "side"]);
    lab.git(
        &repository,
        &["commit", "-q", "-S", "--allow-empty", "-m", "side"],
    );
    lab.git(&repository, &["tag", "-s", "-m", "to be merged", "v2"]);
    lab.git(&repository, &["checkout", "-q", "main"]);
    lab.git(
        &repository,
        &["commit", "-q", "-S", "--allow-empty", "-m", "main"],
    );
    // The merge commit carries the tag in a mergetag header.
    lab.git(
        &repository,
        &["merge", "-q", "-S", "--no-ff", "-m", "merge", "v2"],
    );
    lab.stop();

    for revision in ["HEAD", "HEAD^", "HEAD^2", "HEAD~2"] {
        lab.good(&repository, revision);
    }
    for tag in ["v1", "v2"] {
        lab.git(&repository, &["verify-tag", tag]);
    }
    let log = lab.git(&repository, &["log", "--format=%G? %GS"]);
    assert_eq!(log, format!("G {ALICE}\n").repeat(4));

    // One letter of the message changed, everything else as it was.
    let object = lab.git(&repository, &["cat-file", "commit", "HEAD~2"]);
    assert!(object.contains("\nfirst\n"));
    let mut command = lab.command("git", &repository);
    command.args(["hash-object", "-t", "commit", "-w", "--stdin"]);
    let changed = run(
        &mut command,
        object.replace("\nfirst\n", "\nfirsT\n").as_bytes(),
    );
    let changed = changed.out.trim().to_owned();
    let said = lab.git_at(&repository, ["verify-commit", "--raw", &changed]);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("BADSIG"), "{}", said.err);
}

#[test]
fn unusual_messages_survive() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let tree = {
        let mut command = lab.command("git", &repository);
        command.args(["hash-object", "-t", "tree", "-w", "--stdin"]);
        run(&mut command, b"").ok().line().to_owned()
    };
    let long = vec![b'x'; 70_000];
    let messages: [&[u8]; 7] = [
        b"crlf\r\nlines\r\n",
        b"no final newline",
        &long,
        b"",
        b"\n\n",
        "caf\u{e9} \u{202e}\n".as_bytes(),
        b"-----BEGIN SIGNED MESSAGE-----\nnot one\n-----END SIGNED MESSAGE-----\n",
    ];
    let mut commits = Vec::new();
    for message in messages {
        let mut command = lab.command("git", &repository);
        command.args(["commit-tree", "-S", &tree]);
        let output = run(&mut command, message);
        assert_eq!(output.code, 0, "{}", output.err);
        commits.push(output.out.trim().to_owned());
    }
    lab.stop();
    for commit in commits {
        lab.good(&repository, &commit);
    }
}

#[test]
fn sha256_repositories_worktrees_and_bare_ones_verify() {
    let mut lab = Lab::start();
    for (name, more) in [("one", &[][..]), ("two", &["--object-format=sha256"][..])] {
        let repository = lab.repository(name, more);
        lab.git(
            &repository,
            &["commit", "-q", "-S", "--allow-empty", "-m", "first"],
        );
        lab.git(&repository, &["tag", "-s", "-m", "tag", "v1"]);
        let worktree = lab.path(&format!("{name}-worktree"));
        lab.git(
            &repository,
            &[
                "worktree",
                "add",
                "-q",
                "-b",
                "other",
                worktree.to_str().unwrap(),
            ],
        );
        fs::create_dir(worktree.join("sub")).unwrap();
        lab.git(
            &worktree.join("sub"),
            &["commit", "-q", "-S", "--allow-empty", "-m", "second"],
        );
        let bare = format!("{name}.git");
        lab.git(lab.root(), &["clone", "-q", "--bare", name, &bare]);
    }
    lab.stop();
    for name in ["one", "two"] {
        lab.good(&lab.path(name), "main");
        lab.good(&lab.path(&format!("{name}-worktree/sub")), "HEAD");
        lab.good(&lab.path(&format!("{name}.git")), "other");
        lab.git(&lab.path(&format!("{name}.git")), &["verify-tag", "v1"]);
    }
}

#[test]
fn a_rebase_signs_each_commit_anew() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    for message in ["base", "one", "two", "three"] {
        lab.git(
            &repository,
            &["commit", "-q", "--allow-empty", "-m", message],
        );
    }
    lab.git(
        &repository,
        &["rebase", "-q", "-S", "--force-rebase", "HEAD~3"],
    );
    lab.git(
        &repository,
        &[
            "rebase",
            "-q",
            "--force-rebase",
            "--exec",
            "git commit -q --amend --no-edit --allow-empty -S",
            "HEAD~3",
        ],
    );
    lab.stop();
    for revision in ["HEAD", "HEAD~1", "HEAD~2"] {
        lab.good(&repository, revision);
    }
    assert_ne!(lab.git_at(&repository, ["verify-commit", "HEAD~3"]).code, 0);
}

/// Sixteen commits at once, each its own login, key and certificate.
#[test]
fn parallel_signing_works() {
    let lab = Lab::start();
    let repository = lab.repository("r", &[]);
    lab.git(
        &repository,
        &["commit", "-q", "--allow-empty", "-m", "base"],
    );
    thread::scope(|scope| {
        let runs: Vec<_> = (0..16)
            .map(|number| {
                let (lab, repository) = (&lab, &repository);
                scope.spawn(move || {
                    let message = number.to_string();
                    let tree = "HEAD^{tree}";
                    let arguments = ["commit-tree", "-S", "-m", &message, tree];
                    lab.git(repository, &arguments).trim().to_owned()
                })
            })
            .collect();
        for run in runs {
            lab.good(&repository, &run.join().unwrap());
        }
    });
}

#[test]
fn the_token_of_the_environment_is_used() {
    let lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let token = lab.servers.token(&[]);
    let commit = |token: &str| {
        let mut command = lab.command("git", &repository);
        command.env("SIGSTORE_ID_TOKEN", token).args([
            "-c",
            "gitseal.tokenProvider=envvar",
            "commit",
            "-q",
            "-S",
            "--allow-empty",
            "-m",
            "x",
        ]);
        run(&mut command, b"")
    };
    let output = commit(&token);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(!output.err.contains(&token));
    lab.good(&repository, "HEAD");

    // A token whose signature is another's.
    let (head, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(86));
    let output = commit(&forged);
    assert_ne!(output.code, 0);
    assert!(!output.err.contains(&forged));
}

#[test]
fn the_committer_must_match_where_that_is_wanted() {
    let lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let commit = |email: &str| {
        let mut command = lab.command("git", &repository);
        command.env("GIT_COMMITTER_EMAIL", email).args([
            "-c",
            "gitsign.matchCommitter=yes",
            "-c",
            &format!("gitseal.loginHint={ALICE}"),
            "commit",
            "-q",
            "-S",
            "--allow-empty",
            "-m",
            "x",
        ]);
        run(&mut command, b"")
    };
    let output = commit("eve@example.test");
    assert_ne!(output.code, 0);
    assert_ne!(
        lab.git_at(&repository, ["rev-parse", "HEAD^{commit}"]).code,
        0
    );
    commit(ALICE).ok();
    lab.good(&repository, "HEAD");

    // One commit and many, and an audit, ask for the same.
    let mut other = lab.command("git", &repository);
    other.env("GIT_COMMITTER_EMAIL", "eve@example.test").args([
        "commit",
        "-q",
        "-S",
        "--allow-empty",
        "-m",
        "y",
    ]);
    run(&mut other, b"").ok();
    let verify = |arguments: &[&str]| {
        let mut command = lab.command(GITSEAL, &repository);
        run(command.args(arguments), b"")
    };
    for (arguments, code) in [
        (&["verify", "HEAD"] as &[&str], 0),
        (&["verify", "HEAD~1..HEAD"], 0),
        (&["verify", "--match-committer", "HEAD~1"], 0),
        (&["verify", "--match-committer", "HEAD"], 1),
        (&["verify", "--match-committer", "HEAD~1..HEAD"], 1),
        (&["verify", "--match-committer", "HEAD~1", "HEAD"], 1),
        (&["verify", "--match-committer", "--all"], 1),
        (&["audit", "--match-committer", "--offline"], 1),
    ] {
        let ended = verify(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        let names_it = format!("{}{}", ended.out, ended.err).contains("committer");
        assert_eq!(names_it, code == 1, "{arguments:?}: {ended:?}");
    }
    let json = verify(&["verify", "--match-committer", "--json", "HEAD"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["identity_matched"], true, "{json}");
    assert_eq!(json["refusal"]["code"], "committer-mismatch", "{json}");
}

/// The helper as git calls it, for what git itself would hide.
fn helper(lab: &Lab, repository: &Path, settings: &[&str], payload: &[u8]) -> Ended {
    let mut command = lab.command(GITSEAL, repository);
    command.args(["--status-fd=2", "-bsau", "Alice <alice@example.test>"]);
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, setting) in settings.iter().enumerate() {
        let (key, value) = setting.split_once('=').unwrap();
        command.env(format!("GIT_CONFIG_KEY_{number}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    run(&mut command, payload)
}

#[test]
fn the_helper_answers_as_git_wants_it() {
    let lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let output = helper(&lab, &repository, &[], PAYLOAD);
    let (out, err) = (output.out, output.err);
    assert_eq!(output.code, 0, "{err}");
    assert!(out.starts_with("-----BEGIN SIGNED MESSAGE-----\n"), "{out}");
    assert!(out.ends_with("-----END SIGNED MESSAGE-----\n"), "{out}");
    let status: Vec<&str> = err
        .lines()
        .filter(|line| line.starts_with("[GNUPG:]"))
        .collect();
    assert_eq!(status.len(), 2, "{err}");
    assert_eq!(status[0], "[GNUPG:] BEGIN_SIGNING");
    assert!(status[1].starts_with("[GNUPG:] SIG_CREATED D 19 8 00 "));
    assert!(err.contains("tlog entry created with index: "), "{err}");
}

#[test]
fn failures_leave_nothing_behind_and_say_what_to_do() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let fails = |settings: &[&str], payload: &[u8], code: i32, words: &[&str]| {
        let output = helper(&lab, &repository, settings, payload);
        let err = output.err;
        assert_eq!(output.code, code, "{settings:?}: {err}");
        assert_eq!(output.out, "", "{settings:?}");
        assert!(!err.contains("SIG_CREATED"), "{settings:?}: {err}");
        for word in words {
            assert!(err.contains(word), "{settings:?}: {word}: {err}");
        }
    };
    let nobody = "http://127.0.0.1:9";
    fails(
        &[&format!("gitseal.fulcio={nobody}")],
        PAYLOAD,
        1,
        &[nobody, "cannot connect", "hint:"],
    );
    fails(
        &[&format!("gitseal.rekor={nobody}")],
        PAYLOAD,
        1,
        &[nobody, "hint:"],
    );
    fails(
        &[&format!("gitseal.issuer={nobody}")],
        PAYLOAD,
        1,
        &[nobody, "hint:"],
    );
    fails(
        &["gitseal.loginHint=mallory@example.test"],
        PAYLOAD,
        1,
        &["login_required", "--user"],
    );
    fails(
        &["gitseal.tokenProvider=envvar"],
        PAYLOAD,
        1,
        &["SIGSTORE_ID_TOKEN", "hint:"],
    );
    fails(
        &["gitseal.tokenProvider=nowhere"],
        PAYLOAD,
        2,
        &["unknown token provider", "nowhere", "hint:"],
    );
    fails(
        &["gitseal.urlOpener=firefox"],
        PAYLOAD,
        2,
        &["gitseal.urlOpener", "{{.URL}}"],
    );
    fails(
        &["gitseal.rekorVersion=2"],
        PAYLOAD,
        2,
        &["timestampServerURL"],
    );
    fails(&["gitseal.rekorMode=sideways"], PAYLOAD, 2, &["rekorMode"]);
    fails(&[], b"", 1, &["empty"]);
    fails(&[], b"tree nonsense\n\n", 1, &["commit"]);
    // The servers of another Sigstore than the one that is trusted.
    let elsewhere = Lab::start();
    let settings: Vec<String> = ["fulcio", "rekor", "issuer"]
        .iter()
        .map(|key| {
            format!(
                "gitseal.{key}={}",
                elsewhere
                    .git(
                        elsewhere.root(),
                        &["config", "--get", &format!("gitseal.{key}")]
                    )
                    .trim_end()
            )
        })
        .collect();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    fails(
        &settings,
        PAYLOAD,
        1,
        &["not trusted", "gitseal.trustedRoot"],
    );
    fails(
        &settings[1..2],
        PAYLOAD,
        1,
        &["self-check failed", "gitseal.rekor"],
    );
    lab.stop();
    let output = helper(&lab, &repository, &[], PAYLOAD);
    assert_eq!(output.code, 1);
    assert!(output.out.is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_signature_that_cannot_be_written_is_a_failure() {
    let lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let mut command = lab.command("sh", &repository);
    command
        .arg("-c")
        .arg(format!("'{GITSEAL}' --status-fd=2 -bsa > /dev/full"));
    let output = run(&mut command, PAYLOAD);
    assert_eq!(output.code, 1);
    assert!(output.err.contains("cannot write the signature: "));
    let mut command = lab.command("sh", &repository);
    command
        .arg("-c")
        .arg(format!("'{GITSEAL}' --status-fd=3 -bsa 3>/dev/full"));
    let output = run(&mut command, PAYLOAD);
    assert_eq!(output.code, 1);
    assert!(output.err.contains("cannot write the status lines: "));
    assert!(output.out.is_empty());
}

#[test]
fn online_mode_is_found_again_in_the_log() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let online = ["-c", "gitseal.rekorMode=online"];
    let git = |arguments: &[&str]| lab.git_at(&repository, [&online[..], arguments].concat());
    git(&["commit", "-q", "-S", "--allow-empty", "-m", "x"]).ok();
    git(&["tag", "-s", "-m", "t", "v1"]).ok();
    let output = git(&["verify-commit", "HEAD"]);
    assert_eq!(output.code, 0, "{}", output.err);
    let output = git(&["verify-tag", "v1"]);
    assert_eq!(output.code, 0, "{}", output.err);
    lab.stop();
    // The entry that was found is stored.
    lab.git_at(&repository, ["verify-commit", "HEAD"]).ok();
    fs::remove_dir_all(lab.home(".cache/gitseal")).unwrap();
    let output = lab.git_at(&repository, ["verify-commit", "--raw", "HEAD"]);
    assert_ne!(output.code, 0);
    assert!(output.err.contains("ERRSIG"), "{}", output.err);
}

#[test]
fn a_timestamp_is_embedded_and_verified() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let url = fs::read_to_string(lab.servers.file("signing_config.json")).unwrap();
    let url: serde_json::Value = serde_json::from_str(&url).unwrap();
    let url = url["tsaUrls"][0]["url"].as_str().unwrap();
    let setting = format!("gitseal.timestampServerURL={url}");
    lab.git(
        &repository,
        &[
            "-c",
            &setting,
            "commit",
            "-q",
            "-S",
            "--allow-empty",
            "-m",
            "x",
        ],
    );
    lab.stop();
    lab.good(&repository, "HEAD");
    lab.git_at(&repository, ["verify-commit", "HEAD"])
        .ok()
        .says("(RFC 3161 timestamp)");
}

/// A certificate authority and a server certificate of it for `localhost`.
fn tls_files(directory: &Path) -> bool {
    fs::write(
        directory.join("ca.cnf"),
        "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=ca\n\
         [ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
         subjectKeyIdentifier=hash\n",
    )
    .unwrap();
    fs::write(
        directory.join("leaf.ext"),
        "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    [
        "req -x509 -config ca.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2",
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout leaf.key -out leaf.csr",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile leaf.ext -days 2 -out leaf.pem",
    ]
    .iter()
    .all(|line| {
        Command::new("openssl")
            .args(line.split(' '))
            .current_dir(directory)
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

#[test]
#[cfg(target_os = "linux")]
fn tls_servers_need_a_certificate_that_this_system_trusts() {
    let directory = tempfile::tempdir().unwrap();
    if !tls_files(directory.path()) {
        skip!("openssl is not installed or cannot make certificates");
    }
    let port = free_port();
    // It serves the files below its directory. The issuer's description names
    // another issuer: what complains about that has spoken TLS before.
    let known = directory.path().join(".well-known");
    fs::create_dir(&known).unwrap();
    fs::write(
        known.join("openid-configuration"),
        r#"{"issuer":"https://other.test","authorization_endpoint":"https://other.test/a","token_endpoint":"https://other.test/t","jwks_uri":"https://other.test/k","response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}"#,
    )
    .unwrap();
    let mut server = Server::start(
        Command::new("openssl")
            .args([
                "s_server", "-quiet", "-WWW", "-cert", "leaf.pem", "-key", "leaf.key", "-accept",
            ])
            .arg(format!("127.0.0.1:{port}"))
            .current_dir(directory.path()),
        directory.path().join("log"),
    );
    server.wait(|| listens(&format!("https://127.0.0.1:{port}")));
    let mut home = Home::new();
    home.set("GITSEAL_TOKEN_PROVIDER", "headless");
    home.set("GITSEAL_OIDC_ISSUER", format!("https://localhost:{port}"));
    let ask = |trusted: Option<&str>| {
        let mut command = home.command(GITSEAL, directory.path());
        command.args(["--status-fd=2", "-bsa"]);
        if let Some(file) = trusted {
            command.env("SSL_CERT_FILE", directory.path().join(file));
        }
        let output = run(&mut command, PAYLOAD);
        assert_eq!(output.code, 1);
        assert!(output.out.is_empty());
        output.err
    };
    let trusted = ask(Some("ca.pem"));
    let untrusted = ask(None);
    drop(server);
    assert!(
        trusted.contains("no valid OpenID Connect discovery document"),
        "{trusted}"
    );
    assert!(untrusted.contains("TLS"), "{untrusted}");
    assert!(untrusted.contains("SSL_CERT_FILE"), "{untrusted}");
}
