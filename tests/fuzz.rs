//! The properties of the fuzz targets, on every seed and on simple changes of
//! it, in an ordinary test: fast, deterministic, on the stable compiler.
//!
//! With `GITSEAL_FUZZ_SEEDS=DIR` it also writes the seeds there, a folder for
//! each target, which is how `tests/fuzz/run` gets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "fuzz/properties.rs"]
mod properties;
#[path = "fuzz/seeds.rs"]
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A small generator (SplitMix64), so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }
}

fn changed(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 => {
                let end = (at + dice.roll(40)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            2 => bytes.insert(at, dice.roll(256) as u8),
            3 => {
                let end = (at + dice.roll(40)).min(bytes.len());
                let copy = bytes[at.min(end)..end].to_vec();
                let to = dice.roll(bytes.len());
                bytes.splice(to..to, copy);
            }
            4 if !bytes.is_empty() => bytes[at] ^= 1 << dice.roll(8),
            _ if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0x80, 0xff, b'\n', b' '][dice.roll(6)],
            _ => {}
        }
    }
    bytes
}

#[test]
fn every_target_has_seeds_and_they_hold() {
    let seeds = seeds::all();
    for (target, property) in properties::ALL {
        let list = seeds.get(target).map_or(&[][..], Vec::as_slice);
        assert!(!list.is_empty(), "no seeds for the target {target}");
        println!("{target}: {} seeds", list.len());
        for (number, seed) in list.iter().enumerate() {
            let held = catch_unwind(AssertUnwindSafe(|| property(seed)));
            assert!(held.is_ok(), "{target}: seed {number} breaks the property");
        }
        if let Some(dir) = std::env::var_os("GITSEAL_FUZZ_SEEDS") {
            let dir = std::path::Path::new(&dir).join(target);
            std::fs::create_dir_all(&dir).unwrap();
            for (number, seed) in list.iter().enumerate() {
                std::fs::write(dir.join(format!("seed-{number:04}")), seed).unwrap();
            }
        }
    }
}

#[test]
fn changed_seeds_hold_too() {
    let seeds = seeds::all();
    for (target, property) in properties::ALL {
        let mut dice = Dice(0x6769_7473_6561_6c00);
        // The whole verification costs a thousand times as much as a parser.
        let rounds = match target {
            "verify" | "signature" => 400,
            _ => 4000,
        };
        let list = seeds.get(target).expect("seeds");
        for round in 0..rounds {
            let seed = &list[dice.roll(list.len())];
            let bytes = changed(seed, &mut dice);
            let held = catch_unwind(AssertUnwindSafe(|| property(&bytes)));
            assert!(
                held.is_ok(),
                "{target}: round {round} breaks the property: {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}

/// The seeds are honest signatures: each parser accepts most of its own, so
/// that the properties are not vacuous.
#[test]
fn the_parsers_accept_their_seeds() {
    use gitseal_evidence::{
        armor, certificate::Certificate, checkpoint::SignedNote, entry::LogEntry, signed_data,
        timestamp, trusted_root::TrustedRoot,
    };
    type Accepts = fn(&[u8]) -> bool;
    let parsers: [(&str, Accepts); 9] = [
        ("frame", |d| {
            use gitseal_credential_cache::protocol::{CacheRequest, CacheResponse, read_frame};
            read_frame(&mut &*d).is_ok_and(|payload| {
                CacheRequest::parse(&payload).is_ok() || CacheResponse::parse(&payload).is_ok()
            })
        }),
        ("armor", |d| armor::decode(d).is_ok()),
        ("certificate", |d| Certificate::from_der(d).is_ok()),
        ("checkpoint", |d| {
            SignedNote::parse(&String::from_utf8_lossy(d)).is_ok()
        }),
        ("cms", |d| signed_data::read(d).is_ok()),
        ("entry", |d| LogEntry::from_protobuf(d).is_ok()),
        ("timestamp", |d| timestamp::read(d).is_ok()),
        ("token", properties::is_token),
        ("trusted_root", |d| TrustedRoot::from_json(d).is_ok()),
    ];
    let seeds = seeds::all();
    // Objects with an embedded proof verify; the rest have theirs in a log.
    let verified = seeds
        .get("verify")
        .into_iter()
        .flatten()
        .filter(|seed| properties::verified(seed).is_some())
        .count();
    assert!(verified >= 15, "only {verified} recorded objects verify");
    for (target, accepts) in parsers {
        let list = seeds.get(target).expect("seeds");
        let accepted = list.iter().filter(|seed| accepts(seed)).count();
        assert!(
            accepted * 10 >= list.len() * 9,
            "{target}: {accepted} of {} seeds accepted",
            list.len()
        );
    }
}
