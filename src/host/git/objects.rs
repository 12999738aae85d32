//! Reads objects of a repository as raw bytes: the one reader for all kinds.
//!
//! An object's kind and size are known before its bytes are read, since a few
//! bytes can inflate to very many. No object is returned as [`Object`] before its
//! bytes were hashed (SHA-1 with collision detection) and compared with its ID.
//!
//! *Not checked here:* signatures (`evidence/verify.rs`).

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use gix::{
    ObjectId,
    objs::Kind,
    prelude::{FindExt as _, HeaderExt as _},
};

use super::{
    deadline::Deadline,
    delta_chains::{self, DeltaChains},
    error::{GitError, words},
};
use gitseal_evidence::object::{HashKind, MAX_OBJECT, ObjectKind};

/// The longest chain of tags of tags that is followed.
pub const MAX_TAG_DEPTH: usize = 16;
/// Maximum size of a tree, in bytes.
const MAX_TREE: u64 = 64 * 1024 * 1024;

/// An object as it is stored.
#[derive(Debug, Clone)]
pub struct Object {
    pub id: ObjectId,
    pub kind: ObjectKind,
    /// The bytes that git hashes, without the `commit 123\0` in front.
    pub raw: Vec<u8>,
}

/// Number of objects that were read, of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCounts {
    pub commits_and_tags: u64,
    pub trees: u64,
    pub blobs: u64,
    /// Number of deltas that were applied for them.
    pub deltas: u64,
}

/// What was read so far, and how long reading may go on.
#[derive(Debug, Default)]
pub(super) struct Reading {
    commits_and_tags: AtomicU64,
    trees: AtomicU64,
    blobs: AtomicU64,
    pub(super) deltas: AtomicU64,
    deadline: OnceLock<Deadline>,
}

/// The objects of a repository, for one thread. Clones share mapped files.
#[derive(Clone)]
pub struct Objects {
    pub(super) odb: gix::OdbHandle,
    pub(super) format: gix::hash::Kind,
    pub(super) hash: HashKind,
    pub(super) reading: Arc<Reading>,
    pub(super) chains: Arc<DeltaChains>,
    /// The directory that shows several object directories as one; removed when
    /// dropped.
    pub(super) _view: Option<Arc<tempfile::TempDir>>,
}

/// The bytes of a commit or tag as stored, not yet compared with its ID.
#[derive(Debug, Clone)]
pub struct UncheckedObject {
    pub(super) id: ObjectId,
    pub(super) kind: ObjectKind,
    pub(super) raw: Vec<u8>,
}

impl UncheckedObject {
    /// Returns the ID under which the bytes are stored.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.raw.len()
    }

    /// Returns the object if its bytes hash to its ID.
    ///
    /// # Errors
    /// Returns [`GitError::Damaged`] if they do not.
    pub fn verify_hash(self) -> Result<Object, GitError> {
        let kind = match self.kind {
            ObjectKind::Commit => Kind::Commit,
            ObjectKind::Tag => Kind::Tag,
        };
        verify(self.id, kind, &self.raw)?;
        Ok(Object {
            id: self.id,
            kind: self.kind,
            raw: self.raw,
        })
    }
}

fn verify(id: ObjectId, kind: Kind, raw: &[u8]) -> Result<(), GitError> {
    let found = match gix::objs::compute_hash(id.kind(), kind, raw) {
        Ok(found) if found == id => return Ok(()),
        Ok(found) => found.to_string(),
        Err(error) => words(&gix::Error::from_error(error)),
    };
    let id = id.to_string();
    Err(GitError::Damaged { id, found })
}

/// The object that an ID leads to when tags are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeled {
    /// The tag objects on the way, the outermost first.
    pub tags: Vec<ObjectId>,
    /// The object that the last of them names.
    pub target: Target,
}

/// An object that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A commit.
    Commit(ObjectId),
    /// A `tree` or `blob`, which cannot be signed.
    Other(String),
}

impl Objects {
    /// Returns the hash that names objects here.
    #[must_use]
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// Sets when reading ends, for all clones. The first call counts.
    pub fn set_deadline(&self, deadline: Deadline) {
        let _ = self.reading.deadline.set(deadline);
    }

    /// Checks that the time for reading is not over.
    ///
    /// # Errors
    /// Returns [`GitError::Timeout`] if it is.
    pub fn check_time(&self) -> Result<(), GitError> {
        self.reading.deadline.get().map_or(Ok(()), Deadline::check)
    }

