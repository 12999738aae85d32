//! A key of ours and a certificate for it, held against what was asked for
//! before anything is signed.

use p256::{ecdsa::SigningKey, elliptic_curve::Generate as _};
use spki::EncodePublicKey as _;

use super::{CLOCK_TOLERANCE, Clock, SignError, signature};
use crate::{
    evidence::{
        certificate::{Certificate, Identity, San},
        chain, sct,
        trust::TrustedRoot,
    },
    services::{
        fulcio::wire::{Application, Authority, RequestRefusal, certificate_request},
        oidc::client::{Claims, Token},
    },
};

/// A certificate for a key of ours, both checked against what was asked for.
pub(super) struct Certified {
    pub(super) key: SigningKey,
    pub(super) leaf: Certificate,
    pub(super) identity: Identity,
}

/// Makes a key and has it certified. Nothing is signed with it, but the proof
/// that we have it, until the certificate is known to be right.
pub(super) fn certify<A>(
    authority: &A,
    name: &str,
    token: &Token,
    trust: &TrustedRoot,
    clock: Clock,
) -> Result<Certified, SignError>
where
    A: Authority,
    SignError: From<A::Error>,
{
    let authority_name = || name.trim_end_matches('/').to_owned();
    let key = SigningKey::generate();
    let spki = key
        .verifying_key()
        .to_public_key_der()
        .map_err(|error| RequestRefusal::Der {
            reason: error.to_string(),
        })?;
    let request_pem = certificate_request(spki.as_bytes(), |bytes| signature(&key, bytes))?;
    let chain = authority.certify(&Application {
        token: token.secret(),
        spki: spki.as_bytes(),
        request_pem: &request_pem,
        proof: &signature(&key, token.challenge().as_bytes()),
    })?;
    // What the authority sends along with the leaf is not needed: the chain is
    // the one of the trusted root.
    let Some(leaf) = chain.into_iter().next() else {
        return Err(SignError::OtherKey {
            authority: authority_name(),
        });
    };
    let leaf_key = leaf.public_key().map_err(|reason| SignError::Key {
        authority: authority_name(),
        reason,
    })?;
    if leaf_key.spki() != spki.as_bytes() {
        return Err(SignError::OtherKey {
            authority: authority_name(),
        });
    }
    let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
    let now = clock();
    let at = now.max(not_before).min(not_after);
    if at.abs_diff(now) > CLOCK_TOLERANCE.unsigned_abs() {
        return Err(SignError::Clock {
            not_before,
            not_after,
            now,
        });
    }
    let chained =
        chain::verify(&leaf, at, &trust.authorities).map_err(|reason| SignError::Chain {
            authority: authority_name(),
            reason,
        })?;
    sct::verify(&leaf, chained.issuer, &trust.ct_logs).map_err(|reason| SignError::Sct {
        authority: authority_name(),
        reason,
    })?;
    let identity = leaf.identity().map_err(|reason| SignError::Nobody {
        authority: authority_name(),
        reason,
    })?;
    same_identity(&identity, &leaf, token.claims()).map_err(|(what, found, expected)| {
        SignError::OtherIdentity {
            authority: authority_name(),
            what,
            found,
            expected,
        }
    })?;
    Ok(Certified {
        key,
        leaf,
        identity,
    })
}

/// Whether a certificate names whom the token names. What an authority makes of
/// a token depends on the kind of its issuer: an address as it is, the subject
/// as it is or with a domain, or, for CI systems, a text made of many claims.
/// Of the last kind only what is copied from the token is compared.
fn same_identity(
    identity: &Identity,
    leaf: &Certificate,
    claims: &Claims,
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
