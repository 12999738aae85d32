//! Identity tokens that the surroundings give: a CI job's, a workload's, a
//! cloud machine's. Nobody is asked anything.
//!
//! With no `tokenProvider` set, the first of these that is *present* is taken:
//!
//! 1. `envvar`: `SIGSTORE_ID_TOKEN` (somebody put it there for this purpose);
//! 2. `filesystem`: `gitseal.tokenFile`, or [`TOKEN_FILE`] where it exists;
//! 3. the CI systems, by the variable that each sets in every job:
//!    `github-actions`, `gitlab`, `buildkite-agent`, `circleci`;
//! 4. `spiffe`: `SPIFFE_ENDPOINT_SOCKET`, or SPIRE's own socket where it exists
//!    and nobody else can have put it there;
//! 5. `google-impersonate`: `GOOGLE_SERVICE_ACCOUNT_NAME`;
//! 6. `google-workload-identity`: on a machine of Google Cloud.
//!
//! What is close to the job comes before what belongs to the machine under it: a
//! job on a shared runner must not sign as the runner. Present is not working:
//! a job in GitHub Actions without the permission for tokens *is* in GitHub
//! Actions, and is told so; the next provider in the list would sign under
//! another name. Detection costs no request and no name look-up.
//!
//! `azure` and `kubernetes` are taken only by name: the tokens that lie in
//! their pods by default are for the cluster, not for a certificate authority.
//!
//! Request credentials (the CI's own tokens) go to the address that the CI
//! names and nowhere else: https or loopback, no redirect followed, and never
//! through a proxy where the address means this machine.
//!
//! *Not checked here:* the token's signature, which is Fulcio's to check, and
//! whether the certificate names what the token names (`commands/sign.rs`).

mod buildkite;
mod circleci;
mod github;
mod google;
mod grpc;
mod hpack;
mod spiffe;

pub use grpc::GrpcError;

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::{
    http::client::{Client, HttpError, HttpReason, HttpRequest, HttpResponse, excerpt},
    oidc::token::{IdentityToken, IdentityTokenError, MAX_TOKEN, TOKEN_FILE},
};
use gitseal_evidence::UnixTime;

/// The variable that a token is put into.
pub const TOKEN_VARIABLE: &str = "SIGSTORE_ID_TOKEN";
/// Where Azure's workload identity says that its token is.
pub const AZURE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// The longest answer with a token in it, in bytes: the token, its JSON, and
/// what else a service says.
pub const MAX_ANSWER: usize = MAX_TOKEN + (16 << 10);
/// The longest value of a variable that is taken for an address or a name.
pub const MAX_NAME: usize = 4 << 10;
/// For one try of a request that does not leave the machine or its host.
pub const LOCAL_TRY: Duration = Duration::from_secs(5);

/// One way to get a token without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ambient {
    /// The variable [`TOKEN_VARIABLE`].
    Environment,
    /// `gitseal.tokenFile`, else [`TOKEN_FILE`].
    File,
    /// GitHub Actions' token service.
    GithubActions,
    /// GitLab CI's `id_tokens`, which arrive in [`TOKEN_VARIABLE`].
    GitlabCi,
    /// Buildkite's agent API.
    Buildkite,
    /// CircleCI's variables.
    CircleCi,
    /// The SPIFFE workload API.
    Spiffe,
    /// Another service account of Google's, as which this machine's may act.
    GoogleImpersonation,
    /// The service account of this machine at Google.
    GoogleMetadata,
    /// The file that [`AZURE_VARIABLE`] names.
    Azure,
    /// A projected service account token: `gitseal.tokenFile`.
    Kubernetes,
}

/// In the order of detection; the last two are not detected.
pub const ALL: [Ambient; 11] = [
    Ambient::Environment,
    Ambient::File,
    Ambient::GithubActions,
    Ambient::GitlabCi,
    Ambient::Buildkite,
    Ambient::CircleCi,
    Ambient::Spiffe,
    Ambient::GoogleImpersonation,
    Ambient::GoogleMetadata,
    Ambient::Azure,
    Ambient::Kubernetes,
];

