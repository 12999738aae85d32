//! Scenes: `gitseal` as git and people run it, with git itself, in repositories
//! of all shapes. The rules of a verification are tested in the core; here is
//! what reaches git, a terminal or a script.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

mod commands;
mod config;
#[path = "../forge/mod.rs"]
mod forge;
mod git;
mod online;
mod output;
mod places;
mod stage;
