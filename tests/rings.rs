//! The ring rules, checked by reading the source: who may import whom, what the
//! two pure rings may not touch, and who may print.
//!
//! `src/lib.rs` draws the rings. A violation fails with file, line and what to
//! do. The reader here is small and textual: it blanks out comments, string
//! literals and items under `#[cfg(test)]`, and resolves every path that begins
//! with `crate`, `super`, `self`, `gitseal` or `std` (use-trees and paths in
//! expressions alike). A self-test plants each kind of violation and demands
//! that it is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

// ---------------------------------------------------------------- the rules

/// Where a file belongs, by its path under `src/`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ring {
    Evidence,
    Policy,
    Host,
    /// A service and the part of it (`client`, `server`, `wire`, `mod`, ...).
    Service(String, String),
    ServicesRoot,
    Commands,
    /// `main.rs` of `gitseal`.
    Main,
    /// The reference servers' binary.
    Reference,
    /// `lib.rs`: the map; imports nothing.
    Lib,
}

/// The services that others may import: one HTTP, one log implementation.
const SHARED_SERVICES: [&str; 2] = ["http", "log"];

fn ring_of(file: &str) -> Option<Ring> {
    let parts: Vec<&str> = file.strip_suffix(".rs")?.split('/').collect();
    Some(match parts.as_slice() {
        ["lib"] => Ring::Lib,
        ["main"] => Ring::Main,
        ["bin", ..] => Ring::Reference,
        ["evidence", ..] => Ring::Evidence,
        ["policy", ..] => Ring::Policy,
        ["host", ..] => Ring::Host,
        ["commands", ..] => Ring::Commands,
        ["services", "mod"] => Ring::ServicesRoot,
        ["services", service] => Ring::Service((*service).into(), "mod".into()),
        ["services", service, part, ..] => Ring::Service((*service).into(), (*part).into()),
        _ => return None,
    })
}

/// Whether a file of ring `from` may name `path` (segments after `crate`).
/// `Err` says why not.
fn may_import(from: &Ring, path: &[String]) -> Result<(), String> {
    let Some(to) = path.first() else {
        return Ok(());
    };
    let second = path.get(1).map(String::as_str);
    let known = ["evidence", "policy", "host", "services", "commands"];
    if !known.contains(&to.as_str()) {
        return Ok(()); // a macro or an item at the crate's root
    }
    let refuse = |who: &str, may: &str| Err(format!("{who} imports {to}: {may}"));
    match from {
        Ring::Evidence if to != "evidence" => {
            refuse("evidence", "ring 1 imports nothing but itself")
        }
        Ring::Policy if to != "policy" && to != "evidence" => {
            refuse("policy", "ring 2 imports only evidence")
        }
        Ring::Host if to != "host" && to != "evidence" => refuse(
            "host",
            "what it needs from a service or a story is an argument",
        ),
        Ring::Service(..) | Ring::ServicesRoot
            if to == "host" || to == "policy" || to == "commands" =>
        {
            refuse("a service", "what it needs from the machine is an argument")
        }
        Ring::Service(service, part) if to == "services" => match second {
            None => Ok(()),
            Some(other) if other == service => {
                let inner = path.get(2).map_or("", String::as_str);
                match (part.as_str(), inner) {
                    ("client", "server") | ("server", "client") => Err(format!(
                        "services/{service}/{part} imports {inner}: the two meet in wire only"
                    )),
                    ("wire", "client" | "server") => Err(format!(
                        "services/{service}/wire imports {inner}: wire is pure types"
                    )),
                    _ => Ok(()),
                }
            }
            Some(other) if SHARED_SERVICES.contains(&other) && service != "http" => Ok(()),
            Some(other) => Err(format!(
                "services/{service} imports services/{other}: the story joins them"
            )),
        },
        Ring::Reference if to == "commands" => refuse(
            "bin/reference",
            "the reference servers are not a command of gitseal",
        ),
        Ring::Lib => refuse("lib.rs", "it is the map, and imports nothing"),
        _ => Ok(()),
    }
}

