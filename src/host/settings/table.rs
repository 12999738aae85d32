//! The table of settings: one row for each, and nothing about a setting
//! anywhere else.

use std::{fmt::Write as _, path::PathBuf};

use gitseal_services::oidc::ambient::PROVIDERS;

use super::{
    Origin, Reader, Setting, SettingError,
    values::{
        CacheMode, ConfirmIdentity, RekorMode, RekorVersion, ServiceUrl, SettingValue as _,
        VerdictLogFile, boolean,
    },
};

/// Makes the key, the row and the typed field of each setting, in this order:
/// documentation, key, field, type, row.
macro_rules! settings {
    ($($(#[doc = $doc:literal])* $key:ident, $field:ident: $type:ty = $row:expr;)*) => {
        /// The key of a setting in the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum SettingKey {
            $($(#[doc = $doc])* $key,)*
        }

        /// All settings, in the order of the documentation.
        pub const TABLE: &[Row] = &[$(Row {
            key: SettingKey::$key,
            doc: concat!($($doc),*),
            ..$row
        }),*];

        /// All settings, typed, with their origins.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[doc = $doc])* pub $field: Setting<$type>,)*
            /// The log to query for entries: `rekor`, but never from a
            /// repository's own configuration.
            pub rekor_lookup: Setting<ServiceUrl>,
            /// Whether Git's verification queries the log: `rekorMode`, but never
            /// from a repository's own configuration.
            pub rekor_mode_lookup: Setting<RekorMode>,
            /// Whether the user trusts this repository's own configuration.
            pub trusts_repository: bool,
            /// Values that are ignored because a repository set them.
            pub ignored: Vec<Origin>,
            /// Keys that are not settings.
            pub notices: Vec<String>,
            /// The text and origin of every row, for `gitseal version`.
            pub(super) rows: Vec<(&'static Row, Option<String>, Origin)>,
        }

        impl Settings {
            pub(super) fn read(reader: Reader<'_>) -> Result<Self, SettingError> {
                Ok(Self {
                    $($field: <$type>::read(&reader, SettingKey::$key.row())?,)*
                    rekor_lookup: reader.for_verification(SettingKey::Rekor)?,
                    rekor_mode_lookup: reader.for_verification(SettingKey::RekorMode)?,
                    rows: reader.rows(),
                    trusts_repository: reader.trusts_repository,
                    ignored: reader.ignored,
                    notices: reader.notices,
                })
            }
        }
    };
}

impl SettingKey {
    /// Returns the row of the setting.
    #[must_use]
    pub fn row(self) -> &'static Row {
        // The macro gives both the same order; a test checks it.
        &TABLE[self as usize]
    }
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// An `http` or `https` URL.
    Url,
    /// A file name; `~/` is the home directory, and a relative one is relative to
    /// the file that contains it.
    Path,
    /// A string of one line.
    Text,
    /// A boolean as Git reads it.
    Boolean,
    /// An integer as Git reads it, within these bounds.
    Number(i64, i64),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A regular expression, anchored at both ends.
    Pattern,
    /// One of a few words, or a file name.
    ChoiceOrPath(&'static [&'static str]),
}

impl ValueKind {
    fn description(self) -> String {
        match self {
            Self::Url => "URL".to_owned(),
            Self::Path => "file".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Number(..) => "number".to_owned(),
            Self::Choice(choices) => alternatives(choices),
            Self::ChoiceOrPath(choices) => format!("{} or file", alternatives(choices)),
            Self::Pattern => "regular expression".to_owned(),
        }
    }
}

fn alternatives(choices: &[&str]) -> String {
    choices
        .iter()
        .map(|choice| format!("`{choice}`"))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// The configuration scopes that may set a value. The user, the system, the
/// environment and the command line always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettableBy {
    /// The repository's own configuration may set it too.
    Anywhere,
    /// The repository's own configuration may set it for signing. Verification
    /// ignores it.
    ForSigning,
    /// The repository's own configuration may set it to one of these values.
    AnywhereIf(&'static [&'static str]),
    /// The repository's own configuration may enable it.
    IfTrue,
    /// The repository's own configuration must not set it.
    NotRepository,
}

