//! Settings: built-in default < git's configuration < environment. One table,
//! one row a setting; the row is its key, its variables, its default, how it is
//! read, who may set it, and its documentation (`docs/settings.md` is printed
//! from it).
//!
//! Every setting of gitsign keeps its name under `gitsign.*`, `GITSIGN_*` and
//! `SIGSTORE_*`; the same name under `gitseal.*` and `GITSEAL_*` wins. Values are
//! read as git reads them. What decides who is believed, names a file or starts
//! a program is not taken from a repository's own configuration.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use url::Url;

use super::git::{ConfigScope, ConfigValue, Repository};

mod table;
pub use table::{Key, Kind, Row, TABLE, WhoMaySet, markdown};

/// The longest value of a setting, in bytes.
pub const MAX_VALUE: usize = 8192;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// git's configuration.
    Config {
        /// As in the table, with its section: `gitsign.rekorMode`.
        key: String,
        /// Whose configuration.
        scope: ConfigScope,
        /// Which file, if it is one.
        file: Option<PathBuf>,
    },
    /// A variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// A flag of the command.
    Flag {
        /// Its name.
        name: &'static str,
    },
}

impl Origin {
    /// Whether it is a repository's own configuration.
    #[must_use]
    pub fn is_repository(&self) -> bool {
        matches!(self, Self::Config { scope, .. } if scope.is_repository())
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

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub origin: Origin,
}

/// The address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    text: String,
    url: Url,
}

impl ServiceUrl {
    /// Reads an `http` or `https` address without credentials, query and
    /// fragment.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err("a URL holds no blanks and no control characters".to_owned());
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the scheme is neither https nor http".to_owned());
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL names no host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL holds credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the URL has a query or a fragment".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As it was written, without slashes at the end: what paths are added to.
    #[must_use]
    pub fn base(&self) -> &str {
        self.text.trim_end_matches('/')
    }

    /// Parsed.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Whether the log's proof is embedded in the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RekorMode {
    /// Embedded when signing; verification asks nobody.
    Offline,
    /// Not embedded when signing (gitsign's default form); verification looks
    /// the entry up.
    Online,
}

/// The version of the log's API that signing speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RekorVersion {
    /// Rekor v1.
    V1,
    /// Rekor v2 (tiles).
    V2,
}

/// Which credential cache is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheMode {
    /// The user's own, started when there is none.
    Auto,
    /// None.
    Off,
    /// The one behind this socket.
    At(PathBuf),
}

/// Whether an identity that was not used before is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmIdentity {
    /// Where somebody can be asked.
    OnTerminal,
    /// Always; nobody to ask is a no.
    Always,
    /// Never.
    Never,
}

/// A setting that cannot be used: which, its value, where it was set, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: cannot use {value:?} ({origin}): {why}")]
pub struct SettingError {
    /// The row's name, with the section `gitseal`.
    pub name: String,
    /// The value, or nothing for one that is not text.
    pub value: String,
    /// Where it was set.
    pub origin: Box<Origin>,
    /// What is wrong with it.
    pub why: String,
}