/// What the pure rings may not name, as path prefixes, and why.
const IMPURE: &[(&[&str], &str)] = &[
    (&["std", "time", "SystemTime"], "time is an argument"),
    (&["std", "time", "Instant"], "time is an argument"),
    (&["std", "time", "UNIX_EPOCH"], "time is an argument"),
    (&["jiff", "Timestamp", "now"], "time is an argument"),
    (&["jiff", "Zoned"], "time is an argument"),
    (&["std", "env"], "the environment is read by host/settings"),
    (&["std", "fs"], "files are read by host and commands"),
    (&["std", "net"], "the network is in services"),
    (&["std", "os"], "the operating system is in host"),
    (&["std", "process"], "nothing is started here"),
    (&["std", "thread"], "nothing is started here"),
    (&["std", "io", "stdin"], "input is an argument"),
    (&["std", "io", "stdout"], "output is a return value"),
    (&["std", "io", "stderr"], "output is a return value"),
    (&["getrandom"], "entropy is an argument"),
    (&["ureq"], "the network is in services"),
    (&["rustix"], "the operating system is in host"),
    (&["gix"], "repositories are read by host/git"),
    (&["tempfile"], "files are read by host and commands"),
    (&["directories"], "files are read by host and commands"),
    (&["clap"], "arguments are read by commands/cli"),
];

const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// All violations of one file. `file` is relative to `src/`, with `/`.
fn check(file: &str, source: &str) -> Vec<Violation> {
    let Some(ring) = ring_of(file) else {
        return vec![Violation {
            file: file.into(),
            line: 1,
            what: "belongs to no ring: src/lib.rs names them".into(),
        }];
    };
    let text = without_tests(&blank(source));
    let pure = matches!(ring, Ring::Evidence | Ring::Policy);
    let may_print = matches!(ring, Ring::Host | Ring::Main | Ring::Reference);
    let mut found = BTreeSet::new();
    let mut violation = |at: usize, what: String| {
        found.insert(Violation {
            file: file.into(),
            line: line_of(&text, at),
            what,
        });
    };

    for (at, path) in paths(&text, &module_path(file)) {
        match path.split_first() {
            Some((head, rest)) if head == "crate" || head == "gitseal" => {
                if let Err(why) = may_import(&ring, rest) {
                    violation(at, why);
                }
            }
            _ => {}
        }
        if pure
            && let Some((prefix, why)) = IMPURE.iter().find(|(prefix, _)| {
                path.len() >= prefix.len() && path.iter().zip(*prefix).all(|(a, b)| a == b)
            })
        {
            violation(at, format!("{} in a pure ring: {why}", prefix.join("::")));
        }
        if !may_print && path.len() >= 3 && path[0] == "std" && path[1] == "io" {
            let name = path[2].as_str();
            if name == "stdout" || name == "stderr" {
                violation(
                    at,
                    format!("std::io::{name}: only host/ and the binaries print"),
                );
            }
        }
    }
    for (at, name) in words(&text) {
        let rest = &text[at + name.len()..];
        if rest.starts_with('!') && PRINTING.contains(&name) && !may_print {
            violation(at, format!("{name}!: only host/ and the binaries print"));
        }
        if pure && rest.starts_with("::now") && !text[..at].ends_with("::") {
            violation(
                at,
                format!("{name}::now in a pure ring: time is an argument"),
            );
        }
        if pure && (name == "SystemTime" || name == "Instant") {
            violation(at, format!("{name} in a pure ring: time is an argument"));
        }
    }
    found.into_iter().collect()
}

// --------------------------------------------------------------- the reader

