//! CircleCI: every job that uses a context has tokens in two variables. Their
//! audience is the organization's ID, which few certificate authorities accept;
//! a job obtains one for another audience with the `circleci` program. The job
//! must run that program itself: gitseal starts nothing here.
//!
//! *Not checked here:* the token (`mod.rs`).

use zeroize::Zeroizing;

use super::provider::{AmbientContext, AmbientError, Problem, TOKEN_VARIABLE, TokenProvider};
use crate::oidc::token::{IdentityToken, IdentityTokenError};

/// Newest first: the second form of the token has more claims.
const VARIABLES: [&str; 2] = ["CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"];

pub(super) static PROVIDER: TokenProvider = TokenProvider {
    name: "circleci",
    source: "`CIRCLE_OIDC_TOKEN_V2`, if its audience is the expected one",
    detect: |around| VARIABLES.iter().any(|name| around.has(name)) || around.says_true("CIRCLECI"),
    fetch,
    variables: &VARIABLES,
    file: |_| None,
    hint: |problem, audience| match problem {
        Problem::Missing | Problem::Audience => {
            let claims = serde_json::json!({ "aud": audience });
            Some(format!(
                "add to a step of the job: echo \"export {TOKEN_VARIABLE}='$(circleci run oidc get --claims '{claims}')'\" >> \"$BASH_ENV\""
            ))
        }
        _ => None,
    },
};

/// Returns the first of the two tokens that is for this audience. If both are
/// for another one, returns the first, whose check then reports its audience.
fn fetch(
    provider: &'static TokenProvider,
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
        None => around.required(provider, "CIRCLE_OIDC_TOKEN_V2", audience),
    }
}
