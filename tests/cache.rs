//! The credential cache as git and people meet it: one login for many
//! signatures, and no signature that waits for a daemon.
//!
//! A program of its own: a hundred signers at once are enough for one machine.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gitseal_credential_cache::client::{AcquireOutcome, ClientTimeouts, Connection, TokenKind};
use support::stub::{CannedResponse, Stub};
use support::{
    ALICE, GITSEAL, PAYLOAD, daemon,
    process::{Ended, Server, run, until, wait},
    servers::Lab,
};

/// A lab whose signatures go through a credential cache of its own.
struct Cached {
    lab: Lab,
}

impl Cached {
    /// `None`, and says so, where the daemon was not built.
    fn start() -> Option<Self> {
        daemon()?;
        let mut lab = Lab::start();
        lab.set("GITSEAL_CREDENTIAL_CACHE", "auto");
        Some(Self { lab })
    }

    fn home(&self) -> PathBuf {
        self.lab.path("home")
    }

    fn socket(&self) -> PathBuf {
        self.home().join(".cache/gitseal/cache.sock")
    }

    fn gitseal(&self, arguments: &[&str]) -> Ended {
        self.lab.gitseal_at(self.lab.root(), arguments)
    }

    /// Has gitseal sign as git does; git itself may keep what it says.
    fn sign(&self) -> Ended {
        self.lab.sign_at(self.lab.root(), PAYLOAD)
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.socket(), ClientTimeouts::default()).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.gitseal(arguments).json()
    }

    /// How many tokens the issuer has given.
    fn logins(&self) -> usize {
        self.lab.servers.logins()
    }

    /// How many certificates the authority has given.
    fn certificates(&self) -> usize {
        self.lab.servers.certificates()
    }

    /// The daemon's process id, as the system knows the socket's owner: found by
    /// its command line, which names the socket.
    fn daemon(&self) -> Option<u32> {
        let socket = self.socket();
        let wanted = socket.to_str().unwrap();
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            (line.contains("gitseal-credential-cache") && line.contains(wanted)).then_some(id)
        })
    }

    fn commits(&self, repository: &Path, count: usize, signed: bool) {
        for number in 0..count {
            let message = format!("commit {number}");
            let mut arguments = vec!["commit", "-q", "--allow-empty", "-m", &message];
            if signed {
                arguments.push("-S");
            }
            self.lab.git(repository, &arguments);
        }
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        drop(self.gitseal(&["cache", "stop"]));
    }
}

#[test]
fn a_rebase_of_twenty_commits_needs_one_login() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let repository = cached.lab.repository("rebased", &[]);
    cached.commits(&repository, 21, false);
    cached
        .lab
        .git(&repository, &["rebase", "-q", "-f", "-S", "HEAD~20"]);
    let signed = cached.lab.git(&repository, &["rev-list", "HEAD~20..HEAD"]);
    assert_eq!(signed.lines().count(), 20);
    for commit in signed.lines() {
        cached.lab.good(&repository, commit);
    }
    assert_eq!((cached.logins(), cached.certificates()), (1, 1));
    let status = cached.json(&["cache", "status", "--json"]);
    assert_eq!(
        status["credentials"].as_array().unwrap().len(),
        1,
        "{status}"
    );
    // One more than the commits: the proof that the key is ours.
    assert!(
        status["credentials"][0]["signatures"].as_u64().unwrap() >= 20,
        "{status}"
    );
}

#[test]
fn a_hundred_signers_at_once_make_one_login() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let payload = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
         author Alice <alice@example.test> 1795176000 +0000\n\
         committer Alice <alice@example.test> 1795176000 +0000\n\nmessage ";
    thread::scope(|scope| {
        let signers: Vec<_> = (0..100)
            .map(|number| {
                let payload = format!("{payload}{number}\n");
                let lab = &cached.lab;
                scope.spawn(move || lab.sign_at(lab.root(), payload.as_bytes()))
            })
            .collect();
        for signer in signers {
            let said = signer.join().unwrap();
            assert_eq!(said.code, 0, "{}", said.err);
            assert!(said.out.starts_with("-----BEGIN SIGNED MESSAGE-----"));
            assert!(!said.err.contains("not using the c"), "{}", said.err);
        }
    });
    assert_eq!((cached.logins(), cached.certificates()), (1, 1));
}

