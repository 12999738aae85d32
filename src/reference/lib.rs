//! The reference servers: OIDC issuer, Fulcio, CT log, Rekor and timestamp
//! authority, over one append-only log. This library is a part of the program
//! `gitseal-reference`.

#![doc(hidden)]

pub mod config;
pub mod ct;
pub mod error;
pub mod fulcio;
pub mod log;
pub mod oidc;
pub mod quickstart;
pub mod rekor;
pub mod serve;
pub mod store;
pub mod system;
pub mod tsa;
