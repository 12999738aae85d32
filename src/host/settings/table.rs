//! The table of settings.

use std::fmt::Write as _;

/// Names a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented by its row")]
pub enum Key {
    Fulcio,
    Rekor,
    RekorMode,
    RekorVersion,
    EnableSigstoreGo,
    Issuer,
    ClientId,
    ClientSecretFile,
    RedirectUrl,
    ConnectorId,
    TokenProvider,
    TokenFile,
    LoginHint,
    Refresh,
    ConfirmIdentity,
    TimestampServerUrl,
    TrustedRoot,
    FulcioRoot,
    RekorPublicKey,
    CtLogPublicKey,
    TimestampCertChain,
    CertificateIdentity,
    CertificateIdentityRegexp,
    CertificateOidcIssuer,
    CertificateOidcIssuerRegexp,
    MatchCommitter,
    Autoclose,
    AutocloseTimeout,
    LogPath,
    UrlOpener,
    CredentialCache,
    Policy,
    PolicyRoot,
    TrustedRepository,
}

impl Key {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        // The test below holds that there is one row for each key.
        TABLE
            .iter()
            .find(|row| row.key == self)
            .unwrap_or(&TABLE[0])
    }
}

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An `http` or `https` address.
    Url,
    /// A file name; `~/` is the home directory.
    Path,
    /// Text.
    Text,
    /// true or false, as git reads it.
    Boolean,
    /// A whole number, as git reads it.
    Number,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A regular expression, anchored at both ends.
    Pattern,
    /// One of a few words, or a file name.
    ChoiceOrPath(&'static [&'static str]),
}

impl Kind {
    fn words(self) -> String {
        match self {
            Self::Url => "URL".to_owned(),
            Self::Path => "file".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Choice(choices) => words(choices),
            Self::ChoiceOrPath(choices) => format!("{} or file", words(choices)),
            Self::Pattern => "regular expression".to_owned(),
        }
    }
}

fn words(choices: &[&str]) -> String {
    choices
        .iter()
        .map(|choice| format!("`{choice}`"))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// Whose configuration may set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhoMaySet {
    /// Also the repository's own.
    Anybody,
    /// Also the repository's own, if the value is one of these.
    TheRepositoryOnly(&'static [&'static str]),
    /// The user, the system, the environment and the command line.
    NotTheRepository,
}

impl WhoMaySet {
    /// Whether a repository's own configuration may say this.
    #[must_use]
    pub fn lets_a_repository_say(self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Anybody => true,
            Self::TheRepositoryOnly(values) => {
                value.is_some_and(|value| values.iter().any(|one| one.as_bytes() == value))
            }
            Self::NotTheRepository => false,
        }
    }
}

/// One setting.
#[derive(Debug)]
pub struct Row {
    /// Which one.
    pub key: Key,
    /// Its name under `gitseal.`, and under `gitsign.` where `in_gitsign`.
    pub name: &'static str,
    /// Whether gitsign has it in git's configuration.
    pub in_gitsign: bool,
    /// The name of its variable after `GITSEAL_`.
    pub variable: &'static str,
    /// gitsign's variables for it, the strongest first.
    pub aliases: &'static [&'static str],
    /// The default.
    pub default: Option<&'static str>,
    /// How it is read.
    pub kind: Kind,
    /// Who may set it.
    pub who: WhoMaySet,
    /// What it is.
    pub doc: &'static str,
}

impl Row {
    /// All variables, the strongest first.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        std::iter::once(format!("GITSEAL_{}", self.variable))
            .chain(self.aliases.iter().map(|alias| (*alias).to_owned()))
    }
}

use Kind::{Boolean, Choice, ChoiceOrPath, Number, Path, Pattern, Text, Url};
use WhoMaySet::{Anybody, NotTheRepository, TheRepositoryOnly};

