//! Buildkite: the agent's own credential obtains a token for the job.
//!
//! `POST $BUILDKITE_AGENT_ENDPOINT/jobs/$BUILDKITE_JOB_ID/oidc/tokens`,
//! `Authorization: Token …`, `{"audience": …}`, response `{"token": "<JWT>"}`.
//!
//! *Not checked here:* the token (`mod.rs`).

use serde::Deserialize;
use zeroize::Zeroizing;

use super::provider::{
    AmbientContext, AmbientError, MAX_ANSWER, Problem, Secret, TokenProvider, json,
};
use crate::http::client::HttpRequest;

const ENDPOINT: &str = "BUILDKITE_AGENT_ENDPOINT";
const CREDENTIAL: &str = "BUILDKITE_AGENT_ACCESS_TOKEN";
const JOB: &str = "BUILDKITE_JOB_ID";
/// The default endpoint of agents.
const USUAL_ENDPOINT: &str = "https://agent.buildkite.com/v3";

pub(super) static PROVIDER: TokenProvider = TokenProvider {
    name: "buildkite-agent",
    source: "the agent's API",
    detect: |around| around.has(CREDENTIAL) || around.says_true("BUILDKITE"),
    fetch,
    variables: &[ENDPOINT, CREDENTIAL, JOB],
    file: |_| None,
    hint: |problem, _| {
        match problem {
        // The job is in a container of its own.
        Problem::Missing => Some("pass BUILDKITE_AGENT_ACCESS_TOKEN, BUILDKITE_AGENT_ENDPOINT and BUILDKITE_JOB_ID to the job's container (docker plugin: environment)".into()),
        Problem::Denied => Some("BUILDKITE_AGENT_ACCESS_TOKEN and BUILDKITE_JOB_ID must be those of the running job".into()),
        _ => None,
    }
    },
};

#[derive(Deserialize)]
struct TokenResponse {
    token: Secret,
}

fn fetch(
    provider: &'static TokenProvider,
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    const WHAT: &str = "Buildkite token";
    let credential = around.required(provider, CREDENTIAL, audience)?;
    let job = around.required(provider, JOB, audience)?;
    if job.len() > 64 || !job.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(AmbientError::Value {
            variable: JOB,
            reason: "not a job ID".into(),
        });
    }
    let path = ["jobs", job.as_str(), "oidc", "tokens"];
    let url = around.endpoint(ENDPOINT, USUAL_ENDPOINT, &path)?;
    let body = serde_json::json!({ "audience": audience }).to_string();
    let answer = around.send(
        provider,
        &credential,
        &HttpRequest {
            authorization: Some(("Token", &credential)),
            redirects: false,
            ..HttpRequest::post(WHAT, &url, "application/json", body.as_bytes(), MAX_ANSWER)
        },
    )?;
    Ok(json::<TokenResponse>(provider, WHAT, answer)?.token.0)
}
