//! `gitseal login`, `logout` and `whoami`: who signs here, ahead of signing.
//! `gitseal cache`: the daemon that keeps it.

use std::path::Path;

use gitseal_credential_cache::{
    client::{ClientError, ClientTimeouts, Connection},
    protocol::StatusEntry,
};
use serde_json::{Value, json};

use crate::host::{
    git_program,
    settings::{CacheMode, Settings},
    trusted_root_files,
};
use crate::{
    cli::{CacheAction, CacheArgs, LoginArgs, LogoutArgs, WhoamiArgs},
    context::{http_client, open_context},
    exit::{EXIT_OK, EXIT_REFUSED, written},
    sign::{self, LoginStatus, Session, SignError},
};
use gitseal_evidence::rfc3339;
use gitseal_terminal::{self as terminal, Escape, Style, Styled, escape, style, styled, table};

/// `gitseal login`.
pub fn login(arguments: &LoginArgs) -> u8 {
    finish(log_in(arguments))
}

/// `gitseal logout`.
pub fn logout(arguments: &LogoutArgs) -> u8 {
    finish(log_out(arguments))
}

/// `gitseal whoami`.
pub fn whoami(arguments: &WhoamiArgs) -> u8 {
    finish(who(arguments))
}

/// `gitseal cache …`.
pub fn cache(arguments: &CacheArgs) -> u8 {
    finish(match &arguments.action {
        CacheAction::Status { json } => status(*json),
        CacheAction::Clear { json } => ask(*json, "cleared", |cache| {
            let count = cache.clear()?;
            Ok((
                json!(count),
                format!("{count} keys and their tokens are forgotten"),
            ))
        }),
        CacheAction::Stop { json } => ask(*json, "stopped", |cache| {
            cache.stop()?;
            Ok((json!(true), "the credential cache has ended".to_owned()))
        }),
    })
}

fn finish(result: Result<u8, SignError>) -> u8 {
    result.unwrap_or_else(|error| {
        terminal::error(&error.to_string(), error.hint().as_deref());
        error.exit_code()
    })
}

fn log_in(arguments: &LoginArgs) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    if settings.credential_cache.value == CacheMode::Off {
        return Err(SignError::Settings(
            "gitseal.credentialCache is off: there is nowhere to keep a login",
        ));
    }
    let trust = trusted_root_files::load(None, &settings)?;
    let http = http_client();
    let mut login = sign::login(&settings, &http)?;
    login.committer = git_program::committer(Path::new("."));
    sign::check_services(&settings, &login)?;
    let session = Session::new(&settings, login, &trust.root, &http);
    let standing = session.log_in(arguments.again)?;
    Ok(show(&standing, arguments.json))
}

fn log_out(arguments: &LogoutArgs) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let Some(mut cache) = running(&settings)? else {
        terminal::info("nobody is logged in: the credential cache is not running");
        return Ok(EXIT_OK);
    };
    let said = if arguments.here {
        let trust = trusted_root_files::load(None, &settings)?;
        let http = http_client();
        let mut login = sign::login(&settings, &http)?;
        login.committer = git_program::committer(Path::new("."));
        let scope = Session::new(&settings, login, &trust.root, &http).scope();
        if cache.forget(&scope).map_err(SignError::Cache)? {
            "logged out"
        } else {
            "nobody was logged in with these settings"
        }
    } else {
        match cache.clear().map_err(SignError::Cache)? {
            0 => "nobody was logged in",
            _ => "logged out",
        }
    };
    terminal::info(said);
    Ok(EXIT_OK)
}

fn who(arguments: &WhoamiArgs) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let trust = trusted_root_files::load(None, &settings)?;
    let http = http_client();
    let mut login = sign::login(&settings, &http)?;
    login.committer = git_program::committer(Path::new("."));
    let session = Session::new(&settings, login, &trust.root, &http);
    if let Some(mut cache) = running(&settings)?
        && let Some(standing) = session.status(&mut cache)?
    {
        return Ok(show(&standing, arguments.json));
    }
    let next = session.source_words();
    if arguments.json {
        let value = json!({ "loggedIn": false, "next": next });
        return Ok(match written(terminal::print_json(&value)) {
            EXIT_OK => EXIT_REFUSED,
            other => other,
        });
    }
    terminal::info(&format!(
        "nobody is logged in; the next signature takes its identity from {next}"
    ));
    Ok(EXIT_REFUSED)
}

/// Prints who signs here now.
fn show(standing: &LoginStatus, as_json: bool) -> u8 {
    if as_json {
        return written(terminal::print_json(&json!({
            "loggedIn": true,
            "identity": standing.identity.san.value(),
            "issuer": standing.identity.issuer,
            "notAfter": rfc3339(standing.not_after),
            "secondsLeft": standing.seconds_left,
        })));
    }
    written(terminal::print(&styled!(
        "{} ({})\nthe certificate is good for {}, until {}\n",
        style(Style::Strong, &Styled::name(standing.identity.san.value())),
        Styled::name(&standing.identity.issuer),
        words(standing.seconds_left),
        rfc3339(standing.not_after)
    )))
}

