//! The command line of every command: parsing, `--help`, completions and manual
//! pages are generated from these definitions.
#![allow(
    clippy::doc_paragraphs_missing_punctuation,
    reason = "help has no periods"
)]

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::{host::git::push::MAX_UPDATES, verdict::RequestArgs};
use gitseal_policy::POLICY_PATH;

/// The arguments of `gitseal COMMAND …`. Command lines that start with a dash
/// are Git's and are parsed in `host/gnupg.rs`.
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
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Get started:
  gitseal setup
  git commit -S -m \"a signed commit\"
  git verify-commit HEAD

Exit codes:
  0  verified, or done
  1  verification failed, or unexpected signer
  2  usage or configuration error
  3  undecided: evidence is missing (for example the log entry)

Settings: docs/settings.md, or `gitseal version` for the ones in effect.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify commit signatures
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Verify the signature of an annotated tag
    #[command(after_help = VERIFY_TAG_EXAMPLES)]
    VerifyTag(VerifyTagArgs),
    /// Verify every commit and tag, and check log consistency
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(AuditArgs),
    /// Show each verification step for one signature
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Log in before signing
    #[command(
        after_help = "Example:\n  gitseal login && git rebase --rebase-merges --exec 'git commit --amend --no-edit -S' main"
    )]
    Login(LoginArgs),
    /// Log out and delete cached keys and tokens
    Logout(LogoutArgs),
    /// Show the current identity, issuer and expiry
    #[command(after_help = "Exit codes:\n  0  logged in\n  1  not logged in")]
    Whoami(WhoamiArgs),
    /// Manage the credential cache daemon
    Cache(CacheArgs),
    /// Print a commit or tag with its signature as an in-toto statement (nothing is verified)
    Show(ShowArgs),
    /// Configure Git to use gitseal
    #[command(after_help = SETUP_EXAMPLES)]
    Setup(SetupArgs),
    /// Check a push against the policy (pre-receive hook)
    #[command(after_help = PRE_RECEIVE_EXAMPLES)]
    PreReceive(PreReceiveArgs),
    /// Check one ref update (update hook)
    Update(UpdateArgs),
    /// Check a push before sending it (pre-push hook)
    PrePush(PrePushArgs),
    /// Check a pull or merge request in CI
    #[command(after_help = CI_EXAMPLES)]
    Ci(CiArgs),
    /// Find and fix configuration problems
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Work with signing policies
    #[command(after_help = POLICY_EXAMPLES)]
    Policy(PolicyArgs),
    /// Print the version and the settings in effect
    Version(VersionArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  gitseal completions bash > ~/.local/share/bash-completion/completions/gitseal"
    )]
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  gitseal verify --certificate-identity alice@example.com \\
      --certificate-oidc-issuer https://accounts.google.com
  gitseal verify v1.2^{commit} --offline --json \\
      --certificate-identity-regexp 'https://github\\.com/example/.*' \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com
  gitseal verify refs/remotes/origin/main..HEAD --junit report.xml
  gitseal verify --all --allow-unsigned --json | jq -c 'select(.failure)'
  git rev-list --first-parent v1.2..main | gitseal verify --stdin

A list of names means those commits; a range among them includes ancestors.
In a range, an unsigned commit is a failure unless --allow-unsigned is given.

The expected identity can also be set in the Git configuration:
gitseal.certificateIdentity and gitseal.certificateOidcIssuer.";

const VERIFY_TAG_EXAMPLES: &str = "\
Example:
  gitseal verify-tag v1.2 --certificate-identity alice@example.com \\
      --certificate-oidc-issuer https://accounts.google.com";

const AUDIT_EXAMPLES: &str = "\
Examples:
  gitseal audit --allow-unsigned
  gitseal audit --offline --json --certificate-identity-regexp '.*@example\\.com' \\
      --certificate-oidc-issuer https://accounts.google.com

Every commit and annotated tag that a ref reaches is verified. The checkpoints in
the signatures are compared with each other and, without --offline, with the logs:
a log with another history than it signed is reported as a fork or a rollback.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  gitseal explain
  gitseal explain v1.2 --offline
  gitseal explain HEAD~3 --json | jq .refusal";

