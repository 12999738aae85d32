//! Signed notes and checkpoints: what a log says its tree is, and that it was
//! the log that said so.
//!
//! C2SP signed-note and tlog-checkpoint; Rekor v1 departs from the latter in
//! that its origin is `NAME - TREE ID` while it signs as `NAME`.
//!
//! *Not checked here:* which log is trusted when (`trusted_root.rs`), that a leaf is
//! in the tree (`merkle.rs`). Signatures of witnesses are read, not judged.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    hex,
    keys::{KeyAlgorithm, PublicKey, SignatureAlgorithm},
    memo::Memo,
    merkle::Hash,
    refusal::{Reason, reason},
};

#[cfg(test)]
mod tests;

/// Longest note that is read, in bytes.
pub(crate) const MAX_NOTE: usize = 64 * 1024;
/// Most signature lines of a note. C2SP signed-note asks for at least 16.
pub(crate) const MAX_SIGNATURES: usize = 64;
/// Largest tree size (C2SP tlog-checkpoint: it fits a signed 64-bit number).
pub(crate) const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// U+2014 and a space begin each signature line.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the signer.
    pub name: String,
    /// First four bytes of the key id.
    pub key_hint: [u8; 4],
    /// The signature without the key hint.
    pub signature: Vec<u8>,
}

/// A text and the signatures on it (C2SP signed-note).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    /// The signed text, final LF included, the blank line not.
    pub text: String,
    /// The signatures, at least one.
    pub signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Parses a signed note. The text ends at the last blank line, so it may hold
    /// blank lines itself.
    ///
    /// # Errors
    /// The note is malformed. Signatures are not verified.
    pub fn parse(note: &str) -> Result<Self, Reason> {
        if note.len() > MAX_NOTE {
            return Err(reason!(
                "note-too-long",
                "the note is {bytes} bytes; the limit is {MAX_NOTE}",
                bytes = note.len()
            ));
        }
        let control = |byte: &u8| *byte < 0x20 && *byte != b'\n';
        if let Some(at) = note.as_bytes().iter().position(control) {
            return Err(reason!(
                "note-control-character",
                "the note contains the control character {code:#04x} at byte {at}",
                code = note.as_bytes().get(at).copied().unwrap_or_default()
            ));
        }
        if !note.ends_with('\n') {
            return Err(unterminated());
        }
        let (before, lines) = note.rsplit_once("\n\n").ok_or_else(no_signatures)?;
        if lines.is_empty() || before.is_empty() {
            return Err(no_signatures());
        }
        // One byte past `before` is the text's own LF.
        let text = note
            .get(..before.len().saturating_add(1))
            .ok_or_else(no_signatures)?;
        let mut signatures = Vec::new();
        for (index, line) in lines.split_terminator('\n').enumerate() {
            if index >= MAX_SIGNATURES {
                return Err(reason!(
                    "note-too-many-signatures",
                    "the note has more than {MAX_SIGNATURES} signature lines"
                ));
            }
            let signature = signature_line(line).map_err(|reason| {
                reason!(
                    "note-signature-line",
                    "signature line {line} of the note is malformed: {reason}",
                    line = index.saturating_add(1)
                )
            })?;
            signatures.push(signature);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            f.write_str(&written_line(&line.name, line.key_hint, &line.signature))?;
        }
        Ok(())
    }
}

fn no_signatures() -> Reason {
    reason!(
        "note-no-signatures",
        "the note has no text, blank line and signature lines"
    )
}

fn unterminated() -> Reason {
    reason!(
        "note-unterminated",
        "the note does not end with a line feed"
    )
}

/// `— NAME BASE64(KEY HINT[4] || SIGNATURE)`.
fn signature_line(line: &str) -> Result<NoteSignature, &'static str> {
    let line = line
        .strip_prefix(SIGNATURE_PREFIX)
        .ok_or("it does not start with an em dash and a space")?;
    let (name, base64) = line
        .split_once(' ')
        .ok_or("it has no name and no signature")?;
    if name.is_empty() || name.contains('+') || name.chars().any(char::is_whitespace) {
        return Err("the name is empty or contains a space or \"+\"");
    }
    let bytes = STANDARD
        .decode(base64)
        .map_err(|_| "the signature is not canonical base64")?;
    match bytes.split_first_chunk::<4>() {
        Some((key_hint, signature)) if !signature.is_empty() => Ok(NoteSignature {
            name: name.to_owned(),
            key_hint: *key_hint,
            signature: signature.to_vec(),
        }),
        _ => Err("the signature is shorter than a key id and one byte"),
    }
}

