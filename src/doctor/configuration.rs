//! Checks of Git, its configuration, and the settings of both names.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{DoctorContext, Finding, Repair};
use crate::{
    host::{
        git_program::{self, ConfigListing, GitProgramError},
        settings::{Origin, RekorMode, RekorVersion, SettingKey, TABLE, boolean, nearest},
    },
    verdict::VerifyRequest,
};
use gitseal_evidence::object::HashKind;

/// The oldest Git that is tested.
const OLDEST: (u32, u32) = (2, 34);

/// The PATH of a program that a desktop starts, to which no shell has added.
const DESKTOP_PATH: &str = if cfg!(target_os = "macos") {
    "/usr/bin:/bin:/usr/sbin:/sbin"
} else {
    "/usr/local/bin:/usr/bin:/bin"
};

/// The age after which a lock file is stale, in seconds.
const STALE_LOCK: u64 = 60;

/// Checks Git itself, and whether it reads its configuration here.
pub(super) fn git(context: &DoctorContext) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &context.git {
        Err(error) => {
            let fix = match error {
                GitProgramError::Absent => "install Git 2.34 or newer, and put it on the PATH",
                _ => "git --version",
            };
            return vec![Finding::problem("git", error.to_string()).fix(fix)];
        }
        Ok((version, text)) if *version < OLDEST => findings.push(
            Finding::problem(
                "git-version",
                format!("{text} is older than 2.34; gpg.minTrustLevel, safe.directory or --show-scope may be missing"),
            )
            .fix("install git 2.34 or newer"),
        ),
        Ok((_, text)) => {
            let path = git_program::program()
                .map(|path| format!(" ({})", path.display()))
                .unwrap_or_default();
            findings.push(Finding::ok("git", format!("{text}{path}")));
        }
    }
    if let Err(error) = &context.listed {
        let message = format!("Git cannot read its configuration: {error}");
        findings.push(if message.contains("include depth") {
            Finding::problem("include-loop", message).fix("remove one include.path from the files that include each other; while Git fails on them: GIT_CONFIG_GLOBAL=/dev/null git config --file ~/.gitconfig --unset include.path")
        } else {
            Finding::problem("configuration", message).fix("fix the line that it names")
        });
    }
    if let Ok(answer) = git_program::run(&context.directory, &["rev-parse", "--git-dir"], &[])
        && answer.err.contains("dubious ownership")
    {
        let path = answer.err.split('\'').nth(1).map_or_else(
            || context.directory.display().to_string(),
            ToOwned::to_owned,
        );
        findings.push(
            Finding::problem(
                "safe-directory",
                format!(
                    "this repository is owned by another user, and Git refuses to use it ({path})"
                ),
            )
            .fix(format!(
                "git config --global --add safe.directory '{path}', if you trust its owner"
            )),
        );
    }
    findings
}

/// Checks that gitseal reads the configuration, unless Git itself fails.
pub(super) fn readable(context: &DoctorContext) -> Vec<Finding> {
    match &context.workspace {
        Err(error) if context.listed.is_ok() || context.git.is_err() => {
            vec![
                Finding::problem("configuration", error.to_string())
                    .fix("git config --list --show-origin names the file: fix the line"),
            ]
        }
        _ => Vec::new(),
    }
}

/// Describes the origin of a value.
fn origin(listed: &ConfigListing) -> String {
    if listed.scope == "command" {
        "git -c or GIT_CONFIG_COUNT".to_owned()
    } else {
        format!("{}, {}", listed.scope, listed.origin)
    }
}

fn value(listed: &ConfigListing) -> &str {
    listed.value.as_deref().unwrap_or("true")
}

/// Completes a finding with the way to remove a value, or to override it.
fn correct(finding: Finding, listed: &ConfigListing, new: &str) -> Finding {
    match listed.scope.as_str() {
        "global" => finding.fix("gitseal setup").repair(Repair::Setup),
        "system" => finding
            .fix("sudo gitseal setup --system, or gitseal setup for yourself")
            .repair(Repair::Setup),
        "local" | "worktree" => finding.fix(format!(
            "git config --{} --unset {}",
            listed.scope, listed.key
        )),
        _ => finding.fix(format!("git -c {}={new}, or without it", listed.key)),
    }
}

