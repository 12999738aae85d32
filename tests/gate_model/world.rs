//! A repository in arrays: commits, their trees and their policies.

use std::rc::Rc;

use crate::{
    facts::{ChangedPath, CommitFacts, SignatureResult},
    steps::{History, Look},
};
use gitseal_evidence::certificate::{FulcioExtensions, Identity, San};

/// The files of a tree. A file's value is the number of the commit that wrote it; that
/// of the policy is the number of the policy.
pub(super) const POLICY: usize = 0;
pub(super) const SRC: usize = 1;
pub(super) const KEY: usize = 2;
pub(super) const PATHS: [&str; 3] = [".gitseal/policy.toml", "src", "key"];

pub(super) const ISSUER: &str = "https://accounts.google.com";
pub(super) const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
pub(super) const SIGNED_AT: i64 = 1_790_000_000;

/// People, one bit each.
pub(super) type People = u8;
pub(super) const NONE: People = 0;
pub(super) const ALICE: People = 1;
pub(super) const BOB: People = 2;
pub(super) const CAROL: People = 4;
pub(super) const DAVE: People = 8;

/// Those who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Anyone,
    Only(People),
}

/// A rule, as the oracle reads it and as it is written for the parser.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub refs: &'static [&'static str],
    pub paths: Option<&'static [usize]>,
    pub from: Option<&'static str>,
    pub trial: bool,
    pub commit: Option<Who>,
    pub merge: Option<Who>,
    pub adopt: Option<People>,
    pub policy: Option<People>,
    pub direct: Option<People>,
    pub update: Option<Who>,
    pub threshold: Option<(usize, People)>,
}

/// A policy.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub warn: bool,
    pub cut_off: Option<Id>,
    pub rules: Vec<Rule>,
}

/// A rule about all branches by which these people may do all but adopt.
pub(super) fn rule(people: People) -> Rule {
    Rule {
        refs: &["refs/heads/**"],
        paths: None,
        from: None,
        trial: false,
        commit: Some(Who::Only(people)),
        merge: Some(Who::Only(people)),
        adopt: None,
        policy: Some(people & ALICE),
        direct: None,
        update: Some(Who::Anyone),
        threshold: None,
    }
}

pub(super) fn spec(rules: &[Rule]) -> Spec {
    Spec {
        warn: false,
        cut_off: None,
        rules: rules.to_vec(),
    }
}

fn names(people: People) -> String {
    let named: Vec<String> = (0..PEOPLE.len())
        .filter(|one| people >> one & 1 == 1)
        .map(|one| format!("{:?}", PEOPLE[one]))
        .collect();
    match named.is_empty() {
        true => "[\"nobody\"]".to_owned(),
        false => format!("[{}]", named.join(", ")),
    }
}

impl Who {
    fn names(self) -> String {
        match self {
            Self::Anyone => "[\"anyone\"]".to_owned(),
            Self::Only(people) => names(people),
        }
    }
}

impl Spec {
    /// Everyone whom a rule names.
    pub(super) fn people(&self) -> People {
        let who = |who: Option<Who>| match who {
            Some(Who::Only(people)) => people,
            _ => NONE,
        };
        self.rules.iter().fold(NONE, |all, rule| {
            all | who(rule.commit)
                | who(rule.merge)
                | who(rule.update)
                | rule.adopt.unwrap_or(NONE)
                | rule.policy.unwrap_or(NONE)
                | rule.direct.unwrap_or(NONE)
                | rule.threshold.map_or(NONE, |(_, of)| of)
        })
    }

