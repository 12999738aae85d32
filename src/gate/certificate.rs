//! The push certificate (`git push --signed`), which identifies the pusher. Git
//! passes it to `pre-receive` alone: `update` knows only the account.
//!
//! It counts for this push if it contains the server's nonce and Git found that
//! nonce fresh, if it names each ref that is to change with the same values, and if
//! its signature verifies. A certificate that fails is an error: the account does
//! not replace it.
//!
//! *Not decided here:* what the pusher may do (`policy/`).

use std::{collections::HashSet, env};

use gix::{ObjectId, bstr::BString};

use crate::host::git::{Repository, push::RefCommand, push_certificate};
use crate::{batch::BatchVerifier, history, verdict::EntryLookup};
use gitseal_evidence::verify::SignatureInput;
use gitseal_policy::SignatureResult;

/// Maximum size of a certificate, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The push certificate as Git passes it in the hook's environment (githooks(5),
/// pre-receive).
pub struct PushCertificateEnv {
    /// `GIT_PUSH_CERT`: the id of the blob.
    blob: String,
    /// `GIT_PUSH_CERT_NONCE`: what the server gave to be signed.
    nonce: String,
    /// `GIT_PUSH_CERT_NONCE_STATUS`: `OK`, also for one that is older than this
    /// connection by no more than `receive.certNonceSlop`.
    status: String,
}

impl PushCertificateEnv {
    /// Reads the environment; `None` if the push is not signed.
    #[must_use]
    pub fn read() -> Option<Self> {
        let variable = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Some(Self {
            blob: variable("GIT_PUSH_CERT")?,
            nonce: variable("GIT_PUSH_CERT_NONCE").unwrap_or_default(),
            status: variable("GIT_PUSH_CERT_NONCE_STATUS").unwrap_or_default(),
        })
    }
}

/// A push certificate that was compared with the push.
pub struct CheckedCertificate {
    /// The ID of its blob, as Git passes it.
    pub blob: String,
    /// The result of verifying it, for the policy.
    pub signature: SignatureResult,
    /// The push options in it.
    pub options: Vec<BString>,
}

/// Verifies the push certificate.
#[must_use]
pub fn check(
    told: &PushCertificateEnv,
    updates: &[RefCommand],
    most: usize,
    repository: &Repository,
    engine: &BatchVerifier<'_>,
) -> CheckedCertificate {
    let (signature, options) =
        checked(told, updates, most, repository, engine).unwrap_or_else(|message| {
            let code = "push-certificate".to_owned();
            (SignatureResult::Bad { code, message }, Vec::new())
        });
    CheckedCertificate {
        blob: told.blob.clone(),
        signature,
        options,
    }
}

fn checked(
    told: &PushCertificateEnv,
    updates: &[RefCommand],
    most: usize,
    repository: &Repository,
    engine: &BatchVerifier<'_>,
) -> Result<(SignatureResult, Vec<BString>), String> {
    if told.status != "OK" {
        return Err(format!(
            "Git reports the status of its nonce as {}",
            match told.status.as_str() {
                "" => "missing",
                status => status,
            }
        ));
    }
    let blob = ObjectId::from_hex(told.blob.as_bytes())
        .map_err(|_| format!("{:?} is not an object ID", told.blob))?;
    let bytes = repository
        .objects()
        .blob(blob, MAX_BYTES)
        .map_err(|error| error.to_string())?;
    let hash = repository.hash();
    let certificate =
        push_certificate::read(&bytes, hash, most).map_err(|error| error.to_string())?;
    if certificate
        .nonce
        .is_none_or(|nonce| nonce != told.nonce.as_str())
    {
        return Err("its nonce is not the one that the server issued".to_owned());
    }
    let signed: HashSet<&RefCommand> = certificate.updates.iter().collect();
    if let Some(other) = updates.iter().find(|update| !signed.contains(update)) {
        return Err(format!("it does not contain this update of {}", other.name));
    }
    let verdict = engine.verify(
        &SignatureInput {
            payload: Some(certificate.payload),
            signature: certificate.signature,
            hash,
        },
        EntryLookup::Disabled,
    );
    Ok((history::signature(&verdict), certificate.options))
}
