//! The program `git` itself: its version, its configuration with the origin of
//! each value, and the committer. Nothing that is verified or signed comes from
//! here.

use std::{
    ffi::OsStr,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Maximum time that Git may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum output that is read, in bytes.
pub const MAX_OUTPUT: u64 = 8 << 20;

/// The result of running Git.
#[derive(Debug, Clone)]
pub struct GitOutput {
    /// Exit status; `None`: ended by a signal.
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

/// Errors while running Git.
#[derive(Debug, thiserror::Error)]
pub enum GitProgramError {
    #[error("git not found on the PATH")]
    Absent,
    #[error("cannot start git: {0}")]
    Start(io::Error),
    #[error("git did not exit within {} s", TIMEOUT.as_secs())]
    Slow,
    #[error("git was ended by a signal")]
    Killed,
    #[error("this Git is too old to list its configuration (2.26 or newer)")]
    TooOld,
    #[error("git {what}: {why}")]
    Failed { what: String, why: String },
}

/// Returns the Git on the PATH. A relative directory on it is not searched: a
/// repository could supply the program.
#[must_use]
pub fn program() -> Option<PathBuf> {
    find_on(&std::env::var_os("PATH")?, "git")
}

/// Runs git in `directory`.
///
/// # Errors
/// It is not there, cannot be started, or does not end.
pub fn run<S: AsRef<OsStr>>(
    directory: &Path,
    arguments: &[S],
    environment: &[(&str, &str)],
) -> Result<GitOutput, GitProgramError> {
    let git = program().ok_or(GitProgramError::Absent)?;
    run_program(&git, directory, arguments, environment)
}

/// Runs any program in the same way.
///
/// # Errors
/// As [`run`].
pub fn run_program<S: AsRef<OsStr>>(
    program: &Path,
    directory: &Path,
    arguments: &[S],
    environment: &[(&str, &str)],
) -> Result<GitOutput, GitProgramError> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C")
        // A token in the environment is nobody's business further down.
        .env_remove("SIGSTORE_ID_TOKEN")
        // Only `git config` reads it, in place of all files that count.
        .env_remove("GIT_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in environment {
        command.env(name, value);
    }
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GitProgramError::Absent,
        _ => GitProgramError::Start(error),
    })?;
    let out = child.stdout.take().map(drain);
    let err = child.stderr.take().map(drain);
    let begun = Instant::now();
    let mut pause = Duration::from_micros(50);
    let code = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) if begun.elapsed() < TIMEOUT => {
                thread::sleep(pause);
                pause = pause.saturating_mul(2).min(Duration::from_millis(2));
            }
            Ok(None) => {
                // It is our child, and what it would say is not awaited.
                let _ = child.kill();
                let _ = child.wait();
                return Err(GitProgramError::Slow);
            }
            Err(error) => return Err(GitProgramError::Start(error)),
        }
    };
    // Something that it started may hold the pipe: that is not waited for. Output
    // of which the end is not known is not output.
    let collect = |from: Option<mpsc::Receiver<Vec<u8>>>| {
        from.and_then(|from| from.recv_timeout(Duration::from_secs(1)).ok())
    };
    Ok(GitOutput {
        code,
        out: collect(out).ok_or(GitProgramError::Slow)?,
        err: String::from_utf8_lossy(&collect(err).unwrap_or_default()).into_owned(),
    })
}

fn drain(from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (give, take) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is what there is, and who does not wait
        // for it any more does not need it.
        let _ = from.take(MAX_OUTPUT).read_to_end(&mut bytes);
        let _ = give.send(bytes);
    });
    take
}

/// git's version: its numbers, and as it says it. Past any configuration, which
/// git reads even for this, and stops at if it is damaged.
///
/// # Errors
/// git gives no answer, or one without a version.
pub fn version() -> Result<((u32, u32), String), GitProgramError> {
    let nothing = if cfg!(windows) { "NUL" } else { "/dev/null" };
    let answer = run(
        &std::env::temp_dir(),
        &["--version"],
        &[
            ("GIT_CONFIG_GLOBAL", nothing),
            ("GIT_CONFIG_SYSTEM", nothing),
        ],
    )?;
    let text = String::from_utf8_lossy(&answer.out).trim().to_owned();
    let mut numbers = text
        .trim_start_matches("git version ")
        .split(['.', ' ', '-'])
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok(((major, minor), text)),
        _ => Err(GitProgramError::Failed {
            what: "--version".to_owned(),
            why: format!("no version in {text:?}"),
        }),
    }
}

