#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::HashMap,
    fmt::{self, Display},
    rc::Rc,
    time::Instant,
};

mod codes;

use super::*;
use crate::{
    Policy,
    facts::{ChangedPath, CommitFacts, POLICY_PATH, Pusher, SignatureResult, UpdateKind, codes::*},
};
use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity, San},
};

const MAIN: &[u8] = b"refs/heads/main";
const TOPIC: &[u8] = b"refs/heads/topic";
const AT: UnixTime = 1_790_000_000;
const DAY: i64 = 86_400;

/// Commits have names for ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id(&'static str);

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn id(name: &str) -> Id {
    Id(name.to_owned().leak())
}

/// A commit that is not there.
#[derive(Debug, PartialEq, Eq)]
struct Missing;

struct Entry {
    facts: Rc<CommitFacts<Id>>,
    paths: Vec<ChangedPath>,
    tree: Option<Id>,
}

/// A history in memory.
#[derive(Default)]
struct Repository {
    commits: HashMap<Id, Entry>,
    /// The files of the policies, by directory.
    trees: HashMap<Id, Vec<(&'static str, String)>>,
    verified: usize,
    parsed: usize,
    read_paths: usize,
    read_own: usize,
}

/// One commit in the making.
struct Making<'r> {
    repository: &'r mut Repository,
    facts: CommitFacts<Id>,
    paths: Vec<ChangedPath>,
    tree: Option<Id>,
}

fn signature(who: &str) -> SignatureResult {
    SignatureResult::Good {
        identity: Identity {
            san: San::Email(format!("{who}@example.com")),
            issuer: "https://accounts.google.com".to_owned(),
        },
        claims: FulcioExtensions::default(),
        signed_at: AT,
    }
}

impl Repository {
    /// A commit by this person on these parents; its tree has the policy of the first.
    fn commit(&mut self, name: &str, who: &str, parents: &[&str]) -> Making<'_> {
        let tree = parents
            .first()
            .and_then(|first| self.commits.get(&id(first)))
            .and_then(|first| first.tree);
        Making {
            facts: CommitFacts {
                id: id(name),
                parents: parents.iter().map(|parent| id(parent)).collect(),
                signature: match who {
                    "" => SignatureResult::Unsigned,
                    who => signature(who),
                },
                author: b"A <a@example.com> 1 +0000".to_vec(),
                committer: b"A <a@example.com> 1 +0000".to_vec(),
                paths: Vec::new(),
            },
            paths: vec![ChangedPath {
                changed: parents.len() < 2,
                ..ChangedPath::changed(b"src/lib.rs")
            }],
            tree,
            repository: self,
        }
    }

    fn entry(&self, commit: Id) -> Result<&Entry, Missing> {
        self.commits.get(&commit).ok_or(Missing)
    }

    fn reach(&self, tips: &[Id]) -> Result<Vec<Id>, Missing> {
        // Parents first, without recursion.
        let mut order = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut open: Vec<(Id, bool)> = tips.iter().map(|tip| (*tip, false)).collect();
        while let Some((commit, after)) = open.pop() {
            if after {
                order.push(commit);
            } else if seen.insert(commit) {
                open.push((commit, true));
                let parents = &self.entry(commit)?.facts.parents;
                open.extend(parents.iter().map(|parent| (*parent, false)));
            }
        }
        Ok(order)
    }

    fn line(&self, tip: Id) -> Result<Vec<Id>, Missing> {
        let mut line = Vec::new();
        let mut next = Some(tip);
        while let Some(commit) = next {
            line.push(commit);
            next = self.entry(commit)?.facts.parents.first().copied();
        }
        Ok(line)
    }

    /// The steps from the policy root on, as a clone judges them.
    fn cloned(&mut self, root: &str, tip: &str) -> Result<Judged<Id>, &'static str> {
        match StepJudge::at(self, id(root)).unwrap() {
            Err(finding) => Err(finding.code),
            Ok(mut judge) => Ok(judge.judge_clone(id(root), id(tip), MAIN).unwrap()),
        }
    }

    /// The first commit that a clone refuses, and the code.
    fn refused(&mut self, root: &str, tip: &str) -> (String, &'static str) {
        first_refusal(&self.cloned(root, tip).unwrap())
    }

    /// A push to main with its own policy.
    fn pushed(&mut self, old: &str, new: &str) -> Judged<Id> {
        let mut judge = StepJudge::at(self, id(old)).unwrap().ok().unwrap();
        let branch = Branch::WithPolicy { root: id("r") };
        let update = Update {
            branch,
            ..update(MAIN, Some(old), Some(new), &[])
        };
        judge.judge(&update).unwrap()
    }
}

fn first_refusal(judged: &Judged<Id>) -> (String, &'static str) {
    let mut findings = judged.findings.iter();
    let found = findings.find(|found| found.finding.refuses());
    let found = found.expect("should be refused");
    assert!(judged.is_refused);
    let about = match found.about {
        Subject::Reference => String::new(),
        Subject::Commit { commit, .. } => commit.0.to_owned(),
    };
    (about, found.finding.code)
}

fn update<'a>(
    name: &'a [u8],
    old: Option<&str>,
    new: Option<&str>,
    lent: &'a [Id],
) -> Update<'a, Id> {
    Update {
        name,
        branch: match name == MAIN {
            true => Branch::Default,
            false => Branch::Other,
        },
        old: old.map(id),
        new: new.map(id),
        lent,
        pusher: Pusher::default(),
    }
}

