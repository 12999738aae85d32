//! Ring 3a: speaking to other machines. In each service `wire` holds the pure
//! message types; `client` and `server` import `wire`, never each other, and no
//! service imports another: the story (a command, or the reference server's
//! start) joins them.
//!
//! Two modules serve them all: `http` (one bounded client, one bounded server)
//! and `log` (the append-only tree under CT and Rekor).

pub mod ct;
pub mod der;
pub mod fulcio;
pub mod http;
pub mod merkle_tree;
pub mod oidc;
pub mod rekor;
pub mod signed_data;
pub mod trusted_root;
pub mod tsa;

#[cfg(test)]
#[path = "../../tests/support/stub.rs"]
mod stub;

use gitseal_evidence::UnixTime;

/// Returns the current time.
pub type Clock = Box<dyn Fn() -> UnixTime + Send + Sync>;
/// Fills a buffer with entropy of the operating system.
pub type Entropy = Box<dyn Fn(&mut [u8]) -> std::io::Result<()> + Send + Sync>;
/// Signs a message with a key that the caller holds.
pub type SignKey = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
