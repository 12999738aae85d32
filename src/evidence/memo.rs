//! Signature checks that were made before and need not be made again: a range
//! of commits shares authorities, certificates and checkpoints.
//!
//! What is remembered is one sentence only: *this key, by this algorithm, made
//! this signature over this message*. It is a mathematical fact about four byte
//! strings. It does not depend on the time, on the trusted root, on the object
//! or on who asks, so it is as true for the next commit as for the one that it
//! was computed for. Everything else (names, validity at a time, key usages,
//! windows of trust, proofs, what an entry is about, who was asked for) is looked
//! at again each time.
//!
//! - The name of a fact is the SHA-256 of *all four* strings, each with its
//!   length in front, so that no two facts are written alike. Two facts under one
//!   name would be a collision of SHA-256, on which every digest here rests anyway.
//!   No name is made of a signature alone: one signature has many spellings, and
//!   whoever chooses it must not choose what is found under it.
//! - Only that a signature verifies is remembered. A refusal is computed each time,
//!   so that its words are about the signature at hand, and so that nobody can fill
//!   the memory with refusals.
//! - There are at most twice `capacity` names; the older half goes when the newer
//!   is full. Forgetting costs time and changes no verdict.
//!
//! *Not checked here:* anything. The arithmetic is `keys.rs`.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest as _, Sha256};

use crate::{
    keys::{PublicKey, SignatureAlgorithm},
    refusal::Reason,
};

/// The usual capacity: the facts of some thousand
/// certificates. 32 bytes each, and the tree around them.
pub const CAPACITY: usize = 16 * 1024;

/// The name of a fact.
type Name = [u8; 32];

/// Facts that were computed, for all threads of one run.
pub struct Memo {
    capacity: usize,
    names: Mutex<Generations>,
    computed: AtomicU64,
    remembered: AtomicU64,
}

/// Names in two halves: what was used since the last change, and before it.
struct Generations {
    young: BTreeSet<Name>,
    old: BTreeSet<Name>,
}

/// Counts of the work that a memo saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoStats {
    /// Signatures that were computed through it, good or bad.
    pub computed: u64,
    /// Signatures that were remembered.
    pub remembered: u64,
}

static DISABLED: Memo = Memo::with_capacity(0);

