//! Git objects: what of a commit or tag is signed, and what signs it.
//!
//! The bytes are split as Git hashes them and never re-encoded. A signature
//! says nothing about where in the object it stands, so the framing is
//! strict: whatever two readers of Git objects could read differently is
//! refused.
//!
//! `gitformat-signature(5)`; what `git fsck` calls an error is one here.
//!
//! *Not checked here:* the armour (`armor.rs`), the signature
//! (`signed_data.rs`), whether a tag has the name of its ref (the gate).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::fmt;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{
    armor, hex,
    refusal::{Reason, codes, reason},
    signed_data,
};

mod headers;
#[cfg(test)]
mod tests;

use headers::{
    FoundSignatures, GPGSIG, GPGSIG_SHA256, Header, Headers, Signatures, duplicate, excerpt,
};

/// Largest object that is read, in bytes.
pub const MAX_OBJECT: usize = 64 * 1024 * 1024;
/// Most parents of a commit.
pub const MAX_PARENTS: usize = 4096;

/// Starts of the lines by which Git finds a tag's signature (its
/// `gpg-interface.c`): the last such line in the object.
const SIGNATURE_MARKS: [&[u8]; 4] = [
    b"-----BEGIN SIGNED MESSAGE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
];

/// The kinds of objects that can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A commit object.
    Commit,
    /// An annotated tag object.
    Tag,
}

impl ObjectKind {
    /// Git's name of the type: `commit`, `tag`; the others are not signed.
    #[must_use]
    pub fn from_type(name: &str) -> Option<Self> {
        match name {
            "commit" => Some(Self::Commit),
            "tag" => Some(Self::Tag),
            _ => None,
        }
    }

    /// Git's name of the type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tag => "tag",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The hash that names the objects of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// Ids of 40 hex digits.
    Sha1,
    /// Ids of 64 hex digits.
    Sha256,
}

impl HashKind {
    /// Hex digits of an object id.
    #[must_use]
    pub fn hex_length(self) -> usize {
        match self {
            Self::Sha1 => 40,
            Self::Sha256 => 64,
        }
    }

    /// The header that holds a commit's signature.
    #[must_use]
    pub(crate) fn signature_header(self) -> &'static str {
        match self {
            Self::Sha1 => GPGSIG,
            Self::Sha256 => GPGSIG_SHA256,
        }
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
        })
    }
}

/// An object, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedObject {
    /// The kind of the object.
    pub kind: ObjectKind,
    /// The signed payload: the bytes that Git pipes to a helper.
    pub payload: Vec<u8>,
    /// The armoured signature: LF lines, final LF.
    pub signature: Vec<u8>,
    /// The name of the header with the signature over the commit's other form, in a
    /// repository of two object formats. That form cannot be rebuilt from the commit,
    /// so this signature is not verified.
    pub unverified_header: Option<&'static str>,
}

/// Takes an object apart: `raw` is what Git hashes, without the
/// `commit 123\0` before it.
///
/// A commit's signature is its last header; two programs make exceptions, and no
/// other order is accepted:
///
/// - JGit writes `encoding` behind it;
/// - Git writes `gpgsig` and then `gpgsig-sha256` in a repository of two object
///   formats. The one of the repository's hash is the signature, over the object
///   without either. The other one must be a CMS signature in one strict block.
///
/// A tag's signature is what begins with the last line that Git takes for the
/// beginning of a signature, and nothing may follow it.
///
/// # Errors
/// The object is unsigned, malformed, or ambiguous.
pub fn split_signature(
    kind: ObjectKind,
    hash: HashKind,
    raw: &[u8],
) -> Result<SignedObject, Reason> {
    check_size(raw)?;
    let object = match kind {
        ObjectKind::Commit => split_commit(hash, raw)?,
        ObjectKind::Tag => split_tag(hash, raw)?,
    };
    check_nul(kind, raw)?;
    Ok(object)
}

/// Puts an object together, the inverse of [`split_signature`]: a commit's signature
/// becomes the last header, before the blank line; a tag's is appended.
#[must_use]
pub fn attach_signature(
    kind: ObjectKind,
    hash: HashKind,
    payload: &[u8],
    signature: &[u8],
) -> Vec<u8> {
    match kind {
        ObjectKind::Commit => with_header(hash.signature_header(), payload, signature),
        ObjectKind::Tag => [payload, signature].concat(),
    }
}

