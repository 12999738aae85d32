//! The identity provider: its messages, the login, and a reference issuer.

pub mod ambient;
pub mod client;
pub mod server;
pub mod wire;
