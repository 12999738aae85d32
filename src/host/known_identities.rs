//! Remembers the identities that signed on this machine, so that a new one is
//! confirmed before it is published in a log permanently.
//!
//! A text file of the user, one identity a line: the identity, the identity
//! provider and the certificate authority, separated by tabs. A fourth field is the
//! email address of another committer for whose objects the identity may sign. It
//! only decides whether to prompt; nothing trusts it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::user_directories;
#[cfg(unix)]
use gitseal_credential_cache::socket_path;

/// The largest part of the file that is read, in bytes. Identities after it
/// count as new.
pub const MAX_FILE: u64 = 1 << 20;

/// An identity with its identity provider and certificate authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownIdentity<'a> {
    /// The email address or subject.
    pub identity: &'a str,
    /// The issuer URL of the identity provider.
    pub issuer: &'a str,
    /// The URL of the certificate authority.
    pub authority: &'a str,
    /// The committer's email address, if it is not the identity.
    pub committer: Option<&'a str>,
}

impl KnownIdentity<'_> {
    /// Returns the line; none for an identity that would break the file's form.
    fn line(&self) -> Option<String> {
        let mut fields = vec![self.identity, self.issuer, self.authority];
        fields.extend(self.committer);
        let plain = |text: &&str| !text.is_empty() && !text.chars().any(char::is_control);
        fields.iter().all(plain).then(|| fields.join("\t"))
    }

    /// Returns whether it is in the file. An unreadable file contains no identity.
    #[must_use]
    pub fn is_recorded_in(&self, file: &Path) -> bool {
        let Some(line) = self.line() else {
            return false;
        };
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|open| open.take(MAX_FILE).read_to_end(&mut bytes))
            .is_ok_and(|_| {
                bytes
                    .split(|&byte| byte == b'\n')
                    .any(|known| known == line.as_bytes())
            })
    }

    /// Appends it to the file. It is one write of one line, so that concurrent
    /// processes lose none.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written, or would be created in
    /// another user's home directory.
    pub fn remember(&self, file: &Path) -> io::Result<()> {
        let Some(line) = self.line() else {
            return Ok(());
        };
        #[cfg(unix)]
        if !file.exists() {
            socket_path::can_create(file).map_err(io::Error::other)?;
        }
        if let Some(directory) = file.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(directory)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(file)?
            .write_all(format!("{line}\n").as_bytes())
    }
}

/// Returns the path of the user's file; none without a home directory.
#[must_use]
pub fn file() -> Option<PathBuf> {
    Some(user_directories::state()?.join("identities"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const ALICE: KnownIdentity<'static> = KnownIdentity {
        identity: "alice@example.test",
        issuer: "https://issuer.example",
        authority: "https://fulcio.example",
        committer: None,
    };

    #[test]
    fn an_identity_is_new_once() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("state/gitseal/identities");
        assert!(!ALICE.is_recorded_in(&file));
        ALICE.remember(&file).unwrap();
        assert!(ALICE.is_recorded_in(&file));
        for other in [
            KnownIdentity {
                identity: "alice@example.tes",
                ..ALICE
            },
            KnownIdentity {
                issuer: "https://other.example",
                ..ALICE
            },
            KnownIdentity {
                authority: "https://other.example",
                ..ALICE
            },
            KnownIdentity {
                committer: Some("bob@example.test"),
                ..ALICE
            },
        ] {
            assert!(!other.is_recorded_in(&file), "{other:?}");
            other.remember(&file).unwrap();
            assert!(other.is_recorded_in(&file) && ALICE.is_recorded_in(&file));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&file), 0o600);
            assert_eq!(mode(file.parent().unwrap()), 0o700);
        }
    }

    /// `sudo -E`: the home is somebody else's.
    #[cfg(unix)]
    #[test]
    fn nothing_is_made_in_another_users_home() {
        if !rustix::process::geteuid().is_root() {
            return; // Only root can make a home for somebody else.
        }
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(home.path(), Some(65_534), None).unwrap();
        let file = home.path().join(".local/state/gitseal/identities");
        let refused = ALICE.remember(&file).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 65534"), "{refused}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        // A file that is there already is written.
        let there = home.path().join("identities");
        fs::write(&there, "").unwrap();
        ALICE.remember(&there).unwrap();
        assert!(ALICE.is_recorded_in(&there));
    }

    #[test]
    fn what_would_break_a_line_is_never_known() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("identities");
        for identity in ["", "a\tb", "a\nb", "a\u{0}"] {
            let odd = KnownIdentity { identity, ..ALICE };
            odd.remember(&file).unwrap();
            assert!(!odd.is_recorded_in(&file), "{identity:?}");
        }
        assert!(!file.exists());
    }
}
