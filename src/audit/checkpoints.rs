//! The checkpoints of a repository, compared with each other and with the log.
//!
//! A log that signed a checkpoint has committed to its tree permanently: every later
//! tree starts with it. The signatures of a repository are an archive of such
//! checkpoints that the log cannot change. Per log they are ordered by size, and each
//! must be a prefix of the next one (RFC 9162 §2.1.4), the last one of the current tree.
//!
//! A Rekor v1 log can have several trees, of which only the last one grows: its entries
//! are numbered through all of them. Two trees that both claim one of these numbers are
//! two histories.
//!
//! - Two roots for one size: a split view. No server is needed to see that, and both
//!   checkpoints are signed.
//! - The log's proof does not compute from one root to the next: a fork.
//! - The log is smaller now than a checkpoint that it signed: a rollback.
//! - The log returns no proof: unprovable, which decides nothing.
//!
//! *Not checked here:* the log's signature on the checkpoints of the repository
//! (`evidence/verify.rs` did that before).

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};
use url::Url;

use crate::{batch::ObservedCheckpoint, context::http_client};
use gitseal_evidence::{
    checkpoint::{self, Checkpoint, RekorVersion, split_v1_origin},
    hex,
    memo::Memo,
    merkle::{self, Hash},
    trusted_root::{TransparencyLog, TrustedRoot},
    verify::log_verifier,
};
use gitseal_services::{
    http::client::Client,
    merkle_tree,
    rekor::{
        client::{RekorClient, RekorClientError},
        tiles::TileReader,
    },
};
use gitseal_terminal::{Progress, Style, Styled, style, styled};

/// The maximum number of checkpoints that are kept, at some 150 bytes each.
pub const MAX_KEPT: usize = 500_000;
/// The maximum number of findings that are printed one by one.
const MAX_TOLD: usize = 100;
/// The number of failed requests after which a log is not queried any more.
const MAX_FAILURES: u32 = 3;

/// The size and the root of a tree, and where the checkpoint was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeState {
    pub size: u64,
    pub root: Hash,
    /// An object whose signature contains it; empty for the current tree.
    pub object: String,
}

impl TreeState {
    fn json(&self) -> Value {
        json!({"size": self.size, "root": hex(&self.root), "object": self.object})
    }
}

impl fmt::Display for TreeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size {} root {}", self.size, hex(&self.root))?;
        match self.object.as_str() {
            "" => f.write_str(" (current)"),
            object => write!(f, " (in {object})"),
        }
    }
}

/// A tree of a log: the ID of the log's key, and the origin line of its checkpoints.
type LogName = (Vec<u8>, String);

/// All checkpoints of a repository, by log.
#[derive(Debug, Default)]
pub struct CheckpointArchive {
    logs: BTreeMap<LogName, BTreeMap<u64, (Hash, String)>>,
    /// The lowest index over all trees of the log at which each tree was seen to start.
    first_indexes: BTreeMap<LogName, u64>,
    split_views: Vec<LogFinding>,
    kept: usize,
    found: u64,
    left_out: u64,
}

impl CheckpointArchive {
    /// Adds a checkpoint whose signature was verified.
    pub fn add(&mut self, observed: &ObservedCheckpoint, object: &str) {
        self.found = self.found.saturating_add(1);
        let Checkpoint {
            origin, size, root, ..
        } = &observed.checkpoint;
        let name = (observed.log_id.clone(), origin.clone());
        if let Some(first) = observed.first_index {
            let known = self.first_indexes.entry(name.clone()).or_insert(first);
            *known = first.min(*known);
        }
        let sizes = self.logs.entry(name).or_default();
        let tree = |root: Hash, object: &str| TreeState {
            size: *size,
            root,
            object: object.to_owned(),
        };
        match sizes.get(size) {
            Some((known, _)) if known == root => {}
            Some((known, first)) => {
                if self.split_views.len() < MAX_TOLD {
                    let trees = [tree(*known, first), tree(*root, object)];
                    self.split_views.push(LogFinding::split_view(origin, trees));
                }
            }
            None if self.kept >= MAX_KEPT => self.left_out = self.left_out.saturating_add(1),
            None => {
                self.kept = self.kept.saturating_add(1);
                sizes.insert(*size, (*root, object.to_owned()));
            }
        }
    }

