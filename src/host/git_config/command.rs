//! Configuration of Git's command line: `GIT_CONFIG_COUNT` with its keys and
//! values, then `GIT_CONFIG_PARAMETERS`, into which Git puts `git -c`.

use std::ffi::OsString;

use super::{ReadError, Variables};

/// The most keys that `GIT_CONFIG_COUNT` may announce here. Git has no limit.
const MAX_COUNT: usize = 1000;

/// A key, canonical, and its value.
type Pair = (Vec<u8>, Option<Vec<u8>>);

/// Returns the keys of the environment in Git's order.
///
/// # Errors
/// Returns [`ReadError`] if Git fails on a variable, or may read it differently.
pub fn pairs(environment: Variables<'_>) -> Result<Vec<Pair>, ReadError> {
    let mut pairs = Vec::new();
    if let Some(count) = environment("GIT_CONFIG_COUNT") {
        let bytes = |name: String| match environment(&name) {
            Some(value) => Ok(value.into_encoded_bytes()),
            None => Err(ReadError::malformed(format!("{name} is missing"))),
        };
        for index in 0..number(&count)? {
            let key = bytes(format!("GIT_CONFIG_KEY_{index}"))?;
            let value = bytes(format!("GIT_CONFIG_VALUE_{index}"))?;
            pairs.push((canonical(&key)?, Some(value)));
        }
    }
    if let Some(text) = environment("GIT_CONFIG_PARAMETERS") {
        let text = text
            .into_string()
            .map_err(|_| ReadError::needs_git("GIT_CONFIG_PARAMETERS that is not UTF-8"))?;
        for (key, value) in parameters(&text)? {
            pairs.push((
                canonical(key.as_bytes())?,
                value.map(|value| value.into_bytes()),
            ));
        }
    }
    Ok(pairs)
}

fn number(count: &OsString) -> Result<usize, ReadError> {
    let text = count.to_str().unwrap_or("?");
    if text.is_empty() {
        return Ok(0);
    }
    Some(text)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|count| *count <= MAX_COUNT)
        .ok_or_else(|| ReadError::needs_git(format!("GIT_CONFIG_COUNT {text:?}")))
}

/// Returns a key with section and name in lower case (`git_config_parse_key`).
fn canonical(key: &[u8]) -> Result<Vec<u8>, ReadError> {
    let invalid =
        || ReadError::malformed(format!("invalid key {:?}", String::from_utf8_lossy(key)));
    let mut parts = key.splitn(2, |byte| *byte == b'.');
    let (Some(section), Some(rest)) = (parts.next(), parts.next()) else {
        return Err(invalid());
    };
    let (subsection, name) = match rest.iter().rposition(|byte| *byte == b'.') {
        Some(dot) => rest.split_at(dot.saturating_add(1)),
        None => (&[][..], rest),
    };
    let is_word = |part: &[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    let is_valid = is_word(section)
        && is_word(name)
        && name.first().is_some_and(u8::is_ascii_alphabetic)
        && !subsection.contains(&b'\n');
    if !is_valid {
        return Err(invalid());
    }
    if section.is_empty() {
        return Err(ReadError::needs_git("a section without name"));
    }
    let mut canonical = section.to_ascii_lowercase();
    canonical.push(b'.');
    canonical.extend_from_slice(subsection);
    canonical.extend(name.to_ascii_lowercase());
    Ok(canonical)
}

/// Parses `GIT_CONFIG_PARAMETERS`: `'key'='value'`, `'key'=`, and the form of
/// versions before 2.31 `'key=value'`, separated by spaces.
fn parameters(text: &str) -> Result<Vec<(String, Option<String>)>, ReadError> {
    let mut rest = text;
    let mut parameters = Vec::new();
    let at = |rest: &str| {
        let at = text.len().saturating_sub(rest.len());
        ReadError::malformed(format!("GIT_CONFIG_PARAMETERS is malformed at byte {at}"))
    };
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return Ok(parameters);
        }
        let before = rest;
        let quoted = git_config_env::quote::sq_dequote(&mut rest).map_err(|_| at(before))?;
        parameters.push(if let Some(after) = rest.strip_prefix('=') {
            rest = after;
            let value = if rest.is_empty() || rest.starts_with(' ') {
                None
            } else {
                let value = git_config_env::quote::sq_dequote(&mut rest).map_err(|_| at(after))?;
                Some(value.into_owned())
            };
            (quoted.into_owned(), value)
        } else {
            match quoted.split_once('=') {
                Some((key, value)) => (key.trim().to_owned(), Some(value.to_owned())),
                None => (quoted.trim().to_owned(), None),
            }
        });
        if !rest.is_empty() && !rest.starts_with(' ') {
            return Err(at(rest));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn command_parameters_of_every_git() {
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            parameters("'gitsign.fulcio'='https://a b'").unwrap(),
            [pair("gitsign.fulcio", Some("https://a b"))]
        );
        assert_eq!(
            parameters("'gitsign.autoclose'= 'a.b'='it'\\''s' 'c.d=e'  'f.g'").unwrap(),
            [
                pair("gitsign.autoclose", None),
                pair("a.b", Some("it's")),
                pair("c.d", Some("e")),
                pair("f.g", None),
            ]
        );
        assert_eq!(parameters("").unwrap(), []);
        assert_eq!(
            parameters("'a.b'='x\ny'").unwrap(),
            [pair("a.b", Some("x\ny"))],
            "a line break is part of the value"
        );
    }

    #[test]
    fn malformed_command_parameters_are_an_error() {
        for text in [
            "gitsign.fulcio=x",
            "'a.b'x",
            "'a.b'='c'x",
            "'a.b",
            "'a.b'='c",
        ] {
            assert!(parameters(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_canonical_but_for_their_subsection() {
        let canonical =
            |key: &str| canonical(key.as_bytes()).map(|key| String::from_utf8(key).unwrap());
        assert_eq!(canonical("GitSeal.RekorMode").unwrap(), "gitseal.rekormode");
        assert_eq!(
            canonical("URL.Https://X.y.InsteadOf").unwrap(),
            "url.Https://X.y.insteadof"
        );
        for bad in ["a", "", "a.", "a.1b", "a_b.c", "a.b_c", "a.x\ny.b"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }
}
