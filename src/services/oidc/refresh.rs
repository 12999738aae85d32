//! A login renewed without a person, by the refresh token of an earlier one.
//!
//! Sources: RFC 6749 §6, OpenID Connect Core 1.0 §12.

use openidconnect::{Nonce, RefreshToken};
use zeroize::Zeroizing;

use super::login::{LoginConfig, LoginError, LoginTokens, exchange, refused};

/// Exchanges a refresh token for an identity token, and checks that one. The
/// issuer may give a new refresh token in place of the old; where it gives none,
/// the old one is handed back.
///
/// # Errors
/// The issuer refuses it, or gives a token that does not hold.
pub fn renew(issuer: &LoginConfig<'_>, refresh_token: &str) -> Result<LoginTokens, LoginError> {
    let described = issuer.discover()?;
    let refresh_token = RefreshToken::new(refresh_token.to_owned());
    let answer = described
        .client
        .exchange_refresh_token(&refresh_token)
        .add_scopes(issuer.scopes())
        .request(&exchange(issuer.http))
        .map_err(refused)?;
    // OIDC Core §12.2: the nonce of the first login may or may not be repeated.
    let mut granted = described.validate_tokens(&answer, |_: Option<&Nonce>| Ok(()))?;
    if granted.refresh.is_none() {
        granted.refresh = Some(Zeroizing::new(refresh_token.secret().clone()));
    }
    Ok(granted)
}
