//! What the peer tests stand on: peers by name, commands that end, the
//! reference servers, and repositories of a person who signs with them.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No single command of a peer may take longer.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(90);
/// Servers answer within this after their start.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// Where `.ci/peers` puts them.
pub fn peers_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    from("GITSEAL_PEERS").unwrap_or_else(|| {
        from("XDG_CACHE_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".cache")))
            .unwrap_or_default()
            .join("gitseal-peers")
    })
}

/// The path of a peer below [`peers_dir`]; says so when it is not there.
pub fn peer(path: &str) -> Option<PathBuf> {
    let full = peers_dir().join(path);
    if full.exists() {
        Some(full)
    } else {
        println!("skipped: no {path} (install with .ci/peers)");
        None
    }
}

/// A program of the system, found by asking it for its version.
pub fn program(name: &str, version: &str) -> Option<PathBuf> {
    match Command::new(name)
        .arg(version)
        .stdin(Stdio::null())
        .output()
    {
        Ok(output) if output.status.success() => Some(PathBuf::from(name)),
        _ => {
            println!("skipped: no {name} on this machine");
            None
        }
    }
}

/// A command with nothing of the caller's environment but `PATH`.
pub fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_DATA_HOME", home.join("data"))
        .env("TMPDIR", home)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(home);
    command
}

/// Runs to the end or to the limit, whichever is first.
pub fn run(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let stdout = reader(child.stdout.take().map(|p| Box::new(p) as _));
    let stderr = reader(child.stderr.take().map(|p| Box::new(p) as _));
    let until = Instant::now() + COMMAND_LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?}: not done after {COMMAND_LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: stdout.join().expect("stdout"),
        stderr: stderr.join().expect("stderr"),
    }
}

/// Runs, and demands success; returns standard output.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{:?} {:?}\n{}\nstdout:\n{}\nstderr:\n{}",
        command.get_program(),
        command.get_args().collect::<Vec<_>>(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs, and demands failure; returns both outputs.
#[track_caller]
pub fn fail(command: &mut Command) -> String {
    let output = run(command);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !output.status.success(),
        "{:?} {:?} succeeded:\n{text}",
        command.get_program(),
        command.get_args().collect::<Vec<_>>(),
    );
    text
}

/// A server that ends with the test.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it with both outputs in `log`, and an open standard input.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let out = File::create(&log).expect("log");
        let err = out.try_clone().expect("log");
        let child = command
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// Waits until `ready` answers; a server that ends before that, or takes
    /// longer than [`START_LIMIT`], fails the test with its log.
    pub fn wait<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Some(answer) = ready() {
                return answer;
            }
            let ended = self.child.try_wait().expect("wait");
            assert!(
                ended.is_none() && Instant::now() < until,
                "server not ready (ended: {ended:?})\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Whether something listens at this URL.
pub fn listens(url: &str) -> Option<()> {
    let url = url::Url::parse(url).ok()?;
    let address = (url.host_str()?, url.port_or_known_default()?)
        .to_socket_addrs()
        .ok()?
        .next()?;
    TcpStream::connect_timeout(&address, Duration::from_millis(500))
        .ok()
        .map(drop)
}

/// The reference servers in a folder of their own, with a person to sign.
pub struct Lab {
    pub home: TempDir,
    /// The servers' `--dir`.
    pub dir: PathBuf,
    /// They end with the lab.
    _servers: Server,
    signing: Value,
}

pub const ALICE: &str = "alice@example.test";

impl Lab {
    pub fn start() -> Self {
        let home = tempfile::Builder::new()
            .prefix("gitseal-peers-")
            .tempdir()
            .expect("a temporary folder");
        let dir = home.path().join("servers");
        let mut servers = Server::start(
            command(
                concat!(env!("CARGO_BIN_EXE_gitseal"), "-reference"),
                home.path(),
            )
            .arg("serve")
            .arg("--dir")
            .arg(&dir)
            .args(["--user", ALICE, "--json"]),
            home.path().join("servers.log"),
        );
        // One line of JSON says that all of them listen.
        let log = home.path().join("servers.log");
        servers.wait(|| {
            let said = fs::read_to_string(&log).ok()?;
            said.lines()
                .any(|line| line.starts_with('{') && line.ends_with('}'))
                .then_some(())
        });
        let signing = fs::read(dir.join("signing_config.json")).expect("signing_config.json");
        let signing = serde_json::from_slice(&signing).expect("JSON");
        Self {
            home,
            dir,
            _servers: servers,
            signing,
        }
    }

    fn url(&self, kind: &str) -> String {
        let url = self.signing[kind][0]["url"].as_str().expect("a URL");
        url.to_owned()
    }

    pub fn fulcio(&self) -> String {
        self.url("caUrls")
    }

    pub fn rekor(&self) -> String {
        self.url("rekorTlogUrls")
    }

    pub fn issuer(&self) -> String {
        self.url("oidcUrls")
    }

    /// The full URL of the timestamp endpoint.
    pub fn tsa(&self) -> String {
        self.url("tsaUrls")
    }

    pub fn trusted_root(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file("trusted_root.json")).expect("trusted root"))
            .expect("JSON")
    }

    /// A file that the servers wrote.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where a test may write.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("write");
        path
    }

    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command(program, self.home.path())
    }

    /// An identity token of the reference issuer for Alice.
    pub fn token(&self) -> String {
        let token = succeed(
            self.command(concat!(env!("CARGO_BIN_EXE_gitseal"), "-reference"))
                .arg("token")
                .arg("--dir")
                .arg(&self.dir)
                .args(["--user", ALICE]),
        );
        token.trim().to_owned()
    }

    /// The same in a file, for peers that read one.
    pub fn token_file(&self) -> PathBuf {
        self.write("token", self.token())
    }

    /// A repository whose owner signs with gitseal against these servers, or
    /// others where `settings` (lines of `gitseal.*`) say so.
    pub fn repository(&self, settings: &[(&str, &str)]) -> Repository<'_> {
        let mut config = String::new();
        let values = [
            ("user.name", "Alice"),
            ("user.email", ALICE),
            ("init.defaultBranch", "main"),
            ("gpg.format", "x509"),
            ("gpg.x509.program", env!("CARGO_BIN_EXE_gitseal")),
            ("gitseal.fulcio", &self.fulcio()),
            ("gitseal.rekor", &self.rekor()),
            ("gitseal.issuer", &self.issuer()),
            (
                "gitseal.trustedRoot",
                &self.file("trusted_root.json").to_string_lossy(),
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let all = values
            .into_iter()
            .chain(settings.iter().map(|(k, v)| ((*k).into(), (*v).into())));
        for (key, value) in all {
            let (section, name) = key.rsplit_once('.').expect("section.name");
            match section.split_once('.') {
                Some((section, sub)) => {
                    let _ = writeln!(config, "[{section} \"{sub}\"]");
                }
                None => {
                    let _ = writeln!(config, "[{section}]");
                }
            }
            let _ = writeln!(config, "\t{name} = \"{value}\"");
        }
        let repository = Repository {
            lab: self,
            config: self.write("gitconfig", config),
            path: self.path("repository"),
            token: self.token(),
        };
        succeed(
            repository
                .git_anywhere()
                .arg("init")
                .arg("--quiet")
                .arg(&repository.path),
        );
        repository
    }
}

