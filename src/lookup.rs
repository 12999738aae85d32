//! Finds the log entries of a signature that does not carry its own (gitsign's
//! default form): a search by the certificate, then the entries one by one until
//! one is for *this* object.
//!
//! Nothing of this is evidence. What is found goes through the same nine steps
//! as an embedded entry; a log that answers with something else can only make a
//! signature undecided.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use url::Url;

use gitseal_evidence::{
    entry::LogEntry,
    object,
    signed_data::Digest,
    verify::{self, MAX_FOUND_ENTRIES, Refusal, SignatureInput},
};
use gitseal_services::{
    http::client::Client,
    rekor::client::{MAX_RETRIEVE, RekorClient, RekorClientError},
};

/// How long a search may take, all its requests together: git waits for it. No
/// request begins after it.
pub const MAX_TIME: Duration = Duration::from_secs(120);

/// Why a search gave nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// The signature cannot be read: there is nothing to search for.
    #[error(transparent)]
    Unreadable(#[from] Refusal),
    /// The log cannot be asked, or answers with something else.
    #[error(transparent)]
    Rekor(#[from] RekorClientError),
    /// The log is too slow.
    #[error("after {} s the log had given {seen} of the {found} entries that it has for this certificate", MAX_TIME.as_secs())]
    TooSlow {
        /// Entries looked at.
        seen: usize,
        /// Entries found.
        found: usize,
    },
}

impl LookupError {
    /// What to do next, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable(_) => None,
            Self::Rekor(_) | Self::TooSlow { .. } => Some(
                "the signature does not carry its log entry, so it can only be verified with the log at hand: check the network and gitseal.rekor",
            ),
        }
    }
}

