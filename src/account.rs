//! `gitseal login`, `logout` and `whoami`: the login that signing uses.
//! `gitseal cache`: the daemon that stores it.

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
    context::{http_client, open_context, system_time},
    exit::{EXIT_OK, EXIT_REFUSED, written},
    sign::{CredentialRequest, LoginStatus, SignError, cache_socket, gitsign_socket_variable},
};
use gitseal_evidence::{UnixTime, rfc3339};
use gitseal_terminal::{self as terminal, Escape, Style, Styled, escape, style, styled, table};

/// Runs `gitseal login`.
pub fn login(arguments: &LoginArgs) -> u8 {
    finish(log_in(arguments))
}

/// Runs `gitseal logout`.
pub fn logout(arguments: &LogoutArgs) -> u8 {
    finish(log_out(arguments))
}

/// Runs `gitseal whoami`.
pub fn whoami(arguments: &WhoamiArgs) -> u8 {
    finish(show_login(arguments))
}

/// Runs `gitseal cache`.
pub fn cache(arguments: &CacheArgs) -> u8 {
    finish(match &arguments.action {
        CacheAction::Status { json } => show_cache(*json),
        CacheAction::Clear { json } => control(*json, "cleared", |cache| {
            let count = cache.clear()?;
            Ok((json!(count), format!("deleted {count} keys and tokens")))
        }),
        CacheAction::Stop { json } => control(*json, "stopped", |cache| {
            cache.stop()?;
            Ok((json!(true), "credential cache stopped".to_owned()))
        }),
    })
}

fn finish(result: Result<u8, SignError>) -> u8 {
    result.unwrap_or_else(|error| {
        terminal::error(&error.to_string(), error.hint().as_deref());
        error.exit_code()
    })
}

/// Calls `f` with the request that the next signature in this directory would make.
fn with_request<T>(
    settings: &Settings,
    f: impl FnOnce(&CredentialRequest<'_>) -> Result<T, SignError>,
) -> Result<T, SignError> {
    let trust = trusted_root_files::load(None, settings)?;
    let http = http_client();
    let mut request = CredentialRequest::new(settings, &trust.root, &http)?;
    request.login.committer = git_program::committer(Path::new("."));
    f(&request)
}

fn log_in(arguments: &LoginArgs) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    if settings.credential_cache.value == CacheMode::Off {
        return Err(SignError::Settings {
            message: "cannot store a login: gitseal.credentialCache is off",
            hint: Some("set it to auto"),
        });
    }
    let status = with_request(&settings, |request| {
        request.login.check_services()?;
        request.log_in(arguments.again)
    })?;
    Ok(show(&status, arguments.json))
}

fn log_out(arguments: &LogoutArgs) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let Some(mut cache) = running_cache(&settings)? else {
        terminal::info("not logged in (the credential cache is not running)");
        return Ok(EXIT_OK);
    };
    let was_logged_in = if arguments.here {
        let scope = with_request(&settings, |request| Ok(request.scope()))?;
        cache.forget(&scope).map_err(SignError::Cache)?
    } else {
        cache.clear().map_err(SignError::Cache)? > 0
    };
    terminal::info(if was_logged_in {
        "logged out"
    } else {
        "already logged out"
    });
    Ok(EXIT_OK)
}

fn show_login(arguments: &WhoamiArgs) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let (status, next) = with_request(&settings, |request| {
        let status = match running_cache(&settings)? {
            Some(mut cache) => request.status(&mut cache)?,
            None => None,
        };
        Ok((status, request.login.source_description()))
    })?;
    if let Some(status) = status {
        return Ok(show(&status, arguments.json));
    }
    if arguments.json {
        let value = json!({ "logged_in": false, "next": next });
        return Ok(match written(terminal::print_json(&value)) {
            EXIT_OK => EXIT_REFUSED,
            other => other,
        });
    }
    terminal::info(&format!(
        "not logged in; the next signature will use {next}"
    ));
    Ok(EXIT_REFUSED)
}

/// Prints the current login.
fn show(status: &LoginStatus, as_json: bool) -> u8 {
    let (identity, left) = (&status.identity, seconds_until(status.not_after));
    if as_json {
        return written(terminal::print_json(&json!({
            "logged_in": true,
            "identity": identity.san.value(),
            "issuer": identity.issuer,
            "not_after": rfc3339(status.not_after),
            "seconds_left": left,
        })));
    }
    written(terminal::print(&styled!(
        "logged in as {} (issuer {})\ncertificate valid for {}, until {}\n",
        style(Style::Strong, &Styled::name(identity.san.value())),
        Styled::name(&identity.issuer),
        duration(left),
        rfc3339(status.not_after)
    )))
}