/// What the machine is asked. Everything comes in here.
pub struct AmbientContext<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// A small text file; `None` where there is none. At most some 64 KiB are
    /// read.
    pub file: &'a dyn Fn(&Path) -> io::Result<Option<Zeroizing<String>>>,
    /// Whether a socket is at this path that this user or root put there. Anybody
    /// can make one in a shared directory, or lead to one that belongs to root,
    /// and would choose who we are or whether we sign at all.
    pub socket: &'a dyn Fn(&Path) -> bool,
    /// Now.
    pub now: &'a dyn Fn() -> UnixTime,
    /// The HTTP client.
    pub http: &'a Client,
    /// `gitseal.tokenFile`.
    pub token_file: Option<&'a Path>,
}

impl fmt::Debug for AmbientContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmbientContext")
            .field("token_file", &self.token_file)
            .finish_non_exhaustive()
    }
}

/// Why the surroundings gave no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmbientError {
    /// The provider works through a variable that is not there.
    #[error("{provider}: {variable} is {}", if *.empty { "empty" } else { "not set" })]
    Unset {
        /// The provider.
        provider: Ambient,
        /// The variable.
        variable: &'static str,
        /// It is there, with nothing in it.
        empty: bool,
        /// The audience that was wanted.
        audience: String,
    },
    /// The provider works through a file that is not there.
    #[error("{provider}: {} does not exist", .path.display())]
    NoFile {
        /// The provider.
        provider: Ambient,
        /// The file.
        path: PathBuf,
        /// Who named it.
        named_by: &'static str,
    },
    /// The provider needs a file, and nobody said which.
    #[error("{provider}: gitseal.tokenFile is not set")]
    NoFileNamed {
        /// The provider.
        provider: Ambient,
        /// The audience that was wanted.
        audience: String,
    },
    /// A variable's bytes are not text.
    #[error("{variable} is not UTF-8 text")]
    NotText {
        /// The variable.
        variable: &'static str,
    },
    /// A variable says something that cannot be used.
    #[error("{variable} cannot be used: {reason}")]
    Value {
        /// The variable.
        variable: &'static str,
        /// Why, without the value.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{provider}: {}: {reason}", .path.display())]
    Unreadable {
        /// The provider.
        provider: Ambient,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// No answer, or one that says later.
    #[error("{provider}: {error}")]
    Http {
        /// The provider.
        provider: Ambient,
        /// The failed exchange.
        error: HttpError,
    },
    /// An answer that says no.
    #[error("{provider}: {error}")]
    Denied {
        /// The provider.
        provider: Ambient,
        /// Status and words.
        error: HttpError,
    },
    /// An answer that is none.
    #[error("{provider}: {what}: {reason}")]
    Answer {
        /// The provider.
        provider: Ambient,
        /// What was asked for, as a noun.
        what: &'static str,
        /// What is wrong with it. Never the answer itself: it may hold a token.
        reason: String,
    },
    /// The workload API gave no answer, or said no.
    #[error("{provider}: {place}: {error}")]
    Grpc {
        /// The provider.
        provider: Ambient,
        /// The socket.
        place: String,
        /// What went wrong.
        error: GrpcError,
    },
    /// The token does not do.
    #[error("{provider}: {refusal}")]
    Token {
        /// The provider.
        provider: Ambient,
        /// Why.
        refusal: IdentityTokenError,
        /// The audience that was wanted.
        audience: String,
    },
}

impl AmbientError {
    /// What to do about it: the variable, the permission or the lines of
    /// configuration that are missing.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unset {
                provider,
                audience,
                variable,
                ..
            } => Some(provider.setup_hint(audience, variable)),
            Self::NoFileNamed { provider, audience } => {
                Some(provider.setup_hint(audience, "gitseal.tokenFile"))
            }
            Self::NoFile { named_by, .. } => Some(format!("{named_by} says where the token is")),
            Self::NotText { variable } | Self::Value { variable, .. } => Some(format!(
                "correct {variable}, or choose another provider with gitseal.tokenProvider"
            )),
            Self::Unreadable { .. } => Some("the user who signs must be able to read it".into()),
            Self::Denied { provider, .. } => provider.when_denied().map(str::to_owned),
            Self::Http { provider, .. } => provider.when_unreachable().map(str::to_owned),
            Self::Token {
                provider,
                refusal: IdentityTokenError::Audience { .. },
                audience,
            } => Some(provider.when_for_another(audience)),
            Self::Token {
                refusal: IdentityTokenError::Expired { .. },
                ..
            } => Some("get a fresh token right before signing".into()),
            Self::Grpc {
                error: GrpcError::Status { code: 7 | 16, .. },
                ..
            } => Some(spiffe::NO_ENTRY.into()),
            Self::Grpc { .. } => Some(format!(
                "{} says where the agent listens; it is not there, or is no SPIFFE workload API",
                spiffe::SOCKET_VARIABLE
            )),
            Self::Token {
                provider: Ambient::Spiffe,
                refusal: IdentityTokenError::Claims { .. },
                ..
            } => Some(spiffe::NO_ISSUER.into()),
            Self::Answer { .. } | Self::Token { .. } => None,
        }
    }
}

