//! Verdicts that wait for the log: signatures that do not carry their entry are
//! held back, with what comes after them, until there are enough to ask the log
//! for in tens.
//!
//! Nothing of what is found is evidence: it goes through the same nine steps as
//! an embedded entry, also when it comes from this machine's own store.

use std::{collections::VecDeque, ops::ControlFlow};

use crate::{
    batch::{Engine, Judged, Opinion},
    context::VerifyRequest,
    explain::Recorder,
    host::entry_store::EntryStore,
    lookup::Finder,
    verify::{Search, judge_once},
};
use gitseal_evidence::{
    entry::LogEntry,
    object::{self, HashKind},
    verify::{CrossCheckRefusal, Reason, SignatureInput},
};

/// The most verdicts that are held back, and the most bytes of objects.
const MAX_HELD: usize = 512;
const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;

/// What look-ups took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests to the log.
    pub requests: u64,
    /// Entries that the log gave.
    pub fetched: u64,
    /// Entries that this machine had kept, verified again.
    pub kept: u64,
}

/// Holds verdicts back.
pub struct Online<'a, 'e> {
    request: &'a VerifyRequest,
    engine: &'e Engine<'a>,
    hash: HashKind,
    finder: Option<Finder>,
    store: Option<EntryStore>,
    held: VecDeque<Judged>,
    held_bytes: usize,
    counts: Counts,
}

impl<'a, 'e> Online<'a, 'e> {
    /// One that asks the log of the settings, or, `offline`, nobody.
    pub fn new(
        request: &'a VerifyRequest,
        engine: &'e Engine<'a>,
        offline: bool,
        hash: HashKind,
    ) -> Self {
        Self {
            request,
            engine,
            hash,
            finder: (!offline).then(|| Finder::new(request.settings.rekor_lookup.value.url())),
            // What was verified once is at hand offline as well.
            store: EntryStore::open(),
            held: VecDeque::new(),
            held_bytes: 0,
            counts: Counts::default(),
        }
    }

    /// What was asked until now.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a verdict, and hands on those that are decided, in order.
    pub fn pass(
        &mut self,
        mut judged: Judged,
        tell: &mut dyn FnMut(Judged) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if is_open(&judged) {
            self.try_kept(&mut judged);
        }
        let waits = is_open(&judged) && self.finder.is_some();
        if self.held.is_empty() && !waits {
            return tell(judged);
        }
        self.held_bytes = self
            .held_bytes
            .saturating_add(judged.object.as_ref().map_or(0, |object| object.raw.len()));
        self.held.push_back(judged);
        if self.held.len() >= MAX_HELD || self.held_bytes >= MAX_HELD_BYTES {
            return self.finish(tell);
        }
        ControlFlow::Continue(())
    }

    /// Asks for all that is held back and hands it on.
    pub fn finish(&mut self, tell: &mut dyn FnMut(Judged) -> ControlFlow<()>) -> ControlFlow<()> {
        self.held_bytes = 0;
        let mut held: Vec<Judged> = std::mem::take(&mut self.held).into();
        self.ask(&mut held);
        for judged in held {
            if tell(judged).is_break() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn ask(&mut self, held: &mut [Judged]) {
        let Some(mut finder) = self.finder.take() else {
            return;
        };
        let mut open: Vec<&mut Judged> = held.iter_mut().filter(|judged| is_open(judged)).collect();
        if !open.is_empty() {
            let signed: Vec<_> = open
                .iter()
                .filter_map(|judged| judged.object.as_deref())
                .map(|object| object::split_signature(object.kind, self.hash, &object.raw).ok())
                .collect();
            let subjects: Vec<Option<SignatureInput<'_>>> = signed
                .iter()
                .map(|signed| {
                    signed.as_ref().map(|signed| SignatureInput {
                        payload: Some(&signed.payload),
                        signature: &signed.signature,
                        hash: self.hash,
                    })
                })
                .collect();
            let answers = finder.find_all(&subjects);
            for ((judged, subject), answer) in open.iter_mut().zip(&subjects).zip(answers) {
                let Some(subject) = subject else { continue };
                match answer {
                    Ok(entries) => {
                        let verdict = judge_once(
                            subject,
                            &self.request.trust.root,
                            &self.request.expected,
                            Search::Found(&entries),
                            self.engine.memo(),
                            &mut Recorder::deaf(),
                        );
                        judged.opinion = Opinion::from(verdict);
                        self.engine.look(judged);
                        if let (Opinion::Good(_) | Opinion::NotWanted { .. }, [entry]) =
                            (&judged.opinion, entries.as_slice())
                        {
                            self.keep(judged, entry);
                        }
                    }
                    Err(error) => {
                        if let Opinion::Undecided { lookup, .. } = &mut judged.opinion {
                            *lookup = Some(error);
                        }
                    }
                }
            }
        }
        self.counts.requests = finder.requests();
        self.counts.fetched = finder.fetched();
        self.finder = Some(finder);
    }

    fn keep(&self, judged: &Judged, entry: &LogEntry) {
        if let (Some(store), Some(object)) = (&self.store, &judged.object) {
            store.keep(&object.raw, entry);
        }
    }

    /// Judges with the entry that this machine kept, if it kept one.
    fn try_kept(&mut self, judged: &mut Judged) {
        let (Some(store), Some(object)) = (&self.store, &judged.object) else {
            return;
        };
        let Some(entry) = store.entry(&object.raw) else {
            return;
        };
        let Ok(signed) = object::split_signature(object.kind, self.hash, &object.raw) else {
            return;
        };
        let subject = SignatureInput {
            payload: Some(&signed.payload),
            signature: &signed.signature,
            hash: self.hash,
        };
        let verdict = judge_once(
            &subject,
            &self.request.trust.root,
            &self.request.expected,
            Search::Found(std::slice::from_ref(&entry)),
            self.engine.memo(),
            &mut Recorder::deaf(),
        );
        let opinion = Opinion::from(verdict);
        // What does not verify is as good as nothing: the log is asked.
        if matches!(opinion, Opinion::Good(_) | Opinion::NotWanted { .. }) {
            self.counts.kept = self.counts.kept.saturating_add(1);
            judged.opinion = opinion;
            self.engine.look(judged);
        }
    }
}

/// Whether only a log entry is missing.
fn is_open(judged: &Judged) -> bool {
    judged.object.is_some()
        && matches!(
            &judged.opinion,
            Opinion::Undecided { refusal, lookup: None }
                if matches!(refusal.reason, Reason::CrossCheck(CrossCheckRefusal::NoEntry))
        )
}
