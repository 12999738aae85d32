//! Names in certificates: of leaves, of what they may be constrained to, and
//! distinguished names for people.
//!
//! *Not checked here:* whether a name is the wanted one (`identity.rs`), and
//! whether it lies within the constraints (`chain.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use crate::{
    asn1::{self, DerError, DerReader, Tlv},
    hex,
    refusal::{Reason, reason},
};

/// The longest identity, in bytes.
pub(crate) const MAX_IDENTITY: usize = 4096;
/// The type of Fulcio's otherName SAN: 1.3.6.1.4.1.57264.1.7.
const FULCIO_OTHER_NAME: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x07];

/// One name of a SAN or of name constraints (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneralName {
    /// The context tag: 1 rfc822Name, 6 URI, 0 otherName …
    pub tag: u8,
    /// The content octets of the name.
    pub value: Vec<u8>,
}

/// The tag of directoryName among the [`GeneralName`]s.
pub(crate) const DIRECTORY_NAME: u8 = 4;

/// NameConstraints (RFC 5280 §4.2.1.10).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameConstraints {
    /// Bounds that names must lie within.
    pub permitted: Vec<GeneralName>,
    /// Bounds that names must not lie within.
    pub excluded: Vec<GeneralName>,
}

/// The one name of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum San {
    /// An email address (rfc822Name).
    Email(String),
    /// A URI (uniformResourceIdentifier).
    Uri(String),
    /// Fulcio's otherName 1.3.6.1.4.1.57264.1.7: `name!domain`.
    OtherName(String),
}

impl San {
    /// The name of a leaf, if it is of a kind that Fulcio issues.
    pub(super) fn read(name: &GeneralName) -> Result<Self, Reason> {
        if name.value.len() > MAX_IDENTITY {
            return Err(reason!(
                "certificate-san-too-long",
                "the subject alternative name is {bytes} bytes; the limit is {MAX_IDENTITY}",
                bytes = name.value.len()
            ));
        }
        match name.tag {
            1 => ia5(&name.value).map(Self::Email),
            6 => ia5(&name.value).map(Self::Uri),
            0 => fulcio_other_name(&name.value).map(Self::OtherName),
            _ => Err(bad_kind()),
        }
    }

    /// The text, byte for byte as certified.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Email(text) | Self::Uri(text) | Self::OtherName(text) => text,
        }
    }

    /// The kind, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Uri(_) => "uri",
            Self::OtherName(_) => "username",
        }
    }
}

/// A certificate's identity and the issuer that authenticated it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject alternative name.
    pub san: San,
    /// The URL of the OIDC issuer.
    pub issuer: String,
}

fn bad_kind() -> Reason {
    reason!(
        "certificate-san-kind",
        "the subject alternative name is not an email address, a URI or Fulcio's otherName"
    )
}

fn bad_characters() -> Reason {
    reason!(
        "certificate-san-characters",
        "the subject alternative name contains characters that identities do not have"
    )
}

/// The issuer of an identity, by the rules of a URI among the names.
pub(super) fn issuer(text: &str) -> Result<String, Reason> {
    if text.len() > MAX_IDENTITY {
        return Err(reason!(
            "certificate-issuer-too-long",
            "the issuer is {bytes} bytes; the limit is {MAX_IDENTITY}",
            bytes = text.len()
        ));
    }
    ia5(text.as_bytes()).map_err(|_| {
        reason!(
            "certificate-issuer-characters",
            "the issuer contains characters that issuers do not have"
        )
    })
}

/// IA5String without control characters.
fn ia5(value: &[u8]) -> Result<String, Reason> {
    if value.is_empty() || !value.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return Err(bad_characters());
    }
    String::from_utf8(value.to_vec()).map_err(|_| bad_characters())
}

