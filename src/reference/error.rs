//! The error of the commands of `gitseal-reference`.

use std::io;

/// A failure with a hint for the user, which may be empty.
#[derive(Debug)]
pub struct CommandError {
    /// One line, as printed.
    pub message: String,
    /// The next step, without the prefix `hint: `.
    pub hint: String,
}

impl CommandError {
    /// Returns an error with a message and a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string(), "")
    }
}

impl From<String> for CommandError {
    fn from(message: String) -> Self {
        Self::new(message, "")
    }
}
