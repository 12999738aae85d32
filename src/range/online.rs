//! Verdicts that wait for the log: signatures without an embedded log entry are
//! queued, with the results that follow them, until there are enough for a batch
//! of lookups.
//!
//! No entry that is found is trusted: it goes through the same nine steps as an
//! embedded entry, also when it is from the local cache.

use std::{collections::VecDeque, ops::ControlFlow};

use crate::{
    batch::{BatchVerifier, ObjectResult},
    context::http_client,
    host::entry_cache::EntryCache,
    lookup::EntrySearcher,
    verdict::{EntryLookup, Verdict, VerifyRequest, split_object},
};
use gitseal_evidence::{
    entry::LogEntry,
    object::{HashKind, SignedObject},
    verify::SignatureInput,
};

/// The maximum number of queued verdicts.
const MAX_QUEUED: usize = 512;
/// The maximum size of all queued objects.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// Queues verdicts until their log entries are found.
pub struct DeferredLookups<'a, 'e> {
    verifier: &'e BatchVerifier<'a>,
    hash: HashKind,
    searcher: Option<EntrySearcher>,
    cache: Option<EntryCache>,
    queue: VecDeque<ObjectResult>,
    queued_bytes: usize,
}

impl<'a, 'e> DeferredLookups<'a, 'e> {
    /// Creates a queue that searches the log of the request, if there is one.
    pub fn new(request: &VerifyRequest, verifier: &'e BatchVerifier<'a>, hash: HashKind) -> Self {
        Self {
            verifier,
            hash,
            searcher: request
                .log()
                .map(|rekor| EntrySearcher::new(http_client(), rekor)),
            // An entry that was verified once is available offline as well.
            cache: EntryCache::open(),
            queue: VecDeque::new(),
            queued_bytes: 0,
        }
    }

    /// Queues a verdict and emits all decided verdicts in input order.
    pub fn push(
        &mut self,
        mut result: ObjectResult,
        emit: &mut dyn FnMut(ObjectResult) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if lacks_entry(&result) {
            self.try_cached(&mut result);
        }
        let waits = lacks_entry(&result) && self.searcher.is_some();
        if self.queue.is_empty() && !waits {
            return emit(result);
        }
        let size = result.object.as_ref().map_or(0, |object| object.raw.len());
        self.queued_bytes = self.queued_bytes.saturating_add(size);
        self.queue.push_back(result);
        if self.queue.len() >= MAX_QUEUED || self.queued_bytes >= MAX_QUEUED_BYTES {
            return self.finish(emit);
        }
        ControlFlow::Continue(())
    }

    /// Searches for the entries of all queued verdicts and emits them.
    pub fn finish(
        &mut self,
        emit: &mut dyn FnMut(ObjectResult) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.queued_bytes = 0;
        let mut queue = std::mem::take(&mut self.queue);
        self.look_up(&mut queue);
        queue.into_iter().try_for_each(emit)
    }

    fn look_up(&mut self, queue: &mut VecDeque<ObjectResult>) {
        let Some(searcher) = &mut self.searcher else {
            return;
        };
        let (mut open, signed): (Vec<&mut ObjectResult>, Vec<SignedObject>) = queue
            .iter_mut()
            .filter(|result| lacks_entry(result))
            .filter_map(|result| {
                let signed = split_object(result.object.as_deref()?, self.hash).ok()?;
                Some((result, signed))
            })
            .unzip();
        if open.is_empty() {
            return;
        }
        let inputs: Vec<_> = signed
            .iter()
            .map(|signed| input(signed, self.hash))
            .collect();
        let found = self.verifier.find_entries(searcher, &inputs);
        for ((result, input), found) in open.iter_mut().zip(&inputs).zip(found) {
            match found {
                Ok(entries) => {
                    result.verdict = self.verify(result, input, &entries);
                    if result.verdict.verified().is_some()
                        && let (Some(cache), [entry]) = (&self.cache, entries.as_slice())
                    {
                        cache.insert(input.signature, entry);
                    }
                }
                Err(error) => {
                    if let Verdict::Undecided { lookup, .. } = &mut result.verdict {
                        *lookup = Some(error);
                    }
                }
            }
        }
    }

    /// Verifies with the cached entry, if there is one.
    fn try_cached(&mut self, result: &mut ObjectResult) {
        if let (Some(cache), Some(object)) = (&self.cache, &result.object)
            && let Ok(signed) = split_object(object, self.hash)
            && let Some(entry) = cache.entry(&signed.signature)
        {
            let verdict = self.verify(result, &input(&signed, self.hash), &[entry]);
            // A cached entry that does not verify is ignored: the log is queried.
            if verdict.verified().is_some() {
                result.verdict = verdict;
            }
        }
    }

    fn verify(
        &self,
        result: &mut ObjectResult,
        input: &SignatureInput<'_>,
        entries: &[LogEntry],
    ) -> Verdict {
        let verdict = self.verifier.verify(input, EntryLookup::Provided(entries));
        result.checkpoint = self.verifier.checkpoint(&verdict, input);
        verdict
    }
}

fn input(signed: &SignedObject, hash: HashKind) -> SignatureInput<'_> {
    SignatureInput {
        payload: Some(&signed.payload),
        signature: &signed.signature,
        hash,
    }
}

/// Returns whether only a log entry is missing.
fn lacks_entry(result: &ObjectResult) -> bool {
    result.object.is_some() && result.verdict.lacks_entry()
}
