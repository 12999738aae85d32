#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::*;
use gitseal_evidence::checkpoint;

/// A disk that loses what was not flushed, and fails when told to: before or
/// after it did what it was asked, at the nth operation that changes it.
#[derive(Default)]
struct Disk {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    operations: AtomicUsize,
    fail_at: AtomicUsize,
    after: bool,
    /// How long a flush takes.
    flush: Duration,
}

impl Disk {
    fn failing(files: BTreeMap<String, Vec<u8>>, at: usize, after: bool) -> Self {
        Self {
            files: Mutex::new(files),
            operations: AtomicUsize::new(0),
            fail_at: AtomicUsize::new(at),
            after,
            flush: Duration::ZERO,
        }
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.lock().unwrap().clone()
    }

    fn change(
        &self,
        doing: &'static str,
        name: &str,
        work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
    ) -> Result<(), StorageError> {
        let nth = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = nth == self.fail_at.load(Ordering::SeqCst);
        if !fails || self.after {
            work(&mut self.files.lock().unwrap());
        }
        if fails {
            return Err(StorageError {
                doing,
                path: name.to_owned(),
                why: "the test said so".to_owned(),
            });
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.files.lock().unwrap().get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.change("write", name, |files| {
            files.insert(name.to_owned(), bytes.to_vec());
        })
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.change("remove", name, |files| {
            files.remove(name);
        })
    }

    fn journal_length(&self, name: &str) -> Result<u64, StorageError> {
        Ok(self.read(name)?.map_or(0, |bytes| bytes.len() as u64))
    }

    fn journal_read(&self, name: &str, at: u64, count: u64) -> Result<Vec<u8>, StorageError> {
        let bytes = self.read(name)?.unwrap_or_default();
        let at = (at as usize).min(bytes.len());
        let end = (at + count as usize).min(bytes.len());
        Ok(bytes[at..end].to_vec())
    }

    fn journal_append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.change("write", name, |files| {
            let file = files.entry(name.to_owned()).or_default();
            file.resize(at as usize, 0);
            file.extend_from_slice(bytes);
        })?;
        thread::sleep(self.flush);
        self.change("flush", name, |_| {})
    }

    fn journal_truncate(&self, name: &str, length: u64) -> Result<(), StorageError> {
        self.change("truncate", name, |files| {
            files
                .entry(name.to_owned())
                .or_default()
                .truncate(length as usize);
        })
    }
}

fn identity() -> LogIdentity {
    LogIdentity {
        origin: "log.test".to_owned(),
        key_id: [7; 32],
    }
}

fn open_at(storage: Arc<dyn Storage>, clock: Clock) -> Result<Log, LogError> {
    Log::open(
        identity(),
        storage,
        Box::new(|tree| checkpoint::signed(&tree.to_text(), "log.test", [7; 4], b"signature")),
        clock,
    )
}

fn open(storage: Arc<dyn Storage>) -> Result<Log, LogError> {
    open_at(storage, Box::new(|| 1_000))
}

fn put(log: &Log, text: &str) -> Result<AppendedEntry, LogError> {
    log.append(
        merkle::leaf_hash(text.as_bytes()),
        text.as_bytes(),
        b"beside",
    )
}

/// Everything that the log says of itself fits together.
fn check(log: &Log) {
    let size = log.size();
    let whole = log.checkpoint(None).unwrap();
    for index in 0..size {
        let entry = log.entry(index).unwrap();
        assert_eq!(entry.extra, b"beside");
        let leaf = merkle::leaf_hash(&entry.leaf);
        assert_eq!(log.index_of_leaf(&leaf), Some(index));
        let (tree, proof) = log.inclusion(index, None).unwrap();
        assert_eq!(tree, whole);
        merkle::verify_inclusion(index, size, &leaf, &proof, &tree.root).unwrap();
    }
    for old in 0..=size {
        let proof = log.consistency(old, size).unwrap();
        let before = log.checkpoint(Some(old)).unwrap();
        merkle::verify_consistency(old, size, &proof, &before.root, &whole.root).unwrap();
    }
}

#[test]
fn appends_prove_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let directory = || -> Arc<dyn Storage> { Arc::new(Directory::open(folder.path()).unwrap()) };
    let log = open(directory()).unwrap();
    for nth in 0..300 {
        let there = put(&log, &format!("entry {nth}")).unwrap();
        assert_eq!((there.index, there.duplicate), (nth, false));
    }
    let again = put(&log, "entry 17").unwrap();
    assert_eq!((again.index, again.duplicate), (17, true));
    log.publish().unwrap();
    let before = log.checkpoint(None).unwrap();
    drop(log);
    let log = open(directory()).unwrap();
    assert_eq!(log.checkpoint(None).unwrap(), before);
    check(&log);
    assert_eq!(put(&log, "entry 17").unwrap().index, 17);
    assert_eq!(put(&log, "another").unwrap().index, 300);
    for file in [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
    let bundle = std::fs::read(folder.path().join("tile/entries/001.p/44")).unwrap();
    assert_eq!(&bundle[..11], b"\x00\x09entry 256");
}

