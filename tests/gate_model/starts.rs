//! Where the histories begin that are tried exhaustively. Each was made for a hole that
//! one of the rules before this one had: a new clause needs a start of its own.

use super::{
    oracle::State,
    world::{
        ALICE, BOB, CAROL, KEY, NONE, POLICY, People, Rule, SRC, Settle, Spec, Who, World, rule,
        spec,
    },
};

/// The repository in which histories begin, and what they are made of.
pub(super) struct Start {
    pub name: &'static str,
    pub specs: Vec<Spec>,
    /// Whether the policy is a file: the first spec, then the second.
    pub is_file: bool,
    /// The branch beside main.
    pub branch: &'static str,
    pub build: fn(&mut World) -> State,
    /// Who pushes to the branch, as its rules name them; nobody: a stranger.
    pub pusher: People,
    /// Who signs further commits.
    pub signers: &'static [People],
    /// What they write: files, and policies by number.
    pub files: &'static [usize],
    pub policies: &'static [u32],
}

const TOPIC: &str = "refs/heads/topic";
const RELEASE: &str = "refs/heads/release";

fn main_at(main: usize) -> State {
    State {
        main: Some(main),
        branch: None,
        file: 0,
    }
}

fn root(world: &mut World) -> State {
    main_at(world.commit(None, ALICE, POLICY, 0))
}

/// Alice's second commit puts the second policy in force.
fn second_policy(world: &mut World) -> State {
    let root = world.commit(None, ALICE, POLICY, 0);
    main_at(world.commit(Some(root), ALICE, POLICY, 1))
}

/// An unsigned commit in a time of `warn`, then the policy is enforced.
fn after_warn(world: &mut World) -> State {
    let root = world.commit(None, ALICE, POLICY, 0);
    let unsigned = world.commit(Some(root), NONE, SRC, 0);
    main_at(world.commit(Some(unsigned), ALICE, POLICY, 1))
}

fn no_main(world: &mut World) -> State {
    world.commit(None, ALICE, POLICY, 0);
    State {
        main: None,
        branch: None,
        file: 0,
    }
}

/// Bob committed before he is let in.
fn joiner(world: &mut World) -> State {
    let root = world.commit(None, ALICE, POLICY, 0);
    world.commit(Some(root), BOB, SRC, 0);
    main_at(root)
}

/// Alice adopted an unsigned commit and left out what it changes.
fn left_out(world: &mut World) -> State {
    let root = world.commit(None, ALICE, POLICY, 0);
    let unsigned = world.commit(Some(root), NONE, SRC, 0);
    main_at(world.merge(&[root, unsigned], ALICE, Settle::Ours).unwrap())
}

/// An unsigned commit, and a merge of Alice that adopts it, both beside main.
fn beside(world: &mut World) -> State {
    let root = world.commit(None, ALICE, POLICY, 0);
    let unsigned = world.commit(Some(root), NONE, SRC, 0);
    world
        .merge(&[root, unsigned], ALICE, Settle::Clean)
        .unwrap();
    main_at(root)
}

/// A commit of Alice, and a merge of Bob of it, both beside main.
fn approved_beside(world: &mut World) -> State {
    let root = world.commit(None, ALICE, POLICY, 0);
    let written = world.commit(Some(root), ALICE, SRC, 0);
    world.merge(&[root, written], BOB, Settle::Clean).unwrap();
    main_at(root)
}

/// A release branch at the root; Bob's commit is on main.
fn release(world: &mut World) -> State {
    let root = world.commit(None, ALICE, POLICY, 0);
    State {
        branch: Some(root),
        ..main_at(world.commit(Some(root), BOB, SRC, 0))
    }
}

fn adopting(people: People, adopters: People) -> Rule {
    Rule {
        adopt: Some(adopters),
        ..rule(people)
    }
}

/// Alice may write the key, Alice and Bob the rest.
fn owned_key(adopters: Option<People>) -> Spec {
    let both = Some(Who::Only(ALICE | BOB));
    let of_path = |paths, people| Rule {
        paths: Some(paths),
        commit: Some(Who::Only(people)),
        merge: None,
        policy: None,
        update: None,
        ..rule(people)
    };
    spec(&[
        of_path(&[POLICY, SRC], ALICE | BOB),
        of_path(&[KEY], ALICE),
        Rule {
            commit: None,
            merge: both,
            adopt: adopters,
            ..rule(ALICE | BOB)
        },
    ])
}

/// A rule on trial is the only one about the key.
fn trial() -> Spec {
    let of_path = |paths, trial| Rule {
        paths: Some(paths),
        trial,
        merge: None,
        policy: None,
        update: None,
        ..rule(ALICE)
    };
    spec(&[
        of_path(&[POLICY, SRC], false),
        of_path(&[KEY], true),
        Rule {
            commit: None,
            ..rule(ALICE)
        },
    ])
}

