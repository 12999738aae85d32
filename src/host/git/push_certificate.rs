//! A push certificate (`git push --signed`): what somebody signed that they push,
//! as `parse_pre_receive-pack` hands it to the `pre-parse_pre_receive` hook.
//!
//! ```text
//! certificate version 0.1 LF                       (gitprotocol-pack(5), push-cert)
//! pusher SP IDENT LF
//! [pushee SP URL LF]
//! [nonce SP NONCE LF]
//! *(push-option SP OPTION LF)
//! LF
//! *(OLD SP NEW SP REF LF)
//! SIGNATURE
//! ```
//!
//! The reader is strict: the order is the one that git writes, each header comes
//! once, and the signature begins at the first line that is no command.
//!
//! *Not checked here:* the signature (`evidence/verify.rs`), and whether this is
//! the certificate of this push (`commands/gate/certificate.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use gix::bstr::{BString, ByteSlice as _};

use super::push::{HookInputError, RefCommand, parse_pre_receive};
use gitseal_evidence::object::HashKind;

/// The first line, without its end.
const VERSION: &[u8] = b"certificate version 0.1";
/// The start of the signature's armor, which ends the commands.
const ARMOUR: &[u8] = b"-----BEGIN ";
/// The most push options.
const MAX_OPTIONS: usize = 1000;

/// Errors in a push certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushCertificateError {
    #[error("it does not start with \"certificate version 0.1\"")]
    Version,
    #[error("missing {name:?}")]
    Header { name: &'static str },
    #[error("it has more than {MAX_OPTIONS} push options")]
    Options,
    #[error("it is not signed")]
    Unsigned,
    #[error("malformed commands: {0}")]
    Command(#[from] HookInputError),
}

/// A push certificate. Its content is unverified until its signature is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushCertificate<'a> {
    /// The signed bytes: everything before the signature.
    pub payload: &'a [u8],
    /// The armored signature.
    pub signature: &'a [u8],
    /// The pusher: name and email address, or the name of a key.
    pub pusher: BString,
    /// The server's nonce, which prevents replays.
    pub nonce: Option<BString>,
    /// The push options, in their order.
    pub options: Vec<BString>,
    pub updates: Vec<RefCommand>,
}

/// Parses a certificate with at most `most` commands.
///
/// # Errors
/// The first thing that git would not write, or a limit.
pub fn read(
    bytes: &[u8],
    hash: HashKind,
    most: usize,
) -> Result<PushCertificate<'_>, PushCertificateError> {
    let mut rest = bytes;
    if take_line(&mut rest) != Some(VERSION) {
        return Err(PushCertificateError::Version);
    }
    let pusher = header(&mut rest, b"pusher ")
        .ok_or(PushCertificateError::Header { name: "pusher" })?
        .into();
    // The address is what the pusher calls the server; nothing follows from it.
    let _ = header(&mut rest, b"pushee ");
    let nonce = header(&mut rest, b"nonce ").map(BString::from);
    let mut options: Vec<BString> = Vec::new();
    while let Some(option) = header(&mut rest, b"push-option ") {
        if options.len() >= MAX_OPTIONS {
            return Err(PushCertificateError::Options);
        }
        options.push(option.into());
    }
    if take_line(&mut rest) != Some(b"") {
        return Err(PushCertificateError::Header { name: "empty line" });
    }
    let end = if rest.starts_with(ARMOUR) {
        0
    } else {
        let found = rest.find([b"\n", ARMOUR].concat());
        found
            .and_then(|at| at.checked_add(1))
            .ok_or(PushCertificateError::Unsigned)?
    };
    let (commands, signature) = rest
        .split_at_checked(end)
        .ok_or(PushCertificateError::Unsigned)?;
    let signed = bytes.len().saturating_sub(signature.len());
    Ok(PushCertificate {
        payload: bytes.get(..signed).unwrap_or_default(),
        signature,
        pusher,
        nonce,
        options,
        updates: parse_pre_receive(commands, hash, most)?,
    })
}

