//! Processes that cannot hang: commands that end, and servers that end with the
//! test.

use std::{
    fs::{self, File},
    io::{Read, Write as _},
    net::{TcpListener, TcpStream, ToSocketAddrs as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// No command may take longer.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);
/// Servers answer within this after their start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What a process left behind.
#[derive(Debug, Clone)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    #[track_caller]
    pub fn ok(self) -> Self {
        self.fails(0)
    }

    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The same with this in its output.
    #[track_caller]
    pub fn says(self, what: &str) -> Self {
        assert!(
            self.err.contains(what) || self.out.contains(what),
            "{what:?} is not in {self:?}"
        );
        self
    }

    pub fn line(&self) -> &str {
        self.out.trim_end_matches('\n')
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command with this input to its end, which comes in time.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Ended {
    run_at(command, "", input)
}

/// Sends the input when the output contains this prompt.
#[track_caller]
pub fn run_at(command: &mut Command, prompt: &'static str, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let (prompted, wait) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = wait.recv_timeout(COMMAND_LIMIT);
        drop(stdin.write_all(&input));
    });
    let out = read(child.stdout.take().unwrap(), prompt, Some(prompted));
    let err = read(child.stderr.take().unwrap(), "", None);
    let code = exit_code(&mut child, command);
    let text = |stream: Receiver<Vec<u8>>| match stream.recv_timeout(COMMAND_LIMIT) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => panic!("{command:?} left its output to a process that does not end"),
    };
    Ended {
        code,
        out: text(out),
        err: text(err),
    }
}

/// Reads a stream to its end and drops `prompted` when it contains the prompt.
fn read(
    mut stream: impl Read + Send + 'static,
    prompt: &'static str,
    prompted: Option<mpsc::Sender<()>>,
) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&bytes).contains(prompt)
            && stream.read(&mut byte).is_ok_and(|count| count == 1)
        {
            bytes.push(byte[0]);
        }
        drop(prompted);
        drop(stream.read_to_end(&mut bytes));
        drop(send.send(bytes));
    });
    receive
}

/// Starts a process whose streams are set, and waits for its end.
#[track_caller]
pub fn wait(command: &mut Command) -> i32 {
    let mut child = command.spawn().unwrap();
    exit_code(&mut child, command)
}

#[track_caller]
fn exit_code(child: &mut Child, command: &Command) -> i32 {
    let until = Instant::now() + COMMAND_LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if Instant::now() > until {
            drop(child.kill());
            drop(child.wait());
            panic!("{command:?} did not end in time");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A server that ends with the test.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it with both outputs in `log`, and an open standard input.
    #[track_caller]
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let out = File::create(&log).unwrap();
        let err = out.try_clone().unwrap();
        let child = command
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// Waits until `ready` answers; a server that ends before that, or takes
    /// too long, fails the test with its log.
    #[track_caller]
    pub fn wait<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Some(answer) = ready() {
                return answer;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "server not ready (ended: {ended:?})\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            println!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// Waits for an event, no longer than half a minute.
#[track_caller]
pub fn until<T>(what: &str, mut event: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + START_LIMIT;
    loop {
        if let Some(found) = event() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether something listens at this URL.
pub fn listens(url: &str) -> Option<()> {
    let url = url::Url::parse(url).ok()?;
    let address = (url.host_str()?, url.port_or_known_default()?)
        .to_socket_addrs()
        .ok()?
        .next()?;
    TcpStream::connect_timeout(&address, Duration::from_millis(500))
        .ok()
        .map(drop)
}
