//! Opens a browser: with the program of `gitseal.urlOpener`, or with the system's
//! own. It never uses a shell, and the browser gets neither standard output,
//! which Git reads, nor tokens in its environment.

use std::{
    ffi::OsString,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use url::Url;

/// The time within which an opener that fails has failed. One that runs longer (a
/// wrapper that follows the login itself) is not waited for.
pub const STARTUP_TIMEOUT: Duration = Duration::from_millis(1500);

/// Variables with secrets, which are removed from the browser's environment.
const SECRETS: [&str; 11] = [
    "SIGSTORE_ID_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
    "CIRCLE_OIDC_TOKEN",
    "CIRCLE_OIDC_TOKEN_V2",
    "CI_JOB_TOKEN",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITLAB_TOKEN",
    "GITSIGN_OIDC_CLIENT_SECRET",
];

/// Reasons why the value of `urlOpener` is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenerError {
    /// The value has no words.
    #[error("it does not name a program")]
    Empty,
    /// A quote is not closed.
    #[error("it has an unclosed quote")]
    Quote,
    /// The value has more than one line.
    #[error("it has a line break")]
    LineBreak,
    /// No word contains the placeholder.
    #[error("it does not contain {{{{.URL}}}}, the placeholder for the URL")]
    NoUrl,
    /// Another template than the placeholder.
    #[error("only {{{{.URL}}}} is supported in braces")]
    Template,
}

/// A way to open a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opener {
    words: Option<Vec<String>>,
}

impl Opener {
    /// Parses the setting `urlOpener`; without a value the system's way is used.
    ///
    /// The value is split at whitespace; single and double quotes keep words
    /// together, a backslash is an ordinary character. In each word `{{.URL}}`
    /// becomes the URL.
    ///
    /// # Errors
    /// Returns [`OpenerError`] if the value does not have this form.
    pub fn new(setting: Option<&str>) -> Result<Self, OpenerError> {
        let Some(text) = setting.filter(|text| !text.is_empty()) else {
            return Ok(Self { words: None });
        };
        let words = split(text)?;
        if words.first().is_none_or(String::is_empty) {
            return Err(OpenerError::Empty);
        }
        let mut places = 0_usize;
        for word in &words {
            let (_, here) = fill(word, "")?;
            places = places.saturating_add(here);
        }
        if places == 0 {
            return Err(OpenerError::NoUrl);
        }
        Ok(Self { words: Some(words) })
    }

    /// Returns whether a setting names the program.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.words.is_some()
    }

    /// Opens a URL.
    ///
    /// # Errors
    /// Returns the reason if the program does not start, or fails within
    /// [`STARTUP_TIMEOUT`].
    pub fn open(&self, url: &Url) -> Result<(), String> {
        let Some(words) = &self.words else {
            return open_with_the_system(url);
        };
        let filled: Result<Vec<String>, OpenerError> = words
            .iter()
            .map(|word| fill(word, url.as_str()).map(|(word, _)| word))
            .collect();
        run(
            &filled.map_err(|refusal| refusal.to_string())?,
            STARTUP_TIMEOUT,
        )
    }
}

fn split(text: &str) -> Result<Vec<String>, OpenerError> {
    if text.contains(['\n', '\r']) {
        return Err(OpenerError::LineBreak);
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(OpenerError::Quote);
    }
    words.extend(word);
    Ok(words)
}

/// Returns the word with the URL in it, and the number of placeholders.
fn fill(word: &str, url: &str) -> Result<(String, usize), OpenerError> {
    let mut out = String::new();
    let mut rest = word;
    let mut places = 0_usize;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, behind) = after.split_once("}}").ok_or(OpenerError::Template)?;
        if inside.trim() != ".URL" {
            return Err(OpenerError::Template);
        }
        out.push_str(before);
        out.push_str(url);
        places = places.saturating_add(1);
        rest = behind;
    }
    out.push_str(rest);
    Ok((out, places))
}

/// Starts a program, and reports if it fails within `timeout`.
fn run(words: &[String], timeout: Duration) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("no program".into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for name in SECRETS {
        command.env_remove(name);
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let begun = Instant::now();
    while begun.elapsed() < timeout {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{program}: {status}")),
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(format!("{program}: {error}")),
        }
    }
    leave(child);
    Ok(())
}

/// Lets a child run on, and collects its exit status when it ends.
fn leave(mut child: Child) {
    thread::spawn(move || drop(child.wait()));
}

