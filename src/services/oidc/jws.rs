//! A signed token in compact form (RFC 7515 §7.1), taken apart so strictly that
//! no two readers can see different things in it.
//!
//! ```text
//! BASE64URL(header) . BASE64URL(claims) . BASE64URL(signature)
//! ```
//!
//! What is refused although the RFC would let it pass, and why:
//!
//! - the same name twice in one JSON object, at any depth: readers differ in
//!   which of the two they take;
//! - `alg` other than a public-key signature: with a shared key, whoever can
//!   check a token can make one;
//! - `jwk`, `jku`, `x5u`, `x5c`: a token that brings the key to check it with,
//!   or an address to fetch it from. Identity providers publish their keys;
//! - `crit`, `b64`, `zip`, `enc`, `cty`: extensions, other encodings, and
//!   tokens in tokens. None is understood here.
//!
//! `kid` is a name and nothing else: it is never a path, and not used here.
//!
//! *Not checked here:* the signature (Fulcio checks it; for our own logins, the
//! login does), and what the claims say (`Token::check`).

use std::{collections::BTreeSet, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroizing;

/// The deepest nesting of a header or of claims.
pub const MAX_DEPTH: usize = 16;
/// The longest signature, in bytes: RSA with 8192 bits.
pub const MAX_SIGNATURE: usize = 1024;

/// Algorithms of public-key signatures (RFC 7518 §3.1, RFC 8037 §3.1), and the
/// exact length of the signature where there is one.
const ALGORITHMS: [(&str, Option<usize>); 10] = [
    ("RS256", None),
    ("RS384", None),
    ("RS512", None),
    ("PS256", None),
    ("PS384", None),
    ("PS512", None),
    // Two numbers of the curve's length (RFC 7518 §3.4), not ASN.1.
    ("ES256", Some(64)),
    ("ES384", Some(96)),
    ("ES512", Some(132)),
    ("EdDSA", Some(64)),
];

/// Header members that change what a token is, or bring a key.
const REFUSED: [(&str, &str); 9] = [
    ("jwk", "its header contains the key to verify it with (jwk)"),
    ("jku", "its header names a URL of keys (jku)"),
    ("x5u", "its header names a URL of certificates (x5u)"),
    (
        "x5c",
        "its header contains the certificate to verify it with (x5c)",
    ),
    ("crit", "its header requires extensions (crit)"),
    ("b64", "its header sets the payload encoding (b64)"),
    ("zip", "it is compressed (zip)"),
    ("enc", "it is encrypted (enc)"),
    ("cty", "it contains a nested token (cty)"),
];

/// Reasons to reject a signed token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwsError {
    /// The form is malformed.
    Form(&'static str),
    /// Nothing vouches for it: `alg` is "none", or the signature is empty.
    Unsigned(String),
    /// `alg` is no public-key signature.
    Algorithm(String),
    /// The claims are not the JSON that they should be.
    Claims(String),
}

/// Reads the claims of a token: a JSON object.
///
/// # Errors
///
/// What in its form, its header or the JSON of its claims does not do. No words
/// of the claims are in it but names of members.
pub fn claims(token: &str) -> Result<Zeroizing<Vec<u8>>, JwsError> {
    use JwsError::Form;
    // Four at most: a text full of dots is not cut into millions of pieces.
    let mut parts = token.splitn(4, '.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Form("it does not have three parts"));
    };
    // Without padding, without stray bits: one spelling only (RFC 4648 §3.5).
    let decode = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .map(Zeroizing::new)
            .map_err(|_| Form("a part is not base64url"))
    };
    let header = object(&decode(header)?)
        .map_err(|_| Form("its header is not a JSON object with unique names"))?;
    let signature = decode(signature)?;
    let Some(Value::String(algorithm)) = header.get("alg") else {
        return Err(Form("its header names no algorithm"));
    };
    if algorithm.eq_ignore_ascii_case("none") || signature.is_empty() {
        return Err(JwsError::Unsigned(algorithm.clone()));
    }
    let Some((_, length)) = ALGORITHMS.iter().find(|(name, _)| name == algorithm) else {
        return Err(JwsError::Algorithm(algorithm.clone()));
    };
    if length.is_some_and(|length| length != signature.len()) || signature.len() > MAX_SIGNATURE {
        return Err(Form(
            "the length of its signature does not match its algorithm",
        ));
    }
    for (name, reason) in REFUSED {
        if header.contains_key(name) {
            return Err(Form(reason));
        }
    }
    for name in ["kid", "typ"] {
        match header.get(name) {
            None => {}
            Some(Value::String(text)) if !hides(text) => {}
            Some(_) => return Err(Form("kid or typ in its header is not a string")),
        }
    }
    let payload = decode(payload)?;
    object(&payload).map_err(JwsError::Claims)?;
    Ok(payload)
}

/// A JSON object in which each name is there once, at every depth.
///
/// # Errors
///
/// What the JSON parser says, without any value.
fn object(json: &[u8]) -> Result<serde_json::Map<String, Value>, String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = Strict { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| match error.classify() {
            // Our own words, of this file; the place is enough for the rest.
            serde_json::error::Category::Data => error.to_string(),
            _ => format!(
                "not JSON at line {}, column {}",
                error.line(),
                error.column()
            ),
        })?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err("not a JSON object".into()),
    }
}

/// Reads any JSON value, and refuses a name that is in an object twice.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut names = BTreeSet::new();
        let mut map = serde_json::Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(inner)?;
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format!(
                    "duplicate {name:?}",
                    name = name.chars().take(40).collect::<String>()
                )));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// A JSON number as a NumericDate (RFC 7519 §2), in whole seconds.
///
/// # Errors
///
/// When it is before 1970 or after the year 9999, or no such number.
pub fn seconds(number: &serde_json::Number) -> Result<i64, String> {
    /// The last second of the year 9999.
    const LAST: i64 = 253_402_300_799;
    let whole = number.as_i64().or_else(|| {
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.')?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        whole.parse().ok()
    });
    whole
        .filter(|seconds| (0..=LAST).contains(seconds))
        .ok_or_else(|| format!("{number} is not a time"))
}

/// Whether control characters hide in a text.
#[must_use]
pub fn hides(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
