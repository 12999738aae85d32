//! The keys of version 1 that version 2 does not have, each with what to write
//! instead.

/// The removed keys of a table.
pub(super) type Removed = &'static [(&'static str, &'static str)];

pub(super) const OF_POLICY: Removed = &[
    (
        "help",
        "write contact = \"…\", which is shown under every refusal; a rule can have its own help",
    ),
    (
        "bots",
        "let a bot sign as its CI identity, which is a signer; or let it push to a branch whose rule has commit = [\"anyone\"], and let a signer who may adopt merge that branch",
    ),
];

pub(super) const OF_RULE: Removed = &[
    (
        "mode",
        "write trial = true for a rule that is only reported, or mode = \"warn\" at the top of the file",
    ),
    (
        "unsigned",
        "write a rule with commit = [\"anyone\"] for the bots' own branches, and adopt for those who merge them; for merges in a web interface, write merge-by-account = true",
    ),
    (
        "unverified",
        "while the project changes to Sigstore, write mode = \"warn\" at the top of the file; for the history before it, write cut-off",
    ),
    (
        "match-author",
        "write match-committer = true; an author is what the committer wrote",
    ),
    (
        "claims",
        "write claims on the signer, with one signer for each kind of certificate",
    ),
];

pub(super) const OF_THRESHOLD: Removed = &[(
    "approvals",
    "leave it out: signed tags named TAG count at refs/approvals/TAG/ANYTHING",
)];
