//! The override: a signer whom the policy names lets a refused push in, with the push
//! option `gitseal.override=REASON` of a signed push.
//!
//! The push certificate binds it to a person, to these refs and values, and to the
//! reason. It never reaches a change of `.gitseal`, the default branch's deletion, or
//! a push without a verdict; and a run that is not in the verdict log rejects it.
//!
//! *Not decided here:* whether the certificate verifies (`certificate.rs`), and who
//! may override (`policy/`).

use std::ffi::OsString;

use gix::{ObjectId, bstr::BString};
use serde_json::{Value, json};

use super::report::PushReport;
use gitseal_policy::codes;

/// The name of the push option.
const OPTION: &str = "gitseal.override";
/// The start of the names of all push options of gitseal.
const OURS: &str = "gitseal.";
/// Maximum number of push options, as in a push certificate.
const MAX_OPTIONS: usize = 1_000;
/// Maximum length of the reason, in characters.
const MAX_REASON: usize = 500;
/// Maximum number of commits of a first-parent history that are compared for changes
/// of `.gitseal`.
pub const MAX_LINE: usize = 10_000;

/// Findings that no override reaches: they are about which policy is in force.
const NEVER: [&str; 5] = [
    codes::POLICY_MISSING,
    codes::POLICY_UNREADABLE,
    codes::POLICY_REWOUND,
    codes::NOT_DESCENDED,
    codes::NO_POLICY_REF,
];

/// A request to override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideRequest {
    /// The reason, as the pusher wrote it.
    Reason(String),
    /// The request cannot be used, for this reason.
    Malformed(String),
}

impl OverrideRequest {
    /// Reads the push options in the environment; `None` if none is of gitseal
    /// (githooks(5), pre-receive).
    #[must_use]
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let count = variable("GIT_PUSH_OPTION_COUNT")?;
        let count = count.to_str().and_then(|count| count.parse().ok());
        let Some(count) = count.filter(|count| *count <= MAX_OPTIONS) else {
            let message = format!("GIT_PUSH_OPTION_COUNT is not a number up to {MAX_OPTIONS}");
            return Some(Self::Malformed(message));
        };
        let mut found = None;
        for number in 0..count {
            let name = format!("GIT_PUSH_OPTION_{number}");
            let Some(option) = variable(&name) else {
                return Some(Self::Malformed(format!("{name} is missing")));
            };
            if !option.to_string_lossy().starts_with(OURS) {
                continue;
            }
            if found.is_some() {
                let message = format!("more than one push option starts with {OURS}");
                return Some(Self::Malformed(message));
            }
            found = Some(match option.to_str() {
                Some(option) => Self::parse(option),
                None => Self::Malformed("the push option is not UTF-8".to_owned()),
            });
        }
        found
    }

    fn parse(option: &str) -> Self {
        let (name, reason) = option.split_once('=').unwrap_or((option, ""));
        if name != OPTION {
            let name: String = name.chars().take(100).collect();
            return Self::Malformed(format!("{name:?} is not a push option of gitseal"));
        }
        let length = reason.chars().count();
        if reason.trim().is_empty() {
            Self::Malformed(format!("the reason is missing: -o {OPTION}='REASON'"))
        } else if length > MAX_REASON {
            Self::Malformed(format!(
                "the reason has {length} characters; the limit is {MAX_REASON}"
            ))
        } else if reason.chars().any(char::is_control) {
            Self::Malformed("the reason contains control characters".to_owned())
        } else {
            Self::Reason(reason.to_owned())
        }
    }

    /// Returns the reason, if the certificate contains the same option.
    ///
    /// # Errors
    /// Returns why the request cannot be used.
    pub fn reason(&self, certified: &[BString]) -> Result<&str, String> {
        let reason = match self {
            Self::Reason(reason) => reason,
            Self::Malformed(message) => return Err(message.clone()),
        };
        let option = format!("{OPTION}={reason}");
        if certified.iter().any(|signed| *signed == option) {
            Ok(reason)
        } else {
            Err("the push certificate does not contain the push option".to_owned())
        }
    }
}

/// What became of a request to override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// The reason, if it is readable.
    pub reason: Option<String>,
    /// The signers who override, or why the refusals stay.
    pub by: Result<Vec<String>, String>,
}

