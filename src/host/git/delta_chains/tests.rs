//! Packs that were made to be expensive.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use gix::{ObjectId, objs::Kind};

use crate::host::git::{GitError, Workspace};

const COMMIT: u8 = 1;
const OFFSET_DELTA: u8 = 6;

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The header of an entry of a pack.
fn entry(kind: u8, size: usize) -> Vec<u8> {
    let low = u8::try_from(size & 0xf).unwrap() | kind << 4;
    match size >> 4 {
        0 => vec![low],
        rest => [vec![low | 0x80], varint(rest)].concat(),
    }
}

/// The distance to the base of a delta.
fn distance(mut number: usize) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(number & 0x7f).unwrap()];
    while number >> 7 != 0 {
        number = (number >> 7) - 1;
        bytes.insert(0, 0x80 | u8::try_from(number & 0x7f).unwrap());
    }
    bytes
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut out =
        gix::zlib::stream::deflate::Write::new(Vec::new(), gix::zlib::Compression::BEST_SPEED);
    out.write_all(bytes).unwrap();
    out.flush().unwrap();
    out.into_inner()
}

/// A repository with one pack: `first`, and commits each of which is the difference
/// from the one before: its first `kept` bytes, and a number.
fn repository(first: &[u8], kept: usize, deltas: usize) -> (tempfile::TempDir, Vec<ObjectId>) {
    let directory = tempfile::tempdir().unwrap();
    gix::init_bare(directory.path()).unwrap();
    let id =
        |raw: &[u8]| gix::objs::compute_hash(gix::hash::Kind::Sha1, Kind::Commit, raw).unwrap();
    let mut pack = [
        &b"PACK\0\0\0\x02"[..],
        &u32::try_from(deltas + 1).unwrap().to_be_bytes(),
    ]
    .concat();
    let mut last = pack.len();
    pack.extend(entry(COMMIT, first.len()));
    pack.extend(deflated(first));
    let mut ids = vec![id(first)];
    let mut base_size = first.len();
    for number in 0..deltas {
        let text = format!("{number}\n");
        let result = [&first[..kept], text.as_bytes()].concat();
        let size = u16::try_from(kept).unwrap().to_le_bytes();
        // Copy from the beginning, two bytes of size; then what follows.
        let delta = [
            varint(base_size),
            varint(result.len()),
            vec![0b1011_0000, size[0], size[1]],
            vec![u8::try_from(text.len()).unwrap()],
            text.into_bytes(),
        ]
        .concat();
        let at = pack.len();
        pack.extend(entry(OFFSET_DELTA, delta.len()));
        pack.extend(distance(at - last));
        pack.extend(deflated(&delta));
        last = at;
        base_size = result.len();
        ids.push(id(&result));
    }
    let mut hash = gix::hash::hasher(gix::hash::Kind::Sha1);
    hash.update(&pack);
    pack.extend_from_slice(hash.try_finalize().unwrap().as_slice());
    index(directory.path(), &pack);
    (directory, ids)
}

fn index(directory: &Path, pack: &[u8]) {
    let mut git = Command::new("git")
        .args(["index-pack", "--stdin"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(pack).unwrap();
    assert!(git.wait().unwrap().success());
}

const FIRST: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n";

/// Read from the end of the chain: each object is the base of the one before it, so
/// that the library would apply some two million deltas for these two thousand
/// objects.
#[test]
fn a_long_chain_costs_what_it_is_long() {
    const DELTAS: usize = 2_000;
    let (directory, ids) = repository(FIRST.as_bytes(), FIRST.len(), DELTAS);
    let workspace = Workspace::open(directory.path()).unwrap();
    let objects = workspace.repository().unwrap().objects();
    for id in ids.iter().rev() {
        objects.read(*id).unwrap();
    }
    let counts = objects.counts();
    assert_eq!(counts.commits_and_tags, 2_001);
    assert!(counts.deltas < 51 * 2_001, "{counts:?}");
    assert!(counts.deltas > 2_000, "{counts:?}");
}

#[test]
fn a_chain_longer_than_git_writes_is_refused() {
    let (directory, ids) = repository(FIRST.as_bytes(), FIRST.len(), 4_096);
    let workspace = Workspace::open(directory.path()).unwrap();
    let objects = workspace.repository().unwrap().objects();
    let error = objects.read(ids[4_096]).unwrap_err();
    assert!(
        matches!(
            error,
            GitError::DeltaChain {
                deltas: 4_096,
                most: 4_095,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(objects.read(ids[4_095]).unwrap().id, ids[4_095]);
}

/// A small commit whose base is not: 140 MiB that compress to nothing.
#[test]
fn a_large_base_is_refused_by_name() {
    let mut first = FIRST.as_bytes().to_vec();
    first.resize(140 * 1024 * 1024, b'x');
    let (directory, ids) = repository(&first, FIRST.len(), 1);
    let workspace = Workspace::open(directory.path()).unwrap();
    let objects = workspace.repository().unwrap().objects();
    let error = objects.read(ids[1]).unwrap_err();
    assert!(
        matches!(
            error,
            GitError::Unpacking {
                most: 268_435_456,
                ..
            }
        ),
        "{error}"
    );
}
