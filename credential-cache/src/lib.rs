//! The credential cache: a process that holds an ephemeral signing key for the
//! minutes that its certificate lives, and signs when asked.
//!
//! The private key is made in that process and never leaves it: no message of
//! [`protocol`] can carry one. This is the model of `ssh-agent`; it differs from
//! a cache that hands the key to whoever connects. The client logs in and gives
//! the daemon the certificate; the daemon opens no browser, runs no command that
//! a client names, reads no configuration and speaks to no network.
//!
//! | file | what it does |
//! |---|---|
//! | `protocol` | the messages, parsed and printed |
//! | `client`, `answer` | a connection to a daemon, bounded in time; starting one |
//! | `place` | where the socket is, and whether that is safe |
//! | `store` | what is kept: keys, certificates, tokens, and who waits |
//! | `secret`, `leaf`, `clock` | the key; the certificate; two clocks |
//! | `server`, `connection` | one thread, one loop, nothing that blocks |
//! | `listener`, `peer` | the socket without a race; who connects |
//! | `harden` | no core, no tracing, locked memory |
//! | `confirm` | asking a person before a signature |
//! | `gitsign` | recognising the other daemon |
//!
//! **What the far end of a forwarded socket can do** (`ssh -R`): ask for
//! signatures while a certificate lives, and see the status. What it cannot:
//! have a key or a token, lead a login, store a certificate or a token, clear or
//! stop. Each of these needs a descriptor passed over the socket, which no
//! forwarder does.
//!
//! This crate knows nothing of the rest of gitseal (rings: `credential-cache`
//! imports nothing of the root package), and has as few dependencies as a
//! holder of keys should.

mod answer;
pub mod clock;
pub mod leaf;
pub mod protocol;
pub mod secret;
pub mod store;

#[cfg(unix)]
pub mod client;
#[cfg(not(unix))]
#[path = "no_client.rs"]
pub mod client;
#[cfg(unix)]
pub mod confirm;
#[cfg(unix)]
pub mod connection;
#[cfg(unix)]
mod gitsign;
#[cfg(unix)]
pub mod harden;
#[cfg(unix)]
pub mod listener;
#[cfg(unix)]
pub mod peer;
pub mod place;
#[cfg(unix)]
pub mod server;
