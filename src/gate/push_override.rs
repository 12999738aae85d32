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
        let mut refusing = report.items.iter().filter(|item| item.finding.refuses());
        if let Some(item) = refusing.find(|item| NEVER.contains(&item.finding.code)) {
            return Err(format!("nothing overrides {}", item.finding.code));
        }
        policy.may_override(pusher)
    }
}
