//! gitseal: keyless signing and verification of Git commits and tags with
//! Sigstore. This library is what the program `gitseal` consists of; to verify
//! signatures from other programs, use the crate `gitseal-evidence`.

#![doc(hidden)]

pub mod account;
pub mod audit;
pub mod batch;
pub mod cli;
pub mod complete;
mod context;
pub mod doctor;
pub mod exit;
pub mod explain;
pub mod gate;
pub mod history;
pub mod host;
mod lookup;
mod names;
mod range;
mod recorder;
mod report;
pub mod setup;
pub mod show;
pub mod sign;
pub mod verdict;
pub mod verify;
pub mod version;

#[cfg(test)]
#[path = "../tests/support/stub.rs"]
mod stub;
