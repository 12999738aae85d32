//! A model of the gate: repositories in arrays, every push that could be made in them,
//! and what must hold after it (`docs/decisions/0006`).
//!
//! It is a module of the tests of `gitseal-policy`, since the mutants of the rule exist
//! nowhere else:
//!
//! ```text
//! cargo test -p gitseal-policy gate_model
//! GITSEAL_MODEL_COMMITS=4 cargo test -p gitseal-policy gate_model   nightly
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod oracle;
mod random;
mod run;
mod starts;
mod workflows;
mod world;

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::steps::mutant::Mutant;
use run::{Counts, Try};
use starts::Start;

/// Tries histories on all starts, on two cores.
fn on_all_starts(commits: usize, most: usize) -> Vec<(String, Counts)> {
    let starts = starts::all();
    let next = AtomicUsize::new(0);
    let counted = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(start) = starts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let counts = Try::new(start, commits, most).run(false);
                    counted.lock().unwrap().push((label(start), counts));
                }
            });
        }
    });
    counted.into_inner().unwrap()
}

fn label(start: &Start) -> String {
    let kind = if start.is_file { "file" } else { "repository" };
    format!("{}, {kind}", start.name)
}

/// No history of a few commits, and no sequence of pushes, breaks an invariant. Each
/// start is tried with one and two further commits in full; with more, evenly sampled
/// up to a number of histories.
#[test]
fn no_push_breaks_an_invariant() {
    let commits = std::env::var("GITSEAL_MODEL_COMMITS").map_or(3, |text| text.parse().unwrap());
    let most = if commits > 3 { 60_000 } else { 1_000 };
    let mut all = Counts::default();
    for (label, counts) in on_all_starts(commits, most) {
        println!("{label}: {counts}");
        let first = counts.violations.first();
        assert!(first.is_none(), "{label}: {}", first.unwrap());
        all.add(&counts);
    }
    println!("all: {all}");
    assert!(all.histories > 10_000, "{all}");
}

/// Each clause of the rule is needed: without it a push breaks an invariant.
#[test]
fn every_mutant_is_found() {
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match find(*mutant) {
                        Some(found) => println!("{mutant:?}: {found}"),
                        None => survivors.lock().unwrap().push(*mutant),
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().unwrap();
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}

/// Returns the first violation that a mutant leads to: first on the start that was made
/// for it, then on the others.
fn find(mutant: Mutant) -> Option<String> {
    let first = match mutant {
        Mutant::BaseIsAnythingReached | Mutant::WarnReachesPolicy => "after a time of warn",
        Mutant::SourcesHideAll | Mutant::AnyoneMovesAlongSource | Mutant::RewriteSkipsOwnSteps => {
            "a removed maintainer"
        }
        Mutant::PolicyOfReference
        | Mutant::PolicyOfParent
        | Mutant::RewriteChangesPolicy
        | Mutant::PolicyAtBeginning
        | Mutant::PolicyAtEnd => "a removed signer",
        Mutant::AdoptWithoutCommit => "an adopter who may not commit",
        Mutant::TrialSpeaks => "a trial rule",
        Mutant::MergeChangesFreely => "a merger who may not commit",
        Mutant::AdoptOnOneWay => "a merge beside an unsigned change",
        Mutant::ThresholdOnOneWay => "two persons, a merge beside",
        Mutant::ThresholdSkipsMerges => "two persons",
    };
    let mut starts = starts::all();
    starts.sort_by_key(|start| start.name != first);
    Mutant::set(Some(mutant));
    let found = starts.into_iter().find_map(|start| {
        let counts = Try::new(&start, 2, 0).run(true);
        let violation = counts.violations.into_iter().next()?;
        Some(format!("{}: {violation}", label(&start)))
    });
    Mutant::set(None);
    found
}