/// All settings, typed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The certificate authority.
    pub fulcio: Setting<ServiceUrl>,
    /// The log that signing writes to.
    pub rekor: Setting<ServiceUrl>,
    /// The log that verification asks for entries: as `rekor`, but never out of
    /// a repository's own configuration.
    pub rekor_lookup: Setting<ServiceUrl>,
    /// Embedded proof or not.
    pub rekor_mode: Setting<RekorMode>,
    /// The API that signing speaks.
    pub rekor_version: Setting<RekorVersion>,
    /// The identity provider.
    pub issuer: Setting<ServiceUrl>,
    /// The client id at the identity provider.
    pub client_id: Setting<String>,
    /// A file with the client secret.
    pub client_secret_file: Setting<Option<PathBuf>>,
    /// The redirect address of the login.
    pub redirect_url: Setting<Option<ServiceUrl>>,
    /// The upstream provider to choose at the identity provider.
    pub connector_id: Setting<Option<String>>,
    /// The source of the token; nothing: whichever is there.
    pub token_provider: Setting<Option<String>>,
    /// The user to name in a login without a browser (`login_hint`).
    pub login_hint: Setting<Option<String>>,
    /// The timestamp authority.
    pub timestamp_server: Setting<Option<ServiceUrl>>,
    /// gitsign's single files of trust.
    pub fulcio_root: Setting<Option<PathBuf>>,
    /// PEM file: the timestamp authority's chain.
    pub timestamp_cert_chain: Setting<Option<PathBuf>>,
    /// PEM file: the log's key.
    pub rekor_public_key: Setting<Option<PathBuf>>,
    /// PEM or DER file: the CT log's key.
    pub ct_log_public_key: Setting<Option<PathBuf>>,
    /// `trusted_root.json`; goes before the single files.
    pub trusted_root: Setting<Option<PathBuf>>,
    /// The policy's file.
    pub policy: Setting<Option<PathBuf>>,
    /// The commit with which the repository's own policy begins.
    pub policy_root: Setting<Option<String>>,
    /// Whether the committer must be the identity in the certificate.
    pub match_committer: Setting<bool>,
    /// Whether the page after a login closes itself.
    pub autoclose: Setting<bool>,
    /// Seconds until it does.
    pub autoclose_timeout: Setting<i64>,
    /// A file that gets a copy of the messages.
    pub log_path: Setting<Option<PathBuf>>,
    /// The program that opens a browser.
    pub url_opener: Setting<Option<String>>,
    /// Which credential cache is used.
    pub credential_cache: Setting<CacheMode>,
    /// The file that holds the token.
    pub token_file: Setting<Option<PathBuf>>,
    /// Whether a refresh token is asked for.
    pub refresh: Setting<bool>,
    /// Whether a new identity is shown first.
    pub confirm_identity: Setting<ConfirmIdentity>,
    /// Who may sign, as set by the user or the system: exactly.
    pub certificate_identity: Setting<Option<String>>,
    /// Who may sign: a pattern.
    pub certificate_identity_regexp: Setting<Option<String>>,
    /// Who vouches for that: exactly.
    pub certificate_oidc_issuer: Setting<Option<String>>,
    /// Who vouches for that: a pattern.
    pub certificate_oidc_issuer_regexp: Setting<Option<String>>,
    /// Repositories whose own configuration is trusted like the user's.
    pub trusted_repositories: Vec<String>,
    /// Whether this repository is one of them.
    pub trusts_repository: bool,
    /// Things to tell: settings that were left aside because a repository set
    /// them.
    pub warnings: Vec<String>,
    /// Less important: keys that no row knows.
    pub notices: Vec<String>,
    /// Every row's text and origin, for `gitseal version`.
    resolved: Vec<(Key, Option<String>, Origin)>,
}