impl Overruled {
    /// Formats it as text, unescaped.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.by {
            Ok(by) => format!(
                "the errors are overridden by {}: {}",
                by.join(", "),
                self.reason.as_deref().unwrap_or_default()
            ),
            Err(problem) => format!("the errors are not overridden: {problem}"),
        }
    }

    /// Formats it as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "reason": self.reason,
            "granted": self.by.is_ok(),
            "by": self.by.as_ref().ok(),
            "problem": self.by.as_ref().err(),
        })
    }
}

/// Returns why no one may override the findings of a report: one of them is about the
/// policy in force, or not all of them are reported.
#[must_use]
pub fn beyond_override(report: &PushReport) -> Option<String> {
    if report.total() > report.items.len() {
        return Some("there are too many findings to report all of them".to_owned());
    }
    let mut refusing = report.items.iter().filter(|item| item.finding.refuses());
    let item = refusing.find(|item| NEVER.contains(&item.finding.code))?;
    Some(format!("nothing overrides {}", item.finding.code))
}

/// A commit that a ref would get, and what is known of the ref before.
#[derive(Debug, Clone, Copy)]
pub struct Gained {
    /// The commit.
    pub new: ObjectId,
    /// The commit before the push.
    pub old: Option<ObjectId>,
    /// The commit from which on its first-parent history was checked.
    pub base: Option<ObjectId>,
}

/// The trees of a history, as far as they matter to an override.
pub trait PolicyTrees {
    /// The error of reading.
    type Error;

    /// Returns the ID of the directory `.gitseal` of a commit.
    ///
    /// # Errors
    /// Returns an error if a tree cannot be read.
    fn policy(&mut self, commit: ObjectId) -> Result<Option<ObjectId>, Self::Error>;

    /// Returns the first parent of a commit.
    ///
    /// # Errors
    /// Returns an error if the commit cannot be read.
    fn first_parent(&mut self, commit: ObjectId) -> Result<Option<ObjectId>, Self::Error>;
}