impl Making<'_> {
    /// With this policy in its tree.
    fn policy(self, text: &str) -> Self {
        self.files(&[("policy.toml", text)])
    }

    fn files(mut self, files: &[(&'static str, &str)]) -> Self {
        let tree = id(&format!("tree of {}", self.facts.id));
        let files = files.iter().map(|(name, text)| (*name, (*text).to_owned()));
        self.repository.trees.insert(tree, files.collect());
        self.tree = Some(tree);
        self.paths = vec![ChangedPath::changed(POLICY_PATH.as_bytes())];
        self
    }

    fn without_policy(mut self) -> Self {
        self.tree = None;
        self.paths = vec![ChangedPath::changed(POLICY_PATH.as_bytes())];
        self
    }

    /// With the policy of that commit in its tree, as a merge brings it.
    fn policy_of(mut self, commit: &str) -> Self {
        self.tree = self.repository.commits[&id(commit)].tree;
        self.paths(&[(POLICY_PATH, false)])
    }

    fn paths(mut self, paths: &[(&str, bool)]) -> Self {
        let paths = paths.iter().map(|(path, changed)| ChangedPath {
            changed: *changed,
            ..ChangedPath::changed(path.as_bytes())
        });
        self.paths = paths.collect();
        self
    }

    fn at(mut self, time: UnixTime) -> Self {
        if let SignatureResult::Good { signed_at, .. } = &mut self.facts.signature {
            *signed_at = time;
        }
        self
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let entry = Entry {
            facts: Rc::new(self.facts.clone()),
            paths: std::mem::take(&mut self.paths),
            tree: self.tree,
        };
        self.repository.commits.insert(self.facts.id, entry);
    }
}

impl History for Repository {
    type Id = Id;
    type Error = Missing;

    fn commit(&mut self, hex: &str) -> Result<Option<Id>, Missing> {
        let name = hex.trim_start_matches('0');
        Ok(self.commits.keys().copied().find(|id| id.0 == name))
    }

    fn parents(&mut self, commit: Id) -> Result<Vec<Id>, Missing> {
        Ok(self.entry(commit)?.facts.parents.clone())
    }

    fn line_base(
        &mut self,
        new: Id,
        lines: &[Id],
        behind: &[Id],
        _: Look,
    ) -> Result<Option<Id>, Missing> {
        let mut states: std::collections::HashSet<Id> = self.reach(behind)?.into_iter().collect();
        for line in lines {
            states.extend(self.line(*line)?);
        }
        let line = self.line(new)?.into_iter();
        Ok(line.into_iter().find(|commit| states.contains(commit)))
    }

    fn gains(&mut self, tips: &[Id], hidden: &[Id], _: Look) -> Result<Vec<Id>, Missing> {
        let hidden: std::collections::HashSet<Id> = self.reach(hidden)?.into_iter().collect();
        let mut gained = self.reach(tips)?;
        gained.retain(|commit| !hidden.contains(commit));
        Ok(gained)
    }

    fn on_lines(&mut self, commits: &[Id], lines: &[Id], _: Look) -> Result<Vec<Id>, Missing> {
        let mut states = std::collections::HashSet::new();
        for line in lines {
            states.extend(self.line(*line)?);
        }
        let commits = commits.iter().copied();
        Ok(commits.filter(|one| states.contains(one)).collect())
    }

    fn verify(&mut self, commits: &[Id]) -> Result<(), Missing> {
        self.verified += commits.len();
        Ok(())
    }

    fn facts(&mut self, commit: Id) -> Result<Rc<CommitFacts<Id>>, Missing> {
        Ok(Rc::clone(&self.entry(commit)?.facts))
    }

    fn paths(&mut self, commit: Id, own: bool) -> Result<Vec<ChangedPath>, Missing> {
        self.read_paths += usize::from(!own);
        self.read_own += usize::from(own);
        let mut paths = self.entry(commit)?.paths.clone();
        if !own {
            paths.iter_mut().for_each(|path| path.changed = true);
        }
        Ok(paths)
    }

    fn policy_tree(&mut self, commit: Id) -> Result<Option<Id>, Missing> {
        Ok(self.entry(commit)?.tree)
    }

    fn policy_namesake(&mut self, commit: Id) -> Result<Option<String>, Missing> {
        let paths = self.entry(commit)?.paths.iter();
        let mut roots = paths.map(|path| path.path.split(|byte| *byte == b'/').next().unwrap());
        let found = roots.find(|name| crate::facts::is_policy_namesake(name));
        Ok(found.map(|name| String::from_utf8_lossy(name).into_owned()))
    }

    fn policy_file(&mut self, tree: Id, name: &str) -> Result<Option<Vec<u8>>, Missing> {
        self.parsed += usize::from(name == "policy.toml");
        let mut files = self.trees.get(&tree).ok_or(Missing)?.iter();
        let file = files.find(|(known, _)| *known == name);
        Ok(file.map(|(_, text)| text.clone().into_bytes()))
    }
}

fn signers(names: &str) -> String {
    let signers = names.split(' ').filter(|name| !name.is_empty()).map(|who| {
        format!("[signers.{who}]\nissuer = \"https://accounts.google.com\"\nidentity = \"{who}@example.com\"\naccounts = [\"{who}\"]\n")
    });
    signers.collect()
}

fn list(names: &str) -> String {
    let names = names.split(' ').filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

/// Committers may commit and merge; managers may adopt and change the policy as well.
fn people(managers: &str, committers: &str) -> String {
    let all = format!("{managers} {committers}");
    format!(
        "version = 2\n{}[[rules]]\nname = \"all\"\ncommit = [{}]\nmerge = [{}]\nadopt = [{}]\npolicy = [{}]\ncreate = [\"anyone\"]\nupdate = [\"anyone\"]\nrewrite = [\"anyone\"]\n",
        signers(&all),
        list(&all),
        list(&all),
        list(managers),
        list(managers)
    )
}

/// The policy of a file: these signers, and these rules.
fn file(names: &str, rules: &str) -> Rc<Policy> {
    let text = format!("version = 2\n{}{rules}", signers(names));
    Rc::new(Policy::parse(&text, "test").unwrap())
}

/// Alice manages, Bob commits; Carol and Mallory are strangers.
fn project() -> Repository {
    let mut r = Repository::default();
    drop(r.commit("r", "alice", &[]).policy(&people("alice", "bob")));
    r
}

// ------------------------------------------- the scenarios of sequoia-git's book

/// "Adding a signing policy", "Authorize Bob", "Bob adds a commit".
#[test]
fn sequoia_a_policy_an_authorization_and_a_commit() {
    let mut r = Repository::default();
    drop(r.commit("b0", "alice", &[]));
    drop(
        r.commit("b1", "alice", &["b0"])
            .policy(&people("alice", "")),
    );
    drop(
        r.commit("b2", "alice", &["b1"])
            .policy(&people("alice", "bob")),
    );
    drop(r.commit("b3", "bob", &["b2"]));
    drop(r.commit("b4", "bob", &["b3"]));
    let judged = r.cloned("b1", "b4").unwrap();
    assert_eq!((judged.is_refused, judged.judged), (false, 3));
    // The commit before the policy is not a policy root.
    assert_eq!(r.cloned("b0", "b4"), Err(POLICY_MISSING));
    assert!(!r.cloned("b3", "b4").unwrap().is_refused);
    assert!(!r.cloned("b4", "b4").unwrap().is_refused);
}

/// "Merge Carol's change": a merger with adopt answers for what they merge.
#[test]
fn sequoia_a_merge_of_a_change_from_outside() {
    let mut r = project();
    drop(r.commit("b5", "bob", &["r"]));
    drop(r.commit("b6", "carol", &["b5"]));
    drop(r.commit("b9", "alice", &["b5", "b6"]));
    let judged = r.cloned("r", "b9").unwrap();
    assert!(!judged.is_refused, "{judged:?}");
    assert_eq!(judged.adopted, [(id("b6"), id("b9"))]);
    // Bob may merge, but not this; the finding says who may.
    drop(r.commit("b10", "bob", &["b5", "b6"]));
    let judged = r.cloned("r", "b10").unwrap();
    assert_eq!(first_refusal(&judged), ("b6".to_owned(), SIGNER_UNKNOWN));
    assert_eq!(judged.findings[0].may_merge, ["alice"]);
    let step = Subject::Commit {
        commit: id("b6"),
        step: Some(id("b10")),
    };
    assert_eq!(judged.findings[0].about, step);
    // A fast-forward of Carol's branch is not a merge.
    assert_eq!(r.refused("r", "b6").0, "b6");
}

/// Bob may not let Carol in; Alice may, and from then on Carol commits.
#[test]
fn sequoia_who_may_change_the_policy() {
    let mut r = project();
    drop(
        r.commit("b", "bob", &["r"])
            .policy(&people("alice", "bob carol")),
    );
    assert_eq!(r.refused("r", "b"), ("b".to_owned(), SIGNER_NOT_ALLOWED));
    // The new policy does not judge the commit that brings it.
    drop(
        r.commit("bb", "bob", &["r"])
            .policy(&people("bob", "alice")),
    );
    assert_eq!(r.refused("r", "bb"), ("bb".to_owned(), SIGNER_NOT_ALLOWED));
    drop(
        r.commit("a", "alice", &["r"])
            .policy(&people("alice", "bob carol")),
    );
    drop(r.commit("c", "carol", &["a"]));
    assert!(!r.cloned("r", "c").unwrap().is_refused);
    assert!(!r.pushed("r", "c").is_refused, "in one push");
}

/// A retired committer's commits on main stay. What they made before and did not push is
/// refused when it is merged later, and taken if it is adopted.
#[test]
fn sequoia_a_retired_committer() {
    let mut r = project();
    drop(r.commit("b1", "bob", &["r"]));
    drop(r.commit("old", "bob", &["r"]));
    let without =
        people("alice dora", "").replace("adopt = [\"alice\", \"dora\"]", "adopt = [\"alice\"]");
    drop(r.commit("a1", "alice", &["b1"]).policy(&without));
    drop(r.commit("a2", "alice", &["a1"]));
    assert!(!r.cloned("r", "a2").unwrap().is_refused);
    drop(r.commit("b2", "bob", &["a2"]));
    assert_eq!(r.refused("r", "b2"), ("b2".to_owned(), SIGNER_UNKNOWN));
    drop(r.commit("m1", "dora", &["a2", "old"]));
    assert_eq!(r.refused("r", "m1"), ("old".to_owned(), SIGNER_UNKNOWN));
    drop(r.commit("m2", "alice", &["a2", "old"]));
    assert!(!r.cloned("r", "m2").unwrap().is_refused);
}

// --------------------------------------------------------------------- and ours

/// A removed signer forks from a time when the old policy still named them.
#[test]
fn a_hostile_branch_of_a_removed_signer() {
    let mut r = project();
    drop(
        r.commit("a1", "alice", &["r"])
            .policy(&people("alice carol", "")),
    );
    drop(r.commit("a2", "alice", &["a1"]));
    drop(r.commit("x2", "bob", &["r"]));
    // A clone that knows nothing but this branch takes it: its policy root is that old.
    assert!(!r.cloned("r", "x2").unwrap().is_refused);
    // The gate does not: for main it is a rewrite that brings the old policy back.
    assert_eq!(
        first_refusal(&r.pushed("a2", "x2")),
        (String::new(), POLICY_REWOUND)
    );
    // Another branch is judged by the policy in force.
    let mut judge = StepJudge::at(&mut r, id("a2")).unwrap().ok().unwrap();
    let lent = [id("a2")];
    let judged = judge
        .judge(&update(TOPIC, None, Some("x2"), &lent))
        .unwrap();
    assert_eq!(judged.base, Some(id("r")));
    assert_eq!(first_refusal(&judged), ("x2".to_owned(), SIGNER_UNKNOWN));
    // Taking main in as the second parent does not make it main.
    drop(r.commit("x3", "bob", &["x2", "a2"]));
    assert!(r.pushed("a2", "x3").is_refused);
}

/// A policy that a side branch changed comes with the merge, and so counts as the
/// step's change.
#[test]
fn a_hostile_policy_on_a_side_branch() {
    let mut r = project();
    drop(r.commit("s1", "carol", &["r"]).policy(&people("carol", "")));
    drop(r.commit("m", "alice", &["r", "s1"]).policy_of("s1"));
    drop(r.commit("m1", "bob", &["r", "s1"]).policy_of("s1"));
    // Alice may; Bob may not, even where a list of paths omits it.
    assert!(!r.cloned("r", "m").unwrap().is_refused);
    let judged = r.cloned("r", "m1").unwrap();
    let found = judged.findings.iter().any(|found| {
        found.finding.code == SIGNER_NOT_ALLOWED && found.finding.message.contains("policy")
    });
    assert!(found, "{judged:?}");
    // Adopted without its policy, the policy stays Alice's.
    drop(r.commit("m3", "alice", &["r", "s1"]));
    drop(r.commit("c", "carol", &["m3"]));
    assert_eq!(r.refused("r", "c"), ("c".to_owned(), SIGNER_UNKNOWN));
}

#[test]
fn a_policy_must_stay_and_be_readable() {
    let mut r = project();
    drop(r.commit("d", "alice", &["r"]).without_policy());
    assert_eq!(r.refused("r", "d"), ("d".to_owned(), POLICY_MISSING));
    drop(r.commit("e", "alice", &["r"]).policy("version = 2"));
    drop(r.commit("f", "alice", &["e"]));
    assert_eq!(r.refused("r", "f"), ("e".to_owned(), POLICY_UNREADABLE));
    assert_eq!(r.cloned("e", "f"), Err(POLICY_UNREADABLE));
    assert_eq!(r.cloned("d", "d"), Err(POLICY_MISSING));
}

/// Files that the policy includes lie beside it and belong to it.
#[test]
fn a_policy_includes_files_beside_it() {
    let text = "version = 2\ninclude = [\"people.toml\"]\n[[rules]]\nname = \"all\"\ncommit = [\"alice\", \"bob\"]\npolicy = [\"alice\"]\n";
    let both = signers("alice bob");
    let mut r = Repository::default();
    let files = [("policy.toml", text), ("people.toml", both.as_str())];
    drop(r.commit("r", "alice", &[]).files(&files));
    drop(r.commit("b", "bob", &["r"]));
    assert!(!r.cloned("r", "b").unwrap().is_refused);
    // Bob may not change them; without them there is no policy.
    let more = signers("alice bob carol");
    let files = [("policy.toml", text), ("people.toml", more.as_str())];
    drop(r.commit("c", "bob", &["r"]).files(&files));
    assert_eq!(r.refused("r", "c"), ("c".to_owned(), SIGNER_NOT_ALLOWED));
    drop(r.commit("d", "alice", &["r"]).policy(text));
    assert_eq!(r.refused("r", "d"), ("d".to_owned(), POLICY_UNREADABLE));
}

#[test]
fn a_policy_root_that_is_not_an_ancestor() {
    let mut r = project();
    drop(r.commit("o", "alice", &[]).policy(&people("alice", "")));
    drop(r.commit("a", "alice", &["r"]));
    assert_eq!(r.refused("o", "a"), (String::new(), NOT_DESCENDED));
    // An ancestor, but not by first parents.
    drop(r.commit("m", "alice", &["a", "o"]));
    assert_eq!(r.refused("o", "m"), (String::new(), NOT_DESCENDED));
    assert_eq!(r.verified, 0, "nothing was verified for that");
    // What is missing is not a yes.
    drop(r.commit("b", "alice", &["gone"]));
    let mut judge = StepJudge::at(&mut r, id("r")).unwrap().ok().unwrap();
    let judged = judge.judge_clone(id("r"), id("b"), MAIN);
    assert_eq!(judged, Err(StepsError::History(Missing)));
}

#[test]
fn mode_warn_lets_pass_and_reports_but_not_the_policy() {
    let mut r = Repository::default();
    let text = people("alice", "bob").replacen("version = 2", "version = 2\nmode = \"warn\"", 1);
    drop(r.commit("r", "alice", &[]).policy(&text));
    drop(r.commit("c", "carol", &["r"]));
    let judged = r.cloned("r", "c").unwrap();
    assert!(!judged.is_refused);
    assert_eq!(judged.findings[0].finding.code, SIGNER_UNKNOWN);
    for who in ["carol", ""] {
        drop(r.commit("t", who, &["r"]).policy(&people("carol", "")));
        assert_eq!(r.refused("r", "t").0, "t", "{who}");
    }
}

const CRYPTO: &str = "[[rules]]\nname = \"crypto\"\npaths = [\"crypto/**\"]\ncommit = [\"alice\", \"bob\", \"carol\"]\nthreshold = { count = 2, of = [\"alice\", \"bob\"] }\n";

#[test]
fn a_threshold_counts_author_and_mergers() {
    let mut r = Repository::default();
    let text = people("alice bob", "carol") + CRYPTO;
    drop(r.commit("r", "alice", &[]).policy(&text));
    let crypto = &[("crypto/a", true)][..];
    let brought = &[("crypto/a", false)][..];
    // Alone on the branch: one. The finding says who else may merge it.
    drop(r.commit("d", "alice", &["r"]).paths(crypto));
    let judged = r.cloned("r", "d").unwrap();
    assert_eq!(first_refusal(&judged), ("d".to_owned(), THRESHOLD));
    assert_eq!(judged.findings[0].may_merge, ["alice", "bob"]);
    // A later commit of the other does not count.
    drop(r.commit("e", "bob", &["d"]).paths(crypto));
    assert_eq!(r.refused("r", "e"), ("d".to_owned(), THRESHOLD));
    // Other paths need no one else.
    drop(r.commit("o", "alice", &["r"]));
    assert!(!r.cloned("r", "o").unwrap().is_refused);
    // Written by one, merged by the other.
    drop(r.commit("s", "alice", &["r"]).paths(crypto));
    drop(r.commit("m", "bob", &["r", "s"]).paths(brought));
    assert!(!r.cloned("r", "m").unwrap().is_refused);
    // Merged by oneself, or by one who does not count.
    for who in ["alice", "carol"] {
        drop(r.commit("n", who, &["r", "s"]).paths(brought));
        assert_eq!(r.refused("r", "n"), ("s".to_owned(), THRESHOLD), "{who}");
    }
    // What the merge changes itself is one person's.
    drop(r.commit("w", "bob", &["r", "s"]).paths(crypto));
    assert_eq!(r.refused("r", "w"), ("w".to_owned(), THRESHOLD));
    // Two inside the branch: an author without a vote, merged by both in turn.
    drop(r.commit("u", "carol", &["r"]).paths(crypto));
    drop(r.commit("v", "alice", &["r", "u"]).paths(brought));
    drop(r.commit("x", "bob", &["r", "v"]).paths(brought));
    assert!(!r.cloned("r", "x").unwrap().is_refused);
}

#[test]
fn direct_commits_and_merged_ones() {
    let mut r = Repository::default();
    let text = people("alice", "bob")
        + "[[rules]]\nname = \"reviewed\"\ncommit = [\"alice\", \"bob\"]\ndirect = [\"nobody\"]\n";
    drop(r.commit("r", "alice", &[]).policy(&text));
    drop(r.commit("s", "bob", &["r"]));
    drop(r.commit("m", "alice", &["r", "s"]));
    assert!(!r.cloned("r", "m").unwrap().is_refused);
    assert_eq!(r.refused("r", "s"), ("s".to_owned(), NOT_DIRECT));
    // A parent that brings nothing makes no merge of it.
    drop(r.commit("t", "alice", &["m"]).paths(&[]));
    drop(r.commit("q", "bob", &["m", "r"]).paths(&[("src/a", true)]));
    assert_eq!(r.refused("r", "q"), ("q".to_owned(), NOT_DIRECT));
}

/// 100,000 commits with a merge every hundred and ten policies.
#[test]
fn a_long_history() {
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]).policy(&people("alice", "bob")));
    let mut last = "0".to_owned();
    for number in 1..50_000 {
        let name = number.to_string();
        let side = format!("s{number}");
        let parent = last.clone();
        if number % 100 == 0 {
            drop(r.commit(&side, "bob", &[&parent]));
            drop(r.commit(&name, "bob", &[&parent, &side]));
        } else if number % 5_001 == 0 {
            let policy = people("alice", &format!("bob x{number}"));
            drop(r.commit(&name, "alice", &[&parent]).policy(&policy));
        } else {
            drop(r.commit(&name, "alice", &[&parent]));
        }
        last = name;
    }
    let began = Instant::now();
    let judged = r.cloned("0", &last).unwrap();
    assert!(!judged.is_refused, "{:?}", judged.findings);
    assert_eq!(judged.judged, 49_999 + 499);
    assert_eq!(r.parsed, 10, "once for each version");
    // A side that joins after a very long line of its own: no recursion.
    for number in 0..50_000 {
        let parent = match number {
            0 => "0".to_owned(),
            _ => format!("t{}", number - 1),
        };
        drop(r.commit(&format!("t{number}"), "bob", &[&parent]));
    }
    drop(r.commit("join", "bob", &[&last, "t49999"]));
    assert!(!r.cloned("0", "join").unwrap().is_refused);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