    /// The policy as a file.
    pub(super) fn toml(&self) -> String {
        let mut text = "version = 2\n".to_owned();
        if self.warn {
            text += "mode = \"warn\"\n";
        }
        if let Some(id) = self.cut_off {
            text += &format!("cut-off = [\"{:040x}\"]\n", id.0);
        }
        let people = self.people();
        for (number, name) in PEOPLE.iter().enumerate() {
            if people >> number & 1 == 1 {
                text += &format!(
                    "[signers.{name}]\nissuer = \"{ISSUER}\"\nidentity = \"{name}@example.com\"\naccounts = [\"{name}\"]\n"
                );
            }
        }
        for (number, rule) in self.rules.iter().enumerate() {
            text += &format!("[[rules]]\nname = \"{number}\"\nrefs = {:?}\n", rule.refs);
            if let Some(paths) = rule.paths {
                let paths: Vec<&str> = paths
                    .iter()
                    .map(|path| {
                        if *path == POLICY {
                            ".gitseal/**"
                        } else {
                            PATHS[*path]
                        }
                    })
                    .collect();
                text += &format!("paths = {paths:?}\n");
            }
            if let Some(from) = rule.from {
                text += &format!("from = [{from:?}]\n");
            }
            if rule.trial {
                text += "trial = true\n";
            }
            let mut key = |key: &str, value: Option<String>| {
                if let Some(value) = value {
                    text += &format!("{key} = {value}\n");
                }
            };
            key("commit", rule.commit.map(Who::names));
            key("merge", rule.merge.map(Who::names));
            key("adopt", rule.adopt.map(names));
            key("policy", rule.policy.map(names));
            key("direct", rule.direct.map(names));
            key("update", rule.update.map(Who::names));
            // Everyone may do the rest: the strongest attacker.
            for action in ["create", "rewrite", "delete"] {
                key(action, rule.update.map(|_| Who::Anyone.names()));
            }
            let threshold = rule.threshold;
            key(
                "threshold",
                threshold.map(|(count, of)| format!("{{ count = {count}, of = {} }}", names(of))),
            );
        }
        text
    }
}

/// A commit, or the directory of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub u32);

const TREES: u32 = 1 << 16;

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A commit.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub parents: Vec<usize>,
    /// At most one person; nobody: it is not signed.
    pub signer: People,
    pub files: [u32; 3],
    /// What it reaches, itself included, and its line.
    pub reach: u64,
    pub line: u64,
    facts: Rc<CommitFacts<Id>>,
    pub paths: Rc<Vec<ChangedPath>>,
}

/// How a merge settles the files of its parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Settle {
    Clean,
    Ours,
    Theirs,
}

/// The commits of a repository, parents first, and the texts of the policies.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub nodes: Vec<Node>,
    pub texts: Rc<Vec<String>>,
    /// Whether walks that stop by time find too much.
    pub has_false_times: bool,
}

pub(super) fn bits(set: u64) -> impl DoubleEndedIterator<Item = usize> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}

impl World {
    pub(super) fn new(texts: Vec<String>) -> Self {
        Self {
            nodes: Vec::new(),
            texts: Rc::new(texts),
            has_false_times: false,
        }
    }

    /// Adds a commit on one parent, or none, that writes a file. The value of the
    /// policy is its number.
    pub(super) fn commit(
        &mut self,
        parent: Option<usize>,
        signer: People,
        file: usize,
        policy: u32,
    ) -> usize {
        let number = self.nodes.len();
        let mut files = parent.map_or([policy, 0, 0], |parent| self.nodes[parent].files);
        files[file] = match file {
            POLICY => policy,
            _ => u32::try_from(number).unwrap() + 1,
        };
        self.add(parent.into_iter().collect(), signer, files)
    }

    /// Adds a merge; `None` if it would conflict.
    pub(super) fn merge(
        &mut self,
        parents: &[usize],
        signer: People,
        settle: Settle,
    ) -> Option<usize> {
        let [first, others @ ..] = parents else {
            return None;
        };
        let mut files = self.nodes[*first].files;
        for other in others {
            let theirs = self.nodes[*other].files;
            let bases = self.bases(*first, *other);
            files = match settle {
                Settle::Ours => files,
                Settle::Theirs => theirs,
                Settle::Clean => {
                    let mut merged = files;
                    for file in 0..files.len() {
                        let mut results = bases
                            .iter()
                            .map(|base| self.nodes[*base].files[file])
                            .map(|base| three_way(base, files[file], theirs[file]));
                        let found = match results.next() {
                            Some(found) => found.filter(|_| results.all(|other| other == found))?,
                            None => Some(files[file]).filter(|ours| *ours == theirs[file])?,
                        };
                        merged[file] = found;
                    }
                    merged
                }
            };
        }
        Some(self.add(parents.to_vec(), signer, files))
    }

