//! Objects at the end of a long chain of deltas.
//!
//! A pack can store an object as its difference from another one, and that from
//! the next. The library resolves a chain from its base each time an object of it
//! is read: a pack that was made for it costs the square of its size. Here a long
//! chain is resolved in parts, and the objects between the parts are kept, so that
//! reading all objects of a chain costs about what reading the longest one does.
//!
//! One chain is resolved at a time, in bounded memory.
//!
//! *Not checked here:* what comes out (`objects.rs` hashes it).

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use gix::{
    ObjectId,
    objs::Kind,
    odb::pack::{Bundle, cache::DecodeEntry, data::entry::Header},
};

use super::{
    error::{GitError, words},
    objects::Reading,
};

/// The longest chain, in deltas, that the library resolves. Git writes chains of up
/// to 50 unless it is configured otherwise.
pub(super) const SHORT: u32 = 50;
/// The longest chain that is resolved, in deltas: the longest that Git can be
/// configured to write (`pack.depth`).
pub(super) const MAX_CHAIN: u32 = 4_095;
/// Maximum memory for unpacking one object, in bytes: twice the largest object of
/// its chain, and the deltas.
pub(super) const MAX_MEMORY: usize = 256 * 1024 * 1024;
/// Maximum size of the kept objects, in bytes.
const MAX_KEPT: usize = 64 * 1024 * 1024;

/// Whether the library gave up for the limit on memory.
pub(super) fn is_too_large(error: &gix::Error) -> bool {
    error.is_resource_exhausted()
}

pub(super) fn too_much_memory(id: ObjectId) -> GitError {
    GitError::Unpacking {
        id: id.to_string(),
        most: MAX_MEMORY,
    }
}

/// Where packs are, and the objects that are kept between reads.
pub(super) struct DeltaChains(Mutex<State>);

struct State {
    packs: Option<Vec<Bundle>>,
    kept: KeptBases,
}

impl DeltaChains {
    pub(super) fn new(reading: Arc<Reading>) -> Self {
        Self(Mutex::new(State {
            packs: None,
            kept: KeptBases {
                by_offset: HashMap::new(),
                order: VecDeque::new(),
                bytes: 0,
                is_keeping: false,
                reading,
            },
        }))
    }

    /// Returns the bytes of an object that the store keeps in a pack in one of
    /// `directories`.
    ///
    /// # Errors
    /// Returns [`GitError`] if its chain cannot be resolved within the limits.
    pub(super) fn read(
        &self,
        id: ObjectId,
        kind: Kind,
        directories: &dyn Fn() -> Result<Vec<PathBuf>, GitError>,
    ) -> Result<Vec<u8>, GitError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { packs, kept } = &mut *state;
        let place_of = |packs: &mut Option<Vec<Bundle>>| -> Result<_, GitError> {
            let packs = match packs {
                Some(packs) => packs,
                none => none.insert(open_packs(&directories()?, id.kind())),
            };
            Ok(packs
                .iter()
                .position(|pack| pack.index.lookup(id).is_some()))
        };
        // A pack may have been written since they were listed.
        let found = match place_of(packs)? {
            Some(found) => Some(found),
            None => {
                *packs = None;
                place_of(packs)?
            }
        };
        let pack = found.and_then(|at| packs.as_ref()?.get(at));
        let pack = pack.ok_or_else(|| GitError::Missing { id: id.to_string() })?;
        resolve(id, kind, pack, kept)
    }
}

fn open_packs(directories: &[PathBuf], hash: gix::hash::Kind) -> Vec<Bundle> {
    let files = directories
        .iter()
        .filter_map(|directory| fs::read_dir(directory.join("pack")).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "idx"));
    // One that cannot be opened is one that Git has replaced.
    files
        .filter_map(|path| Bundle::at(path, hash).ok())
        .map(|bundle| Bundle {
            pack: bundle.pack.with_alloc_limit_bytes(Some(MAX_MEMORY)),
            index: bundle.index,
        })
        .collect()
}