/// The next line, without its end; `None` where none ends.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (line, behind) = rest.split_once_str(b"\n")?;
    *rest = behind;
    Some(line)
}

/// The value of the next line, if it is the header `name` (with its space).
fn header<'a>(rest: &mut &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut behind = *rest;
    let value = take_line(&mut behind)?.strip_prefix(name)?;
    *rest = behind;
    Some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn certificate(headers: &str, commands: &str) -> String {
        format!(
            "certificate version 0.1\n{headers}\n{commands}-----BEGIN SIGNED MESSAGE-----\nAA==\n-----END SIGNED MESSAGE-----\n"
        )
    }

    #[test]
    fn what_git_writes() {
        let command = format!("{NONE} {ONE} refs/heads/main\n");
        let text = certificate(
            "pusher Alice <alice@example.test> 1795176000 +0000\npushee ssh://host/x\nnonce 17-ab\n\
             push-option a\npush-option b\n",
            &command,
        );
        let read = read(text.as_bytes(), HashKind::Sha1, 10).unwrap();
        assert_eq!(read.pusher, "Alice <alice@example.test> 1795176000 +0000");
        assert_eq!(read.nonce.unwrap(), "17-ab");
        assert_eq!(read.options, ["a", "b"]);
        assert_eq!(read.updates.len(), 1);
        assert_eq!(read.updates[0].old, None);
        assert_eq!(read.updates[0].name, "refs/heads/main");
        assert!(read.payload.ends_with(b"refs/heads/main\n"));
        assert!(
            read.signature
                .starts_with(b"-----BEGIN SIGNED MESSAGE-----\n")
        );
        assert_eq!(read.payload.len() + read.signature.len(), text.len());
    }

    #[test]
    fn what_git_does_not_write() {
        let command = format!("{NONE} {ONE} refs/heads/main\n");
        let good = certificate("pusher A\nnonce n\n", &command);
        assert!(read(good.as_bytes(), HashKind::Sha1, 1).is_ok());
        let refused = |text: &str| read(text.as_bytes(), HashKind::Sha1, 1).unwrap_err();
        assert_eq!(refused(""), PushCertificateError::Version);
        assert_eq!(
            refused(&good.replace("0.1", "0.2")),
            PushCertificateError::Version
        );
        assert_eq!(
            refused(&certificate("nonce n\n", &command)),
            PushCertificateError::Header { name: "pusher" }
        );
        for headers in [
            "pusher A\nnonce n\nnonce m\n",
            "pusher A\nnonce n\npushee u\n",
            "pusher A\nother x\n",
        ] {
            assert_eq!(
                refused(&certificate(headers, &command)),
                PushCertificateError::Header { name: "empty line" },
                "{headers}"
            );
        }
        assert_eq!(
            refused(good.split("-----BEGIN").next().unwrap()),
            PushCertificateError::Unsigned
        );
        assert!(matches!(
            refused(&certificate("pusher A\n", &format!("{command}{command}"))),
            PushCertificateError::Command(HookInputError::TooMany { max: 1 })
        ));
        assert!(matches!(
            refused(&certificate("pusher A\n", "x\n")),
            PushCertificateError::Command(HookInputError::Parts { .. })
        ));
        let many = "push-option x\n".repeat(MAX_OPTIONS + 1);
        assert_eq!(
            refused(&certificate(&format!("pusher A\n{many}"), &command)),
            PushCertificateError::Options
        );
    }

    #[test]
    fn every_cut_is_refused_or_unsigned_text() {
        let good = certificate(
            "pusher A\nnonce n\n",
            &format!("{NONE} {ONE} refs/heads/a\n"),
        );
        for end in 0..good.len() {
            if let Ok(read) = read(&good.as_bytes()[..end], HashKind::Sha1, 10) {
                assert!(read.signature.starts_with(ARMOUR));
            }
        }
    }
}
