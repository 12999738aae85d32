//! The reference certificate authority: identity providers, tokens, certificates
//! and the HTTP API.

pub mod issue;
pub mod principal;
pub mod server;
pub mod tokens;
