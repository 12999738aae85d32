//! Ring 4: the stories. The only files that know more than one neighbour.

use std::io;

use crate::{
    host::terminal,
    services::http::client::{Client, Timeouts},
};

pub mod account;
pub mod audit;
pub mod batch;
pub mod cli;
pub mod complete;
pub mod doctor;
pub mod explain;
pub mod gate;
pub mod history;
pub mod lookup;
pub mod policy;
pub mod range;
pub mod setup;
pub mod show;
pub mod sign;
pub mod verify;
pub mod version;

/// Verified, or done.
pub const DONE: u8 = 0;
/// Refused.
pub const REFUSED: u8 = 1;
/// Usage or settings.
pub const USAGE: u8 = 2;
/// Could not decide.
pub const UNDECIDED: u8 = 3;

/// The exit code of a command whose result was to be printed: what nobody could
/// read was not done.
fn written(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => DONE,
        Err(error) => {
            terminal::error(&format!("the result cannot be written: {error}"), None);
            UNDECIDED
        }
    }
}

/// The client for requests to services. The random bytes only spread retries.
fn http_client() -> Client {
    http_client_within(Timeouts::default())
}

/// As [`http_client`], with other limits.
fn http_client_within(timeouts: Timeouts) -> Client {
    Client::new(timeouts, || {
        let mut byte = [0_u8; 1];
        // Without entropy the pause is the longest one.
        getrandom::fill(&mut byte).map_or(u8::MAX, |()| u8::from_be_bytes(byte))
    })
}
