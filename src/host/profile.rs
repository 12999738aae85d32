//! An organisation's profile: one TOML file that says how its machines sign and
//! whom they believe. Documented in `docs/profile.md`.
//!
//! Whatever is not understood is an error with its line and column. A profile
//! names no program that is started by itself, no file of the machine, and no
//! repository: it cannot do more than choose services and say who may sign.
//!
//! *Not checked here:* the profile's signature (`commands/setup`).

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    git::{ConfigScope, ConfigValue},
    settings::{Key, Kind, Row, Settings, TABLE},
};
use gitseal_evidence::trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot};

/// The largest profile, in bytes; a trust root may be in it.
pub const MAX_PROFILE: usize = MAX_TRUSTED_ROOT + (64 << 10);
/// The longest name or contact, in characters.
pub const MAX_NAME: usize = 200;

/// A profile that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}:{column}: {what}")]
pub struct ProfileError {
    /// The file or address.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

/// Where the trust root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// In the profile.
    Inline(String),
    /// Beside it.
    File {
        /// Relative to the profile; one name, no folders upwards.
        file: String,
        /// SHA-256 of its bytes, hex.
        sha256: String,
    },
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whose it is.
    pub organisation: String,
    /// Whom to ask.
    pub contact: Option<String>,
    /// Whether git signs every commit.
    pub sign_commits: bool,
    /// Whether git signs every tag.
    pub sign_tags: bool,
    /// What `gpg.x509.program` is to be.
    pub program: Option<String>,
    /// Names of rows and their values, in the order of the table.
    pub settings: Vec<(&'static str, String)>,
    /// Who is believed.
    pub trusted_root: Option<Root>,
}

/// What keeps a row out of profiles, if anything does.
#[must_use]
pub fn why_not(row: &Row) -> Option<&'static str> {
    match (row.key, row.kind) {
        (Key::TrustedRoot, _) => Some("a trust root goes into [trusted-root]"),
        (Key::UrlOpener, _) => Some("a profile starts no program"),
        (Key::CredentialCache | Key::LogPath, _) => {
            Some("it is for each user to say where files are")
        }
        (Key::TrustedRepository, _) => {
            Some("it is for each user to say which repository is trusted")
        }
        (_, Kind::Path | Kind::ChoiceOrPath(_)) => {
            Some("a profile names no file of the machine; a trust root goes into [trusted-root]")
        }
        _ => None,
    }
}

struct Reader<'a> {
    text: &'a str,
    name: &'a str,
}

type Table<'i> = DeTable<'i>;
type Value<'i> = Spanned<DeValue<'i>>;

impl Profile {
    /// Reads a profile. `name` is what errors call it.
    ///
    /// # Errors
    /// The first thing that is not understood, with its place.
    pub fn parse(text: &str, name: &str) -> Result<Self, ProfileError> {
        let reader = Reader { text, name };
        if text.len() > MAX_PROFILE {
            let what = format!("it has {} bytes, more than {MAX_PROFILE}", text.len());
            return Err(reader.error(0..0, what));
        }
        let table = DeTable::parse(text).map_err(|error| {
            reader.error(error.span().unwrap_or(0..0), error.message().to_owned())
        })?;
        let table = table.get_ref();
        reader.only(
            table,
            "",
            &[
                "version",
                "organisation",
                "contact",
                "sign",
                "git",
                "settings",
                "trusted-root",
            ],
        )?;
        match table.get("version") {
            None => return Err(reader.error(0..0, "it has no version: write version = 1")),
            Some(version) => {
                let is_one = matches!(version.get_ref(), DeValue::Integer(number)
                    if number.as_str() == "1");
                if !is_one {
                    return Err(reader.error(version.span(), "the version is 1"));
                }
            }
        }
        let organisation = match table.get("organisation") {
            None => {
                return Err(reader.error(
                    0..0,
                    "it does not say whose it is: write organisation = \"…\"",
                ));
            }
            Some(value) => reader.name(value)?,
        };
        let contact = table
            .get("contact")
            .map(|value| reader.name(value))
            .transpose()?;
        let mut profile = Self {
            organisation,
            contact,
            sign_commits: true,
            sign_tags: true,
            program: None,
            settings: Vec::new(),
            trusted_root: None,
        };
        if let Some(sign) = reader.table(table, "sign", &["commits", "tags"])? {
            if let Some(value) = sign.get("commits") {
                profile.sign_commits = reader.boolean(value)?;
            }
            if let Some(value) = sign.get("tags") {
                profile.sign_tags = reader.boolean(value)?;
            }
        }
        if let Some(git) = reader.table(table, "git", &["program"])?
            && let Some(value) = git.get("program")
        {
            profile.program = Some(reader.program(value)?);
        }
        if let Some(value) = table.get("settings") {
            profile.settings = reader.settings(value)?;
        }
        if let Some(root) = reader.table(table, "trusted-root", &["inline", "file", "sha256"])? {
            let at = table.get("trusted-root").map_or(0..0, Spanned::span);
            profile.trusted_root = Some(reader.root(root, at)?);
        }
        Ok(profile)
    }
}

