//! Checks of the services, all in parallel and for at most a few seconds; and of
//! the clock, compared with theirs.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use url::Url;

use super::{DoctorContext, Finding};
use crate::{
    context::{http_client_within, system_time},
    host::settings::{Origin, RekorVersion, Setting, Settings},
};
use gitseal_services::http::client::{
    HttpError, HttpReason, HttpRequest, HttpResponse, Retry, Timeouts,
};

/// The time limits for one service.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    one_try: Duration::from_secs(5),
    all_tries: Duration::from_secs(5),
};
/// The time limit for all services together, the name server included.
const ALL: Duration = Duration::from_secs(6);
/// The largest difference between two clocks, in seconds.
const MAX_CLOCK_DIFFERENCE: u64 = 60;

/// A service and a URL that shows whether it works.
struct Service {
    what: &'static str,
    key: &'static str,
    url: Url,
    origin: Origin,
    expects: Expects,
}

/// The response that a service should send.
#[derive(Clone, Copy)]
enum Expects {
    /// Status 200.
    Success,
    /// Any response: the URL accepts POST requests only.
    Anything,
    /// A discovery document that names this issuer.
    Discovery,
}

/// The response of a service, and the local time when it came.
type Received = (Result<HttpResponse, HttpError>, i64);

/// Checks the services that signing uses, and the clock.
pub(super) fn services(context: &DoctorContext) -> Vec<Finding> {
    let Some(settings) = context.settings() else {
        return Vec::new();
    };
    if context.offline {
        return vec![Finding::note("network", "services not checked (--offline)")];
    }
    let services = services_of(settings);
    let mut findings = Vec::new();
    let mut clocks = Vec::new();
    for (service, received) in services.iter().zip(query_all(&services)) {
        let Some((response, at)) = received else {
            findings.push(unreachable(service, "no response in time"));
            continue;
        };
        if let Ok(response) = &response
            && let Some(theirs) = response.header("date").and_then(date)
        {
            clocks.push((service, at.saturating_sub(theirs)));
        }
        findings.push(check(service, response));
    }
    findings.extend(clock(&clocks));
    findings
}

fn query_all(services: &[Service]) -> Vec<Option<Received>> {
    let (sender, receiver) = mpsc::channel();
    for (place, service) in services.iter().enumerate() {
        let (url, sender) = (service.url.clone(), sender.clone());
        thread::spawn(move || {
            let mut request = HttpRequest::get("reach", &url, 1 << 20);
            request.accept = "*/*";
            request.retry = Retry::NO_RETRY;
            let response = http_client_within(TIMEOUTS).send(&request);
            // After the time limit the receiver no longer exists.
            let _ = sender.send((place, (response, system_time())));
        });
    }
    drop(sender);
    let begun = Instant::now();
    let mut received: Vec<Option<Received>> = services.iter().map(|_| None).collect();
    while let Ok((place, one)) = receiver.recv_timeout(ALL.saturating_sub(begun.elapsed())) {
        if let Some(place) = received.get_mut(place) {
            *place = Some(one);
        }
    }
    received
}

fn services_of(settings: &Settings) -> Vec<Service> {
    let log = match settings.rekor_version.value {
        RekorVersion::V1 => "/api/v1/log",
        RekorVersion::V2 => "/api/v2/checkpoint",
    };
    let timestamp = &settings.timestamp_server;
    let timestamp = timestamp.value.clone().map(|value| Setting {
        value,
        origin: timestamp.origin.clone(),
    });
    let all = [
        (
            "the certificate authority",
            "fulcio",
            Some(&settings.fulcio),
            "/api/v2/configuration",
            Expects::Success,
        ),
        (
            "the log",
            "rekor",
            Some(&settings.rekor),
            log,
            Expects::Success,
        ),
        (
            "the identity provider",
            "issuer",
            Some(&settings.issuer),
            "/.well-known/openid-configuration",
            Expects::Discovery,
        ),
        (
            "the timestamp authority",
            "timestampServerURL",
            timestamp.as_ref(),
            "",
            Expects::Anything,
        ),
    ];
    all.into_iter()
        .filter_map(|(what, key, setting, path, expects)| {
            let setting = setting?;
            Some(Service {
                what,
                key,
                url: Url::parse(&format!("{}{path}", setting.value.base())).ok()?,
                origin: setting.origin.clone(),
                expects,
            })
        })
        .collect()
}

