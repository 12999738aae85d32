//! The time after which a check ends without a result.

use std::time::{Duration, Instant};

use super::error::GitError;

/// The end of the time for one check.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    seconds: u64,
}

impl Deadline {
    /// Returns the deadline that many seconds from now.
    #[must_use]
    pub fn within(seconds: u64) -> Self {
        let now = Instant::now();
        Self {
            end: now.checked_add(Duration::from_secs(seconds)).unwrap_or(now),
            seconds,
        }
    }

    /// Checks that the time is not over.
    ///
    /// # Errors
    /// Returns [`GitError::Timeout`] if it is.
    pub fn check(&self) -> Result<(), GitError> {
        if Instant::now() >= self.end {
            return Err(GitError::Timeout {
                seconds: self.seconds,
            });
        }
        Ok(())
    }
}
