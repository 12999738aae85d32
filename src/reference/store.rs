//! The directory of the reference servers: keys, certificates, ports. Made
//! once; a second process on the same DIR is refused.
//!
//! | name | mode | what |
//! |---|---|---|
//! | `keys/*.pem` | 0600 | private keys, PKCS#8 |
//! | `fulcio.pem`, `tsa.pem` | 0644 | certificate chains, the root last |
//! | `state.json` | 0644 | ports and times; written last: without it, no request was ever served |
//! | `lock` | 0600 | locked while a process uses DIR |
//! | `ct/`, `rekor/` | 0700 | the logs |
//!
//! The keys of the two root certificates sign once and are never written: an
//! attacker with a copy of DIR can issue certificates, but no CA certificates.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    error::CommandError,
    fulcio::issue::{self, CaCertificate, CaRole, IssuedBy},
    tsa::TIMESTAMP,
};
use gitseal_evidence::{UnixTime, certificate::Certificate, keys::PublicKey};
use p256::{
    elliptic_curve::Generate as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding},
};
use p384::ecdsa::signature::Signer as _;
use serde::{Deserialize, Serialize};

/// The services in the order of their ports.
pub const SERVICES: [&str; 5] = ["oidc", "fulcio", "ct", "rekor", "tsa"];
/// The index of the issuer in [`SERVICES`].
pub const OIDC: usize = 0;
/// The index of Fulcio in [`SERVICES`].
pub const FULCIO: usize = 1;
/// The index of the CT log in [`SERVICES`].
pub const CT: usize = 2;
/// The index of Rekor in [`SERVICES`].
pub const REKOR: usize = 3;
/// The index of the timestamp authority in [`SERVICES`].
pub const TSA: usize = 4;

/// The validity of the authorities' certificates: ten years.
const AUTHORITY_LIFETIME: i64 = 10 * 365 * 86_400;
/// The names of all files in DIR; another name means another directory.
const NAMES: [&str; 14] = [
    "keys",
    "ct",
    "rekor",
    "lock",
    "state.json",
    "fulcio.pem",
    "tsa.pem",
    "ctfe.pub",
    "rekor.pub",
    "trusted_root.json",
    "signing_config.json",
    "client_trust_config.json",
    "env",
    "gitconfig",
];

/// The state that is stored between starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub version: u32,
    /// The creation time of the keys, in Unix seconds.
    pub since: UnixTime,
    /// The IP address to listen on.
    pub address: std::net::IpAddr,
    /// The host name in the URLs.
    pub host: String,
    /// The ports, in the order of [`SERVICES`].
    pub ports: Vec<u16>,
}

impl State {
    /// Returns the URL of a service: `http://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// Returns an error if the service does not run.
    pub fn service_url(&self, service: usize) -> Result<String, CommandError> {
        match self.ports.get(service) {
            Some(port) if *port > 0 => Ok(format!("http://{}:{port}", self.host)),
            _ => {
                let name = SERVICES.get(service).unwrap_or(&"unknown");
                Err(format!("the {name} service is not running here").into())
            }
        }
    }

    /// Returns the URL for timestamp requests.
    ///
    /// # Errors
    ///
    /// Returns an error if the service does not run.
    pub fn timestamp_url(&self) -> Result<String, CommandError> {
        Ok(format!("{}{TIMESTAMP}", self.service_url(TSA)?))
    }
}

/// The keys of the services.
pub struct Keys {
    pub fulcio: p384::ecdsa::SigningKey,
    /// The key that signs SCTs and tree heads.
    pub ct: p256::ecdsa::SigningKey,
    /// The key that signs checkpoints and entry timestamps.
    pub rekor: p256::ecdsa::SigningKey,
    pub oidc: p256::ecdsa::SigningKey,
    pub tsa: p256::ecdsa::SigningKey,
}

/// An open and locked directory of servers.
pub struct ServerDirectory {
    pub path: PathBuf,
    pub keys: Keys,
    /// Issuing certificate and root.
    pub fulcio: Vec<Certificate>,
    /// Timestamp certificate and root.
    pub tsa: Vec<Certificate>,
    /// When the keys were made.
    pub since: UnixTime,
    pub state: Option<State>,
    _lock: File,
}

