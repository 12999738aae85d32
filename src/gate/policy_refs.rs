//! `gitseal policy refs`: for each ref the rules that speak of it, its sources, and
//! what on it was adopted; or the open commits of one signer.
//!
//! One policy is in force for all refs, so no ref obeys an older one. A ref is judged
//! here as if it were made now.
//!
//! *Not decided here:* what is allowed (`policy/`).

use std::{collections::BTreeSet, sync::Arc};

use gix::{
    ObjectId,
    bstr::{BString, ByteSlice as _},
};
use serde_json::{Value, json};

use super::{
    GateError,
    judge::{JudgeError, PushJudge, Scope},
    policy_source::PolicySource,
    report::{ItemSubject, PushReport, RefResult},
    sources::RefSnapshot,
    target::{PushSide, read_changes},
    verdict_log::RunRecord,
    watched,
};
use crate::{
    cli::PolicyRefsArgs,
    context::{ContextError, open_context},
    host::git::{Repository, push::RefCommand},
};
use gitseal_policy::Policy;
use gitseal_terminal::{self as terminal, Styled, styled};

/// Maximum number of sources and commits that are listed for one ref as text.
const MAX_SHOWN: usize = 20;

/// Runs `gitseal policy refs`.
#[must_use]
pub(super) fn run(arguments: &PolicyRefsArgs) -> u8 {
    let options = &arguments.options;
    // A listing is no push: the record has no log.
    let record = Arc::new(RunRecord::begin("policy refs"));
    watched(&record, options.timeout, PushSide::Service, |deadline| {
        let (workspace, settings) = open_context()?;
        let repository = workspace.repository().map_err(ContextError::from)?;
        repository.objects().set_deadline(deadline);
        let mut before = RefSnapshot::read(repository, &settings).map_err(JudgeError::from)?;
        let source =
            PolicySource::find(&settings, options, repository).map_err(JudgeError::from)?;
        let judge = PushJudge::open(repository, &settings, options, source)?;
        let updates = updates(&before, options.max_updates)?;
        let changes = read_changes(updates, repository, &before).map_err(JudgeError::from)?;
        let policy = judge.policy(&changes, &mut before)?;
        let refs = match &arguments.signer {
            Some(signer) => of_signer(signer, &policy, &judge, &mut before, repository)?,
            None => {
                let report = judge.judge("refs", &changes, &mut before, Scope::OneRef, &record)?;
                let of = |result| RefState::new(result, &report, &policy, &before);
                let refs: Vec<RefState> = report.results.iter().map(of).collect();
                Listing {
                    text: refs.iter().fold(Styled::default(), |mut text, one| {
                        text.push(&one.text());
                        text
                    }),
                    json: refs.iter().map(RefState::json).collect(),
                }
            }
        };
        let written = if options.json {
            terminal::print_json(&json!({ "signer": arguments.signer, "refs": refs.json }))
        } else {
            terminal::print(&refs.text)
        };
        Ok(crate::exit::written(written))
    })
}

/// What is printed: one part for each ref.
struct Listing {
    text: Styled,
    json: Vec<Value>,
}

/// Every ref, as if it were made now.
fn updates(before: &RefSnapshot, most: usize) -> Result<Vec<RefCommand>, GateError> {
    let updates: Vec<RefCommand> = before
        .below(b"refs/")
        .map(|(name, id)| RefCommand {
            old: None,
            new: Some(id),
            name: name.to_owned(),
        })
        .take(most.saturating_add(1))
        .collect();
    if updates.len() > most {
        return Err(GateError::Flag {
            flag: "--max-updates",
            reason: format!("there are more than {most} refs"),
        });
    }
    Ok(updates)
}

/// What the policy says of one ref.
struct RefState {
    name: String,
    is_default: bool,
    is_open: bool,
    rules: Vec<String>,
    sources: Vec<String>,
    adopted: Vec<(ObjectId, ObjectId)>,
    /// Commits that the policy would refuse now.
    refused: BTreeSet<ObjectId>,
}

