//! The login without a person: an issuer that answers `prompt=none` for a named
//! user at once, as the reference issuer does.
//!
//! *Not checked here:* the token (`login.rs`).

use url::Url;

use super::login::{LoginConfig, LoginError, LoginTokens, MAX_ANSWER, redirect_url, web_address};
use crate::http::client::excerpt;

/// The default redirect URL of a login without a browser. No
/// one listens there: the answer is read off the redirect.
pub const REDIRECT: &str = "http://127.0.0.1/auth/callback";

/// Logs `user` in: code flow with PKCE S256, state and nonce, `prompt=none` and
/// the user as `login_hint`.
///
/// # Errors
/// When any of that fails; the issuer's own words are passed on, escaped.
pub fn log_in(
    issuer: &LoginConfig<'_>,
    user: &str,
    redirect: Option<&str>,
) -> Result<LoginTokens, LoginError> {
    let issuer = LoginConfig {
        login_hint: Some(user),
        ..*issuer
    };
    let described = issuer.discover()?;
    let redirect = redirect.unwrap_or(REDIRECT);
    let expected = web_address("redirect address", redirect)?;
    let redirect = redirect_url(redirect)?;
    let asked = described.authorization_request(&redirect, &[("prompt", "none")]);
    let pairs = answer(&issuer, user, &asked.url, &expected)?;
    let code = described.code(&asked, &pairs)?;
    described.redeem(code, &redirect, &asked.nonce, asked.verifier)
}

/// Asks for a code and reads the answer off the redirect, which is not followed.
fn answer(
    issuer: &LoginConfig<'_>,
    user: &str,
    address: &Url,
    expected: &Url,
) -> Result<Vec<(String, String)>, LoginError> {
    let request = openidconnect::http::Request::builder()
        .uri(address.as_str())
        .header("accept", "text/html, application/json")
        .body(Vec::new())
        .map_err(|_| LoginError::Address {
            what: "authorization endpoint",
            address: address.to_string(),
            reason: "not a URL",
        })?;
    let answer = issuer.http.exchange("login", request, MAX_ANSWER)?;
    let location = answer
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| address.join(value).ok());
    let Some(location) = location.filter(|_| answer.status().is_redirection()) else {
        return Err(LoginError::NotHeadless {
            issuer: issuer.issuer.to_owned(),
            user: excerpt(user.as_bytes()),
            status: answer.status().as_u16(),
        });
    };
    if location.origin() != expected.origin() || location.path() != expected.path() {
        return Err(LoginError::Answer {
            reason: "it is for another redirect URL than the requested one",
        });
    }
    Ok(location.query_pairs().into_owned().collect())
}

#[cfg(test)]
mod tests;
