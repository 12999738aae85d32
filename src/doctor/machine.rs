//! The machine and the person: home, directories, terminal, browser, credential
//! cache, environment.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

#[cfg(unix)]
use super::Repair;
use super::{Findings, Patient};
use crate::{
    host::{
        settings::{CacheMode, Settings, TABLE, nearest},
        user_directories,
    },
    sign::cache_is_gitsigns,
};

fn variable(name: &str) -> Option<String> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().into_owned())
}

/// Whether there is a home.
pub(super) fn home(findings: &mut Findings) {
    let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    match variable(name) {
        None => {
            findings
                .problem(
                    "home",
                    format!("{name} is not set: git finds no configuration of yours, and nothing can be kept"),
                )
                .fix(format!("set {name} where git is started (a service, a container, a hook)"));
        }
        Some(home) if !Path::new(&home).is_dir() => {
            findings
                .problem("home", format!("{name} is {home}, which is no directory"))
                .fix(format!("set {name} to a directory that is there"));
        }
        Some(_) => {}
    }
}

/// The directories where something is kept.
pub(super) fn directories(findings: &mut Findings) {
    let kept = [
        ("state", user_directories::state()),
        ("cache", user_directories::cache()),
    ];
    for (what, directory) in kept {
        let Some(directory) = directory else { continue };
        match fs::symlink_metadata(&directory) {
            // It is made when it is needed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                findings.warning(
                    "directories",
                    format!(
                        "the {what} directory {} cannot be looked at: {error}",
                        directory.display()
                    ),
                );
            }
            Ok(facts) => checked(what, &directory, &facts, findings),
        }
    }
}

#[cfg(unix)]
fn checked(what: &str, directory: &Path, facts: &fs::Metadata, findings: &mut Findings) {
    use std::os::unix::fs::MetadataExt as _;

    let shown = directory.display();
    if !facts.is_dir() {
        findings
            .warning(
                "directories",
                format!("the {what} directory {shown} is no directory"),
            )
            .fix(format!("move {shown} away"));
        return;
    }
    if let Some(me) = own_uid()
        && facts.uid() != me
    {
        findings
            .warning(
                "directories",
                format!("the {what} directory {shown} belongs to somebody else"),
            )
            .fix(format!("sudo chown -R \"$(id -u)\" {shown}"));
        return;
    }
    if facts.mode() & 0o022 != 0 {
        findings
            .warning(
                "directories",
                format!("others may write to the {what} directory {shown}"),
            )
            .fix(format!("chmod 700 {shown}"))
            .repair(Repair::Close(directory.to_owned()));
    }
}

#[cfg(not(unix))]
fn checked(what: &str, directory: &Path, facts: &fs::Metadata, findings: &mut Findings) {
    if !facts.is_dir() {
        let shown = directory.display();
        findings.warning(
            "directories",
            format!("the {what} directory {shown} is no directory"),
        );
    }
}

/// Whose process this is, as a file that it makes tells.
#[cfg(unix)]
fn own_uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    tempfile::tempfile()
        .and_then(|file| file.metadata())
        .map(|facts| facts.uid())
        .ok()
}

/// Takes the rights of others away.
#[cfg(unix)]
pub(super) fn close(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// Whether somebody can be asked, and a browser opened.
pub(super) fn terminal(patient: &Patient, findings: &mut Findings) {
    let terminal = if cfg!(windows) { "CONIN$" } else { "/dev/tty" };
    let can_ask = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(terminal)
        .is_ok();
    if can_ask {
        findings.ok("terminal", "there is a terminal to ask on");
    } else {
        findings.note(
            "terminal",
            "there is no terminal here: a login cannot ask for a code (GPG_TTY has no effect)",
        );
    }
    let opener = patient
        .settings
        .as_ref()
        .and_then(|settings| settings.url_opener.value.as_deref());
    let screen = cfg!(any(windows, target_os = "macos"))
        || variable("DISPLAY").is_some()
        || variable("WAYLAND_DISPLAY").is_some();
    let far = ["SSH_CONNECTION", "SSH_TTY"]
        .into_iter()
        .find(|name| variable(name).is_some());
    match (opener, screen, far) {
        (Some(_), _, _) => findings.ok("browser", "urlOpener says how a browser is opened"),
        (None, true, None) => findings.ok("browser", "a browser can be opened"),
        (None, _, Some(far)) => {
            findings.note(
                "browser",
                format!("no browser is opened from here: {far} is set, the screen is elsewhere"),
            );
        }
        (None, false, None) => {
            findings.note("browser", "no browser can be opened: there is no screen");
        }
    }
}

/// Variables that do something else than one may think.
pub(super) fn environment(findings: &mut Findings) {
    if variable("SIGSTORE_ID_TOKEN").is_some() {
        findings
            .warning(
                "token-in-environment",
                "SIGSTORE_ID_TOKEN is set: every program that is started here can sign as its owner while it is valid",
            )
            .fix("unset SIGSTORE_ID_TOKEN, and set it for the one command that needs it");
    }
    let known: Vec<String> = TABLE.iter().flat_map(|row| row.variables()).collect();
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("GITSEAL_");
        if !(ours || name.starts_with("GITSIGN_")) || value.is_empty() {
            continue;
        }
        if known.contains(&name) {
            if !ours {
                findings.note(
                    "gitsign-variable",
                    format!(
                        "gitsign's variable {name} is set, and goes before git's configuration"
                    ),
                );
            }
            continue;
        }
        let bare = name
            .trim_start_matches("GITSEAL_")
            .trim_start_matches("GITSIGN_")
            .replace('_', "");
        let near = nearest(&bare)
            .and_then(|near| TABLE.iter().find(|row| row.name == near))
            .map(|row| format!("GITSEAL_{}", row.variable));
        findings
            .warning(
                "unknown-variable",
                format!("{name} is set, and no setting has that name"),
            )
            .fix(match near {
                Some(near) => format!("unset {name}; {near} is the nearest that there is"),
                None => format!("unset {name}"),
            });
    }
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ] {
        if variable(name).is_some() {
            findings.note(
                "proxy",
                format!("requests go through the proxy that {name} names"),
            );
        }
    }
    for name in [
        "GIT_DIR",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_COUNT",
    ] {
        if let Some(value) = variable(name) {
            findings.note(
                "git-variable",
                format!("{name} is {value}: git does not look where it usually does"),
            );
        }
    }
}