impl RefState {
    fn new(result: &RefResult, report: &PushReport, policy: &Policy, before: &RefSnapshot) -> Self {
        let name = result.name.as_bytes();
        let speaks = |rule: &&gitseal_policy::model::Rule| !rule.trial && rule.matches_ref(name);
        let sources = before
            .below(b"refs/")
            .filter(|(source, _)| before.is_source(source, name, policy))
            .map(|(source, _)| source.to_string());
        let refused = report.items.iter().filter_map(|item| match &item.about {
            ItemSubject::Object { id, .. }
                if item.reference == result.name && item.finding.refuses() =>
            {
                Some(*id)
            }
            _ => None,
        });
        Self {
            name: result.name.clone(),
            is_default: before
                .default_branch()
                .is_some_and(|default| default == name),
            is_open: policy.is_open(name),
            rules: policy
                .rules
                .iter()
                .filter(speaks)
                .map(|rule| rule.name.clone())
                .collect(),
            sources: sources.collect(),
            adopted: result.adopted.clone(),
            refused: refused.collect(),
        }
    }

    fn text(&self) -> Styled {
        let list = |items: &[String]| match items {
            [] => "none".to_owned(),
            items => {
                let mut shown = items.get(..MAX_SHOWN).unwrap_or(items).join(", ");
                let more = items.len().saturating_sub(MAX_SHOWN);
                if more > 0 {
                    shown.push_str(&format!(" and {more} more"));
                }
                shown
            }
        };
        let kind = match (self.is_default, self.is_open) {
            (true, _) => " (default branch)",
            (_, true) => " (not protected)",
            _ => "",
        };
        let mut out = styled!("{}{}\n", Styled::name(&self.name), kind);
        out.push(&styled!("  rules: {}\n", Styled::name(&list(&self.rules))));
        out.push(&styled!(
            "  sources: {}\n",
            Styled::name(&list(&self.sources))
        ));
        out.push(&styled!("  adopted: {} commits\n", self.adopted.len()));
        for (commit, merge) in self.adopted.iter().take(MAX_SHOWN) {
            let (commit, merge) = (commit.to_hex_with_len(12), merge.to_hex_with_len(12));
            out.push(&styled!(
                "    {} by the merge {}\n",
                commit.to_string(),
                merge.to_string()
            ));
        }
        if !self.refused.is_empty() {
            out.push(&styled!(
                "  would be refused now: {} commits\n",
                self.refused.len()
            ));
        }
        out
    }

    fn json(&self) -> Value {
        let adopted = self.adopted.iter().map(
            |(commit, merge)| json!({ "commit": commit.to_string(), "by": merge.to_string() }),
        );
        let refused = self.refused.iter().map(ToString::to_string);
        json!({
            "name": self.name,
            "default": self.is_default,
            "protected": !self.is_open,
            "rules": self.rules,
            "sources": self.sources,
            "adopted": adopted.collect::<Vec<_>>(),
            "refused": refused.collect::<Vec<_>>(),
        })
    }
}

/// Lists the commits of a signer that refs have and the default branch does not.
fn of_signer(
    signer: &str,
    policy: &Policy,
    judge: &PushJudge<'_>,
    before: &mut RefSnapshot,
    repository: &Repository,
) -> Result<Listing, GateError> {
    let objects = repository.objects();
    let default = before.default_branch().map(BString::from);
    let base = default.and_then(|name| before.commit_of(&name, objects));
    let names: Vec<BString> = before
        .below(b"refs/")
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut listing = Listing {
        text: Styled::default(),
        json: Vec::new(),
    };
    for name in names {
        let Some(tip) = before.commit_of(&name, objects) else {
            continue;
        };
        let commits = judge.signed_by(signer, policy, tip, base)?;
        if commits.is_empty() {
            continue;
        }
        let name = name.as_bstr().to_string();
        let count = commits.len();
        listing
            .text
            .push(&styled!("{}: {} commits\n", Styled::name(&name), count));
        for (commit, subject) in commits.iter().take(MAX_SHOWN) {
            let id = commit.to_hex_with_len(12).to_string();
            listing
                .text
                .push(&styled!("  {} {}\n", id, Styled::name(subject)));
        }
        let commits = commits.iter().map(|(commit, _)| commit.to_string());
        listing
            .json
            .push(json!({ "name": name, "commits": commits.collect::<Vec<_>>() }));
    }
    Ok(listing)
}
