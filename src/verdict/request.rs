//! The question of a verification: expected identities and issuers, their claims, the
//! committer, the trusted root, and the log in which missing entries are searched.
//!
//! It is one value, made here from flags and settings, once per command. Every
//! verdict takes it whole, and no command reads its parts, so that one commit, many,
//! an audit, the push checks and Git's own entry point cannot ask different things.
//! It contains no time: the time of a signature is a result of its evidence.
//!
//! *Not checked here:* a signature (`evidence/verify.rs`).

use std::path::{Path, PathBuf};

use clap::Args;
use url::Url;

use crate::{
    context::ContextError,
    host::{
        settings::{Origin, RekorMode, Settings},
        trusted_root_files::{self, LoadedTrustedRoot, TrustedRootLoadError},
    },
};
use gitseal_evidence::{
    entry::LogEntry,
    identity::{ExpectedIdentity, IdentityMatcher, Pattern, PatternError},
    memo::Memo,
    trusted_root::TrustedRoot,
    verify::VerifyInputs,
};

/// What a verification has to establish.
#[derive(Debug)]
pub struct VerifyRequest {
    trust: LoadedTrustedRoot,
    expected: ExpectedIdentity,
    /// Whether the committer or tagger must be the signer.
    match_committer: bool,
    /// The log to search; `None` if the network is not used.
    log: Option<Url>,
}

impl VerifyRequest {
    /// Combines flags and settings. Identity flags replace the settings altogether.
    ///
    /// # Errors
    /// Returns [`ContextError`] if a flag, a setting or a file is not usable.
    pub fn from_flags(flags: &RequestArgs, settings: &Settings) -> Result<Self, ContextError> {
        let RequestArgs { identity, trust } = flags;
        if let Some((flag, reason)) = trust.unsupported.first_present() {
            return Err(ContextError::UnsupportedFlag { flag, reason });
        }
        let expected = match expected_identity(identity)? {
            ExpectedIdentity::Any => expected_identity_from_settings(settings)?,
            by_flags => by_flags,
        };
        let log = (!trust.offline).then(|| settings.rekor_lookup.value.url().clone());
        Ok(Self {
            trust: trusted_root_files::load(trust.trusted_root.as_deref(), settings)?,
            expected,
            match_committer: identity.match_committer,
            log,
        })
    }

    /// Returns the request of `git verify-commit` and `git log --show-signature`: as
    /// without flags, but only `rekorMode` permits the network.
    ///
    /// # Errors
    /// Returns [`ContextError`] if a setting or a file is not usable.
    pub fn from_settings(settings: &Settings) -> Result<Self, ContextError> {
        let flags = RequestArgs {
            trust: TrustArgs {
                offline: settings.rekor_mode_lookup.value == RekorMode::Offline,
                ..TrustArgs::default()
            },
            ..RequestArgs::default()
        };
        Self::from_flags(&flags, settings)
    }

    /// Checks the expected identity of the settings.
    ///
    /// # Errors
    /// Returns [`PatternError`] if a request with these settings is refused.
    pub fn check_settings(settings: &Settings) -> Result<(), PatternError> {
        expected_identity_from_settings(settings).map(drop)
    }

    /// Returns the request of the push checks: any signer, because the policy decides
    /// who may sign, and no network.
    ///
    /// # Errors
    /// Returns [`TrustedRootLoadError`] if the trusted root is not usable.
    pub fn for_policy(
        trusted_root: Option<&Path>,
        settings: &Settings,
    ) -> Result<Self, TrustedRootLoadError> {
        Ok(Self {
            trust: trusted_root_files::load(trusted_root, settings)?,
            expected: ExpectedIdentity::Any,
            match_committer: false,
            log: None,
        })
    }

