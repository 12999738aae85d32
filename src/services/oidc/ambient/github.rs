//! GitHub Actions: a job with `permissions: id-token: write` is given an address
//! and a credential for it, and gets a token for the audience it names.
//!
//! `GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=…`, `Authorization: Bearer`,
//! answer `{"count": …, "value": "<JWT>"}`.
//!
//! *Not checked here:* the token (`mod.rs`).

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::{Ambient, AmbientContext, AmbientError, HttpRequest, MAX_ANSWER, Secret, json};

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const CREDENTIAL: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// What tells two jobs apart: GitHub makes a credential for each.
pub const VARIABLES: [&str; 2] = [URL, CREDENTIAL];
/// What is missing when there is no token.
pub const PERMISSION: &str = "give the job the permission for tokens: permissions: { id-token: write, contents: read }; a pull request from a fork never has it";

#[derive(Deserialize)]
struct TokenResponse {
    value: Secret,
}

pub(super) fn is_present(around: &AmbientContext<'_>) -> bool {
    around.has(URL) || around.has(CREDENTIAL) || around.says_true("GITHUB_ACTIONS")
}

pub(super) fn fetch(
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    const WHAT: &str = "GitHub Actions token";
    let provider = Ambient::GithubActions;
    let url = with_audience(&around.address(provider, URL, audience)?, audience);
    let credential = around.wanted(provider, CREDENTIAL, audience)?;
    let answer = around.ask(
        provider,
        &credential,
        &HttpRequest {
            accept: "application/json; api-version=2.0",
            bearer: Some(&credential),
            redirects: false,
            ..HttpRequest::get(WHAT, &url, MAX_ANSWER)
        },
    )?;
    Ok(json::<TokenResponse>(provider, WHAT, answer)?.value.0)
}

/// The address with the one audience that we want; it has other parameters, and
/// the first of two that are named alike may be the one that counts.
fn with_audience(url: &Url, audience: &str) -> Url {
    let mut with = url.clone();
    if url.query_pairs().any(|(name, _)| name == "audience") {
        with.query_pairs_mut()
            .clear()
            .extend_pairs(url.query_pairs().filter(|(name, _)| name != "audience"));
    }
    with.query_pairs_mut().append_pair("audience", audience);
    with
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_joins_the_query() {
        for (url, expected) in [
            (
                "https://h/a?api-version=2.0",
                "https://h/a?api-version=2.0&audience=sig%26store",
            ),
            ("https://h/a", "https://h/a?audience=sig%26store"),
            ("https://h//a?", "https://h//a?audience=sig%26store"),
            (
                "https://h/a?x=%2F&audience=other&y=1",
                "https://h/a?x=%2F&y=1&audience=sig%26store",
            ),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(with_audience(&url, "sig&store").as_str(), expected);
        }
    }
}
