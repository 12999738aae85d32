//! The one place where a name of a revision becomes an object.
//!
//! 1. A full ID means that object, a full ref name (`refs/…`, `HEAD`) that ref only.
//! 2. Otherwise Git's rules for refs apply, in Git's order: `NAME`, `refs/NAME`,
//!    `refs/tags/NAME`, `refs/heads/NAME`, `refs/remotes/NAME`,
//!    `refs/remotes/NAME/HEAD`. Git takes the first hit with a warning; here two
//!    hits are refused.
//! 3. Otherwise it is an abbreviated ID, of one object only.
//!
//! Suffixes follow: `^`, `^N`, `~N`, `^{}`, `^{commit}`, `^{tag}`, `^{object}`. What
//! depends on a reflog, a branch's configuration, a message or a count of commits
//! (`git describe`) is not read: its meaning is not in a ref or an object.
//!
//! So a name means what `git rev-parse` prints, or it is refused.
//!
//! *Not checked here:* ranges (`walk.rs`), signatures (`evidence/verify.rs`).

use std::collections::HashSet;

use gix::{
    ObjectId,
    bstr::{BStr, ByteSlice as _},
};

use super::{
    Repository,
    error::{GitError, words},
    graph::CommitHeaders,
    objects::{Object, Target},
};
use gitseal_evidence::object::{self, ObjectKind};

/// Maximum number of suffixes of a name.
const MAX_SUFFIXES: usize = 1024;
/// The shortest abbreviation of an ID, as in Git.
const MIN_ABBREVIATION: usize = 4;
/// Maximum number of objects that a refusal lists.
const MAX_LISTED: usize = 5;
/// Maximum size of a file that can be a ref, in bytes.
const MAX_REF_FILE: u64 = 4096;

/// What a name resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedName {
    /// The name as it was entered.
    pub name: String,
    /// The ref that it means, and those that this one leads to; empty for an ID.
    pub refs: Vec<String>,
    /// The object that the last ref, or the ID, names.
    pub target: ObjectId,
    /// The object after the suffixes.
    pub id: ObjectId,
    suffix: String,
}

impl ResolvedName {
    /// Returns the equation from the name to the ID: `main = refs/heads/main = 3b18…`.
    /// `None` for a name that is the ID.
    #[must_use]
    pub fn equation(&self) -> Option<String> {
        let id = self.id.to_string();
        let mut parts = vec![self.name.clone()];
        for name in &self.refs {
            parts.push(format!("{name}{}", self.suffix));
        }
        parts.push(id);
        parts.dedup();
        (parts.len() > 1).then(|| parts.join(" = "))
    }
}

/// A tag object under a ref of another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MisnamedTag {
    pub reference: String,
    pub id: ObjectId,
    /// The name in the tag object, if it is readable.
    pub inside: Option<String>,
}

impl std::fmt::Display for MisnamedTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            reference,
            id,
            inside,
        } = self;
        match inside {
            Some(inside) => write!(
                f,
                "{reference} points to tag object {id}, which is named {inside:?}"
            ),
            None => write!(
                f,
                "{reference} points to tag object {id}, whose name is unreadable"
            ),
        }
    }
}

/// The objects among which an abbreviated ID must be unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Commits, and tags of commits.
    Commits,
    Objects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suffix {
    /// `^N`; 0 is the commit itself.
    Parent(usize),
    /// `~N`.
    Ancestor(usize),
    /// `^{commit}`.
    Commit,
    /// `^{tag}`.
    Tag,
    /// `^{object}`.
    Object,
    /// `^{}`.
    Peeled,
}

impl Suffix {
    /// Git passes on what kind of object an abbreviation can be (`peel_onion`,
    /// `get_parent` and `get_nth_ancestor` of `object-name.c`).
    fn among(self) -> Among {
        match self {
            Self::Parent(_) | Self::Ancestor(_) | Self::Commit => Among::Commits,
            Self::Tag | Self::Object | Self::Peeled => Among::Objects,
        }
    }
}

