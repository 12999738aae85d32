//! Signing with Git itself against the reference servers: logins and tokens of CI
//! jobs. Everything on loopback, every wait bounded.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    missing_docs
)]

mod ambient;
#[cfg(target_os = "linux")]
mod logins;
mod sign_verify;
#[path = "../support/mod.rs"]
mod support;
use support::stub;
