//! A person logs in: in a browser that is one (headless Chromium), on another
//! device, and by a code pasted on a terminal, with git as the caller.
//!
//! Screenshots of the pages are written to the directory that
//! GITSEAL_SCREENSHOTS names.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::stub::{CannedResponse, Stub};
use crate::support::{
    ALICE, GITSEAL, PAYLOAD,
    peers::program,
    process::{Ended, run, until},
    servers::Lab,
    skipped,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use url::Url;

const PATIENCE: Duration = Duration::from_secs(40);

/// One HTTP exchange with a server on loopback.
fn exchange(method: &str, url: &Url, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let host = url.host_str().unwrap();
    let port = url.port_or_known_default().unwrap();
    let mut stream = TcpStream::connect((host, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut head = format!(
        "{method} {}{query} HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n",
        url.path(),
        body.len()
    );
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {host}:{port}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    drop(stream.write_all(format!("{head}\r\n{body}").as_bytes()));
    let answer = answer(&mut stream);
    let status = answer
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

/// Reads an answer: as long as it says it is, or to the end. (chromedriver does
/// not close what it was asked to close.)
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    loop {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.extend_from_slice(&some[..count]),
        }
        let so_far = String::from_utf8_lossy(&bytes);
        if let Some((head, _)) = so_far.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is = name.eq_ignore_ascii_case("content-length");
                is.then(|| value.trim().parse::<usize>().ok())?
            });
            if length.is_some_and(|length| bytes.len() >= head.len() + 4 + length) {
                break;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Headless Chromium, driven by WebDriver (W3C).
struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// `None`, and says so, where it is not installed.
    fn start(profile: &Path) -> Option<Self> {
        let installed = |name| {
            Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        if !installed("chromedriver") || !installed("chromium") {
            skipped("chromedriver and chromium are not installed (.ci/peers)");
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = driver.stdout.take().unwrap();
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, port)) = line.split_once("successfully on port ") {
                    let port: u16 = port.trim().trim_end_matches('.').parse().unwrap();
                    let _ = send.send(port);
                }
            }
        });
        let port = receive.recv_timeout(PATIENCE).expect("chromedriver starts");
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self {
            driver,
            session: base,
        };
        let profile = format!("--user-data-dir={}", profile.display());
        let created = browser.call(
            "POST",
            "/session",
            json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {
                "binary": "/usr/bin/chromium",
                "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                    "--no-first-run", "--disable-background-networking",
                    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
                    "--window-size=900,700", profile],
            }}}}),
        );
        let id = created["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/session/{id}", browser.session);
        Some(browser)
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        self.ask(method, path, body)
            .unwrap_or_else(|answer| panic!("{method} {path}: {answer}"))
    }

    fn ask(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let url = Url::parse(&format!("{}{path}", self.session)).unwrap();
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let (status, answer) =
            exchange(method, &url, &[("Content-Type", "application/json")], &body);
        if status != 200 {
            return Err(format!("{status} {answer}"));
        }
        Ok(serde_json::from_str::<Value>(&answer).unwrap()["value"].take())
    }

    fn go(&self, url: &str) {
        self.call("POST", "/url", json!({ "url": url }));
    }

    fn address(&self) -> Url {
        Url::parse(self.call("GET", "/url", Value::Null).as_str().unwrap()).unwrap()
    }

    /// The text of the page; why there is none between two pages.
    fn body(&self) -> Result<String, String> {
        let script = json!({"script": "return document.body.innerText", "args": []});
        let text = self.ask("POST", "/execute/sync", script)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn click(&self, selector: &str) {
        let element = self.call(
            "POST",
            "/element",
            json!({"using": "css selector", "value": selector}),
        );
        let id = element.as_object().unwrap().values().next().unwrap();
        let path = format!("/element/{}/click", id.as_str().unwrap());
        self.call("POST", &path, json!({}));
    }

    #[track_caller]
    fn wait_for(&self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = self.body();
            match &body {
                Ok(body) if body.contains(what) => return body.clone(),
                _ => {}
            }
            assert!(
                Instant::now() < deadline,
                "{what:?} does not come at {}: {body:?}",
                self.address()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("GITSEAL_SCREENSHOTS") else {
            return;
        };
        fs::create_dir_all(&directory).unwrap();
        let picture = self.call("GET", "/screenshot", Value::Null);
        let bytes = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        fs::write(PathBuf::from(directory).join(format!("{name}.png")), bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Ok(url) = Url::parse(&self.session)
            && url.path().len() > 1
        {
            exchange("DELETE", &url, &[], "");
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// Servers that ask a person, and a home whose opener hands the address to the
/// test in place of a browser.
fn asking() -> Lab {
    let mut lab = Lab::start_with(&["--ask"]);
    let opener = lab.path("opener");
    fs::write(
        &opener,
        format!(
            "#!/bin/sh\nprintf '%s' \"$1\" > {0}.new && mv {0}.new {0}\n",
            lab.path("address").display()
        ),
    )
    .unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    lab.set("GITSEAL_TOKEN_PROVIDER", "interactive");
    lab.set(
        "GITSEAL_URL_OPENER",
        format!("{} {{{{.URL}}}}", opener.display()),
    );
    lab
}

/// The one-time address that gitseal wants opened.
#[track_caller]
fn one_time_address(lab: &Lab) -> Url {
    let file = lab.path("address");
    until("an address to open", || file.exists().then_some(()));
    let url = Url::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    fs::remove_file(&file).unwrap();
    url
}

/// The issuer's address, to which the one-time address leads.
#[track_caller]
fn address(lab: &Lab) -> Url {
    redirect("GET", &one_time_address(lab), "")
}

fn commit_in(lab: &Lab, repository: &Path) -> thread::JoinHandle<Ended> {
    let mut command = lab.command("git", repository);
    command.args(["commit", "-q", "--allow-empty", "-S", "-m", "logged in"]);
    thread::spawn(move || run(&mut command, b""))
}

/// Runs the helper as git does, with no controlling terminal even where the
/// tests have one. (git 2.39 keeps to itself why a helper failed.)
fn away_from_terminal(lab: &Lab, repository: &Path) -> Ended {
    let mut command = lab.command("setsid", repository);
    command.args(["-w", GITSEAL, "--status-fd=2", "-bsau", "x"]);
    run(&mut command, PAYLOAD)
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .unwrap_or_else(|| panic!("no {name} in {url}"))
        .1
        .into_owned()
}

#[test]
fn git_commit_logs_in_with_a_real_browser() {
    let lab = asking();
    let Some(browser) = Browser::start(&lab.path("profile")) else {
        return;
    };
    let repository = lab.repository("browser", &[]);
    let committing = commit_in(&lab, &repository);
    let entry = one_time_address(&lab);
    assert_eq!(entry.query(), None, "{entry}");
    browser.go(entry.as_str());
    browser.wait_for("Log in");
    browser.picture("1-consent");
    browser.click("button:not([name=deny])");
    let page = browser.wait_for("You are logged in");
    browser.picture("2-logged-in");
    assert!(page.contains(ALICE), "{page}");
    assert!(page.contains("You can close this page"), "{page}");
    let said = committing.join().unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    lab.good(&repository, "HEAD");
    // The listener is gone: the answer cannot be sent again. (Another test's
    // server may have been given the port since; it takes no such answer.)
    let callback = entry.join("/auth/callback?code=again&state=again").unwrap();
    if TcpStream::connect(("127.0.0.1", callback.port().unwrap())).is_ok() {
        let (status, body) = exchange("GET", &callback, &[], "");
        assert!(!body.contains("logged in"), "{status} {body}");
    }
}

#[test]
fn a_login_that_is_refused_in_the_browser_ends_the_commit() {
    let lab = asking();
    let Some(browser) = Browser::start(&lab.path("profile")) else {
        return;
    };
    let mut command = lab.command(GITSEAL, lab.root());
    command.args(["--status-fd=2", "-bsau", "x"]);
    let committing = thread::spawn(move || run(&mut command, PAYLOAD));
    browser.go(address(&lab).as_str());
    browser.wait_for("Log in");
    browser.click("button[name=deny]");
    let said = committing.join().unwrap();
    let page = browser.wait_for("access_denied");
    browser.picture("3-refused");
    assert!(!page.contains(ALICE), "{page}");
    assert_ne!(said.code, 0);
    let said = said.err;
    assert!(said.contains("access_denied"), "{said}");
}

/// K1, K3: what is not the answer gets an error page, and the login goes on.
#[test]
fn stray_requests_do_not_end_a_login() {
    let lab = asking();
    let repository = lab.repository("strays", &[]);
    let committing = commit_in(&lab, &repository);
    let url = address(&lab);
    assert_eq!(parameter(&url, "code_challenge_method"), "S256");
    assert_eq!(parameter(&url, "response_type"), "code");
    let callback = Url::parse(&parameter(&url, "redirect_uri")).unwrap();
    let with = |query: &str| {
        let mut url = callback.clone();
        url.set_query(Some(query));
        url
    };
    let other_path = callback.join("/favicon.ico").unwrap();
    let rebound = format!("attacker.example:{}", callback.port().unwrap());
    for (what, method, url, headers) in [
        ("no state", "GET", with("code=x"), vec![]),
        ("another state", "GET", with("code=x&state=y"), vec![]),
        (
            "an error with another state",
            "GET",
            with("error=access_denied&state=y"),
            vec![],
        ),
        ("no query", "GET", callback.clone(), vec![]),
        ("another path", "GET", other_path, vec![]),
        ("POST", "POST", with("code=x&state=y"), vec![]),
        (
            "another host",
            "GET",
            with("code=x&state=y"),
            vec![("Host", rebound.as_str())],
        ),
    ] {
        let (status, body) = exchange(method, &url, &headers, "");
        assert!((400..500).contains(&status), "{what}: {status} {body}");
    }
    // Half a request, and nothing at all: neither stops the honest one.
    let address = ("127.0.0.1", callback.port().unwrap());
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET /auth/callback?code=x HTTP/1.1\r\nHo")
        .unwrap();
    let silent: Vec<_> = (0..20)
        .filter_map(|_| TcpStream::connect(address).ok())
        .collect();
    assert!(!committing.is_finished(), "the login goes on");
    let (status, page) = follow(&url);
    assert_eq!(status, 200, "{page}");
    assert!(page.contains(ALICE), "{page}");
    let said = committing.join().unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    lab.good(&repository, "HEAD");
    drop((half.shutdown(Shutdown::Both), silent));
}

/// K3: no request, however it is made, stops the thread that waits for the
/// answer, or grows without bound.
#[test]
fn hostile_requests_do_not_stop_a_login() {
    let lab = asking();
    let repository = lab.repository("hostile", &[]);
    for (what, attack) in [
        ("a body that was promised", unsent_body as fn(&str) -> _),
        ("answers that nobody reads", unread_answers),
        ("numbers that do not compare", numbers_that_do_not_compare),
        ("a header without an end", endless_header),
    ] {
        let committing = commit_in(&lab, &repository);
        let url = address(&lab);
        let callback = Url::parse(&parameter(&url, "redirect_uri")).unwrap();
        let begun = Instant::now();
        let held = attack(&format!("localhost:{}", callback.port().unwrap()));
        let (status, page) = follow(&url);
        assert_eq!(status, 200, "{what}: {page}");
        assert!(page.contains(ALICE), "{what}: {page}");
        let said = committing.join().unwrap();
        assert_eq!(said.code, 0, "{what}: {}", said.err);
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        lab.good(&repository, "HEAD");
        drop(held);
    }
}

fn unsent_body(host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(200));
    stream
}

fn unread_answers(host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    drop(stream.write_all(request.repeat(20_000).as_bytes()));
    stream
}

fn numbers_that_do_not_compare(host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host).unwrap();
    let numbers: Vec<String> = (0..200)
        .map(|n| match n % 3 {
            0 => "x;q=NaN".to_owned(),
            n => format!("x;q=0.{n}"),
        })
        .collect();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nTE: {}\r\n\r\n",
        numbers.join(",")
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(answer(&mut stream).starts_with("HTTP/1.1 404"));
    stream
}

fn endless_header(host: &str) -> TcpStream {
    const MOST: usize = 16 << 20;
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut sent = stream
        .write(format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: ").as_bytes())
        .unwrap();
    while let Ok(count @ 1..) = stream.write(&[b'x'; 64 << 10]) {
        sent += count;
        assert!(sent < MOST, "{sent} bytes of a header were taken");
    }
    stream
}

/// Logs Alice in as the consent page's form does, and follows the redirect.
fn follow(url: &Url) -> (u16, String) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url.query_pairs() {
        form.append_pair(&name, &value);
    }
    form.append_pair("user", ALICE);
    let mut target = url.clone();
    target.set_query(None);
    let location = redirect("POST", &target, &form.finish());
    exchange("GET", &location, &[], "")
}

/// Sends a request, with a form if it is a POST, and gives where the answer sends
/// the browser.
#[track_caller]
fn redirect(method: &str, url: &Url, form: &str) -> Url {
    let host = url.host_str().unwrap();
    let mut stream = TcpStream::connect((host, url.port().unwrap())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(
            format!(
                "{method} {} HTTP/1.1\r\nHost: {host}:{}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{form}",
                url.path(),
                url.port().unwrap(),
                form.len()
            )
            .as_bytes(),
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let location = answer
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("location").then_some(value)
        })
        .unwrap_or_else(|| panic!("no redirect: {answer}"));
    url.join(location.trim()).unwrap()
}

/// git in a pseudo-terminal (util-linux's script), where a person types.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    shown: PathBuf,
}

impl Terminal {
    fn start(lab: &Lab, repository: &Path, command: &str) -> Option<Self> {
        program("script", "--version")?;
        let shown = lab.path("typescript");
        // What is there is the last one's.
        drop(fs::remove_file(&shown));
        let mut child = lab
            .command("script", repository)
            .args(["-qfec", command])
            .arg(&shown)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let keyboard = child.stdin.take().unwrap();
        Some(Self {
            child,
            keyboard,
            shown,
        })
    }

    fn screen(&self) -> String {
        let bytes = fs::read(&self.shown).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if screen.contains(what) {
                return screen;
            }
            assert!(
                Instant::now() < deadline,
                "{what:?} does not come: {screen}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn types(&mut self, line: &str) {
        self.keyboard.write_all(line.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    fn ends(mut self) -> (bool, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "git does not end: {}",
                self.screen()
            );
            thread::sleep(Duration::from_millis(10));
        };
        (status.success(), self.screen())
    }
}

/// The first address in a text that begins so.
#[track_caller]
fn address_in(text: &str, begin: &str) -> Url {
    let at = text
        .find(begin)
        .unwrap_or_else(|| panic!("no {begin} in {text}"));
    let url: String = text[at..]
        .chars()
        .take_while(|c| !c.is_whitespace() && !c.is_control())
        .collect();
    Url::parse(&url).unwrap()
}

const COMMIT: &str = "git commit -q --allow-empty -S -m 'on a terminal'";

#[test]
fn git_commit_logs_in_on_another_device() {
    let mut lab = Lab::start_with(&["--ask"]);
    lab.set("GITSEAL_TOKEN_PROVIDER", "device");
    let repository = lab.repository("device", &[]);
    let Some(terminal) = Terminal::start(&lab, &repository, COMMIT) else {
        return;
    };
    let begin = format!("{}/device", lab.issuer());
    let screen = terminal.wait_for("user_code=");
    let url = address_in(&screen, &format!("{begin}?user_code="));
    let code = parameter(&url, "user_code");
    assert!(screen.contains(&code));
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("user_code", &code)
        .append_pair("user", ALICE)
        .finish();
    let (status, page) = exchange(
        "POST",
        &Url::parse(&begin).unwrap(),
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &form,
    );
    assert_eq!(status, 200, "{page}");
    let (good, screen) = terminal.ends();
    assert!(good, "{screen}");
    lab.good(&repository, "HEAD");
}

#[test]
fn git_commit_logs_in_by_a_pasted_code() {
    let mut lab = Lab::start_with(&["--ask"]);
    lab.set("GITSEAL_TOKEN_PROVIDER", "oob");
    let repository = lab.repository("pasted", &[]);
    let Some(mut terminal) = Terminal::start(&lab, &repository, COMMIT) else {
        return;
    };
    let screen = terminal.wait_for("Code:");
    let url = address_in(&screen, &format!("{}/auth?", lab.issuer()));
    let code = pasted_code(&url);
    terminal.types(&format!("{code}\r"));
    let (good, screen) = terminal.ends();
    assert!(good, "{screen}");
    lab.good(&repository, "HEAD");
}

/// An issuer without a login on another device.
fn issuer_without_devices() -> Stub {
    Stub::start(|asked| {
        let issuer = format!("http://{}", asked.header("host").unwrap());
        let body = match asked.target.as_str() {
            "/keys" => json!({"keys": []}),
            _ => json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/auth"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }),
        };
        CannedResponse::json(200, &body)
    })
}

/// `interactive` is the browser, and where that cannot be, whatever else a
/// person can do, as in gitsign.
#[test]
fn an_interactive_login_ends_at_a_pasted_code() {
    let mut lab = Lab::start_with(&["--ask"]);
    let issuer = issuer_without_devices();
    lab.set("GITSEAL_TOKEN_PROVIDER", "interactive");
    lab.set("GITSEAL_URL_OPENER", "false {{.URL}}");
    lab.set("GITSEAL_OIDC_ISSUER", format!("http://{}", issuer.address));
    let repository = lab.repository("interactive", &[]);
    let Some(mut terminal) = Terminal::start(&lab, &repository, COMMIT) else {
        return;
    };
    let screen = terminal.wait_for("Code:");
    assert!(screen.contains("redirect_uri=urn"), "{screen}");
    terminal.types("\u{3}");
    terminal.ends();
}

/// Logs Alice in and reads the code off the page that shows it.
fn pasted_code(url: &Url) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url.query_pairs() {
        form.append_pair(&name, &value);
    }
    form.append_pair("user", ALICE);
    let mut target = url.clone();
    target.set_query(None);
    let (status, page) = exchange(
        "POST",
        &target,
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &form.finish(),
    );
    assert_eq!(status, 200, "{page}");
    let (_, rest) = page
        .split_once("<code")
        .unwrap_or_else(|| panic!("no code: {page}"));
    let (_, rest) = rest.split_once('>').unwrap();
    rest.split_once('<').unwrap().0.trim().to_owned()
}

#[test]
fn without_a_terminal_a_pasted_code_is_an_error_and_never_the_payload() {
    let mut lab = Lab::start_with(&["--ask"]);
    lab.set("GITSEAL_TOKEN_PROVIDER", "oob");
    let repository = lab.repository("nobody", &[]);
    let said = away_from_terminal(&lab, &repository);
    assert_ne!(said.code, 0);
    let said = said.err;
    assert!(said.contains("terminal"), "{said}");
}

/// The code of a device would be shown to nobody: said at once, not waited for.
#[test]
fn without_a_terminal_no_code_is_waited_for() {
    let mut lab = Lab::start_with(&["--ask"]);
    let repository = lab.repository("unseen", &[]);
    for (provider, opener, says) in [
        ("", "", "no terminal to display the login code"),
        // The browser's own failure is what counts then.
        ("interactive", "false {{.URL}}", "cannot open a browser"),
    ] {
        lab.set("GITSEAL_TOKEN_PROVIDER", provider);
        lab.set("GITSEAL_URL_OPENER", opener);
        let begun = Instant::now();
        let said = away_from_terminal(&lab, &repository);
        assert_ne!(said.code, 0);
        assert!(begun.elapsed() < Duration::from_secs(10));
        let said = said.err;
        assert!(said.contains(says), "{said}");
        assert!(!said.contains("another device instead"), "{said}");
    }
}

/// Whoever wanted the login is killed, or closes the pipe that the code went to.
#[test]
fn a_login_that_nobody_waits_for_ends() {
    let mut lab = Lab::start_with(&["--ask"]);
    lab.set("GITSEAL_TOKEN_PROVIDER", "device");
    let repository = lab.repository("abandoned", &[]);
    fs::write(lab.path("payload"), PAYLOAD).unwrap();
    let gitseal = format!(
        "{GITSEAL} --status-fd=2 -bsau x < {}",
        lab.path("payload").display()
    );
    for killed in [true, false] {
        let script = if killed {
            format!("{gitseal} & echo pid=$! >&2; wait")
        } else {
            format!("echo pid=$$ >&2; exec {gitseal}")
        };
        let mut parent = lab
            .command("setsid", &repository)
            .args(["-w", "sh", "-c", &format!("echo parent=$$ >&2; {script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut ids, mut shown) = (Vec::new(), String::new());
        let mut lines = BufReader::new(parent.stderr.take().unwrap());
        while !shown.contains("user_code=") {
            shown.clear();
            assert_ne!(lines.read_line(&mut shown).unwrap(), 0, "no code comes");
            if let Some((_, id)) = shown.trim().split_once('=')
                && let Ok(id) = id.parse::<u32>()
            {
                ids.push(id);
            }
        }
        let [shell, helper] = ids[..] else {
            panic!("{ids:?}");
        };
        let pipe = if killed {
            let kill = format!("kill -9 {shell}");
            assert!(
                Command::new("sh")
                    .args(["-c", &kill])
                    .status()
                    .unwrap()
                    .success()
            );
            Some(lines)
        } else {
            drop(lines);
            None
        };
        until("the helper's end", || (!is_running(helper)).then_some(()));
        drop((parent.wait(), pipe));
    }
}

fn is_running(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A new identity is shown before it is written to a public log, once.
#[test]
fn a_new_identity_is_shown_first_and_can_be_refused() {
    let mut lab = Lab::start();
    lab.set("GITSEAL_CONFIRM_IDENTITY", "auto");
    let repository = lab.repository("shown", &[]);
    let Some(mut terminal) = Terminal::start(&lab, &repository, COMMIT) else {
        return;
    };
    terminal.wait_for("? [Y/n]");
    assert!(terminal.screen().contains(ALICE));
    terminal.types("n\r");
    let (good, screen) = terminal.ends();
    assert!(!good, "{screen}");
    assert_eq!(lab.servers.certificates(), 0, "{screen}");

    let mut terminal = Terminal::start(&lab, &repository, COMMIT).unwrap();
    terminal.wait_for("? [Y/n]");
    terminal.types("\r");
    let (good, screen) = terminal.ends();
    assert!(good, "{screen}");
    lab.good(&repository, "HEAD");

    let terminal = Terminal::start(&lab, &repository, COMMIT).unwrap();
    let (good, screen) = terminal.ends();
    assert!(good, "{screen}");
    assert!(!screen.contains("? [Y/n]"), "{screen}");

    // `true` where nobody can be asked: not signed.
    lab.set("GITSEAL_CONFIRM_IDENTITY", "true");
    let elsewhere = lab.path("elsewhere").display().to_string();
    lab.set("HOME", elsewhere);
    let said = away_from_terminal(&lab, &repository);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("no interactive terminal"), "{}", said.err);
}

/// Whoever is logged in at the provider already is not the user that the settings
/// request: refused before a certificate makes the identity public.
#[test]
fn a_login_of_another_account_is_refused() {
    for (setting, value, payload, expected) in [
        (
            "GITSEAL_LOGIN_HINT",
            "bob@example.test",
            PAYLOAD.to_vec(),
            "gitseal.loginHint is bob@example.test",
        ),
        (
            "GITSEAL_MATCH_COMMITTER",
            "true",
            String::from_utf8_lossy(PAYLOAD)
                .replace("committer Alice <alice@", "committer Eve <eve@")
                .into_bytes(),
            "the committer is eve@example.test",
        ),
    ] {
        let mut lab = asking();
        lab.set(setting, value);
        let mut command = lab.command(GITSEAL, lab.root());
        command.args(["--status-fd=2", "-bsau", "x"]);
        let signing = thread::spawn(move || run(&mut command, &payload));
        let url = address(&lab);
        let hint = expected.rsplit(' ').next().unwrap();
        assert_eq!(parameter(&url, "login_hint"), hint);
        follow(&url);
        let said = signing.join().unwrap();
        assert_eq!(said.code, 1, "{}", said.err);
        let words = format!("not signed: logged in as {ALICE}, but {expected}");
        assert!(said.err.contains(&words), "{}", said.err);
        assert!(said.err.contains("gitseal login --again"), "{}", said.err);
        assert_eq!(lab.servers.certificates(), 0);
    }
}

/// Another account than the committer's is a choice, which is asked for once.
#[test]
fn an_account_for_another_committer_is_confirmed() {
    let mut lab = Lab::start();
    lab.set("GITSEAL_LOGIN_HINT", ALICE);
    let repository = lab.repository("pair", &[]);
    lab.set("GITSEAL_CONFIRM_IDENTITY", "auto");
    // The identity itself is known.
    let Some(mut terminal) = Terminal::start(&lab, &repository, COMMIT) else {
        return;
    };
    terminal.wait_for("? [Y/n]");
    terminal.types("\r");
    assert!(terminal.ends().0);
    let certificates = lab.servers.certificates();

    lab.set("GIT_COMMITTER_EMAIL", "noreply@example.test");
    for (answer, is_signed) in [("\r", false), ("n\r", false), ("y\r", true)] {
        let mut terminal = Terminal::start(&lab, &repository, COMMIT).unwrap();
        let screen = terminal.wait_for("? [y/N]");
        assert!(
            screen.contains("the committer is noreply@example.test"),
            "{screen}"
        );
        assert!(!screen.contains("first signature"), "{screen}");
        terminal.types(answer);
        let (good, screen) = terminal.ends();
        assert_eq!(good, is_signed, "{screen}");
    }
    assert_eq!(lab.servers.certificates(), certificates + 1);
    let (good, screen) = Terminal::start(&lab, &repository, COMMIT).unwrap().ends();
    assert!(good && !screen.contains("? [y/N]"), "{screen}");
}

/// An Enter that was meant for something else agrees to nothing.
#[test]
fn what_was_typed_before_the_question_is_no_answer() {
    let mut lab = Lab::start();
    lab.set("GITSEAL_CONFIRM_IDENTITY", "auto");
    let repository = lab.repository("ahead", &[]);
    let typed = lab.path("typed");
    let command = format!(
        "sh -c 'echo begun; until [ -e {} ]; do sleep 0.02; done; {COMMIT_PLAIN}'",
        typed.display()
    );
    let Some(mut terminal) = Terminal::start(&lab, &repository, &command) else {
        return;
    };
    terminal.wait_for("begun");
    terminal.types("\r\ry");
    // The terminal echoes what has reached it.
    terminal.wait_for("\r\n\r\ny");
    fs::write(&typed, "").unwrap();
    terminal.wait_for("? [Y/n]");
    thread::sleep(Duration::from_millis(300));
    terminal.types("n\r");
    let (good, screen) = terminal.ends();
    assert!(!good, "{screen}");
    assert_eq!(lab.servers.certificates(), 0, "{screen}");
}

/// A program with a screen of its own runs git in a terminal where Enter is \r
/// and ends no line: nobody is asked there.
#[test]
fn a_terminal_without_lines_is_none_to_ask_on() {
    let mut lab = Lab::start_with(&["--ask"]);
    let repository = lab.repository("raw", &[]);
    let command = format!("sh -c 'stty -icanon -isig -icrnl; {COMMIT_PLAIN}'");
    lab.set("GITSEAL_TOKEN_PROVIDER", "oob");
    let Some(terminal) = Terminal::start(&lab, &repository, &command) else {
        return;
    };
    let (good, screen) = terminal.ends();
    assert!(!good, "{screen}");
    assert!(
        screen.contains("cannot prompt for the login code"),
        "{screen}"
    );

    let mut lab = Lab::start();
    let repository = lab.repository("raw", &[]);
    for (confirm, signs) in [("true", false), ("auto", true)] {
        lab.set("GITSEAL_CONFIRM_IDENTITY", confirm);
        let terminal = Terminal::start(&lab, &repository, &command).unwrap();
        let (good, screen) = terminal.ends();
        assert_eq!(good, signs, "{screen}");
        assert_eq!(
            screen.contains("no interactive terminal"),
            !signs,
            "{screen}"
        );
    }
}

/// Ctrl-C during a login ends it and leaves the terminal as it was.
#[test]
fn ctrl_c_leaves_the_terminal_as_it_was() {
    let mut lab = Lab::start_with(&["--ask"]);
    lab.set("GITSEAL_TOKEN_PROVIDER", "oob");
    let repository = lab.repository("interrupted", &[]);
    let command = format!(
        "sh -c 'stty -g > {0}/before; trap : INT; {COMMIT_PLAIN}; stty -g > {0}/after; git log --oneline | wc -l'",
        lab.root().display()
    );
    let Some(mut terminal) = Terminal::start(&lab, &repository, &command) else {
        return;
    };
    terminal.wait_for("redirect_uri=urn");
    thread::sleep(Duration::from_millis(200));
    terminal.types("\u{3}");
    let (_, screen) = terminal.ends();
    let read = |name: &str| fs::read_to_string(lab.path(name)).unwrap();
    assert_eq!(read("before"), read("after"), "{screen}");
}

const COMMIT_PLAIN: &str = "git commit -q --allow-empty -S -m plain";