fn check(service: &Service, response: Result<HttpResponse, HttpError>) -> Finding {
    let host = service.url.host_str().unwrap_or_default();
    let what = service.what;
    let ok = || Finding::ok("network", format!("{what} responds ({host})"));
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            return match (&error.reason, service.expects) {
                (HttpReason::Status { status, .. }, Expects::Anything) if *status < 500 => ok(),
                (HttpReason::Tls { reason }, _) => Finding::problem(
                    "network",
                    format!("{what} ({host}): untrusted TLS certificate: {reason}"),
                )
                .fix("if a proxy intercepts TLS here, add its CA to the system trust store"),
                (reason, _) => unreachable(service, &reason.to_string()),
            };
        }
    };
    let is_expected = match service.expects {
        Expects::Anything => true,
        Expects::Success => response.status == 200,
        Expects::Discovery => response.status == 200 && names_itself(service, &response),
    };
    if is_expected {
        return ok();
    }
    let message = format!("{what} is not at {}: HTTP {}", service.url, response.status);
    Finding::problem("network-other", message).fix(correct(service))
}

/// Returns whether the document names the issuer that was queried, exactly
/// (OpenID Connect Discovery 1.0 §4.3).
fn names_itself(service: &Service, response: &HttpResponse) -> bool {
    let queried = service
        .url
        .as_str()
        .trim_end_matches("/.well-known/openid-configuration");
    serde_json::from_slice::<serde_json::Value>(&response.body)
        .ok()
        .and_then(|value| value.get("issuer")?.as_str().map(str::to_owned))
        .is_some_and(|issuer| issuer.trim_end_matches('/') == queried)
}

fn unreachable(service: &Service, reason: &str) -> Finding {
    let message = format!("cannot reach {}: {}: {reason}", service.what, service.url);
    Finding::problem("network", message).fix(correct(service))
}

fn correct(service: &Service) -> String {
    match &service.origin {
        Origin::Default => "check the network, its proxy (HTTPS_PROXY) and firewall".to_owned(),
        Origin::Config { key, scope, .. } => format!(
            "if the URL is wrong: git config --{} {key} URL; else check the network, its proxy (HTTPS_PROXY) and firewall",
            scope.name()
        ),
        Origin::Environment { name } => {
            format!("if the URL is wrong: set {name}; else check the network and its proxy")
        }
        Origin::Flag { .. } => format!("check gitseal.{}", service.key),
    }
}

/// Compares the clock with those of the services: it is wrong if all differ.
fn clock(clocks: &[(&Service, i64)]) -> Vec<Finding> {
    let Some(least) = clocks
        .iter()
        .map(|(_, difference)| *difference)
        .min_by_key(|difference| difference.unsigned_abs())
    else {
        return Vec::new();
    };
    let seconds = least.unsigned_abs();
    if seconds > MAX_CLOCK_DIFFERENCE {
        let direction = if least > 0 { "ahead" } else { "behind" };
        let message = format!(
            "the system clock is {seconds} s {direction}; tokens and certificates will appear expired or not yet valid"
        );
        return vec![Finding::problem("clock", message).fix(if cfg!(windows) {
            "w32tm /resync"
        } else if cfg!(target_os = "macos") {
            "sudo sntp -sS time.apple.com"
        } else {
            "sudo timedatectl set-ntp true"
        })];
    }
    let mut findings = vec![Finding::ok(
        "clock",
        format!("the system clock differs by {seconds} s"),
    )];
    findings.extend(clocks.iter().filter_map(|(service, difference)| {
        let seconds = difference.unsigned_abs();
        (seconds > MAX_CLOCK_DIFFERENCE).then(|| {
            let message = format!("the clock of {} differs by {seconds} s", service.what);
            Finding::warning("clock-theirs", message)
        })
    }));
    findings
}

/// Parses an HTTP date (RFC 9110 §5.6.7).
fn date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
        .map(|at| at.as_second())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("yesterday"), None);
    }
}
