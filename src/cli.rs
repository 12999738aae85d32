//! The command line of the commands for people, defined once: parsing, `--help`,
//! completions and manual pages come out of it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::account;

/// Everything that `gitseal WORD …` understands. What begins with a dash is
/// git's business and never comes here (`host/gnupg.rs`).
#[derive(Debug, Parser)]
#[command(
    name = "gitseal",
    version,
    about = "Sign Git commits and tags without keys to manage, and verify them without a network",
    after_help = AFTER_HELP,
    disable_help_subcommand = false,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Let git use it:
  gitseal setup
  git commit -S -m \"a signed commit\"
  git verify-commit HEAD

Exit codes:
  0  verified, or done
  1  refused: the signature is not good, or not of whom you named
  2  usage or settings
  3  could not decide: evidence is missing, such as the log's entry

Settings: docs/settings.md, or `gitseal version` for the ones in effect.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify the signature of a commit, or of many, and who made it
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyCommit),
    /// Verify the signature of an annotated tag, and who made it
    #[command(after_help = VERIFY_TAG_EXAMPLES)]
    VerifyTag(VerifyTag),
    /// Verify the whole repository, and hold the logs to what they signed
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(super::audit::Arguments),
    /// Show step by step what a signature is made of and what holds
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Log in ahead of signing, for as long as the certificate lives
    #[command(
        after_help = "Example:\n  gitseal login && git rebase --exec 'git commit --amend --no-edit -S' main"
    )]
    Login(account::Login),
    /// Forget the login: every key and token that the credential cache keeps
    Logout(account::Logout),
    /// Show as whom the next signature is made: identity, issuer, time left
    #[command(after_help = "Exit codes:\n  0  somebody is logged in\n  1  nobody is")]
    Whoami(account::Whoami),
    /// Look after the credential cache, the daemon that keeps a login and signs on request
    Cache(account::Cache),
    /// Print a commit or tag with its signature as an in-toto statement (nothing is verified)
    Show(Show),
    /// Write git's configuration, so that git signs and verifies with gitseal
    #[command(after_help = super::setup::EXAMPLES)]
    Setup(super::setup::Setup),
    /// Judge a push on the server, before it is taken: the pre-receive hook
    #[command(after_help = super::gate::PRE_RECEIVE_EXAMPLES)]
    PreReceive(super::gate::PreReceive),
    /// Judge one reference of a push on the server: the update hook
    Update(super::gate::UpdateHook),
    /// Judge a push before it leaves: the pre-push hook
    PrePush(super::gate::PrePush),
    /// Judge the commits of a pull or merge request in a CI job
    #[command(after_help = super::gate::CI_EXAMPLES)]
    Ci(super::gate::Ci),
    /// Find what will make signing or verifying fail, and how to mend it
    #[command(after_help = super::doctor::EXAMPLES)]
    Doctor(super::doctor::Doctor),
    /// Check, describe, compare, try or begin a policy
    #[command(after_help = crate::gate::policy::EXAMPLES)]
    Policy(crate::gate::policy::PolicyArguments),
    /// Print the version and the settings in effect
    Version(Version),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  gitseal completions bash > ~/.local/share/bash-completion/completions/gitseal"
    )]
    Completions(Completions),
    /// Write the manual pages
    Man(Man),
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  gitseal verify --certificate-identity alice@example.com \\
      --certificate-oidc-issuer https://accounts.google.com
  gitseal verify v1.2^{commit} --offline --json \\
      --certificate-identity-regexp 'https://github\\.com/example/.*' \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com
  gitseal verify origin/main..HEAD --junit report.xml
  gitseal verify --all --allow-unsigned --json | jq -c 'select(.fails)'
  git rev-list --first-parent v1.2..main | gitseal verify --stdin

A list of names means those commits; a range among them means ancestors too.
In a range, an unsigned commit is a failure unless --allow-unsigned is given.

Who may sign can also be set once: gitseal.certificateIdentity and
gitseal.certificateOidcIssuer in your git configuration.";

const VERIFY_TAG_EXAMPLES: &str = "\
Example:
  gitseal verify-tag v1.2 --certificate-identity alice@example.com \\
      --certificate-oidc-issuer https://accounts.google.com";

const AUDIT_EXAMPLES: &str = "\
Examples:
  gitseal audit --allow-unsigned
  gitseal audit --offline --json --certificate-identity-regexp '.*@example\\.com' \\
      --certificate-oidc-issuer https://accounts.google.com

Every commit and annotated tag that a reference reaches is verified. The
checkpoints that the signatures carry are held against each other and, without
--offline, against the logs: a log that shows another history than it signed is
reported as a fork or a rollback.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  gitseal explain
  gitseal explain v1.2 --offline
  gitseal explain HEAD~3 --json | jq .refusal";

