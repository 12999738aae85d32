//! The command `quickstart`: a demonstration with Git in a temporary directory.
//!
//! It starts the servers, signs, verifies, tampers, and cleans up. Each command is
//! printed before it runs, so that users can repeat it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use gitseal_terminal::{self as terminal, Style, Styled, styled};

use crate::{
    config,
    error::CommandError,
    serve::{RunningServers, ServeArgs},
    store::OIDC,
};

/// The user who signs.
const USER: &str = "alice@example.test";
/// The maximum length of one command's output, in bytes.
const MAX_OUTPUT: usize = 64 * 1024;

/// Starts the servers on free loopback ports in a temporary directory, creates a
/// repository there, signs a commit and a tag with Git, verifies both, tampers
/// with the commit and verifies that it is rejected. Needs Git 2.34 or newer,
/// and gitseal beside this program. Your files and configuration are not used.
#[derive(clap::Args)]
pub struct QuickstartArgs {
    /// Keep the directory and print its path
    #[arg(long)]
    pub keep: bool,
}

/// The expected exit of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Success,
    /// Exactly this exit code.
    Refusal(i32),
}

/// The output of one command.
struct CommandOutput {
    stdout: String,
}

struct Sandbox {
    folder: PathBuf,
    repository: PathBuf,
    /// The PATH, which starts with the directory of gitseal.
    path: OsString,
}

/// Runs all steps of the demo.
///
/// # Errors
///
/// The first thing that is not as it must be.
pub fn run(arguments: &QuickstartArgs) -> Result<(), CommandError> {
    let program = beside("gitseal")?;
    let folder = tempfile::Builder::new()
        .prefix("gitseal-quickstart-")
        .tempdir()?;
    let sandbox = Sandbox::new(folder.path(), &program)?;
    say("Servers: an identity provider, Fulcio, a CT log, Rekor and a timestamp authority");
    let servers = RunningServers::start(&ServeArgs {
        dir: sandbox.folder.join("sigstore"),
        listen: None,
        host: None,
        user: vec![USER.to_owned()],
        ask: false,
        issuers: None,
        json: false,
    })?;
    let issuer = servers.state.service_url(OIDC)?;
    terminal::print(&styled!(
        "  {} knows {}; all servers listen on this machine only\n",
        issuer,
        USER
    ))?;
    let outcome = sandbox.demonstrate(&issuer);
    // Also after a failure, the servers stop and the directory is removed.
    let stopped = servers.stop();
    if arguments.keep || outcome.is_err() && env::var_os("GITSEAL_KEEP").is_some() {
        terminal::print(&styled!("kept {}\n", folder.keep().display().to_string()))?;
    } else {
        folder.close()?;
    }
    outcome?;
    stopped?;
    say("All checks passed; temporary files were removed.");
    terminal::print(&styled!(
        "Next: 'gitseal-reference serve --dir DIR' runs such servers permanently. docs/operations.md\nshows how to use your own, or the public Sigstore.\n"
    ))?;
    Ok(())
}

/// Prints the heading of a section.
fn say(text: &str) {
    // A closed pipe ends the story at the next command, which checks it.
    let _ = terminal::print(&styled!("\n{}\n", terminal::style(Style::Strong, text)));
}

/// Returns the path of a program in the directory of this one.
fn beside(name: &str) -> Result<PathBuf, CommandError> {
    let own = env::current_exe()?;
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let program = own.with_file_name(&file);
    if program.is_file() {
        return Ok(program);
    }
    Err(CommandError::new(
        format!("{} not found", program.display()),
        "build or install both programs together: 'cargo build' or './install.sh'",
    ))
}

