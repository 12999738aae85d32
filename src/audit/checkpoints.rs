//! The checkpoints that a repository carries, held against each other and against
//! the log.
//!
//! A log that signed a checkpoint has said what its tree is, for good: every later
//! tree begins with it. A repository full of signatures is an archive of such
//! statements that nobody could take back. Per log they are put in the order of
//! their sizes, and each must be the beginning of the next one (RFC 9162 §2.1.4),
//! the last one of what the log shows now.
//!
//! - Two roots for one size: the log showed two histories (a fork). No server is
//!   needed to see that, and both statements are signed.
//! - The log's own answer does not lead from one root to the next: a fork.
//! - The log is smaller now than what it signed: a rollback.
//! - The log gives no proof: unprovable, which decides nothing.
//!
//! *Not checked here:* the log's signature on what the repository carries
//! (`evidence/verify.rs` did that before it came here).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use crate::batch::Seen;
use gitseal_evidence::{
    checkpoint::{self, Checkpoint, RekorVersion, split_v1_origin},
    merkle::{self, Hash},
    refusal::hex,
    trusted_root::{TransparencyLog, TrustedRoot},
    verify::log_verifier,
};
use gitseal_services::rekor::{
    client::{RekorClient, RekorClientError},
    tiles::TileReader,
};
use gitseal_terminal::{Escape, Progress, Tone, escape, paint};

/// Proofs that are asked for if nothing else is said.
pub const MAX_REQUESTS: u64 = 10_000;
/// The most checkpoints that are kept of one repository. Some 150 bytes each.
pub const MAX_KEPT: usize = 500_000;
/// The most findings that are told one by one.
const MAX_TOLD: usize = 100;

/// A tree's size, its root, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Leaves.
    pub size: u64,
    /// The root.
    pub root: Hash,
    /// An object whose signature carries it.
    pub object: String,
}

/// Which log: its key, and the origin line of its checkpoints.
type Name = (Vec<u8>, String);

/// All checkpoints of a repository, by log.
#[derive(Debug, Default)]
pub struct Archive {
    logs: BTreeMap<Name, BTreeMap<u64, (Hash, String)>>,
    forks: Vec<(Name, Statement, Statement)>,
    kept: usize,
    carried: u64,
    left_out: u64,
}

impl Archive {
    /// Notes a checkpoint whose signature was verified.
    pub fn add(&mut self, seen: &Seen, object: &str) {
        self.carried = self.carried.saturating_add(1);
        let name = (seen.log_id.clone(), seen.checkpoint.origin.clone());
        let sizes = self.logs.entry(name.clone()).or_default();
        let (size, root) = (seen.checkpoint.size, seen.checkpoint.root);
        match sizes.get(&size) {
            Some((known, _)) if *known == root => {}
            Some((known, first)) => {
                if self.forks.len() < MAX_TOLD {
                    let statement = |root: Hash, object: &str| Statement {
                        size,
                        root,
                        object: object.to_owned(),
                    };
                    self.forks
                        .push((name, statement(*known, first), statement(root, object)));
                }
            }
            None if self.kept >= MAX_KEPT => self.left_out = self.left_out.saturating_add(1),
            None => {
                self.kept = self.kept.saturating_add(1);
                sizes.insert(size, (root, object.to_owned()));
            }
        }
    }
}

/// What is wrong with a log, or cannot be said of it.
#[derive(Debug)]
pub enum Finding {
    /// Two roots for one size, both signed.
    SameSize {
        /// The log's origin.
        origin: String,
        /// One.
        first: Statement,
        /// The other.
        second: Statement,
    },
    /// The later tree does not begin with the earlier one, by the log's own answer.
    Fork {
        /// The log's origin.
        origin: String,
        /// The smaller tree.
        earlier: Statement,
        /// The larger one; without an object: what the log shows now.
        later: Statement,
        /// What the proof led to.
        why: String,
    },
    /// The log is smaller than what it signed.
    Rollback {
        /// The log's origin.
        origin: String,
        /// The largest tree of the repository.
        largest: Statement,
        /// The log's size now.
        now: u64,
    },
    /// No proof was to be had.
    Unprovable {
        /// The log's origin.
        origin: String,
        /// The smaller tree, if it is about a pair.
        earlier: Option<Statement>,
        /// The larger tree.
        later: Option<Statement>,
        /// Why not.
        why: String,
    },
}

