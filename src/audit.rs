//! `gitseal audit`: the whole repository. Every commit that a ref reaches and every
//! annotated tag is verified, the name of each tag is compared with its ref, and the
//! checkpoints of the signatures are compared with each other and, unless
//! `--offline` is given, with the log.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::{
    batch::{Item, ObjectHeaders, ObjectResult},
    cli::AuditArgs,
    context::{ContextError, open_context},
    host::git::{
        ObjectId,
        objects::Target,
        walk::{RefScope, RefTip, Selection},
    },
    range::RangeRun,
    report::{FailureSource, Impact, RangeReport},
    verdict::{Failure, MISNAMED_TAG, VerifyRequest},
};
use gitseal_terminal::{self as terminal, Styled, styled};

pub mod checkpoints;

use checkpoints::CheckpointArchive;

/// The maximum number of tag names that are printed one by one.
const MAX_TOLD: usize = 50;

pub fn run(arguments: &AuditArgs) -> u8 {
    audit(arguments).unwrap_or_else(|error| error.report())
}

fn audit(arguments: &AuditArgs) -> Result<u8, ContextError> {
    let (workspace, settings) = open_context()?;
    let request = VerifyRequest::from_flags(&arguments.request, &settings)?;
    if request.accepts_any_signer() {
        terminal::warn("no expected identity set: accepting any signer under the trusted root");
    }
    let repository = workspace.repository()?;
    let run = RangeRun {
        request: &request,
        repository,
        arguments: &arguments.report,
        json: arguments.json,
        command: "audit",
    };
    run.warn_about_history_overrides()?;
    let tips = repository.reference_tips(RefScope::Repository)?;
    let mut names = TagNames::new(&tips);
    let (selection, tags) = everything(&tips);
    if selection.is_empty() && tags.is_empty() {
        return Err(ContextError::NothingToVerify {
            reason: "the repository has no refs",
        });
    }
    let items = tags
        .into_iter()
        .map(Item::Id)
        .chain(repository.walk(&selection)?.map(Item::from));
    let mut archive = CheckpointArchive::default();
    let verifier = run.verifier().with_checkpoints().with_tag_headers();
    let mut report = run.verify(&verifier, items, &selection.broken, &mut |result| {
        if let Some(checkpoint) = &result.checkpoint {
            archive.add(checkpoint, &result.id.to_string());
        }
        names.add(result);
    })?;
    names.report(&mut report);
    let requests = request.log().map(|_| arguments.max_proofs);
    let consistency = checkpoints::check_consistency(&archive, request.trusted_root(), requests);
    for finding in &consistency.findings {
        let source = FailureSource {
            kind: "log",
            name: finding.origin(),
            example: finding.example(),
        };
        let impact = if finding.is_proven() {
            Impact::Refused
        } else {
            Impact::Undecided
        };
        let failure = Failure::new(finding.code(), finding);
        report.add_failure(source, impact, &failure);
    }
    if !arguments.json {
        terminal::print(&consistency.text()).map_err(|error| ContextError::Output {
            path: "standard output".into(),
            error,
        })?;
    }
    Ok(report.finish(json!({
        "tag_names": names.json(),
        "checkpoints": consistency.json(),
    })))
}

/// Returns all commits that refs lead to, and all tag objects, each once.
fn everything(tips: &[RefTip]) -> (Selection, Vec<ObjectId>) {
    let mut selection = Selection {
        is_range: true,
        ..Selection::default()
    };
    let mut tags = Vec::new();
    let mut seen = HashSet::new();
    for tip in tips {
        match &tip.peeled {
            Ok(peeled) => {
                tags.extend(peeled.tags.iter().copied().filter(|tag| seen.insert(*tag)));
                if let Target::Commit(id) = peeled.target {
                    selection.from.push(id);
                }
            }
            Err(why) => selection
                .broken
                .push((String::from_utf8_lossy(&tip.name).into_owned(), why.clone())),
        }
    }
    (selection, tags)
}

/// Tag objects under refs with another name (a tag that is signed for one release,
/// under the name of another).
#[derive(Default)]
struct TagNames {
    /// Names under `refs/tags/`, each with its tag object.
    expected: Vec<(String, ObjectId)>,
    /// The names inside tag objects.
    inside: HashMap<ObjectId, String>,
    mismatched: Vec<Value>,
    of_other_objects: u64,
}

impl TagNames {
    fn new(tips: &[RefTip]) -> Self {
        let mut names = Self::default();
        for tip in tips {
            let Ok(peeled) = &tip.peeled else { continue };
            if let Some(tag) = peeled.tags.first()
                && let Some(name) = tip.name.strip_prefix(b"refs/tags/")
            {
                let name = String::from_utf8_lossy(name).into_owned();
                names.expected.push((name, *tag));
            }
            if matches!(peeled.target, Target::Other(_)) {
                names.of_other_objects = names.of_other_objects.saturating_add(1);
            }
        }
        names
    }

    fn add(&mut self, result: &ObjectResult) {
        if let Some(ObjectHeaders::Tag(tag)) = &result.headers {
            self.inside.insert(result.id, tag.tag.clone());
        }
    }

    fn report(&mut self, report: &mut RangeReport) {
        for (name, id) in &self.expected {
            let Some(inside) = self.inside.get(id).filter(|inside| *inside != name) else {
                continue;
            };
            if self.mismatched.len() < MAX_TOLD {
                terminal::warn(&styled!(
                    "tag {} points to tag object {}, which is named \"{}\" [tag-name]",
                    Styled::name(name),
                    id.to_string(),
                    Styled::name(inside)
                ));
            }
            let source = FailureSource {
                kind: "tag name",
                name,
                example: &id.to_string(),
            };
            let message = format!("points to tag object {id}, which is named {inside:?}");
            report.add_failure(
                source,
                Impact::Refused,
                &Failure::new(MISNAMED_TAG, message),
            );
            self.mismatched.push(
                json!({"reference": format!("refs/tags/{name}"), "tag_name": inside, "object": id.to_string()}),
            );
        }
    }

    fn json(&self) -> Value {
        json!({
            "tags": self.expected.len(),
            "mismatched": self.mismatched,
            "references_to_other_objects": self.of_other_objects,
        })
    }
}
