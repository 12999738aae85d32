//! gitseal: keyless signing and verification of Git commits and tags with
//! Sigstore.
//!
//! Four rings; an import goes only inwards:
//!
//! ```text
//! commands ─► services ─► evidence        services/x/{client,server} ─► services/x/wire ─► evidence
//!     │  └──► host ─────► evidence        services/x  ─✗─► services/y      (the story joins them)
//!     │  └──► policy ───► evidence        services ─✗─► host ─✗─► services ; policy ─✗─► services, host
//!     └─────► credential-cache            credential-cache ─✗─► root
//! bin/reference ─► services/*/server
//! ```

pub mod commands;
pub mod evidence;
pub mod host;
pub mod policy;
pub mod services;
