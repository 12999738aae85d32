//! The reference servers: OIDC issuer, certificate authority, CT log, Rekor and
//! timestamp authority, over one append-only log.

pub mod ct;
pub mod fulcio;
pub mod log;
pub mod oidc;
pub mod rekor;
pub mod tsa;
