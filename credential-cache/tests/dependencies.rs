//! The daemon has few dependencies: fewer than 25 crates besides the cryptography.

use std::collections::BTreeSet;
use std::process::Command;

/// Elliptic curves, hashes, ASN.1 and certificates, constant-time arithmetic,
/// entropy and zeroizing.
const CRYPTOGRAPHY: &str = "\
    base16ct base64ct block-buffer cmov const-oid cpubits cpufeatures \
    crypto-bigint crypto-common ctutils der der_derive digest ecdsa elliptic-curve ff \
    flagset getrandom group hmac hybrid-array p256 pem-rfc7468 pkcs8 primefield \
    primeorder rand_core rfc6979 sec1 sha1 sha2 signature spki subtle typenum \
    wnaf x509-cert zeroize zeroize_derive";

#[test]
fn fewer_than_25_crates_besides_the_cryptography() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "-p",
            "gitseal-credential-cache",
            "-e",
            "normal",
        ])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let all: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "gitseal-credential-cache")
        .collect();
    assert!(all.contains("p256") && all.contains("rustix"), "{all:?}");
    let other: Vec<&&str> = all
        .iter()
        .filter(|name| CRYPTOGRAPHY.split(' ').all(|known| known != **name))
        .collect();
    println!("{} crates besides the cryptography: {other:?}", other.len());
    assert!(other.len() < 25, "{other:?}");
}
