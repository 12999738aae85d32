#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use super::*;

fn value(key: &str, value: Option<&str>, scope: ConfigScope) -> ConfigValue {
    ConfigValue {
        key: key.to_owned(),
        value: value.map(|text| text.as_bytes().to_vec()),
        scope,
        file: Some(PathBuf::from("/etc/x")),
    }
}

fn global(key: &str, text: &str) -> ConfigValue {
    value(key, Some(text), ConfigScope::Global)
}

fn resolve(config: &[ConfigValue], environment: &[(&str, &str)]) -> Result<Settings, SettingError> {
    let environment: HashMap<String, OsString> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
        .collect();
    let variable = |name: &str| match name {
        "HOME" => Some(OsString::from("/home/u")),
        name => environment.get(name).cloned(),
    };
    Settings::resolve_for(config, &variable, &[PathBuf::from("/srv/repo")], false)
}

#[test]
fn built_in_defaults_are_gitsigns_but_for_the_mode() {
    let settings = resolve(&[], &[]).unwrap();
    assert_eq!(
        settings.fulcio.value.as_str(),
        "https://fulcio.sigstore.dev"
    );
    assert_eq!(settings.rekor.value.as_str(), "https://rekor.sigstore.dev");
    assert_eq!(
        settings.issuer.value.as_str(),
        "https://oauth2.sigstore.dev/auth"
    );
    assert_eq!(settings.client_id.value, "sigstore");
    assert_eq!(settings.rekor_mode.value, RekorMode::Offline);
    assert_eq!(settings.rekor_version.value, RekorVersion::V1);
    assert!(!settings.match_committer.value);
    assert!(settings.autoclose.value);
    assert_eq!(settings.autoclose_timeout.value, 6);
    assert_eq!(settings.timestamp_server.value, None);
    assert_eq!(settings.fulcio.origin, Origin::Default);
}

#[test]
fn default_then_config_then_environment() {
    let config = [
        global("gitseal.fulcio", "https://ours.example"),
        global("gitsign.fulcio", "https://theirs.example"),
        global("gitsign.rekor", "https://rekor.example"),
    ];
    let settings = resolve(&config, &[]).unwrap();
    assert_eq!(settings.fulcio.value.as_str(), "https://ours.example");
    assert_eq!(settings.rekor.value.as_str(), "https://rekor.example");
    let settings = resolve(
        &config,
        &[
            ("SIGSTORE_FULCIO_URL", "https://s.example"),
            ("GITSIGN_FULCIO_URL", "https://g.example"),
        ],
    )
    .unwrap();
    assert_eq!(settings.fulcio.value.as_str(), "https://g.example");
    assert_eq!(
        settings.fulcio.origin.to_string(),
        "environment variable GITSIGN_FULCIO_URL"
    );
    let settings = resolve(
        &config,
        &[
            ("GITSEAL_FULCIO_URL", "https://o.example"),
            ("GITSIGN_FULCIO_URL", "https://g.example"),
        ],
    )
    .unwrap();
    assert_eq!(settings.fulcio.value.as_str(), "https://o.example");
}

#[test]
fn the_last_of_several_values_counts_and_keys_ignore_case() {
    let config = [
        global("gitsign.rekormode", "online"),
        value("gitsign.rekormode", Some("offline"), ConfigScope::Local),
    ];
    let settings = resolve(&config, &[]).unwrap();
    assert_eq!(settings.rekor_mode.value, RekorMode::Offline);
    assert_eq!(
        settings.rekor_mode.origin.to_string(),
        "gitsign.rekorMode in /etc/x (local)"
    );
}

#[test]
fn an_empty_text_is_the_default_again() {
    let config = [
        global("gitsign.fulcio", "https://theirs.example"),
        global("gitseal.trustedroot", "/x"),
    ];
    let environment = [("GITSIGN_FULCIO_URL", ""), ("GITSEAL_TRUSTED_ROOT", "")];
    let settings = resolve(&config, &environment).unwrap();
    assert_eq!(
        settings.fulcio.value.as_str(),
        "https://fulcio.sigstore.dev"
    );
    assert_eq!(settings.trusted_root.value, None);
}

