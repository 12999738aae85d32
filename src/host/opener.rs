//! Opens a browser: the program of `gitseal.urlOpener`, or the one that the
//! system has for it. Never through a shell, never with our standard output
//! (git reads it), never with our tokens in its environment.

use std::{
    ffi::OsString,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use url::Url;

/// How long an opener is watched. One that fails does so at once; one that goes
/// on after this (a wrapper that follows the login itself) is left alone.
pub const MOMENT: Duration = Duration::from_millis(1500);

/// Variables that hold secrets, which no browser needs.
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

/// Why `urlOpener` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenerRefusal {
    /// Nothing in it.
    #[error("it names no program")]
    Empty,
    /// A quote that does not end.
    #[error("a quote in it does not end")]
    Quote,
    /// More than one line.
    #[error("it has a line break")]
    LineBreak,
    /// No place for the address.
    #[error("it has no {{{{.URL}}}}, which is where the address goes")]
    NoUrl,
    /// Something else between braces.
    #[error("between its braces is something else than .URL")]
    Template,
}

/// How a browser is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opener {
    words: Option<Vec<String>>,
}

impl Opener {
    /// The opener of the setting `urlOpener`; the system's where it is not set.
    ///
    /// The text is split at white space; single and double quotes keep words
    /// together, a backslash is an ordinary character. In each word `{{.URL}}`
    /// becomes the address.
    ///
    /// # Errors
    ///
    /// When the text is not of this form.
    pub fn new(setting: Option<&str>) -> Result<Self, OpenerRefusal> {
        let Some(text) = setting.filter(|text| !text.is_empty()) else {
            return Ok(Self { words: None });
        };
        let words = split(text)?;
        if words.first().is_none_or(String::is_empty) {
            return Err(OpenerRefusal::Empty);
        }
        let mut places = 0_usize;
        for word in &words {
            let (_, here) = fill(word, "")?;
            places = places.saturating_add(here);
        }
        if places == 0 {
            return Err(OpenerRefusal::NoUrl);
        }
        Ok(Self { words: Some(words) })
    }

    /// Whether a setting named the program.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.words.is_some()
    }

    /// Opens an address.
    ///
    /// # Errors
    ///
    /// When the program does not start, or fails within [`MOMENT`].
    pub fn open(&self, url: &Url) -> Result<(), String> {
        let Some(words) = &self.words else {
            return open_with_the_system(url);
        };
        let filled: Result<Vec<String>, OpenerRefusal> = words
            .iter()
            .map(|word| fill(word, url.as_str()).map(|(word, _)| word))
            .collect();
        run(&filled.map_err(|refusal| refusal.to_string())?, MOMENT)
    }
}

fn split(text: &str) -> Result<Vec<String>, OpenerRefusal> {
    if text.contains(['\n', '\r']) {
        return Err(OpenerRefusal::LineBreak);
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
        return Err(OpenerRefusal::Quote);
    }
    words.extend(word);
    Ok(words)
}

/// The word with the address in it, and how often.
fn fill(word: &str, url: &str) -> Result<(String, usize), OpenerRefusal> {
    let mut out = String::new();
    let mut rest = word;
    let mut places = 0_usize;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, behind) = after.split_once("}}").ok_or(OpenerRefusal::Template)?;
        if inside.trim() != ".URL" {
            return Err(OpenerRefusal::Template);
        }
        out.push_str(before);
        out.push_str(url);
        places = places.saturating_add(1);
        rest = behind;
    }
    out.push_str(rest);
    Ok((out, places))
}

/// Starts a program and watches it for a moment.
fn run(words: &[String], moment: Duration) -> Result<(), String> {
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
    while begun.elapsed() < moment {
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

/// Lets a child go on, and takes its exit status when it ends.
fn leave(mut child: Child) {
    thread::spawn(move || drop(child.wait()));
}

/// The system's own way. On Linux and the like the programs are started here:
/// a library would let a text browser write to our standard output.
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
    let mut last = String::from("no program that opens one was found");
    for words in &tries {
        match run(words, MOMENT) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(format!(
        "{last}; gitseal.urlOpener or BROWSER names a program"
    ))
}

/// The system's own way: no program of ours is between, so nothing of our
/// environment or our output reaches it.
#[cfg(not(all(unix, not(target_os = "macos"))))]
fn open_with_the_system(url: &Url) -> Result<(), String> {
    webbrowser::open(url.as_str()).map_err(|error| error.to_string())
}

/// Whether a browser can be expected to open where the person sits: one was
/// named, or there is a display and no SSH session.
#[must_use]
pub fn can_open(variable: &dyn Fn(&str) -> Option<OsString>, opener: &Opener) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    if opener.is_chosen() || is_set("BROWSER") {
        return true;
    }
    if is_set("SSH_CONNECTION") || is_set("SSH_TTY") || is_set("SSH_CLIENT") {
        return false;
    }
    if cfg!(any(windows, target_os = "macos")) {
        return true;
    }
    is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") || is_set("WSL_DISTRO_NAME")
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
            ("a 'b {{.URL}}", OpenerRefusal::Quote),
            ("a\n{{.URL}}", OpenerRefusal::LineBreak),
            ("a b", OpenerRefusal::NoUrl),
            ("a {{.Url}}", OpenerRefusal::Template),
            ("a {{.URL}} {{printf 1}}", OpenerRefusal::Template),
            ("a {{.URL", OpenerRefusal::Template),
            ("'' {{.URL}}", OpenerRefusal::Empty),
            ("  ", OpenerRefusal::Empty),
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