    /// Returns the request for one signer, without network.
    ///
    /// # Errors
    /// Returns [`PatternError`] if the identity or the issuer is empty.
    pub fn for_signer(
        trust: LoadedTrustedRoot,
        identity: &str,
        issuer: &str,
    ) -> Result<Self, PatternError> {
        let signer = IdentityMatcher::new(
            vec![Pattern::exact("certificate identity", identity)?],
            vec![Pattern::exact("OIDC issuer", issuer)?],
            Vec::new(),
        )?;
        Ok(Self {
            trust,
            expected: ExpectedIdentity::OneOf(vec![signer]),
            match_committer: false,
            log: None,
        })
    }

    /// Requires an expected identity: a result that anyone may have signed proves
    /// nothing.
    ///
    /// # Errors
    /// Returns [`ContextError::NoExpectedIdentity`] if none is set.
    pub fn with_expected_identity(self) -> Result<Self, ContextError> {
        if self.accepts_any_signer() {
            return Err(ContextError::NoExpectedIdentity);
        }
        Ok(self)
    }

    /// Returns whether any signer under the trusted root is accepted.
    #[must_use]
    pub fn accepts_any_signer(&self) -> bool {
        matches!(self.expected, ExpectedIdentity::Any)
    }

    /// Returns the trusted root.
    #[must_use]
    pub fn trusted_root(&self) -> &TrustedRoot {
        &self.trust.root
    }

    /// Returns the display text for the origin of the trusted root.
    #[must_use]
    pub fn trust_source(&self) -> &str {
        &self.trust.source
    }

    /// Returns the log to search for missing entries, unless the network is not used.
    #[must_use]
    pub fn log(&self) -> Option<&Url> {
        self.log.as_ref()
    }

    /// Returns the inputs of the nine steps.
    pub(super) fn inputs<'a>(&'a self, found: &'a [LogEntry], memo: &'a Memo) -> VerifyInputs<'a> {
        VerifyInputs {
            trust: &self.trust.root,
            expected: &self.expected,
            match_committer: self.match_committer,
            found,
            memo,
        }
    }
}

/// The flags of the question. A command that verifies has all of them, and one that
/// does not has none.
#[derive(Debug, Args, Default, Clone)]
pub struct RequestArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

#[allow(
    clippy::doc_paragraphs_missing_punctuation,
    reason = "help has no periods"
)]
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = "Expected signer")]
struct IdentityArgs {
    /// Expected identity: email address or URI, exact match
    #[arg(long, value_name = "TEXT")]
    certificate_identity: Option<String>,
    /// Expected identity: regular expression, matches the whole value
    #[arg(long, value_name = "PATTERN")]
    certificate_identity_regexp: Option<String>,
    /// Expected OIDC issuer URL, exact match
    #[arg(long, value_name = "URL")]
    certificate_oidc_issuer: Option<String>,
    /// Expected OIDC issuer URL: regular expression, matches the whole value
    #[arg(long, value_name = "PATTERN")]
    certificate_oidc_issuer_regexp: Option<String>,
    /// Expected event that started the GitHub workflow
    #[arg(long, value_name = "TEXT")]
    certificate_github_workflow_trigger: Option<String>,
    /// Expected commit that the GitHub workflow ran for
    #[arg(long, value_name = "TEXT")]
    certificate_github_workflow_sha: Option<String>,
    /// Expected name of the GitHub workflow
    #[arg(long, value_name = "TEXT")]
    certificate_github_workflow_name: Option<String>,
    /// Expected repository of the GitHub workflow
    #[arg(long, value_name = "TEXT")]
    certificate_github_workflow_repository: Option<String>,
    /// Expected ref that the GitHub workflow ran for
    #[arg(long, value_name = "TEXT")]
    certificate_github_workflow_ref: Option<String>,
    /// Require the committer (or tagger) to be the signer
    #[arg(long)]
    match_committer: bool,
}

#[allow(
    clippy::doc_paragraphs_missing_punctuation,
    reason = "help has no periods"
)]
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = "Evidence")]
struct TrustArgs {
    /// Trusted root file (trusted_root.json)
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// Do not use the network; signatures without an embedded log entry are undecided
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    unsupported: UnsupportedArgs,
}

