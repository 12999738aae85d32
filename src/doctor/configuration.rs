//! git, its configuration, and the settings of both names.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{Findings, Patient, Repair};
use crate::{
    context::expected_identity_from_settings,
    host::{
        git_program::{self, ConfigListing, GitProgramError},
        settings::{Origin, RekorMode, RekorVersion, TABLE, nearest},
    },
};
use gitseal_evidence::object::HashKind;

/// The oldest git that is tested.
const OLDEST: (u32, u32) = (2, 34);

/// The PATH of a program that a desktop starts, where no shell has added to it.
const DESKTOP_PATH: &str = if cfg!(target_os = "macos") {
    "/usr/bin:/bin:/usr/sbin:/sbin"
} else {
    "/usr/local/bin:/usr/bin:/bin"
};

/// git itself, and whether it can read its configuration here.
pub(super) fn git(patient: &mut Patient, findings: &mut Findings) {
    match git_program::version() {
        Err(error @ GitProgramError::Absent) => {
            findings
                .problem("git", error.to_string())
                .fix("install git 2.34 or newer, and put it on the PATH");
            return;
        }
        Err(error) => {
            findings
                .problem("git", error.to_string())
                .fix("git --version");
            return;
        }
        Ok((version, words)) => {
            patient.git = Some(version);
            if version < OLDEST {
                findings
                    .problem(
                        "git-version",
                        format!("{words} is older than 2.34: it hides what a signing program says, and gpg.minTrustLevel, safe.directory or --show-scope may be missing"),
                    )
                    .fix("install git 2.34 or newer");
            } else {
                findings.ok("git", words);
            }
        }
    }
    match git_program::configuration(&patient.directory) {
        Ok(listed) => patient.listed = Some(listed),
        Err(error) => {
            let words = error.to_string();
            if words.contains("include depth") {
                findings
                    .problem("include-loop", format!("git cannot read its configuration: {words}"))
                    .fix("take one include.path out of the files that include each other; while git stops at them: GIT_CONFIG_GLOBAL=/dev/null git config --file ~/.gitconfig --unset include.path");
            } else {
                findings
                    .problem(
                        "configuration",
                        format!("git cannot read its configuration: {words}"),
                    )
                    .fix("mend the line that it names");
            }
        }
    }
    if let Ok(answer) = git_program::run(&patient.directory, &["rev-parse", "--git-dir"], &[])
        && answer.err.contains("dubious ownership")
    {
        let place = answer
            .err
            .split('\'')
            .nth(1)
            .map_or_else(|| patient.directory.display().to_string(), str::to_owned);
        findings
            .problem(
                "safe-directory",
                format!(
                    "this repository belongs to somebody else: git does nothing in it ({place})"
                ),
            )
            .fix(format!(
                "git config --global --add safe.directory '{place}', if you trust its owner"
            ));
    }
}

/// Says where a value is from.
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

/// How a value is taken out, or ours put in its place.
fn correct(listed: &ConfigListing, new: &str) -> (String, Option<Repair>) {
    match listed.scope.as_str() {
        "global" => ("gitseal setup".to_owned(), Some(Repair::Setup)),
        "system" => (
            "sudo gitseal setup --system, or gitseal setup for yourself".to_owned(),
            Some(Repair::Setup),
        ),
        "local" | "worktree" => (
            format!("git config --{} --unset {}", listed.scope, listed.key),
            None,
        ),
        _ => (format!("git -c {}={new}, or without it", listed.key), None),
    }
}

