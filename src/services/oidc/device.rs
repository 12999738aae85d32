//! A login on another device: this machine shows an address and a code, and
//! asks the issuer until somebody typed it there (RFC 8628).
//!
//! *Not checked here:* the token (`login.rs`).

use std::{cell::RefCell, time::Duration};

use openidconnect::{
    DeviceAuthorizationUrl, Nonce,
    core::{CoreDeviceAuthorizationResponse, CoreTokenResponse},
};

use super::login::{Granted, Issuer, LoginError, Person, exchange, refused, web_address};
use crate::services::http::client::excerpt;

/// The longest that is waited for a code to be typed, whatever the issuer says.
pub const MAX_WAIT: Duration = Duration::from_secs(30 * 60);
/// The longest pause between two questions, also when the issuer cannot be
/// reached for a while.
pub const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Logs in.
///
/// # Errors
/// The issuer has no such login, refuses it, or nobody typed the code in time.
pub fn log_in(issuer: &Issuer<'_>, person: &mut dyn Person) -> Result<Granted, LoginError> {
    let described = issuer.describe()?;
    let endpoint = described
        .further
        .device_authorization_endpoint
        .clone()
        .and_then(|endpoint| DeviceAuthorizationUrl::new(endpoint).ok())
        .ok_or_else(|| LoginError::NoDeviceLogin {
            issuer: issuer.issuer.to_owned(),
        })?;
    let client = described
        .client
        .clone()
        .set_device_authorization_url(endpoint);
    let exchange = exchange(issuer.http);
    let mut request = client.exchange_device_code().add_scopes(issuer.scopes());
    if let Some(connector) = issuer.connector_id {
        request = request.add_extra_param("connector_id", connector);
    }
    let device: CoreDeviceAuthorizationResponse = request.request(&exchange).map_err(refused)?;
    let address = web_address(
        "address to type the code at",
        device.verification_uri().as_str(),
    )?;
    let code = excerpt(device.user_code().secret().as_bytes());
    let complete = device
        .verification_uri_complete()
        .and_then(|address| web_address("address with the code", address.secret()).ok());
    match complete {
        Some(complete) => {
            person.tell("gitseal: to log in, open this address on any device:");
            person.tell(complete.as_str());
            person.tell(&format!("and compare the code: {code}"));
        }
        None => {
            person.tell("gitseal: to log in, open this address on any device:");
            person.tell(address.as_str());
            person.tell(&format!("and type the code: {code}"));
        }
    }
    let time = device.expires_in().min(MAX_WAIT);
    let person = RefCell::new(person);
    let answer: CoreTokenResponse = client
        .exchange_device_access_token(&device)
        .set_max_backoff_interval(MAX_PAUSE)
        .request(
            &exchange,
            |pause| person.borrow_mut().pause(pause.min(MAX_PAUSE)),
            Some(time),
        )
        .map_err(|error| match &error {
            openidconnect::RequestTokenError::ServerResponse(answer) => {
                let code = answer.error().to_string();
                if code == "expired_token" {
                    LoginError::CodeExpired {
                        seconds: time.as_secs(),
                    }
                } else {
                    LoginError::Refused {
                        error: excerpt(code.as_bytes()),
                        description: answer
                            .error_description()
                            .map(|words| excerpt(words.as_bytes()))
                            .unwrap_or_default(),
                    }
                }
            }
            _ => refused(error),
        })?;
    // There is no nonce in this flow; the device code binds the answer to us.
    described.granted(&answer, |_: Option<&Nonce>| Ok(()))
}
