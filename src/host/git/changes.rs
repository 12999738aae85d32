//! The paths that a commit changes: two or more trees, read raw and side by side,
//! without opening any file.
//!
//! A commit is compared with its first parent, a root commit with nothing. All of
//! that is an ordinary commit's *own* change. A merge's own are the paths that Git
//! would not have merged that way by itself: as the one parent has it that changed it
//! since the merge base, or as both have it. So a resolved conflict is its own
//! however it was resolved, and so is a change of either parent that is left out.
//! With more than two parents all is its own.
//!
//! What a merge of two only brings in from its other parent was changed by the
//! commits on that side, which are checked for it.
//!
//! Trees are read strictly: entries in Git's order, no duplicate names, no name that
//! could hide a path. `gitformat-pack(5)` and Git's `fsck.c`.
//!
//! *Not checked here:* what a path allows (`policy/`), the content of files.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::{cmp::Ordering, collections::HashMap, rc::Rc};

use gix::bstr::{BString, ByteSlice as _};

use super::{Repository, error::GitError};

/// The most paths that one commit may change.
pub const MAX_CHANGES: usize = 500_000;
/// The most trees that are read for one commit.
pub const MAX_TREES: usize = 500_000;
/// The deepest path, in directories. git's own limit is 2048 (`core.maxTreeDepth`).
pub const MAX_DEPTH: usize = 2048;
/// The most bytes of all trees that are compared at one path.
pub const MAX_AT_ONCE: usize = 256 * 1024 * 1024;
/// The most bytes of trees that are kept while one commit is compared.
const MAX_KEPT: usize = 16 * 1024 * 1024;
/// The most parents of a commit whose paths are asked for.
pub const MAX_PARENTS: usize = 64;

/// Errors while comparing trees.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("tree {id} is malformed at byte {at}: {reason}")]
    Tree {
        id: String,
        at: usize,
        reason: &'static str,
    },
    #[error("more than {most} {what} for one commit")]
    TooMuch { most: usize, what: &'static str },
}

impl DiffError {
    /// Returns the error of reading an object, if it is one.
    #[must_use]
    pub fn git(&self) -> Option<&GitError> {
        match self {
            Self::Git(error) => Some(error),
            _ => None,
        }
    }
}

/// The kind of change of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileChange {
    Added,
    /// Its content or kind differs.
    Modified,
    Deleted,
}

/// A path that a commit changes: a file, a symbolic link or a submodule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// From the root of the tree, with `/` between names; any bytes but NUL.
    pub path: BString,
    pub how: FileChange,
    /// Whether the commit itself changes it; otherwise another parent brings it in.
    pub own: bool,
    /// Whether it is a symbolic link or a submodule, in one of the trees.
    pub link: bool,
}

/// The trees of a commit and of its parents.
#[derive(Debug, Clone, Default)]
pub struct Trees {
    pub result: Option<gix::ObjectId>,
    /// `None` for a root commit.
    pub first: Option<gix::ObjectId>,
    pub sides: Vec<ParentTree>,
}

/// Another parent of a merge.
#[derive(Debug, Clone)]
pub struct ParentTree {
    pub tree: gix::ObjectId,
    /// The trees of the merge bases with the first parent.
    pub bases: Vec<gix::ObjectId>,
}

/// An entry of a tree. A name can be a file in one tree and a directory in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<'a> {
    name: &'a [u8],
    is_tree: bool,
    mode: u32,
    id: gix::ObjectId,
}

impl Entry<'_> {
    /// Whether it is a symbolic link or a submodule.
    fn is_link(self) -> bool {
        matches!(self.mode & 0o170_000, 0o120_000 | 0o160_000)
    }

    /// Git's order of entries: a directory as if its name ended with a slash.
    fn order(&self, other: &Entry<'_>) -> Ordering {
        let end = |is_tree: bool| is_tree.then_some(b'/');
        self.name
            .iter()
            .copied()
            .chain(end(self.is_tree))
            .cmp(other.name.iter().copied().chain(end(other.is_tree)))
    }
}

const TREE: u32 = 0o040_000;

