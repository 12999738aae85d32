//! The device flow: the person logs in on any machine with a browser, this one
//! polls until that is done (RFC 8628).
//!
//! *Not checked here:* the token (`login.rs`).

use std::time::{Duration, Instant};

use openidconnect::PkceCodeChallenge;
use serde::Deserialize;

use super::{
    login::{Granted, Issuer, LoginError, Person, words},
    wire::DEVICE_GRANT,
};
use crate::services::http::client::{Retry, excerpt};

/// Between two polls, when the issuer does not say (RFC 8628 §3.2).
pub const USUAL_INTERVAL: Duration = Duration::from_secs(5);
/// Added to the interval by each `slow_down` (RFC 8628 §3.5).
pub const SLOW_DOWN: Duration = Duration::from_secs(5);
/// The longest pause between two polls.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// The longest that is waited, whatever the issuer says.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Polls in a row that may fail on the way.
pub const MAX_FAILURES: u32 = 8;
/// The longest code that a person is asked to type.
const MAX_USER_CODE: usize = 64;

/// The answer of the device endpoint, as issuers really give it.
#[derive(Deserialize)]
struct Device {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    interval: Option<u64>,
}

/// Logs in; everything is said through `person.tell`.
///
/// # Errors
///
/// When the issuer has no device flow, the person refuses or does not log in in
/// time, the issuer cannot be reached for long, or its token does not hold.
pub fn log_in(issuer: &Issuer<'_>, person: &mut dyn Person) -> Result<Granted, LoginError> {
    let found = issuer.discover()?;
    let Some(endpoint) = &found.device else {
        return Err(LoginError::NotOffered {
            issuer: excerpt(issuer.issuer.as_bytes()),
            what: "a login from another device (RFC 8628)",
        });
    };
    let scope = found.scope();
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let mut form = vec![("scope", scope.as_str())];
    if found.pkce_listed {
        form.push(("code_challenge", challenge.as_str()));
        form.push(("code_challenge_method", "S256"));
    }
    if let Some(connector) = issuer.connector_id {
        form.push(("connector_id", connector));
    }
    let device: Device = found
        .post("device login", endpoint, &form, Retry::USUAL)?
        .map_err(|refused| LoginError::Refused {
            error: excerpt(refused.error.as_bytes()),
            description: excerpt(refused.error_description.as_bytes()),
        })?;
    let shown =
        |text: &str, what| super::login::web_address(what, text).map(|url| url.as_str().to_owned());
    let page = shown(&device.verification_uri, "page for the device's code")?;
    let complete = device
        .verification_uri_complete
        .as_deref()
        .map(|text| shown(text, "page for the device's code"))
        .transpose()?;
    if device.user_code.len() > MAX_USER_CODE {
        return Err(LoginError::Answer {
            reason: "the device's code is too long to type",
        });
    }
    let code = excerpt(device.user_code.as_bytes());
    let time = device
        .expires_in
        .map_or(LONGEST, Duration::from_secs)
        .min(LONGEST);
    person.tell("Open this address in a browser, on any machine, and log in:");
    match &complete {
        Some(complete) => {
            person.tell(&format!("  {complete}"));
            person.tell(&format!("It must show this code: {code}"));
            if page != *complete {
                person.tell(&format!("Or type it in yourself at {page}"));
            }
        }
        None => {
            person.tell(&format!("  {page}"));
            person.tell(&format!("and type this code: {code}"));
        }
    }
    person.tell(&format!(
        "It is good for {} minutes.",
        time.as_secs().div_ceil(60)
    ));

    let mut form = vec![
        ("grant_type", DEVICE_GRANT),
        ("device_code", device.device_code.as_str()),
        ("scope", scope.as_str()),
    ];
    if found.pkce_listed {
        form.push(("code_verifier", verifier.secret().as_str()));
    }
    let mut interval = device
        .interval
        .map_or(USUAL_INTERVAL, Duration::from_secs)
        .clamp(Duration::from_secs(1), LONGEST_INTERVAL);
    let begun = Instant::now();
    let mut waited = Duration::ZERO;
    let mut failures: u32 = 0;
    let mut pause = interval;
    loop {
        // Both clocks: one stands still in tests, the other in a sleeping laptop.
        if waited.max(begun.elapsed()).saturating_add(pause) > time {
            return Err(LoginError::TimedOut { after: time });
        }
        person.pause(pause);
        waited = waited.saturating_add(pause);
        match found.ask_for_tokens(&form, Retry::NEVER) {
            Ok(Ok(tokens)) => {
                person.tell("Logged in.");
                return found.take(tokens, None);
            }
            Ok(Err(refused)) => {
                failures = 0;
                match refused.error.as_str() {
                    "authorization_pending" => {}
                    "slow_down" => {
                        interval = interval.saturating_add(SLOW_DOWN).min(LONGEST_INTERVAL);
                    }
                    "expired_token" => return Err(LoginError::TimedOut { after: waited }),
                    "access_denied" => {
                        return Err(LoginError::Refused {
                            error: excerpt(refused.error.as_bytes()),
                            description: excerpt(refused.error_description.as_bytes()),
                        });
                    }
                    _ => {
                        return Err(LoginError::Exchange {
                            reason: words(&refused),
                        });
                    }
                }
                pause = interval;
            }
            Err(error @ LoginError::Http(_)) => {
                // RFC 8628 §3.5: when the way is blocked, wait longer each time.
                failures = failures.saturating_add(1);
                if failures >= MAX_FAILURES {
                    return Err(error);
                }
                pause = pause.saturating_mul(2).min(LONGEST_INTERVAL);
            }
            Err(error) => return Err(error),
        }
    }
}