#[test]
fn a_login_is_made_shown_and_taken_back() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let who = cached.gitseal(&["whoami"]);
    assert_eq!(who.code, 1, "{}", who.err);
    assert!(who.err.contains("not logged in"));
    assert!(!cached.socket().exists(), "whoami starts no daemon");

    let said = cached.gitseal(&["login"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains(ALICE), "{}", said.out);
    assert_eq!(cached.logins(), 1);
    // Twice is once, unless it is asked for.
    cached.gitseal(&["login"]).ok();
    assert_eq!(cached.logins(), 1);
    cached.gitseal(&["login", "--again"]).ok();
    assert_eq!(cached.logins(), 2);

    let who = cached.json(&["whoami", "--json"]);
    assert_eq!(who["identity"], ALICE);
    assert_eq!(who["issuer"], cached.lab.issuer());
    let left = who["seconds_left"].as_u64().unwrap();
    assert!((500..=600).contains(&left), "{who}");

    let repository = cached.lab.repository("after", &[]);
    cached.commits(&repository, 1, true);
    cached.lab.good(&repository, "HEAD");
    assert_eq!(cached.logins(), 2, "the commit used the login");

    let said = cached.gitseal(&["logout"]);
    assert_eq!(said.code, 0);
    assert!(said.err.contains("logged out"));
    assert_eq!(cached.gitseal(&["whoami"]).code, 1);
    let status = cached.json(&["cache", "status", "--json"]);
    assert_eq!(status["running"], true);
    assert_eq!(status["credentials"].as_array().unwrap().len(), 0);

    cached.gitseal(&["cache", "stop"]).ok();
    let status = cached.json(&["cache", "status", "--json"]);
    assert_eq!(status["running"], false);
    // What is not running is not started to be stopped.
    cached.gitseal(&["cache", "stop"]).ok();
    assert_eq!(cached.daemon(), None);
}

/// `gitseal login` is for whom git would name as the committer, wherever git
/// has that from.
#[test]
fn a_login_ahead_is_for_gits_committer() {
    let Some(mut cached) = Cached::start() else {
        return;
    };
    let repository = cached.lab.repository("ahead", &[]);
    let config = cached.lab.home(".gitconfig");
    let plain = fs::read_to_string(&config).unwrap();
    // Then the committer is who logs in.
    cached.lab.set("GITSEAL_LOGIN_HINT", "");
    let usual = cached.lab.environment.clone();
    let mallory = plain.replace(&format!("email = {ALICE}"), "email = mallory@example.test");
    let committer = format!("{mallory}[committer]\n\temail = {ALICE}\n\tname = Al\n");
    let nobody = plain.replace(&format!("email = {ALICE}"), "useConfigOnly = false");
    for (config_text, variable) in [
        (committer, None),
        (mallory, Some("GIT_COMMITTER_EMAIL")),
        (nobody, Some("EMAIL")),
    ] {
        fs::write(&config, config_text).unwrap();
        cached.lab.environment.clone_from(&usual);
        cached
            .lab
            .environment
            .extend(variable.map(|name| (name.to_owned(), ALICE.to_owned())));
        drop(cached.gitseal(&["logout"]));
        let before = cached.certificates();
        let said = cached.gitseal(&["login"]);
        assert_eq!(said.code, 0, "{variable:?}: {}", said.err);
        cached.commits(&repository, 1, true);
        cached.lab.good(&repository, "HEAD");
        assert_eq!(cached.certificates(), before + 1, "{variable:?}");
    }
}

