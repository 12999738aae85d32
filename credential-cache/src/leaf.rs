//! The facts that the daemon reads in a certificate: its validity and its key.
//!
//! *Not checked here:* the issuer and the identity. The client requested the
//! certificate and verifies the chain; the daemon only has to know which key it
//! keeps for how long.

use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// The facts of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The SubjectPublicKeyInfo in DER.
    pub public: Vec<u8>,
    /// The last valid second, in Unix seconds (RFC 5280 §4.1.2.5).
    pub not_after: u64,
    /// The whole length of its validity.
    pub validity: Duration,
}

/// Parses a certificate in DER; returns None if it is malformed.
pub fn parse(der: &[u8]) -> Option<Leaf> {
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
