//! The trust root: which logs, CT logs, certificate authorities and timestamp
//! authorities are believed, and when. One type, whether it comes from a
//! `trusted_root.json` (Sigstore protobuf-specs, `sigstore_trustroot.proto`),
//! from gitsign's single PEM files, or is the built-in one.
//!
//! A key of a kind that is not known here is left out and named in
//! [`TrustedRoot::left_out`], so that a newer file still serves; anything else
//! that cannot be read refuses the whole file.
//!
//! Not checked here: signatures of any kind (`keys.rs`, `chain.rs`,
//! `timestamp.rs`), and whether the file itself is genuine: it is the caller
//! who says which file to believe.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Deserializer};

use crate::{
    UnixTime,
    certificate::Certificate,
    chain,
    checkpoint::{self, RekorVersion},
    keys::{self, KeyAlgorithm, PublicKey},
    memo::Memo,
    refusal::{Reason, codes, reason},
    time::{self, rfc3339},
};

/// The largest trust root that is read, in bytes.
pub const MAX_TRUSTED_ROOT: usize = 1 << 20;
/// The most logs, authorities or timestamp authorities of one kind.
pub const MAX_ENTRIES: usize = 64;
/// The longest chain of one authority, the root included.
pub const MAX_CHAIN: usize = 8;

/// The most paths that are followed between the certificates of a PEM file.
const MAX_STEPS: usize = 4096;

/// The media types that are read.
const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// The trusted root of the public Sigstore, as the package that carries it had
/// it when this program was built.
pub const PUBLIC_GOOD: &str =
    include_str!(concat!(env!("OUT_DIR"), "/public_good_trusted_root.json"));

/// The reason why a trusted root is not accepted: a mistake of its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct TrustedRootError(#[from] Reason);

impl TrustedRootError {
    /// The stable, kebab-case name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code()
    }
}

/// A closed interval of time; `end` absent means "still".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidityPeriod {
    /// The first second, which is included.
    pub start: UnixTime,
    /// The last second, which is included.
    pub end: Option<UnixTime>,
}

impl ValidityPeriod {
    /// Whether `at` lies inside, both ends included.
    #[must_use]
    pub fn contains(&self, at: UnixTime) -> bool {
        self.start <= at && self.end.is_none_or(|end| at <= end)
    }
}

/// A transparency log whose entries are trusted.
#[derive(Debug, Clone)]
pub struct TransparencyLog {
    /// The URL of the log; the host is the origin of a Rekor v2 log.
    pub base_url: String,
    /// The key that signs checkpoints and SETs.
    pub key: PublicKey,
    /// 32 bytes: SHA-256 of the SPKI (v1), or the C2SP key id (v2).
    pub log_id: Vec<u8>,
    /// When the key was in use.
    pub window: ValidityPeriod,
}

/// A certificate-transparency log whose SCTs are trusted.
#[derive(Debug, Clone)]
pub struct CtLog {
    /// The URL, used in messages only.
    pub base_url: String,
    /// The key that signs SCTs.
    pub key: PublicKey,
    /// SHA-256 of the SPKI.
    pub log_id: [u8; 32],
    /// When the key was in use.
    pub window: ValidityPeriod,
}

/// One certificate authority: one ordered chain.
#[derive(Debug, Clone)]
pub struct CertificateAuthority {
    /// The URL, used in messages only.
    pub uri: String,
    /// The issuing certificate first, the root last; at least one.
    pub chain: Vec<Certificate>,
    /// The time in which it issues.
    pub window: ValidityPeriod,
}

/// A timestamp authority and its validity.
#[derive(Debug, Clone)]
pub struct TimestampAuthority {
    /// The URL, used in messages only.
    pub uri: String,
    /// The signing certificate first (unless the first one is a CA), the root last.
    pub chain: Vec<Certificate>,
    /// The time in which it signs.
    pub window: ValidityPeriod,
}

