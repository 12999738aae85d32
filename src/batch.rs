//! Many objects at once: read, hashed and judged on all cores, handed on in the
//! order in which they were asked for.
//!
//! ```text
//! items ─ feeder ─ bounded queue ─┬ worker ┬─ reordered ─ the caller
//!                                 └ worker ┘
//! ```
//!
//! The feeder holds back while the caller is behind, so what is in memory is
//! bounded by the number of workers and not by the length of the range. All
//! workers share one trusted root and one [`Memo`].

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
    explain::Recorder,
    lookup::LookupError,
    verify::{Search, Verdict, judge_once},
};
use gitseal_evidence::{
    armor::ArmorRefusal,
    checkpoint::Checkpoint,
    identity::ExpectedIdentity,
    memo::Memo,
    object::{self, HashKind, ObjectKind, ObjectRefusal, ParsedCommit, ParsedTag},
    refusal::Step,
    trusted_root::TrustedRoot,
    verify::{self, Reason, Refusal, SignatureInput, Verified},
};

/// The most objects of one parcel for a worker.
const PARCEL: usize = 32;
/// The most bytes of one parcel. A larger object travels as its id alone.
const PARCEL_BYTES: usize = 256 * 1024;
/// Parcels under way for each worker.
const PARCELS_PER_WORKER: usize = 4;
/// The most workers.
pub const MAX_JOBS: usize = 256;

/// What a run has in common.
#[derive(Debug)]
pub struct Engine<'a> {
    trust: &'a TrustedRoot,
    wanted: &'a ExpectedIdentity,
    memo: Memo,
    facts: bool,
    tag_facts: bool,
    checkpoints: bool,
}

impl<'a> Engine<'a> {
    /// One that believes `trust` and asks for `wanted`.
    #[must_use]
    pub fn new(trust: &'a TrustedRoot, wanted: &'a ExpectedIdentity) -> Self {
        Self {
            trust,
            wanted,
            memo: Memo::with_capacity(gitseal_evidence::memo::CAPACITY),
            facts: false,
            tag_facts: false,
            checkpoints: false,
        }
    }

    /// Author, committer, parents and message come with each verdict.
    #[must_use]
    pub fn with_facts(self) -> Self {
        Self {
            facts: true,
            ..self
        }
    }

    /// What tags say of themselves comes with each verdict on one.
    #[must_use]
    pub fn with_tag_facts(self) -> Self {
        Self {
            tag_facts: true,
            ..self
        }
    }

    /// The checkpoints that signatures carry come with each verdict.
    #[must_use]
    pub fn with_checkpoints(self) -> Self {
        Self {
            checkpoints: true,
            ..self
        }
    }

    /// Nothing is remembered from one signature to the next.
    #[must_use]
    pub fn without_memory(self) -> Self {
        Self {
            memo: Memo::with_capacity(0),
            ..self
        }
    }

    /// What was remembered.
    #[must_use]
    pub fn memo(&self) -> &Memo {
        &self.memo
    }

    /// Judges one object. No server is asked.
    #[must_use]
    pub fn judge(&self, object: Object, hash: HashKind) -> Judged {
        let id = object.id.clone();
        let kind = object.kind;
        let signed = match object::split_signature(kind, hash, &object.raw) {
            Ok(signed) => signed,
            Err(refusal) => {
                return Judged {
                    id,
                    kind,
                    facts: self.facts(kind, &object.raw),
                    opinion: match refusal {
                        ObjectRefusal::Unsigned { .. } => Opinion::Unsigned,
                        refusal => Opinion::Refused(Refusal {
                            step: Step::Read,
                            reason: Reason::Object(refusal),
                        }),
                    },
                    seen: None,
                    object: None,
                };
            }
        };
        let subject = SignatureInput {
            payload: Some(&signed.payload),
            signature: &signed.signature,
            hash,
        };
        let opinion = self.opinion(&subject);
        let seen = self.checkpoints.then(|| self.seen(&opinion, &subject));
        Judged {
            id,
            kind,
            facts: self.facts(kind, &signed.payload),
            seen: seen.flatten(),
            object: matches!(opinion, Opinion::Undecided { .. }).then(|| Box::new(object)),
            opinion,
        }
    }

    /// Judges a signature of anything. No server is asked.
    #[must_use]
    pub fn opinion(&self, subject: &SignatureInput<'_>) -> Opinion {
        Opinion::from(judge_once(
            subject,
            self.trust,
            self.wanted,
            Search::No,
            &self.memo,
            &mut Recorder::deaf(),
        ))
    }

