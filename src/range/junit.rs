//! A JUnit report: one test case for each object. The form is the one that
//! Jenkins, GitLab and the like read (`testsuites`, `testsuite`, `testcase`,
//! `failure`, `skipped`).

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufWriter, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::report::{Line, Weight};

/// Room for the counts, which are known at the end. White space between
/// attributes means nothing in XML.
const HEAD: usize = 256;

/// The result of one test case; messages are unescaped.
pub enum CaseResult<'a> {
    Passed,
    Skipped(String),
    Failed { code: &'a str, message: String },
}

/// A report that is being written, beside the place where it is to be.
pub struct JUnit {
    file: BufWriter<tempfile::NamedTempFile>,
    path: PathBuf,
    what: &'static str,
    tests: u64,
    failures: u64,
    skipped: u64,
}

impl JUnit {
    /// Begins a report.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn create(path: &Path, what: &'static str) -> io::Result<Self> {
        let mut file = BufWriter::new(beside(path)?);
        file.write_all(&[b' '; HEAD])?;
        file.write_all(b"\n")?;
        Ok(Self {
            file,
            path: path.to_owned(),
            what,
            tests: 0,
            failures: 0,
            skipped: 0,
        })
    }

    /// Adds an object (`commit` and its id), or what else was looked at.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, kind: &str, id: &str, line: &Line) -> io::Result<()> {
        let words = &line.words;
        let result = match (line.weight, line.code) {
            (Weight::Passes, "") => CaseResult::Passed,
            (Weight::Passes, code) => CaseResult::Skipped(format!("[{code}] {words}")),
            (Weight::Refuses | Weight::Doubts, code) => CaseResult::Failed {
                code,
                message: format!("{}: {words}", line.verdict),
            },
        };
        self.case(kind, id, result)
    }

    /// Adds a test case.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn case(&mut self, class: &str, name: &str, result: CaseResult<'_>) -> io::Result<()> {
        self.tests = self.tests.saturating_add(1);
        let name = text(name);
        let open = format!("<testcase classname=\"gitseal.{class}\" name=\"{name}\"");
        let body = match result {
            CaseResult::Passed => format!("{open}/>\n"),
            CaseResult::Skipped(message) => {
                self.skipped = self.skipped.saturating_add(1);
                let message = text(&message);
                format!("{open}><skipped message=\"{message}\"/></testcase>\n")
            }
            CaseResult::Failed { code, message } => {
                self.failures = self.failures.saturating_add(1);
                let message = text(&message);
                format!("{open}><failure type=\"{code}\" message=\"{message}\"/></testcase>\n")
            }
        };
        self.file.write_all(body.as_bytes())
    }

    /// Ends the report and puts it in its place.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.write_all(b"</testsuite></testsuites>\n")?;
        let counts = format!(
            "tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\"",
            self.tests, self.failures, self.skipped
        );
        let head = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites><testsuite name=\"gitseal {}\" {counts}",
            self.what
        );
        let width = HEAD.saturating_sub(1);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(format!("{head:<width$}>").as_bytes())?;
        place(self.file, &self.path)
    }
}

/// A file in the directory of `path`, so that it can be moved there at once.
pub(super) fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gitseal-report-");
    // Reports are for others to read, within the limits of the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

/// Moves a finished file to its place.
pub(super) fn place(file: BufWriter<tempfile::NamedTempFile>, path: &Path) -> io::Result<()> {
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    let kept: File = file.persist(path).map_err(|error| error.error)?;
    kept.sync_all()
}

/// Text for XML, in an attribute or not: what XML 1.0 cannot hold, and what would
/// move a cursor where the report is shown, becomes `\u{…}`.
fn text(text: &str) -> String {
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
            text("\"/><script x='1'>&\u{0}\n\u{1b}]\u{202e}é"),
            "&quot;/&gt;&lt;script x=&apos;1&apos;&gt;&amp;\\u{0}\\u{a}\\u{1b}]\\u{202e}\\u{e9}"
        );
    }
}
