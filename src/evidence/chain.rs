//! Step 7: the chain from a leaf to a trusted authority (RFC 5280 §6), and the
//! profile that Fulcio gives its leaves.
//!
//! No path is searched: each authority of the trusted root is one ordered
//! chain, and one of its certificates issued the leaf or none of them. Every
//! link from there to the root is checked at the time of the signature.
//!
//! *Not checked here:* where that time comes from (`verify.rs`), the SCT
//! (`sct.rs`), whose identity it is (`identity.rs`). There is no revocation:
//! certificates live ten minutes.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use super::{
    UnixTime, asn1,
    certificate::{Certificate, CertificateRefusal, GeneralName},
    keys::{KeyAlgorithm, KeyRefusal},
    memo::Memo,
    refusal::reasons,
    trusted_root::CertificateAuthority,
};

/// KeyUsage bits as [`Certificate::key_usage`] numbers them.
const DIGITAL_SIGNATURE: u16 = 1 << 0;
const KEY_CERT_SIGN: u16 = 1 << 5;

reasons! {
    /// Why a certificate is not believed.
    pub enum ChainRefusal {
        /// The certificate lacks what every Fulcio certificate has.
        #[code = "chain-not-sigstore"]
        #[error("not a Sigstore certificate: no identity provider is named in it (issued by {issuer:?})")]
        NotSigstore {
            /// The issuer's name.
            issuer: String,
        },
        /// The trusted root has no authority of the issuer's name.
        #[code = "chain-no-authority"]
        #[error("no trusted certificate authority issued it")]
        NoAuthority,
        /// The authority was not trusted then.
        #[code = "chain-authority-window"]
        #[error("signed at {at}, outside the time in which the authority {authority:?} is trusted")]
        AuthorityWindow {
            /// The issuing certificate's name.
            authority: String,
            /// Unix seconds.
            at: UnixTime,
        },
        /// A certificate of the chain was not valid then.
        #[code = "chain-expired"]
        #[error("{subject:?} is valid from {not_before} to {not_after}, not at {at}")]
        Expired {
            /// Whose certificate.
            subject: String,
            /// Unix seconds.
            at: UnixTime,
            /// Unix seconds.
            not_before: UnixTime,
            /// Unix seconds.
            not_after: UnixTime,
        },
        /// A link is not signed by the next certificate's key.
        #[code = "chain-signature"]
        #[error("{subject:?} is not signed by {issuer:?}: {why}")]
        Signature {
            /// Whose certificate.
            subject: String,
            /// Who should have signed it.
            issuer: String,
            /// What the key said.
            why: KeyRefusal,
        },
        /// A name does not lead to the next certificate.
        #[code = "chain-names"]
        #[error("{subject:?} names {issuer:?} as its issuer, not {next:?}")]
        Names {
            /// Whose certificate.
            subject: String,
            /// Its issuer.
            issuer: String,
            /// The next certificate of the chain.
            next: String,
        },
        /// AuthorityKeyIdentifier and SubjectKeyIdentifier disagree.
        #[code = "chain-key-ids"]
        #[error("{subject:?} names issuer key {wanted}, the issuer's is {found}")]
        KeyIds {
            /// Whose certificate.
            subject: String,
            /// Hex.
            wanted: String,
            /// Hex.
            found: String,
        },
        /// An issuer that may not issue.
        #[code = "chain-not-a-ca"]
        #[error("{subject:?} is not a certificate authority")]
        NotACa {
            /// Whose certificate.
            subject: String,
        },
        /// More intermediates than an authority allows.
        #[code = "chain-path-length"]
        #[error("{subject:?} allows {allowed} intermediates below it, there are {found}")]
        PathLength {
            /// Whose certificate.
            subject: String,
            /// pathLenConstraint.
            allowed: u32,
            /// Intermediates below.
            found: usize,
        },
        /// An issuer whose key may not sign certificates.
        #[code = "chain-ca-key-usage"]
        #[error("the key of {subject:?} may not sign certificates")]
        CaKeyUsage {
            /// Whose certificate.
            subject: String,
        },
        /// An issuer for another purpose.
        #[code = "chain-ca-extended-key-usage"]
        #[error("{subject:?} is not for {purpose}")]
        CaExtendedKeyUsage {
            /// Whose certificate.
            subject: String,
            /// code signing, timestamping.
            purpose: &'static str,
        },
        /// A critical extension that is not understood here.
        #[code = "chain-critical-extension"]
        #[error("{subject:?} has the critical extension {oid}, whose meaning is unknown here")]
        CriticalExtension {
            /// Whose certificate.
            subject: String,
            /// Dotted.
            oid: String,
        },
        /// The name lies outside what an authority may certify.
        #[code = "chain-name-constraints"]
        #[error("{subject:?} may not certify the name {name:?}")]
        NameConstraints {
            /// Whose certificate.
            subject: String,
            /// The leaf's name.
            name: String,
        },
        /// A kind of name constraint that is not understood here.
        #[code = "chain-name-constraints-kind"]
        #[error("{subject:?} constrains names of kind {tag} in a way that is not understood here")]
        NameConstraintsKind {
            /// Whose certificate.
            subject: String,
            /// The context tag of the GeneralName.
            tag: u8,
        },
        /// A CA certificate as leaf.
        #[code = "chain-leaf-is-ca"]
        #[error("the leaf is a certificate authority")]
        LeafIsCa,
        /// A leaf whose key may not make signatures.
        #[code = "chain-leaf-key-usage"]
        #[error("the leaf's key usage is not digitalSignature")]
        LeafKeyUsage,
        /// A leaf for another purpose.
        #[code = "chain-leaf-extended-key-usage"]
        #[error("the leaf is not for code signing")]
        LeafExtendedKeyUsage,
        /// A kind of key that Fulcio does not certify.
        #[code = "chain-leaf-key"]
        #[error("the leaf's key is not usable: {why}")]
        LeafKey {
            /// What is wrong.
            why: KeyRefusal,
        },
        /// The name or the issuer is not one identity.
        #[code = "chain-leaf-identity"]
        #[error("{why}")]
        LeafIdentity {
            /// What is wrong.
            why: CertificateRefusal,
        },
        /// The CMS brings a certificate that has no business there.
        #[code = "chain-foreign-certificate"]
        #[error("the signature brings the certificate of {subject:?}, which is not of its own chain")]
        ForeignCertificate {
            /// Whose certificate.
            subject: String,
        },
    }
}