/// All settings, in the order of the documentation.
pub const TABLE: &[Row] = &[
    Row {
        key: Key::Fulcio,
        name: "fulcio",
        in_gitsign: true,
        variable: "FULCIO_URL",
        aliases: &["GITSIGN_FULCIO_URL", "SIGSTORE_FULCIO_URL"],
        default: Some("https://fulcio.sigstore.dev"),
        kind: Url,
        who: Anybody,
        doc: "Fulcio URL used for signing.",
    },
    Row {
        key: Key::Rekor,
        name: "rekor",
        in_gitsign: true,
        variable: "REKOR_URL",
        aliases: &["GITSIGN_REKOR_URL", "SIGSTORE_REKOR_URL"],
        default: Some("https://rekor.sigstore.dev"),
        kind: Url,
        who: Anybody,
        doc: "Rekor URL used for signing and for online lookup. A value from a repository's own configuration is used for signing only.",
    },
    Row {
        key: Key::RekorMode,
        name: "rekorMode",
        in_gitsign: true,
        variable: "REKOR_MODE",
        aliases: &["GITSIGN_REKOR_MODE"],
        default: Some("offline"),
        kind: Choice(&["offline", "online"]),
        who: Anybody,
        doc: "Where the log entry is. `offline` embeds it in the signature, so that verification needs no network. `online` omits it, as gitsign does by default, and looks it up when verifying.",
    },
    Row {
        key: Key::RekorVersion,
        name: "rekorVersion",
        in_gitsign: true,
        variable: "REKOR_VERSION",
        aliases: &["GITSIGN_REKOR_VERSION", "SIGSTORE_REKOR_VERSION"],
        default: Some("1"),
        kind: Choice(&["1", "2"]),
        who: Anybody,
        doc: "Version of the log's API used for signing. 2 needs `timestampServerURL`, because such a log signs no time.",
    },
    Row {
        key: Key::EnableSigstoreGo,
        name: "enableSigstoreGo",
        in_gitsign: true,
        variable: "ENABLE_SIGSTORE_GO",
        aliases: &["GITSIGN_ENABLE_SIGSTORE_GO"],
        default: Some("true"),
        kind: Boolean,
        who: Anybody,
        doc: "Without effect. It selects one of gitsign's two verifiers; gitseal has one.",
    },
    Row {
        key: Key::Issuer,
        name: "issuer",
        in_gitsign: true,
        variable: "OIDC_ISSUER",
        aliases: &["GITSIGN_OIDC_ISSUER", "SIGSTORE_OIDC_ISSUER"],
        default: Some("https://oauth2.sigstore.dev/auth"),
        kind: Url,
        who: Anybody,
        doc: "OIDC issuer URL used to log in.",
    },
    Row {
        key: Key::ClientId,
        name: "clientID",
        in_gitsign: true,
        variable: "OIDC_CLIENT_ID",
        aliases: &["GITSIGN_OIDC_CLIENT_ID", "SIGSTORE_OIDC_CLIENT_ID"],
        default: Some("sigstore"),
        kind: Text,
        who: Anybody,
        doc: "Client ID at the identity provider. The token of a login must have it as audience. For a token from the environment or a file, the certificate authority decides.",
    },
    Row {
        key: Key::ClientSecretFile,
        name: "clientSecretFile",
        in_gitsign: true,
        variable: "OIDC_CLIENT_SECRET_FILE",
        aliases: &[
            "GITSIGN_OIDC_CLIENT_SECRET_FILE",
            "SIGSTORE_OIDC_CLIENT_SECRET_FILE",
        ],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "File that contains the client secret.",
    },
    Row {
        key: Key::RedirectUrl,
        name: "redirectURL",
        in_gitsign: true,
        variable: "OIDC_REDIRECT_URL",
        aliases: &["GITSIGN_OIDC_REDIRECT_URL", "SIGSTORE_OIDC_REDIRECT_URL"],
        default: None,
        kind: Url,
        who: Anybody,
        doc: "URL to which the identity provider redirects the browser after the login.",
    },
    Row {
        key: Key::ConnectorId,
        name: "connectorID",
        in_gitsign: true,
        variable: "CONNECTOR_ID",
        aliases: &["GITSIGN_CONNECTOR_ID", "SIGSTORE_CONNECTOR_ID"],
        default: None,
        kind: Text,
        who: Anybody,
        doc: "Upstream provider to select at the identity provider, without its selection page.",
    },
    Row {
        key: Key::TokenProvider,
        name: "tokenProvider",
        in_gitsign: true,
        variable: "TOKEN_PROVIDER",
        aliases: &["GITSIGN_TOKEN_PROVIDER", "SIGSTORE_TOKEN_PROVIDER"],
        default: None,
        kind: Text,
        who: TheRepositoryOnly(&["interactive", "device", "oob"]),
        doc: "Source of the identity token. If unset, gitseal uses the first available source below that needs no user (a variable, a file, a CI system, a cloud). Then it tries `interactive` (the browser), `device` if no browser can be opened, and `oob` (a code to paste). Names: `interactive`, `device`, `oob`, `headless` (an issuer without prompts, such as the reference one), `envvar`, `filesystem`, `github-actions`, `gitlab`, `buildkite-agent`, `circleci`, `spiffe`, `google-workload-identity`, `google-impersonate`, `azure`, `kubernetes`.",
    },
    Row {
        key: Key::TokenFile,
        name: "tokenFile",
        in_gitsign: false,
        variable: "TOKEN_FILE",
        aliases: &[],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "File that contains the identity token, such as a projected service account token of Kubernetes. Used by the providers `filesystem`, `kubernetes` and `azure`.",
    },
    Row {
        key: Key::LoginHint,
        name: "loginHint",
        in_gitsign: false,
        variable: "LOGIN_HINT",
        aliases: &[],
        default: None,
        kind: Text,
        who: Anybody,
        doc: "User to log in as, if the identity provider accepts a hint.",
    },
    Row {
        key: Key::Refresh,
        name: "refresh",
        in_gitsign: false,
        variable: "REFRESH",
        aliases: &[],
        default: Some("false"),
        kind: Boolean,
        who: NotTheRepository,
        doc: "Requests a refresh token from the identity provider (scope `offline_access`), so that a login lasts longer than its token. It is stored in the credential cache's memory only, and not requested without the cache.",
    },
    Row {
        key: Key::ConfirmIdentity,
        name: "confirmIdentity",
        in_gitsign: false,
        variable: "CONFIRM_IDENTITY",
        aliases: &[],
        default: Some("auto"),
        kind: Choice(&["auto", "true", "false"]),
        who: NotTheRepository,
        doc: "Whether to prompt before an identity is published in a log for the first time. `auto` prompts if a terminal is available; `true` refuses to sign with a new identity without one.",
    },
    Row {
        key: Key::TimestampServerUrl,
        name: "timestampServerURL",
        in_gitsign: true,
        variable: "TIMESTAMP_SERVER_URL",
        aliases: &[
            "GITSIGN_TIMESTAMP_SERVER_URL",
            "SIGSTORE_TIMESTAMP_SERVER_URL",
        ],
        default: None,
        kind: Url,
        who: Anybody,
        doc: "Full endpoint URL of a timestamp authority (RFC 3161) used for signing as well.",
    },
    Row {
        key: Key::TrustedRoot,
        name: "trustedRoot",
        in_gitsign: false,
        variable: "TRUSTED_ROOT",
        aliases: &[],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "Trusted root file (`trusted_root.json`): certificate authorities, logs and their validity periods. It wins over the single files below. Without any of them, the public Sigstore's built-in one is used.",
    },
    Row {
        key: Key::FulcioRoot,
        name: "fulcioRoot",
        in_gitsign: true,
        variable: "FULCIO_ROOT",
        aliases: &[
            "GITSIGN_FULCIO_ROOT",
            "SIGSTORE_FULCIO_ROOT",
            "SIGSTORE_ROOT_FILE",
        ],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "PEM file with the certificate authority's roots and intermediates, in place of the built-in ones.",
    },
    Row {
        key: Key::RekorPublicKey,
        name: "rekorPublicKey",
        in_gitsign: false,
        variable: "REKOR_PUBLIC_KEY",
        aliases: &["SIGSTORE_REKOR_PUBLIC_KEY"],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "PEM file with the log's key, in place of the built-in ones.",
    },
    Row {
        key: Key::CtLogPublicKey,
        name: "ctLogPublicKey",
        in_gitsign: false,
        variable: "CT_LOG_PUBLIC_KEY_FILE",
        aliases: &["SIGSTORE_CT_LOG_PUBLIC_KEY_FILE"],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "PEM or DER file with the CT log's key, in place of the built-in ones.",
    },
    Row {
        key: Key::TimestampCertChain,
        name: "timestampCertChain",
        in_gitsign: true,
        variable: "TIMESTAMP_CERT_CHAIN",
        aliases: &[
            "GITSIGN_TIMESTAMP_CERT_CHAIN",
            "SIGSTORE_TIMESTAMP_CERT_CHAIN",
        ],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "PEM file with the timestamp authority's chain, in place of the built-in one.",
    },
    Row {
        key: Key::CertificateIdentity,
        name: "certificateIdentity",
        in_gitsign: false,
        variable: "CERTIFICATE_IDENTITY",
        aliases: &[],
        default: None,
        kind: Text,
        who: NotTheRepository,
        doc: "Expected identity (the certificate's SAN), exact match. Needs an issuer. Of several values, the last one counts.",
    },
    Row {
        key: Key::CertificateIdentityRegexp,
        name: "certificateIdentityRegexp",
        in_gitsign: false,
        variable: "CERTIFICATE_IDENTITY_REGEXP",
        aliases: &[],
        default: None,
        kind: Pattern,
        who: NotTheRepository,
        doc: "Expected identity, regular expression that must match the whole value; several signers: `alice@example\\.com|bob@example\\.com`. Needs an issuer.",
    },
    Row {
        key: Key::CertificateOidcIssuer,
        name: "certificateOidcIssuer",
        in_gitsign: false,
        variable: "CERTIFICATE_OIDC_ISSUER",
        aliases: &[],
        default: None,
        kind: Text,
        who: NotTheRepository,
        doc: "Expected OIDC issuer, exact match.",
    },
    Row {
        key: Key::CertificateOidcIssuerRegexp,
        name: "certificateOidcIssuerRegexp",
        in_gitsign: false,
        variable: "CERTIFICATE_OIDC_ISSUER_REGEXP",
        aliases: &[],
        default: None,
        kind: Pattern,
        who: NotTheRepository,
        doc: "Expected OIDC issuer, regular expression that must match the whole value.",
    },
    Row {
        key: Key::MatchCommitter,
        name: "matchCommitter",
        in_gitsign: true,
        variable: "MATCH_COMMITTER",
        aliases: &[],
        default: Some("false"),
        kind: Boolean,
        who: Anybody,
        doc: "Signs only if the committer (tagger) in the object is the identity in the certificate. `--match-committer` requires the same when verifying.",
    },
    Row {
        key: Key::Autoclose,
        name: "autoclose",
        in_gitsign: true,
        variable: "AUTOCLOSE",
        aliases: &["GITSIGN_AUTOCLOSE", "SIGSTORE_AUTOCLOSE"],
        default: Some("true"),
        kind: Boolean,
        who: Anybody,
        doc: "Whether the final page of a browser login closes itself. As in gitsign, this needs `connectorID`.",
    },
    Row {
        key: Key::AutocloseTimeout,
        name: "autocloseTimeout",
        in_gitsign: true,
        variable: "AUTOCLOSE_TIMEOUT",
        aliases: &["GITSIGN_AUTOCLOSE_TIMEOUT", "SIGSTORE_AUTOCLOSE_TIMEOUT"],
        default: Some("6"),
        kind: Number,
        who: Anybody,
        doc: "Seconds after which that page closes, 1 to 3600.",
    },
    Row {
        key: Key::LogPath,
        name: "logPath",
        in_gitsign: true,
        variable: "LOG",
        aliases: &["GITSIGN_LOG"],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "File to which messages are appended as well.",
    },
    Row {
        key: Key::UrlOpener,
        name: "urlOpener",
        in_gitsign: true,
        variable: "URL_OPENER",
        aliases: &["GITSIGN_URL_OPENER"],
        default: None,
        kind: Text,
        who: NotTheRepository,
        doc: "Program that opens the browser.",
    },
    Row {
        key: Key::CredentialCache,
        name: "credentialCache",
        in_gitsign: false,
        variable: "CREDENTIAL_CACHE",
        aliases: &["GITSIGN_CREDENTIAL_CACHE"],
        default: Some("auto"),
        kind: ChoiceOrPath(&["auto", "off"]),
        who: NotTheRepository,
        doc: "Credential cache, a daemon that holds a login while its certificate is valid, and signs on request. `auto` starts it on first use; `off` creates a key and a certificate for each signature. A path is the socket of a daemon that runs or is started there. None is started at a path that only `GITSIGN_CREDENTIAL_CACHE` names, because it belongs to gitsign.",
    },
    Row {
        key: Key::Policy,
        name: "policy",
        in_gitsign: false,
        variable: "POLICY",
        aliases: &[],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "Signing policy file. In server hooks, the repository's own configuration may set it as well. `--policy` wins.",
    },
    Row {
        key: Key::PolicyRoot,
        name: "policyRoot",
        in_gitsign: false,
        variable: "POLICY_ROOT",
        aliases: &[],
        default: None,
        kind: Text,
        who: NotTheRepository,
        doc: "Policy root: the commit where the policy in the repository (`.gitseal/policy.toml`) starts. The policy of its parent applies to each later commit. In server hooks, the repository's own configuration may set it as well. `--policy-root` wins.",
    },
    Row {
        key: Key::TrustedRepository,
        name: "trustedRepository",
        in_gitsign: false,
        variable: "TRUSTED_REPOSITORY",
        aliases: &[],
        default: None,
        kind: Path,
        who: NotTheRepository,
        doc: "Repository whose own configuration may set everything, like Git's `safe.directory`. It can be set several times, in Git's configuration only. The value is a path, a path and `/*` for all below it, `*` for all, or empty to clear the earlier values.",
    },
];

