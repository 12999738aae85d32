//! Attacks by configuration and environment (E1 to E5), and how settings reach
//! a verdict.

use std::{fs, path::Path};

use crate::{
    forge::{IDENTITY, ISSUER},
    stage::{GITSEAL, Stage, run},
    support::not_applicable,
};

/// E1: a repository that brings its own trust along.
#[test]
fn e1_a_repository_cannot_say_who_is_believed() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let root = stage.home("trusted_root.json");
    // Our own trust is the public Sigstore, which does not know the forge.
    stage
        .git(["config", "--global", "--unset", "gitseal.trustedRoot"])
        .ok();
    stage.local("gitseal.trustedRoot", root.to_str().unwrap());
    stage.local("gitseal.certificateIdentity", IDENTITY);
    stage.local("gitseal.certificateOidcIssuer", ISSUER);
    stage
        .git(["verify-commit", &id])
        .fails(1)
        .says("gitseal.trustedRoot in ")
        .says("not allowed in repository configuration")
        .says("[log-unknown]");
    stage.verify(&id).fails(1).says("[log-unknown]");
    // Unless the user says that this repository may.
    stage.config("gitseal.trustedRepository", stage.repo().to_str().unwrap());
    assert!(stage.shown(&id).ends_with("|fully"), "{}", stage.shown(&id));
}

#[test]
fn e1_not_through_an_include_or_a_worktree_either() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let root = stage.home("trusted_root.json");
    stage
        .git(["config", "--global", "--unset", "gitseal.trustedRoot"])
        .ok();
    let included = stage.path("included");
    fs::write(
        &included,
        format!("[gitseal]\n\ttrustedRoot = {}\n", root.display()),
    )
    .unwrap();
    stage.local("include.path", included.to_str().unwrap());
    stage
        .verify(&id)
        .fails(1)
        .says("not allowed in repository configuration");
    stage
        .git(["config", "--local", "--unset", "include.path"])
        .ok();
    stage.local("extensions.worktreeConfig", "true");
    stage
        .git([
            "config",
            "--worktree",
            "gitseal.trustedRoot",
            root.to_str().unwrap(),
        ])
        .ok();
    stage
        .verify(&id)
        .fails(1)
        .says("not allowed in repository configuration");
}

/// E1: a repository is trusted by where its configuration lies, not by where it
/// says that its work tree or its common directory is.
#[test]
fn e1_a_repository_cannot_pose_as_a_trusted_one() {
    let stage = Stage::new();
    stage.commit("one");
    stage
        .git(["config", "--global", "--unset", "gitseal.trustedRoot"])
        .ok();
    let trusted = stage.path("trusted");
    stage
        .git_at(&stage.path(""), ["init", "-q", trusted.to_str().unwrap()])
        .ok();
    stage
        .git_at(&trusted, ["config", "extensions.worktreeConfig", "true"])
        .ok();
    stage.config("gitseal.trustedRepository", trusted.to_str().unwrap());
    stage
        .git([
            "config",
            "--global",
            "--add",
            "gitseal.trustedRepository",
            &format!("{}/.git", trusted.display()),
        ])
        .ok();
    let trusted_root = |directory: &Path| {
        let version = stage.gitseal_at(directory, ["version", "--json"]).ok();
        version.json()["settings"]["trustedRoot"]["value"].clone()
    };
    let theirs = |name: &str| serde_json::Value::from(name);
    // What the user meant: the repository itself, and its linked work trees.
    stage
        .git_at(&trusted, ["config", "gitseal.trustedRoot", "/theirs"])
        .ok();
    assert_eq!(trusted_root(&trusted), theirs("/theirs"));
    stage
        .git_at(
            &trusted,
            [
                "-c",
                "user.name=x",
                "-c",
                "user.email=x",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "x",
            ],
        )
        .ok();
    let linked = stage.path("linked");
    stage
        .git_at(
            &trusted,
            ["worktree", "add", "-q", linked.to_str().unwrap()],
        )
        .ok();
    assert_eq!(trusted_root(&linked), theirs("/theirs"));
    stage
        .git_at(&trusted, ["config", "--unset", "gitseal.trustedRoot"])
        .ok();

    stage.local("gitseal.trustedRoot", "/evil");
    stage.local("core.worktree", trusted.to_str().unwrap());
    assert_eq!(trusted_root(&stage.repo()), serde_json::Value::Null);

    let posing = stage.path("posing");
    let directory = posing.join(".git");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(
        directory.join("commondir"),
        format!("{}/.git\n", trusted.display()),
    )
    .unwrap();
    fs::write(
        directory.join("config.worktree"),
        "[gitseal]\n\ttrustedRoot = /evil\n",
    )
    .unwrap();
    // Git takes its work tree's configuration; here it is no repository at all.
    stage
        .gitseal_at(&posing, ["version", "--json"])
        .fails(2)
        .says("which is not found here");
}