/// Git's id of an object, lowercase hex.
#[must_use]
pub fn id_hex(kind: ObjectKind, hash: HashKind, raw: &[u8]) -> String {
    let header = format!("{kind} {}\0", raw.len());
    match hash {
        HashKind::Sha1 => hex(&Sha1::new()
            .chain_update(header)
            .chain_update(raw)
            .finalize()),
        HashKind::Sha256 => hex(&Sha256::new()
            .chain_update(header)
            .chain_update(raw)
            .finalize()),
    }
}

/// Checks what Git pipes to a helper, of which the place of the signature can
/// no longer be seen, and tells what it is.
///
/// # Errors
/// It is neither a commit nor a tag (a push
/// certificate, say); otherwise what [`split_signature`] refuses too.
pub fn check_payload(payload: &[u8]) -> Result<ObjectKind, Reason> {
    check_size(payload)?;
    let kind = if payload.starts_with(b"tree ") {
        scan_commit(payload, None)?;
        ObjectKind::Commit
    } else if payload.starts_with(b"object ") {
        scan_tag(payload, None)?;
        ObjectKind::Tag
    } else {
        return Err(reason!(
            "object-kind",
            "this is neither a commit nor a tag: it starts with {found:?}",
            found = excerpt(
                payload
                    .split(|&byte| byte == b'\n')
                    .next()
                    .unwrap_or(payload),
            )
        ));
    };
    check_nul(kind, payload)?;
    Ok(kind)
}

/// A name, email address and time: the value of an `author`, `committer` or `tagger` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    /// Decoded for display: bytes that are no UTF-8 become U+FFFD.
    pub name: String,
    /// Decoded for display, as the name.
    pub email: String,
    /// Seconds since 1970, as claimed.
    pub time: i64,
    /// Minutes east of UTC, as claimed.
    pub offset_minutes: i32,
    /// The header's value as it stands in the object.
    pub raw: Vec<u8>,
}

/// The parsed headers and message of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedCommit {
    /// The object ID in hex.
    pub tree: String,
    /// The object IDs in hex.
    pub parents: Vec<String>,
    /// The author of the commit.
    pub author: Ident,
    /// The committer of the commit.
    pub committer: Ident,
    /// The message: everything after the blank line.
    pub message: Vec<u8>,
    /// The message's encoding where it is not UTF-8.
    pub encoding: Option<String>,
}

/// The parsed headers and message of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedTag {
    /// Object id of what is tagged, hex.
    pub object: String,
    /// `commit`, `tree`, `blob` or `tag`.
    pub object_type: String,
    /// The name that the tagger gave it.
    pub tag: String,
    /// The tagger; tags of before 2005 have none.
    pub tagger: Option<Ident>,
    /// The message: everything after the blank line, without the signature if `payload` is a
    /// payload.
    pub message: Vec<u8>,
}

/// Reads a commit's payload.
///
/// # Errors
/// As [`check_payload`].
pub fn commit_view(payload: &[u8]) -> Result<ParsedCommit, Reason> {
    check_size(payload)?;
    let scan = scan_commit(payload, None)?;
    Ok(ParsedCommit {
        tree: lossy(scan.tree),
        parents: scan.parents.into_iter().map(lossy).collect(),
        author: person("author", scan.author)?,
        committer: person("committer", scan.committer)?,
        message: payload.get(scan.body..).unwrap_or_default().to_vec(),
        encoding: scan.encoding.map(lossy),
    })
}

/// Reads a tag's payload.
///
/// # Errors
/// As [`check_payload`].
pub fn tag_view(payload: &[u8]) -> Result<ParsedTag, Reason> {
    check_size(payload)?;
    let scan = scan_tag(payload, None)?;
    Ok(ParsedTag {
        object: lossy(scan.object),
        object_type: lossy(scan.object_type),
        tag: lossy(scan.tag),
        tagger: scan
            .tagger
            .map(|tagger| person("tagger", tagger))
            .transpose()?,
        message: payload.get(scan.body..).unwrap_or_default().to_vec(),
    })
}