impl Repository {
    /// Resolves a name to an object.
    ///
    /// # Errors
    /// Returns [`GitError`] if the name means nothing, more than one object, or
    /// something that is not read.
    pub fn resolve(&self, name: &str, among: Among) -> Result<ResolvedName, GitError> {
        let (base, suffixes) = suffixes(name)?;
        let suffix = name.get(base.len()..).unwrap_or_default().to_owned();
        let among = suffixes.first().map_or(among, |first| first.among());
        let (refs, target) = self.base(name, base, among)?;
        let mut id = target;
        for suffix in suffixes {
            id = self.apply(name, id, suffix)?;
        }
        Ok(ResolvedName {
            name: name.to_owned(),
            refs,
            target,
            id,
            suffix,
        })
    }

    /// Resolves a name to a commit, through tags.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), or if the object is not a commit.
    pub fn resolve_commit(&self, name: &str) -> Result<(ObjectId, ResolvedName), GitError> {
        let resolved = self.resolve(name, Among::Commits)?;
        Ok((self.commit_of(name, resolved.id)?, resolved))
    }

    /// Returns the commit that a name means, through tags.
    ///
    /// # Errors
    /// As [`resolve_commit`](Self::resolve_commit), or if it is missing, damaged or
    /// too large.
    pub fn commit(&self, name: &str) -> Result<(Object, ResolvedName), GitError> {
        let (id, resolved) = self.resolve_commit(name)?;
        Ok((self.objects.read(id)?, resolved))
    }

    /// Returns the tag object that a name means.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), or if it is a lightweight tag or another object.
    pub fn tag(&self, name: &str) -> Result<(Object, ResolvedName), GitError> {
        let resolved = self.resolve(name, Among::Objects)?;
        let found = match self.objects.read(resolved.id) {
            Ok(tag) if tag.kind == ObjectKind::Tag => return Ok((tag, resolved)),
            Ok(_) => "commit".to_owned(),
            Err(GitError::Kind { found, .. }) => found,
            Err(error) => return Err(error),
        };
        let name = name.to_owned();
        let is_tag = |reference: &String| reference.starts_with("refs/tags/");
        Err(if resolved.refs.first().is_some_and(is_tag) {
            GitError::LightweightTag { name }
        } else {
            let wanted = "tag";
            GitError::Kind {
                name,
                found,
                wanted,
            }
        })
    }

    /// Returns the commit or tag object that a name means; tags are not followed.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), or if it is another object.
    pub fn commit_or_tag(&self, name: &str) -> Result<(Object, ResolvedName), GitError> {
        let resolved = self.resolve(name, Among::Objects)?;
        let object = self
            .objects
            .read(resolved.id)
            .map_err(|error| match error {
                GitError::Kind { found, wanted, .. } => GitError::Kind {
                    name: name.to_owned(),
                    found,
                    wanted,
                },
                other => other,
            })?;
        Ok((object, resolved))
    }