#[test]
fn another_wish_is_another_credential() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let repository = cached.lab.repository("settings", &[]);
    cached.commits(&repository, 2, true);
    assert_eq!(cached.certificates(), 1);
    // The same login from another directory is the same credential.
    let other = cached.lab.repository("other", &[]);
    cached.commits(&other, 1, true);
    assert_eq!(cached.certificates(), 1);
    // Another connector, another trusted root: nothing is reused.
    cached
        .lab
        .git(&other, &["config", "gitseal.connectorID", "elsewhere"]);
    cached.commits(&other, 1, true);
    assert_eq!(cached.certificates(), 2);
    // Another person is another wish; the reference issuer does not
    // know them, and Alice's credential is not taken instead.
    let said = cached.lab.git_at(
        &repository,
        [
            "-c",
            "gitseal.loginHint=mallory@example.test",
            "commit",
            "-q",
            "--allow-empty",
            "-S",
            "-m",
            "not hers",
        ],
    );
    assert_ne!(said.code, 0, "{}", said.err);
    assert_eq!(cached.certificates(), 2);
}

#[test]
fn a_daemon_that_is_killed_costs_one_login_and_no_commit() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let repository = cached.lab.repository("killed", &[]);
    for round in 1..=3 {
        cached.commits(&repository, 1, true);
        cached.lab.good(&repository, "HEAD");
        assert_eq!(cached.logins(), round);
        let daemon = cached.daemon().expect("the daemon runs");
        let killed = Command::new("kill")
            .args(["-9", &daemon.to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        until("the daemon's end", || {
            (cached.daemon() != Some(daemon)).then_some(())
        });
        assert!(cached.socket().exists(), "a stale socket is left");
    }
    // Killed at any moment while commits are made: each of them is signed.
    for pause in [0, 1, 2, 3, 5, 8, 13, 21] {
        thread::scope(|scope| {
            let committing = scope.spawn(|| cached.commits(&repository, 1, true));
            thread::sleep(Duration::from_millis(pause));
            if let Some(daemon) = cached.daemon() {
                drop(
                    Command::new("kill")
                        .args(["-9", &daemon.to_string()])
                        .status(),
                );
            }
            committing.join().unwrap();
        });
        cached.lab.good(&repository, "HEAD");
    }
}

#[test]
fn what_is_at_the_socket_never_blocks_a_commit() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let repository = cached.lab.repository("hostile", &[]);
    let place = cached.lab.path("place");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
    // git itself keeps what a helper says to itself when all went well.
    let commit = |path: &Path, says: &str| {
        let setting = format!("gitseal.credentialCache={}", path.display());
        let mut git = cached.lab.command("git", &repository);
        git.env_remove("GITSEAL_CREDENTIAL_CACHE").args([
            "-c",
            &setting,
            "commit",
            "-q",
            "--allow-empty",
            "-S",
            "-m",
            "still signed",
        ]);
        let began = Instant::now();
        let said = run(&mut git, b"");
        let took = began.elapsed();
        assert_eq!(said.code, 0, "{says}: {}", said.err);
        assert!(took < Duration::from_secs(10), "{says}: {took:?}");
        cached.lab.good(&repository, "HEAD");

        let mut helper = cached.lab.command(GITSEAL, &repository);
        helper
            .env("GITSEAL_CREDENTIAL_CACHE", path)
            .args(["--status-fd=2", "-bsau", "x"]);
        let said = run(&mut helper, PAYLOAD);
        assert_eq!(said.code, 0, "{says}: {}", said.err);
        let said = said.err;
        assert!(
            said.contains("not using the credential cache"),
            "{says}: {said}"
        );
        assert!(said.contains(says), "{says}: {said}");
    };
    // Somebody listens and never answers.
    let silent = place.join("silent.sock");
    let listener = UnixListener::bind(&silent).unwrap();
    fs::set_permissions(&silent, fs::Permissions::from_mode(0o600)).unwrap();
    commit(&silent, "in time");
    drop(listener);
    // A file, a symbolic link, a directory that everybody may write to.
    let file = place.join("file.sock");
    fs::write(&file, "").unwrap();
    commit(&file, "not a socket");
    let link = place.join("link.sock");
    std::os::unix::fs::symlink(&silent, &link).unwrap();
    commit(&link, "symbolic link");
    let open = cached.lab.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    commit(&open.join("cache.sock"), "is accessible by other users");
    let long = place.join("x".repeat(120));
    commit(&long, "the limit for a socket is");
    assert!(fs::read(&file).unwrap().is_empty(), "the file is untouched");
}