/// How the environment is read: a function, so that tests need not set it.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
#[must_use]
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A value that a row found.
#[derive(Clone)]
struct Found {
    /// `None`: a key without `=`.
    text: Option<String>,
    origin: Origin,
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    /// A value that cannot be read as what it should be: with its key, the value
    /// and where it was set.
    pub fn resolve(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: Option<&Repository>,
    ) -> Result<Self, SettingError> {
        let paths = repository.map(Repository::paths).unwrap_or_default();
        let home = environment("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from);
        Self::resolve_for(config, environment, &paths, home.as_deref(), false)
    }

    /// As [`resolve`](Self::resolve), for a hook on a server: there the repository's
    /// own configuration is the administrator's, like the hook beside it. One that
    /// belongs to another user is left aside all the same.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_on_server(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: &Repository,
    ) -> Result<Self, SettingError> {
        let home = environment("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from);
        Self::resolve_for(
            config,
            environment,
            &repository.paths(),
            home.as_deref(),
            repository.is_owned_by_user(),
        )
    }

    /// As [`resolve`](Self::resolve), for the repository that these paths name;
    /// `trusted`: its own configuration counts like the user's.
    fn resolve_for(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: &[PathBuf],
        home: Option<&Path>,
        trusted: bool,
    ) -> Result<Self, SettingError> {
        let mut reader = Reader::new(config, environment, repository, home, trusted)?;
        let r = &mut reader;
        let settings = Self {
            fulcio: r.url(Key::Fulcio)?,
            rekor: r.url(Key::Rekor)?,
            rekor_lookup: r.lookup_url()?,
            rekor_mode: r.choice(
                Key::RekorMode,
                &[
                    ("offline", RekorMode::Offline),
                    ("online", RekorMode::Online),
                ],
            )?,
            rekor_version: r.choice(
                Key::RekorVersion,
                &[("1", RekorVersion::V1), ("2", RekorVersion::V2)],
            )?,
            issuer: r.url(Key::Issuer)?,
            client_id: r.required_text(Key::ClientId)?,
            client_secret_file: r.path(Key::ClientSecretFile)?,
            redirect_url: r.optional_url(Key::RedirectUrl)?,
            connector_id: r.text(Key::ConnectorId)?,
            token_provider: r.text(Key::TokenProvider)?,
            login_hint: r.text(Key::LoginHint)?,
            timestamp_server: r.optional_url(Key::TimestampServerUrl)?,
            fulcio_root: r.path(Key::FulcioRoot)?,
            timestamp_cert_chain: r.path(Key::TimestampCertChain)?,
            rekor_public_key: r.path(Key::RekorPublicKey)?,
            ct_log_public_key: r.path(Key::CtLogPublicKey)?,
            trusted_root: r.path(Key::TrustedRoot)?,
            policy: r.path(Key::Policy)?,
            policy_root: r.text(Key::PolicyRoot)?,
            match_committer: r.flag(Key::MatchCommitter)?,
            autoclose: r.flag(Key::Autoclose)?,
            autoclose_timeout: r.number(Key::AutocloseTimeout, 1, 3600)?,
            log_path: r.path(Key::LogPath)?,
            url_opener: r.text(Key::UrlOpener)?,
            credential_cache: r.cache()?,
            token_file: r.path(Key::TokenFile)?,
            refresh: r.flag(Key::Refresh)?,
            confirm_identity: r.choice(
                Key::ConfirmIdentity,
                &[
                    ("auto", ConfirmIdentity::OnTerminal),
                    ("true", ConfirmIdentity::Always),
                    ("false", ConfirmIdentity::Never),
                ],
            )?,
            certificate_identity: r.text(Key::CertificateIdentity)?,
            certificate_identity_regexp: r.text(Key::CertificateIdentityRegexp)?,
            certificate_oidc_issuer: r.text(Key::CertificateOidcIssuer)?,
            certificate_oidc_issuer_regexp: r.text(Key::CertificateOidcIssuerRegexp)?,
            trusted_repositories: r.trusted_repositories.clone(),
            trusts_repository: r.trusts_repository,
            warnings: std::mem::take(&mut r.warnings),
            notices: std::mem::take(&mut r.notices),
            resolved: r.resolved(),
        };
        // Read for its errors only: there is one engine.
        r.flag(Key::EnableSigstoreGo)?;
        Ok(settings)
    }

    /// Whether this origin is the repository's own configuration, and the user has
    /// not named the repository as trusted.
    #[must_use]
    pub fn is_untrusted(&self, origin: &Origin) -> bool {
        origin.is_repository() && !self.trusts_repository
    }

    /// Each setting's name, value as text (none: unset) and origin, in the order
    /// of the table. No secret is among them: secrets are in files or variables
    /// that are not settings.
    pub fn shown(&self) -> impl Iterator<Item = (&'static Row, Option<&str>, &Origin)> {
        self.resolved
            .iter()
            .map(|(key, text, origin)| (key.row(), text.as_deref(), origin))
    }
}

/// Finds the values of all rows, and types them.
struct Reader<'a> {
    found: Vec<Option<Found>>,
    /// The value of `rekor` with repositories left out.
    lookup: Option<Found>,
    home: Option<&'a Path>,
    trusted_repositories: Vec<String>,
    trusts_repository: bool,
    warnings: Vec<String>,
    notices: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(
        config: &[ConfigValue],
        environment: Environment<'_>,
        repository: &[PathBuf],
        home: Option<&'a Path>,
        trusted: bool,
    ) -> Result<Self, SettingError> {
        let mut reader = Self {
            found: vec![None; TABLE.len()],
            lookup: None,
            home,
            trusted_repositories: Vec::new(),
            trusts_repository: false,
            warnings: Vec::new(),
            notices: Vec::new(),
        };
        reader.trusted_repositories(config)?;
        let trusted = trusted || reader.names_one_of(repository);
        reader.trusts_repository = trusted;
        // gitsign's names first, so that ours win.
        for section in ["gitsign", "gitseal"] {
            for value in config {
                let Some(name) = value
                    .key
                    .strip_prefix(section)
                    .and_then(|rest| rest.strip_prefix('.'))
                else {
                    continue;
                };
                reader.config_value(section, name, value, trusted)?;
            }
        }
        for (index, row) in TABLE.iter().enumerate() {
            if let Some(found) = variable(row, environment)? {
                if let Some(place) = reader.found.get_mut(index) {
                    *place = Some(found.clone());
                }
                if row.key == Key::Rekor {
                    reader.lookup = Some(found);
                }
            }
        }
        Ok(reader)
    }

