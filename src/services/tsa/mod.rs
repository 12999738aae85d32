//! The timestamp authority: its client and a reference server.

pub mod client;
