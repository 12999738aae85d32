//! Renewing a login: a refresh token for a new identity token, without a person.
//!
//! Sources: RFC 6749 §6, OpenID Connect Core 1.0 §12.2 (what the new token must
//! have in common with the old one), RFC 9700 §4.14 (rotation).
//!
//! *Not checked here:* the token itself (`login.rs`).

use super::login::{Granted, Issuer, LoginError, words};
use crate::services::http::client::{Retry, excerpt};

/// Whom the login before was for. The new token must agree with what is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before<'a> {
    /// `sub`.
    pub subject: Option<&'a str>,
    /// `email`.
    pub email: Option<&'a str>,
}

/// Renews a login. Where the issuer rotates refresh tokens, the new one is in
/// the result and the old one is used up; otherwise none is in it and the old
/// one stays good.
///
/// # Errors
///
/// When the issuer refuses (the refresh token was used, withdrawn or is too
/// old), its token does not hold, or is for somebody else.
pub fn renew(
    issuer: &Issuer<'_>,
    refresh_token: &str,
    before: Before<'_>,
) -> Result<Granted, LoginError> {
    let found = issuer.discover()?;
    let scope = found.scope();
    let tokens = found
        .ask_for_tokens(
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token),
                ("scope", &scope),
            ],
            // Not twice: where the token rotates, the second try would look like theft.
            Retry::NEVER,
        )?
        .map_err(|refused| LoginError::Exchange {
            reason: words(&refused),
        })?;
    let granted = found.take(tokens, None)?;
    let claims = granted.token.claims();
    let other = |found: &str, expected: &str| {
        Err(LoginError::OtherPerson {
            found: excerpt(found.as_bytes()),
            expected: excerpt(expected.as_bytes()),
        })
    };
    if let Some(expected) = before.subject
        && claims.subject != expected
    {
        return other(&claims.subject, expected);
    }
    if let Some(expected) = before.email
        && claims.email.as_deref() != Some(expected)
    {
        return other(claims.email.as_deref().unwrap_or("nobody"), expected);
    }
    Ok(granted)
}
