//! The private key: generated here, boxed so that it never moves, zeroized when
//! dropped. The stack that was used with it is overwritten.
//!
//! *Not checked here:* whether the memory is locked (`harden.rs`), and which
//! connection may use the key (`store.rs`).

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use zeroize::{Zeroize, Zeroizing};

/// A source of entropy: fills a buffer, or returns false.
pub type Entropy = Box<dyn Fn(&mut [u8]) -> bool>;

/// Fills a buffer with entropy of the operating system.
pub fn system_entropy(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}

/// A P-256 private key. It cannot be printed, cloned or exported.
pub struct PrivateKey(Box<SigningKey>);

impl PrivateKey {
    /// Generates a new key; returns None without entropy.
    pub fn generate(entropy: &Entropy) -> Option<Self> {
        let key = generate(entropy);
        scrub_stack();
        key
    }

    /// Returns the SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
    pub fn public(&self) -> Option<Vec<u8>> {
        let document = self.0.verifying_key().to_public_key_der().ok()?;
        Some(document.into_vec())
    }

    /// Makes an ECDSA signature (RFC 6979) in DER over a SHA-256 digest.
    pub fn sign(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let signature = sign(&self.0, digest);
        scrub_stack();
        signature
    }
}

#[inline(never)]
fn generate(entropy: &Entropy) -> Option<PrivateKey> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    // A draw is not a scalar of the curve with probability 2^-32.
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
/// key has used, so that nothing spilled there remains.
#[inline(never)]
pub fn scrub_stack() {
    let mut used = [0u64; SCRUBBED / 8];
    used.zeroize();
    std::hint::black_box(&used);
}

/// The number of stack bytes to overwrite; signing uses less than half of them.
const SCRUBBED: usize = 32 * 1024;