/// Returns the committer of a commit, or the tagger of a tag that has one.
#[must_use]
pub fn committer(kind: ObjectKind, payload: &[u8]) -> Option<Ident> {
    match kind {
        ObjectKind::Commit => commit_view(payload).ok().map(|commit| commit.committer),
        ObjectKind::Tag => tag_view(payload).ok().and_then(|tag| tag.tagger),
    }
}

/// The object ids under which releases of gitsign logged a signature in their
/// `online` mode, most likely first.
///
/// All of them hash with SHA-1, whatever the repository: its current releases
/// put a commit together with a `gpgsig` header and append a tag's signature;
/// 0.16.0 and 0.16.1 gave tags a `gpgsig` header too; up to 0.15.1 headers
/// other than tree, parents, author and committer were lost. The last is the
/// object's real id where the repository is a SHA-256 one.
#[must_use]
pub fn gitsign_online_ids(
    kind: ObjectKind,
    hash: HashKind,
    payload: &[u8],
    signature: &[u8],
) -> Vec<String> {
    let mut ids: Vec<String> = Vec::with_capacity(3);
    let mut add = |id: String| {
        if !ids.contains(&id) {
            ids.push(id);
        }
    };
    let sha1 = HashKind::Sha1;
    add(id_hex(
        kind,
        sha1,
        &attach_signature(kind, sha1, payload, signature),
    ));
    match kind {
        ObjectKind::Tag => {
            let with_header = with_header(GPGSIG, payload, signature);
            add(id_hex(kind, sha1, &with_header));
        }
        ObjectKind::Commit => {
            if let Some(plain) = without_extra_headers(payload) {
                add(id_hex(
                    kind,
                    sha1,
                    &attach_signature(kind, sha1, &plain, signature),
                ));
            }
        }
    }
    if hash == HashKind::Sha256 {
        add(id_hex(
            kind,
            hash,
            &attach_signature(kind, hash, payload, signature),
        ));
    }
    ids
}

fn without_extra_headers(payload: &[u8]) -> Option<Vec<u8>> {
    let scan = scan_commit(payload, None).ok()?;
    // The blank line begins one byte before the body.
    let blank = scan.body.checked_sub(1)?;
    Some([payload.get(..scan.extra)?, payload.get(blank..)?].concat())
}

fn with_header(name: &str, payload: &[u8], signature: &[u8]) -> Vec<u8> {
    // Before the blank line; without one, at the end.
    let at = payload
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .map_or(payload.len(), |at| at.saturating_add(1));
    let (headers, body) = payload.split_at_checked(at).unwrap_or((payload, &[]));
    let text = signature.strip_suffix(b"\n").unwrap_or(signature);
    let room = payload
        .len()
        .saturating_add(signature.len().saturating_mul(2))
        .saturating_add(name.len());
    let mut raw = Vec::with_capacity(room);
    raw.extend_from_slice(headers);
    raw.extend_from_slice(name.as_bytes());
    for line in text.split(|&byte| byte == b'\n') {
        raw.push(b' ');
        raw.extend_from_slice(line);
        raw.push(b'\n');
    }
    raw.extend_from_slice(body);
    raw
}

fn split_commit(hash: HashKind, raw: &[u8]) -> Result<SignedObject, Reason> {
    let CommitScan { signatures, .. } = scan_commit(raw, Some(hash))?;
    let (header, other) = match signatures {
        Signatures::None => return Err(unsigned(ObjectKind::Commit)),
        Signatures::One(header) => (header, None),
        Signatures::Both { sha1, sha256 } => match hash {
            HashKind::Sha1 => (sha1, Some(sha256)),
            HashKind::Sha256 => (sha256, Some(sha1)),
        },
    };
    let unverified_header = other
        .map(|other| check_other_signature(raw, &other))
        .transpose()?;
    // Both headers are adjacent.
    let start = other.map_or(header.start, |other| other.start.min(header.start));
    let end = other.map_or(header.end, |other| other.end.max(header.end));
    let before = raw.get(..start).unwrap_or_default();
    let after = raw.get(end..).unwrap_or_default();
    Ok(SignedObject {
        kind: ObjectKind::Commit,
        payload: [before, after].concat(),
        signature: header.unfolded(raw),
        unverified_header,
    })
}