/// Returns the path of Git's system configuration, whether or not the file exists.
///
/// # Errors
/// git gives no answer.
pub fn system_file(directory: &Path) -> Result<PathBuf, GitProgramError> {
    // Since 2.42 there is a word for it.
    let told = run(directory, &["var", "GIT_CONFIG_SYSTEM"], &[])?;
    let path = first_line(&told.out);
    if told.code == Some(0) && !path.is_empty() {
        return Ok(PathBuf::from(path));
    }
    // Before, git names the file to the editor, and makes none.
    let told = run(
        directory,
        &["config", "--system", "--edit"],
        &[("GIT_EDITOR", "echo"), ("TERM", "dumb")],
    )?;
    let path = first_line(&told.out);
    if told.code == Some(0) && !path.is_empty() {
        return Ok(PathBuf::from(path));
    }
    Err(GitProgramError::Failed {
        what: "does not say where its system configuration is".to_owned(),
        why: first_line(told.err.as_bytes()),
    })
}

/// The directories of a repository as Git names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryDirectories {
    pub git_dir: PathBuf,
    pub common_dir: PathBuf,
}

/// Returns the repository that Git uses in `directory`, or else its reason why there
/// is none. Who owns it, and whether a bare one may be found, is not asked here.
///
/// # Errors
/// Returns [`GitProgramError`] if Git does not run or does not answer.
pub fn repository(
    directory: &Path,
) -> Result<Result<RepositoryDirectories, String>, GitProgramError> {
    let arguments = [
        "-c",
        "safe.directory=*",
        "-c",
        "safe.bareRepository=all",
        "rev-parse",
        "--path-format=absolute",
        "--git-dir",
        "--git-common-dir",
    ];
    let answer = run(directory, &arguments, &[])?;
    match answer.code {
        Some(0) => {}
        Some(_) => return Ok(Err(complaint(&answer.err))),
        None => return Err(GitProgramError::Killed),
    }
    let lines = answer.out.strip_suffix(b"\n").unwrap_or_default();
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    match lines.as_slice() {
        [git_dir, common_dir] => Ok(Ok(RepositoryDirectories {
            git_dir: path(git_dir),
            common_dir: path(common_dir),
        })),
        _ => Err(GitProgramError::Failed {
            what: "rev-parse --git-dir --git-common-dir".to_owned(),
            why: "its output is not two paths".to_owned(),
        }),
    }
}

/// A path as Git prints it.
#[must_use]
pub fn path(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        PathBuf::from(OsStr::from_bytes(bytes))
    }
    #[cfg(not(unix))]
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

/// Returns name and email address of the committer, from all places where Git looks
/// for them; `None` if Git does not know or is missing.
#[must_use]
pub fn committer(directory: &Path) -> Option<(String, String)> {
    let told = run(directory, &["var", "GIT_COMMITTER_IDENT"], &[]).ok()?;
    let line = String::from_utf8(told.out).ok()?;
    // NAME <ADDRESS> SECONDS ZONE; git takes brackets out of the first two.
    let (name, rest) = line.split_once(" <").filter(|_| told.code == Some(0))?;
    let (address, _) = rest.split_once('>')?;
    Some((name.to_owned(), address.to_owned()))
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// One value as git lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigListing {
    /// `system`, `global`, `local`, `worktree`, `command`.
    pub scope: String,
    /// The file, or what git says instead.
    pub origin: String,
    /// The key; section and name in lower case.
    pub key: String,
    /// The value; `None` for a key without `=`.
    pub value: Option<String>,
}

/// All of git's configuration with the origin of each value, in the order of
/// ascending precedence.
///
/// # Errors
/// git gives no answer, or cannot read its configuration: what it says.
pub fn configuration(directory: &Path) -> Result<Vec<ConfigListing>, GitProgramError> {
    list(directory, &[])
}