    fn config_value(
        &mut self,
        section: &str,
        name: &str,
        value: &ConfigValue,
        trusted: bool,
    ) -> Result<(), SettingError> {
        let place = TABLE.iter().position(|row| {
            row.name.eq_ignore_ascii_case(name) && (section == "gitseal" || row.in_gitsign)
        });
        let Some((place, row)) = place.and_then(|place| Some((place, TABLE.get(place)?))) else {
            self.notices.push(format!(
                "unknown setting {section}.{name} ({})",
                value.scope.name()
            ));
            return Ok(());
        };
        let origin = Origin::Config {
            key: format!("{section}.{}", row.name),
            scope: value.scope,
            file: value.file.clone(),
        };
        if value.scope.is_repository()
            && !trusted
            && !row.who.lets_a_repository_say(value.value.as_deref())
        {
            self.warnings.push(format!(
                "{origin} is left aside: a repository may not say this. Set it with \
                 git config --global, or name the repository in gitseal.trustedRepository"
            ));
            return Ok(());
        }
        let text = text_of(row, value.value.as_deref(), &origin)?;
        let found = Found { text, origin };
        if row.key == Key::Rekor && (!value.scope.is_repository() || trusted) {
            self.lookup = Some(found.clone());
        }
        if let Some(slot) = self.found.get_mut(place) {
            *slot = Some(found);
        }
        Ok(())
    }

    /// `gitseal.trustedRepository`: all values of the user and the system; an
    /// empty one forgets those before it, as with `safe.directory`.
    fn trusted_repositories(&mut self, config: &[ConfigValue]) -> Result<(), SettingError> {
        let row = Key::TrustedRepository.row();
        for value in config {
            if value.key != "gitseal.trustedrepository" || value.scope.is_repository() {
                continue;
            }
            let origin = Origin::Config {
                key: "gitseal.trustedRepository".to_owned(),
                scope: value.scope,
                file: value.file.clone(),
            };
            match text_of(row, value.value.as_deref(), &origin)? {
                None => self.trusted_repositories.clear(),
                Some(text) if text.is_empty() => self.trusted_repositories.clear(),
                Some(text) => self.trusted_repositories.push(text),
            }
        }
        Ok(())
    }

    /// Whether one of these paths is named by `gitseal.trustedRepository`: `*`,
    /// a path, or a path and `/*` for everything below it.
    fn names_one_of(&self, repository: &[PathBuf]) -> bool {
        self.trusted_repositories.iter().any(|named| {
            if named == "*" {
                return !repository.is_empty();
            }
            let (named, below) = match named.strip_suffix("/*") {
                Some(parent) => (parent, true),
                None => (named.as_str(), false),
            };
            let named = self.expand(named);
            let named = std::fs::canonicalize(&named).unwrap_or(named);
            repository
                .iter()
                .any(|path| *path == named || (below && path.starts_with(&named)))
        })
    }

