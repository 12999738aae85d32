//! A JUnit report: one test case per object, in the form that Jenkins, GitLab and
//! others parse (`testsuites`, `testsuite`, `testcase`, `failure`, `skipped`).

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufWriter, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Space for the counts, which are known at the end. Whitespace between attributes
/// has no meaning in XML.
const HEAD: usize = 256;

/// The result of one test case; messages are unescaped.
pub enum CaseResult<'a> {
    Passed,
    Skipped(String),
    Failed { code: &'a str, message: String },
}

/// A report that is written to a temporary file until it is complete.
pub struct JUnit {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
    command: &'static str,
    tests: u64,
    failures: u64,
    skipped: u64,
}

impl JUnit {
    /// Starts a report in a temporary file.
    ///
    /// # Errors
    /// Returns the error if its directory is not writable.
    pub fn create(path: &Path, command: &'static str) -> io::Result<Self> {
        let mut file = create_sibling_temp(path)?;
        file.write_all(&[b' '; HEAD])?;
        file.write_all(b"\n")?;
        Ok(Self {
            file,
            path: path.to_owned(),
            command,
            tests: 0,
            failures: 0,
            skipped: 0,
        })
    }

    /// Adds an object (`commit` and its id), or another subject.
    ///
    /// # Errors
    /// Returns the error if the file is not writable.
    pub fn add(&mut self, kind: &str, name: &str, result: CaseResult<'_>) -> io::Result<()> {
        self.tests = self.tests.saturating_add(1);
        let name = escape_xml(name);
        let open = format!("<testcase classname=\"gitseal.{kind}\" name=\"{name}\"");
        let case = match result {
            CaseResult::Passed => format!("{open}/>\n"),
            CaseResult::Skipped(message) => {
                self.skipped = self.skipped.saturating_add(1);
                let message = escape_xml(&message);
                format!("{open}><skipped message=\"{message}\"/></testcase>\n")
            }
            CaseResult::Failed { code, message } => {
                self.failures = self.failures.saturating_add(1);
                let (code, message) = (escape_xml(code), escape_xml(&message));
                format!("{open}><failure type=\"{code}\" message=\"{message}\"/></testcase>\n")
            }
        };
        self.file.write_all(case.as_bytes())
    }

    /// Completes the report and renames it to its path.
    ///
    /// # Errors
    /// Returns the error if the file is not writable.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.write_all(b"</testsuite></testsuites>\n")?;
        let counts = format!(
            "tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\"",
            self.tests, self.failures, self.skipped
        );
        let head = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites><testsuite name=\"gitseal {}\" {counts}",
            self.command
        );
        let width = HEAD.saturating_sub(1);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(format!("{head:<width$}>").as_bytes())?;
        persist(self.file, &self.path)
    }
}

/// Creates a temporary file in the directory of `path`, to be renamed to it.
pub(super) fn create_sibling_temp(path: &Path) -> io::Result<BufWriter<NamedTempFile>> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gitseal-report-");
    // Reports are readable by others, within the limits of the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory).map(BufWriter::new)
}

/// Renames a complete file to its path.
pub(super) fn persist(file: BufWriter<NamedTempFile>, path: &Path) -> io::Result<()> {
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    let kept: File = file.persist(path).map_err(|error| error.error)?;
    kept.sync_all()
}

/// Escapes text for XML: characters that XML 1.0 does not allow, or that move a cursor
/// where the report is displayed, become `\u{…}`.
fn escape_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            ' '..='~' => out.push(character),
            other => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(other));
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_attribute() {
        assert_eq!(
            escape_xml("\"/><script x='1'>&\u{0}\n\u{1b}]\u{202e}é"),
            "&quot;/&gt;&lt;script x=&apos;1&apos;&gt;&amp;\\u{0}\\u{a}\\u{1b}]\\u{202e}\\u{e9}"
        );
    }
}
