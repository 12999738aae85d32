//! `gitseal version`: the version, and the settings in effect with where each
//! comes from. Never a token or a secret: those are in variables and files that
//! are no settings, and of a file only its name is shown.

use serde_json::{Map, Value, json};

use crate::{cli, context::open_context};
use gitseal_terminal::{self as terminal, Escape, escape};

/// The one line: name and version.
pub const LINE: &str = concat!("gitseal version ", env!("CARGO_PKG_VERSION"));

/// `gitseal --version`, as git's helpers are asked.
pub fn line() -> u8 {
    crate::exit::written(terminal::print_bytes(format!("{LINE}\n").as_bytes()))
}

/// `gitseal version`.
pub fn run(arguments: &cli::VersionArgs) -> u8 {
    let settings = match open_context() {
        Ok((_, settings)) => settings,
        Err(error) => {
            // The version is told in any case.
            let _ = terminal::print(&format!("{LINE}\n"));
            return error.report();
        }
    };
    if arguments.json {
        let mut values = Map::new();
        for (row, text, origin) in settings.rows() {
            values.insert(
                row.name.to_owned(),
                json!({"value": text, "origin": origin.to_string()}),
            );
        }
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "settings": values,
            "trusted_repositories": settings.trusted_repositories.value,
            "warnings": settings.warnings().collect::<Vec<_>>(),
            "notices": settings.notices,
        });
        let report: Value = report;
        return crate::exit::written(terminal::print_json(&report));
    }
    let mut rows: Vec<Vec<String>> = settings
        .rows()
        .map(|(row, text, origin)| {
            vec![
                row.name.to_owned(),
                text.map_or_else(|| "-".to_owned(), |text| escape(text, Escape::Prose)),
                format!("({})", escape(&origin.to_string(), Escape::Prose)),
            ]
        })
        .collect();
    for path in &settings.trusted_repositories.value {
        rows.push(vec![
            "trustedRepository".to_owned(),
            escape(path, Escape::Prose),
        ]);
    }
    for notice in &settings.notices {
        terminal::warn(&escape(notice, Escape::Prose));
    }
    crate::exit::written(terminal::print(&format!(
        "{LINE}\n\nsettings:\n{}",
        terminal::table(&rows)
    )))
}
