//! CircleCI: every job that uses a context has tokens in two variables. Their
//! audience is the organization's id, which few certificate authorities take; a
//! job gets one for another audience from the `circleci` program. That is for
//! the job to run: nothing is started here.
//!
//! *Not checked here:* the token (`mod.rs`).

use zeroize::Zeroizing;

use super::{
    Ambient, AmbientContext, AmbientError, IdentityToken, IdentityTokenError, TOKEN_VARIABLE,
};

/// Newest first: the second form of the token has more in its claims.
pub const VARIABLES: [&str; 2] = ["CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"];

pub(super) fn is_present(around: &AmbientContext<'_>) -> bool {
    VARIABLES.iter().any(|name| around.has(name)) || around.says_true("CIRCLECI")
}

/// The first of the two tokens that is for this audience; when both are for
/// another, the first is handed on, to be refused by what it says.
pub(super) fn find(
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    let mut first = None;
    for name in VARIABLES {
        let Some(text) = around.text(name)? else {
            continue;
        };
        let for_us = IdentityToken::parse(text.clone()).is_ok_and(|token| {
            !matches!(
                token.check((around.now)(), Some(audience)),
                Err(IdentityTokenError::Audience { .. })
            )
        });
        if for_us {
            return Ok(text);
        }
        first.get_or_insert(text);
    }
    match first {
        Some(text) => Ok(text),
        None => around.wanted(Ambient::CircleCi, "CIRCLE_OIDC_TOKEN_V2", audience),
    }
}

pub(super) fn setup_hint(audience: &str) -> String {
    let claims = serde_json::json!({ "aud": audience });
    format!(
        "let a step of the job run: echo \"export {TOKEN_VARIABLE}='$(circleci run oidc get --claims '{claims}')'\" >> \"$BASH_ENV\""
    )
}