/// The module path of a file: `services/rekor/client.rs` → `services rekor client`.
fn module_path(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut parts: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib" || last == "main")
    {
        parts.pop();
    }
    parts
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Replaces comments, string, byte-string, raw-string and character literals by
/// spaces (newlines stay), so that what remains is code, at the same offsets.
fn blank(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let wipe = |out: &mut Vec<u8>, from: usize, to: usize| {
        for b in &mut out[from..to.min(bytes.len())] {
            if *b != b'\n' {
                *b = b' ';
            }
        }
    };
    let mut i = 0;
    while i < bytes.len() {
        let rest = &bytes[i..];
        let after_word = i > 0 && is_word(bytes[i - 1] as char);
        if rest.starts_with(b"//") {
            let end = rest
                .iter()
                .position(|b| *b == b'\n')
                .map_or(bytes.len(), |n| i + n);
            wipe(&mut out, i, end);
            i = end;
        } else if rest.starts_with(b"/*") {
            let mut depth = 0;
            let mut j = i;
            while j < bytes.len() {
                if bytes[j..].starts_with(b"/*") {
                    depth += 1;
                    j += 2;
                } else if bytes[j..].starts_with(b"*/") {
                    depth -= 1;
                    j += 2;
                    if depth == 0 {
                        break;
                    }
                } else {
                    j += 1;
                }
            }
            wipe(&mut out, i, j);
            i = j;
        } else if !after_word
            && (rest.starts_with(b"r\"")
                || rest.starts_with(b"r#")
                || rest.starts_with(b"br\"")
                || rest.starts_with(b"br#"))
        {
            let start = i + if rest[0] == b'b' { 2 } else { 1 };
            let hashes = bytes[start..].iter().take_while(|b| **b == b'#').count();
            if bytes.get(start + hashes) != Some(&b'"') {
                i = start + hashes; // r#identifier
                continue;
            }
            let close: Vec<u8> = std::iter::once(b'"')
                .chain(std::iter::repeat_n(b'#', hashes))
                .collect();
            let from = start + hashes + 1;
            let end = bytes[from..]
                .windows(close.len())
                .position(|w| w == close)
                .map_or(bytes.len(), |n| from + n + close.len());
            wipe(&mut out, i, end);
            i = end;
        } else if rest[0] == b'"' {
            let mut j = i + 1;
            while j < bytes.len() && bytes[j] != b'"' {
                j += if bytes[j] == b'\\' { 2 } else { 1 };
            }
            wipe(&mut out, i, j + 1);
            i = j + 1;
        } else if rest[0] == b'\'' {
            // A character literal closes within a few bytes; a lifetime does not.
            let literal = if rest.get(1) == Some(&b'\\') {
                rest.iter().skip(3).position(|b| *b == b'\'').map(|n| n + 4)
            } else {
                let width = source[i + 1..].chars().next().map_or(1, char::len_utf8);
                (rest.get(1 + width) == Some(&b'\'')).then_some(2 + width)
            };
            match literal {
                Some(length) => {
                    wipe(&mut out, i, i + length);
                    i += length;
                }
                None => i += 1,
            }
        } else {
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Blanks items under `#[cfg(test)]` (also `any(test, …)`, never `not(test)`).
fn without_tests(text: &str) -> String {
    let mut out = text.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find("#[cfg(") {
        let start = from + found;
        let Some(close) = out[start..].find(")]").map(|n| start + n + 2) else {
            break;
        };
        let condition = &out[start..close];
        let test = words(condition).any(|(_, w)| w == "test") && !condition.contains("not(");
        from = close;
        if !test {
            continue;
        }
        let mut depth = 0usize;
        let mut end = out.len();
        for (at, c) in out[close..].char_indices() {
            match c {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && c == '}' {
                        end = close + at + 1;
                        break;
                    }
                }
                ';' if depth == 0 => {
                    end = close + at + 1;
                    break;
                }
                _ => {}
            }
        }
        let wiped: String = out[start..end]
            .chars()
            .map(|c| {
                if c == '\n' {
                    "\n".into()
                } else {
                    " ".repeat(c.len_utf8())
                }
            })
            .collect();
        out.replace_range(start..end, &wiped);
        from = end;
    }
    out
}

/// The words of a text with their offsets.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_word)?;
        let end = text[start..]
            .find(|c| !is_word(c))
            .map_or(text.len(), |n| start + n);
        at = end;
        Some((start, &text[start..end]))
    })
}

