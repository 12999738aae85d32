//! Checks of the machine and the session: home, directories, terminal, browser,
//! environment, credential cache.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use super::{DoctorContext, Finding};
use crate::{
    host::{
        opener::{self, Opener},
        settings::{TABLE, nearest, process_environment},
        user_directories,
    },
    sign,
};
use gitseal_terminal::tty::Tty;

fn variable(name: &str) -> Option<String> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().into_owned())
}

/// Checks the home directory.
pub(super) fn home(_: &DoctorContext) -> Vec<Finding> {
    let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    match variable(name) {
        None => vec![
            Finding::problem(
                "home",
                format!("{name} is not set: Git finds no user configuration, and gitseal cannot store anything"),
            )
            .fix(format!("set {name} where Git is started (a service, a container, a hook)")),
        ],
        Some(home) if !Path::new(&home).is_dir() => vec![
            Finding::problem("home", format!("{name} is not a directory: {home}"))
                .fix(format!("set {name} to a directory that exists")),
        ],
        Some(_) => Vec::new(),
    }
}

/// Checks gitseal's own directories. A missing one is created on first use.
pub(super) fn directories(_: &DoctorContext) -> Vec<Finding> {
    const ID: &str = "directories";
    let check = |(what, directory): (&str, Option<PathBuf>)| {
        let directory = directory?;
        let path = directory.display();
        match fs::symlink_metadata(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let message = format!("cannot read the {what} directory {path}: {error}");
                Some(Finding::warning(ID, message))
            }
            Ok(facts) if !facts.is_dir() => {
                let message = format!("{what} directory {path} is not a directory");
                Some(Finding::warning(ID, message).fix(format!("move {path} away")))
            }
            Ok(facts) => permissions(ID, what, &directory, &facts),
        }
    };
    [
        ("state", user_directories::state()),
        ("cache", user_directories::cache()),
    ]
    .into_iter()
    .filter_map(check)
    .collect()
}

#[cfg(unix)]
fn permissions(
    id: &'static str,
    what: &str,
    directory: &Path,
    facts: &fs::Metadata,
) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt as _;

    let path = directory.display();
    if facts.uid() != rustix::process::geteuid().as_raw() {
        let message = format!("{what} directory {path} is owned by another user");
        let fix = format!("sudo chown -R \"$(id -u)\" {path}");
        return Some(Finding::warning(id, message).fix(fix));
    }
    (facts.mode() & 0o022 != 0).then(|| {
        let message = format!("{what} directory {path} is writable by other users");
        restricted(Finding::warning(id, message), directory)
    })
}

#[cfg(not(unix))]
fn permissions(_: &'static str, _: &str, _: &Path, _: &fs::Metadata) -> Option<Finding> {
    None
}

/// Completes a finding with the fix for its directory.
#[cfg(unix)]
fn restricted(finding: Finding, directory: &Path) -> Finding {
    finding
        .fix(format!("chmod 700 {}", directory.display()))
        .repair(super::Repair::RestrictPermissions(directory.to_owned()))
}

/// Removes the permissions of other users from a directory.
#[cfg(unix)]
pub(super) fn restrict_permissions(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// Reports whether a login can prompt.
pub(super) fn terminal(_: &DoctorContext) -> Vec<Finding> {
    const ID: &str = "terminal";
    vec![if Tty::open().is_open() {
        Finding::ok(ID, "a terminal is available for prompts")
    } else {
        let message = "no terminal: login codes cannot be entered here (GPG_TTY has no effect)";
        Finding::note(ID, message)
    }]
}

/// Reports whether a login can open a browser.
pub(super) fn browser(context: &DoctorContext) -> Vec<Finding> {
    const ID: &str = "browser";
    let setting = context
        .settings()
        .and_then(|settings| settings.url_opener.value.as_deref());
    vec![match Opener::new(setting) {
        Err(error) => Finding::warning(ID, format!("invalid gitseal.urlOpener: {error}"))
            .fix("git config --global gitseal.urlOpener 'PROGRAM {{.URL}}'"),
        Ok(opener) if opener.is_configured() => {
            Finding::ok(ID, "a browser is opened with gitseal.urlOpener")
        }
        Ok(opener) if opener::can_open(&process_environment, &opener) => {
            Finding::ok(ID, "a browser can be opened")
        }
        Ok(_) => Finding::note(
            ID,
            match opener::remote_session(&process_environment) {
                Some(name) => format!("no browser in a remote session ({name} is set)"),
                None => "no display: cannot open a browser".to_owned(),
            },
        ),
    }]
}

/// Checks environment variables.
pub(super) fn environment(_: &DoctorContext) -> Vec<Finding> {
    const PROXIES: [&str; 6] = [
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ];
    const GIT: [&str; 4] = [
        "GIT_DIR",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_COUNT",
    ];
    let mut findings = Vec::new();
    if variable("SIGSTORE_ID_TOKEN").is_some() {
        findings.push(
            Finding::warning(
                "token-in-environment",
                "SIGSTORE_ID_TOKEN is set: while it is valid, every program started here can sign as its owner",
            )
            .fix("unset SIGSTORE_ID_TOKEN, and set it for the one command that needs it"),
        );
    }
    let known: Vec<String> = TABLE.iter().flat_map(|row| row.variables()).collect();
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy();
        let (section, bare) = name.split_at(name.len().min(8));
        if !matches!(section, "GITSEAL_" | "GITSIGN_") || value.is_empty() {
            continue;
        }
        if !known.iter().any(|known| *known == name) {
            let near = nearest(&bare.replace('_', ""))
                .and_then(|near| TABLE.iter().find(|row| row.name == near))
                .map(|row| format!("; did you mean GITSEAL_{}?", row.variable))
                .unwrap_or_default();
            let message = format!("{name} is set, but no setting has this name");
            findings.push(
                Finding::warning("unknown-variable", message).fix(format!("unset {name}{near}")),
            );
        } else if section == "GITSIGN_" {
            findings.push(Finding::note(
                "gitsign-variable",
                format!("gitsign's variable {name} is set, and wins over Git's configuration"),
            ));
        }
    }
    let set = |name: &&str| variable(name).is_some();
    findings.extend(
        PROXIES.into_iter().filter(set).map(|name| {
            Finding::note("proxy", format!("requests use the proxy that {name} names"))
        }),
    );
    findings.extend(GIT.into_iter().filter(set).map(|name| {
        let value = variable(name).unwrap_or_default();
        Finding::note(
            "git-variable",
            format!("{name} is {value}: Git does not look in its usual locations"),
        )
    }));
    findings
}

