//! Settings: built-in default < Git's configuration < environment. One table has
//! one row for each setting: its key, variables, default, form, the scopes that
//! may set it, and its documentation (`docs/settings.md` is generated from it).
//!
//! Every setting of gitsign keeps its name under `gitsign.*`, `GITSIGN_*` and
//! `SIGSTORE_*`; the same name under `gitseal.*` and `GITSEAL_*` wins. Values are
//! read as Git reads them. A repository's own configuration cannot change what
//! is trusted, name a file or start a program.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    git::Repository,
    git_config::{ConfigScope, ConfigValue},
};

mod table;
mod values;
pub use table::{
    RENAMED, Row, SettableBy, SettingKey, Settings, TABLE, ValueKind, markdown, nearest,
};
pub use values::{
    CacheMode, ConfirmIdentity, RekorMode, RekorVersion, ServiceUrl, boolean, integer,
};

use values::{FromText, PathBase};

/// The longest value of a setting, in bytes.
pub const MAX_VALUE: usize = 8192;

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The default in the table.
    Default,
    /// A value in Git's configuration.
    Config {
        /// The key as in the table, with its section: `gitsign.rekorMode`.
        key: String,
        /// The scope of the configuration.
        scope: ConfigScope,
        /// The file, if there is one.
        file: Option<PathBuf>,
    },
    /// An environment variable.
    Environment {
        /// The name of the variable.
        name: String,
    },
    /// A flag of the command.
    Flag {
        /// The name of the flag.
        name: &'static str,
    },
}

impl Origin {
    /// Returns whether it is a repository's own configuration.
    #[must_use]
    pub fn is_repository(&self) -> bool {
        matches!(self, Self::Config { scope, .. } if scope.is_repository())
    }

    /// Returns the configuration file that contains the value.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Config { file, .. } => file.as_deref(),
            Self::Default | Self::Environment { .. } | Self::Flag { .. } => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::Config {
                key,
                scope,
                file: Some(file),
            } => write!(f, "{key} in {} ({})", file.display(), scope.name()),
            Self::Config {
                key, file: None, ..
            } => write!(f, "{key} on git's command line or in GIT_CONFIG_COUNT"),
            Self::Environment { name } => write!(f, "environment variable {name}"),
            Self::Flag { name } => f.write_str(name),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value, typed.
    pub value: T,
    /// The origin of the value.
    pub origin: Origin,
}

/// A value that is not usable, with its origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {name} {value:?} ({origin}): {reason}")]
pub struct SettingError {
    /// The name of the setting, with the section `gitseal`.
    pub name: String,
    /// The value; empty if it is not UTF-8.
    pub value: String,
    /// The origin of the value.
    pub origin: Box<Origin>,
    /// The reason as text.
    pub reason: String,
}

/// Access to environment variables, which tests replace.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Returns a variable of this process's environment.
#[must_use]
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    /// Returns an error if a value does not have the form of its row.
    pub fn resolve(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: Option<&Repository>,
    ) -> Result<Self, SettingError> {
        let paths = repository.map(Repository::paths).unwrap_or_default();
        Self::resolve_for(config, environment, &paths, false)
    }

    /// Reads all settings for a hook on a server. The repository's own
    /// configuration is the administrator's there, like the hook beside it,
    /// unless another user owns the repository.
    ///
    /// # Errors
    /// Returns an error if a value does not have the form of its row.
    pub fn resolve_on_server(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: &Repository,
    ) -> Result<Self, SettingError> {
        let is_trusted = repository.is_owned_by_user();
        Self::resolve_for(config, environment, &repository.paths(), is_trusted)
    }

    /// Reads all settings for the repository with these paths. If `is_trusted`,
    /// its own configuration counts like the user's.
    fn resolve_for(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: &[PathBuf],
        is_trusted: bool,
    ) -> Result<Self, SettingError> {
        let home = environment("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from);
        let reader = Reader::new(config, environment, repository, home.as_deref(), is_trusted)?;
        Self::read(reader)
    }

    /// Returns whether an origin is the repository's own configuration, and the
    /// user does not trust that.
    #[must_use]
    pub fn is_untrusted(&self, origin: &Origin) -> bool {
        origin.is_repository() && !self.trusts_repository
    }

    /// Returns each setting's row, text (none if unset) and origin, in the order
    /// of the table. None of them is secret: secrets are in files, or in
    /// variables that are not settings.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Row, Option<&str>, &Origin)> {
        self.rows
            .iter()
            .map(|(row, text, origin)| (*row, text.as_deref(), origin))
    }

    /// Returns a warning for each ignored value.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.ignored.iter().map(|origin| {
            format!(
                "ignoring {origin}: not allowed in repository configuration; set it with \
                 'git config --global', or list the repository in gitseal.trustedRepository"
            )
        })
    }
}