    /// Adds a merge with exactly these files.
    pub(super) fn add(&mut self, parents: Vec<usize>, signer: People, files: [u32; 3]) -> usize {
        let number = self.nodes.len();
        let own = 1_u64 << number;
        let mut reach = own;
        for parent in &parents {
            reach |= self.nodes[*parent].reach;
        }
        let line = own | parents.first().map_or(0, |first| self.nodes[*first].line);
        let id = Id(u32::try_from(number).unwrap());
        let facts = CommitFacts {
            id,
            parents: parents
                .iter()
                .map(|one| Id(u32::try_from(*one).unwrap()))
                .collect(),
            signature: signature(signer),
            author: b"A <a@example.com> 1 +0000".to_vec(),
            committer: b"A <a@example.com> 1 +0000".to_vec(),
            paths: Vec::new(),
        };
        let paths = self.changes(&parents, files);
        self.nodes.push(Node {
            parents,
            signer,
            files,
            reach,
            line,
            facts: Rc::new(facts),
            paths: Rc::new(paths),
        });
        number
    }

    /// The paths that a commit changes, as `docs/policy.md` describes a merge's own.
    fn changes(&self, parents: &[usize], files: [u32; 3]) -> Vec<ChangedPath> {
        let nothing = [u32::MAX, 0, 0];
        let first = parents
            .first()
            .map_or(nothing, |first| self.nodes[*first].files);
        let mut others: Vec<usize> = parents.iter().skip(1).copied().collect();
        others.retain(|other| self.nodes[parents[0]].reach >> other & 1 == 0);
        let sides: Vec<([u32; 3], Vec<[u32; 3]>)> = others
            .iter()
            .map(|other| {
                let bases = self.bases(parents[0], *other);
                let mut bases: Vec<_> = bases.iter().map(|base| self.nodes[*base].files).collect();
                if bases.is_empty() {
                    bases.push(nothing);
                }
                (self.nodes[*other].files, bases)
            })
            .collect();
        let mut paths = Vec::new();
        for (file, path) in PATHS.iter().enumerate() {
            let (now, before) = (files[file], first[file]);
            let is_still = |(theirs, bases): &([u32; 3], Vec<[u32; 3]>)| {
                theirs[file] == now || bases.iter().all(|base| base[file] == theirs[file])
            };
            if now == before && sides.iter().all(is_still) {
                continue;
            }
            let is_merged = match sides.as_slice() {
                [(theirs, bases)] => bases
                    .iter()
                    .all(|base| three_way(base[file], before, theirs[file]) == Some(now)),
                _ => false,
            };
            if now == before && is_merged {
                continue;
            }
            paths.push(ChangedPath {
                changed: !is_merged,
                ..ChangedPath::changed(path.as_bytes())
            });
        }
        paths
    }

    /// The best common ancestors.
    pub(super) fn bases(&self, one: usize, other: usize) -> Vec<usize> {
        let common = self.nodes[one].reach & self.nodes[other].reach;
        let beaten = bits(common).fold(0, |beaten, commit| {
            beaten | self.nodes[commit].reach & !(1 << commit)
        });
        bits(common & !beaten).collect()
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[usize::try_from(id.0).unwrap()]
    }

    fn reach(&self, ids: &[Id]) -> u64 {
        ids.iter().fold(0, |all, id| all | self.node(*id).reach)
    }

    fn lines(&self, ids: &[Id]) -> u64 {
        ids.iter().fold(0, |all, id| all | self.node(*id).line)
    }

    /// With false times a walk may miss what is older than its tips.
    fn seen(&self, set: u64, tips: &[Id], look: Look) -> u64 {
        match look {
            Look::ByTime if self.has_false_times => {
                tips.iter().fold(0, |all, tip| all | 1 << tip.0) & set
            }
            _ => set,
        }
    }
}

