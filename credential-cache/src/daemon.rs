//! The daemon's command line, and the order in which a process becomes one:
//! read the options, give up what could betray a key, take the socket, detach,
//! serve.
//!
//! *Not checked here:* everything that is served (`server.rs`).

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

use gitseal_credential_cache::client::{ALREADY_SERVED, ASKED_BEFORE};
use gitseal_credential_cache::confirm::{Confirm, Way, in_foreground};
use gitseal_credential_cache::listener::{Asking, ListenError, Listener};
use gitseal_credential_cache::server::{self, Server};
use gitseal_credential_cache::{clock, harden, place, secret};
use lexopt::prelude::{Long, Short, Value, ValueExt};

const HELP: &str = "\
Holds gitseal's ephemeral keys and signs on request. A key never leaves it.

Usage: gitseal-credential-cache [OPTIONS]

gitseal starts it by itself when it first logs in, and it ends by itself when
nothing is left to keep. Start it by hand to choose where it listens, to be
asked before each signature, or to let another machine sign through ssh.

Options:
      --socket PATH       Listen here. PATH's directory must be yours, mode 0700
                          (it is made if it is missing). Default:
                          $XDG_RUNTIME_DIR/gitseal/cache.sock, or gitseal/cache.sock
                          in your cache directory
      --systemd-socket-activation
                          Take the listening socket from the service manager
                          (LISTEN_FDS, descriptor 3) instead
      --confirm[=SECONDS] Ask you before a signature is made: through --askpass,
                          else on this terminal while it is in the foreground
                          there, else through $SSH_ASKPASS. With SECONDS a yes
                          holds that long for the same process
      --askpass PROGRAM   The program that asks; its exit status 0 says yes
      --idle-timeout SECONDS
                          End after so long with nothing to keep; 0: never
                          [default: 120, never with --confirm]
      --foreground        Stay in the terminal and say on standard error what is
                          done (the default when started by hand)
      --detach            Leave the terminal and the session, say nothing (this
                          is how gitseal starts it). Without --confirm it does
                          not serve a socket that one with --confirm served
  -h, --help              Show this
  -V, --version           Show the version

Exit status: 0 when it ended in order, 1 when it could not serve, 2 for a wrong
option, 3 when another one serves that socket already, 4 when one that asks
(--confirm) served it and --detach is given without --confirm.

Sign on a server with the identity of this machine, asked each time. In a
terminal of its own, where it asks (not with &: a job in the background cannot
read an answer; --askpass PROGRAM needs no terminal):
  gitseal-credential-cache --confirm --socket ~/.cache/gitseal/forward.sock
and in another one:
  ssh -R /run/user/1000/gitseal/cache.sock:$HOME/.cache/gitseal/forward.sock server
The server can ask for signatures while that connection and your certificate
last. It gets neither the key nor a token, and cannot log in.
";

struct Arguments {
    socket: Option<PathBuf>,
    activated: bool,
    confirm: Option<Duration>,
    askpass: Option<PathBuf>,
    /// As given: for so long, or for ever.
    idle_end: Option<Option<Duration>>,
    detach: bool,
}

impl Arguments {
    /// One that asks stays until it is ended: another at its place, which a
    /// forwarded socket would reach, could be one that does not ask.
    fn idle_end(&self) -> Option<Duration> {
        match (self.idle_end, self.confirm) {
            (Some(given), _) => given,
            (None, Some(_)) => None,
            (None, None) => Some(server::IDLE_END),
        }
    }

    fn asking(&self) -> Asking {
        match (self.confirm, self.detach) {
            (Some(_), _) => Asking::Each,
            (None, false) => Asking::NotByHand,
            (None, true) => Asking::NotByItself,
        }
    }
}

enum Wanted {
    Serve(Arguments),
    Text(String),
}

/// What failed, and what to do about it.
struct Failure {
    what: String,
    hint: &'static str,
    status: u8,
}

impl Failure {
    fn new(what: impl fmt::Display, hint: &'static str) -> Self {
        Self {
            what: what.to_string(),
            hint,
            status: 1,
        }
    }
}