/// Who must have signed.
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = "Who must have signed")]
pub struct Who {
    /// The identity in the certificate: an e-mail address or a URI, exactly
    #[arg(long, value_name = "TEXT")]
    pub certificate_identity: Option<String>,
    /// A regular expression that the whole identity must match
    #[arg(long, value_name = "PATTERN")]
    pub certificate_identity_regexp: Option<String>,
    /// The identity provider that vouches for it, exactly
    #[arg(long, value_name = "URL")]
    pub certificate_oidc_issuer: Option<String>,
    /// A regular expression that the whole issuer must match
    #[arg(long, value_name = "PATTERN")]
    pub certificate_oidc_issuer_regexp: Option<String>,
    /// The event that started the GitHub workflow
    #[arg(long, value_name = "TEXT")]
    pub certificate_github_workflow_trigger: Option<String>,
    /// The commit that the GitHub workflow ran for
    #[arg(long, value_name = "TEXT")]
    pub certificate_github_workflow_sha: Option<String>,
    /// The name of the GitHub workflow
    #[arg(long, value_name = "TEXT")]
    pub certificate_github_workflow_name: Option<String>,
    /// The repository of the GitHub workflow
    #[arg(long, value_name = "TEXT")]
    pub certificate_github_workflow_repository: Option<String>,
    /// The reference that the GitHub workflow ran for
    #[arg(long, value_name = "TEXT")]
    pub certificate_github_workflow_ref: Option<String>,
    /// The committer (tagger) that the object names: by address, or, where the identity is no address, by name
    #[arg(long)]
    pub match_committer: bool,
}

/// Who is believed, and whether a log may be asked.
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = "Evidence")]
pub struct Evidence {
    /// A trusted_root.json: which authorities and logs are believed
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Ask no server: a signature without an embedded log entry stays undecided
    #[arg(long)]
    pub offline: bool,
    /// Flags that are refused, with the reason.
    #[command(flatten)]
    pub refused: Refused,
}

/// Flags of gitsign that are understood only to say why they are not here.
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = None)]
pub struct Refused {
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    insecure_ignore_sct: Option<String>,
    #[arg(long, hide = true, value_name = "FILE")]
    sct: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "FILE")]
    certificate: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "FILE")]
    certificate_chain: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "FILE")]
    ca_roots: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "FILE")]
    ca_intermediates: Option<PathBuf>,
}

impl Refused {
    /// The first of them that was given, and why it is refused.
    #[must_use]
    pub fn given(&self) -> Option<(&'static str, &'static str)> {
        const ROOTS: &str = "authorities are given together with the logs that watch them: use --trusted-root, or gitseal.fulcioRoot";
        if self
            .insecure_ignore_sct
            .as_deref()
            .is_some_and(|value| value != "false")
        {
            return Some((
                "--insecure-ignore-sct",
                "a certificate that no CT log has seen could have been issued in secret, to anybody: there is no switch for that. For an authority without a CT log, use a trusted root that names the one it has",
            ));
        }
        let given = |is: bool, name, why| is.then_some((name, why));
        given(
            self.sct.is_some(),
            "--sct",
            "detached SCTs of before 2022 are not read: the certificate carries its own",
        )
        .or(given(
            self.certificate.is_some(),
            "--certificate",
            "the certificate is taken from the signature, where the signed log entry binds it",
        ))
        .or(given(
            self.certificate_chain.is_some(),
            "--certificate-chain",
            ROOTS,
        ))
        .or(given(self.ca_roots.is_some(), "--ca-roots", ROOTS))
        .or(given(
            self.ca_intermediates.is_some(),
            "--ca-intermediates",
            ROOTS,
        ))
    }
}

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyCommit {
    /// A commit, by any name that git knows (a tag stands for its commit; default HEAD), or several, or ranges: A..B, ^A, A^!
    #[arg(value_name = "REV")]
    pub revisions: Vec<String>,
    /// Many commits at once.
    #[command(flatten)]
    pub range: super::range::RangeFlags,
    /// Who must have signed.
    #[command(flatten)]
    pub who: Who,
    /// Who is believed.
    #[command(flatten)]
    pub evidence: Evidence,
    /// Print the verdict as one JSON object; of several commits, one on a line and a summary
    #[arg(long)]
    pub json: bool,
}

/// `verify-tag`.
#[derive(Debug, Args)]
pub struct VerifyTag {
    /// The tag
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Who must have signed.
    #[command(flatten)]
    pub who: Who,
    /// Who is believed.
    #[command(flatten)]
    pub evidence: Evidence,
    /// Print the verdict as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A commit or an annotated tag: any name that git knows
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub revision: String,
    /// Who must have signed.
    #[command(flatten)]
    pub who: Who,
    /// Who is believed.
    #[command(flatten)]
    pub evidence: Evidence,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// A commit or an annotated tag: any name that git knows
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub revision: String,
    /// The remote whose address names the repository
    #[arg(long, short, default_value = "origin")]
    pub remote: String,
}

/// `version`.
#[derive(Debug, Args)]
pub struct Version {
    /// Print version and settings as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The directory to write to; without one, the main page goes to standard output
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_says_what_it_does() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some() || argument.is_hide_set(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            for inner in command.get_subcommands() {
                assert!(inner.get_about().is_some(), "{}", inner.get_name());
                check(inner);
            }
        }
        check(&Cli::command());
    }
}