/// A Sigstore trusted root: certificate authorities, logs and timestamp authorities.
#[derive(Debug, Clone, Default)]
pub struct TrustedRoot {
    /// Rekor logs, v1 and v2.
    pub logs: Vec<TransparencyLog>,
    /// Logs that sign SCTs.
    pub ct_logs: Vec<CtLog>,
    /// Certificate authorities that issue leaves.
    pub authorities: Vec<CertificateAuthority>,
    /// Authorities that issue RFC 3161 timestamps.
    pub timestamp_authorities: Vec<TimestampAuthority>,
    /// Descriptions of parts that this version does not support.
    pub left_out: Vec<String>,
}

/// Base64 as protobuf's JSON reads it: the padding may be absent. The letters of the
/// URL alphabet are replaced first.
const PROTOBUF_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The window of a key that came as a bare PEM file: nothing limits it.
const UNBOUNDED: ValidityPeriod = ValidityPeriod {
    start: 0,
    end: None,
};

impl TrustedRoot {
    /// Parses a `trusted_root.json` file.
    ///
    /// # Errors
    /// See [`TrustedRootError`]: size, JSON, media type, an entry without a start of
    /// validity, a key or certificate that is damaged, a chain whose certificates are
    /// not each issued by the next, one log id for two keys.
    pub fn from_json(json: &[u8]) -> Result<Self, TrustedRootError> {
        if json.len() > MAX_TRUSTED_ROOT {
            return Err(too_large(json.len()).into());
        }
        let file: File = serde_json::from_slice(json).map_err(|error| {
            reason!(
                "trust-json",
                "not the JSON of a trusted root: {why}",
                why = error.to_string()
            )
        })?;
        if !MEDIA_TYPES.contains(&file.media_type.as_str()) {
            return Err(reason!(
                "trust-media-type",
                "the media type is {found:?}, not that of a trusted root",
                found = file.media_type
            )
            .into());
        }
        let mut root = Self::default();
        for (place, log) in numbered("tlogs", file.tlogs)? {
            if let Some((log_id, key, window)) = root.instance(&place, &log)? {
                root.logs.push(TransparencyLog {
                    base_url: log.base_url,
                    key,
                    log_id: log_id.to_vec(),
                    window,
                });
            }
        }
        for (place, log) in numbered("ctlogs", file.ctlogs)? {
            if let Some((log_id, key, window)) = root.instance(&place, &log)? {
                root.ct_logs.push(CtLog {
                    base_url: log.base_url,
                    key,
                    log_id,
                    window,
                });
            }
        }
        for (place, authority) in numbered("certificateAuthorities", file.certificate_authorities)?
        {
            root.authorities.push(CertificateAuthority {
                window: authority.window(&place)?,
                chain: authority.chain(&place)?,
                uri: authority.uri,
            });
        }
        for (place, authority) in numbered("timestampAuthorities", file.timestamp_authorities)? {
            root.timestamp_authorities.push(TimestampAuthority {
                window: authority.window(&place)?,
                chain: authority.chain(&place)?,
                uri: authority.uri,
            });
        }
        root.refuse_shared_log_ids()?;
        Ok(root)
    }

    /// Replaces the certificate authorities by those of a PEM file with roots
    /// and intermediates in any order (gitsign's `fulcioRoot`,
    /// `SIGSTORE_ROOT_FILE`). Self-issued certificates are roots; every other
    /// certificate gets the chains that lead from it to a root by name.
    ///
    /// # Errors
    /// PEM or a certificate is damaged, there are too many, or no root is there.
    pub fn set_authorities_pem(&mut self, pem: &str) -> Result<(), TrustedRootError> {
        let certificates = certificates_of_pem("Fulcio root file", pem)?;
        self.authorities = chains(&certificates)?
            .into_iter()
            .map(|chain| CertificateAuthority {
                uri: String::new(),
                chain,
                window: UNBOUNDED,
            })
            .collect();
        Ok(())
    }

