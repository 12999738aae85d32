//! Tries histories: makes them, pushes everything everywhere, and asks the oracle.

use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Display},
    rc::Rc,
};

use super::{
    oracle::{FILES, MAIN, Oracle, State},
    starts::Start,
    world::{Id, NONE, PEOPLE, POLICY, People, Settle, Spec, World},
};
use crate::{
    Policy,
    facts::Pusher,
    steps::{Branch, Judged, StepJudge, Update, Versions},
};

/// What was tried.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub histories: usize,
    pub states: usize,
    pub pushes: usize,
    pub taken: usize,
    pub violations: Vec<String>,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.states += other.states;
        self.pushes += other.pushes;
        self.taken += other.taken;
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories, {} states, {} pushes judged, {} of them taken, {} violations",
            self.histories,
            self.states,
            self.pushes,
            self.taken,
            self.violations.len()
        )
    }
}

/// The engine over one history.
pub(super) struct Server<'a> {
    pub world: World,
    pub specs: &'a [Spec],
    pub is_file: bool,
    pub root: usize,
    policies: Vec<Rc<Policy>>,
    versions: Option<Versions<Id>>,
}

pub(super) fn texts(specs: &[Spec]) -> Vec<String> {
    specs.iter().map(Spec::toml).collect()
}

pub(super) fn parsed(texts: &[String]) -> Vec<Rc<Policy>> {
    let parse = |text: &String| match Policy::parse(text, "model") {
        Ok(policy) => Rc::new(policy),
        Err(errors) => panic!("{errors:?}\n{text}"),
    };
    texts.iter().map(parse).collect()
}

fn id(commit: usize) -> Id {
    Id(u32::try_from(commit).unwrap())
}

impl<'a> Server<'a> {
    pub(super) fn new(
        world: World,
        specs: &'a [Spec],
        is_file: bool,
        policies: &[Rc<Policy>],
    ) -> Self {
        Self {
            world,
            specs,
            is_file,
            root: 0,
            policies: policies.to_vec(),
            versions: None,
        }
    }

    fn with_judge<T>(
        &mut self,
        file: usize,
        at: usize,
        ask: impl FnOnce(&mut StepJudge<'_, World>) -> T,
    ) -> Option<T> {
        if self.is_file {
            let policy = Rc::clone(&self.policies[file]);
            return Some(ask(&mut StepJudge::new(&mut self.world, policy)));
        }
        let versions = self.versions.take().unwrap_or_else(Versions::new);
        let mut judge = match StepJudge::resume(&mut self.world, versions, id(at)).unwrap() {
            Ok(judge) => judge,
            Err(versions) => {
                self.versions = Some(versions);
                return None;
            }
        };
        let answer = ask(&mut judge);
        self.versions = Some(judge.into_versions());
        Some(answer)
    }

    /// Judges a push by somebody with this account; `None`: without a verdict.
    pub(super) fn push(
        &mut self,
        state: State,
        name: &str,
        old: Option<usize>,
        new: Option<usize>,
        pusher: People,
    ) -> Option<Judged<Id>> {
        let at = match (state.main, name) {
            (Some(main), _) => main,
            (None, MAIN) => self.root,
            // Without a default branch only that is looked at.
            (None, _) if self.is_file => self.root,
            (None, _) => return None,
        };
        let root = id(self.root);
        let branch = match (name == MAIN, self.is_file) {
            (false, _) => Branch::Other,
            (true, true) => Branch::Default,
            (true, false) => Branch::WithPolicy { root },
        };
        let spec = match self.is_file {
            true => state.file,
            false => usize::try_from(self.world.nodes[at].files[POLICY]).unwrap(),
        };
        let lent: Vec<Id> = lenders(&self.specs[spec], name, state)
            .into_iter()
            .map(id)
            .collect();
        let account = (pusher != NONE).then(|| PEOPLE[pusher.trailing_zeros() as usize]);
        let update = Update {
            name: name.as_bytes(),
            branch,
            old: old.map(id),
            new: new.map(id),
            lent: &lent,
            pusher: Pusher {
                account,
                ..Pusher::default()
            },
        };
        self.with_judge(state.file, at, |judge| judge.judge(&update).unwrap())
    }

    /// Judges what a clone sees.
    pub(super) fn clone_of(&mut self, tip: usize) -> Option<Judged<Id>> {
        let root = self.root;
        self.with_judge(0, root, |judge| {
            judge
                .judge_clone(id(root), id(tip), MAIN.as_bytes())
                .unwrap()
        })
    }

    pub(super) fn oracle<'o>(&'o self) -> Oracle<'o> {
        Oracle {
            world: &self.world,
            specs: self.specs,
            is_file: self.is_file,
            root: self.root,
        }
    }
}

