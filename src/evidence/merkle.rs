//! The Merkle tree of a transparency log: hashes, proofs checked, proofs made.
//!
//! RFC 6962 §2.1 and RFC 9162 §2.1, SHA-256.
//!
//! *Not checked here:* who signed a root (`checkpoint.rs`), what a leaf says
//! (`entry.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use sha2::{Digest, Sha256};

use super::refusal::{hex, reasons};

#[cfg(test)]
mod tests;

/// SHA-256 of a leaf, an inner node, or a whole tree.
pub type Hash = [u8; 32];

/// Most hashes of a proof. A tree of 2^63 leaves has inclusion proofs of 63
/// hashes and consistency proofs of 64.
pub const MAX_PROOF_HASHES: usize = 64;

/// The root of the tree without leaves: SHA-256 of nothing (RFC 9162 §2.1.1).
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

reasons! {
    /// Why a Merkle proof proves nothing.
    pub enum MerkleRefusal {
        /// The leaf lies outside the tree.
        #[code = "proof-index-outside-tree"]
        #[error("leaf {index} lies outside a tree of {size} leaves")]
        IndexOutsideTree {
            /// Index of the leaf, from 0.
            index: u64,
            /// Leaves of the tree.
            size: u64,
        },
        /// The proof has another length than index and size call for.
        #[code = "proof-length"]
        #[error("the proof has {hashes} hashes, {wanted} are called for")]
        Length {
            /// Hashes it has.
            hashes: usize,
            /// Hashes it should have.
            wanted: usize,
        },
        /// The proof leads to another root.
        #[code = "proof-root-mismatch"]
        #[error("the proof leads to the root {computed}, not to {expected}")]
        RootMismatch {
            /// What the proof leads to, hex.
            computed: String,
            /// What it should lead to, hex.
            expected: String,
        },
        /// A consistency proof from a larger to a smaller tree.
        #[code = "proof-shrinks"]
        #[error("a log of {old} leaves cannot become one of {new}")]
        Shrinks {
            /// Leaves before.
            old: u64,
            /// Leaves after.
            new: u64,
        },
        /// Two different trees of one size.
        #[code = "proof-split-view"]
        #[error("two roots for one tree of {size} leaves: {first} and {second}")]
        SplitView {
            /// Leaves of both.
            size: u64,
            /// One root, hex.
            first: String,
            /// The other root, hex.
            second: String,
        },
    }
}

