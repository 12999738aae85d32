//! A login in a browser anywhere, whose code the person types on the terminal.
//!
//! *Not checked here:* the token (`login.rs`).

use super::{
    login::{LoginConfig, LoginError, LoginPrompt, LoginTokens, redirect_url},
    wire::OUT_OF_BAND,
};

/// The longest code that is accepted, in bytes.
pub const MAX_CODE: usize = 4 << 10;
/// The number of times that the prompt is repeated for an invalid code.
const MAX_TRIES: usize = 3;

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
            reason: "no interactive terminal".to_owned(),
        });
    }
    let described = issuer.discover()?;
    let redirect = redirect_url(OUT_OF_BAND)?;
    let asked = described.authorization_request(&redirect, &[]);
    person.tell("gitseal: open this URL in a browser, log in, and paste the code it displays:");
    person.tell(asked.url.as_str());
    for _ in 0..MAX_TRIES {
        let code = person
            .ask("Code: ")
            .map_err(|reason| LoginError::NoTerminal { reason })?;
        let code = code.trim();
        if !code.is_empty() && code.len() <= MAX_CODE && !code.chars().any(char::is_control) {
            return described.redeem(code.to_owned(), &redirect, &asked.nonce, asked.verifier);
        }
        person.tell("gitseal: invalid code; try again");
    }
    Err(LoginError::Answer {
        reason: "no valid code was entered",
    })
}
