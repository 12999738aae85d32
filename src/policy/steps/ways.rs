//! What every way from a step to a commit goes through: adoption (item 6) and the
//! signers of thresholds (item 8). One pass over what the step gains, children first.

use std::collections::{BTreeSet, HashMap};

use super::{History, gains::Step, mutant::clause};

/// The maximum number of signers that are counted for one commit: as many as a
/// threshold may ask for.
pub(super) const MAX_SIGNERS: usize = crate::parse::MAX_THRESHOLD;

/// A parent of a commit of the same step, and whether it is another than the first.
struct Edge<I> {
    child: I,
    parent: I,
    is_other: bool,
}

/// The edges within a step, those of each commit before those of its parents.
fn edges<H: History>(step: &Step<H::Id>, history: &mut H) -> Result<Vec<Edge<H::Id>>, H::Error> {
    let mut edges = Vec::new();
    for child in &step.commits {
        let parents = history.parents(*child)?.into_iter().enumerate();
        edges.extend(parents.map(|(number, parent)| Edge {
            child: *child,
            parent,
            is_other: number > 0,
        }));
    }
    Ok(edges)
}

/// Returns the commits of a step that are adopted, and by which merge: every way from
/// the step to one leads through another parent of a merge that `adopts`.
pub(super) fn adopted<H: History, E: From<H::Error>>(
    step: &Step<H::Id>,
    history: &mut H,
    mut adopts: impl FnMut(&mut H, H::Id) -> Result<bool, E>,
) -> Result<HashMap<H::Id, H::Id>, E> {
    let edges = edges(step, history)?;
    // The merge that adopts it on the ways seen so far; `None`: on one there is none.
    let mut by: HashMap<H::Id, Option<H::Id>> = HashMap::new();
    // What a request brings, only its merge brings, and who makes that is not known.
    let tips = step.tip.or(step.commits.first().copied());
    by.extend(tips.map(|tip| (tip, None)));
    let among: std::collections::HashSet<H::Id> = step.commits.iter().copied().collect();
    let mut known: HashMap<H::Id, bool> = HashMap::new();
    for edge in edges.iter().filter(|edge| among.contains(&edge.parent)) {
        let mut way = by.get(&edge.child).copied().flatten();
        if way.is_none() && edge.is_other {
            let is_adopter = match known.get(&edge.child) {
                Some(is_adopter) => *is_adopter,
                None => adopts(history, edge.child)?,
            };
            known.insert(edge.child, is_adopter);
            way = is_adopter.then_some(edge.child);
        }
        by.entry(edge.parent)
            .and_modify(|so_far| {
                *so_far = clause!(AdoptOnOneWay: so_far.or(way), so_far.and(way));
            })
            .or_insert(way);
    }
    Ok(by
        .into_iter()
        .filter_map(|(commit, by)| Some((commit, by?)))
        .collect())
}

/// Returns for each commit of a step the signers of the merges through which every way
/// leads to it by another parent than the first. `signer`: of a commit, if it counts.
pub(super) fn mergers<H: History>(
    step: &Step<H::Id>,
    history: &mut H,
    signer: &HashMap<H::Id, usize>,
) -> Result<HashMap<H::Id, BTreeSet<usize>>, H::Error> {
    let mut mergers: HashMap<H::Id, BTreeSet<usize>> = HashMap::new();
    mergers.extend(step.commits.first().map(|tip| (*tip, BTreeSet::new())));
    for edge in edges(step, history)? {
        let mut way = mergers.get(&edge.child).cloned().unwrap_or_default();
        if let Some(signer) = signer.get(&edge.child).filter(|_| edge.is_other)
            && way.len() < MAX_SIGNERS
        {
            way.insert(*signer);
        }
        mergers
            .entry(edge.parent)
            .and_modify(|so_far| {
                *so_far = clause!(ThresholdOnOneWay: &*so_far | &way, &*so_far & &way);
            })
            .or_insert(way);
    }
    Ok(mergers)
}
