//! Signed certificate timestamps (RFC 6962 §3.2, §3.3): read out of a
//! certificate, verified over its precertificate, and put together for a CT
//! log to sign.
//!
//! The precertificate's TBS is made by taking the SCT list (or the poison) out
//! of the bytes that came in; nothing is written anew.
//!
//! *Not checked here:* whether the CT log shows the certificate to anybody: an
//! SCT is a promise, and no verifier of Sigstore asks the log.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use sha2::{Digest as _, Sha256};

use crate::{
    UnixTime, asn1,
    certificate::{CT_POISON, Certificate, Extension, SCT_LIST},
    hex,
    keys::SignatureAlgorithm,
    memo::Memo,
    refusal::{Reason, reason},
    time::rfc3339,
    trusted_root::CtLog,
};

/// The most SCTs of one certificate.
pub(crate) const MAX_SCTS: usize = 16;
/// The tolerance of an SCT's time outside the certificate's validity, and after the
/// signature, in seconds: the CA, the CT log and the source of the signature's time
/// have three clocks. On the public instance they differ by a second.
pub(crate) const SCT_TOLERANCE: i64 = 300;

/// RFC 5246 §7.4.1.4.1: sha256.
const HASH_SHA256: u8 = 4;
/// RFC 5246 §7.4.1.4.1: rsa, ecdsa.
const SIGNATURE_RSA: u8 = 1;
const SIGNATURE_ECDSA: u8 = 3;

/// One SCT (RFC 6962 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sct {
    /// SHA-256 of the log's SubjectPublicKeyInfo.
    pub log_id: [u8; 32],
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp_ms: u64,
    /// CtExtensions: opaque, and signed.
    pub extensions: Vec<u8>,
    /// The HashAlgorithm of RFC 5246.
    pub hash: u8,
    /// The SignatureAlgorithm of RFC 5246.
    pub signature_kind: u8,
    /// The signature by the log.
    pub signature: Vec<u8>,
}

/// A reader of TLS structures.
struct Tls<'a>(&'a [u8]);

impl<'a> Tls<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| bad_list("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, Reason> {
        Ok(self
            .take(N)?
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    /// Reads an `opaque value<0..2^16-1>`.
    fn vector(&mut self) -> Result<&'a [u8], Reason> {
        let length = self.number::<2>()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn finish(&self, why: &'static str) -> Result<(), Reason> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(bad_list(why))
        }
    }
}

/// The reason for a list, or an SCT, that is not in the form of RFC 6962.
pub fn bad_list(why: &str) -> Reason {
    reason!("sct-list", "cannot parse the SCT list: {why}")
}

impl Sct {
    /// Reads one serialized SCT, with nothing after it.
    ///
    /// # Errors
    /// Another version, cut off, or bytes after it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Reason> {
        let mut tls = Tls(bytes);
        if tls.number::<1>()? != 0 {
            return Err(bad_list("an SCT of another version than v1"));
        }
        let log_id = tls.take(32)?;
        let sct = Self {
            log_id: log_id.try_into().unwrap_or_default(),
            timestamp_ms: tls.number::<8>()?,
            extensions: tls.vector()?.to_vec(),
            hash: tls.take(1)?.first().copied().unwrap_or_default(),
            signature_kind: tls.take(1)?.first().copied().unwrap_or_default(),
            signature: tls.vector()?.to_vec(),
        };
        tls.finish("bytes after an SCT")?;
        Ok(sct)
    }

    /// Serialized, as in a certificate.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0];
        out.extend(self.log_id);
        out.extend(self.timestamp_ms.to_be_bytes());
        out.extend(vector(&self.extensions));
        out.extend([self.hash, self.signature_kind]);
        out.extend(vector(&self.signature));
        out
    }

    /// An SCT by a P-256 log key.
    #[must_use]
    pub fn ecdsa_sha256(
        log_id: [u8; 32],
        timestamp_ms: u64,
        extensions: Vec<u8>,
        signature: Vec<u8>,
    ) -> Self {
        Self {
            log_id,
            timestamp_ms,
            extensions,
            hash: HASH_SHA256,
            signature_kind: SIGNATURE_ECDSA,
            signature,
        }
    }

    /// Returns the timestamp in seconds.
    #[must_use]
    pub fn time(&self) -> UnixTime {
        i64::try_from(self.timestamp_ms / 1000).unwrap_or(i64::MAX)
    }
}

