//! Tokens that another program writes to a file: `gitseal.tokenFile`, or a
//! provider's own path.
//!
//! *Not checked here:* the token (`mod.rs`).

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::provider::{AmbientContext, AmbientError, Problem, TOKEN_FILE_SETTING, TokenProvider};
use crate::oidc::token::TOKEN_FILE;

/// The variable in which Azure's workload identity sets the path of its token.
const AZURE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";

pub(super) static FILESYSTEM: TokenProvider = TokenProvider {
    name: "filesystem",
    source: "`gitseal.tokenFile`, else `/var/run/sigstore/cosign/oidc-token`",
    detect: |around| {
        around.token_file.is_some() || !matches!((around.file)(Path::new(TOKEN_FILE)), Ok(None))
    },
    fetch: |provider, _, around| {
        let path = around.token_file.unwrap_or(Path::new(TOKEN_FILE));
        around.mounted(provider, path, TOKEN_FILE_SETTING)
    },
    variables: &[],
    file: |around| {
        Some(
            around
                .token_file
                .unwrap_or(Path::new(TOKEN_FILE))
                .to_owned(),
        )
    },
    hint: |_, _| None,
};

pub(super) static AZURE: TokenProvider = TokenProvider {
    name: "azure",
    source: "`gitseal.tokenFile`, else the file in `AZURE_FEDERATED_TOKEN_FILE`; by name only",
    detect: |_| false,
    fetch: |provider, audience, around| {
        if around.token_file.is_some() {
            return configured(provider, audience, around);
        }
        let path = around.required(provider, AZURE_VARIABLE, audience)?;
        around.mounted(provider, Path::new(path.as_str()), AZURE_VARIABLE)
    },
    variables: &[AZURE_VARIABLE],
    file: |around| {
        configured_path(around).or_else(|| (around.variable)(AZURE_VARIABLE).map(PathBuf::from))
    },
    hint: |problem, audience| {
        (problem == Problem::Missing).then(|| format!(
            "label the pod azure.workload.identity/use: \"true\", or set gitseal.tokenFile to a projected token for the audience {audience:?}"
        ))
    },
};

pub(super) static KUBERNETES: TokenProvider = TokenProvider {
    name: "kubernetes",
    source: "a projected service account token in `gitseal.tokenFile`; by name only",
    detect: |_| false,
    fetch: configured,
    variables: &[],
    file: configured_path,
    hint: |problem, audience| {
        (problem == Problem::Missing).then(|| format!(
            "mount a projected volume with serviceAccountToken: {{ audience: {audience}, path: token }} and set gitseal.tokenFile to its path"
        ))
    },
};

pub(super) fn configured_path(around: &AmbientContext<'_>) -> Option<PathBuf> {
    around.token_file.map(Path::to_owned)
}

/// Reads the token in `gitseal.tokenFile`.
pub(super) fn configured(
    provider: &'static TokenProvider,
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    match around.token_file {
        Some(path) => around.mounted(provider, path, TOKEN_FILE_SETTING),
        None => Err(AmbientError::NoFileNamed {
            provider,
            audience: audience.to_owned(),
        }),
    }
}
