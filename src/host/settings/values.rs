//! Typed values of settings, and how each is read from its text.

use std::path::{Path, PathBuf};

use url::Url;

use super::{Found, Origin, Reader, Setting, SettingError, invalid, table::Row, table::ValueKind};

pub use gitseal_evidence::checkpoint::RekorVersion;

/// What a relative path and `~` are relative to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PathBase<'a> {
    /// The user's home directory.
    pub(super) home: Option<&'a Path>,
    /// The configuration file that contains the value; `None` on a command line and
    /// in the environment, where it is the current directory.
    pub(super) file: Option<&'a Path>,
}

/// The URL of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    text: String,
    url: Url,
}

impl ServiceUrl {
    /// Parses an `http` or `https` URL without credentials, query and fragment.
    ///
    /// # Errors
    /// Returns the reason as text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err("a URL must not contain whitespace or control characters".to_owned());
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the scheme must be https or http".to_owned());
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL has no host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not contain credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the URL must not have a query or a fragment".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }

    /// Returns the URL as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the URL as it was written, without slashes at its end, for adding
    /// a path.
    #[must_use]
    pub fn base(&self) -> &str {
        self.text.trim_end_matches('/')
    }

    /// Returns the parsed URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// The location of the log entry of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RekorMode {
    /// Embedded in the signature; verification needs no network.
    Offline,
    /// Only in the log, as gitsign does by default; verification looks it up.
    Online,
}

/// The credential cache to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheMode {
    /// The user's own, started on first use.
    Auto,
    /// No cache at all.
    Off,
    /// The cache at this socket.
    At(PathBuf),
}

/// A file with an absolute path, to which push checks append their results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictLogFile(pub PathBuf);

/// When to prompt before an identity is published for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmIdentity {
    /// If a terminal is available.
    OnTerminal,
    /// Always; without a terminal, signing fails.
    Always,
    /// Never, not even on a terminal.
    Never,
}

/// A type that the value of a row can have.
pub(super) trait SettingValue: Sized {
    /// Reads the value that was found for a row, or its default.
    fn read(reader: &Reader<'_>, row: &'static Row) -> Result<Setting<Self>, SettingError>;
}