/// Lists one configuration file, with the files that it includes.
///
/// # Errors
/// Returns an error if Git does not run or cannot read the file.
pub fn file_configuration(file: &Path) -> Result<Vec<ConfigListing>, GitProgramError> {
    list(
        Path::new("."),
        &["--includes".as_ref(), "--file".as_ref(), file.as_os_str()],
    )
}

fn list(directory: &Path, source: &[&OsStr]) -> Result<Vec<ConfigListing>, GitProgramError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let listed = list_configuration(directory, source)?;
    Ok(listed
        .into_iter()
        .map(|listed| ConfigListing {
            scope: listed.scope,
            origin: text(
                listed
                    .origin
                    .strip_prefix(b"file:")
                    .unwrap_or(&listed.origin),
            ),
            key: listed.key,
            value: listed.value.as_deref().map(text),
        })
        .collect())
}

/// One value as git lists it, with the bytes that it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawListing {
    pub scope: String,
    /// `file:` and the path, or another kind of source.
    pub origin: Vec<u8>,
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// Lists Git's configuration, or the file that `source` names.
///
/// # Errors
/// Returns [`GitProgramError`] if Git does not run, fails on its configuration, or
/// prints more than [`MAX_OUTPUT`].
pub fn list_configuration(
    directory: &Path,
    source: &[&OsStr],
) -> Result<Vec<RawListing>, GitProgramError> {
    let mut arguments: Vec<&OsStr> = vec!["config".as_ref()];
    arguments.extend(source);
    for flag in ["--list", "-z", "--show-scope", "--show-origin"] {
        arguments.push(flag.as_ref());
    }
    let answer = run(directory, &arguments, &[])?;
    let failed = |why: String| GitProgramError::Failed {
        what: "config --list".to_owned(),
        why,
    };
    match answer.code {
        Some(0) => parse_listing(&answer.out).map_err(failed),
        Some(129) => Err(GitProgramError::TooOld),
        Some(_) => Err(failed(complaint(&answer.err))),
        None => Err(GitProgramError::Killed),
    }
}

/// Returns Git's error messages as one line: the first says what is wrong, and the
/// last in which file.
fn complaint(err: &str) -> String {
    let lines: Vec<&str> = err
        .lines()
        .filter(|line| line.starts_with("error: ") || line.starts_with("fatal: "))
        .collect();
    match lines.as_slice() {
        [] => first_line(err.as_bytes()),
        lines => lines.join("; "),
    }
}

fn parse_listing(out: &[u8]) -> Result<Vec<RawListing>, String> {
    // A listing that is cut off, or not of this form, must not lose a value.
    if u64::try_from(out.len()).unwrap_or(u64::MAX) >= MAX_OUTPUT {
        return Err(format!("it prints more than {MAX_OUTPUT} bytes"));
    }
    let Some(out) = out.strip_suffix(&[0]) else {
        return match out {
            [] => Ok(Vec::new()),
            _ => Err(format!("its output is cut off after {} bytes", out.len())),
        };
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut parts = out.split(|byte| *byte == 0);
    let mut listed = Vec::new();
    while let Some(scope) = parts.next() {
        let (Some(origin), Some(entry)) = (parts.next(), parts.next()) else {
            return Err("its output is not scope, origin and key".to_owned());
        };
        let mut halves = entry.splitn(2, |byte| *byte == b'\n');
        listed.push(RawListing {
            scope: text(scope),
            origin: origin.to_vec(),
            key: text(halves.next().unwrap_or_default()),
            value: halves.next().map(<[u8]>::to_vec),
        });
    }
    Ok(listed)
}

/// The value of a key that counts, and where it is from.
#[must_use]
pub fn effective<'a>(listed: &'a [ConfigListing], key: &str) -> Option<&'a ConfigListing> {
    listed
        .iter()
        .rev()
        .find(|value| value.key.eq_ignore_ascii_case(key))
}

/// The first program of this name on a PATH.
#[must_use]
pub fn find_on(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|file| is_program(file))
}

/// Whether this is a file that may be started.
#[must_use]
pub fn is_program(file: &Path) -> bool {
    let Ok(facts) = std::fs::metadata(file) else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        facts.is_file() && facts.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    facts.is_file()
}
