//! A certificate-transparency log (RFC 6962): what Fulcio shows every
//! certificate to before it issues it.

pub mod wire;