impl SettableBy {
    /// Returns whether repository configuration may set this value.
    #[must_use]
    pub fn allows_repository_config(self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Anywhere | Self::ForSigning => true,
            Self::AnywhereIf(values) => {
                value.is_some_and(|value| values.iter().any(|one| one.as_bytes() == value))
            }
            Self::IfTrue => value.is_none_or(|value| {
                std::str::from_utf8(value).ok().and_then(boolean) == Some(true)
            }),
            Self::NotRepository => false,
        }
    }
}

/// One setting: its names, default, form and documentation.
#[derive(Debug)]
pub struct Row {
    /// The key of this row.
    pub key: SettingKey,
    /// The name under `gitseal.`, and under `gitsign.` if `in_gitsign`.
    pub name: &'static str,
    /// Whether gitsign reads it from Git's configuration.
    pub in_gitsign: bool,
    /// The name of the environment variable after `GITSEAL_`.
    pub variable: &'static str,
    /// Other variables in descending precedence; with `_` at its end, a prefix
    /// in place of `GITSEAL_`.
    aliases: &'static [&'static str],
    /// The value if none is set.
    pub default: Option<&'static str>,
    /// The form of the value.
    pub kind: ValueKind,
    /// The scopes that may set it.
    pub settable_by: SettableBy,
    /// The description in `docs/settings.md`.
    doc: &'static str,
}

impl Row {
    /// Returns all environment variables, in descending precedence.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        ["GITSEAL_"]
            .iter()
            .chain(self.aliases)
            .map(|alias| match alias.strip_suffix('_') {
                Some(_) => format!("{alias}{}", self.variable),
                None => (*alias).to_owned(),
            })
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}

const NONE: &[&str] = &[];
const GITSIGN: &[&str] = &["GITSIGN_"];
const BOTH: &[&str] = &["GITSIGN_", "SIGSTORE_"];

/// A setting of gitseal only.
const fn own(
    name: &'static str,
    variable: &'static str,
    aliases: &'static [&'static str],
    kind: ValueKind,
    settable_by: SettableBy,
) -> Row {
    Row {
        key: SettingKey::Fulcio,
        name,
        in_gitsign: false,
        variable,
        aliases,
        default: None,
        kind,
        settable_by,
        doc: "",
    }
}

/// A setting that gitsign has in Git's configuration too.
const fn gitsign(
    name: &'static str,
    variable: &'static str,
    aliases: &'static [&'static str],
    kind: ValueKind,
    settable_by: SettableBy,
) -> Row {
    let mut row = own(name, variable, aliases, kind, settable_by);
    row.in_gitsign = true;
    row
}

use SettableBy::{Anywhere, AnywhereIf, ForSigning, IfTrue, NotRepository};
use ValueKind::{Boolean, Choice, ChoiceOrPath, Number, Path, Pattern, Text, Url};