/// `OtherName ::= SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT ANY }`
/// with a UTF8String inside.
fn fulcio_other_name(value: &[u8]) -> Result<String, Reason> {
    const NAME: &str = "subjectAltName";
    let bad = |why| {
        reason!(
            "certificate-extension",
            "cannot parse extension {name}: {why}",
            name = NAME
        )
    };
    let mut reader = DerReader::new(value);
    if reader.oid("otherName type").map_err(bad)? != FULCIO_OTHER_NAME {
        return Err(bad_kind());
    }
    let mut inner = reader.enter(0xa0, "otherName value").map_err(bad)?;
    reader.finish("otherName").map_err(bad)?;
    let text = inner
        .expect(asn1::UTF8_STRING, "otherName value")
        .map_err(bad)?;
    inner.finish("otherName value").map_err(bad)?;
    let text = String::from_utf8(text.value.to_vec()).map_err(|_| {
        reason!(
            "certificate-text",
            "the extension {name} is not UTF-8 text",
            name = NAME
        )
    })?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(bad_characters());
    }
    Ok(text)
}

/// `GeneralNames ::= SEQUENCE OF GeneralName`, without its header.
pub(super) fn general_names(names: &[u8]) -> Result<Vec<GeneralName>, DerError> {
    let mut reader = DerReader::new(names);
    let mut found = Vec::new();
    while !reader.is_empty() {
        let name = reader.any("GeneralName")?;
        // otherName, x400Address, directoryName and ediPartyName are constructed.
        let kind = match name.tag & 0x1f {
            kind @ (0 | 3 | 4 | 5) => 0xa0 | kind,
            kind @ (1 | 2 | 6 | 7 | 8) => 0x80 | kind,
            _ => return Err(DerError::value("GeneralName", "an unknown kind")),
        };
        if name.tag != kind {
            return Err(DerError::tag("GeneralName", kind, name.tag));
        }
        found.push(GeneralName {
            tag: name.tag & 0x1f,
            value: name.value.to_vec(),
        });
    }
    Ok(found)
}

/// `GeneralSubtree ::= SEQUENCE { base GeneralName, minimum [0] DEFAULT 0, … }`;
/// RFC 5280 §4.2.1.10 allows no minimum and no maximum.
pub(super) fn name_constraints(value: &[u8]) -> Result<NameConstraints, DerError> {
    const WHAT: &str = "nameConstraints";
    let subtrees = |list: Option<Tlv<'_>>| -> Result<Vec<GeneralName>, DerError> {
        let mut bases = Vec::new();
        let Some(list) = list else { return Ok(bases) };
        let mut reader = DerReader::new(list.value);
        while !reader.is_empty() {
            let subtree = reader.expect(asn1::SEQUENCE, WHAT)?;
            let mut names = general_names(subtree.value)?;
            match (names.pop(), names.is_empty()) {
                (Some(base), true) => bases.push(base),
                _ => {
                    return Err(DerError::value(WHAT, "a subtree that is not one base"));
                }
            }
        }
        Ok(bases)
    };
    let mut reader = DerReader::new(asn1::read_single(value, asn1::SEQUENCE, WHAT)?.value);
    let permitted = subtrees(reader.optional(0xa0, WHAT)?)?;
    let excluded = subtrees(reader.optional(0xa1, WHAT)?)?;
    reader.finish(WHAT)?;
    Ok(NameConstraints {
        permitted,
        excluded,
    })
}

/// Attribute types with a short name (RFC 4519), in the order in which gitsign's
/// users see them, whatever their order in the certificate.
const SHOWN: [(&[u8], &str); 9] = [
    (&[0x55, 0x04, 0x05], "SERIALNUMBER"),
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x11], "POSTALCODE"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x06], "C"),
];

/// A Name for people: `CN=sigstore-intermediate,O=sigstore.dev`. Characters
/// with a meaning there are escaped (RFC 4514 §2.4); what is no printable text
/// is shown in hex, and so are attributes without a short name.
pub(super) fn text(name: &[u8]) -> String {
    let Ok(attributes) = attributes(name) else {
        return format!("#{}", hex(name));
    };
    let mut parts = Vec::new();
    for (kind, short) in SHOWN {
        let values: Vec<String> = attributes
            .iter()
            .filter(|(found, _)| *found == kind)
            .map(|(_, value)| format!("{short}={}", attribute_text(*value)))
            .collect();
        if !values.is_empty() {
            parts.push(values.join("+"));
        }
    }
    for (kind, value) in attributes.iter().rev() {
        if !SHOWN.iter().any(|(known, _)| known == kind) {
            let (kind, value) = (asn1::dotted(kind), hex(value.raw));
            parts.push(format!("{kind}=#{value}"));
        }
    }
    parts.join(",")
}

