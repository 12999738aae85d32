//! How a push arrives changes nothing: by path, by git's daemon, by smart HTTP.

use crate::{
    servers,
    stage::GITSEAL,
    yard::{ALICE, BRANCHES, MALLORY, Yard, policy},
};

#[test]
fn every_way_is_guarded() {
    let yard = Yard::new(&policy(BRANCHES));
    let daemon = servers::daemon(&yard.base(), yard.prepare());
    let http = servers::http(&yard.base(), yard.prepare());
    let ways = [
        format!("file://{}", yard.server().display()),
        format!("git://127.0.0.1:{}/server.git", daemon.port),
        format!("http://127.0.0.1:{}/server.git", http.address.port()),
    ];
    for way in &ways {
        yard.file("file", way);
        yard.commit(ALICE, "allowed");
        yard.push_to(way, &["HEAD:refs/heads/main"]).ok();
        let good = yard.head();
        yard.commit(MALLORY, "refused");
        let before = yard.state();
        let ended = yard.push_to(way, &["HEAD:refs/heads/main"]);
        assert_eq!(ended.code, 1, "{way}: {ended:?}");
        assert!(ended.err.contains("remote: "), "{way}: {ended:?}");
        assert!(
            ended.err.contains("mallory@example.test"),
            "{way}: {ended:?}"
        );
        assert!(ended.err.contains("[signer-unknown]"), "{way}: {ended:?}");
        assert_eq!(yard.state(), before, "{way}");
        yard.stage.git(["reset", "-q", "--hard", &good]).ok();
    }
    let at = yard.on_server(["rev-parse", "main"]).ok();
    assert_eq!(at.line(), yard.head());
}

#[test]
fn a_push_that_stays_packed_is_seen_too() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.stage.config("receive.unpackLimit", "1");
    for n in 0..20 {
        yard.file("file", &n.to_string());
        yard.commit(ALICE, "one of many");
    }
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.unsigned("bad");
    yard.commit(ALICE, "good");
    yard.refused(&["HEAD:refs/heads/main"], &["[unsigned]"]);
}

#[test]
fn a_push_is_stopped_before_it_leaves() {
    let yard = Yard::new(&policy(BRANCHES));
    yard.no_hook();
    let hook = yard.stage.repo().join(".git/hooks/pre-push");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(
        &hook,
        format!(
            "#!/bin/sh\nexec {GITSEAL} pre-push --policy {} \"$@\"\n",
            yard.policy_file().display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    yard.commit(ALICE, "good");
    yard.allowed(&["HEAD:refs/heads/main"]);
    yard.stage.git(["fetch", "-q", "origin"]).ok();
    yard.unsigned("bad");
    yard.commit(ALICE, "good again");
    yard.refused(
        &["HEAD:refs/heads/main"],
        &["[unsigned]", "gitseal: nothing was pushed"],
    );
    // What the remote has already is not asked about again, under a new name too.
    yard.allowed(&["HEAD~2:refs/heads/other", ":refs/heads/other2"]);
}