/// Runs the daemon.
pub fn main() -> ExitCode {
    let wanted = match parse(std::env::args_os().skip(1)) {
        Ok(wanted) => wanted,
        Err(error) => {
            return complain(&Failure {
                what: error.to_string(),
                hint: "gitseal-credential-cache --help shows the options",
                status: 2,
            });
        }
    };
    match wanted {
        Wanted::Text(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Wanted::Serve(arguments) => match serve(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => complain(&failure),
        },
    }
}

fn complain(failure: &Failure) -> ExitCode {
    eprintln!("gitseal-credential-cache: {}", failure.what);
    if !failure.hint.is_empty() {
        eprintln!("hint: {}", failure.hint);
    }
    ExitCode::from(failure.status)
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Wanted, lexopt::Error> {
    let mut parsed = Arguments {
        socket: None,
        activated: false,
        confirm: None,
        askpass: None,
        idle_end: None,
        detach: false,
    };
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
                parsed.idle_end = Some((seconds > 0).then(|| Duration::from_secs(seconds)));
            }
            Long("foreground") => parsed.detach = false,
            Long("detach") => parsed.detach = true,
            Short('h') | Long("help") => return Ok(Wanted::Text(HELP.into())),
            Short('V') | Long("version") => {
                let version = concat!("gitseal-credential-cache ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok(Wanted::Text(version.into()));
            }
            Value(_) | Short(_) | Long(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Wanted::Serve(parsed))
}

fn serve(arguments: Arguments) -> Result<(), Failure> {
    if arguments.detach && !arguments.activated {
        close_inherited();
    }
    let hardened = harden::harden();
    let detach = arguments.detach;
    if !detach {
        for complaint in &hardened.complaints {
            eprintln!("gitseal-credential-cache: warning: {complaint}");
        }
    }
    let signals = signals()?;
    let confirm = confirm(&arguments)?;
    let listener = listener(&arguments)?;
    if detach {
        // It is a process of its own (nobody's group leader) when gitseal has
        // started it; elsewhere it already leads a session.
        let _ = rustix::process::setsid();
    }
    rustix::process::chdir("/").map_err(|error| Failure::new(error, ""))?;
    let mut log = logger(detach);
    log(&format!("listening on {}", listener.path.display()));
    let options = server::Options {
        idle_end: arguments.idle_end(),
        confirm,
        locked: hardened.locked,
        clock: Box::new(clock::system),
        entropy: Box::new(secret::system_entropy),
        log,
        signals,
    };
    Server::new(listener, options)
        .run()
        .map_err(|error| Failure::new(error, ""))
}

/// Closes every descriptor but the standard ones. Whoever started gitseal may
/// hold a lock on one or wait for its end, and this process outlives them. It
/// must come before this process opens anything of its own.
fn close_inherited() {
    // Where the system does not list them all (FreeBSD without fdescfs), as many
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
        // The one that listed them is closed already.
        let _ = nix::unistd::close(number);
    }
}

/// SIGTERM, SIGINT and SIGHUP make the far end of this readable: the loop ends,
/// and what is kept is zeroized on the way out.
fn signals() -> Result<UnixStream, Failure> {
    let failed = |error| Failure::new(error, "");
    let (heard, raised) = UnixStream::pair().map_err(failed)?;
    for signal in [
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
    ] {
        let raised = raised.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, raised).map_err(failed)?;
    }
    Ok(heard)
}

fn listener(arguments: &Arguments) -> Result<Listener, Failure> {
    if arguments.activated {
        return Listener::passed(arguments.asking()).map_err(|error| {
            Failure::new(error, "the .socket unit must name one ListenStream= path")
        });
    }
    let path = match &arguments.socket {
        Some(path) => std::path::absolute(path).map_err(|error| Failure::new(error, ""))?,
        None => place::default_socket()
            .map_err(|error| Failure::new(error, "name a socket with --socket PATH"))?,
    };
    Listener::bind(&path, arguments.asking()).map_err(|error| match error {
        ListenError::Taken(_) => Failure {
            what: error.to_string(),
            hint: "`gitseal cache stop` ends it",
            status: u8::try_from(ALREADY_SERVED).unwrap_or(1),
        },
        ListenError::Asked(_) => Failure {
            what: error.to_string(),
            hint: "start it in a terminal with --confirm, or without --detach if it shall not ask any more",
            status: u8::try_from(ASKED_BEFORE).unwrap_or(1),
        },
        ListenError::Stranger(_) => Failure::new(error, "name another one with --socket PATH"),
        ListenError::Place(_) => Failure::new(
            error,
            "the socket needs a directory that is yours alone (mode 0700)",
        ),
        ListenError::NotPassed(_) | ListenError::Io(..) => Failure::new(error, ""),
    })
}

fn confirm(arguments: &Arguments) -> Result<Option<Confirm>, Failure> {
    let Some(hold) = arguments.confirm else {
        return Ok(None);
    };
    let otherwise = std::env::var_os("SSH_ASKPASS")
        .filter(|program| !program.is_empty())
        .map(PathBuf::from);
    let way = match (&arguments.askpass, terminal(arguments.detach), otherwise) {
        (Some(program), ..) => Way::Program(program.clone()),
        (None, None, Some(program)) => Way::Program(program),
        (None, Some(terminal), otherwise) if otherwise.is_some() || in_foreground(&terminal) => {
            Way::Terminal {
                terminal,
                otherwise,
            }
        }
        (None, Some(_), _) => {
            return Err(Failure::new(
                "--confirm has nobody to ask: a job in the background cannot read an answer from its terminal",
                "run it in a terminal of its own, without &, or name a program with --askpass PROGRAM or SSH_ASKPASS",
            ));
        }
        (None, None, None) => {
            return Err(Failure::new(
                "--confirm has nobody to ask: there is no terminal",
                "name a program with --askpass PROGRAM or SSH_ASKPASS",
            ));
        }
    };
    Ok(Some(Confirm::new(way, hold)))
}

/// The terminal this was started from; a detached process has none.
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
            Ok(Wanted::Serve(arguments)) => arguments,
            Ok(Wanted::Text(text)) => panic!("{text}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn one_that_asks_does_not_end_by_itself() {
        let seconds = Duration::from_secs;
        for (line, idle_end) in [
            ("", Some(server::IDLE_END)),
            ("--idle-timeout 0", None),
            ("--idle-timeout 5", Some(seconds(5))),
            ("--confirm", None),
            ("--confirm=60 --askpass /bin/true", None),
            ("--confirm --idle-timeout 5", Some(seconds(5))),
            ("--idle-timeout 5 --confirm", Some(seconds(5))),
        ] {
            assert_eq!(parsed(line).idle_end(), idle_end, "{line}");
        }
    }

    #[test]
    fn who_is_started_how() {
        for (line, asking) in [
            ("", Asking::NotByHand),
            ("--detach", Asking::NotByItself),
            ("--confirm", Asking::Each),
            ("--detach --confirm", Asking::Each),
        ] {
            assert_eq!(parsed(line).asking(), asking, "{line}");
        }
    }
}
