//! Each service, asked at once and for no longer than a few seconds; and the
//! clock, by what the services say the time is.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use url::Url;

use super::Findings;
use crate::{
    context::http_client_within,
    host::settings::{Origin, RekorVersion, Settings},
};
use gitseal_services::http::client::{
    HttpError, HttpReason, HttpRequest, HttpResponse, Retry, Timeouts,
};

/// How long one service may take.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    one_try: Duration::from_secs(5),
    all_tries: Duration::from_secs(5),
};
/// How long all of them may take together, the name server included.
const ALL: Duration = Duration::from_secs(6);
/// How far the clock may be off, in seconds.
const MOST_OFF: i64 = 60;

/// What is asked.
struct Service {
    what: &'static str,
    key: &'static str,
    url: Url,
    origin: Origin,
    /// What a right answer holds.
    expects: Expects,
}

#[derive(Clone, Copy)]
enum Expects {
    /// Status 200.
    Success,
    /// Any answer: the address takes only what is posted to it.
    Anything,
    /// A discovery document that names this issuer.
    Discovery,
}

struct Told {
    at: usize,
    answer: Result<HttpResponse, HttpError>,
    /// The local time when it came.
    when: i64,
}

pub(super) fn services(settings: &Settings, findings: &mut Findings) {
    let services = wanted(settings);
    let (give, take) = mpsc::channel();
    for (at, service) in services.iter().enumerate() {
        let (url, give) = (service.url.clone(), give.clone());
        thread::spawn(move || {
            let mut request = HttpRequest::get("reach", &url, 1 << 20);
            request.accept = "*/*";
            request.retry = Retry::NO_RETRY;
            let answer = http_client_within(TIMEOUTS).send(&request);
            // Nobody may be waiting any more.
            let _ = give.send(Told {
                at,
                answer,
                when: now(),
            });
        });
    }
    drop(give);
    let begun = Instant::now();
    let mut told: Vec<Option<Told>> = services.iter().map(|_| None).collect();
    while let Ok(one) = take.recv_timeout(ALL.saturating_sub(begun.elapsed())) {
        let at = one.at;
        if let Some(place) = told.get_mut(at) {
            *place = Some(one);
        }
    }
    let mut clocks = Vec::new();
    for (service, told) in services.iter().zip(&told) {
        match told {
            None => unreachable(service, "no answer in time", findings),
            Some(told) => {
                judge(service, &told.answer, findings);
                if let Ok(answer) = &told.answer
                    && let Some(theirs) = answer.header("date").and_then(date)
                {
                    clocks.push((service, told.when.saturating_sub(theirs)));
                }
            }
        }
    }
    clock(&clocks, findings);
}

fn wanted(settings: &Settings) -> Vec<Service> {
    let mut services = Vec::new();
    let mut add = |what, key, base: &str, path: &str, origin: &Origin, expects| {
        if let Ok(url) = Url::parse(&format!("{}{path}", base.trim_end_matches('/'))) {
            services.push(Service {
                what,
                key,
                url,
                origin: origin.clone(),
                expects,
            });
        }
    };
    add(
        "the certificate authority",
        "fulcio",
        settings.fulcio.value.base(),
        "/api/v2/configuration",
        &settings.fulcio.origin,
        Expects::Success,
    );
    let path = match settings.rekor_version.value {
        RekorVersion::V1 => "/api/v1/log",
        RekorVersion::V2 => "/api/v2/checkpoint",
    };
    add(
        "the log",
        "rekor",
        settings.rekor.value.base(),
        path,
        &settings.rekor.origin,
        Expects::Success,
    );
    add(
        "the identity provider",
        "issuer",
        settings.issuer.value.base(),
        "/.well-known/openid-configuration",
        &settings.issuer.origin,
        Expects::Discovery,
    );
    if let Some(server) = &settings.timestamp_server.value {
        add(
            "the timestamp authority",
            "timestampServerURL",
            server.as_str(),
            "",
            &settings.timestamp_server.origin,
            Expects::Anything,
        );
    }
    services
}