/// A leaf that a trusted authority issued.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedChain<'a> {
    /// Which authority.
    pub authority: &'a CertificateAuthority,
    /// The certificate that issued the leaf.
    pub issuer: &'a Certificate,
}

/// Whether this is a certificate of the kind that Fulcio issues at all: an
/// identity provider is named in it.
///
/// # Errors
/// [`ChainRefusal::NotSigstore`].
pub fn check_sigstore_leaf(leaf: &Certificate) -> Result<(), ChainRefusal> {
    if leaf.fulcio().issuer().is_some() {
        Ok(())
    } else {
        Err(ChainRefusal::NotSigstore {
            issuer: leaf.issuer_text(),
        })
    }
}

/// Step 7: the profile of the leaf, and its chain to one of the authorities at
/// this time.
///
/// # Errors
/// The refusal of the authority that came nearest to having issued the leaf.
pub fn verify<'a>(
    leaf: &Certificate,
    at: UnixTime,
    authorities: &'a [CertificateAuthority],
) -> Result<VerifiedChain<'a>, ChainRefusal> {
    verify_memoized(leaf, at, authorities, Memo::disabled())
}

/// As [`verify`]; that an authority's key signed the leaf is remembered in `memo`.
/// Names, times and purposes are compared each time.
///
/// # Errors
/// As [`verify`].
pub fn verify_memoized<'a>(
    leaf: &Certificate,
    at: UnixTime,
    authorities: &'a [CertificateAuthority],
    memo: &Memo,
) -> Result<VerifiedChain<'a>, ChainRefusal> {
    check_sigstore_leaf(leaf)?;
    let mut telling = ChainRefusal::NoAuthority;
    for authority in authorities {
        match issued_by(leaf, at, authority, memo) {
            Ok(issuer) => {
                leaf_profile(leaf)?;
                return Ok(VerifiedChain { authority, issuer });
            }
            Err(refusal) if nearness(&refusal) >= nearness(&telling) => telling = refusal,
            Err(_) => {}
        }
    }
    Err(telling)
}

