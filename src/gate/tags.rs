//! Tag objects of a push, and those that approve them.
//!
//! *Not decided here:* what is allowed (`policy/`), and which commit a tag may be made
//! of (`policy/steps`).

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use gix::{ObjectId, bstr::BString};

use super::{judge::JudgeError, report::ItemSubject, sources::RefSnapshot, target::RefChange};
use crate::{
    batch::{self, BatchVerifier, ObjectHeaders, ObjectResult},
    history,
    host::git::{
        Repository,
        objects::{Objects, Target},
    },
    verdict::Verdict,
};
use gitseal_evidence::object::{ObjectKind, ParsedTag};
use gitseal_policy::{Action, ApprovalTag, Finding, Policy, Pusher, RefUpdate, Tag, codes};

/// Maximum number of other tags that count for one.
const MAX_APPROVALS: usize = 256;
const TAGS: &[u8] = b"refs/tags/";
/// Where tags that approve another one are, below its name.
const APPROVALS: &[u8] = b"refs/approvals/";

/// The tag objects of a push after they were verified.
pub type VerifiedTags = HashMap<ObjectId, ObjectResult>;

/// A finding about a tag.
pub struct TagFinding {
    pub about: ItemSubject,
    /// The identity of its signer if the signature verifies, unescaped.
    pub signer: Option<String>,
    pub finding: Finding,
}

/// The tag objects to verify, and which of them count for others.
pub struct TagChecks {
    ids: Vec<ObjectId>,
    /// By the ref of a tag: the refs and tag objects that approve it.
    approvals: HashMap<BString, Vec<(BString, ObjectId)>>,
}

impl TagChecks {
    /// Finds the tags of a push and, where a rule asks for several signers, those that
    /// approve them: existing ones, and those of the same push.
    #[must_use]
    pub fn of(
        changes: &[RefChange],
        before: &RefSnapshot,
        policy: &Policy,
        objects: &Objects,
    ) -> Self {
        let mut approvals = HashMap::new();
        for change in changes.iter().filter(|change| change.is_tag()) {
            let name = &change.update.name;
            if let (Some(commit), Some(tag)) = (change.new.commit, name.strip_prefix(TAGS))
                && counts_tags(policy, name)
            {
                let prefix = [APPROVALS, tag, b"/"].concat();
                let found = approvals_of(&prefix, commit, changes, before, objects);
                approvals.insert(name.clone(), found);
            }
        }
        let mut seen = HashSet::new();
        let own = changes
            .iter()
            .filter(|change| change.is_tag() && change.update.new.is_some())
            .flat_map(|change| change.new.tags.iter().map(|tag| tag.id));
        let of_others = approvals.values().flatten().map(|(_, id)| *id);
        Self {
            ids: own.chain(of_others).filter(|id| seen.insert(*id)).collect(),
            approvals,
        }
    }

    /// Verifies every tag object once.
    ///
    /// # Errors
    /// Returns [`JudgeError`] if one cannot be read.
    pub fn verify(
        &self,
        repository: &Repository,
        engine: &BatchVerifier<'_>,
    ) -> Result<VerifiedTags, JudgeError> {
        let mut tags = HashMap::with_capacity(self.ids.len());
        let mut result = Ok(());
        let jobs = batch::default_jobs().min(self.ids.len().max(1));
        batch::verify_all(self.ids.clone(), repository, engine, jobs, &mut |tag| {
            if let Verdict::Unreadable { error, .. } = tag.verdict {
                result = Err(JudgeError::Tag { id: tag.id, error });
                return ControlFlow::Break(());
            }
            tags.insert(tag.id, tag);
            ControlFlow::Continue(())
        });
        result.map(|()| tags)
    }