/// Checks that Git signs with X.509.
pub(super) fn format(context: &DoctorContext) -> Vec<Finding> {
    if context.listed.is_err() {
        return Vec::new();
    }
    const ID: &str = "gpg-format";
    vec![match context.git_value("gpg.format") {
        None => Finding::problem(ID, "gpg.format is not set (Git uses OpenPGP)")
            .fix("gitseal setup")
            .repair(Repair::Setup),
        Some(listed) => {
            let message = format!("gpg.format is {}", value(listed));
            let origin = origin(listed);
            if value(listed) == "x509" {
                Finding::ok(ID, format!("{message} ({origin})"))
            } else {
                let finding = Finding::problem(ID, format!("{message}, not x509 ({origin})"));
                correct(finding, listed, "x509")
            }
        }
    }]
}

/// Checks whether Git signs without being asked.
pub(super) fn signs_by_default(context: &DoctorContext) -> Vec<Finding> {
    if context.listed.is_err() {
        return Vec::new();
    }
    const ID: &str = "gpgsign";
    let keys = [
        ("commit.gpgsign", "commits", "git commit -S"),
        ("tag.gpgsign", "tags", "git tag -s"),
    ];
    let check = |(key, objects, command)| {
        let listed = context.git_value(key);
        let from = listed
            .map(|listed| format!(" ({})", origin(listed)))
            .unwrap_or_default();
        if listed.is_some_and(|listed| boolean(value(listed)) == Some(true)) {
            Finding::ok(ID, format!("{objects} are signed by default{from}"))
        } else {
            Finding::note(
                ID,
                format!("{objects} are not signed by default (only with '{command}'){from}"),
            )
            .fix(format!("git config --global {key} true"))
        }
    };
    keys.into_iter().map(check).collect()
}

/// Checks that Git runs this program, also from a desktop.
pub(super) fn program(context: &DoctorContext) -> Vec<Finding> {
    if context.listed.is_err() {
        return Vec::new();
    }
    let Some(listed) = context.git_value("gpg.x509.program") else {
        return vec![
            Finding::problem("program", "gpg.x509.program is not set (Git uses gpgsm)")
                .fix("gitseal setup")
                .repair(Repair::Setup),
        ];
    };
    let written = value(listed);
    let from = origin(listed);
    let problem = |id, what: &str| {
        let message = format!("gpg.x509.program is {what} ({from})");
        vec![correct(Finding::problem(id, message), listed, "gitseal")]
    };
    let path = Path::new(written);
    let is_name = !written.contains(['/', '\\']);
    let found = if is_name {
        env::var_os("PATH").and_then(|path| git_program::find_on(&path, written))
    } else {
        Some(path.to_owned()).filter(|path| path.is_absolute() && git_program::is_program(path))
    };
    let is_this = found.as_deref().is_some_and(is_this_program);
    if path.file_stem().and_then(OsStr::to_str) == Some("gitsign") && !is_this {
        return problem(
            "program-gitsign",
            &format!("{written}: Git runs gitsign, not gitseal"),
        );
    }
    let Some(found) = found else {
        return if is_name {
            problem(
                "program-missing",
                &format!("{written}, which is not on the PATH"),
            )
        } else if path.is_absolute() {
            let what = format!("{written}, which does not exist or is not executable");
            problem("program-missing", &what)
        } else {
            let what =
                format!("the relative path {written}; a repository could supply the program");
            problem("program-relative", &what)
        };
    };
    let mut findings = vec![if is_this {
        Finding::ok(
            "program",
            format!("Git uses this gitseal: {written} ({from})"),
        )
    } else {
        let version = version_of(&found, context);
        let own = crate::version::LINE;
        let path = found.display();
        if version == own {
            let message = format!("Git uses another copy of this version: {path} ({from})");
            Finding::note("program-other", message)
        } else if version.starts_with("gitseal version ") {
            let message = format!("Git uses {version} ({path}), and this is {own} ({from})");
            Finding::warning("program-version", message)
                .fix("install one of them only, or run gitseal setup to make Git use this one")
        } else {
            let first = version.lines().next().unwrap_or_default();
            let first: String = first.chars().take(80).collect();
            let what = format!("{written}, which is not gitseal: its version is {first:?}");
            return problem("program-foreign", &what);
        }
    }];
    let is_hidden = !cfg!(windows)
        && is_name
        && git_program::find_on(OsStr::new(DESKTOP_PATH), written).is_none();
    if is_hidden {
        let finding = Finding::warning(
            "program-desktop",
            format!(
                "{written} is found by its name, and not on the PATH of programs that a desktop starts ({DESKTOP_PATH}): commits from an editor or a GUI may fail"
            ),
        );
        findings.push(match listed.scope.as_str() {
            scope @ ("local" | "worktree") => finding.fix(format!(
                "git config --{scope} gpg.x509.program {}",
                found.display()
            )),
            _ => finding
                .fix(format!(
                    "gitseal setup writes the absolute path ({})",
                    found.display()
                ))
                .repair(Repair::Setup),
        });
    }
    findings
}

