//! The command line of the daemon, and the start of the process: it reads the
//! options, protects its memory, binds the socket, detaches and serves.
//!
//! *Not checked here:* the requests that are served (`server.rs`).

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::ops::RangeInclusive;
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use gitseal_credential_cache::client::{EXIT_ALREADY_RUNNING, EXIT_CONFIRM_REQUIRED};
use gitseal_credential_cache::confirm::{Confirm, PromptMethod, in_foreground};
use gitseal_credential_cache::listener::{ConfirmMode, ListenError, Listener};
use gitseal_credential_cache::server::{DaemonOptions, IDLE_TIMEOUT, Server};
use gitseal_credential_cache::socket_path::{SocketPathError, default_socket};
use gitseal_credential_cache::{clock, harden, secret};
use lexopt::prelude::{Long, Short, Value, ValueExt};

const HELP: &str = "\
Hold gitseal's ephemeral keys and sign on request. A key never leaves the daemon.

Usage: gitseal-credential-cache [OPTIONS]

gitseal starts the daemon when it first logs in, and the daemon exits when no
credentials are left. Start it yourself to choose its socket, to confirm each
signature, or to let another machine sign through ssh.

Options:
      --socket PATH       Socket to listen on. Its directory must be yours, mode
                          0700 (it is created if missing). Default:
                          $XDG_RUNTIME_DIR/gitseal/cache.sock, or gitseal/cache.sock
                          in your cache directory
      --systemd-socket-activation
                          Use the listening socket that the service manager passes
                          (LISTEN_FDS, descriptor 3)
      --confirm[=SECONDS] Prompt before each signature: with --askpass, else on
                          this terminal while in its foreground, else with
                          $SSH_ASKPASS. With SECONDS, remember a yes that long
                          for the same process
      --askpass PROGRAM   Program that prompts; exit status 0 means yes
      --idle-timeout SECONDS
                          Exit after this time without credentials; 0: never
                          [default: 120; never with --confirm]
      --foreground        Stay in the terminal and log to standard error (default)
      --detach            Leave the terminal and the session and log nothing (as
                          gitseal starts it). Without --confirm, refuse a socket
                          whose last daemon had --confirm
  -h, --help              Print help
  -V, --version           Print version

Exit status: 0 after a normal end, 1 if it cannot serve, 2 for a wrong option,
3 if another daemon serves that socket, 4 if the last daemon there had --confirm
and this one has --detach without --confirm.

To sign on a server with the identity of this machine and confirm each signature,
run this in its own terminal (not with &: a background job cannot prompt;
--askpass PROGRAM needs no terminal):
  gitseal-credential-cache --confirm --socket ~/.cache/gitseal/forward.sock
and in another terminal:
  ssh -R /run/user/1000/gitseal/cache.sock:$HOME/.cache/gitseal/forward.sock server
The server can request signatures while that connection lasts and your certificate
is valid. It gets neither the key nor a token, and cannot log in.
";

#[derive(Default)]
struct Arguments {
    socket: Option<PathBuf>,
    activated: bool,
    confirm: Option<Duration>,
    askpass: Option<PathBuf>,
    /// The given limit; `Some(None)` means that it never ends.
    idle_timeout: Option<Option<Duration>>,
    detach: bool,
}

impl Arguments {
    /// Returns the idle time limit. A daemon with `--confirm` has none: another
    /// one at its path, which a forwarded socket would reach, could be one
    /// without.
    fn idle_timeout(&self) -> Option<Duration> {
        match (self.idle_timeout, self.confirm) {
            (Some(given), _) => given,
            (None, Some(_)) => None,
            (None, None) => Some(IDLE_TIMEOUT),
        }
    }

    fn confirm_mode(&self) -> ConfirmMode {
        match (self.confirm, self.detach) {
            (Some(_), _) => ConfirmMode::On,
            (None, false) => ConfirmMode::OffManual,
            (None, true) => ConfirmMode::OffAutomatic,
        }
    }
}

enum Invocation {
    Serve(Arguments),
    Print(String),
}

/// An error with a hint for the user.
struct CommandError {
    message: String,
    hint: String,
    status: u8,
}

