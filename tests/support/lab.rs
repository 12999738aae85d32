//! The reference servers in a process of their own, and a home that points at
//! them: for the tests that drive git itself.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub const ALICE: &str = "alice@example.test";
pub const GITSEAL: &str = env!("CARGO_BIN_EXE_gitseal");
pub const REFERENCE: &str = concat!(env!("CARGO_BIN_EXE_gitseal"), "-reference");

/// The reference servers, and a home that points at them.
pub struct Lab {
    pub directory: tempfile::TempDir,
    pub servers: Option<Child>,
    /// Variables for every process, over those of the lab.
    pub environment: Vec<(String, String)>,
    /// Of the servers.
    pub options: Vec<String>,
}

impl Lab {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further options for the servers.
    pub fn start_with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        let mut lab = Self {
            directory,
            servers: None,
            environment: Vec::new(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        lab.serve();
        let mut config = fs::read_to_string(lab.state().join("gitconfig")).unwrap();
        config.push_str(&format!(
            "\n[user]\n\tname = Alice\n\temail = {ALICE}\n[gpg]\n\tformat = x509\n\
             [gpg \"x509\"]\n\tprogram = {GITSEAL}\n[init]\n\tdefaultBranch = main\n\
             [gitseal]\n\ttokenProvider = headless\n\tcertificateIdentity = {ALICE}\n\
             \tcertificateOidcIssuer = {}\n[advice]\n\tdetachedHead = false\n",
            lab.issuer()
        ));
        fs::write(lab.directory.path().join("gitconfig"), config).unwrap();
        lab
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the servers and waits for their first line of output, which they
    /// write when they listen.
    pub fn serve(&mut self) {
        let mut child = Command::new(REFERENCE)
            .args(["serve", "--user", ALICE, "--dir"])
            .arg(self.state())
            .args(&self.options)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.path("servers.log")).unwrap())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                drop(send.send(line));
            }
        });
        let first = receive.recv_timeout(Duration::from_secs(30));
        self.servers = Some(child);
        if first.is_err() {
            panic!(
                "the servers do not start: {}",
                fs::read_to_string(self.path("servers.log")).unwrap_or_default()
            );
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.state().join("gitconfig").exists() {
            assert!(Instant::now() < deadline, "no gitconfig was written");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.servers.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// A setting out of the git config snippet that the servers wrote.
    pub fn setting(&self, key: &str) -> String {
        let output = Command::new("git")
            .args(["config", "--file"])
            .arg(self.state().join("gitconfig"))
            .args(["--get", key])
            .output()
            .unwrap();
        assert!(output.status.success(), "no {key} in the snippet");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn issuer(&self) -> String {
        self.setting("gitseal.issuer")
    }

    pub fn command(&self, program: &str, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GITSEAL_CREDENTIAL_CACHE", "off")
            .env("GITSEAL_CONFIRM_IDENTITY", "false")
            .env("GIT_CONFIG_GLOBAL", self.path("gitconfig"))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_EDITOR", "true")
            .envs(self.environment.iter().cloned());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, directory: &Path, arguments: &[S]) -> Output {
        let mut command = self.command("git", directory);
        command.args(arguments);
        finish(command, b"")
    }

    #[track_caller]
    pub fn git<S: AsRef<OsStr>>(&self, directory: &Path, arguments: &[S]) -> String {
        let output = self.run(directory, arguments);
        assert!(
            output.status.success(),
            "git {:?}: {}{}",
            arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    pub fn repository(&self, name: &str, more: &[&str]) -> PathBuf {
        let path = self.path(name);
        let mut arguments = vec!["init", "-q", name];
        arguments.extend(more);
        self.git(self.directory.path(), &arguments);
        path
    }

    #[track_caller]
    pub fn good(&self, directory: &Path, revision: &str) {
        let said = self.run(directory, &["verify-commit", "--raw", revision]);
        let lines = text(&said.stderr);
        assert!(said.status.success(), "{revision}: {lines}");
        assert!(lines.contains("GOODSIG "), "{lines}");
        assert!(lines.contains("TRUST_FULLY"), "{lines}");
        assert!(lines.contains(ALICE), "{lines}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command with this input for at most a minute.
pub fn finish(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let write = thread::spawn(move || drop(stdin.write_all(&input)));
    let read = |mut stream: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(stream.read_to_end(&mut bytes));
            bytes
        })
    };
    let stdout = read(Box::new(child.stdout.take().unwrap()));
    let stderr = read(Box::new(child.stderr.take().unwrap()));
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("a command did not end within a minute");
        }
        thread::sleep(Duration::from_millis(2));
    };
    write.join().unwrap();
    Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}
