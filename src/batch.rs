//! Verifies many objects on all cores and returns the results in input order.
//!
//! ```text
//! items ─ feeder ─ bounded queue ─┬ worker ┬─ reordered ─ the caller
//!                                 └ worker ┘
//! ```
//!
//! The feeder waits while the caller is behind, so memory is bounded by the number
//! of workers and not by the length of the range. All workers share one trusted
//! root and one [`Memo`].

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use crate::host::git::{
    GitError, Object, ObjectId, Repository,
    objects::{Objects, UncheckedObject},
    walk::{MissingCommit, WalkedCommit},
};
use crate::{
    lookup::{EntrySearcher, LookupError},
    recorder::StepRecorder,
    verdict::{EntryLookup, Verdict, VerifyRequest, split_object, verify_signature},
};
use gitseal_evidence::{
    checkpoint::Checkpoint,
    entry::LogEntry,
    memo::Memo,
    object::{self, HashKind, ObjectKind, ParsedCommit, ParsedTag},
    refusal::Step,
    verify::{self, SignatureInput, Verified},
};

/// The maximum number of objects in one parcel for a worker.
const PARCEL: usize = 32;
/// The maximum size of one parcel in bytes. A larger object is sent as its ID alone.
const PARCEL_BYTES: usize = 256 * 1024;
/// The number of queued parcels per worker.
const PARCELS_PER_WORKER: usize = 4;
/// The maximum number of workers.
pub const MAX_JOBS: usize = 256;

/// Verifies many objects as one request asks.
#[derive(Debug)]
pub struct BatchVerifier<'a> {
    request: &'a VerifyRequest,
    memo: Memo,
    headers: bool,
    tag_headers: bool,
    checkpoints: bool,
}

impl<'a> BatchVerifier<'a> {
    /// Creates a verifier that remembers results from one signature to the next.
    #[must_use]
    pub fn new(request: &'a VerifyRequest) -> Self {
        Self {
            request,
            memo: Memo::with_capacity(gitseal_evidence::memo::CAPACITY),
            headers: false,
            tag_headers: false,
            checkpoints: false,
        }
    }

    /// Returns author, committer, parents and message with each verdict.
    #[must_use]
    pub fn with_headers(self) -> Self {
        Self {
            headers: true,
            ..self
        }
    }

    /// Returns the headers of tags with their verdicts.
    #[must_use]
    pub fn with_tag_headers(self) -> Self {
        Self {
            tag_headers: true,
            ..self
        }
    }

    /// Returns the checkpoints of the signatures with each verdict.
    #[must_use]
    pub fn with_checkpoints(self) -> Self {
        Self {
            checkpoints: true,
            ..self
        }
    }

    /// Disables the memo, so every signature is computed.
    #[must_use]
    pub fn without_memo(self) -> Self {
        Self {
            memo: Memo::with_capacity(0),
            ..self
        }
    }

    /// Returns the results that signatures share.
    #[must_use]
    pub fn memo(&self) -> &Memo {
        &self.memo
    }

    /// Verifies one object without querying a server.
    #[must_use]
    pub fn verify_object(&self, object: Object, hash: HashKind) -> ObjectResult {
        let (id, kind) = (object.id, object.kind);
        let signed = match split_object(&object, hash) {
            Ok(signed) => signed,
            Err(verdict) => {
                return ObjectResult {
                    id,
                    kind,
                    headers: self.headers(kind, &object.raw),
                    verdict: *verdict,
                    checkpoint: None,
                    unverified_header: None,
                    object: None,
                };
            }
        };
        let input = SignatureInput {
            payload: Some(&signed.payload),
            signature: &signed.signature,
            hash,
        };
        let verdict = self.verify(&input, EntryLookup::Disabled);
        ObjectResult {
            id,
            kind,
            headers: self.headers(kind, &signed.payload),
            checkpoint: self.checkpoint(&verdict, &input),
            unverified_header: signed.unverified_header,
            object: matches!(verdict, Verdict::Undecided { .. }).then(|| Box::new(object)),
            verdict,
        }
    }

    /// Verifies a signature over any content.
    #[must_use]
    pub fn verify(&self, input: &SignatureInput<'_>, lookup: EntryLookup<'_>) -> Verdict {
        let recorder = &mut StepRecorder::disabled();
        verify_signature(input, self.request, &self.memo, lookup, recorder)
    }