impl Memo {
    /// One that keeps up to twice this many facts.
    #[must_use]
    pub const fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            names: Mutex::new(Generations {
                young: BTreeSet::new(),
                old: BTreeSet::new(),
            }),
            computed: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
        }
    }

    /// Returns a memo that stores nothing, so every signature is verified.
    #[must_use]
    pub fn disabled() -> &'static Self {
        &DISABLED
    }

    /// Verifies like [`PublicKey::verify`], which is called unless the same facts were
    /// verified before.
    ///
    /// # Errors
    /// As [`PublicKey::verify`].
    pub fn verify(
        &self,
        key: &PublicKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Reason> {
        if self.capacity == 0 {
            return key.verify(algorithm, message, signature);
        }
        let name = name(key, algorithm, message, signature);
        if self.knows(&name) {
            self.remembered.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.computed.fetch_add(1, Ordering::Relaxed);
        key.verify(algorithm, message, signature)?;
        self.keep(name);
        Ok(())
    }

    /// Returns the counts until now.
    #[must_use]
    pub fn counts(&self) -> MemoStats {
        MemoStats {
            computed: self.computed.load(Ordering::Relaxed),
            remembered: self.remembered.load(Ordering::Relaxed),
        }
    }

    fn knows(&self, name: &Name) -> bool {
        // A thread that panicked with the lock held has at worst forgotten a name:
        // a name is only ever put in after its fact was computed.
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.young.contains(name) {
            return true;
        }
        if names.old.contains(name) {
            names.put(*name, self.capacity);
            return true;
        }
        false
    }

    fn keep(&self, name: Name) {
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(name, self.capacity);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo")
            .field("capacity", &self.capacity)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Generations {
    fn put(&mut self, name: Name, capacity: usize) {
        if self.young.len() >= capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name);
    }
}

/// The SHA-256 over algorithm, key, message and signature, each with its length
/// (64 bits, big-endian) in front.
fn name(key: &PublicKey, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> Name {
    let mut hash = Sha256::new();
    let algorithm = algorithm.oid();
    for part in [algorithm.as_bytes(), key.spki(), message, signature] {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hash.update(length.to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use p256::{
        ecdsa::{DerSignature, SigningKey, signature::Signer as _},
        pkcs8::EncodePublicKey as _,
    };

    use super::*;

    const SHA256: SignatureAlgorithm = SignatureAlgorithm::EcdsaSha256;

    fn signer(seed: u8) -> (SigningKey, PublicKey) {
        let secret = SigningKey::from_slice(&[seed; 32]).unwrap();
        let spki = secret.verifying_key().to_public_key_der().unwrap();
        let public = PublicKey::from_spki(spki.as_bytes()).unwrap();
        (secret, public)
    }

    fn sign(secret: &SigningKey, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = secret.sign(message);
        signature.as_bytes().to_vec()
    }

    #[test]
    fn a_fact_is_computed_once() {
        let memo = Memo::with_capacity(8);
        let (secret, public) = signer(1);
        let signature = sign(&secret, b"message");
        for _ in 0..5 {
            memo.verify(&public, SHA256, b"message", &signature)
                .unwrap();
        }
        assert_eq!(
            memo.counts(),
            MemoStats {
                computed: 1,
                remembered: 4
            }
        );
    }

    #[test]
    fn another_key_message_algorithm_or_signature_is_another_fact() {
        let memo = Memo::with_capacity(8);
        let (secret, public) = signer(1);
        let (_, other) = signer(2);
        let signature = sign(&secret, b"message");
        memo.verify(&public, SHA256, b"message", &signature)
            .unwrap();
        let mut changed = signature.clone();
        *changed.last_mut().unwrap() ^= 1;
        let refused = [
            memo.verify(&other, SHA256, b"message", &signature),
            memo.verify(&public, SHA256, b"massage", &signature),
            memo.verify(&public, SHA256, b"messag", &signature),
            memo.verify(&public, SHA256, b"message", &changed),
            memo.verify(&public, SHA256, b"message", &[]),
            memo.verify(
                &public,
                SignatureAlgorithm::EcdsaSha384,
                b"message",
                &signature,
            ),
            memo.verify(&public, SignatureAlgorithm::Ed25519, b"message", &signature),
        ];
        for (index, answer) in refused.iter().enumerate() {
            assert!(answer.is_err(), "{index}");
        }
        assert_eq!(memo.counts().remembered, 0);
    }

    #[test]
    fn bytes_that_move_between_the_parts_make_another_name() {
        let (_, public) = signer(1);
        let names = [
            name(&public, SHA256, b"ab", b"c"),
            name(&public, SHA256, b"a", b"bc"),
            name(&public, SHA256, b"abc", b""),
            name(&public, SHA256, b"", b"abc"),
        ];
        let distinct: BTreeSet<Name> = names.into_iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn a_refusal_is_computed_each_time() {
        let memo = Memo::with_capacity(8);
        let (secret, public) = signer(1);
        let signature = sign(&secret, b"message");
        for _ in 0..3 {
            memo.verify(&public, SHA256, b"other", &signature)
                .unwrap_err();
        }
        assert_eq!(
            memo.counts(),
            MemoStats {
                computed: 3,
                remembered: 0
            }
        );
    }

    #[test]
    fn it_grows_no_further_than_twice_its_capacity() {
        let memo = Memo::with_capacity(4);
        let (secret, public) = signer(1);
        for number in 0..40_u8 {
            let message = [number];
            memo.verify(&public, SHA256, &message, &sign(&secret, &message))
                .unwrap();
            let names = memo.names.lock().unwrap();
            assert!(names.young.len() <= 4 && names.old.len() <= 4);
        }
    }

    #[test]
    fn what_is_used_is_not_forgotten_with_the_rest() {
        let memo = Memo::with_capacity(4);
        let (secret, public) = signer(1);
        let kept = sign(&secret, b"kept");
        memo.verify(&public, SHA256, b"kept", &kept).unwrap();
        for number in 0..40_u8 {
            let message = [number];
            memo.verify(&public, SHA256, &message, &sign(&secret, &message))
                .unwrap();
            memo.verify(&public, SHA256, b"kept", &kept).unwrap();
        }
        assert_eq!(memo.counts().remembered, 40);
    }

    #[test]
    fn a_disabled_memo_keeps_nothing() {
        let (secret, public) = signer(1);
        let signature = sign(&secret, b"message");
        for _ in 0..2 {
            Memo::disabled()
                .verify(&public, SHA256, b"message", &signature)
                .unwrap();
        }
        let names = Memo::disabled().names.lock().unwrap();
        assert!(names.young.is_empty() && names.old.is_empty());
    }
}
