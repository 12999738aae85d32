//! Homes, repositories, servers, and processes that cannot hang.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub const ALICE: &str = "alice@example.test";
pub const GITSEAL: &str = env!("CARGO_BIN_EXE_gitseal");
const REFERENCE: &str = concat!(env!("CARGO_BIN_EXE_gitseal"), "-reference");
const DEADLINE: Duration = Duration::from_secs(60);

/// What a process left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ended {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.text(), self.err);
        self
    }

    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.text(), self.err);
        assert!(self.err.contains(says), "{says:?} is not in {}", self.err);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.text(), self.err))
    }
}

/// A home, and a repository beside it.
pub struct Stage {
    root: tempfile::TempDir,
    /// Variables for every process; `None` takes one away.
    pub environment: Vec<(String, Option<String>)>,
}

impl Stage {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["home", "repo"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let stage = Self {
            root,
            environment: Vec::new(),
        };
        stage.git(["init", "-q", "-b", "main", "."]).ok();
        stage
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.root.path().join("home").join(name)
    }

    pub fn repo(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), Some(value.into())));
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.push((name.to_owned(), None));
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.repo())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.at("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S], input: &[u8]) -> Ended {
        let mut command = self.command(program);
        command.args(arguments);
        finish(command, input)
    }

    pub fn gitseal<const N: usize>(&self, arguments: [&str; N]) -> Ended {
        self.run(GITSEAL, &arguments, b"")
    }

    pub fn git<const N: usize>(&self, arguments: [&str; N]) -> Ended {
        self.run("git", &arguments, b"")
    }

    /// A value of the user's configuration.
    pub fn config(&self, key: &str, value: &str) {
        self.git(["config", "--global", key, value]).ok();
    }

    /// What git says that a key is.
    #[track_caller]
    pub fn value(&self, key: &str) -> String {
        self.git(["config", "--get", key])
            .ok()
            .text()
            .trim()
            .to_owned()
    }
}

impl Stage {
    /// The value of a setting that gitseal itself reads.
    #[track_caller]
    pub fn effective(&self, name: &str) -> String {
        let version = self.gitseal(["version", "--json"]).ok().json();
        version["settings"][name]["value"]
            .as_str()
            .unwrap_or_else(|| panic!("{version:#}"))
            .to_owned()
    }
}

pub fn finish(command: Command, input: &[u8]) -> Ended {
    finish_at(command, "", input)
}

/// Sends the input when the output contains this prompt.
pub fn finish_at(mut command: Command, prompt: &'static str, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let (prompted, wait) = mpsc::channel::<()>();
    let feed = thread::spawn(move || {
        let _ = wait.recv_timeout(DEADLINE);
        drop(stdin.write_all(&input));
    });
    let mut out = child.stdout.take().unwrap();
    let mut err = child.stderr.take().unwrap();
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut byte = [0_u8; 1];
        while !String::from_utf8_lossy(&bytes).contains(prompt) && out.read(&mut byte).unwrap() == 1
        {
            bytes.push(byte[0]);
        }
        drop(prompted);
        out.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let err = thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} did not end");
        }
        thread::sleep(Duration::from_millis(5));
    };
    feed.join().unwrap();
    Ended {
        code: status.code().unwrap_or(-1),
        out: out.join().unwrap(),
        err: String::from_utf8_lossy(&err.join().unwrap()).into_owned(),
    }
}

/// The reference servers; ended when dropped.
pub struct Servers {
    directory: tempfile::TempDir,
    child: Child,
}

impl Servers {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(REFERENCE)
            .args(["serve", "--user", ALICE, "--dir"])
            .arg(directory.path().join("state"))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                drop(send.send(line));
            }
        });
        receive.recv_timeout(Duration::from_secs(30)).unwrap();
        let begun = Instant::now();
        while !directory.path().join("state/gitconfig").exists() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(10));
        }
        Self { directory, child }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("state").join(name)
    }

    /// A setting that the servers wrote for clients.
    pub fn setting(&self, stage: &Stage, key: &str) -> String {
        let file = self.path("gitconfig");
        let ended = stage.git(["config", "--file", file.to_str().unwrap(), "--get", key]);
        ended.ok().text().trim().to_owned()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
