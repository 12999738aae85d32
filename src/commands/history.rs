//! A repository as the policy is asked about it: each commit verified, with what
//! it changes, and the policy in its tree.
//!
//! *Not decided here:* what is allowed (`policy/`) and whether a signature is good
//! (`commands/batch.rs` asks the verifier).

use gix::ObjectId;

use super::batch::{self, Engine, Facts, Judged, Opinion};
use crate::{
    evidence::object::CommitView,
    host::git::{
        GitError, Repository,
        changes::{ChangeError, Trees},
        walk::RangeSpec,
    },
    policy::{
        ChangedPath, CommitFacts, OtherKind, POLICY_PATH, SignatureFacts,
        read::MAX_POLICY,
        walk::{History, HistoryError},
    },
};

/// Facts out of a repository.
pub struct GitHistory<'r> {
    repository: &'r Repository,
    engine: &'r Engine<'r>,
}

impl<'r> GitHistory<'r> {
    /// The engine has to be one [`with_facts`](Engine::with_facts).
    #[must_use]
    pub fn new(repository: &'r Repository, engine: &'r Engine<'r>) -> Self {
        Self { repository, engine }
    }

    fn view(&self, judged: &Judged) -> Result<CommitView, HistoryError> {
        match &judged.facts {
            Some(Facts::Commit(view)) => Ok((**view).clone()),
            _ => Err(HistoryError {
                what: format!("{} is no commit that can be read", judged.id),
            }),
        }
    }

    /// The paths in which a commit differs from its first parent.
    ///
    /// # Errors
    /// A tree cannot be read.
    pub fn paths(&self, view: &CommitView) -> Result<Vec<ChangedPath>, ChangeError> {
        let parents = view
            .parents
            .iter()
            .map(|parent| id(parent))
            .collect::<Result<Vec<_>, _>>()?;
        let tree_of = |commit: &ObjectId| self.repository.tree_of(*commit);
        let (first, others) = match parents.split_first() {
            None => (None, &[][..]),
            Some((first, others)) => (Some(*first), others),
        };
        let mut bases = Vec::new();
        if let Some(first) = first {
            for other in others {
                for base in self.repository.merge_bases(first, *other)? {
                    let tree = tree_of(&base)?;
                    if !bases.contains(&tree) {
                        bases.push(tree);
                    }
                }
            }
        }
        let changed = self.repository.changes(&Trees {
            result: Some(id(&view.tree)?),
            first: first.as_ref().map(tree_of).transpose()?,
            others: others.iter().map(tree_of).collect::<Result<_, _>>()?,
            bases,
        })?;
        Ok(changed
            .into_iter()
            .map(|one| ChangedPath {
                path: one.path.into(),
                own: one.own,
            })
            .collect())
    }
}

fn id(hex: &str) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|_| GitError::Missing { id: hex.to_owned() })
}

fn lost(error: impl std::fmt::Display) -> HistoryError {
    HistoryError {
        what: error.to_string(),
    }
}

/// A verdict in the policy's words.
#[must_use]
pub fn signature(opinion: &Opinion) -> SignatureFacts {
    match opinion {
        Opinion::Good(verified) | Opinion::NotWanted { verified, .. } => SignatureFacts::Good {
            identity: verified.identity.clone(),
            claims: verified.certificate.fulcio().clone(),
            signed_at: verified.time,
        },
        Opinion::Unsigned => SignatureFacts::Unsigned,
        Opinion::Other(batch::OtherKind::OpenPgp) => SignatureFacts::Other(OtherKind::OpenPgp),
        Opinion::Other(batch::OtherKind::Ssh) => SignatureFacts::Other(OtherKind::Ssh),
        Opinion::Refused(refusal) | Opinion::Undecided { refusal, .. } => SignatureFacts::Bad {
            code: refusal.code().to_owned(),
            words: refusal.reason.to_string(),
        },
        Opinion::Unreadable { error, .. } => SignatureFacts::Bad {
            code: "unreadable".to_owned(),
            words: error.to_string(),
        },
    }
}

impl History for GitHistory<'_> {
    fn parents(&mut self, commit: &str) -> Result<Vec<String>, HistoryError> {
        let object = self
            .repository
            .objects()
            .read(id(commit).map_err(lost)?)
            .map_err(lost)?;
        parents_of(&object.raw).ok_or_else(|| HistoryError {
            what: format!("{commit} is no commit"),
        })
    }

    fn policy_id(&mut self, commit: &str) -> Result<Option<String>, HistoryError> {
        let commit = id(commit).map_err(lost)?;
        let names: Vec<&[u8]> = POLICY_PATH.split('/').map(str::as_bytes).collect();
        let found = self.repository.file_at(commit, &names).map_err(lost)?;
        Ok(found.map(|id| id.to_string()))
    }

    fn policy_text(&mut self, blob: &str) -> Result<Vec<u8>, HistoryError> {
        let blob = id(blob).map_err(lost)?;
        let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
        self.repository.blob(blob, most).map_err(lost)
    }

    fn commit(&mut self, commit: &str) -> Result<CommitFacts, HistoryError> {
        let object = self
            .repository
            .objects()
            .read(id(commit).map_err(lost)?)
            .map_err(lost)?;
        let judged = self.engine.judge(object, self.repository.hash());
        let view = self.view(&judged)?;
        Ok(CommitFacts {
            signature: signature(&judged.opinion),
            paths: self.paths(&view).map_err(lost)?,
            id: judged.id,
            parents: view.parents,
            author: view.author.raw,
            committer: view.committer.raw,
        })
    }

    fn brought(&mut self, commit: &str, most: usize) -> Result<Vec<String>, HistoryError> {
        let first = self.parents(commit)?.into_iter().next();
        let mut specs = vec![RangeSpec::From(id(commit).map_err(lost)?)];
        if let Some(first) = first {
            specs.push(RangeSpec::Not(id(&first).map_err(lost)?));
        }
        let revisions = self.repository.revisions(&specs).map_err(lost)?;
        revisions
            .take(most)
            .map(|visited| match visited {
                Ok(visited) => Ok(visited.id.to_string()),
                Err(unvisited) => Err(lost(unvisited.error)),
            })
            .collect()
    }
}

/// The parents in a commit's header, whatever else it holds.
fn parents_of(raw: &[u8]) -> Option<Vec<String>> {
    let mut lines = raw.split(|byte| *byte == b'\n');
    lines.next()?.strip_prefix(b"tree ")?;
    let mut parents = Vec::new();
    for line in lines {
        let Some(parent) = line.strip_prefix(b"parent ") else {
            break;
        };
        parents.push(std::str::from_utf8(parent).ok()?.to_owned());
    }
    Some(parents)
}
