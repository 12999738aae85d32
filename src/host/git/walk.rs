//! Which commits: what a person means by `A..B`, `^A`, `--all`, and the walk over
//! them. No commit-graph, no replacements, no grafts: parents are what the bytes
//! of a commit say, and a shallow boundary counts only where the parents are
//! really absent.
//!
//! The order is git's default one: the youngest committer date first, and among
//! equals the one that was met first. Ids that were met are kept, nothing else.
//!
//! *Not checked here:* signatures (`evidence/verify.rs`). Bytes that come with a
//! [`WalkedCommit`] have not been hashed yet; [`UncheckedObject::verify_hash`] does that, in
//! whichever thread.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use gix::prelude::HeaderExt as _;
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice as _},
    prelude::FindExt as _,
};

use super::{GitError, MAX_TAG_DEPTH, Object, Repository, words};
use gitseal_evidence::object::{HashKind, MAX_OBJECT, ObjectKind};

/// The most parents of one commit that are followed.
pub const MAX_WALKED_PARENTS: usize = 100_000;
/// The most bytes of commits that wait to be visited; others are read again.
const MAX_WAITING: usize = 32 * 1024 * 1024;
/// By how much dates may run backwards for the end of a limited walk to be found
/// at once, in seconds.
const DATE_SLACK: i64 = 86_400;
/// How many excluded commits a limited walk looks at after the last included one.
const EXCLUDED_SLACK: usize = 64;
/// How many symbolic references may lead to one another. git's own limit is 5.
const MAX_SYMBOLIC: usize = 8;

/// Objects of a repository, for one thread. Clones share what is mapped.
#[derive(Clone)]
pub struct Objects {
    odb: gix::OdbHandle,
    kind: gix::hash::Kind,
    hash: HashKind,
    _view: Option<Arc<tempfile::TempDir>>,
}

/// The bytes of an object as stored, not compared with its id yet.
#[derive(Debug, Clone)]
pub struct UncheckedObject {
    id: ObjectId,
    kind: ObjectKind,
    raw: Vec<u8>,
}

impl UncheckedObject {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.raw.len()
    }

    /// The object, if its bytes hash to its id (SHA-1 with collision detection).
    ///
    /// # Errors
    /// [`GitError::Damaged`].
    pub fn verify_hash(self) -> Result<Object, GitError> {
        check(self.id, self.kind, &self.raw)?;
        Ok(super::object(self.id, self.kind, self.raw))
    }
}

fn check(id: ObjectId, kind: ObjectKind, raw: &[u8]) -> Result<(), GitError> {
    let git_kind = match kind {
        ObjectKind::Commit => gix::objs::Kind::Commit,
        ObjectKind::Tag => gix::objs::Kind::Tag,
    };
    match gix::objs::compute_hash(id.kind(), git_kind, raw) {
        Ok(found) if found == id => Ok(()),
        Ok(found) => Err(GitError::Damaged {
            id: id.to_string(),
            found: found.to_string(),
        }),
        Err(error) => Err(GitError::Damaged {
            id: id.to_string(),
            found: words(&gix::Error::from_error(error)),
        }),
    }
}

impl Objects {
    /// The hash that names objects here.
    #[must_use]
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// The bytes of a commit or tag, hashed.
    ///
    /// # Errors
    /// Absent, damaged, too large, or a tree or blob.
    pub fn read(&self, id: ObjectId) -> Result<Object, GitError> {
        self.unchecked(id)?.verify_hash()
    }

    /// The bytes of a commit or tag.
    ///
    /// # Errors
    /// Absent, unreadable, too large, or a tree or blob.
    pub fn unchecked(&self, id: ObjectId) -> Result<UncheckedObject, GitError> {
        let unreadable = |error: gix::Error| GitError::Unreadable {
            id: id.to_string(),
            why: words(&error),
        };
        let mut raw = Vec::new();
        // The size comes before the bytes: a few of them can inflate to very many.
        let header = match self.odb.header(id) {
            Ok(header) => header,
            Err(error) if !gix::objs::Exists::exists(&self.odb, &id) => {
                let _ = error;
                return Err(GitError::Missing { id: id.to_string() });
            }
            Err(error) => return Err(unreadable(error)),
        };
        let kind = kind_of(header.kind(), id)?;
        if header.size() > MAX_OBJECT as u64 {
            return Err(GitError::TooLarge {
                id: id.to_string(),
                bytes: header.size(),
            });
        }
        let found = self.odb.find(&id, &mut raw).map_err(unreadable)?;
        if found.kind != header.kind() {
            return Err(GitError::Unreadable {
                id: id.to_string(),
                why: "it is there as two kinds of object".to_owned(),
            });
        }
        Ok(UncheckedObject { id, kind, raw })
    }

