//! The forge of the attack tests is judged by OpenSSL before it judges us: what
//! it makes without a knob turned is a CMS signature that OpenSSL accepts.

use std::{fs, process::Command};

use crate::support::forge::{self, Lab, commit_payload, pem};
use crate::support::peers;

#[test]
fn openssl_accepts_what_the_forge_makes() {
    let Some(openssl) = peers::openssl() else {
        return;
    };
    let lab = Lab::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let payload = commit_payload();
    let cms = file("cms.der", &lab.cms(&payload, &lab.spec()));
    let authorities = [&lab.root_certificate, &lab.intermediate_certificate]
        .map(|certificate| pem("CERTIFICATE", certificate))
        .concat();
    let authorities = file("authorities.pem", authorities.as_bytes());
    let verify = |content: &[u8]| {
        Command::new(&openssl)
            .args([
                "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any",
            ])
            .args(["-attime", &(forge::NOW + 5).to_string()])
            .arg("-in")
            .arg(&cms)
            .arg("-CAfile")
            .arg(&authorities)
            .arg("-content")
            .arg(file("content", content))
            .output()
            .unwrap()
    };
    let good = verify(&payload);
    assert!(
        good.status.success(),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    assert!(!verify(b"another content").status.success());
}