/// Parses the entries of a tree.
fn entries<'a>(raw: &'a [u8], digest: usize) -> Result<Vec<Entry<'a>>, (usize, &'static str)> {
    let mut rest = raw;
    let mut list: Vec<Entry<'a>> = Vec::new();
    while !rest.is_empty() {
        let at = raw.len().saturating_sub(rest.len());
        let fault = |reason| (at, reason);
        let (mode, after) = rest
            .split_once_str(" ")
            .ok_or_else(|| fault("an unterminated mode"))?;
        let is_octal = mode.iter().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = std::str::from_utf8(mode)
            .ok()
            .filter(|mode| is_octal && matches!(mode.len(), 5 | 6) && !mode.starts_with('0'))
            .and_then(|mode| u32::from_str_radix(mode, 8).ok())
            .ok_or_else(|| fault("a mode that git does not write"))?;
        // Directory, file, symbolic link, submodule. git takes a directory with
        // other bits for one, too: then it is none to whoever compares modes.
        if !matches!(mode & 0o170_000, TREE | 0o100_000 | 0o120_000 | 0o160_000) {
            return Err(fault("a mode that is not of a known kind of file"));
        }
        if mode & 0o170_000 == TREE && mode != TREE {
            return Err(fault("a directory with a mode that git does not write"));
        }
        let (name, after) = after
            .split_once_str("\0")
            .ok_or_else(|| fault("an unterminated name"))?;
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(fault("a name that is not a file name"));
        }
        let (id, after) = after
            .split_at_checked(digest)
            .ok_or_else(|| fault("a truncated object ID"))?;
        let id = gix::ObjectId::try_from(id).map_err(|_| fault("a malformed object ID"))?;
        let entry = Entry {
            name,
            is_tree: mode == TREE,
            mode,
            id,
        };
        if let Some(last) = list.last()
            && last.order(&entry) != Ordering::Less
        {
            return Err(fault("names out of order, or a name twice"));
        }
        // As a file further up: `a`, `a.b`, `a/`.
        if entry.is_tree && find(&list, name, false).is_some() {
            return Err(fault("a name that is both a file and a directory"));
        }
        list.push(entry);
        rest = after;
    }
    Ok(list)
}

fn find<'a>(list: &[Entry<'a>], name: &[u8], is_tree: bool) -> Option<Entry<'a>> {
    let wanted = Entry {
        name,
        is_tree,
        mode: 0,
        id: gix::ObjectId::null(gix::hash::Kind::Sha1),
    };
    let at = list.binary_search_by(|entry| entry.order(&wanted)).ok()?;
    list.get(at).copied()
}

fn same_name<'a>(list: &[Entry<'a>], as_this: &Entry<'_>) -> Option<Entry<'a>> {
    find(list, as_this.name, as_this.is_tree)
}

/// A directory to compare: its tree in each of the commits.
struct Task {
    path: BString,
    depth: usize,
    result: Option<gix::ObjectId>,
    first: Option<gix::ObjectId>,
    sides: Vec<Other<Option<gix::ObjectId>>>,
}

/// A value in another parent, and in its merge bases with the first.
struct Other<T> {
    here: T,
    bases: Vec<T>,
}

impl<T> Other<T> {
    fn map<'s, U>(&'s self, f: impl Fn(&'s T) -> U) -> Other<U> {
        Other {
            here: f(&self.here),
            bases: self.bases.iter().map(f).collect(),
        }
    }

    /// Whether this parent changed nothing.
    fn is_still(&self, same: impl Fn(&T, &T) -> bool) -> bool {
        self.bases.iter().all(|base| same(base, &self.here))
    }

    /// Whether `result` is what Git would merge by itself, whichever base it takes: only
    /// one side changed it, or both in the same way.
    fn merges_to(&self, result: &T, first: &T, same: impl Fn(&T, &T) -> bool) -> bool {
        self.bases.iter().all(|base| {
            if same(&self.here, base) || same(&self.here, first) {
                same(result, first)
            } else {
                same(first, base) && same(result, &self.here)
            }
        })
    }
}

/// Whether nothing below differs: the first parent's directory, in which other
/// parents changed nothing, or changed it to this.
fn is_settled<T>(
    result: &T,
    first: &T,
    sides: &[Other<T>],
    same: impl Fn(&T, &T) -> bool + Copy,
) -> bool {
    same(result, first)
        && sides
            .iter()
            .all(|side| same(&side.here, result) || side.is_still(same))
}

