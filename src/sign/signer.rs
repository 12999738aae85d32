//! The key that signs: one made here and dropped with the signature, or one
//! that the credential cache keeps. Of the latter there is only a name here.

use std::cell::RefCell;

use gitseal_credential_cache::{
    client::{ClientError, Connection, RequestError},
    protocol::KeyId,
};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    elliptic_curve::Generate as _,
};
use sha2::{Digest as _, Sha256};
use spki::EncodePublicKey as _;

use super::SignError;
use gitseal_services::fulcio::wire::CsrError;

/// A P-256 key that can be asked for signatures. Has no `Debug`.
pub(super) enum KeyHandle {
    /// Made for one signature; wiped when dropped.
    Own(SigningKey),
    /// In the credential cache.
    Cached {
        /// The connection to it. Asking needs it for itself, and one signature
        /// is made after the other.
        cache: RefCell<Connection>,
        /// Which.
        key: KeyId,
        /// Its SubjectPublicKeyInfo in DER, where the cache said so: for a key
        /// that is to be certified.
        public: Vec<u8>,
    },
}

impl KeyHandle {
    /// A new key of this process.
    pub(super) fn generate() -> Self {
        Self::Own(SigningKey::generate())
    }

    /// A key that the cache keeps.
    pub(super) fn cached(cache: Connection, key: KeyId, public: Vec<u8>) -> Self {
        Self::Cached {
            cache: RefCell::new(cache),
            key,
            public,
        }
    }

    /// Something else to ask of the cache, while it holds this key.
    ///
    /// # Errors
    /// What it answers. For a key of this process there is no cache, and
    /// nothing to do.
    pub(super) fn with_cache(
        &self,
        ask: impl FnOnce(&mut Connection) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Cached { cache, .. } => ask(&mut cache.borrow_mut()),
        }
    }

    /// Whether the cache keeps it.
    pub(super) fn is_cached(&self) -> bool {
        matches!(self, Self::Cached { .. })
    }

    /// Its SubjectPublicKeyInfo in DER.
    pub(super) fn public(&self) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Own(key) => key
                .verifying_key()
                .to_public_key_der()
                .map(spki::Document::into_vec)
                .map_err(|error| {
                    CsrError::Der {
                        reason: error.to_string(),
                    }
                    .into()
                }),
            Self::Cached { public, .. } => Ok(public.clone()),
        }
    }

    /// The signature that is wanted. A daemon with `--confirm` asks a person for
    /// it, and whatever is not a yes is final: no, no answer in time, or a
    /// daemon that was ended instead of an answer.
    ///
    /// # Errors
    /// [`SignError::Denied`]; else as [`KeyHandle::prove_possession`].
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let asks = match self {
            Self::Own(_) => false,
            Self::Cached { cache, .. } => cache.borrow().daemon().confirms,
        };
        self.prove_possession(message).map_err(|error| match error {
            SignError::Cache(ClientError::Refused(RequestError::Denied)) => SignError::Denied,
            SignError::Cache(ClientError::Timeout | ClientError::Io(_)) if asks => {
                SignError::Denied
            }
            error => error,
        })
    }

    /// An ECDSA-with-SHA-256 signature over `message`, in DER: the proof that we
    /// have the key, for which nobody is asked.
    ///
    /// # Errors
    /// The cache is gone, slow, or does not know the key (any more).
    pub(super) fn prove_possession(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Own(key) => {
                let signature: DerSignature = key.sign(message);
                Ok(signature.as_bytes().to_vec())
            }
            Self::Cached { cache, key, .. } => cache
                .borrow_mut()
                .sign(*key, Sha256::digest(message).into())
                .map_err(SignError::Cache),
        }
    }
}
