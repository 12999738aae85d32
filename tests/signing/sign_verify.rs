//! Signing and verifying with git itself, against the reference servers of this
//! package: everything on loopback, every wait bounded.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::lab::{ALICE, GITSEAL, Lab, REFERENCE, finish, text};

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
    let changed = finish(command, object.replace("\nfirst\n", "\nfirsT\n").as_bytes());
    let changed = text(&changed.stdout).trim().to_owned();
    let said = lab.run(&repository, &["verify-commit", "--raw", &changed]);
    assert!(!said.status.success());
    assert!(
        text(&said.stderr).contains("BADSIG"),
        "{}",
        text(&said.stderr)
    );
}

#[test]
fn unusual_messages_survive() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let tree = {
        let mut command = lab.command("git", &repository);
        command.args(["hash-object", "-t", "tree", "-w", "--stdin"]);
        text(&finish(command, b"").stdout).trim().to_owned()
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
        let output = finish(command, message);
        assert!(output.status.success(), "{}", text(&output.stderr));
        commits.push(text(&output.stdout).trim().to_owned());
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
                OsStr::new("worktree"),
                "add".as_ref(),
                "-q".as_ref(),
                "-b".as_ref(),
                "other".as_ref(),
                worktree.as_ref(),
            ],
        );
        fs::create_dir(worktree.join("sub")).unwrap();
        lab.git(
            &worktree.join("sub"),
            &["commit", "-q", "-S", "--allow-empty", "-m", "second"],
        );
        let bare = format!("{name}.git");
        lab.git(
            lab.directory.path(),
            &["clone", "-q", "--bare", name, &bare],
        );
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
    assert!(
        !lab.run(&repository, &["verify-commit", "HEAD~3"])
            .status
            .success()
    );
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
    let mut command = Command::new(REFERENCE);
    command
        .args(["token", "--user", ALICE, "--dir"])
        .arg(lab.state());
    let output = finish(command, b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let token = text(&output.stdout).trim().to_owned();
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
        finish(command, b"")
    };
    let output = commit(&token);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains(&token));
    lab.good(&repository, "HEAD");

    // A token whose signature is another's.
    let (head, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(86));
    let output = commit(&forged);
    assert!(!output.status.success());
    assert!(!text(&output.stderr).contains(&forged));
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
        finish(command, b"")
    };
    let output = commit("eve@example.test");
    assert!(!output.status.success());
    assert!(
        !lab.run(&repository, &["rev-parse", "HEAD^{commit}"])
            .status
            .success()
    );
    assert!(commit(ALICE).status.success());
    lab.good(&repository, "HEAD");
}

