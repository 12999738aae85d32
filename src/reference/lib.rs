//! The reference servers: OIDC issuer, Fulcio, CT log, Rekor and timestamp
//! authority, over one append-only log. This library is a part of the program
//! `gitseal-reference`.

#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod ct;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod fulcio;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod oidc;
#[doc(hidden)]
pub mod quickstart;
#[doc(hidden)]
pub mod rekor;
#[doc(hidden)]
pub mod serve;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod system;
#[doc(hidden)]
pub mod tsa;
