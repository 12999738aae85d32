//! Git's configuration, read without Git: the files of each scope in Git's order,
//! an include in the place where it is written, and the command line last.
//!
//! It reads only what it knows to read as every version of Git does. Anything
//! else is [`ReadError::NeedsGit`], and Git's own listing (`listing.rs`) is read
//! instead. Both are compared on thousands of generated configurations
//! (`tests/commands/differential.rs`).
//!
//! *Not read here:* `includeIf` of branches and remotes or with other patterns
//! than a path, paths of other users, files that are not regular, Windows.

use std::{
    ffi::OsString,
    fs::File,
    io::{ErrorKind, Read as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use super::{
    ConfigScope, ConfigSources, ConfigValue, ReadError, RepositoryFiles, SystemFile, command,
    syntax::{self, Entry, MAX_FILE},
};

/// The deepest include (`MAX_INCLUDE_DEPTH` in Git's `config.c`).
const MAX_DEPTH: usize = 10;
/// The most files that are read. Git has no limit.
const MAX_FILES: usize = 200;

/// Sections whose values decide something here: an ambiguous one is not guessed.
const DECIDING: [&[u8]; 6] = [
    b"gitseal",
    b"gitsign",
    b"include",
    b"includeif",
    b"extensions",
    b"core",
];

/// Extensions of a repository that do not change which files are its
/// configuration, and whether they need format version 1.
const EXTENSIONS: [(&[u8], bool); 6] = [
    (b"extensions.noop", false),
    (b"extensions.partialclone", false),
    (b"extensions.preciousobjects", false),
    (b"extensions.worktreeconfig", false),
    (b"extensions.objectformat", true),
    (b"extensions.noop-v1", true),
];

/// Reads all values in the order of ascending precedence.
///
/// # Errors
/// Returns [`ReadError`] if Git fails on a file, or may read it differently.
pub fn read(sources: &ConfigSources<'_>) -> Result<Vec<ConfigValue>, ReadError> {
    let mut reader = Reader {
        sources,
        values: Vec::new(),
        files: 0,
    };
    // Git ignores a repository whose format it does not know, so that comes first.
    let repository = match &sources.repository {
        Some(repository) => Some(reader.repository(repository)?),
        None => None,
    };
    if let Some(file) = system_file(sources)? {
        reader.file(&file, ConfigScope::System, 0)?;
    }
    for file in global_files(sources)? {
        reader.file(&file, ConfigScope::Global, 0)?;
    }
    for (file, entries, scope) in repository.into_iter().flatten() {
        reader.entries(entries, &file, scope, 0)?;
    }
    for (key, value) in command::pairs(sources.environment)? {
        reader.value(key, value, None, ConfigScope::Command, 0)?;
    }
    Ok(reader.values)
}

/// Returns the system's file, unless the environment disables it.
fn system_file(sources: &ConfigSources<'_>) -> Result<Option<PathBuf>, ReadError> {
    let variable = sources.environment;
    if let Some(text) = variable("GIT_CONFIG_NOSYSTEM") {
        match text.to_str().and_then(flag) {
            Some(true) => return Ok(None),
            Some(false) => {}
            None => {
                return Err(ReadError::needs_git(format!(
                    "GIT_CONFIG_NOSYSTEM {text:?}"
                )));
            }
        }
    }
    match (variable("GIT_CONFIG_SYSTEM"), &sources.system) {
        (Some(path), _) => named_file("GIT_CONFIG_SYSTEM", path),
        (None, SystemFile::At(path)) => Ok(Some(path.clone())),
        (None, SystemFile::Unknown { reason }) => Err(ReadError::needs_git(reason)),
    }
}

/// Returns the user's files: `GIT_CONFIG_GLOBAL`, or two.
fn global_files(sources: &ConfigSources<'_>) -> Result<Vec<PathBuf>, ReadError> {
    let variable = sources.environment;
    if let Some(path) = variable("GIT_CONFIG_GLOBAL") {
        return Ok(named_file("GIT_CONFIG_GLOBAL", path)?.into_iter().collect());
    }
    let home = variable("HOME");
    let mut files = Vec::new();
    let xdg = variable("XDG_CONFIG_HOME").filter(|path| !path.is_empty());
    match (xdg, &home) {
        (Some(xdg), _) => files.push(absolute("XDG_CONFIG_HOME", xdg, "/git/config")?),
        (None, Some(home)) => {
            files.push(absolute("HOME", home.clone(), "/.config/git/config")?);
        }
        (None, None) => {}
    }
    if let Some(home) = home {
        files.push(absolute("HOME", home, "/.gitconfig")?);
    }
    Ok(files)
}

/// Returns the file that a variable names; none if it is empty.
fn named_file(name: &str, path: OsString) -> Result<Option<PathBuf>, ReadError> {
    if path.is_empty() {
        return Ok(None);
    }
    absolute(name, path, "").map(Some)
}

/// Returns a path below a directory of the environment. Git changes its directory
/// before it reads, so a relative path depends on where that is.
fn absolute(name: &str, mut directory: OsString, below: &str) -> Result<PathBuf, ReadError> {
    if directory.as_bytes().first() != Some(&b'/') {
        return Err(ReadError::needs_git(format!("{name} is not absolute")));
    }
    directory.push(below);
    Ok(PathBuf::from(directory))
}

struct Reader<'a> {
    sources: &'a ConfigSources<'a>,
    values: Vec<ConfigValue>,
    files: usize,
}

impl Reader<'_> {
    /// Reads a file, if it exists, and those that it includes.
    fn file(&mut self, path: &Path, scope: ConfigScope, depth: usize) -> Result<(), ReadError> {
        if let Some(entries) = self.load(path)? {
            self.entries(entries, path, scope, depth)?;
        }
        Ok(())
    }

    fn load(&mut self, path: &Path) -> Result<Option<Vec<Entry>>, ReadError> {
        let within = |error: ReadError| error.within(path);
        let Some(bytes) = content(path).map_err(within)? else {
            return Ok(None);
        };
        self.files = self.files.saturating_add(1);
        if self.files > MAX_FILES {
            return Err(within(ReadError::needs_git("more than 200 files")));
        }
        syntax::parse(&bytes).map(Some).map_err(within)
    }

    fn entries(
        &mut self,
        entries: Vec<Entry>,
        path: &Path,
        scope: ConfigScope,
        depth: usize,
    ) -> Result<(), ReadError> {
        for entry in entries {
            let section = entry.key.split(|byte| *byte == b'.').next();
            if entry.is_ambiguous && section.is_some_and(|section| DECIDING.contains(&section)) {
                return Err(ReadError::needs_git("a tab inside a value").within(path));
            }
            self.value(entry.key, entry.value, Some(path), scope, depth)
                .map_err(|error| error.within(path))?;
        }
        Ok(())
    }

    /// Adds a value, and what it includes behind it.
    fn value(
        &mut self,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        file: Option<&Path>,
        scope: ConfigScope,
        depth: usize,
    ) -> Result<(), ReadError> {
        let includes = if key == b"include.path" {
            true
        } else {
            let condition = key
                .strip_prefix(b"includeif.")
                .and_then(|rest| rest.strip_suffix(b".path"));
            match condition {
                Some(condition) => self.condition(condition, file)?,
                None => false,
            }
        };
        let included = if includes {
            Some(self.included(value.as_deref(), file)?)
        } else {
            None
        };
        self.values.push(ConfigValue {
            key: String::from_utf8_lossy(&key).into_owned(),
            value,
            scope,
            file: file.map(Path::to_owned),
        });
        let Some(path) = included else { return Ok(()) };
        let depth = depth.saturating_add(1);
        match self.load(&path)? {
            None => Ok(()),
            Some(_) if depth > MAX_DEPTH => Err(ReadError::malformed(format!(
                "more than {MAX_DEPTH} includes inside each other"
            ))),
            Some(entries) => self.entries(entries, &path, scope, depth),
        }
    }

    /// Returns the path that an include names: relative to the including file.
    fn included(&self, value: Option<&[u8]>, file: Option<&Path>) -> Result<PathBuf, ReadError> {
        let Some(value) = value else {
            return Err(ReadError::malformed("an include without path"));
        };
        let path = match self.expand(value)? {
            Some(expanded) => expanded,
            None => value.to_vec(),
        };
        let path = PathBuf::from(OsString::from_vec(path));
        if path.is_absolute() {
            return Ok(path);
        }
        match file.and_then(Path::parent) {
            Some(directory) if !value.is_empty() => Ok(directory.join(path)),
            Some(_) => Err(ReadError::needs_git("an include of an empty path")),
            None => Err(ReadError::malformed(
                "a relative include that is not in a file",
            )),
        }
    }

    /// Returns the path with the user's home for `~`, or `None` without it.
    fn expand(&self, path: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        if path.starts_with(b"%(") || path.starts_with(b":(") {
            return Err(ReadError::needs_git(format!("the path {}", shown())));
        }
        let Some(rest) = path.strip_prefix(b"~") else {
            return Ok(None);
        };
        match (self.sources.environment)("HOME") {
            Some(home) if rest.is_empty() || rest.starts_with(b"/") => {
                let mut expanded = home.into_vec();
                expanded.extend_from_slice(rest);
                Ok(Some(expanded))
            }
            _ => Err(ReadError::needs_git(format!("the path {}", shown()))),
        }
    }

    /// Returns whether the condition of an `includeIf` holds.
    fn condition(&self, condition: &[u8], file: Option<&Path>) -> Result<bool, ReadError> {
        let (pattern, ignore_case) = if let Some(pattern) = condition.strip_prefix(b"gitdir:") {
            (pattern, false)
        } else if let Some(pattern) = condition.strip_prefix(b"gitdir/i:") {
            (pattern, true)
        } else {
            return Err(unknown_condition(condition));
        };
        let Some(repository) = &self.sources.repository else {
            return Ok(false);
        };
        let mut real = canonical(&repository.git_dir)?;
        let mut pattern = self.pattern(pattern, file)?;
        if ignore_case {
            real.make_ascii_lowercase();
            pattern.path.make_ascii_lowercase();
        }
        if pattern.matches(&real) {
            return Ok(true);
        }
        // Git then tries the path by which it came here, with its links.
        if self.has_other_path(repository)? {
            return Err(ReadError::needs_git(
                "includeIf gitdir in a repository that has more than one path",
            ));
        }
        Ok(false)
    }

    fn pattern(&self, pattern: &[u8], file: Option<&Path>) -> Result<PathPattern, ReadError> {
        let unknown = || {
            let pattern = String::from_utf8_lossy(pattern);
            ReadError::needs_git(format!("includeIf with the pattern {pattern}"))
        };
        let mut path = pattern.to_vec();
        if let Some(rest) = pattern.strip_prefix(b"~") {
            self.expand(pattern)?;
            let home = (self.sources.environment)("HOME").ok_or_else(unknown)?;
            path = canonical(Path::new(&home))?;
            path.extend_from_slice(rest);
        } else if pattern.starts_with(b"%(") {
            return Err(unknown());
        } else if let Some(rest) = pattern.strip_prefix(b"./") {
            let file = file.ok_or_else(unknown)?;
            let real = std::fs::canonicalize(file).map_err(|error| cannot_read(&error))?;
            path = real
                .parent()
                .ok_or_else(unknown)?
                .as_os_str()
                .as_bytes()
                .to_vec();
            path.push(b'/');
            path.extend_from_slice(rest);
        }
        let is_anywhere = !path.starts_with(b"/");
        if let Some(rest) = path.strip_prefix(b"**/") {
            path = rest.to_vec();
        }
        let directory = path
            .strip_suffix(b"/")
            .or_else(|| path.strip_suffix(b"/**"));
        let (path, is_prefix) = match directory {
            Some(directory) => (directory.to_vec(), true),
            None => (path, false),
        };
        if path.is_empty() || path.iter().any(|byte| b"*?[\\".contains(byte)) {
            return Err(unknown());
        }
        Ok(PathPattern {
            path,
            is_anywhere,
            is_prefix,
        })
    }

    /// Returns whether Git may know the repository by another path than its real
    /// one: through `GIT_DIR`, `PWD`, a link in place of `.git`, or as `.` from
    /// inside it.
    fn has_other_path(&self, repository: &RepositoryFiles) -> Result<bool, ReadError> {
        let variable = self.sources.environment;
        let is_real = |path: &OsString| {
            std::fs::canonicalize(path).is_ok_and(|real| real.as_os_str() == path)
        };
        if let Some(directory) = variable("GIT_DIR") {
            return Ok(!is_real(&directory));
        }
        let is_link = std::fs::symlink_metadata(&repository.git_dir)
            .map_err(|error| cannot_read(&error))?
            .is_symlink();
        let is_inside = std::fs::canonicalize(self.sources.directory)
            .and_then(|directory| {
                Ok(directory.starts_with(std::fs::canonicalize(&repository.git_dir)?))
            })
            .map_err(|error| cannot_read(&error))?;
        Ok(is_link || is_inside || variable("PWD").is_some_and(|directory| !is_real(&directory)))
    }

    /// Loads the repository's file, and that of its work tree if it enables one.
    fn repository(&mut self, repository: &RepositoryFiles) -> Result<Vec<Loaded>, ReadError> {
        if !repository.is_owned {
            return Err(ReadError::needs_git("a repository of another user"));
        }
        let file = repository.common_dir.join("config");
        let Some(entries) = self.load(&file)? else {
            return Ok(Vec::new());
        };
        let has_worktree_file = format(&entries).map_err(|error| error.within(&file))?;
        let mut loaded = vec![(file, entries, ConfigScope::Local)];
        if has_worktree_file {
            let file = repository.git_dir.join("config.worktree");
            if let Some(entries) = self.load(&file)? {
                loaded.push((file, entries, ConfigScope::Worktree));
            }
        }
        Ok(loaded)
    }
}

