//! The armour around a signature: one strict PEM block (RFC 7468 §2, §3).
//!
//! *Not checked here:* what the block holds (`signed_data.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::refusal::{Reason, codes, reason};

/// The label of a signature in CMS form, as gitsign writes it.
pub const LABEL: &str = "SIGNED MESSAGE";
/// Longest armoured signature that is read, in bytes.
pub const MAX_ARMOR: usize = 1 << 20;
/// Characters of base64 in each line but the last (RFC 7468 §2). Every
/// signature known has it, and any other width would be a second spelling.
pub(crate) const COLUMNS: usize = 64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Decodes exactly one strict PEM block "SIGNED MESSAGE": nothing before or
/// after it, no headers, lines that end in LF, 64 characters in each
/// but the last, canonical base64. The final LF may be missing.
///
/// # Errors
/// The text is not such a block.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Reason> {
    if text.is_empty() {
        return Err(empty());
    }
    if text.len() > MAX_ARMOR {
        return Err(reason!(
            "armor-too-long",
            "the armored signature is {bytes} bytes; the limit is {MAX_ARMOR}",
            bytes = text.len()
        ));
    }
    if text.contains(&b'\r') {
        return Err(reason!(
            "armor-carriage-return",
            "the armored signature contains a carriage return"
        ));
    }
    let found = label(text).ok_or_else(|| {
        reason!(
            "armor-text-before",
            "the signature does not start with a line \"-----BEGIN …-----\""
        )
    })?;
    if found != LABEL {
        return Err(reason!(
            codes::ARMOR_LABEL,
            "the signature is a \"{found}\" block, not a \"{LABEL}\" block"
        ));
    }
    let mut base64 = Vec::with_capacity(text.len());
    let mut short = false;
    let mut consumed = 0_usize;
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        consumed = consumed.saturating_add(line.len()).saturating_add(1);
        if index == 0 {
            continue;
        }
        if line.starts_with(DASHES.as_bytes()) {
            if line != b"-----END SIGNED MESSAGE-----" {
                return Err(no_end());
            }
            let rest = text.len().saturating_sub(consumed);
            if rest > 0 {
                return Err(reason!(
                    "armor-text-after",
                    "{bytes} bytes follow the signature's END line",
                    bytes = rest
                ));
            }
            if base64.is_empty() {
                return Err(empty());
            }
            return STANDARD.decode(&base64).map_err(|error| {
                reason!(
                    "armor-base64",
                    "the armored signature is not canonical base64: {reason}",
                    reason = error.to_string()
                )
            });
        }
        let number = index.saturating_add(1);
        if line.contains(&b':') {
            return Err(reason!(
                "armor-headers",
                "the armored signature has headers (line {line})",
                line = number
            ));
        }
        let last = consumed > text.len();
        if line.is_empty() || short || line.len() > COLUMNS || last {
            return Err(if last {
                no_end()
            } else {
                reason!(
                    "armor-line",
                    "line {line} of the armored signature has {bytes} bytes; each but the \
                         last has {COLUMNS}",
                    line = number,
                    bytes = line.len()
                )
            });
        }
        short = line.len() < COLUMNS;
        base64.extend_from_slice(line);
    }
    Err(no_end())
}

/// Removes the one empty line that libgit2 and dulwich leave behind the END line of
/// a commit's signature: they fold the final LF of the armor into the header, as a
/// continuation line without content. Any other text is returned unchanged.
#[must_use]
pub fn without_folded_newline(text: &[u8]) -> &[u8] {
    match text.strip_suffix(b"\n") {
        Some(armor) if armor.ends_with(b"-----\n") => armor,
        _ => text,
    }
}

fn empty() -> Reason {
    reason!("armor-empty", "the signature is empty")
}

fn no_end() -> Reason {
    reason!(
        "armor-no-end",
        "the signature has no line \"-----END {LABEL}-----\""
    )
}

/// Encodes a signature as armor: label "SIGNED MESSAGE", 64 columns, LF, final LF.
#[must_use]
pub fn encode(der: &[u8]) -> String {
    encode_label(LABEL, der)
}

/// Encodes a PEM block of any label: 64 columns, LF, final LF (what Go's
/// `encoding/pem` writes, which log entries are hashed in).
#[must_use]
pub fn encode_label(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines = base64.len().div_ceil(COLUMNS);
    let frame = 2_usize.saturating_mul(label.len().saturating_add(20));
    let mut text = String::with_capacity(base64.len().saturating_add(lines).saturating_add(frame));
    text.push_str(BEGIN);
    text.push_str(label);
    text.push_str(DASHES);
    text.push('\n');
    let mut rest = base64.as_str();
    while let Some((line, tail)) = rest.split_at_checked(COLUMNS) {
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text.push_str(END);
    text.push_str(label);
    text.push_str(DASHES);
    text.push('\n');
    text
}

/// The label of the PEM block that the text begins with, to say "this is an
/// OpenPGP signature".
#[must_use]
pub fn label(text: &[u8]) -> Option<&str> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    let label = line
        .strip_prefix(BEGIN.as_bytes())?
        .strip_suffix(DASHES.as_bytes())?;
    // RFC 7468 §3: printable characters without the hyphen at the ends.
    let printable = label.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    (label.len() <= 64 && printable).then_some(())?;
    std::str::from_utf8(label).ok()
}

