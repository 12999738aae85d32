//! Revisions and ranges: resolves `A..B`, `^A` and `--all`, and walks their commits.
//! No commit-graph, replacement refs or grafts: parents are those in the bytes of a
//! commit, and a shallow boundary counts only where the parents are missing.
//!
//! The order is Git's default: the youngest committer date first, and among equals
//! the first that was met.
//!
//! *Not checked here:* signatures (`evidence/verify.rs`). Bytes of a
//! [`WalkedCommit`] have not been hashed yet; `UncheckedObject::verify_hash` does
//! that, in any thread.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
};

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice as _},
};

use super::{
    Repository,
    error::{GitError, words},
    graph::{CommitHeaders, Graph},
    objects::{Objects, Peeled, Target, UncheckedObject},
};

/// Maximum size of the commits that wait, in bytes; others are read again.
const MAX_WAITING: usize = 32 * 1024 * 1024;
/// Maximum chain of symbolic refs. Git's own limit is 5.
const MAX_SYMBOLIC: usize = 8;

/// A ref and its target.
#[derive(Debug, Clone)]
pub struct RefTip {
    pub name: Vec<u8>,
    pub is_symbolic: bool,
    /// The target, with tags followed.
    pub peeled: Result<Peeled, String>,
}

/// A part of the selection of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeSpec {
    /// `REV`, `^REV`, `A..B`, `REV^!` or `REV^@`.
    Revision(String),
    /// Every ref, and `HEAD`.
    All,
    From(ObjectId),
    /// Excludes what this commit or tag reaches. A missing one excludes nothing.
    Not(ObjectId),
}

/// A selection of commits, resolved to IDs once.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Commits to start from.
    pub from: Vec<ObjectId>,
    /// Commits to exclude, with all that they reach.
    pub not: Vec<ObjectId>,
    /// Named tag objects, which are checked as such.
    pub tags: Vec<(String, ObjectId)>,
    /// Whether a range or an exclusion was given, so that ancestors are selected too.
    pub is_range: bool,
    /// Broken refs, and the reason.
    pub broken: Vec<(String, String)>,
}

impl Repository {
    /// Resolves the parts of a selection.
    ///
    /// # Errors
    /// A name that means nothing, or `A...B`.
    pub fn select(&self, specs: &[RangeSpec]) -> Result<Selection, GitError> {
        let objects = &self.objects;
        let mut selection = Selection::default();
        for spec in specs {
            match spec {
                RangeSpec::Revision(text) => self.select_text(objects, text, &mut selection)?,
                RangeSpec::From(id) => selection.from.extend(commit_behind(objects, *id)?),
                RangeSpec::Not(id) => {
                    selection.is_range = true;
                    if let Ok(id) = commit_behind(objects, *id) {
                        selection.not.extend(id);
                    }
                }
                RangeSpec::All => {
                    selection.is_range = true;
                    for tip in self.reference_tips()? {
                        match tip.peeled {
                            Ok(Peeled {
                                target: Target::Commit(id),
                                ..
                            }) => selection.from.push(id),
                            Ok(_) => {}
                            Err(why) => selection
                                .broken
                                .push((tip.name.to_str_lossy().into_owned(), why)),
                        }
                    }
                }
            }
        }
        Ok(selection)
    }

    fn select_text(
        &self,
        objects: &Objects,
        text: &str,
        selection: &mut Selection,
    ) -> Result<(), GitError> {
        let refuse = |why: &str| GitError::Revision {
            revision: text.to_owned(),
            why: why.to_owned(),
        };
        if text.starts_with('-') {
            return Err(refuse("it starts with a dash"));
        }
        if let Some((from, to)) = text.split_once("..") {
            if to.starts_with('.') {
                return Err(refuse("A...B is not supported; write A..B, or B ^A"));
            }
            selection.is_range = true;
            let from = self.commit_id(or_head(from))?;
            selection.not.push(from);
            return self.select_tip(objects, or_head(to), selection);
        }
        if let Some(name) = text.strip_prefix('^') {
            selection.is_range = true;
            let id = self.commit_id(name)?;
            selection.not.push(id);
            return Ok(());
        }
        for (suffix, itself) in [("^!", true), ("^@", false)] {
            if let Some(name) = text.strip_suffix(suffix) {
                selection.is_range = true;
                let id = self.commit_id(name)?;
                let commit = objects.read(id)?;
                let parents = CommitHeaders::parse(&commit.raw, self.objects.format).parents;
                if itself {
                    selection.from.push(id);
                    selection.not.extend(parents);
                } else {
                    selection.from.extend(parents);
                }
                return Ok(());
            }
        }
        self.select_tip(objects, text, selection)
    }