/// How far a chain got: the further, the more its refusal tells.
fn nearness(refusal: &ChainRefusal) -> u8 {
    match refusal {
        ChainRefusal::NoAuthority => 0,
        ChainRefusal::KeyIds { .. } => 1,
        ChainRefusal::Signature { .. } => 2,
        ChainRefusal::AuthorityWindow { .. } => 3,
        _ => 4,
    }
}

/// Every other certificate that the CMS brings must be one of the chain.
///
/// # Errors
/// [`ChainRefusal::ForeignCertificate`].
pub fn check_extra_certificates(
    others: &[Certificate],
    authority: &CertificateAuthority,
) -> Result<(), ChainRefusal> {
    match others.iter().find(|one| !authority.chain.contains(one)) {
        None => Ok(()),
        Some(foreign) => Err(ChainRefusal::ForeignCertificate {
            subject: foreign.subject_text(),
        }),
    }
}

/// Fulcio's certificate profile (`docs/certificate-specification.md` of Fulcio).
fn leaf_profile(leaf: &Certificate) -> Result<(), ChainRefusal> {
    if let Some(oid) = leaf.unknown_critical_extension() {
        return Err(ChainRefusal::CriticalExtension {
            subject: leaf.subject_text(),
            oid,
        });
    }
    if leaf
        .basic_constraints()
        .is_some_and(|constraints| constraints.ca)
    {
        return Err(ChainRefusal::LeafIsCa);
    }
    if leaf
        .key_usage()
        .is_none_or(|usage| usage & DIGITAL_SIGNATURE == 0)
    {
        return Err(ChainRefusal::LeafKeyUsage);
    }
    let for_code = leaf.extended_key_usage().is_some_and(|uses| {
        uses.iter()
            .any(|one| one == ChainPurpose::CodeSigning.oid())
    });
    if !for_code {
        return Err(ChainRefusal::LeafExtendedKeyUsage);
    }
    let key = leaf
        .public_key()
        .map_err(|why| ChainRefusal::LeafKey { why })?;
    // Every kind that Fulcio certifies; smaller RSA keys are not even read.
    match key.algorithm() {
        KeyAlgorithm::P256
        | KeyAlgorithm::P384
        | KeyAlgorithm::P521
        | KeyAlgorithm::Rsa { .. }
        | KeyAlgorithm::Ed25519 => {}
    }
    leaf.identity()
        .map(drop)
        .map_err(|why| ChainRefusal::LeafIdentity { why })
}

/// Whether this authority issued the leaf, with every link good at `at`. Its
/// issuing certificate did, or one further up: in May 2022 the public
/// instance's root still issued leaves itself.
fn issued_by<'a>(
    leaf: &Certificate,
    at: UnixTime,
    authority: &'a CertificateAuthority,
    memo: &Memo,
) -> Result<&'a Certificate, ChainRefusal> {
    let mut telling = ChainRefusal::NoAuthority;
    for (nth, issuer) in authority.chain.iter().enumerate() {
        let chain = authority.chain.get(nth..).unwrap_or_default();
        match issued_through(leaf, at, authority, chain, memo) {
            Ok(()) => return Ok(issuer),
            Err(refusal) if nearness(&refusal) >= nearness(&telling) => telling = refusal,
            Err(_) => {}
        }
    }
    Err(telling)
}

/// Whether the first certificate of `chain`, a part of the authority's up to its
/// root, issued the leaf.
fn issued_through(
    leaf: &Certificate,
    at: UnixTime,
    authority: &CertificateAuthority,
    chain: &[Certificate],
    memo: &Memo,
) -> Result<(), ChainRefusal> {
    let issuer = chain.first().ok_or(ChainRefusal::NoAuthority)?;
    if leaf.issuer_der() != issuer.subject_der() {
        return Err(ChainRefusal::NoAuthority);
    }
    names_lead(leaf, issuer)?;
    leaf.verify_signed_by_memoized(issuer, memo)
        .map_err(|why| unsigned(leaf, issuer, why))?;
    if !authority.window.contains(at) {
        return Err(ChainRefusal::AuthorityWindow {
            authority: issuer.subject_text(),
            at,
        });
    }
    valid_at(leaf, at)?;
    build_path(leaf, chain, at, ChainPurpose::CodeSigning)
}