#[test]
fn booleans_as_git_reads_them() {
    for (text, wanted) in [
        ("true", true),
        ("YES", true),
        ("on", true),
        ("1", true),
        ("2k", true),
        ("False", false),
        ("no", false),
        ("off", false),
        ("0", false),
        ("", false),
    ] {
        let settings = resolve(&[global("gitsign.matchcommitter", text)], &[]).unwrap();
        assert_eq!(settings.match_committer.value, wanted, "{text:?}");
    }
    let without = [value("gitsign.matchcommitter", None, ConfigScope::Global)];
    assert!(resolve(&without, &[]).unwrap().match_committer.value);
    assert!(
        !resolve(&[], &[("GITSIGN_AUTOCLOSE", "False")])
            .unwrap()
            .autoclose
            .value
    );
    assert!(
        resolve(&[], &[("GITSIGN_AUTOCLOSE", "")])
            .unwrap()
            .autoclose
            .value
    );
}

#[test]
fn numbers_as_git_reads_them() {
    assert_eq!(integer("1k"), Some(1024));
    assert_eq!(integer("-2M"), Some(-2 << 20));
    assert_eq!(integer("3g"), Some(3 << 30));
    assert_eq!(integer("0x10"), Some(16));
    assert_eq!(integer("-010k"), Some(-8192));
    assert_eq!(integer(" +7"), Some(7));
    assert_eq!(integer("0"), Some(0));
    assert_eq!(boolean("0x0"), Some(false));
    assert_eq!(boolean("3g"), None, "more than an int");
    for bad in [
        "",
        "k",
        "1.5",
        "1kb",
        "0x",
        "0xk",
        "08",
        "--1",
        "+-1",
        "- 1",
        "1 ",
        "99999999999999999999",
        "9999999999999g",
        "1ä",
    ] {
        assert_eq!(integer(bad), None, "{bad:?}");
    }
    let settings = resolve(&[global("gitsign.autoclosetimeout", "1k")], &[]).unwrap();
    assert_eq!(settings.autoclose_timeout.value, 1024);
}

#[test]
fn a_value_that_cannot_be_read_names_key_value_and_place() {
    let error = |config: &[ConfigValue], environment: &[(&str, &str)]| {
        resolve(config, environment).unwrap_err().to_string()
    };
    assert_eq!(
        error(&[global("gitsign.matchcommitter", "perhaps")], &[]),
        "invalid gitseal.matchCommitter \"perhaps\" (gitsign.matchCommitter in /etc/x \
         (global)): expected true or false (or yes, no, on, off, 1, 0)"
    );
    assert_eq!(
        error(&[], &[("GITSIGN_AUTOCLOSE_TIMEOUT", "abc")]),
        "invalid gitseal.autocloseTimeout \"abc\" (environment variable \
         GITSIGN_AUTOCLOSE_TIMEOUT): expected an integer from 1 to 3600"
    );
    assert!(error(&[global("gitsign.rekormode", "sometimes")], &[]).contains("offline, online"));
    assert!(error(&[global("gitsign.rekorversion", "3")], &[]).contains("one of 1, 2"));
    assert!(error(&[value("gitsign.fulcio", None, ConfigScope::Global)], &[]).contains("no value"));
    assert!(error(&[global("gitsign.enablesigstorego", "x")], &[]).contains("true or false"));
}

#[test]
fn addresses_are_plain() {
    for bad in [
        "ftp://x.example",
        "https://user:secret@x.example",
        "https://x.example/?a=b",
        "https://x.example/#f",
        "x.example",
        "file:///etc/passwd",
        "https://x.example/a b",
    ] {
        assert!(
            resolve(&[global("gitsign.rekor", bad)], &[]).is_err(),
            "{bad}"
        );
    }
    let url = ServiceUrl::parse("http://127.0.0.1:8080/").unwrap();
    assert_eq!(
        (url.as_str(), url.base()),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080")
    );
}

/// E5: a line break in a value is no second value.
#[test]
fn e5_line_breaks_are_refused() {
    for text in ["x\ngitsign.fulcio https://evil.example", "a\rb", "a\0b"] {
        let error = resolve(&[global("gitsign.connectorid", text)], &[]).unwrap_err();
        assert!(error.reason.contains("line break"), "{error}");
    }
    let long = "a".repeat(MAX_VALUE + 1);
    assert!(resolve(&[global("gitsign.connectorid", &long)], &[]).is_err());
}