/// A value that was found for a row.
#[derive(Clone)]
struct Found {
    /// The text; `None` for a key without `=`.
    text: Option<String>,
    origin: Origin,
}

/// The values that were found for all rows.
struct Reader<'a> {
    found: Vec<Option<Found>>,
    /// The same without untrusted repository configuration.
    trusted: Vec<Option<Found>>,
    home: Option<&'a Path>,
    trusted_repositories: Vec<Found>,
    trusts_repository: bool,
    ignored: Vec<Origin>,
    notices: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: &[PathBuf],
        home: Option<&'a Path>,
        is_trusted: bool,
    ) -> Result<Self, SettingError> {
        let mut reader = Self {
            found: vec![None; TABLE.len()],
            trusted: vec![None; TABLE.len()],
            home,
            trusted_repositories: trusted_repositories(config)?,
            trusts_repository: is_trusted,
            ignored: Vec::new(),
            notices: Vec::new(),
        };
        reader.trusts_repository |= reader.names_one_of(repository);
        // gitsign's names first, so that ours win.
        for section in ["gitsign", "gitseal"] {
            for value in config {
                let name = value
                    .key
                    .strip_prefix(section)
                    .and_then(|rest| rest.strip_prefix('.'));
                if let Some(name) = name {
                    reader.add_config(section, name, value)?;
                }
            }
        }
        for row in TABLE {
            if let Some(found) = variable(row, environment)? {
                reader.store(row, found, true);
            }
        }
        reject_renamed(config, environment)?;
        Ok(reader)
    }

    fn store(&mut self, row: &Row, found: Found, is_trusted: bool) {
        if is_trusted && let Some(place) = self.trusted.get_mut(row.key as usize) {
            *place = Some(found.clone());
        }
        if let Some(place) = self.found.get_mut(row.key as usize) {
            *place = Some(found);
        }
    }

    /// Reads a setting of [`SettableBy::ForSigning`] for verification.
    fn for_verification<T: FromText>(&self, key: SettingKey) -> Result<Setting<T>, SettingError> {
        let found = self.trusted.get(key as usize).and_then(Option::as_ref);
        T::required(key.row(), found, self.home)
    }

    fn add_config(
        &mut self,
        section: &str,
        name: &str,
        value: &ConfigValue,
    ) -> Result<(), SettingError> {
        let row = TABLE.iter().find(|row| {
            row.name.eq_ignore_ascii_case(name) && (section == "gitseal" || row.in_gitsign)
        });
        let Some(row) = row else {
            self.notices.push(format!(
                "unknown setting {section}.{name} ({})",
                value.scope.name()
            ));
            return Ok(());
        };
        let origin = config_origin(section, row, value);
        let is_untrusted = value.scope.is_repository() && !self.trusts_repository;
        if is_untrusted
            && !row
                .settable_by
                .allows_repository_config(value.value.as_deref())
        {
            self.ignored.push(origin);
            return Ok(());
        }
        let text = text_of(row, value.value.as_deref(), &origin)?;
        self.reject_second(row, text.as_deref(), &origin)?;
        self.store(row, Found { text, origin }, !is_untrusted);
        Ok(())
    }

    /// Rejects a second identity in one file, where the first would be meant as well.
    /// A file that is read later may replace what an earlier one sets.
    fn reject_second(
        &self,
        row: &Row,
        text: Option<&str>,
        origin: &Origin,
    ) -> Result<(), SettingError> {
        const IDENTITY: [SettingKey; 4] = [
            SettingKey::CertificateIdentity,
            SettingKey::CertificateIdentityRegexp,
            SettingKey::CertificateOidcIssuer,
            SettingKey::CertificateOidcIssuerRegexp,
        ];
        let Some(first) = self.found(row).filter(|_| IDENTITY.contains(&row.key)) else {
            return Ok(());
        };
        let is_set = |text: &str| !text.is_empty();
        let (Some(first_text), Some(text)) = (first.text.as_deref(), text) else {
            return Ok(());
        };
        let is_second = first.origin == *origin
            && origin.file().is_some()
            && is_set(first_text)
            && is_set(text)
            && first_text != text;
        if !is_second {
            return Ok(());
        }
        let reason = format!(
            "the same file sets it to {first_text:?} before; several signers need one \
             certificateIdentityRegexp (A|B), and an empty value in between discards the first"
        );
        Err(invalid(row, text, origin, reason))
    }

    /// Returns whether `gitseal.trustedRepository` names one of these paths: by
    /// `*`, a path, or a path and `/*` for everything below it.
    fn names_one_of(&self, repository: &[PathBuf]) -> bool {
        let row = SettingKey::TrustedRepository.row();
        self.trusted_repositories.iter().any(|found| {
            let named = found.text.as_deref().unwrap_or_default();
            if named == "*" {
                return !repository.is_empty();
            }
            let (named, is_parent) = match named.strip_suffix("/*") {
                Some(parent) => (parent, true),
                None => (named, false),
            };
            let base = PathBase {
                home: self.home,
                file: found.origin.file(),
            };
            PathBuf::from_text(named, row, base).is_ok_and(|named| {
                let named = std::fs::canonicalize(&named).unwrap_or(named);
                repository
                    .iter()
                    .any(|path| *path == named || (is_parent && path.starts_with(&named)))
            })
        })
    }

    fn found(&self, row: &Row) -> Option<&Found> {
        self.found.get(row.key as usize)?.as_ref()
    }

    fn rows(&self) -> Vec<(&'static Row, Option<String>, Origin)> {
        TABLE
            .iter()
            .zip(&self.found)
            .filter(|(row, _)| row.key != SettingKey::TrustedRepository)
            .map(|(row, found)| match found {
                Some(Found { text, origin }) => {
                    let text = text.clone().unwrap_or_else(|| "true".to_owned());
                    (row, Some(text), origin.clone())
                }
                None => (row, row.default.map(str::to_owned), Origin::Default),
            })
            .collect()
    }
}

