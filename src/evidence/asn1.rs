//! A reader of DER that neither copies nor re-encodes.
//!
//! Signatures are over bytes, so everything that is signed is kept as the
//! slice that came in. The reader takes definite, minimal lengths and
//! single-byte tags only (X.690 §10.1, §8.1.2): what it accepts has one
//! spelling. [`check_der`] goes over a whole message first, with a stack of its
//! own, so that depth costs neither stack nor time.
//!
//! Not checked here: what the values mean (`certificate.rs`,
//! `signed_data.rs`, `timestamp.rs`), the order of a SET OF
//! (`signed_data.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use const_oid::ObjectIdentifier;

use crate::{
    UnixTime, hex,
    refusal::{Reason, reason},
    time,
};

/// The tag of BOOLEAN values.
pub const BOOLEAN: u8 = 0x01;
/// The tag of INTEGER values.
pub const INTEGER: u8 = 0x02;
/// The tag of BIT STRING values.
pub const BIT_STRING: u8 = 0x03;
/// The tag of OCTET STRING values.
pub const OCTET_STRING: u8 = 0x04;
/// The tag of NULL values.
pub const NULL: u8 = 0x05;
/// The tag of OBJECT IDENTIFIER values.
pub const OID: u8 = 0x06;
/// The tag of UTF8String values.
pub const UTF8_STRING: u8 = 0x0c;
/// The tag of SEQUENCE values.
pub const SEQUENCE: u8 = 0x30;
/// The tag of SET values.
pub const SET: u8 = 0x31;
/// The tag of UTCTime values.
pub const UTC_TIME: u8 = 0x17;
/// The tag of GeneralizedTime values.
pub const GENERALIZED_TIME: u8 = 0x18;

/// The limit of nesting in [`check_der`]. Real signatures with certificates
/// and a timestamp nest 20 deep.
pub const MAX_DEPTH: usize = 48;

macro_rules! der_error {
    ($($reason:tt)+) => { DerError(reason!($($reason)+)) };
}

/// Reasons why bytes are not the DER that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct DerError(Reason);

impl DerError {
    /// The stable, kebab-case name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code()
    }

    /// A value that is not in its one DER form, or out of range.
    #[must_use]
    pub fn value(what: &'static str, problem: &'static str) -> Self {
        der_error!("der-value", "{what}: {problem}")
    }

    fn truncated(at: usize, needed: usize, available: usize) -> Self {
        der_error!(
            "der-truncated",
            "a value of {needed} bytes at offset {at} ends after {available}"
        )
    }

    pub(crate) fn tag(what: &'static str, expected: u8, found: u8) -> Self {
        der_error!(
            "der-tag",
            "{what}: expected tag {expected:#04x}, found {found:#04x}"
        )
    }

    fn missing(what: &'static str) -> Self {
        der_error!("der-missing", "{what}: missing")
    }

    fn trailing(what: &'static str, bytes: usize) -> Self {
        der_error!("der-trailing", "{bytes} bytes after {what}")
    }

    fn length_too_long(at: usize, octets: usize) -> Self {
        der_error!(
            "der-length-too-long",
            "length of {octets} octets at offset {at}"
        )
    }
}

/// The failure to parse a part: its bytes are not DER, which the part's own code
/// stands for, or it has a reason of its own.
pub(crate) enum ParseError {
    Der(DerError),
    Reason(Reason),
}

impl ParseError {
    /// The reason, where `not_der` makes the one for bytes that are not DER.
    pub(crate) fn reason(self, not_der: fn(DerError) -> Reason) -> Reason {
        match self {
            Self::Der(error) => not_der(error),
            Self::Reason(reason) => reason,
        }
    }
}

impl From<DerError> for ParseError {
    fn from(error: DerError) -> Self {
        Self::Der(error)
    }
}

impl From<Reason> for ParseError {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

/// One value: its tag, its content, and both with the length octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The identifier octet of the value.
    pub tag: u8,
    /// The content octets of the value.
    pub value: &'a [u8],
    /// The whole value: identifier, length, content.
    pub raw: &'a [u8],
}

