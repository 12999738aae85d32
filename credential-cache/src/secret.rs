//! The private key: made here, boxed so that it never moves, zeroized when
//! dropped; and the stack that was used with it.
//!
//! *Not checked here:* whether the memory is locked (`harden.rs`), who may use
//! the key (`store.rs`).

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use zeroize::{Zeroize, Zeroizing};

/// Fills a buffer with entropy; false if there is none.
pub type Entropy = Box<dyn Fn(&mut [u8]) -> bool>;

/// The operating system's entropy.
pub fn system_entropy(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}

/// A P-256 private key. It has no `Debug`, `Clone` or way out.
pub struct PrivateKey(Box<SigningKey>);

impl PrivateKey {
    /// A new key; None without entropy.
    pub fn make(entropy: &Entropy) -> Option<Self> {
        let key = make(entropy);
        scrub_stack();
        key
    }

    /// The SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
    pub fn public(&self) -> Option<Vec<u8>> {
        let document = self.0.verifying_key().to_public_key_der().ok()?;
        Some(document.into_vec())
    }

    /// An ECDSA signature (RFC 6979) in DER over a SHA-256 digest.
    pub fn sign(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let signature = sign(&self.0, digest);
        scrub_stack();
        signature
    }
}

#[inline(never)]
fn make(entropy: &Entropy) -> Option<PrivateKey> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    // A draw that is not a scalar of the curve has a chance of 2^-32.
    for _ in 0..8 {
        if !entropy(bytes.as_mut_slice()) {
            return None;
        }
        if let Ok(key) = SigningKey::from_slice(bytes.as_slice()) {
            return Some(PrivateKey(Box::new(key)));
        }
    }
    None
}

#[inline(never)]
fn sign(key: &SigningKey, digest: &[u8; 32]) -> Option<Vec<u8>> {
    let signature: DerSignature = key.sign_prehash(digest).ok()?;
    Some(signature.as_bytes().to_vec())
}

/// Overwrites the part of the stack below the caller that arithmetic with the
/// key has used: what was spilled there is gone.
#[inline(never)]
pub fn scrub_stack() {
    let mut used = [0u64; SCRUBBED / 8];
    used.zeroize();
    std::hint::black_box(&used);
}

/// Bytes of stack that are overwritten; signing uses less than half of it.
const SCRUBBED: usize = 32 * 1024;
