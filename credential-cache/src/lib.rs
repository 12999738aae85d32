//! The credential cache: a process that holds an ephemeral signing key for the
//! minutes that its certificate lives, and signs when asked.
//!
//! The private key is made in that process and never leaves it: no message of
//! [`protocol`] can carry one. This is the model of `ssh-agent`; it differs from
//! a cache that hands the key to whoever connects.
//!
//! **What is built:** the messages and their framing ([`protocol`]), which the
//! daemon and its client will share. **What is not built:** the daemon (store,
//! server, peer check) and the client. There is no binary in this package, and
//! `gitseal` makes a new key for each signature until there is.
//!
//! This crate knows nothing of the rest of gitseal (rings: `credential-cache`
//! imports nothing of the root package), and has as few dependencies as a
//! holder of keys should.

pub mod protocol;
