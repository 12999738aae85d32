//! As much of HPACK (RFC 7541) as one gRPC call needs: headers out as plain
//! literals; headers in from a peer that was told to keep no dynamic table.
//!
//! *Not checked here:* what the headers say (`grpc.rs`).

/// The most bytes of one header block, as sent and when decoded.
pub const MAX_HEADERS: usize = 16 << 10;

/// A header that was read. The names of the static table that no answer to a
/// gRPC call needs are not spelled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name; empty for one of the static table's that is not `:status`.
    pub name: Vec<u8>,
    /// Its value; empty where it is the static table's.
    pub value: Vec<u8>,
}

/// Writes a header: a literal that is never indexed, with a new name, without
/// Huffman (§6.2.3).
pub fn write(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0x10);
    for text in [name, value] {
        write_length(out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
}

/// An integer with a prefix of seven bits (§5.1).
fn write_length(out: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        out.push(u8::try_from(length).unwrap_or(127));
        return;
    };
    out.push(127);
    while rest >= 128 {
        out.push(u8::try_from(rest & 127).unwrap_or(0) | 128);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

/// Reads a whole header block.
///
/// # Errors
///
/// When it is not HPACK, too long, or uses a dynamic table.
pub fn read(block: &[u8]) -> Result<Vec<Header>, &'static str> {
    let mut rest = block;
    let mut headers = Vec::new();
    let mut total: usize = 0;
    while let Some(&first) = rest.first() {
        let header = if first & 0x80 != 0 {
            let index = read_integer(&mut rest, 7)?;
            named(index)?
        } else if first & 0xe0 == 0x20 {
            // The size of the dynamic table: it has none.
            if read_integer(&mut rest, 5)? != 0 {
                return Err("a dynamic table that was refused");
            }
            continue;
        } else {
            let prefix = if first & 0x40 != 0 { 6 } else { 4 };
            let index = read_integer(&mut rest, prefix)?;
            let name = if index == 0 {
                read_text(&mut rest)?
            } else {
                named(index)?.name
            };
            Header {
                name,
                value: read_text(&mut rest)?,
            }
        };
        // §4.1: what a header costs.
        total = total
            .saturating_add(header.name.len())
            .saturating_add(header.value.len())
            .saturating_add(32);
        if total > MAX_HEADERS {
            return Err("too many headers");
        }
        headers.push(header);
    }
    Ok(headers)
}

/// An entry of the static table (appendix A).
fn named(index: usize) -> Result<Header, &'static str> {
    let (name, value): (&[u8], &[u8]) = match index {
        0 => return Err("a header with the number 0"),
        8 => (b":status", b"200"),
        9 => (b":status", b"204"),
        10 => (b":status", b"206"),
        11 => (b":status", b"304"),
        12 => (b":status", b"400"),
        13 => (b":status", b"404"),
        14 => (b":status", b"500"),
        1..=61 => (b"", b""),
        _ => return Err("a header of a dynamic table that was refused"),
    };
    Ok(Header {
        name: name.to_vec(),
        value: value.to_vec(),
    })
}

fn read_integer(rest: &mut &[u8], prefix: u32) -> Result<usize, &'static str> {
    const SHORT: &str = "a header block that ends early";
    let (&first, mut tail) = rest.split_first().ok_or(SHORT)?;
    let mask = (1u8 << prefix).wrapping_sub(1);
    let mut value = usize::from(first & mask);
    if first & mask == mask {
        let mut shift: u32 = 0;
        loop {
            let (&byte, after) = tail.split_first().ok_or(SHORT)?;
            tail = after;
            // Three bytes more reach two million: longer than any block here.
            if shift > 14 {
                return Err("a number that is too large");
            }
            value = value.saturating_add(usize::from(byte & 127) << shift);
            shift = shift.saturating_add(7);
            if byte & 128 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Ok(value)
}

fn read_text(rest: &mut &[u8]) -> Result<Vec<u8>, &'static str> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = read_integer(rest, 7)?;
    let (text, after) = rest
        .split_at_checked(length)
        .ok_or("a header block that ends early")?;
    *rest = after;
    if coded {
        unpack(text)
    } else {
        Ok(text.to_vec())
    }
}