fn written_line(name: &str, key_hint: [u8; 4], signature: &[u8]) -> String {
    let base64 = STANDARD.encode([&key_hint, signature].concat());
    format!("{SIGNATURE_PREFIX}{name} {base64}\n")
}

/// A note of one signature, as text. `text` ends with LF.
#[must_use]
pub fn signed(text: &str, name: &str, key_hint: [u8; 4], signature: &[u8]) -> String {
    format!("{text}\n{}", written_line(name, key_hint, signature))
}

/// The state of a log's tree, as the log states it (C2SP tlog-checkpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// Leaves of the tree.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
    /// Further lines, none of them empty.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// Reads the text of a note.
    ///
    /// # Errors
    /// A line is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let text = text.strip_suffix('\n').ok_or_else(unterminated)?;
        let mut lines = text.split('\n');
        let mut line = |what| {
            lines.next().filter(|line| !line.is_empty()).ok_or_else(|| {
                reason!(
                    "checkpoint-missing-line",
                    "the checkpoint has no {what} line"
                )
            })
        };
        let origin = line("origin")?.to_owned();
        let size = size(line("size")?)?;
        let root = root(line("root")?)?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(reason!(
                "checkpoint-blank-line",
                "the checkpoint has a blank line within its text"
            ));
        }
        Ok(Self {
            origin,
            size,
            root,
            extensions,
        })
    }

    /// The text that is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        );
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// Decimal, no sign, no leading zeros, at most [`MAX_SIZE`].
fn size(line: &str) -> Result<u64, Reason> {
    let canonical = line == "0" || !line.starts_with('0');
    let digits = line.bytes().all(|byte| byte.is_ascii_digit());
    line.parse()
        .ok()
        .filter(|size| digits && canonical && *size <= MAX_SIZE)
        .ok_or_else(|| {
            reason!(
                "checkpoint-size",
                "the checkpoint's size {found:?} is not a decimal number from 0 to \
                     {MAX_SIZE}",
                found = excerpt(line)
            )
        })
}

fn root(line: &str) -> Result<Hash, Reason> {
    STANDARD
        .decode(line)
        .ok()
        .and_then(|bytes| Hash::try_from(bytes).ok())
        .ok_or_else(|| {
            reason!(
                "checkpoint-root",
                "the checkpoint's root {found:?} is not 32 bytes in base64",
                found = excerpt(line)
            )
        })
}

/// Enough of a line to recognise it by.
fn excerpt(line: &str) -> String {
    line.chars().take(80).collect()
}

/// The version of Rekor that a log runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RekorVersion {
    /// Rekor v1: the origin is `NAME - TREE ID`, entries have a SET.
    V1,
    /// Rekor v2 (rekor-tiles): the origin is the log's name, no SET.
    V2,
}

impl RekorVersion {
    /// The kind that an origin tells: `NAME - DIGITS` is v1.
    #[must_use]
    pub fn of_origin(origin: &str) -> Self {
        match split_v1_origin(origin) {
            Some(_) => Self::V1,
            None => Self::V2,
        }
    }
}

/// Name and tree id of a Rekor v1 origin `NAME - TREE ID`.
#[must_use]
pub fn split_v1_origin(origin: &str) -> Option<(&str, u64)> {
    let (name, id) = origin.rsplit_once(" - ")?;
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = id == "0" || !id.starts_with('0');
    let id = id.parse().ok().filter(|_| digits && canonical)?;
    (!name.is_empty()).then_some((name, id))
}

/// The key id of an Ed25519 key (C2SP signed-note, type 0x01):
/// `SHA-256(name || 0x0A || 0x01 || key)`. Its first four bytes are the key
/// hint; all of it is the log id of a Rekor v2 log.
#[must_use]
pub(crate) fn ed25519_key_id(name: &str, key: &[u8; 32]) -> [u8; 32] {
    typed_key_id(name, &[1], key)
}

/// The key id of an ECDSA key: SHA-256 of its SubjectPublicKeyInfo.
#[must_use]
pub fn ecdsa_key_id(spki: &[u8]) -> [u8; 32] {
    Sha256::digest(spki).into()
}

/// The key id by which a Rekor v2 log of this name signs with this key.
#[must_use]
pub fn key_id(name: &str, key: &PublicKey) -> [u8; 32] {
    match key.algorithm() {
        KeyAlgorithm::Ed25519 => typed_key_id(name, &[1], key.raw_key()),
        KeyAlgorithm::Rsa { .. } => typed_key_id(name, b"\xffPKIX-RSA-PKCS#1v1.5", key.spki()),
        KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => key.sha256(),
    }
}

