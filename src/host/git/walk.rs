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
    refs::RefValue,
    resolve::{Among, MisnamedTag, ResolvedName},
    variable,
};

/// Maximum size of the commits that wait, in bytes; others are read again.
const MAX_WAITING: usize = 32 * 1024 * 1024;

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
}

/// The refs that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefScope {
    /// All refs under their own names, as `git rev-parse` and `git log --all` see them.
    Repository,
    /// Those of `GIT_NAMESPACE`, under the names that a push uses.
    Received,
}

impl RefScope {
    fn prefix(self) -> Result<BString, GitError> {
        match self {
            Self::Repository => Ok(BString::default()),
            Self::Received => namespace(),
        }
    }
}

/// A selection of commits, resolved to IDs once.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Commits to start from.
    pub from: Vec<ObjectId>,
    /// Commits to exclude, with all that they reach.
    pub not: Vec<ObjectId>,
    /// Named tag objects, which are checked as such.
    pub tags: Vec<ObjectId>,
    /// What each name resolved to.
    pub resolved: Vec<ResolvedName>,
    /// Tag objects that were reached through a ref of another name.
    pub misnamed: Vec<MisnamedTag>,
    /// Whether a range or an exclusion was given, so that ancestors are selected too.
    pub is_range: bool,
    /// Broken refs, and the reason.
    pub broken: Vec<(String, String)>,
}

impl Selection {
    /// Returns whether nothing is selected to start from.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.is_empty() && self.tags.is_empty() && self.broken.is_empty()
    }
}

