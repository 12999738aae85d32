//! Buildkite: the agent's own credential buys a token for the job.
//!
//! `POST $BUILDKITE_AGENT_ENDPOINT/jobs/$BUILDKITE_JOB_ID/oidc/tokens`,
//! `Authorization: Token …`, `{"audience": …}`, answer `{"token": "<JWT>"}`.
//!
//! *Not checked here:* the token (`mod.rs`).

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    Ambient, AmbientContext, AmbientError, HttpRequest, MAX_ANSWER, Secret, address, json,
};

const ENDPOINT: &str = "BUILDKITE_AGENT_ENDPOINT";
const CREDENTIAL: &str = "BUILDKITE_AGENT_ACCESS_TOKEN";
const JOB: &str = "BUILDKITE_JOB_ID";
/// Where agents speak to, unless told otherwise.
const USUAL_ENDPOINT: &str = "https://agent.buildkite.com/v3";
/// What tells two jobs apart.
pub const VARIABLES: [&str; 3] = [ENDPOINT, CREDENTIAL, JOB];
/// What is missing when the job is in a container of its own.
pub const MISSING: &str = "pass BUILDKITE_AGENT_ACCESS_TOKEN, BUILDKITE_AGENT_ENDPOINT and BUILDKITE_JOB_ID into the job's container (docker plugin: environment)";
/// Why the agent API says no.
pub const DENIED: &str = "BUILDKITE_AGENT_ACCESS_TOKEN and BUILDKITE_JOB_ID must be those of the job that is running now";

#[derive(Deserialize)]
struct TokenResponse {
    token: Secret,
}

pub(super) fn is_present(around: &AmbientContext<'_>) -> bool {
    around.has(CREDENTIAL) || around.says_true("BUILDKITE")
}

pub(super) fn fetch(
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    const WHAT: &str = "Buildkite token";
    let provider = Ambient::Buildkite;
    let credential = around.wanted(provider, CREDENTIAL, audience)?;
    let job = around.wanted(provider, JOB, audience)?;
    if job.len() > 64 || !job.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(AmbientError::Value {
            variable: JOB,
            reason: "not the id of a job".into(),
        });
    }
    let mut url = match around.text(ENDPOINT)? {
        Some(text) => address(ENDPOINT, &text)?,
        None => address(ENDPOINT, USUAL_ENDPOINT)?,
    };
    url.set_query(None);
    url.path_segments_mut()
        .map_err(|()| AmbientError::Value {
            variable: ENDPOINT,
            reason: "not an address with a path".into(),
        })?
        .pop_if_empty()
        .extend(["jobs", job.as_str(), "oidc", "tokens"]);
    let authorization = Zeroizing::new(format!("Token {}", credential.as_str()));
    let body = serde_json::json!({ "audience": audience }).to_string();
    let answer = around.ask(
        provider,
        &credential,
        &HttpRequest {
            headers: &[("authorization", &authorization)],
            redirects: false,
            ..HttpRequest::post(WHAT, &url, "application/json", body.as_bytes(), MAX_ANSWER)
        },
    )?;
    Ok(json::<TokenResponse>(provider, WHAT, answer)?.token.0)
}
