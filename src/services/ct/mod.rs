//! The CT log (RFC 6962): Fulcio submits every certificate to it before issuing.

pub mod wire;