    /// Adds a commit to start from; tag objects on the way are added as named.
    fn select_tip(
        &self,
        objects: &Objects,
        name: &str,
        selection: &mut Selection,
    ) -> Result<(), GitError> {
        let id = match self.reference(&format!("refs/tags/{name}"))? {
            Some(id) => id,
            None => self.resolve(name)?,
        };
        // What is absent is found out, and told, when it is visited.
        let peeled = match objects.peel(id) {
            Err(GitError::Missing { .. }) => Peeled {
                tags: Vec::new(),
                target: Target::Commit(id),
            },
            other => other?,
        };
        selection
            .tags
            .extend(peeled.tags.iter().map(|tag| (name.to_owned(), *tag)));
        match peeled.target {
            Target::Commit(id) => selection.from.push(id),
            Target::Other(found) => {
                return Err(GitError::Kind {
                    name: name.to_owned(),
                    found,
                    wanted: "commit",
                });
            }
        }
        Ok(())
    }

    /// Returns the branch that HEAD names, and its commit; `None` if HEAD names none, or
    /// one that does not exist yet.
    #[must_use]
    pub fn head_branch(&self) -> Option<(Vec<u8>, ObjectId)> {
        let name = self.inner.head_name().ok()??;
        let id = self.inner.head_id().ok()?.detach();
        self.tree_of(id)
            .is_ok()
            .then(|| (name.as_bstr().to_vec(), id))
    }

    /// Returns the target of a symbolic ref, through others if need be: the name that a
    /// write to it goes to. `None`: an ordinary ref, or a missing one.
    ///
    /// # Errors
    /// It cannot be read, or leads round in a circle.
    pub fn symbolic_target(&self, name: &BStr) -> Result<Option<BString>, GitError> {
        let failed = |why: String| GitError::References { why };
        let mut target = None;
        let mut at = name.to_owned();
        for _ in 0..MAX_SYMBOLIC {
            let found = self
                .inner
                .try_find_reference(at.as_bstr())
                .map_err(|error| failed(words(&error)))?;
            let next = found.and_then(|reference| match reference.target() {
                gix::refs::TargetRef::Symbolic(name) => Some(name.as_bstr().to_owned()),
                gix::refs::TargetRef::Object(_) => None,
            });
            match next {
                None => return Ok(target),
                Some(next) => {
                    at.clone_from(&next);
                    target = Some(next);
                }
            }
        }
        Err(failed(format!("{name} leads to too many other names")))
    }

    /// Returns every ref, sorted by name, and a detached `HEAD`.
    ///
    /// # Errors
    /// The references cannot be listed.
    pub fn reference_tips(&self) -> Result<Vec<RefTip>, GitError> {
        let unlisted = |error: gix::Error| GitError::References { why: words(&error) };
        let objects = &self.objects;
        let platform = self.inner.references().map_err(unlisted)?;
        let mut tips = Vec::new();
        let mut known: HashMap<ObjectId, Peeled> = HashMap::new();
        let mut peel = |id: ObjectId| -> Result<Peeled, String> {
            if let Some(peeled) = known.get(&id) {
                return Ok(peeled.clone());
            }
            let peeled = objects.peel(id).map_err(|error| error.to_string())?;
            known.insert(id, peeled.clone());
            Ok(peeled)
        };
        for reference in platform.all().map_err(unlisted)? {
            let mut reference = reference.map_err(|error| GitError::References {
                why: error.to_string(),
            })?;
            let name = reference.name().as_bstr().to_vec();
            let is_symbolic = reference.try_id().is_none();
            let id = match reference.try_id() {
                Some(id) => Ok(id.detach()),
                None => reference
                    .follow_to_object()
                    .map(gix::Id::detach)
                    .map_err(|error| words(&error)),
            };
            tips.push(RefTip {
                name,
                is_symbolic,
                peeled: id.and_then(&mut peel),
            });
        }
        let mut head = self.inner.head().map_err(unlisted)?;
        if head.is_detached()
            && let Some(id) = head.try_peel_to_id().map_err(unlisted)?
        {
            tips.push(RefTip {
                name: b"HEAD".to_vec(),
                is_symbolic: false,
                peeled: peel(id.detach()),
            });
        }
        tips.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tips)
    }

    /// Returns the repository's replacement refs, grafts and shallow boundary.
    ///
    /// # Errors
    /// The references cannot be listed.
    pub fn history_overrides(&self) -> Result<HistoryOverrides, GitError> {
        let unlisted = |error: gix::Error| GitError::References { why: words(&error) };
        let platform = self.inner.references().map_err(unlisted)?;
        let replacements = platform
            .prefixed(b"refs/replace/".as_bstr())
            .map_err(unlisted)?
            .count();
        let grafts = self.inner.common_dir().join("info").join("grafts");
        let grafts = std::env::var_os("GIT_GRAFT_FILE").map_or(grafts, Into::into);
        Ok(HistoryOverrides {
            replacements,
            grafts: std::fs::metadata(grafts).is_ok_and(|file| file.len() > 0),
            shallow: !self.shallow()?.is_empty(),
        })
    }

    fn shallow(&self) -> Result<HashSet<ObjectId>, GitError> {
        let commits = self
            .inner
            .shallow_commits()
            .map_err(|error| GitError::Unreadable {
                id: "shallow".to_owned(),
                why: words(&error),
            })?;
        Ok(commits
            .map(|commits| commits.iter().copied().collect())
            .unwrap_or_default())
    }

    /// Walks the commits of a selection.
    ///
    /// # Errors
    /// The list of shallow commits cannot be read.
    pub fn walk(&self, selection: &Selection) -> Result<RevWalk, GitError> {
        RevWalk::new(&self.objects, selection, self.shallow()?)
    }

    /// Walks the commits of `specs`, ancestors included.
    ///
    /// # Errors
    /// As [`select`](Self::select) and [`walk`](Self::walk).
    pub fn revisions(&self, specs: &[RangeSpec]) -> Result<RevWalk, GitError> {
        self.walk(&self.select(specs)?)
    }
}