    fn expand(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        }
    }

    fn found(&self, key: Key) -> Option<&Found> {
        let place = TABLE.iter().position(|row| row.key == key)?;
        self.found.get(place)?.as_ref()
    }

    /// The text and its origin; the default where nothing, or an empty text, was
    /// found. A key without `=` is no text.
    fn string(
        &self,
        key: Key,
        found: Option<&Found>,
    ) -> Result<Setting<Option<String>>, SettingError> {
        let row = key.row();
        let default = || Setting {
            value: row.default.map(str::to_owned),
            origin: Origin::Default,
        };
        match found {
            None => Ok(default()),
            Some(Found { text: None, origin }) => {
                Err(refused(row, "", origin, "the key has no value".to_owned()))
            }
            Some(Found {
                text: Some(text),
                origin,
            }) => {
                if text.is_empty() {
                    return Ok(Setting {
                        value: row.default.map(str::to_owned),
                        origin: origin.clone(),
                    });
                }
                Ok(Setting {
                    value: Some(text.clone()),
                    origin: origin.clone(),
                })
            }
        }
    }

    fn text(&self, key: Key) -> Result<Setting<Option<String>>, SettingError> {
        self.string(key, self.found(key))
    }

    fn required_text(&self, key: Key) -> Result<Setting<String>, SettingError> {
        let setting = self.text(key)?;
        Ok(Setting {
            value: setting.value.unwrap_or_default(),
            origin: setting.origin,
        })
    }

    fn path(&self, key: Key) -> Result<Setting<Option<PathBuf>>, SettingError> {
        let setting = self.text(key)?;
        Ok(Setting {
            value: setting.value.map(|text| self.expand(&text)),
            origin: setting.origin,
        })
    }

    fn cache(&self) -> Result<Setting<CacheMode>, SettingError> {
        let setting = self.text(Key::CredentialCache)?;
        Ok(Setting {
            value: match setting.value.as_deref() {
                None | Some("auto") => CacheMode::Auto,
                Some("off") => CacheMode::Off,
                Some(path) => CacheMode::At(self.expand(path)),
            },
            origin: setting.origin,
        })
    }

    fn typed_url(
        key: Key,
        setting: Setting<Option<String>>,
    ) -> Result<Setting<Option<ServiceUrl>>, SettingError> {
        let value = match &setting.value {
            None => None,
            Some(text) => Some(
                ServiceUrl::parse(text)
                    .map_err(|why| refused(key.row(), text, &setting.origin, why))?,
            ),
        };
        Ok(Setting {
            value,
            origin: setting.origin,
        })
    }

    fn optional_url(&self, key: Key) -> Result<Setting<Option<ServiceUrl>>, SettingError> {
        Self::typed_url(key, self.text(key)?)
    }

    fn required_url(
        key: Key,
        setting: Setting<Option<String>>,
    ) -> Result<Setting<ServiceUrl>, SettingError> {
        let setting = Self::typed_url(key, setting)?;
        match setting.value {
            Some(value) => Ok(Setting {
                value,
                origin: setting.origin,
            }),
            None => Err(refused(
                key.row(),
                "",
                &setting.origin,
                "a URL is needed".to_owned(),
            )),
        }
    }

    fn url(&self, key: Key) -> Result<Setting<ServiceUrl>, SettingError> {
        Self::required_url(key, self.text(key)?)
    }

    fn lookup_url(&self) -> Result<Setting<ServiceUrl>, SettingError> {
        Self::required_url(Key::Rekor, self.string(Key::Rekor, self.lookup.as_ref())?)
    }

    fn choice<T: Copy>(&self, key: Key, choices: &[(&str, T)]) -> Result<Setting<T>, SettingError> {
        let setting = self.text(key)?;
        let text = setting.value.unwrap_or_default();
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(Setting {
                value: *value,
                origin: setting.origin,
            }),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(refused(
                    key.row(),
                    &text,
                    &setting.origin,
                    format!("it is one of {}", names.join(", ")),
                ))
            }
        }
    }

    fn flag(&self, key: Key) -> Result<Setting<bool>, SettingError> {
        let row = key.row();
        let Some(found) = self.found(key) else {
            return Ok(Setting {
                value: row.default == Some("true"),
                origin: Origin::Default,
            });
        };
        let value = match &found.text {
            None => Some(true),
            // An empty variable counts as unset; an empty value in git's
            // configuration is false, as git has it.
            Some(text) if text.is_empty() && matches!(found.origin, Origin::Environment { .. }) => {
                Some(row.default == Some("true"))
            }
            Some(text) => boolean(text),
        };
        match value {
            Some(value) => Ok(Setting {
                value,
                origin: found.origin.clone(),
            }),
            None => Err(refused(
                row,
                found.text.as_deref().unwrap_or_default(),
                &found.origin,
                "it is true or false (or yes, no, on, off, 1, 0)".to_owned(),
            )),
        }
    }

    fn number(&self, key: Key, min: i64, max: i64) -> Result<Setting<i64>, SettingError> {
        let setting = self.text(key)?;
        let text = setting.value.unwrap_or_default();
        match integer(&text) {
            Some(value) if (min..=max).contains(&value) => Ok(Setting {
                value,
                origin: setting.origin,
            }),
            _ => Err(refused(
                key.row(),
                &text,
                &setting.origin,
                format!("it is a whole number from {min} to {max}"),
            )),
        }
    }

    fn resolved(&self) -> Vec<(Key, Option<String>, Origin)> {
        TABLE
            .iter()
            .zip(&self.found)
            .filter(|(row, _)| row.key != Key::TrustedRepository)
            .map(|(row, found)| match found {
                Some(Found { text, origin }) => (
                    row.key,
                    Some(text.clone().unwrap_or_else(|| "true".to_owned())),
                    origin.clone(),
                ),
                None => (row.key, row.default.map(str::to_owned), Origin::Default),
            })
            .collect()
    }
}

