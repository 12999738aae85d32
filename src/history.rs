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
    graph::{Graph, GraphError, Traversal},
};
use crate::verdict::Verdict;
use gitseal_evidence::armor::SignatureFormat;
use gitseal_evidence::object::ParsedCommit;
use gitseal_policy::{
    ChangedPath, CommitFacts, OtherKind, POLICY_PATH, SignatureResult, parse::MAX_POLICY,
    walk::CommitSource,
};

/// Commits of a repository, each verified once.
pub struct GitHistory<'a, 'r> {
    repository: &'r Repository,
    engine: &'a BatchVerifier<'a>,
    graph: &'a mut Graph,
    known: HashMap<ObjectId, CommitFacts<ObjectId>>,
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
    pub fn insert_result(&mut self, id: ObjectId, facts: CommitFacts<ObjectId>) {
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
    pub fn verify_commits(&mut self, ids: &[ObjectId]) -> Result<(), HistoryError> {
        let jobs = batch::default_jobs();
        let (repository, engine) = (self.repository, self.engine);
        let mut next = ids.iter();
        let mut result = Ok(());
        batch::verify_all(ids.to_vec(), repository, engine, jobs, &mut |judged| {
            let facts = match judged.verdict {
                Verdict::Unreadable { error, .. } => Err(error.into()),
                _ => commit_facts(&judged, repository).map_err(HistoryError::from),
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

/// Errors while reading the commits that a policy is evaluated on.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// An object cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The commit graph cannot be walked.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A commit or its changes cannot be read.
    #[error(transparent)]
    Commit(#[from] CommitReadError),
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
) -> Result<CommitFacts<ObjectId>, CommitReadError> {
    let Some(ObjectHeaders::Commit(view)) = &judged.headers else {
        return Err(CommitReadError::Headers);
    };
    let held = Held::of(view, repository)?;
    let changed = repository.changes(&held.trees)?;
    Ok(CommitFacts {
        id: judged.id,
        parents: held.parents,
        signature: signature(&judged.verdict),
        author: view.author.raw.clone(),
        committer: view.committer.raw.clone(),
        paths: changed
            .into_iter()
            .map(|one| ChangedPath {
                path: one.path.into(),
                changed: one.own,
                link: one.link,
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
            let bases = Graph::new(repository)
                .merge_bases(*first, *other)
                .map_err(|error| match error {
                    GraphError::Git(error) => error,
                    other => GitError::Unreadable {
                        id: first.to_string(),
                        why: other.to_string(),
                    },
                })?;
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
pub fn signature(verdict: &Verdict) -> SignatureResult {
    match verdict {
        Verdict::Verified(verified) | Verdict::UnexpectedIdentity { verified, .. } => {
            SignatureResult::Good {
                identity: verified.identity.clone(),
                claims: verified.certificate.fulcio().clone(),
                signed_at: verified.time,
            }
        }
        Verdict::Unsigned(_) => SignatureResult::Unsigned,
        Verdict::OtherFormat { format, .. } => SignatureResult::Other(match format {
            SignatureFormat::OpenPgp => OtherKind::OpenPgp,
            SignatureFormat::Ssh => OtherKind::Ssh,
        }),
        Verdict::Refused(refusal) | Verdict::Undecided { refusal, .. } => SignatureResult::Bad {
            code: refusal.code().to_owned(),
            message: refusal.to_string(),
        },
        Verdict::Unreadable { error, .. } => SignatureResult::Bad {
            code: "object-unreadable".to_owned(),
            message: error.to_string(),
        },
    }
}

fn id(hex: &str) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|_| GitError::Missing { id: hex.to_owned() })
}

impl CommitSource for GitHistory<'_, '_> {
    type Id = ObjectId;
    type Error = HistoryError;

    fn parents(&mut self, commit: &ObjectId) -> Result<Vec<ObjectId>, HistoryError> {
        Ok(self.graph.parents(*commit)?.to_vec())
    }

    fn policy_id(&mut self, commit: &ObjectId) -> Result<Option<ObjectId>, HistoryError> {
        let names: Vec<&[u8]> = POLICY_PATH.split('/').map(str::as_bytes).collect();
        let found = self.repository.file_at(*commit, &names);
        Ok(found.map_err(CommitReadError::from)?)
    }

    fn policy_text(&mut self, blob: &ObjectId) -> Result<Vec<u8>, HistoryError> {
        let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
        Ok(self.repository.objects().blob(*blob, most)?)
    }

    fn commit(&mut self, commit: &ObjectId) -> Result<CommitFacts<ObjectId>, HistoryError> {
        if let Some(facts) = self.known.get(commit) {
            return Ok(facts.clone());
        }
        let object = self.repository.objects().read(*commit)?;
        let judged = self.engine.verify_object(object, self.repository.hash());
        let facts = commit_facts(&judged, self.repository)?;
        self.insert_result(*commit, facts.clone());
        Ok(facts)
    }

    fn is_accepted(&mut self, commit: &ObjectId) -> bool {
        self.accepted.iter().any(|line| line.contains(commit))
    }

    fn merged_commits(
        &mut self,
        commit: &ObjectId,
        most: usize,
    ) -> Result<Vec<ObjectId>, HistoryError> {
        let parents = self.graph.parents(*commit)?;
        let first = parents.get(..1).unwrap_or_default();
        let gained = self.graph.new_commits(&[*commit], first, Traversal::Full)?;
        Ok(gained.commits.iter().copied().take(most).collect())
    }
}