/// The commits of the sources of a reference: what the gate reads from `from`.
fn lenders(spec: &Spec, name: &str, state: State) -> Vec<usize> {
    let mut rules = spec.rules.iter().filter(|rule| {
        !rule.trial
            && rule.from.is_some()
            && rule.refs.iter().any(|pattern| {
                pattern
                    .strip_suffix("**")
                    .map_or(*pattern == name, |prefix| name.starts_with(prefix))
            })
    });
    let is_source = name != MAIN && rules.all(|rule| rule.from == Some(MAIN));
    state.main.filter(|_| is_source).into_iter().collect()
}

/// A commit that is added to a history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Write(usize, People, usize, u32),
    Merge(usize, usize, People, Settle),
}

/// Histories of one start.
pub(super) struct Try<'s> {
    start: &'s Start,
    commits: usize,
    /// How many histories of more than two commits are tried.
    most: usize,
    policies: Vec<Rc<Policy>>,
    counts: Counts,
    stop: bool,
    stride: usize,
    seen: usize,
}

impl<'s> Try<'s> {
    pub(super) fn new(start: &'s Start, commits: usize, most: usize) -> Self {
        let policies = parsed(&texts(&start.specs));
        Self {
            start,
            commits,
            most,
            policies,
            counts: Counts::default(),
            stop: false,
            stride: 1,
            seen: 0,
        }
    }

    /// Tries them, up to the first violation if that is asked for.
    pub(super) fn run(mut self, stop: bool) -> Counts {
        let mut world = World::new(texts(&self.start.specs));
        let state = (self.start.build)(&mut world);
        for commits in 1..=self.commits {
            self.stride = 1;
            if commits > 2 {
                let all = self.number(&world, None, commits);
                self.stride = all.div_ceil(self.most).max(1);
            }
            self.seen = 0;
            self.add(&world, state, None, commits, stop);
            if self.stop {
                break;
            }
        }
        self.counts
    }

    /// The number of histories, counted up to the last commit.
    fn number(&self, world: &World, last: Option<&Change>, left: usize) -> usize {
        let changes = self.changes(world, last);
        if left == 1 {
            return changes.len();
        }
        let next = changes.iter().filter_map(|change| {
            let mut world = world.clone();
            make(&mut world, change)?;
            Some(self.number(&world, Some(change), left - 1))
        });
        next.sum()
    }

    fn add(&mut self, world: &World, state: State, last: Option<&Change>, left: usize, stop: bool) {
        for change in self.changes(world, last) {
            if self.stop {
                return;
            }
            if left == 1 {
                self.seen += 1;
                if !self.seen.is_multiple_of(self.stride) {
                    continue;
                }
            }
            let mut world = world.clone();
            if make(&mut world, &change).is_none() {
                continue;
            }
            if left == 1 {
                self.counts.histories += 1;
                self.pushes(world, state);
                self.stop = stop && !self.counts.violations.is_empty();
            } else {
                self.add(&world, state, Some(&change), left - 1, stop);
            }
        }
    }

    /// All commits that may come next. Of two that do not need each other, only one
    /// order is tried.
    fn changes(&self, world: &World, last: Option<&Change>) -> Vec<Change> {
        let commits = world.nodes.len();
        let mut changes = Vec::new();
        for signer in self.start.signers {
            for parent in 0..commits {
                let files = self.start.files.iter().map(|file| (*file, 0));
                let policies = self.start.policies.iter().map(|policy| (POLICY, *policy));
                for (file, policy) in files.chain(policies) {
                    if file == POLICY && world.nodes[parent].files[POLICY] == policy {
                        continue;
                    }
                    changes.push(Change::Write(parent, *signer, file, policy));
                }
                for other in 0..commits {
                    if world.nodes[parent].reach >> other & 1 == 1 {
                        continue;
                    }
                    for settle in [Settle::Clean, Settle::Ours, Settle::Theirs] {
                        changes.push(Change::Merge(parent, other, *signer, settle));
                    }
                }
            }
        }
        changes.retain(|change| {
            let needs = match change {
                Change::Write(parent, ..) => *parent + 1 == commits,
                Change::Merge(parent, other, ..) => *parent.max(other) + 1 == commits,
            };
            needs || last.is_none_or(|last| last < change)
        });
        changes
    }