/// Every path of two or more segments, with use-trees multiplied out, and
/// `self`/`super` resolved to `crate::…`.
fn paths(text: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut past = 0;
    for (at, word) in words(text) {
        if at < past || text[..at].trim_end().ends_with("::") {
            continue;
        }
        let starts_path = text[at + word.len()..].trim_start().starts_with("::");
        if !starts_path {
            continue;
        }
        past = tree(text, at, &[], &mut found);
    }
    for (_, path) in &mut found {
        let mut base = module.to_vec();
        let mut skip = 0;
        for segment in path.iter() {
            match segment.as_str() {
                "self" if skip == 0 => skip = 1,
                "super" => {
                    base.pop();
                    skip += 1;
                }
                _ => break,
            }
        }
        if skip > 0 {
            let rest = path.split_off(skip);
            *path = std::iter::once("crate".to_owned())
                .chain(base)
                .chain(rest)
                .collect();
        }
    }
    found
}

/// Reads the tree at `at`, pushes each of its leaves, returns where it ends.
fn tree(
    text: &str,
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let start = at;
    let mut path = prefix.to_vec();
    loop {
        let skipped = text[at..].len() - text[at..].trim_start().len();
        at += skipped;
        let end = text[at..]
            .find(|c| !is_word(c))
            .map_or(text.len(), |n| at + n);
        if end > at {
            path.push(text[at..end].to_owned());
            let after = text[end..].trim_start();
            if after.starts_with("::") {
                at = text.len() - after.len() + 2;
                continue;
            }
            found.push((start.max(at), path));
            return end;
        }
        if text[at..].starts_with('{') {
            at += 1;
            loop {
                at += text[at..].len()
                    - text[at..]
                        .trim_start_matches(|c: char| c.is_whitespace() || c == ',')
                        .len();
                if at >= text.len() || text[at..].starts_with('}') {
                    return (at + 1).min(text.len());
                }
                let next = tree(text, at, &path, found);
                // `as name`, `*`: to the next comma or brace.
                at = next
                    + text[next..]
                        .find([',', '}', '{', ';'])
                        .unwrap_or(text.len() - next);
                if text[at..].starts_with(['{', ';']) {
                    return at;
                }
            }
        }
        // `*`, `<T>` (turbofish) or the end.
        found.push((start, path));
        return at;
    }
}

// ---------------------------------------------------------------- the tests

fn source_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Files that a `#[cfg(test)] mod name;` names: `name.rs` or `name/mod.rs`
/// beside the parent, or what its `#[path = "…"]` says.
fn test_files(root: &Path, files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut tests = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file).unwrap();
        let code = blank(&source);
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let parent = file.parent().unwrap();
        let own = if ["mod", "lib", "main"].contains(&stem.as_str()) {
            parent.to_path_buf()
        } else {
            parent.join(&stem)
        };
        let mut from = 0;
        while let Some(n) = code[from..].find("#[cfg(") {
            let start = from + n;
            let Some(end) = code[start..].find([';', '{']).map(|n| start + n) else {
                break;
            };
            from = start + 1;
            let close = code[start..].find(")]").map_or(end, |n| start + n);
            let condition = &code[start..close];
            let is_test = words(condition).any(|(_, w)| w == "test") && !condition.contains("not(");
            let item: Vec<&str> = words(&code[close..end]).map(|(_, w)| w).collect();
            let Some(at) = item.iter().position(|w| *w == "mod") else {
                continue;
            };
            if !is_test || !code[end..].starts_with(';') {
                continue;
            }
            let name = item[at + 1];
            let named = source[close..end]
                .split_once("path")
                .and_then(|(_, rest)| rest.split('"').nth(1));
            if let Some(named) = named {
                tests.insert(parent.join(named));
            } else {
                tests.insert(own.join(format!("{name}.rs")));
                tests.insert(own.join(name).join("mod.rs"));
                // and what that module has below it
                let mut below = Vec::new();
                let dir = own.join(name);
                if dir.is_dir() {
                    source_files(&dir, &mut below);
                }
                tests.extend(below);
            }
        }
    }
    tests.retain(|t| t.starts_with(root));
    tests
}

