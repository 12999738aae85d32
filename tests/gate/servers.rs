//! The ways in which a push arrives: a path, git's own daemon, and git's CGI
//! program behind an HTTP server. Each on loopback, each ends with the test.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::support::stub::{CannedResponse, RecordedRequest, Stub};

/// A server on a port of its own.
pub struct Server {
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(one: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let one = Arc::new(one);
    let thread = std::thread::spawn(move || {
        let mut running: Vec<JoinHandle<()>> = Vec::new();
        for stream in listener.incoming() {
            if stopped.load(Ordering::SeqCst) {
                break;
            }
            let stream = stream.unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            let one = Arc::clone(&one);
            running.push(std::thread::spawn(move || one(stream)));
        }
        for thread in running {
            let _ = thread.join();
        }
    });
    Server {
        port,
        stop,
        thread: Some(thread),
    }
}

/// The environment of a server: what `prepare` sets, nothing of this process.
pub type Prepare = Arc<dyn Fn(&str) -> Command + Send + Sync>;

/// `git daemon`, one process for each connection.
pub fn daemon(base: &Path, prepare: Prepare) -> Server {
    let base = base.to_owned();
    serve(move |stream| {
        let output: OwnedFd = stream.try_clone().unwrap().into();
        let input: OwnedFd = stream.into();
        let status = prepare("git")
            .args([
                "daemon",
                "--inetd",
                "--export-all",
                "--enable=receive-pack",
                "--strict-paths",
            ])
            .arg(format!("--base-path={}", base.display()))
            .arg(base.join("server.git"))
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::null())
            .status();
        drop(status);
    })
}

/// `git http-backend` behind an HTTP server.
pub fn http(root: &Path, prepare: Prepare) -> Stub {
    let root = root.to_owned();
    Stub::start(move |request| backend(request, &root, &prepare).unwrap())
}

fn backend(
    request: &RecordedRequest,
    root: &Path,
    prepare: &Prepare,
) -> std::io::Result<CannedResponse> {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let mut command = prepare("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &request.method)
        .env("REMOTE_USER", "pusher")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    for (name, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "HTTP_GIT_PROTOCOL"),
    ] {
        if let Some(value) = request.header(name) {
            command.env(variable, value);
        }
    }
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().unwrap();
    let body = request.body.clone();
    let feeder = std::thread::spawn(move || {
        let _ = input.write_all(&body);
    });
    let answer = child.wait_with_output()?.stdout;
    let _ = feeder.join();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let mut canned = CannedResponse {
        status: 200,
        headers: Vec::new(),
        body: answer.get(end + 4..).unwrap_or_default().to_owned(),
        drip: Duration::ZERO,
    };
    for line in String::from_utf8_lossy(&answer[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        match name {
            "Status" => canned.status = value[..3].parse().unwrap(),
            _ => canned = canned.with(name, value),
        }
    }
    Ok(canned)
}
