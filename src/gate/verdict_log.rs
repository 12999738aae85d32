//! The log of results: one JSON line for each run of a hook, written before the exit
//! status. If it cannot be written, the push is rejected.
//!
//! *Not checked here:* what a result is (`report.rs`).

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::host::settings::Settings;

/// Maximum number of findings of one line.
pub const MAX_LOGGED: usize = 1_000;

/// Where the lines go.
#[derive(Debug, Clone)]
pub enum VerdictLog {
    File(PathBuf),
    Syslog,
}

impl VerdictLog {
    /// Returns the log that `gitseal.verdictLog` names, if it is set.
    ///
    /// # Errors
    /// Returns an error if the value is neither `syslog` nor an absolute path.
    pub fn of(settings: &Settings) -> Result<Option<Self>, String> {
        match settings.verdict_log.value.as_deref() {
            None => Ok(None),
            Some("syslog") => Ok(Some(Self::Syslog)),
            Some(path) if Path::new(path).is_absolute() => Ok(Some(Self::File(path.into()))),
            Some(other) => Err(format!(
                "gitseal.verdictLog is {other:?}, which is neither \"syslog\" nor an absolute path"
            )),
        }
    }

    /// Appends a line with one write, so that lines of several runs do not mix.
    ///
    /// # Errors
    /// Returns an error if the line cannot be written as a whole.
    pub fn append(&self, entry: &Value) -> io::Result<()> {
        let line = entry.to_string();
        match self {
            Self::File(path) => {
                let mut file = OpenOptions::new().append(true).create(true).open(path)?;
                let bytes = [line.as_bytes(), b"\n"].concat();
                if file.write(&bytes)? != bytes.len() {
                    return Err(io::Error::other("the line was written in part"));
                }
                file.flush()
            }
            Self::Syslog => syslog(&line),
        }
    }
}

/// Sends a line to the local syslog (RFC 3164, facility "auth", severity "info").
#[cfg(unix)]
fn syslog(line: &str) -> io::Result<()> {
    use std::os::unix::net::UnixDatagram;
    let message = format!("<38>gitseal[{}]: {line}", std::process::id());
    let socket = UnixDatagram::unbound()?;
    let sent = socket.send_to(message.as_bytes(), "/dev/log")?;
    if sent != message.len() {
        return Err(io::Error::other("the line was sent in part"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn syslog(_: &str) -> io::Result<()> {
    Err(io::Error::other("this system has no syslog"))
}