/// What makes git use this program.
pub(super) fn signing(patient: &Patient, findings: &mut Findings) {
    if patient.listed.is_none() {
        return;
    }
    match patient.git_value("gpg.format") {
        None => {
            findings
                .problem(
                    "gpg-format",
                    "gpg.format is not set: git signs with OpenPGP",
                )
                .fix("gitseal setup")
                .repair(Repair::Setup);
        }
        Some(listed) if value(listed) == "x509" => {
            findings.ok(
                "gpg-format",
                format!("gpg.format is x509 ({})", origin(listed)),
            );
        }
        Some(listed) => {
            let (fix, repair) = correct(listed, "x509");
            let finding = findings.problem(
                "gpg-format",
                format!(
                    "gpg.format is {}: git signs with something else ({})",
                    value(listed),
                    origin(listed)
                ),
            );
            finding.fix(fix).repair = repair;
        }
    }
    program(patient, findings);
    for (key, what) in [("commit.gpgsign", "commits"), ("tag.gpgsign", "tags")] {
        match patient.git_value(key) {
            Some(listed) if is_true(value(listed)) => {
                findings.ok("gpgsign", format!("{what} are signed ({})", origin(listed)));
            }
            found => {
                findings
                    .note(
                        "gpgsign",
                        format!(
                            "{what} are signed only when asked for (git {} -{}){}",
                            if what == "commits" { "commit" } else { "tag" },
                            if what == "commits" { "S" } else { "s" },
                            found
                                .map(|found| format!(" ({})", origin(found)))
                                .unwrap_or_default()
                        ),
                    )
                    .fix(format!("git config --global {key} true"));
            }
        }
    }
}

fn is_true(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "yes" | "on" | "1"
    )
}

fn program(patient: &Patient, findings: &mut Findings) {
    let Some(listed) = patient.git_value("gpg.x509.program") else {
        findings
            .problem("program", "gpg.x509.program is not set: git starts gpgsm")
            .fix("gitseal setup")
            .repair(Repair::Setup);
        return;
    };
    let written = value(listed);
    let from = origin(listed);
    let (fix, repair) = correct(listed, "gitseal");
    let base = Path::new(written).file_stem().and_then(OsStr::to_str);
    if base == Some("gitsign") && !is_this(written, patient) {
        let finding = findings.problem(
            "program-gitsign",
            format!("gpg.x509.program is {written}: git starts gitsign, not this program ({from})"),
        );
        finding.fix(fix).repair = repair;
        return;
    }
    let path = Path::new(written);
    let bare = !written.contains(['/', '\\']);
    let found = if bare {
        env::var_os("PATH").and_then(|path| git_program::find_on(&path, written))
    } else if path.is_absolute() {
        git_program::is_program(path).then(|| path.to_owned())
    } else {
        let finding = findings.problem(
            "program-relative",
            format!("gpg.x509.program is {written}: git looks for it below each work tree, whose author could put a program there ({from})"),
        );
        finding.fix(fix).repair = repair;
        return;
    };
    let Some(found) = found else {
        let words = if bare {
            format!("gpg.x509.program is {written}, which is not on the PATH ({from})")
        } else {
            format!("gpg.x509.program is {written}, where no program is ({from})")
        };
        let finding = findings.problem("program-missing", words);
        finding.fix(fix).repair = repair;
        return;
    };
    if same_file(&found) {
        findings.ok(
            "program",
            format!("git starts this program: {written} ({from})"),
        );
    } else if !other_program(patient, &found, written, &from, findings) {
        if let Some(finding) = findings.0.last_mut() {
            finding.fix(fix).repair = repair;
        }
        return;
    }
    if bare && !cfg!(windows) && git_program::find_on(OsStr::new(DESKTOP_PATH), written).is_none() {
        let finding = findings.warning(
            "program-desktop",
            format!("{written} is found by its name, and is not on the PATH that a program has which a desktop starts ({DESKTOP_PATH}): commits from an editor or a GUI may fail"),
        );
        if listed.scope == "local" || listed.scope == "worktree" {
            finding.fix(format!(
                "git config --{} gpg.x509.program {}",
                listed.scope,
                found.display()
            ));
        } else {
            finding
                .fix(format!(
                    "gitseal setup writes the whole path ({})",
                    found.display()
                ))
                .repair(Repair::Setup);
        }
    }
}

fn this_file() -> Option<PathBuf> {
    env::current_exe().ok()?.canonicalize().ok()
}

fn same_file(found: &Path) -> bool {
    found
        .canonicalize()
        .ok()
        .is_some_and(|found| Some(found) == this_file())
}

