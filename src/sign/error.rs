//! Why nothing was signed, and what to do next.

use std::{borrow::Cow, io};

use gitseal_credential_cache::{client::ClientError, socket_path::SocketPathError};

use super::{CacheUnavailableError, MAX_PAYLOAD};
use crate::{
    context::ContextError,
    exit::{EXIT_REFUSED, EXIT_USAGE},
    host::{opener::OpenerError, trusted_root_files::TrustedRootLoadError},
};
use gitseal_evidence::{
    UnixTime,
    refusal::{Reason, Refusal, codes},
};
use gitseal_services::{
    fulcio::{client::FulcioError, wire::CsrError},
    http::client::{HttpError, HttpReason},
    oidc::{ambient::AmbientError, login::LoginError, token::IdentityTokenError},
    rekor::client::RekorClientError,
    signed_data::SignedDataError,
    tsa::client::TsaError,
};

/// Why nothing was signed, or the signature was not handed out.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Nothing to sign.
    #[error("nothing to sign: standard input is empty")]
    EmptyPayload,
    /// More than is signed.
    #[error("the payload has more than {MAX_PAYLOAD} bytes")]
    TooLarge,
    /// A commit or tag that no verifier would accept.
    #[error("what git wants signed is not a sound {what}: {reason}")]
    Payload {
        /// commit or tag.
        what: &'static str,
        /// Why.
        reason: Reason,
    },
    /// Settings that cannot work together.
    #[error("{0}")]
    Settings(&'static str),
    /// The repository, git's configuration or a setting.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The trust root cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustedRootLoadError),
    /// A file or stream cannot be used.
    #[error("{what}: {reason}")]
    Stream {
        /// Which.
        what: String,
        /// What the system says.
        reason: io::Error,
    },
    /// The setting names nothing that exists.
    #[error("there is no token provider {name:?}")]
    NoSuchProvider {
        /// The setting's value.
        name: String,
    },
    /// A repository says where a token goes that nobody is asked for.
    #[error(
        "a token that nobody is asked for ({provider}) does not go where a repository says: {origin}"
    )]
    NotForARepository {
        /// The token's source.
        provider: &'static str,
        /// Key and file.
        origin: String,
    },
    /// `urlOpener` cannot be used.
    #[error("gitseal.urlOpener cannot be used: {0}")]
    Opener(OpenerError),
    /// No token out of the surroundings.
    #[error(transparent)]
    Ambient(#[from] AmbientError),
    /// No token out of a login.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A token that no authority would take.
    #[error(transparent)]
    Token(#[from] IdentityTokenError),
    /// The person does not want this name to be published.
    #[error("not signed: you did not want to sign as {identity}")]
    Declined {
        /// The identity and its provider.
        identity: String,
    },
    /// Nobody could be asked whether this name may be published.
    #[error("not signed: {identity} was not signed with before, and {reason}")]
    Unconfirmed {
        /// The identity and its provider.
        identity: String,
        /// Why there was no answer.
        reason: String,
    },
    /// The login that was waited for failed.
    #[error("the login that another gitseal made for this signature as well failed: {reason}")]
    OtherLogin {
        /// What it said.
        reason: String,
    },
    /// The credential cache does not answer as it should.
    #[error("the credential cache: {0}")]
    Cache(ClientError),
    /// The person whom the credential cache asks did not say yes.
    #[error(
        "not signed: the credential cache asks before each signature (--confirm), and this one was refused there, or not answered in time"
    )]
    Denied,
    /// Nowhere to keep a login.
    #[error("the login is not kept: {0}")]
    CacheUnavailable(CacheUnavailableError),
    /// The credential cache did not take the login.
    #[error("the login is not kept: the credential cache did not take it")]
    NotKept,
    /// What the credential cache keeps is not to be used.
    #[error("{0}")]
    Cached(&'static str),
    /// No certificate.
    #[error(transparent)]
    Fulcio(#[from] FulcioError),
    /// No certificate request.
    #[error(transparent)]
    Request(#[from] CsrError),
    /// The certificate is for another key.
    #[error("the certificate that {authority} gave is for another key than ours")]
    OtherKey {
        /// The authority's address.
        authority: String,
    },
    /// The clocks are too far apart.
    #[error(
        "the certificate is valid from {not_before} to {not_after} (unix time), and this machine's clock says {now}"
    )]
    Clock {
        /// Its begin.
        not_before: UnixTime,
        /// Its end.
        not_after: UnixTime,
        /// Ours.
        now: UnixTime,
    },
    /// The certificate's key cannot be read.
    #[error("the certificate that {authority} gave has an unusable key: {reason}")]
    Key {
        /// The authority's address.
        authority: String,
        /// Why.
        reason: Reason,
    },
    /// Not of a trusted authority.
    #[error("the certificate that {authority} gave is not trusted: {reason}")]
    Chain {
        /// The authority's address.
        authority: String,
        /// Why.
        reason: Reason,
    },
    /// Not in a trusted CT log.
    #[error("the certificate that {authority} gave is not in a trusted CT log: {reason}")]
    Sct {
        /// The authority's address.
        authority: String,
        /// Why.
        reason: Reason,
    },
    /// Names nobody.
    #[error("the certificate that {authority} gave names nobody: {reason}")]
    Nobody {
        /// The authority's address.
        authority: String,
        /// Why.
        reason: Reason,
    },
    /// Names someone else.
    #[error("the certificate that {authority} gave has {what} {found:?}, the token {expected:?}")]
    OtherIdentity {
        /// The authority's address.
        authority: String,
        /// Identity, issuer or subject.
        what: &'static str,
        /// The certificate's.
        found: String,
        /// The token's.
        expected: String,
    },
    /// `matchCommitter` is set, and it is someone else, or nobody.
    #[error("not signed: the certificate would not fit: {0}")]
    Committer(Reason),
    /// The CMS cannot be put together.
    #[error("the signature cannot be put together: {0}")]
    Cms(#[from] SignedDataError),
    /// No timestamp.
    #[error(transparent)]
    Timestamp(#[from] TsaError),
    /// No log entry.
    #[error(transparent)]
    Rekor(#[from] RekorClientError),
    /// The finished signature does not pass our own verifier.
    #[error("the signature was made, but would not verify, {0}")]
    Unverifiable(Refusal),
}

impl SignError {
    /// The exit code: usage or settings (2), or refused (1).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_)
            | Self::Context(_)
            | Self::Trust(_)
            | Self::NotForARepository { .. }
            | Self::Opener(_)
            | Self::NoSuchProvider { .. } => EXIT_USAGE,
            _ => EXIT_REFUSED,
        }
    }

    /// Whether the credential cache is to blame, and another try without it is
    /// due. `found`: the credential was kept there, and not made just now. A
    /// person's no ([`SignError::Denied`]) is not the cache's, and final.
    pub(super) fn is_cache_failure(&self, found: bool) -> bool {
        match self {
            Self::Cache(_) => true,
            Self::Unverifiable(refusal) => {
                found && refusal.code() == codes::TIME_OUTSIDE_CERTIFICATE
            }
            _ => false,
        }
    }

    /// Whether the authority does not take the token. Every fault of a token has
    /// the status 400 in Fulcio, and 401 or 403 in what stands before one.
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

    /// What to do next, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        if let Self::Ambient(error) = self {
            return error.hint().map(Cow::Owned);
        }
        self.known_hint().map(Cow::Borrowed)
    }

    fn known_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Context(obstacle) => return obstacle.hint(),
            Self::NoSuchProvider { .. } => {
                "docs/settings.md lists the providers under tokenProvider; unset, the first that is there is taken"
            }
            Self::NotForARepository { .. } => {
                "if you know who that is, set it with git config --global (or --system), or name the repository in gitseal.trustedRepository"
            }
            Self::Login(error) => return login_hint(error),
            Self::Token(error) => return token_hint(error),
            Self::Declined { .. } => {
                "log in as somebody else (gitseal logout, then gitseal login), or set gitseal.loginHint"
            }
            Self::Unconfirmed { .. } => {
                "sign once from a terminal, or set gitseal.confirmIdentity to auto"
            }
            Self::Denied => {
                "sign again, and say yes where the daemon asks: on the terminal that it was started on (in the foreground there), or in its askpass program"
            }
            Self::OtherLogin { .. } => "sign again",
            Self::CacheUnavailable(why) => return no_cache_hint(why),
            Self::Cache(error) => return cache_hint(error),
            Self::Fulcio(FulcioError::Refused {
                status: 400 | 401 | 403,
                ..
            }) => {
                "the authority takes no token that is expired, for another client than its own, or of an issuer it does not know: look at gitseal.issuer and gitseal.clientID, and get a fresh token (`gitseal login --again` makes a new login)"
            }
            Self::Fulcio(FulcioError::NotFulcio { .. }) => {
                "gitseal.fulcio must be the address of a Fulcio server"
            }
            Self::Fulcio(FulcioError::Answer { .. }) => {
                "the authority must embed the SCT of a CT log in its certificates"
            }
            Self::Fulcio(FulcioError::Http(error))
            | Self::Rekor(RekorClientError::Http(error))
            | Self::Timestamp(TsaError::Http(error)) => return http_hint(error),
            Self::Clock { .. } => "set this machine's clock",
            Self::Chain { .. } | Self::Sct { .. } => {
                "for your own Sigstore, let gitseal.trustedRoot name its trusted_root.json; for the public one, leave gitseal.fulcio unset"
            }
            Self::Committer(_) => {
                "set user.email to the address you log in with, or unset gitseal.matchCommitter"
            }
            Self::Unverifiable(refusal) => return unverifiable_hint(refusal),
            Self::Rekor(RekorClientError::Duplicate { .. }) => "sign again",
            _ => return None,
        })
    }
}

