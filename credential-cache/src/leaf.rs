//! What the daemon reads of a certificate: until when it is good, and for which
//! key.
//!
//! *Not checked here:* who issued it and for whom. The client asked for it and
//! verifies the chain (`evidence/chain.rs` of the root package); the daemon only
//! has to know which key it keeps for how long.

use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// The facts of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its SubjectPublicKeyInfo in DER.
    pub public: Vec<u8>,
    /// notAfter, unix seconds (RFC 5280 §4.1.2.5).
    pub not_after: u64,
    /// How long it is valid in all.
    pub validity: Duration,
}

/// Reads a certificate in DER; None if it is not one.
pub fn read(der: &[u8]) -> Option<Leaf> {
    let certificate = Certificate::from_der(der).ok()?;
    let content = certificate.tbs_certificate();
    let validity = content.validity();
    let not_before = validity.not_before.to_unix_duration();
    let not_after = validity.not_after.to_unix_duration();
    Some(Leaf {
        public: content.subject_public_key_info().to_der().ok()?,
        not_after: not_after.as_secs(),
        validity: not_after.checked_sub(not_before)?,
    })
}