fn same(one: &Option<Entry<'_>>, other: &Option<Entry<'_>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.mode == other.mode && one.id == other.id,
        _ => false,
    }
}

/// The directories that are compared at one path, each read once.
type Read = HashMap<gix::ObjectId, Rc<Vec<u8>>>;

/// Directories that were read for one commit: a few trees can stand at a million paths.
#[derive(Default)]
struct KeptTrees {
    by_id: Read,
    bytes: usize,
}

impl KeptTrees {
    fn insert(&mut self, id: gix::ObjectId, raw: &Rc<Vec<u8>>) {
        self.bytes = self.bytes.saturating_add(raw.len());
        if self.bytes > MAX_KEPT {
            self.by_id.clear();
            self.bytes = raw.len();
        }
        self.by_id.insert(id, Rc::clone(raw));
    }
}
type Lists<'a> = HashMap<gix::ObjectId, Vec<Entry<'a>>>;

fn list<'l, 'a>(lists: &'l Lists<'a>, id: Option<gix::ObjectId>) -> &'l [Entry<'a>] {
    id.and_then(|id| lists.get(&id)).map_or(&[], Vec::as_slice)
}

impl Repository {
    /// The paths that a commit changes, in no particular order.
    ///
    /// # Errors
    /// A tree is absent, damaged, malformed, or there is more than the limits
    /// allow.
    pub fn changes(&self, trees: &Trees) -> Result<Vec<ChangedFile>, DiffError> {
        if trees.sides.len() >= MAX_PARENTS {
            return Err(DiffError::TooMuch {
                most: MAX_PARENTS,
                what: "parents",
            });
        }
        let side = |side: &ParentTree| {
            let mut bases: Vec<_> = side.bases.iter().copied().map(Some).collect();
            if bases.is_empty() {
                // Nothing in common: the base is the empty tree.
                bases.push(None);
            }
            Other {
                here: Some(side.tree),
                bases,
            }
        };
        let mut tasks = vec![Task {
            path: BString::default(),
            depth: 0,
            result: trees.result,
            first: trees.first,
            sides: trees.sides.iter().map(side).collect(),
        }];
        let mut changed = Vec::new();
        let mut read = 0_usize;
        let mut kept = KeptTrees::default();
        while let Some(task) = tasks.pop() {
            if is_settled(&task.result, &task.first, &task.sides, |a, b| a == b) {
                continue;
            }
            if task.depth > MAX_DEPTH {
                return Err(DiffError::TooMuch {
                    most: MAX_DEPTH,
                    what: "directories in one path",
                });
            }
            let raw = self.directories(&task, &mut kept)?;
            read = read.saturating_add(raw.len());
            if read > MAX_TREES {
                return Err(DiffError::TooMuch {
                    most: MAX_TREES,
                    what: "directories",
                });
            }
            let lists: Lists<'_> = raw
                .iter()
                .map(|(id, raw)| Ok((*id, self.entries(Some(*id), raw)?)))
                .collect::<Result<_, DiffError>>()?;
            compare(&task, &lists, &mut tasks, &mut changed)?;
        }
        Ok(changed)
    }