/// Each place that cannot be used says what to do about it.
#[test]
fn a_place_that_cannot_be_used_has_its_own_hint() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let file = cached.lab.path("file");
    fs::write(&file, "").unwrap();
    let open = cached.lab.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let long = cached.lab.path(&"x".repeat(120));
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    for (socket, what, hint) in [
        (
            name(&long),
            "bytes; the limit for a socket is",
            "a shorter path",
        ),
        (
            "cache.sock".to_owned(),
            "not the absolute path",
            "starts with / or ~/",
        ),
        (name(&file), "is not a socket", "another path"),
        (
            name(&open.join("s")),
            "is accessible by other users",
            "chmod 700",
        ),
        // Nothing can be made there, not by root either: the daemon says so.
        (
            "/proc/gitseal/s".to_owned(),
            "/proc/gitseal: ",
            "only you can access",
        ),
    ] {
        let said = |arguments: &[&str], input: &[u8]| {
            let mut command = cached.lab.command(GITSEAL, cached.lab.root());
            command
                .env("GITSEAL_CREDENTIAL_CACHE", &socket)
                .args(arguments);
            run(&mut command, input)
        };
        let login = said(&["login"], b"");
        assert_eq!(login.code, 1);
        let sign = said(&["--status-fd=2", "-bsau", "somebody"], PAYLOAD);
        assert_eq!(sign.code, 0);
        for said in [login, sign] {
            let said = said.err;
            for part in [what, hint] {
                assert!(said.contains(part), "{socket}: {part}: {said}");
            }
            assert!(!said.contains("next to gitseal"), "{socket}: {said}");
        }
    }
}

/// gitsign's programs would find a daemon there that they cannot speak to.
#[test]
fn no_daemon_is_started_in_gitsigns_place() {
    let Some(mut cached) = Cached::start() else {
        return;
    };
    let place = cached.lab.path("sigstore");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
    let socket = place.join("cache.sock");
    // As gitsign's daemon leaves it that was killed.
    drop(UnixListener::bind(&socket).unwrap());
    cached.lab.unset("GITSEAL_CREDENTIAL_CACHE");
    let ask = |program: &[&str], input: &[u8]| {
        let mut command = cached.lab.command(GITSEAL, cached.lab.root());
        command
            .env("GITSIGN_CREDENTIAL_CACHE", &socket)
            .args(program);
        run(&mut command, input)
    };
    let said = ask(&["--status-fd=2", "-bsau", "somebody"], PAYLOAD);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = said.err;
    assert_eq!(
        said.matches("GITSIGN_CREDENTIAL_CACHE is gitsign's")
            .count(),
        1,
        "{said}"
    );
    let said = ask(&["login"], b"");
    assert_eq!(said.code, 1);
    let said = said.err;
    assert!(said.contains("GITSEAL_CREDENTIAL_CACHE=auto"), "{said}");
    let said = ask(&["cache", "status"], b"").out;
    assert!(said.contains("gitseal starts none there"), "{said}");
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
    assert_eq!(
        fs::read_dir(&place).unwrap().count(),
        1,
        "nothing was added"
    );
    // With a name of gitseal's it is whoever set it that wants one there.
    let mut command = cached.lab.command(GITSEAL, cached.lab.root());
    command
        .env("GITSEAL_CREDENTIAL_CACHE", &socket)
        .arg("login");
    run(&mut command, b"").ok();
    let mut stop = cached.lab.command(GITSEAL, cached.lab.root());
    stop.env("GITSEAL_CREDENTIAL_CACHE", &socket)
        .args(["cache", "stop"]);
    run(&mut stop, b"").ok();
}

