#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
const PARENT: &str = "parent 2444d706f5fc90792a6c043b96ffe5976fb48667\n";
const AUTHOR: &str = "author Alice Example <alice@example.test> 1790000000 +0100\n";
const COMMITTER: &str = "committer Bob <bob@example.test> 1790000001 -0330\n";
const SIGNATURE: &str = "-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----\n";
const GPGSIG_LINES: &str =
    "gpgsig -----BEGIN SIGNED MESSAGE-----\n MIIB\n -----END SIGNED MESSAGE-----\n";
const TAG: &str = "object 2444d706f5fc90792a6c043b96ffe5976fb48667\ntype commit\ntag v1\n";
const TAGGER: &str = "tagger Alice <alice@example.test> 1790000000 +0000\n";

fn sha256_line(line: &str) -> String {
    let (name, id) = line.trim_end().split_once(' ').unwrap();
    format!("{name} {id}{}\n", &id[..24])
}

fn commit(parts: &[&str]) -> Result<SignedObject, Reason> {
    split_signature(
        ObjectKind::Commit,
        HashKind::Sha1,
        parts.concat().as_bytes(),
    )
}

fn tag(parts: &[&str]) -> Result<SignedObject, Reason> {
    split_signature(ObjectKind::Tag, HashKind::Sha1, parts.concat().as_bytes())
}

fn code(result: Result<SignedObject, Reason>) -> &'static str {
    result.unwrap_err().code()
}

/// Accepted, taken apart where it should be, and put together again.
fn accepted(kind: ObjectKind, hash: HashKind, raw: &str) -> SignedObject {
    let object = split_signature(kind, hash, raw.as_bytes()).unwrap();
    assert_eq!(object.signature, SIGNATURE.as_bytes());
    assert_eq!(check_payload(&object.payload), Ok(kind));
    assert_eq!(
        attach_signature(kind, hash, &object.payload, &object.signature),
        raw.as_bytes()
    );
    object
}

fn accepted_commit(parts: &[&str]) -> SignedObject {
    accepted(ObjectKind::Commit, HashKind::Sha1, &parts.concat())
}

fn accepted_tag(parts: &[&str]) -> SignedObject {
    accepted(ObjectKind::Tag, HashKind::Sha1, &parts.concat())
}

#[test]
fn a_signed_commit_is_split_before_its_blank_line() {
    let object = accepted_commit(&[
        TREE,
        PARENT,
        PARENT,
        AUTHOR,
        COMMITTER,
        GPGSIG_LINES,
        "\nhi\n",
    ]);
    let payload = [TREE, PARENT, PARENT, AUTHOR, COMMITTER, "\nhi\n"].concat();
    assert_eq!(object.payload, payload.as_bytes());
}

#[test]
fn what_is_legitimate_is_accepted() {
    let head = [TREE, AUTHOR, COMMITTER, GPGSIG_LINES].concat();
    let long = "x".repeat(70_000);
    for body in [
        "\n", // empty message
        "\nno final line feed",
        "\nwindows\r\nlines\r\n",
        "\n\n\nblank lines first",
        &format!("\n{long}\n"),
        "\n-----BEGIN SIGNED MESSAGE-----\n",
        "\n-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----\n",
        "\ngpgsig -----BEGIN SIGNED MESSAGE-----\n x\ngpgsig-sha256 y\n",
        "\ntree 1\nparent 2\n",
        "\n\u{feff}\u{202e}\u{1b}[2K",
    ] {
        accepted_commit(&[&head, body]);
    }
    // G10: further headers; an unsigned mergetag may hold anything indented.
    let mergetag = "mergetag object 1\n type commit\n  two spaces\n \n gpgsig x\n";
    for extra in [
        "encoding ISO-8859-1\n",
        mergetag,
        &[mergetag, mergetag].concat(),
        "HG:extra branch:default\n",
        "change-id abc\n",
        "empty\n",
        "jj:trees a b\n",
    ] {
        accepted_commit(&[TREE, AUTHOR, COMMITTER, extra, GPGSIG_LINES, "\nhi\n"]);
    }
}