    /// Reads the directories of a task.
    fn directories(&self, task: &Task, kept: &mut KeptTrees) -> Result<Read, DiffError> {
        let sides = task
            .sides
            .iter()
            .flat_map(|side| std::iter::once(&side.here).chain(&side.bases));
        let mut read = Read::new();
        let mut bytes = 0_usize;
        for id in [&task.result, &task.first].into_iter().chain(sides) {
            let Some(id) = *id else { continue };
            if read.contains_key(&id) {
                continue;
            }
            self.objects.check_time()?;
            let raw = match kept.by_id.get(&id) {
                Some(raw) => Rc::clone(raw),
                None => {
                    let raw = Rc::new(self.objects.tree(id)?);
                    kept.insert(id, &raw);
                    raw
                }
            };
            bytes = bytes.saturating_add(raw.len());
            if bytes > MAX_AT_ONCE {
                return Err(DiffError::TooMuch {
                    most: MAX_AT_ONCE,
                    what: "bytes of directories at one path",
                });
            }
            read.insert(id, raw);
        }
        Ok(read)
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// It cannot be read, or is no commit.
    pub fn tree_of(&self, commit: gix::ObjectId) -> Result<gix::ObjectId, GitError> {
        let object = self.objects.read(commit)?;
        gix::objs::CommitRefIter::from_bytes(&object.raw, self.inner.object_hash())
            .tree_id()
            .map_err(|_| GitError::Unreadable {
                id: commit.to_string(),
                why: "it names no tree".to_owned(),
            })
    }

    /// The ordinary file at this path in a commit's tree, if there is one.
    ///
    /// # Errors
    /// A tree cannot be read, or what is there is no ordinary file.
    pub fn file_at(
        &self,
        commit: gix::ObjectId,
        path: &[&[u8]],
    ) -> Result<Option<gix::ObjectId>, DiffError> {
        let mut tree = self.tree_of(commit)?;
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.next() {
            let raw = self.objects.tree(tree)?;
            let list = self.entries(Some(tree), &raw)?;
            let is_last = parts.peek().is_none();
            let other = find(&list, part, is_last);
            match find(&list, part, !is_last) {
                None if other.is_some() => {
                    return Err(DiffError::Tree {
                        id: tree.to_string(),
                        at: 0,
                        reason: "a folder and a file have changed places on the way to a file that is read",
                    });
                }
                None => return Ok(None),
                Some(entry) if is_last && entry.mode & 0o170_000 != 0o100_000 => {
                    return Err(DiffError::Tree {
                        id: tree.to_string(),
                        at: 0,
                        reason: "what is to be read is a link or a submodule and no file",
                    });
                }
                Some(entry) if is_last => return Ok(Some(entry.id)),
                Some(entry) => tree = entry.id,
            }
        }
        Ok(None)
    }

    /// The directory of this name in a tree, if there is one.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn directory_in(
        &self,
        tree: gix::ObjectId,
        name: &[u8],
    ) -> Result<Option<gix::ObjectId>, DiffError> {
        let raw = self.objects.tree(tree)?;
        let list = self.entries(Some(tree), &raw)?;
        Ok(find(&list, name, true).map(|entry| entry.id))
    }

    /// The first name in a tree of which `is_one` holds.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn name_in(
        &self,
        tree: gix::ObjectId,
        is_one: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, DiffError> {
        let raw = self.objects.tree(tree)?;
        let list = self.entries(Some(tree), &raw)?;
        let found = list.iter().find(|entry| is_one(entry.name));
        Ok(found.map(|entry| entry.name.to_vec()))
    }

    /// The ordinary file of this name in a tree, if there is one.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn file_in(
        &self,
        tree: gix::ObjectId,
        name: &[u8],
    ) -> Result<Option<gix::ObjectId>, DiffError> {
        let raw = self.objects.tree(tree)?;
        let list = self.entries(Some(tree), &raw)?;
        Ok(find(&list, name, false)
            .filter(|entry| entry.mode & 0o170_000 == 0o100_000)
            .map(|entry| entry.id))
    }

    fn entries<'a>(
        &self,
        id: Option<gix::ObjectId>,
        raw: &'a [u8],
    ) -> Result<Vec<Entry<'a>>, DiffError> {
        let digest = self.inner.object_hash().len_in_bytes();
        entries(raw, digest).map_err(|(at, reason)| DiffError::Tree {
            id: id.map(|id| id.to_string()).unwrap_or_default(),
            at,
            reason,
        })
    }
}

