//! X.509 certificates (being written).

/// A certificate.
#[derive(Debug, Clone)]
pub struct Certificate;