    /// Returns the tag object that a name leads to, if its ref has another name than
    /// the tag. Whether an ID is the tag that was meant cannot be known.
    ///
    /// # Errors
    /// Returns [`GitError`] if the tag object is unreadable.
    pub fn misnamed_tag(&self, resolved: &ResolvedName) -> Result<Option<MisnamedTag>, GitError> {
        let Some(reference) = resolved.refs.last() else {
            return Ok(None);
        };
        let tag = match self.objects.read(resolved.target) {
            Ok(tag) if tag.kind == ObjectKind::Tag => tag,
            // Trees and blobs are refused where the object is used, missing objects too.
            Ok(_) | Err(GitError::Kind { .. } | GitError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let inside = object::tag_view(&tag.raw).ok().map(|view| view.tag);
        let is_same =
            inside
                .as_ref()
                .is_some_and(|inside| match reference.strip_prefix("refs/tags/") {
                    Some(name) => name == inside,
                    None => reference
                        .strip_suffix(inside.as_str())
                        .is_some_and(|before| before.ends_with('/')),
                });
        Ok((!is_same).then(|| MisnamedTag {
            reference: reference.clone(),
            id: tag.id,
            inside,
        }))
    }

    fn commit_of(&self, name: &str, id: ObjectId) -> Result<ObjectId, GitError> {
        match self.objects.peel(id)?.target {
            Target::Commit(id) => Ok(id),
            Target::Other(found) => Err(GitError::Kind {
                name: name.to_owned(),
                found,
                wanted: "commit",
            }),
        }
    }

    /// Resolves a name without suffixes.
    fn base(
        &self,
        name: &str,
        base: &str,
        among: Among,
    ) -> Result<(Vec<String>, ObjectId), GitError> {
        let unknown = || GitError::UnknownRevision {
            revision: name.to_owned(),
        };
        if let Some(why) = unread(base) {
            return Err(GitError::Revision {
                revision: name.to_owned(),
                why: why.to_owned(),
            });
        }
        let is_hex = base.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = self.inner.object_hash().len_in_hex();
        if is_hex && base.len() == digits {
            let id = ObjectId::from_hex(base.as_bytes()).map_err(|_| unknown())?;
            return Ok((Vec::new(), id));
        }
        let base = if base == "@" { "HEAD" } else { base };
        let mut hits = self.ref_hits(base)?;
        let is_abbreviation = is_hex && (MIN_ABBREVIATION..digits).contains(&base.len());
        let objects = if is_abbreviation {
            self.objects_with_prefix(base, among, hits.is_empty())?
        } else {
            Vec::new()
        };
        match (hits.as_slice(), objects.as_slice()) {
            ([_], []) => {}
            ([], [id]) => return Ok((Vec::new(), *id)),
            ([], []) if is_description(base) => {
                return Err(GitError::Revision {
                    revision: name.to_owned(),
                    why: "the output of git describe is not read".to_owned(),
                });
            }
            ([], []) => return Err(unknown()),
            _ => {
                let refs = hits.iter().map(|hit| hit.names.join(" = "));
                let listed = objects.iter().take(MAX_LISTED);
                let mut meanings: Vec<String> =
                    refs.chain(listed.map(|id| self.with_kind(*id))).collect();
                if objects.len() > MAX_LISTED {
                    meanings.push("more objects".to_owned());
                }
                return Err(GitError::Ambiguous {
                    name: base.to_owned(),
                    meanings,
                });
            }
        }
        let hit = hits.pop().ok_or_else(unknown)?;
        let refuse = |why: String| GitError::Revision {
            revision: name.to_owned(),
            why,
        };
        if hit.is_file {
            return Err(refuse(
                "it is a file in the Git directory, which is not read as a ref".to_owned(),
            ));
        }
        match hit.id {
            Some(id) => Ok((hit.names, id)),
            None => Err(refuse(format!(
                "{}, which does not exist",
                hit.names.join(" leads to ")
            ))),
        }
    }

    /// Returns every ref that a name can mean, in Git's order.
    fn ref_hits(&self, name: &str) -> Result<Vec<RefHit>, GitError> {
        let bytes: &BStr = name.as_bytes().as_bstr();
        // Git finds no ref by a name that cannot be one.
        if gix::validate::reference::name_partial(bytes).is_err() {
            return Ok(Vec::new());
        }
        if name.starts_with("main-worktree/") || name.starts_with("worktrees/") {
            return Err(GitError::Revision {
                revision: name.to_owned(),
                why: "refs of other worktrees are not read".to_owned(),
            });
        }
        let mut hits = Vec::new();
        let is_root = name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if (is_root || name.starts_with("refs/"))
            && let Some(hit) = self.ref_hit(name)?
        {
            if name == "HEAD" || name.starts_with("refs/") {
                return Ok(vec![hit]);
            }
            hits.push(hit);
        } else if name == "HEAD" || name.starts_with("refs/") {
            // Git goes on to refs/tags/refs/…, which anyone who may push a tag can make.
            return Err(GitError::Revision {
                revision: name.to_owned(),
                why: "no ref has this full name".to_owned(),
            });
        } else if self.is_ref_file(name) {
            hits.push(RefHit {
                names: vec![format!("the file {name} in the Git directory")],
                id: None,
                is_file: true,
            });
        }
        for (before, after) in [
            ("refs/", ""),
            ("refs/tags/", ""),
            ("refs/heads/", ""),
            ("refs/remotes/", ""),
            ("refs/remotes/", "/HEAD"),
        ] {
            hits.extend(self.ref_hit(&format!("{before}{name}{after}"))?);
        }
        Ok(hits)
    }

    fn ref_hit(&self, full: &str) -> Result<Option<RefHit>, GitError> {
        let full: &BStr = full.as_bytes().as_bstr();
        let Some(value) = self.find_ref(full)? else {
            return Ok(None);
        };
        let followed = self.follow_ref(full, value)?;
        let names = followed.names.iter();
        Ok(Some(RefHit {
            names: names.map(|name| name.to_str_lossy().into_owned()).collect(),
            id: followed.id,
            is_file: false,
        }))
    }

    /// Returns whether Git could read a file of its directory as a ref of this name:
    /// it starts with an ID or `ref:`.
    fn is_ref_file(&self, name: &str) -> bool {
        let digits = self.inner.object_hash().len_in_hex();
        let mut directories = [self.inner.git_dir(), self.inner.common_dir()].into_iter();
        directories.any(|directory| {
            let path = directory.join(name);
            // Nothing is opened that could wait for a writer.
            if !std::fs::metadata(&path).is_ok_and(|file| file.is_file()) {
                return false;
            }
            let mut start = Vec::new();
            let read = std::fs::File::open(&path).and_then(|file| {
                std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_REF_FILE), &mut start)
            });
            // A file that is unreadable here may be readable for Git.
            read.is_err()
                || start.starts_with(b"ref:")
                || start
                    .get(..digits)
                    .is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
        })
    }