/// A type that is read from the text of a value.
pub(super) trait FromText: Sized {
    fn from_text(text: &str, row: &Row, base: PathBase<'_>) -> Result<Self, String>;

    /// Reads an optional value. Empty text means the default; a key without `=`
    /// has no text.
    fn optional(
        row: &'static Row,
        found: Option<&Found>,
        home: Option<&Path>,
    ) -> Result<Setting<Option<Self>>, SettingError> {
        let origin = found.map_or(Origin::Default, |found| found.origin.clone());
        let text = match found {
            None => row.default,
            Some(Found { text: None, origin }) => {
                return Err(invalid(row, "", origin, "the key has no value"));
            }
            Some(Found {
                text: Some(text), ..
            }) => Some(text.as_str())
                .filter(|text| !text.is_empty())
                .or(row.default),
        };
        let value = match text {
            None => None,
            Some(text) => Some(
                Self::from_text(
                    text,
                    row,
                    PathBase {
                        home,
                        file: origin.file(),
                    },
                )
                .map_err(|reason| invalid(row, text, &origin, reason))?,
            ),
        };
        Ok(Setting { value, origin })
    }

    /// Reads a value that must be set, or have a default.
    fn required(
        row: &'static Row,
        found: Option<&Found>,
        home: Option<&Path>,
    ) -> Result<Setting<Self>, SettingError> {
        let Setting { value, origin } = Self::optional(row, found, home)?;
        match value {
            Some(value) => Ok(Setting { value, origin }),
            None => Err(invalid(row, "", &origin, "a value is required")),
        }
    }
}

impl<T: FromText> SettingValue for Option<T> {
    fn read(reader: &Reader<'_>, row: &'static Row) -> Result<Setting<Self>, SettingError> {
        T::optional(row, reader.found(row), reader.home)
    }
}

impl<T: FromText> SettingValue for T {
    fn read(reader: &Reader<'_>, row: &'static Row) -> Result<Setting<Self>, SettingError> {
        T::required(row, reader.found(row), reader.home)
    }
}

/// A key without `=` is true. An empty value in Git's configuration is false, as
/// in Git; an empty variable means the default.
impl SettingValue for bool {
    fn read(reader: &Reader<'_>, row: &'static Row) -> Result<Setting<Self>, SettingError> {
        let default = row.default == Some("true");
        let Some(Found { text, origin }) = reader.found(row) else {
            return Ok(Setting {
                value: default,
                origin: Origin::Default,
            });
        };
        let value = match text.as_deref() {
            None => Some(true),
            Some("") if matches!(origin, Origin::Environment { .. }) => Some(default),
            Some(text) => boolean(text),
        };
        let value = value.ok_or_else(|| {
            let reason = "expected true or false (or yes, no, on, off, 1, 0)";
            invalid(row, text.as_deref().unwrap_or_default(), origin, reason)
        })?;
        Ok(Setting {
            value,
            origin: origin.clone(),
        })
    }
}

/// The one setting with several values, `trustedRepository`: see [`Reader`].
impl SettingValue for Vec<String> {
    fn read(reader: &Reader<'_>, row: &'static Row) -> Result<Setting<Self>, SettingError> {
        Ok(Setting {
            value: reader
                .trusted_repositories
                .iter()
                .map(|found| found.text.clone().unwrap_or_default())
                .collect(),
            origin: reader
                .found(row)
                .map_or(Origin::Default, |found| found.origin.clone()),
        })
    }
}

impl FromText for String {
    fn from_text(text: &str, _: &Row, _: PathBase<'_>) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromText for ServiceUrl {
    fn from_text(text: &str, _: &Row, _: PathBase<'_>) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// A relative path means the same wherever the command runs: it is relative to the
/// file that contains it, as the path of an include is.
impl FromText for PathBuf {
    fn from_text(text: &str, _: &Row, base: PathBase<'_>) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix('~') {
            if !rest.is_empty() && !rest.starts_with('/') {
                return Err("the home of another user is not looked up".to_owned());
            }
            let home = base.home.ok_or("HOME is not set")?;
            return Ok(home.join(rest.trim_start_matches('/')));
        }
        if text.starts_with("%(") || text.starts_with(":(") {
            return Err("%(prefix) and :(optional) are not supported".to_owned());
        }
        let path = Self::from(text);
        match base.file.map(Path::parent) {
            None => Ok(path),
            Some(_) if path.is_absolute() => Ok(path),
            Some(Some(directory)) if directory.is_absolute() => Ok(directory.join(path)),
            Some(_) => {
                Err("a relative path in a file that is not named by an absolute path".to_owned())
            }
        }
    }
}

impl FromText for i64 {
    fn from_text(text: &str, row: &Row, _: PathBase<'_>) -> Result<Self, String> {
        let ValueKind::Number(min, max) = row.kind else {
            return Err("this setting is not a number".to_owned());
        };
        integer(text)
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| format!("expected an integer from {min} to {max}"))
    }
}

impl FromText for CacheMode {
    fn from_text(text: &str, row: &Row, base: PathBase<'_>) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "off" => Self::Off,
            path => Self::At(PathBuf::from_text(path, row, base)?),
        })
    }
}

impl FromText for VerdictLogFile {
    fn from_text(text: &str, row: &Row, base: PathBase<'_>) -> Result<Self, String> {
        if text == "syslog" {
            return Err(
                "syslog is not supported; name a file, which a log collector can read".to_owned(),
            );
        }
        let path = PathBuf::from_text(text, row, base)?;
        if !Path::new(text).is_absolute() && !text.starts_with('~') {
            return Err("expected an absolute path".to_owned());
        }
        Ok(Self(path))
    }
}

/// Implements [`FromText`] for the types with a few values.
macro_rules! choices {
    ($($type:ty { $($text:literal => $value:ident),* })*) => {$(
        impl FromText for $type {
            fn from_text(text: &str, _: &Row, _: PathBase<'_>) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$value),)*
                    _ => Err(format!("expected one of {}", [$($text),*].join(", "))),
                }
            }
        }
    )*};
}

choices! {
    RekorMode { "offline" => Offline, "online" => Online }
    RekorVersion { "1" => V1, "2" => V2 }
    ConfirmIdentity { "auto" => OnTerminal, "true" => Always, "false" => Never }
}

/// Parses a boolean as Git does (`git_parse_maybe_bool`): words in any case, or a
/// number.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" | "" => Some(false),
        _ => i32::try_from(integer(text)?).ok().map(|number| number != 0),
    }
}

/// Parses a number as Git does (`git_parse_signed`): an optional sign, decimal,
/// hexadecimal after `0x` or octal after `0`, and an optional unit k, m or g of
/// 1024.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (is_negative, text) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let (digits, factor) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (text.get(..at)?, 1_i64 << 10),
        (at, 'm' | 'M') => (text.get(..at)?, 1 << 20),
        (at, 'g' | 'G') => (text.get(..at)?, 1 << 30),
        _ => (text, 1),
    };
    let hexadecimal = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    // The parser would accept another sign.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    let number = if is_negative {
        number.checked_neg()?
    } else {
        number
    };
    number.checked_mul(factor)
}
