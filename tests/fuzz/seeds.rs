//! The seeds of the fuzz targets, cut out of recorded signatures by a reader of
//! its own (lines, base64, byte patterns): nothing here calls the parsers that
//! are fuzzed.

// Each fuzz target uses some of this; the ordinary test uses all.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// `[kind, hash]` before an object's bytes: bit 0 tag, bit 1 SHA-256.
pub fn flag(tag: bool, sha256: bool) -> u8 {
    u8::from(tag) | (u8::from(sha256) << 1)
}

/// The repository, also when this file is part of `tests/fuzz`.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    if manifest.ends_with("tests/fuzz") {
        manifest.join("../..")
    } else {
        manifest.to_path_buf()
    }
}

fn shared() -> PathBuf {
    std::env::var_os("GITSEAL_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from)
}

/// One recorded object: file name, flag byte, raw bytes.
pub fn objects() -> Vec<(String, u8, Vec<u8>)> {
    let mut found = Vec::new();
    for dir in [
        root().join("tests/data/gitsign/objects"),
        shared().join("vectors/gitsign/objects"),
        shared().join("vectors/real/objects"),
    ] {
        for path in files(&dir) {
            let Ok(raw) = fs::read(&path) else { continue };
            let name = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            let flag = flag(name.ends_with(".tag"), name.starts_with("sha256"));
            found.push((name, flag, raw));
        }
    }
    found
}

/// Every message of the credential cache, written by hand, each in a frame and
/// all of them in one stream.
fn frames() -> Vec<Vec<u8>> {
    let bytes = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let scope = [
        "https://issuer.example",
        "sigstore",
        "",
        "https://fulcio.example",
        "00ff",
        "alice@example.test",
    ]
    .map(|text| bytes(text.as_bytes()))
    .concat();
    let number = |number: u32| number.to_be_bytes().to_vec();
    let chain = [number(2), bytes(&[0x30, 0]), bytes(&[0x30; 20])].concat();
    let entry = [&scope[..], &[0; 8], &number(7), &[1; 8], &[1], &number(3)].concat();
    let key = [7; 16];
    let messages: [(u8, Vec<u8>); 25] = [
        (0x01, [&scope[..], &number(20)].concat()),
        (0x02, [&scope[..], &number(20), &number(1000)].concat()),
        (0x03, [&key[..], &chain].concat()),
        (0x04, [&key[..], &[9; 32]].concat()),
        (0x05, vec![]),
        (0x06, vec![]),
        (0x07, vec![]),
        (0x08, vec![]),
        (0x09, [&key[..], &bytes(b"no network")].concat()),
        (
            0x0a,
            [&scope[..], &[0], &bytes(b"e30.e30.c2ln"), &[2; 8]].concat(),
        ),
        (0x0b, [&scope[..], &[1]].concat()),
        (0x0c, scope.clone()),
        (0x81, vec![]),
        (0x82, [&key[..], &chain].concat()),
        (0x83, [&key[..], &bytes(&[4; 91])].concat()),
        (0x84, vec![]),
        (0x85, bytes(&[0x30; 71])),
        (0x86, [&number(1), &entry[..]].concat()),
        (0x86, number(0)),
        (0x87, number(2)),
        (0x88, vec![]),
        (0x89, bytes("schade \u{fc}".as_bytes())),
        (0x8a, [&number(77)[..], &[1, 0]].concat()),
        (0x8b, number(12)),
        (0xff, vec![10]),
    ];
    let mut frames: Vec<Vec<u8>> = messages
        .into_iter()
        .map(|(kind, fields)| bytes(&[&[1, kind], &fields[..]].concat()))
        .collect();
    frames.push(frames.concat());
    frames
}

/// A recorded object with its signature taken apart.
pub struct Signed {
    pub flag: u8,
    pub raw: Vec<u8>,
    pub der: Vec<u8>,
    pub leaf: Vec<u8>,
}

/// The recorded objects with an embedded log entry, the first 200 of them: the
/// number of one fits a byte.
pub fn signed() -> Vec<Signed> {
    let mut found: Vec<Signed> = Vec::new();
    for (_, flag, raw) in objects() {
        let Some(der) = armour(&raw).and_then(|armour| unarmour(&armour)) else {
            continue;
        };
        let leaf = certificates(&der).into_iter().next();
        let (Some(leaf), Some(_)) = (leaf, attribute(&der, &LOG_ENTRY)) else {
            continue;
        };
        if found.len() < 200 && found.iter().all(|other| other.raw != raw) {
            found.push(Signed {
                flag,
                raw,
                der,
                leaf,
            });
        }
    }
    found
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
}

/// The seeds of each target, by the target's name.
pub fn all() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut seeds: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut add = |target: &'static str, bytes: Vec<u8>| {
        let list = seeds.entry(target).or_default();
        if !list.contains(&bytes) {
            list.push(bytes);
        }
    };
    for (_, flag, raw) in objects() {
        let mut flagged = vec![flag];
        flagged.extend_from_slice(&raw);
        add("verify", flagged.clone());
        add("object", flagged);
        let Some(armour) = armour(&raw) else { continue };
        add("armor", armour.clone().into_bytes());
        let Some(der) = unarmour(&armour) else {
            continue;
        };
        for certificate in certificates(&der) {
            add("certificate", certificate);
        }
        if let Some(entry) = attribute(&der, &LOG_ENTRY) {
            if let Some(note) = checkpoint(&entry) {
                add("checkpoint", note);
            }
            add("entry", entry);
        }
        if let Some(token) = attribute(&der, &TIMESTAMP) {
            add("timestamp", token);
        }
        add("cms", der);
    }
    for path in [
        root().join("tests/data/gitsign/trusted_root.json"),
        shared().join("vectors/public-good/trusted_root.json"),
    ] {
        if let Ok(json) = fs::read(path) {
            add("trusted_root", json);
        }
    }
    for (number, signed) in (0u8..).zip(signed()) {
        add("signature", [&[number][..], &signed.der].concat());
    }
    // The examples of the reference.
    if let Ok(text) = fs::read_to_string(root().join("docs/policy.md")) {
        for rest in text.split("```toml\n").skip(1) {
            let example = rest.split("```").next().unwrap_or_default();
            add("policy", example.as_bytes().to_vec());
        }
    }
    // What was found once.
    for target in ["entry", "object"] {
        for path in files(&root().join("tests/fuzz/found").join(target)) {
            if let Ok(bytes) = fs::read(path) {
                add(target, bytes);
            }
        }
    }
    for (flag, digits) in [(0_u8, 40), (1, 64)] {
        let id = |digit: &str| digit.repeat(digits);
        let (a, b, none) = (id("a"), id("5"), id("0"));
        add(
            "hook",
            format!(
                "{}{none} {a} refs/heads/main\n{a} {b} refs/tags/v1.0\n{b} {none} refs/notes/commits\n",
                char::from(flag)
            )
            .into_bytes(),
        );
        add(
            "hook",
            format!(
                "{}certificate version 0.1\npusher Alice <alice@example.test> 1795176000 +0000\n\
                 pushee ssh://host/x\nnonce 1795176000-ab\npush-option a=b\n\n\
                 {none} {a} refs/heads/main\n{a} {b} refs/tags/v1.0\n\
                 -----BEGIN SIGNED MESSAGE-----\nAA==\n-----END SIGNED MESSAGE-----\n",
                char::from(flag | 4)
            )
            .into_bytes(),
        );
        add(
            "hook",
            format!(
                "{}refs/heads/main {a} refs/heads/main {b}\n(delete) {none} refs/heads/x {a}\nHEAD@{{1 day ago}} {a} refs/for/main {none}\n",
                char::from(flag | 2)
            )
            .into_bytes(),
        );
    }
    for (header, claims, length) in TOKENS {
        let signature = vec![7; length];
        let parts = [header.as_bytes(), claims.as_bytes(), &signature];
        let parts_as_they_are = parts.map(|part| [&[0], part].concat()).concat();
        add("token", parts_as_they_are);
        add(
            "token",
            parts
                .map(|part| URL_SAFE_NO_PAD.encode(part))
                .join(".")
                .into_bytes(),
        );
    }
    for frame in frames() {
        add("frame", frame);
    }
    // Shapes that no recorded vector has.
    add(
        "checkpoint",
        b"log.example\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\next\n\n\
          \xe2\x80\x94 log.example AAAAAAAA\n\xe2\x80\x94 witness AAAAAAAA\n"
            .to_vec(),
    );
    seeds
}