    /// Pushes everything everywhere, from every state that pushes lead to.
    fn pushes(&mut self, world: World, start: State) {
        let mut server = Server::new(world, &self.start.specs, self.start.is_file, &self.policies);
        let commits = server.world.nodes.len();
        let mut known: HashMap<(State, bool, usize), bool> = HashMap::new();
        let mut states = HashSet::from([start]);
        let mut open = vec![start];
        let mut violations = Vec::new();
        while let Some(state) = open.pop() {
            self.counts.states += 1;
            let mut next = vec![State {
                branch: None,
                ..state
            }];
            if self.start.is_file && self.start.specs.len() > 1 {
                next.push(State { file: 1, ..state });
            }
            for (is_main, new) in (0..commits).flat_map(|new| [(true, new), (false, new)]) {
                // The other branch does not matter to main, nor to the memo.
                let asked = match is_main {
                    true => State {
                        branch: None,
                        ..state
                    },
                    false => state,
                };
                let is_taken = *known.entry((asked, is_main, new)).or_insert_with(|| {
                    self.counts.pushes += 1;
                    let name = if is_main { MAIN } else { self.start.branch };
                    match check(&mut server, asked, name, new, self.start.pusher) {
                        Ok(is_taken) => is_taken,
                        Err(violation) => {
                            violations.push(format!(
                                "{violation}\n  {name} to {new} in {asked:?}\n{}",
                                describe(&server.world)
                            ));
                            false
                        }
                    }
                });
                if is_taken {
                    self.counts.taken += 1;
                    next.push(match is_main {
                        true => State {
                            main: Some(new),
                            ..state
                        },
                        false => State {
                            branch: Some(new),
                            ..state
                        },
                    });
                }
            }
            open.extend(next.into_iter().filter(|state| states.insert(*state)));
        }
        self.counts.violations.append(&mut violations);
    }
}

/// Judges one push, and checks what must hold if it is taken.
pub(super) fn check(
    server: &mut Server<'_>,
    state: State,
    name: &str,
    new: usize,
    pusher: People,
) -> Result<bool, String> {
    let (old, pusher) = match name {
        MAIN => (state.main, NONE),
        _ => (state.branch, pusher),
    };
    let taken = |judged: Option<Judged<Id>>| judged.is_some_and(|judged| !judged.is_refused);
    let judged = server.push(state, name, old, Some(new), pusher);
    let is_taken = taken(judged);
    if is_taken && let Some(violation) = server.oracle().violation(state, name, new, pusher != NONE)
    {
        return Err(violation);
    }
    // I6: the steps in turn.
    if let Some(old) = old.filter(|old| *old != new && pusher == NONE)
        && server.world.nodes[new].line >> old & 1 == 1
    {
        let above = server.world.nodes[new].line & !server.world.nodes[old].line;
        let mut before = old;
        let mut in_turn = true;
        for step in super::world::bits(above) {
            let then = match name {
                MAIN => State {
                    main: Some(before),
                    ..state
                },
                _ => state,
            };
            in_turn &= taken(server.push(then, name, Some(before), Some(step), NONE));
            if !in_turn {
                break;
            }
            before = step;
        }
        if in_turn != is_taken {
            return Err(format!("I6: in turn {in_turn}, at once {is_taken}"));
        }
    }
    // I7: a clone verifies what was taken.
    if is_taken && name == MAIN && !server.is_file && !taken(server.clone_of(new)) {
        return Err("I7: a clone refuses it".to_owned());
    }
    Ok(is_taken)
}

fn make(world: &mut World, change: &Change) -> Option<usize> {
    match change {
        Change::Write(parent, signer, file, policy) => {
            Some(world.commit(Some(*parent), *signer, *file, *policy))
        }
        Change::Merge(first, other, signer, settle) => {
            let merged = world.merge(&[*first, *other], *signer, *settle)?;
            // The same as a clean merge is tried as that.
            let is_clean = |world: &World| {
                let mut again = world.clone();
                again.nodes.pop();
                let clean = again.merge(&[*first, *other], *signer, Settle::Clean);
                clean.is_some_and(|clean| again.nodes[clean].files == world.nodes[clean].files)
            };
            (*settle == Settle::Clean || !is_clean(world)).then_some(merged)
        }
    }
}

/// The history, one commit a line.
pub(super) fn describe(world: &World) -> String {
    let mut text = String::new();
    for (number, node) in world.nodes.iter().enumerate() {
        let signer = match node.signer {
            NONE => "nobody",
            signer => PEOPLE[signer.trailing_zeros() as usize],
        };
        let files = FILES.map(|file| node.files[file]);
        text += &format!(
            "  {number}: on {:?} by {signer}, files {files:?}\n",
            node.parents
        );
    }
    text
}