    /// Trees of one log that claim the same index. A tree that starts at index `a` and
    /// has `n` entries contains the indexes from `a` to `a + n - 1`.
    fn overlaps(&self) -> Vec<LogFinding> {
        let mut trees: Vec<(&LogName, u64, TreeState)> = self
            .first_indexes
            .iter()
            .filter_map(|(name, first)| {
                let (size, (root, object)) = self.logs.get(name)?.last_key_value()?;
                let largest = TreeState {
                    size: *size,
                    root: *root,
                    object: object.clone(),
                };
                Some((name, *first, largest))
            })
            .collect();
        trees.sort_by(|a, b| (&a.0.0, a.1).cmp(&(&b.0.0, b.1)));
        trees
            .windows(2)
            .filter_map(|pair| {
                let [(name, first, tree), (other_name, other_first, other)] = pair else {
                    return None;
                };
                let overlap =
                    name.0 == other_name.0 && first.saturating_add(tree.size) > *other_first;
                overlap.then(|| {
                    LogFinding::two_histories(
                        (&name.1, tree.clone()),
                        (&other_name.1, other.clone()),
                        *other_first,
                    )
                })
            })
            .collect()
    }
}

/// The kind of a [`LogFinding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFindingKind {
    /// Two roots for one size, both signed.
    SplitView,
    /// The later tree does not start with the earlier one, by the log's own proof, or two
    /// trees contain one index of the log.
    Fork,
    /// The log is smaller than a tree that it signed.
    Rollback,
    /// There is no proof.
    Unprovable,
}

/// A problem of a log.
#[derive(Debug, Clone)]
pub struct LogFinding {
    pub kind: LogFindingKind,
    /// The origin line of the log's checkpoints.
    origin: String,
    trees: Vec<TreeState>,
    message: String,
}

impl fmt::Display for LogFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

impl LogFinding {
    fn split_view(origin: &str, trees: [TreeState; 2]) -> Self {
        let [first, second] = &trees;
        Self {
            kind: LogFindingKind::SplitView,
            message: format!("split view: two roots for one size: {first} and {second}"),
            origin: origin.to_owned(),
            trees: trees.to_vec(),
        }
    }

    fn fork(origin: &str, pair: &[TreeState; 2], reason: impl fmt::Display) -> Self {
        let [earlier, later] = pair;
        Self {
            kind: LogFindingKind::Fork,
            message: format!("inconsistent: {earlier} is not a prefix of {later}: {reason}"),
            origin: origin.to_owned(),
            trees: pair.to_vec(),
        }
    }

    fn two_histories(
        (origin, tree): (&str, TreeState),
        (other_origin, other): (&str, TreeState),
        index: u64,
    ) -> Self {
        Self {
            kind: LogFindingKind::Fork,
            message: format!(
                "two histories: {tree} and {other} of {other_origin} both contain log index {index}"
            ),
            origin: origin.to_owned(),
            trees: vec![tree, other],
        }
    }

    fn rollback(origin: &str, largest: &TreeState, now: u64) -> Self {
        Self {
            kind: LogFindingKind::Rollback,
            message: format!("rollback: current size {now}, but signed {largest}"),
            origin: origin.to_owned(),
            trees: vec![largest.clone()],
        }
    }

    fn no_proof(origin: &str, pair: &[TreeState; 2], reason: impl fmt::Display) -> Self {
        let [earlier, later] = pair;
        Self {
            trees: pair.to_vec(),
            ..Self::unprovable(
                origin,
                format!("no consistency proof from {earlier} to {later}: {reason}"),
            )
        }
    }

    fn unprovable(origin: &str, message: String) -> Self {
        Self {
            kind: LogFindingKind::Unprovable,
            origin: origin.to_owned(),
            trees: Vec::new(),
            message,
        }
    }

    /// Returns the stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            LogFindingKind::SplitView | LogFindingKind::Fork => "log-fork",
            LogFindingKind::Rollback => "log-rollback",
            LogFindingKind::Unprovable => "log-unprovable",
        }
    }

    /// Returns whether the log is proven to be wrong.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.kind != LogFindingKind::Unprovable
    }

    /// Returns an object that it concerns.
    #[must_use]
    pub fn example(&self) -> &str {
        self.trees.first().map_or("", |tree| &tree.object)
    }

    /// Returns the origin line of the log's checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    fn json(&self) -> Value {
        json!({
            "code": self.code(),
            "origin": self.origin,
            "checkpoints": self.trees.iter().map(TreeState::json).collect::<Vec<_>>(),
            "message": self.to_string(),
        })
    }
}