/// Returns whether a file is this program; `gitsign` may be a link to it.
fn is_this_program(file: &Path) -> bool {
    let real = |path: PathBuf| path.canonicalize().ok();
    let itself = env::current_exe().ok().and_then(real);
    itself.is_some() && real(file.to_owned()) == itself
}

fn version_of(program: &Path, context: &DoctorContext) -> String {
    git_program::run_program(program, &context.directory, &["--version"], &[])
        .map(|answer| String::from_utf8_lossy(&answer.out).trim().to_owned())
        .unwrap_or_default()
}

/// Reports the first setting with an invalid value.
pub(super) fn invalid_setting(context: &DoctorContext) -> Vec<Finding> {
    let Some(Err(error)) = &context.settings else {
        return Vec::new();
    };
    let fix = match &*error.origin {
        Origin::Config { key, scope, .. } => {
            let scope = scope.name();
            format!("git config --{scope} {key} VALUE, or --unset {key}")
        }
        Origin::Environment { name } => format!("unset {name}"),
        Origin::Default | Origin::Flag { .. } => "gitseal version".to_owned(),
    };
    vec![Finding::problem("setting", error.to_string()).fix(fix)]
}

/// Checks settings that each have a valid value.
pub(super) fn settings(context: &DoctorContext) -> Vec<Finding> {
    let Some(settings) = context.settings() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (origin, warning) in settings.ignored.iter().zip(settings.warnings()) {
        let finding = Finding::warning("left-aside", warning);
        findings.push(match origin {
            Origin::Config { key, .. } => finding.fix(format!(
                "git config --local --unset {key}; or, if you mean it, git config --global {key} VALUE"
            )),
            _ => finding,
        });
    }
    let needs_time = settings.rekor_version.value == RekorVersion::V2;
    if needs_time && settings.timestamp_server.value.is_none() {
        findings.push(
            Finding::problem(
                "timestamp-missing",
                "rekorVersion 2 requires timestampServerURL",
            )
            .fix("git config --global gitseal.timestampServerURL URL"),
        );
    }
    if settings.rekor_mode_lookup.value == RekorMode::Online {
        let origin = &settings.rekor_mode_lookup.origin;
        findings.push(Finding::note(
            "rekor-mode",
            format!("rekorMode is online ({origin}): every verification queries the log"),
        ));
    }
    if let Err(error) = VerifyRequest::check_settings(settings) {
        findings.push(
            Finding::problem("who", format!("incomplete expected identity: {error}"))
                .fix("set gitseal.certificateIdentity and gitseal.certificateOidcIssuer"),
        );
    }
    findings
}