/// Returns all values of `gitseal.trustedRepository` outside repository
/// configuration. An empty one clears those before it, as with `safe.directory`.
fn trusted_repositories(config: &[ConfigValue]) -> Result<Vec<Found>, SettingError> {
    let row = SettingKey::TrustedRepository.row();
    let mut trusted = Vec::new();
    for value in config {
        if value.key != "gitseal.trustedrepository" || value.scope.is_repository() {
            continue;
        }
        let origin = config_origin("gitseal", row, value);
        match text_of(row, value.value.as_deref(), &origin)? {
            Some(text) if !text.is_empty() => trusted.push(Found {
                text: Some(text),
                origin,
            }),
            _ => trusted.clear(),
        }
    }
    Ok(trusted)
}

fn config_origin(section: &str, row: &Row, value: &ConfigValue) -> Origin {
    Origin::Config {
        key: format!("{section}.{}", row.name),
        scope: value.scope,
        file: value.file.clone(),
    }
}

/// Rejects settings under a name that is not read any more, in any scope.
fn reject_renamed(
    config: &[ConfigValue],
    environment: Environment<'_>,
) -> Result<(), SettingError> {
    for renamed in RENAMED {
        let new = renamed.new.row();
        let error = |value: Option<&[u8]>, origin: Origin, replacement: String| SettingError {
            name: format!("gitseal.{}", renamed.old),
            value: String::from_utf8_lossy(value.unwrap_or_default()).into_owned(),
            origin: Box::new(origin),
            reason: format!("the setting is now called {replacement}"),
        };
        let key = format!("gitseal.{}", renamed.old.to_ascii_lowercase());
        if let Some(found) = config.iter().find(|value| value.key == key) {
            let origin = Origin::Config {
                key: format!("gitseal.{}", renamed.old),
                scope: found.scope,
                file: found.file.clone(),
            };
            let replacement = format!("gitseal.{}", new.name);
            return Err(error(found.value.as_deref(), origin, replacement));
        }
        if let Some(value) = environment(renamed.variable) {
            let name = renamed.variable.to_owned();
            let replacement = new.variables().next().unwrap_or_default();
            let origin = Origin::Environment { name };
            return Err(error(Some(value.as_encoded_bytes()), origin, replacement));
        }
    }
    Ok(())
}

/// Returns the first of a row's variables that is set, even to an empty value.
fn variable(row: &Row, environment: Environment<'_>) -> Result<Option<Found>, SettingError> {
    for name in row.variables() {
        let Some(value) = environment(&name) else {
            continue;
        };
        let origin = Origin::Environment { name };
        let text = text_of(row, Some(value.as_encoded_bytes()), &origin)?;
        return Ok(Some(Found { text, origin }));
    }
    Ok(None)
}

/// Returns the value as text, within limits and on one line.
fn text_of(
    row: &Row,
    value: Option<&[u8]>,
    origin: &Origin,
) -> Result<Option<String>, SettingError> {
    let Some(bytes) = value else {
        return Ok(None);
    };
    if bytes.len() > MAX_VALUE {
        let reason = format!("it is {} bytes; the limit is {MAX_VALUE}", bytes.len());
        return Err(invalid(row, "", origin, reason));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| invalid(row, "", origin, "it is not UTF-8"))?;
    // CVE-2025-48384 and its kind: a line break in a value is never meant.
    if text.contains(['\0', '\r', '\n']) {
        let reason = "it contains a line break or a NUL";
        return Err(invalid(row, text, origin, reason));
    }
    Ok(Some(text.to_owned()))
}

fn invalid(row: &Row, value: &str, origin: &Origin, reason: impl Into<String>) -> SettingError {
    SettingError {
        name: format!("gitseal.{}", row.name),
        value: value.to_owned(),
        origin: Box::new(origin.clone()),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