    /// Searches for the log entries of signatures.
    #[must_use]
    pub fn find_entries(
        &self,
        searcher: &mut EntrySearcher,
        inputs: &[SignatureInput<'_>],
    ) -> Vec<Result<Vec<LogEntry>, LookupError>> {
        searcher.find_all(inputs, self.request.trusted_root(), &self.memo)
    }

    fn headers(&self, kind: ObjectKind, payload: &[u8]) -> Option<ObjectHeaders> {
        if !(self.headers || self.tag_headers && kind == ObjectKind::Tag) {
            return None;
        }
        match kind {
            ObjectKind::Commit => object::commit_view(payload)
                .ok()
                .map(|view| ObjectHeaders::Commit(Box::new(view))),
            ObjectKind::Tag => object::tag_view(payload)
                .ok()
                .map(|view| ObjectHeaders::Tag(Box::new(view))),
        }
    }

    /// Returns the checkpoint that the signature contains, if a trusted log signed it
    /// and it was requested.
    pub(super) fn checkpoint(
        &self,
        verdict: &Verdict,
        input: &SignatureInput<'_>,
    ) -> Option<ObservedCheckpoint> {
        let (log_id, checkpoint, first_index) = match verdict {
            _ if !self.checkpoints => None,
            Verdict::Verified(verified) | Verdict::UnexpectedIdentity { verified, .. } => {
                let (log_id, checkpoint) = (&verified.log_id, &verified.checkpoint);
                Some((log_id.clone(), checkpoint.clone(), first_index(verified)))
            }
            // A refused signature can still contain what its log signed.
            Verdict::Refused(refusal) if refusal.step() > Step::Read => {
                verify::embedded_checkpoint(input, self.request.trusted_root(), &self.memo)
                    .map(|(log_id, checkpoint)| (log_id, checkpoint, None))
            }
            _ => None,
        }?;
        Some(ObservedCheckpoint {
            log_id,
            checkpoint,
            first_index,
        })
    }
}

/// The result for one object.
#[derive(Debug)]
pub struct ObjectResult {
    pub id: ObjectId,
    pub kind: ObjectKind,
    /// The headers, if requested and readable.
    pub headers: Option<ObjectHeaders>,
    pub verdict: Verdict,
    /// The checkpoint of the signature, if requested.
    pub checkpoint: Option<ObservedCheckpoint>,
    /// The header with a signature over the object's other form, which is not verified.
    pub unverified_header: Option<&'static str>,
    /// The object, if more evidence can still decide.
    pub object: Option<Box<Object>>,
}

/// The headers of an object: unverified but for its signature.
#[derive(Debug, Clone)]
pub enum ObjectHeaders {
    Commit(Box<ParsedCommit>),
    Tag(Box<ParsedTag>),
}

/// A checkpoint that a trusted log signed.
#[derive(Debug, Clone)]
pub struct ObservedCheckpoint {
    /// The ID of the log's key.
    pub log_id: Vec<u8>,
    pub checkpoint: Checkpoint,
    /// The index over all trees of the log that the first entry of this tree has, by the
    /// SET and the proof of an entry (Rekor v1).
    pub first_index: Option<u64>,
}

/// The index over all trees of the log at which the tree of a verified entry starts.
fn first_index(verified: &Verified) -> Option<u64> {
    let proof = verified.entry.proof.as_ref()?;
    let in_tree = u64::try_from(proof.log_index).ok()?;
    verified.log_index?.checked_sub(in_tree)
}

/// An object to verify.
#[derive(Debug)]
pub enum Item {
    /// An object that is not read yet.
    Id(ObjectId),
    /// An object that is not hashed yet.
    Bytes(UncheckedObject),
    /// A commit that is not readable.
    Failed(Box<MissingCommit>),
}

impl From<ObjectId> for Item {
    fn from(id: ObjectId) -> Self {
        Self::Id(id)
    }
}

impl From<Result<WalkedCommit, Box<MissingCommit>>> for Item {
    fn from(step: Result<WalkedCommit, Box<MissingCommit>>) -> Self {
        match step {
            Ok(WalkedCommit {
                bytes: Some(bytes), ..
            }) => Self::Bytes(bytes),
            Ok(WalkedCommit { id, bytes: None }) => Self::Id(id),
            Err(failed) => Self::Failed(failed),
        }
    }
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.size(),
            Self::Id(_) | Self::Failed(_) => 0,
        }
    }

    /// Drops the bytes of a large object: the worker reads it again.
    fn without_large_bytes(self) -> Self {
        match self {
            Self::Bytes(bytes) if bytes.size() > PARCEL_BYTES => Self::Id(bytes.id()),
            other => other,
        }
    }

    fn verify(self, objects: &Objects, verifier: &BatchVerifier<'_>) -> ObjectResult {
        let (id, read) = match self {
            Self::Id(id) => (id, objects.read(id)),
            Self::Bytes(bytes) => (bytes.id(), bytes.verify_hash()),
            Self::Failed(failed) => {
                let boundary = failed.boundary.map(|id| id.to_string());
                return unreadable(failed.id, failed.error, boundary);
            }
        };
        match read {
            Ok(object) => verifier.verify_object(object, objects.hash()),
            Err(error) => unreadable(id, error, None),
        }
    }
}