    /// Replaces the logs by the one of this PEM key (gitsign's
    /// `SIGSTORE_REKOR_PUBLIC_KEY`). `base_url` is the configured Rekor: its host
    /// is the origin of a Rekor v2 log, whose id depends on it.
    ///
    /// # Errors
    /// The key is damaged or of an unknown kind.
    pub fn set_log_pem(&mut self, pem: &str, base_url: &str) -> Result<(), TrustedRootError> {
        let key =
            PublicKey::from_pem(pem).map_err(|why| key_error("Rekor public key file", &why))?;
        let v1_id = key.sha256();
        let ed25519 = (key.algorithm() == KeyAlgorithm::Ed25519)
            .then(|| <[u8; 32]>::try_from(key.raw_key()).ok())
            .flatten();
        let log_id = match (ed25519, host_of(base_url)) {
            (Some(bytes), Some(host)) => checkpoint::ed25519_key_id(host, &bytes),
            _ => v1_id,
        };
        self.logs = vec![TransparencyLog {
            base_url: base_url.to_owned(),
            key,
            log_id: log_id.to_vec(),
            window: UNBOUNDED,
        }];
        Ok(())
    }

    /// Replaces the CT logs by the one of this key, PEM or DER (gitsign's
    /// `SIGSTORE_CT_LOG_PUBLIC_KEY_FILE`).
    ///
    /// # Errors
    /// The key is damaged or of an unknown kind.
    pub fn set_ct_log_key(&mut self, key: &[u8]) -> Result<(), TrustedRootError> {
        let parsed = match std::str::from_utf8(key) {
            Ok(pem) if pem.contains("-----BEGIN ") => PublicKey::from_pem(pem),
            _ => PublicKey::from_spki(key),
        };
        let key = parsed.map_err(|why| key_error("CT log public key file", &why))?;
        self.ct_logs = vec![CtLog {
            base_url: String::new(),
            log_id: key.sha256(),
            key,
            window: UNBOUNDED,
        }];
        Ok(())
    }

    /// Replaces the timestamp authorities by those of a PEM file (gitsign's
    /// `timestampCertChain`): the signing certificate first, then its issuers.
    ///
    /// # Errors
    /// PEM or a certificate is damaged, or no certificate is there.
    pub fn set_timestamp_authority_pem(&mut self, pem: &str) -> Result<(), TrustedRootError> {
        const PLACE: &str = "timestamp certificate chain";
        let chain = certificates_of_pem(PLACE, pem)?;
        check_order(PLACE, &chain)?;
        self.timestamp_authorities = vec![TimestampAuthority {
            uri: String::new(),
            chain,
            window: UNBOUNDED,
        }];
        Ok(())
    }

    /// Reads key, id and window of a log; `None` when its key is of a kind that
    /// this version does not know.
    fn instance(
        &mut self,
        place: &str,
        log: &Instance,
    ) -> Result<Option<([u8; 32], PublicKey, ValidityPeriod)>, TrustedRootError> {
        if let Some(found) = &log.hash_algorithm
            && found != "SHA2_256"
        {
            return Err(reason!(
                "trust-hash",
                "{place}: the log hashes with {found:?}, only SHA2_256 is supported"
            )
            .into());
        }
        let Some(key) = &log.public_key else {
            self.left_out.push(format!("{place}: no public key"));
            return Ok(None);
        };
        let window = window(place, key.valid_for.as_ref())?;
        let bytes = base64(&key.raw_bytes, place)?;
        let spki = match key.key_details.as_str() {
            // The older form of RSA keys, without the algorithm in front.
            "PKCS1_RSA_PKCS1V5" => keys::rsa_spki(&bytes),
            // RSASSA-PSS: a signature of another scheme than is verified here.
            details if details.contains("PSS") => {
                self.left_out.push(format!("{place}: {details}"));
                return Ok(None);
            }
            _ => bytes,
        };
        let public = match PublicKey::from_spki(&spki) {
            Ok(public) => public,
            Err(why) if is_unknown_kind(&why) => {
                self.left_out
                    .push(format!("{place}: {} ({why})", key.key_details));
                return Ok(None);
            }
            Err(why) => {
                return Err(key_error(place, &why).into());
            }
        };
        let log_id = match &log.log_id {
            Some(id) => base64(&id.key_id, place)?,
            None => public.sha256().to_vec(),
        };
        let log_id: [u8; 32] = log_id.as_slice().try_into().map_err(|_| {
            reason!(
                "trust-log-id",
                "{place}: the log ID has {bytes} bytes, not 32",
                bytes = log_id.len()
            )
        })?;
        Ok(Some((log_id, public, window)))
    }

