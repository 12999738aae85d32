//! The trust root: which logs, CT logs, certificate authorities and timestamp
//! authorities are believed, and when. One type, whether it comes from a
//! `trusted_root.json`, from single PEM files, or is the built-in one.
//!
//! Not checked here: signatures of any kind (`keys.rs`, `chain.rs`).

use super::{UnixTime, certificate::Certificate, keys::PublicKey};

/// A closed interval of time; `end` absent means "still".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First second, included.
    pub start: UnixTime,
    /// Last second, included.
    pub end: Option<UnixTime>,
}

impl Window {
    /// Whether `at` lies inside, both ends included.
    #[must_use]
    pub fn contains(&self, at: UnixTime) -> bool {
        self.start <= at && self.end.is_none_or(|end| at <= end)
    }
}

/// A transparency log whose entries are believed.
#[derive(Debug, Clone)]
pub struct TransparencyLog {
    /// Where it is reached; the host is the origin of a Rekor v2 log.
    pub base_url: String,
    /// The key that signs checkpoints and SETs.
    pub key: PublicKey,
    /// 32 bytes: SHA-256 of the SPKI (v1), or the C2SP key id (v2).
    pub log_id: Vec<u8>,
    /// When the key was in use.
    pub window: Window,
}

/// A certificate-transparency log whose SCTs are believed.
#[derive(Debug, Clone)]
pub struct CtLog {
    /// Where it is reached (for messages).
    pub base_url: String,
    /// The key that signs SCTs.
    pub key: PublicKey,
    /// SHA-256 of the SPKI.
    pub log_id: [u8; 32],
    /// When the key was in use.
    pub window: Window,
}

/// One certificate authority: one ordered chain.
#[derive(Debug, Clone)]
pub struct CertificateAuthority {
    /// Where it is reached (for messages).
    pub uri: String,
    /// The issuing certificate first, the root last; at least one.
    pub chain: Vec<Certificate>,
    /// When it issued.
    pub window: Window,
}

/// One timestamp authority.
#[derive(Debug, Clone)]
pub struct TimestampAuthority {
    /// Where it is reached (for messages).
    pub uri: String,
    /// The signing certificate first (unless the first one is a CA), the root last.
    pub chain: Vec<Certificate>,
    /// When it signed.
    pub window: Window,
}

/// All that is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedRoot {
    /// Rekor logs, v1 and v2.
    pub logs: Vec<TransparencyLog>,
    /// CT logs.
    pub ct_logs: Vec<CtLog>,
    /// Fulcio authorities.
    pub authorities: Vec<CertificateAuthority>,
    /// RFC 3161 authorities.
    pub timestamp_authorities: Vec<TimestampAuthority>,
}
