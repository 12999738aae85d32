//! The harness of the tests: a home and a clean environment, repositories, the
//! reference servers, other implementations, and a Sigstore that makes
//! signatures with one thing wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    reason = "test support; each test program uses a part"
)]

pub mod forge;
pub mod home;
pub mod log;
pub mod peers;
pub mod process;
pub mod servers;
pub mod stage;
pub mod stub;

use std::path::{Path, PathBuf};

pub const ALICE: &str = "alice@example.test";
pub const GITSEAL: &str = env!("CARGO_BIN_EXE_gitseal");
pub const REFERENCE: &str = concat!(env!("CARGO_BIN_EXE_gitseal"), "-reference");

/// What is signed where the content does not matter.
pub const PAYLOAD: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
author Alice <alice@example.test> 1795176000 +0000\n\
committer Alice <alice@example.test> 1795176000 +0000\n\nmessage\n";

/// Reports that a test cannot run here. In CI, where GITSEAL_REQUIRE_PEERS is
/// set, that is a failure.
#[track_caller]
pub fn skipped(reason: &str) {
    assert!(
        std::env::var_os("GITSEAL_REQUIRE_PEERS").is_none(),
        "skipped: {reason}"
    );
    println!("skipped: {reason}");
}

/// Reports that this user or system cannot be tested; no failure in CI.
pub fn not_applicable(reason: &str) {
    println!("not applicable: {reason}");
}

/// Ends a test that cannot run here: see [`skipped`].
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::support::skipped(&format!($($reason)*));
        return;
    }};
}

/// The credential cache's daemon, which `cargo build --workspace` makes.
pub fn daemon() -> Option<PathBuf> {
    let daemon = Path::new(GITSEAL).with_file_name("gitseal-credential-cache");
    if daemon.is_file() {
        return Some(daemon);
    }
    skipped("the daemon is not built (cargo build --workspace)");
    None
}

/// What gitsign made, with the answers of its log.
pub fn gitsign_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gitsign")
}

/// Data that came from other repositories: beside the checkout, or where
/// `GITSEAL_SHARED` says.
pub fn shared(part: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("GITSEAL_SHARED")
        .map_or(beside, PathBuf::from)
        .join(part);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped (data absent): there is no {}", path.display());
    None
}
