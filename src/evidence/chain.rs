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

use crate::{
    UnixTime,
    asn1::{self, DerError, DerReader},
    certificate::{CERTIFICATE_POLICIES, Certificate, DIRECTORY_NAME, GeneralName, Rdn, rdns},
    hex,
    keys::KeyAlgorithm,
    memo::Memo,
    refusal::{Reason, codes, reason},
    time::rfc3339,
    trusted_root::CertificateAuthority,
};

/// KeyUsage bits as [`Certificate::key_usage`] numbers them.
const DIGITAL_SIGNATURE: u16 = 1 << 0;
const KEY_CERT_SIGN: u16 = 1 << 5;

/// anyExtendedKeyUsage 2.5.29.37.0.
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// The policy qualifiers of RFC 5280: id-qt-cps and id-qt-unotice
/// (1.3.6.1.5.5.7.2.1, .2). Both are for people.
const QUALIFIERS: [&[u8]; 2] = [
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x02, 0x01],
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x02, 0x02],
];

/// A leaf that a trusted authority issued.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedChain<'a> {
    /// The authority that issued it.
    pub authority: &'a CertificateAuthority,
    /// The certificate that issued the leaf.
    pub issuer: &'a Certificate,
}

/// Whether this is a certificate of the kind that Fulcio issues at all: an
/// identity provider is named in it.
///
/// # Errors
/// It has no issuer extension.
pub(crate) fn check_sigstore_leaf(leaf: &Certificate) -> Result<(), Reason> {
    if leaf.fulcio().issuer().is_some() {
        Ok(())
    } else {
        Err(reason!(
            "chain-not-sigstore",
            "not a Sigstore certificate: it has no OIDC issuer extension (issued by \
                 {issuer:?})",
            issuer = leaf.issuer_text()
        ))
    }
}

/// Verifies step 7: the profile of the leaf, and its chain to one of the
/// authorities at this time. Only that a key signed a certificate is taken from
/// `memo`; names, times and purposes are compared each time.
///
/// # Errors
/// The reason of the authority that came nearest to having issued the leaf.
pub fn verify<'a>(
    leaf: &Certificate,
    at: UnixTime,
    authorities: &'a [CertificateAuthority],
    memo: &Memo,
) -> Result<VerifiedChain<'a>, Reason> {
    check_sigstore_leaf(leaf)?;
    let mut telling = no_authority();
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

pub(crate) fn no_authority() -> Reason {
    reason!(
        codes::CHAIN_NO_AUTHORITY,
        "no trusted certificate authority issued it"
    )
}

/// Ranks a reason by how far the chain got: the further, the more it tells.
fn nearness(refusal: &Reason) -> u8 {
    match refusal.code() {
        codes::CHAIN_NO_AUTHORITY => 0,
        codes::CHAIN_KEY_IDS => 1,
        codes::CHAIN_SIGNATURE => 2,
        codes::CHAIN_AUTHORITY_WINDOW => 3,
        _ => 4,
    }
}

/// Every other certificate that the CMS brings must be one of the chain.
///
/// # Errors
/// The first certificate that is not of the chain.
pub fn check_extra_certificates(
    others: &[Certificate],
    authority: &CertificateAuthority,
) -> Result<(), Reason> {
    match others.iter().find(|one| !authority.chain.contains(one)) {
        None => Ok(()),
        Some(foreign) => Err(reason!(
            "chain-foreign-certificate",
            "the signature contains the certificate of {subject:?}, which is not in its \
                 chain",
            subject = foreign.subject_text()
        )),
    }
}

/// Fulcio's certificate profile (`docs/certificate-specification.md` of Fulcio).
fn leaf_profile(leaf: &Certificate) -> Result<(), Reason> {
    if let Some(oid) = leaf.unknown_critical_extension(&[]) {
        return Err(critical_extension(leaf, &oid));
    }
    if leaf
        .basic_constraints()
        .is_some_and(|constraints| constraints.ca)
    {
        return Err(reason!(
            "chain-leaf-is-ca",
            "the leaf is a certificate authority"
        ));
    }
    if leaf
        .key_usage()
        .is_none_or(|usage| usage & DIGITAL_SIGNATURE == 0)
    {
        return Err(reason!(
            "chain-leaf-key-usage",
            "the leaf's key usage is not digitalSignature"
        ));
    }
    let for_code = leaf.extended_key_usage().is_some_and(|uses| {
        uses.iter()
            .any(|one| one == ChainPurpose::CodeSigning.oid())
    });
    if !for_code {
        return Err(reason!(
            "chain-leaf-extended-key-usage",
            "the leaf is not for code signing"
        ));
    }
    let key = leaf
        .public_key()
        .map_err(|why| reason!("chain-leaf-key", "the leaf's key is not usable: {why}"))?;
    // Every kind that Fulcio certifies; smaller RSA keys are not even read.
    match key.algorithm() {
        KeyAlgorithm::P256
        | KeyAlgorithm::P384
        | KeyAlgorithm::P521
        | KeyAlgorithm::Rsa { .. }
        | KeyAlgorithm::Ed25519 => {}
    }
    leaf.identity().map(drop)
}

