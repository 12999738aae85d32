//! (to be written)

pub mod server;
pub mod wire;