/// Returns whether a commit on the new first-parent history of a ref changes
/// `.gitseal`, or all of them together do. One longer than [`MAX_LINE`] counts as
/// changing it.
///
/// # Errors
/// Returns an error if something cannot be read.
pub fn changes_policy<T: PolicyTrees>(gained: Gained, trees: &mut T) -> Result<bool, T::Error> {
    let mut above = trees.policy(gained.new)?;
    if let Some(old) = gained.old
        && trees.policy(old)? != above
    {
        return Ok(true);
    }
    let mut commit = gained.new;
    for _ in 0..MAX_LINE {
        if gained.base == Some(commit) {
            return Ok(false);
        }
        let parent = trees.first_parent(commit)?;
        let below = match parent {
            Some(parent) => trees.policy(parent)?,
            None => None,
        };
        if below != above {
            return Ok(true);
        }
        let Some(parent) = parent else {
            return Ok(false);
        };
        (commit, above) = (parent, below);
    }
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::gate::report::{ItemSubject, ReportItem};
    use gitseal_policy::{EnforcementMode, Finding};

    fn read(options: &[&str]) -> Option<OverrideRequest> {
        OverrideRequest::read(&|name| match name.strip_prefix("GIT_PUSH_OPTION_")? {
            "COUNT" => Some(options.len().to_string().into()),
            number => Some(options.get(number.parse::<usize>().ok()?)?.into()),
        })
    }

    #[track_caller]
    fn malformed(found: Option<OverrideRequest>, words: &str) {
        match found {
            Some(OverrideRequest::Malformed(message)) if message.contains(words) => {}
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn options_of_a_push() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["ci.skip", "override=x"]), None);
        let reason = "INC-4711: login is down = bad";
        let option = format!("gitseal.override={reason}");
        let request = read(&["ci.skip", &option]).unwrap();
        assert_eq!(request, OverrideRequest::Reason(reason.to_owned()));
        assert_eq!(request.reason(&[option.as_str().into()]), Ok(reason));
        for certified in [vec![], vec![BString::from("gitseal.override=another")]] {
            assert!(request.reason(&certified).is_err());
        }
        let long = format!("gitseal.override={}", "ä".repeat(MAX_REASON));
        assert!(matches!(read(&[&long]), Some(OverrideRequest::Reason(_))));
        malformed(read(&[&format!("{long}x")]), "has 501 characters");
        for option in [
            "gitseal.override",
            "gitseal.override=",
            "gitseal.override= ",
        ] {
            malformed(read(&[option]), "the reason is missing");
        }
        malformed(
            read(&["gitseal.override=a\u{1b}[2Kb"]),
            "control characters",
        );
        malformed(read(&["gitseal.overide=a"]), "is not a push option");
        malformed(read(&[&option, &option]), "more than one");
    }

    #[test]
    fn variables_that_git_does_not_write() {
        let with = |count: &str| {
            OverrideRequest::read(&|name| (name == "GIT_PUSH_OPTION_COUNT").then(|| count.into()))
        };
        assert_eq!(with("0"), None);
        for count in ["", "-1", "x", "1001", "99999999999999999999"] {
            malformed(with(count), "GIT_PUSH_OPTION_COUNT");
        }
        malformed(with("1"), "GIT_PUSH_OPTION_0 is missing");
    }

    #[test]
    fn findings_that_stay() {
        let report = |code| {
            let mut report = PushReport::default();
            report.add(ReportItem {
                reference: "refs/heads/main".to_owned(),
                about: ItemSubject::Reference,
                signer: None,
                step: None,
                may_merge: Vec::new(),
                finding: Finding::new(EnforcementMode::Enforce, code, "refused"),
            });
            report
        };
        let mut one = report(codes::UNSIGNED);
        assert_eq!(beyond_override(&one), None);
        one.count_more(1, true);
        assert!(beyond_override(&one).unwrap().contains("too many findings"));
        for code in NEVER {
            assert!(beyond_override(&report(code)).unwrap().contains(code));
        }
    }

    /// A first-parent history: the policies of commits 1, 2, …, oldest first.
    struct Line(Vec<Option<u8>>);

    fn id(number: u8) -> ObjectId {
        ObjectId::from_hex(format!("{number:040x}").as_bytes()).unwrap()
    }

    impl PolicyTrees for Line {
        type Error = ();

        fn policy(&mut self, commit: ObjectId) -> Result<Option<ObjectId>, ()> {
            let at = self.at(commit);
            Ok(self.0[at].map(id))
        }

        fn first_parent(&mut self, commit: ObjectId) -> Result<Option<ObjectId>, ()> {
            let at = self.at(commit);
            Ok((at > 0).then(|| id(u8::try_from(at).unwrap())))
        }
    }

    impl Line {
        fn at(&self, commit: ObjectId) -> usize {
            let found = (1..=self.0.len()).find(|at| id(u8::try_from(*at).unwrap()) == commit);
            found.unwrap() - 1
        }
    }

    #[test]
    fn every_step_is_compared() {
        let changes = |policies: &[Option<u8>], old: Option<u8>, base: Option<u8>| {
            let gained = Gained {
                new: id(u8::try_from(policies.len()).unwrap()),
                old: old.map(id),
                base: base.map(id),
            };
            changes_policy(gained, &mut Line(policies.to_vec())).unwrap()
        };
        let (a, b) = (Some(7), Some(8));
        assert!(!changes(&[a, a, a], Some(1), Some(1)));
        assert!(changes(&[a, a, b], Some(1), Some(1)));
        // Changed and changed back.
        assert!(changes(&[a, b, a], Some(1), Some(1)));
        // What lies behind the base is in force already.
        assert!(!changes(&[b, a, a], Some(2), Some(2)));
        // Rewound: nothing new, but another policy than before.
        let gained = Gained {
            new: id(1),
            old: Some(id(2)),
            base: Some(id(1)),
        };
        assert!(changes_policy(gained, &mut Line(vec![a, b])).unwrap());
        // Without a base, the first commit of all counts.
        assert!(changes(&[a, a], None, None));
        assert!(!changes(&[None, None], None, None));
        // Added and removed.
        assert!(changes(&[None, a], Some(1), Some(1)));
        assert!(changes(&[a, None], Some(1), Some(1)));
    }
}
