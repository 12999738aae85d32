//! The timestamp authority: its messages and a client.

pub mod client;
pub mod wire;
