//! Ring 1: what a signature is made of and how it is judged.
//!
//! Pure: no clock, no randomness, no files, no environment, no network. What
//! a function needs is an argument, and the time of a signature is a *result*
//! of checking the log entry or the timestamp.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod armor;
pub mod asn1;
pub mod certificate;
pub mod chain;
pub mod checkpoint;
pub mod entry;
mod hex;
pub mod identity;
pub mod keys;
pub mod memo;
pub mod merkle;
pub mod object;
pub mod refusal;
pub mod sct;
pub mod signed_data;
mod time;
pub mod timestamp;
pub mod trusted_root;
pub mod verify;

pub use hex::{hex, unhex};
pub use time::rfc3339;

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
pub type UnixTime = i64;