/// Reads values one after the other.
#[derive(Debug, Clone)]
pub struct DerReader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> DerReader<'a> {
    /// Creates a reader over the content of a constructed value, or a whole message.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Returns whether all values are read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the tag of the next value.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Returns the next value of any type.
    ///
    /// # Errors
    /// No value is left, or its header is not DER.
    pub fn any(&mut self, what: &'static str) -> Result<Tlv<'a>, DerError> {
        if self.rest.is_empty() {
            return Err(DerError::missing(what));
        }
        let (tag, header, total) = header(self.rest, self.at)?;
        let (Some(raw), Some(rest)) = (self.rest.get(..total), self.rest.get(total..)) else {
            return Err(DerError::truncated(self.at, total, self.rest.len()));
        };
        self.rest = rest;
        self.at = offset(self.at, total)?;
        Ok(Tlv {
            tag,
            value: raw.get(header..).unwrap_or_default(),
            raw,
        })
    }

    /// Returns the next value, which must have this tag.
    ///
    /// # Errors
    /// Another tag, no value, or a header that is not DER.
    pub fn expect(&mut self, tag: u8, what: &'static str) -> Result<Tlv<'a>, DerError> {
        match self.peek() {
            Some(found) if found != tag => Err(DerError::tag(what, tag, found)),
            _ => self.any(what),
        }
    }

    /// Returns the next value if it has this tag.
    ///
    /// # Errors
    /// Its header is not DER.
    pub fn optional(&mut self, tag: u8, what: &'static str) -> Result<Option<Tlv<'a>>, DerError> {
        if self.peek() == Some(tag) {
            self.any(what).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Returns a reader over the content of the next value, which must have this tag.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub fn enter(&mut self, tag: u8, what: &'static str) -> Result<Self, DerError> {
        self.expect(tag, what).map(|tlv| Self::new(tlv.value))
    }

    /// The content octets of an OBJECT IDENTIFIER.
    ///
    /// # Errors
    /// Not an OBJECT IDENTIFIER in its one spelling.
    pub fn oid(&mut self, what: &'static str) -> Result<&'a [u8], DerError> {
        oid(self.expect(OID, what)?.value, what)
    }

    /// A small non-negative INTEGER.
    ///
    /// # Errors
    /// Not an INTEGER, or one outside `0..=u32::MAX`.
    pub fn read_u32(&mut self, what: &'static str) -> Result<u32, DerError> {
        let value = integer(self.expect(INTEGER, what)?.value, what)?;
        read_u32(value, what)
    }

    /// Refuses bytes that are left.
    ///
    /// # Errors
    /// Something is left.
    pub fn finish(self, what: &'static str) -> Result<(), DerError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DerError::trailing(what, self.rest.len()))
        }
    }
}

/// The one value that `bytes` must be, with this tag.
///
/// # Errors
/// Another tag, a bad header, or bytes after it.
pub fn read_single<'a>(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Tlv<'a>, DerError> {
    let mut reader = DerReader::new(bytes);
    let tlv = reader.expect(tag, what)?;
    reader.finish(what)?;
    Ok(tlv)
}

/// The offset `octets` behind another; bytes in memory have one.
fn offset(at: usize, octets: usize) -> Result<usize, DerError> {
    at.checked_add(octets)
        .ok_or_else(|| DerError::length_too_long(at, octets))
}

/// Tag, octets of tag and length, and all octets of the value (X.690 §8.1, §10.1).
fn header(bytes: &[u8], at: usize) -> Result<(u8, usize, usize), DerError> {
    let truncated = |needed| DerError::truncated(at, needed, bytes.len());
    let tag = *bytes.first().ok_or_else(|| truncated(2))?;
    if tag & 0x1f == 0x1f {
        return Err(der_error!("der-high-tag", "multi-byte tag at offset {at}"));
    }
    if tag == 0 {
        return Err(der_error!(
            "der-reserved-tag",
            "reserved tag 0 at offset {at}"
        ));
    }
    let first = *bytes.get(1).ok_or_else(|| truncated(2))?;
    if first < 0x80 {
        return Ok((tag, 2, offset(2, usize::from(first))?));
    }
    if first == 0x80 {
        return Err(der_error!(
            "der-indefinite-length",
            "indefinite length (BER) at offset {at}"
        ));
    }
    let octets = usize::from(first & 0x7f);
    if octets > 4 {
        return Err(DerError::length_too_long(at, octets));
    }
    let header = offset(octets, 2)?;
    let digits = bytes.get(2..header).ok_or_else(|| truncated(header))?;
    let mut length = 0u32;
    for digit in digits {
        length = (length << 8) | u32::from(*digit);
    }
    if length < 0x80 || digits.first() == Some(&0) {
        return Err(der_error!(
            "der-length-not-minimal",
            "length in more octets than needed at offset {at}"
        ));
    }
    let length = usize::try_from(length).map_err(|_| DerError::length_too_long(at, octets))?;
    Ok((tag, header, offset(header, length)?))
}

/// Goes over everything inside one value: headers, nesting, and the spelling
/// of the primitive universal types. What is inside OCTET STRING and BIT
/// STRING is not looked at.
///
/// # Errors
/// The first thing that is not DER, with its offset.
pub fn check_der(bytes: &[u8], what: &'static str) -> Result<(), DerError> {
    // Ends of the constructed values that are open.
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0usize;
    let mut end = bytes.len();
    let mut first = true;
    loop {
        while at == end {
            match open.pop() {
                Some(outer) => end = outer,
                None if first => return Err(DerError::missing(what)),
                None => return Ok(()),
            }
        }
        if !first && open.is_empty() {
            let rest = bytes.get(at..end).unwrap_or_default();
            return Err(DerError::trailing(what, rest.len()));
        }
        first = false;
        let inner = bytes.get(at..end).unwrap_or_default();
        let (tag, header, total) = header(inner, at)?;
        if total > inner.len() {
            return Err(DerError::truncated(at, total, inner.len()));
        }
        let constructed = tag & 0x20 != 0;
        if tag & 0xc0 == 0 && constructed != matches!(tag & 0x1f, 0x08 | 0x0b | 0x10 | 0x11) {
            return Err(der_error!(
                "der-construction",
                "tag {tag:#04x} at offset {at}: the constructed bit is wrong for this type"
            ));
        }
        let content = offset(at, header)?;
        if constructed {
            if open.len() >= MAX_DEPTH {
                return Err(der_error!(
                    "der-depth",
                    "values nest deeper than {limit} at offset {at}",
                    limit = MAX_DEPTH
                ));
            }
            open.push(end);
            end = offset(at, total)?;
            at = content;
        } else {
            let value = inner.get(header..total).unwrap_or_default();
            primitive(tag, value)?;
            at = offset(at, total)?;
            if open.is_empty() {
                // The message itself is primitive.
                open.push(end);
                end = at;
            }
        }
    }
}

/// The one spelling of the universal types that have one (X.690 §8, §11).
fn primitive(tag: u8, value: &[u8]) -> Result<(), DerError> {
    match tag {
        BOOLEAN => boolean(value, "BOOLEAN").map(|_| ()),
        INTEGER => integer(value, "INTEGER").map(|_| ()),
        BIT_STRING => bit_string(value, "BIT STRING").map(|_| ()),
        NULL if !value.is_empty() => Err(DerError::value("NULL", "has content")),
        OID => oid(value, "OBJECT IDENTIFIER").map(|_| ()),
        _ => Ok(()),
    }
}

/// A BOOLEAN (X.690 §11.1: FF for true).
///
/// # Errors
/// Neither 00 nor FF.
pub fn boolean(value: &[u8], what: &'static str) -> Result<bool, DerError> {
    match value {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(DerError::value(what, "neither FALSE nor TRUE")),
    }
}

/// The content octets of an INTEGER, two's complement, in fewest octets.
///
/// # Errors
/// Empty, or with a redundant leading octet (X.690 §8.3.2).
pub fn integer<'a>(value: &'a [u8], what: &'static str) -> Result<&'a [u8], DerError> {
    let problem = match value {
        [] => "an empty INTEGER",
        [0x00, second, ..] if *second < 0x80 => "an INTEGER with a redundant leading zero",
        [0xff, second, ..] if *second >= 0x80 => "an INTEGER with a redundant leading FF",
        _ => return Ok(value),
    };
    Err(DerError::value(what, problem))
}

/// The content octets of an INTEGER as a number.
fn read_u32(value: &[u8], what: &'static str) -> Result<u32, DerError> {
    let digits = match value {
        [0x00, rest @ ..] => rest,
        [first, ..] if *first >= 0x80 => {
            return Err(DerError::value(what, "negative"));
        }
        all => all,
    };
    if digits.len() > 4 {
        return Err(DerError::value(what, "too large"));
    }
    Ok(digits
        .iter()
        .fold(0u32, |sum, digit| (sum << 8) | u32::from(*digit)))
}

/// The unused bits and the octets of a BIT STRING (X.690 §8.6, §11.2.1).
///
/// # Errors
/// No count of unused bits, one above seven, or unused bits that are set.
pub(crate) fn bit_string<'a>(
    value: &'a [u8],
    what: &'static str,
) -> Result<(u8, &'a [u8]), DerError> {
    let refuse = |problem| Err(DerError::value(what, problem));
    match value {
        [] => refuse("an empty BIT STRING"),
        [unused, ..] if *unused > 7 => refuse("more than seven unused bits"),
        [0] => Ok((0, &[])),
        [_] => refuse("unused bits in no octet"),
        [unused, rest @ ..] if rest.last().is_some_and(|last| clear(*last, *unused)) => {
            Ok((*unused, rest))
        }
        _ => refuse("unused bits are set"),
    }
}

/// Whether the lowest `count` bits are zero.
fn clear(octet: u8, count: u8) -> bool {
    octet.trailing_zeros() >= u32::from(count)
}

/// The octets of a BIT STRING of whole octets.
///
/// # Errors
/// Not a BIT STRING, or unused bits.
pub(crate) fn byte_aligned_bit_string<'a>(
    value: &'a [u8],
    what: &'static str,
) -> Result<&'a [u8], DerError> {
    match bit_string(value, what)? {
        (0, octets) => Ok(octets),
        _ => Err(DerError::value(what, "not whole octets")),
    }
}

/// The content octets of an OBJECT IDENTIFIER (X.690 §8.19).
///
/// # Errors
/// Empty, cut off, or an arc with a redundant leading octet.
pub fn oid<'a>(value: &'a [u8], what: &'static str) -> Result<&'a [u8], DerError> {
    let mut start = true;
    for octet in value {
        if start && *octet == 0x80 {
            return Err(DerError::value(
                what,
                "an object identifier's arc has a redundant octet",
            ));
        }
        start = *octet < 0x80;
    }
    if value.is_empty() || !start {
        return Err(DerError::value(what, "an object identifier is cut off"));
    }
    Ok(value)
}

/// An object identifier in dotted form; the hexadecimal octets if it is too
/// long for that.
#[must_use]
pub fn dotted(oid: &[u8]) -> String {
    ObjectIdentifier::<64>::from_bytes_sized(oid).map_or_else(|_| hex(oid), |oid| oid.to_string())
}

/// The Time CHOICE: UTCTime `YYMMDDHHMMSSZ` through 2049, GeneralizedTime
/// `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
///
/// # Errors
/// Another type, another form (no `Z`, no seconds, a fraction), no such date.
pub fn time(tlv: Tlv<'_>, what: &'static str) -> Result<UnixTime, DerError> {
    let refuse = |problem| DerError::value(what, problem);
    let (year, rest) = match tlv.tag {
        UTC_TIME => {
            let short = number(tlv.value.get(..2)).ok_or_else(|| refuse("not a UTCTime"))?;
            // RFC 5280 §4.1.2.5.1: 50..=99 are 19YY.
            let century = if short < 50 { 2000 } else { 1900 };
            (short.saturating_add(century), tlv.value.get(2..))
        }
        GENERALIZED_TIME => (
            number(tlv.value.get(..4)).ok_or_else(|| refuse("not a GeneralizedTime"))?,
            tlv.value.get(4..),
        ),
        found => {
            return Err(DerError::tag(what, UTC_TIME, found));
        }
    };
    let rest = rest.unwrap_or_default();
    let [digits @ .., b'Z'] = rest else {
        return Err(refuse("a time that does not end in Z"));
    };
    if digits.len() != 10 {
        return Err(refuse("a time that is not in whole seconds"));
    }
    let mut parts = digits.chunks(2).map(|two| number(Some(two)));
    let mut next = || {
        parts
            .next()
            .flatten()
            .ok_or_else(|| refuse("a time with other characters than digits"))
    };
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    time::from_civil([year, month, day, hour, minute, second].map(i64::from))
        .ok_or_else(|| refuse("no such date between 1970 and 9999"))
}

/// A run of ASCII digits.
fn number(digits: Option<&[u8]>) -> Option<u16> {
    digits?.iter().try_fold(0u16, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| {
                sum.checked_mul(10)?
                    .checked_add(u16::from(digit.wrapping_sub(b'0')))
            })
            .flatten()
    })
}