impl Finding {
    /// The stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::SameSize { .. } | Self::Fork { .. } => "log-fork",
            Self::Rollback { .. } => "log-rollback",
            Self::Unprovable { .. } => "log-unprovable",
        }
    }

    /// Whether it is proved that something is wrong; else nothing is.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        !matches!(self, Self::Unprovable { .. })
    }

    /// One object that it concerns.
    #[must_use]
    pub fn example(&self) -> &str {
        match self {
            Self::SameSize { first, .. } => &first.object,
            Self::Fork { earlier, .. } => &earlier.object,
            Self::Rollback { largest, .. } => &largest.object,
            Self::Unprovable { earlier, .. } => {
                earlier.as_ref().map_or("", |earlier| &earlier.object)
            }
        }
    }

    /// Which log, by the origin line of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        match self {
            Self::SameSize { origin, .. }
            | Self::Fork { origin, .. }
            | Self::Rollback { origin, .. }
            | Self::Unprovable { origin, .. } => origin,
        }
    }

    /// What was found.
    #[must_use]
    pub fn words(&self) -> String {
        let of = |one: &Statement| match one.object.as_str() {
            "" => format!("{} entries now ({})", one.size, hex(&one.root)),
            object => format!("{} entries ({}) in {object}", one.size, hex(&one.root)),
        };
        match self {
            Self::SameSize {
                origin,
                first,
                second,
            } => format!(
                "{origin:?} signed two trees of one size: {} and {}",
                of(first),
                of(second)
            ),
            Self::Fork {
                origin,
                earlier,
                later,
                why,
            } => format!(
                "{origin:?} does not lead from {} to {}: {why}",
                of(earlier),
                of(later)
            ),
            Self::Rollback {
                origin,
                largest,
                now,
            } => format!(
                "{origin:?} shows {now} entries now, but signed {}",
                of(largest)
            ),
            Self::Unprovable {
                origin,
                earlier,
                later,
                why,
            } => match (earlier, later) {
                (Some(earlier), Some(later)) => format!(
                    "{origin:?} gives no proof from {} to {}: {why}",
                    of(earlier),
                    of(later)
                ),
                _ => format!("{origin:?}: {why}"),
            },
        }
    }

    fn json(&self) -> Value {
        let statement = |one: &Statement| json!({"size": one.size, "root": hex(&one.root), "object": one.object});
        let (origin, pair) = match self {
            Self::SameSize {
                origin,
                first,
                second,
            } => (origin, vec![statement(first), statement(second)]),
            Self::Fork {
                origin,
                earlier,
                later,
                ..
            } => (origin, vec![statement(earlier), statement(later)]),
            Self::Rollback {
                origin, largest, ..
            } => (origin, vec![statement(largest)]),
            Self::Unprovable {
                origin,
                earlier,
                later,
                ..
            } => (origin, earlier.iter().chain(later).map(statement).collect()),
        };
        json!({
            "code": self.code(),
            "origin": origin,
            "checkpoints": pair,
            "message": self.words(),
        })
    }
}

/// What came of looking at all of them.
#[derive(Debug, Default)]
pub struct Examined {
    /// What is wrong, or cannot be said.
    pub findings: Vec<Finding>,
    carried: u64,
    distinct: usize,
    proved: u64,
    requests: u64,
    asked: bool,
    logs: Vec<(String, usize, u64)>,
}

