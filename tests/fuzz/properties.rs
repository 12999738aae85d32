//! What must hold for every input of each parser, shared by the fuzz targets
//! (`targets/`) and by an ordinary test (`tests/fuzz.rs`) that runs them on the
//! seeds. A property panics; libFuzzer reports that.
//!
//! The rule for all: **accepted means that it prints back identically**, or,
//! where there is no printer, that an independent reader agrees on what was
//! accepted. Refusing is always allowed here; what must be accepted is the
//! business of the vector tests.

// Each fuzz target uses one of these; the ordinary test uses all.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gitseal::host::git::{push, push_certificate};
use gitseal_evidence::armor;
use gitseal_evidence::certificate::Certificate;
use gitseal_evidence::checkpoint::{Checkpoint, SignedNote};
use gitseal_evidence::entry::LogEntry;
use gitseal_evidence::object::{self, HashKind, ObjectKind};
use gitseal_evidence::signed_data;
use gitseal_evidence::timestamp;
use gitseal_evidence::trusted_root::TrustedRoot;
use gitseal_evidence::verify::{self, NoopObserver, SignatureInput, VerifyInputs};
use gitseal_services::oidc::token::IdentityToken;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::seeds;

/// What is run on each input.
pub type Property = fn(&[u8]);

/// Every target: its name and its property.
pub const ALL: [(&str, Property); 14] = [
    ("armor", armor),
    ("certificate", certificate),
    ("checkpoint", checkpoint),
    ("cms", cms),
    ("entry", entry),
    ("frame", frame),
    ("hook", hook),
    ("object", object),
    ("policy", policy),
    ("signature", signature),
    ("timestamp", timestamp),
    ("token", token),
    ("trusted_root", trusted_root),
    ("verify", verify),
];

/// An accepted armour is what printing its bytes gives; a final LF may be
/// missing.
pub fn armor(data: &[u8]) {
    let Ok(der) = armor::decode(data) else { return };
    let printed = armor::encode(&der);
    assert_eq!(
        data.strip_suffix(b"\n").unwrap_or(data),
        printed.trim_end_matches('\n').as_bytes()
    );
    // The body, to a reader of its own.
    let body: String = printed.lines().filter(|l| !l.starts_with('-')).collect();
    assert_eq!(body, STANDARD.encode(&der));
}

/// `[hash and hook] lines`: what is accepted prints back identically, each name
/// is one that `gix` takes for a reference too, and no name is there twice. Or a
/// push certificate: payload and signature are all of it, and the commands are
/// where git reads them, between the first empty line and the signature.
pub fn hook(data: &[u8]) {
    let Some((&flag, lines)) = data.split_first() else {
        return;
    };
    let hash = if flag & 1 == 0 {
        HashKind::Sha1
    } else {
        HashKind::Sha256
    };
    let zero = "0".repeat(hash.hex_length());
    let text = |id: Option<gix::ObjectId>| id.map_or_else(|| zero.clone(), |id| id.to_string());
    if flag & 4 != 0 {
        let Ok(read) = push_certificate::read(lines, hash, 1000) else {
            return;
        };
        assert_eq!([read.payload, read.signature].concat(), lines);
        assert!(read.signature.starts_with(b"-----BEGIN "));
        let begin = read
            .payload
            .windows(2)
            .position(|two| two == b"\n\n")
            .unwrap()
            + 2;
        let commands = push::parse_pre_receive(&read.payload[begin..], hash, 1000).unwrap();
        assert_eq!(commands, read.updates);
        return;
    }
    let receives = flag & 2 == 0;
    let read = if receives {
        push::parse_pre_receive(lines, hash, 1000)
    } else {
        push::parse_pre_push(lines, hash, 1000)
    };
    let Ok(updates) = read else { return };
    let mut rest = lines;
    let mut names = BTreeSet::new();
    for update in &updates {
        let end = rest.iter().position(|&b| b == b'\n').unwrap() + 1;
        let (line, after) = rest.split_at(end);
        rest = after;
        let (old, new) = (text(update.old), text(update.new));
        if receives {
            let printed = [
                old.as_bytes(),
                b" ",
                new.as_bytes(),
                b" ",
                &update.name,
                b"\n",
            ]
            .concat();
            assert_eq!(line, printed);
        } else {
            let tail = [
                b" ",
                new.as_bytes(),
                b" ",
                &update.name,
                b" ",
                old.as_bytes(),
                b"\n",
            ]
            .concat();
            assert!(line.ends_with(&tail));
        }
        assert!(gix::refs::FullName::try_from(update.name.clone()).is_ok());
        assert!(names.insert(update.name.clone()));
    }
    assert!(rest.is_empty());
}

