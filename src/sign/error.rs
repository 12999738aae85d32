//! Errors of signing and logging in, with their exit codes and hints.

use std::{borrow::Cow, io, path::PathBuf};

use gitseal_credential_cache::{client::ClientError, socket_path::SocketPathError};

use crate::{
    context::ContextError,
    exit::{EXIT_REFUSED, EXIT_USAGE},
    host::{opener::OpenerError, trusted_root_files::TrustedRootLoadError},
};
use gitseal_evidence::{
    UnixTime,
    object::MAX_OBJECT,
    refusal::{Reason, Refusal, codes},
    rfc3339,
};
use gitseal_services::{
    fulcio::{client::FulcioError, wire::CsrError},
    http::client::{HttpError, HttpReason},
    oidc::{ambient::AmbientError, login::LoginError, token::IdentityTokenError},
    rekor::client::RekorClientError,
    signed_data::SignedDataError,
    tsa::client::TsaError,
};

/// The file name of the credential cache's program.
pub(super) const CACHE_PROGRAM: &str = "gitseal-credential-cache";

/// Errors that prevent a signature from being made or returned.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("nothing to sign: standard input is empty")]
    EmptyPayload,
    #[error("the payload exceeds the limit of {MAX_OBJECT} bytes")]
    TooLarge,
    #[error("the object to sign is not a valid {what}: {reason}")]
    Payload {
        /// The kind: commit or tag.
        what: &'static str,
        reason: Reason,
    },
    /// The settings contradict each other.
    #[error("{message}")]
    Settings {
        message: &'static str,
        hint: Option<&'static str>,
    },
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Trust(#[from] TrustedRootLoadError),
    /// A file or stream is not usable.
    #[error("{what}: {reason}")]
    Stream {
        /// The failed operation, such as "cannot write the signature".
        what: String,
        reason: io::Error,
    },
    #[error("unknown token provider {name:?}")]
    NoSuchProvider { name: String },
    /// A repository chooses where a token goes that was obtained without the user.
    #[error("refusing to send the {provider} token to a service set by this repository ({origin})")]
    NotForARepository {
        provider: &'static str,
        origin: String,
    },
    /// A token would leave this machine without TLS.
    #[error("refusing to send an identity token to {url} without TLS ({name}, {origin})")]
    Plaintext {
        /// The setting that contains the URL.
        name: &'static str,
        url: String,
        origin: String,
    },
    #[error("invalid gitseal.urlOpener: {0}")]
    Opener(OpenerError),
    #[error(transparent)]
    Ambient(#[from] AmbientError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Token(#[from] IdentityTokenError),
    /// The login is of another account than the settings request.
    #[error("not signed: logged in as {found}, but {requested_by} is {requested}")]
    OtherAccount {
        found: String,
        requested: String,
        /// The setting or person that names the requested user.
        requested_by: &'static str,
    },
    #[error("not signed: identity {identity} was declined")]
    Declined { identity: String },
    #[error("not signed: first use of identity {identity} needs confirmation: {reason}")]
    Unconfirmed { identity: String, reason: String },
    #[error("the shared login in another gitseal process failed: {reason}")]
    OtherLogin { reason: String },
    #[error("the credential cache: {0}")]
    Cache(ClientError),
    #[error("not signed: the confirmation request of the credential cache was denied or timed out")]
    Denied,
    #[error("cannot store the login: {0}")]
    CacheUnavailable(CacheUnavailableError),
    #[error("cannot store the login: the credential cache rejected it")]
    NotCached,
    #[error("the credential cache returned no readable certificate")]
    CachedCertificate,
    #[error(transparent)]
    Fulcio(#[from] FulcioError),
    #[error(transparent)]
    Request(#[from] CsrError),
    #[error("the certificate from {authority} {error}")]
    Certificate {
        /// The URL of the certificate authority.
        authority: String,
        error: IssuedCertificateError,
    },
    #[error("not signed: committer and identity differ: {0}")]
    Committer(Reason),
    #[error("cannot encode the signature: {0}")]
    Cms(#[from] SignedDataError),
    #[error(transparent)]
    Timestamp(#[from] TsaError),
    #[error(transparent)]
    Rekor(#[from] RekorClientError),
    #[error("self-check failed: the new signature does not verify: {0}")]
    Unverifiable(Refusal),
}

/// Reasons not to sign with a certificate. They continue the sentence "the
/// certificate from URL".
#[derive(Debug, thiserror::Error)]
pub enum IssuedCertificateError {
    #[error("is for a different key")]
    OtherKey,
    #[error("has an unusable key: {0}")]
    Key(Reason),
    #[error(
        "is valid from {} to {}, but the system clock says {}",
        rfc3339(*.not_before), rfc3339(*.not_after), rfc3339(*.now)
    )]
    Clock {
        not_before: UnixTime,
        not_after: UnixTime,
        now: UnixTime,
    },
    #[error("is not trusted: {0}")]
    Chain(Reason),
    #[error("has no SCT from a trusted CT log: {0}")]
    Sct(Reason),
    #[error("contains no identity: {0}")]
    NoIdentity(Reason),
    #[error("has {what} {found:?}, the token {expected:?}")]
    OtherIdentity {
        /// The part that differs: identity, issuer or subject.
        what: &'static str,
        found: String,
        expected: String,
    },
}

/// Reasons why the credential cache is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum CacheUnavailableError {
    #[error("gitseal.credentialCache is off")]
    Off,
    #[error(
        "the credential cache is not running at {}, and {CACHE_PROGRAM} was not found",
        .socket.display()
    )]
    NotInstalled {
        socket: PathBuf,
        /// Whether a setting names the socket.
        is_configured: bool,
    },
    /// The socket is gitsign's, whose programs cannot use a daemon of gitseal's.
    #[error(
        "the credential cache is not running at {}, and gitseal starts none there because {variable} is gitsign's",
        .socket.display()
    )]
    Gitsigns { socket: PathBuf, variable: String },
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl CacheUnavailableError {
    /// Returns whether the user needs no notice: the cache is off, or was never
    /// installed.
    pub(super) fn is_expected(&self) -> bool {
        let not_installed = matches!(
            self,
            Self::NotInstalled {
                is_configured: false,
                ..
            }
        );
        not_installed || matches!(self, Self::Off)
    }

    /// Returns the suggested next step, if there is one.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::NotInstalled { .. } => Some("install gitseal-credential-cache next to gitseal"),
            Self::Gitsigns { .. } => {
                Some("set GITSEAL_CREDENTIAL_CACHE=auto: gitseal has its own cache")
            }
            Self::Client(error) => cache_hint(error),
        }
    }
}