    /// Returns how many objects were read so far, by all clones.
    #[must_use]
    pub fn counts(&self) -> ReadCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ReadCounts {
            commits_and_tags: of(&self.reading.commits_and_tags),
            trees: of(&self.reading.trees),
            blobs: of(&self.reading.blobs),
            deltas: of(&self.reading.deltas),
        }
    }

    /// Returns a commit or tag whose bytes hash to `id`.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is missing, damaged, too large, or a tree or blob.
    pub fn read(&self, id: ObjectId) -> Result<Object, GitError> {
        self.unchecked(id)?.verify_hash()
    }

    /// Returns the bytes of a commit or tag, not yet compared with `id`.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is missing, unreadable, too large, or a tree or
    /// blob.
    pub fn unchecked(&self, id: ObjectId) -> Result<UncheckedObject, GitError> {
        let most = u64::try_from(MAX_OBJECT).unwrap_or(u64::MAX);
        let (kind, raw) = self.load(id, &[Kind::Commit, Kind::Tag], "commit or tag", most)?;
        let kind = match kind {
            Kind::Tag => ObjectKind::Tag,
            _ => ObjectKind::Commit,
        };
        Ok(UncheckedObject { id, kind, raw })
    }

    /// Returns the bytes of a tree that hash to `id`.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is missing, damaged, too large, or not a tree.
    pub fn tree(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        // Git knows the empty tree without storing it.
        if id.is_empty_tree() {
            return Ok(Vec::new());
        }
        let (kind, raw) = self.load(id, &[Kind::Tree], "tree", MAX_TREE)?;
        verify(id, kind, &raw)?;
        Ok(raw)
    }

    /// Returns the bytes of a file that hash to `id`.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is missing, damaged, not a file, or has more than
    /// `most` bytes.
    pub fn blob(&self, id: ObjectId, most: u64) -> Result<Vec<u8>, GitError> {
        let (kind, raw) = self.load(id, &[Kind::Blob], "file", most)?;
        verify(id, kind, &raw)?;
        Ok(raw)
    }

    fn load(
        &self,
        id: ObjectId,
        kinds: &[Kind],
        wanted: &'static str,
        most: u64,
    ) -> Result<(Kind, Vec<u8>), GitError> {
        let unreadable = |why: String| GitError::Unreadable {
            id: id.to_string(),
            why,
        };
        self.check_time()?;
        let header = self.header(id)?;
        if !kinds.contains(&header.kind()) {
            return Err(GitError::Kind {
                name: id.to_string(),
                found: header.kind().to_string(),
                wanted,
            });
        }
        if header.size() > most {
            return Err(GitError::TooLarge {
                id: id.to_string(),
                bytes: header.size(),
                most,
            });
        }
        let counter = match header.kind() {
            Kind::Commit | Kind::Tag => &self.reading.commits_and_tags,
            Kind::Tree => &self.reading.trees,
            Kind::Blob => &self.reading.blobs,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let deltas = header.num_deltas().unwrap_or(0);
        if deltas > delta_chains::MAX_CHAIN {
            return Err(delta_chains::too_long(id, deltas));
        }
        if deltas > delta_chains::SHORT {
            let raw = self
                .chains
                .read(id, header.kind(), &|| self.directories())?;
            return Ok((header.kind(), raw));
        }
        let mut raw = Vec::new();
        let found = self.odb.find(&id, &mut raw).map_err(|error| {
            if delta_chains::is_too_large(&error) {
                delta_chains::too_much_memory(id)
            } else {
                unreadable(words(&error))
            }
        })?;
        if found.kind != header.kind() {
            return Err(unreadable("it is stored as two kinds of object".to_owned()));
        }
        Ok((header.kind(), raw))
    }

    /// The object directories, the alternates after the primary one.
    fn directories(&self) -> Result<Vec<PathBuf>, GitError> {
        let store = self.odb.store_ref();
        let mut directories = vec![store.path().to_owned()];
        let unusable = |error: gix::Error| GitError::ObjectDirectories { why: words(&error) };
        directories.extend(store.alternate_db_paths().map_err(unusable)?);
        Ok(directories)
    }

    /// Returns the kind of an object, by Git's name.
    ///
    /// # Errors
    /// Returns [`GitError`] if it is missing or unreadable.
    pub fn kind(&self, id: ObjectId) -> Result<String, GitError> {
        Ok(self.header(id)?.kind().to_string())
    }

    fn header(&self, id: ObjectId) -> Result<gix::odb::find::Header, GitError> {
        self.odb.header(id).map_err(|error| {
            if gix::objs::Exists::exists(&self.odb, &id) {
                GitError::Unreadable {
                    id: id.to_string(),
                    why: words(&error),
                }
            } else {
                GitError::Missing { id: id.to_string() }
            }
        })
    }

    /// Follows tags to the object that the last of them names.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`GitError::TagDepth`] for too many tags of tags.
    pub fn peel(&self, id: ObjectId) -> Result<Peeled, GitError> {
        let mut tags = Vec::new();
        let mut at = id;
        for _ in 0..=MAX_TAG_DEPTH {
            let header = self.header(at);
            let header = header.map_err(|_| GitError::Missing { id: at.to_string() })?;
            let target = match header.kind() {
                Kind::Commit => Target::Commit(at),
                Kind::Tag => {
                    let tag = self.read(at)?;
                    tags.push(at);
                    at = gix::objs::TagRefIter::from_bytes(&tag.raw, self.format)
                        .target_id()
                        .map_err(|_| GitError::Unreadable {
                            id: at.to_string(),
                            why: "the tag names no object".to_owned(),
                        })?;
                    continue;
                }
                other => Target::Other(other.to_string()),
            };
            return Ok(Peeled { tags, target });
        }
        Err(GitError::TagDepth {
            name: id.to_string(),
            most: MAX_TAG_DEPTH,
        })
    }
}
