//! `gitseal audit`: the whole repository. Every commit that a reference reaches
//! and every annotated tag is verified, each tag's own name is held against its
//! reference, and the checkpoints that the signatures carry are held against each
//! other and, unless nobody is to be asked, against the log.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::host::git::{
    ObjectId,
    objects::Target,
    walk::{RefTip, Selection},
};
use crate::{
    batch::{Facts, Item, Judged},
    cli::AuditArgs,
    context::{ContextError, VerifyRequest},
    range::{
        Extras, Work,
        report::{About, Report, Summary, Weight},
    },
};
use gitseal_evidence::identity::ExpectedIdentity;
use gitseal_terminal::{self as terminal, Escape, escape};

pub mod checkpoints;

use checkpoints::{Archive, Finding};

/// The most names of tags that are told one by one.
const MAX_TOLD: usize = 50;

/// `gitseal audit`.
pub fn run(arguments: &AuditArgs) -> u8 {
    audit(arguments).unwrap_or_else(|error| error.report())
}

fn audit(arguments: &AuditArgs) -> Result<u8, ContextError> {
    let request = VerifyRequest::resolve(&arguments.identity, &arguments.trust)?;
    if matches!(request.expected, ExpectedIdentity::Any) {
        terminal::warn(
            "nobody said who must have signed: every signer that the trusted root vouches for counts as good",
        );
    }
    let repository = request.workspace.repository()?;
    let work = Work {
        request: &request,
        repository,
        flags: &arguments.report,
        json: arguments.json,
        offline: arguments.trust.offline,
        what: "audit",
    };
    work.tell_pretences()?;
    let tips = repository.reference_tips()?;
    let mut names = Names::of(&tips);
    let (selection, tags) = everything(&tips);
    let items = tags
        .into_iter()
        .map(Item::Id)
        .chain(repository.walk(&selection)?.map(Item::from));
    let mut archive = Archive::default();
    let (mut outcome, mut report) = work.judge(
        items,
        &selection.broken,
        &mut |judged| {
            if let Some(seen) = &judged.seen {
                archive.add(seen, &judged.id);
            }
            names.hear(judged);
        },
        Extras { checkpoints: true },
    )?;
    names.tell(&mut outcome.summary, &mut report);
    let examined = checkpoints::examine(
        &archive,
        &request.trust.root,
        (!arguments.trust.offline).then_some(arguments.max_proofs),
    );
    for finding in &examined.findings {
        tell(finding, &mut outcome.summary, &mut report);
    }
    let more = json!({
        "tag_names": names.json(),
        "checkpoints": examined.json(),
    });
    if !arguments.json {
        terminal::print(&examined.words()).map_err(|error| ContextError::Output {
            path: "standard output".into(),
            error,
        })?;
    }
    let written = report.finish(&outcome.summary, Some(more));
    Ok(outcome.summary.exit().max(written))
}

/// All commits that references lead to, and all tag objects, each once.
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

/// Tag objects under names that are not their own (a tag that is signed for one
/// release, under the name of another).
#[derive(Default)]
struct Names {
    /// The reference of each tag object: names under `refs/tags/`.
    wanted: Vec<(String, String)>,
    /// What tag objects call themselves.
    called: std::collections::HashMap<String, String>,
    wrong: Vec<(String, String, String)>,
    of_other_objects: u64,
}

impl Names {
    fn of(tips: &[RefTip]) -> Self {
        let mut names = Self::default();
        for tip in tips {
            let Ok(peeled) = &tip.peeled else { continue };
            if let Some(tag) = peeled.tags.first()
                && let Some(name) = tip.name.strip_prefix(b"refs/tags/")
            {
                let name = String::from_utf8_lossy(name).into_owned();
                names.wanted.push((name, tag.to_string()));
            }
            if matches!(peeled.target, Target::Other(_)) {
                names.of_other_objects = names.of_other_objects.saturating_add(1);
            }
        }
        names
    }

    fn hear(&mut self, judged: &Judged) {
        if let Some(Facts::Tag(tag)) = &judged.facts {
            self.called.insert(judged.id.clone(), tag.tag.clone());
        }
    }

    fn tell(&mut self, summary: &mut Summary, report: &mut Report) {
        for (name, id) in &self.wanted {
            let Some(called) = self.called.get(id) else {
                continue;
            };
            if called == name {
                continue;
            }
            if self.wrong.len() < MAX_TOLD {
                terminal::warn(&format!(
                    "tag {} holds the tag object {id}, which names itself {} [tag-name]",
                    escape(name, Escape::Ascii),
                    escape(called, Escape::Ascii)
                ));
            }
            let about = About {
                kind: "tag name",
                name,
                code: "tag-name",
                example: id,
            };
            let words = format!("it holds the tag object {id}, which names itself {called:?}");
            report.note(summary, about, Weight::Refuses, words);
            self.wrong.push((name.clone(), called.clone(), id.clone()));
        }
    }

    fn json(&self) -> Value {
        let wrong: Vec<Value> = self
            .wrong
            .iter()
            .map(|(name, called, id)| json!({"reference": format!("refs/tags/{name}"), "named": called, "object": id}))
            .collect();
        json!({ "tags": self.wanted.len(), "wrong": wrong, "references_to_other_objects": self.of_other_objects })
    }
}

fn tell(finding: &Finding, summary: &mut Summary, report: &mut Report) {
    let weight = if finding.is_proof() {
        Weight::Refuses
    } else {
        Weight::Doubts
    };
    let about = About {
        kind: "log",
        name: finding.origin(),
        code: finding.code(),
        example: finding.example(),
    };
    report.note(summary, about, weight, finding.words());
}