impl Reader<'_> {
    fn error(&self, at: Range<usize>, what: impl Into<String>) -> ProfileError {
        let before = self.text.get(..at.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        ProfileError {
            name: self.name.to_owned(),
            line: before.matches('\n').count().saturating_add(1),
            column: before
                .get(line_start..)
                .map_or(0, |text| text.chars().count())
                .saturating_add(1),
            what: what.into(),
        }
    }

    fn only(&self, table: &Table<'_>, of: &str, known: &[&str]) -> Result<(), ProfileError> {
        match table
            .iter()
            .find(|(key, _)| !known.contains(&key.get_ref().as_ref()))
        {
            None => Ok(()),
            Some((key, _)) => Err(self.error(
                key.span(),
                format!(
                    "unknown key {:?}{}: {} known",
                    key.get_ref(),
                    if of.is_empty() {
                        String::new()
                    } else {
                        format!(" in [{of}]")
                    },
                    match known {
                        [one] => format!("only {one} is"),
                        several => format!("{} are", several.join(", ")),
                    }
                ),
            )),
        }
    }

    fn table<'t, 'i>(
        &self,
        table: &'t Table<'i>,
        name: &str,
        known: &[&str],
    ) -> Result<Option<&'t Table<'i>>, ProfileError> {
        match table.get(name) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::Table(inner) => {
                    self.only(inner, name, known)?;
                    Ok(Some(inner))
                }
                _ => Err(self.error(value.span(), format!("[{name}] is a table"))),
            },
        }
    }

    fn string<'t>(&self, value: &'t Value<'_>) -> Result<&'t str, ProfileError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(self.error(value.span(), "a text in quotes is wanted")),
        }
    }

    fn line(&self, value: &Value<'_>) -> Result<String, ProfileError> {
        let text = self.string(value)?;
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(self.error(value.span(), "a text on one line is wanted"));
        }
        Ok(text.to_owned())
    }

    fn name(&self, value: &Value<'_>) -> Result<String, ProfileError> {
        let text = self.line(value)?;
        if text.chars().count() > MAX_NAME {
            let what = format!("it is longer than {MAX_NAME} characters");
            return Err(self.error(value.span(), what));
        }
        Ok(text)
    }

    fn boolean(&self, value: &Value<'_>) -> Result<bool, ProfileError> {
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.error(value.span(), "true or false is wanted")),
        }
    }

    /// git starts it without a shell, but on Windows and in older versions a
    /// name with more in it than a path is not what anybody means.
    fn program(&self, value: &Value<'_>) -> Result<String, ProfileError> {
        let text = self.line(value)?;
        let base = text.rsplit(['/', '\\']).next().unwrap_or(&text);
        let is_ours = base == "gitseal" || base.eq_ignore_ascii_case("gitseal.exe");
        let is_whole = base.len() == text.len()
            || text.starts_with('/')
            || text
                .get(1..3)
                .is_some_and(|drive| matches!(drive, ":/" | ":\\"));
        if is_ours && is_whole {
            Ok(text)
        } else {
            Err(self.error(
                value.span(),
                "the program is gitseal: that name, or an absolute path that ends in it",
            ))
        }
    }

    fn settings(&self, value: &Value<'_>) -> Result<Vec<(&'static str, String)>, ProfileError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.error(value.span(), "[settings] is a table"));
        };
        let mut found: Vec<(&'static Row, String)> = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let Some(row) = TABLE.iter().find(|row| row.name == name) else {
                let near = nearest(name).map(|near| format!(": do you mean {near}?"));
                let what = format!("unknown setting {name:?}{}", near.unwrap_or_default());
                return Err(self.error(key.span(), what));
            };
            if let Some(why) = why_not(row) {
                return Err(self.error(key.span(), format!("{name} is not taken: {why}")));
            }
            let text = match (row.kind, value.get_ref()) {
                (Kind::Boolean, DeValue::Boolean(value)) => value.to_string(),
                (Kind::Boolean, _) => {
                    return Err(self.error(value.span(), "true or false is wanted"));
                }
                (_, DeValue::Integer(number)) => number.as_str().to_owned(),
                _ => self.line(value)?,
            };
            let alone = [ConfigValue {
                key: format!("gitseal.{}", row.name.to_ascii_lowercase()),
                value: Some(text.clone().into_bytes()),
                scope: ConfigScope::Global,
                file: None,
            }];
            if let Err(error) = Settings::resolve(&alone, &|_| None, None) {
                return Err(self.error(value.span(), format!("{name}: {}", error.why)));
            }
            found.push((row, text));
        }
        found.sort_by_key(|(row, _)| TABLE.iter().position(|other| other.key == row.key));
        Ok(found
            .into_iter()
            .map(|(row, text)| (row.name, text))
            .collect())
    }

    fn root(&self, table: &Table<'_>, at: Range<usize>) -> Result<Root, ProfileError> {
        match (table.get("inline"), table.get("file"), table.get("sha256")) {
            (Some(inline), None, None) => {
                let text = self.string(inline)?;
                TrustedRoot::from_json(text.as_bytes())
                    .map_err(|refusal| self.error(inline.span(), refusal.to_string()))?;
                Ok(Root::Inline(text.to_owned()))
            }
            (None, Some(file), Some(sha256)) => {
                let name = self.line(file)?;
                let plain = name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
                if !plain || name.starts_with('.') {
                    return Err(self.error(
                        file.span(),
                        "a file beside the profile: letters, digits, - _ and . only",
                    ));
                }
                let sha256_text = self.line(sha256)?.to_ascii_lowercase();
                if !is_sha256(&sha256_text) {
                    return Err(self.error(sha256.span(), "a SHA-256 has 64 hex digits"));
                }
                Ok(Root::File {
                    file: name,
                    sha256: sha256_text,
                })
            }
            _ => Err(self.error(at, "[trusted-root] has either inline, or file and sha256")),
        }
    }
}

