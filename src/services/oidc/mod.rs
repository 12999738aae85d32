//! The identity provider: its messages, the login, and a reference issuer.

pub mod ambient;
pub mod client;
pub mod compact;
pub mod server;
pub mod wire;