// -------------------------------------------------------------------- the gate

const OPEN: &str = "create = [\"anyone\"]\nupdate = [\"anyone\"]\nrewrite = [\"anyone\"]\n";

fn line(r: &mut Repository, prefix: &str, who: &str, from: &str, count: usize) -> String {
    let mut last = from.to_owned();
    for number in 0..count {
        let name = format!("{prefix}{number}");
        let parent = last;
        drop(r.commit(&name, who, &[&parent]));
        last = name;
    }
    last
}

/// What lies at or behind a state is not judged, and a hundred branches with the same
/// commits judge them once.
#[test]
fn only_what_is_new_is_judged_once() {
    let policy = file(
        "alice bob",
        &format!("[[rules]]\nname = \"all\"\ncommit = [\"alice\", \"bob\"]\n{OPEN}"),
    );
    let mut r = Repository::default();
    drop(r.commit("0", "carol", &[]));
    let main = line(&mut r, "m", "carol", "0", 100);
    let topic = line(&mut r, "t", "bob", "m50", 10);
    let lent = [id(&main)];
    let mut judge = StepJudge::new(&mut r, policy);
    let mut push = |name: &str, new: &str| {
        let name = format!("refs/heads/{name}");
        let judged = judge.judge(&update(name.as_bytes(), None, Some(new), &lent));
        let judged = judged.unwrap();
        assert!(!judged.is_refused, "{judged:?}");
        (judged.base.unwrap().0, judged.gained, judged.judged)
    };
    assert_eq!(push("at-main", &main), ("m99", 0, 0));
    assert_eq!(push("topic", &topic), ("m50", 10, 10));
    for number in 0..100 {
        assert_eq!(push(&number.to_string(), &topic), ("m50", 10, 0));
    }
    assert_eq!((r.verified, r.read_paths), (10, 0));
}