fn or_head(name: &str) -> &str {
    if name.is_empty() { "HEAD" } else { name }
}

fn commit_behind(objects: &Objects, id: ObjectId) -> Result<Option<ObjectId>, GitError> {
    Ok(match objects.peel(id)?.target {
        Target::Commit(id) => Some(id),
        Target::Other(_) => None,
    })
}

/// Returns the repository's replacement refs, grafts and shallow boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryOverrides {
    /// Number of refs under `refs/replace/`.
    pub replacements: usize,
    pub grafts: bool,
    pub shallow: bool,
}

/// A commit of a walk.
#[derive(Debug, Clone)]
pub struct WalkedCommit {
    pub id: ObjectId,
    /// Its bytes, if the walk has them.
    pub bytes: Option<UncheckedObject>,
}

/// A commit that a walk could not read.
#[derive(Debug)]
pub struct MissingCommit {
    pub id: ObjectId,
    pub error: GitError,
    /// The commit of a shallow boundary whose parent it is.
    pub boundary: Option<ObjectId>,
}

/// The commits of a range. With nothing to exclude they come as they are met;
/// else the whole list of ids is put together first.
pub struct RevWalk {
    objects: Objects,
    shallow: HashSet<ObjectId>,
    /// Without exclusions: the commits that were met.
    met: HashSet<ObjectId>,
    /// Commits to visit, the youngest last; among equals the first that was met.
    waiting: BTreeMap<(i64, Reverse<u64>), Waiting>,
    bytes: usize,
    counter: u64,
    failed: VecDeque<MissingCommit>,
    listed: Option<std::vec::IntoIter<ObjectId>>,
}

struct Waiting {
    id: ObjectId,
    bytes: Option<UncheckedObject>,
    parents: Vec<ObjectId>,
}

impl RevWalk {
    fn new(
        objects: &Objects,
        selection: &Selection,
        shallow: HashSet<ObjectId>,
    ) -> Result<Self, GitError> {
        let mut walk = Self {
            objects: objects.clone(),
            shallow,
            met: HashSet::new(),
            waiting: BTreeMap::new(),
            bytes: 0,
            counter: 0,
            failed: VecDeque::new(),
            listed: None,
        };
        if selection.not.is_empty() {
            for id in &selection.from {
                walk.meet(*id, None);
            }
        } else {
            let found = Graph::of_range(objects).listed(&selection.from, &selection.not)?;
            for failure in found.failures {
                walk.fail(failure.id, failure.error, failure.child);
            }
            walk.listed = Some(found.commits.into_iter());
        }
        Ok(walk)
    }

    /// Puts a commit into the queue, unless it was met before.
    fn meet(&mut self, id: ObjectId, child: Option<ObjectId>) {
        if !self.met.insert(id) {
            return;
        }
        let loaded = self.objects.unchecked(id).and_then(|object| {
            let headers = CommitHeaders::read(&object, &self.objects)?;
            Ok((object, headers))
        });
        let (object, headers) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return self.fail(id, error, child),
        };
        let bytes = self.bytes.saturating_add(object.size());
        let is_kept = bytes <= MAX_WAITING;
        if is_kept {
            self.bytes = bytes;
        }
        let waiting = Waiting {
            id,
            bytes: is_kept.then_some(object),
            parents: headers.parents,
        };
        self.waiting
            .insert((headers.time, Reverse(self.counter)), waiting);
        self.counter = self.counter.saturating_add(1);
    }

    fn fail(&mut self, id: ObjectId, error: GitError, child: Option<ObjectId>) {
        let is_missing = matches!(error, GitError::Missing { .. });
        self.failed.push_back(MissingCommit {
            id,
            boundary: child.filter(|child| is_missing && self.shallow.contains(child)),
            error,
        });
    }
}

impl Iterator for RevWalk {
    type Item = Result<WalkedCommit, Box<MissingCommit>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(failed) = self.failed.pop_front() {
            return Some(Err(Box::new(failed)));
        }
        if let Some(listed) = &mut self.listed {
            return listed.next().map(|id| Ok(WalkedCommit { id, bytes: None }));
        }
        let (_, next) = self.waiting.pop_last()?;
        if let Some(bytes) = &next.bytes {
            self.bytes = self.bytes.saturating_sub(bytes.size());
        }
        for parent in next.parents {
            self.meet(parent, Some(next.id));
        }
        Some(Ok(WalkedCommit {
            id: next.id,
            bytes: next.bytes,
        }))
    }
}
