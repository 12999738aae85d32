//! Roll-out: `gitseal setup`, its profiles and its way back, and `gitseal
//! doctor` with one planted fault at a time. Real git, a home of its own, the
//! reference servers or a closed port on loopback; every wait is bounded.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod doctor;
mod profiles;
mod setup;
#[path = "../support/mod.rs"]
mod support;