/// Opens a URL in the system's own way. On Linux and similar systems the programs
/// are started here: a library would let a text browser write to standard output.
#[cfg(all(unix, not(target_os = "macos")))]
fn open_with_the_system(url: &Url) -> Result<(), String> {
    const TEXT_BROWSERS: [&str; 7] = [
        "lynx",
        "links",
        "links2",
        "elinks",
        "w3m",
        "www-browser",
        "browsh",
    ];
    let mut tries: Vec<Vec<String>> = Vec::new();
    let named = std::env::var("BROWSER").unwrap_or_default();
    for entry in named.split(':').filter(|entry| !entry.trim().is_empty()) {
        let mut words: Vec<String> = entry.split_whitespace().map(str::to_owned).collect();
        let name = words.first().and_then(|word| word.rsplit('/').next());
        if name.is_some_and(|name| TEXT_BROWSERS.contains(&name)) {
            continue;
        }
        if words.iter().any(|word| word.contains("%s")) {
            for word in &mut words {
                *word = word.replace("%s", url.as_str());
            }
        } else {
            words.push(url.as_str().to_owned());
        }
        tries.push(words);
    }
    for program in [
        &["xdg-open"][..],
        &["gio", "open"],
        &["wslview"],
        &["x-www-browser"],
    ] {
        let mut words: Vec<String> = program.iter().map(|word| (*word).to_owned()).collect();
        words.push(url.as_str().to_owned());
        tries.push(words);
    }
    let mut last = String::from("no program that opens a browser was found");
    for words in &tries {
        match run(words, STARTUP_TIMEOUT) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(format!("{last}; set gitseal.urlOpener or BROWSER"))
}

/// Opens a URL in the system's own way, without a child process that could inherit
/// the environment or the output.
#[cfg(not(all(unix, not(target_os = "macos"))))]
fn open_with_the_system(url: &Url) -> Result<(), String> {
    webbrowser::open(url.as_str()).map_err(|error| error.to_string())
}

/// Returns the variable that marks a remote session, where a browser would open
/// on another screen than the user's.
#[must_use]
pub fn remote_session(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"]
        .into_iter()
        .find(|name| is_set(variable, name))
}

fn is_set(variable: &dyn Fn(&str) -> Option<OsString>, name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

/// Returns whether a browser can open on the user's screen: a program is
/// configured, or there is a display and no SSH session.
#[must_use]
pub fn can_open(variable: &dyn Fn(&str) -> Option<OsString>, opener: &Opener) -> bool {
    const DISPLAYS: [&str; 3] = ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"];
    opener.is_configured()
        || is_set(variable, "BROWSER")
        || (remote_session(variable).is_none()
            && (cfg!(any(windows, target_os = "macos"))
                || DISPLAYS.into_iter().any(|name| is_set(variable, name))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Opener::new(Some(text)).unwrap().words.unwrap()
    }

    #[test]
    fn a_setting_is_split_as_gitsign_splits_it() {
        assert_eq!(
            words("a  'b c' \"d e\"f {{.URL}}"),
            ["a", "b c", "d ef", "{{.URL}}"]
        );
        assert_eq!(
            words(r"C:\x\y.exe '' {{.URL}}"),
            [r"C:\x\y.exe", "", "{{.URL}}"]
        );
        for (text, refusal) in [
            ("a 'b {{.URL}}", OpenerError::Quote),
            ("a\n{{.URL}}", OpenerError::LineBreak),
            ("a b", OpenerError::NoUrl),
            ("a {{.Url}}", OpenerError::Template),
            ("a {{.URL}} {{printf 1}}", OpenerError::Template),
            ("a {{.URL", OpenerError::Template),
            ("'' {{.URL}}", OpenerError::Empty),
            ("  ", OpenerError::Empty),
        ] {
            assert_eq!(Opener::new(Some(text)).unwrap_err(), refusal, "{text:?}");
        }
        assert_eq!(fill("'{{ .URL }}'", "u").unwrap(), ("'u'".into(), 1));
    }

    #[cfg(unix)]
    #[test]
    fn an_opener_fails_at_once_or_is_left_alone() {
        let url = Url::parse("http://127.0.0.1/?a=$(id)&b=;x").unwrap();
        let open = |text: &str| Opener::new(Some(text)).unwrap().open(&url);
        assert_eq!(
            open("test {{.URL}} = 'http://127.0.0.1/?a=$(id)&b=;x'"),
            Ok(())
        );
        assert!(
            open("false {{.URL}}")
                .unwrap_err()
                .contains("exit status: 1")
        );
        assert!(open("/does/not/exist {{.URL}}").is_err());
        let begun = Instant::now();
        assert_eq!(
            run(&["sleep".into(), "3".into()], Duration::from_millis(60)),
            Ok(())
        );
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_browser_opens_where_the_person_sits() {
        let can = |set: &[&str], opener: Option<&str>| {
            let variable = |name: &str| set.contains(&name).then(|| OsString::from("x"));
            can_open(&variable, &Opener::new(opener).unwrap())
        };
        if cfg!(target_os = "linux") {
            assert!(!can(&[], None));
        }
        assert!(can(&["DISPLAY"], None) && can(&["WAYLAND_DISPLAY"], None));
        assert!(!can(&["DISPLAY", "SSH_TTY"], None));
        assert!(!can(&["DISPLAY", "SSH_CONNECTION"], None));
        assert!(can(&["SSH_TTY", "BROWSER"], None) && can(&["SSH_TTY"], Some("a {{.URL}}")));
    }
}
