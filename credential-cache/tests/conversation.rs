//! The conversation of a client and a daemon, and the errors that belong to it.

use std::time::Duration;

use crate::daemon::*;
use gitseal_credential_cache::client::{AcquireOutcome, ClientError, RequestError, TokenKind};
use gitseal_credential_cache::protocol::Scope;

#[test]
fn a_key_is_made_stored_found_and_signs() {
    let mut daemon = Daemon::start(&[]);
    let alice = scope("alice@example.test");
    let mut first = daemon.connect();
    let (key, public) = start_login(&mut first, &alice);

    // Proof of possession: before the certificate, for the one that logs in alone.
    let digest = [7; 32];
    assert!(verifies(
        &public,
        &digest,
        &first.sign(key, digest).unwrap()
    ));
    let mut second = daemon.connect();
    assert_fails!(
        second.sign(key, digest),
        ClientError::Refused(RequestError::UnknownKey)
    );
    assert_eq!(second.find(&alice, 20).unwrap(), None);

    let now = wall();
    let chain = vec![leaf(&public, now, now + 600), vec![0x30, 0]];
    first.store(key, &chain).unwrap();
    assert_eq!(second.find(&alice, 20).unwrap(), Some((key, chain.clone())));
    let found = second.acquire(&alice, 20, Duration::ZERO).unwrap();
    assert_eq!(found, AcquireOutcome::Found { key, chain });
    assert!(verifies(
        &public,
        &digest,
        &second.sign(key, digest).unwrap()
    ));

    let status = second.status().unwrap();
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].scope, alice);
    assert_eq!(status[0].not_after, now + 600);
    assert_eq!(status[0].signatures, 2);

    assert_eq!(second.clear().unwrap(), 1);
    assert_fails!(
        first.sign(key, digest),
        ClientError::Refused(RequestError::UnknownKey)
    );
    assert!(second.status().unwrap().is_empty());
    second.stop().unwrap();
    assert!(daemon.ended().success());
    assert!(!daemon.socket.exists());
}

#[test]
fn another_setting_is_another_credential() {
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let alice = scope("alice@example.test");
    credential(&mut connection, &alice, 600);
    let changes: [fn(&mut Scope); 6] = [
        |s| s.issuer.push('x'),
        |s| s.client_id.push('x'),
        |s| s.connector.push('x'),
        |s| s.authority.push('x'),
        |s| s.trusted_root.push('x'),
        |s| s.subject.clear(),
    ];
    for change in changes {
        let mut other = alice.clone();
        change(&mut other);
        assert_eq!(connection.find(&other, 0).unwrap(), None, "{other:?}");
    }
    assert!(connection.find(&alice, 0).unwrap().is_some());
}

#[test]
fn an_expiring_certificate_is_renewed_with_a_fresh_key() {
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let alice = scope("alice@example.test");
    let (old, _) = credential(&mut connection, &alice, 15);
    assert_eq!(connection.find(&alice, 20).unwrap(), None);
    let (new, _) = credential(&mut connection, &alice, 600);
    assert_ne!(old, new);
    // The old one signs until it ends, the new one is what is found.
    connection.sign(old, [1; 32]).unwrap();
    assert_eq!(connection.find(&alice, 0).unwrap().unwrap().0, new);
}

#[test]
fn tokens_come_back_until_they_end() {
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let alice = scope("alice@example.test");
    let long = "t".repeat(16 * 1024);
    assert_eq!(connection.token(&alice, TokenKind::Identity).unwrap(), None);
    connection
        .keep_token(&alice, TokenKind::Identity, &long, wall() + 600)
        .unwrap();
    connection
        .keep_token(&alice, TokenKind::Refresh, "refresh", 0)
        .unwrap();
    let mut other = daemon.connect();
    for _ in 0..3 {
        let token = other.token(&alice, TokenKind::Identity).unwrap().unwrap();
        assert_eq!(*token, long);
    }
    let token = other.token(&alice, TokenKind::Refresh).unwrap().unwrap();
    assert_eq!(*token, "refresh");
    let status = other.status().unwrap();
    assert!(status[0].refresh_token);
    assert!(status[0].identity_token > wall());
    assert_eq!(
        other.token(&scope("bob"), TokenKind::Refresh).unwrap(),
        None
    );

    // An expired one is not kept.
    assert_fails!(
        connection.keep_token(&alice, TokenKind::Identity, "old", wall() - 1),
        ClientError::Refused(RequestError::Expired)
    );
    assert_eq!(other.token(&alice, TokenKind::Identity).unwrap(), None);
    other.forget_token(&alice, TokenKind::Refresh).unwrap();
    assert_eq!(other.token(&alice, TokenKind::Refresh).unwrap(), None);
    other.forget_token(&alice, TokenKind::Refresh).unwrap();
    other
        .keep_token(&alice, TokenKind::Refresh, "refresh", 0)
        .unwrap();
    assert!(other.forget(&alice).unwrap());
    assert!(!other.forget(&alice).unwrap());
    assert_eq!(other.token(&alice, TokenKind::Refresh).unwrap(), None);
}

#[test]
fn a_certificate_must_be_for_the_key_and_alive() {
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let (key, public) = start_login(&mut connection, &scope("a"));
    let (_, foreign) = start_login(&mut connection, &scope("b"));
    let now = wall();
    for chain in [
        vec![],
        vec![vec![1, 2, 3]],
        vec![leaf(&foreign, now, now + 600)],
    ] {
        let stored = connection.store(key, &chain);
        assert_fails!(stored, ClientError::Refused(RequestError::NotForThisKey));
    }
    let ended = connection.store(key, &[leaf(&public, now - 600, now - 1)]);
    assert_fails!(ended, ClientError::Refused(RequestError::Expired));
    let other = certify(&mut daemon.connect(), key, &public, 600);
    assert_fails!(other, ClientError::Refused(RequestError::UnknownKey));
    certify(&mut connection, key, &public, 600).unwrap();
    let again = certify(&mut connection, key, &public, 600);
    assert_fails!(again, ClientError::Refused(RequestError::UnknownKey));
}
