//! A login whose code is carried by hand: the browser, on whatever machine,
//! shows it, and the person types it in the terminal.
//!
//! Source: the redirect `urn:ietf:wg:oauth:2.0:oob`, which Dex and the public
//! Sigstore issuer know.
//!
//! *Not checked here:* the token (`login.rs`). There is no state to compare: no
//! redirect reaches us. PKCE and the nonce bind the code to this login.

use super::{
    login::{Granted, Issuer, LoginError, MAX_CODE, Person},
    wire::OUT_OF_BAND,
};

/// How often a line that is no code is asked for again.
const TRIES: usize = 3;

/// Logs in.
///
/// # Errors
///
/// When nobody can be asked, the issuer refuses, or its token does not hold.
pub fn log_in(issuer: &Issuer<'_>, person: &mut dyn Person) -> Result<Granted, LoginError> {
    if !person.can_be_asked() {
        return Err(LoginError::Nobody {
            reason: "there is no terminal".into(),
        });
    }
    let found = issuer.discover()?;
    let begun = found.begin(OUT_OF_BAND, &[]);
    person.tell("Open this address in a browser, on any machine, and log in:");
    person.tell(&format!("  {}", begun.url));
    let mut typed = None;
    for _ in 0..TRIES {
        let line = person
            .ask("Code that the page shows: ")
            .map_err(|reason| LoginError::Nobody { reason })?;
        let line = line.trim();
        let fits = !line.is_empty()
            && line.len() <= MAX_CODE
            && line.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            typed = Some(line.to_owned());
            break;
        }
        person.tell("That is no code; it has letters, digits and signs only.");
    }
    let code = typed.ok_or_else(|| LoginError::Nobody {
        reason: "no code was typed".into(),
    })?;
    found.finish(begun, &code)
}
