//! What the daemon keeps and the rules for it: keys, their certificates, tokens,
//! and who waits for a login. No input or output: the time is an argument,
//! entropy is given, and answers to those who wait are put into a list.
//!
//! A key begins without a certificate, in the hands of the connection that leads
//! (it logs in for all who ask meanwhile), and signs for that connection alone.
//! With the certificate it signs for everybody, until the certificate ends.
//!
//! *Not checked here:* who is connected (`peer.rs`), frames (`connection.rs`),
//! whether a person agrees (`confirm.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::{Life, MAX_LIFE, Now};
use crate::leaf;
use crate::protocol::{Entry, KeyId, MAX_ENTRIES, Refusal, Response, Scope, Secret, TokenKind};
use crate::secret::{Entropy, PrivateKey, scrub_stack};

/// Names a connection of the server; never used twice.
pub type ConnectionId = u64;

/// How long one connection may lead before the next one does.
pub const LEAD_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The longest that anybody waits for a login.
pub const WAIT_LIMIT: Duration = LEAD_LIMIT;

/// The most keys: a scope may have an old one that still signs and a new one.
pub const MAX_KEYS: usize = 2 * MAX_ENTRIES;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The connection.
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
    Led { leader: ConnectionId, since: Now },
    Certified { chain: Vec<Vec<u8>>, life: Life },
}

struct Token {
    scope: Scope,
    kind: TokenKind,
    token: Zeroizing<String>,
    life: Life,
}

struct Waiter {
    asker: Asker,
    scope: Scope,
    since: Now,
    wait: Duration,
}

/// Everything that is kept.
pub struct Store {
    entropy: Entropy,
    keys: Vec<Key>,
    tokens: Vec<Token>,
    waiting: Vec<Waiter>,
    expired: VecDeque<KeyId>,
    /// Answers to connections that waited, to be sent.
    answers: Vec<(ConnectionId, Response)>,
}

impl Store {
    /// An empty one.
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

    /// The answers for those who waited, since this was last asked.
    pub fn take_answers(&mut self) -> Vec<(ConnectionId, Response)> {
        std::mem::take(&mut self.answers)
    }