/// The plain text of the first attribute of this type, such as an organization.
pub(super) fn attribute(name: &[u8], kind: &[u8]) -> Option<String> {
    let (_, value) = attributes(name)
        .ok()?
        .into_iter()
        .find(|(found, _)| *found == kind)?;
    match (value.tag, std::str::from_utf8(value.value)) {
        // UTF8String, PrintableString, IA5String.
        (0x0c | 0x13 | 0x16, Ok(text)) if !text.chars().any(char::is_control) => {
            Some(text.to_owned())
        }
        _ => None,
    }
}

/// `Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }`
fn attributes(name: &[u8]) -> Result<Vec<(&[u8], Tlv<'_>)>, DerError> {
    let mut sets = DerReader::new(asn1::read_single(name, asn1::SEQUENCE, "Name")?.value);
    let mut attributes = Vec::new();
    while !sets.is_empty() {
        let set = sets.expect(asn1::SET, "RelativeDistinguishedName")?;
        attributes.extend(rdn_attributes(set)?);
    }
    Ok(attributes)
}

/// The attributes of one SET of a Name.
fn rdn_attributes(set: Tlv<'_>) -> Result<Vec<(&[u8], Tlv<'_>)>, DerError> {
    let mut set = DerReader::new(set.value);
    let mut attributes = Vec::new();
    while !set.is_empty() {
        let mut pair = set.enter(asn1::SEQUENCE, "AttributeTypeAndValue")?;
        attributes.push((pair.oid("type")?, pair.any("value")?));
        pair.finish("AttributeTypeAndValue")?;
    }
    Ok(attributes)
}

/// One step of a distinguished name: its attributes, in order, by type and folded
/// value.
pub(crate) type Rdn = Vec<(Vec<u8>, String)>;

/// A Name for comparison (RFC 5280 §7.1): without regard to case and to repeated
/// spaces. `None` if a value is not ASCII text, because other characters have several
/// spellings.
pub(crate) fn rdns(name: &[u8]) -> Option<Vec<Rdn>> {
    let mut sets = DerReader::new(asn1::read_single(name, asn1::SEQUENCE, "Name").ok()?.value);
    let mut found = Vec::new();
    while !sets.is_empty() {
        let set = sets.expect(asn1::SET, "RelativeDistinguishedName").ok()?;
        let mut rdn = rdn_attributes(set)
            .ok()?
            .into_iter()
            .map(|(kind, value)| Some((kind.to_vec(), folded(value)?)))
            .collect::<Option<Rdn>>()?;
        rdn.sort();
        found.push(rdn);
    }
    Some(found)
}

/// ASCII text in lower case, with single spaces inside and none around.
fn folded(value: Tlv<'_>) -> Option<String> {
    // UTF8String, PrintableString, IA5String.
    let text = match value.tag {
        0x0c | 0x13 | 0x16 => std::str::from_utf8(value.value).ok()?,
        _ => return None,
    };
    let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    printable.then(|| words.join(" ").to_ascii_lowercase())
}

fn attribute_text(value: Tlv<'_>) -> String {
    // UTF8String, PrintableString, IA5String.
    let text = match (value.tag, std::str::from_utf8(value.value)) {
        (0x0c | 0x13 | 0x16, Ok(text)) if !text.chars().any(char::is_control) => text,
        _ => return format!("#{}", hex(value.raw)),
    };
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (nth, one) in text.chars().enumerate() {
        let edge = (one == ' ' && (nth == 0 || nth == last)) || (one == '#' && nth == 0);
        if edge || matches!(one, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(one);
    }
    out
}