/// Compares one directory, and notes those below it.
fn compare(
    task: &Task,
    lists: &Lists<'_>,
    tasks: &mut Vec<Task>,
    changed: &mut Vec<ChangedFile>,
) -> Result<(), DiffError> {
    let result = list(lists, task.result);
    let first = list(lists, task.first);
    let mut names: Vec<(Entry<'_>, Pair<'_>)> = side_by_side(result, first)
        .into_iter()
        .filter_map(|pair| Some((pair.0.or(pair.1)?, pair)))
        .collect();
    // What only another parent has.
    for side in &task.sides {
        for entry in list(lists, side.here) {
            if same_name(result, entry).is_none() && same_name(first, entry).is_none() {
                names.push((*entry, (None, None)));
            }
        }
    }
    if task.sides.len() > 1 {
        names.sort_by(|one, other| one.0.order(&other.0));
        names.dedup_by(|one, other| one.0.order(&other.0) == Ordering::Equal);
    }
    for (any, (now, before)) in names {
        let sides: Vec<Other<Option<Entry<'_>>>> = task
            .sides
            .iter()
            .map(|side| side.map(|id| same_name(list(lists, *id), &any)))
            .collect();
        if is_settled(&now, &before, &sides, same) {
            continue;
        }
        let mut path = task.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(any.name);
        if any.is_tree {
            let id = |entry: &Option<Entry<'_>>| entry.map(|entry| entry.id);
            tasks.push(Task {
                path,
                depth: task.depth.saturating_add(1),
                result: id(&now),
                first: id(&before),
                sides: sides.iter().map(|side| side.map(id)).collect(),
            });
            continue;
        }
        let is_merged = match sides.as_slice() {
            [side] => side.merges_to(&now, &before, same),
            _ => false,
        };
        let before = match (same(&now, &before), sides.first()) {
            // As the first parent has it, by itself.
            (true, _) if is_merged => continue,
            // What another parent did is left out.
            (true, Some(_)) => sides
                .iter()
                .map(|side| side.here)
                .find(|here| !same(here, &now))
                .unwrap_or(before),
            _ => before,
        };
        if changed.len() >= MAX_CHANGES {
            return Err(DiffError::TooMuch {
                most: MAX_CHANGES,
                what: "changed paths",
            });
        }
        changed.push(ChangedFile {
            path,
            own: !is_merged,
            link: [before, now].into_iter().flatten().any(Entry::is_link),
            how: match (before, now) {
                (None, _) => FileChange::Added,
                (_, None) => FileChange::Deleted,
                _ => FileChange::Modified,
            },
        });
    }
    Ok(())
}

/// A name in one of two directories, or in both.
type Pair<'a> = (Option<Entry<'a>>, Option<Entry<'a>>);

/// Two lists in git's order, name by name. A file and a directory of one name are
/// two names.
fn side_by_side<'a>(one: &[Entry<'a>], two: &[Entry<'a>]) -> Vec<Pair<'a>> {
    let mut pairs = Vec::with_capacity(one.len().max(two.len()));
    let (mut one, mut two) = (one.iter().peekable(), two.iter().peekable());
    loop {
        let order = match (one.peek(), two.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.order(b),
        };
        pairs.push(match order {
            Ordering::Less => (one.next().copied(), None),
            Ordering::Greater => (None, two.next().copied()),
            Ordering::Equal => (one.next().copied(), two.next().copied()),
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn entry(mode: &str, name: &str, id: u8) -> Vec<u8> {
        [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[id; 20]].concat()
    }

    fn tree(list: &[(&str, &str)]) -> Vec<u8> {
        list.iter()
            .flat_map(|(mode, name)| entry(mode, name, 7))
            .collect()
    }

    #[test]
    fn trees_that_git_writes_are_read() {
        let raw = tree(&[
            ("100644", "a.b"),
            ("40000", "a"),
            ("100755", "a0"),
            ("120000", "link"),
            ("160000", "module"),
        ]);
        let list = entries(&raw, 20).unwrap();
        assert_eq!(list.len(), 5);
        assert!(list[1].is_tree);
        assert_eq!(find(&list, b"a0", false), Some(list[2]));
        assert_eq!(find(&list, b"a", false), None);
        assert_eq!(entries(b"", 20).unwrap(), []);
    }

    #[test]
    fn trees_that_hide_something_are_refused() {
        let refused = |list: &[(&str, &str)]| entries(&tree(list), 20).unwrap_err().1;
        assert!(refused(&[("100644", "b"), ("100644", "a")]).contains("out of order"));
        assert!(refused(&[("100644", "a"), ("100644", "a")]).contains("twice"));
        assert!(
            refused(&[("100644", "a"), ("100644", "a.b"), ("40000", "a")]).contains("both"),
            "a file and a directory"
        );
        for name in ["", ".", "..", "a/b"] {
            assert!(refused(&[("100644", name)]).contains("name"), "{name:?}");
        }
        for mode in [
            "040000", "1006440", "644", "100648", "50000", "+00644", "40755", "40001",
        ] {
            assert!(refused(&[(mode, "a")]).contains("mode"), "{mode}");
        }
        let raw = entry("100644", "a", 1);
        for cut in 1..raw.len() {
            assert!(entries(&raw[..cut], 20).is_err(), "{cut}");
        }
    }
}