/// A file that is loaded, without its includes.
type Loaded = (PathBuf, Vec<Entry>, ConfigScope);

/// A pattern without wildcards, but for whole directories at its ends.
struct PathPattern {
    path: Vec<u8>,
    /// `**/` before the path.
    is_anywhere: bool,
    /// `/**` behind the path.
    is_prefix: bool,
}

impl PathPattern {
    fn matches(&self, text: &[u8]) -> bool {
        let ends = |rest: &[u8]| rest.is_empty() || (self.is_prefix && rest.starts_with(b"/"));
        let starts_here = |text: &[u8]| match text.strip_prefix(self.path.as_slice()) {
            // `/**` needs the slash.
            Some(rest) => ends(rest) && !(self.is_prefix && rest.is_empty()),
            None => false,
        };
        if !self.is_anywhere {
            return starts_here(text);
        }
        let mut rest = text;
        loop {
            if starts_here(rest) {
                return true;
            }
            match rest.iter().position(|byte| *byte == b'/') {
                Some(slash) => rest = rest.get(slash.saturating_add(1)..).unwrap_or_default(),
                None => return false,
            }
        }
    }
}

/// Returns whether the repository has a file for each work tree, out of its own
/// file without includes.
fn format(entries: &[Entry]) -> Result<bool, ReadError> {
    let last = |key: &[u8]| entries.iter().rev().find(|entry| entry.key == key);
    let is_set = |key: &[u8]| -> Result<bool, ReadError> {
        match last(key) {
            None => Ok(false),
            Some(Entry { value: None, .. }) => Ok(true),
            Some(Entry {
                value: Some(value), ..
            }) => std::str::from_utf8(value)
                .ok()
                .and_then(flag)
                .ok_or_else(|| {
                    ReadError::needs_git(format!(
                        "{} is not a plain boolean",
                        String::from_utf8_lossy(key)
                    ))
                }),
        }
    };
    let is_version_1 = match last(b"core.repositoryformatversion").map(|entry| &entry.value) {
        None => false,
        Some(Some(value)) if value == b"0" => false,
        Some(Some(value)) if value == b"1" => true,
        Some(_) => return Err(ReadError::needs_git("an unknown repository format")),
    };
    let is_unknown = |entry: &&Entry| {
        entry.key.starts_with(b"extensions.")
            && !EXTENSIONS
                .iter()
                .any(|(key, needs_1)| entry.key == *key && (is_version_1 || !needs_1))
    };
    if let Some(entry) = entries.iter().find(is_unknown) {
        let key = String::from_utf8_lossy(&entry.key);
        return Err(ReadError::needs_git(format!("the extension {key}")));
    }
    if last(b"core.worktree").is_some() && is_set(b"core.bare")? {
        return Err(ReadError::needs_git("core.bare with core.worktree"));
    }
    is_set(b"extensions.worktreeconfig")
}

/// Parses the booleans that are written as such; Git knows more.
fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" | "" => Some(false),
        _ => None,
    }
}

fn unknown_condition(condition: &[u8]) -> ReadError {
    let condition = String::from_utf8_lossy(condition);
    ReadError::needs_git(format!("includeIf {condition}"))
}

fn cannot_read(error: &std::io::Error) -> ReadError {
    ReadError::needs_git(format!("cannot read: {error}"))
}

fn canonical(path: &Path) -> Result<Vec<u8>, ReadError> {
    std::fs::canonicalize(path)
        .map(|path| path.into_os_string().into_vec())
        .map_err(|error| cannot_read(&error))
}

/// Returns the content of a file; `None` if there is no file.
fn content(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    let is_missing = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
    };
    match std::fs::metadata(path) {
        Ok(facts) if facts.is_file() => {}
        Ok(_) if path == Path::new("/dev/null") => return Ok(Some(Vec::new())),
        Ok(_) => return Err(ReadError::needs_git("not a regular file")),
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(cannot_read(&error)),
    }
    let mut bytes = Vec::new();
    // One byte more than is read, so that a larger file is noticed.
    let most = u64::try_from(MAX_FILE)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(cannot_read(&error)),
    }
}
