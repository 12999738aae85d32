//! Google Cloud: the metadata server tells a machine, container or build who its
//! service account is, and gives tokens of it.
//!
//! `GET http://HOST/computeMetadata/v1/instance/service-accounts/default/identity?audience=…&format=full`
//! with `Metadata-Flavor: Google`, answer: the JWT as text. To act as another
//! account: an access token from `…/default/token`, and with it
//! `POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/WHO:generateIdToken`.
//!
//! The metadata server has no TLS: it is the host under the machine. So its name
//! may only be one that stays within the machine's own network, no proxy is
//! used, and an answer counts only with the header `Metadata-Flavor: Google`,
//! which a page of somebody else's does not have.
//!
//! *Not checked here:* the token (`mod.rs`).

use std::path::Path;

use serde::Deserialize;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{
    Ambient, AmbientContext, AmbientError, HttpRequest, HttpResponse, LOCAL_TRY, MAX_ANSWER,
    MAX_NAME, Secret, address, excerpt, is_near, json,
};

/// Another address of the metadata server: `HOST[:PORT]`.
pub const HOST_VARIABLE: &str = "GCE_METADATA_HOST";
/// The service account to act as.
pub const ACCOUNT_VARIABLE: &str = "GOOGLE_SERVICE_ACCOUNT_NAME";
/// gcloud's variable for another address of the credentials service.
const ENDPOINT_VARIABLE: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS";
const USUAL_HOST: &str = "metadata.google.internal";
const USUAL_ENDPOINT: &str = "https://iamcredentials.googleapis.com/";
/// What the firmware calls the machine.
const PRODUCT_FILE: &str = "/sys/class/dmi/id/product_name";

/// The metadata server has no identity to give.
pub const NO_ACCOUNT: &str = "attach a service account to this machine, build or pod";
/// The credentials service says no.
pub const NOT_ALLOWED: &str = "the machine's service account needs the role roles/iam.serviceAccountTokenCreator (permission iam.serviceAccounts.getOpenIdToken) on the account in GOOGLE_SERVICE_ACCOUNT_NAME, and the scope cloud-platform";
/// No metadata server.
pub const UNREACHABLE: &str = "this works on machines of Google Cloud only, through their metadata server (GCE_METADATA_HOST names another)";

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

/// By the firmware's name, or where somebody says where the server is. No
/// request: each signature would wait for it.
pub(super) fn is_present(around: &AmbientContext<'_>) -> bool {
    around.has(HOST_VARIABLE)
        || (around.file)(Path::new(PRODUCT_FILE))
            .ok()
            .flatten()
            .is_some_and(|name| matches!(name.trim(), "Google" | "Google Compute Engine"))
}

pub(super) fn fetch(
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    let provider = Ambient::GoogleMetadata;
    let mut url = metadata(around, "identity")?;
    url.query_pairs_mut()
        .append_pair("audience", audience)
        .append_pair("format", "full");
    let answer = ask(provider, IDENTITY, &url, around)?;
    match String::from_utf8(answer.body) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(AmbientError::Answer {
                provider,
                what: IDENTITY,
                reason: "not text".into(),
            })
        }
    }
}

pub(super) fn impersonate(
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    let provider = Ambient::GoogleImpersonation;
    let account = around.wanted(provider, ACCOUNT_VARIABLE, audience)?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'-' | b'_');
    if account.len() > 256 || account.starts_with('.') || !account.bytes().all(is_name) {
        return Err(AmbientError::Value {
            variable: ACCOUNT_VARIABLE,
            reason: "not the address or number of a service account".into(),
        });
    }
    let mut url = match around.text(ENDPOINT_VARIABLE)? {
        Some(text) => address(ENDPOINT_VARIABLE, &text)?,
        None => address(ENDPOINT_VARIABLE, USUAL_ENDPOINT)?,
    };
    url.set_query(None);
    url.path_segments_mut()
        .map_err(|()| AmbientError::Value {
            variable: ENDPOINT_VARIABLE,
            reason: "not an address with a path".into(),
        })?
        .pop_if_empty()
        .extend(["v1", "projects", "-", "serviceAccounts"])
        .push(&format!("{}:generateIdToken", account.as_str()));

    let answer = ask(provider, ACCESS, &metadata(around, "token")?, around)?;
    let access: Access = json(provider, ACCESS, answer)?;
    let body = serde_json::json!({ "audience": audience, "includeEmail": true }).to_string();
    let answer = around.ask(
        provider,
        &access.access_token.0,
        &HttpRequest {
            bearer: Some(&access.access_token.0),
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

/// Asks the metadata server.
fn ask(
    provider: Ambient,
    what: &'static str,
    url: &Url,
    around: &AmbientContext<'_>,
) -> Result<HttpResponse, AmbientError> {
    let answer = around.ask(
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
            reason: "the answer has no header Metadata-Flavor: Google, so it is not the metadata server's".into(),
        });
    }
    Ok(answer)
}

/// An address of the metadata server, for the default service account.
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