fn judge(service: &Service, answer: &Result<HttpResponse, HttpError>, findings: &mut Findings) {
    let host = service.url.host_str().unwrap_or_default();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            return match (&error.reason, service.expects) {
                (HttpReason::Status { status, .. }, Expects::Anything) if *status < 500 => {
                    findings.ok("network", format!("{} answers ({host})", service.what));
                }
                (HttpReason::Tls { reason }, _) => {
                    findings
                        .problem(
                            "network",
                            format!("{} ({host}) has a certificate that is not believed: {reason}", service.what),
                        )
                        .fix("if a proxy opens TLS here, add its certificate to the system's store; else do not go on");
                }
                (reason, _) => unreachable(service, &reason.to_string(), findings),
            };
        }
    };
    let fits = match service.expects {
        Expects::Anything => true,
        Expects::Success => answer.status == 200,
        Expects::Discovery => answer.status == 200 && names_itself(service, answer),
    };
    if fits {
        findings.ok("network", format!("{} answers ({host})", service.what));
    } else {
        findings
            .problem(
                "network-other",
                format!(
                    "{} is not at {}: HTTP {}",
                    service.what, service.url, answer.status
                ),
            )
            .fix(correct(service));
    }
}

/// OpenID Connect Discovery 1.0 §4.3: the document names the issuer that was
/// asked, exactly.
fn names_itself(service: &Service, answer: &HttpResponse) -> bool {
    let asked = service
        .url
        .as_str()
        .trim_end_matches("/.well-known/openid-configuration");
    serde_json::from_slice::<serde_json::Value>(&answer.body)
        .ok()
        .and_then(|value| value.get("issuer")?.as_str().map(str::to_owned))
        .is_some_and(|issuer| issuer.trim_end_matches('/') == asked)
}

fn unreachable(service: &Service, why: &str, findings: &mut Findings) {
    findings
        .problem(
            "network",
            format!("{} cannot be reached: {}: {why}", service.what, service.url),
        )
        .fix(correct(service));
}

fn correct(service: &Service) -> String {
    match &service.origin {
        Origin::Default => "check the network, its proxy (HTTPS_PROXY) and firewall".to_owned(),
        Origin::Config { key, scope, .. } => format!(
            "if the address is wrong: git config --{} {key} URL; else check the network, its proxy (HTTPS_PROXY) and firewall",
            scope.name()
        ),
        Origin::Environment { name } => {
            format!("if the address is wrong: set {name}; else check the network and its proxy")
        }
        Origin::Flag { .. } => format!("check gitseal.{}", service.key),
    }
}

/// The clock is wrong if every service says so.
fn clock(clocks: &[(&Service, i64)], findings: &mut Findings) {
    let Some(least) = clocks
        .iter()
        .map(|(_, off)| *off)
        .min_by_key(|off| off.unsigned_abs())
    else {
        return;
    };
    if least.unsigned_abs() > MOST_OFF.unsigned_abs() {
        findings
            .problem(
                "clock",
                format!(
                    "the clock of this machine is {} s {}: tokens and certificates will seem expired or not yet valid",
                    least.unsigned_abs(),
                    if least > 0 { "ahead" } else { "behind" }
                ),
            )
            .fix(if cfg!(windows) {
                "w32tm /resync"
            } else if cfg!(target_os = "macos") {
                "sudo sntp -sS time.apple.com"
            } else {
                "sudo timedatectl set-ntp true"
            });
        return;
    }
    findings.ok(
        "clock",
        format!("the clock is {} s off", least.unsigned_abs()),
    );
    for (service, off) in clocks {
        if off.unsigned_abs() > MOST_OFF.unsigned_abs() {
            findings.warning(
                "clock-theirs",
                format!(
                    "the clock of {} is {} s off",
                    service.what,
                    off.unsigned_abs()
                ),
            );
        }
    }
}

/// An HTTP date (RFC 9110 §5.6.7).
fn date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
        .map(|at| at.as_second())
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
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