/// Reports keys that are not settings, and those of gitsign.
pub(super) fn unknown_settings(context: &DoctorContext) -> Vec<Finding> {
    let check = |listed: &ConfigListing| {
        let (section @ ("gitseal" | "gitsign"), name) = listed.key.split_once('.')? else {
            return None;
        };
        let row = TABLE.iter().find(|row| {
            row.name.eq_ignore_ascii_case(name) && (section == "gitseal" || row.in_gitsign)
        });
        let (scope, key, from) = (&listed.scope, &listed.key, origin(listed));
        let unset = format!("git config --{scope} --unset {key}");
        match row {
            Some(row) if row.key == SettingKey::EnableSigstoreGo => {
                let message = format!("{key} is ignored by gitseal ({from})");
                Some(Finding::note("gitsign-key", message).fix(unset))
            }
            Some(row) if section == "gitsign" => {
                let message = format!("gitsign.{} is in use ({from})", row.name);
                Some(Finding::note("gitsign-key", message))
            }
            Some(_) => None,
            None => {
                let fix = match nearest(name) {
                    Some(near) => format!(
                        "git config --{scope} gitseal.{near} '{}' && {unset}",
                        value(listed)
                    ),
                    None => unset,
                };
                let message = format!("unknown setting {key} ({from})");
                Some(Finding::warning("unknown-setting", message).fix(fix))
            }
        }
    };
    context.listed.iter().flatten().filter_map(check).collect()
}

/// Checks that the committer can be the signer.
pub(super) fn committer(context: &DoctorContext) -> Vec<Finding> {
    let Some(settings) = context.settings() else {
        return Vec::new();
    };
    let email = env::var("GIT_COMMITTER_EMAIL")
        .ok()
        .filter(|email| !email.is_empty())
        .or_else(|| Some(value(context.git_value("user.email")?).to_owned()));
    let Some(email) = email else {
        return vec![
            Finding::warning(
                "user-email",
                "user.email is not set: Git guesses one, or refuses to commit",
            )
            .fix("git config --global user.email YOU@EXAMPLE.COM"),
        ];
    };
    if !settings.match_committer.value {
        return Vec::new();
    }
    const ID: &str = "match-committer";
    let hint = settings.login_hint.value.as_deref();
    vec![match hint.filter(|hint| hint.contains('@')) {
        Some(hint) if !hint.eq_ignore_ascii_case(&email) => Finding::problem(
            ID,
            format!("matchCommitter is set, but user.email is {email} and loginHint is {hint}: signing will fail"),
        )
        .fix(format!("git config user.email {hint}")),
        _ => Finding::ok(
            ID,
            format!("matchCommitter is set: only a login as {email} can sign here"),
        ),
    }]
}

/// Checks this repository's object format, hooks and lock.
pub(super) fn repository(context: &DoctorContext) -> Vec<Finding> {
    let workspace = context.workspace.as_ref().ok();
    let Some(repository) = workspace.and_then(|workspace| workspace.repository().ok()) else {
        return vec![Finding::note(
            "repository",
            "not in a repository: only user and system configuration were checked",
        )];
    };
    let hash = match repository.hash() {
        HashKind::Sha1 => "SHA-1",
        HashKind::Sha256 => "SHA-256",
    };
    let message = format!("a repository with {hash} object names");
    let mut findings = vec![Finding::ok("repository", message)];
    let config = repository.config_file();
    let hooks = context
        .git_value("core.hookspath")
        .and_then(|listed| listed.value.clone())
        .map_or_else(|| config.with_file_name("hooks"), PathBuf::from);
    for name in ["pre-receive", "update", "pre-push"] {
        let hook = hooks.join(name);
        let text = std::fs::read(&hook).unwrap_or_default();
        if !text.windows(7).any(|window| window == b"gitseal") {
            continue;
        }
        findings.push(if git_program::is_program(&hook) {
            Finding::ok("hooks", format!("the {name} hook runs gitseal"))
        } else {
            let message = format!("the {name} hook for gitseal is not executable: Git skips it");
            Finding::problem("hooks", message).fix(format!("chmod +x {}", hook.display()))
        });
    }
    let lock = config.with_extension("lock");
    let age = std::fs::metadata(&lock)
        .and_then(|facts| facts.modified())
        .ok()
        .and_then(|at| at.elapsed().ok());
    if age.is_some_and(|age| age.as_secs() > STALE_LOCK) {
        let lock = lock.display();
        findings.push(
            Finding::warning("lock", format!("stale lock file {lock}"))
                .fix(format!("rm {lock}, if no Git process is running")),
        );
    }
    findings
}