    /// Whether there is nothing to keep and nobody waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tokens.is_empty() && self.waiting.is_empty()
    }

    /// Whether this connection logs in for others.
    pub fn leads(&self, connection: ConnectionId) -> bool {
        self.keys.iter().any(|key| key.led_by(connection))
    }

    /// Whether this key has no certificate yet.
    pub fn is_led(&self, id: &KeyId) -> bool {
        self.keys.iter().any(|key| key.id == *id && key.led())
    }

    /// Forgets what has ended, and answers those who have waited long enough.
    pub fn expire(&mut self, now: Now) {
        let mut ended = Vec::new();
        let mut idle_leads = Vec::new();
        for key in &self.keys {
            match &key.state {
                State::Certified { life, .. } if life.left(now).is_none() => ended.push(key.id),
                State::Led { since, .. } if elapsed(*since, now) >= LEAD_LIMIT => {
                    idle_leads.push(key.scope.clone());
                    ended.push(key.id);
                }
                State::Certified { .. } | State::Led { .. } => {}
            }
        }
        if !ended.is_empty() {
            self.keys.retain(|key| !ended.contains(&key.id));
            scrub_stack();
            self.expired.extend(ended);
            let surplus = self.expired.len().saturating_sub(MAX_KEYS);
            self.expired.drain(..surplus);
        }
        self.tokens.retain(|token| token.life.left(now).is_some());
        let answers = &mut self.answers;
        self.waiting.retain(|waiter| {
            let over = elapsed(waiter.since, now) >= waiter.wait;
            if over {
                answers.push((waiter.asker.id, Response::Refused(Refusal::Waited)));
            }
            !over
        });
        for scope in idle_leads {
            self.next_leads(&scope, now);
        }
    }

    /// How long until [`Store::expire`] has something to do.
    pub fn next_end(&self, now: Now) -> Option<Duration> {
        let keys = self.keys.iter().map(|key| match &key.state {
            State::Certified { life, .. } => life.left(now).unwrap_or_default(),
            State::Led { since, .. } => LEAD_LIMIT.saturating_sub(elapsed(*since, now)),
        });
        let tokens = self
            .tokens
            .iter()
            .map(|token| token.life.left(now).unwrap_or_default());
        let waiting = self
            .waiting
            .iter()
            .map(|waiter| waiter.wait.saturating_sub(elapsed(waiter.since, now)));
        keys.chain(tokens).chain(waiting).min()
    }

    /// The credential of a scope whose certificate lives at least this long; of
    /// several, the one that lives longest.
    pub fn find(&mut self, scope: &Scope, min_left: u32, now: Now) -> Option<Response> {
        self.expire(now);
        let wanted = Duration::from_secs(u64::from(min_left));
        self.keys
            .iter()
            .filter(|key| key.scope == *scope)
            .filter_map(|key| match &key.state {
                State::Certified { chain, life } => {
                    let left = life.left(now).filter(|left| *left >= wanted)?;
                    Some((left, key.id, chain))
                }
                State::Led { .. } => None,
            })
            .max_by_key(|(left, ..)| *left)
            .map(|(_, key, chain)| Response::Found {
                key,
                chain: chain.clone(),
            })
    }

    /// [`Store::find`], or the lead, or a place among those who wait (None).
    pub fn acquire(
        &mut self,
        asker: Asker,
        scope: &Scope,
        min_left: u32,
        wait: Duration,
        now: Now,
    ) -> Option<Response> {
        if let Some(found) = self.find(scope, min_left, now) {
            return Some(found);
        }
        let led = self
            .keys
            .iter()
            .find(|key| key.scope == *scope && key.led());
        match led {
            Some(key) if key.led_by(asker.id) => Some(Response::Lead {
                key: key.id,
                public: key.public.clone(),
            }),
            Some(_) => {
                self.waiting.push(Waiter {
                    asker,
                    scope: scope.clone(),
                    since: now,
                    wait: wait.min(WAIT_LIMIT),
                });
                None
            }
            None => Some(self.lead(asker, scope, now)),
        }
    }

    /// Gives a led key its certificate, and everybody who waits for it both.
    pub fn store(
        &mut self,
        connection: ConnectionId,
        id: KeyId,
        chain: Vec<Vec<u8>>,
        now: Now,
    ) -> Response {
        self.expire(now);
        let found = self.keys.iter_mut().find(|key| key.id == id);
        let Some(key) = found.filter(|key| key.led_by(connection)) else {
            return Response::Refused(Refusal::UnknownKey);
        };
        let leaf = chain.first().and_then(|leaf| leaf::read(leaf));
        let Some(leaf) = leaf.filter(|leaf| leaf.public == key.public) else {
            return Response::Refused(Refusal::NotForThisKey);
        };
        let Some(life) = Life::until(leaf.not_after, leaf.validity, now) else {
            return Response::Refused(Refusal::Expired);
        };
        let scope = key.scope.clone();
        key.state = State::Certified {
            chain: chain.clone(),
            life,
        };
        self.answer_all(&scope, &Response::Found { key: id, chain });
        Response::Done
    }

    /// The login of a led key failed: all who wait for it are told why.
    pub fn fail(&mut self, connection: ConnectionId, id: KeyId, reason: &str) -> Response {
        let place = self
            .keys
            .iter()
            .position(|key| key.id == id && key.led_by(connection));
        let Some(place) = place else {
            return Response::Refused(Refusal::UnknownKey);
        };
        let scope = self.keys.remove(place).scope;
        scrub_stack();
        self.answer_all(&scope, &Response::Failed(reason.to_owned()));
        Response::Done
    }

    /// For whom this key would sign at this connection's request.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`], [`Refusal::Expired`].
    pub fn may_sign(
        &mut self,
        connection: ConnectionId,
        id: &KeyId,
        now: Now,
    ) -> Result<&Scope, Refusal> {
        self.usable(connection, id, now).map(|key| &key.scope)
    }

    /// An ECDSA signature in DER over a digest.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`], [`Refusal::Expired`], [`Refusal::Internal`].
    pub fn sign(
        &mut self,
        connection: ConnectionId,
        id: &KeyId,
        digest: &[u8; 32],
        now: Now,
    ) -> Result<Vec<u8>, Refusal> {
        let key = self.usable(connection, id, now)?;
        let signature = key.private.sign(digest).ok_or(Refusal::Internal)?;
        key.signatures = key.signatures.saturating_add(1);
        Ok(signature)
    }

    /// Keeps a token instead of the one that was held, which is forgotten even if
    /// this one has ended already. A refresh token that does
    /// not say when it ends (0) is kept as long as anything is.
    pub fn keep_token(
        &mut self,
        scope: &Scope,
        kind: TokenKind,
        token: Secret,
        expires: u64,
        now: Now,
    ) -> Response {
        self.expire(now);
        self.tokens
            .retain(|held| held.kind != kind || held.scope != *scope);
        let expires = match (kind, expires) {
            (TokenKind::Refresh, 0) => now.wall.saturating_add(MAX_LIFE.as_secs()),
            _ => expires,
        };
        let Some(life) = Life::until(expires, MAX_LIFE, now) else {
            return Response::Refused(Refusal::Expired);
        };
        if !self.has_room_for(scope) {
            return Response::Refused(Refusal::Full);
        }
        self.tokens.push(Token {
            scope: scope.clone(),
            kind,
            token: token.0,
            life,
        });
        Response::Done
    }

    /// A token that still lives.
    pub fn token(&mut self, scope: &Scope, kind: TokenKind, now: Now) -> Option<&str> {
        self.expire(now);
        self.tokens
            .iter()
            .find(|held| held.kind == kind && held.scope == *scope)
            .map(|held| held.token.as_str())
    }

    /// Forgets a scope's keys and tokens, and says how many. Who waits for it is
    /// told that the login was given up.
    pub fn forget(&mut self, scope: &Scope) -> u32 {
        let before = self.keys.len().saturating_add(self.tokens.len());
        self.keys.retain(|key| key.scope != *scope);
        self.tokens.retain(|token| token.scope != *scope);
        scrub_stack();
        self.answer_all(scope, &Response::Failed(FORGOTTEN.into()));
        let after = self.keys.len().saturating_add(self.tokens.len());
        u32::try_from(before.saturating_sub(after)).unwrap_or(u32::MAX)
    }

    /// Forgets everything, and says how many keys and tokens that was.
    pub fn clear(&mut self) -> u32 {
        let count = self.keys.len().saturating_add(self.tokens.len());
        self.keys = Vec::new();
        self.tokens = Vec::new();
        scrub_stack();
        for waiter in self.waiting.drain(..) {
            self.answers
                .push((waiter.asker.id, Response::Failed(FORGOTTEN.into())));
        }
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The connection has ended: it waits for nothing, and if it led, the next
    /// one that waits does.
    pub fn gone(&mut self, connection: ConnectionId, now: Now) {
        self.waiting.retain(|waiter| waiter.asker.id != connection);
        let led: Vec<Scope> = self
            .keys
            .iter()
            .filter(|key| key.led_by(connection))
            .map(|key| key.scope.clone())
            .collect();
        if led.is_empty() {
            return;
        }
        self.keys.retain(|key| !key.led_by(connection));
        scrub_stack();
        for scope in led {
            self.next_leads(&scope, now);
        }
    }

    /// What is held, scope by scope.
    pub fn status(&mut self, now: Now) -> Vec<Entry> {
        self.expire(now);
        let mut entries: Vec<Entry> = Vec::new();
        for key in &self.keys {
            let Some(entry) = entry_of(&mut entries, &key.scope) else {
                continue;
            };
            entry.signatures = entry.signatures.saturating_add(key.signatures);
            if let State::Certified { life, .. } = &key.state {
                entry.not_after = entry.not_after.max(life.last_second());
            }
        }
        for token in &self.tokens {
            let Some(entry) = entry_of(&mut entries, &token.scope) else {
                continue;
            };
            match token.kind {
                TokenKind::Identity => entry.identity_token = token.life.last_second(),
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
    ) -> Result<&mut Key, Refusal> {
        self.expire(now);
        let refusal = if self.expired.contains(id) {
            Refusal::Expired
        } else {
            Refusal::UnknownKey
        };
        self.keys
            .iter_mut()
            .find(|key| key.id == *id && (!key.led() || key.led_by(connection)))
            .ok_or(refusal)
    }

    /// A new key for one who logs in; a refusal if that cannot be.
    fn lead(&mut self, asker: Asker, scope: &Scope, now: Now) -> Response {
        if !asker.local {
            return Response::Refused(Refusal::FarAway);
        }
        if self.keys.len() >= MAX_KEYS || !self.has_room_for(scope) {
            return Response::Refused(Refusal::Full);
        }
        let mut id: KeyId = [0; 16];
        let made = (self.entropy)(&mut id)
            .then(|| PrivateKey::make(&self.entropy))
            .flatten()
            .and_then(|private| Some((private.public()?, private)));
        let Some((public, private)) = made else {
            return Response::Refused(Refusal::Internal);
        };
        self.keys.push(Key {
            id,
            scope: scope.clone(),
            private,
            public: public.clone(),
            state: State::Led {
                leader: asker.id,
                since: now,
            },
            signatures: 0,
        });
        Response::Lead { key: id, public }
    }

    /// The one who has waited longest and may, leads now. Those before it who
    /// are far away cannot: they are told.
    fn next_leads(&mut self, scope: &Scope, now: Now) {
        while let Some(place) = self.waiting.iter().position(|w| w.scope == *scope) {
            let asker = self.waiting.remove(place).asker;
            let answer = self.lead(asker, scope, now);
            let leads = matches!(answer, Response::Lead { .. });
            self.answers.push((asker.id, answer));
            if leads {
                return;
            }
        }
    }

    fn answer_all(&mut self, scope: &Scope, answer: &Response) {
        let answers = &mut self.answers;
        self.waiting.retain(|waiter| {
            let theirs = waiter.scope == *scope;
            if theirs {
                answers.push((waiter.asker.id, answer.clone()));
            }
            !theirs
        });
    }

    fn has_room_for(&mut self, scope: &Scope) -> bool {
        let mut scopes: Vec<&Scope> = vec![scope];
        let held = self
            .keys
            .iter()
            .map(|key| &key.scope)
            .chain(self.tokens.iter().map(|token| &token.scope));
        for other in held {
            if !scopes.contains(&other) {
                scopes.push(other);
            }
        }
        scopes.len() <= MAX_ENTRIES
    }
}

/// What those who wait are told when somebody clears the cache.
const FORGOTTEN: &str = "the credential cache was told to forget this login";

impl Key {
    fn led(&self) -> bool {
        matches!(self.state, State::Led { .. })
    }

    fn led_by(&self, connection: ConnectionId) -> bool {
        matches!(self.state, State::Led { leader, .. } if leader == connection)
    }
}

fn elapsed(since: Now, now: Now) -> Duration {
    now.since_boot.saturating_sub(since.since_boot)
}

/// The entry of a scope, made if there is room.
fn entry_of<'a>(entries: &'a mut Vec<Entry>, scope: &Scope) -> Option<&'a mut Entry> {
    let place = match entries.iter().position(|entry| entry.scope == *scope) {
        Some(place) => place,
        None if entries.len() < MAX_ENTRIES => {
            entries.push(Entry {
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
#[path = "store_tests.rs"]
mod tests;