/// Flags of gitsign that are parsed only to explain why they are rejected.
#[derive(Debug, Args, Default, Clone)]
#[command(next_help_heading = None)]
struct UnsupportedArgs {
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

impl UnsupportedArgs {
    /// Returns the first flag that is present, and why it is rejected.
    fn first_present(&self) -> Option<(&'static str, &'static str)> {
        const ROOTS: &str = "certificate authorities and their CT logs are set together: use --trusted-root, or gitseal.fulcioRoot";
        if self
            .insecure_ignore_sct
            .as_deref()
            .is_some_and(|value| value != "false")
        {
            return Some((
                "--insecure-ignore-sct",
                "a certificate that is not in a CT log could have been issued in secret, to anyone; use a trusted root that contains the CT log of the certificate authority",
            ));
        }
        let given = |is_present: bool, name, reason| is_present.then_some((name, reason));
        given(
            self.sct.is_some(),
            "--sct",
            "detached SCTs (before 2022) are not supported: the certificate contains its SCT",
        )
        .or(given(
            self.certificate.is_some(),
            "--certificate",
            "the certificate is taken from the signature, and the log entry binds it",
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

/// Returns the expected identity of the user's and the system's settings. An empty
/// value resets a setting so that another can replace it; where none does, as
/// with a CI variable that was never filled, it must not mean "anyone".
///
/// # Errors
/// Returns [`PatternError`] for a malformed pattern, for half a rule, and if
/// all values are empty.
fn expected_identity_from_settings(settings: &Settings) -> Result<ExpectedIdentity, PatternError> {
    let rules = [
        &settings.certificate_identity,
        &settings.certificate_identity_regexp,
        &settings.certificate_oidc_issuer,
        &settings.certificate_oidc_issuer_regexp,
    ];
    if rules.iter().all(|rule| rule.value.is_none())
        && rules.iter().any(|rule| rule.origin != Origin::Default)
    {
        return Err(PatternError::Empty {
            what: "certificate identity or issuer",
        });
    }
    let [identity, identity_regexp, issuer, issuer_regexp] = rules.map(|rule| rule.value.clone());
    expected_identity(&IdentityArgs {
        certificate_identity: identity,
        certificate_identity_regexp: identity_regexp,
        certificate_oidc_issuer: issuer,
        certificate_oidc_issuer_regexp: issuer_regexp,
        ..IdentityArgs::default()
    })
}

fn expected_identity(args: &IdentityArgs) -> Result<ExpectedIdentity, PatternError> {
    type Parse = fn(&'static str, &str) -> Result<Pattern, PatternError>;
    let parse = |parse: Parse, what, text: &Option<String>| {
        text.as_deref().map(|text| parse(what, text)).transpose()
    };
    let either = |what, exact, regexp| -> Result<Vec<Pattern>, PatternError> {
        let exact = parse(Pattern::exact, what, exact)?;
        Ok(exact
            .into_iter()
            .chain(parse(Pattern::matching, what, regexp)?)
            .collect())
    };
    let identity = either(
        "certificate identity",
        &args.certificate_identity,
        &args.certificate_identity_regexp,
    )?;
    let issuer = either(
        "OIDC issuer",
        &args.certificate_oidc_issuer,
        &args.certificate_oidc_issuer_regexp,
    )?;
    let workflow = [
        ("Trigger", &args.certificate_github_workflow_trigger),
        ("Sha", &args.certificate_github_workflow_sha),
        ("Name", &args.certificate_github_workflow_name),
        ("Repository", &args.certificate_github_workflow_repository),
        ("Ref", &args.certificate_github_workflow_ref),
    ];
    let mut claims = Vec::new();
    for (claim, text) in workflow {
        if let Some(pattern) = parse(Pattern::exact, "GitHub workflow", text)? {
            claims.push((format!("githubWorkflow{claim}"), pattern));
        }
    }
    if identity.is_empty() && issuer.is_empty() && claims.is_empty() {
        return Ok(ExpectedIdentity::Any);
    }
    IdentityMatcher::new(identity, issuer, claims).map(|rule| ExpectedIdentity::OneOf(vec![rule]))
}