/// The memo lends nothing to a reference about which other rules speak.
#[test]
fn stricter_rules_judge_again() {
    let policy = file(
        "alice bob",
        &format!(
            "[[rules]]\nname = \"all\"\ncommit = [\"alice\", \"bob\"]\n{OPEN}[[rules]]\nname = \"strict\"\nrefs = [\"refs/heads/strict\"]\ncommit = [\"alice\"]\n"
        ),
    );
    let mut r = Repository::default();
    drop(r.commit("0", "bob", &[]));
    let mut judge = StepJudge::new(&mut r, policy);
    let judged = judge.judge(&update(TOPIC, None, Some("0"), &[])).unwrap();
    assert!(!judged.is_refused);
    let strict = update(b"refs/heads/strict", None, Some("0"), &[]);
    assert!(judge.judge(&strict).unwrap().is_refused);
}

/// Signature first: an unsigned push reads no tree, however many rules have paths.
#[test]
fn an_unsigned_push_reads_no_tree() {
    let policy = file(
        "alice bob",
        &format!("[[rules]]\nname = \"all\"\nmerge = [\"alice\"]\n{OPEN}{CRYPTO}")
            .replace("\"carol\"", "\"alice\""),
    );
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    let side = line(&mut r, "s", "", "0", 5);
    drop(r.commit("m", "", &["0", &side]));
    let mut judge = StepJudge::new(&mut r, policy);
    let judged = judge
        .judge(&update(MAIN, Some("0"), Some("m"), &[]))
        .unwrap();
    assert!(judged.is_refused);
    assert!(
        judged
            .findings
            .iter()
            .all(|found| found.finding.code == UNSIGNED)
    );
    assert_eq!((r.read_paths, r.read_own), (0, 0));
}

