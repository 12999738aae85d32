//! HTTP, once: one bounded client for every service that is called, and one
//! bounded server for every service that is offered.

pub mod client;
pub mod endpoint;
pub mod message;
pub mod server;
