//! What people do, by name, with the answer they want. Each is run with a policy file
//! and with a policy in the repository.

use super::{
    oracle::{MAIN, State},
    run::{Server, parsed, texts},
    world::{
        ALICE, BOB, CAROL, DAVE, NONE, POLICY, People, Rule, SRC, Settle, Spec, Who, World, rule,
        spec,
    },
};

const TOPIC: &str = "refs/heads/topic";
const RELEASE: &str = "refs/heads/release";

/// A repository in which somebody works.
struct Scene<'a> {
    server: Server<'a>,
    state: State,
}

impl Scene<'_> {
    fn commit(&mut self, parent: usize, who: People) -> usize {
        self.server.world.commit(Some(parent), who, SRC, 0)
    }

    fn merge(&mut self, first: usize, other: usize, who: People) -> usize {
        let merged = self.server.world.merge(&[first, other], who, Settle::Clean);
        // The one file conflicts; the merger takes it from the branch.
        merged.unwrap_or_else(|| {
            let world = &mut self.server.world;
            world.merge(&[first, other], who, Settle::Theirs).unwrap()
        })
    }

    fn main(&self) -> usize {
        self.state.main.unwrap()
    }

    /// Alice puts the second policy in force.
    fn second_policy(&mut self) {
        if self.server.is_file {
            self.state.file = 1;
        } else {
            let main = self.main();
            let change = self.server.world.commit(Some(main), ALICE, POLICY, 1);
            assert!(self.push(MAIN, change));
        }
    }

    fn push(&mut self, name: &str, new: usize) -> bool {
        self.push_by(name, new, NONE)
    }

    fn push_by(&mut self, name: &str, new: usize, pusher: People) -> bool {
        let old = match name {
            MAIN => self.state.main,
            _ => self.state.branch,
        };
        let judged = self
            .server
            .push(self.state, name, old, Some(new), pusher)
            .unwrap();
        if !judged.is_refused {
            match name {
                MAIN => self.state.main = Some(new),
                _ => self.state.branch = Some(new),
            }
        }
        !judged.is_refused
    }
}

/// Runs a workflow with both kinds of policy: main begins at Alice's root.
fn scene(first: &Spec, second: &Spec, work: impl Fn(&mut Scene<'_>)) {
    for is_file in [true, false] {
        run(first, second, is_file, &work);
    }
}

fn run(first: &Spec, second: &Spec, is_file: bool, work: &dyn Fn(&mut Scene<'_>)) {
    let specs = [first.clone(), second.clone()];
    let texts = texts(&specs);
    let policies = parsed(&texts);
    let mut world = World::new(texts);
    let main = Some(world.commit(None, ALICE, POLICY, 0));
    let mut scene = Scene {
        server: Server::new(world, &specs, is_file, &policies),
        state: State {
            main,
            branch: None,
            file: 0,
        },
    };
    work(&mut scene);
}

fn all(people: People) -> Spec {
    spec(&[rule(people)])
}

fn adopted_by(people: People, adopters: People) -> Spec {
    spec(&[Rule {
        adopt: Some(adopters),
        ..rule(people)
    }])
}

/// Main is everybody's, the release branch Carol's.
fn with_release(update: Who) -> Spec {
    let main = Rule {
        refs: &["refs/heads/main", "refs/heads/topic"],
        ..rule(ALICE | BOB)
    };
    let release = Rule {
        refs: &["refs/heads/release"],
        from: Some(MAIN),
        policy: None,
        update: Some(update),
        ..rule(CAROL)
    };
    spec(&[main, release])
}

#[test]
fn workflow_a_feature_branch_after_a_policy_change() {
    scene(&all(ALICE | BOB), &all(ALICE | BOB | DAVE), |s| {
        let feature = s.commit(s.main(), BOB);
        s.second_policy();
        let merged = s.merge(s.main(), feature, ALICE);
        assert!(s.push(MAIN, merged));
    });
}

#[test]
fn workflow_a_feature_branch_pushed_before_a_policy_change() {
    scene(&all(ALICE | BOB), &all(ALICE | BOB | DAVE), |s| {
        let feature = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, feature));
        s.second_policy();
        let more = s.commit(feature, BOB);
        assert!(s.push(TOPIC, more));
        let merged = s.merge(s.main(), more, ALICE);
        assert!(s.push(MAIN, merged));
    });
}

#[test]
fn workflow_a_joiners_earlier_commits() {
    scene(&all(ALICE), &all(ALICE | BOB), |s| {
        let early = s.commit(s.main(), BOB);
        assert!(!s.push(TOPIC, early));
        s.second_policy();
        assert!(s.push(TOPIC, early));
        let merged = s.merge(s.main(), early, ALICE);
        assert!(s.push(MAIN, merged));
    });
}