impl SignError {
    /// Returns the exit code: wrong usage or settings (2), or not signed (1).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings { .. }
            | Self::Context(_)
            | Self::Trust(_)
            | Self::NotForARepository { .. }
            | Self::Plaintext { .. }
            | Self::Opener(_)
            | Self::NoSuchProvider { .. } => EXIT_USAGE,
            _ => EXIT_REFUSED,
        }
    }

    /// Returns whether the credential cache caused the failure, so that signing
    /// without it may succeed. `was_cached`: the certificate comes from the cache.
    /// A denied confirmation ([`SignError::Denied`]) is final.
    pub(super) fn is_cache_failure(&self, was_cached: bool) -> bool {
        match self {
            Self::Cache(_) => true,
            Self::Unverifiable(refusal) => {
                was_cached && refusal.code() == codes::TIME_OUTSIDE_CERTIFICATE
            }
            _ => false,
        }
    }

    /// Returns whether the authority rejects the token. Fulcio has the status 400
    /// for every problem of a token; proxies in front of it have 401 or 403.
    pub(super) fn is_token_rejected(&self) -> bool {
        match self {
            Self::Fulcio(FulcioError::Refused { status, .. }) => {
                matches!(status, 400 | 401 | 403)
            }
            Self::Fulcio(FulcioError::Http(HttpError {
                reason: HttpReason::Status { status, .. },
                ..
            })) => matches!(status, 401 | 403),
            _ => false,
        }
    }

    /// Returns the suggested next step, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        if let Self::Ambient(error) = self {
            return error.hint().map(Cow::Owned);
        }
        if let Self::OtherAccount { requested, .. } = self {
            return Some(Cow::Owned(format!(
                "run 'gitseal login --again' and log in as {requested} (log out at the provider if it reuses another session), or change gitseal.loginHint"
            )));
        }
        if let Self::Plaintext { name, .. } = self {
            return Some(Cow::Owned(format!("set {name} to an https URL")));
        }
        self.fixed_hint().map(Cow::Borrowed)
    }

    fn fixed_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Settings { hint, .. } => return *hint,
            Self::Context(error) => return error.hint(),
            Self::NoSuchProvider { .. } => {
                "valid names are listed under tokenProvider in docs/settings.md"
            }
            Self::NotForARepository { .. } => {
                "if you trust it, set it with 'git config --global' or list the repository in gitseal.trustedRepository"
            }
            Self::Login(error) => return login_hint(error),
            Self::Token(error) => return token_hint(error),
            Self::Declined { .. } => {
                "to use another account, run 'gitseal logout', then 'gitseal login'"
            }
            Self::Unconfirmed { .. } => {
                "run 'gitseal login' in a terminal once, or set gitseal.confirmIdentity to auto"
            }
            Self::Denied => {
                "sign again and answer the prompt of the daemon started with --confirm; after a no, it denies the same process (a forwarded socket is one) for a minute"
            }
            Self::OtherLogin { .. } | Self::Rekor(RekorClientError::Duplicate { .. }) => {
                "sign again"
            }
            Self::CacheUnavailable(error) => return error.hint(),
            Self::Cache(error) => return cache_hint(error),
            Self::Fulcio(FulcioError::Refused {
                status: 400 | 401 | 403,
                ..
            }) => {
                "the token may be expired, or its issuer or audience not accepted. Check gitseal.issuer and gitseal.clientID, then run 'gitseal login --again'"
            }
            Self::Fulcio(FulcioError::NotFulcio { .. }) => {
                "set gitseal.fulcio to the URL of a Fulcio server"
            }
            Self::Fulcio(FulcioError::Answer { .. }) => {
                "the authority must embed the SCT of a CT log in its certificates"
            }
            Self::Fulcio(FulcioError::Http(error))
            | Self::Rekor(RekorClientError::Http(error))
            | Self::Timestamp(TsaError::Http(error)) => return http_hint(error),
            Self::Certificate { error, .. } => match error {
                IssuedCertificateError::Clock { .. } => "set the system clock",
                IssuedCertificateError::Chain(_) | IssuedCertificateError::Sct(_) => {
                    "for a private Sigstore, set gitseal.trustedRoot to its trusted_root.json"
                }
                _ => return None,
            },
            Self::Committer(_) => {
                "set user.email to the address you log in with, or unset gitseal.matchCommitter"
            }
            Self::Unverifiable(refusal) => return unverifiable_hint(refusal),
            _ => return None,
        })
    }
}

