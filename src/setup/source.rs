//! Reads and verifies an organization's profile: pinned by its hash, signed by
//! an expected identity (the nine steps of `evidence/verify`), or a local file
//! that the user accepts unverified.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use super::SetupError;
use crate::{
    cli::ProfileArgs,
    context::{ContextError, http_client, open_context},
    host::{
        profile::{MAX_PROFILE, Profile, ProfileTrustedRoot},
        trusted_root_files,
    },
    recorder::StepRecorder,
    verdict::{EntryLookup, Verdict, VerifyRequest, verify_signature},
};
use gitseal_evidence::{
    hex,
    memo::Memo,
    object::HashKind,
    trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot},
    verify::SignatureInput,
};
use gitseal_services::http::client::HttpRequest;

/// The largest detached signature, in bytes.
pub const MAX_SIGNATURE: usize = 256 << 10;

/// A profile that was verified, or accepted as the flags say.
pub(super) struct VerifiedProfile {
    pub(super) profile: Profile,
    /// The organization, and how the profile was verified.
    pub(super) name: String,
    /// The content of its trusted root.
    pub(super) trusted_root: Option<Vec<u8>>,
}

/// The location of a profile and of the files beside it.
enum Location {
    File(PathBuf),
    Url(Url),
}

/// Returns a SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Reads a trusted root file, if that is possible.
pub(super) fn read_root(path: &Path) -> Option<Vec<u8>> {
    read("trusted root", path, MAX_TRUSTED_ROOT).ok()
}

/// Returns whether a trusted root file has this SHA-256.
pub(super) fn has_hash(path: &Path, expected: &str) -> bool {
    read_root(path).is_some_and(|content| sha256(&content) == expected)
}

/// Reads and verifies a profile.
///
/// # Errors
/// Returns an error if it cannot be read, does not verify, or is malformed.
pub(super) fn fetch(from: &str, source: &ProfileArgs) -> Result<VerifiedProfile, SetupError> {
    let location = Location::parse(from)?;
    if source.unsigned && matches!(location, Location::Url(_)) {
        return Err(SetupError::UnsignedUrl);
    }
    let signer = source
        .certificate_identity
        .as_ref()
        .zip(source.certificate_oidc_issuer.as_ref());
    if signer.is_none() && source.sha256.is_none() && !source.unsigned {
        return Err(SetupError::NoSigner {
            location: from.to_owned(),
        });
    }
    let bytes = location.read("profile", None, MAX_PROFILE)?;
    let mut how = "unsigned".to_owned();
    if let Some(expected) = &source.sha256 {
        check_hash(from, &bytes, &expected.to_ascii_lowercase())?;
        "pinned by its SHA-256".clone_into(&mut how);
    }
    if let Some((identity, issuer)) = signer {
        let signature = location.read("signature", Some(Beside::Signature), MAX_SIGNATURE)?;
        check_signature(from, &bytes, &signature, identity, issuer, source)?;
        how = format!("signed by {identity}");
    }
    let text = String::from_utf8(bytes).map_err(|_| failed("profile", from, "it is not UTF-8"))?;
    let profile = Profile::parse(&text, from)?;
    let trusted_root = match &profile.trusted_root {
        None => None,
        Some(ProfileTrustedRoot::Inline(text)) => Some(text.clone().into_bytes()),
        Some(ProfileTrustedRoot::File { file, sha256 }) => {
            const PART: &str = "trusted root";
            let bytes = location.read(PART, Some(Beside::Name(file)), MAX_TRUSTED_ROOT)?;
            check_hash(file, &bytes, sha256)?;
            TrustedRoot::from_json(&bytes).map_err(|refusal| failed(PART, file, refusal))?;
            Some(bytes)
        }
    };
    let contact = profile
        .contact
        .as_ref()
        .map(|contact| format!(", contact {contact}"))
        .unwrap_or_default();
    Ok(VerifiedProfile {
        name: format!("{} ({how}{contact})", profile.organization),
        profile,
        trusted_root,
    })
}

