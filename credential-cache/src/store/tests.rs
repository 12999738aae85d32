#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;

use super::*;

#[path = "../../tests/daemon/certificate.rs"]
mod certificate;
use certificate::leaf;

const WAIT: Duration = Duration::from_secs(120);

fn at(since_boot: u64, wall: u64) -> Now {
    Now {
        since_boot: Duration::from_secs(since_boot),
        wall,
    }
}

fn near(id: ConnectionId) -> Requester {
    Requester { id, local: true }
}

fn scope() -> Scope {
    Scope {
        issuer: "https://issuer.example".into(),
        ..Scope::default()
    }
}

/// Returns a store whose entropy counts up from one.
fn store() -> Store {
    let drawn = Cell::new(0u8);
    Store::new(Box::new(move |bytes| {
        drawn.set(drawn.get() + 1);
        bytes.fill(drawn.get());
        true
    }))
}

fn login(response: Result<Option<CacheResponse>, RequestError>) -> (KeyId, Vec<u8>) {
    match response {
        Ok(Some(CacheResponse::MustLogIn { key, public })) => (key, public),
        other => panic!("{other:?}"),
    }
}

/// Returns a store with a credential for ten minutes from boot 100, wall 1000.
fn stored() -> (Store, KeyId) {
    let mut store = store();
    let now = at(100, 1000);
    let (key, public) = login(store.acquire(near(1), &scope(), 20, WAIT, now));
    let chain = vec![leaf(&public, 1000, 1600)];
    assert_eq!(store.store(1, key, chain, now), Ok(CacheResponse::Done));
    (store, key)
}

#[test]
fn d8_it_expires_by_the_clock_since_boot_though_the_wall_clock_went_back() {
    let (mut store, key) = stored();
    assert!(store.sign(9, &key, &[1; 32], at(699, 1)).is_ok());
    assert_eq!(
        store.sign(9, &key, &[1; 32], at(700, 2)),
        Err(RequestError::Expired)
    );
    assert!(store.is_empty());
}

#[test]
fn d8_it_expires_by_the_wall_clock_and_does_not_come_back() {
    let (mut store, key) = stored();
    // An hour forward, and back again.
    assert_eq!(
        store.sign(9, &key, &[1; 32], at(101, 4600)),
        Err(RequestError::Expired)
    );
    assert_eq!(
        store.sign(9, &key, &[1; 32], at(102, 1002)),
        Err(RequestError::Expired)
    );
    assert_eq!(store.find(&scope(), 0, at(102, 1002)), None);
}

#[test]
fn d8_a_wall_clock_behind_does_not_lengthen_a_certificate() {
    // The clock is a day behind: ten minutes are ten minutes.
    let mut store = store();
    let now = at(100, 1_000_000 - 86_400);
    let (key, public) = login(store.acquire(near(1), &scope(), 20, WAIT, now));
    let chain = vec![leaf(&public, 1_000_000, 1_000_600)];
    assert_eq!(store.store(1, key, chain, now), Ok(CacheResponse::Done));
    assert!(store.sign(1, &key, &[1; 32], at(699, now.wall)).is_ok());
    assert_eq!(
        store.sign(1, &key, &[1; 32], at(700, now.wall)),
        Err(RequestError::Expired)
    );
}

#[test]
fn find_counts_the_remaining_time() {
    let (mut store, _) = stored();
    assert!(store.find(&scope(), 20, at(680, 1580)).is_some());
    assert_eq!(store.find(&scope(), 20, at(681, 1581)), None);
    // A client that acquires then must log in, with another key.
    login(store.acquire(near(2), &scope(), 20, WAIT, at(681, 1581)));
    assert_eq!(store.next_end(at(681, 1581)), Some(Duration::from_secs(19)));
}

#[test]
fn a_login_that_takes_too_long_is_passed_on() {
    let mut store = store();
    let (first, public) = login(store.acquire(near(1), &scope(), 0, WAIT, at(0, 1000)));
    let late = at(LOGIN_LIMIT.as_secs() - 1, 1599);
    assert_eq!(store.acquire(near(2), &scope(), 0, WAIT, late), Ok(None));
    let over = at(LOGIN_LIMIT.as_secs(), 1600);
    store.expire(over);
    let answers = store.take_answers();
    let [(2, CacheResponse::MustLogIn { key, .. })] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_ne!(*key, first);
    assert!(!store.is_logging_in(1) && store.is_logging_in(2));
    // The slow one can store nothing any more.
    let chain = vec![leaf(&public, 1600, 2200)];
    assert_eq!(
        store.store(1, first, chain, over),
        Err(RequestError::UnknownKey)
    );
}

#[test]
fn tokens_end_on_both_clocks() {
    let mut store = store();
    let now = at(100, 1000);
    let keep = |store: &mut Store, kind, expires| {
        store.keep_token(&scope(), kind, Secret::new("t"), expires, now)
    };
    assert_eq!(
        keep(&mut store, TokenKind::Identity, 1060),
        Ok(CacheResponse::Done)
    );
    assert_eq!(
        keep(&mut store, TokenKind::Refresh, 0),
        Ok(CacheResponse::Done)
    );
    assert!(
        store
            .token(&scope(), TokenKind::Identity, at(159, 500))
            .is_some()
    );
    assert!(
        store
            .token(&scope(), TokenKind::Identity, at(160, 500))
            .is_none()
    );
    let day = MAX_LIFETIME.as_secs();
    assert!(
        store
            .token(&scope(), TokenKind::Refresh, at(99 + day, 1100))
            .is_some()
    );
    assert!(
        store
            .token(&scope(), TokenKind::Refresh, at(100 + day, 1100))
            .is_none()
    );
    assert!(store.is_empty());
    // An identity token must have an expiry time.
    assert_eq!(
        keep(&mut store, TokenKind::Identity, 0),
        Err(RequestError::Expired)
    );
}

#[test]
fn without_entropy_there_is_no_key() {
    let mut store = Store::new(Box::new(|_| false));
    assert_eq!(
        store.acquire(near(1), &scope(), 0, WAIT, at(0, 0)),
        Err(RequestError::Internal)
    );
    assert!(store.is_empty());
}
