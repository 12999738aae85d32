//! Walks over repositories that are made for the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use std::collections::HashSet;

use super::{lines::Accepted, *};
use crate::host::git::Workspace;

/// A repository of empty commits with the given parents and times.
struct Lab {
    directory: tempfile::TempDir,
    commits: Vec<ObjectId>,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        gix::init_bare(directory.path()).unwrap();
        Self {
            directory,
            commits: Vec::new(),
        }
    }

    fn commit(&mut self, parents: &[usize], time: i64) -> ObjectId {
        let id = write(
            self.directory.path(),
            &parents.iter().map(|p| self.commits[*p]).collect::<Vec<_>>(),
            time,
            self.commits.len(),
        );
        self.commits.push(id);
        id
    }

    fn new_commits(&self, tips: &[usize], hidden: &[usize], care: Traversal) -> Vec<usize> {
        let workspace = Workspace::open(self.directory.path()).unwrap();
        let mut graph = Graph::new(workspace.repository().unwrap());
        let ids = |list: &[usize]| list.iter().map(|n| self.commits[*n]).collect::<Vec<_>>();
        let new = graph.new_commits(&ids(tips), &ids(hidden), care).unwrap();
        let mut numbers: Vec<usize> = new
            .iter()
            .map(|id| self.commits.iter().position(|c| c == id).unwrap())
            .collect();
        for (place, id) in new.iter().enumerate() {
            for parent in graph.parents(*id).unwrap() {
                let at = new.iter().position(|c| *c == parent);
                assert!(at.is_none_or(|at| at < place), "a child before its parent");
            }
        }
        numbers.sort_unstable();
        numbers
    }
}

fn write(directory: &Path, parents: &[ObjectId], time: i64, number: usize) -> ObjectId {
    use std::fmt::Write as _;
    let repository = gix::open(directory).unwrap();
    let mut text = format!("tree {}\n", ObjectId::empty_tree(gix::hash::Kind::Sha1));
    for parent in parents {
        writeln!(text, "parent {parent}").unwrap();
    }
    write!(
        text,
        "author A <a@b> {time} +0000\ncommitter A <a@b> {time} +0000\n\n{number}\n"
    )
    .unwrap();
    repository.objects.write_buf_for_test(&text)
}

trait WriteForTest {
    fn write_buf_for_test(&self, text: &str) -> ObjectId;
}

impl<T: gix::objs::Write> WriteForTest for T {
    fn write_buf_for_test(&self, text: &str) -> ObjectId {
        self.write_buf(gix::objs::Kind::Commit, text.as_bytes())
            .unwrap()
    }
}

#[test]
fn what_a_reference_gains() {
    let mut lab = Lab::new();
    lab.commit(&[], 100); // 0
    lab.commit(&[0], 110); // 1
    lab.commit(&[1], 120); // 2
    lab.commit(&[1], 121); // 3
    lab.commit(&[2, 3], 130); // 4
    for care in [Traversal::DateLimited, Traversal::Full] {
        assert_eq!(lab.new_commits(&[4], &[1], care), vec![2, 3, 4]);
        assert_eq!(lab.new_commits(&[4], &[2], care), vec![3, 4]);
        assert_eq!(lab.new_commits(&[4], &[], care), vec![0, 1, 2, 3, 4]);
        assert!(lab.new_commits(&[2], &[4], care).is_empty());
        assert_eq!(lab.new_commits(&[2], &[3], care), vec![2]);
        assert_eq!(lab.new_commits(&[2, 3], &[0], care), vec![1, 2, 3]);
        assert!(lab.new_commits(&[4], &[4], care).is_empty());
    }
}

#[test]
fn false_times_never_make_the_answer_smaller() {
    // The old side has commits that claim to be old; the new ones claim to be
    // of 1970 or of the far future.
    let mut lab = Lab::new();
    lab.commit(&[], 1000); // 0
    for n in 0..100 {
        lab.commit(&[n], 10 + i64::try_from(n).unwrap()); // 1..=100: earlier than their root
    }
    lab.commit(&[50], 5); // 101
    lab.commit(&[101], 9_999_999_999); // 102
    lab.commit(&[0, 102], 0); // 103
    let exact = lab.new_commits(&[103], &[100], Traversal::Full);
    assert_eq!(exact, [101, 102, 103]);
    let quick = lab.new_commits(&[103], &[100], Traversal::DateLimited);
    assert!(exact.iter().all(|n| quick.contains(n)), "{quick:?}");
}

#[test]
fn history_that_is_cut_off_is_an_error() {
    let mut lab = Lab::new();
    let there = lab.commit(&[], 100);
    let absent = ObjectId::from_hex(&[b'7'; 40]).unwrap();
    lab.commits.push(absent);
    lab.commit(&[1, 0], 200); // 2
    let workspace = Workspace::open(lab.directory.path()).unwrap();
    let mut graph = Graph::new(workspace.repository().unwrap());
    let error = graph
        .new_commits(&[lab.commits[2]], &[there], Traversal::DateLimited)
        .unwrap_err();
    assert!(matches!(error, GraphError::MissingParent { .. }), "{error}");
    // Behind what is hidden it does not matter.
    lab.commit(&[2], 300); // 3
    assert_eq!(lab.new_commits(&[3], &[2], Traversal::Full), vec![3]);
}