const SETUP_EXAMPLES: &str = "\
Examples:
  gitseal setup
  gitseal setup --local --set matchCommitter=true
  gitseal setup --from https://git.example.com/gitseal.toml \\
      --certificate-identity it@example.com \\
      --certificate-oidc-issuer https://accounts.google.com
  gitseal setup --undo";

const PRE_RECEIVE_EXAMPLES: &str = "\
hooks/pre-receive of the repository, or of all with core.hooksPath:
  #!/bin/sh
  exec /usr/local/bin/gitseal pre-receive --policy /etc/gitseal/policy.toml

See docs/operations.md for Gitea, Forgejo, GitLab and plain Git.";

const CI_EXAMPLES: &str = "\
Examples:
  gitseal ci
  gitseal ci --range refs/remotes/origin/main..HEAD --ref refs/heads/main --policy ~/policy.toml

Workflow files: docs/ci/github.yml, docs/ci/gitlab.yml, docs/ci/forgejo.yml.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  gitseal doctor
  gitseal doctor --fix
  gitseal doctor --offline --json | jq '.findings[] | select(.level == \"problem\")'

Exit codes:
  0  no problem found
  1  at least one problem";

const POLICY_EXAMPLES: &str = "\
Examples:
  gitseal policy init --output .gitseal/policy.toml
  gitseal policy check .gitseal/policy.toml
  gitseal policy describe HEAD:
  gitseal policy diff HEAD~10: HEAD:
  gitseal policy test --policy policy.toml --ref refs/heads/main origin/main..HEAD
  gitseal policy test --policy-root v1.0 HEAD

REV: names the policy in that commit (.gitseal/policy.toml); REV:PATH another file in it.
docs/policy.md is the reference.";

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Commits (a tag names its commit; default HEAD) or ranges: A..B, ^A, A^!
    ///
    /// A name means what git rev-parse prints. One that two refs have is refused: write
    /// refs/heads/NAME or refs/tags/NAME.
    #[arg(value_name = "REV")]
    pub revisions: Vec<String>,
    #[command(flatten)]
    pub range: RangeArgs,
    #[command(flatten)]
    pub request: RequestArgs,
    /// Print the result as a JSON object; for several commits, one per line and a summary
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = "Ranges")]
pub struct RangeArgs {
    /// Every commit that a ref or HEAD reaches
    #[arg(long)]
    pub all: bool,
    /// Read more revisions from standard input, one per line
    #[arg(long)]
    pub stdin: bool,
    #[command(flatten)]
    pub report: ReportArgs,
}

#[derive(Debug, Args, Default, Clone, PartialEq, Eq)]
#[command(next_help_heading = "Reports")]
pub struct ReportArgs {
    /// Do not fail on unsigned objects
    #[arg(long)]
    pub allow_unsigned: bool,
    /// Do not fail on OpenPGP and SSH signatures (not verified)
    #[arg(long)]
    pub allow_other_kinds: bool,
    /// Do not fail at the boundary of a shallow clone
    #[arg(long)]
    pub allow_shallow: bool,
    /// Stop after this many failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_failures: Option<u64>,
    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a SARIF 2.1.0 report
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct VerifyTagArgs {
    /// The tag; refs/tags/NAME if a branch has the same name
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub request: RequestArgs,
    /// Print the result as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(flatten)]
    pub request: RequestArgs,
    /// Print each result as a JSON object on a line, and a summary
    #[arg(long)]
    pub json: bool,
    /// Maximum number of consistency proofs to request from the logs
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_proofs: u64,
    #[command(flatten)]
    pub report: ReportArgs,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A commit or an annotated tag: a ref, an ID, or either with ^N, ~N or ^{}
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub revision: String,
    #[command(flatten)]
    pub request: RequestArgs,
    /// Print the report as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A commit or an annotated tag: a ref, an ID, or either with ^N, ~N or ^{}
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub revision: String,
    /// The remote whose URL names the repository
    #[arg(long, short, default_value = "origin")]
    pub remote: String,
}

#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Log in even if a cached login is still valid
    #[arg(long)]
    pub again: bool,
    /// Print the current identity as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Delete only the login that the current settings would use
    #[arg(long)]
    pub here: bool,
}

