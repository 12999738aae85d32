#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ct_merkle::mem_backed_tree::MemoryBackedTree;

use super::*;
use gitseal_evidence::{
    merkle::{
        MAX_PROOF_HASHES, leaf_hash, root_from_inclusion, verify_consistency, verify_inclusion,
    },
    refusal::Reason,
};
use sha2::{Digest as _, Sha256};

const SIZES: u64 = 70;

fn tree(size: u64) -> MemoryTree {
    let mut nodes = MemoryTree::default();
    for leaf in 0..size {
        nodes.push(leaf_hash(&leaf.to_be_bytes()));
    }
    nodes
}

fn oracle(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    for leaf in 0..size {
        tree.push(leaf.to_be_bytes().to_vec());
    }
    tree
}

fn joined(proof: &[Hash]) -> Vec<u8> {
    proof.concat()
}

/// RFC 9162 §2.1.1, word for word.
fn definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [one] => *one,
        many => {
            let mut k = 1;
            while k * 2 < many.len() {
                k *= 2;
            }
            node_hash(&definition(&many[..k]), &definition(&many[k..]))
        }
    }
}

#[test]
fn the_empty_root_is_the_hash_of_nothing() {
    assert_eq!(EMPTY_ROOT, <Hash>::from(Sha256::digest(b"")));
    assert_eq!(root(&MemoryTree::default(), 0), Ok(EMPTY_ROOT));
}

#[test]
fn roots_equal_the_definition_and_the_oracle() {
    let nodes = tree(SIZES);
    let leaves: Vec<Hash> = (0..SIZES)
        .map(|leaf| leaf_hash(&leaf.to_be_bytes()))
        .collect();
    for size in 1..=SIZES {
        let computed = root(&nodes, size).unwrap();
        assert_eq!(computed, definition(&leaves[..size as usize]));
        assert_eq!(computed[..], oracle(size).root().as_bytes()[..]);
    }
}

#[test]
fn every_inclusion_proof_verifies_and_equals_the_oracles() {
    let nodes = tree(SIZES);
    for size in 1..=SIZES {
        let oracle = oracle(size);
        let root = root(&nodes, size).unwrap();
        for index in 0..size {
            let leaf = leaf_hash(&index.to_be_bytes());
            let proof = inclusion_proof(&nodes, index, size).unwrap();
            assert_eq!(
                joined(&proof),
                oracle.prove_inclusion(index as usize).as_bytes()
            );
            verify_inclusion(index, size, &leaf, &proof, &root).unwrap();
            // No other index, and no other size of the same root, fits.
            for other in 0..size {
                if other != index {
                    assert!(verify_inclusion(other, size, &leaf, &proof, &root).is_err());
                }
            }
            for longer in [&proof[..], &[[0; 32]]].concat().chunks(proof.len() + 1) {
                assert_eq!(
                    verify_inclusion(index, size, &leaf, longer, &root)
                        .unwrap_err()
                        .code(),
                    "proof-length"
                );
            }
            if !proof.is_empty() {
                assert_eq!(
                    verify_inclusion(index, size, &leaf, &proof[1..], &root)
                        .unwrap_err()
                        .code(),
                    "proof-length"
                );
            }
            for at in 0..proof.len() {
                let mut broken = proof.clone();
                broken[at][7] ^= 1;
                assert_eq!(
                    verify_inclusion(index, size, &leaf, &broken, &root)
                        .unwrap_err()
                        .code(),
                    "proof-root-mismatch"
                );
            }
        }
    }
}

#[test]
fn every_consistency_proof_verifies_and_equals_the_oracles() {
    let nodes = tree(SIZES);
    for new in 1..=SIZES {
        let oracle = oracle(new);
        let new_root = root(&nodes, new).unwrap();
        for old in 0..=new {
            let old_root = root(&nodes, old).unwrap();
            let proof = consistency_proof(&nodes, old, new).unwrap();
            if old > 0 && old < new {
                assert_eq!(
                    joined(&proof),
                    oracle.prove_consistency((new - old) as usize).as_bytes()
                );
            }
            verify_consistency(old, new, &proof, &old_root, &new_root).unwrap();
            for at in 0..proof.len() {
                let mut broken = proof.clone();
                broken[at][31] ^= 0x80;
                assert!(verify_consistency(old, new, &broken, &old_root, &new_root).is_err());
            }
            let mut longer = proof.clone();
            longer.push([0; 32]);
            assert_eq!(
                verify_consistency(old, new, &longer, &old_root, &new_root)
                    .unwrap_err()
                    .code(),
                "proof-length"
            );
            if let Some((_, shorter)) = proof.split_last() {
                assert_eq!(
                    verify_consistency(old, new, shorter, &old_root, &new_root)
                        .unwrap_err()
                        .code(),
                    "proof-length"
                );
            }
            for other in 0..=new {
                if other != old {
                    assert!(verify_consistency(other, new, &proof, &old_root, &new_root).is_err());
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_is_named() {
    let zero = [0; 32];
    let code = |result: Result<(), Reason>| result.unwrap_err().code();
    assert_eq!(
        code(verify_inclusion(0, 0, &zero, &[], &zero)),
        "proof-index-outside-tree"
    );
    assert_eq!(
        code(verify_inclusion(5, 5, &zero, &[], &zero)),
        "proof-index-outside-tree"
    );
    assert_eq!(
        code(verify_inclusion(u64::MAX, u64::MAX, &zero, &[], &zero)),
        "proof-index-outside-tree"
    );
    assert_eq!(
        code(verify_consistency(2, 1, &[], &zero, &zero)),
        "proof-shrinks"
    );
    assert_eq!(
        code(verify_consistency(3, 3, &[], &zero, &[1; 32])),
        "proof-split-view"
    );
    assert_eq!(
        code(verify_consistency(0, 3, &[], &zero, &zero)),
        "proof-root-mismatch"
    );
    assert_eq!(
        code(verify_consistency(0, 3, &[zero], &EMPTY_ROOT, &zero)),
        "proof-length"
    );
}

/// Sizes and indices around 2^63 and 2^64 neither wrap nor hang.
#[test]
fn the_largest_trees_are_only_a_matter_of_length() {
    let zero = [0; 32];
    for size in [1 << 63, (1 << 63) + 1, u64::MAX] {
        for index in [0, 1, size / 2, size - 2, size - 1] {
            for hashes in 0..=65 {
                let proof = vec![zero; hashes];
                match root_from_inclusion(index, size, &zero, &proof) {
                    Ok(_) => assert!(hashes <= MAX_PROOF_HASHES),
                    Err(refusal) => assert_eq!(refusal.code(), "proof-length"),
                }
                let _ = verify_consistency(index, size, &proof, &zero, &zero);
            }
        }
    }
}

#[test]
fn proofs_of_nothing_are_empty() {
    let nodes = tree(5);
    assert_eq!(inclusion_proof(&nodes, 5, 5), Ok(vec![]));
    assert_eq!(consistency_proof(&nodes, 0, 5), Ok(vec![]));
    assert_eq!(consistency_proof(&nodes, 5, 5), Ok(vec![]));
    assert_eq!(
        root(&nodes, 6),
        Err(MissingNodeError { level: 1, index: 2 }),
        "leaf 5 is not there yet"
    );
}
