//! Fulcio's extensions: what an identity provider said beside the name.
//!
//! *Not checked here:* whether the values are the wanted ones (`identity.rs`).

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use super::Extension;
use crate::{
    asn1,
    refusal::{Reason, reason},
};

/// The arc of Fulcio's extensions: 1.3.6.1.4.1.57264.1.
const FULCIO_ARC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01];

/// One of Fulcio's extensions (`docs/oid-info.md` of Fulcio).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimOid {
    /// The last arc of 1.3.6.1.4.1.57264.1.N.
    pub arc: u8,
    /// The name that rules and reports use.
    pub name: &'static str,
}

/// Fulcio's extensions .1 to .24; .7 is a type of name, not an extension.
pub const CLAIM_OIDS: [ClaimOid; 23] = {
    const fn claim(arc: u8, name: &'static str) -> ClaimOid {
        ClaimOid { arc, name }
    }
    [
        claim(1, "issuer"),
        claim(2, "githubWorkflowTrigger"),
        claim(3, "githubWorkflowSha"),
        claim(4, "githubWorkflowName"),
        claim(5, "githubWorkflowRepository"),
        claim(6, "githubWorkflowRef"),
        claim(8, "issuerV2"),
        claim(9, "buildSignerUri"),
        claim(10, "buildSignerDigest"),
        claim(11, "runnerEnvironment"),
        claim(12, "sourceRepositoryUri"),
        claim(13, "sourceRepositoryDigest"),
        claim(14, "sourceRepositoryRef"),
        claim(15, "sourceRepositoryIdentifier"),
        claim(16, "sourceRepositoryOwnerUri"),
        claim(17, "sourceRepositoryOwnerIdentifier"),
        claim(18, "buildConfigUri"),
        claim(19, "buildConfigDigest"),
        claim(20, "buildTrigger"),
        claim(21, "runInvocationUri"),
        claim(22, "sourceRepositoryVisibilityAtSigning"),
        claim(23, "deploymentEnvironment"),
        claim(24, "subject"),
    ]
};

/// The claims that Fulcio certified beside the name: each extension by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FulcioExtensions {
    values: Vec<(ClaimOid, String)>,
}

impl FulcioExtensions {
    /// Claims by name, as a certificate would carry them; names that Fulcio does
    /// not have are left out.
    #[must_use]
    pub fn from_pairs(values: &[(&str, &str)]) -> Self {
        let found = CLAIM_OIDS.iter().filter_map(|claim| {
            let (_, value) = values.iter().find(|(name, _)| *name == claim.name)?;
            Some((*claim, (*value).to_owned()))
        });
        Self {
            values: found.collect(),
        }
    }

    /// The value of the extension of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(claim, _)| claim.name == name)
            .map(|(_, value)| value.as_str())
    }

    /// All that are there, by arc.
    pub fn iter(&self) -> impl Iterator<Item = (ClaimOid, &str)> {
        self.values
            .iter()
            .map(|(claim, value)| (*claim, value.as_str()))
    }

    /// The identity provider: .8, else .1; they were compared when read.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.by_name("issuerV2").or_else(|| self.by_name("issuer"))
    }
}

/// Those of the extensions that are Fulcio's: .1 to .6 hold the bare bytes of a
/// text, .8 and up a UTF8String in DER.
///
/// # Errors
/// A value that is not text in its form, or two issuers that differ.
pub(super) fn read(extensions: &[Extension]) -> Result<FulcioExtensions, Reason> {
    let mut values = Vec::new();
    for claim in CLAIM_OIDS {
        let name = claim.name;
        let found = extensions
            .iter()
            .find(|one| one.oid.split_last() == Some((&claim.arc, FULCIO_ARC)));
        let Some(extension) = found else { continue };
        let bytes = if claim.arc <= 6 {
            extension.value.as_slice()
        } else {
            asn1::read_single(&extension.value, asn1::UTF8_STRING, name)
                .map_err(|why| {
                    reason!(
                        "certificate-extension",
                        "cannot parse extension {name}: {why}"
                    )
                })?
                .value
        };
        let text = String::from_utf8(bytes.to_vec())
            .map_err(|_| reason!("certificate-text", "the extension {name} is not UTF-8 text"))?;
        values.push((claim, text));
    }
    let fulcio = FulcioExtensions { values };
    match (fulcio.by_name("issuer"), fulcio.by_name("issuerV2")) {
        (Some(v1), Some(v2)) if v1 != v2 => Err(reason!(
            "certificate-issuers-differ",
            "the issuer is {v1:?} in one extension and {v2:?} in the other"
        )),
        _ => Ok(fulcio),
    }
}