/// Whether this is a SHA-256 in lower-case hex.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The setting that somebody may have meant: at most two edits away, or a third
/// of its length.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    // The name that other programs have for it is two letters from another setting's.
    if lower == "trustroot" {
        return Some("policyRoot");
    }
    TABLE
        .iter()
        .map(|row| (distance(&lower, &row.name.to_ascii_lowercase()), row.name))
        .filter(|(distance, row)| *distance <= 2.max(row.len() / 3))
        .min()
        .map(|(_, row)| row)
}

/// Edit distance (Levenshtein) of two short texts.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for (to, pair) in b.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push(
                diagonal
                    .saturating_add(usize::from(from != *to))
                    .min(above.saturating_add(1))
                    .min(left.saturating_add(1)),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use gitseal_evidence::trusted_root::PUBLIC_GOOD;

    #[test]
    fn a_whole_profile() {
        let text = format!(
            "version = 1\norganisation = \"Example\"\ncontact = \"it@example.com\"\n\
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
        assert!(matches!(profile.trusted_root, Some(Root::Inline(_))));
    }

    #[test]
    fn every_mistake_has_its_place() {
        let head = "version = 1\norganisation = \"Example\"\n";
        for (text, line, column, what) in [
            ("organisation = \"x\"\n".to_owned(), 1, 1, "no version"),
            (
                "version = 2\norganisation = \"x\"\n".to_owned(),
                1,
                11,
                "version is 1",
            ),
            ("version = 1\n".to_owned(), 1, 1, "whose"),
            ("version = \n".to_owned(), 1, 11, ""),
            (format!("{head}surprise = 1\n"), 3, 1, "unknown key"),
            (
                format!("{head}[sign]\ncommit = true\n"),
                4,
                1,
                "commits, tags",
            ),
            (
                format!("{head}[sign]\ncommits = 1\n"),
                4,
                11,
                "true or false",
            ),
            (
                format!("{head}[settings]\nfulcoi = \"https://x\"\n"),
                4,
                1,
                "fulcio?",
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
                "no program",
            ),
            (
                format!("{head}[settings]\nfulcioRoot = \"/x\"\n"),
                4,
                1,
                "no file",
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
            assert!(error.what.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn a_typing_error_finds_its_setting() {
        assert_eq!(nearest("fulcoi"), Some("fulcio"));
        assert_eq!(nearest("rekormod"), Some("rekorMode"));
        assert_eq!(nearest("trustedroots"), Some("trustedRoot"));
        assert_eq!(nearest("entirelydifferent"), None);
    }
}