#[test]
fn workflow_joining_and_committing_in_one_push() {
    run(&all(ALICE), &all(ALICE | BOB), false, &|s| {
        let joins = s.server.world.commit(Some(s.main()), ALICE, POLICY, 1);
        let first = s.commit(joins, BOB);
        assert!(s.push(MAIN, first));
    });
}

#[test]
fn workflow_a_strict_release_is_cut_from_main() {
    scene(
        &with_release(Who::Anyone),
        &with_release(Who::Anyone),
        |s| {
            let main = s.commit(s.main(), BOB);
            assert!(s.push(MAIN, main));
            assert!(s.push(RELEASE, main));
        },
    );
}

#[test]
fn workflow_a_hotfix_on_a_strict_release() {
    scene(
        &with_release(Who::Anyone),
        &with_release(Who::Anyone),
        |s| {
            let main = s.commit(s.main(), BOB);
            assert!(s.push(MAIN, main));
            assert!(s.push(RELEASE, main));
            let fix = s.commit(main, CAROL);
            assert!(s.push(RELEASE, fix));
        },
    );
}

#[test]
fn workflow_a_strict_release_is_refused_to_others() {
    scene(
        &with_release(Who::Anyone),
        &with_release(Who::Anyone),
        |s| {
            let main = s.commit(s.main(), BOB);
            assert!(s.push(MAIN, main));
            assert!(s.push(RELEASE, main));
            let fix = s.commit(main, BOB);
            assert!(!s.push(RELEASE, fix));
            // Nor along main.
            assert!(s.push(MAIN, fix));
            assert!(!s.push(RELEASE, fix));
        },
    );
}

#[test]
fn workflow_a_hotfix_from_an_old_state() {
    scene(&all(ALICE | BOB), &all(ALICE | BOB), |s| {
        let tagged = s.commit(s.main(), ALICE);
        let newer = s.commit(tagged, ALICE);
        assert!(s.push(MAIN, newer));
        let fix = s.commit(tagged, BOB);
        assert!(s.push(TOPIC, fix));
    });
}

#[test]
fn workflow_a_hotfix_from_a_state_with_a_leavers_commits() {
    scene(&all(ALICE | BOB), &all(ALICE), |s| {
        let by_bob = s.commit(s.main(), BOB);
        assert!(s.push(MAIN, by_bob));
        s.second_policy();
        let fix = s.commit(by_bob, ALICE);
        assert!(s.push(TOPIC, fix));
    });
}

#[test]
fn workflow_a_leavers_open_branch_without_adopt() {
    scene(&all(ALICE | BOB), &all(ALICE), |s| {
        let open = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, open));
        s.second_policy();
        let merged = s.merge(s.main(), open, ALICE);
        assert!(!s.push(MAIN, merged));
    });
}

#[test]
fn workflow_a_leavers_open_branch_with_adopt() {
    scene(&all(ALICE | BOB), &adopted_by(ALICE, ALICE), |s| {
        let open = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, open));
        s.second_policy();
        let merged = s.merge(s.main(), open, ALICE);
        assert!(s.push(MAIN, merged));
    });
}

/// Also after a signer left whose commits are on main.
#[test]
fn workflow_an_old_branch_takes_in_main() {
    scene(&all(ALICE | BOB | CAROL), &all(ALICE | BOB), |s| {
        let topic = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, topic));
        let by_carol = s.commit(s.main(), CAROL);
        assert!(s.push(MAIN, by_carol));
        s.second_policy();
        let merged = s
            .server
            .world
            .merge(&[topic, s.main()], BOB, Settle::Ours)
            .unwrap();
        assert!(s.push(TOPIC, merged));
    });
}

#[test]
fn workflow_a_new_branch_at_main() {
    scene(&all(ALICE | BOB), &all(ALICE), |s| {
        let by_bob = s.commit(s.main(), BOB);
        assert!(s.push(MAIN, by_bob));
        s.second_policy();
        assert!(s.push(TOPIC, s.main()));
    });
}

#[test]
fn workflow_a_branch_of_before_a_removal_moves_on_and_is_merged() {
    scene(&all(ALICE | BOB | CAROL), &all(ALICE | BOB), |s| {
        let topic = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, topic));
        s.second_policy();
        let more = s.commit(topic, BOB);
        assert!(s.push(TOPIC, more));
        let merged = s.merge(s.main(), more, ALICE);
        assert!(s.push(MAIN, merged));
    });
}

