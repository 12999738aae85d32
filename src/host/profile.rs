//! An organization's profile: a TOML file that configures how its machines sign
//! and what they trust. Documented in `docs/profile.md`.
//!
//! Anything unknown or malformed is an error with its line and column. A profile
//! cannot name a program to run, a file of the machine, or a repository: it
//! chooses services and expected identities only.
//!
//! *Not checked here:* the profile's signature (`setup/source`).

use std::{collections::BTreeMap, ops::Range};

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{
    git_config::{ConfigScope, ConfigValue},
    settings::{Row, SettingKey, Settings, TABLE, ValueKind, nearest},
};
use gitseal_evidence::trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot};
use gitseal_policy::toml_position::position;

/// The largest profile, in bytes; it may contain a trusted root.
pub const MAX_PROFILE: usize = MAX_TRUSTED_ROOT + (64 << 10);
/// The longest name or contact, in characters.
pub const MAX_NAME: usize = 200;

/// A mistake in a profile, with its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}:{column}: {reason}")]
#[expect(missing_docs, reason = "fields appear in the message")]
pub struct ProfileError {
    pub name: String,
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

/// The trusted root that a profile brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileTrustedRoot {
    /// The content, in the profile itself.
    Inline(String),
    /// A file beside the profile.
    File {
        /// One name, without a directory.
        file: String,
        /// The SHA-256 of its bytes, in lower-case hex.
        sha256: String,
    },
}