/// Whether the values of a SET OF are in the order DER wants, none twice
/// (X.690 §11.6: ascending by their octets).
#[must_use]
pub(crate) fn is_sorted_set(values: &[&[u8]]) -> bool {
    values.is_sorted_by(|a, b| a < b)
}

/// One value out of its tag and the pieces of its content.
#[must_use]
pub fn tlv(tag: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut out = Vec::with_capacity(length.saturating_add(6));
    out.push(tag);
    let digits = length.to_be_bytes();
    if length < 0x80 {
        out.extend(digits.last());
    } else {
        let used = digits.iter().skip_while(|digit| **digit == 0).count();
        // At most eight octets of length.
        out.push(0x80 | u8::try_from(used).unwrap_or(0x7f));
        out.extend(digits.iter().skip(digits.len().saturating_sub(used)));
    }
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> &'static str {
        check_der(bytes, "test").map_or_else(|refusal| refusal.code(), |()| "accepted")
    }

    #[test]
    fn a1_only_der_is_read() {
        for (bytes, expected) in [
            (&[0x30, 0x00][..], "accepted"),
            (&[0x04, 0x01, 0x00], "accepted"),
            (&[], "der-missing"),
            (&[0x30], "der-truncated"),
            (&[0x30, 0x80, 0x00, 0x00], "der-indefinite-length"),
            (&[0x30, 0x03, 0x30, 0x80, 0x00], "der-indefinite-length"),
            (&[0x30, 0x81, 0x00], "der-length-not-minimal"),
            (&[0x04, 0x82, 0x00, 0x80], "der-length-not-minimal"),
            (&[0x04, 0x85, 1, 0, 0, 0, 0], "der-length-too-long"),
            (&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff, 0], "der-truncated"),
            (&[0x3f, 0x1f, 0x00], "der-high-tag"),
            (&[0x30, 0x02, 0x00, 0x00], "der-reserved-tag"),
            (&[0x24, 0x03, 0x04, 0x01, 0x61], "der-construction"),
            (&[0x10, 0x00], "der-construction"),
            (&[0x30, 0x00, 0x00], "der-trailing"),
            (&[0x30, 0x03, 0x04, 0x02, 0x00], "der-truncated"),
            (&[0x30, 0x03, 0x01, 0x01, 0x01], "der-value"),
            (&[0x02, 0x00], "der-value"),
            (&[0x02, 0x02, 0x00, 0x7f], "der-value"),
            (&[0x02, 0x02, 0xff, 0x80], "der-value"),
            (&[0x03, 0x02, 0x01, 0x01], "der-value"),
            (&[0x03, 0x02, 0x08, 0x00], "der-value"),
            (&[0x05, 0x01, 0x00], "der-value"),
            (&[0x06, 0x02, 0x80, 0x01], "der-value"),
            (&[0x06, 0x01, 0x81], "der-value"),
        ] {
            assert_eq!(code(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn a2_depth_costs_no_stack_and_no_time() {
        // Indefinite nesting is refused at the first byte of it; definite
        // nesting of 100,000 levels at the limit.
        let mut nested = Vec::new();
        for _ in 0..100_000 {
            let length = nested.len();
            let digits = u32::try_from(length).unwrap().to_be_bytes();
            let used = digits.iter().skip_while(|d| **d == 0).count();
            // Built backwards: content, then length, then tag.
            if length < 0x80 {
                nested.push(digits[3]);
            } else {
                nested.extend(digits.iter().rev().take(used));
                nested.push(0x80 | u8::try_from(used).unwrap());
            }
            nested.push(0x30);
        }
        nested.reverse();
        assert_eq!(code(&nested), "der-depth");
        assert_eq!(
            code(&[0x30, 0x80].repeat(1_500_000)),
            "der-indefinite-length"
        );
        let mut fits = vec![];
        for _ in 0..MAX_DEPTH {
            fits = tlv(SEQUENCE, &[&fits]);
        }
        assert_eq!(code(&fits), "accepted");
        assert_eq!(code(&tlv(SEQUENCE, &[&fits])), "der-depth");
    }

    #[test]
    fn times_have_one_form() {
        let utc = |text: &str| {
            let der = tlv(UTC_TIME, &[text.as_bytes()]);
            time(DerReader::new(&der).any("t").unwrap(), "t")
        };
        assert_eq!(utc("700101000000Z"), Ok(0));
        assert_eq!(utc("491231235959Z"), Ok(2_524_607_999));
        for bad in [
            "7001010000Z",
            "700101000000",
            "700101000000+0000",
            "700230000000Z",
            "7001010000000Z",
            "70010100000aZ",
            "500101000000Z",
        ] {
            assert!(utc(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let der = tlv(OCTET_STRING, &[&vec![7; length]]);
            assert_eq!(
                read_single(&der, OCTET_STRING, "t").unwrap().value.len(),
                length
            );
            assert_eq!(code(&der), "accepted");
        }
    }
}