/// Merge bases are read only for a merger who may not commit everywhere.
#[test]
fn merge_bases_are_read_where_they_matter() {
    let rules = format!(
        "[[rules]]\nname = \"all\"\ncommit = [\"alice\"]\nmerge = [\"alice\", \"bob\"]\n{OPEN}"
    );
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    drop(r.commit("s", "alice", &["0"]));
    for (who, own) in [("alice", 0), ("bob", 1)] {
        drop(r.commit("m", who, &["0", "s"]));
        r.read_own = 0;
        let mut judge = StepJudge::new(&mut r, file("alice bob", &rules));
        let judged = judge
            .judge(&update(MAIN, Some("0"), Some("m"), &[]))
            .unwrap();
        assert!(!judged.is_refused, "{judged:?}");
        assert_eq!(r.read_own, own, "{who}");
    }
}

#[test]
fn adopting_takes_the_right_to_commit() {
    let policy = file(
        "alice bob",
        &format!(
            "[[rules]]\nname = \"all\"\ncommit = [\"alice\"]\nmerge = [\"alice\", \"bob\"]\nadopt = [\"alice\", \"bob\"]\n{OPEN}"
        ),
    );
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    drop(r.commit("u", "", &["0"]));
    drop(r.commit("m", "bob", &["0", "u"]));
    drop(r.commit("n", "alice", &["0", "u"]));
    let mut judge = StepJudge::new(&mut r, policy);
    let judged = judge
        .judge(&update(MAIN, Some("0"), Some("m"), &[]))
        .unwrap();
    let found = |code| {
        judged
            .findings
            .iter()
            .any(|found| found.finding.code == code)
    };
    assert!(found(UNSIGNED) && found(ADOPT_NEEDS_COMMIT), "{judged:?}");
    let judged = judge
        .judge(&update(MAIN, Some("0"), Some("n"), &[]))
        .unwrap();
    assert!(!judged.is_refused);
}

