//! Copies the public Sigstore's `trusted_root.json` out of the package that
//! carries it, so that the verifier has it built in without linking the rest.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let Some(out) = env::var_os("OUT_DIR") else {
        return;
    };
    let target = Path::new(&out).join("public_good_trusted_root.json");
    if let Err(error) = fs::write(
        &target,
        sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT,
    ) {
        println!("cargo:error=cannot write {}: {error}", target.display());
    }
}