    /// The log of this id. A log can be listed several times, for several periods
    /// ([`is_log_valid`](Self::is_log_valid)) or under several names: the listing whose
    /// host is `origin`, else the first.
    #[must_use]
    pub fn log(&self, log_id: &[u8], origin: &str) -> Option<&TransparencyLog> {
        let same = || self.logs.iter().filter(|log| log.log_id == log_id);
        same()
            .find(|log| host_of(&log.base_url) == Some(origin))
            .or_else(|| same().next())
    }

    /// Whether one listing of this log contains all these times. The name of a Rekor v2
    /// log is part of its checkpoints, so it counts only in listings of this name.
    #[must_use]
    pub fn is_log_valid(
        &self,
        log: &TransparencyLog,
        version: RekorVersion,
        times: &[UnixTime],
    ) -> bool {
        let is_same = |other: &&TransparencyLog| {
            let same_name = host_of(&other.base_url) == host_of(&log.base_url);
            other.log_id == log.log_id && (version == RekorVersion::V1 || same_name)
        };
        let covers = |window: &ValidityPeriod| times.iter().all(|at| window.contains(*at));
        self.logs
            .iter()
            .filter(is_same)
            .any(|other| covers(&other.window))
    }

    /// Verifies the signatures between the certificates of all chains. Reading leaves
    /// them out, because each verification of a signature computes those of its own chain.
    ///
    /// # Errors
    /// A certificate is not signed by the next one of its chain.
    pub fn check_chains(&self) -> Result<(), TrustedRootError> {
        let authorities = self.authorities.iter().map(|one| (&one.uri, &one.chain));
        let timestamps = &self.timestamp_authorities;
        let timestamps = timestamps.iter().map(|one| (&one.uri, &one.chain));
        for (uri, chain) in authorities.chain(timestamps) {
            for (one, next) in chain.iter().zip(chain.iter().skip(1)) {
                chain::check_issued_by(one, next, Memo::disabled())
                    .map_err(|why| reason!("trust-chain", "{uri}: {why}"))?;
            }
        }
        Ok(())
    }

    /// One id, one key: an entry names its log by id alone.
    fn refuse_shared_log_ids(&self) -> Result<(), TrustedRootError> {
        let logs = self
            .logs
            .iter()
            .map(|log| (log.log_id.as_slice(), &log.key));
        let ct_logs = self
            .ct_logs
            .iter()
            .map(|log| (log.log_id.as_slice(), &log.key));
        for (name, list) in [
            ("tlogs", logs.collect::<Vec<_>>()),
            ("ctlogs", ct_logs.collect::<Vec<_>>()),
        ] {
            for (nth, (id, key)) in list.iter().enumerate() {
                let shared = list
                    .iter()
                    .take(nth)
                    .any(|(other, other_key)| other == id && other_key.spki() != key.spki());
                if shared {
                    return Err(reason!(
                        "trust-duplicate-log-id",
                        "{place}: another key has the same log ID",
                        place = format!("{name}[{nth}]")
                    )
                    .into());
                }
            }
        }
        Ok(())
    }
}

fn too_large(bytes: usize) -> Reason {
    reason!(
        "trust-too-large",
        "the trusted root is {bytes} bytes; the limit is {MAX_TRUSTED_ROOT}"
    )
}

fn too_many(what: &str, found: usize, limit: usize) -> Reason {
    reason!(
        "trust-too-many",
        "{what}: {found} entries; the limit is {limit}"
    )
}

fn no_certificate(place: &str) -> Reason {
    reason!("trust-no-certificate", "{place}: no certificate")
}

fn key_error(place: &str, why: &Reason) -> Reason {
    reason!("trust-key", "{place}: {why}")
}

fn certificate_error(place: &str, why: &Reason) -> Reason {
    reason!("trust-certificate", "{place}: {why}")
}

