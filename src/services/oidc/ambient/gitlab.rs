//! GitLab CI: the job's `id_tokens` are in [`TOKEN_VARIABLE`].
//!
//! *Not checked here:* the token (`mod.rs`).

use super::provider::{Problem, TOKEN_VARIABLE, TokenProvider};

pub(super) static PROVIDER: TokenProvider = TokenProvider {
    name: "gitlab",
    source: "`id_tokens` of the job, in `SIGSTORE_ID_TOKEN`",
    detect: |around| around.says_true("GITLAB_CI"),
    fetch: |provider, audience, around| around.required(provider, TOKEN_VARIABLE, audience),
    variables: &[TOKEN_VARIABLE],
    file: |_| None,
    hint: |problem, audience| match problem {
        // YAML's flow style: complete on one line.
        Problem::Missing | Problem::Audience => Some(format!(
            "add to the job in .gitlab-ci.yml: id_tokens: {{ {TOKEN_VARIABLE}: {{ aud: {audience} }} }}"
        )),
        _ => None,
    },
};
