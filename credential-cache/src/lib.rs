//! The credential cache: a process that holds an ephemeral signing key while its
//! certificate is valid, and signs on request.
//!
//! The private key is generated in that process and never leaves it: no message
//! of [`protocol`] can contain one. This is the model of `ssh-agent`; a cache that
//! returns the key would give it to every client. The client logs in and sends
//! the certificate; the daemon opens no browser, runs no command that a client
//! names, reads no configuration and uses no network.
//!
//! | file | purpose |
//! |---|---|
//! | `protocol` | the messages, parsed and printed |
//! | `client`, `outcome` | a connection to a daemon, limited in time; starting one |
//! | `socket_path` | the path of the socket, and whether it is safe |
//! | `stream`, `peer` | local sockets; the process at the other end |
//! | `server`, `connection` | one thread, one loop, nothing that blocks |
//! | `store` | keys, certificates, tokens, and the clients that wait |
//! | `secret`, `leaf`, `clock` | the key; the certificate; two clocks |
//! | `listener` | the listening socket, bound without a race |
//! | `harden` | no core images, no tracing, locked memory |
//! | `confirm` | the user's confirmation of each signature |
//!
//! **The far end of a forwarded socket** (`ssh -R`) can request signatures while
//! a certificate is valid, and read the status. It cannot get a key or a token,
//! log in, store a certificate or a token, clear the cache or stop the daemon.
//! Each of these needs a descriptor passed over the socket, which no forwarder
//! does.
//!
//! This crate uses no other crate of gitseal, and has as few dependencies as a
//! holder of keys should.

pub mod clock;
pub mod leaf;
mod outcome;
pub mod protocol;
pub mod secret;
pub mod socket_path;
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
pub mod harden;
#[cfg(unix)]
pub mod listener;
#[cfg(unix)]
pub mod peer;
#[cfg(unix)]
pub mod server;
#[cfg(unix)]
mod stream;