/// E1, E2, E3: what a repository says about trust, files and programs.
#[test]
fn e1_e2_e3_a_repository_does_not_say_who_is_believed() {
    for key in [
        "gitsign.fulcioroot",
        "gitsign.timestampcertchain",
        "gitsign.logpath",
        "gitsign.urlopener",
        "gitsign.clientsecretfile",
        "gitseal.trustedroot",
        "gitseal.rekorpublickey",
        "gitseal.ctlogpublickey",
        "gitseal.certificateidentity",
        "gitseal.certificateidentityregexp",
        "gitseal.certificateoidcissuer",
        "gitseal.certificateoidcissuerregexp",
        "gitseal.credentialcache",
    ] {
        for scope in [ConfigScope::Local, ConfigScope::Worktree] {
            let config = [value(key, Some("/evil"), scope)];
            let settings = resolve(&config, &[]).unwrap();
            assert_eq!(settings.ignored.len(), 1, "{key}");
            assert!(
                settings.warnings().next().unwrap().starts_with("ignoring "),
                "{key}"
            );
            let untouched = settings
                .rows()
                .all(|(_, _, origin)| *origin == Origin::Default);
            assert!(untouched, "{key}");
        }
        for scope in [
            ConfigScope::System,
            ConfigScope::Global,
            ConfigScope::Command,
        ] {
            let config = [value(key, Some("/mine"), scope)];
            let settings = resolve(&config, &[]).unwrap();
            assert!(settings.ignored.is_empty(), "{key}");
            assert!(
                settings.rows().any(|(_, text, _)| text == Some("/mine")),
                "{key}"
            );
        }
    }
}

#[test]
fn a_repository_may_name_services_for_signing_but_not_where_entries_are_looked_up() {
    let config = [
        global("gitsign.rekor", "https://mine.example"),
        value(
            "gitsign.rekor",
            Some("https://repo.example"),
            ConfigScope::Local,
        ),
        value(
            "gitsign.fulcio",
            Some("https://repo.example"),
            ConfigScope::Local,
        ),
    ];
    let settings = resolve(&config, &[]).unwrap();
    assert_eq!(settings.fulcio.value.as_str(), "https://repo.example");
    assert_eq!(settings.rekor.value.as_str(), "https://repo.example");
    assert_eq!(settings.rekor_lookup.value.as_str(), "https://mine.example");
    let settings = resolve(&config, &[("GITSIGN_REKOR_URL", "https://e.example")]).unwrap();
    assert_eq!(settings.rekor_lookup.value.as_str(), "https://e.example");
}

/// E1, E2, E3: each row of the table, in full. What decides about trust, names a
/// file or a program, or makes verification use the network is not in the first
/// four lists.
#[test]
fn e1_each_row_says_what_a_repository_may_set() {
    // Services and texts of a signature, and how a page looks.
    const ANYWHERE: [&str; 11] = [
        "fulcio",
        "rekorVersion",
        "enableSigstoreGo",
        "issuer",
        "clientID",
        "redirectURL",
        "connectorID",
        "loginHint",
        "timestampServerURL",
        "autoclose",
        "autocloseTimeout",
    ];
    const FOR_SIGNING: [&str; 2] = ["rekor", "rekorMode"];
    const IF_TRUE: [&str; 1] = ["matchCommitter"];
    const IF_HARMLESS: [&str; 1] = ["tokenProvider"];
    const NEVER: [&str; 21] = [
        "clientSecretFile",
        "tokenFile",
        "refresh",
        "confirmIdentity",
        "trustedRoot",
        "fulcioRoot",
        "rekorPublicKey",
        "ctLogPublicKey",
        "timestampCertChain",
        "certificateIdentity",
        "certificateIdentityRegexp",
        "certificateOidcIssuer",
        "certificateOidcIssuerRegexp",
        "logPath",
        "urlOpener",
        "credentialCache",
        "policy",
        "policyRoot",
        "policyRef",
        "verdictLog",
        "trustedRepository",
    ];
    let sample = |row: &Row| match (row.key, row.kind) {
        (SettingKey::TokenProvider, _) => "device",
        (_, ValueKind::Url) => "https://repo.example",
        (_, ValueKind::Boolean) => "true",
        (_, ValueKind::Number(..)) => "7",
        (_, ValueKind::Choice(choices)) => choices[choices.len() - 1],
        _ => "/x",
    };
    let mut listed = 0;
    for row in TABLE {
        let is_in = |names: &[&str]| names.contains(&row.name);
        let key = format!("gitseal.{}", row.name.to_ascii_lowercase());
        for scope in [ConfigScope::Local, ConfigScope::Worktree] {
            let set = |text: &str| resolve(&[value(&key, Some(text), scope)], &[]).unwrap();
            let settings = set(sample(row));
            let is_used = settings
                .rows()
                .any(|(other, _, origin)| other.key == row.key && *origin != Origin::Default);
            assert_eq!(is_used, !is_in(&NEVER), "{key}");
            assert_eq!(settings.ignored.is_empty(), !is_in(&NEVER), "{key}");
            if is_in(&IF_TRUE) {
                assert_eq!(set("false").ignored.len(), 1, "{key}");
                assert_eq!(set("").ignored.len(), 1, "{key}");
            }
            if is_in(&IF_HARMLESS) {
                assert_eq!(set("filesystem").ignored.len(), 1, "{key}");
            }
            assert_eq!(settings.rekor_lookup.origin, Origin::Default, "{key}");
            assert_eq!(settings.rekor_mode_lookup.origin, Origin::Default, "{key}");
        }
        listed += [&ANYWHERE[..], &FOR_SIGNING, &IF_TRUE, &IF_HARMLESS, &NEVER]
            .iter()
            .filter(|names| is_in(names))
            .count();
    }
    assert_eq!(listed, TABLE.len(), "a row is in no list, or in two");
}