/// The result of comparing all checkpoints.
#[derive(Debug, Default)]
pub struct ConsistencyReport {
    pub findings: Vec<LogFinding>,
    found: u64,
    distinct: usize,
    consistent_pairs: u64,
    requests: u64,
    log_queried: bool,
    /// Origin, number of distinct checkpoints and largest size of each log.
    logs: Vec<(String, usize, u64)>,
}

impl ConsistencyReport {
    /// Returns the report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let logs: Vec<Value> = self
            .logs
            .iter()
            .map(|(origin, distinct, largest)| {
                json!({"origin": origin, "checkpoints": distinct, "largest": largest})
            })
            .collect();
        json!({
            "carried": self.found,
            "distinct": self.distinct,
            "log_queried": self.log_queried,
            "consistent_pairs": self.consistent_pairs,
            "requests": self.requests,
            "logs": logs,
            "findings": self.findings.iter().map(LogFinding::json).collect::<Vec<_>>(),
        })
    }

    /// Returns the report as text.
    #[must_use]
    pub fn text(&self) -> Styled {
        let mut out = Styled::default();
        if self.found == 0 {
            return out;
        }
        for finding in self.findings.iter().take(MAX_TOLD) {
            let tone = if finding.is_proven() {
                Style::Bad
            } else {
                Style::Warning
            };
            out.push(&styled!(
                "{} {} [{}]\n",
                style(tone, "log"),
                finding.to_string(),
                finding.code()
            ));
        }
        if self.findings.len() > MAX_TOLD {
            let left = self.findings.len().saturating_sub(MAX_TOLD);
            out.push(&styled!("and {} more findings about logs\n", left));
        }
        let plural = |count: u64, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {one}s"),
        };
        let proofs = if self.log_queried {
            format!(
                "{} consistent ({})",
                plural(self.consistent_pairs, "pair"),
                plural(self.requests, "request")
            )
        } else {
            "the log was not queried for proofs between them".to_owned()
        };
        let logs = u64::try_from(self.logs.len()).unwrap_or(u64::MAX);
        out.push(&styled!(
            "checkpoints: {} found ({} distinct) from {}; {}\n\n",
            self.found,
            self.distinct,
            plural(logs, "log"),
            proofs
        ));
        out
    }
}

/// Compares all checkpoints with each other and, within a number of requests, with
/// their logs.
#[must_use]
pub fn check_consistency(
    archive: &CheckpointArchive,
    trust: &TrustedRoot,
    max_requests: Option<u64>,
) -> ConsistencyReport {
    let mut report = ConsistencyReport {
        findings: archive.split_views.clone(),
        found: archive.found,
        distinct: archive.kept,
        log_queried: max_requests.is_some() && archive.kept > 0,
        ..ConsistencyReport::default()
    };
    report.findings.extend(archive.overlaps());
    if archive.left_out > 0 {
        let message = format!(
            "{} more checkpoints than the limit of {MAX_KEPT}",
            archive.left_out
        );
        report
            .findings
            .push(LogFinding::unprovable("all logs", message));
    }
    let http = http_client();
    let progress = Progress::start("proving");
    for ((log_id, origin), sizes) in &archive.logs {
        let trees: Vec<TreeState> = sizes
            .iter()
            .map(|(size, (root, object))| TreeState {
                size: *size,
                root: *root,
                object: object.clone(),
            })
            .collect();
        let largest = trees.last().map_or(0, |last| last.size);
        report.logs.push((origin.clone(), trees.len(), largest));
        let (Some(limit), Some(log)) = (
            max_requests,
            trust.logs.iter().find(|log| log.log_id == *log_id),
        ) else {
            continue;
        };
        let check = LogCheck {
            origin,
            log,
            http: &http,
            left: limit.saturating_sub(report.requests),
            progress: &progress,
        };
        if let Err(finding) = check.run(trees, &mut report) {
            report.findings.push(*finding);
        }
    }
    progress.finish();
    report
}

/// The check of one log.
struct LogCheck<'a> {
    origin: &'a str,
    log: &'a TransparencyLog,
    http: &'a Client,
    /// The remaining number of requests.
    left: u64,
    progress: &'a Progress,
}