/// `[kind and hash] raw`: an accepted object joins back to its raw bytes, and
/// payload and signature are what they claim to be.
pub fn object(data: &[u8]) {
    let Some((kind, hash, raw)) = flagged(data) else {
        return;
    };
    if let Ok(kind) = object::check_payload(raw) {
        match kind {
            ObjectKind::Commit => drop(object::commit_view(raw)),
            ObjectKind::Tag => drop(object::tag_view(raw)),
        }
    }
    let Ok(signed) = object::split_signature(kind, hash, raw) else {
        return;
    };
    assert_eq!(signed.kind, kind);
    assert_eq!(
        object::attach_signature(kind, hash, &signed.payload, &signed.signature),
        raw,
        "joins back to the raw bytes"
    );
    assert_eq!(object::check_payload(&signed.payload).ok(), Some(kind));
    assert!(!signed.payload.contains(&0));
    assert!(signed.signature.ends_with(b"\n"));
    if kind == ObjectKind::Commit {
        let header_end = find(&signed.payload, b"\n\n").expect("a blank line");
        let header = &signed.payload[..header_end + 1];
        for name in [&b"\ngpgsig "[..], b"\ngpgsig-sha256 "] {
            assert!(
                find(header, name).is_none(),
                "a signature left in the header"
            );
        }
        assert!(object::commit_view(&signed.payload).is_ok());
    } else {
        assert!(object::tag_view(&signed.payload).is_ok());
    }
}

/// An accepted certificate is strict DER as an independent walk sees it, and is
/// kept byte for byte.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::from_der(data) else {
        return;
    };
    assert_eq!(certificate.der(), data);
    assert_eq!(walk(data), Some(data.len()), "strict DER");
    let pem = certificate.to_pem();
    let again = Certificate::from_pem(&pem).expect("its own PEM is read");
    assert_eq!(again.der(), data);
    // Total functions: whatever they answer, they answer.
    let _ = certificate.identity();
    let _ = certificate.issuer_text();
    let _ = gitseal_evidence::sct::embedded(&certificate);
    let _ = gitseal_evidence::sct::precert_tbs(&certificate);
}

/// An accepted note, and an accepted checkpoint in it, print back identically.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(note) = SignedNote::parse(text) {
        assert_eq!(note.to_string(), text);
        if let Ok(checkpoint) = Checkpoint::parse(&note.text) {
            assert_eq!(checkpoint.to_text(), note.text);
        }
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_text(), text);
    }
}

/// An accepted CMS is strict DER as an independent walk sees it, its parts are
/// bytes of the input, and one byte more is refused.
pub fn cms(data: &[u8]) {
    let Ok(message) = signed_data::read(data) else {
        return;
    };
    assert_eq!(walk(data), Some(data.len()), "strict DER");
    assert_eq!(
        message.attributes.first(),
        Some(&0x31),
        "as signed: a SET OF"
    );
    assert!(find(data, &message.attributes[1..]).is_some());
    assert!(find(data, message.leaf.der()).is_some());
    assert!(find(data, &message.signature).is_some());
    assert!(find(data, &message.message_digest).is_some());
    for other in &message.others {
        assert!(find(data, other.der()).is_some());
    }
    for bytes in message.log_entry.iter().chain(&message.timestamps) {
        assert!(find(data, bytes).is_some());
    }
    let mut longer = data.to_vec();
    longer.push(0);
    assert!(signed_data::read(&longer).is_err(), "nothing may follow");
}