settings! {
    /// Fulcio URL used for signing.
    Fulcio, fulcio: ServiceUrl =
        gitsign("fulcio", "FULCIO_URL", BOTH, Url, Anywhere).or("https://fulcio.sigstore.dev");

    /// Rekor URL used for signing and for online lookup.
    Rekor, rekor: ServiceUrl =
        gitsign("rekor", "REKOR_URL", BOTH, Url, ForSigning).or("https://rekor.sigstore.dev");

    /// Where the log entry is. `offline` embeds it in the signature, so that
    /// verification needs no network. `online` omits it, as gitsign does by
    /// default, and looks it up when verifying.
    RekorMode, rekor_mode: RekorMode =
        gitsign("rekorMode", "REKOR_MODE", GITSIGN, Choice(&["offline", "online"]), ForSigning).or("offline");

    /// Version of the log's API used for signing. 2 needs `timestampServerURL`,
    /// because such a log signs no time.
    RekorVersion, rekor_version: RekorVersion =
        gitsign("rekorVersion", "REKOR_VERSION", BOTH, Choice(&["1", "2"]), Anywhere).or("1");

    /// Without effect. It selects one of gitsign's two verifiers; gitseal has
    /// one.
    EnableSigstoreGo, enable_sigstore_go: bool =
        gitsign("enableSigstoreGo", "ENABLE_SIGSTORE_GO", GITSIGN, Boolean, Anywhere).or("true");

    /// OIDC issuer URL used to log in.
    Issuer, issuer: ServiceUrl =
        gitsign("issuer", "OIDC_ISSUER", BOTH, Url, Anywhere).or("https://oauth2.sigstore.dev/auth");

    /// Client ID at the identity provider. The token of a login must have it as
    /// audience. For a token from the environment or a file, the certificate
    /// authority decides.
    ClientId, client_id: String =
        gitsign("clientID", "OIDC_CLIENT_ID", BOTH, Text, Anywhere).or("sigstore");

    /// File that contains the client secret.
    ClientSecretFile, client_secret_file: Option<PathBuf> =
        gitsign("clientSecretFile", "OIDC_CLIENT_SECRET_FILE", BOTH, Path, NotRepository);

    /// URL to which the identity provider redirects the browser after the login.
    RedirectUrl, redirect_url: Option<ServiceUrl> =
        gitsign("redirectURL", "OIDC_REDIRECT_URL", BOTH, Url, Anywhere);

    /// Upstream provider to select at the identity provider, without its
    /// selection page.
    ConnectorId, connector_id: Option<String> =
        gitsign("connectorID", "CONNECTOR_ID", BOTH, Text, Anywhere);

    /// Source of the identity token. If unset, gitseal uses the first available
    /// source below that needs no user (a variable, a file, a CI system, a cloud).
    /// Then it tries `interactive`, `device` if no browser can be opened, and
    /// `oob`.
    TokenProvider, token_provider: Option<String> =
        gitsign("tokenProvider", "TOKEN_PROVIDER", BOTH, Text, AnywhereIf(&["interactive", "device", "oob"]));

    /// File that contains the identity token, such as a projected service account
    /// token of Kubernetes. Used by the providers `filesystem`,
    /// `kubernetes`, `azure` and `spiffe`.
    TokenFile, token_file: Option<PathBuf> =
        own("tokenFile", "TOKEN_FILE", NONE, Path, NotRepository);

    /// User to log in as: an email address or a subject. The identity provider gets
    /// it as a hint, and a login of another user is refused. It does not apply to
    /// tokens that come without a login.
    LoginHint, login_hint: Option<String> =
        own("loginHint", "LOGIN_HINT", NONE, Text, Anywhere);

    /// Requests a refresh token from the identity provider (scope
    /// `offline_access`), so that a login lasts longer than its token. It is
    /// stored in the credential cache's memory only, and not requested without
    /// the cache.
    Refresh, refresh: bool =
        own("refresh", "REFRESH", NONE, Boolean, NotRepository).or("false");

    /// Whether to prompt before an identity is published in a log for the first
    /// time. `auto` prompts if a terminal is available; `true` refuses to sign
    /// with a new identity without one.
    ConfirmIdentity, confirm_identity: ConfirmIdentity =
        own("confirmIdentity", "CONFIRM_IDENTITY", NONE, Choice(&["auto", "true", "false"]), NotRepository).or("auto");

    /// Full endpoint URL of a timestamp authority (RFC 3161) used for signing as
    /// well.
    TimestampServerUrl, timestamp_server: Option<ServiceUrl> =
        gitsign("timestampServerURL", "TIMESTAMP_SERVER_URL", BOTH, Url, Anywhere);

    /// Trusted root file (`trusted_root.json`): certificate authorities, logs and
    /// their validity periods. It wins over the single files below. Without any
    /// of them, the public Sigstore's built-in one is used.
    TrustedRoot, trusted_root: Option<PathBuf> =
        own("trustedRoot", "TRUSTED_ROOT", NONE, Path, NotRepository);

    /// PEM file with the certificate authority's roots and intermediates, in
    /// place of the built-in ones.
    FulcioRoot, fulcio_root: Option<PathBuf> =
        gitsign("fulcioRoot", "FULCIO_ROOT", &["GITSIGN_", "SIGSTORE_", "SIGSTORE_ROOT_FILE"], Path, NotRepository);

    /// PEM file with the log's key, in place of the built-in ones.
    RekorPublicKey, rekor_public_key: Option<PathBuf> =
        own("rekorPublicKey", "REKOR_PUBLIC_KEY", &["SIGSTORE_"], Path, NotRepository);

    /// PEM or DER file with the CT log's key, in place of the built-in ones.
    CtLogPublicKey, ct_log_public_key: Option<PathBuf> =
        own("ctLogPublicKey", "CT_LOG_PUBLIC_KEY_FILE", &["SIGSTORE_"], Path, NotRepository);

    /// PEM file with the timestamp authority's chain, in place of the built-in
    /// one.
    TimestampCertChain, timestamp_cert_chain: Option<PathBuf> =
        gitsign("timestampCertChain", "TIMESTAMP_CERT_CHAIN", BOTH, Path, NotRepository);

    /// Expected identity (the certificate's SAN), exact match. Needs an issuer.
    /// Of the values in several files, the last one counts.
    CertificateIdentity, certificate_identity: Option<String> =
        own("certificateIdentity", "CERTIFICATE_IDENTITY", NONE, Text, NotRepository);

    /// Expected identity, regular expression that must match the whole value;
    /// several signers: `alice@example\.com|bob@example\.com`. Needs an issuer.
    CertificateIdentityRegexp, certificate_identity_regexp: Option<String> =
        own("certificateIdentityRegexp", "CERTIFICATE_IDENTITY_REGEXP", NONE, Pattern, NotRepository);

    /// Expected OIDC issuer, exact match.
    CertificateOidcIssuer, certificate_oidc_issuer: Option<String> =
        own("certificateOidcIssuer", "CERTIFICATE_OIDC_ISSUER", NONE, Text, NotRepository);

    /// Expected OIDC issuer, regular expression that must match the whole value.
    CertificateOidcIssuerRegexp, certificate_oidc_issuer_regexp: Option<String> =
        own("certificateOidcIssuerRegexp", "CERTIFICATE_OIDC_ISSUER_REGEXP", NONE, Pattern, NotRepository);

    /// Signs only if the committer (tagger) in the object is the identity in the
    /// certificate. `--match-committer` requires the same when verifying.
    MatchCommitter, match_committer: bool =
        gitsign("matchCommitter", "MATCH_COMMITTER", NONE, Boolean, IfTrue).or("false");

    /// Whether the final page of a browser login closes itself. As in gitsign,
    /// this needs `connectorID`.
    Autoclose, autoclose: bool =
        gitsign("autoclose", "AUTOCLOSE", BOTH, Boolean, Anywhere).or("true");

    /// Seconds after which that page closes, 1 to 3600.
    AutocloseTimeout, autoclose_timeout: i64 =
        gitsign("autocloseTimeout", "AUTOCLOSE_TIMEOUT", BOTH, Number(1, 3600), Anywhere).or("6");

    /// File to which messages are appended as well.
    LogPath, log_path: Option<PathBuf> =
        gitsign("logPath", "LOG", GITSIGN, Path, NotRepository);

    /// Program that opens the browser.
    UrlOpener, url_opener: Option<String> =
        gitsign("urlOpener", "URL_OPENER", GITSIGN, Text, NotRepository);

    /// Credential cache, a daemon that holds a login while its certificate is
    /// valid, and signs on request. `auto` starts it on first use; `off` creates
    /// a key and a certificate for each signature. A path is the socket of a
    /// daemon that runs or is started there. None is started at a path that only
    /// `GITSIGN_CREDENTIAL_CACHE` names, because it belongs to gitsign.
    CredentialCache, credential_cache: CacheMode =
        own("credentialCache", "CREDENTIAL_CACHE", GITSIGN, ChoiceOrPath(&["auto", "off"]), NotRepository).or("auto");

    /// Signing policy file. In server hooks, the repository's own configuration
    /// may set it as well. `--policy` wins.
    Policy, policy: Option<PathBuf> =
        own("policy", "POLICY", NONE, Path, NotRepository);

    /// Policy root: the commit where the policy in the repository
    /// (`.gitseal/policy.toml`) starts. The policy of the default branch applies
    /// from then on. In server hooks, the repository's own configuration may set
    /// it as well. `--policy-root` wins.
    PolicyRoot, policy_root: Option<String> =
        own("policyRoot", "POLICY_ROOT", NONE, Text, NotRepository);

    /// Default branch, whose policy is in force if the policy is in the repository,
    /// and whose states other branches and tags may be made from. A full name, such
    /// as `refs/heads/main`. Without it, the branch that `HEAD` names. In server
    /// hooks, the repository's own configuration may set it as well.
    PolicyRef, policy_ref: Option<String> =
        own("policyRef", "POLICY_REF", NONE, Text, NotRepository);

    /// Log of the results of push checks: a file to which each run appends one line
    /// of JSON before it ends. An absolute path. If the line cannot be written, the
    /// push is rejected. In server hooks, the repository's own configuration may set
    /// it as well.
    VerdictLog, verdict_log: Option<VerdictLogFile> =
        own("verdictLog", "VERDICT_LOG", NONE, Path, NotRepository);

    /// Repository whose own configuration may set everything, like Git's
    /// `safe.directory`. It can be set several times, in Git's configuration
    /// only. The value is a path, a path and `/*` for all below it, `*` for all,
    /// or empty to clear the earlier values.
    TrustedRepository, trusted_repositories: Vec<String> =
        own("trustedRepository", "TRUSTED_REPOSITORY", NONE, Path, NotRepository);
}

