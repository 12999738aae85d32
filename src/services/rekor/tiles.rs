//! The tree of a Rekor v2 log, read from its tiles (C2SP tlog-tiles) for proofs
//! between checkpoints.
//!
//! *Not checked here:* the hashes in the tiles. A proof of false hashes computes to
//! another root, which `evidence/merkle.rs` rejects.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

use super::client::{RekorClient, RekorClientError};
use crate::merkle_tree::NodeSource;
use gitseal_evidence::merkle::{Hash, node_hash};

/// The number of hashes of a full tile.
const WIDTH: u64 = 256;
/// The number of tree levels in one level of tiles.
const HEIGHT: u8 = 8;
/// The maximum number of cached tiles, 8 KiB each.
const MAX_KEPT: usize = 4096;

/// The tree of a log that has `size` entries.
pub struct TileReader<'a> {
    client: RekorClient<'a>,
    size: u64,
    tiles: RefCell<HashMap<(u8, u64), Vec<Hash>>>,
    requests: Cell<u64>,
}

impl<'a> TileReader<'a> {
    /// Returns the current tree of `client`'s log.
    #[must_use]
    pub fn new(client: RekorClient<'a>, size: u64) -> Self {
        Self {
            client,
            size,
            tiles: RefCell::new(HashMap::new()),
            requests: Cell::new(0),
        }
    }

    /// Returns the number of requested tiles.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Returns a hash of a tile. Partial tiles have the width in the log's current tree;
    /// others may no longer exist.
    fn hash(&self, level: u8, index: u64) -> Result<Hash, RekorClientError> {
        let n = index / WIDTH;
        let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        let shift = u32::from(level).saturating_mul(u32::from(HEIGHT));
        let hashes = self.size.checked_shr(shift).unwrap_or(0);
        let width = hashes.saturating_sub(n.saturating_mul(WIDTH)).min(WIDTH);
        let mut tiles = self.tiles.borrow_mut();
        if !tiles.contains_key(&(level, n)) {
            self.requests.set(self.requests.get().saturating_add(1));
            let tile = self.client.tile(level, n, width)?;
            if tiles.len() >= MAX_KEPT {
                tiles.clear();
            }
            tiles.insert((level, n), tile);
        }
        tiles
            .get(&(level, n))
            .and_then(|tile| tile.get(place))
            .copied()
            .ok_or_else(|| self.client.no_node(level, index))
    }
}

impl NodeSource for TileReader<'_> {
    type Error = RekorClientError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, RekorClientError> {
        let (tile_level, above) = (level / HEIGHT, level % HEIGHT);
        // The node of a level between two levels of tiles is made of the hashes
        // below it, all of one tile.
        let count = 1_u64 << above;
        let first = index.saturating_mul(count);
        let mut row = (first..first.saturating_add(count))
            .map(|index| self.hash(tile_level, index))
            .collect::<Result<Vec<Hash>, _>>()?;
        while row.len() > 1 {
            row = row
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node_hash(left, right),
                    _ => pair.first().copied().unwrap_or_default(),
                })
                .collect();
        }
        Ok(row.first().copied().unwrap_or_default())
    }
}
