//! A token in the variable [`TOKEN_VARIABLE`].
//!
//! *Not checked here:* the token (`mod.rs`).

use super::provider::{Problem, TOKEN_VARIABLE, TokenProvider};

pub(super) static PROVIDER: TokenProvider = TokenProvider {
    name: "envvar",
    source: "`SIGSTORE_ID_TOKEN`",
    detect: |around| around.has(TOKEN_VARIABLE),
    fetch: |provider, audience, around| around.required(provider, TOKEN_VARIABLE, audience),
    variables: &[TOKEN_VARIABLE],
    file: |_| None,
    hint: |problem, audience| {
        (problem == Problem::Missing).then(|| {
            format!("set {TOKEN_VARIABLE} to an OpenID Connect token for the audience {audience:?}")
        })
    },
};
