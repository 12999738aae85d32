//! A repository as the policy is asked about it: each commit verified, with what
//! it changes, and the policy in its tree.
//!
//! *Not decided here:* what is allowed (`policy/`) and whether a signature is good
//! (`commands/batch.rs` asks the verifier).

use std::collections::HashMap;

use gix::ObjectId;

use super::batch::{Engine, Facts, Judged, Opinion, OtherKind as Other};
use crate::{
    evidence::object::CommitView,
    host::git::{
        GitError, Repository,
        changes::{ChangeError, Trees},
        graph::{Care, Graph},
    },
    policy::{
        ChangedPath, CommitFacts, OtherKind, POLICY_PATH, SignatureFacts,
        read::MAX_POLICY,
        walk::{History, HistoryError},
    },
};

/// Facts out of a repository, each looked for once.
pub struct GitHistory<'a, 'r> {
    repository: &'r Repository,
    engine: &'a Engine<'a>,
    graph: &'a mut Graph<'r>,
    known: HashMap<ObjectId, CommitFacts>,
}

impl<'a, 'r> GitHistory<'a, 'r> {
    /// The engine has to be one [`with_facts`](Engine::with_facts).
    #[must_use]
    pub fn new(
        repository: &'r Repository,
        engine: &'a Engine<'a>,
        graph: &'a mut Graph<'r>,
    ) -> Self {
        Self {
            repository,
            engine,
            graph,
            known: HashMap::new(),
        }
    }

    /// A commit that was judged already is not judged again.
    pub fn know(&mut self, id: ObjectId, facts: CommitFacts) {
        self.known.insert(id, facts);
    }

    /// The commits behind it.
    pub fn graph(&mut self) -> &mut Graph<'r> {
        self.graph
    }
}

/// A commit in the policy's words, with the paths that it answers for.
///
/// # Errors
/// A tree that it is held against cannot be read.
pub fn commit_facts(judged: &Judged, repository: &Repository) -> Result<CommitFacts, ChangeError> {
    let view = match &judged.facts {
        Some(Facts::Commit(view)) => Some(&**view),
        _ => None,
    };
    let signature = match (view, signature(&judged.opinion)) {
        // What cannot be read is not good either, whatever it is signed with.
        (None, SignatureFacts::Unsigned | SignatureFacts::Other(_)) => SignatureFacts::Bad {
            code: "object-unreadable".to_owned(),
            words: "the commit's headers are not those of a commit".to_owned(),
        },
        (_, signature) => signature,
    };
    Ok(CommitFacts {
        id: judged.id.clone(),
        parents: view.map(|view| view.parents.clone()).unwrap_or_default(),
        signature,
        author: view.map(|view| view.author.raw.clone()).unwrap_or_default(),
        committer: view
            .map(|view| view.committer.raw.clone())
            .unwrap_or_default(),
        paths: match view {
            Some(view) => paths(view, repository)?,
            None => Vec::new(),
        },
    })
}

/// The paths that a commit answers for: those in which it differs from its first
/// parent.
fn paths(view: &CommitView, repository: &Repository) -> Result<Vec<ChangedPath>, ChangeError> {
    let parents = view
        .parents
        .iter()
        .map(|parent| id(parent))
        .collect::<Result<Vec<_>, _>>()?;
    let tree_of = |commit: &ObjectId| repository.tree_of(*commit);
    let (first, others) = match parents.split_first() {
        None => (None, &[][..]),
        Some((first, others)) => (Some(*first), others),
    };
    let mut bases = Vec::new();
    if let Some(first) = first {
        for other in others {
            for base in repository.merge_bases(first, *other)? {
                let tree = tree_of(&base)?;
                if !bases.contains(&tree) {
                    bases.push(tree);
                }
            }
        }
    }
    let changed = repository.changes(&Trees {
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
        Opinion::Other(Other::OpenPgp) => SignatureFacts::Other(OtherKind::OpenPgp),
        Opinion::Other(Other::Ssh) => SignatureFacts::Other(OtherKind::Ssh),
        Opinion::Refused(refusal) | Opinion::Undecided { refusal, .. } => SignatureFacts::Bad {
            code: refusal.code().to_owned(),
            words: format!("{}: {}", refusal.step, refusal.reason),
        },
        Opinion::Unreadable { error, .. } => SignatureFacts::Bad {
            code: "object-unreadable".to_owned(),
            words: error.to_string(),
        },
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

impl History for GitHistory<'_, '_> {
    fn parents(&mut self, commit: &str) -> Result<Vec<String>, HistoryError> {
        let parents = self.graph.parents(id(commit).map_err(lost)?);
        Ok(parents
            .map_err(lost)?
            .iter()
            .map(ToString::to_string)
            .collect())
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
        let id = id(commit).map_err(lost)?;
        if let Some(facts) = self.known.get(&id) {
            return Ok(facts.clone());
        }
        let object = self.repository.objects().read(id).map_err(lost)?;
        let judged = self.engine.judge(object, self.repository.hash());
        let facts = commit_facts(&judged, self.repository).map_err(lost)?;
        self.known.insert(id, facts.clone());
        Ok(facts)
    }

    fn brought(&mut self, commit: &str, most: usize) -> Result<Vec<String>, HistoryError> {
        let tip = id(commit).map_err(lost)?;
        let parents = self.graph.parents(tip).map_err(lost)?;
        let first = parents.get(..1).unwrap_or_default();
        let gained = self
            .graph
            .gained(&[tip], first, Care::Exact)
            .map_err(lost)?;
        Ok(gained
            .commits
            .iter()
            .take(most)
            .map(ToString::to_string)
            .collect())
    }
}
