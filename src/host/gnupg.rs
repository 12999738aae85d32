//! The command line, the status lines and the signature format that Git and other
//! callers of `gpgsm` use. In helper mode this is the only writer of standard output.
//!
//! The command line is parsed as tolerantly as gpgsm parses it: known options have an
//! effect, every other option is skipped together with its value. The status lines are
//! those of GnuPG's `doc/DETAILS`.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use gitseal_evidence::{UnixTime, armor::MAX_ARMOR, keys::SignatureAlgorithm, object::MAX_OBJECT};
use gitseal_terminal::{self as terminal, Escape};

/// The maximum number of arguments.
pub const MAX_ARGUMENTS: usize = 1024;
/// The maximum size of a payload: an object without its signature.
pub const MAX_PAYLOAD: usize = MAX_OBJECT;

/// The operation that the caller requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelperRequest {
    Sign(SignOptions),
    Verify(VerifyOptions),
    /// There are no keys that outlive their signature.
    ListKeys,
    Version,
    Help,
}

/// The options of a request to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignOptions {
    /// The signature does not contain the content (`-b`).
    pub detached: bool,
    /// The signature is PEM (`-a`), otherwise DER.
    pub armor: bool,
    /// The file to sign, if it is not standard input.
    pub file: Option<PathBuf>,
    /// The file for the signature, if it is not standard output.
    pub output: Option<PathBuf>,
    pub status: StatusTarget,
}

/// The options of a request to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyOptions {
    pub signature: InputSource,
    /// The signed content, unless the signature contains it.
    pub content: Option<InputSource>,
    pub status: StatusTarget,
}

/// The source of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSource {
    Standard,
    File(PathBuf),
}

/// The destination of status lines (`--status-fd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusTarget {
    None,
    Output,
    Error,
    /// A descriptor that the caller opened.
    Descriptor(u32),
}

/// Errors in the command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    #[error("{option} needs a value")]
    NoValue { option: String },
    #[error("{value:?} is not a file descriptor")]
    Descriptor { value: String },
    /// An operation of gpgsm that this program does not have.
    #[error("unsupported option {option}; expected --sign or --verify")]
    Unsupported { option: String },
    #[error("too many files: {files}")]
    TooManyFiles { files: usize },
    #[error("{found} arguments; the limit is {MAX_ARGUMENTS}")]
    TooManyArguments { found: usize },
    #[error("missing operation; expected --sign or --verify")]
    NoOperation,
}

/// Long options with a value: of gpgsm, and those of gpg that callers pass as well.
const WITH_VALUE: &[&str] = &[
    "agent-program",
    "attribute-fd",
    "attribute-file",
    "base64-charset",
    "cert-digest-algo",
    "charset",
    "chuid",
    "cipher-algo",
    "command-fd",
    "command-file",
    "comment",
    "compatibility-flags",
    "completes-needed",
    "compress-algo",
    "compress-level",
    "debug",
    "debug-level",
    "default-key",
    "default-recipient",
    "digest-algo",
    "dirmngr-program",
    "disable-cipher-algo",
    "disable-pubkey-algo",
    "display",
    "display-charset",
    "encrypt-to",
    "extra-digest-algo",
    "faked-system-time",
    "gpgconf",
    "group",
    "hidden-recipient",
    "homedir",
    "include-certs",
    "input-size-hint",
    "key-origin",
    "keyedit",
    "keyid-format",
    "keyring",
    "keyserver",
    "keyserver-options",
    "lc-ctype",
    "lc-messages",
    "list-options",
    "local-user",
    "log-file",
    "logger-fd",
    "logger-file",
    "marginals-needed",
    "max-output",
    "min-rsa-length",
    "options",
    "output",
    "p12-charset",
    "passphrase",
    "passphrase-fd",
    "passphrase-file",
    "passphrase-repeat",
    "personal-cipher-preferences",
    "personal-compress-preferences",
    "personal-digest-preferences",
    "pinentry-mode",
    "policy-file",
    "prefer-system-dirmngr",
    "primary-keyring",
    "protect-tool-program",
    "recipient",
    "request-origin",
    "s2k-cipher-algo",
    "s2k-count",
    "s2k-digest-algo",
    "s2k-mode",
    "secret-keyring",
    "sender",
    "set-filename",
    "set-notation",
    "sig-notation",
    "sig-policy-url",
    "status-fd",
    "status-file",
    "trust-model",
    "trusted-key",
    "ttyname",
    "ttytype",
    "validation-model",
    "verify-options",
    "weak-digest",
    "xauthority",
];

