//! Signatures, made and recorded, against the verifier: each good one is
//! accepted, each other one is refused at its own step for its own reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    missing_docs
)]

mod attacks;
mod certificates;
mod forge_agrees;
mod lookup;
mod objects;
mod recorded;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
mod trust;
mod vectors;