/// Returns how a daemon that is not running will start.
fn next_start(settings: &Settings, socket: Option<&Path>) -> &'static str {
    if gitsign_socket_variable(&settings.credential_cache).is_some() {
        return "gitsign's variable names this path, so gitseal starts none there";
    }
    #[cfg(unix)]
    if socket.is_some_and(gitseal_credential_cache::listener::last_daemon_confirmed) {
        return "the last one there had --confirm, so you must start it yourself";
    }
    #[cfg(not(unix))]
    let _ = socket;
    "it starts with the next signature"
}

fn show_cache(as_json: bool) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let mode = &settings.credential_cache.value;
    let socket = cache_socket(mode).map_err(SignError::Cache)?;
    let path = socket
        .as_deref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let entries = match running_cache(&settings)? {
        None => None,
        Some(mut cache) => Some(cache.status().map_err(SignError::Cache)?),
    };
    if as_json {
        return Ok(written(terminal::print_json(&json!({
            "running": entries.is_some(),
            "socket": path,
            "credentials": entries.iter().flatten().map(entry_json).collect::<Vec<_>>(),
        }))));
    }
    let text = match entries {
        None if *mode == CacheMode::Off => styled!("off (gitseal.credentialCache)\n"),
        None => styled!(
            "not running ({}); {}\n",
            path,
            next_start(&settings, socket.as_deref())
        ),
        Some(entries) if entries.is_empty() => styled!("running, empty ({})\n", path),
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
    let left = match entry_end(entry).map(seconds_until) {
        None => "logging in".to_owned(),
        Some(0) => "expired".to_owned(),
        Some(left) => duration(left),
    };
    vec![
        match entry.scope.subject.as_str() {
            "" => "any user".to_owned(),
            subject => escape(subject, Escape::Ascii),
        },
        escape(&entry.scope.issuer, Escape::Ascii),
        escape(&entry.scope.authority, Escape::Ascii),
        left,
        entry.signatures.to_string(),
    ]
}

fn entry_json(entry: &StatusEntry) -> Value {
    let end = entry_end(entry);
    json!({
        "subject": entry.scope.subject,
        "issuer": entry.scope.issuer,
        "client_id": entry.scope.client_id,
        "connector_id": entry.scope.connector,
        "authority": entry.scope.authority,
        "trusted_root": entry.scope.trusted_root,
        "not_after": end.map(rfc3339),
        "seconds_left": end.map_or(0, seconds_until),
        "signatures": entry.signatures,
    })
}

/// Returns the end of the certificate's validity; none while a login is in
/// progress.
fn entry_end(entry: &StatusEntry) -> Option<UnixTime> {
    UnixTime::try_from(entry.not_after)
        .ok()
        .filter(|end| *end != 0)
}

/// Makes one request to the daemon and prints the result.
fn control(
    as_json: bool,
    name: &str,
    request: impl FnOnce(&mut Connection) -> Result<(Value, String), ClientError>,
) -> Result<u8, SignError> {
    let (_, settings) = open_context()?;
    let (value, text) = match running_cache(&settings)? {
        None => (
            Value::Null,
            "the credential cache is not running".to_owned(),
        ),
        Some(mut cache) => request(&mut cache).map_err(SignError::Cache)?,
    };
    if as_json {
        return Ok(written(terminal::print_json(&json!({ name: value }))));
    }
    terminal::info(&text);
    Ok(EXIT_OK)
}

/// Connects to the daemon if it runs. Starts none.
fn running_cache(settings: &Settings) -> Result<Option<Connection>, SignError> {
    let mode = &settings.credential_cache.value;
    let Some(socket) = cache_socket(mode).map_err(SignError::Cache)? else {
        return Ok(None);
    };
    match Connection::open(&socket, ClientTimeouts::default()) {
        Ok(cache) => Ok(Some(cache)),
        Err(ClientError::Absent { .. }) => Ok(None),
        Err(error) => Err(SignError::Cache(error)),
    }
}

fn seconds_until(at: UnixTime) -> u64 {
    u64::try_from(at.saturating_sub(system_time())).unwrap_or(0)
}

/// Formats a duration in its two largest units.
fn duration(seconds: u64) -> String {
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
    fn durations_have_two_units() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(600), "10 min 0 s");
        assert_eq!(duration(3725), "1 h 2 min");
    }
}
