//! Objects as other programs write them: one empty line behind the armor (libgit2,
//! dulwich), `encoding` behind the signature (JGit), both signature headers (Git, in
//! repositories of two object formats). Beside each stand the nearest forgeries, and what
//! Git itself passes to the program that verifies.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::forge::{Lab, commit_object, commit_payload};
use gitseal_evidence::{
    identity::ExpectedIdentity,
    object::{self, HashKind, ObjectKind, SignedObject, check_payload},
    trusted_root::TrustedRoot,
    verify::{NoopObserver, SignatureInput, VerifyInputs, verify},
};

const END: &str = " -----END SIGNED MESSAGE-----\n";

/// `good`, or the step and the code, of a signature as Git passes it.
fn verdict(payload: &[u8], signature: &[u8], hash: HashKind) -> String {
    let trust = TrustedRoot::from_json(Lab::new().trusted_root().as_bytes()).unwrap();
    let subject = SignatureInput {
        payload: Some(payload),
        signature,
        hash,
    };
    let against = VerifyInputs {
        expected: &ExpectedIdentity::Any,
        ..VerifyInputs::new(&trust)
    };
    match verify(&subject, &against, &mut NoopObserver) {
        Ok(_) => "good".to_owned(),
        Err(refusal) => format!("{} {}", refusal.step().number(), refusal.code()),
    }
}

/// The same of a whole object.
fn object_verdict(kind: ObjectKind, hash: HashKind, raw: &str) -> String {
    match object::split_signature(kind, hash, raw.as_bytes()) {
        Err(reason) => format!("1 {}", reason.code()),
        Ok(signed) => verdict(&signed.payload, &signed.signature, hash),
    }
}

fn sign(payload: &str) -> String {
    let lab = Lab::new();
    lab.sign(payload.as_bytes(), &lab.spec())
}

fn payload() -> String {
    String::from_utf8(commit_payload()).unwrap()
}

fn commit(payload: &str) -> String {
    String::from_utf8(commit_object(payload.as_bytes(), &sign(payload))).unwrap()
}

/// A signature header with its continuation lines.
fn header(name: &str, signature: &str) -> String {
    let lines = signature.trim_end().replace('\n', "\n ");
    format!("{name} {lines}\n")
}

#[test]
fn one_empty_line_may_follow_the_armor_of_a_commit() {
    let raw = commit(&payload());
    let after = |text: &str| {
        let changed = raw.replace(END, &format!("{END}{text}"));
        assert!(text.is_empty() || changed != raw);
        object_verdict(ObjectKind::Commit, HashKind::Sha1, &changed)
    };
    for (text, expected) in [
        ("", "good"),
        (" \n", "good"),
        (" \n \n", "1 armor-text-after"),
        ("  \n", "1 armor-text-after"),
        (" \t\n", "1 armor-text-after"),
        (" \r\n", "1 armor-carriage-return"),
        (" x\n", "1 armor-text-after"),
        (" \0\n", "1 object-nul"),
        (" \n x\n", "1 armor-text-after"),
        (" x\n \n", "1 armor-text-after"),
        (" -----\n", "1 armor-text-after"),
        (" -----\n \n", "1 armor-text-after"),
        (" -----END SIGNED MESSAGE-----\n", "1 armor-text-after"),
        (" \nfoo x\n", "1 signature-not-last"),
    ] {
        assert_eq!(after(text), expected, "{text:?}");
    }
    let (begin, line) = (" -----BEGIN SIGNED MESSAGE-----\n", " -----END SIGNED");
    for (what, changed, expected) in [
        (
            "before the block",
            raw.replace(begin, &format!(" \n{begin}")),
            "1 armor-text-before",
        ),
        (
            "inside the block",
            raw.replace(begin, &format!("{begin} \n")),
            "1 armor-line",
        ),
        (
            "before the END line",
            raw.replace(line, &format!(" \n{line}")),
            "1 armor-line",
        ),
        (
            "another message",
            raw.replace(END, &format!("{END} \n"))
                .replace("A change", "Another"),
            "2 digest-mismatch",
        ),
    ] {
        assert_ne!(changed, raw, "{what}");
        let found = object_verdict(ObjectKind::Commit, HashKind::Sha1, &changed);
        assert_eq!(found, expected, "{what}");
    }
}