#[test]
fn g1_duplicate_headers_are_refused() {
    for (first, second) in [
        ([TREE, TREE, AUTHOR, COMMITTER].concat(), "tree"),
        ([TREE, PARENT, TREE, AUTHOR, COMMITTER].concat(), "tree"),
        ([TREE, AUTHOR, AUTHOR, COMMITTER].concat(), "author"),
        ([TREE, AUTHOR, COMMITTER, COMMITTER].concat(), "committer"),
        ([TREE, AUTHOR, COMMITTER, AUTHOR].concat(), "author"),
        ([TREE, AUTHOR, COMMITTER, TREE].concat(), "tree"),
        (
            [TREE, AUTHOR, COMMITTER, "encoding a\nencoding b\n"].concat(),
            "encoding",
        ),
    ] {
        let refusal = commit(&[&first, GPGSIG_LINES, "\nhi\n"]).unwrap_err();
        assert!(
            refusal.code() == "object-header-duplicate" && refusal.message().contains(second),
            "{refusal:?}"
        );
    }
}

#[test]
fn g2_a_second_signature_is_refused() {
    let head = [TREE, AUTHOR, COMMITTER].concat();
    for second in [GPGSIG_LINES, "gpgsig garbage\n", "gpgsig \n"] {
        for order in [[second, GPGSIG_LINES], [GPGSIG_LINES, second]] {
            let result = commit(&[&head, order[0], order[1], "\nhi\n"]);
            assert_eq!(code(result), "object-header-duplicate");
        }
    }
    let result = commit(&[&head, "gpgsig\n", "\nhi\n"]);
    assert_eq!(code(result), "object-header-malformed");
}

#[test]
fn g3_a_signature_anywhere_but_last_is_refused() {
    for headers in [
        [GPGSIG_LINES, TREE, PARENT, AUTHOR, COMMITTER],
        [TREE, GPGSIG_LINES, PARENT, AUTHOR, COMMITTER],
        [TREE, PARENT, GPGSIG_LINES, AUTHOR, COMMITTER],
        [TREE, PARENT, AUTHOR, GPGSIG_LINES, COMMITTER],
    ] {
        let result = commit(&[&headers.concat(), "\nhi\n"]);
        assert_eq!(code(result), "signature-position");
    }
    for after in ["mergetag y\n", "foo\n", "encodings x\n", "Encoding x\n"] {
        let result = commit(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, after, "\nhi\n"]);
        assert_eq!(code(result), "signature-not-last", "{after:?}");
    }
    let result = commit(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, PARENT, "\nhi\n"]);
    assert_eq!(code(result), "object-header-order");
}

/// JGit writes the encoding behind the signature. Git's payload is the same as if it
/// preceded it.
#[test]
fn only_the_encoding_may_follow_the_signature() {
    const ENCODING: &str = "encoding ISO-8859-1\n";
    let head = [TREE, PARENT, AUTHOR, COMMITTER].concat();
    let behind = commit(&[&head, GPGSIG_LINES, ENCODING, "\nhi\n"]).unwrap();
    let before = commit(&[&head, ENCODING, GPGSIG_LINES, "\nhi\n"]).unwrap();
    assert_eq!(behind, before);
    assert_eq!(
        commit_view(&behind.payload).unwrap().encoding.unwrap(),
        "ISO-8859-1"
    );
    for (after, expected) in [
        ([ENCODING, ENCODING].concat(), "object-header-duplicate"),
        (format!("{ENCODING}foo\n"), "signature-not-last"),
        (format!("{ENCODING}mergetag y\n"), "signature-not-last"),
        (format!("foo\n{ENCODING}"), "signature-not-last"),
        (
            format!("{ENCODING}{GPGSIG_LINES}"),
            "object-header-duplicate",
        ),
        (format!("{ENCODING} more\n"), "object-continuation"),
        (format!("{ENCODING}{PARENT}"), "object-header-order"),
        (format!("{ENCODING}{COMMITTER}"), "object-header-duplicate"),
        ("encoding\u{a0}x\n".to_owned(), "object-header-malformed"),
        (" encoding x\n".to_owned(), "accepted"),
    ] {
        let result = commit(&[&head, GPGSIG_LINES, &after, "\nhi\n"]);
        let found = result.map_or_else(|reason| reason.code(), |_| "accepted");
        assert_eq!(found, expected, "{after:?}");
    }
    let result = commit(&[&head, ENCODING, GPGSIG_LINES, ENCODING, "\nhi\n"]);
    assert_eq!(code(result), "object-header-duplicate");
    // A continuation line belongs to the armor, which refuses it.
    let result = commit(&[&head, GPGSIG_LINES, " encoding x\n", "\nhi\n"]).unwrap();
    assert_eq!(
        armor::decode(&result.signature).unwrap_err().code(),
        "armor-text-after"
    );
}

