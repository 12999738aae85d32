//! Creation of Merkle tree proofs, the counterpart of `evidence/merkle.rs`, over any
//! storage of complete subtrees (RFC 9162 §2.1.1, §2.1.3.1, §2.1.4.1).

use gitseal_evidence::merkle::{EMPTY_ROOT, Hash, node_hash};

#[cfg(test)]
mod tests;

/// A source of the hashes of complete subtrees: a vector, or tiles.
pub trait NodeSource {
    /// The error for a hash that is unavailable.
    type Error;

    /// Returns the root of the complete subtree of `2^level` leaves that starts with
    /// leaf `index * 2^level`. Level 0 contains the leaf hashes.
    ///
    /// # Errors
    ///
    /// Returns an error if the hash is unavailable.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Returns the root of the first `size` leaves (RFC 9162 §2.1.1).
///
/// # Errors
///
/// Returns the source's error if a node is unavailable.
pub fn root<N: NodeSource>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    range(nodes, 0, size)
}

/// Returns the inclusion proof of a leaf in the first `size` leaves, leaf side first
/// (RFC 9162 §2.1.3.1). It is empty if the leaf is not in the tree.
///
/// # Errors
///
/// Returns the source's error if a node is unavailable.
pub fn inclusion_proof<N: NodeSource>(
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    let (mut begin, mut end) = (0_u64, size);
    if index >= size {
        return Ok(proof);
    }
    // Walk down from the root; each turn leaves a sibling behind.
    while end.saturating_sub(begin) > 1 {
        let middle = begin.saturating_add(split(end.saturating_sub(begin)));
        if index < middle {
            proof.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range(nodes, begin, middle)?);
            begin = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Returns the consistency proof between the first `old` and the first `new` leaves
/// (RFC 9162 §2.1.4.1). It is empty if `old` is 0 or not smaller than `new`.
///
/// # Errors
///
/// Returns the source's error if a node is unavailable.
pub fn consistency_proof<N: NodeSource>(
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut begin, mut end) = (0_u64, new);
    while end != old {
        let middle = begin.saturating_add(split(end.saturating_sub(begin)));
        if old <= middle {
            proof.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range(nodes, begin, middle)?);
            begin = middle;
        }
    }
    // Only if the old tree is no complete subtree of the new one does the
    // verifier not know this node already.
    if begin != 0 {
        proof.push(range(nodes, begin, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two smaller than `count`; `count` is at least 2.
fn split(count: u64) -> u64 {
    let below = count.saturating_sub(1);
    1_u64
        .checked_shl(bits(below).saturating_sub(1))
        .unwrap_or(1)
}

/// The root over the leaves `begin..end`, where `begin` is a multiple of a
/// power of two at least as large as the count: complete subtrees from the
/// left, folded from the right.
fn range<N: NodeSource>(nodes: &N, begin: u64, end: u64) -> Result<Hash, N::Error> {
    let mut subtrees = Vec::new();
    let mut at = begin;
    while at < end {
        let level = bits(end.saturating_sub(at)).saturating_sub(1);
        let width = 1_u64.checked_shl(level).unwrap_or(1);
        let level = u8::try_from(level).unwrap_or(63);
        subtrees.push(nodes.node(level, shift(at, u32::from(level)))?);
        at = at.saturating_add(width);
    }
    let mut root = subtrees.pop().unwrap_or(EMPTY_ROOT);
    while let Some(left) = subtrees.pop() {
        root = node_hash(&left, &root);
    }
    Ok(root)
}

/// A tree in memory: every complete subtree's hash, appended to leaf by leaf.
/// 64 bytes a leaf.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    levels: Vec<Vec<Hash>>,
}

impl MemoryTree {
    /// Returns the number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels
            .first()
            .map_or(0, |leaves| u64::try_from(leaves.len()).unwrap_or(u64::MAX))
    }

    /// Appends a leaf and completes the subtrees that end with it.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut level = 0;
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(level) else {
                return;
            };
            row.push(hash);
            if row.len() % 2 == 1 {
                return;
            }
            let Some([left, right]) = row.last_chunk::<2>() else {
                return;
            };
            hash = node_hash(left, right);
            level = level.saturating_add(1);
        }
    }
}

/// A node that is not in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no node {index} on level {level}")]
pub struct MissingNodeError {
    /// The level, leaves at 0.
    pub level: u8,
    /// The index within the level.
    pub index: u64,
}

impl NodeSource for MemoryTree {
    type Error = MissingNodeError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, MissingNodeError> {
        self.levels
            .get(usize::from(level))
            .and_then(|row| row.get(usize::try_from(index).ok()?))
            .copied()
            .ok_or(MissingNodeError { level, index })
    }
}

fn bits(value: u64) -> u32 {
    64_u32.saturating_sub(value.leading_zeros())
}

fn shift(value: u64, by: u32) -> u64 {
    value.checked_shr(by).unwrap_or(0)
}
