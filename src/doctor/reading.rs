//! Compares Git's listing of its configuration with what gitseal reads without Git
//! where Git starts it for each commit.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
};

use super::{DoctorContext, Finding};
use crate::host::{
    git::Workspace,
    git_config::{ConfigSources, ConfigValue, SystemFile, last, read_in_process},
    git_program,
};

const ID: &str = "configuration-reading";

/// Checks that both readings are the same.
pub(super) fn readings(context: &DoctorContext) -> Vec<Finding> {
    let (Ok(workspace), Ok(_)) = (&context.workspace, &context.listed) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if let Err(construct) = read(workspace, SystemFile::of_git_on_path()) {
        let message = format!(
            "for each signature that Git shows, gitseal runs Git to read its configuration ({construct})"
        );
        findings.push(Finding::note(ID, message));
    }
    // For the comparison Git may say where its system configuration is.
    let own = git_program::system_file(&context.directory)
        .ok()
        .and_then(|system| read(workspace, SystemFile::At(system)).ok());
    let Some(own) = own else { return findings };
    let differences = differences(workspace.config(), &own);
    if differences.is_empty() && findings.is_empty() {
        let message = format!(
            "gitseal reads the configuration that Git lists ({} values)",
            own.len()
        );
        findings.push(Finding::ok(ID, message));
    }
    findings.extend(differences.into_iter().map(|difference| {
        Finding::problem(ID, difference).fix(
            "compare with 'git config --list --show-origin --show-scope', write the value in a plain form, and report this difference",
        )
    }));
    findings
}

fn read(
    workspace: &Workspace,
    system: SystemFile,
) -> Result<Vec<ConfigValue>, crate::host::git_config::ReadError> {
    let variable = |name: &str| env::var_os(name);
    read_in_process(&ConfigSources {
        directory: Path::new("."),
        environment: &variable,
        repository: workspace
            .repository()
            .ok()
            .map(|repository| repository.config_files()),
        system,
    })
}

/// Returns the keys whose values or origins differ, with both.
fn differences(listed: &[ConfigValue], own: &[ConfigValue]) -> Vec<String> {
    let keys: BTreeSet<&str> = listed
        .iter()
        .chain(own)
        .map(|value| value.key.as_str())
        .collect();
    let of = |values: &[ConfigValue], key: &str| -> Vec<Comparable> {
        values
            .iter()
            .filter(|value| value.key == key)
            .map(comparable)
            .collect()
    };
    keys.into_iter()
        .filter(|key| of(listed, key) != of(own, key))
        .map(|key| {
            format!(
                "Git reads {key} as {}, and gitseal without Git as {}",
                described(last(listed, key)),
                described(last(own, key))
            )
        })
        .collect()
}

type Comparable = (Option<Vec<u8>>, &'static str, Option<PathBuf>);

/// Git 2.45 keeps a tab inside a value, which was a space before. Where that could
/// decide something, it is not read without Git.
fn comparable(value: &ConfigValue) -> Comparable {
    let plain = |byte: &u8| match byte {
        b'\t' | b'\r' if !is_own(&value.key) => b' ',
        byte => *byte,
    };
    let text = value.value.as_ref();
    let real = |file: &PathBuf| std::fs::canonicalize(file).unwrap_or_else(|_| file.clone());
    (
        text.map(|text| text.iter().map(plain).collect()),
        value.scope.name(),
        value.file.as_ref().map(real),
    )
}

fn is_own(key: &str) -> bool {
    key.starts_with("gitseal.") || key.starts_with("gitsign.")
}

/// Describes a value and its origin. Values of other sections may be secret.
fn described(value: Option<&ConfigValue>) -> String {
    let Some(value) = value else {
        return "unset".to_owned();
    };
    let origin = match &value.file {
        Some(file) => format!("{}, {}", value.scope.name(), file.display()),
        None => value.scope.name().to_owned(),
    };
    match &value.value {
        Some(text) if is_own(&value.key) => {
            format!("{:?} ({origin})", String::from_utf8_lossy(text))
        }
        Some(_) => format!("a value ({origin})"),
        None => format!("true ({origin})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::git_config::ConfigScope;

    fn value(key: &str, text: &str, file: &str) -> ConfigValue {
        ConfigValue {
            key: key.to_owned(),
            value: Some(text.as_bytes().to_vec()),
            scope: ConfigScope::Global,
            file: Some(PathBuf::from(file)),
        }
    }

    #[test]
    fn a_difference_names_both_values_and_origins() {
        let git = [
            value("gitseal.a", "x", "/1"),
            value("gitseal.a", "y", "/2"),
            value("http.extraheader", "secret\tx", "/1"),
        ];
        assert_eq!(differences(&git, &git), Vec::<String>::new());
        let mut own = git.clone();
        own.swap(0, 1);
        assert_eq!(
            differences(&git, &own),
            [
                "Git reads gitseal.a as \"y\" (global, /2), and gitseal without Git as \"x\" (global, /1)"
            ]
        );
        let [first, second, third] = git.clone();
        let other = value("http.extraheader", "secret x", "/1");
        assert_eq!(
            differences(&git, &[first.clone(), second.clone(), other]),
            Vec::<String>::new()
        );
        assert_eq!(
            differences(&git, &[first, second]),
            [
                "Git reads http.extraheader as a value (global, /1), and gitseal without Git as unset"
            ]
        );
        assert_eq!(
            differences(&[], &[third]),
            [
                "Git reads http.extraheader as unset, and gitseal without Git as a value (global, /1)"
            ]
        );
    }
}
