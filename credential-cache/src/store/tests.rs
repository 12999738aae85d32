#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;

use super::*;

const WAIT: Duration = Duration::from_secs(120);

fn at(since_boot: u64, wall: u64) -> Now {
    Now {
        since_boot: Duration::from_secs(since_boot),
        wall,
    }
}

fn near(id: ConnectionId) -> Asker {
    Asker { id, local: true }
}

fn scope() -> Scope {
    Scope {
        issuer: "https://issuer.example".into(),
        ..Scope::default()
    }
}

/// A store whose entropy counts up from one.
fn store() -> Store {
    let drawn = Cell::new(0u8);
    Store::new(Box::new(move |bytes| {
        drawn.set(drawn.get() + 1);
        bytes.fill(drawn.get());
        true
    }))
}

fn led(response: Option<Response>) -> (KeyId, Vec<u8>) {
    match response {
        Some(Response::Lead { key, public }) => (key, public),
        other => panic!("{other:?}"),
    }
}

/// A certificate for this key: the shape alone, as `leaf.rs` reads it.
fn certificate(public: &[u8], not_before: u64, not_after: u64) -> Vec<u8> {
    use x509_cert::der::asn1::GeneralizedTime;
    use x509_cert::der::{DateTime, Encode};
    let time = |unix| {
        let date = DateTime::from_unix_duration(Duration::from_secs(unix)).unwrap();
        GeneralizedTime::from_date_time(date).to_der().unwrap()
    };
    let wrap = |tag: u8, parts: &[Vec<u8>]| {
        let content = parts.concat();
        let length = content.len();
        let mut bytes = vec![tag, 0x82, (length >> 8) as u8, length as u8];
        if length < 128 {
            bytes = vec![tag, length as u8];
        } else if length < 256 {
            bytes = vec![tag, 0x81, length as u8];
        }
        bytes.extend(content);
        bytes
    };
    let algorithm = vec![
        0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
    ];
    let empty = vec![0x30, 0];
    let content = wrap(
        0x30,
        &[
            vec![0xa0, 3, 2, 1, 2],
            vec![2, 1, 1],
            algorithm.clone(),
            empty.clone(),
            wrap(0x30, &[time(not_before), time(not_after)]),
            empty,
            public.to_vec(),
        ],
    );
    wrap(0x30, &[content, algorithm, vec![3, 2, 0, 0]])
}

/// A store with a credential for ten minutes from boot 100, wall 1000.
fn stored() -> (Store, KeyId) {
    let mut store = store();
    let now = at(100, 1000);
    let (key, public) = led(store.acquire(near(1), &scope(), 20, WAIT, now));
    let chain = vec![certificate(&public, 1000, 1600)];
    assert_eq!(store.store(1, key, chain, now), Response::Done);
    (store, key)
}

#[test]
fn d8_it_expires_by_the_clock_since_boot_though_the_wall_clock_went_back() {
    let (mut store, key) = stored();
    assert!(store.sign(9, &key, &[1; 32], at(699, 1)).is_ok());
    assert_eq!(
        store.sign(9, &key, &[1; 32], at(700, 2)),
        Err(Refusal::Expired)
    );
    assert!(store.is_empty());
}

#[test]
fn d8_it_expires_by_the_wall_clock_and_does_not_come_back() {
    let (mut store, key) = stored();
    // An hour forwards: gone. Back again: still gone.
    assert_eq!(
        store.sign(9, &key, &[1; 32], at(101, 4600)),
        Err(Refusal::Expired)
    );
    assert_eq!(
        store.sign(9, &key, &[1; 32], at(102, 1002)),
        Err(Refusal::Expired)
    );
    assert_eq!(store.find(&scope(), 0, at(102, 1002)), None);
}

#[test]
fn d8_a_wall_clock_behind_does_not_lengthen_a_certificate() {
    // The clock is a day behind: ten minutes are ten minutes.
    let mut store = store();
    let now = at(100, 1_000_000 - 86_400);
    let (key, public) = led(store.acquire(near(1), &scope(), 20, WAIT, now));
    let chain = vec![certificate(&public, 1_000_000, 1_000_600)];
    assert_eq!(store.store(1, key, chain, now), Response::Done);
    assert!(store.sign(1, &key, &[1; 32], at(699, now.wall)).is_ok());
    assert_eq!(
        store.sign(1, &key, &[1; 32], at(700, now.wall)),
        Err(Refusal::Expired)
    );
}

#[test]
fn what_is_left_is_what_counts() {
    let (mut store, _) = stored();
    assert!(store.find(&scope(), 20, at(680, 1580)).is_some());
    assert_eq!(store.find(&scope(), 20, at(681, 1581)), None);
    // And one who acquires then leads, with another key.
    led(store.acquire(near(2), &scope(), 20, WAIT, at(681, 1581)));
    assert_eq!(store.next_end(at(681, 1581)), Some(Duration::from_secs(19)));
}

#[test]
fn who_leads_too_long_is_followed() {
    let mut store = store();
    let (first, public) = led(store.acquire(near(1), &scope(), 0, WAIT, at(0, 1000)));
    let late = at(LEAD_LIMIT.as_secs() - 1, 1599);
    assert_eq!(store.acquire(near(2), &scope(), 0, WAIT, late), None);
    let over = at(LEAD_LIMIT.as_secs(), 1600);
    store.expire(over);
    let answers = store.take_answers();
    let [(2, Response::Lead { key, .. })] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_ne!(*key, first);
    assert!(!store.leads(1) && store.leads(2));
    // The one that was too slow has nothing to store any more.
    let chain = vec![certificate(&public, 1600, 2200)];
    assert_eq!(
        store.store(1, first, chain, over),
        Response::Refused(Refusal::UnknownKey)
    );
}

#[test]
fn tokens_end_on_both_clocks() {
    let mut store = store();
    let now = at(100, 1000);
    let keep = |store: &mut Store, kind, expires| {
        store.keep_token(&scope(), kind, Secret::new("t"), expires, now)
    };
    assert_eq!(keep(&mut store, TokenKind::Identity, 1060), Response::Done);
    assert_eq!(keep(&mut store, TokenKind::Refresh, 0), Response::Done);
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
    let day = MAX_LIFE.as_secs();
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
    // An identity token must say when it ends.
    assert_eq!(
        keep(&mut store, TokenKind::Identity, 0),
        Response::Refused(Refusal::Expired)
    );
}

#[test]
fn without_entropy_there_is_no_key() {
    let mut store = Store::new(Box::new(|_| false));
    assert_eq!(
        store.acquire(near(1), &scope(), 0, WAIT, at(0, 0)),
        Some(Response::Refused(Refusal::Internal))
    );
    assert!(store.is_empty());
}
