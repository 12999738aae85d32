//! The program `gitseal-reference`: all services for keyless signing in one process
//! on one machine, for development, tests, air-gapped networks and small teams.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use gitseal_reference::{
    error::CommandError,
    oidc::{CLIENT, Config, ReferenceIssuer, TOKEN_LIFETIME, User},
    quickstart, serve, store, system,
};
use gitseal_terminal::{self as terminal, Styled};

/// Reference servers for keyless signing, in one process: OpenID Connect
/// issuer, Fulcio, CT log, Rekor and timestamp authority
#[derive(Parser)]
#[command(name = "gitseal-reference", version, max_term_width = 90)]
#[command(after_help = "\
These servers are for development, tests, air-gapped networks and small teams.
Keys are files, one process serves all, and the built-in issuer has no
passwords: anyone who can reach it can log in as any user. A larger
organization runs Sigstore's Fulcio and Rekor with keys in a KMS and its own
identity provider; gitseal uses those with the same settings.

Try it:
  gitseal-reference quickstart

Start servers and sign:
  gitseal-reference serve --dir ~/sigstore --user alice@example.test
  git config --global --add include.path ~/sigstore/gitconfig
  git commit -S -m 'signed by alice'
  git verify-commit HEAD")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the servers; stop with SIGTERM or SIGINT
    Serve(serve::ServeArgs),
    /// Print an identity token of the built-in issuer
    Token(TokenArgs),
    /// Sign and verify a commit and a tag with temporary servers
    Quickstart(quickstart::QuickstartArgs),
}

/// The token is made with the issuer's key in DIR, whether the servers run or
/// not. Anyone who can read that key can log in as any user.
#[derive(clap::Args)]
struct TokenArgs {
    /// Directory of the servers
    #[arg(long)]
    dir: PathBuf,
    /// Email address of the user
    #[arg(long, value_name = "EMAIL")]
    user: String,
    /// Client that the token is for
    #[arg(long, default_value = CLIENT)]
    audience: String,
    /// Lifetime of the token, in seconds
    #[arg(long, default_value_t = TOKEN_LIFETIME, value_parser = clap::value_parser!(i64).range(1..=86_400))]
    lifetime: i64,
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
            terminal::error(&failure.message, hint);
            ExitCode::FAILURE
        }
    }
}

fn token(arguments: &TokenArgs) -> Result<(), CommandError> {
    let state = store::read_state(&arguments.dir)?;
    let key = store::token_key(&arguments.dir)?;
    let user = User::new(&arguments.user)?;
    let issuer = ReferenceIssuer::new(
        Config {
            issuer: state.service_url(store::OIDC)?,
            clients: Vec::new(),
            users: Vec::new(),
            headless: false,
            lifetime: arguments.lifetime,
        },
        key,
        Box::new(system::now),
        Box::new(system::entropy),
    )?;
    let token = issuer.mint(&user, &arguments.audience, None, None)?;
    Ok(terminal::print(&Styled::trusted(format!("{token}\n")))?)
}