/// An accepted log entry prints back identically, but for an empty promise that
/// was left out; it is read without its body as well.
pub fn entry(data: &[u8]) {
    let Ok(entry) = LogEntry::from_protobuf(data) else {
        return;
    };
    let printed = entry.to_protobuf(true);
    if entry.set.is_some() || printed.len() == data.len() {
        assert_eq!(printed, data, "prints back identically");
    } else {
        // Without SET the promise may be absent; an empty one takes two bytes.
        assert_eq!(printed.len(), data.len() + 2);
    }
    let bare = entry.to_protobuf(false);
    if let Ok(again) = LogEntry::from_protobuf(&bare) {
        assert_eq!(again.to_protobuf(true), bare);
        assert_eq!(again.body, None);
    }
}

/// A stream of frames of the credential cache: each whole frame is what framing
/// its payload gives, and an accepted message prints back identically. No
/// payload is both a request and a response.
pub fn frame(data: &[u8]) {
    use gitseal_credential_cache::protocol::{
        CacheRequest, CacheResponse, MAX_FRAME, read_frame, write_frame,
    };
    let mut rest = data;
    loop {
        let before = rest;
        let Ok(payload) = read_frame(&mut rest) else {
            return;
        };
        assert!((2..=MAX_FRAME).contains(&payload.len()));
        let mut framed = Vec::new();
        write_frame(&mut framed, &payload).expect("it was framed");
        assert_eq!(framed, before[..before.len() - rest.len()]);
        let (request, response) = (
            CacheRequest::parse(&payload),
            CacheResponse::parse(&payload),
        );
        assert!(request.is_err() || response.is_err());
        if let Ok(request) = request {
            assert_eq!(*request.print().expect("it was read"), payload);
            // What is printed for a person does not depend on the token.
            let mut other = request.clone();
            if let CacheRequest::KeepToken { token, .. } = &mut other {
                *token = gitseal_credential_cache::protocol::Secret::new("another");
            }
            assert_eq!(format!("{request:?}"), format!("{other:?}"));
        }
        if let Ok(response) = response {
            assert_eq!(*response.print().expect("it was read"), payload);
        }
    }
}

/// An accepted timestamp token is strict DER as an independent walk sees it; so
/// is an accepted request.
pub fn timestamp(data: &[u8]) {
    if timestamp::read(data).is_ok() {
        assert_eq!(walk(data), Some(data.len()), "strict DER");
    }
    if gitseal_services::tsa::wire::parse_request(data).is_ok() {
        assert_eq!(walk(data), Some(data.len()), "strict DER");
    }
}

/// A token as it is, or `\0 header \0 claims \0 signature` to be put together: an
/// accepted one has three canonical parts, and says what a reader of JSON that
/// knows nothing of tokens finds in it.
pub fn token(data: &[u8]) {
    let Some(text) = token_text(data) else { return };
    let Ok(token) = IdentityToken::parse(Zeroizing::new(text.clone())) else {
        return;
    };
    assert_eq!(token.secret(), text.trim());
    let parts: Vec<Vec<u8>> = token
        .secret()
        .split('.')
        .map(|part| {
            // The other alphabet, with padding: a reader of its own.
            let mut other = part.replace('-', "+").replace('_', "/");
            assert!(!part.contains(['+', '/', '=']), "one alphabet");
            while other.len() % 4 != 0 {
                other.push('=');
            }
            let bytes = STANDARD.decode(&other).expect("base64");
            assert_eq!(STANDARD.encode(&bytes), other, "canonical");
            bytes
        })
        .collect();
    let [header, payload, signature] = &parts[..] else {
        panic!("{} parts", parts.len());
    };
    assert!(!signature.is_empty());
    let header: Value = serde_json::from_slice(header).expect("JSON");
    let algorithm = header["alg"].as_str().expect("an algorithm");
    assert!(!algorithm.eq_ignore_ascii_case("none") && !algorithm.starts_with("HS"));
    for name in ["jwk", "jku", "x5u", "x5c", "crit", "b64", "cty"] {
        assert!(header.get(name).is_none(), "{name}");
    }
    let said: Value = serde_json::from_slice(payload).expect("JSON");
    let claims = token.claims();
    assert_eq!(said["iss"], claims.issuer.as_str());
    assert_eq!(
        said.get("sub").and_then(Value::as_str).unwrap_or(""),
        claims.subject
    );
    match &said["aud"] {
        Value::String(one) => assert_eq!(&claims.audience, std::slice::from_ref(one)),
        Value::Array(many) => assert_eq!(many, &claims.audience),
        other => panic!("audience {other}"),
    }
    let time = |name: &str| said[name].as_f64().map(|time| time.floor() as i64);
    assert_eq!(time("exp"), Some(claims.expires));
    assert_eq!(time("nbf"), claims.not_before);
    let email = said["email"].as_str().filter(|email| !email.is_empty());
    assert_eq!(email, claims.email.as_deref());
    assert_eq!(
        claims.email_verified,
        said["email_verified"] == true || said["email_verified"] == "true"
    );
    for text in [&claims.issuer, &claims.subject] {
        assert!(!text.chars().any(char::is_control));
    }
    assert!(!claims.issuer.is_empty() && !claims.audience.is_empty());
    // Total, whatever the clock says; and good only in its time.
    for now in [i64::MIN, 0, claims.expires, i64::MAX] {
        let _ = token.check(now, None);
    }
    assert!(token.check(claims.expires, None).is_err());
}

