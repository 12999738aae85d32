//! The reference certificate authority: who is certified, as what, and by whom.

pub mod issue;
pub mod principal;
pub mod server;
pub mod tokens;