/// A parsed profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The organization's name.
    pub organization: String,
    /// The contact for questions.
    pub contact: Option<String>,
    /// Whether Git signs every commit.
    pub sign_commits: bool,
    /// Whether Git signs every tag.
    pub sign_tags: bool,
    /// The value of `gpg.x509.program`.
    pub program: Option<String>,
    /// Names of settings and their values, in the order of the table.
    pub settings: Vec<(&'static str, String)>,
    /// The trusted root to install.
    pub trusted_root: Option<ProfileTrustedRoot>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    version: Spanned<i64>,
    organization: Spanned<String>,
    contact: Option<Spanned<String>>,
    #[serde(default)]
    sign: SignTable,
    #[serde(default)]
    git: GitTable,
    #[serde(default)]
    settings: BTreeMap<Spanned<String>, Spanned<Value>>,
    trusted_root: Option<Spanned<RootTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SignTable {
    commits: bool,
    tags: bool,
}

impl Default for SignTable {
    fn default() -> Self {
        Self {
            commits: true,
            tags: true,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GitTable {
    program: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootTable {
    inline: Option<Spanned<String>>,
    file: Option<Spanned<String>>,
    sha256: Option<Spanned<String>>,
}

/// A mistake, and the bytes that it is about.
type Mistake = (Range<usize>, String);

impl Profile {
    /// Parses a profile. `name` is how errors refer to it.
    ///
    /// # Errors
    /// Returns the first mistake with its position.
    pub fn parse(text: &str, name: &str) -> Result<Self, ProfileError> {
        let located = |(at, reason): Mistake| {
            let (line, column) = position(text, at.start);
            ProfileError {
                name: name.to_owned(),
                line,
                column,
                reason,
            }
        };
        if text.len() > MAX_PROFILE {
            let reason = format!("it is {} bytes; the limit is {MAX_PROFILE}", text.len());
            return Err(located((0..0, reason)));
        }
        let document: Document = toml::from_str(text).map_err(|error| {
            // What is missing has no place of its own.
            let at = error.span().filter(|at| at.len() < text.len());
            located((at.unwrap_or(0..0), error.message().to_owned()))
        })?;
        document.check().map_err(located)
    }
}

impl Document {
    fn check(self) -> Result<Profile, Mistake> {
        if *self.version.get_ref() != 1 {
            return Err(mistake(&self.version, "the version must be 1"));
        }
        Ok(Profile {
            organization: name(&self.organization)?,
            contact: self.contact.as_ref().map(name).transpose()?,
            sign_commits: self.sign.commits,
            sign_tags: self.sign.tags,
            program: self.git.program.as_ref().map(program).transpose()?,
            settings: settings(&self.settings)?,
            trusted_root: self.trusted_root.map(trusted_root).transpose()?,
        })
    }
}

fn mistake<T>(value: &Spanned<T>, reason: impl Into<String>) -> Mistake {
    (value.span(), reason.into())
}

fn line(value: &Spanned<String>) -> Result<String, Mistake> {
    let text = value.get_ref();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(mistake(value, "expected a string of one line"));
    }
    Ok(text.clone())
}

fn name(value: &Spanned<String>) -> Result<String, Mistake> {
    let text = line(value)?;
    if text.chars().count() > MAX_NAME {
        let reason = format!("it is longer than {MAX_NAME} characters");
        return Err(mistake(value, reason));
    }
    Ok(text)
}

/// Git starts the program without a shell, but on Windows and in older versions
/// a value with more than a path in it has another meaning.
fn program(value: &Spanned<String>) -> Result<String, Mistake> {
    let text = line(value)?;
    let base = text.rsplit(['/', '\\']).next().unwrap_or(&text);
    let is_gitseal = base == "gitseal" || base.eq_ignore_ascii_case("gitseal.exe");
    let is_complete = base.len() == text.len()
        || text.starts_with('/')
        || text
            .get(1..3)
            .is_some_and(|drive| matches!(drive, ":/" | ":\\"));
    if is_gitseal && is_complete {
        Ok(text)
    } else {
        Err(mistake(
            value,
            "the program must be gitseal, or an absolute path that ends in it",
        ))
    }
}

fn settings(
    table: &BTreeMap<Spanned<String>, Spanned<Value>>,
) -> Result<Vec<(&'static str, String)>, Mistake> {
    let mut found = Vec::new();
    for (key, value) in table {
        let name = key.get_ref();
        let Some(place) = TABLE.iter().position(|row| row.name == name) else {
            let near = nearest(name)
                .map(|near| format!("; did you mean \"{near}\"?"))
                .unwrap_or_default();
            return Err(mistake(key, format!("unknown setting \"{name}\"{near}")));
        };
        let Some(row) = TABLE.get(place) else {
            continue;
        };
        if let Some(reason) = profile_restriction(row) {
            return Err(mistake(key, format!("{name} is {reason}")));
        }
        let text = match (row.kind, value.get_ref()) {
            (ValueKind::Boolean, Value::Boolean(value)) => value.to_string(),
            (ValueKind::Boolean, _) => return Err(mistake(value, "expected true or false")),
            (_, Value::Integer(number)) => number.to_string(),
            (_, Value::String(text)) => line(&Spanned::new(value.span(), text.clone()))?,
            _ => return Err(mistake(value, "expected a string in quotes")),
        };
        let alone = [ConfigValue {
            key: format!("gitseal.{}", row.name.to_ascii_lowercase()),
            value: Some(text.clone().into_bytes()),
            scope: ConfigScope::Global,
            file: None,
        }];
        if let Err(error) = Settings::resolve(&alone, &|_| None, None) {
            return Err(mistake(value, format!("{name}: {}", error.reason)));
        }
        found.push((place, row.name, text));
    }
    found.sort_unstable();
    Ok(found
        .into_iter()
        .map(|(_, name, text)| (name, text))
        .collect())
}

/// Returns why a profile must not contain a setting, if that is so.
fn profile_restriction(row: &Row) -> Option<&'static str> {
    match (row.key, row.kind) {
        (SettingKey::TrustedRoot, _) => {
            Some("not allowed in [settings]: the trusted root is set by [trusted-root]")
        }
        (SettingKey::UrlOpener, _) => Some("not allowed in a profile: it would run a program"),
        (SettingKey::TrustedRepository, _) => {
            Some("not allowed in a profile: trusted repositories are user settings")
        }
        (_, ValueKind::Path | ValueKind::ChoiceOrPath(_)) => {
            Some("not allowed in a profile: file locations are user settings")
        }
        _ => None,
    }
}

fn trusted_root(table: Spanned<RootTable>) -> Result<ProfileTrustedRoot, Mistake> {
    let at = table.span();
    match table.into_inner() {
        RootTable {
            inline: Some(inline),
            file: None,
            sha256: None,
        } => {
            TrustedRoot::from_json(inline.get_ref().as_bytes())
                .map_err(|error| mistake(&inline, error.to_string()))?;
            Ok(ProfileTrustedRoot::Inline(inline.into_inner()))
        }
        RootTable {
            inline: None,
            file: Some(file),
            sha256: Some(sha256),
        } => {
            let name = line(&file)?;
            let is_plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            if !is_plain || name.starts_with('.') {
                return Err(mistake(
                    &file,
                    "expected a file beside the profile: letters, digits, - _ and . only",
                ));
            }
            let digest = line(&sha256)?.to_ascii_lowercase();
            if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(mistake(&sha256, "a SHA-256 has 64 hex digits"));
            }
            Ok(ProfileTrustedRoot::File {
                file: name,
                sha256: digest,
            })
        }
        _ => Err((
            at,
            "[trusted-root] needs either inline, or file and sha256".to_owned(),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use gitseal_evidence::trusted_root::PUBLIC_GOOD;

    #[test]
    fn a_whole_profile() {
        let text = format!(
            "version = 1\norganization = \"Example\"\ncontact = \"it@example.com\"\n\
             [sign]\ncommits = true\ntags = false\n[git]\nprogram = \"gitseal\"\n\
             [settings]\nrekorVersion = 2\nfulcio = \"https://fulcio.example\"\nmatchCommitter = true\n\
             [trusted-root]\ninline = '''\n{PUBLIC_GOOD}'''\n"
        );
        let profile = Profile::parse(&text, "p").unwrap();
        assert!(profile.sign_commits && !profile.sign_tags);
        assert_eq!(
            profile.settings,
            [
                ("fulcio", "https://fulcio.example".to_owned()),
                ("rekorVersion", "2".to_owned()),
                ("matchCommitter", "true".to_owned()),
            ]
        );
        assert!(matches!(
            profile.trusted_root,
            Some(ProfileTrustedRoot::Inline(_))
        ));
    }

    #[test]
    fn every_mistake_has_its_place() {
        let head = "version = 1\norganization = \"Example\"\n";
        for (text, line, column, what) in [
            (
                "organization = \"x\"\n".to_owned(),
                1,
                1,
                "missing field `version`",
            ),
            (
                "version = 2\norganization = \"x\"\n".to_owned(),
                1,
                11,
                "version must be 1",
            ),
            (
                "version = 1\n".to_owned(),
                1,
                1,
                "missing field `organization`",
            ),
            ("version = \n".to_owned(), 1, 11, ""),
            (format!("{head}surprise = 1\n"), 3, 1, "unknown field"),
            (
                format!("{head}[sign]\ncommit = true\n"),
                4,
                1,
                "expected `commits` or `tags`",
            ),
            (
                format!("{head}[sign]\ncommits = 1\n"),
                4,
                11,
                "expected a boolean",
            ),
            (
                format!("{head}[settings]\nfulcoi = \"https://x\"\n"),
                4,
                1,
                "did you mean \"fulcio\"?",
            ),
            (
                format!("{head}[settings]\nfulcio = \"ftp://x\"\n"),
                4,
                10,
                "scheme",
            ),
            (
                format!("{head}[settings]\nurlOpener = \"sh\"\n"),
                4,
                1,
                "would run a program",
            ),
            (
                format!("{head}[settings]\nfulcioRoot = \"/x\"\n"),
                4,
                1,
                "file locations",
            ),
            (
                format!("{head}[settings]\nrekorMode = \"of\"\n"),
                4,
                13,
                "offline",
            ),
            (
                format!("{head}[git]\nprogram = \"sh -c x\"\n"),
                4,
                11,
                "gitseal",
            ),
            (
                format!("{head}[git]\nprogram = \"./gitseal\"\n"),
                4,
                11,
                "gitseal",
            ),
            (
                format!("{head}[trusted-root]\nfile = \"a\"\n"),
                3,
                1,
                "sha256",
            ),
            (
                format!("{head}[trusted-root]\nfile = \"../a\"\nsha256 = \"\"\n"),
                4,
                8,
                "beside",
            ),
            (
                format!("{head}[trusted-root]\ninline = \"{{}}\"\n"),
                4,
                10,
                "",
            ),
        ] {
            let error = Profile::parse(&text, "p.toml").unwrap_err();
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text}: {error}"
            );
            assert!(error.reason.contains(what), "{text}: {error}");
        }
    }
}