    /// The commits that tags lead to, and the tags on the way, the outer first.
    ///
    /// # Errors
    /// As [`read`](Self::read), and too many tags of tags.
    pub fn peel(&self, id: ObjectId) -> Result<Peeled, GitError> {
        let mut tags = Vec::new();
        let mut at = id;
        for _ in 0..=MAX_TAG_DEPTH {
            let kind = match self.odb.header(at) {
                Ok(header) => header.kind(),
                Err(_) => return Err(GitError::Missing { id: at.to_string() }),
            };
            match kind {
                gix::objs::Kind::Commit => {
                    return Ok(Peeled {
                        tags,
                        target: Target::Commit(at),
                    });
                }
                gix::objs::Kind::Tag => {
                    let tag = self.read(at)?;
                    tags.push(at);
                    at = tag_target(at, &tag.raw, self.kind)?;
                }
                other => {
                    return Ok(Peeled {
                        tags,
                        target: Target::Other(other.to_string()),
                    });
                }
            }
        }
        Err(GitError::TagDepth {
            name: id.to_string(),
        })
    }
}

fn kind_of(kind: gix::objs::Kind, id: ObjectId) -> Result<ObjectKind, GitError> {
    match kind {
        gix::objs::Kind::Commit => Ok(ObjectKind::Commit),
        gix::objs::Kind::Tag => Ok(ObjectKind::Tag),
        other => Err(GitError::Kind {
            name: id.to_string(),
            found: other.to_string(),
            wanted: "commit or tag",
        }),
    }
}

fn tag_target(id: ObjectId, raw: &[u8], kind: gix::hash::Kind) -> Result<ObjectId, GitError> {
    gix::objs::TagRefIter::from_bytes(raw, kind)
        .target_id()
        .map_err(|_| GitError::Unreadable {
            id: id.to_string(),
            why: "the tag names no object".to_owned(),
        })
}

/// What an id leads to when tags are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeled {
    /// The tag objects on the way, the outer first.
    pub tags: Vec<ObjectId>,
    /// What the last of them names.
    pub target: Target,
}

/// What is no tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A commit.
    Commit(ObjectId),
    /// `tree` or `blob`: nothing of it can be signed.
    Other(String),
}

/// A reference and what it leads to.
#[derive(Debug, Clone)]
pub struct RefTip {
    /// The full name, as bytes.
    pub name: Vec<u8>,
    /// Whether it is a name for another reference.
    pub is_symbolic: bool,
    /// What it points at, tags followed.
    pub peeled: Result<Peeled, String>,
}

/// What to walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeSpec {
    /// As a person writes it: `REV`, `^REV`, `A..B`, `REV^!`, `REV^@`.
    Revision(String),
    /// Every reference, and `HEAD`.
    All,
    /// From this commit or tag.
    From(ObjectId),
    /// Not what this commit or tag reaches. One that is absent excludes nothing.
    Not(ObjectId),
}

/// Names, resolved once: what to visit is known by ids from here on.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Commits to begin with.
    pub from: Vec<ObjectId>,
    /// Commits to leave out, with all that they reach.
    pub not: Vec<ObjectId>,
    /// Tag objects that were named, to be judged as such.
    pub tags: Vec<(String, ObjectId)>,
    /// Whether a range or an exclusion was named: then ancestors are meant too.
    pub is_range: bool,
    /// References that lead nowhere, and why.
    pub broken: Vec<(String, String)>,
}

impl Repository {
    /// Objects, for another thread.
    #[must_use]
    pub fn objects(&self) -> Objects {
        let mut odb = self.inner.objects.clone();
        odb.ignore_replacements = true;
        Objects {
            odb,
            kind: self.inner.object_hash(),
            hash: self.hash,
            _view: self.view.clone(),
        }
    }

