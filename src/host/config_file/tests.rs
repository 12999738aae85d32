#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, process::Command};

use super::{place::*, *};

/// Files of every shape, none of which git refuses.
const FILES: &[&str] = &[
    "",
    "\n",
    "# only a comment",
    "[user]\n\tname = Alice\n",
    "[user]\n\tname = Alice",
    "[user]\r\n\tname = Alice\r\n[gpg]\r\n\tformat = openpgp ; mine\r\n",
    "[gpg]\n\tformat = ssh\n[commit]\n\tgpgsign\n[gpg \"ssh\"]\n\tprogram = x\n",
    "[gpg] format = openpgp # the old way\n[gpg \"x509\"] program = \"gpg sm\"\n",
    "[gpg]\n\tformat = ssh\n[gpg]\n\tformat = openpgp\n[alias]\n\tx = \"!echo ; #\"\n",
    "[gpg]\n\tformat = op\\\nenpgp\n[alias]\n\ta = one \\\n\t  two\n",
    "[gpg]\n\tformat = ssh\n[include]\n\tpath = other\n",
    "\u{feff}[GPG]\n\tFormat=ssh\n\n\n",
    "[gpg.x509]\n\tprogram = old\n[commit]\n\tgpgSign = no\n[user]\n\tname = A",
    "[a \"b\\\"c\\\\]\"]\n\tk = \"v\\n\\t\\b\"\n\n# end",
    "[tag]\n[commit]\n[gpg]\n[gpg \"x509\"]",
    "[http]\n\textraheader = a\tb\n\tx-y-z\n",
    "[commit]\n\tgpgsign = yes\n[tag]\n\tgpgsign = 1\n[gpg]\n\tformat = x509\n",
];

fn wishes() -> Vec<Wish> {
    [
        ("gpg.format", "x509"),
        ("gpg.x509.program", "/opt/with space/gitseal"),
        ("commit.gpgsign", "true"),
        ("tag.gpgsign", "true"),
        ("gitseal.fulcio", "https://fulcio.example/#;\"\\"),
        ("gitseal.clientID", " a  b "),
    ]
    .into_iter()
    .map(|(key, value)| Wish {
        key: ConfigKey::parse(key).unwrap(),
        value: value.to_owned(),
        source: "base".to_owned(),
    })
    .collect()
}

fn record(changed: &Changed) -> Record {
    let record = Record::of("/x".to_owned(), false, changed);
    // As it comes back from the disk.
    serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap()
}

/// What git reads from these bytes: key, NUL or LF, value.
fn as_git_reads(bytes: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    fs::write(&file, bytes).unwrap();
    let output = Command::new("git")
        .args(["config", "--no-includes", "-z", "--list", "--file"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let mut halves = part.splitn(2, |byte| *byte == b'\n');
            let key = String::from_utf8(halves.next().unwrap().to_vec()).unwrap();
            (key, halves.next().map(<[u8]>::to_vec))
        })
        .collect()
}

fn as_we_read(bytes: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    ConfigText::parse(bytes)
        .unwrap()
        .entries()
        .map(|entry| {
            let section = entry.key.section.to_ascii_lowercase();
            let name = entry.key.name.to_ascii_lowercase();
            let key = match &entry.key.subsection {
                None => format!("{section}.{name}"),
                Some(subsection) => format!("{section}.{subsection}.{name}"),
            };
            (key, entry.value.clone())
        })
        .collect()
}

#[test]
fn reads_what_git_reads() {
    for file in FILES {
        assert_eq!(
            as_we_read(file.as_bytes()),
            as_git_reads(file.as_bytes()),
            "{file:?}"
        );
    }
}

#[test]
fn what_git_refuses_is_refused_with_its_line() {
    for (file, line) in [
        ("x = 1\n", 1),
        ("[a]\nk = \"open\n", 2),
        ("[a]\n\nk = \\q\n", 3),
        ("[a\n", 1),
        ("[a \"b\n\"]\n", 1),
        ("[a]\n=\n", 2),
        ("[a]\nk ; comment\n", 2),
    ] {
        let error = ConfigText::parse(file.as_bytes()).unwrap_err();
        assert_eq!(error.line, line, "{file:?}: {error}");
    }
}

#[test]
fn a_change_reads_as_meant_and_goes_back_byte_by_byte() {
    for file in FILES {
        let changed = change(file.as_bytes(), &wishes()).unwrap();
        let read = as_git_reads(&changed.bytes);
        for wish in wishes() {
            let key = match wish.key.to_string() {
                key if key.starts_with("gpg.x509") => key,
                key => key.to_ascii_lowercase(),
            };
            let last = read.iter().rev().find(|(found, _)| *found == key);
            let value = last
                .unwrap_or_else(|| panic!("{key} in {file:?}"))
                .1
                .as_deref();
            assert!(is_equal(value, &wish.value), "{key}: {value:?} in {file:?}");
        }
        let undone = undo(&changed.bytes, &record(&changed)).unwrap();
        assert_eq!(undone.left, [], "{file:?}");
        assert_eq!(
            String::from_utf8_lossy(&undone.bytes),
            String::from_utf8_lossy(file.as_bytes())
        );
        // Once more is nothing more.
        let again = change(&changed.bytes, &wishes()).unwrap();
        assert_eq!(again.bytes, changed.bytes, "{file:?}");
        assert_eq!(again.edits, []);
    }
}