#[test]
fn the_source_keeps_the_rings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    assert!(files.len() > 20, "only {} source files found", files.len());
    let tests = test_files(&root, &files);
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| !tests.contains(*file)) {
        let name = file
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        violations.extend(check(&name, &fs::read_to_string(file).unwrap()));
    }
    violations.sort();
    let list: Vec<String> = violations.iter().map(|v| format!("src/{v}")).collect();
    assert!(
        list.is_empty(),
        "{} ring violations:\n{}",
        list.len(),
        list.join("\n")
    );
}

#[test]
fn the_credential_cache_imports_nothing_of_the_root() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("credential-cache/Cargo.toml");
    for (number, line) in fs::read_to_string(manifest).unwrap().lines().enumerate() {
        let key = line.split(['=', '.']).next().unwrap_or("").trim();
        assert_ne!(key, "gitseal", "credential-cache/Cargo.toml:{}", number + 1);
    }
}

#[test]
fn planted_violations_are_found() {
    // file, source, line of the violation, a part of what must be said
    let planted = [
        ("evidence/a.rs", "use crate::services::http;\n", 1, "ring 1"),
        (
            "evidence/a.rs",
            "\nfn f() { crate::host::git::open() }\n",
            2,
            "ring 1",
        ),
        (
            "evidence/a.rs",
            "use super::super::policy::rule;\n",
            1,
            "ring 1",
        ),
        (
            "evidence/a/b.rs",
            "use super::super::super::host;\n",
            1,
            "ring 1",
        ),
        (
            "evidence/a.rs",
            "use crate::{\n    evidence::keys,\n    policy::rule,\n};\n",
            3,
            "ring 1",
        ),
        ("policy/a.rs", "use crate::host::git;\n", 1, "ring 2"),
        (
            "host/git.rs",
            "use crate::services::rekor::client;\n",
            1,
            "argument",
        ),
        (
            "host/git.rs",
            "use crate::policy;\nuse crate::commands::sign::X;\n",
            2,
            "argument",
        ),
        (
            "services/rekor/client.rs",
            "use crate::services::fulcio::wire;\n",
            1,
            "the story joins",
        ),
        (
            "services/rekor/client.rs",
            "use super::super::ct::wire;\n",
            1,
            "the story joins",
        ),
        (
            "services/rekor/client.rs",
            "use super::server::Log;\n",
            1,
            "wire only",
        ),
        (
            "services/rekor/server.rs",
            "use crate::services::rekor::{client, wire};\n",
            1,
            "wire only",
        ),
        (
            "services/rekor/wire.rs",
            "use super::client::X;\n",
            1,
            "pure types",
        ),
        (
            "services/http/client.rs",
            "use crate::services::log::X;\n",
            1,
            "the story joins",
        ),
        (
            "services/ct/server.rs",
            "use crate::host::terminal;\n",
            1,
            "argument",
        ),
        (
            "services/ct/server.rs",
            "use crate::policy::X;\n",
            1,
            "argument",
        ),
        (
            "bin/reference/main.rs",
            "use gitseal::commands::sign;\n",
            1,
            "not a command",
        ),
        (
            "evidence/a.rs",
            "fn f() { let _ = std::time::SystemTime::now(); }\n",
            1,
            "time is an argument",
        ),
        (
            "evidence/a.rs",
            "use std::{fmt, time::{Duration, Instant}};\n",
            1,
            "time is an argument",
        ),
        (
            "evidence/a.rs",
            "fn f() { let t = jiff::Timestamp::now(); }\n",
            1,
            "time is an argument",
        ),
        (
            "evidence/a.rs",
            "use jiff::Timestamp;\nfn f() { let t = Timestamp::now(); }\n",
            2,
            "time is an argument",
        ),
        ("policy/a.rs", "use std::env;\n", 1, "environment"),
        (
            "evidence/a.rs",
            "use std::{\n  collections::BTreeMap,\n  fs::File,\n};\n",
            3,
            "files",
        ),
        (
            "evidence/a.rs",
            "fn f(x: std::net::IpAddr) {}\n",
            1,
            "network",
        ),
        (
            "policy/a.rs",
            "fn f() { getrandom::fill(&mut [0]); }\n",
            1,
            "entropy",
        ),
        (
            "evidence/a.rs",
            "fn f() {\n    println!(\"x\");\n}\n",
            2,
            "print",
        ),
        (
            "services/ct/server.rs",
            "fn f() { eprintln!(\"x\") }\n",
            1,
            "print",
        ),
        ("commands/sign.rs", "fn f() { print!(\"x\") }\n", 1, "print"),
        (
            "commands/sign.rs",
            "use std::io::{self, stdout};\n",
            1,
            "print",
        ),
        ("utils/x.rs", "", 1, "no ring"),
        // Comments and literals do not hide what follows them.
        (
            "evidence/a.rs",
            "/* \" */ use crate::host::git; // \"\n",
            1,
            "ring 1",
        ),
        (
            "evidence/a.rs",
            "const Q: char = '\"'; use crate::host::git;\n",
            1,
            "ring 1",
        ),
        (
            "evidence/a.rs",
            "const Q: &str = r#\"a\"b\"#; use crate::host::git;\n",
            1,
            "ring 1",
        ),
        (
            "evidence/a.rs",
            "fn f<'a>(x: &'a str) { crate::host::x(x) }\n",
            1,
            "ring 1",
        ),
        (
            "evidence/a.rs",
            "#[cfg(test)]\nmod tests { use std::fs; }\nuse std::fs;\n",
            3,
            "files",
        ),
        (
            "evidence/a.rs",
            "#[cfg(not(test))]\nuse std::fs;\n",
            2,
            "files",
        ),
    ];
    for (file, source, line, part) in planted {
        let found = check(file, source);
        assert!(
            found
                .iter()
                .any(|v| v.line == line && v.what.contains(part)),
            "not found in {file} line {line} ({part}):\n{source}\nfound: {found:?}"
        );
    }
}