/// A setting that decided something under a name that is no longer read.
#[derive(Debug)]
pub struct Renamed {
    /// The name under `gitseal.`.
    pub old: &'static str,
    /// The name of the environment variable.
    pub variable: &'static str,
    pub new: SettingKey,
}

/// Names that are not read any more. One that is set is an error: to ignore it would
/// let another rule decide.
pub const RENAMED: &[Renamed] = &[Renamed {
    old: "trustRoot",
    variable: "GITSEAL_TRUST_ROOT",
    new: SettingKey::PolicyRoot,
}];

/// Returns the setting with the most similar name.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    // Some are two letters from another setting's name.
    let renamed = RENAMED
        .iter()
        .find(|renamed| renamed.old.eq_ignore_ascii_case(name));
    match renamed {
        Some(renamed) => Some(renamed.new.row().name),
        None => gitseal_policy::nearest(name, TABLE.iter().map(|row| row.name)),
    }
}

/// Returns the table as Markdown: `docs/settings.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for row in TABLE {
        let _ = writeln!(out, "\n### {}\n\n{}\n", row.name, row.doc.trim_start());
        if row.key == SettingKey::TokenProvider {
            out.push_str(&token_providers());
        }
        let mut keys = format!("`gitseal.{}`", row.name);
        if row.in_gitsign {
            let _ = write!(keys, ", `gitsign.{}`", row.name);
        }
        let variables: Vec<String> = row
            .variables()
            .filter(|_| row.key != SettingKey::TrustedRepository)
            .map(|name| format!("`{name}`"))
            .collect();
        let _ = writeln!(out, "- git: {keys}");
        if !variables.is_empty() {
            let _ = writeln!(out, "- environment: {}", variables.join(", "));
        }
        let _ = writeln!(out, "- value: {}", row.kind.description());
        let _ = writeln!(
            out,
            "- default: {}",
            row.default
                .map_or_else(|| "none".to_owned(), |default| format!("`{default}`"))
        );
        let _ = writeln!(
            out,
            "- from a repository's own configuration: {}",
            match row.settable_by {
                Anywhere => "used".to_owned(),
                ForSigning => "used for signing only".to_owned(),
                IfTrue => "`true` used; anything else is ignored, with a warning".to_owned(),
                AnywhereIf(values) => format!(
                    "{} used; anything else is ignored, with a warning",
                    alternatives(values)
                ),
                NotRepository => "ignored, with a warning".to_owned(),
            }
        );
    }
    out.push_str(AFTERWORD);
    out
}

