//! Searches the log for the entries of signatures that have none embedded (gitsign's
//! default form): a search by certificate, then the entries in batches until each
//! signature has its own.
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
    refusal::Refusal,
    verify::{self, MAX_FOUND_ENTRIES, SignatureInput, logged_digest},
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
    /// The number of entries that were fetched.
    seen: usize,
    /// Entries by the digest that they contain.
    entries: HashMap<Vec<u8>, LogEntry>,
    error: Option<LookupError>,
}

/// The search keys of one signature.
struct SearchKeys {
    certificate: [u8; 32],
    digests: Vec<Vec<u8>>,
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

    /// Returns for each signature the entry that is about it, if there is one. Otherwise
    /// the entries of its certificate (at most [`MAX_FOUND_ENTRIES`]), so that the
    /// verdict can name their number.
    pub fn find_all(
        &mut self,
        inputs: &[SignatureInput<'_>],
    ) -> Vec<Result<Vec<LogEntry>, LookupError>> {
        let mut leaves: HashMap<[u8; 32], Vec<u8>> = HashMap::new();
        let keys: Vec<Result<SearchKeys, LookupError>> = inputs
            .iter()
            .map(|input| {
                let parsed = verify::read(input, &mut verify::NoopObserver)?;
                let leaf = parsed.message().leaf.der();
                let certificate = Sha256::digest(leaf).into();
                leaves.insert(certificate, leaf.to_vec());
                Ok(SearchKeys {
                    certificate,
                    digests: parsed.loggable_digests(),
                })
            })
            .collect();
        let kept = self.certificates.values().map(|one| one.entries.len());
        if kept.sum::<usize>() > MAX_KEPT {
            self.certificates.clear();
        }
        leaves.retain(|certificate, _| !self.certificates.contains_key(certificate));
        self.search(leaves);
        let start = Instant::now();
        loop {
            // The next IDs of each certificate with a signature that lacks its entry.
            let open: HashSet<[u8; 32]> = keys
                .iter()
                .flatten()
                .filter(|keys| self.result(keys).is_none())
                .map(|keys| keys.certificate)
                .collect();
            let mut batch: Vec<([u8; 32], String)> = Vec::new();
            for certificate in open {
                if let Some(known) = self.certificates.get_mut(&certificate) {
                    let count = known.ids.len().min(MAX_RETRIEVE);
                    batch.extend(known.ids.drain(..count).map(|id| (certificate, id)));
                }
            }
            if batch.is_empty() {
                break;
            }
            self.fetch(&batch, start.elapsed() >= MAX_TIME);
        }
        keys.into_iter()
            .map(|keys| {
                let keys = keys?;
                self.result(&keys).unwrap_or_else(|| {
                    let known = self.certificates.get(&keys.certificate);
                    let others = known.into_iter().flat_map(|known| known.entries.values());
                    Ok(others.take(MAX_FOUND_ENTRIES).cloned().collect())
                })
            })
            .collect()
    }

    /// Returns the result for one signature, as soon as it is known.
    fn result(&self, keys: &SearchKeys) -> Option<Result<Vec<LogEntry>, LookupError>> {
        let known = self.certificates.get(&keys.certificate)?;
        let found = keys
            .digests
            .iter()
            .find_map(|digest| known.entries.get(digest));
        match (found, &known.error) {
            (Some(entry), _) => Some(Ok(vec![entry.clone()])),
            (None, Some(error)) => Some(Err(error.clone())),
            (None, None) => None,
        }
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
                Ok(ids) => known.ids = ids,
                Err(error) => known.error = Some(error.into()),
            }
            self.certificates.insert(certificate, known);
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
                        known.entries.insert(digest, entry);
                    }
                }
                continue;
            }
            for (certificate, _) in chunk {
                if let Some(known) = self.certificates.get_mut(certificate) {
                    let found = known.seen.saturating_add(known.ids.len());
                    known.ids.clear();
                    known.error = Some(match &response {
                        Some(Err(error)) => error.clone().into(),
                        _ => LookupError::TooSlow {
                            seen: known.seen,
                            found,
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
