//! The commits of a repository as the policy sees them: each verified once, with the
//! paths that it changes and the policy in its tree, read only when they are needed.
//!
//! Signatures come first and read no tree. Trees are read if a rule with paths or
//! a policy asks for them, and merge bases if it matters what a merge changes itself.
//!
//! *Not decided here:* what is allowed (`policy/`) and whether a signature verifies
//! (`batch.rs`).

use std::{collections::HashMap, ops::ControlFlow, rc::Rc};

use gix::ObjectId;

use crate::batch::{self, BatchVerifier, ObjectHeaders, ObjectResult};
use crate::host::git::{
    GitError, Repository,
    changes::{DiffError, ParentTree, Trees},
    graph::{Accepted, Graph, GraphError, Traversal},
};
use crate::verdict::Verdict;
use gitseal_evidence::armor::SignatureFormat;
use gitseal_policy::{
    ChangedPath, CommitFacts, OtherKind, POLICY_FOLDER, SignatureResult,
    facts::is_policy_namesake,
    parse::MAX_POLICY,
    steps::{History, Look},
};

/// Maximum size of the cached commits, in bytes; others are verified again.
const MAX_KNOWN: usize = 256 * 1024 * 1024;
/// Number of objects from which on all cores verify them.
const FEW: usize = 8;

/// The commits of a repository.
pub struct RepositoryHistory<'a> {
    repository: &'a Repository,
    engine: &'a BatchVerifier<'a>,
    graph: Graph,
    known: HashMap<ObjectId, Known>,
    weight: usize,
    verified: usize,
}

/// A verified commit.
#[derive(Clone)]
struct Known {
    facts: Rc<CommitFacts<ObjectId>>,
    about: Rc<CommitTitle>,
}

/// What a report prints about a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitTitle {
    /// The first line of its message, unescaped.
    pub subject: String,
    /// The identity of its signer if the signature verifies, unescaped.
    pub signer: Option<String>,
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
    /// The trees of a commit cannot be compared.
    #[error("cannot compute the changes of commit {id}: {error}")]
    Changes { id: ObjectId, error: DiffError },
    /// The headers of a commit can be read in two ways.
    #[error("the headers of commit {id} are not those of a commit")]
    Headers { id: ObjectId },
}

impl<'a> RepositoryHistory<'a> {
    /// Creates an empty cache. The engine needs
    /// [`with_headers`](BatchVerifier::with_headers).
    #[must_use]
    pub fn new(repository: &'a Repository, engine: &'a BatchVerifier<'a>) -> Self {
        Self {
            repository,
            engine,
            graph: Graph::new(repository),
            known: HashMap::new(),
            weight: 0,
            verified: 0,
        }
    }