/// A repository does not make Git's verification query a log.
#[test]
fn e1_the_mode_of_a_repository_is_for_signing() {
    let local = value("gitsign.rekormode", Some("online"), ConfigScope::Local);
    let settings = resolve(std::slice::from_ref(&local), &[]).unwrap();
    assert_eq!(settings.rekor_mode.value, RekorMode::Online);
    assert_eq!(settings.rekor_mode_lookup.value, RekorMode::Offline);
    let user = global("gitseal.rekormode", "online");
    let settings = resolve(&[user, local], &[]).unwrap();
    assert_eq!(settings.rekor_mode_lookup.value, RekorMode::Online);
}

/// A user who requires the committer to be the signer keeps that in every
/// repository.
#[test]
fn e1_a_repository_only_tightens_the_committer() {
    let mine = global("gitseal.matchcommitter", "true");
    for text in [Some("false"), Some("0"), Some("off"), Some("")] {
        let theirs = value("gitsign.matchcommitter", text, ConfigScope::Local);
        let settings = resolve(&[mine.clone(), theirs], &[]).unwrap();
        assert!(settings.match_committer.value, "{text:?}");
    }
    for text in [Some("true"), Some("yes"), Some("1"), None] {
        let theirs = value("gitsign.matchcommitter", text, ConfigScope::Local);
        let settings = resolve(&[theirs], &[]).unwrap();
        assert!(settings.match_committer.value, "{text:?}");
    }
}

#[test]
fn a_relative_path_is_relative_to_its_file() {
    let at = |file: Option<&str>, text: &str| {
        let mut found = global("gitseal.trustedroot", text);
        found.file = file.map(PathBuf::from);
        resolve(&[found], &[])
    };
    let path = |file, text| at(file, text).unwrap().trusted_root.value.unwrap();
    let file = Some("/home/u/.config/git/config");
    for (text, path_of) in [
        ("tr.json", "/home/u/.config/git/tr.json"),
        ("../tr.json", "/home/u/.config/git/../tr.json"),
        ("/srv/tr.json", "/srv/tr.json"),
        ("~/tr.json", "/home/u/tr.json"),
        ("~//srv/tr.json", "/home/u/srv/tr.json"),
    ] {
        assert_eq!(path(file, text), Path::new(path_of), "{text}");
    }
    // On a command line and in a variable, to the current directory.
    assert_eq!(path(None, "tr.json"), Path::new("tr.json"));
    let settings = resolve(&[], &[("GITSEAL_TRUSTED_ROOT", "tr.json")]).unwrap();
    assert_eq!(settings.trusted_root.value, Some(PathBuf::from("tr.json")));
    for (file, text) in [
        (file, "~root/tr.json"),
        (file, "%(prefix)/tr.json"),
        (file, ":(optional)tr.json"),
        (Some("config"), "tr.json"),
    ] {
        assert!(at(file, text).is_err(), "{text}");
    }
}