impl ServerDirectory {
    /// Opens or creates DIR, and locks it.
    ///
    /// # Errors
    ///
    /// Returns an error if DIR contains other files, another process uses it, or the
    /// disk fails.
    pub fn open(path: &Path, now: UnixTime) -> Result<Self, CommandError> {
        let path = std::path::absolute(path).map_err(|error| failed("find", path, &error))?;
        reject_other_files(&path)?;
        private_directory(&path)?;
        private_directory(&path.join("keys"))?;
        let lock = lock(&path.join("lock"))?;
        let state = match fs::read(path.join("state.json")) {
            Ok(bytes) => Some(parse_state(&path, &bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &path.join("state.json"), &error)),
        };
        if state.is_none() {
            // A start that did not write the state has served no request: its
            // keys are replaced.
            make(&path, now)?;
        }
        let keys = Keys {
            fulcio: p384::ecdsa::SigningKey::from_pkcs8_pem(&key(&path, "fulcio")?)
                .map_err(|_| unreadable_key(&path, "fulcio"))?,
            ct: p256_key(&path, "ct")?,
            rekor: p256_key(&path, "rekor")?,
            oidc: p256_key(&path, "oidc")?,
            tsa: p256_key(&path, "tsa")?,
        };
        let fulcio = chain(&path, "fulcio.pem")?;
        let tsa = chain(&path, "tsa.pem")?;
        let since = fulcio.first().map_or(now, Certificate::not_before);
        let fits = |chain: &[Certificate], spki: Option<Vec<u8>>| {
            chain.len() == 2 && chain.first().map(|c| c.spki().to_vec()) == spki
        };
        if !fits(&fulcio, spki(keys.fulcio.verifying_key()))
            || !fits(&tsa, spki(keys.tsa.verifying_key()))
        {
            return Err(CommandError::new(
                format!(
                    "the certificates in {} do not match its keys",
                    path.display()
                ),
                "restore both from one backup, or start with an empty directory",
            ));
        }
        Ok(Self {
            path,
            keys,
            fulcio,
            tsa,
            since,
            state,
            _lock: lock,
        })
    }

    /// Writes `state.json`, which marks DIR as complete.
    ///
    /// # Errors
    ///
    /// Returns an error if the disk fails.
    pub fn save_state(&self, state: &State) -> Result<(), CommandError> {
        let json = serde_json::to_vec_pretty(state)
            .map_err(|error| CommandError::new(error.to_string(), ""))?;
        self.write("state.json", &json)
    }

    /// Replaces a file in DIR atomically. Its mode lets everyone read it, but only the
    /// owner can enter DIR.
    ///
    /// # Errors
    ///
    /// Returns an error if the disk fails.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CommandError> {
        replace(&self.path.join(name), bytes, 0o644)
    }
}

/// Reads the state that another process has written, without locking DIR.
///
/// # Errors
///
/// Returns an error if the state is missing or malformed.
pub fn read_state(path: &Path) -> Result<State, CommandError> {
    let bytes = fs::read(path.join("state.json")).map_err(|error| {
        CommandError::new(
            format!(
                "{} is not a gitseal-reference directory: {error}",
                path.display()
            ),
            "start the servers first with 'gitseal-reference serve --dir DIR'",
        )
    })?;
    parse_state(path, &bytes)
}

/// Reads the key that signs identity tokens.
///
/// # Errors
///
/// Returns an error if the key is missing or cannot be read.
pub fn token_key(path: &Path) -> Result<p256::ecdsa::SigningKey, CommandError> {
    p256_key(path, "oidc")
}

fn parse_state(path: &Path, bytes: &[u8]) -> Result<State, CommandError> {
    let problem = |why: String| {
        CommandError::new(
            format!("cannot read {}: {why}", path.join("state.json").display()),
            "restore it from a backup, or start with an empty directory",
        )
    };
    let state: State = serde_json::from_slice(bytes).map_err(|error| problem(error.to_string()))?;
    if state.version != 1 || state.ports.len() != SERVICES.len() {
        return Err(problem(
            "it was written by another version of this program".into(),
        ));
    }
    Ok(state)
}

