//! SPIFFE: the program spiffe-helper fetches the workload's JWT-SVID from the
//! agent and writes it to a file (`docs/decisions/0008-spiffe-token-file.md`).
//!
//! *Not checked here:* the token (`mod.rs`).

use super::{
    file,
    provider::{Problem, TokenProvider},
};

/// The socket of the agent; it shows that this is a SPIFFE workload.
const SOCKET_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

pub(super) static PROVIDER: TokenProvider = TokenProvider {
    name: "spiffe",
    source: "the JWT-SVID that spiffe-helper writes to `gitseal.tokenFile`",
    detect: |around| around.has(SOCKET_VARIABLE),
    fetch: file::configured,
    variables: &[SOCKET_VARIABLE],
    file: file::configured_path,
    hint: |problem, audience| {
        (problem == Problem::Missing).then(|| format!(
            "run spiffe-helper with jwt_svids = [{{ jwt_audience = {audience:?}, jwt_svid_file_name = \"token\" }}] and set gitseal.tokenFile to that file"
        ))
    },
};
