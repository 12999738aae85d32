#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn parsed(line: &str) -> Result<HelperRequest, UsageError> {
    let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    parse(&arguments)
}

fn sign(line: &str) -> SignOptions {
    match parsed(line).unwrap() {
        HelperRequest::Sign(sign) => sign,
        other => panic!("{line}: {other:?}"),
    }
}

fn verify(line: &str) -> VerifyOptions {
    match parsed(line).unwrap() {
        HelperRequest::Verify(verify) => verify,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn signing_as_git_jj_jgit_and_gitsigns_users_ask() {
    let expected = SignOptions {
        detached: true,
        armor: true,
        file: None,
        output: None,
        status: StatusTarget::Error,
    };
    for line in [
        "--status-fd=2 -bsau Alice",
        "--status-fd 2 -bsauAlice",
        "--status-fd=2 -abu key",
        "--batch --no-tty --status-fd 2 --detach-sign --armor --local-user Alice --output -",
        "--keyid-format=long --status-fd=2 -bsau Alice",
        "--keyid-format long --status-fd=2 -bsau Alice",
        "--include-certs -2 --status-fd=2 -s -b -a -u Alice",
        "--include-certs=1 --disable-crl-checks --status-fd=2 --sign --detached-sign --armour",
        "-v --status-fd=2 -bsa -",
        "--pinentry-mode loopback --logger-fd 1 --homedir /x --status-fd=2 -sba",
        "--some-option-of-tomorrow --other=x --status-fd=2 -sba",
    ] {
        assert_eq!(sign(line), expected, "{line}");
    }
    assert!(!sign("-sa").detached);
    assert!(!sign("-sb").armor);
    assert_eq!(sign("-sb").status, StatusTarget::None);
    assert_eq!(
        sign("-sb -o out.sig").output,
        Some(PathBuf::from("out.sig"))
    );
    assert_eq!(
        sign("-sb --output=out.sig").output,
        Some(PathBuf::from("out.sig"))
    );
    assert_eq!(sign("-sb file").file, Some(PathBuf::from("file")));
    assert_eq!(sign("-sb -- -file").file, Some(PathBuf::from("-file")));
}

#[test]
fn verifying_as_git_and_others_ask() {
    let expected = VerifyOptions {
        signature: InputSource::File(PathBuf::from("/tmp/.git_vtag_tmpx")),
        content: Some(InputSource::Standard),
        status: StatusTarget::Output,
    };
    for line in [
        "--status-fd=1 --verify /tmp/.git_vtag_tmpx -",
        "--keyid-format=long --status-fd=1 --verify /tmp/.git_vtag_tmpx -",
        "--status-fd=1 -v /tmp/.git_vtag_tmpx -",
        "--batch --no-tty --status-fd 1 --verify -- /tmp/.git_vtag_tmpx -",
    ] {
        assert_eq!(verify(line), expected, "{line}");
    }
    assert_eq!(verify("--verify sig").content, None);
    assert_eq!(verify("--verify").signature, InputSource::Standard);
    assert_eq!(
        verify("--status-fd=9 --verify a b").status,
        StatusTarget::Descriptor(9)
    );
    assert_eq!(
        verify("--status-fd=-1 --verify a b").status,
        StatusTarget::None
    );
}

#[test]
fn other_requests() {
    assert_eq!(parsed("--version"), Ok(HelperRequest::Version));
    assert_eq!(parsed("--help"), Ok(HelperRequest::Help));
    for line in [
        "--list-keys",
        "--list-secret-keys --with-colons x",
        "-k",
        "-K",
        "--fingerprint",
    ] {
        assert_eq!(parsed(line), Ok(HelperRequest::ListKeys), "{line}");
    }
    assert_eq!(parsed("-u Alice"), Err(UsageError::NoOperation));
    assert!(matches!(
        parsed("--decrypt f"),
        Err(UsageError::Unsupported { .. })
    ));
    for flag in [
        "--match-committer",
        "--offline",
        "--trusted-root=f",
        "--certificate-identity=x",
        "--certificate-github-workflow-ref=x",
    ] {
        assert!(
            matches!(
                parsed(&format!("--verify {flag} f -")),
                Err(UsageError::Unsupported { .. })
            ),
            "{flag}"
        );
    }
    assert!(matches!(parsed("-sbau"), Err(UsageError::NoValue { .. })));
    assert!(matches!(
        parsed("-s --status-fd"),
        Err(UsageError::NoValue { .. })
    ));
    assert!(matches!(
        parsed("-s --status-fd=0"),
        Err(UsageError::Descriptor { .. })
    ));
    assert!(matches!(
        parsed("-s --status-fd=x"),
        Err(UsageError::Descriptor { .. })
    ));
    assert!(matches!(
        parsed("-s a b"),
        Err(UsageError::TooManyFiles { files: 2 })
    ));
    assert!(matches!(
        parsed("--verify a b c"),
        Err(UsageError::TooManyFiles { files: 3 })
    ));
    let many = vec![OsString::from("-q"); MAX_ARGUMENTS + 1];
    assert!(matches!(
        parse(&many),
        Err(UsageError::TooManyArguments { .. })
    ));
}

fn signer(name: &str) -> StatusSigner {
    StatusSigner {
        fingerprint: "55732161c87f2483bb047de03c8c0f517de01f13".to_owned(),
        name: name.to_owned(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
    }
}

const TIME: UnixTime = 1_795_226_931;

#[test]
fn each_outcome_has_its_lines_and_its_exit_code() {
    let good = "[GNUPG:] NEWSIG\n\
        [GNUPG:] GOODSIG 55732161c87f2483bb047de03c8c0f517de01f13 alice@lab.example\n\
        [GNUPG:] VALIDSIG 55732161c87f2483bb047de03c8c0f517de01f13 2026-11-21 1795226931 0 0 0 19 8 00 55732161c87f2483bb047de03c8c0f517de01f13\n";
    let signer = signer("alice@lab.example");
    assert_eq!(
        valid_signature(&signer, TIME, StatusTrust::Fully),
        format!("{good}[GNUPG:] TRUST_FULLY 0 shell\n")
    );
    assert_eq!(
        valid_signature(&signer, TIME, StatusTrust::Undefined),
        format!("{good}[GNUPG:] TRUST_UNDEFINED 0 shell\n")
    );
    assert_eq!(
        valid_signature(&signer, TIME, StatusTrust::Never),
        format!("{good}[GNUPG:] TRUST_NEVER 0 shell\n")
    );
    assert_eq!(
        bad_signature(Some(&signer)),
        "[GNUPG:] NEWSIG\n[GNUPG:] BADSIG 55732161c87f2483bb047de03c8c0f517de01f13 alice@lab.example\n[GNUPG:] TRUST_NEVER 0 shell\n"
    );
    assert_eq!(
        bad_signature(None),
        "[GNUPG:] NEWSIG\n[GNUPG:] BADSIG 0000000000000000 unknown\n[GNUPG:] TRUST_NEVER 0 shell\n"
    );
    assert_eq!(
        unchecked_signature(Some(&signer)),
        "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 55732161c87f2483bb047de03c8c0f517de01f13 19 8 00 0 9 55732161c87f2483bb047de03c8c0f517de01f13\n[GNUPG:] TRUST_UNDEFINED 0 shell\n"
    );
    assert_eq!(
        unchecked_signature(None),
        "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 0000000000000000 0 0 00 0 9 -\n[GNUPG:] TRUST_UNDEFINED 0 shell\n"
    );
}

/// O1, O4, O7: one verdict, whatever a certificate says.
#[test]
fn o1_o4_o7_a_name_cannot_forge_lines() {
    for name in [
        "x\n[GNUPG:] TRUST_ULTIMATE 0 shell\n[GNUPG:] VALIDSIG 00",
        "x\r[GNUPG:] GOODSIG 0 alice",
        "\u{1b}[2K\u{1b}[1A\u{202e}ecila\u{200b}",
        "",
        "\n",
        "   ",
        "%0A",
    ] {
        let lines = valid_signature(&signer(name), TIME, StatusTrust::Undefined);
        assert_eq!(lines.lines().count(), 4, "{name:?}: {lines}");
        assert!(
            lines
                .bytes()
                .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte))
        );
        let verdicts = ["GOODSIG", "BADSIG", "ERRSIG"]
            .iter()
            .map(|verdict| lines.matches(&format!("\n[GNUPG:] {verdict} ")).count())
            .sum::<usize>();
        assert_eq!(verdicts, 1, "{name:?}: {lines}");
        for line in lines.lines().skip(1) {
            assert!(
                line.split(' ').nth(2).is_some_and(|word| !word.is_empty()),
                "{line}"
            );
            assert!(!line.ends_with(' '), "{line:?}");
        }
    }
    let long = signer(&"a".repeat(1 << 20));
    let lines = valid_signature(&long, TIME, StatusTrust::Undefined);
    assert!(lines.len() < 2000);
}

#[test]
fn limits_on_what_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), vec![0_u8; MAX_ARMOR]).unwrap();
    let source = InputSource::File(file.path().to_owned());
    assert_eq!(read_signature(&source).unwrap().len(), MAX_ARMOR);
    fs::write(file.path(), vec![0_u8; MAX_ARMOR + 1]).unwrap();
    assert!(read_signature(&source).is_err());
}

#[test]
fn a_signature_file_is_replaced_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.sig");
    fs::write(&path, "old").unwrap();
    write_signature(b"new", Some(&path)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(write_signature(b"new", Some(&directory.path().join("no/such"))).is_err());
}

/// O6: nobody reads the status any more.
#[cfg(unix)]
#[test]
fn o6_status_that_cannot_be_written_is_an_error() {
    assert!(Status::open(StatusTarget::Descriptor(987_654)).is_err());
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    if let Ok(full) = full {
        assert!(Status::File(full).write("[GNUPG:] NEWSIG\n").is_err());
    } else {
        println!("skipped: this system has no /dev/full");
    }
}
