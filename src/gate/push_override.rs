//! Break-glass: a signed push with the option `gitseal.override=REASON`, by a signer
//! whom `[override] by` names, turns refusals into warnings. All of them are still
//! reported, and the log of results has the reason.
//!
//! Never for a change of the policy, nor for what decides which policy is in force:
//! the default branch cannot be deleted or made, and must descend from the policy
//! root.
//!
//! *Not checked here:* the push certificate (`certificate.rs`), and that Git's push
//! options are those of the certificate (receive-pack refuses others).

use std::env;

use super::report::{ItemSubject, PushReport, ReportItem};
use gitseal_policy::{EnforcementMode, Finding, Policy, Pusher, codes};

/// The push option that requests an override.
const OPTION: &str = "gitseal.override=";
/// Maximum length of the reason, in characters.
const MAX_REASON: usize = 500;
/// Maximum number of push options that are read.
const MAX_OPTIONS: usize = 1_000;
/// Findings that no override reaches.
const NEVER: [&str; 5] = [
    codes::POLICY_MISSING,
    codes::POLICY_UNREADABLE,
    codes::POLICY_REWOUND,
    codes::NOT_DESCENDED,
    codes::NO_POLICY_REF,
];

/// A request to override refusals.
#[derive(Debug, Clone)]
pub struct OverrideRequest {
    reason: String,
    /// Whether the result is logged.
    is_logged: bool,
}

impl OverrideRequest {
    /// Reads the push options (githooks(5), pre-receive); `None`: none is such a request.
    #[must_use]
    pub fn read(is_logged: bool) -> Option<Self> {
        let count = env::var("GIT_PUSH_OPTION_COUNT").ok()?.parse().ok()?;
        let options = (0..MAX_OPTIONS.min(count))
            .filter_map(|number| env::var(format!("GIT_PUSH_OPTION_{number}")).ok());
        let reason = options
            .filter_map(|option| Some(option.strip_prefix(OPTION)?.trim().to_owned()))
            .next_back()?;
        Some(Self { reason, is_logged })
    }

    /// Turns the refusals of a report into warnings, if the pusher may override them.
    /// `touches_policy`: the push changes the policy in force, or where it is.
    pub fn apply(
        &self,
        policy: &Policy,
        pusher: &Pusher<'_>,
        touches_policy: bool,
        report: &mut PushReport,
    ) {
        if !report.refuses() {
            return;
        }
        let (message, is_granted) = match self.granted(policy, pusher, touches_policy, report) {
            Ok(signer) => (format!("overridden by {signer}: {}", self.reason), true),
            Err(reason) => (format!("the override is denied: {reason}"), false),
        };
        if is_granted {
            report.override_all(&self.reason);
        }
        let names: Vec<String> = report
            .results
            .iter()
            .filter(|result| result.is_refused)
            .map(|result| result.name.clone())
            .collect();
        for reference in names {
            report.add(ReportItem {
                reference,
                about: ItemSubject::Reference,
                signer: None,
                step: None,
                may_merge: Vec::new(),
                finding: Finding::new(EnforcementMode::Warn, codes::OVERRIDE, message.clone()),
            });
        }
        if is_granted {
            report.accept_all();
        }
    }

