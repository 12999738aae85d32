//! What names resolved to, as text and JSON: a result says nothing about an object
//! until it is known which one it is about.

use serde_json::{Value, json};

use crate::host::git::resolve::ResolvedName;
use gitseal_terminal::{self as terminal, Styled, styled};

/// The maximum number of names that are printed as text; JSON has all.
const MAX_PRINTED: usize = 20;

/// Prints what names resolved to on standard error, one per line. A name that is the
/// ID is not printed.
pub fn print(resolved: &[ResolvedName]) {
    let lines: Vec<String> = unique(resolved)
        .filter_map(ResolvedName::equation)
        .collect();
    for line in lines.iter().take(MAX_PRINTED) {
        terminal::info(&styled!("gitseal: {}", Styled::name(line)));
    }
    if let Some(more) = lines
        .len()
        .checked_sub(MAX_PRINTED)
        .filter(|more| *more > 0)
    {
        terminal::info(&format!("gitseal: and {more} more names; --json lists all"));
    }
}

/// Returns the list for a JSON report. `ref` is null for an ID.
#[must_use]
pub fn json(resolved: &[ResolvedName]) -> Value {
    unique(resolved)
        .map(|one| json!({"name": one.name, "ref": one.refs.first(), "id": one.id.to_string()}))
        .collect()
}

fn unique(resolved: &[ResolvedName]) -> impl Iterator<Item = &ResolvedName> {
    let mut seen = std::collections::HashSet::new();
    resolved.iter().filter(move |one| seen.insert(&one.name))
}