fn cache_hint(error: &ClientError) -> Option<&'static str> {
    const PRIVATE_SOCKET: &str = "set gitseal.credentialCache to a socket path in a directory that only you can access (mode 0700), or to off";
    Some(match error {
        ClientError::Gitsign(_) => {
            "stop gitsign-credential-cache and unset GITSIGN_CREDENTIAL_CACHE: gitseal starts its own cache"
        }
        ClientError::ConfirmRequired(_) => {
            "start it with 'gitseal-credential-cache --confirm' (or without --confirm to stop confirming)"
        }
        ClientError::Version | ClientError::Protocol(_) => {
            "run 'gitseal cache stop', then try again"
        }
        ClientError::Ended { .. } => PRIVATE_SOCKET,
        ClientError::Unsafe(error) => match error {
            SocketPathError::NoHome => "set HOME, or set gitseal.credentialCache to a socket path",
            SocketPathError::Path(_) => {
                "set gitseal.credentialCache to auto, off, or a socket path that starts with / or ~/"
            }
            SocketPathError::TooLong { .. } => {
                "set gitseal.credentialCache to a shorter path in a directory that only you can access (mode 0700)"
            }
            SocketPathError::NotADirectory(_) | SocketPathError::NotASocket(_) => {
                "set gitseal.credentialCache to another path, or remove the file"
            }
            SocketPathError::Foreign { .. } => {
                "set gitseal.credentialCache to a socket path in a directory of yours; with sudo, use 'sudo -H', which sets HOME"
            }
            SocketPathError::Open { .. } => {
                "run 'chmod 700' on the directory, so that only you can access it"
            }
            SocketPathError::Io { .. } => PRIVATE_SOCKET,
        },
        _ => return None,
    })
}

