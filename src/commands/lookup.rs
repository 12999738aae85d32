//! Finds the log entries of a signature that does not carry its own (gitsign's
//! default form): a search by the certificate, then the entries one by one until
//! one is for *this* object.
//!
//! Nothing of this is evidence. What is found goes through the same nine steps
//! as an embedded entry; a log that answers with something else can only make a
//! signature undecided.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use url::Url;

use crate::{
    evidence::{
        entry::LogEntry,
        object,
        signed_data::Digest,
        verify::{self, MAX_FOUND_ENTRIES, Refusal, Subject},
    },
    services::{
        http::client::Client,
        rekor::client::{RekorClient, RekorError},
    },
};

/// How long a search may take, all its requests together: git waits for it. No
/// request begins after it.
pub const MAX_TIME: Duration = Duration::from_secs(120);

/// Why a search gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The signature cannot be read: there is nothing to search for.
    #[error(transparent)]
    Unreadable(#[from] Refusal),
    /// The log cannot be asked, or answers with something else.
    #[error(transparent)]
    Rekor(#[from] RekorError),
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
    subject: &Subject<'_>,
    rekor: &Url,
    http: &Client,
) -> Result<Vec<LogEntry>, LookupError> {
    let read = verify::read(subject, &mut verify::Silent)?;
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
        // The index runs ahead of nothing: an id without entry is skipped.
        let Some(entry) = log.entry(id)? else {
            continue;
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

/// The digests, in hex, that an entry for this object can have: of the signed
/// attributes, or of one of the object's ids as text.
fn digests(subject: &Subject<'_>, digest: Digest, attributes: &[u8]) -> HashSet<String> {
    let of_attributes = match digest {
        Digest::Sha256 => hex(&Sha256::digest(attributes)),
        Digest::Sha384 => hex(&Sha384::digest(attributes)),
        Digest::Sha512 => hex(&Sha512::digest(attributes)),
    };
    let mut wanted = HashSet::from([of_attributes]);
    if let Some(payload) = subject.payload
        && let Ok(kind) = object::check_payload(payload)
    {
        let ids = object::online_ids(kind, subject.hash, payload, subject.signature);
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
