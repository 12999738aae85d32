//! A login in a browser anywhere, whose code the person types on the terminal.
//!
//! *Not checked here:* the token (`login.rs`).

use super::{
    login::{LoginConfig, LoginError, LoginPrompt, LoginTokens, redirect_url},
    wire::OUT_OF_BAND,
};

/// The longest code that is taken, in bytes.
pub const MAX_CODE: usize = 4 << 10;

/// Shows the address and asks for the code that the issuer shows there.
///
/// The answer carries no state: what binds the code to this login is the PKCE
/// verifier, which never leaves this process, and the nonce in the token.
///
/// # Errors
/// There is no terminal to ask on, or the login fails.
pub fn log_in(
    issuer: &LoginConfig<'_>,
    person: &mut dyn LoginPrompt,
) -> Result<LoginTokens, LoginError> {
    if !person.can_be_asked() {
        return Err(LoginError::NoTerminal {
            reason: "nobody can be asked".to_owned(),
        });
    }
    let described = issuer.discover()?;
    let redirect = redirect_url(OUT_OF_BAND)?;
    let asked = described.authorization_request(&redirect, &[]);
    person.tell("gitseal: go to this address in a browser, log in, and copy the code it shows:");
    person.tell(asked.url.as_str());
    let code = person
        .ask("Code: ")
        .map_err(|reason| LoginError::NoTerminal { reason })?;
    let code = code.trim();
    if code.is_empty() || code.len() > MAX_CODE || code.chars().any(char::is_control) {
        return Err(LoginError::Answer {
            reason: "that is no code",
        });
    }
    described.redeem(code.to_owned(), &redirect, &asked.nonce, asked.verifier)
}