    /// Returns the signer who overrides.
    fn granted(
        &self,
        policy: &Policy,
        pusher: &Pusher<'_>,
        touches_policy: bool,
        report: &PushReport,
    ) -> Result<String, String> {
        if self.reason.is_empty() || self.reason.chars().count() > MAX_REASON {
            return Err(format!(
                "it needs a reason of at most {MAX_REASON} characters: -o '{OPTION}INC-1: why'"
            ));
        }
        if !self.is_logged {
            return Err("gitseal.verdictLog is not set on the server".to_owned());
        }
        if touches_policy {
            return Err("the push changes the policy or the default branch's place".to_owned());
        }
        if report.total() > report.items.len() {
            return Err("there are too many findings to report all of them".to_owned());
        }
        let mut refusing = report.items.iter().filter(|item| item.finding.refuses());
        if let Some(item) = refusing.find(|item| NEVER.contains(&item.finding.code)) {
            return Err(format!("nothing overrides {}", item.finding.code));
        }
        policy.may_override(pusher)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::gate::report::RefResult;
    use gitseal_evidence::certificate::{FulcioExtensions, Identity, San};
    use gitseal_policy::SignatureResult;

    const POLICY: &str = "version = 2\n[signers]\nduty = { issuer = \"https://i.example\", identity = \"duty@example.com\", accounts = [\"duty\"] }\n[override]\nby = [\"duty\"]\n[[rules]]\nname = \"r\"\ncommit = [\"duty\"]\n";

    fn report(code: &'static str) -> PushReport {
        let mut report = PushReport {
            results: vec![RefResult {
                name: "refs/heads/main".to_owned(),
                old: None,
                new: None,
                base: None,
                is_refused: true,
                gained: 0,
                adopted: Vec::new(),
            }],
            ..PushReport::default()
        };
        report.add(ReportItem {
            reference: "refs/heads/main".to_owned(),
            about: ItemSubject::Reference,
            signer: None,
            step: None,
            may_merge: Vec::new(),
            finding: Finding::new(EnforcementMode::Enforce, code, "refused"),
        });
        report
    }

    /// Returns whether a push with this finding is let in, and the last message.
    fn apply(code: &'static str, request: &OverrideRequest, touches: bool) -> (bool, String) {
        let policy = Policy::parse(POLICY, "p").unwrap_or_else(|errors| panic!("{errors}"));
        let certificate = SignatureResult::Good {
            identity: Identity {
                san: San::Email("duty@example.com".to_owned()),
                issuer: "https://i.example".to_owned(),
            },
            claims: FulcioExtensions::default(),
            signed_at: 1_790_000_000,
        };
        let pusher = Pusher {
            certificate: Some(&certificate),
            ..Pusher::default()
        };
        let mut report = report(code);
        request.apply(&policy, &pusher, touches, &mut report);
        assert_eq!(report.refuses(), report.results[0].is_refused);
        assert_eq!(report.refuses(), report.overridden.is_none());
        let last = report.items.last().unwrap();
        (!report.refuses(), last.finding.message.clone())
    }

    fn request(reason: &str, is_logged: bool) -> OverrideRequest {
        OverrideRequest {
            reason: reason.to_owned(),
            is_logged,
        }
    }

    #[test]
    fn an_override_never_reaches_the_policy() {
        let why = request("INC-1", true);
        let (is_in, message) = apply(codes::UNSIGNED, &why, false);
        assert!(is_in, "{message}");
        assert_eq!(message, "overridden by duty: INC-1");
        let (is_in, message) = apply(codes::UNSIGNED, &why, true);
        assert!(
            !is_in && message.contains("changes the policy"),
            "{message}"
        );
        for code in NEVER {
            let (is_in, message) = apply(code, &why, false);
            assert!(!is_in && message.contains(code), "{message}");
        }
    }

    #[test]
    fn an_override_has_a_reason_that_is_logged() {
        let long = "x".repeat(MAX_REASON + 1);
        for (reason, is_logged) in [("", true), (long.as_str(), true), ("INC-1", false)] {
            let (is_in, message) = apply(codes::UNSIGNED, &request(reason, is_logged), false);
            assert!(
                !is_in && message.starts_with("the override is denied"),
                "{message}"
            );
        }
        // Nor if a finding is not shown.
        let policy = Policy::parse(POLICY, "p").unwrap();
        let mut many = report(codes::UNSIGNED);
        many.count_more(1, true);
        request("INC-1", true).apply(&policy, &Pusher::default(), false, &mut many);
        assert!(
            many.items
                .last()
                .unwrap()
                .finding
                .message
                .contains("too many findings")
        );
        // What is accepted anyway is not overridden.
        let mut clean = PushReport::default();
        request("INC-1", true).apply(&policy, &Pusher::default(), false, &mut clean);
        assert!(clean.items.is_empty() && clean.overridden.is_none());
    }

    /// An account of the signer is not their signature.
    #[test]
    fn an_override_needs_a_signed_push() {
        let policy = Policy::parse(POLICY, "p").unwrap();
        let pusher = Pusher {
            account: Some("duty"),
            ..Pusher::default()
        };
        let mut report = report(codes::UNSIGNED);
        request("INC-1", true).apply(&policy, &pusher, false, &mut report);
        assert!(report.refuses());
    }
}