/// The table as Markdown: `docs/settings.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for row in TABLE {
        let _ = writeln!(out, "\n### {}\n\n{}\n", row.name, row.doc);
        let mut keys = format!("`gitseal.{}`", row.name);
        if row.in_gitsign {
            let _ = write!(keys, ", `gitsign.{}`", row.name);
        }
        let variables: Vec<String> = row
            .variables()
            .filter(|_| row.key != Key::TrustedRepository)
            .map(|name| format!("`{name}`"))
            .collect();
        let _ = writeln!(out, "- git: {keys}");
        if !variables.is_empty() {
            let _ = writeln!(out, "- environment: {}", variables.join(", "));
        }
        let _ = writeln!(out, "- value: {}", row.kind.words());
        let _ = writeln!(
            out,
            "- default: {}",
            row.default
                .map_or_else(|| "none".to_owned(), |default| format!("`{default}`"))
        );
        let _ = writeln!(
            out,
            "- from a repository's own configuration: {}",
            match row.who {
                Anybody => "used".to_owned(),
                TheRepositoryOnly(values) => format!(
                    "{} used; anything else is ignored, with a warning",
                    words(values)
                ),
                NotTheRepository => "ignored, with a warning".to_owned(),
            }
        );
    }
    out.push_str(AFTERWORD);
    out
}