/// Whether the name leads here: `gitsign` may be a link to this program.
fn is_this(written: &str, _: &Patient) -> bool {
    let path = Path::new(written);
    if path.is_absolute() {
        return same_file(path);
    }
    env::var_os("PATH")
        .and_then(|path| git_program::find_on(&path, written))
        .is_some_and(|found| same_file(&found))
}

/// Another file of that name: is it gitseal, and which? `false`: a problem was
/// found.
fn other_program(
    patient: &Patient,
    found: &Path,
    written: &str,
    from: &str,
    findings: &mut Findings,
) -> bool {
    let said = git_program::run_program(found, &patient.directory, &["--version"], &[])
        .ok()
        .map(|answer| String::from_utf8_lossy(&answer.out).trim().to_owned())
        .unwrap_or_default();
    let own = crate::version::LINE;
    if said == own {
        findings.note(
            "program-other",
            format!(
                "git starts another copy of this version: {} ({from})",
                found.display()
            ),
        );
        true
    } else if said.starts_with("gitseal version ") {
        findings
            .warning(
                "program-version",
                format!(
                    "git starts {said} ({}), and this is {own} ({from})",
                    found.display()
                ),
            )
            .fix("install one of them only, or gitseal setup to have git use this one");
        true
    } else {
        findings.problem(
            "program-foreign",
            format!("gpg.x509.program is {written}, which is not gitseal: it calls itself {:?} ({from})", first(&said)),
        );
        false
    }
}

fn first(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(80)
        .collect()
}

/// The settings of both names.
pub(super) fn settings(patient: &Patient, findings: &mut Findings) {
    if let Some(error) = &patient.setting_error {
        findings
            .problem("setting", error.to_string())
            .fix(match &*error.origin {
                Origin::Config { key, scope, .. } => {
                    format!(
                        "git config --{} {key} VALUE, or --unset {key}",
                        scope.name()
                    )
                }
                Origin::Environment { name } => format!("unset {name}"),
                Origin::Default | Origin::Flag { .. } => "gitseal version".to_owned(),
            });
    }
    unknown_keys(patient, findings);
    let Some(settings) = &patient.settings else {
        return;
    };
    for (origin, warning) in settings.ignored.iter().zip(settings.warnings()) {
        let Origin::Config { key, .. } = origin else {
            continue;
        };
        findings.warning("left-aside", warning).fix(format!(
            "git config --local --unset {key}; or, if you mean it, git config --global {key} VALUE"
        ));
    }
    if settings.rekor_version.value == RekorVersion::V2 && settings.timestamp_server.value.is_none()
    {
        findings
            .problem(
                "timestamp-missing",
                "rekorVersion is 2 and no timestampServerURL is set: such a log signs no time, and nothing can be signed",
            )
            .fix("git config --global gitseal.timestampServerURL URL");
    }
    if settings.rekor_mode.value == RekorMode::Online {
        findings.note(
            "rekor-mode",
            format!("rekorMode is online ({}): every git verify-commit and git log --show-signature asks the log", settings.rekor_mode.origin),
        );
    }
    if let Err(error) = expected_identity_from_settings(settings) {
        findings
            .problem("who", format!("who may sign is half said: {error}"))
            .fix("set both gitseal.certificateIdentity and gitseal.certificateOidcIssuer");
    }
    committer(patient, findings);
}