    /// Returns the objects whose ID starts with `prefix`: the commits, and where none is
    /// one, all if `or_any`.
    fn objects_with_prefix(
        &self,
        prefix: &str,
        among: Among,
        or_any: bool,
    ) -> Result<Vec<ObjectId>, GitError> {
        let refuse = |why: String| GitError::Revision {
            revision: prefix.to_owned(),
            why,
        };
        // From a short prefix alone the library assumes SHA-1.
        let digits = self.inner.object_hash().len_in_hex();
        let first = ObjectId::from_hex(format!("{prefix:0<digits$}").as_bytes())
            .map_err(|error| refuse(error.to_string()))?;
        let parsed = gix::hash::Prefix::new(&first, prefix.len())
            .map_err(|error| refuse(error.to_string()))?;
        let mut found = HashSet::new();
        self.objects
            .odb
            .lookup_prefix(parsed, Some(&mut found))
            .map_err(|error| refuse(words(&error)))?;
        let mut found: Vec<ObjectId> = found.into_iter().collect();
        found.sort_unstable();
        if among == Among::Commits && (found.len() > 1 || !or_any) {
            let is_commit = |id: &ObjectId| match self.objects.peel(*id) {
                Ok(peeled) => matches!(peeled.target, Target::Commit(_)),
                // An unreadable object stays a candidate.
                Err(_) => true,
            };
            let commits: Vec<ObjectId> = found.iter().copied().filter(is_commit).collect();
            if !commits.is_empty() || !or_any {
                return Ok(commits);
            }
        }
        Ok(found)
    }

    fn with_kind(&self, id: ObjectId) -> String {
        match self.objects.kind(id) {
            Ok(kind) => format!("{kind} {id}"),
            Err(_) => format!("object {id}"),
        }
    }

    /// Applies one suffix to an object.
    fn apply(&self, name: &str, id: ObjectId, suffix: Suffix) -> Result<ObjectId, GitError> {
        match suffix {
            Suffix::Parent(0) | Suffix::Ancestor(0) | Suffix::Commit => self.commit_of(name, id),
            Suffix::Parent(number) => self.parent(name, id, number),
            Suffix::Ancestor(number) => {
                let mut at = self.commit_of(name, id)?;
                for _ in 0..number {
                    at = self.parent(name, at, 1)?;
                }
                Ok(at)
            }
            Suffix::Object => self.objects.kind(id).map(|_| id),
            Suffix::Tag => match self.objects.kind(id)? {
                kind if kind == "tag" => Ok(id),
                found => Err(GitError::Kind {
                    name: name.to_owned(),
                    found,
                    wanted: "tag",
                }),
            },
            Suffix::Peeled => {
                let mut peeled = self.objects.peel(id)?;
                match (peeled.target, peeled.tags.pop()) {
                    (Target::Commit(id), _) => Ok(id),
                    (Target::Other(_), None) => Ok(id),
                    (Target::Other(found), Some(_)) => Err(GitError::Kind {
                        name: name.to_owned(),
                        found,
                        wanted: "commit",
                    }),
                }
            }
        }
    }