/// What the signature covers is told apart by the digest; the framing must
/// only not lose a byte. A line that lost its LF to CRLF is no header.
#[test]
fn g4_line_ends_are_part_of_the_payload() {
    let lf = accepted_commit(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, "\nhi\n"]);
    for body in ["\nhi\r\n", "\nhi"] {
        let other = accepted_commit(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, body]);
        assert_ne!(other.payload, lf.payload);
    }
    let crlf = |line: &str| line.replace('\n', "\r\n");
    let (tree, author) = (crlf(TREE), crlf(AUTHOR));
    let result = commit(&[TREE, &author, COMMITTER, GPGSIG_LINES, "\nhi\n"]);
    assert_eq!(code(result), "object-person");
    let result = commit(&[&tree, AUTHOR, COMMITTER, GPGSIG_LINES, "\nhi\n"]);
    assert_eq!(code(result), "object-id");
    let result = commit(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, "\r\nhi\n"]);
    assert_eq!(code(result), "object-header-malformed");
    let crlf_armor = crlf(GPGSIG_LINES);
    let object = commit(&[TREE, AUTHOR, COMMITTER, &crlf_armor, "\nhi\n"]).unwrap();
    assert!(armor::decode(&object.signature).is_err());
}

#[test]
fn g5_only_one_space_continues_a_header() {
    for start in [
        "\t", "\u{b}", "\u{c}", "\u{a0}", "\u{2003}", "\r", "-", ":", "\u{7f}", "é",
    ] {
        let line = format!("{start}parent 2444d706f5fc90792a6c043b96ffe5976fb48667\n");
        let result = commit(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, &line, "\nhi\n"]);
        assert_eq!(code(result), "object-header-malformed", "{start:?}");
        let result = commit(&[TREE, AUTHOR, COMMITTER, &line, GPGSIG_LINES, "\nhi\n"]);
        assert_eq!(code(result), "object-header-malformed", "{start:?}");
    }
    // One space continues the signature, and then the armour has a stray line.
    let result = commit(&[
        TREE,
        AUTHOR,
        COMMITTER,
        GPGSIG_LINES,
        " encoding x\n",
        "\nhi\n",
    ]);
    let armor = armor::decode(&result.unwrap().signature);
    assert_eq!(armor.unwrap_err().code(), "armor-text-after");
    // A continuation before any header, or of a header of one line.
    let result = commit(&[" ", TREE, AUTHOR, COMMITTER, GPGSIG_LINES, "\nhi\n"]);
    assert_eq!(code(result), "object-header-malformed");
    for headers in [
        [TREE, " x\n", AUTHOR, COMMITTER],
        [TREE, AUTHOR, " x\n", COMMITTER],
        [TREE, AUTHOR, COMMITTER, " x\n"],
    ] {
        let result = commit(&[&headers.concat(), GPGSIG_LINES, "\nhi\n"]);
        assert_eq!(code(result), "object-continuation");
    }
    let result = commit(&[TREE, PARENT, " x\n", AUTHOR, COMMITTER, GPGSIG_LINES, "\n"]);
    assert_eq!(code(result), "object-continuation");
    let encoding = "encoding x\n y\n";
    let result = commit(&[TREE, AUTHOR, COMMITTER, encoding, GPGSIG_LINES, "\n"]);
    assert_eq!(code(result), "object-continuation");
}