/// Whether this authority issued the leaf, with every link good at `at`. Its
/// issuing certificate did, or one further up: in May 2022 the public
/// instance's root still issued leaves itself.
fn issued_by<'a>(
    leaf: &Certificate,
    at: UnixTime,
    authority: &'a CertificateAuthority,
    memo: &Memo,
) -> Result<&'a Certificate, Reason> {
    let mut telling = no_authority();
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
) -> Result<(), Reason> {
    let issuer = chain.first().ok_or_else(no_authority)?;
    if leaf.issuer_der() != issuer.subject_der() {
        return Err(no_authority());
    }
    check_names(leaf, issuer)?;
    leaf.verify_signed_by(issuer, memo)
        .map_err(|why| unsigned(leaf, issuer, why))?;
    if !authority.window.contains(at) {
        return Err(reason!(
            codes::CHAIN_AUTHORITY_WINDOW,
            "signed at {at}, outside the validity of the authority {authority:?}",
            at = rfc3339(at),
            authority = issuer.subject_text()
        ));
    }
    valid_at(leaf, at)?;
    build_path(leaf, chain, at, ChainPurpose::CodeSigning, memo)
}

/// The purpose of a chain of authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainPurpose {
    /// Code signing: id-kp-codeSigning 1.3.6.1.5.5.7.3.3.
    CodeSigning,
    /// Timestamping: id-kp-timeStamping 1.3.6.1.5.5.7.3.8.
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
    memo: &Memo,
) -> Result<(), Reason> {
    for (below, ca) in chain.iter().enumerate() {
        valid_at(ca, at)?;
        may_issue(ca, below, purpose)?;
        name_constraints(ca, leaf)?;
        for between in chain.iter().take(below) {
            // RFC 5280 §6.1.3: a CA that renews its own certificate is not constrained.
            if between.subject_der() != between.issuer_der() {
                name_constraints(ca, between)?;
            }
        }
        // The last one is believed because the trusted root names it: a trust
        // anchor's own signature proves nothing (RFC 5280 §6.1).
        if let Some(next) = chain.get(below.saturating_add(1)) {
            check_issued_by(ca, next, memo)?;
        }
    }
    Ok(())
}

/// `one` names `next` as its issuer, and `next`'s key signed it.
pub(crate) fn check_issued_by(
    one: &Certificate,
    next: &Certificate,
    memo: &Memo,
) -> Result<(), Reason> {
    check_names(one, next)?;
    one.verify_signed_by(next, memo)
        .map_err(|why| unsigned(one, next, why))
}

fn critical_extension(certificate: &Certificate, oid: &str) -> Reason {
    reason!(
        "chain-critical-extension",
        "{:?} has the unknown critical extension {oid}",
        certificate.subject_text()
    )
}

fn unsigned(one: &Certificate, next: &Certificate, why: Reason) -> Reason {
    reason!(
        codes::CHAIN_SIGNATURE,
        "{subject:?} is not signed by {issuer:?}: {why}",
        subject = one.subject_text(),
        issuer = next.subject_text()
    )
}

/// The names and key identifiers of `one` lead to `next`.
///
/// # Errors
/// They lead to another certificate.
pub(crate) fn check_names(one: &Certificate, next: &Certificate) -> Result<(), Reason> {
    if one.issuer_der() != next.subject_der() {
        return Err(reason!(
            "chain-names",
            "{subject:?} names {issuer:?} as its issuer, not {next:?}",
            subject = one.subject_text(),
            issuer = one.issuer_text(),
            next = next.subject_text()
        ));
    }
    if let (Some(wanted), Some(found)) = (one.authority_key_id(), next.subject_key_id())
        && wanted != found
    {
        return Err(reason!(
            codes::CHAIN_KEY_IDS,
            "{subject:?} names issuer key {expected}, the issuer's is {found}",
            subject = one.subject_text(),
            expected = hex(wanted),
            found = hex(found)
        ));
    }
    Ok(())
}

