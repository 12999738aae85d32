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
#[path = "../forge/mod.rs"]
mod forge;
mod merges;
mod own;
mod rules;
mod servers;
#[path = "../scenes/stage.rs"]
mod stage;
mod wires;
mod yard;