#[test]
fn who_waits_for_a_login_says_so() {
    let Some(cached) = Cached::start() else {
        return;
    };
    cached.gitseal(&["login"]).ok();
    let mut leader = cached.connect();
    let scope = leader.status().unwrap().remove(0).scope;
    assert!(leader.forget(&scope).unwrap());
    let lead = leader.acquire(&scope, 20, Duration::ZERO).unwrap();
    let AcquireOutcome::MustLogIn { key, .. } = lead else {
        panic!("{lead:?}");
    };
    thread::scope(|threads| {
        let log = cached.lab.path("waiting.log");
        let mut signer = cached.lab.command(GITSEAL, cached.lab.root());
        let payload = cached.lab.file("payload", PAYLOAD);
        signer
            .args(["--status-fd=2", "-bsau", "x"])
            .stdin(fs::File::open(payload).unwrap())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap());
        let waiting = threads.spawn(move || wait(&mut signer));
        let mut watcher = cached.connect();
        until("a waiting signer", || {
            (watcher.status().unwrap()[0].waiting > 0).then_some(())
        });
        let read = || fs::read_to_string(&log).unwrap();
        until("the message", || {
            read().contains("in progress").then_some(())
        });
        leader.fail(key, "the window was closed").unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
        let said = read();
        for part in [
            "for the login already in progress at http://127.0.0.1:",
            "for alice@example.test",
            "the window was closed",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    });
}

/// The issuer may have new keys: a token that is kept and still lives is then
/// one that the authority does not take.
#[test]
fn a_kept_token_that_is_not_taken_is_given_up() {
    let Some(cached) = Cached::start() else {
        return;
    };
    for refresh in [false, true] {
        let mut login = cached.lab.command(GITSEAL, cached.lab.root());
        login
            .env("GITSEAL_REFRESH", refresh.to_string())
            .args(["login", "--again"]);
        run(&mut login, b"").ok();
        let (logins, certificates) = (cached.logins(), cached.certificates());
        let mut daemon = cached.connect();
        let scope = daemon.status().unwrap().remove(0).scope;
        let token = daemon.token(&scope, TokenKind::Identity).unwrap().unwrap();
        let renewal = daemon.token(&scope, TokenKind::Refresh).unwrap();
        assert_eq!(renewal.is_some(), refresh);
        assert!(daemon.forget(&scope).unwrap());
        // As it was, with another signature.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let other = format!("{signed}.{first}{}", &signature[1..]);
        daemon
            .keep_token(&scope, TokenKind::Identity, &other, u64::from(u32::MAX))
            .unwrap();
        if let Some(renewal) = &renewal {
            daemon
                .keep_token(&scope, TokenKind::Refresh, renewal, 0)
                .unwrap();
        }
        let said = cached.sign();
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(
            said.err.contains("cached identity token was rejected"),
            "{}",
            said.err
        );
        assert_eq!(cached.certificates(), certificates + 1);
        assert_eq!(cached.logins(), logins + 1);
        let log = cached.lab.servers.log();
        let last = log
            .lines()
            .rfind(|line| line.contains("oidc: token issued user="))
            .unwrap()
            .to_owned();
        assert_eq!(last.contains("refresh"), refresh, "{last}");
        // What is kept now is good.
        let now = daemon.token(&scope, TokenKind::Identity).unwrap();
        assert!(now.is_some_and(|now| *now != other));
        let next = daemon.token(&scope, TokenKind::Refresh).unwrap();
        assert!(next.is_some() == refresh && (!refresh || next != renewal));
    }
}