/// A key that may well be good, but that this build has no use for.
fn is_unknown_kind(why: &Reason) -> bool {
    matches!(
        why.code(),
        codes::KEY_ALGORITHM_UNKNOWN | codes::KEY_CURVE_UNKNOWN | codes::KEY_NOT_IN_THIS_BUILD
    )
}

/// The host of a URL, without user, port and path.
#[must_use]
pub fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_port = authority.rsplit('@').next()?;
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host_port.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

fn certificates_of_pem(place: &str, pem: &str) -> Result<Vec<Certificate>, TrustedRootError> {
    if pem.len() > MAX_TRUSTED_ROOT {
        return Err(too_large(pem.len()).into());
    }
    let certificates = Certificate::pem_chain(pem).map_err(|why| certificate_error(place, &why))?;
    if certificates.is_empty() {
        return Err(no_certificate(place).into());
    }
    if certificates.len() > MAX_ENTRIES {
        return Err(too_many("certificates", certificates.len(), MAX_ENTRIES).into());
    }
    Ok(certificates)
}

/// Every chain by name from a certificate to a self-issued one, the
/// certificate first. Bounded by [`MAX_CHAIN`] and [`MAX_ENTRIES`]; signatures
/// are checked when a leaf is.
fn chains(certificates: &[Certificate]) -> Result<Vec<Vec<Certificate>>, TrustedRootError> {
    let self_issued = |one: &Certificate| one.subject_der() == one.issuer_der();
    if !certificates.iter().any(self_issued) {
        return Err(reason!(
            "trust-no-root",
            "none of the {certificates} certificates is self-signed: no root found",
            certificates = certificates.len()
        )
        .into());
    }
    let mut complete = Vec::new();
    let mut open: Vec<Vec<&Certificate>> = certificates.iter().map(|one| vec![one]).collect();
    let mut steps: usize = 0;
    while let Some(path) = open.pop() {
        // Certificates that name each other in circles have no end of paths.
        steps = steps.saturating_add(1);
        if steps > MAX_STEPS {
            return Err(too_many("certificate paths", steps, MAX_STEPS).into());
        }
        let Some(last) = path.last() else { continue };
        if self_issued(last) {
            complete.push(path.into_iter().cloned().collect());
            if complete.len() > MAX_ENTRIES {
                return Err(too_many("certificate chains", complete.len(), MAX_ENTRIES).into());
            }
            continue;
        }
        if path.len() >= MAX_CHAIN {
            continue;
        }
        let parents = certificates.iter().filter(|parent| {
            parent.subject_der() == last.issuer_der()
                && !path.iter().any(|known| known.der() == parent.der())
        });
        for parent in parents {
            let mut longer = path.clone();
            longer.push(parent);
            open.push(longer);
        }
    }
    complete.reverse();
    Ok(complete)
}

fn numbered<T>(name: &'static str, list: Vec<T>) -> Result<Vec<(String, T)>, TrustedRootError> {
    if list.len() > MAX_ENTRIES {
        return Err(too_many(name, list.len(), MAX_ENTRIES).into());
    }
    Ok(list
        .into_iter()
        .enumerate()
        .map(|(nth, one)| (format!("{name}[{nth}]"), one))
        .collect())
}

fn base64(text: &str, place: &str) -> Result<Vec<u8>, TrustedRootError> {
    let standard = text.replace('-', "+").replace('_', "/");
    PROTOBUF_BASE64
        .decode(standard)
        .map_err(|_| reason!("trust-base64", "{place}: not base64").into())
}

fn window(place: &str, range: Option<&TimeRange>) -> Result<ValidityPeriod, TrustedRootError> {
    let no_start = || reason!("trust-no-start", "{place}: validFor has no start");
    let range = range.ok_or_else(no_start)?;
    let start = time(place, range.start.as_deref().ok_or_else(no_start)?)?;
    let end = range
        .end
        .as_deref()
        .map(|end| time(place, end))
        .transpose()?;
    match end {
        Some(end) if end < start => Err(reason!(
            "trust-window",
            "{place}: valid from {start} to {end}, which is earlier",
            start = rfc3339(start),
            end = rfc3339(end)
        )
        .into()),
        _ => Ok(ValidityPeriod { start, end }),
    }
}

