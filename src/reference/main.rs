//! `gitseal-reference`: the services that keyless signing needs, in one process
//! on one machine, for development, tests, air-gapped networks and small teams.

mod config;
mod quickstart;
mod serve;
mod store;

use std::{
    io,
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Parser, Subcommand};
use gitseal_evidence::UnixTime;
use gitseal_reference::oidc::{Config as IssuerConfig, ReferenceIssuer, User};
use gitseal_terminal as terminal;

/// The client that tokens are for, by default: the one every Sigstore client is.
pub const CLIENT: &str = "sigstore";
/// Seconds that a token is good for.
pub const TOKEN_LIFETIME: i64 = 600;

/// Reference servers for keyless signing, in one process: OpenID Connect
/// issuer, Fulcio, CT log, Rekor and timestamp authority.
#[derive(Parser)]
#[command(name = "gitseal-reference", version, max_term_width = 90)]
#[command(after_help = "\
These servers are for development, tests, air-gapped networks and small teams.
Keys are files, one process serves all, and the built-in issuer keeps no
passwords: whoever reaches it is whoever they say. A larger organisation runs
Sigstore's Fulcio and Rekor with keys in a KMS and its own identity provider;
gitseal speaks to those with the same settings.

Try it:
  gitseal-reference quickstart

Work with it:
  gitseal-reference serve --dir ~/sigstore --user alice@example.test
  git config --global include.path ~/sigstore/gitconfig
  git commit -S -m 'signed by alice'
  git verify-commit HEAD")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve from a directory until SIGTERM or SIGINT
    Serve(serve::ServeArgs),
    /// Print an identity token of the built-in issuer
    Token(TokenArgs),
    /// Start everything, sign a commit and a tag, verify both, refuse a forgery, clean up
    Quickstart(quickstart::QuickstartArgs),
}

/// The token is made with the issuer's key in DIR, whether the servers run or
/// not. Whoever can read that key can be anybody here.
#[derive(clap::Args)]
struct TokenArgs {
    /// The servers' directory
    #[arg(long)]
    dir: PathBuf,
    /// Whose token
    #[arg(long, value_name = "EMAIL")]
    user: String,
    /// For which client
    #[arg(long, default_value = CLIENT)]
    audience: String,
    /// Seconds that it is good for
    #[arg(long, default_value_t = TOKEN_LIFETIME, value_parser = clap::value_parser!(i64).range(1..=86_400))]
    lifetime: i64,
}

/// What failed, and what to do about it (may be empty).
#[derive(Debug)]
pub struct CommandError {
    what: String,
    hint: String,
}

impl CommandError {
    /// A failure in words.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string(), "")
    }
}

/// The time, in Unix seconds.
pub fn now() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// Bytes of the operating system's entropy.
///
/// # Errors
///
/// It has none.
pub fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::Token(arguments) => token(&arguments),
        Command::Quickstart(arguments) => quickstart::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let hint = Some(failure.hint.as_str()).filter(|hint| !hint.is_empty());
            terminal::error(&failure.what, hint);
            ExitCode::FAILURE
        }
    }
}

fn token(arguments: &TokenArgs) -> Result<(), CommandError> {
    let state = store::read_state(&arguments.dir)?;
    let key = store::token_key(&arguments.dir)?;
    let user = User::new(&arguments.user).map_err(|what| CommandError::new(what, ""))?;
    let issuer = ReferenceIssuer::new(
        IssuerConfig {
            issuer: serve::service_url(&state, serve::OIDC)?,
            clients: Vec::new(),
            users: Vec::new(),
            headless: false,
            lifetime: arguments.lifetime,
        },
        key,
        Box::new(now),
        Box::new(entropy),
    )
    .map_err(|what| CommandError::new(what, ""))?;
    let token = issuer
        .mint(&user, &arguments.audience, None, None)
        .map_err(|what| CommandError::new(what, ""))?;
    Ok(terminal::print(&format!("{token}\n"))?)
}