/// What a chain of authorities is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainPurpose {
    /// id-kp-codeSigning 1.3.6.1.5.5.7.3.3.
    CodeSigning,
    /// id-kp-timeStamping 1.3.6.1.5.5.7.3.8.
    TimeStamping,
}

impl ChainPurpose {
    /// The content octets of its object identifier.
    pub(super) fn oid(self) -> &'static [u8] {
        match self {
            Self::CodeSigning => &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03],
            Self::TimeStamping => &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CodeSigning => "code signing",
            Self::TimeStamping => "timestamping",
        }
    }
}

/// The certificates above a leaf, the issuing one first: each valid at `at`,
/// allowed to issue what is below it, and signed by the next.
///
/// # Errors
/// The first that is not.
pub(super) fn build_path(
    leaf: &Certificate,
    chain: &[Certificate],
    at: UnixTime,
    purpose: ChainPurpose,
) -> Result<(), ChainRefusal> {
    for (below, ca) in chain.iter().enumerate() {
        valid_at(ca, at)?;
        may_issue(ca, below, purpose)?;
        name_constraints(ca, leaf.sans())?;
        // The last one is believed because the trusted root names it: a trust
        // anchor's own signature proves nothing (RFC 5280 §6.1).
        if let Some(next) = chain.get(below.saturating_add(1)) {
            check_issued_by(ca, next)?;
        }
    }
    Ok(())
}

/// `one` names `next` as its issuer, and `next`'s key signed it.
pub(super) fn check_issued_by(one: &Certificate, next: &Certificate) -> Result<(), ChainRefusal> {
    names_lead(one, next)?;
    one.verify_signed_by(next)
        .map_err(|why| unsigned(one, next, why))
}

fn unsigned(one: &Certificate, next: &Certificate, why: KeyRefusal) -> ChainRefusal {
    ChainRefusal::Signature {
        subject: one.subject_text(),
        issuer: next.subject_text(),
        why,
    }
}

/// The names and key identifiers of `one` lead to `next`.
fn names_lead(one: &Certificate, next: &Certificate) -> Result<(), ChainRefusal> {
    if one.issuer_der() != next.subject_der() {
        return Err(ChainRefusal::Names {
            subject: one.subject_text(),
            issuer: one.issuer_text(),
            next: next.subject_text(),
        });
    }
    if let (Some(wanted), Some(found)) = (one.authority_key_id(), next.subject_key_id())
        && wanted != found
    {
        return Err(ChainRefusal::KeyIds {
            subject: one.subject_text(),
            wanted: asn1::hex(wanted),
            found: asn1::hex(found),
        });
    }
    Ok(())
}

fn valid_at(one: &Certificate, at: UnixTime) -> Result<(), ChainRefusal> {
    if one.is_valid_at(at) {
        return Ok(());
    }
    Err(ChainRefusal::Expired {
        subject: one.subject_text(),
        at,
        not_before: one.not_before(),
        not_after: one.not_after(),
    })
}

/// RFC 5280 §6.1.4 (k)–(n), with `below` intermediates under this one.
fn may_issue(ca: &Certificate, below: usize, purpose: ChainPurpose) -> Result<(), ChainRefusal> {
    let subject = || ca.subject_text();
    if let Some(oid) = ca.unknown_critical_extension() {
        return Err(ChainRefusal::CriticalExtension {
            subject: subject(),
            oid,
        });
    }
    let constraints = ca.basic_constraints().filter(|constraints| constraints.ca);
    let Some(constraints) = constraints else {
        return Err(ChainRefusal::NotACa { subject: subject() });
    };
    if let Some(allowed) = constraints.path_len
        && usize::try_from(allowed).is_ok_and(|allowed| below > allowed)
    {
        return Err(ChainRefusal::PathLength {
            subject: subject(),
            allowed,
            found: below,
        });
    }
    if ca
        .key_usage()
        .is_some_and(|usage| usage & KEY_CERT_SIGN == 0)
    {
        return Err(ChainRefusal::CaKeyUsage { subject: subject() });
    }
    let for_this = ca
        .extended_key_usage()
        .is_none_or(|uses| uses.iter().any(|one| one == purpose.oid()));
    if !for_this {
        return Err(ChainRefusal::CaExtendedKeyUsage {
            subject: subject(),
            purpose: purpose.name(),
        });
    }
    Ok(())
}