const INTRODUCTION: &str = "\
# Settings

Every setting has a default and can be set in Git's configuration or by an environment variable; the environment wins. gitsign's names work; `gitseal.*` wins over `gitsign.*`, and `GITSEAL_*` over `GITSIGN_*` over `SIGSTORE_*`. `gitseal version` prints the value and origin of each, except `trustedRepository` (its values only). (Generated from `src/host/settings/table.rs`; a test compares them.)

## How configuration is read

gitseal reads what `git config --list --show-origin --show-scope` lists, in the same order: system, global, local, worktree, `git -c`, and each include in the place where it is written. Of several values the last one counts. Two different values of `certificateIdentity`, `certificateOidcIssuer` or their patterns in one file are an error.

Most commands run Git to list its configuration: the first `git` on the `PATH`, in an absolute directory of it. To show a log, Git starts gitseal once for each commit; there gitseal reads the files itself, and asks Git only if they contain something that versions of Git read differently or that only Git knows. That is every `includeIf` but `gitdir` with a plain path, a path such as `~user/x`, an unusual syntax, a repository owned by another user, and a Git that is not in `/usr`. `gitseal doctor` compares both and names such a construct; each signature that Git shows then takes about a millisecond more.

If Git cannot read its configuration, gitseal exits with 2 (in push checks with 3) and prints Git's message. Without Git it reads the files itself, and exits with an error if they contain something that only Git can read.