fn unreadable(id: ObjectId, error: GitError, boundary: Option<String>) -> ObjectResult {
    ObjectResult {
        id,
        kind: ObjectKind::Commit,
        headers: None,
        verdict: Verdict::Unreadable { error, boundary },
        checkpoint: None,
        unverified_header: None,
        object: None,
    }
}

/// Returns the default number of workers: one for each core that this process may
/// use.
#[must_use]
pub fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Verifies all `items` with `jobs` workers and passes the results to `each` in input
/// order, until it breaks.
pub fn verify_all<I>(
    items: I,
    repository: &Repository,
    verifier: &BatchVerifier<'_>,
    jobs: usize,
    each: &mut dyn FnMut(ObjectResult) -> ControlFlow<()>,
) where
    I: IntoIterator,
    I::IntoIter: Send,
    I::Item: Into<Item>,
{
    let items = items
        .into_iter()
        .map(|item| item.into().without_large_bytes());
    let jobs = jobs.clamp(1, MAX_JOBS);
    if jobs == 1 {
        let objects = repository.objects();
        for item in items {
            if each(item.verify(objects, verifier)).is_break() {
                return;
            }
        }
        return;
    }
    let max_parcels = jobs.saturating_mul(PARCELS_PER_WORKER);
    let stop = AtomicBool::new(false);
    // One permit per queued parcel.
    let (permit, permits) = sync_channel::<()>(max_parcels);
    for _ in 0..max_parcels {
        let _ = permit.send(());
    }
    let (parcels, queue) = sync_channel::<(u64, Vec<Item>)>(max_parcels);
    let queue = Mutex::new(queue);
    let (results, done) = sync_channel::<(u64, Vec<ObjectResult>)>(max_parcels);
    let workers: Vec<Objects> = (0..jobs).map(|_| repository.objects().clone()).collect();
    thread::scope(|scope| {
        let (queue, stop) = (&queue, &stop);
        scope.spawn(move || feed(items, &parcels, &permits, stop));
        for objects in workers {
            let results = results.clone();
            scope.spawn(move || work(queue, &results, &objects, verifier, stop));
        }
        drop(results);
        let mut early: BTreeMap<u64, Vec<ObjectResult>> = BTreeMap::new();
        let mut next = 0_u64;
        for (number, parcel) in done {
            early.insert(number, parcel);
            while let Some(parcel) = early.remove(&next) {
                next = next.saturating_add(1);
                for result in parcel {
                    if !stop.load(Ordering::Relaxed) && each(result).is_break() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                let _ = permit.send(());
            }
        }
    });
}

fn feed(
    items: impl Iterator<Item = Item>,
    parcels: &SyncSender<(u64, Vec<Item>)>,
    permits: &Receiver<()>,
    stop: &AtomicBool,
) {
    let mut number = 0_u64;
    let mut send = |parcel: Vec<Item>| -> bool {
        let sent = permits.recv().is_ok() && parcels.send((number, parcel)).is_ok();
        number = number.saturating_add(1);
        sent && !stop.load(Ordering::Relaxed)
    };
    let mut parcel = Vec::with_capacity(PARCEL);
    let mut bytes = 0_usize;
    for item in items {
        bytes = bytes.saturating_add(item.size());
        parcel.push(item);
        if parcel.len() >= PARCEL || bytes >= PARCEL_BYTES {
            bytes = 0;
            if !send(std::mem::replace(&mut parcel, Vec::with_capacity(PARCEL))) {
                return;
            }
        }
    }
    if !parcel.is_empty() {
        send(parcel);
    }
}

fn work(
    queue: &Mutex<Receiver<(u64, Vec<Item>)>>,
    results: &SyncSender<(u64, Vec<ObjectResult>)>,
    objects: &Objects,
    verifier: &BatchVerifier<'_>,
    stop: &AtomicBool,
) {
    loop {
        // The lock is held while waiting: the others wait for the same thing.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, parcel)) = next else {
            return;
        };
        let parcel = if stop.load(Ordering::Relaxed) {
            Vec::new()
        } else {
            parcel
                .into_iter()
                .map(|item| item.verify(objects, verifier))
                .collect()
        };
        if results.send((number, parcel)).is_err() {
            return;
        }
    }
}