impl Sandbox {
    fn new(folder: &Path, program: &Path) -> Result<Self, CommandError> {
        let repository = folder.join("repository");
        fs::create_dir_all(folder.join("home"))?;
        fs::create_dir_all(&repository)?;
        let directory = program.parent().unwrap_or(Path::new(".")).to_owned();
        let rest = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(directory).chain(env::split_paths(&rest)))
            .map_err(|error| CommandError::new(format!("PATH: {error}"), ""))?;
        Ok(Self {
            folder: folder.to_owned(),
            repository,
            path,
        })
    }

    fn demonstrate(&self, issuer: &str) -> Result<(), CommandError> {
        self.check_git()?;
        let config = self.folder.join("sigstore").join("gitconfig");
        say("Create a repository and configure Git to use gitseal");
        self.git(&["init", "--quiet"], Expect::Success)?;
        for (key, value) in [("user.name", "Alice"), ("user.email", USER)] {
            self.git(&["config", "--global", key, value], Expect::Success)?;
        }
        let include = config.display().to_string();
        self.git(
            &["config", "--global", "--add", "include.path", &include],
            Expect::Success,
        )?;
        for (key, value) in [
            ("gitseal.certificateIdentity", USER),
            ("gitseal.certificateOidcIssuer", issuer),
        ] {
            self.git(&["config", "--global", key, value], Expect::Success)?;
        }

        say("Sign a commit and a tag");
        fs::write(self.repository.join("hello.txt"), "hello\n")?;
        self.git(&["add", "hello.txt"], Expect::Success)?;
        self.git(
            &["commit", "--quiet", "-S", "-m", "Say hello"],
            Expect::Success,
        )?;
        self.git(&["tag", "-s", "v1", "-m", "Version 1"], Expect::Success)?;

        say("Verify with Git, and with gitseal for the expected signer");
        self.git(&["verify-commit", "HEAD"], Expect::Success)?;
        self.git(&["verify-tag", "v1"], Expect::Success)?;
        let identity = [
            "--certificate-identity",
            USER,
            "--certificate-oidc-issuer",
            issuer,
        ];
        let verify = |first: &[&'static str]| -> Vec<String> {
            first
                .iter()
                .copied()
                .chain(identity)
                .map(str::to_owned)
                .collect()
        };
        self.gitseal(&verify(&["verify", "--offline"]), Expect::Success)?;
        self.gitseal(&verify(&["verify-tag", "v1", "--offline"]), Expect::Success)?;
        let shown = self.git(&["log", "-1", "--format=%G? %GS %GT"], Expect::Success)?;
        self.must_be(&shown.stdout, &format!("G {USER} fully"))?;

        say("Reject a tampered commit: same signature, different message");
        let commit = self.git(&["cat-file", "commit", "HEAD"], Expect::Success)?;
        let forged = commit.stdout.replace("Say hello", "Say goodbye");
        fs::write(self.folder.join("forged"), forged)?;
        let file = self.folder.join("forged").display().to_string();
        let id = self.git(
            &["hash-object", "-t", "commit", "-w", &file],
            Expect::Success,
        )?;
        let id = id.stdout.trim().to_owned();
        self.git(&["verify-commit", &id], Expect::Refusal(1))?;
        let mut refused = verify(&["verify", "--offline"]);
        refused.push(id.clone());
        self.gitseal(&refused, Expect::Refusal(1))?;
        let shown = self.git(&["log", "-1", "--format=%G?", &id], Expect::Success)?;
        self.must_be(&shown.stdout, "B")?;

        say("Reject a valid signature by an unexpected signer");
        let other: Vec<String> = [
            "verify",
            "--offline",
            "--certificate-identity",
            "mallory@example.test",
            "--certificate-oidc-issuer",
            issuer,
        ]
        .map(str::to_owned)
        .to_vec();
        self.gitseal(&other, Expect::Refusal(1))?;
        Ok(())
    }

    /// Checks for Git 2.34, the first version that applies `gpg.minTrustLevel`.
    fn check_git(&self) -> Result<(), CommandError> {
        let hint = "install Git 2.34 or newer";
        let output = self
            .command("git")
            .arg("--version")
            .output()
            .map_err(|error| CommandError::new(format!("cannot start git: {error}"), hint))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let mut numbers = text
            .split(|one: char| !one.is_ascii_digit())
            .filter_map(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version >= (2, 34) {
            return Ok(());
        }
        Err(CommandError::new(format!("{text} is too old"), hint))
    }

    /// Returns a command with the environment of the sandbox.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.repository)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.folder.join("home"))
            .env("XDG_CONFIG_HOME", self.folder.join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GITSEAL_CREDENTIAL_CACHE", "off")
            .env("GITSEAL_CONFIRM_IDENTITY", "false")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        // Windows programs do not start without these.
        for name in ["SystemRoot", "TEMP", "TMP"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    fn git(&self, arguments: &[&str], expect: Expect) -> Result<CommandOutput, CommandError> {
        self.run("git", arguments, expect)
    }

    fn gitseal(&self, arguments: &[String], expect: Expect) -> Result<CommandOutput, CommandError> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.run("gitseal", &arguments, expect)
    }

    /// Prints a command, runs it, prints its output, and checks its exit code.
    fn run(
        &self,
        program: &str,
        arguments: &[&str],
        expect: Expect,
    ) -> Result<CommandOutput, CommandError> {
        let line: Vec<String> = std::iter::once(&program)
            .chain(arguments)
            .map(|word| config::shell_quote(word))
            .collect();
        let line = line.join(" ");
        terminal::print(&Styled::lines(&format!("$ {line}\n")))?;
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .map_err(|error| CommandError::new(format!("cannot start {program}: {error}"), ""))?;
        let text = |bytes: &[u8]| {
            let shown = bytes.get(..MAX_OUTPUT).unwrap_or(bytes);
            String::from_utf8_lossy(shown).into_owned()
        };
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        // The raw commit is input of the next command and is not printed.
        if arguments.first() != Some(&"cat-file") {
            for said in [&stdout, &stderr] {
                for one in said.lines() {
                    terminal::print(&Styled::lines(&format!("  {one}\n")))?;
                }
            }
        }
        let code = output.status.code();
        let good = match expect {
            Expect::Success => output.status.success(),
            Expect::Refusal(wanted) => code == Some(wanted),
        };
        if !good {
            let wanted = match expect {
                Expect::Success => "0".to_owned(),
                Expect::Refusal(code) => code.to_string(),
            };
            return Err(CommandError::new(
                format!("'{line}' ended with {}, expected {wanted}", output.status),
                "run again with GITSEAL_KEEP=1 to keep the directory",
            ));
        }
        if let Expect::Refusal(code) = expect {
            terminal::print(&styled!(
                "  {}\n",
                terminal::style(Style::Quiet, &format!("exit code {code}, as expected"))
            ))?;
        }
        Ok(CommandOutput { stdout })
    }

    fn must_be(&self, found: &str, wanted: &str) -> Result<(), CommandError> {
        if found.trim() == wanted {
            return Ok(());
        }
        Err(CommandError::new(
            format!("Git prints {:?}, expected {wanted:?}", found.trim()),
            "",
        ))
    }
}