/// Resolves a chain from the last kept object of it on.
fn resolve(
    id: ObjectId,
    kind: Kind,
    bundle: &Bundle,
    kept: &mut KeptBases,
) -> Result<Vec<u8>, GitError> {
    let unreadable = |why: String| GitError::Unreadable {
        id: id.to_string(),
        why,
    };
    let chain = chain_of(id, bundle)?;
    let pack = &bundle.pack;
    let mut inflate = gix::zlib::Inflate::default();
    let mut raw = Vec::new();
    // From the base on, so that each chain through an object has the same parts.
    let step = usize::try_from(SHORT).unwrap_or(usize::MAX);
    let (last, parts) = match chain.split_first() {
        Some((last, bases)) => (last, bases.iter().rev().skip(step).step_by(step)),
        None => return Err(unreadable("it is not in its pack".to_owned())),
    };
    let parts = parts.map(|offset| (*offset, true));
    for (offset, is_keeping) in parts.chain(std::iter::once((*last, false))) {
        let entry = pack
            .entry(offset)
            .map_err(|error| unreadable(words(&error)))?;
        if is_keeping && kept.by_offset.contains_key(&(pack.id, entry.data_offset)) {
            continue;
        }
        kept.is_keeping = is_keeping;
        raw.clear();
        let in_pack = |base: &gix::oid, _: &mut Vec<u8>| {
            let Some(at) = bundle.index.lookup(base) else {
                return Ok(None);
            };
            pack.entry(bundle.index.pack_offset_at_index(at))
                .map(|entry| {
                    Some(gix::odb::pack::data::decode::entry::ResolvedBase::InPack(
                        entry,
                    ))
                })
        };
        let outcome = pack
            .decode_entry(entry, &mut raw, &mut inflate, &in_pack, kept)
            .map_err(|error| {
                if is_too_large(&error) {
                    too_much_memory(id)
                } else {
                    unreadable(words(&error))
                }
            })?;
        if outcome.kind != kind {
            return Err(unreadable("it is stored as two kinds of object".to_owned()));
        }
    }
    Ok(raw)
}

/// The places in the pack of an object and of its bases.
fn chain_of(id: ObjectId, bundle: &Bundle) -> Result<Vec<u64>, GitError> {
    let unreadable = |why: &str| GitError::Unreadable {
        id: id.to_string(),
        why: why.to_owned(),
    };
    let offset_of = |id: &gix::oid| {
        let at = bundle.index.lookup(id)?;
        Some(bundle.index.pack_offset_at_index(at))
    };
    let longest = usize::try_from(MAX_CHAIN).unwrap_or(usize::MAX);
    let mut next = offset_of(&id);
    let mut chain = Vec::new();
    while let Some(offset) = next {
        if chain.len() > longest {
            return Err(too_long(id, MAX_CHAIN.saturating_add(1)));
        }
        chain.push(offset);
        let entry = bundle.pack.entry(offset);
        let entry = entry.map_err(|error| unreadable(&words(&error)))?;
        next = match entry.header {
            Header::OfsDelta { base_distance } => Some(
                entry
                    .checked_base_pack_offset(base_distance)
                    .ok_or_else(|| unreadable("the base of a delta is outside its pack"))?,
            ),
            Header::RefDelta { base_id } => Some(
                offset_of(&base_id)
                    .ok_or_else(|| unreadable("the base of a delta is in another pack"))?,
            ),
            Header::Commit | Header::Tree | Header::Blob | Header::Tag => None,
        };
    }
    Ok(chain)
}

pub(super) fn too_long(id: ObjectId, deltas: u32) -> GitError {
    GitError::DeltaChain {
        id: id.to_string(),
        deltas,
        most: MAX_CHAIN,
    }
}

struct Kept {
    kind: Kind,
    compressed: usize,
    data: Vec<u8>,
}

/// The objects between the parts of chains; the oldest gives way.
struct KeptBases {
    by_offset: HashMap<(u32, u64), Kept>,
    order: VecDeque<(u32, u64)>,
    bytes: usize,
    /// Whether the next object is one of them.
    is_keeping: bool,
    reading: Arc<Reading>,
}

impl DecodeEntry for KeptBases {
    fn put(&mut self, pack: u32, offset: u64, data: &[u8], kind: Kind, compressed: usize) {
        if !self.is_keeping || data.len() > MAX_KEPT {
            return;
        }
        self.bytes = self.bytes.saturating_add(data.len());
        let kept = Kept {
            kind,
            compressed,
            data: data.to_vec(),
        };
        if let Some(before) = self.by_offset.insert((pack, offset), kept) {
            self.bytes = self.bytes.saturating_sub(before.data.len());
        } else {
            self.order.push_back((pack, offset));
        }
        while self.bytes > MAX_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(gone) = self.by_offset.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(gone.data.len());
            }
        }
    }

    fn get(&mut self, pack: u32, offset: u64, out: &mut Vec<u8>) -> Option<(Kind, usize)> {
        let Some(kept) = self.by_offset.get(&(pack, offset)) else {
            self.reading.deltas.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        out.clear();
        out.extend_from_slice(&kept.data);
        Some((kept.kind, kept.compressed))
    }
}

#[cfg(test)]
mod tests;
