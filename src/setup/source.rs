//! Where a profile comes from, and whether it is believed: pinned by its hash,
//! or signed by whom the administrator names (the nine steps of
//! `evidence/verify`), or a local file that is said to be taken as it is.

use std::{
    fs::File,
    io::Read as _,
    net::IpAddr,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use super::SetupError;
use crate::{
    cli::ProfileArgs,
    context::{http_client, open_context},
    explain::Recorder,
    host::{
        profile::{MAX_PROFILE, Profile, Root},
        trust_files,
    },
    verify::{Search, Verdict, judge},
};
use gitseal_evidence::{
    identity::{ExpectedIdentity, IdentityMatcher, Pattern},
    object::HashKind,
    trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot},
    verify::{Refusal, SignatureInput},
};
use gitseal_services::http::client::Request;

/// The largest detached signature, in bytes.
pub const MAX_SIGNATURE: usize = 256 << 10;

/// A profile that is believed.
pub(super) struct Fetched {
    pub(super) profile: Profile,
    /// Whose it is and why it is believed, for people.
    pub(super) name: String,
    /// The bytes of its trust root.
    pub(super) trusted_root: Option<Vec<u8>>,
}

/// A place that parts of a profile are read from.
enum From {
    File(PathBuf),
    Url(Url),
}

/// SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether the file still has the content that was put there.
pub(super) fn has_hash(path: &Path, wanted: &str) -> bool {
    read(path, MAX_TRUSTED_ROOT).is_ok_and(|content| sha256(&content) == wanted)
}

/// Reads the profile, and believes it or not.
///
/// # Errors
/// It cannot be had, is not what was named, or is not understood.
pub(super) fn fetch(from: &str, source: &ProfileArgs) -> Result<Fetched, SetupError> {
    let place = From::of(from)?;
    if source.unsigned && matches!(place, From::Url(_)) {
        return Err(SetupError::UnsignedUrl);
    }
    let unvouched = || SetupError::Unvouched {
        place: from.to_owned(),
    };
    let signer = source
        .certificate_identity
        .as_ref()
        .zip(source.certificate_oidc_issuer.as_ref());
    if signer.is_none() && source.sha256.is_none() && !source.unsigned {
        return Err(unvouched());
    }
    let bytes = place.part("the profile", None, MAX_PROFILE)?;
    if let Some(wanted) = &source.sha256 {
        let found = sha256(&bytes);
        if found != wanted.to_ascii_lowercase() {
            return Err(SetupError::Hash {
                place: from.to_owned(),
                found,
                wanted: wanted.clone(),
            });
        }
    }
    let mut why = match (&source.sha256, source.unsigned) {
        (Some(_), _) => "pinned by its SHA-256".to_owned(),
        (None, true) => "unsigned, taken as it is".to_owned(),
        (None, false) => String::new(),
    };
    if let Some((identity, issuer)) = signer {
        let signature = place.signature()?;
        check_signature(from, &bytes, &signature, identity, issuer, source)?;
        why = format!("signed by {identity}");
    }
    let text = String::from_utf8(bytes).map_err(|_| SetupError::Fetch {
        what: "the profile",
        place: from.to_owned(),
        why: "it is not UTF-8".to_owned(),
    })?;
    let profile = Profile::parse(&text, from)?;
    let trusted_root = match &profile.trusted_root {
        None => None,
        Some(Root::Inline(text)) => Some(text.clone().into_bytes()),
        Some(Root::File {
            file,
            sha256: wanted,
        }) => {
            let bytes = place.part("the trust root", Some(file), MAX_TRUSTED_ROOT)?;
            let found = sha256(&bytes);
            if found != *wanted {
                return Err(SetupError::Hash {
                    place: file.clone(),
                    found,
                    wanted: wanted.clone(),
                });
            }
            TrustedRoot::from_json(&bytes).map_err(|refusal| SetupError::Fetch {
                what: "the trust root",
                place: file.clone(),
                why: refusal.to_string(),
            })?;
            Some(bytes)
        }
    };
    let contact = profile
        .contact
        .as_ref()
        .map(|contact| format!(", questions to {contact}"))
        .unwrap_or_default();
    Ok(Fetched {
        name: format!("{} ({why}{contact})", profile.organisation),
        profile,
        trusted_root,
    })
}

