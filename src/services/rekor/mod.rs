//! A Rekor transparency log: its messages, a client for both versions of the
//! API, and the reference server (version 1).

pub mod client;
pub mod rest;
pub mod tiles;
pub mod wire;