/// The source of consistency proofs.
enum ProofSource<'a> {
    V1(RekorClient<'a>, u64),
    V2(TileReader<'a>),
}

impl ProofSource<'_> {
    fn proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, RekorClientError> {
        match self {
            Self::V1(client, tree) => client.consistency(*tree, old, new),
            Self::V2(tiles) => merkle_tree::consistency_proof(tiles, old, new),
        }
    }

    fn requests(&self, made: u64) -> u64 {
        match self {
            Self::V1(..) => made,
            Self::V2(tiles) => tiles.requests(),
        }
    }
}

impl LogCheck<'_> {
    fn unprovable(&self, message: impl Into<String>) -> Box<LogFinding> {
        Box::new(LogFinding::unprovable(self.origin, message.into()))
    }

    fn run(
        &self,
        mut trees: Vec<TreeState>,
        report: &mut ConsistencyReport,
    ) -> Result<(), Box<LogFinding>> {
        let base = Url::parse(&self.log.base_url)
            .map_err(|_| self.unprovable("the trusted root has no URL of the log"))?;
        let client = RekorClient::new(self.http, &base);
        let v1_tree = split_v1_origin(self.origin).map(|(_, tree)| tree);
        let note = match v1_tree {
            Some(tree) => client.signed_tree(tree),
            None => client.checkpoint_v2(),
        };
        report.requests = report.requests.saturating_add(1);
        let note = note.map_err(|error| self.unprovable(error.to_string()))?;
        let now = self.open(&note).map_err(|error| self.unprovable(error))?;
        if let Some(largest) = trees.last()
            && now.size < largest.size
        {
            return Err(Box::new(LogFinding::rollback(
                self.origin,
                largest,
                now.size,
            )));
        }
        trees.push(TreeState {
            size: now.size,
            root: now.root,
            object: String::new(),
        });
        let source = match v1_tree {
            Some(tree) => ProofSource::V1(client, tree),
            None => ProofSource::V2(TileReader::new(client, now.size)),
        };
        self.check_pairs(&source, &trees, report)
    }

    /// Opens the log's current checkpoint and verifies its signature.
    fn open(&self, note: &str) -> Result<Checkpoint, String> {
        let version = RekorVersion::of_origin(self.origin);
        let now = checkpoint::open(note, &log_verifier(self.log, version), Memo::disabled())
            .map_err(|refusal| format!("the log's current checkpoint is refused: {refusal}"))?;
        if now.origin == self.origin {
            Ok(now)
        } else {
            Err(format!("the log responds as {:?}", now.origin))
        }
    }

    fn check_pairs(
        &self,
        source: &ProofSource<'_>,
        trees: &[TreeState],
        report: &mut ConsistencyReport,
    ) -> Result<(), Box<LogFinding>> {
        let before = report.requests;
        let mut made = 0_u64;
        let mut failed_in_a_row = 0_u32;
        let mut skipped = 0_u64;
        for pair in trees.windows(2) {
            let Ok(pair) = <&[TreeState; 2]>::try_from(pair) else {
                continue;
            };
            let [earlier, later] = pair;
            let finding = if earlier.size == later.size {
                // Only the current tree can have a size that is there already.
                (earlier.root != later.root)
                    .then(|| LogFinding::split_view(self.origin, pair.clone()))
            } else if source.requests(made) >= self.left || failed_in_a_row >= MAX_FAILURES {
                skipped = skipped.saturating_add(1);
                continue;
            } else {
                made = made.saturating_add(1);
                self.progress.step();
                match source.proof(earlier.size, later.size) {
                    Ok(proof) => {
                        failed_in_a_row = 0;
                        let (old, new) = (&earlier.root, &later.root);
                        merkle::verify_consistency(earlier.size, later.size, &proof, old, new)
                            .err()
                            .map(|refusal| LogFinding::fork(self.origin, pair, refusal))
                    }
                    Err(error) => {
                        failed_in_a_row = failed_in_a_row.saturating_add(1);
                        Some(LogFinding::no_proof(self.origin, pair, error))
                    }
                }
            };
            match finding {
                Some(finding) => report.findings.push(finding),
                None => report.consistent_pairs = report.consistent_pairs.saturating_add(1),
            }
        }
        report.requests = before.saturating_add(source.requests(made));
        if skipped == 0 {
            return Ok(());
        }
        Err(self.unprovable(if failed_in_a_row >= MAX_FAILURES {
            format!("{skipped} more pairs not checked after {MAX_FAILURES} failures in a row")
        } else {
            format!("{skipped} pairs not checked: --max-proofs allows no more")
        }))
    }
}