/// Long options for other operations.
const OTHER_COMMANDS: &[&str] = &[
    "clear-sign",
    "clearsign",
    "decrypt",
    "delete-keys",
    "encrypt",
    "export",
    "gen-key",
    "generate-key",
    "import",
    "learn-card",
    "passwd",
    "server",
    "symmetric",
];

/// Short options with a value, attached or as the next argument.
const SHORT_WITH_VALUE: &str = "uorNz";

/// Returns whether a flag belongs to `gitseal verify`. Ignoring it like an unknown
/// option of gpgsm would verify less than was requested.
fn is_of_commands(name: &str) -> bool {
    name.starts_with("certificate-")
        || ["match-committer", "trusted-root", "offline"].contains(&name)
}

/// Parses a command line without the name of the program.
///
/// # Errors
/// Returns [`UsageError`] if it cannot be served.
pub fn parse(arguments: &[OsString]) -> Result<HelperRequest, UsageError> {
    if arguments.len() > MAX_ARGUMENTS {
        return Err(UsageError::TooManyArguments {
            found: arguments.len(),
        });
    }
    let mut line = Line::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let bytes = argument.as_encoded_bytes();
        if bytes == b"--" {
            line.files.extend(rest.by_ref().cloned());
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            line.long(&String::from_utf8_lossy(long), &mut rest)?;
        } else if bytes.len() > 1 && bytes.first() == Some(&b'-') {
            line.short(argument, &mut rest)?;
        } else {
            line.files.push(argument.clone());
        }
    }
    line.request()
}

/// The options that were parsed so far.
#[derive(Default)]
struct Line {
    sign: bool,
    detached: bool,
    armor: bool,
    verify: bool,
    /// `-v`: gitsign's --verify and gpgsm's --verbose.
    short_v: bool,
    list: bool,
    version: bool,
    help: bool,
    other: Option<String>,
    status: Option<StatusTarget>,
    output: Option<PathBuf>,
    files: Vec<OsString>,
}