impl CommandError {
    fn new(message: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.into(),
            status: 1,
        }
    }

    fn with_status(self, status: i32) -> Self {
        let status = u8::try_from(status).unwrap_or(1);
        Self { status, ..self }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error, "")
    }
}

/// Runs the daemon.
pub fn main() -> ExitCode {
    let ended = match parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Print(text)) => {
            print!("{text}");
            Ok(())
        }
        Ok(Invocation::Serve(arguments)) => serve(arguments),
        Err(error) => {
            let hint = "'gitseal-credential-cache --help' lists the options";
            Err(CommandError::new(error, hint).with_status(2))
        }
    };
    let Err(error) = ended else {
        return ExitCode::SUCCESS;
    };
    eprintln!("gitseal-credential-cache: {}", error.message);
    if !error.hint.is_empty() {
        eprintln!("hint: {}", error.hint);
    }
    ExitCode::from(error.status)
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Invocation, lexopt::Error> {
    let mut parsed = Arguments::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("socket") => parsed.socket = Some(parser.value()?.into()),
            Long("systemd-socket-activation") => parsed.activated = true,
            Long("confirm") => {
                let seconds = match parser.optional_value() {
                    Some(value) => value.parse()?,
                    None => 0,
                };
                parsed.confirm = Some(Duration::from_secs(seconds));
            }
            Long("askpass") => parsed.askpass = Some(parser.value()?.into()),
            Long("idle-timeout") => {
                let seconds: u64 = parser.value()?.parse()?;
                parsed.idle_timeout = Some((seconds > 0).then(|| Duration::from_secs(seconds)));
            }
            Long("foreground") => parsed.detach = false,
            Long("detach") => parsed.detach = true,
            Short('h') | Long("help") => return Ok(Invocation::Print(HELP.into())),
            Short('V') | Long("version") => {
                let version = concat!("gitseal-credential-cache ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok(Invocation::Print(version.into()));
            }
            Value(_) | Short(_) | Long(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Invocation::Serve(parsed))
}

fn serve(arguments: Arguments) -> Result<(), CommandError> {
    if arguments.detach && !arguments.activated {
        close_inherited();
    }
    let protections = harden::harden();
    let detach = arguments.detach;
    if !detach {
        for warning in &protections.warnings {
            eprintln!("gitseal-credential-cache: warning: {warning}");
        }
    }
    let signals = signals()?;
    let confirm = confirm(&arguments)?;
    let listener = listener(&arguments)?;
    if detach {
        // Fails if it leads its process group already, as it does in a session of
        // its own.
        let _ = rustix::process::setsid();
    }
    std::env::set_current_dir("/")?;
    let mut log = logger(detach);
    log(&format!("listening on {}", listener.path.display()));
    let options = DaemonOptions {
        idle_timeout: arguments.idle_timeout(),
        confirm,
        locked: protections.locked,
        clock: Box::new(clock::system),
        entropy: Box::new(secret::system_entropy),
        log,
        signals,
    };
    Ok(Server::new(listener, options).run()?)
}

/// Closes every descriptor but the standard ones. The program that started
/// gitseal may hold a lock on one or wait for its end, and this process outlives
/// them. It must come before this process opens anything of its own.
fn close_inherited() {
    // Where the system does not list them all (FreeBSD without fdescfs): as many
    // as a shell or a build tool would use.
    const TRIED: RangeInclusive<RawFd> = 3..=1023;
    let listed = std::fs::read_dir("/dev/fd").map(|entries| {
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok())
            .collect()
    });
    let mut numbers: Vec<RawFd> = listed.unwrap_or_default();
    if !cfg!(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple"
    )) {
        numbers.extend(TRIED);
    }
    for number in numbers.into_iter().filter(|number| TRIED.start() <= number) {
        // The descriptor of the listing itself is closed already.
        let _ = nix::unistd::close(number);
    }
}

/// Returns a socket that becomes readable on SIGTERM, SIGINT and SIGHUP: the loop
/// ends, and keys and tokens are zeroized on the way out.
fn signals() -> std::io::Result<UnixStream> {
    let (received, raised) = UnixStream::pair()?;
    for signal in [
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::low_level::pipe::register(signal, raised.try_clone()?)?;
    }
    Ok(received)
}