    /// Takes the checkpoint of a signature whose entry was found later.
    pub(super) fn look(&self, judged: &mut Judged) {
        if self.checkpoints {
            judged.seen = Seen::of(&judged.opinion);
        }
    }

    fn facts(&self, kind: ObjectKind, payload: &[u8]) -> Option<Facts> {
        if !(self.facts || self.tag_facts && kind == ObjectKind::Tag) {
            return None;
        }
        match kind {
            ObjectKind::Commit => object::commit_view(payload)
                .ok()
                .map(|view| Facts::Commit(Box::new(view))),
            ObjectKind::Tag => object::tag_view(payload)
                .ok()
                .map(|view| Facts::Tag(Box::new(view))),
        }
    }

    /// The log's statement in this signature, if the log signed it.
    fn seen(&self, opinion: &Opinion, subject: &SignatureInput<'_>) -> Option<Seen> {
        match opinion {
            Opinion::Good(_) | Opinion::NotWanted { .. } => Seen::of(opinion),
            // A signature that is refused can still carry what its log signed.
            Opinion::Refused(refusal) if refusal.step > Step::Read => {
                verify::embedded_checkpoint(subject, self.trust, &self.memo)
                    .map(|(log_id, checkpoint)| Seen { log_id, checkpoint })
            }
            _ => None,
        }
    }
}

/// One object and what is thought of it.
#[derive(Debug)]
pub struct Judged {
    /// Hex.
    pub id: String,
    /// Commit or tag.
    pub kind: ObjectKind,
    /// What it says of itself, if that was asked for and can be read.
    pub facts: Option<Facts>,
    /// The verdict.
    pub opinion: Opinion,
    /// The checkpoint that it carries, if that was asked for.
    pub seen: Option<Seen>,
    /// The object, where more evidence could still decide.
    pub object: Option<Box<Object>>,
}

/// What an object says of itself; nobody vouches for it but its signer.
#[derive(Debug, Clone)]
pub enum Facts {
    /// A commit.
    Commit(Box<ParsedCommit>),
    /// A tag.
    Tag(Box<ParsedTag>),
}

/// A checkpoint that a trusted log signed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which log: the id of its key.
    pub log_id: Vec<u8>,
    /// What it said its tree is.
    pub checkpoint: Checkpoint,
}

impl Seen {
    fn of(opinion: &Opinion) -> Option<Self> {
        match opinion {
            Opinion::Good(verified) | Opinion::NotWanted { verified, .. } => Some(Self {
                log_id: verified.log_id.clone(),
                checkpoint: verified.checkpoint.clone(),
            }),
            _ => None,
        }
    }
}

/// A verdict on one of many objects.
#[derive(Debug)]
pub enum Opinion {
    /// Good, and of somebody who was asked for if anybody was.
    Good(Box<Verified>),
    /// Good, but of somebody else.
    NotWanted {
        /// The signature.
        verified: Box<Verified>,
        /// What was asked for, and what was found.
        refusal: Refusal,
    },
    /// Not good.
    Refused(Refusal),
    /// Evidence is missing.
    Undecided {
        /// Which.
        refusal: Refusal,
        /// Why it could not be had, if it was looked for in vain.
        lookup: Option<LookupError>,
    },
    /// Signed by nobody.
    Unsigned,
    /// Signed in another way, which is not verified here.
    Other(OtherKind),
    /// Not to be read at all.
    Unreadable {
        /// Why.
        error: GitError,
        /// The commit of a shallow boundary whose parent it is, in hex.
        boundary: Option<String>,
    },
}

/// Signatures that others verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OtherKind {
    /// `gpg.format openpgp`.
    OpenPgp,
    /// `gpg.format ssh`.
    Ssh,
}

impl OtherKind {
    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenPgp => "OpenPGP",
            Self::Ssh => "SSH",
        }
    }

    fn of(refusal: &Refusal) -> Option<Self> {
        let Reason::Armor(ArmorRefusal::Label { found }) = &refusal.reason else {
            return None;
        };
        match found.as_str() {
            "PGP SIGNATURE" | "PGP MESSAGE" => Some(Self::OpenPgp),
            "SSH SIGNATURE" => Some(Self::Ssh),
            _ => None,
        }
    }
}

