//! The contents of the daemon and their rules: keys, certificates, tokens, and
//! the clients that wait for a login. No input or output: the time is an
//! argument, entropy is given, and answers to waiting clients are put into a list.
//!
//! A key starts without a certificate, pending for the connection that logs in
//! (for all that ask in the meantime), and signs for that connection alone. With
//! its certificate it signs for every client, until the certificate expires.
//!
//! *Not checked here:* the process that connected (`peer.rs`), frames
//! (`connection.rs`), the user's confirmation (`confirm.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::{Lifetime, MAX_LIFETIME, Now};
use crate::leaf;
use crate::protocol::{
    CacheResponse, KeyId, MAX_ENTRIES, RequestError, Scope, Secret, StatusEntry, TokenKind,
};
use crate::secret::{Entropy, PrivateKey, scrub_stack};

/// The name of a connection of the server; never used twice.
pub type ConnectionId = u64;

/// The time that one connection may log in before the next one does.
pub const LOGIN_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The longest that a client waits for a login.
pub const WAIT_LIMIT: Duration = LOGIN_LIMIT;

/// The most keys: a scope may have an old one that still signs and a new one.
pub const MAX_KEYS: usize = 2 * MAX_ENTRIES;

/// The reason that waiting clients get when another one clears the cache.
const LOGIN_DELETED: &str = "the login was deleted from the credential cache";

/// The client that sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The connection of the client.
    pub id: ConnectionId,
    /// Whether it is on this machine: it has passed a descriptor.
    pub local: bool,
}

struct Key {
    id: KeyId,
    scope: Scope,
    private: PrivateKey,
    public: Vec<u8>,
    state: State,
    signatures: u32,
}

enum State {
    Pending {
        connection: ConnectionId,
        since: Now,
    },
    Certified {
        chain: Vec<Vec<u8>>,
        lifetime: Lifetime,
    },
}

impl Key {
    fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
    }

    fn is_pending_for(&self, id: ConnectionId) -> bool {
        matches!(self.state, State::Pending { connection, .. } if connection == id)
    }

    /// Returns the time until the key is deleted.
    fn remaining(&self, now: Now) -> Option<Duration> {
        match &self.state {
            State::Certified { lifetime, .. } => lifetime.remaining(now),
            State::Pending { since, .. } => LOGIN_LIMIT
                .checked_sub(now.since(*since))
                .filter(|left| !left.is_zero()),
        }
    }
}

struct Token {
    scope: Scope,
    kind: TokenKind,
    token: Zeroizing<String>,
    lifetime: Lifetime,
}

struct Waiter {
    requester: Requester,
    scope: Scope,
    since: Now,
    wait: Duration,
}

/// Everything that the daemon keeps.
pub struct Store {
    entropy: Entropy,
    keys: Vec<Key>,
    tokens: Vec<Token>,
    waiting: Vec<Waiter>,
    expired: VecDeque<KeyId>,
    /// Answers to connections that waited, to be sent.
    answers: Vec<(ConnectionId, CacheResponse)>,
}

impl Store {
    /// Creates an empty store.
    pub fn new(entropy: Entropy) -> Self {
        Self {
            entropy,
            keys: Vec::new(),
            tokens: Vec::new(),
            waiting: Vec::new(),
            expired: VecDeque::new(),
            answers: Vec::new(),
        }
    }

    /// Takes the answers for waiting clients that came up since the last call.
    pub fn take_answers(&mut self) -> Vec<(ConnectionId, CacheResponse)> {
        std::mem::take(&mut self.answers)
    }

