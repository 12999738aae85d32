//! A certificate for a key of ours, held against what was asked for before
//! anything is signed.

use super::{CLOCK_TOLERANCE, Clock, SignError, signer::KeyHandle};
use gitseal_evidence::{
    UnixTime,
    certificate::{Certificate, Identity, San},
    chain,
    memo::Memo,
    sct,
    trusted_root::TrustedRoot,
};
use gitseal_services::{
    fulcio::wire::{Authority, IssueRequest, encode_csr},
    oidc::token::{IdentityClaims, IdentityToken},
};

/// A certificate for a key of ours, checked.
pub(super) struct IssuedCertificate {
    /// The certificate.
    pub(super) leaf: Certificate,
    /// Whom it names.
    pub(super) identity: Identity,
    /// What the authority sent, in DER: the leaf first.
    pub(super) chain: Vec<Vec<u8>>,
}

/// Has a key certified. Nothing is signed with it, but the proof that we have
/// it, until the certificate is known to be right.
pub(super) fn request_certificate<A>(
    authority: &A,
    name: &str,
    signer: &KeyHandle,
    token: &IdentityToken,
    trust: &TrustedRoot,
    clock: Clock,
) -> Result<IssuedCertificate, SignError>
where
    A: Authority,
    SignError: From<A::Error>,
{
    let spki = signer.public()?;
    let request_pem = encode_csr(&spki, |bytes| signer.prove_possession(bytes))?;
    let chain = authority.certify(&IssueRequest {
        token: token.secret(),
        spki: &spki,
        request_pem: &request_pem,
        proof: &signer.prove_possession(token.challenge().as_bytes())?,
    })?;
    // What the authority sends along with the leaf is not needed: the chain is
    // the one of the trusted root.
    let other_key = || SignError::OtherKey {
        authority: name.trim_end_matches('/').to_owned(),
    };
    let leaf = chain.first().cloned().ok_or_else(other_key)?;
    let leaf_key = leaf.public_key().map_err(|reason| SignError::Key {
        authority: name.trim_end_matches('/').to_owned(),
        reason,
    })?;
    if leaf_key.spki() != spki {
        return Err(other_key());
    }
    let identity = check(&leaf, clock(), name, trust)?;
    same_identity(&identity, &leaf, token.claims()).map_err(|(what, found, expected)| {
        SignError::OtherIdentity {
            authority: name.trim_end_matches('/').to_owned(),
            what,
            found,
            expected,
        }
    })?;
    Ok(IssuedCertificate {
        leaf,
        identity,
        chain: chain.iter().map(|one| one.der().to_vec()).collect(),
    })
}

/// Whether a certificate is one that a verifier will take now: of a trusted
/// authority, in a trusted CT log, naming one identity. What dates the signature
/// is the log or a timestamp, and this machine's clock may be
/// [`CLOCK_TOLERANCE`] off, for a certificate that is kept as for a new one.
pub(super) fn check(
    leaf: &Certificate,
    now: UnixTime,
    authority: &str,
    trust: &TrustedRoot,
) -> Result<Identity, SignError> {
    let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
    let at = now.max(not_before).min(not_after);
    if at.abs_diff(now) > CLOCK_TOLERANCE.unsigned_abs() {
        return Err(SignError::Clock {
            not_before,
            not_after,
            now,
        });
    }
    let authority = || authority.trim_end_matches('/').to_owned();
    let chained =
        chain::verify(leaf, at, &trust.authorities, Memo::disabled()).map_err(|reason| {
            SignError::Chain {
                authority: authority(),
                reason,
            }
        })?;
    sct::verify(leaf, chained.issuer, &trust.ct_logs, Memo::disabled()).map_err(|reason| {
        SignError::Sct {
            authority: authority(),
            reason,
        }
    })?;
    leaf.identity().map_err(|reason| SignError::Nobody {
        authority: authority(),
        reason,
    })
}

/// Whether a certificate names whom the token names. What an authority makes of
/// a token depends on the kind of its issuer: an address as it is, the subject
/// as it is or with a domain, or, for CI systems, a text made of many claims.
/// Of the last kind only what is copied from the token is compared.
fn same_identity(
    identity: &Identity,
    leaf: &Certificate,
    claims: &IdentityClaims,
) -> Result<(), (&'static str, String, String)> {
    let issuer = identity.issuer.as_str();
    if issuer != claims.issuer && claims.connector.as_deref() != Some(issuer) {
        return Err(("issuer", issuer.to_owned(), claims.issuer.clone()));
    }
    let subject = leaf.fulcio().by_name("subject");
    if let Some(subject) = subject
        && subject != claims.subject
    {
        return Err(("subject", subject.to_owned(), claims.subject.clone()));
    }
    let found = identity.san.value();
    let expected = claims.email.as_ref().unwrap_or(&claims.subject);
    let same = match &identity.san {
        San::Email(email) => claims.email.as_ref() == Some(email),
        San::Uri(uri) => {
            *uri == claims.subject
                || uri.strip_prefix(&format!("{}/", claims.issuer)) == Some(&claims.subject)
                || subject.is_some()
                || claims.email.is_none()
        }
        San::OtherName(name) => name
            .strip_prefix(&claims.subject)
            .is_some_and(|domain| domain.starts_with('!')),
    };
    if same {
        Ok(())
    } else {
        Err(("identity", found.to_owned(), expected.clone()))
    }
}