fn failed(part: &'static str, location: &str, reason: impl ToString) -> SetupError {
    SetupError::Fetch {
        part,
        location: location.to_owned(),
        reason: reason.to_string(),
    }
}

fn check_hash(location: &str, bytes: &[u8], expected: &str) -> Result<(), SetupError> {
    let found = sha256(bytes);
    if found == expected {
        return Ok(());
    }
    Err(SetupError::Hash {
        location: location.to_owned(),
        found,
        expected: expected.to_owned(),
    })
}

fn check_signature(
    location: &str,
    profile: &[u8],
    signature: &[u8],
    identity: &str,
    issuer: &str,
    source: &ProfileArgs,
) -> Result<(), SetupError> {
    let (_, settings) = open_context()?;
    let trust = trusted_root_files::load(source.trusted_root.as_deref(), &settings)
        .map_err(ContextError::from)?;
    let request = VerifyRequest::for_signer(trust, identity, issuer)?;
    let subject = SignatureInput {
        payload: Some(profile),
        signature,
        hash: HashKind::Sha1,
    };
    let verdict = verify_signature(
        &subject,
        &request,
        Memo::disabled(),
        EntryLookup::Disabled,
        &mut StepRecorder::disabled(),
    );
    if matches!(verdict, Verdict::Verified(_)) {
        return Ok(());
    }
    let reason = match verdict.refusal() {
        Some(refusal) => format!("{refusal} [{}]", refusal.code()),
        None => "not verified".to_owned(),
    };
    Err(SetupError::Signature {
        location: location.to_owned(),
        reason,
    })
}

/// A file in the directory of the profile.
#[derive(Clone, Copy)]
enum Beside<'a> {
    /// The name of the profile with `.sig` at its end.
    Signature,
    /// A name that the profile contains.
    Name(&'a str),
}

impl Location {
    fn parse(text: &str) -> Result<Self, SetupError> {
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let invalid = |reason: &str| Err(failed("profile", text, reason));
        let url = Url::parse(text).map_err(|error| failed("profile", text, error))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return invalid("the URL must not have credentials or a fragment");
        }
        match url.scheme() {
            "https" => Ok(Self::Url(url)),
            "http" if is_loopback(&url) => Ok(Self::Url(url)),
            "http" => invalid("http is accepted on loopback only: use https"),
            _ => invalid("expected a file or an https URL"),
        }
    }

    /// Reads the profile, or a file beside it, of at most `limit` bytes.
    fn read(
        &self,
        part: &'static str,
        beside: Option<Beside<'_>>,
        limit: usize,
    ) -> Result<Vec<u8>, SetupError> {
        match self {
            Self::File(path) => {
                let path = match beside {
                    None => path.clone(),
                    Some(Beside::Name(name)) => path.with_file_name(name),
                    Some(Beside::Signature) => {
                        let mut name = path.as_os_str().to_owned();
                        name.push(".sig");
                        PathBuf::from(name)
                    }
                };
                read(part, &path, limit)
            }
            Self::Url(url) => {
                let mut url = url.clone();
                match beside {
                    None => {}
                    Some(Beside::Signature) => url.set_path(&format!("{}.sig", url.path())),
                    Some(Beside::Name(name)) => {
                        url.set_query(None);
                        url = url.join(name).map_err(|error| failed(part, name, error))?;
                    }
                }
                download(part, &url, limit)
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn download(part: &'static str, url: &Url, limit: usize) -> Result<Vec<u8>, SetupError> {
    let mut request = HttpRequest::get(part, url, limit);
    request.accept = "*/*";
    // The user named this URL, and no other.
    request.redirects = false;
    let answer = http_client().send(&request)?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(answer.unexpected().into())
    }
}

fn read(part: &'static str, path: &Path, limit: usize) -> Result<Vec<u8>, SetupError> {
    let location = path.to_string_lossy();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| failed(part, &location, error))?;
    if bytes.len() > limit {
        let reason = format!("it is larger than {limit} bytes");
        return Err(failed(part, &location, reason));
    }
    Ok(bytes)
}
