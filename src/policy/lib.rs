//! Signing policies: rules about signers, refs and paths. Pure: signers, changes and
//! the time are arguments.
//!
//! ```text
//! text ─ parse ─► model::Policy ─ evaluate ──► findings of one commit, tag or ref
//!                       │        ─ steps ─────► findings of all that a ref gains
//!                       └ describe, diff, lint: the policy as text
//! ```
//!
//! **An action is allowed if at least one rule matches it and every rule that matches
//! it allows it.** `docs/policy.md` is the reference.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod describe;
pub mod diff;
pub mod evaluate;
pub mod facts;
pub mod glob;
pub mod lint;
pub mod model;
pub mod parse;
mod shell;
pub mod starter;
pub mod steps;
pub mod toml_position;

pub use facts::{
    Action, ApprovalTag, ChangedPath, CommitFacts, EnforcementMode, Finding, NameEmail, OtherKind,
    POLICY_FOLDER, POLICY_PATH, Pusher, RefUpdate, SignatureResult, Tag, UpdateKind, codes,
};
pub use model::Policy;
pub use parse::{PolicyError, PolicyErrors};
pub use toml_position::nearest;

#[cfg(test)]
#[path = "../../tests/gate_model/mod.rs"]
mod gate_model;
