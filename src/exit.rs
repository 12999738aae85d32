//! The exit codes of the commands, and the client for requests to services.

use std::io;

use gitseal_services::http::client::{Client, Timeouts};
use gitseal_terminal as terminal;

/// Verified, or done.
pub const EXIT_OK: u8 = 0;
/// Refused.
pub const EXIT_REFUSED: u8 = 1;
/// Usage or settings.
pub const EXIT_USAGE: u8 = 2;
/// Could not decide.
pub const EXIT_UNDECIDED: u8 = 3;

/// The exit code of a command whose result was to be printed: what nobody could
/// read was not done.
pub fn written(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => EXIT_OK,
        Err(error) => {
            terminal::error(&format!("the result cannot be written: {error}"), None);
            EXIT_UNDECIDED
        }
    }
}

/// The client for requests to services. The random bytes only spread retries.
pub fn http_client() -> Client {
    http_client_within(Timeouts::default())
}

/// As [`http_client`], with other limits.
pub fn http_client_within(timeouts: Timeouts) -> Client {
    Client::new(timeouts, || {
        let mut byte = [0_u8; 1];
        // Without entropy the pause is the longest one.
        getrandom::fill(&mut byte).map_or(u8::MAX, |()| u8::from_be_bytes(byte))
    })
}
