//! Makes a history of really signed commits, for measurements (`.ci/bench
//! --ranges`) and for tests of what it makes: each commit with a CMS signature,
//! a certificate of a P-384 authority with an SCT, and a log entry with a SET, an
//! inclusion proof in a growing tree and a checkpoint of its own.
//!
//! ```text
//! GITSEAL_HISTORY=DIR [GITSEAL_HISTORY_COMMITS=10000] [GITSEAL_HISTORY_PER_CERTIFICATE=20]
//!   [GITSEAL_HISTORY_UNSIGNED=0] cargo test --test history -- --ignored make
//! ```
//!
//! `DIR` is then a bare repository with `trusted_root.json` in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    missing_docs
)]

mod support;

use gitseal_services::merkle_tree::MemoryTree;
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use gitseal_evidence::{
    hex, merkle,
    object::{self, HashKind, ObjectKind},
};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use support::forge::{IDENTITY, Key, Lab, NOW};
use support::{forge, log};

/// Entries of others that the log has when the history begins.
const OTHERS: u64 = 200_000;
/// Seconds between commits: twenty fit into a certificate's ten minutes.
const PACE: i64 = 25;

struct Plan {
    signed: usize,
    unsigned: usize,
    per_certificate: usize,
    others: u64,
}

/// The bytes of a pack with these commits, stored without compression.
struct Pack {
    bytes: Vec<u8>,
    objects: u32,
}

impl Pack {
    fn new() -> Self {
        Self {
            bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(),
            objects: 0,
        }
    }

