//! A login without a browser, at an issuer that sends a named user back at once
//! (`prompt=none` and `login_hint`), as the reference issuer does.
//!
//! *Not checked here:* the token (`login.rs`).

use super::login::{Granted, Issuer, LoginError, MAX_ANSWER, Return, web_address};
use crate::services::http::client::excerpt;

/// What the issuer is told to send the answer to, when nothing else is set. No
/// one listens there: the answer is read off the redirect.
pub const HEADLESS_REDIRECT: &str = "http://127.0.0.1/auth/callback";

/// Logs `issuer.login_hint` in: code flow with PKCE S256, state and nonce. The
/// redirect is read and not followed.
///
/// # Errors
///
/// When the issuer shows a page instead, refuses, or its token does not hold;
/// its own words are passed on, escaped.
pub fn log_in(issuer: &Issuer<'_>, redirect: Option<&str>) -> Result<Granted, LoginError> {
    let found = issuer.discover()?;
    let redirect = redirect.unwrap_or(HEADLESS_REDIRECT);
    let redirect_address = web_address("redirect address", redirect)?;
    let begun = found.begin(redirect, &[("prompt", "none")]);
    let request = openidconnect::http::Request::builder()
        .uri(begun.url.as_str())
        .header("accept", "text/html, application/json")
        .body(Vec::new())
        .map_err(|_| LoginError::Address {
            what: "authorization endpoint",
            address: excerpt(begun.url.as_str().as_bytes()),
            reason: "not an address",
        })?;
    let answer = issuer.http.exchange("login", request, MAX_ANSWER)?;
    let location = answer
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| begun.url.join(value).ok());
    let Some(location) = location.filter(|_| answer.status().is_redirection()) else {
        return Err(LoginError::NotHeadless {
            user: excerpt(issuer.login_hint.unwrap_or("anyone").as_bytes()),
            status: answer.status().as_u16(),
            excerpt: excerpt(answer.body()),
        });
    };
    if location.origin() != redirect_address.origin() || location.path() != redirect_address.path()
    {
        return Err(LoginError::Answer {
            reason: "it goes to another address than the one that was asked for",
        });
    }
    match found.judge(&begun, location.query().unwrap_or_default()) {
        Return::Code(code) => found.finish(begun, &code),
        Return::Stray(reason) => Err(LoginError::Answer { reason }),
        Return::Ended(error) => Err(error),
    }
}
