//! `gitseal`: argv → one command → exit code.

use std::{env, ffi::OsString, process::ExitCode};

use clap::Parser as _;
use gitseal::{
    account, audit,
    cli::{Cli, Command},
    complete, doctor,
    exit::{EXIT_OK, EXIT_USAGE},
    explain,
    gate::{self, policy},
    host::gnupg::{self, HelperRequest},
    setup, show, sign, verify, version,
};
use gitseal_terminal as terminal;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    ExitCode::from(run(&arguments))
}

/// Git and similar callers pass options first, users a command.
fn run(arguments: &[OsString]) -> u8 {
    let is_option = arguments
        .first()
        .is_some_and(|first| first.as_encoded_bytes().first() == Some(&b'-'));
    if is_option && arguments != ["--help"] && arguments != ["-h"] {
        return run_helper(arguments);
    }
    dispatch(Cli::try_parse())
}

/// Runs as the program that Git calls. It does not build the definitions of the
/// commands: start-up is most of its work.
fn run_helper(arguments: &[OsString]) -> u8 {
    match gnupg::parse(arguments) {
        Ok(HelperRequest::Verify(request)) => verify::verify_for_git(&request),
        Ok(HelperRequest::Sign(request)) => sign::run(&request),
        Ok(HelperRequest::Version) => version::line(),
        Ok(HelperRequest::Help) => dispatch(Cli::try_parse_from(["gitseal", "--help"])),
        Ok(HelperRequest::ListKeys) => {
            terminal::info("gitseal: no keys to list: each signature has a key of its own");
            EXIT_OK
        }
        Err(error) => {
            terminal::error(
                &error.to_string(),
                Some(
                    "Git runs this program with -bsau KEY to sign and --verify FILE - to verify; 'gitseal --help' shows the commands",
                ),
            );
            EXIT_USAGE
        }
    }
}

fn dispatch(parsed: Result<Cli, clap::Error>) -> u8 {
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` is not a mistake, unless its output cannot be written.
            let wrote = error.print().is_ok();
            return if error.use_stderr() || !wrote {
                EXIT_USAGE
            } else {
                EXIT_OK
            };
        }
    };
    match &cli.command {
        Command::Verify(arguments) => verify::commit(arguments),
        Command::VerifyTag(arguments) => verify::tag(arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Login(arguments) => account::login(arguments),
        Command::Logout(arguments) => account::logout(arguments),
        Command::Whoami(arguments) => account::whoami(arguments),
        Command::Cache(arguments) => account::cache(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Setup(arguments) => setup::run(arguments),
        Command::PreReceive(arguments) => gate::pre_receive(arguments),
        Command::Update(arguments) => gate::update(arguments),
        Command::PrePush(arguments) => gate::pre_push(arguments),
        Command::Ci(arguments) => gate::ci(arguments),
        Command::Policy(arguments) => policy::run(arguments),
        Command::Version(arguments) => version::run(arguments),
        Command::Completions(arguments) => complete::completions(arguments),
        Command::Man(arguments) => complete::man(arguments),
    }
}