/// E1: a repository may choose the services that sign, but not in silence, and
/// it does not get the client secret.
#[test]
fn e1_a_repository_that_chooses_who_gets_the_token() {
    let mut stage = Stage::new();
    stage.commit("one");
    stage
        .environment
        .push(("SIGSTORE_ID_TOKEN".into(), "no token".into()));
    let sign = |stage: &Stage| {
        let arguments = ["--status-fd=2", "-bsau", "key"];
        stage.helper(&arguments, "", b"data")
    };
    stage.config("gitseal.fulcio", "https://ours.example");
    let err = sign(&stage).fails(1).err;
    assert!(!err.contains("can impersonate you"), "{err}");
    stage.local("gitseal.fulcio", "https://evil.example");
    // The token is in the variable: nobody is asked, and it does not go there.
    let err = sign(&stage).fails(2).err;
    for part in [
        "the envvar token",
        "gitseal.fulcio in ",
        ".git/config (local)",
        "git config --global",
        "gitseal.trustedRepository",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    // A person may, with a warning.
    stage.local("gitseal.tokenProvider", "oob");
    sign(&stage)
        .fails(1)
        .says("selects the certificate authority https://evil.example/ (gitseal.fulcio in ");
    stage.config("gitseal.tokenProvider", "headless");
    stage
        .git(["config", "--local", "--unset", "gitseal.tokenProvider"])
        .ok();
    stage.local("gitseal.issuer", "https://evil.example");
    let secret = stage.home("secret");
    fs::write(&secret, "secret").unwrap();
    stage.config("gitseal.clientSecretFile", secret.to_str().unwrap());
    sign(&stage)
        .fails(2)
        .says("refusing to send clientSecretFile to an issuer set by this repository");
    stage.config("gitseal.trustedRepository", stage.repo().to_str().unwrap());
    stage.config("gitseal.tokenProvider", "envvar");
    let err = sign(&stage).fails(1).err;
    assert!(!err.contains("can impersonate you"), "{err}");
}

/// E1: no token that is not a person's goes where a repository says, whichever
/// key says it, and a repository does not choose such a token.
#[test]
fn e1_a_repository_gets_no_token_that_nobody_is_asked_for() {
    let evil = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    evil.set_nonblocking(true).unwrap();
    let address = format!("http://{}", evil.local_addr().unwrap());
    for (variable, provider) in [
        ("SIGSTORE_ID_TOKEN", "envvar"),
        ("GITHUB_ACTIONS", "github-actions"),
    ] {
        for (key, value) in [
            ("gitsign.fulcio", address.as_str()),
            ("gitsign.clientID", "sts.amazonaws.com"),
            ("gitsign.issuer", address.as_str()),
        ] {
            let mut stage = Stage::new();
            stage
                .environment
                .push((variable.to_owned(), "true".to_owned()));
            stage.local(key, value);
            for arguments in [&["--status-fd=2", "-bsau", "key"][..], &["login"]] {
                // `login` has nowhere to keep one without the cache.
                stage
                    .environment
                    .push(("GITSEAL_CREDENTIAL_CACHE".to_owned(), "auto".to_owned()));
                let err = stage.helper(arguments, "", b"data").fails(2).err;
                assert!(
                    err.contains(&format!("the {provider} token")),
                    "{key}: {err}"
                );
                assert!(err.contains(&format!("{key} in ")), "{key}: {err}");
            }
        }
    }
    // Azure's is for the cluster, and taken by name only: not by a repository's.
    let mut stage = Stage::new();
    let token = stage.home("token");
    fs::write(&token, "token").unwrap();
    stage.environment.push((
        "AZURE_FEDERATED_TOKEN_FILE".into(),
        token.to_str().unwrap().into(),
    ));
    stage.config("gitseal.issuer", "http://127.0.0.1:1");
    stage.local("gitsign.fulcio", &address);
    for value in ["azure", "headless", "envvar", ""] {
        stage.local("gitsign.tokenProvider", value);
        stage
            .helper(&["--status-fd=2", "-bsau", "key"], "", b"data")
            .fails(1)
            .says("gitsign.tokenProvider in ")
            .says("not allowed in repository configuration");
    }
    assert!(evil.accept().is_err(), "the repository's server was asked");
}

/// E2: looking at a log must not empty a file.
#[test]
fn e2_a_repository_cannot_name_a_log_file() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let victim = stage.home("bashrc");
    fs::write(&victim, "precious\n").unwrap();
    for key in ["gitsign.logPath", "gitseal.logPath"] {
        stage.local(key, victim.to_str().unwrap());
    }
    stage.git(["log", "-1", "--show-signature", &id]).ok();
    stage.verify(&id).ok();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    // The user may, and even then what stands there stays.
    stage.config("gitseal.logPath", victim.to_str().unwrap());
    stage
        .git(["config", "--local", "--unset", "gitsign.logPath"])
        .ok();
    stage
        .git(["config", "--local", "--unset", "gitseal.logPath"])
        .ok();
    stage.git(["verify-commit", &id]).ok();
    let log = fs::read_to_string(&victim).unwrap();
    assert!(log.starts_with("precious\n"), "{log}");
    assert!(log.contains("Good signature from"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

/// E3: no program of a repository's choice.
#[test]
fn e3_a_repository_cannot_name_a_program() {
    let stage = Stage::new();
    stage.commit("one");
    let marker = stage.path("marker");
    for key in ["gitsign.urlOpener", "gitseal.urlOpener"] {
        stage.local(key, &format!("touch {} {{{{.URL}}}}", marker.display()));
    }
    stage
        .verify("HEAD")
        .ok()
        .says("gitseal.urlOpener in ")
        .says("not allowed in repository configuration");
    assert!(!marker.exists());
}

/// E4: what a hostile repository makes git start, nothing here starts.
#[test]
fn e4_nothing_of_the_repository_is_run() {
    let stage = Stage::new();
    stage.commit("one");
    let marker = stage.path("marker");
    let touch = format!("touch {}", marker.display());
    for key in [
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.editor",
        "diff.external",
        "gpg.program",
        "gpg.x509.program",
        "credential.helper",
        "alias.verify",
        "filter.x.smudge",
    ] {
        stage.local(key, &touch);
    }
    stage.verify("HEAD").ok();
    stage.gitseal(["show"]).ok();
    stage.gitseal(["explain", "--offline"]).ok();
    stage.gitseal(["version"]).ok();
    assert!(!marker.exists());
}

/// E4, ownership: the configuration of somebody else's repository is left aside.
#[cfg(unix)]
#[test]
fn e4_a_repository_of_somebody_else() {
    let mut stage = Stage::new();
    stage.commit("one");
    stage.local("gitsign.fulcio", "https://evil.example");
    let repo = stage.repo();
    let chown = |owner: &str| {
        std::process::Command::new("chown")
            .args(["-R", owner])
            .arg(&repo)
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !chown("12345") {
        not_applicable("only root can give a repository to another user");
        return;
    }
    let version = stage.gitseal(["version", "--json"]).ok();
    version.clone().says("is owned by another user");
    assert_eq!(
        version.json()["settings"]["fulcio"]["value"],
        "https://fulcio.sigstore.dev"
    );
    stage.verify("HEAD").ok();
    // In a hook GIT_DIR names the repository, and Git does not look at its owner.
    let git_dir = repo.join(".git");
    let mut hook = stage.command(GITSEAL, &repo);
    hook.args(["version", "--json"]).env("GIT_DIR", &git_dir);
    let version = run(&mut hook, b"").ok();
    version.clone().says("is owned by another user");
    assert_eq!(
        version.json()["settings"]["fulcio"]["value"],
        "https://fulcio.sigstore.dev"
    );
    stage.config("safe.directory", repo.to_str().unwrap());
    for git_dir in [None, Some(git_dir)] {
        if let Some(git_dir) = git_dir {
            stage.set("GIT_DIR", git_dir.to_str().unwrap());
        }
        let version = stage.gitseal(["version", "--json"]).ok();
        assert_eq!(
            version.json()["settings"]["fulcio"]["value"],
            "https://evil.example"
        );
    }
}

/// E5: a value with a line break is one value.
#[test]
fn e5_a_value_of_several_lines_sets_nothing_else() {
    let stage = Stage::new();
    stage.commit("one");
    stage.local("foo.bar", "x\ngitsign.fulcio https://evil.example");
    stage.config("user.name", "x\ngitseal.trustedRoot=/evil");
    let version = stage.gitseal(["version", "--json"]).ok();
    assert_eq!(
        version.json()["settings"]["fulcio"]["origin"],
        "built-in default"
    );
    stage.config("gitsign.connectorID", "x\ny");
    stage
        .gitseal(["version"])
        .fails(2)
        .says("gitseal.connectorID")
        .says("line break");
}

#[test]
fn an_unreadable_setting_stops_everything_and_says_where_it_is() {
    let stage = Stage::new();
    let id = stage.commit("one");
    stage.config("gitsign.rekorMode", "sometimes");
    stage
        .git(["verify-commit", &id])
        .fails(1)
        .says("gitsign.rekorMode in ")
        .says("sometimes");
    assert!(stage.shown(&id).starts_with("E|"), "{}", stage.shown(&id));
    stage.verify(&id).fails(2).says("offline, online");
    stage.gitseal(["version"]).fails(2).says("gitseal version ");
    stage.config("gitsign.rekorMode", "offline");
    stage.config("gitseal.trustedRoot", "/nowhere/trusted_root.json");
    stage
        .verify(&id)
        .fails(2)
        .says("cannot read /nowhere/trusted_root.json");
    assert!(stage.shown(&id).starts_with("E|"), "{}", stage.shown(&id));
}

#[test]
fn settings_of_the_command_line_of_git() {
    let stage = Stage::new();
    let id = stage.commit("one");
    let identity = format!("gitseal.certificateIdentity={IDENTITY}");
    let issuer = format!("gitseal.certificateOidcIssuer={ISSUER}");
    let shown = stage
        .git([
            "-c",
            &identity,
            "-c",
            &issuer,
            "log",
            "-1",
            "--format=%GT",
            &id,
        ])
        .ok();
    assert_eq!(shown.line(), "fully");
    let mut stage = stage;
    stage.environment = [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "gitseal.certificateIdentity"),
        ("GIT_CONFIG_VALUE_0", IDENTITY),
        ("GIT_CONFIG_KEY_1", "gitseal.certificateOidcIssuer"),
        ("GIT_CONFIG_VALUE_1", ISSUER),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    assert!(stage.shown(&id).ends_with("|fully"));
    stage.environment = vec![("GIT_CONFIG_PARAMETERS".into(), "gitseal.rekor=x".into())];
    stage.gitseal(["version"]).fails(2).says("bogus format");
}

#[test]
fn variables_win_and_gitsigns_files_are_read() {
    let mut stage = Stage::new();
    let id = stage.commit("one");
    stage.config("gitseal.trustedRoot", "/nowhere");
    let root = stage.home("trusted_root.json");
    stage.environment = vec![(
        "GITSEAL_TRUSTED_ROOT".into(),
        root.to_str().unwrap().to_owned(),
    )];
    stage.verify(&id).ok();
    // gitsign's three files instead.
    let pem = |label: &str, der: &[u8]| crate::forge::pem(label, der);
    let lab = &stage.lab;
    fs::write(
        stage.home("chain.pem"),
        pem("CERTIFICATE", &lab.intermediate_certificate)
            + &pem("CERTIFICATE", &lab.root_certificate),
    )
    .unwrap();
    fs::write(
        stage.home("rekor.pub"),
        pem("PUBLIC KEY", &lab.rekor.spki()),
    )
    .unwrap();
    fs::write(stage.home("ct.pub"), pem("PUBLIC KEY", &lab.ct.spki())).unwrap();
    let path = |name: &str| stage.home(name).to_str().unwrap().to_owned();
    let environment = vec![
        ("GITSEAL_TRUSTED_ROOT".to_owned(), String::new()),
        ("SIGSTORE_ROOT_FILE".to_owned(), path("chain.pem")),
        ("SIGSTORE_REKOR_PUBLIC_KEY".to_owned(), path("rekor.pub")),
        ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE".to_owned(), path("ct.pub")),
    ];
    stage.environment = environment;
    stage.verify(&id).ok();
    stage.git(["verify-commit", &id]).ok();
    stage.environment[3].1 = stage.home("rekor.pub").to_str().unwrap().to_owned();
    stage.verify(&id).fails(1).says("step 8");
}

/// Half a rule is no rule.
#[test]
fn an_identity_without_an_issuer_in_the_settings() {
    let stage = Stage::new();
    let id = stage.commit("one");
    stage.config("gitseal.certificateIdentity", IDENTITY);
    stage
        .git(["verify-commit", &id])
        .fails(1)
        .says("without an issuer");
    assert!(stage.shown(&id).starts_with("E|"));
}