/// The helper as git calls it, for what git itself would hide.
fn helper(lab: &Lab, repository: &Path, settings: &[&str], payload: &[u8]) -> Output {
    let mut command = lab.command(GITSEAL, repository);
    command.args(["--status-fd=2", "-bsau", "Alice <alice@example.test>"]);
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, setting) in settings.iter().enumerate() {
        let (key, value) = setting.split_once('=').unwrap();
        command.env(format!("GIT_CONFIG_KEY_{number}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    finish(command, payload)
}

const PAYLOAD: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
author Alice <alice@example.test> 1795176000 +0000\n\
committer Alice <alice@example.test> 1795176000 +0000\n\nmessage\n";

#[test]
fn the_helper_answers_as_git_wants_it() {
    let lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let output = helper(&lab, &repository, &[], PAYLOAD);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
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
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{settings:?}: {err}");
        assert_eq!(text(&output.stdout), "", "{settings:?}");
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
        &[nobody, "no connection", "hint:"],
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
        &["no token provider", "nowhere", "hint:"],
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
                elsewhere.setting(&format!("gitseal.{key}"))
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
        &["would not verify", "gitseal.rekor"],
    );
    lab.stop();
    let output = helper(&lab, &repository, &[], PAYLOAD);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
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
    let output = finish(command, PAYLOAD);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the signature: "));
    let mut command = lab.command("sh", &repository);
    command
        .arg("-c")
        .arg(format!("'{GITSEAL}' --status-fd=3 -bsa 3>/dev/full"));
    let output = finish(command, PAYLOAD);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the status descriptor: "));
    assert!(output.stdout.is_empty());
}

#[test]
fn online_mode_is_found_again_in_the_log() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let online = ["-c", "gitseal.rekorMode=online"];
    let git = |arguments: &[&str]| lab.run(&repository, &[&online[..], arguments].concat());
    assert!(
        git(&["commit", "-q", "-S", "--allow-empty", "-m", "x"])
            .status
            .success()
    );
    assert!(git(&["tag", "-s", "-m", "t", "v1"]).status.success());
    let output = git(&["verify-commit", "HEAD"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = git(&["verify-tag", "v1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    lab.stop();
    let output = lab.run(&repository, &["verify-commit", "--raw", "HEAD"]);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("ERRSIG"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_timestamp_is_embedded_and_verified() {
    let mut lab = Lab::start();
    let repository = lab.repository("r", &[]);
    let url = fs::read_to_string(lab.state().join("signing_config.json")).unwrap();
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
    let object = lab.git(&repository, &["cat-file", "commit", "HEAD"]);
    assert!(
        object.len() > 3000,
        "there is no timestamp in {} bytes",
        object.len()
    );
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
        eprintln!("skipped: openssl is not here or cannot make certificates");
        return;
    }
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    // It serves the files below its directory. The issuer's description names
    // another issuer: what complains about that has spoken TLS before.
    let known = directory.path().join(".well-known");
    fs::create_dir(&known).unwrap();
    fs::write(
        known.join("openid-configuration"),
        r#"{"issuer":"https://other.test","authorization_endpoint":"https://other.test/a","token_endpoint":"https://other.test/t","jwks_uri":"https://other.test/k","response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}"#,
    )
    .unwrap();
    let mut server = Command::new("openssl")
        .args([
            "s_server", "-quiet", "-WWW", "-cert", "leaf.pem", "-key", "leaf.key", "-accept",
        ])
        .arg(format!("127.0.0.1:{port}"))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            Instant::now() < deadline,
            "openssl s_server does not listen"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let ask = |trusted: Option<&str>| {
        let mut command = Command::new(GITSEAL);
        command
            .args(["--status-fd=2", "-bsa"])
            .current_dir(directory.path())
            .env_clear()
            .env("HOME", directory.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GITSEAL_CREDENTIAL_CACHE", "off")
            .env("GITSEAL_CONFIRM_IDENTITY", "false")
            .env("GITSEAL_TOKEN_PROVIDER", "headless")
            .env("GITSEAL_OIDC_ISSUER", format!("https://localhost:{port}"));
        if let Some(file) = trusted {
            command.env("SSL_CERT_FILE", directory.path().join(file));
        }
        let output = finish(command, PAYLOAD);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        text(&output.stderr)
    };
    let trusted = ask(Some("ca.pem"));
    let untrusted = ask(None);
    drop(server.kill());
    drop(server.wait());
    assert!(trusted.contains("does not describe itself"), "{trusted}");
    assert!(untrusted.contains("TLS"), "{untrusted}");
    assert!(untrusted.contains("SSL_CERT_FILE"), "{untrusted}");
}

/// Where `.ci/peers` installs other implementations.
fn peer(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("GITSEAL_PEERS")
        .map(PathBuf::from)
        .or_else(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
            Some(cache.or_else(home)?.join("gitseal-peers"))
        })?;
    let path = directory.join("bin").join(name);
    path.exists().then_some(path)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_rekor_v2_of_others_records_and_a_timestamp_dates() {
    use ed25519_dalek::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};

    let Some(rekor_tiles) = peer("posix") else {
        eprintln!("skipped: the POSIX server of rekor-tiles is not here (install with .ci/peers)");
        return;
    };
    let mut lab = Lab::start();
    let key = ed25519_dalek::SigningKey::from_bytes(&[42; 32]);
    let pem = key.to_pkcs8_pem(Default::default()).unwrap();
    fs::write(lab.path("log.pem"), pem.as_bytes()).unwrap();
    fs::create_dir(lab.path("tiles")).unwrap();
    let port = free_port();
    let log = Command::new(rekor_tiles)
        .args([
            "serve",
            "--hostname=127.0.0.1",
            "--checkpoint-interval=200ms",
        ])
        .arg(format!("--http-port={port}"))
        .arg(format!("--grpc-port={}", free_port()))
        .arg(format!("--http-metrics-port={}", free_port()))
        .args(["--storage-dir=tiles", "--signer-filepath=log.pem"])
        .current_dir(lab.directory.path())
        .stdout(Stdio::null())
        .stderr(fs::File::create(lab.path("tiles.log")).unwrap())
        .spawn()
        .unwrap();
    let log = Running(log);
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            Instant::now() < deadline,
            "rekor-tiles does not listen: {}",
            fs::read_to_string(lab.path("tiles.log")).unwrap()
        );
        thread::sleep(Duration::from_millis(20));
    }

    // The trusted root with this log in it; its id is the C2SP key id.
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(lab.state().join(name)).unwrap()).unwrap()
    };
    let b64 = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes);
    let public = key.verifying_key();
    let preimage = [&b"127.0.0.1\n\x01"[..], public.as_bytes()].concat();
    let mut trust = read("trusted_root.json");
    trust["tlogs"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({
            "baseUrl": format!("http://127.0.0.1:{port}"), "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(public.to_public_key_der().unwrap().as_bytes()),
                "keyDetails": "PKIX_ED25519", "validFor": {"start": "2026-01-01T00:00:00Z"},
            },
            "logId": {"keyId": b64(&<sha2::Sha256 as sha2::Digest>::digest(preimage))},
        }));
    fs::write(lab.path("trust.json"), trust.to_string()).unwrap();
    let timestamps = read("signing_config.json");
    let settings = format!(
        "[gitseal]\n\trekor = http://127.0.0.1:{port}\n\trekorVersion = 2\n\
         \ttimestampServerURL = {}\n\ttrustedRoot = {}\n",
        timestamps["tsaUrls"][0]["url"].as_str().unwrap(),
        lab.path("trust.json").display()
    );
    let config = fs::read_to_string(lab.path("gitconfig")).unwrap();
    fs::write(lab.path("gitconfig"), config + &settings).unwrap();

    let repository = lab.repository("r", &[]);
    lab.git(
        &repository,
        &["commit", "-q", "-S", "--allow-empty", "-m", "x"],
    );
    lab.git(&repository, &["tag", "-s", "-m", "t", "v1"]);
    drop(log);
    lab.stop();
    lab.good(&repository, "HEAD");
    lab.git(&repository, &["verify-tag", "v1"]);
}