impl Repository {
    /// Resolves the parts of a selection.
    ///
    /// # Errors
    /// A name that means nothing, or `A...B`.
    pub fn select(&self, specs: &[RangeSpec]) -> Result<Selection, GitError> {
        let mut selection = Selection::default();
        for spec in specs {
            match spec {
                RangeSpec::Revision(text) => self.select_text(text, &mut selection)?,
                RangeSpec::All => {
                    selection.is_range = true;
                    for tip in self.reference_tips(RefScope::Repository)? {
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

    fn select_text(&self, text: &str, selection: &mut Selection) -> Result<(), GitError> {
        let refuse = |why: &str| GitError::Revision {
            revision: text.to_owned(),
            why: why.to_owned(),
        };
        if text.starts_with('-') {
            return Err(refuse("it starts with a dash"));
        }
        if let Some((from, to)) = split_range(text)? {
            selection.is_range = true;
            let from = self.select_commit(from, selection)?;
            selection.not.push(from);
            return self.select_tip(text, to, selection);
        }
        if let Some(name) = text.strip_prefix('^') {
            selection.is_range = true;
            let id = self.select_commit(name, selection)?;
            selection.not.push(id);
            return Ok(());
        }
        for (suffix, itself) in [("^!", true), ("^@", false)] {
            if let Some(name) = text.strip_suffix(suffix) {
                selection.is_range = true;
                let id = self.select_commit(name, selection)?;
                let commit = self.objects.read(id)?;
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
        self.select_tip(text, text, selection)
    }

    /// Resolves a name to a commit, and records what it resolved to.
    fn select_commit(&self, name: &str, selection: &mut Selection) -> Result<ObjectId, GitError> {
        let (id, resolved) = self.resolve_commit(name)?;
        self.record(resolved, selection)?;
        Ok(id)
    }

    fn record(&self, resolved: ResolvedName, selection: &mut Selection) -> Result<(), GitError> {
        selection.misnamed.extend(self.misnamed_tag(&resolved)?);
        selection.resolved.push(resolved);
        Ok(())
    }

    /// Adds the commit `name` of `text` to start from; tag objects on the way are added
    /// as named.
    fn select_tip(
        &self,
        text: &str,
        name: &str,
        selection: &mut Selection,
    ) -> Result<(), GitError> {
        let resolved = self.resolve(name, Among::Commits)?;
        let id = resolved.id;
        let is_plain_id = text == name && resolved.equation().is_none();
        // A missing object is reported when it is visited.
        let peeled = match self.objects.peel(id) {
            Err(GitError::Missing { .. }) => Peeled {
                tags: Vec::new(),
                target: Target::Commit(id),
            },
            other => other?,
        };
        // A list of a million IDs is not repeated in the report.
        if !is_plain_id {
            self.record(resolved, selection)?;
        }
        selection.tags.extend(peeled.tags);
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

    /// Returns the full name of the branch that `HEAD` names, which need not exist;
    /// `None` if it names a commit, or no branch.
    ///
    /// # Errors
    /// Returns [`GitError`] if `HEAD` cannot be read.
    pub fn head_name(&self, scope: RefScope) -> Result<Option<BString>, GitError> {
        let mut prefix = scope.prefix()?;
        let head = BString::from([prefix.as_slice(), b"HEAD"].concat());
        let mut head = self.find_ref(head.as_bstr())?;
        if head.is_none() && !prefix.is_empty() {
            // A namespace without one: the name that the repository's HEAD has.
            prefix.clear();
            head = self.find_ref(b"HEAD".as_bstr())?;
        }
        let Some(RefValue::Symbolic(name)) = head else {
            return Ok(None);
        };
        let name = name.strip_prefix(prefix.as_slice());
        let name = name.filter(|name| name.starts_with(b"refs/heads/"));
        Ok(name.map(BString::from))
    }

    /// Returns every ref in the order of names, and the object that it names; `None` for
    /// a symbolic one, which is the ref that it points to. No object is read: a server
    /// can have 100,000 refs, and a push is about few.
    ///
    /// # Errors
    /// Returns [`GitError`] if they cannot be listed.
    pub fn ref_values(
        &self,
        scope: RefScope,
    ) -> Result<Vec<(BString, Option<ObjectId>)>, GitError> {
        let prefix = scope.prefix()?;
        let all = self.all_refs()?.into_iter();
        let values = all.filter_map(|(full, value)| {
            let name = full.strip_prefix(prefix.as_slice())?.into();
            Some(match value {
                RefValue::Object(id) => (name, Some(id)),
                RefValue::Symbolic(_) => (name, None),
            })
        });
        Ok(values.collect())
    }

    /// Returns the target of a symbolic ref, through others if need be: the name that a
    /// write to it goes to. `None`: an ordinary ref, or a missing one.
    ///
    /// # Errors
    /// It cannot be read, leads round in a circle, or out of the namespace.
    pub fn symbolic_target(
        &self,
        name: &BStr,
        scope: RefScope,
    ) -> Result<Option<BString>, GitError> {
        let prefix = scope.prefix()?;
        let full = BString::from([prefix.as_slice(), name.as_bytes()].concat());
        let Some(value @ RefValue::Symbolic(_)) = self.find_ref(full.as_bstr())? else {
            return Ok(None);
        };
        let followed = self.follow_ref(full.as_bstr(), value)?;
        let Some(target) = followed.names.last() else {
            return Ok(None);
        };
        match target.strip_prefix(prefix.as_slice()) {
            Some(target) => Ok(Some(target.into())),
            None => Err(GitError::References {
                why: format!("{full} leads out of its namespace, to {target}"),
            }),
        }
    }

    /// Returns every ref, sorted by name, and a detached `HEAD`.
    ///
    /// # Errors
    /// The references cannot be listed.
    pub fn reference_tips(&self, scope: RefScope) -> Result<Vec<RefTip>, GitError> {
        let prefix = scope.prefix()?;
        let mut all = self.all_refs()?;
        let head = [prefix.as_slice(), b"HEAD"].concat();
        if let Some(value @ RefValue::Object(_)) = self.find_ref(head.as_bstr())? {
            all.push((head.into(), value));
        }
        let mut tips = Vec::new();
        let mut known: HashMap<ObjectId, Peeled> = HashMap::new();
        for (full, value) in all {
            let Some(name) = full.strip_prefix(prefix.as_slice()) else {
                continue;
            };
            let is_symbolic = matches!(value, RefValue::Symbolic(_));
            let id = match self.follow_ref(full.as_bstr(), value) {
                Ok(followed) => followed.id.ok_or_else(|| {
                    let names = followed.names.iter().map(|name| name.to_str_lossy());
                    let names: Vec<_> = names.collect();
                    format!("{}, which does not exist", names.join(" leads to "))
                }),
                Err(error) => Err(error.to_string()),
            };
            let peeled = id.and_then(|id| {
                if let Some(peeled) = known.get(&id) {
                    return Ok(peeled.clone());
                }
                let peeled = self.objects.peel(id).map_err(|error| error.to_string())?;
                known.insert(id, peeled.clone());
                Ok(peeled)
            });
            tips.push(RefTip {
                name: name.to_vec(),
                is_symbolic,
                peeled,
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
        let refs = self.all_refs()?;
        let replacements = refs
            .iter()
            .filter(|(name, _)| name.starts_with(b"refs/replace/"))
            .count();
        let grafts = self.inner.common_dir().join("info").join("grafts");
        let grafts = std::env::var_os("GIT_GRAFT_FILE").map_or(grafts, Into::into);
        Ok(HistoryOverrides {
            replacements,
            grafts: std::fs::metadata(grafts).is_ok_and(|file| file.len() > 0),
            shallow: !self.shallow()?.is_empty(),
        })
    }

    pub(super) fn shallow(&self) -> Result<HashSet<ObjectId>, GitError> {
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

/// Splits `A..B`; an end that is not named is HEAD.
///
/// # Errors
/// Returns [`GitError::Revision`] for `A...B`, and for `..`, which Git reads as a path.
pub fn split_range(text: &str) -> Result<Option<(&str, &str)>, GitError> {
    let Some((from, to)) = text.split_once("..") else {
        return Ok(None);
    };
    let refuse = |why: &str| GitError::Revision {
        revision: text.to_owned(),
        why: why.to_owned(),
    };
    match (from, to) {
        (_, to) if to.starts_with('.') => {
            Err(refuse("A...B is not supported; write A..B, or B ^A"))
        }
        ("", "") => Err(refuse("it has no end; write HEAD..HEAD")),
        (from, to) => Ok(Some((or_head(from), or_head(to)))),
    }
}

/// Returns the prefix of the refs that belong to `GIT_NAMESPACE`, which a push is
/// received into (gitnamespaces(7)). Empty without one.
fn namespace() -> Result<BString, GitError> {
    let Some(name) = variable("GIT_NAMESPACE") else {
        return Ok(BString::default());
    };
    let unusable = |why: String| GitError::References {
        why: format!("GIT_NAMESPACE: {why}"),
    };
    let name = gix::path::into_bstr(std::path::PathBuf::from(name))
        .map_err(|error| unusable(words(&error)))?;
    let namespace = gix::refs::namespace::expand(name.as_bstr())
        .map_err(|error| unusable(error.to_string()))?;
    Ok(namespace.as_bstr().to_owned())
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
