//! Searches the log for the entries of signatures that have none embedded (gitsign's
//! default form): a search by certificate, then the entries in batches until each
//! signature verifies with one of them.
//!
//! Anyone can log further entries about a signature that is public: the same one once
//! more, or one with another form of the signature. Their times are outside of the
//! certificate's ten minutes, so they verify nothing; the search therefore goes on
//! until an entry verifies. If a certificate has more entries than a search returns,
//! each signature is searched for by its own digests too. What is still too much, or
//! takes too long, leaves the signature undecided, never refused.
//!
//! No entry that is found is trusted: it goes through the same nine steps as an
//! embedded one. A log that returns something else can only leave a signature
//! undecided.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use url::Url;

use gitseal_evidence::{
    entry::LogEntry,
    memo::Memo,
    refusal::Refusal,
    trusted_root::TrustedRoot,
    verify::{self, MAX_FOUND_ENTRIES, NoopObserver, SignatureInput, VerifyInputs, logged_digest},
};
use gitseal_services::{
    http::client::Client,
    rekor::client::{MAX_RETRIEVE, RekorClient, RekorClientError},
};

/// The time limit of a search, all its requests together: Git waits for it. No
/// request starts after it.
pub const MAX_TIME: Duration = Duration::from_secs(120);
/// The maximum number of concurrent requests.
const MAX_CONCURRENT: usize = 4;
/// The maximum number of entries that are kept for certificates that come again.
const MAX_KEPT: usize = 8192;
/// The maximum number of entries about other objects that a result contains.
const MAX_OTHERS: usize = 64;

/// Errors of a search.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// The signature is not readable, so there is nothing to search for.
    #[error(transparent)]
    Unreadable(#[from] Refusal),
    /// The log is not available, or returns something else.
    #[error(transparent)]
    Rekor(#[from] RekorClientError),
    /// The log is too slow.
    #[error("log search timed out after {} s ({seen} of {found} entries fetched)", MAX_TIME.as_secs())]
    TooSlow { seen: usize, found: usize },
}

impl LookupError {
    /// Returns the suggested next step, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable(_) => None,
            Self::Rekor(error) if error.is_too_many() => Some(
                "someone has logged very many entries for this certificate; only a signature with an embedded log entry does not depend on the search: let the signer sign again with gitseal.rekorMode offline",
            ),
            Self::Rekor(_) | Self::TooSlow { .. } => Some(
                "the signature has no embedded log entry, so the log is needed to verify it: check the network and gitseal.rekor",
            ),
        }
    }
}

/// Searches for the entries of signatures. Each certificate is searched for once: a
/// signer with a credential cache creates hundreds of entries in a certificate's ten
/// minutes, in a rebase for example, and their order has no meaning.
pub struct EntrySearcher {
    http: Client,
    rekor: Url,
    certificates: HashMap<[u8; 32], CertificateEntries>,
}

/// The entries that the log has for one certificate.
#[derive(Default)]
struct CertificateEntries {
    /// IDs that are not fetched yet.
    ids: Vec<String>,
    /// IDs that were in `ids`.
    known_ids: HashSet<String>,
    /// The number of entries that were fetched.
    seen: usize,
    /// Entries by the digest that they contain.
    entries: HashMap<Vec<u8>, Vec<LogEntry>>,
    /// The digests that were searched for, if the certificate has too many entries, and
    /// the errors of these searches.
    narrowed: Option<HashMap<[u8; 32], Option<LookupError>>>,
    error: Option<LookupError>,
}

impl CertificateEntries {
    /// The error for which not all entries with these digests are known.
    fn error_for<'d>(&self, digests: impl Iterator<Item = &'d [u8]>) -> Option<&LookupError> {
        let narrowed = || {
            let narrowed = self.narrowed.as_ref()?;
            digests
                .filter_map(|digest| narrowed.get(digest))
                .find_map(Option::as_ref)
        };
        self.error.as_ref().or_else(narrowed)
    }

    fn add_ids(&mut self, ids: Vec<String>) {
        for id in ids {
            if self.known_ids.insert(id.clone()) {
                self.ids.push(id);
            }
        }
    }
}

/// One signature and its search keys.
struct WantedEntry<'a> {
    input: SignatureInput<'a>,
    certificate: [u8; 32],
    leaf: Vec<u8>,
    /// The digests that its entry can contain, and the number of entries with each that
    /// were tried.
    digests: Vec<(Vec<u8>, usize)>,
    /// The entry with which it verifies.
    verified: Option<LogEntry>,
}