/// The default branch cannot be deleted, whatever the rules and the mode say.
#[test]
fn the_default_branch_stays() {
    let text = format!(
        "version = 2\nmode = \"warn\"\n{}[[rules]]\nname = \"all\"\ncommit = [\"alice\"]\ndelete = [\"anyone\"]\n",
        signers("alice")
    );
    let policy = Rc::new(Policy::parse(&text, "test").unwrap());
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    let mut judge = StepJudge::new(&mut r, policy);
    let judged = judge.judge(&update(MAIN, Some("0"), None, &[])).unwrap();
    assert_eq!((judged.kind, judged.is_refused), (UpdateKind::Delete, true));
    let judged = judge.judge(&update(TOPIC, Some("0"), None, &[])).unwrap();
    assert!(!judged.is_refused);
}

/// The commit of a tag is a state of a source; anyone's tags need not be.
#[test]
fn the_commit_of_a_tag_is_a_state() {
    let policy = file(
        "alice",
        "[[rules]]\nname = \"tags\"\nrefs = [\"refs/tags/v*\"]\ntag = [\"alice\"]\n[[rules]]\nname = \"loose\"\nrefs = [\"refs/tags/nightly\"]\ntag = [\"anyone\"]\n",
    );
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    let main = line(&mut r, "m", "alice", "0", 3);
    drop(r.commit("side", "alice", &["m0"]));
    drop(r.commit("merge", "alice", &[&main, "side"]));
    let lent = [id("merge")];
    let mut judge = StepJudge::new(&mut r, policy);
    let mut tag = |name: &'static [u8], commit| {
        let judged = judge.judge_tag(&update(name, None, Some(commit), &lent));
        let judged = judged.unwrap();
        judged.is_refused.then(|| first_refusal(&judged).1)
    };
    assert_eq!(tag(b"refs/tags/v1", "m1"), None);
    assert_eq!(tag(b"refs/tags/v1", "merge"), None);
    // Main reaches it, but it was never main.
    assert_eq!(tag(b"refs/tags/v1", "side"), Some(NOT_A_STATE));
    assert_eq!(tag(b"refs/tags/nightly", "side"), None);
}

/// A request is a merge that is not made yet: what stands without anybody's right, and
/// who could let in the rest.
#[test]
fn a_request_lists_who_may_merge_it() {
    let policy = file(
        "alice bob",
        &format!(
            "[[rules]]\nname = \"all\"\ncommit = [\"alice\", \"bob\"]\nmerge = [\"alice\", \"bob\"]\nadopt = [\"alice\"]\n{OPEN}{CRYPTO}"
        )
        .replace(", \"carol\"", ""),
    );
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    drop(r.commit("m", "alice", &["0"]));
    drop(r.commit("good", "bob", &["0"]));
    drop(r.commit("fork", "", &["good"]));
    drop(r.commit("key", "bob", &["0"]).paths(&[("crypto/a", true)]));
    let mut judge = StepJudge::new(&mut r, policy);
    let mut ask = |head| judge.judge_request(&update(MAIN, Some("m"), Some(head), &[]));
    assert!(!ask("good").unwrap().is_refused);
    let judged = ask("fork").unwrap();
    assert_eq!(judged.gained, 2);
    assert_eq!(first_refusal(&judged), ("fork".to_owned(), UNSIGNED));
    assert_eq!(judged.findings[0].may_merge, ["alice"]);
    let judged = ask("key").unwrap();
    assert_eq!(first_refusal(&judged), ("key".to_owned(), THRESHOLD));
    assert_eq!(judged.findings[0].may_merge, ["alice", "bob"]);
}