/// Checks the credential cache, if one is to be used.
pub(super) fn cache(context: &DoctorContext) -> Vec<Finding> {
    let Some(settings) = context.settings() else {
        return Vec::new();
    };
    let mode = &settings.credential_cache;
    vec![match sign::cache_socket(&mode.value) {
        Ok(None) => Finding::note(
            "cache",
            "the credential cache is off: each signature needs a login",
        ),
        Ok(Some(socket)) => socket_state(&socket, sign::gitsign_socket_variable(mode)),
        Err(error) => Finding::warning("cache", error.to_string()),
    }]
}

/// Connects as signing does, with the same checks of the path.
#[cfg(unix)]
fn socket_state(socket: &Path, gitsigns: Option<&str>) -> Finding {
    use gitseal_credential_cache::{
        client::{ClientError, ClientTimeouts, Connection},
        listener::last_daemon_confirmed,
        socket_path::private,
    };

    let directory = socket.parent().unwrap_or(Path::new("/"));
    if let Ok(facts) = fs::symlink_metadata(directory)
        && let Err(error) = private(directory, &facts)
    {
        let message =
            format!("the directory of the credential cache's socket is not safe: {error}");
        let finding = Finding::problem("cache-directory", message);
        return if facts.is_dir() {
            restricted(finding, directory)
        } else {
            finding.fix("git config --global gitseal.credentialCache auto")
        };
    }
    let connection = Connection::open(socket, ClientTimeouts::default());
    match connection.and_then(|mut connection| connection.status()) {
        Ok(entries) => Finding::ok(
            "cache",
            format!(
                "the credential cache is running and holds {}",
                super::counted(entries.len(), "login")
            ),
        ),
        Err(ClientError::Absent(_)) if last_daemon_confirmed(socket) => Finding::warning(
            "cache",
            "the credential cache with --confirm is not running; each signature needs a login",
        )
        .fix("start it again, with --confirm, or without it if it should no longer prompt"),
        Err(ClientError::Absent(_)) => match gitsigns {
            Some(variable) => Finding::warning(
                "cache-gitsign",
                format!("no credential cache is running at the path that {variable} names, which is gitsign's; each signature needs a login"),
            )
            .fix("set GITSEAL_CREDENTIAL_CACHE=auto to use gitseal's own cache"),
            None => Finding::ok(
                "cache",
                "the credential cache is not running; it starts on first use",
            ),
        },
        Err(error @ ClientError::Gitsign(_)) => Finding::warning("cache-gitsign", error.to_string())
            .fix("set GITSEAL_CREDENTIAL_CACHE=auto, or unset GITSIGN_CREDENTIAL_CACHE, to use gitseal's own cache"),
        Err(error @ (ClientError::Unsafe(_) | ClientError::Stranger(_))) => {
            Finding::problem("cache-unsafe", error.to_string())
                .fix(format!("rm {}", socket.display()))
        }
        Err(error) => Finding::warning("cache", error.to_string())
            .fix("gitseal cache stop, or end the process that listens there"),
    }
}

#[cfg(not(unix))]
fn socket_state(socket: &Path, _: Option<&str>) -> Finding {
    let message = format!("the credential cache's socket is {}", socket.display());
    Finding::note("cache", message)
}
