//! Objects of a pack that were decoded lately. In a pack, a commit is often
//! stored as its difference from another one, and that from the next, up to fifty
//! deep; whoever reads a history in its order finds the base of each among the
//! last few.
//!
//! *Not checked here:* anything: what comes out is hashed like what comes from
//! disk.

use std::sync::{Arc, atomic::Ordering};

use gix::{objs::Kind, odb::pack::cache::DecodeEntry};

use super::objects::Reading;

/// Number of cached objects.
const SLOTS: usize = 1024;
/// The largest object that is kept, in bytes: a commit, not a file.
const MAX_KEPT: usize = 16 * 1024;

struct Base {
    pack: u32,
    offset: u64,
    kind: Kind,
    compressed: usize,
    data: Vec<u8>,
}

/// The objects, each in the one place that its offset gives it.
pub(super) struct DeltaBases {
    bases: Vec<Option<Base>>,
    reading: Arc<Reading>,
}

impl DeltaBases {
    pub(super) fn new(reading: Arc<Reading>) -> Self {
        Self {
            bases: Vec::new(),
            reading,
        }
    }

    fn find(&self, pack: u32, offset: u64) -> Option<&Base> {
        let base = self.bases.get(place(pack, offset))?.as_ref()?;
        (base.pack == pack && base.offset == offset).then_some(base)
    }
}

fn place(pack: u32, offset: u64) -> usize {
    // The multiplier is the golden ratio's: neighbours in a pack go apart.
    let mixed = (offset ^ (u64::from(pack) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 32).unwrap_or_default() % SLOTS
}

impl DecodeEntry for DeltaBases {
    fn put(&mut self, pack: u32, offset: u64, data: &[u8], kind: Kind, compressed: usize) {
        if data.len() > MAX_KEPT {
            return;
        }
        if self.bases.is_empty() {
            self.bases.resize_with(SLOTS, || None);
        }
        let Some(slot) = self.bases.get_mut(place(pack, offset)) else {
            return;
        };
        let mut kept = slot.take().map(|base| base.data).unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(data);
        *slot = Some(Base {
            pack,
            offset,
            kind,
            compressed,
            data: kept,
        });
    }

    fn get(&mut self, pack: u32, offset: u64, out: &mut Vec<u8>) -> Option<(Kind, usize)> {
        let Some(base) = self.find(pack, offset) else {
            // What is not kept is resolved.
            self.reading.deltas.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        out.clear();
        out.extend_from_slice(&base.data);
        Some((base.kind, base.compressed))
    }
}
