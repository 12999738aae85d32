//! A SARIF report (OASIS SARIF 2.1.0): one result for each object that fails.
//!
//! A commit is not a file. Its ID is the logical location; the physical location,
//! which some readers require, is the root of the repository.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{
    junit::{create_sibling_temp, persist},
    line::{Impact, ResultLine},
};
use gitseal_terminal::{Escape, escape};

/// A report that is written to a temporary file until it is complete.
pub struct Sarif {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
    rules: BTreeSet<&'static str>,
    any: bool,
}

impl Sarif {
    /// Starts a report in a temporary file.
    ///
    /// # Errors
    /// Returns the error if its directory is not writable.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = create_sibling_temp(path)?;
        file.write_all(
            b"{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\"runs\":[{\"results\":[",
        )?;
        Ok(Self {
            file,
            path: path.to_owned(),
            rules: BTreeSet::new(),
            any: false,
        })
    }

    /// Adds a row, if it fails.
    ///
    /// # Errors
    /// Returns the error if the file is not writable.
    pub(super) fn add(&mut self, line: &ResultLine<'_>) -> io::Result<()> {
        let level = match line.impact {
            Impact::None => return Ok(()),
            Impact::Refused => "error",
            Impact::Undecided => "warning",
        };
        let Some(failure) = line.failure else {
            return Ok(());
        };
        let (kind, name, code) = (line.kind, line.name, failure.code);
        self.rules.insert(code);
        let escaped = escape(name, Escape::Ascii);
        let message = escape(&failure.message, Escape::Prose);
        let result = json!({
            "ruleId": code,
            "level": level,
            "message": { "text": format!("{kind} {escaped}: {}: {message}", line.verdict) },
            "locations": [{
                "physicalLocation": { "artifactLocation": { "uri": "." } },
                "logicalLocations": [{ "fullyQualifiedName": escaped, "kind": kind }],
            }],
            "partialFingerprints": { "gitseal/v1": format!("{kind} {escaped} {code}") },
        });
        if self.any {
            self.file.write_all(b",")?;
        }
        self.any = true;
        writeln!(self.file)?;
        serde_json::to_writer(&mut self.file, &result).map_err(io::Error::from)
    }

    /// Completes the report and renames it to its path.
    ///
    /// # Errors
    /// Returns the error if the file is not writable.
    pub fn finish(mut self) -> io::Result<()> {
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|code| json!({ "id": code, "shortDescription": { "text": code.replace('-', " ") } }))
            .collect();
        let tool = json!({ "driver": {
            "name": "gitseal",
            "version": env!("CARGO_PKG_VERSION"),
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        }});
        writeln!(self.file, "],\"tool\":{tool}}}]}}")?;
        persist(self.file, &self.path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::verdict::Failure;

    #[test]
    fn names_are_escaped_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.sarif");
        let mut report = Sarif::create(&path).unwrap();
        let failure = Failure::new("tag-name", "the tag is named \u{202e}v1");
        report
            .add(&ResultLine {
                kind: "tag name",
                name: "v\u{202e}1\u{200b}\u{430}",
                verdict: "refused",
                impact: Impact::Refused,
                failure: Some(&failure),
            })
            .unwrap();
        report.finish().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for hidden in ['\u{202e}', '\u{200b}', '\u{430}'] {
            assert!(!text.contains(hidden), "{text}");
        }
        let report: Value = serde_json::from_str(&text).unwrap();
        let result = &report["runs"][0]["results"][0];
        let name = &result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
        assert_eq!(name, "v\\u{202e}1\\u{200b}\\u{430}");
        assert_eq!(
            result["partialFingerprints"]["gitseal/v1"],
            "tag name v\\u{202e}1\\u{200b}\\u{430} tag-name"
        );
    }
}