/// Whether it is read as a token.
pub fn is_token(data: &[u8]) -> bool {
    token_text(data).is_some_and(|text| IdentityToken::parse(Zeroizing::new(text)).is_ok())
}

fn token_text(data: &[u8]) -> Option<String> {
    let Some(parts) = data.strip_prefix(&[0]) else {
        return String::from_utf8(data.to_vec()).ok();
    };
    let parts: Vec<String> = parts
        .split(|byte| *byte == 0)
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .collect();
    Some(parts.join("."))
}

/// An accepted trusted root prints to a form that reads back as the same.
pub fn trusted_root(data: &[u8]) {
    let Ok(root) = TrustedRoot::from_json(data) else {
        return;
    };
    let printed = gitseal_services::trusted_root::to_json(&root);
    let again = TrustedRoot::from_json(printed.as_bytes()).expect("its own print is read");
    assert_eq!(gitseal_services::trusted_root::to_json(&again), printed);
    assert_eq!(again.logs.len(), root.logs.len());
    assert_eq!(again.ct_logs.len(), root.ct_logs.len());
    assert_eq!(again.authorities.len(), root.authorities.len());
    assert_eq!(
        again.timestamp_authorities.len(),
        root.timestamp_authorities.len()
    );
}

/// `[kind and hash] raw`, verified whole: whatever is good has a payload that
/// somebody really signed.
pub fn verify(data: &[u8]) {
    if let Some(payload) = verified(data) {
        assert!(SIGNED.contains(&payload), "verified, and nobody signed it");
    }
}

/// The payload, if the object verifies under one of the recorded trust roots.
pub fn verified(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, hash, raw) = flagged(data)?;
    let signed = object::split_signature(kind, hash, raw).ok()?;
    let subject = SignatureInput {
        payload: Some(&signed.payload),
        signature: &signed.signature,
        hash,
    };
    let good = TRUST.iter().any(|trust| {
        let against = VerifyInputs::new(trust);
        verify::verify(&subject, &against, &mut NoopObserver).is_ok()
    });
    good.then_some(signed.payload)
}

/// `[number] DER`: the payload of a recorded object with another signature.
/// Whatever is good names the certificate that really signed it.
pub fn signature(data: &[u8]) {
    let Some((number, der)) = data.split_first() else {
        return;
    };
    let Some(recorded) = RECORDED.get(usize::from(*number)) else {
        return;
    };
    let subject = SignatureInput {
        payload: Some(&recorded.payload),
        signature: der,
        hash: recorded.hash,
    };
    for trust in &*TRUST {
        let against = VerifyInputs::new(trust);
        if let Ok(good) = verify::verify(&subject, &against, &mut NoopObserver) {
            assert_eq!(
                good.certificate.der(),
                recorded.leaf,
                "somebody else signed it"
            );
            assert_eq!(walk(der), Some(der.len()), "strict DER");
        }
    }
}