/// Tokens in the shapes of well-known identity providers: header, claims, and
/// the length of the signature.
const TOKENS: [(&str, &str, usize); 7] = [
    (
        r#"{"alg":"ES256","kid":"sT7_","typ":"JWT"}"#,
        r#"{"iss":"https://oauth2.example.test/auth","sub":"CgVhbGljZRIF","aud":"sigstore","exp":1800000060,"iat":1800000000,"nonce":"n","at_hash":"MTIzNDU2Nzg5MDEyMzQ1Ng","email":"alice@example.test","email_verified":true,"federated_claims":{"connector_id":"https://github.com/login/oauth","user_id":"1"}}"#,
        64,
    ),
    (
        r#"{"typ":"JWT","alg":"RS256","x5t":"eBZ_cn3sXYAd0ch4THBKHIgOwOE","kid":"78167F727DEC5D801DD1C8784C704A1C880EC0E1"}"#,
        r#"{"jti":"a","sub":"repo:octo-org/octo-repo:ref:refs/heads/main","aud":"sigstore","ref":"refs/heads/main","sha":"0123456789012345678901234567890123456789","repository":"octo-org/octo-repo","repository_owner":"octo-org","run_id":"1","workflow":"release","event_name":"push","job_workflow_ref":"octo-org/octo-repo/.github/workflows/r.yml@refs/heads/main","runner_environment":"github-hosted","iss":"https://token.actions.githubusercontent.com","nbf":1799999400,"exp":1800000300,"iat":1800000000}"#,
        256,
    ),
    (
        r#"{"kid":"4i3sFE7sxqNPOT7FdvcGA1ZVGGI_r-tsDXnEuYT4ZqE","typ":"JWT","alg":"RS256"}"#,
        r#"{"iss":"https://gitlab.com","sub":"project_path:g/p:ref_type:branch:ref:main","aud":["sigstore","other"],"exp":1800003600,"nbf":1799999995,"iat":1800000000,"project_id":"20","user_email":"u@example.test"}"#,
        256,
    ),
    (
        r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#,
        r#"{"aud":"sigstore","azp":"1","email":"robot@p.iam.gserviceaccount.com","email_verified":true,"exp":1800003600,"google":{"compute_engine":{"instance_id":"1","project_number":2}},"iat":1800000000,"iss":"https://accounts.google.com","sub":"1"}"#,
        256,
    ),
    (
        r#"{"alg":"RS256","kid":"k"}"#,
        r#"{"aud":["sigstore"],"exp":1800003600.25,"iat":1800000000,"iss":"https://kubernetes.default.svc","kubernetes.io":{"namespace":"n","pod":{"name":"p","uid":"u"},"serviceaccount":{"name":"s","uid":"v"}},"nbf":1800000000,"sub":"system:serviceaccount:n:s"}"#,
        256,
    ),
    (
        r#"{"alg":"ES384","kid":"k","typ":"JOSE"}"#,
        r#"{"aud":["sigstore"],"exp":1800003600,"iat":1800000000,"iss":"https://spire.example.test","sub":"spiffe://example.test/ci"}"#,
        96,
    ),
    (
        r#"{"alg":"EdDSA"}"#,
        r#"{"iss":"https://i.test","sub":"é","aud":"a","exp":1800000000,"email":"a@b.test","email_verified":"true"}"#,
        64,
    ),
];