#[test]
fn g6_g7_the_signature_header_is_that_of_the_repositorys_hash() {
    let other = GPGSIG_LINES.replace("gpgsig ", "gpgsig-sha256 ");
    let head = [TREE, AUTHOR, COMMITTER].concat();
    // `tests/signatures/objects.rs` has the two headers of two-format repositories.
    let sha256 = "gpgsig-sha256 x\n";
    for (lines, expected) in [
        (other.clone(), "signature-header-hash"),
        (format!("{other}encoding x\n"), "signature-header-hash"),
        (format!("{GPGSIG_LINES}{other}"), "signature-other-format"),
        (format!("{GPGSIG_LINES}{sha256}"), "signature-other-format"),
        (format!("{other}{GPGSIG_LINES}"), "signature-not-last"),
        (
            format!("{GPGSIG_LINES}gpgsig-sha256\n"),
            "object-header-malformed",
        ),
        (
            format!("{GPGSIG_LINES}{sha256}{sha256}"),
            "object-header-duplicate",
        ),
    ] {
        let result = commit(&[&head, &lines, "\nhi\n"]);
        assert_eq!(code(result), expected, "{lines:?}");
    }
    let head = [&sha256_line(TREE), &sha256_line(PARENT), AUTHOR, COMMITTER].concat();
    // G17
    let raw = format!("{head}{other}\nhi\n");
    accepted(ObjectKind::Commit, HashKind::Sha256, &raw);
    for (lines, expected) in [
        (GPGSIG_LINES.to_owned(), "signature-header-hash"),
        (format!("{GPGSIG_LINES}{other}"), "signature-other-format"),
        (format!("{other}{GPGSIG_LINES}"), "signature-not-last"),
    ] {
        let raw = format!("{head}{lines}\nhi\n");
        let result = split_signature(ObjectKind::Commit, HashKind::Sha256, raw.as_bytes());
        assert_eq!(code(result), expected, "{lines:?}");
    }
    // Ids of the other hash, or of both.
    let raw = format!("{head}{GPGSIG_LINES}\nhi\n");
    let result = split_signature(ObjectKind::Commit, HashKind::Sha1, raw.as_bytes());
    assert_eq!(code(result), "object-id");
    let mixed = [TREE, &sha256_line(PARENT), AUTHOR, COMMITTER, "\n"].concat();
    assert_eq!(
        check_payload(mixed.as_bytes()).unwrap_err().code(),
        "object-id"
    );
}

#[test]
fn g8_what_surrounds_the_armour_stays_with_it() {
    // The armour decoder refuses it; the framing must hand it over whole.
    for (header, wanted) in [
        (
            format!("gpgsig x\n {}", &GPGSIG_LINES[7..]),
            "armor-text-before",
        ),
        (format!("{GPGSIG_LINES} x\n"), "armor-text-after"),
        (format!("{GPGSIG_LINES} \n"), "armor-text-after"),
        (
            format!("{GPGSIG_LINES} {}", &GPGSIG_LINES[7..]),
            "armor-text-after",
        ),
        (
            GPGSIG_LINES.replace("SIGNED MESSAGE", "PGP SIGNATURE"),
            "armor-label",
        ),
    ] {
        let object = commit(&[TREE, AUTHOR, COMMITTER, &header, "\nhi\n"]).unwrap();
        let armor = armor::decode(&object.signature);
        assert_eq!(armor.unwrap_err().code(), wanted, "{header:?}");
    }
}

#[test]
fn g9_a_nul_is_refused() {
    let result = commit(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, "\nshown\0hidden\n"]);
    let refusal = result.unwrap_err();
    assert_eq!(refusal.code(), "object-nul");
    assert!(refusal.message().starts_with("the commit"), "{refusal}");
    let author = AUTHOR.replace("Alice", "Al\0ice");
    let result = commit(&[TREE, &author, COMMITTER, GPGSIG_LINES, "\n"]);
    assert_eq!(code(result), "object-nul");
    let result = tag(&[TAG, TAGGER, "\nshown\0hidden\n", SIGNATURE]);
    assert_eq!(code(result), "object-nul");
    let payload = [TREE, AUTHOR, COMMITTER, "\na\0b"].concat();
    assert_eq!(
        check_payload(payload.as_bytes()).unwrap_err().code(),
        "object-nul"
    );
}