pub(super) fn three_way(base: u32, ours: u32, theirs: u32) -> Option<u32> {
    match (ours == base, theirs == base) {
        _ if ours == theirs => Some(ours),
        (true, _) => Some(theirs),
        (_, true) => Some(ours),
        (false, false) => None,
    }
}

pub(super) fn signature(signer: People) -> SignatureResult {
    if signer == NONE {
        return SignatureResult::Unsigned;
    }
    let name = PEOPLE[usize::try_from(signer.trailing_zeros()).unwrap()];
    SignatureResult::Good {
        identity: Identity {
            san: San::Email(format!("{name}@example.com")),
            issuer: ISSUER.to_owned(),
        },
        claims: FulcioExtensions::default(),
        signed_at: SIGNED_AT,
    }
}

impl History for World {
    type Id = Id;
    type Error = std::convert::Infallible;

    fn commit(&mut self, hex: &str) -> Result<Option<Id>, Self::Error> {
        Ok(u32::from_str_radix(hex, 16).ok().map(Id))
    }

    fn parents(&mut self, commit: Id) -> Result<Vec<Id>, Self::Error> {
        Ok(self.node(commit).facts.parents.clone())
    }

    fn line_base(
        &mut self,
        new: Id,
        lines: &[Id],
        behind: &[Id],
        look: Look,
    ) -> Result<Option<Id>, Self::Error> {
        let lines = self.seen(self.lines(lines), lines, look);
        let states = lines | self.reach(behind);
        let base = bits(self.node(new).line & states).next_back();
        Ok(base.map(|base| Id(u32::try_from(base).unwrap())))
    }

    fn gains(&mut self, tips: &[Id], hidden: &[Id], look: Look) -> Result<Vec<Id>, Self::Error> {
        let hidden = self.seen(self.reach(hidden), hidden, look);
        let gained = bits(self.reach(tips) & !hidden);
        Ok(gained.map(|one| Id(u32::try_from(one).unwrap())).collect())
    }

    fn on_lines(
        &mut self,
        commits: &[Id],
        lines: &[Id],
        look: Look,
    ) -> Result<Vec<Id>, Self::Error> {
        let lines = self.seen(self.lines(lines), lines, look);
        let commits = commits.iter().copied();
        Ok(commits.filter(|one| lines >> one.0 & 1 == 1).collect())
    }

    fn verify(&mut self, _: &[Id]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn facts(&mut self, commit: Id) -> Result<Rc<CommitFacts<Id>>, Self::Error> {
        Ok(Rc::clone(&self.node(commit).facts))
    }

    fn paths(&mut self, commit: Id, own: bool) -> Result<Vec<ChangedPath>, Self::Error> {
        let node = self.node(commit);
        let mut paths = node.paths.to_vec();
        if !own {
            // Without merge bases: what differs from the first parent.
            let first = node.parents.first().map(|first| self.nodes[*first].files);
            paths.retain_mut(|path| {
                let file = PATHS
                    .iter()
                    .position(|one| one.as_bytes() == path.path)
                    .unwrap();
                path.changed = true;
                first.is_none_or(|first| first[file] != node.files[file])
            });
        }
        Ok(paths)
    }

    fn policy_tree(&mut self, commit: Id) -> Result<Option<Id>, Self::Error> {
        Ok(Some(Id(TREES + self.node(commit).files[POLICY])))
    }

    fn policy_namesake(&mut self, _: Id) -> Result<Option<String>, Self::Error> {
        Ok(None)
    }

    fn policy_file(&mut self, tree: Id, name: &str) -> Result<Option<Vec<u8>>, Self::Error> {
        let text = usize::try_from(tree.0 - TREES)
            .ok()
            .and_then(|at| self.texts.get(at));
        Ok(text
            .filter(|_| name == "policy.toml")
            .map(|text| text.clone().into_bytes()))
    }
}
