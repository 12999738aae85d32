//! Profiles: signed, pinned, tampered with, and from the wrong places.

use std::{fs, path::PathBuf};

use crate::support::stub::{CannedResponse, Stub};
use crate::support::{
    ALICE, GITSEAL,
    home::mode,
    servers::Servers,
    stage::{Ended, Stage, run},
};

const PROFILE: &str = "version = 1\norganization = \"Example\"\ncontact = \"it@example.test\"\n\
    [settings]\nfulcio = \"https://fulcio.example\"\nmatchCommitter = true\n";

struct Signed {
    stage: Stage,
    issuer: String,
    profile: PathBuf,
    root: PathBuf,
    _servers: Servers,
}

/// A profile that Alice has signed, in a home that knows nothing of her.
fn signed() -> Signed {
    let servers = Servers::start(&[]);
    let mut stage = Stage::untouched();
    let issuer = servers.issuer();
    let root = stage.path("root.json");
    fs::copy(servers.file("trusted_root.json"), &root).unwrap();
    let digest = sha256(&fs::read(&root).unwrap());
    let profile = stage.path("profile.toml");
    let text = format!("{PROFILE}[trusted-root]\nfile = \"root.json\"\nsha256 = \"{digest}\"\n");
    fs::write(&profile, &text).unwrap();
    // Signing is configured by variables, and the home stays empty.
    let here = stage.environment.len();
    stage.set(
        "GIT_CONFIG_GLOBAL",
        servers.file("gitconfig").to_str().unwrap(),
    );
    stage.set("GITSEAL_TOKEN_PROVIDER", "headless");
    stage.set("GITSEAL_LOGIN_HINT", ALICE);
    stage.set("GITSEAL_CREDENTIAL_CACHE", "off");
    let signature = run(
        stage.command(GITSEAL, &stage.repo()).args(["-bsa"]),
        text.as_bytes(),
    )
    .ok()
    .out;
    fs::write(stage.path("profile.toml.sig"), signature).unwrap();
    stage.environment.truncate(here);
    Signed {
        stage,
        issuer,
        profile,
        root,
        _servers: servers,
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Signed {
    fn setup(&self, from: &str, identity: &str) -> Ended {
        self.stage.gitseal([
            "setup",
            "--yes",
            "--from",
            from,
            "--certificate-identity",
            identity,
            "--certificate-oidc-issuer",
            &self.issuer,
            "--trusted-root",
            self.root.to_str().unwrap(),
        ])
    }
}

#[test]
fn a_signed_profile_is_checked_installed_and_taken_back() {
    let signed = signed();
    let stage = &signed.stage;
    let from = signed.profile.to_str().unwrap();
    let ended = signed.setup(from, ALICE).ok();
    assert!(
        ended.err.contains("Example (signed by alice@example.test"),
        "{}",
        ended.err
    );
    assert_eq!(stage.value("gitseal.fulcio"), "https://fulcio.example");
    assert_eq!(stage.value("gitseal.matchCommitter"), "true");
    let installed = PathBuf::from(stage.value("gitseal.trustedRoot"));
    assert_eq!(
        fs::read(&installed).unwrap(),
        fs::read(&signed.root).unwrap()
    );
    assert_eq!(mode(&installed), 0o644);

    // A new profile takes the place of the old one; what it does not say, goes.
    fs::write(
        stage.path("pinned.toml"),
        "version = 1\norganization = \"Example\"\n[sign]\ntags = false\n[settings]\nrekorMode = \"online\"\n",
    )
    .unwrap();
    let pinned = stage.path("pinned.toml");
    let digest = sha256(&fs::read(&pinned).unwrap());
    stage
        .gitseal([
            "setup",
            "--yes",
            "--from",
            pinned.to_str().unwrap(),
            "--sha256",
            &digest,
        ])
        .ok();
    stage.git(["config", "--get", "gitseal.fulcio"]).fails(1);
    assert_eq!(stage.value("gitseal.rekorMode"), "online");
    assert!(!installed.exists());

    signed.setup(from, ALICE).ok();
    assert!(installed.exists());
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    assert!(!installed.exists());
    assert!(!stage.home(".gitconfig").exists());
}

#[test]
fn a_profile_of_somebody_else_or_changed_on_the_way_is_refused() {
    let signed = signed();
    let stage = &signed.stage;
    let from = signed.profile.to_str().unwrap();
    signed
        .setup(from, "mallory@example.test")
        .fails(1)
        .says("signature of");
    let text = fs::read_to_string(&signed.profile).unwrap();
    fs::write(
        &signed.profile,
        text.replace("fulcio.example", "fulcio.evil"),
    )
    .unwrap();
    signed.setup(from, ALICE).fails(1).says("signature of");
    fs::write(&signed.profile, &text).unwrap();
    fs::write(&signed.root, "{}").unwrap();
    assert_ne!(signed.setup(from, ALICE).code, 0);
    fs::remove_file(stage.path("profile.toml.sig")).unwrap();
    assert_ne!(signed.setup(from, ALICE).code, 0);
    assert!(!stage.home(".gitconfig").exists());
}

#[test]
fn addresses_are_https_or_loopback_and_nobody_sends_us_elsewhere() {
    let signed = signed();
    let stage = &signed.stage;
    let directory = stage.path("");
    let toml = |status, text| CannedResponse::new(status, "application/toml", text);
    let stub = Stub::start(move |asked| match asked.target.as_str() {
        "/moved.toml" => toml(302, Vec::new()).with("Location", "/profile.toml"),
        "/large.toml" => toml(200, vec![b'#'; 20 << 20]),
        path => match fs::read(directory.join(path.trim_start_matches('/'))) {
            Ok(text) => toml(200, text),
            Err(_) => toml(404, Vec::new()),
        },
    });
    let url = format!("http://{}", stub.address);
    signed.setup(&format!("{url}/profile.toml"), ALICE).ok();
    assert_eq!(stage.value("gitseal.fulcio"), "https://fulcio.example");
    stage.gitseal(["setup", "--undo", "--yes"]).ok();
    signed
        .setup(&format!("{url}/moved.toml"), ALICE)
        .fails(3)
        .says("unexpected redirect");
    signed
        .setup(&format!("{url}/large.toml"), ALICE)
        .fails(3)
        .says("larger than");
    signed
        .setup(&format!("{url}/nothing.toml"), ALICE)
        .fails(3)
        .says("404");
    signed
        .setup("http://192.0.2.1/profile.toml", ALICE)
        .fails(3)
        .says("use https");
    signed
        .setup("file:///profile.toml", ALICE)
        .fails(3)
        .says("https URL");
    let url = format!("{url}/profile.toml");
    stage
        .gitseal(["setup", "--yes", "--from", &url, "--unsigned"])
        .fails(2)
        .says("only for local files");
    stage
        .gitseal(["setup", "--yes", "--from", &url])
        .fails(2)
        .says("--sha256");
    stage
        .gitseal([
            "setup",
            "--yes",
            "--from",
            &url,
            "--sha256",
            &"0".repeat(64),
        ])
        .fails(1)
        .says("SHA-256");
    assert!(!stage.home(".gitconfig").exists());
}

#[test]
fn a_local_profile_may_be_taken_as_it_is_if_that_is_said() {
    let stage = Stage::untouched();
    let file = stage.path("p.toml");
    fs::write(&file, PROFILE).unwrap();
    let from = file.to_str().unwrap();
    stage
        .gitseal(["setup", "--yes", "--from", from])
        .fails(2)
        .says("--unsigned");
    stage
        .gitseal(["setup", "--yes", "--from", from, "--unsigned"])
        .ok();
    assert_eq!(stage.value("gitseal.fulcio"), "https://fulcio.example");
    fs::write(&file, format!("{PROFILE}urlOpener = \"sh\"\n")).unwrap();
    stage
        .gitseal(["setup", "--yes", "--from", from, "--unsigned"])
        .fails(2)
        .says("p.toml:7:1: urlOpener is not allowed in a profile");
}