/// What starts a daemon that does not run.
fn next_start(settings: &Settings, socket: Option<&Path>) -> &'static str {
    if sign::cache_is_gitsigns(&settings.credential_cache).is_some() {
        return "a variable of gitsign's names that place, so gitseal starts none there";
    }
    #[cfg(unix)]
    if socket.is_some_and(gitseal_credential_cache::listener::last_daemon_confirmed) {
        return "the last one there asked before each signature: start it again by hand";
    }
    #[cfg(not(unix))]
    let _ = socket;
    "it starts with the next signature"
}

fn status(as_json: bool) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let socket = sign::cache_socket(&settings.credential_cache.value).map_err(SignError::Cache)?;
    let place = socket
        .as_deref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let entries = match running(&settings)? {
        None => None,
        Some(mut cache) => Some(cache.status().map_err(SignError::Cache)?),
    };
    if as_json {
        return Ok(written(terminal::print_json(&json!({
            "running": entries.is_some(),
            "socket": place,
            "credentials": entries.iter().flatten().map(entry_json).collect::<Vec<_>>(),
        }))));
    }
    let text = match entries {
        None if settings.credential_cache.value == CacheMode::Off => {
            styled!("the credential cache is off (gitseal.credentialCache)\n")
        }
        None => styled!(
            "the credential cache is not running ({}); {}\n",
            place,
            next_start(&settings, socket.as_deref())
        ),
        Some(entries) if entries.is_empty() => {
            styled!("the credential cache keeps nothing ({})\n", place)
        }
        Some(entries) => {
            let heading = ["FOR", "ISSUER", "AUTHORITY", "LEFT", "SIGNATURES"];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(entries.iter().map(entry_row));
            table(&rows)
        }
    };
    Ok(written(terminal::print(&text)))
}

fn entry_row(entry: &StatusEntry) -> Vec<String> {
    let left = match seconds_until(entry.not_after) {
        _ if entry.not_after == 0 => "logging in".to_owned(),
        0 => "over".to_owned(),
        left => words(left),
    };
    vec![
        match entry.scope.subject.as_str() {
            "" => "whoever logged in".to_owned(),
            subject => escape(subject, Escape::Ascii),
        },
        escape(&entry.scope.issuer, Escape::Ascii),
        escape(&entry.scope.authority, Escape::Ascii),
        left,
        entry.signatures.to_string(),
    ]
}

fn entry_json(entry: &StatusEntry) -> Value {
    json!({
        "subject": entry.scope.subject,
        "issuer": entry.scope.issuer,
        "clientID": entry.scope.client_id,
        "connectorID": entry.scope.connector,
        "authority": entry.scope.authority,
        "trustRoot": entry.scope.trusted_root,
        "notAfter": i64::try_from(entry.not_after).ok().filter(|at| *at != 0).map(rfc3339),
        "secondsLeft": seconds_until(entry.not_after),
        "signatures": entry.signatures,
    })
}

/// Asks the daemon one thing and shows what came of it.
fn ask(
    as_json: bool,
    name: &str,
    what: impl FnOnce(&mut Connection) -> Result<(Value, String), ClientError>,
) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let (value, text) = match running(&settings)? {
        None => (
            Value::Null,
            "the credential cache is not running".to_owned(),
        ),
        Some(mut cache) => what(&mut cache).map_err(SignError::Cache)?,
    };
    if as_json {
        return Ok(written(terminal::print_json(&json!({ name: value }))));
    }
    terminal::info(&text);
    Ok(EXIT_OK)
}

/// The daemon, if it runs. None is started.
fn running(settings: &Settings) -> Result<Option<Connection>, SignError> {
    let mode = &settings.credential_cache.value;
    let Some(socket) = sign::cache_socket(mode).map_err(SignError::Cache)? else {
        return Ok(None);
    };
    open(&socket)
}

fn open(socket: &Path) -> Result<Option<Connection>, SignError> {
    match Connection::open(socket, ClientTimeouts::default()) {
        Ok(cache) => Ok(Some(cache)),
        Err(ClientError::Absent { .. }) => Ok(None),
        Err(error) => Err(SignError::Cache(error)),
    }
}

fn seconds_until(at: u64) -> u64 {
    at.saturating_sub(u64::try_from(sign::system_time()).unwrap_or(0))
}

/// A time span as a person says it.
fn words(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_said_in_two_units() {
        assert_eq!(words(0), "0 s");
        assert_eq!(words(59), "59 s");
        assert_eq!(words(600), "10 min 0 s");
        assert_eq!(words(3725), "1 h 2 min");
    }
}