A relative path is relative to the file that contains it, as in `include.path`; `~/` is the home directory. In an environment variable and with `git -c`, a relative path is relative to the directory in which gitseal runs. Git runs it at the top of the work tree, where the files are the repository's: write absolute paths there.

## Values

Booleans and numbers have Git's forms: `true`, `yes`, `on`, `1` or a key without `=`; `1k` is 1024. An empty value means the default, so an empty variable disables a value of the configuration. An expected identity of empty values only is an error: it never means any signer. An invalid value, or one with a line break, is an error that names the key, the value and the origin.

A name that is not a setting is a warning of `gitseal version` and `gitseal doctor`. `gitseal.trustRoot`, the old name of `policyRoot`, is an error in every scope.

## A repository's own configuration

A repository's own configuration (`.git/config`, its includes, `config.worktree`) may choose services for signing. It must not change what is trusted or checked, which files are read or written, which programs run, or whether verification uses the network. Such values are ignored with a warning, unless the user configuration lists the repository in `gitseal.trustedRepository`. For a token obtained without the user (a CI job, a cloud machine, a variable, a file), `fulcio`, `issuer` and `clientID` must not come from there either: nothing is signed. The configuration of a repository owned by another user is not read at all (`safe.directory`).

## The settings
";

/// Returns the values of `tokenProvider` as a Markdown table.
fn token_providers() -> String {
    const INTERACTIVE: [(&str, &str); 4] = [
        (
            "interactive",
            "the browser; if none opens, another device, then a code to paste",
        ),
        ("device", "another device"),
        ("oob", "a code to paste"),
        (
            "headless",
            "an identity provider without prompts, such as the reference one",
        ),
    ];
    let mut out = "| value | source |\n|---|---|\n".to_owned();
    let ambient = PROVIDERS.map(|provider| (provider.name, provider.source));
    for (name, source) in ambient.into_iter().chain(INTERACTIVE) {
        let _ = writeln!(out, "| `{name}` | {source} |");
    }
    out.push('\n');
    out
}