/// Checks the signature over a commit's other form, as far as this form allows: it
/// is one signature of the format that is verified here, as Git writes it.
fn check_other_signature(raw: &[u8], header: &Header<'_>) -> Result<&'static str, Reason> {
    let name = header.signature().unwrap_or_default();
    armor::decode(&header.unfolded(raw))
        .and_then(|der| signed_data::read(&der))
        .map(|_| name)
        .map_err(|reason| {
            reason!(
                "signature-other-format",
                "the header {name} beside the signature is not a signature: {reason}"
            )
        })
}
fn split_tag(hash: HashKind, raw: &[u8]) -> Result<SignedObject, Reason> {
    let scan = scan_tag(raw, Some(hash))?;
    let body = raw.get(scan.body..).unwrap_or_default();
    let Some(at) = last_signature(body) else {
        return Err(unsigned(ObjectKind::Tag));
    };
    let at = scan.body.saturating_add(at);
    let (payload, signature) = raw.split_at_checked(at).unwrap_or((raw, &[]));
    if !signature.ends_with(b"\n") {
        return Err(reason!(
            "signature-unterminated",
            "the tag's signature does not end with a line feed"
        ));
    }
    let mut end = 0_usize;
    for line in signature.split_inclusive(|&byte| byte == b'\n') {
        end = end.saturating_add(line.len());
        if line.starts_with(b"-----END ") {
            let bytes = signature.len().saturating_sub(end);
            if bytes > 0 {
                return Err(reason!(
                    "text-after-signature",
                    "{bytes} unsigned bytes follow the tag's signature"
                ));
            }
        }
    }
    Ok(SignedObject {
        kind: ObjectKind::Tag,
        payload: payload.to_vec(),
        signature: signature.to_vec(),
        unverified_header: None,
    })
}

/// The offset of the last line that Git takes for the start of a signature.
fn last_signature(body: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    let mut last = None;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"-----BEGIN ")
            && SIGNATURE_MARKS.iter().any(|mark| line.starts_with(mark))
        {
            last = Some(at);
        }
        at = at.saturating_add(line.len());
    }
    last
}

fn check_size(raw: &[u8]) -> Result<(), Reason> {
    if raw.len() > MAX_OBJECT {
        return Err(reason!(
            "object-too-large",
            "the object is {bytes} bytes; the limit is {MAX_OBJECT}",
            bytes = raw.len()
        ));
    }
    Ok(())
}

fn check_nul(kind: ObjectKind, raw: &[u8]) -> Result<(), Reason> {
    if !raw.contains(&0) {
        return Ok(());
    }
    let at = raw.iter().position(|&byte| byte == 0).unwrap_or_default();
    Err(reason!(
        "object-nul",
        "the {kind} contains a NUL byte at offset {at}; Git displays only what precedes it"
    ))
}

fn unsigned(kind: ObjectKind) -> Reason {
    reason!(codes::OBJECT_UNSIGNED, "the {kind} is not signed")
}

fn order(line: usize, found: &str, expected: &str) -> Reason {
    reason!(
        "object-header-order",
        "header line {line} is {found:?}, expected {expected}"
    )
}

fn not_an_id(header: &str, value: &[u8]) -> Reason {
    reason!(
        "object-id",
        "the value of header {header} is not an object ID: {:?}",
        excerpt(value)
    )
}

fn in_payload(header: &str) -> Reason {
    reason!(
        "signature-in-payload",
        "the signed payload contains a signature header {header}"
    )
}

fn not_an_ident(header: &str, problem: &str) -> Reason {
    reason!(
        "object-person",
        "the {header} is not \"name <email> time zone\": {problem}"
    )
}

struct CommitScan<'a> {
    tree: &'a [u8],
    parents: Vec<&'a [u8]>,
    author: &'a [u8],
    committer: &'a [u8],
    encoding: Option<&'a [u8]>,
    signatures: Signatures<'a>,
    /// Offset of the headers after the committer.
    extra: usize,
    /// Offset of the body.
    body: usize,
}