/// Rejects a directory that contains files of other programs.
fn reject_other_files(path: &Path) -> Result<(), CommandError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", path, &error)),
    };
    for entry in entries {
        let name = entry
            .map_err(|error| failed("read", path, &error))?
            .file_name();
        let known = name
            .to_str()
            .is_some_and(|name| NAMES.contains(&name) || name.starts_with(".tmp"));
        if !known {
            return Err(CommandError::new(
                format!(
                    "{} contains {name:?}, which gitseal-reference did not create",
                    path.display()
                ),
                "use a directory that is empty or does not exist yet",
            ));
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, CommandError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options
        .open(path)
        .map_err(|error| failed("open", path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CommandError::new(
            format!(
                "another process uses {}",
                path.parent().unwrap_or(path).display()
            ),
            "stop it first, or use another directory",
        )),
        Err(TryLockError::Error(error)) => Err(failed("lock", path, &error)),
    }
}

/// Creates new keys and certificates in DIR.
fn make(path: &Path, now: UnixTime) -> Result<(), CommandError> {
    let fulcio = p384::ecdsa::SigningKey::generate();
    let tsa = p256::ecdsa::SigningKey::generate();
    let public = |spki: Option<Vec<u8>>| {
        spki.and_then(|spki| PublicKey::from_spki(&spki).ok())
            .ok_or_else(|| CommandError::new("cannot read back a new key", ""))
    };
    let chain_of = |role, name: &str, key: PublicKey| -> Result<String, CommandError> {
        let root_key = p384::ecdsa::SigningKey::generate();
        let root = public(spki(root_key.verifying_key()))?;
        let sign = |tbs: &[u8]| -> Vec<u8> {
            let signature: p384::ecdsa::DerSignature = root_key.sign(tbs);
            signature.as_bytes().to_vec()
        };
        let problem = |error: issue::IssueError| CommandError::new(error.to_string(), "");
        let organization = "gitseal reference";
        let root_name = format!("{name} root");
        let issuer = IssuedBy {
            name: issue::name(organization, &root_name).map_err(problem)?,
            key: root.clone(),
        };
        let validity = (now, now.saturating_add(AUTHORITY_LIFETIME));
        let certificate = |role, common_name: &str, key: &PublicKey| {
            let mut serial = [0; 20];
            getrandom::fill(&mut serial)
                .map_err(|error| CommandError::new(format!("no entropy: {error}"), ""))?;
            let der = CaCertificate {
                role,
                organization,
                common_name,
                key,
                serial,
                validity,
            }
            .certificate(&issuer, &sign)
            .map_err(problem)?;
            Certificate::from_der(&der)
                .map(|certificate| certificate.to_pem())
                .map_err(|error| CommandError::new(error.to_string(), ""))
        };
        Ok(certificate(role, name, &key)? + &certificate(CaRole::Root, &root_name, &root)?)
    };
    let fulcio_chain = chain_of(
        CaRole::Issuing,
        "gitseal reference fulcio",
        public(spki(fulcio.verifying_key()))?,
    )?;
    let tsa_chain = chain_of(
        CaRole::TimeStamping,
        "gitseal reference timestamps",
        public(spki(tsa.verifying_key()))?,
    )?;
    let private = |name: &str, pem: Result<_, p256::pkcs8::Error>| -> Result<(), CommandError> {
        let pem: zeroize::Zeroizing<String> = pem.map_err(|error| {
            CommandError::new(format!("cannot encode the key {name}: {error}"), "")
        })?;
        replace(
            &path.join("keys").join(format!("{name}.pem")),
            pem.as_bytes(),
            0o600,
        )
    };
    private("fulcio", fulcio.to_pkcs8_pem(LineEnding::LF))?;
    private("tsa", tsa.to_pkcs8_pem(LineEnding::LF))?;
    for name in ["ct", "rekor", "oidc"] {
        let key = p256::ecdsa::SigningKey::generate();
        private(name, key.to_pkcs8_pem(LineEnding::LF))?;
    }
    replace(&path.join("fulcio.pem"), fulcio_chain.as_bytes(), 0o644)?;
    replace(&path.join("tsa.pem"), tsa_chain.as_bytes(), 0o644)
}

/// Encodes the SubjectPublicKeyInfo of a key in DER.
pub fn spki(key: &impl p256::pkcs8::EncodePublicKey) -> Option<Vec<u8>> {
    key.to_public_key_der()
        .ok()
        .map(|document| document.as_bytes().to_vec())
}

fn key(path: &Path, name: &str) -> Result<zeroize::Zeroizing<String>, CommandError> {
    let path = path.join("keys").join(format!("{name}.pem"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path)
            .map_err(|error| failed("read", &path, &error))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(CommandError::new(
                format!(
                    "{} is readable by other users (mode {:o})",
                    path.display(),
                    mode & 0o777
                ),
                "if no other user can have read it: chmod 600; otherwise start with an empty directory",
            ));
        }
    }
    fs::read_to_string(&path)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| failed("read", &path, &error))
}

fn p256_key(path: &Path, name: &str) -> Result<p256::ecdsa::SigningKey, CommandError> {
    p256::ecdsa::SigningKey::from_pkcs8_pem(&key(path, name)?)
        .map_err(|_| unreadable_key(path, name))
}

fn unreadable_key(path: &Path, name: &str) -> CommandError {
    CommandError::new(
        format!(
            "{} is not a private key of these servers",
            path.join("keys").join(format!("{name}.pem")).display()
        ),
        "restore it from a backup, or start with an empty directory",
    )
}

fn chain(path: &Path, name: &str) -> Result<Vec<Certificate>, CommandError> {
    let path = path.join(name);
    let pem = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
    Certificate::pem_chain(&pem).map_err(|error| {
        CommandError::new(
            format!("{}: {error}", path.display()),
            "restore it from a backup, or start with an empty directory",
        )
    })
}

fn private_directory(path: &Path) -> Result<(), CommandError> {
    fs::create_dir_all(path).map_err(|error| failed("create", path, &error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|error| failed("restrict permissions of", path, &error))?;
    }
    Ok(())
}

/// Writes a temporary file, flushes it, renames it and flushes the directory.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CommandError> {
    let fail = |error: io::Error| failed("write", path, &error);
    let parent = path.parent().unwrap_or(path);
    let mut file = tempfile::Builder::new()
        .prefix(".tmp")
        .tempfile_in(parent)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(mode))
            .map_err(fail)?;
    }
    #[cfg(not(unix))]
    let _ = mode;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    #[cfg(unix)]
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(fail)?;
    Ok(())
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(format!("cannot {doing} {}: {error}", path.display()), "")
}