fn vector(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend(bytes.iter().take(usize::from(length)));
    out
}

/// The SCTs of a certificate; an empty vector if the extension is not there.
///
/// # Errors
/// The extension is there and not readable.
pub fn embedded(certificate: &Certificate) -> Result<Vec<Sct>, Reason> {
    let Some(extension) = certificate.extension(&SCT_LIST) else {
        return Ok(Vec::new());
    };
    let list = asn1::read_single(&extension.value, asn1::OCTET_STRING, "SCT list")
        .map_err(|_| bad_list("not an OCTET STRING"))?;
    let mut outer = Tls(list.value);
    let mut scts = Tls(outer.vector()?);
    outer.finish("bytes after the list")?;
    if scts.0.is_empty() {
        return Err(bad_list("it is empty"));
    }
    let mut found = Vec::new();
    while !scts.0.is_empty() {
        if found.len() >= MAX_SCTS {
            return Err(reason!("sct-too-many", "more than {MAX_SCTS} SCTs"));
        }
        found.push(Sct::from_bytes(scts.vector()?)?);
    }
    Ok(found)
}

/// The value of the SCT list extension: an OCTET STRING of a TLS list.
#[must_use]
pub fn encode_list(scts: &[Sct]) -> Vec<u8> {
    let list: Vec<u8> = scts
        .iter()
        .flat_map(|sct| vector(&sct.to_bytes()))
        .collect();
    asn1::tlv(asn1::OCTET_STRING, &[&vector(&list)])
}

/// The TBS of the precertificate: the certificate's, without the SCT list and
/// without the poison (RFC 6962 §3.2). The bytes of everything else stay.
#[must_use]
pub fn precert_tbs(certificate: &Certificate) -> Vec<u8> {
    let removed = [SCT_LIST.as_bytes(), CT_POISON.as_bytes()];
    let kept: Vec<&[u8]> = certificate
        .extensions()
        .iter()
        .filter(|one| !removed.contains(&one.oid.as_slice()))
        .map(Extension::raw)
        .collect();
    // An extensions field is never empty (RFC 5280 §4.1.2.9).
    let extensions = match kept.as_slice() {
        [] => Vec::new(),
        kept => asn1::tlv(0xa3, &[&asn1::tlv(asn1::SEQUENCE, kept)]),
    };
    asn1::tlv(asn1::SEQUENCE, &[certificate.fields(), &extensions])
}

/// A certificate as a CT log records it.
#[derive(Debug, Clone, Copy)]
pub enum CtEntry<'a> {
    /// `x509_entry`: a certificate in DER.
    X509(&'a [u8]),
    /// `precert_entry`: SHA-256 of the issuing certificate's
    /// SubjectPublicKeyInfo, and the precertificate's TBS.
    Precert {
        /// The hash of the issuer's key.
        issuer_key_hash: [u8; 32],
        /// The TBS, as [`precert_tbs`] returns it.
        tbs: &'a [u8],
    },
}

/// `entry_type` and the entry, as in `digitally-signed` and in a
/// `TimestampedEntry` (RFC 6962 §3.2, §3.4).
#[must_use]
pub fn entry_bytes(entry: CtEntry<'_>) -> Vec<u8> {
    let opaque24 = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut out = length.get(1..).unwrap_or_default().to_vec();
        out.extend_from_slice(bytes);
        out
    };
    match entry {
        CtEntry::X509(certificate) => {
            let mut out = vec![0, 0];
            out.extend(opaque24(certificate));
            out
        }
        CtEntry::Precert {
            issuer_key_hash,
            tbs,
        } => {
            let mut out = vec![0, 1];
            out.extend(issuer_key_hash);
            out.extend(opaque24(tbs));
            out
        }
    }
}