impl From<Verdict> for Opinion {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good(verified) => Self::Good(verified),
            Verdict::NotWanted { verified, refusal } => Self::NotWanted { verified, refusal },
            Verdict::Refused(refusal) => match OtherKind::of(&refusal) {
                Some(kind) => Self::Other(kind),
                None => Self::Refused(refusal),
            },
            Verdict::Undecided { refusal, lookup } => Self::Undecided { refusal, lookup },
        }
    }
}

/// What is to be judged.
#[derive(Debug)]
pub enum Item {
    /// An object, still to be read.
    Id(ObjectId),
    /// An object, still to be hashed.
    Bytes(UncheckedObject),
    /// A commit that could not be read.
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

    /// A large object is read again by the worker that judges it.
    fn travelling(self) -> Self {
        match self {
            Self::Bytes(bytes) if bytes.size() > PARCEL_BYTES => Self::Id(bytes.id()),
            other => other,
        }
    }

    fn judged(self, objects: &Objects, engine: &Engine<'_>) -> Judged {
        let (id, read) = match self {
            Self::Id(id) => (id, objects.read(id)),
            Self::Bytes(bytes) => (bytes.id(), bytes.verify_hash()),
            Self::Failed(failed) => {
                let boundary = failed.boundary.map(|id| id.to_string());
                return unreadable(failed.id, failed.error, boundary);
            }
        };
        match read {
            Ok(object) => engine.judge(object, objects.hash()),
            Err(error) => unreadable(id, error, None),
        }
    }
}

fn unreadable(id: ObjectId, error: GitError, boundary: Option<String>) -> Judged {
    Judged {
        id: id.to_string(),
        kind: ObjectKind::Commit,
        facts: None,
        opinion: Opinion::Unreadable { error, boundary },
        seen: None,
        object: None,
    }
}

/// How many workers there are if nobody says: one for each core that this process
/// may use.
#[must_use]
pub fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Judges all `items` with `jobs` workers and gives each to `each`, in their order,
/// until it breaks off.
pub fn verify_all<I>(
    items: I,
    repository: &Repository,
    engine: &Engine<'_>,
    jobs: usize,
    each: &mut dyn FnMut(Judged) -> ControlFlow<()>,
) where
    I: IntoIterator,
    I::IntoIter: Send,
    I::Item: Into<Item>,
{
    let items = items.into_iter().map(|item| item.into().travelling());
    let jobs = jobs.clamp(1, MAX_JOBS);
    if jobs == 1 {
        let objects = repository.objects();
        for item in items {
            if each(item.judged(&objects, engine)).is_break() {
                return;
            }
        }
        return;
    }
    let under_way = jobs.saturating_mul(PARCELS_PER_WORKER);
    let stop = AtomicBool::new(false);
    // A permit for each parcel that may be under way.
    let (permit, permits) = sync_channel::<()>(under_way);
    for _ in 0..under_way {
        let _ = permit.send(());
    }
    let (parcels, queue) = sync_channel::<(u64, Vec<Item>)>(under_way);
    let queue = Mutex::new(queue);
    let (results, done) = sync_channel::<(u64, Vec<Judged>)>(under_way);
    let workers: Vec<Objects> = (0..jobs).map(|_| repository.objects().clone()).collect();
    thread::scope(|scope| {
        let (queue, stop) = (&queue, &stop);
        scope.spawn(move || feed(items, &parcels, &permits, stop));
        for objects in workers {
            let results = results.clone();
            scope.spawn(move || work(queue, &results, &objects, engine, stop));
        }
        drop(results);
        let mut early: BTreeMap<u64, Vec<Judged>> = BTreeMap::new();
        let mut next = 0_u64;
        for (number, parcel) in done {
            early.insert(number, parcel);
            while let Some(parcel) = early.remove(&next) {
                next = next.saturating_add(1);
                for judged in parcel {
                    if !stop.load(Ordering::Relaxed) && each(judged).is_break() {
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
    results: &SyncSender<(u64, Vec<Judged>)>,
    objects: &Objects,
    engine: &Engine<'_>,
    stop: &AtomicBool,
) {
    loop {
        // The lock is held while waiting: the others wait for the same thing.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, parcel)) = next else {
            return;
        };
        let judged = if stop.load(Ordering::Relaxed) {
            Vec::new()
        } else {
            parcel
                .into_iter()
                .map(|item| item.judged(objects, engine))
                .collect()
        };
        if results.send((number, judged)).is_err() {
            return;
        }
    }
}
