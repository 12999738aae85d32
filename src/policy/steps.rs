//! Judges how references move: which policy judges which commit, and which commits a
//! reference gains. One engine for a policy file and for a policy in the repository,
//! for a push, for a request in CI and for a clone.
//!
//! Words. The **line** of a commit: itself, its first parent, the first parent of
//! that one, and so on. A **step**: a commit on a line, and all that it brings. A
//! **state** of a reference: a commit that it held or could have held, by the rules.
//! A **source** of a reference: another one, whose states the reference may take
//! without evaluation (`from`).
//!
//! The rule, by the numbers that the comments in this folder use:
//!
//! ```text
//! in force   P = the file, or the policy at the default branch's tip before the push
//! states     of R: the line of R's old value; all that the cut-off reaches; for a new
//!            default branch the policy root
//! lent       by sources: the lines of the `from` references, before the push
//! 1  base    = the nearest commit on the new value's line that is a state of R; for
//!            a new or rewritten R, and for one whose rules name its updaters if one
//!            of them pushes, or a lent one. (A default branch with its own policy
//!            has no base behind the cut-off: a clone judges all of its line.)
//! 2  R moved without its old value on the line: `rewrite`; but if the new value
//!            reaches the old one and R is not the default branch: `update`, and the
//!            old line is lent; who may `rewrite` may begin at a lent state then, too
//! 3  steps   = the new value's line above the base, oldest first
//! 4  a step gains what it reaches, without what its first parent reaches and
//!            without what lies behind a lent state that the step brings in
//! 5  each gained commit is judged by P on R: `commit` or `merge` on what differs from
//!            its first parent, and for a merge `commit` on what it changes itself; the
//!            step as direct, the others not. A step whose other parents bring nothing
//!            and that changes something is no merge
//! 6  one that P refuses stands if every way from the step to it goes through a
//!            merge, by another parent than the first, whose signer may `adopt` and
//!            may `commit` all that this merge changes
//! 7  default branch, policy in the repository: the policy of step n+1 is the one that
//!            step n leaves; it must be readable; a step that changes .gitseal needs
//!            `policy`. A rewrite: the same policy before and after, and each step
//!            also by the policy of the old tip
//! 8  threshold n on a rule: each gained commit that itself changes a path of it needs
//!            n signers: its own and those of merges through which every way from the
//!            step leads to it by another parent than the first
//! 9  a tag: its commit has no gain
//! 10 nothing is recorded: states are read from the references each time
//! ```
//!
//! *Not checked here:* which references are sources (`gate/sources.rs`), tag objects
//! (`judge.rs`), and whether signatures verify (the [`History`]).

mod base;
mod commit;
mod findings;
mod gains;
mod history;
mod judge;
mod line;
pub(crate) mod mutant;
mod step;
mod versions;
mod ways;

pub use history::{Branch, Found, History, Judged, Look, StepsError, Subject, Update};
pub use judge::StepJudge;
#[cfg(test)]
pub(crate) use versions::Versions;

/// The maximum number of commits that one reference gains.
pub const MAX_COMMITS: usize = 1_000_000;
/// The maximum number of references that lend to one.
pub const MAX_SOURCES: usize = 10_000;
/// The maximum number of parents of a commit that a reference gains.
pub const MAX_PARENTS: usize = 64;
/// The maximum number of versions of the policy in one run.
pub const MAX_POLICIES: usize = 1_000;
/// The maximum size of these versions together, in bytes.
pub const MAX_POLICY_BYTES: usize = 16 * 1024 * 1024;
/// The maximum number of findings that are kept for one reference.
pub const MAX_FINDINGS: usize = 1_000;
/// The maximum number of adopted commits that are listed for one reference.
pub const MAX_ADOPTED: usize = 10_000;

#[cfg(test)]
mod tests;