#[test]
fn what_the_rings_allow_is_not_reported() {
    let fine = [
        (
            "evidence/a.rs",
            "use crate::evidence::keys::PublicKey;\nuse super::merkle;\nuse std::time::Duration;\n",
        ),
        (
            "evidence/a.rs",
            "//! use crate::host::git;\n/// println!(\"x\")\nconst X: &str = \"crate::host::git\";\n",
        ),
        (
            "evidence/a.rs",
            "#[cfg(test)]\nmod tests {\n use std::fs;\n fn f() { println!(\"{}\", '}'); }\n}\n",
        ),
        (
            "evidence/a.rs",
            "#[cfg(any(test, feature = \"x\"))]\nuse std::fs;\n",
        ),
        ("policy/a.rs", "use crate::evidence::identity::Identity;\n"),
        (
            "host/git.rs",
            "use crate::evidence::object;\nuse std::fs;\nfn f() { println!() }\n",
        ),
        (
            "services/rekor/server.rs",
            "use super::wire;\nuse crate::services::{http::server, log};\nuse std::time::Instant;\n",
        ),
        (
            "services/log/mod.rs",
            "use crate::evidence::merkle;\nuse std::fs;\n",
        ),
        (
            "commands/sign.rs",
            "use crate::{host::gnupg, policy, services::{fulcio, rekor}};\n",
        ),
        (
            "bin/reference/main.rs",
            "use gitseal::services::rekor::server;\nfn main() { println!() }\n",
        ),
        (
            "main.rs",
            "use gitseal::commands;\nfn main() { eprintln!() }\n",
        ),
    ];
    for (file, source) in fine {
        let found = check(file, source);
        assert!(found.is_empty(), "{file}:\n{source}\nfound: {found:?}");
    }
}
