//! The gate: what a push would change is verified and judged before it happens,
//! in a server's `pre-receive` or `update` hook, before it leaves (`pre-push`), and
//! once more in CI.
//!
//! *Not decided here:* whether a signature is good (`evidence/verify.rs`) and what
//! is allowed (`policy/`).

pub mod job;
pub mod report;