    /// What a person's words mean.
    ///
    /// # Errors
    /// A name that means nothing, or `A...B`.
    pub fn select(&self, specs: &[RangeSpec]) -> Result<Selection, GitError> {
        let objects = self.objects();
        let mut selection = Selection::default();
        for spec in specs {
            match spec {
                RangeSpec::Revision(text) => self.select_text(&objects, text, &mut selection)?,
                RangeSpec::From(id) => selection.from.extend(commit_behind(&objects, *id)?),
                RangeSpec::Not(id) => {
                    selection.is_range = true;
                    if let Ok(id) = commit_behind(&objects, *id) {
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
            return Err(refuse("a revision does not begin with a dash"));
        }
        if let Some((from, to)) = text.split_once("..") {
            if to.starts_with('.') {
                return Err(refuse(
                    "the symmetric difference is not taken here: write A..B, or B ^A",
                ));
            }
            selection.is_range = true;
            let from = self.commit_of(objects, or_head(from))?;
            selection.not.push(from);
            return self.select_tip(objects, or_head(to), selection);
        }
        if let Some(name) = text.strip_prefix('^') {
            selection.is_range = true;
            let id = self.commit_of(objects, name)?;
            selection.not.push(id);
            return Ok(());
        }
        for (suffix, itself) in [("^!", true), ("^@", false)] {
            if let Some(name) = text.strip_suffix(suffix) {
                selection.is_range = true;
                let id = self.commit_of(objects, name)?;
                let commit = objects.read(id)?;
                let parents = parents(self.inner.object_hash(), &commit.raw);
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

    /// A name to begin with; tag objects on the way are named as well.
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

    fn commit_of(&self, objects: &Objects, name: &str) -> Result<ObjectId, GitError> {
        let id = self.resolve(name)?;
        match objects.peel(id)?.target {
            Target::Commit(id) => Ok(id),
            Target::Other(found) => Err(GitError::Kind {
                name: name.to_owned(),
                found,
                wanted: "commit",
            }),
        }
    }

    /// The branch that HEAD names, and its commit; none where HEAD names none, or
    /// one that is not there yet.
    #[must_use]
    pub fn head_branch(&self) -> Option<(Vec<u8>, ObjectId)> {
        let name = self.inner.head_name().ok()??;
        let id = self.inner.head_id().ok()?.detach();
        self.tree_of(id)
            .is_ok()
            .then(|| (name.as_bstr().to_vec(), id))
    }

    /// What a symbolic reference stands for, through others if need be: the name
    /// that a write to it goes to. `None`: it is an ordinary one, or not there.
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

    /// Every reference, in the order of names, and `HEAD` where it points at
    /// something that no reference does.
    ///
    /// # Errors
    /// The references cannot be listed.
    pub fn reference_tips(&self) -> Result<Vec<RefTip>, GitError> {
        let unlisted = |error: gix::Error| GitError::References { why: words(&error) };
        let objects = self.objects();
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

    /// What says that history is other than it is: replacements, grafts, a shallow
    /// boundary. Replacements and grafts are never followed here.
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

    /// The commits of a selection, one after the other.
    ///
    /// # Errors
    /// The list of shallow commits cannot be read.
    pub fn walk(&self, selection: &Selection) -> Result<RevWalk, GitError> {
        Ok(RevWalk::new(self.objects(), selection, self.shallow()?))
    }

    /// The commits that `specs` mean, ancestors included.
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

/// What says that history is other than it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryOverrides {
    /// References under `refs/replace/`.
    pub replacements: usize,
    /// Whether there is a file of grafts.
    pub grafts: bool,
    /// Whether this is a shallow clone.
    pub shallow: bool,
}

/// A commit that the walk met.
#[derive(Debug, Clone)]
pub struct WalkedCommit {
    /// Its id.
    pub id: ObjectId,
    /// Its bytes, where the walk has them at hand.
    pub bytes: Option<UncheckedObject>,
}

/// A commit that the walk should have met.
#[derive(Debug)]
pub struct MissingCommit {
    /// Its id.
    pub id: ObjectId,
    /// Why it could not be read.
    pub error: GitError,
    /// The commit of a shallow boundary whose parent it is.
    pub boundary: Option<ObjectId>,
}

/// The commits of a range. With nothing to exclude they come as they are met;
/// else the whole list of ids is put together first.
pub struct RevWalk {
    objects: Objects,
    shallow: HashSet<ObjectId>,
    /// Without exclusions: what was met.
    met: HashSet<ObjectId>,
    waiting: BinaryHeap<Waiting>,
    bytes: usize,
    counter: u64,
    failed: VecDeque<MissingCommit>,
    excluded: Vec<ObjectId>,
    listed: Option<VecDeque<ObjectId>>,
}

struct Waiting {
    time: i64,
    /// Counted backwards, so that the first that was met is the greatest.
    nth: u64,
    id: ObjectId,
    bytes: Option<UncheckedObject>,
    parents: Vec<ObjectId>,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.nth).cmp(&(other.time, other.nth))
    }
}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Waiting {}

impl RevWalk {
    fn new(objects: Objects, selection: &Selection, shallow: HashSet<ObjectId>) -> Self {
        let mut walk = Self {
            objects,
            shallow,
            met: HashSet::new(),
            waiting: BinaryHeap::new(),
            bytes: 0,
            counter: u64::MAX,
            failed: VecDeque::new(),
            excluded: selection.not.clone(),
            listed: None,
        };
        if walk.excluded.is_empty() {
            for id in &selection.from {
                walk.meet(*id, None);
            }
        } else {
            let listed = walk.limited(&selection.from);
            walk.listed = Some(listed);
        }
        walk
    }

    /// Puts a commit into the queue, unless it was met before.
    fn meet(&mut self, id: ObjectId, child: Option<ObjectId>) {
        if self.met.insert(id) {
            match self.load(id, false) {
                Ok(waiting) => self.waiting.push(waiting),
                Err(error) => self.fail(id, error, child),
            }
        }
    }

    fn fail(&mut self, id: ObjectId, error: GitError, child: Option<ObjectId>) {
        let is_missing = matches!(error, GitError::Missing { .. });
        self.failed.push_back(MissingCommit {
            id,
            boundary: child.filter(|child| is_missing && self.shallow.contains(child)),
            error,
        });
    }

    fn load(&mut self, id: ObjectId, hashed: bool) -> Result<Waiting, GitError> {
        let object = self.objects.unchecked(id)?;
        if object.kind != ObjectKind::Commit {
            return Err(GitError::Kind {
                name: id.to_string(),
                found: object.kind.name().to_owned(),
                wanted: "commit",
            });
        }
        if hashed {
            check(id, object.kind, &object.raw)?;
        }
        let parents = parents(self.objects.kind, &object.raw);
        if parents.len() > MAX_WALKED_PARENTS {
            return Err(GitError::Unreadable {
                id: id.to_string(),
                why: format!("it has more than {MAX_WALKED_PARENTS} parents"),
            });
        }
        let time = committer_time(&object.raw);
        let fits = self.bytes.saturating_add(object.size()) <= MAX_WAITING;
        let keep = fits && !hashed;
        if keep {
            self.bytes = self.bytes.saturating_add(object.size());
        }
        self.counter = self.counter.saturating_sub(1);
        Ok(Waiting {
            time,
            nth: self.counter,
            id,
            bytes: keep.then_some(object),
            parents,
        })
    }

    /// The ids that `from` reaches and the excluded ones do not.
    ///
    /// Who says which parents a commit has decides what is left out, so each
    /// commit is hashed on the way.
    fn limited(&mut self, from: &[ObjectId]) -> VecDeque<ObjectId> {
        let mut graph = Limited::default();
        let mut order: Vec<ObjectId> = Vec::new();
        let excluded = std::mem::take(&mut self.excluded);
        let tips = excluded
            .iter()
            .map(|id| (*id, true))
            .chain(from.iter().map(|id| (*id, false)));
        for (id, out) in tips {
            self.reach(&mut graph, id, out, None);
        }
        let mut oldest = i64::MAX;
        let mut slack = EXCLUDED_SLACK;
        while let Some(next) = self.waiting.pop() {
            let out = graph.is_out(&next.id);
            if graph.wanted_waiting == 0 {
                // Only excluded commits are left. Their ancestors may still turn
                // out to be among the listed ones where dates run backwards.
                if order.is_empty() {
                    break;
                }
                if next.time < oldest.saturating_sub(DATE_SLACK) {
                    slack = slack.saturating_sub(1);
                    if slack == 0 {
                        break;
                    }
                }
            }
            graph.popped(&next.id);
            if !out {
                order.push(next.id);
                oldest = oldest.min(next.time);
            }
            for parent in next.parents {
                self.reach(&mut graph, parent, out, Some(next.id));
            }
        }
        self.waiting.clear();
        // What is absent and excluded is nobody's concern; what is damaged is.
        self.failed.retain(|failed| {
            !graph.is_out(&failed.id) || matches!(failed.error, GitError::Damaged { .. })
        });
        order.retain(|id| !graph.is_out(id));
        order.into()
    }

    fn reach(&mut self, graph: &mut Limited, id: ObjectId, out: bool, child: Option<ObjectId>) {
        if let Some(child) = child {
            graph.edge(child, id);
        }
        if graph.meet(id, out) {
            match self.load(id, true) {
                Ok(waiting) => self.waiting.push(waiting),
                Err(error) => {
                    graph.popped(&id);
                    self.fail(id, error, child);
                }
            }
        }
    }
}

/// What is known of a commit while a limited walk goes on.
#[derive(Default)]
struct Limited {
    nodes: HashMap<ObjectId, Node>,
    /// Commits in the queue that are not excluded.
    wanted_waiting: usize,
}

#[derive(Default)]
struct Node {
    out: bool,
    waits: bool,
    parents: Vec<ObjectId>,
}

impl Limited {
    /// Notes a commit, and that it is excluded if it is. Whether it is new.
    fn meet(&mut self, id: ObjectId, out: bool) -> bool {
        if let Some(node) = self.nodes.get(&id) {
            if out && !node.out {
                self.exclude(id);
            }
            return false;
        }
        let node = Node {
            out,
            waits: true,
            parents: Vec::new(),
        };
        self.nodes.insert(id, node);
        if !out {
            self.wanted_waiting = self.wanted_waiting.saturating_add(1);
        }
        true
    }

    fn is_out(&self, id: &ObjectId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.out)
    }

    fn popped(&mut self, id: &ObjectId) {
        if let Some(node) = self.nodes.get_mut(id)
            && node.waits
        {
            node.waits = false;
            if !node.out {
                self.wanted_waiting = self.wanted_waiting.saturating_sub(1);
            }
        }
    }

    /// Remembers a parent, so that a later exclusion is passed on. Excluded
    /// commits pass it on at once and need not remember.
    fn edge(&mut self, child: ObjectId, parent: ObjectId) {
        if let Some(node) = self.nodes.get_mut(&child)
            && !node.out
        {
            node.parents.push(parent);
        }
    }

    /// Excludes a commit and everything that is known to be reached from it.
    fn exclude(&mut self, id: ObjectId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            if let Some(node) = self.nodes.get_mut(&id)
                && !node.out
            {
                node.out = true;
                if node.waits {
                    self.wanted_waiting = self.wanted_waiting.saturating_sub(1);
                }
                todo.append(&mut node.parents);
            }
        }
    }
}

impl Iterator for RevWalk {
    type Item = Result<WalkedCommit, Box<MissingCommit>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(failed) = self.failed.pop_front() {
            return Some(Err(Box::new(failed)));
        }
        if let Some(listed) = &mut self.listed {
            return listed
                .pop_front()
                .map(|id| Ok(WalkedCommit { id, bytes: None }));
        }
        let next = self.waiting.pop()?;
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

/// The parents as git reads them: the lines `parent ID` that follow the line
/// `tree ID`, and no others.
pub(super) fn parents(kind: gix::hash::Kind, raw: &[u8]) -> Vec<ObjectId> {
    let length = kind.len_in_hex();
    let mut parents = Vec::new();
    let mut lines = raw.split(|byte| *byte == b'\n');
    if !lines.next().is_some_and(|line| line.starts_with(b"tree ")) {
        return parents;
    }
    for line in lines {
        let Some(id) = line.strip_prefix(b"parent ") else {
            break;
        };
        match ObjectId::from_hex(id) {
            Ok(id) if id.kind().len_in_hex() == length => parents.push(id),
            _ => break,
        }
    }
    parents
}

/// The committer's date in Unix seconds, 0 where it cannot be read. It decides
/// the order of the list and nothing else.
fn committer_time(raw: &[u8]) -> i64 {
    let headers = raw
        .find(b"\n\n")
        .and_then(|end| raw.get(..end))
        .unwrap_or(raw);
    let read = || -> Option<i64> {
        let at = headers.find(b"\ncommitter ")?;
        let line = headers.get(at.checked_add(1)?..)?.lines().next()?;
        let (_, after) = line.rsplit_once_str(">")?;
        let word = after.split_str(" ").find(|word| !word.is_empty())?;
        word.to_str().ok()?.parse().ok()
    };
    read().unwrap_or(0)
}