/// What to do where there is no credential cache.
pub(super) fn no_cache_hint(why: &CacheUnavailableError) -> Option<&'static str> {
    match why {
        CacheUnavailableError::Off => None,
        CacheUnavailableError::NotInstalled { .. } => {
            Some("the program gitseal-credential-cache belongs beside gitseal")
        }
        CacheUnavailableError::Gitsigns { .. } => {
            Some("set GITSEAL_CREDENTIAL_CACHE=auto: gitseal has a cache of its own")
        }
        CacheUnavailableError::Client(error) => cache_hint(error),
    }
}

fn cache_hint(error: &ClientError) -> Option<&'static str> {
    Some(match error {
        ClientError::Gitsign(_) => {
            "stop gitsign-credential-cache and unset GITSIGN_CREDENTIAL_CACHE: gitseal starts its own"
        }
        ClientError::ConfirmRequired(_) => {
            "start it again by hand, with --confirm, or without it if it shall not ask any more"
        }
        ClientError::Version | ClientError::Protocol(_) => {
            "run 'gitseal cache stop', then try again"
        }
        ClientError::Ended { .. } => {
            "let gitseal.credentialCache name a socket in a directory of yours that can be written to, or be off"
        }
        ClientError::Unsafe(error) => match error {
            SocketPathError::NoHome => "set HOME, or let gitseal.credentialCache name a socket",
            SocketPathError::Path(_) => {
                "gitseal.credentialCache is auto, off, or a socket's path that begins with / or ~/"
            }
            SocketPathError::TooLong { .. } => {
                "let gitseal.credentialCache name a shorter path, in a directory of yours (mode 0700)"
            }
            SocketPathError::NotADirectory(_) | SocketPathError::NotASocket(_) => {
                "let gitseal.credentialCache name another path, or remove what is there"
            }
            SocketPathError::Foreign { .. } => {
                "let gitseal.credentialCache name a socket in a directory of yours; under sudo, `sudo -H` sets HOME"
            }
            SocketPathError::Open { .. } => "make the directory yours alone (chmod 700)",
            SocketPathError::Io { .. } => {
                "let gitseal.credentialCache name a socket in a directory of yours that can be written to, or be off"
            }
        },
        _ => return None,
    })
}

