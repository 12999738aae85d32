//! Verifies Sigstore signatures of Git commits and tags, offline: bytes in,
//! verdict out.
//!
//! [`verify`](verify::verify) takes the bytes of a signature and of what it signs,
//! and a [`TrustedRoot`](trusted_root::TrustedRoot). It checks nine steps in order:
//! the CMS, the content, the signature, the log entry, its inclusion in a
//! transparency log, the time, the certificate chain, the certificate's SCT and the
//! identity. The result is [`Verified`](verify::Verified), or a
//! [`Refusal`](refusal::Refusal) with the step, a stable code and a message.
//!
//! ```
//! use gitseal_evidence::{
//!     identity::{ExpectedIdentity, IdentityMatcher, Pattern},
//!     object::{HashKind, ObjectKind, split_signature},
//!     trusted_root::TrustedRoot,
//!     verify::{NoopObserver, SignatureInput, VerifyInputs, verify},
//! };
//! # macro_rules! data {
//! #     ($name:literal) => { include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/gitsign/", $name)) };
//! # }
//! # let (commit, root) = (data!("objects/offline.commit"), data!("trusted_root.json"));
//!
//! // `commit`: the object as `git cat-file commit` prints it; `root`: a trusted_root.json.
//! let object = split_signature(ObjectKind::Commit, HashKind::Sha1, commit)?;
//! let trust = TrustedRoot::from_json(root)?;
//! let alice = IdentityMatcher::new(
//!     vec![Pattern::exact("identity", "alice@example.test")?],
//!     vec![Pattern::exact("issuer", "http://127.0.0.1:18080")?],
//!     vec![],
//! )?;
//! let input = SignatureInput {
//!     payload: Some(&object.payload),
//!     signature: &object.signature,
//!     hash: HashKind::Sha1,
//! };
//! let inputs = VerifyInputs {
//!     expected: &ExpectedIdentity::OneOf(vec![alice]),
//!     ..VerifyInputs::new(&trust)
//! };
//! let verified = verify(&input, &inputs, &mut NoopObserver)?;
//! assert!(verified.identity_matched);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate has no clock, randomness, files, environment or network. What a
//! function needs is an argument, and the time of a signature is a *result* of
//! checking the log entry or the timestamp.
//!
//! *Not here:* reading objects and resolving names (the caller passes bytes),
//! finding log entries online (the caller passes those it found), fetching trusted
//! roots, policies, and everything that makes signatures.
//!
//! # Features
//!
//! - `verify-aws-lc` (default): signatures are verified by aws-lc-rs, which is fast
//!   and knows P-256, P-384, P-521, RSA and Ed25519. Without it the crate is pure Rust
//!   and verifies P-256, P-384 and Ed25519 only.

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