pub struct Repository<'a> {
    pub lab: &'a Lab,
    config: PathBuf,
    pub path: PathBuf,
    /// What stands in `SIGSTORE_ID_TOKEN`.
    pub token: String,
}

impl Repository<'_> {
    fn of_alice(&self, program: &str) -> Command {
        let mut command = self.lab.command(program);
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GITSEAL_CREDENTIAL_CACHE", "off")
            .env("GITSEAL_CONFIRM_IDENTITY", "false")
            .env("GIT_CONFIG_GLOBAL", &self.config)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("SIGSTORE_ID_TOKEN", &self.token);
        command
    }

    fn git_anywhere(&self) -> Command {
        self.of_alice("git")
    }

    pub fn git(&self) -> Command {
        let mut git = self.git_anywhere();
        git.current_dir(&self.path);
        git
    }

    /// A signed commit; returns its id.
    pub fn commit(&self, message: &str) -> String {
        let mut git = self.git();
        git.args(["commit", "-S", "--quiet", "--allow-empty", "-m", message]);
        if !run(&mut git).status.success() {
            // git before 2.40 keeps what the helper said to itself: ask again.
            let asked = self.lab.write(
                "asked",
                format!(
                    "tree {0}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\n{message}\n",
                    "0".repeat(40)
                ),
            );
            let helper = env!("CARGO_BIN_EXE_gitseal");
            let mut again = self.of_alice("sh");
            again.current_dir(&self.path).arg("-c").arg(format!(
                "'{helper}' --status-fd=2 -bsau {ALICE} <'{}'",
                asked.display()
            ));
            panic!(
                "git commit -S failed; the helper says:\n{}",
                fail(&mut again)
            );
        }
        succeed(self.git().args(["rev-parse", "HEAD"]))
            .trim()
            .to_owned()
    }

    /// `git verify-commit`, and gitseal for the identity.
    pub fn verify(&self, revision: &str, identity: &str, issuer: &str) {
        succeed(self.git().args(["verify-commit", revision]));
        let verify = |identity: &str| {
            let mut command = self.of_alice(env!("CARGO_BIN_EXE_gitseal"));
            command
                .current_dir(&self.path)
                .args(["verify", revision, "--offline"])
                .args(["--certificate-identity", identity])
                .args(["--certificate-oidc-issuer", issuer]);
            command
        };
        succeed(&mut verify(identity));
        fail(&mut verify("mallory@example.test"));
    }

    /// What was signed and the signature in DER, cut out of the commit by
    /// lines, without any of gitseal's parsers.
    pub fn signed_parts(&self, revision: &str) -> (String, Vec<u8>) {
        use base64::Engine as _;
        let raw = succeed(self.git().args(["cat-file", "commit", revision]));
        let (mut payload, mut base64, mut inside) = (String::new(), String::new(), false);
        let mut header = true;
        for line in raw.split_inclusive('\n') {
            if header && line.starts_with("gpgsig ") {
                inside = true;
                continue;
            }
            if inside && let Some(rest) = line.strip_prefix(' ') {
                if !rest.starts_with('-') {
                    base64.push_str(rest.trim_end());
                }
                continue;
            }
            inside = false;
            header &= line != "\n";
            payload.push_str(line);
        }
        let der = base64::engine::general_purpose::STANDARD
            .decode(base64)
            .expect("base64");
        (payload, der)
    }
}
