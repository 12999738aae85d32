//! DER, written: the counterpart of the reader in `evidence/asn1.rs`.

use jiff::{Timestamp, tz::Offset};

use gitseal_evidence::{
    UnixTime,
    asn1::{DerError, GENERALIZED_TIME, INTEGER, OID, SET, UTC_TIME, tlv},
};

/// A SET OF, its values put in DER's order.
#[must_use]
pub fn set_of(mut values: Vec<Vec<u8>>) -> Vec<u8> {
    values.sort();
    let pieces: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    tlv(SET, &pieces)
}

/// A non-negative INTEGER out of its big-endian octets.
#[must_use]
pub fn unsigned(octets: &[u8]) -> Vec<u8> {
    let start = octets.iter().take_while(|octet| **octet == 0).count();
    let digits = octets.get(start..).unwrap_or_default();
    match digits.first() {
        None => tlv(INTEGER, &[&[0]]),
        Some(first) if *first >= 0x80 => tlv(INTEGER, &[&[0], digits]),
        Some(_) => tlv(INTEGER, &[digits]),
    }
}

/// An OBJECT IDENTIFIER out of its content octets.
#[must_use]
pub fn object_identifier(oid: &[u8]) -> Vec<u8> {
    tlv(OID, &[oid])
}

/// The Time CHOICE as certificates and signing times write it: UTCTime for
/// 1950 to 2049, GeneralizedTime otherwise (RFC 5280 §4.1.2.5, RFC 5652
/// §11.3).
///
/// # Errors
/// Before 1970 or after 9999.
pub fn encode_time(at: UnixTime) -> Result<Vec<u8>, DerError> {
    let text = calendar(at)?;
    match text.get(2..) {
        Some(short) if text.as_str() < "2050" => Ok(tlv(UTC_TIME, &[short.as_bytes()])),
        _ => Ok(tlv(GENERALIZED_TIME, &[text.as_bytes()])),
    }
}

/// A GeneralizedTime in whole seconds.
///
/// # Errors
/// Before 1970 or after 9999.
pub fn encode_generalized_time(at: UnixTime) -> Result<Vec<u8>, DerError> {
    Ok(tlv(GENERALIZED_TIME, &[calendar(at)?.as_bytes()]))
}

/// Formats a time as `YYYYMMDDHHMMSSZ`.
fn calendar(at: UnixTime) -> Result<String, DerError> {
    let refuse = || DerError::value("time", "not between 1970 and 9999");
    if at < 0 {
        return Err(refuse());
    }
    let date = Offset::UTC.to_datetime(Timestamp::from_second(at).map_err(|_| refuse())?);
    Ok(format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        date.year(),
        date.month(),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form() {
        assert_eq!(
            encode_time(2_524_607_999).unwrap(),
            [&[UTC_TIME, 13][..], b"491231235959Z"].concat()
        );
        assert_eq!(
            encode_time(2_524_608_000).unwrap(),
            [&[GENERALIZED_TIME, 15][..], b"20500101000000Z"].concat()
        );
        assert!(encode_time(-1).is_err());
    }

    #[test]
    fn integers_have_one_form() {
        assert_eq!(unsigned(&[0, 0x80]), [INTEGER, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0x7f]), [INTEGER, 1, 0x7f]);
        assert_eq!(unsigned(&[]), [INTEGER, 1, 0]);
    }
}
