//! GitHub Actions: a job with `permissions: id-token: write` receives a URL
//! and a credential for it, and obtains a token for the audience it names.
//!
//! `GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=…`, `Authorization: Bearer`,
//! response `{"count": …, "value": "<JWT>"}`.
//!
//! *Not checked here:* the token (`mod.rs`).

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::provider::{
    AmbientContext, AmbientError, MAX_ANSWER, Problem, Secret, TokenProvider, json,
};
use crate::http::client::HttpRequest;

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const CREDENTIAL: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

pub(super) static PROVIDER: TokenProvider = TokenProvider {
    name: "github-actions",
    source: "the job's token service; the job needs `permissions: id-token: write`",
    detect: |around| {
        around.has(URL) || around.has(CREDENTIAL) || around.says_true("GITHUB_ACTIONS")
    },
    fetch,
    // GitHub makes a credential for each job.
    variables: &[URL, CREDENTIAL],
    file: |_| None,
    hint: |problem, _| {
        match problem {
        Problem::Missing | Problem::Denied => Some("give the job the permission for tokens: permissions: { id-token: write, contents: read }; a pull request from a fork never has it".into()),
        _ => None,
    }
    },
};

#[derive(Deserialize)]
struct TokenResponse {
    value: Secret,
}

fn fetch(
    provider: &'static TokenProvider,
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    const WHAT: &str = "GitHub Actions token";
    let url = with_audience(&around.url(provider, URL, audience)?, audience);
    let credential = around.required(provider, CREDENTIAL, audience)?;
    let answer = around.send(
        provider,
        &credential,
        &HttpRequest {
            accept: "application/json; api-version=2.0",
            authorization: Some(("Bearer", &credential)),
            redirects: false,
            ..HttpRequest::get(WHAT, &url, MAX_ANSWER)
        },
    )?;
    Ok(json::<TokenResponse>(provider, WHAT, answer)?.value.0)
}

/// Returns the URL with our audience as its only one. The URL has other
/// parameters, and the first of two with one name may be the one that counts.
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
