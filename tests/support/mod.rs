//! The harness of the tests: a home and a clean environment, repositories, the
//! reference servers, other implementations, and a Sigstore that makes
//! signatures with one thing wrong.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod forge;
pub mod lab;
pub mod log;
pub mod peers;
pub mod stage;
pub mod stub;