#[test]
fn g11_a_tag_ends_with_its_one_signature() {
    let head = [TAG, TAGGER].concat();
    let object = accepted_tag(&[&head, "\nrelease\n", SIGNATURE]);
    assert_eq!(object.payload, format!("{head}\nrelease\n").as_bytes());
    accepted_tag(&[TAG, "\nwithout tagger\n", SIGNATURE]);
    accepted_tag(&[&head, "\n", SIGNATURE]);
    accepted_tag(&[&head, "\nwindows\r\n", SIGNATURE]);
    accepted_tag(&[&head, "\n-----BEGIN CERTIFICATE-----\n", SIGNATURE]);
    // Two blocks: the last one signs.
    let object = accepted_tag(&[&head, "\nrelease\n", SIGNATURE, SIGNATURE]);
    assert_eq!(
        object.payload,
        format!("{head}\nrelease\n{SIGNATURE}").as_bytes()
    );
    let pgp = SIGNATURE.replace("SIGNED MESSAGE", "PGP SIGNATURE");
    let object = tag(&[&head, "\nrelease\n", SIGNATURE, &pgp]).unwrap();
    assert_eq!(object.signature, pgp.as_bytes());
    // Unsigned text behind it.
    for after in ["x", "x\n", "\n", " ", "-----BEGIN CERTIFICATE-----\nMIIB\n"] {
        let result = tag(&[&head, "\nrelease\n", SIGNATURE, after]);
        let wanted = if after.ends_with('\n') {
            "text-after-signature"
        } else {
            "signature-unterminated"
        };
        assert_eq!(code(result), wanted, "{after:?}");
    }
    let result = tag(&[&head, "\nrelease\n", SIGNATURE.trim_end()]);
    assert_eq!(code(result), "signature-unterminated");
    // A signature header.
    for header in [GPGSIG_LINES, "gpgsig-sha256 x\n"] {
        let result = tag(&[&head, header, "\nrelease\n", SIGNATURE]);
        assert_eq!(code(result), "signature-in-tag-header");
        let result = tag(&[&head, header, "\nrelease\n"]);
        assert_eq!(code(result), "signature-in-tag-header");
    }
    assert_eq!(code(tag(&[&head, "\nrelease\n"])), "object-unsigned");
    let indented = SIGNATURE.replace("-----BEGIN", " -----BEGIN");
    assert_eq!(
        code(tag(&[&head, "\nrelease\n", &indented])),
        "object-unsigned"
    );
}

#[test]
fn a_tags_headers_are_those_of_git() {
    let result = |headers: &[&str]| tag(&[&headers.concat(), "\nx\n", SIGNATURE]);
    let object = "object 2444d706f5fc90792a6c043b96ffe5976fb48667\n";
    for (headers, wanted) in [
        (
            vec![object, object, "type commit\ntag v\n", TAGGER],
            "object-header-duplicate",
        ),
        (
            vec![object, "type commit\ntype commit\ntag v\n"],
            "object-header-duplicate",
        ),
        (vec![TAG, "tag v2\n", TAGGER], "object-header-duplicate"),
        (vec![TAG, TAGGER, TAGGER], "object-header-duplicate"),
        (vec![TAG, TAGGER, object], "object-header-duplicate"),
        (vec![TAG, "foo bar\n", TAGGER], "object-header-order"),
        (vec![object, "tag v\ntype commit\n"], "object-header-order"),
        (
            vec!["type commit\n", object, "tag v\n"],
            "object-header-order",
        ),
        (vec![object, "type commit\n"], "object-header-order"),
        (vec![object, "type branch\ntag v\n"], "object-tag-type"),
        (vec![object, "type commit\ntag \n"], "object-tag-name"),
        (vec!["object 2444\n", "type commit\ntag v\n"], "object-id"),
        (vec![TAG, "tagger nobody\n"], "object-person"),
        (vec![TAG, " x\n", TAGGER], "object-continuation"),
        (vec![TAG, TAGGER, " x\n"], "object-continuation"),
        (vec![TAG, TAGGER, "\tx\n"], "object-header-malformed"),
    ] {
        assert_eq!(code(result(&headers)), wanted, "{headers:?}");
    }
    for object_type in ["commit", "tree", "blob", "tag"] {
        let tag = TAG.replace("type commit", &format!("type {object_type}"));
        accepted_tag(&[
            &tag,
            TAGGER,
            "extra header\n with more\n",
            "\nx\n",
            SIGNATURE,
        ]);
    }
}