    /// Evaluates the change of a ref that is a tag, and the tag objects it leads to.
    #[must_use]
    pub fn evaluate(
        &self,
        change: &RefChange,
        tags: &VerifiedTags,
        policy: &Policy,
        pusher: &Pusher<'_>,
    ) -> Vec<TagFinding> {
        let name: &[u8] = &change.update.name;
        let of = |id: &ObjectId| Some(Read::of(tags.get(id)?));
        let approving = self
            .approvals
            .get(&change.update.name)
            .into_iter()
            .flatten();
        let approving: Vec<(&BString, Read<'_>)> = approving
            .filter_map(|(name, id)| Some((name, of(id)?)))
            .collect();
        let others: Vec<ApprovalTag<'_>> = approving
            .iter()
            .map(|(ref_name, read)| ApprovalTag {
                ref_name,
                name: read.name(),
                signature: &read.signature,
            })
            .collect();
        let chain: Vec<Read<'_>> = change
            .new
            .tags
            .iter()
            .filter_map(|tag| of(&tag.id))
            .collect();
        let read: Vec<Tag<'_>> = chain
            .iter()
            .map(|read| Tag {
                id: &read.id,
                name: read.name(),
                signature: &read.signature,
                target_type: read.view.map_or("", |view| view.object_type.as_str()),
                others: &others,
            })
            .collect();
        let new = change.update.new.map(|id| id.to_string());
        let update = RefUpdate {
            name,
            kind: change.kind(),
            new: new.as_deref().unwrap_or_default(),
            tag: read.first().copied(),
        };
        let is_of_tag = |finding: &Finding| {
            update.tag.is_some()
                && !finding.code.starts_with("pusher-")
                && !finding.code.starts_with("no-rule")
        };
        let mut findings = Vec::new();
        let mut add = |is_of_tag: bool, finding| {
            let tag = change.new.tags.first().filter(|_| is_of_tag);
            findings.push(TagFinding {
                about: match tag {
                    Some(tag) => ItemSubject::Object {
                        kind: ObjectKind::Tag,
                        id: tag.id,
                        title: tag.name.clone().unwrap_or_default(),
                    },
                    None => ItemSubject::Reference,
                },
                signer: chain.first().and_then(Read::signer),
                finding,
            });
        };
        for finding in policy.evaluate_update(&update, pusher) {
            add(is_of_tag(&finding), finding);
        }
        // The tags that the outer one leads to are signed as well; their names are
        // not the ref's.
        for tag in read.iter().skip(1) {
            for finding in policy.evaluate_tag(tag, name, pusher.now) {
                if finding.code != codes::TAG_NAME {
                    add(true, finding);
                }
            }
        }
        findings
    }
}

/// A verified tag object.
struct Read<'a> {
    id: String,
    result: &'a ObjectResult,
    view: Option<&'a ParsedTag>,
    signature: gitseal_policy::SignatureResult,
}

impl<'a> Read<'a> {
    fn of(result: &'a ObjectResult) -> Self {
        Self {
            id: result.id.to_string(),
            result,
            view: match &result.headers {
                Some(ObjectHeaders::Tag(view)) => Some(view),
                _ => None,
            },
            signature: history::signature(&result.verdict),
        }
    }

    fn name(&self) -> &[u8] {
        self.view.map_or(&b""[..], |view| view.tag.as_bytes())
    }

    fn signer(&self) -> Option<String> {
        let verified = self.result.verdict.verified()?;
        Some(verified.identity.san.value().to_owned())
    }
}

/// Returns whether a rule counts the signers of tags under a ref.
fn counts_tags(policy: &Policy, name: &[u8]) -> bool {
    policy.rules.iter().any(|rule| {
        !rule.trial
            && rule.threshold.is_some()
            && rule.may.contains_key(&Action::Tag)
            && rule.matches_ref(name)
    })
}

/// Returns the tags below a prefix that lead to a commit, at most
/// [`MAX_APPROVALS`], so that tags of others cannot crowd them out.
fn approvals_of(
    prefix: &[u8],
    commit: ObjectId,
    changes: &[RefChange],
    before: &RefSnapshot,
    objects: &Objects,
) -> Vec<(BString, ObjectId)> {
    let pushed = |name: &[u8]| changes.iter().any(|change| *change.update.name == name);
    let of_push = changes
        .iter()
        .filter(|change| change.update.name.starts_with(prefix))
        .filter(|change| change.new.commit == Some(commit))
        .filter_map(|change| Some((change.update.name.clone(), change.new.tags.first()?.id)));
    let existing = before
        .below(prefix)
        .filter(|(name, _)| !pushed(name))
        .filter_map(|(name, id)| {
            let peeled = objects.peel(id).ok()?;
            let tag = *peeled.tags.first()?;
            (peeled.target == Target::Commit(commit)).then(|| (name.to_owned(), tag))
        });
    of_push.chain(existing).take(MAX_APPROVALS).collect()
}