/// RFC 5280 §4.2.1.10 for the two kinds of name that Fulcio certifies with a
/// host in them. A constraint of another kind is refused if the certificate has
/// such a name; otherwise it constrains nothing that is there. A constraint or a
/// name that has no plain host name (an address, a trailing dot, nothing) cannot
/// be compared and is refused, lest an excluded name pass in another spelling.
fn name_constraints(ca: &Certificate, names: &[GeneralName]) -> Result<(), ChainRefusal> {
    let Some(constraints) = ca.name_constraints() else {
        return Ok(());
    };
    for name in names {
        let bases = |list: &[GeneralName]| -> Result<Vec<Base>, ChainRefusal> {
            list.iter()
                .filter(|base| base.tag == name.tag)
                .map(|base| {
                    Base::read(base).ok_or_else(|| ChainRefusal::NameConstraintsKind {
                        subject: ca.subject_text(),
                        tag: base.tag,
                    })
                })
                .collect()
        };
        let permitted = bases(&constraints.permitted)?;
        let excluded = bases(&constraints.excluded)?;
        if permitted.is_empty() && excluded.is_empty() {
            continue;
        }
        let within = Place::read(name).is_some_and(|place| {
            (permitted.is_empty() || permitted.iter().any(|base| base.covers(&place)))
                && !excluded.iter().any(|base| base.covers(&place))
        });
        if !within {
            return Err(ChainRefusal::NameConstraints {
                subject: ca.subject_text(),
                name: String::from_utf8_lossy(&name.value).into_owned(),
            });
        }
    }
    Ok(())
}

/// Where a name lies: its host in lower case, and for an e-mail address whose
/// mailbox it is.
struct Place {
    user: Option<String>,
    host: String,
}

impl Place {
    fn read(name: &GeneralName) -> Option<Self> {
        let text = std::str::from_utf8(&name.value).ok()?;
        let (user, host) = match name.tag {
            1 => {
                let (user, host) = text.rsplit_once('@')?;
                (Some(user.to_owned()), host)
            }
            6 => (None, uri_host(text)?),
            _ => return None,
        };
        Some(Self {
            user,
            host: host_name(host)?,
        })
    }
}

/// One constraint.
enum Base {
    /// `alice@example.test`: that mailbox (e-mail only).
    Mailbox { user: String, host: String },
    /// `example.test`: that host.
    Host(String),
    /// `.example.test`: all hosts below it. The dot is kept.
    Below(String),
}

impl Base {
    fn read(base: &GeneralName) -> Option<Self> {
        let text = std::str::from_utf8(&base.value).ok()?;
        match (base.tag, text.rsplit_once('@'), text.strip_prefix('.')) {
            (1, Some((user, host)), _) => Some(Self::Mailbox {
                user: user.to_owned(),
                host: host_name(host)?,
            }),
            (1 | 6, None, Some(domain)) => Some(Self::Below(format!(".{}", host_name(domain)?))),
            (1 | 6, None, None) => host_name(text).map(Self::Host),
            _ => None,
        }
    }

    fn covers(&self, place: &Place) -> bool {
        match self {
            Self::Mailbox { user, host } => {
                place.host == *host && place.user.as_deref() == Some(user.as_str())
            }
            Self::Host(host) => place.host == *host,
            Self::Below(domain) => place.host.ends_with(domain.as_str()),
        }
    }
}

/// The host of `scheme://[user@]host[:port][/…]`.
fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    Some(host.split_once(':').map_or(host, |(host, _)| host))
}

/// A host name in lower case: labels of letters, digits, hyphens and underscores
/// with single dots between them, and no address.
fn host_name(host: &str) -> Option<String> {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let address = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (!address && host.split('.').all(label)).then(|| host.to_ascii_lowercase())
}