/// The issuer takes each refresh token once: its successor must outlive a
/// failure of the authority.
#[test]
fn a_renewed_login_outlives_the_authority() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let mut login = cached.lab.command(GITSEAL, cached.lab.root());
    login.env("GITSEAL_REFRESH", "true").arg("login");
    run(&mut login, b"").ok();
    let mut daemon = cached.connect();
    let mut scope = daemon.status().unwrap().remove(0).scope;
    let renewal = daemon.token(&scope, TokenKind::Refresh).unwrap().unwrap();
    // An authority that says no.
    let authority = Stub::start(|_| {
        CannedResponse::json(400, &serde_json::json!({"code": 3, "message": "not you"}))
    });
    let address = authority.url.to_string();
    scope.authority = address.clone();
    daemon
        .keep_token(&scope, TokenKind::Refresh, &renewal, 0)
        .unwrap();
    let mut sign = cached.lab.command(GITSEAL, cached.lab.root());
    sign.env("GITSEAL_FULCIO_URL", &address)
        .env("GITSEAL_REFRESH", "true")
        .args(["--status-fd=2", "-bsau", "somebody"]);
    let said = run(&mut sign, PAYLOAD);
    assert_eq!(said.code, 1);
    let said = said.err;
    assert!(said.contains("not you"), "{said}");
    assert!(said.contains("gitseal login --again"), "{said}");
    let next = daemon.token(&scope, TokenKind::Refresh).unwrap().unwrap();
    assert!(*next != *renewal, "the successor is kept");
    assert_eq!(cached.logins(), 2);
}

impl Cached {
    /// A daemon on the default socket that asks this script.
    fn asking(&self, script: &str) -> Server {
        let askpass = self.lab.path("askpass");
        fs::write(&askpass, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new(daemon().unwrap());
        command
            .args(["--confirm", "--askpass"])
            .arg(askpass)
            .arg("--socket")
            .arg(self.socket());
        let mut started = Server::start(&mut command, self.lab.path("daemon.log"));
        started.wait(|| {
            let status = self.json(&["cache", "status", "--json"]);
            (status["running"] == true).then_some(())
        });
        started
    }
}

/// Not by another signature without the cache either.
#[test]
fn what_a_person_refuses_is_not_signed() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let repository = cached.lab.repository("refused", &[]);
    let refused = || {
        let began = Instant::now();
        let said = cached.sign();
        assert_eq!(said.code, 1, "{}", said.err);
        assert!(said.out.is_empty());
        assert!(began.elapsed() < Duration::from_secs(20));
        let said = said.err.to_owned();
        assert!(said.contains("was denied or timed out"), "{said}");
        assert!(!said.contains("without the credential cache"), "{said}");
        assert!(!said.contains("not using the c"), "{said}");
    };
    let daemon = cached.asking("exit 1");
    cached.gitseal(&["login"]).ok();
    refused();
    assert_ne!(cached.lab.commit(&repository, "refused").code, 0);
    drop(daemon);
    // The daemon is ended while it asks: that is no yes.
    let daemon = cached.asking("touch \"$0.asked\"; exec sleep 60");
    let asked = cached.lab.path("askpass.asked");
    let ended = thread::spawn(move || {
        until("the question", || asked.exists().then_some(()));
        drop(daemon);
    });
    refused();
    ended.join().unwrap();
    assert_eq!(cached.certificates(), 2, "one for each daemon");
    // And none takes its place.
    let said = cached.gitseal(&["login"]);
    assert_ne!(said.code, 0);
    assert_eq!(cached.daemon(), None);
    // A yes signs.
    let _daemon = cached.asking("exit 0");
    cached.commits(&repository, 1, true);
    cached.lab.good(&repository, "HEAD");
}

/// The daemon gets no token or key by argument or environment.
#[test]
fn d10_the_daemon_is_told_no_secret() {
    let Some(cached) = Cached::start() else {
        return;
    };
    let repository = cached.lab.repository("secrets", &[]);
    let mut command = cached.lab.command("git", &repository);
    command
        .env("SECRET_OF_THE_TEST", "s3cr3t-of-the-test")
        .env("SIGSTORE_ID_TOKEN", "")
        .args(["commit", "-q", "--allow-empty", "-S", "-m", "one"]);
    run(&mut command, b"").ok();
    let daemon = cached.daemon().expect("the daemon runs");
    let read = |name: &str| fs::read(format!("/proc/{daemon}/{name}"));
    let line = String::from_utf8_lossy(&read("cmdline").unwrap()).into_owned();
    assert!(!line.contains("s3cr3t"), "{line}");
    // Readable for root only, since the daemon is not dumpable.
    if let Ok(environment) = read("environ") {
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(!environment.contains("s3cr3t"), "{environment}");
    }
}