/// A pseudo-random sequence, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// The histories of one repository, each of up to ten commits, with true or false
/// times. Made by one `git fast-import`.
fn histories(dice: &mut Dice, count: usize) -> (tempfile::TempDir, Vec<Vec<ObjectId>>) {
    use std::{
        fmt::Write as _,
        io::Write as _,
        process::{Command, Stdio},
    };
    let directory = tempfile::tempdir().unwrap();
    gix::init_bare(directory.path()).unwrap();
    let mut text = String::new();
    let mut mark = 0;
    let mut shapes = Vec::new();
    for history in 0..count {
        let size = 2 + dice.below(9);
        let first = mark + 1;
        let is_true = dice.below(3) == 0;
        for number in 0..size {
            mark += 1;
            let time = if is_true {
                1000 + number
            } else {
                1000 + dice.below(12)
            };
            writeln!(
                text,
                "commit refs/heads/h{history}-{number}\nmark :{mark}\ncommitter A <a@b> {time} +0000\ndata {}\n{history} {number}",
                format!("{history} {number}").len()
            )
            .unwrap();
            let mut parents: Vec<usize> = Vec::new();
            let most = if number == 0 {
                0
            } else {
                dice.below(4).min(number)
            };
            for _ in 0..most {
                let parent = first + dice.below(number);
                if !parents.contains(&parent) {
                    parents.push(parent);
                }
            }
            for (at, parent) in parents.iter().enumerate() {
                writeln!(text, "{} :{parent}", if at == 0 { "from" } else { "merge" }).unwrap();
            }
            if parents.is_empty() {
                writeln!(text, "deleteall").unwrap();
            }
        }
        shapes.push(first..mark + 1);
    }
    let marks = directory.path().join("marks");
    let mut git = Command::new("git")
        .args(["fast-import", "--quiet"])
        .arg(format!("--export-marks={}", marks.display()))
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(git.wait().unwrap().success());
    let mut ids = HashMap::new();
    for line in std::fs::read_to_string(&marks).unwrap().lines() {
        let (mark, id) = line.split_once(' ').unwrap();
        let mark: usize = mark.trim_start_matches(':').parse().unwrap();
        ids.insert(mark, ObjectId::from_hex(id.as_bytes()).unwrap());
    }
    let list = shapes
        .into_iter()
        .map(|range| range.map(|mark| ids[&mark]).collect())
        .collect();
    (directory, list)
}

fn ancestors(parents: &dyn Fn(ObjectId) -> Vec<ObjectId>, of: ObjectId) -> HashSet<ObjectId> {
    let mut found = HashSet::new();
    let mut waiting = vec![of];
    while let Some(commit) = waiting.pop() {
        if found.insert(commit) {
            waiting.extend(parents(commit));
        }
    }
    found
}

fn line(parents: &dyn Fn(ObjectId) -> Vec<ObjectId>, of: ObjectId) -> Vec<ObjectId> {
    let mut line = vec![of];
    while let Some(first) = parents(*line.last().unwrap()).first() {
        line.push(*first);
    }
    line
}

/// Merge bases, lines and what is reached, compared with the definition on three
/// thousand small histories, two thirds of which have false times.
#[test]
fn walks_agree_with_their_definition() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (directory, histories) = histories(&mut dice, 3_000);
    let workspace = Workspace::open(directory.path()).unwrap();
    let repository = workspace.repository().unwrap();
    let mut graph = Graph::new(repository);
    let mut shorter = 0;
    for commits in &histories {
        let known: HashMap<ObjectId, Vec<ObjectId>> = commits
            .iter()
            .map(|id| (*id, graph.parents(*id).unwrap()))
            .collect();
        let parents = |id: ObjectId| known[&id].clone();
        let mut any = || commits[dice.below(commits.len())];
        let (one, other) = (any(), any());
        let lines = [any(), any()];
        let behind = [any()];

        let common: HashSet<ObjectId> = ancestors(&parents, one)
            .intersection(&ancestors(&parents, other))
            .copied()
            .collect();
        let mut best: Vec<ObjectId> = common
            .iter()
            .filter(|base| {
                !common
                    .iter()
                    .any(|above| above != *base && ancestors(&parents, *above).contains(*base))
            })
            .copied()
            .collect();
        let mut found = graph.merge_bases(one, other).unwrap();
        best.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, best, "merge bases of {one} and {other}");

        for behind in [&[][..], &behind[..]] {
            let accepted: HashSet<ObjectId> = lines
                .iter()
                .flat_map(|tip| line(&parents, *tip))
                .chain(behind.iter().flat_map(|tip| ancestors(&parents, *tip)))
                .collect();
            let new = line(&parents, one);
            let nearest = new.iter().position(|commit| accepted.contains(commit));
            let question = Accepted {
                lines: &lines,
                histories: behind,
            };
            let full = graph.line_base(one, question, Traversal::Full).unwrap();
            assert_eq!(full, nearest.map(|at| new[at]), "line base of {one}");
            // By time: the same, or a later commit of the line, or none.
            let quick = graph
                .line_base(one, question, Traversal::DateLimited)
                .unwrap();
            if quick != full {
                shorter += 1;
                let place = |id| new.iter().position(|commit| *commit == id).unwrap();
                assert!(quick.is_none_or(|quick| place(quick) > place(full.unwrap())));
                assert!(quick.is_none_or(|quick| accepted.contains(&quick)));
            }
        }
        let on: Vec<ObjectId> = commits
            .iter()
            .copied()
            .filter(|commit| {
                lines
                    .iter()
                    .any(|tip| line(&parents, *tip).contains(commit))
            })
            .collect();
        assert_eq!(
            graph.on_lines(commits, &lines, Traversal::Full).unwrap(),
            on
        );
        let quick = graph
            .on_lines(commits, &lines, Traversal::DateLimited)
            .unwrap();
        assert!(quick.iter().all(|commit| on.contains(commit)));

        let gained = graph
            .new_commits(&[one], &[other], Traversal::Full)
            .unwrap();
        let mut gained = gained;
        let hidden = ancestors(&parents, other);
        let mut expected: Vec<ObjectId> = ancestors(&parents, one)
            .into_iter()
            .filter(|commit| !hidden.contains(commit))
            .collect();
        gained.sort_unstable();
        expected.sort_unstable();
        assert_eq!(gained, expected);
    }
    assert!(shorter > 0, "no false time misled the walk by time");
}

