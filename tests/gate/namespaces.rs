//! Pushes into a namespace (`GIT_NAMESPACE`, gitnamespaces(7)): the refs of another
//! namespace hide nothing, under the same names or not.

use crate::{
    stage::Ended,
    yard::{ALICE, BRANCHES, Yard, policy},
};

/// Pushes into the namespace `x`.
fn push(yard: &Yard, specs: &[&str]) -> Ended {
    let mut arguments = vec![
        "push",
        "--receive-pack=env GIT_NAMESPACE=x git-receive-pack",
        "origin",
    ];
    arguments.extend_from_slice(specs);
    yard.stage.git(arguments)
}

#[test]
fn a_namespace_is_checked_by_its_own_refs() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.unsigned("older than the policy");
    yard.smuggle(&["main"]);
    // What another namespace has was never pushed into this one.
    push(&yard, &["main"]).fails(1).says("[unsigned]");
    push(&yard, &["main:topic"]).fails(1).says("[unsigned]");
    yard.on_server(["update-ref", "refs/namespaces/x/refs/heads/main", "main"])
        .ok();
    yard.commit(ALICE, "signed");
    push(&yard, &["main"]).ok();
    // Its own branch does hide commits, also from a new one.
    push(&yard, &["main:topic"]).ok();
    yard.unsigned("unsigned");
    push(&yard, &["main"]).fails(1).says("[unsigned]");
    push(&yard, &["main:other"]).fails(1).says("[unsigned]");
    // A symbolic ref of the namespace is the ref that it leads to there.
    yard.on_server([
        "symbolic-ref",
        "refs/namespaces/x/refs/heads/alias",
        "refs/namespaces/x/refs/heads/main",
    ])
    .ok();
    push(&yard, &["main:alias"]).fails(1).says("[unsigned]");
}
