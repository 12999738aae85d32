//! (to be written)

pub mod client;
pub mod server;