/// The credential cache, if one is to be used.
pub(super) fn cache(settings: &Settings, findings: &mut Findings) {
    let socket = match &settings.credential_cache.value {
        CacheMode::Off => {
            findings.note(
                "cache",
                "the credential cache is off: each signature logs in",
            );
            return;
        }
        CacheMode::Auto => default_socket(),
        CacheMode::At(path) => Some(path.clone()),
    };
    let Some(socket) = socket else {
        findings.warning(
            "cache",
            "there is no place for the credential cache's socket",
        );
        return;
    };
    socket_is_safe(
        &socket,
        cache_is_gitsigns(&settings.credential_cache),
        findings,
    );
}

#[cfg(unix)]
fn default_socket() -> Option<PathBuf> {
    gitseal_credential_cache::socket_path::default_socket().ok()
}

#[cfg(not(unix))]
fn default_socket() -> Option<PathBuf> {
    user_directories::cache().map(|directory| directory.join("cache.sock"))
}

/// Asks as a signature would, with the same checks of the place.
#[cfg(unix)]
fn socket_is_safe(socket: &Path, gitsigns: Option<&str>, findings: &mut Findings) {
    use gitseal_credential_cache::{
        client::{ClientError, ClientTimeouts, Connection},
        listener::last_daemon_confirmed,
        socket_path::private,
    };

    let directory = socket.parent().unwrap_or(Path::new("/"));
    if let Ok(facts) = fs::symlink_metadata(directory)
        && let Err(error) = private(directory, &facts)
    {
        let finding = findings.problem(
            "cache-directory",
            format!("the directory of the credential cache's socket is not safe: {error}"),
        );
        if facts.is_dir() {
            finding
                .fix(format!("chmod 700 {}", directory.display()))
                .repair(Repair::Close(directory.to_owned()));
        } else {
            finding.fix("git config --global gitseal.credentialCache auto");
        }
        return;
    }
    let mut connection = match Connection::open(socket, ClientTimeouts::default()) {
        Ok(connection) => connection,
        Err(ClientError::Absent(_)) if last_daemon_confirmed(socket) => {
            findings
                .warning(
                    "cache",
                    "the credential cache was started to ask before each signature (--confirm), and does not run: each signature logs in",
                )
                .fix("start it again by hand, with --confirm, or without it if it shall not ask any more");
            return;
        }
        Err(ClientError::Absent(_)) if gitsigns.is_some() => {
            findings
                .warning(
                    "cache-gitsign",
                    format!(
                        "no credential cache runs where {} names gitsign's, and gitseal starts none there: each signature logs in",
                        gitsigns.unwrap_or_default()
                    ),
                )
                .fix("set GITSEAL_CREDENTIAL_CACHE=auto: a cache of its own is started");
            return;
        }
        Err(ClientError::Absent(_)) => {
            findings.ok(
                "cache",
                "no credential cache runs; it is started when it is needed",
            );
            return;
        }
        Err(error @ ClientError::Gitsign(_)) => {
            findings
                .warning("cache-gitsign", error.to_string())
                .fix("set GITSEAL_CREDENTIAL_CACHE=auto, or unset GITSIGN_CREDENTIAL_CACHE: a cache of its own is started");
            return;
        }
        Err(error @ (ClientError::Unsafe(_) | ClientError::Stranger(_))) => {
            findings
                .problem("cache-unsafe", error.to_string())
                .fix(format!("rm {}", socket.display()));
            return;
        }
        Err(error) => {
            findings
                .warning("cache", error.to_string())
                .fix("gitseal logout, and end the process that listens there");
            return;
        }
    };
    match connection.status() {
        Ok(entries) => findings.ok(
            "cache",
            format!(
                "the credential cache runs and holds {}",
                super::counted(entries.len(), "login")
            ),
        ),
        Err(error) => {
            findings
                .warning("cache", error.to_string())
                .fix("gitseal logout, and end the process that listens there");
        }
    }
}

#[cfg(not(unix))]
fn socket_is_safe(socket: &Path, _gitsigns: Option<&str>, findings: &mut Findings) {
    findings.note(
        "cache",
        format!("the credential cache's socket is {}", socket.display()),
    );
}
