//! The trust root, out of this machine's files: `trusted_root.json`, or gitsign's
//! single files in place of parts of the built-in one, or the built-in one.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::settings::{Origin, Setting, Settings};
use gitseal_evidence::trusted_root::{
    MAX_TRUSTED_ROOT, PUBLIC_GOOD, TrustedRoot, TrustedRootError,
};

/// A file of trust that cannot be used: nothing can be verified then.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not readable.
    #[error("{} cannot be read: {error} ({origin})", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Who named it.
        origin: Box<Origin>,
        /// Why.
        error: io::Error,
    },
    /// Readable, and not what it should be.
    #[error("{}: {refusal} ({origin})", .path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Who named it.
        origin: Box<Origin>,
        /// Why.
        refusal: Box<TrustedRootError>,
    },
    /// The built-in root is damaged.
    #[error("the built-in trust root: {0}")]
    BuiltIn(Box<TrustedRootError>),
}

/// A trust root and where it is from, in words.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Who is believed.
    pub root: TrustedRoot,
    /// Where from, for people.
    pub source: String,
}

/// Puts the content of a file in place of a part of the trust root.
type Replace<'a> = &'a dyn Fn(&mut TrustedRoot, &[u8]) -> Result<(), TrustedRootError>;

/// Reads the trust root: `flag` (`--trusted-root`), else `trustedRoot`, else the
/// built-in one with the single files in place of their parts.
///
/// # Errors
/// A file that is named cannot be read or used. There is no falling back: who
/// names a file means it.
pub fn load(flag: Option<&Path>, settings: &Settings) -> Result<Trust, TrustError> {
    let file = match flag {
        Some(path) => Some((
            path.to_owned(),
            Origin::Flag {
                name: "--trusted-root",
            },
        )),
        None => named(&settings.trusted_root),
    };
    if let Some((path, origin)) = file {
        let bytes = read(&path, &origin)?;
        let source = path.display().to_string();
        return match TrustedRoot::from_json(&bytes) {
            Ok(root) => Ok(Trust { root, source }),
            Err(refusal) => Err(TrustError::Refused {
                path,
                origin: Box::new(origin),
                refusal: Box::new(refusal),
            }),
        };
    }
    let mut root = TrustedRoot::from_json(PUBLIC_GOOD.as_bytes())
        .map_err(|refusal| TrustError::BuiltIn(Box::new(refusal)))?;
    let mut source = String::from("the public Sigstore (built in)");
    let mut replace = |setting: &Setting<Option<PathBuf>>,
                       what: &str,
                       with: Replace<'_>|
     -> Result<(), TrustError> {
        let Some((path, origin)) = named(setting) else {
            return Ok(());
        };
        let bytes = read(&path, &origin)?;
        source.push_str(&format!(", {what} of {}", path.display()));
        with(&mut root, &bytes).map_err(|refusal| TrustError::Refused {
            path,
            origin: Box::new(origin),
            refusal: Box::new(refusal),
        })
    };
    replace(&settings.fulcio_root, "authority", &|root, bytes| {
        root.set_authorities_pem(&text(bytes))
    })?;
    let base_url = settings.rekor_lookup.value.as_str();
    replace(&settings.rekor_public_key, "log", &|root, bytes| {
        root.set_log_pem(&text(bytes), base_url)
    })?;
    replace(&settings.ct_log_public_key, "CT log", &|root, bytes| {
        root.set_ct_log_key(bytes)
    })?;
    replace(
        &settings.timestamp_cert_chain,
        "timestamp authority",
        &|root, bytes| root.set_timestamp_authority_pem(&text(bytes)),
    )?;
    Ok(Trust { root, source })
}

fn named(setting: &Setting<Option<PathBuf>>) -> Option<(PathBuf, Origin)> {
    let path = setting.value.clone()?;
    Some((path, setting.origin.clone()))
}

/// What is no UTF-8 is no PEM either; the reader says so.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read(path: &Path, origin: &Origin) -> Result<Vec<u8>, TrustError> {
    let mut bytes = Vec::new();
    // One byte more than is taken, so that the reader refuses what is larger.
    let most = (MAX_TRUSTED_ROOT as u64).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| TrustError::Unreadable {
            path: path.to_owned(),
            origin: Box::new(origin.clone()),
            error,
        })?;
    Ok(bytes)
}