fn listener(arguments: &Arguments) -> Result<Listener, CommandError> {
    let mode = arguments.confirm_mode();
    if arguments.activated {
        return Listener::from_service_manager(mode).map_err(|error| {
            CommandError::new(error, "the .socket unit must name one ListenStream= path")
        });
    }
    let path = match &arguments.socket {
        Some(path) => std::path::absolute(path)?,
        None => default_socket()
            .map_err(|error| CommandError::new(error, "name a socket with --socket PATH"))?,
    };
    Listener::bind(&path, mode).map_err(|error| match &error {
        ListenError::AlreadyRunning(_) => CommandError::new(error, "'gitseal cache stop' ends it")
            .with_status(EXIT_ALREADY_RUNNING),
        ListenError::ConfirmRequired(_) => CommandError::new(
            error,
            "start it in a terminal with --confirm, or without --detach to end confirmation",
        )
        .with_status(EXIT_CONFIRM_REQUIRED),
        ListenError::Stranger(_) => {
            CommandError::new(error, "name another socket with --socket PATH")
        }
        ListenError::Path(SocketPathError::Open { path, .. }) => {
            let hint = format!("chmod 700 {}", path.display());
            CommandError::new(error, hint)
        }
        ListenError::Path(_) => CommandError::new(
            error,
            "the socket needs a directory that is private to you (mode 0700)",
        ),
        ListenError::NotPassed(_) | ListenError::Io(..) => CommandError::new(error, ""),
    })
}

fn confirm(arguments: &Arguments) -> Result<Option<Confirm>, CommandError> {
    let Some(hold) = arguments.confirm else {
        return Ok(None);
    };
    let otherwise = std::env::var_os("SSH_ASKPASS")
        .filter(|program| !program.is_empty())
        .map(PathBuf::from);
    let method = match (&arguments.askpass, terminal(arguments.detach), otherwise) {
        (Some(program), ..) => PromptMethod::Program(program.clone()),
        (None, None, Some(program)) => PromptMethod::Program(program),
        (None, Some(terminal), otherwise) if otherwise.is_some() || in_foreground(&terminal) => {
            PromptMethod::Terminal {
                terminal,
                otherwise,
            }
        }
        (None, Some(_), _) => {
            return Err(CommandError::new(
                "--confirm needs an askpass program in the background: a background job cannot read from its terminal",
                "run it in its own terminal, without &, or name a program with --askpass PROGRAM or SSH_ASKPASS",
            ));
        }
        (None, None, None) => {
            return Err(CommandError::new(
                "--confirm needs a terminal or an askpass program",
                "name a program with --askpass PROGRAM or SSH_ASKPASS",
            ));
        }
    };
    Ok(Some(Confirm::new(method, hold)))
}

/// Returns the terminal this was started from; a detached process has none.
fn terminal(detach: bool) -> Option<File> {
    if detach {
        return None;
    }
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open("/dev/tty")
        .ok()
}

fn logger(detach: bool) -> Box<dyn FnMut(&str)> {
    if detach {
        Box::new(|_| {})
    } else {
        Box::new(|line| eprintln!("gitseal-credential-cache: {line}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Arguments {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Invocation::Serve(arguments)) => arguments,
            Ok(Invocation::Print(text)) => panic!("{text}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_daemon_with_confirm_has_no_idle_timeout() {
        let seconds = Duration::from_secs;
        for (line, idle_timeout) in [
            ("", Some(IDLE_TIMEOUT)),
            ("--idle-timeout 0", None),
            ("--idle-timeout 5", Some(seconds(5))),
            ("--confirm", None),
            ("--confirm=60 --askpass /bin/true", None),
            ("--confirm --idle-timeout 5", Some(seconds(5))),
            ("--idle-timeout 5 --confirm", Some(seconds(5))),
        ] {
            assert_eq!(parsed(line).idle_timeout(), idle_timeout, "{line}");
        }
    }

    #[test]
    fn the_options_set_the_confirm_mode() {
        for (line, mode) in [
            ("", ConfirmMode::OffManual),
            ("--detach", ConfirmMode::OffAutomatic),
            ("--confirm", ConfirmMode::On),
            ("--detach --confirm", ConfirmMode::On),
        ] {
            assert_eq!(parsed(line).confirm_mode(), mode, "{line}");
        }
    }
}
