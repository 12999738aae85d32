//! A history for the walk by the repository's own policies: the commits of the
//! push, verified already, and whatever else the walk asks for.
//!
//! *Not decided here:* what is authenticated (`policy/walk.rs`).

use std::collections::HashMap;

use gix::ObjectId;

use super::judge::Court;
use crate::{
    commands::batch::Engine,
    host::git::graph::{Care, Graph},
    policy::{
        CommitFacts,
        walk::{History, HistoryError},
    },
};

/// The folder and the file of the policy in a tree.
const POLICY: [&[u8]; 2] = [b".gitseal", b"policy.toml"];

pub(super) struct Facts<'a, 'r> {
    pub(super) court: &'a Court<'r>,
    pub(super) graph: &'a mut Graph<'r>,
    pub(super) engine: &'a Engine<'a>,
    /// Commits that were verified already.
    pub(super) known: &'a mut HashMap<ObjectId, CommitFacts>,
}

fn error(what: &dyn std::fmt::Display) -> HistoryError {
    HistoryError {
        what: what.to_string(),
    }
}

fn id(hex: &str) -> Result<ObjectId, HistoryError> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|_| error(&format!("{hex:?} is no object id")))
}

impl History for Facts<'_, '_> {
    fn parents(&mut self, commit: &str) -> Result<Vec<String>, HistoryError> {
        let parents = self.graph.parents(id(commit)?).map_err(|why| error(&why))?;
        Ok(parents.iter().map(ToString::to_string).collect())
    }

    fn policy_id(&mut self, commit: &str) -> Result<Option<String>, HistoryError> {
        let found = self
            .court
            .repository()
            .file_at(id(commit)?, &POLICY)
            .map_err(|why| error(&why))?;
        Ok(found.map(|id| id.to_string()))
    }

    fn policy_text(&mut self, blob: &str) -> Result<Vec<u8>, HistoryError> {
        self.court
            .repository()
            .blob(id(blob)?, super::rules::MAX_POLICY)
            .map_err(|why| error(&why))
    }

    fn commit(&mut self, commit: &str) -> Result<CommitFacts, HistoryError> {
        let id = id(commit)?;
        if let Some(facts) = self.known.get(&id) {
            return Ok(facts.clone());
        }
        let repository = self.court.repository();
        let object = repository.objects().read(id).map_err(|why| error(&why))?;
        let judged = self.engine.judge(object, repository.hash());
        let facts = self.court.facts(&judged).map_err(|why| error(&why))?;
        self.known.insert(id, facts.clone());
        Ok(facts)
    }

    fn brought(&mut self, commit: &str, most: usize) -> Result<Vec<String>, HistoryError> {
        let tip = id(commit)?;
        let first: Vec<ObjectId> = self
            .graph
            .parents(tip)
            .map_err(|why| error(&why))?
            .first()
            .copied()
            .into_iter()
            .collect();
        let gained = self
            .graph
            .gained(&[tip], &first, Care::Exact)
            .map_err(|why| error(&why))?;
        Ok(gained
            .commits
            .iter()
            .take(most)
            .map(ToString::to_string)
            .collect())
    }
}