#[test]
fn g18_malformed_commits_are_refused_by_name() {
    let signed = |headers: &[&str]| commit(&[&headers.concat(), GPGSIG_LINES, "\nhi\n"]);
    for (headers, wanted) in [
        (vec![TREE, COMMITTER, AUTHOR], "object-header-order"),
        (vec![TREE, AUTHOR], "signature-position"),
        (vec![AUTHOR, COMMITTER], "object-header-order"),
        (vec![TREE, AUTHOR, PARENT, COMMITTER], "object-header-order"),
        (vec![TREE, AUTHOR, COMMITTER, PARENT], "object-header-order"),
        (vec![TREE, "parent 2444\n", AUTHOR, COMMITTER], "object-id"),
        (
            vec![
                &TREE.to_uppercase().replace("TREE", "tree"),
                AUTHOR,
                COMMITTER,
            ],
            "object-id",
        ),
        (vec!["tree\n", AUTHOR, COMMITTER], "object-id"),
    ] {
        assert_eq!(code(signed(&headers)), wanted, "{headers:?}");
    }
    for author in [
        "nobody",
        "A <a@b> 1 +000",
        "A <a@b> 1 +00000",
        "A <a@b> 1 0000",
        "A <a@b> 1 +00a0",
        "A <a@b> 1  +0000",
        "A <a@b> 01 +0000",
        "A <a@b> -1 +0000",
        "A <a@b> x +0000",
        "A <a@b>  +0000",
        "A <a@b> 99999999999999999999 +0000",
        "A <a@b>1 +0000",
        "A <a@b> 1",
        "A <a@b>",
        "A<a@b> 1 +0000",
        "A <a@b 1 +0000",
        "A a@b> 1 +0000",
        "A >a@b< 1 +0000",
        "A <<a@b> 1 +0000",
        "A <a@b>> 1 +0000",
        "A <a@b> <c@d> 1 +0000",
        "",
    ] {
        let author = format!("author {author}\n");
        assert_eq!(
            code(signed(&[TREE, &author, COMMITTER])),
            "object-person",
            "{author:?}"
        );
    }
    for author in [
        "<a@b> 0 +0000",
        " <> 1 -1200",
        "A B\u{e9} <weird mail@> 1 +1400",
    ] {
        accepted_commit(&[
            TREE,
            &format!("author {author}\n"),
            COMMITTER,
            GPGSIG_LINES,
            "\n",
        ]);
    }
    let many = PARENT.repeat(MAX_PARENTS);
    accepted_commit(&[TREE, &many, AUTHOR, COMMITTER, GPGSIG_LINES, "\n"]);
    assert_eq!(
        code(signed(&[TREE, &many, PARENT, AUTHOR, COMMITTER])),
        "object-too-many-parents"
    );
    let huge = vec![b'x'; MAX_OBJECT + 1];
    let result = split_signature(ObjectKind::Commit, HashKind::Sha1, &huge);
    assert_eq!(code(result), "object-too-large");
}

#[test]
fn headers_must_end() {
    for raw in [
        "",
        "tree",
        TREE,
        &[TREE, AUTHOR, COMMITTER].concat(),
        &[TREE, AUTHOR, COMMITTER, GPGSIG_LINES].concat(),
        &[TREE, AUTHOR, COMMITTER, &GPGSIG_LINES[..20]].concat(),
    ] {
        assert_eq!(code(commit(&[raw])), "object-no-blank-line", "{raw:?}");
    }
    assert_eq!(code(tag(&[TAG, TAGGER])), "object-no-blank-line");
    assert_eq!(code(commit(&["\n"])), "object-header-order");
    assert_eq!(
        code(commit(&[TREE, AUTHOR, COMMITTER, "\nhi\n"])),
        "object-unsigned"
    );
}

#[test]
fn a_payload_carries_no_signature_header_and_is_an_object() {
    let check = |raw: &str| check_payload(raw.as_bytes()).map_err(|refusal| refusal.code());
    assert_eq!(
        check(&[TREE, AUTHOR, COMMITTER, GPGSIG_LINES, "\n"].concat()),
        Err("signature-in-payload")
    );
    assert_eq!(
        check(&[TREE, GPGSIG_LINES, AUTHOR, COMMITTER, "\n"].concat()),
        Err("signature-in-payload")
    );
    assert_eq!(check(&[TAG, TAGGER, "\nx\n"].concat()), Ok(ObjectKind::Tag));
    assert_eq!(
        check("certificate version 0.1\npusher x\n\n"),
        Err("object-kind")
    );
    assert_eq!(check("hello"), Err("object-kind"));
    assert_eq!(check(""), Err("object-kind"));
    assert_eq!(
        check(&[TREE, TREE, AUTHOR, COMMITTER, "\n"].concat()),
        Err("object-header-duplicate")
    );
}