#[test]
fn other_edits_stay_when_ours_go() {
    let before = "[user]\n\tname = Alice\n[gpg]\n\tformat = openpgp # mine";
    let changed = change(before.as_bytes(), &wishes()).unwrap();
    let text = String::from_utf8(changed.bytes.clone()).unwrap();
    let took = |edited: &str| {
        let undone = undo(edited.as_bytes(), &record(&changed)).unwrap();
        (String::from_utf8(undone.bytes).unwrap(), undone.left)
    };
    // A line before, and one behind.
    let edited = format!("# first\n{text}[alias]\n\tx = y\n");
    assert_eq!(
        took(&edited),
        (format!("# first\n{before}\n[alias]\n\tx = y\n"), vec![])
    );
    // git puts a new entry into the last section of its name: ours.
    let edited = text.replace("[gitseal]\n", "[gitseal]\n\tmatchCommitter = true\n");
    assert_ne!(edited, text);
    assert_eq!(
        took(&edited).0,
        format!("{before}\n[gitseal]\n\tmatchCommitter = true\n")
    );
    let edited = format!("{text}\tautoclose = false\n");
    let (left, _) = took(&edited);
    assert_eq!(left, format!("{before}\n[gitseal]\n\tautoclose = false\n"));
    // Somebody else's value is not ours to take.
    let edited = text
        .replace("format = x509", "format = ssh")
        .replace("[tag]\n\tgpgsign = true\n", "[tag]\n\tgpgsign = false\n");
    let (now, left) = took(&edited);
    assert_eq!(
        now,
        "[user]\n\tname = Alice\n[gpg]\n\tformat = ssh # mine\n[tag]\n\tgpgsign = false\n"
    );
    let left: Vec<(String, Option<String>)> = left
        .into_iter()
        .map(|left| (left.key.to_string(), left.now))
        .collect();
    assert_eq!(
        left,
        [
            ("tag.gpgsign".to_owned(), Some("false".to_owned())),
            ("gpg.format".to_owned(), Some("ssh".to_owned())),
        ]
    );
}

#[test]
fn what_does_not_read_back_is_not_written() {
    // The last line goes on after its end, and would swallow what follows.
    let error = change(b"[alias]\n\tx = y \\", &wishes()).unwrap_err();
    assert!(matches!(error, ChangeError::ReadBack { .. }), "{error}");
    let mut bad = wishes();
    bad[0].value = "a\nb".to_owned();
    let error = change(b"", &bad).unwrap_err();
    assert!(matches!(error, ChangeError::Value { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn the_file_keeps_its_mode_its_link_and_its_lock() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("dotfiles");
    let named = directory.path().join(".gitconfig");
    fs::write(&real, "[a]\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("dotfiles", &named).unwrap();
    let file = ConfigFile::read(&named).unwrap();
    file.replace(Some(b"[b]\n"), || Ok(())).unwrap();
    assert_eq!(fs::read(&real).unwrap(), b"[b]\n");
    assert!(fs::symlink_metadata(&named).unwrap().is_symlink());
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o640
    );

    // Another program writes.
    let file = ConfigFile::read(&named).unwrap();
    let lock = directory.path().join("dotfiles.lock");
    fs::write(&lock, "").unwrap();
    let error = file.replace(Some(b"x"), || Ok(())).unwrap_err();
    assert!(matches!(error, PlaceError::Locked { .. }), "{error}");
    fs::remove_file(&lock).unwrap();

    // Another program wrote.
    fs::write(&real, "[c]\n").unwrap();
    let error = file.replace(Some(b"x"), || Ok(())).unwrap_err();
    assert!(matches!(error, PlaceError::Changed { .. }), "{error}");
    assert_eq!(fs::read(&real).unwrap(), b"[c]\n");

    // What fails in between leaves everything as it was, without a lock.
    let file = ConfigFile::read(&named).unwrap();
    let error = file
        .replace(Some(b"x"), || Err(PlaceError::NoHome))
        .unwrap_err();
    assert!(matches!(error, PlaceError::NoHome), "{error}");
    assert_eq!(fs::read(&real).unwrap(), b"[c]\n");
    assert!(!lock.exists());

    fs::set_permissions(&real, fs::Permissions::from_mode(0o444)).unwrap();
    let file = ConfigFile::read(&named).unwrap();
    let error = file.replace(Some(b"x"), || Ok(())).unwrap_err();
    assert!(matches!(error, PlaceError::ReadOnly { .. }), "{error}");
}
