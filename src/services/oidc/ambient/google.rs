//! Google Cloud: the metadata server issues tokens of the service account of a
//! machine, container or build.
//!
//! `GET http://HOST/computeMetadata/v1/instance/service-accounts/default/identity?audience=…&format=full`
//! with `Metadata-Flavor: Google`, response: the JWT as text. To act as another
//! account: an access token from `…/default/token`, and with it
//! `POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/WHO:generateIdToken`.
//!
//! The metadata server has no TLS: it is the host under the machine. So its name
//! must be one within the machine's own network, no proxy is used, and a
//! response counts only with the header `Metadata-Flavor: Google`, which a page
//! of another server does not have.
//!
//! *Not checked here:* the token (`mod.rs`).

use std::path::Path;

use serde::Deserialize;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::provider::{
    AmbientContext, AmbientError, LOCAL_TRY, MAX_ANSWER, MAX_NAME, Problem, Secret, TokenProvider,
    is_near, json,
};
use crate::http::client::{HttpRequest, HttpResponse, excerpt};

/// Another host of the metadata server: `HOST[:PORT]`.
const HOST_VARIABLE: &str = "GCE_METADATA_HOST";
/// The service account to act as.
const ACCOUNT_VARIABLE: &str = "GOOGLE_SERVICE_ACCOUNT_NAME";
/// gcloud's variable for another URL of the credentials service.
const ENDPOINT_VARIABLE: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS";
const USUAL_HOST: &str = "metadata.google.internal";
const USUAL_ENDPOINT: &str = "https://iamcredentials.googleapis.com/";
/// The machine's name in its firmware.
const PRODUCT_FILE: &str = "/sys/class/dmi/id/product_name";

const UNREACHABLE: &str = "use this provider on machines of Google Cloud only, through their metadata server (GCE_METADATA_HOST names another)";

pub(super) static MACHINE: TokenProvider = TokenProvider {
    name: "google-workload-identity",
    source: "the machine's Google service account",
    // By the firmware's name, or if a variable names the server. A request
    // would delay each signature.
    detect: |around| {
        around.has(HOST_VARIABLE)
            || (around.file)(Path::new(PRODUCT_FILE))
                .ok()
                .flatten()
                .is_some_and(|name| matches!(name.trim(), "Google" | "Google Compute Engine"))
    },
    fetch,
    variables: &[HOST_VARIABLE],
    file: |_| None,
    hint: |problem, _| match problem {
        Problem::Denied => Some("attach a service account to this machine, build or pod".into()),
        Problem::Unreachable => Some(UNREACHABLE.into()),
        _ => None,
    },
};

pub(super) static SERVICE_ACCOUNT: TokenProvider = TokenProvider {
    name: "google-impersonate",
    source: "the service account in `GOOGLE_SERVICE_ACCOUNT_NAME`",
    detect: |around| around.has(ACCOUNT_VARIABLE),
    fetch: impersonate,
    variables: &[HOST_VARIABLE, ACCOUNT_VARIABLE],
    file: |_| None,
    hint: |problem, _| {
        match problem {
        Problem::Denied => Some("grant the machine's service account the role roles/iam.serviceAccountTokenCreator (permission iam.serviceAccounts.getOpenIdToken) on the account in GOOGLE_SERVICE_ACCOUNT_NAME, and the scope cloud-platform".into()),
        Problem::Unreachable => Some(UNREACHABLE.into()),
        _ => None,
    }
    },
};

const IDENTITY: &str = "Google identity token";
const ACCESS: &str = "Google access token";
const IMPERSONATION: &str = "Google token of another account";

#[derive(Deserialize)]
struct Access {
    access_token: Secret,
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Secret,
}

fn fetch(
    provider: &'static TokenProvider,
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    let mut url = metadata(around, "identity")?;
    url.query_pairs_mut()
        .append_pair("audience", audience)
        .append_pair("format", "full");
    let answer = query(provider, IDENTITY, &url, around)?;
    match String::from_utf8(answer.body) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(AmbientError::Answer {
                provider,
                what: IDENTITY,
                reason: "not UTF-8 text".into(),
            })
        }
    }
}

fn impersonate(
    provider: &'static TokenProvider,
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    let account = around.required(provider, ACCOUNT_VARIABLE, audience)?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'-' | b'_');
    if account.len() > 256 || account.starts_with('.') || !account.bytes().all(is_name) {
        return Err(AmbientError::Value {
            variable: ACCOUNT_VARIABLE,
            reason: "not the email address or number of a service account".into(),
        });
    }
    let method = format!("{}:generateIdToken", account.as_str());
    let path = ["v1", "projects", "-", "serviceAccounts", &method];
    let url = around.endpoint(ENDPOINT_VARIABLE, USUAL_ENDPOINT, &path)?;

    let answer = query(provider, ACCESS, &metadata(around, "token")?, around)?;
    let access: Access = json(provider, ACCESS, answer)?;
    let body = serde_json::json!({ "audience": audience, "includeEmail": true }).to_string();
    let answer = around.send(
        provider,
        &access.access_token.0,
        &HttpRequest {
            authorization: Some(("Bearer", &access.access_token.0)),
            redirects: false,
            ..HttpRequest::post(
                IMPERSONATION,
                &url,
                "application/json",
                body.as_bytes(),
                MAX_ANSWER,
            )
        },
    )?;
    Ok(json::<TokenResponse>(provider, IMPERSONATION, answer)?
        .token
        .0)
}

/// Queries the metadata server.
fn query(
    provider: &'static TokenProvider,
    what: &'static str,
    url: &Url,
    around: &AmbientContext<'_>,
) -> Result<HttpResponse, AmbientError> {
    let answer = around.send(
        provider,
        "",
        &HttpRequest {
            accept: "*/*",
            headers: &[("metadata-flavor", "Google")],
            redirects: false,
            direct: true,
            one_try: Some(LOCAL_TRY),
            ..HttpRequest::get(what, url, MAX_ANSWER)
        },
    )?;
    if answer.header("metadata-flavor") != Some("Google") {
        return Err(AmbientError::Answer {
            provider,
            what,
            reason: "the response has no header Metadata-Flavor: Google, so it is not from the metadata server".into(),
        });
    }
    Ok(answer)
}

/// Returns a URL of the metadata server, for the default service account.
fn metadata(around: &AmbientContext<'_>, leaf: &str) -> Result<Url, AmbientError> {
    let host = match around.text(HOST_VARIABLE)? {
        Some(host) => host,
        None => Zeroizing::new(USUAL_HOST.to_owned()),
    };
    let fail = |reason: String| AmbientError::Value {
        variable: HOST_VARIABLE,
        reason,
    };
    if host.len() > MAX_NAME || host.contains(['/', '@', '?', '#', '\\']) {
        return Err(fail("not HOST or HOST:PORT".into()));
    }
    let url = Url::parse(&format!(
        "http://{}/computeMetadata/v1/instance/service-accounts/default/{leaf}",
        host.as_str()
    ))
    .map_err(|_| fail("not HOST or HOST:PORT".into()))?;
    let near = url
        .host()
        .is_some_and(|host| host == Host::Domain(USUAL_HOST) || is_near(&host));
    if !near {
        return Err(fail(format!(
            "{} is not on this machine's own network, and the metadata server has no TLS",
            excerpt(url.host_str().unwrap_or_default().as_bytes())
        )));
    }
    Ok(url)
}
