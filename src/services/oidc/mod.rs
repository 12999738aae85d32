//! The identity provider: its messages, the ways to log in, the tokens that
//! need no login, and a reference issuer.

pub mod ambient;
pub mod browser;
pub mod device;
pub mod headless;
pub mod jws;
pub mod login;
pub mod out_of_band;
pub mod page;
pub mod refresh;
pub mod token;
pub mod wire;