/// Reads a commit's headers: `tree`, `parent`*, `author`, `committer`, others,
/// and the signature last (JGit: before `encoding`). Without `hash` it is a payload,
/// which has none.
fn scan_commit(raw: &[u8], hash: Option<HashKind>) -> Result<CommitScan<'_>, Reason> {
    let mut headers = Headers::new(raw);
    let first = expect(&mut headers, "tree", hash)?;
    let tree = object_id("tree", first.text, hash)?;
    let mut parents = Vec::new();
    let mut next = expect_any(&mut headers, "author", hash)?;
    while next.is("parent") {
        next.one_line()?;
        if parents.len() >= MAX_PARENTS {
            return Err(reason!(
                "object-too-many-parents",
                "the commit has more than {MAX_PARENTS} parents"
            ));
        }
        let parent = object_id("parent", next.text, hash)?;
        if parent.len() != tree.len() {
            return Err(not_an_id("parent", parent));
        }
        parents.push(parent);
        next = expect_any(&mut headers, "author", hash)?;
    }
    let author = named(next, "author")?;
    check_person("author", author.text)?;
    let committer = expect(&mut headers, "committer", hash)?;
    check_person("committer", committer.text)?;
    let extra = headers.at;
    let mut encoding = None;
    let mut found = FoundSignatures::default();
    while let Some(header) = headers.next()? {
        if let Some(name) = header.signature() {
            if hash.is_none() {
                return Err(in_payload(name));
            }
            found.add(header, name)?;
            continue;
        }
        once(&header, &["tree", "author", "committer"])?;
        if header.is("parent") {
            return Err(order(
                header.line,
                "parent",
                "a header that may follow the committer",
            ));
        }
        let is_encoding = header.is("encoding");
        if is_encoding {
            header.one_line()?;
            if encoding.is_some() {
                return Err(duplicate(header.line, "encoding"));
            }
            encoding = Some(header.text);
        }
        found.follow(&header, is_encoding)?;
    }
    let signatures = match hash {
        None => Signatures::None,
        Some(hash) => found.finish(hash)?,
    };
    Ok(CommitScan {
        tree,
        parents,
        author: author.text,
        committer: committer.text,
        encoding,
        signatures,
        extra,
        body: headers.at,
    })
}

struct TagScan<'a> {
    object: &'a [u8],
    object_type: &'a [u8],
    tag: &'a [u8],
    tagger: Option<&'a [u8]>,
    body: usize,
}

/// Reads a tag's headers: `object`, `type`, `tag`, `tagger`?, others.
fn scan_tag(raw: &[u8], hash: Option<HashKind>) -> Result<TagScan<'_>, Reason> {
    let mut headers = Headers::new(raw);
    let object = object_id("object", expect(&mut headers, "object", hash)?.text, hash)?;
    let object_type = expect(&mut headers, "type", hash)?.text;
    if !matches!(object_type, b"commit" | b"tree" | b"blob" | b"tag") {
        return Err(reason!(
            "object-tag-type",
            "a tag cannot name a {found:?}",
            found = excerpt(object_type)
        ));
    }
    let tag = expect(&mut headers, "tag", hash)?.text;
    if tag.is_empty() {
        return Err(reason!("object-tag-name", "the tag has no name"));
    }
    let tag_line = headers.line;
    let mut tagger = None;
    while let Some(header) = headers.next()? {
        if let Some(name) = header.signature() {
            return Err(reason!(
                "signature-in-tag-header",
                "the tag has a signature header {header}",
                header = name
            ));
        }
        once(&header, &["object", "type", "tag"])?;
        if header.is("tagger") {
            if tagger.is_some() {
                return Err(duplicate(header.line, "tagger"));
            }
            if header.line != tag_line {
                return Err(order(
                    header.line,
                    "tagger",
                    "a header that may follow the tagger",
                ));
            }
            header.one_line()?;
            check_person("tagger", header.text)?;
            tagger = Some(header.text);
        }
    }
    Ok(TagScan {
        object,
        object_type,
        tag,
        tagger,
        body: headers.at,
    })
}

/// The next header, whichever; the signature must not come before `wanted`.
fn expect_any<'a>(
    headers: &mut Headers<'a>,
    wanted: &'static str,
    hash: Option<HashKind>,
) -> Result<Header<'a>, Reason> {
    let line = headers.line;
    let header = headers.next()?.ok_or_else(|| order(line, "", wanted))?;
    match (header.signature(), hash) {
        (None, _) => Ok(header),
        (Some(header), None) => Err(in_payload(header)),
        (Some(_), Some(_)) => Err(reason!(
            "signature-position",
            "the signature is in line {line}, before {expected}",
            expected = wanted
        )),
    }
}

