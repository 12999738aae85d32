//! Loads the trusted root from local files: a `trusted_root.json`, or gitsign's single
//! files in place of parts of the built-in one, or the built-in one.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::settings::{Origin, Setting, Settings};
use gitseal_evidence::trusted_root::{
    MAX_TRUSTED_ROOT, PUBLIC_GOOD, TrustedRoot, TrustedRootError,
};

/// Errors while loading the trusted root. Nothing can be verified without it.
#[derive(Debug, thiserror::Error)]
pub enum TrustedRootLoadError {
    /// The file is not readable.
    #[error("cannot read {}: {error} ({origin})", .path.display())]
    Unreadable {
        path: PathBuf,
        origin: Box<Origin>,
        error: io::Error,
    },
    /// The file is not a trusted root.
    #[error("{}: {error} ({origin})", .path.display())]
    Malformed {
        path: PathBuf,
        origin: Box<Origin>,
        error: Box<TrustedRootError>,
    },
    /// The built-in trusted root is damaged.
    #[error("the built-in trusted root: {0}")]
    BuiltIn(Box<TrustedRootError>),
}

/// A trusted root and where it is from.
#[derive(Debug, Clone)]
pub struct LoadedTrustedRoot {
    pub root: TrustedRoot,
    /// The display text for its origin.
    pub source: String,
}

/// Replaces a part of the trusted root with the content of a file.
type Replace<'a> = &'a dyn Fn(&mut TrustedRoot, &[u8]) -> Result<(), TrustedRootError>;

/// Loads the trusted root: `flag` (`--trusted-root`), else `trustedRoot`, else the
/// built-in one with the single files in place of their parts.
///
/// # Errors
/// Returns [`TrustedRootLoadError`] if a file is not readable or malformed. Nothing
/// replaces a file that was named.
pub fn load(
    flag: Option<&Path>,
    settings: &Settings,
) -> Result<LoadedTrustedRoot, TrustedRootLoadError> {
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
            Ok(root) => Ok(LoadedTrustedRoot { root, source }),
            Err(error) => Err(TrustedRootLoadError::Malformed {
                path,
                origin: Box::new(origin),
                error: Box::new(error),
            }),
        };
    }
    let mut root = TrustedRoot::from_json(PUBLIC_GOOD.as_bytes())
        .map_err(|error| TrustedRootLoadError::BuiltIn(Box::new(error)))?;
    let mut source = String::from("the public Sigstore (built in)");
    let mut replace = |setting: &Setting<Option<PathBuf>>,
                       what: &str,
                       with: Replace<'_>|
     -> Result<(), TrustedRootLoadError> {
        let Some((path, origin)) = named(setting) else {
            return Ok(());
        };
        let bytes = read(&path, &origin)?;
        source.push_str(&format!(", {what} of {}", path.display()));
        with(&mut root, &bytes).map_err(|error| TrustedRootLoadError::Malformed {
            path,
            origin: Box::new(origin),
            error: Box::new(error),
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
    Ok(LoadedTrustedRoot { root, source })
}

fn named(setting: &Setting<Option<PathBuf>>) -> Option<(PathBuf, Origin)> {
    let path = setting.value.clone()?;
    Some((path, setting.origin.clone()))
}

/// Invalid UTF-8 is not PEM either; the parser reports it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read(path: &Path, origin: &Origin) -> Result<Vec<u8>, TrustedRootLoadError> {
    let mut bytes = Vec::new();
    // One byte more than is accepted, so that the parser rejects a larger file.
    let most = (MAX_TRUSTED_ROOT as u64).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| TrustedRootLoadError::Unreadable {
            path: path.to_owned(),
            origin: Box::new(origin.clone()),
            error,
        })?;
    Ok(bytes)
}