const AFTERWORD: &str = "
## Other variables

| variable | meaning |
|---|---|
| `SIGSTORE_ID_TOKEN` | identity token used for signing; never printed and never passed on |
| `NO_COLOR` | disables color on the terminal |
| `GIT_DIR`, `GIT_COMMON_DIR`, `GIT_WORK_TREE`, `GIT_OBJECT_DIRECTORY`, `GIT_ALTERNATE_OBJECT_DIRECTORIES`, `GIT_QUARANTINE_PATH`, `GIT_CEILING_DIRECTORIES`, `GIT_CONFIG_GLOBAL`, `GIT_CONFIG_SYSTEM`, `GIT_CONFIG_NOSYSTEM`, `GIT_CONFIG_COUNT`, `GIT_CONFIG_PARAMETERS` | as in Git; an empty `GIT_COMMON_DIR` or `GIT_OBJECT_DIRECTORY` is an error |
| `TUF_ROOT`, `TUF_MIRROR`, `TUF_ROOT_JSON`, `SIGSTORE_NO_CACHE` | not read: the trusted root comes from a file or is built in |
";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn one_row_for_each_key_and_name() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.key.row().name, row.name);
            for other in &TABLE[index + 1..] {
                assert_ne!(row.key, other.key);
                assert!(!row.name.eq_ignore_ascii_case(other.name));
                for name in row.variables() {
                    assert!(
                        !other.variables().any(|variable| variable == name),
                        "{name}"
                    );
                }
            }
        }
    }

    /// gitsign reads most of its variables with either prefix.
    #[test]
    fn every_variable_of_gitsign_is_read() {
        const BOTH: [&str; 14] = [
            "FULCIO_URL",
            "FULCIO_ROOT",
            "REKOR_URL",
            "REKOR_VERSION",
            "OIDC_CLIENT_ID",
            "OIDC_CLIENT_SECRET_FILE",
            "OIDC_REDIRECT_URL",
            "OIDC_ISSUER",
            "CONNECTOR_ID",
            "TOKEN_PROVIDER",
            "TIMESTAMP_SERVER_URL",
            "TIMESTAMP_CERT_CHAIN",
            "AUTOCLOSE",
            "AUTOCLOSE_TIMEOUT",
        ];
        const OWN: [&str; 5] = [
            "REKOR_MODE",
            "ENABLE_SIGSTORE_GO",
            "LOG",
            "URL_OPENER",
            "CREDENTIAL_CACHE",
        ];
        let aliases: Vec<String> = TABLE.iter().flat_map(Row::variables).collect();
        let with = |prefix: &str, names: &[&str]| -> Vec<String> {
            names
                .iter()
                .map(|name| format!("{prefix}_{name}"))
                .collect()
        };
        for name in [
            with("GITSIGN", &BOTH),
            with("SIGSTORE", &BOTH),
            with("GITSIGN", &OWN),
        ]
        .concat()
        {
            assert!(aliases.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        if std::env::var_os("GITSEAL_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            written,
            markdown(),
            "docs/settings.md is out of date: GITSEAL_BLESS=1 cargo test the_documentation_is_the_table"
        );
    }

    #[test]
    fn a_typing_error_finds_its_setting() {
        assert_eq!(nearest("fulcoi"), Some("fulcio"));
        assert_eq!(nearest("rekormod"), Some("rekorMode"));
        assert_eq!(nearest("trustedroots"), Some("trustedRoot"));
        assert_eq!(nearest("entirelydifferent"), None);
    }
}
