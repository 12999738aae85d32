//! DER, written by hand: the forge must be able to make what no sane encoder
//! makes.

/// Tag, length, content.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap()..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}

pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A SET OF in DER order.
pub fn set_of(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut sorted = parts.to_vec();
    sorted.sort();
    tlv(0x31, &sorted.concat())
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let mut groups = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        groups.reverse();
        content.extend(groups);
    }
    tlv(0x06, &content)
}

/// A non-negative INTEGER of these big-endian bytes.
pub fn uint(bytes: &[u8]) -> Vec<u8> {
    let start = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len().saturating_sub(1));
    let mut content = bytes[start..].to_vec();
    if content.is_empty() || content[0] & 0x80 != 0 {
        content.insert(0, 0);
    }
    tlv(0x02, &content)
}

pub fn int(value: u64) -> Vec<u8> {
    uint(&value.to_be_bytes())
}

pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

pub fn yes() -> Vec<u8> {
    tlv(0x01, &[0xff])
}

pub fn null() -> Vec<u8> {
    vec![0x05, 0x00]
}

/// `[n] EXPLICIT`.
pub fn explicit(n: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | n, content)
}

/// The same bytes under another tag.
pub fn retag(tag: u8, der: &[u8]) -> Vec<u8> {
    let mut out = der.to_vec();
    out[0] = tag;
    out
}

/// The content of a TLV.
pub fn content(der: &[u8]) -> &[u8] {
    match der[1] {
        short if short < 0x80 => &der[2..],
        long => &der[2 + usize::from(long & 0x7f)..],
    }
}

fn civil(at: i64) -> (i64, i64, i64, i64, i64, i64) {
    let days = at.div_euclid(86_400);
    let rest = at.rem_euclid(86_400);
    // Howard Hinnant's days_to_civil.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

pub fn utc_time(at: i64) -> Vec<u8> {
    let (y, mo, d, h, mi, s) = civil(at);
    tlv(
        0x17,
        format!("{:02}{mo:02}{d:02}{h:02}{mi:02}{s:02}Z", y % 100).as_bytes(),
    )
}

pub fn generalized_time(at: i64) -> Vec<u8> {
    let (y, mo, d, h, mi, s) = civil(at);
    tlv(
        0x18,
        format!("{y:04}{mo:02}{d:02}{h:02}{mi:02}{s:02}Z").as_bytes(),
    )
}

pub fn algorithm(dotted: &str) -> Vec<u8> {
    seq(&[&oid(dotted)])
}

/// A Name of one organization and one common name.
pub fn name(organization: &str, common_name: &str) -> Vec<u8> {
    let attribute = |kind: &str, value: &str| tlv(0x31, &seq(&[&oid(kind), &utf8(value)]));
    seq(&[
        &attribute("2.5.4.10", organization),
        &attribute("2.5.4.3", common_name),
    ])
}

pub fn extension(dotted: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    if critical {
        seq(&[&oid(dotted), &yes(), &octets(value)])
    } else {
        seq(&[&oid(dotted), &octets(value)])
    }
}