    /// Returns a parent of a commit: of its bytes, not of replacement refs or grafts.
    fn parent(&self, name: &str, id: ObjectId, number: usize) -> Result<ObjectId, GitError> {
        let refuse = |why: String| GitError::Revision {
            revision: name.to_owned(),
            why,
        };
        let id = self.commit_of(name, id)?;
        let commit = self.objects.read(id)?;
        if self.shallow()?.contains(&id) {
            return Err(refuse(format!(
                "commit {id} is at the boundary of a shallow clone"
            )));
        }
        let parents = CommitHeaders::parse(&commit.raw, self.objects.format).parents;
        number
            .checked_sub(1)
            .and_then(|index| parents.get(index).copied())
            .ok_or_else(|| match parents.len() {
                1 => refuse(format!("commit {id} has 1 parent")),
                count => refuse(format!("commit {id} has {count} parents")),
            })
    }
}

/// A ref that a name can mean.
struct RefHit {
    /// The ref, and those that it leads to.
    names: Vec<String>,
    /// The object; `None` if the last name does not exist.
    id: Option<ObjectId>,
    /// Whether it is another file of the Git directory.
    is_file: bool,
}

/// Returns why a name without suffixes is not read.
fn unread(base: &str) -> Option<&'static str> {
    if base.contains("@{") {
        return Some(
            "reflog entries and the upstream of a branch are not read; 'git rev-parse' prints their ID",
        );
    }
    if base.contains("..") {
        return Some("a range is not a single revision");
    }
    if base.starts_with(":/") {
        return Some("commits are not searched by their message");
    }
    base.contains(':')
        .then_some("a path in a commit is neither a commit nor a tag")
}

/// Returns whether a name looks like `NAME-gHEX`, the output of `git describe`.
fn is_description(base: &str) -> bool {
    base.rsplit_once("-g").is_some_and(|(_, hex)| {
        hex.len() >= MIN_ABBREVIATION && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Splits the suffixes off a name, and returns them in the order of their
/// application (`get_oid_1` of Git's `object-name.c`).
fn suffixes(name: &str) -> Result<(&str, Vec<Suffix>), GitError> {
    let refuse = |why: &str| GitError::Revision {
        revision: name.to_owned(),
        why: why.to_owned(),
    };
    let mut base = name;
    let mut found = Vec::new();
    loop {
        if found.len() > MAX_SUFFIXES {
            return Err(refuse("it has too many suffixes"));
        }
        if let Some(open) = base.strip_suffix('}')
            && let Some((before, kind)) = open.rsplit_once("^{")
        {
            found.push(match kind {
                "commit" => Suffix::Commit,
                "tag" => Suffix::Tag,
                "object" => Suffix::Object,
                "" => Suffix::Peeled,
                "tree" | "blob" => return Err(refuse("trees and blobs cannot be signed")),
                _ if kind.starts_with('/') => {
                    return Err(refuse("commits are not searched by their message"));
                }
                _ => return Err(refuse("its suffix is unknown")),
            });
            base = before;
            continue;
        }
        let before = base.trim_end_matches(|digit: char| digit.is_ascii_digit());
        let digits = base.get(before.len()..).unwrap_or_default();
        let number = || match digits {
            "" => Ok(1),
            digits => digits
                .parse::<i32>()
                .ok()
                .and_then(|number| usize::try_from(number).ok())
                .ok_or_else(|| refuse("its suffix has a number that is too large")),
        };
        if let Some(before) = before.strip_suffix('^') {
            found.push(Suffix::Parent(number()?));
            base = before;
        } else if let Some(before) = before.strip_suffix('~') {
            found.push(Suffix::Ancestor(number()?));
            base = before;
        } else {
            break;
        }
    }
    found.reverse();
    if base.is_empty() {
        return Err(GitError::UnknownRevision {
            revision: name.to_owned(),
        });
    }
    Ok((base, found))
}
