//! The certificate authority that binds a key to a token's subject: its
//! messages, its client, and a reference server.

pub mod client;
pub mod wire;
