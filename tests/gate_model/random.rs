//! Larger histories by chance: octopus merges, disguised ones, thresholds, `direct`, a
//! cut-off, three references, false commit times.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    super::Policy,
    oracle::{MAIN, State},
    run::{Server, check, describe, parsed, texts},
    world::{ALICE, Id, KEY, NONE, POLICY, People, Rule, SRC, Settle, Spec, Who, World, rule},
};

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).unwrap() % sides
    }

    fn is(&mut self, one_in: usize) -> bool {
        self.roll(one_in) == 0
    }

    fn people(&mut self) -> People {
        ALICE | People::try_from(self.roll(16)).unwrap()
    }

    fn signer(&mut self) -> People {
        match self.roll(5) {
            4 => NONE,
            one => 1 << one,
        }
    }
}

const RELEASE: &str = "refs/heads/release";
const TOPIC: &str = "refs/heads/topic";
const COMMITS: usize = 12;

/// A policy that the parser takes: one that somebody can satisfy.
fn policy(dice: &mut Dice) -> Spec {
    loop {
        let spec = any_policy(dice);
        if Policy::parse(&spec.toml(), "").is_ok() {
            return spec;
        }
    }
}

fn any_policy(dice: &mut Dice) -> Spec {
    let mut rules = vec![Rule {
        adopt: dice.is(2).then_some(ALICE | 1 << dice.roll(4)),
        policy: Some(ALICE | 1 << dice.roll(4)),
        direct: dice.is(4).then_some(ALICE),
        threshold: dice.is(4).then_some((2, dice.people() | 6)),
        from: dice.is(6).then_some("refs/heads/none"),
        ..rule(dice.people())
    }];
    if dice.is(2) {
        rules.push(Rule {
            paths: Some(if dice.is(2) { &[KEY] } else { &[SRC, KEY] }),
            trial: dice.is(4),
            merge: dice.is(3).then(|| Who::Only(dice.people())),
            policy: None,
            update: None,
            ..rule(dice.people())
        });
    }
    if dice.is(2) {
        rules.push(Rule {
            refs: &["refs/heads/release"],
            policy: None,
            update: None,
            ..rule(dice.people())
        });
    }
    Spec {
        warn: dice.is(8),
        cut_off: dice.is(4).then(|| Id(u32::try_from(dice.roll(4)).unwrap())),
        rules,
    }
}

fn history(dice: &mut Dice, world: &mut World, specs: usize) {
    world.commit(None, ALICE, POLICY, 0);
    while world.nodes.len() < COMMITS {
        let commits = world.nodes.len();
        let signer = dice.signer();
        let near = commits.saturating_sub(4);
        let some = |dice: &mut Dice| match dice.is(3) {
            true => dice.roll(commits),
            false => near + dice.roll(commits - near),
        };
        match dice.roll(8) {
            0..=2 => {
                let first = some(dice);
                let other = some(dice);
                if first != other {
                    let settle = [Settle::Clean, Settle::Clean, Settle::Ours, Settle::Theirs];
                    let settle = settle[dice.roll(4)];
                    world.merge(&[first, other], signer, settle);
                }
            }
            3 => {
                // Of three parents, or of a parent that the first one reaches, with any
                // content.
                let parents = vec![some(dice), some(dice), some(dice)];
                let mut files = world.nodes[parents[dice.roll(3)]].files;
                files[SRC] = world.nodes[dice.roll(commits)].files[SRC];
                let distinct = 2 + dice.roll(2);
                let parents: Vec<usize> = parents.into_iter().take(distinct).collect();
                if parents.windows(2).all(|two| two[0] != two[1])
                    && parents[0] != parents[parents.len() - 1]
                {
                    world.add(parents, signer, files);
                }
            }
            4 if specs > 1 => {
                let parent = some(dice);
                let policy = u32::try_from(dice.roll(specs)).unwrap();
                if world.nodes[parent].files[POLICY] != policy {
                    world.commit(Some(parent), signer, POLICY, policy);
                }
            }
            5 => {
                let parent = some(dice);
                world.commit(Some(parent), signer, KEY, 0);
            }
            _ => {
                let parent = some(dice);
                world.commit(Some(parent), signer, SRC, 0);
            }
        }
    }
}

/// Makes histories and pushes at random; returns how many pushes were taken.
fn play(seed: u64, histories: usize) -> (usize, usize) {
    let mut dice = Dice(seed | 1);
    let (mut pushes, mut taken) = (0, 0);
    for _ in 0..histories {
        let before = dice.0;
        let is_file = dice.is(2);
        let mut specs: Vec<Spec> = (0..3).map(|_| policy(&mut dice)).collect();
        specs[0].warn = false;
        let written = texts(&specs);
        let policies = parsed(&written);
        let mut world = World::new(written);
        history(&mut dice, &mut world, if is_file { 1 } else { 3 });
        let mut late = world.clone();
        late.has_false_times = true;
        let mut server = Server::new(world, &specs, is_file, &policies);
        let mut with_false_times = Server::new(late, &specs, is_file, &policies);
        let mut state = State {
            main: Some(0),
            branch: None,
            file: 0,
        };
        let mut branches = [None, None];
        for _ in 0..16 {
            let new = dice.roll(COMMITS);
            let at = dice.roll(3);
            let name = [TOPIC, RELEASE, MAIN][at];
            if at < 2 {
                state.branch = branches[at];
            }
            let old = if at < 2 { state.branch } else { state.main };
            if old == Some(new) {
                continue;
            }
            pushes += 1;
            let case = |what: String, server: &Server<'_>| {
                let policy: Vec<String> = specs.iter().map(Spec::toml).collect();
                format!(
                    "seed {before}: {what}\n  {name} to {new} in {state:?}, file {is_file}\n{}{}",
                    describe(&server.world),
                    policy.join("----\n")
                )
            };
            let is_taken = match check(&mut server, state, name, new, NONE) {
                Ok(is_taken) => is_taken,
                Err(violation) => panic!("{}", case(violation, &server)),
            };
            let late = with_false_times.push(state, name, old, Some(new), NONE);
            let is_late = late.is_some_and(|judged| !judged.is_refused);
            assert_eq!(
                is_late,
                is_taken,
                "{}",
                case("false times".to_owned(), &server)
            );
            if is_taken {
                taken += 1;
                match at {
                    2 => state.main = Some(new),
                    _ => branches[at] = Some(new),
                }
            }
        }
    }
    (pushes, taken)
}

#[test]
fn random_histories_break_no_invariant() {
    let histories = match std::env::var("GITSEAL_MODEL_COMMITS") {
        Ok(_) => 100_000,
        Err(_) => 3_000,
    };
    let (pushes, taken) = play(0x9E37_79B9_7F4A_7C15, histories);
    println!("{histories} histories, {pushes} pushes judged, {taken} of them taken");
    assert!(
        taken > histories,
        "most pushes are refused: {taken} of {pushes}"
    );
}

/// Other histories each time; the seed is printed.
#[test]
fn random_histories_of_this_run_break_no_invariant() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap();
    println!("seed {seed}");
    play(seed, 1_000);
}