    /// `gitformat-pack(5)`: type and size, then zlib (RFC 1950) with stored
    /// blocks (RFC 1951 §3.2.4).
    fn push(&mut self, kind: u8, raw: &[u8]) {
        let mut size = raw.len();
        let mut byte = kind << 4 | (size & 15) as u8;
        size >>= 4;
        while size > 0 {
            self.bytes.push(byte | 0x80);
            byte = (size & 127) as u8;
            size >>= 7;
        }
        self.bytes.push(byte);
        self.bytes.extend([0x78, 0x01]);
        let mut chunks = raw.chunks(65_535).peekable();
        if raw.is_empty() {
            self.bytes.extend([1, 0, 0, 0xff, 0xff]);
        }
        while let Some(chunk) = chunks.next() {
            self.bytes.push(u8::from(chunks.peek().is_none()));
            let length = chunk.len() as u16;
            self.bytes.extend(length.to_le_bytes());
            self.bytes.extend((!length).to_le_bytes());
            self.bytes.extend(chunk);
        }
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in raw {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        self.bytes.extend((b << 16 | a).to_be_bytes());
        self.objects += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes[8..12].copy_from_slice(&self.objects.to_be_bytes());
        let sum = Sha1::digest(&self.bytes);
        self.bytes.extend(sum);
        self.bytes
    }
}

fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{arguments:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Makes the repository. The signed commits are the last ones.
fn make(directory: &Path, plan: &Plan) {
    fs::create_dir_all(directory).unwrap();
    git(directory, &["init", "-q", "--bare", "-b", "main", "."], b"");
    let lab = Lab::new();
    fs::write(directory.join("trusted_root.json"), lab.trusted_root()).unwrap();
    let mut tree_of_log = MemoryTree::default();
    for nth in 0..plan.others {
        tree_of_log.push(merkle::leaf_hash(&nth.to_be_bytes()));
    }
    let mut pack = Pack::new();
    pack.push(2, b"");
    let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let mut parent: Option<String> = None;
    let mut spec = lab.spec();
    let mut leaf = Vec::new();
    for number in 0..plan.unsigned + plan.signed {
        let nth = number.checked_sub(plan.unsigned);
        let at = NOW + PACE * (number as i64 - plan.unsigned as i64);
        let mut payload = format!("tree {tree}\n");
        if let Some(parent) = &parent {
            payload.push_str(&format!("parent {parent}\n"));
        }
        payload.push_str(&format!(
            "author Alice <{IDENTITY}> {at} +0000\ncommitter Alice <{IDENTITY}> {at} +0000\n\nChange number {number}\n\nIt does what was asked for in a few words that take the room\nthat the message of a commit has in the middle ({}).\n",
            hex(&Sha256::digest(number.to_be_bytes()))
        ));
        let raw = match nth {
            None => payload.into_bytes(),
            Some(nth) => {
                if nth % plan.per_certificate == 0 {
                    let secret = Sha256::digest([b"key".as_slice(), &nth.to_be_bytes()].concat());
                    spec.key = Key::P256(p256::ecdsa::SigningKey::from_slice(&secret).unwrap());
                    spec.leaf = lab.leaf(&spec.key);
                    let serial = &secret[..19];
                    spec.leaf.serial = [&[1_u8], serial].concat();
                    spec.leaf.not_before = forge::der::utc_time(at - 5);
                    spec.leaf.not_after = forge::der::utc_time(at + 595);
                    spec.scts[0].timestamp_ms = ((at - 5) * 1000) as u64;
                    leaf = lab.leaf_certificate(&spec);
                }
                let armored = log::sign(
                    &lab,
                    payload.as_bytes(),
                    at,
                    &spec.key,
                    &leaf,
                    &mut tree_of_log,
                );
                object::attach_signature(
                    ObjectKind::Commit,
                    HashKind::Sha1,
                    payload.as_bytes(),
                    armored.as_bytes(),
                )
            }
        };
        parent = Some(object::id_hex(ObjectKind::Commit, HashKind::Sha1, &raw));
        pack.push(1, &raw);
    }
    let file = directory.join("objects").join("made.pack");
    fs::write(&file, pack.finish()).unwrap();
    let bytes = fs::read(&file).unwrap();
    git(directory, &["index-pack", "--stdin"], &bytes);
    fs::remove_file(&file).unwrap();
    git(
        directory,
        &["update-ref", "refs/heads/main", &parent.unwrap()],
        b"",
    );
    // As a server stores it: compressed, with deltas.
    git(directory, &["repack", "-q", "-a", "-d", "-F"], b"");
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
#[ignore = "makes a repository for measurements"]
fn make_a_history() {
    let Some(directory) = std::env::var_os("GITSEAL_HISTORY") else {
        panic!("GITSEAL_HISTORY names no directory");
    };
    let plan = Plan {
        signed: number("GITSEAL_HISTORY_COMMITS", 10_000),
        unsigned: number("GITSEAL_HISTORY_UNSIGNED", 0),
        per_certificate: number("GITSEAL_HISTORY_PER_CERTIFICATE", 20),
        others: OTHERS,
    };
    make(Path::new(&directory), &plan);
}

#[test]
fn what_is_made_is_verified() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("made.git");
    let plan = Plan {
        signed: 45,
        unsigned: 5,
        per_certificate: 20,
        others: 300,
    };
    make(&repository, &plan);
    let verify = |range: &str| {
        let done = Command::new(env!("CARGO_BIN_EXE_gitseal"))
            .current_dir(&repository)
            .args(["verify", "--offline", "--json", range])
            .args(["--certificate-identity", IDENTITY])
            .args(["--certificate-oidc-issuer", forge::ISSUER])
            .args(["--trusted-root", "trusted_root.json"])
            .env("HOME", home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        let out = String::from_utf8(done.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        (done.status.code(), last["summary"].clone())
    };
    let (code, summary) = verify("HEAD~44^!");
    assert_eq!((code, &summary["good"]), (Some(0), &1.into()), "{summary}");
    let (code, summary) = verify("HEAD~45..HEAD");
    assert_eq!((code, &summary["good"]), (Some(0), &45.into()), "{summary}");
    let (code, summary) = verify("HEAD~48..HEAD~48");
    assert_eq!(
        (code, &summary["commits"]),
        (Some(0), &0.into()),
        "{summary}"
    );
    let (code, summary) = verify("--all");
    assert_eq!(
        (code, &summary["unsigned"]),
        (Some(1), &5.into()),
        "{summary}"
    );
}
