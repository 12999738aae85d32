//! The daemon `gitseal-credential-cache`, which holds gitseal's ephemeral keys and
//! signs on request.
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
    eprintln!("gitseal-credential-cache: the credential cache is not available on this system");
    ExitCode::FAILURE
}