/// The bytes that a CT log signs for an SCT (RFC 6962 §3.2): version, signature
/// type, timestamp, entry, extensions.
#[must_use]
pub fn digitally_signed(timestamp_ms: u64, entry: CtEntry<'_>, extensions: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(timestamp_ms.to_be_bytes());
    out.extend(entry_bytes(entry));
    out.extend(vector(extensions));
    out
}

/// Verifies step 8: at least one SCT of a trusted log, over this certificate
/// under this issuer, from a time in which the log's key is trusted (both ends
/// included). That time lies within the certificate's validity and not after any of
/// the times at which it signed, with a tolerance of five minutes. SCTs of
/// unknown logs are ignored; one of a trusted log that does
/// not verify is not outweighed by another. That a log signed an SCT may be
/// taken from `memo`.
///
/// # Errors
/// None exists, none is of a trusted log, or one is false.
pub fn verify(
    certificate: &Certificate,
    issuer: &Certificate,
    signed_at: &[UnixTime],
    logs: &[CtLog],
    memo: &Memo,
) -> Result<Sct, Reason> {
    let scts = embedded(certificate)?;
    let first = scts.first().ok_or_else(|| {
        reason!(
            "sct-absent",
            "the certificate has no signed certificate timestamp"
        )
    })?;
    let first_log_id = first.log_id;
    let tbs = precert_tbs(certificate);
    let issuer_key_hash: [u8; 32] = Sha256::digest(issuer.spki()).into();
    let mut good = None;
    for sct in scts {
        let mut known = logs
            .iter()
            .filter(|log| log.log_id == sct.log_id)
            .peekable();
        if known.peek().is_none() {
            continue;
        }
        let at = sct.time();
        let log = known.find(|log| log.window.contains(at)).ok_or_else(|| {
            reason!(
                "sct-log-window",
                "the SCT time {at} is outside the validity of the CT log's key",
                at = rfc3339(at)
            )
        })?;
        check_time(at, certificate, signed_at)?;
        let algorithm = match (sct.hash, sct.signature_kind) {
            (HASH_SHA256, SIGNATURE_ECDSA) => SignatureAlgorithm::EcdsaSha256,
            (HASH_SHA256, SIGNATURE_RSA) => SignatureAlgorithm::RsaPkcs1Sha256,
            (hash, signature) => {
                return Err(reason!(
                    "sct-algorithm",
                    "the SCT is signed with TLS algorithm {hash}/{signature}"
                ));
            }
        };
        let entry = CtEntry::Precert {
            issuer_key_hash,
            tbs: &tbs,
        };
        let signed = digitally_signed(sct.timestamp_ms, entry, &sct.extensions);
        memo.verify(&log.key, algorithm, &signed, &sct.signature)
            .map_err(|why| reason!("sct-signature", "the SCT does not verify: {why}"))?;
        good.get_or_insert(sct);
    }
    good.ok_or_else(|| {
        reason!(
            "sct-unknown-log",
            "unknown CT log {log_id}",
            log_id = hex(&first_log_id)
        )
    })
}

/// An SCT that is older or younger than its certificate, or younger than the signature,
/// means that the certificate was dated back.
fn check_time(
    at: UnixTime,
    certificate: &Certificate,
    signed_at: &[UnixTime],
) -> Result<(), Reason> {
    let (first, last) = (certificate.not_before(), certificate.not_after());
    if at < first.saturating_sub(SCT_TOLERANCE) || at > last.saturating_add(SCT_TOLERANCE) {
        return Err(reason!(
            "sct-outside-certificate",
            "the SCT time {} is outside the certificate's validity ({} to {})",
            rfc3339(at),
            rfc3339(first),
            rfc3339(last)
        ));
    }
    let later = |signed: &&UnixTime| at > signed.saturating_add(SCT_TOLERANCE);
    match signed_at.iter().find(later) {
        None => Ok(()),
        Some(signed) => Err(reason!(
            "sct-after-signature",
            "the SCT time {} is after the signature, of {}",
            rfc3339(at),
            rfc3339(*signed)
        )),
    }
}