impl Line {
    fn long(
        &mut self,
        text: &str,
        rest: &mut std::slice::Iter<'_, OsString>,
    ) -> Result<(), UsageError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None if WITH_VALUE.contains(&text) => {
                let value = rest.next().cloned().ok_or_else(|| UsageError::NoValue {
                    option: format!("--{text}"),
                })?;
                (text, Some(value))
            }
            None => (text, None),
        };
        match (name, value) {
            ("sign", _) => self.sign = true,
            ("detach-sign" | "detached-sign", _) => self.detached = true,
            ("armor" | "armour", _) => self.armor = true,
            ("verify", _) => self.verify = true,
            ("version", _) => self.version = true,
            ("help" | "dump-options" | "warranty", _) => self.help = true,
            ("status-fd", Some(value)) => self.status = Some(descriptor(&value)?),
            ("output", Some(value)) => self.output = output(&value),
            (name, _) if name.starts_with("list-") || name == "fingerprint" => self.list = true,
            (name, _) if OTHER_COMMANDS.contains(&name) || is_of_commands(name) => {
                self.other = Some(format!("--{name}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn short(
        &mut self,
        argument: &OsStr,
        rest: &mut std::slice::Iter<'_, OsString>,
    ) -> Result<(), UsageError> {
        let text = argument.to_string_lossy();
        let mut letters = text.chars();
        letters.next();
        while let Some(letter) = letters.next() {
            if SHORT_WITH_VALUE.contains(letter) {
                let attached = letters.as_str();
                let value = if attached.is_empty() {
                    rest.next().cloned().ok_or_else(|| UsageError::NoValue {
                        option: format!("-{letter}"),
                    })?
                } else {
                    OsString::from(attached)
                };
                if letter == 'o' {
                    self.output = output(&value);
                }
                return Ok(());
            }
            match letter {
                's' => self.sign = true,
                'b' => self.detached = true,
                'a' => self.armor = true,
                'v' => self.short_v = true,
                'k' | 'K' => self.list = true,
                'h' => self.help = true,
                'e' | 'd' | 'c' => self.other = Some(format!("-{letter}")),
                _ => {}
            }
        }
        Ok(())
    }

    fn request(self) -> Result<HelperRequest, UsageError> {
        let status = self.status.unwrap_or(StatusTarget::None);
        let signs = self.sign || self.detached;
        if self.version {
            return Ok(HelperRequest::Version);
        }
        if self.help {
            return Ok(HelperRequest::Help);
        }
        if let Some(option) = self.other {
            return Err(UsageError::Unsupported { option });
        }
        if signs && !self.verify {
            let file = match self.files.as_slice() {
                [] => None,
                [one] if one == "-" => None,
                [one] => Some(PathBuf::from(one)),
                several => {
                    return Err(UsageError::TooManyFiles {
                        files: several.len(),
                    });
                }
            };
            return Ok(HelperRequest::Sign(SignOptions {
                detached: self.detached,
                armor: self.armor,
                file,
                output: self.output,
                status,
            }));
        }
        if self.verify || (self.short_v && !self.list) {
            let source = |name: &OsString| {
                if name == "-" {
                    InputSource::Standard
                } else {
                    InputSource::File(PathBuf::from(name))
                }
            };
            let (signature, content) = match self.files.as_slice() {
                [] => (InputSource::Standard, None),
                [signature] => (source(signature), None),
                [signature, content] => (source(signature), Some(source(content))),
                several => {
                    return Err(UsageError::TooManyFiles {
                        files: several.len(),
                    });
                }
            };
            return Ok(HelperRequest::Verify(VerifyOptions {
                signature,
                content,
                status,
            }));
        }
        if self.list {
            return Ok(HelperRequest::ListKeys);
        }
        Err(UsageError::NoOperation)
    }
}

fn output(value: &OsStr) -> Option<PathBuf> {
    (value != "-").then(|| PathBuf::from(value))
}

fn descriptor(value: &OsStr) -> Result<StatusTarget, UsageError> {
    let text = value.to_string_lossy();
    match text.parse::<i32>() {
        Ok(1) => Ok(StatusTarget::Output),
        Ok(2) => Ok(StatusTarget::Error),
        Ok(negative) if negative < 0 => Ok(StatusTarget::None),
        Ok(number) if number > 2 => Ok(StatusTarget::Descriptor(number.unsigned_abs())),
        _ => Err(UsageError::Descriptor {
            value: text.into_owned(),
        }),
    }
}

/// Reads the signature to verify.
///
/// # Errors
/// Returns an error if it is not readable or larger than [`MAX_ARMOR`].
pub fn read_signature(from: &InputSource) -> io::Result<Vec<u8>> {
    read(from, MAX_ARMOR)
}

/// Reads the content of a signature.
///
/// # Errors
/// Returns an error if it is not readable or larger than [`MAX_PAYLOAD`].
pub fn read_payload(from: &InputSource) -> io::Result<Vec<u8>> {
    read(from, MAX_PAYLOAD)
}

fn read(from: &InputSource, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = (limit as u64).saturating_add(1);
    match from {
        InputSource::Standard => io::stdin().lock().take(most).read_to_end(&mut bytes)?,
        InputSource::File(path) => File::open(path)?.take(most).read_to_end(&mut bytes)?,
    };
    if bytes.len() > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than the limit of {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// The signer on a status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSigner {
    /// The SHA-1 of the certificate in lower-case hex: a name, not a proof.
    pub fingerprint: String,
    /// The identity as the certificate contains it, unescaped.
    pub name: String,
    pub algorithm: SignatureAlgorithm,
}

/// The trust of Git in a valid signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusTrust {
    /// The signer is the expected identity.
    Fully,
    /// No expected identity is set.
    Undefined,
    /// The signer is not the expected identity. Git 2.39 looks at the exit code alone,
    /// later versions at this.
    Never,
}

/// The key ID if no signer is known.
const NO_KEY: &str = "0000000000000000";

// Git reads the result from exactly one of `GOODSIG`, `BADSIG` and `ERRSIG` (and rejects
// two of them), the trust from `TRUST_*`, the name and the fingerprint from `GOODSIG`
// and `VALIDSIG`. Every result has a `TRUST_*`: without one, Git 2.39 aborts on `%GT`.

/// Returns the lines of a valid signature: `GOODSIG` and the complete `VALIDSIG`, which
/// has fingerprint, date, seconds, expiry (none), version, reserved, key and hash
/// algorithm, class, primary key.
#[must_use]
pub fn valid_signature(signer: &StatusSigner, time: UnixTime, trust: StatusTrust) -> String {
    let fingerprint = &signer.fingerprint;
    let name = status_name(&signer.name);
    let (key, hash) = numbers(signer.algorithm);
    let date = date(time);
    let trust = match trust {
        StatusTrust::Fully => "FULLY",
        StatusTrust::Undefined => "UNDEFINED",
        StatusTrust::Never => "NEVER",
    };
    format!(
        "[GNUPG:] NEWSIG\n\
         [GNUPG:] GOODSIG {fingerprint} {name}\n\
         [GNUPG:] VALIDSIG {fingerprint} {date} {time} 0 0 0 {key} {hash} 00 {fingerprint}\n\
         [GNUPG:] TRUST_{trust} 0 shell\n"
    )
}

/// Returns the lines of a signature that does not verify, with the signer that the
/// unverified certificate names.
#[must_use]
pub fn bad_signature(signer: Option<&StatusSigner>) -> String {
    let (fingerprint, name) = match signer {
        Some(signer) => (signer.fingerprint.as_str(), status_name(&signer.name)),
        None => (NO_KEY, "unknown".to_owned()),
    };
    format!("[GNUPG:] NEWSIG\n[GNUPG:] BADSIG {fingerprint} {name}\n[GNUPG:] TRUST_NEVER 0 shell\n")
}

/// Returns the lines of a signature that lacks evidence, with the signer that the
/// unverified certificate names.
#[must_use]
pub fn unchecked_signature(signer: Option<&StatusSigner>) -> String {
    // keyid pkalgo hashalgo class time rc fingerprint; rc 9: something is missing.
    let line = match signer {
        Some(signer) => {
            let (key, hash) = numbers(signer.algorithm);
            let fingerprint = &signer.fingerprint;
            format!("{fingerprint} {key} {hash} 00 0 9 {fingerprint}")
        }
        None => format!("{NO_KEY} 0 0 00 0 9 -"),
    };
    format!("[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG {line}\n[GNUPG:] TRUST_UNDEFINED 0 shell\n")
}

/// Returns a name that is never empty: Git would use the next line instead.
fn status_name(name: &str) -> String {
    let name = terminal::escape(name, Escape::Percent);
    if name.trim().is_empty() {
        return "unknown".to_owned();
    }
    name
}

fn date(time: UnixTime) -> String {
    jiff::Timestamp::from_second(time)
        .map(|time| time.strftime("%Y-%m-%d").to_string())
        .unwrap_or_else(|_| "1970-01-01".to_owned())
}

/// Returns OpenPGP's numbers of the key and hash algorithms (RFC 9580 §9.1, §9.5).
fn numbers(algorithm: SignatureAlgorithm) -> (u8, u8) {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => (19, 8),
        SignatureAlgorithm::EcdsaSha384 => (19, 9),
        SignatureAlgorithm::EcdsaSha512 => (19, 10),
        SignatureAlgorithm::RsaPkcs1Sha256 => (1, 8),
        SignatureAlgorithm::RsaPkcs1Sha384 => (1, 9),
        SignatureAlgorithm::RsaPkcs1Sha512 => (1, 10),
        SignatureAlgorithm::Ed25519 => (22, 10),
    }
}

/// An open destination of status lines.
pub enum Status {
    None,
    Output,
    Error,
    File(File),
}

impl Status {
    /// Opens the destination of status lines.
    ///
    /// # Errors
    /// Returns the error if the descriptor is not open for writing.
    pub fn open(target: StatusTarget) -> io::Result<Self> {
        match target {
            StatusTarget::None => Ok(Self::None),
            StatusTarget::Output => Ok(Self::Output),
            StatusTarget::Error => Ok(Self::Error),
            StatusTarget::Descriptor(number) => inherited(number).map(Self::File),
        }
    }

    /// Writes whole lines, all of them or an error.
    ///
    /// # Errors
    /// Returns the error if the destination is closed or full. The caller must fail
    /// then: Git does not get the result.
    pub fn write(&mut self, lines: &str) -> io::Result<()> {
        fn all(to: &mut impl io::Write, lines: &str) -> io::Result<()> {
            to.write_all(lines.as_bytes())?;
            to.flush()
        }
        match self {
            Self::None => Ok(()),
            Self::Output => all(&mut io::stdout().lock(), lines),
            Self::Error => all(&mut io::stderr().lock(), lines),
            Self::File(file) => all(file, lines),
        }
    }

    /// Writes that signing starts. Git expects a status line before `SIG_CREATED`.
    ///
    /// # Errors
    /// Returns the error as [`write`](Self::write) does.
    pub fn begin_signing(&mut self) -> io::Result<()> {
        self.write("[GNUPG:] BEGIN_SIGNING\n")
    }

    /// Writes that a signature follows.
    ///
    /// # Errors
    /// Returns the error as [`write`](Self::write) does.
    pub fn sig_created(
        &mut self,
        detached: bool,
        algorithm: SignatureAlgorithm,
        time: UnixTime,
        fingerprint: &str,
    ) -> io::Result<()> {
        let kind = if detached { 'D' } else { 'S' };
        let (key, hash) = numbers(algorithm);
        self.write(&format!(
            "[GNUPG:] SIG_CREATED {kind} {key} {hash} 00 {time} {fingerprint}\n"
        ))
    }
}

/// Opens a descriptor of the caller by its number.
#[cfg(unix)]
fn inherited(number: u32) -> io::Result<File> {
    fs::OpenOptions::new()
        .append(true)
        .open(format!("/dev/fd/{number}"))
}

/// Returns an error: Windows does not inherit descriptors by number.
#[cfg(not(unix))]
fn inherited(number: u32) -> io::Result<File> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("descriptor {number} cannot be used on this system, only 1 and 2"),
    ))
}

/// Writes the signature to standard output, or to the file, whole or not at all.
///
/// # Errors
/// Returns the error if it is not written completely.
pub fn write_signature(signature: &[u8], output: Option<&Path>) -> io::Result<()> {
    match output {
        None => terminal::print_bytes(signature),
        Some(path) => {
            let directory = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            // A pipe or a device cannot be replaced.
            if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                return fs::OpenOptions::new()
                    .write(true)
                    .open(path)?
                    .write_all(signature);
            }
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(signature)?;
            file.flush()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