/// The armoured block of an object: a header's continuation lines, or the end
/// of a tag.
fn armour(raw: &[u8]) -> Option<String> {
    const BEGIN: &str = "-----BEGIN SIGNED MESSAGE-----";
    const END: &str = "-----END SIGNED MESSAGE-----";
    let text = String::from_utf8_lossy(raw);
    let header = ["gpgsig ", "gpgsig-sha256 "].iter().find_map(|name| {
        text.find(&format!("\n{name}{BEGIN}"))
            .map(|at| at + 1 + name.len())
    });
    let begin = header.or_else(|| text.rfind(&format!("\n{BEGIN}")).map(|at| at + 1))?;
    let mut block = String::new();
    for line in text.get(begin..)?.split('\n') {
        let line = if header.is_some() {
            line.strip_prefix(' ').unwrap_or(line)
        } else {
            line
        };
        block.push_str(line);
        block.push('\n');
        if line == END {
            return Some(block);
        }
    }
    None
}

fn unarmour(armour: &str) -> Option<Vec<u8>> {
    let base64: String = armour.lines().filter(|l| !l.starts_with('-')).collect();
    STANDARD.decode(base64).ok()
}

/// OBJECT IDENTIFIER 1.3.6.1.4.1.57264.3.1 in DER.
const LOG_ENTRY: [u8; 12] = [
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x03, 0x01,
];
/// OBJECT IDENTIFIER 1.2.840.113549.1.9.16.2.14 in DER.
const TIMESTAMP: [u8; 13] = [
    0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0e,
];