const INTRODUCTION: &str = "\
# Settings

Every setting has a default and can be set in Git's configuration or by an environment variable; the environment wins. gitsign's names work; `gitseal.*` wins over `gitsign.*`, and `GITSEAL_*` over `GITSIGN_*` over `SIGSTORE_*`. `gitseal version` prints the value and origin of each. (Generated from `src/host/settings/table.rs`; a test compares them.)

In Git's configuration the order is Git's own: system, global, local, worktree, `git -c`.

Booleans and numbers have Git's forms: `true`, `yes`, `on`, `1` or a key without `=`; `1k` is 1024. An empty value means the default, so an empty variable disables a value of the configuration. An expected identity of empty values only is an error: it never means any signer. An invalid value, or one with a line break, is an error that names the key, the value and the origin.

A repository's own configuration (`.git/config`, its includes, `config.worktree`) may choose services for signing. It must not change what is trusted, which files are read or written, or which programs run. Such values are ignored with a warning, unless the user configuration lists the repository in `gitseal.trustedRepository`. For a token obtained without the user (a CI job, a cloud machine, a variable, a file), `fulcio`, `issuer` and `clientID` must not come from there either: nothing is signed. The configuration of a repository owned by another user is not read at all (`safe.directory`).

## The settings
";

const AFTERWORD: &str = "
## Other variables

| variable | meaning |
|---|---|
| `SIGSTORE_ID_TOKEN` | identity token used for signing; never printed and never passed on |
| `NO_COLOR` | disables color on the terminal |
| `GIT_DIR`, `GIT_COMMON_DIR`, `GIT_WORK_TREE`, `GIT_OBJECT_DIRECTORY`, `GIT_ALTERNATE_OBJECT_DIRECTORIES`, `GIT_QUARANTINE_PATH`, `GIT_CEILING_DIRECTORIES`, `GIT_CONFIG_GLOBAL`, `GIT_CONFIG_SYSTEM`, `GIT_CONFIG_NOSYSTEM`, `GIT_CONFIG_COUNT`, `GIT_CONFIG_PARAMETERS` | as in Git |
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
        let aliases: Vec<&str> = TABLE.iter().flat_map(|row| row.aliases).copied().collect();
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
            assert!(aliases.contains(&name.as_str()), "{name}");
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
}
