//! A public key and what verifies with it (being written).

/// A public key.
#[derive(Debug, Clone)]
pub struct PublicKey;
