//! Ring 2: rules about people, refs and paths. Pure: who signed, what changed
//! and what time it was are arguments.
//!
//! ```text
//! text ── parse ─► model::Policy ─ evaluate ► findings of one commit, tag or ref
//!                        │       ─ threshold ► findings of a set (thresholds)
//!                        │       ── walk ───► a history, each by its parent's policy
//!                        └ describe, diff, lint: in words
//! ```
//!
//! One rule about rules: **what is done is allowed if at least one rule speaks of
//! it and every rule that speaks of it allows it.** `docs/policy.md` is the
//! reference.

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
pub mod threshold;
pub mod toml_position;
pub mod walk;

pub use facts::{
    Action, ApprovalTag, ChangedPath, Commit, CommitFacts, EnforcementMode, Finding, NameEmail,
    OtherKind, POLICY_FOLDER, POLICY_PATH, Pusher, RefUpdate, SignatureFacts, SignatureResult, Tag,
    UpdateKind, codes,
};
pub use model::Policy;
pub use parse::{PolicyError, PolicyErrors};