/// The hash of a leaf: `SHA-256(0x00 || data)`.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(data);
    hash.finalize().into()
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// The root that an inclusion proof leads to (RFC 9162 §2.1.3.2).
///
/// # Errors
/// If the leaf lies outside the tree, or the proof is too long or too short.
pub fn root_from_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
) -> Result<Hash, MerkleRefusal> {
    let wanted = inclusion_length(index, size)?;
    if proof.len() != wanted {
        return Err(MerkleRefusal::Length {
            hashes: proof.len(),
            wanted,
        });
    }
    // size > index >= 0, so size - 1 does not wrap.
    let mut node = index;
    let mut last = size.saturating_sub(1);
    let mut root = *leaf;
    for sibling in proof {
        if node & 1 == 1 || node == last {
            root = node_hash(sibling, &root);
            // The last node of an even level has no sibling: climb until it
            // is a right child.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    Ok(root)
}

/// Checks that the leaf is in the tree of this size and root.
///
/// # Errors
/// As [`root_from_inclusion`], and if the roots differ.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), MerkleRefusal> {
    let computed = root_from_inclusion(index, size, leaf, proof)?;
    same_root(&computed, root)
}

/// Checks that the tree of `new` leaves begins with the one of `old` leaves
/// (RFC 9162 §2.1.4.2). The empty tree is the beginning of every tree, and
/// takes an empty proof.
///
/// # Errors
/// If the log shrank, if two roots are given for one size, if the proof has
/// the wrong length or leads to other roots.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), MerkleRefusal> {
    if old > new {
        return Err(MerkleRefusal::Shrinks { old, new });
    }
    let wanted = consistency_length(old, new);
    if proof.len() != wanted {
        return Err(MerkleRefusal::Length {
            hashes: proof.len(),
            wanted,
        });
    }
    if old == 0 {
        return same_root(&EMPTY_ROOT, old_root);
    }
    if old == new {
        if old_root == new_root {
            return Ok(());
        }
        return Err(MerkleRefusal::SplitView {
            size: old,
            first: hex(old_root),
            second: hex(new_root),
        });
    }
    // 0 < old < new. If old is a power of two, its root is a node of the new
    // tree and is left out of the proof.
    let mut node = old.saturating_sub(1);
    let mut last = new.saturating_sub(1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut hashes = proof.iter();
    let start = if old.is_power_of_two() {
        *old_root
    } else {
        hashes.next().copied().unwrap_or_default()
    };
    let (mut first, mut second) = (start, start);
    for hash in hashes {
        if node & 1 == 1 || node == last {
            first = node_hash(hash, &first);
            second = node_hash(hash, &second);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            second = node_hash(&second, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    same_root(&first, old_root)?;
    same_root(&second, new_root)
}

/// Hashes of an inclusion proof.
fn inclusion_length(index: u64, size: u64) -> Result<usize, MerkleRefusal> {
    if index >= size {
        return Err(MerkleRefusal::IndexOutsideTree { index, size });
    }
    // Below the level where the paths of the leaf and of the last leaf meet,
    // each level adds a sibling; above it, only where the path is a right
    // child.
    let inner = bits(index ^ size.saturating_sub(1));
    let border = shift(index, inner).count_ones();
    Ok(usize_of(inner.saturating_add(border)))
}

/// Hashes of a consistency proof.
fn consistency_length(old: u64, new: u64) -> usize {
    if old == 0 || old == new {
        return 0;
    }
    // The path of the last leaf of the old tree, from the largest complete
    // subtree that ends with it.
    let last = old.saturating_sub(1);
    let complete = old.trailing_zeros();
    let inner = bits(last ^ new.saturating_sub(1));
    let border = shift(last, inner).count_ones();
    let path = inner.saturating_sub(complete).saturating_add(border);
    usize_of(if old.is_power_of_two() {
        path
    } else {
        path.saturating_add(1)
    })
}

fn bits(value: u64) -> u32 {
    64_u32.saturating_sub(value.leading_zeros())
}

fn shift(value: u64, by: u32) -> u64 {
    value.checked_shr(by).unwrap_or(0)
}

fn usize_of(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn same_root(computed: &Hash, expected: &Hash) -> Result<(), MerkleRefusal> {
    if computed == expected {
        return Ok(());
    }
    Err(MerkleRefusal::RootMismatch {
        computed: hex(computed),
        expected: hex(expected),
    })
}

/// Anything that holds the hashes of complete subtrees: a vector, tiles in
/// memory, tiles on a disk.
pub trait NodeSource {
    /// Why a hash could not be had.
    type Error;

    /// The root of the complete subtree of `2^level` leaves that begins with
    /// leaf `index * 2^level`. Level 0 are the leaf hashes.
    ///
    /// # Errors
    /// If the hash is not there.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// The root of the first `size` leaves (RFC 9162 §2.1.1).
///
/// # Errors
/// If a node could not be had.
pub fn root<N: NodeSource>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    range(nodes, 0, size)
}

/// The inclusion proof of a leaf in the first `size` leaves, leaf side first
/// (RFC 9162 §2.1.3.1). Empty if the leaf lies outside the tree.
///
/// # Errors
/// If a node could not be had.
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

/// The proof that the first `new` leaves begin with the first `old` leaves
/// (RFC 9162 §2.1.4.1). Empty if `old` is 0 or not smaller than `new`.
///
/// # Errors
/// If a node could not be had.
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
    /// Leaves so far.
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
