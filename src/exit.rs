//! The exit codes of the commands.

use std::io;

use gitseal_terminal as terminal;

/// Everything is verified, or the command is done.
pub const EXIT_OK: u8 = 0;
/// Verification failed, or the signer is not the expected one.
pub const EXIT_REFUSED: u8 = 1;
/// The usage or the configuration is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Evidence is missing, or a result cannot be written.
pub const EXIT_UNDECIDED: u8 = 3;

/// Returns the exit code of a command whose result was to be printed: a result
/// that is not written is not done.
pub fn written(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => EXIT_OK,
        Err(error) => {
            terminal::error(&format!("cannot write output: {error}"), None);
            EXIT_UNDECIDED
        }
    }
}
