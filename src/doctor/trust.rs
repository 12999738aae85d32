//! Checks of the trusted root: readable, valid now, and of the services in use.

use super::{DoctorContext, Finding};
use crate::host::{
    settings::{Origin, Settings},
    trusted_root_files,
};
use gitseal_evidence::{
    UnixTime, rfc3339,
    trusted_root::{TrustedRoot, ValidityPeriod, host_of},
};

/// The remaining validity below which a trusted root expires soon, in seconds.
const SOON: UnixTime = 30 * 24 * 3600;

/// The fix for a trusted root that is no longer, or not much longer, valid.
const RENEW: &str =
    "get the current trusted_root.json of your instance and set gitseal.trustedRoot";

/// Checks the trusted root, unless the settings are invalid.
pub(super) fn root(context: &DoctorContext) -> Vec<Finding> {
    let Some(settings) = context.settings() else {
        return Vec::new();
    };
    let trust = match trusted_root_files::load(None, settings) {
        Ok(trust) => trust,
        Err(error) => {
            let message = format!("cannot use the trusted root: {error}");
            return vec![Finding::problem("trust-root", message).fix(other_file(settings))];
        }
    };
    let root = &trust.root;
    let mut findings = validity(root, &trust.source, context.now);
    findings.extend(
        root.left_out
            .iter()
            .map(|left_out| Finding::note("trust-root", format!("trusted root: {left_out}"))),
    );
    if let Err(error) = root.check_chains() {
        let message = format!("trusted root: {error}");
        findings.push(Finding::problem("trust-root", message).fix(other_file(settings)));
    }
    let authorities = root.authorities.iter().map(|one| one.uri.as_str());
    let logs = root.logs.iter().map(|log| log.base_url.as_str());
    let fulcio = settings.fulcio.value.as_str();
    let rekor = settings.rekor.value.as_str();
    findings.extend(service(fulcio, "certificate authority", authorities));
    findings.extend(service(rekor, "log", logs));
    findings
}

/// Returns the fix for a file that is not usable.
fn other_file(settings: &Settings) -> String {
    let files = [
        ("gitseal.trustedRoot", &settings.trusted_root),
        ("gitseal.fulcioRoot", &settings.fulcio_root),
        ("gitseal.rekorPublicKey", &settings.rekor_public_key),
        ("gitseal.ctLogPublicKey", &settings.ct_log_public_key),
        ("gitseal.timestampCertChain", &settings.timestamp_cert_chain),
    ];
    let named = files
        .into_iter()
        .find(|(_, setting)| setting.value.is_some());
    match named.map(|(key, setting)| (key, &setting.origin)) {
        Some((key, Origin::Config { scope, .. })) => format!(
            "git config --{} {key} FILE with the right file, or --unset {key} for the built-in trusted root",
            scope.name()
        ),
        Some((_, Origin::Environment { name })) => format!("unset {name}, or name the right file"),
        _ => "gitseal version shows where it comes from".to_owned(),
    }
}

fn validity(root: &TrustedRoot, source: &str, now: UnixTime) -> Vec<Finding> {
    let authorities = root
        .authorities
        .iter()
        .filter(|one| {
            one.chain
                .iter()
                .all(|certificate| certificate.is_valid_at(now))
        })
        .map(|one| one.window);
    let parts: [(&str, Vec<ValidityPeriod>); 3] = [
        ("certificate authority", authorities.collect()),
        ("log", root.logs.iter().map(|log| log.window).collect()),
        (
            "CT log",
            root.ct_logs.iter().map(|log| log.window).collect(),
        ),
    ];
    let mut findings = Vec::new();
    for (what, mut periods) in parts {
        periods.retain(|period| period.contains(now));
        let end = periods
            .iter()
            .map(|period| period.end.unwrap_or(UnixTime::MAX))
            .max();
        match end {
            None => findings.push(
                Finding::problem(
                    "trust-root-expired",
                    format!("the trusted root ({source}) has no currently valid {what}"),
                )
                .fix(format!(
                    "{RENEW}; for the public one, install a newer gitseal"
                )),
            ),
            Some(end) if end.saturating_sub(now) < SOON => {
                let end = rfc3339(end);
                findings.push(
                    Finding::warning(
                        "trust-root-ends",
                        format!("the last {what} in the trusted root ({source}) expires at {end}"),
                    )
                    .fix(RENEW),
                );
            }
            Some(_) => {}
        }
    }
    if findings.is_empty() {
        let authorities = root.authorities.iter().map(|one| one.window.start);
        let newest = root
            .logs
            .iter()
            .map(|log| log.window.start)
            .chain(authorities)
            .filter(|start| *start > 0)
            .max()
            .map(|at| format!("; its newest key is valid from {}", rfc3339(at)))
            .unwrap_or_default();
        findings.push(Finding::ok(
            "trust-root",
            format!("the trusted root is {source}{newest}"),
        ));
    }
    findings
}

/// Checks that a service in use is in the trusted root.
fn service<'a>(url: &str, what: &str, known: impl Iterator<Item = &'a str>) -> Option<Finding> {
    let host = host_of(url)?;
    let mut hosts: Vec<&str> = known.filter_map(host_of).collect();
    hosts.dedup();
    if hosts.is_empty() || hosts.contains(&host) {
        return None;
    }
    let finding = Finding::warning(
        "trust-root-other",
        format!(
            "{what} {host} is not in the trusted root ({}); new signatures will not verify",
            hosts.join(", ")
        ),
    );
    Some(finding.fix(
        "git config --global gitseal.trustedRoot FILE with the trusted root of the same instance",
    ))
}