/// The lengths of the Huffman code's words (appendix B), by symbol; the last is
/// the end of a text. The code is canonical: the words follow from the lengths.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Decodes a Huffman text (§5.2): the padding is less than a byte of ones.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, &'static str> {
    const BAD: &str = "a text that is not of the Huffman code";
    // The symbols in the order of their words, and how many have each length.
    let mut symbols: Vec<u16> = (0..257).collect();
    let length_of = |symbol: u16| LENGTHS.get(usize::from(symbol)).copied().unwrap_or(0);
    symbols.sort_by_key(|symbol| (length_of(*symbol), *symbol));

    let mut text = Vec::new();
    let mut bits = packed
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u32::from((byte >> at) & 1)));
    'symbol: loop {
        // Word and length so far; the first word of that length, and its place.
        let (mut word, mut first, mut place): (u32, u32, usize) = (0, 0, 0);
        let mut ones = true;
        for length in 1..=30u8 {
            let Some(bit) = bits.next() else {
                return if ones && length <= 8 {
                    Ok(text)
                } else {
                    Err(BAD)
                };
            };
            ones &= bit == 1;
            word = (word << 1) | bit;
            let count = LENGTHS.iter().filter(|&&other| other == length).count();
            let offset = usize::try_from(word.saturating_sub(first)).unwrap_or(usize::MAX);
            if word >= first && offset < count {
                let symbol = symbols.get(place.saturating_add(offset)).copied();
                // The end of a text must not be written out.
                let byte = symbol.and_then(|symbol| u8::try_from(symbol).ok());
                text.push(byte.ok_or(BAD)?);
                if text.len() > MAX_HEADERS {
                    return Err("a header that is too long");
                }
                continue 'symbol;
            }
            place = place.saturating_add(count);
            first = first
                .saturating_add(u32::try_from(count).unwrap_or(0))
                .wrapping_shl(1);
        }
        return Err(BAD);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_decoded() {
        // RFC 7541 C.4.1 and C.6.1: the Huffman texts.
        for (packed, text) in [
            ("f1e3 c2e5 f23a 6ba0 ab90 f4ff", "www.example.com"),
            ("a8eb 1064 9cbf", "no-cache"),
            ("25a8 49e9 5ba9 7d7f", "custom-key"),
            ("25a8 49e9 5bb8 e8b4 bf", "custom-value"),
            ("6402", "302"),
            ("aec3 771a 4b", "private"),
            (
                "d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                "9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3",
                "https://www.example.com",
            ),
        ] {
            assert_eq!(unpack(&hex(packed)).unwrap(), text.as_bytes(), "{text}");
        }
        // C.6.1 whole, its first header: `:status: 302` with an indexed name.
        let headers = read(&hex("4882 6402 5885 aec3 771a 4b")).unwrap();
        assert_eq!(headers[0].name, b":status");
        assert_eq!(headers[0].value, b"302");
        assert_eq!(headers[1].value, b"private");
        assert_eq!(read(&[0x88]).unwrap()[0].value, b"200");
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 126, 127, 128, 254, 255, 300, 9000] {
            let mut block = Vec::new();
            write(&mut block, "grpc-status", &"v".repeat(length));
            let headers = read(&block).unwrap();
            assert_eq!(headers.len(), 1);
            assert_eq!(headers[0].name, b"grpc-status");
            assert_eq!(headers[0].value.len(), length);
            for cut in 1..block.len().min(40) {
                assert!(read(&block[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_not_hpack_is_refused() {
        for block in [
            "80",                                   // number 0
            "be",                                   // number 62: dynamic
            "7f8001",                               // the same as a name
            "3fe11f",                               // a table of 4096
            "ffffffffff7f",                         // a number without end
            "0085",                                 // ends early
            "008500000000000000", // the code's words for five zero bytes do not fit
            "008fffffffffffffffffffffffffffffff00", // the end written out
            "0081ff00",           // a byte of padding alone
        ] {
            assert!(read(&hex(block)).is_err(), "{block}");
        }
        // The table may be set to nothing, again and again.
        assert_eq!(read(&hex("2020")).unwrap(), []);
        let mut long = Vec::new();
        write(&mut long, "a", &"v".repeat(MAX_HEADERS));
        assert!(read(&long).is_err());
        assert!(read(&[0x88; MAX_HEADERS]).is_err());
    }
}