fn typed_key_id(name: &str, kind: &[u8], key: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(name);
    hash.update(b"\n");
    hash.update(kind);
    hash.update(key);
    hash.finalize().into()
}

/// A key hint: the first four bytes of a key id or log id.
#[must_use]
pub fn key_hint(key_id: &[u8; 32]) -> [u8; 4] {
    key_id.first_chunk().copied().unwrap_or_default()
}

/// The properties by which a log's checkpoints are verified.
#[derive(Debug, Clone, Copy)]
pub struct LogVerifier<'a> {
    /// The key that signs them.
    pub key: &'a PublicKey,
    /// First four bytes of its key id.
    pub key_hint: [u8; 4],
    /// The version of Rekor it runs.
    pub kind: RekorVersion,
    /// If given: v2, the whole origin; v1, the NAME in `NAME - TREE ID`.
    pub origin: Option<&'a str>,
}

/// Parses a checkpoint and verifies that this log signed it.
///
/// A v1 log signs under the NAME of its origin `NAME - TREE ID`, a v2 log
/// under its origin. Every line of that name and key id must verify, and
/// expected one; lines of others (witnesses) are ignored. That the log
/// signed it may be taken from `memo`.
///
/// # Errors
/// The note is malformed, of another log, or not signed by this one.
pub fn open(note: &str, log: &LogVerifier<'_>, memo: &Memo) -> Result<Checkpoint, Reason> {
    let note = SignedNote::parse(note)?;
    let checkpoint = Checkpoint::parse(&note.text)?;
    let name = match log.kind {
        RekorVersion::V2 => checkpoint.origin.as_str(),
        RekorVersion::V1 => {
            let (name, _) = split_v1_origin(&checkpoint.origin).ok_or_else(|| {
                reason!(
                    "checkpoint-origin-form",
                    "the checkpoint's origin {found:?} is not \"NAME - TREE ID\"",
                    found = excerpt(&checkpoint.origin)
                )
            })?;
            name
        }
    };
    if let Some(expected) = log.origin.filter(|expected| *expected != name) {
        return Err(reason!(
            "checkpoint-origin",
            "the checkpoint is of {found:?}, not of {expected:?}",
            found = excerpt(name)
        ));
    }
    let mut verified = false;
    for line in &note.signatures {
        if line.name == name && line.key_hint == log.key_hint {
            let text = note.text.as_bytes();
            verify_by_log(log.key, log.kind, text, &line.signature, memo).map_err(|reason| {
                reason!(
                    "checkpoint-signature-invalid",
                    "the checkpoint's signature by {name:?} does not verify: {reason}",
                    name = excerpt(name)
                )
            })?;
            verified = true;
        }
    }
    if !verified {
        return Err(not_signed(&note, name, log.key_hint));
    }
    Ok(checkpoint)
}

/// Verifies a log's signature over a checkpoint or a SET.
///
/// Rekor v1 signs with SHA-256 whatever the curve of its key; only where the key is
/// in a key management service can it be the digest as wide as the curve, which is
/// also the one of Rekor v2.
///
/// # Errors
/// The signature does not verify.
pub(crate) fn verify_by_log(
    key: &PublicKey,
    kind: RekorVersion,
    message: &[u8],
    signature: &[u8],
    memo: &Memo,
) -> Result<(), Reason> {
    let usual = key.default_algorithm();
    let is_wide = matches!(key.algorithm(), KeyAlgorithm::P384 | KeyAlgorithm::P521);
    if kind == RekorVersion::V1
        && is_wide
        && let Ok(()) = memo.verify(key, SignatureAlgorithm::EcdsaSha256, message, signature)
    {
        return Ok(());
    }
    memo.verify(key, usual, message, signature)
}

/// The most telling reason why no line is the log's.
fn not_signed(note: &SignedNote, name: &str, key_hint: [u8; 4]) -> Reason {
    let lines = &note.signatures;
    if let Some(line) = lines.iter().find(|line| line.key_hint == key_hint) {
        return reason!(
            "checkpoint-signer-name",
            "the log's key signed as {found:?}, not as {expected:?}",
            found = excerpt(&line.name),
            expected = excerpt(name)
        );
    }
    if let Some(line) = lines.iter().find(|line| line.name == name) {
        return reason!(
            "checkpoint-signer-key",
            "{name:?} signed with the key ID {found}, not with the trusted {expected}",
            name = excerpt(name),
            found = hex(&line.key_hint),
            expected = hex(&key_hint)
        );
    }
    reason!(
        "checkpoint-not-signed-by-log",
        "none of {lines} signature lines is of the log {name:?} with the key ID {hint}",
        lines = lines.len(),
        name = excerpt(name),
        hint = hex(&key_hint)
    )
}
