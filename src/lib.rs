//! gitseal: keyless signing and verification of Git commits and tags with
//! Sigstore. This library is what the program `gitseal` is made of; to verify
//! signatures from other programs, use the crate `gitseal-evidence`.

pub mod account;
pub mod audit;
pub mod batch;
pub mod cli;
pub mod complete;
pub mod doctor;
pub mod exit;
pub mod explain;
pub mod gate;
pub mod history;
pub mod host;
pub mod lookup;
pub mod range;
pub mod setup;
pub mod show;
pub mod sign;
pub mod verify;
pub mod version;

#[cfg(test)]
#[path = "services/http/client/stub.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod stub;