fn valid_at(one: &Certificate, at: UnixTime) -> Result<(), Reason> {
    if one.is_valid_at(at) {
        return Ok(());
    }
    Err(reason!(
        "chain-expired",
        "{subject:?} is valid from {not_before} to {not_after}, not at {at}",
        subject = one.subject_text(),
        not_before = rfc3339(one.not_before()),
        not_after = rfc3339(one.not_after()),
        at = rfc3339(at)
    ))
}

/// RFC 5280 §6.1.4 (k)–(n), with `below` intermediates under this one.
fn may_issue(ca: &Certificate, below: usize, purpose: ChainPurpose) -> Result<(), Reason> {
    let subject = || ca.subject_text();
    // Any policy is acceptable here, and none is required: an extension that requires
    // or maps policies is unknown.
    if let Some(oid) = ca.unknown_critical_extension(&[CERTIFICATE_POLICIES]) {
        return Err(critical_extension(ca, &oid));
    }
    check_policies(ca)?;
    let constraints = ca.basic_constraints().filter(|constraints| constraints.ca);
    let Some(constraints) = constraints else {
        return Err(reason!(
            "chain-not-a-ca",
            "{subject:?} is not a certificate authority",
            subject = subject()
        ));
    };
    if let Some(allowed) = constraints.path_len
        && usize::try_from(allowed).is_ok_and(|allowed| below > allowed)
    {
        return Err(reason!(
            "chain-path-length",
            "{subject:?} allows {allowed} intermediates below it, there are {found}",
            subject = subject(),
            found = below
        ));
    }
    if ca
        .key_usage()
        .is_some_and(|usage| usage & KEY_CERT_SIGN == 0)
    {
        return Err(reason!(
            "chain-ca-key-usage",
            "the key of {subject:?} may not sign certificates",
            subject = subject()
        ));
    }
    // RFC 5280 §4.2.1.12: anyExtendedKeyUsage of a CA restricts nothing.
    let for_this = ca.extended_key_usage().is_none_or(|uses| {
        uses.iter()
            .any(|one| one == purpose.oid() || one == ANY_EXTENDED_KEY_USAGE)
    });
    if !for_this {
        return Err(reason!(
            "chain-ca-extended-key-usage",
            "{subject:?} is not for {purpose}",
            subject = subject(),
            purpose = purpose.name()
        ));
    }
    Ok(())
}

/// RFC 5280 §4.2.1.4: critical policies whose qualifiers are not all understood
/// refuse the certificate.
fn check_policies(ca: &Certificate) -> Result<(), Reason> {
    let Some(extension) = ca.extension(&CERTIFICATE_POLICIES) else {
        return Ok(());
    };
    if !extension.critical {
        return Ok(());
    }
    let refused = |problem: &dyn std::fmt::Display| {
        reason!(
            "chain-policies",
            "the critical certificate policies of {:?} are not supported: {problem}",
            ca.subject_text()
        )
    };
    match policy_qualifiers(&extension.value) {
        Err(error) => Err(refused(&error)),
        Ok(qualifiers) => match qualifiers.iter().find(|one| !QUALIFIERS.contains(one)) {
            None => Ok(()),
            Some(oid) => Err(refused(&format_args!("qualifier {}", asn1::dotted(oid)))),
        },
    }
}