#[test]
fn workflow_a_branch_is_merged_again_and_again() {
    scene(&all(ALICE | BOB), &all(ALICE | BOB), |s| {
        let mut topic = s.main();
        for _ in 0..3 {
            topic = s.commit(topic, BOB);
            assert!(s.push(TOPIC, topic));
            let merged = s.merge(s.main(), topic, ALICE);
            assert!(s.push(MAIN, merged));
        }
    });
}

/// Bob may commit, and so propose; Alice puts the change in force.
#[test]
fn workflow_a_policy_proposed_by_one_and_merged_by_another() {
    run(&all(ALICE | BOB), &all(ALICE | BOB | CAROL), false, &|s| {
        let proposed = s.server.world.commit(Some(s.main()), BOB, POLICY, 1);
        assert!(s.push(TOPIC, proposed));
        let merged = s.merge(s.main(), proposed, ALICE);
        assert!(s.push(MAIN, merged));
        let by_carol = s.commit(merged, CAROL);
        assert!(s.push(MAIN, by_carol));
    });
}

#[test]
fn workflow_a_policy_merged_by_one_who_may_not() {
    run(&all(ALICE | BOB), &all(ALICE | BOB | CAROL), false, &|s| {
        let proposed = s.server.world.commit(Some(s.main()), BOB, POLICY, 1);
        let merged = s.merge(s.main(), proposed, BOB);
        assert!(!s.push(MAIN, merged));
        assert!(!s.push(MAIN, proposed));
    });
}

/// The old value comes in as the second parent. On main that is a rewrite.
#[test]
fn workflow_git_pull_on_a_topic() {
    let mine = Rule {
        update: Some(Who::Anyone),
        ..rule(ALICE | BOB)
    };
    scene(&spec(std::slice::from_ref(&mine)), &spec(&[mine]), |s| {
        let first = s.commit(s.main(), ALICE);
        assert!(s.push(TOPIC, first));
        let theirs = s.commit(first, ALICE);
        assert!(s.push(TOPIC, theirs));
        let ours = s.commit(first, BOB);
        let pulled = s.merge(ours, theirs, BOB);
        let old = s.state.branch;
        let judged = s
            .server
            .push(s.state, TOPIC, old, Some(pulled), NONE)
            .unwrap();
        let forward = crate::UpdateKind::Update { fast_forward: true };
        assert_eq!((judged.kind, judged.is_refused), (forward, false));
        assert_eq!(judged.gained, 2, "what comes from the old line is lent");
        let state = State {
            main: Some(theirs),
            ..s.state
        };
        let judged = s
            .server
            .push(state, MAIN, Some(theirs), Some(pulled), NONE)
            .unwrap();
        let rewrite = crate::UpdateKind::Update {
            fast_forward: false,
        };
        assert_eq!(judged.kind, rewrite);
    });
}

#[test]
fn workflow_main_is_promoted_by_who_is_named() {
    let policy = with_release(Who::Only(CAROL));
    scene(&policy, &policy, |s| {
        let first = s.commit(s.main(), BOB);
        assert!(s.push(MAIN, first));
        assert!(s.push(RELEASE, first), "cut by anyone: create is not named");
        let next = s.commit(first, BOB);
        assert!(s.push(MAIN, next));
        assert!(!s.push(RELEASE, next));
        assert!(!s.push_by(RELEASE, next, BOB));
        assert!(s.push_by(RELEASE, next, CAROL));
    });
}

/// Main has moved on, by a signer who has left since.
#[test]
fn workflow_a_topic_is_rebased() {
    scene(&all(ALICE | BOB | CAROL), &all(ALICE | BOB), |s| {
        let topic = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, topic));
        let by_carol = s.commit(s.main(), CAROL);
        assert!(s.push(MAIN, by_carol));
        s.second_policy();
        let rebased = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, rebased));
    });
}

#[test]
fn workflow_a_topic_is_deleted_and_made_again() {
    scene(&all(ALICE | BOB), &all(ALICE | BOB), |s| {
        let topic = s.commit(s.main(), BOB);
        assert!(s.push(TOPIC, topic));
        let judged = s
            .server
            .push(s.state, TOPIC, Some(topic), None, NONE)
            .unwrap();
        assert!(!judged.is_refused);
        s.state.branch = None;
        let again = s.commit(s.main(), ALICE);
        assert!(s.push(TOPIC, again));
        // Not main.
        let judged = s
            .server
            .push(s.state, MAIN, s.state.main, None, NONE)
            .unwrap();
        assert!(judged.is_refused);
    });
}