/// Signature formats that are recognized but not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureFormat {
    /// Signatures of `gpg.format openpgp`.
    OpenPgp,
    /// Signatures of `gpg.format ssh`.
    Ssh,
}

impl SignatureFormat {
    /// Returns the display name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenPgp => "OpenPGP",
            Self::Ssh => "SSH",
        }
    }

    /// Returns the format of an armored signature; `None` for any other text, and
    /// for the format that is verified here.
    #[must_use]
    pub fn of(signature: &[u8]) -> Option<Self> {
        match label(signature)? {
            "PGP SIGNATURE" | "PGP MESSAGE" => Some(Self::OpenPgp),
            "SSH SIGNATURE" => Some(Self::Ssh),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        decode(text.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in [1, 2, 3, 47, 48, 49, 95, 96, 97, 1000, 2000] {
            let der: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let text = encode(&der);
            assert_eq!(decode(text.as_bytes()), Ok(der.clone()), "{length}");
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(decode(text.trim_end().as_bytes()), Ok(der), "no final LF");
        }
    }

    #[test]
    fn a_known_block_looks_as_it_should() {
        assert_eq!(
            encode(&[0xff; 49]),
            format!(
                "-----BEGIN SIGNED MESSAGE-----\n{}\n/w==\n-----END SIGNED MESSAGE-----\n",
                "/".repeat(64)
            )
        );
    }

    #[test]
    fn g8_anything_but_one_block_is_refused() {
        let good = encode(&[7; 100]);
        assert_eq!(code(""), "armor-empty");
        assert_eq!(code(&"-".repeat(MAX_ARMOR + 1)), "armor-too-long");
        for before in ["x\n", "\n", " ", "\u{feff}", "-"] {
            assert_eq!(code(&format!("{before}{good}")), "armor-text-before");
        }
        for after in ["x", "\n", " ", "\0", good.as_str()] {
            assert_eq!(code(&format!("{good}{after}")), "armor-text-after");
        }
        assert_eq!(
            code(&good.replace("SIGNED MESSAGE", "PGP SIGNATURE")),
            "armor-label"
        );
        assert_eq!(
            code(&good.replace("MESSAGE-----\nB", "MESSAGE-----\nA: b\n\nB")),
            "armor-headers"
        );
        assert_eq!(
            code(&good.replace("END SIGNED MESSAGE", "END CMS")),
            "armor-no-end"
        );
        assert_eq!(code(&good.replace("-----END", "----END")), "armor-line");
        let (cut, _) = good.split_once("-----END").unwrap();
        assert_eq!(code(cut), "armor-no-end");
        assert_eq!(code(cut.trim_end()), "armor-no-end");
        assert_eq!(code("-----BEGIN SIGNED MESSAGE-----"), "armor-no-end");
        let empty = "-----BEGIN SIGNED MESSAGE-----\n-----END SIGNED MESSAGE-----\n";
        assert_eq!(code(empty), "armor-empty");
        assert_eq!(code(&good.replace('\n', "\r\n")), "armor-carriage-return");
    }

    #[test]
    fn one_folded_newline_is_removed_and_nothing_else() {
        let good = encode(&[7; 100]);
        let strip = |text: &str| without_folded_newline(text.as_bytes()).to_vec();
        assert_eq!(strip(&format!("{good}\n")), good.as_bytes());
        for other in [
            good.clone(),
            good.trim_end().to_owned(),
            format!("{good}\n\n"),
            format!("{good} \n"),
            format!("{good}\t\n"),
            format!("{good}\r\n"),
            format!("{good}x\n"),
            format!("\n{good}"),
            String::new(),
            "\n".to_owned(),
        ] {
            assert_eq!(strip(&other), other.as_bytes(), "{other:?}");
        }
    }

    /// A5
    #[test]
    fn a5_base64_is_canonical_and_in_even_lines() {
        let block = |body: &str| {
            format!("-----BEGIN SIGNED MESSAGE-----\n{body}\n-----END SIGNED MESSAGE-----\n")
        };
        assert_eq!(decode(block("AAAA").as_bytes()), Ok(vec![0; 3]));
        for body in [
            "AAAB=", "AAA", "AA==AA==", "AB==", "AA=", "A-_A", "AA A", "AA\tA", "=AAA",
        ] {
            assert_eq!(code(&block(body)), "armor-base64", "{body:?}");
        }
        for body in [
            "AAAA\n\nAAAA",
            "AAAA\nAAAAAAAA",
            "AAAAAAAA\nAAAA\nAAAA",
            "\nAAAA",
            "AAAA\n",
        ] {
            assert_eq!(code(&block(body)), "armor-line", "{body:?}");
        }
        assert_eq!(code(&block(&"A".repeat(COLUMNS + 4))), "armor-line");
        assert!(decode(block(&"A".repeat(COLUMNS)).as_bytes()).is_ok());
    }

    #[test]
    fn the_label_tells_what_it_is() {
        assert_eq!(
            label(b"-----BEGIN PGP SIGNATURE-----\nx"),
            Some("PGP SIGNATURE")
        );
        assert_eq!(
            label(b"-----BEGIN SSH SIGNATURE-----"),
            Some("SSH SIGNATURE")
        );
        for other in [
            "",
            "x",
            "-----BEGIN x----",
            "-----BEGIN \u{7}-----",
            "\n-----BEGIN x-----",
        ] {
            assert_eq!(label(other.as_bytes()), None, "{other:?}");
        }
    }
}
