//! Identity tokens from the environment: of a CI job, a workload or a cloud
//! machine. No user is prompted.
//!
//! If no `tokenProvider` is set, the first provider of [`PROVIDERS`] that is
//! *present* is used. What is close to the job comes before what belongs to the
//! machine under it: a job on a shared runner must not sign as the runner.
//! Present does not mean working: a job in GitHub Actions without the permission
//! for tokens *is* in GitHub Actions and fails with that reason; the next
//! provider in the list would sign under another name. Detection sends no
//! request and looks up no name.
//!
//! `azure` and `kubernetes` are used only by name: the tokens that are mounted
//! in their pods by default are for the cluster, not for a certificate
//! authority.
//!
//! Request credentials (the CI's own tokens) are sent to the URL that the CI
//! sets and nowhere else: https or loopback, no redirect followed, and never
//! through a proxy if the URL means this machine.
//!
//! A new provider is a file with a [`TokenProvider`] and a row in [`PROVIDERS`].
//!
//! *Not checked here:* the token's signature, which Fulcio verifies, and whether
//! the certificate names what the token names (`sign/credential.rs`).

mod buildkite;
mod circleci;
mod environment;
mod file;
mod github;
mod gitlab;
mod google;
mod provider;
mod spiffe;

pub use provider::{AmbientContext, AmbientError, TOKEN_VARIABLE, TokenProvider};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::oidc::token::IdentityToken;
use gitseal_evidence::hex;

/// All providers, in the order of detection.
pub static PROVIDERS: [&TokenProvider; 11] = [
    &environment::PROVIDER,
    &file::FILESYSTEM,
    &github::PROVIDER,
    &gitlab::PROVIDER,
    &buildkite::PROVIDER,
    &circleci::PROVIDER,
    &spiffe::PROVIDER,
    &google::SERVICE_ACCOUNT,
    &google::MACHINE,
    &file::AZURE,
    &file::KUBERNETES,
];

/// Returns the provider of this name, as in the setting `tokenProvider`.
#[must_use]
pub fn named(name: &str) -> Option<&'static TokenProvider> {
    // gitsign's documentation has one name, its code the other.
    let name = match name {
        "google-impersonation" => "google-impersonate",
        name => name,
    };
    PROVIDERS.into_iter().find(|provider| provider.name == name)
}

/// Returns the first provider that is present, in the order of [`PROVIDERS`].
#[must_use]
pub fn detect(around: &AmbientContext<'_>) -> Option<&'static TokenProvider> {
    PROVIDERS
        .into_iter()
        .find(|provider| (provider.detect)(around))
}

/// Returns what the user should know about the environment although nothing
/// failed.
#[must_use]
pub fn notes(around: &AmbientContext<'_>) -> Vec<String> {
    let empty = (around.variable)(TOKEN_VARIABLE).is_some_and(|value| value.is_empty());
    let note = format!("{TOKEN_VARIABLE} is set, but empty: ignored");
    empty.then_some(note).into_iter().collect()
}

/// Fetches a token for `audience` (the client ID) and checks its form, its time,
/// its audience, and that it names an identity.
///
/// # Errors
///
/// Returns [`AmbientError`] with the name of the variable, file or permission
/// that is missing or wrong.
pub fn obtain(
    provider: &'static TokenProvider,
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<IdentityToken, AmbientError> {
    let text = (provider.fetch)(provider, audience, around)?;
    let refused = |refusal| AmbientError::Token {
        provider,
        refusal,
        audience: audience.to_owned(),
    };
    let token = IdentityToken::parse(text).map_err(refused)?;
    token
        .check((around.now)(), Some(audience))
        .map_err(refused)?;
    Ok(token)
}

/// Returns what distinguishes this job from another one on the same machine:
/// hexadecimal SHA-256 over what the provider would send. Credentials that are
/// cached under it are never used for another job.
#[must_use]
pub fn job_fingerprint(provider: &TokenProvider, around: &AmbientContext<'_>) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), value] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    };
    add("gitseal ambient binding, version 1", &[]);
    add("provider", provider.name.as_bytes());
    for name in provider.variables {
        if let Some(value) = (around.variable)(name) {
            let value = Zeroizing::new(value.into_encoded_bytes());
            add(name, &value);
        }
    }
    if let Some(path) = (provider.file)(around) {
        add("file", path.as_os_str().as_encoded_bytes());
        if let Ok(Some(text)) = (around.file)(&path) {
            add("content", text.as_bytes());
        }
    }
    hex(&hash.finalize())
}