/// The single value of an attribute: what stands in its SET, and for an OCTET
/// STRING what stands in that.
fn attribute(der: &[u8], oid: &[u8]) -> Option<Vec<u8>> {
    let at = der.windows(oid.len()).position(|w| w == oid)? + oid.len();
    let (tag, values, _) = tlv(der.get(at..)?)?;
    if tag != 0x31 {
        return None;
    }
    let (tag, content, whole) = tlv(values)?;
    Some(if tag == 0x04 { content } else { whole }.to_vec())
}

/// `(tag, content, all of it)` of the element that the bytes begin with.
pub fn tlv(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let tag = *bytes.first()?;
    let first = usize::from(*bytes.get(1)?);
    let (length, head) = if first < 0x80 {
        (first, 2)
    } else {
        let count = first & 0x7f;
        if count == 0 || count > 4 {
            return None;
        }
        let mut length = 0usize;
        for byte in bytes.get(2..2 + count)? {
            length = (length << 8) | usize::from(*byte);
        }
        (length, 2 + count)
    };
    let end = head.checked_add(length)?;
    Some((tag, bytes.get(head..end)?, bytes.get(..end)?))
}

/// The certificates of a SignedData: ContentInfo → [0] → SignedData → [0].
fn certificates(der: &[u8]) -> Vec<Vec<u8>> {
    let found = || {
        let (_, content_info, _) = tlv(der)?;
        let (_, _, oid) = tlv(content_info)?;
        let (_, explicit, _) = tlv(content_info.get(oid.len()..)?)?;
        let (_, mut rest, _) = tlv(explicit)?;
        while let Some((tag, content, whole)) = tlv(rest) {
            if tag == 0xa0 {
                let mut list = Vec::new();
                let mut rest = content;
                while let Some((_, _, one)) = tlv(rest) {
                    list.push(one.to_vec());
                    rest = rest.get(one.len()..)?;
                }
                return Some(list);
            }
            rest = rest.get(whole.len()..)?;
        }
        None
    };
    found().unwrap_or_default()
}

/// The checkpoint inside a log entry message: field 6 (inclusion proof), in it
/// field 5 (checkpoint), in it field 1 (envelope).
fn checkpoint(entry: &[u8]) -> Option<Vec<u8>> {
    Some(field(field(field(entry, 6)?, 5)?, 1)?.to_vec())
}

/// A length-delimited field of a protobuf message.
fn field(message: &[u8], number: u64) -> Option<&[u8]> {
    let mut rest = message;
    let varint = |rest: &mut &[u8]| {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, tail) = rest.split_first()?;
            *rest = tail;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => {
                varint(&mut rest)?;
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let content = rest.get(..length)?;
                if key >> 3 == number {
                    return Some(content);
                }
                rest = rest.get(length..)?;
            }
            _ => return None,
        }
    }
    None
}