/// As Git passes it: without the object, so the payload says what it is. Nothing writes
/// tags or other content in this way.
#[test]
fn only_a_commit_has_a_folded_newline() {
    let tag = "object 1111111111111111111111111111111111111111\ntype commit\ntag v1\n\
               tagger Alice <alice@example.test> 1795176000 +0000\n\nv1\n";
    for (payload, expected) in [
        (payload().as_str(), "good"),
        (tag, "1 armor-text-after"),
        ("certificate version 0.1\n", "1 armor-text-after"),
        ("treeless\n", "1 armor-text-after"),
        ("", "1 armor-text-after"),
    ] {
        let signature = sign(payload);
        let plain = verdict(payload.as_bytes(), signature.as_bytes(), HashKind::Sha1);
        assert_eq!(plain, "good", "{payload:?}");
        let folded = format!("{signature}\n");
        let found = verdict(payload.as_bytes(), folded.as_bytes(), HashKind::Sha1);
        assert_eq!(found, expected, "{payload:?}");
    }
    let raw = format!("{tag}{}\n", sign(tag));
    let found = object_verdict(ObjectKind::Tag, HashKind::Sha1, &raw);
    assert_eq!(found, "1 text-after-signature");
    let (folded, nobody) = (format!("{}\n", sign("x")), TrustedRoot::default());
    let without_payload = VerifyInputs::new(&nobody);
    let attached = SignatureInput {
        payload: None,
        signature: folded.as_bytes(),
        hash: HashKind::Sha1,
    };
    let refusal = verify(&attached, &without_payload, &mut NoopObserver).unwrap_err();
    assert_eq!(refusal.code(), "armor-text-after");
}

#[test]
fn jgit_writes_the_encoding_behind_the_signature() {
    let encoding = "encoding ISO-8859-1\n";
    let signed = payload().replace("\n\n", &format!("\n{encoding}\n"));
    let raw = commit(&signed);
    let behind = raw
        .replace(encoding, "")
        .replace(END, &format!("{END}{encoding}"));
    let judge = |raw: &str| object_verdict(ObjectKind::Commit, HashKind::Sha1, raw);
    assert_eq!(judge(&raw), "good");
    assert_eq!(judge(&behind), "good");
    // Added, removed or changed, it is not what was signed.
    let plain = commit(&payload());
    assert_eq!(judge(&plain), "good");
    let added = plain.replace(END, &format!("{END}{encoding}"));
    assert_eq!(judge(&added), "2 digest-mismatch");
    assert_eq!(judge(&raw.replace(encoding, "")), "2 digest-mismatch");
    assert_eq!(
        judge(&behind.replace("8859-1", "8859-2")),
        "2 digest-mismatch"
    );
    // With the empty line of libgit2 as well: each by itself is allowed.
    assert_eq!(judge(&behind.replace(END, &format!("{END} \n"))), "good");
}

/// The two signatures of a commit in a repository of two object formats, each over its
/// own form.
fn two_signatures(hash: HashKind) -> (String, String, String) {
    let sha1 = payload();
    let long = |id: &str| format!("{id}{}", &id[..24]);
    let sha256 = ["4b825dc642cb6eb9a060e54bf8d69288fbee4904", &"1".repeat(40)]
        .iter()
        .fold(sha1.clone(), |text, id| text.replace(id, &long(id)));
    let (one, two) = (sign(&sha1), sign(&sha256));
    let own = match hash {
        HashKind::Sha1 => sha1,
        HashKind::Sha256 => sha256,
    };
    (own, header("gpgsig", &one), header("gpgsig-sha256", &two))
}

fn with_headers(payload: &str, headers: &str) -> String {
    payload.replacen("\n\n", &format!("\n{headers}\n"), 1)
}