/// Asks the log for the entries of this signature's certificate. Gives the entry
/// for this object alone when there is one, else those that were looked at (at
/// most [`MAX_FOUND_ENTRIES`]), so that the verdict can say how many there were.
///
/// All that the search names are looked at, within [`MAX_TIME`]: a signer with a
/// credential cache makes hundreds of entries in a certificate's ten minutes, in a
/// rebase for example, and their order means nothing.
///
/// # Errors
///
/// When the signature is unreadable or the log cannot be asked.
pub fn find_entries(
    subject: &SignatureInput<'_>,
    rekor: &Url,
    http: &Client,
) -> Result<Vec<LogEntry>, LookupError> {
    let read = verify::read(subject, &mut verify::NoopObserver)?;
    let message = read.message();
    let wanted = digests(subject, message.digest, &message.attributes);
    let log = RekorClient::new(http, rekor);
    let begun = Instant::now();
    let ids = log.search(message.leaf.der())?;
    let mut found = Vec::new();
    for (seen, id) in ids.iter().enumerate() {
        if begun.elapsed() >= MAX_TIME {
            return Err(LookupError::TooSlow {
                seen,
                found: ids.len(),
            });
        }
        let entry = match log.entry(id) {
            Ok(Some(entry)) => entry,
            // The index runs ahead of nothing: an id without entry is skipped. So is
            // one that is no entry of ours to read; another can be the right one.
            Ok(None) | Err(RekorClientError::Entry { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let matches = entry
            .body
            .as_deref()
            .and_then(logged_digest)
            .is_some_and(|digest| wanted.contains(&digest));
        if matches {
            return Ok(vec![entry]);
        }
        // Kept to be counted only.
        if found.len() < MAX_FOUND_ENTRIES {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The most requests that are under way at once.
const MAX_AT_ONCE: usize = 4;
/// The most entries that are remembered for certificates that come again.
const MAX_REMEMBERED: usize = 8192;

/// Searches for many signatures: each certificate is searched for once, and its
/// entries are fetched in tens until each signature has its own.
pub struct Finder {
    http: Client,
    rekor: Url,
    certificates: HashMap<[u8; 32], Known>,
    requests: u64,
    fetched: u64,
}

/// What the log has for one certificate.
#[derive(Default)]
struct Known {
    /// Ids still to be fetched.
    ids: Vec<String>,
    /// How many entries were looked at.
    seen: usize,
    /// Entries, by the digest that they name.
    entries: HashMap<String, LogEntry>,
    failed: Option<LookupError>,
}

/// One signature, as far as the search needs it.
struct Sought {
    certificate: [u8; 32],
    digests: HashSet<String>,
}

impl Finder {
    /// One that asks this log.
    #[must_use]
    pub fn new(rekor: &Url) -> Self {
        Self {
            http: crate::context::http_client(),
            rekor: rekor.clone(),
            certificates: HashMap::new(),
            requests: 0,
            fetched: 0,
        }
    }

    /// Requests until now.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Entries that the log gave until now.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// The entry for each subject, or none. What is unreadable is not searched for.
    pub fn find_all(
        &mut self,
        subjects: &[Option<SignatureInput<'_>>],
    ) -> Vec<Result<Vec<LogEntry>, LookupError>> {
        let mut leaves: HashMap<[u8; 32], Vec<u8>> = HashMap::new();
        let sought: Vec<Option<Result<Sought, LookupError>>> = subjects
            .iter()
            .map(|subject| {
                subject.as_ref().map(|subject| {
                    let read = verify::read(subject, &mut verify::NoopObserver)?;
                    let message = read.message();
                    let certificate = Sha256::digest(message.leaf.der()).into();
                    leaves.insert(certificate, message.leaf.der().to_vec());
                    Ok(Sought {
                        certificate,
                        digests: digests(subject, message.digest, &message.attributes),
                    })
                })
            })
            .collect();
        let remembered: usize = self
            .certificates
            .values()
            .map(|one| one.entries.len())
            .sum();
        if remembered > MAX_REMEMBERED {
            self.certificates.clear();
        }
        leaves.retain(|certificate, _| !self.certificates.contains_key(certificate));
        self.search(leaves);
        let begun = Instant::now();
        loop {
            // The next ten ids of each certificate that still owes somebody an entry.
            let owing: HashSet<[u8; 32]> = sought
                .iter()
                .flatten()
                .flatten()
                .filter(|one| self.answer(one).is_none())
                .map(|one| one.certificate)
                .collect();
            let mut batch: Vec<([u8; 32], String)> = Vec::new();
            for certificate in owing {
                if let Some(known) = self.certificates.get_mut(&certificate) {
                    let count = known.ids.len().min(MAX_RETRIEVE);
                    batch.extend(known.ids.drain(..count).map(|id| (certificate, id)));
                }
            }
            if batch.is_empty() {
                break;
            }
            let late = begun.elapsed() >= MAX_TIME;
            self.fetch(&batch, late);
        }
        sought
            .into_iter()
            .map(|one| match one {
                None => Ok(Vec::new()),
                Some(Err(error)) => Err(error),
                Some(Ok(one)) => match self.answer(&one) {
                    Some(answer) => answer,
                    None => Ok(Vec::new()),
                },
            })
            .collect()
    }

    /// What is known for one signature by now, if that settles it.
    fn answer(&self, sought: &Sought) -> Option<Result<Vec<LogEntry>, LookupError>> {
        let known = self.certificates.get(&sought.certificate)?;
        let found = sought
            .digests
            .iter()
            .find_map(|digest| known.entries.get(digest));
        match (found, &known.failed) {
            (Some(entry), _) => Some(Ok(vec![entry.clone()])),
            (None, Some(error)) => Some(Err(error.clone())),
            (None, None) => None,
        }
    }

    /// Asks for the ids of the entries of certificates, some at a time.
    fn search(&mut self, leaves: HashMap<[u8; 32], Vec<u8>>) {
        let leaves: Vec<([u8; 32], Vec<u8>)> = leaves.into_iter().collect();
        let (http, rekor) = (&self.http, &self.rekor);
        let share = leaves.len().div_ceil(MAX_AT_ONCE).max(1);
        let answers: Vec<_> = thread::scope(|scope| {
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
        for (certificate, answer) in answers {
            self.requests = self.requests.saturating_add(1);
            let known = match answer {
                Ok(ids) => Known {
                    ids,
                    ..Known::default()
                },
                Err(error) => Known {
                    failed: Some(error.into()),
                    ..Known::default()
                },
            };
            self.certificates.insert(certificate, known);
        }
    }

    /// Fetches entries in tens; `late`: they are given up.
    fn fetch(&mut self, batch: &[([u8; 32], String)], late: bool) {
        let log = RekorClient::new(&self.http, &self.rekor);
        for ten in batch.chunks(MAX_RETRIEVE) {
            let ids: Vec<String> = ten.iter().map(|(_, id)| id.clone()).collect();
            let answer = if late {
                None
            } else {
                self.requests = self.requests.saturating_add(1);
                Some(log.retrieve(&ids))
            };
            let by_leaf: HashMap<&str, [u8; 32]> = ten
                .iter()
                .map(|(certificate, id)| (leaf_of(id), *certificate))
                .collect();
            match answer {
                Some(Ok(entries)) => {
                    for (id, entry) in entries {
                        self.fetched = self.fetched.saturating_add(1);
                        let digest = entry.body.as_deref().and_then(logged_digest);
                        let certificate = by_leaf.get(leaf_of(&id));
                        if let (Some(certificate), Some(digest)) = (certificate, digest)
                            && let Some(known) = self.certificates.get_mut(certificate)
                        {
                            known.seen = known.seen.saturating_add(1);
                            known.entries.insert(digest, entry);
                        }
                    }
                }
                other => {
                    for (certificate, _) in ten {
                        if let Some(known) = self.certificates.get_mut(certificate) {
                            let found = known.seen.saturating_add(known.ids.len());
                            known.ids.clear();
                            known.failed = Some(match &other {
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
    }
}

/// The part of an entry's id that is its leaf hash.
fn leaf_of(id: &str) -> &str {
    id.get(id.len().saturating_sub(64)..).unwrap_or(id)
}

/// The digests, in hex, that an entry for this object can have: of the signed
/// attributes, or of one of the object's ids as text.
fn digests(subject: &SignatureInput<'_>, digest: Digest, attributes: &[u8]) -> HashSet<String> {
    let of_attributes = match digest {
        Digest::Sha256 => hex(&Sha256::digest(attributes)),
        Digest::Sha384 => hex(&Sha384::digest(attributes)),
        Digest::Sha512 => hex(&Sha512::digest(attributes)),
    };
    let mut wanted = HashSet::from([of_attributes]);
    if let Some(payload) = subject.payload
        && let Ok(kind) = object::check_payload(payload)
    {
        let ids = object::gitsign_online_ids(kind, subject.hash, payload, subject.signature);
        wanted.extend(ids.iter().map(|id| hex(&Sha256::digest(id))));
    }
    wanted
}

/// The digest that a `hashedrekord` 0.0.1 body names, in lower case.
fn logged_digest(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let value = body.pointer("/spec/data/hash/value")?.as_str()?;
    Some(value.to_ascii_lowercase())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
