//! The gate, by real pushes of a real git into a bare repository with the hook.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    missing_docs
)]

mod attacks;
mod ci;
mod command;
mod costs;
mod forks;
mod keys;
mod merges;
mod namespaces;
mod overrule;
mod own;
mod policy;
mod push_certificate;
mod rules;
mod servers;
mod states;
#[path = "../support/mod.rs"]
mod support;
mod verdict_log;
mod wires;
mod yard;

use support::{forge, stage};
