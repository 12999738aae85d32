//! (to be written)

pub mod client;
pub mod issue;
pub mod server;
pub mod wire;
