//! The commit source of the policy: commits of a repository, each verified, with the
//! paths it changes and the policy in its tree.
//!
//! *Not decided here:* what is allowed (`policy/`) and whether a signature verifies
//! (`batch.rs`).

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    rc::Rc,
};

use gix::ObjectId;

use crate::batch::{self, BatchVerifier, ObjectHeaders, ObjectResult};
use crate::host::git::{
    GitError, Repository,
    changes::{DiffError, MAX_PARENTS, ParentTree, Trees},
    graph::{Graph, Traversal},
};
use crate::verdict::{SignatureFormat, Verdict};
use gitseal_evidence::object::ParsedCommit;
use gitseal_policy::{
    ChangedPath, CommitFacts, OtherKind, POLICY_PATH, SignatureFacts,
    parse::MAX_POLICY,
    walk::{CommitSource, CommitSourceError},
};

/// Commits of a repository, each verified once.
pub struct GitHistory<'a, 'r> {
    repository: &'r Repository,
    engine: &'a BatchVerifier<'a>,
    graph: &'a mut Graph,
    known: HashMap<ObjectId, CommitFacts>,
    weight: usize,
    accepted: Vec<Rc<HashSet<ObjectId>>>,
}

/// Maximum size of the cached commits, in bytes; others are read again.
const MAX_KNOWN: usize = 256 * 1024 * 1024;

impl<'a, 'r> GitHistory<'a, 'r> {
    /// Creates an empty cache. The engine needs
    /// [`with_headers`](BatchVerifier::with_headers).
    #[must_use]
    pub fn new(
        repository: &'r Repository,
        engine: &'a BatchVerifier<'a>,
        graph: &'a mut Graph,
    ) -> Self {
        Self {
            repository,
            engine,
            graph,
            known: HashMap::new(),
            weight: 0,
            accepted: Vec::new(),
        }
    }

    /// Caches the result for a commit.
    pub fn insert_result(&mut self, id: ObjectId, facts: CommitFacts) {
        let weight = self.weight.saturating_add(facts.weight());
        if weight <= MAX_KNOWN {
            self.weight = weight;
            self.known.insert(id, facts);
        }
    }

    /// Marks commits as authenticated: whole first-parent histories down to the policy
    /// root.
    pub fn mark_authenticated(&mut self, lines: Vec<Rc<HashSet<ObjectId>>>) {
        self.accepted = lines;
    }

    /// Verifies these commits now, on all cores.
    ///
    /// # Errors
    /// One of them, or a tree that it is held against, cannot be read.
    pub fn verify_commits(&mut self, ids: &[ObjectId]) -> Result<(), CommitSourceError> {
        let jobs = batch::default_jobs();
        let (repository, engine) = (self.repository, self.engine);
        let mut next = ids.iter();
        let mut result = Ok(());
        batch::verify_all(ids.to_vec(), repository, engine, jobs, &mut |judged| {
            let facts = match &judged.verdict {
                Verdict::Unreadable { error, .. } => Err(lost(error)),
                _ => commit_facts(&judged, repository).map_err(lost),
            };
            match (facts, next.next()) {
                (Ok(facts), Some(id)) => {
                    self.insert_result(*id, facts);
                    ControlFlow::Continue(())
                }
                (Ok(_), None) => ControlFlow::Break(()),
                (Err(error), _) => {
                    result = Err(error);
                    ControlFlow::Break(())
                }
            }
        });
        result
    }

    /// Clears the cached results.
    pub fn forget(&mut self) {
        self.known.clear();
        self.weight = 0;
    }

    /// Returns the commit graph.
    pub fn graph(&mut self) -> &mut Graph {
        self.graph
    }
}

