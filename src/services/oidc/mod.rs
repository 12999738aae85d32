//! The identity provider: its messages, the ways to log in, and a reference
//! issuer.
//!
//! `token` says what a token is and whose; `login` what every way to log in has
//! in common, each way being a file; `ambient` the tokens that a CI system or a
//! cloud gives without asking anybody.

pub mod ambient;
pub mod browser;
pub mod client;
pub mod compact;
pub mod device;
pub mod headless;
pub mod login;
pub mod out_of_band;
pub mod page;
pub mod refresh;
pub mod server;
pub mod token;
pub mod wire;
