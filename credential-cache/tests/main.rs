//! Tests of the daemon and its client, process against process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod activation;
mod confirm;
mod conversation;
mod daemon;
mod dependencies;
mod gitsign;
mod guarantees;
mod load;
mod memory;
mod overload;
mod single_flight;