/// Errors while reading the facts of a commit.
#[derive(Debug, thiserror::Error)]
pub enum CommitReadError {
    /// Its changes cannot be computed.
    #[error(transparent)]
    Changes(#[from] DiffError),
    /// Its headers could be read in two ways.
    #[error("its headers are not those of a commit")]
    Headers,
}

/// Returns the facts of a commit, with the paths that it changes.
///
/// # Errors
/// It is no commit that can be read, or a tree that it is held against is not.
pub fn commit_facts(
    judged: &ObjectResult,
    repository: &Repository,
) -> Result<CommitFacts, CommitReadError> {
    let Some(ObjectHeaders::Commit(view)) = &judged.headers else {
        return Err(CommitReadError::Headers);
    };
    let held = Held::of(view, repository)?;
    let changed = repository.changes(&held.trees)?;
    Ok(CommitFacts {
        id: judged.id.clone(),
        parents: held.parents.iter().map(ToString::to_string).collect(),
        signature: signature(&judged.verdict),
        author: view.author.raw.clone(),
        committer: view.committer.raw.clone(),
        paths: changed
            .into_iter()
            .map(|one| ChangedPath {
                path: one.path.into(),
                changed: one.own,
            })
            .collect(),
    })
}

/// The parents and trees that a commit is compared with.
struct Held {
    parents: Vec<ObjectId>,
    trees: Trees,
}

impl Held {
    /// A parent that the first one descends from brings nothing and is left out: a merge
    /// with only such parents is an ordinary commit.
    fn of(view: &ParsedCommit, repository: &Repository) -> Result<Self, DiffError> {
        let parents = view
            .parents
            .iter()
            .map(|parent| id(parent))
            .collect::<Result<Vec<_>, _>>()?;
        let tree_of = |commit: &ObjectId| repository.tree_of(*commit);
        let mut held = Self {
            parents: parents.iter().take(1).copied().collect(),
            trees: Trees {
                result: Some(id(&view.tree)?),
                ..Trees::default()
            },
        };
        let Some((first, others)) = parents.split_first() else {
            return Ok(held);
        };
        held.trees.first = Some(tree_of(first)?);
        if others.len() >= MAX_PARENTS {
            return Err(DiffError::TooMuch {
                most: MAX_PARENTS,
                what: "parents",
            });
        }
        for other in others {
            let bases = repository.merge_bases(*first, *other)?;
            if bases.contains(other) {
                continue;
            }
            held.parents.push(*other);
            held.trees.sides.push(ParentTree {
                tree: tree_of(other)?,
                bases: bases.iter().map(tree_of).collect::<Result<_, _>>()?,
            });
        }
        Ok(held)
    }
}

/// Converts a verdict for the policy.
#[must_use]
pub fn signature(verdict: &Verdict) -> SignatureFacts {
    match verdict {
        Verdict::Verified(verified) | Verdict::UnexpectedIdentity { verified, .. } => {
            SignatureFacts::Good {
                identity: verified.identity.clone(),
                claims: verified.certificate.fulcio().clone(),
                signed_at: verified.time,
            }
        }
        Verdict::Unsigned(_) => SignatureFacts::Unsigned,
        Verdict::OtherFormat { format, .. } => SignatureFacts::Other(match format {
            SignatureFormat::OpenPgp => OtherKind::OpenPgp,
            SignatureFormat::Ssh => OtherKind::Ssh,
        }),
        Verdict::Refused(refusal) | Verdict::Undecided { refusal, .. } => SignatureFacts::Bad {
            code: refusal.code().to_owned(),
            message: refusal.to_string(),
        },
        Verdict::Unreadable { error, .. } => SignatureFacts::Bad {
            code: "object-unreadable".to_owned(),
            message: error.to_string(),
        },
    }
}

fn id(hex: &str) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|_| GitError::Missing { id: hex.to_owned() })
}

fn lost(error: impl std::fmt::Display) -> CommitSourceError {
    CommitSourceError {
        what: error.to_string(),
    }
}

impl CommitSource for GitHistory<'_, '_> {
    fn parents(&mut self, commit: &str) -> Result<Vec<String>, CommitSourceError> {
        let parents = self.graph.parents(id(commit).map_err(lost)?);
        Ok(parents
            .map_err(lost)?
            .iter()
            .map(ToString::to_string)
            .collect())
    }

    fn policy_id(&mut self, commit: &str) -> Result<Option<String>, CommitSourceError> {
        let commit = id(commit).map_err(lost)?;
        let names: Vec<&[u8]> = POLICY_PATH.split('/').map(str::as_bytes).collect();
        let found = self.repository.file_at(commit, &names).map_err(lost)?;
        Ok(found.map(|id| id.to_string()))
    }

    fn policy_text(&mut self, blob: &str) -> Result<Vec<u8>, CommitSourceError> {
        let blob = id(blob).map_err(lost)?;
        let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
        self.repository.objects().blob(blob, most).map_err(lost)
    }

    fn commit(&mut self, commit: &str) -> Result<CommitFacts, CommitSourceError> {
        let id = id(commit).map_err(lost)?;
        if let Some(facts) = self.known.get(&id) {
            return Ok(facts.clone());
        }
        let object = self.repository.objects().read(id).map_err(lost)?;
        let judged = self.engine.verify_object(object, self.repository.hash());
        let facts = commit_facts(&judged, self.repository).map_err(lost)?;
        self.insert_result(id, facts.clone());
        Ok(facts)
    }

    fn is_accepted(&mut self, commit: &str) -> bool {
        !self.accepted.is_empty()
            && id(commit).is_ok_and(|id| self.accepted.iter().any(|line| line.contains(&id)))
    }

    fn merged_commits(
        &mut self,
        commit: &str,
        most: usize,
    ) -> Result<Vec<String>, CommitSourceError> {
        let tip = id(commit).map_err(lost)?;
        let parents = self.graph.parents(tip).map_err(lost)?;
        let first = parents.get(..1).unwrap_or_default();
        let gained = self
            .graph
            .new_commits(&[tip], first, Traversal::Full)
            .map_err(lost)?;
        Ok(gained
            .commits
            .iter()
            .take(most)
            .map(ToString::to_string)
            .collect())
    }
}