#[test]
fn a_setting_that_is_renamed_is_an_error_in_every_scope() {
    for scope in [
        ConfigScope::System,
        ConfigScope::Global,
        ConfigScope::Local,
        ConfigScope::Worktree,
        ConfigScope::Command,
    ] {
        let config = [value("gitseal.trustroot", Some("HEAD"), scope)];
        let error = resolve(&config, &[]).unwrap_err().to_string();
        assert!(error.contains("gitseal.policyRoot"), "{error}");
        assert!(error.contains("gitseal.trustRoot in /etc/x"), "{error}");
    }
    let error = resolve(&[], &[("GITSEAL_TRUST_ROOT", "")]).unwrap_err();
    assert!(error.to_string().contains("GITSEAL_POLICY_ROOT"), "{error}");
}

#[test]
fn a_second_identity_in_one_file_is_an_error() {
    let key = "gitseal.certificateidentity";
    let twice = [
        global(key, "alice@example.test"),
        global(key, "bob@example.test"),
    ];
    let error = resolve(&twice, &[]).unwrap_err().to_string();
    for part in ["alice@example.test", "bob@example.test", "/etc/x"] {
        assert!(error.contains(part), "{error}");
    }
    // The same again, after a reset, in another file, or on a command line.
    let last = |config: &[ConfigValue]| resolve(config, &[]).unwrap().certificate_identity.value;
    let [alice, bob] = twice;
    let bobs = Some("bob@example.test".to_owned());
    assert!(last(&[alice.clone(), alice.clone()]).is_some());
    assert_eq!(last(&[alice.clone(), global(key, ""), bob.clone()]), bobs);
    let mut elsewhere = bob.clone();
    elsewhere.file = Some(PathBuf::from("/home/u/work"));
    assert_eq!(last(&[alice.clone(), elsewhere]), bobs);
    let on_command_line = [alice, bob].map(|mut value| {
        (value.scope, value.file) = (ConfigScope::Command, None);
        value
    });
    assert_eq!(last(&on_command_line), bobs);
}

#[test]
fn the_user_may_trust_a_repository() {
    let local = value(
        "gitsign.fulcioroot",
        Some("/srv/ca.pem"),
        ConfigScope::Local,
    );
    let honoured = |named: &[ConfigValue]| {
        let mut config = named.to_vec();
        config.push(local.clone());
        resolve(&config, &[]).unwrap().fulcio_root.value.is_some()
    };
    let named = |text: &str| global("gitseal.trustedrepository", text);
    assert!(honoured(&[named("/srv/repo")]));
    assert!(honoured(&[named("/elsewhere"), named("/srv/repo")]));
    assert!(honoured(&[named("/srv/*")]));
    assert!(honoured(&[named("*")]));
    assert!(!honoured(&[named("/srv")]));
    assert!(!honoured(&[named("/srv/repo2")]));
    assert!(!honoured(&[named("/srv/repo"), named("")]));
    assert!(!honoured(&[value(
        "gitseal.trustedrepository",
        Some("*"),
        ConfigScope::Local
    )]));
}

#[test]
fn unknown_keys_are_noticed_and_paths_know_home() {
    let config = [
        global("gitseal.rekormod", "online"),
        global("gitsign.trustedroot", "/x"),
        global("gitseal.trustedroot", "~/tr.json"),
    ];
    let settings = resolve(&config, &[]).unwrap();
    assert_eq!(settings.notices.len(), 2, "{:?}", settings.notices);
    assert_eq!(
        settings.trusted_root.value,
        Some(PathBuf::from("/home/u/tr.json"))
    );
}

#[test]
fn gitsigns_single_files() {
    let settings = resolve(
        &[],
        &[
            ("SIGSTORE_ROOT_FILE", "/root.pem"),
            ("SIGSTORE_REKOR_PUBLIC_KEY", "/rekor.pub"),
            ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", "/ct.pub"),
        ],
    )
    .unwrap();
    assert_eq!(settings.fulcio_root.value, Some(PathBuf::from("/root.pem")));
    assert_eq!(
        settings.rekor_public_key.value,
        Some(PathBuf::from("/rekor.pub"))
    );
    assert_eq!(
        settings.ct_log_public_key.value,
        Some(PathBuf::from("/ct.pub"))
    );
}
