//! Ring 3a: speaking to other machines. In each service `wire` holds the pure
//! message types; `client` and `server` import `wire`, never each other, and no
//! service imports another: the story (a command, or the reference server's
//! start) joins them.
//!
//! Two modules serve them all: `http` (one bounded client, one bounded server)
//! and `log` (the append-only tree under CT and Rekor).

pub mod ct;
pub mod fulcio;
pub mod http;
pub mod oidc;
pub mod rekor;
pub mod tsa;