/// An unsigned merge is refused before what it brings is looked at, but where an
/// override has to tell everything, and where the cut-off exempts it.
#[test]
fn an_unsigned_merge_is_refused_at_sight() {
    let mut r = project();
    drop(r.commit("one", "bob", &["r"]));
    drop(r.commit("two", "bob", &["one"]));
    drop(r.commit("m", "", &["r", "two"]));
    drop(r.commit("n", "bob", &["m"]));
    let policy = file(
        "alice bob",
        "[[rules]]\nname = \"all\"\ncommit = [\"alice\", \"bob\"]\nmerge = [\"alice\", \"bob\"]\nupdate = [\"anyone\"]\n",
    );
    let update = update(MAIN, Some("r"), Some("n"), &[]);
    let judged = StepJudge::new(&mut r, Rc::clone(&policy))
        .judge(&update)
        .unwrap();
    assert_eq!(first_refusal(&judged), ("m".to_owned(), UNSIGNED));
    // Twice, to the end of history.
    assert_eq!((judged.gained, r.verified), (1, 2));
    let mut judge = StepJudge::new(&mut r, policy);
    judge.tell_all();
    let judged = judge.judge(&update).unwrap();
    assert_eq!(first_refusal(&judged), ("m".to_owned(), UNSIGNED));
    assert_eq!(judged.gained, 4);
}

/// A request that changes the policy: who merges it needs `policy`, so its commits do.
#[test]
fn a_request_changes_the_policy() {
    let mut r = project();
    let taken = people("bob", "");
    drop(r.commit("by-bob", "bob", &["r"]).policy(&taken));
    drop(r.commit("by-alice", "alice", &["r"]).policy(&taken));
    drop(r.commit("broken", "alice", &["r"]).policy("version = 9"));
    drop(r.commit("removed", "alice", &["r"]).without_policy());
    drop(
        r.commit("merged", "bob", &["r", "by-bob"])
            .policy_of("by-bob"),
    );
    // Bob's topic, from before Alice's change, takes it in, and once drops it.
    drop(r.commit("topic", "bob", &["r"]));
    drop(
        r.commit("target", "alice", &["r"])
            .policy(&people("alice", "bob carol")),
    );
    drop(
        r.commit("takes", "bob", &["topic", "target"])
            .policy_of("target"),
    );
    drop(
        r.commit("drops", "bob", &["target", "topic"])
            .policy_of("r")
            .paths(&[(POLICY_PATH, true)]),
    );
    drop(
        r.commit("namesake", "alice", &["r"])
            .paths(&[(".GitSeal/policy.toml", true)]),
    );
    let mut ask = |target: &str, head: &str| {
        let mut judge = StepJudge::at(&mut r, id(target)).unwrap().ok().unwrap();
        let branch = Branch::WithPolicy { root: id("r") };
        let update = Update {
            branch,
            ..update(MAIN, Some(target), Some(head), &[])
        };
        let judged = judge.judge_request(&update).unwrap();
        judged.is_refused.then(|| {
            let (about, code) = first_refusal(&judged);
            (about, code, judged.findings[0].may_merge.clone())
        })
    };
    let bob = |about: &str| {
        Some((
            about.to_owned(),
            SIGNER_NOT_ALLOWED,
            vec!["alice".to_owned()],
        ))
    };
    let unusable = |about: &str, code| Some((about.to_owned(), code, Vec::new()));
    assert_eq!(ask("r", "by-alice"), None);
    assert_eq!(ask("r", "by-bob"), bob("by-bob"));
    assert_eq!(ask("r", "merged"), bob("by-bob"));
    assert_eq!(ask("r", "broken"), unusable("broken", POLICY_UNREADABLE));
    assert_eq!(ask("r", "removed"), unusable("removed", POLICY_MISSING));
    assert_eq!(ask("target", "topic"), None);
    assert_eq!(ask("target", "takes"), None);
    assert_eq!(ask("target", "drops"), bob("drops"));
    assert_eq!(
        ask("r", "namesake"),
        unusable("namesake", POLICY_UNREADABLE)
    );
}

/// Where a file system ignores case, another spelling would replace the policy in the
/// work tree of whoever may change it.
#[test]
fn nothing_is_named_almost_like_the_policy() {
    let mut r = project();
    for name in [
        ".GitSeal",
        ".GITSEAL/policy.toml",
        ".git\u{17f}eal",
        ".gitseal.",
        ".gitseal::$DATA",
        "GITSEA~1",
        ".git\u{200c}seal/x",
    ] {
        drop(r.commit("n", "alice", &["r"]).paths(&[(name, true)]));
        let judged = r.pushed("r", "n");
        assert_eq!(
            first_refusal(&judged),
            ("n".to_owned(), POLICY_UNREADABLE),
            "{name}"
        );
        // So a topic that has it cannot be merged either.
        drop(r.commit("m", "alice", &["r", "n"]).paths(&[(name, false)]));
        assert!(r.pushed("r", "m").is_refused, "{name}");
    }
    for name in [
        ".gitseal/policy.toml",
        ".gitseals",
        "gitseal",
        "src/.GitSeal",
        ".gitignore",
    ] {
        drop(r.commit("n", "alice", &["r"]).paths(&[(name, true)]));
        assert!(!r.pushed("r", "n").is_refused, "{name}");
    }
}