impl Examined {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let logs: Vec<Value> = self
            .logs
            .iter()
            .map(|(origin, distinct, largest)| json!({"origin": origin, "checkpoints": distinct, "largest": largest}))
            .collect();
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        json!({
            "carried": self.carried,
            "distinct": self.distinct,
            "asked": self.asked,
            "proved_pairs": self.proved,
            "requests": self.requests,
            "logs": logs,
            "findings": findings,
        })
    }

    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut out = String::new();
        if self.carried == 0 {
            return out;
        }
        for finding in self.findings.iter().take(MAX_TOLD) {
            let tone = if finding.is_proof() {
                Tone::Bad
            } else {
                Tone::Warning
            };
            out.push_str(&format!(
                "{} {} [{}]\n",
                paint(tone, "log"),
                escape(&finding.words(), Escape::Prose),
                finding.code()
            ));
        }
        if self.findings.len() > MAX_TOLD {
            let left = self.findings.len().saturating_sub(MAX_TOLD);
            out.push_str(&format!("and {left} more findings about logs\n"));
        }
        let how = if self.asked {
            format!(
                "{} pairs proved consistent in {} requests",
                self.proved, self.requests
            )
        } else {
            "the log was not asked for proofs between them".to_owned()
        };
        out.push_str(&format!(
            "checkpoints: {} carried, {} different, of {} {}: {how}\n\n",
            self.carried,
            self.distinct,
            self.logs.len(),
            if self.logs.len() == 1 { "log" } else { "logs" },
        ));
        out
    }
}

/// Holds all checkpoints against each other and, with a number of requests that
/// may be made, against their logs.
#[must_use]
pub fn examine(archive: &Archive, trust: &TrustedRoot, requests: Option<u64>) -> Examined {
    let mut examined = Examined {
        carried: archive.carried,
        distinct: archive.kept,
        asked: requests.is_some() && archive.kept > 0,
        ..Examined::default()
    };
    for ((_, origin), first, second) in &archive.forks {
        examined.findings.push(Finding::SameSize {
            origin: origin.clone(),
            first: first.clone(),
            second: second.clone(),
        });
    }
    if archive.left_out > 0 {
        examined.findings.push(Finding::Unprovable {
            origin: "all logs".to_owned(),
            earlier: None,
            later: None,
            why: format!(
                "{} more checkpoints than the {MAX_KEPT} that are kept",
                archive.left_out
            ),
        });
    }
    let http = crate::context::http_client();
    let progress = Progress::start("proving");
    for ((log_id, origin), sizes) in &archive.logs {
        let statements: Vec<Statement> = sizes
            .iter()
            .map(|(size, (root, object))| Statement {
                size: *size,
                root: *root,
                object: object.clone(),
            })
            .collect();
        let largest = statements.last().map_or(0, |last| last.size);
        examined
            .logs
            .push((origin.clone(), statements.len(), largest));
        let (Some(limit), Some(log)) = (
            requests,
            trust.logs.iter().find(|log| log.log_id == *log_id),
        ) else {
            continue;
        };
        let left = limit.saturating_sub(examined.requests);
        let asked = Asked {
            origin,
            log,
            http: &http,
            left,
            progress: &progress,
        };
        asked.all(statements, &mut examined);
    }
    progress.finish();
    examined
}

/// One log that is asked.
struct Asked<'a> {
    origin: &'a str,
    log: &'a TransparencyLog,
    http: &'a gitseal_services::http::client::Client,
    left: u64,
    progress: &'a Progress,
}

/// Where proofs come from.
enum Source<'a> {
    V1(RekorClient<'a>, u64),
    V2(TileReader<'a>),
}

impl Source<'_> {
    /// The hashes between two sizes.
    fn proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, RekorClientError> {
        match self {
            Self::V1(client, tree) => client.consistency(*tree, old, new),
            Self::V2(tiles) => merkle::consistency_proof(tiles, old, new),
        }
    }

    fn requests(&self, made: u64) -> u64 {
        match self {
            Self::V1(..) => made,
            Self::V2(tiles) => tiles.requests(),
        }
    }
}