impl<'a> WantedEntry<'a> {
    fn new(input: &SignatureInput<'a>) -> Result<Self, LookupError> {
        let parsed = verify::read(input, &mut NoopObserver)?;
        let leaf = parsed.message().leaf.der();
        Ok(Self {
            input: *input,
            certificate: Sha256::digest(leaf).into(),
            leaf: leaf.to_vec(),
            digests: parsed
                .loggable_digests()
                .into_iter()
                .map(|digest| (digest, 0))
                .collect(),
            verified: None,
        })
    }

    /// Tries the entries that were fetched since the last time. The signer does not
    /// matter: another one than expected is not another entry.
    fn try_new(&mut self, known: &CertificateEntries, trust: &TrustedRoot, memo: &Memo) {
        for (digest, tried) in &mut self.digests {
            let all = known.entries.get(digest).map_or(&[][..], Vec::as_slice);
            let new = all.get(*tried..).unwrap_or_default();
            *tried = all.len();
            if new.is_empty() || self.verified.is_some() || all.len() > MAX_FOUND_ENTRIES {
                continue;
            }
            let inputs = VerifyInputs {
                found: new,
                memo,
                ..VerifyInputs::new(trust)
            };
            let result = verify::verify(&self.input, &inputs, &mut NoopObserver);
            self.verified = result.ok().map(|verified| verified.entry);
        }
    }
}

impl EntrySearcher {
    /// Creates a searcher for this log.
    #[must_use]
    pub fn new(http: Client, rekor: &Url) -> Self {
        Self {
            http,
            rekor: rekor.clone(),
            certificates: HashMap::new(),
        }
    }

    /// Returns for each signature the entry with which it verifies, whoever signed it.
    /// If there is none, returns the entries that contain its digests, so that the verdict
    /// can name the reason; without any, some others of its certificate, so that it can
    /// name their number.
    pub fn find_all(
        &mut self,
        inputs: &[SignatureInput<'_>],
        trust: &TrustedRoot,
        memo: &Memo,
    ) -> Vec<Result<Vec<LogEntry>, LookupError>> {
        let start = Instant::now();
        let mut wanted: Vec<Result<WantedEntry<'_>, LookupError>> =
            inputs.iter().map(WantedEntry::new).collect();
        let kept = self.certificates.values().map(|one| one.seen);
        if kept.sum::<usize>() > MAX_KEPT {
            self.certificates.clear();
        }
        let new: HashMap<[u8; 32], Vec<u8>> = wanted
            .iter()
            .flatten()
            .filter(|one| !self.certificates.contains_key(&one.certificate))
            .map(|one| (one.certificate, one.leaf.clone()))
            .collect();
        self.search(new);
        loop {
            for one in wanted.iter_mut().flatten() {
                if let Some(known) = self.certificates.get(&one.certificate) {
                    one.try_new(known, trust, memo);
                }
            }
            let is_late = || start.elapsed() >= MAX_TIME;
            let open = || wanted.iter().flatten().filter(|one| one.verified.is_none());
            self.narrow(open(), &is_late);
            let batch = self.next_batch(open().map(|one| one.certificate).collect());
            if batch.is_empty() {
                break;
            }
            self.fetch(&batch, is_late());
        }
        wanted.into_iter().map(|one| self.result(one?)).collect()
    }

    /// Takes the next IDs of certificates with a signature that lacks its entry.
    fn next_batch(&mut self, open: HashSet<[u8; 32]>) -> Vec<([u8; 32], String)> {
        let mut batch = Vec::new();
        for certificate in open {
            if let Some(known) = self.certificates.get_mut(&certificate) {
                let count = known.ids.len().min(MAX_RETRIEVE);
                batch.extend(known.ids.drain(..count).map(|id| (certificate, id)));
            }
        }
        batch
    }

    /// Returns the result for one signature, when all is fetched or its time is over.
    fn result(&self, wanted: WantedEntry<'_>) -> Result<Vec<LogEntry>, LookupError> {
        if let Some(entry) = wanted.verified {
            return Ok(vec![entry]);
        }
        let Some(known) = self.certificates.get(&wanted.certificate) else {
            return Ok(Vec::new());
        };
        let digests = || wanted.digests.iter().map(|(digest, _)| digest.as_slice());
        // What was not fetched could be the one that verifies.
        if let Some(error) = known.error_for(digests()) {
            return Err(error.clone());
        }
        let about = digests().filter_map(|digest| known.entries.get(digest));
        let about: Vec<LogEntry> = about.flatten().cloned().collect();
        if about.is_empty() {
            let others = known.entries.values().flatten();
            return Ok(others.take(MAX_OTHERS).cloned().collect());
        }
        Ok(about)
    }

    /// Requests the IDs of the entries of certificates.
    fn search(&mut self, leaves: HashMap<[u8; 32], Vec<u8>>) {
        let leaves: Vec<([u8; 32], Vec<u8>)> = leaves.into_iter().collect();
        let (http, rekor) = (&self.http, &self.rekor);
        let share = leaves.len().div_ceil(MAX_CONCURRENT).max(1);
        let responses: Vec<_> = thread::scope(|scope| {
            let searches: Vec<_> = leaves
                .chunks(share)
                .map(|chunk| {
                    scope.spawn(move || {
                        let log = RekorClient::new(http, rekor);
                        let search = |(name, leaf): &([u8; 32], Vec<u8>)| (*name, log.search(leaf));
                        chunk.iter().map(search).collect::<Vec<_>>()
                    })
                })
                .collect();
            searches
                .into_iter()
                .filter_map(|search| search.join().ok())
                .flatten()
                .collect()
        });
        for (certificate, response) in responses {
            let mut known = CertificateEntries::default();
            match response {
                Ok(ids) => known.add_ids(ids),
                Err(error) if error.is_too_many() => known.narrowed = Some(HashMap::new()),
                Err(error) => known.error = Some(error.into()),
            }
            self.certificates.insert(certificate, known);
        }
    }

    /// Requests the IDs of entries with the digests of these signatures, where the
    /// certificate has too many entries. Short lists come first, so that the entries
    /// that someone logged about one signature do not delay another.
    fn narrow<'w, 'i: 'w>(
        &mut self,
        open: impl Iterator<Item = &'w WantedEntry<'i>>,
        is_late: &dyn Fn() -> bool,
    ) {
        let log = RekorClient::new(&self.http, &self.rekor);
        let mut lists: Vec<([u8; 32], Vec<String>)> = Vec::new();
        for one in open {
            let Some(known) = self.certificates.get_mut(&one.certificate) else {
                continue;
            };
            let (seen, found) = (known.seen, known.known_ids.len());
            let Some(narrowed) = &mut known.narrowed else {
                continue;
            };
            for (digest, _) in &one.digests {
                // The log does not search for other digests.
                let Ok(digest) = <[u8; 32]>::try_from(digest.as_slice()) else {
                    continue;
                };
                if narrowed.contains_key(&digest) {
                    continue;
                }
                let result = if is_late() {
                    Err(LookupError::TooSlow { seen, found })
                } else {
                    log.search_digest(&one.leaf, &digest)
                        .map_err(LookupError::from)
                };
                match result {
                    Ok(ids) => {
                        narrowed.insert(digest, None);
                        lists.push((one.certificate, ids));
                    }
                    Err(error) => drop(narrowed.insert(digest, Some(error))),
                }
            }
        }
        lists.sort_by_key(|(_, ids)| ids.len());
        for (certificate, ids) in lists {
            if let Some(known) = self.certificates.get_mut(&certificate) {
                known.add_ids(ids);
            }
        }
    }