/// The first of a row's variables that is set, also to nothing.
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

/// The value as text, within limits and on one line.
fn text_of(
    row: &Row,
    value: Option<&[u8]>,
    origin: &Origin,
) -> Result<Option<String>, SettingError> {
    let Some(bytes) = value else {
        return Ok(None);
    };
    if bytes.len() > MAX_VALUE {
        let why = format!("it has {} bytes, more than {MAX_VALUE}", bytes.len());
        return Err(refused(row, "", origin, why));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| refused(row, "", origin, "it is not UTF-8".to_owned()))?;
    // CVE-2025-48384 and its kind: a line break in a value is never meant.
    if text.contains(['\0', '\r', '\n']) {
        let why = "it holds a line break or a NUL".to_owned();
        return Err(refused(row, text, origin, why));
    }
    Ok(Some(text.to_owned()))
}

fn refused(row: &Row, value: &str, origin: &Origin, why: String) -> SettingError {
    SettingError {
        name: format!("gitseal.{}", row.name),
        value: value.to_owned(),
        origin: Box::new(origin.clone()),
        why,
    }
}

/// A boolean as git reads it (`git_parse_maybe_bool`): words in any case, or a
/// number.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" | "" => Some(false),
        _ => integer(text).map(|number| number != 0),
    }
}

/// A number as git reads it: an optional sign, and an optional unit k, m or g of
/// 1024.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let unit = |c: char| match c.to_ascii_lowercase() {
        'k' => Some(1_i64 << 10),
        'm' => Some(1 << 20),
        'g' => Some(1 << 30),
        _ => None,
    };
    let last = text.chars().last()?;
    match unit(last) {
        Some(factor) => {
            let digits = text.get(..text.len().checked_sub(1)?)?;
            digits.parse::<i64>().ok()?.checked_mul(factor)
        }
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
