//! How the core says no: every reason is one variant, with a stable code, the
//! values that disagreed, and the step of the verification it belongs to.
//!
//! Not here: what to do next. Hints are the commands' business.

use std::fmt;

/// Defines an enum of reasons. Each variant has a stable, kebab-case code
/// (asserted by tests, shown by `--json`) and words that carry its values.
///
/// ```ignore
/// reasons! {
///     /// Why an armoured signature is not read.
///     pub enum ArmorRefusal {
///         /// Something stands before the BEGIN line.
///         #[code = "armor-text-before"]
///         #[error("{bytes} bytes stand before the BEGIN line")]
///         TextBefore {
///             /// How many bytes.
///             bytes: usize,
///         },
///     }
/// }
/// ```
macro_rules! reasons {
    (
        $(#[$outer:meta])*
        pub enum $name:ident {
            $(
                $(#[doc = $doc:literal])*
                #[code = $code:literal]
                #[error($($message:tt)*)]
                $variant:ident $( { $($body:tt)* } )?
            ),* $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub enum $name {
            $(
                $(#[doc = $doc])*
                #[error($($message)*)]
                $variant $( { $($body)* } )?
            ),*
        }

        impl $name {
            /// The stable, kebab-case name of this reason.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $code ),*
                }
            }
        }
    };
}
pub(crate) use reasons;

/// The nine steps of a verification. The numbers are the same in the code,
/// the documentation, the tests and what `gitseal explain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// 1: the object and the CMS are read: framing, armour, DER, one signer, limits.
    Read = 1,
    /// 2: the payload's digest and content type match the signed attributes.
    Content = 2,
    /// 3: the leaf key signed the attributes.
    Signature = 3,
    /// 4: the log entry describes this digest, signature and certificate.
    Entry = 4,
    /// 5: inclusion up to a checkpoint signed by a trusted log, and the SET.
    Inclusion = 5,
    /// 6: a trusted time.
    Time = 6,
    /// 7: the chain to a trusted authority at that time.
    Chain = 7,
    /// 8: an SCT of a trusted CT log.
    Sct = 8,
    /// 9: the identity that was asked for.
    Identity = 9,
}

impl Step {
    /// All nine, in order.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Content,
        Self::Signature,
        Self::Entry,
        Self::Inclusion,
        Self::Time,
        Self::Chain,
        Self::Sct,
        Self::Identity,
    ];

    /// The number, 1 to 9.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Content => 2,
            Self::Signature => 3,
            Self::Entry => 4,
            Self::Inclusion => 5,
            Self::Time => 6,
            Self::Chain => 7,
            Self::Sct => 8,
            Self::Identity => 9,
        }
    }

    /// A short name for tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Content => "content",
            Self::Signature => "signature",
            Self::Entry => "entry",
            Self::Inclusion => "inclusion",
            Self::Time => "time",
            Self::Chain => "chain",
            Self::Sct => "sct",
            Self::Identity => "identity",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({})", self.number(), self.name())
    }
}

/// Lowercase hex, as refusals and identifiers show bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(
                DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?'),
            ));
        }
    }
    text
}

/// The bytes of lowercase hex; `None` for anything else, also for uppercase: two
/// spellings of one value are one too many.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte & 0x0f),
        b'a'..=b'f' => Some((byte & 0x0f).saturating_add(9)),
        _ => None,
    };
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