/// `git merge-base --all` on a hundred of them whose times are true; with false
/// times it is the definition that counts.
#[test]
fn merge_bases_agree_with_git() {
    let mut dice = Dice(7);
    let (directory, histories) = histories(&mut dice, 120);
    let workspace = Workspace::open(directory.path()).unwrap();
    let mut graph = Graph::new(workspace.repository().unwrap());
    for commits in &histories {
        let (one, other) = (
            commits[dice.below(commits.len())],
            commits[dice.below(commits.len())],
        );
        let output = std::process::Command::new("git")
            .args(["merge-base", "--all", &one.to_string(), &other.to_string()])
            .current_dir(directory.path())
            .output()
            .unwrap();
        let mut of_git: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        let mut found: Vec<String> = graph
            .merge_bases(one, other)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        of_git.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, of_git, "{one} {other}");
    }
}

/// What a walk costs is counted, not timed.
#[test]
fn walks_read_no_more_than_is_new() {
    let mut lab = Lab::new();
    lab.commit(&[], 100);
    for n in 0..3_000 {
        lab.commit(&[n], 101 + i64::try_from(n).unwrap());
    }
    let tip = lab.commits[3_000];
    let workspace = Workspace::open(lab.directory.path()).unwrap();
    let repository = workspace.repository().unwrap();
    let accepted = Accepted {
        lines: &[tip],
        histories: &[],
    };
    // A new branch at the tip, and one ten commits below it.
    for (new, most) in [(tip, 0), (lab.commits[2_990], 12)] {
        let mut graph = Graph::new(repository);
        let base = graph
            .line_base(new, accepted, Traversal::DateLimited)
            .unwrap();
        assert_eq!(base, Some(new));
        assert!(graph.commits_read() <= most, "{}", graph.commits_read());
    }
    // One commit on an old one.
    let topic = lab.commit(&[2_900], 99_999);
    let mut graph = Graph::new(repository);
    let base = graph
        .line_base(topic, accepted, Traversal::DateLimited)
        .unwrap();
    assert_eq!(base, Some(lab.commits[2_900]));
    assert!(graph.commits_read() <= 110, "{}", graph.commits_read());
    // Merge bases are asked for once more without reading anything again.
    let bases = graph.merge_bases(topic, tip).unwrap();
    assert_eq!(bases, [lab.commits[2_900]]);
    let read = graph.commits_read();
    graph.merge_bases(tip, topic).unwrap();
    assert_eq!(graph.commits_read(), read);
}

#[test]
fn a_walk_ends_with_its_time() {
    let mut lab = Lab::new();
    lab.commit(&[], 100);
    for n in 0..2_000 {
        lab.commit(&[n], 101 + i64::try_from(n).unwrap());
    }
    let workspace = Workspace::open(lab.directory.path()).unwrap();
    let repository = workspace.repository().unwrap();
    let mut graph = Graph::new(repository);
    // All is read before the time is over; what is left are steps.
    graph
        .new_commits(&[lab.commits[2_000]], &[], Traversal::Full)
        .unwrap();
    repository
        .objects()
        .set_deadline(crate::host::git::Deadline::within(0));
    let error = graph
        .new_commits(&[lab.commits[2_000]], &[], Traversal::Full)
        .unwrap_err();
    assert!(matches!(
        error,
        GraphError::Git(GitError::Timeout { seconds: 0 })
    ));
    let error = repository.objects().read(lab.commits[0]).unwrap_err();
    assert!(
        matches!(error, GitError::Timeout { .. }),
        "each object read looks, too"
    );
}