#[derive(Debug, Args)]
pub struct WhoamiArgs {
    /// Print the current identity as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    pub action: CacheAction,
}

#[derive(Debug, Subcommand)]
pub enum CacheAction {
    /// List cached credentials
    Status {
        /// Print the list as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete all credentials
    Clear {
        /// Print the result as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete all credentials and stop the daemon
    Stop {
        /// Print the result as a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("scope"))]
pub struct SetupArgs {
    /// Write this repository's configuration
    #[arg(long, group = "scope")]
    pub local: bool,
    /// Write the user configuration (the default)
    #[arg(long, group = "scope")]
    pub global: bool,
    /// Write the system configuration
    #[arg(long, group = "scope")]
    pub system: bool,
    /// Print the changes without making them
    #[arg(long)]
    pub dry_run: bool,
    /// Revert the changes made by setup
    #[arg(long, conflicts_with_all = ["from", "set", "program", "verify_only"])]
    pub undo: bool,
    /// Do not prompt for confirmation
    #[arg(long, short)]
    pub yes: bool,
    /// Print the plan as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Also set gitseal.NAME to VALUE (docs/settings.md has the names)
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Program for gpg.x509.program: a name on PATH or an absolute path [default: this executable]
    #[arg(long, value_name = "PROGRAM")]
    pub program: Option<String>,
    /// Do not enable signing by default
    #[arg(long)]
    pub verify_only: bool,
    #[command(flatten)]
    pub profile: ProfileArgs,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Organization profile (docs/profile.md)")]
pub struct ProfileArgs {
    /// The profile: a file or an https URL; its signature has the same name with .sig appended
    #[arg(long, value_name = "FILE|URL")]
    pub from: Option<String>,
    /// Expected identity of the profile's signer
    #[arg(long, value_name = "TEXT", requires_all = ["from", "certificate_oidc_issuer"])]
    pub certificate_identity: Option<String>,
    /// Expected OIDC issuer URL of the profile's signer
    #[arg(long, value_name = "URL", requires_all = ["from", "certificate_identity"])]
    pub certificate_oidc_issuer: Option<String>,
    /// Trusted root file to verify the profile's signature with
    #[arg(long, value_name = "FILE", requires = "from")]
    pub trusted_root: Option<PathBuf>,
    /// Expected SHA-256 of the profile: no signature is needed then
    #[arg(long, value_name = "HEX", requires = "from")]
    pub sha256: Option<String>,
    /// Accept a local profile without verifying its origin
    #[arg(long, requires = "from", conflicts_with_all = ["sha256", "certificate_identity"])]
    pub unsigned: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Apply safe fixes
    #[arg(long)]
    pub fix: bool,
    /// Skip network checks
    #[arg(long)]
    pub offline: bool,
    /// Print the findings as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args, Clone)]
pub struct GateArgs {
    /// Policy file (must not be writable by pushers)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Commit where the in-repository policy starts
    #[arg(long, value_name = "REV")]
    pub policy_root: Option<String>,
    /// Rejected with a pointer to --policy-root: other programs have this name
    #[arg(long = "trust-root", hide = true, value_parser = clap::builder::UnknownArgumentValueParser::suggest_arg("--policy-root"))]
    pub trust_root: Option<String>,
    /// Trusted root file (trusted_root.json)
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Print the report as a JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// Reject the push if it is not checked within SECONDS
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=24 * 3600))]
    pub timeout: u64,
    /// Maximum number of refs in one push
    #[arg(long, value_name = "N", default_value_t = MAX_UPDATES)]
    pub max_updates: usize,
}

#[derive(Debug, Args)]
pub struct PreReceiveArgs {
    #[command(flatten)]
    pub options: GateArgs,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    pub options: GateArgs,
    /// The ref
    #[arg(value_name = "REF")]
    pub reference: OsString,
    /// The current object ID of the ref
    #[arg(value_name = "OLD")]
    pub old: OsString,
    /// The new object ID of the ref
    #[arg(value_name = "NEW")]
    pub new: OsString,
}

#[derive(Debug, Args)]
pub struct PrePushArgs {
    #[command(flatten)]
    pub options: GateArgs,
    /// Name of the remote
    #[arg(value_name = "REMOTE")]
    pub remote: OsString,
    /// URL of the remote
    #[arg(value_name = "URL")]
    pub url: OsString,
}

#[derive(Debug, Args)]
pub struct CiArgs {
    #[command(flatten)]
    pub options: GateArgs,
    /// The commits, if the job's environment does not name them: A..B, or A for all that it reaches
    #[arg(long, value_name = "A..B", requires = "reference")]
    pub range: Option<String>,
    /// Full name of the branch or tag that the commits are meant for
    #[arg(long = "ref", id = "reference", value_name = "REF", requires = "range")]
    pub reference: Option<String>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a GitLab Code Quality report
    #[arg(long, value_name = "FILE")]
    pub code_quality: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    pub command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check a policy for errors
    Check(PolicyCheckArgs),
    /// Describe a policy in plain English
    Describe(PolicyDescribeArgs),
    /// Compare the permissions of two policies
    Diff(PolicyDiffArgs),
    /// Evaluate commits against a policy
    Test(PolicyTestArgs),
    /// Create a starter policy
    Init(PolicyInitArgs),
    /// List the rules, sources and adopted commits of each ref
    Refs(PolicyRefsArgs),
}

#[derive(Debug, Args)]
pub struct PolicyCheckArgs {
    /// Policy file, or REV: for the one in a commit
    #[arg(value_name = "FILE", default_value = POLICY_PATH)]
    pub policy: String,
    /// Fail on warnings as well
    #[arg(long)]
    pub strict: bool,
    /// Print the result as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PolicyDescribeArgs {
    /// Policy file, or REV: for the one in a commit
    #[arg(value_name = "FILE", default_value = POLICY_PATH)]
    pub policy: String,
    /// Print the description as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PolicyDiffArgs {
    /// Old policy: a file, or REV: for the one in a commit
    #[arg(value_name = "OLD")]
    pub old: String,
    /// New policy
    #[arg(value_name = "NEW", default_value = POLICY_PATH)]
    pub new: String,
    /// Print the differences as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PolicyTestArgs {
    /// Commits: REV, A..B, ^REV; with --policy-root the one commit to authenticate
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub revisions: Vec<String>,
    /// Policy file for all commits
    #[arg(long, value_name = "FILE", conflicts_with = "policy_root")]
    pub policy: Option<String>,
    /// Commit where the in-repository policy starts: each commit is checked with its parent's policy
    #[arg(long, value_name = "REV")]
    pub policy_root: Option<String>,
    /// Rejected with a pointer to --policy-root: other programs have this name
    #[arg(long = "trust-root", hide = true, value_parser = clap::builder::UnknownArgumentValueParser::suggest_arg("--policy-root"))]
    pub trust_root: Option<String>,
    /// Full name of the branch that the commits are meant for
    #[arg(long = "ref", value_name = "REF", default_value = "refs/heads/main")]
    pub reference: String,
    /// Trusted root file (trusted_root.json)
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Print the result as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PolicyRefsArgs {
    #[command(flatten)]
    pub options: GateArgs,
    /// List the open commits of this signer instead: a name in the policy, or an identity
    #[arg(long, value_name = "NAME")]
    pub signer: Option<String>,
}

#[derive(Debug, Args)]
pub struct PolicyInitArgs {
    /// Identity of the first signer [default: the signer of HEAD]
    #[arg(long, value_name = "TEXT", requires = "issuer")]
    pub identity: Option<String>,
    /// OIDC issuer URL of the first signer
    #[arg(long, value_name = "URL", requires = "identity")]
    pub issuer: Option<String>,
    /// CODEOWNERS file whose owners the rules get
    #[arg(long, value_name = "FILE")]
    pub codeowners: Option<PathBuf>,
    /// New file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Print version and settings as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Output directory [default: the main page goes to standard output]
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
    fn every_command_and_flag_has_a_help_text() {
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
