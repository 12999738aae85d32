//! Switches that take one clause of the rule out. They exist in the tests of this
//! crate only: the model test (`tests/gate_model`) fails if it does not notice that a
//! clause is gone.

#[cfg(test)]
use std::cell::Cell;

/// A clause that is taken out or changed.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mutant {
    /// 1: a line begins at anything that a state reaches.
    BaseIsAnythingReached,
    /// 4: all that a source reaches is hidden.
    SourcesHideAll,
    /// In force is the policy at the tip of the reference itself.
    PolicyOfReference,
    /// In force is the policy of each commit's first parent.
    PolicyOfParent,
    /// 1: anyone may move a reference along a source.
    AnyoneMovesAlongSource,
    /// 7: a rewrite may change the policy.
    RewriteChangesPolicy,
    /// 7: a rewrite is judged by the policy of the old tip alone.
    RewriteSkipsOwnSteps,
    /// 6: whoever may adopt need not be allowed to commit.
    AdoptWithoutCommit,
    /// A rule on trial speaks.
    TrialSpeaks,
    /// 7: a change of the policy is a warning in mode `warn`.
    WarnReachesPolicy,
    /// 5: a merge answers for nothing that it changes itself.
    MergeChangesFreely,
    /// 6: one way through an adopting merge is enough.
    AdoptOnOneWay,
    /// 7: the policy at the beginning of the push judges all steps.
    PolicyAtBeginning,
    /// 7: the policy at the end of the push judges all steps.
    PolicyAtEnd,
    /// 8: one way through another signer's merge is enough.
    ThresholdOnOneWay,
    /// 8: what a merge changes itself needs no second signer.
    ThresholdSkipsMerges,
}

#[cfg(test)]
impl Mutant {
    /// Every mutant.
    pub(crate) const ALL: [Self; 16] = [
        Self::BaseIsAnythingReached,
        Self::SourcesHideAll,
        Self::PolicyOfReference,
        Self::PolicyOfParent,
        Self::AnyoneMovesAlongSource,
        Self::RewriteChangesPolicy,
        Self::RewriteSkipsOwnSteps,
        Self::AdoptWithoutCommit,
        Self::TrialSpeaks,
        Self::WarnReachesPolicy,
        Self::MergeChangesFreely,
        Self::AdoptOnOneWay,
        Self::PolicyAtBeginning,
        Self::PolicyAtEnd,
        Self::ThresholdOnOneWay,
        Self::ThresholdSkipsMerges,
    ];

    /// Sets the mutant of this thread.
    pub(crate) fn set(mutant: Option<Self>) {
        CURRENT.set(mutant);
    }

    /// Returns whether this is the mutant of this thread.
    pub(crate) fn is_set(self) -> bool {
        CURRENT.get() == Some(self)
    }
}

#[cfg(test)]
thread_local! {
    static CURRENT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// The second expression. In the tests of this crate: the first one, if that mutant is
/// set.
#[cfg(not(test))]
macro_rules! clause {
    ($mutant:ident: $mutated:expr, $rule:expr) => {
        $rule
    };
}
#[cfg(test)]
macro_rules! clause {
    ($mutant:ident: $mutated:expr, $rule:expr) => {
        if $crate::steps::mutant::Mutant::$mutant.is_set() {
            $mutated
        } else {
            $rule
        }
    };
}
pub(crate) use clause;