/// At the gate a signature's age counts on the day of the push, in a clone on the day
/// on which the step was signed: what the gate took, a clone takes.
#[test]
fn signatures_age() {
    let text = people("alice", "bob").replacen("version = 2", "version = 2\nmax-age = \"30d\"", 1);
    let mut r = Repository::default();
    drop(r.commit("r", "alice", &[]).policy(&text));
    drop(r.commit("old", "bob", &["r"]).at(AT - 40 * DAY));
    drop(r.commit("new", "bob", &["r"]).at(AT - 20 * DAY));
    drop(r.commit("m", "bob", &["r", "old"]));
    drop(r.commit("n", "bob", &["r", "new"]));
    assert_eq!(r.refused("r", "m"), ("old".to_owned(), SIGNATURE_TOO_OLD));
    assert!(!r.cloned("r", "n").unwrap().is_refused);
    let branch = Branch::WithPolicy { root: id("r") };
    for (days, is_refused) in [(0, false), (20, true)] {
        let mut judge = StepJudge::at(&mut r, id("r")).unwrap().ok().unwrap();
        let pusher = Pusher {
            now: Some(AT + days * DAY),
            ..Pusher::default()
        };
        let push = Update {
            branch,
            pusher,
            ..update(MAIN, Some("r"), Some("n"), &[])
        };
        let judged = judge.judge(&push).unwrap();
        assert_eq!(judged.is_refused, is_refused, "{judged:?}");
    }
}

/// An unsigned merge of a web interface counts as one by the account's signer, if it
/// changes nothing itself.
#[test]
fn a_merge_by_account() {
    let policy = file(
        "alice bob",
        &format!(
            "[[rules]]\nname = \"all\"\ncommit = [\"alice\", \"bob\"]\nmerge = [\"alice\"]\nmerge-by-account = true\n{OPEN}"
        ),
    );
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    drop(r.commit("s", "bob", &["0"]));
    drop(r.commit("web", "", &["0", "s"]));
    drop(r.commit("evil", "", &["0", "s"]).paths(&[("src/a", true)]));
    let mut judge = StepJudge::new(&mut r, policy);
    let mut push = |account, new| {
        let pusher = Pusher {
            account,
            ..Pusher::default()
        };
        let push = Update {
            pusher,
            ..update(MAIN, Some("0"), Some(new), &[])
        };
        judge.judge(&push).unwrap().is_refused
    };
    assert!(!push(Some("alice"), "web"));
    assert!(push(Some("bob"), "web"));
    assert!(push(None, "web"));
    assert!(push(Some("alice"), "evil"));
}

/// A rule on trial reports and decides nothing.
#[test]
fn a_rule_on_trial() {
    let policy = file(
        "alice bob",
        &format!(
            "[[rules]]\nname = \"all\"\ncommit = [\"alice\", \"bob\"]\n{OPEN}[[rules]]\nname = \"trial\"\ntrial = true\npaths = [\"src/**\"]\ncommit = [\"alice\"]\n"
        ),
    );
    let mut r = Repository::default();
    drop(r.commit("0", "bob", &[]));
    let mut judge = StepJudge::new(&mut r, policy);
    let judged = judge.judge(&update(MAIN, None, Some("0"), &[])).unwrap();
    assert!(!judged.is_refused);
    let found = &judged.findings[0].finding;
    assert_eq!(
        (found.code, found.rule.as_str()),
        (SIGNER_NOT_ALLOWED, "trial")
    );
}

// ------------------------------------------------------------------- the limits

#[test]
fn limits_are_refused_by_name() {
    let rules = format!("[[rules]]\nname = \"all\"\ncommit = [\"alice\"]\n{OPEN}");
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    let parents: Vec<String> = (0..=MAX_PARENTS)
        .map(|number| format!("p{number}"))
        .collect();
    for parent in &parents {
        drop(r.commit(parent, "alice", &["0"]));
    }
    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
    drop(r.commit("octopus", "alice", &parents));
    let sources = vec![id("0"); MAX_SOURCES + 1];
    let mut judge = StepJudge::new(&mut r, file("alice", &rules));
    let octopus = judge.judge(&update(TOPIC, None, Some("octopus"), &[]));
    let lent = judge.judge(&update(TOPIC, None, Some("0"), &sources));
    let what = |judged: Result<Judged<Id>, StepsError<Missing>>| match judged {
        Err(StepsError::TooMuch { most, what }) => (most, what),
        other => panic!("{other:?}"),
    };
    assert_eq!(what(octopus), (MAX_PARENTS, "parents of one commit"));
    assert_eq!(what(lent), (MAX_SOURCES, "references that lend to one"));
    // One version of the policy more than is read.
    let mut r = project();
    let mut last = "r".to_owned();
    for number in 0..MAX_POLICIES {
        let (name, parent) = (format!("v{number}"), last);
        let policy = people("alice", &format!("bob x{number}"));
        drop(r.commit(&name, "alice", &[&parent]).policy(&policy));
        last = name;
    }
    let mut judge = StepJudge::at(&mut r, id("r")).unwrap().ok().unwrap();
    let judged = judge.judge_clone(id("r"), id(&last), MAIN);
    assert_eq!(what(judged), (MAX_POLICIES, "versions of the policy"));
    // And of their text.
    let mut r = project();
    let mut last = "r".to_owned();
    let comment = format!("# {}\n", "x".repeat(1_000_000));
    for number in 0..20 {
        let (name, parent) = (format!("v{number}"), last);
        let policy = people("alice", "bob") + &comment;
        drop(r.commit(&name, "alice", &[&parent]).policy(&policy));
        last = name;
    }
    let mut judge = StepJudge::at(&mut r, id("r")).unwrap().ok().unwrap();
    let judged = judge.judge_clone(id("r"), id(&last), MAIN);
    assert_eq!(
        what(judged),
        (MAX_POLICY_BYTES, "bytes of versions of the policy")
    );
}

/// Findings are kept up to a limit, then counted; the verdict knows them all.
#[test]
fn findings_are_counted_beyond_the_limit() {
    let rules = format!("[[rules]]\nname = \"all\"\ncommit = [\"alice\"]\n{OPEN}");
    let mut r = Repository::default();
    drop(r.commit("0", "alice", &[]));
    let last = line(&mut r, "u", "", "0", MAX_FINDINGS + 5);
    let mut judge = StepJudge::new(&mut r, file("alice", &rules));
    let judged = judge.judge(&update(MAIN, Some("0"), Some(&last), &[]));
    let judged = judged.unwrap();
    assert!(judged.is_refused);
    assert_eq!((judged.findings.len(), judged.more), (MAX_FINDINGS, 5));
}