    /// Fetches entries in batches, or abandons them if the time is over.
    fn fetch(&mut self, batch: &[([u8; 32], String)], is_late: bool) {
        let log = RekorClient::new(&self.http, &self.rekor);
        for chunk in batch.chunks(MAX_RETRIEVE) {
            let ids: Vec<String> = chunk.iter().map(|(_, id)| id.clone()).collect();
            let response = (!is_late).then(|| log.retrieve(&ids));
            let by_leaf: HashMap<&str, [u8; 32]> = chunk
                .iter()
                .map(|(certificate, id)| (leaf_of(id), *certificate))
                .collect();
            if let Some(Ok(entries)) = response {
                for (id, entry) in entries {
                    let digest = logged_digest(&entry);
                    let certificate = by_leaf.get(leaf_of(&id));
                    if let (Some(certificate), Some(digest)) = (certificate, digest)
                        && let Some(known) = self.certificates.get_mut(certificate)
                    {
                        known.seen = known.seen.saturating_add(1);
                        known.entries.entry(digest).or_default().push(entry);
                    }
                }
                continue;
            }
            for (certificate, _) in chunk {
                if let Some(known) = self.certificates.get_mut(certificate) {
                    known.ids.clear();
                    known.error = Some(match &response {
                        Some(Err(error)) => error.clone().into(),
                        _ => LookupError::TooSlow {
                            seen: known.seen,
                            found: known.known_ids.len(),
                        },
                    });
                }
            }
        }
    }
}

/// Returns the part of an entry's ID that is its leaf hash.
fn leaf_of(id: &str) -> &str {
    id.get(id.len().saturating_sub(64)..).unwrap_or(id)
}

#[cfg(test)]
mod tests;
