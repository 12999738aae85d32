//! `quickstart`.

use super::Failure;

/// Quick.
#[derive(clap::Args)]
pub struct Arguments {}

/// Runs.
///
/// # Errors
///
/// Not yet there.
pub fn run(_arguments: &Arguments) -> Result<(), Failure> {
    Err(Failure::new("this build has no quickstart yet", ""))
}
