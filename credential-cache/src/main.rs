//! `gitseal-credential-cache`: holds gitseal's ephemeral keys and signs on
//! request.
#![allow(clippy::print_stderr, clippy::print_stdout)] // a program's main

use std::process::ExitCode;

#[cfg(unix)]
mod daemon;

#[cfg(unix)]
fn main() -> ExitCode {
    daemon::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("gitseal-credential-cache: this system has no credential cache yet");
    ExitCode::FAILURE
}