impl Asked<'_> {
    fn unprovable(&self, why: String) -> Finding {
        Finding::Unprovable {
            origin: self.origin.to_owned(),
            earlier: None,
            later: None,
            why,
        }
    }

    fn all(&self, mut statements: Vec<Statement>, examined: &mut Examined) {
        let Ok(base) = Url::parse(&self.log.base_url) else {
            let why = "the trusted root does not say where the log is reached".to_owned();
            examined.findings.push(self.unprovable(why));
            return;
        };
        let kind = RekorVersion::of_origin(self.origin);
        let client = RekorClient::new(self.http, &base);
        let note = match split_v1_origin(self.origin) {
            Some((_, tree)) => client.signed_tree(tree),
            None => client.checkpoint_v2(),
        };
        examined.requests = examined.requests.saturating_add(1);
        let now = note
            .map_err(|error| error.to_string())
            .and_then(|note| self.open(&note, kind));
        let now = match now {
            Ok(now) => now,
            Err(why) => {
                examined.findings.push(self.unprovable(why));
                return;
            }
        };
        if let Some(largest) = statements.last()
            && now.size < largest.size
        {
            examined.findings.push(Finding::Rollback {
                origin: self.origin.to_owned(),
                largest: largest.clone(),
                now: now.size,
            });
            return;
        }
        statements.push(Statement {
            size: now.size,
            root: now.root,
            object: String::new(),
        });
        let source = match split_v1_origin(self.origin) {
            Some((_, tree)) => Source::V1(client, tree),
            None => Source::V2(TileReader::new(client, now.size)),
        };
        self.pairs(&source, &statements, examined);
    }

    /// The log's own statement of today, its signature checked.
    fn open(&self, note: &str, kind: RekorVersion) -> Result<Checkpoint, String> {
        let now = checkpoint::open(note, &log_verifier(self.log, kind))
            .map_err(|refusal| format!("the log's checkpoint of now is refused: {refusal}"))?;
        if now.origin == self.origin {
            Ok(now)
        } else {
            Err(format!("the log answers as {:?} now", now.origin))
        }
    }

    fn pairs(&self, source: &Source<'_>, statements: &[Statement], examined: &mut Examined) {
        let before = examined.requests;
        let mut made = 0_u64;
        let mut failed_in_a_row = 0_u32;
        let mut skipped = 0_u64;
        for pair in statements.windows(2) {
            let [earlier, later] = pair else { continue };
            if earlier.size == later.size {
                // Only what the log shows now can have a size that is there already.
                if earlier.root == later.root {
                    examined.proved = examined.proved.saturating_add(1);
                } else {
                    examined.findings.push(Finding::SameSize {
                        origin: self.origin.to_owned(),
                        first: earlier.clone(),
                        second: later.clone(),
                    });
                }
                continue;
            }
            if source.requests(made) >= self.left || failed_in_a_row >= 3 {
                skipped = skipped.saturating_add(1);
                continue;
            }
            made = made.saturating_add(1);
            self.progress.step();
            match source.proof(earlier.size, later.size) {
                Ok(proof) => {
                    failed_in_a_row = 0;
                    match merkle::verify_consistency(
                        earlier.size,
                        later.size,
                        &proof,
                        &earlier.root,
                        &later.root,
                    ) {
                        Ok(()) => examined.proved = examined.proved.saturating_add(1),
                        Err(refusal) => examined.findings.push(Finding::Fork {
                            origin: self.origin.to_owned(),
                            earlier: earlier.clone(),
                            later: later.clone(),
                            why: refusal.to_string(),
                        }),
                    }
                }
                Err(error) => {
                    failed_in_a_row = failed_in_a_row.saturating_add(1);
                    examined.findings.push(Finding::Unprovable {
                        origin: self.origin.to_owned(),
                        earlier: Some(earlier.clone()),
                        later: Some(later.clone()),
                        why: error.to_string(),
                    });
                }
            }
        }
        if skipped > 0 {
            let why = if failed_in_a_row >= 3 {
                format!("{skipped} more pairs were not asked for after three failures in a row")
            } else {
                format!("{skipped} pairs were not asked for: --max-proofs allows no more")
            };
            examined.findings.push(self.unprovable(why));
        }
        examined.requests = before.saturating_add(source.requests(made));
    }
}