fn unknown_keys(patient: &Patient, findings: &mut Findings) {
    for listed in patient.listed.iter().flatten() {
        let Some((section @ ("gitseal" | "gitsign"), name)) = listed.key.split_once('.') else {
            continue;
        };
        let row = TABLE.iter().find(|row| {
            row.name.eq_ignore_ascii_case(name) && (section == "gitseal" || row.in_gitsign)
        });
        if let Some(row) = row {
            if name.eq_ignore_ascii_case("enableSigstoreGo") {
                findings
                    .note(
                        "gitsign-key",
                        format!(
                            "{} has no effect: there is one engine ({})",
                            listed.key,
                            origin(listed)
                        ),
                    )
                    .fix(format!(
                        "git config --{} --unset {}",
                        listed.scope, listed.key
                    ));
            } else if section == "gitsign" {
                findings.note(
                    "gitsign-key",
                    format!("gitsign.{} is read ({})", row.name, origin(listed)),
                );
            }
            continue;
        }
        let fix = match nearest(name) {
            Some(near) => format!(
                "git config --{scope} gitseal.{near} '{value}' && git config --{scope} --unset {key}",
                scope = listed.scope,
                value = value(listed),
                key = listed.key
            ),
            None => format!("git config --{} --unset {}", listed.scope, listed.key),
        };
        findings
            .warning(
                "unknown-setting",
                format!(
                    "{} is no setting, and has no effect ({})",
                    listed.key,
                    origin(listed)
                ),
            )
            .fix(fix);
    }
}

/// Whether who commits can be who signs.
fn committer(patient: &Patient, findings: &mut Findings) {
    let Some(settings) = &patient.settings else {
        return;
    };
    let email = env::var("GIT_COMMITTER_EMAIL")
        .ok()
        .filter(|email| !email.is_empty())
        .or_else(|| {
            patient
                .git_value("user.email")
                .map(|listed| value(listed).to_owned())
        });
    let Some(email) = email else {
        findings
            .warning(
                "user-email",
                "user.email is not set: git guesses one, or refuses to commit",
            )
            .fix("git config --global user.email YOU@EXAMPLE.COM");
        return;
    };
    if !settings.match_committer.value {
        return;
    }
    let logged_in = settings
        .login_hint
        .value
        .as_deref()
        .filter(|hint| hint.contains('@'));
    match logged_in {
        Some(hint) if !hint.eq_ignore_ascii_case(&email) => {
            findings
                .problem(
                    "match-committer",
                    format!("matchCommitter is set, commits are by {email} and the login is for {hint}: nothing will be signed"),
                )
                .fix(format!("git config user.email {hint}"));
        }
        _ => findings.ok(
            "match-committer",
            format!("only who logs in as {email} can sign here (matchCommitter)"),
        ),
    }
}

/// This repository: its object format, its hooks, locks that were left.
pub(super) fn repository(patient: &Patient, findings: &mut Findings) {
    let Some(repository) = patient
        .workspace
        .as_ref()
        .and_then(|workspace| workspace.repository().ok())
    else {
        findings.note(
            "repository",
            "this is no repository: only your own and the machine's configuration were looked at",
        );
        return;
    };
    let hash = match repository.hash() {
        HashKind::Sha1 => "SHA-1",
        HashKind::Sha256 => "SHA-256",
    };
    findings.ok(
        "repository",
        format!("a repository with {hash} object names"),
    );
    let hooks = patient
        .git_value("core.hookspath")
        .and_then(|listed| listed.value.clone())
        .map(PathBuf::from)
        .or_else(|| {
            repository
                .config_file()
                .parent()
                .map(|git| git.join("hooks"))
        });
    let Some(hooks) = hooks else { return };
    for name in ["pre-receive", "update", "pre-push"] {
        let hook = hooks.join(name);
        let Ok(text) = std::fs::read(&hook) else {
            continue;
        };
        if !text.windows(7).any(|window| window == b"gitseal") {
            continue;
        }
        if git_program::is_program(&hook) {
            findings.ok("hooks", format!("the {name} hook calls gitseal"));
        } else {
            findings
                .problem(
                    "hooks",
                    format!("the {name} hook names gitseal and cannot be started: git skips it"),
                )
                .fix(format!("chmod +x {}", hook.display()));
        }
    }
    let lock = repository.config_file().with_extension("lock");
    if let Ok(facts) = std::fs::metadata(&lock)
        && facts
            .modified()
            .ok()
            .and_then(|at| at.elapsed().ok())
            .is_some_and(|age| age.as_secs() > 60)
    {
        findings
            .warning(
                "lock",
                format!(
                    "{} was left by a program that is gone, or hangs",
                    lock.display()
                ),
            )
            .fix(format!("rm {}", lock.display()));
    }
}