    /// Returns whether nothing is kept and no client waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tokens.is_empty() && self.waiting.is_empty()
    }

    /// Returns whether this connection logs in for others.
    pub fn is_logging_in(&self, connection: ConnectionId) -> bool {
        self.keys.iter().any(|key| key.is_pending_for(connection))
    }

    /// Returns whether this key has no certificate yet.
    pub fn is_pending(&self, id: &KeyId) -> bool {
        self.keys
            .iter()
            .any(|key| key.id == *id && key.is_pending())
    }

    /// Deletes everything that has expired, and answers clients that have waited
    /// long enough.
    pub fn expire(&mut self, now: Now) {
        let mut unfinished = Vec::new();
        let before = self.keys.len();
        self.keys.retain(|key| {
            let keep = key.remaining(now).is_some();
            if !keep {
                self.expired.push_back(key.id);
                if key.is_pending() {
                    unfinished.push(key.scope.clone());
                }
            }
            keep
        });
        if self.keys.len() < before {
            scrub_stack();
            let surplus = self.expired.len().saturating_sub(MAX_KEYS);
            self.expired.drain(..surplus);
        }
        self.tokens
            .retain(|token| token.lifetime.remaining(now).is_some());
        let over = |waiter: &Waiter| now.since(waiter.since) >= waiter.wait;
        self.answer_all(over, &CacheResponse::Refused(RequestError::Waited));
        for scope in unfinished {
            self.assign_login(&scope, now);
        }
    }

    /// Returns the time until [`Store::expire`] has something to do.
    pub fn next_end(&self, now: Now) -> Option<Duration> {
        let keys = self.keys.iter().map(|key| key.remaining(now));
        let tokens = self
            .tokens
            .iter()
            .map(|token| token.lifetime.remaining(now));
        let waiting = self
            .waiting
            .iter()
            .map(|waiter| waiter.wait.checked_sub(now.since(waiter.since)));
        let ends = keys.chain(tokens).chain(waiting);
        ends.map(Option::unwrap_or_default).min()
    }

    /// Returns the credential of a scope whose certificate is valid for at least
    /// `min_left` seconds; of several, the one that is valid longest.
    pub fn find(&mut self, scope: &Scope, min_left: u32, now: Now) -> Option<CacheResponse> {
        self.expire(now);
        let least = Duration::from_secs(u64::from(min_left));
        self.keys
            .iter()
            .filter(|key| key.scope == *scope)
            .filter_map(|key| match &key.state {
                State::Certified { chain, lifetime } => {
                    let left = lifetime.remaining(now).filter(|left| *left >= least)?;
                    Some((left, key.id, chain))
                }
                State::Pending { .. } => None,
            })
            .max_by_key(|(left, ..)| *left)
            .map(|(_, key, chain)| CacheResponse::Found {
                key,
                chain: chain.clone(),
            })
    }

    /// Returns the result of [`Store::find`], or a new key to log in with. None:
    /// the connection waits for another one's login.
    ///
    /// # Errors
    /// Returns [`RequestError::FarAway`], [`RequestError::Full`] or
    /// [`RequestError::Internal`] if the connection cannot log in.
    pub fn acquire(
        &mut self,
        requester: Requester,
        scope: &Scope,
        min_left: u32,
        wait: Duration,
        now: Now,
    ) -> Result<Option<CacheResponse>, RequestError> {
        if let Some(found) = self.find(scope, min_left, now) {
            return Ok(Some(found));
        }
        let pending = self
            .keys
            .iter()
            .find(|key| key.scope == *scope && key.is_pending());
        match pending {
            Some(key) if key.is_pending_for(requester.id) => Ok(Some(CacheResponse::MustLogIn {
                key: key.id,
                public: key.public.clone(),
            })),
            Some(_) => {
                self.waiting.push(Waiter {
                    requester,
                    scope: scope.clone(),
                    since: now,
                    wait: wait.min(WAIT_LIMIT),
                });
                Ok(None)
            }
            None => self.start_login(requester, scope, now).map(Some),
        }
    }

    /// Stores the certificate of a pending key, and sends both to all clients
    /// that wait for them.
    ///
    /// # Errors
    /// Returns [`RequestError::UnknownKey`], [`RequestError::NotForThisKey`] or
    /// [`RequestError::Expired`].
    pub fn store(
        &mut self,
        connection: ConnectionId,
        id: KeyId,
        chain: Vec<Vec<u8>>,
        now: Now,
    ) -> Result<CacheResponse, RequestError> {
        self.expire(now);
        let key = self
            .keys
            .iter_mut()
            .find(|key| key.id == id && key.is_pending_for(connection))
            .ok_or(RequestError::UnknownKey)?;
        let leaf = chain
            .first()
            .and_then(|leaf| leaf::parse(leaf))
            .filter(|leaf| leaf.public == key.public)
            .ok_or(RequestError::NotForThisKey)?;
        let lifetime =
            Lifetime::until(leaf.not_after, leaf.validity, now).ok_or(RequestError::Expired)?;
        let scope = key.scope.clone();
        key.state = State::Certified {
            chain: chain.clone(),
            lifetime,
        };
        let found = CacheResponse::Found { key: id, chain };
        self.answer_all(|waiter| waiter.scope == scope, &found);
        Ok(CacheResponse::Done)
    }

    /// Marks a pending login as failed and reports the reason to all waiting
    /// clients.
    ///
    /// # Errors
    /// Returns [`RequestError::UnknownKey`].
    pub fn fail(
        &mut self,
        connection: ConnectionId,
        id: KeyId,
        reason: &str,
    ) -> Result<CacheResponse, RequestError> {
        let place = self
            .keys
            .iter()
            .position(|key| key.id == id && key.is_pending_for(connection))
            .ok_or(RequestError::UnknownKey)?;
        let scope = self.keys.remove(place).scope;
        scrub_stack();
        let failed = CacheResponse::Failed(reason.to_owned());
        self.answer_all(|waiter| waiter.scope == scope, &failed);
        Ok(CacheResponse::Done)
    }

    /// Returns the scope of a key that this connection may sign with.
    ///
    /// # Errors
    /// Returns [`RequestError::UnknownKey`] or [`RequestError::Expired`].
    pub fn may_sign(
        &mut self,
        connection: ConnectionId,
        id: &KeyId,
        now: Now,
    ) -> Result<&Scope, RequestError> {
        self.usable(connection, id, now).map(|key| &key.scope)
    }

    /// Makes an ECDSA signature in DER over a digest.
    ///
    /// # Errors
    /// Returns [`RequestError::UnknownKey`], [`RequestError::Expired`] or
    /// [`RequestError::Internal`].
    pub fn sign(
        &mut self,
        connection: ConnectionId,
        id: &KeyId,
        digest: &[u8; 32],
        now: Now,
    ) -> Result<Vec<u8>, RequestError> {
        let key = self.usable(connection, id, now)?;
        let signature = key.private.sign(digest).ok_or(RequestError::Internal)?;
        key.signatures = key.signatures.saturating_add(1);
        Ok(signature)
    }

    /// Keeps a token in place of the previous one, which is deleted even if this
    /// one has already expired. A refresh token without an expiry time (0) is
    /// kept for [`MAX_LIFETIME`].
    ///
    /// # Errors
    /// Returns [`RequestError::Expired`] or [`RequestError::Full`].
    pub fn keep_token(
        &mut self,
        scope: &Scope,
        kind: TokenKind,
        token: Secret,
        expires: u64,
        now: Now,
    ) -> Result<CacheResponse, RequestError> {
        self.expire(now);
        self.tokens
            .retain(|kept| kept.kind != kind || kept.scope != *scope);
        let expires = match (kind, expires) {
            (TokenKind::Refresh, 0) => now.wall.saturating_add(MAX_LIFETIME.as_secs()),
            _ => expires,
        };
        let lifetime = Lifetime::until(expires, MAX_LIFETIME, now).ok_or(RequestError::Expired)?;
        if !self.has_room_for(scope) {
            return Err(RequestError::Full);
        }
        self.tokens.push(Token {
            scope: scope.clone(),
            kind,
            token: token.0,
            lifetime,
        });
        Ok(CacheResponse::Done)
    }

    /// Returns a token that has not expired.
    pub fn token(&mut self, scope: &Scope, kind: TokenKind, now: Now) -> Option<&str> {
        self.expire(now);
        self.tokens
            .iter()
            .find(|kept| kept.kind == kind && kept.scope == *scope)
            .map(|kept| kept.token.as_str())
    }

    /// Deletes the keys and tokens of a scope and returns how many there were.
    /// Clients that wait for its login get an answer.
    pub fn forget(&mut self, scope: &Scope) -> u32 {
        self.delete(|of| of == scope)
    }

    /// Deletes everything and returns how many keys and tokens there were.
    pub fn clear(&mut self) -> u32 {
        self.delete(|_| true)
    }

    fn delete(&mut self, matches: impl Fn(&Scope) -> bool) -> u32 {
        let before = self.keys.len().saturating_add(self.tokens.len());
        self.keys.retain(|key| !matches(&key.scope));
        self.tokens.retain(|token| !matches(&token.scope));
        scrub_stack();
        let deleted = CacheResponse::Failed(LOGIN_DELETED.into());
        self.answer_all(|waiter| matches(&waiter.scope), &deleted);
        let after = self.keys.len().saturating_add(self.tokens.len());
        u32::try_from(before.saturating_sub(after)).unwrap_or(u32::MAX)
    }

    /// Removes a connection that has ended: it waits no longer, and if it was to
    /// log in, the next waiting one must.
    pub fn disconnect(&mut self, connection: ConnectionId, now: Now) {
        self.waiting
            .retain(|waiter| waiter.requester.id != connection);
        let mut unfinished = Vec::new();
        self.keys.retain(|key| {
            let pending = key.is_pending_for(connection);
            if pending {
                unfinished.push(key.scope.clone());
            }
            !pending
        });
        if !unfinished.is_empty() {
            scrub_stack();
        }
        for scope in unfinished {
            self.assign_login(&scope, now);
        }
    }

    /// Lists everything that is kept, scope by scope.
    pub fn status(&mut self, now: Now) -> Vec<StatusEntry> {
        self.expire(now);
        let mut entries: Vec<StatusEntry> = Vec::new();
        for key in &self.keys {
            let Some(entry) = entry_of(&mut entries, &key.scope) else {
                continue;
            };
            entry.signatures = entry.signatures.saturating_add(key.signatures);
            if let State::Certified { lifetime, .. } = &key.state {
                entry.not_after = entry.not_after.max(lifetime.last_second());
            }
        }
        for token in &self.tokens {
            let Some(entry) = entry_of(&mut entries, &token.scope) else {
                continue;
            };
            match token.kind {
                TokenKind::Identity => entry.identity_token = token.lifetime.last_second(),
                TokenKind::Refresh => entry.refresh_token = true,
            }
        }
        for waiter in &self.waiting {
            if let Some(entry) = entry_of(&mut entries, &waiter.scope) {
                entry.waiting = entry.waiting.saturating_add(1);
            }
        }
        entries
    }

    fn usable(
        &mut self,
        connection: ConnectionId,
        id: &KeyId,
        now: Now,
    ) -> Result<&mut Key, RequestError> {
        self.expire(now);
        let error = if self.expired.contains(id) {
            RequestError::Expired
        } else {
            RequestError::UnknownKey
        };
        self.keys
            .iter_mut()
            .find(|key| key.id == *id && (!key.is_pending() || key.is_pending_for(connection)))
            .ok_or(error)
    }

    /// Makes a new key for a connection that logs in.
    fn start_login(
        &mut self,
        requester: Requester,
        scope: &Scope,
        now: Now,
    ) -> Result<CacheResponse, RequestError> {
        if !requester.local {
            return Err(RequestError::FarAway);
        }
        if self.keys.len() >= MAX_KEYS || !self.has_room_for(scope) {
            return Err(RequestError::Full);
        }
        let mut id: KeyId = [0; 16];
        if !(self.entropy)(&mut id) {
            return Err(RequestError::Internal);
        }
        let private = PrivateKey::generate(&self.entropy).ok_or(RequestError::Internal)?;
        let public = private.public().ok_or(RequestError::Internal)?;
        self.keys.push(Key {
            id,
            scope: scope.clone(),
            private,
            public: public.clone(),
            state: State::Pending {
                connection: requester.id,
                since: now,
            },
            signatures: 0,
        });
        Ok(CacheResponse::MustLogIn { key: id, public })
    }

    /// Assigns the login of a scope to the client that has waited longest and may
    /// log in. Clients before it that are far away get an error.
    fn assign_login(&mut self, scope: &Scope, now: Now) {
        while let Some(place) = self.waiting.iter().position(|w| w.scope == *scope) {
            let requester = self.waiting.remove(place).requester;
            let started = self.start_login(requester, scope, now);
            let assigned = started.is_ok();
            let answer = started.unwrap_or_else(CacheResponse::Refused);
            self.answers.push((requester.id, answer));
            if assigned {
                return;
            }
        }
    }

    fn answer_all(&mut self, matches: impl Fn(&Waiter) -> bool, answer: &CacheResponse) {
        for waiter in self.waiting.extract_if(.., |waiter| matches(waiter)) {
            self.answers.push((waiter.requester.id, answer.clone()));
        }
    }

    fn has_room_for(&self, scope: &Scope) -> bool {
        let mut scopes: Vec<&Scope> = vec![scope];
        let kept = self
            .keys
            .iter()
            .map(|key| &key.scope)
            .chain(self.tokens.iter().map(|token| &token.scope));
        for other in kept {
            if !scopes.contains(&other) {
                scopes.push(other);
            }
        }
        scopes.len() <= MAX_ENTRIES
    }
}

/// Returns the entry of a scope, which is made if there is room.
fn entry_of<'a>(entries: &'a mut Vec<StatusEntry>, scope: &Scope) -> Option<&'a mut StatusEntry> {
    let place = match entries.iter().position(|entry| entry.scope == *scope) {
        Some(place) => place,
        None if entries.len() < MAX_ENTRIES => {
            entries.push(StatusEntry {
                scope: scope.clone(),
                not_after: 0,
                signatures: 0,
                identity_token: 0,
                refresh_token: false,
                waiting: 0,
            });
            entries.len().saturating_sub(1)
        }
        None => return None,
    };
    entries.get_mut(place)
}

#[cfg(test)]
mod tests;