    /// Returns the commit graph.
    pub fn graph(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// Returns the number of commits that were verified.
    #[must_use]
    pub fn verified(&self) -> usize {
        self.verified
    }

    /// Returns what a report prints about a commit; empty for one that was not verified.
    #[must_use]
    pub fn title(&self, commit: ObjectId) -> CommitTitle {
        let known = self.known.get(&commit);
        known
            .map(|known| (*known.about).clone())
            .unwrap_or_default()
    }

    fn insert(&mut self, result: ObjectResult) -> Result<Known, HistoryError> {
        let id = result.id;
        if let Verdict::Unreadable { error, .. } = result.verdict {
            return Err(error.into());
        }
        let Some(ObjectHeaders::Commit(view)) = &result.headers else {
            return Err(HistoryError::Headers { id });
        };
        let parents = view
            .parents
            .iter()
            .map(|parent| ObjectId::from_hex(parent.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|_| HistoryError::Headers { id })?;
        let facts = Rc::new(CommitFacts {
            id,
            parents,
            signature: signature(&result.verdict),
            author: view.author.raw.clone(),
            committer: view.committer.raw.clone(),
            paths: Vec::new(),
        });
        let verified = result.verdict.verified();
        let about = Rc::new(CommitTitle {
            subject: subject(&view.message),
            signer: verified.map(|verified| verified.identity.san.value().to_owned()),
        });
        let known = Known { facts, about };
        self.verified = self.verified.saturating_add(1);
        self.weight = self.weight.saturating_add(known.facts.weight());
        self.known.insert(id, known.clone());
        Ok(known)
    }

    /// The trees to compare a commit with. `own`: with the merge bases of its other
    /// parents.
    ///
    /// A parent that the first one reaches brings nothing and is left out.
    fn trees(&mut self, commit: ObjectId, own: bool) -> Result<Trees, HistoryError> {
        let changes = |error: GitError| HistoryError::Changes {
            id: commit,
            error: error.into(),
        };
        let parents = self.graph.parents(commit)?;
        let tree_of = |commit: &ObjectId| self.repository.tree_of(*commit).map_err(changes);
        let mut trees = Trees {
            result: Some(tree_of(&commit)?),
            ..Trees::default()
        };
        let Some((first, others)) = parents.split_first() else {
            return Ok(trees);
        };
        trees.first = Some(tree_of(first)?);
        for other in others.iter().filter(|_| own) {
            let bases = self.graph.merge_bases(*first, *other)?;
            if bases.contains(other) {
                continue;
            }
            trees.sides.push(ParentTree {
                tree: tree_of(other)?,
                bases: bases.iter().map(tree_of).collect::<Result<_, _>>()?,
            });
        }
        Ok(trees)
    }
}

impl History for RepositoryHistory<'_> {
    type Id = ObjectId;
    type Error = HistoryError;

    fn commit(&mut self, hex: &str) -> Result<Option<ObjectId>, HistoryError> {
        let Ok(id) = ObjectId::from_hex(hex.as_bytes()) else {
            return Ok(None);
        };
        match self.graph.parents(id) {
            Ok(_) => Ok(Some(id)),
            Err(GraphError::Git(GitError::Missing { .. } | GitError::Kind { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn parents(&mut self, commit: ObjectId) -> Result<Vec<ObjectId>, HistoryError> {
        Ok(self.graph.parents(commit)?)
    }

    fn line_base(
        &mut self,
        new: ObjectId,
        lines: &[ObjectId],
        behind: &[ObjectId],
        look: Look,
    ) -> Result<Option<ObjectId>, HistoryError> {
        let accepted = Accepted {
            lines,
            histories: behind,
        };
        Ok(self.graph.line_base(new, accepted, traversal(look))?)
    }

    fn gains(
        &mut self,
        tips: &[ObjectId],
        hidden: &[ObjectId],
        look: Look,
    ) -> Result<Vec<ObjectId>, HistoryError> {
        Ok(self.graph.new_commits(tips, hidden, traversal(look))?)
    }

    fn on_lines(
        &mut self,
        commits: &[ObjectId],
        lines: &[ObjectId],
        look: Look,
    ) -> Result<Vec<ObjectId>, HistoryError> {
        Ok(self.graph.on_lines(commits, lines, traversal(look))?)
    }

    fn is_new(&mut self, commit: ObjectId) -> bool {
        self.repository.is_only_in_quarantine(commit)
    }

    fn reaches(
        &mut self,
        descendant: ObjectId,
        ancestor: ObjectId,
        look: Look,
    ) -> Result<bool, HistoryError> {
        // "Yes" by time is certain; "no" is not.
        let mut looks = vec![Look::ByTime];
        looks.extend((look == Look::Full).then_some(Look::Full));
        for look in looks {
            if self.gains(&[ancestor], &[descendant], look)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn verify(&mut self, commits: &[ObjectId]) -> Result<(), HistoryError> {
        let ids: Vec<ObjectId> = commits
            .iter()
            .copied()
            .filter(|id| !self.known.contains_key(id))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        if self.weight > MAX_KNOWN {
            self.known.clear();
            self.weight = 0;
        }
        let jobs = if ids.len() < FEW {
            1
        } else {
            batch::default_jobs()
        };
        let (repository, engine) = (self.repository, self.engine);
        let mut result = Ok(());
        batch::verify_all(ids, repository, engine, jobs, &mut |verified| {
            result = repository
                .objects()
                .check_time()
                .map_err(HistoryError::from)
                .and_then(|()| self.insert(verified).map(drop));
            match result {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        result
    }

    fn facts(&mut self, commit: ObjectId) -> Result<Rc<CommitFacts<ObjectId>>, HistoryError> {
        if let Some(known) = self.known.get(&commit) {
            return Ok(Rc::clone(&known.facts));
        }
        let object = self.repository.objects().read(commit)?;
        let verified = self.engine.verify_object(object, self.repository.hash());
        Ok(self.insert(verified)?.facts)
    }

    fn paths(&mut self, commit: ObjectId, own: bool) -> Result<Vec<ChangedPath>, HistoryError> {
        let trees = self.trees(commit, own)?;
        let changed = self.repository.changes(&trees);
        let changed = changed.map_err(|error| HistoryError::Changes { id: commit, error })?;
        Ok(changed
            .into_iter()
            .map(|one| ChangedPath {
                path: one.path.into(),
                changed: one.own,
                link: one.link,
            })
            .collect())
    }

    fn policy_tree(&mut self, commit: ObjectId) -> Result<Option<ObjectId>, HistoryError> {
        let failed = |error| HistoryError::Changes { id: commit, error };
        let tree = self.repository.tree_of(commit)?;
        self.repository
            .directory_in(tree, POLICY_FOLDER.as_bytes())
            .map_err(failed)
    }

    fn policy_namesake(&mut self, commit: ObjectId) -> Result<Option<String>, HistoryError> {
        let failed = |error| HistoryError::Changes { id: commit, error };
        let tree = self.repository.tree_of(commit)?;
        let found = self.repository.name_in(tree, is_policy_namesake);
        let name = found.map_err(failed)?;
        Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    fn policy_file(&mut self, tree: ObjectId, name: &str) -> Result<Option<Vec<u8>>, HistoryError> {
        let failed = |error| HistoryError::Changes { id: tree, error };
        let file = self.repository.file_in(tree, name.as_bytes());
        let Some(blob) = file.map_err(failed)? else {
            return Ok(None);
        };
        let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX);
        match self.repository.objects().blob(blob, most) {
            Ok(bytes) => Ok(Some(bytes)),
            // The parser refuses it for its size alone.
            Err(GitError::TooLarge { .. }) => Ok(Some(vec![b' '; MAX_POLICY.saturating_add(1)])),
            Err(error) => Err(error.into()),
        }
    }
}

fn traversal(look: Look) -> Traversal {
    match look {
        Look::ByTime => Traversal::DateLimited,
        Look::Full => Traversal::Full,
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

/// Returns the first line of a commit's message.
fn subject(message: &[u8]) -> String {
    let mut lines = message.split(|&byte| byte == b'\n');
    let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    String::from_utf8_lossy(line.get(..200).unwrap_or(line)).into_owned()
}
