//! Merkle tree proofs of a transparency log: hashes, inclusion and consistency.
//!
//! RFC 9162 §2.1 with SHA-256, which is RFC 6962 §2.1. The variables have the
//! names of the RFC, and the lines its numbers.
//!
//! *Not checked here:* who signed a root (`checkpoint.rs`), what a leaf contains
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

use crate::{
    hex,
    refusal::{Reason, reason},
};

/// SHA-256 of a leaf, an inner node, or a whole tree.
pub type Hash = [u8; 32];

/// The most hashes of a proof. A tree of 2^63 leaves has inclusion proofs of 63
/// hashes and consistency proofs of 64.
pub const MAX_PROOF_HASHES: usize = 64;

/// The root of the tree without leaves: SHA-256 of nothing (RFC 9162 §2.1.1).
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The hash of a leaf: `SHA-256(0x00 || data)` (RFC 9162 §2.1.1).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(data);
    hash.finalize().into()
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 9162 §2.1.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// The path from a node up to the root: `fn` and `sn` of RFC 9162, the index of
/// the node and of the last node of its level.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// Whether the sibling of the node is on its left: LSB(fn) is set, or fn
    /// equals sn.
    fn is_right(&self) -> bool {
        self.node & 1 == 1 || self.node == self.last
    }

    /// After a sibling on the left: "if LSB(fn) is not set, right-shift both fn
    /// and sn equally until either LSB(fn) is set or fn is 0".
    fn skip_levels_without_sibling(&mut self) {
        while self.node & 1 == 0 && self.node != 0 {
            self.up();
        }
    }

    /// "Right-shift both fn and sn one time."
    fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    /// "sn is 0": this is the root.
    fn is_root(&self) -> bool {
        self.last == 0
    }
}

/// The root that an inclusion proof computes to (RFC 9162 §2.1.3.2).
///
/// # Errors
/// The leaf is outside the tree, or the proof is too long or too short.
pub fn root_from_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
) -> Result<Hash, Reason> {
    // 1, 2: fn = leaf_index, sn = tree_size - 1.
    let last = size.checked_sub(1).filter(|last| index <= *last);
    let mut climb = Climb {
        node: index,
        last: last.ok_or_else(|| {
            reason!(
                "proof-index-outside-tree",
                "leaf {index} is outside the tree of {size} leaves"
            )
        })?,
    };
    let length = || {
        reason!(
            "proof-length",
            "{} hashes are not a proof for leaf {index} of {size}",
            proof.len()
        )
    };
    // 3
    let mut root = *leaf;
    // 4
    for sibling in proof {
        // 4.1
        if climb.is_root() {
            return Err(length());
        }
        // 4.2
        if climb.is_right() {
            root = node_hash(sibling, &root);
            climb.skip_levels_without_sibling();
        } else {
            root = node_hash(&root, sibling);
        }
        // 4.3
        climb.up();
    }
    // 5: the caller compares the root.
    if climb.is_root() {
        Ok(root)
    } else {
        Err(length())
    }
}

/// Verifies that the leaf is in the tree of this size and root.
///
/// # Errors
/// As [`root_from_inclusion`], and if the roots differ.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Reason> {
    let computed = root_from_inclusion(index, size, leaf, proof)?;
    same_root(&computed, root)
}

/// Verifies that the tree of `new` leaves starts with the one of `old` leaves
/// (RFC 9162 §2.1.4.2). Two sizes that the RFC leaves out have an empty proof:
/// every tree starts with the empty tree and with itself.
///
/// # Errors
/// The log shrank, one size has two roots, the proof is too long or too short,
/// or it computes to other roots.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), Reason> {
    if old > new {
        return Err(reason!(
            "proof-shrinks",
            "a log of {old} leaves cannot become one of {new}"
        ));
    }
    let length = || {
        reason!(
            "proof-length",
            "{} hashes are not a proof from {old} to {new} leaves",
            proof.len()
        )
    };
    let (Some(node), Some(last)) = (old.checked_sub(1), new.checked_sub(1)) else {
        // old == 0
        return match proof {
            [] => same_root(&EMPTY_ROOT, old_root),
            _ => Err(length()),
        };
    };
    if old == new {
        return match proof {
            [] if old_root == new_root => Ok(()),
            [] => Err(reason!(
                "proof-split-view",
                "split view: two roots for tree size {old}: {first} and {second}",
                first = hex(old_root),
                second = hex(new_root)
            )),
            _ => Err(length()),
        };
    }
    // 2, 5: if the old size is a power of 2, its root is the first value.
    let (start, rest) = match proof {
        // 1
        [] => return Err(length()),
        _ if old.is_power_of_two() => (*old_root, proof),
        [first, rest @ ..] => (*first, rest),
    };
    // 3
    let mut climb = Climb { node, last };
    // 4
    while climb.node & 1 == 1 {
        climb.up();
    }
    let (mut first, mut second) = (start, start);
    // 6
    for value in rest {
        // 6.1
        if climb.is_root() {
            return Err(length());
        }
        // 6.2
        if climb.is_right() {
            first = node_hash(value, &first);
            second = node_hash(value, &second);
            climb.skip_levels_without_sibling();
        } else {
            second = node_hash(&second, value);
        }
        // 6.3
        climb.up();
    }
    // 7
    if !climb.is_root() {
        return Err(length());
    }
    same_root(&first, old_root)?;
    same_root(&second, new_root)
}

fn same_root(computed: &Hash, expected: &Hash) -> Result<(), Reason> {
    if computed == expected {
        return Ok(());
    }
    Err(reason!(
        "proof-root-mismatch",
        "the proof computes to root {computed}, expected {expected}",
        computed = hex(computed),
        expected = hex(expected)
    ))
}
