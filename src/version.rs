//! `gitseal version`: the version, and the settings in effect with their origins. It
//! never prints a token or a secret: those are in variables and files that are not
//! settings, and of a file only the name is printed.

use serde_json::{Map, json};

use crate::{cli::VersionArgs, context::open_context, exit::written};
use gitseal_terminal::{self as terminal, styled};

/// The line with name and version.
pub const LINE: &str = concat!("gitseal version ", env!("CARGO_PKG_VERSION"));

/// Runs `gitseal --version`, an option that Git's helpers have.
pub fn line() -> u8 {
    written(terminal::print_bytes(format!("{LINE}\n").as_bytes()))
}

pub fn run(arguments: &VersionArgs) -> u8 {
    let settings = match open_context() {
        Ok((_, settings)) => settings,
        Err(error) => {
            // The version is printed in any case.
            let _ = terminal::print(&styled!("{}\n", LINE));
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
        return written(terminal::print_json(&report));
    }
    let mut rows: Vec<Vec<String>> = settings
        .rows()
        .map(|(row, text, origin)| {
            vec![
                row.name.to_owned(),
                text.unwrap_or("-").to_owned(),
                format!("({origin})"),
            ]
        })
        .collect();
    for path in &settings.trusted_repositories.value {
        rows.push(vec!["trustedRepository".to_owned(), path.clone()]);
    }
    for notice in &settings.notices {
        terminal::warn(notice);
    }
    written(terminal::print(&styled!(
        "{}\n\nsettings:\n{}",
        LINE,
        terminal::table(&rows)
    )))
}