impl fmt::Display for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Ambient {
    /// The provider of this name, as in the setting `tokenProvider`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == "google-impersonation" {
            // gitsign's README says so; its code has the other.
            return Some(Self::GoogleImpersonation);
        }
        ALL.into_iter().find(|provider| provider.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Environment => "envvar",
            Self::File => "filesystem",
            Self::GithubActions => "github-actions",
            Self::GitlabCi => "gitlab",
            Self::Buildkite => "buildkite-agent",
            Self::CircleCi => "circleci",
            Self::Spiffe => "spiffe",
            Self::GoogleImpersonation => "google-impersonate",
            Self::GoogleMetadata => "google-workload-identity",
            Self::Azure => "azure",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Whether the surroundings are those of this provider.
    fn is_present(&self, around: &AmbientContext<'_>) -> bool {
        match self {
            Self::Environment => around.has(TOKEN_VARIABLE),
            Self::File => {
                around.token_file.is_some()
                    || !matches!((around.file)(Path::new(TOKEN_FILE)), Ok(None))
            }
            Self::GithubActions => github::is_present(around),
            Self::GitlabCi => around.says_true("GITLAB_CI"),
            Self::Buildkite => buildkite::is_present(around),
            Self::CircleCi => circleci::is_present(around),
            Self::Spiffe => spiffe::is_present(around),
            Self::GoogleImpersonation => around.has(google::ACCOUNT_VARIABLE),
            Self::GoogleMetadata => google::is_present(around),
            Self::Azure | Self::Kubernetes => false,
        }
    }

    fn setup_hint(&self, audience: &str, variable: &str) -> String {
        match self {
            Self::Environment => format!(
                "put an OpenID Connect token for the audience {audience:?} into {TOKEN_VARIABLE}"
            ),
            Self::GithubActions => github::PERMISSION.into(),
            // YAML's flow style: complete on one line.
            Self::GitlabCi => format!(
                "add to the job in .gitlab-ci.yml: id_tokens: {{ {TOKEN_VARIABLE}: {{ aud: {audience} }} }}"
            ),
            Self::Buildkite => buildkite::MISSING.into(),
            Self::CircleCi => circleci::setup_hint(audience),
            Self::Azure => format!(
                "label the pod azure.workload.identity/use: \"true\", or set gitseal.tokenFile to a projected token for the audience {audience:?}"
            ),
            Self::Kubernetes => format!(
                "mount a projected volume with serviceAccountToken: {{ audience: {audience}, path: token }} and set gitseal.tokenFile to its path"
            ),
            Self::File | Self::Spiffe | Self::GoogleImpersonation | Self::GoogleMetadata => {
                format!("set {variable}, or choose another provider with gitseal.tokenProvider")
            }
        }
    }

    fn when_denied(&self) -> Option<&'static str> {
        match self {
            Self::GithubActions => Some(github::PERMISSION),
            Self::Buildkite => Some(buildkite::DENIED),
            Self::GoogleMetadata => Some(google::NO_ACCOUNT),
            Self::GoogleImpersonation => Some(google::NOT_ALLOWED),
            _ => None,
        }
    }

    fn when_unreachable(&self) -> Option<&'static str> {
        match self {
            Self::GoogleMetadata | Self::GoogleImpersonation => Some(google::UNREACHABLE),
            _ => None,
        }
    }

    fn when_for_another(&self, audience: &str) -> String {
        match self {
            Self::CircleCi => circleci::setup_hint(audience),
            Self::GitlabCi => self.setup_hint(audience, TOKEN_VARIABLE),
            _ => format!(
                "ask for a token for the audience {audience:?}, or set gitseal.clientID to the audience that this certificate authority takes"
            ),
        }
    }
}

/// The first provider that is present, in the order of [`ALL`].
#[must_use]
pub fn detect(around: &AmbientContext<'_>) -> Option<Ambient> {
    ALL.into_iter().find(|provider| provider.is_present(around))
}

