//! Time and entropy of this machine, which the servers receive as arguments.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gitseal_evidence::UnixTime;

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns the current time.
#[must_use]
pub fn now() -> UnixTime {
    i64::try_from(since_epoch().as_secs()).unwrap_or(0)
}

/// Returns the current time in milliseconds since 1970.
#[must_use]
pub fn milliseconds() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(0)
}

/// Fills a buffer with entropy of the operating system.
///
/// # Errors
///
/// Returns an error if the operating system has none.
pub fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}
