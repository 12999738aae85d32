//! A login on another device: this machine shows an address and a code, and
//! asks the issuer until somebody typed it there (RFC 8628).
//!
//! *Not checked here:* the token (`login.rs`).

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use openidconnect::{
    DeviceAuthorizationUrl, HttpRequest, HttpResponse, Nonce,
    core::{CoreDeviceAuthorizationResponse, CoreTokenResponse},
};

use super::login::{
    LoginConfig, LoginError, LoginPrompt, LoginTokens, exchange, refused, web_address,
};
use crate::http::client::{HttpError, excerpt};

/// The longest that is waited for a code to be typed, whatever the issuer says.
pub const MAX_WAIT: Duration = Duration::from_secs(30 * 60);
/// The same, where nobody is seen who could read it.
pub const MAX_UNSEEN: Duration = Duration::from_secs(5 * 60);
/// The longest pause between two questions, also when the issuer cannot be
/// reached for a while.
pub const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Logs the user in and returns the tokens.
///
/// # Errors
/// The issuer has no such login, refuses it, or nobody typed the code in time,
/// or whoever wanted the login is gone.
pub fn log_in(
    issuer: &LoginConfig<'_>,
    person: &mut dyn LoginPrompt,
) -> Result<LoginTokens, LoginError> {
    let described = issuer.discover()?;
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
        "URL to enter the code at",
        device.verification_uri().as_str(),
    )?;
    let code = excerpt(device.user_code().secret().as_bytes());
    let complete = device
        .verification_uri_complete()
        .and_then(|address| web_address("URL with the code", address.secret()).ok());
    match complete {
        Some(complete) => {
            person.tell("gitseal: to log in, open this URL on any device:");
            person.tell(complete.as_str());
            person.tell(&format!("and check that it displays this code: {code}"));
        }
        None => {
            person.tell("gitseal: to log in, open this URL on any device:");
            person.tell(address.as_str());
            person.tell(&format!("and enter this code: {code}"));
        }
    }
    let most = if person.can_be_told() {
        MAX_WAIT
    } else {
        MAX_UNSEEN
    };
    let time = device.expires_in().min(most);
    let person = RefCell::new(person);
    let gone = Cell::new(false);
    // The library asks until it is told no, so once nobody waits we say that.
    let look = |request: HttpRequest| -> Result<HttpResponse, HttpError> {
        if !gone.get() {
            return exchange(request);
        }
        let mut no = HttpResponse::new(br#"{"error":"access_denied"}"#.to_vec());
        *no.status_mut() = openidconnect::http::StatusCode::BAD_REQUEST;
        Ok(no)
    };
    let answer: CoreTokenResponse = client
        .exchange_device_access_token(&device)
        .set_max_backoff_interval(MAX_PAUSE)
        .request(
            &look,
            |pause| gone.set(!person.borrow_mut().pause(pause.min(MAX_PAUSE))),
            Some(time),
        )
        .map_err(|error| match &error {
            _ if gone.get() => LoginError::Abandoned,
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
    described.validate_tokens(&answer, |_: Option<&Nonce>| Ok(()))
}