/// The next header, which must be this one and have one line.
fn expect<'a>(
    headers: &mut Headers<'a>,
    wanted: &'static str,
    hash: Option<HashKind>,
) -> Result<Header<'a>, Reason> {
    named(expect_any(headers, wanted, hash)?, wanted)
}

fn named<'a>(header: Header<'a>, wanted: &'static str) -> Result<Header<'a>, Reason> {
    if header.is(wanted) {
        header.one_line()?;
        return Ok(header);
    }
    let before: &[&'static str] = match wanted {
        "author" => &["tree"],
        "committer" => &["tree", "author"],
        "type" => &["object"],
        "tag" => &["object", "type"],
        _ => &[],
    };
    once(&header, before)?;
    Err(order(header.line, &excerpt(header.name), wanted))
}

/// Refuses a header that was there already.
fn once(header: &Header<'_>, seen: &[&'static str]) -> Result<(), Reason> {
    match seen.iter().find(|name| header.is(name)) {
        Some(name) => Err(duplicate(header.line, name)),
        None => Ok(()),
    }
}

fn object_id<'a>(
    header: &'static str,
    value: &'a [u8],
    hash: Option<HashKind>,
) -> Result<&'a [u8], Reason> {
    let length = match hash {
        Some(hash) => value.len() == hash.hex_length(),
        None => matches!(value.len(), 40 | 64),
    };
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if length && value.iter().all(lower) {
        return Ok(value);
    }
    Err(not_an_id(header, value))
}

/// The parts of `NAME <EMAIL> TIME ZONE`.
struct PersonParts<'a> {
    name: &'a [u8],
    email: &'a [u8],
    time: i64,
    offset_minutes: i32,
}

fn check_person(header: &'static str, value: &[u8]) -> Result<(), Reason> {
    person_parts(value)
        .map(|_| ())
        .map_err(|problem| not_an_ident(header, problem))
}

fn person(header: &'static str, value: &[u8]) -> Result<Ident, Reason> {
    let parts = person_parts(value).map_err(|problem| not_an_ident(header, problem))?;
    Ok(Ident {
        name: lossy(parts.name),
        email: lossy(parts.email),
        time: parts.time,
        offset_minutes: parts.offset_minutes,
        raw: value.to_vec(),
    })
}

fn person_parts(value: &[u8]) -> Result<PersonParts<'_>, &'static str> {
    let angles = |wanted: u8| value.iter().filter(|&&byte| byte == wanted).count();
    if angles(b'<') != 1 || angles(b'>') != 1 {
        return Err("expected one \"<\" and one \">\"");
    }
    let mut halves = value.splitn(2, |&byte| byte == b'<');
    let name = halves.next().unwrap_or_default();
    let mut rest = halves
        .next()
        .unwrap_or_default()
        .splitn(2, |&byte| byte == b'>');
    let email = rest.next().unwrap_or_default();
    let date = rest.next().ok_or("the \">\" precedes the \"<\"")?;
    let name = match name {
        [] => name,
        [name @ .., b' '] => name,
        _ => return Err("no space precedes the \"<\""),
    };
    let mut fields = date
        .strip_prefix(b" ")
        .ok_or("no space follows the \">\"")?
        .splitn(2, |&byte| byte == b' ');
    let time = seconds(fields.next().unwrap_or_default())
        .ok_or("the time is not a decimal number of seconds")?;
    let offset_minutes = fields
        .next()
        .and_then(zone)
        .ok_or("the time zone is not a sign and four digits")?;
    Ok(PersonParts {
        name,
        email,
        time,
        offset_minutes,
    })
}

/// Decimal digits without leading zeros.
fn seconds(digits: &[u8]) -> Option<i64> {
    if digits.first() == Some(&b'0') && digits.len() > 1 {
        return None;
    }
    decimal(digits)
}

/// Parses `[+-]HHMM` to minutes.
fn zone(text: &[u8]) -> Option<i32> {
    let [sign, digits @ ..] = text else {
        return None;
    };
    let number = match digits.len() {
        4 => i32::try_from(decimal(digits)?).ok()?,
        _ => return None,
    };
    let minutes = number
        .checked_div(100)?
        .checked_mul(60)?
        .checked_add(number.checked_rem(100)?)?;
    match sign {
        b'+' => Some(minutes),
        b'-' => minutes.checked_neg(),
        _ => None,
    }
}

fn decimal(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