fn token_hint(error: &IdentityTokenError) -> Option<&'static str> {
    Some(match error {
        IdentityTokenError::Expired { .. } => "get a new token",
        IdentityTokenError::Audience { .. } => {
            "request a token with the audience in gitseal.clientID from the identity provider"
        }
        _ => return None,
    })
}

fn login_hint(error: &LoginError) -> Option<&'static str> {
    Some(match error {
        LoginError::Http(error) => return http_hint(error),
        LoginError::NotHeadless { .. } => {
            "set gitseal.tokenProvider to interactive or device; the reference issuer accepts the users of 'gitseal-reference serve --user EMAIL'"
        }
        LoginError::Unseen => {
            "run 'gitseal login' in a terminal first, or set gitseal.tokenProvider"
        }
        LoginError::Refused { error, .. } if error == "login_required" => {
            "set gitseal.loginHint (or user.email) to a user of the issuer; the reference issuer accepts the users of 'gitseal-reference serve --user EMAIL'"
        }
        LoginError::OpenedTwice => {
            "run 'gitseal login' again, or set gitseal.tokenProvider to device"
        }
        LoginError::Refused { .. } | LoginError::Exchange { .. } | LoginError::Token { .. } => {
            "run the command again to retry; 'gitseal login --again' starts a new login"
        }
        _ => return None,
    })
}

fn http_hint(error: &HttpError) -> Option<&'static str> {
    Some(match error.reason {
        HttpReason::Connection { .. } | HttpReason::HostUnknown | HttpReason::Timeout { .. } => {
            "check that the server is running and the URL is correct ('gitseal version' lists the URLs in use)"
        }
        HttpReason::Plaintext => {
            "only https URLs and this machine (localhost, 127.0.0.1, [::1]) receive tokens; 'gitseal version' lists the URLs in use"
        }
        HttpReason::Tls { .. } => {
            "the server's certificate must be trusted by this system, or be in the file that SSL_CERT_FILE names"
        }
        HttpReason::Status { status, .. } if status == 429 || status >= 500 => "try again later",
        _ => return None,
    })
}

fn unverifiable_hint(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal.code() {
        codes::LOG_UNKNOWN => {
            "the log at gitseal.rekor is not in the trusted root; set gitseal.trustedRoot to the one it belongs to"
        }
        codes::TIME_OUTSIDE_CERTIFICATE => {
            "the clocks of the certificate authority and of the log or timestamp authority differ; sign again, then report it to their operators"
        }
        code if code.starts_with("timestamp-") => {
            "the timestamp authority at gitseal.timestampServerURL must be in the trusted root"
        }
        _ => return None,
    })
}
