//! A SARIF report (OASIS SARIF 2.1.0): one result for each object that fails.
//!
//! A commit is no file. Its id is the logical location; the physical one that
//! some readers insist on is the repository's root.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    junit::{beside, place},
    report::{Line, Weight},
};
use gitseal_terminal::{Escape, escape};

/// A report that is being written, beside the place where it is to be.
pub struct Sarif {
    file: BufWriter<tempfile::NamedTempFile>,
    path: PathBuf,
    rules: BTreeSet<&'static str>,
    any: bool,
}

impl Sarif {
    /// Begins a report.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(beside(path)?);
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

    /// Adds an object (`commit` and its id), or what else was looked at, if it
    /// fails.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, kind: &str, id: &str, line: &Line) -> io::Result<()> {
        let level = match line.weight {
            Weight::Passes => return Ok(()),
            Weight::Refuses => "error",
            Weight::Doubts => "warning",
        };
        self.rules.insert(line.code);
        let words = escape(&line.words, Escape::Prose);
        let result = json!({
            "ruleId": line.code,
            "level": level,
            "message": { "text": format!("{kind} {}: {}: {words}", escape(id, Escape::Ascii), line.verdict) },
            "locations": [{
                "physicalLocation": { "artifactLocation": { "uri": "." } },
                "logicalLocations": [{ "fullyQualifiedName": id, "kind": kind }],
            }],
            "partialFingerprints": { "gitseal/v1": format!("{kind} {id} {}", line.code) },
        });
        self.push(&result)
    }

    fn push(&mut self, result: &Value) -> io::Result<()> {
        if self.any {
            self.file.write_all(b",")?;
        }
        self.any = true;
        writeln!(self.file)?;
        serde_json::to_writer(&mut self.file, result).map_err(io::Error::from)
    }

    /// Ends the report and puts it in its place.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|code| json!({ "id": code, "shortDescription": { "text": code.replace('-', " ") } }))
            .collect();
        let tool = json!({ "driver": {
            "name": "gitseal",
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        }});
        writeln!(self.file, "],\"tool\":{tool}}}]}}")?;
        place(self.file, &self.path)
    }
}
