//! gitseal: keyless signing and verification of Git commits and tags with
//! Sigstore. This library is what the program `gitseal` consists of; to verify
//! signatures from other programs, use the crate `gitseal-evidence`.

#[doc(hidden)]
pub mod account;
#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod batch;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod complete;
mod context;
#[doc(hidden)]
pub mod doctor;
#[doc(hidden)]
pub mod exit;
#[doc(hidden)]
pub mod explain;
#[doc(hidden)]
pub mod gate;
#[doc(hidden)]
pub mod history;
#[doc(hidden)]
pub mod host;
mod lookup;
mod range;
mod recorder;
mod report;
#[doc(hidden)]
pub mod setup;
#[doc(hidden)]
pub mod show;
#[doc(hidden)]
pub mod sign;
#[doc(hidden)]
pub mod verdict;
#[doc(hidden)]
pub mod verify;
#[doc(hidden)]
pub mod version;

#[cfg(test)]
#[path = "../tests/support/stub.rs"]
mod stub;