fn check_signature(
    place: &str,
    profile: &[u8],
    signature: &[u8],
    identity: &str,
    issuer: &str,
    source: &ProfileArgs,
) -> Result<(), SetupError> {
    let (_, settings) = open_context()?;
    let trust = trust_files::load(source.trusted_root.as_deref(), &settings)
        .map_err(crate::context::ContextError::from)?;
    let rule = IdentityMatcher::new(
        vec![Pattern::exact("certificate identity", identity)?],
        vec![Pattern::exact("OIDC issuer", issuer)?],
        Vec::new(),
    )?;
    let subject = SignatureInput {
        payload: Some(profile),
        signature,
        hash: HashKind::Sha1,
    };
    let verdict = judge(
        &subject,
        &trust.root,
        &ExpectedIdentity::OneOf(vec![rule]),
        Search::No,
        &mut Recorder::deaf(),
    );
    let refused = |refusal: &Refusal| SetupError::Signature {
        place: place.to_owned(),
        why: format!("{refusal} [{}]", refusal.code()),
    };
    match verdict {
        Verdict::Good(_) => Ok(()),
        Verdict::NotWanted { refusal, .. }
        | Verdict::Refused(refusal)
        | Verdict::Undecided { refusal, .. } => Err(refused(&refusal)),
    }
}

impl From {
    fn of(text: &str) -> Result<Self, SetupError> {
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let refused = |why: &str| SetupError::Fetch {
            what: "the profile",
            place: text.to_owned(),
            why: why.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(refused(
                "an address with credentials or a fragment is not taken",
            ));
        }
        match url.scheme() {
            "https" => Ok(Self::Url(url)),
            "http" if is_loopback(&url) => Ok(Self::Url(url)),
            "http" => Err(refused("http is taken on loopback only: use https")),
            _ => Err(refused("an https address or a file is wanted")),
        }
    }

    /// The profile, or a file beside it.
    fn part(
        &self,
        what: &'static str,
        beside: Option<&str>,
        most: usize,
    ) -> Result<Vec<u8>, SetupError> {
        match self {
            Self::File(path) => {
                let path = match beside {
                    None => path.clone(),
                    Some(name) => path.with_file_name(name),
                };
                read(&path, most).map_err(|why| SetupError::Fetch {
                    what,
                    place: path.display().to_string(),
                    why,
                })
            }
            Self::Url(url) => {
                let mut url = url.clone();
                if let Some(name) = beside {
                    url.set_query(None);
                    url = url.join(name).map_err(|error| SetupError::Fetch {
                        what,
                        place: name.to_owned(),
                        why: error.to_string(),
                    })?;
                }
                get(what, &url, most)
            }
        }
    }

    /// The file of the same name with `.sig` at its end.
    fn signature(&self) -> Result<Vec<u8>, SetupError> {
        const WHAT: &str = "the profile's signature";
        match self {
            Self::File(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".sig");
                let path = PathBuf::from(name);
                read(&path, MAX_SIGNATURE).map_err(|why| SetupError::Fetch {
                    what: WHAT,
                    place: path.display().to_string(),
                    why,
                })
            }
            Self::Url(url) => {
                let mut url = url.clone();
                url.set_path(&format!("{}.sig", url.path()));
                get(WHAT, &url, MAX_SIGNATURE)
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn get(what: &'static str, url: &Url, most: usize) -> Result<Vec<u8>, SetupError> {
    let mut request = Request::get(what, url, most);
    request.accept = "*/*";
    // What is fetched is what was named: nobody sends us elsewhere.
    request.redirects = false;
    let answer = http_client().send(&request)?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(answer.unexpected().into())
    }
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("it has more than {most} bytes"));
    }
    Ok(bytes)
}