#[test]
fn two_format_repositories_have_both_signatures() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let (payload, gpgsig, sha256) = two_signatures(hash);
        let judge = |headers: &str| {
            object_verdict(ObjectKind::Commit, hash, &with_headers(&payload, headers))
        };
        assert_eq!(judge(&format!("{gpgsig}{sha256}")), "good", "{hash}");
        let raw = with_headers(&payload, &format!("{gpgsig}{sha256}"));
        let split = object::split_signature(ObjectKind::Commit, hash, raw.as_bytes()).unwrap();
        assert_eq!(split.payload, payload.as_bytes());
        let other = match hash {
            HashKind::Sha1 => "gpgsig-sha256",
            HashKind::Sha256 => "gpgsig",
        };
        assert_eq!(split.unverified_header, Some(other));
        // The signature of the other form is not one of this form.
        let (swapped, swapped_sha256) = (
            gpgsig.replace("gpgsig ", "gpgsig-sha256 "),
            sha256.replace("gpgsig-sha256 ", "gpgsig "),
        );
        assert_eq!(
            judge(&format!("{swapped_sha256}{swapped}")),
            "2 digest-mismatch",
            "{hash}"
        );
        let (own, foreign) = match hash {
            HashKind::Sha1 => (&gpgsig, &sha256),
            HashKind::Sha256 => (&sha256, &gpgsig),
        };
        assert_eq!(judge(own), "good", "{hash}");
        for (what, headers, expected) in [
            (
                "the other one alone",
                foreign.clone(),
                "1 signature-header-hash",
            ),
            (
                "the other order",
                format!("{sha256}{gpgsig}"),
                "1 signature-not-last",
            ),
            (
                "a header between",
                format!("{gpgsig}foo x\n{sha256}"),
                "1 signature-not-last",
            ),
            (
                "the encoding between",
                format!("{gpgsig}encoding x\n{sha256}"),
                "1 signature-not-last",
            ),
            (
                "the encoding behind",
                format!("{gpgsig}{sha256}encoding x\n"),
                "1 signature-not-last",
            ),
            (
                "a third",
                format!("{gpgsig}{sha256}{sha256}"),
                "1 object-header-duplicate",
            ),
            (
                "a header that starts alike",
                format!("{gpgsig}{sha256}gpgsig-sha512 x\n"),
                "1 signature-not-last",
            ),
        ] {
            assert_eq!(judge(&headers), expected, "{hash}: {what}");
        }
        // What is not verified is at least one signature in its one form (G7).
        for (what, change) in [
            ("text", "x".to_owned()),
            ("nothing", String::new()),
            ("text behind it", format!("{}\n x", &foreign_value(foreign))),
            (
                "an empty line behind it",
                format!("{}\n ", &foreign_value(foreign)),
            ),
            ("two blocks", format!("{0}\n {0}", &foreign_value(foreign))),
            (
                "another format",
                foreign_value(foreign).replace("SIGNED MESSAGE", "PGP SIGNATURE"),
            ),
            (
                "no CMS",
                "-----BEGIN SIGNED MESSAGE-----\n AAAA\n -----END SIGNED MESSAGE-----".to_owned(),
            ),
        ] {
            let name = foreign.split(' ').next().unwrap();
            let changed = format!("{name} {change}\n");
            let headers = match hash {
                HashKind::Sha1 => format!("{own}{changed}"),
                HashKind::Sha256 => format!("{changed}{own}"),
            };
            assert_eq!(
                judge(&headers),
                "1 signature-other-format",
                "{hash}: {what}"
            );
        }
        // A payload has neither.
        let refusal = check_payload(raw.as_bytes()).unwrap_err();
        assert_eq!(refusal.code(), "signature-in-payload");
    }
}

fn foreign_value(header: &str) -> String {
    header.split_once(' ').unwrap().1.trim_end().to_owned()
}

/// What Git passes to the program that verifies this commit: payload and signature.
fn passed_by_git(folder: &Path, hash: HashKind, raw: &str) -> (Vec<u8>, Vec<u8>) {
    let git = |arguments: &[&str], input: &[u8]| {
        let file = folder.join("input");
        fs::write(&file, input).unwrap();
        let output = Command::new("git")
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::from(fs::File::open(&file).unwrap()))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let format = match hash {
        HashKind::Sha1 => "--object-format=sha1",
        HashKind::Sha256 => "--object-format=sha256",
    };
    git(&["init", "-q", format, "."], b"");
    let program = folder.join("program");
    fs::write(
        &program,
        "#!/bin/sh\ncat >payload\nfor last; do case $last in -) ;; *) file=$last;; esac; done\n\
         cp \"$file\" signature\nexit 1\n",
    )
    .unwrap();
    let mut mode = fs::metadata(&program).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&program, mode).unwrap();
    git(
        &["config", "gpg.x509.program", program.to_str().unwrap()],
        b"",
    );
    let id = git(
        &[
            "hash-object",
            "-t",
            "commit",
            "-w",
            "--literally",
            "--stdin",
        ],
        raw.as_bytes(),
    );
    git(&["verify-commit", &id], b"");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    (read("payload"), read("signature"))
}

#[test]
fn git_passes_what_is_verified_here() {
    let encoding = "encoding ISO-8859-1\n";
    let jgit = commit(&payload().replace("\n\n", &format!("\n{encoding}\n")))
        .replace(encoding, "")
        .replace(END, &format!("{END}{encoding}"));
    let folded = commit(&payload()).replace(END, &format!("{END} \n"));
    let both = |hash| {
        let (payload, gpgsig, sha256) = two_signatures(hash);
        with_headers(&payload, &format!("{gpgsig}{sha256}"))
    };
    for (what, hash, raw) in [
        ("plain", HashKind::Sha1, commit(&payload())),
        ("an empty line", HashKind::Sha1, folded),
        ("the encoding", HashKind::Sha1, jgit),
        ("both headers", HashKind::Sha1, both(HashKind::Sha1)),
        ("both headers", HashKind::Sha256, both(HashKind::Sha256)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let passed = passed_by_git(folder.path(), hash, &raw);
        let SignedObject {
            payload, signature, ..
        } = object::split_signature(ObjectKind::Commit, hash, raw.as_bytes()).unwrap();
        assert_eq!(passed, (payload, signature), "{what} {hash}");
        assert_eq!(verdict(&passed.0, &passed.1, hash), "good", "{what} {hash}");
    }
}