/// What a person should know about the surroundings although nothing failed.
#[must_use]
pub fn notes(around: &AmbientContext<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if (around.variable)(TOKEN_VARIABLE).is_some_and(|value| value.is_empty()) {
        notes.push(format!(
            "{TOKEN_VARIABLE} is set, but empty: it counts as not set"
        ));
    }
    notes
}

/// Gets a token for `audience` (the client id) and checks it: its form, its
/// time, its audience, and that it names somebody.
///
/// # Errors
///
/// What is missing or wrong, by the name of the variable, file or permission.
pub fn obtain(
    provider: &Ambient,
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<IdentityToken, AmbientError> {
    let text = match provider {
        Ambient::Environment | Ambient::GitlabCi => {
            around.wanted(*provider, TOKEN_VARIABLE, audience)?
        }
        Ambient::File => match around.token_file {
            Some(path) => around.mounted(*provider, path, "gitseal.tokenFile")?,
            None => around.mounted(*provider, Path::new(TOKEN_FILE), "gitseal.tokenFile")?,
        },
        Ambient::Kubernetes => match around.token_file {
            Some(path) => around.mounted(*provider, path, "gitseal.tokenFile")?,
            None => {
                return Err(AmbientError::NoFileNamed {
                    provider: *provider,
                    audience: audience.to_owned(),
                });
            }
        },
        Ambient::Azure => match around.token_file {
            Some(path) => around.mounted(*provider, path, "gitseal.tokenFile")?,
            None => {
                let path = around.wanted(*provider, AZURE_VARIABLE, audience)?;
                around.mounted(*provider, Path::new(path.as_str()), AZURE_VARIABLE)?
            }
        },
        Ambient::GithubActions => github::fetch(audience, around)?,
        Ambient::Buildkite => buildkite::fetch(audience, around)?,
        Ambient::CircleCi => circleci::find(audience, around)?,
        Ambient::GoogleMetadata => google::fetch(audience, around)?,
        Ambient::GoogleImpersonation => google::impersonate(audience, around)?,
        Ambient::Spiffe => spiffe::fetch(audience, around)?,
    };
    let refused = |refusal| AmbientError::Token {
        provider: *provider,
        refusal,
        audience: audience.to_owned(),
    };
    let token = IdentityToken::parse(text).map_err(refused)?;
    token
        .check((around.now)(), Some(audience))
        .map_err(refused)?;
    Ok(token)
}

/// What tells this job from another one on the same machine: hexadecimal
/// SHA-256 over what the provider would ask with. Credentials that are kept
/// under it are never given to another job.
#[must_use]
pub fn job_fingerprint(provider: &Ambient, around: &AmbientContext<'_>) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), value] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    };
    add("gitseal ambient binding, version 1", &[]);
    add("provider", provider.name().as_bytes());
    let variables: &[&str] = match provider {
        Ambient::Environment | Ambient::GitlabCi => &[TOKEN_VARIABLE],
        Ambient::File | Ambient::Kubernetes => &[],
        Ambient::Azure => &[AZURE_VARIABLE],
        Ambient::GithubActions => &github::VARIABLES,
        Ambient::Buildkite => &buildkite::VARIABLES,
        Ambient::CircleCi => &circleci::VARIABLES,
        Ambient::Spiffe => &[spiffe::SOCKET_VARIABLE],
        Ambient::GoogleMetadata => &[google::HOST_VARIABLE],
        Ambient::GoogleImpersonation => &[google::HOST_VARIABLE, google::ACCOUNT_VARIABLE],
    };
    for name in variables {
        if let Some(value) = (around.variable)(name) {
            let value = Zeroizing::new(value.into_encoded_bytes());
            add(name, &value);
        }
    }
    let mut files: Vec<PathBuf> = Vec::new();
    match provider {
        Ambient::File | Ambient::Kubernetes | Ambient::Azure => files.push(
            around
                .token_file
                .map(Path::to_path_buf)
                .or_else(|| (around.variable)(AZURE_VARIABLE).map(PathBuf::from))
                .filter(|_| *provider != Ambient::File || around.token_file.is_some())
                .unwrap_or_else(|| PathBuf::from(TOKEN_FILE)),
        ),
        // A workload is told from another by what the kernel says about it.
        Ambient::Spiffe => files.push(PathBuf::from("/proc/self/cgroup")),
        _ => {}
    }
    for path in files {
        add("file", path.as_os_str().as_encoded_bytes());
        if let Ok(Some(text)) = (around.file)(&path) {
            add("content", text.as_bytes());
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

// ------------------------------------------------------------- the machine

impl AmbientContext<'_> {
    /// Whether a variable is set to something.
    fn has(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| !value.is_empty())
    }

    /// Whether a variable says "true", as the CI systems write it.
    fn says_true(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| value == "true" || value == "1")
    }

    /// A variable's text; an empty one counts as not set.
    fn text(&self, name: &'static str) -> Result<Option<Zeroizing<String>>, AmbientError> {
        match (self.variable)(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.into_string() {
                Ok(text) => Ok(Some(Zeroizing::new(text))),
                Err(_) => Err(AmbientError::NotText { variable: name }),
            },
        }
    }

    /// The text of a variable that the provider cannot do without.
    fn wanted(
        &self,
        provider: Ambient,
        variable: &'static str,
        audience: &str,
    ) -> Result<Zeroizing<String>, AmbientError> {
        self.text(variable)?.ok_or_else(|| AmbientError::Unset {
            provider,
            variable,
            empty: (self.variable)(variable).is_some(),
            audience: audience.to_owned(),
        })
    }

    /// The address in a variable: https, or http to this machine.
    fn address(
        &self,
        provider: Ambient,
        variable: &'static str,
        audience: &str,
    ) -> Result<Url, AmbientError> {
        let text = self.wanted(provider, variable, audience)?;
        address(variable, &text)
    }

    /// The token in a file.
    fn mounted(
        &self,
        provider: Ambient,
        path: &Path,
        named_by: &'static str,
    ) -> Result<Zeroizing<String>, AmbientError> {
        match (self.file)(path) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(AmbientError::NoFile {
                provider,
                path: path.to_path_buf(),
                named_by,
            }),
            Err(error) => Err(AmbientError::Unreadable {
                provider,
                path: path.to_path_buf(),
                reason: error.to_string(),
            }),
        }
    }

    /// Sends a request that carries `secret`. An answer that is not 2xx is an
    /// error, whose words never hold the secret.
    fn ask(
        &self,
        provider: Ambient,
        secret: &str,
        request: &HttpRequest<'_>,
    ) -> Result<HttpResponse, AmbientError> {
        let answer = self
            .http
            .send(request)
            .map_err(|error| AmbientError::Http {
                provider,
                error: without(error, secret),
            })?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(AmbientError::Denied {
            provider,
            error: without(answer.unexpected(), secret),
        })
    }
}