struct Recorded {
    payload: Vec<u8>,
    hash: HashKind,
    leaf: Vec<u8>,
}

/// The recorded objects, in the order of the seeds.
static RECORDED: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
    seeds::signed()
        .into_iter()
        .map(|signed| {
            let (kind, hash) = kinds(signed.flag).expect("a kind");
            let split =
                object::split_signature(kind, hash, &signed.raw).expect("a recorded object");
            Recorded {
                payload: split.payload,
                hash,
                leaf: signed.leaf,
            }
        })
        .collect()
});

/// The trust that the recorded signatures verify under.
static TRUST: LazyLock<Vec<TrustedRoot>> = LazyLock::new(|| {
    let found: Vec<TrustedRoot> = seeds::all()
        .get("trusted_root")
        .into_iter()
        .flatten()
        .filter_map(|json| TrustedRoot::from_json(json).ok())
        .collect();
    assert!(!found.is_empty(), "no trusted root among the seeds");
    found
});

/// What was really signed.
static SIGNED: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let found: BTreeSet<Vec<u8>> = seeds::objects()
        .into_iter()
        .filter_map(|(_, flag, raw)| {
            let (kind, hash) = kinds(flag)?;
            Some(object::split_signature(kind, hash, &raw).ok()?.payload)
        })
        .collect();
    assert!(!found.is_empty(), "no signed object among the seeds");
    found
});

fn kinds(flag: u8) -> Option<(ObjectKind, HashKind)> {
    let kind = if flag & 1 == 0 {
        ObjectKind::Commit
    } else {
        ObjectKind::Tag
    };
    let hash = if flag & 2 == 0 {
        HashKind::Sha1
    } else {
        HashKind::Sha256
    };
    (flag < 4).then_some((kind, hash))
}

fn flagged(data: &[u8]) -> Option<(ObjectKind, HashKind, &[u8])> {
    let (flag, raw) = data.split_first()?;
    let (kind, hash) = kinds(*flag)?;
    Some((kind, hash, raw))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// The length of the one DER element that the bytes begin with, if its lengths
/// are definite and minimal, its tags are of the low form, and its constructed
/// parts are filled exactly, all the way down.
fn walk(bytes: &[u8]) -> Option<usize> {
    let mut ends = vec![];
    let mut at = 0;
    loop {
        let tag = *bytes.get(at)?;
        let (_, content, whole) = seeds::tlv(bytes.get(at..)?)?;
        let head = whole.len() - content.len();
        let minimal = match content.len() {
            0..0x80 => 2,
            0x80..0x100 => 3,
            0x100..0x1_0000 => 4,
            0x1_0000..0x100_0000 => 5,
            _ => 6,
        };
        if tag & 0x1f == 0x1f || head != minimal {
            return None;
        }
        let end = at + whole.len();
        if ends.last().is_some_and(|outer| end > *outer) {
            return None;
        }
        if tag & 0x20 != 0 && !content.is_empty() {
            ends.push(end);
            at += head;
        } else {
            at = end;
            while ends.last() == Some(&at) {
                ends.pop();
            }
        }
        if ends.is_empty() {
            return Some(at);
        }
    }
}

/// A policy that is read can be said in words, is itself when read again, and does
/// not differ from itself.
pub fn policy(data: &[u8]) {
    use gitseal_policy::{Policy, diff::diff, lint::lint};
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Policy::parse(text, "fuzz") {
        Ok(policy) => {
            assert!(!policy.describe().is_empty());
            drop(lint(&policy));
            assert!(!policy.signers.is_empty() && !policy.rules.is_empty());
            assert_eq!(Policy::parse(text, "again").as_ref(), Ok(&policy));
            assert!(diff(&policy, &policy).is_empty());
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            let lines = text.split('\n').count();
            for error in &errors.errors {
                assert!(
                    (1..=lines).contains(&error.line) && error.column >= 1,
                    "{error:?}"
                );
            }
        }
    }
}