#[test]
fn many_writers_share_flushes_and_lose_nothing() {
    let disk = Arc::new(Disk::default());
    let log = Arc::new(open(disk.clone()).unwrap());
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let log = log.clone();
            thread::spawn(move || {
                (0..200)
                    .map(|nth| put(&log, &format!("{writer} {nth}")).unwrap().index)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut indexes: Vec<u64> = writers
        .into_iter()
        .flat_map(|writer| writer.join().unwrap())
        .collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..1600).collect::<Vec<_>>());
    assert_eq!(open(disk).unwrap().size(), 1600);
}

#[test]
fn writers_of_the_same_entry_get_the_same_place() {
    let log = Arc::new(open(Arc::new(Disk::default())).unwrap());
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let log = log.clone();
            thread::spawn(move || put(&log, "the same").unwrap().index)
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.join().unwrap(), 0);
    }
    assert_eq!(log.size(), 1);
}

#[test]
fn an_entry_that_comes_again_during_its_flush_is_not_written_twice() {
    let disk = Arc::new(Disk {
        flush: Duration::from_millis(80),
        ..Disk::default()
    });
    let log = Arc::new(open(disk.clone()).unwrap());
    let writers: Vec<_> = (0..4)
        .map(|nth| {
            let log = log.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20 * nth));
                put(&log, "the same").unwrap()
            })
        })
        .collect();
    let answers: Vec<AppendedEntry> = writers
        .into_iter()
        .map(|writer| writer.join().unwrap())
        .collect();
    assert!(answers.iter().all(|there| there.index == 0), "{answers:?}");
    let new = answers.iter().filter(|there| !there.duplicate).count();
    assert_eq!(new, 1, "{answers:?}");
    assert_eq!(log.size(), 1);
    assert_eq!(open(disk).unwrap().size(), 1);
}

#[test]
fn damage_before_a_later_flush_is_no_torn_end() {
    let disk = Arc::new(Disk::default());
    let log = open(disk.clone()).unwrap();
    let mut ends = Vec::new();
    for nth in 0..5 {
        put(&log, &format!("entry {nth}")).unwrap();
        ends.push(disk.files()[JOURNAL].len());
    }
    let files = disk.files();
    for at in 0..files[JOURNAL].len() {
        let mut changed = files.clone();
        changed.get_mut(JOURNAL).unwrap()[at] ^= 0x40;
        let log = open(Arc::new(Disk::failing(changed, 0, false)));
        if at < ends[3] {
            // Nothing was published: only the journal itself can tell.
            assert!(matches!(log, Err(LogError::Damaged { .. })), "byte {at}");
        } else {
            assert_eq!(
                log.unwrap().size(),
                4,
                "byte {at}: the last batch may be torn"
            );
        }
    }
}

#[test]
fn whatever_operation_fails_nothing_answered_is_lost() {
    for after in [false, true] {
        let mut reached_the_end = false;
        for fail_at in 1..200 {
            let disk = Arc::new(Disk::failing(BTreeMap::new(), fail_at, after));
            let mut answered = Vec::new();
            let mut published = Vec::new();
            let mut failed = false;
            if let Ok(log) = open(disk.clone()) {
                for nth in 0..12 {
                    let text = format!("entry {nth}");
                    match put(&log, &text) {
                        Ok(there) => answered.push((text, there.index)),
                        Err(_) => failed = true,
                    }
                    match log.publish() {
                        Ok(tree) => published.push(tree),
                        Err(_) => failed = true,
                    }
                }
                assert!(failed || disk.operations.load(Ordering::SeqCst) < fail_at);
            } else {
                failed = true;
            }
            // The machine starts again with what the disk holds.
            let survivor = Arc::new(Disk::failing(disk.files(), 0, false));
            let log = open(survivor).unwrap_or_else(|error| {
                panic!("failed at {fail_at} (after: {after}), does not open: {error}")
            });
            check(&log);
            for (text, index) in &answered {
                assert_eq!(log.entry(*index).unwrap().leaf, text.as_bytes());
            }
            for tree in &published {
                assert_eq!(&log.checkpoint(Some(tree.size)).unwrap(), tree);
            }
            if !failed {
                reached_the_end = true;
                break;
            }
        }
        assert!(reached_the_end, "every operation was made to fail once");
    }
}

#[test]
fn a_failed_write_is_cut_off_and_the_log_goes_on() {
    let disk = Arc::new(Disk::default());
    let log = open(disk.clone()).unwrap();
    put(&log, "first").unwrap();
    // The next operation is the write of the next entry: it fails half done.
    let next = disk.operations.load(Ordering::SeqCst) + 1;
    disk.fail_at.store(next, Ordering::SeqCst);
    assert!(matches!(put(&log, "second"), Err(LogError::Storage { .. })));
    assert_eq!(put(&log, "third").unwrap().index, 1);
    check(&log);
    assert_eq!(open(disk).unwrap().size(), 2);
}