fn strict(update: Who) -> Spec {
    let main = Rule {
        refs: &["refs/heads/main"],
        ..rule(ALICE | BOB)
    };
    let release = Rule {
        refs: &["refs/heads/release"],
        from: Some("refs/heads/main"),
        policy: None,
        update: Some(update),
        ..rule(CAROL)
    };
    spec(&[main, release])
}

fn two(paths: Option<&'static [usize]>) -> Spec {
    let counted = Rule {
        paths,
        merge: None,
        policy: None,
        update: None,
        threshold: Some((2, ALICE | BOB)),
        ..rule(ALICE | BOB)
    };
    spec(&[counted, rule(ALICE | BOB)])
}

/// The starts of policies in the repository.
fn in_repository() -> Vec<Start> {
    let start = |name, specs: Vec<Spec>, build| Start {
        name,
        specs,
        is_file: false,
        branch: TOPIC,
        build,
        pusher: NONE,
        signers: &[ALICE, BOB],
        files: &[SRC],
        policies: &[],
    };
    let plain = |people| spec(&[rule(people)]);
    let governed = |people, governors| {
        spec(&[Rule {
            policy: Some(governors),
            ..rule(people)
        }])
    };
    let warn = Spec {
        warn: true,
        ..plain(ALICE)
    };
    vec![
        Start {
            policies: &[0, 1],
            ..start(
                "a removed signer",
                vec![plain(ALICE | BOB), plain(ALICE)],
                second_policy,
            )
        },
        Start {
            policies: &[0, 1],
            ..start(
                "a removed maintainer",
                vec![governed(ALICE | BOB, ALICE | BOB), plain(ALICE)],
                second_policy,
            )
        },
        Start {
            signers: &[ALICE, NONE],
            policies: &[0],
            ..start(
                "after a time of warn",
                vec![warn.clone(), plain(ALICE)],
                after_warn,
            )
        },
        Start {
            signers: &[ALICE, BOB, NONE],
            policies: &[1],
            ..start("in a time of warn", vec![warn, governed(BOB, BOB)], root)
        },
        Start {
            policies: &[1],
            ..start(
                "no default branch",
                vec![plain(ALICE), governed(BOB, BOB)],
                no_main,
            )
        },
        Start {
            policies: &[0, 1],
            ..start("a joiner", vec![plain(ALICE), plain(ALICE | BOB)], joiner)
        },
        Start {
            signers: &[ALICE, NONE],
            ..start("adoption", vec![spec(&[adopting(ALICE, ALICE)])], root)
        },
        Start {
            signers: &[BOB, NONE],
            files: &[SRC, KEY],
            ..start(
                "an adopter who may not commit",
                vec![owned_key(Some(ALICE | BOB))],
                root,
            )
        },
        Start {
            signers: &[ALICE, NONE],
            files: &[SRC, KEY],
            ..start("a trial rule", vec![trial()], root)
        },
        Start {
            signers: &[BOB, CAROL],
            branch: RELEASE,
            ..start("a strict branch", vec![strict(Who::Anyone)], release)
        },
        Start {
            signers: &[BOB, CAROL],
            branch: RELEASE,
            pusher: CAROL,
            ..start(
                "a strict branch with named updaters",
                vec![strict(Who::Only(CAROL))],
                release,
            )
        },
        Start {
            files: &[SRC, KEY],
            ..start("a merger who may not commit", vec![owned_key(None)], root)
        },
        Start {
            policies: &[0, 1],
            ..start(
                "no source",
                [ALICE | BOB, ALICE]
                    .map(|people| {
                        spec(&[Rule {
                            from: Some("refs/heads/none"),
                            ..rule(people)
                        }])
                    })
                    .to_vec(),
                second_policy,
            )
        },
        start(
            "a change that a merge left out",
            vec![spec(&[adopting(ALICE | BOB, ALICE)])],
            left_out,
        ),
        start(
            "a merge beside an unsigned change",
            vec![spec(&[adopting(ALICE | BOB, ALICE)])],
            beside,
        ),
        start("two persons", vec![two(None)], root),
        Start {
            files: &[SRC, KEY],
            ..start("two persons for the key", vec![two(Some(&[KEY]))], root)
        },
        start(
            "two persons, a merge beside",
            vec![two(None)],
            approved_beside,
        ),
    ]
}

/// All starts: the same with a policy file, but those that a file cannot have.
pub(super) fn all() -> Vec<Start> {
    let mut starts = in_repository();
    let of_trees = ["after a time of warn", "no default branch"];
    starts.extend(in_repository().into_iter().filter_map(|start| {
        (!of_trees.contains(&start.name)).then_some(Start {
            is_file: true,
            policies: &[],
            ..start
        })
    }));
    starts
}