/// The types of the qualifiers of all policies:
///
/// ```text
/// certificatePolicies ::= SEQUENCE SIZE (1..MAX) OF PolicyInformation
/// PolicyInformation ::= SEQUENCE { policyIdentifier OBJECT IDENTIFIER,
///   policyQualifiers SEQUENCE OF PolicyQualifierInfo OPTIONAL }
/// PolicyQualifierInfo ::= SEQUENCE { policyQualifierId OBJECT IDENTIFIER, qualifier ANY }
/// ```
fn policy_qualifiers(value: &[u8]) -> Result<Vec<&[u8]>, DerError> {
    const WHAT: &str = "certificatePolicies";
    asn1::check_der(value, WHAT)?;
    let mut policies = DerReader::new(asn1::read_single(value, asn1::SEQUENCE, WHAT)?.value);
    let mut qualifiers = Vec::new();
    while !policies.is_empty() {
        let mut policy = policies.enter(asn1::SEQUENCE, WHAT)?;
        policy.oid(WHAT)?;
        if let Some(list) = policy.optional(asn1::SEQUENCE, WHAT)? {
            let mut list = DerReader::new(list.value);
            while !list.is_empty() {
                let mut one = list.enter(asn1::SEQUENCE, WHAT)?;
                qualifiers.push(one.oid(WHAT)?);
                one.any(WHAT)?;
                one.finish(WHAT)?;
            }
        }
        policy.finish(WHAT)?;
    }
    Ok(qualifiers)
}

/// RFC 5280 §4.2.1.10 for the two kinds of name that Fulcio certifies with a
/// host in them, and for the subject, which is a directoryName if it is not empty.
/// A constraint of another kind is refused if the certificate has
/// such a name; otherwise it constrains nothing that is there. A constraint or a
/// name that cannot be compared (an address, a trailing dot, a subject that is not
/// ASCII) is refused, lest an excluded name pass in another spelling.
fn name_constraints(ca: &Certificate, below: &Certificate) -> Result<(), Reason> {
    let Some(constraints) = ca.name_constraints() else {
        return Ok(());
    };
    let subject = GeneralName {
        tag: DIRECTORY_NAME,
        value: below.subject_der().to_vec(),
    };
    // An empty SEQUENCE is two octets long.
    let subject = (subject.value.len() > 2).then_some(subject);
    for name in below.sans().iter().chain(subject.as_ref()) {
        let bases = |list: &[GeneralName]| -> Result<Vec<Base>, Reason> {
            list.iter()
                .filter(|base| base.tag == name.tag)
                .map(|base| {
                    Base::read(base).ok_or_else(|| {
                        reason!(
                            "chain-name-constraints-kind",
                            "{subject:?} constrains names of kind {tag} in a way that is not \
                             supported",
                            subject = ca.subject_text(),
                            tag = base.tag
                        )
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
            return Err(reason!(
                "chain-name-constraints",
                "{subject:?} may not certify the name {name:?}",
                subject = ca.subject_text(),
                name = match name.tag {
                    DIRECTORY_NAME => below.subject_text(),
                    _ => String::from_utf8_lossy(&name.value).into_owned(),
                }
            ));
        }
    }
    Ok(())
}

/// The location of a name.
enum Place {
    /// The host in lower case, and for an email address the mailbox.
    Host { user: Option<String>, host: String },
    /// A distinguished name, the root of the directory first.
    Directory(Vec<Rdn>),
}

impl Place {
    fn read(name: &GeneralName) -> Option<Self> {
        if name.tag == DIRECTORY_NAME {
            return rdns(&name.value).map(Self::Directory);
        }
        let text = std::str::from_utf8(&name.value).ok()?;
        let (user, host) = match name.tag {
            1 => {
                let (user, host) = text.rsplit_once('@')?;
                (Some(user.to_owned()), host)
            }
            6 => (None, uri_host(text)?),
            _ => return None,
        };
        Some(Self::Host {
            user,
            host: host_name(host)?,
        })
    }
}

/// One constraint on names.
enum Base {
    /// `alice@example.test`: that mailbox (e-mail only).
    Mailbox { user: String, host: String },
    /// Exactly that host: `example.test`.
    Host(String),
    /// `.example.test`: all hosts below it. The dot is kept.
    Below(String),
    /// A distinguished name and all that start with it.
    Directory(Vec<Rdn>),
}

impl Base {
    fn read(base: &GeneralName) -> Option<Self> {
        if base.tag == DIRECTORY_NAME {
            return rdns(&base.value).map(Self::Directory);
        }
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
        match (self, place) {
            (
                Self::Mailbox { user, host },
                Place::Host {
                    user: other,
                    host: at,
                },
            ) => at == host && other.as_deref() == Some(user.as_str()),
            (Self::Host(host), Place::Host { host: at, .. }) => at == host,
            (Self::Below(domain), Place::Host { host: at, .. }) => at.ends_with(domain.as_str()),
            (Self::Directory(base), Place::Directory(name)) => name.starts_with(base),
            (Self::Directory(_), Place::Host { .. }) | (_, Place::Directory(_)) => false,
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