/// An error without what a server may have repeated of our secret.
fn without(mut error: HttpError, secret: &str) -> HttpError {
    /// So many characters of a secret in a row are not shown.
    const SHOWN: usize = 8;
    if let HttpReason::Status { excerpt, .. } = &mut error.reason {
        let repeats = secret.as_bytes().windows(SHOWN).any(|piece| {
            excerpt
                .as_bytes()
                .windows(SHOWN)
                .any(|other| other == piece)
        });
        if repeats {
            *excerpt = "(not shown: it repeats the request's credential)".into();
        }
    }
    error
}

/// An address that credentials may be sent to: https, or http to this machine.
fn address(variable: &'static str, text: &str) -> Result<Url, AmbientError> {
    let fail = |reason: &str| AmbientError::Value {
        variable,
        reason: reason.to_owned(),
    };
    if text.len() > MAX_NAME {
        return Err(fail("longer than any address"));
    }
    let url = Url::parse(text).map_err(|_| fail("not an address"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fail("there is a user name or password in the address"));
    }
    let loopback = match url.host() {
        None => return Err(fail("there is no host in the address")),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err(fail(
            "plain http is only for addresses on this machine, and a credential would be sent",
        )),
        _ => Err(fail("neither http nor https")),
    }
}

/// A secret text in an answer's JSON.
struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Whether a host without TLS can be one that this machine's own network has
/// under it: loopback, link-local, private, and names without a dot.
fn is_near(host: &Host<impl AsRef<str>>) -> bool {
    match host {
        Host::Domain(name) => !name.as_ref().contains('.'),
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_private(),
        Host::Ipv6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// The JSON of an answer.
fn json<T: DeserializeOwned>(
    provider: Ambient,
    what: &'static str,
    answer: HttpResponse,
) -> Result<T, AmbientError> {
    let body = Zeroizing::new(answer.body);
    serde_json::from_slice(&body).map_err(|error| AmbientError::Answer {
        provider,
        what,
        // The parser's words may repeat a value; its place is all that is said.
        reason: format!(
            "not the JSON that is documented (line {}, column {})",
            error.line(),
            error.column()
        ),
    })
}