fn time(place: &str, text: &str) -> Result<UnixTime, TrustedRootError> {
    time::parse_rfc3339(text)
        .ok_or_else(|| reason!("trust-time", "{place}: {text:?} is not an RFC 3339 time").into())
}

// The JSON shapes: sigstore_trustroot.proto in protobuf's JSON mapping. A name is
// written as in JSON or as in the .proto file, and null is the same as no value.

/// Reads null as the default.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default, deserialize_with = "or_default", alias = "media_type")]
    media_type: String,
    #[serde(default, deserialize_with = "or_default")]
    tlogs: Vec<Instance>,
    #[serde(
        default,
        deserialize_with = "or_default",
        alias = "certificate_authorities"
    )]
    certificate_authorities: Vec<Authority>,
    #[serde(default, deserialize_with = "or_default")]
    ctlogs: Vec<Instance>,
    #[serde(
        default,
        deserialize_with = "or_default",
        alias = "timestamp_authorities"
    )]
    timestamp_authorities: Vec<Authority>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    #[serde(default, deserialize_with = "or_default", alias = "base_url")]
    base_url: String,
    #[serde(alias = "hash_algorithm")]
    hash_algorithm: Option<String>,
    #[serde(alias = "public_key")]
    public_key: Option<Key>,
    #[serde(alias = "log_id")]
    log_id: Option<LogId>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    #[serde(default, deserialize_with = "or_default", alias = "raw_bytes")]
    raw_bytes: String,
    #[serde(default, deserialize_with = "or_default", alias = "key_details")]
    key_details: String,
    #[serde(alias = "valid_for")]
    valid_for: Option<TimeRange>,
}

#[derive(Debug, Deserialize)]
struct TimeRange {
    start: Option<String>,
    end: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    #[serde(default, deserialize_with = "or_default", alias = "key_id")]
    key_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authority {
    #[serde(default, deserialize_with = "or_default")]
    uri: String,
    #[serde(alias = "cert_chain")]
    cert_chain: Option<Chain>,
    #[serde(alias = "valid_for")]
    valid_for: Option<TimeRange>,
}

#[derive(Debug, Deserialize)]
struct Chain {
    #[serde(default, deserialize_with = "or_default")]
    certificates: Vec<Raw>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default, deserialize_with = "or_default", alias = "raw_bytes")]
    raw_bytes: String,
}

impl Authority {
    fn window(&self, place: &str) -> Result<ValidityPeriod, TrustedRootError> {
        window(place, self.valid_for.as_ref())
    }

    fn chain(&self, place: &str) -> Result<Vec<Certificate>, TrustedRootError> {
        let certificates = self
            .cert_chain
            .as_ref()
            .map(|chain| chain.certificates.as_slice())
            .unwrap_or_default();
        if certificates.is_empty() {
            return Err(no_certificate(place).into());
        }
        if certificates.len() > MAX_CHAIN {
            return Err(
                too_many("certificates of one chain", certificates.len(), MAX_CHAIN).into(),
            );
        }
        let chain: Vec<Certificate> = certificates
            .iter()
            .map(|raw| {
                let der = base64(&raw.raw_bytes, place)?;
                Certificate::from_der(&der)
                    .map_err(|why| TrustedRootError::from(certificate_error(place, &why)))
            })
            .collect::<Result<_, _>>()?;
        check_order(place, &chain)?;
        Ok(chain)
    }
}

/// Each certificate is issued by the next one, by its names and key IDs. The signatures
/// between them are verified with each signature (`chain.rs`).
fn check_order(place: &str, chain: &[Certificate]) -> Result<(), TrustedRootError> {
    for (one, next) in chain.iter().zip(chain.iter().skip(1)) {
        chain::check_names(one, next).map_err(|why| reason!("trust-chain", "{place}: {why}"))?;
    }
    Ok(())
}
