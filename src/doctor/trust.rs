//! The trust root: readable, valid now, and the one of the services in use.

use super::Findings;
use crate::host::{
    settings::{Origin, Setting, Settings},
    trusted_root_files,
};
use gitseal_evidence::{
    UnixTime,
    trusted_root::{TrustedRoot, ValidityPeriod, host_of},
    verify::rfc3339,
};

/// A trust root whose last key ends within this many seconds is told of.
const SOON: UnixTime = 30 * 24 * 3600;

pub(super) fn root(settings: &Settings, now: UnixTime, findings: &mut Findings) {
    let trust = match trusted_root_files::load(None, settings) {
        Ok(trust) => trust,
        Err(error) => {
            findings
                .problem("trust-root", format!("the trust root cannot be used: {error}"))
                .fix(match named(settings) {
                    Some((key, Origin::Config { scope, .. })) => format!(
                        "git config --{} {key} FILE with the right file, or --unset {key} for the built-in trust root",
                        scope.name()
                    ),
                    Some((_, Origin::Environment { name })) => format!("unset {name}, or name the right file"),
                    _ => "gitseal version shows where it comes from".to_owned(),
                });
            return;
        }
    };
    let root = &trust.root;
    windows(root, &trust.source, now, findings);
    for left_out in &root.left_out {
        findings.note("trust-root", format!("the trust root: {left_out}"));
    }
    serves(
        settings.fulcio.value.as_str(),
        "certificate authority",
        root.authorities
            .iter()
            .map(|authority| authority.uri.as_str()),
        findings,
    );
    serves(
        settings.rekor.value.as_str(),
        "log",
        root.logs.iter().map(|log| log.base_url.as_str()),
        findings,
    );
}

fn named(settings: &Settings) -> Option<(&'static str, &Origin)> {
    let one = |key, setting: &'_ Setting<Option<std::path::PathBuf>>| {
        setting.value.is_some().then_some(key)
    };
    let files = [
        ("gitseal.trustedRoot", &settings.trusted_root),
        ("gitseal.fulcioRoot", &settings.fulcio_root),
        ("gitseal.rekorPublicKey", &settings.rekor_public_key),
        ("gitseal.ctLogPublicKey", &settings.ct_log_public_key),
        ("gitseal.timestampCertChain", &settings.timestamp_cert_chain),
    ];
    files
        .into_iter()
        .find_map(|(key, setting)| one(key, setting).map(|key| (key, &setting.origin)))
}

fn windows(root: &TrustedRoot, source: &str, now: UnixTime, findings: &mut Findings) {
    let parts: [(&str, Vec<ValidityPeriod>); 3] = [
        (
            "certificate authority",
            root.authorities
                .iter()
                .filter(|authority| {
                    authority
                        .chain
                        .iter()
                        .all(|certificate| certificate.is_valid_at(now))
                })
                .map(|authority| authority.window)
                .collect(),
        ),
        ("log", root.logs.iter().map(|log| log.window).collect()),
        (
            "CT log",
            root.ct_logs.iter().map(|log| log.window).collect(),
        ),
    ];
    let mut good = true;
    for (what, windows) in parts {
        let valid: Vec<&ValidityPeriod> = windows
            .iter()
            .filter(|window| window.contains(now))
            .collect();
        if valid.is_empty() {
            good = false;
            findings
                .problem(
                    "trust-root-expired",
                    format!("the trust root ({source}) has no {what} that is valid now: nothing new can be signed"),
                )
                .fix("get the present trusted_root.json of your instance and set gitseal.trustedRoot; for the public one, a newer gitseal");
            continue;
        }
        let last = valid
            .iter()
            .map(|window| window.end)
            .max_by_key(|end| end.unwrap_or(UnixTime::MAX));
        if let Some(Some(end)) = last
            && valid.iter().all(|window| window.end.is_some())
            && end.saturating_sub(now) < SOON
        {
            good = false;
            findings
                .warning(
                    "trust-root-ends",
                    format!("the last {what} of the trust root ({source}) ends at {}", rfc3339(end)),
                )
                .fix("get the present trusted_root.json of your instance and set gitseal.trustedRoot");
        }
    }
    if good {
        let newest = root
            .logs
            .iter()
            .map(|log| log.window.start)
            .chain(
                root.authorities
                    .iter()
                    .map(|authority| authority.window.start),
            )
            .filter(|start| *start > 0)
            .max();
        findings.ok(
            "trust-root",
            format!(
                "the trust root is {source}{}",
                newest
                    .map(|at| format!(", its newest key of {}", rfc3339(at)))
                    .unwrap_or_default()
            ),
        );
    }
}

/// Whether the service that is asked is one that is believed.
fn serves<'a>(
    url: &str,
    what: &str,
    known: impl Iterator<Item = &'a str>,
    findings: &mut Findings,
) {
    let Some(host) = host_of(url) else { return };
    let mut hosts: Vec<&str> = known.filter_map(host_of).collect();
    hosts.dedup();
    if hosts.is_empty() || hosts.contains(&host) {
        return;
    }
    findings
        .warning(
            "trust-root-other",
            format!("the {what} that signing asks is {host}, and the trust root knows {}: what it gives may not verify", hosts.join(", ")),
        )
        .fix("git config --global gitseal.trustedRoot FILE with the trust root of the same instance");
}