fn token_hint(error: &IdentityTokenError) -> Option<&'static str> {
    Some(match error {
        IdentityTokenError::Expired { .. } => "get a fresh token",
        IdentityTokenError::Audience { .. } => {
            "ask the identity provider for a token with the audience that gitseal.clientID names"
        }
        _ => return None,
    })
}

fn login_hint(error: &LoginError) -> Option<&'static str> {
    Some(match error {
        LoginError::Http(error) => return http_hint(error),
        LoginError::NotHeadless { .. } => {
            "the reference issuer logs in the users it was started with: gitseal-reference serve --user EMAIL; other issuers need a browser (gitseal.tokenProvider interactive) or another device (device)"
        }
        LoginError::Unseen => {
            "run `gitseal login` in a terminal first, or let gitseal.tokenProvider name where the token comes from"
        }
        LoginError::Refused { error, .. } if error == "login_required" => {
            "this issuer does not know the user: gitseal.loginHint (else user.email) names one; the reference issuer logs in those it was started with: gitseal-reference serve --user EMAIL"
        }
        _ => return None,
    })
}

fn http_hint(error: &HttpError) -> Option<&'static str> {
    Some(match error.reason {
        HttpReason::Connection { .. } | HttpReason::HostUnknown | HttpReason::Timeout { .. } => {
            "is the server up, and the address in the settings right? `gitseal version` shows the addresses in use"
        }
        HttpReason::Tls { .. } => {
            "the server's certificate must be trusted by this system (or by the file that SSL_CERT_FILE names)"
        }
        HttpReason::Status { status, .. } if status == 429 || status >= 500 => "try again later",
        _ => return None,
    })
}

fn unverifiable_hint(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal.code() {
        codes::LOG_UNKNOWN => {
            "the log at gitseal.rekor is not in the trusted root: let gitseal.trustedRoot name the one it belongs to"
        }
        codes::TIME_OUTSIDE_CERTIFICATE => {
            "the clocks of the certificate authority and of the log or timestamp authority differ: sign again, and if it stays, have their clocks set"
        }
        code if code.starts_with("timestamp-") => {
            "the timestamp authority at gitseal.timestampServerURL must be in the trusted root"
        }
        _ => return None,
    })
}
