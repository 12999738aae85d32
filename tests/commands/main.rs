//! Commands of gitseal as Git and users run them, with Git itself, in
//! repositories of all shapes: what reaches Git, a terminal or a script. The
//! rules of a verification are tested in `tests/signatures`.

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

mod audit;
mod commands;
mod config;
mod differential;
mod errors;
mod git;
mod names;
mod online;
mod output;
mod places;
mod question;
mod ranges;
mod reading;
#[path = "../support/mod.rs"]
mod support;
use support::{forge, stage, stub};