#[test]
fn a_failed_flush_stops_the_log() {
    let disk = Arc::new(Disk::default());
    let log = open(disk.clone()).unwrap();
    put(&log, "first").unwrap();
    let next = disk.operations.load(Ordering::SeqCst) + 2;
    disk.fail_at.store(next, Ordering::SeqCst);
    assert!(matches!(put(&log, "second"), Err(LogError::Stopped { .. })));
    assert!(matches!(put(&log, "third"), Err(LogError::Stopped { .. })));
    assert_eq!(
        log.size(),
        1,
        "what is not known to be on the disk is not shown"
    );
}

#[test]
fn every_torn_end_is_cut_off() {
    let disk = Arc::new(Disk::default());
    let log = open(disk.clone()).unwrap();
    for nth in 0..5 {
        put(&log, &format!("entry {nth}")).unwrap();
    }
    let files = disk.files();
    let journal = &files[JOURNAL];
    for length in 0..journal.len() {
        for change in ["cut", "zero"] {
            let mut torn = files.clone();
            let mut bytes = journal.clone();
            if change == "cut" {
                bytes.truncate(length);
            } else {
                bytes[length..].fill(0);
            }
            torn.insert(JOURNAL.to_owned(), bytes);
            let log = open(Arc::new(Disk::failing(torn, 0, false))).unwrap();
            assert!(log.size() <= 5);
            check(&log);
            assert_eq!(put(&log, "after").unwrap().index, log.size() - 1);
            check(&log);
        }
    }
}

#[test]
fn what_was_published_is_never_less_again() {
    let disk = Arc::new(Disk::default());
    let log = open(disk.clone()).unwrap();
    for nth in 0..300 {
        put(&log, &format!("entry {nth}")).unwrap();
    }
    log.publish().unwrap();
    let files = disk.files();
    #[allow(clippy::type_complexity)]
    let reopen = |change: &dyn Fn(&mut BTreeMap<String, Vec<u8>>)| {
        let mut files = files.clone();
        change(&mut files);
        open(Arc::new(Disk::failing(files, 0, false))).map(|log| log.size())
    };
    assert_eq!(reopen(&|_| {}).unwrap(), 300);
    let error = reopen(&|files| {
        let journal = files.get_mut(JOURNAL).unwrap();
        journal.truncate(journal.len() - 1);
    })
    .unwrap_err();
    assert!(
        matches!(
            error,
            LogError::RolledBack {
                journal: 299,
                checkpoint: 300
            }
        ),
        "{error}"
    );
    let error = reopen(&|files| {
        files.get_mut(JOURNAL).unwrap()[60] ^= 1;
    })
    .unwrap_err();
    assert!(
        matches!(&error, LogError::Damaged { path, .. } if path == JOURNAL),
        "{error}"
    );
    let error = reopen(&|files| {
        files.get_mut("tile/0/000").unwrap()[0] ^= 1;
    })
    .unwrap_err();
    assert!(matches!(error, LogError::TileDiffers { .. }), "{error}");
    let error = reopen(&|files| {
        files.insert("checkpoint".to_owned(), b"nonsense".to_vec());
    })
    .unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    let error = reopen(&|files| {
        files.insert(IDENTITY.to_owned(), b"other\n00\n".to_vec());
    })
    .unwrap_err();
    assert!(matches!(error, LogError::OtherLog { .. }), "{error}");
}

#[test]
fn time_does_not_go_back() {
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = now.clone();
    let log = open_at(
        Arc::new(Disk::default()),
        Box::new(move || clock.load(Ordering::SeqCst)),
    )
    .unwrap();
    assert_eq!(put(&log, "a").unwrap().time, 1_000);
    now.store(400, Ordering::SeqCst);
    assert_eq!(put(&log, "b").unwrap().time, 1_000);
    now.store(1_001, Ordering::SeqCst);
    assert_eq!(put(&log, "c").unwrap().time, 1_001);
    assert_eq!(put(&log, "a").unwrap().time, 1_000, "a copy keeps its time");
}

#[test]
fn limits_and_a_second_process() {
    let log = open(Arc::new(Disk::default())).unwrap();
    assert!(matches!(
        log.append([0; 32], &vec![0; MAX_ENTRY + 1], b""),
        Err(LogError::TooLong { .. })
    ));
    assert!(matches!(log.entry(0), Err(LogError::NoEntry { index: 0 })));
    assert!(matches!(
        log.checkpoint(Some(1)),
        Err(LogError::NoTree { .. })
    ));
    assert!(matches!(
        log.consistency(1, 0),
        Err(LogError::NoTree { .. })
    ));
    let folder = tempfile::tempdir().unwrap();
    let first = Directory::open(folder.path()).unwrap();
    let second = Directory::open(folder.path()).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
    drop(first);
    Directory::open(folder.path()).unwrap();
}