#[test]
fn views_show_what_the_headers_say() {
    let encoding = "encoding ISO-8859-1\n";
    let raw = [TREE, PARENT, AUTHOR, COMMITTER, encoding, "\nhi\n\nthere"].concat();
    let view = commit_view(raw.as_bytes()).unwrap();
    assert_eq!(view.tree, TREE[5..45]);
    assert_eq!(view.parents, [&PARENT[7..47]]);
    assert_eq!(view.author.name, "Alice Example");
    assert_eq!(view.author.email, "alice@example.test");
    assert_eq!(
        (view.author.time, view.author.offset_minutes),
        (1_790_000_000, 60)
    );
    assert_eq!(view.committer.offset_minutes, -210);
    assert_eq!(
        view.committer.raw,
        b"Bob <bob@example.test> 1790000001 -0330"
    );
    assert_eq!(view.encoding.as_deref(), Some("ISO-8859-1"));
    assert_eq!(view.message, b"hi\n\nthere");
    let view = tag_view([TAG, TAGGER, "\nx\n"].concat().as_bytes()).unwrap();
    assert_eq!(
        (view.tag.as_str(), view.object_type.as_str()),
        ("v1", "commit")
    );
    assert_eq!(view.tagger.unwrap().name, "Alice");
    assert_eq!(view.message, b"x\n");
    assert_eq!(
        tag_view([TAG, "\n"].concat().as_bytes()).unwrap().tagger,
        None
    );
}

#[test]
fn ids_are_those_of_git() {
    assert_eq!(
        id_hex(ObjectKind::Commit, HashKind::Sha1, b""),
        "dcf5b16e76cce7425d0beaef62d79a7d10fce1f5"
    );
    assert_eq!(id_hex(ObjectKind::Tag, HashKind::Sha256, b"x").len(), 64);
}

#[test]
fn online_ids_begin_with_the_real_one() {
    let payload = [TREE, AUTHOR, COMMITTER, "\nhi\n"].concat();
    let raw = attach_signature(
        ObjectKind::Commit,
        HashKind::Sha1,
        payload.as_bytes(),
        SIGNATURE.as_bytes(),
    );
    let real = id_hex(ObjectKind::Commit, HashKind::Sha1, &raw);
    let ids = |kind, hash, payload: &str| {
        gitsign_online_ids(kind, hash, payload.as_bytes(), SIGNATURE.as_bytes())
    };
    let found = ids(ObjectKind::Commit, HashKind::Sha1, &payload);
    assert_eq!(found, std::slice::from_ref(&real));
    // go-git lost the encoding: the object without it comes second.
    let with = [TREE, AUTHOR, COMMITTER, "encoding x\n", "\nhi\n"].concat();
    let found = ids(ObjectKind::Commit, HashKind::Sha1, &with);
    assert_eq!(found.len(), 2);
    assert_eq!(found[1], real);
    let tag = [TAG, TAGGER, "\nx\n"].concat();
    let found = ids(ObjectKind::Tag, HashKind::Sha1, &tag);
    let in_header = [TAG, TAGGER, GPGSIG_LINES, "\nx\n"].concat();
    let appended = [&tag, SIGNATURE].concat();
    assert_eq!(
        found,
        [appended, in_header].map(|raw| id_hex(ObjectKind::Tag, HashKind::Sha1, raw.as_bytes()))
    );
    // In a SHA-256 repository the SHA-1 form comes first, the real id last.
    let payload = [&sha256_line(TREE), AUTHOR, COMMITTER, "\nhi\n"].concat();
    let found = ids(ObjectKind::Commit, HashKind::Sha256, &payload);
    let form = [
        &sha256_line(TREE),
        AUTHOR,
        COMMITTER,
        GPGSIG_LINES,
        "\nhi\n",
    ]
    .concat();
    assert_eq!(
        found[0],
        id_hex(ObjectKind::Commit, HashKind::Sha1, form.as_bytes())
    );
    assert_eq!(found[1].len(), 64);
}
